/* plan_validate_stats.c: how far predictions lie from what was measured, and how far simpler
 * predictors would.
 *
 * An error is predicted / measured - 1. The mean of its absolute value (MAPE), its mean (bias) and
 * its 90th percentile are reported together, because each hides what the others show. The first
 * baseline is the best that one constant rate per accelerator, precision and model class can do:
 * the rate that minimises the MAPE of its class, a weighted median. The second takes the rate from
 * other sources only, as one has to for a run that nobody has made yet. A model that is not clearly
 * better than both is not worth its constants. */
#include "plan/validate/plan_validate_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ errors */

static double error_of(const struct validate_pair *p)
{
    return 100 * (p->predicted / p->measured - 1);
}

static int by_size_of_error(const void *x, const void *y)
{
    double a = fabs(error_of(x)), b = fabs(error_of(y));
    return (a > b) - (a < b);
}

/* Linear between the two ranks around q, as numpy's percentile. */
static double quantile(const struct validate_pair *sorted, size_t n, double q)
{
    double at = q * (double)(n - 1);
    size_t low = (size_t)at, high = MIN(low + 1, n - 1);
    double x = fabs(error_of(&sorted[low])), y = fabs(error_of(&sorted[high]));
    return x + (y - x) * (at - (double)low);
}

struct validate_stats validate_stats_of(struct validate_pair *pairs, size_t count)
{
    struct validate_stats s = {.rows = count};
    if (!count) return s;
    qsort(pairs, count, sizeof(*pairs), by_size_of_error);
    for (size_t i = 0; i < count; i++) {
        s.bias_pct += error_of(&pairs[i]) / (double)count;
        s.mape_pct += fabs(error_of(&pairs[i])) / (double)count;
    }
    s.median_pct = quantile(pairs, count, 0.5);
    s.p90_pct = quantile(pairs, count, 0.9);
    s.worst_pct = error_of(&pairs[count - 1]);
    s.worst = pairs[count - 1].row;
    return s;
}

static bool pair_of(const struct validate_row *v, enum validate_quantity q, struct validate_pair *p)
{
    p->row = v->row;
    p->measured = v->row->step_s;
    switch (q) {
    case VALIDATE_STEP: p->predicted = v->predicted_s; break;
    case VALIDATE_LEFT_OUT: p->predicted = v->left_out_s; break;
    case VALIDATE_FAMILY_OUT: p->predicted = v->family_out_s; break;
    case VALIDATE_CONSTANT: p->predicted = v->constant_s; break;
    case VALIDATE_CONSTANT_OUT: p->predicted = v->constant_out_s; break;
    case VALIDATE_MEMORY:
        if (v->row->skip) return false;
        p->predicted = v->step.memory.total;
        p->measured = v->row->memory_bytes;
        return p->measured > 0;
    }
    return v->timed && p->predicted > 0;
}

/* ------------------------------------------------------------------ groups */

static const char *class_of(const struct plan_row *r)
{
    if (r->software.stack == PLAN_STACK_FSDP) return "PyTorch";
    if (r->model.mamba_layers > 0) return "hybrid";
    return model_is_moe(&r->model) ? "experts" : "dense";
}

static const char *key_of(const struct plan_row *r, enum validate_key key)
{
    static const struct {
        int64_t below;
        const char *name;
    } scales[] = {{64, "1 to 63"},
                  {512, "64 to 511"},
                  {2048, "512 to 2047"},
                  {8192, "2048 to 8191"},
                  {INT64_MAX, "8192 and more"}};
    size_t i = 0;
    switch (key) {
    case VALIDATE_ALL: break;
    case VALIDATE_BY_SOURCE: return r->source;
    case VALIDATE_BY_FAMILY: return r->family;
    case VALIDATE_BY_ACCELERATOR: return r->accelerator.name;
    case VALIDATE_BY_CLASS: return class_of(r);
    case VALIDATE_BY_PRECISION: return machine_precision_names[r->layout.precision];
    case VALIDATE_BY_SCALE:
        while (r->n_gpus >= scales[i].below)
            i++;
        return scales[i].name;
    }
    return "all";
}

