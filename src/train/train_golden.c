/* train_golden.c: `colossus check-golden`: the whole of training against numbers of the reference,
 * and what may be between them.
 *
 * Bounds in fp32: logits 2e-5 of the largest logit, every gradient tensor 2e-4 in relative L2,
 * losses 1e-5 relative, loss curve, gradient norms and the weights after the last step 1e-4, greedy
 * tokens the same.
 *
 * Bounds in bf16: a number rounded to 8 bits of mantissa is off by up to u = 2^-9 of itself. What
 * that does to a result depends on the folder: norms and caps make one model ten times more
 * sensitive than another. So the sensitivity is measured first, in fp32: with weights disturbed at
 * random by up to u, SENSITIVITIES times over, the root mean square of each error is what one
 * rounding per weight explains. A product in bf16 rounds its weights, its input and its output, and
 * between products norms, rotation, attention and the gated unit round once or twice more: about
 * five sources of that size, sqrt(5) of its error. Bounds: 6 times the measured error for vectors
 * (logits, gradients, weights), and 12 times for single numbers, which scatter around nothing
 * instead of around their size; never below u / 16. Greedy tokens are shown and not judged: a near
 * tie may fall either way.
 *
 * A near tie between experts that falls the other way changes a token's result altogether, in bf16
 * as in a disturbed run. It shows in the experts' loads. Where the loads of the first batch are the
 * reference's, only disturbed runs whose loads are too are asked, and the bounds of the first batch
 * are tight; the steps behind it may always meet a tie, so all runs are asked for them. */
#include "train/train_golden_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WORST_SHOWN   5
#define SENSITIVITIES 8

static const struct {
    const char *what, *key;
    double fp32;  /* bound; INFINITY: shown only */
    double bf16;  /* bound, times the measured sensitivity */
    bool experts; /* there is none in a dense model */
    bool first_batch;
} quantities[GOLDEN_QUANTITIES] = {
    [GOLDEN_LOGITS_LARGEST] = {"logits, largest / largest", "logits_largest", 2e-5, 12, false,
                               true},
    [GOLDEN_LOGITS] = {"logits, relative L2", "logits", 2e-5, 6, false, true},
    [GOLDEN_CE] = {"cross entropy", "ce", 1e-5, 12, false, true},
    [GOLDEN_AUX] = {"auxiliary loss", "aux", 1e-5, 12, true, true},
    [GOLDEN_Z] = {"z-loss", "z", 1e-5, 12, true, true},
    [GOLDEN_LOSS] = {"loss", "loss", 1e-5, 12, false, true},
    [GOLDEN_WORST_GRADIENT] = {"worst gradient, relative L2", "worst_gradient", 2e-4, 6, false,
                               true},
    [GOLDEN_GRADIENTS] = {"all gradients, relative L2", "gradients", 2e-4, 6, false, true},
    [GOLDEN_CURVE] = {"loss curve", "curve", 1e-4, 12, false, false},
    [GOLDEN_NORMS] = {"gradient norms", "norms", 1e-4, 12, false, false},
    [GOLDEN_TRAINED] = {"trained weights, relative L2", "trained", 1e-4, 6, false, false},
};

struct report {
    const struct golden *g;
    const char *backend;
    struct golden_errors errors;
    double bound[GOLDEN_QUANTITIES];
    bool greedy_judged;
    bool ties;     /* bf16 chose other experts somewhere in the first batch */
    size_t *order; /* gradient tensors, worst first */
};

/* ------------------------------------------------------------------ bounds */

struct sensitivity { /* sums of squares over the disturbed runs, and how many there were */
    double all[GOLDEN_QUANTITIES], alike[GOLDEN_QUANTITIES];
    int n_all, n_alike; /* alike: with the loads of the undisturbed run */
};

static bool same_load(const struct golden *g, const struct golden_errors *a,
                      const struct golden_errors *b)
{
    const struct model_config *c = &g->config.model;
    return memcmp(a->load, b->load, (size_t)(c->n_layers * c->n_experts) * sizeof(double)) == 0;
}

