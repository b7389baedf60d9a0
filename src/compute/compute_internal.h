/* compute_internal.h: the context as the files of compute/ see it.
 *
 * A context owns two scratch areas, both grown to the largest size asked for and never shrunk, so
 * that an operation allocates only until it has seen its largest shapes:
 *   shared   one block, for partial results that tasks write side by side and one sum reads;
 *   private  one slice per thread of the pool, for a kernel's working memory.
 * They are handed out only by the thread that runs the operation, before pool_run; an operation
 * uses each at most once, so there is nothing to free or to nest. */
#ifndef COLOSSUS_COMPUTE_INTERNAL_H
#define COLOSSUS_COMPUTE_INTERNAL_H

#include <string.h>

#include "compute/compute.h"
#include "compute/compute_kernels_internal.h"

struct compute_scratch {
    void *data;
    size_t size;
};

struct compute_dnnl; /* engine, streams and cached products (compute_dnnl.c) */

struct compute {
    enum compute_dtype dtype;
    enum compute_backend backend; /* never COMPUTE_AUTO */
    struct pool *pool;
    int threads;
    struct compute_kernels kernels; /* no entry is NULL but matmul on fast backends */
    bool amx; /* bfloat16 products run on AMX tiles (compute/x86/) and not by oneDNN */
    struct compute_scratch shared, private;
    struct compute_dnnl *dnnl; /* NULL on COMPUTE_REFERENCE */
    char name[64];
};

/* At least `bytes`, 64-byte aligned; contents undefined. Aborts with a message where there is no
 * memory: sizes follow from shapes that were planned before. */
void *compute_shared_scratch(compute_t *c, size_t bytes);
/* The slice of thread t is base + t * stride; stride is rounded up from bytes and returned. */
char *compute_private_scratch(compute_t *c, size_t bytes, size_t *stride);

/* ------------------------------------------------------------------ cutting work into tasks */

enum {
    TASK_ELEMENTS = 1 << 15, /* of a row-wise task: 128 KiB of fp32, well inside L2 */
    REDUCE_ROWS = 128,       /* rows summed into one partial gradient of a norm or router */
    VECTOR_CHUNK = 1 << 16   /* elements of a flat array per task */
};

static inline int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static inline int64_t round_up(int64_t a, int64_t b)
{
    return ceil_div(a, b) * b;
}

/* Rows per task for rows of `width` elements: by shape alone, never by the number of threads. */
static inline int64_t task_rows(int64_t width)
{
    return MAX(1, TASK_ELEMENTS / MAX(width, 1));
}

/* The first element of row `row` of an act array. */
static inline const void *act_row(const compute_t *c, const void *x, int64_t row, int64_t ld)
{
    return (const char *)x + (size_t)(row * ld) * compute_dtype_size(c->dtype);
}

static inline void *act_row_out(const compute_t *c, void *x, int64_t row, int64_t ld)
{
    return (char *)x + (size_t)(row * ld) * compute_dtype_size(c->dtype);
}

/* out[i] (+)= partial[0][i] + partial[1][i] + ... in this order, for n_partials rows of n. */
void compute_sum_partials(compute_t *c, const float *partial, int64_t n_partials, int64_t n,
                          bool accumulate, float *out);

/* ------------------------------------------------------------------ bfloat16 */

static inline float bf16_load(bf16_t x)
{
    uint32_t bits = (uint32_t)x << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* To nearest, ties to even; a NaN stays one (its quiet bit is set so that cutting the lower half
 * cannot make an infinity of it). */
static inline bf16_t bf16_store(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (bf16_t)((bits >> 16) | 0x40u);
    return (bf16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

#endif
