/* test_train_config.c: the run file: what is accepted, what is derived, and what an error says. */
#include "test_train_util.h"

static const char minimal[] = "data:\n  path: d\nmodel:\n  n_layers: 2\n  d_model: 64\n"
                              "  n_heads: 4\n  ffn_hidden: 96\ntrain:\n  tokens: 1M\n";

static int parse(struct fixture *f, const char *text, const char *set, struct train_run_file *out)
{
    f->e = (struct error){0};
    const char *overrides[] = {set};
    const struct train_run_text from = {"my.yaml", text, strlen(text), overrides, set ? 1 : 0};
    return train_config_load(&from, out, &f->e);
}

/* `text` is appended to the minimal file. */
static int parse_more(struct fixture *f, const char *text, struct train_run_file *out)
{
    return parse(f, arena_printf(&f->arena, "%s%s", minimal, text), NULL, out);
}

static void test_defaults_are_grok_1(void **state)
{
    (void)state;
    struct train_config c = {0};
    struct model_config want;
    options_defaults(train_run_rows, train_run_n_rows, &c);
    model_config_defaults(&want);
    assert_true(c.model.rope_theta == want.rope_theta);
    assert_true(c.model.rms_eps == want.rms_eps);
    assert_true(c.model.attn_softcap == want.attn_softcap);
    assert_true(c.model.router_softcap == want.router_softcap);
    assert_true(c.model.final_softcap == want.final_softcap);
    assert_int_equal(c.model.attn_temperature_len, want.attn_temperature_len);
    assert_int_equal(c.model.tied_embeddings, want.tied_embeddings);
    assert_int_equal(c.model.n_experts, 8);
    assert_int_equal(c.model.n_experts_used, 2);
}

static void test_derived_values(void **state)
{
    struct fixture *f = *state;
    struct train_run_file r;
    assert_ok(f, parse(f, minimal, NULL, &r));
    const struct train_config *c = &r.config;
    assert_string_equal(c->name, "my");
    assert_int_equal(c->tokens, 1000000);
    assert_int_equal(c->model.head_dim, 16);
    assert_int_equal(c->model.n_kv_heads, 4);
    assert_int_equal(c->model.context_length, 512);
    assert_int_equal(c->global_batch, c->micro_batch);
    assert_true(fabs(c->model.embedding_multiplier - 8) < 1e-12);
    assert_true(fabs(c->model.output_multiplier - 2 * sqrt(512.0 / 64)) < 1e-12);
    assert_true(fabs(c->model.attn_multiplier - sqrt(128) / 16) < 1e-12);
    assert_int_equal(train_config_steps(c, c->tokens), 245); /* 1,000,000 / 4,096, rounded up */
    train_config_free(&r);
}

static void test_multiplier_of_the_file_stays(void **state)
{
    struct fixture *f = *state;
    struct train_run_file r;
    assert_ok(f, parse(f, minimal, "model.output_multiplier=0.25", &r));
    assert_true(r.config.model.output_multiplier == 0.25);
    train_config_free(&r);
}

static void test_balance_decides_about_losses(void **state)
{
    struct fixture *f = *state;
    struct train_run_file r;
    assert_ok(f, parse_more(f, "balance:\n  kind: bias\n", &r));
    assert_true(r.config.model.router_aux_coef == 0);
    assert_true(r.config.model.router_z_coef == 0.001);
    train_config_free(&r);
    assert_ok(f, parse(f, arena_printf(&f->arena, "%sbalance:\n  kind: bias\n", minimal),
                       "model.router_aux_coef=0.01", &r));
    assert_true(r.config.model.router_aux_coef == 0.01); /* asked for */
    train_config_free(&r);
    assert_ok(f, parse(f, minimal, NULL, &r));
    assert_int_equal(r.config.balance, TRAIN_BALANCE_QUANTILE);
    assert_true(r.config.model.router_aux_coef == 0.01);
    train_config_free(&r);
    assert_ok(f, parse_more(f, "balance:\n  kind: none\n", &r));
    assert_true(r.config.model.router_aux_coef == 0 && r.config.model.router_z_coef == 0);
    train_config_free(&r);
}

