/* feed_polarity.c: how good or bad a text sounds, by VADER's words (presets/words/vader.tsv).
 *
 * Of VADER (Hutto and Gilbert, 2014) the lexicon, the negation (one of the three words before turns a
 * value to -0.74 of it) and the measure s / sqrt(s^2 + 15) are used; emoticons, capitals and words
 * that strengthen are not. It was made for how people talk, not for markets: "bullish" is not in it. */
#include "feed/signals/feed_signals_internal.h"

#include <stdlib.h>
#include <xxhash.h>

#define OFFSET 10000

int feed_lexicon_read(struct feed_lexicon *x, struct error *e)
{
    struct arena a = {0};
    char *text;
    size_t size;
    *x = (struct feed_lexicon){0};
    const char *path = preset_find_file(&a, "words", "vader.tsv");
    int rc = path ? file_read(path, 16 << 20, &text, &size, e) : ERROR_FAILED;
    if (!path) {
        error_set(e, "there is no presets/words/vader.tsv");
        error_hint(e, "it comes with the program, beside the other presets");
    }
    for (char *line = rc < 0 ? NULL : text; line && *line;) {
        char *end = strchrnul(line, '\n'), *tab = memchr(line, '\t', (size_t)(end - line));
        if (*line != '#' && tab) {
            int64_t value = (int64_t)lrint(strtod(tab + 1, NULL) * 1000);
            *feed_keys_at(&x->words, XXH3_64bits(line, (size_t)(tab - line)), true) =
                value + OFFSET;
        }
        line = *end ? end + 1 : end;
    }
    if (rc >= 0) mem_free(text);
    if (rc >= 0 && x->words.n == 0) rc = error_set(e, "'%s' has no words", path);
    arena_fini(&a);
    return rc;
}

void feed_lexicon_fini(struct feed_lexicon *x)
{
    feed_keys_fini(&x->words);
}

double feed_polarity(const struct feed_lexicon *x, struct feed_terms *scratch,
                     struct feed_slice text)
{
    struct feed_keys words = x->words; /* only read */
    uint32_t negated_at = 0;           /* position of the last negation, from 1 */
    double sum = 0;
    feed_terms_clear(scratch);
    feed_terms_of_text(scratch, text.s, text.n);
    for (size_t i = 0; i < scratch->n; i++) {
        const struct feed_term *t = &scratch->items[i];
        const char *s = feed_term_text(scratch, t);
        if (t->kind != FEED_WORD) continue;
        const int64_t *value = feed_keys_at(&words, t->hash, false);
        double v = value ? (double)(*value - OFFSET) / 1000 : 0;
        bool negation = feed_is_negation(s, t->n) && feed_is_stop_word(s, t->n);
        if (negation) {
            negated_at = t->pos;
            continue;
        }
        if (negated_at && t->pos - negated_at <= 3) v *= -0.74;
        sum += v;
    }
    return sum / sqrt(sum * sum + 15);
}
