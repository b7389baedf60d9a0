/* site_build.c: blocks that arrive: installed rack by rack, switched on when power and cooling are
 * there. Where the scenario asks that an accelerator find its watts free before it is switched on,
 * blocks wait for one another in their order. */
#include "site/run/site_run_internal.h"

enum { MAX_STEPS = 4096 }; /* of one block's installation */

/* Accelerators that are installed in one step: a rack, or more of a large block. */
static double step_of(const struct site_sim *x, int b)
{
    const struct site_block *k = &x->s->blocks[b];
    int64_t rack = MAX(x->s->cluster.pools[k->pool - 1].accelerator->scaleup_domain, 1);
    double steps = ceil((double)k->accelerators / (double)rack);
    return (double)k->accelerators / fmin(steps, MAX_STEPS);
}

/* Until when so many of a block stand. */
static site_us time_of(const struct site_sim *x, int b, double standing)
{
    const struct site_block *k = &x->s->blocks[b];
    double share = standing / (double)k->accelerators;
    return x->st->delayed[b] + site_us_of(86400.0 * (k->day + k->install_days * share));
}

static site_us ready_of(const struct site_sim *x, int b)
{
    const struct site_block *k = &x->s->blocks[b];
    return x->st->delayed[b] + site_us_of(86400.0 * fmax(k->power_day, k->cooling_day));
}

static void queue_next(struct site_sim *x, int b)
{
    struct site_state *st = x->st;
    double all = (double)x->s->blocks[b].accelerators;
    uint32_t generation = ++st->block_generation[b];
    if (st->standing[b] < all) {
        double next = fmin(st->standing[b] + step_of(x, b), all);
        site_push(x, MAX(time_of(x, b, x->s->blocks[b].install_days > 0.0 ? next : 0.0), st->now),
                  SITE_K_BLOCK, (uint32_t)b, generation);
    } else if (st->now < ready_of(x, b)) {
        site_push(x, ready_of(x, b), SITE_K_BLOCK, (uint32_t)b, generation);
    }
}

/* Switches on what stands and has power and cooling, as far as the sources go. */
static void switch_on(struct site_sim *x)
{
    struct site_state *st = x->st;
    double left = INFINITY;
    if (x->s->commission_w > 0.0) {
        double firm = site_grid_limit(x);
        for (int g = 0; g < x->s->n_gas; g++)
            firm += (double)site_gas_ready(x, g) * site_gas_unit_w(x, g);
        left = firm / x->s->commission_w;
        for (int b = 0; b < x->s->n_blocks; b++)
            left -= st->live[b];
    }
    for (int b = 0; b < x->s->n_blocks; b++) {
        double more = fmin(st->standing[b] - st->live[b], floor(left + 1e-6));
        if (more <= 0.0 || st->now < ready_of(x, b)) continue;
        st->live[b] += more;
        left -= more;
        site_fleet_grow(x, b, more);
    }
}

void site_build_power(struct site_sim *x)
{
    if (x->s->commission_w > 0.0) switch_on(x);
}

void site_build_delay(struct site_sim *x, int b, double seconds)
{
    struct site_state *st = x->st;
    st->delayed[b] += site_us_of(seconds);
    if (st->standing[b] < (double)x->s->blocks[b].accelerators || st->live[b] <= 0.0)
        queue_next(x, b);
}

void site_build_init(struct site_sim *x)
{
    for (int b = 0; b < x->s->n_blocks; b++) {
        bool there = x->s->blocks[b].day <= 0.0 && x->s->blocks[b].install_days <= 0.0;
        if (there) x->st->standing[b] = (double)x->s->blocks[b].accelerators;
        queue_next(x, b);
    }
    switch_on(x);
}

void site_build_step(struct site_sim *x, int b)
{
    struct site_state *st = x->st;
    double all = (double)x->s->blocks[b].accelerators;
    site_fleet_account(x);
    if (st->standing[b] < all) {
        double step = x->s->blocks[b].install_days > 0.0 ? step_of(x, b) : all;
        st->standing[b] = fmin(st->standing[b] + step, all);
        struct json_writer *w = st->standing[b] >= all ? site_log(x, "block_stands") : NULL;
        if (w) {
            jsonw_string(w, "block", x->s->blocks[b].name);
            jsonw_int(w, "accelerators", x->s->blocks[b].accelerators);
            site_log_end(x);
        }
    }
    switch_on(x);
    queue_next(x, b);
}