static void test_dense_model(void **state)
{
    struct fixture *f = *state;
    struct train_run_file r;
    assert_ok(f, parse(f, minimal, "model.n_experts=1", &r));
    assert_int_equal(r.config.model.n_experts_used, 1);
    assert_true(r.config.model.router_aux_coef == 0);
    train_config_free(&r);
}

static void test_errors_name_line_and_nearest_key(void **state)
{
    struct fixture *f = *state;
    struct train_run_file r;
    assert_error(f, parse_more(f, "optimizer:\n  learnig: 1\n", &r), "my.yaml:11", "learnig");
    assert_int_equal(f->e.code, ERROR_CONFIG);
    assert_error(f, parse_more(f, "batch:\n  micro_bach: 1\n", &r), "my.yaml:11", "micro_bach");
    assert_non_null(strstr(f->e.hint, "micro_batch"));
    assert_error(f, parse_more(f, "batch:\n  seq_len: many\n", &r), "my.yaml:11", "batch.seq_len",
                 "many");
    assert_error(f, parse_more(f, "train:\n  seed: 1\n", &r), "my.yaml", "train");
    assert_error(f, parse(f, "data:\n  path: x\n", NULL, &r), "train.tokens");
    assert_error(f, parse_more(f, "schedule:\n  kind: cosin\n", &r), "my.yaml:11", "cosine");
    assert_non_null(strstr(f->e.hint, "cosine"));
}

static void test_errors_of_relations(void **state)
{
    struct fixture *f = *state;
    struct train_run_file r;
    assert_error(f, parse_more(f, "batch:\n  micro_batch: 3\n  global_batch: 8\n", &r),
                 "my.yaml:12", "global_batch 8", "micro_batch 3");
    assert_non_null(strstr(f->e.hint, "9"));
    assert_error(f, parse(f, minimal, "model.context_length=100", &r), "batch.seq_len 512",
                 "model.context_length 100");
    assert_error(f, parse_more(f, "schedule:\n  warmup_tokens: 2M\n", &r), "my.yaml:11",
                 "warmup_tokens 2000000", "train.tokens 1000000");
    assert_error(f,
                 parse_more(f,
                            "schedule:\n  kind: wsd\n  warmup_tokens: 600k\n"
                            "  decay_tokens: 500k\n",
                            &r),
                 "my.yaml:12", "decay_tokens 500000");
    assert_error(f, parse(f, minimal, "model.n_layers=0", &r), "model.n_layers is missing");
    assert_error(f, parse(f, minimal, "model.n_kv_heads=3", &r), "n_kv_heads");
    assert_error(f, parse(f, minimal, "model.n_experts_used=9", &r), "n_experts_used");
    assert_error(f, parse(f, minimal, "name=a/b", &r), "name 'a/b'");
    const char *bias = arena_printf(&f->arena, "%sbalance:\n  kind: bias\n", minimal);
    assert_error(f, parse(f, bias, "model.n_experts=1", &r), "my.yaml:11", "balance.kind",
                 "n_experts");
}

/* An error of the model stands at its key: in the file or on the command line. */
static void test_model_errors_name_their_key(void **state)
{
    struct fixture *f = *state;
    struct train_run_file r;
    assert_error(f, parse(f, minimal, "model.head_dim=3", &r), "--set model.head_dim: model");
    assert_error(f, parse(f, minimal, "model.n_heads=60", &r), "--set model.n_heads", "head_dim");
    const char *text = "data:\n  path: d\nmodel:\n  n_layers: 2\n  d_model: 64\n  n_heads: 4\n"
                       "  ffn_hidden: 96\n  head_dim: 15\ntrain:\n  tokens: 1M\n";
    assert_error(f, parse(f, text, NULL, &r), "my.yaml:8: model", "head_dim");
}

/* What a key's row allows is what the model allows: no value passes one and not the other. 0 may
 * stand for "derived" in the row alone. */
