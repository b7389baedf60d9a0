/* model_hf_config.c: a model's sizes and form from a config.json as Hugging Face's transformers writes
 * it.
 *
 * `model_type` names the family, and what its layer is stands in that family's code (transformers,
 * models/<family>/modeling_<family>.py; of Grok-1 the community's, of Grok-2 sglang's). A key that a
 * file leaves out has that family's default. Since version 5 what belongs to rotations stands under
 * `rope_parameters`, before in `rope_theta`, `rope_scaling` and `rope_local_base_freq`; both are read.
 * A key that is neither read nor known to be without consequence is refused by its name, unless its
 * value is null, false, 0 or empty: nothing is left out in silence that would make another model. */
#include "model/model_internal.h"

#include <math.h>
#include <string.h>

enum { MAX_KEYS = 512 };

struct keys {
    const json_t *o;
    const char *name; /* of the file */
    struct error *e;
    const char **seen; /* keys that were asked for */
    size_t *n_seen;
};

/* The value of a key that is there and not null. */
static const json_t *find(const struct keys *k, const char *key)
{
    const json_t *v = json_object_get(k->o, key);
    CHECK(*k->n_seen < MAX_KEYS);
    k->seen[(*k->n_seen)++] = key;
    return v && !json_is_null(v) ? v : NULL;
}

static int wrong(const struct keys *k, const char *key, const char *what)
{
    return error_set_code(k->e, ERROR_CONFIG, "%s: '%s' %s", k->name, key, what);
}

/* A key that is not there keeps *out, or is an error where `needed`. */
static int read_size(const struct keys *k, const char *key, bool needed, int64_t *out)
{
    const json_t *v = find(k, key);
    if (!v) return needed ? wrong(k, key, "is missing") : 0;
    double value = json_number_value(v);
    if (!json_is_number(v) || value != floor(value) || value < 0 || value > (1 << 26))
        return wrong(k, key, "is no whole number that a model has");
    *out = (int64_t)value;
    return 0;
}

static int read_real(const struct keys *k, const char *key, double *out)
{
    const json_t *v = find(k, key);
    if (!v) return 0;
    if (!json_is_number(v)) return wrong(k, key, "is no number");
    *out = json_number_value(v);
    return 0;
}

static int read_flag(const struct keys *k, const char *key, bool *out)
{
    const json_t *v = find(k, key);
    if (!v) return 0;
    if (!json_is_boolean(v)) return wrong(k, key, "must be true or false");
    *out = json_is_true(v);
    return 0;
}

/* NULL: not there, or no text. */
static const char *read_text(const struct keys *k, const char *key)
{
    return json_string_value(find(k, key));
}

/* ------------------------------------------------------------------ rotations */

static int read_yarn(const struct keys *k, struct model_config *c)
{
    bool truncate = true;
    double mscale = 0;
    c->rope_original_length = c->context_length;
    TRY(read_size(k, "original_max_position_embeddings", false, &c->rope_original_length));
    TRY(read_real(k, "beta_fast", &c->rope_beta_fast));
    TRY(read_real(k, "beta_slow", &c->rope_beta_slow));
    TRY(read_real(k, "attention_factor", &c->rope_size));
    TRY(read_flag(k, "truncate", &truncate));
    TRY(read_real(k, "mscale", &mscale));
    if (!truncate) return wrong(k, "truncate", "is false, which is not done here");
    return mscale != 0 ? wrong(k, "mscale", "is not done here") : 0;
}

static int read_llama3(const struct keys *k, struct model_config *c)
{
    TRY(read_size(k, "original_max_position_embeddings", true, &c->rope_original_length));
    TRY(read_real(k, "low_freq_factor", &c->rope_low_freq));
    return read_real(k, "high_freq_factor", &c->rope_high_freq);
}

static int check_seen(const struct keys *k, const char *const *harmless, size_t n);

