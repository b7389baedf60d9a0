/* compute_cuda_internal.h: the operations of compute.h as launches of kernels on a GPU.
 *
 * An operation here chooses kernels, grids and scratch memory, by shapes alone, and hands each launch
 * to whoever owns the device: the driver on a GPU, an emulator in tests. It reads no array, so all
 * pointers in the structs of compute.h are addresses on the device, and it waits for nothing:
 * launches run in the order in which they are handed over. Errors are the owner's to keep.
 *
 * What a kernel is given: compute_cuda_args_internal.h. */
#ifndef COLOSSUS_COMPUTE_CUDA_INTERNAL_H
#define COLOSSUS_COMPUTE_CUDA_INTERNAL_H

#include "compute/compute.h"
#include "compute/cuda/compute_cuda_args_internal.h"

struct compute_cuda_launch {
    const char *kernel; /* one of few constants: its address may serve as a key */
    uint32_t grid[3], block;
    uint32_t shared; /* bytes beside the kernel's own */
    const void *args;
    uint32_t args_bytes;
};
struct compute_cuda {
    enum compute_dtype dtype;
    void *device; /* of the owner, for the two below */
    void (*launch)(void *device, const struct compute_cuda_launch *l);
    /* Memory on the device for the operation at work, until the next one asks; 256-byte aligned. */
    void *(*scratch)(void *device, size_t bytes);
    /* On Hopper: the map by which the GPU copies tiles of 64 x 128 of a matrix of bfloat16, rows of
     * `width` numbers one behind the other, in the pattern of 128 bytes; false where it cannot. NULL on
     * GPUs without such copies. */
    bool (*tensor_map)(void *device, const void *matrix, int64_t width, int64_t rows,
                       struct cuda_tensor_map *out);
};

/* ------------------------------------------------------------------ for the operations' files */

/* The kernel's name for the format of activations. */
#define CUDA_ACT(q, name) ((q)->dtype == COMPUTE_F32 ? name "_f32" : name "_bf16")
/* Nothing is launched where there are no blocks. */
void compute_cuda_launch(struct compute_cuda *q, const struct compute_cuda_launch *l);
#define CUDA_LAUNCH(q, name, blocks_x, blocks_y, a)                                               \
    compute_cuda_launch(                                                                          \
        q, &(struct compute_cuda_launch){.kernel = (name),                                        \
                                         .grid = {(uint32_t)(blocks_x), (uint32_t)(blocks_y), 1}, \
                                         .block = CUDA_BLOCK,                                     \
                                         .args = &(a),                                            \
                                         .args_bytes = sizeof(a)})
/* Blocks for n elements dealt to all threads of a grid. */
int64_t compute_cuda_blocks(int64_t n);
static inline int64_t cuda_ceil(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}
/* out[i] (+)= sum of n partials of `width` numbers. */
void compute_cuda_columns(struct compute_cuda *q, const struct cuda_columns_args *a);

/* ------------------------------------------------------------------ operations (compute.h) */

void compute_cuda_to_act(struct compute_cuda *q, const float *x, size_t n, void *y);
void compute_cuda_scale(struct compute_cuda *q, int64_t n, float scale, const void *x, void *y);
void compute_cuda_rmsnorm(struct compute_cuda *q, const struct compute_norm *n);
void compute_cuda_rmsnorm_backward(struct compute_cuda *q, const struct compute_norm *n,
                                   const struct compute_norm_grad *d);
void compute_cuda_seam_forward(struct compute_cuda *q, const struct compute_seam *s);
void compute_cuda_seam_backward(struct compute_cuda *q, const struct compute_seam *s,
                                const struct compute_seam_grad *d);
void compute_cuda_rope(struct compute_cuda *q, const struct compute_rope *p);
void compute_cuda_head_norm(struct compute_cuda *q, const struct compute_head_norm *n);
void compute_cuda_bias(struct compute_cuda *q, const struct compute_bias *b);
void compute_cuda_embed(struct compute_cuda *q, const struct compute_embed *e, const float *table,
                        float *h);
void compute_cuda_embed_backward(struct compute_cuda *q, const struct compute_embed *e,
                                 const float *dh, float *d_table);
