/* site_dispatch.c: which source gives how much, until when.
 *
 * Gas units and the grid are used in merit order: by the cost of a kWh, or the grid last. Units are
 * started and stopped for the load that there would be without any step against a deficit, at the
 * end of the ramps that are under way. A source with a ramp goes to its set-point for the load of
 * the moment at that ramp, and along with it; those without take what is left over; then the
 * battery; what even that cannot give is unserved, and what it cannot take is spilled. No source
 * makes room for another while watts are missing, nor gives more while they are left over. All of
 * it is linear until the first of them reaches a bound, and that moment is solved for and queued. */
#include "site/read/site_read_internal.h"
#include "site/run/site_run_internal.h"

#define CHARGE_HOURS 5.0   /* a battery is filled over so long */
#define CHARGE_NEED  0.05  /* of the load: what units are started for on its behalf, and it gives */
#define BAND         0.02  /* of the battery: it is charged so far below its target, gives above */
#define ROUNDING     1e-12 /* of the load: no watts at all */
#define EDGE         1e-9  /* of the battery's power: on its bound */
#define DARK_STEP    0.02  /* of the load: by so much less or more unserved, work is told anew */
enum { GRID = SITE_MAX_GAS };

/* ------------------------------------------------------------------ the battery */

void site_battery_init(struct site_sim *x)
{
    const struct site_battery *b = &x->s->battery;
    const struct machine_site *site = &x->s->site;
    x->battery_w = figure_mid(&b->power_w, figure_mid(&site->battery_w, 0.0));
    x->battery_j = 3600.0 * figure_mid(&b->energy_wh, figure_mid(&site->battery_wh, 0.0));
    x->battery_way = sqrt(figure_mid(&b->efficiency, figure_mid(&site->battery_efficiency, 0.91)));
}

/* What a microsecond may carry: nearer to a bound than this is on it. */
double site_soc_tolerance(const struct site_sim *x, double drain_w)
{
    return site_more(1e-9 * site_battery_energy_j(x), 4e-6 * (site_battery_power(x) + drain_w));
}

static double near_charge(const struct site_sim *x)
{
    return site_soc_tolerance(x, x->st->drain_w);
}

double site_grid_limit(const struct site_sim *x)
{
    double limit = site_grid_contract_w(x->s);
    return site_less(site_less(limit, x->st->grid_limit_w), x->st->curtail_w);
}

/* ------------------------------------------------------------------ merit */

static double cost_of(const struct site_scenario *s, int source)
{
    if (source == GRID) {
        double own = 0.065;
        for (int64_t i = 0; i < s->site.n_sources; i++)
            if (s->site.sources[i].grid) own = figure_mid(&s->site.sources[i].usd_per_kwh, own);
        return s->grid.last ? INFINITY : 1e3 * figure_mid(&s->grid.usd_per_kwh, own);
    }
    const struct site_gas *g = &s->gas[source];
    return g->usd_per_mwh +
           g->usd_per_mmbtu * machine_gas_mmbtu_per_mwh(g->heat_kj_per_kwh[SITE_CURVE - 1]);
}

void site_power_init(struct site_sim *x)
{
    struct site_state *st = x->st;
    int n = 0;
    for (int i = 0; i <= x->s->n_gas; i++) {
        int source = i < x->s->n_gas ? i : GRID, at = n++;
        for (; at > 0 && cost_of(x->s, st->merit[at - 1]) > cost_of(x->s, source); at--)
            st->merit[at] = st->merit[at - 1];
        st->merit[at] = source;
    }
    st->soc_j = st->soc_start_j = x->s->battery.start * site_battery_energy_j(x);
    st->r.soc_low = st->r.soc_high = st->soc_j;
    st->flows[GRID].ramp = x->s->grid.ramp_w_per_s;
    st->cap = x->s->controls.cap;
    st->restore_firm_w = INFINITY;
    st->heat_cap = 1.0;
    st->cooled_w = -1.0;
    site_load_table(x);
    site_gas_init(x);
}

/* Watts that the battery is to take, or below 0 to give, to come back to its target. What loads
 * that fall have left in it is given back, so that it can take the next one. */
