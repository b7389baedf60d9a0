/* plan_power.c: watts of a training cluster by phase of the step, and what a lower cap buys.
 *
 * An accelerator draws one power while it computes, another while it waits in communication or in
 * a pipeline bubble (the waiting kernel spins), a third when nothing runs (Choukse et al., "Power
 * Stabilization for AI Training Datacenters", arXiv:2508.14318, section II). The mean over a step
 * is these, weighted by the step's own shares; the servers' own needs and the loss of the power
 * supplies come on top. Checked against the measured node power of MLPerf Training v4.0 to v5.0:
 * docs/decisions/plan-run.md.
 *
 * A cap below the compute power lowers the clock: dynamic power goes with f V^2 and V with f, so
 * with the cube of the clock. At 1,000 of 1,200 W and three quarters of the step in compute this
 * costs 5.6 % of the speed; measured on 83,000 GB200: 5 % (arXiv:2605.24461).
 * There 960 W gave 12 % more from the same megawatts (1.9 against 1.7 times an H100 cluster) and
 * nothing lower was tried, so the table ends at 0.8 of the cap. */
#include "plan/run/plan_run_internal.h"

#include <math.h>
#include <string.h>

/* Supplies and converters at their working point: 80 PLUS Titanium asks for 94 to 96 %. */
#define SUPPLY_EFFICIENCY 0.95
#define OTHER_PEAK        1.10 /* fans and CPUs at their most, over their mean (assumption) */
/* Switches and optics: 3,908 switches of 64 x 800G at about 1.8 kW and 2.2 MW of optics for
 * 100,000 ports (SN5600 and transceiver data sheets). */
#define NETWORK_W 90.0
#define SUPPORT   0.04 /* storage, management, CPU nodes; of the rest (assumption) */

/* ------------------------------------------------------------------ the step under a cap */

static double mean_clock(const struct machine_cluster *c, double cap)
{
    double sum = 0.0, all = 0.0;
    for (int64_t i = 0; i < c->n_pools; i++) {
        struct machine_phase_power p;
        machine_phase_power(c->pools[i].accelerator, cap, &p);
        sum += p.clock * (double)c->pools[i].count;
        all += (double)c->pools[i].count;
    }
    return all > 0.0 ? sum / all : 1.0;
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
    s->step_s = now;
    s->low_s *= ratio;
    s->high_s *= ratio;
    s->forward_s *= ratio;
    s->backward_s *= ratio;
    s->mfu /= ratio;
    s->hfu /= ratio;
    s->tokens_per_s /= ratio;
}

void plan_power_slow_step(const struct plan_request *r, struct plan_step *step)
{
    double clock = mean_clock(&r->cluster, r->power_cap);
    if (clock < 1.0) slow_step(clock, step);
}

/* ------------------------------------------------------------------ watts */

struct draw { /* of the whole cluster, in watts of direct current */
    double accelerators, other, idle, max, network;
};

/* Accelerators that the layout leaves idle draw their idle power. */
static void cluster_draw(const struct plan_request *r, double cap, double compute_share,
                         struct draw *out)
{
    const struct machine_cluster *c = &r->cluster;
    int64_t used[MACHINE_MAX_POOLS];
    plan_place_at_work(r, used);
    memset(out, 0, sizeof(*out));
    for (int64_t i = 0; i < c->n_pools; i++) {
        struct machine_phase_power p;
        double n = (double)c->pools[i].count;
        machine_phase_power(c->pools[i].accelerator, cap, &p);
        double train = (double)used[i];
        out->accelerators +=
            train * (compute_share * p.compute_w + (1.0 - compute_share) * p.comm_w) +
            (n - train) * p.idle_w;
        out->other += n * p.other_w;
        out->idle += n * (p.idle_w + p.other_w);
        out->max += n * (p.cap_w + OTHER_PEAK * p.other_w);
        out->network += n * figure_mid(&c->network_w, NETWORK_W);
    }
}

static double it_of(double direct_w, double network_w)
{
    return (direct_w / SUPPLY_EFFICIENCY + network_w) * (1.0 + SUPPORT);
}

static double share_of(const struct plan_step *s)
{
    return fmin(fmax(s->compute_share, 0.0), 1.0);
}

