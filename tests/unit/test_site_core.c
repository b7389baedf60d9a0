/* test_site_core.c: the queue hands events out in the order of time, kind and number whatever they
 * were pushed in; draws of an entity do not depend on others'. */
#include "site/core/site_core_internal.h"
#include "test_cmocka.h"

static void queue_in_order(void **state)
{
    (void)state;
    enum { N = 5000 };
    struct site_queue q = {0};
    for (uint32_t i = 0; i < N; i++) {
        site_us at = (site_us)(rng_uniform(1, 2, i) * 400.0);
        uint32_t kind = (uint32_t)(rng_uniform(1, 3, i) * 4.0);
        site_queue_push(&q,
                        (struct site_queued){at, kind, (uint32_t)rng_permute(1, 4, N, i), 0, 0});
    }
    assert_int_equal(q.n, N);
    struct site_queued last = site_queue_pop(&q);
    for (int i = 1; i < N; i++) {
        assert_ptr_equal(site_queue_first(&q), &q.items[0]);
        struct site_queued e = site_queue_pop(&q);
        assert_true(last.at < e.at || (last.at == e.at && last.kind < e.kind) ||
                    (last.at == e.at && last.kind == e.kind && last.id < e.id));
        last = e;
    }
    assert_null(site_queue_first(&q));
    site_queue_push(&q, (struct site_queued){SITE_NEVER, 0, 0, 0, 0});
    assert_int_equal(q.n, 0); /* never comes */
    site_queue_fini(&q);
}

static void microseconds(void **state)
{
    (void)state;
    assert_int_equal(site_us_of(1.0), SITE_SECOND);
    assert_int_equal(site_us_of(1e-7), 1);
    assert_int_equal(site_us_of(-1.0), 0);
    assert_int_equal(site_us_of(INFINITY), SITE_NEVER);
    assert_int_equal(site_us_of(NAN), SITE_NEVER);
}

static void draws(void **state)
{
    (void)state;
    struct site_stream a = site_stream_of(SITE_OF_COHORT, 3), b = site_stream_of(SITE_OF_GAS, 3);
    struct site_stream again = a;
    double first = site_uniform(7, &a), mean = 0.0, squares = 0.0;
    assert_true(first != site_uniform(7, &b));
    assert_true(site_uniform(7, &again) == first);
    enum { N = 100000 };
    for (int i = 0; i < N; i++) {
        double x = site_exponential(7, &a);
        assert_true(x > 0.0 && isfinite(x));
        mean += x / N;
        squares += x * x / N;
    }
    assert_true(fabs(mean - 1.0) < 0.015 && fabs(squares - 2.0) < 0.08); /* five sigma */
    const double weights[3] = {0.0, 1.0, 3.0};
    assert_int_equal(site_pick(0.2, weights, 3), 1);
    assert_int_equal(site_pick(0.3, weights, 3), 2);
    assert_int_equal(site_pick(1.0, weights, 3), 2);
    assert_int_equal(site_pick(0.5, weights, 1), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(queue_in_order),
                                       cmocka_unit_test(microseconds), cmocka_unit_test(draws)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
