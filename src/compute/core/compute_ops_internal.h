/* compute_ops_internal.h: the operations of a device: compute.h's functions call these (compute_ops.c).
 * What each does is said there. compute/cpu/ has those of a CPU; its kernels differ with the processor
 * (compute_kernels_internal.h). */
#ifndef COLOSSUS_COMPUTE_OPS_INTERNAL_H
#define COLOSSUS_COMPUTE_OPS_INTERNAL_H

#include "compute/compute.h"

struct compute_ops {
    /* Whether memory of the device is the host's as well. */
    bool is_host;
    /* What the context has of the device. */
    void (*close)(compute_t *c);

    void *(*alloc)(compute_t *c, size_t bytes);
    void (*release)(compute_t *c, void *memory, size_t bytes);
    void (*upload)(compute_t *c, void *to, const void *from, size_t bytes);
    void (*download)(compute_t *c, void *to, const void *from, size_t bytes);
    void (*copy)(compute_t *c, void *to, const void *from, size_t bytes);
    void (*clear)(compute_t *c, void *to, size_t bytes);

    size_t (*linear_bytes)(const compute_t *c, const struct compute_linear_desc *d);
    compute_linear_t *(*linear_new)(compute_t *c, const struct compute_linear_desc *d);
    void (*linear_free)(compute_linear_t *l);
    void (*linear_update)(compute_linear_t *l);
    void (*linear_put)(compute_linear_t *l, const struct compute_linear_rows *r);
    const struct compute_codes *(*linear_form)(const compute_linear_t *l, int part);
    void (*linear_put_codes)(compute_linear_t *l, const struct compute_linear_codes *r);
    void (*linear_forward)(compute_linear_t *l, struct compute_rows rows, const void *X, void *Y,
                           enum compute_dtype y_dtype);
    void (*linear_backward_input)(compute_linear_t *l, struct compute_rows rows, const void *dY,
                                  void *dX, enum compute_dtype dx_dtype);
    void (*linear_backward_weight)(compute_linear_t *l, struct compute_rows rows, const void *dY,
                                   const void *X, bool accumulate);
    void (*linear_embed)(compute_linear_t *l, const struct compute_embed *e, float *h);

    void (*to_act)(compute_t *c, const float *x, size_t n, void *y);
    void (*matmul)(compute_t *c, const struct compute_matmul *m);
    void (*rmsnorm)(compute_t *c, const struct compute_norm *n);
    void (*rmsnorm_backward)(compute_t *c, const struct compute_norm *n,
                             const struct compute_norm_grad *d);
    void (*seam_forward)(compute_t *c, const struct compute_seam *s);
    void (*seam_backward)(compute_t *c, const struct compute_seam *s,
                          const struct compute_seam_grad *d);
    void (*head_norm)(compute_t *c, const struct compute_head_norm *n);
    void (*bias)(compute_t *c, const struct compute_bias *b);

    void (*attention_forward)(compute_t *c, const struct compute_attention *a);
    void (*attention_backward)(compute_t *c, const struct compute_attention *a,
                               const struct compute_attention_grad *d);
    void (*paged_store)(compute_t *c, const struct compute_paged *p);
    void (*paged_attention)(compute_t *c, const struct compute_paged *p);
    void (*rope)(compute_t *c, const struct compute_rope *p);

    void (*glu_forward)(compute_t *c, const struct compute_glu *g);
    void (*glu_backward)(compute_t *c, const struct compute_glu *g,
                         const struct compute_glu_grad *d);
    void (*router_forward)(compute_t *c, const struct compute_router *r);
    void (*router_balance)(compute_t *c, const struct compute_router *r, float *bias);
    void (*router_select)(compute_t *c, const struct compute_router *r);
    void (*router_backward)(compute_t *c, const struct compute_router *r,
                            const struct compute_router_grad *d);
    void (*dispatch)(compute_t *c, const struct compute_dispatch *d);
    void (*routed)(compute_t *c, const struct compute_routed *r);
    void (*slots)(compute_t *c, const struct compute_slots *s);
    void (*gather)(compute_t *c, const struct compute_gather *g);
    void (*combine)(compute_t *c, const struct compute_combine *m);
    void (*scale)(compute_t *c, int64_t n, float scale, const void *x, void *y);

    void (*embed)(compute_t *c, const struct compute_embed *e, const float *table, float *h);
    void (*embed_backward)(compute_t *c, const struct compute_embed *e, const float *dh,
                           float *d_table);
    void (*cross_entropy)(compute_t *c, const struct compute_loss *l);
    void (*logits)(compute_t *c, int64_t M, int64_t V, float multiplier, float cap, float *z);
    double (*sum_squares)(compute_t *c, const float *x, size_t n);
    bool (*all_finite)(compute_t *c, const float *x, size_t n);
    void (*adamw)(compute_t *c, const struct compute_adamw *o);
    void (*momentum)(compute_t *c, const struct compute_momentum *o);
    void (*axpby)(compute_t *c, size_t n, float a, const float *x, float b, float *y);
};

#endif
