/* test_plan_layout.c: published layouts are accepted, impossible ones refused with both numbers and
 * a value that works. */
#include "test_cmocka.h"
#include "test_published_models.h"

#include "plan/step/plan_step_internal.h"

static const struct model_config llama_405b = {LLAMA_3_405B};
static const struct model_config grok_1 = {GROK_1};

static struct plan_layout layout(int tp, int pp, int cp, int dp)
{
    return (struct plan_layout){.tp = tp,
                                .pp = pp,
                                .cp = cp,
                                .dp = dp,
                                .ep = 1,
                                .etp = 1,
                                .vp = 1,
                                .micro_batch = 1,
                                .zero = 1,
                                .precision = MACHINE_BF16};
}

static void accepted(const struct plan_layout *l, const struct model_config *m, int64_t gbs,
                     int64_t seq, int64_t n)
{
    struct plan_batch b = {gbs, seq};
    struct error e = {0};
    assert_ok(plan_layout_check(l, m, &b, n, &e), e);
}

static void refused(const struct plan_layout *l, const struct model_config *m, int64_t gbs,
                    int64_t seq, int64_t n, const char *text, const char *hint)
{
    struct plan_batch b = {gbs, seq};
    struct error e = {0};
    assert_int_equal(plan_layout_check(l, m, &b, n, &e), ERROR_CONFIG);
    assert_contains(e.text, text);
    assert_contains(e.hint, hint);
}

static void test_published(void **state)
{
    (void)state;
    /* Llama 3, table 4: 126 layers on 16 stages, then with 16-way context parallelism */
    struct plan_layout l = layout(8, 16, 1, 128);
    accepted(&l, &llama_405b, 2048, 8192, 16384);
    l = layout(8, 16, 16, 8);
    accepted(&l, &llama_405b, 128, 131072, 16384);
    /* MLPerf's: the embedding and the loss as stages of their own, 8 x 16 = 128 = 126 + 2 */
    l = layout(8, 8, 2, 4);
    l.vp = 16;
    accepted(&l, &llama_405b, 256, 8192, 512);
    /* more tensor ranks than key/value heads copy them */
    l = layout(16, 1, 1, 4);
    accepted(&l, &llama_405b, 64, 8192, 64);
    l = layout(4, 8, 1, 16);
    l.ep = 8, l.etp = 1;
    accepted(&l, &grok_1, 1024, 8192, 512);
}

static void test_refused(void **state)
{
    (void)state;
    struct plan_layout l = layout(8, 16, 1, 129);
    refused(&l, &llama_405b, 2064, 8192, 16384, "is more than 16384 accelerators",
            "dp may be 128 at most");
    l.dp = 127; /* 128 of them stay idle */
    accepted(&l, &llama_405b, 2032, 8192, 16384);
    l = layout(48, 1, 1, 1);
    refused(&l, &llama_405b, 48, 8192, 48, "tp 48 does not divide heads 128", "tp 32");
    l = layout(1, 129, 1, 1);
    refused(&l, &llama_405b, 129, 8192, 129, "pp 129", "128 at most");
    l = layout(1, 1, 3, 1);
    refused(&l, &llama_405b, 3, 8192, 3, "cp 3 does not divide seq_len 8192", "cp 2");
    l = layout(1, 1, 1, 6);
    refused(&l, &llama_405b, 16, 8192, 6, "global batch 16 is not a multiple of dp 6",
            "global batch 12");
    l.ep = 2;
    refused(&l, &llama_405b, 12, 8192, 6, "no experts", "ep 1");
    l.ep = 3;
    refused(&l, &grok_1, 12, 8192, 6, "ep 3 does not divide experts 8", "ep 2");
    l.ep = 4;
    refused(&l, &grok_1, 12, 8192, 6, "ep 4 x etp 1 does not divide the 6 ranks", "ep 3 etp 1");
    l = layout(1, 1, 1, 8);
    l.vp = 2;
    refused(&l, &llama_405b, 8, 8192, 8, "vp 2 interleaves", "vp 1");
    l = layout(1, 1, 1, 8);
    l.zero = 4;
    refused(&l, &llama_405b, 8, 8192, 8, "zero must be", "3 weights");
    l = layout(0, 1, 1, 8);
    refused(&l, &llama_405b, 8, 8192, 8, "tp must be at least 1, not 0", "tp 1");
}

/* One rule for layouts that are given and searched. */
static void test_schedules(void **state)
{
    (void)state;
    struct plan_layout l = layout(8, 16, 1, 128);
    l.vp = 8;
    accepted(&l, &llama_405b, 2048, 8192, 16384);
    l.micro_batch = 2; /* 8 microbatches of 16 stages: nothing to interleave */
    refused(&l, &llama_405b, 2048, 8192, 16384, "vp 8 interleaves pp 16 stages", "vp 1");
    l.vp = 1;
    accepted(&l, &llama_405b, 2048, 8192, 16384);
    l = layout(1, 16, 1, 128); /* DeepSeek-V3: 120 microbatches, 16 stages */
    l.vp = 2;
    accepted(&l, &llama_405b, 15360, 4096, 2048);

    struct plan_software s = {.stack = PLAN_STACK_MEGATRON};
    struct error e = {0};
    for (l.zero = 0; l.zero <= 2; l.zero++)
        assert_int_equal(plan_layout_check_stack(&l, &(struct plan_batch){1024, 4096}, &s, &e), 0);
    l.zero = 3;
    assert_int_equal(plan_layout_check_stack(&l, &(struct plan_batch){1024, 4096}, &s, &e),
                     ERROR_CONFIG);
    assert_contains(e.text, "zero 3 with pp 16");
    assert_contains(e.hint, "stack fsdp");
    s.stack = PLAN_STACK_FSDP;
    assert_int_equal(plan_layout_check_stack(&l, &(struct plan_batch){1024, 4096}, &s, &e), 0);
}

/* Products of the largest numbers must not wrap round into a layout that fits. */
static void test_huge(void **state)
{
    (void)state;
    struct plan_layout l = layout(1 << 30, 1 << 30, 1 << 30, 1 << 30);
    refused(&l, &llama_405b, 8, 8192, 1 << 20, "is more than 1048576 accelerators",
            "1048576 at most");
    l = layout(1, 1, 1, 2);
    l.ep = INT32_MAX, l.etp = INT32_MAX;
    refused(&l, &grok_1, 8, 8192, 2, "ep 2147483647 does not divide experts", "ep 8");
    l = layout(1, 1, 1, 1);
    l.micro_batch = INT32_MAX;
    refused(&l, &llama_405b, 8, 8192, 1, "not a multiple", "2147483647");
}

static void test_text(void **state)
{
    (void)state;
    char buf[128];
    struct plan_layout l = layout(8, 16, 1, 128);
    l.vp = 4, l.recompute = PLAN_RECOMPUTE_FULL, l.precision = MACHINE_FP8;
    assert_string_equal(plan_layout_text(&l, buf, sizeof(buf)),
                        "tp 8 pp 16 vp 4 dp 128, microbatch 1, zero 1, full recompute, fp8");
    l = layout(1, 1, 1, 1);
    assert_string_equal(plan_layout_text(&l, buf, sizeof(buf)),
                        "dp 1, microbatch 1, zero 1, no recompute, bf16");
    char small[12]; /* cut, never overrun */
    l = layout(1000, 1000, 1000, 1000);
    assert_string_equal(plan_layout_text(&l, small, sizeof(small)), "tp 1000 cp ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_schedules), cmocka_unit_test(test_huge), cmocka_unit_test(test_text)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
