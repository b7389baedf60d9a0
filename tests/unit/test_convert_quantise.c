/* test_convert_quantise.c: numbers as GGUF's formats hold them: no format loses more than ggml's own
 * quantiser does, on four kinds of numbers (make_quantise_golden.py ran ggml's), and numbers at the ends
 * of what floats and halves can say come back as numbers. */
#include "convert/convert.h"
#include "test_cmocka.h"

#include <math.h>
#include <stdint.h>

enum { COUNT = 8192, KINDS = 4 };

/* The root mean square of errors of ggml_quantize_chunk, by kind of numbers. */
static const struct {
    const char *name;
    double ggml[KINDS];
} formats[] = {
    {"Q8_0", {1.0400815e-04, 3.1078976e-04, 1.5822718e-04, 5.1846574e-04}},
    {"Q4_0", {1.6778354e-03, 4.0180720e-03, 2.5154676e-03, 1.9737612e-03}},
    {"Q5_0", {8.2761607e-04, 2.1821663e-03, 1.2559416e-03, 1.1704332e-03}},
    {"Q4_K", {1.3986265e-03, 3.3133712e-03, 1.2193876e-03, 2.1670825e-03}},
    {"Q6_K", {3.5233077e-04, 8.8715814e-04, 5.3455598e-04, 9.4789018e-04}},
};

static double uniform(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (double)(*state >> 40) / (1 << 24);
}

static void numbers(int kind, float *out)
{
    uint64_t state = (uint64_t)kind + 1;
    for (int i = 0; i < COUNT; i++) {
        double x = 0;
        for (int k = 0; k < 12; k++)
            x += uniform(&state);
        x -= 6;
        switch (kind) {
        case 0: x *= 0.02; break;
        case 1: x = x * x * x * 0.01; break;
        case 2: x = 0.05 + 0.01 * x; break;
        default: x = uniform(&state) < 0.02 ? 0.5 * x : 0.001 * x;
        }
        out[i] = (float)x;
    }
}

static void test_no_worse_than_ggml(void **state)
{
    static float x[COUNT];
    (void)state;
    for (size_t f = 0; f < ARRAY_LEN(formats); f++)
        for (int kind = 0; kind < KINDS; kind++) {
            const struct gguf_format *format = gguf_format_named(formats[f].name);
            assert_non_null(format);
            numbers(kind, x);
            double error = convert_error(format, x, COUNT), ggml = formats[f].ggml[kind];
            print_message("%s, numbers %d: %.4e, ggml %.4e, ratio %.3f\n", format->name, kind,
                          error, ggml, error / ggml);
            if (!(error <= ggml * (1 + 1e-6)))
                fail_msg("%s, numbers %d: %.6e, ggml %.6e", format->name, kind, error, ggml);
        }
}

/* What is exactly a format's comes back as it is. */
static void test_exact(void **state)
{
    static float x[256];
    (void)state;
    for (int i = 0; i < 256; i++)
        x[i] = 0.25f * (float)(i % 16 - 8);
    assert_true(convert_error(gguf_format_named("Q4_0"), x, 256) == 0);
    assert_true(convert_error(gguf_format_named("Q5_0"), x, 256) == 0);
    assert_true(convert_error(gguf_format_named("Q6_K"), x, 256) < 1e-7);
    assert_true(convert_error(gguf_format_named("F16"), x, 256) == 0);
    assert_true(convert_error(gguf_format_named("BF16"), x, 256) == 0);
    for (int i = 0; i < 256; i++)
        x[i] = 0.125f * (float)(i % 32 * 8 - 127);
    assert_true(convert_error(gguf_format_named("Q8_0"), x, 256) == 0);
}

/* Halves to the nearest, of two equally near the even one: all of them, and what lies between. */
static void test_halves(void **state)
{
    const struct gguf_format *f = gguf_format_named("F16");
    (void)state;
    for (uint32_t bits = 0; bits < 0x7bff; bits++) {
        float low = half_load((uint16_t)bits), high = half_load((uint16_t)(bits + 1));
        float between[3] = {low, (low + high) / 2, nextafterf((low + high) / 2, high)};
        float nearest[3] = {low, bits & 1 ? high : low, high};
        for (int i = 0; i < 3; i++) {
            double error = convert_error(f, &between[i], 1);
            double want = fabs((double)between[i] - (double)nearest[i]);
            if (error != want) fail_msg("half %x + %d: %g, want %g", bits, i, error, want);
        }
    }
}

static void test_extremes(void **state)
{
    static const float cases[][4] = {
        {0, 0, 0, 0},
        {1e-30f, -1e-30f, 0, 1e-38f},
        {1e-42f, 1e-44f, 0, 0},
        {1000, 1e-6f, 0, -1e-6f},
        {-500, -500, -500, -500},
        {3, 3, 3, 3},
    };
    (void)state;
    for (size_t f = 0; f < ARRAY_LEN(formats); f++)
        for (size_t k = 0; k < ARRAY_LEN(cases); k++) {
            float x[256], most = 0;
            for (int i = 0; i < 256; i++) {
                x[i] = cases[k][i % 4];
                most = fmaxf(most, fabsf(x[i]));
            }
            double error = convert_error(gguf_format_named(formats[f].name), x, 256);
            if (!(error <= 0.07 * (double)most + 6e-8))
                fail_msg("%s, case %zu: %g", formats[f].name, k, error);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_worse_than_ggml),
        cmocka_unit_test(test_exact),
        cmocka_unit_test(test_halves),
        cmocka_unit_test(test_extremes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
