/* site_load.c: what draws power: accelerators by what their job is doing and by the cap in force, the
 * rest of the servers, network, cooling, and loads beside; and the wave of steps within it.
 *
 * Between events the load is constant, or linear while a load beside goes from one hour's level to
 * the next. The wave of synchronous steps within it is not followed: it is a descriptor, whose mean
 * is in the load, whose lines are closed forms (Oppenheim and Willsky, Signals and Systems, table
 * 4.1), and whose passage through the battery costs a constant power. Its trace is written only for
 * windows around incidents. Jobs have no common phase. */
#include "site/run/site_run_internal.h"

/* ------------------------------------------------------------------ accelerators */

static void phases(const struct site_sim *x, int pool, double cap, double watts[4], double *clock)
{
    const struct machine_accelerator *a = x->s->cluster.pools[pool].accelerator;
    struct machine_phase_power p, then;
    machine_phase_power(a, cap < 1.0 ? cap : 0.0, &p);
    double can = figure_mid(&a->smoothing_floor, 0.0);
    double floor_w =
        fmax(fmin(x->s->controls.smoothing_floor, can), x->s->controls.damper) * p.cap_w;
    watts[SITE_DRAWS_RUN_COMPUTE] = fmax(p.compute_w, floor_w);
    watts[SITE_DRAWS_RUN_COMM] = fmax(p.comm_w, floor_w);
    watts[SITE_DRAWS_IDLE] = p.idle_w;
    watts[SITE_DRAWS_OTHER] = p.other_w;
    /* the steps of jobs are those at the cap that is always in force */
    double cap_then = x->s->controls.cap;
    machine_phase_power(a, cap_then < 1.0 ? cap_then : 0.0, &then);
    *clock = fmin(p.clock / then.clock, 1.0) *
             (x->s->controls.damper > 0.0 ? 1.0 - x->s->controls.damper_slows : 1.0);
}

void site_load_table(struct site_sim *x)
{
    struct site_state *st = x->st;
    double cap = fmin(st->cap, st->heat_cap);
    for (int p = 0; p < x->s->cluster.n_pools; p++)
        phases(x, p, cap, st->watts[p], &st->clock[p]);
    site_job_clocks(x);
    st->power_changed = true;
}

/* Share of its accelerators' time that a running job computes, a checkpoint's stall with it. */
static double compute_share(const struct site_sim *x, int i)
{
    const struct site_job_now *j = &x->st->jobs[i];
    const struct site_job *k = &x->s->jobs[i];
    if (k->kind == SITE_JOB_SERVING) {
        double here = fmin(site_job_size(j) / j->want, 1.0), asked = k->by_hour[x->st->hour % 24];
        return here > 0.0 ? k->compute_share * fmin(asked / here, 1.0) : 0.0;
    }
    if (k->kind == SITE_JOB_REPLAY)
        return j->held > 0.0 ? k->compute_share * fmin(j->used / j->held, 1.0) : 0.0;
    double stalled =
        k->kind == SITE_JOB_TRAINING ? (double)j->stall / (double)(j->tau + j->stall) : 0;
    return k->compute_share * (1.0 - stalled);
}

/* Watts of direct current of a job's accelerators. */
static double job_w(const struct site_sim *x, int i, double watts[MACHINE_MAX_POOLS][4], bool whole)
{
    const struct site_job_now *j = &x->st->jobs[i];
    enum site_job_state state = (enum site_job_state)j->state;
    if (j->held <= 0.0) return 0.0;
    if (whole && state == SITE_STATE_PAUSED) state = SITE_STATE_RUNNING;
    double share = state == SITE_STATE_RUNNING ? compute_share(x, i) : 0.0, sum = 0.0;
    double at_work = fmin(site_job_size(j) / j->held, 1.0);
    bool waits =
        state == SITE_STATE_RUNNING || state == SITE_STATE_STALLED || state == SITE_STATE_DETECTING;
    for (int p = 0; p < x->s->cluster.n_pools; p++) {
        const double *w = watts[p];
        double on = share * w[SITE_DRAWS_RUN_COMPUTE] + (1.0 - share) * w[SITE_DRAWS_RUN_COMM];
        double mean =
            waits ? at_work * on + (1.0 - at_work) * w[SITE_DRAWS_IDLE] : w[SITE_DRAWS_IDLE];
        sum += j->alloc[p] * mean;
    }
    return sum;
}

static double it_at(const struct site_sim *x, double watts[MACHINE_MAX_POOLS][4], bool whole)
{
    const struct site_state *st = x->st;
    double direct = 0.0, network = 0.0;
    for (int p = 0; p < x->s->cluster.n_pools; p++) {
        double cold = p == 0 ? fmin(site_free(st, p), (double)x->s->cold_spares) : 0.0;
        double warm = site_free(st, p) - cold;
        direct += warm * watts[p][SITE_DRAWS_IDLE];
        direct += (warm + st->pools[p].busy) * watts[p][SITE_DRAWS_OTHER];
        network += st->pools[p].installed;
    }
    for (int i = 0; i < x->s->n_jobs; i++)
        direct += job_w(x, i, watts, whole);
    return machine_it_w(direct, network * machine_network_w(&x->s->cluster));
}

