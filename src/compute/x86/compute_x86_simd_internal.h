/* compute_x86_simd_internal.h: one small vocabulary of vector operations, spoken in AVX2 (8 floats)
 * or AVX-512 (16 floats) by the flags of the file that includes it.
 *
 * Every kernel of compute/x86 is written once over `vf` (VL floats) and compiled in two files with
 * their own -m flags; nothing here may be used elsewhere. Arithmetic is + - * / on vf and v_fma;
 * contraction is off for the whole program, so an FMA happens where it is written and nowhere else.
 *
 * Tails: VECTOR_LOOP runs one body over whole vectors with n = VL, a constant that folds the tests
 * in the *_n functions away, and once more for the rest with 0 < n < VL. Loads past n give zeros.
 *
 * Sums over lanes use one fixed tree, so a result depends on the data and the width only. */
#ifndef COLOSSUS_COMPUTE_X86_SIMD_INTERNAL_H
#define COLOSSUS_COMPUTE_X86_SIMD_INTERNAL_H

#include <immintrin.h>
#include <string.h>

#include "compute/compute.h"

#define UNROLL _Pragma("GCC unroll 16")
#define INLINE static inline __attribute__((always_inline, unused))

#define VECTOR_LOOP(i, n, total, ...)                 \
    do {                                              \
        int64_t i = 0;                                \
        for (; i + VL <= (int64_t)(total); i += VL) { \
            enum { n = VL };                          \
            __VA_ARGS__                               \
        }                                             \
        if (i < (int64_t)(total)) {                   \
            const int64_t n = (int64_t)(total)-i;     \
            __VA_ARGS__                               \
        }                                             \
    } while (0)

#if defined(__AVX512F__)
#    define VL    16
#    define V(op) _mm512_##op
typedef __m512 vf;
typedef __m512i vi;
typedef __mmask16 vm; /* one bit per lane */
typedef __m512d vd;   /* VL / 2 doubles */
#elif defined(__AVX2__)
#    define VL    8
#    define V(op) _mm256_##op
typedef __m256 vf;
typedef __m256i vi;
typedef __m256i vm; /* all bits of a lane */
typedef __m256d vd;
#else
#    error "this header is for files compiled with -mavx2 -mfma or -mavx512{f,bw,vl,dq}"
#endif

/* ------------------------------------------------------------------ the same in both */

#define v_zero() V(setzero_ps)()
INLINE vf v_set1(float x)
{
    return V(set1_ps)(x);
}
#define v_load(p)     V(loadu_ps)(p)
#define v_store(p, x) V(storeu_ps)(p, x)
/* a * b + c, c - a * b and a * b - c, each with one rounding */
#define v_fma(a, b, c)  V(fmadd_ps)(a, b, c)
#define v_fnma(a, b, c) V(fnmadd_ps)(a, b, c)
#define v_fms(a, b, c)  V(fmsub_ps)(a, b, c)
/* Where either is NaN these return the second operand: v_max(bound, x) keeps a NaN of x. */
#define v_max(a, b)                  V(max_ps)(a, b)
#define v_min(a, b)                  V(min_ps)(a, b)
#define v_sqrt(x)                    V(sqrt_ps)(x)
#define vi_set1(x)                   V(set1_epi32)(x)
#define vi_sub(a, b)                 V(sub_epi32)(a, b)
#define vi_to_float(x)               V(cvtepi32_ps)(x)
#define vi_shift_left(x, by)         V(slli_epi32)(x, by)
#define vi_shift_right_signed(x, by) V(srai_epi32)(x, by)
#define vi_load(p)                   vi_load_raw((const void *)(p))
#define vd_zero()                    V(setzero_pd)()
#define vd_fma(a, b, c)              V(fmadd_pd)(a, b, c)

#if VL == 16
/* ------------------------------------------------------------------ AVX-512 */

