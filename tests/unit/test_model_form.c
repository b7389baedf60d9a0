/* test_model_form.c: layers whose form is not Grok's, against float64: every folder of
 * tests/golden/forms (make_form_golden.py), under every backend, in both formats, the whole sequence
 * at once, as one prefill and token by token; and training refuses each key by its name.
 *
 * fp32 bar: logits 2e-5 of the largest, as for Grok's form (test_model_golden.c, which also tells
 * where the bound for bf16 is from). The weights here are bfloat16, so of a layer's 14 roundings the 4
 * of weights fall away; biases of queries, keys or values, norms of heads and a bias of the output
 * add one each: at most 13. Noise of a rounding's size on the weights is 4 of them, so bf16 may move
 * logits by twice sqrt(13 / 4) of what that noise moves them by. */
#include "test_model_support.h"

#define FP32_LOGITS  2e-5
#define BF16_RHO     0.0016 /* 2^-9.3 */
#define BF16_SAMPLES 4
#define BF16_LOGITS  (2 * sqrt(13.0 / 4))

#define FOLDER "tests/golden/forms"

static const char *const forms[] = {
    "no-post-norms", "no-pre-norms", "silu",
    "qk-norm",       "qkv-biases",   "output-bias",
    "renormalised",  "rope-pairs",   "residual-multiplier",
    "rope-linear",   "rope-llama3",  "rope-yarn",
    "window",        "llama",        "rope-yarn-size",
    "window-period", "qwen2",        "qwen3-experts",
};

/* ------------------------------------------------------------------ one folder */

struct golden {
    struct arena arena;
    struct model_config config;
    struct safetensors expected;
    const char *dir;
    int64_t T, V;
    uint32_t *tokens; /* [T] */
    float *want;      /* [T, V] */
};

static void golden_open(struct golden *g, const char *name)
{
    struct error e = {0};
    *g = (struct golden){0};
    arena_init(&g->arena);
    g->dir = file_join(&g->arena, FOLDER, name);
    const char *config = file_join(&g->arena, g->dir, "config.json");
    const char *expected = file_join(&g->arena, g->dir, "expected.safetensors");
    if (model_config_load(config, &g->config, &e) < 0 ||
        safetensors_open(expected, &g->expected, &e) < 0)
        fail_with(&e);
    const struct safetensors_entry *t = safetensors_find(&g->expected, "tokens");
    const struct safetensors_entry *z = safetensors_find(&g->expected, "logits");
    assert_true(t && z && t->dtype == ST_I32 && z->n_dims == 2);
    g->T = t->shape[0];
    g->V = z->shape[1];
    assert_int_equal(z->shape[0], g->T);
    assert_int_equal(g->V, g->config.vocab_size);
    g->tokens = arena_alloc(&g->arena, (size_t)g->T * sizeof(uint32_t));
    memcpy(g->tokens, t->data, (size_t)g->T * sizeof(uint32_t));
    g->want = arena_alloc(&g->arena, (size_t)(g->T * g->V) * sizeof(float));
    if (safetensors_read_f32(z, g->want, (size_t)(g->T * g->V), &e) < 0) fail_with(&e);
}

static void golden_close(struct golden *g)
{
    safetensors_close(&g->expected);
    arena_fini(&g->arena);
}

static float *new_logits(struct golden *g)
{
    return arena_alloc(&g->arena, (size_t)(g->T * g->V) * sizeof(float));
}

static void rig_of(struct golden *g, struct rig *r, struct rig_options o)
{
    struct error e = {0};
    o.inference = true;
    rig_open(r, &g->config, 1, g->T, o);
    if (model_load_weights(r->model, g->dir, &e) < 0) fail_with(&e);
}

static void whole(struct golden *g, model_t *m, float *logits)
{
    struct model_batch b = {.B = 1, .T = g->T, .inputs = g->tokens, .targets = g->tokens};
    model_logits(m, &b, logits);
}

