/* text_utf8.c: characters and decimal numbers in text that may hold any bytes.
 *
 * One decoder for the whole room, so that the JSONL scanner, the pre-tokenizers and SentencePiece's
 * normaliser agree on which bytes are characters (Unicode 16, table 3-7). */
#include "text/corpus/text_corpus_internal.h"

static bool is_tail(uint8_t byte)
{
    return (byte & 0xc0) == 0x80;
}

size_t utf8_decode(const char *p, size_t size, uint32_t *cp)
{
    const uint8_t *s = (const uint8_t *)p;
    uint32_t c = s[0];
    size_t n;
    if (c < 0x80) {
        n = 1;
    } else if (c >= 0xc2 && c < 0xe0 && size >= 2 && is_tail(s[1])) {
        c = (c & 0x1f) << 6 | (s[1] & 0x3fu);
        n = 2;
    } else if ((c & 0xf0) == 0xe0 && size >= 3 && is_tail(s[1]) && is_tail(s[2])) {
        c = (c & 0x0f) << 12 | (s[1] & 0x3fu) << 6 | (s[2] & 0x3fu);
        n = c >= 0x800 && (c < 0xd800 || c >= 0xe000) ? 3 : 0;
    } else if ((c & 0xf8) == 0xf0 && size >= 4 && is_tail(s[1]) && is_tail(s[2]) && is_tail(s[3])) {
        c = (c & 0x07) << 18 | (s[1] & 0x3fu) << 12 | (s[2] & 0x3fu) << 6 | (s[3] & 0x3fu);
        n = c >= 0x10000 && c <= 0x10ffff ? 4 : 0;
    } else {
        n = 0;
    }
    if (cp && n) *cp = c;
    return n;
}

size_t utf8_encode(uint32_t cp, char out[4])
{
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    size_t n = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, cp >>= 6)
        out[i] = (char)(0x80 | (cp & 0x3f));
    out[0] = (char)((0xf00 >> n) | cp); /* n ones, a zero, the highest bits */
    return n;
}

size_t utf8_valid_size(const char *text, size_t size)
{
    size_t at = 0;
    while (at < size) {
        if (size - at >= 8 && !(bytes_load64(text + at) & 0x8080808080808080u)) {
            at += 8;
            continue;
        }
        size_t n = utf8_decode(text + at, size - at, NULL);
        if (!n) break;
        at += n;
    }
    return at;
}

size_t digits_parse(const char *text, size_t size, uint64_t *value)
{
    size_t n = 0;
    *value = 0;
    for (; n < size && text[n] >= '0' && text[n] <= '9'; n++) {
        uint64_t digit = (uint64_t)(text[n] - '0');
        *value = *value > (UINT64_MAX - digit) / 10 ? UINT64_MAX : *value * 10 + digit;
    }
    return n;
}
