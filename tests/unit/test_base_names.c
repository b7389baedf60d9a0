/* test_base_names.c: the nearest name, and numbers as people type them. */
#include "test_cmocka.h"

#include <math.h>

static void test_nearest(void **state)
{
    (void)state;
    static const char *const names[] = {"train",        "generate",     "eval",
                                        "plot",         "help",         "data",
                                        "check-golden", "optimizer.lr", "learning-rate"};
    static const struct {
        const char *word, *expected;
    } cases[] = {
        {"train", "train"},
        {"trian", "train"}, /* a swap is one edit */
        {"trai", "train"},
        {"trainn", "train"},
        {"tarin", "train"},
        {"generat", "generate"},
        {"genarete", "generate"},
        {"optimzer.lr", "optimizer.lr"},
        {"learning_rate", "learning-rate"},
        {"learn-rate", "learning-rate"}, /* 3 edits, allowed in 10 letters */
        {"checkgolden", "check-golden"},
        {"xyzzy", NULL},
        {"", NULL},
        {"q", NULL},
        {"serve-the-web", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *near = name_nearest(cases[i].word, names, ARRAY_LEN(names));
        if (!cases[i].expected)
            assert_null(near);
        else if (!near || strcmp(near, cases[i].expected) != 0)
            fail_msg("'%s' gave '%s'", cases[i].word, near ? near : "nothing");
    }
    assert_null(name_nearest("train", names, 0));
}

/* Two edits of a short word leave nothing of it, unless it begins the same. */
static void test_nearest_of_short_words(void **state)
{
    (void)state;
    static const char *const names[] = {"dir", "cost", "gpus", "seed"};
    assert_null(name_nearest("lr", names, ARRAY_LEN(names)));
    assert_null(name_nearest("fast", names, ARRAY_LEN(names)));
    assert_string_equal(name_nearest("gup", names, ARRAY_LEN(names)), "gpus");
    assert_string_equal(name_nearest("sed", names, ARRAY_LEN(names)), "seed");
}

static void test_nearest_key(void **state)
{
    (void)state;
    static const char *const keys[] = {"name",           "dir",
                                       "data.seed",      "optimizer.lr",
                                       "optimizer.kind", "optimizer.muon_lr",
                                       "balance.kind",   "power_cap_w"};
    static const struct {
        const char *key, *expected;
    } cases[] = {
        {"lr", "optimizer.lr"},
        {"optim.lr", "optimizer.lr"},
        {"muonlr", "optimizer.muon_lr"},
        {"optimizer.lrr", "optimizer.lr"},
        {"optimizer.muon-lr", "optimizer.muon_lr"},
        {"balanc.kind", "balance.kind"},
        {"power", "power_cap_w"},
        {"nmae", "name"},
        {"x", NULL},
        {"", NULL},
        {"data.tokenizer", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *near = name_nearest_key(cases[i].key, keys, ARRAY_LEN(keys));
        if (!cases[i].expected)
            assert_null(near);
        else if (!near || strcmp(near, cases[i].expected) != 0)
            fail_msg("'%s' gave '%s'", cases[i].key, near ? near : "nothing");
    }
}

static void test_nearest_of_long_words(void **state)
{
    (void)state;
    char word[200], near[200];
    const char *names[1] = {near};
    memset(word, 'a', sizeof(word));
    memset(near, 'a', sizeof(near));
    word[64] = near[64] = '\0';
    near[3] = 'b';
    assert_ptr_equal(name_nearest(word, names, 1), near);
    word[64] = 'a'; /* longer than anything worth comparing */
    word[150] = '\0';
    assert_null(name_nearest(word, names, 1));
    assert_null(name_nearest("aaa", (const char *const[]){word}, 1));
}

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double value;
    } good[] = {
        {"0", 0},         {"42", 42},          {"-3", -3},
        {"+3", 3},        {"1.5", 1.5},        {".5", 0.5},
        {"2.", 2},        {"1e3", 1000},       {"1E-3", 1e-3},
        {"20M", 20e6},    {"1.5G", 1.5e9},     {"2T", 2e12},
        {"1P", 1e15},     {"3k", 3000},        {"1Ki", 1024},
        {"2Mi", 2097152}, {"1Gi", 1073741824}, {"1Ti", 1099511627776},
        {"100_000", 1e5}, {"1_0.5_0", 10.5},   {"-1.5k", -1500},
        {"1e3k", 1e6},    {"0.1", 0.1},        {"15.6B", 15.6e9},
        {"405B", 405e9},
    };
    static const char *const bad[] = {
        "",
        " ",
        "x",
        "1x",
        "1 ",
        " 1",
        "1 k",
        "--1",
        "+-1",
        "1_",
        "_1",
        "1__0",
        ".",
        "-",
        "e3",
        "1e",
        "1e+",
        "1K",
        "1KiB",
        "1KB",
        "1b",
        "1BB",
        "1kk",
        "0x10",
        "inf",
        "nan",
        "1,5",
        "1.2.3",
        "1e999",
        "1e308P",
        "1O0",
        "k",
        "1\n",
        "9"
        "99999999999999999999"
        "9999999999999999999999999999999999999999999999999999999999999999999999999999999999999",
    };
    double v;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        if (parse_number(good[i].text, &v) < 0 || v != good[i].value)
            fail_msg("'%s' gave %.17g", good[i].text, v);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        v = 77;
        if (parse_number(bad[i], &v) >= 0) fail_msg("'%s' was taken for %g", bad[i], v);
        assert_true(v == 77); /* untouched */
    }
}