/* An object that says how the layers turn that are not those with a window of their own. */
static int read_scaling(const struct keys *file, const json_t *o, struct model_config *c)
{
    const char *seen[MAX_KEYS];
    size_t n_seen = 0;
    struct keys k = {o, file->name, file->e, seen, &n_seen};
    static const char *const harmless[] = {"original_max_position_embeddings"};
    if (!json_is_object(o)) return wrong(file, "rope_scaling", "is no object");
    const char *type = read_text(&k, "rope_type"), *older = read_text(&k, "type");
    if (!type) type = older ? older : "default";
    TRY(read_real(&k, "rope_theta", &c->rope_theta));
    TRY(read_real(&k, "factor", &c->rope_factor));
    if (strcmp(type, "default") == 0) {
        if (c->rope_factor != 1) return wrong(&k, "factor", "is given, but rope_type is default");
    } else if (strcmp(type, "linear") == 0) {
        c->rope_scaling = COMPUTE_ROPE_LINEAR;
    } else if (strcmp(type, "llama3") == 0) {
        c->rope_scaling = COMPUTE_ROPE_LLAMA3;
        TRY(read_llama3(&k, c));
    } else if (strcmp(type, "yarn") == 0) {
        c->rope_scaling = COMPUTE_ROPE_YARN;
        TRY(read_yarn(&k, c));
    } else {
        error_set_code(k.e, ERROR_CONFIG, "%s: 'rope_type' is '%.40s'", k.name, type);
        return error_hint(k.e, "default, linear, llama3 and yarn are read");
    }
    return check_seen(&k, harmless, ARRAY_LEN(harmless));
}

/* Of the layers with a window: their own base, unscaled. */
static int read_window_rope(const struct keys *k, const json_t *o, struct model_config *c)
{
    struct model_config of_window = *c;
    TRY(read_scaling(k, o, &of_window));
    if (of_window.rope_scaling != COMPUTE_ROPE_NONE)
        return wrong(k, "rope_parameters",
                     "scales the rotations of layers with a window, which is not done here");
    c->window_rope_theta = of_window.rope_theta;
    return 0;
}

static int read_rope(const struct keys *k, struct model_config *c)
{
    const json_t *now = find(k, "rope_parameters"), *before = find(k, "rope_scaling");
    bool local = c->architecture == MODEL_GEMMA3;
    TRY(read_real(k, "rope_theta", &c->rope_theta));
    if (local) {
        c->window_rope_theta = 10000;
        TRY(read_real(k, "rope_local_base_freq", &c->window_rope_theta));
    }
    const json_t *full = json_object_get(now, "full_attention");
    const json_t *sliding = json_object_get(now, "sliding_attention");
    if (full || sliding) {
        if (sliding) TRY(read_window_rope(k, sliding, c));
        now = full;
    }
    if (now) TRY(read_scaling(k, now, c));
    if (before && !now) TRY(read_scaling(k, before, c));
    if (!local && (full || sliding) && c->window_rope_theta == c->rope_theta)
        c->window_rope_theta = 0;
    if (c->window_layers == 0) c->window_rope_theta = 0;
    return 0;
}

/* ------------------------------------------------------------------ windows */

/* Which layers see everything must follow from a period: the last of each so many. */
static int read_layer_types(const struct keys *k, const json_t *types, int64_t *period)
{
    size_t n = json_array_size(types);
    *period = 0;
    for (size_t i = 0; i < n; i++) {
        const char *type = json_string_value(json_array_get(types, i));
        bool all = type && strcmp(type, "full_attention") == 0;
        if (!all && (!type || strcmp(type, "sliding_attention") != 0))
            return wrong(k, "layer_types", "names a kind of layer that is not done here");
        if (all && *period == 0) *period = (int64_t)i + 1;
        if (all != (*period > 0 && ((int64_t)i + 1) % *period == 0))
            return wrong(k, "layer_types",
                         "does not repeat itself with the last of each so many "
                         "layers seeing everything");
    }
    return 0;
}

/* usual: the family's period where no list of layers is given; 1: none has a window. */
static int read_window(const struct keys *k, int64_t window, int64_t usual, struct model_config *c)
{
    const json_t *types = find(k, "layer_types");
    int64_t period = usual;
    TRY(read_size(k, "sliding_window", false, &window));
    TRY(read_size(k, "sliding_window_pattern", false, &period));
    TRY(read_size(k, "_sliding_window_pattern", false, &period));
    if (types) {
        if (json_array_size(types) != (size_t)c->n_layers)
            return wrong(k, "layer_types", "is not of as many layers as the model has");
        TRY(read_layer_types(k, types, &period));
    }
    model_form_set_window(c, window, period);
    return 0;
}

/* Qwen's: `sliding_window` is there without being used. */
static int read_unused_window(const struct keys *k, struct model_config *c)
{
    bool used = false;
    int64_t from = 0;
    TRY(read_flag(k, "use_sliding_window", &used));
    TRY(read_size(k, "max_window_layers", false, &from));
    TRY(read_window(k, 0, 1, c));
    if (!used) {
        model_form_set_window(c, 0, 0);
        return 0;
    }
    if (!json_object_get(k->o, "layer_types"))
        return wrong(k, "use_sliding_window", "is true: say in 'layer_types' for which layers");
    return 0;
}

