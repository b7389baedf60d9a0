/* text_pretoken.c: cutting text into the words that are merged one by one.
 *
 * A tokenizer's file names one or more regular expressions, made for Oniguruma (Hugging Face) or
 * Rust's regex (tiktoken). They run on PCRE2 with its JIT; the usual ones run on scanners
 * (text_pretoken_scan.c), chosen when the pattern's text is known. The dialects differ, so a
 * pattern is translated first: \s is White_Space (PCRE2 adds U+180E), \p{Han} is the script (PCRE2
 * takes script extensions); \w, \h, \b, &&, nested classes, POSIX brackets and recursion mean other
 * things or nothing there, and a pattern with one of them is refused rather than misread.
 *
 * Text may hold any bytes. PCRE2 gets runs of valid UTF-8, each as if it were the whole text; a run
 * of bytes that are not UTF-8 is a word, and so is what no pattern matches: nothing is lost. A
 * pattern that needs too many steps for its text (nested repetition) stops matching there, and the
 * rest of that run is one word. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "text/tokenizer/text_tokenizer_internal.h"

#define JIT_STACK_SIZE ((size_t)512 << 10)

/* Spellings of the usual patterns, as the files of well-known tokenizers have them. */
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

bool pretoken_covers(const char *pattern, size_t size)
{
    const struct usual_pattern *usual = find_usual(pattern, size);
    return usual && usual->scanner != PRETOKEN_DIGITS;
}

/* ------------------------------------------------------------------ PCRE2 */

/* NULL: *number and *at say what is wrong. */
static pcre2_code *compile(const char *pattern, size_t size, int *number, PCRE2_SIZE *at)
{
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (!context) mem_exhausted(0);
    pcre2_set_parens_nest_limit(context, 32);
    pcre2_code *code = pcre2_compile(
        (PCRE2_SPTR)pattern, size,
        PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, number, at, context);
    pcre2_compile_context_free(context);
    return code;
}

/* ------------------------------------------------------------------ dialect */

/* Refusing costs a message; cutting text by a pattern misread would cost a model. */
static int pattern_refused(const char *what, size_t at, struct error *e)
{
    error_set(e, "the pattern has %s at byte %zu", what, at);
    return error_hint(e, "it means something else in PCRE2; write the class out, as with \\p{L}");
}

/* Is what stands behind "(?" a group that both dialects read alike? */
static bool group_is_plain(const char *p, const char *end)
{
    while (p < end && (*p == 'i' || *p == '-'))
        p++;
    if (p == end) return false;
    if (*p == '<') return p + 1 < end && (p[1] == '=' || p[1] == '!');
    return strchr(":=!>", *p) && *p;
}

/* "\p{Name}" at p[0]: its length, or 0. *name is what stands in the braces. */
static size_t property_length(const char *p, const char *end, const char **name, int *name_size)
{
    const char *close = end - p > 3 && p[2] == '{' ? memchr(p, '}', (size_t)(end - p)) : NULL;
    if (!close || close - p > 40) return 0;
    *name = p + 3;
    *name_size = (int)(close - p - 3);
    return (size_t)(close + 1 - p);
}

/* Names of more than two letters may be scripts. */
static bool property_is_script(const char *name, int size)
{
    char pattern[64];
    for (int i = 0; i < size; i++)
        if (!((name[i] | 0x20) >= 'a' && (name[i] | 0x20) <= 'z') && name[i] != '_') return false;
    if (size <= 2) return false;
    snprintf(pattern, sizeof(pattern), "\\p{sc:%.*s}", size, name);
    int number;
    PCRE2_SIZE at;
    pcre2_code *code = compile(pattern, strlen(pattern), &number, &at);
    bool known = code != NULL;
    pcre2_code_free(code);
    return known;
}

