/* compute_ops_rows.c: norms, the seam, rotation and the gated unit over all threads.
 *
 * Forward passes cut rows into tasks of about TASK_ELEMENTS. Backward passes that also sum over
 * rows (the gains' gradients) cut them into fixed chunks of REDUCE_ROWS, each with its own partial
 * sum in shared scratch; the partials are added in order afterwards, so the result does not depend
 * on which thread ran which chunk. */
#include "compute/compute_internal.h"

/* ------------------------------------------------------------------ sums of partials */

enum { SUM_COLUMNS = 1024 };

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

struct rmsnorm {
    compute_t *c;
    int64_t M, D, rows; /* rows per task */
    float eps;
    const float *x, *g, *rstd_in;
    const void *dy;
    void *y;
    float *rstd, *dx, *partial;
    bool add;
};

static void rmsnorm_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct rmsnorm *n = ctx;
    int64_t r0 = (int64_t)task * n->rows;
    n->c->kernels.rmsnorm(MIN(n->rows, n->M - r0), n->D, n->eps, n->x + r0 * n->D, n->g,
                          act_row_out(n->c, n->y, r0, n->D), n->rstd ? n->rstd + r0 : NULL);
}

void compute_rmsnorm(compute_t *c, int64_t M, int64_t D, float eps, const float *x, const float *g,
                     void *y, float *rstd)
{
    struct rmsnorm n = {.c = c, .M = M, .D = D, .rows = task_rows(D), .eps = eps};
    n.x = x;
    n.g = g;
    n.y = y;
    n.rstd = rstd;
    pool_run(c->pool, (size_t)ceil_div(M, n.rows), rmsnorm_task, &n);
}

static void rmsnorm_backward_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct rmsnorm *n = ctx;
    int64_t r0 = (int64_t)task * REDUCE_ROWS;
    float *partial = n->partial + (int64_t)task * n->D;
    memset(partial, 0, (size_t)n->D * sizeof *partial);
    n->c->kernels.rmsnorm_backward(MIN(REDUCE_ROWS, n->M - r0), n->D, n->x + r0 * n->D, n->g,
                                   n->rstd_in + r0, act_row(n->c, n->dy, r0, n->D),
                                   n->dx + r0 * n->D, n->add, partial);
}

void compute_rmsnorm_backward(compute_t *c, int64_t M, int64_t D, const float *x, const float *g,
                              const float *rstd, const void *dy, float *dx, bool add, float *dg,
                              bool accumulate)
{
    int64_t chunks = ceil_div(M, REDUCE_ROWS);
    struct rmsnorm n = {.c = c, .M = M, .D = D, .x = x, .g = g, .rstd_in = rstd, .dy = dy};
    n.dx = dx;
    n.add = add;
    n.partial = compute_shared_scratch(c, (size_t)(chunks * D) * sizeof(float));
    pool_run(c->pool, (size_t)chunks, rmsnorm_backward_task, &n);
    compute_sum_partials(c, n.partial, chunks, D, accumulate, dg);
}

/* ------------------------------------------------------------------ seam */

struct seam {
    compute_t *c;
    const struct compute_seam *s;
    int64_t rows; /* per task */
    const void *da;
    float *dh;
    void *dy;
    float *post_partial, *next_partial; /* [chunks, D] each */
};

/* The same seam from row r0. h may be NULL in the backward pass. */
static struct compute_seam seam_from_row(const compute_t *c, const struct compute_seam *s,
                                         int64_t r0)
{
    struct compute_seam part = *s;
    part.h = s->h ? s->h + r0 * s->D : NULL;
    part.y = act_row(c, s->y, r0, s->D);
    part.h_out = s->h_out + r0 * s->D;
    part.a = s->a ? act_row_out(c, s->a, r0, s->D) : NULL;
    part.rstd_post = s->rstd_post + r0;
    part.rstd_next = s->rstd_next + r0;
    return part;
}

static void seam_forward_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct seam *s = ctx;
    int64_t r0 = (int64_t)task * s->rows;
    struct compute_seam part = seam_from_row(s->c, s->s, r0);
    s->c->kernels.seam_forward(&part, MIN(s->rows, s->s->M - r0));
}

void compute_seam_forward(compute_t *c, const struct compute_seam *s)
{
    struct seam run = {.c = c, .s = s, .rows = task_rows(s->D)};
    pool_run(c->pool, (size_t)ceil_div(s->M, run.rows), seam_forward_task, &run);
}

