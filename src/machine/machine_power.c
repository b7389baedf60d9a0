/* machine_power.c: watts of one accelerator by phase of the work, and what a lower cap leaves.
 *
 * An accelerator draws one power while it computes, another while it waits in communication or in
 * a pipeline bubble (the waiting kernel spins), a third when nothing runs (Choukse et al., "Power
 * Stabilization for AI Training Datacenters", arXiv:2508.14318, section II). A cap below the compute
 * power lowers the clock: dynamic power goes with f V^2 and V with f, so with the cube of the clock. */
#include "machine/machine_internal.h"

#include <math.h>

const char *const machine_precision_names[] = {"fp32", "bf16", "fp8", "mxfp8", "fp4", NULL};

/* Shares of the cap where an accelerator states no watts. Measured on one H100 (bench/bench_power.py):
 * products, attention, vector work and a whole layer draw 0.99 to 1.00 of the cap; kernels of
 * NCCL's size 0.18 to 0.21 while they spin, 0.26 to 0.40 while they copy. Idle: nvidia-smi. */
#define COMPUTE_OF_CAP 0.995
#define COMM_OF_CAP    0.35
#define IDLE_OF_CAP    0.10
#define CAP_FALLBACK_W 700.0
#define OTHER_OF_CAP   0.25 /* CPUs, NICs, fans: 180 of 700 W, from H100 servers at idle */
#define CLOCK_MIN      0.5
#define CLOCK_POWER    3.0

void machine_phase_power(const struct machine_accelerator *a, double cap,
                         struct machine_phase_power *out)
{
    double own_cap = figure_mid(&a->power_cap_w, 0.0);
    if (own_cap <= 0.0) own_cap = figure_mid(&a->power_compute_w, 0.0) / COMPUTE_OF_CAP;
    if (own_cap <= 0.0) own_cap = CAP_FALLBACK_W;
    double full = fmin(figure_mid(&a->power_compute_w, COMPUTE_OF_CAP * own_cap), own_cap);
    out->cap_w = cap > 0.0 ? fmin(cap, 1.0) * own_cap : own_cap;
    out->idle_w = fmin(figure_mid(&a->power_idle_w, IDLE_OF_CAP * own_cap), full);
    out->other_w = figure_mid(&a->node_other_w, OTHER_OF_CAP * own_cap);
    out->comm_w = fmin(figure_mid(&a->power_comm_w, COMM_OF_CAP * own_cap), full);
    out->compute_w = full;
    out->clock = 1.0;
    if (full > out->cap_w && full > out->idle_w) {
        double left = fmax(out->cap_w - out->idle_w, 0.0) / (full - out->idle_w);
        out->clock = fmax(pow(left, 1.0 / CLOCK_POWER), CLOCK_MIN);
        out->compute_w = out->cap_w;
        out->comm_w = fmin(out->comm_w, out->cap_w);
    }
}
