/* compute_ops_optimizer.c: reductions over flat arrays and the optimisers' element-wise updates.
 *
 * Arrays are cut into chunks of VECTOR_CHUNK elements. A reduction writes one double per chunk and
 * adds them in order. */
#include <math.h>

#include "compute/compute_internal.h"

static size_t chunks_of(size_t n)
{
    return (n + VECTOR_CHUNK - 1) / VECTOR_CHUNK;
}

static size_t chunk_length(size_t n, size_t task)
{
    return MIN((size_t)VECTOR_CHUNK, n - task * VECTOR_CHUNK);
}

/* ------------------------------------------------------------------ reductions */

struct reduce {
    compute_t *c;
    const float *x;
    size_t n;
    double (*kernel)(size_t n, const float *x);
    double *partial;
};

static void reduce_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct reduce *r = ctx;
    r->partial[task] = r->kernel(chunk_length(r->n, task), r->x + task * VECTOR_CHUNK);
}

static double reduce(compute_t *c, const float *x, size_t n,
                     double (*kernel)(size_t n, const float *x))
{
    struct reduce r = {.c = c, .x = x, .n = n, .kernel = kernel};
    size_t chunks = chunks_of(n);
    r.partial = compute_shared_scratch(c, chunks * sizeof(double));
    pool_run(c->pool, chunks, reduce_task, &r);
    double sum = 0;
    for (size_t i = 0; i < chunks; i++)
        sum += r.partial[i];
    return sum;
}

double compute_sum_squares(compute_t *c, const float *x, size_t n)
{
    return reduce(c, x, n, c->kernels.sum_squares);
}

double compute_sum(compute_t *c, const float *x, size_t n)
{
    return reduce(c, x, n, c->kernels.sum);
}

static void all_finite_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct reduce *r = ctx;
    bool finite = r->c->kernels.all_finite(chunk_length(r->n, task), r->x + task * VECTOR_CHUNK);
    r->partial[task] = finite ? 0 : 1;
}

bool compute_all_finite(compute_t *c, const float *x, size_t n)
{
    struct reduce r = {.c = c, .x = x, .n = n};
    size_t chunks = chunks_of(n);
    r.partial = compute_shared_scratch(c, chunks * sizeof(double));
    pool_run(c->pool, chunks, all_finite_task, &r);
    for (size_t i = 0; i < chunks; i++)
        if (r.partial[i] != 0) return false;
    return true;
}

/* ------------------------------------------------------------------ optimisers */

struct update {
    compute_t *c;
    size_t n;
    const struct compute_adamw *adamw;
    float bias1, bias2;
    float a, b; /* momentum: beta, grad_scale */
    bool nesterov;
    const float *g;
    float *p, *m, *v;
};

static void adamw_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct update *u = ctx;
    size_t i = task * VECTOR_CHUNK;
    u->c->kernels.adamw(u->adamw, u->bias1, u->bias2, chunk_length(u->n, task), u->p + i, u->g + i,
                        u->m + i, u->v + i);
}

void compute_adamw(compute_t *c, const struct compute_adamw *o, size_t n, float *p, const float *g,
                   float *m, float *v)
{
    CHECK(o->step >= 1);
    struct update u = {.c = c, .n = n, .adamw = o, .g = g, .p = p, .m = m, .v = v};
    u.bias1 = (float)(1.0 - pow((double)o->beta1, (double)o->step));
    u.bias2 = (float)(1.0 - pow((double)o->beta2, (double)o->step));
    pool_run(c->pool, chunks_of(n), adamw_task, &u);
}

static void momentum_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct update *u = ctx;
    size_t i = task * VECTOR_CHUNK;
    u->c->kernels.momentum(chunk_length(u->n, task), u->a, u->nesterov, u->b, u->g + i, u->m + i,
                           u->p + i);
}

void compute_momentum(compute_t *c, size_t n, float beta, bool nesterov, float grad_scale,
                      const float *g, float *m, float *u)
{
    struct update up = {.c = c, .n = n, .a = beta, .b = grad_scale, .nesterov = nesterov};
    up.g = g;
    up.m = m;
    up.p = u;
    pool_run(c->pool, chunks_of(n), momentum_task, &up);
}

static void axpby_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct update *u = ctx;
    size_t i = task * VECTOR_CHUNK;
    u->c->kernels.axpby(chunk_length(u->n, task), u->a, u->g + i, u->b, u->p + i);
}

void compute_axpby(compute_t *c, size_t n, float a, const float *x, float b, float *y)
{
    struct update u = {.c = c, .n = n, .a = a, .b = b, .g = x, .p = y};
    pool_run(c->pool, chunks_of(n), axpby_task, &u);
}
