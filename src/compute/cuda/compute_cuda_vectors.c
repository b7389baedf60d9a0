/* compute_cuda_vectors.c: launches of compute_cuda_loss.cu and compute_cuda_vectors.cu. */
#include <math.h>

#include "compute/cuda/compute_cuda_internal.h"

void compute_cuda_logits(struct compute_cuda *q, int64_t n, float multiplier, float cap, float *z)
{
    struct cuda_logits_args a = {n, z, multiplier, cap};
    CUDA_LAUNCH(q, "cuda_logits", compute_cuda_blocks(n), 1, a);
}

void compute_cuda_cross_entropy(struct compute_cuda *q, const struct compute_loss *l)
{
    struct cuda_loss_args a = {.V = l->V,
                               .first = l->first,
                               .z = l->z,
                               .targets = l->targets,
                               .nll = l->nll,
                               .lse = l->lse,
                               .d_logits = l->d_logits,
                               .multiplier = l->multiplier,
                               .cap = l->cap,
                               .d_scale = l->d_scale,
                               .step = (int32_t)l->step};
    CUDA_LAUNCH(q, CUDA_ACT(q, "cuda_cross_entropy"), l->M, 1, a);
}

void compute_cuda_sum(struct compute_cuda *q, int kind, const float *x, size_t n, double *out)
{
    int64_t blocks = MAX(cuda_ceil((int64_t)n, CUDA_SUM), 1);
    double *partial = q->scratch(q->device, (size_t)blocks * sizeof *partial);
    struct cuda_sum_args a = {.n = (int64_t)n, .x = x, .out = partial, .kind = kind};
    struct cuda_sum_args b = {.n = blocks, .partial = partial, .out = out};
    CUDA_LAUNCH(q, "cuda_sum", blocks, 1, a);
    CUDA_LAUNCH(q, "cuda_sum_partials", 1, 1, b);
}

void compute_cuda_adamw(struct compute_cuda *q, const struct compute_adamw *o)
{
    struct cuda_adamw_args a = {.n = (int64_t)o->n,
                                .p = o->p,
                                .m = o->m,
                                .v = o->v,
                                .g = o->g,
                                .lr = o->lr,
                                .beta1 = o->beta1,
                                .beta2 = o->beta2,
                                .eps = o->eps,
                                .decay = o->decay,
                                .grad_scale = o->grad_scale,
                                .bias1 = (float)(1 - pow((double)o->beta1, (double)o->step)),
                                .bias2 = (float)(1 - pow((double)o->beta2, (double)o->step))};
    CUDA_LAUNCH(q, "cuda_adamw", compute_cuda_blocks(a.n), 1, a);
}

void compute_cuda_momentum(struct compute_cuda *q, const struct compute_momentum *o)
{
    struct cuda_momentum_args a = {(int64_t)o->n, o->g,          o->m,       o->u,
                                   o->beta,       o->grad_scale, o->nesterov};
    CUDA_LAUNCH(q, "cuda_momentum", compute_cuda_blocks(a.n), 1, a);
}

void compute_cuda_axpby(struct compute_cuda *q, size_t n, float a, const float *x, float b,
                        float *y)
{
    struct cuda_elements_args e = {.n = (int64_t)n, .x = x, .y = y, .a = a, .b = b};
    CUDA_LAUNCH(q, "cuda_axpby", compute_cuda_blocks(e.n), 1, e);
}
