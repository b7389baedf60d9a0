/* site_job.c: jobs, and where their time goes.
 *
 * Between two events a training job runs in cycles of work and a checkpoint. Such a stretch is
 * accounted for in closed form: whole cycles are secured, the rest is pending, and a failure turns
 * what is pending into work to be done again. No checkpoint is an event. Every microsecond of a job
 * goes into exactly one part of its result; work that absent or slowed accelerators would have done
 * is counted in shares of the job.
 *
 * An elastic job goes on with the replicas that are left: all wait for a moment, and the group that
 * left returns after a restart of its own. Of many small gangs each failure restarts one, whose
 * place in its cycle is drawn. Serving is stopped by nothing but a lack of accelerators. */
#include "site/run/site_run_internal.h"

const char *const site_part_names[] = {"productive", "slowed",  "missing", "checkpoint", "rollback",
                                       "detection",  "restart", "spares",  "power",      "building",
                                       "yielded",    "idle",    NULL};

double site_job_racks(const struct site_job *k, double n)
{
    return k->block > 0 ? floor((n + 1e-6) / (double)k->block) * (double)k->block : n;
}

double site_job_size(const struct site_job_now *j)
{
    return fmax(j->held - j->away, 0.0);
}

/* ------------------------------------------------------------------ accounting */

/* Microseconds of work in the first `pos` of cycles of tau and a checkpoint. */
static double worked(const struct site_job_now *j, site_us pos)
{
    site_us cycle = j->tau + j->stall;
    return (double)(pos / cycle * j->tau + MIN(pos % cycle, j->tau)) * 1e-6;
}

/* Accelerators that stand for it, broken or not. */
static double built(const struct site_sim *x, int i)
{
    const struct site_job *k = &x->s->jobs[i];
    double all = 0.0;
    for (int p = 0; p < x->s->cluster.n_pools; p++)
        if (k->pool == 0 || k->pool == p + 1) all += x->st->pools[p].installed;
    return all;
}

/* Seconds of a running job into productive, slowed and missing; those of what is still to be built
 * are none of these. */
static void split(const struct site_sim *x, int i, double seconds, double part[3])
{
    const struct site_job_now *j = &x->st->jobs[i];
    double here = fmin(site_job_size(j) / j->want, 1.0), there = fmin(built(x, i) / j->want, 1.0);
    part[0] = seconds * here * j->clock;
    part[1] = seconds * here - part[0];
    part[2] = seconds * fmax(there - here, 0.0);
}

static void add_parts(struct site_job_now *j, const double part[3])
{
    j->result.part_s[SITE_PART_PRODUCTIVE] += part[0];
    j->result.part_s[SITE_PART_SLOWED] += part[1];
    j->result.part_s[SITE_PART_MISSING] += part[2];
}

static void account_training(struct site_sim *x, int i)
{
    struct site_job_now *j = &x->st->jobs[i];
    const struct site_job *k = &x->s->jobs[i];
    site_us from = j->since - j->cycle_start, to = x->st->now - j->cycle_start;
    site_us cycle = j->tau + j->stall, whole = to / cycle;
    double work = worked(j, to) - worked(j, from), part[3];
    split(x, i, work, part);
    add_parts(j, part);
    j->result.part_s[SITE_PART_BUILDING] += work - part[0] - part[1] - part[2];
    j->result.part_s[SITE_PART_CHECKPOINT] += site_seconds(to - from) - work;
    if (whole == 0) {
        for (int n = 0; n < 3; n++)
            j->pending_s[n] += part[n];
        return;
    }
    /* what is behind the last checkpoint is all at today's speed */
    j->result.checkpoints += (double)whole;
    j->cycles += whole;
    double pending = j->pending_s[0] + j->pending_s[1] + j->pending_s[2];
    double secured = pending + worked(j, whole * cycle) - worked(j, from);
    int64_t beyond = j->cycles % k->store_every;
    j->stored_s = j->cycles >= k->store_every
                      ? fmin((double)beyond * site_seconds(j->tau), j->stored_s + secured)
                      : j->stored_s + secured;
    j->cycles = beyond;
    split(x, i, worked(j, to) - worked(j, whole * cycle), j->pending_s);
    j->cycle_start += whole * cycle;
}

