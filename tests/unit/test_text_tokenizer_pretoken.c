/* test_text_tokenizer_pretoken.c: cutting text into words.
 *
 * The scanners are compared with the matcher running the very patterns, on chosen and on random
 * text. */
#include "text_tokenizer_fixture.h"

static const char *const patterns[] = {
    PRETOKEN_PATTERN_GPT2,
    "'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
    PRETOKEN_PATTERN_GROK2,
    PRETOKEN_PATTERN_LLAMA3,
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}{1,3}|"
    " ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+",
    "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}{1,3}|"
    " ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+",
    "\\p{N}",
    "\\p{N}{1,3}",
    "\\p{N}+",
};

/* Letters, numbers, marks, spaces of every kind, and pieces of UTF-8. */
/* clang-format off */
static const char *const parts[] = {
    "a", "b", "The", "s", "S", "t", "T", "l", "L", "ll", "LL", "v", "VE", "ve", "re", "Re", "d",
    "m", "'", "'s", "'S", "'LL", "\xc5\xbf", "'\xc5\xbf", "\xe2\x84\xaa", "0", "1", "23", "456",
    "7890", "\xc2\xbd", "\xc2\xb2", "\xd9\xa4", "\xe2\x85\xa7", " ", " ", "  ", "   ", "\t", "\n",
    "\n\n", "\r", "\r\n", "\v", "\f", "\x1c", "\x1f", "\xc2\xa0", "\xc2\x85", "\xe2\x80\xa8",
    "\xe3\x80\x80", "\xe1\xa0\x8e", "\xe2\x80\x8b", "\xc3\xa9", "e\xcc\x81", "\xcc\x81",
    "\xe4\xb8\xad", "\xe3\x81\xae", "\xf0\x9f\x98\x80", "\xf0\x9d\x94\x98", "\xf0\x9d\x9f\x9b", ".",
    "!", "!!", "_", "<|", "--", "#", "\x7f", "\xff", "\xc3", "\xe2\x80", "\xf0\x9f", "\x80",
    "\xed\xa0\x80", "\xef\xbf\xbd",
};
/* clang-format on */

struct words {
    struct str ends; /* size_t after size_t */
    const char *text;
};

static void add_end(void *ctx, const char *word, size_t size)
{
    struct words *w = ctx;
    size_t end = (size_t)(word - w->text) + size;
    assert_true(size > 0);
    str_append(&w->ends, &end, sizeof(end));
}

static void split(const struct pretoken *p, struct pretoken_scratch *s, const char *text,
                  size_t size, struct words *w)
{
    w->text = text;
    str_clear(&w->ends);
    pretoken_split(p, s, text, size, add_end, w);
    size_t last = 0;
    if (w->ends.len) memcpy(&last, w->ends.data + w->ends.len - sizeof(last), sizeof(last));
    assert_int_equal(last, size); /* nothing is lost at the end; add_end sees what is between */
}

struct splitter {
    struct pretoken p;
    struct pretoken_scratch s;
    struct words w;
};

/* With grouped, a usual pattern is put in a group, so that it is not known by its text and the
 * matcher runs it. */
static void splitter_init(struct splitter *x, const char *pattern, bool matched)
{
    struct error e = {0};
    char grouped[512];
    *x = (struct splitter){0};
    snprintf(grouped, sizeof(grouped), matched ? "(?:%s)" : "%s", pattern);
    assert_ok(pretoken_add(&x->p, grouped, strlen(grouped), &e), e);
    assert_int_equal(x->p.stages[0].scanner == PRETOKEN_PATTERN, matched);
    pretoken_scratch_init(&x->s, &x->p);
}

static void splitter_fini(struct splitter *x)
{
    pretoken_scratch_fini(&x->s);
    pretoken_fini(&x->p);
    str_fini(&x->w.ends);
}

/* Words joined by '|'. */
static void expect_words(const char *pattern, bool matched, const char *text, const char *want)
{
    struct splitter x;
    struct str got = {0};
    splitter_init(&x, pattern, matched);
    split(&x.p, &x.s, text, strlen(text), &x.w);
    for (size_t i = 0, at = 0, end; i < x.w.ends.len; i += sizeof(end), at = end) {
        memcpy(&end, x.w.ends.data + i, sizeof(end));
        if (i) str_append_char(&got, '|');
        str_append(&got, text + at, end - at);
    }
    assert_string_equal(got.data, want);
    str_fini(&got);
    splitter_fini(&x);
}

