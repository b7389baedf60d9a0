/* model_config.c: the description of a model: defaults, muP multipliers, checks, config.json, sizes.
 *
 * One table (FIELDS) names every field with its type and range; reading, writing and checking go
 * through it, so a field cannot be read but not checked, or written but not read back. The rules
 * that tie fields to each other are in model_config_check.
 *
 * The multipliers are those of muP with base width 512 as xAI publishes them (xai-org/x-algorithm,
 * phoenix/xrex/models/scaling.py): sqrt(D), 2 sqrt(512 / D), sqrt(128) / head_dim. For D = 6144
 * and D = 8192 they are Grok-1's and Grok-2's constants. */
#include "model/model_internal.h"

#include <math.h>
#include <string.h>

#define MUP_BASE_WIDTH 512.0

enum config_type { CONFIG_INT, CONFIG_REAL, CONFIG_BOOL };

struct config_field {
    const char *key;
    enum config_type type;
    size_t offset;
    bool required; /* must be in the file; others keep their default */
    double min, max;
};

#define INT_FIELD(name, needed, lo, hi)                                        \
    {                                                                          \
#        name, CONFIG_INT, offsetof(struct model_config, name), needed, lo, hi \
    }
#define REAL_FIELD(name, lo, hi)                                               \
    {                                                                          \
#        name, CONFIG_REAL, offsetof(struct model_config, name), false, lo, hi \
    }

static const struct config_field FIELDS[] = {
    INT_FIELD(vocab_size, true, 2, 1 << 24),
    INT_FIELD(n_layers, true, 1, 1024),
    INT_FIELD(d_model, true, 1, 1 << 18),
    INT_FIELD(n_heads, true, 1, 4096),
    INT_FIELD(n_kv_heads, true, 1, 4096),
    INT_FIELD(head_dim, true, 2, 1024),
    INT_FIELD(ffn_hidden, true, 1, 1 << 22),
    INT_FIELD(n_experts, true, 0, COMPUTE_MAX_EXPERTS),
    INT_FIELD(n_experts_used, true, 0, COMPUTE_MAX_EXPERTS),
    INT_FIELD(dense_ffn_hidden, false, 0, 1 << 22),
    INT_FIELD(context_length, false, 1, 1 << 24),
    REAL_FIELD(rope_theta, 1e-3, 1e15),
    REAL_FIELD(rms_eps, 1e-12, 1),
    REAL_FIELD(embedding_multiplier, 1e-12, 1e6),
    REAL_FIELD(output_multiplier, 1e-12, 1e6),
    REAL_FIELD(attn_multiplier, 1e-12, 1e6),
    REAL_FIELD(attn_softcap, 0, 1e6),
    REAL_FIELD(router_softcap, 0, 1e6),
    REAL_FIELD(final_softcap, 0, 1e6),
    INT_FIELD(attn_temperature_len, false, 0, 1 << 24),
    {"tied_embeddings", CONFIG_BOOL, offsetof(struct model_config, tied_embeddings), false, 0, 1},
    REAL_FIELD(router_aux_coef, 0, 1e3),
    REAL_FIELD(router_z_coef, 0, 1e3),
};

/* The value of a field inside c; the caller knows its type from the table. */
static const void *field_value(const struct model_config *c, const struct config_field *f)
{
    return (const char *)c + f->offset;
}

static void *field_target(struct model_config *c, const struct config_field *f)
{
    return (char *)c + f->offset;
}

void model_config_defaults(struct model_config *c)
{
    *c = (struct model_config){
        .context_length = 8192,
        .rope_theta = 10000,
        .rms_eps = 1e-5,
        .embedding_multiplier = NAN,
        .output_multiplier = NAN,
        .attn_multiplier = NAN,
        .attn_softcap = 30,
        .tied_embeddings = true,
        .router_aux_coef = 0.01,
        .router_z_coef = 0.001,
    };
}

void model_config_derive(struct model_config *c)
{
    double D = (double)c->d_model;
    if (isnan(c->embedding_multiplier)) c->embedding_multiplier = sqrt(D);
    if (isnan(c->output_multiplier)) c->output_multiplier = 2 * sqrt(MUP_BASE_WIDTH / D);
    if (isnan(c->attn_multiplier)) c->attn_multiplier = sqrt(128) / (double)c->head_dim;
}

