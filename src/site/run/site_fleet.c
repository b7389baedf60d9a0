/* site_fleet.c: accelerators that age and fail.
 *
 * No accelerator has a state of its own until it fails. Those of one block are a cohort: one kind,
 * one age, one hall. Its failures are a Poisson process whose rate follows the cohort's age; a
 * candidate is the inverse of the cumulated hazard of all of it at the worst heat, and it becomes a
 * failure with the share that is exposed just then: at work or idle, warm, with bad firmware
 * (thinning: Lewis and Shedler, 1979). So a candidate costs the same for ten accelerators and for a
 * million, and candidates do not depend on what else happens: the same luck in two scenarios.
 *
 * Where repair makes new, a cohort's process is of those that were never repaired, and a repaired
 * unit has one of its own by its own age, thinned alike; its ticket is kept as long as a candidate
 * lies within the scenario. What only interrupts ends no life. */
#include "site/run/site_run_internal.h"

#include <string.h>

#define HOT_K 25.0  /* coolant over the reference at which the rate is no longer followed */
enum { DRAWS = 8 }; /* of one candidate */
enum { DRAW_TIME, DRAW_ACCEPT, DRAW_LEMON, DRAW_KIND, DRAW_WHO, DRAW_ALARM, DRAW_FOUND };
/* Of a failure: what it is, and of which unit. */
enum { OF_HARDWARE = 1, OF_A_LEMON = 2 };

/* ------------------------------------------------------------------ hazards by age */

/* Cumulated hazard of one accelerator from new to this age, in units of the pool's rate a day. */
static double table_hazard(const struct site_scenario *s, double age)
{
    double sum = 0.0;
    for (int i = 0; i < s->n_bins && age > s->bin_from_d[i]; i++) {
        double to = i + 1 < s->n_bins ? fmin(age, s->bin_from_d[i + 1]) : age;
        sum += (to - s->bin_from_d[i]) * s->bin_hazard[i];
    }
    return sum;
}

static double table_age(const struct site_scenario *s, double hazard)
{
    for (int i = 0; i < s->n_bins; i++) {
        double width = i + 1 < s->n_bins ? s->bin_from_d[i + 1] - s->bin_from_d[i] : INFINITY;
        double here = s->bin_hazard[i] * width;
        if (hazard <= here && s->bin_hazard[i] > 0.0)
            return s->bin_from_d[i] + hazard / s->bin_hazard[i];
        if (!(here < INFINITY)) break;
        hazard -= here;
    }
    return INFINITY;
}

static double scale_days(const struct site_failures *f)
{
    return f->scale_days > 0.0 ? f->scale_days : f->accelerator_days / tgamma(1.0 + 1.0 / f->shape);
}

static double hazard_of(const struct site_scenario *s, double age)
{
    switch (s->failures.law) {
    case SITE_LAW_MACHINE: return machine_youth_days(age);
    case SITE_LAW_WEIBULL: return pow(age / scale_days(&s->failures), s->failures.shape);
    case SITE_LAW_TABLE: return table_hazard(s, age);
    default: return age;
    }
}

/* Of youth: Newton, from above; its slope is between 1 and 2.5. */
static double youth_age(double hazard)
{
    double age = hazard;
    for (int i = 0; i < 50; i++) {
        double next = fmax(age - (machine_youth_days(age) - hazard) / machine_youth(age), 0.0);
        if (fabs(next - age) < 1e-12 * (1.0 + age)) return next;
        age = next;
    }
    return age;
}

static double age_of(const struct site_scenario *s, double hazard)
{
    switch (s->failures.law) {
    case SITE_LAW_MACHINE: return youth_age(hazard);
    case SITE_LAW_WEIBULL: return scale_days(&s->failures) * pow(hazard, 1.0 / s->failures.shape);
    case SITE_LAW_TABLE: return table_age(s, hazard);
    default: return hazard;
    }
}

/* Of one accelerator of this age, a day, in units of the pool's rate. */
static double rate_at(const struct site_scenario *s, double age)
{
    switch (s->failures.law) {
    case SITE_LAW_MACHINE: return machine_youth(age);
    case SITE_LAW_WEIBULL: {
        double k = s->failures.shape, scale = scale_days(&s->failures);
        return k / scale * pow(fmax(age, 1e-6) / scale, k - 1.0);
    }
    case SITE_LAW_TABLE: return (table_hazard(s, age + 0.5) - table_hazard(s, age)) / 0.5;
    default: return 1.0;
    }
}

/* ------------------------------------------------------------------ cohorts */