/* ------------------------------------------------------------------ families */

static int check_activation(const struct keys *k, const char *usual)
{
    const char *gemma = read_text(k, "hidden_activation"), *act = read_text(k, "hidden_act");
    if (gemma) act = gemma; /* as Gemma's code takes them */
    if (!act) act = usual;
    bool same = strcmp(act, usual) == 0 ||
                (strcmp(usual, "silu") == 0 && strcmp(act, "swish") == 0) ||
                (strcmp(usual, "silu") != 0 && strcmp(act, "gelu_new") == 0);
    if (same) return 0;
    return error_set_code(k->e, ERROR_CONFIG,
                          "%s: the activation is '%.40s', that family's is '%s'", k->name, act,
                          usual);
}

static int llama_form(const struct keys *k, struct model_config *c)
{
    bool biases = false, mlp = false;
    c->activation = COMPUTE_SILU;
    c->post_norms = false;
    c->attn_softcap = 0;
    c->embedding_multiplier = c->output_multiplier = 1;
    c->attn_multiplier = 1 / sqrt((double)c->head_dim);
    c->renormalise_top_k = c->n_experts > 1;
    TRY(check_activation(k, "silu"));
    TRY(read_flag(k, "attention_bias", &biases));
    TRY(read_flag(k, "mlp_bias", &mlp));
    if (mlp) return wrong(k, "mlp_bias", "is true, which is not done here");
    c->qkv_biases = c->output_bias = biases;
    return 0;
}

static int mixtral_form(const struct keys *k, struct model_config *c)
{
    TRY(read_size(k, "num_local_experts", true, &c->n_experts));
    TRY(read_size(k, "num_experts_per_tok", true, &c->n_experts_used));
    TRY(llama_form(k, c));
    return read_window(k, 0, 0, c);
}

static int qwen2_form(const struct keys *k, struct model_config *c)
{
    TRY(llama_form(k, c));
    c->qkv_biases = true;
    c->output_bias = false;
    return read_unused_window(k, c);
}

static int qwen3_form(const struct keys *k, struct model_config *c)
{
    TRY(llama_form(k, c));
    c->qk_norm = true;
    return read_unused_window(k, c);
}

static int qwen3_moe_form(const struct keys *k, struct model_config *c)
{
    int64_t step = 1;
    bool renormalise = false;
    TRY(read_size(k, "num_experts", false, &c->n_experts)); /* as it was once named */
    TRY(read_size(k, "num_local_experts", c->n_experts < 2, &c->n_experts));
    TRY(read_size(k, "num_experts_per_tok", true, &c->n_experts_used));
    TRY(read_size(k, "moe_intermediate_size", true, &c->ffn_hidden));
    TRY(read_size(k, "decoder_sparse_step", false, &step));
    TRY(read_flag(k, "norm_topk_prob", &renormalise));
    if (step != 1) return wrong(k, "decoder_sparse_step", "is not 1: layers without experts");
    if (json_array_size(find(k, "mlp_only_layers")) > 0)
        return wrong(k, "mlp_only_layers", "names layers without experts, which is not done here");
    TRY(qwen3_form(k, c));
    c->renormalise_top_k = renormalise && c->n_experts > 1;
    return 0;
}

static int gemma_form(const struct keys *k, struct model_config *c)
{
    double scalar = 256;
    bool both = false;
    c->embedding_multiplier = sqrt((double)c->d_model);
    c->output_multiplier = 1;
    c->attn_softcap = 0;
    TRY(check_activation(k, "gelu_pytorch_tanh"));
    TRY(read_real(k, "query_pre_attn_scalar", &scalar));
    TRY(read_real(k, "attn_logit_softcapping", &c->attn_softcap));
    TRY(read_real(k, "final_logit_softcapping", &c->final_softcap));
    TRY(read_flag(k, "attention_bias", &c->qkv_biases));
    TRY(read_flag(k, "use_bidirectional_attention", &both));
    c->output_bias = c->qkv_biases;
    if (both) return wrong(k, "use_bidirectional_attention", "is true, which is not done here");
    if (!(scalar > 0)) return wrong(k, "query_pre_attn_scalar", "is not above 0");
    c->attn_multiplier = 1 / sqrt(scalar);
    return 0;
}

static int gemma2_form(const struct keys *k, struct model_config *c)
{
    TRY(gemma_form(k, c));
    return read_window(k, 4096, 2, c);
}

