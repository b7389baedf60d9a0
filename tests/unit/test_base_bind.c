/* test_base_bind.c: descriptions bound by a table of options: figures, units, lists, defaults, old
 * names, and what an error says. Run files' side of it is test_base_yaml.c. */
#include "test_cmocka.h"

#include <string.h>

struct thing {
    const char *name;
    struct figure power_w, share;
    int32_t small;
    int64_t whole;
    double real;
    bool yes;
    int kind;
    int seen; /* by the custom row */
};

static int read_custom(const struct yaml_reader *r, const struct option *row,
                       const struct yaml_node *node, void *target)
{
    if (node->kind != YAML_KIND_LIST) return yaml_wrong_row(r, node, row, "'custom' is a list");
    ((struct thing *)target)->seen = (int)node->count;
    return 0;
}

static const char *const kinds[] = {"red", "green", NULL};
#define T struct thing
static const struct option rows[] = {
    ROW_STRING(T, "name", name, "", "abc", "a name"),
    ROW_FIGURE(T, "power_w", power_w, UNIT_W, "700 W", "650 W", "watts"),
    ROW_FIGURE_IN(T, "deep.share", share, UNIT_SHARE, "", 0, 1, "5 %", "a share"),
    ROW_INT32(T, "small", small, 1, 8, "2", "a small number"),
    ROW_INT(T, "whole", whole, "tokens", NULL, 1, 1e12, "20M", "must be given"),
    ROW_REAL(T, "real", real, NULL, "0.5", -1, 1, "0.25", "a number"),
    ROW_BOOL(T, "yes", yes, "true", "a switch"),
    ROW_ENUM(T, "kind", kind, "green", kinds, "red", "which"),
    ROW_CUSTOM("custom", "", "[1, 2]", "read by hand", read_custom),
};
static const struct option_renamed renamed[] = {{"colour", "kind"}, {NULL, NULL}};
static const struct section section = {"thing", NULL, "a thing", rows, ARRAY_LEN(rows), renamed};

struct fixture {
    struct arena a;
    struct error e;
    struct thing t;
    uint8_t origins[ARRAY_LEN(rows)];
};

static int setup(void **state)
{
    struct fixture *f = mem_calloc(1, sizeof(*f));
    arena_init(&f->a);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    arena_fini(&f->a);
    mem_free(f);
    return 0;
}

static int bind(struct fixture *f, const char *text, bool based)
{
    struct yaml_reader r = {"t.yaml", &f->a, &f->e, 0};
    struct yaml_node *root;
    memset(&f->e, 0, sizeof(f->e));
    memset(f->origins, 0, sizeof(f->origins));
    section_defaults(&section, &f->t);
    TRY(yaml_parse(text, strlen(text), "t.yaml", &f->a, &root, &f->e));
    return yaml_bind(&r, &section, root, based, &f->t, f->origins);
}

static void test_defaults(void **state)
{
    struct fixture *f = *state;
    assert_ok(bind(f, "whole: 1\n", false), f->e);
    assert_string_equal(f->t.name, "");
    assert_true(f->t.power_w.mid == 700 && f->t.power_w.high == 700 && f->t.power_w.grade == 'A');
    assert_string_equal(f->t.power_w.source, "default");
    assert_true(f->t.share.grade == 0 && f->t.share.mid == 0); /* not given */
    assert_string_equal(f->t.share.source, "");
    assert_true(f->t.small == 0 && f->t.real == 0.5 && f->t.yes && f->t.kind == 1);
    assert_int_equal(f->origins[4], ORIGIN_FILE);
    assert_int_equal(f->origins[0], ORIGIN_DEFAULT);
}