static void cap_table(const struct plan_request *r, const struct plan_step *step,
                      struct plan_power *out)
{
    static const double CAPS[] = {1.0, 0.95, 0.925, 0.9, 0.875, 0.85, 0.825, 0.8};
    double own_cap = 0.0, all = 0.0;
    for (int64_t i = 0; i < r->cluster.n_pools; i++) {
        struct machine_phase_power p;
        machine_phase_power(r->cluster.pools[i].accelerator, 0.0, &p);
        own_cap += p.cap_w * (double)r->cluster.pools[i].count;
        all += (double)r->cluster.pools[i].count;
    }
    /* Undo the cap of the request, so that the table is beside the uncapped machine. */
    double base_clock = mean_clock(&r->cluster, r->power_cap), base_max = 0.0;
    struct plan_step full = *step;
    if (base_clock < 1.0) slow_step(1.0 / base_clock, &full);
    for (size_t i = 0; i < ARRAY_LEN(CAPS); i++) {
        struct plan_step s = full;
        struct draw d;
        slow_step(mean_clock(&r->cluster, CAPS[i]), &s);
        cluster_draw(r, CAPS[i], share_of(&s), &d);
        double mean = it_of(d.accelerators + d.other, d.network) * out->pue;
        double max = it_of(d.max, d.network);
        if (i == 0) base_max = max;
        out->cap_w[i] = CAPS[i] * own_cap / all;
        out->cap_speed[i] = s.step_s > 0.0 ? full.step_s / s.step_s : 1.0;
        out->cap_tokens_per_mwh[i] = s.tokens_per_s * 3600.0 / (mean / 1e6);
        out->cap_cluster_gain[i] = out->cap_speed[i] * base_max / max - 1.0;
    }
    out->n_caps = (int)ARRAY_LEN(CAPS);
}

void plan_swing_load(const struct plan_request *r, const struct plan_step *step,
                     const struct plan_power *power, struct machine_swing_load *out)
{
    memset(out, 0, sizeof(*out));
    double T = step->step_s, compute = 0.0, comm = 0.0, smooth_compute = 0.0, smooth_comm = 0.0;
    int64_t used[MACHINE_MAX_POOLS];
    plan_place_at_work(r, used);
    for (int64_t i = 0; i < r->cluster.n_pools; i++) {
        const struct machine_accelerator *a = r->cluster.pools[i].accelerator;
        double n = (double)r->cluster.pools[i].count / SUPPLY_EFFICIENCY;
        struct machine_phase_power p;
        machine_phase_power(a, r->power_cap, &p);
        double rest = n;
        n = (double)used[i] / SUPPLY_EFFICIENCY;
        rest -= n;
        compute += n * p.compute_w + rest * p.idle_w;
        comm += n * p.comm_w + rest * p.idle_w;
        out->idle_w += (n + rest) * p.idle_w;
        double floor_w = figure_mid(&a->smoothing_floor, 0.0) * p.cap_w;
        smooth_compute += n * fmax(p.compute_w, floor_w) + rest * p.idle_w;
        smooth_comm += n * fmax(p.comm_w, floor_w) + rest * p.idle_w;
    }
    /* All wait together while gradients are reduced, weights gathered and updated and the last
     * rank is awaited. Communication within the layers is too short and too scattered over the
     * replicas to show: it lowers the high level. */
    out->low_s = step->part_s[PLAN_PART_DP] + step->part_s[PLAN_PART_OPTIMIZER] +
                 step->part_s[PLAN_PART_OTHER];
    out->edge_s = fmin(step->part_s[PLAN_PART_BUBBLE], fmax(0.0, 0.5 * (T - out->low_s)));
    double busy = T - out->low_s - out->edge_s;
    double share = busy > 0.0 ? fmin(share_of(step) * T / busy, 1.0) : 0.0;
    out->period_s = T;
    out->high_w = share * compute + (1.0 - share) * comm;
    out->low_w = fmin(comm, out->high_w);
    out->smooth_high_w = share * smooth_compute + (1.0 - share) * smooth_comm;
    out->smooth_low_w = smooth_comm;
    out->beside_w = power->facility_w - power->accelerators_w / SUPPLY_EFFICIENCY;
}

/* A stop takes each source's share away at once; what a source of limited ramp still gives on its
 * way down, a triangle of power and time, has to go somewhere. */
static double stop_battery_wh(const struct machine_site *s, const struct plan_power *p)
{
    double all = 0.0, wh = 0.0;
    for (int64_t i = 0; i < s->n_sources; i++)
        all += p->source_w[i];
    for (int64_t i = 0; i < s->n_sources && all > 0.0; i++) {
        double ramp = figure_mid(&s->sources[i].ramp_w_per_s, 0.0);
        double drop = p->swing.stop_w * p->source_w[i] / all;
        if (ramp > 0.0) wh += 0.5 * drop * drop / ramp / 3600.0;
    }
    return wh;
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
    struct draw d;
    struct machine_swing_load load;
    memset(out, 0, sizeof(*out));
    double n = (double)machine_cluster_accelerators(&r->cluster);
    if (n <= 0.0) return;
    cluster_draw(r, r->power_cap, share_of(step), &d);
    double direct = d.accelerators + d.other;
    out->accelerators_w = d.accelerators;
    out->network_w = d.network;
    out->it_w = it_of(direct, d.network);
    out->servers_w = out->it_w - d.accelerators - d.network; /* with loss and support */
    out->node_w = 8.0 * direct / SUPPLY_EFFICIENCY / n;
    facility(&r->site, it_of(d.max, d.network), it_of(d.idle, d.network), out);
    cap_table(r, step, out);
    plan_swing_load(r, step, out, &load);
    machine_swing(&r->site, &load, &out->swing);
    out->swing.stop_battery_wh = stop_battery_wh(&r->site, out);
}
