/* model_backward.c: the gradients of everything below the head, by hand.
 *
 * Runs the sub-layers of model_forward.c in reverse. Two gradients travel: dh fp32 [M, D] of the
 * residual, and the act gradient of a sub-layer's output (dy) or input (da). A seam turns da of the
 * sub-layer above and dh into dy of the sub-layer below and the new dh, and gives the gradients of
 * its two norms. Within a sub-layer each product gives first the gradient of its weight, then of its
 * input, so that buffers can be reused; what the gated unit gave is not kept but comes out of its
 * backward pass again.
 *
 * Every gradient is added to what the array holds, or overwrites it where `first` is set. The
 * embedding is the exception: its rows are scattered, so they are always added; what they are added
 * to is the head's gradient when tied, and zero otherwise.
 *
 * Formulas and their derivation: docs/model.md. */
#include "model/model_internal.h"

#include <math.h>
#include <string.h>

static void grads_ready(struct model *m, size_t first, size_t count)
{
    if (m->hooks.grads_ready) m->hooks.grads_ready(m->hooks.ctx, first, count);
}

/* ------------------------------------------------------------------ attention */

/* dy of y_attn -> da of x_attn */
static void backward_attention(struct model *m, int64_t layer, const struct model_rows *r,
                               const struct model_acts *a, bool first)
{
    const struct model_dims *d = &m->dims;
    const struct model_layer *l = &m->layers[layer];
    struct model_scratch *s = &m->scratch;
    int64_t Hh = d->H * d->h;
    struct compute_rows rows = {.n = r->M};
    enum compute_dtype act = compute_act_dtype(m->compute);

    compute_linear_backward_weight(l->linears[LINEAR_OUT], rows, s->dy, a->o, !first);
    compute_linear_backward_input(l->linears[LINEAR_OUT], rows, s->dy, s->d_o, act);
    struct compute_attention attention = model_attention(m, layer, r, a);
    struct compute_attention_grad grad = {s->d_o, s->d_qkv, model_act_at(m, s->d_qkv, Hh),
                                          model_act_at(m, s->d_qkv, Hh + d->K * d->h)};
    compute_attention_backward(m->compute, &attention, &grad);
    struct compute_rope rope = model_rope(m, layer, r, true, s->d_qkv);
    compute_rope(m->compute, &rope);
    compute_linear_backward_weight(l->linears[LINEAR_QKV], rows, s->d_qkv, a->x_attn, !first);
    compute_linear_backward_input(l->linears[LINEAR_QKV], rows, s->d_qkv, s->da, act);
    model_sum_rows(m, r, s->da);
}

/* ------------------------------------------------------------------ feed-forward */

/* d(dense output) scratch.dy -> gradient of x_ffn in dx */
static void backward_dense(struct model *m, const struct model_layer *l, int64_t M,
                           const struct model_acts *a, void *dx, bool first)
{
    struct model_scratch *s = &m->scratch;
    const void *dy = s->dy;
    struct compute_rows rows = {.n = M};
    enum compute_dtype act = compute_act_dtype(m->compute);

    compute_linear_backward_input(l->linears[LINEAR_DENSE_OUT], rows, dy, s->d_hidden, act);
    struct compute_glu glu = {M, m->dims.Fd, a->gu_dense, NULL, a->hidden};
    struct compute_glu_grad grad = {s->d_hidden, a->gu_dense, NULL};
    compute_glu_backward(m->compute, &glu, &grad);
    compute_linear_backward_weight(l->linears[LINEAR_DENSE_OUT], rows, dy, a->hidden, !first);
    compute_linear_backward_weight(l->linears[LINEAR_DENSE_IN], rows, a->gu_dense, a->x_ffn,
                                   !first);
    compute_linear_backward_input(l->linears[LINEAR_DENSE_IN], rows, a->gu_dense, dx, act);
}

/* dy -> gradients of the experts' input rows in y_rows, and of the row weights in d_sorted */
static void backward_experts(struct model *m, const struct model_layer *l,
                             const struct model_acts *a, const void *dy, bool first)
{
    const struct model_dims *d = &m->dims;
    struct model_scratch *s = &m->scratch;
    const struct model_routing *r = &a->routing;
    struct compute_rows rows = model_held_rows(r);
    enum compute_dtype act = compute_act_dtype(m->compute);

    model_to_experts(m, r, dy, a->y_rows);
    compute_linear_backward_input(l->linears[LINEAR_EXPERTS_OUT], rows, a->y_rows, s->d_hidden,
                                  act);
    struct compute_glu glu = {rows.n, d->F, a->gu, r->held_weight, a->hidden};
    glu.used = &rows.offset[d->Eh];
    struct compute_glu_grad grad = {s->d_hidden, a->gu, s->d_row};
    compute_glu_backward(m->compute, &glu, &grad);
    compute_linear_backward_weight(l->linears[LINEAR_EXPERTS_OUT], rows, a->y_rows, a->hidden,
                                   !first);
    compute_linear_backward_weight(l->linears[LINEAR_EXPERTS_IN], rows, a->gu, a->x_rows, !first);
    compute_linear_backward_input(l->linears[LINEAR_EXPERTS_IN], rows, a->gu, a->y_rows, act);
    if (model_is_divided(m)) model_exchange_back_f32(m, r, s->d_row, s->d_sorted);
}

