/* text_pretoken_scan.c: the usual pre-tokenizer patterns as hand-written scanners.
 *
 * Nearly every byte-level tokenizer cuts text with one of two patterns: GPT-2's, or GPT-4's (also
 * Llama 3, Qwen 2 and Grok-2; they differ in how many digits make a word). Regular-expression
 * matching would be the most expensive part of encoding, and both patterns can be decided by
 * looking at the class of a character and of the next one. The alternatives below stand in the
 * order of the pattern, as the first that matches wins. Tests and a fuzz target compare every
 * scanner with the matcher running the pattern itself, on any bytes.
 *
 * A byte that is not valid UTF-8 is matched by nothing, not by \S either; a run of them is a
 * word. */
#include "text/tokenizer/text_tokenizer_internal.h"

struct scan {
    const uint8_t *classes;
    const char *text;
    size_t size;
};

/* Class of the character at `at` and its bytes. */
static inline enum pretoken_class scan_class(const struct scan *s, size_t at, size_t *n)
{
    *n = 1;
    if (at >= s->size) return PRETOKEN_END;
    uint8_t byte = (uint8_t)s->text[at];
    if (byte < 0x80) return s->classes[byte];
    uint32_t cp;
    size_t valid = utf8_decode(s->text + at, s->size - at, &cp);
    if (!valid) return PRETOKEN_INVALID;
    *n = valid;
    return cp < PRETOKEN_CLASS_POINTS ? s->classes[cp] : PRETOKEN_OTHER;
}

/* End of the run of characters of one class that may begin at `at`. */
static size_t scan_run(const struct scan *s, size_t at, enum pretoken_class class)
{
    size_t n;
    while (scan_class(s, at, &n) == class)
        at += n;
    return at;
}

/* Up to `digits` numbers in a row, of which one may begin at `at`. */
static size_t scan_numbers(const struct scan *s, size_t at, size_t digits)
{
    size_t n;
    for (size_t i = 0; i < digits && scan_class(s, at, &n) == PRETOKEN_NUMBER; i++)
        at += n;
    return at;
}

/* \s*[\r\n]+ where allowed, else \s+(?!\S), else \s+; a space is at `at`. */
static size_t scan_spaces(const struct scan *s, size_t at, bool newlines)
{
    size_t n, last = at, line_end = 0;
    enum pretoken_class class;
    size_t end = at;
    while ((class = scan_class(s, end, &n)) == PRETOKEN_SPACE) {
        last = end;
        end += n;
        if (s->text[last] == '\n' || s->text[last] == '\r') line_end = end;
    }
    if (newlines && line_end) return line_end;
    bool before_word = class != PRETOKEN_END && class != PRETOKEN_INVALID;
    return before_word && last > at ? last : end; /* the last space belongs to the word */
}

/* Bytes of 's 't 're 've 'm 'll 'd behind the apostrophe, or 0. */
static size_t scan_contraction(const struct scan *s, size_t at, bool any_case)
{
    size_t left = s->size - at - 1;
    const uint8_t *p = (const uint8_t *)s->text + at + 1;
    uint8_t fold = any_case ? 0x20 : 0;
    if (!left) return 0;
    uint8_t a = p[0] | fold;
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return 1;
    if (left < 2) return 0;
    /* Without regard to case U+017F, the long s, is an s. */
    if (any_case && p[0] == 0xc5 && p[1] == 0xbf) return 2;
    uint8_t b = p[1] | fold;
    return (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l') ? 2 : 0;
}

/* 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
static size_t scan_gpt2(const struct scan *s, size_t at)
{
    size_t n;
    enum pretoken_class class = scan_class(s, at, &n);
    if (s->text[at] == '\'') {
        size_t contraction = scan_contraction(s, at, false);
        if (contraction) return at + 1 + contraction;
    }
    if (s->text[at] == ' ') {
        enum pretoken_class next = scan_class(s, at + 1, &n);
        if (next <= PRETOKEN_NUMBER) return scan_run(s, at + 1, next);
    }
    if (class == PRETOKEN_SPACE) return scan_spaces(s, at, false);
    return scan_run(s, at, class);
}

/* ' ?[^\s\p{L}\p{N}]+[\r\n]*' from the first character behind the space. */
static size_t scan_others(const struct scan *s, size_t at)
{
    at = scan_run(s, at, PRETOKEN_OTHER);
    while (at < s->size && (s->text[at] == '\n' || s->text[at] == '\r'))
        at++;
    return at;
}

/* (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,DIGITS}|
 *  ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+ */
static size_t scan_gpt4(const struct scan *s, size_t at, size_t digits)
{
    size_t n, next_n;
    char c = s->text[at];
    enum pretoken_class class = scan_class(s, at, &n);
    if (class == PRETOKEN_LETTER) return scan_run(s, at + n, PRETOKEN_LETTER);
    if (class == PRETOKEN_INVALID) return scan_run(s, at + n, PRETOKEN_INVALID);
    if (class == PRETOKEN_NUMBER) return scan_numbers(s, at, digits);
    if (c == '\'') {
        size_t contraction = scan_contraction(s, at, true);
        if (contraction) return at + 1 + contraction;
    }
    enum pretoken_class next = scan_class(s, at + n, &next_n);
    if (next == PRETOKEN_LETTER && c != '\n' && c != '\r')
        return scan_run(s, at + n + next_n, PRETOKEN_LETTER);
    if (class == PRETOKEN_OTHER) return scan_others(s, at + n);
    if (c == ' ' && next == PRETOKEN_OTHER) return scan_others(s, at + 1 + next_n);
    return scan_spaces(s, at, true);
}

/* Up to `digits` numbers, or what stands between numbers. */
static size_t scan_digits(const struct scan *s, size_t at, size_t digits)
{
    size_t n;
    enum pretoken_class class = scan_class(s, at, &n);
    if (class == PRETOKEN_INVALID) return scan_run(s, at, class);
    if (class == PRETOKEN_NUMBER) return scan_numbers(s, at, digits);
    while (class < PRETOKEN_INVALID && class != PRETOKEN_NUMBER)
        class = scan_class(s, at += n, &n);
    return at;
}

size_t pretoken_scan(const struct pretoken_stage *stage, const uint8_t *classes, const char *text,
                     size_t size, size_t at)
{
    struct scan s = {classes, text, size};
    switch (stage->scanner) {
    case PRETOKEN_GPT2: return scan_gpt2(&s, at);
    case PRETOKEN_GPT4: return scan_gpt4(&s, at, stage->digits);
    case PRETOKEN_DIGITS: return scan_digits(&s, at, stage->digits);
    default: break;
    }
    CHECK_MSG(false, "no scanner");
}
