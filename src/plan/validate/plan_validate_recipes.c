/* plan_validate_recipes.c: the search against layouts that people chose and ran.
 *
 * A published recipe is a layout somebody tuned. The search must not call it impossible, and what
 * the search prefers must be rated as good or better: otherwise its space lacks something that
 * practice has. Where the row does not state recomputation, the recipe is taken with the fastest
 * that fits, as its authors would have. Rows of one model, machine and batch that differ in the
 * measured time only count once. */
#include "plan/validate/plan_validate_internal.h"

#include <string.h>

#define WITHIN 1.02

static bool same_recipe(const struct plan_row *a, const struct plan_row *b)
{
    const struct plan_layout *x = &a->layout, *y = &b->layout;
    return a->n_gpus == b->n_gpus && strcmp(a->model_name, b->model_name) == 0 &&
           strcmp(a->gpu, b->gpu) == 0 && a->batch.global_batch == b->batch.global_batch &&
           a->batch.seq_len == b->batch.seq_len && x->tp == y->tp && x->pp == y->pp &&
           x->cp == y->cp && x->ep == y->ep && x->dp == y->dp && x->vp == y->vp &&
           x->micro_batch == y->micro_batch && x->precision == y->precision;
}

/* Somebody's own layout: whole, and not one of a sweep that shows bad ones, too. */
static bool is_recipe(const struct validate_row *v)
{
    return v->timed && plan_stack_is_megatron(v->row->software.stack) &&
           v->row->software.generation >= 2023;
}

/* Seconds of the published layout, the fastest recomputation that fits where none is stated; 0:
 * nothing fits. */
static double published_s(const struct plan_row *r)
{
    double best = 0;
    if (plan_layout_check_stack(&r->layout, &r->batch, &r->software, NULL) < 0)
        return 0; /* as the search */
    for (int k = PLAN_RECOMPUTE_NONE; k <= PLAN_RECOMPUTE_FULL; k++) {
        struct plan_layout l = r->layout;
        struct plan_step step;
        if (!r->recompute_assumed && k != l.recompute) continue;
        l.recompute = k;
        plan_step(&r->model, &r->cluster, &l, &r->batch, &r->software, &step);
        if (step.fits && (best == 0 || step.step_s < best)) best = step.step_s;
    }
    return best;
}

static double found_s(const struct plan_row *r, struct arena *a)
{
    struct plan_layout fixed = {.precision = r->layout.precision, .zero = -1, .recompute = -1};
    struct plan_search found;
    struct error e;
    arena_reset(a);
    int rc = plan_search(&(struct plan_search_space){&r->model, &r->cluster, &r->batch,
                                                     &r->software, &fixed, PLAN_BY_TIME, 1, false},
                         a, &found, &e);
    return rc < 0 || !found.n_best ? 0 : found.best[0].step.step_s;
}

void validate_recipes(const struct validate_row *rows, size_t count, size_t most,
                      struct validate_recipes *out)
{
    struct arena a = {0};
    const double begin = time_now_s();
    *out = (struct validate_recipes){0};
    for (size_t i = 0; i < count && out->rows < most; i++) {
        bool seen = false;
        if (!is_recipe(&rows[i])) continue;
        for (size_t k = 0; k < i && !seen; k++)
            seen = is_recipe(&rows[k]) && same_recipe(rows[i].row, rows[k].row);
        if (seen) continue;
        out->rows++;
        double published = published_s(rows[i].row), found = found_s(rows[i].row, &a);
        if (published == 0 || found == 0) {
            if (!out->worst) out->worst = rows[i].row;
            continue;
        }
        out->possible++;
        out->matched += found <= WITHIN * published;
        if (found / published > out->worst_ratio) {
            out->worst_ratio = found / published;
            out->worst = rows[i].row;
        }
    }
    arena_fini(&a);
    out->search_s = time_now_s() - begin;
}
