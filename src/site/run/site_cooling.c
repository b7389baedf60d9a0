/* site_cooling.c: the weather of the hour, what cooling draws, and how hot the dies are.
 *
 * Cooling and the losses before it follow the load five minutes later. Where the coolant that is
 * supplied is warmer than asked for (hot air, chillers that fail), the hottest dies lower their clock
 * until they are within their limit. A heat wave warms the air at constant moisture: its wet bulb by
 * a third as much (psychrometrics at 25 to 40 C). */
#include "site/run/site_run_internal.h"

#define WET_OF_DRY 0.35
#define LEAST_CAP  0.4 /* to which heat can lower accelerators' power */

static struct machine_loop loop_of(const struct site_sim *x)
{
    const struct site_cooling *c = &x->s->cooling;
    return (struct machine_loop){.supply_c = c->supply_c,
                                 .approach_k = c->approach_k,
                                 .span_k = c->span_k / c->flow,
                                 .pumps = c->pumps * machine_pump_share(c->flow),
                                 .fans = c->fans,
                                 .electrical = c->electrical,
                                 .chiller_share = c->chiller_share * x->st->chiller_share,
                                 .chilled_c = c->chilled_c,
                                 .catalogue = c->catalogue};
}

/* A site that states its own PUE keeps it as the mean of its weather's hours. */
static double scale_of(const struct site_sim *x)
{
    double stated = figure_mid(&x->s->site.design_pue, 0.0), sum = 0.0, more, water;
    const struct site_weather *w = x->s->weather;
    if (!w || stated <= 1.0 || x->s->cooling.law != SITE_COOLING_SITE) return 1.0;
    for (size_t i = 0; i < w->n; i++) {
        machine_cooling_overhead(&x->s->site, w->hours[i].dry_c, w->hours[i].wet_c, &more, &water);
        sum += more;
    }
    return sum > 0.0 ? (stated - 1.0) * (double)w->n / sum : 1.0;
}

static int month_of(int64_t hour)
{
    int64_t day = hour / 24 % 365;
    int month = 0;
    for (; month < 11 && day >= machine_month_days[month]; month++)
        day -= machine_month_days[month];
    return month + 1;
}

static void read_weather(struct site_sim *x)
{
    struct site_state *st = x->st;
    int64_t hour = (x->s->cooling.start_day - 1) * 24 + st->hour;
    const struct site_weather *w = x->s->weather;
    if (w) {
        const struct site_hour *h = &w->hours[(size_t)hour % w->n];
        st->dry_c = h->dry_c;
        st->wet_c = h->wet_c;
        st->month = h->month ? h->month : month_of(hour);
    } else {
        const struct machine_climate_month mild = {15.0, 11.0};
        st->month = month_of(hour);
        const struct machine_climate_month m =
            x->s->site.has_climate ? x->s->site.months[st->month - 1] : mild;
        st->dry_c = m.dry_bulb_c;
        st->wet_c = m.wet_bulb_c;
    }
    st->dry_c += st->kelvin;
    st->wet_c = fmin(st->wet_c + WET_OF_DRY * st->kelvin, st->dry_c);
}

/* So many dry coolers of a catalogue's point; chillers take what they cannot. */
static void coolers(struct site_sim *x)
{
    struct site_state *st = x->st;
    const struct site_cooling *c = &x->s->cooling;
    const struct machine_dry_cooler k = {c->cooler_w, c->cooler_air_c, c->cooler_in_c,
                                         c->cooler_out_c};
    double most =
        (double)c->coolers * machine_dry_cooler_w(&k, c->supply_c + c->span_k / c->flow, st->dry_c);
    double heat = fmax(st->cooled_w, 1.0), taken = fmin(most, heat), capacity, cop = 1.0;
    bool inside = machine_chiller(c->chilled_c, st->dry_c, &capacity, &cop);
    double chilled = fmin(heat - taken, c->chiller_share * st->chiller_share * heat);
    double fans = most > 0.0 ? machine_fan_share(taken / most) * c->cooler_fan_w : 0.0;
    /* what neither takes warms the coolant until the coolers do */
    double left = heat - taken - chilled;
    double per_k = (double)c->coolers * c->cooler_w / (c->cooler_in_c - c->cooler_air_c);
    st->coolant_c = c->supply_c + left / per_k;
    st->overhead = c->electrical + c->pumps * machine_pump_share(c->flow) +
                   ((double)c->coolers * fans + chilled / cop) / heat;
    st->l_per_kwh = 0.0;
    st->r.coolers_least_w = st->now > 0 ? fmin(st->r.coolers_least_w, most) : most;
    if (chilled > 0.0 && !inside) st->warned_curves = true;
}

