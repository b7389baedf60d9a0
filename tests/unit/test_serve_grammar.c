/* Tests of src/serve/grammar: which texts a schema's grammar takes, and which schemas are refused. */
#include "serve/grammar/serve_grammar_internal.h"
#include "test_cmocka.h"

static grammar_t *compile(const char *schema, struct error *e)
{
    json_t *j = json_loads(schema, JSON_DECODE_ANY, NULL);
    grammar_t *g = grammar_new();
    if (!j) fail_msg("no JSON: %s", schema);
    const struct gnode *n = schema_node(g, j, e);
    json_decref(j);
    if (n && grammar_finish(g, n, e) == 0) return g;
    grammar_free(g);
    return NULL;
}

/* Byte by byte, as texts come; and all at once. */
static bool takes(const grammar_t *g, const char *text)
{
    grammar_state_t *s = grammar_state_new(g), *whole = grammar_state_new(g);
    size_t n = strlen(text), i = 0;
    while (i < n && grammar_allows(s, text + i, 1))
        grammar_take(s, text + i++, 1);
    if (n) assert_int_equal(grammar_allows(whole, text, n), i == n);
    bool all = i == n && grammar_may_end(s);
    grammar_state_free(s);
    grammar_state_free(whole);
    return all;
}

/* Texts that fit, up to "|", and texts that do not, up to NULL. */
static void expect(const char *schema, const char *const *texts)
{
    struct error e = {0};
    grammar_t *g = compile(schema, &e);
    bool wanted = true;
    if (!g) fail_msg("%s: %s", schema, e.text);
    for (; *texts; texts++) {
        if (strcmp(*texts, "|") == 0)
            wanted = false;
        else if (takes(g, *texts) != wanted)
            fail_msg("%s: %s should %sfit", schema, *texts, wanted ? "" : "not ");
    }
    grammar_free(g);
}
#define EXPECT(schema, ...) expect(schema, (const char *const[]){__VA_ARGS__, NULL})

static void expect_refused(const char *schema, const char *words)
{
    struct error e = {0};
    grammar_t *g = compile(schema, &e);
    if (g) fail_msg("%s was taken", schema);
    if (!strstr(e.text, words)) fail_msg("%s: '%s' lacks '%s'", schema, e.text, words);
}

static void simple_types(void **unused)
{
    (void)unused;
    EXPECT("{\"type\":\"boolean\"}", "true", "false", "|", "null", "tru", "truee", "");
    EXPECT("{\"type\":[\"null\",\"boolean\"]}", "null", "true", "|", "0");
    EXPECT("{\"type\":\"string\"}", "\"\"", "\"a b\"", "\"\\n\\u00e9\"", "\"\xf0\x9f\x99\x82\"",
           "\"\\\"\"", "|", "\"\n\"", "\"\\x\"", "\"\\ud800\"", "\"\xff\"", "\"a", "a");
    EXPECT("{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}", "\"ab\"", "\"\xc3\xa9xy\"",
           "\"\\u00e9x\"", "|", "\"a\"", "\"abcd\"");
    EXPECT("{\"type\":\"integer\"}", "0", "-12", "123456789", "|", "01", "1.5", "-", "+1", "1e3");
    EXPECT("{\"type\":\"number\"}", "0", "-1.5", "2e10", "0.25E-3", "|", ".5", "1.", "1e", "1e999");
    EXPECT("{\"enum\":[\"a\",1,null,{\"b\":[]}]}", "\"a\"", "1", "null", "{\"b\":[]}", "|", "2",
           "\"b\"");
    EXPECT("{\"const\":\"x\\ny\"}", "\"x\\ny\"", "|", "\"xy\"");
    EXPECT("{\"enum\":[1,\"a\"],\"type\":\"string\"}", "\"a\"", "|", "1");
    EXPECT("true", "1", "{\"a\": [null, {}]}", "[1,2]", "|", "{\"a\"}", "[1,]");
}

/* Against every number around: nothing out of the bounds is taken, and nothing within them left
 * out. */
static void whole_numbers(void **unused)
{
    static const int bounds[][2] = {{0, 120}, {-5, 5}, {7, 7}, {-130, -9}, {95, 1003}, {-1, 0}};
    (void)unused;
    for (size_t i = 0; i < ARRAY_LEN(bounds); i++) {
        char schema[100], text[16];
        struct error e = {0};
        snprintf(schema, sizeof(schema), "{\"type\":\"integer\",\"minimum\":%d,\"maximum\":%d}",
                 bounds[i][0], bounds[i][1]);
        grammar_t *g = compile(schema, &e);
        assert_non_null(g);
        for (int x = -1200; x <= 1200; x++) {
            snprintf(text, sizeof(text), "%d", x);
            if (takes(g, text) != (x >= bounds[i][0] && x <= bounds[i][1]))
                fail_msg("%s: %s", schema, text);
        }
        grammar_free(g);
    }
    EXPECT("{\"type\":\"number\",\"minimum\":-2,\"exclusiveMaximum\":3}", "-2", "-1.5", "-0.25",
           "2.999", "|", "3", "3.5", "-2.5", "3.0");
}