static void test_known_words(void **state)
{
    (void)state;
    const char *gpt2 = patterns[0], *grok2 = patterns[2], *llama3 = patterns[3];
    expect_words(grok2, false, "It's 2024, isn't it?  Yes\n\n\nok ",
                 "It|'s| |2|0|2|4|,| isn|'t| it|?|"
                 " | Yes|\n\n\n|ok| ");
    expect_words(llama3, false, "It's 2024!", "It|'s| |202|4|!");
    expect_words(gpt2, false, "It's 2024, isn't it?  Yes\n\n\nok ",
                 "It|'s| 2024|,| isn|'t| it|?| | Yes|"
                 "\n\n|\n|ok| ");
    expect_words(gpt2, false, "IT'S", "IT|'|S");
    expect_words(grok2, false, "IT'S #tag\n\tx", "IT|'S| #|tag|\n|\tx");
    expect_words(grok2, false, "a\xff\xfe b", "a|\xff\xfe| b");
}

/* Whatever the text, scanner and matcher agree. */
static void test_scanners_against_patterns(void **state)
{
    (void)state;
    struct str text = {0};
    for (size_t i = 0; i < ARRAY_LEN(patterns); i++) {
        struct splitter scan, matched;
        splitter_init(&scan, patterns[i], false);
        splitter_init(&matched, patterns[i], true);
        for (uint64_t k = 0; k < 20000; k++) {
            random_text(&text, i, k, parts, ARRAY_LEN(parts), k % 16 ? 12 : 60, 12);
            split(&scan.p, &scan.s, text.data, text.len, &scan.w);
            split(&matched.p, &matched.s, text.data, text.len, &matched.w);
            if (scan.w.ends.len != matched.w.ends.len ||
                (text.len &&
                 memcmp(scan.w.ends.data, matched.w.ends.data, matched.w.ends.len) != 0))
                fail_msg("pattern %zu cuts text %llu in another way: '%s'", i,
                         (unsigned long long)k, text.data);
        }
        splitter_fini(&scan);
        splitter_fini(&matched);
    }
    str_fini(&text);
}

/* ------------------------------------------------------------------ other patterns */