static double lemon_share(const struct site_scenario *s)
{
    const bool machine = s->failures.law == SITE_LAW_MACHINE;
    double own = machine ? figure_mid(&s->cluster.lemon_fraction, 0.05) : 0.0;
    return figure_mid(&s->failures.lemons, own);
}

static double per_day(const struct site_scenario *s, int pool)
{
    const struct site_failures *f = &s->failures;
    switch (f->law) {
    case SITE_LAW_NONE: return 0.0;
    case SITE_LAW_MACHINE:
        return machine_mature_rate(s->cluster.pools[pool].accelerator) / 1e3 / MACHINE_FAILURE_NODE;
    case SITE_LAW_EXPONENTIAL:
        return 1.0 / f->accelerator_days / (1.0 + (f->lemon_factor - 1.0) * lemon_share(s));
    default: return 1.0;
    }
}

static double heat_factor(const struct site_sim *x)
{
    const struct site_failures *f = &x->s->failures;
    if (f->doubles_k <= 0.0) return 1.0;
    return exp2(fmin(x->st->coolant_c - f->reference_c, HOT_K) / f->doubles_k);
}

static double age_now(const struct site_state *st, const struct site_cohort *c)
{
    return c->age_days + (double)(st->now - c->since) / (double)SITE_DAY;
}

static double weight_of(const struct site_scenario *s, double count, double lemons)
{
    return count + (s->failures.lemon_factor - 1.0) * lemons;
}

/* What the rate is at most, of that by age: idle or not, in the worst heat and firmware. */
static double most_factor(const struct site_sim *x)
{
    return fmax(1.0, x->s->failures.idle_factor) * x->st->rate_bound;
}

static void next_candidate(struct site_sim *x, int i)
{
    struct site_state *st = x->st;
    struct site_cohort *c = &st->cohorts[i];
    double n = weight_of(x->s, c->count, c->count * lemon_share(x->s));
    double rate = n * st->pools[c->pool].per_day * most_factor(x);
    c->generation++;
    if (rate <= 0.0) return;
    uint64_t entity = (uint64_t)SITE_OF_COHORT << 56 | (uint64_t)i;
    double u = rng_uniform(st->seed, entity, DRAWS * c->candidates + DRAW_TIME) + 0x1p-54;
    double age = age_now(st, c);
    double later = age_of(x->s, hazard_of(x->s, age) - log(u) / rate);
    site_push_in(x, (later - age) * 86400.0, SITE_K_FAILURE, (uint32_t)i, c->generation);
}

double site_free(const struct site_state *st, int pool)
{
    const struct site_pool *p = &st->pools[pool];
    return fmax(p->installed - p->out - p->busy, 0.0);
}

/* Free accelerators with power: the cold spares are of the first pool. */
static double free_warm(const struct site_sim *x, int pool)
{
    double n = site_free(x->st, pool);
    return pool == 0 ? fmax(n - (double)x->s->cold_spares, 0.0) : n;
}

void site_fleet_account(struct site_sim *x)
{
    struct site_state *st = x->st;
    double dt = site_seconds(st->now - st->hardware_since);
    st->hardware_since = st->now;
    if (dt <= 0.0) return;
    for (int64_t p = 0; p < x->s->cluster.n_pools; p++) {
        st->r.running_s += st->pools[p].installed * dt;
        st->r.exposed_s +=
            dt * (st->pools[p].busy + x->s->failures.idle_factor * free_warm(x, (int)p));
    }
    for (int b = 0; b < x->s->n_blocks; b++)
        st->r.installed_s += st->standing[b] * dt;
}

void site_fleet_init(struct site_sim *x)
{
    struct site_state *st = x->st;
    const struct site_scenario *s = x->s;
    double firmware = 1.0;
    for (int i = 0; i < s->n_events; i++)
        if (s->events[i].kind == SITE_EVENT_BAD_FIRMWARE)
            firmware = fmax(firmware, s->events[i].factor);
    st->rate_bound = firmware;
    if (s->failures.doubles_k > 0.0) st->rate_bound *= exp2(HOT_K / s->failures.doubles_k);
    for (int p = 0; p < s->cluster.n_pools; p++)
        st->pools[p].per_day = per_day(s, p);
    st->n_cohorts = s->n_blocks;
    for (int i = 0; i < s->n_blocks; i++)
        st->cohorts[i] = (struct site_cohort){.pool = (int32_t)s->blocks[i].pool - 1, .block = i};
}

