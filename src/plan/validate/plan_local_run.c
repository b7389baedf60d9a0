/* plan_local_run.c: `plan validate --local RUN`: what this machine should take for a step of a run
 * of `colossus train` (plan_local.c), beside what it took (plan_read_local.c). */
#include "plan/read/plan_read_internal.h"
#include "plan/step/plan_local_internal.h"
#include "plan/validate/plan_validate_internal.h"

#include <string.h>

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
              format_count(rate_p, tokens / s->step_s),
              format_count(rate_m, tokens / run->measured_s), parts);
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

static int no_steps(const char *folder, struct error *e)
{
    error_set(e, "%s/metrics.jsonl has no steps after the first three", folder);
    return error_hint(e, "let the run make 20 steps or more");
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
    struct plan_local l;
    const char *times = plan_local_times(local ? local : plan_local_path(&a), &a);
    int rc = plan_local_read(times, &l, e);
    l.from = times;
    for (size_t i = 0; i < n && rc == 0; i++) {
        struct plan_local_run run;
        struct plan_local_step step = {0};
        rc = plan_local_load(runs[i], &run, e);
        if (rc == 0 && run.n_steps == 0) rc = no_steps(runs[i], e);
        if (rc == 0) rc = plan_local_check(&l, run.bf16, e);
        if (rc < 0) break;
        const struct compute_machine *m = &l.machine[run.bf16];
        plan_local_step(m, &run, &step);
        add_row(t, runs[i], &run, &step);
        json_array_append_new(list, row_to_json(runs[i], &run, &step));
        int64_t threads = run.threads * run.dp * run.tp * run.pp;
        if (threads > 0 && threads != m->threads)
            log_warn("%s ran with %lld threads, the machine was measured with %d", runs[i],
                     (long long)threads, m->threads);
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
