/* The sampler: each cut alone against a hand-computed set, and frequencies against probabilities. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "serve/serve.h"

#include <math.h>
#include <string.h>

#define V 6

/* probabilities 0.4 0.25 0.15 0.1 0.07 0.03, out of order */
static const double P[V] = {0.1, 0.4, 0.03, 0.25, 0.07, 0.15};
static float logits[V];
static struct serve_candidate work[V];

static const struct serve_sampling PLAIN = {
    .temperature = 1, .top_p = 1, .repetition_penalty = 1, .repetition_window = 64, .seed = 3};

/* The token of a draw without a history. */
static uint32_t sample(const struct serve_sampling *s, const float *l, uint64_t stream, uint64_t i)
{
    struct serve_draw d = {.logits = l, .vocab = V, .stream = stream, .position = i};
    return serve_sample(s, &d, work);
}

static int setup(void **state)
{
    (void)state;
    for (int i = 0; i < V; i++)
        logits[i] = (float)(log(P[i]) + 2.5);
    return 0;
}

static void draw(const struct serve_sampling *s, int n, double freq[V])
{
    memset(freq, 0, V * sizeof(*freq));
    for (int i = 0; i < n; i++)
        freq[sample(s, logits, 0, (uint64_t)i)] += 1.0 / n;
}

/* Expected: probabilities of the kept set, renormalised; 4.5 standard deviations of slack. */
static void expect(const double freq[V], const double want[V], int n)
{
    for (int i = 0; i < V; i++) {
        double slack = 4.5 * sqrt(want[i] * (1 - want[i]) / n);
        if (fabs(freq[i] - want[i]) > slack + 1e-12)
            fail_msg("token %d drawn %.4f of the time, expected %.4f +- %.4f", i, freq[i], want[i],
                     slack);
    }
}

static void test_plain_frequencies(void **state)
{
    (void)state;
    double freq[V];
    draw(&PLAIN, 40000, freq);
    expect(freq, P, 40000);
}

static void test_temperature(void **state)
{
    (void)state;
    struct serve_sampling s = PLAIN;
    double freq[V], want[V], total = 0;
    s.temperature = 0.5;
    for (int i = 0; i < V; i++)
        total += want[i] = P[i] * P[i];
    for (int i = 0; i < V; i++)
        want[i] /= total;
    draw(&s, 40000, freq);
    expect(freq, want, 40000);
    s.temperature = 0;
    assert_int_equal(sample(&s, logits, 0, 9), 1);
}

static void test_top_k(void **state)
{
    (void)state;
    struct serve_sampling s = PLAIN;
    double freq[V], want[V] = {0, 0.4 / 0.65, 0, 0.25 / 0.65, 0, 0};
    s.top_k = 2;
    draw(&s, 20000, freq);
    expect(freq, want, 20000);
}

static void test_top_p_keeps_the_smallest_set_that_reaches_p(void **state)
{
    (void)state;
    struct serve_sampling s = PLAIN;
    double freq[V], want[V] = {0, 0.5, 0, 0.3125, 0, 0.1875};
    s.top_p = 0.7; /* 0.4 + 0.25 is too little */
    draw(&s, 20000, freq);
    expect(freq, want, 20000);
}

static void test_min_p(void **state)
{
    (void)state;
    struct serve_sampling s = PLAIN;
    double freq[V], want[V] = {0.1 / 0.9, 0.4 / 0.9, 0, 0.25 / 0.9, 0, 0.15 / 0.9};
    s.min_p = 0.2; /* of 0.4: 0.08 */
    draw(&s, 20000, freq);
    expect(freq, want, 20000);
}

static void test_repetition_penalty(void **state)
{
    (void)state;
    struct serve_sampling s = PLAIN;
    uint32_t history[3] = {1, 1, 9999};
    struct serve_draw d = {.logits = logits, .vocab = V, .history = history, .n_history = 3};
    s.temperature = 0;
    s.repetition_penalty = 1.5;
    assert_int_equal(serve_sample(&s, &d, work), 3);
    s.repetition_window = 1; /* only the id outside the vocabulary */
    assert_int_equal(serve_sample(&s, &d, work), 1);
}

static void test_same_seed_same_draw_and_ties(void **state)
{
    (void)state;
    struct serve_sampling s = PLAIN;
    float flat[V] = {0};
    int differs = 0;
    for (uint64_t i = 0; i < 50; i++) {
        uint32_t a = sample(&s, logits, 4, i);
        assert_int_equal(a, sample(&s, logits, 4, i));
        differs += a != sample(&s, logits, 5, i);
    }
    assert_true(differs > 10);
    s.temperature = 0;
    assert_int_equal(sample(&s, flat, 0, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_frequencies),
        cmocka_unit_test(test_temperature),
        cmocka_unit_test(test_top_k),
        cmocka_unit_test(test_top_p_keeps_the_smallest_set_that_reaches_p),
        cmocka_unit_test(test_min_p),
        cmocka_unit_test(test_repetition_penalty),
        cmocka_unit_test(test_same_seed_same_draw_and_ties),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
