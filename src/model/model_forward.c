/* model_forward.c: tokens to the normalised input of the head, layer by layer.
 *
 *   h = embedding_multiplier * E[token]        fp32 [M, D], the residual
 *   each layer: model_block.c
 *   x_final = rms(final, h)                    the last layer's last seam */
#include "model/model_internal.h"

#include <string.h>

/* ------------------------------------------------------------------ router losses
 *   aux = E * sum_e f_e P_e, f_e the share of the M k slots, P_e the mean probability
 *   z   = mean of logsumexp(router logits)^2            (both: means over layers) */

static void sum_router(struct model *m, int64_t layer, const struct model_slot *slot, int64_t M)
{
    const struct model_routing *r = &slot->layers[layer].routing;
    struct compute_routed routed = {.M = M, .E = m->dims.E, .probs = r->probs, .lse = r->lse};
    routed.count = r->count;
    routed.out = slot->sums + layer * (2 * m->dims.E + 1);
    compute_routed(m->compute, &routed);
}

/* sum: of a layer of compute_routed; bias: with which its rows were dealt. */
static void add_router_stats(const struct model *m, int64_t layer, const double *sum,
                             const float *bias, int64_t M, struct model_stats *s)
{
    const struct model_dims *d = &m->dims;
    double aux = 0, L = (double)m->config.n_layers;
    int64_t at = (m->shard.first_layer + layer) * d->E;
    for (int64_t e = 0; e < d->E; e++) {
        double slots = sum[e], probs = sum[d->E + e];
        aux += slots / (double)(M * d->k) * probs / (double)M;
        if (s->load) s->load[at + e] += slots;
        if (s->prob) s->prob[at + e] += probs;
        if (s->bias) s->bias[at + e] += (double)bias[e];
    }
    s->aux += (double)d->E * aux / L;
    s->z += sum[2 * d->E] / (double)M / L;
}

/* What sum_router left of all layers, behind a pass. */
static void take_router_stats(struct model *m, const struct model_slot *slot, int64_t M,
                              struct model_stats *s)
{
    const struct model_dims *d = &m->dims;
    int64_t each = 2 * d->E + 1;
    const double *sums =
        model_to_host(m, m->host.sums, slot->sums, (size_t)(d->L * each) * sizeof(*sums));
    const float *bias = NULL;
    if (s->bias)
        bias = model_to_host(m, m->host.batch_bias, m->batch_bias,
                             (size_t)(d->L * d->E) * sizeof(*bias));
    for (int64_t i = 0; i < d->L; i++) {
        if (m->hooks.sum_routing)
            memcpy(slot->routed + i * 2 * d->E, sums + i * each,
                   (size_t)(2 * d->E) * sizeof(*sums));
        add_router_stats(m, i, sums + i * each, bias ? bias + i * d->E : NULL, M, s);
    }
}

double model_sum_routing(struct model *m, const struct model_slot *s, int64_t M)
{
    const struct model_dims *d = &m->dims;
    double *routed = s->routed, *tokens = &routed[2 * d->L * d->E], aux = 0;
    *tokens = (double)M;
    m->hooks.sum_routing(m->hooks.ctx, routed, (size_t)(2 * d->L * d->E + 1));
    for (int64_t i = 0; i < d->L; i++, routed += 2 * d->E) {
        double layer = 0;
        for (int64_t e = 0; e < d->E; e++)
            layer += routed[e] / (*tokens * (double)d->k) * routed[d->E + e] / *tokens;
        aux += (double)d->E * layer / (double)m->config.n_layers;
    }
    return aux;
}

/* ------------------------------------------------------------------ the whole */

void model_check_tokens(const struct model *m, const uint32_t *tokens, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        CHECK_MSG((int64_t)tokens[i] < m->dims.V, "token %u in a vocabulary of %lld", tokens[i],
                  (long long)m->dims.V);
}

struct compute_embed model_embed(const struct model *m, int64_t M, const uint32_t *ids)
{
    const struct model_dims *d = &m->dims;
    return (struct compute_embed){.M = M,
                                  .D = d->D,
                                  .ids = ids,
                                  .scale = (float)m->config.embedding_multiplier,
                                  .first = d->first_id,
                                  .count = model_divides_vocabulary(m) ? d->Vh : 0};
}

/* Which rows a row sees where layers have a window: the host's. */
static void find_windows(struct model *m, const struct model_batch *b)
{
    const int32_t window = (int32_t)m->config.window;
    for (int64_t i = 0; i < b->B * b->T; i++) {
        int32_t first = (int32_t)(i % b->T) - window + 1;
        m->host.window_start[i] = MAX(first, b->doc_start ? b->doc_start[i] : 0);
    }
}

