/* cluster_verdict.c: from what ranks say of themselves to who has failed, and how. Pure functions of
 * what is known and of the time, so that every case is a test.
 *
 * In this order, since each hides those below it:
 *   death    its connection has ended and it had not said farewell. Of several, the first by the
 *            kernel's clock: the others are taken down by their launcher, or by that they could not
 *            reach it. What that clock cannot tell apart is a node's before it is a rank's: ranks of
 *            a node that are gone, all of them, come before one whose neighbours are there
 *   no start a rank died, and of some node nobody ever came: that node is gone, and their launcher
 *            ended the others for it
 *   failed   it said farewell with an exit code that is an error
 *   frozen   its connection stands and no line has come: the process, or its node, stands still. Lines
 *            come from a thread of their own, whatever the rank computes or waits for
 *   hang     lines come and no operation ends. All ranks soon wait for the one that hangs, so it is
 *            looked for along who waits for whom: the rank at the end of it waits for nobody
 *   slow     it needs many times as long for its own work as the others do, several steps in a row.
 *            On a machine with other load ranks tell what they had of a CPU (train_run.c): nobody is
 *            a straggler because others keep it from working
 *
 * How long an operation may take is learned: several times the longest that one ever took, and never
 * less than a floor. Before the first step nothing is known, and the limit is another one. */
#include "cluster/launch/cluster_launch_internal.h"

#include <stdlib.h>
#include <string.h>

const char *launch_why_text(enum launch_why w)
{
    static const char *const texts[] = {
        [LAUNCH_WELL] = "well",     [LAUNCH_DEATH] = "death",   [LAUNCH_FROZEN] = "frozen",
        [LAUNCH_HANG] = "hang",     [LAUNCH_SLOW] = "slow",     [LAUNCH_CORRUPT] = "corrupt",
        [LAUNCH_FAILED] = "failed", [LAUNCH_START] = "no start"};
    return texts[w];
}

/* ------------------------------------------------------------------ beats */

void launch_take_beat(struct launch_rank *r, const struct launch_note *b, struct launch_history *h,
                      double now_s)
{
    bool stepped = b->step > r->step && r->step >= 0;
    /* What an operation took is seen when the next one has begun; beats see it a little late. */
    if (b->ticks != r->ticks && r->waits < 0 && r->step >= 0)
        h->longest_s = fmax(h->longest_s, fmin(r->idle_s, now_s - r->since_s));
    r->step = b->step;
    r->ticks = b->ticks;
    r->idle_s = b->idle_s;
    r->waits = b->waits;
    r->heard_s = now_s;
    memcpy(r->word, b->word, sizeof(r->word));
    if (stepped) r->busy_s[r->n_busy++ % LAUNCH_BUSY] = b->busy_s;
}

/* ------------------------------------------------------------------ judgement */

static double idle_now(const struct launch_rank *r, double now_s)
{
    return r->idle_s + fmax(now_s - r->heard_s, 0);
}

/* Who is waited for, in the end; -1: ranks wait for each other in a circle. */
static int end_of_waiting(const struct launch_rank *ranks, int n, int from)
{
    int at = from;
    for (int i = 0; i <= n; i++) {
        if (ranks[at].waits < 0 || ranks[at].waits >= n || ranks[at].gone) return at;
        at = ranks[at].waits;
    }
    return -1;
}

/* Two ends that are closer than this came at once, as far as the kernel's clock tells (a tick). */
#define AT_ONCE_S 0.01
/* Nodes of one start come within that of each other. */
#define LATE_S 1.5

static bool failed(const struct launch_rank *r)
{
    return r->bye && r->code != 0 && r->code != -ERROR_AGAIN;
}

/* Whether nobody of that rank's node is there: all are gone, or, without `came`, never came. */
static bool node_is_empty(const struct launch_rank *ranks, int n, const char *node, bool came)
{
    for (int i = 0; i < n; i++)
        if (strcmp(ranks[i].node, node) == 0 && ranks[i].here && !(came && ranks[i].gone))
            return false;
    return true;
}

static bool went_before(const struct launch_rank *ranks, int n, int a, int b)
{
    const struct launch_rank *x = &ranks[a], *y = &ranks[b];
    if (fabs(x->gone_s - y->gone_s) < AT_ONCE_S && strcmp(x->node, y->node) != 0) {
        bool x_empty = node_is_empty(ranks, n, x->node, true);
        if (x_empty != node_is_empty(ranks, n, y->node, true)) return x_empty;
    }
    return x->gone_s < y->gone_s;
}

/* The first that died or failed. */
static struct launch_verdict find_dead(const struct launch_rank *ranks, int n, double now_s)
{
    struct launch_verdict v = {.why = LAUNCH_WELL, .rank = -1};
    for (int i = 0; i < n; i++) {
        const struct launch_rank *r = &ranks[i];
        if (!failed(r) && (r->bye || !r->gone)) continue;
        if (v.rank >= 0 && !went_before(ranks, n, i, v.rank)) continue;
        v = (struct launch_verdict){failed(r) ? LAUNCH_FAILED : LAUNCH_DEATH, i,
                                    now_s - r->heard_s};
    }
    return v;
}

