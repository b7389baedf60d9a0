/* machine_failures.c: how long a restart takes, and how often to save.
 *
 * Restart. Meta's cold recovery at 16K to 98K accelerators (arXiv:2602.00277) is a straight line
 * through 65 s + 8.5 s per thousand, plus reading the checkpoint.
 *
 * Checkpoints. Young (1974), Daly (2006, eq. 37) and the exact optimum of Daly's expected time
 * for exponential failures, by Newton's method on its derivative. */
#include "machine/machine_internal.h"

#include <math.h>

#define RESTART_BASE_S     65.0 /* least squares on 200, 300, 600, 900 s at 16, 22, 64, 98K */
#define RESTART_S_PER_1000 8.5
#define RESTART_COLD_S     480.0 /* median of MLPerf's audited init times, 512 to 11,616 */

struct range machine_restart_s(int64_t accelerators)
{
    double s = RESTART_BASE_S + RESTART_S_PER_1000 * (double)accelerators / 1e3;
    return (struct range){0.7 * s, s, fmax(s, RESTART_COLD_S) * 1.2};
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
