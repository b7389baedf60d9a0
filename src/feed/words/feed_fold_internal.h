/* feed_fold_internal.h: one character folded (feed_fold.c). */
#ifndef COLOSSUS_FEED_FOLD_INTERNAL_H
#define COLOSSUS_FEED_FOLD_INTERNAL_H

#include "feed/words/feed_words_internal.h"

enum feed_char_class {
    FEED_CHAR_OTHER,  /* ends a word */
    FEED_CHAR_WORD,   /* of a word */
    FEED_CHAR_BIGRAM, /* of a script without blanks */
    FEED_CHAR_SYMBOL, /* a word of its own: emoji */
    FEED_CHAR_DROP    /* as if it were not there */
};
struct feed_fold_char {
    uint8_t class, n;
    char text[18]; /* n bytes of UTF-8 */
};
struct feed_fold_block {
    struct feed_fold_char chars[256];
};
const struct feed_fold_char *feed_fold_char(uint32_t c);

/* The character at p and how many bytes it has; a byte that is no UTF-8 is U+FFFD, alone. */
static inline uint32_t feed_char_at(const char *p, const char *end, unsigned *n)
{
    const uint8_t *u = (const uint8_t *)p;
    size_t left = (size_t)(end - p);
    *n = 1;
    if (u[0] < 0x80) return u[0];
    if (u[0] >= 0xc2 && u[0] < 0xe0 && left >= 2) {
        *n = 2;
        return (uint32_t)(u[0] & 0x1f) << 6 | (u[1] & 0x3f);
    }
    if (u[0] >= 0xe0 && u[0] < 0xf0 && left >= 3) {
        *n = 3;
        return (uint32_t)(u[0] & 0xf) << 12 | (uint32_t)(u[1] & 0x3f) << 6 | (u[2] & 0x3f);
    }
    if (u[0] >= 0xf0 && u[0] < 0xf5 && left >= 4) {
        *n = 4;
        return (uint32_t)(u[0] & 7) << 18 | (uint32_t)(u[1] & 0x3f) << 12 |
               (uint32_t)(u[2] & 0x3f) << 6 | (u[3] & 0x3f);
    }
    return 0xfffd;
}

#endif
