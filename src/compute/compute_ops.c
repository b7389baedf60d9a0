/* compute_ops.c: the operations of compute.h: each is the one of the context's device. Around it memory
 * that is closed to others (struct compute_options) is open: compute_trap.c. */
#include "compute/core/compute_linear_internal.h"
#include "compute/core/compute_ops_internal.h"
#include "compute/compute_trap_internal.h"

bool compute_is_host(const compute_t *c)
{
    return c->ops->is_host && !c->trap;
}

/* ------------------------------------------------------------------ memory */

void *compute_alloc(compute_t *c, size_t bytes)
{
    compute_enter(c);
    void *result = c->ops->alloc(c, bytes);
    if (c->trap && result) compute_trap_add(c->trap, result, bytes);
    compute_leave(c);
    return result;
}

void compute_release(compute_t *c, void *memory, size_t bytes)
{
    if (!memory) return;
    compute_enter(c);
    if (c->trap) compute_trap_remove(c->trap, memory);
    c->ops->release(c, memory, bytes);
    compute_leave(c);
}

void compute_upload(compute_t *c, void *to, const void *from, size_t bytes)
{
    compute_enter(c);
    c->ops->upload(c, to, from, bytes);
    compute_leave(c);
}

void compute_download(compute_t *c, void *to, const void *from, size_t bytes)
{
    compute_enter(c);
    c->ops->download(c, to, from, bytes);
    compute_leave(c);
}

void compute_copy(compute_t *c, void *to, const void *from, size_t bytes)
{
    compute_enter(c);
    c->ops->copy(c, to, from, bytes);
    compute_leave(c);
}

void compute_clear(compute_t *c, void *to, size_t bytes)
{
    compute_enter(c);
    c->ops->clear(c, to, bytes);
    compute_leave(c);
}

/* ------------------------------------------------------------------ linear layers */

size_t compute_linear_bytes(const compute_t *c, const struct compute_linear_desc *d)
{
    return c->ops->linear_bytes(c, d);
}

compute_linear_t *compute_linear_new(compute_t *c, const struct compute_linear_desc *d)
{
    compute_enter(c);
    compute_linear_t *result = c->ops->linear_new(c, d);
    compute_leave(c);
    return result;
}

void compute_linear_free(compute_linear_t *l)
{
    if (!l) return;
    compute_t *c = l->c;
    compute_enter(c);
    c->ops->linear_free(l);
    compute_leave(c);
}

void compute_linear_update(compute_linear_t *l)
{
    compute_enter(l->c);
    l->c->ops->linear_update(l);
    compute_leave(l->c);
}

void compute_linear_put(compute_linear_t *l, const struct compute_linear_rows *r)
{
    compute_enter(l->c);
    l->c->ops->linear_put(l, r);
    compute_leave(l->c);
}

const struct compute_codes *compute_linear_form(const compute_linear_t *l, int part)
{
    return l->c->ops->linear_form(l, part);
}

void compute_linear_put_codes(compute_linear_t *l, const struct compute_linear_codes *r)
{
    compute_enter(l->c);
    l->c->ops->linear_put_codes(l, r);
    compute_leave(l->c);
}

void compute_linear_forward(compute_linear_t *l, struct compute_rows rows, const void *X, void *Y,
                            enum compute_dtype y_dtype)
{
    compute_enter(l->c);
    l->c->ops->linear_forward(l, rows, X, Y, y_dtype);
    compute_leave(l->c);
}

void compute_linear_backward_input(compute_linear_t *l, struct compute_rows rows, const void *dY,
                                   void *dX, enum compute_dtype dx_dtype)
{
    compute_enter(l->c);
    l->c->ops->linear_backward_input(l, rows, dY, dX, dx_dtype);
    compute_leave(l->c);
}

void compute_linear_backward_weight(compute_linear_t *l, struct compute_rows rows, const void *dY,
                                    const void *X, bool accumulate)
{
    compute_enter(l->c);
    l->c->ops->linear_backward_weight(l, rows, dY, X, accumulate);
    compute_leave(l->c);
}

void compute_linear_embed(compute_linear_t *l, const struct compute_embed *e, float *h)
{
    compute_enter(l->c);
    l->c->ops->linear_embed(l, e, h);
    compute_leave(l->c);
}

/* ------------------------------------------------------------------ products, norms and residual */

void compute_to_act(compute_t *c, const float *x, size_t n, void *y)
{
    compute_enter(c);
    c->ops->to_act(c, x, n, y);
    compute_leave(c);
}

void compute_matmul(compute_t *c, const struct compute_matmul *m)
{
    compute_enter(c);
    c->ops->matmul(c, m);
    compute_leave(c);
}

void compute_rmsnorm(compute_t *c, const struct compute_norm *n)
{
    compute_enter(c);
    c->ops->rmsnorm(c, n);
    compute_leave(c);
}

void compute_rmsnorm_backward(compute_t *c, const struct compute_norm *n,
                              const struct compute_norm_grad *d)
{
    compute_enter(c);
    c->ops->rmsnorm_backward(c, n, d);
    compute_leave(c);
}

void compute_seam_forward(compute_t *c, const struct compute_seam *s)
{
    compute_enter(c);
    c->ops->seam_forward(c, s);
    compute_leave(c);
}

void compute_seam_backward(compute_t *c, const struct compute_seam *s,
                           const struct compute_seam_grad *d)
{
    compute_enter(c);
    c->ops->seam_backward(c, s, d);
    compute_leave(c);
}

