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

#endif
