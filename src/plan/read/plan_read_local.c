/* plan_read_local.c: what a run of `colossus train` has measured, and plans of this machine.
 *
 * A run folder says all of it: run.yaml has the model, batch, optimiser and number format with every
 * default filled in, metrics.jsonl the seconds of each step. The first steps, which allocate and
 * fault pages in, do not count; the median does.
 *
 * One whole machine that `colossus train` runs on is planned as it runs there (stack colossus),
 * unless the plan or an option says otherwise: what its operations take is read from what
 * bench-machine wrote, and a desk has neither servers nor a network to pay for. */
#include "plan/read/plan_read_internal.h"
#include "plan/step/plan_local_internal.h"

#include <stdlib.h>
#include <string.h>

enum { WARM_UP = 3, MAX_STEPS = 1 << 20, MAX_METRICS = 1 << 28 };

/* What the step of a run depends on. */
static int read_config(const struct yaml_reader *r, const struct yaml_node *root,
                       struct plan_local_run *out)
{
    struct plan_model_extra extra;
    TRY(plan_read_run_file(r, root, &out->model, &extra));
    out->seq_len = extra.batch.seq_len;
    out->micro_batch = extra.run.micro_batch;
    out->global_batch = extra.batch.global_batch;
    out->bf16 = extra.run.precision == MACHINE_BF16;
    out->muon_steps = extra.run.muon_steps;
    out->recompute = extra.run.recompute;
    out->threads = extra.run.threads;
    out->dp = extra.run.dp;
    out->tp = extra.run.tp;
    out->pp = extra.run.pp;
    out->ep = extra.run.ep;
    out->parts = extra.run.parts;
    return 0;
}

/* Of a run on several ranks: what rank 0 sends in a step, and how fast messages are there, as the run
 * has written in its last event of a start. Nothing where it is of one process. */
static int read_messages(const char *path, struct plan_local_run *out, struct error *e)
{
    char *text;
    size_t size;
    if (out->dp * out->tp * out->pp == 1 || !file_exists(path)) return 0;
    TRY(file_read(path, MAX_METRICS, &text, &size, e));
    for (const char *p = text; *p;) {
        size_t length = strcspn(p, "\n");
        struct error ignored = {0};
        json_t *line = NULL;
        if (json_parse(p, length, path, &line, &ignored) >= 0) {
            const json_t *sent = json_object_get(line, "sent_bytes");
            const json_t *rate = json_object_get(line, "link_bytes_per_s");
            if (sent) out->sent_bytes = json_number_value(sent);
            if (rate) out->bytes_per_s = json_number_value(rate);
            json_decref(line);
        }
        p += length + (p[length] == '\n');
    }
    mem_free(text);
    return 0;
}

