/* test_base_yaml.c: run files: what is read, what is refused and in which words, what is printed. */
#include "test_cmocka.h"

#include <math.h>

struct run {
    bool resume;
    int64_t steps;
    double lr, decay;
    const char *name, *path;
    int kind;
    struct option_list files;
};

static const char *const kinds[] = {"adamw", "muon", NULL};

#define AT(field) offsetof(struct run, field)
static const struct option rows[] = {
    {"name", 0, OPTION_STRING, AT(name), NULL, "run", 0, 0, NULL, "name of the run"},
    {"steps", 0, OPTION_INT, AT(steps), "steps", NULL, 1, 1e9, NULL, "how long to train"},
    {"data.path", 0, OPTION_STRING, AT(path), "FOLDER", "", 0, 0, NULL, "shards"},
    {"optimizer.kind", 0, OPTION_ENUM, AT(kind), NULL, "adamw", 0, 0, kinds, "which"},
    {"optimizer.lr", 0, OPTION_REAL, AT(lr), NULL, "1e-3", 0, INFINITY, NULL, "learning rate"},
    {"data.files", 0, OPTION_LIST, AT(files), NULL, "", 0, 0, NULL, "more shards"},
    {"optimizer.more.decay", 0, OPTION_REAL, AT(decay), NULL, "0.1", 0, 1, NULL, "decay"},
    {"resume", 0, OPTION_BOOL, AT(resume), NULL, "true", 0, 0, NULL, "go on where it stopped"},
};
enum { N_ROWS = ARRAY_LEN(rows) };
static const struct section section = SECTION("run", NULL, NULL, rows);

