/* plan_timeline.c: one step over time on the stages of a pipeline.
 *
 * The order of passes on a stage is Megatron-LM's: 1F1B, and its interleaved form where a device
 * holds several chunks of layers (Narayanan et al., arXiv:2104.04473, sections 2.2.1 and 2.2.2):
 * a number of forward passes to warm up, then one forward and one backward in turn. Microbatches go
 * through the chunks in groups of as many as there are stages, or of more, so that no group is
 * smaller (Megatron-Core, microbatch_group_size_per_vp_stage). A pass starts when its device is
 * free and what it needs has come. DualPipe has another order (plan_timeline_dualpipe.c). Behind the
 * last backward pass come the exposed data-parallel traffic and the optimiser; what is left of the
 * step (data, launches, stragglers) is not drawn. */
#include "plan/step/plan_step_internal.h"

#include <math.h>
#include <string.h>

enum { MAX_SPANS = 1 << 18 };
enum { FORWARD = PLAN_SPAN_FORWARD, BACKWARD = PLAN_SPAN_BACKWARD };

struct pass {
    int32_t microbatch;
    int16_t chunk;
    uint8_t kind, done;
};

struct pipeline {
    int64_t p, v, m; /* stages, chunks a device, microbatches */
    int64_t group;   /* microbatches that go through a chunk before the next */
    double forward_s, backward_s;
    struct pass *order; /* [p][2 m v] */
    double *end;        /* [p][v][m][forward, backward]; negative: not yet */
};

static double *end_of(const struct pipeline *x, int64_t stage, int64_t chunk, int64_t microbatch,
                      int kind)
{
    return &x->end[(((stage * x->v) + chunk) * x->m + microbatch) * 2 + kind];
}

/* The k-th forward (or backward) pass of a device: groups of microbatches, chunk by chunk. */
static struct pass nth_pass(const struct pipeline *x, int64_t k, int kind)
{
    int64_t group = k / (x->group * x->v), first = group * x->group;
    int64_t size = MIN(x->group, x->m - first), in = k - group * x->group * x->v;
    int64_t chunk = in / size;
    return (struct pass){.microbatch = (int32_t)(first + in % size),
                         .chunk = (int16_t)(kind == FORWARD ? chunk : x->v - 1 - chunk),
                         .kind = (uint8_t)kind};
}

static void order_stage(const struct pipeline *x, int64_t stage)
{
    int64_t all = x->m * x->v, forward = 0, backward = 0, n = 0;
    struct pass *order = x->order + stage * 2 * all;
    int64_t warm = x->v > 1 ? 2 * (x->p - stage - 1) + (x->v - 1) * x->group : x->p - stage - 1;
    while (forward < MIN(warm, all))
        order[n++] = nth_pass(x, forward++, FORWARD);
    while (backward < all) {
        if (forward < all) order[n++] = nth_pass(x, forward++, FORWARD);
        order[n++] = nth_pass(x, backward++, BACKWARD);
    }
}

/* When what a pass needs is there; negative: not yet. */
static double ready_at(const struct pipeline *x, int64_t stage, const struct pass *w)
{
    if (w->kind == FORWARD) {
        if (stage > 0) return *end_of(x, stage - 1, w->chunk, w->microbatch, FORWARD);
        if (w->chunk > 0) return *end_of(x, x->p - 1, w->chunk - 1, w->microbatch, FORWARD);
        return 0;
    }
    if (stage < x->p - 1) return *end_of(x, stage + 1, w->chunk, w->microbatch, BACKWARD);
    if (w->chunk < x->v - 1) return *end_of(x, 0, w->chunk + 1, w->microbatch, BACKWARD);
    return *end_of(x, stage, w->chunk, w->microbatch, FORWARD);
}

struct clock {
    double free_s;
    int64_t next;
};