void site_fleet_grow(struct site_sim *x, int cohort, double n)
{
    struct site_state *st = x->st;
    struct site_cohort *c = &st->cohorts[cohort];
    const struct site_block *b = &x->s->blocks[cohort];
    const bool by_age =
        x->s->failures.law == SITE_LAW_WEIBULL || x->s->failures.law == SITE_LAW_TABLE;
    double own = by_age ? 0.0 : figure_mid(&x->s->cluster.fleet_age_days, 180.0);
    double age = b->age_days >= 0.0 ? b->age_days
                 : b->day > 0.0     ? 0.0
                                    : figure_mid(&x->s->failures.age_days, own);
    site_fleet_account(x);
    for (int j = 0; j < x->s->n_jobs; j++) /* until now they waited for this to be built */
        if (st->jobs[j].held < st->jobs[j].want) site_job_account(x, j);
    c->age_days = (age_now(st, c) * c->count + age * n) / fmax(c->count + n, 1e-9);
    c->since = st->now;
    c->count += n;
    c->never += n;
    c->lemons += n * lemon_share(x->s);
    st->pools[c->pool].installed += n;
    next_candidate(x, cohort);
    st->schedule_again = st->power_changed = true;
}

double site_fleet_rate(const struct site_sim *x, int pool)
{
    const struct site_state *st = x->st;
    double rate = 0.0, all = 0.0;
    for (int i = 0; i < st->n_cohorts; i++) {
        const struct site_cohort *c = &st->cohorts[i];
        if (c->pool != pool || c->count <= 0.0) continue;
        rate += weight_of(x->s, c->count, c->lemons) * rate_at(x->s, age_now(st, c));
        all += c->count;
    }
    return all > 0.0 ? rate / all * st->pools[pool].per_day * heat_factor(x) / 86400.0 : 0.0;
}

/* ------------------------------------------------------------------ failures */

double site_fleet_unit(const struct site_scenario *s, int pool)
{
    int64_t node = s->cluster.pools[pool].accelerator->node_size;
    return (double)(s->failures.unit > 0 ? s->failures.unit : MAX(node, 1));
}

/* Whose accelerator of this pool it was: a job, or -1 for a free one. */
static int pick_job(const struct site_sim *x, int pool, double idle_factor, double u)
{
    double weights[SITE_MAX_JOBS + 1];
    int n = x->s->n_jobs;
    for (int j = 0; j < n; j++)
        weights[j] = x->st->jobs[j].alloc[pool];
    weights[n] = idle_factor * free_warm(x, pool);
    int who = site_pick(u, weights, n + 1);
    return who == n ? -1 : who;
}

static void log_failure(struct site_sim *x, int pool, double n, int job, bool hardware)
{
    struct json_writer *w = site_log(x, "failure");
    if (!w) return;
    jsonw_int(w, "pool", pool + 1);
    jsonw_int(w, "units", (int64_t)n);
    jsonw_bool(w, "hardware", hardware);
    if (x->by_scenario) jsonw_string(w, "why", "scenario");
    if (job >= 0) jsonw_string(w, "job", x->s->jobs[job].name);
    site_log_end(x);
}

static void out_of_cohort(struct site_state *st, struct site_cohort *c, double n)
{
    c->out += n;
    st->pools[c->pool].out += n;
}

/* What leaves a job with n of its accelerators: where it has racks, all of theirs. */
static double rack_with(const struct site_sim *x, int job, int pool, double n)
{
    double rack = (double)x->s->jobs[job].block;
    return rack > 0.0 ? fmin(ceil(n / rack - 1e-9) * rack, x->st->jobs[job].alloc[pool]) : n;
}

/* whose: the job, or SITE_OF_NONE; where it has none there, `who` draws it. */
static void fail(struct site_sim *x, int cohort, double n, int kind, int whose, double who)
{
    const bool hardware = kind & OF_HARDWARE;
    struct site_state *st = x->st;
    struct site_cohort *c = &st->cohorts[cohort];
    const int pool = c->pool;
    const bool known = whose >= 0 ? st->jobs[whose].alloc[pool] > 0.0
                                  : whose == SITE_OF_NONE && site_free(st, pool) >= n;
    int job = known ? MAX(whose, -1) : pick_job(x, pool, x->s->failures.idle_factor, who);
    site_fleet_account(x);
    n = fmin(n, job >= 0 ? st->jobs[job].alloc[pool] : site_free(st, pool));
    if (n <= 0.0) return;
    double all = job >= 0 && hardware ? rack_with(x, job, pool, n) : n;
    all = fmax(fmin(all, c->count - c->out), n);
    st->r.failures++;
    if (hardware) st->r.hardware++;
    log_failure(x, pool, n, job, hardware);
    if (job >= 0) site_job_account(x, job);
    if (hardware) {
        if (job >= 0) {
            st->jobs[job].alloc[pool] -= all;
            st->jobs[job].held -= all;
            st->pools[pool].busy -= all;
        }
        out_of_cohort(st, c, all);
        const struct site_broken what = {n, all - n, kind & OF_A_LEMON, false};
        site_repair_open(x, cohort, &what);
        st->power_changed = true;
    }
    if (job >= 0) site_job_interrupt(x, job, hardware ? all : 0.0, SITE_STOP_FAILURE);
}