struct fixture {
    struct arena a;
    struct error e;
    struct run run;
    struct yaml_node *root;
    uint8_t origins[N_ROWS];
    int rc;
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

static int parse(struct fixture *f, const char *text)
{
    memset(&f->e, 0, sizeof(f->e));
    return f->rc = yaml_parse(text, strlen(text), "run.yaml", &f->a, &f->root, &f->e);
}

static int bind(struct fixture *f, const char *text)
{
    memset(f->origins, 0, sizeof(f->origins));
    options_defaults(rows, N_ROWS, &f->run);
    if (parse(f, text) < 0) return f->rc;
    struct yaml_reader r = {"run.yaml", &f->a, &f->e, 0};
    return f->rc = yaml_bind(&r, &section, f->root, false, &f->run, f->origins);
}

static void test_tree(void **state)
{
    struct fixture *f = *state;
    assert_ok(parse(f, "# comment\na: 1\nb:\n  - x\n  - 'y z'\n  - {c: [], d: \"\\u00e9\"}\ne:\n"),
              f->e);
    struct yaml_node *r = f->root, *list = yaml_get(r, "b");
    assert_int_equal(r->kind, YAML_KIND_MAP);
    assert_int_equal(r->count, 3);
    assert_string_equal(r->keys[1]->text, "b");
    assert_int_equal(r->keys[1]->line, 3);
    assert_int_equal(r->keys[1]->column, 1);
    assert_string_equal(yaml_get(r, "a")->text, "1");
    assert_false(yaml_get(r, "a")->quoted);
    assert_int_equal(list->kind, YAML_KIND_LIST);
    assert_int_equal(list->count, 3);
    assert_string_equal(list->items[1]->text, "y z");
    assert_true(list->items[1]->quoted);
    assert_int_equal(list->items[1]->line, 5);
    assert_int_equal(list->items[1]->column, 5);
    assert_int_equal(yaml_get(list->items[2], "c")->count, 0);
    assert_string_equal(yaml_get(list->items[2], "d")->text, "\xC3\xA9");
    assert_string_equal(yaml_get(r, "e")->text, "");
    assert_null(yaml_get(r, "f"));
    assert_null(yaml_get(list, "f"));
    assert_null(yaml_get(NULL, "f"));
}

static void test_empty(void **state)
{
    struct fixture *f = *state;
    static const char *const texts[] = {"", "\n\n", "# only words\n", "---\n", "~\n", "null"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        assert_ok(parse(f, texts[i]), f->e);
        assert_int_equal(f->root->kind, YAML_KIND_MAP);
        assert_int_equal(f->root->count, 0);
    }
}

static void test_refused(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"a: &x 1\nb: *x\n", "run.yaml:1:4: anchors and aliases"},
        {"a: 1\nb: *x\n", "run.yaml:2:4: anchors and aliases"},
        {"a: &x [1]\n", "run.yaml:1:4: anchors"},
        {"a: &x {b: 1}\n", "run.yaml:1:4: anchors"},
        {"<<: {a: 1}\n", "run.yaml:1:1: merge keys"},
        {"a: !!int 3\n", "run.yaml:1:4: tags such as"},
        {"a: !x [1]\n", "tags"},
        {"a: 1\nb: 2\na: 3\n", "run.yaml:3:1: 'a' is given twice, first in line 1"},
        {"s:\n  x: 1\n  x: 1\n", "run.yaml:3:3: 'x' is given twice"},
        {"[a]: 1\n", "run.yaml:1:1: a key must be a word"},
        {"a: 1\n---\nb: 2\n", "run.yaml:2:1: a second document"},
        {"a: b: c\n", "run.yaml:1:5: mapping values are not allowed"},
        {"a: [1, 2\n", "run.yaml:2:1:"},
        {"a: \"x\n", "run.yaml:2:1: found unexpected end of stream"},
        {"a: \"\\q\"\n", "run.yaml:1:"},
        {"a:\n\tb: 1\n", "run.yaml:2:1:"},
        {"a: \"b\\0c\"\n", "run.yaml:1:4: a value with a NUL"},
        {"a: \xff\n", "run.yaml:1:4: byte 3: invalid leading UTF-8 octet"},
        {"a: \x01\n", "run.yaml:1:4: byte 3: control"},
        {"a: 1\nb: 2\nc: \xff\n", "run.yaml:3:4: byte 13: invalid"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (parse(f, cases[i].text) != ERROR_CONFIG) fail_msg("'%s' gave %d", cases[i].text, f->rc);
        assert_contains(f->e.text, cases[i].message);
    }
    parse(f, "a:\n\tb: 1\n");
    assert_contains(f->e.hint, "spaces, not tabs");
    assert_int_equal(yaml_parse("a: [", 4, "x", &f->a, &f->root, NULL), ERROR_CONFIG);
}

/* What is refused on purpose says what to write instead. */
static void test_hints(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *text, *hint;
    } cases[] = {
        {"a: &x 1\nb: *x\n", "'a: 1' and 'b: 1'"},
        {"a: *.txt\n", "in quotes: \"*.txt\""},
        {"<<: {a: 1}\n", "'a: 1'"},
        {"a: !!int 3\n", "'a: 1'"},
        {"a: 1\na: 3\n", "keep one of the two"},
        {"a: 1\nb: {c: 1\n", "in braces is closed, with commas between its keys: 'a: {b: 1, c: 2}' "
                             "(it begins in line 2)"},
        {"a: [1\n", "in brackets is closed"},
        {"a: 1 x {b: 2}\n", "goes in quotes: 'a: \"b: c\"'"},
        {"a: 1\n  b: 2\n", "indented alike, or in braces"},
        {"a:\n    b: 1\n  c: 2\n", "indented alike"},
        {"a: \"x\n", "a quoted text is closed"},
        {"a: 1\nb\n", "a line is a key and its value: 'a: 1'"},
        {"a:\n- 1\nb\n", "'a: "},
        {"a: @x\n", "goes in quotes: 'a: \"@x\"'"},
        {"%x\n", "'a: "},
        {"a: \x01\n", "text in UTF-8"},
        {"a: \xff\n", "for example 'a: 1'"},
        {"[a]: 1\n", "for example 'a: 1'"},
        {"a: 1\n---\nb: 2\n", "for example 'a: 1'"},
        {"a: \"b\\0c\"\n", "for example 'a: 1'"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(parse(f, cases[i].text), ERROR_CONFIG);
        if (!strstr(f->e.hint, cases[i].hint))
            fail_msg("'%s': %s, hint: %s", cases[i].text, f->e.text, f->e.hint);
    }
    assert_int_equal(yaml_parse("a: *x", 5, "x", &f->a, &f->root, NULL), ERROR_CONFIG);
}

