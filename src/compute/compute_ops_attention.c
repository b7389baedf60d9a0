/* compute_ops_attention.c: attention over all threads, and the rotation table.
 *
 * Forward: one task is a block of queries of one head of one sequence. Backward: one task is a key
 * head of a sequence with all query heads that share it, so that dk and dv are summed by one task
 * in one order. Tasks are ordered longest first (late query blocks see the most keys), which lets
 * threads finish together. */
#include <math.h>

#include "compute/compute_ops_internal.h"

enum { QUERY_BLOCK = 128 };

struct attention {
    compute_t *c;
    const struct compute_attention *a;
    const struct compute_attention_grad *d; /* backward only */
    int64_t blocks;                         /* of QUERY_BLOCK queries */
    char *scratch;
    size_t stride;
};

static void run_attention(struct attention *run, pool_fn *task, int64_t n_tasks)
{
    const struct compute_attention *a = run->a;
    CHECK_MSG(a->K > 0 && a->H % a->K == 0, "%lld heads, %lld key heads", (long long)a->H,
              (long long)a->K);
    run->scratch = compute_private_scratch(run->c, run->c->kernels.attention_scratch(a->T, a->h),
                                           &run->stride);
    pool_run(run->c->pool, (size_t)n_tasks, task, run);
}

static void attention_forward_task(void *ctx, size_t task, int thread)
{
    const struct attention *run = ctx;
    const struct compute_attention *a = run->a;
    int64_t pairs = a->B * a->H, pair = (int64_t)task % pairs;
    int64_t block = run->blocks - 1 - (int64_t)task / pairs;
    int64_t t0 = block * QUERY_BLOCK;
    run->c->kernels.attention_forward(a, pair / a->H, pair % a->H, t0, MIN(t0 + QUERY_BLOCK, a->T),
                                      run->scratch + (size_t)thread * run->stride);
}

void compute_attention_forward(compute_t *c, const struct compute_attention *a)
{
    struct attention run = {.c = c, .a = a, .blocks = ceil_div(a->T, QUERY_BLOCK)};
    run_attention(&run, attention_forward_task, a->B * a->H * run.blocks);
}

static void attention_backward_task(void *ctx, size_t task, int thread)
{
    const struct attention *run = ctx;
    const struct compute_attention *a = run->a;
    run->c->kernels.attention_backward(a, run->d, (int64_t)task / a->K, (int64_t)task % a->K,
                                       run->scratch + (size_t)thread * run->stride);
}

void compute_attention_backward(compute_t *c, const struct compute_attention *a,
                                const struct compute_attention_grad *d)
{
    CHECK_MSG(a->lse, "the backward pass needs the lse of the forward pass");
    struct attention run = {.c = c, .a = a, .d = d};
    run_attention(&run, attention_backward_task, a->B * a->K);
}

/* ------------------------------------------------------------------ rotation table */

size_t compute_rope_table_floats(int64_t max_positions, int64_t h)
{
    return (size_t)(max_positions * h);
}

void compute_rope_table(int64_t max_positions, int64_t h, double theta, float *table)
{
    for (int64_t pos = 0; pos < max_positions; pos++)
        for (int64_t i = 0; i < h / 2; i++) {
            double angle = (double)pos * pow(theta, -2.0 * (double)i / (double)h);
            table[pos * h + i] = (float)cos(angle);
            table[pos * h + h / 2 + i] = (float)sin(angle);
        }
}