double site_load_at(const struct site_sim *x, double cap, bool whole)
{
    double watts[MACHINE_MAX_POOLS][4], clock;
    for (int p = 0; p < x->s->cluster.n_pools; p++)
        phases(x, p, fmin(cap, x->st->heat_cap), watts[p], &clock);
    double it = it_at(x, watts, whole), cooled = whole ? it : fmax(it, x->st->cooled_w);
    return it + cooled * x->st->overhead + x->st->fixed_w;
}

/* Accelerators whose power has a ramp of its own follow what their jobs ask for: all that changed since
 * they last did arrives together, after as long as one takes from idle to work. */
static void follow(struct site_sim *x, double was)
{
    struct site_state *st = x->st;
    const double ramp = x->s->controls.smoothing_ramp_w_per_s, *w = st->watts[0];
    double seconds = ramp > 0.0 ? (w[SITE_DRAWS_RUN_COMPUTE] - w[SITE_DRAWS_IDLE]) / ramp : 0.0;
    double step = st->it_w - was, nothing = 1e-9 * fmax(st->it_w, 1.0);
    if (seconds <= 0.0 || st->now == 0) return;
    if (fabs(step) > nothing) {
        st->lag_w += step;
        st->lag_slope = -st->lag_w / seconds;
    }
    if (fabs(st->lag_w) <= fmax(nothing, 2e-6 * fabs(st->lag_slope)))
        st->lag_w = st->lag_slope = 0.0;
}

void site_load_now(struct site_sim *x)
{
    struct site_state *st = x->st;
    double was = st->it_w;
    st->it_w = it_at(x, st->watts, false);
    follow(x, was);
    if (st->cooled_w < 0.0) st->cooled_w = st->it_w; /* at the start */
    if (fabs(st->cooled_w - st->it_w) > 1e-9 * st->it_w && !st->heat_waits) {
        st->heat_waits = true;
        site_push(x, st->now + 300 * SITE_SECOND, SITE_K_HEAT, 0, ++st->heat_generation);
    }
    st->load_w = st->it_w - st->lag_w + st->cooled_w * st->overhead + st->fixed_w;
    st->load_slope = st->fixed_slope - st->lag_slope;
    st->drain_w = site_load_drain(x);
    st->r.peak_w = fmax(st->r.peak_w, st->load_w);
}

/* ------------------------------------------------------------------ loads beside */

static double level_now(const struct site_state *st, int i)
{
    if (st->now >= st->ramp_to[i]) return st->level_to[i];
    double share =
        (double)(st->now - st->ramp_from[i]) / (double)(st->ramp_to[i] - st->ramp_from[i]);
    return st->level_from[i] + share * (st->level_to[i] - st->level_from[i]);
}

static void sum_loads(struct site_sim *x)
{
    struct site_state *st = x->st;
    st->fixed_w = st->fixed_slope = 0.0;
    for (int i = 0; i < x->s->n_loads; i++) {
        st->fixed_w += level_now(st, i);
        if (st->now < st->ramp_to[i])
            st->fixed_slope += (st->level_to[i] - st->level_from[i]) /
                               site_seconds(st->ramp_to[i] - st->ramp_from[i]);
    }
    st->power_changed = true;
}

void site_load_ramp(struct site_sim *x, int load)
{
    (void)load;
    sum_loads(x);
}

void site_load_hour(struct site_sim *x)
{
    struct site_state *st = x->st;
    for (int i = 0; i < x->s->n_loads; i++) {
        const struct site_load *l = &x->s->loads[i];
        double to = l->watts * l->by_hour[st->hour % 24];
        st->level_from[i] = st->now > 0 ? level_now(st, i) : to;
        st->level_to[i] = to;
        st->ramp_from[i] = st->now;
        bool ramps = st->level_from[i] != to && l->ramp_s > 0.0;
        st->ramp_to[i] = ramps ? st->now + site_us_of(l->ramp_s) : st->now;
        if (ramps) site_push(x, st->ramp_to[i], SITE_K_LOAD, (uint32_t)i, 0);
    }
    sum_loads(x);
}

/* The load when the ramps that are under way have ended. */
double site_load_ahead(const struct site_sim *x)
{
    double ahead = x->st->load_w + x->st->lag_w - x->st->fixed_w;
    for (int i = 0; i < x->s->n_loads; i++)
        ahead += x->st->level_to[i];
    return fmax(ahead, x->st->load_w);
}

/* ------------------------------------------------------------------ the wave */
double site_wave_at(const struct site_wave *w, double seconds)
{
    if (w->height_w <= 0.0 || w->period_s <= 0.0) return 0.0;
    double cycles = seconds / w->period_s + w->phase, at = cycles - floor(cycles);
    return at < w->high_share ? w->height_w * (1.0 - w->high_share) : -w->height_w * w->high_share;
}

double site_wave_line(const struct site_wave *w, int n)
{
    return 2.0 * w->height_w / (M_PI * n) * fabs(sin(M_PI * n * w->high_share));
}

