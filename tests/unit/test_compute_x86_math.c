/* test_compute_x86_math.c: the largest error of the vector exponential, tanh and logarithm against
 * the C library in double, over dense samples of their whole range, and what they make of NaN,
 * infinities and the ends. The bounds are those stated in compute_x86_math_internal.h. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "compute/x86/compute_x86_internal.h"

enum { SAMPLES = 1 << 20 };

typedef void vector_fn(size_t n, const float *x, float *y);

static const struct compute_x86_probe *probes[2];
static const char *const probe_names[2] = {"avx2", "avx512"};
static float *x_, *y_;

static int prepare(void **state)
{
    (void)state;
    if (compute_kernels_avx2(COMPUTE_F32)) probes[0] = &compute_x86_probe_avx2;
    if (compute_kernels_avx512(COMPUTE_F32)) probes[1] = &compute_x86_probe_avx512;
    x_ = mem_alloc(SAMPLES * sizeof *x_);
    y_ = mem_alloc(SAMPLES * sizeof *y_);
    return 0;
}

static int finish(void **state)
{
    (void)state;
    mem_free(x_);
    mem_free(y_);
    return 0;
}

static double log_scale(double x)
{
    return fmax(fabs(log(x)), 1.0);
}

/* Largest |got - want| / scale over even steps from low to high, and over the same in log |x| where
 * low is positive; scale NULL is |want|. An odd count of samples meets the tail of the loop. */
static void expect_error(const char *name, vector_fn *fn, double (*exact)(double),
                         double (*scale)(double), double low, double high, double bound)
{
    size_t n = SAMPLES - 3;
    double worst = 0, at = 0;
    for (size_t i = 0; i < n; i++) {
        double part = (double)i / (double)(n - 1);
        bool by_ratio = low > 0;
        x_[i] = (float)(by_ratio ? low * pow(high / low, part) : low + (high - low) * part);
    }
    fn(n, x_, y_);
    for (size_t i = 0; i < n; i++) {
        double want = exact((double)x_[i]);
        double size = scale ? scale((double)x_[i]) : fabs(want);
        double error = size > 0 ? fabs((double)y_[i] - want) / size : fabs((double)y_[i]);
        if (!(error <= worst)) {
            worst = error;
            at = (double)x_[i];
        }
    }
    print_message("%-18s largest error %.2e at %g (bound %.0e)\n", name, worst, at, bound);
    assert_true(worst <= bound);
}

#define FOR_PROBES(p)                                                  \
    if (!probes[0] && !probes[1]) {                                    \
        print_message("neither AVX2 nor AVX-512 on this processor\n"); \
        skip();                                                        \
    }                                                                  \
    for (size_t p = 0; p < ARRAY_LEN(probes); p++)                     \
        if (probes[p])

static void test_exp2(void **state)
{
    (void)state;
    FOR_PROBES(p)
    {
        print_message("%s\n", probe_names[p]);
        expect_error("exp2 -100..127", probes[p]->exp2, exp2, NULL, -100, 127, 3e-7);
        expect_error("exp2 near 0", probes[p]->exp2, exp2, NULL, -1, 1, 3e-7);
        float x[] = {-100.5f, -1e30f, -INFINITY, 200.0f, INFINITY, NAN, 0.0f}, y[ARRAY_LEN(x)];
        probes[p]->exp2(ARRAY_LEN(x), x, y);
        for (int i = 0; i < 3; i++)
            assert_true(y[i] == 0.0f);
        assert_false(isfinite(y[3]));
        assert_false(isfinite(y[4]));
        assert_true(isnan(y[5]));
        assert_true(fabsf(y[6] - 1.0f) <= 3e-7f);
    }
}

static void test_tanh(void **state)
{
    (void)state;
    FOR_PROBES(p)
    {
        print_message("%s\n", probe_names[p]);
        expect_error("tanh -12..12", probes[p]->tanh, tanh, NULL, -12, 12, 4e-7);
        expect_error("tanh 1e-30..1", probes[p]->tanh, tanh, NULL, 1e-30, 1, 4e-7);
        float x[] = {0.0f, -0.0f, INFINITY, -INFINITY, NAN, 1e30f}, y[ARRAY_LEN(x)];
        probes[p]->tanh(ARRAY_LEN(x), x, y);
        assert_true(y[0] == 0.0f && y[1] == 0.0f);
        assert_true(fabsf(y[2] - 1.0f) <= 4e-7f && fabsf(y[3] + 1.0f) <= 4e-7f);
        assert_true(isnan(y[4]));
        assert_true(fabsf(y[5] - 1.0f) <= 4e-7f);
    }
}

static void test_log(void **state)
{
    (void)state;
    FOR_PROBES(p)
    {
        print_message("%s\n", probe_names[p]);
        expect_error("log 1e-37..1e38", probes[p]->log, log, log_scale, 1e-37, 1e38, 2e-7);
        expect_error("log 0.5..2", probes[p]->log, log, log_scale, 0.5, 2, 2e-7);
    }
}

/* The cheap pair in front of a rounding to bfloat16. */
static void test_low(void **state)
{
    (void)state;
    const struct compute_x86_probe *p = probes[1];
    if (!p) {
        print_message("no AVX-512 on this processor\n");
        skip();
    }
    expect_error("exp2_low -100..127", p->exp2_low, exp2, NULL, -100, 127, 8e-5);
    expect_error("tanh_low -12..12", p->tanh_low, tanh, NULL, -12, 12, 8e-5);
    expect_error("tanh_low 1e-30..1", p->tanh_low, tanh, NULL, 1e-30, 1, 8e-5);
    float x[] = {NAN, -1e30f}, y[2];
    p->exp2_low(2, x, y);
    assert_true(isnan(y[0]) && y[1] <= 0x1p-99f);
    p->tanh_low(2, x, y);
    assert_true(isnan(y[0]) && fabsf(y[1] + 1.0f) <= 8e-5f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exp2),
        cmocka_unit_test(test_tanh),
        cmocka_unit_test(test_log),
        cmocka_unit_test(test_low),
    };
    return cmocka_run_group_tests(tests, prepare, finish);
}
