/* model_gguf_config.c: a model's sizes and form from the keys of a GGUF file.
 *
 * Keys as ggml writes them ("llama.block_count"). What a family's layer is, no key says: it is in
 * ggml's own code (llama.cpp, src/models), and here in one function for each family. Multipliers and
 * caps that a file does not say are what that code takes then. A key that asks for what is not done
 * here is refused by its name, and so is one that is not known, since a model with one wrong detail
 * still talks, only worse.
 *
 *   llama     norms in front, SiLU; neighbours turn together (the converter has permuted queries and
 *             keys for that); with experts the weights of the chosen are divided by their sum
 *   qwen2     the same with halves and biases of queries, keys and values
 *   qwen3     and with norms of queries and keys, without biases; qwen3moe: with experts
 *   gemma2    Grok's norms, its activation and its caps; every second layer has a window
 *   gemma3    without caps, with norms of queries and keys; five of six layers have a window and a base
 *             of their own
 *   grok      this program's own form */
#include "model/model_internal.h"

#include <string.h>

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

static bool has_tensor(const struct keys *k, const char *name)
{
    return gguf_tensor(k->g, name) != NULL;
}

/* ------------------------------------------------------------------ what is known */

/* Keys that are read, in one file or another. */
static const char *const known[] = {
    "block_count",
    "embedding_length",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "attention.layer_norm_rms_epsilon",
    "attention.sliding_window",
    "attention.sliding_window_pattern",
    "attention.output_scale",
    "attention.temperature_length",
    "attn_logit_softcapping",
    "router_logit_softcapping",
    "final_logit_softcapping",
    "embedding_scale",
    "logit_scale",
    "feed_forward_length",
    "expert_feed_forward_length",
    "expert_count",
    "expert_used_count",
    "context_length",
    "vocab_size", /* the table's own size counts */
    "rope.dimension_count",
    "rope.freq_base",
    "rope.freq_base_swa",
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.original_context_length",
    "rope.scaling.attn_factor",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
    "rope.scaling.finetuned", /* whether weights were trained with the scaling */
};

/* Keys that say nothing new where they have this value, and are refused with another one. */
static const struct {
    const char *key;
    double value;
} usual[] = {
    {"attention.causal", 1},
    {"rope.scale_linear", 1},
    {"rope.scaling.yarn_ext_factor", 1},
    {"rope.scaling.yarn_attn_factor", 1},
    {"rope.scaling.yarn_log_multiplier", 0},
    {"expert_weights_norm", 1},
    {"expert_weights_scale", 1},
    {"expert_gating_func", 1}, /* softmax */
    {"expert_shared_count", 0},
    {"expert_shared_feed_forward_length", 0},
    {"leading_dense_block_count", 0},
    {"interleave_moe_layer_step", 1},
};

static int check_key(const struct keys *k, const struct gguf_value *v)
{
    const char *key = v->key + strlen(k->family) + 1;
    double value;
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (strcmp(key, known[i]) == 0) return 0;
    for (size_t i = 0; i < ARRAY_LEN(usual); i++) {
        if (strcmp(key, usual[i].key) != 0) continue;
        if (gguf_number(v, &value) && value == usual[i].value) return 0;
        return error_set(k->e, "%s: '%s' is not %g, which is all that is done here", k->name,
                         v->key, usual[i].value);
    }
    error_set(k->e, "%s: '%s' is not known", k->name, v->key);
    return error_hint(k->e, "what it asks for would be left out, and the model be another one");
}

static int check_keys(const struct keys *k)
{
    size_t n = strlen(k->family);
    for (size_t i = 0; i < k->g->n_values; i++) {
        const struct gguf_value *v = &k->g->values[i];
        if (strncmp(v->key, k->family, n) == 0 && v->key[n] == '.') TRY(check_key(k, v));
    }
    return 0;
}

/* Values that must be as this program does it. */
static int refuse_others(const struct keys *k, const struct model_config *c)
{
    int64_t rotated = c->head_dim, values = c->head_dim;
    TRY(read_size(k, "rope.dimension_count", false, &rotated));
    TRY(read_size(k, "attention.value_length", false, &values));
    if (rotated == c->head_dim && values == c->head_dim) return 0;
    return error_set(k->e,
                     "%s: heads of %lld elements, of which %lld turn, and values of %lld: these "
                     "must be one size",
                     k->name, (long long)c->head_dim, (long long)rotated, (long long)values);
}

