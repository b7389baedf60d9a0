/* compute_cuda_args_internal.h: what each kernel is given: one struct by value, so that a launch is
 * a name, a grid, a block and a struct. Read by nvcc (the kernels, *.cu) and by the C compiler (who
 * launches them), so it holds plain types only. Every pointer is an address on the device; act
 * pointers are float or bfloat16 as the kernel's name ends in _f32 or _bf16. Letters: compute.h. */
#ifndef COLOSSUS_COMPUTE_CUDA_ARGS_INTERNAL_H
#define COLOSSUS_COMPUTE_CUDA_ARGS_INTERNAL_H

#include <stdint.h>

enum {
    CUDA_BLOCK = 256,     /* threads of a block, where a kernel does not say otherwise */
    CUDA_GAIN_ROWS = 128, /* rows of a partial sum over rows */
    CUDA_SLOTS = 256,     /* slots of a chunk of the dispatch: a thread each */
    CUDA_SUM = 1 << 16,   /* numbers of a partial sum over a whole array */
    CUDA_TILE = 64,       /* rows, and columns, of a tile of a product */
};

/* Element by element: y = x, y = a x, y = a x + b y. */
struct cuda_elements_args {
    int64_t n;
    const void *x;
    void *y;
    float a, b;
};

/* A norm of rows; x fp32. */
struct cuda_norm_args {
    int64_t D;
    const float *x, *g;
    void *y;
    float *rstd; /* NULL: not wanted */
    float eps;
};
struct cuda_norm_grad_args {
    int64_t D;
    const float *x, *g, *rstd;
    const void *dy;
    float *dx;
    int32_t add;
};
struct cuda_seam_args {
    int64_t D;
    const float *h, *g_post, *g_next;
    const void *y;
    float *h_out;
    void *a;
    float *rstd_post, *rstd_next;
    float eps, scale;
};
struct cuda_seam_post_args {
    int64_t D;
    const float *dh, *g_post, *rstd_post;
    const void *y;
    void *dy;
};
/* partial[chunk, d] = sum over the chunk's rows of dy x rstd; which of dy and x is act, the kernel's
 * name says. */
struct cuda_gain_args {
    int64_t M, D;
    const void *dy, *x;
    const float *rstd;
    float *partial;
};
/* out[i] (+)= sum over n of partial[n, i], in the order of n. */
struct cuda_columns_args {
    int64_t n, width;
    const float *partial;
    float *out;
    int32_t accumulate;
};

struct cuda_rope_args {
    int64_t M, T, heads, h, ld;
    const int32_t *position; /* NULL: r % T */
    const float *table;
    void *x;
    int32_t backward, pairs;
};
struct cuda_head_norm_args {
    int64_t M, heads, h, ld;
    const float *g;
    void *x;
    float eps;
};
struct cuda_bias_args {
    int64_t M, n, ld;
    const float *b;
    void *x;
};
struct cuda_embed_args {
    int64_t M, D, first, count;
    const uint32_t *ids;
    const float *table;
    float *h; /* forward: out */
    const float *dh;
    float *d_table; /* backward: out */
    float scale;
};

/* ------------------------------------------------------------------ gated unit, experts */

struct cuda_glu_args {
    int64_t M, F;
    const void *gu;
    const float *w; /* NULL: 1 */
    void *act;
    const void *d_act; /* backward, as are the next two */
    void *dgu;
    float *dw;    /* NULL: not wanted */
    int32_t silu; /* forward only */
};
struct cuda_router_args {
    int64_t M, D, E, k;
    const void *x;
    const float *W, *bias; /* bias NULL: none */
    float *probs, *lse;
    int32_t *top;
    float *weight;
    float cap;
    int32_t renormalise;
};
struct cuda_router_grad_args {
    int64_t M, D, E, k;
    int64_t rows; /* of a partial sum of dW */
    const void *x;
    const float *W, *probs, *lse, *d_weight, *f;
    const int32_t *top;
    float *d_logits; /* [M, E] of the raw logits */
    float *dx, *partial;
    float cap, aux_coef, z_coef;
};
/* Rounds of compute_cpu_balance.c: thresholds of rows, then quantiles of experts, then the biases. */
struct cuda_balance_args {
    int64_t M, E, k;
    const float *probs;
    float *bias, *kth, *next, *next_bias;
};
struct cuda_dispatch_args {
    int64_t slots, E, k, align;
    int64_t rows; /* upper bound of offset[E]; row_token and row_slot have as many */
    int32_t chunks;
    const int32_t *top;
    int32_t *counts; /* [chunks, E] of each chunk, then how many slots lie before it */
    int32_t *offset, *count, *slot_row, *row_token, *row_slot;
};
struct cuda_gather_args {
    int64_t rows, D;
    const int32_t *row_token;
    const void *x;
    void *y;
};
struct cuda_combine_args {
    int64_t M, D, k;
    const int32_t *slot_row;
    const void *y, *a;
    const float *b;
    void *out;
    float scale;
};
/* out[i] = index[i] < 0 ? 0 : x[index[i]] */
struct cuda_pick_args {
    int64_t n;
    const int32_t *index;
    const float *x;
    float *out;
};
/* Block e: slots of expert e, and the sum of its probabilities; the last block: the sum of lse^2. */
struct cuda_routed_args {
    int64_t M, E;
    const float *probs, *lse;
    const int32_t *count;
    double *out; /* [2E + 1] */
};
/* share[e] = count[e] / total */
struct cuda_share_args {
    int64_t E;
    const int32_t *count;
    float *share;
    double total;
};

