/* test_base_print.c: quantities and tables as people read them. */
#include "test_cmocka.h"

#include <math.h>

static void test_bytes(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *expected;
    } cases[] = {
        {0, "0 B"},
        {1, "1 B"},
        {1023, "1023 B"},
        {1024, "1.00 KiB"},
        {1536, "1.50 KiB"},
        {10.0 * 1024, "10.0 KiB"},
        {1023.4 * 1024, "1023 KiB"},
        {1023.9 * 1024, "1.00 MiB"}, /* never "1024 KiB" */
        {1.23 * 1073741824, "1.23 GiB"},
        {80e9, "74.5 GiB"},
        {1e18, "888 PiB"},
        {-2048, "-2.00 KiB"},
        {1e30, "8.67e+11 EiB"},
        {NAN, "N/A"},
        {INFINITY, "N/A"},
    };
    char buf[32];
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_string_equal(format_bytes(buf, cases[i].value), cases[i].expected);
}

static void test_counts(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *expected;
    } cases[] = {
        {0, "0"},
        {7, "7"},
        {999, "999"},
        {1000, "1.00 k"},
        {999.6, "1.00 k"},
        {12345678, "12.3 M"},
        {314e9, "314 B"},
        {15.6e12, "15.6 T"},
        {2e15, "2000 T"},
        {999999, "1.00 M"},
        {0.5, "0.500"},
        {1.5, "1.50"},
        {0.000456, "4.56e-04"},
        {-1500, "-1.50 k"},
        {99.96, "100"},
        {9.996, "10.0"},
        {NAN, "N/A"},
    };
    char buf[32];
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_string_equal(format_count(buf, cases[i].value), cases[i].expected);
    assert_string_equal(format_si(buf, 118e6, "B"), "118 MB");
    assert_string_equal(format_si(buf, 2.5e9, "FLOP/s"), "2.50 GFLOP/s");
    assert_string_equal(format_si(buf, 12, "B"), "12 B");
    assert_string_equal(format_si(buf, 12, NULL), "12");
}

static void test_durations(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *expected;
    } cases[] = {
        {0, "0 s"},
        {3e-9, "3.00 ns"},
        {4.56e-6, "4.56 us"},
        {0.0123, "12.3 ms"},
        {0.9999, "1.00 s"},
        {12.34, "12.3 s"},
        {99.9, "99.9 s"},
        {99.96, "1 min 40 s"},
        {125, "2 min 05 s"},
        {3599.4, "59 min 59 s"},
        {3599.6, "1 h 00 min"},
        {12300, "3 h 25 min"},
        {86399, "1 d 0 h"},
        {86400 * 54.5, "54 d 12 h"},
        {-125, "-2 min 05 s"},
        {-1.5, "-1.50 s"},
        {1e15, "1.00e+15 s"},
        {NAN, "N/A"},
        {INFINITY, "N/A"},
    };
    char buf[32];
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_string_equal(format_duration(buf, cases[i].value), cases[i].expected);
}

/* Every value of every size fits its buffer and never shows four digits before a unit. */
static void test_all_sizes(void **state)
{
    (void)state;
    char buf[32];
    for (uint64_t i = 0; i < 20000; i++) {
        double v = pow(10.0, rng_uniform(1, 1, i) * 600 - 300) * (i % 2 ? 1 : -1);
        assert_true(strlen(format_bytes(buf, v)) < 31);
        assert_true(strlen(format_count(buf, v)) < 31);
        assert_true(strlen(format_duration(buf, v)) < 31);
        assert_true(strlen(format_si(buf, v, "FLOP/s per processor and then some")) < 32);
    }
    for (double v = 1; v < 1e15; v *= 1.0137) {
        format_count(buf, v);
        assert_true(strspn(buf, "0123456789") <= 3);
    }
}

static void test_table(void **state)
{
    (void)state;
    static const char *const heads[] = {"name", "count", "share"};
    struct table *t = table_new(heads, 3, "lrr");
    table_row(t, "caf\xC3\xA9", "1", "0.5");
    table_row(t, "\xE6\x97\xA5\xE6\x9C\xAC", "12345678", NULL); /* two wide characters */
    table_rule(t);
    table_row(t, "two\nlines", "", "1");
    char *text;
    size_t size;
    CAPTURE(text, size, out, table_print(t, out));
    assert_string_equal(text, "name          count  share\n"
                              "\u2500\u2500\u2500\u2500\u2500\u2500\u2500\u2500\u2500\u2500\u2500"
                              "\u2500\u2500\u2500\u2500\u2500\u2500\u2500\u2500\u2500\u2500\u2500"
                              "\u2500\u2500\u2500\u2500\n"
                              "caf\u00E9              1    0.5\n"
                              "\u65E5\u672C       12345678    N/A\n"
                              "\u2500\u2500\u2500\u2500\u2500\u2500\u2500\u2500\u2500\u2500\u2500"
                              "\u2500\u2500\u2500\u2500\u2500\u2500\u2500\u2500\u2500\u2500\u2500"
                              "\u2500\u2500\u2500\u2500\n"
                              "two lines                1\n");
    free(text);
    table_free(t);
    table_free(NULL);
}

static void test_table_of_one_column(void **state)
{
    (void)state;
    static const char *const heads[] = {"x"};
    struct table *t = table_new(heads, 1, "l");
    for (int i = 0; i < 100; i++)
        table_row(t, "\xff\xfe"); /* not UTF-8: a cell each, and no crash */
    char *text;
    size_t size;
    CAPTURE(text, size, out, table_print(t, out));
    assert_contains(text, "x\n\u2500\u2500\n\xff\xfe\n");
    free(text);
    table_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),     cmocka_unit_test(test_counts),
        cmocka_unit_test(test_durations), cmocka_unit_test(test_all_sizes),
        cmocka_unit_test(test_table),     cmocka_unit_test(test_table_of_one_column),
    };
    return cmocka_run_group_tests_name("base_print", tests, NULL, NULL);
}
