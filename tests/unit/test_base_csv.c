/* test_base_csv.c: RFC 4180 as spreadsheets write it; every error names the place. */
#include "test_cmocka.h"

#include "base/base.h"

static int parse(const char *text, size_t size, struct arena *a, struct csv *t, struct error *e)
{
    /* an exact copy: a read past the end is past the allocation's end */
    char *copy = mem_alloc(size);
    memcpy(copy, text, size);
    int rc = csv_parse(copy, size, "runs.csv", a, t, e);
    mem_free(copy);
    return rc;
}

static void test_fields(void **state)
{
    (void)state;
    static const char text[] = "\xEF\xBB\xBFid,source,notes\r\n"
                               "1,\"a, b\",\"says \"\"yes\"\"\"\r\n"
                               "\r\n"
                               "2,,\"two\r\nlines\"\n"
                               "3,\"\", x ";
    struct arena a;
    struct error e = {0};
    struct csv t;
    arena_init(&a);
    assert_ok(parse(text, sizeof(text) - 1, &a, &t, &e), e);
    assert_int_equal(t.n_columns, 3);
    assert_int_equal(t.n_rows, 3);
    int source = csv_column(&t, "source"), notes = csv_column(&t, "notes");
    assert_int_equal(csv_column(&t, "id"), 0);
    assert_string_equal(csv_field(&t, 0, source), "a, b");
    assert_string_equal(csv_field(&t, 0, notes), "says \"yes\"");
    assert_string_equal(csv_field(&t, 1, source), "");
    assert_string_equal(csv_field(&t, 1, notes), "two\r\nlines");
    assert_string_equal(csv_field(&t, 2, notes), " x "); /* blanks are part of a field */
    assert_int_equal(t.lines[0], 2);
    assert_int_equal(t.lines[1], 4);
    assert_int_equal(t.lines[2], 6); /* behind the field with a line break */
    assert_int_equal(csv_column(&t, "absent"), -1);
    assert_string_equal(csv_field(&t, 0, -1), "");
    arena_fini(&a);
}

static void test_errors(void **state)
{
    (void)state;
    static const struct {
        const char *text, *error, *hint;
    } cases[] = {
        {"", "runs.csv:1:1: the table is empty", "names the columns"},
        {"a,b\n1,2,3\n", "runs.csv:2:6: more fields than the head has columns", "quote a field"},
        {"a,b\n1,2\n\n1\n", "runs.csv:4:2: 1 fields, but the head has 2 columns", "comma"},
        {"a,b\n1,\"2\n3\n", "runs.csv:2:3: the quote that opens here is never closed", "twice"},
        {"a,b\n1,\"2\"x\n", "runs.csv:2:6: text behind the closing quote", "whole field"},
        {"a,b\n1,2\"x\n", "runs.csv:2:4: a quote inside a field", "double the quote"},
        {"a,b,a\n", "runs.csv:1: column 'a' is named twice", "columns 1 and 3"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena a;
        struct error e = {0};
        struct csv t;
        arena_init(&a);
        assert_int_equal(parse(cases[i].text, strlen(cases[i].text), &a, &t, &e), ERROR_CONFIG);
        assert_contains(e.text, cases[i].error);
        assert_contains(e.hint, cases[i].hint);
        arena_fini(&a);
    }
}

static void test_binary(void **state)
{
    (void)state;
    struct arena a;
    struct error e = {0};
    struct csv t;
    arena_init(&a);
    assert_int_equal(parse("a,b\n1,\0\n", 8, &a, &t, &e), ERROR_CONFIG);
    assert_contains(e.text, "runs.csv:2:3: a NUL byte");
    assert_int_equal(parse("a,b\n1,\"\0\"\n", 10, &a, &t, &e), ERROR_CONFIG);
    assert_contains(e.text, "NUL");
    assert_true(csv_load("/nonexistent/runs.csv", &a, &t, &e) < 0);
    assert_contains(e.text, "/nonexistent/runs.csv");
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fields), cmocka_unit_test(test_errors),
                                       cmocka_unit_test(test_binary)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
