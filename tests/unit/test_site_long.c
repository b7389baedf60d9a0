/* test_site_long.c: closed forms that only thousands of years of a site are near enough to. */
#include "test_site_util.h"

#define MILLION "cluster: 1000000 x h100\n"
#define OFTEN   "failures: {law: exponential, accelerator_days: 2111, unit: 1"

/* Poisson: rate times days. */
static void failures_of_a_million(void **state)
{
    (void)state;
    const struct site_scenario *s = test_scenario(MILLION OFTEN ", hardware_share: 0}\n");
    double sum = 0.0, want = 42633.82283278067;
    assert_near(1e6 / 2111.0 * 90.0, want, 1e-12);
    for (uint64_t seed = 1; seed <= 64; seed++) {
        double n = test_live(s, seed)->failures;
        assert_true(fabs(n - want) < 4.0 * sqrt(want)); /* 3 sigma: 619; of 64 one may be beyond */
        sum += n / 64.0;
    }
    assert_near(sum, want, 0.003);
}

/* M/G/inf: in repair at once are a Poisson number; its 99 % point. */
static void in_repair(void **state)
{
    (void)state;
    const struct site_scenario *s = test_scenario(
        MILLION "days: 20000\n" OFTEN "}\n"
                "repair: {triage: 2 h, escalates: 80 %, hands: 48 h, turnaround: 0}\n");
    const struct site_result *r = test_live(s, 1);
    assert_near(test_figure(s, r, "in_repair"), 621.9801042160113, 0.01);
    assert_int_equal(test_figure(s, r, "in_repair_p99"), 681);
}

/* M/M/45. */
static void crews(void **state)
{
    (void)state;
    const struct site_scenario *s = test_scenario(
        MILLION "days: 20000\n" OFTEN "}\n"
                "repair: {triage: 0, escalates: 80 %, hands: 2.5 h, turnaround: 0, crews: 45,\n"
                "  law: exponential}\n");
    const struct site_result *r = test_live(s, 1);
    assert_near(test_erlang_c(30.79109426811938, 45), 0.01069238847189929, 1e-9);
    assert_near(test_figure(s, r, "crews_busy"), 30.79109426811938, 0.01);
    assert_near(test_figure(s, r, "repairs_that_waited"), 0.01069238847189929, 0.05);
    assert_near(test_figure(s, r, "repair_wait_h"), 0.0018812828858292556, 0.05);
}

/* A million at once: there is hardly a stretch that lasts. */
static void a_million_at_once(void **state)
{
    (void)state;
    const struct site_scenario *s = test_scenario(
        MILLION "days: 60000\n"
                "failures: {law: exponential, accelerator_days: 2083.3333333333335, unit: 1,\n"
                "  hardware_share: 0}\n"
                "jobs: [{name: j, accelerators: 1000000, stall: 5 s, detect: 0, load: 0, restart: "
                "900 s}]\n");
    const struct site_result *r = test_live(s, 1);
    assert_near(r->jobs[0].checkpoint_s, 39.16063230391848, 1e-6);
    assert_near(r->jobs[0].part_s[SITE_PART_PRODUCTIVE] / r->jobs[0].wall_s, 0.005272045527338373,
                0.005);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(failures_of_a_million),
                                       cmocka_unit_test(in_repair), cmocka_unit_test(crews),
                                       cmocka_unit_test(a_million_at_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
