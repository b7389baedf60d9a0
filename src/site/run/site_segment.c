/* site_segment.c: energy between two events, exactly, and the proof that none was made or lost.
 *
 * All watts are linear in a segment, so their integrals are closed; the fuel of units on their way
 * is a quadratic between two points of their heat rate, which Simpson's rule integrates exactly.
 * The battery loses a part each way, and what the wave of steps costs it. At every segment both
 * balances are checked: of watts, and of joules since the beginning.
 *
 * Here is counted, too, how often the grid's draw changes faster than its contract allows, over any
 * 60 seconds: not by samples, but by the difference of the draw and of itself a minute before,
 * which is linear between the bends of both. Of more than 512 bends within a minute the oldest are
 * forgotten. */
#include <string.h>

#include "site/run/site_run_internal.h"

#define BALANCE 1e-9

/* ------------------------------------------------------------------ ramps of the contract */

#define WINDOW (60 * SITE_SECOND)

static const struct site_ramp_point *point(const struct site_state *st, int i)
{
    return &st->ramp[(st->ramp_first + i) % SITE_RING];
}

static void add_point(struct site_state *st, site_us at, double w)
{
    const struct site_ramp_point *last = st->ramp_n ? point(st, st->ramp_n - 1) : NULL;
    if (last && last->at == at && last->w == w) return;
    if (st->ramp_n == SITE_RING) {
        st->ramp_first = (st->ramp_first + 1) % SITE_RING;
        st->ramp_n--;
    }
    st->ramp[(st->ramp_first + st->ramp_n++) % SITE_RING] = (struct site_ramp_point){at, w};
}

/* The draw just behind (`after`) or just before a moment of the past. */
static double past(const struct site_state *st, site_us at, bool after)
{
    int i = 0;
    while (i < st->ramp_n && (after ? point(st, i)->at <= at : point(st, i)->at < at))
        i++;
    if (i == 0) return point(st, 0)->w;
    const struct site_ramp_point *a = point(st, i - 1);
    if (i == st->ramp_n) return a->w;
    const struct site_ramp_point *b = point(st, i);
    if (b->at == a->at) return a->w;
    return a->w + (b->w - a->w) * (double)(at - a->at) / (double)(b->at - a->at);
}

/* A stretch in which the difference goes from g0 to g1. */
static void stretch(struct site_sim *x, double g0, double g1, double seconds)
{
    struct site_state *st = x->st;
    double most = x->s->grid.ramp_limit_w_per_s * site_seconds(WINDOW) * (1.0 + 1e-9);
    double a = fabs(g0), b = fabs(g1), over = 0.0;
    bool crosses = g0 * g1 < 0.0; /* through 0: both ends may be beyond */
    if (crosses) {
        double span = a + b;
        over = (fmax(a - most, 0.0) + fmax(b - most, 0.0)) / span;
    } else if (a > most && b > most) {
        over = 1.0;
    } else if (fmax(a, b) > most) {
        over = (fmax(a, b) - most) / fabs(a - b);
    }
    st->r.ramp_s += over * seconds;
    if (!st->in_ramp && over > 0.0) st->r.ramps++;
    st->in_ramp = b > most;
}

static void ramp_segment(struct site_sim *x, site_us from, site_us to, double w, double slope)
{
    struct site_state *st = x->st;
    if (x->s->grid.ramp_limit_w_per_s <= 0.0) return;
    add_point(st, from, w);
    add_point(st, to, w + slope * site_seconds(to - from)); /* a minute ago may be in this one */
    if (fabs(slope) > x->s->grid.ramp_limit_w_per_s * (1.0 + 1e-9))
        st->r.steep_s += site_seconds(to - from);
    site_us at = from;
    while (at < to) {
        site_us next = to;
        for (int i = 0; i < st->ramp_n; i++) {
            site_us bend = point(st, i)->at + WINDOW;
            if (bend > at && bend < next) next = bend;
        }
        double here = w + slope * site_seconds(at - from),
               there = w + slope * site_seconds(next - from);
        double g0 = here - past(st, at - WINDOW, true), g1 = there - past(st, next - WINDOW, false);
        stretch(x, g0, g1, site_seconds(next - at));
        at = next;
    }
    while (st->ramp_n > 2 && point(st, 1)->at < to - WINDOW) {
        st->ramp_first = (st->ramp_first + 1) % SITE_RING;
        st->ramp_n--;
    }
}

