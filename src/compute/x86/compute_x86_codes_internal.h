/* compute_x86_codes_internal.h: products with weights in codes, a band at a time (struct compute_band;
 * how a band lies in memory: compute_codes_internal.h).
 *
 * Codes are unpacked to pairs of 16-bit numbers in registers and meet pairs of X, in all lanes: by
 * vpdpwssd where the including file says CODES_BY_DOT, else by vpmaddwd and an addition. Both are
 * exact, so any order gives the same whole number. Each block's is then scaled and added to the row's
 * sum, in the order of blocks. Some rows of X share the unpacking.
 *
 * Included by compute_x86_{f32,bf16}_{avx2,avx512}.c and compute_x86_codes_avx512vnni.c only. */
#ifndef COLOSSUS_COMPUTE_X86_CODES_INTERNAL_H
#define COLOSSUS_COMPUTE_X86_CODES_INTERNAL_H

#include "compute/core/compute_codes_internal.h"
#include "compute/x86/compute_x86_act_internal.h"

enum { CODES_AHEAD = 4096 }; /* bytes that are asked for ahead, where few rows wait for memory */

#if VL == 16
#    define vi_and(a, b)     _mm512_and_si512(a, b)
#    define vi_or(a, b)      _mm512_or_si512(a, b)
#    define vi_left16(a, n)  _mm512_slli_epi16(a, n)
#    define vi_right16(a, n) _mm512_srli_epi16(a, n)
#    define vi_set16(x)      _mm512_set1_epi16(x)
#    ifdef CODES_BY_DOT
#        define vi_add_pairs(sum, a, b) _mm512_dpwssd_epi32(sum, a, b)
#    else
#        define vi_add_pairs(sum, a, b) _mm512_add_epi32(sum, _mm512_madd_epi16(a, b))
#    endif
#    define v_halves(p) _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(p)))
#    define vi_signed_bytes(p) \
        _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(p)))
#    define vi_unsigned_bytes(p) \
        _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(p)))
/* 16 in the 16-bit lanes whose bits are set, from column `first` on. */
INLINE vi codes_fifth(const uint8_t *bits, int64_t first, vi low)
{
    uint32_t set;
    (void)first;
    memcpy(&set, bits, sizeof set);
    return _mm512_mask_add_epi16(low, set, low, vi_set16(16));
}
#else
#    define vi_and(a, b)            _mm256_and_si256(a, b)
#    define vi_or(a, b)             _mm256_or_si256(a, b)
#    define vi_left16(a, n)         _mm256_slli_epi16(a, n)
#    define vi_right16(a, n)        _mm256_srli_epi16(a, n)
#    define vi_set16(x)             _mm256_set1_epi16(x)
#    define vi_add_pairs(sum, a, b) _mm256_add_epi32(sum, _mm256_madd_epi16(a, b))
#    define v_halves(p)             _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(p)))
#    define vi_signed_bytes(p) \
        _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(p)))
#    define vi_unsigned_bytes(p) \
        _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(p)))
INLINE vi codes_fifth(const uint8_t *bits, int64_t first, vi low)
{
    const vi each = _mm256_setr_epi16(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192,
                                      16384, (int16_t)0x8000);
    int16_t set;
    memcpy(&set, bits + first / 4, sizeof set);
    vi there = _mm256_cmpeq_epi16(vi_and(vi_set16(set), each), each);
    return vi_or(low, vi_and(there, vi_set16(16)));
}
#endif

/* Two neighbours of a row of X, in all lanes. */
INLINE vi codes_two(const int16_t *x)
{
    int32_t two;
    memcpy(&two, x, sizeof two);
    return vi_set1(two);
}

/* Scales and least values of VL columns of a band, of block k. */
struct codes_scales {
    const struct compute_codes *f;
    struct codes_band at;
    int half_shift; /* 2 to this: blocks that share a half */
};

INLINE struct codes_scales codes_scales_of(const struct compute_band *b, int64_t first)
{
    struct codes_scales s = {.f = b->form, .at = codes_band_at(b->form, b->blocks, b->codes)};
    s.half_shift = !s.f->shared ? 0 : s.f->bits == 6 ? 4 : 3; /* 256 of 16 or 32 */
    s.at.scales += first;
    if (s.at.leasts) s.at.leasts += first;
    if (s.at.scale_steps) s.at.scale_steps += first;
    if (s.at.least_steps) s.at.least_steps += first;
    return s;
}

