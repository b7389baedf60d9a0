/* feed_signals_internal.h: what posts said before a day of trading began, and what the day became. */
#ifndef COLOSSUS_FEED_SIGNALS_INTERNAL_H
#define COLOSSUS_FEED_SIGNALS_INTERNAL_H

#include "feed/ask/feed_ask_internal.h"

/* ------------------------------------------------------------------ days (feed_market.c) */

struct feed_day {
    char date[11];  /* of New York */
    int64_t cut_ms; /* its 09:30 */
    double open, close;
    double x[FEED_N_SIGNALS]; /* known at cut_ms */
    double target;            /* close / open - 1 */
    size_t posts;             /* from the cut of the day before to this one's */
};
/* 09:30 of New York on a day. False: it is no day. */
bool feed_new_york_open(const char *date, int64_t *ms);
/* The days of dir/SYMBOL.csv (Date, Open, Close among its columns), in order; in *a. */
int feed_market_read(const char *dir, const char *symbol, struct arena *a, struct feed_day **days,
                     size_t *n, struct error *e);

/* ------------------------------------------------------------------ polarity (feed_polarity.c) */

struct feed_lexicon {
    struct feed_keys words; /* hash of a word: its value in thousandths, plus 10,000 */
};
int feed_lexicon_read(struct feed_lexicon *x, struct error *e);
void feed_lexicon_fini(struct feed_lexicon *x);
/* -1 to 1; 0 where no word is known. */
double feed_polarity(const struct feed_lexicon *x, struct feed_terms *scratch,
                     struct feed_slice text);

/* ------------------------------------------------------------------ features (feed_features.c) */

struct feed_said { /* a post, by time */
    int64_t ms;
    uint64_t author, key, original;
    struct feed_slice text;
    struct feed_signature signature;
    double polarity;
    size_t cashtags;
};
/* Fills x and posts of the days [from, to) from the posts before each one's cut; neither a later post
 * nor a price of that day or later is read. */
void feed_features_fill(const struct feed_said *said, size_t n_said, struct feed_day *days,
                        size_t from, size_t to);
/* How many of every step-th day's features change where later posts, days and that day's prices are
 * taken away: 0 where nothing looks ahead. */
size_t feed_features_guard(const struct feed_said *said, size_t n_said, const struct feed_day *days,
                           size_t n_days, size_t step);

/* ------------------------------------------------------------------ tests (feed_walk.c) */

/* Walks forward over the days and fills a symbol's figures. */
void feed_walk(const struct feed_day *days, size_t n, const struct feed_signal_options *o,
               struct feed_signal_result *out);
/* Spearman's rank correlation of feature f with the target, over days that have posts; its p by the
 * normal approximation. */
double feed_rank_correlation(const struct feed_day *days, size_t n, size_t f, double *p,
                             size_t *used);
/* Holm's correction: p[i] becomes the adjusted value. */
void feed_holm(double *p, size_t n);

#endif
