/* compute_cuda_products.c: launches of compute_cuda_products.cu and
 * compute_cuda_products_sm90.cu. */
#include "compute/cuda/compute_cuda_internal.h"

/* As in compute_cuda_products.cu and compute_cuda_products_sm90.cu. */
enum { MMA_TILE = 128, MMA_STEP = 32, MMA_STAGES = 3 };
enum { HOPPER_TILE = 128, HOPPER_DEPTH = 64, HOPPER_STAGES = 4, HOPPER_THREADS = 384 };

static bool is_aligned(const void *p, int64_t ld)
{
    return (uintptr_t)p % 16 == 0 && ld % 8 == 0;
}

static void launch_product(struct compute_cuda *q, struct cuda_product_args a, bool bf16)
{
    static const char *const names[] = {"cuda_product_nn_bf16", "cuda_product_nt_bf16",
                                        "cuda_product_tn_bf16", "cuda_product_tt_bf16"};
    int tile = bf16 ? MMA_TILE : CUDA_TILE;
    int64_t rows = cuda_ceil(a.M, tile);
    /* Each group may end in a tile of its own. */
    if (a.offset && a.mode == CUDA_PRODUCT_ROWS) rows += a.groups;
    a.aligned = is_aligned(a.A, a.lda) && is_aligned(a.B, a.ldb) && a.b_group % 8 == 0;
    struct compute_cuda_launch l = {
        .kernel = bf16 ? names[2 * a.transpose_a + a.transpose_b] : "cuda_product_f32",
        .grid = {(uint32_t)cuda_ceil(a.N, tile), (uint32_t)rows,
                 a.offset && a.mode == CUDA_PRODUCT_DEPTH ? (uint32_t)a.groups : 1},
        .block = CUDA_BLOCK,
        .shared = bf16 ? 2 * MMA_STAGES * MMA_TILE * MMA_STEP * sizeof(bf16_t) : 0,
        .args = &a,
        .args_bytes = sizeof a};
    compute_cuda_launch(q, &l);
}

void compute_cuda_matmul(struct compute_cuda *q, const struct compute_matmul *m)
{
    struct cuda_product_args a = {.M = m->M,
                                  .N = m->N,
                                  .K = m->K,
                                  .lda = m->lda,
                                  .ldb = m->ldb,
                                  .ldc = m->ldc,
                                  .A = m->A,
                                  .B = m->B,
                                  .C = m->C,
                                  .groups = 1,
                                  .transpose_a = m->transpose_a,
                                  .transpose_b = m->transpose_b,
                                  .out_bf16 = m->out == COMPUTE_BF16,
                                  .alpha = m->alpha,
                                  .beta = m->beta};
    launch_product(q, a, m->in == COMPUTE_BF16);
}

/* By bulk copies and wgmma, where the GPU has them and shapes are as they need; false: it was not. */
static bool hopper_forward(struct compute_cuda *q, const struct compute_cuda_linear *l,
                           const void *X, void *Y, enum compute_dtype y_dtype)
{
    struct cuda_hopper_args a = {.groups = l->groups,
                                 .rows = (int32_t)l->rows,
                                 .N = (int32_t)l->out,
                                 .K = (int32_t)l->in,
                                 .offset = l->offset,
                                 .y = Y,
                                 .out_bf16 = y_dtype == COMPUTE_BF16};
    int64_t w_rows = l->groups * l->out;
    if (!q->tensor_map || q->dtype != COMPUTE_BF16 || l->rows > INT32_MAX / 2 ||
        w_rows > INT32_MAX / 2 || l->in > INT32_MAX / 2 || !is_aligned(X, l->in) ||
        !is_aligned(l->W, l->in) || !q->tensor_map(q->device, X, l->in, l->rows, &a.x) ||
        !q->tensor_map(q->device, l->W, l->in, w_rows, &a.w))
        return false;
    int64_t tiles = cuda_ceil(l->rows, HOPPER_TILE) + (l->offset ? l->groups : 0);
    compute_cuda_launch(q,
                        &(struct compute_cuda_launch){
                            .kernel = "cuda_hopper_nt",
                            .grid = {(uint32_t)cuda_ceil(l->out, HOPPER_TILE), (uint32_t)tiles, 1},
                            .block = HOPPER_THREADS,
                            .shared = HOPPER_STAGES * (2 * HOPPER_TILE * HOPPER_DEPTH * 2 + 16),
                            .args = &a,
                            .args_bytes = sizeof a});
    return true;
}

void compute_cuda_linear_forward(struct compute_cuda *q, const struct compute_cuda_linear *l,
                                 const void *X, void *Y, enum compute_dtype y_dtype)
{
    if (hopper_forward(q, l, X, Y, y_dtype)) return;
    struct cuda_product_args a = {.M = l->rows,
                                  .N = l->out,
                                  .K = l->in,
                                  .lda = l->in,
                                  .ldb = l->in,
                                  .ldc = l->out,
                                  .b_group = l->in * l->out,
                                  .A = X,
                                  .B = l->W,
                                  .C = Y,
                                  .offset = l->offset,
                                  .groups = l->groups,
                                  .transpose_b = 1,
                                  .out_bf16 = y_dtype == COMPUTE_BF16,
                                  .alpha = 1};
    launch_product(q, a, q->dtype == COMPUTE_BF16);
}

void compute_cuda_linear_backward_input(struct compute_cuda *q, const struct compute_cuda_linear *l,
                                        const void *dY, void *dX, enum compute_dtype dx_dtype)
{
    struct cuda_product_args a = {.M = l->rows,
                                  .N = l->in,
                                  .K = l->out,
                                  .lda = l->out,
                                  .ldb = l->in,
                                  .ldc = l->in,
                                  .b_group = l->in * l->out,
                                  .A = dY,
                                  .B = l->W,
                                  .C = dX,
                                  .offset = l->offset,
                                  .groups = l->groups,
                                  .out_bf16 = dx_dtype == COMPUTE_BF16,
                                  .alpha = 1};
    launch_product(q, a, q->dtype == COMPUTE_BF16);
}

void compute_cuda_linear_backward_weight(struct compute_cuda *q,
                                         const struct compute_cuda_linear *l,
                                         const struct compute_cuda_weight_grad *g)
{
    size_t column = (size_t)g->first * compute_dtype_size(q->dtype);
    struct cuda_product_args a = {.M = g->n,
                                  .N = l->in,
                                  .K = l->rows,
                                  .lda = l->out,
                                  .ldb = l->in,
                                  .ldc = l->in,
                                  .c_group = g->n * l->in,
                                  .A = (const char *)g->dY + column,
                                  .B = g->X,
                                  .C = g->grad,
                                  .offset = l->offset,
                                  .groups = l->groups,
                                  .mode = CUDA_PRODUCT_DEPTH,
                                  .transpose_a = 1,
                                  .alpha = 1,
                                  .beta = g->accumulate ? 1.0f : 0.0f};
    launch_product(q, a, q->dtype == COMPUTE_BF16);
}
