/* model_forward.c: tokens to the normalised input of the head, layer by layer.
 *
 *   h = embedding_multiplier * E[token]                            fp32 [M, D], the residual
 *   each layer:  h += rms(post_attn, attention(rms(pre_attn, h)))
 *                h += rms(post_ffn,  ffn(rms(pre_ffn, h)))
 *   x_final = rms(final, h)
 *
 * Post-norm, residual addition and the next pre-norm touch the same rows and are one pass, the seam
 * (compute.h). So a sub-layer is products between two act arrays, x and y, and a layer is two
 * sub-layers and two seams; the final norm is the second half of the last seam.
 *
 * The routing weight of a token is folded into what the gated unit gives, before the experts'
 * second product: W_down (w * act) = w * W_down act. Then the scatter is a plain sum, and the
 * gradient of w comes out of the gated unit's backward pass without the experts' output. */
#include "model/model_internal.h"

#include <math.h>
#include <string.h>

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
    };
}

struct compute_attention model_attention(const struct model *m, const struct model_batch *b,
                                         const struct model_acts *a)
{
    const struct model_dims *d = &m->dims;
    return (struct compute_attention){
        .B = b->B,
        .T = b->T,
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
        .doc_start = b->doc_start,
    };
}

struct compute_rope model_rope(const struct model *m, const struct model_batch *b, bool backward,
                               void *qkv)
{
    const struct model_dims *d = &m->dims;
    return (struct compute_rope){
        .M = b->B * b->T,
        .T = b->T,
        .n_heads = d->H + d->K,
        .h = d->h,
        .ld = model_qkv_width(m),
        .table = m->rope,
        .backward = backward,
        .x = qkv,
    };
}

struct compute_norm model_first_norm(const struct model *m, int64_t M)
{
    const struct model_layer *l = &m->layers[0];
    return (struct compute_norm){
        M, m->dims.D, (float)m->config.rms_eps, m->h0, l->attn_norm.w, l->acts.x_attn, m->rstd0};
}

/* What enters a layer: the embedded tokens, or what the layer before left. */
static const float *residual_before(const struct model *m, int64_t layer)
{
    return layer > 0 ? m->layers[layer - 1].acts.h_out : m->h0;
}

struct compute_seam model_seam_attn(const struct model *m, int64_t layer, int64_t M)
{
    const struct model_layer *l = &m->layers[layer];
    const struct model_acts *a = &l->acts;
    return (struct compute_seam){
        .M = M,
        .D = m->dims.D,
        .eps = (float)m->config.rms_eps,
        .h = residual_before(m, layer),
        .y = a->y_attn,
        .g_post = l->attn_output_norm.w,
        .g_next = l->ffn_norm.w,
        .h_out = a->h_mid,
        .a = a->x_ffn,
        .rstd_post = a->rstd_attn_post,
        .rstd_next = a->rstd_attn_next,
    };
}

struct compute_seam model_seam_ffn(const struct model *m, int64_t layer, int64_t M)
{
    const struct model_layer *l = &m->layers[layer];
    const struct model_acts *a = &l->acts;
    bool last = layer + 1 == m->dims.L;
    return (struct compute_seam){
        .M = M,
        .D = m->dims.D,
        .eps = (float)m->config.rms_eps,
        .h = a->h_mid,
        .y = a->y_ffn,
        .g_post = l->layer_output_norm.w,
        .g_next = last ? m->output_norm.w : m->layers[layer + 1].attn_norm.w,
        .h_out = a->h_out,
        .a = last ? m->x_final : m->layers[layer + 1].acts.x_attn,
        .rstd_post = a->rstd_ffn_post,
        .rstd_next = a->rstd_ffn_next,
    };
}

/* ------------------------------------------------------------------ sub-layers */

/* The sum over a tensor-parallel group; a process alone has no hook. */
static void reduce_output(struct model *m, void *x, int64_t M)
{
    if (m->hooks.reduce_output)
        m->hooks.reduce_output(m->hooks.ctx, x, (size_t)(M * m->dims.D),
                               compute_act_dtype(m->compute));
}

