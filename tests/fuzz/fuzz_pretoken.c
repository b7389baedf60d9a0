/* fuzz_pretoken.c: any bytes as text, cut into words by every scanner and by PCRE2 running the
 * scanner's pattern: the words must be the same. With a first byte of 255 the bytes up to a NUL are
 * a pattern, which must cut the rest without losing any of it, or be refused. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "text/tokenizer/text_tokenizer_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const patterns[] = {
    PRETOKEN_PATTERN_GPT2,
    PRETOKEN_PATTERN_GROK2,
    PRETOKEN_PATTERN_LLAMA3,
    "\\p{N}{1,3}",
};

/* Each pattern once by scanner, once by PCRE2. */
struct splitter {
    struct pretoken p;
    struct pretoken_scratch s;
};
static struct splitter splitters[ARRAY_LEN(patterns)][2];

struct words {
    const char *next; /* where the next word must begin */
    size_t *ends;     /* [count], where not NULL */
    size_t count;
    const char *text;
};

static void take_word(void *ctx, const char *word, size_t size)
{
    struct words *w = ctx;
    CHECK(word == w->next && size > 0);
    w->next = word + size;
    if (w->ends) w->ends[w->count] = (size_t)(w->next - w->text);
    w->count++;
}

static void split(struct splitter *x, const char *text, size_t size, struct words *w)
{
    w->text = w->next = text;
    w->count = 0;
    pretoken_split(&x->p, &x->s, text, size, take_word, w);
    CHECK(w->next == text + size);
}

static void open_splitters(void)
{
    for (size_t i = 0; i < ARRAY_LEN(patterns); i++)
        for (int pcre = 0; pcre < 2; pcre++) {
            struct splitter *x = &splitters[i][pcre];
            char pattern[512]; /* in a group it is not known by its text, and PCRE2 runs it */
            snprintf(pattern, sizeof(pattern), pcre ? "(?:%s)" : "%s", patterns[i]);
            CHECK(pretoken_add(&x->p, pattern, strlen(pattern), NULL) == 0);
            CHECK((x->p.stages[0].scanner == PRETOKEN_PCRE) == pcre);
            pretoken_scratch_init(&x->s, &x->p);
        }
}

/* Characters that the installed PCRE2 does not know yet: the table of classes may. Filled once. */
static bool unknown[0x110000];

static void find_unknown(void)
{
    int number;
    PCRE2_SIZE at;
    pcre2_code *code =
        pcre2_compile((PCRE2_SPTR) "\\p{Cn}", PCRE2_ZERO_TERMINATED, PCRE2_UTF, &number, &at, NULL);
    CHECK(code && pcre2_jit_compile(code, PCRE2_JIT_COMPLETE) <= 0);
    pcre2_match_data *match = pcre2_match_data_create(1, NULL);
    for (uint32_t cp = 0; cp < ARRAY_LEN(unknown); cp++) {
        char text[4];
        if (cp < 0xd800 || cp >= 0xe000)
            unknown[cp] = pcre2_match(code, (PCRE2_SPTR)text, utf8_encode(cp, text), 0,
                                      PCRE2_NO_UTF_CHECK, match, NULL) > 0;
    }
    pcre2_match_data_free(match);
    pcre2_code_free(code);
}

static bool all_known(const char *text, size_t size)
{
    uint32_t cp;
    for (size_t i = 0, n; i < size; i += MAX(n, 1)) {
        n = utf8_decode(text + i, size - i, &cp);
        if (n && unknown[cp]) return false;
    }
    return true;
}

static void check_text(const char *text, size_t size)
{
    if (!splitters[0][0].p.n_stages) {
        open_splitters();
        find_unknown();
    }
    if (!all_known(text, size)) return;
    struct words scan = {.ends = mem_alloc((size + 1) * sizeof(size_t))};
    struct words pcre = {.ends = mem_alloc((size + 1) * sizeof(size_t))};
    for (size_t i = 0; i < ARRAY_LEN(patterns); i++) {
        split(&splitters[i][0], text, size, &scan);
        split(&splitters[i][1], text, size, &pcre);
        CHECK_MSG(scan.count == pcre.count &&
                      memcmp(scan.ends, pcre.ends, scan.count * sizeof(size_t)) == 0,
                  "pattern %zu", i);
    }
    mem_free(scan.ends);
    mem_free(pcre.ends);
}

static void check_pattern(const char *pattern, size_t pattern_size, const char *text, size_t size)
{
    struct error e = {0};
    struct splitter x = {0};
    struct words w = {0};
    if (pretoken_add(&x.p, pattern, pattern_size, &e) < 0) {
        CHECK(e.text[0]);
        return;
    }
    pretoken_scratch_init(&x.s, &x.p);
    split(&x, text, size, &w);
    pretoken_scratch_fini(&x.s);
    pretoken_fini(&x.p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    if (size && data[0] == 255) {
        const char *end = memchr(text, '\0', size);
        if (end && end - text < 512)
            check_pattern(text + 1, (size_t)(end - text) - 1, end + 1,
                          (size_t)(text + size - end - 1));
    } else {
        check_text(text, size);
    }
    return 0;
}
