/* plan_local_run.c: `plan validate --local RUN`: what this machine should take for a step of a run
 * of `colossus train`, beside what it took.
 *
 * A run folder says all of it: run.yaml has the model, batch, optimiser and number format with every
 * default filled in, metrics.jsonl the seconds of each step. The first steps, which allocate and
 * fault pages in, do not count; the median does. */
#include "plan/read/plan_read_internal.h"
#include "plan/step/plan_local_internal.h"
#include "plan/validate/plan_validate_internal.h"

#include <string.h>

enum { WARM_UP = 3, MAX_STEPS = 1 << 20, MAX_METRICS = 1 << 28 };

/* "" where there is no such key. */
static const char *get_text(const struct yaml_node *root, const char *section, const char *key)
{
    const struct yaml_node *node = yaml_get(yaml_get(root, section), key);
    return node && node->kind == YAML_KIND_SCALAR ? node->text : "";
}

/* What the step of a run depends on. */
static int read_config(const struct yaml_reader *r, const struct yaml_node *root,
                       struct plan_local_run *out)
{
    struct plan_run_batch batch;
    struct plan_model_extra extra;
    const char *threads = get_text(root, "train", "threads"),
               *steps = get_text(root, "optimizer", "muon_steps");
    int64_t muon_steps = 5;
    TRY(plan_read_run_file(r, root, &out->model, &extra));
    TRY(plan_read_run_batch(r, root, &batch));
    out->seq_len = batch.seq_len;
    out->micro_batch = batch.micro_batch;
    out->global_batch = batch.global_batch;
    out->bf16 = strcmp(get_text(root, "train", "precision"), "bf16") == 0;
    out->muon = strcmp(get_text(root, "optimizer", "kind"), "muon") == 0;
    (void)parse_int(threads, &out->threads);
    (void)parse_int(steps, &muon_steps);
    out->muon_steps = (double)muon_steps;
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
    qsort(steps, n, sizeof *steps, validate_by_value);
    if (n > 0) out->measured_s = steps[n / 2];
    out->n_steps = n;
    mem_free(steps);
    mem_free(text);
    if (n > 0) return 0;
    error_set(e, "%s has no steps after the first %d", path, WARM_UP);
    return error_hint(e, "let the run make 20 steps or more");
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
    arena_fini(&a);
    return rc;
}

/* ------------------------------------------------------------------ the comparison */

static void add_row(struct table *t, const char *folder, const struct plan_local_run *run,
                    const struct plan_local_step *s)
{
    char model[64], predicted[32], measured[32], off[32], parts[160];
    double tokens = (double)(run->global_batch * run->seq_len), all = s->step_s;
    snprintf(model, sizeof model, "%lld x %lld%s, %s", (long long)run->model.n_layers,
             (long long)run->model.d_model, model_is_moe(&run->model) ? " MoE" : "",
             run->bf16 ? "bf16" : "fp32");
    snprintf(off, sizeof off, "%+.1f %%", 100 * (s->step_s / run->measured_s - 1));
    snprintf(parts, sizeof parts, "%.0f / %.0f / %.0f / %.0f / %.0f", 100 * s->products_s / all,
             100 * s->attention_s / all, 100 * s->vector_s / all, 100 * s->loss_s / all,
             100 * s->optimizer_s / all);
    char rate_p[32], rate_m[32];
    table_row(t, file_base_name(folder), model, format_duration(predicted, s->step_s),
              format_duration(measured, run->measured_s), off,
              format_si(rate_p, tokens / s->step_s, ""),
              format_si(rate_m, tokens / run->measured_s, ""), parts);
}

static json_t *row_to_json(const char *folder, const struct plan_local_run *run,
                           const struct plan_local_step *s)
{
    double tokens = (double)(run->global_batch * run->seq_len);
    return json_pack("{s:s, s:f, s:f, s:f, s:f, s:f, s:I}", "run", folder, "predicted_step_s",
                     s->step_s, "measured_step_s", run->measured_s, "error_pct",
                     100 * (s->step_s / run->measured_s - 1), "predicted_tokens_per_s",
                     tokens / s->step_s, "measured_tokens_per_s", tokens / run->measured_s, "steps",
                     (json_int_t)run->n_steps);
}

int plan_validate_local(const char *const *runs, size_t n, const char *local, bool json, FILE *out,
                        struct error *e)
{
    static const char *const heads[] = {
        "run", "model",    "predicted", "measured",
        "off", "tokens/s", "measured",  "products / attention / vectors / loss / optimizer, %"};
    struct arena a;
    arena_init(&a);
    struct table *t = table_new(heads, ARRAY_LEN(heads), "llrrrrrl");
    json_t *list = json_array();
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        struct plan_local_run run;
        struct compute_machine m;
        struct plan_local_step step = {0};
        rc = plan_local_load(runs[i], &run, e);
        if (rc == 0) rc = plan_local_read(local ? local : plan_local_path(&a), run.bf16, &m, e);
        if (rc < 0) break;
        plan_local_step(&m, &run, &step);
        add_row(t, runs[i], &run, &step);
        json_array_append_new(list, row_to_json(runs[i], &run, &step));
        if (run.threads > 0 && run.threads != m.threads)
            log_warn("%s ran with %lld threads, the machine was measured with %d", runs[i],
                     (long long)run.threads, m.threads);
    }
    if (rc == 0 && json) {
        json_dumpf(list, out, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
        fputc('\n', out);
    } else if (rc == 0) {
        table_print(t, out);
    }
    json_decref(list);
    table_free(t);
    arena_fini(&a);
    return rc;
}