static int measure_sensitivity(struct golden *g, const struct train_golden_options *o,
                               const struct golden_errors *plain, struct sensitivity *s,
                               struct error *e)
{
    memset(s, 0, sizeof(*s));
    for (uint64_t i = 0; i < SENSITIVITIES; i++) {
        struct golden_run r = {
            .dtype = COMPUTE_F32, .backend = o->backend, .disturb = ldexp(1, -9), .seed = i + 1};
        struct golden_errors errors;
        TRY(golden_measure(g, &r, &errors, NULL, e));
        bool alike = same_load(g, &errors, plain);
        s->n_all++;
        s->n_alike += alike;
        for (int q = 0; q < GOLDEN_QUANTITIES; q++) {
            double square = errors.of[q] * errors.of[q];
            s->all[q] += square;
            s->alike[q] += alike ? square : 0;
        }
    }
    return 0;
}

static int set_bounds(struct golden *g, const struct train_golden_options *o, struct report *r,
                      struct error *e)
{
    r->greedy_judged = o->dtype == COMPUTE_F32;
    if (o->dtype == COMPUTE_F32) {
        for (int q = 0; q < GOLDEN_QUANTITIES; q++)
            r->bound[q] = quantities[q].fp32;
        return 0;
    }
    struct golden_run run = {.dtype = COMPUTE_F32, .backend = o->backend};
    struct golden_errors plain;
    struct sensitivity s;
    TRY(golden_measure(g, &run, &plain, NULL, e));
    TRY(measure_sensitivity(g, o, &plain, &s, e));
    bool tight = s.n_alike > 0 && same_load(g, &r->errors, &plain);
    r->ties = !same_load(g, &r->errors, &plain);
    for (int q = 0; q < GOLDEN_QUANTITIES; q++) {
        double rms = tight && quantities[q].first_batch ? sqrt(s.alike[q] / s.n_alike)
                                                        : sqrt(s.all[q] / s.n_all);
        r->bound[q] = fmax(quantities[q].bf16 * rms, ldexp(1, -13));
    }
    return 0;
}

static bool is_compared(const struct report *r, int q)
{
    return !quantities[q].experts || r->g->config.model.n_experts > 1;
}

/* A NaN does not hold. */
static bool holds(const struct report *r, int q)
{
    return !is_compared(r, q) || r->errors.of[q] <= r->bound[q];
}

static bool greedy_holds(const struct report *r)
{
    return !r->greedy_judged || r->errors.greedy_same == r->errors.greedy_total;
}

static bool all_hold(const struct report *r)
{
    bool good = greedy_holds(r);
    for (int q = 0; q < GOLDEN_QUANTITIES; q++)
        good = good && holds(r, q);
    return good;
}

/* ------------------------------------------------------------------ printing */

static const double *sorted_errors; /* for compare_worst; one thread prints */

static int compare_worst(const void *a, const void *b)
{
    double x = sorted_errors[*(const size_t *)a], y = sorted_errors[*(const size_t *)b];
    return isnan(x) || x > y ? -1 : x < y;
}

static void sort_gradients(struct report *r, struct arena *a)
{
    size_t n = r->g->params.n_rows;
    r->order = arena_alloc(a, n * sizeof(*r->order));
    for (size_t i = 0; i < n; i++)
        r->order[i] = i;
    sorted_errors = r->errors.gradient;
    qsort(r->order, n, sizeof(*r->order), compare_worst);
}

