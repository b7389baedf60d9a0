/* model_config.c: the description of a model: its keys, muP multipliers, checks, config.json, sizes.
 *
 * One table (model_section, of which a run file has the first part) names every key with its type,
 * range and default; run files, presets, plans, checkpoints and config.json go through it, so a
 * field cannot be read but not checked, or written but not read back.
 *
 * A description says more than this program can run, because a plan counts models of other families
 * too: model_config_check asks whether the numbers make sense, model_config_check_runnable whether
 * this program has what they ask for.
 *
 * The multipliers are those of muP with base width 512 as xAI publishes them (xai-org/x-algorithm,
 * phoenix/xrex/models/scaling.py): sqrt(D), 2 sqrt(512 / D), sqrt(128) / head_dim. For D = 6144
 * and D = 8192 they are Grok-1's and Grok-2's constants. */
#include "model/model_internal.h"

#include <math.h>
#include <string.h>

#define MUP_BASE_WIDTH  512.0
#define DEFAULT_CONTEXT 8192 /* Grok-1's, where neither file nor batch says one */
#define MAX_HEAD_DIM    1024 /* of the attention kernels */
#define MAX_PARAMS      0x1p45

const char *const model_architecture_names[] = {"grok",    "gpt",      "llama", "qwen3", "deepseek",
                                                "gpt-oss", "nemotron", "palm",  "bloom", "qwen2",
                                                "gemma2",  "gemma3",   NULL};
const char *const model_attention_names[] = {"mha", "mla", NULL};

/* Families but Grok's, and what their block has that this program's lacks (model cards, papers). */
static const char *const lacking[] = {
    [MODEL_GPT] = "learned positions, LayerNorm and biases",
    [MODEL_LLAMA] = "SiLU, and no norms behind the sub-layers",
    [MODEL_QWEN3] = "SiLU, and norms of queries and keys",
    [MODEL_DEEPSEEK] = "latent attention, SiLU and shared experts",
    [MODEL_GPT_OSS] = "attention sinks, biases and clamped SiLU",
    [MODEL_NEMOTRON] = "squared ReLU and LayerNorm",
    [MODEL_PALM] = "attention and FFN side by side",
    [MODEL_BLOOM] = "positions as biases of attention (ALiBi), and LayerNorm",
    [MODEL_QWEN2] = "SiLU, and biases of queries, keys and values",
    [MODEL_GEMMA2] = "norms in front of and behind the sub-layers, and none of queries and keys",
    [MODEL_GEMMA3] = "norms in front of and behind the sub-layers, and of queries and keys",
};

/* clang-format off: a table is read by its columns */
#define C                struct model_config
#define DIM(k, m, ex, h) ROW_INT(C, k, m, NULL, "0", 0, 1 << 22, ex, h)