struct model_batch model_take_batch(struct model *m, const struct model_batch *b)
{
    size_t n = (size_t)(b->B * b->T);
    const struct model_device *d = &m->device;
    struct model_batch taken = *b;
    CHECK_MSG(b->B >= 1 && b->T >= 1 && b->T <= m->T && b->B * b->T <= m->B * m->T,
              "batch of %lld x %lld in a model planned for %lld x %lld", (long long)b->B,
              (long long)b->T, (long long)m->B, (long long)m->T);
    if (m->has_embedding) model_check_tokens(m, b->inputs, b->B * b->T);
    if (m->host.window_start) find_windows(m, b);
    taken.inputs = model_to_device(m, d->inputs, b->inputs, n * sizeof(*b->inputs));
    taken.targets = model_to_device(m, d->targets, b->targets, n * sizeof(*b->targets));
    taken.doc_start = model_to_device(m, d->doc_start, b->doc_start, n * sizeof(*b->doc_start));
    m->window_start =
        model_to_device(m, d->window_start, m->host.window_start, n * sizeof(int32_t));
    m->router_bias = model_to_device(m, d->router_bias, m->host.router_bias,
                                     (size_t)(m->dims.L * m->dims.E) * sizeof(float));
    return taken;
}

struct model_rows model_rows_of(const struct model *m, const struct model_batch *b)
{
    struct model_rows r = {.M = b->B * b->T,
                           .T = b->T,
                           .doc_start = b->doc_start,
                           .window_start = m->window_start,
                           .rope = (const float *const *)m->rope,
                           .balance = b->balance,
                           .own = {0, b->B * b->T}};
    if (model_divides_rows(m)) {
        struct model_shard part = m->shard;
        for (part.tensor_rank = 0; part.tensor_rank < m->shard.tensor_size; part.tensor_rank++)
            m->row_bounds[part.tensor_rank] =
                (size_t)(model_own_rows(&part, r.M).first * m->dims.D);
        m->row_bounds[m->shard.tensor_size] = (size_t)(r.M * m->dims.D);
        r.bounds = m->row_bounds;
        r.own = model_own_rows(&m->shard, r.M);
    }
    return r;
}

/* What each process of a tensor-parallel group found of the rows' ids, added up; own rows to the
 * front. */
static void sum_embedded(struct model *m, const struct model_rows *r, float *h)
{
    size_t D = (size_t)m->dims.D;
    if (model_divides_vocabulary(m)) m->hooks.sum_rows(m->hooks.ctx, h, r->bounds, COMPUTE_F32);
    if (r->own.first > 0)
        compute_copy(m->compute, h, h + (size_t)r->own.first * D,
                     (size_t)r->own.n * D * sizeof(*h));
}

void model_forward_rows(struct model *m, const struct model_slot *s, const struct model_rows *r,
                        const uint32_t *tokens, struct model_stats *stats)
{
    const struct model_dims *d = &m->dims;
    struct compute_embed embed = model_embed(m, r->M, tokens);
    model_want_weights(m, 0);
    if (m->table)
        compute_linear_embed(m->table, &embed, s->h0);
    else if (m->has_embedding)
        compute_embed(m->compute, &embed, m->embedding.w, s->h0);
    if (m->has_embedding) sum_embedded(m, r, s->h0);
    struct compute_norm norm = model_norm_in(m, 0, r, &s->layers[0]);
    norm.rstd = s->rstd0;
    if (norm.g)
        compute_rmsnorm(m->compute, &norm);
    else
        compute_to_act(m->compute, norm.x, (size_t)(r->own.n * d->D), norm.y);
    model_gather_rows(m, r, s->layers[0].x_attn, compute_act_dtype(m->compute));
    for (int64_t i = 0; i < d->L; i++) {
        model_block_forward(m, i, r, &s->layers[i]);
        if (stats && d->E) sum_router(m, i, s, r->M);
    }
    if (stats && d->E) take_router_stats(m, s, r->M, stats);
}

void model_forward(struct model *m, const struct model_slot *s, const struct model_batch *b,
                   struct model_stats *stats)
{
    struct model_rows r = model_rows_of(m, b);
    struct model_stats own = {0}; /* this batch's: what a sum holds must not change its rounding */
    if (stats) {
        own.load = stats->load;
        own.prob = stats->prob;
        own.bias = stats->bias;
    }
    model_forward_rows(m, s, &r, b->inputs, stats ? &own : NULL);
    if (stats) {
        stats->aux += own.aux;
        stats->z += own.z;
    }
}
