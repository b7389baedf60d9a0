/* compute_cpu_loss.c: embedding, cross entropy and final logits over all threads.
 *
 * The embedding's gradient adds rows that may repeat; a task owns a band of columns and walks all
 * tokens in order, so no two tasks touch one number and the order of addition is fixed. */
#include "compute/cpu/compute_cpu_internal.h"

enum { EMBED_COLUMNS = 64 }; /* 256 bytes of a row: whole cache lines, enough tasks */

/* ------------------------------------------------------------------ embedding */

struct embed {
    compute_t *c;
    const struct compute_embed *e;
    const float *in; /* table forward, dh backward */
    float *out;      /* h forward, d_table backward */
};

static void embed_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct row_run *r = ctx;
    const struct embed *m = r->op;
    r->c->kernels.embed(m->e, run_first(r, task), run_rows(r, task), m->in, m->out);
}

void compute_cpu_embed(compute_t *c, const struct compute_embed *e, const float *table, float *h)
{
    struct embed m = {c, e, table, h};
    run_by_rows(c, embed_task, (struct row_run){.op = &m, .M = e->M}, e->D);
}

static void embed_backward_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct embed *m = ctx;
    int64_t d0 = (int64_t)task * EMBED_COLUMNS, d1 = MIN(d0 + EMBED_COLUMNS, m->e->D);
    m->c->kernels.embed_backward(m->e, d0, d1, m->in, m->out);
}

void compute_cpu_embed_backward(compute_t *c, const struct compute_embed *e, const float *dh,
                                float *d_table)
{
    struct embed m = {c, e, dh, d_table};
    pool_run(c->pool, (size_t)ceil_div(e->D, EMBED_COLUMNS), embed_backward_task, &m);
}

/* ------------------------------------------------------------------ loss */

ROW_TASK(cross_entropy);

void compute_cpu_cross_entropy(compute_t *c, const struct compute_loss *l)
{
    run_by_rows(c, cross_entropy_task, (struct row_run){.op = l, .M = l->M}, l->V);
}

struct logits {
    int64_t V;
    float multiplier, cap;
    float *z;
};

static void logits_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct row_run *r = ctx;
    const struct logits *l = r->op;
    r->c->kernels.logits(run_rows(r, task), l->V, l->multiplier, l->cap,
                         l->z + run_first(r, task) * l->V);
}

void compute_cpu_logits(compute_t *c, int64_t M, int64_t V, float multiplier, float cap, float *z)
{
    struct logits l = {V, multiplier, cap, z};
    run_by_rows(c, logits_task, (struct row_run){.op = &l, .M = M}, V);
}