/* ------------------------------------------------------------------ energy */

static double linear(double at, double slope, double dt)
{
    return (at + 0.5 * slope * dt) * dt;
}

/* Watts of fuel of a group that gives so much. */
static double fuel_w(const struct site_sim *x, int g, double w)
{
    const struct site_gas *k = &x->s->gas[g];
    double all = (double)x->st->n_on[g] * k->unit_w;
    if (all <= 0.0 || w <= 0.0) return 0.0;
    return w * machine_gas_heat_rate(k->load_share, k->heat_kj_per_kwh, SITE_CURVE, w / all) /
           3600.0;
}

/* Joules of fuel of a group in a segment. */
static double fuel_j(const struct site_sim *x, int g, double w, double slope, double dt)
{
    if (slope == 0.0) return fuel_w(x, g, w) * dt;
    double low = site_less(w, w + slope * dt), high = site_more(w, w + slope * dt), sum = 0.0;
    double all = (double)x->st->n_on[g] * x->s->gas[g].unit_w, from = low;
    double at = fuel_w(x, g, from);
    if (high <= low) return at * dt;
    for (int i = 0; i <= SITE_CURVE; i++) {
        double to = i < SITE_CURVE ? site_less(x->s->gas[g].load_share[i] * all, high) : high;
        if (to <= from) continue;
        double there = fuel_w(x, g, to), middle = fuel_w(x, g, 0.5 * (from + to));
        sum += (at + 4.0 * middle + there) * (to - from);
        from = to;
        at = there;
    }
    return sum / 6.0 * dt / (high - low);
}

/* Grams of each pollutant for a kWh of a group's fuel. */
static void stack_per_kwh(const struct site_sim *x, int g, double grams[SITE_N_STACK])
{
    grams[SITE_NOX] = machine_gas_nox_g_per_kwh(x->st->nox_ppm[g], 1.0);
    grams[SITE_CO2] = machine_gas_co2_g_per_kwh(1.0);
    grams[SITE_CO] = machine_gas_co_g_per_kwh(x->s->gas[g].co_ppm, 1.0);
}

void site_stack_soon(const struct site_sim *x, double dt, double grams[SITE_N_STACK])
{
    memcpy(grams, x->st->r.stack_g, SITE_N_STACK * sizeof *grams);
    for (int g = 0; g < x->s->n_gas; g++) {
        const struct site_flow *f = &x->st->flows[g];
        double each[SITE_N_STACK], fuel = fuel_j(x, g, f->w, f->slope, dt);
        stack_per_kwh(x, g, each);
        for (int k = 0; k < SITE_N_STACK; k++)
            grams[k] += each[k] * fuel / 1e3;
    }
}

static void gas(struct site_sim *x, int g, double dt)
{
    struct site_state *st = x->st;
    const struct site_flow *f = &st->flows[g];
    struct site_gas_result *r = &st->r.gas[g];
    r->out_s += st->n_out[g] * dt;
    if (st->n_on[g] == 0 && f->w == 0.0) return;
    double energy = linear(f->w, f->slope, dt), fuel = fuel_j(x, g, f->w, f->slope, dt);
    double each[SITE_N_STACK];
    stack_per_kwh(x, g, each);
    r->energy_j += energy;
    r->fuel_j += fuel;
    r->run_s += st->n_on[g] * dt;
    st->r.gas_j += energy;
    r->nox_g += each[SITE_NOX] * fuel / 1e3;
    for (int k = 0; k < SITE_N_STACK; k++)
        st->r.stack_g[k] += each[k] * fuel / 1e3;
}

