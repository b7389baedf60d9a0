/* feed_campaign.c: texts that several accounts post in a short time without saying whose they are.
 *
 * Reposts, and texts that begin "RT @", say whose they are and are left out. Of the others a signature
 * is made of the set of stems (not of words in a row, so that a word exchanged here and there does not
 * hide a copy), numbers and addresses left out; texts of fewer than five stems say too little. Two texts
 * are one where 0.55 of their signatures agree; each is compared with the latest ones that share one of
 * sixteen bands of two minima, if they are not older than the span.
 *
 * Of a group the busiest span (two hours) counts:
 *
 *   score = min(authors - 1, 12) x (0.2 + 0.5 fresh + 0.3 stuffed)
 *     fresh    share of its authors whose first post of all was less than a week before. Where the
 *              store begins later than that nobody knows, and half is taken
 *     stuffed  share of its posts with three cashtags and more
 *
 * From a score of 3 on it is told. Old accounts that share a headline come to 2.4 at most; seven new
 * ones that share a text come to 4.2. How the constants do on campaigns that were planted is measured
 * by tests/unit/test_feed_signals.c. */
#include "feed/signals/feed_signals_internal.h"

#include <stdlib.h>

#define BANDS     16
#define LIKENESS  0.55
#define LEAST     5 /* stems */
#define SCORE     3.0
#define WEEK_MS   (7 * 86400000LL)
#define MAX_POSTS 400000
#define SHOWN     3

struct item {
    struct feed_post post;
    int64_t ms;
    uint64_t author;
    struct feed_signature signature;
    size_t group, cashtags;
};

struct finder {
    struct arena *a;
    struct item *items; /* by time */
    size_t n, cap;
    struct feed_keys first; /* of an author: when, plus one */
    int64_t begins_ms;      /* of the store */
    int64_t span_ms;
    bool cut;
    struct feed_terms terms;
};

static uint64_t mix(uint64_t x)
{
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9ULL;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebULL;
    return x ^ x >> 31;
}

static bool is_number(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (s[i] < '0' || s[i] > '9') return false;
    return true;
}

/* Of the set of stems; false: there are too few. */
static bool sign(struct finder *f, struct item *x)
{
    struct feed_keys seen = {0};
    size_t n = 0;
    char stem[256] = "";
    memset(x->signature.mins, 0xff, sizeof(x->signature.mins));
    feed_terms_clear(&f->terms);
    feed_terms_of_text(&f->terms, x->post.text.s, x->post.text.n);
    for (size_t i = 0; i < f->terms.n; i++) {
        const struct feed_term *t = &f->terms.items[i];
        const char *s = feed_term_text(&f->terms, t);
        x->cashtags += t->kind == FEED_CASH;
        if (t->kind != FEED_WORD || t->n >= sizeof(stem) || is_number(s, t->n) ||
            feed_is_stop_word(s, t->n))
            continue;
        const struct feed_slice word = {stem, feed_stem(s, t->n, stem)};
        uint64_t hash = feed_key(FEED_OTHER, "w", word);
        int64_t *at = feed_keys_at(&seen, hash, true);
        if (*at) continue;
        *at = 1;
        n++;
        for (uint64_t k = 0; k < FEED_MINHASHES; k++) {
            uint32_t h = (uint32_t)(mix(hash + k * 0x9e3779b97f4a7c15ULL) >> 32);
            if (h < x->signature.mins[k]) x->signature.mins[k] = h;
        }
    }
    feed_keys_fini(&seen);
    return n >= LEAST;
}

/* ------------------------------------------------------------------ reading */

static bool says_whose(const struct feed_post *p)
{
    return p->flags & FEED_REPOST || p->repost_of.n ||
           (p->text.n > 4 && memcmp(p->text.s, "RT @", 4) == 0);
}

static void take_post(struct finder *f, const struct feed_post *p)
{
    uint64_t author = feed_key(p->service, "u", p->author_id.n ? p->author_id : p->author);
    int64_t *first = feed_keys_at(&f->first, author, true);
    if (*first == 0) *first = p->created_ms - f->begins_ms + 1;
    if (says_whose(p)) return;
    if (f->n == f->cap) {
        f->cap = f->cap ? 2 * f->cap : 1024;
        f->items = mem_realloc(f->items, f->cap * sizeof(*f->items));
    }
    struct item *x = &f->items[f->n];
    *x = (struct item){.post = *p, .ms = p->created_ms, .author = author};
    if (!sign(f, x)) return;
    feed_post_copy(&x->post, f->a);
    x->group = f->n++;
}

struct stream {
    struct feed_segment *segment;
    sqlite3_stmt *q;
    int64_t seq;
    bool up;
};

