/* test_text_unicode.c: normal forms, lower case, and the sets that have a name.
 *
 * Every code point is looked at: the numbers are FNV-1a over what Hugging Face's tokenizers 0.23.3
 * gives for all of them, and over the ranges of what its Oniguruma takes for \p{NAME}. */
#include "test_cmocka.h"

#include "text/unicode/text_unicode_internal.h"

#define FNV_BASE 0xcbf29ce484222325u

static uint64_t fnv(uint64_t h, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        h = (h ^ (uint8_t)p[i]) * 0x100000001b3u;
    return h;
}

static bool is_surrogate(uint32_t cp)
{
    return cp >= 0xd800 && cp < 0xe000;
}

/* Over every character below U+30000 and a few above, each between what is given. */
static uint64_t hash_all(void (*change)(const char *text, size_t size, struct str *out),
                         const char *before, const char *behind)
{
    struct str text = {0}, out = {0};
    uint64_t h = FNV_BASE;
    char bytes[4];
    for (uint32_t cp = 0; cp < UNICODE_POINTS; cp++) {
        if (is_surrogate(cp) || (cp >= 0x30000 && cp % 97)) continue;
        str_clear(&text);
        str_clear(&out);
        str_puts(&text, before);
        str_append(&text, bytes, utf8_encode(cp, bytes));
        str_puts(&text, behind);
        change(text.data, text.len, &out);
        h = fnv(h, out.data, out.len);
    }
    str_fini(&text);
    str_fini(&out);
    return h;
}

static void nfc(const char *text, size_t size, struct str *out)
{
    unicode_normalize(UNICODE_NFC, text, size, out);
}
static void nfd(const char *text, size_t size, struct str *out)
{
    unicode_normalize(UNICODE_NFD, text, size, out);
}
static void nfkc(const char *text, size_t size, struct str *out)
{
    unicode_normalize(UNICODE_NFKC, text, size, out);
}
static void nfkd(const char *text, size_t size, struct str *out)
{
    unicode_normalize(UNICODE_NFKD, text, size, out);
}

static void lowercase(const char *text, size_t size, struct str *out)
{
    uint32_t cp, to[2];
    char bytes[4];
    for (size_t at = 0; at < size;) {
        at += utf8_decode(text + at, size - at, &cp);
        for (size_t i = 0, n = unicode_lower(cp, to); i < n; i++)
            str_append(out, bytes, utf8_encode(to[i], bytes));
    }
}

static void strip_marks(const char *text, size_t size, struct str *out)
{
    uint32_t cp;
    for (size_t at = 0, n; at < size; at += n) {
        n = utf8_decode(text + at, size - at, &cp);
        if (!unicode_is_mark(cp)) str_append(out, text + at, n);
    }
}

/* Two marks behind each, the second of which sorts before the first. */
static void test_every_character(void **state)
{
    (void)state;
    const char *marks = "\xcc\x81\xcc\xa7";
    assert_true(hash_all(nfc, "a", marks) == 0x94d8873cd595f834u);
    assert_true(hash_all(nfd, "a", marks) == 0x81a0ebd0123da021u);
    assert_true(hash_all(nfkc, "a", marks) == 0x22cd50da48c73472u);
    assert_true(hash_all(nfkd, "a", marks) == 0x466280c888bd716au);
    assert_true(hash_all(lowercase, "", "") == 0xdef196d5ba07b50fu);
    assert_true(hash_all(strip_marks, "", "") == 0xbde26fdfbe2bfffcu);
}

static void expect_form(enum unicode_form form, const char *text, const char *want)
{
    struct str out = {0};
    unicode_normalize(form, text, strlen(text), &out);
    assert_string_equal(out.data, want);
    str_fini(&out);
}

static void test_normal_forms(void **state)
{
    (void)state;
    /* full-width A, the ligature fi */
    expect_form(UNICODE_NFKC, "\xef\xbc\xa1\xef\xac\x81x", "Afix");
    expect_form(UNICODE_NFC, "e\xcc\x81", "\xc3\xa9");
    expect_form(UNICODE_NFD, "\xc3\xa9", "e\xcc\x81");
    /* the three letters of a Hangul syllable, and back */
    expect_form(UNICODE_NFC, "\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab", "\xed\x95\x9c");
    expect_form(UNICODE_NFD, "\xed\x95\x9c", "\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab");
    /* dot below sorts before the acute, of which the latter joins */
    expect_form(UNICODE_NFC, "q\xcc\x81\xcc\xa3", "q\xcc\xa3\xcc\x81");
    /* composition exclusion: stays decomposed */
    expect_form(UNICODE_NFC, "\xe0\xa5\x98", "\xe0\xa4\x95\xe0\xa4\xbc");
    /* newer than Unicode 9.0, so it stays: U+32FF */
    expect_form(UNICODE_NFKC, "\xe3\x8b\xbf", "\xe3\x8b\xbf");
    /* bytes that are not UTF-8 stay and keep marks apart from what stands before them */
    expect_form(UNICODE_NFC, "e\xff\xcc\x81\xc3", "e\xff\xcc\x81\xc3");
}

