/* feed_search_internal.h: a query as a tree, held against posts one by one or looked up. */
#ifndef COLOSSUS_FEED_SEARCH_INTERNAL_H
#define COLOSSUS_FEED_SEARCH_INTERNAL_H

#include "feed/store/feed_store_internal.h"

enum feed_node_kind { FEED_NODE_AND, FEED_NODE_OR, FEED_NODE_NOT, FEED_NODE_ATOM };
enum feed_atom_kind {
    FEED_ATOM_TERM,   /* one term: a word, a tag, a fact */
    FEED_ATOM_PHRASE, /* words in a row */
    FEED_ATOM_BEGIN,  /* one character of a script without blanks, anywhere */
    FEED_ATOM_RANGE   /* a number of the post between low and high */
};
enum feed_number {
    FEED_NUMBER_TIME,
    FEED_NUMBER_LIKES,
    FEED_NUMBER_REPOSTS,
    FEED_NUMBER_REPLIES,
    FEED_NUMBER_QUOTES,
    FEED_NUMBER_FOLLOWERS,
    FEED_NUMBER_ID,
    FEED_NUMBER_SAMPLE /* 0 to 99 by the post's key */
};

struct feed_node {
    enum feed_node_kind kind;
    struct feed_node **children; /* AND, OR: n; NOT: one */
    size_t n;
    /* ATOM */
    enum feed_atom_kind atom;
    struct feed_element {
        char *text;
        uint64_t hash;
        size_t size;
        bool last; /* a character that stands alone within a phrase */
    } * elements;
    size_t n_elements;
    bool scored; /* counts for BM25: of the text, and not negated */
    enum feed_number number;
    int64_t low, high;
};

struct feed_query {
    struct arena arena;
    struct feed_node *root;
    uint64_t hash;           /* of its text */
    struct feed_terms terms; /* of the post that is looked at */
    struct feed_node **scored;
    size_t n_scored;
    bool facts;                 /* it asks for more than the text says: who, what, where to */
    bool ids;                   /* it asks for ids */
    char *match;                /* what the index is asked; everything that matches is in it */
    int64_t since_ms, until_ms; /* bounds that hold for every match; until is excluded */
    int64_t *frequencies;       /* [n_scored] */
};

/* Whether a node holds for a post whose terms are in q->terms. */
bool feed_node_holds(const struct feed_query *q, const struct feed_node *n,
                     const struct feed_post *p);
/* How often an atom stands in the post whose terms are given. */
size_t feed_atom_count(const struct feed_terms *t, const struct feed_node *n);
/* An expression of FTS5 for a superset of what the node holds for, appended; false: that is
 * everything, and nothing was appended. */
bool feed_node_match(const struct feed_node *n, struct str *out);

/* ------------------------------------------------------------------ rank (feed_rank.c) */

/* Fills q->frequencies from the store, and *posts. */
int feed_rank_prepare(struct feed_store *s, struct feed_query *q, int64_t *posts, struct error *e);
struct feed_rank {
    int64_t posts, now_ms;
    double half_life_s;
};
/* Fills in the score of a post that matches, whose terms are in q->terms, with its parts. */
void feed_rank_score(const struct feed_query *q, const struct feed_rank *r,
                     const struct feed_post *p, struct feed_hit *parts);

#endif
