/* test_base_options.c: the option table from every side: defaults, argv, text and back, help. */
#include "test_cmocka.h"

#include <math.h>

struct target {
    bool verbose, cache;
    int64_t steps, signed_number;
    double rate;
    const char *path, *optional;
    int kind;
    struct option_list files;
};

static const char *const kinds[] = {"adamw", "muon", "sgd", NULL};

#define AT(field) offsetof(struct target, field)
static const struct option rows[] = {
    {"verbose", 'v', OPTION_BOOL, AT(verbose), NULL, "false", 0, 0, NULL, "say more"},
    {"cache", 0, OPTION_BOOL, AT(cache), NULL, "true", 0, 0, NULL, "keep things"},
    {"steps", 'n', OPTION_INT, AT(steps), "steps", "100", 1, 1e9, NULL, "how long"},
    {"signed", 0, OPTION_INT, AT(signed_number), NULL, "-5", 0, 0, NULL, "any whole number"},
    {"rate", 'r', OPTION_REAL, AT(rate), "per step", "1e-3", 0, INFINITY, NULL, "a < b | c"},
    {"path", 'o', OPTION_STRING, AT(path), "FILE", "x.bin", 0, 0, NULL, "where to"},
    {"optional", 0, OPTION_STRING, AT(optional), NULL, NULL, 0, 0, NULL, "may be missing"},
    {"kind", 'k', OPTION_ENUM, AT(kind), NULL, "muon", 0, 0, kinds, "which one"},
    {"file", 'f', OPTION_LIST, AT(files), "FILE", NULL, 0, 0, NULL, "inputs"},
};
static const struct option_table table = {
    "demo run", "INPUT [options]", "does a thing", "  colossus demo run x", rows, ARRAY_LEN(rows)};

/* A parse of words, with everything that comes out of it. */
struct parse {
    struct arena a;
    struct target t;
    struct error e;
    uint8_t origins[ARRAY_LEN(rows)];
    char *argv[32];
    char **rest;
    int n_rest, rc;
    bool help;
};

static void parse_words(struct parse *p, const char *words)
{
    memset(p, 0, sizeof(*p));
    arena_init(&p->a);
    options_defaults(rows, ARRAY_LEN(rows), &p->t);
    int argc = 0;
    p->argv[argc++] = arena_strdup(&p->a, "demo");
    for (const char *s = words; *s;) {
        size_t n = strcspn(s, " ");
        p->argv[argc++] = arena_strndup(&p->a, s, n);
        s += n + (s[n] == ' ');
    }
    struct option_line line = {&table, argc, p->argv, &p->a, p->origins, 0, NULL, false};
    p->rc = options_parse(&line, &p->t, &p->e);
    p->n_rest = line.n_rest;
    p->rest = line.rest;
    p->help = line.help;
}

static void test_defaults(void **state)
{
    (void)state;
    struct target t;
    memset(&t, 0xFF, sizeof(t));
    options_defaults(rows, ARRAY_LEN(rows), &t);
    assert_false(t.verbose);
    assert_true(t.cache);
    assert_int_equal(t.steps, 100);
    assert_int_equal(t.signed_number, -5);
    assert_true(t.rate == 1e-3);
    assert_string_equal(t.path, "x.bin");
    assert_null(t.optional);
    assert_int_equal(t.kind, 1);
    assert_int_equal(t.files.count, 0);
}

static void test_forms_of_options(void **state)
{
    (void)state;
    struct parse p;
    parse_words(&p, "in -v --no-cache --steps 20k --rate=2.5e-4 -oy.bin -k sgd --signed -7 out");
    assert_int_equal(p.rc, 0);
    assert_true(p.t.verbose);
    assert_false(p.t.cache);
    assert_int_equal(p.t.steps, 20000);
    assert_true(p.t.rate == 2.5e-4);
    assert_string_equal(p.t.path, "y.bin");
    assert_int_equal(p.t.kind, 2);
    assert_int_equal(p.t.signed_number, -7);
    assert_int_equal(p.n_rest, 2);
    assert_string_equal(p.rest[0], "in");
    assert_string_equal(p.rest[1], "out");
    assert_false(p.help);
    assert_int_equal(p.origins[0], ORIGIN_FLAG);
    assert_int_equal(p.origins[2], ORIGIN_FLAG);
    assert_int_equal(p.origins[6], ORIGIN_DEFAULT);
    arena_fini(&p.a);
    parse_words(&p, "--verbose=true --cache=off -n5 --verbose=no --path=");
    assert_int_equal(p.rc, 0);
    assert_false(p.t.verbose); /* the last one counts */
    assert_false(p.t.cache);
    assert_int_equal(p.t.steps, 5);
    assert_string_equal(p.t.path, "");
    arena_fini(&p.a);
}

