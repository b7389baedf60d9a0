/* test_base_json.c: JSON in with errors that name the place, and lines out that read back. */
#include "test_cmocka.h"

#include <math.h>

static int parse(const char *text, json_t **root, struct error *e)
{
    return json_parse(text, strlen(text), "index.json", root, e);
}

static void test_parse_errors(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "index.json:1:1: "},
        {"{\"a\": 1,\n \"b\": }", "index.json:2:7: unexpected token"},
        {"{\"a\": 1, \"a\": 2}", "duplicate"},
        {"{\"a\": 1} x", "end of file expected"},
        {"[1, 2", "index.json:1:"},
        {"{\"a\": \"\xff\"}", "unable to decode byte 0xff"},
        {"[1e999]", "real number overflow"},
        {"[99999999999999999999]", "too big"},
        {"3", "index.json:1:1: "},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        json_t *root;
        struct error e = {0};
        if (parse(cases[i].text, &root, &e) != ERROR_CONFIG)
            fail_msg("'%s' was accepted", cases[i].text);
        assert_contains(e.text, cases[i].message);
        assert_null(root);
    }
    /* as deep as it likes: an error, not a stack overflow */
    struct str deep = {0};
    struct error e = {0};
    json_t *root;
    for (int i = 0; i < 1000000; i++)
        str_append_char(&deep, '[');
    assert_int_equal(parse(deep.data, &root, &e), ERROR_CONFIG);
    str_fini(&deep);
}