/* A hundred thousand marks are sorted in no time, and stay in order among equals. */
static void test_many_marks(void **state)
{
    (void)state;
    struct str text = {0}, out = {0};
    str_puts(&text, "a");
    for (int i = 0; i < 100000; i++)
        str_puts(&text, i % 2 ? "\xcc\xa3" : "\xcc\x8d"); /* below, above */
    unicode_normalize(UNICODE_NFD, text.data, text.len, &out);
    assert_int_equal(out.len, text.len);
    assert_memory_equal(out.data, "a\xcc\xa3\xcc\xa3", 5);
    assert_memory_equal(out.data + 1 + 100000, "\xcc\x8d\xcc\x8d", 4);
    str_fini(&text);
    str_fini(&out);
}

/* ------------------------------------------------------------------ sets */

static const struct named_set {
    const char *name;
    size_t count;
    uint64_t hash;
} named_sets[] = {
    {"L", 141028, 0x7d85f16f8ed47a6cu},
    {"Ll", 2258, 0xf0f966ecf1e0f916u},
    {"Lm", 404, 0x3c64f2c08a4f3d44u},
    {"Lo", 136477, 0x1501078c08f410d2u},
    {"Lt", 31, 0xa6b9853f50241ad7u},
    {"Lu", 1858, 0x217d802360ac712eu},
    {"LC", 4147, 0xadc70e41ae873293u},
    {"M", 2501, 0x35965288dcc81f73u},
    {"Mc", 468, 0xf9164b990bccb164u},
    {"Me", 13, 0x4fa022798c74438cu},
    {"Mn", 2020, 0x88419815a5b48ff3u},
    {"N", 1911, 0x412415c241427a0au},
    {"Nd", 760, 0xa90abd77ccff07bbu},
    {"Nl", 236, 0x58e417f082af7d71u},
    {"No", 915, 0xf5869e5ee9f93d0fu},
    {"P", 855, 0xfb29f04ec8328848u},
    {"Pc", 10, 0xcd179f7413c14e67u},
    {"Pd", 27, 0xbfb93472a6299932u},
    {"Pe", 77, 0xefc44c14f6265f18u},
    {"Pf", 10, 0xc680da71050ba449u},
    {"Pi", 12, 0xb0e37b6999b7d7f1u},
    {"Po", 640, 0xccabc701eface765u},
    {"Ps", 79, 0x244c4a0c6cd403eeu},
    {"S", 8514, 0x13dbea6d2ce8ed46u},
    {"Sc", 63, 0x817e20d08a65de54u},
    {"Sk", 125, 0xc1b048e569d13c5au},
    {"Sm", 950, 0xef8f4f0264b19bfu},
    {"So", 7376, 0x36d55aff80e35cbfu},
    {"Z", 19, 0xbb8e824ee2e7d3e1u},
    {"Zs", 17, 0xf465be67f5d35f49u},
    {"C", 957236, 0xaff4482a3bd7f508u},
    {"Cc", 65, 0xf4a71948520a043eu},
    {"Cf", 170, 0xa43995eaf90aed63u},
    {"Cn", 819533, 0x20fd63b3d691680fu},
    {"Co", 137468, 0x28729813927529d7u},
    {"Any", 1112064, 0x961986b0a111fd06u},
    {"Assigned", 292531, 0x28568929b60b1f16u},
    {"Alphabetic", 142759, 0x3a13bdcf737538fbu},
    {"Uppercase", 1978, 0x3bafdd306ae5537eu},
    {"Lowercase", 2569, 0x4f24cc8d84dfc693u},
    {"White_Space", 25, 0xdffa560d0a9a6aa0u},
    {"Alnum", 143519, 0xefeb088ffcabfed5u},
    {"Word", 144665, 0x4888891ddf712648u},
    {"Blank", 18, 0x32aece6ed15c228eu},
    {"Graph", 292447, 0x98f28a48cb62280fu},
    {"Print", 292464, 0x13481908d4ee0157u},
    {"Punct", 855, 0xfb29f04ec8328848u},
    {"XDigit", 22, 0x3b5241baa5cca0e7u},
    {"ASCII", 128, 0x454a28b9c21d1a49u},
    {"Emoji", 1431, 0x65fc803c8631d3ddu},
    {"Extended_Pictographic", 3537, 0xc8cec58037e653beu},
    {"Han", 99030, 0x125fc5f41603fc3fu},
    {"Latin", 1487, 0x147a9465a969d87au},
    {"Hiragana", 381, 0xa575711bd544ec94u},
    {"Katakana", 321, 0x614fe3864eee0420u},
    {"Cyrillic", 508, 0x5aeb59d3e9d134e2u},
    {"Common", 9053, 0x29e21dbfda57f4c0u},
    {"Inherited", 657, 0x7805d3f35505294au},
    {"Arabic", 1373, 0x797740bf39d9af67u},
    {"Thai", 86, 0x60d94f8b85ff8869u},
    {"Hangul", 11739, 0x207d3c08eeef186bu},
    {"Greek", 518, 0xc3dbda8604b45752u},
    {"Letter", 141028, 0x7d85f16f8ed47a6cu},
    {"Uppercase_Letter", 1858, 0x217d802360ac712eu},
    {"Decimal_Number", 760, 0xa90abd77ccff07bbu},
    {"Zyyy", 9053, 0x29e21dbfda57f4c0u},
    {"Hani", 99030, 0x125fc5f41603fc3fu},
    {"Tulu_Tigalari", 80, 0x94f9b37be496318eu},
    {"Garay", 69, 0xa0d6d3c1fc338c90u},
};