/* An escape at p[0]; returns its length in the pattern, or a negative error. */
static int translate_escape(const char *p, const char *end, struct str *out)
{
    char next = p + 1 < end ? p[1] : '\0';
    const char *name;
    int name_size;
    if (next == 's' || next == 'S') {
        str_puts(out, next == 's' ? "\\p{WSpace}" : "\\P{WSpace}");
        return 2;
    }
    if (next == 'p' || next == 'P') {
        size_t length = property_length(p, end, &name, &name_size);
        if (!length) return ERROR_FAILED;
        bool script = property_is_script(name, name_size);
        str_printf(out, "\\%c{%s%.*s}", next, script ? "sc:" : "", name_size, name);
        return (int)length;
    }
    /* Letters and digits that are escapes in one dialect only, or differ. */
    bool alphanumeric =
        (next >= '0' && next <= '9') || ((next | 0x20) >= 'a' && (next | 0x20) <= 'z');
    if (!next || (uint8_t)next >= 0x80 || (alphanumeric && !strchr("dDrntfvx", next)))
        return ERROR_FAILED;
    str_append(out, p, 2);
    return 2;
}

/* Copies the pattern in PCRE2's dialect, and refuses what the dialects read differently. */
static int pattern_translate(const char *pattern, size_t size, struct str *out, struct error *e)
{
    const char *end = pattern + size;
    bool in_class = false;
    for (const char *p = pattern; p < end;) {
        size_t at = (size_t)(p - pattern), left = (size_t)(end - p);
        if (*p == '\\') {
            int n = translate_escape(p, end, out);
            if (n < 0) return pattern_refused("an escape that is not supported", at, e);
            p += n;
            continue;
        }
        if (!*p) return pattern_refused("a zero byte", at, e);
        if (in_class && *p == '[') return pattern_refused("'[' inside a class", at, e);
        if (in_class && left > 1 && p[0] == '&' && p[1] == '&')
            return pattern_refused("'&&' inside a class", at, e);
        if (!in_class && left > 1 && p[0] == '(' &&
            (p[1] == '*' || (p[1] == '?' && !group_is_plain(p + 2, end))))
            return pattern_refused("a group that is not supported", at, e);
        if (!in_class && *p == '[') {
            in_class = true;
            str_append_char(out, *p++);
            if (p < end && *p == '^') str_append_char(out, *p++);
            if (p < end && *p == ']') return pattern_refused("an empty class", at, e);
            continue;
        }
        if (*p == ']') in_class = false;
        str_append_char(out, *p++);
    }
    return 0;
}

/* ------------------------------------------------------------------ stages */

static int pattern_compile(const char *pattern, size_t size, void **code, struct error *e)
{
    int number;
    PCRE2_SIZE at;
    pcre2_code *compiled = compile(pattern, size, &number, &at);
    if (!compiled) {
        char text[160];
        pcre2_get_error_message(number, (PCRE2_UCHAR *)text, sizeof(text));
        return error_set(e, "the pattern is wrong at byte %zu: %s", (size_t)at, text);
    }
    pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE); /* without JIT it is slow, not wrong */
    *code = compiled;
    return 0;
}

int pretoken_add(struct pretoken *p, const char *pattern, size_t size, struct error *e)
{
    if (p->n_stages == PRETOKEN_MAX_STAGES)
        return error_set(e, "more than %d patterns", PRETOKEN_MAX_STAGES);
    if (size > PRETOKEN_MAX_PATTERN)
        return error_set(e, "a pattern of %zu bytes, the limit is %d", size, PRETOKEN_MAX_PATTERN);
    struct pretoken_stage *stage = &p->stages[p->n_stages];
    const struct usual_pattern *usual = find_usual(pattern, size);
    *stage = (struct pretoken_stage){.scanner = PRETOKEN_PCRE};
    if (usual) {
        stage->scanner = usual->scanner;
        stage->digits = usual->digits;
    } else {
        struct str translated = {0};
        int rc = pattern_translate(pattern, size, &translated, e);
        if (rc == 0)
            rc = pattern_compile(translated.data ? translated.data : "", translated.len,
                                 &stage->code, e);
        str_fini(&translated);
        if (rc < 0) return rc;
    }
    p->n_stages++;
    return 0;
}

