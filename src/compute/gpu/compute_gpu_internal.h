/* compute_gpu_internal.h: an NVIDIA GPU as a device of compute.h. */
#ifndef COLOSSUS_COMPUTE_GPU_INTERNAL_H
#define COLOSSUS_COMPUTE_GPU_INTERNAL_H

#include "compute/core/compute_linear_internal.h"
#include "compute/core/compute_ops_internal.h"
#include "compute/gpu/compute_gpu_driver_internal.h"

struct gpu_context {
    struct gpu *gpu;
    struct compute_cuda queue;
};

int compute_gpu_new(const struct compute_options *o, compute_t **out, struct error *e);

/* ------------------------------------------------------------------ compute_gpu_linear.c */

size_t gpu_linear_bytes(const compute_t *c, const struct compute_linear_desc *d);
compute_linear_t *gpu_linear_new(compute_t *c, const struct compute_linear_desc *d);
void gpu_linear_free(compute_linear_t *l);
void gpu_linear_update(compute_linear_t *l);
void gpu_linear_put(compute_linear_t *l, const struct compute_linear_rows *r);
const struct compute_codes *gpu_linear_form(const compute_linear_t *l, int part);
void gpu_linear_put_codes(compute_linear_t *l, const struct compute_linear_codes *r);
void gpu_linear_forward(compute_linear_t *l, struct compute_rows rows, const void *X, void *Y,
                        enum compute_dtype y_dtype);
void gpu_linear_backward_input(compute_linear_t *l, struct compute_rows rows, const void *dY,
                               void *dX, enum compute_dtype dx_dtype);
void gpu_linear_backward_weight(compute_linear_t *l, struct compute_rows rows, const void *dY,
                                const void *X, bool accumulate);
void gpu_linear_embed(compute_linear_t *l, const struct compute_embed *e, float *h);

#endif
