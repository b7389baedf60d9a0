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
        bool last;         /* a character that stands alone within a phrase */
        int64_t frequency; /* of a scored one: posts that have it */
    } * elements;
    size_t n_elements;
    bool scored; /* counts for BM25: of the text, and not negated */
    enum feed_number number;
    int64_t low, high;
};

#define FEED_MAX_NAMED 16

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
    double *weights;            /* [n_scored]: what each is worth in a post */
    /* How a post that the index names is looked at (feed_look.c). */
    bool sure;   /* terms that must all hold, and numbers: the index is right about the terms */
    bool glance; /* `named` is all that is needed of a text */
    bool words;  /* scored terms that must all hold, and numbers; with `glance` */
    bool tags;   /* there are tags among them */
    struct feed_element *named[FEED_MAX_NAMED];
    size_t n_named;
};

/* Whether a node holds for a post whose terms are in q->terms. */
bool feed_node_holds(const struct feed_query *q, const struct feed_node *n,
                     const struct feed_post *p);
/* Whether the numbers that a node asks for hold, where all its parts must. */
bool feed_numbers_hold(const struct feed_node *n, const struct feed_post *p);
/* How often an atom stands in the post whose terms are given. */
size_t feed_atom_count(const struct feed_terms *t, const struct feed_node *n);
/* An expression of FTS5 for a superset of what the node holds for, appended; false: that is
 * everything, and nothing was appended. */
bool feed_node_match(const struct feed_node *n, struct str *out);

/* ------------------------------------------------------------------ looks (feed_look.c) */

/* Settles how posts are looked at, once the tree is there. */
void feed_look_prepare(struct feed_query *q);
/* What the index is asked instead of q->match where that is quicker: for fewer of the words, so it
 * names more posts ("thin"). NULL: nothing else. After feed_rank_prepare. */
const char *feed_look_match(const struct feed_query *q, int64_t posts, struct arena *a);
enum feed_look {
    FEED_LOOK_UNNAMED, /* q->match would not have named it */
    FEED_LOOK_OTHER,   /* it does not match */
    FEED_LOOK_MATCH
};
/* Says of a post that the index named what feed_query_matches would; of one that matches, q->terms
 * then has what feed_rank_score counts. */
enum feed_look feed_look(struct feed_query *q, const struct feed_post *p, bool thin);

/* ------------------------------------------------------------------ rank (feed_rank.c) */

/* Fills q->frequencies and q->weights from the store, and *posts. */
int feed_rank_prepare(struct feed_store *s, struct feed_query *q, int64_t *posts, struct error *e);
struct feed_rank {
    int64_t posts, now_ms;
    double half_life_s;
};
struct feed_worth {
    double order, bm25, engagement, half_lives; /* as in struct feed_hit */
};
/* What a post that matches, whose terms are in q->terms, is worth. */
void feed_rank_score(const struct feed_query *q, const struct feed_rank *r,
                     const struct feed_post *p, struct feed_worth *w);
/* The same with the score, for an answer. */
void feed_rank_tell(const struct feed_worth *w, struct feed_hit *h);

#endif
