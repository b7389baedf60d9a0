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

#endif