static void lists_and_objects(void **unused)
{
    (void)unused;
    EXPECT("{\"type\":\"array\",\"items\":{\"type\":\"integer\"},\"minItems\":1,\"maxItems\":3}",
           "[1]", "[1, 2,3]", "|", "[]", "[1,2,3,4]", "[1,]", "[\"a\"]");
    EXPECT("{\"type\":\"array\",\"maxItems\":0}", "[]", "|", "[1]");
    EXPECT("{\"prefixItems\":[{\"type\":\"integer\"},{\"type\":\"boolean\"}]}", "[1,true]", "|",
           "[1]", "[true,1]");
#define PET                                                                              \
    "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":" \
    "\"boolean\"},"                                                                      \
    "\"c\":{\"type\":\"null\"}},\"required\":[\"b\"],\"additionalProperties\":false}"
    EXPECT(PET, "{\"b\":true}", "{\"a\": 1, \"b\": false, \"c\": null}", "{\"b\":true,\"c\":null}",
           "|", "{}", "{\"a\":1}", "{\"b\":true,\"d\":1}", "{\"b\":true,}", "{,\"b\":true}");
    EXPECT("{\"type\":\"object\",\"additionalProperties\":{\"type\":\"integer\"}}", "{}",
           "{\"x\":1}", "{\"x\":1,\"y\":2}", "|", "{\"x\":true}");
    EXPECT("{\"type\":\"object\",\"additionalProperties\":false}", "{}", "|", "{\"a\":1}");
    EXPECT("{\"required\":[\"q\"]}", "{\"q\":[1]}", "|", "{}");
}

static void choices_and_references(void **unused)
{
    (void)unused;
    EXPECT("{\"anyOf\":[{\"type\":\"integer\"},{\"type\":\"string\",\"maxLength\":1}]}", "5",
           "\"a\"", "|", "\"ab\"", "null");
    EXPECT("{\"$ref\":\"#/$defs/"
           "n\",\"$defs\":{\"n\":{\"type\":\"object\",\"properties\":{\"v\":{\"type\":"
           "\"integer\"},\"next\":{\"anyOf\":[{\"$ref\":\"#/$defs/n\"},{\"type\":\"null\"}]}},"
           "\"required\":[\"v\",\"next\"]}}}",
           "{\"v\":1,\"next\":null}", "{\"v\":1,\"next\":{\"v\":2,\"next\":null}}", "|",
           "{\"v\":1}");
    EXPECT("{\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"null\"}]}", "1", "null", "|", "true");
}

static void patterns(void **unused)
{
    (void)unused;
    EXPECT("{\"pattern\":\"^[a-c]{2,3}\\\\d+$\"}", "\"ab1\"", "\"abc12\"", "|", "\"a1\"",
           "\"abcd1\"", "\"ab\"");
    EXPECT("{\"pattern\":\"^(foo|ba[rz])?$\"}", "\"\"", "\"foo\"", "\"baz\"", "|", "\"ba\"");
    EXPECT("{\"pattern\":\"x\"}", "\"x\"", "\"axb\"", "|", "\"ab\"");
    EXPECT("{\"pattern\":\"^[^a]$\"}", "\"b\"", "\"\xc3\xa9\"", "\"\\\"\"", "|", "\"a\"", "\"\"");
    EXPECT("{\"format\":\"date\"}", "\"2026-02-28\"", "|", "\"2026-13-01\"", "\"26-01-01\"");
    EXPECT("{\"format\":\"uuid\"}", "\"01234567-89ab-cdef-0123-456789abcdef\"", "|", "\"0\"");
}

static void refusals(void **unused)
{
    (void)unused;
    expect_refused("{\"type\":\"nonsense\"}", "no type 'nonsense'");
    expect_refused("{\"type\":\"string\",\"pattern\":\"^(unclosed\"}", "')' is missing");
    expect_refused("{\"type\":\"string\",\"pattern\":\"(?=a)\"}", "look-around");
    expect_refused("{\"pattern\":\"(a*)*\"}", "may be empty is repeated");
    expect_refused("{\"$ref\":\"#/$defs/none\"}", "leads nowhere");
    expect_refused("{\"$ref\":\"#\"}", "circle");
    expect_refused("{\"anyOf\":[{\"$ref\":\"#\"},{\"$ref\":\"#\"}]}", "circle");
    expect_refused(
        "{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#\"}},\"required\":[\"a\"]}",
        "no JSON that ends");
    expect_refused("{\"type\":\"array\",\"uniqueItems\":true}", "'uniqueItems'");
    expect_refused("{\"not\":{}}", "'not'");
    expect_refused("{\"type\":\"string\",\"format\":\"regex\"}", "'regex'");
    expect_refused("{\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"number\"}]}", "two schemas");
    expect_refused("{\"type\":\"integer\",\"minimum\":3,\"maximum\":2}", "no whole number");
    expect_refused("{\"requried\":[]}", "'requried'");
    expect_refused("false", "no object");
    expect_refused("7", "no object");
}

/* A stack of lists a hundred thousand deep costs memory in proportion, and is cut short. */
static void depth_is_bounded(void **unused)
{
    struct error e = {0};
    grammar_t *g = compile("true", &e);
    grammar_state_t *s = grammar_state_new(g);
    size_t n = 0;
    (void)unused;
    while (n < 200000 && grammar_allows(s, "[", 1)) {
        grammar_take(s, "[", 1);
        n++;
    }
    assert_true(n > 1000 && n < 200000);
    grammar_state_free(s);
    grammar_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(simple_types),      cmocka_unit_test(whole_numbers),
        cmocka_unit_test(lists_and_objects), cmocka_unit_test(choices_and_references),
        cmocka_unit_test(patterns),          cmocka_unit_test(refusals),
        cmocka_unit_test(depth_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
