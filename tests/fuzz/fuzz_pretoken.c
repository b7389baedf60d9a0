/* fuzz_pretoken.c: any bytes as text, cut into words by every scanner and by the matcher running the
 * scanner's pattern: the words must be the same. With a first byte of 255 or 254 the bytes up to a
 * NUL are a pattern in Oniguruma's or Rust's dialect, which must cut the rest without losing any of
 * it, or be refused. */
#include "text/tokenizer/text_tokenizer_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const patterns[] = {
    PRETOKEN_PATTERN_GPT2,
    PRETOKEN_PATTERN_GROK2,
    PRETOKEN_PATTERN_LLAMA3,
    "\\p{N}{1,3}",
};

/* Each pattern once by scanner, once by the matcher. */
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
        for (int matched = 0; matched < 2; matched++) {
            struct splitter *x = &splitters[i][matched];
            char pattern[512]; /* in a group it is not known by its text */
            snprintf(pattern, sizeof(pattern), matched ? "(?:%s)" : "%s", patterns[i]);
            CHECK(pretoken_add(&x->p, pattern, strlen(pattern), NULL) == 0);
            CHECK((x->p.stages[0].scanner == PRETOKEN_PATTERN) == matched);
            pretoken_scratch_init(&x->s, &x->p);
        }
}

static void check_text(const char *text, size_t size)
{
    if (!splitters[0][0].p.n_stages) open_splitters();
    struct words scan = {.ends = mem_alloc((size + 1) * sizeof(size_t))};
    struct words matched = {.ends = mem_alloc((size + 1) * sizeof(size_t))};
    for (size_t i = 0; i < ARRAY_LEN(patterns); i++) {
        split(&splitters[i][0], text, size, &scan);
        split(&splitters[i][1], text, size, &matched);
        CHECK_MSG(scan.count == matched.count &&
                      memcmp(scan.ends, matched.ends, scan.count * sizeof(size_t)) == 0,
                  "pattern %zu", i);
    }
    mem_free(scan.ends);
    mem_free(matched.ends);
}

static void check_pattern(bool rust, const char *pattern, size_t pattern_size, const char *text,
                          size_t size)
{
    struct error e = {0};
    struct splitter x = {0};
    struct words w = {0};
    int rc = rust ? pretoken_add_tiktoken(&x.p, pattern, pattern_size, &e)
                  : pretoken_add(&x.p, pattern, pattern_size, &e);
    if (rc < 0) {
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
    if (size && data[0] >= 254) {
        const char *end = memchr(text, '\0', size);
        if (end && end - text < 512)
            check_pattern(data[0] == 254, text + 1, (size_t)(end - text) - 1, end + 1,
                          (size_t)(text + size - end - 1));
    } else {
        check_text(text, size);
    }
    return 0;
}
