/* model_block.c: one layer, forward. There is no other forward pass: training, scoring and decoding
 * all come through model_block_forward.
 *
 *   h += rms(post_attn, attention(rms(pre_attn, h)))
 *   h += rms(post_ffn,  ffn(rms(pre_ffn, h)))
 *
 * Post-norm, residual addition and the next pre-norm touch the same rows and are one pass, the seam
 * (compute.h). So a sub-layer is products between two act arrays, x and y, and a layer is two
 * sub-layers and two seams; the norm in front of the next layer, or of the head, is the second half
 * of the last seam. Forms beside Grok's (model_form.c) leave out norms, or add biases and norms of
 * heads; what a layer has no tensor for is not done.
 *
 * The routing weight of a token is folded into what the gated unit gives, before the experts'
 * second product: W_down (w * act) = w * W_down act. Then the scatter is a plain sum, and the
 * gradient of w comes out of the gated unit's backward pass without the experts' output.
 *
 * Tensor-parallel processes that train have all rows in their products, and between them, from the sum
 * of a sub-layer's parts to the input of the next one, each its own (model_own_rows): the sum goes to
 * whose row it is, and the normalised row to all.
 *
 * Where activations lie is the caller's: arrays come in a struct model_acts. With selective
 * recomputation those of the feed-forward's inside are shared by all layers, with full recomputation
 * all but h_in are; model_block_again makes them once more for the backward pass, by the same
 * operations on the same numbers, so that the gradients are the same bits. */
#include "model/model_internal.h"

#include <math.h>

/* ------------------------------------------------------------------ descriptions shared with
 * the backward pass, so that both speak of the same operation */

float model_ffn_scale(const struct model *m)
{
    return m->dims.E && m->dims.Fd ? (float)M_SQRT1_2 : 1;
}

struct compute_router model_router(const struct model *m, int64_t layer, int64_t M, const void *x,
                                   const struct model_routing *r)
{
    const struct model_dims *d = &m->dims;
    return (struct compute_router){
        .M = M,
        .D = d->D,
        .E = d->E,
        .k = d->k,
        .x = x,
        .W = m->layers[layer].router.w,
        .cap = (float)m->config.router_softcap,
        .bias = m->router_bias + layer * d->E,
        .probs = r->probs,
        .lse = r->lse,
        .top = r->top,
        .weight = r->weight,
        .renormalise = m->config.renormalise_top_k,
    };
}

struct compute_attention model_attention(const struct model *m, int64_t layer,
                                         const struct model_rows *r, const struct model_acts *a)
{
    const struct model_dims *d = &m->dims;
    return (struct compute_attention){
        .B = r->M / r->T,
        .T = r->T,
        .H = d->H,
        .K = d->K,
        .h = d->h,
        .ld = model_qkv_width(m),
        .q = a->qkv,
        .k = model_act_at(m, a->qkv, d->H * d->h),
        .v = model_act_at(m, a->qkv, (d->H + d->K) * d->h),
        .ld_out = d->H * d->h,
        .out = a->o,
        .lse = a->lse,
        .multiplier = (float)m->config.attn_multiplier,
        .cap = (float)m->config.attn_softcap,
        .temperature_len = m->config.attn_temperature_len,
        .doc_start = m->layers[layer].form.window ? r->window_start : r->doc_start,
    };
}

struct compute_rope model_rope(const struct model *m, int64_t layer, const struct model_rows *r,
                               bool backward, void *qkv)
{
    const struct model_dims *d = &m->dims;
    return (struct compute_rope){
        .M = r->M,
        .T = r->T,
        .position = r->position,
        .n_heads = d->H + d->K,
        .h = d->h,
        .ld = model_qkv_width(m),
        .table = r->rope[m->layers[layer].form.rotation],
        .backward = backward,
        .x = qkv,
        .pairs = m->config.rope_form == MODEL_ROPE_PAIRS,
    };
}

void *model_own_act(const struct model *m, const struct model_rows *r, void *x)
{
    return x ? model_act_at(m, x, r->own.first * m->dims.D) : NULL;
}

struct compute_norm model_norm_in(const struct model *m, int64_t layer, const struct model_rows *r,
                                  const struct model_acts *a)
{
    return (struct compute_norm){.M = r->own.n,
                                 .D = m->dims.D,
                                 .eps = (float)m->config.rms_eps,
                                 .x = a->h_in,
                                 .g = m->layers[layer].attn_norm.w,
                                 .y = model_own_act(m, r, a->x_attn)};
}