static int gemma3_form(const struct keys *k, struct model_config *c)
{
    TRY(gemma_form(k, c));
    c->qk_norm = true;
    c->rope_theta = 1e6;
    return read_window(k, 4096, 6, c);
}

/* Of either: multipliers that both name alike. */
static int read_multipliers(const struct keys *k, struct model_config *c)
{
    TRY(read_size(k, "num_experts_per_tok", true, &c->n_experts_used));
    TRY(read_real(k, "embedding_multiplier_scale", &c->embedding_multiplier));
    TRY(read_real(k, "output_multiplier_scale", &c->output_multiplier));
    c->attn_multiplier = 1 / sqrt((double)c->head_dim);
    return 0;
}

/* Grok-1 as the community has named it. */
static int grok1_form(const struct keys *k, struct model_config *c)
{
    TRY(read_size(k, "num_experts", true, &c->n_experts));
    TRY(read_multipliers(k, c));
    TRY(read_real(k, "attn_output_multiplier", &c->attn_multiplier));
    TRY(read_real(k, "max_attn_value", &c->attn_softcap));
    return 0;
}

/* Grok-2 as xAI released it; rotations are those of sglang's "original", without scaling. */
static int grok2_form(const struct keys *k, struct model_config *c)
{
    bool residual = false;
    int64_t every = 1;
    TRY(read_size(k, "num_local_experts", true, &c->n_experts));
    TRY(read_multipliers(k, c));
    TRY(read_flag(k, "residual_moe", &residual));
    if (residual) c->dense_ffn_hidden = c->ffn_hidden;
    TRY(read_size(k, "moe_intermediate_size", false, &c->ffn_hidden));
    TRY(read_real(k, "attn_logit_softcapping", &c->attn_softcap));
    TRY(read_real(k, "router_logit_softcapping", &c->router_softcap));
    TRY(read_real(k, "final_logit_softcapping", &c->final_softcap));
    TRY(read_size(k, "attn_temperature_len", false, &c->attn_temperature_len));
    TRY(read_size(k, "global_attn_every_n", false, &every));
    if (every != 1) return wrong(k, "global_attn_every_n", "is not 1, which is not done here");
    const char *type = read_text(k, "rope_type");
    if (type && strcmp(type, "original") != 0)
        return wrong(k, "rope_type", "is not 'original', which is all that is done here");
    return 0;
}

static const struct family {
    const char *type; /* model_type */
    enum model_architecture architecture;
    bool tied;        /* where nothing says so */
    int64_t head;     /* width where nothing says so; 0: d_model / n_heads */
    const char *arch; /* of "architectures", where model_type says nothing; or NULL */
    int (*form)(const struct keys *k, struct model_config *c);
} families[] = {
    {"llama", MODEL_LLAMA, false, 0, NULL, llama_form},
    {"mixtral", MODEL_LLAMA, false, 0, NULL, mixtral_form},
    {"qwen2", MODEL_QWEN2, false, 0, NULL, qwen2_form},
    {"qwen3", MODEL_QWEN3, false, 128, NULL, qwen3_form},
    {"qwen3_moe", MODEL_QWEN3, false, 0, NULL, qwen3_moe_form},
    {"gemma2", MODEL_GEMMA2, true, 256, NULL, gemma2_form},
    {"gemma3_text", MODEL_GEMMA3, true, 256, NULL, gemma3_form},
    {"grok-1", MODEL_GROK, true, 0, NULL, grok1_form},
    {"git", MODEL_GROK, false, 0, "Grok1ForCausalLM", grok2_form}, /* what xAI's file says */
};

bool hf_is_config(const json_t *o)
{
    return json_object_get(o, "model_type") || json_object_get(o, "hidden_size");
}

static const struct family *family_of(const struct keys *k)
{
    const char *type = read_text(k, "model_type");
    const char *arch = json_string_value(json_array_get(find(k, "architectures"), 0));
    struct str names = {0};
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        const struct family *f = &families[i];
        bool named = type && strcmp(f->type, type) == 0;
        if (named && (!f->arch || (arch && strcmp(f->arch, arch) == 0))) return f;
    }
    for (size_t i = 0; i < ARRAY_LEN(families); i++)
        if (!families[i].arch) str_printf(&names, "%s%s", i ? ", " : "", families[i].type);
    error_set_code(k->e, ERROR_CONFIG, "%s: a model of the type '%.40s'", k->name,
                   type ? type : "(none)");
    error_hint(k->e, "of Hugging Face's those of these types are read: %s, and Grok-2", names.data);
    str_fini(&names);
    return NULL;
}

