/* compute_ops_attention.c: attention over all threads, and the rotation table.
 *
 * Forward: one task is a block of queries of one head of one sequence. Backward: one task is a key
 * head of a sequence with all query heads that share it, so that dk and dv are summed by one task
 * in one order. Tasks are ordered longest first (late query blocks see the most keys), which lets
 * threads finish together. */
#include <math.h>

#include "compute/compute_internal.h"

enum { QUERY_BLOCK = 128 };

struct attention {
    compute_t *c;
    const struct compute_attention *a;
    int64_t t0, blocks; /* queries from t0 on, in blocks of QUERY_BLOCK */
    const void *dout;
    void *dq, *dk, *dv;
    char *scratch;
    size_t stride;
};

static void attention_check(const struct compute_attention *a)
{
    CHECK_MSG(a->K > 0 && a->H % a->K == 0, "%lld heads, %lld key heads", (long long)a->H,
              (long long)a->K);
}

static void attention_scratch_take(struct attention *run)
{
    const struct compute_attention *a = run->a;
    run->scratch = compute_private_scratch(run->c, run->c->kernels.attention_scratch(a->T, a->h),
                                           &run->stride);
}

static void attention_forward_task(void *ctx, size_t task, int thread)
{
    const struct attention *run = ctx;
    const struct compute_attention *a = run->a;
    int64_t pairs = a->B * a->H, pair = (int64_t)task % pairs;
    int64_t block = run->blocks - 1 - (int64_t)task / pairs;
    int64_t t0 = run->t0 + block * QUERY_BLOCK;
    run->c->kernels.attention_forward(a, pair / a->H, pair % a->H, t0, MIN(t0 + QUERY_BLOCK, a->T),
                                      run->scratch + (size_t)thread * run->stride);
}

static void attention_forward_from(compute_t *c, const struct compute_attention *a, int64_t t0)
{
    attention_check(a);
    struct attention run = {.c = c, .a = a, .t0 = t0};
    run.blocks = ceil_div(a->T - t0, QUERY_BLOCK);
    attention_scratch_take(&run);
    pool_run(c->pool, (size_t)(a->B * a->H * run.blocks), attention_forward_task, &run);
}

void compute_attention_forward(compute_t *c, const struct compute_attention *a)
{
    attention_forward_from(c, a, 0);
}

static void attention_backward_task(void *ctx, size_t task, int thread)
{
    const struct attention *run = ctx;
    const struct compute_attention *a = run->a;
    run->c->kernels.attention_backward(a, (int64_t)task / a->K, (int64_t)task % a->K, run->dout,
                                       run->dq, run->dk, run->dv,
                                       run->scratch + (size_t)thread * run->stride);
}

void compute_attention_backward(compute_t *c, const struct compute_attention *a, const void *dout,
                                void *dq, void *dk, void *dv)
{
    attention_check(a);
    CHECK_MSG(a->lse, "the backward pass needs the lse of the forward pass");
    CHECK(a->ld_kv == 0 || a->ld_kv == a->ld);
    struct attention run = {.c = c, .a = a, .dout = dout, .dq = dq, .dk = dk, .dv = dv};
    attention_scratch_take(&run);
    pool_run(c->pool, (size_t)(a->B * a->K), attention_backward_task, &run);
}

/* The n new queries are the last of T = pos + n positions; q and out are addressed as if rows for
 * the first pos positions stood before them, which the kernel never touches. */
void compute_attention_cached(compute_t *c, int64_t n, int64_t pos, int64_t H, int64_t K, int64_t h,
                              const void *q, int64_t ld_q, const void *k, const void *v,
                              int64_t ld_kv, float multiplier, float cap, int64_t temperature_len,
                              void *out)
{
    size_t size = compute_dtype_size(c->dtype);
    struct compute_attention a = {.B = 1, .T = pos + n, .H = H, .K = K, .h = h, .ld = ld_q};
    a.ld_kv = ld_kv;
    a.q = (const void *)((uintptr_t)q - (size_t)(pos * ld_q) * size);
    a.k = k;
    a.v = v;
    a.ld_out = H * h;
    a.out = (void *)((uintptr_t)out - (size_t)(pos * a.ld_out) * size);
    a.multiplier = multiplier;
    a.cap = cap;
    a.temperature_len = temperature_len;
    attention_forward_from(c, &a, pos);
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