/* ------------------------------------------------------------------ rotations */

/* As ggml computes them: a turned head of YaRN's is multiplied by 0.1 ln factor + 1, and attn_factor. */
static int read_yarn(const struct keys *k, struct model_config *c)
{
    double size = 1;
    c->rope_original_length = c->context_length;
    TRY(read_size(k, "rope.scaling.original_context_length", false, &c->rope_original_length));
    TRY(read_real(k, "rope.scaling.yarn_beta_fast", &c->rope_beta_fast));
    TRY(read_real(k, "rope.scaling.yarn_beta_slow", &c->rope_beta_slow));
    TRY(read_real(k, "rope.scaling.attn_factor", &size));
    c->rope_size = size * (0.1 * log(c->rope_factor) + 1);
    return 0;
}

static int read_rope(const struct keys *k, struct model_config *c)
{
    struct gguf_text type = {"none", 4};
    double factor = 0;
    gguf_text(find(k, "rope.scaling.type"), &type);
    TRY(read_real(k, "rope.freq_base", &c->rope_theta));
    TRY(read_real(k, "rope.scaling.factor", &factor));
    if (type.size == 4 && memcmp(type.data, "none", 4) == 0) return 0;
    bool linear = type.size == 6 && memcmp(type.data, "linear", 6) == 0;
    bool yarn = type.size == 4 && memcmp(type.data, "yarn", 4) == 0;
    if ((!linear && !yarn) || c->architecture == MODEL_GROK)
        return error_set(k->e, "%s: '%s.rope.scaling.type' is '%.*s', which is not read", k->name,
                         k->family, (int)MIN(type.size, 40), type.data);
    if (!(factor >= 1 && factor <= 1e6))
        return error_set(k->e, "%s: '%s.rope.scaling.factor' is %g, must be 1 to 1e6", k->name,
                         k->family, factor);
    if (factor == 1) return 0;
    c->rope_scaling = linear ? COMPUTE_ROPE_LINEAR : COMPUTE_ROPE_YARN;
    c->rope_factor = factor;
    return yarn ? read_yarn(k, c) : 0;
}

/* ------------------------------------------------------------------ families */

static int llama_form(const struct keys *k, struct model_config *c)
{
    (void)k;
    c->activation = COMPUTE_SILU;
    c->post_norms = false;
    c->attn_softcap = 0;
    c->embedding_multiplier = c->output_multiplier = 1;
    c->attn_multiplier = 1 / sqrt((double)c->head_dim);
    c->rope_form = MODEL_ROPE_PAIRS;
    c->renormalise_top_k = c->n_experts > 1;
    return 0;
}

static int qwen2_form(const struct keys *k, struct model_config *c)
{
    TRY(llama_form(k, c));
    c->rope_form = MODEL_ROPE_HALVES;
    if (c->qkv_biases) return 0;
    return error_set(k->e, "%s: a %s without biases of queries, keys and values", k->name,
                     k->family);
}

static int qwen3_form(const struct keys *k, struct model_config *c)
{
    TRY(llama_form(k, c));
    c->rope_form = MODEL_ROPE_HALVES;
    c->qk_norm = true;
    bool experts = strcmp(k->family, "qwen3moe") == 0;
    if (experts == (c->n_experts > 1)) return 0;
    return error_set(k->e, "%s: a %s with%s experts", k->name, k->family, experts ? "out" : "");
}

/* Both: the scale of scores is that of a head, but of the largest models that of D / H elements, which
 * ggml tells by the number of layers. */
static int gemma_form(const struct keys *k, struct model_config *c, int64_t largest)
{
    int64_t width = c->n_layers == largest ? c->d_model / c->n_heads : c->head_dim;
    c->embedding_multiplier = sqrt((double)c->d_model);
    c->output_multiplier = 1;
    c->attn_multiplier = 1 / sqrt((double)width);
    c->attn_softcap = 0;
    TRY(read_real(k, "final_logit_softcapping", &c->final_softcap));
    return c->n_experts > 1 ? error_set(k->e, "%s: a %s with experts", k->name, k->family) : 0;
}

static int gemma2_form(const struct keys *k, struct model_config *c)
{
    int64_t window = 4096;
    c->final_softcap = 30;
    TRY(gemma_form(k, c, 46));
    c->attn_softcap = 50;
    TRY(read_real(k, "attn_logit_softcapping", &c->attn_softcap));
    TRY(read_size(k, "attention.sliding_window", false, &window));
    model_form_set_window(c, window, 2);
    return 0;
}