static double set_charging(struct site_sim *x)
{
    struct site_state *st = x->st;
    double all = site_battery_energy_j(x), near = near_charge(x),
           target = site_less(x->s->battery.target, x->s->battery.ceiling);
    bool any = all > 0.0 && target > 0.0;
    if (!any || st->soc_j >= target * all - near)
        st->charging = false;
    else if (st->soc_j <= (target - BAND) * all + near)
        st->charging = true;
    if (!any || st->soc_j <= target * all + near)
        st->giving_back = false;
    else if (st->soc_j >= (target + BAND) * all - near)
        st->giving_back = true;
    double most = site_less(site_battery_power(x), all / (3600.0 * CHARGE_HOURS));
    if (st->giving_back) return -site_less(most, CHARGE_NEED * st->load_w);
    return st->charging ? most : 0.0;
}

static double least_w(const struct site_sim *x, int g)
{
    return site_less(x->s->gas[g].min_share * x->s->gas[g].unit_w, x->st->gas_unit_w[g]);
}

/* Units for so much, of those that are ready. */
static int units_for(double w, double unit, int ready)
{
    double units = unit > 0.0 ? w / unit - 1e-9 : 0.0;
    if (units >= ready) return ready;
    int n = (int)units;
    return n + (units > n);
}

/* How many of them have minimum loads that fit. */
static int units_in(int units, double room, double least)
{
    if (units * least <= room || least <= 0.0) return units;
    return (int)(site_more(room, 0.0) / least + 1e-9);
}

/* Whether sources from the i-th on can give so much without a minimum load beyond `room`. */
static bool can_give(const struct site_sim *x, int i, double left, double room)
{
    double near = 1e-9 * left;
    for (; i <= x->s->n_gas && left > near; i++) {
        int k = x->st->merit[i];
        if (k == GRID) {
            left -= site_grid_limit(x);
            continue;
        }
        double unit = x->st->gas_unit_w[k], least = least_w(x, k);
        int n = units_in(units_for(left, unit, site_gas_ready(x, k)), room, least);
        left -= n * unit;
        room -= n * least;
    }
    return left <= near;
}

/* Units that each group is to run: for a load and a reserve, in merit order. None runs whose
 * minimum load would be spilled, where sources that come after it can do without. */
static void want_units(struct site_sim *x, double load, int want[SITE_MAX_GAS])
{
    struct site_state *st = x->st;
    double left = load, reserve = x->s->controls.spinning_w, room = load;
    for (int i = 0; i <= x->s->n_gas; i++) {
        int k = st->merit[i];
        if (k == GRID) {
            left -= site_less(left, site_grid_limit(x));
            continue;
        }
        if (left + reserve <= 0.0) break; /* the others are not needed */
        double unit = st->gas_unit_w[k], need = left, least = least_w(x, k);
        int ready = site_gas_ready(x, k);
        if (ready * unit >= left) need += reserve; /* where the last comes from */
        if (need <= 0.0) continue;
        int n = units_for(need, unit, ready), fit = units_in(n, room, least);
        if (n > fit && can_give(x, i + 1, need - fit * unit, room - fit * least)) n = fit;
        double part = site_less(left, n * unit);
        left -= part;
        if (left <= 0.0) reserve -= site_less(reserve, n * unit - part);
        room -= n * least;
        want[k] = n;
    }
}

/* leaving: units of each group that are unloaded to be stopped: a minimum load is theirs no more. */
static void set_bounds(struct site_sim *x, const int leaving[SITE_MAX_GAS])
{
    struct site_state *st = x->st;
    for (int g = 0; g < x->s->n_gas; g++) {
        struct site_flow *f = &st->flows[g];
        double least = (st->n_on[g] - leaving[g]) * x->s->gas[g].min_share * x->s->gas[g].unit_w;
        f->high = st->n_on[g] * site_gas_unit_w(x, g);
        f->low = site_less(least, f->high);
        f->most = f->high;
        f->ramp = st->n_on[g] * x->s->gas[g].ramp_w_per_s;
        f->follows = x->s->gas[g].ramp_w_per_s <= 0.0;
        f->w = site_less(f->w, f->high);
        f->slope = 0.0;
    }
    struct site_flow *grid = &st->flows[GRID];
    grid->high = grid->most = site_grid_limit(x);
    grid->low = 0.0;
    grid->follows = grid->ramp <= 0.0;
    grid->w = site_less(grid->w, grid->high);
    grid->slope = 0.0;
    double reserve = x->s->controls.spinning_w;
    for (int i = x->s->n_gas; i >= 0 && reserve > 0.0; i--) { /* of those that cost most */
        struct site_flow *f = &st->flows[st->merit[i]];
        if (f == grid) continue;
        f->most -= site_less(reserve, f->high - f->low);
        reserve -= f->high - f->most;
    }
}