/* Watts of a running job's accelerators over those that they would draw waiting, in the mean of a step. */
static double over_waiting(const struct site_sim *x, int i)
{
    const struct site_job_now *j = &x->st->jobs[i];
    double at_work = fmin(site_job_size(j) / fmax(j->held, 1e-9), 1.0), sum = 0.0;
    for (int p = 0; p < x->s->cluster.n_pools; p++) {
        const double *v = x->st->watts[p];
        sum += j->alloc[p] * (v[SITE_DRAWS_RUN_COMPUTE] - v[SITE_DRAWS_RUN_COMM]);
    }
    return machine_supplied_w(sum * at_work * x->s->jobs[i].compute_share);
}

static bool in_checkpoint(const struct site_sim *x, int i, site_us at)
{
    const struct site_job_now *j = &x->st->jobs[i];
    site_us cycle = j->tau + j->stall;
    return cycle > 0 && (at - j->cycle_start) % cycle >= j->tau;
}

static struct site_wave of_job(const struct site_sim *x, int i)
{
    const struct site_job_now *j = &x->st->jobs[i];
    const struct site_job *k = &x->s->jobs[i];
    struct site_wave w = {.job = i};
    if (k->kind != SITE_JOB_TRAINING || j->state != SITE_STATE_RUNNING || k->low_s <= 0.0) return w;
    w.high_share = 1.0 - k->low_s / k->step_s;
    for (int p = 0; p < x->s->cluster.n_pools && w.high_share > 0.0; p++) {
        const double *v = x->st->watts[p];
        double busy = fmin(k->compute_share / w.high_share, 1.0);
        w.height_w += j->alloc[p] * busy * (v[SITE_DRAWS_RUN_COMPUTE] - v[SITE_DRAWS_RUN_COMM]);
    }
    w.height_w = machine_supplied_w(w.height_w);
    w.period_s = k->step_s / fmax(j->clock, 1e-3);
    w.phase = rng_uniform(x->st->seed, (uint64_t)SITE_OF_JOB << 56 | 2ull << 40 | (uint64_t)i, 0);
    return w;
}

int site_waves(const struct site_sim *x, struct site_wave waves[SITE_MAX_WAVES])
{
    int n = 0;
    for (int i = 0; i < x->s->n_jobs; i++) {
        struct site_wave w = of_job(x, i);
        if (w.height_w > 0.0) waves[n++] = w;
    }
    for (int i = 0; i < x->s->n_loads; i++) {
        const struct site_load *l = &x->s->loads[i];
        if (l->swing_w > 0.0)
            waves[n++] = (struct site_wave){2.0 * l->swing_w, l->duty, l->period_s, 0.0, -1};
    }
    return n;
}

double site_wave_now(const struct site_sim *x, site_us at)
{
    struct site_wave waves[SITE_MAX_WAVES];
    double sum = 0.0;
    int n = site_waves(x, waves);
    for (int i = 0; i < n; i++)
        if (waves[i].job < 0 || !in_checkpoint(x, waves[i].job, at))
            sum += site_wave_at(&waves[i], site_seconds(at));
    for (int i = 0; i < x->s->n_jobs; i++) { /* its checkpoints are in the mean load */
        const struct site_job_now *j = &x->st->jobs[i];
        if (x->s->jobs[i].kind != SITE_JOB_TRAINING || j->state != SITE_STATE_RUNNING) continue;
        double share = (double)j->stall / (double)(j->tau + j->stall);
        sum += over_waiting(x, i) * (in_checkpoint(x, i, at) ? share - 1.0 : share);
    }
    return sum;
}

/* ------------------------------------------------------------------ swing */

/* Watts that pass through a battery of this power, each way, for a wave around its mean. */
static double through(const struct site_wave *w, double battery_w)
{
    double up = fmin(w->height_w * (1.0 - w->high_share), battery_w) * w->high_share;
    double down = fmin(w->height_w * w->high_share, battery_w) * (1.0 - w->high_share);
    return fmin(up, down);
}

double site_load_drain(const struct site_sim *x)
{
    struct site_state *st = x->st;
    struct site_wave waves[SITE_MAX_WAVES];
    double power = site_battery_power(x), way = site_battery_way(x), squares = 0.0;
    double energy = site_battery_energy_j(x);
    int n = site_waves(x, waves);
    for (int i = 0; i < n; i++) {
        const struct site_wave *w = &waves[i];
        double both = through(w, power);
        squares += both * both; /* waves without a common phase: their powers add */
        if (w->height_w <= st->r.swing_w) continue;
        st->r.swing_w = w->height_w;
        st->r.swing_hz = w->period_s > 0.0 ? 1.0 / w->period_s : 0.0;
        st->r.swing_ripple = energy > 0.0 ? both * w->period_s / way / energy : 0.0;
        for (int k = 0; k < SITE_LINES; k++)
            st->r.swing_line_w[k] = site_wave_line(w, k + 1);
    }
    if (!x->s->battery.smooths || power <= 0.0) return 0.0;
    double drain = sqrt(squares) * (1.0 / way - way), floor_j = x->s->battery.floor * energy;
    return st->soc_j > floor_j + site_soc_tolerance(x, drain) ? drain : 0.0;
}
