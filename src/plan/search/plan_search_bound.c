/* plan_search_bound.c: what a layout cannot beat, for a tenth of the price of pricing it.
 *
 * The blocks of a microbatch cost the same whatever the pipeline, the interleaving, ZeRO and
 * recomputation: those add to it. So the time of all blocks is found once for a group of layouts,
 * and m microbatches on p stages with v virtual stages take at least
 *
 *     (m + (p-1)/v) · t / p          (the schedule's own formula, arXiv:2104.04473, section 2.2)
 *
 * because the fullest stage holds at least 1/p of the blocks, and longer by the jitter of so many
 * ranks. Several kinds of accelerators share M
 * microbatches: however they are shared, the last one finishes no earlier than M / sum(n_i / t_i).
 * The search drops a layout only where this bound already loses, so it stays exact;
 * test_plan_search holds the bound against the model of a step itself. */
#include "plan/search/plan_search_internal.h"

#include <math.h>
#include <string.h>

/* Rounding in the sums of plan_step may differ from here in the last bits. */
static const double ROUNDING = 1.0 - 1e-9;

void plan_search_rates(const struct machine_cluster *c, const struct plan_layout *l,
                       struct plan_search_rates *out)
{
    int64_t used[MACHINE_MAX_POOLS];
    memset(out, 0, sizeof *out);
    plan_place_used(c, l, used);
    for (int64_t i = 0; i < c->n_pools; i++) {
        struct machine_phase_power p;
        double n = (double)c->pools[i].count, train = (double)used[i];
        machine_phase_power(c->pools[i].accelerator, 0, &p);
        out->low_w += train * p.comm_w + (n - train) * p.idle_w + n * p.other_w;
        out->more_w += train * fmax(p.compute_w - p.comm_w, 0);
        out->usd_per_s += n * machine_price_usd(c->pools[i].accelerator).mid;
    }
    /* The site is not known here: as of one that states nothing. Only the order of layouts hangs on
     * it, and on one machine it moves it little. */
    out->usd_per_s /= machine_write_off_years(NULL).mid * 365.25 * 86400;
    out->usd_per_j = machine_energy_usd_per_kwh(NULL, NULL).mid / 3.6e6;
}

void plan_search_price(const struct plan_search_rates *r, struct plan_candidate *out)
{
    const struct plan_step *s = &out->step;
    out->step_j = r->low_w * s->step_s + r->more_w * s->compute_share * s->step_s;
    out->step_usd = r->usd_per_s * s->step_s + r->usd_per_j * out->step_j;
}

static void bound_of_pool(const struct plan_work *w, int64_t pool, struct plan_search_bound *out)
{
    struct plan_layer_time t;
    plan_blocks_time(w, 1, &t);
    double forward = plan_forward_compute_s(&t), compute = forward + plan_backward_compute_s(&t);
    out->forward_compute_s[pool] = forward;
    out->compute_s[pool] = compute;
    out->work_s[pool] = compute + t.tp_f + t.ep_f + t.cp_f + t.tp_b + t.ep_b + t.cp_b;
}

void plan_search_bound_ranks(struct plan_search_bound *bound, const struct plan_layout *l)
{
    double ranks = (double)l->tp * l->pp * l->cp * l->dp;
    bound->jitter = 1 + K(bound, JITTER) * fmax(log2(ranks / 64), 0);
}

void plan_search_bound_init(const struct plan_job *job, struct plan_search_bound *out)
{
    const struct machine_cluster *c = job->cluster;
    const int stack = job->software->stack;
    memset(out, 0, sizeof *out);
    out->n_pools = c->n_pools;
    out->k = plan_constants_of(job->software);
    plan_search_bound_ranks(out, job->layout);
    out->dualpipe = stack == PLAN_STACK_DUALPIPE;
    out->again = stack == PLAN_STACK_OTHER ? K(out, XLA_RECOMPUTE) : 1;
    for (int64_t i = 0; i < c->n_pools; i++) {
        struct plan_work w;
        plan_work_init(&w, job, c->pools[i].accelerator);
        out->counts[i] = (double)c->pools[i].count;
        bound_of_pool(&w, i, out);
    }
}

/* Several kinds: the last pool is not done before all would be by their speeds. What it computes is
 * at least one microbatch: a pool that is last for its bubble may have few. */
static double bound_mixed(const struct plan_search_bound *bound, const struct plan_layout *l,
                          double microbatches, double bubble, double again, double *busy_s)
{
    double stages = l->pp, replica = (double)l->tp * l->pp * l->cp;
    double rate = 0, fastest = INFINITY, least = INFINITY;
    for (int64_t i = 0; i < bound->n_pools; i++) {
        double compute = bound->compute_s[i] + again * bound->forward_compute_s[i];
        double t = (bound->work_s[i] + again * bound->forward_compute_s[i]) / stages;
        rate += floor(bound->counts[i] / replica) / t;
        fastest = fmin(fastest, t);
        least = fmin(least, compute / stages);
    }
    *busy_s = ROUNDING * least;
    return ROUNDING * bound->jitter * (microbatches / rate + bubble * fastest);
}

double plan_search_bound_step(const struct plan_search_bound *bound, const struct plan_layout *l,
                              const struct plan_batch *b, double *busy_s)
{
    double stages = l->pp;
    /* F&B + B - 3W of DualPipe is at least half of a microbatch, its W at most half of B */
    double bubble = bound->dualpipe ? fmax(stages / 2 - 1, 0) / 2 : (stages - 1) / l->vp;
    double again = l->recompute == PLAN_RECOMPUTE_FULL ? bound->again : 0;
    double microbatches = (double)(b->global_batch / l->micro_batch);
    if (bound->n_pools > 1) return bound_mixed(bound, l, microbatches, bubble, again, busy_s);
    double each = ceil(microbatches / l->dp);
    double t = bound->work_s[0] + again * bound->forward_compute_s[0];
    *busy_s =
        ROUNDING * each * (bound->compute_s[0] + again * bound->forward_compute_s[0]) / stages;
    return ROUNDING * bound->jitter * (each + bubble) * t / stages;
}
