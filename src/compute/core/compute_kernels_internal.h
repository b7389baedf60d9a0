/* compute_kernels_internal.h: the table of single-thread kernels that a backend fills.
 *
 * compute_cpu_*.c cut an operation into tasks of whole rows and call these. A kernel takes the
 * operation as its caller described it (compute.h) and does rows [first, first + rows) of it; it
 * knows no threads. A table exists per backend and number format of activations; act pointers are
 * float or bf16_t accordingly, and fills every entry but, on fast backends, matmul.
 * tests/unit/test_compute_kernels.c compares every entry of every table this CPU can run with the
 * reference table. */
#ifndef COLOSSUS_COMPUTE_KERNELS_INTERNAL_H
#define COLOSSUS_COMPUTE_KERNELS_INTERNAL_H

#include "compute/compute.h"

/* Whether this build has the tables of compute/x86/. */
#if defined(__x86_64__)
#    define COMPUTE_X86_KERNELS 1
#else
#    define COMPUTE_X86_KERNELS 0
#endif

/* c [rows, COMPUTE_PANEL] fp32 (+)= X [rows, K] . W. W is a panel: COMPUTE_PANEL columns of the
 * product, [K, COMPUTE_PANEL] float, or of bfloat16 pairs of the summed dimension side by side,
 * [ceil(K / 2), COMPUTE_PANEL, 2], the last one's second half 0 where K is odd. Each number is summed
 * in the order of K with the same instructions whatever `rows` is. */
#define COMPUTE_PANEL 64
struct compute_panel {
    int64_t rows, K, ld; /* ld: of X, elements */
    const void *x, *w;   /* act */
    float *c;
    bool add;
};

/* Query heads [head, head + heads), which share a key head, of run `run` of p, and blocks [first, first + n)
 * of the keys that its first query sees; blocks begin at multiples of COMPUTE_PAGED_BLOCK. */
#define COMPUTE_PAGED_BLOCK (8 * COMPUTE_PAGE)
struct compute_paged_part {
    const struct compute_paged *p;
    int64_t run, head, heads, first, n;
    float *sums; /* of all blocks */
};

/* Rows of X rounded for products with codes: per 32 numbers a scale, and the sum of the 16-bit numbers
 * times it; per 16 the sum. A row has B = in / 32 blocks. */
struct compute_rounded {
    int16_t *x;     /* [rows, 32 B] */
    float *scales;  /* [rows, B]: largest magnitude / COMPUTE_ROUND_MOST, 0 of next to nothing */
    float *sums;    /* [rows, B] */
    int32_t *parts; /* [rows, 2 B] */
};
#define COMPUTE_ROUND_MOST  32767.0f
#define COMPUTE_ROUND_LEAST 1e-30f /* a block without a larger magnitude counts as zeros */

/* c [rows, COMPUTE_BAND] fp32, rows ldc apart, = rows of X times COMPUTE_BAND rows of W. How a band
 * lies in memory: compute_codes_internal.h. */
#define COMPUTE_BAND 16
struct compute_band {
    const struct compute_codes *form;
    int64_t rows, blocks;
    uint8_t *codes; /* read only */
    struct compute_rounded x;
    float *c;
    int64_t ldc;
};

struct compute_kernels {
    const char *name;

    void (*to_act)(size_t n, const float *x, void *y);
    void (*from_act)(size_t n, const void *x, float *y);
    void (*scale)(size_t n, float scale, const void *x, void *y);

    /* Gradients that are sums over rows go to partial arrays, which are added to: one for each
     * task, so that the order of the sum does not depend on threads. d's own are not touched. */
    void (*rmsnorm)(const struct compute_norm *n, int64_t first, int64_t rows);
    void (*rmsnorm_backward)(const struct compute_norm *n, const struct compute_norm_grad *d,
                             int64_t first, int64_t rows, float *dg_partial);
    void (*seam_forward)(const struct compute_seam *s, int64_t first, int64_t rows);
    void (*seam_backward)(const struct compute_seam *s, const struct compute_seam_grad *d,
                          int64_t first, int64_t rows, float *dg_post_partial,
                          float *dg_next_partial);

