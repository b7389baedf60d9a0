/* plan_power.c: watts of a job by phase of its step, and what a lower cap buys.
 *
 * The laws are machine/'s: the mean over a step is the watts of the phases, weighted by the step's
 * own shares. A lower cap makes a step longer by the clock that it leaves. On 83,000 GB200, 960 of
 * 1,200 W gave 12 % more from the same megawatts (1.9 against 1.7 times an H100 cluster,
 * arXiv:2605.24461) and nothing lower was tried, so the table ends at 0.8 of the cap. */
#include "plan/run/plan_run_internal.h"

#include <math.h>
#include <string.h>

void plan_step_stretch(struct plan_step *s, double times)
{
    s->step_s *= times;
    s->low_s *= times;
    s->high_s *= times;
    s->forward_s *= times;
    s->backward_s *= times;
    s->mfu /= times;
    s->hfu /= times;
    s->tokens_per_s /= times;
}

static void slow_step(double clock, struct plan_step *s)
{
    /* What runs at the core's clock; memory, links and the host keep theirs. A bubble is other
     * stages' compute. */
    static const int CLOCKED[] = {PLAN_PART_MATMUL, PLAN_PART_ATTENTION, PLAN_PART_RECOMPUTE,
                                  PLAN_PART_BUBBLE};
    double more = 0.0, more_compute = 0.0, was = s->step_s;
    for (size_t i = 0; i < ARRAY_LEN(CLOCKED); i++) {
        double add = s->part_s[CLOCKED[i]] * (1.0 / clock - 1.0);
        s->part_s[CLOCKED[i]] += add;
        more += add;
        if (CLOCKED[i] != PLAN_PART_BUBBLE) more_compute += add;
    }
    if (was <= 0.0 || more == 0.0) return;
    double now = was + more, ratio = now / was;
    s->compute_share = fmin(1.0, (s->compute_share * was + more_compute) / now);
    plan_step_stretch(s, ratio);
    s->step_s = now; /* not rounded twice */
}

void plan_power_slow_step(const struct plan_request *r, struct plan_step *step)
{
    double clock = machine_mean_clock(&r->cluster, r->power_cap);
    if (clock < 1.0) slow_step(clock, step);
}

static double share_of(const struct plan_step *s)
{
    return fmin(fmax(s->compute_share, 0.0), 1.0);
}

/* Each cap with the step that it leaves, beside the uncapped machine: so that the request's own cap
 * is undone first. */
static void cap_table(const struct plan_request *r, const struct plan_step *step,
                      const int64_t used[MACHINE_MAX_POOLS], struct plan_power *out)
{
    static const double CAPS[] = {1.0, 0.95, 0.925, 0.9, 0.875, 0.85, 0.825, 0.8};
    const double n = (double)machine_cluster_accelerators(&r->cluster);
    double clock = machine_mean_clock(&r->cluster, r->power_cap), own_cap_w = 0.0, base_max = 0.0;
    struct plan_step full = *step;
    if (clock < 1.0) slow_step(1.0 / clock, &full);
    for (size_t i = 0; i < ARRAY_LEN(CAPS); i++) {
        struct plan_step s = full;
        struct machine_draw d;
        slow_step(machine_mean_clock(&r->cluster, CAPS[i]), &s);
        machine_draw(&r->cluster, used, CAPS[i], share_of(&s), &d);
        double mean = machine_it_w(d.accelerators_w + d.other_w, d.network_w) * out->pue;
        double max = machine_it_w(d.max_w, d.network_w);
        if (i == 0) { /* a cap of 1 is none */
            base_max = max;
            own_cap_w = d.cap_w;
        }
        out->cap_w[i] = CAPS[i] * own_cap_w / n;
        out->cap_speed[i] = s.step_s > 0.0 ? full.step_s / s.step_s : 1.0;
        out->cap_tokens_per_mwh[i] = s.tokens_per_s * 3600.0 / (mean / 1e6);
        out->cap_cluster_gain[i] = out->cap_speed[i] * base_max / max - 1.0;
    }
    out->n_caps = (int)ARRAY_LEN(CAPS);
}

void plan_swing_load(const struct plan_request *r, const struct plan_step *step,
                     const struct plan_power *power, struct machine_swing_load *out)
{
    int64_t used[MACHINE_MAX_POOLS];
    memset(out, 0, sizeof(*out));
    plan_place_at_work(r, used);
    /* All wait together while gradients are reduced, weights gathered and updated and the last
     * rank is awaited. Communication within the layers is too short and too scattered over the
     * replicas to show: it lowers the high level. */
    out->period_s = step->step_s;
    out->low_s = step->part_s[PLAN_PART_DP] + step->part_s[PLAN_PART_OPTIMIZER] +
                 step->part_s[PLAN_PART_OTHER];
    out->edge_s =
        fmin(step->part_s[PLAN_PART_BUBBLE], fmax(0.0, 0.5 * (out->period_s - out->low_s)));
    machine_swing_levels(&r->cluster, used, r->power_cap, share_of(step), out);
    out->beside_w = power->facility_w - machine_supplied_w(power->accelerators_w);
}

/* What the site adds to the computers, by month and in the mean. */
static void facility(const struct machine_site *site, double it_max_w, double it_idle_w,
                     struct plan_power *out)
{
    struct machine_cooling_year year;
    machine_cooling_year(site, &year);
    for (int i = 0; i < 12; i++) {
        out->pue_month[i] = year.pue[i];
        out->water_l_month[i] = year.l_per_kwh[i] * out->it_w / 1e3 * 24.0 * machine_month_days[i];
    }
    out->pue = year.mean_pue;
    out->wue_l_per_kwh = year.mean_l_per_kwh;
    out->facility_w = out->it_w * out->pue;
    out->facility_max_w = it_max_w * year.worst_pue;
    out->facility_idle_w = it_idle_w * out->pue;
    out->unserved_w = machine_supply(site, out->facility_w, out->source_w);
}

void plan_power(const struct plan_request *r, const struct plan_step *step, struct plan_power *out)
{
    struct machine_draw d;
    struct machine_swing_load load;
    int64_t used[MACHINE_MAX_POOLS];
    memset(out, 0, sizeof(*out));
    double n = (double)machine_cluster_accelerators(&r->cluster);
    if (n <= 0.0) return;
    plan_place_at_work(r, used);
    machine_draw(&r->cluster, used, r->power_cap, share_of(step), &d);
    double direct = d.accelerators_w + d.other_w;
    out->accelerators_w = d.accelerators_w;
    out->network_w = d.network_w;
    out->it_w = machine_it_w(direct, d.network_w);
    out->servers_w = out->it_w - d.accelerators_w - d.network_w; /* with loss and support */
    out->node_w = machine_supplied_w(8.0 * direct) / n;
    facility(&r->site, machine_it_w(d.max_w, d.network_w), machine_it_w(d.idle_w, d.network_w),
             out);
    cap_table(r, step, used, out);
    plan_swing_load(r, step, out, &load);
    machine_swing(&r->site, &load, &out->swing);
    out->swing.stop_battery_wh =
        machine_stop_battery_wh(&r->site, out->source_w, out->swing.stop_w);
}