/* Shares of the slots of all processes. */
static const float *summed_share(struct model *m, int64_t layer, const struct model_slot *slot)
{
    const struct model_dims *d = &m->dims;
    const double *routed = slot->routed + layer * 2 * d->E;
    for (int64_t e = 0; e < d->E; e++)
        m->host.share[e] = (float)(routed[e] / (slot->routed[2 * d->L * d->E] * (double)d->k));
    return model_to_device(m, m->scratch.share, m->host.share, (size_t)d->E * sizeof(float));
}

/* d_sorted and the two router losses -> gradient of x_ffn in d_router_x, and of the router */
static void backward_router(struct model *m, int64_t layer, int64_t M,
                            const struct model_slot *slot, const struct model_stage_grad *g)
{
    const struct model_dims *d = &m->dims;
    struct model_scratch *s = &m->scratch;
    const struct model_acts *a = &slot->layers[layer];
    const struct model_routing *r = &a->routing;

    struct compute_slots slots = {M, d->E, d->k, s->d_sorted, r->slot_row, r->count, s->d_weight};
    slots.share = m->hooks.sum_routing ? NULL : s->share;
    compute_slots(m->compute, &slots);
    if (m->hooks.sum_tensor)
        m->hooks.sum_tensor(m->hooks.ctx, s->d_weight, (size_t)(M * d->k), COMPUTE_F32);
    const float *share = slots.share ? slots.share : summed_share(m, layer, slot);
    double per_layer = g->scale / (double)m->config.n_layers;
    struct compute_router router = model_router(m, layer, M, a->x_ffn, r);
    struct compute_router_grad grad = {.d_weight = s->d_weight, .f = share};
    grad.aux_coef = (float)(per_layer * m->config.router_aux_coef);
    grad.z_coef = (float)(per_layer * m->config.router_z_coef);
    grad.dx = s->d_router_x;
    grad.dW = m->layers[layer].router.g;
    grad.accumulate = !g->first;
    compute_router_backward(m->compute, &router, &grad);
}

/* dy of y_ffn -> da of x_ffn. Every process of a tensor-parallel group has the whole gradient of the
 * routing weights and so of the router's input; only the first adds it to what is summed. */
static void backward_ffn(struct model *m, int64_t layer, const struct model_rows *rows,
                         const struct model_slot *slot, const struct model_stage_grad *g)
{
    int64_t M = rows->M;
    const struct model_dims *d = &m->dims;
    const struct model_layer *l = &m->layers[layer];
    const struct model_acts *a = &slot->layers[layer];
    struct model_scratch *s = &m->scratch;
    void *dense = d->E ? a->y_dense : s->da;
    if (d->E && d->Fd) compute_scale(m->compute, M * d->D, model_ffn_scale(m), s->dy, s->dy);
    if (d->Fd) backward_dense(m, l, M, a, dense, g->first);
    if (d->E) {
        backward_experts(m, l, a, s->dy, g->first);
        backward_router(m, layer, M, slot, g);
        const void *dx = model_from_experts(m, &a->routing, a->y_rows);
        const float *router = m->shard.tensor_rank == 0 ? s->d_router_x : NULL;
        struct compute_combine c = {M,      d->D, d->k, a->routing.slot_row, dx, dense,
                                    router, 1,    s->da};
        compute_combine(m->compute, &c);
    }
    model_sum_rows(m, rows, s->da);
}

/* ------------------------------------------------------------------ the whole */

/* Embedding rows behind the head's gradient, or behind zeros. Where rows are divided, the gradient of
 * each is needed where its id is. */
