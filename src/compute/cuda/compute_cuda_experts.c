/* compute_cuda_experts.c: launches of compute_cuda_experts.cu. */
#include "compute/cuda/compute_cuda_internal.h"

enum { BALANCE_ROUNDS = 4 };                    /* as in compute_cpu_balance.c */
#define MOST_PARTIAL_FLOATS ((int64_t)16 << 20) /* of sums over rows for the router's weights */

/* A launch with shared memory of E numbers for a block. */
static void launch_experts(struct compute_cuda *q, const char *kernel, int64_t blocks,
                           const void *args, uint32_t args_bytes, int64_t E)
{
    compute_cuda_launch(q, &(struct compute_cuda_launch){.kernel = kernel,
                                                         .grid = {(uint32_t)blocks, 1, 1},
                                                         .block = CUDA_BLOCK,
                                                         .shared = (uint32_t)E * 4,
                                                         .args = args,
                                                         .args_bytes = args_bytes});
}

/* Blocks where a warp has a row. */
static int64_t warps(int64_t rows)
{
    return cuda_ceil(rows, CUDA_BLOCK / 32);
}

/* ------------------------------------------------------------------ gated unit */

void compute_cuda_glu_forward(struct compute_cuda *q, const struct compute_glu *g)
{
    struct cuda_glu_args a = {.M = g->M,
                              .F = g->F,
                              .gu = g->gu,
                              .w = g->w,
                              .act = g->act,
                              .silu = g->activation == COMPUTE_SILU};
    CUDA_LAUNCH(q, CUDA_ACT(q, "cuda_glu_forward"), compute_cuda_blocks(g->M * g->F), 1, a);
}

void compute_cuda_glu_backward(struct compute_cuda *q, const struct compute_glu *g,
                               const struct compute_glu_grad *d)
{
    CHECK(g->activation == COMPUTE_GELU_TANH);
    struct cuda_glu_args a = {.M = g->M,
                              .F = g->F,
                              .gu = g->gu,
                              .w = g->w,
                              .act = g->act,
                              .d_act = d->d_act,
                              .dgu = d->dgu,
                              .dw = d->dw};
    CUDA_LAUNCH(q, CUDA_ACT(q, "cuda_glu_backward"), g->M, 1, a);
}

/* ------------------------------------------------------------------ router */

static struct cuda_router_args router_args(const struct compute_router *r)
{
    CHECK_MSG(r->E >= 1 && r->E <= COMPUTE_MAX_EXPERTS && r->k >= 1 && r->k <= r->E,
              "%lld of %lld experts", (long long)r->k, (long long)r->E);
    return (struct cuda_router_args){.M = r->M,
                                     .D = r->D,
                                     .E = r->E,
                                     .k = r->k,
                                     .x = r->x,
                                     .W = r->W,
                                     .bias = r->bias,
                                     .probs = r->probs,
                                     .lse = r->lse,
                                     .top = r->top,
                                     .weight = r->weight,
                                     .cap = r->cap,
                                     .renormalise = r->renormalise};
}

void compute_cuda_router_forward(struct compute_cuda *q, const struct compute_router *r)
{
    struct cuda_router_args a = router_args(r);
    launch_experts(q, CUDA_ACT(q, "cuda_router_forward"), r->M, &a, sizeof a, r->E);
}

void compute_cuda_router_select(struct compute_cuda *q, const struct compute_router *r)
{
    struct cuda_router_args a = router_args(r);
    CUDA_LAUNCH(q, "cuda_router_select", warps(r->M), 1, a);
}

void compute_cuda_router_backward(struct compute_cuda *q, const struct compute_router *r,
                                  const struct compute_router_grad *d)
{
    CHECK(!r->renormalise);
    int64_t width = r->E * r->D, most = MAX(1, MOST_PARTIAL_FLOATS / width);
    most = MIN(most, 65535 / r->E);
    struct cuda_router_grad_args a = {.M = r->M,
                                      .D = r->D,
                                      .E = r->E,
                                      .k = r->k,
                                      .rows = MAX(CUDA_GAIN_ROWS, cuda_ceil(r->M, most)),
                                      .x = r->x,
                                      .W = r->W,
                                      .probs = r->probs,
                                      .lse = r->lse,
                                      .d_weight = d->d_weight,
                                      .f = d->f,
                                      .top = r->top,
                                      .dx = d->dx,
                                      .cap = r->cap,
                                      .aux_coef = d->aux_coef,
                                      .z_coef = d->z_coef};
    int64_t chunks = cuda_ceil(r->M, a.rows), logits = cuda_ceil(r->M * r->E, 64) * 64;
    a.d_logits = q->scratch(q->device, (size_t)(logits + MAX(chunks, 1) * width) * sizeof(float));
    a.partial = a.d_logits + logits;
    CUDA_LAUNCH(q, "cuda_router_logits", warps(r->M), 1, a);
    CUDA_LAUNCH(q, "cuda_router_dx", compute_cuda_blocks(r->M * r->D), 1, a);
    CUDA_LAUNCH(q, CUDA_ACT(q, "cuda_router_dW"), cuda_ceil(r->D, CUDA_BLOCK), chunks * r->E, a);
    struct cuda_columns_args sum = {chunks, width, a.partial, d->dW, d->accumulate};
    compute_cuda_columns(q, &sum);
}

