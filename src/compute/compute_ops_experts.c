/* compute_ops_experts.c: router, dispatch by counting sort, gather and combine.
 *
 * A token's k choices are its slots token * k + j. Dispatch sorts slots by expert and keeps their
 * order inside an expert, so rows, sums and results are the same whatever ran where. For training
 * each expert's rows begin at a multiple of COMPUTE_ROW_ALIGN; the rows behind its count are padding, which
 * gather fills with zeros, so products over whole tiles add nothing. */
#include "compute/compute_ops_internal.h"

/* ------------------------------------------------------------------ router */

static void router_check(const struct compute_router *r)
{
    CHECK_MSG(r->E >= 1 && r->E <= COMPUTE_MAX_EXPERTS && r->k >= 1 && r->k <= r->E,
              "%lld of %lld experts", (long long)r->k, (long long)r->E);
}

/* The weights of a token's experts, in their order. */
static void renormalise(const struct compute_router *r, int64_t first, int64_t rows)
{
    for (float *w = r->weight + first * r->k; w < r->weight + (first + rows) * r->k; w += r->k) {
        float sum = 0;
        for (int64_t j = 0; j < r->k; j++)
            sum += w[j];
        for (int64_t j = 0; j < r->k; j++)
            w[j] /= sum;
    }
}

static void router_forward_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct row_run *run = ctx;
    const struct compute_router *r = run->op;
    run->c->kernels.router_forward(r, run_first(run, task), run_rows(run, task));
    if (r->renormalise) renormalise(r, run_first(run, task), run_rows(run, task));
}

void compute_router_forward(compute_t *c, const struct compute_router *r)
{
    router_check(r);
    run_by_rows(c, router_forward_task, (struct row_run){.op = r, .M = r->M}, r->D);
}

GRADIENT_TASK(router_backward, run_partial(r, 0, task));

void compute_router_backward(compute_t *c, const struct compute_router *r,
                             const struct compute_router_grad *d)
{
    router_check(r);
    CHECK(!r->renormalise);
    struct row_run run = {.op = r, .grad = d, .M = r->M, .size = r->E * r->D};
    int64_t chunks = compute_run_reduce(c, router_backward_task, &run, 1);
    compute_sum_partials(c, run.partial, chunks, run.size, d->accumulate, d->dW);
}

/* ------------------------------------------------------------------ dispatch */

int64_t compute_dispatch_rows(int64_t M, int64_t E, int64_t k, int64_t align)
{
    /* Every expert with rows wastes at most align - 1 of them. */
    int64_t used = MIN(E, M * k);
    return (M * k + used * (align - 1)) / align * align;
}

void compute_dispatch(const struct compute_dispatch *d)
{
    int32_t *offset = d->offset, *count = d->count;
    memset(count, 0, (size_t)d->E * sizeof *count);
    for (int64_t s = 0; s < d->M * d->k; s++)
        count[d->top[s]]++;
    offset[0] = 0;
    for (int64_t e = 0; e < d->E; e++)
        offset[e + 1] = offset[e] + (int32_t)round_up(count[e], d->align);
    memset(d->row_token, 0xff, (size_t)offset[d->E] * sizeof *d->row_token); /* -1: padding */
    memset(d->row_slot, 0xff, (size_t)offset[d->E] * sizeof *d->row_slot);
    memset(count, 0, (size_t)d->E * sizeof *count); /* again, as each expert's next free row */
    for (int64_t s = 0; s < d->M * d->k; s++) {
        int32_t e = d->top[s], row = offset[e] + count[e]++;
        d->slot_row[s] = row;
        d->row_token[row] = (int32_t)(s / d->k);
        d->row_slot[row] = (int32_t)s;
    }
}

/* ------------------------------------------------------------------ gather and combine */

struct gather {
    int64_t D;
    const int32_t *row_token;
    const void *x;
    void *y;
};

static void gather_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct row_run *run = ctx;
    const struct gather *g = run->op;
    size_t bytes = (size_t)g->D * compute_dtype_size(run->c->dtype);
    int64_t first = run_first(run, task), rows = run_rows(run, task);
    for (int64_t r = first; r < first + rows; r++) {
        char *to = (char *)g->y + (size_t)r * bytes;
        if (g->row_token[r] < 0)
            memset(to, 0, bytes);
        else
            memcpy(to, (const char *)g->x + (size_t)g->row_token[r] * bytes, bytes);
    }
}

void compute_gather(compute_t *c, int64_t rows, int64_t D, const int32_t *row_token, const void *x,
                    void *y)
{
    struct gather g = {D, row_token, x, y};
    run_by_rows(c, gather_task, (struct row_run){.op = &g, .M = rows}, D);
}

ROW_TASK(combine);

void compute_combine(compute_t *c, const struct compute_combine *m)
{
    run_by_rows(c, combine_task, (struct row_run){.op = m, .M = m->M}, m->D * (m->k + 1));
}
