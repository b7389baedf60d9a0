/* site_batch.c: the jobs of a trace on the accelerators that one job of the scenario holds: first come,
 * first served, with EASY backfill (Lifka, JSSPP 1995): who does not fit gets a moment at which it
 * will, by what runs, and others begin before it only where that moment stays. How long a job runs is
 * known beforehand.
 *
 * A failure stops one of those that run, in proportion to their size: it goes back to its last
 * checkpoint, or to its beginning, and waits for its restart; it keeps its place in the queue. Where
 * the accelerators become fewer, the last to begin stop, saved. */
#include "site/run/site_run_internal.h"

#include <stdlib.h>

enum {
    LOOK = 512
}; /* of those that wait, so many are looked at behind the first that does not fit */

static const struct site_small *row_of(const struct site_sim *x, const struct site_small_now *n)
{
    const struct site_job_now *j = &x->st->jobs[n->job];
    return &x->s->jobs[n->job].trace->rows[n - x->small - j->small_from];
}

static double size_of(const struct site_sim *x, const struct site_small_now *n)
{
    double own = (double)row_of(x, n)->accelerators, rack = (double)x->s->jobs[n->job].block;
    return rack > 0.0 ? ceil(own / rack) * rack : own;
}

void site_batch_init(struct site_sim *x)
{
    for (int i = 0; i < x->s->n_jobs; i++) {
        if (x->s->jobs[i].kind != SITE_JOB_REPLAY) continue;
        x->st->jobs[i].small_from = (int64_t)x->n_small;
        x->n_small += x->s->jobs[i].trace->n;
    }
    if (x->n_small) x->small = mem_calloc(x->n_small, sizeof(*x->small));
}

static void await(struct site_sim *x, int i)
{
    const struct site_job_now *j = &x->st->jobs[i];
    const struct site_trace *t = x->s->jobs[i].trace;
    if ((size_t)j->small_in < t->n)
        site_push(x, MAX(site_us_of(t->rows[j->small_in].submit_s), x->st->now), SITE_K_SUBMIT,
                  (uint32_t)i, 0);
}

void site_batch_begin(struct site_sim *x)
{
    for (int i = 0; i < x->s->n_jobs; i++)
        if (x->s->jobs[i].kind == SITE_JOB_REPLAY) await(x, i);
}

/* ------------------------------------------------------------------ one of them */

/* Those that run are the first of the job's part of the list, by their numbers in `runs`. */
static struct site_small_now *running(const struct site_sim *x, int i, int64_t place)
{
    return &x->small[x->small[x->st->jobs[i].small_from + place].runs];
}

static void queue_end(struct site_sim *x, struct site_small_now *n)
{
    double clock = fmax(x->st->jobs[n->job].clock, 1e-6);
    n->generation++;
    site_push_in(x, n->left_s / clock, SITE_K_SMALL, (uint32_t)(n - x->small), n->generation);
}

static void start(struct site_sim *x, struct site_small_now *n)
{
    struct site_job_now *j = &x->st->jobs[n->job];
    double waited = site_seconds(x->st->now - n->since);
    j->result.small_wait_s += waited;
    if (n->left_s >= row_of(x, n)->seconds) j->result.small_begun++;
    n->state = SITE_SMALL_RUNS;
    n->since = x->st->now;
    j->used += size_of(x, n);
    x->small[j->small_from + j->small_runs++].runs = (int32_t)(n - x->small);
    queue_end(x, n);
    x->st->power_changed = true;
}

/* Its work until now. */
static void hold(struct site_sim *x, struct site_small_now *n)
{
    n->left_s =
        fmax(n->left_s - site_seconds(x->st->now - n->since) * x->st->jobs[n->job].clock, 0.0);
    n->since = x->st->now;
}