/* Sources are used stage by stage: each up to its part of the reserve, in merit order, and only
 * then the reserve. */
static int stages(const struct site_sim *x)
{
    return x->s->controls.spinning_w > 0.0 ? 2 * (x->s->n_gas + 1) : x->s->n_gas + 1;
}

static inline struct site_flow *stage(const struct site_sim *x, int n, double *from, double *to)
{
    bool reserve = n > x->s->n_gas;
    struct site_flow *f = &x->st->flows[x->st->merit[reserve ? n - x->s->n_gas - 1 : n]];
    *from = reserve ? f->most : f->low;
    *to = reserve ? f->high : f->most;
    return f;
}

/* Set-points for so much, of all sources or of those that follow. Returns what lies above all that
 * they can give, or, below 0, below the least. */
static double set_points(struct site_sim *x, double want, bool all)
{
    struct site_state *st = x->st;
    double left = want;
    for (int i = 0; i <= x->s->n_gas; i++) {
        struct site_flow *f = &st->flows[st->merit[i]];
        if (!all && !f->follows) continue;
        f->target = f->low;
        left -= f->low;
    }
    for (int i = 0, n = stages(x); i < n && left > 0.0; i++) {
        double from, to;
        struct site_flow *f = stage(x, i, &from, &to);
        if (!all && !f->follows) continue;
        f->target = site_less(from + left, to);
        left -= to - from;
        if (left <= 0.0) return 0.0;
    }
    return left;
}

/* Watts that are none: of rounding, and of what so many watts a second are in a microsecond. */
static double near_of(const struct site_flow *f, double slope)
{
    return site_more(1e-9 * site_more(f->high, 1.0), 2e-6 * fabs(slope));
}

static bool has_room(const struct site_flow *f, double at, double slope)
{
    return slope > 0.0 ? at < f->high - near_of(f, slope) : at > f->low + near_of(f, slope);
}

/* The source that goes with a change, by where it is or by its set-point: the first whose stage is
 * not full, or the last whose stage is not empty; NULL: none. `bound`: the end of that stage. */
static struct site_flow *next_source(const struct site_sim *x, double slope, bool by_target,
                                     double *bound)
{
    for (int i = 0, n = stages(x); i < n; i++) {
        double from, to;
        struct site_flow *f = stage(x, slope > 0.0 ? i : n - 1 - i, &from, &to);
        double at = by_target ? f->target : f->w, near = near_of(f, slope);
        if (!by_target && !f->follows) continue;
        if (slope > 0.0 ? at >= to - near : at <= from + near) continue;
        *bound = slope > 0.0 ? to : from;
        return f;
    }
    return NULL;
}

/* One set-point goes with a load that changes. Returns the seconds until it is at its bound. Where the
 * load lies `beyond` what set-points reach, none moves before it is back. */
static double move_set_point(struct site_sim *x, double slope, double beyond)
{
    double bound;
    for (int i = 0; i <= x->s->n_gas; i++)
        x->st->flows[x->st->merit[i]].target_slope = 0.0;
    if (beyond * slope < 0.0) return -beyond / slope;
    struct site_flow *f = slope != 0.0 ? next_source(x, slope, true, &bound) : NULL;
    if (!f) return INFINITY;
    f->target_slope = slope;
    return (bound - f->target) / slope;
}

/* ------------------------------------------------------------------ ramps
 *
 * `gap`: watts that are missing, or below 0 left over, when all that follow have done what they
 * can; what a battery shall be filled with is needed like a load. */

/* What a source is away from its set-point; 0: nothing that a microsecond could not be. */
static double off_of(const struct site_sim *x, const struct site_flow *f)
{
    double off = f->target - f->w;
    return fabs(off) <= near_of(f, f->ramp + fabs(x->st->load_slope)) ? 0.0 : off;
}

/* Sources with a ramp that are at their set-point, or as good as, are there, and a unit that has
 * just started is at minimum load, as far as that is asked for; returns what all give. */
static double settle(struct site_sim *x)
{
    struct site_state *st = x->st;
    double sum = 0.0;
    for (int g = 0; g < x->s->n_gas; g++) {
        struct site_flow *f = &st->flows[g];
        if (st->started_w[g] > 0.0)
            f->w = site_more(f->w, site_less(f->target, f->w + st->started_w[g]));
        st->started_w[g] = 0.0;
    }
    for (int i = 0; i <= x->s->n_gas; i++) {
        struct site_flow *f = &st->flows[st->merit[i]];
        if (f->follows) continue;
        if (off_of(x, f) == 0.0) f->w = f->target;
        sum += f->w;
    }
    return sum;
}

