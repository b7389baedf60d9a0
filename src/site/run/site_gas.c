/* site_gas.c: gas units: which run, how they start and stop, and how they fail.
 *
 * Starts and hours of each are counted by days, as permits are: over any 365.
 * Each unit has a state of its own; what its group gives is shared evenly by those that run. Units
 * are started and stopped in their order, so that the last ones cycle. A running unit fails at a
 * constant rate; one at rest does not. A unit that trips takes its share away at once. */
#include "site/read/site_read_internal.h"
#include "site/run/site_run_internal.h"

#include <string.h>

#define NOMINAL_HZ 60.0

double site_gas_unit_w(const struct site_sim *x, int g)
{
    return x->st->gas_unit_w[g];
}

void site_gas_hour(struct site_sim *x)
{
    for (int g = 0; g < x->s->n_gas; g++) {
        const struct site_gas *k = &x->s->gas[g];
        x->st->gas_unit_w[g] =
            k->unit_w * machine_gas_derated(k->derate_per_k, k->derate_above_c, x->st->dry_c);
    }
}

static bool permitted(const struct site_sim *x, const struct site_unit *u)
{
    const struct site_permits *p = &x->s->permits;
    if (!p->stops) return true;
    site_us run = u->run_year + (u->state == SITE_UNIT_ON ? x->st->now - u->counted : 0);
    bool hours = p->hours > 0 && run >= p->hours * SITE_HOUR;
    bool starts =
        p->starts > 0 && u->state == SITE_UNIT_OFF && u->starts_year >= (uint64_t)p->starts;
    return !hours && !starts;
}

static bool can_run(const struct site_sim *x, const struct site_unit *u)
{
    return u->state != SITE_UNIT_OUT && !u->barred && permitted(x, u);
}

int site_gas_ready(const struct site_sim *x, int g)
{
    int n = (int)x->s->gas[g].units - x->st->n_out[g];
    if (!x->s->permits.stops && x->st->n_barred[g] == 0) return n;
    n = 0;
    for (int i = x->st->first_unit[g]; i < x->st->first_unit[g + 1]; i++)
        n += can_run(x, &x->st->units[i]);
    return n;
}

/* ------------------------------------------------------------------ the last 365 days */

/* The time that a unit has run since it was last counted. */
static void count_run(struct site_sim *x, int i)
{
    struct site_state *st = x->st;
    struct site_unit *u = &st->units[i];
    if (u->state != SITE_UNIT_ON) return;
    u->run_year += st->now - u->counted;
    st->run_day[i][st->days_over % SITE_YEAR] += st->now - u->counted;
    u->counted = st->now;
}

void site_gas_day(struct site_sim *x)
{
    struct site_state *st = x->st;
    int64_t next = (st->days_over + 1) % SITE_YEAR;
    for (int i = 0; i < st->n_units; i++) {
        struct site_unit *u = &st->units[i];
        struct site_gas_result *r = &st->r.gas[u->group];
        count_run(x, i);
        bool over = x->s->permits.hours > 0 && u->run_year > x->s->permits.hours * SITE_HOUR;
        if (over && r->over_hours_day < 0.0) {
            r->over_hours_day = (double)st->days_over + 1.0;
            site_log_text(x, "permit_exceeded", "which", "hours");
        }
        u->run_year -= st->run_day[i][next];
        u->starts_year -= st->starts_day[i][next];
        st->run_day[i][next] = 0;
        st->starts_day[i][next] = 0;
    }
}

/* ------------------------------------------------------------------ states */

static void set_on(struct site_sim *x, int i)
{
    struct site_state *st = x->st;
    struct site_unit *u = &st->units[i];
    const struct site_gas *k = &x->s->gas[u->group];
    u->state = SITE_UNIT_ON;
    u->since = u->counted = st->now;
    u->generation++;
    st->n_on[u->group]++;
    st->power_changed = true;
    if (k->mttf_s <= 0.0) return;
    double draw = rng_uniform(st->seed, (uint64_t)SITE_OF_UNIT << 56 | (uint64_t)i, u->draws++);
    site_push_in(x, -log(draw + 0x1p-54) * k->mttf_s, SITE_K_UNIT_FAILED, (uint32_t)i,
                 u->generation);
}

/* A unit has used up what its permit gives it, and stands still from here on or after this start. */
static void permit_ends(struct site_sim *x, int g, const char *which)
{
    x->st->r.gas[g].permit_ends++;
    struct json_writer *w = site_log(x, "permit_ends");
    if (!w) return;
    jsonw_string(w, "which", which);
    jsonw_string(w, "target", x->s->gas[g].name);
    site_log_end(x);
    x->st->supply_by = x->st->log_id;
}