static void account_serving(const struct site_sim *x, int i, double dt)
{
    struct site_job_now *j = &x->st->jobs[i];
    const struct site_job *k = &x->s->jobs[i];
    double asked = k->by_hour[x->st->hour % 24], here = fmin(site_job_size(j) / j->want, 1.0);
    double served = asked > 0.0 ? fmin(here / asked, 1.0) : 1.0;
    j->result.part_s[SITE_PART_PRODUCTIVE] += dt * served * j->clock;
    j->result.part_s[SITE_PART_SLOWED] += dt * served * (1.0 - j->clock);
    j->result.part_s[SITE_PART_MISSING] += dt * (1.0 - served);
}

static void account_trace(const struct site_sim *x, int i, double dt)
{
    struct site_job_now *j = &x->st->jobs[i];
    double used = dt * j->used / j->want, here = dt * fmin(site_job_size(j) / j->want, 1.0);
    double there = dt * fmin(built(x, i) / j->want, 1.0);
    j->result.part_s[SITE_PART_PRODUCTIVE] += used * j->clock;
    j->result.part_s[SITE_PART_SLOWED] += used * (1.0 - j->clock);
    j->result.part_s[SITE_PART_IDLE] += fmax(here - used, 0.0);
    j->result.part_s[SITE_PART_MISSING] += fmax(there - fmax(here, used), 0.0);
    j->result.part_s[SITE_PART_BUILDING] += dt - fmax(there, fmax(here, used));
}

void site_job_account(struct site_sim *x, int i)
{
    static const enum site_part PART_OF[] = {
        [SITE_STATE_BUILDING] = SITE_PART_BUILDING,  [SITE_STATE_QUEUED] = SITE_PART_SPARES,
        [SITE_STATE_RESTARTING] = SITE_PART_RESTART, [SITE_STATE_RUNNING] = SITE_PART_PRODUCTIVE,
        [SITE_STATE_STALLED] = SITE_PART_RESTART,    [SITE_STATE_DETECTING] = SITE_PART_DETECTION,
        [SITE_STATE_PAUSED] = SITE_PART_POWER,       [SITE_STATE_YIELDED] = SITE_PART_YIELDED,
        [SITE_STATE_DONE] = SITE_PART_PRODUCTIVE};
    struct site_job_now *j = &x->st->jobs[i];
    const struct site_job *k = &x->s->jobs[i];
    site_us now = x->st->now;
    double dt = site_seconds(now - j->since);
    if (dt <= 0.0) return;
    if (j->state == SITE_STATE_DONE) { /* its time is over */
        j->since = now;
        return;
    }
    j->result.wall_s += dt;
    j->result.accelerator_s += j->held * dt;
    if (j->held >= j->want) j->result.whole_s += dt;
    if (j->state == SITE_STATE_QUEUED && built(x, i) < k->elastic_min * j->want - 1e-6)
        j->result.part_s[SITE_PART_BUILDING] += dt;
    else if (j->state != SITE_STATE_RUNNING)
        j->result.part_s[PART_OF[j->state]] += dt;
    else if (k->kind == SITE_JOB_TRAINING)
        account_training(x, i);
    else if (k->kind == SITE_JOB_REPLAY)
        account_trace(x, i, dt);
    else
        account_serving(x, i, dt);
    j->since = now;
}

/* Pending work is lost, and with storage's what memory held. */
static void roll_back(struct site_job_now *j, bool outage)
{
    double lost = 0.0;
    for (int i = 0; i < 3; i++) {
        j->result.part_s[SITE_PART_PRODUCTIVE + i] -= j->pending_s[i];
        lost += j->pending_s[i];
        j->pending_s[i] = 0.0;
    }
    if (outage) {
        double stored = fmin(j->stored_s, j->result.part_s[SITE_PART_PRODUCTIVE]);
        j->result.part_s[SITE_PART_PRODUCTIVE] -= stored;
        lost += stored;
        j->stored_s = 0.0;
        j->cycles = 0;
    }
    j->result.part_s[SITE_PART_ROLLBACK] += lost;
    j->stopped_lost_s += lost;
}

