/* plan_timeline_dualpipe.c: one step of DualPipe over time.
 *
 * Half of the microbatches enter the pipeline at each end, and every rank holds a stage of both
 * directions (DeepSeek-V3, arXiv:2412.19437, section 3.2.1 and figure 5; the order of passes is that
 * of its public schedule, github.com/deepseek-ai/DualPipe). "Near" is the direction whose
 * microbatches enter at a rank's own end, "far" the other. In the middle of the step each pass is a
 * forward of one direction together with a backward of the other; towards its ends the gradients of
 * weights are put off, so that the gradients of inputs reach the next stage sooner. It lasts
 * m (F + B) + (p/2 - 1) (F + 2B - 3W), the paper's table 2, where F, W and B - W are the same, and
 * less than one B shorter elsewhere (tested). */
#include "plan/step/plan_step_internal.h"

#include <math.h>
#include <string.h>

enum { NEAR, FAR };
enum { NOBODY = -1 };

struct pass {
    int32_t forward, backward,
        weights;   /* microbatches, or NOBODY; weights: of one gone back before */
    bool puts_off; /* backward: its weights come later */
};

struct rank {
    struct pass *order; /* [3 m] at most */
    int64_t n, next;
    int32_t began[2], gone_back[2]; /* microbatches of each direction so far */
    int32_t *waiting;               /* [m] whose weights are put off, first in first out */
    int32_t first_waiting, n_waiting;
    double free_s;
};

struct dualpipe {
    int32_t p, m;                           /* ranks, microbatches: both even, m at least 2 p */
    double forward_s, backward_s, weight_s; /* weight_s: of backward_s */
    struct rank *rank;
    double *forward_end, *backward_end; /* [m][p]; negative: not yet */
};

/* The c-th microbatch that enters at the rank's own end, or at the other. */
static int32_t microbatch(const struct dualpipe *x, const struct rank *r, int direction, int32_t c)
{
    bool from_last = (direction == FAR) != (r >= x->rank + x->p / 2);
    return (from_last ? x->m / 2 : 0) + c;
}

static struct pass *append(struct rank *r)
{
    struct pass *w = &r->order[r->n++];
    *w = (struct pass){NOBODY, NOBODY, NOBODY, false};
    return w;
}

static void forward(const struct dualpipe *x, struct rank *r, int direction)
{
    append(r)->forward = microbatch(x, r, direction, r->began[direction]++);
}

static void backward(const struct dualpipe *x, struct rank *r, int direction, bool puts_off)
{
    struct pass *w = append(r);
    w->backward = microbatch(x, r, direction, r->gone_back[direction]++);
    w->puts_off = puts_off;
    if (puts_off) r->waiting[r->n_waiting++] = w->backward;
}

static void weights(struct rank *r)
{
    CHECK(r->first_waiting < r->n_waiting);
    append(r)->weights = r->waiting[r->first_waiting++];
}

static void together(const struct dualpipe *x, struct rank *r, int direction)
{
    struct pass *w = append(r);
    w->forward = microbatch(x, r, direction, r->began[direction]++);
    w->backward = microbatch(x, r, !direction, r->gone_back[!direction]++);
}

/* The eight parts of the schedule; inward: how many ranks are nearer to the middle. */
static void order_rank(const struct dualpipe *x, struct rank *r)
{
    const int32_t number = (int32_t)(r - x->rank), half = x->p / 2;
    const int32_t from_end = MIN(number, x->p - 1 - number), inward = half - from_end - 1;
    for (int32_t i = 0; i < 2 * inward; i++)
        forward(x, r, NEAR);
    for (int32_t i = 0; i <= from_end; i++) {
        forward(x, r, NEAR);
        forward(x, r, FAR);
    }
    for (int32_t i = 0; i < inward; i++) {
        backward(x, r, FAR, true);
        weights(r);
        forward(x, r, FAR);
    }
    for (int32_t i = 0; i < x->m / 2 - x->p + from_end + 1; i++) {
        if (i == 0 && inward == 0) { /* the middle ranks wait less with these two apart */
            forward(x, r, NEAR);
            backward(x, r, FAR, false);
        } else {
            together(x, r, NEAR);
        }
        together(x, r, FAR);
    }
    for (int32_t i = 0; i < inward; i++) {
        backward(x, r, FAR, false);
        together(x, r, FAR);
    }
    const int32_t turn = (from_end + 1) / 2; /* from here on weights are put off */
    for (int32_t i = 0; i <= from_end; i++) {
        backward(x, r, FAR, i > turn || (i == turn && from_end % 2 == 1));
        backward(x, r, NEAR, i >= turn);
    }
    for (int32_t i = 0; i < inward; i++) {
        weights(r);
        backward(x, r, NEAR, true);
    }
    while (r->first_waiting < r->n_waiting)
        weights(r);
    CHECK(r->began[NEAR] == x->m / 2 && r->began[FAR] == x->m / 2);
    CHECK(r->gone_back[NEAR] == x->m / 2 && r->gone_back[FAR] == x->m / 2);
}