static const struct option rows[] = {
    MODEL_ROWS("", C, ),
    MODEL_FORM_ROWS("", C, ),

    ROW_LIKE("llama-3-70b"),
    ROW_CUSTOM("preset", "", "grok-1", "the same, as run files write it", NULL),
    ROW_STRING(C, "name", name, "", "my-model", "short name; default: the file's"),
    ROW_STRING(C, "source", source, "", "config.json of the release", "where the sizes are from"),
    ROW_ENUM(
        C, "architecture", architecture, "grok", model_architecture_names, "llama",
        "family; this program trains grok, runs llama, qwen2, qwen3, gemma2 and gemma3 where the "
        "keys of a layer's form say so, and a plan counts all"),
    ROW_BOOL(C, "glu", glu, "true", "a gated FFN, three matrices instead of two"),
    ROW_ENUM(
        C, "attention", attention, "mha", model_attention_names, "mha",
        "mla: multi-head latent attention of DeepSeek; mha with n_kv_heads is also MQA and GQA"),
    DIM("mla.q_rank", mla_q_rank, "1536", "mla: rank of the queries; 0: not compressed"),
    DIM("mla.kv_rank", mla_kv_rank, "512", "mla: rank of keys and values"),
    DIM("mla.nope_dim", mla_nope_dim, "128", "mla: width of a head's part without rotation"),
    DIM("mla.rope_dim", mla_rope_dim, "64", "mla: width of its part with rotation"),
    DIM("mla.v_dim", mla_v_dim, "128", "mla: width of a value head"),
    DIM("shared_ffn_hidden", shared_ffn_hidden, "2048",
        "hidden width of the experts that every token visits, together"),
    DIM("dense_layers", dense_layers, "3",
        "leading layers without experts, of width dense_ffn_hidden"),
    DIM("route_domains", route_domains, "4", "a token's experts lie on at most so many nodes"),
    DIM("mtp_layers", mtp_layers, "1", "extra layers of multi-token prediction"),
    DIM("mamba_layers", mamba_layers, "24", "hybrids: of the layers, those of Mamba-2"),
    DIM("attention_layers", attention_layers, "4", "hybrids: those of attention"),
    DIM("mamba_inner", mamba_inner, "8192", "hybrids: inner width"),
    DIM("mamba_state", mamba_state, "128", "hybrids: width of the state"),
    DIM("moe_latent", moe_latent, "1024", "width in which experts work; 0: d_model"),
};
/* clang-format on */
/* Keys of plans before plans and run files shared them. */
static const struct option_renamed renamed[] = {{"layers", "n_layers"},
                                                {"hidden", "d_model"},
                                                {"heads", "n_heads"},
                                                {"kv_heads", "n_kv_heads"},
                                                {"vocab", "vocab_size"},
                                                {"experts", "n_experts"},
                                                {"top_k", "n_experts_used"},
                                                {"moe_ffn_hidden", "ffn_hidden"},
                                                {"dense_branch", "dense_ffn_hidden"},
                                                {NULL, NULL}};
const struct section model_section = {"model", "models", "a model", rows, ARRAY_LEN(rows), renamed};

/* The rows of config.json and of a run file: all before `like`. */
static size_t n_runnable_rows(void)
{
    return (size_t)(section_find(&model_section, "like") - rows);
}

void model_config_defaults(struct model_config *c)
{
    memset(c, 0, sizeof(*c));
    section_defaults(&model_section, c);
}

void model_config_derive(struct model_config *c)
{
    double D = (double)c->d_model;
    if (c->n_kv_heads == 0) c->n_kv_heads = c->n_heads;
    if (c->head_dim == 0 && c->n_heads > 0) c->head_dim = MAX(c->d_model / c->n_heads, 1);
    if (c->context_length == 0) c->context_length = DEFAULT_CONTEXT;
    if (!model_is_moe(c)) c->n_experts_used = 1;
    if (c->embedding_multiplier == 0) c->embedding_multiplier = sqrt(D);
    if (c->output_multiplier == 0 && D > 0) c->output_multiplier = 2 * sqrt(MUP_BASE_WIDTH / D);
    if (c->attn_multiplier == 0 && c->head_dim > 0)
        c->attn_multiplier = sqrt(128) / (double)c->head_dim;
    if (c->rope_scaling == COMPUTE_ROPE_YARN && c->rope_size == 0)
        c->rope_size = 0.1 * log(c->rope_factor) + 1;
}

/* ------------------------------------------------------------------ sizes */

/* Weights of one layer's matrices, of which a token meets `experts` experts. */
static double layer_matrix_params(const struct model_config *c, int64_t experts)
{
    double D = (double)c->d_model, h = (double)c->head_dim, F = (double)c->ffn_hidden;
    double attention = 2 * D * h * (double)(c->n_heads + c->n_kv_heads);
    if (!model_is_moe(c)) return attention + 3 * D * F;
    return attention + D * (double)c->n_experts + 3 * D * F * (double)experts +
           3 * D * (double)c->dense_ffn_hidden;
}

