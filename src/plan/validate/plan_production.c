/* plan_production.c: `colossus plan validate --production`: published training runs, from the first
 * token to the last, beside what a plan of each says.
 *
 * A benchmark is thirty steps on a quiet machine with balanced experts. A run of weeks has ramps of
 * the batch, evaluations, slow nodes, restarts, routing as it falls, and the software of the day it
 * began. The hours that reports state are therefore longer than those of the step times, by the
 * production factor. It is smaller for large runs, which are tuned because their hours are counted in
 * millions: here its slope over the planned hours, its median at a million hours and the 5th and
 * 95th percentile over the reports, and each run predicted with the factor of the others.
 *
 * What a report does not say of its layout is searched; how many accelerators and sequences a row
 * assumes stands in its column `assumed`. Runs that state clean speed are planned and shown, and
 * count in no factor. */
#include "plan/show/plan_show_internal.h"
#include "plan/validate/plan_validate_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double LOW = 0.05, HIGH = 0.95; /* quantiles of the range */

static int read_run(const struct csv *t, size_t row, struct arena *a, struct validate_run *out,
                    struct error *e)
{
    const char *hours = csv_field(t, row, csv_column(t, "accelerator_hours"));
    const char *tokens = csv_field(t, row, csv_column(t, "tokens"));
    const char *kind = csv_field(t, row, csv_column(t, "kind"));
    if (parse_number(hours, &out->hours) < 0 || parse_number(tokens, &out->tokens) < 0 ||
        !(out->hours > 0 && out->tokens > 0)) {
        error_set_code(e, ERROR_CONFIG, "%s:%d: accelerator_hours and tokens must be numbers",
                       t->path, t->lines[row]);
        return error_hint(e, "for example 184320 and 2e12");
    }
    out->production = strcmp(kind, "production") == 0;
    if (!out->production && strcmp(kind, "clean") != 0) {
        error_set_code(e, ERROR_CONFIG, "%s:%d: column 'kind' must be production or clean", t->path,
                       t->lines[row]);
        return error_hint(e, "clean: time of a step times the steps");
    }
    out->grade = csv_field(t, row, csv_column(t, "grade"))[0];
    out->assumed = arena_strdup(a, csv_field(t, row, csv_column(t, "assumed")));
    return 0;
}

/* The run as a plan, its layout searched where it is not stated. */
static int plan_of(const struct plan_row *r, double tokens, struct arena *a,
                   struct plan_request *out, struct error *e)
{
    const char *cluster = arena_printf(a, "%lld x %s", (long long)r->n_gpus, r->accelerator.name);
    memset(out, 0, sizeof *out);
    out->name = out->title = out->path = "";
    out->model = r->model;
    out->software = r->software;
    out->batch = r->batch;
    out->layout = r->layout;
    out->layout.zero = -1;
    if (r->layout.tp < 1) out->layout.cp = out->layout.ep = 0;
    if (r->layout.dp > 0 && r->layout.ep > 1) out->layout.etp = 1;
    out->search = true;
    out->benchmark = true;
    out->tokens = (struct figure){tokens, tokens, tokens, 'A', "report"};
    out->tokens_from = "given";
    TRY(machine_load_site("us-average", NULL, a, &out->site, e));
    TRY(machine_load_cluster(cluster, NULL, a, &out->cluster, e));
    return 0;
}

static void plan_run_hours(struct validate_run *run, struct arena *a)
{
    struct plan_request request;
    struct plan_answer *answer = arena_alloc(a, sizeof *answer);
    struct error e = {0};
    run->why = run->row->skip;
    if (run->why) return;
    if (plan_of(run->row, run->tokens, a, &request, &e) < 0 ||
        plan_solve(&request, a, answer, &e) < 0)
        run->why = arena_strdup(a, e.text);
    else /* of the accelerators that the report counts */
        run->planned_hours = answer->gpu_hours.mid;
}

static bool counts(const struct validate_run *r)
{
    return r->production && !r->why && (r->grade == 'A' || r->grade == 'B');
}