/* The first n lanes; none where n is negative, as it is behind the end of a narrow row. */
INLINE vm v_mask_first(int64_t n)
{
    return n >= VL ? (vm)0xffff : (vm)((1u << MAX(n, (int64_t)0)) - 1);
}
INLINE vf v_load_n(const float *p, int64_t n)
{
    return n >= VL ? v_load(p) : _mm512_maskz_loadu_ps(v_mask_first(n), p);
}
INLINE void v_store_n(float *p, vf x, int64_t n)
{
    if (n >= VL)
        v_store(p, x);
    else
        _mm512_mask_storeu_ps(p, v_mask_first(n), x);
}
/* 1 / x for normal, finite x to about one unit in the last place. */
INLINE vf v_recip(vf x)
{
    vf r = _mm512_rcp14_ps(x);
    return v_fma(r, v_fnma(x, r, v_set1(1.0f)), r);
}
#    define v_less_equal(a, b)   _mm512_cmple_epi32_mask(a, b)
#    define v_mask_and(a, b)     ((vm)((a) & (b)))
#    define v_keep(m, x)         _mm512_maskz_mov_ps(m, x) /* 0 where m is clear */
#    define v_select(m, yes, no) _mm512_mask_mov_ps(no, m, yes)
INLINE vi vi_iota(int32_t first)
{
    return _mm512_add_epi32(_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
                            vi_set1(first));
}
#    define vi_load_n(p, n) _mm512_maskz_loadu_epi32(v_mask_first(n), p)
#    define vi_load_raw(p)  _mm512_loadu_si512(p)
#    define vi_high(x)      _mm512_and_si512(x, vi_set1((int32_t)0xffff0000u))
#    define vi_bits(x)      _mm512_castps_si512(x)
#    define vi_as_float(x)  _mm512_castsi512_ps(x)

INLINE float v_sum(vf x)
{
    __m256 h = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}
INLINE float v_largest(vf x)
{
    return _mm512_reduce_max_ps(x);
}

#    define vd_low(x)  _mm512_cvtps_pd(_mm512_castps512_ps256(x)) /* lanes 0 .. VL/2 - 1 */
#    define vd_high(x) _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1))
INLINE double vd_sum(vd x)
{
    __m256d h = _mm256_add_pd(_mm512_castpd512_pd256(x), _mm512_extractf64x4_pd(x, 1));
    __m128d q = _mm_add_pd(_mm256_castpd256_pd128(h), _mm256_extractf128_pd(h, 1));
    return _mm_cvtsd_f64(_mm_add_sd(q, _mm_unpackhi_pd(q, q)));
}

/* r[i] lane j becomes r[j] lane i. */
INLINE void v_transpose(vf r[VL])
{
    vf t[16], u[16];
    UNROLL
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    UNROLL
    for (int i = 0; i < 8; i++) {
        int from = i / 2 * 4 + i % 2;
        __m512d a = _mm512_castps_pd(t[from]), b = _mm512_castps_pd(t[from + 2]);
        u[2 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
        u[2 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
    }
    /* u[4 g + c] holds, in its 128-bit lane l, rows 4 g .. 4 g + 3 of column 4 l + c. */
    UNROLL
    for (int c = 0; c < 4; c++) {
        vf a = _mm512_shuffle_f32x4(u[c], u[4 + c], 0x88);
        vf b = _mm512_shuffle_f32x4(u[c], u[4 + c], 0xdd);
        vf d = _mm512_shuffle_f32x4(u[8 + c], u[12 + c], 0x88);
        vf e = _mm512_shuffle_f32x4(u[8 + c], u[12 + c], 0xdd);
        r[c] = _mm512_shuffle_f32x4(a, d, 0x88);
        r[8 + c] = _mm512_shuffle_f32x4(a, d, 0xdd);
        r[4 + c] = _mm512_shuffle_f32x4(b, e, 0x88);
        r[12 + c] = _mm512_shuffle_f32x4(b, e, 0xdd);
    }
}

INLINE vf v_load_bf16(const bf16_t *p)
{
    __m256i half = _mm256_loadu_si256((const __m256i *)(const void *)p);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}
INLINE vf v_load_bf16_n(const bf16_t *p, int64_t n)
{
    if (n >= VL) return v_load_bf16(p);
    __m256i half = _mm256_maskz_loadu_epi16(v_mask_first(n), p);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}
/* To nearest even, as bf16_store; denormals are kept, unlike vcvtneps2bf16. */
INLINE __m256i v_round_bf16(vf x)
{
    __m512i bits = _mm512_castps_si512(x), high = _mm512_srli_epi32(bits, 16);
    __m512i odd = _mm512_and_si512(high, _mm512_set1_epi32(1));
    __m512i up = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
    __m512i y = _mm512_srli_epi32(up, 16);
    __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    y = _mm512_mask_or_epi32(y, nan, high, _mm512_set1_epi32(0x40));
    return _mm512_cvtepi32_epi16(y);
}
INLINE void v_store_bf16_n(bf16_t *p, vf x, int64_t n)
{
    if (n >= VL)
        _mm256_storeu_si256((__m256i *)(void *)p, v_round_bf16(x));
    else
        _mm256_mask_storeu_epi16(p, v_mask_first(n), v_round_bf16(x));
}

#else
/* ------------------------------------------------------------------ AVX2 */

INLINE vi vi_iota(int32_t first)
{
    return _mm256_add_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), vi_set1(first));
}
INLINE vm v_mask_first(int64_t n)
{
    return _mm256_cmpgt_epi32(vi_set1((int32_t)MIN(n, VL)), vi_iota(0));
}
INLINE vf v_load_n(const float *p, int64_t n)
{
    return n >= VL ? v_load(p) : _mm256_maskload_ps(p, v_mask_first(n));
}
INLINE void v_store_n(float *p, vf x, int64_t n)
{
    if (n >= VL)
        v_store(p, x);
    else
        _mm256_maskstore_ps(p, v_mask_first(n), x);
}
INLINE vf v_recip(vf x)
{
    return _mm256_div_ps(v_set1(1.0f), x);
}
#    define v_less_equal(a, b)   _mm256_xor_si256(_mm256_cmpgt_epi32(a, b), vi_set1(-1))
#    define v_mask_and(a, b)     _mm256_and_si256(a, b)
#    define v_keep(m, x)         _mm256_and_ps(_mm256_castsi256_ps(m), x)
#    define v_select(m, yes, no) _mm256_blendv_ps(no, yes, _mm256_castsi256_ps(m))
#    define vi_load_n(p, n)      _mm256_maskload_epi32(p, v_mask_first(n))
#    define vi_load_raw(p)       _mm256_loadu_si256((const __m256i *)(p))
#    define vi_high(x)           _mm256_and_si256(x, vi_set1((int32_t)0xffff0000u))
#    define vi_bits(x)           _mm256_castps_si256(x)
#    define vi_as_float(x)       _mm256_castsi256_ps(x)