static void start(struct site_sim *x, int i)
{
    struct site_state *st = x->st;
    struct site_unit *u = &st->units[i];
    struct site_gas_result *r = &st->r.gas[u->group];
    u->starts++;
    u->starts_year++;
    st->starts_day[i][st->days_over % SITE_YEAR]++;
    u->generation++;
    r->starts++;
    r->unit_starts_most = fmax(r->unit_starts_most, u->starts);
    if (x->s->permits.starts > 0 && u->starts_year > (uint64_t)x->s->permits.starts &&
        r->over_starts_day < 0.0) {
        r->over_starts_day = (double)(st->now / SITE_DAY) + 1.0;
        site_log_text(x, "permit_exceeded", "which", "starts");
    }
    if (x->s->permits.stops && x->s->permits.starts > 0 &&
        u->starts_year == (uint64_t)x->s->permits.starts)
        permit_ends(x, u->group, "starts");
    u->state = SITE_UNIT_STARTING;
    u->since = st->now;
    st->n_starting[u->group]++;
    site_push_in(x, x->s->gas[u->group].start_s, SITE_K_UNIT_STARTED, (uint32_t)i, u->generation);
}

void site_gas_started(struct site_sim *x, int i)
{
    int g = x->st->units[i].group;
    x->st->n_starting[g]--;
    x->st->started_w[g] += x->s->gas[g].min_share * x->s->gas[g].unit_w;
    set_on(x, i);
}

/* A running unit leaves; what it gave is gone, or the others have taken it before. */
static void leave(struct site_sim *x, int i, enum site_unit_state state, bool at_once)
{
    struct site_state *st = x->st;
    struct site_unit *u = &st->units[i];
    struct site_flow *f = &st->flows[u->group];
    count_run(x, i);
    u->run += st->now - u->since;
    u->since = st->now;
    u->generation++;
    u->state = state;
    double share = f->w / (double)st->n_on[u->group];
    st->n_on[u->group]--;
    if (state == SITE_UNIT_OUT) st->n_out[u->group]++;
    if (state == SITE_UNIT_OFF) u->rested = st->now + site_us_of(x->s->gas[u->group].min_down_s);
    if (at_once) {
        f->w -= share;
        st->lost_w += share;
    }
    st->power_changed = true;
}

/* ------------------------------------------------------------------ commitment */

/* So many units of a group are sent for, or to rest. */
static void log_units(struct site_sim *x, const char *event, int g, int units)
{
    struct json_writer *w = units > 0 ? site_log_supply(x, event) : NULL;
    if (!w) return;
    jsonw_string(w, "target", x->s->gas[g].name);
    jsonw_int(w, "units", units);
    jsonw_int(w, "running", x->st->n_on[g]);
    site_log_end(x);
}

static void wait_until(struct site_sim *x, site_us at)
{
    struct site_state *st = x->st;
    if (at >= st->units_due) return;
    st->units_due = at;
    site_push(x, at, SITE_K_UNITS, 0, 0);
}

/* Units that have rested start; only where they are too few is one waited for that has not. */
static void start_some(struct site_sim *x, int g, int want)
{
    struct site_state *st = x->st;
    site_us first = SITE_NEVER;
    const int all = want;
    for (int i = st->first_unit[g]; i < st->first_unit[g + 1] && want > 0; i++) {
        struct site_unit *u = &st->units[i];
        if (u->state != SITE_UNIT_OFF || !can_run(x, u)) continue;
        if (u->rested > st->now) {
            first = MIN(first, u->rested);
            continue;
        }
        start(x, i);
        want--;
    }
    log_units(x, "units_start", g, all - want);
    if (want > 0 && first < SITE_NEVER) wait_until(x, first);
}

/* Returns how many of so many have stopped. One whose load the others of its group cannot take over is
 * unloaded first, down to nothing where it is the last, and counted in *leaving. */