static double quantile(const double *sorted, size_t n, double q)
{
    double at = q * (double)(n - 1);
    size_t low = (size_t)at, high = MIN(low + 1, n - 1);
    return sorted[low] + (sorted[high] - sorted[low]) * (at - (double)low);
}

/* Slope of the logarithm of the factor over that of the planned hours: the median of the slopes of all
 * pairs (Theil and Sen), which a run that is off does not move. */
static double slope_of(const double *x, const double *y, size_t n, double *scratch)
{
    size_t pairs = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t k = i + 1; k < n; k++)
            if (fabs(x[k] - x[i]) > 0.1) scratch[pairs++] = (y[k] - y[i]) / (x[k] - x[i]);
    if (!pairs) return 0;
    qsort(scratch, pairs, sizeof *scratch, validate_by_value);
    return quantile(scratch, pairs, 0.5);
}

/* Over all runs that count but the one at `left_out` (count: none is). scratch: room for all pairs of runs. */
static struct plan_production fit_without(const struct validate_production *p, size_t left_out,
                                          double *scratch)
{
    double *x = scratch, *y = x + p->count, *rest = y + p->count;
    struct plan_production f = {0, range_exact(1)};
    size_t n = 0;
    for (size_t i = 0; i < p->count; i++) {
        const struct validate_run *r = &p->run[i];
        if (i == left_out || !counts(r)) continue;
        x[n] = log(plan_production_size(r->planned_hours));
        y[n++] = log(r->hours / r->planned_hours);
    }
    if (!n) return f;
    f.slope = slope_of(x, y, n, rest);
    for (size_t i = 0; i < n; i++)
        y[i] -= f.slope * x[i];
    qsort(y, n, sizeof *y, validate_by_value);
    f.factor = (struct range){exp(quantile(y, n, LOW)), exp(quantile(y, n, 0.5)),
                              exp(quantile(y, n, HIGH))};
    return f;
}

static void judge(struct validate_production *p, struct arena *a)
{
    double *scratch = arena_alloc(a, (p->count + 2) * (p->count + 2) * sizeof *scratch);
    double *errors = arena_alloc(a, (p->count + 1) * sizeof *errors);
    p->fit = fit_without(p, p->count, scratch);
    for (size_t i = 0; i < p->count; i++) {
        struct validate_run *r = &p->run[i];
        const struct plan_production others = fit_without(p, i, scratch);
        r->others = plan_production_factor(&others, r->planned_hours);
        if (!counts(r)) continue;
        double error = 100 * (r->planned_hours * r->others.mid / r->hours - 1);
        double ratio = r->hours / r->planned_hours;
        errors[p->judged++] = fabs(error);
        p->bias_pct += error;
        p->mape_pct += fabs(error);
        p->benchmark_bias_pct += 100 * (1 / ratio - 1);
        p->within_pct += ratio >= r->others.low && ratio <= r->others.high ? 100 : 0;
    }
    if (!p->judged) return;
    qsort(errors, p->judged, sizeof *errors, validate_by_value);
    double n = (double)p->judged;
    p->median_pct = quantile(errors, p->judged, 0.5);
    p->bias_pct /= n;
    p->mape_pct /= n;
    p->benchmark_bias_pct /= n;
    p->within_pct /= n;
}

int validate_production(struct arena *a, struct validate_production *out, struct error *e)
{
    struct plan_rows rows;
    struct csv t;
    const char *path = validate_find_table("production_runs.csv", "", a, e);
    *out = (struct validate_production){0};
    if (!path) return ERROR_CONFIG;
    TRY(plan_rows_load(path, PLAN_ROWS_FREE, a, &rows, e));
    TRY(csv_load(path, a, &t, e));
    out->count = rows.count;
    out->run = arena_alloc(a, rows.count * sizeof *out->run);
    for (size_t i = 0; i < rows.count; i++) {
        struct validate_run *run = &out->run[i];
        *run = (struct validate_run){.row = &rows.row[i]};
        TRY(read_run(&t, i, a, run, e));
        plan_run_hours(run, a);
    }
    judge(out, a);
    return 0;
}

