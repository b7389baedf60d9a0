/* compute_cpu_experts.c: router, dispatch by counting sort, gather and combine.
 *
 * A token's k choices are its slots token * k + j. Dispatch sorts slots by expert and keeps their
 * order inside an expert, so rows, sums and results are the same whatever ran where. For training
 * each expert's rows begin at a multiple of COMPUTE_ROW_ALIGN; the rows behind its count are padding, which
 * gather fills with zeros, so products over whole tiles add nothing. */
#include "compute/cpu/compute_cpu_internal.h"

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

void compute_cpu_router_forward(compute_t *c, const struct compute_router *r)
{
    router_check(r);
    run_by_rows(c, router_forward_task, (struct row_run){.op = r, .M = r->M}, r->D);
}

GRADIENT_TASK(router_backward, run_partial(r, 0, task));

void compute_cpu_router_backward(compute_t *c, const struct compute_router *r,
                                 const struct compute_router_grad *d)
{
    router_check(r);
    CHECK(!r->renormalise);
    struct row_run run = {.op = r, .grad = d, .M = r->M, .size = r->E * r->D};
    int64_t chunks = compute_run_reduce(c, router_backward_task, &run, 1);
    compute_sum_partials(c, run.partial, chunks, run.size, d->accumulate, d->dW);
}

/* ------------------------------------------------------------------ dispatch */

void compute_cpu_dispatch(compute_t *c, const struct compute_dispatch *d)
{
    (void)c;
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
    for (int32_t i = 0; i < offset[d->E] && d->row_weight; i++)
        d->row_weight[i] = d->row_slot[i] >= 0 ? d->weight[d->row_slot[i]] : 0;
}

/* Experts summed side by side: rows of probabilities are read whole. */
enum { STATS_BLOCK = 16 };

static void sum_probs(const struct compute_routed *r, int64_t first, double sum[STATS_BLOCK])
{
    int64_t n = MIN(STATS_BLOCK, r->E - first);
    memset(sum, 0, STATS_BLOCK * sizeof(*sum));
    for (int64_t i = 0; i < r->M; i++)
        for (int64_t e = 0; e < n; e++)
            sum[e] += (double)r->probs[i * r->E + first + e];
}

void compute_cpu_routed(compute_t *c, const struct compute_routed *r)
{
    double sum[STATS_BLOCK] = {0}, z = 0;
    (void)c;
    for (int64_t e = 0; e < r->E; e++) {
        if (e % STATS_BLOCK == 0) sum_probs(r, e, sum);
        r->out[e] = r->count[e];
        r->out[r->E + e] = sum[e % STATS_BLOCK];
    }
    for (int64_t i = 0; i < r->M; i++)
        z += (double)r->lse[i] * (double)r->lse[i];
    r->out[2 * r->E] = z;
}

void compute_cpu_slots(compute_t *c, const struct compute_slots *s)
{
    (void)c;
    for (int64_t i = 0; i < s->M * s->k; i++)
        s->d_weight[i] = s->d_row[s->slot_row[i]];
    for (int64_t e = 0; e < s->E && s->share; e++)
        s->share[e] = (float)((double)s->count[e] / (double)(s->M * s->k));
}

/* ------------------------------------------------------------------ gather and combine */

static void gather_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct row_run *run = ctx;
    const struct compute_gather *g = run->op;
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

void compute_cpu_gather(compute_t *c, const struct compute_gather *g)
{
    struct row_run run = {.op = g, .M = g->used ? *g->used : g->rows};
    CHECK(run.M <= g->rows);
    run_by_rows(c, gather_task, run, g->D);
}

ROW_TASK(combine);

void compute_cpu_combine(compute_t *c, const struct compute_combine *m)
{
    run_by_rows(c, combine_task, (struct row_run){.op = m, .M = m->M}, m->D * (m->k + 1));
}
