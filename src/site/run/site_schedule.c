/* site_schedule.c: which job has which accelerators.
 *
 * By priority. A job that waits takes what is free of its pools, and what preemptible jobs of lower
 * priority hold, if that is enough for all it needs (a gang), or for the least that it goes on with.
 * While one waits, only preemptible ones may fill in behind it. Jobs at work that lack some are
 * filled up. A job of racks takes whole ones only; jobs without are packed into as few racks as hold
 * them. */
#include "site/run/site_run_internal.h"

static bool may_use(const struct site_scenario *s, int job, int pool)
{
    return s->jobs[job].pool == 0 || s->jobs[job].pool == pool + 1;
}

static double free_for(const struct site_sim *x, int job)
{
    double n = 0.0;
    for (int p = 0; p < x->s->cluster.n_pools; p++)
        if (may_use(x->s, job, p)) n += site_job_racks(&x->s->jobs[job], site_free(x->st, p));
    return n;
}

static double least_of(const struct site_scenario *s, int i, double want)
{
    const struct site_job *k = &s->jobs[i];
    switch ((enum site_job_kind)k->kind) {
    case SITE_JOB_REPLAY:
    case SITE_JOB_SERVING: return fmin(1.0, want);
    case SITE_JOB_GANGS: return want / (double)k->gangs;
    case SITE_JOB_TRAINING: break;
    }
    return k->elastic_min * want;
}

static void take(struct site_sim *x, int i)
{
    struct site_job_now *j = &x->st->jobs[i];
    double had = j->held, more = 0.0;
    site_job_account(x, i);
    site_fleet_account(x);
    for (int p = 0; p < x->s->cluster.n_pools && had + more < j->want; p++) {
        double n = may_use(x->s, i, p) ? fmin(site_free(x->st, p), j->want - had - more) : 0.0;
        n = site_job_racks(&x->s->jobs[i], n);
        j->alloc[p] += n;
        x->st->pools[p].busy += n;
        more += n;
    }
    if (more <= 0.0) return;
    x->st->power_changed = true;
    site_job_gain(x, i, more);
    site_job_clocks(x);
}

/* What preemptible jobs of lower priority hold of a job's pools. */
static double could_yield(const struct site_sim *x, int i, int other)
{
    const struct site_job *k = &x->s->jobs[other];
    const struct site_job_now *j = &x->st->jobs[other];
    double n = 0.0;
    if (!k->preemptible || k->priority >= x->s->jobs[i].priority || j->held <= 0.0) return 0.0;
    for (int p = 0; p < x->s->cluster.n_pools; p++)
        if (may_use(x->s, i, p)) n += j->alloc[p];
    return n;
}

/* Lowest first, until it is enough. False: it never is. */
static bool make_room(struct site_sim *x, int i, double least)
{
    const struct site_state *st = x->st;
    double have = st->jobs[i].held + free_for(x, i), more = 0.0;
    for (int n = 0; n < x->s->n_jobs; n++)
        more += could_yield(x, i, n);
    if (have + more < least - 1e-6) return false;
    for (int n = x->s->n_jobs - 1; n >= 0 && have < least - 1e-6; n--) {
        int other = st->order[n];
        double gain = could_yield(x, i, other);
        if (gain <= 0.0) continue;
        site_job_interrupt(x, other, 0.0, SITE_STOP_GRACEFUL);
        site_job_account(x, other);
        site_job_release(x, other);
        site_job_set(x, other, SITE_STATE_YIELDED, -1.0);
        have += gain;
    }
    return true;
}

void site_schedule(struct site_sim *x)
{
    struct site_state *st = x->st;
    bool waiting = false;
    st->schedule_again = false;
    for (int n = 0; n < x->s->n_jobs; n++) {
        int i = st->order[n];
        struct site_job_now *j = &st->jobs[i];
        const struct site_job *k = &x->s->jobs[i];
        bool waits = j->state == SITE_STATE_QUEUED || j->state == SITE_STATE_YIELDED;
        bool works = j->state == SITE_STATE_RUNNING || j->state == SITE_STATE_STALLED ||
                     j->state == SITE_STATE_DETECTING;
        double least = least_of(x->s, i, j->want);
        if (works && j->held < j->want) take(x, i);
        if (!waits || (waiting && !k->preemptible)) continue;
        if (j->held + free_for(x, i) < least - 1e-6 && !make_room(x, i, least)) {
            waiting = true;
            continue;
        }
        take(x, i);
        site_job_account(x, i);
        site_job_start_time(x, i);
    }
    st->schedule_again = false; /* what it did itself */
}