/* ------------------------------------------------------------------ checks */

static int check_field(const struct model_config *c, const struct config_field *f, struct error *e)
{
    double value = 0;
    switch (f->type) {
    case CONFIG_INT: value = (double)*(const int64_t *)field_value(c, f); break;
    case CONFIG_REAL: value = *(const double *)field_value(c, f); break;
    case CONFIG_BOOL: return 0;
    }
    if (value >= f->min && value <= f->max) /* false for NaN */
        return 0;
    return error_set_code(e, ERROR_CONFIG, "model field '%s' is %.10g, allowed is %.10g to %.10g",
                          f->key, value, f->min, f->max);
}

static int check_experts(const struct model_config *c, struct error *e)
{
    if (c->n_experts <= 1) {
        if (c->dense_ffn_hidden == 0) return 0;
        error_set_code(e, ERROR_CONFIG,
                       "model field 'dense_ffn_hidden' is %lld, but there are no experts beside it",
                       (long long)c->dense_ffn_hidden);
        return error_hint(e, "a model without experts has its width in 'ffn_hidden'; set "
                             "dense_ffn_hidden to 0 or n_experts to 2 or more");
    }
    if (c->n_experts_used >= 1 && c->n_experts_used <= c->n_experts) return 0;
    return error_set_code(e, ERROR_CONFIG,
                          "model field 'n_experts_used' is %lld, allowed is 1 to n_experts (%lld)",
                          (long long)c->n_experts_used, (long long)c->n_experts);
}

int model_config_check(const struct model_config *c, struct error *e)
{
    for (size_t i = 0; i < ARRAY_LEN(FIELDS); i++)
        TRY(check_field(c, &FIELDS[i], e));
    if (c->head_dim % 2 != 0)
        return error_set_code(e, ERROR_CONFIG,
                              "model field 'head_dim' is %lld, but rotary positions need an even "
                              "number",
                              (long long)c->head_dim);
    if (c->n_heads % c->n_kv_heads != 0)
        return error_set_code(e, ERROR_CONFIG,
                              "model field 'n_heads' is %lld, which is not a multiple of "
                              "'n_kv_heads' (%lld)",
                              (long long)c->n_heads, (long long)c->n_kv_heads);
    if (c->attn_temperature_len == 1)
        return error_set_code(e, ERROR_CONFIG,
                              "model field 'attn_temperature_len' is 1, whose logarithm is 0; use "
                              "0 (off) or 2 and more");
    TRY(check_experts(c, e));
    if ((double)model_config_total_params(c) > 0x1p45)
        return error_set_code(e, ERROR_CONFIG, "the model has %.3g parameters, the limit is %.3g",
                              (double)model_config_total_params(c), 0x1p45);
    return 0;
}

/* ------------------------------------------------------------------ JSON */

static const struct config_field *find_field(const char *key)
{
    for (size_t i = 0; i < ARRAY_LEN(FIELDS); i++)
        if (strcmp(FIELDS[i].key, key) == 0) return &FIELDS[i];
    return NULL;
}

static int refuse_unknown_key(const char *key, const char *name, struct error *e)
{
    const char *keys[ARRAY_LEN(FIELDS)];
    for (size_t i = 0; i < ARRAY_LEN(FIELDS); i++)
        keys[i] = FIELDS[i].key;
    const char *near = name_nearest(key, keys, ARRAY_LEN(keys));
    error_set_code(e, ERROR_CONFIG, "%s: unknown key '%s'", name, key);
    if (near) return error_hint(e, "did you mean '%s'?", near);
    return error_hint(e, "keys that begin with '_' are ignored, as is 'optimizer'");
}

static int read_field(const json_t *value, const struct config_field *f, const char *name,
                      struct model_config *c, struct error *e)
{
    const char *wanted = NULL;
    switch (f->type) {
    case CONFIG_INT:
        if (json_is_integer(value))
            *(int64_t *)field_target(c, f) = (int64_t)json_integer_value(value);
        else
            wanted = "a whole number";
        break;
    case CONFIG_REAL:
        if (json_is_number(value))
            *(double *)field_target(c, f) = json_number_value(value);
        else
            wanted = "a number";
        break;
    case CONFIG_BOOL:
        if (json_is_boolean(value))
            *(bool *)field_target(c, f) = json_is_true(value);
        else
            wanted = "true or false";
        break;
    }
    if (wanted) return error_set_code(e, ERROR_CONFIG, "%s: '%s' must be %s", name, f->key, wanted);
    return 0;
}