void compute_cuda_router_balance(struct compute_cuda *q, const struct compute_router *r,
                                 float *bias)
{
    if (r->k >= r->E || r->M == 0) return;
    float *kth = q->scratch(q->device, (size_t)(2 * r->M + r->E) * sizeof *kth);
    struct cuda_balance_args a = {r->M, r->E, r->k,       r->probs,
                                  bias, kth,  kth + r->M, kth + 2 * r->M};
    for (int round = 0; round < BALANCE_ROUNDS; round++) {
        CUDA_LAUNCH(q, "cuda_balance_rows", warps(r->M), 1, a);
        CUDA_LAUNCH(q, "cuda_balance_quantile", r->E, 1, a);
        CUDA_LAUNCH(q, "cuda_balance_bias", 1, 1, a);
    }
}

/* ------------------------------------------------------------------ dispatch, gather, combine */

void compute_cuda_dispatch(struct compute_cuda *q, const struct compute_dispatch *d, int64_t rows)
{
    int64_t slots = d->M * d->k, chunks = cuda_ceil(slots, CUDA_SLOTS);
    CHECK(d->E >= 1 && d->E <= COMPUTE_MAX_EXPERTS && chunks <= INT32_MAX);
    CHECK(rows >= slots && rows <= INT32_MAX);
    struct cuda_dispatch_args a = {.slots = slots,
                                   .E = d->E,
                                   .k = d->k,
                                   .align = d->align,
                                   .rows = rows,
                                   .chunks = (int32_t)chunks,
                                   .top = d->top,
                                   .offset = d->offset,
                                   .count = d->count,
                                   .slot_row = d->slot_row,
                                   .row_token = d->row_token,
                                   .row_slot = d->row_slot};
    a.counts = q->scratch(q->device, (size_t)(MAX(chunks, 1) * d->E) * sizeof *a.counts);
    launch_experts(q, "cuda_dispatch_count", chunks, &a, sizeof a, d->E);
    CUDA_LAUNCH(q, "cuda_dispatch_offsets", 1, 1, a);
    CUDA_LAUNCH(q, "cuda_dispatch_padding", compute_cuda_blocks(rows), 1, a);
    CUDA_LAUNCH(q, "cuda_dispatch_place", chunks, 1, a);
}

void compute_cuda_gather(struct compute_cuda *q, int64_t rows, int64_t D, const int32_t *row_token,
                         const void *x, void *y)
{
    struct cuda_gather_args a = {rows, D, row_token, x, y};
    CUDA_LAUNCH(q, CUDA_ACT(q, "cuda_gather"), compute_cuda_blocks(rows * D), 1, a);
}

void compute_cuda_combine(struct compute_cuda *q, const struct compute_combine *m)
{
    struct cuda_combine_args a = {m->M, m->D, m->k,   m->slot_row, m->y,
                                  m->a, m->b, m->out, m->scale};
    CUDA_LAUNCH(q, CUDA_ACT(q, "cuda_combine"), compute_cuda_blocks(m->M * m->D), 1, a);
}

void compute_cuda_pick(struct compute_cuda *q, int64_t n, const int32_t *index, const float *x,
                       float *out)
{
    struct cuda_pick_args a = {n, index, x, out};
    CUDA_LAUNCH(q, "cuda_pick", compute_cuda_blocks(n), 1, a);
}

void compute_cuda_share(struct compute_cuda *q, int64_t E, const int32_t *count, double total,
                        float *share)
{
    struct cuda_share_args a = {E, count, share, total};
    CUDA_LAUNCH(q, "cuda_share", compute_cuda_blocks(E), 1, a);
}

void compute_cuda_routed(struct compute_cuda *q, const struct compute_routed *r)
{
    struct cuda_routed_args a = {r->M, r->E, r->probs, r->lse, r->count, r->out};
    CUDA_LAUNCH(q, "cuda_routed", r->E + 1, 1, a);
}