static void test_positional(void **state)
{
    (void)state;
    struct parse p;
    parse_words(&p, "a - -v -- --steps -v --");
    assert_int_equal(p.rc, 0);
    assert_int_equal(p.n_rest, 5);
    assert_string_equal(p.rest[0], "a");
    assert_string_equal(p.rest[1], "-");
    assert_string_equal(p.rest[2], "--steps");
    assert_string_equal(p.rest[3], "-v");
    assert_string_equal(p.rest[4], "--");
    assert_true(p.t.verbose);
    assert_int_equal(p.t.steps, 100);
    arena_fini(&p.a);
    parse_words(&p, "");
    assert_int_equal(p.rc, 0);
    assert_int_equal(p.n_rest, 0);
    arena_fini(&p.a);
}

static void test_help_flag(void **state)
{
    (void)state;
    struct parse p;
    parse_words(&p, "x -h");
    assert_true(p.help && p.rc == 0);
    arena_fini(&p.a);
    parse_words(&p, "--help --steps 3");
    assert_true(p.help && p.rc == 0);
    arena_fini(&p.a);
    parse_words(&p, "-- --help");
    assert_false(p.help);
    arena_fini(&p.a);
}

/* Flags replace a list that a file gave, and add to each other. */
/* On the command line brackets are letters: [EOS] is a name like any other. */
static void test_brackets_of_a_flag(void **state)
{
    (void)state;
    struct parse p;
    parse_words(&p, "--file [EOS] -f [ --file=[a,b]");
    assert_int_equal(p.rc, 0);
    assert_int_equal(p.t.files.count, 3);
    assert_string_equal(p.t.files.items[0], "[EOS]");
    assert_string_equal(p.t.files.items[1], "[");
    assert_string_equal(p.t.files.items[2], "[a,b]");
    arena_fini(&p.a);
}

static void test_lists(void **state)
{
    (void)state;
    struct parse p;
    parse_words(&p, "-f a --file b,c --file=d");
    assert_int_equal(p.rc, 0);
    assert_int_equal(p.t.files.count, 3);
    assert_string_equal(p.t.files.items[0], "a");
    assert_string_equal(p.t.files.items[1], "b,c");
    assert_string_equal(p.t.files.items[2], "d");
    char flag[] = "-fz", name[] = "x", *argv[] = {name, flag, NULL};
    struct option_line line = {.table = &table, .argc = 2, .argv = argv, .arena = &p.a};
    assert_int_equal(options_parse(&line, &p.t, &p.e), 0);
    assert_int_equal(p.t.files.count, 1);
    assert_string_equal(p.t.files.items[0], "z");
    assert_int_equal(options_set(&rows[8], "[one, \"t w,o\", 'three']", &p.t, &p.a, NULL, &p.e), 0);
    assert_int_equal(p.t.files.count, 3);
    assert_string_equal(p.t.files.items[1], "t w,o");
    assert_int_equal(options_set(&rows[8], "[]", &p.t, &p.a, NULL, &p.e), 0);
    assert_int_equal(p.t.files.count, 0);
    assert_true(options_set(&rows[8], "[a", &p.t, &p.a, NULL, &p.e) < 0);
    assert_true(options_set(&rows[8], "[a, [b]]", &p.t, &p.a, NULL, &p.e) < 0);
    assert_contains(p.e.text, "flat list");
    arena_fini(&p.a);
}