/* `step` tokens in a call. */
static void decode(struct golden *g, model_t *m, int64_t step, float *logits)
{
    struct error e = {0};
    model_decoder_t *d;
    if (model_decoder_new(m, &d, &e) < 0) fail_with(&e);
    int32_t id = model_sequence_open(d);
    struct model_row *rows = arena_alloc(&g->arena, (size_t)step * sizeof(*rows));
    for (int64_t at = 0; at < g->T; at += step) {
        int64_t n = MIN(step, g->T - at);
        for (int64_t i = 0; i < n; i++)
            rows[i] = (struct model_row){id, g->tokens[at + i], at + i, true};
        if (model_decode_rows(d, rows, n, logits + at * g->V, &e) < 0) fail_with(&e);
    }
    model_decoder_free(d);
}

/* ------------------------------------------------------------------ bounds */

/* The mean square change of logits where weights of products are off by rho. */
static double noise_effect(struct golden *g)
{
    double sum = 0;
    float *logits = new_logits(g);
    for (uint64_t seed = 1; seed <= BF16_SAMPLES; seed++) {
        struct rig r;
        struct error e = {0};
        struct safetensors st;
        const char *path = file_join(&g->arena, g->dir, "weights.safetensors");
        rig_of(g, &r, (struct rig_options){COMPUTE_F32, COMPUTE_REFERENCE, 1, true});
        if (safetensors_open(path, &st, &e) < 0) fail_with(&e);
        const struct param_table *t = model_params(r.model);
        for (size_t i = 0; i < t->n_rows; i++) {
            const struct param *p = &t->rows[i];
            if (p->n_dims < 2 || p->kind == PARAM_ROUTER) continue;
            float *w = mem_alloc(p->count * sizeof(*w));
            if (safetensors_read_f32(safetensors_find(&st, p->name), w, p->count, &e) < 0)
                fail_with(&e);
            for (size_t j = 0; j < p->count; j++)
                w[j] *= 1 + (float)(BF16_RHO * rng_normal(seed, i, j));
            model_put(r.model, i, 0, (int64_t)p->count / p->shape[p->n_dims - 1], w);
            mem_free(w);
        }
        whole(g, r.model, logits);
        sum += pow(relative_l2(logits, g->want, (size_t)(g->T * g->V)), 2);
        safetensors_close(&st);
        rig_close(&r);
    }
    return sqrt(sum / BF16_SAMPLES);
}

static void check(struct golden *g, enum compute_dtype dtype, enum compute_backend backend,
                  double bound)
{
    struct rig r;
    size_t n = (size_t)(g->T * g->V);
    float *at_once = new_logits(g), *prefill = new_logits(g), *one = new_logits(g);
    rig_of(g, &r, (struct rig_options){dtype, backend, 1, true});
    whole(g, r.model, at_once);
    decode(g, r.model, g->T, prefill);
    decode(g, r.model, 1, one);
    const float *have[] = {at_once, prefill};
    for (int i = 0; i < 2; i++) {
        double error = dtype == COMPUTE_F32 ? relative_max(have[i], g->want, n)
                                            : relative_l2(have[i], g->want, n);
        print_message("%-40s %s %-9s %-7s logits %.1e of at most %.1e\n", g->dir,
                      dtype == COMPUTE_F32 ? "fp32" : "bf16", BACKEND_NAMES[backend],
                      i ? "decoded" : "whole", error, bound);
        if (!(error <= bound)) fail_msg("%s: %.2e", g->dir, error);
    }
    assert_memory_equal(prefill, one, n * sizeof(float));
    rig_close(&r);
}

static void test_forms(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        struct golden g;
        golden_open(&g, forms[i]);
        double bf16 = BF16_LOGITS * noise_effect(&g);
        for (size_t k = 0; k < ARRAY_LEN(BACKENDS); k++) {
            if (!backend_present(BACKENDS[k])) continue;
            check(&g, COMPUTE_F32, BACKENDS[k], FP32_LOGITS);
            check(&g, COMPUTE_BF16, BACKENDS[k], bf16);
        }
        golden_close(&g);
    }
}

/* A longer sequence than a block of keys is: past its window a row sees nothing of what was before, so
 * one layer's logits do not change with it, and the pages of the whole sequence say what those of its
 * last part say. */
