/* test_train_schedule.c: values of the learning rate at known places, and the guard's verdicts. */
#include "test_train_util.h"

static struct train_config schedule(int kind, int64_t tokens, int64_t warmup, int64_t decay,
                                    double final)
{
    return (struct train_config){.schedule = kind,
                                 .tokens = tokens,
                                 .warmup_tokens = warmup,
                                 .decay_tokens = decay,
                                 .final_lr_fraction = final};
}

static void assert_fraction(const struct train_config *c, int64_t tokens, double want)
{
    double have = train_schedule_fraction(c, tokens);
    if (fabs(have - want) > 1e-12)
        fail_msg("at %lld tokens: %.15g, wanted %.15g", (long long)tokens, have, want);
}

static void test_cosine(void **state)
{
    (void)state;
    struct train_config c = schedule(TRAIN_SCHEDULE_COSINE, 1100, 100, 0, 0.1);
    assert_fraction(&c, 1, 0.01);
    assert_fraction(&c, 50, 0.5);
    assert_fraction(&c, 100, 1);
    assert_fraction(&c, 350, 0.1 + 0.9 * (1 + sqrt(0.5)) / 2);
    assert_fraction(&c, 600, 0.55);
    assert_fraction(&c, 1100, 0.1);
    assert_fraction(&c, 1200, 0.1); /* the last step may reach beyond the end */
}

static void test_wsd(void **state)
{
    (void)state;
    struct train_config c = schedule(TRAIN_SCHEDULE_WSD, 1000, 100, 400, 0);
    assert_fraction(&c, 50, 0.5);
    assert_fraction(&c, 100, 1);
    assert_fraction(&c, 600, 1);
    assert_fraction(&c, 700, 0.5); /* 1 - sqrt(100 / 400) */
    assert_fraction(&c, 999, 1 - sqrt(399.0 / 400));
    assert_fraction(&c, 1000, 0);
    assert_fraction(&c, 1001, 0);
}

static void test_constant(void **state)
{
    (void)state;
    struct train_config c = schedule(TRAIN_SCHEDULE_CONSTANT, 1000, 10, 0, 0.1);
    assert_fraction(&c, 5, 0.5);
    assert_fraction(&c, 10, 1);
    assert_fraction(&c, 1000, 1);
}

static void test_no_warmup(void **state)
{
    (void)state;
    struct train_config c = schedule(TRAIN_SCHEDULE_COSINE, 1000, 0, 0, 0);
    assert_fraction(&c, 500, 0.5);
    assert_fraction(&c, 1000, 0);
}

/* ------------------------------------------------------------------ the guard */

/* A window of 16 steps with loss 2 +- 0.1 and norm 1 +- 0.1. */
static void fill(struct train_guard *g, struct arena *a)
{
    train_guard_init(g, 6, 16, a);
    for (int i = 0; i < 16; i++) {
        double x = i % 2 ? 0.1 : -0.1;
        assert_int_equal(train_guard_judge(g, 2 + x, 1 + x), TRAIN_UPDATE_GOOD);
    }
}

static void test_guard_thresholds(void **state)
{
    (void)state;
    struct arena a;
    struct train_guard g;
    arena_init(&a);
    fill(&g, &a); /* mean 2 and 1, deviation 0.1 */
    assert_int_equal(train_guard_judge(&g, 2.59, 1), TRAIN_UPDATE_GOOD);
    fill(&g, &a);
    assert_int_equal(train_guard_judge(&g, 2.61, 1), TRAIN_UPDATE_LOSS);
    fill(&g, &a);
    assert_int_equal(train_guard_judge(&g, 2, 1.59), TRAIN_UPDATE_GOOD);
    fill(&g, &a);
    assert_int_equal(train_guard_judge(&g, 2, 1.61), TRAIN_UPDATE_NORM);
    fill(&g, &a);
    assert_int_equal(train_guard_judge(&g, 0.1, 0.001), TRAIN_UPDATE_GOOD); /* low is no harm */
    arena_fini(&a);
}

static void test_guard_not_finite(void **state)
{
    (void)state;
    struct arena a;
    struct train_guard g;
    arena_init(&a);
    train_guard_init(&g, 6, 16, &a);
    assert_int_equal(train_guard_judge(&g, NAN, 1), TRAIN_UPDATE_NOT_FINITE);
    assert_int_equal(train_guard_judge(&g, 2, INFINITY), TRAIN_UPDATE_NOT_FINITE);
    assert_int_equal(g.count, 0); /* it would spoil the means for ever */
    arena_fini(&a);
}

static void test_guard_waits_for_a_full_window(void **state)
{
    (void)state;
    struct arena a;
    struct train_guard g;
    arena_init(&a);
    train_guard_init(&g, 6, 16, &a);
    for (int i = 0; i < 15; i++)
        train_guard_judge(&g, 2, 1);
    assert_int_equal(train_guard_judge(&g, 100, 1), TRAIN_UPDATE_GOOD);
    fill(&g, &a);
    g.sigma = 0;
    assert_int_equal(train_guard_judge(&g, 100, 100), TRAIN_UPDATE_GOOD);
    arena_fini(&a);
}

static void test_guard_follows_a_new_level(void **state)
{
    (void)state;
    struct arena a;
    struct train_guard g;
    arena_init(&a);
    fill(&g, &a);
    int skipped = 0;
    for (int i = 0; i < 32; i++)
        skipped += train_guard_judge(&g, 5, 1) != TRAIN_UPDATE_GOOD;
    assert_in_range(skipped, 1, 8);
    arena_fini(&a);
}

static void test_guard_flat_curve(void **state)
{
    (void)state;
    struct arena a;
    struct train_guard g;
    arena_init(&a);
    train_guard_init(&g, 6, 16, &a);
    for (int i = 0; i < 16; i++)
        train_guard_judge(&g, 2, 1);
    assert_int_equal(train_guard_judge(&g, 2.1, 1), TRAIN_UPDATE_GOOD); /* 6 x 1 % of 2 is 0.12 */
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cosine),
        cmocka_unit_test(test_wsd),
        cmocka_unit_test(test_constant),
        cmocka_unit_test(test_no_warmup),
        cmocka_unit_test(test_guard_thresholds),
        cmocka_unit_test(test_guard_not_finite),
        cmocka_unit_test(test_guard_waits_for_a_full_window),
        cmocka_unit_test(test_guard_follows_a_new_level),
        cmocka_unit_test(test_guard_flat_curve),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