void compute_cuda_glu_forward(struct compute_cuda *q, const struct compute_glu *g);
void compute_cuda_glu_backward(struct compute_cuda *q, const struct compute_glu *g,
                               const struct compute_glu_grad *d);
void compute_cuda_router_forward(struct compute_cuda *q, const struct compute_router *r);
void compute_cuda_router_backward(struct compute_cuda *q, const struct compute_router *r,
                                  const struct compute_router_grad *d);
void compute_cuda_router_balance(struct compute_cuda *q, const struct compute_router *r,
                                 float *bias);
void compute_cuda_router_select(struct compute_cuda *q, const struct compute_router *r);
/* rows: an upper bound of offset[E] that the host knows, at least compute_dispatch_rows; row_token and
 * row_slot have so many elements, and those behind offset[E] are padding, too. */
void compute_cuda_dispatch(struct compute_cuda *q, const struct compute_dispatch *d, int64_t rows);
void compute_cuda_gather(struct compute_cuda *q, int64_t rows, int64_t D, const int32_t *row_token,
                         const void *x, void *y);
void compute_cuda_combine(struct compute_cuda *q, const struct compute_combine *m);
/* out[i] = x[index[i]], 0 where the index is negative: weights of slots to rows, gradients back. */
void compute_cuda_pick(struct compute_cuda *q, int64_t n, const int32_t *index, const float *x,
                       float *out);
void compute_cuda_routed(struct compute_cuda *q, const struct compute_routed *r);
/* share[e] = count[e] / total, divided in double. */
void compute_cuda_share(struct compute_cuda *q, int64_t E, const int32_t *count, double total,
                        float *share);
void compute_cuda_logits(struct compute_cuda *q, int64_t n, float multiplier, float cap, float *z);
void compute_cuda_cross_entropy(struct compute_cuda *q, const struct compute_loss *l);
/* out, on the device: a sum in double; kind: CUDA_SUM_*, of the numbers, of their squares, or how many
 * are not finite. */
void compute_cuda_sum(struct compute_cuda *q, int kind, const float *x, size_t n, double *out);
void compute_cuda_adamw(struct compute_cuda *q, const struct compute_adamw *o);
void compute_cuda_momentum(struct compute_cuda *q, const struct compute_momentum *o);
void compute_cuda_axpby(struct compute_cuda *q, size_t n, float a, const float *x, float b,
                        float *y);
void compute_cuda_attention_forward(struct compute_cuda *q, const struct compute_attention *a);
void compute_cuda_attention_backward(struct compute_cuda *q, const struct compute_attention *a,
                                     const struct compute_attention_grad *d);
/* runs and the lists of pages lie on the device, too. */
void compute_cuda_paged_store(struct compute_cuda *q, const struct compute_paged *p);
void compute_cuda_paged_attention(struct compute_cuda *q, const struct compute_paged *p);

/* ------------------------------------------------------------------ products */

void compute_cuda_matmul(struct compute_cuda *q, const struct compute_matmul *m);
/* A linear layer of compute.h with its parts one below the other: W act [groups, out, in], out being
 * the sum of the parts'. rows: how many there are, with offset [groups + 1] on the device an upper
 * bound of offset[groups]; without it groups is 1. */
struct compute_cuda_linear {
    int groups;
    int64_t in, out, rows;
    const void *W;
    const int32_t *offset;
};
void compute_cuda_linear_forward(struct compute_cuda *q, const struct compute_cuda_linear *l,
                                 const void *X, void *Y, enum compute_dtype y_dtype);
void compute_cuda_linear_backward_input(struct compute_cuda *q, const struct compute_cuda_linear *l,
                                        const void *dY, void *dX, enum compute_dtype dx_dtype);
/* grad fp32 [groups, n, in] of one part, which has columns [first, first + n) of dY. */
struct compute_cuda_weight_grad {
    const void *dY, *X;
    float *grad;
    int64_t first, n;
    bool accumulate;
};
void compute_cuda_linear_backward_weight(struct compute_cuda *q,
                                         const struct compute_cuda_linear *l,
                                         const struct compute_cuda_weight_grad *g);

#endif
