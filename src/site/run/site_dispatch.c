/* site_dispatch.c: which source gives how much, until when.
 *
 * Gas units and the grid are used in merit order: by the cost of a kWh, or the grid last. Units are
 * started and stopped for the load that there would be without any step against a deficit. A source
 * with a ramp goes to its set-point at that ramp; those without take what is left over; then the
 * battery; what even that cannot give is unserved, and what it cannot take is spilled. All of it is
 * linear until the first of them reaches a bound, and that moment is solved for and queued. */
#include "site/run/site_run_internal.h"

#define CHARGE_HOURS 5.0  /* a battery is filled over so long */
#define CHARGE_NEED  0.05 /* of the load: what units are started for on its behalf */
#define BAND         0.02 /* of the battery: charging begins so far below its target */
#define NONE         1e13 /* watts: as good as no limit */
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
static double soc_tolerance(const struct site_sim *x)
{
    return site_more(1e-9 * site_battery_energy_j(x),
                     4e-6 * (site_battery_power(x) + x->st->drain_w));
}

double site_grid_limit(const struct site_sim *x)
{
    double own = NONE;
    for (int64_t i = 0; i < x->s->site.n_sources; i++) {
        const struct machine_power_source *p = &x->s->site.sources[i];
        own = p->grid ? figure_mid(&p->capacity_w, NONE) : i == 0 ? 0.0 : own;
        if (p->grid) break;
    }
    const struct figure *f = &x->s->grid.contract_w;
    double limit = f->grade ? f->mid : own; /* 0 is an island */
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
    st->heat_cap = 1.0;
    st->cooled_w = -1.0;
    site_load_table(x);
    site_gas_init(x);
}

static void set_charging(struct site_sim *x)
{
    struct site_state *st = x->st;
    double all = site_battery_energy_j(x),
           target = site_less(x->s->battery.target, x->s->battery.ceiling);
    if (all <= 0.0 || target <= 0.0)
        st->charging = false;
    else if (st->soc_j >= target * all - soc_tolerance(x))
        st->charging = false;
    else if (st->soc_j <= (target - BAND) * all + soc_tolerance(x))
        st->charging = true;
}

/* What each group is needed for: `load` and a reserve, in merit order. */
static void assign_needs(struct site_sim *x, double load, double need[SITE_MAX_GAS])
{
    struct site_state *st = x->st;
    double left = load, reserve = x->s->controls.spinning_w;
    for (int i = 0; i <= x->s->n_gas; i++) {
        int k = st->merit[i];
        double most =
            k == GRID ? site_grid_limit(x) : (double)site_gas_ready(x, k) * site_gas_unit_w(x, k);
        double part = site_less(left, most);
        left -= part;
        if (k == GRID) continue;
        need[k] = part;
        if (left <= 0.0) { /* the reserve where the last of it comes from */
            double more = site_less(reserve, most - part);
            need[k] += more;
            reserve -= more;
        }
    }
}

static void set_bounds(struct site_sim *x)
{
    struct site_state *st = x->st;
    for (int g = 0; g < x->s->n_gas; g++) {
        struct site_flow *f = &st->flows[g];
        f->high = st->n_on[g] * site_gas_unit_w(x, g);
        f->low = site_less(st->n_on[g] * x->s->gas[g].min_share * x->s->gas[g].unit_w, f->high);
        f->ramp = st->n_on[g] * x->s->gas[g].ramp_w_per_s;
        f->follows = x->s->gas[g].ramp_w_per_s <= 0.0;
        f->w = site_less(f->w, f->high);
        f->slope = 0.0;
    }
    struct site_flow *grid = &st->flows[GRID];
    grid->high = site_grid_limit(x);
    grid->low = 0.0;
    grid->follows = grid->ramp <= 0.0;
    grid->w = site_less(grid->w, grid->high);
    grid->slope = 0.0;
}

/* Set-points for so much; those of one kind (following, or with a ramp) take what is left over. */
static void set_points(struct site_sim *x, double want, bool following, bool all)
{
    struct site_state *st = x->st;
    double left = want;
    for (int i = 0; i <= x->s->n_gas; i++) {
        const struct site_flow *f = &st->flows[st->merit[i]];
        if (all || f->follows == following) left -= f->low;
    }
    left = site_more(left, 0.0);
    for (int i = 0; i <= x->s->n_gas; i++) {
        struct site_flow *f = &st->flows[st->merit[i]];
        if (!all && f->follows != following) continue;
        double more = site_less(left, f->high - f->low);
        f->target = f->low + more;
        left -= more;
    }
}