static int gemma3_form(const struct keys *k, struct model_config *c)
{
    int64_t window = 0, period = 6;
    double theta = 10000;
    TRY(gemma_form(k, c, 62));
    c->qk_norm = true;
    c->rope_theta = 1e6;
    TRY(read_real(k, "rope.freq_base_swa", &theta));
    TRY(read_size(k, "attention.sliding_window", false, &window));
    TRY(read_size(k, "attention.sliding_window_pattern", false, &period));
    model_form_set_window(c, window, period);
    if (c->window_layers > 0) c->window_rope_theta = theta;
    return 0;
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

static const struct family {
    const char *name;
    enum model_architecture architecture;
    int (*form)(const struct keys *k, struct model_config *c);
} families[] = {
    {"llama", MODEL_LLAMA, llama_form},    {"qwen2", MODEL_QWEN2, qwen2_form},
    {"qwen3", MODEL_QWEN3, qwen3_form},    {"qwen3moe", MODEL_QWEN3, qwen3_form},
    {"gemma2", MODEL_GEMMA2, gemma2_form}, {"gemma3", MODEL_GEMMA3, gemma3_form},
    {"grok", MODEL_GROK, grok_form},
};

static const struct family *family_of(const struct gguf *g, const char *name, struct error *e)
{
    struct gguf_text text;
    struct str names = {0};
    if (!gguf_text(gguf_find(g, "general.architecture"), &text)) {
        error_set(e, "%s: 'general.architecture' is missing", name);
        return NULL;
    }
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        const char *family = families[i].name;
        if (strlen(family) == text.size && memcmp(family, text.data, text.size) == 0)
            return &families[i];
    }
    for (size_t i = 0; i < ARRAY_LEN(families); i++)
        str_printf(&names, "%s%s", i ? ", " : "", families[i].name);
    error_set(e, "%s: a model of the family '%.*s'", name, (int)MIN(text.size, 40), text.data);
    error_hint(e, "of GGUF files those of these families are read: %s", names.data);
    str_fini(&names);
    return NULL;
}

/* ------------------------------------------------------------------ the whole */

/* Grok-2's dense branch beside the experts, whose width the other key says then. */
static void read_branch(const struct keys *k, struct model_config *c)
{
    if (has_tensor(k, "blk.0.ffn_gate.weight") && has_tensor(k, "blk.0.ffn_gate_exps.weight"))
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

int gguf_model_config(const struct gguf *g, const char *name, struct model_config *c,
                      struct error *e)
{
    const struct family *family = family_of(g, name, e);
    model_config_defaults(c);
    if (!family) return ERROR_FAILED;
    struct keys k = {.g = g, .name = name, .family = family->name, .e = e};
    c->architecture = family->architecture;
    TRY(read_sizes(&k, c));
    TRY(check_keys(&k));
    c->rope_theta = 10000;
    c->router_aux_coef = c->router_z_coef = 0;
    c->tied_embeddings = !has_tensor(&k, "output.weight");
    c->qkv_biases = has_tensor(&k, "blk.0.attn_q.bias");
    c->output_bias = has_tensor(&k, "blk.0.attn_output.bias");
    TRY(family->form(&k, c));
    TRY(read_rope(&k, c));
    TRY(read_real(&k, "attention.layer_norm_rms_epsilon", &c->rms_eps));
    TRY(refuse_others(&k, c));
    model_config_derive(c);
    int rc = model_config_check_runnable(c, e);
    return rc < 0 ? error_context(e, "%s", name) : 0;
}

/* ------------------------------------------------------------------ names */

void gguf_tensor_name(int architecture, const char *ours, char out[96])
{
    static const char *const renamed[][2] = {{"attn_output_norm", "post_attention_norm"},
                                             {"layer_output_norm", "post_ffw_norm"}};
    bool gemma = architecture == MODEL_GEMMA2 || architecture == MODEL_GEMMA3;
    snprintf(out, 96, "%s", ours);
    for (size_t i = 0; gemma && i < ARRAY_LEN(renamed); i++) {
        const char *at = strstr(ours, renamed[i][0]);
        if (at && at > ours && at[-1] == '.')
            snprintf(out, 96, "%.*s%s%s", (int)(at - ours), ours, renamed[i][1],
                     at + strlen(renamed[i][0]));
    }
}
