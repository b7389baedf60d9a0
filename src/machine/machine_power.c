/* machine_power.c: watts of one accelerator by phase of the work, what a lower cap leaves, and what
 * servers, network and power supplies add in a whole cluster.
 *
 * An accelerator draws one power while it computes, another while it waits in communication or in
 * a pipeline bubble (the waiting kernel spins), a third when nothing runs (Choukse et al., "Power
 * Stabilization for AI Training Datacenters", arXiv:2508.14318, section II). A cap below the compute
 * power lowers the clock: dynamic power goes with f V^2 and V with f, so with the cube of the
 * clock. At 1,000 of 1,200 W and three quarters of a step in compute this costs 5.6 % of the speed;
 * measured on 83,000 GB200: 5 % (arXiv:2605.24461).
 *
 * Sums over a cluster were checked against the measured node power of MLPerf Training v4.0 to v5.0:
 * docs/decisions/plan-run.md. */
#include "machine/machine_internal.h"

#include <math.h>
#include <string.h>

/* Shares of the cap where an accelerator states no watts. Measured on one H100 (bench/bench_power.py):
 * products, attention, vector work and a whole layer draw 0.99 to 1.00 of the cap; kernels of
 * NCCL's size 0.18 to 0.21 while they spin, 0.26 to 0.40 while they copy. Idle: nvidia-smi. */
const struct range machine_compute_of_cap = {0.90, 0.995, 1.0};
const struct range machine_comm_of_cap = {0.20, 0.35, 0.50};
const struct range machine_idle_of_cap = {0.08, 0.10, 0.15};
const struct range machine_other_of_cap = {0.15, 0.25, 0.50}; /* 180 of 700 W, idle H100 servers */
#define CAP_FALLBACK_W 700.0
#define CLOCK_MIN      0.5
#define CLOCK_POWER    3.0

void machine_phase_power(const struct machine_accelerator *a, double cap,
                         struct machine_phase_power *out)
{
    double own_cap = figure_mid(&a->power_cap_w, 0.0);
    if (own_cap <= 0.0) own_cap = figure_mid(&a->power_compute_w, 0.0) / machine_compute_of_cap.mid;
    if (own_cap <= 0.0) own_cap = CAP_FALLBACK_W;
    double full =
        fmin(figure_mid(&a->power_compute_w, machine_compute_of_cap.mid * own_cap), own_cap);
    out->cap_w = cap > 0.0 ? fmin(cap, 1.0) * own_cap : own_cap;
    out->idle_w = fmin(figure_mid(&a->power_idle_w, machine_idle_of_cap.mid * own_cap), full);
    out->other_w = figure_mid(&a->node_other_w, machine_other_of_cap.mid * own_cap);
    out->comm_w = fmin(figure_mid(&a->power_comm_w, machine_comm_of_cap.mid * own_cap), full);
    out->compute_w = full;
    out->clock = 1.0;
    if (full > out->cap_w && full > out->idle_w) {
        double left = fmax(out->cap_w - out->idle_w, 0.0) / (full - out->idle_w);
        out->clock = fmax(pow(left, 1.0 / CLOCK_POWER), CLOCK_MIN);
        out->compute_w = out->cap_w;
        out->comm_w = fmin(out->comm_w, out->cap_w);
    }
}

/* Supplies and converters at their working point: 80 PLUS Titanium asks for 94 to 96 %. */
#define SUPPLY_EFFICIENCY 0.95
#define OTHER_PEAK        1.10 /* fans and CPUs at their most, over their mean (assumption) */
/* Switches and optics: 3,908 switches of 64 x 800G at about 1.8 kW and 2.2 MW of optics for
 * 100,000 ports (SN5600 and transceiver data sheets). */
#define NETWORK_W 90.0
#define SUPPORT   0.04 /* storage, management, CPU nodes; of the rest (assumption) */

double machine_mean_clock(const struct machine_cluster *c, double cap)
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

void machine_draw(const struct machine_cluster *c, const int64_t used[MACHINE_MAX_POOLS],
                  double cap, double compute_share, struct machine_draw *out)
{
    memset(out, 0, sizeof(*out));
    for (int64_t i = 0; i < c->n_pools; i++) {
        struct machine_phase_power p;
        double n = (double)c->pools[i].count, train = (double)used[i];
        machine_phase_power(c->pools[i].accelerator, cap, &p);
        out->accelerators_w +=
            train * (compute_share * p.compute_w + (1.0 - compute_share) * p.comm_w) +
            (n - train) * p.idle_w;
        out->other_w += n * p.other_w;
        out->idle_w += n * (p.idle_w + p.other_w);
        out->max_w += n * (p.cap_w + OTHER_PEAK * p.other_w);
        out->cap_w += n * p.cap_w;
        out->network_w += n * machine_network_w(c);
    }
}

double machine_network_w(const struct machine_cluster *c)
{
    return figure_mid(&c->network_w, NETWORK_W);
}

double machine_supplied_w(double direct_w)
{
    return direct_w / SUPPLY_EFFICIENCY;
}

double machine_it_w(double direct_w, double network_w)
{
    return (machine_supplied_w(direct_w) + network_w) * (1.0 + SUPPORT);
}
