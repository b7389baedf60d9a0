/* test_compute_arrays.h: arrays for the tests of compute/: random, of either number format, fenced
 * by a pattern that shows writes beyond the end, and compared within a stated bound. */
#ifndef COLOSSUS_TEST_COMPUTE_ARRAYS_H
#define COLOSSUS_TEST_COMPUTE_ARRAYS_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "compute/compute.h"

enum { FENCE_BYTES = 128, FENCE = 0x5a };

/* 64-byte aligned; data is float or bf16_t by dtype. */
struct array {
    enum compute_dtype dtype;
    size_t n;
    void *data;
    char *block;
};

static inline struct array array_new(enum compute_dtype dtype, size_t n)
{
    struct array a = {.dtype = dtype, .n = n};
    size_t bytes = n * compute_dtype_size(dtype);
    a.block = mem_alloc(bytes + FENCE_BYTES + 64);
    a.data = (void *)(((uintptr_t)a.block + 63) & ~(uintptr_t)63);
    memset(a.data, 0, bytes);
    memset((char *)a.data + bytes, FENCE, FENCE_BYTES);
    return a;
}

/* Fails where something was written behind the end. */
static inline void array_free(struct array *a)
{
    const char *fence = (char *)a->data + a->n * compute_dtype_size(a->dtype);
    for (int i = 0; i < FENCE_BYTES; i++)
        if (fence[i] != FENCE) fail_msg("byte %d behind the end of an array was written", i);
    mem_free(a->block);
    a->block = NULL;
}

static inline float array_get(const struct array *a, size_t i)
{
    return a->dtype == COMPUTE_F32 ? ((float *)a->data)[i] : bf16_load(((bf16_t *)a->data)[i]);
}

static inline void array_set(struct array *a, size_t i, float x)
{
    if (a->dtype == COMPUTE_F32)
        ((float *)a->data)[i] = x;
    else
        ((bf16_t *)a->data)[i] = bf16_store(x);
}

/* Normal numbers of the given mean and deviation; a stream gives the same ones every time. */
static inline struct array array_random(enum compute_dtype dtype, size_t n, uint64_t stream,
                                        double mean, double deviation)
{
    struct array a = array_new(dtype, n);
    for (size_t i = 0; i < n; i++)
        array_set(&a, i, (float)(mean + deviation * rng_normal(20, stream, i)));
    return a;
}

static inline struct array array_copy(const struct array *from)
{
    struct array a = array_new(from->dtype, from->n);
    memcpy(a.data, from->data, a.n * compute_dtype_size(a.dtype));
    return a;
}

static inline float *array_f32(struct array *a)
{
    assert_int_equal(a->dtype, COMPUTE_F32);
    return a->data;
}

static inline double array_largest(const struct array *a)
{
    double largest = 0;
    for (size_t i = 0; i < a->n; i++)
        largest = fmax(largest, fabs((double)array_get(a, i)));
    return largest;
}

/* Two bfloat16 that come from nearly the same float may round to neighbours: 2^-7 apart. */
#define BF16_STEP 0x1p-7

/* Inputs are of size 1 here. Where even the largest result is below this, it is what is left of
 * terms of that size, and their rounding is what can be asked for. */
#define SMALLEST_LARGEST 0.02

/* Every |got - want| <= relative * |want| + absolute * max|want|, plus one step of bfloat16 where
 * the array is one. */
static inline void array_expect(const char *what, const struct array *got, const struct array *want,
                                double relative, double absolute)
{
    assert_int_equal(got->n, want->n);
    double largest = fmax(array_largest(want), SMALLEST_LARGEST);
    if (got->dtype == COMPUTE_BF16) relative += BF16_STEP;
    for (size_t i = 0; i < got->n; i++) {
        double g = array_get(got, i), w = array_get(want, i);
        double bound = relative * fabs(w) + absolute * largest;
        if (!(fabs(g - w) <= bound))
            fail_msg("%s: element %zu of %zu is %.9g, want %.9g (off by %.3g, allowed %.3g)", what,
                     i, got->n, g, w, fabs(g - w), bound);
    }
}

#endif
