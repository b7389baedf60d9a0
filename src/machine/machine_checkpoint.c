/* machine_checkpoint.c: what a checkpoint weighs and costs, how often to save, and what of the wall
 * time is then left.
 *
 * Intervals: Young (1974), Daly (2006, eq. 37) and the exact optimum of Daly's expected time for
 * exponential failures, by Newton's method on its derivative. */
#include "machine/machine_internal.h"

#include <math.h>

/* bf16 weight, fp32 master and two fp32 moments: 13.8 TB measured for 1 T (SC21). */
#define BYTES_PER_PARAM 14.0
/* Where a cluster states no storage: between 50 GB/s (VAST) and 2 TB/s (Tectonic), 16K each. */
#define STORAGE_BYTES_PER_S 27e6
/* The step waits for the copy to host memory only (asynchronous saves: under 1 s blocking in
 * PyTorch DCP, ByteCheckpoint, Nemotron 3): planning, and the state over PCIe. */
#define STALL_PLANNING_S       0.5
#define STALL_COPY_BYTES_PER_S 10e9
/* Llama 3: 47 planned interruptions in 54 days; a matter of days, not of size. No work is lost. */
#define PLANNED_PER_DAY (47.0 / 54.0)

void machine_checkpoint(const struct machine_cluster *c, double params, double accelerators,
                        struct machine_checkpoint *out)
{
    double write = figure_mid(&c->storage_write_bytes_per_s, STORAGE_BYTES_PER_S * accelerators);
    double read = figure_mid(&c->storage_read_bytes_per_s, write);
    out->bytes = BYTES_PER_PARAM * params;
    out->write_s = write > 0.0 ? out->bytes / write : 0.0;
    out->load_s = read > 0.0 ? out->bytes / read : 0.0;
    out->stall_s = STALL_PLANNING_S + out->bytes / accelerators / STALL_COPY_BYTES_PER_S;
}

double machine_checkpoint_young_s(double delta_s, double mtbf_s)
{
    return sqrt(2.0 * delta_s * mtbf_s);
}

double machine_checkpoint_daly_s(double delta_s, double mtbf_s)
{
    if (delta_s >= 2.0 * mtbf_s) return mtbf_s;
    double q = delta_s / (2.0 * mtbf_s);
    return sqrt(2.0 * delta_s * mtbf_s) * (1.0 + sqrt(q) / 3.0 + q / 9.0) - delta_s;
}

double machine_checkpoint_stretch(double tau_s, double delta_s, double restart_s, double mtbf_s)
{
    /* Daly 2006, eq. 20 over the useful time. An exponent of 700 is a job that never ends. */
    double a = restart_s / mtbf_s, b = (tau_s + delta_s) / mtbf_s;
    if (a + b > 700.0) return INFINITY;
    return mtbf_s / tau_s * exp(a) * expm1(b);
}

/* d/dtau of the stretch is zero where (1 - x) exp(x + d) = 1, x = tau/M, d = delta/M; the left
 * side falls in x, from exp(d) at 0 to 0 at 1. */
double machine_checkpoint_interval(double delta_s, double mtbf_s)
{
    double d = delta_s / mtbf_s;
    if (d <= 0.0) return 0.0;
    double low = 0.0, high = 1.0, x = fmin(sqrt(2.0 * d), 0.999);
    for (int i = 0; i < 60; i++) {
        double g = log1p(-x) + x + d; /* logarithm of the left side */
        if (g > 0.0)
            low = x;
        else
            high = x;
        double newton = x + g * (1.0 - x) / x; /* g' = 1 - 1/(1 - x) = -x/(1 - x) */
        double next = newton > low && newton < high ? newton : 0.5 * (low + high);
        if (fabs(next - x) <= 1e-14 * x) break;
        x = next;
    }
    return x * mtbf_s;
}

static double goodput(double tau_s, double delta_s, double restart_s, double mtbf_s)
{
    double stretch = machine_checkpoint_stretch(tau_s, delta_s, restart_s, mtbf_s);
    return 1.0 / (stretch * (1.0 + PLANNED_PER_DAY * restart_s / 86400.0));
}

struct range machine_goodput(double tau_s, double delta_s, struct range restart_s,
                             struct range mtbf_s)
{
    return (struct range){goodput(tau_s, delta_s, restart_s.high, mtbf_s.low),
                          goodput(tau_s, delta_s, restart_s.mid, mtbf_s.mid),
                          goodput(tau_s, delta_s, restart_s.low, mtbf_s.high)};
}
