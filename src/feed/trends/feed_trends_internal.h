/* feed_trends_internal.h: which texts are the same in all but a few words. */
#ifndef COLOSSUS_FEED_TRENDS_INTERNAL_H
#define COLOSSUS_FEED_TRENDS_INTERNAL_H

#include "feed/search/feed_search_internal.h"

#define FEED_MINHASHES 32

/* Of the words of a text: two texts agree in about the share of their signatures that their sets of
 * three words in a row have in common (Broder, On the resemblance and containment of documents,
 * 1997). */
struct feed_signature {
    uint32_t mins[FEED_MINHASHES];
};
void feed_signature_of(const struct feed_terms *t, struct feed_signature *out);
double feed_signature_likeness(const struct feed_signature *a, const struct feed_signature *b);

/* A post of a story, for folding. */
struct feed_voice {
    uint64_t author, key, original; /* original: key of the post that it passes on; 0: none */
    int64_t seq;
    struct feed_signature signature;
    size_t group; /* filled: the number of its group; the earliest post of a group leads it */
    bool leads;
};
/* Puts posts of one text (a likeness of 0.6 and more, or passed on) into groups; sorts by seq. Returns
 * how many groups, and how many different authors lead one. */
size_t feed_fold_voices(struct feed_voice *v, size_t n, size_t *authors);

#endif
