/* site_cause.c: things that fail and take several accelerators with them: a hall's cooling, a CDU, a
 * substation, a leaf switch.
 *
 * Of each kind stand so many instances with so many units each, of which some suffice. Units fail
 * one by one; an instance stands still while fewer work than it needs. Only instances with a unit
 * down have a state. */
#include "site/run/site_run_internal.h"

static double uniform(struct site_sim *x, int cause)
{
    uint64_t entity = (uint64_t)SITE_OF_CAUSE << 56 | (uint64_t)cause;
    return rng_uniform(x->st->seed, entity, x->st->cause_draws[cause]++) + 0x1p-54;
}

static void queue_next(struct site_sim *x, int c)
{
    struct site_state *st = x->st;
    double up = st->cause_units[c] - st->cause_down[c];
    uint32_t generation = ++st->cause_generation[c];
    if (up <= 0.0) return;
    double seconds = -log(uniform(x, c)) * x->s->causes[c].mtbf_s / up;
    site_push_in(x, seconds, SITE_K_CAUSE, (uint32_t)c, generation);
}

void site_cause_init(struct site_sim *x)
{
    for (int i = 0; i < SITE_MAX_DOWN; i++)
        x->st->down[i].cause = -1;
    for (int c = 0; c < x->s->n_causes; c++) {
        x->st->cause_units[c] = (double)(x->s->causes[c].instances * x->s->causes[c].units);
        queue_next(x, c);
    }
}

static int find_down(const struct site_state *st, int cause, int instance)
{
    int empty = -1;
    for (int i = 0; i < SITE_MAX_DOWN; i++) {
        if (st->down[i].cause == cause && st->down[i].instance == instance) return i;
        if (st->down[i].cause < 0 && empty < 0) empty = i;
    }
    return empty;
}

static void stand_still(struct site_sim *x, int c, struct site_down *d)
{
    const struct site_cause *k = &x->s->causes[c];
    const struct site_place place = {.pool = (int)k->pool - 1, .hall = k->hall};
    double want = k->takes > 0 ? (double)k->takes : site_fleet_at(x, place);
    x->st->r.common++;
    d->since = x->st->now;
    d->taken = site_fleet_take(x, place, want, true);
    struct json_writer *w = site_log(x, "common_cause");
    if (!w) return;
    jsonw_string(w, "cause", k->name);
    jsonw_real(w, "accelerators", d->taken);
    site_log_end(x);
}

void site_cause_fails(struct site_sim *x, int c)
{
    struct site_state *st = x->st;
    const struct site_cause *k = &x->s->causes[c];
    /* the unit is any of those that work: of an instance in proportion to how many it has left */
    double up = st->cause_units[c] - st->cause_down[c], at = uniform(x, c) * up, sum = 0.0;
    int instance = -1;
    for (int i = 0; i < SITE_MAX_DOWN && instance < 0 && st->cause_down[c] > 0.0; i++) {
        if (st->down[i].cause != c) continue;
        sum += (double)(k->units - st->down[i].units);
        if (at < sum) instance = st->down[i].instance;
    }
    for (int tries = 0; instance < 0 && tries < 1000; tries++) { /* one that is whole */
        int any = (int)(uniform(x, c) * (double)k->instances), at_slot = find_down(st, c, any);
        if (at_slot < 0 || st->down[at_slot].cause < 0) instance = any;
    }
    if (instance < 0) { /* hardly any is */
        queue_next(x, c);
        return;
    }
    int slot = find_down(st, c, instance);
    queue_next(x, c);
    if (slot < 0) {
        site_fail(x, "more than %d of '%.60s' are down at once", SITE_MAX_DOWN, k->name);
        return;
    }
    struct site_down *d = &st->down[slot];
    if (d->cause < 0)
        *d = (struct site_down){.cause = c, .instance = instance, .since = SITE_NEVER};
    if (d->units >= k->units) return;
    d->units++;
    st->cause_down[c]++;
    queue_next(x, c);
    site_push_in(x, -log(uniform(x, c)) * k->mttr_s, SITE_K_CAUSE_END, (uint32_t)slot, 0);
    if (k->units - d->units == k->needs - 1) stand_still(x, c, d);
}

void site_cause_ends(struct site_sim *x, int slot)
{
    struct site_state *st = x->st;
    struct site_down *d = &st->down[slot];
    const struct site_cause *k = &x->s->causes[d->cause];
    int c = d->cause;
    if (k->units - d->units == k->needs - 1) {
        st->r.both_down_s += site_seconds(st->now - d->since);
        d->since = SITE_NEVER;
        const struct site_place place = {.pool = (int)k->pool - 1, .hall = k->hall};
        if (d->taken > 0.0) site_fleet_give(x, place, d->taken);
        d->taken = 0.0;
    }
    d->units--;
    st->cause_down[c]--;
    if (d->units == 0) d->cause = -1;
    queue_next(x, c);
}

void site_cause_finish(struct site_sim *x)
{
    for (int i = 0; i < SITE_MAX_DOWN; i++) {
        struct site_down *d = &x->st->down[i];
        if (d->cause < 0 || d->since == SITE_NEVER) continue;
        x->st->r.both_down_s += site_seconds(x->st->now - d->since);
        d->since = x->st->now;
    }
}
