/* site_wave.c: the wave of synchronous steps: what the load does within a second.
 *
 * Time in the twin goes from event to event with mean watts; the wave around them is a descriptor,
 * whose lines are closed forms (Oppenheim and Willsky, Signals and Systems, table 4.1) and whose
 * trace is written only for windows around incidents. Jobs have no common phase. */
#include "site/run/site_run_internal.h"

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

static struct site_wave of_job(const struct site_sim *x, int i)
{
    const struct site_job_now *j = &x->st->jobs[i];
    const struct site_job *k = &x->s->jobs[i];
    struct site_wave w = {0};
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
            waves[n++] = (struct site_wave){2.0 * l->swing_w, l->duty, l->period_s, 0.0};
    }
    return n;
}