static int by_rows(const void *x, const void *y)
{
    const struct validate_group *a = x, *b = y;
    if (a->stats.rows != b->stats.rows) return a->stats.rows < b->stats.rows ? 1 : -1;
    return strcmp(a->name, b->name);
}

size_t validate_groups(const struct validate_row *rows, size_t count, enum validate_quantity q,
                       enum validate_key key, struct arena *a, struct validate_group **groups)
{
    struct validate_pair pair, *pairs = arena_alloc(a, MAX(count, 1) * sizeof(*pairs));
    struct validate_group *g = arena_alloc(a, MAX(count, 1) * sizeof(*g));
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        bool seen = false;
        if (!pair_of(&rows[i], q, &pair)) continue;
        for (size_t k = 0; k < n && !seen; k++)
            seen = strcmp(g[k].name, key_of(rows[i].row, key)) == 0;
        if (!seen) g[n++].name = key_of(rows[i].row, key);
    }
    for (size_t k = 0; k < n; k++) {
        size_t in = 0;
        for (size_t i = 0; i < count; i++)
            if (pair_of(&rows[i], q, &pair) && strcmp(g[k].name, key_of(rows[i].row, key)) == 0)
                pairs[in++] = pair;
        g[k].stats = validate_stats_of(pairs, in);
    }
    qsort(g, n, sizeof(*g), by_rows);
    *groups = g;
    return n;
}

/* ------------------------------------------------------------------ baselines */

