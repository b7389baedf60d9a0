/* compute_x86_paged_dot_internal.h: the two products of attention over pages by the dot-product
 * instruction of AVX512-BF16, which multiplies pairs of bfloat16 along the summed index: of the head
 * for scores, of the keys for values.
 *
 *   C[m, n] (+)= sum_k A[m, k] . B[k, n]     A, B of words, a word a pair; C fp32
 *
 * Pages hold single numbers, so a page's keys or values are put into pairs first, once for all rows
 * of a task. Each number of C is one chain in the order of k, by the same instruction whatever the
 * tile is.
 *
 * Included by compute_x86_paged_avx512bf16.c only. */
#ifndef COLOSSUS_COMPUTE_X86_PAGED_DOT_INTERNAL_H
#define COLOSSUS_COMPUTE_X86_PAGED_DOT_INTERNAL_H

#include "compute/x86/compute_x86_act_internal.h"

struct dot_operands {
    int64_t K; /* words */
    const uint32_t *a;
    int64_t lda;
    const uint32_t *b;
    int64_t ldb;
    float *c;
    int64_t ldc;
    bool add;
};

/* clang-format off */
#define DOT_TILE(MR, NV)                                                                           \
    static void dot_tile_##MR##x##NV(const struct dot_operands *o, int64_t m, int64_t n)           \
    {                                                                                              \
        __m512 acc[MR][NV];                                                                        \
        const uint32_t *a = o->a + m * o->lda, *b = o->b + n;                                      \
        float *c = o->c + m * o->ldc + n;                                                          \
        UNROLL for (int i = 0; i < MR; i++) {                                                      \
            UNROLL for (int j = 0; j < NV; j++)                                                    \
                acc[i][j] = o->add ? v_load(c + i * o->ldc + j * VL) : v_zero();                   \
        }                                                                                          \
        for (int64_t k = 0; k < o->K; k++, b += o->ldb) {                                          \
            __m512bh row[NV];                                                                      \
            UNROLL for (int j = 0; j < NV; j++)                                                    \
                row[j] = (__m512bh)_mm512_loadu_si512(b + j * VL);                                 \
            UNROLL for (int i = 0; i < MR; i++) {                                                  \
                __m512bh word = (__m512bh)_mm512_set1_epi32((int32_t)a[i * o->lda + k]);           \
                UNROLL for (int j = 0; j < NV; j++)                                                \
                    acc[i][j] = _mm512_dpbf16_ps(acc[i][j], row[j], word);                         \
            }                                                                                      \
        }                                                                                          \
        UNROLL for (int i = 0; i < MR; i++) {                                                      \
            UNROLL for (int j = 0; j < NV; j++)                                                    \
                v_store(c + i * o->ldc + j * VL, acc[i][j]);                                       \
        }                                                                                          \
    }                                                                                              \
    struct dot_operands

/* Columns n .. n + NV vectors of all M rows, in tiles of MR rows and then of fewer. */
#define DOT_ROWS(MR, NV)                                                                           \
    static void dot_rows_##NV(const struct dot_operands *o, int64_t M, int64_t n)                  \
    {                                                                                              \
        int64_t m = 0;                                                                             \
        for (; M - m >= MR; m += MR)                                                               \
            dot_tile_##MR##x##NV(o, m, n);                                                         \
        for (; M - m >= 3; m += 3)                                                                 \
            dot_tile_3x##NV(o, m, n);                                                              \
        for (; m < M; m++)                                                                         \
            dot_tile_1x##NV(o, m, n);                                                              \
    }                                                                                              \
    struct dot_operands
/* clang-format on */

DOT_TILE(6, 4);
DOT_TILE(3, 4);
DOT_TILE(1, 4);
DOT_TILE(12, 2);
DOT_TILE(3, 2);
DOT_TILE(1, 2);
DOT_TILE(12, 1);
DOT_TILE(3, 1);
DOT_TILE(1, 1);
DOT_ROWS(6, 4);
DOT_ROWS(12, 2);
DOT_ROWS(12, 1);

/* N a multiple of VL. */
static void dot_product(int64_t M, int64_t N, struct dot_operands o)
{
    int64_t n = 0;
    for (; N - n >= 4 * VL; n += 4 * VL)
        dot_rows_4(&o, M, n);
    for (; N - n >= 2 * VL; n += 2 * VL)
        dot_rows_2(&o, M, n);
    for (; n < N; n += VL)
        dot_rows_1(&o, M, n);
}

/* ------------------------------------------------------------------ pairs */

/* Keys [h, PAGE] of a page to words [h / 2, PAGE]. */
static void dot_pair_keys(int64_t h, const bf16_t *k, uint32_t *to)
{
    enum { P = COMPUTE_PAGE };
    for (int64_t d = 0; d < h; d += 2, k += 2 * P, to += P)
        for (int i = 0; i < P; i += VL) {
            __m512i one = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)(k + i)));
            __m512i two = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)(k + P + i)));
            _mm512_storeu_si512(to + i, _mm512_or_si512(one, _mm512_slli_epi32(two, 16)));
        }
}

/* Row u of values [PAGE, h] from column d on; zeros behind the row, and where nothing was written. */
INLINE __m512i dot_values(const bf16_t *v, int64_t u, int64_t d, int64_t h, int64_t n)
{
    if (u >= n) return _mm512_setzero_si512();
    return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(v_mask_first(h - d), v + u * h + d));
}

/* The first n values [PAGE, h] of a page to words [PAGE / 2, hp]. */
static void dot_pair_values(int64_t h, int64_t n, const bf16_t *v, uint32_t *to)
{
    int64_t hp = (h + VL - 1) / VL * VL;
    for (int64_t u = 0; u < n; u += 2, to += hp)
        for (int64_t d = 0; d < h; d += VL) {
            __m512i one = dot_values(v, u, d, h, n), two = dot_values(v, u + 1, d, h, n);
            _mm512_storeu_si512(to + d, _mm512_or_si512(one, _mm512_slli_epi32(two, 16)));
        }
}

/* n probabilities as bfloat16, and zero behind them up to a whole pair. */
static void dot_round(int64_t n, const float *p, bf16_t *to)
{
    VECTOR_LOOP(i, m, n, { v_store_bf16_n(to + i, v_load_n(p + i, m), m); });
    if (n % 2) to[n] = 0;
}

#endif