/* In doubles, which hold every count up to MAX_PARAMS exactly and do not wrap beyond. */
static double count_params(const struct model_config *c, int64_t experts)
{
    double D = (double)c->d_model, L = (double)c->n_layers;
    double tables = (double)c->vocab_size * D * (c->tied_embeddings ? 1 : 2);
    double vectors = 2 * D * ((double)c->pre_norms + (double)c->post_norms);
    if (c->qk_norm) vectors += 2 * (double)c->head_dim;
    if (c->qkv_biases) vectors += (double)(c->head_dim * (c->n_heads + 2 * c->n_kv_heads));
    if (c->output_bias) vectors += D;
    return tables + L * (layer_matrix_params(c, experts) + vectors) + D;
}

uint64_t model_config_active_params(const struct model_config *c)
{
    return (uint64_t)count_params(c, c->n_experts_used);
}

uint64_t model_config_total_params(const struct model_config *c)
{
    return (uint64_t)count_params(c, c->n_experts);
}

double model_config_train_flops_per_token(const struct model_config *c, int64_t T)
{
    double L = (double)c->n_layers;
    double matrices = L * (double)layer_matrix_params(c, c->n_experts_used) +
                      (double)c->vocab_size * (double)c->d_model;
    double attention = 12 * L * (double)(c->n_heads * c->head_dim) * (double)T / 2;
    return 6 * matrices + attention;
}

/* ------------------------------------------------------------------ checks */