static void test_bounds_are_the_models(void **state)
{
    struct fixture *f = *state;
    struct train_run_file r;
    int n = 0;
    for (size_t i = 0; i < train_run_n_rows; i++) {
        const struct option *row = &train_run_rows[i];
        bool number = row->type == OPTION_INT || row->type == OPTION_REAL;
        if (strncmp(row->name, "model.", 6) != 0 || !number) continue;
        assert_ok(f, parse(f, minimal, NULL, &r));
        struct model_config m = r.config.model;
        train_config_free(&r);
        m.vocab_size = 300;
        char *at = (char *)&m + (row->offset - offsetof(struct train_config, model));
        char *refused = arena_printf(&f->arena, "model field '%s' is", row->name + 6);
        for (int beyond = 0; beyond < 2; beyond++) {
            double value = row->max + beyond * fmax(1, 1e-3 * row->max);
            if (row->type == OPTION_INT)
                *(int64_t *)(void *)at = (int64_t)value;
            else
                *(double *)(void *)at = value;
            struct error e = {0};
            model_config_check(&m, &e);
            bool range = strstr(e.text, refused) && strstr(e.text, "allowed is") &&
                         !strstr(e.text, "n_experts (");
            if (range != (beyond == 1))
                fail_msg("%s = %g: %s", row->name, value, e.text[0] ? e.text : "accepted");
        }
        n++;
    }
    assert_true(n >= 20);
}

static void test_overrides(void **state)
{
    struct fixture *f = *state;
    struct train_run_file r;
    assert_ok(f, parse(f, minimal, "optimizer.lr=0.5", &r));
    assert_true(r.config.lr == 0.5);
    train_config_free(&r);
    assert_error(f, parse(f, minimal, "optimizer.lrr=0.5", &r), "--set", "optimizer.lrr");
    assert_non_null(strstr(f->e.hint, "optimizer.lr"));
    assert_error(f, parse(f, minimal, "optimizer.lr", &r), "--set", "key=value");
    assert_error(f, parse(f, minimal, "optimizer.lr=-1", &r), "--set", "optimizer.lr");
    /* a key that the file lacks may come from the command line alone */
    assert_ok(f, parse(f,
                       "data:\n  path: d\nmodel:\n  n_layers: 2\n  d_model: 64\n  n_heads: 4\n"
                       "  ffn_hidden: 96\n",
                       "train.tokens=5k", &r));
    assert_int_equal(r.config.tokens, 5000);
    train_config_free(&r);
}

static void test_preset(void **state)
{
    struct fixture *f = *state;
    struct train_run_file r;
    const char *preset = fixture_puts(f, "presets/models/tiny.yaml",
                                      "model:\n  n_layers: 3\n  d_model: 48\n  n_heads: 3\n"
                                      "  ffn_hidden: 64\n  final_softcap: 50\n");
    const char *text = arena_printf(&f->arena,
                                    "data:\n  path: d\nmodel:\n  preset: %s\n  n_layers: 5\n"
                                    "train:\n  tokens: 1M\n",
                                    preset);
    assert_ok(f, parse(f, text, NULL, &r));
    assert_int_equal(r.config.model.n_layers, 5);
    assert_int_equal(r.config.model.d_model, 48);
    assert_true(r.config.model.final_softcap == 50);
    struct str printed = {0};
    train_config_print(&r, &printed);
    assert_non_null(strstr(printed.data, "d_model: 48  # preset\n"));
    assert_non_null(strstr(printed.data, "n_layers: 5  # my.yaml\n"));
    str_fini(&printed);
    train_config_free(&r);
    assert_ok(f, parse(f, text, "model.d_model=96", &r));
    assert_int_equal(r.config.model.d_model, 96);
    train_config_free(&r);

    setenv("COLOSSUS_PRESETS", fixture_path(f, "presets"), 1);
    assert_ok(f, parse(f, minimal, "model.preset=tiny", &r));
    assert_true(r.config.model.final_softcap == 50);
    assert_int_equal(r.config.model.n_layers, 2); /* the file's own keys come on top */
    train_config_free(&r);
    assert_error(f, parse(f, minimal, "model.preset=nothing", &r), "no model 'nothing'");
    assert_non_null(strstr(f->e.hint, "presets that can be trained: "));
    assert_null(strstr(f->e.hint, "bloom"));
    unsetenv("COLOSSUS_PRESETS");

    /* of another family: says what is missing, and what can be trained instead */
    assert_error(f, parse(f, minimal, "model.preset=llama-3-8b", &r), "'llama'", "SiLU");
    assert_non_null(strstr(f->e.hint, "grok-1"));
    assert_null(strstr(f->e.hint, "llama-3-70b"));
    assert_error(f, parse(f, minimal, "model.preset=deepseek-v3", &r), "latent attention");
    assert_ok(f, parse(f, minimal, "model.preset=dense-768", &r));
    assert_true(r.config.model.n_experts == 1 && r.config.model.d_model == 64);
    train_config_free(&r);
    /* a preset may leave sizes to the run file */
    fixture_puts(f, "presets/models/caps.yaml", "final_softcap: 20\nglu: true\n");
    text = arena_printf(&f->arena, "model.preset=%s", fixture_path(f, "presets/models/caps.yaml"));
    assert_ok(f, parse(f, minimal, text, &r));
    assert_true(r.config.model.final_softcap == 20);
    train_config_free(&r);

    fixture_puts(f, "presets/models/bad.yaml", "model:\n  n_layer: 3\n");
    text = arena_printf(&f->arena, "%s", fixture_path(f, "presets/models/bad.yaml"));
    assert_error(f, parse(f, minimal, arena_printf(&f->arena, "model.preset=%s", text), &r),
                 "bad.yaml:2", "n_layer");
}