/* ------------------------------------------------------------------ the log */

void site_job_log_stop(struct site_sim *x, int i, enum site_stop how)
{
    static const char *const words[] = {"failure", "orderly", "outage"};
    struct json_writer *w = site_log(x, "interruption");
    if (!w) return;
    jsonw_string(w, "job", x->s->jobs[i].name);
    jsonw_string(w, "how", words[how]);
    site_log_end(x);
}

void site_job_stopped(struct site_sim *x, int i)
{
    struct site_job_now *j = &x->st->jobs[i];
    if (j->stopped) return; /* it was already: what comes now only prolongs it */
    j->stopped = true;
    j->stopped_by = x->st->log_id;
    j->stopped_at = x->st->now;
    j->stopped_lost_s = j->stopped_away_s = 0.0;
}

/* How long it has not run, for how many accelerators, and what it has to do again. */
static void log_stopped(struct site_sim *x, int i, const char *event)
{
    const struct site_job_now *j = &x->st->jobs[i];
    uint64_t by = x->st->log_by;
    x->st->log_by = j->stopped_by;
    struct json_writer *w = site_log(x, event);
    x->st->log_by = by;
    if (!w) return;
    jsonw_string(w, "job", x->s->jobs[i].name);
    jsonw_real(w, "after_s", site_seconds(x->st->now - j->stopped_at));
    jsonw_real(w, "accelerators", j->want);
    jsonw_real(w, "again_s", j->stopped_lost_s);
    jsonw_real(w, "away_accelerator_s", j->stopped_away_s);
    site_log_end(x);
}

/* It runs again. */
static void log_run(struct site_sim *x, int i)
{
    if (!x->st->jobs[i].stopped) return;
    x->st->jobs[i].stopped = false;
    log_stopped(x, i, "job_runs");
}

void site_job_log_end(struct site_sim *x, int i)
{
    if (x->st->jobs[i].stopped) log_stopped(x, i, "job_down");
}

/* ------------------------------------------------------------------ states */

/* When its work is done, at today's speed; 0: not this way. */
static double work_left_s(const struct site_job_now *j, const struct site_job *k)
{
    double speed = fmin(site_job_size(j) / j->want, 1.0) * j->clock;
    if (k->work_s <= 0.0 || speed <= 0.0) return 0.0;
    double left = fmax(k->work_s - j->result.part_s[SITE_PART_PRODUCTIVE], 1e-6);
    double stretch = k->kind == SITE_JOB_TRAINING && j->tau > 0
                         ? (double)(j->tau + j->stall) / (double)j->tau
                         : 1.0;
    return left / speed * stretch;
}

static void queue_end(struct site_sim *x, int i)
{
    struct site_job_now *j = &x->st->jobs[i];
    if (j->state != SITE_STATE_RUNNING) return;
    double left = work_left_s(j, &x->s->jobs[i]);
    j->generation++;
    if (left > 0.0) site_push_in(x, left, SITE_K_JOB, (uint32_t)i, j->generation);
}

void site_job_set(struct site_sim *x, int i, enum site_job_state state, double seconds)
{
    struct site_job_now *j = &x->st->jobs[i];
    j->state = state;
    j->generation++;
    x->st->power_changed = true;
    if (seconds >= 0.0) site_push_in(x, seconds, SITE_K_JOB, (uint32_t)i, j->generation);
}

/* Failures a second that stop it: of its accelerators, and of what takes them with it. */
static double rate_of(const struct site_sim *x, const struct site_job_now *j)
{
    double rate = 0.0;
    for (int p = 0; p < x->s->cluster.n_pools; p++)
        if (j->alloc[p] > 0.0)
            rate += j->alloc[p] * (site_fleet_rate(x, p) + x->s->log_failures_per_s[p]);
    for (int c = 0; c < x->s->n_causes; c++) {
        const struct site_cause *k = &x->s->causes[c];
        int p = (int)k->pool - 1;
        double all = x->st->pools[p].installed;
        if (k->units == k->needs && all > 0.0)
            rate += (double)(k->instances * k->units) / k->mtbf_s * j->alloc[p] / all;
    }
    return rate;
}