    /* Queries [t0, t1) of sequence b, head i; scratch of attention_scratch(T, h) bytes, 64-byte
     * aligned, private to the caller. */
    size_t (*attention_scratch)(int64_t T, int64_t h);
    void (*attention_forward)(const struct compute_attention *a, int64_t b, int64_t head,
                              int64_t t0, int64_t t1, void *scratch);
    /* All queries of the H / K heads that share key head kv of sequence b: dq, dk, dv of them. */
    void (*attention_backward)(const struct compute_attention *a,
                               const struct compute_attention_grad *d, int64_t b, int64_t kv,
                               void *scratch);
    /* Scratch of paged_scratch(queries times heads, h) bytes, as above. paged_attention takes all
     * blocks (n of them), and so do paged_sum, some blocks at a time by whatever threads, each to its
     * paged_floats(queries times heads, h) of sums, and then paged_join: the same bits. NULL: there is
     * only paged_attention. */
    size_t (*paged_scratch)(int64_t rows, int64_t h);
    size_t (*paged_floats)(int64_t rows, int64_t h);
    void (*paged_attention)(const struct compute_paged_part *t, void *scratch);
    void (*paged_sum)(const struct compute_paged_part *t, void *scratch);
    void (*paged_join)(const struct compute_paged_part *t, void *scratch);
    void (*rope)(const struct compute_rope *p, int64_t first, int64_t rows);
    void (*head_norm)(const struct compute_head_norm *n, int64_t first, int64_t rows);
    void (*bias)(const struct compute_bias *b, int64_t first, int64_t rows);

    void (*glu_forward)(const struct compute_glu *g, int64_t first, int64_t rows);
    void (*glu_backward)(const struct compute_glu *g, const struct compute_glu_grad *d,
                         int64_t first, int64_t rows);

    void (*router_forward)(const struct compute_router *r, int64_t first, int64_t rows);
    void (*router_backward)(const struct compute_router *r, const struct compute_router_grad *d,
                            int64_t first, int64_t rows, float *dW_partial);
    void (*combine)(const struct compute_combine *m, int64_t first, int64_t rows);

    void (*embed)(const struct compute_embed *e, int64_t first, int64_t rows, const float *table,
                  float *h);
    /* columns [d0, d1) of all M rows */
    void (*embed_backward)(const struct compute_embed *e, int64_t d0, int64_t d1, const float *dh,
                           float *d_table);
    void (*cross_entropy)(const struct compute_loss *l, int64_t first, int64_t rows);
    void (*logits)(int64_t rows, int64_t V, float multiplier, float cap, float *z);

    double (*sum_squares)(size_t n, const float *x);
    bool (*all_finite)(size_t n, const float *x);
    /* Elements [first, first + n); bias1 and bias2 are 1 - beta^step. */
    void (*adamw)(const struct compute_adamw *o, float bias1, float bias2, size_t first, size_t n);
    void (*momentum)(const struct compute_momentum *o, size_t first, size_t n);
    void (*axpby)(size_t n, float a, const float *x, float b, float *y);

    /* A piece of a product with weights that are held for inference. */
    void (*panel)(const struct compute_panel *p);
    /* Blocks of 32 of X, one after the other, and a band of a product with codes. */
    void (*round)(int64_t blocks, const void *x, const struct compute_rounded *to);
    void (*band)(const struct compute_band *b);
    /* The whole product on one thread; A and B of the table's act format. The reference's plain
     * loops; fast backends use oneDNN or AMX tiles (compute_cpu_linear.c) and leave this NULL. */
    void (*matmul)(const struct compute_matmul *m);
};

#endif