void site_fleet_failure(struct site_sim *x, int cohort, double n, bool hardware, int job)
{
    uint64_t entity = (uint64_t)SITE_OF_EVENT << 56;
    fail(x, cohort, n, hardware ? OF_HARDWARE : 0, job,
         rng_uniform(x->st->seed, entity, x->st->takes++));
}

/* A rule that drains healthy units: so many for each real failure. */
static void false_alarms(struct site_sim *x, int cohort, double u)
{
    struct site_state *st = x->st;
    double rule = fmax(x->s->failures.false_alarms, st->false_alarms);
    int n = (int)floor(rule + u);
    struct site_cohort *c = &st->cohorts[cohort];
    for (int i = 0; i < n; i++) {
        const struct site_place here = {.pool = c->pool, .hall = "", .one = true, .cohort = cohort};
        double unit = site_fleet_unit(x->s, c->pool), got = site_fleet_take(x, here, unit, false);
        if (got <= 0.0) return;
        st->r.false_alarms++;
        const struct site_broken what = {got, 0.0, false, true};
        site_repair_open(x, cohort, &what);
    }
}

/* The rate of those in service just now, of that by age: at work or idle, warm, with bad firmware. */
static double exposed_factor(const struct site_sim *x, int pool)
{
    const struct site_pool *p = &x->st->pools[pool];
    double there = p->installed - p->out, idle = x->s->failures.idle_factor;
    double exposed = there > 0.0 ? (p->busy + idle * free_warm(x, pool)) / there : 0.0;
    return exposed * heat_factor(x) * (1.0 + (x->st->firmware_factor - 1.0) * p->firmware_share);
}

void site_fleet_candidate(struct site_sim *x, int i)
{
    struct site_state *st = x->st;
    struct site_cohort *c = &st->cohorts[i];
    const struct site_failures *f = &x->s->failures;
    const uint64_t entity = (uint64_t)SITE_OF_COHORT << 56 | (uint64_t)i;
    double u[DRAWS];
    for (int k = 0; k < DRAWS; k++)
        u[k] = rng_uniform(st->seed, entity, DRAWS * c->candidates + (uint64_t)k);
    c->candidates++;
    const double of = f->as_new ? c->never : c->count; /* whose process it is */
    double mix = weight_of(x->s, of, c->lemons);
    double share = mix / weight_of(x->s, c->count, c->count * lemon_share(x->s));
    share *= of > 0.0 ? fmax(fmin(of, c->count - c->out), 0.0) / of : 0.0;
    if (u[DRAW_ACCEPT] * most_factor(x) < exposed_factor(x, c->pool) * share) {
        const bool lemon = u[DRAW_LEMON] * mix < f->lemon_factor * c->lemons;
        const bool hardware = u[DRAW_KIND] < f->hardware_share;
        const bool found = lemon && u[DRAW_FOUND] < f->lemons_found;
        double unit = site_fleet_unit(x->s, c->pool);
        if (lemon) st->r.from_lemons++;
        if (found || (lemon && hardware && f->as_new)) c->lemons = fmax(c->lemons - unit, 0.0);
        if (f->as_new && hardware) {
            st->r.first_failures++;
            c->never = fmax(c->never - unit, 0.0);
        }
        fail(x, i, unit, (hardware ? OF_HARDWARE : 0) | (lemon && !found ? OF_A_LEMON : 0), -1,
             u[DRAW_WHO]);
        if (f->false_alarms > 0.0 || st->false_alarms > 0.0) false_alarms(x, i, u[DRAW_ALARM]);
    }
    next_candidate(x, i);
}

bool site_fleet_live_on(struct site_sim *x, int ticket, double u)
{
    const struct site_ticket *t = &x->tickets[ticket];
    const double age = (double)(x->st->now - t->waits_since) / (double)SITE_DAY;
    double weight = weight_of(x->s, t->accelerators, t->lemon ? t->accelerators : 0.0);
    double rate = weight * x->st->pools[t->pool].per_day * most_factor(x);
    if (rate <= 0.0) return false;
    double later = age_of(x->s, hazard_of(x->s, age) - log(u) / rate);
    double seconds = (later - age) * 86400.0;
    if (!(seconds < site_seconds(x->st->end - x->st->now))) return false;
    site_push_in(x, seconds, SITE_K_LIFE, (uint32_t)ticket, 0);
    return true;
}