static void leave(struct site_sim *x, struct site_small_now *n, enum site_small_state state)
{
    struct site_job_now *j = &x->st->jobs[n->job];
    int64_t place = 0;
    hold(x, n);
    while (running(x, n->job, place) != n)
        place++;
    for (; place + 1 < j->small_runs; place++)
        x->small[j->small_from + place].runs = x->small[j->small_from + place + 1].runs;
    j->small_runs--;
    j->used = j->small_runs ? fmax(j->used - size_of(x, n), 0.0) : 0.0;
    n->state = state;
    n->generation++;
    j->small_first = MIN(j->small_first, n - x->small - j->small_from);
    x->st->power_changed = true;
}

/* It goes back to what it had saved. */
static void fails(struct site_sim *x, struct site_small_now *n)
{
    struct site_job_now *j = &x->st->jobs[n->job];
    const struct site_job *k = &x->s->jobs[n->job];
    leave(x, n, SITE_SMALL_WAITS);
    double done = row_of(x, n)->seconds - n->left_s;
    double again = k->checkpoint_s > 0.0 ? fmod(done, k->checkpoint_s) : done;
    double share = again * size_of(x, n) / j->want;
    share = fmin(share, j->result.part_s[SITE_PART_PRODUCTIVE]);
    n->left_s += again;
    j->result.part_s[SITE_PART_PRODUCTIVE] -= share;
    j->result.part_s[SITE_PART_ROLLBACK] += share;
    double own = k->restart_s >= 0.0 ? k->restart_s : machine_restart_s((int64_t)size_of(x, n)).mid;
    double delay = k->detect_s + own + k->load_s;
    n->not_before = x->st->now + site_us_of(delay);
    if (delay > 0.0) site_push_in(x, delay, SITE_K_SMALL, (uint32_t)(n - x->small), n->generation);
}

/* ------------------------------------------------------------------ who begins */

struct promise { /* to the first that does not fit */
    site_us at;
    double spare; /* accelerators that it will leave even then */
};

struct ending {
    site_us at;
    double size;
};

static int by_end(const void *a, const void *b)
{
    const struct ending *x = a, *y = b;
    return (x->at > y->at) - (x->at < y->at);
}

/* When so many will be free, by what runs. */
static struct promise promise_of(const struct site_sim *x, int i, double wants, double free_now)
{
    const struct site_job_now *j = &x->st->jobs[i];
    struct promise p = {SITE_NEVER, free_now};
    size_t n = (size_t)j->small_runs;
    struct ending *ends = mem_alloc(MAX(n, 1) * sizeof(*ends));
    for (size_t r = 0; r < n; r++) {
        const struct site_small_now *one = running(x, i, (int64_t)r);
        site_us at = one->since + site_us_of(one->left_s / fmax(j->clock, 1e-6));
        ends[r] = (struct ending){at, size_of(x, one)};
    }
    qsort(ends, n, sizeof(*ends), by_end);
    for (size_t r = 0; r < n && (p.spare < wants - 1e-6 || ends[r].at == p.at); r++) {
        p.spare += ends[r].size;
        p.at = ends[r].at;
    }
    mem_free(ends);
    if (p.spare < wants - 1e-6)
        return (struct promise){SITE_NEVER, free_now}; /* not as it stands */
    p.spare -= wants;
    return p;
}

void site_batch_go(struct site_sim *x, int i)
{
    struct site_state *st = x->st;
    struct site_job_now *j = &st->jobs[i];
    struct promise p = {0, 0.0};
    bool waiting = false, first = true;
    int looked = 0;
    if (j->state != SITE_STATE_RUNNING) return;
    site_job_account(x, i);
    for (int64_t k = j->small_first; k < j->small_in && looked < LOOK; k++) {
        struct site_small_now *n = &x->small[j->small_from + k];
        if (n->state != SITE_SMALL_WAITS) continue;
        if (first) j->small_first = k;
        first = false;
        if (n->not_before > st->now) continue;
        double size = size_of(x, n), room = site_job_size(j) - j->used;
        looked += waiting;
        if (size > room + 1e-6) {
            if (!waiting) p = promise_of(x, i, size, room);
            waiting = true;
            continue;
        }
        site_us end = st->now + site_us_of(n->left_s / fmax(j->clock, 1e-6));
        if (waiting && end > p.at && size > p.spare + 1e-6) continue;
        if (waiting && end > p.at) p.spare -= size;
        start(x, n);
    }
    if (first) j->small_first = j->small_in;
}