static int advance(struct stream *x, struct error *e)
{
    int rc = sqlite3_step(x->q);
    x->up = rc == SQLITE_ROW;
    if (x->up) x->seq = sqlite3_column_int64(x->q, 0);
    return rc == SQLITE_ROW || rc == SQLITE_DONE
               ? 0
               : feed_sql_error(x->segment->db, x->segment->path, e);
}

/* Every post from the beginning to `until`, by time, over all segments. */
static int merge(struct finder *f, struct stream *streams, size_t n, int64_t until, struct error *e)
{
    for (;;) {
        struct stream *next = NULL;
        for (size_t i = 0; i < n; i++)
            if (streams[i].up && (!next || streams[i].seq < next->seq)) next = &streams[i];
        if (!next || next->seq > until) return 0;
        if (f->n == MAX_POSTS) {
            f->cut = true;
            return 0;
        }
        struct feed_post p;
        feed_row_post(next->q, 0, &p);
        if (f->begins_ms == INT64_MIN) f->begins_ms = p.created_ms;
        take_post(f, &p);
        TRY(advance(next, e));
    }
}

static int read_posts(struct finder *f, feed_store_t *s, int64_t until_ms, struct error *e)
{
    TRY(feed_manifest_refresh(&s->m, e));
    struct stream *streams = mem_calloc(s->m.n + 1, sizeof(*streams));
    int rc = 0;
    for (size_t i = 0; i < s->m.n && rc >= 0; i++) {
        struct stream *x = &streams[i];
        x->segment = &s->m.segments[i];
        rc = feed_segment_open(x->segment, false, e);
        if (rc >= 0)
            rc = feed_sql_prepare(
                x->segment->db, x->segment->path,
                "SELECT " FEED_POST_COLUMNS " FROM posts WHERE seq >= ? ORDER BY seq", &x->q, e);
        if (rc >= 0) sqlite3_bind_int64(x->q, 1, feed_manifest_oldest(&s->m));
        if (rc >= 0) rc = advance(x, e);
    }
    int64_t until = until_ms ? feed_seq_of_ms(until_ms) - 1 : INT64_MAX;
    if (rc >= 0) rc = merge(f, streams, s->m.n, until, e);
    for (size_t i = 0; i < s->m.n; i++)
        sqlite3_finalize(streams[i].q);
    mem_free(streams);
    return rc;
}

/* ------------------------------------------------------------------ grouping */

static size_t find(struct item *v, size_t i)
{
    while (v[i].group != i) {
        v[i].group = v[v[i].group].group;
        i = v[i].group;
    }
    return i;
}

static void join(struct item *v, size_t a, size_t b)
{
    a = find(v, a);
    b = find(v, b);
    v[MAX(a, b)].group = MIN(a, b);
}

static void group(struct finder *f)
{
    struct feed_keys bands = {0}; /* of a band: the latest item, plus one */
    for (size_t i = 0; i < f->n; i++) {
        struct item *x = &f->items[i];
        for (size_t b = 0; b < BANDS; b++) {
            uint64_t h = mix(b + 1);
            for (size_t k = 0; k < FEED_MINHASHES / BANDS; k++)
                h = mix(h ^ x->signature.mins[b * (FEED_MINHASHES / BANDS) + k]);
            int64_t *at = feed_keys_at(&bands, h, true);
            if (*at) {
                const struct item *before = &f->items[*at - 1];
                if (x->ms - before->ms <= f->span_ms &&
                    feed_signature_likeness(&x->signature, &before->signature) >= LIKENESS)
                    join(f->items, (size_t)*at - 1, i);
            }
            *at = (int64_t)i + 1;
        }
    }
    feed_keys_fini(&bands);
}

/* ------------------------------------------------------------------ scores */

struct window {
    size_t first, last; /* of the group's items */
    size_t authors;
};

/* The span of the group in which most authors wrote. */
static struct window busiest(const struct finder *f, const size_t *at, size_t n)
{
    struct window best = {0};
    struct feed_keys in = {0}; /* authors of the span: posts */
    size_t authors = 0;
    for (size_t i = 0, k = 0; i < n; i++) {
        int64_t *count = feed_keys_at(&in, f->items[at[i]].author, true);
        authors += (*count)++ == 0;
        while (f->items[at[i]].ms - f->items[at[k]].ms > f->span_ms) {
            int64_t *gone = feed_keys_at(&in, f->items[at[k++]].author, true);
            authors -= --*gone == 0;
        }
        if (authors > best.authors) best = (struct window){k, i, authors};
    }
    feed_keys_fini(&in);
    return best;
}

