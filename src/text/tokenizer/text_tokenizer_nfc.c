/* text_tokenizer_nfc.c: Unicode normal form C, where a tokenizer.json asks for it.
 *
 * Characters below U+0300 are all their own normal form and never join with what stands before
 * them, so stretches of them are copied. What remains, others behind the last safe character in
 * front of them, goes through utf8proc's decomposition and composition in memory of ours. */
#include <utf8proc.h>

#include "text/tokenizer/text_tokenizer_internal.h"

#define NFC_SAFE_BELOW 0x300u

/* text is valid UTF-8. */
static void normalize_piece(const char *text, size_t size, struct str *out)
{
    const utf8proc_option_t options = UTF8PROC_STABLE | UTF8PROC_COMPOSE;
    size_t cap = size + 16;
    utf8proc_int32_t *points = mem_alloc(cap * sizeof(*points));
    utf8proc_ssize_t n;
    /* Decomposing may give more characters than there were bytes; then n says how many. */
    while ((n = utf8proc_decompose((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)size, points,
                                   (utf8proc_ssize_t)cap, options)) > (utf8proc_ssize_t)cap) {
        cap = (size_t)n;
        points = mem_realloc(points, cap * sizeof(*points));
    }
    if (n >= 0) n = utf8proc_normalize_utf32(points, n, options);
    for (utf8proc_ssize_t i = 0; i < n; i++) {
        utf8proc_uint8_t bytes[4];
        str_append(out, bytes, (size_t)utf8proc_encode_char(points[i], bytes));
    }
    if (n < 0) str_append(out, text, size); /* cannot be: the text was checked */
    mem_free(points);
}

void tokenizer_nfc(const char *text, size_t size, struct str *out)
{
    size_t start = 0, base = 0; /* of what is not written yet; of its last safe character */
    bool needed = false;
    for (size_t at = 0; at < size;) {
        uint32_t cp;
        size_t n = utf8_decode(text + at, size - at, &cp);
        if (n && cp >= NFC_SAFE_BELOW) {
            if (!needed) str_append(out, text + start, base - start);
            if (!needed) start = base;
            needed = true;
            at += n;
            continue;
        }
        if (needed) {
            normalize_piece(text + start, at - start, out);
            start = at;
            needed = false;
        }
        base = n ? at : at + 1; /* an invalid byte belongs to no piece */
        at += MAX(n, 1);
    }
    if (needed)
        normalize_piece(text + start, size - start, out);
    else
        str_append(out, text + start, size - start);
}