static void test_window_is_all_that_is_seen(void **state)
{
    (void)state;
    enum { T = 600, V = 61, WINDOW = 20 };
    struct model_config c = small_dense();
    c.n_layers = 1;
    c.attn_softcap = 0;
    c.window = WINDOW;
    c.window_layers = 1;
    uint32_t tokens[T], other[T];
    float *logits = mem_alloc(2 * T * V * sizeof(float));
    random_tokens(tokens, T, V, 3);
    random_tokens(other, T, V, 4);
    memcpy(other + T - WINDOW, tokens + T - WINDOW, WINDOW * sizeof(*tokens));
    for (size_t k = 0; k < ARRAY_LEN(BACKENDS); k++)
        for (int dtype = COMPUTE_F32; dtype <= COMPUTE_BF16; dtype++) {
            struct rig r;
            struct golden g = {.T = T, .V = V, .tokens = tokens};
            if (!backend_present(BACKENDS[k])) continue;
            arena_init(&g.arena);
            rig_open(&r, &c, 1, 1,
                     (struct rig_options){(enum compute_dtype)dtype, BACKENDS[k], 1, true});
            random_weights(r.model, 5);
            decode(&g, r.model, 250, logits);
            g.tokens = other;
            decode(&g, r.model, 1, logits + T * V);
            const float *last = logits + (T - 1) * V, *before = logits + (T - WINDOW) * V;
            assert_memory_equal(last, last + T * V, V * sizeof(float));
            assert_memory_not_equal(before, before + T * V, V * sizeof(float));
            rig_close(&r);
            arena_fini(&g.arena);
        }
    mem_free(logits);
}

/* ------------------------------------------------------------------ what is refused */

static void test_training_refuses_each_key(void **state)
{
    (void)state;
    static const struct {
        const char *key, *value;
        const char *with, *its; /* without which the key has no meaning; it is named first */
    } cases[] = {
        {"pre_norms", "false"},
        {"post_norms", "false"},
        {"activation", "silu"},
        {"qk_norm", "true"},
        {"qkv_biases", "true"},
        {"output_bias", "true"},
        {"renormalise_top_k", "true"},
        {"rope_form", "pairs"},
        {"rope_scaling", "linear"},
        {"rope_factor", "2", "rope_scaling", "linear"},
        {"rope_original_length", "9", "rope_scaling", "linear"},
        {"rope_low_freq", "2"},
        {"rope_high_freq", "8"},
        {"rope_beta_fast", "30"},
        {"rope_beta_slow", "2"},
        {"rope_size", "2", "rope_scaling", "yarn"},
        {"window", "7", "window_layers", "2"},
        {"window_period", "2", "window_layers", "1"},
        {"window_rope_theta", "10000", "window_layers", "2"},
    };
    struct compute_options o = {.dtype = COMPUTE_F32};
    struct error e = {0};
    compute_t *compute;
    model_t *m;
    if (compute_new(&o, &compute, &e) < 0) fail_with(&e);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct model_config c = small_config();
        struct model_options mo = {.compute = compute, .B = 1, .T = 4, .training = true};
        const struct option *row = section_find(&model_section, cases[i].key);
        assert_non_null(row);
        assert_int_equal(model_config_check_trainable(&c, &e), 0);
        if (options_set(row, cases[i].value, &c, NULL, NULL, &e) < 0) fail_with(&e);
        if (cases[i].with) {
            const struct option *other = section_find(&model_section, cases[i].with);
            if (options_set(other, cases[i].its, &c, NULL, NULL, &e) < 0) fail_with(&e);
            if (c.window_layers > 0 && c.window == 0) c.window = 7;
            if (c.rope_scaling == COMPUTE_ROPE_YARN) c.rope_original_length = 9;
        }
        assert_int_equal(model_config_check_trainable(&c, &e), ERROR_CONFIG);
        if (!cases[i].with && (!strstr(e.text, cases[i].key) || !strstr(e.text, cases[i].value)))
            fail_msg("'%s' does not name %s", e.text, cases[i].key);
        assert_int_equal(model_new(&c, &mo, &m, &e), ERROR_CONFIG);
        assert_null(m);
        assert_int_equal(model_config_check_runnable(&c, &e), 0);
        mo.training = false;
        if (model_new(&c, &mo, &m, &e) < 0) fail_with(&e);
        model_free(m);
    }
    compute_free(compute);
}