void pretoken_fini(struct pretoken *p)
{
    for (int i = 0; i < p->n_stages; i++)
        pcre2_code_free(p->stages[i].code);
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

/* The match limit and the JIT's stack belong to a context, which only one thread may use. */
void pretoken_scratch_init(struct pretoken_scratch *s, const struct pretoken *p)
{
    *s = (struct pretoken_scratch){0};
    for (int i = 0; i < p->n_stages; i++) {
        if (!p->stages[i].code) continue;
        s->match[i] = pcre2_match_data_create_from_pattern(p->stages[i].code, NULL);
        if (!s->match[i]) mem_exhausted(0);
        if (s->context) continue;
        s->context = pcre2_match_context_create(NULL);
        s->jit_stack = pcre2_jit_stack_create(32 << 10, JIT_STACK_SIZE, NULL);
        if (!s->context) mem_exhausted(0);
        if (s->jit_stack) pcre2_jit_stack_assign(s->context, NULL, s->jit_stack);
    }
}

void pretoken_scratch_fini(struct pretoken_scratch *s)
{
    for (int i = 0; i < PRETOKEN_MAX_STAGES; i++)
        pcre2_match_data_free(s->match[i]);
    pcre2_match_context_free(s->context);
    pcre2_jit_stack_free(s->jit_stack);
    *s = (struct pretoken_scratch){0};
}

/* ------------------------------------------------------------------ splitting */

struct split {
    const struct pretoken *p;
    struct pretoken_scratch *scratch;
    pretoken_fn *fn;
    void *ctx;
};

static void split_stage(const struct split *s, int stage, const char *text, size_t size);

/* text is valid UTF-8. */
static void split_pcre(const struct split *s, int stage, const char *text, size_t size)
{
    pcre2_match_data *match = s->scratch->match[stage];
    const PCRE2_SIZE *range = pcre2_get_ovector_pointer(match);
    size_t done = 0, at = 0;
    while (at < size) {
        pcre2_set_match_limit(s->scratch->context, (uint32_t)MIN(4096 + 64 * size, UINT32_MAX));
        int rc = pcre2_match(s->p->stages[stage].code, (PCRE2_SPTR)text, size, at,
                             PCRE2_NO_UTF_CHECK, match, s->scratch->context);
        if (rc < 0) break; /* none left, or too hard */
        size_t first = range[0], last = range[1];
        if (first >= last) { /* an empty match cuts nothing; look on behind the character */
            at = first + (first < size ? utf8_decode(text + first, size - first, NULL) : 1);
            continue;
        }
        if (first > done) split_stage(s, stage + 1, text + done, first - done);
        split_stage(s, stage + 1, text + first, last - first);
        done = at = last;
    }
    if (done < size) split_stage(s, stage + 1, text + done, size - done);
}

static void split_scan(const struct split *s, int stage, const char *text, size_t size)
{
    const uint8_t *classes = pretoken_classes();
    for (size_t at = 0; at < size;) {
        size_t end = pretoken_scan(&s->p->stages[stage], classes, text, size, at);
        split_stage(s, stage + 1, text + at, end - at);
        at = end;
    }
}

/* Words of one stage go through the next; at most PRETOKEN_MAX_STAGES deep. */
static void split_stage(const struct split *s, int stage, const char *text, size_t size)
{
    if (stage == s->p->n_stages)
        s->fn(s->ctx, text, size);
    else if (s->p->stages[stage].scanner == PRETOKEN_PCRE)
        split_pcre(s, stage, text, size);
    else
        split_scan(s, stage, text, size);
}

void pretoken_split(const struct pretoken *p, struct pretoken_scratch *s, const char *text,
                    size_t size, pretoken_fn *fn, void *ctx)
{
    struct split split = {p, s, fn, ctx};
    if (!s->context) { /* no PCRE2: scanners mind invalid bytes themselves */
        if (size) split_stage(&split, 0, text, size);
        return;
    }
    for (size_t at = 0; at < size;) {
        size_t end = at + utf8_valid_size(text + at, size - at);
        if (end > at) split_stage(&split, 0, text + at, end - at);
        for (at = end; at < size && !utf8_decode(text + at, size - at, NULL);)
            at++;
        if (at > end) fn(ctx, text + end, at - end);
    }
}