static void test_members(void **state)
{
    (void)state;
    struct error e = {0};
    json_t *o;
    const char *s;
    int64_t n;
    double x;
    assert_ok(parse("{\"s\": \"text\", \"n\": -3, \"x\": 1.5, \"z\": \"a\\u0000b\", \"nul\": null, "
                    "\"t\": true, \"o\": {}, \"a\": []}",
                    &o, &e),
              e);
    assert_ok(json_get_string(o, "s", &s, "f.json", &e), e);
    assert_string_equal(s, "text");
    assert_ok(json_get_int(o, "n", &n, "f.json", &e), e);
    assert_int_equal(n, -3);
    assert_ok(json_get_real(o, "x", &x, "f.json", &e), e);
    assert_true(x == 1.5);
    assert_ok(json_get_real(o, "n", &x, "f.json", &e), e);
    assert_true(x == -3.0);
    static const struct {
        const char *key, *message;
    } cases[] = {
        {"s", "f.json: 's' should be a whole number, but is a string"},
        {"x", "'x' should be a whole number, but is a number"},
        {"nul", "but is null"},
        {"t", "but is true or false"},
        {"o", "but is an object"},
        {"a", "but is an array"},
        {"q", "f.json: 'q' is missing"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(json_get_int(o, cases[i].key, &n, "f.json", &e), ERROR_CONFIG);
        assert_contains(e.text, cases[i].message);
    }
    assert_true(json_get_string(o, "n", &s, "f.json", &e) < 0);
    assert_contains(e.text, "should be a string, but is a whole number");
    assert_true(json_get_string(o, "z", &s, "f.json", &e) < 0);
    assert_contains(e.text, "NUL");
    assert_true(json_get_real(o, "s", &x, "f.json", &e) < 0);
    json_decref(o);
}

static void test_files(void **state)
{
    (void)state;
    struct arena a;
    struct error e = {0};
    json_t *root;
    char *text;
    size_t size;
    arena_init(&a);
    char *dir = test_folder(&a), *path = file_join(&a, dir, "x.json");
    assert_true(json_load_path(path, 100, &root, &e) < 0);
    assert_contains(e.text, "no such file");
    json_t *o = json_pack("{s:i, s:[f], s:s}", "b", 1, "a", 0.1, "c", "\xC3\xA9");
    assert_ok(json_save_path(o, path, &e), e);
    assert_ok(file_read(path, 1000, &text, &size, &e), e);
    assert_string_equal(text, "{\n  \"a\": [\n    0.10000000000000001\n  ],\n  \"b\": 1,\n"
                              "  \"c\": \"\xC3\xA9\"\n}\n");
    mem_free(text);
    assert_ok(json_load_path(path, 1000, &root, &e), e);
    assert_true(json_equal(root, o));
    json_decref(root);
    json_decref(o);
    assert_true(json_load_path(path, 10, &root, &e) < 0);
    assert_contains(e.text, "too large");
    assert_ok(file_write(path, "{\n\"a\" 1}", 8, &e), e);
    assert_int_equal(json_load_path(path, 1000, &root, &e), ERROR_CONFIG);
    assert_contains(e.text, "x.json:2:");
    file_remove_tree(dir, NULL);
    arena_fini(&a);
}

static void test_writer(void **state)
{
    (void)state;
    struct str s = {0};
    struct json_writer w;
    for (int round = 0; round < 3; round++) {
        uint64_t n = mem_alloc_count();
        str_clear(&s);
        jsonw_begin(&w, &s);
        jsonw_open(&w, NULL, '{');
        jsonw_int(&w, "i", INT64_MIN);
        jsonw_open(&w, "list", '[');
        jsonw_real(&w, NULL, 0.1);
        jsonw_bool(&w, NULL, true);
        jsonw_open(&w, NULL, '{');
        jsonw_close(&w, '}');
        jsonw_open(&w, NULL, '[');
        jsonw_close(&w, ']');
        jsonw_close(&w, ']');
        jsonw_bool(&w, "f", false);
        jsonw_string(&w, "s", "a\"b\\c\n\t\x01/\x7f");
        jsonw_string(&w, "none", NULL);
        jsonw_string_n(&w, "part", "abcdef", 3);
        jsonw_real(&w, "nan", NAN);
        jsonw_real(&w, "inf", -INFINITY);
        jsonw_close(&w, '}');
        if (round == 2) assert_int_equal(mem_alloc_count(), n);
    }
    assert_string_equal(s.data,
                        "{\"i\":-9223372036854775808,\"list\":[0.1,true,{},[]],\"f\":false,"
                        "\"s\":\"a\\\"b\\\\c\\n\\t\\u0001/\\u007f\",\"none\":null,\"part\":\"abc\","
                        "\"nan\":null,\"inf\":null}");
    struct error e;
    json_t *root;
    assert_ok(json_parse(s.data, s.len, "line", &root, &e), e);
    json_decref(root);
    str_fini(&s);
}

static void test_writer_mends_bytes_that_are_not_utf8(void **state)
{
    (void)state;
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"},
        {"a\xff"
         "b",
         "a\xEF\xBF\xBD"
         "b"},
        {"\xC3", "\xEF\xBF\xBD"},                                 /* cut off */
        {"\xC0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD"},                 /* overlong */
        {"\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"}, /* surrogate */
        {"\xF4\x90\x80\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"\xE0\x80\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str s = {0};
        struct json_writer w;
        jsonw_begin(&w, &s);
        jsonw_open(&w, NULL, '[');
        jsonw_string(&w, NULL, cases[i].text);
        jsonw_close(&w, ']');
        struct error e;
        json_t *root;
        assert_ok(json_parse(s.data, s.len, "line", &root, &e), e);
        assert_string_equal(json_string_value(json_array_get(root, 0)), cases[i].expected);
        json_decref(root);
        str_fini(&s);
    }
}

/* Shortest text that reads back to the same bits. */
static void test_reals(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *expected;
    } cases[] = {
        {0, "0"},
        {-0.0, "-0"},
        {1, "1"},
        {0.1, "0.1"},
        {1e22, "1e+22"},
        {5e-324, "5e-324"},
        {1.0 / 3, "0.3333333333333333"},
        {0.1 + 0.2, "0.30000000000000004"},
        {1e-310, "1e-310"},
        {123456789, "123456789"},
        {2.2250738585072014e-308, "2.2250738585072014e-308"},
        {1.7976931348623157e308, "1.7976931348623157e+308"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str s = {0};
        struct json_writer w;
        jsonw_begin(&w, &s);
        jsonw_real(&w, NULL, cases[i].value);
        assert_string_equal(s.data, cases[i].expected);
        str_fini(&s);
    }
    for (uint64_t i = 0; i < 20000; i++) {
        uint64_t bits = rng_u64(3, 1, i), back;
        double value, read;
        memcpy(&value, &bits, sizeof(value));
        if (!isfinite(value)) continue;
        struct str s = {0};
        struct json_writer w;
        jsonw_begin(&w, &s);
        jsonw_real(&w, NULL, value);
        read = strtod(s.data, NULL);
        memcpy(&back, &read, sizeof(back));
        assert_true(back == bits);
        str_fini(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse_errors),
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_writer),
        cmocka_unit_test(test_writer_mends_bytes_that_are_not_utf8),
        cmocka_unit_test(test_reals),
    };
    return cmocka_run_group_tests_name("base_json", tests, NULL, NULL);
}
