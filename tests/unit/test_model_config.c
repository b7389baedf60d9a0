/* test_model_config.c: defaults, multipliers, checks, JSON, sizes; the parameter table. */
#include "test_model_support.h"

#include <unistd.h>

/* ------------------------------------------------------------------ multipliers, sizes */

static struct model_config grok1(void)
{
    struct model_config c;
    model_config_defaults(&c);
    c.vocab_size = 131072;
    c.n_layers = 64;
    c.d_model = 6144;
    c.n_heads = 48;
    c.n_kv_heads = 8;
    c.head_dim = 128;
    c.ffn_hidden = 32768;
    c.n_experts = 8;
    c.n_experts_used = 2;
    return c;
}

static struct model_config grok2(void)
{
    struct model_config c = grok1();
    c.d_model = 8192;
    c.n_heads = 64;
    c.ffn_hidden = 16384;
    c.dense_ffn_hidden = 32768;
    c.tied_embeddings = false;
    return c;
}

/* The constants that xai-org/grok-1 run.py and the Grok-2 configuration spell out. */
static void test_multipliers_are_grok(void **state)
{
    (void)state;
    struct model_config one = grok1(), two = grok2();
    assert_true(one.embedding_multiplier == 0);
    model_config_derive(&one);
    model_config_derive(&two);
    assert_true(fabs(one.embedding_multiplier - 78.38367176906169) < 1e-13);
    assert_true(fabs(one.output_multiplier - 0.5773502691896257) < 1e-15);
    assert_true(fabs(one.attn_multiplier - 0.08838834764831845) < 1e-16);
    assert_true(fabs(two.embedding_multiplier - 90.50966799187809) < 1e-13);
    assert_true(two.output_multiplier == 0.5);
    one.output_multiplier = 0.25; /* a value that is given stays */
    model_config_derive(&one);
    assert_true(one.output_multiplier == 0.25);
}

/* 314 B and 270 B as published; active as computed from the shapes (84 B and 115 B). */
static void test_parameter_counts(void **state)
{
    (void)state;
    struct model_config one = grok1(), two = grok2();
    assert_true(fabs((double)model_config_total_params(&one) / 1e9 - 315.68) < 0.01);
    assert_true(fabs((double)model_config_active_params(&one) / 1e9 - 83.76) < 0.02);
    assert_true(fabs((double)model_config_total_params(&two) / 1e9 - 269.5) < 0.05);
    assert_true(fabs((double)model_config_active_params(&two) / 1e9 - 114.9) < 0.05);

    struct model_config c[] = {small_config(), small_grok2(), small_dense()};
    for (size_t i = 0; i < ARRAY_LEN(c); i++) {
        struct arena a;
        struct param_table t;
        uint64_t sum = 0;
        arena_init(&a);
        model_params_build(&c[i], &a, &t);
        for (size_t k = 0; k < t.n_rows; k++)
            sum += t.rows[k].count;
        assert_int_equal(sum, model_config_total_params(&c[i]));
        arena_fini(&a);
    }
}

static void test_flops_per_token(void **state)
{
    (void)state;
    struct model_config c = small_dense();
    double D = 24, h = 8, matrices = 2 * D * h * (4 + 2) + 3 * D * 20;
    double want = 6 * (2 * matrices + 61 * D) + 12 * 2 * (4 * h) * 100 / 2;
    assert_true(model_config_train_flops_per_token(&c, 100) == want);
    c.tied_embeddings = false; /* the embedding table is looked up, not multiplied */
    assert_true(model_config_train_flops_per_token(&c, 100) == want);
    struct model_config e = small_config();
    matrices = 2 * D * h * (4 + 2) + 4 * D + 2 * 3 * D * 20;
    want = 6 * (2 * matrices + 61 * D) + 12 * 2 * (4 * h) * 7 / 2;
    assert_true(model_config_train_flops_per_token(&e, 7) == want);
}

/* ------------------------------------------------------------------ checks */

static void expect_refused(const struct model_config *c, const char *word)
{
    struct error e = {0};
    assert_int_equal(model_config_check_runnable(c, &e), ERROR_CONFIG);
    if (!strstr(e.text, word)) fail_msg("'%s' does not name %s", e.text, word);
}