/* Seconds until every source with a ramp can be where it is going; snaps those that are. */
static double longest_ramp_s(struct site_sim *x)
{
    struct site_state *st = x->st;
    double longest = 0.0;
    for (int i = 0; i <= x->s->n_gas; i++) {
        struct site_flow *f = &st->flows[st->merit[i]];
        if (f->follows) continue;
        double off = fabs(f->target - f->w);
        if (off <= site_more(1e-9 * site_more(f->high, 1.0), 2e-6 * f->ramp))
            f->w = f->target;
        else if (f->ramp > 0.0)
            longest = site_more(longest, off / f->ramp);
    }
    return longest;
}

/* Sources with a ramp go to their set-points; returns what they give, and how that changes. Where a
 * battery bridges the way, all arrive together, none faster than it must; else each goes as fast as it
 * can. */
static double start_ramps(struct site_sim *x, double *slope)
{
    struct site_state *st = x->st;
    const bool together =
        site_battery_power(x) > 0.0 && st->soc_j > x->s->battery.reserve * site_battery_energy_j(x);
    double sum = 0.0, longest = longest_ramp_s(x);
    *slope = 0.0;
    for (int i = 0; i <= x->s->n_gas; i++) {
        struct site_flow *f = &st->flows[st->merit[i]];
        if (f->follows) continue;
        double off = f->target - f->w;
        if (off != 0.0 && f->ramp > 0.0)
            f->slope = together ? off / longest : copysign(f->ramp, off);
        sum += f->w;
        *slope += f->slope;
    }
    return sum;
}

/* The follower that has room for a change of the rest; NULL: none. */
static struct site_flow *follower(struct site_sim *x, double slope)
{
    struct site_state *st = x->st;
    for (int i = 0; i <= x->s->n_gas; i++) {
        struct site_flow *f = &st->flows[st->merit[slope > 0.0 ? i : x->s->n_gas - i]];
        if (!f->follows) continue;
        double near = 1e-9 * site_more(f->high, 1.0);
        if (slope > 0.0 ? f->w < f->high - near : f->w > f->low + near) return f;
    }
    return NULL;
}

/* Sources with a ramp that have arrived go with a load that changes, as fast as they can; returns what
 * is left of its slope. */
static double go_along(struct site_sim *x, double slope)
{
    struct site_state *st = x->st;
    for (int i = 0; i <= x->s->n_gas && slope != 0.0; i++) {
        struct site_flow *f = &st->flows[st->merit[slope > 0.0 ? i : x->s->n_gas - i]];
        double near = 1e-9 * site_more(f->high, 1.0);
        bool room = slope > 0.0 ? f->w < f->high - near : f->w > f->low + near;
        if (f->follows || f->slope != 0.0 || f->ramp <= 0.0 || !room) continue;
        f->slope = site_less(site_more(slope, -f->ramp), f->ramp);
        f->target = slope > 0.0 ? f->high : f->low;
        slope -= f->slope;
    }
    return slope;
}

/* What the battery could give and take just now. */
static double could_give(const struct site_sim *x)
{
    double floor_j = x->s->battery.floor * site_battery_energy_j(x);
    return x->st->soc_j > floor_j + soc_tolerance(x) ? site_battery_power(x) : 0.0;
}

static double could_take(const struct site_sim *x)
{
    double ceiling_j = x->s->battery.ceiling * site_battery_energy_j(x);
    return x->st->soc_j < ceiling_j - soc_tolerance(x) ? site_battery_power(x) : 0.0;
}

