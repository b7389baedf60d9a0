/* cluster_account.c: what a loss costs in work that is done again.
 *
 * A clock of work runs while an attempt does steps: it shows how long the steps took that the newest
 * state is made of, each as it was done last. An attempt that goes on from an earlier state turns the
 * clock back to what it showed there, and what it was turned back by is the work that is lost. So the
 * time of a detection or of a restart is never in it, nor work that an earlier loss has counted.
 *
 * The last LAUNCH_STEP_TIMES readings are kept; steps before them are taken to be equally long. */
#include "cluster/launch/cluster_supervise_internal.h"

/* Steps that were told of together share the time between. */
static void advance(struct launch_account *a, int64_t step, double work_s)
{
    int64_t n = step - a->step;
    double each_s = (work_s - a->work_s) / (double)n;
    for (int64_t i = MAX(n - LAUNCH_STEP_TIMES + 1, 1); i <= n; i++)
        a->at_s[(a->step + i) % LAUNCH_STEP_TIMES] = a->work_s + (double)i * each_s;
    a->step = step;
    a->kept = MAX(a->kept, step - LAUNCH_STEP_TIMES + 1);
    a->work_s = work_s;
}

/* What the clock showed when that step was done last. */
static double work_at(const struct launch_account *a, int64_t step)
{
    double kept_s = a->at_s[a->kept % LAUNCH_STEP_TIMES];
    if (step <= a->first) return 0;
    if (step >= a->kept) return a->at_s[step % LAUNCH_STEP_TIMES];
    return kept_s * (double)(step - a->first) / (double)(a->kept - a->first);
}

static void go_back(struct launch_account *a, int64_t step)
{
    double work_s = work_at(a, step);
    a->again_s += a->work_s - work_s;
    a->work_s = a->at_s[step % LAUNCH_STEP_TIMES] = work_s;
    a->step = step;
    a->first = MIN(a->first, step);
    a->kept = MIN(a->kept, step);
}

void launch_account_resume(struct launch_account *a, int64_t step, double now_s)
{
    if (!a->begun) {
        a->first = a->kept = a->step = step;
        a->at_s[step % LAUNCH_STEP_TIMES] = a->work_s = 0;
    }
    a->begun = true;
    if (step < a->step) go_back(a, step);
    if (step > a->step) advance(a, step, a->work_s);
    a->done_s = now_s;
}

void launch_account_step(struct launch_account *a, int64_t step, double now_s)
{
    advance(a, step, a->work_s + now_s - a->done_s);
    a->done_s = now_s;
}