static int stop_some(struct site_sim *x, int g, int many, int *leaving)
{
    struct site_state *st = x->st;
    site_us first = SITE_NEVER;
    int left = many, stopped = 0;
    for (int i = st->first_unit[g + 1] - 1; i >= st->first_unit[g] && left > 0; i--) {
        struct site_unit *u = &st->units[i];
        if (u->state != SITE_UNIT_ON) continue;
        site_us allowed = u->since + site_us_of(x->s->gas[g].min_up_s);
        /* the others must be able to give what the group gives now, or what follows at once does */
        double unit = site_gas_unit_w(x, g), ramp = x->s->gas[g].ramp_w_per_s;
        double near = 1e-9 * unit + 2e-6 * ramp * st->n_on[g]; /* what a microsecond may leave */
        bool spare = ramp <= 0.0 || st->flows[g].w <= (st->n_on[g] - 1) * unit + near;
        if (allowed > st->now) {
            first = MIN(first, allowed);
            continue;
        }
        left--;
        if (!spare) {
            ++*leaving;
            continue;
        }
        leave(x, i, SITE_UNIT_OFF, false);
        stopped++;
    }
    log_units(x, "units_stop", g, stopped);
    if (left > 0 && first < SITE_NEVER) wait_until(x, first);
    return stopped;
}

/* Units that run and are not needed stop, each so long after it was last needed: what was needed
 * last is needed again first. */
static void stop_spare(struct site_sim *x, int g, int spare, int *leaving)
{
    struct site_state *st = x->st;
    site_us *since = &st->spare_since[st->first_unit[g]], after;
    int32_t *n = &st->n_spare[g], ripe = 0;
    *n = MIN(*n, spare);
    if (spare == 0) return;
    while (*n < spare)
        since[(*n)++] = st->now;
    after = site_us_of(x->s->gas[g].stop_after_s);
    while (ripe < *n && since[ripe] + after <= st->now)
        ripe++;
    if (ripe < *n) wait_until(x, since[ripe] + after);
    int stopped = ripe > 0 ? stop_some(x, g, ripe, leaving) : 0;
    *n -= stopped;
    for (int i = 0; i < *n && stopped > 0; i++)
        since[i] = since[i + stopped];
}

/* Units whose hours are used up go, whatever the load; returns how many will before another could
 * start in their place. */
static int units_ending(struct site_sim *x, int g)
{
    struct site_state *st = x->st;
    const site_us hours = x->s->permits.hours * SITE_HOUR;
    if (!x->s->permits.stops || hours <= 0) return 0;
    const site_us start = MAX(site_us_of(x->s->gas[g].start_s), 1);
    int ending = 0;
    for (int i = st->first_unit[g]; i < st->first_unit[g + 1]; i++) {
        const struct site_unit *u = &st->units[i];
        if (u->state != SITE_UNIT_ON) continue;
        site_us ends = u->counted + hours - u->run_year;
        if (ends <= st->now) { /* what the others cannot take over is lost at once */
            leave(x, i, SITE_UNIT_OFF, false);
            permit_ends(x, g, "hours");
            double rest = st->flows[g].w - st->n_on[g] * site_gas_unit_w(x, g);
            if (rest > 0.0) st->flows[g].w -= rest, st->lost_w += rest;
        } else {
            ending += ends <= st->now + start;
            wait_until(x, ends <= st->now + start ? ends : ends - start);
        }
    }
    return ending;
}

void site_gas_commit(struct site_sim *x, const int want[SITE_MAX_GAS], int leaving[SITE_MAX_GAS])
{
    struct site_state *st = x->st;
    for (int g = 0; g < x->s->n_gas; g++) {
        int ending = units_ending(x, g), have = st->n_on[g] + st->n_starting[g] - ending;
        if (st->now == 0 && x->s->gas[g].on < 0) { /* as many as it takes, without a start */
            for (int i = st->first_unit[g]; i < st->first_unit[g + 1] && have < want[g]; i++)
                if (st->units[i].state == SITE_UNIT_OFF && can_run(x, &st->units[i]))
                    set_on(x, i), have++;
        }
        if (have < want[g]) start_some(x, g, want[g] - have);
        stop_spare(x, g, MAX(st->n_on[g] - ending - want[g], 0), &leaving[g]);
    }
    st->power_changed = false;
}

void site_gas_init(struct site_sim *x)
{
    struct site_state *st = x->st;
    st->units_due = SITE_NEVER;
    for (int g = 0; g < x->s->n_gas; g++) {
        st->first_unit[g] = st->n_units;
        st->nox_ppm[g] = x->s->gas[g].nox_ppm;
        st->r.gas[g].over_starts_day = st->r.gas[g].over_hours_day = -1.0;
        for (int64_t i = 0; i < x->s->gas[g].units; i++) {
            struct site_unit *u = &st->units[st->n_units++];
            *u = (struct site_unit){.group = g};
            if (i < x->s->gas[g].on) set_on(x, st->n_units - 1);
        }
        st->first_unit[g + 1] = st->n_units;
    }
}