static void test_other_patterns(void **state)
{
    (void)state;
    expect_words("\\p{L}+", true, "ab12 cd", "ab|12 |cd");
    expect_words("x*", true, "axxb", "a|xx|b");
    expect_words("(?=b)|c", true, "abcb", "a|b|c|b"); /* a match of no characters cuts */
    expect_words("^a$", true, "a\nb\na", "a|\nb\n|a");
    expect_words("\\s+", true,
                 "a\xe1\xa0\x8e"
                 "b\xe3\x80\x80"
                 "c",
                 "a\xe1\xa0\x8e"
                 "b|\xe3\x80\x80|c");
    /* the ideographic comma is of no script, but among the extensions of Han */
    expect_words("\\p{Han}+", true, "\xe4\xb8\xad\xe3\x80\x81\xe4\xb8\xad",
                 "\xe4\xb8\xad|\xe3\x80\x81|\xe4\xb8\xad");
    /* needs 2^40 steps: is given up, and nothing is lost */
    expect_words("(a+)+$", true, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab",
                 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab");
}

static void test_two_stages(void **state)
{
    (void)state;
    struct error e = {0};
    struct splitter x = {0};
    assert_ok(pretoken_add(&x.p, "\\p{N}{1,3}", 10, &e), e);
    assert_ok(pretoken_add(&x.p, "\\p{L}+", 6, &e), e);
    pretoken_scratch_init(&x.s, &x.p);
    const char *text = "ab1234 cd\xff 5";
    split(&x.p, &x.s, text, strlen(text), &x.w);
    size_t ends[] = {2, 5, 6, 7, 9, 10, 11, 12};
    assert_int_equal(x.w.ends.len, sizeof(ends));
    assert_memory_equal(x.w.ends.data, ends, sizeof(ends));
    splitter_fini(&x);
}

static void test_refused_patterns(void **state)
{
    (void)state;
    static const char *const refused[][2] = {
        {"a\\", "a backslash at its end at byte 1"},
        {"\\p{L", "a property without '}' at byte 0"},
        {"ab\\p{Nonsense}", "an unknown property 'Nonsense' at byte 2"},
        {"[]a]", "an empty class at byte 0"},
        {"[b-a]", "out of order at byte 1"},
        {"[a-\\d]", "a range that does not end with a character"},
        {"[[:foo:]]", "an unknown POSIX class"},
        {"[a", "a class without ']'"},
        {"(?R)", "a group that is not supported"},
        {"(?~a)", "a group that is not supported"},
        {"(?(1)a|b)", "a group that is not supported"},
        {"(*UCP)a", "a group that is not supported"},
        {"\\g<1>", "an escape"},
        {"a\\X", "an escape that is not supported at byte 1"},
        {"(a", "a group without ')'"},
        {"a)", "a ')' without its '('"},
        {"*a", "a quantifier with nothing before it"},
        {"(?=a)*", "a quantifier of what takes no character"},
        {"a{100001}", "too large"},
        {"(?:ab|c){1000}{1000}", "repeat too much"},
        {"\\1", "a group that is not before it"},
        {"(?", "a group without ')'"},
        {"(?:(?:(?:(?:(?:(?:(?:(?:(?:(?:(?:(?:(?:(?:(?:(?:(?:(?:(?:(?:(?:(?:(?:(?:(?:(?:(?:(?:(?:(?"
         ":(?:(?:(?:(?:(?:(?:(?:(?:(?:(?:a",
         "nested too deep"},
        {"a\xff", "a byte that is not UTF-8 at byte 1"},
    };
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        struct pretoken p = {0};
        struct error e = {0};
        if (pretoken_add(&p, refused[i][0], strlen(refused[i][0]), &e) == 0)
            fail_msg("'%s' was taken", refused[i][0]);
        assert_contains(e.text, refused[i][1]);
        assert_int_equal(p.n_stages, 0);
    }
    struct pretoken p = {0};
    struct error e = {0};
    for (int i = 0; i < PRETOKEN_MAX_STAGES; i++)
        assert_ok(pretoken_add(&p, "a", 1, &e), e);
    assert_true(pretoken_add(&p, "a", 1, &e) < 0);
    pretoken_fini(&p);
    char *large = mem_calloc(1, PATTERN_MAX_SIZE + 1);
    memset(large, 'a', PATTERN_MAX_SIZE + 1);
    assert_true(pretoken_add(&p, large, PATTERN_MAX_SIZE + 1, &e) < 0);
    mem_free(large);
}

/* Where text may be cut, the words on both sides are the words of the whole. */
static void test_cuts(void **state)
{
    (void)state;
    struct str text = {0};
    struct splitter whole, part;
    size_t n_cuts = 0;
    splitter_init(&whole, PRETOKEN_PATTERN_GROK2, false);
    splitter_init(&part, PRETOKEN_PATTERN_GROK2, false);
    for (uint64_t k = 0; k < 5000; k++) {
        random_text(&text, 77, k, parts, ARRAY_LEN(parts), 30, 20);
        split(&whole.p, &whole.s, text.data, text.len, &whole.w);
        for (size_t at = 1; at < text.len; at++) {
            if (!pretoken_can_cut(&whole.p, text.data, at)) continue;
            n_cuts++;
            split(&part.p, &part.s, text.data, at, &part.w);
            assert_true(part.w.ends.len < whole.w.ends.len);
            assert_memory_equal(part.w.ends.data, whole.w.ends.data, part.w.ends.len);
            size_t n = part.w.ends.len;
            part.w.text = text.data;
            str_clear(&part.w.ends);
            pretoken_split(&part.p, &part.s, text.data + at, text.len - at, add_end, &part.w);
            assert_int_equal(n + part.w.ends.len, whole.w.ends.len);
            assert_memory_equal(part.w.ends.data, whole.w.ends.data + n, part.w.ends.len);
        }
    }
    assert_true(n_cuts > 500);
    splitter_fini(&whole);
    splitter_fini(&part);
    str_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_words),      cmocka_unit_test(test_scanners_against_patterns),
        cmocka_unit_test(test_other_patterns),   cmocka_unit_test(test_two_stages),
        cmocka_unit_test(test_refused_patterns), cmocka_unit_test(test_cuts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
