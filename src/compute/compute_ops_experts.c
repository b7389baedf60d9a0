/* compute_ops_experts.c: router, dispatch by counting sort, gather and combine.
 *
 * A token's k choices are its slots token * k + j. Dispatch sorts slots by expert and keeps their
 * order inside an expert, so rows, sums and results are the same whatever ran where. Each expert's
 * rows begin at a multiple of COMPUTE_ROW_ALIGN; the rows behind its count are padding, which
 * gather fills with zeros, so products over whole tiles add nothing. */
#include "compute/compute_internal.h"

/* ------------------------------------------------------------------ router */

struct router {
    compute_t *c;
    const struct compute_router *r;
    int64_t rows;
    const float *d_weight, *f;
    float aux_coef, z_coef;
    float *dx, *partial;
};

static struct compute_router router_from_row(const compute_t *c, const struct compute_router *r,
                                             int64_t m)
{
    struct compute_router part = *r;
    part.x = act_row(c, r->x, m, r->D);
    part.probs = r->probs + m * r->E;
    part.lse = r->lse + m;
    part.top = r->top + m * r->k;
    part.weight = r->weight + m * r->k;
    return part;
}

static void router_check(const struct compute_router *r)
{
    CHECK_MSG(r->E >= 1 && r->E <= COMPUTE_MAX_EXPERTS && r->k >= 1 && r->k <= r->E,
              "%lld of %lld experts", (long long)r->k, (long long)r->E);
}

static void router_forward_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct router *run = ctx;
    int64_t m = (int64_t)task * run->rows;
    struct compute_router part = router_from_row(run->c, run->r, m);
    run->c->kernels.router_forward(&part, MIN(run->rows, run->r->M - m));
}

void compute_router_forward(compute_t *c, const struct compute_router *r)
{
    router_check(r);
    struct router run = {.c = c, .r = r, .rows = task_rows(r->D)};
    pool_run(c->pool, (size_t)ceil_div(r->M, run.rows), router_forward_task, &run);
}

static void router_backward_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct router *run = ctx;
    const struct compute_router *r = run->r;
    int64_t m = (int64_t)task * REDUCE_ROWS, size = r->E * r->D;
    struct compute_router part = router_from_row(run->c, r, m);
    float *partial = run->partial + (int64_t)task * size;
    memset(partial, 0, (size_t)size * sizeof *partial);
    run->c->kernels.router_backward(&part, MIN(REDUCE_ROWS, r->M - m), r->M,
                                    run->d_weight + m * r->k, run->f, run->aux_coef, run->z_coef,
                                    run->dx + m * r->D, partial);
}

void compute_router_backward(compute_t *c, const struct compute_router *r, const float *d_weight,
                             const float *f, float aux_coef, float z_coef, float *dx, float *dW,
                             bool accumulate)
{
    router_check(r);
    int64_t chunks = ceil_div(r->M, REDUCE_ROWS), size = r->E * r->D;
    struct router run = {.c = c, .r = r, .d_weight = d_weight, .f = f};
    run.aux_coef = aux_coef;
    run.z_coef = z_coef;
    run.dx = dx;
    run.partial = compute_shared_scratch(c, (size_t)(chunks * size) * sizeof(float));
    pool_run(c->pool, (size_t)chunks, router_backward_task, &run);
    compute_sum_partials(c, run.partial, chunks, size, accumulate, dW);
}

/* ------------------------------------------------------------------ dispatch */

int64_t compute_dispatch_rows(int64_t M, int64_t E, int64_t k)
{
    /* Every expert with rows wastes at most ALIGN - 1 of them. */
    int64_t used = MIN(E, M * k);
    return (M * k + used * (COMPUTE_ROW_ALIGN - 1)) / COMPUTE_ROW_ALIGN * COMPUTE_ROW_ALIGN;
}

void compute_dispatch(int64_t M, int64_t E, int64_t k, const int32_t *top, int32_t *offset,
                      int32_t *count, int32_t *slot_row, int32_t *row_token, int32_t *row_slot)
{
    memset(count, 0, (size_t)E * sizeof *count);
    for (int64_t s = 0; s < M * k; s++)
        count[top[s]]++;
    offset[0] = 0;
    for (int64_t e = 0; e < E; e++)
        offset[e + 1] = offset[e] + (int32_t)round_up(count[e], COMPUTE_ROW_ALIGN);
    memset(row_token, 0xff, (size_t)offset[E] * sizeof *row_token); /* -1: padding */
    memset(row_slot, 0xff, (size_t)offset[E] * sizeof *row_slot);
    memset(count, 0, (size_t)E * sizeof *count); /* again, as each expert's next free row */
    for (int64_t s = 0; s < M * k; s++) {
        int32_t e = top[s], row = offset[e] + count[e]++;
        slot_row[s] = row;
        row_token[row] = (int32_t)(s / k);
        row_slot[row] = (int32_t)s;
    }
}

/* ------------------------------------------------------------------ gather and combine */

struct move {
    compute_t *c;
    int64_t rows, D, k, per_task;
    const int32_t *index;
    const void *x, *a;
    const float *b;
    float scale;
    void *y;
};

static void gather_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct move *v = ctx;
    int64_t r0 = (int64_t)task * v->per_task;
    v->c->kernels.gather(MIN(v->per_task, v->rows - r0), v->D, v->index + r0, v->x,
                         act_row_out(v->c, v->y, r0, v->D));
}

void compute_gather(compute_t *c, int64_t rows, int64_t D, const int32_t *row_token, const void *x,
                    void *y)
{
    struct move v = {.c = c, .rows = rows, .D = D, .per_task = task_rows(D), .index = row_token};
    v.x = x;
    v.y = y;
    pool_run(c->pool, (size_t)ceil_div(rows, v.per_task), gather_task, &v);
}

static void combine_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct move *v = ctx;
    int64_t r0 = (int64_t)task * v->per_task;
    v->c->kernels.combine(MIN(v->per_task, v->rows - r0), v->D, v->k, v->index + r0 * v->k, v->x,
                          v->a ? act_row(v->c, v->a, r0, v->D) : NULL,
                          v->b ? v->b + r0 * v->D : NULL, v->scale,
                          act_row_out(v->c, v->y, r0, v->D));
}

void compute_combine(compute_t *c, int64_t M, int64_t D, int64_t k, const int32_t *slot_row,
                     const void *y, const void *a, const float *b, float scale, void *out)
{
    struct move v = {.c = c, .rows = M, .D = D, .k = k, .per_task = task_rows(D * (k + 1))};
    v.index = slot_row;
    v.x = y;
    v.a = a;
    v.b = b;
    v.scale = scale;
    v.y = out;
    pool_run(c->pool, (size_t)ceil_div(M, v.per_task), combine_task, &v);
}