static void print_table(const struct report *r, FILE *out)
{
    static const char *const heads[] = {"what", "error", "bound", ""};
    const struct golden *g = r->g;
    struct table *t = table_new(heads, 4, "lrrl");
    char error[32], bound[32];
    for (int q = 0; q < GOLDEN_QUANTITIES; q++) {
        if (!is_compared(r, q)) continue;
        snprintf(error, sizeof(error), "%.2e", r->errors.of[q]);
        snprintf(bound, sizeof(bound), "%.2e", r->bound[q]);
        table_row(t, quantities[q].what, error, bound, holds(r, q) ? "holds" : "FAILS");
    }
    snprintf(error, sizeof(error), "%d of %d", r->errors.greedy_same, r->errors.greedy_total);
    table_row(t, "greedy tokens the same", error, r->greedy_judged ? "all" : "",
              !r->greedy_judged ? "shown"
              : greedy_holds(r) ? "holds"
                                : "FAILS");
    fprintf(out, "%s: %lld steps of %lld x %lld tokens, %s", g->dir, (long long)g->steps,
            (long long)g->B, (long long)g->T, r->backend);
    char layout[96];
    if (g->ranks.size > 1)
        fprintf(out, "; %d ranks: %s, zero %lld", g->ranks.size,
                train_ranks_text(&g->ranks, layout), (long long)g->config.zero);
    fputc('\n', out);
    table_print(t, out);
    table_free(t);
    if (r->ties)
        fprintf(out, "a near tie between experts fell the other way, which the bounds allow for\n");
    fprintf(out, "gradients, worst of %zu:", g->params.n_rows);
    for (size_t i = 0; i < MIN(g->params.n_rows, (size_t)WORST_SHOWN); i++)
        fprintf(out, "%s %s %.2e", i ? "," : "", g->params.rows[r->order[i]].name,
                r->errors.gradient[r->order[i]]);
    fprintf(out, "\ntrained weights, worst: %s\n%s\n\n", r->errors.worst_trained,
            all_hold(r) ? "every bound holds" : "a bound FAILS");
}

static json_t *json_number_or_null(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static void print_json(const struct report *r, FILE *out)
{
    json_t *o = json_object(), *rows = json_object(), *gradients = json_object();
    for (int q = 0; q < GOLDEN_QUANTITIES; q++) {
        if (!is_compared(r, q)) continue;
        json_t *row = json_object();
        json_object_set_new(row, "error", json_number_or_null(r->errors.of[q]));
        json_object_set_new(row, "bound", json_number_or_null(r->bound[q]));
        json_object_set_new(row, "holds", json_boolean(holds(r, q)));
        json_object_set_new(rows, quantities[q].key, row);
    }
    for (size_t i = 0; i < r->g->params.n_rows; i++)
        json_object_set_new(gradients, r->g->params.rows[i].name,
                            json_number_or_null(r->errors.gradient[i]));
    json_object_set_new(o, "ranks", json_integer(r->g->ranks.size));
    json_object_set_new(o, "folder", json_string(r->g->dir));
    json_object_set_new(o, "backend", json_string(r->backend));
    json_object_set_new(o, "errors", rows);
    json_object_set_new(o, "gradients", gradients);
    json_object_set_new(o, "greedy_same", json_integer(r->errors.greedy_same));
    json_object_set_new(o, "greedy_total", json_integer(r->errors.greedy_total));
    json_object_set_new(o, "holds", json_boolean(all_hold(r)));
    json_dumpf(o, out, JSON_INDENT(2) | JSON_SORT_KEYS);
    fputc('\n', out);
    json_decref(o);
}

/* ------------------------------------------------------------------ all of it */

static int check(struct golden *g, const struct train_golden_options *o, FILE *out, struct error *e)
{
    struct report r = {.g = g};
    struct golden_run run = {.dtype = o->dtype, .backend = o->backend};
    TRY(golden_measure(g, &run, &r.errors, &r.backend, e));
    TRY(set_bounds(g, o, &r, e));
    sort_gradients(&r, &g->arena);
    if (train_ranks_lead(&g->ranks)) {
        if (o->json)
            print_json(&r, out);
        else
            print_table(&r, out);
    }
    if (all_hold(&r)) return 0;
    return error_set(e, "'%s' differs from the reference by more than the bounds", g->dir);
}

int train_check_golden(const char *dir, const struct train_golden_options *o, FILE *out,
                       struct error *e)
{
    struct golden g;
    TRY(golden_open(&g, dir, o, 0, e));
    int rc = check(&g, o, out, e);
    int changed = file_map_check(&g.expected.map, dir, e);
    if (changed >= 0) changed = file_map_check(&g.batch.map, dir, e);
    golden_close(&g);
    if (changed < 0) return changed;
    return rc;
}

int train_golden_check_layout(const char *dir, const char *layout, int ranks, struct error *e)
{
    struct golden g;
    const struct train_golden_options o = {.threads = 1, .layout = layout};
    TRY(golden_open(&g, dir, &o, ranks, e));
    golden_close(&g);
    return 0;
}