static void test_check_names_the_field(void **state)
{
    (void)state;
    struct model_config good = small_grok2(), c;
    struct error e = {0};
    assert_int_equal(model_config_check_runnable(&good, &e), 0);
#define REFUSED(change, word)     \
    do {                          \
        c = good;                 \
        change;                   \
        expect_refused(&c, word); \
    } while (0)
    REFUSED(c.vocab_size = 0, "vocab_size");
    REFUSED(c.n_layers = 0, "n_layers");
    REFUSED(c.n_layers = 1 << 20, "n_layers");
    REFUSED(c.d_model = -3, "d_model");
    REFUSED(c.head_dim = 7, "head_dim");
    REFUSED(c.n_kv_heads = 3, "n_kv_heads");
    REFUSED(c.n_experts_used = 5, "n_experts_used");
    REFUSED(c.n_experts_used = 0, "n_experts_used");
    REFUSED(c.rms_eps = NAN, "rms_eps");
    REFUSED(c.rope_theta = 0, "rope_theta");
    REFUSED(c.attn_softcap = -1, "attn_softcap");
    REFUSED(c.attn_temperature_len = 1, "attn_temperature_len");
    REFUSED(c.output_multiplier = INFINITY, "output_multiplier");
    REFUSED((c.n_experts = 1, c.n_experts_used = 1), "dense_ffn_hidden");
    REFUSED((c.n_experts = 4096, c.ffn_hidden = 1 << 22, c.d_model = 1 << 18), "parameters");
    /* a count that would wrap in 64 bits */
    REFUSED((c.n_layers = 1 << 14, c.d_model = 1 << 20, c.ffn_hidden = 1 << 22, c.n_experts = 256),
            "parameters");
#undef REFUSED
}

/* Each thing that a plan can count and this program cannot run, alone. */
static void test_what_cannot_run_is_named(void **state)
{
    (void)state;
    struct model_config good = small_grok2(), c;
    struct error e = {0};
    assert_int_equal(model_config_check_runnable(&good, &e), 0);
#define MISSING(change, word)                                                      \
    do {                                                                           \
        c = good;                                                                  \
        change;                                                                    \
        assert_int_equal(model_config_check_runnable(&c, &e), ERROR_CONFIG);       \
        if (!strstr(e.text, word)) fail_msg("'%s' does not say %s", e.text, word); \
    } while (0)
    MISSING(c.architecture = MODEL_LLAMA, "SiLU");
    MISSING(c.architecture = MODEL_BLOOM, "ALiBi");
    MISSING(c.glu = false, "gate");
    MISSING(c.attention = MODEL_ATTENTION_MLA, "latent attention");
    MISSING(c.shared_ffn_hidden = 8, "shared");
    MISSING(c.dense_layers = 1, "without experts");
    MISSING(c.mtp_layers = 1, "multi-token");
    MISSING(c.mamba_layers = 1, "Mamba");
    MISSING(c.moe_latent = 8, "another width");
    MISSING(c.head_dim = 2048, "1024");
    MISSING(c.n_experts = 5000, "4096");
#undef MISSING
}

/* Every preset is in the one schema; those of Grok's family run, no other does. */
static void test_presets(void **state)
{
    (void)state;
    struct arena a;
    struct error e = {0};
    const char *names[256];
    arena_init(&a);
    struct yaml_reader r = {"", &a, &e, 0};
    size_t n = preset_list(&r, "models", names, ARRAY_LEN(names)), runnable = 0;
    assert_true(n >= 45);
    for (size_t i = 0; i < n; i++) {
        struct model_config c;
        if (preset_load(&model_kind, names[i], NULL, &a, &c, &e) < 0) fail_msg("%s", e.text);
        assert_string_equal(c.name, names[i]);
        model_config_derive(&c);
        bool runs = model_config_check_runnable(&c, &e) >= 0;
        if (runs != (c.architecture == MODEL_GROK)) fail_msg("%s: %s", names[i], e.text);
        runnable += runs;
    }
    assert_true(runnable >= 6);
    assert_non_null(strstr(model_config_trainable_presets(&r), "grok-1, grok-2"));
    arena_fini(&a);
}

/* ------------------------------------------------------------------ JSON */

static int parse(const char *text, struct model_config *c, struct error *e)
{
    json_t *o = NULL;
    if (json_parse(text, strlen(text), "model.json", &o, e) < 0) return ERROR_FAILED;
    int rc = model_config_from_json(o, "model.json", c, e);
    json_decref(o);
    return rc;
}

#define SIZES                                                                                    \
    "\"vocab_size\": 320, \"n_layers\": 2, \"d_model\": 48, \"n_heads\": 4, \"n_kv_heads\": 2, " \
    "\"head_dim\": 16, \"ffn_hidden\": 80, \"n_experts\": 4, \"n_experts_used\": 2"