static void backward_embedding(struct model *m, const struct model_batch *b,
                               const struct model_rows *r, bool first)
{
    const struct model_dims *d = &m->dims;
    float *dh = m->scratch.dh;
    if (r->own.first > 0)
        compute_copy(m->compute, dh + r->own.first * d->D, dh,
                     (size_t)(r->own.n * d->D) * sizeof(*dh));
    model_gather_rows(m, r, dh, COMPUTE_F32);
    struct compute_embed embed = model_embed(m, b->B * b->T, b->inputs);
    if (first && !(m->config.tied_embeddings && m->has_head))
        compute_clear(m->compute, m->embedding.g, (size_t)(d->Vh * d->D) * sizeof(float));
    compute_embed_backward(m->compute, &embed, dh, m->embedding.g);
}

/* The norm in front of the first layer. At a border of stages its gradient is worked out as in the
 * seam that the whole model has there. */
static void backward_norm_in(struct model *m, const struct model_slot *slot,
                             const struct model_rows *r, bool first)
{
    struct model_scratch *s = &m->scratch;
    const struct model_layer *l = &m->layers[0];
    const void *da = model_own_act(m, r, s->da);
    if (m->has_embedding) {
        struct compute_norm norm = model_norm_in(m, 0, r, &slot->layers[0]);
        norm.rstd = slot->rstd0;
        struct compute_norm_grad grad = {da, s->dh, l->attn_norm.g, true, !first};
        compute_rmsnorm_backward(m->compute, &norm, &grad);
        return;
    }
    struct compute_seam seam = {.M = r->own.n, .D = m->dims.D, .eps = (float)m->config.rms_eps};
    seam.h_out = slot->h0;
    seam.g_next = l->attn_norm.w;
    seam.rstd_next = slot->rstd0;
    struct compute_seam_grad grad = {.da = da, .dh = s->dh, .accumulate = !first};
    grad.dg_next = l->attn_norm.g;
    compute_seam_backward(m->compute, &seam, &grad);
}

/* Behind the last seam of layer i all gradients are final of the attention of the layer after it, whose
 * first norm was in that seam, or of what is behind the last. */
static void ready_behind(struct model *m, int64_t i)
{
    const struct model_layer *l = &m->layers[i];
    size_t behind = l->first_param + l->n_params;
    if (i + 1 < m->dims.L)
        grads_ready(m, m->layers[i + 1].first_param, m->layers[i + 1].n_attn_params);
    else if (m->params.n_rows > behind)
        grads_ready(m, behind, m->params.n_rows - behind);
}

void model_backward(struct model *m, const struct model_slot *slot, const struct model_batch *b,
                    const struct model_stage_grad *g)
{
    const struct model_dims *d = &m->dims;
    struct model_scratch *s = &m->scratch;
    struct model_rows r = model_rows_of(m, b);
    bool first = g->first;
    size_t residual = (size_t)(r.own.n * d->D) * sizeof(float);
    enum compute_dtype act = compute_act_dtype(m->compute);
    void *da = model_own_act(m, &r, s->da), *dy = model_own_act(m, &r, s->dy);

    if (m->has_head)
        compute_clear(m->compute, s->dh, residual);
    else
        compute_upload(m->compute, s->dh, g->d_out, residual);
    for (int64_t i = d->L - 1; i >= 0; i--) {
        const struct model_layer *l = &m->layers[i];
        const struct model_acts *a = &slot->layers[i];
        bool last = i + 1 == d->L;
        model_block_again(m, i, &r, a);
        struct compute_seam seam = model_seam_ffn(m, i, &r, a);
        struct compute_seam_grad grad = {da, s->dh, dy, .accumulate = !first};
        grad.dg_post = l->layer_output_norm.g;
        grad.dg_next = last ? m->output_norm.g : m->layers[i + 1].attn_norm.g;
        if (last && !m->has_head) grad.da = NULL;
        compute_seam_backward(m->compute, &seam, &grad);
        ready_behind(m, i);
        model_gather_rows(m, &r, s->dy, act);
        backward_ffn(m, i, &r, slot, g);
        seam = model_seam_attn(m, i, &r, a);
        grad.da = da;
        grad.dg_post = l->attn_output_norm.g;
        grad.dg_next = l->ffn_norm.g;
        compute_seam_backward(m->compute, &seam, &grad);
        grads_ready(m, l->first_param + l->n_attn_params, l->n_params - l->n_attn_params);
        model_gather_rows(m, &r, s->dy, act);
        backward_attention(m, i, &r, a, first);
    }
    backward_norm_in(m, slot, &r, first);
    grads_ready(m, m->layers[0].first_param, m->layers[0].n_attn_params);
    if (m->has_embedding) {
        backward_embedding(m, b, &r, first);
        grads_ready(m, 0, 1);
    } else {
        compute_download(m->compute, g->d_in, s->dh, residual);
    }
}