int validate_by_value(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

/* The x that minimises sum |r_i / x - 1| = sum r_i |1/x - 1/r_i|: the median of 1/r_i weighted by
 * r_i, which is that of r_i. 0 where there are none. Sorts r. */
static double best_rate(double *r, size_t n)
{
    double total = 0, sum = 0;
    qsort(r, n, sizeof(*r), validate_by_value);
    for (size_t i = 0; i < n; i++)
        total += r[i];
    for (size_t i = 0; i < n; i++) {
        sum += r[i];
        if (2 * sum >= total) return r[i];
    }
    return 0;
}

static double achieved_rate(const struct validate_row *v)
{
    return v->step.model_flops / (v->row->step_s * (double)v->row->n_gpus);
}

static double peak_rate(const struct validate_row *v)
{
    return v->row->accelerator.peak_flops[v->row->layout.precision].mid;
}

/* level 0: same accelerator, precision and class; 1: same accelerator and precision; 2: any, as a
 * share of the peak. */
static bool same_class(const struct validate_row *x, const struct validate_row *y, int level)
{
    if (level == 2) return true;
    if (strcmp(x->row->accelerator.name, y->row->accelerator.name) != 0) return false;
    if (x->row->layout.precision != y->row->layout.precision) return false;
    return level == 1 || strcmp(class_of(x->row), class_of(y->row)) == 0;
}

/* The constant rate for v from rows of its class, of other sources only where left_out. */
static double constant_rate(const struct validate_row *v, const struct validate_row *rows,
                            size_t count, bool left_out, double *scratch)
{
    for (int level = 0; level < 3; level++) {
        size_t n = 0;
        for (size_t i = 0; i < count; i++) {
            if (!rows[i].timed || !same_class(v, &rows[i], level)) continue;
            if (left_out && strcmp(v->row->source, rows[i].row->source) == 0) continue;
            double rate = achieved_rate(&rows[i]);
            if (level == 2) rate /= peak_rate(&rows[i]);
            scratch[n++] = rate;
        }
        if (n) return best_rate(scratch, n) * (level == 2 ? peak_rate(v) : 1);
    }
    return 0;
}

void validate_baselines(struct validate_row *rows, size_t count)
{
    double *scratch = mem_calloc(MAX(count, 1), sizeof(*scratch));
    for (size_t i = 0; i < count; i++) {
        struct validate_row *v = &rows[i];
        if (!v->timed) continue;
        double flops = v->step.model_flops / (double)v->row->n_gpus;
        double rate = constant_rate(v, rows, count, false, scratch);
        v->constant_s = rate > 0 ? flops / rate : 0;
        rate = constant_rate(v, rows, count, true, scratch);
        v->constant_out_s = rate > 0 ? flops / rate : 0;
    }
    mem_free(scratch);
}

/* ------------------------------------------------------------------ ranking */

/* Layouts that compete: the same work on the same machine, told by the same source. */
static bool competes(const struct validate_row *x, const struct validate_row *y)
{
    const struct plan_row *a = x->row, *b = y->row;
    return strcmp(a->source, b->source) == 0 && strcmp(a->model_name, b->model_name) == 0 &&
           strcmp(a->gpu, b->gpu) == 0 && a->n_gpus == b->n_gpus &&
           a->batch.seq_len == b->batch.seq_len && a->layout.precision == b->layout.precision &&
           a->model.n_layers == b->model.n_layers &&
           a->software.generation == b->software.generation;
}

static double seconds_per_token(const struct validate_row *v, bool measured)
{
    double tokens = (double)v->row->batch.global_batch * (double)v->row->batch.seq_len;
    return (measured ? v->row->step_s : v->predicted_s) / tokens;
}

static int sign(double x)
{
    return (x > 0) - (x < 0);
}

/* What pairs of layouts say: +1 for each that is predicted in the measured order, -1 against. */
struct tally {
    double agree, untied_predicted, untied_measured;
};

static bool ranked(const struct validate_row *v, const char *source)
{
    return v->timed && (!source || strstr(v->row->source, source));
}

static void tally_pair(const struct validate_row *x, const struct validate_row *y, struct tally *t)
{
    int p = sign(seconds_per_token(x, false) - seconds_per_token(y, false));
    int m = sign(seconds_per_token(x, true) - seconds_per_token(y, true));
    t->agree += p * m;
    t->untied_predicted += p != 0;
    t->untied_measured += m != 0;
}

static double tau_b(const struct tally *t) /* ties count in neither */
{
    double scale = sqrt(t->untied_predicted * t->untied_measured);
    return scale > 0 ? t->agree / scale : NAN;
}

/* The group of rows[first], of which no row stands before it. */
static void rank_group(const struct validate_row *rows, size_t count, size_t first,
                       struct validate_ranking *g, struct tally *t)
{
    for (size_t i = first; i < count; i++) {
        if (!rows[i].timed || !(i == first || competes(&rows[first], &rows[i]))) continue;
        g->rows++;
        for (size_t k = i + 1; k < count; k++) {
            if (!rows[k].timed || !competes(&rows[i], &rows[k])) continue;
            g->pairs++;
            tally_pair(&rows[i], &rows[k], t);
        }
    }
}

struct validate_ranking validate_ranking(const struct validate_row *rows, size_t count,
                                         const char *source, struct arena *a)
{
    struct validate_ranking r = {.tau = NAN, .mean_tau = NAN};
    struct tally all = {0};
    double sum = 0;
    size_t n = 0;
    r.group = arena_alloc(a, MAX(count, 1) * sizeof(*r.group));
    for (size_t i = 0; i < count; i++) {
        struct validate_ranking g = {.of = rows[i].row};
        struct tally t = {0};
        bool first = ranked(&rows[i], source);
        for (size_t k = 0; first && k < i; k++)
            first = !(rows[k].timed && competes(&rows[i], &rows[k]));
        if (!first) continue;
        rank_group(rows, count, i, &g, &t);
        if (!g.pairs) continue;
        g.tau = g.mean_tau = tau_b(&t);
        g.groups = 1;
        r.rows += g.rows;
        r.pairs += g.pairs;
        all.agree += t.agree;
        all.untied_predicted += t.untied_predicted;
        all.untied_measured += t.untied_measured;
        if (g.rows >= VALIDATE_RANKED_ROWS && isfinite(g.tau)) {
            sum += g.tau;
            n++;
        }
        r.group[r.groups++] = g;
    }
    r.tau = tau_b(&all);
    if (n) r.mean_tau = sum / (double)n;
    return r;
}
