/* test_machine_failures.c: failures, restarts, checkpoints and elastic jobs as laws of a machine,
 * without a plan: against published figures and against brute force. */
#include "test_machine_util.h"

static void restarts_follow_meta(void **state)
{
    (void)state;
    static const double KNOWN[][2] = {{16e3, 200}, {22e3, 300}, {64e3, 600}, {98e3, 900}};
    for (size_t i = 0; i < ARRAY_LEN(KNOWN); i++)
        assert_within(machine_restart_s((int64_t)KNOWN[i][0]).mid, KNOWN[i][1], 0.20);
    assert_true(machine_restart_s(512).high > 400); /* MLPerf's audited starts */
}

static void interval_is_the_optimum(void **state)
{
    (void)state;
    static const double DELTA[] = {0.01, 0.5, 10, 300}, MTBF[] = {200, 1080, 11000, 1e6};
    for (size_t i = 0; i < ARRAY_LEN(DELTA); i++)
        for (size_t j = 0; j < ARRAY_LEN(MTBF); j++) {
            double delta = DELTA[i], m = MTBF[j], best = INFINITY, at = 0;
            double tau = machine_checkpoint_interval(delta, m);
            for (double t = 1e-3; t < 20 * m; t *= 1.001) {
                double s = machine_checkpoint_stretch(t, delta, 60, m);
                if (s < best) best = s, at = t;
            }
            assert_within(tau, at, 0.02);
            assert_true(machine_checkpoint_stretch(tau, delta, 60, m) <= best * (1 + 1e-9));
        }
    /* Young is its limit for a short stall. */
    assert_within(machine_checkpoint_interval(0.01, 1e6), sqrt(2 * 0.01 * 1e6), 0.01);
    assert_true(isinf(machine_checkpoint_stretch(100, 1, 1e6, 100)));
}

/* Simulated: exponential failures, restarts that may fail themselves. */
static void stretch_is_what_happens(void **state)
{
    (void)state;
    const double tau = 300, delta = 20, restart = 200, m = 1500;
    double wall = 0, useful = 0;
    for (uint64_t i = 0; useful < 3e7; i++) {
        double up = -m * log1p(-rng_uniform(7, 1, i)), run = up - restart;
        wall += up;
        if (run > 0) useful += tau * floor(run / (tau + delta));
    }
    assert_within(machine_checkpoint_stretch(tau, delta, restart, m), wall / useful, 0.02);
}

static struct range rate_of(double age_days, double lemons, int64_t count)
{
    struct machine_accelerator h100 = test_h100();
    struct machine_cluster c = test_cluster(&h100, 16384);
    c.fleet_age_days = FIGURE(age_days);
    c.lemon_fraction = FIGURE(lemons);
    const int64_t used[MACHINE_MAX_POOLS] = {count};
    return machine_failure_rate(&c, used, 1.0);
}

/* The rate is the fleet's, whatever part of it works; failures are linear in what works. */
static void rates_are_the_fleets(void **state)
{
    (void)state;
    struct range mature = rate_of(1e4, 0.0, 16384), young = rate_of(0, 0.0, 16384);
    assert_within(mature.mid, 2.34, 1e-9);
    assert_within(young.mid / mature.mid, 2.5, 1e-9);
    assert_within(rate_of(1e4, 0.15, 16384).mid / mature.mid, 1.6, 1e-9);
    assert_true(rate_of(1e4, 0.0, 1024).mid == mature.mid);
    double one = machine_mtbf_s(mature, 8192).mid, two = machine_mtbf_s(mature, 16384).mid;
    assert_between(one / two, 1.98, 2.0); /* outages of the site do not grow with it */
    assert_true(machine_spare_nodes(mature.mid, 16384) < 2 * machine_spare_nodes(mature.mid, 8192));
}

/* The fastest size is one: smaller and larger jobs of it are slower. */
static void elastic_jobs_have_a_size(void **state)
{
    (void)state;
    const struct machine_elastic x = {1e6, {150, 200, 300}, 2.5, 1.0};
    double best = machine_elastic_size(&x);
    assert_between(best, 1e5, 9e5);
    int64_t group = machine_elastic_group(128, (int64_t)best);
    assert_int_equal(group % 128, 0);
    struct range at_best = machine_elastic_goodput(&x, (int64_t)best, group);
    assert_ordered(at_best);
    static const double OTHER[] = {0.5, 0.8, 1.25};
    for (size_t i = 0; i < ARRAY_LEN(OTHER); i++) {
        int64_t n = (int64_t)(OTHER[i] * best);
        assert_true(machine_elastic_goodput(&x, n, group).mid * (double)n <=
                    at_best.mid * best * (1 + 1e-6));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(restarts_follow_meta),     cmocka_unit_test(interval_is_the_optimum),
        cmocka_unit_test(stretch_is_what_happens),  cmocka_unit_test(rates_are_the_fleets),
        cmocka_unit_test(elastic_jobs_have_a_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
