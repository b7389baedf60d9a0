/* machine_swing.c: what synchronous steps do to the grid, and what takes it away.
 *
 * Every accelerator of a job waits at the same instant, once a step, so that the site's power is a
 * wave: high while all compute, low while gradients are reduced, with edges where a pipeline fills
 * and drains. The wave is a trapezoid; the amplitude of its n-th line is
 *
 *     2 A w/T |sinc(n w/T)| |sinc(n r/T)| exp(-2 (pi n j)^2)
 *
 * with height A, width at half height w, edge r, period T, and the accelerators' own jitter j as a
 * share of the period, which blurs the edges (Oppenheim and Willsky, Signals and Systems, table
 * 4.1; the convolution of two boxes and a Gaussian). What a utility asks: a limit on the range and
 * on the lines within a band, 0.1 to 20 Hz in the example of Choukse et al., "Power Stabilization
 * for AI Training Datacenters", arXiv:2508.14318, section III, which also measures the remedies.
 * Cooling answers over minutes and does not follow. Peaks of 50 ms above the cap are left out. */
#include "machine/machine_internal.h"

#include <math.h>
#include <string.h>

#define JITTER             0.015 /* 1 to 2 % of the period (measured waveforms) */
#define EDGE_MIN_S         0.02  /* supplies and converters store this much */
#define BAND_LOW_HZ        0.1   /* the example band, where a site states none */
#define BAND_HIGH_HZ       20.0
#define RANGE_OF_MEAN      0.10 /* the example limit, for detuning where none is stated */
#define PERIOD_LONGEST_S   120.0
#define BATTERY_EFFICIENCY 0.91

static double sinc(double x)
{
    double y = M_PI * x;
    return fabs(y) < 1e-9 ? 1.0 : sin(y) / y;
}

/* Amplitude of line n of the wave. */
static double line_w(const struct machine_swing_load *l, double period_s, int n)
{
    double height = l->high_w - l->low_w, edge = fmax(l->edge_s, EDGE_MIN_S);
    edge = fmin(edge, fmin(0.5 * period_s, fmax(period_s - l->low_s, 0.0)));
    double width = period_s - l->low_s - l->edge_s;
    if (height <= 0.0 || width <= 0.0 || l->low_s + l->edge_s <= 0.0) return 0.0;
    double blur = M_PI * n * JITTER;
    return 2.0 * height * width / period_s * fabs(sinc(n * width / period_s)) *
           fabs(sinc(n * edge / period_s)) * exp(-2.0 * blur * blur);
}

struct band {
    double low_hz, high_hz;
};

static struct band band_of(const struct machine_site *s)
{
    return (struct band){figure_mid(&s->swing_band_low_hz, BAND_LOW_HZ),
                         figure_mid(&s->swing_band_high_hz, BAND_HIGH_HZ)};
}

/* The largest line of the wave within the band. No line exceeds that of a square wave, 2 A / (pi n),
 * so the search ends where that is less than what was found. Lines above the 64th are below a
 * thousandth of the height: the jitter ends them. */
static double largest_in_band(const struct machine_swing_load *l, double period_s, struct band b)
{
    double most = 0.0, height = l->high_w - l->low_w;
    int first = (int)fmin(fmax(ceil(b.low_hz * period_s), 1.0), 65.0);
    for (int n = first; n <= 64 && n <= b.high_hz * period_s; n++) {
        if (2.0 * height < M_PI * n * most) break;
        most = fmax(most, line_w(l, period_s, n));
    }
    return most;
}

/* Peak to peak as the utility sees it: the whole range where the step itself lies in the band,
 * otherwise what the lines in the band swing. */
static double range_in_band(const struct machine_swing_load *l, double period_s, double range_w,
                            struct band b)
{
    double hz = 1.0 / period_s;
    if (hz >= b.low_hz && hz <= b.high_hz) return range_w;
    return fmin(2.0 * largest_in_band(l, period_s, b), range_w);
}

/* ------------------------------------------------------------------ remedies */

/* Accelerators burn what is missing below their floor (GB200's power smoothing, 90 % of the cap at
 * most; 10.5 % more energy measured there). */
static void smoothing(const struct machine_swing_load *l, struct machine_swing *out)
{
    double low_share = (l->low_s + l->edge_s) / l->period_s; /* edges: half each, two of them */
    double range = fmax(0.0, l->smooth_high_w - l->smooth_low_w);
    double mean = l->beside_w + l->smooth_high_w - low_share * range;
    out->smoothing_left_w = low_share > 0.0 ? range : 0.0;
    out->smoothing_energy_fraction = mean / out->mean_w - 1.0;
}

/* A battery takes above the mean and gives below it: `left` after b watts of it. */
static double after_battery(double above, double below, double b)
{
    return fmax(0.0, above - b) + fmax(0.0, below - b);
}

static void battery(const struct machine_site *s, const struct machine_swing_load *l,
                    struct machine_swing *out)
{
    double mean = out->mean_w - l->beside_w, target = out->limit_w;
    double above = fmax(0.0, l->high_w - mean), below = fmax(0.0, mean - l->low_w);
    double b = 0.0;
    if (above + below > target) {
        b = 0.5 * (above + below - target); /* while it clips both sides */
        if (b > fmin(above, below)) b = fmax(above, below) - target;
    }
    double high_s = l->period_s - l->low_s - l->edge_s;
    double eff = figure_mid(&s->battery_efficiency, BATTERY_EFFICIENCY);
    out->battery_needed_w = b;
    /* Discharged while all compute; what is lost on the way is stored too. */
    out->battery_needed_wh = fmin(b, above) * fmax(high_s, 0.0) / 3600.0 / eff;
    out->battery_left_w = after_battery(above, below, figure_mid(&s->battery_w, 0.0));
}