static void run_pass(const struct pipeline *x, int64_t stage, struct pass *w, struct clock *clock,
                     struct plan_span *span)
{
    double start = fmax(ready_at(x, stage, w), clock->free_s);
    double s = (w->kind == FORWARD ? x->forward_s : x->backward_s) / (double)x->v;
    clock->free_s = start + s;
    w->done = 1;
    *end_of(x, stage, w->chunk, w->microbatch, w->kind) = clock->free_s;
    *span = (struct plan_span){.start_s = start,
                               .end_s = clock->free_s,
                               .stage = (int32_t)stage,
                               .microbatch = w->microbatch,
                               .kind = w->kind};
}

/* Where the groups are uneven, the fixed order can wait for itself: then the first pass that could
 * run is taken out of turn. One always can, because the passes' needs have no circle. */
static size_t run_out_of_turn(const struct pipeline *x, struct clock *clocks,
                              struct plan_span *spans)
{
    int64_t all = 2 * x->m * x->v;
    for (int64_t stage = 0; stage < x->p; stage++)
        for (int64_t i = clocks[stage].next; i < all; i++) {
            struct pass *w = &x->order[stage * all + i];
            if (w->done || ready_at(x, stage, w) < 0) continue;
            run_pass(x, stage, w, &clocks[stage], spans);
            return 1;
        }
    return 0;
}

static size_t run_pipeline(const struct pipeline *x, struct clock *clocks, struct plan_span *spans)
{
    int64_t all = 2 * x->m * x->v;
    size_t n = 0, before;
    do {
        before = n;
        for (int64_t stage = 0; stage < x->p; stage++) {
            struct clock *c = &clocks[stage];
            for (; c->next < all; c->next++) {
                struct pass *w = &x->order[stage * all + c->next];
                if (w->done) continue;
                if (ready_at(x, stage, w) < 0) break;
                run_pass(x, stage, w, c, &spans[n++]);
            }
        }
        if (n == before) n += run_out_of_turn(x, clocks, &spans[n]);
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

static int64_t group_size(int64_t stages, int64_t microbatches)
{
    int64_t n = stages;
    while (n < microbatches && microbatches % n && microbatches % n < stages)
        n++;
    return MIN(n, microbatches);
}

size_t plan_timeline(const struct plan_step *step, const struct plan_layout *l, struct arena *a,
                     struct plan_span **spans)
{
    struct pipeline x = {.p = MAX(l->pp, 1), .v = MAX(l->vp, 1), .m = MAX(step->microbatches, 1)};
    /* A step of more passes than can be seen is drawn with fewer microbatches. */
    x.m = MAX(MIN(x.m, MAX_SPANS / (2 * x.p * x.v)), 1);
    x.group = group_size(x.p, x.m);
    /* Messages are on the way of every microbatch; the rest of a pass is compute and what it
     * waits for. */
    double work = step->forward_s + step->backward_s;
    double message = step->part_s[PLAN_PART_PP] / (double)MAX(step->microbatches, 1);
    double more = work > 0 ? (work + message) / work : 1;
    if (step->both_ends) {
        int64_t most = MAX(MAX_SPANS / (3 * x.p) / 2 * 2, 2 * x.p);
        size_t n = plan_timeline_dualpipe(step, x.p, MIN(step->microbatches, most), more, a, spans);
        return add_tail(x.p, step, *spans, n);
    }
    x.forward_s = step->forward_s * more;
    x.backward_s = step->backward_s * more;
    size_t passes = (size_t)(2 * x.p * x.v * x.m);
    struct arena work_memory;
    arena_init(&work_memory);
    x.order = arena_alloc(&work_memory, passes * sizeof *x.order);
    x.end = arena_alloc(&work_memory, passes * sizeof *x.end);
    struct clock *clocks = arena_alloc(&work_memory, (size_t)x.p * sizeof *clocks);
    for (size_t i = 0; i < passes; i++)
        x.end[i] = -1;
    for (int64_t stage = 0; stage < x.p; stage++)
        order_stage(&x, stage);
    *spans = arena_alloc(a, (passes + 2 * (size_t)x.p) * sizeof **spans);
    size_t n = run_pipeline(&x, clocks, *spans);
    CHECK(n == passes);
    arena_fini(&work_memory);
    return add_tail(x.p, step, *spans, n);
}