static void overhead(struct site_sim *x)
{
    struct site_state *st = x->st;
    if (x->s->cooling.law == SITE_COOLING_COOLERS) {
        coolers(x);
        return;
    }
    if (x->s->cooling.law == SITE_COOLING_LOOP) {
        struct machine_loop_state l;
        struct machine_loop loop = loop_of(x);
        machine_loop_overhead(&loop, st->dry_c, &l);
        st->overhead = l.overhead;
        st->coolant_c = l.supply_c;
        st->l_per_kwh = 0.0;
        if (!l.within_curves) st->warned_curves = true;
        return;
    }
    st->coolant_c = figure_mid(&x->s->site.supply_c, x->s->cooling.supply_c);
    if (x->s->weather || st->kelvin != 0.0) {
        machine_cooling_overhead(&x->s->site, st->dry_c, st->wet_c, &st->overhead, &st->l_per_kwh);
        st->overhead *= st->pue_scale;
        return;
    }
    struct machine_cooling_year year; /* with a month's spread around its mean */
    machine_cooling_year(&x->s->site, &year);
    st->overhead = year.pue[st->month - 1] - 1.0;
    st->l_per_kwh = year.l_per_kwh[st->month - 1];
}

void site_cooling_throttle(struct site_sim *x)
{
    struct site_state *st = x->st;
    const struct site_cooling *c = &x->s->cooling;
    double cap = 1.0, room_w = c->resistance_k_per_w > 0.0
                                   ? (c->limit_c - st->coolant_c) / c->resistance_k_per_w
                                   : INFINITY;
    for (int p = 0; p < x->s->cluster.n_pools; p++) {
        struct machine_phase_power w;
        machine_phase_power(x->s->cluster.pools[p].accelerator, 0.0, &w);
        if (w.compute_w > room_w) cap = fmin(cap, room_w / w.cap_w);
        double die = st->coolant_c + c->resistance_k_per_w * fmin(w.compute_w, st->cap * w.cap_w);
        st->die_c = p == 0 ? die : fmax(st->die_c, die);
    }
    cap = fmax(cap, LEAST_CAP);
    if (cap < 1.0) st->die_c = fmin(st->die_c, fmax(c->limit_c, st->coolant_c));
    st->r.die_high_c = fmax(st->r.die_high_c, st->die_c);
    if (cap == st->heat_cap) return;
    if (cap < 1.0 && st->heat_cap == 1.0) site_log_text(x, "throttled", "why", "coolant");
    st->heat_cap = cap;
    site_load_table(x);
}

void site_cooling_hour(struct site_sim *x)
{
    static const double HOT_C[3] = {30.0, 32.0, 35.0};
    struct site_state *st = x->st;
    if (st->pue_scale == 0.0) st->pue_scale = scale_of(x);
    read_weather(x);
    overhead(x);
    site_gas_hour(x);
    if (st->now % SITE_HOUR == 0) {
        st->r.hours++;
        for (int i = 0; i < 3; i++)
            st->r.hours_hot[i] += st->dry_c > HOT_C[i] + 1e-6;
    }
    st->r.dry_high_c = st->r.hours > 1.0 ? fmax(st->r.dry_high_c, st->dry_c) : st->dry_c;
    st->r.wet_high_c = st->r.hours > 1.0 ? fmax(st->r.wet_high_c, st->wet_c) : st->wet_c;
    st->power_changed = true;
}

void site_cooling_follow(struct site_sim *x)
{
    x->st->heat_waits = false;
    x->st->cooled_w = x->st->it_w;
    if (x->s->cooling.law == SITE_COOLING_COOLERS) overhead(x);
    x->st->power_changed = true;
}