/* x_attn [M, D] -> y_attn [M, D] */
static void forward_attention(struct model *m, struct model_layer *l, const struct model_batch *b)
{
    struct model_acts *a = &l->acts;
    int64_t M = b->B * b->T;
    int32_t rows[2] = {0, (int32_t)M};
    enum compute_dtype act = compute_act_dtype(m->compute);

    compute_linear_forward(l->linears[LINEAR_QKV], rows, a->x_attn, a->qkv, act);
    struct compute_rope rope = model_rope(m, b, false, a->qkv);
    compute_rope(m->compute, &rope);
    struct compute_attention attention = model_attention(m, b, a);
    compute_attention_forward(m->compute, &attention);
    compute_linear_forward(l->linears[LINEAR_OUT], rows, a->o, a->y_attn, act);
    reduce_output(m, a->y_attn, M);
}

/* Routes x_ffn and sorts the tokens by expert. */
static void route(struct model *m, int64_t layer, int64_t M)
{
    const struct model_dims *d = &m->dims;
    const struct model_acts *a = &m->layers[layer].acts;
    const struct model_routing *r = &a->routing;
    struct compute_router router = model_router(m, layer, M, a->x_ffn, r);
    compute_router_forward(m->compute, &router);
    struct compute_dispatch dispatch = {M,        d->E,        d->k,         r->top,     r->offset,
                                        r->count, r->slot_row, r->row_token, r->row_slot};
    compute_dispatch(&dispatch);
    for (int32_t i = 0; i < r->offset[d->E]; i++)
        r->row_weight[i] = r->row_token[i] >= 0 ? r->weight[r->row_slot[i]] : 0;
}

/* x_ffn -> scratch.y_rows [R, D], each token's experts in their own rows, already weighted */
static void forward_experts(struct model *m, int64_t layer, int64_t M)
{
    const struct model_dims *d = &m->dims;
    struct model_layer *l = &m->layers[layer];
    struct model_acts *a = &l->acts;
    struct model_scratch *s = &m->scratch;
    const struct model_routing *r = &a->routing;
    enum compute_dtype act = compute_act_dtype(m->compute);

    route(m, layer, M);
    int64_t rows = r->offset[d->E];
    compute_gather(m->compute, rows, d->D, r->row_token, a->x_ffn, a->x_rows);
    compute_linear_forward(l->linears[LINEAR_EXPERTS_IN], r->offset, a->x_rows, a->gu, act);
    struct compute_glu glu = {rows, d->F, a->gu, r->row_weight, s->hidden};
    compute_glu_forward(m->compute, &glu);
    compute_linear_forward(l->linears[LINEAR_EXPERTS_OUT], r->offset, s->hidden, s->y_rows, act);
}

/* x_ffn -> y [M, D] */
static void forward_dense(struct model *m, struct model_layer *l, int64_t M, void *y)
{
    struct model_acts *a = &l->acts;
    struct model_scratch *s = &m->scratch;
    int32_t rows[2] = {0, (int32_t)M};
    enum compute_dtype act = compute_act_dtype(m->compute);

    compute_linear_forward(l->linears[LINEAR_DENSE_IN], rows, a->x_ffn, a->gu_dense, act);
    struct compute_glu glu = {M, m->dims.Fd, a->gu_dense, NULL, s->hidden};
    compute_glu_forward(m->compute, &glu);
    compute_linear_forward(l->linears[LINEAR_DENSE_OUT], rows, s->hidden, y, act);
}