/* ------------------------------------------------------------------ the whole */

static int read_sizes(const struct keys *k, const struct family *f, struct model_config *c)
{
    TRY(read_size(k, "vocab_size", true, &c->vocab_size));
    TRY(read_size(k, "hidden_size", true, &c->d_model));
    TRY(read_size(k, "num_hidden_layers", true, &c->n_layers));
    TRY(read_size(k, "num_attention_heads", true, &c->n_heads));
    TRY(read_size(k, "intermediate_size", true, &c->ffn_hidden));
    TRY(read_size(k, "max_position_embeddings", true, &c->context_length));
    if (c->n_heads < 1) return wrong(k, "num_attention_heads", "is 0");
    c->n_kv_heads = c->n_heads;
    c->head_dim = f->head ? f->head : c->d_model / c->n_heads;
    c->n_experts = c->n_experts_used = 1;
    c->rms_eps = f->architecture == MODEL_GROK ? 1e-5 : 1e-6;
    c->tied_embeddings = f->tied;
    TRY(read_size(k, "num_key_value_heads", false, &c->n_kv_heads));
    TRY(read_size(k, "head_dim", false, &c->head_dim));
    TRY(read_real(k, "rms_norm_eps", &c->rms_eps));
    TRY(read_flag(k, "tie_word_embeddings", &c->tied_embeddings));
    return c->head_dim < 1 ? wrong(k, "head_dim", "is 0") : 0;
}

/* Says nothing: null, false, 0, an empty text, list or object. */
static bool is_nothing(const json_t *v)
{
    return json_is_null(v) || json_is_false(v) ||
           (json_is_number(v) && json_number_value(v) == 0) ||
           (json_is_string(v) && json_string_length(v) == 0) ||
           (json_is_array(v) && json_array_size(v) == 0) ||
           (json_is_object(v) && json_object_size(v) == 0);
}

static bool is_listed(const char *key, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(key, list[i]) == 0) return true;
    return false;
}

static int check_seen(const struct keys *k, const char *const *harmless, size_t n)
{
    json_t *object = (json_t *)(uintptr_t)k->o; /* iterated through, not changed */
    for (void *it = json_object_iter(object); it; it = json_object_iter_next(object, it)) {
        const char *key = json_object_iter_key(it);
        if (is_listed(key, k->seen, *k->n_seen) || is_listed(key, harmless, n) ||
            is_nothing(json_object_iter_value(it)))
            continue;
        error_set_code(k->e, ERROR_CONFIG, "%s: the key '%.80s' is not known", k->name, key);
        return error_hint(k->e, "what it asks for would be left out, and the model be another one; "
                                "without consequence are null, false and 0");
    }
    return 0;
}

/* Keys of training, of generation and of whoever wrote the file: no forward pass depends on them. */
static const char *const harmless[] = {
    "_name_or_path",
    "attention_dropout",
    "auto_map",
    "bos_token_id",
    "cache_implementation",
    "dtype",
    "embd_pdrop",
    "eos_token_id",
    "hidden_dropout",
    "initializer_range",
    "output_router_logits",
    "pad_token_id",
    "pretraining_tp",
    "resid_pdrop",
    "residual_dropout",
    "router_aux_loss_coef",
    "router_jitter_noise",
    "sliding_window_size", /* Grok-2's: -1, and every layer is global */
    "torch_dtype",
    "transformers_version",
    "unsloth_version",
    "unsloth_fixed",
    "use_cache",
};

static int read_all(const struct keys *k, struct model_config *c)
{
    const struct family *f = family_of(k);
    model_config_defaults(c);
    if (!f) return ERROR_CONFIG;
    c->architecture = f->architecture;
    TRY(read_sizes(k, f, c));
    c->router_aux_coef = c->router_z_coef = 0;
    c->rope_theta = 10000;
    TRY(f->form(k, c));
    TRY(read_rope(k, c));
    TRY(check_seen(k, harmless, ARRAY_LEN(harmless)));
    model_config_derive(c);
    int rc = model_config_check_runnable(c, k->e);
    return rc < 0 ? error_context(k->e, "%s", k->name) : 0;
}

int hf_model_config(const json_t *o, const char *name, struct model_config *c, struct error *e)
{
    const char *seen[MAX_KEYS];
    size_t n_seen = 0;
    struct keys k = {o, name, e, seen, &n_seen};
    return read_all(&k, c);
}
