/* compute_internal.h: the context as the files of compute/ see it.
 *
 * compute/core/ is the floor that the kernels and the operations stand on: it calls neither. It
 * holds the context, its scratch memory, the table that a backend fills and how a linear layer
 * looks to its implementations.
 *
 * A context owns two scratch areas, both grown to the largest size asked for and never shrunk, so
 * that an operation allocates only until it has seen its largest shapes:
 *   shared   one block, for partial results that tasks write side by side and one sum reads;
 *   private  one slice per thread of the pool, for a kernel's working memory.
 * They are handed out only by the thread that runs the operation, before pool_run; an operation
 * uses each at most once, so there is nothing to free or to nest. */
#ifndef COLOSSUS_COMPUTE_INTERNAL_H
#define COLOSSUS_COMPUTE_INTERNAL_H

#include "compute/core/compute_kernels_internal.h"

struct compute_scratch {
    void *data;
    size_t size;
};

struct compute_ops;
struct compute_trap;
struct compute_dnnl; /* engine, streams and cached products (compute_cpu_dnnl.c) */

struct compute {
    const struct compute_ops *ops; /* of the device */
    struct compute_trap *trap;     /* NULL: memory is open to all */
    void *device;                  /* the device's own, where it is no CPU */
    enum compute_dtype dtype;
    /* The rest is a CPU's. */
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

static inline int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static inline int64_t round_up(int64_t a, int64_t b)
{
    return ceil_div(a, b) * b;
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

#endif
