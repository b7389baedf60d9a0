/* plan_timeline.c: one step over time on the stages of a pipeline.
 *
 * A schedule gives each stage an order of passes; a pass starts when its stage is free and what it
 * needs has come. Two orders are known:
 *
 * Megatron-LM's 1F1B, and its interleaved form where a stage holds several chunks of layers
 * (Narayanan et al., arXiv:2104.04473, sections 2.2.1 and 2.2.2): a number of forward passes to warm
 * up, then one forward and one backward in turn. Microbatches go through the chunks in groups of as
 * many as there are stages, or of more, so that no group is smaller (Megatron-Core,
 * microbatch_group_size_per_vp_stage).
 *
 * DualPipe's (DeepSeek-V3, arXiv:2412.19437, section 3.2.1 and figure 5; the order of passes is that
 * of its public schedule, github.com/deepseek-ai/DualPipe): half of the microbatches enter at each
 * end, and every rank holds a stage of both directions. "Near" is the direction whose microbatches
 * enter at a rank's own end, "far" the other. In the middle of the step each pass is a forward of one
 * direction together with a backward of the other; towards its ends the gradients of weights are put
 * off, so that the gradients of inputs reach the next stage sooner. It lasts
 * m (F + B) + (p/2 - 1) (F + 2B - 3W), the paper's table 2, where F, W and B - W are the same, and
 * less than one B shorter elsewhere (tested).
 *
 * Behind the last backward pass come the exposed data-parallel traffic and the optimiser; what is
 * left of the step (data, launches, stragglers) is not drawn. */
#include "plan/step/plan_step_internal.h"

#include <math.h>

enum { MAX_SPANS = 1 << 18, NOBODY = -1 };
enum { FORWARD, BACKWARD };

struct pass {
    int32_t forward, backward, weights; /* microbatches, or NOBODY; weights: of one gone back */
    int16_t chunk;                      /* of the stage's layers */
    bool puts_off;                      /* backward: its weights come later */
    bool done;
};

struct stage {
    struct pass *order;
    int64_t n, next; /* passes of the order; the first that may not be done yet */
    double free_s;
};

struct pipeline {
    int64_t p, v, m; /* stages, chunks a stage, microbatches */
    int64_t group;   /* microbatches that go through a chunk before the next */
    bool both_ends;  /* DualPipe: p and m are even, m is at least 2 p, v is 1 */
    double forward_s, backward_s, weight_s; /* of one chunk; weight_s: of backward_s */
    struct stage *stages;
    double *end; /* [p][v][m][forward, backward]; negative: not yet */
};

static struct pass *append(struct stage *s)
{
    struct pass *w = &s->order[s->n++];
    *w = (struct pass){.forward = NOBODY, .backward = NOBODY, .weights = NOBODY};
    return w;
}

/* ------------------------------------------------------------------ 1F1B */

/* The k-th forward (or backward) pass of a stage: groups of microbatches, chunk by chunk. */
static void append_nth(const struct pipeline *x, struct stage *s, int64_t k, int kind)
{
    int64_t group = k / (x->group * x->v), first = group * x->group;
    int64_t size = MIN(x->group, x->m - first), in = k - group * x->group * x->v;
    int64_t chunk = in / size;
    struct pass *w = append(s);
    *(kind == FORWARD ? &w->forward : &w->backward) = (int32_t)(first + in % size);
    w->chunk = (int16_t)(kind == FORWARD ? chunk : x->v - 1 - chunk);
}

static void order_1f1b(const struct pipeline *x, int64_t stage)
{
    int64_t all = x->m * x->v, forward = 0, backward = 0;
    struct stage *s = &x->stages[stage];
    int64_t warm = x->v > 1 ? 2 * (x->p - stage - 1) + (x->v - 1) * x->group : x->p - stage - 1;
    while (forward < MIN(warm, all))
        append_nth(x, s, forward++, FORWARD);
    while (backward < all) {
        if (forward < all) append_nth(x, s, forward++, FORWARD);
        append_nth(x, s, backward++, BACKWARD);
    }
}

static int64_t group_size(int64_t stages, int64_t microbatches)
{
    int64_t n = stages;
    while (n < microbatches && microbatches % n && microbatches % n < stages)
        n++;
    return MIN(n, microbatches);
}

/* ------------------------------------------------------------------ DualPipe */

enum { NEAR, FAR };

struct dual { /* a rank while its order is made */
    const struct pipeline *x;
    struct stage *stage;
    bool upper;                     /* half of the ranks, whose own end is the last stage */
    int32_t began[2], gone_back[2]; /* microbatches of each direction so far */
    int32_t *waiting;               /* [m] whose weights are put off, first in first out */
    int32_t first_waiting, n_waiting;
};

/* The c-th microbatch that enters at the rank's own end, or at the other. */
static int32_t microbatch(const struct dual *r, int direction, int32_t c)
{
    bool from_last = (direction == FAR) != r->upper;
    return (int32_t)(from_last ? r->x->m / 2 : 0) + c;
}

static void forward(struct dual *r, int direction)
{
    append(r->stage)->forward = microbatch(r, direction, r->began[direction]++);
}