static void battery(struct site_sim *x, double dt)
{
    struct site_state *st = x->st;
    double way = site_battery_way(x), bus = linear(st->battery_w, st->battery_slope, dt);
    double stored = bus > 0.0 ? -bus / way : -bus * way;
    double drain = st->drain_w * dt;
    if (bus > 0.0)
        st->r.battery_out_j += bus;
    else
        st->r.battery_in_j -= bus;
    st->stored_j += stored - drain;
    st->soc_j = st->soc_start_j + st->stored_j;
    st->r.battery_loss_j += drain - bus - stored;
    st->r.soc_low = site_less(st->r.soc_low, st->soc_j);
    st->r.soc_high = site_more(st->r.soc_high, st->soc_j);
}

static double given_w(const struct site_sim *x)
{
    double sum = x->st->battery_w + x->st->unserved_w - x->st->spilled_w;
    for (int g = 0; g <= x->s->n_gas; g++)
        sum += x->st->flows[g < x->s->n_gas ? g : SITE_MAX_GAS].w;
    return sum;
}

/* Watts now, and joules so far. */
static void check(struct site_sim *x)
{
    struct site_state *st = x->st;
    struct site_result *r = &st->r;
    double scale = site_more(st->load_w, site_more(fabs(st->battery_w), st->spilled_w)) + 1.0;
    double off = fabs(given_w(x) - st->load_w) / scale;
    r->balance_worst = site_more(r->balance_worst, off);
    CHECK_MSG(off <= BALANCE, "power: %.9g W given, %.9g W drawn", given_w(x), st->load_w);
    double in = r->grid_j + r->gas_j + r->battery_out_j + r->unserved_j;
    double out = r->load_j + r->battery_in_j + r->spilled_j;
    double stored = st->stored_j, kept = r->battery_in_j - r->battery_out_j - r->battery_loss_j;
    r->energy_error = (fabs(in - out) + fabs(stored - kept)) / site_more(out, 1.0);
    CHECK_MSG(r->energy_error <= BALANCE, "energy: %.9g J in, %.9g J out; %.9g J stored of %.9g J",
              in, out, stored, kept);
}

void site_segment(struct site_sim *x, site_us t)
{
    struct site_state *st = x->st;
    struct site_result *r = &st->r;
    struct site_flow *grid = &st->flows[SITE_MAX_GAS];
    double dt = site_seconds(t - st->now);
    if (t <= st->now) return;
    double cooling = st->cooled_w * st->overhead;
    r->load_j += linear(st->load_w, st->load_slope, dt);
    double lag = linear(st->lag_w, st->lag_slope, dt);
    r->it_j += st->it_w * dt - lag;
    r->other_j += linear(st->fixed_w, st->fixed_slope, dt);
    r->pue_month_it_j[st->month - 1] += st->it_w * dt - lag;
    r->pue_month_load_j[st->month - 1] += (st->it_w + cooling) * dt - lag;
    r->water_l += st->it_w * dt / 3.6e6 * st->l_per_kwh;
    r->grid_j += linear(grid->w, grid->slope, dt);
    st->month_peak_w = site_more(st->month_peak_w, site_more(grid->w, grid->w + grid->slope * dt));
    r->grid_peak_w = site_more(r->grid_peak_w, st->month_peak_w);
    for (int g = 0; g < x->s->n_gas; g++)
        gas(x, g, dt);
    battery(x, dt);
    r->unserved_j += linear(st->unserved_w, st->unserved_slope, dt);
    r->spilled_j += linear(st->spilled_w, st->spilled_slope, dt);
    if (st->heat_cap < 1.0) r->throttled_s += dt;
    ramp_segment(x, st->now, t, grid->w, grid->slope);
    for (int g = 0; g <= x->s->n_gas; g++) {
        struct site_flow *f = &st->flows[g < x->s->n_gas ? g : SITE_MAX_GAS];
        f->w += f->slope * dt;
    }
    st->battery_w += st->battery_slope * dt;
    st->unserved_w += st->unserved_slope * dt;
    st->spilled_w += st->spilled_slope * dt;
    if (st->in_deficit)
        st->deficit_most_w = site_more(st->deficit_most_w, st->unserved_w + st->deficit_lowered_w);
    st->load_w += st->load_slope * dt;
    st->lag_w += st->lag_slope * dt;
    st->fixed_w += st->fixed_slope * dt;
    st->now = t;
    site_record_end(x);
    check(x);
}
