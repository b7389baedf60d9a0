/* compute_cuda_attention.c: launches of compute_cuda_attention.cu and compute_cuda_flash.cu. */
#include "compute/cuda/compute_cuda_internal.h"

enum { MOST_HEAD = 512, FLASH_HEAD = 128, FLASH_TILE = 64, FLASH_THREADS = 128 };

static bool is_aligned(const void *p, int64_t ld)
{
    return (uintptr_t)p % 16 == 0 && ld % 8 == 0;
}

static struct cuda_attention_args attention_args(const struct compute_attention *a)
{
    CHECK_MSG(a->K > 0 && a->H % a->K == 0 && a->h >= 1 && a->h <= MOST_HEAD,
              "%lld heads of %lld, %lld key heads", (long long)a->H, (long long)a->h,
              (long long)a->K);
    bool aligned = a->h % 8 == 0 && is_aligned(a->q, a->ld) && is_aligned(a->k, a->ld) &&
                   is_aligned(a->v, a->ld) && is_aligned(a->out, a->ld_out);
    return (struct cuda_attention_args){.B = a->B,
                                        .T = a->T,
                                        .H = a->H,
                                        .K = a->K,
                                        .h = a->h,
                                        .ld = a->ld,
                                        .ld_out = a->ld_out,
                                        .temperature_len = a->temperature_len,
                                        .q = a->q,
                                        .k = a->k,
                                        .v = a->v,
                                        .out = a->out,
                                        .lse = a->lse,
                                        .doc_start = a->doc_start,
                                        .multiplier = a->multiplier,
                                        .cap = a->cap,
                                        .aligned = aligned};
}

/* The kernels of tensor cores take bfloat16 and heads up to 128; they come in two widths. */
static bool is_fast(const struct compute_cuda *q, const struct compute_attention *a)
{
    return q->dtype == COMPUTE_BF16 && a->h <= FLASH_HEAD;
}

enum flash { FORWARD, DQ, DKV };

static void launch_flash(struct compute_cuda *q, enum flash which,
                         const struct cuda_attention_args *a, int64_t heads)
{
    static const char *const names[][2] = {{"cuda_flash_forward_64", "cuda_flash_forward_128"},
                                           {"cuda_flash_dq_64", "cuda_flash_dq_128"},
                                           {"cuda_flash_dkv_64", "cuda_flash_dkv_128"}};
    int wide = a->h > 64, width = wide ? 128 : 64;
    /* Two tiles of keys and values; or one of each, and two of half as many queries and gradients. */
    uint32_t shared = (uint32_t)(4 * FLASH_TILE * width * 2);
    if (which == DKV) shared = (uint32_t)((2 * FLASH_TILE + 4 * FLASH_TILE / 2) * width * 2);
    compute_cuda_launch(
        q, &(struct compute_cuda_launch){
               .kernel = names[which][wide],
               .grid = {(uint32_t)cuda_ceil(a->T, FLASH_TILE), (uint32_t)heads, (uint32_t)a->B},
               .block = FLASH_THREADS,
               .shared = shared,
               .args = a,
               .args_bytes = sizeof *a});
}

void compute_cuda_attention_forward(struct compute_cuda *q, const struct compute_attention *a)
{
    struct cuda_attention_args args = attention_args(a);
    if (is_fast(q, a))
        launch_flash(q, FORWARD, &args, a->H);
    else
        CUDA_LAUNCH(q, CUDA_ACT(q, "cuda_attention_forward"), a->B * a->T, a->H, args);
}

void compute_cuda_attention_backward(struct compute_cuda *q, const struct compute_attention *a,
                                     const struct compute_attention_grad *d)
{
    struct cuda_attention_args args = attention_args(a);
    args.dout = d->dout;
    args.dq = d->dq;
    args.dk = d->dk;
    args.dv = d->dv;
    args.aligned = args.aligned && is_aligned(d->dout, a->ld_out) && is_aligned(d->dq, a->ld) &&
                   is_aligned(d->dk, a->ld) && is_aligned(d->dv, a->ld);
    args.delta = q->scratch(q->device, (size_t)(a->B * a->H * a->T) * sizeof(float));
    CUDA_LAUNCH(q, CUDA_ACT(q, "cuda_attention_delta"),
                cuda_ceil(a->B * a->T * a->H, CUDA_BLOCK / 32), 1, args);
    if (is_fast(q, a)) {
        launch_flash(q, DQ, &args, a->H);
        launch_flash(q, DKV, &args, a->K);
    } else {
        CUDA_LAUNCH(q, CUDA_ACT(q, "cuda_attention_dq"), a->B * a->T, a->H, args);
        CUDA_LAUNCH(q, CUDA_ACT(q, "cuda_attention_dkv"), a->B * a->T, a->K, args);
    }
}

/* ------------------------------------------------------------------ pages */

_Static_assert(sizeof(struct cuda_paged_run) == sizeof(struct compute_paged_run), "");

static struct cuda_paged_args paged_args(const struct compute_paged *p)
{
    CHECK(p->K > 0 && p->H % p->K == 0 && p->h >= 1 && p->h <= MOST_HEAD);
    return (struct cuda_paged_args){.H = p->H,
                                    .K = p->K,
                                    .h = p->h,
                                    .ld = p->ld,
                                    .ld_out = p->ld_out,
                                    .at = (int64_t)p->at,
                                    .temperature_len = p->temperature_len,
                                    .window = p->window,
                                    .runs = (const struct cuda_paged_run *)(const void *)p->runs,
                                    .q = p->q,
                                    .k = p->k,
                                    .v = p->v,
                                    .out = p->out,
                                    .multiplier = p->multiplier,
                                    .cap = p->cap};
}

void compute_cuda_paged_store(struct compute_cuda *q, const struct compute_paged *p)
{
    struct cuda_paged_args a = paged_args(p);
    CUDA_LAUNCH(q, CUDA_ACT(q, "cuda_paged_store"), p->n_runs, COMPUTE_RUN, a);
}

void compute_cuda_paged_attention(struct compute_cuda *q, const struct compute_paged *p)
{
    struct cuda_paged_args a = paged_args(p);
    compute_cuda_launch(
        q, &(struct compute_cuda_launch){.kernel = CUDA_ACT(q, "cuda_paged_attention"),
                                         .grid = {(uint32_t)p->n_runs, COMPUTE_RUN, (uint32_t)p->H},
                                         .block = CUDA_BLOCK,
                                         .args = &a,
                                         .args_bytes = sizeof a});
}
