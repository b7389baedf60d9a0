/* model_gguf_weights.c: a model's sizes, form and weights from a GGUF file of the families `llama`
 * and `grok`.
 *
 * Keys of the file as ggml writes them ("llama.block_count"). Llama: norms in front of each
 * sub-layer, SiLU, grouped queries, rotations of neighbouring elements (the converter has permuted
 * queries and keys for that), no multipliers and no caps. Grok: this program's own form and names of
 * tensors; multipliers and caps that the file does not say are Grok-1's, as ggml has them. What a key
 * asks for and is not done here is refused by its name, since a model with one wrong detail still
 * talks, only worse.
 *
 * Weights in blocks stay whole numbers where the model keeps them so; others are turned to the model's
 * own format as they are read. Both happen some rows at a time; the file is mapped, so it takes no
 * memory of its own. */
#include "model/model_internal.h"

#include <stdatomic.h>
#include <string.h>

#define ROPE_DIVISORS "rope_freqs.weight"

/* ------------------------------------------------------------------ configuration */

struct keys {
    const struct gguf *g;
    const char *name; /* of the file */
    const char *family;
    struct error *e;
};

static const struct gguf_value *find(const struct keys *k, const char *key)
{
    char name[128];
    snprintf(name, sizeof(name), "%s.%s", k->family, key);
    return gguf_find(k->g, name);
}

/* A whole number in its bounds; one that is not there keeps *out, or is an error where `needed`. */
static int read_size(const struct keys *k, const char *key, bool needed, int64_t *out)
{
    double value;
    const struct gguf_value *v = find(k, key);
    if (!v && !needed) return 0;
    if (!v) return error_set(k->e, "%s: '%s.%s' is missing", k->name, k->family, key);
    if (!gguf_number(v, &value) || value != floor(value) || value < 0 || value > (1 << 26))
        return error_set(k->e, "%s: '%s.%s' is no whole number that a model has", k->name,
                         k->family, key);
    *out = (int64_t)value;
    return 0;
}

static int read_real(const struct keys *k, const char *key, double *out)
{
    const struct gguf_value *v = find(k, key);
    if (!v) return 0;
    if (!gguf_number(v, out) || !isfinite(*out))
        return error_set(k->e, "%s: '%s.%s' is no number", k->name, k->family, key);
    return 0;
}

/* Values that must be as this program does it. */
static int refuse_others(const struct keys *k, const struct model_config *c)
{
    struct gguf_text scaling = {"none", 4};
    int64_t rotated = c->head_dim, values = c->head_dim;
    double scale = 1;
    TRY(read_size(k, "rope.dimension_count", false, &rotated));
    TRY(read_size(k, "attention.value_length", false, &values));
    TRY(read_real(k, "rope.scaling.factor", &scale));
    gguf_text(find(k, "rope.scaling.type"), &scaling);
    if (rotated != c->head_dim || values != c->head_dim)
        return error_set(k->e,
                         "%s: heads of %lld elements, of which %lld turn, and values of %lld: "
                         "these must be one size",
                         k->name, (long long)c->head_dim, (long long)rotated, (long long)values);
    if (scaling.size != 4 || memcmp(scaling.data, "none", 4) != 0)
        return error_set(k->e, "%s: '%s.rope.scaling.type' is '%.*s', which is not read", k->name,
                         k->family, (int)MIN(scaling.size, 40), scaling.data);
    return 0;
}

/* Grok-2's dense branch beside the experts, whose width the other key says then. */
static void read_branch(const struct keys *k, struct model_config *c)
{
    if (gguf_tensor(k->g, "blk.0.ffn_gate.weight") &&
        gguf_tensor(k->g, "blk.0.ffn_gate_exps.weight"))
        c->dense_ffn_hidden = c->ffn_hidden;
}

