/* test_plan_rows.c: words in a table of published runs mean what docs/reference/validation-rows.md
 * says, and a word that means nothing is an error with the line, the column and what is allowed. */
#include "test_cmocka.h"

#include "plan/validate/plan_validate_internal.h"
#include "test_plan_rows_util.h"

#define HEAD                                                                            \
    "source,model,gpu,n_gpus,layers,hidden,heads,kv_heads,vocab,glu,attn,seq_len,tp,pp" \
    ",recompute,dist_opt,step_time_s,precision,mem_gib,tok_s_gpu\n"

struct words {
    const char *n_gpus, *glu, *attn, *recompute, *dist_opt, *step_s, *precision, *gpu, *mem_gib,
        *tok_s_gpu;
};
#define GOOD .n_gpus = "8", .glu = "1", .attn = "GQA", .step_s = "1.5"

static int parse(struct fixture *f, const struct words *w)
{
    const char *text = arena_printf(
        &f->a,
        HEAD "x,m,h100,8,4,512,8,8,32000,1,MHA,2048,1,1,none,ZeRO-1,1,,,\n"
             "x,m,%s,%s,4,512,8,8,32000,%s,\"%s\",2048,1,1,\"%s\",%s,%s,%s,%s,%s\n",
        w->gpu ? w->gpu : "h100", w->n_gpus, w->glu, w->attn, w->recompute ? w->recompute : "",
        w->dist_opt ? w->dist_opt : "", w->step_s, w->precision ? w->precision : "",
        w->mem_gib ? w->mem_gib : "", w->tok_s_gpu ? w->tok_s_gpu : "");
    f->e = (struct error){0};
    return plan_rows_parse(text, strlen(text), "runs.csv", &f->a, &f->t, &f->e);
}

static void known_precisions(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *text;
        int precision;
    } known[] = {
        {"BF16", MACHINE_BF16},  {"bfloat16", MACHINE_BF16},      {"fp16", MACHINE_BF16},
        {"FP8-CS", MACHINE_FP8}, {"float8 rowwise", MACHINE_FP8}, {"float32", MACHINE_FP32},
        {"", MACHINE_BF16}};
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        const struct words w = {GOOD, .precision = known[i].text};
        assert_ok(parse(f, &w), f->e);
        assert_int_equal(f->t.row[1].layout.precision, known[i].precision);
    }
}