static int wrong(struct error *e, const char *key, int64_t value, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
static int wrong(struct error *e, const char *key, int64_t value, const char *fmt, ...)
{
    char why[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(why, sizeof(why), fmt, args);
    va_end(args);
    return error_set_code(e, ERROR_CONFIG, "model field '%s' is %lld, %s", key, (long long)value,
                          why);
}

static int check_row(const struct model_config *c, const struct option *row, struct error *e)
{
    const void *place = (const char *)c + row->offset;
    double value = 0;
    if (row->type == OPTION_INT)
        value = (double)*(const int64_t *)place;
    else if (row->type == OPTION_REAL)
        value = *(const double *)place;
    else
        return 0;
    if (value >= row->min && value <= row->max) return 0; /* false for NaN */
    return error_set_code(e, ERROR_CONFIG, "model field '%s' is %.10g, allowed is %.10g to %.10g",
                          row->name, value, row->min, row->max);
}

struct size {
    const char *key;
    int64_t value;
};

static int check_sizes(const struct size *sizes, size_t n, struct error *e)
{
    for (size_t i = 0; i < n; i++)
        if (sizes[i].value < 1) return wrong(e, sizes[i].key, sizes[i].value, "must be at least 1");
    return 0;
}

static int check_experts(const struct model_config *c, struct error *e)
{
    if (!model_is_moe(c)) {
        if (c->dense_ffn_hidden == 0) return 0;
        wrong(e, "dense_ffn_hidden", c->dense_ffn_hidden, "but there are no experts beside it");
        return error_hint(e, "a model without experts has its width in 'ffn_hidden'; set "
                             "dense_ffn_hidden to 0 or n_experts to 2 or more");
    }
    if (c->n_experts_used < 1 || c->n_experts_used > c->n_experts)
        return wrong(e, "n_experts_used", c->n_experts_used, "allowed is 1 to n_experts (%lld)",
                     (long long)c->n_experts);
    const struct size dense = {"dense_ffn_hidden", c->dense_ffn_hidden};
    return c->dense_layers > 0 ? check_sizes(&dense, 1, e) : 0;
}

/* What plans count beyond this program: latent attention, kinds of layers, hybrids. */
static int check_planned(const struct model_config *c, struct error *e)
{
    const struct size mla[] = {{"mla.kv_rank", c->mla_kv_rank},
                               {"mla.nope_dim", c->mla_nope_dim},
                               {"mla.v_dim", c->mla_v_dim}};
    const struct size mamba[] = {{"mamba_inner", c->mamba_inner}, {"mamba_state", c->mamba_state}};
    if (c->attention == MODEL_ATTENTION_MLA) TRY(check_sizes(mla, ARRAY_LEN(mla), e));
    if (c->dense_layers > c->n_layers)
        return wrong(e, "dense_layers", c->dense_layers, "more than n_layers (%lld)",
                     (long long)c->n_layers);
    if (c->window_layers > c->n_layers)
        return wrong(e, "window_layers", c->window_layers, "more than n_layers (%lld)",
                     (long long)c->n_layers);
    if (c->mamba_layers > 0) TRY(check_sizes(mamba, ARRAY_LEN(mamba), e));
    int64_t other = c->mamba_layers > 0 ? c->mamba_layers + c->attention_layers : 0;
    if (other + c->dense_layers <= c->n_layers) return 0;
    return wrong(e, "n_layers", c->n_layers,
                 "fewer than its layers of attention, of Mamba-2 and without experts (%lld)",
                 (long long)(other + c->dense_layers));
}

int model_config_check_shape(const struct model_config *c, struct error *e)
{
    const struct size needed[] = {{"vocab_size", c->vocab_size}, {"n_layers", c->n_layers},
                                  {"d_model", c->d_model},       {"n_heads", c->n_heads},
                                  {"n_kv_heads", c->n_kv_heads}, {"head_dim", c->head_dim},
                                  {"ffn_hidden", c->ffn_hidden}};
    TRY(check_sizes(needed, ARRAY_LEN(needed), e));
    if (c->n_heads % c->n_kv_heads != 0)
        return wrong(e, "n_heads", c->n_heads, "which is not a multiple of 'n_kv_heads' (%lld)",
                     (long long)c->n_kv_heads);
    TRY(check_planned(c, e));
    return check_experts(c, e);
}

int model_config_check(const struct model_config *c, struct error *e)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        TRY(check_row(c, &rows[i], e));
    return model_config_check_shape(c, e);
}

/* What of a description this program has no code for, in words; NULL: nothing. */
static const char *missing_feature(const struct model_config *c)
{
    const struct {
        bool asked;
        const char *what;
    } features[] = {
        {!model_form_is_told(c), lacking[c->architecture]},
        {c->attention == MODEL_ATTENTION_MLA, "multi-head latent attention"},
        {!c->glu, "an FFN without a gate"},
        {c->shared_ffn_hidden > 0, "shared experts"},
        {c->dense_layers > 0, "layers without experts before those with them"},
        {c->mtp_layers > 0, "multi-token prediction"},
        {c->mamba_layers > 0, "Mamba-2 layers"},
        {c->moe_latent > 0, "experts of another width"},
    };
    for (size_t i = 0; i < ARRAY_LEN(features); i++)
        if (features[i].asked) return features[i].what;
    return NULL;
}

int model_config_check_runnable(const struct model_config *c, struct error *e)
{
    const char *missing = missing_feature(c);
    if (missing)
        return error_set_code(e, ERROR_CONFIG,
                              "a model of the family '%s' cannot be run here: it has %s",
                              model_architecture_names[c->architecture], missing);
    TRY(model_config_check(c, e));
    TRY(model_form_check(c, e));
    if (c->head_dim % 2 != 0)
        return wrong(e, "head_dim", c->head_dim, "but rotary positions need an even number");
    if (c->head_dim > MAX_HEAD_DIM)
        return wrong(e, "head_dim", c->head_dim, "this program runs up to %d", MAX_HEAD_DIM);
    if (c->n_experts > COMPUTE_MAX_EXPERTS)
        return wrong(e, "n_experts", c->n_experts, "this program runs up to %d",
                     COMPUTE_MAX_EXPERTS);
    if (c->attn_temperature_len == 1)
        return wrong(e, "attn_temperature_len", 1,
                     "whose logarithm is 0; use 0 (off) or 2 and more");
    if (count_params(c, c->n_experts) > MAX_PARAMS)
        return error_set_code(e, ERROR_CONFIG, "the model has %.3g parameters, the limit is %.3g",
                              count_params(c, c->n_experts), MAX_PARAMS);
    return 0;
}

/* ------------------------------------------------------------------ description files */

const char *model_config_missing(const struct model_config *c)
{
    static const char *const needed[] = {"n_layers", "d_model", "n_heads", "ffn_hidden"};
    for (size_t i = 0; i < ARRAY_LEN(needed); i++) {
        const struct option *row = section_find(&model_section, needed[i]);
        if (*(const int64_t *)(const void *)((const char *)c + row->offset) == 0) return row->name;
    }
    return NULL;
}

/* A file may leave sizes to whoever begins with it; what is whole is checked. */
static int finish_model(const struct yaml_reader *r, const struct yaml_node *map, void *target)
{
    struct error inner = {0};
    struct model_config whole = *(const struct model_config *)target;
    if (model_config_missing(&whole)) return 0;
    if (whole.vocab_size == 0) whole.vocab_size = 1; /* the dataset's, which is not known here */
    model_config_derive(&whole);
    if (model_config_check(&whole, &inner) >= 0) return 0;
    yaml_wrong(r, map, "%s", inner.text);
    return error_hint(r->e, "%s", inner.hint);
}

/* A base's width of dense layers is not that of a branch beside the experts. */
static void drop_dense_layers(const struct yaml_node *map, void *target)
{
    const struct yaml_node *layers = yaml_get(map, "dense_layers");
    struct model_config *c = target;
    if (layers && layers->kind == YAML_KIND_SCALAR && strcmp(layers->text, "0") == 0 &&
        c->dense_layers > 0)
        c->dense_ffn_hidden = 0;
}

const struct preset_kind model_kind = {.section = &model_section,
                                       .size = sizeof(struct model_config),
                                       .inside = "model",
                                       .changed = drop_dense_layers,
                                       .finish = finish_model};

const char *model_config_trainable_presets(const struct yaml_reader *r)
{
    const char *names[256];
    struct str list = {0};
    size_t n = preset_list(r, model_section.folder, names, ARRAY_LEN(names));
    for (size_t i = 0; i < n; i++) {
        struct error ignored = {0};
        struct yaml_reader quiet = *r;
        struct yaml_node node = {
            .kind = YAML_KIND_SCALAR, .line = 1, .column = 1, .text = names[i]};
        struct model_config c;
        quiet.e = &ignored;
        if (preset_read(&quiet, &model_kind, &node, &c, NULL) < 0) continue;
        model_config_derive(&c);
        if (model_config_check_trainable(&c, &ignored) < 0) continue;
        str_printf(&list, "%s%s", list.len ? ", " : "", names[i]);
    }
    const char *text = arena_strdup(r->arena, list.len ? list.data : "");
    str_fini(&list);
    return text;
}

/* ------------------------------------------------------------------ JSON */

static int refuse_unknown_key(const char *key, const char *name, struct error *e)
{
    const char *keys[ARRAY_LEN(rows)];
    size_t n = n_runnable_rows();
    for (size_t i = 0; i < n; i++)
        keys[i] = rows[i].name;
    const char *near = name_nearest(key, keys, n);
    error_set_code(e, ERROR_CONFIG, "%s: unknown key '%s'", name, key);
    if (near) return error_hint(e, "did you mean '%s'?", near);
    return error_hint(e, "keys that begin with '_' are ignored, as is 'optimizer'");
}

static int read_json(const json_t *value, const struct option *row, const char *name,
                     struct model_config *c, struct error *e)
{
    void *place = (char *)c + row->offset;
    const char *wanted = NULL;
    switch (row->type) {
    case OPTION_INT:
        if (json_is_integer(value))
            *(int64_t *)place = (int64_t)json_integer_value(value);
        else
            wanted = "a whole number";
        break;
    case OPTION_REAL:
        if (json_is_number(value))
            *(double *)place = json_number_value(value);
        else
            wanted = "a number";
        break;
    case OPTION_ENUM:
        if (json_is_string(value))
            return options_set(row, json_string_value(value), c, NULL, name, e);
        wanted = "a name";
        break;
    default:
        if (json_is_boolean(value))
            *(bool *)place = json_is_true(value);
        else
            wanted = "true or false";
    }
    if (wanted)
        return error_set_code(e, ERROR_CONFIG, "%s: '%s' must be %s", name, row->name, wanted);
    return 0;
}

/* What config.json must say, because every other model has another. */
static int check_given(const bool *seen, const char *name, struct error *e)
{
    static const char *const needed[] = {"vocab_size", "n_layers",   "d_model",
                                         "n_heads",    "n_kv_heads", "head_dim",
                                         "ffn_hidden", "n_experts",  "n_experts_used"};
    for (size_t i = 0; i < ARRAY_LEN(needed); i++)
        if (!seen[section_find(&model_section, needed[i]) - rows])
            return error_set_code(e, ERROR_CONFIG, "%s: '%s' is missing", name, needed[i]);
    return 0;
}

int model_config_from_json(const json_t *o, const char *name, struct model_config *c,
                           struct error *e)
{
    if (!json_is_object(o))
        return error_set_code(e, ERROR_CONFIG, "%s: the model must be a JSON object", name);
    model_config_defaults(c);

    bool seen[ARRAY_LEN(rows)] = {false};
    /* jansson iterates through a pointer to non-const; nothing is changed */
    json_t *object = (json_t *)(uintptr_t)o;
    for (void *it = json_object_iter(object); it; it = json_object_iter_next(object, it)) {
        const char *key = json_object_iter_key(it);
        if (key[0] == '_' || strcmp(key, "optimizer") == 0) continue;
        const struct option *row = options_find(rows, n_runnable_rows(), key);
        if (!row) return refuse_unknown_key(key, name, e);
        TRY(read_json(json_object_iter_value(it), row, name, c, e));
        seen[row - rows] = true;
    }
    TRY(check_given(seen, name, e));
    model_config_derive(c);
    int rc = model_config_check_runnable(c, e);
    return rc < 0 ? error_context(e, "%s", name) : 0;
}

int model_config_load(const char *path, struct model_config *c, struct error *e)
{
    json_t *root = NULL;
    TRY(json_load_path(path, 1 << 20, &root, e));
    int rc = hf_is_config(root) ? hf_model_config(root, path, c, e)
                                : model_config_from_json(root, path, c, e);
    json_decref(root);
    return rc;
}

static json_t *value_of(const struct option *row, const struct model_config *c)
{
    const void *place = (const char *)c + row->offset;
    switch (row->type) {
    case OPTION_INT: return json_integer(*(const int64_t *)place);
    case OPTION_REAL: return json_real(*(const double *)place);
    case OPTION_ENUM: return json_string(row->choices[*(const int *)place]);
    default: return json_boolean(*(const bool *)place);
    }
}

/* The form of a layer is written where it is not Grok's: a file of Grok's is readable by whoever knows
 * nothing of forms. */
json_t *model_config_to_json(const struct model_config *c)
{
    static const struct option forms[] = {MODEL_FORM_ROWS("", struct model_config, )};
    struct model_config grok;
    json_t *o = json_object();
    model_config_defaults(&grok);
    for (size_t i = 0; i < n_runnable_rows(); i++) {
        json_t *value = value_of(&rows[i], c), *usual = value_of(&rows[i], &grok);
        bool skip = options_find(forms, ARRAY_LEN(forms), rows[i].name) && json_equal(value, usual);
        if (skip)
            json_decref(value);
        else
            json_object_set_new(o, rows[i].name, value);
        json_decref(usual);
    }
    return o;
}