void compute_head_norm(compute_t *c, const struct compute_head_norm *n)
{
    compute_enter(c);
    c->ops->head_norm(c, n);
    compute_leave(c);
}

void compute_bias(compute_t *c, const struct compute_bias *b)
{
    compute_enter(c);
    c->ops->bias(c, b);
    compute_leave(c);
}

/* ------------------------------------------------------------------ attention */

void compute_attention_forward(compute_t *c, const struct compute_attention *a)
{
    compute_enter(c);
    c->ops->attention_forward(c, a);
    compute_leave(c);
}

void compute_attention_backward(compute_t *c, const struct compute_attention *a,
                                const struct compute_attention_grad *d)
{
    compute_enter(c);
    c->ops->attention_backward(c, a, d);
    compute_leave(c);
}

void compute_paged_store(compute_t *c, const struct compute_paged *p)
{
    compute_enter(c);
    c->ops->paged_store(c, p);
    compute_leave(c);
}

void compute_paged_attention(compute_t *c, const struct compute_paged *p)
{
    compute_enter(c);
    c->ops->paged_attention(c, p);
    compute_leave(c);
}

void compute_rope(compute_t *c, const struct compute_rope *p)
{
    compute_enter(c);
    c->ops->rope(c, p);
    compute_leave(c);
}

/* ------------------------------------------------------------------ feed-forward */

void compute_glu_forward(compute_t *c, const struct compute_glu *g)
{
    compute_enter(c);
    c->ops->glu_forward(c, g);
    compute_leave(c);
}

void compute_glu_backward(compute_t *c, const struct compute_glu *g,
                          const struct compute_glu_grad *d)
{
    compute_enter(c);
    c->ops->glu_backward(c, g, d);
    compute_leave(c);
}

void compute_router_forward(compute_t *c, const struct compute_router *r)
{
    compute_enter(c);
    c->ops->router_forward(c, r);
    compute_leave(c);
}

void compute_router_balance(compute_t *c, const struct compute_router *r, float *bias)
{
    compute_enter(c);
    c->ops->router_balance(c, r, bias);
    compute_leave(c);
}

void compute_router_select(compute_t *c, const struct compute_router *r)
{
    compute_enter(c);
    c->ops->router_select(c, r);
    compute_leave(c);
}

void compute_router_backward(compute_t *c, const struct compute_router *r,
                             const struct compute_router_grad *d)
{
    compute_enter(c);
    c->ops->router_backward(c, r, d);
    compute_leave(c);
}

void compute_dispatch(compute_t *c, const struct compute_dispatch *d)
{
    compute_enter(c);
    c->ops->dispatch(c, d);
    compute_leave(c);
}

void compute_routed(compute_t *c, const struct compute_routed *r)
{
    compute_enter(c);
    c->ops->routed(c, r);
    compute_leave(c);
}

void compute_slots(compute_t *c, const struct compute_slots *s)
{
    compute_enter(c);
    c->ops->slots(c, s);
    compute_leave(c);
}

void compute_gather(compute_t *c, const struct compute_gather *g)
{
    compute_enter(c);
    c->ops->gather(c, g);
    compute_leave(c);
}

void compute_combine(compute_t *c, const struct compute_combine *m)
{
    compute_enter(c);
    c->ops->combine(c, m);
    compute_leave(c);
}

void compute_scale(compute_t *c, int64_t n, float scale, const void *x, void *y)
{
    compute_enter(c);
    c->ops->scale(c, n, scale, x, y);
    compute_leave(c);
}

/* ------------------------------------------------------------------ embedding, loss and optimisers */

void compute_embed(compute_t *c, const struct compute_embed *e, const float *table, float *h)
{
    compute_enter(c);
    c->ops->embed(c, e, table, h);
    compute_leave(c);
}

void compute_embed_backward(compute_t *c, const struct compute_embed *e, const float *dh,
                            float *d_table)
{
    compute_enter(c);
    c->ops->embed_backward(c, e, dh, d_table);
    compute_leave(c);
}

void compute_cross_entropy(compute_t *c, const struct compute_loss *l)
{
    compute_enter(c);
    c->ops->cross_entropy(c, l);
    compute_leave(c);
}

void compute_logits(compute_t *c, int64_t M, int64_t V, float multiplier, float cap, float *z)
{
    compute_enter(c);
    c->ops->logits(c, M, V, multiplier, cap, z);
    compute_leave(c);
}

double compute_sum_squares(compute_t *c, const float *x, size_t n)
{
    compute_enter(c);
    double result = c->ops->sum_squares(c, x, n);
    compute_leave(c);
    return result;
}

bool compute_all_finite(compute_t *c, const float *x, size_t n)
{
    compute_enter(c);
    bool result = c->ops->all_finite(c, x, n);
    compute_leave(c);
    return result;
}

void compute_adamw(compute_t *c, const struct compute_adamw *o)
{
    compute_enter(c);
    c->ops->adamw(c, o);
    compute_leave(c);
}

void compute_momentum(compute_t *c, const struct compute_momentum *o)
{
    compute_enter(c);
    c->ops->momentum(c, o);
    compute_leave(c);
}

void compute_axpby(compute_t *c, size_t n, float a, const float *x, float b, float *y)
{
    compute_enter(c);
    c->ops->axpby(c, n, a, x, b, y);
    compute_leave(c);
}