static void backward(struct dual *r, int direction, bool puts_off)
{
    struct pass *w = append(r->stage);
    w->backward = microbatch(r, direction, r->gone_back[direction]++);
    w->puts_off = puts_off;
    if (puts_off) r->waiting[r->n_waiting++] = w->backward;
}

static void weights(struct dual *r)
{
    CHECK(r->first_waiting < r->n_waiting);
    append(r->stage)->weights = r->waiting[r->first_waiting++];
}

static void together(struct dual *r, int direction)
{
    struct pass *w = append(r->stage);
    w->forward = microbatch(r, direction, r->began[direction]++);
    w->backward = microbatch(r, !direction, r->gone_back[!direction]++);
}

/* The eight parts of the schedule; inward: how many ranks are nearer to the middle. */
static void order_dualpipe(const struct pipeline *x, int64_t number, struct arena *a)
{
    struct dual rank = {.x = x,
                        .stage = &x->stages[number],
                        .upper = number >= x->p / 2,
                        .waiting = arena_alloc(a, (size_t)x->m * sizeof(int32_t))};
    struct dual *r = &rank;
    const int64_t from_end = MIN(number, x->p - 1 - number), inward = x->p / 2 - from_end - 1;
    for (int64_t i = 0; i < 2 * inward; i++)
        forward(r, NEAR);
    for (int64_t i = 0; i <= from_end; i++) {
        forward(r, NEAR);
        forward(r, FAR);
    }
    for (int64_t i = 0; i < inward; i++) {
        backward(r, FAR, true);
        weights(r);
        forward(r, FAR);
    }
    for (int64_t i = 0; i < x->m / 2 - x->p + from_end + 1; i++) {
        if (i == 0 && inward == 0) { /* the middle ranks wait less with these two apart */
            forward(r, NEAR);
            backward(r, FAR, false);
        } else {
            together(r, NEAR);
        }
        together(r, FAR);
    }
    for (int64_t i = 0; i < inward; i++) {
        backward(r, FAR, false);
        together(r, FAR);
    }
    const int64_t turn = (from_end + 1) / 2; /* from here on weights are put off */
    for (int64_t i = 0; i <= from_end; i++) {
        backward(r, FAR, i > turn || (i == turn && from_end % 2 == 1));
        backward(r, NEAR, i >= turn);
    }
    for (int64_t i = 0; i < inward; i++) {
        weights(r);
        backward(r, NEAR, true);
    }
    while (r->first_waiting < r->n_waiting)
        weights(r);
    CHECK(r->began[NEAR] == x->m / 2 && r->began[FAR] == x->m / 2);
    CHECK(r->gone_back[NEAR] == x->m / 2 && r->gone_back[FAR] == x->m / 2);
}

/* ------------------------------------------------------------------ the passes */

static double *end_of(const struct pipeline *x, int64_t stage, int64_t chunk, int64_t who, int kind)
{
    return &x->end[(((stage * x->v) + chunk) * x->m + who) * 2 + kind];
}

/* When what a microbatch needs is there; negative: not yet. Gradients come the way that activations
 * go, turned round; the next chunk begins at the other end of the pipeline. */
static double needs(const struct pipeline *x, int64_t stage, int64_t chunk, int32_t who, int kind)
{
    int64_t way = x->both_ends && who >= x->m / 2 ? -1 : 1;
    int64_t from = kind == FORWARD ? stage - way : stage + way;
    if (from >= 0 && from < x->p) return *end_of(x, from, chunk, who, kind);
    int64_t before = kind == FORWARD ? chunk - 1 : chunk + 1;
    if (before >= 0 && before < x->v)
        return *end_of(x, kind == FORWARD ? x->p - 1 : 0, before, who, kind);
    return kind == FORWARD ? 0 : *end_of(x, stage, chunk, who, FORWARD);
}

static double ready_at(const struct pipeline *x, int64_t stage, const struct pass *w)
{
    double f = w->forward != NOBODY ? needs(x, stage, w->chunk, w->forward, FORWARD) : 0;
    double b = w->backward != NOBODY ? needs(x, stage, w->chunk, w->backward, BACKWARD) : 0;
    return f < 0 || b < 0 ? -1 : fmax(f, b);
}

static void run_pass(const struct pipeline *x, int64_t stage, struct pass *w,
                     struct plan_span *span)
{
    struct stage *s = &x->stages[stage];
    double start = fmax(ready_at(x, stage, w), s->free_s), lasts = 0;
    if (w->forward != NOBODY) lasts += x->forward_s;
    if (w->backward != NOBODY) lasts += x->backward_s - (w->puts_off ? x->weight_s : 0);
    if (w->weights != NOBODY) lasts += x->weight_s;
    s->free_s = start + lasts;
    w->done = true;
    if (w->forward != NOBODY) *end_of(x, stage, w->chunk, w->forward, FORWARD) = s->free_s;
    if (w->backward != NOBODY) *end_of(x, stage, w->chunk, w->backward, BACKWARD) = s->free_s;
    bool both = w->forward != NOBODY && w->backward != NOBODY;
    *span = (struct plan_span){
        .start_s = start,
        .end_s = s->free_s,
        .stage = (int32_t)stage,
        .microbatch = MAX(MAX(w->forward, w->weights), both ? w->forward : w->backward),
        .kind = both                    ? PLAN_SPAN_BOTH
                : w->forward != NOBODY  ? PLAN_SPAN_FORWARD
                : w->backward != NOBODY ? PLAN_SPAN_BACKWARD
                                        : PLAN_SPAN_WEIGHTS};
}

