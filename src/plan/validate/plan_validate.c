/* plan_validate.c: `colossus plan validate`: the model of a step against published runs.
 *
 * Step times are judged on the rows of the tiers asked for (A by default: the full model and the
 * whole layout are known) that state one; what is left out is counted and told. Where a source's
 * FLOP rate contradicts its time (a publisher changed how it counts FLOPs), the time is judged, and
 * the figure without such rows stands beside. Memory is judged on every row that states it, whatever its tier: it needs the layout only.
 * Beside the errors stand those of two predictors that know nothing but a constant rate, and our
 * own with constants fitted without the row's source. Measured and predicted are compared in
 * seconds: sources count FLOPs in a dozen ways. */
#include "plan/validate/plan_validate_internal.h"

#include <math.h>
#include <string.h>

static void predict(const struct plan_row *r, struct plan_step *out)
{
    plan_step(&r->model, &r->cluster, &r->layout, &r->batch, &r->software, out);
}

/* The row with the constants that were fitted without its source, or without every release of it:
 * predicted_s, that of the program's own, where it was never fitted on. */
static double predict_left_out(const struct plan_row *r, const double *values, double predicted_s)
{
    if (!values) return predicted_s;
    struct plan_constant_values k = plan_constants_own;
    struct plan_row others = *r;
    struct plan_step step;
    for (size_t i = 0; i < PLAN_N_CONSTANTS; i++) /* what is not fitted is not rounded either */
        if (plan_constants[i].high > plan_constants[i].low) k.value[i] = values[i];
    others.software.constants = &k;
    predict(&others, &step);
    return step.step_s;
}

/* Counts a row where it belongs, and predicts it with each set of constants. A source that was left
 * out of no fit of its own takes that of its family, and the other way round. */
static void judge_row(struct validate_result *v, struct validate_row *out)
{
    const struct plan_row *r = out->row;
    if (!r->skip) predict(r, &out->step);
    if (!strchr(v->tiers, r->tier)) {
        v->n_tier++;
    } else if (r->skip || !(r->step_s > 0)) {
        v->n_skipped++;
    } else {
        out->timed = true;
        out->predicted_s = out->step.step_s;
        const double *source = plan_left_out_values(&v->left_out, r->source);
        const double *family = plan_left_out_values(&v->left_out, r->family);
        if (v->left_out.count) {
            out->left_out_s = predict_left_out(r, source ? source : family, out->predicted_s);
            out->family_out_s = predict_left_out(r, family ? family : source, out->predicted_s);
        }
        v->n_mismatch += r->mismatch;
        v->n_left_out += source || family;
        v->n_in_band += r->step_s >= out->step.low_s && r->step_s <= out->step.high_s;
    }
}

/* ------------------------------------------------------------------ picture */

struct scatter {
    const char *name;
    double *x, *y;
    size_t count;
};
#define MAX_SCATTERS 32

/* Measured against predicted seconds, one colour an accelerator, and the line of equality. */
static int write_plot(const struct validate_result *v, const char *path, struct arena *a,
                      struct error *e)
{
    struct scatter s[MAX_SCATTERS];
    struct plot_series series[MAX_SCATTERS + 1];
    double line[2] = {INFINITY, 0};
    size_t n = 0;
    for (size_t i = 0; i < v->n_rows; i++) {
        const struct plan_row *r = v->rows[i].row;
        size_t k = 0;
        if (!v->rows[i].timed) continue;
        while (k < n && strcmp(s[k].name, r->accelerator.name) != 0)
            k++;
        if (k == MAX_SCATTERS) continue;
        if (k == n) {
            s[n++] =
                (struct scatter){r->accelerator.name, arena_alloc(a, v->n_rows * sizeof(double)),
                                 arena_alloc(a, v->n_rows * sizeof(double)), 0};
        }
        s[k].x[s[k].count] = r->step_s;
        s[k].y[s[k].count++] = v->rows[i].predicted_s;
        line[0] = fmin(line[0], fmin(r->step_s, v->rows[i].predicted_s));
        line[1] = fmax(line[1], fmax(r->step_s, v->rows[i].predicted_s));
    }
    if (!n) return error_set(e, "no row can be drawn: none of tiers %s has a step time", v->tiers);
    for (size_t k = 0; k < n; k++)
        series[k] = (struct plot_series){s[k].name, s[k].x, s[k].y, s[k].count, PLOT_POINTS, NULL};
    series[n] = (struct plot_series){"equal", line, line, 2, PLOT_LINE, NULL};
    struct plot p = {.title = "Step time of published runs: predicted against measured",
                     .x_label = "measured, s",
                     .y_label = "predicted, s",
                     .log_x = true,
                     .log_y = true,
                     .series = series,
                     .n_series = n + 1};
    return plot_write_svg_panels(&p, 1, 900, 640, path, e);
}

