/* feed_fold.c: characters folded one by one, from tables that are filled as they are needed.
 *
 * Folded is: compatible forms made one (full width, ligatures), lower case, Latin, Greek and
 * Cyrillic letters without their accents (U+0300 to U+036F); marks of other scripts are letters of
 * theirs and stay. A block of 256 characters is settled by utf8proc when its first one is met, so
 * that folding costs a load after that. Any thread; two that settle a block agree. */
#include "feed/words/feed_fold_internal.h"

#include <stdatomic.h>
#include <utf8proc.h>

#define N_BLOCKS (0x110000 / 256)

static _Atomic(struct feed_fold_block *) blocks[N_BLOCKS];

static bool is_bigram(uint32_t c)
{
    static const struct {
        uint32_t first, last;
    } ranges[] = {
        {0x0e00, 0x0eff},   /* Thai, Lao */
        {0x1000, 0x109f},   /* Myanmar */
        {0x1100, 0x11ff},   /* Hangul jamo */
        {0x1780, 0x17ff},   /* Khmer */
        {0x2e80, 0x2fdf},   /* radicals */
        {0x3005, 0x3007},   /* marks of repetition */
        {0x3040, 0x30ff},   /* Hiragana, Katakana */
        {0x3100, 0x31bf},   /* Bopomofo, Hangul compatibility */
        {0x31f0, 0x31ff},   /* Katakana extensions */
        {0x3400, 0x4dbf},   /* Han A */
        {0x4e00, 0x9fff},   /* Han */
        {0xac00, 0xd7ff},   /* Hangul */
        {0xf900, 0xfaff},   /* Han, compatible */
        {0xff66, 0xff9f},   /* half-width Katakana */
        {0x1b000, 0x1b16f}, /* Kana supplement */
        {0x20000, 0x3ffff}  /* Han B and on */
    };
    for (size_t i = 0; i < ARRAY_LEN(ranges); i++)
        if (c >= ranges[i].first && c <= ranges[i].last) return true;
    return false;
}

static enum feed_char_class class_of(uint32_t c)
{
    if (c == '_') return FEED_CHAR_WORD;
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO: return is_bigram(c) ? FEED_CHAR_BIGRAM : FEED_CHAR_WORD;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
        if (c >= 0xfe00 && c <= 0xfe0f) return FEED_CHAR_DROP; /* how an emoji looks */
        return is_bigram(c) ? FEED_CHAR_BIGRAM : FEED_CHAR_WORD;
    case UTF8PROC_CATEGORY_SO: return c >= 0x2190 ? FEED_CHAR_SYMBOL : FEED_CHAR_OTHER;
    case UTF8PROC_CATEGORY_SK:
        return c >= 0x1f3fb && c <= 0x1f3ff ? FEED_CHAR_DROP : FEED_CHAR_OTHER;
    case UTF8PROC_CATEGORY_CF: return FEED_CHAR_DROP; /* joiners, marks of direction */
    default: return FEED_CHAR_OTHER;
    }
}

static void settle(uint32_t c, struct feed_fold_char *to)
{
    utf8proc_int32_t out[20], kept[20];
    int last_class = 0;
    utf8proc_ssize_t n, k = 0;
    to->class = (uint8_t)class_of(c);
    if (to->class == FEED_CHAR_OTHER || to->class == FEED_CHAR_DROP) return;
    n = utf8proc_decompose_char((utf8proc_int32_t)c, out, 20,
                                UTF8PROC_COMPAT | UTF8PROC_DECOMPOSE | UTF8PROC_CASEFOLD,
                                &last_class);
    for (utf8proc_ssize_t i = 0; i < n && i < 20; i++)
        if (out[i] < 0x300 || out[i] > 0x36f) kept[k++] = out[i];
    if (k == 0) { /* an accent alone */
        to->class = FEED_CHAR_DROP;
        return;
    }
    k = utf8proc_normalize_utf32(kept, k, UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    size_t used = 0;
    for (utf8proc_ssize_t i = 0; i < k; i++) {
        utf8proc_uint8_t one[4];
        utf8proc_ssize_t size = utf8proc_encode_char(kept[i], one);
        if (used + (size_t)size > sizeof(to->text) || one[0] <= ' ') break;
        memcpy(to->text + used, one, (size_t)size);
        used += (size_t)size;
    }
    to->n = (uint8_t)used;
    if (used == 0) to->class = FEED_CHAR_OTHER;
}

const struct feed_fold_char *feed_fold_char(uint32_t c)
{
    if (c >= 0x110000) c = 0xfffd;
    struct feed_fold_block *b = atomic_load_explicit(&blocks[c >> 8], memory_order_acquire);
    if (!b) {
        struct feed_fold_block *none = NULL;
        b = mem_calloc(1, sizeof(*b));
        for (uint32_t i = 0; i < 256; i++)
            settle((c & ~255u) + i, &b->chars[i]);
        if (!atomic_compare_exchange_strong(&blocks[c >> 8], &none, b)) {
            mem_free(b);
            b = none;
        }
    }
    return &b->chars[c & 255];
}

bool feed_is_bigram_char(uint32_t c)
{
    return feed_fold_char(c)->class == FEED_CHAR_BIGRAM;
}

bool feed_is_symbol(const char *s, size_t n)
{
    unsigned size;
    return n > 0 && feed_fold_char(feed_char_at(s, s + n, &size))->class == FEED_CHAR_SYMBOL;
}
