/* compute_ops_internal.h: how operations are cut into tasks: by shape alone, never by the number
 * of threads, so that results do not depend on it. */
#ifndef COLOSSUS_COMPUTE_OPS_INTERNAL_H
#define COLOSSUS_COMPUTE_OPS_INTERNAL_H

#include "compute/core/compute_internal.h"

enum {
    TASK_ELEMENTS = 1 << 15, /* of a row-wise task: 128 KiB of fp32, well inside L2 */
    REDUCE_ROWS = 128,       /* rows summed into one partial gradient of a norm or router */
    VECTOR_CHUNK = 1 << 16   /* elements of a flat array per task */
};

/* ------------------------------------------------------------------ rows */

/* One operation over M rows; op and grad are its description (compute.h). */
struct row_run {
    compute_t *c;
    const void *op, *grad;
    int64_t M, per_task; /* rows */
    int64_t size;        /* floats of a sum over the rows of a task; of reductions only */
    float *partial;      /* these sums; see compute_run_reduce */
};

static inline int64_t run_first(const struct row_run *r, size_t task)
{
    return (int64_t)task * r->per_task;
}

static inline int64_t run_rows(const struct row_run *r, size_t task)
{
    return MIN(r->per_task, r->M - run_first(r, task));
}

/* Defines KERNEL_task: the rows of one task by the kernel of that name. */
#define ROW_TASK(kernel)                                                    \
    static void kernel##_task(void *ctx, size_t task, int thread)           \
    {                                                                       \
        (void)thread;                                                       \
        const struct row_run *r = ctx;                                      \
        r->c->kernels.kernel(r->op, run_first(r, task), run_rows(r, task)); \
    }                                                                       \
    struct row_run /* so that a use ends in a semicolon */

/* The same by a kernel of gradients. What it takes behind the rows follows; r and task may stand in
 * it. */
#define GRADIENT_TASK(kernel, ...)                                                  \
    static void kernel##_task(void *ctx, size_t task, int thread)                   \
    {                                                                               \
        (void)thread;                                                               \
        const struct row_run *r = ctx;                                              \
        r->c->kernels.kernel(r->op, r->grad, run_first(r, task), run_rows(r, task), \
                             ##__VA_ARGS__);                                        \
    }                                                                               \
    struct row_run

/* Runs a row task over M rows of `width` elements each. */
static inline void run_by_rows(compute_t *c, pool_fn *task, struct row_run r, int64_t width)
{
    r.c = c;
    r.per_task = MAX(1, TASK_ELEMENTS / MAX(width, 1));
    pool_run(c->pool, (size_t)ceil_div(r.M, r.per_task), task, &r);
}

/* Runs a task over chunks of REDUCE_ROWS rows, with r->partial [sums, chunks, r->size] in shared
 * scratch. Each task makes its own place in every sum zero (run_partial) and adds to it; the sums
 * are added up in the order of the chunks afterwards (compute_sum_partials). Returns the number of
 * chunks. */
int64_t compute_run_reduce(compute_t *c, pool_fn *task, struct row_run *r, int64_t sums);
static inline float *run_partial(const struct row_run *r, int64_t sum, size_t task)
{
    float *partial = r->partial + (sum * ceil_div(r->M, REDUCE_ROWS) + (int64_t)task) * r->size;
    memset(partial, 0, (size_t)r->size * sizeof *partial);
    return partial;
}
/* out[i] (+)= partial[0][i] + partial[1][i] + ... in this order, for n_partials rows of n. */
void compute_sum_partials(compute_t *c, const float *partial, int64_t n_partials, int64_t n,
                          bool accumulate, float *out);

/* ------------------------------------------------------------------ flat arrays */

static inline size_t chunk_count(size_t n)
{
    return (n + VECTOR_CHUNK - 1) / VECTOR_CHUNK;
}

static inline size_t chunk_length(size_t n, size_t task)
{
    return MIN((size_t)VECTOR_CHUNK, n - task * VECTOR_CHUNK);
}

/* ------------------------------------------------------------------ inference */

struct linear_ops;
/* The linear layers for inference that any CPU can run (compute_linear_panels.c). */
extern const struct linear_ops compute_linear_panels;
/* Those that hold their weights as codes (compute_linear_codes.c). */
extern const struct linear_ops compute_linear_codes_ops;

#endif