/* ------------------------------------------------------------------ loss */

struct cuda_loss_args {
    int64_t V, first;
    const float *z;
    const uint32_t *targets;
    float *nll, *lse;
    void *d_logits;
    float multiplier, cap, d_scale;
    int32_t step; /* enum compute_loss_step */
};
struct cuda_logits_args {
    int64_t n;
    float *z;
    float multiplier, cap;
};

/* ------------------------------------------------------------------ reductions and optimisers */

enum { CUDA_SUM_PLAIN, CUDA_SUM_SQUARES, CUDA_SUM_NOT_FINITE };
struct cuda_sum_args {
    int64_t n;
    const float *x;
    const double *partial; /* of the second kernel */
    double *out;
    int32_t kind;
};
struct cuda_adamw_args {
    int64_t n;
    float *p, *m, *v;
    const float *g;
    float lr, beta1, beta2, eps, decay, grad_scale, bias1, bias2;
};
struct cuda_momentum_args {
    int64_t n;
    const float *g;
    float *m, *u;
    float beta, grad_scale;
    int32_t nesterov;
};

/* ------------------------------------------------------------------ attention */

struct cuda_attention_args {
    int64_t B, T, H, K, h, ld, ld_out;
    int64_t temperature_len;
    const void *q, *k, *v;
    void *out;  /* backward: read */
    float *lse; /* NULL: not wanted */
    const int32_t *doc_start;
    const void *dout; /* backward, as is what follows */
    void *dq, *dk, *dv;
    float *delta; /* [B, H, T] dout . out of each query */
    float multiplier, cap;
    int32_t aligned; /* rows of h numbers begin at multiples of 16 bytes */
};
struct cuda_paged_run {
    int64_t row, n, pos;
    void *const *pages;
};
struct cuda_paged_args {
    int64_t H, K, h, ld, ld_out, at, temperature_len, window;
    const struct cuda_paged_run *runs;
    const void *q, *k, *v;
    void *out;
    float multiplier, cap;
};

/* ------------------------------------------------------------------ products */

/* C = alpha op(A) . op(B) + beta C of each group. Groups have ranges of rows, offset[g] to
 * offset[g + 1]: of A and C (CUDA_PRODUCT_ROWS), or of what is summed over (CUDA_PRODUCT_DEPTH),
 * then A and B begin at the first of them. Without offset there is one group, of M rows. */
enum { CUDA_PRODUCT_ROWS, CUDA_PRODUCT_DEPTH };
struct cuda_product_args {
    int64_t M, N, K, lda, ldb, ldc; /* M (ROWS), K (DEPTH): an upper bound where there is offset */
    int64_t b_group, c_group;       /* elements from one group's B, or C, to the next one's */
    const void *A, *B;
    void *C;
    const int32_t *offset;
    int32_t groups, mode;
    int32_t transpose_a, transpose_b;
    int32_t out_bf16;
    int32_t aligned; /* rows of A and B begin at multiples of 16 bytes */
    float alpha, beta;
};

/* CUtensorMap of the driver: two dimensions of bfloat16, tiles in the pattern of 128 bytes. */
struct cuda_tensor_map {
#ifdef __CUDACC__
    __align__(128)
#else
    _Alignas(128)
#endif
        uint64_t opaque[16];
};
/* Y = X . W[g]^T; x: tiles of X [rows, K], w: of W [groups * N, K], 64 x 128 each. */
struct cuda_hopper_args {
    struct cuda_tensor_map x, w;
    int32_t groups, rows, N, K;
    const int32_t *offset;
    void *y;
    int32_t out_bf16;
};

#endif