/* Where the groups of 1F1B are uneven, the fixed order can wait for itself: then the first pass that
 * could run is taken out of turn. One always can, because the passes' needs have no circle. */
static size_t run_out_of_turn(const struct pipeline *x, struct plan_span *spans)
{
    for (int64_t stage = 0; stage < x->p; stage++)
        for (int64_t i = x->stages[stage].next; i < x->stages[stage].n; i++) {
            struct pass *w = &x->stages[stage].order[i];
            if (w->done || ready_at(x, stage, w) < 0) continue;
            run_pass(x, stage, w, spans);
            return 1;
        }
    return 0;
}

static size_t run_pipeline(const struct pipeline *x, struct plan_span *spans)
{
    size_t n = 0, before;
    do {
        before = n;
        for (int64_t stage = 0; stage < x->p; stage++)
            for (struct stage *s = &x->stages[stage]; s->next < s->n; s->next++) {
                struct pass *w = &s->order[s->next];
                if (w->done) continue;
                if (ready_at(x, stage, w) < 0) break;
                run_pass(x, stage, w, &spans[n++]);
            }
        if (n == before) n += run_out_of_turn(x, &spans[n]);
    } while (n > before);
    return n;
}

/* What follows on every stage once all are through. */
static size_t add_tail(int64_t stages, const struct plan_step *step, struct plan_span *spans,
                       size_t n)
{
    double dp = step->part_s[PLAN_PART_DP], optimizer = step->part_s[PLAN_PART_OPTIMIZER], at = 0;
    for (size_t i = 0; i < n; i++)
        at = fmax(at, spans[i].end_s);
    for (int32_t stage = 0; stage < stages; stage++) {
        if (dp > 0)
            spans[n++] = (struct plan_span){at, at + dp, stage, -1, PLAN_SPAN_COMMUNICATION};
        if (optimizer > 0)
            spans[n++] =
                (struct plan_span){at + dp, at + dp + optimizer, stage, -1, PLAN_SPAN_OPTIMIZER};
    }
    return n;
}

size_t plan_timeline(const struct plan_step *step, const struct plan_layout *l, struct arena *a,
                     struct plan_span **spans)
{
    struct pipeline x = {.p = MAX(l->pp, 1),
                         .v = step->both_ends ? 1 : MAX(l->vp, 1),
                         .m = MAX(step->microbatches, 1),
                         .both_ends = step->both_ends};
    /* Messages are on the way of every microbatch; the rest of a pass is compute and what it
     * waits for. */
    double work = step->forward_s + step->backward_s;
    double message = step->part_s[PLAN_PART_PP] / (double)MAX(step->microbatches, 1);
    double more = work > 0 ? (work + message) / work : 1;
    /* A step of more passes than can be seen is drawn with fewer microbatches. */
    x.m = x.both_ends ? MIN(x.m, MAX(MAX_SPANS / (3 * x.p) / 2 * 2, 2 * x.p))
                      : MAX(MIN(x.m, MAX_SPANS / (2 * x.p * x.v)), 1);
    x.group = group_size(x.p, x.m);
    x.forward_s = step->forward_s * more / (double)x.v;
    x.backward_s = step->backward_s * more / (double)x.v;
    x.weight_s = fmin(step->weight_s * more, x.backward_s);
    CHECK(!x.both_ends || (x.p % 2 == 0 && x.m % 2 == 0 && x.m >= 2 * x.p));

    struct arena memory = {0};
    const size_t ends = (size_t)(2 * x.p * x.v * x.m);
    size_t passes = 0;
    x.stages = arena_alloc(&memory, (size_t)x.p * sizeof *x.stages);
    x.end = arena_alloc(&memory, ends * sizeof *x.end);
    for (size_t i = 0; i < ends; i++)
        x.end[i] = -1;
    for (int64_t stage = 0; stage < x.p; stage++) {
        const size_t most = (size_t)(x.both_ends ? 3 * x.m : 2 * x.m * x.v);
        x.stages[stage] = (struct stage){.order = arena_alloc(&memory, most * sizeof(struct pass))};
        if (x.both_ends)
            order_dualpipe(&x, stage, &memory);
        else
            order_1f1b(&x, stage);
        passes += (size_t)x.stages[stage].n;
    }
    *spans = arena_alloc(a, (passes + 2 * (size_t)x.p) * sizeof **spans);
    size_t n = run_pipeline(&x, *spans);
    CHECK(n == passes);
    arena_fini(&memory);
    return add_tail(x.p, step, *spans, n);
}