INLINE vf codes_scale_at(const struct codes_scales *s, int64_t k)
{
    vf half = v_halves(s->at.scales + (k >> s->half_shift) * COMPUTE_BAND);
    if (!s->f->shared) return half;
    return half * vi_to_float(vi_signed_bytes(s->at.scale_steps + k * COMPUTE_BAND));
}

INLINE vf codes_least_at(const struct codes_scales *s, int64_t k)
{
    vf half = v_halves(s->at.leasts + (k >> s->half_shift) * COMPUTE_BAND);
    if (!s->f->shared) return half;
    return v_set1(-1.0f) *
           (half * vi_to_float(vi_unsigned_bytes(s->at.least_steps + k * COMPUTE_BAND)));
}

/* clang-format off */
/* The rows' sums of a block begin with what zeros take off. */
#define CODES_BEGIN(MR, expression)                                                                \
    UNROLL for (int i = 0; i < MR; i++) {                                                          \
        const int32_t *ones = b->x.parts + (row + i) * 2 * b->blocks + 2 * k;                      \
        whole[i] = vi_set1(-zero * (expression));                                                  \
    }
#define CODES_PAIR(MR, n, pair)                                                                    \
    do {                                                                                           \
        vi two = (pair);                                                                           \
        UNROLL for (int i = 0; i < MR; i++)                                                        \
            whole[i] = vi_add_pairs(whole[i], two, codes_two(x + i * ld + 2 * (n)));               \
    } while (0)
#define CODES_END(MR, n)                                                                           \
    do {                                                                                           \
        vf scale = codes_scale_at(&scales, n);                                                     \
        UNROLL for (int i = 0; i < MR; i++) {                                                      \
            vf of_x = v_set1(b->x.scales[(row + i) * b->blocks + k]);                              \
            sum[i] = v_fma(vi_to_float(whole[i]) * of_x, scale, sum[i]);                           \
        }                                                                                          \
    } while (0)
#define CODES_LEAST(MR)                                                                            \
    if (least) {                                                                                   \
        vf value = codes_least_at(&scales, k);                                                     \
        UNROLL for (int i = 0; i < MR; i++)                                                        \
            sum[i] = v_fma(value, v_set1(b->x.sums[(row + i) * b->blocks + k]), sum[i]);           \
    }

#define CODES_BLOCK_4(MR)                                                                          \
    CODES_BEGIN(MR, ones[0] + ones[1])                                                             \
    UNROLL for (int g = 0; g < 4; g++) {                                                           \
        vi w = vi_load(c + 64 * g);                                                                \
        CODES_PAIR(MR, 4 * g, vi_and(w, nibble));                                                  \
        CODES_PAIR(MR, 4 * g + 1, vi_and(vi_right16(w, 4), nibble));                               \
        CODES_PAIR(MR, 4 * g + 2, vi_and(vi_right16(w, 8), nibble));                               \
        CODES_PAIR(MR, 4 * g + 3, vi_right16(w, 12));                                              \
    }                                                                                              \
    CODES_END(MR, k);                                                                              \
    CODES_LEAST(MR)
#define CODES_FIFTH(n, low) codes_fifth(c + 256 - 4 * first + 4 * (n), first, low)
#define CODES_BLOCK_5(MR)                                                                          \
    CODES_BEGIN(MR, ones[0] + ones[1])                                                             \
    UNROLL for (int g = 0; g < 4; g++) {                                                           \
        vi w = vi_load(c + 64 * g);                                                                \
        CODES_PAIR(MR, 4 * g, CODES_FIFTH(4 * g, vi_and(w, nibble)));                              \
        CODES_PAIR(MR, 4 * g + 1, CODES_FIFTH(4 * g + 1, vi_and(vi_right16(w, 4), nibble)));       \
        CODES_PAIR(MR, 4 * g + 2, CODES_FIFTH(4 * g + 2, vi_and(vi_right16(w, 8), nibble)));       \
        CODES_PAIR(MR, 4 * g + 3, CODES_FIFTH(4 * g + 3, vi_right16(w, 12)));                      \
    }                                                                                              \
    CODES_END(MR, k);                                                                              \
    CODES_LEAST(MR)
