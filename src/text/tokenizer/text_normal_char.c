/* text_normal_char.c: what normalisers and added tokens ask about white space and words. */
#include "text/tokenizer/text_tokenizer_internal.h"

bool char_is_space(uint32_t cp)
{
    return (cp >= 9 && cp <= 13) || cp == ' ' || cp == 0x85 || cp == 0xa0 || cp == 0x1680 ||
           (cp >= 0x2000 && cp <= 0x200a) || cp == 0x2028 || cp == 0x2029 || cp == 0x202f ||
           cp == 0x205f || cp == 0x3000;
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
    return size && utf8_decode(text, size, &cp) && unicode_is_word(cp);
}

bool text_ends_with_word(const char *text, size_t size)
{
    uint32_t cp;
    return size && last_character(text, size, &cp) && unicode_is_word(cp);
}
