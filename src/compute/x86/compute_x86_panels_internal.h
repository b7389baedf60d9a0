/* compute_x86_panels_internal.h: products with weights that are held for inference, one panel of
 * columns at a time (struct compute_panel).
 *
 * A tile of rows by NV vectors of columns is summed in registers over all of K: one chain of
 * multiply-adds for each number, in the order of K, so a row's results do not depend on the rows
 * beside it. One row is bound by the reading of the panel, which is contiguous and asked for ahead.
 *
 * In bfloat16 a word is a pair of weights and meets a pair of X: by the dot-product instruction where
 * the including file says PANEL_BY_DOT, and else by two multiply-adds on widened halves.
 *
 * Included by compute_x86_{f32,bf16}_{avx2,avx512}.c and compute_x86_panels_avx512bf16.c only. */
#ifndef COLOSSUS_COMPUTE_X86_PANELS_INTERNAL_H
#define COLOSSUS_COMPUTE_X86_PANELS_INTERNAL_H

#include "compute/x86/compute_x86_act_internal.h"

enum {
    PANEL_WORD = ACT_IS_BF16 ? 2 : 1, /* elements of K in a word of the panel */
    PANEL_VECTORS = VL == 16 ? 4 : 2,
    PANEL_AHEAD = 4096 /* bytes */
};

/* Word k of a row of X, in all lanes; `whole` false: the last element of an odd K. */
#if ACT_IS_BF16
INLINE vi panel_word(const act_t *x, int64_t k, bool whole)
{
    uint32_t word = x[2 * k];
    if (whole) memcpy(&word, x + 2 * k, sizeof word);
    return vi_set1((int32_t)word);
}
#    define vi_even(x) vi_as_float(vi_shift_left(x, 16))
#    define vi_odd(x)  vi_as_float(vi_high(x))
#endif

/* clang-format off */
#if ACT_IS_BF16 && defined(PANEL_BY_DOT)
#define PANEL_ROWS {6, 4, 2, 1}
#define PANEL_STEP(MR, NV, k, whole)                                                               \
    do {                                                                                           \
        __m512bh row[NV];                                                                          \
        UNROLL for (int j = 0; j < NV; j++)                                                        \
            row[j] = (__m512bh)_mm512_loadu_si512(w + j * VL);                                     \
        UNROLL for (int i = 0; i < MR; i++) {                                                      \
            __m512bh word = (__m512bh)panel_word(x + i * ld, k, whole);                            \
            UNROLL for (int j = 0; j < NV; j++)                                                    \
                acc[i][j] = _mm512_dpbf16_ps(acc[i][j], row[j], word);                             \
        }                                                                                          \
    } while (0)
#elif ACT_IS_BF16
#define PANEL_ROWS {4, 4, 2, 1}
#define PANEL_STEP(MR, NV, k, whole)                                                               \
    do {                                                                                           \
        vf even[MR], odd[MR];                                                                      \
        UNROLL for (int i = 0; i < MR; i++) {                                                      \
            vi word = panel_word(x + i * ld, k, whole);                                            \
            even[i] = vi_even(word);                                                               \
            odd[i] = vi_odd(word);                                                                 \
        }                                                                                          \
        UNROLL for (int j = 0; j < NV; j++) {                                                      \
            vi row = vi_load(w + j * VL);                                                          \
            vf first = vi_even(row), second = vi_odd(row);                                         \
            UNROLL for (int i = 0; i < MR; i++) {                                                  \
                acc[i][j] = v_fma(even[i], first, acc[i][j]);                                      \
                acc[i][j] = v_fma(odd[i], second, acc[i][j]);                                      \
            }                                                                                      \
        }                                                                                          \
    } while (0)
#else
#define PANEL_ROWS {6, 4, 2, 1}
#define PANEL_STEP(MR, NV, k, whole)                                                               \
    do {                                                                                           \
        vf row[NV];                                                                                \
        UNROLL for (int j = 0; j < NV; j++)                                                        \
            row[j] = v_load((const float *)(const void *)w + j * VL);                              \
        UNROLL for (int i = 0; i < MR; i++) {                                                      \
            vf factor = v_set1(x[i * ld + k]);                                                     \
            UNROLL for (int j = 0; j < NV; j++)                                                    \
                acc[i][j] = v_fma(factor, row[j], acc[i][j]);                                      \
        }                                                                                          \
    } while (0)
#endif

/* Rows from x on against NV vectors of columns from w on. */
#define PANEL_TILE(MR, NV)                                                                         \
    static void panel_tile_##MR(const struct compute_panel *p, const act_t *x, const uint32_t *w,  \
                                float *c)                                                          \
    {                                                                                              \
        vf acc[MR][NV];                                                                            \
        const int64_t ld = p->ld, words = p->K / PANEL_WORD;                                       \
        UNROLL for (int i = 0; i < MR; i++) {                                                      \
            UNROLL for (int j = 0; j < NV; j++)                                                    \
                acc[i][j] = p->add ? v_load(c + i * COMPUTE_PANEL + j * VL) : v_zero();            \
        }                                                                                          \
        for (int64_t k = 0; k < words; k++, w += COMPUTE_PANEL) {                                  \
            if (MR <= 2) {                                                                         \
                UNROLL for (int j = 0; j < NV * VL; j += 16)                                       \
                    _mm_prefetch((const char *)(w + j) + PANEL_AHEAD, _MM_HINT_T0);                \
            }                                                                                      \
            PANEL_STEP(MR, NV, k, true);                                                           \
        }                                                                                          \
        if (PANEL_WORD * words < p->K) PANEL_STEP(MR, NV, words, false);                           \
        UNROLL for (int i = 0; i < MR; i++) {                                                      \
            UNROLL for (int j = 0; j < NV; j++)                                                    \
                v_store(c + i * COMPUTE_PANEL + j * VL, acc[i][j]);                                \
        }                                                                                          \
    }                                                                                              \
    struct compute_panel
/* clang-format on */

#if VL == 16
PANEL_TILE(6, 4);
PANEL_TILE(4, 4);
PANEL_TILE(2, 4);
PANEL_TILE(1, 4);
#else
PANEL_TILE(6, 2);
PANEL_TILE(4, 2);
PANEL_TILE(2, 2);
PANEL_TILE(1, 2);
#endif

static void x86_panel(const struct compute_panel *p)
{
    static const int heights[4] = PANEL_ROWS;
    for (int64_t n = 0; n < COMPUTE_PANEL; n += PANEL_VECTORS * VL) {
        const uint32_t *w = (const uint32_t *)p->w + n;
        int64_t r = 0;
        for (int i = 0; i < 4; i++)
            for (; p->rows - r >= heights[i]; r += heights[i]) {
                const act_t *x = (const act_t *)p->x + r * p->ld;
                float *c = p->c + r * COMPUTE_PANEL + n;
                switch (heights[i]) {
                case 6: panel_tile_6(p, x, w, c); break;
                case 4: panel_tile_4(p, x, w, c); break;
                case 2: panel_tile_2(p, x, w, c); break;
                default: panel_tile_1(p, x, w, c);
                }
            }
    }
}

#endif
