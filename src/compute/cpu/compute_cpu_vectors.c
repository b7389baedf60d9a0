/* compute_cpu_vectors.c: conversion, reductions and the optimisers' updates of flat arrays.
 *
 * Arrays are cut into chunks of VECTOR_CHUNK elements. A reduction writes one double per chunk and
 * adds them in order. */
#include <math.h>

#include "compute/cpu/compute_cpu_internal.h"

/* ------------------------------------------------------------------ conversion */

struct convert {
    compute_t *c;
    const void *x;
    void *y;
    size_t n;
    float scale;
};

static void to_act_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct convert *v = ctx;
    size_t first = task * VECTOR_CHUNK;
    v->c->kernels.to_act(chunk_length(v->n, task), (const float *)v->x + first,
                         act_row_out(v->c, v->y, (int64_t)first, 1));
}

void compute_cpu_to_act(compute_t *c, const float *x, size_t n, void *y)
{
    struct convert v = {.c = c, .x = x, .y = y, .n = n};
    pool_run(c->pool, chunk_count(n), to_act_task, &v);
}

static void scale_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct convert *v = ctx;
    int64_t first = (int64_t)task * VECTOR_CHUNK;
    v->c->kernels.scale(chunk_length(v->n, task), v->scale, act_row(v->c, v->x, first, 1),
                        act_row_out(v->c, v->y, first, 1));
}

void compute_cpu_scale(compute_t *c, int64_t n, float scale, const void *x, void *y)
{
    struct convert v = {.c = c, .x = x, .y = y, .n = (size_t)n, .scale = scale};
    pool_run(c->pool, chunk_count((size_t)n), scale_task, &v);
}

/* ------------------------------------------------------------------ reductions */

struct reduce {
    compute_t *c;
    const float *x;
    size_t n;
    double *partial; /* one number per chunk */
};

/* The chunks are fixed by n and added in order: the sum is the same for any number of threads. */
static double reduce(compute_t *c, const float *x, size_t n, pool_fn *task)
{
    size_t chunks = chunk_count(n);
    struct reduce r = {c, x, n, compute_shared_scratch(c, chunks * sizeof(double))};
    pool_run(c->pool, chunks, task, &r);
    double sum = 0;
    for (size_t i = 0; i < chunks; i++)
        sum += r.partial[i];
    return sum;
}

static void sum_squares_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct reduce *r = ctx;
    const float *x = r->x + task * VECTOR_CHUNK;
    r->partial[task] = r->c->kernels.sum_squares(chunk_length(r->n, task), x);
}

double compute_cpu_sum_squares(compute_t *c, const float *x, size_t n)
{
    return reduce(c, x, n, sum_squares_task);
}

static void not_finite_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct reduce *r = ctx;
    const float *x = r->x + task * VECTOR_CHUNK;
    r->partial[task] = !r->c->kernels.all_finite(chunk_length(r->n, task), x);
}

bool compute_cpu_all_finite(compute_t *c, const float *x, size_t n)
{
    return reduce(c, x, n, not_finite_task) == 0;
}

/* ------------------------------------------------------------------ optimisers */

struct adamw {
    compute_t *c;
    const struct compute_adamw *o;
    float bias1, bias2; /* 1 - beta^step */
};

static void adamw_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct adamw *u = ctx;
    u->c->kernels.adamw(u->o, u->bias1, u->bias2, task * VECTOR_CHUNK, chunk_length(u->o->n, task));
}

/* The powers are taken in double: beta2^step is near 1 for long. */
void compute_cpu_adamw(compute_t *c, const struct compute_adamw *o)
{
    CHECK(o->step >= 1);
    struct adamw u = {.c = c, .o = o};
    u.bias1 = (float)(1.0 - pow((double)o->beta1, (double)o->step));
    u.bias2 = (float)(1.0 - pow((double)o->beta2, (double)o->step));
    pool_run(c->pool, chunk_count(o->n), adamw_task, &u);
}

struct momentum {
    compute_t *c;
    const struct compute_momentum *o;
};

static void momentum_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct momentum *u = ctx;
    u->c->kernels.momentum(u->o, task * VECTOR_CHUNK, chunk_length(u->o->n, task));
}

void compute_cpu_momentum(compute_t *c, const struct compute_momentum *o)
{
    pool_run(c->pool, chunk_count(o->n), momentum_task, &(struct momentum){c, o});
}

struct axpby {
    compute_t *c;
    size_t n;
    float a, b;
    const float *x;
    float *y;
};

static void axpby_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct axpby *u = ctx;
    size_t i = task * VECTOR_CHUNK;
    u->c->kernels.axpby(chunk_length(u->n, task), u->a, u->x + i, u->b, u->y + i);
}

void compute_cpu_axpby(compute_t *c, size_t n, float a, const float *x, float b, float *y)
{
    struct axpby u = {c, n, a, b, x, y};
    pool_run(c->pool, chunk_count(n), axpby_task, &u);
}