/* A gap that is none: of rounding, or within what the battery's bounds are told by. */
static double no_gap(const struct site_sim *x)
{
    return ROUNDING * (x->st->load_w + 1.0) + EDGE * site_battery_power(x);
}

/* What a microsecond may leave of a gap is closed by those that ramp, first by those on their way;
 * returns the gap. */
static double close_gap(struct site_sim *x, double gap)
{
    struct site_state *st = x->st;
    const int all = x->s->n_gas + 1;
    double most = fabs(st->load_slope), none = no_gap(x);
    for (int i = 0; i < all; i++)
        if (!st->flows[st->merit[i]].follows) most += st->flows[st->merit[i]].ramp;
    if (fabs(gap) > site_more(2e-6 * most, none)) return gap;
    for (int i = 0; i < 2 * all && fabs(gap) > none; i++) {
        struct site_flow *f = &st->flows[st->merit[i % all]];
        if (f->follows || f->ramp <= 0.0 || (i < all && off_of(x, f) == 0.0)) continue;
        double w = site_less(site_more(f->w + gap, f->low), f->high);
        if (gap > 0.0 ? w <= f->w : w >= f->w) continue;
        gap -= w - f->w;
        f->w = w;
    }
    return gap;
}

/* Seconds until every source with a ramp can be where it is going; those that can hardly get there
 * while that moves do not count. */
static double longest_ramp_s(const struct site_sim *x, double gap)
{
    const struct site_state *st = x->st;
    double longest = 0.0;
    for (int i = 0; i <= x->s->n_gas; i++) {
        const struct site_flow *f = &st->flows[st->merit[i]];
        double off = off_of(x, f);
        if (f->follows || off == 0.0 || off * gap < 0.0) continue;
        double nearer = f->ramp - copysign(1.0, off) * f->target_slope;
        if (nearer > 0.05 * f->ramp) longest = site_more(longest, fabs(off) / nearer);
    }
    return longest;
}

/* Sources with a ramp go to their set-points; returns how what they give changes. While watts are
 * missing none goes down, and while they are left over none goes up. Where a battery bridges the
 * way, all arrive together, none faster than it must; else each goes as fast as it can, and all
 * that have room help to close the gap. */
static double start_ramps(struct site_sim *x, double gap, bool bridged)
{
    struct site_state *st = x->st;
    double sum = 0.0, longest = bridged ? longest_ramp_s(x, gap) : 0.0;
    for (int i = 0; i <= x->s->n_gas; i++) {
        struct site_flow *f = &st->flows[st->merit[i]];
        double off = off_of(x, f);
        if (f->follows) continue;
        if (gap != 0.0 && !bridged)
            f->slope = has_room(f, f->w, copysign(f->ramp, gap)) ? copysign(f->ramp, gap) : 0.0;
        else if (off == 0.0 || (bridged && longest > 0.0))
            f->slope = f->target_slope + (off != 0.0 ? off / longest : 0.0);
        else
            f->slope = copysign(f->ramp, off);
        f->slope =
            site_less(site_more(f->slope, gap > 0.0 ? 0.0 : -f->ramp), gap < 0.0 ? 0.0 : f->ramp);
        sum += f->slope;
    }
    return sum;
}

/* Sources without a ramp take what the others leave; returns what they leave. */
static double follow(struct site_sim *x, double given, double fill)
{
    struct site_state *st = x->st;
    double rest = st->load_w - given;
    set_points(x, rest + fill, false);
    for (int i = 0; i <= x->s->n_gas; i++) {
        struct site_flow *f = &st->flows[st->merit[i]];
        if (!f->follows) continue;
        f->w = f->target;
        rest -= f->w;
    }
    return rest;
}

/* Sources on their way go no faster than others make room; returns what is left of the slope. */
static double hold_back(struct site_sim *x, double slope)
{
    struct site_state *st = x->st;
    for (int i = 0; i <= x->s->n_gas && slope != 0.0; i++) {
        struct site_flow *f = &st->flows[st->merit[slope > 0.0 ? i : x->s->n_gas - i]];
        if (f->follows || f->slope * slope >= 0.0) continue;
        if (fabs(f->slope) > fabs(slope)) {
            f->slope += slope;
            return 0.0;
        }
        slope += f->slope;
        f->slope = 0.0;
    }
    return slope;
}

