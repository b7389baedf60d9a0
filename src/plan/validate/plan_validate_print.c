/* plan_validate_print.c: what `plan validate` says, on a terminal and as JSON.
 *
 * One screen has the figures a reader came for, those that no fit could flatter first; options add
 * by what kind of run they hold and where they do not, each row, and what the model was fitted on.
 * Nothing is left out quietly: rows that were not judged are counted with their reason. */
#include "plan/show/plan_show_internal.h"
#include "plan/validate/plan_validate_internal.h"

#include <math.h>
#include <string.h>

static const struct {
    enum validate_key key;
    const char *title, *json;
} sections[] = {
    {VALIDATE_BY_SOURCE, "by source", "by_source"},
    {VALIDATE_BY_FAMILY, "by family of sources", "by_family"},
    {VALIDATE_BY_ACCELERATOR, "by accelerator", "by_accelerator"},
    {VALIDATE_BY_CLASS, "by model class", "by_class"},
    {VALIDATE_BY_PRECISION, "by precision", "by_precision"},
    {VALIDATE_BY_SCALE, "by accelerators", "by_scale"},
};
static const struct {
    enum validate_quantity quantity;
    const char *title, *json;
} predictors[] = {
    {VALIDATE_FAMILY_OUT, "fitted without any release of the source", "leave_one_family_out"},
    {VALIDATE_LEFT_OUT, "fitted without the row's source", "leave_one_source_out"},
    {VALIDATE_STEP, "one set of constants, fitted on most", "step_time"},
    {VALIDATE_CONSTANT_OUT, "baseline: a rate a kind, of other sources", "constant_rate_left_out"},
    {VALIDATE_CONSTANT, "baseline: a rate a kind, fitted on these", "constant_rate"},
};

/* The order of layouts is told of the one source that tried many of them, a part of its name. */
#define RANKED_SOURCE "vTrain"

static double in_band_pct(const struct validate_result *v, size_t judged)
{
    return 100.0 * (double)v->n_in_band / (double)judged;
}

static struct validate_group whole_of(const struct validate_row *rows, size_t count,
                                      enum validate_quantity q, struct arena *a)
{
    struct validate_group *g;
    size_t n = validate_groups(rows, count, q, VALIDATE_ALL, a, &g);
    return n ? g[0] : (struct validate_group){.name = "all"};
}

static struct validate_group whole(const struct validate_result *v, enum validate_quantity q,
                                   struct arena *a)
{
    return whole_of(v->rows, v->n_rows, q, a);
}

/* The kind of run of which a predictor is worst, of those with enough rows to say so. */
static struct validate_group worst_kind(const struct validate_row *rows, size_t count,
                                        enum validate_quantity q, struct arena *a)
{
    static const enum validate_key keys[] = {VALIDATE_BY_ACCELERATOR, VALIDATE_BY_CLASS,
                                             VALIDATE_BY_PRECISION, VALIDATE_BY_SCALE};
    struct validate_group worst = {.name = ""}, *g;
    for (size_t k = 0; k < ARRAY_LEN(keys); k++) {
        size_t n = validate_groups(rows, count, q, keys[k], a, &g);
        for (size_t i = 0; i < n; i++)
            if (g[i].stats.rows >= VALIDATE_RANKED_ROWS &&
                g[i].stats.mape_pct > worst.stats.mape_pct)
                worst = g[i];
    }
    return worst;
}

/* ------------------------------------------------------------------ terminal */

static void end_table(struct table *t, FILE *out)
{
    fputc('\n', out);
    table_print(t, out);
    table_free(t);
}

static void stats_row(struct table *t, const char *name, const struct validate_stats *s,
                      struct arena *a)
{
    if (!s->rows) {
        table_row(t, name, "0", NULL, NULL, NULL, NULL, NULL, "");
        return;
    }
    table_row(t, name, arena_printf(a, "%zu", s->rows), arena_printf(a, "%.1f", s->mape_pct),
              arena_printf(a, "%.1f", s->median_pct), arena_printf(a, "%+.1f", s->bias_pct),
              arena_printf(a, "%.1f", s->p90_pct), arena_printf(a, "%+.1f", s->worst_pct),
              arena_printf(a, "#%lld %s", (long long)s->worst->id, s->worst->model_name));
}