#define CODES_HIGH(shifted, low) vi_or(vi_and(shifted, high_two), low)
#define CODES_BLOCK_6(MR)                                                                          \
    UNROLL for (int g = 0; g < 2; g++) {                                                           \
        vi w = vi_load(c + 128 * g), h = vi_load(c + 256 + 64 * g);                                \
        CODES_BEGIN(MR, ones[g])                                                                   \
        CODES_PAIR(MR, 8 * g, CODES_HIGH(vi_left16(h, 4), vi_and(w, nibble)));                     \
        CODES_PAIR(MR, 8 * g + 1, CODES_HIGH(vi_left16(h, 2), vi_and(vi_right16(w, 4), nibble)));  \
        CODES_PAIR(MR, 8 * g + 2, CODES_HIGH(h, vi_and(vi_right16(w, 8), nibble)));                \
        CODES_PAIR(MR, 8 * g + 3, CODES_HIGH(vi_right16(h, 2), vi_right16(w, 12)));                \
        w = vi_load(c + 128 * g + 64);                                                             \
        CODES_PAIR(MR, 8 * g + 4, CODES_HIGH(vi_right16(h, 4), vi_and(w, nibble)));                \
        CODES_PAIR(MR, 8 * g + 5, CODES_HIGH(vi_right16(h, 6), vi_and(vi_right16(w, 4), nibble))); \
        CODES_PAIR(MR, 8 * g + 6, CODES_HIGH(vi_right16(h, 8), vi_and(vi_right16(w, 8), nibble))); \
        CODES_PAIR(MR, 8 * g + 7, CODES_HIGH(vi_right16(h, 10), vi_right16(w, 12)));               \
        CODES_END(MR, 2 * k + g);                                                                  \
    }
#define CODES_BLOCK_8(MR)                                                                          \
    CODES_BEGIN(MR, ones[0] + ones[1])                                                             \
    UNROLL for (int g = 0; g < 8; g++) {                                                           \
        vi w = vi_load(c + 64 * g);                                                                \
        CODES_PAIR(MR, 2 * g, vi_and(w, byte));                                                    \
        CODES_PAIR(MR, 2 * g + 1, vi_right16(w, 8));                                               \
    }                                                                                              \
    CODES_END(MR, k);                                                                              \
    CODES_LEAST(MR)

/* MR rows of X from `row` on against VL columns of the band from `first` on. */
#define CODES_ROWS(BITS, MR)                                                                       \
    static void codes_rows_##BITS##_##MR(const struct compute_band *b, int64_t row, int64_t first) \
    {                                                                                              \
        const struct codes_scales scales = codes_scales_of(b, first);                              \
        const int64_t ld = b->blocks * CODES_WIDTH;                                                \
        const int32_t zero = b->form->zero;                                                        \
        const bool least = b->form->least;                                                         \
        const vi nibble = vi_set16(15), high_two = vi_set16(48), byte = vi_set16(255);             \
        const uint8_t *c = b->codes + 4 * first;                                                   \
        const int16_t *x = b->x.x + row * ld;                                                      \
        const char *ahead = (const char *)b->codes + CODES_AHEAD;                                  \
        const int64_t step = 64 * BITS + 64; /* codes of a block, and at most its scales */        \
        vf sum[MR];                                                                                \
        (void)nibble, (void)high_two, (void)byte, (void)least;                                     \
        UNROLL for (int i = 0; i < MR; i++)                                                        \
            sum[i] = v_zero();                                                                     \
        for (int64_t k = 0; k < b->blocks; k++, c += 64 * BITS, x += CODES_WIDTH) {                \
            vi whole[MR];                                                                          \
            if (MR <= 2) {                                                                         \
                UNROLL for (int j = 0; j <= BITS; j++)                                             \
                    _mm_prefetch(ahead + 64 * j, _MM_HINT_T0);                                     \
                ahead += step;                                                                     \
            }                                                                                      \
            CODES_BLOCK_##BITS(MR)                                                                 \
        }                                                                                          \
        UNROLL for (int i = 0; i < MR; i++)                                                        \
            v_store(b->c + (row + i) * b->ldc + first, sum[i]);                                    \
    }                                                                                              \
    struct compute_band
/* clang-format on */

#define CODES_HEIGHTS(BITS) \
    CODES_TALLEST(BITS);    \
    CODES_ROWS(BITS, 4);    \
    CODES_ROWS(BITS, 2);    \
    CODES_ROWS(BITS, 1)
#if VL == 16
#    define CODES_TALLEST(BITS) CODES_ROWS(BITS, 8)
#else
#    define CODES_TALLEST(BITS) struct compute_band
#endif
CODES_HEIGHTS(4);
CODES_HEIGHTS(5);
CODES_HEIGHTS(6);
CODES_HEIGHTS(8);

