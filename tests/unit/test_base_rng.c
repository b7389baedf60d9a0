/* test_base_rng.c: Philox against the authors' vectors, and statistics that would show a slip. */
#include "test_cmocka.h"

#include <math.h>

/* "philox4x32 10" lines of kat_vectors in Random123 1.14, the authors' library. */
static void test_philox_known_answers(void **state)
{
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], expected[2];
    } vectors[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb}},
    };
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        const uint32_t *c = vectors[i].counter, *k = vectors[i].key;
        /* half of the block is seen, which all rounds and both halves have gone into */
        uint64_t got = rng_u64((uint64_t)k[1] << 32 | k[0], (uint64_t)c[3] << 32 | c[2],
                               (uint64_t)c[1] << 32 | c[0]);
        assert_int_equal((uint32_t)got, vectors[i].expected[0]);
        assert_int_equal(got >> 32, vectors[i].expected[1]);
    }
}

static void test_coordinates_matter(void **state)
{
    (void)state;
    assert_true(rng_u64(1, 2, 3) == rng_u64(1, 2, 3));
    assert_true(rng_u64(1, 2, 3) != rng_u64(2, 2, 3));
    assert_true(rng_u64(1, 2, 3) != rng_u64(1, 3, 3));
    assert_true(rng_u64(1, 2, 3) != rng_u64(1, 2, 4));
    assert_true(rng_u64(1, 2, 3) != rng_u64(1, 3, 2));
}

/* Mean 1/2, variance 1/12, and Pearson's chi-square over 100 bins (99 degrees of freedom: 149 is
 * exceeded once in a thousand; the numbers are fixed, so this passes always or never). */
static void test_uniform(void **state)
{
    (void)state;
    enum { N = 200000, BINS = 100 };
    double sum = 0, squares = 0;
    int bins[BINS] = {0};
    for (uint64_t i = 0; i < N; i++) {
        double u = rng_uniform(7, 1, i);
        assert_true(u >= 0.0 && u < 1.0);
        sum += u;
        squares += (u - 0.5) * (u - 0.5);
        bins[(int)(u * BINS)]++;
    }
    assert_true(fabs(sum / N - 0.5) < 4 * sqrt(1.0 / 12 / N));
    assert_true(fabs(squares / N - 1.0 / 12) < 0.001);
    double chi = 0;
    for (int i = 0; i < BINS; i++)
        chi += (bins[i] - N / BINS) * (double)(bins[i] - N / BINS) / (N / BINS);
    assert_true(chi > 55 && chi < 149);
}

/* Moments of the normal distribution, and its tail: P(|x| > 3) = 0.0027. */
static void test_normal(void **state)
{
    (void)state;
    enum { N = 400000 };
    double m1 = 0, m2 = 0, m3 = 0, m4 = 0, lag = 0, last = 0;
    int tail = 0;
    for (uint64_t i = 0; i < N; i++) {
        double x = rng_normal(7, 1, i);
        assert_true(isfinite(x));
        m1 += x;
        m2 += x * x;
        m3 += x * x * x;
        m4 += x * x * x * x;
        lag += x * last;
        last = x;
        tail += fabs(x) > 3.0;
    }
    double s = sqrt(N);
    assert_true(fabs(m1 / N) < 4 / s);
    assert_true(fabs(m2 / N - 1) < 4 * sqrt(2) / s);
    assert_true(fabs(m3 / N) < 4 * sqrt(15) / s);
    assert_true(fabs(m4 / N - 3) < 4 * sqrt(96) / s);
    assert_true(fabs(lag / N) < 4 / s);
    assert_true(fabs((double)tail / N - 0.0026998) < 4 * sqrt(0.0027) / s);
}

static void test_permute_is_a_bijection(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {1,  2,  3,   4,   5,   7,   8,    9,
                                     16, 17, 100, 255, 256, 257, 1000, 4097};
    static bool seen[4097];
    for (size_t k = 0; k < ARRAY_LEN(sizes); k++) {
        for (uint64_t seed = 0; seed < 5; seed++) {
            uint64_t n = sizes[k];
            memset(seen, 0, sizeof(seen));
            for (uint64_t i = 0; i < n; i++) {
                uint64_t to = rng_permute(seed, 3, n, i);
                assert_true(to < n);
                assert_false(seen[to]);
                seen[to] = true;
            }
        }
    }
}

/* The largest domains: in range, and different items go to different places. */
static void test_permute_large(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {UINT64_MAX, (1ull << 63) + 1, 1ull << 63,
                                     (1ull << 40) + 12345};
    for (size_t k = 0; k < ARRAY_LEN(sizes); k++) {
        uint64_t places[50];
        for (uint64_t i = 0; i < ARRAY_LEN(places); i++) {
            places[i] = rng_permute(9, k, sizes[k], i * (sizes[k] / 50));
            assert_true(places[i] < sizes[k]);
            for (uint64_t j = 0; j < i; j++)
                assert_true(places[j] != places[i]);
        }
    }
}

/* All 24 orders of 4 items come up about equally often over seeds: 23 degrees of freedom, 49.7 is
 * exceeded once in a thousand. */
static void test_permute_orders_are_fair(void **state)
{
    (void)state;
    enum { SEEDS = 24000 };
    int counts[256] = {0};
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        size_t order = 0;
        for (uint64_t i = 0; i < 4; i++)
            order = order << 2 | (size_t)rng_permute(seed, 0, 4, i);
        counts[order]++;
    }
    int orders = 0;
    double chi = 0;
    for (int i = 0; i < 256; i++) {
        if (!counts[i]) continue;
        orders++;
        chi += (counts[i] - SEEDS / 24.0) * (counts[i] - SEEDS / 24.0) / (SEEDS / 24.0);
    }
    assert_int_equal(orders, 24);
    assert_true(chi < 49.7);
}

/* Where an item goes tells nothing about where its neighbour goes: the differences of neighbours
 * fill 50 bins evenly (triangular over [-n, n], so compare with that). */
static void test_permute_neighbours(void **state)
{
    (void)state;
    enum { N = 100000, BINS = 50 };
    double counts[BINS] = {0}, chi = 0;
    uint64_t last = rng_permute(5, 5, N, 0);
    for (uint64_t i = 1; i < N; i++) {
        uint64_t now = rng_permute(5, 5, N, i);
        double d = ((double)now - (double)last) / N; /* in (-1, 1) */
        counts[(int)((d + 1) / 2 * BINS)]++;
        last = now;
    }
    for (int i = 0; i < BINS; i++) {
        double lo = 2.0 * i / BINS - 1, hi = 2.0 * (i + 1) / BINS - 1;
        double share = fabs((hi - lo) * (1 - fabs(lo + hi) / 2));
        chi += (counts[i] - share * N) * (counts[i] - share * N) / (share * N);
    }
    assert_true(chi <
                120); /* neighbours overlap, which widens chi-square with 49 degrees a little */
    assert_true(rng_permute(5, 6, N, 0) != rng_permute(5, 5, N, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_philox_known_answers),
        cmocka_unit_test(test_coordinates_matter),
        cmocka_unit_test(test_uniform),
        cmocka_unit_test(test_normal),
        cmocka_unit_test(test_permute_is_a_bijection),
        cmocka_unit_test(test_permute_large),
        cmocka_unit_test(test_permute_orders_are_fair),
        cmocka_unit_test(test_permute_neighbours),
    };
    return cmocka_run_group_tests_name("base_rng", tests, NULL, NULL);
}
