/* compute_x86_math_internal.h: exponential, tanh and logarithm of a vector of floats.
 *
 * Coefficients are minimax fits (Remez exchange for the polynomials, Lawson's iteration for the
 * rational function) made for this file; the largest relative error of each, measured over its
 * whole range, is stated and held by tests/unit/test_compute_x86_math.c:
 *   v_exp2  3e-7    for results from 2^-100 up; smaller ones become 0, so that no denormal (slow on
 *                   x86, and the products that follow would make more of them) ever appears
 *   v_tanh  4e-7
 *   v_log   2e-7    relative to max(|log x|, 1); x positive and normal
 *   v_exp2_low, v_tanh_low (AVX-512)  8e-5, enough where bfloat16 follows
 * A NaN in gives a NaN out: a bad update must be seen, not clamped away. */
#ifndef COLOSSUS_COMPUTE_X86_MATH_INTERNAL_H
#define COLOSSUS_COMPUTE_X86_MATH_INTERNAL_H

#include "compute/x86/compute_x86_simd_internal.h"

#define LOG2_E 1.44269504088896340736f
#define LN_2   0.69314718055994530942f

#define EXP2_SMALLEST -100.0f

#if defined(__AVX512F__)

/* 2^x = 2^(x - floor x) * 2^floor x: vreduceps and vscalefps do the splitting and the scaling. */
INLINE vf v_exp2(vf x)
{
    vf r = _mm512_reduce_ps(x, 0x09); /* x - floor x */
    vf p = v_fma(r, v_set1(0.00187757681f), v_set1(0.00898933969f));
    p = v_fma(r, p, v_set1(0.0558263175f));
    p = v_fma(r, p, v_set1(0.240153611f));
    p = v_fma(r, p, v_set1(0.693153083f));
    p = v_fma(r, p, v_set1(0.99999994f));
    __mmask16 keep = _mm512_cmp_ps_mask(x, v_set1(EXP2_SMALLEST), _CMP_NLT_US);
    return _mm512_maskz_scalef_ps(keep, p, x);
}

#else

INLINE vf v_exp2(vf x)
{
    vf top = v_min(v_set1(128.0f), x);
    vf n = _mm256_round_ps(top, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    vf r = top - n;
    vf p = v_fma(r, v_set1(0.00132764725f), v_set1(0.00967554096f));
    p = v_fma(r, p, v_set1(0.0555071309f));
    p = v_fma(r, p, v_set1(0.240221202f));
    p = v_fma(r, p, v_set1(0.693146944f));
    p = v_fma(r, p, v_set1(1.00000012f));
    __m256i power = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    vf scaled = p * _mm256_castsi256_ps(_mm256_slli_epi32(power, 23));
    return _mm256_and_ps(_mm256_cmp_ps(x, v_set1(EXP2_SMALLEST), _CMP_NLT_US), scaled);
}

#endif

/* tanh y = y P(y^2) / Q(y^2), |y| cut at 9.01 where tanh rounds to 1. */
INLINE vf v_tanh(vf y)
{
    y = v_min(v_set1(9.01f), v_max(v_set1(-9.01f), y));
    vf u = y * y;
    vf p = v_fma(u, v_set1(1.3336754e-08f), v_set1(2.0596204e-05f));
    vf q = v_fma(u, v_set1(7.7692438e-07f), v_set1(0.000328435623f));
    p = v_fma(u, p, v_set1(0.00349480676f));
    q = v_fma(u, q, v_set1(0.0258740104f));
    p = v_fma(u, p, v_set1(0.13380368f));
    q = v_fma(u, q, v_set1(0.467136834f));
    p = v_fma(u, p, v_set1(0.999999979f));
    q = v_fma(u, q, v_set1(1.0f));
    return y * p * v_recip(q);
}

#if defined(__AVX512F__)

/* The two for scores whose exponential is rounded to bfloat16 (relative 2^-9 = 2e-3) behind them:
 * half the work. v_exp2_low gives 2^-100 below -100; v_tanh_low is cut at 5.5. */
#    define EXP2_LOW_3 0.0780245289f
#    define EXP2_LOW_2 0.226067156f
#    define EXP2_LOW_1 0.695833564f
#    define EXP2_LOW_0 0.999925196f

INLINE vf v_exp2_low(vf x)
{
    x = v_max(v_set1(EXP2_SMALLEST), x);
    vf r = _mm512_reduce_ps(x, 0x09);
    vf p = v_fma(r, v_set1(EXP2_LOW_3), v_set1(EXP2_LOW_2));
    p = v_fma(r, p, v_set1(EXP2_LOW_1));
    p = v_fma(r, p, v_set1(EXP2_LOW_0));
    return _mm512_scalef_ps(p, x);
}

INLINE vf v_tanh_low(vf y)
{
    y = v_min(v_set1(5.5f), v_max(v_set1(-5.5f), y));
    vf u = y * y;
    vf p = v_fma(u, v_set1(-2.84547051e-06f), v_set1(0.00105484268f));
    vf q = v_fma(u, v_set1(0.0156333767f), v_set1(0.443554757f));
    p = v_fma(u, p, v_set1(0.110270628f));
    q = v_fma(u, q, v_set1(1.0f));
    p = v_fma(u, p, v_set1(0.99999315f));
    return y * p * _mm512_rcp14_ps(q);
}

#endif

/* x = m 2^k with m in [sqrt(1/2), sqrt(2)); log m by the polynomial of Cephes' logf (Moshier). */
INLINE vf v_log(vf x)
{
    vi bits = vi_bits(x);
    vi k = vi_shift_right_signed(vi_sub(bits, vi_bits(v_set1(0.70710678f))), 23);
    vf f = vi_as_float(vi_sub(bits, vi_shift_left(k, 23))) - v_set1(1.0f);
    vf p = v_fma(f, v_set1(7.0376836292e-2f), v_set1(-1.1514610310e-1f));
    p = v_fma(f, p, v_set1(1.1676998740e-1f));
    p = v_fma(f, p, v_set1(-1.2420140846e-1f));
    p = v_fma(f, p, v_set1(1.4249322787e-1f));
    p = v_fma(f, p, v_set1(-1.6668057665e-1f));
    p = v_fma(f, p, v_set1(2.0000714765e-1f));
    p = v_fma(f, p, v_set1(-2.4999993993e-1f));
    p = v_fma(f, p, v_set1(3.3333331174e-1f));
    vf square = f * f;
    vf small = v_fma(square * f, p, v_fnma(v_set1(0.5f), square, f));
    return v_fma(vi_to_float(k), v_set1(LN_2), small);
}

#endif