static struct table *stats_table(const char *what)
{
    const char *heads[] = {what,     "rows",  "MAPE %",  "median %",
                           "bias %", "p90 %", "worst %", "where"};
    return table_new(heads, ARRAY_LEN(heads), "lrrrrrrl");
}

/* A line of the first screen: the worst kind of run stands beside the mean. */
static void summary_row(struct table *t, const char *name, const struct validate_row *rows,
                        size_t count, enum validate_quantity q, struct arena *a)
{
    const struct validate_group all = whole_of(rows, count, q, a);
    const struct validate_group worst = worst_kind(rows, count, q, a);
    const struct validate_stats *s = &all.stats;
    if (!s->rows) return;
    table_row(t, name, arena_printf(a, "%zu", s->rows), arena_printf(a, "%.1f", s->mape_pct),
              arena_printf(a, "%.1f", s->median_pct), arena_printf(a, "%+.1f", s->bias_pct),
              arena_printf(a, "%.1f", s->p90_pct),
              *worst.name ? arena_printf(a, "%.1f (%s)", worst.stats.mape_pct, worst.name) : "");
}

/* The same by class: a mean over runs hides which of them it is worth something for. */
static void summary_classes(struct table *t, const struct validate_row *rows, size_t count,
                            enum validate_quantity q, struct arena *a)
{
    struct validate_group *g;
    size_t n = validate_groups(rows, count, q, VALIDATE_BY_CLASS, a, &g);
    for (size_t i = 0; i < n; i++) {
        const struct validate_stats *s = &g[i].stats;
        table_row(t, arena_printf(a, "  %s", g[i].name), arena_printf(a, "%zu", s->rows),
                  arena_printf(a, "%.1f", s->mape_pct), arena_printf(a, "%.1f", s->median_pct),
                  arena_printf(a, "%+.1f", s->bias_pct), arena_printf(a, "%.1f", s->p90_pct), "");
    }
}

static void print_summary(const struct validate_result *v, const struct validate_result *held,
                          struct arena *a, FILE *out)
{
    static const char *const heads[] = {
        "seconds of a step", "rows", "mean %", "median %", "bias %", "p90 %", "worst kind %"};
    struct table *t = table_new(heads, ARRAY_LEN(heads), "lrrrrrl");
    if (held)
        summary_row(t, "runs that no constant was fitted on", held->rows, held->n_rows,
                    VALIDATE_STEP, a);
    if (held) summary_classes(t, held->rows, held->n_rows, VALIDATE_STEP, a);
    for (size_t i = 0; i < ARRAY_LEN(predictors); i++) {
        enum validate_quantity q = predictors[i].quantity;
        if (q == VALIDATE_CONSTANT_OUT) table_rule(t);
        summary_row(t, predictors[i].title, v->rows, v->n_rows, q, a);
        if (q == VALIDATE_FAMILY_OUT) summary_classes(t, v->rows, v->n_rows, q, a);
    }
    table_rule(t);
    if (held)
        summary_row(t, "memory of runs that none was fitted on", held->rows, held->n_rows,
                    VALIDATE_MEMORY, a);
    summary_row(t, held ? "memory, four constants fitted on a part" : "memory", v->rows, v->n_rows,
                VALIDATE_MEMORY, a);
    end_table(t, out);
}

static void print_section(const struct validate_result *v, enum validate_quantity q,
                          enum validate_key key, const char *title, struct arena *a, FILE *out)
{
    struct validate_group *g;
    size_t n = validate_groups(v->rows, v->n_rows, q, key, a, &g);
    if (!n) return;
    struct table *t = stats_table(title);
    for (size_t i = 0; i < n; i++)
        stats_row(t, g[i].name, &g[i].stats, a);
    end_table(t, out);
}

#define LINES_TOLD 4

/* Rows that were not judged, by their reason, with the first lines of each: a table is put together
 * by hand, and a slip in it must be found. */
