/* compute_cuda_rows.c: launches of compute_cuda_rows.cu. */
#include "compute/cuda/compute_cuda_internal.h"

/* Enough blocks to fill any GPU several times over; threads take further elements in turn. */
enum { MOST_BLOCKS = 4096 };

void compute_cuda_launch(struct compute_cuda *q, const struct compute_cuda_launch *l)
{
    if (l->grid[0] == 0 || l->grid[1] == 0 || l->grid[2] == 0) return;
    CHECK(l->grid[0] <= INT32_MAX && l->grid[1] <= 65535 && l->grid[2] <= 65535);
    q->launch(q->device, l);
}

int64_t compute_cuda_blocks(int64_t n)
{
    return MIN(cuda_ceil(n, CUDA_BLOCK), MOST_BLOCKS);
}

void compute_cuda_columns(struct compute_cuda *q, const struct cuda_columns_args *a)
{
    CUDA_LAUNCH(q, "cuda_columns", compute_cuda_blocks(a->width), 1, *a);
}

/* ------------------------------------------------------------------ element by element */

void compute_cuda_to_act(struct compute_cuda *q, const float *x, size_t n, void *y)
{
    struct cuda_elements_args a = {.n = (int64_t)n, .x = x, .y = y};
    CUDA_LAUNCH(q, CUDA_ACT(q, "cuda_to_act"), compute_cuda_blocks(a.n), 1, a);
}

void compute_cuda_scale(struct compute_cuda *q, int64_t n, float scale, const void *x, void *y)
{
    struct cuda_elements_args a = {.n = n, .x = x, .y = y, .a = scale};
    CUDA_LAUNCH(q, CUDA_ACT(q, "cuda_scale"), compute_cuda_blocks(n), 1, a);
}

/* ------------------------------------------------------------------ norms */

void compute_cuda_rmsnorm(struct compute_cuda *q, const struct compute_norm *n)
{
    struct cuda_norm_args a = {n->D, n->x, n->g, n->y, n->rstd, n->eps};
    CUDA_LAUNCH(q, CUDA_ACT(q, "cuda_rmsnorm"), n->M, 1, a);
}

/* The gradient of a gain of D numbers from all M rows, by one of the two kernels *_gain. */
static void gain(struct compute_cuda *q, const char *kernel, struct cuda_gain_args a,
                 bool accumulate, float *out)
{
    int64_t chunks = cuda_ceil(a.M, CUDA_GAIN_ROWS);
    a.partial = q->scratch(q->device, (size_t)(MAX(chunks, 1) * a.D) * sizeof(float));
    CUDA_LAUNCH(q, kernel, cuda_ceil(a.D, 32), chunks, a);
    struct cuda_columns_args sum = {chunks, a.D, a.partial, out, accumulate};
    compute_cuda_columns(q, &sum);
}

static void norm_backward(struct compute_cuda *q, const struct compute_norm *n,
                          const struct compute_norm_grad *d)
{
    struct cuda_norm_grad_args a = {n->D, n->x, n->g, n->rstd, d->dy, d->dx, d->add};
    struct cuda_gain_args g = {.M = n->M, .D = n->D, .dy = d->dy, .x = n->x, .rstd = n->rstd};
    gain(q, CUDA_ACT(q, "cuda_norm_gain"), g, d->accumulate, d->dg);
    CUDA_LAUNCH(q, CUDA_ACT(q, "cuda_rmsnorm_backward"), n->M, 1, a);
}

void compute_cuda_rmsnorm_backward(struct compute_cuda *q, const struct compute_norm *n,
                                   const struct compute_norm_grad *d)
{
    norm_backward(q, n, d);
}