static void run(struct site_sim *x, int i)
{
    struct site_job_now *j = &x->st->jobs[i];
    const struct site_job *k = &x->s->jobs[i];
    double rate = rate_of(x, j) / (k->kind == SITE_JOB_GANGS ? (double)k->gangs : 1.0);
    double tau = k->checkpoint_s;
    if (tau <= 0.0 && k->kind == SITE_JOB_REPLAY) tau = 1e9;
    if (tau <= 0.0) tau = rate > 0.0 ? machine_checkpoint_interval(k->stall_s, 1.0 / rate) : 3600.0;
    tau = fmin(fmax(tau, 1.0), 1e9);
    j->tau = site_us_of(tau);
    j->stall = site_us_of(k->stall_s);
    j->cycle_start = x->st->now;
    j->result.checkpoint_s = tau;
    site_job_set(x, i, SITE_STATE_RUNNING, -1.0);
    log_run(x, i);
    queue_end(x, i);
    if (k->kind == SITE_JOB_REPLAY) site_batch_go(x, i);
}

static double restart_s(const struct site_job *k, double accelerators)
{
    double own = k->restart_s >= 0.0 ? k->restart_s
                                     : machine_restart_s((int64_t)fmax(accelerators, 1.0)).mid;
    return own + k->load_s;
}

/* It has what it needs, or waits for it. */
static void start_or_wait(struct site_sim *x, int i)
{
    struct site_job_now *j = &x->st->jobs[i];
    const struct site_job *k = &x->s->jobs[i];
    bool enough = j->held > 0.0 && j->held >= k->elastic_min * j->want - 1e-6;
    j->away = 0.0;
    j->returns++;      /* whoever was on the way back starts with the rest */
    if (!j->stopped) { /* its first start follows from nothing */
        j->stopped = true;
        j->stopped_by = 0;
        j->stopped_at = x->st->now;
        j->stopped_lost_s = j->stopped_away_s = 0.0;
    }
    if (enough && k->kind == SITE_JOB_TRAINING)
        site_job_set(x, i, SITE_STATE_RESTARTING, restart_s(k, j->held));
    else if (enough || (k->kind != SITE_JOB_TRAINING && j->held > 0.0))
        run(x, i);
    else
        site_job_set(x, i, SITE_STATE_QUEUED, -1.0);
    x->st->schedule_again = true;
}

void site_job_start_time(struct site_sim *x, int i)
{
    start_or_wait(x, i);
}

void site_job_due(struct site_sim *x, int i)
{
    struct site_job_now *j = &x->st->jobs[i];
    const struct site_job *k = &x->s->jobs[i];
    site_job_account(x, i);
    switch ((enum site_job_state)j->state) {
    case SITE_STATE_BUILDING:
        site_job_set(x, i, SITE_STATE_QUEUED, -1.0);
        x->st->schedule_again = true;
        break;
    case SITE_STATE_DETECTING: start_or_wait(x, i); break;
    case SITE_STATE_RESTARTING:
    case SITE_STATE_STALLED: run(x, i); break;
    case SITE_STATE_RUNNING:
        if (k->work_s > 0.0 && j->result.part_s[SITE_PART_PRODUCTIVE] >= k->work_s * (1.0 - 1e-9)) {
            j->result.done_s = site_seconds(x->st->now);
            site_job_release(x, i);
            site_job_set(x, i, SITE_STATE_DONE, -1.0);
            site_log_text(x, "job_done", "job", k->name);
        } else {
            queue_end(x, i);
        }
        break;
    default: break;
    }
}

void site_job_release(struct site_sim *x, int i)
{
    struct site_job_now *j = &x->st->jobs[i];
    site_fleet_account(x);
    for (int p = 0; p < x->s->cluster.n_pools; p++) {
        x->st->pools[p].busy = fmax(x->st->pools[p].busy - j->alloc[p], 0.0);
        j->alloc[p] = 0.0;
    }
    j->held = j->away = 0.0;
    x->st->schedule_again = x->st->power_changed = true;
}