/* ------------------------------------------------------------------ shown */

static void print_run(struct table *t, const struct validate_run *r, struct arena *a)
{
    const char *hours = arena_printf(a, "%.4g", r->hours / 1e3);
    const char *of = arena_printf(a, "%lld %s", (long long)r->row->n_gpus, r->row->gpu);
    if (r->why) {
        table_row(t, r->row->model_name, of, hours, NULL, NULL, NULL, r->why);
        return;
    }
    double error = 100 * (r->planned_hours * r->others.mid / r->hours - 1);
    const char *note = !r->production ? "clean speed: in no factor" : r->assumed;
    table_row(t, r->row->model_name, of, hours, arena_printf(a, "%.4g", r->planned_hours / 1e3),
              arena_printf(a, "%.2f", r->hours / r->planned_hours),
              counts(r) ? arena_printf(a, "%+.0f", error) : "", note);
}

static json_t *range_to_json(const struct range *r)
{
    return json_pack("[f, f, f]", r->low, r->mid, r->high);
}

static json_t *production_to_json(const struct validate_production *p)
{
    json_t *runs = json_array();
    for (size_t i = 0; i < p->count; i++) {
        const struct validate_run *r = &p->run[i];
        json_array_append_new(runs,
                              json_pack("{s:o, s:s, s:I, s:b, s:f, s:f, s:f, s:o, s:o}", "model",
                                        plan_json_text(r->row->model_name), "accelerator",
                                        r->row->gpu, "accelerators", (json_int_t)r->row->n_gpus,
                                        "counted", counts(r), "stated_hours", r->hours,
                                        "planned_hours", r->planned_hours, "factor_of_others",
                                        r->others.mid, "assumed", plan_json_text(r->assumed),
                                        "skipped", r->why ? plan_json_text(r->why) : json_null()));
    }
    return json_pack("{s:I, s:o, s:f, s:f, s:f, s:f, s:f, s:f, s:o}", "runs", (json_int_t)p->judged,
                     "factor", range_to_json(&p->fit.factor), "slope", p->fit.slope, "median_pct",
                     p->median_pct, "mape_pct", p->mape_pct, "bias_pct", p->bias_pct, "within_pct",
                     p->within_pct, "benchmark_bias_pct", p->benchmark_bias_pct, "each", runs);
}

int plan_validate_production(bool json, FILE *out, struct error *e)
{
    static const char *const heads[] = {"run",    "accelerators",           "hours/1000", "planned",
                                        "factor", "error of the others' %", "note"};
    struct validate_production p;
    struct arena a = {0};
    int rc = validate_production(&a, &p, e);
    if (rc >= 0 && json) {
        json_t *j = production_to_json(&p);
        json_dumpf(j, out, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
        fputc('\n', out);
        json_decref(j);
    } else if (rc >= 0) {
        struct table *t = table_new(heads, ARRAY_LEN(heads), "llrrrrl");
        for (size_t i = 0; i < p.count; i++)
            print_run(t, &p.run[i], &a);
        table_print(t, out);
        table_free(t);
        fprintf(
            out,
            "\nProduction factor of %zu runs: %.2f at a million hours, from %.2f to %.2f (5th and "
            "95th\npercentile), times (hours / million)^%.3f. Each predicted with the factor of "
            "the others: "
            "median error\n%.1f %%, mean %.1f %%, bias %+.1f %%, %.0f %% within low .. high. "
            "Without a factor the bias "
            "is %+.1f %%.\n",
            p.judged, p.fit.factor.mid, p.fit.factor.low, p.fit.factor.high, p.fit.slope,
            p.median_pct, p.mape_pct, p.bias_pct, p.within_pct, p.benchmark_bias_pct);
    }
    arena_fini(&a);
    return rc < 0 ? rc : 0;
}