INLINE float v_sum(vf x)
{
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}
INLINE float v_largest(vf x)
{
    __m128 q = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    q = _mm_max_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_max_ss(q, _mm_movehdup_ps(q)));
}

#    define vd_low(x)  _mm256_cvtps_pd(_mm256_castps256_ps128(x))
#    define vd_high(x) _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1))
INLINE double vd_sum(vd x)
{
    __m128d q = _mm_add_pd(_mm256_castpd256_pd128(x), _mm256_extractf128_pd(x, 1));
    return _mm_cvtsd_f64(_mm_add_sd(q, _mm_unpackhi_pd(q, q)));
}

INLINE void v_transpose(vf r[VL])
{
    vf t[8], u[8];
    UNROLL
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    UNROLL
    for (int i = 0; i < 8; i += 4) {
        u[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
        u[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
        u[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        u[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
    UNROLL
    for (int i = 0; i < 4; i++) {
        r[i] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x20);
        r[i + 4] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x31);
    }
}

INLINE vf v_load_bf16(const bf16_t *p)
{
    __m128i half = _mm_loadu_si128((const __m128i *)(const void *)p);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}
INLINE vf v_load_bf16_n(const bf16_t *p, int64_t n)
{
    if (n >= VL) return v_load_bf16(p);
    bf16_t buffer[VL] = {0};
    memcpy(buffer, p, (size_t)n * sizeof *p);
    return v_load_bf16(buffer);
}
INLINE __m128i v_round_bf16(vf x)
{
    __m256i bits = _mm256_castps_si256(x), high = _mm256_srli_epi32(bits, 16);
    __m256i odd = _mm256_and_si256(high, _mm256_set1_epi32(1));
    __m256i up = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
    __m256i y = _mm256_srli_epi32(up, 16);
    __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    y = _mm256_blendv_epi8(y, _mm256_or_si256(high, _mm256_set1_epi32(0x40)), nan);
    return _mm_packus_epi32(_mm256_castsi256_si128(y), _mm256_extracti128_si256(y, 1));
}
INLINE void v_store_bf16_n(bf16_t *p, vf x, int64_t n)
{
    __m128i y = v_round_bf16(x);
    if (n >= VL)
        _mm_storeu_si128((__m128i *)(void *)p, y);
    else
        memcpy(p, &y, (size_t)n * sizeof *p);
}
#endif

#endif