static void print_left_out(const struct validate_result *v, struct arena *a, FILE *out)
{
    const char *reasons[16] = {NULL};
    int lines[16][LINES_TOLD];
    size_t counts[16] = {0}, n = 0, others = 0;
    size_t judged = whole(v, VALIDATE_STEP, a).stats.rows;
    fprintf(out, "%zu rows: %zu judged", v->n_rows, judged);
    if (v->n_tier) fprintf(out, ", %zu of tiers other than %s", v->n_tier, v->tiers);
    if (v->n_skipped) fprintf(out, ", %zu that cannot be predicted:", v->n_skipped);
    fputc('\n', out);
    for (size_t i = 0; i < v->n_rows; i++) {
        const struct plan_row *r = v->rows[i].row;
        size_t k = 0;
        if (v->rows[i].timed || !strchr(v->tiers, r->tier) || r->bad) continue;
        const char *why = r->skip ? r->skip : "memory only: no step time is stated";
        while (k < n && strcmp(reasons[k], why) != 0)
            k++;
        if (k == n && n < ARRAY_LEN(reasons)) reasons[n++] = why;
        if (k == n) {
            others++;
            continue;
        }
        if (counts[k] < LINES_TOLD) lines[k][counts[k]] = r->line;
        counts[k]++;
    }
    for (size_t k = 0; k < n; k++) {
        fprintf(out, "  %4zu  %s (line%s", counts[k], reasons[k], counts[k] > 1 ? "s" : "");
        for (size_t i = 0; i < MIN(counts[k], LINES_TOLD); i++)
            fprintf(out, "%s %d", i ? "," : "", lines[k][i]);
        fprintf(out, "%s)\n", counts[k] > LINES_TOLD ? ", ..." : "");
    }
    if (v->n_bad)
        fprintf(out, "  %4zu  with a cell that could not be read (--strict stops at the first):\n",
                v->n_bad);
    for (size_t i = 0; i < v->n_rows; i++) {
        const struct plan_row *r = v->rows[i].row;
        if (r->bad) fprintf(out, "        line %s; %s\n", r->bad, r->cure);
    }
    if (others) fprintf(out, "  %4zu  for other reasons: see --rows\n", others);
    if (v->n_mismatch)
        fprintf(out,
                "Of %zu judged the source's FLOP rate contradicts its time (its counter changed, "
                "not the\n"
                "clock): the time is what is judged.\n",
                v->n_mismatch);
}

/* Memory in GiB: predicted, and in brackets measured. */
static void print_rows(const struct validate_result *v, struct arena *a, FILE *out)
{
    static const char *const heads[] = {"id",      "tier",       "source",     "model",
                                        "machine", "layout",     "measured s", "predicted s",
                                        "error %", "memory GiB", "note"};
    struct table *t = table_new(heads, ARRAY_LEN(heads), "llllllrrrrl");
    char layout[160];
    for (size_t i = 0; i < v->n_rows; i++) {
        const struct validate_row *x = &v->rows[i];
        const struct plan_row *r = x->row;
        if (!strchr(v->tiers, r->tier) && !(r->memory_bytes > 0)) continue;
        bool both = !r->skip && r->step_s > 0;
        const char *memory =
            r->skip ? NULL : arena_printf(a, "%.1f", x->step.memory.total / 0x1p30);
        if (memory && r->memory_bytes > 0)
            memory = arena_printf(a, "%s (%.1f)", memory, r->memory_bytes / 0x1p30);
        table_row(
            t, arena_printf(a, "%lld", (long long)r->id), arena_printf(a, "%c", r->tier), r->source,
            r->model_name, arena_printf(a, "%lld %s", (long long)r->n_gpus, r->gpu),
            r->skip ? "" : plan_layout_text(&r->layout, layout, sizeof(layout)),
            r->step_s > 0 ? arena_printf(a, "%.4g", r->step_s) : NULL,
            r->skip ? NULL : arena_printf(a, "%.4g", x->step.step_s),
            both ? arena_printf(a, "%+.1f", 100 * (x->step.step_s / r->step_s - 1)) : NULL, memory,
            r->skip       ? r->skip
            : r->mismatch ? "its FLOP rate contradicts its time"
                          : r->assumed);
    }
    end_table(t, out);
}

static void print_constants(const struct plan_constant *c, size_t n, struct arena *a, FILE *out)
{
    static const char *const heads[] = {"constant", "value", "fitted", "on what, or from where"};
    struct table *t = table_new(heads, ARRAY_LEN(heads), "lrll");
    for (size_t i = 0; i < n; i++)
        table_row(t, c[i].name, arena_printf(a, "%.6g", c[i].value),
                  c[i].high > c[i].low ? "yes" : "no", c[i].source);
    end_table(t, out);
}

