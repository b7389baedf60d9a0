/* model_cache.c: decoding one sequence with cached keys and values.
 *
 * The result must not depend on how a prompt is cut into calls, bit for bit: a server that finds a
 * prefix in its cache must say what it would have said without. Row-wise operations never mix rows,
 * so they are no danger. A matrix product is: its library may sum in another order for another
 * number of rows, or for another place of a row in a block. So every product here has exactly TILE
 * rows, and the token at position p is always in row p % TILE; rows that are not in use hold
 * whatever was there (finite numbers; no row can see another). Experts get TILE rows each, a token
 * in the same row as everywhere else, instead of being packed; experts that no live token chose get
 * none; queries meet their keys one by one. So for each token the same instructions run on the same
 * numbers in the same places.
 *
 * One token then costs the arithmetic of TILE, which hides behind the reading of the weights where
 * matrix units are fast, and costs up to as much again where they are not.
 *
 * A cache owns its scratch, so that a sequence decodes without touching the model's activations:
 * text can be generated in the middle of training. Keys are stored rotated. */
#include "model/model_internal.h"

#include <string.h>

#define TILE COMPUTE_ROW_ALIGN

struct model_cache {
    model_t *m;
    int64_t max_tokens, length;
    uint8_t *base; /* one mapping holds all below */
    size_t size;
    void **keys, **values; /* per layer, act [max_tokens, K h] */
    float *rope;           /* of the positions that fit, whole tiles */
    float *h;              /* [TILE, D] */
    void *x, *y, *y_dense; /* act [TILE, D] */
    void *qkv, *o;         /* act [TILE, (H + 2K) h], [TILE, H h] */
    void *gu, *hidden;     /* act [R, 2F] or [TILE, 2Fd]; [R, F] or [TILE, Fd] */
    void *x_rows, *y_rows; /* act [R, D]; R = TILE rows for each expert that can be in use */
    struct model_routing routing;
    float *rstd;   /* [2, TILE] */
    float *logits; /* [TILE, V] */
};

/* ------------------------------------------------------------------ memory */

/* Counts bytes while there is no memory yet, hands out places once there is: one walk for both. */
static void *take(model_cache_t *c, int64_t n, size_t element)
{
    size_t at = c->size;
    c->size += ((size_t)n * element + 63) / 64 * 64;
    return c->base ? c->base + at : NULL;
}

/* Rows of the experts' products: TILE for each expert that TILE tokens can choose. */
static int64_t expert_rows(const struct model_dims *d)
{
    return MIN(d->E, TILE * d->k) * TILE;
}

static void layout_routing(model_cache_t *c)
{
    const struct model_dims *d = &c->m->dims;
    struct model_routing *r = &c->routing;
    int64_t R = expert_rows(d);
    r->probs = take(c, TILE * d->E, sizeof(float));
    r->lse = take(c, TILE, sizeof(float));
    r->top = take(c, TILE * d->k, sizeof(int32_t));
    r->weight = take(c, TILE * d->k, sizeof(float));
    r->offset = take(c, d->E + 1, sizeof(int32_t));
    r->slot_row = take(c, TILE * d->k, sizeof(int32_t));
    r->row_token = take(c, R, sizeof(int32_t));
    r->row_weight = take(c, R, sizeof(float));
}

static void layout(model_cache_t *c)
{
    const struct model *m = c->m;
    const struct model_dims *d = &m->dims;
    size_t act = compute_dtype_size(compute_act_dtype(m->compute));
    int64_t R = expert_rows(d), positions = (c->max_tokens + TILE - 1) / TILE * TILE;
    c->size = 0;
    for (int64_t i = 0; i < d->L; i++) {
        void *keys = take(c, c->max_tokens * d->K * d->h, act);
        void *values = take(c, c->max_tokens * d->K * d->h, act);
        if (!c->keys) continue; /* only measuring */
        c->keys[i] = keys;
        c->values[i] = values;
    }
    c->rope = take(c, (int64_t)compute_rope_table_floats(positions, d->h), sizeof(float));
    c->h = take(c, TILE * d->D, sizeof(float));
    c->x = take(c, TILE * d->D, act);
    c->y = take(c, TILE * d->D, act);
    c->y_dense = take(c, TILE * d->D, act);
    c->qkv = take(c, TILE * model_qkv_width(m), act);
    c->o = take(c, TILE * d->H * d->h, act);
    c->gu = take(c, 2 * MAX(R * d->F, TILE * d->Fd), act);
    c->hidden = take(c, MAX(R * d->F, TILE * d->Fd), act);
    c->x_rows = take(c, R * d->D, act);
    c->y_rows = take(c, R * d->D, act);
    layout_routing(c);
    c->rstd = take(c, 2 * TILE, sizeof(float));
    c->logits = take(c, TILE * d->V, sizeof(float));
}