/* What is left over to the battery, and beyond it. */
static void to_battery(struct site_sim *x, double rest, double slope)
{
    struct site_state *st = x->st;
    double power = site_battery_power(x), give = could_give(x), take = could_take(x);
    double nothing = 1e-12 * site_more(st->load_w, 1.0);
    if (fabs(rest) <= nothing) rest = 0.0;
    st->battery_w = site_less(site_more(rest, -take), give);
    st->unserved_w = site_more(rest - give, 0.0);
    st->spilled_w = site_more(-take - rest, 0.0);
    st->battery_slope = st->unserved_slope = st->spilled_slope = 0.0;
    double edge = 1e-9 * power;
    if (rest > give || (rest >= give - edge && slope > 0.0))
        st->unserved_slope = slope;
    else if (rest < -take || (rest <= -take + edge && slope < 0.0))
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
    if (fabs(c) <= soc_tolerance(x)) return INFINITY;
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

static void queue_next(struct site_sim *x)
{
    struct site_state *st = x->st;
    const struct site_battery *b = &x->s->battery;
    double t = INFINITY, all = site_battery_energy_j(x), power = site_battery_power(x);
    for (int i = 0; i <= x->s->n_gas; i++) {
        const struct site_flow *f = &st->flows[st->merit[i]];
        if (f->slope == 0.0) continue;
        if (f->follows)
            t = site_less(t, until(f->w, f->slope, f->slope > 0.0 ? f->high : f->low));
        else
            t = site_less(t, until(f->w, f->slope, f->target));
    }
    if (st->battery_slope != 0.0) {
        t = site_less(t, until(st->battery_w, st->battery_slope, 0.0));
        t = site_less(t, until(st->battery_w, st->battery_slope, power));
        t = site_less(t, until(st->battery_w, st->battery_slope, -power));
    }
    t = site_less(t, until(st->lag_w, st->lag_slope, 0.0));
    t = site_less(t, until(st->unserved_w, st->unserved_slope, 0.0));
    t = site_less(t, until(st->spilled_w, st->spilled_slope, 0.0));
    if (all > 0.0 && (st->battery_w != 0.0 || st->battery_slope != 0.0 || st->drain_w > 0.0)) {
        const double levels[] = {b->floor, b->ceiling, b->reserve, b->target, b->target - BAND};
        for (size_t i = 0; i < ARRAY_LEN(levels); i++)
            t = site_less(t, until_charge(x, levels[i] * all));
    }
    st->power_generation++;
    if (t == INFINITY) return;
    site_us at = st->now + (site_us)site_more(site_less(floor(t * 1e6), 9e15), 1.0);
    site_push(x, at, SITE_K_POWER, 0, st->power_generation);
}

void site_dispatch(struct site_sim *x)
{
    struct site_state *st = x->st;
    double need[SITE_MAX_GAS] = {0}, was = st->load_w, slope;
    st->power_changed = false;
    site_load_now(x);
    if (st->now > 0 && site_grid_limit(x) <= 0.0) site_island_step(x, st->load_w - was);
    set_charging(x);
    double ahead = site_load_ahead(x), whole = ahead;
    if (site_ladder_active(x)) whole = site_more(whole, site_load_at(x, x->s->controls.cap, true));
    double fill = st->charging ? site_less(site_battery_power(x),
                                           site_battery_energy_j(x) / (3600.0 * CHARGE_HOURS))
                               : 0.0;
    assign_needs(x, whole + site_less(fill, CHARGE_NEED * whole), need);
    site_gas_commit(x, need);
    set_bounds(x);
    set_points(x, ahead + fill, false, true);
    if (st->now == 0) /* it begins settled */
        for (int g = 0; g < x->s->n_gas; g++)
            st->flows[g].w = st->flows[g].target;
    if (st->now == 0 && !st->flows[GRID].follows) st->flows[GRID].w = st->flows[GRID].target;
    double given = start_ramps(x, &slope), rest_slope = st->load_slope - slope;
    set_points(x, st->load_w - given + fill, true, false);
    double rest = st->load_w - given;
    for (int i = 0; i <= x->s->n_gas; i++) {
        struct site_flow *f = &st->flows[st->merit[i]];
        if (!f->follows) continue;
        f->w = f->target;
        rest -= f->w;
    }
    struct site_flow *f = rest_slope != 0.0 ? follower(x, rest_slope) : NULL;
    if (f) {
        f->slope = rest_slope;
        rest_slope = 0.0;
    } else if (st->load_slope != 0.0 && slope == 0.0) {
        /* not while a rising load only takes what is spilled, or a falling one what is missing */
        bool alone = rest_slope > 0.0 ? rest < -could_take(x) : rest > could_give(x);
        if (!alone) rest_slope = go_along(x, rest_slope);
    }
    to_battery(x, rest, rest_slope);
    site_ladder_look(x);
    if (!st->power_changed) queue_next(x);
}