static void print_ranking(const struct validate_result *v, const char *source, const char *what,
                          struct arena *a, FILE *out)
{
    struct validate_ranking r = validate_ranking(v->rows, v->n_rows, source, a);
    if (!r.pairs) return;
    fprintf(out, "Order of layouts, %s: Kendall's tau %.2f over %zu pairs", what, r.tau, r.pairs);
    if (isfinite(r.mean_tau) && r.groups > 1)
        fprintf(out, ", %.2f as the mean of models", r.mean_tau);
    fputc('\n', out);
}

/* The order of the layouts of each model with many. */
static void print_rankings(const struct validate_result *v, struct arena *a, FILE *out)
{
    static const char *const heads[] = {"order of layouts", "accelerators", "rows", "pairs", "tau"};
    struct validate_ranking r = validate_ranking(v->rows, v->n_rows, NULL, a);
    struct table *t = NULL;
    for (size_t i = 0; i < r.groups; i++) {
        const struct validate_ranking *g = &r.group[i];
        if (g->rows < VALIDATE_RANKED_ROWS) continue;
        if (!t) t = table_new(heads, ARRAY_LEN(heads), "llrrr");
        table_row(t, g->of->model_name,
                  arena_printf(a, "%lld %s", (long long)g->of->n_gpus, g->of->gpu),
                  arena_printf(a, "%zu", g->rows), arena_printf(a, "%zu", g->pairs),
                  isfinite(g->tau) ? arena_printf(a, "%.2f", g->tau) : "N/A");
    }
    if (!t) return;
    end_table(t, out);
}

static void print_fits(const struct validate_result *v, size_t judged, FILE *out)
{
    if (!v->left_out.count)
        fprintf(out, "The constants fitted without each source are outside of today's ranges: "
                     "tools/fit-plan\n--left-out --write fits them again\n");
    else if (v->n_left_out < judged)
        fprintf(
            out,
            "%zu rows are of sources without a fit of their own: predicted with the constants as "
            "they are\n",
            judged - v->n_left_out);
}

static void print_groups(const struct validate_result *v, struct arena *a, FILE *out)
{
    for (size_t i = 0; i < ARRAY_LEN(sections); i++)
        print_section(v, VALIDATE_STEP, sections[i].key, sections[i].title, a, out);
    print_rankings(v, a, out);
    print_section(v, VALIDATE_MEMORY, VALIDATE_BY_SOURCE, "memory by source", a, out);
    print_section(v, VALIDATE_LEFT_OUT, VALIDATE_BY_SOURCE, "fitted without the source", a, out);
    print_section(v, VALIDATE_FAMILY_OUT, VALIDATE_BY_FAMILY, "fitted without all releases", a,
                  out);
}

void validate_print(const struct validate_result *v, const struct validate_result *held,
                    const struct plan_validate_options *o, struct arena *a, FILE *out)
{
    fprintf(out, "Predicted against measured: %s\n", v->path);
    print_left_out(v, a, out);
    print_summary(v, held, a, out);
    size_t judged = whole(v, VALIDATE_STEP, a).stats.rows;
    fputc('\n', out);
    print_ranking(v, RANKED_SOURCE, RANKED_SOURCE, a, out);
    print_ranking(v, NULL, "all sources", a, out);
    if (judged)
        fprintf(
            out,
            "Measured within low .. high of the prediction: %.0f %% of the rows (meant: 80 %%)\n",
            in_band_pct(v, judged));
    if (judged) print_fits(v, judged, out);
    if (v->recipes.rows)
        fprintf(out,
                "Published recipes: %zu, of which %zu are possible and %zu are found by the search "
                "or\nwithin 2 %% of what it finds (%.1f s)\n",
                v->recipes.rows, v->recipes.possible, v->recipes.matched, v->recipes.search_s);
    if (o->groups) print_groups(v, a, out);
    if (o->rows) print_rows(v, a, out);
    if (o->constants) {
        print_constants(plan_constants, plan_constants_count(), a, out);
        print_constants(plan_memory_constants, plan_memory_constants_count, a, out);
    }
    if (!o->groups && !o->rows && !o->constants)
        fprintf(out, "More: --groups (by source, accelerator, kind ...), --rows, --constants, "
                     "--plot FILE\n");
}

