/* compute_kernels_internal.h: the table of single-thread kernels that a backend fills.
 *
 * compute_ops_*.c cut an operation into tasks of whole rows and call these; a kernel sees only its
 * rows and no threads. A table exists per backend and number format of activations; act pointers
 * are float or bf16_t accordingly. tests/unit/test_compute_kernels.c compares every entry of every
 * table this CPU can run with the reference table. Semantics: see the operation of the same name
 * in compute.h. An entry that a backend leaves NULL is taken from the reference table. */
#ifndef COLOSSUS_COMPUTE_KERNELS_INTERNAL_H
#define COLOSSUS_COMPUTE_KERNELS_INTERNAL_H

#include "compute/compute.h"

/* Whether this build has the tables of compute/x86/. */
#if defined(__x86_64__)
#    define COMPUTE_X86_KERNELS 1
#else
#    define COMPUTE_X86_KERNELS 0
#endif

struct compute_kernels {
    const char *name;

    void (*to_act)(size_t n, const float *x, void *y);
    void (*from_act)(size_t n, const void *x, float *y);

    void (*rmsnorm)(int64_t rows, int64_t D, float eps, const float *x, const float *g, void *y,
                    float *rstd);
    /* dg_partial [D] is added to. */
    void (*rmsnorm_backward)(int64_t rows, int64_t D, const float *x, const float *g,
                             const float *rstd, const void *dy, float *dx, bool add,
                             float *dg_partial);
    /* s holds the pointers of the first row; rows of it are done. */
    void (*seam_forward)(const struct compute_seam *s, int64_t rows);
    void (*seam_backward)(const struct compute_seam *s, int64_t rows, const void *da, float *dh,
                          void *dy, float *dg_post_partial, float *dg_next_partial);

    /* Queries [t0, t1) of sequence b, head i; scratch of attention_scratch(T, h) bytes, 64-byte
     * aligned, private to the caller. */
    size_t (*attention_scratch)(int64_t T, int64_t h);
    void (*attention_forward)(const struct compute_attention *a, int64_t b, int64_t head,
                              int64_t t0, int64_t t1, void *scratch);
    /* All queries of the H / K heads that share key head kv of sequence b: dq, dk, dv of them. */
    void (*attention_backward)(const struct compute_attention *a, int64_t b, int64_t kv,
                               const void *dout, void *dq, void *dk, void *dv, void *scratch);
    /* Row r of x is at position (row0 + r) % T + first_pos; x points to the first of the rows. */
    void (*rope)(int64_t rows, int64_t first_pos, int64_t T, int64_t row0, int64_t n_heads,
                 int64_t h, const float *table, bool backward, void *x, int64_t ld);

    void (*glu_forward)(int64_t rows, int64_t F, const void *gu, const float *w, void *act);
    void (*glu_backward)(int64_t rows, int64_t F, const void *gu, const float *w, const void *d_act,
                         void *act, void *dgu, float *dw);

    /* rows of r from row 0 of its pointers; top is int32, ties to the smaller index. */
    void (*router_forward)(const struct compute_router *r, int64_t rows);
    /* dW_partial [E, D] is added to; M_total is the M of the means. */
    void (*router_backward)(const struct compute_router *r, int64_t rows, int64_t M_total,
                            const float *d_weight, const float *f, float aux_coef, float z_coef,
                            float *dx, float *dW_partial);
    void (*gather)(int64_t rows, int64_t D, const int32_t *row_token, const void *x, void *y);
    void (*combine)(int64_t rows, int64_t D, int64_t k, const int32_t *slot_row, const void *y,
                    const void *a, const float *b, float scale, void *out);
    void (*scale)(size_t n, float scale, const void *x, void *y);

    void (*embed)(int64_t rows, int64_t D, const uint32_t *ids, const float *table, float scale,
                  float *h);
    /* columns [d0, d1) of all M rows */
    void (*embed_backward)(int64_t M, int64_t D, int64_t d0, int64_t d1, const uint32_t *ids,
                           const float *dh, float scale, float *d_table);
    void (*cross_entropy)(int64_t rows, int64_t V, const float *z, const uint32_t *targets,
                          float multiplier, float cap, float d_scale, float *nll, void *d_logits);
    void (*logits)(int64_t rows, int64_t V, float multiplier, float cap, float *z);

    double (*sum_squares)(size_t n, const float *x);
    double (*sum)(size_t n, const float *x);
    bool (*all_finite)(size_t n, const float *x);
    void (*adamw)(const struct compute_adamw *o, float bias1, float bias2, size_t n, float *p,
                  const float *g, float *m, float *v);
    void (*momentum)(size_t n, float beta, bool nesterov, float grad_scale, const float *g,
                     float *m, float *u);
    void (*axpby)(size_t n, float a, const float *x, float b, float *y);

    /* C[M, N] = alpha * op(A) . op(B) + beta * C for one tile on one thread; A, B of the table's
     * act format, C of c_dtype. The reference's plain loops; fast backends use oneDNN
     * (compute_linear.c) and leave this NULL. */
    void (*matmul)(bool ta, bool tb, int64_t M, int64_t N, int64_t K, float alpha, const void *A,
                   int64_t lda, const void *B, int64_t ldb, float beta, void *C,
                   enum compute_dtype c_dtype, int64_t ldc);
};

/* The table of a backend for a format, or NULL where this build or CPU lacks it. */
const struct compute_kernels *compute_kernels_reference(enum compute_dtype dtype);
const struct compute_kernels *compute_kernels_avx2(enum compute_dtype dtype);
const struct compute_kernels *compute_kernels_avx512(enum compute_dtype dtype);

#endif
