/* feed_ask_internal.h: a question, what of the store may answer it, and what a sentence rests on. */
#ifndef COLOSSUS_FEED_ASK_INTERNAL_H
#define COLOSSUS_FEED_ASK_INTERNAL_H

#include "feed/trends/feed_trends_internal.h"

#define FEED_QUESTION_WORDS  16
#define FEED_ASK_HALF_LIFE_S (7 * 86400.0)
#define FEED_NO_AGE_S        1e12 /* a half-life at which nothing is old */
#define FEED_ASK_SOURCES     8    /* where nothing else is asked for; at most FEED_ASK_MOST */
#define FEED_ASK_MOST        16

/* ------------------------------------------------------------------ words (feed_stems.c) */

/* A word that says nothing alone, or asks: "the", "which", "about". Folded. */
bool feed_is_stop_word(const char *s, size_t n);
/* "not", "dont", "denied", "false" ...: a text with one of them says another thing than one without. */
bool feed_is_negation(const char *s, size_t n);
/* "may", "allegedly" ...: a text does not say that something is so (feed_check.c). */
bool feed_is_hedge(struct feed_slice word);
/* Endings of English words are cut off: "prices", "priced" and "pricing" have one stem. The stem's
 * bytes in `out`, of n + 1 bytes at least; returns how many. */
size_t feed_stem(const char *s, size_t n, char *out);
/* What a word is an irregular form of: "lost" of "lose"; NULL: it is none. */
const char *feed_base_of(const char *s, size_t n);
/* The next irregular form of a word from *at, which is 0 at first; NULL: there is none left. */
const char *feed_irregular_form(const char *base, size_t n, size_t *at);

/* Stems of a text's words in their order, without stop words, and without numbers and symbols unless
 * these are wanted. */
struct feed_stems {
    uint64_t *items;
    size_t n, cap;
    bool negated;
};
void feed_stems_of(struct feed_terms *scratch, struct feed_slice text, bool all,
                   struct feed_stems *out);
/* A sum of a text's numbers by which texts with others can be told, whatever their order. */
uint64_t feed_numbers_of(struct feed_slice text);
/* Whether both texts have numbers, and none in common. */
bool feed_numbers_clash(struct feed_slice a, struct feed_slice b);
void feed_stems_add(struct feed_stems *out, const char *word, size_t n); /* up to 255 bytes */
void feed_stems_push(struct feed_stems *out, uint64_t stem);
void feed_stems_fini(struct feed_stems *s);
/* A text without its tags, cashtags, @names and addresses, appended (feed_check.c). */
void feed_plain_text(struct feed_slice s, struct str *out);
bool feed_stems_have(const struct feed_stems *s, uint64_t stem);

/* ------------------------------------------------------------------ questions (feed_question.c) */

struct feed_question_word {
    char *text;            /* folded; of a number with marks in it "12 000" */
    uint64_t stem, second; /* second: of what must follow it, or 0 */
    uint64_t deed;         /* of what somebody does who is called so: trade of a trader; or 0 */
    bool name;            /* written with a capital, as a tag, a cashtag or a handle; or a number */
    int64_t posts, deeds; /* how many posts have it, in any form; and the deed */
    double weight;        /* log of all posts over those; of a name twice that */
};
/* A date of a question (feed_when.c): posts from `from` on and before `to`, each as year x 10000 + month x
 * 100 + day, 0 where it is open; of a date without a year both are 0, and month and day, or 0, count. */
struct feed_when {
    int from, to, month, day;
    int other;          /* another day that will do; 0: none */
    bool opens, closes; /* from then on; up to then */
    bool excludes;      /* what is then does not count */
    bool joined;        /* another date has taken it in */
    uint64_t stems[4];  /* of its words */
    size_t n_stems;
};
#define FEED_QUESTION_DATES 4
struct feed_question {
    struct feed_when dates[FEED_QUESTION_DATES]; /* posts must be of one of them, or name it */
    size_t n_dates;
    struct feed_question_word words[FEED_QUESTION_WORDS]; /* rarest first */
    size_t n;
    double weight; /* of all words */
    bool unknown;  /* no post has one of them */
};