static void fill(struct finder *f, const size_t *at, struct window w, struct feed_alert *out)
{
    struct feed_keys seen = {0};
    double fresh = 0, stuffed = 0;
    const int64_t begin = f->items[at[w.first]].ms;
    *out = (struct feed_alert){.authors = w.authors,
                               .posts = w.last - w.first + 1,
                               .first_ms = begin,
                               .last_ms = f->items[at[w.last]].ms};
    for (size_t i = w.first; i <= w.last; i++) {
        const struct item *x = &f->items[at[i]];
        stuffed += x->cashtags >= 3;
        int64_t *known = feed_keys_at(&seen, x->author, true);
        if (*known) continue;
        *known = 1;
        if (out->n_shown < SHOWN) out->shown[out->n_shown++] = x->post;
        int64_t first = *feed_keys_at(&f->first, x->author, true) - 1 + f->begins_ms;
        if (begin - f->begins_ms < WEEK_MS)
            fresh += 0.5;
        else
            fresh += first > begin - WEEK_MS;
    }
    out->fresh = fresh / (double)w.authors;
    out->stuffed = stuffed / (double)out->posts;
    out->score =
        (double)MIN(w.authors - 1, (size_t)12) * (0.2 + 0.5 * out->fresh + 0.3 * out->stuffed);
    feed_keys_fini(&seen);
}

static int by_score(const void *a, const void *b)
{
    const struct feed_alert *x = a, *y = b;
    if (x->score != y->score) return x->score < y->score ? 1 : -1;
    return x->first_ms < y->first_ms ? -1 : x->first_ms > y->first_ms;
}

static void tell(struct finder *f, struct feed_alerts *out)
{
    size_t *next = mem_calloc(f->n + 1, sizeof(*next)), *at = mem_calloc(f->n + 1, sizeof(*at)),
           *counts = mem_calloc(f->n + 1, sizeof(*counts)), cap = 0;
    for (size_t i = 0; i < f->n; i++)
        counts[find(f->items, i)]++;
    for (size_t i = 0, sum = 0; i < f->n; i++) { /* where each group's items begin in `at` */
        next[i] = sum;
        sum += counts[i];
        cap += counts[i] >= 3;
    }
    for (size_t i = 0; i < f->n; i++)
        at[next[find(f->items, i)]++] = i;
    out->alerts = arena_alloc(f->a, (cap + 1) * sizeof(*out->alerts));
    for (size_t g = 0; g < f->n; g++) {
        if (counts[g] < 3) continue;
        const size_t *own = at + next[g] - counts[g];
        struct window w = busiest(f, own, counts[g]);
        fill(f, own, w, &out->alerts[out->n]);
        out->n += out->alerts[out->n].score >= SCORE;
    }
    if (out->n) qsort(out->alerts, out->n, sizeof(*out->alerts), by_score);
    mem_free(next);
    mem_free(at);
    mem_free(counts);
}

int feed_alerts(feed_store_t *s, const struct feed_alert_options *o, struct arena *a,
                struct feed_alerts *out, struct error *e)
{
    struct finder f = {.a = a, .begins_ms = INT64_MIN, .span_ms = 2 * 3600000};
    if (o->span_s > 0) f.span_ms = (int64_t)(o->span_s * 1000);
    *out = (struct feed_alerts){0};
    int rc = read_posts(&f, s, o->until_ms, e);
    if (rc >= 0) {
        out->looked = f.n;
        out->cut = f.cut;
        group(&f);
        tell(&f, out);
    }
    mem_free(f.items);
    feed_keys_fini(&f.first);
    feed_terms_fini(&f.terms);
    return rc;
}

json_t *feed_alerts_json(const struct feed_alerts *x)
{
    json_t *list = json_array();
    for (size_t i = 0; i < x->n; i++) {
        const struct feed_alert *t = &x->alerts[i];
        json_t *posts = json_array();
        for (size_t k = 0; k < t->n_shown; k++)
            json_array_append_new(posts, feed_post_to_json(&t->shown[k]));
        json_array_append_new(list, json_pack("{s:f,s:I,s:I,s:f,s:f,s:I,s:I,s:o}", "score",
                                              t->score, "authors", (json_int_t)t->authors, "posts",
                                              (json_int_t)t->posts, "fresh", t->fresh, "stuffed",
                                              t->stuffed, "first_ms", (json_int_t)t->first_ms,
                                              "last_ms", (json_int_t)t->last_ms, "some", posts));
    }
    return json_pack("{s:o,s:I,s:b}", "alerts", list, "posts", (json_int_t)x->looked, "cut",
                     (int)x->cut);
}
