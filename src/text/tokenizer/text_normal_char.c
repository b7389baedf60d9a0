/* text_normal_char.c: what normalisers and added tokens ask about characters, and normal forms. */
#include <utf8proc.h>

#include "text/tokenizer/text_tokenizer_internal.h"

static bool category_in(uint32_t cp, utf8proc_category_t first, utf8proc_category_t last)
{
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)cp);
    return category >= first && category <= last;
}

bool char_is_mark(uint32_t cp)
{
    return cp >= 0x300 && category_in(cp, UTF8PROC_CATEGORY_MN, UTF8PROC_CATEGORY_ME);
}

bool char_is_nonspacing(uint32_t cp)
{
    return cp >= 0x300 && category_in(cp, UTF8PROC_CATEGORY_MN, UTF8PROC_CATEGORY_MN);
}

bool char_is_control(uint32_t cp)
{
    return category_in(cp, UTF8PROC_CATEGORY_CC, UTF8PROC_CATEGORY_CO);
}

bool char_is_space(uint32_t cp)
{
    return (cp >= 9 && cp <= 13) || cp == ' ' || cp == 0x85 || cp == 0xa0 || cp == 0x1680 ||
           (cp >= 0x2000 && cp <= 0x200a) || cp == 0x2028 || cp == 0x2029 || cp == 0x202f ||
           cp == 0x205f || cp == 0x3000;
}

/* \w of Rust's regular expressions: letters, marks, decimal digits, connectors, joiners, and the
 * numbers and symbols that are alphabetic (Roman numerals, circled letters). */
bool char_is_word(uint32_t cp)
{
    if (cp < 0x80)
        return (cp >= '0' && cp <= '9') || cp == '_' || ((cp | 0x20) >= 'a' && (cp | 0x20) <= 'z');
    return category_in(cp, UTF8PROC_CATEGORY_LU, UTF8PROC_CATEGORY_ND) ||
           category_in(cp, UTF8PROC_CATEGORY_NL, UTF8PROC_CATEGORY_NL) ||
           category_in(cp, UTF8PROC_CATEGORY_PC, UTF8PROC_CATEGORY_PC) || cp == 0x200c ||
           cp == 0x200d || (cp >= 0x24b6 && cp <= 0x24e9) || (cp >= 0x1f130 && cp <= 0x1f149) ||
           (cp >= 0x1f150 && cp <= 0x1f169) || (cp >= 0x1f170 && cp <= 0x1f189);
}

/* U+0130 is the one character whose lower case is two, whatever stands around it. */
size_t char_lower(uint32_t cp, uint32_t to[3])
{
    to[0] = cp == 0x130 ? 'i' : (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp);
    to[1] = 0x307;
    return cp == 0x130 ? 2 : 1;
}

/* The character that ends at text + size, or 0xfffd where its bytes are not UTF-8. size > 0. */
static size_t last_character(const char *text, size_t size, uint32_t *cp)
{
    for (size_t n = 1; n <= MIN(size, 4); n++)
        if (((uint8_t)text[size - n] & 0xc0) != 0x80) {
            if (utf8_decode(text + size - n, n, cp) == n) return n;
            break;
        }
    *cp = 0xfffd;
    return 1;
}

size_t text_spaces_at_start(const char *text, size_t size)
{
    size_t at = 0, n;
    uint32_t cp;
    while (at < size && (n = utf8_decode(text + at, size - at, &cp)) && char_is_space(cp))
        at += n;
    return at;
}

size_t text_spaces_at_end(const char *text, size_t size)
{
    size_t at = size;
    while (at > 0) {
        uint32_t cp;
        size_t n = last_character(text, at, &cp);
        if (!char_is_space(cp)) break;
        at -= n;
    }
    return size - at;
}

bool text_starts_with_word(const char *text, size_t size)
{
    uint32_t cp;
    return size && utf8_decode(text, size, &cp) && char_is_word(cp);
}

bool text_ends_with_word(const char *text, size_t size)
{
    uint32_t cp;
    return size && last_character(text, size, &cp) && char_is_word(cp);
}

/* ------------------------------------------------------------------ normal forms */

/* text is valid UTF-8. */
static void form_of_valid(utf8proc_option_t options, const char *text, size_t size, struct str *out)
{
    size_t cap = size + 16;
    utf8proc_int32_t *points = mem_alloc(cap * sizeof(*points));
    utf8proc_ssize_t n;
    /* Decomposing may give more characters than there were bytes; then n says how many. */
    while ((n = utf8proc_decompose((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)size, points,
                                   (utf8proc_ssize_t)cap, options)) > (utf8proc_ssize_t)cap) {
        cap = (size_t)n;
        points = mem_realloc(points, cap * sizeof(*points));
    }
    if (n >= 0 && (options & UTF8PROC_COMPOSE)) n = utf8proc_normalize_utf32(points, n, options);
    for (utf8proc_ssize_t i = 0; i < n; i++) {
        utf8proc_uint8_t bytes[4];
        str_append(out, bytes, (size_t)utf8proc_encode_char(points[i], bytes));
    }
    if (n < 0) str_append(out, text, size); /* cannot be: the text was checked */
    mem_free(points);
}

void normal_form(enum normal_form form, const char *text, size_t size, struct str *out)
{
    static const utf8proc_option_t options[] = {
        [NORMAL_FORM_NFC] = UTF8PROC_STABLE | UTF8PROC_COMPOSE,
        [NORMAL_FORM_NFD] = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE,
        [NORMAL_FORM_NFKC] = UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT,
        [NORMAL_FORM_NFKD] = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT};
    if (form == NORMAL_FORM_NFC) {
        tokenizer_nfc(text, size, out);
        return;
    }
    while (size) {
        size_t valid = utf8_valid_size(text, size);
        if (valid) form_of_valid(options[form], text, valid, out);
        text += valid;
        size -= valid;
        for (; size && !utf8_decode(text, size, NULL); text++, size--)
            str_append_char(out, *text);
    }
}