struct compute_seam model_seam_attn(const struct model *m, int64_t layer,
                                    const struct model_rows *r, const struct model_acts *a)
{
    const struct model_layer *l = &m->layers[layer];
    return (struct compute_seam){
        .M = r->own.n,
        .D = m->dims.D,
        .eps = (float)m->config.rms_eps,
        .h = a->h_in,
        .y = model_own_act(m, r, a->y_attn),
        .g_post = l->attn_output_norm.w,
        .g_next = l->ffn_norm.w,
        .h_out = a->h_mid,
        .a = model_own_act(m, r, a->x_ffn),
        .rstd_post = a->rstd_attn_post,
        .rstd_next = a->rstd_attn_next,
        .scale = (float)m->config.residual_multiplier,
    };
}

struct compute_seam model_seam_ffn(const struct model *m, int64_t layer, const struct model_rows *r,
                                   const struct model_acts *a)
{
    const struct model_layer *l = &m->layers[layer];
    bool last = layer + 1 == m->dims.L; /* without a head nothing is behind it: x_next is NULL */
    return (struct compute_seam){
        .M = r->own.n,
        .D = m->dims.D,
        .eps = (float)m->config.rms_eps,
        .h = a->h_mid,
        .y = model_own_act(m, r, a->y_ffn),
        .g_post = l->layer_output_norm.w,
        .g_next = last ? m->output_norm.w : m->layers[layer + 1].attn_norm.w,
        .h_out = a->h_out,
        .a = model_own_act(m, r, a->x_next),
        .rstd_post = a->rstd_ffn_post,
        .rstd_next = a->rstd_ffn_next,
        .scale = (float)m->config.residual_multiplier,
    };
}

/* ------------------------------------------------------------------ sub-layers */

static void want(struct model *m, size_t first, size_t end)
{
    if (m->hooks.weights_wanted && end > first)
        m->hooks.weights_wanted(m->hooks.ctx, first, end - first);
}

void model_want_weights(struct model *m, int64_t layer)
{
    const struct model_layer *l = &m->layers[MIN(layer, m->dims.L - 1)];
    if (layer == m->dims.L)
        want(m, l->first_param + l->n_params, m->params.n_rows);
    else
        want(m, layer == 0 ? 0 : l->first_param, l->first_param + l->n_attn_params);
}

static void want_ffn(struct model *m, const struct model_layer *l)
{
    want(m, l->first_param + l->n_attn_params, l->first_param + l->n_params);
}

void model_sum_rows(struct model *m, const struct model_rows *r, void *x)
{
    enum compute_dtype act = compute_act_dtype(m->compute);
    if (r->bounds)
        m->hooks.sum_rows(m->hooks.ctx, x, r->bounds, act);
    else if (m->hooks.sum_tensor)
        m->hooks.sum_tensor(m->hooks.ctx, x, (size_t)(r->M * m->dims.D), act);
}

void model_gather_rows(struct model *m, const struct model_rows *r, void *x,
                       enum compute_dtype dtype)
{
    if (r->bounds) m->hooks.gather_rows(m->hooks.ctx, x, r->bounds, dtype);
}

/* The attention of runs: keys and values go to their pages first. */
static void attend_pages(struct model *m, int64_t layer, const struct model_rows *r,
                         const struct model_acts *a)
{
    const struct model_dims *d = &m->dims;
    struct compute_paged p = {
        .H = d->H,
        .K = d->K,
        .h = d->h,
        .ld = model_qkv_width(m),
        .ld_out = d->H * d->h,
        .runs = r->runs,
        .n_runs = r->n_runs,
        .at = (size_t)layer * compute_page_bytes(m->compute, d->K, d->h),
        .q = a->qkv,
        .k = model_act_at(m, a->qkv, d->H * d->h),
        .v = model_act_at(m, a->qkv, (d->H + d->K) * d->h),
        .out = a->o,
        .multiplier = (float)m->config.attn_multiplier,
        .cap = (float)m->config.attn_softcap,
        .temperature_len = m->config.attn_temperature_len,
        .window = m->layers[layer].form.window,
    };
    compute_paged_store(m->compute, &p);
    compute_paged_attention(m->compute, &p);
}

static void add_bias(struct model *m, const struct model_tensor *b, int64_t M, int64_t n, void *x,
                     int64_t ld)
{
    struct compute_bias bias = {M, n, ld, b->w, x};
    if (b->w) compute_bias(m->compute, &bias);
}