static void seam_backward_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct seam *s = ctx;
    int64_t r0 = (int64_t)task * REDUCE_ROWS, D = s->s->D;
    struct compute_seam part = seam_from_row(s->c, s->s, r0);
    float *post = s->post_partial + (int64_t)task * D, *next = s->next_partial + (int64_t)task * D;
    memset(post, 0, (size_t)D * sizeof *post);
    memset(next, 0, (size_t)D * sizeof *next);
    s->c->kernels.seam_backward(&part, MIN(REDUCE_ROWS, s->s->M - r0), act_row(s->c, s->da, r0, D),
                                s->dh + r0 * D, act_row_out(s->c, s->dy, r0, D), post, next);
}

void compute_seam_backward(compute_t *c, const struct compute_seam *s, const void *da, float *dh,
                           void *dy, float *dg_post, float *dg_next, bool accumulate)
{
    int64_t chunks = ceil_div(s->M, REDUCE_ROWS);
    struct seam run = {.c = c, .s = s, .da = da, .dh = dh, .dy = dy};
    run.post_partial = compute_shared_scratch(c, (size_t)(2 * chunks * s->D) * sizeof(float));
    run.next_partial = run.post_partial + chunks * s->D;
    pool_run(c->pool, (size_t)chunks, seam_backward_task, &run);
    compute_sum_partials(c, run.post_partial, chunks, s->D, accumulate, dg_post);
    compute_sum_partials(c, run.next_partial, chunks, s->D, accumulate, dg_next);
}

/* ------------------------------------------------------------------ rotation */

struct rope {
    compute_t *c;
    int64_t M, T, pos, n_heads, h, ld, rows;
    const float *table;
    bool backward;
    void *x;
};

static void rope_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct rope *p = ctx;
    int64_t r0 = (int64_t)task * p->rows;
    p->c->kernels.rope(MIN(p->rows, p->M - r0), p->pos, p->T, r0, p->n_heads, p->h, p->table,
                       p->backward, act_row_out(p->c, p->x, r0, p->ld), p->ld);
}

void compute_rope(compute_t *c, int64_t M, int64_t T, int64_t pos, int64_t n_heads, int64_t h,
                  const float *table, bool backward, void *x, int64_t ld)
{
    CHECK(h % 2 == 0);
    struct rope p = {c, M, T, pos, n_heads, h, ld, task_rows(n_heads * h), table, backward, x};
    pool_run(c->pool, (size_t)ceil_div(M, p.rows), rope_task, &p);
}

/* ------------------------------------------------------------------ gated unit */

struct glu {
    compute_t *c;
    int64_t M, F, rows;
    const void *gu, *d_act;
    const float *w;
    void *act, *dgu;
    float *dw;
};

static void glu_forward_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct glu *g = ctx;
    int64_t r0 = (int64_t)task * g->rows;
    g->c->kernels.glu_forward(MIN(g->rows, g->M - r0), g->F, act_row(g->c, g->gu, r0, 2 * g->F),
                              g->w ? g->w + r0 : NULL, act_row_out(g->c, g->act, r0, g->F));
}

void compute_glu_forward(compute_t *c, int64_t M, int64_t F, const void *gu, const float *w,
                         void *act)
{
    struct glu g = {.c = c, .M = M, .F = F, .rows = task_rows(2 * F), .gu = gu, .w = w};
    g.act = act;
    pool_run(c->pool, (size_t)ceil_div(M, g.rows), glu_forward_task, &g);
}

static void glu_backward_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct glu *g = ctx;
    const compute_t *c = g->c;
    int64_t r0 = (int64_t)task * g->rows;
    c->kernels.glu_backward(MIN(g->rows, g->M - r0), g->F, act_row(c, g->gu, r0, 2 * g->F),
                            g->w ? g->w + r0 : NULL, act_row(c, g->d_act, r0, g->F),
                            act_row_out(c, g->act, r0, g->F), act_row_out(c, g->dgu, r0, 2 * g->F),
                            g->dw ? g->dw + r0 : NULL);
}

void compute_glu_backward(compute_t *c, int64_t M, int64_t F, const void *gu, const float *w,
                          const void *d_act, void *act, void *dgu, float *dw)
{
    struct glu g = {.c = c, .M = M, .F = F, .rows = task_rows(2 * F), .gu = gu, .w = w};
    g.d_act = d_act;
    g.act = act;
    g.dgu = dgu;
    g.dw = dw;
    pool_run(c->pool, (size_t)ceil_div(M, g.rows), glu_backward_task, &g);
}
