/* test_model_support.h: what the tests of src/model share: a rig of pool, compute context and
 * model; backends this machine has; random weights and tokens; comparison of arrays. */
#ifndef COLOSSUS_TEST_MODEL_SUPPORT_H
#define COLOSSUS_TEST_MODEL_SUPPORT_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/model.h"

#define SUPPORT static inline __attribute__((unused))

/* ------------------------------------------------------------------ a model and what it needs */

struct rig {
    struct pool *pool;
    compute_t *compute;
    model_t *model;
};

struct rig_options {
    enum compute_dtype dtype;
    enum compute_backend backend;
    int threads;
    bool inference; /* not training */
    enum model_recompute recompute;
    bool closed; /* memory as of a device that is not the host's */
};

static const enum compute_backend BACKENDS[] = {COMPUTE_REFERENCE, COMPUTE_AVX2, COMPUTE_AVX512};
static const char *const BACKEND_NAMES[] = {
    [COMPUTE_AUTO] = "auto",
    [COMPUTE_REFERENCE] = "reference",
    [COMPUTE_AVX2] = "avx2",
    [COMPUTE_AVX512] = "avx512",
};

SUPPORT bool backend_present(enum compute_backend backend)
{
    struct compute_options o = {.dtype = COMPUTE_F32, .backend = backend};
    compute_t *c = NULL;
    if (compute_new(&o, &c, NULL) < 0) return false;
    compute_free(c);
    return true;
}

SUPPORT void fail_with(const struct error *e)
{
    fail_msg("%s (%s)", e->text, e->hint);
}

SUPPORT void rig_open(struct rig *r, const struct model_config *c, int64_t B, int64_t T,
                      struct rig_options o)
{
    struct error e = {0};
    r->pool = o.threads > 1 ? pool_new(o.threads) : NULL;
    struct compute_options co = {.dtype = o.dtype, .backend = o.backend, .pool = r->pool};
    co.closed = o.closed;
    if (compute_new(&co, &r->compute, &e) < 0) fail_with(&e);
    struct model_options mo = {
        .compute = r->compute, .B = B, .T = T, .training = !o.inference, .recompute = o.recompute};
    if (model_new(c, &mo, &r->model, &e) < 0) fail_with(&e);
}

SUPPORT void rig_close(struct rig *r)
{
    model_free(r->model);
    compute_free(r->compute);
    pool_free(r->pool);
}

/* ------------------------------------------------------------------ configurations, values */

/* A small Grok-1; tests change what they are about. */
SUPPORT struct model_config small_config(void)
{
    struct model_config c;
    model_config_defaults(&c);
    c.vocab_size = 61;
    c.n_layers = 2;
    c.d_model = 24;
    c.n_heads = 4;
    c.n_kv_heads = 2;
    c.head_dim = 8;
    c.ffn_hidden = 20;
    c.n_experts = 4;
    c.n_experts_used = 2;
    c.context_length = 64;
    model_config_derive(&c);
    c.output_multiplier = 1;
    return c;
}

SUPPORT struct model_config small_grok2(void)
{
    struct model_config c = small_config();
    c.dense_ffn_hidden = 28;
    c.router_softcap = 30;
    c.final_softcap = 50;
    c.attn_temperature_len = 4;
    c.tied_embeddings = false;
    return c;
}

SUPPORT struct model_config small_dense(void)
{
    struct model_config c = small_config();
    c.n_experts = 1;
    c.n_experts_used = 1;
    return c;
}

/* Like the reference's: norms near 1, a router that decides, everything else as model_init. */
SUPPORT void random_weights(model_t *m, uint64_t seed)
{
    const struct param_table *t = model_params(m);
    for (size_t i = 0; i < t->n_rows; i++) {
        const struct param *p = &t->rows[i];
        float *w = mem_alloc(p->count * sizeof(*w));
        model_init_values(m, i, seed, 0, p->count, w);
        for (size_t j = 0; j < p->count; j++) {
            if (p->kind == PARAM_NORM) w[j] = 1 + 0.1f * (float)rng_normal(seed, 1000 + i, j);
            if (p->kind == PARAM_ROUTER) w[j] = 0.5f * (float)rng_normal(seed, 1000 + i, j);
        }
        model_put(m, i, 0, (int64_t)p->count / p->shape[p->n_dims - 1], w);
        mem_free(w);
    }
    model_weights_changed(m);
}

/* A model for inference beside one that trains, with the same weights. */
SUPPORT model_t *inference_of(struct rig *r, const struct model_config *c,
                              const struct model_options *like)
{
    struct error e = {0};
    struct model_options o = {.compute = r->compute, .B = 1, .T = 1};
    model_t *m;
    if (like) {
        o.shard = like->shard;
        o.hooks = like->hooks;
    }
    if (model_new(c, &o, &m, &e) < 0) fail_with(&e);
    model_copy_weights(m, r->model);
    return m;
}

SUPPORT void random_tokens(uint32_t *out, size_t n, int64_t V, uint64_t seed)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (uint32_t)(rng_u64(seed, 77, i) % (uint64_t)V);
}

/* ------------------------------------------------------------------ comparison */

/* Relative L2 distance; 0 where both are zero. */
SUPPORT double relative_l2(const float *a, const float *b, size_t n)
{
    double difference = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        difference += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        size += (double)b[i] * (double)b[i];
    }
    if (difference == 0) return 0;
    return size > 0 ? sqrt(difference / size) : INFINITY;
}

/* Largest |a - b| as a share of the largest |b|. */
SUPPORT double relative_max(const float *a, const float *b, size_t n)
{
    double difference = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        difference = fmax(difference, fabs((double)a[i] - (double)b[i]));
        size = fmax(size, fabs((double)b[i]));
        if (isnan(a[i])) return INFINITY;
    }
    return difference == 0 ? 0 : difference / size;
}

SUPPORT size_t argmax(const float *x, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

#endif
