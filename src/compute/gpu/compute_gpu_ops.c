/* compute_gpu_ops.c: the operations of a GPU (compute.h): each is launches of kernels (compute/cuda/),
 * which run in their order; the host waits only where it downloads something. */
#include <stdio.h>

#include "compute/gpu/compute_gpu_internal.h"

static struct compute_cuda *queue(compute_t *c)
{
    struct gpu_context *x = c->device;
    return &x->queue;
}

static struct gpu *gpu_of(compute_t *c)
{
    struct gpu_context *x = c->device;
    return x->gpu;
}

/* ------------------------------------------------------------------ memory */

static void *gpu_op_alloc(compute_t *c, size_t bytes)
{
    void *memory = gpu_alloc(gpu_of(c), bytes);
    if (memory) gpu_clear(gpu_of(c), memory, bytes);
    return memory;
}

static void gpu_op_release(compute_t *c, void *memory, size_t bytes)
{
    (void)bytes;
    gpu_free(gpu_of(c), memory);
}

static void gpu_op_upload(compute_t *c, void *to, const void *from, size_t bytes)
{
    gpu_upload(gpu_of(c), to, from, bytes);
}

static void gpu_op_download(compute_t *c, void *to, const void *from, size_t bytes)
{
    gpu_download(gpu_of(c), to, from, bytes);
}

static void gpu_op_copy(compute_t *c, void *to, const void *from, size_t bytes)
{
    uintptr_t a = (uintptr_t)to, b = (uintptr_t)from;
    if (a + bytes > b && b + bytes > a && a != b) {
        void *between = gpu_staging(gpu_of(c), bytes);
        gpu_copy(gpu_of(c), between, from, bytes);
        from = between;
    }
    if (a != b) gpu_copy(gpu_of(c), to, from, bytes);
}

static void gpu_op_clear(compute_t *c, void *to, size_t bytes)
{
    gpu_clear(gpu_of(c), to, bytes);
}

/* ------------------------------------------------------------------ one operation, its launches */

static void gpu_to_act(compute_t *c, const float *x, size_t n, void *y)
{
    compute_cuda_to_act(queue(c), x, n, y);
}

static void gpu_matmul(compute_t *c, const struct compute_matmul *m)
{
    compute_cuda_matmul(queue(c), m);
}

static void gpu_rmsnorm(compute_t *c, const struct compute_norm *n)
{
    compute_cuda_rmsnorm(queue(c), n);
}

static void gpu_rmsnorm_backward(compute_t *c, const struct compute_norm *n,
                                 const struct compute_norm_grad *d)
{
    compute_cuda_rmsnorm_backward(queue(c), n, d);
}

static void gpu_seam_forward(compute_t *c, const struct compute_seam *s)
{
    compute_cuda_seam_forward(queue(c), s);
}

static void gpu_seam_backward(compute_t *c, const struct compute_seam *s,
                              const struct compute_seam_grad *d)
{
    compute_cuda_seam_backward(queue(c), s, d);
}

static void gpu_head_norm(compute_t *c, const struct compute_head_norm *n)
{
    compute_cuda_head_norm(queue(c), n);
}

static void gpu_bias(compute_t *c, const struct compute_bias *b)
{
    compute_cuda_bias(queue(c), b);
}

static void gpu_attention_forward(compute_t *c, const struct compute_attention *a)
{
    compute_cuda_attention_forward(queue(c), a);
}

static void gpu_attention_backward(compute_t *c, const struct compute_attention *a,
                                   const struct compute_attention_grad *d)
{
    compute_cuda_attention_backward(queue(c), a, d);
}

static void gpu_rope(compute_t *c, const struct compute_rope *p)
{
    compute_cuda_rope(queue(c), p);
}

static void gpu_glu_forward(compute_t *c, const struct compute_glu *g)
{
    compute_cuda_glu_forward(queue(c), g);
}

static void gpu_glu_backward(compute_t *c, const struct compute_glu *g,
                             const struct compute_glu_grad *d)
{
    compute_cuda_glu_backward(queue(c), g, d);
}

static void gpu_router_forward(compute_t *c, const struct compute_router *r)
{
    compute_cuda_router_forward(queue(c), r);
}

static void gpu_router_balance(compute_t *c, const struct compute_router *r, float *bias)
{
    compute_cuda_router_balance(queue(c), r, bias);
}