void site_job_return(struct site_sim *x, int i, double n)
{
    struct site_job_now *j = &x->st->jobs[i];
    site_job_account(x, i);
    j->away = fmax(j->away - n, 0.0);
    x->st->power_changed = true;
    queue_end(x, i);
}

static void send_away(struct site_sim *x, int i, double n, double seconds)
{
    struct site_job_now *j = &x->st->jobs[i];
    n = fmin(n, site_job_size(j));
    if (n < 1.0) return;
    j->away += floor(n);
    if (j->stopped) j->stopped_away_s += floor(n) * seconds;
    struct site_queued item = {.at = x->st->now + MAX(site_us_of(seconds), 1),
                               .kind = SITE_K_JOB_RETURN,
                               .id = (uint32_t)i,
                               .generation = j->returns,
                               .extra = (uint32_t)n};
    site_queue_push(&x->queue, item);
}

void site_job_gain(struct site_sim *x, int i, double n)
{
    struct site_job_now *j = &x->st->jobs[i];
    const struct site_job *k = &x->s->jobs[i];
    j->held += n;
    bool works = j->state == SITE_STATE_RUNNING || j->state == SITE_STATE_STALLED;
    if (works && k->kind == SITE_JOB_TRAINING) send_away(x, i, n, restart_s(k, n));
    queue_end(x, i);
    if (works && k->kind == SITE_JOB_REPLAY) site_batch_go(x, i);
}

/* One gang of many restarts, from its own last checkpoint. */
static void gang_fails(struct site_sim *x, int i, double lost)
{
    struct site_job_now *j = &x->st->jobs[i];
    const struct site_job *k = &x->s->jobs[i];
    double gang = j->want / (double)k->gangs;
    uint64_t entity = (uint64_t)SITE_OF_JOB << 56 | (uint64_t)i;
    double u = rng_uniform(x->st->seed, entity, j->draws++);
    double again =
        fmin(u * site_seconds(j->tau) / (double)k->gangs, j->result.part_s[SITE_PART_PRODUCTIVE]);
    j->result.part_s[SITE_PART_PRODUCTIVE] -= again;
    j->result.part_s[SITE_PART_ROLLBACK] += again;
    double seconds = k->detect_s + restart_s(k, gang);
    send_away(x, i, gang - lost, seconds);
    struct json_writer *w = site_log(x, "gang_restarts");
    if (!w) return;
    jsonw_string(w, "job", k->name);
    jsonw_real(w, "accelerators", j->want);
    jsonw_real(w, "again_s", again);
    jsonw_real(w, "away_accelerator_s", fmax(gang - lost, 0.0) * seconds);
    site_log_end(x);
}

/* Whether the job can go on without what it has lost: where it starts, the others do; where it waits
 * for a group that left already, it waits anew. */
static bool goes_on(struct site_sim *x, int i, double lost, enum site_stop how)
{
    struct site_job_now *j = &x->st->jobs[i];
    const struct site_job *k = &x->s->jobs[i];
    double group = fmax((double)k->group, lost);
    if (k->elastic_min >= 1.0 || site_job_size(j) - (group - lost) < k->elastic_min * j->want)
        return false;
    if (j->state == SITE_STATE_RUNNING && how == SITE_STOP_FAILURE) { /* the step is done again */
        double again = fmin(0.5 * k->step_s, j->result.part_s[SITE_PART_PRODUCTIVE]);
        j->result.part_s[SITE_PART_PRODUCTIVE] -= again;
        j->result.part_s[SITE_PART_ROLLBACK] += again;
        j->stopped_lost_s += again;
    }
    send_away(x, i, group - lost, k->detect_s + restart_s(k, group));
    if (j->state == SITE_STATE_RESTARTING || j->state == SITE_STATE_DETECTING) return true;
    if (k->elastic_stall_s > 0.0)
        site_job_set(x, i, SITE_STATE_STALLED, k->elastic_stall_s);
    else
        run(x, i);
    return true;
}

