/* test_text_tokenizer_pretoken.c: cutting text into words.
 *
 * The scanners are compared with PCRE2 running the very patterns, on chosen and on random text; the
 * table of character classes with PCRE2's, code point by code point. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

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

/* With pcre, a usual pattern is put in a group, so that it is not known by its text and PCRE2 runs
 * it. */
static void splitter_init(struct splitter *x, const char *pattern, bool pcre)
{
    struct error e = {0};
    char grouped[512];
    *x = (struct splitter){0};
    snprintf(grouped, sizeof(grouped), pcre ? "(?:%s)" : "%s", pattern);
    assert_ok(pretoken_add(&x->p, grouped, strlen(grouped), &e), e);
    assert_int_equal(x->p.stages[0].scanner == PRETOKEN_PCRE, pcre);
    pretoken_scratch_init(&x->s, &x->p);
}

static void splitter_fini(struct splitter *x)
{
    pretoken_scratch_fini(&x->s);
    pretoken_fini(&x->p);
    str_fini(&x->w.ends);
}

/* Words joined by '|'. */
static void expect_words(const char *pattern, bool pcre, const char *text, const char *want)
{
    struct splitter x;
    struct str got = {0};
    splitter_init(&x, pattern, pcre);
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

/* Whatever the text, scanner and PCRE2 agree. */
static void test_scanners_against_pcre2(void **state)
{
    (void)state;
    struct str text = {0};
    for (size_t i = 0; i < ARRAY_LEN(patterns); i++) {
        struct splitter scan, pcre;
        splitter_init(&scan, patterns[i], false);
        splitter_init(&pcre, patterns[i], true);
        for (uint64_t k = 0; k < 20000; k++) {
            random_text(&text, i, k, parts, ARRAY_LEN(parts), k % 16 ? 12 : 60, 12);
            split(&scan.p, &scan.s, text.data, text.len, &scan.w);
            split(&pcre.p, &pcre.s, text.data, text.len, &pcre.w);
            if (scan.w.ends.len != pcre.w.ends.len ||
                (text.len && memcmp(scan.w.ends.data, pcre.w.ends.data, pcre.w.ends.len) != 0))
                fail_msg("pattern %zu cuts text %llu in another way: '%s'", i,
                         (unsigned long long)k, text.data);
        }
        splitter_fini(&scan);
        splitter_fini(&pcre);
    }
    str_fini(&text);
}

/* ------------------------------------------------------------------ the table */

static pcre2_code *compile(const char *pattern)
{
    int number;
    PCRE2_SIZE at;
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                                     PCRE2_UTF | PCRE2_UCP, &number, &at, NULL);
    assert_non_null(code);
    pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
    return code;
}

/* PCRE2's classes of every code point must be ours, except where it knows an older Unicode, in
 * which the character did not exist, or a newer one, in which it does now. */
static void test_classes_against_pcre2(void **state)
{
    (void)state;
    static const char *const names[] = {"\\p{Cn}", "\\p{L}", "\\p{N}", "\\p{WSpace}"};
    pcre2_code *codes[4];
    char version[64];
    const uint8_t *classes = pretoken_classes();
    pcre2_config(PCRE2_CONFIG_UNICODE_VERSION, version);
    bool newer = strtod(version, NULL) > 16.0;
    for (int i = 0; i < 4; i++)
        codes[i] = compile(names[i]);
    pcre2_match_data *match = pcre2_match_data_create(1, NULL);
    size_t unknown = 0;
    for (uint32_t cp = 0; cp < 0x110000; cp++) {
        char text[4];
        if (cp >= 0xd800 && cp < 0xe000) continue;
        size_t n = utf8_encode(cp, text);
        int theirs = 0, ours = cp < PRETOKEN_CLASS_POINTS ? classes[cp] : PRETOKEN_OTHER;
        for (int i = 0; i < 4; i++)
            if (pcre2_match(codes[i], (PCRE2_SPTR)text, n, 0, PCRE2_NO_UTF_CHECK, match, NULL) > 0)
                theirs = i ? i : -1;
        if (theirs == ours || (theirs == -1 && ours == PRETOKEN_OTHER)) continue;
        unknown++;
        if (theirs != -1 && !(newer && ours == PRETOKEN_OTHER))
            fail_msg("U+%04X: class %d, PCRE2 (Unicode %s) says %d", cp, ours, version, theirs);
    }
    print_message("PCRE2 has Unicode %s, the table 16.0: %zu characters are new\n", version,
                  unknown);
    assert_true(unknown < 12000);
    for (int i = 0; i < 4; i++)
        pcre2_code_free(codes[i]);
    pcre2_match_data_free(match);
}

/* ------------------------------------------------------------------ other patterns */

static void test_other_patterns(void **state)
{
    (void)state;
    expect_words("\\p{L}+", true, "ab12 cd", "ab|12 |cd");
    expect_words("x*", true, "axxb", "a|xx|b");
    expect_words("(?=b)|c", true, "abcb", "ab|c|b");
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
        {"\\w+", "escape"},
        {"a\\b", "escape"},
        {"[\\h]", "escape"},
        {"\\p", "escape"},
        {"\\p{L", "escape"},
        {"a\\", "escape"},
        {"[a&&b]", "'&&'"},
        {"[a[b]]", "'[' inside"},
        {"[[:alpha:]]", "'[' inside"},
        {"[]a]", "empty"},
        {"(?R)", "group"},
        {"(?m:a)", "group"},
        {"(?i)a", "group"},
        {"(?<n>a)", "group"},
        {"(*UCP)a", "group"},
        {"(a", "missing closing"},
        {"\\p{Nonsense}", "unknown property"},
        {"a{2,1}", "out of order"},
        {"\\1", "escape"},
        {"(?", "group"},
        {"((((((((((((((((((((((((((((((((((((((((a", "nested"},
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
    char *large = mem_calloc(1, PRETOKEN_MAX_PATTERN + 1);
    memset(large, 'a', PRETOKEN_MAX_PATTERN + 1);
    assert_true(pretoken_add(&p, large, PRETOKEN_MAX_PATTERN + 1, &e) < 0);
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
        cmocka_unit_test(test_known_words),
        cmocka_unit_test(test_scanners_against_pcre2),
        cmocka_unit_test(test_classes_against_pcre2),
        cmocka_unit_test(test_other_patterns),
        cmocka_unit_test(test_two_stages),
        cmocka_unit_test(test_refused_patterns),
        cmocka_unit_test(test_cuts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