static void test_errors(void **state)
{
    (void)state;
    static const struct {
        const char *words, *text, *hint;
    } cases[] = {
        {"--stpes 3", "unknown option '--stpes'", "did you mean '--steps'?"},
        {"--no-cahce", "unknown option '--no-cahce'", "did you mean '--no-cache'?"},
        {"--no-steps", "unknown option '--no-steps'", "see 'colossus"},
        {"--no-cache=1", "option '--no-cache' takes no value", ""},
        {"--zzzzzzzz", "unknown option '--zzzzzzzz'", "see 'colossus demo run --help'"},
        {"-q", "unknown option '-q'", "--help"},
        {"-vv", "unknown option '-vv'", "--help"},
        {"--steps", "option '--steps' needs a value", ""},
        {"-n", "option '-n' needs a value", ""},
        {"--steps abc", "'--steps' must be a whole number of steps from 1 to 1000000000, not 'abc'",
         "for example 100"},
        {"--steps 1.5", "not '1.5'", "Ki, Mi, Gi"},
        {"--steps 0", "'--steps' must be a whole number of steps from 1 to 1000000000, not '0'",
         ""},
        {"--steps 2G", "not '2G'", ""},
        {"--rate -1", "'--rate' must be a number of per step, at least 0, not '-1'", ""},
        {"--rate nan", "not 'nan'", "for example 1e-3"},
        {"--signed x", "'--signed' must be a whole number, not 'x'", ""},
        {"--verbose=maybe", "'--verbose' must be true or false, not 'maybe'", ""},
        {"--kind adam", "'--kind' must be adamw, muon or sgd, not 'adam'", "did you mean 'adamw'?"},
        {"--kind zzzzz", "'--kind' must be adamw, muon or sgd", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct parse p;
        parse_words(&p, cases[i].words);
        if (p.rc != ERROR_USAGE) fail_msg("'%s' gave %d", cases[i].words, p.rc);
        assert_int_equal(p.e.code, ERROR_USAGE);
        assert_contains(p.e.text, cases[i].text);
        assert_contains(p.e.hint, cases[i].hint);
        arena_fini(&p.a);
    }
}

/* A very long name or value must not overrun anything. */
static void test_long_words(void **state)
{
    (void)state;
    char word[3000];
    struct parse p;
    memset(word, 'w', sizeof(word) - 1);
    word[sizeof(word) - 1] = '\0';
    memcpy(word, "--", 2);
    parse_words(&p, word);
    assert_int_equal(p.rc, ERROR_USAGE);
    arena_fini(&p.a);
    memcpy(word, "--kind=", 7);
    parse_words(&p, word);
    assert_int_equal(p.rc, ERROR_USAGE);
    assert_contains(p.e.text, "'--kind' must be");
    arena_fini(&p.a);
}

static void test_where_goes_in_front(void **state)
{
    (void)state;
    struct target t;
    struct error e;
    assert_int_equal(options_set(&rows[2], "x", &t, NULL, "run.yaml:12:3", &e), ERROR_CONFIG);
    assert_contains(e.text, "run.yaml:12:3: 'steps' must be");
    assert_true(options_set(&rows[2], "x", &t, NULL, NULL, NULL) < 0);
}

/* Whatever a row holds, its text reads back to the same value. */
static void test_get_and_set(void **state)
{
    (void)state;
    struct arena a;
    struct target t, back;
    struct error e = {0};
    arena_init(&a);
    options_defaults(rows, ARRAY_LEN(rows), &t);
    t.steps = 123456789;
    t.signed_number = INT64_MIN;
    t.rate = 0.1 + 0.2;
    t.path = "a path, with 'things'";
    t.optional = "";
    t.kind = 0;
    const char *items[] = {"a", "b \"c\"", "[d]", "\xC3\xA9\n"};
    t.files = (struct option_list){items, ARRAY_LEN(items)};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str text = {0};
        str_puts(&text, "");
        options_get(&rows[i], &t, &text);
        assert_ok(options_set(&rows[i], text.data, &back, &a, NULL, &e), e);
        str_fini(&text);
    }
    assert_int_equal(back.verbose, t.verbose);
    assert_int_equal(back.cache, t.cache);
    assert_int_equal(back.steps, t.steps);
    assert_int_equal(back.signed_number, t.signed_number);
    assert_true(back.rate == t.rate);
    assert_string_equal(back.path, t.path);
    assert_int_equal(back.kind, t.kind);
    assert_int_equal(back.files.count, ARRAY_LEN(items));
    for (size_t i = 0; i < ARRAY_LEN(items); i++)
        assert_string_equal(back.files.items[i], items[i]);
    arena_fini(&a);
}

static void test_find(void **state)
{
    (void)state;
    assert_ptr_equal(options_find(rows, ARRAY_LEN(rows), "kind"), &rows[7]);
    assert_null(options_find(rows, ARRAY_LEN(rows), "kin"));
    assert_null(options_find(rows, 0, "kind"));
}

static void test_help_text(void **state)
{
    (void)state;
    char *text;
    size_t size;
    CAPTURE(text, size, out, options_print_help(&table, out));
    assert_contains(text, "usage: colossus demo run INPUT [options]\n\ndoes a thing\n");
    assert_contains(text, "  -v, --verbose             say more\n");
    assert_contains(text, "      --[no-]cache          keep things [default true]\n");
    assert_contains(text, "  -n, --steps N             how long [steps; 1 to 1000000000; "
                          "default 100]\n");
    assert_contains(text, "  -o, --path FILE           where to [default x.bin]\n");
    assert_contains(text, "which one [adamw, muon, sgd; default muon]\n");
    assert_contains(text, "  -f, --file FILE           inputs [may be given again]\n");
    assert_contains(text, "  -h, --help");
    assert_contains(text, "\n  colossus demo run x\n");
    for (const char *line = text; *line; line += strcspn(line, "\n") + 1)
        assert_true(strcspn(line, "\n") <= 100);
    free(text);
}

static void test_markdown(void **state)
{
    (void)state;
    char *text;
    size_t size;
    CAPTURE(text, size, out, options_print_markdown(table.rows, table.n_rows, out));
    assert_contains(text, "| name | value | default | meaning |\n|---|---|---|---|\n");
    assert_contains(text, "| `steps`, `-n` | whole number, steps, 1 to 1000000000 | `100` | "
                          "how long |\n");
    assert_contains(text, "| a &lt; b \\| c |\n"); /* cannot break the table or become HTML */
    assert_contains(text, "| `kind`, `-k` | `adamw`, `muon`, `sgd` | `muon` | which one |\n");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_forms_of_options),
        cmocka_unit_test(test_positional),
        cmocka_unit_test(test_help_flag),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_brackets_of_a_flag),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_long_words),
        cmocka_unit_test(test_where_goes_in_front),
        cmocka_unit_test(test_get_and_set),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_help_text),
        cmocka_unit_test(test_markdown),
    };
    return cmocka_run_group_tests_name("base_options", tests, NULL, NULL);
}