static void test_effective_file_reads_back(void **state)
{
    struct fixture *f = *state;
    struct train_run_file r, again;
    struct str text = {0}, differences = {0};
    size_t n_fixed;
    assert_ok(f, parse(f, minimal, "optimizer.lr=0.0123456789", &r));
    train_config_print(&r, &text);
    assert_non_null(strstr(text.data, "# derived"));
    assert_non_null(strstr(text.data, "# my.yaml"));
    assert_non_null(strstr(text.data, "# flag"));
    assert_non_null(strstr(text.data, "# default"));
    assert_ok(f, parse(f, text.data, NULL, &again));
    assert_int_equal(train_config_differences(&r.config, &again.config, &differences, &n_fixed), 0);
    assert_string_equal(again.config.name, "my");
    assert_true(again.config.lr == r.config.lr);
    assert_true(again.config.model.output_multiplier == r.config.model.output_multiplier);
    train_config_free(&r);
    train_config_free(&again);
    str_fini(&text);
    str_fini(&differences);
}

static void test_differences(void **state)
{
    struct fixture *f = *state;
    struct train_run_file a, b;
    struct str out = {0};
    size_t n_fixed;
    assert_ok(f, parse(f, minimal, NULL, &a));
    assert_ok(f, parse(f, minimal, "optimizer.lr=0.5", &b));
    assert_int_equal(train_config_differences(&a.config, &b.config, &out, &n_fixed), 1);
    assert_int_equal(n_fixed, 0);
    assert_string_equal(out.data, "optimizer.lr: 0.002, now 0.5");
    train_config_free(&b);
    assert_ok(f, parse(f, minimal, "train.threads=7", &b));
    assert_int_equal(train_config_differences(&a.config, &b.config, &out, &n_fixed), 0);
    train_config_free(&b);
    assert_ok(f, parse(f, minimal, "model.n_layers=3", &b));
    assert_int_equal(train_config_differences(&a.config, &b.config, &out, &n_fixed), 1);
    assert_int_equal(n_fixed, 1);
    train_config_free(&b);
    train_config_free(&a);
    str_fini(&out);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults_are_grok_1),
        TEST(test_derived_values),
        TEST(test_multiplier_of_the_file_stays),
        TEST(test_balance_decides_about_losses),
        TEST(test_dense_model),
        TEST(test_errors_name_line_and_nearest_key),
        TEST(test_errors_of_relations),
        TEST(test_model_errors_name_their_key),
        TEST(test_bounds_are_the_models),
        TEST(test_overrides),
        TEST(test_preset),
        TEST(test_effective_file_reads_back),
        TEST(test_differences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