/* B is a billion where tokens or parameters are counted, and a byte where those are. */
static void test_billions(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum unit_kind kind;
        double value; /* 0: refused */
    } cases[] = {
        {"15.6B", UNIT_TOKENS, 15.6e9},
        {"15.6 B tokens", UNIT_TOKENS, 15.6e9},
        {"15T tokens", UNIT_TOKENS, 15e12},
        {"50k", UNIT_TOKENS, 50e3},
        {"1.3M", UNIT_TOKENS, 1.3e6},
        {"20 tokens", UNIT_TOKENS, 20},
        {"405B", UNIT_NONE, 405e9},
        {"80B", UNIT_BYTES, 80},
        {"80GB", UNIT_BYTES, 80e9},
        {"5B", UNIT_W, 0},
        {"5B", UNIT_FLOPS, 0},
        {"5B", UNIT_SHARE, 0},
        {"5 B tokens", UNIT_NONE, 0},
        {"5 X tokens", UNIT_TOKENS, 0},
        {"5 tokens tokens", UNIT_TOKENS, 0},
    };
    int64_t whole;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        double v = 0;
        const char *unit;
        bool good = unit_parse(cases[i].text, cases[i].kind, &v, &unit) == UNIT_OK;
        if (good != (cases[i].value != 0) || (good && fabs(v / cases[i].value - 1) > 1e-12))
            fail_msg("'%s' of kind %d gave %d, %g", cases[i].text, cases[i].kind, good, v);
    }
    assert_int_equal(parse_int("15.6B", &whole), 0);
    assert_true(whole == 15600000000);
}

static void test_whole_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t value;
    } good[] = {
        {"0", 0},
        {"-0", 0},
        {"9223372036854775807", INT64_MAX},
        {"-9223372036854775808", INT64_MIN},
        {"9007199254740993", 9007199254740993}, /* not a double: must not go through one */
        {"20M", 20000000},
        {"1.5k", 1500},
        {"2e9", 2000000000},
        {"8Gi", 8589934592},
        {"9_223P", 9223000000000000000},
    };
    static const char *const bad[] = {
        "1.5",
        "0.1k5",
        "9223372036854775808",
        "-9223372036854775809",
        "10000P",
        "1e300",
        "1e-3",
        "",
        "1k5",
        "99999999999999999999",
        "1e17",
        "0.0001k",
    };
    int64_t v;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        if (parse_int(good[i].text, &v) < 0 || v != good[i].value)
            fail_msg("'%s' gave %lld", good[i].text, (long long)v);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (parse_int(bad[i], &v) >= 0) fail_msg("'%s' was taken for %lld", bad[i], (long long)v);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nearest),     cmocka_unit_test(test_nearest_of_short_words),
        cmocka_unit_test(test_nearest_key), cmocka_unit_test(test_nearest_of_long_words),
        cmocka_unit_test(test_numbers),     cmocka_unit_test(test_whole_numbers),
        cmocka_unit_test(test_billions),
    };
    return cmocka_run_group_tests_name("base_names", tests, NULL, NULL);
}