static void test_values(void **state)
{
    struct fixture *f = *state;
    assert_ok(bind(f,
                   "whole: \"1.5k\"\npower_w: {mid: \"0.7 kW\", low: 600 W, grade: S, source: x}\n"
                   "deep: {share: 5 %}\nsmall: 8\nreal: -1\nyes: no\nkind: red\ncustom: [a, b]\n",
                   false),
              f->e);
    assert_true(f->t.whole == 1500 && f->t.small == 8 && f->t.real == -1 && !f->t.yes);
    assert_true(f->t.power_w.mid == 700 && f->t.power_w.low == 600 && f->t.power_w.high == 700);
    assert_true(f->t.power_w.grade == 'S');
    assert_string_equal(f->t.power_w.source, "x");
    assert_true(f->t.share.mid == 0.05 && f->t.share.grade == 'A');
    assert_string_equal(f->t.share.source, "given");
    assert_int_equal(f->t.kind, 0);
    assert_int_equal(f->t.seen, 2);
    assert_ok(bind(f, "name: x\n", true), f->e); /* based: `whole` was filled before */
}

static void test_errors(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *text, *message, *hint;
    } cases[] = {
        {"name: x\n", "t.yaml:1:1: 'whole' of a thing is missing", "for example whole: 20M"},
        {"whole: 0\n", "'whole' must be a whole number of tokens from 1 to", "whole: 20M"},
        {"whole: 1.5\n", "'whole' must be a whole number", "whole: 20M"},
        {"whole: [1]\n", "'whole' takes one value, not a list", "whole: 20M"},
        {"whole: {a: 1}\n", "'whole' takes a value, not a section", ""},
        {"whole:\n", "'whole' has no value", "whole: 20M"},
        {"colour: red\n", "unknown key 'colour' in a thing", "'colour' is 'kind' now"},
        {"quite_else: 1\n", "unknown key 'quite_else'", "docs/reference/plan-files.md"},
        {"deep: {shore: 1}\n", "unknown key 'deep.shore'", "did you mean 'deep.share'?"},
        {"share: 1\n", "unknown key 'share'", "did you mean 'deep.share'?"},
        {"power: 1\n", "unknown key 'power'", "did you mean 'power_w'?"},
        {"deep: 1\n", "'deep' is a section", "deep: {share: 5 %}"},
        {"deep: {share: 50}\n", "a share such as 0.05 or 5 %, from 0 to 1", "deep.share: 5 %"},
        {"power_w: 700 GB\n", "must be a number in W, kW, MW or GW, at least 0, not '700 GB'",
         "power_w: 650 W"},
        {"power_w: -1 W\n", "at least 0, not '-1 W'", "650 W"},
        {"power_w: {low: 1 W}\n", "'power_w' has no mid", "mid: 650 W"},
        {"power_w: {mid: 1 W, low: 2 W}\n", "low <= mid <= high", ""},
        {"power_w: {mid: 1 W, lo: 2 W}\n", "unknown key 'power_w.lo'", "did you mean 'low'?"},
        {"power_w: {mid: 1 W, grade: X}\n", "'power_w.grade' is P, S, R, D, M or A", "grade: S"},
        {"power_w: {mid: [1]}\n", "'power_w.mid' takes one value", "power_w: 650 W"},
        {"small: 9\n", "'small' must be a whole number from 1 to 8, not '9'", "small: 2"},
        {"kind: rde\n", "'kind' must be red or green, not 'rde'", "did you mean 'red'?"},
        {"kind: blue\n", "'kind' must be red or green", "for example kind: red"},
        {"yes: maybe\n", "'yes' must be true or false", ""},
        {"custom: 1\n", "'custom' is a list", "for example custom: [1, 2]"},
        {"[1]\n", "a thing is 'key: value' lines, not a list", "for example name: abc"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (bind(f, cases[i].text, false) != ERROR_CONFIG) fail_msg("'%s'", cases[i].text);
        assert_contains(f->e.text, cases[i].message);
        assert_contains(f->e.text, "t.yaml:");
        assert_contains(f->e.hint, cases[i].hint);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_defaults, setup, teardown),
        cmocka_unit_test_setup_teardown(test_values, setup, teardown),
        cmocka_unit_test_setup_teardown(test_errors, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