/* ------------------------------------------------------------------ JSON */

static json_t *real_unless(bool none, double x)
{
    return none ? json_null() : plan_json_real(x);
}

static json_t *stats_json(const struct validate_stats *s)
{
    bool none = s->rows == 0;
    return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "rows", (json_int_t)s->rows, "mape_pct",
                     real_unless(none, s->mape_pct), "median_pct", real_unless(none, s->median_pct),
                     "bias_pct", real_unless(none, s->bias_pct), "p90_pct",
                     real_unless(none, s->p90_pct), "worst_pct", real_unless(none, s->worst_pct),
                     "worst_id", s->worst ? json_integer(s->worst->id) : json_null());
}

static json_t *quantity_json(const struct validate_result *v, enum validate_quantity q,
                             struct arena *a)
{
    struct validate_group all = whole(v, q, a);
    json_t *o = stats_json(&all.stats);
    for (size_t i = 0; i < ARRAY_LEN(sections); i++) {
        struct validate_group *g;
        size_t n = validate_groups(v->rows, v->n_rows, q, sections[i].key, a, &g);
        json_t *by = json_object();
        for (size_t k = 0; k < n; k++)
            json_object_set_new(by, g[k].name, stats_json(&g[k].stats));
        json_object_set_new(o, sections[i].json, by);
    }
    return o;
}

static json_t *rank_json(const struct validate_ranking *r)
{
    return json_pack("{s:o, s:I, s:I}", "kendall_tau", plan_json_real(r->tau), "rows",
                     (json_int_t)r->rows, "pairs", (json_int_t)r->pairs);
}

static json_t *ranking_json(const struct validate_result *v, const char *source, struct arena *a)
{
    struct validate_ranking r = validate_ranking(v->rows, v->n_rows, source, a);
    json_t *o = rank_json(&r), *groups = json_array();
    json_object_set_new(o, "kendall_tau_mean", plan_json_real(r.mean_tau));
    json_object_set_new(o, "groups", json_integer((json_int_t)r.groups));
    for (size_t i = 0; i < r.groups; i++) {
        const struct plan_row *of = r.group[i].of;
        json_t *g = rank_json(&r.group[i]);
        json_object_set_new(g, "source", plan_json_text(of->source));
        json_object_set_new(g, "model", plan_json_text(of->model_name));
        json_object_set_new(g, "accelerator", plan_json_text(of->gpu));
        json_object_set_new(g, "accelerators", json_integer(of->n_gpus));
        json_array_append_new(groups, g);
    }
    json_object_set_new(o, "by_group", groups);
    return o;
}

static void add_constants(const struct plan_constant *c, size_t n, json_t *list)
{
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_pack("{s:s, s:f, s:b, s:s}", "name", c[i].name, "value",
                                              c[i].value, "fitted", c[i].high > c[i].low, "source",
                                              c[i].source));
}

/* A row that cannot be predicted ends with the reason. */
static json_t *row_json(const struct validate_row *x)
{
    const struct plan_row *r = x->row;
    char layout[160];
    json_t *o = json_pack(
        "{s:I, s:i, s:o, s:b, s:o, s:o, s:o, s:I, s:b, s:o, s:o, s:s, s:f, s:o}", "id",
        (json_int_t)r->id, "line", r->line, "tier", json_stringn(&r->tier, 1), "mismatch",
        r->mismatch, "source", plan_json_text(r->source), "model", plan_json_text(r->model_name),
        "accelerator", plan_json_text(r->gpu), "accelerators", (json_int_t)r->n_gpus, "counted",
        x->timed, "measured_s", real_unless(!(r->step_s > 0), r->step_s), "measured_memory_bytes",
        real_unless(!(r->memory_bytes > 0), r->memory_bytes), "stack",
        plan_stack_names[r->software.stack], "generation", r->software.generation, "skipped",
        r->skip ? plan_json_text(r->skip) : json_null());
    if (r->skip) return o;
    json_object_set_new(o, "assumed", plan_json_text(r->assumed));
    json_object_set_new(o, "layout",
                        plan_json_text(plan_layout_text(&r->layout, layout, sizeof(layout))));
    json_object_set_new(o, "predicted_s", plan_json_real(x->step.step_s));
    json_object_set_new(o, "low_s", plan_json_real(x->step.low_s));
    json_object_set_new(o, "high_s", plan_json_real(x->step.high_s));
    json_object_set_new(o, "predicted_memory_bytes", plan_json_real(x->step.memory.total));
    json_object_set_new(o, "left_out_s", real_unless(!(x->left_out_s > 0), x->left_out_s));
    return o;
}