static void test_named_sets(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(named_sets); i++) {
        struct unicode_set s = {0}, surrogates = {0};
        uint64_t h = FNV_BASE;
        size_t count = 0;
        if (!unicode_set_add_property(&s, named_sets[i].name, strlen(named_sets[i].name)))
            fail_msg("%s is not known", named_sets[i].name);
        unicode_set_add(&surrogates, 0xd800, 0xdfff);
        unicode_set_complement(&surrogates);
        unicode_set_intersect(&s, &surrogates);
        for (size_t k = 0; k < s.count; k++) {
            char text[32];
            int n = snprintf(text, sizeof(text), "%x-%x,", s.ranges[k].first, s.ranges[k].last);
            h = fnv(h, text, (size_t)n);
            count += s.ranges[k].last - s.ranges[k].first + 1;
        }
        if (count != named_sets[i].count || h != named_sets[i].hash)
            fail_msg("%s: %zu characters, want %zu", named_sets[i].name, count,
                     named_sets[i].count);
        unicode_set_fini(&s);
        unicode_set_fini(&surrogates);
    }
}

static void test_set_names(void **state)
{
    (void)state;
    struct unicode_set s = {0};
    assert_true(unicode_set_add_property(&s, "White - Space", 13));
    assert_true(unicode_set_has(&s, 0x3000));
    assert_false(unicode_set_has(&s, 'a'));
    assert_false(unicode_set_has(&s, '+'));
    assert_true(unicode_set_add_property(&s, "Punct", 5));
    assert_false(unicode_set_has(&s, '+'));
    assert_true(unicode_set_add_posix(&s, "punct", 5));
    assert_true(unicode_set_has(&s, '+'));
    assert_false(unicode_set_add_posix(&s, "L", 1));
    assert_false(unicode_set_add_property(&s, "Nonsense", 8));
    assert_false(unicode_set_add_property(&s, "", 0));
    unicode_set_fini(&s);
}

/* 144,667 of the 1,112,064 are letters, numbers or the like by \w of Rust. */
static void test_words(void **state)
{
    (void)state;
    size_t n = 0;
    for (uint32_t cp = 0; cp < UNICODE_POINTS; cp++)
        n += unicode_is_word(cp);
    assert_int_equal(n, 144667);
    assert_true(unicode_is_control(0xad) && unicode_is_control(0xe000) && unicode_is_control(1));
    assert_false(unicode_is_control('a') || unicode_is_control(0x10ffff));
    assert_true(unicode_is_nonspacing(0x301) && !unicode_is_nonspacing(0x903));
}

static void test_set_algebra(void **state)
{
    (void)state;
    struct unicode_set a = {0}, b = {0};
    unicode_set_add(&a, 30, 39);
    unicode_set_add(&a, 10, 19);
    unicode_set_add(&a, 20, 24); /* touches */
    assert_int_equal(a.count, 2);
    unicode_set_add(&b, 15, 33);
    unicode_set_intersect(&a, &b);
    assert_int_equal(a.count, 2);
    assert_int_equal(a.ranges[0].first, 15);
    assert_int_equal(a.ranges[0].last, 24);
    assert_int_equal(a.ranges[1].last, 33);
    unicode_set_complement(&a);
    assert_true(unicode_set_has(&a, 25) && unicode_set_has(&a, 0) && unicode_set_has(&a, 0x10ffff));
    assert_false(unicode_set_has(&a, 15) || unicode_set_has(&a, 33));
    unicode_set_complement(&a);
    unicode_set_union(&a, &b);
    assert_int_equal(a.count, 1);
    unicode_set_fini(&a);
    unicode_set_fini(&b);
}

static void test_case_folding(void **state)
{
    (void)state;
    uint32_t to[UNICODE_MAX_FOLD];
    assert_int_equal(unicode_case_fold('K', to), 1);
    assert_int_equal(to[0], 'k');
    assert_int_equal(unicode_case_fold(0x212a, to), 1); /* Kelvin */
    assert_int_equal(to[0], 'k');
    assert_int_equal(unicode_case_fold(0xdf, to), 2); /* sharp s */
    assert_int_equal(to[0], 's');
    assert_int_equal(to[1], 's');
    assert_int_equal(unicode_case_fold(0x1f52, to), 3);
    assert_int_equal(unicode_case_fold('1', to), 1);
    assert_int_equal(to[0], '1');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_character), cmocka_unit_test(test_normal_forms),
        cmocka_unit_test(test_many_marks),      cmocka_unit_test(test_named_sets),
        cmocka_unit_test(test_set_names),       cmocka_unit_test(test_set_algebra),
        cmocka_unit_test(test_case_folding),    cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