static void known_words(void **state)
{
    struct fixture *f = *state;
    static const struct {
        struct words w;
        int recompute, zero, window;
    } cases[] = {
        {{GOOD, .recompute = "none"}, PLAN_RECOMPUTE_NONE, 1, 0},
        {{GOOD, .recompute = "none at 8K seq"}, PLAN_RECOMPUTE_NONE, 1, 0},
        {{GOOD, .recompute = "Full"}, PLAN_RECOMPUTE_FULL, 1, 0},
        {{GOOD, .recompute = "selective + sequence parallel"}, PLAN_RECOMPUTE_SELECTIVE, 1, 0},
        {{GOOD, .recompute = "RMSNorm + MLA up-proj"}, PLAN_RECOMPUTE_SELECTIVE, 1, 0},
        {{GOOD, .recompute = "moe_act,layernorm"}, PLAN_RECOMPUTE_SELECTIVE, 1, 0},
        {{GOOD, .recompute = "mla_up_proj,mlp,moe"}, PLAN_RECOMPUTE_FULL, 1, 0},
        {{GOOD, .recompute = "full", .dist_opt = "none (DDP)"}, PLAN_RECOMPUTE_FULL, 0, 0},
        {{GOOD, .recompute = "full", .dist_opt = "FSDP SHARD_GRAD_OP"}, PLAN_RECOMPUTE_FULL, 2, 0},
        {{GOOD, .recompute = "full", .dist_opt = "Megatron-FSDP 8"}, PLAN_RECOMPUTE_FULL, 3, 0},
        {{"8", .glu = "", .step_s = "1", .attn = "GQA alt. sliding-window 128",
          .recompute = "full"},
         PLAN_RECOMPUTE_FULL,
         1,
         128},
        {{"8", .glu = "0", .attn = "MQA", .recompute = "full", .dist_opt = "ZeRO-2", .step_s = "1"},
         PLAN_RECOMPUTE_FULL,
         2,
         0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_ok(parse(f, &cases[i].w), f->e);
        assert_int_equal(f->t.count, 2);
        const struct plan_row *r = &f->t.row[1];
        assert_int_equal(r->layout.recompute, cases[i].recompute);
        assert_int_equal(r->layout.zero, cases[i].zero);
        assert_int_equal(r->model.window, cases[i].window);
    }
}

static void words_without_meaning(void **state)
{
    struct fixture *f = *state;
    static const struct {
        struct words w;
        const char *error, *hint;
    } cases[] = {
        {{GOOD, .recompute = "banana"}, "column 'recompute'", "none, selective, full"},
        {{GOOD, .recompute = "nonesuch"}, "column 'recompute'", "none, selective, full"},
        {{GOOD, .recompute = "mlp,banana"}, "not 'mlp,banana'", "mla_up_proj"},
        {{GOOD, .dist_opt = "ZeRO-9"}, "column 'dist_opt'", "ZeRO-1, ZeRO-2, ZeRO-3"},
        {{"8", "1", "XYZ", .step_s = "1"}, "column 'attn' must be a kind of attention", "MHA, GQA"},
        {{"8", "1", "GQA?", .step_s = "1"}, "not 'GQA?'", "MHA, GQA"},
        {{"8", "1", "GQA sliding-window", .step_s = "1"}, "column 'attn'", "sliding-window 128"},
        {{"8", "1", "MLA(q1,kv1,nope1,rope1,v1", .step_s = "1"}, "five widths", "MLA(q1536"},
        {{"8", "1", "MLA(q1,q1,nope1,rope1,v1)", .step_s = "1"}, "five widths", "MLA(q1536"},
        {{"8", "1", "MLA(q99999999,kv1,nope1,rope1,v1)", .step_s = "1"}, "five", "MLA(q1536"},
        {{"8", "7", "MHA", .step_s = "1"}, "column 'glu' must be 0 or 1, not '7'", "SwiGLU"},
        {{"-24", "1", "MHA", .step_s = "1"}, "a whole number of 0 to 2147483647, not '-24'", "8"},
        {{"8", "1", "MHA", .step_s = "-24"},
         "'step_time_s' must be a number of 1e-06 to 1e+07",
         "8"},
        {{"8", "1", "MHA", .step_s = "1e-300"}, "not '1e-300'", "8"},
        {{"8", "1", "MHA", .step_s = "1e300"}, "not '1e300'", "8"},
        {{GOOD, .precision = "bf17"},
         "column 'precision' must be a number format, not 'bf17'",
         "bf16"},
        {{GOOD, .precision = "xbf16"}, "not 'xbf16'", "bf16, fp16, fp32"},
        {{GOOD, .gpu = "H1000"}, "column 'gpu' must be an accelerator, not 'H1000'", "'h100'"},
        {{GOOD, .gpu = "  "}, "column 'gpu' must be an accelerator", "accelerators/NAME.yaml"},
        {{GOOD, .gpu = "-"}, "column 'gpu' must be an accelerator", "H100-80GB"},
        {{GOOD, .mem_gib = "1e7"}, "column 'mem_gib' must be a number of 1e-06 to 1e+06", "8"},
        {{GOOD, .tok_s_gpu = "1e13"}, "column 'tok_s_gpu' must be a number of 1e-06 to 1e+12", "8"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (parse(f, &cases[i].w) != ERROR_CONFIG) fail_msg("case %zu was accepted", i);
        assert_contains(f->e.text, "runs.csv:3: ");
        assert_contains(f->e.text, cases[i].error);
        assert_contains(f->e.hint, cases[i].hint);
    }
}

/* Rules that count through the layers would take minutes for two thousand million of them. */
static void too_many_layers(void **state)
{
    struct fixture *f = *state;
    const char *text = HEAD "x,m,h100,8,2147483647,512,8,8,32000,1,MHA,2048,1,3,none,ZeRO-1,1,,,\n";
    assert_int_equal(plan_rows_parse(text, strlen(text), "runs.csv", &f->a, &f->t, &f->e),
                     ERROR_CONFIG);
    assert_contains(f->e.text, "runs.csv:2: column 'layers' must be a whole number of 0 to 16384");
}

static void no_rows(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(plan_rows_parse(HEAD, strlen(HEAD), "runs.csv", &f->a, &f->t, &f->e),
                     ERROR_CONFIG);
    assert_contains(f->e.text, "runs.csv: no rows below the head");
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {T(known_words), T(known_precisions),
                                       T(words_without_meaning), T(too_many_layers), T(no_rows)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