size_t model_cache_bytes(const model_t *m, int64_t max_tokens)
{
    /* the model is only looked at, but a cache that decodes must be able to change it */
    model_cache_t c = {.m = (model_t *)(uintptr_t)m, .max_tokens = max_tokens};
    layout(&c);
    return c.size;
}

model_cache_t *model_cache_new(model_t *m, int64_t max_tokens)
{
    CHECK(max_tokens >= 1);
    model_cache_t *c = mem_calloc(1, sizeof(*c));
    c->m = m;
    c->max_tokens = max_tokens;
    c->keys = mem_calloc((size_t)m->dims.L, sizeof(*c->keys));
    c->values = mem_calloc((size_t)m->dims.L, sizeof(*c->values));
    c->base = mem_map(model_cache_bytes(m, max_tokens));
    if (!c->base) {
        model_cache_free(c);
        return NULL;
    }
    layout(c);
    int64_t positions = (max_tokens + TILE - 1) / TILE * TILE;
    compute_rope_table(positions, m->dims.h, m->config.rope_theta, c->rope);
    return c;
}

void model_cache_free(model_cache_t *c)
{
    if (!c) return;
    if (c->base) mem_unmap(c->base, c->size);
    mem_free(c->keys);
    mem_free(c->values);
    mem_free(c);
}

/* The old mapping is copied and given back; only keys and values have to survive. */
bool model_cache_grow(model_cache_t *c, int64_t max_tokens)
{
    if (max_tokens <= c->max_tokens) return true;
    const struct model_dims *d = &c->m->dims;
    model_cache_t *larger = model_cache_new(c->m, max_tokens), smaller = *c;
    if (!larger) return false;
    size_t bytes =
        (size_t)(c->length * d->K * d->h) * compute_dtype_size(compute_act_dtype(c->m->compute));
    for (int64_t i = 0; i < d->L; i++) {
        memcpy(larger->keys[i], c->keys[i], bytes);
        memcpy(larger->values[i], c->values[i], bytes);
    }
    larger->length = c->length;
    *c = *larger; /* the caller's handle stays */
    *larger = smaller;
    model_cache_free(larger);
    return true;
}

void model_cache_truncate(model_cache_t *c, int64_t length)
{
    CHECK(length >= 0 && length <= c->length);
    c->length = length;
}

/* ------------------------------------------------------------------ one tile
 * Rows [row, row + n) of the tile are live: positions [pos, pos + n), pos % TILE == row. */

struct live {
    int64_t row, n, pos;
};

static void *act_rows(const model_cache_t *c, void *x, int64_t row, int64_t width)
{
    return model_act_at(c->m, x, row * width);
}

static void store_keys_values(model_cache_t *c, int64_t layer, const struct live *v)
{
    const struct model_dims *d = &c->m->dims;
    int64_t width = model_qkv_width(c->m), kv = d->K * d->h;
    size_t bytes = (size_t)kv * compute_dtype_size(compute_act_dtype(c->m->compute));
    for (int64_t i = 0; i < v->n; i++) {
        void *row = act_rows(c, c->qkv, v->row + i, width);
        memcpy(act_rows(c, c->keys[layer], v->pos + i, kv), model_act_at(c->m, row, d->H * d->h),
               bytes);
        memcpy(act_rows(c, c->values[layer], v->pos + i, kv),
               model_act_at(c->m, row, (d->H + d->K) * d->h), bytes);
    }
}

static void reduce_output(model_cache_t *c, const struct live *v)
{
    const struct model *m = c->m;
    if (m->hooks.reduce_output)
        m->hooks.reduce_output(m->hooks.ctx, act_rows(c, c->y, v->row, m->dims.D),
                               (size_t)(v->n * m->dims.D), compute_act_dtype(m->compute));
}

