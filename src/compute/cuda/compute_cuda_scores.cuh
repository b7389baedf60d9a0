/* compute_cuda_scores.cuh: scores of attention: cap, temperature, which keys a query sees.
 *
 * The cap makes the forward pass bound by special functions, so tanh runs on ordinary multiply-adds
 * where |x| is at most the cap: a polynomial whose error is 5e-8. */
#ifndef COLOSSUS_COMPUTE_CUDA_SCORES_CUH
#define COLOSSUS_COMPUTE_CUDA_SCORES_CUH

#include "compute/cuda/compute_cuda_device.cuh"

#define LOG2E 1.4426950408889634f

/* tanh(y) of |y| <= 1: y times a polynomial in y^2, the best of its degree in relative error. */
DEVICE float tanh_small(float y)
{
    float z = y * y, p = 0.00104102262f;
    p = fmaf(p, z, -0.00620337905f);
    p = fmaf(p, z, 0.0202899804f);
    p = fmaf(p, z, -0.0534570295f);
    p = fmaf(p, z, 0.133252041f);
    p = fmaf(p, z, -0.333328392f);
    p = fmaf(p, z, 0.99999995f);
    return p * y;
}

DEVICE float exp2_fast(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/* Of others: 1 - 2 / (1 + exp(2 |y|)), with y's sign. */
DEVICE float tanh_large(float y)
{
    return copysignf(1.0f - __fdividef(2.0f, 1.0f + exp2_fast(2 * LOG2E * fabsf(y))), y);
}

DEVICE float capped_fast(float x, float cap, float inverse)
{
    if (!(cap > 0)) return x;
    float y = x * inverse;
    return cap * (fabsf(y) <= 1 ? tanh_small(y) : tanh_large(y));
}

DEVICE float temperature(int64_t t, int64_t len)
{
    if (len <= 0 || t <= len) return 1.0f;
    return log2f((float)t) / log2f((float)len);
}

DEVICE int64_t first_key(const struct cuda_attention_args &a, int64_t b, int64_t t)
{
    return a.doc_start ? a.doc_start[b * a.T + t] : 0;
}

#endif
