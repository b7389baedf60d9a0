/* site_flap.c: links that go down for moments. While a storm lasts, each link of a job flaps at a
 * rate; more flaps within the job's window than it tolerates interrupt it. */
#include "site/run/site_run_internal.h"

#define WINDOW (300 * SITE_SECOND) /* in which flaps are counted for the page */

static double uniform(struct site_sim *x, int i)
{
    uint64_t entity = (uint64_t)SITE_OF_JOB << 56 | 1ull << 40 | (uint64_t)i;
    return rng_uniform(x->st->seed, entity, x->st->jobs[i].flap_draws++) + 0x1p-54;
}

static void queue_next(struct site_sim *x, int i)
{
    struct site_job_now *j = &x->st->jobs[i];
    double rate = x->st->flaps_per_s[i] * fmax(j->held, 0.0);
    if (x->st->flaps_per_s[i] <= 0.0) return;
    /* without accelerators: look again in a window */
    double seconds = rate > 0.0 ? -log(uniform(x, i)) / rate : site_seconds(WINDOW);
    site_push_in(x, seconds, SITE_K_FLAP, (uint32_t)i, j->flap_generation);
}

static void close_windows(struct site_sim *x, int i)
{
    struct site_job_now *j = &x->st->jobs[i];
    while (x->st->now - j->flap_window >= WINDOW) {
        j->result.flap_windows++;
        if (j->flaps_in_window > x->s->jobs[i].flaps_tolerated) j->result.flap_windows_over++;
        j->flaps_in_window = 0;
        j->flap_window += WINDOW;
    }
}

void site_flap_storm(struct site_sim *x, int i, double per_s)
{
    struct site_job_now *j = &x->st->jobs[i];
    const bool began = x->st->flaps_per_s[i] <= 0.0;
    if (per_s == x->st->flaps_per_s[i]) return;
    j->flap_generation++;
    if (!began) close_windows(x, i);
    x->st->flaps_per_s[i] = per_s;
    if (began || per_s <= 0.0) {
        j->flap_window = x->st->now;
        j->flaps_in_window = j->n_flaps = 0;
    }
    queue_next(x, i);
}

void site_flap(struct site_sim *x, int i)
{
    struct site_job_now *j = &x->st->jobs[i];
    const struct site_job *k = &x->s->jobs[i];
    close_windows(x, i);
    if (j->held > 0.0) {
        const int most = (int)fmin(k->flaps_tolerated, (double)ARRAY_LEN(j->flaps) - 1.0) + 1;
        site_us window = site_us_of(k->flap_window_s);
        j->result.flaps++;
        j->flaps_in_window++;
        j->flaps[j->n_flaps++ % most] = x->st->now;
        /* the ring holds one more than are tolerated: is the oldest of them recent? */
        if (j->n_flaps >= most && x->st->now - j->flaps[j->n_flaps % most] < window &&
            j->state == SITE_STATE_RUNNING) {
            site_job_interrupt(x, i, 0.0, SITE_STOP_FAILURE);
            j->n_flaps = 0;
        }
    }
    queue_next(x, i);
}