/* ------------------------------------------------------------------ the command */

static int check_tiers(const char *tiers, struct error *e)
{
    if (*tiers && strspn(tiers, "ABC") == strlen(tiers)) return 0;
    error_set_code(e, ERROR_USAGE, "tiers are letters of A, B and C, not '%.20s'", tiers);
    return error_hint(e, "for example --tiers AB");
}

/* A table that judges nothing has not confirmed anything, whatever was printed. */
static int check_judged(const struct validate_result *v, struct error *e)
{
    for (size_t i = 0; i < v->n_rows; i++) {
        const struct plan_row *r = v->rows[i].row;
        if (v->rows[i].timed || (!r->skip && r->memory_bytes > 0)) return 0;
    }
    error_set_code(e, ERROR_CONFIG, "%s: none of its %zu rows could be judged", v->path, v->n_rows);
    if (v->n_tier)
        return error_hint(e, "%zu are of tiers other than %s: --tiers ABC", v->n_tier, v->tiers);
    return error_hint(e, "the reasons are printed above; --rows shows that of each row");
}

static int judge_table(const char *csv_path, struct arena *a, struct validate_result *v,
                       struct error *e)
{
    struct plan_rows rows;
    TRY(plan_rows_load(csv_path, v->strict ? 0 : PLAN_ROWS_LENIENT, a, &rows, e));
    v->n_bad = rows.n_bad;
    v->path = csv_path ? csv_path : "the table of published runs that comes with colossus";
    v->n_rows = rows.count;
    v->rows = arena_alloc(a, v->n_rows * sizeof(*v->rows));
    v->agreeing = arena_alloc(a, v->n_rows * sizeof(*v->rows));
    for (size_t i = 0; i < v->n_rows; i++) {
        v->rows[i].row = &rows.row[i];
        judge_row(v, &v->rows[i]);
    }
    validate_baselines(v->rows, v->n_rows);
    memcpy(v->agreeing, v->rows, v->n_rows * sizeof(*v->rows));
    for (size_t i = 0; i < v->n_rows; i++)
        if (v->rows[i].row->mismatch) v->agreeing[i].timed = false;
    return 0;
}

/* Runs that no constant was fitted on say most, and so stand beside the table of the others. */
static int judge_held_out(struct arena *a, struct validate_result *held, struct error *e)
{
    const char *path = validate_find_table("held_out_runs.csv", "", a, e);
    *held = (struct validate_result){.tiers = "A", .strict = true};
    return path ? judge_table(path, a, held, e) : ERROR_CONFIG;
}

/* Of the table that comes with the program every source was left out of a fit: a line that is missing is
 * a table that was cut. */
static int check_fits(const struct validate_result *v, struct error *e)
{
    if (!v->left_out.count) return 0;
    for (size_t i = 0; i < v->n_rows; i++) {
        const struct plan_row *r = v->rows[i].row;
        if (r->tier != 'A' || !v->rows[i].timed || plan_left_out_values(&v->left_out, r->source) ||
            plan_left_out_values(&v->left_out, r->family))
            continue;
        error_set_code(e, ERROR_CONFIG, "validation/left_out.csv has no line for '%s': was it cut?",
                       r->source);
        return error_hint(e, "tools/fit-plan --left-out --write writes it anew");
    }
    return 0;
}

static int validate(const char *csv_path, const struct plan_validate_options *o, struct arena *a,
                    FILE *out, struct error *e)
{
    struct validate_result v = {.tiers = o->tiers && *o->tiers ? o->tiers : "A",
                                .strict = o->strict || !csv_path},
                           held_out = {0};
    const struct validate_result *held = csv_path ? NULL : &held_out;
    TRY(check_tiers(v.tiers, e));
    TRY(plan_left_out_load(NULL, a, &v.left_out, e));
    TRY(judge_table(csv_path, a, &v, e));
    if (held) TRY(check_fits(&v, e));
    if (held) TRY(judge_held_out(a, &held_out, e));
    if (o->recipes > 0) validate_recipes(v.rows, v.n_rows, (size_t)o->recipes, &v.recipes);
    if (o->plot) TRY(write_plot(&v, o->plot, a, e));
    if (o->json) {
        json_t *json = validate_to_json(&v, held, o->rows, a);
        json_dumpf(json, out, JSON_INDENT(2) | JSON_SORT_KEYS | JSON_REAL_PRECISION(6));
        fputc('\n', out);
        json_decref(json);
    } else {
        validate_print(&v, held, o, a, out);
    }
    return check_judged(&v, e);
}

int plan_validate(const char *csv_path, const struct plan_validate_options *o, FILE *out,
                  struct error *e)
{
    struct arena a = {0};
    int rc = validate(csv_path, o, &a, out, e);
    arena_fini(&a);
    return rc;
}