static void test_byte_order_mark(void **state)
{
    struct fixture *f = *state;
    assert_ok(parse(f, "\xef\xbb\xbf"
                       "a: 1\nb: 2\n"),
              f->e);
    assert_int_equal(f->root->count, 2);
    assert_string_equal(f->root->keys[0]->text, "a");
    assert_int_equal(f->root->items[1]->line, 2);
}

static void test_limits(void **state)
{
    struct fixture *f = *state;
    struct str s = {0};
    for (int i = 0; i < 63; i++)
        str_append_char(&s, '[');
    for (int i = 0; i < 63; i++)
        str_append_char(&s, ']');
    assert_ok(parse(f, s.data), f->e);
    str_clear(&s);
    for (int i = 0; i < 65; i++)
        str_append_char(&s, '[');
    assert_int_equal(parse(f, s.data), ERROR_CONFIG);
    assert_contains(f->e.text, "run.yaml:1:65: more than 64 levels");
    str_clear(&s);
    str_puts(&s, "[");
    for (int i = 0; i < 1000000; i++)
        str_puts(&s, "1,");
    assert_int_equal(parse(f, s.data), ERROR_CONFIG);
    assert_contains(f->e.text, "more than 1000000 values");
    str_clear(&s);
    while (s.len <= 16u << 20)
        str_puts(&s, "# a long comment, a long comment, a long comment, a long comment, longer\n");
    assert_int_equal(parse(f, s.data), ERROR_CONFIG);
    assert_contains(f->e.text, "larger than 16 MiB");
    str_fini(&s);
}

/* Checking a map for repeated keys must not take quadratic time: 200,000 keys are no trouble. */
static void test_many_keys(void **state)
{
    struct fixture *f = *state;
    struct str s = {0};
    for (int i = 0; i < 200000; i++)
        str_printf(&s, "k%d: %d\n", i, i);
    assert_ok(parse(f, s.data), f->e);
    assert_int_equal(f->root->count, 200000);
    str_puts(&s, "k7: again\n");
    assert_int_equal(parse(f, s.data), ERROR_CONFIG);
    assert_contains(f->e.text, "run.yaml:200001:1: 'k7' is given twice, first in line 8");
    str_fini(&s);
}

static void test_bind(void **state)
{
    struct fixture *f = *state;
    assert_ok(bind(f, "name: 123\nsteps: 20M\nresume: no\n"
                      "data:\n  path: shards/x\n  files: [a, 'b c', 3]\n"
                      "optimizer: {kind: muon, lr: 3e-4, more: {decay: 0.05}}\n"),
              f->e);
    assert_string_equal(f->run.name, "123"); /* a string row takes any plain word */
    assert_int_equal(f->run.steps, 20000000);
    assert_false(f->run.resume);
    assert_string_equal(f->run.path, "shards/x");
    assert_int_equal(f->run.files.count, 3);
    assert_string_equal(f->run.files.items[1], "b c");
    assert_int_equal(f->run.kind, 1);
    assert_true(f->run.lr == 3e-4 && f->run.decay == 0.05);
    for (int i = 0; i < N_ROWS; i++)
        assert_int_equal(f->origins[i], ORIGIN_FILE);
    assert_ok(bind(f, "steps: 5\nname: \"null\"\ndata:\n"), f->e);
    assert_int_equal(f->origins[0], ORIGIN_FILE);
    assert_int_equal(f->origins[2], ORIGIN_DEFAULT);
    assert_string_equal(f->run.name, "null");
    assert_string_equal(f->run.path, "");
    assert_true(f->run.lr == 1e-3);
    assert_ok(bind(f, "steps: 5\nname: ~\ndata: {files: one}\n"), f->e);
    assert_string_equal(f->run.name, "");
    assert_int_equal(f->run.files.count, 1);
}