/* A post that has words of the question. */
struct feed_candidate {
    struct feed_post post; /* in the arena */
    int64_t place;
    double covered;   /* share of the question's weight that its words have */
    double relevance; /* covered x recency x engagement, both bounded: feed_question.c */
};
struct feed_candidates {
    struct feed_candidate *items; /* mem_free */
    size_t n, cap;
    struct feed_keys seen; /* keys of posts */
    uint64_t orders;       /* posts left out because they give orders to machines */
    struct str queries;    /* what was searched for, a line each */
};
void feed_candidates_fini(struct feed_candidates *c);

/* The words of the question, weighed by the store. */
int feed_question_read(feed_store_t *s, const char *text, struct feed_question *q, struct arena *a,
                       struct error *e);
/* Searches for them, narrow first; adds posts that are not there yet. without: a query that posts must
 * not match, or NULL. */
struct feed_gather {
    const struct feed_question *q;
    const struct feed_ask_options *o;
    const char *without;
    struct arena *a;
};
int feed_question_gather(feed_store_t *s, const struct feed_gather *g, struct feed_candidates *out,
                         struct error *e);
/* How many terms of a question, from the i-th on, are a date; 0: none are. */
size_t feed_when_read(const struct feed_terms *t, size_t i, struct feed_when *d);
/* Two dates, one after the other, which begin at these terms: "from A to B" becomes one. */
void feed_when_join(const struct feed_terms *t, size_t first, size_t second, struct feed_when *a,
                    struct feed_when *b);
/* Whether a post is of the date; and whether it names it: stems of its text, all. */
bool feed_when_is_of(const struct feed_when *d, const struct feed_post *p);
bool feed_when_is_named(const struct feed_when *d, const struct feed_stems *stems);
/* The months that it lies in, for a query, appended; nothing where it has no year. */
void feed_when_query(const struct feed_when *d, struct str *out);
/* Whether a text speaks to a machine instead of to people: orders, control tokens, markup
 * (feed_orders.c). */
bool feed_gives_orders(struct feed_slice text);

/* ------------------------------------------------------------------ sources (feed_sources.c) */

/* Whose account a post is of. */
uint64_t feed_author_key(const struct feed_post *p);
/* Folds near-duplicates and chooses sources, best first, into x. *flood: the text of which a group
 * takes most of the candidates' room, or empty. */
int feed_sources_choose(struct feed_candidates *c, const struct feed_ask_options *o,
                        struct arena *a, struct feed_reply *x, struct feed_slice *flood);

/* ------------------------------------------------------------------ writing (feed_prompt.c) */

/* What the model is told, and what it is asked. */
void feed_prompt_write(const struct feed_reply *x, uint64_t mark, struct str *system,
                       struct str *user);
/* A text as data: on one line, without what steers, without brackets that could be a citation, a tag
 * or a control token. At most `most` bytes. */
void feed_prompt_text(struct feed_slice text, size_t most, struct str *out);

/* ------------------------------------------------------------------ checking (feed_check.c) */

/* Why a sentence does not rest on a post; NULL: it does. `sentence` has no citations. */
const char *feed_check_support(struct feed_slice sentence, const struct feed_post *p);
/* Whether a sentence ends behind the mark at i: what follows begins another one. */
bool feed_sentence_ends(struct feed_slice s, size_t i);
/* Why a sentence says less than its post in a way that changes it; NULL: it does not. Both without
 * tags and addresses; said, of_post: stems of the words that say something, of_post's with tags
 * (feed_clause.c). */
const char *feed_clause_holds(struct feed_slice sentence, const struct feed_stems *said,
                              struct feed_slice post, const struct feed_stems *of_post);
/* Whether a tag or a name in a post says that it is satire, a joke or a rumour: "#satire". */
bool feed_clause_is_in_jest(const struct feed_terms *t);
/* The sentences of what a model wrote, each kept with its source, and how many bear it out, or dropped
 * with the reason. */
void feed_check_text(struct feed_reply *x, const char *text, struct arena *a);

#endif