/* What a form does to queries, keys and values before the rotation. */
static void finish_qkv(struct model *m, const struct model_layer *l, int64_t M, void *qkv)
{
    const struct model_dims *d = &m->dims;
    int64_t ld = model_qkv_width(m), q = d->H * d->h, kv = d->K * d->h;
    void *k = model_act_at(m, qkv, q), *v = model_act_at(m, qkv, q + kv);
    struct compute_head_norm norm = {M, d->H, d->h, ld, (float)m->config.rms_eps, l->q_norm.w, qkv};
    add_bias(m, &l->q_bias, M, q, qkv, ld);
    add_bias(m, &l->k_bias, M, kv, k, ld);
    add_bias(m, &l->v_bias, M, kv, v, ld);
    if (!l->q_norm.w) return;
    compute_head_norm(m->compute, &norm);
    norm.n_heads = d->K;
    norm.g = l->k_norm.w;
    norm.x = k;
    compute_head_norm(m->compute, &norm);
}

/* x_attn [M, D] -> y_attn [M, D] */
static void forward_attention(struct model *m, int64_t layer, const struct model_rows *r,
                              const struct model_acts *a)
{
    const struct model_layer *l = &m->layers[layer];
    struct compute_rows rows = {.n = r->M};
    enum compute_dtype act = compute_act_dtype(m->compute);

    compute_linear_forward(l->linears[LINEAR_QKV], rows, a->x_attn, a->qkv, act);
    finish_qkv(m, l, r->M, a->qkv);
    struct compute_rope rope = model_rope(m, layer, r, false, a->qkv);
    compute_rope(m->compute, &rope);
    if (r->n_runs) {
        attend_pages(m, layer, r, a);
    } else {
        struct compute_attention attention = model_attention(m, layer, r, a);
        compute_attention_forward(m->compute, &attention);
    }
    compute_linear_forward(l->linears[LINEAR_OUT], rows, a->o, a->y_attn, act);
    model_sum_rows(m, r, a->y_attn);
    add_bias(m, &l->output_bias, r->own.n, m->dims.D, model_own_act(m, r, a->y_attn), m->dims.D);
}

/* Selects the experts again, with biases that deal the rows evenly. */
static void balance(struct model *m, int64_t layer, struct compute_router *r)
{
    float *bias = m->batch_bias + layer * r->E;
    compute_copy(m->compute, bias, r->bias, (size_t)r->E * sizeof(*bias));
    compute_router_balance(m->compute, r, bias);
    r->bias = bias;
    compute_router_select(m->compute, r);
}

/* Routes x_ffn and sorts the tokens by expert. */
static void route(struct model *m, int64_t layer, const struct model_rows *rows,
                  const struct model_acts *a)
{
    const struct model_dims *d = &m->dims;
    const struct model_routing *r = &a->routing;
    int64_t M = rows->M;
    struct compute_router router = model_router(m, layer, M, a->x_ffn, r);
    compute_router_forward(m->compute, &router);
    if (rows->balance) balance(m, layer, &router);
    struct compute_dispatch dispatch = {
        M,        d->E,        d->k,         model_row_align(m), r->top,    r->offset,
        r->count, r->slot_row, r->row_token, r->row_slot,        r->weight, r->row_weight};
    compute_dispatch(m->compute, &dispatch);
    if (model_is_divided(m)) model_exchange_plan(m, r);
}

struct compute_rows model_held_rows(const struct model_routing *r)
{
    return (struct compute_rows){r->held_offset, r->held_rows};
}

void model_to_experts(struct model *m, const struct model_routing *r, const void *x, void *rows)
{
    const struct model_dims *d = &m->dims;
    void *sorted = model_is_divided(m) ? m->scratch.sorted : rows;
    struct compute_gather g = {r->rows, d->D, &r->offset[d->E], r->row_token, x, sorted};
    compute_gather(m->compute, &g);
    if (model_is_divided(m)) model_exchange_out(m, r, sorted, rows);
}

const void *model_from_experts(struct model *m, const struct model_routing *r, const void *rows)
{
    if (!model_is_divided(m)) return rows;
    model_exchange_back(m, r, rows, m->scratch.sorted);
    return m->scratch.sorted;
}

/* x_ffn -> x_rows -> gu */
static void forward_experts_in(struct model *m, const struct model_layer *l,
                               const struct model_acts *a)
{
    const struct model_routing *r = &a->routing;
    model_to_experts(m, r, a->x_ffn, a->x_rows);
    compute_linear_forward(l->linears[LINEAR_EXPERTS_IN], model_held_rows(r), a->x_rows, a->gu,
                           compute_act_dtype(m->compute));
}