/* ------------------------------------------------------------------ events */

void site_batch_submit(struct site_sim *x, int i)
{
    struct site_job_now *j = &x->st->jobs[i];
    const struct site_small *row = &x->s->jobs[i].trace->rows[j->small_in];
    struct site_small_now *n = &x->small[j->small_from + j->small_in++];
    n->state = SITE_SMALL_WAITS;
    n->job = i;
    n->left_s = row->seconds;
    n->since = x->st->now;
    j->result.small_in++;
    await(x, i);
    site_batch_go(x, i);
}

void site_batch_due(struct site_sim *x, int small, uint32_t generation)
{
    struct site_small_now *n = &x->small[small];
    struct site_job_now *j = &x->st->jobs[n->job];
    if (generation != n->generation) return;
    site_job_account(x, n->job);
    if (n->state == SITE_SMALL_RUNS) {
        const struct site_small *row = row_of(x, n);
        leave(x, n, SITE_SMALL_DONE);
        j->result.small_done++;
        j->result.small_s += row->seconds * (double)row->accelerators;
        if (row->fails) j->result.small_failed_s += row->seconds * (double)row->accelerators;
    }
    site_batch_go(x, n->job);
}

static void stop_all(struct site_sim *x, int i, bool lost)
{
    while (x->st->jobs[i].small_runs > 0) {
        struct site_small_now *n = running(x, i, x->st->jobs[i].small_runs - 1);
        if (lost)
            fails(x, n);
        else
            leave(x, n, SITE_SMALL_WAITS);
    }
}

void site_batch_stops(struct site_sim *x, int i, double lost, enum site_stop how)
{
    struct site_job_now *j = &x->st->jobs[i];
    if (how == SITE_STOP_OUTAGE || (how == SITE_STOP_GRACEFUL && lost <= 0.0)) {
        j->result.interruptions += (double)(j->small_runs > 0);
        if (j->small_runs > 0) site_job_log_stop(x, i, how);
        stop_all(x, i, how == SITE_STOP_OUTAGE);
        if (how == SITE_STOP_OUTAGE) site_batch_go(x, i);
        return;
    }
    uint64_t entity = (uint64_t)SITE_OF_JOB << 56 | 3ull << 40 | (uint64_t)i;
    double at = rng_uniform(x->st->seed, entity, j->draws++) * (site_job_size(j) + lost);
    struct site_small_now *met = NULL;
    for (int64_t r = 0; r < j->small_runs && !met; r++) {
        at -= size_of(x, running(x, i, r));
        if (at < 0.0) met = running(x, i, r);
    }
    if (met) {
        j->result.interruptions++;
        site_job_log_stop(x, i, how);
        if (how == SITE_STOP_FAILURE)
            fails(x, met);
        else
            leave(x, met, SITE_SMALL_WAITS);
    }
    while (j->small_runs > 0 && j->used > site_job_size(j) + 1e-6)
        leave(x, running(x, i, j->small_runs - 1), SITE_SMALL_WAITS);
    site_batch_go(x, i);
}

void site_batch_clock(struct site_sim *x, int i, double clock)
{
    struct site_job_now *j = &x->st->jobs[i];
    double was = j->clock;
    for (int64_t r = 0; r < j->small_runs; r++) {
        struct site_small_now *n = running(x, i, r);
        hold(x, n);
        j->clock = clock;
        queue_end(x, n);
        j->clock = was;
    }
}
