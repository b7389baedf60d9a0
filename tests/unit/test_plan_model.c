/* Sizes of published models against what their authors state, and what is refused. */
#include "plan/step/plan_step_internal.h"

#include <math.h>

#include "test_cmocka.h"
#include "test_published_models.h"

static const struct model_config llama_70b = {.n_layers = 80,
                                              .d_model = 8192,
                                              .n_heads = 64,
                                              .n_kv_heads = 8,
                                              .head_dim = 128,
                                              .vocab_size = 128256,
                                              .ffn_hidden = 28672,
                                              .glu = true};
static const struct model_config deepseek_v3 = {DEEPSEEK_V3_WIDTHS, .n_layers = 61,
                                                .dense_layers = 3};
static const struct model_config gpt_175b = {GPT_3_175B};

static void assert_near(double value, double expected, double share)
{
    if (fabs(value / expected - 1) > share)
        fail_msg("%g is not within %g %% of %g", value, share * 100, expected);
}

static void parameters_are_those_published(void **state)
{
    (void)state;
    assert_near(plan_model_params(&llama_70b), 70.6e9, 0.005);
    assert_near(plan_model_active_params(&llama_70b), 70.6e9, 0.005);
    assert_near(plan_model_params(&gpt_175b), 174.6e9, 0.005);
    assert_near(plan_model_params(&deepseek_v3), 671e9, 0.005); /* arXiv:2412.19437 */
    assert_near(plan_model_active_params(&deepseek_v3), 37.6e9, 0.01);
}

/* arXiv:2104.04473, equation 3 less the recomputed quarter: 72 B s l h^2 (1 + s/6h + V/12lh). */
static void flops_are_the_papers_formula(void **state)
{
    (void)state;
    double l = 96, h = 12288, s = 2048, V = 51200;
    double paper = 72 * l * h * h * (1 + s / (6 * h) + V / (12 * l * h));
    assert_near(plan_model_flops_per_token(&gpt_175b, 2048, false), paper, 0.001);
    double causal = paper - 6 * l * s * h;
    assert_near(plan_model_flops_per_token(&gpt_175b, 2048, true), causal, 0.001);
}

/* TFLOP/s over tokens/s of published rows: 1,587.4 causal TFLOP/s at 6,338 tokens/s would count no
 * multi-token prediction; with it NVIDIA counts 260.7 GFLOP a token. */
static void latent_attention_and_prediction_layers_count(void **state)
{
    (void)state;
    struct model_config with = deepseek_v3;
    with.mtp_layers = 1;
    assert_near(plan_model_flops_per_token(&deepseek_v3, 4096, true), 1587.4e12 / 6338, 0.01);
    assert_near(plan_model_flops_per_token(&with, 4096, true), 260.7e9, 0.005);
}

static void hybrids_are_near_what_their_rows_imply(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double params, gflops;
    } known[] = {{"nemotron-3-nano", 31.6e9, 22.1},
                 {"nemotron-3-super", 121e9, 84.3},
                 {"nemotron-3-ultra", 550e9, 360.6}};
    struct model_config m;
    struct arena a;
    struct error e = {0};
    arena_init(&a);
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        assert_int_equal(plan_load_model(known[i].name, "", &a, &m, &e), 0);
        assert_int_equal(model_config_check_shape(&m, NULL), 0);
        assert_near(plan_model_params(&m), known[i].params, 0.05);
        assert_near(plan_model_flops_per_token(&m, 8192, true), known[i].gflops * 1e9, 0.08);
        assert_int_equal(m.n_layers, m.mamba_layers + plan_model_attention_layers(&m) +
                                         plan_model_ffn_layers(&m));
    }
    arena_fini(&a);
}

static void a_window_cuts_what_a_query_sees(void **state)
{
    (void)state;
    struct model_config m = llama_70b;
    m.window = 128;
    assert_near(plan_model_context(&m, 4096, false, true), 2048, 1e-9);
    assert_near(plan_model_context(&m, 4096, true, true), 128 - 128.0 * 128 / 8192, 1e-9);
    assert_near(plan_model_context(&m, 64, true, true), 32, 1e-9); /* wider than the text */
}

static void nonsense_is_refused_by_name(void **state)
{
    (void)state;
    struct error e = {0};
    struct model_config m = llama_70b;
    m.n_kv_heads = 7;
    assert_true(model_config_check_shape(&m, &e) < 0);
    assert_non_null(strstr(e.text, "kv_heads"));
    m = llama_70b;
    m.window_layers = 81;
    assert_true(model_config_check_shape(&m, &e) < 0);
    assert_non_null(strstr(e.text, "window_layers"));
    m = llama_70b;
    m.mamba_layers = 80;
    m.attention_layers = 1;
    m.mamba_inner = m.mamba_state = 64;
    assert_true(model_config_check_shape(&m, &e) < 0);
    assert_non_null(strstr(e.text, "n_layers"));
    m = deepseek_v3;
    m.n_experts_used = 300;
    assert_true(model_config_check_shape(&m, &e) < 0);
    assert_non_null(strstr(e.text, "n_experts_used"));
    m = deepseek_v3;
    m.mla_kv_rank = 0;
    assert_true(model_config_check_shape(&m, &e) < 0);
    assert_non_null(strstr(e.text, "mla.kv_rank"));
    assert_int_equal(model_config_check_shape(&deepseek_v3, &e), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_are_those_published),
        cmocka_unit_test(flops_are_the_papers_formula),
        cmocka_unit_test(latent_attention_and_prediction_layers_count),
        cmocka_unit_test(hybrids_are_near_what_their_rows_imply),
        cmocka_unit_test(a_window_cuts_what_a_query_sees),
        cmocka_unit_test(nonsense_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
