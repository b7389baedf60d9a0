/* model_form.c: the form of a layer where it is not Grok's: what may be combined, what this program
 * trains, and how the layers of one model differ.
 *
 * A form is said by keys of struct model_config (MODEL_FORM_ROWS). The backward pass is written for
 * Grok's form, which is every key's default; all other forms are forward only. Two things may differ
 * from layer to layer, a window and the rotation, and both follow from a period: they are worked out
 * once, into struct model_form, when a model is made. */
#include "model/model_internal.h"

#include <string.h>

const char *const model_rope_form_names[] = {"halves", "pairs", NULL};
const char *const model_rope_scaling_names[] = {"none", "linear", "llama3", "yarn", NULL};
const char *const model_activation_names[] = {"gelu_tanh", "silu", NULL};

static const struct option form_rows[] = {MODEL_FORM_ROWS("", struct model_config, )};

/* ------------------------------------------------------------------ checks */

bool model_form_is_told(const struct model_config *c)
{
    bool llama = c->activation == COMPUTE_SILU && c->pre_norms && !c->post_norms;
    bool gemma = c->activation == COMPUTE_GELU_TANH && c->pre_norms && c->post_norms;
    switch (c->architecture) {
    case MODEL_GROK: return true;
    case MODEL_LLAMA: return llama;
    case MODEL_QWEN2: return llama && c->qkv_biases;
    case MODEL_QWEN3: return llama && c->qk_norm;
    case MODEL_GEMMA2: return gemma && !c->qk_norm;
    case MODEL_GEMMA3: return gemma && c->qk_norm;
    default: return false;
    }
}

/* Layers that have the window, by its period. */
static int64_t windowed(const struct model_config *c)
{
    if (c->window == 0 || c->window_layers == 0) return 0;
    return c->n_layers - (c->window_period ? c->n_layers / c->window_period : 0);
}

void model_form_set_window(struct model_config *c, int64_t window, int64_t period)
{
    c->window = c->window_layers = window;
    c->window_period = period;
    c->window_layers = windowed(c);
    if (c->window_layers == 0) c->window = c->window_period = 0;
}

static int check_window(const struct model_config *c, struct error *e)
{
    if (c->window_layers > 0 && c->window == 0)
        return error_set_code(e, ERROR_CONFIG,
                              "model field 'window' is 0, but 'window_layers' (%lld) have one",
                              (long long)c->window_layers);
    const struct {
        const char *name;
        double value;
    } of_window[] = {{"window", (double)c->window},
                     {"window_period", (double)c->window_period},
                     {"window_rope_theta", c->window_rope_theta}};
    for (size_t i = 0; i < ARRAY_LEN(of_window); i++) {
        if (c->window_layers > 0 || of_window[i].value == 0) continue;
        error_set_code(e, ERROR_CONFIG, "model field '%s' is %g, but 'window_layers' is 0",
                       of_window[i].name, of_window[i].value);
        return error_hint(e, "window_layers says how many layers have the window");
    }
    if (c->window_layers == windowed(c)) return 0;
    error_set_code(
        e, ERROR_CONFIG,
        "model field 'window_layers' is %lld, but by 'window_period' (%lld) %lld of %lld "
        "layers have the window",
        (long long)c->window_layers, (long long)c->window_period, (long long)windowed(c),
        (long long)c->n_layers);
    return error_hint(e,
                      "window_period says which layers see everything: the last of each so many");
}