/* "step_s":0.75 of one line; negative where it is not there. */
static double step_seconds(const char *line, size_t size, const char *path)
{
    struct error ignored = {0};
    json_t *root = NULL;
    double s = -1;
    if (json_parse(line, size, path, &root, &ignored) < 0) return -1;
    const json_t *value = json_object_get(root, "step_s");
    if (json_is_number(value)) s = json_number_value(value);
    json_decref(root);
    return s;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* A run in progress is writing its last line: what does not read as JSON does not count. */
static int read_metrics(const char *path, struct plan_local_run *out, struct error *e)
{
    char *text;
    size_t size, n = 0, seen = 0;
    TRY(file_read(path, MAX_METRICS, &text, &size, e));
    double *steps = mem_alloc(MAX_STEPS * sizeof *steps);
    for (const char *p = text; *p && n < MAX_STEPS;) {
        size_t length = strcspn(p, "\n");
        double s = step_seconds(p, length, path);
        if (s > 0 && seen++ >= WARM_UP) steps[n++] = s;
        p += length + (p[length] == '\n');
    }
    qsort(steps, n, sizeof *steps, by_value);
    if (n > 0) out->measured_s = steps[n / 2];
    out->n_steps = n;
    mem_free(steps);
    mem_free(text);
    return 0;
}

int plan_local_load(const char *folder, struct plan_local_run *out, struct error *e)
{
    struct arena a = {0};
    struct yaml_node *root = NULL;
    memset(out, 0, sizeof *out);
    struct error local;
    struct yaml_reader r = yaml_reader_from(file_join(&a, folder, "run.yaml"), &a, e, &local);
    int rc = yaml_load(r.path, &a, &root, e);
    if (rc < 0 && !file_exists(r.path))
        error_hint(e, "name the folder of a run of 'colossus train', for example runs/fortunes");
    if (rc == 0) rc = read_config(&r, root, out);
    out->model.name = out->model.source = NULL; /* of the arena */
    if (rc == 0) rc = read_metrics(file_join(&a, folder, "metrics.jsonl"), out, e);
    if (rc == 0) rc = read_messages(file_join(&a, folder, "events.jsonl"), out, e);
    arena_fini(&a);
    return rc;
}

/* ------------------------------------------------------------------ the run of a run file */

/* The same step: all that its time depends on. Multipliers and coefficients change none of it. */
static bool same_step(const struct plan_local_run *run, const struct plan_request *r)
{
    const struct model_config *x = &run->model, *y = &r->model;
    const int64_t sizes[][2] = {{x->vocab_size, y->vocab_size},
                                {x->n_layers, y->n_layers},
                                {x->d_model, y->d_model},
                                {x->n_heads, y->n_heads},
                                {x->n_kv_heads, y->n_kv_heads},
                                {x->head_dim, y->head_dim},
                                {x->ffn_hidden, y->ffn_hidden},
                                {x->dense_ffn_hidden, y->dense_ffn_hidden},
                                {x->n_experts, y->n_experts},
                                {x->n_experts_used, y->n_experts_used},
                                {x->tied_embeddings, y->tied_embeddings}};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        if (sizes[i][0] != sizes[i][1]) return false;
    return run->seq_len == r->batch.seq_len && run->global_batch == r->batch.global_batch &&
           run->micro_batch == r->layout.micro_batch &&
           run->bf16 == (r->layout.precision == MACHINE_BF16) &&
           run->muon_steps == r->software.muon_steps && run->recompute == r->layout.recompute;
}

const char *plan_read_measured(const char *folder, bool vocab_assumed, struct plan_request *r,
                               struct arena *a)
{
    struct plan_local_run run;
    struct error ignored = {0};
    const char *yaml = file_join(a, folder, "run.yaml");
    if (!file_exists(yaml)) return NULL;
    if (plan_local_load(folder, &run, &ignored) < 0)
        return arena_printf(a, "%s cannot be compared: %s", folder, ignored.text);
    if (vocab_assumed) r->model.vocab_size = run.model.vocab_size;
    if (!same_step(&run, r))
        return arena_printf(a, "the run in %s is of other settings: its steps are not compared",
                            folder);
    if (run.n_steps == 0) return NULL;
    r->measured = (struct plan_measured){arena_strdup(a, folder), run.measured_s, run.n_steps};
    return NULL;
}

/* ------------------------------------------------------------------ plans of one machine */

/* What a figure says that the description leaves out. */
static void none_unless_given(struct figure *f)
{
    if (f->grade == 0) *f = (struct figure){.grade = 'A', .source = "one machine on a desk"};
}

static int check_desk(const struct plan_request *r, struct error *e)
{
    const struct machine_accelerator *x = r->cluster.pools[0].accelerator;
    int64_t n = machine_cluster_accelerators(&r->cluster);
    if (n != 1) {
        error_set_code(e, ERROR_CONFIG, "stack colossus trains on one machine, not on %lld",
                       (long long)n);
        return error_hint(e, "--gpus 1, or another stack: megatron, fsdp, other");
    }
    if (!x->operations || !*x->operations) {
        error_set_code(e, ERROR_CONFIG,
                       "stack colossus: what its operations take on %s is not known", x->name);
        return error_hint(e, "--accelerator local (colossus bench-machine), or another stack");
    }
    if (r->software.generation > 0) {
        error_set_code(e, ERROR_CONFIG, "stack colossus is this program: it has no generation");
        return error_hint(e, "leave 'generation' out, or give another stack");
    }
    return 0;
}

int plan_settle(struct plan_request *r, struct arena *a, struct error *e)
{
    struct plan_software *s = &r->software;
    const struct machine_accelerator *x =
        r->cluster.n_pools == 1 ? r->cluster.pools[0].accelerator : NULL;
    bool desk = x && r->cluster.pools[0].count == 1 && x->operations && *x->operations;
    r->cluster.headroom = r->headroom;
    if (!r->stack_asked && desk)
        s->stack = PLAN_STACK_COLOSSUS;
    else if (!r->stack_asked && s->stack == PLAN_STACK_COLOSSUS)
        s->stack = PLAN_STACK_MEGATRON;
    if (desk) {
        none_unless_given(&r->cluster.network_usd);
        none_unless_given(&r->cluster.server_usd);
        none_unless_given(&r->cluster.network_w);
    }
    if (s->stack != PLAN_STACK_COLOSSUS) {
        s->local = NULL;
        return 0;
    }
    TRY(check_desk(r, e));
    if (s->local && strcmp(s->local->from, x->operations) == 0) return 0;
    return plan_local_of(x, a, &s->local, e);
}
