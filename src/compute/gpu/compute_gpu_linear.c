/* compute_gpu_linear.c: linear layers on a GPU.
 *
 * The compute copy of the weights, or for inference the only one, is [groups, out, in] in the format of
 * activations, the parts of a layer one below the other. Weights that come in codes are held as
 * numbers: kernels for codes are not there yet. */
#include "compute/gpu/compute_gpu_internal.h"

static struct gpu_context *context(const compute_linear_t *l)
{
    return l->c->device;
}

size_t gpu_linear_bytes(const compute_t *c, const struct compute_linear_desc *d)
{
    return (size_t)(d->groups * compute_linear_out(d) * d->in) * compute_dtype_size(c->dtype);
}

compute_linear_t *gpu_linear_new(compute_t *c, const struct compute_linear_desc *d)
{
    CHECK(d->groups >= 1 && d->in >= 1 && d->parts >= 1 && d->parts <= COMPUTE_MAX_PARTS);
    compute_linear_t *l = mem_calloc(1, sizeof(*l));
    l->c = c;
    l->d = *d;
    for (int p = 0; p < d->parts; p++)
        l->out_start[p + 1] = l->out_start[p] + d->out[p];
    l->out = l->out_start[d->parts];
    CHECK(compute_linear_trains(d) || d->memory);
    size_t bytes = gpu_linear_bytes(c, d);
    l->state = compute_linear_trains(d) ? gpu_alloc(context(l)->gpu, bytes) : d->memory;
    if (!l->state) mem_exhausted(bytes);
    return l;
}

void gpu_linear_free(compute_linear_t *l)
{
    if (compute_linear_trains(&l->d)) gpu_free(context(l)->gpu, l->state);
    mem_free(l);
}

/* Row `row` of a part of a group. */
static void *row_at(compute_linear_t *l, int64_t group, int part, int64_t row)
{
    int64_t at = group * l->out + l->out_start[part] + row;
    return act_row_out(l->c, l->state, at, l->d.in);
}

void gpu_linear_update(compute_linear_t *l)
{
    const struct compute_linear_desc *d = &l->d;
    for (int64_t g = 0; g < d->groups; g++)
        for (int p = 0; p < d->parts; p++) {
            size_t n = (size_t)(d->out[p] * d->in);
            compute_cuda_to_act(&context(l)->queue, d->master[p] + (size_t)g * n, n,
                                row_at(l, g, p, 0));
        }
}

void gpu_linear_put(compute_linear_t *l, const struct compute_linear_rows *r)
{
    size_t n = (size_t)(r->n * l->d.in), size = compute_dtype_size(l->c->dtype);
    const void *from = r->w;
    bf16_t *narrow = NULL;
    if (l->c->dtype == COMPUTE_BF16) {
        from = narrow = mem_alloc(n * sizeof(*narrow));
        for (size_t i = 0; i < n; i++)
            narrow[i] = bf16_store(r->w[i]);
    }
    gpu_upload(context(l)->gpu, row_at(l, r->group, r->part, r->first), from, n * size);
    mem_free(narrow);
}

const struct compute_codes *gpu_linear_form(const compute_linear_t *l, int part)
{
    return l->d.codes[part].bits ? &l->d.codes[part] : NULL;
}

/* What code i of rows is as a number. */
static float number(const struct compute_codes *f, const struct compute_linear_codes *r, int64_t i)
{
    int64_t block = i / compute_codes_block(f), half = f->shared ? i / 256 : block;
    float scale = half_load(r->scales[half]), least = f->least ? half_load(r->leasts[half]) : 0;
    if (f->shared) {
        scale *= (float)(int8_t)r->scale_steps[block];
        if (f->least) least = -(least * (float)r->least_steps[block]);
    }
    return scale * (float)(r->codes[i] - f->zero) + least;
}

void gpu_linear_put_codes(compute_linear_t *l, const struct compute_linear_codes *r)
{
    int64_t n = r->n * l->d.in;
    float *w = mem_alloc((size_t)n * sizeof(*w));
    for (int64_t i = 0; i < n; i++)
        w[i] = number(&l->d.codes[r->part], r, i);
    struct compute_linear_rows rows = {r->group, r->part, r->first, r->n, w};
    gpu_linear_put(l, &rows);
    mem_free(w);
}

/* ------------------------------------------------------------------ products */

static struct compute_cuda_linear product(compute_linear_t *l, struct compute_rows rows)
{
    CHECK(rows.offset || l->d.groups == 1);
    return (struct compute_cuda_linear){.groups = l->d.groups,
                                        .in = l->d.in,
                                        .out = l->out,
                                        .rows = rows.n,
                                        .W = l->state,
                                        .offset = rows.offset};
}

void gpu_linear_forward(compute_linear_t *l, struct compute_rows rows, const void *X, void *Y,
                        enum compute_dtype y_dtype)
{
    struct compute_cuda_linear p = product(l, rows);
    compute_cuda_linear_forward(&context(l)->queue, &p, X, Y, y_dtype);
}

void gpu_linear_backward_input(compute_linear_t *l, struct compute_rows rows, const void *dY,
                               void *dX, enum compute_dtype dx_dtype)
{
    struct compute_cuda_linear p = product(l, rows);
    compute_cuda_linear_backward_input(&context(l)->queue, &p, dY, dX, dx_dtype);
}

void gpu_linear_backward_weight(compute_linear_t *l, struct compute_rows rows, const void *dY,
                                const void *X, bool accumulate)
{
    struct compute_cuda_linear p = product(l, rows);
    for (int i = 0; i < l->d.parts; i++) {
        struct compute_cuda_weight_grad g = {dY,          X,         l->d.grad[i], l->out_start[i],
                                             l->d.out[i], accumulate};
        if (g.grad) compute_cuda_linear_backward_weight(&context(l)->queue, &p, &g);
    }
}

/* Rows of the table by their ids; those in bfloat16 become fp32 by the seam, which adds them, scaled, to
 * zeros. */
void gpu_linear_embed(compute_linear_t *l, const struct compute_embed *e, float *h)
{
    struct gpu_context *x = context(l);
    if (l->c->dtype == COMPUTE_F32) {
        compute_cuda_embed(&x->queue, e, l->state, h);
        return;
    }
    CHECK(e->count == 0);
    size_t n = (size_t)(e->M * e->D);
    void *rows = gpu_staging(x->gpu, n * sizeof(bf16_t));
    compute_cuda_gather(&x->queue, e->M, e->D, (const int32_t *)(const void *)e->ids, l->state,
                        rows);
    gpu_clear(x->gpu, h, n * sizeof(*h));
    struct compute_seam seam = {.M = e->M, .D = e->D, .h = h, .y = rows, .h_out = h};
    seam.scale = e->scale;
    compute_cuda_seam_forward(&x->queue, &seam);
}