/* Sources with a ramp and room go with a load that changes, as fast as they can, whatever their
 * set-points; returns what is left of its slope. */
static double go_along(struct site_sim *x, double slope)
{
    struct site_state *st = x->st;
    for (int i = 0; i <= x->s->n_gas && slope != 0.0; i++) {
        struct site_flow *f = &st->flows[st->merit[slope > 0.0 ? i : x->s->n_gas - i]];
        if (f->follows || !has_room(f, f->w, copysign(f->ramp, slope))) continue;
        double to = site_less(site_more(f->slope + slope, -f->ramp), f->ramp), more = to - f->slope;
        if (fabs(more) >= fabs(slope)) more = slope;
        f->slope += more;
        slope -= more;
    }
    return slope;
}

static bool all_there(const struct site_sim *x)
{
    for (int i = 0; i <= x->s->n_gas; i++) {
        const struct site_flow *f = &x->st->flows[x->st->merit[i]];
        if (!f->follows && f->w != f->target) return false;
    }
    return true;
}

/* Who goes with the load; returns what is left of its slope to the battery, and beyond it. */
static double share_slope(struct site_sim *x, double gap, bool bridged)
{
    if (fabs(gap) <= no_gap(x)) gap = 0.0;
    if (gap == 0.0 && x->st->load_slope == 0.0 && all_there(x)) return 0.0;
    double slope = x->st->load_slope - start_ramps(x, gap, bridged);
    if (gap != 0.0) /* what is missing or left over takes it, unless that grows */
        return gap * slope > 0.0 ? go_along(x, slope) : slope;
    double bound;
    struct site_flow *f = slope != 0.0 ? next_source(x, slope, false, &bound) : NULL;
    if (!f) return go_along(x, hold_back(x, slope));
    f->slope = slope;
    f->target = bound;
    return 0.0;
}

/* What the battery could give and take just now. */
static double could_give(const struct site_sim *x)
{
    double floor_j = x->s->battery.floor * site_battery_energy_j(x);
    return x->st->soc_j > floor_j + near_charge(x) ? site_battery_power(x) : 0.0;
}

static double could_take(const struct site_sim *x)
{
    double ceiling_j = x->s->battery.ceiling * site_battery_energy_j(x);
    return x->st->soc_j < ceiling_j - near_charge(x) ? site_battery_power(x) : 0.0;
}

/* What is left over to the battery, and beyond it. */
static void to_battery(struct site_sim *x, double rest, double slope)
{
    struct site_state *st = x->st;
    double power = site_battery_power(x), give = could_give(x), take = could_take(x);
    if (fabs(rest) <= ROUNDING * (st->load_w + 1.0)) rest = 0.0;
    st->battery_w = site_less(site_more(rest, -take), give);
    st->unserved_w = site_more(rest - give, 0.0);
    st->spilled_w = site_more(-take - rest, 0.0);
    st->battery_slope = st->unserved_slope = st->spilled_slope = 0.0;
    double edge = EDGE * power;
    if (rest > give + edge || (rest >= give - edge && slope > 0.0))
        st->unserved_slope = slope;
    else if (rest < -take - edge || (rest <= -take + edge && slope < 0.0))
        st->spilled_slope = -slope;
    else
        st->battery_slope = slope;
}

/* ------------------------------------------------------------------ what comes first */

/* Seconds until at + slope t is at `level`; INFINITY: never. */
static double until(double at, double slope, double level)
{
    double t = slope != 0.0 ? (level - at) / slope : INFINITY;
    return t > 0.0 ? site_more(t, 1e-6) : INFINITY;
}

/* Seconds until the charge is at a level. */
static double until_charge(const struct site_sim *x, double level)
{
    const struct site_state *st = x->st;
    double way = site_battery_way(x), gain = st->battery_w > 0.0 ? -1.0 / way : -way;
    if (st->battery_w == 0.0) gain = st->battery_slope > 0.0 ? -1.0 / way : -way;
    double a = 0.5 * gain * st->battery_slope, b = gain * st->battery_w - st->drain_w;
    double c = st->soc_j - level;
    if (fabs(c) <= near_charge(x)) return INFINITY;
    if (a == 0.0) return until(c, b, 0.0);
    double root = b * b - 4.0 * a * c;
    if (root < 0.0) return INFINITY;
    double q = -0.5 * (b + copysign(sqrt(root), b)), first = q / a,
           second = q != 0.0 ? c / q : -1.0;
    double t = INFINITY;
    if (first > 1e-9) t = first;
    if (second > 1e-9) t = site_less(t, second);
    return t;
}

