/* compute_x86_gemm_internal.h: small fp32 matrix products inside attention, on blocks that sit in
 * the first- and second-level cache.
 *
 *   C[m, n] (+)= sum_k A(m, k) B[k, n],   A(m, k) = a[m * am + k * ak],  N a multiple of VL
 *
 * B and C are rows of vectors; an element of A is broadcast, so A may be read along either index
 * and nothing needs packing. A tile of 6 x 4 vectors (AVX2: 6 x 2) lives in registers: 24 (12)
 * independent chains hide the latency of the multiply-add. The sum over k runs in order. */
#ifndef COLOSSUS_COMPUTE_X86_GEMM_INTERNAL_H
#define COLOSSUS_COMPUTE_X86_GEMM_INTERNAL_H

#include "compute/x86/compute_x86_simd_internal.h"

struct gemm_operands {
    int64_t K;
    const float *a;
    int64_t am, ak;
    const float *b;
    int64_t ldb;
    float *c;
    int64_t ldc;
    bool add;
};

typedef void gemm_tile_fn(const struct gemm_operands *o, const float *a, const float *b, float *c);

/* clang-format off */
/* MR and NV are literal constants, not parameters: clang 14 unrolls the loops, and so keeps acc in
 * registers, only where it sees their bounds before inlining. */
#define GEMM_TILE(MR, NV)                                                                          \
    static void gemm_tile_##MR##x##NV(const struct gemm_operands *o, const float *a,               \
                                      const float *b, float *c)                                    \
    {                                                                                              \
        vf acc[MR][NV];                                                                            \
        const int64_t am = o->am, ak = o->ak, ldb = o->ldb, ldc = o->ldc;                          \
        UNROLL for (int i = 0; i < MR; i++) {                                                      \
            UNROLL for (int j = 0; j < NV; j++)                                                    \
                acc[i][j] = o->add ? v_load(c + i * ldc + j * VL) : v_zero();                      \
        }                                                                                          \
        for (int64_t k = o->K; k > 0; k--, a += ak, b += ldb) {                                    \
            vf row[NV];                                                                            \
            UNROLL for (int j = 0; j < NV; j++)                                                    \
                row[j] = v_load(b + j * VL);                                                       \
            UNROLL for (int i = 0; i < MR; i++) {                                                  \
                vf factor = v_set1(a[i * am]);                                                     \
                UNROLL for (int j = 0; j < NV; j++)                                                \
                    acc[i][j] = v_fma(factor, row[j], acc[i][j]);                                  \
            }                                                                                      \
        }                                                                                          \
        UNROLL for (int i = 0; i < MR; i++) {                                                      \
            UNROLL for (int j = 0; j < NV; j++)                                                    \
                v_store(c + i * ldc + j * VL, acc[i][j]);                                          \
        }                                                                                          \
    }                                                                                              \
    struct gemm_operands
/* clang-format on */

GEMM_TILE(6, 1);
GEMM_TILE(4, 1);
GEMM_TILE(2, 1);
GEMM_TILE(1, 1);
GEMM_TILE(6, 2);
GEMM_TILE(4, 2);
GEMM_TILE(2, 2);
GEMM_TILE(1, 2);
#if VL == 16
GEMM_TILE(6, 4);
GEMM_TILE(4, 4);
GEMM_TILE(2, 4);
GEMM_TILE(1, 4);
#endif

/* One panel of NV vectors of columns, all rows of C. */
static void gemm_panel(const struct gemm_operands *o, int64_t M, gemm_tile_fn *const tile[4],
                       const float *b, float *c)
{
    static const int rows[4] = {6, 4, 2, 1};
    int64_t m = 0;
    for (int i = 0; i < 4; i++)
        for (; M - m >= rows[i]; m += rows[i])
            tile[i](o, o->a + m * o->am, b, c + m * o->ldc);
}

static void gemm(int64_t M, int64_t N, struct gemm_operands o)
{
    static gemm_tile_fn *const one[4] = {gemm_tile_6x1, gemm_tile_4x1, gemm_tile_2x1,
                                         gemm_tile_1x1};
    static gemm_tile_fn *const two[4] = {gemm_tile_6x2, gemm_tile_4x2, gemm_tile_2x2,
                                         gemm_tile_1x2};
#if VL == 16
    static gemm_tile_fn *const four[4] = {gemm_tile_6x4, gemm_tile_4x4, gemm_tile_2x4,
                                          gemm_tile_1x4};
#endif
    int64_t n = 0;
#if VL == 16
    for (; N - n >= 4 * VL; n += 4 * VL)
        gemm_panel(&o, M, four, o.b + n, o.c + n);
#endif
    for (; N - n >= 2 * VL; n += 2 * VL)
        gemm_panel(&o, M, two, o.b + n, o.c + n);
    for (; n < N; n += VL)
        gemm_panel(&o, M, one, o.b + n, o.c + n);
}

#endif