/* When a pass's input is there; negative: not yet. Gradients come the way that activations go, turned
 * round. */
static double ready_at(const struct dualpipe *x, int32_t rank, const struct pass *w)
{
    double at = 0;
    for (int kind = 0; kind < 2; kind++) {
        int32_t who = kind ? w->backward : w->forward;
        if (who == NOBODY) continue;
        int32_t from = rank + ((who >= x->m / 2) == (kind == 0) ? 1 : -1);
        if (from < 0 || from >= x->p) continue; /* where it enters, or turns round on this rank */
        double came = (kind ? x->backward_end : x->forward_end)[(int64_t)who * x->p + from];
        if (came < 0) return -1;
        at = fmax(at, came);
    }
    return at;
}

static void run_pass(const struct dualpipe *x, int32_t rank, const struct pass *w,
                     struct plan_span *span)
{
    struct rank *r = &x->rank[rank];
    double start = fmax(ready_at(x, rank, w), r->free_s), s = 0;
    if (w->forward != NOBODY) s += x->forward_s;
    if (w->backward != NOBODY) s += x->backward_s - (w->puts_off ? x->weight_s : 0);
    if (w->weights != NOBODY) s += x->weight_s;
    r->free_s = start + s;
    if (w->forward != NOBODY) x->forward_end[(int64_t)w->forward * x->p + rank] = r->free_s;
    if (w->backward != NOBODY) x->backward_end[(int64_t)w->backward * x->p + rank] = r->free_s;
    bool both = w->forward != NOBODY && w->backward != NOBODY;
    *span = (struct plan_span){
        .start_s = start,
        .end_s = r->free_s,
        .stage = rank,
        .microbatch = MAX(MAX(w->forward, w->weights), both ? w->forward : w->backward),
        .kind = both                    ? PLAN_SPAN_BOTH
                : w->forward != NOBODY  ? PLAN_SPAN_FORWARD
                : w->backward != NOBODY ? PLAN_SPAN_BACKWARD
                                        : PLAN_SPAN_WEIGHTS};
}

size_t plan_timeline_dualpipe(const struct plan_step *step, int64_t stages, int64_t microbatches,
                              double stretch, struct arena *a, struct plan_span **spans)
{
    struct dualpipe x = {.p = (int32_t)stages, .m = (int32_t)microbatches};
    CHECK(x.p % 2 == 0 && x.m % 2 == 0 && x.m >= 2 * x.p);
    x.forward_s = step->forward_s * stretch;
    x.backward_s = step->backward_s * stretch;
    x.weight_s = fmin(step->weight_s * stretch, x.backward_s);
    const size_t p = (size_t)x.p, m = (size_t)x.m;
    struct arena work;
    arena_init(&work);
    x.rank = arena_alloc(&work, p * sizeof *x.rank);
    x.forward_end = arena_alloc(&work, m * p * sizeof *x.forward_end);
    x.backward_end = arena_alloc(&work, m * p * sizeof *x.backward_end);
    for (size_t i = 0; i < m * p; i++)
        x.forward_end[i] = x.backward_end[i] = -1;
    size_t passes = 0, n = 0, before;
    for (size_t i = 0; i < p; i++) {
        x.rank[i] = (struct rank){.order = arena_alloc(&work, 3 * m * sizeof *x.rank->order),
                                  .waiting = arena_alloc(&work, m * sizeof *x.rank->waiting)};
        order_rank(&x, &x.rank[i]);
        passes += (size_t)x.rank[i].n;
    }
    *spans = arena_alloc(a, (passes + 2 * p) * sizeof **spans);
    do {
        before = n;
        for (int32_t i = 0; i < x.p; i++)
            for (struct rank *r = &x.rank[i]; r->next < r->n; r->next++) {
                if (ready_at(&x, i, &r->order[r->next]) < 0) break;
                run_pass(&x, i, &r->order[r->next], &(*spans)[n++]);
            }
    } while (n > before);
    CHECK(n == passes);
    arena_fini(&work);
    return n;
}