static void test_json_fills_in_what_is_left_out(void **state)
{
    (void)state;
    struct model_config c;
    struct error e = {0};
    assert_int_equal(parse("{" SIZES ", \"_note\": [1], \"optimizer\": {\"lr\": 1}}", &c, &e), 0);
    assert_int_equal(c.ffn_hidden, 80);
    assert_int_equal(c.context_length, 8192);
    assert_true(c.tied_embeddings && c.attn_softcap == 30 && c.router_softcap == 0);
    assert_true(fabs(c.embedding_multiplier - sqrt(48)) < 1e-14);
    assert_int_equal(parse("{" SIZES ", \"rope_theta\": 500, \"tied_embeddings\": false}", &c, &e),
                     0);
    assert_true(c.rope_theta == 500 && !c.tied_embeddings);
}

static void expect_json_refused(const char *text, const char *word, const char *hint)
{
    struct model_config c;
    struct error e = {0};
    assert_true(parse(text, &c, &e) < 0);
    if (!strstr(e.text, word) || !strstr(e.text, "model.json") || !strstr(e.hint, hint))
        fail_msg("'%s' / '%s' lacks '%s' / '%s'", e.text, e.hint, word, hint);
}

static void test_json_errors(void **state)
{
    (void)state;
    expect_json_refused("[]", "object", "");
    expect_json_refused("{}", "'vocab_size' is missing", "");
    expect_json_refused("{" SIZES ", \"rope_tehta\": 1}", "'rope_tehta'", "rope_theta");
    expect_json_refused("{" SIZES ", \"rope_theta\": \"1\"}", "'rope_theta' must be a number", "");
    expect_json_refused("{" SIZES ", \"context_length\": 1.5}", "whole number", "");
    expect_json_refused("{" SIZES ", \"tied_embeddings\": 1}", "true or false", "");
    expect_json_refused("{" SIZES ", \"attn_softcap\": -1}", "attn_softcap", "");
    expect_json_refused("{" SIZES ", \"n_layers\": 2}", "n_layers", "");
}

static void test_json_round_trip(void **state)
{
    (void)state;
    struct model_config c = small_grok2(), d;
    struct error e = {0};
    c.rope_theta = 208533496.0;
    c.rms_eps = 1.0 / 3;
    json_t *o = model_config_to_json(&c);
    char *text = json_dumps(o, 0);
    assert_int_equal(parse(text, &d, &e), 0);
    json_t *again = model_config_to_json(&d);
    assert_true(json_equal(o, again));
    assert_true(d.rms_eps == c.rms_eps && d.output_multiplier == c.output_multiplier);
    free(text);
    json_decref(o);
    json_decref(again);
}

/* ------------------------------------------------------------------ the parameter table */

/* The reference's order, and the safetensors header of a golden folder as witness of the shapes. */
static void test_table_is_the_references(void **state)
{
    (void)state;
    const char *folders[] = {"tests/golden/data/grok-2-small", "tests/golden/data/dense-untied",
                             "tests/golden/data/top-1"};
    for (size_t f = 0; f < ARRAY_LEN(folders); f++) {
        struct arena a;
        struct error e = {0};
        struct model_config c;
        struct param_table t;
        struct safetensors st;
        arena_init(&a);
        if (model_config_load(file_join(&a, folders[f], "config.json"), &c, &e) < 0 ||
            safetensors_open(file_join(&a, folders[f], "weights.safetensors"), &st, &e) < 0)
            fail_with(&e);
        model_params_build(&c, &a, &t);
        assert_int_equal(t.n_rows, st.n_entries);
        size_t offset = 0;
        for (size_t i = 0; i < t.n_rows; i++) {
            const struct param *p = &t.rows[i];
            const struct safetensors_entry *s = safetensors_find(&st, p->name);
            assert_non_null(s);
            assert_ptr_equal(s->data,
                             i ? (const uint8_t *)st.entries[0].data + offset : st.entries[0].data);
            offset += s->bytes;
            assert_int_equal(p->count * 4, s->bytes);
            assert_int_equal(p->n_dims, s->n_dims);
            for (int d = 0; d < p->n_dims; d++)
                assert_int_equal(p->shape[d], s->shape[d]);
            assert_int_equal(p->offset % 16, 0);
            assert_ptr_equal(param_find(&t, p->name), p);
        }
        assert_null(param_find(&t, "blk.0.attn_qq.weight"));
        safetensors_close(&st);
        arena_fini(&a);
    }
}

