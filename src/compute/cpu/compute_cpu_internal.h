/* compute_cpu_internal.h: the operations of a CPU (compute.h says what each does), and how they are cut
 * into tasks: by shape alone, never by the number of threads, so that results do not depend on it. */
#ifndef COLOSSUS_COMPUTE_CPU_INTERNAL_H
#define COLOSSUS_COMPUTE_CPU_INTERNAL_H

#include "compute/core/compute_internal.h"
#include "compute/core/compute_ops_internal.h"

extern const struct compute_ops compute_cpu_ops;
int compute_cpu_new(const struct compute_options *o, compute_t **out, struct error *e);
void compute_cpu_close(compute_t *c);
void *compute_cpu_alloc(compute_t *c, size_t bytes);
void compute_cpu_release(compute_t *c, void *memory, size_t bytes);
void compute_cpu_upload(compute_t *c, void *to, const void *from, size_t bytes);
void compute_cpu_download(compute_t *c, void *to, const void *from, size_t bytes);
void compute_cpu_copy(compute_t *c, void *to, const void *from, size_t bytes);
void compute_cpu_clear(compute_t *c, void *to, size_t bytes);
size_t compute_cpu_linear_bytes(const compute_t *c, const struct compute_linear_desc *d);
compute_linear_t *compute_cpu_linear_new(compute_t *c, const struct compute_linear_desc *d);
void compute_cpu_linear_free(compute_linear_t *l);
void compute_cpu_linear_update(compute_linear_t *l);
void compute_cpu_linear_put(compute_linear_t *l, const struct compute_linear_rows *r);
const struct compute_codes *compute_cpu_linear_form(const compute_linear_t *l, int part);
void compute_cpu_linear_put_codes(compute_linear_t *l, const struct compute_linear_codes *r);
void compute_cpu_linear_forward(compute_linear_t *l, struct compute_rows rows, const void *X,
                                void *Y, enum compute_dtype y_dtype);
void compute_cpu_linear_backward_input(compute_linear_t *l, struct compute_rows rows,
                                       const void *dY, void *dX, enum compute_dtype dx_dtype);
void compute_cpu_linear_backward_weight(compute_linear_t *l, struct compute_rows rows,
                                        const void *dY, const void *X, bool accumulate);
void compute_cpu_linear_embed(compute_linear_t *l, const struct compute_embed *e, float *h);
void compute_cpu_to_act(compute_t *c, const float *x, size_t n, void *y);
void compute_cpu_matmul(compute_t *c, const struct compute_matmul *m);
void compute_cpu_rmsnorm(compute_t *c, const struct compute_norm *n);
void compute_cpu_rmsnorm_backward(compute_t *c, const struct compute_norm *n,
                                  const struct compute_norm_grad *d);
void compute_cpu_seam_forward(compute_t *c, const struct compute_seam *s);
void compute_cpu_seam_backward(compute_t *c, const struct compute_seam *s,
                               const struct compute_seam_grad *d);
void compute_cpu_head_norm(compute_t *c, const struct compute_head_norm *n);
void compute_cpu_bias(compute_t *c, const struct compute_bias *b);
void compute_cpu_attention_forward(compute_t *c, const struct compute_attention *a);
void compute_cpu_attention_backward(compute_t *c, const struct compute_attention *a,
                                    const struct compute_attention_grad *d);
void compute_cpu_paged_store(compute_t *c, const struct compute_paged *p);
void compute_cpu_paged_attention(compute_t *c, const struct compute_paged *p);
void compute_cpu_rope(compute_t *c, const struct compute_rope *p);
void compute_cpu_glu_forward(compute_t *c, const struct compute_glu *g);
void compute_cpu_glu_backward(compute_t *c, const struct compute_glu *g,
                              const struct compute_glu_grad *d);
void compute_cpu_router_forward(compute_t *c, const struct compute_router *r);
void compute_cpu_router_balance(compute_t *c, const struct compute_router *r, float *bias);
void compute_cpu_router_select(compute_t *c, const struct compute_router *r);
void compute_cpu_router_backward(compute_t *c, const struct compute_router *r,
                                 const struct compute_router_grad *d);
void compute_cpu_dispatch(compute_t *c, const struct compute_dispatch *d);
void compute_cpu_routed(compute_t *c, const struct compute_routed *r);
void compute_cpu_slots(compute_t *c, const struct compute_slots *s);
void compute_cpu_gather(compute_t *c, const struct compute_gather *g);
void compute_cpu_combine(compute_t *c, const struct compute_combine *m);
void compute_cpu_scale(compute_t *c, int64_t n, float scale, const void *x, void *y);
void compute_cpu_embed(compute_t *c, const struct compute_embed *e, const float *table, float *h);
void compute_cpu_embed_backward(compute_t *c, const struct compute_embed *e, const float *dh,
                                float *d_table);
void compute_cpu_cross_entropy(compute_t *c, const struct compute_loss *l);
void compute_cpu_logits(compute_t *c, int64_t M, int64_t V, float multiplier, float cap, float *z);
double compute_cpu_sum_squares(compute_t *c, const float *x, size_t n);
bool compute_cpu_all_finite(compute_t *c, const float *x, size_t n);
void compute_cpu_adamw(compute_t *c, const struct compute_adamw *o);
void compute_cpu_momentum(compute_t *c, const struct compute_momentum *o);
void compute_cpu_axpby(compute_t *c, size_t n, float a, const float *x, float b, float *y);

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
/* The linear layers for inference that any CPU can run (compute_cpu_linear_panels.c). */
extern const struct linear_ops compute_linear_panels;
/* Those that hold their weights as codes (compute_cpu_linear_codes.c). */
extern const struct linear_ops compute_linear_codes_ops;

#endif