static void test_bind_errors(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *text, *message, *hint;
    } cases[] = {
        {"stpes: 3\n", "run.yaml:1:1: unknown key 'stpes'", "did you mean 'steps'?"},
        {"steps: 3\noptimizer:\n  kind: muon\n  lrr: 3\n",
         "run.yaml:4:3: unknown key 'optimizer.lrr'", "did you mean 'optimizer.lr'?"},
        {"lr: 3\n", "run.yaml:1:1: unknown key 'lr'", "did you mean 'optimizer.lr'?"},
        {"optimiser: {lr: 3}\n", "run.yaml:1:1: unknown key 'optimiser'", "'optimizer'"},
        {"optimizer: {decay: 3}\n", "unknown key 'optimizer.decay'", "'optimizer.more.decay'"},
        {"qqqqqqqq: 3\n", "run.yaml:1:1: unknown key 'qqqqqqqq'", ""},
        {"data: x\n", "run.yaml:1:7: 'data' is a section", ""},
        {"data: [1]\n", "run.yaml:1:7: 'data' is a section", ""},
        {"name: {a: 1}\n", "run.yaml:1:7: 'name' takes a value, not a section", ""},
        {"name: [a]\n", "run.yaml:1:7: 'name' takes one value, not a list", ""},
        {"data: {files: [[a]]}\n", "run.yaml:1:16: 'data.files' is a list of plain values", ""},
        {"data: {files: {a: b}}\n", "'data.files' takes a value, not a section", ""},
        {"steps: abc\n", "run.yaml:1:8: 'steps' must be a whole number of steps", "for example"},
        {"steps: 0\n", "run.yaml:1:8: 'steps' must be a whole number of steps from 1", ""},
        {"steps: \"5 x\"\n", "run.yaml:1:8: 'steps' must be a whole number", "for example"},
        {"steps:\n", "'steps' has no value", ""},
        {"steps: null\n", "'steps' has no value", ""},
        {"resume: perhaps\n", "'resume' must be true or false", ""},
        {"optimizer: {kind: moun}\n", "run.yaml:1:19: 'optimizer.kind' must be adamw or muon",
         "did you mean 'muon'?"},
        {"name: x\n", "run.yaml:1:1: 'steps' is missing", "how long to train"},
        {"- a\n", "run.yaml:1:1: this is 'key: value' lines, not a list", ""},
        {"just text\n", "'key: value' lines, not a single value", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (bind(f, cases[i].text) != ERROR_CONFIG) fail_msg("'%s' gave %d", cases[i].text, f->rc);
        assert_contains(f->e.text, cases[i].message);
        assert_contains(f->e.hint, cases[i].hint);
    }
    struct yaml_reader r = {"x", &f->a, &f->e, 0};
    assert_int_equal(yaml_bind(&r, &section, f->root, false, &f->run, NULL), ERROR_CONFIG);
}

/* A required row that a flag gave need not be in the file, and the file does not undo the flag's
 * origin of others. */
static void test_flag_stands_for_a_missing_row(void **state)
{
    struct fixture *f = *state;
    options_defaults(rows, N_ROWS, &f->run);
    f->run.steps = 7;
    f->origins[1] = ORIGIN_FLAG;
    assert_ok(parse(f, "name: x\n"), f->e);
    struct yaml_reader r = {"run.yaml", &f->a, &f->e, 0};
    assert_ok(yaml_bind(&r, &section, f->root, false, &f->run, f->origins), f->e);
    assert_int_equal(f->run.steps, 7);
    assert_int_equal(f->origins[1], ORIGIN_FLAG);
}

