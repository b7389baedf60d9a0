/* Tests of src/serve/jinja: what templates write, which bytes of it are users', and what is an error.
 * The expected texts are those of Jinja 3.1 with trim_blocks and lstrip_blocks. */
#include "serve/jinja/serve_jinja_internal.h"
#include "test_cmocka.h"

/* The text, and "!" and the message where it is an error; caller frees. */
static char *render(const char *template, const char *given, const char *trusted)
{
    struct error e = {0};
    struct arena a = {0};
    struct jinja_text out;
    jinja_t *t;
    struct str text = {0};
    json_t *g = json_loads(given, 0, NULL), *o = json_loads(trusted, 0, NULL);
    assert_true(g && o);
    if (jinja_parse(template, strlen(template), "t", &t, &e) < 0) {
        str_printf(&text, "!%s", e.text);
    } else {
        if (jinja_render(t, o, g, &a, &out, &e) < 0)
            str_printf(&text, "!%s", e.text);
        else
            str_append(&text, out.text, out.size);
        jinja_free(t);
    }
    str_reserve(&text, 1);
    arena_fini(&a);
    json_decref(g);
    json_decref(o);
    return text.data;
}

static void expect(const char *template, const char *given, const char *wanted)
{
    char *text = render(template, given, "{}");
    if (strcmp(text, wanted) != 0)
        fail_msg("%s\nwith %s gave:\n%s\nwanted:\n%s", template, given, text, wanted);
    mem_free(text);
}

static void expect_wrong(const char *template, const char *words)
{
    char *text = render(template, "{}", "{}");
    if (text[0] != '!' || !strstr(text, words)) fail_msg("%s gave %s", template, text);
    mem_free(text);
}

static void expressions(void **unused)
{
    (void)unused;
    expect("{{ 1 + 2 * 3 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ 1 / 4 }} {{ 2 ** 3 }}", "{}",
           "7 3 -4 1 0.25 8");
    expect("{{ 'a' ~ 1 ~ true }} {{ 'ab' * 2 }}{{ 2 * 'c' }} {{ [1, 'x'] }} {{ {'k': none} }}",
           "{}", "a1True ababcc [1, 'x'] {'k': None}");
    expect("{{ x.a }} {{ x['b'][0] }} {{ x.b[-1] }} {{ x.c is defined }}|{{ x.c }}|",
           "{\"x\":{\"a\":1,\"b\":[2,3]}}", "1 2 3 False||");
    expect("{{ l[1:] }} {{ l[:-1] }} {{ l[::-1] }} {{ s[1:3] }}",
           "{\"l\":[1,2,3],\"s\":\"a\\u00e9bc\"}",
           "[2, 3] [1, 2] [3, 2, 1] \xc3\xa9"
           "b");
    expect("{{ 'yes' if a else 'no' }} {{ not a and b or c }}", "{\"a\":0,\"b\":1,\"c\":2}",
           "no 1");
    expect("{{ 'a' in 'cat' }} {{ 1 not in [1] }} {{ 1 < 2 <= 2 }} {{ 'k' in {'k': 1} }}", "{}",
           "True False True True");
    expect("{{ ' x '.strip() }}{{ 'a,b'.split(',')[1] }}{{ 'abc'.startswith('ab') }}"
           "{{ 'x'.upper() }}{{ 'a-b'.replace('-', '+') }}",
           "{}", "xbTrueXa+b");
    expect("{{ 'a  b c'.split() }}{{ 'a  b'.split(' ') }}{{ 'x'.split('x') }}", "{}",
           "['a', 'b', 'c']['a', '', 'b']['', '']");
    expect("{{ x | tojson }} {{ x | tojson(indent=2) }}",
           "{\"x\":{\"a\":[1,true,null],\"b\":\"\\u00e9\\n\"}}",
           "{\"a\": [1, true, null], \"b\": \"\xc3\xa9\\n\"} {\n  \"a\": [\n    1,\n    true,\n    "
           "null\n  ],\n  \"b\": \"\xc3\xa9\\n\"\n}");
    expect(
        "{{ l | length }} {{ l | join('-') }} {{ l | first }} {{ l | last }} {{ u | default('d') "
        "}} {{ '' | default('e', true) }} {{ [3,1,2] | sort }}",
        "{\"l\":[1,2]}", "2 1-2 1 2 d e [1, 2, 3]");
    expect("{{ m | selectattr('r', 'equalto', 'u') | map(attribute='c') | list }}"
           "{{ m | rejectattr('r', 'in', ['u']) | list | length }}",
           "{\"m\":[{\"r\":\"u\",\"c\":1},{\"r\":\"s\",\"c\":2}]}", "[1]1");
    expect("{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{{ d.get('z', 5) }}",
           "{\"d\":{\"a\":1,\"b\":2}}", "a=1;b=2;5");
    expect(
        "{{ x is string }}{{ x is mapping }}{{ y is none }}{{ z is not defined }}{{ 4 is even }}",
        "{\"x\":\"\",\"y\":null}", "TrueFalseTrueTrueTrue");
}