/* x_ffn [M, D] -> y_ffn [M, D] */
static void forward_ffn(struct model *m, int64_t layer, int64_t M)
{
    const struct model_dims *d = &m->dims;
    struct model_acts *a = &m->layers[layer].acts;
    void *dense = d->E ? m->scratch.y_dense : a->y_ffn;
    if (d->Fd) forward_dense(m, &m->layers[layer], M, dense);
    if (d->E) {
        forward_experts(m, layer, M);
        struct compute_combine c = {.M = M, .D = d->D, .k = d->k, .y = m->scratch.y_rows};
        c.slot_row = a->routing.slot_row;
        c.a = dense;
        c.scale = model_ffn_scale(m);
        c.out = a->y_ffn;
        compute_combine(m->compute, &c);
    }
    reduce_output(m, a->y_ffn, M);
}

/* ------------------------------------------------------------------ router losses
 *   aux = E * sum_e f_e P_e, f_e the share of the M k slots, P_e the mean probability
 *   z   = mean of logsumexp(router logits)^2            (both: means over layers) */

/* Experts summed side by side: rows of probabilities are read whole. */
#define STATS_BLOCK 16

static void sum_probs(const struct model_routing *r, int64_t M, int64_t E, int64_t first,
                      double sum[STATS_BLOCK])
{
    int64_t n = MIN(STATS_BLOCK, E - first);
    memset(sum, 0, STATS_BLOCK * sizeof(*sum));
    for (int64_t i = 0; i < M; i++)
        for (int64_t e = 0; e < n; e++)
            sum[e] += (double)r->probs[i * E + first + e];
}

static void add_router_stats(const struct model *m, int64_t layer, int64_t M, struct model_stats *s)
{
    const struct model_dims *d = &m->dims;
    const struct model_routing *r = &m->layers[layer].acts.routing;
    double aux = 0, z = 0, sum[STATS_BLOCK] = {0};
    for (int64_t e = 0; e < d->E; e++) {
        if (e % STATS_BLOCK == 0) sum_probs(r, M, d->E, e, sum);
        double slots = r->count[e], probs = sum[e % STATS_BLOCK];
        aux += slots / (double)(M * d->k) * probs / (double)M;
        if (s->load) s->load[layer * d->E + e] += slots;
        if (s->prob) s->prob[layer * d->E + e] += probs;
    }
    for (int64_t i = 0; i < M; i++)
        z += (double)r->lse[i] * (double)r->lse[i];
    s->aux += (double)d->E * aux / (double)d->L;
    s->z += z / (double)M / (double)d->L;
}

/* ------------------------------------------------------------------ the whole */

void model_check_tokens(const struct model *m, const uint32_t *tokens, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        CHECK_MSG((int64_t)tokens[i] < m->dims.V, "token %u in a vocabulary of %lld", tokens[i],
                  (long long)m->dims.V);
}

void model_forward(struct model *m, const struct model_batch *b, struct model_stats *s)
{
    const struct model_dims *d = &m->dims;
    int64_t M = b->B * b->T;
    CHECK_MSG(b->B >= 1 && b->T >= 1 && b->T <= m->T && M <= m->B * m->T,
              "batch of %lld x %lld in a model planned for %lld x %lld", (long long)b->B,
              (long long)b->T, (long long)m->B, (long long)m->T);
    model_check_tokens(m, b->inputs, M);
    struct model_stats own = {0}; /* this batch's: what a sum holds must not change its rounding */
    if (s) {
        own.load = s->load;
        own.prob = s->prob;
    }

    struct compute_embed embed = {M, d->D, b->inputs, (float)m->config.embedding_multiplier};
    compute_embed(m->compute, &embed, m->embedding.w, m->h0);
    struct compute_norm norm = model_first_norm(m, M);
    compute_rmsnorm(m->compute, &norm);
    for (int64_t i = 0; i < d->L; i++) {
        forward_attention(m, &m->layers[i], b);
        struct compute_seam seam = model_seam_attn(m, i, M);
        compute_seam_forward(m->compute, &seam);
        forward_ffn(m, i, M);
        if (s && d->E) add_router_stats(m, i, M, &own);
        seam = model_seam_ffn(m, i, M);
        compute_seam_forward(m->compute, &seam);
    }
    if (s) {
        s->aux += own.aux;
        s->z += own.z;
    }
}