/* One query per call: a kernel that takes several at once may sum them in another order. */
static void attend(model_cache_t *c, int64_t layer, const struct live *v)
{
    struct model *m = c->m;
    const struct model_dims *d = &m->dims;
    struct compute_attention a = {.B = 1, .H = d->H, .K = d->K, .h = d->h};
    a.ld = model_qkv_width(m);
    a.ld_kv = d->K * d->h;
    a.ld_out = d->H * d->h;
    a.k = c->keys[layer];
    a.v = c->values[layer];
    a.multiplier = (float)m->config.attn_multiplier;
    a.cap = (float)m->config.attn_softcap;
    a.temperature_len = m->config.attn_temperature_len;
    for (int64_t i = 0; i < v->n; i++) {
        a.T = v->pos + i + 1;
        a.q = act_rows(c, c->qkv, v->row + i, a.ld);
        a.out = act_rows(c, c->o, v->row + i, a.ld_out);
        compute_attention_cached(m->compute, &a, v->pos + i);
    }
}

/* x -> y */
static void decode_attention(model_cache_t *c, int64_t layer, const struct live *v)
{
    struct model *m = c->m;
    const struct model_dims *d = &m->dims;
    struct model_layer *l = &m->layers[layer];
    const int32_t rows[2] = {0, TILE};
    struct compute_rope rope = {.M = v->n, .T = v->n, .pos = v->pos, .h = d->h, .table = c->rope};
    enum compute_dtype act = compute_act_dtype(m->compute);

    compute_linear_forward(l->linears[LINEAR_QKV], rows, c->x, c->qkv, act);
    rope.n_heads = d->H + d->K;
    rope.ld = model_qkv_width(m);
    rope.x = act_rows(c, c->qkv, v->row, rope.ld);
    compute_rope(m->compute, &rope);
    store_keys_values(c, layer, v);
    attend(c, layer, v);
    compute_linear_forward(l->linears[LINEAR_OUT], rows, c->o, c->y, act);
    reduce_output(c, v);
}

/* TILE rows for each expert that a live token chose; a token keeps its row. */
static void place_tokens(model_cache_t *c, const struct live *v)
{
    const struct model_dims *d = &c->m->dims;
    struct model_routing *r = &c->routing;
    int32_t next = 0;
    for (int32_t e = 0; e < d->E; e++) {
        r->offset[e] = next;
        bool used = false;
        for (int64_t s = v->row * d->k; s < (v->row + v->n) * d->k; s++)
            used |= r->top[s] == e;
        if (!used) continue;
        for (int32_t i = 0; i < TILE; i++) {
            r->row_token[next + i] = -1;
            r->row_weight[next + i] = 0;
        }
        for (int64_t s = v->row * d->k; s < (v->row + v->n) * d->k; s++) {
            if (r->top[s] != e) continue;
            int32_t token = (int32_t)(s / d->k);
            r->slot_row[s] = next + token;
            r->row_token[next + token] = token;
            r->row_weight[next + token] = r->weight[s];
        }
        next += TILE;
    }
    r->offset[d->E] = next;
}

/* x -> y_rows */
static void decode_experts(model_cache_t *c, int64_t layer, const struct live *v)
{
    struct model *m = c->m;
    const struct model_dims *d = &m->dims;
    struct model_layer *l = &m->layers[layer];
    struct model_routing *r = &c->routing;
    enum compute_dtype act = compute_act_dtype(m->compute);
    struct model_routing live = {.probs = r->probs + v->row * d->E,
                                 .lse = r->lse + v->row,
                                 .top = r->top + v->row * d->k,
                                 .weight = r->weight + v->row * d->k};
    struct compute_router router =
        model_router(m, layer, v->n, act_rows(c, c->x, v->row, d->D), &live);
    compute_router_forward(m->compute, &router);
    place_tokens(c, v);

    int64_t rows = r->offset[d->E];
    compute_gather(m->compute, rows, d->D, r->row_token, c->x, c->x_rows);
    compute_linear_forward(l->linears[LINEAR_EXPERTS_IN], r->offset, c->x_rows, c->gu, act);
    struct compute_glu glu = {rows, d->F, c->gu, r->row_weight, c->hidden};
    compute_glu_forward(m->compute, &glu);
    compute_linear_forward(l->linears[LINEAR_EXPERTS_OUT], r->offset, c->hidden, c->y_rows, act);
}