static void gpu_router_select(compute_t *c, const struct compute_router *r)
{
    compute_cuda_router_select(queue(c), r);
}

static void gpu_router_backward(compute_t *c, const struct compute_router *r,
                                const struct compute_router_grad *d)
{
    compute_cuda_router_backward(queue(c), r, d);
}

static void gpu_combine(compute_t *c, const struct compute_combine *m)
{
    compute_cuda_combine(queue(c), m);
}

static void gpu_scale(compute_t *c, int64_t n, float scale, const void *x, void *y)
{
    compute_cuda_scale(queue(c), n, scale, x, y);
}

static void gpu_embed(compute_t *c, const struct compute_embed *e, const float *table, float *h)
{
    compute_cuda_embed(queue(c), e, table, h);
}

static void gpu_embed_backward(compute_t *c, const struct compute_embed *e, const float *dh,
                               float *d_table)
{
    compute_cuda_embed_backward(queue(c), e, dh, d_table);
}

static void gpu_cross_entropy(compute_t *c, const struct compute_loss *l)
{
    compute_cuda_cross_entropy(queue(c), l);
}

static void gpu_adamw(compute_t *c, const struct compute_adamw *o)
{
    compute_cuda_adamw(queue(c), o);
}

static void gpu_momentum(compute_t *c, const struct compute_momentum *o)
{
    compute_cuda_momentum(queue(c), o);
}

static void gpu_axpby(compute_t *c, size_t n, float a, const float *x, float b, float *y)
{
    compute_cuda_axpby(queue(c), n, a, x, b, y);
}

/* ------------------------------------------------------------------ several, or more than launches */

static void gpu_logits(compute_t *c, int64_t M, int64_t V, float multiplier, float cap, float *z)
{
    compute_cuda_logits(queue(c), M * V, multiplier, cap, z);
}

/* Runs and their lists of pages are the host's: they go up, with the lists behind the runs. */
static struct compute_paged with_pages(compute_t *c, const struct compute_paged *p)
{
    struct compute_paged on = *p;
    size_t n = 0, runs = (size_t)p->n_runs * sizeof(*p->runs);
    for (int64_t i = 0; i < p->n_runs; i++)
        n += (size_t)cuda_ceil(p->runs[i].pos + p->runs[i].n, COMPUTE_PAGE);
    size_t bytes = runs + n * sizeof(void *);
    char *host = mem_alloc(bytes), *device = gpu_staging(gpu_of(c), bytes);
    struct compute_paged_run *to = (struct compute_paged_run *)(void *)host;
    void **pages = (void **)(void *)(host + runs);
    for (int64_t i = 0; i < p->n_runs; i++) {
        size_t count = (size_t)cuda_ceil(p->runs[i].pos + p->runs[i].n, COMPUTE_PAGE);
        to[i] = p->runs[i];
        to[i].pages = (void *const *)(void *)(device + ((char *)pages - host));
        memcpy(pages, p->runs[i].pages, count * sizeof(*pages));
        pages += count;
    }
    gpu_upload(gpu_of(c), device, host, bytes);
    mem_free(host);
    on.runs = (const struct compute_paged_run *)(const void *)device;
    return on;
}

static void gpu_paged_store(compute_t *c, const struct compute_paged *p)
{
    struct compute_paged on = with_pages(c, p);
    compute_cuda_paged_store(queue(c), &on);
}

static void gpu_paged_attention(compute_t *c, const struct compute_paged *p)
{
    struct compute_paged on = with_pages(c, p);
    compute_cuda_paged_attention(queue(c), &on);
}

static void gpu_dispatch(compute_t *c, const struct compute_dispatch *d)
{
    int64_t rows = compute_dispatch_rows(d->M, d->E, d->k, d->align);
    compute_cuda_dispatch(queue(c), d, rows);
    if (d->row_weight) compute_cuda_pick(queue(c), rows, d->row_slot, d->weight, d->row_weight);
}

static void gpu_routed(compute_t *c, const struct compute_routed *r)
{
    compute_cuda_routed(queue(c), r);
}

static void gpu_slots(compute_t *c, const struct compute_slots *s)
{
    int64_t slots = s->M * s->k;
    compute_cuda_pick(queue(c), slots, s->slot_row, s->d_row, s->d_weight);
    if (s->share) compute_cuda_share(queue(c), s->E, s->count, (double)slots, s->share);
}