static int read_sizes(const struct keys *k, struct model_config *c)
{
    const struct gguf_tensor *table = gguf_tensor(k->g, "token_embd.weight");
    if (!table || table->n_dims != 2)
        return error_set(k->e, "%s: there is no matrix 'token_embd.weight'", k->name);
    c->vocab_size = table->shape[1];
    TRY(read_size(k, "block_count", true, &c->n_layers));
    TRY(read_size(k, "embedding_length", true, &c->d_model));
    TRY(read_size(k, "attention.head_count", true, &c->n_heads));
    c->n_kv_heads = c->n_heads;
    TRY(read_size(k, "attention.head_count_kv", false, &c->n_kv_heads));
    TRY(read_size(k, "feed_forward_length", true, &c->ffn_hidden));
    if (c->architecture == MODEL_GROK) read_branch(k, c);
    TRY(read_size(k, "expert_feed_forward_length", false, &c->ffn_hidden));
    TRY(read_size(k, "context_length", true, &c->context_length));
    if (c->n_heads < 1) return error_set(k->e, "%s: a model without heads", k->name);
    c->head_dim = c->d_model / c->n_heads;
    TRY(read_size(k, "attention.key_length", false, &c->head_dim));
    c->n_experts = c->n_experts_used = 1;
    TRY(read_size(k, "expert_count", false, &c->n_experts));
    TRY(read_size(k, "expert_used_count", false, &c->n_experts_used));
    if (c->n_experts == 0) c->n_experts = c->n_experts_used = 1;
    if (c->head_dim < 1) return error_set(k->e, "%s: heads without a width", k->name);
    return 0;
}

static void llama_form(struct model_config *c)
{
    c->activation = COMPUTE_SILU;
    c->post_norms = false;
    c->attn_softcap = 0;
    c->embedding_multiplier = c->output_multiplier = 1;
    c->attn_multiplier = 1 / sqrt((double)c->head_dim);
    c->rope_form = MODEL_ROPE_PAIRS;
    c->renormalise_top_k = c->n_experts > 1;
}

/* Grok-1's, where the file says nothing: sqrt(6144), 1 / sqrt(3), 1 / sqrt(128). */
static int grok_form(const struct keys *k, struct model_config *c)
{
    double length = 0;
    c->embedding_multiplier = 78.38367176906169;
    c->output_multiplier = 0.5773502691896257;
    c->attn_multiplier = 0.08838834764831845;
    c->attn_softcap = 30;
    TRY(read_real(k, "embedding_scale", &c->embedding_multiplier));
    TRY(read_real(k, "logit_scale", &c->output_multiplier));
    TRY(read_real(k, "attention.output_scale", &c->attn_multiplier));
    TRY(read_real(k, "attn_logit_softcapping", &c->attn_softcap));
    TRY(read_real(k, "router_logit_softcapping", &c->router_softcap));
    TRY(read_real(k, "final_logit_softcapping", &c->final_softcap));
    TRY(read_real(k, "attention.temperature_length", &length));
    c->attn_temperature_len = (int64_t)fmin(fmax(length, 0), 1 << 24);
    if (c->n_experts > 1) return 0;
    error_set(k->e, "%s: a grok with one expert", k->name);
    return error_hint(k->e, "models of this family have several");
}

int gguf_model_config(const struct gguf *g, const char *name, struct model_config *c,
                      struct error *e)
{
    struct gguf_text family;
    struct keys k = {.g = g, .name = name, .family = "llama", .e = e};
    model_config_defaults(c);
    if (!gguf_text(gguf_find(g, "general.architecture"), &family))
        return error_set(e, "%s: 'general.architecture' is missing", name);
    c->architecture = MODEL_LLAMA;
    if (family.size == 4 && memcmp(family.data, "grok", 4) == 0) {
        k.family = "grok";
        c->architecture = MODEL_GROK;
    } else if (family.size != 5 || memcmp(family.data, "llama", 5) != 0) {
        error_set(e, "%s: a model of the family '%.*s'", name, (int)MIN(family.size, 40),
                  family.data);
        return error_hint(e, "of GGUF files those of the families 'llama' and 'grok' are read");
    }
    TRY(read_sizes(&k, c));
    c->rope_theta = 10000;
    c->router_aux_coef = c->router_z_coef = 0;
    c->tied_embeddings = gguf_tensor(g, "output.weight") == NULL;
    c->qkv_biases = gguf_tensor(g, "blk.0.attn_q.bias") != NULL;
    c->output_bias = gguf_tensor(g, "blk.0.attn_output.bias") != NULL;
    if (c->architecture == MODEL_LLAMA)
        llama_form(c);
    else
        TRY(grok_form(&k, c));
    TRY(read_real(&k, "rope.freq_base", &c->rope_theta));
    TRY(read_real(&k, "attention.layer_norm_rms_epsilon", &c->rms_eps));
    TRY(refuse_others(&k, c));
    model_config_derive(c);
    int rc = model_config_check_runnable(c, e);
    return rc < 0 ? error_context(e, "%s", name) : 0;
}