static void statements(void **unused)
{
    (void)unused;
    expect("{% if a %}A{% elif b %}B{% else %}C{% endif %}", "{\"b\":1}", "B");
    expect(
        "{% for x in l if x > 1 %}{{ loop.index }}{{ x }}{% if not loop.last %},{% endif %}{% else "
        "%}none{% endfor %}",
        "{\"l\":[1,2,3]}", "12,23");
    expect("{% for x in [] %}{% else %}none{% endfor %}", "{}", "none");
    expect(
        "{% for x in [1,2,3,4] %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 4 %}{% break "
        "%}{% endif %}{{ x }}{% endfor %}",
        "{}", "13");
    expect("{% set x = 1 %}{% for i in [1] %}{% set x = 2 %}{% endfor %}{{ x }}", "{}", "1");
    expect("{% set n = namespace(x=1) %}{% for i in [1,2] %}{% set n.x = n.x + i %}{% endfor %}"
           "{{ n.x }}",
           "{}", "4");
    expect("{% set t %}a{{ 1 }}{% endset %}[{{ t }}]", "{}", "[a1]");
    expect("{% macro f(a, b='x') %}{{ a }}{{ b }}{% endmacro %}{{ f(1) }}{{ f(b=2, a=3) }}", "{}",
           "1x32");
    expect("{% generation %}g{% endgeneration %}{# a comment #}.", "{}", "g.");
}

static void white_space(void **unused)
{
    (void)unused;
    expect("a\n  {% if true %}\nb\n  {% endif %}\nc\n", "{}", "a\nb\nc");
    expect("a  {%- if true -%}  b  {%- endif %} c", "{}", "ab c");
    expect("{{ 1 }}\n{{ 2 }}\n", "{}", "1\n2");
    expect("  {%+ if true %}x{% endif %}", "{}", "  x");
    expect("a {#- c -#} b", "{}", "ab");
    expect("x\n  {{- 1 }}", "{}", "x1");
}

/* Which bytes are a user's goes with them through every operation. */
static void marks(void **unused)
{
    struct error e = {0};
    struct arena a = {0};
    struct jinja_text out;
    jinja_t *t;
    const char *text = "<s>{{ m.role }}:{{ ('<s>' + m.c).strip() | upper }}{{ m.c[1:2] }}"
                       "{{ m | tojson }}{{ bos }}";
    json_t *given = json_loads("{\"m\":{\"role\":\"user\",\"c\":\"<s>x \"}}", 0, NULL);
    json_t *trusted = json_loads("{\"bos\":\"<b>\"}", 0, NULL);
    char shown[128];
    (void)unused;
    assert_ok(jinja_parse(text, strlen(text), "t", &t, &e), e);
    assert_ok(jinja_render(t, trusted, given, &a, &out, &e), e);
    assert_true(out.size < sizeof(shown));
    for (size_t i = 0; i < out.size; i++)
        shown[i] = out.user[i] ? '^' : out.text[i];
    shown[out.size] = '\0';
    assert_string_equal(shown, "<s>user:<S>^^^^^{\"^^^^\": \"user\", \"^\": \"^^^^^\"}<b>");
    assert_true(jinja_reads(t, "m"));
    assert_false(jinja_reads(t, "tools"));
    jinja_free(t);
    json_decref(given);
    json_decref(trusted);
    arena_fini(&a);
}

static void errors(void **unused)
{
    (void)unused;
    expect_wrong("a\n{% if x %}", "t:2: 'elif' is missing");
    expect_wrong("{{ 1 +", "the template ends within braces");
    expect_wrong("{{ 'a }}", "a string has no end");
    expect_wrong("\n\n{{ x.y.z }}", "t:3: a member of an undefined value");
    expect_wrong("{% frobnicate %}", "t:1: 'frobnicate' begins no statement");
    expect_wrong("{{ x | frob }}", "no filter 'frob'");
    expect_wrong("{{ f() }}", "no function 'f'");
    expect_wrong("{{ raise_exception('no ' ~ 'way') }}", "the template refuses this: no way");
    expect_wrong("{{ 1 / 0 }}", "division by 0");
    expect_wrong("{{ 'a' + 1 }}", "cannot be worked out");
    expect_wrong("{# open", "'#}' is missing");
    expect_wrong("{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
                 "takes");
    expect_wrong(
        "{% set n = namespace(s='x') %}{% for a in range(100) %}{% set n.s = n.s + n.s %}{% "
        "endfor %}",
        "takes more than");
    expect_wrong("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "nested more than");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expressions), cmocka_unit_test(statements), cmocka_unit_test(white_space),
        cmocka_unit_test(marks),       cmocka_unit_test(errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