static void gpu_gather(compute_t *c, const struct compute_gather *g)
{
    compute_cuda_gather(queue(c), g->rows, g->D, g->row_token, g->x, g->y);
}

static double sum(compute_t *c, int kind, const float *x, size_t n)
{
    double result, *on = gpu_staging(gpu_of(c), sizeof(*on));
    compute_cuda_sum(queue(c), kind, x, n, on);
    gpu_download(gpu_of(c), &result, on, sizeof(result));
    return result;
}

static double gpu_sum_squares(compute_t *c, const float *x, size_t n)
{
    return sum(c, CUDA_SUM_SQUARES, x, n);
}

static bool gpu_all_finite(compute_t *c, const float *x, size_t n)
{
    return sum(c, CUDA_SUM_NOT_FINITE, x, n) == 0;
}

/* ------------------------------------------------------------------ the context */

static void gpu_op_close(compute_t *c)
{
    struct gpu_context *x = c->device;
    gpu_close(x->gpu);
    mem_free(x);
}

static const struct compute_ops gpu_ops = {
    .is_host = false,
    .close = gpu_op_close,
    .alloc = gpu_op_alloc,
    .release = gpu_op_release,
    .upload = gpu_op_upload,
    .download = gpu_op_download,
    .copy = gpu_op_copy,
    .clear = gpu_op_clear,
    .linear_bytes = gpu_linear_bytes,
    .linear_new = gpu_linear_new,
    .linear_free = gpu_linear_free,
    .linear_update = gpu_linear_update,
    .linear_put = gpu_linear_put,
    .linear_form = gpu_linear_form,
    .linear_put_codes = gpu_linear_put_codes,
    .linear_forward = gpu_linear_forward,
    .linear_backward_input = gpu_linear_backward_input,
    .linear_backward_weight = gpu_linear_backward_weight,
    .linear_embed = gpu_linear_embed,
    .to_act = gpu_to_act,
    .matmul = gpu_matmul,
    .rmsnorm = gpu_rmsnorm,
    .rmsnorm_backward = gpu_rmsnorm_backward,
    .seam_forward = gpu_seam_forward,
    .seam_backward = gpu_seam_backward,
    .head_norm = gpu_head_norm,
    .bias = gpu_bias,
    .attention_forward = gpu_attention_forward,
    .attention_backward = gpu_attention_backward,
    .rope = gpu_rope,
    .glu_forward = gpu_glu_forward,
    .glu_backward = gpu_glu_backward,
    .router_forward = gpu_router_forward,
    .router_balance = gpu_router_balance,
    .router_select = gpu_router_select,
    .router_backward = gpu_router_backward,
    .combine = gpu_combine,
    .scale = gpu_scale,
    .embed = gpu_embed,
    .embed_backward = gpu_embed_backward,
    .cross_entropy = gpu_cross_entropy,
    .adamw = gpu_adamw,
    .momentum = gpu_momentum,
    .axpby = gpu_axpby,
    .logits = gpu_logits,
    .paged_store = gpu_paged_store,
    .paged_attention = gpu_paged_attention,
    .dispatch = gpu_dispatch,
    .routed = gpu_routed,
    .slots = gpu_slots,
    .gather = gpu_gather,
    .sum_squares = gpu_sum_squares,
    .all_finite = gpu_all_finite,
};

int compute_gpu_new(const struct compute_options *o, compute_t **out, struct error *e)
{
    struct gpu *g;
    TRY(gpu_open(0, &g, e));
    struct gpu_context *x = mem_calloc(1, sizeof(*x));
    x->gpu = g;
    x->queue = (struct compute_cuda){.dtype = o->dtype,
                                     .device = g,
                                     .launch = gpu_launch,
                                     .scratch = gpu_scratch,
                                     .tensor_map = gpu_form(g) == 90 ? gpu_tensor_map : NULL};
    compute_t *c = mem_calloc(1, sizeof(*c));
    c->ops = &gpu_ops;
    c->device = x;
    c->dtype = o->dtype;
    c->backend = COMPUTE_CUDA;
    c->pool = o->pool;
    c->threads = pool_threads(o->pool);
    snprintf(c->name, sizeof(c->name), "cuda (%.48s)", gpu_name(g));
    *out = c;
    return 0;
}