/* ------------------------------------------------------------------ weights */

static int check_shape(const struct param *p, const struct gguf_tensor *t, struct error *e)
{
    bool same = t->n_dims == p->n_dims;
    for (int i = 0; same && i < p->n_dims; i++)
        same = t->shape[i] == p->shape[p->n_dims - 1 - i];
    if (same) return 0;
    return error_set(e, "tensor '%s' has another shape than the model's sizes give it", p->name);
}

struct convert {
    const struct gguf_tensor *t;
    int64_t first, step, n;
    float *out;
};

/* Task: `step` rows. */
static void convert_task(void *ctx, size_t task, int thread)
{
    const struct convert *c = ctx;
    int64_t at = (int64_t)task * c->step, n = MIN(c->step, c->n - at), width = c->t->shape[0];
    (void)thread;
    gguf_to_f32(c->t->format, c->t->data + (size_t)(c->first + at) * c->t->row_bytes,
                (size_t)(n * width), c->out + at * width);
}

static int load_tensor(model_t *m, const struct param *p, const struct gguf_tensor *t, float *rows,
                       struct error *e)
{
    int64_t width = t->shape[0], step = MAX(1, MODEL_PUT_FLOATS / width);
    for (int64_t r = 0; r < t->rows; r += step) {
        struct convert c = {t, r, MAX(1, 16384 / width), MIN(step, t->rows - r), rows};
        pool_run(compute_pool(m->compute), (size_t)((c.n + c.step - 1) / c.step), convert_task, &c);
        if (!compute_all_finite(m->compute, rows, (size_t)(c.n * width)))
            return error_set(e, "tensor '%s' holds NaN or infinite values", t->name);
        model_put(m, (size_t)(p - m->params.rows), r, c.n, rows);
    }
    return 0;
}

/* Rows on their way as codes; the arrays are cut from the memory for floats, of which codes take a
 * third at most. */
struct apart {
    const struct gguf_tensor *t;
    struct compute_codes form;
    struct gguf_codes rows;
    int64_t first, step, n;
    atomic_bool bad;
};

static struct gguf_codes codes_at(const struct apart *a, int64_t row)
{
    int64_t width = a->t->shape[0], block = compute_codes_block(&a->form);
    int64_t steps = row * (width / block), halves = a->form.shared ? row * (width / 256) : steps;
    return (struct gguf_codes){a->rows.codes + row * width, a->rows.scales + halves,
                               a->rows.leasts + halves, a->rows.scale_steps + steps,
                               a->rows.least_steps + steps};
}

/* Task: `step` rows. */
static void apart_task(void *ctx, size_t task, int thread)
{
    struct apart *a = ctx;
    int64_t at = (int64_t)task * a->step, n = MIN(a->step, a->n - at), width = a->t->shape[0];
    struct gguf_codes to = codes_at(a, at);
    (void)thread;
    if (!gguf_to_codes(a->t->format, a->t->data + (size_t)(a->first + at) * a->t->row_bytes,
                       (size_t)(n * width), &to))
        a->bad = true;
}