int model_config_from_json(const json_t *o, const char *name, struct model_config *c,
                           struct error *e)
{
    if (!json_is_object(o))
        return error_set_code(e, ERROR_CONFIG, "%s: the model must be a JSON object", name);
    model_config_defaults(c);

    bool seen[ARRAY_LEN(FIELDS)] = {false};
    /* jansson iterates through a pointer to non-const; nothing is changed */
    json_t *object = (json_t *)(uintptr_t)o;
    for (void *it = json_object_iter(object); it; it = json_object_iter_next(object, it)) {
        const char *key = json_object_iter_key(it);
        if (key[0] == '_' || strcmp(key, "optimizer") == 0) continue;
        const struct config_field *f = find_field(key);
        if (!f) return refuse_unknown_key(key, name, e);
        TRY(read_field(json_object_iter_value(it), f, name, c, e));
        seen[f - FIELDS] = true;
    }
    for (size_t i = 0; i < ARRAY_LEN(FIELDS); i++)
        if (FIELDS[i].required && !seen[i])
            return error_set_code(e, ERROR_CONFIG, "%s: '%s' is missing", name, FIELDS[i].key);

    model_config_derive(c);
    int rc = model_config_check(c, e);
    return rc < 0 ? error_context(e, "%s", name) : 0;
}

int model_config_load(const char *path, struct model_config *c, struct error *e)
{
    json_t *root = NULL;
    TRY(json_load_path(path, 1 << 20, &root, e));
    int rc = model_config_from_json(root, path, c, e);
    json_decref(root);
    return rc;
}

json_t *model_config_to_json(const struct model_config *c)
{
    json_t *o = json_object();
    for (size_t i = 0; i < ARRAY_LEN(FIELDS); i++) {
        const struct config_field *f = &FIELDS[i];
        json_t *value = NULL;
        switch (f->type) {
        case CONFIG_INT: value = json_integer(*(const int64_t *)field_value(c, f)); break;
        case CONFIG_REAL: value = json_real(*(const double *)field_value(c, f)); break;
        case CONFIG_BOOL: value = json_boolean(*(const bool *)field_value(c, f)); break;
        }
        if (value) /* json_real refuses NaN: an underived multiplier is left out */
            json_object_set_new(o, f->key, value);
    }
    return o;
}

/* ------------------------------------------------------------------ sizes */

/* Weights of one layer's matrices, of which a token meets `experts` experts. */
static uint64_t layer_matrix_params(const struct model_config *c, int64_t experts)
{
    uint64_t D = (uint64_t)c->d_model, h = (uint64_t)c->head_dim, F = (uint64_t)c->ffn_hidden;
    uint64_t attention = 2 * D * h * (uint64_t)(c->n_heads + c->n_kv_heads);
    if (c->n_experts <= 1) return attention + 3 * D * F;
    return attention + D * (uint64_t)c->n_experts + 3 * D * F * (uint64_t)experts +
           3 * D * (uint64_t)c->dense_ffn_hidden;
}

static uint64_t count_params(const struct model_config *c, int64_t experts)
{
    uint64_t D = (uint64_t)c->d_model, L = (uint64_t)c->n_layers;
    uint64_t tables = (uint64_t)c->vocab_size * D * (c->tied_embeddings ? 1 : 2);
    return tables + L * layer_matrix_params(c, experts) + (4 * L + 1) * D;
}

uint64_t model_config_active_params(const struct model_config *c)
{
    return count_params(c, c->n_experts_used);
}

uint64_t model_config_total_params(const struct model_config *c)
{
    return count_params(c, c->n_experts);
}

double model_config_train_flops_per_token(const struct model_config *c, int64_t T)
{
    double L = (double)c->n_layers;
    double matrices = L * (double)layer_matrix_params(c, c->n_experts_used) +
                      (double)c->vocab_size * (double)c->d_model;
    double attention = 12 * L * (double)(c->n_heads * c->head_dim) * (double)T / 2;
    return 6 * matrices + attention;
}
