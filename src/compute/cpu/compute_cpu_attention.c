/* compute_cpu_attention.c: attention over all threads, and the rotation table.
 *
 * Forward: one task is a block of queries of one head of one sequence. Backward: one task is a key
 * head of a sequence with all query heads that share it, so that dk and dv are summed by one task
 * in one order. Tasks are ordered longest first (late query blocks see the most keys), which lets
 * threads finish together. */
#include <math.h>

#include "compute/cpu/compute_cpu_internal.h"

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

void compute_cpu_attention_forward(compute_t *c, const struct compute_attention *a)
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

void compute_cpu_attention_backward(compute_t *c, const struct compute_attention *a,
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

/* The pair, as a fraction, that makes so many turns in the original context. */
static double pair_of_turns(const struct compute_rotation *r, double turns)
{
    return (double)r->h * log(r->original / (turns * 2 * M_PI)) / (2 * log(r->theta));
}

/* How much of pair i's plain frequency stays, 0 to 1, beside the divided one. */
static double plain_share(const struct compute_rotation *r, int64_t i, double f)
{
    double turns = r->original * f / (2 * M_PI);
    switch (r->scaling) {
    case COMPUTE_ROPE_LINEAR: return 0;
    case COMPUTE_ROPE_LLAMA3:
        return MIN(MAX((turns - r->low_freq) / (r->high_freq - r->low_freq), 0.0), 1.0);
    case COMPUTE_ROPE_YARN: {
        double low = MAX(floor(pair_of_turns(r, r->beta_fast)), 0.0);
        double high = MIN(ceil(pair_of_turns(r, r->beta_slow)), (double)r->h - 1);
        if (low == high) high += 0.001; /* as published: no division by 0 */
        return 1 - MIN(MAX(((double)i - low) / (high - low), 0.0), 1.0);
    }
    default: return 1;
    }
}

void compute_rope_table(int64_t max_positions, const struct compute_rotation *r, float *table)
{
    int64_t h = r->h;
    double size = r->scaling == COMPUTE_ROPE_YARN ? r->size : 1;
    for (int64_t i = 0; i < h / 2; i++) {
        double f = pow(r->theta, -2.0 * (double)i / (double)h), share = plain_share(r, i, f);
        if (share < 1) f = share * f + (1 - share) * f / r->factor;
        if (r->divisors) f /= (double)r->divisors[i];
        for (int64_t pos = 0; pos < max_positions; pos++) {
            table[pos * h + i] = (float)(size * cos((double)pos * f));
            table[pos * h + h / 2 + i] = (float)(size * sin((double)pos * f));
        }
    }
}
