/* compute_ops_loss.c: embedding, cross entropy and final logits over all threads.
 *
 * The embedding's gradient adds rows that may repeat; a task owns a band of columns and walks all
 * tokens in order, so no two tasks touch one number and the order of addition is fixed. */
#include "compute/compute_internal.h"

enum { EMBED_COLUMNS = 64 }; /* 256 bytes of a row: whole cache lines, enough tasks */

/* ------------------------------------------------------------------ embedding */

struct embed {
    compute_t *c;
    int64_t M, D, rows;
    const uint32_t *ids;
    const float *in; /* table forward, dh backward */
    float scale;
    float *out; /* h forward, d_table backward */
};

static void embed_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct embed *m = ctx;
    int64_t r0 = (int64_t)task * m->rows;
    m->c->kernels.embed(MIN(m->rows, m->M - r0), m->D, m->ids + r0, m->in, m->scale,
                        m->out + r0 * m->D);
}

void compute_embed(compute_t *c, int64_t M, int64_t D, const uint32_t *ids, const float *table,
                   float scale, float *h)
{
    struct embed m = {c, M, D, task_rows(D), ids, table, scale, h};
    pool_run(c->pool, (size_t)ceil_div(M, m.rows), embed_task, &m);
}

static void embed_backward_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct embed *m = ctx;
    int64_t d0 = (int64_t)task * EMBED_COLUMNS;
    m->c->kernels.embed_backward(m->M, m->D, d0, MIN(d0 + EMBED_COLUMNS, m->D), m->ids, m->in,
                                 m->scale, m->out);
}

void compute_embed_backward(compute_t *c, int64_t M, int64_t D, const uint32_t *ids,
                            const float *dh, float scale, float *d_table)
{
    struct embed m = {c, M, D, 0, ids, dh, scale, d_table};
    pool_run(c->pool, (size_t)ceil_div(D, EMBED_COLUMNS), embed_backward_task, &m);
}

/* ------------------------------------------------------------------ loss */

struct loss {
    compute_t *c;
    int64_t M, V, rows;
    const float *z;
    float *z_out;
    const uint32_t *targets;
    float multiplier, cap, d_scale;
    float *nll;
    void *d_logits;
};

static void cross_entropy_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct loss *l = ctx;
    int64_t r0 = (int64_t)task * l->rows;
    l->c->kernels.cross_entropy(MIN(l->rows, l->M - r0), l->V, l->z + r0 * l->V, l->targets + r0,
                                l->multiplier, l->cap, l->d_scale, l->nll + r0,
                                l->d_logits ? act_row_out(l->c, l->d_logits, r0, l->V) : NULL);
}

void compute_cross_entropy(compute_t *c, int64_t M, int64_t V, const float *z,
                           const uint32_t *targets, float multiplier, float cap, float d_scale,
                           float *nll, void *d_logits)
{
    struct loss l = {.c = c, .M = M, .V = V, .rows = task_rows(V), .z = z, .targets = targets};
    l.multiplier = multiplier;
    l.cap = cap;
    l.d_scale = d_scale;
    l.nll = nll;
    l.d_logits = d_logits;
    pool_run(c->pool, (size_t)ceil_div(M, l.rows), cross_entropy_task, &l);
}

static void logits_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct loss *l = ctx;
    int64_t r0 = (int64_t)task * l->rows;
    l->c->kernels.logits(MIN(l->rows, l->M - r0), l->V, l->multiplier, l->cap,
                         l->z_out + r0 * l->V);
}

void compute_logits(compute_t *c, int64_t M, int64_t V, float multiplier, float cap, float *z)
{
    struct loss l = {.c = c, .M = M, .V = V, .rows = task_rows(V), .z_out = z};
    l.multiplier = multiplier;
    l.cap = cap;
    pool_run(c->pool, (size_t)ceil_div(M, l.rows), logits_task, &l);
}
