/* feed_words_internal.h: a post becomes terms, for the index, for queries and for trends alike.
 *
 * A term is folded text without blanks. Those of a post's text stand in its order; the others say
 * who wrote it and what it is: "from:name", "lang:en", "has:links". See feed_words.c. */
#ifndef COLOSSUS_FEED_WORDS_INTERNAL_H
#define COLOSSUS_FEED_WORDS_INTERNAL_H

#include "feed/read/feed_read_internal.h"

#include <string.h>

/* What terms are made by. A store made by another version is made anew: export and ingest. */
#define FEED_WORDS_VERSION 1

enum feed_term_kind {
    FEED_WORD, /* of the text, or a bigram; neighbours of this kind are neighbours in the text */
    FEED_LAST, /* the last character of a run that was cut into bigrams, alone */
    FEED_TAG,  /* "#tag" */
    FEED_CASH, /* "$aapl" */
    FEED_AT,   /* "@name" */
    FEED_FACT  /* "from:name" ... */
};

struct feed_term {
    uint64_t hash; /* XXH3 of its bytes */
    uint32_t at, n;
    enum feed_term_kind kind;
    uint32_t pos; /* of words, from 1: neighbours differ by one. That of a LAST is its pair's, where
                   * it has one */
};

/* Terms in one string, joined by blanks: what the index is given. {0} is empty. */
struct feed_terms {
    struct str text;
    struct feed_term *items;
    size_t n, cap;
    uint32_t pos; /* of the last word */
    bool links;   /* there was an address */
};
void feed_terms_clear(struct feed_terms *t);
void feed_terms_fini(struct feed_terms *t);
/* The terms of a text, words and tags and names; appended. */
void feed_terms_of_text(struct feed_terms *t, const char *s, size_t n);
/* Everything that the index has of a post; replaces what was there. */
void feed_terms_of_post(struct feed_terms *t, const struct feed_post *p);
/* "kind:value", the value folded, without what a term cannot hold; appended where there is one. */
void feed_terms_add_fact(struct feed_terms *t, const char *kind, const char *s, size_t n);
/* An address: its host, the host's parents, the words of its path, each as a fact "url". */
void feed_terms_add_url(struct feed_terms *t, struct feed_slice url);
/* "is:reply", "has:links" ... of the flags. NULL-terminated pairs in feed_words.c. */
struct feed_flag_term {
    unsigned flag;
    const char *kind, *value;
};
extern const struct feed_flag_term feed_flag_terms[];
extern const size_t feed_n_flag_terms;
/* Whether a character is of a script that is written without blanks, so that bigrams are made. */
bool feed_is_bigram_char(uint32_t c);
/* Whether a term is a symbol: an emoji. */
bool feed_is_symbol(const char *s, size_t n);
/* Lower-case letters of a short ASCII or UTF-8 text, as terms have them, appended to out. */
void feed_fold(struct str *out, const char *s, size_t n);

static inline const char *feed_term_text(const struct feed_terms *t, const struct feed_term *x)
{
    return t->text.data + x->at;
}

#endif
