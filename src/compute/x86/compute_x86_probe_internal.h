/* compute_x86_probe_internal.h: the vector functions applied to arrays, so that a test can measure
 * their error, and a stream of multiply-adds whose speed is the roof that bench/bench_kernels.c
 * prints beside the kernels. Included by compute_x86_probe_{avx2,avx512}.c only. */
#ifndef COLOSSUS_COMPUTE_X86_PROBE_INTERNAL_H
#define COLOSSUS_COMPUTE_X86_PROBE_INTERNAL_H

#include "compute/x86/compute_x86_internal.h"
#include "compute/x86/compute_x86_math_internal.h"

static void probe_exp2(size_t count, const float *x, float *y)
{
    VECTOR_LOOP(i, n, count, { v_store_n(y + i, v_exp2(v_load_n(x + i, n)), n); });
}

static void probe_tanh(size_t count, const float *x, float *y)
{
    VECTOR_LOOP(i, n, count, { v_store_n(y + i, v_tanh(v_load_n(x + i, n)), n); });
}

static void probe_log(size_t count, const float *x, float *y)
{
    VECTOR_LOOP(i, n, count, { v_store_n(y + i, v_log(v_load_n(x + i, n)), n); });
}

#if VL == 16
static void probe_exp2_low(size_t count, const float *x, float *y)
{
    VECTOR_LOOP(i, n, count, { v_store_n(y + i, v_exp2_low(v_load_n(x + i, n)), n); });
}

static void probe_tanh_low(size_t count, const float *x, float *y)
{
    VECTOR_LOOP(i, n, count, { v_store_n(y + i, v_tanh_low(v_load_n(x + i, n)), n); });
}
#endif

/* Ten chains: enough to hide a latency of four cycles on two units. */
static double probe_multiply_add(int64_t steps)
{
    vf sum[10], a = v_set1(0.5f), b = v_set1(1.0f);
    UNROLL
    for (int i = 0; i < 10; i++)
        sum[i] = v_zero();
    for (int64_t s = 0; s < steps; s++) {
        UNROLL
        for (int i = 0; i < 10; i++)
            sum[i] = v_fma(sum[i], a, b);
        __asm__ volatile("" ::: "memory");
    }
    vf total = v_zero();
    UNROLL
    for (int i = 0; i < 10; i++)
        total += sum[i];
    volatile float keep = v_sum(total); /* the sum must be computed */
    (void)keep;
    return (double)steps * 10 * VL * 2;
}

#endif