/* At the latest in `t` seconds, when a set-point comes to its bound. */
static void queue_next(struct site_sim *x, double fill, double t)
{
    struct site_state *st = x->st;
    const struct site_battery *b = &x->s->battery;
    double all = site_battery_energy_j(x), power = site_battery_power(x);
    for (int i = 0; i <= x->s->n_gas; i++) {
        const struct site_flow *f = &st->flows[st->merit[i]];
        if (f->slope != 0.0)
            t = site_less(t, until(f->w, f->slope, f->slope > 0.0 ? f->high : f->low));
        if (f->target != f->w)
            t = site_less(t, until(f->w - f->target, f->slope - f->target_slope, 0.0));
    }
    if (st->battery_slope != 0.0) {
        t = site_less(t, until(st->battery_w, st->battery_slope, 0.0));
        if (fabs(st->battery_w + fill) > no_gap(x))
            t = site_less(t, until(st->battery_w, st->battery_slope, -fill));
        t = site_less(t, until(st->battery_w, st->battery_slope, power));
        t = site_less(t, until(st->battery_w, st->battery_slope, -power));
    }
    if (st->dark > 0.0 && st->unserved_slope != 0.0) /* accelerators work by as much less */
        t = site_less(t, DARK_STEP * st->load_w / fabs(st->unserved_slope));
    t = site_less(t, until(st->lag_w, st->lag_slope, 0.0));
    t = site_less(t, until(st->unserved_w, st->unserved_slope, 0.0));
    t = site_less(t, until(st->spilled_w, st->spilled_slope, 0.0));
    if (all > 0.0 && (st->battery_w != 0.0 || st->battery_slope != 0.0 || st->drain_w > 0.0)) {
        const double levels[] = {b->floor,  b->ceiling,       b->reserve,
                                 b->target, b->target - BAND, b->target + BAND};
        for (size_t i = 0; i < ARRAY_LEN(levels); i++)
            t = site_less(t, until_charge(x, levels[i] * all));
    }
    st->power_generation++;
    if (t == INFINITY) return;
    site_us at = st->now + (site_us)site_more(site_less(floor(t * 1e6), 9e15), 1.0);
    site_push(x, at, SITE_K_POWER, 0, st->power_generation);
}

/* All that an island has lost in this moment is one step. */
static void island_step(struct site_sim *x, double more_w)
{
    double missing = more_w + x->st->lost_w;
    if (missing != 0.0 && site_grid_limit(x) <= 0.0) site_island_step(x, missing);
    x->st->lost_w = 0.0;
}

void site_dispatch(struct site_sim *x)
{
    struct site_state *st = x->st;
    double was = st->load_w;
    int want[SITE_MAX_GAS] = {0}, leaving[SITE_MAX_GAS] = {0};
    st->power_changed = false;
    site_load_now(x);
    island_step(x, st->now > 0 ? st->load_w - was : 0.0);
    double fill = set_charging(x);
    double ahead = site_load_ahead(x), whole = ahead;
    if (site_ladder_active(x)) whole = site_more(whole, site_load_at(x, x->s->controls.cap, true));
    want_units(x, whole + site_less(site_more(fill, 0.0), CHARGE_NEED * whole), want);
    site_gas_commit(x, want, leaving);
    island_step(x, 0.0); /* of those whose permit has ended */
    set_bounds(x, leaving);
    double beyond = set_points(x, st->load_w + fill, true);
    if (st->now == 0) /* it begins settled */
        for (int i = 0; i <= x->s->n_gas; i++)
            st->flows[st->merit[i]].w = st->flows[st->merit[i]].target;
    double bend_s = move_set_point(x, st->load_slope, beyond), given = settle(x);
    double gap = close_gap(x, follow(x, given, fill) + fill), rest = gap - fill;
    bool bridged = site_battery_power(x) > 0.0 &&
                   st->soc_j > x->s->battery.reserve * site_battery_energy_j(x) + near_charge(x) &&
                   rest <= could_give(x) && rest >= -could_take(x);
    to_battery(x, rest, share_slope(x, gap, bridged));
    site_ladder_look(x);
    if (!st->power_changed) queue_next(x, fill, bend_s);
}