static int load_codes(model_t *m, const struct param *p, const struct gguf_tensor *t, float *rows,
                      struct error *e)
{
    int64_t width = t->shape[0], step = MAX(1, MODEL_PUT_FLOATS / width), all = step * width;
    struct apart a = {.t = t, .step = MAX(1, 16384 / width)};
    gguf_codes_of(t->format, &a.form);
    a.rows.scales = (uint16_t *)(void *)rows; /* 2 and 2 bytes for 16 codes at most, ... */
    a.rows.leasts = a.rows.scales + all / 16;
    a.rows.codes = (uint8_t *)(a.rows.leasts + all / 16);
    a.rows.scale_steps = a.rows.codes + all; /* ... 1 and 1 for 16 */
    a.rows.least_steps = a.rows.scale_steps + all / 16;
    for (int64_t r = 0; r < t->rows; r += step) {
        a.first = r;
        a.n = MIN(step, t->rows - r);
        pool_run(compute_pool(m->compute), (size_t)((a.n + a.step - 1) / a.step), apart_task, &a);
        if (a.bad) return error_set(e, "tensor '%s' holds NaN or infinite values", t->name);
        struct compute_linear_codes c = {.first = r,
                                         .n = a.n,
                                         .codes = a.rows.codes,
                                         .scales = a.rows.scales,
                                         .leasts = a.rows.leasts,
                                         .scale_steps = a.rows.scale_steps,
                                         .least_steps = a.rows.least_steps};
        model_put_codes(m, (size_t)(p - m->params.rows), &c);
    }
    return 0;
}

static int load_tensors(model_t *m, const struct gguf *g, float *rows, struct error *e)
{
    for (size_t i = 0; i < m->params.n_rows; i++) {
        const struct param *p = &m->params.rows[i];
        const struct gguf_tensor *t = gguf_tensor(g, p->name);
        if (!t) return error_set(e, "tensor '%s' is missing", p->name);
        TRY(check_shape(p, t, e));
        if (model_keeps_codes(m, i))
            TRY(load_codes(m, p, t, rows, e));
        else
            TRY(load_tensor(m, p, t, rows, e));
    }
    for (size_t i = 0; i < g->n_tensors; i++)
        if (!param_find(&m->params, g->tensors[i].name) &&
            strcmp(g->tensors[i].name, ROPE_DIVISORS) != 0)
            return error_set(e, "tensor '%s' is not part of this model", g->tensors[i].name);
    return 0;
}

/* What slows the rotations of some pairs, in models for long contexts (Llama 3.1). */
static int load_divisors(model_t *m, const struct gguf *g, struct error *e)
{
    const struct gguf_tensor *t = gguf_tensor(g, ROPE_DIVISORS);
    int64_t n = m->dims.h / 2;
    if (!t) return 0;
    if (t->n_dims != 1 || t->shape[0] != n)
        return error_set(e, "tensor '%s' is not of %lld numbers, half a head", t->name,
                         (long long)n);
    m->rope_divisors = arena_alloc(&m->arena, (size_t)n * sizeof(*m->rope_divisors));
    gguf_to_f32(t->format, t->data, (size_t)n, m->rope_divisors);
    for (int64_t i = 0; i < n; i++)
        if (!(m->rope_divisors[i] > 0 && isfinite(m->rope_divisors[i])))
            return error_set(e, "tensor '%s' holds numbers that are not above 0", t->name);
    model_rotate(m);
    return 0;
}

int gguf_load_weights(model_t *m, const struct gguf *g, const char *name, struct error *e)
{
    int64_t width = 1;
    CHECK(m->has_embedding && m->has_head && m->shard.tensor_size <= 1);
    for (size_t i = 0; i < g->n_tensors; i++)
        width = MAX(width, g->tensors[i].shape[0]);
    size_t floats = (size_t)MAX(width, MODEL_PUT_FLOATS);
    float *rows = mem_try_alloc(floats * sizeof(float));
    if (!rows) return error_set(e, "no memory to load '%s'", name);
    int rc = load_tensors(m, g, rows, e);
    mem_free(rows);
    if (rc == 0) rc = load_divisors(m, g, e);
    if (rc == 0) rc = file_map_check(&g->map, name, e);
    if (rc < 0) return error_context(e, "%s", name);
    model_weights_changed(m);
    return 0;
}