typedef void codes_fn(const struct compute_band *b, int64_t row, int64_t first);
#if VL == 16
#    define CODES_OF(BITS)                                                       \
        {                                                                        \
            codes_rows_##BITS##_8, codes_rows_##BITS##_4, codes_rows_##BITS##_2, \
                codes_rows_##BITS##_1                                            \
        }
#else
#    define CODES_OF(BITS)                                                       \
        {                                                                        \
            codes_rows_##BITS##_4, codes_rows_##BITS##_4, codes_rows_##BITS##_2, \
                codes_rows_##BITS##_1                                            \
        }
#endif

static void x86_band(const struct compute_band *b)
{
    static const int heights[4] = {VL == 16 ? 8 : 4, 4, 2, 1};
    static codes_fn *const of[4][4] = {CODES_OF(4), CODES_OF(5), CODES_OF(6), CODES_OF(8)};
    codes_fn *const *rows = of[b->form->bits == 8 ? 3 : b->form->bits - 4];
    for (int64_t first = 0; first < COMPUTE_BAND; first += VL) {
        int64_t r = 0;
        for (int i = 0; i < 4; i++)
            for (; b->rows - r >= heights[i]; r += heights[i])
                rows[i](b, r, first);
    }
}

/* ------------------------------------------------------------------ X */

#ifndef CODES_BY_DOT
#    if VL == 16
#        define vi_largest(x)    _mm512_reduce_max_epi32(x)
#        define vi_total(x)      _mm512_reduce_add_epi32(x)
#        define vi_from_float(x) _mm512_cvtps_epi32(x)
#        define vi_max(a, b)     _mm512_max_epi32(a, b)
#        define vi_store_short(p, x) \
            _mm256_storeu_si256((__m256i *)(void *)(p), _mm512_cvtepi32_epi16(x))
#    else
INLINE int32_t vi_largest(vi x)
{
    __m128i q = _mm_max_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    q = _mm_max_epi32(q, _mm_shuffle_epi32(q, 0x4e));
    return _mm_cvtsi128_si32(_mm_max_epi32(q, _mm_shuffle_epi32(q, 0xb1)));
}
INLINE int32_t vi_total(vi x)
{
    __m128i q = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    q = _mm_add_epi32(q, _mm_shuffle_epi32(q, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(q, _mm_shuffle_epi32(q, 0xb1)));
}
#        define vi_from_float(x) _mm256_cvtps_epi32(x)
#        define vi_max(a, b)     _mm256_max_epi32(a, b)
INLINE void vi_store_short(int16_t *p, vi x)
{
    __m128i y = _mm_packs_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    _mm_storeu_si128((__m128i *)(void *)p, y);
}
#    endif

/* As ref_round: magnitudes are compared by their bits, so that what is not finite is the largest. */
static void x86_round(int64_t blocks, const void *x_, const struct compute_rounded *to)
{
    enum { VECTORS = CODES_WIDTH / VL };
    const act_t *x = x_;
    for (int64_t b = 0; b < blocks; b++, x += CODES_WIDTH) {
        vf row[VECTORS];
        vi size = vi_set1(0);
        UNROLL
        for (int i = 0; i < VECTORS; i++) {
            row[i] = act_load_n(x + i * VL, VL);
            size = vi_max(size, vi_and(vi_bits(row[i]), vi_set1(0x7fffffff)));
        }
        int32_t bits = vi_largest(size);
        float most;
        memcpy(&most, &bits, sizeof most);
        bool none = most < COMPUTE_ROUND_LEAST, rounds = !none && bits < 0x7f800000;
        vf inverse = v_set1(rounds ? COMPUTE_ROUND_MOST / most : 0);
        int32_t sums[2] = {0, 0};
        UNROLL
        for (int i = 0; i < VECTORS; i++) {
            if (!rounds) row[i] = v_zero();
            vi whole = vi_from_float(row[i] * inverse);
            vi_store_short(to->x + b * CODES_WIDTH + i * VL, whole);
            sums[i * VL / 16] += vi_total(whole);
        }
        to->scales[b] = none ? 0 : most / COMPUTE_ROUND_MOST;
        to->sums[b] = (float)(sums[0] + sums[1]) * to->scales[b];
        to->parts[2 * b] = sums[0];
        to->parts[2 * b + 1] = sums[1];
    }
}
#endif

#endif