static int check_rope(const struct model_config *c, struct error *e)
{
    bool scaled = c->rope_scaling != COMPUTE_ROPE_NONE;
    if (!scaled && (c->rope_factor != 1 || c->rope_original_length != 0))
        return error_set_code(e, ERROR_CONFIG,
                              "model field '%s' is given, but rope_scaling is none",
                              c->rope_factor != 1 ? "rope_factor" : "rope_original_length");
    if (c->rope_size != 0 && c->rope_scaling != COMPUTE_ROPE_YARN)
        return error_set_code(e, ERROR_CONFIG,
                              "model field 'rope_size' is %g, but rope_scaling is not yarn",
                              c->rope_size);
    bool original = c->rope_scaling == COMPUTE_ROPE_LLAMA3 || c->rope_scaling == COMPUTE_ROPE_YARN;
    if (original && c->rope_original_length == 0)
        return error_set_code(e, ERROR_CONFIG,
                              "model field 'rope_original_length' is 0, rope_scaling %s needs it",
                              model_rope_scaling_names[c->rope_scaling]);
    if (c->rope_scaling == COMPUTE_ROPE_LLAMA3 && c->rope_high_freq <= c->rope_low_freq)
        return error_set_code(
            e, ERROR_CONFIG, "model field 'rope_high_freq' is %g, must be above rope_low_freq (%g)",
            c->rope_high_freq, c->rope_low_freq);
    if (c->rope_scaling == COMPUTE_ROPE_YARN &&
        (c->rope_beta_fast <= c->rope_beta_slow || c->rope_theta <= 1))
        return error_set_code(
            e, ERROR_CONFIG,
            "model field 'rope_beta_fast' is %g, must be above rope_beta_slow (%g), "
            "and rope_theta (%g) above 1",
            c->rope_beta_fast, c->rope_beta_slow, c->rope_theta);
    return 0;
}

int model_form_check(const struct model_config *c, struct error *e)
{
    TRY(check_window(c, e));
    TRY(check_rope(c, e));
    if (c->residual_multiplier != 1 && c->post_norms)
        return error_set_code(
            e, ERROR_CONFIG,
            "model field 'residual_multiplier' is %g, but with post_norms the norms "
            "say how much is added",
            c->residual_multiplier);
    return 0;
}

int model_config_check_trainable(const struct model_config *c, struct error *e)
{
    struct model_config grok;
    struct str have = {0}, usual = {0};
    TRY(model_config_check_runnable(c, e));
    model_config_defaults(&grok);
    for (size_t i = 0; i < ARRAY_LEN(form_rows); i++) {
        const struct option *row = &form_rows[i];
        str_clear(&have);
        str_clear(&usual);
        options_get(row, c, &have);
        options_get(row, &grok, &usual);
        if (strcmp(have.data, usual.data) == 0) continue;
        error_set_code(e, ERROR_CONFIG, "model field '%s' is %s: this program trains %s only",
                       row->name, have.data, usual.data);
        error_hint(e, "other forms of a layer run forward: generate and eval take them");
        break;
    }
    bool same = strcmp(have.data, usual.data) == 0;
    str_fini(&have);
    str_fini(&usual);
    return same ? 0 : ERROR_CONFIG;
}

/* ------------------------------------------------------------------ layers */

struct model_form model_form_of(const struct model_config *c, int64_t layer)
{
    bool all = c->window_period > 0 && (layer + 1) % c->window_period == 0;
    struct model_form f = {0};
    if (windowed(c) > 0 && !all) {
        f.window = c->window;
        f.rotation = c->window_rope_theta > 0;
    }
    return f;
}

int model_rotations(const struct model_config *c)
{
    return c->window_rope_theta > 0 && windowed(c) > 0 ? 2 : 1;
}

struct compute_rotation model_rotation(const struct model *m, int which)
{
    const struct model_config *c = &m->config;
    if (which == 1)
        return (struct compute_rotation){.h = c->head_dim, .theta = c->window_rope_theta};
    return (struct compute_rotation){
        .h = c->head_dim,
        .theta = c->rope_theta,
        .scaling = (enum compute_rope_scaling)c->rope_scaling,
        .factor = c->rope_factor,
        .original = (double)c->rope_original_length,
        .low_freq = c->rope_low_freq,
        .high_freq = c->rope_high_freq,
        .beta_fast = c->rope_beta_fast,
        .beta_slow = c->rope_beta_slow,
        .size = c->rope_size,
        .divisors = m->rope_divisors,
    };
}

void model_rope_table(const struct model *m, int which, int64_t n, float *table)
{
    struct compute_rotation r = model_rotation(m, which);
    if (compute_is_host(m->compute)) {
        compute_rope_table(n, &r, table);
        return;
    }
    size_t bytes = compute_rope_table_floats(n, m->dims.h) * sizeof(float);
    float *host = mem_alloc(bytes);
    compute_rope_table(n, &r, host);
    compute_upload(m->compute, table, host, bytes);
    mem_free(host);
}

void model_rotate(struct model *m)
{
    for (int i = 0; i < model_rotations(&m->config); i++)
        model_rope_table(m, i, m->T, m->rope[i]);
}