bool site_fleet_life(struct site_sim *x, int ticket, const double u[SITE_LIFE_DRAWS])
{
    struct site_state *st = x->st;
    const struct site_ticket t = x->tickets[ticket]; /* a failure may move them */
    const struct site_failures *f = &x->s->failures;
    if (u[0] * most_factor(x) >= exposed_factor(x, t.pool)) return true;
    const bool hardware = u[1] < f->hardware_share;
    uint64_t entity = (uint64_t)SITE_OF_COHORT << 56 | 1ull << 40 | (uint64_t)t.cohort;
    double who = rng_uniform(st->seed, entity, st->cohorts[t.cohort].lives++);
    if (t.lemon) st->r.from_lemons++;
    fail(x, t.cohort, t.accelerators, (hardware ? OF_HARDWARE : 0) | (t.lemon ? OF_A_LEMON : 0), -1,
         who);
    return !hardware;
}

/* ------------------------------------------------------------------ taken and given back */

static bool is_at(const struct site_sim *x, int cohort, struct site_place place)
{
    const struct site_cohort *c = &x->st->cohorts[cohort];
    const struct site_block *b = &x->s->blocks[c->block];
    if (place.one) return cohort == place.cohort;
    if (c->pool != place.pool) return false;
    return !*place.hall || strcmp(b->hall, place.hall) == 0 || strcmp(b->name, place.hall) == 0;
}

double site_fleet_at(const struct site_sim *x, struct site_place place)
{
    double n = 0.0;
    for (int i = 0; i < x->st->n_cohorts; i++)
        if (is_at(x, i, place)) n += x->st->cohorts[i].count;
    return n;
}

static double in_service(const struct site_sim *x, struct site_place place)
{
    double n = 0.0;
    for (int i = 0; i < x->st->n_cohorts; i++)
        if (is_at(x, i, place)) n += x->st->cohorts[i].count - x->st->cohorts[i].out;
    return n;
}

/* Spread over the cohorts of a place by what they have in service. */
static void out_of_place(struct site_sim *x, struct site_place place, double n)
{
    struct site_state *st = x->st;
    double there = 0.0;
    for (int i = 0; i < st->n_cohorts; i++)
        if (is_at(x, i, place))
            there += n > 0.0 ? st->cohorts[i].count - st->cohorts[i].out : st->cohorts[i].out;
    st->pools[place.pool].out = fmax(st->pools[place.pool].out + n, 0.0);
    for (int i = 0; i < st->n_cohorts && there > 0.0; i++) {
        struct site_cohort *c = &st->cohorts[i];
        if (is_at(x, i, place)) c->out += n * (n > 0.0 ? c->count - c->out : c->out) / there;
    }
}

double site_fleet_take(struct site_sim *x, struct site_place place, double n, bool lost)
{
    struct site_state *st = x->st;
    const uint64_t entity = (uint64_t)SITE_OF_EVENT << 56;
    const int pool = place.pool;
    double taken = 0.0;
    site_fleet_account(x);
    while (n - taken > 1e-6) {
        int job = pick_job(x, pool, 1.0, rng_uniform(st->seed, entity, st->takes++));
        double here = job >= 0 ? st->jobs[job].alloc[pool] : site_free(st, pool);
        double part = fmin(here, n - taken);
        if (job >= 0) part = rack_with(x, job, pool, part);
        part = fmin(part, in_service(x, place));
        if (part <= 1e-6) break;
        taken += part;
        if (job >= 0) {
            site_job_account(x, job);
            st->jobs[job].alloc[pool] -= part;
            st->jobs[job].held -= part;
            st->pools[pool].busy -= part;
        }
        out_of_place(x, place, part);
        if (job >= 0)
            site_job_interrupt(x, job, part, lost ? SITE_STOP_FAILURE : SITE_STOP_GRACEFUL);
    }
    if (taken > 0.0) st->power_changed = st->schedule_again = true;
    return taken;
}

void site_fleet_give(struct site_sim *x, struct site_place place, double n)
{
    site_fleet_account(x);
    out_of_place(x, place, -fmin(n, x->st->pools[place.pool].out));
    x->st->schedule_again = x->st->power_changed = true;
}

void site_fleet_rebase(struct site_sim *x, int pool)
{
    for (int i = 0; i < x->st->n_cohorts; i++)
        if (x->st->cohorts[i].pool == pool) next_candidate(x, i);
}