/* The first rank of a node that is known by name and of which nobody ever came; -1: none. */
static int find_missing_node(const struct launch_rank *ranks, int n)
{
    for (int i = 0; i < n; i++)
        if (!ranks[i].here && ranks[i].node[0] && node_is_empty(ranks, n, ranks[i].node, false))
            return i;
    return -1;
}

static struct launch_verdict find_frozen(const struct launch_rank *ranks, int n, double limit_s,
                                         double now_s)
{
    struct launch_verdict v = {.why = LAUNCH_WELL, .rank = -1};
    for (int i = 0; i < n; i++) {
        const struct launch_rank *r = &ranks[i];
        double silent_s = now_s - r->heard_s;
        if (r->here && !r->gone && !r->bye && silent_s > limit_s && silent_s > v.after_s)
            v = (struct launch_verdict){LAUNCH_FROZEN, i, silent_s};
    }
    return v;
}

/* Where every rank has been idle for longer than the limit, or the one that all wait for. */
static struct launch_verdict find_hanging(const struct launch_rank *ranks, int n, double limit_s,
                                          double now_s)
{
    for (int i = 0; i < n; i++) {
        if (!ranks[i].here || ranks[i].bye) continue;
        int end = end_of_waiting(ranks, n, i);
        int at = end < 0 ? i : end;
        double idle_s = idle_now(&ranks[at], now_s);
        if (ranks[at].bye || idle_s <= limit_s) continue;
        return (struct launch_verdict){LAUNCH_HANG, end, idle_s};
    }
    return (struct launch_verdict){.why = LAUNCH_WELL, .rank = -1};
}

/* Least time of its own that a rank took for any of its last steps; negative: too few are known. */
static double least_busy(const struct launch_rank *r)
{
    double least = r->busy_s[0];
    for (int i = 1; i < LAUNCH_BUSY; i++)
        least = fmin(least, r->busy_s[i]);
    return r->n_busy >= LAUNCH_BUSY ? least : -1;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Noise of a busy machine is no straggler: a step must also be this much longer than the others'. */
#define SLOW_AT_LEAST_S 0.1

static struct launch_verdict find_slow(const struct launch_rank *ranks, int n, double times)
{
    struct launch_verdict v = {.why = LAUNCH_WELL, .rank = -1};
    int slowest = 0;
    for (int i = 1; i < n; i++)
        if (least_busy(&ranks[i]) > least_busy(&ranks[slowest])) slowest = i;
    double most = least_busy(&ranks[slowest]);
    if (n == 1 || times <= 0 || most < SLOW_AT_LEAST_S) return v;
    double *all = mem_alloc((size_t)n * sizeof(*all));
    for (int i = 0; i < n; i++)
        all[i] = least_busy(&ranks[i]);
    qsort(all, (size_t)n, sizeof(*all), compare_doubles);
    double median = all[(n - 1) / 2], least = all[0];
    mem_free(all);
    if (least >= 0 && most > times * median && most > median + SLOW_AT_LEAST_S)
        v = (struct launch_verdict){LAUNCH_SLOW, slowest, most};
    return v;
}

/* Before all have come: the first that is missing. */
static struct launch_verdict find_missing(const struct launch_rank *ranks, int n, double limit_s,
                                          double now_s)
{
    for (int i = 0; i < n; i++)
        if (!ranks[i].here && now_s - ranks[i].since_s > limit_s)
            return (struct launch_verdict){LAUNCH_START, i, now_s - ranks[i].since_s};
    return (struct launch_verdict){.why = LAUNCH_WELL, .rank = -1};
}

struct launch_verdict launch_judge(const struct launch_rank *ranks, int n,
                                   const struct launch_limits *l, const struct launch_history *h,
                                   bool stepped, double now_s)
{
    double hang_s = fmax(l->hang_s, l->hang_times * h->longest_s);
    double start_s = h->started_s > 0 ? fmax(l->hang_s, l->hang_times * h->started_s) : l->start_s;
    struct launch_verdict v = find_dead(ranks, n, now_s);
    int missing = v.why == LAUNCH_DEATH ? find_missing_node(ranks, n) : -1;
    if (missing >= 0 && now_s - ranks[v.rank].gone_s < LATE_S) /* it may still come */
        return (struct launch_verdict){.why = LAUNCH_WELL, .rank = -1};
    if (missing >= 0)
        v = (struct launch_verdict){LAUNCH_START, missing, now_s - ranks[missing].since_s};
    if (v.why == LAUNCH_WELL) v = find_frozen(ranks, n, l->silence_s, now_s);
    if (v.why == LAUNCH_WELL) v = find_missing(ranks, n, start_s, now_s);
    if (v.why == LAUNCH_WELL) v = find_hanging(ranks, n, stepped ? hang_s : start_s, now_s);
    if (v.why == LAUNCH_WELL && stepped) v = find_slow(ranks, n, l->slow_times);
    return v;
}