/* ------------------------------------------------------------------ outages */

static void log_unit(struct site_sim *x, const char *event, int group, const char *why,
                     double lasts_s)
{
    struct json_writer *w = site_log(x, event);
    if (!w) return;
    jsonw_string(w, "target", x->s->gas[group].name);
    jsonw_int(w, "units", 1);
    if (why) jsonw_string(w, "why", why);
    if (why) jsonw_real(w, "lasts_s", lasts_s);
    site_log_end(x);
    if (why) x->st->supply_by = x->st->log_id;
}

void site_gas_failed(struct site_sim *x, int i)
{
    struct site_state *st = x->st;
    struct site_unit *u = &st->units[i];
    uint64_t entity = (uint64_t)SITE_OF_UNIT << 56 | (uint64_t)i;
    double draw = -log(rng_uniform(st->seed, entity, u->draws++) + 0x1p-54);
    st->r.gas[u->group].trips++;
    leave(x, i, SITE_UNIT_OUT, true);
    double back = draw * x->s->gas[u->group].mttr_s;
    log_unit(x, "turbine_trip", u->group, FORCED, back);
    site_push_in(x, back, SITE_K_UNIT_REPAIRED, (uint32_t)i, u->generation);
}

void site_gas_repaired(struct site_sim *x, int i)
{
    struct site_unit *u = &x->st->units[i];
    u->state = SITE_UNIT_OFF;
    u->since = u->rested = x->st->now; /* it has rested meanwhile */
    u->generation++;
    x->st->n_out[u->group]--;
    x->st->power_changed = true;
    log_unit(x, "turbine_back", u->group, NULL, 0.0);
}

void site_gas_trip(struct site_sim *x, int g, int64_t units, const char *why, double lasts_s)
{
    struct site_state *st = x->st;
    for (int i = st->first_unit[g]; i < st->first_unit[g + 1] && units > 0; i++) {
        struct site_unit *u = &st->units[i];
        if (u->state != SITE_UNIT_ON) continue;
        units--;
        st->r.gas[g].trips++;
        leave(x, i, SITE_UNIT_OUT, true);
        double back = lasts_s > 0.0 ? lasts_s : x->s->gas[g].mttr_s;
        log_unit(x, "turbine_trip", g, why, back);
        site_push_in(x, back, SITE_K_UNIT_REPAIRED, (uint32_t)i, u->generation);
    }
}

/* A share of the units, from the last, has no fuel; or has it again. */
void site_gas_fuel(struct site_sim *x, int g, double share, bool back)
{
    struct site_state *st = x->st;
    int n = (int)round(share * (double)x->s->gas[g].units);
    for (int i = st->first_unit[g + 1] - 1; i >= st->first_unit[g] && n > 0; i--, n--) {
        struct site_unit *u = &st->units[i];
        st->n_barred[g] += (int)!back - (int)u->barred;
        u->barred = !back;
        if (back) continue;
        if (u->state == SITE_UNIT_ON) leave(x, i, SITE_UNIT_OFF, true);
        if (u->state == SITE_UNIT_STARTING) {
            u->state = SITE_UNIT_OFF;
            u->generation++;
            st->n_starting[g]--;
        }
    }
    st->power_changed = true;
}

void site_gas_finish(struct site_sim *x)
{
    struct site_state *st = x->st;
    for (int i = 0; i < st->n_units; i++) {
        struct site_unit *u = &st->units[i];
        if (u->state == SITE_UNIT_ON) u->run += st->now - u->since;
        u->since = st->now;
    }
}

/* Load or units have gone at once, on an island: how fast the frequency moves, with what still
 * turns, and with the battery's help, which comes within a few milliseconds. */
void site_island_step(struct site_sim *x, double missing)
{
    struct site_state *st = x->st;
    double turning = 0.0;
    for (int g = 0; g < x->s->n_gas; g++)
        turning += st->n_on[g] * x->s->gas[g].unit_w * x->s->gas[g].inertia_s;
    if (turning <= 0.0 || fabs(missing) < 1.0) return;
    double help = copysign(fmin(site_battery_power(x), fabs(missing)), missing);
    double alone = fabs(machine_island_hz_per_s(missing, turning, NOMINAL_HZ));
    double helped = fabs(machine_island_hz_per_s(missing - help, turning, NOMINAL_HZ));
    st->r.frequency_hz_per_s = fmax(st->r.frequency_hz_per_s, alone);
    st->r.frequency_with_battery_hz_per_s = fmax(st->r.frequency_with_battery_hz_per_s, helped);
}
