/* compute_cpu_rows.c: norms, the seam, rotation and the gated unit over all threads.
 *
 * Forward passes cut rows into tasks of about TASK_ELEMENTS. Backward passes that also sum over
 * rows (the gains' gradients) cut them into fixed chunks of REDUCE_ROWS, each with its own partial
 * sum in shared scratch; the partials are added in order afterwards, so the result does not depend
 * on which thread ran which chunk. */
#include "compute/cpu/compute_cpu_internal.h"

/* ------------------------------------------------------------------ sums over rows */

enum { SUM_COLUMNS = 1024 };

int64_t compute_run_reduce(compute_t *c, pool_fn *task, struct row_run *r, int64_t sums)
{
    int64_t chunks = ceil_div(r->M, REDUCE_ROWS);
    r->c = c;
    r->per_task = REDUCE_ROWS;
    r->partial = compute_shared_scratch(c, (size_t)(sums * chunks * r->size) * sizeof(float));
    pool_run(c->pool, (size_t)chunks, task, r);
    return chunks;
}

struct sum_partials {
    const float *partial;
    float *out;
    int64_t n_partials, n;
    bool accumulate;
};

static void sum_partials_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct sum_partials *s = ctx;
    int64_t i0 = (int64_t)task * SUM_COLUMNS, count = MIN(s->n - i0, SUM_COLUMNS);
    float *out = s->out + i0;
    if (!s->accumulate) memset(out, 0, (size_t)count * sizeof *out);
    for (int64_t p = 0; p < s->n_partials; p++)
        for (int64_t i = 0; i < count; i++)
            out[i] += s->partial[p * s->n + i0 + i];
}

void compute_sum_partials(compute_t *c, const float *partial, int64_t n_partials, int64_t n,
                          bool accumulate, float *out)
{
    struct sum_partials s = {partial, out, n_partials, n, accumulate};
    pool_run(c->pool, (size_t)ceil_div(n, SUM_COLUMNS), sum_partials_task, &s);
}

/* ------------------------------------------------------------------ rmsnorm */

ROW_TASK(rmsnorm);

void compute_cpu_rmsnorm(compute_t *c, const struct compute_norm *n)
{
    run_by_rows(c, rmsnorm_task, (struct row_run){.op = n, .M = n->M}, n->D);
}

GRADIENT_TASK(rmsnorm_backward, run_partial(r, 0, task));

void compute_cpu_rmsnorm_backward(compute_t *c, const struct compute_norm *n,
                                  const struct compute_norm_grad *d)
{
    struct row_run r = {.op = n, .grad = d, .M = n->M, .size = n->D};
    int64_t chunks = compute_run_reduce(c, rmsnorm_backward_task, &r, 1);
    compute_sum_partials(c, r.partial, chunks, n->D, d->accumulate, d->dg);
}

/* ------------------------------------------------------------------ seam */

ROW_TASK(seam_forward);

void compute_cpu_seam_forward(compute_t *c, const struct compute_seam *s)
{
    run_by_rows(c, seam_forward_task, (struct row_run){.op = s, .M = s->M}, s->D);
}

GRADIENT_TASK(seam_backward, run_partial(r, 0, task), run_partial(r, 1, task));

/* Both norms' gains sum over rows: two partial sums of D numbers per chunk. */
void compute_cpu_seam_backward(compute_t *c, const struct compute_seam *s,
                               const struct compute_seam_grad *d)
{
    CHECK_MSG((!d->dy || s->g_post) && (!d->da || s->g_next), "a norm of a seam is not there");
    struct row_run r = {.op = s, .grad = d, .M = s->M, .size = s->D};
    int64_t chunks = compute_run_reduce(c, seam_backward_task, &r, 2);
    const float *next = r.partial + chunks * s->D;
    if (d->dy) compute_sum_partials(c, r.partial, chunks, s->D, d->accumulate, d->dg_post);
    if (d->da) compute_sum_partials(c, next, chunks, s->D, d->accumulate, d->dg_next);
}

/* ------------------------------------------------------------------ rotation and gated unit */

ROW_TASK(rope);

void compute_cpu_rope(compute_t *c, const struct compute_rope *p)
{
    CHECK(p->h % 2 == 0 && !(p->pairs && p->backward));
    run_by_rows(c, rope_task, (struct row_run){.op = p, .M = p->M}, p->n_heads * p->h);
}

ROW_TASK(head_norm);

void compute_cpu_head_norm(compute_t *c, const struct compute_head_norm *n)
{
    run_by_rows(c, head_norm_task, (struct row_run){.op = n, .M = n->M}, n->n_heads * n->h);
}

ROW_TASK(bias);

void compute_cpu_bias(compute_t *c, const struct compute_bias *b)
{
    run_by_rows(c, bias_task, (struct row_run){.op = b, .M = b->M}, b->n);
}

ROW_TASK(glu_forward);

void compute_cpu_glu_forward(compute_t *c, const struct compute_glu *g)
{
    struct row_run r = {.op = g, .M = g->used ? *g->used : g->M};
    CHECK(r.M <= g->M);
    run_by_rows(c, glu_forward_task, r, 2 * g->F);
}

GRADIENT_TASK(glu_backward);

void compute_cpu_glu_backward(compute_t *c, const struct compute_glu *g,
                              const struct compute_glu_grad *d)
{
    struct row_run r = {.op = g, .grad = d, .M = g->used ? *g->used : g->M};
    CHECK(g->activation == COMPUTE_GELU_TANH && r.M <= g->M);
    run_by_rows(c, glu_backward_task, r, 2 * g->F);
}