static json_t *counts_json(const struct validate_result *v)
{
    return json_pack("{s:o, s:I, s:s, s:I, s:I, s:I, s:I}", "path", plan_json_text(v->path), "rows",
                     (json_int_t)v->n_rows, "tiers", v->tiers, "other_tiers", (json_int_t)v->n_tier,
                     "mismatch", (json_int_t)v->n_mismatch, "not_predictable",
                     (json_int_t)v->n_skipped, "not_readable", (json_int_t)v->n_bad);
}

static json_t *recipes_json(const struct validate_recipes *r)
{
    return json_pack("{s:I, s:I, s:I, s:o, s:o, s:f}", "rows", (json_int_t)r->rows, "possible",
                     (json_int_t)r->possible, "matched", (json_int_t)r->matched, "worst_ratio",
                     plan_json_real(r->worst_ratio), "worst_id",
                     r->worst ? json_integer(r->worst->id) : json_null(), "search_s", r->search_s);
}

/* The figures of the rows whose source agrees with itself, and of the runs that nothing was fitted on. */
static json_t *beside_json(const struct validate_row *rows, size_t count, bool predicted,
                           struct arena *a)
{
    json_t *o = json_object();
    for (size_t i = 0; i < ARRAY_LEN(predictors); i++) {
        enum validate_quantity q = predictors[i].quantity;
        if (!predicted && q != VALIDATE_STEP) continue;
        const struct validate_group all = whole_of(rows, count, q, a);
        json_object_set_new(o, predictors[i].json, stats_json(&all.stats));
    }
    const struct validate_group memory = whole_of(rows, count, VALIDATE_MEMORY, a);
    json_object_set_new(o, "memory", stats_json(&memory.stats));
    struct validate_group *g;
    size_t n = validate_groups(rows, count, VALIDATE_STEP, VALIDATE_BY_CLASS, a, &g);
    json_t *by = json_object();
    for (size_t i = 0; i < n; i++)
        json_object_set_new(by, g[i].name, stats_json(&g[i].stats));
    json_object_set_new(o, "by_class", by);
    return o;
}

json_t *validate_to_json(const struct validate_result *v, const struct validate_result *held,
                         bool rows, struct arena *a)
{
    json_t *o = json_object(), *constants = json_array();
    json_object_set_new(o, "table", counts_json(v));
    for (size_t i = 0; i < ARRAY_LEN(predictors); i++)
        json_object_set_new(o, predictors[i].json, quantity_json(v, predictors[i].quantity, a));
    json_object_set_new(o, "memory", quantity_json(v, VALIDATE_MEMORY, a));
    json_object_set_new(o, "agreeing", beside_json(v->agreeing, v->n_rows, true, a));
    json_object_set_new(o, "held_out",
                        held ? beside_json(held->rows, held->n_rows, false, a) : json_null());
    /* a table without that source has an order of its own */
    json_t *ranking = ranking_json(v, RANKED_SOURCE, a);
    if (!json_integer_value(json_object_get(ranking, "pairs"))) {
        json_decref(ranking);
        ranking = ranking_json(v, NULL, a);
    }
    json_object_set_new(ranking, "all_sources", ranking_json(v, NULL, a));
    json_object_set_new(o, "ranking", ranking);
    size_t judged = whole(v, VALIDATE_STEP, a).stats.rows;
    json_object_set_new(o, "within_band_pct", real_unless(!judged, in_band_pct(v, judged)));
    if (v->recipes.rows) json_object_set_new(o, "recipes", recipes_json(&v->recipes));
    add_constants(plan_constants, plan_constants_count(), constants);
    add_constants(plan_memory_constants, plan_memory_constants_count, constants);
    json_object_set_new(o, "constants", constants);
    if (rows) {
        json_t *list = json_array();
        for (size_t i = 0; i < v->n_rows; i++)
            json_array_append_new(list, row_json(&v->rows[i]));
        json_object_set_new(o, "rows", list);
    }
    return o;
}