/* x -> y */
static void decode_dense(model_cache_t *c, int64_t layer, void *y)
{
    struct model *m = c->m;
    struct model_layer *l = &m->layers[layer];
    const int32_t rows[2] = {0, TILE};
    enum compute_dtype act = compute_act_dtype(m->compute);
    compute_linear_forward(l->linears[LINEAR_DENSE_IN], rows, c->x, c->gu, act);
    struct compute_glu glu = {TILE, m->dims.Fd, c->gu, NULL, c->hidden};
    compute_glu_forward(m->compute, &glu);
    compute_linear_forward(l->linears[LINEAR_DENSE_OUT], rows, c->hidden, y, act);
}

/* x -> y */
static void decode_ffn(model_cache_t *c, int64_t layer, const struct live *v)
{
    struct model *m = c->m;
    const struct model_dims *d = &m->dims;
    if (d->Fd) decode_dense(c, layer, d->E ? c->y_dense : c->y);
    if (d->E) {
        decode_experts(c, layer, v);
        struct compute_combine combine = {.M = v->n, .D = d->D, .k = d->k, .y = c->y_rows};
        combine.slot_row = c->routing.slot_row + v->row * d->k;
        combine.a = d->Fd ? act_rows(c, c->y_dense, v->row, d->D) : NULL;
        combine.scale = model_ffn_scale(m);
        combine.out = act_rows(c, c->y, v->row, d->D);
        compute_combine(m->compute, &combine);
    }
    reduce_output(c, v);
}

/* h += rms(y; post), x = rms(h; next), live rows */
static void decode_seam(model_cache_t *c, const struct live *v, const float *g_post,
                        const float *g_next)
{
    struct model *m = c->m;
    int64_t D = m->dims.D;
    float *h = c->h + v->row * D;
    struct compute_seam seam = {
        .M = v->n,
        .D = D,
        .eps = (float)m->config.rms_eps,
        .h = h,
        .y = act_rows(c, c->y, v->row, D),
        .g_post = g_post,
        .g_next = g_next,
        .h_out = h,
        .a = act_rows(c, c->x, v->row, D),
        .rstd_post = c->rstd,
        .rstd_next = c->rstd + TILE,
    };
    compute_seam_forward(m->compute, &seam);
}

static void decode_tile(model_cache_t *c, const uint32_t *tokens, const struct live *v)
{
    struct model *m = c->m;
    const struct model_dims *d = &m->dims;
    float *h = c->h + v->row * d->D;
    struct compute_embed embed = {v->n, d->D, tokens, (float)m->config.embedding_multiplier};
    compute_embed(m->compute, &embed, m->embedding.w, h);
    struct compute_norm norm = {.M = v->n, .D = d->D, .eps = (float)m->config.rms_eps, .x = h};
    norm.g = m->layers[0].attn_norm.w;
    norm.y = act_rows(c, c->x, v->row, d->D);
    compute_rmsnorm(m->compute, &norm);
    for (int64_t i = 0; i < d->L; i++) {
        const struct model_layer *l = &m->layers[i];
        decode_attention(c, i, v);
        decode_seam(c, v, l->attn_output_norm.w, l->ffn_norm.w);
        decode_ffn(c, i, v);
        decode_seam(c, v, l->layer_output_norm.w,
                    i + 1 < d->L ? m->layers[i + 1].attn_norm.w : m->output_norm.w);
    }
}

void model_decode(model_t *m, model_cache_t *c, const uint32_t *tokens, int64_t n, float *logits)
{
    const struct model_dims *d = &m->dims;
    CHECK(c->m == m && n >= 1);
    CHECK_MSG(c->length + n <= c->max_tokens, "%lld tokens behind %lld in a cache of %lld",
              (long long)n, (long long)c->length, (long long)c->max_tokens);
    model_check_tokens(m, tokens, n);
    int64_t row = 0;
    for (int64_t done = 0; done < n;) {
        row = c->length % TILE;
        struct live v = {.row = row, .n = MIN(n - done, TILE - row), .pos = c->length};
        decode_tile(c, tokens + done, &v);
        done += v.n;
        c->length += v.n;
        row = v.row + v.n - 1;
    }
    const int32_t rows[2] = {0, TILE};
    compute_linear_forward(m->head.linear, rows, c->x, c->logits, COMPUTE_F32);
    memcpy(logits, c->logits + row * d->V, (size_t)d->V * sizeof(float));
    compute_logits(m->compute, 1, d->V, (float)m->config.output_multiplier,
                   (float)m->config.final_softcap, logits);
}