void site_job_interrupt(struct site_sim *x, int i, double lost, enum site_stop how)
{
    struct site_job_now *j = &x->st->jobs[i];
    const struct site_job *k = &x->s->jobs[i];
    site_job_account(x, i);
    x->st->schedule_again = x->st->power_changed = true;
    bool works = j->state == SITE_STATE_RUNNING || j->state == SITE_STATE_STALLED;
    bool starts = j->state == SITE_STATE_RESTARTING || j->state == SITE_STATE_DETECTING;
    if (!works && !starts) return;
    if (k->kind == SITE_JOB_SERVING) {
        if (j->held <= 0.0) site_job_set(x, i, SITE_STATE_QUEUED, -1.0);
        return;
    }
    if (k->kind == SITE_JOB_REPLAY) {
        site_batch_stops(x, i, lost, how);
        if (j->held <= 0.0) site_job_set(x, i, SITE_STATE_QUEUED, -1.0);
        return;
    }
    j->result.interruptions++;
    site_job_log_stop(x, i, how);
    if (k->kind == SITE_JOB_TRAINING) site_job_stopped(x, i);
    if (k->kind == SITE_JOB_GANGS) {
        gang_fails(x, i, lost);
        if (j->held <= 0.0) site_job_set(x, i, SITE_STATE_QUEUED, -1.0);
        return;
    }
    if (how != SITE_STOP_OUTAGE && goes_on(x, i, lost, how)) return;
    if (starts) { /* it starts over */
        if (how == SITE_STOP_OUTAGE) roll_back(j, true);
        start_or_wait(x, i);
        return;
    }
    if (how == SITE_STOP_GRACEFUL) {
        for (int p = 0; p < 3; p++) /* saved before it stops */
            j->pending_s[p] = 0.0;
        start_or_wait(x, i);
        return;
    }
    roll_back(j, how == SITE_STOP_OUTAGE);
    if (k->detect_s > 0.0)
        site_job_set(x, i, SITE_STATE_DETECTING, k->detect_s);
    else
        start_or_wait(x, i);
}

/* The clock that cap and heat leave; a synchronous job has that of its slowest accelerators. */
void site_job_clocks(struct site_sim *x)
{
    for (int i = 0; i < x->s->n_jobs; i++) {
        struct site_job_now *j = &x->st->jobs[i];
        double clock = 1.0;
        for (int p = 0; p < x->s->cluster.n_pools; p++)
            if (j->alloc[p] > 0.0) clock = fmin(clock, x->st->clock[p]);
        if (clock == j->clock) continue;
        site_job_account(x, i);
        site_batch_clock(x, i, clock);
        j->clock = clock;
        queue_end(x, i);
    }
}

double site_job_wants(const struct site_scenario *s, int job)
{
    const struct site_job *k = &s->jobs[job];
    double all = 0.0, unit = (double)k->block;
    if (k->accelerators > 0) return (double)k->accelerators;
    for (int b = 0; b < s->n_blocks && !k->pool; b++)
        all += (double)s->blocks[b].accelerators;
    if (k->pool) all = (double)s->cluster.pools[k->pool - 1].count;
    for (int p = 0; p < s->cluster.n_pools; p++)
        if (!k->pool || p == k->pool - 1) unit = fmax(unit, site_fleet_unit(s, p));
    const bool whole = k->kind == SITE_JOB_TRAINING && k->elastic_min >= 1.0;
    if (whole && unit <= SITE_SPARES_MOST * all) all -= unit * ceil(SITE_SPARES * all / unit);
    return fmax(site_job_racks(k, all), 1.0);
}

void site_job_init(struct site_sim *x)
{
    struct site_state *st = x->st;
    for (int i = 0; i < x->s->n_jobs; i++) {
        const struct site_job *k = &x->s->jobs[i];
        struct site_job_now *j = &st->jobs[i];
        *j = (struct site_job_now){.want = site_job_wants(x->s, i),
                                   .clock = 1.0,
                                   .tau = SITE_HOUR,
                                   .state = SITE_STATE_BUILDING};
        j->result.done_s = -1.0;
        site_push_in(x, k->start_s, SITE_K_JOB, (uint32_t)i, j->generation);
        int at = i;
        for (; at > 0 && x->s->jobs[st->order[at - 1]].priority < k->priority; at--)
            st->order[at] = st->order[at - 1];
        st->order[at] = i;
    }
}