static const struct param *find(const struct param_table *t, const char *name)
{
    const struct param *p = param_find(t, name);
    assert_non_null(p);
    return p;
}

static bool near(double x, double want)
{
    return fabs(x - want) <= 1e-12 * fabs(want);
}

static void test_learning_rates_and_decay(void **state)
{
    (void)state;
    struct arena a;
    struct param_table t;
    struct model_config c = grok2();
    arena_init(&a);
    model_params_build(&c, &a, &t);
    const struct param *p = find(&t, "token_embd.weight");
    assert_true(near(p->lr_multiplier, 0.5 * sqrt(512.0 / 8192)) && !p->decay);
    assert_true(near(p->init_std, 0.5 / sqrt(8192)));
    p = find(&t, "output.weight");
    assert_true(near(p->lr_multiplier, 0.5 * sqrt(512.0 / 8192)) && !p->decay);
    p = find(&t, "blk.3.attn_norm.weight");
    assert_true(p->lr_multiplier == 1 && !p->decay);
    p = find(&t, "blk.3.attn_q.weight");
    assert_true(near(p->lr_multiplier, 512.0 / 8192) && p->decay && p->fan_in == 8192);
    assert_true(near(p->init_std, 1 / sqrt(8192)));
    p = find(&t, "blk.3.ffn_down_exps.weight");
    assert_true(near(p->lr_multiplier, 1024.0 / 16384 * 2 / 3) && p->decay);
    assert_int_equal(p->fan_in, 16384);
    p = find(&t, "blk.63.ffn_down.weight");
    assert_true(near(p->lr_multiplier, 1024.0 / 32768 * 2 / 3) && p->decay);
    p = find(&t, "blk.63.ffn_gate_inp.weight");
    assert_true(near(p->lr_multiplier, 512.0 / 8192) && p->decay);
    /* at width 512 with its usual hidden size the base learning rate is a matrix's own */
    c.d_model = 512;
    model_params_build(&c, &a, &t);
    assert_true(find(&t, "blk.0.ffn_up_exps.weight")->lr_multiplier == 1);
    arena_fini(&a);
}

static void test_initial_weights(void **state)
{
    (void)state;
    struct rig r, two;
    struct model_config c = small_grok2();
    c.d_model = 96;
    rig_open(&r, &c, 1, 2, (struct rig_options){COMPUTE_F32, COMPUTE_REFERENCE, 1, false});
    rig_open(&two, &c, 2, 3, (struct rig_options){COMPUTE_F32, COMPUTE_REFERENCE, 2, false});
    model_init_weights(r.model, 7);
    model_init_weights(two.model, 7);
    const struct param_table *t = model_params(r.model);
    const float *w = model_weights(r.model);
    assert_memory_equal(w, model_weights(two.model), t->total * sizeof(float));
    for (size_t i = 0; i < t->n_rows; i++) {
        const struct param *p = &t->rows[i];
        double sum = 0, squares = 0, n = (double)p->count;
        for (size_t k = 0; k < p->count; k++) {
            sum += (double)w[p->offset + k];
            squares += (double)w[p->offset + k] * (double)w[p->offset + k];
        }
        if (p->kind == PARAM_NORM) {
            assert_true(sum == n && squares == n);
            continue;
        }
        /* five deviations of the sample's own mean and deviation */
        assert_true(fabs(sum / n) < 5 * p->init_std / sqrt(n));
        assert_true(fabs(sqrt(squares / n) / p->init_std - 1) < 5 / sqrt(2 * n));
    }
    model_init_weights(two.model, 8);
    assert_memory_not_equal(w, model_weights(two.model), t->total * sizeof(float));
    rig_close(&r);
    rig_close(&two);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_multipliers_are_grok),
        cmocka_unit_test(test_parameter_counts),
        cmocka_unit_test(test_flops_per_token),
        cmocka_unit_test(test_check_names_the_field),
        cmocka_unit_test(test_what_cannot_run_is_named),
        cmocka_unit_test(test_presets),
        cmocka_unit_test(test_json_fills_in_what_is_left_out),
        cmocka_unit_test(test_json_errors),
        cmocka_unit_test(test_json_round_trip),
        cmocka_unit_test(test_table_is_the_references),
        cmocka_unit_test(test_learning_rates_and_decay),
        cmocka_unit_test(test_initial_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