/* A longer step (more microbatches) keeps its low part and lowers the lines: the shortest period
 * whose lines in the band stay within the limit. */
static double detuned(const struct machine_site *s, const struct machine_swing_load *l,
                      const struct machine_swing *swing)
{
    struct band b = band_of(s);
    double range = l->high_w - l->low_w;
    double limit = swing->limit_w > 0.0 ? swing->limit_w : RANGE_OF_MEAN * swing->mean_w;
    for (double t = l->period_s; t <= PERIOD_LONGEST_S; t *= 1.02)
        if (range_in_band(l, t, range, b) <= limit) return t;
    return 0.0;
}

void machine_swing(const struct machine_site *site, const struct machine_swing_load *l,
                   struct machine_swing *out)
{
    memset(out, 0, sizeof(*out));
    if (l->period_s <= 0.0) return;
    double range = fmax(0.0, l->high_w - l->low_w);
    double low_share = fmin(1.0, (l->low_s + l->edge_s) / l->period_s);
    struct band b = band_of(site);
    out->period_s = l->period_s;
    out->peak_w = l->beside_w + l->high_w;
    out->amplitude_w = low_share > 0.0 ? range : 0.0;
    out->trough_w = out->peak_w - out->amplitude_w;
    out->mean_w = out->peak_w - low_share * range;
    out->n_lines = (int)ARRAY_LEN(out->spectrum_w);
    for (int n = 1; n <= out->n_lines; n++) {
        out->spectrum_hz[n - 1] = n / l->period_s;
        out->spectrum_w[n - 1] = line_w(l, l->period_s, n);
    }
    out->in_band_w = largest_in_band(l, l->period_s, b);
    out->limit_w = figure_mid(&site->swing_limit_w, 0.0);
    out->range_in_band_w = range_in_band(l, l->period_s, out->amplitude_w, b);
    smoothing(l, out);
    /* A cap at the mean of the accelerators: the peak comes down to it, and the step grows. */
    out->cap_left_w = fmax(0.0, out->mean_w - l->beside_w - l->low_w);
    battery(site, l, out);
    out->within_limit = out->limit_w <= 0.0 || out->range_in_band_w <= out->limit_w;
    out->by_batteries = !out->within_limit && figure_mid(&site->battery_w, 0.0) > 0.0 &&
                        out->battery_left_w <= out->limit_w;
    out->within_limit |= out->by_batteries;
    out->period_detuned_s = detuned(site, l, out);
    out->stop_w = out->mean_w - l->beside_w - l->idle_w;
}

void machine_swing_levels(const struct machine_cluster *c, const int64_t used[MACHINE_MAX_POOLS],
                          double cap, double compute_share, struct machine_swing_load *l)
{
    double compute = 0.0, comm = 0.0, smooth_compute = 0.0, smooth_comm = 0.0;
    l->idle_w = 0.0;
    for (int64_t i = 0; i < c->n_pools; i++) {
        const struct machine_accelerator *a = c->pools[i].accelerator;
        struct machine_phase_power p;
        machine_phase_power(a, cap, &p);
        double n = machine_supplied_w((double)used[i]);
        double rest = machine_supplied_w((double)c->pools[i].count) - n;
        double floor_w = figure_mid(&a->smoothing_floor, 0.0) * p.cap_w;
        compute += n * p.compute_w + rest * p.idle_w;
        comm += n * p.comm_w + rest * p.idle_w;
        smooth_compute += n * fmax(p.compute_w, floor_w) + rest * p.idle_w;
        smooth_comm += n * fmax(p.comm_w, floor_w) + rest * p.idle_w;
        l->idle_w += (n + rest) * p.idle_w;
    }
    /* What does not compute outside the low part lowers the high level. */
    double T = l->period_s, busy = T - l->low_s - l->edge_s;
    double share = busy > 0.0 ? fmin(compute_share * T / busy, 1.0) : 0.0;
    l->high_w = share * compute + (1.0 - share) * comm;
    l->low_w = fmin(comm, l->high_w);
    l->smooth_high_w = share * smooth_compute + (1.0 - share) * smooth_comm;
    l->smooth_low_w = smooth_comm;
}

/* A stop takes each source's share away at once; what a source of limited ramp still gives on its
 * way down, a triangle of power and time, has to go somewhere. */
double machine_stop_battery_wh(const struct machine_site *s,
                               const double source_w[MACHINE_MAX_SOURCES], double stop_w)
{
    double all = 0.0, wh = 0.0;
    for (int64_t i = 0; i < s->n_sources; i++)
        all += source_w[i];
    for (int64_t i = 0; i < s->n_sources && all > 0.0; i++) {
        double ramp = figure_mid(&s->sources[i].ramp_w_per_s, 0.0);
        double drop = stop_w * source_w[i] / all;
        if (ramp > 0.0) wh += 0.5 * drop * drop / ramp / 3600.0;
    }
    return wh;
}