void compute_cuda_seam_forward(struct compute_cuda *q, const struct compute_seam *s)
{
    struct cuda_seam_args a = {.D = s->D,
                               .h = s->h,
                               .g_post = s->g_post,
                               .g_next = s->g_next,
                               .y = s->y,
                               .h_out = s->h_out,
                               .a = s->a,
                               .rstd_post = s->rstd_post,
                               .rstd_next = s->rstd_next,
                               .eps = s->eps,
                               .scale = s->scale};
    CUDA_LAUNCH(q, CUDA_ACT(q, "cuda_seam_forward"), s->M, 1, a);
}

/* Gains come before the gradient of y, which may take the place of what they read. */
void compute_cuda_seam_backward(struct compute_cuda *q, const struct compute_seam *s,
                                const struct compute_seam_grad *d)
{
    if (d->da) {
        struct compute_norm next = {
            .M = s->M, .D = s->D, .x = s->h_out, .g = s->g_next, .rstd = s->rstd_next};
        struct compute_norm_grad grad = {d->da, d->dh, d->dg_next, true, d->accumulate};
        norm_backward(q, &next, &grad);
    }
    if (!d->dy) return;
    struct cuda_gain_args g = {.M = s->M, .D = s->D, .dy = d->dh, .x = s->y, .rstd = s->rstd_post};
    struct cuda_seam_post_args a = {s->D, d->dh, s->g_post, s->rstd_post, s->y, d->dy};
    gain(q, CUDA_ACT(q, "cuda_post_gain"), g, d->accumulate, d->dg_post);
    CUDA_LAUNCH(q, CUDA_ACT(q, "cuda_seam_post"), s->M, 1, a);
}

/* ------------------------------------------------------------------ rotation, heads, biases */

void compute_cuda_rope(struct compute_cuda *q, const struct compute_rope *p)
{
    struct cuda_rope_args a = {.M = p->M,
                               .T = p->T,
                               .heads = p->n_heads,
                               .h = p->h,
                               .ld = p->ld,
                               .position = p->position,
                               .table = p->table,
                               .x = p->x,
                               .backward = p->backward,
                               .pairs = p->pairs};
    CUDA_LAUNCH(q, CUDA_ACT(q, "cuda_rope"), compute_cuda_blocks(p->M * p->n_heads * p->h / 2), 1,
                a);
}

void compute_cuda_head_norm(struct compute_cuda *q, const struct compute_head_norm *n)
{
    struct cuda_head_norm_args a = {n->M, n->n_heads, n->h, n->ld, n->g, n->x, n->eps};
    CUDA_LAUNCH(q, CUDA_ACT(q, "cuda_head_norm"), cuda_ceil(n->M * n->n_heads, CUDA_BLOCK / 32), 1,
                a);
}

void compute_cuda_bias(struct compute_cuda *q, const struct compute_bias *b)
{
    struct cuda_bias_args a = {b->M, b->n, b->ld, b->b, b->x};
    CUDA_LAUNCH(q, CUDA_ACT(q, "cuda_bias"), compute_cuda_blocks(b->M * b->n), 1, a);
}

/* ------------------------------------------------------------------ embedding */

static struct cuda_embed_args embed_args(const struct compute_embed *e)
{
    return (struct cuda_embed_args){.M = e->M,
                                    .D = e->D,
                                    .first = e->first,
                                    .count = e->count,
                                    .ids = e->ids,
                                    .scale = e->scale};
}

void compute_cuda_embed(struct compute_cuda *q, const struct compute_embed *e, const float *table,
                        float *h)
{
    struct cuda_embed_args a = embed_args(e);
    a.table = table;
    a.h = h;
    CUDA_LAUNCH(q, "cuda_embed", compute_cuda_blocks(e->M * e->D), 1, a);
}

void compute_cuda_embed_backward(struct compute_cuda *q, const struct compute_embed *e,
                                 const float *dh, float *d_table)
{
    struct cuda_embed_args a = embed_args(e);
    a.dh = dh;
    a.d_table = d_table;
    CUDA_LAUNCH(q, "cuda_embed_backward", e->M, cuda_ceil(e->D, CUDA_BLOCK), a);
}