/* x_ffn -> gu_dense */
static void forward_dense_in(struct model *m, const struct model_layer *l, int64_t M,
                             const struct model_acts *a)
{
    struct compute_rows rows = {.n = M};
    compute_linear_forward(l->linears[LINEAR_DENSE_IN], rows, a->x_ffn, a->gu_dense,
                           compute_act_dtype(m->compute));
}

/* gu -> y_rows [Rh, D], each token's experts in their own rows, already weighted */
static void forward_experts_out(struct model *m, const struct model_layer *l,
                                const struct model_acts *a)
{
    const struct model_routing *r = &a->routing;
    struct compute_glu glu = {r->held_rows,
                              m->dims.F,
                              a->gu,
                              r->held_weight,
                              a->hidden,
                              (enum compute_activation)m->config.activation,
                              &r->held_offset[m->dims.Eh]};
    compute_glu_forward(m->compute, &glu);
    compute_linear_forward(l->linears[LINEAR_EXPERTS_OUT], model_held_rows(r), a->hidden, a->y_rows,
                           compute_act_dtype(m->compute));
}

/* gu_dense -> y [M, D] */
static void forward_dense_out(struct model *m, const struct model_layer *l, int64_t M,
                              const struct model_acts *a, void *y)
{
    struct compute_rows rows = {.n = M};
    struct compute_glu glu = {M,    m->dims.Fd, a->gu_dense,
                              NULL, a->hidden,  (enum compute_activation)m->config.activation};
    compute_glu_forward(m->compute, &glu);
    compute_linear_forward(l->linears[LINEAR_DENSE_OUT], rows, a->hidden, y,
                           compute_act_dtype(m->compute));
}

/* x_ffn [M, D] -> y_ffn [M, D] */
static void forward_ffn(struct model *m, int64_t layer, const struct model_rows *r,
                        const struct model_acts *a)
{
    int64_t M = r->M;
    const struct model_dims *d = &m->dims;
    const struct model_layer *l = &m->layers[layer];
    void *dense = d->E ? a->y_dense : a->y_ffn;
    if (d->Fd) {
        forward_dense_in(m, l, M, a);
        forward_dense_out(m, l, M, a, dense);
    }
    if (d->E) {
        route(m, layer, r, a);
        forward_experts_in(m, l, a);
        forward_experts_out(m, l, a);
        struct compute_combine c = {.M = M, .D = d->D, .k = d->k};
        c.y = model_from_experts(m, &a->routing, a->y_rows);
        c.slot_row = a->routing.slot_row;
        c.a = dense;
        c.scale = model_ffn_scale(m);
        c.out = a->y_ffn;
        compute_combine(m->compute, &c);
    }
    model_sum_rows(m, r, a->y_ffn);
}

/* ------------------------------------------------------------------ a layer */

static void block(struct model *m, int64_t layer, const struct model_rows *r,
                  const struct model_acts *a)
{
    forward_attention(m, layer, r, a);
    want_ffn(m, &m->layers[layer]); /* each seam has the norm of what is behind it */
    struct compute_seam seam = model_seam_attn(m, layer, r, a);
    compute_seam_forward(m->compute, &seam);
    model_gather_rows(m, r, a->x_ffn, compute_act_dtype(m->compute));
    forward_ffn(m, layer, r, a);
    model_want_weights(m, layer + 1);
    seam = model_seam_ffn(m, layer, r, a);
    compute_seam_forward(m->compute, &seam);
}

void model_block_forward(struct model *m, int64_t layer, const struct model_rows *r,
                         const struct model_acts *a)
{
    block(m, layer, r, a);
    if (a->x_next) model_gather_rows(m, r, a->x_next, compute_act_dtype(m->compute));
}

void model_block_again(struct model *m, int64_t layer, const struct model_rows *r,
                       const struct model_acts *a)
{
    if (m->recompute == MODEL_RECOMPUTE_SELECTIVE) {
        if (m->dims.E) forward_experts_in(m, &m->layers[layer], a);
        if (m->dims.Fd) forward_dense_in(m, &m->layers[layer], r->M, a);
    }
    if (m->recompute == MODEL_RECOMPUTE_FULL) {
        struct compute_norm norm = model_norm_in(m, layer, r, a);
        compute_rmsnorm(m->compute, &norm);
        model_gather_rows(m, r, a->x_attn, compute_act_dtype(m->compute));
        block(m, layer, r, a); /* what is behind it has its input */
    }
}