static void refused(struct model_config c, const char *word)
{
    struct error e = {0};
    assert_int_equal(model_config_check_runnable(&c, &e), ERROR_CONFIG);
    if (!strstr(e.text, word)) fail_msg("'%s' does not say %s", e.text, word);
}

static void test_what_makes_no_sense_is_refused(void **state)
{
    (void)state;
    struct error e = {0};
#define REFUSED(word, ...)                      \
    do {                                        \
        struct model_config c = small_config(); \
        __VA_ARGS__;                            \
        refused(c, word);                       \
    } while (0)
    REFUSED("window_layers", c.window = 4, c.window_layers = 1);
    REFUSED("window_layers", c.window = 4, c.window_layers = 2, c.window_period = 2);
    REFUSED("'window'", c.window_layers = 2);
    REFUSED("'window' is 4", c.window = 4);
    REFUSED("'window_period'", c.window_period = 2);
    REFUSED("'window_rope_theta'", c.window_rope_theta = 500);
    REFUSED("'rope_factor'", c.rope_factor = 4);
    REFUSED("'rope_original_length'", c.rope_original_length = 64);
    REFUSED("'rope_size'", c.rope_size = 2, c.rope_factor = 2,
            c.rope_scaling = COMPUTE_ROPE_LINEAR);
    REFUSED("rope_original_length", c.rope_scaling = COMPUTE_ROPE_LLAMA3);
    REFUSED("rope_original_length", c.rope_scaling = COMPUTE_ROPE_YARN);
    REFUSED("rope_high_freq", c.rope_scaling = COMPUTE_ROPE_LLAMA3, c.rope_original_length = 64,
            c.rope_high_freq = 1);
    REFUSED("rope_beta_fast", c.rope_scaling = COMPUTE_ROPE_YARN, c.rope_original_length = 64,
            c.rope_beta_fast = 1);
    REFUSED("residual_multiplier", c.residual_multiplier = 0.5);
    REFUSED("SiLU", c.architecture = MODEL_LLAMA);
    REFUSED("norms of queries and keys", c.architecture = MODEL_QWEN3, c.post_norms = false,
            c.activation = COMPUTE_SILU);
    REFUSED("clamped SiLU", c.architecture = MODEL_GPT_OSS, c.post_norms = false,
            c.activation = COMPUTE_SILU);
#undef REFUSED
    struct model_config c = small_config();
    c.architecture = MODEL_LLAMA;
    c.post_norms = false;
    c.activation = COMPUTE_SILU;
    assert_int_equal(model_config_check_runnable(&c, &e), 0);
    assert_int_equal(model_config_check_trainable(&c, &e), ERROR_CONFIG);
}

/* config.json names what differs from Grok's form and nothing else, and is read back. */
static void test_config_json(void **state)
{
    (void)state;
    struct model_config c = small_config(), again;
    struct error e = {0};
    json_t *o = model_config_to_json(&c);
    assert_null(json_object_get(o, "activation"));
    assert_null(json_object_get(o, "window"));
    json_decref(o);
    c.activation = COMPUTE_SILU;
    c.rope_form = MODEL_ROPE_PAIRS;
    c.rope_scaling = COMPUTE_ROPE_YARN;
    c.rope_original_length = 77;
    c.pre_norms = false;
    model_config_derive(&c);
    o = model_config_to_json(&c);
    assert_string_equal(json_string_value(json_object_get(o, "activation")), "silu");
    if (model_config_from_json(o, "again", &again, &e) < 0) fail_with(&e);
    assert_memory_equal(&c, &again, sizeof(c));
    json_object_set_new(o, "activation", json_string("relu"));
    assert_int_equal(model_config_from_json(o, "again", &again, &e), ERROR_CONFIG);
    assert_non_null(strstr(e.text, "activation"));
    json_object_set_new(o, "activation", json_true());
    assert_int_equal(model_config_from_json(o, "again", &again, &e), ERROR_CONFIG);
    json_decref(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_window_is_all_that_is_seen),
        cmocka_unit_test(test_training_refuses_each_key),
        cmocka_unit_test(test_what_makes_no_sense_is_refused),
        cmocka_unit_test(test_config_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
