/* feed_rank.c: what a match is worth.
 *
 *   score = BM25 x recency x engagement
 *   BM25       sum over the words, phrases, tags and names asked for (Robertson and Zaragoza, The
 *              Probabilistic Relevance Framework, 2009), k1 = 1.2, b = 0.3 and a mean length of 24
 *              words, since posts are short; 1 where none is asked for (from:somebody)
 *   recency    1/2 to the power of age over half-life
 *   engagement (1 + ln(1 + likes + replies + 2 reposts + 2 quotes) / 4) x (1 + ln(1 + followers) / 20)
 *
 * How many posts have a term: of a sealed segment what was counted when it was sealed, where that was
 * enough to be kept (feed_store_internal.h), else what the index says, for as long as the segment is
 * open; of one that is not sealed, at most 5,000 are counted. A phrase counts as the rarest of its
 * words. Sums over the store are kept for ten seconds. */
#include "feed/search/feed_search_internal.h"

#define KEEP_S     10.0
#define OPEN_LIMIT 5000
#define MOST_KEPT  10000 /* terms whose counts are kept of a segment: under a megabyte */

static int segment_posts(struct feed_segment *s, int64_t *posts, struct error *e)
{
    double now = time_now_s();
    bool sealed = s->state == FEED_SEGMENT_SEALED;
    if (s->counted_s == 0 || (!sealed && now - s->counted_s > KEEP_S)) {
        if (sealed)
            TRY(feed_sql_int(s->db, s->path, "SELECT n FROM df WHERE term=''", &s->counted, e));
        else
            TRY(feed_sql_int(s->db, s->path, "SELECT count(*) FROM posts", &s->counted, e));
        s->counted_s = now;
    }
    *posts += s->counted;
    return 0;
}

static int step_int(struct feed_segment *s, sqlite3_stmt *q, int64_t *out, struct error *e)
{
    int rc = sqlite3_step(q);
    *out = rc == SQLITE_ROW ? sqlite3_column_int64(q, 0) : 0;
    bool bad = rc != SQLITE_ROW && rc != SQLITE_DONE;
    if (bad) feed_sql_error(s->db, s->path, e);
    sqlite3_reset(q);
    return bad ? ERROR_FAILED : 0;
}

static int segment_frequency(struct feed_segment *s, const struct feed_element *x, bool begin,
                             int64_t *n, struct error *e)
{
    sqlite3_stmt *q;
    int64_t here = 0, *kept = NULL;
    char match[1024];
    bool sealed = s->state == FEED_SEGMENT_SEALED;
    if (sealed) {
        if (s->frequencies.n >= MOST_KEPT) feed_keys_clear(&s->frequencies);
        kept = feed_keys_at(&s->frequencies, x->hash ^ (uint64_t)begin, true);
    }
    if (kept && *kept) {
        *n += *kept - 1;
        return 0;
    }
    if (sealed && !begin) {
        TRY(feed_segment_query(s, FEED_Q_DF, &q, e));
        sqlite3_bind_text(q, 1, x->text, (int)x->size, SQLITE_STATIC);
        TRY(step_int(s, q, &here, e));
    }
    if (here == 0) {
        TRY(feed_segment_query(s, FEED_Q_COUNT, &q, e));
        snprintf(match, sizeof(match), "\"%s\"%s", x->text, begin ? "*" : "");
        sqlite3_bind_text(q, 1, match, -1, SQLITE_STATIC);
        sqlite3_bind_int(q, 2, sealed && !begin ? FEED_DF_MIN : OPEN_LIMIT);
        TRY(step_int(s, q, &here, e));
    }
    if (kept) *kept = here + 1;
    *n += here;
    return 0;
}

/* Of one element over all segments, from memory where it is fresh. */
static int frequency(struct feed_store *s, const struct feed_element *x, bool begin, int64_t *out,
                     struct error *e)
{
    int64_t *kept = feed_keys_at(&s->frequencies, x->hash ^ (uint64_t)begin, true), n = 0;
    if (*kept) {
        *out = *kept - 1;
        return 0;
    }
    for (size_t i = 0; i < s->m.n; i++) {
        TRY(feed_segment_open(&s->m.segments[i], false, e));
        TRY(segment_frequency(&s->m.segments[i], x, begin, &n, e));
    }
    *kept = n + 1;
    *out = n;
    return 0;
}

int feed_rank_prepare(struct feed_store *s, struct feed_query *q, int64_t *posts, struct error *e)
{
    double now = time_now_s();
    *posts = 0;
    if (now - s->frequencies_s > KEEP_S) {
        feed_keys_clear(&s->frequencies);
        s->frequencies_s = now;
    }
    for (size_t i = 0; i < s->m.n; i++) {
        TRY(feed_segment_open(&s->m.segments[i], false, e));
        TRY(segment_posts(&s->m.segments[i], posts, e));
    }
    for (size_t i = 0; i < q->n_scored; i++) {
        const struct feed_node *n = q->scored[i];
        q->frequencies[i] = INT64_MAX;
        for (size_t k = 0; k < n->n_elements; k++) {
            struct feed_element *x = &n->elements[k];
            TRY(frequency(s, x, n->atom == FEED_ATOM_BEGIN, &x->frequency, e));
            q->frequencies[i] = MIN(q->frequencies[i], x->frequency);
        }
        double df = (double)q->frequencies[i], all = MAX((double)*posts, df);
        q->weights[i] = log(1 + (all - df + 0.5) / (df + 0.5));
    }
    return 0;
}

void feed_rank_score(const struct feed_query *q, const struct feed_rank *r,
                     const struct feed_post *p, struct feed_worth *w)
{
    const double k1 = 1.2, b = 0.3, mean = 24;
    double sum = 0, norm = k1 * (1 - b + b * (double)q->terms.pos / mean);
    for (size_t i = 0; i < q->n_scored; i++) {
        double tf = (double)feed_atom_count(&q->terms, q->scored[i]);
        sum += q->weights[i] * tf * (k1 + 1) / (tf + norm);
    }
    double age_s = (double)(r->now_ms - p->created_ms) / 1000;
    double acts = (double)(p->likes + p->replies + 2 * (p->reposts + p->quotes));
    w->bm25 = q->n_scored ? sum : 1;
    w->half_lives = MAX(age_s, 0) / r->half_life_s;
    w->engagement = (1 + log1p(MAX(acts, 0)) / 4) * (1 + log1p((double)MAX(p->followers, 0)) / 20);
    /* what is ordered by is the logarithm, which does not vanish with age */
    w->order = log(w->bm25 * w->engagement) - M_LN2 * w->half_lives;
}

void feed_rank_tell(const struct feed_worth *w, struct feed_hit *h)
{
    h->order = w->order;
    h->bm25 = w->bm25;
    h->engagement = w->engagement;
    h->half_lives = w->half_lives;
    h->recency = exp2(-w->half_lives);
    h->score = w->bm25 * h->recency * w->engagement;
}
