/* text_pretoken.c: cutting text into words, stage after stage.
 *
 * A tokenizer's file names stages: regular expressions (src/text/pattern/), sets of characters, and
 * some that change the text, which goes to memory that lives until the next text. The usual
 * patterns run on scanners (text_pretoken_scan.c), chosen when the pattern's text is known.
 *
 * Text may hold any bytes. Stages get runs of valid UTF-8, each as if it were the whole text; a run
 * of bytes that are not UTF-8 is a word. What no pattern matches is a word, too. A pattern that needs
 * too many steps for its text (nested repetition) stops matching there, and the rest of that run is
 * one word. */
#include "text/tokenizer/text_tokenizer_internal.h"

/* Spellings of the usual patterns, as the files of well-known tokenizers have them. All mean the same
 * in both dialects. */
static const struct usual_pattern {
    enum pretoken_scanner scanner;
    size_t digits;
    const char *pattern;
} usual_patterns[] = {
    {PRETOKEN_GPT2, 0, PRETOKEN_PATTERN_GPT2},
    {PRETOKEN_GPT2, 0,
     "'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"},
    {PRETOKEN_GPT4, 1, PRETOKEN_PATTERN_GROK2},
    {PRETOKEN_GPT4, 3, PRETOKEN_PATTERN_LLAMA3},
    {PRETOKEN_GPT4, 3,
     "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}{1,3}|"
     " ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"},
    {PRETOKEN_GPT4, 3,
     "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}{1,3}|"
     " ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"},
    {PRETOKEN_DIGITS, 1, "\\p{N}"},
    {PRETOKEN_DIGITS, 3, "\\p{N}{1,3}"},
    {PRETOKEN_DIGITS, SIZE_MAX, "\\p{N}+"},
};

/* NULL where the pattern is none of them. */
static const struct usual_pattern *find_usual(const char *pattern, size_t size)
{
    for (size_t i = 0; i < ARRAY_LEN(usual_patterns); i++)
        if (strlen(usual_patterns[i].pattern) == size &&
            memcmp(usual_patterns[i].pattern, pattern, size) == 0)
            return &usual_patterns[i];
    return NULL;
}

/* ------------------------------------------------------------------ stages */

int pretoken_add_stage(struct pretoken *p, struct pretoken_stage stage, struct error *e)
{
    if (p->n_stages == PRETOKEN_MAX_STAGES)
        return error_set(e, "more than %d stages", PRETOKEN_MAX_STAGES);
    p->stages[p->n_stages++] = stage;
    return 0;
}

int pretoken_add_pattern(struct pretoken *p, const char *pattern, size_t size,
                         struct pretoken_cut cut, struct error *e)
{
    const struct usual_pattern *usual = find_usual(pattern, size);
    struct pretoken_stage stage = {.behavior = cut.behavior, .invert = cut.invert};
    /* Inverted and removed: words are kept, what lies between them goes, of which those that cover
     * any text leave nothing. */
    bool kept = cut.behavior == PRETOKEN_REMOVED && cut.invert && usual &&
                usual->scanner != PRETOKEN_DIGITS;
    if (usual && (kept || cut.behavior == PRETOKEN_ISOLATED)) {
        stage.scanner = usual->scanner;
        stage.digits = usual->digits;
        return pretoken_add_stage(p, stage, e);
    }
    stage.scanner = PRETOKEN_PATTERN;
    if (p->n_stages < PRETOKEN_MAX_STAGES)
        TRY(pattern_compile(pattern, size, cut.dialect, &stage.pattern, e));
    return pretoken_add_stage(p, stage, e);
}

int pretoken_add(struct pretoken *p, const char *pattern, size_t size, struct error *e)
{
    return pretoken_add_pattern(
        p, pattern, size, (struct pretoken_cut){PATTERN_ONIGURUMA, PRETOKEN_ISOLATED, false}, e);
}

int pretoken_add_tiktoken(struct pretoken *p, const char *pattern, size_t size, struct error *e)
{
    return pretoken_add_pattern(
        p, pattern, size, (struct pretoken_cut){PATTERN_TIKTOKEN, PRETOKEN_ISOLATED, false}, e);
}

int pretoken_add_characters(struct pretoken *p, struct unicode_set *set,
                            enum pretoken_behavior behavior, struct error *e)
{
    struct pretoken_stage stage = {.scanner = PRETOKEN_CHARACTERS, .behavior = behavior};
    int rc = 0;
    if (p->n_stages < PRETOKEN_MAX_STAGES) {
        stage.test = mem_alloc(sizeof(*stage.test));
        pattern_test_init(stage.test, set);
    }
    rc = pretoken_add_stage(p, stage, e);
    unicode_set_fini(set);
    return rc;
}

void pretoken_fini(struct pretoken *p)
{
    for (int i = 0; i < p->n_stages; i++) {
        pattern_free(p->stages[i].pattern);
        if (p->stages[i].test) mem_free(p->stages[i].test->bits);
        mem_free(p->stages[i].test);
    }
    *p = (struct pretoken){0};
}

/* Every alternative of GPT-4's pattern that takes a line end takes all of its run of white space up
 * to the last one, or line ends only, so a letter behind a line end begins a word; and what stands
 * in front of it is cut as it would be at the end of a text. */
bool pretoken_can_cut(const struct pretoken *p, const char *text, size_t at)
{
    char c = text[at];
    if (p->n_stages == 0 || p->stages[0].scanner != PRETOKEN_GPT4) return false;
    return text[at - 1] == '\n' &&
           ((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z'));
}

void pretoken_scratch_init(struct pretoken_scratch *s, const struct pretoken *p)
{
    (void)p;
    *s = (struct pretoken_scratch){0};
    arena_init(&s->arena);
}

void pretoken_scratch_fini(struct pretoken_scratch *s)
{
    pattern_work_fini(&s->work);
    arena_fini(&s->arena);
    *s = (struct pretoken_scratch){0};
}

/* Scanners mind invalid bytes themselves. */
static bool takes_any_bytes(const struct pretoken *p)
{
    for (int i = 0; i < p->n_stages; i++) {
        enum pretoken_scanner scanner = p->stages[i].scanner;
        if (scanner != PRETOKEN_GPT2 && scanner != PRETOKEN_GPT4 && scanner != PRETOKEN_DIGITS)
            return false;
    }
    return true;
}

void pretoken_split(const struct pretoken *p, struct pretoken_scratch *s, const char *text,
                    size_t size, pretoken_fn *fn, void *ctx)
{
    struct pretoken_split split = {.p = p, .scratch = s, .fn = fn, .ctx = ctx};
    split.begin = s->at_begin ? text : NULL;
    if (s->arena.used) arena_reset(&s->arena);
    if (takes_any_bytes(p)) {
        if (size) pretoken_run_stage(&split, 0, text, size);
        return;
    }
    for (size_t at = 0; at < size;) {
        size_t end = at + utf8_valid_size(text + at, size - at);
        if (end > at) pretoken_run_stage(&split, 0, text + at, end - at);
        for (at = end; at < size && !utf8_decode(text + at, size - at, NULL);)
            at++;
        if (at > end) fn(ctx, text + end, at - end);
    }
}