static void test_print(void **state)
{
    struct fixture *f = *state;
    struct str s = {0};
    assert_ok(bind(f, "steps: 20M\nname: 'a: b'\ndata: {files: [x, \"y\\n\"]}\n"), f->e);
    f->origins[4] = ORIGIN_FLAG;
    f->origins[6] = ORIGIN_DERIVED;
    yaml_print_options(rows, N_ROWS, &f->run, f->origins, "my.yaml", &s);
    assert_string_equal(s.data, "name: \"a: b\"  # my.yaml\n"
                                "steps: 20000000  # my.yaml\n"
                                "data:\n"
                                "  path: \"\"  # default\n"
                                "  files: [\"x\", \"y\\n\"]  # my.yaml\n"
                                "optimizer:\n"
                                "  kind: adamw  # default\n"
                                "  lr: 0.001  # flag\n"
                                "  more:\n"
                                "    decay: 0.1  # derived\n"
                                "resume: true  # default\n");
    str_fini(&s);
}

/* Whatever text a row holds, the printed file gives it back. */
static void test_print_reads_back(void **state)
{
    struct fixture *f = *state;
    static const char *const values[] = {
        "",
        " ",
        "x",
        "null",
        "~",
        "true",
        "12",
        "- a",
        "a: b",
        "# c",
        "a #b",
        "'",
        "\"",
        "\\",
        "a\nb",
        "\t",
        "[x]",
        "{",
        "*a",
        "&a",
        "!t",
        "%d",
        "@x",
        "`",
        "|",
        ">",
        "-",
        "...",
        "---",
        "?",
        "<<",
        "a,b",
        "/p/q",
        "C:\\",
        "0x1F",
        "1e5",
        ".inf",
        "é",
        "\x7f",
        "\xC2\x85",
        "\xE2\x80\xA8",
        "\xEF\xBB\xBF",
        "\xF0\x9F\x98\x80",
        "\x01",
        "a ",
        " a",
        "\xC2\xA0",
    };
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        struct str s = {0};
        options_defaults(rows, N_ROWS, &f->run);
        f->run.steps = 1;
        f->run.name = values[i];
        const char *items[] = {values[i], "other"};
        f->run.files = (struct option_list){items, 2};
        yaml_print_options(rows, N_ROWS, &f->run, NULL, NULL, &s);
        if (bind(f, s.data) < 0) fail_msg("%s in %s", f->e.text, s.data);
        assert_string_equal(f->run.name, values[i]);
        assert_int_equal(f->run.files.count, 2);
        assert_string_equal(f->run.files.items[0], values[i]);
        str_fini(&s);
    }
}

static void test_load(void **state)
{
    struct fixture *f = *state;
    char *dir = test_folder(&f->a), *path = file_join(&f->a, dir, "r.yaml");
    assert_int_equal(yaml_load(path, &f->a, &f->root, &f->e), ERROR_FAILED);
    assert_contains(f->e.text, "no such file");
    assert_ok(file_write(path, "a: 1\nb: [\n", 10, &f->e), f->e);
    assert_int_equal(yaml_load(path, &f->a, &f->root, &f->e), ERROR_CONFIG);
    assert_contains(f->e.text, "r.yaml:3:1: ");
    assert_ok(file_write(path, "a: 1\n", 5, &f->e), f->e);
    assert_ok(yaml_load(path, &f->a, &f->root, &f->e), f->e);
    assert_string_equal(yaml_get(f->root, "a")->text, "1");
    file_remove_tree(dir, NULL);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_tree),
        T(test_empty),
        T(test_refused),
        T(test_hints),
        T(test_byte_order_mark),
        T(test_limits),
        T(test_many_keys),
        T(test_bind),
        T(test_bind_errors),
        T(test_flag_stands_for_a_missing_row),
        T(test_print),
        T(test_print_reads_back),
        T(test_load),
    };
    return cmocka_run_group_tests_name("base_yaml", tests, NULL, NULL);
}
