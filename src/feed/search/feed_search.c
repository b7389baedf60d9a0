/* feed_search.c: a search over all segments, newest posts first.
 *
 * Each segment gives its matches from the newest on; segments overlap in time where posts came late,
 * so their streams are merged by seq, and one is not asked before the merge has come down to its
 * newest post, nor at all where it has no post of the span of time. The newest `depth` matches are
 * ranked and the best shown; a page names the span of time and the moment of the first answer, so that
 * the next one is cut from the same list although posts keep coming. By time alone (`newest`) a page
 * is where the one before it ended. */
#include "feed/search/feed_search_internal.h"

#include <xxhash.h>

/* The index names a superset: of "to be", every post with both words. Of it twice the depth is
 * looked at, which bounds the time of a search. */
#define LOOKS 2

#define PAGE_BYTES 96

struct stream {
    struct feed_segment *segment;
    sqlite3_stmt *q;
    int64_t newest; /* of the segment; then the seq of the row that is up */
    bool asked, up;
};

struct candidate {
    struct feed_worth worth;
    int64_t seq;
    struct feed_segment *segment;
};

struct run {
    struct feed_store *s;
    struct feed_query *q;
    const struct feed_search_options *o;
    enum feed_segment_query which; /* FEED_Q_SEARCH, FEED_Q_TEXTS or FEED_Q_SCAN */
    const char *match;             /* what the index is asked */
    bool thin;                     /* it is asked for less than all words (feed_look.c) */
    struct stream *streams;
    size_t n_streams;
    int64_t low, high; /* seq, both included */
    int64_t offset;
    struct feed_rank rank;
    struct candidate *found;
    size_t n_found, cap;
    uint64_t look;    /* so many posts that the index names are looked at, at most */
    int64_t last_seq; /* of the last one that was */
    bool looked_out;  /* there were more of them */
};

static int64_t depth_of(const struct feed_search_options *o)
{
    return o->depth > 0 ? o->depth : 2000;
}

/* "r<seq>.<now>.<offset>.<hash>" of a ranked answer, "n<seq>.0.0.<hash>" of one by time. The hash is of
 * these numbers, the query and what it was ranked by: another question's page is no page of this. */
static void write_page(const struct run *r, const int64_t of[3], char text[PAGE_BYTES])
{
    const struct feed_search_options *o = r->o;
    int64_t all[8] = {of[0], of[1], of[2], (int64_t)r->q->hash, o->newest};
    if (!o->newest) {
        all[5] = depth_of(o);
        all[6] = o->now_ms;
        memcpy(&all[7], &r->rank.half_life_s, sizeof(all[7]));
    }
    snprintf(text, PAGE_BYTES, "%c%lld.%lld.%lld.%016llx", o->newest ? 'n' : 'r', (long long)of[0],
             (long long)of[1], (long long)of[2], (unsigned long long)XXH3_64bits(all, sizeof(all)));
}

static int read_page(struct run *r, struct error *e)
{
    const char *page = r->o->page, *p = page ? page + strcspn(page, "-0123456789") : NULL;
    char *end, again[PAGE_BYTES] = "";
    int64_t of[3] = {0};
    if (!page) return 0;
    for (size_t i = 0; i < ARRAY_LEN(of); i++, p = end + (*end == '.'))
        of[i] = strtoll(p, &end, 10);
    write_page(r, of, again);
    if (strcmp(again, page) != 0 || of[2] < 0) {
        error_set_code(e, ERROR_USAGE, "'%.80s' is no page of this search", page);
        return error_hint(e,
                          "a page is what an earlier answer to the same query, in the same order "
                          "and with the same depth, half-life and moment, calls 'next'");
    }
    r->high = MIN(r->high, of[0]);
    if (r->o->newest) return 0;
    r->rank.now_ms = of[1];
    r->offset = of[2];
    return 0;
}

static int begin(struct run *r, struct arena *a, struct error *e)
{
    const struct feed_query *q = r->q;
    TRY(feed_manifest_refresh(&r->s->m, e));
    r->low = q->since_ms == INT64_MIN ? INT64_MIN : feed_seq_of_ms(q->since_ms);
    r->high = q->until_ms == INT64_MAX ? INT64_MAX : feed_seq_of_ms(q->until_ms) - 1;
    r->low = MAX(r->low, feed_manifest_oldest(&r->s->m));
    r->streams = arena_alloc(a, (r->s->m.n + 1) * sizeof(*r->streams));
    int64_t newest = INT64_MIN;
    bool any = false;
    for (size_t i = 0; i < r->s->m.n; i++) {
        struct feed_segment *segment = &r->s->m.segments[i];
        bool some;
        TRY(feed_segment_open(segment, false, e));
        TRY(feed_segment_span(segment, &some, e));
        if (some) newest = MAX(newest, segment->last);
        if (some) r->streams[r->n_streams++] = (struct stream){.segment = segment};
        any |= some;
    }
    r->high = MIN(r->high, newest);
    r->rank.now_ms = r->o->now_ms ? r->o->now_ms : feed_now_ms();
    if (!r->o->now_ms && any) r->rank.now_ms = MIN(r->rank.now_ms, feed_ms_of_seq(newest));
    r->rank.half_life_s = r->o->half_life_s > 0 ? r->o->half_life_s : 6 * 3600.0;
    TRY(read_page(r, e));
    size_t n = 0; /* those whose span of time is touched */
    for (size_t i = 0; i < r->n_streams; i++) {
        struct stream x = r->streams[i];
        if (x.segment->first > r->high || x.segment->last < r->low) continue;
        x.newest = MIN(x.segment->last, r->high);
        r->streams[n++] = x;
    }
    r->n_streams = n;
    return 0;
}

/* The stream's next row. */
static int advance(struct run *r, struct stream *x, struct error *e)
{
    if (!x->asked) {
        TRY(feed_segment_query(x->segment, r->which, &x->q, e));
        sqlite3_bind_text(x->q, 1, r->match, -1, SQLITE_STATIC);
        sqlite3_bind_int64(x->q, 2, r->low);
        sqlite3_bind_int64(x->q, 3, r->high);
        x->asked = true;
    }
    int rc = sqlite3_step(x->q);
    x->up = rc == SQLITE_ROW;
    if (x->up)
        x->newest = sqlite3_column_int64(x->q, 0);
    else
        sqlite3_reset(x->q);
    return rc == SQLITE_ROW || rc == SQLITE_DONE
               ? 0
               : feed_sql_error(x->segment->db, x->segment->path, e);
}

/* The stream whose row is the newest of all; NULL where none is left. */
static int newest_stream(struct run *r, struct stream **out, struct error *e)
{
    for (;;) {
        struct stream *best = NULL;
        for (size_t i = 0; i < r->n_streams; i++) {
            struct stream *x = &r->streams[i];
            if (x->asked && !x->up) continue;
            if (!best || x->newest > best->newest) best = x;
        }
        *out = best;
        if (!best || best->asked) return 0;
        TRY(advance(r, best, e));
    }
}

static void keep(struct run *r, const struct candidate *c)
{
    if (r->n_found == r->cap) {
        r->cap = r->cap ? 2 * r->cap : 256;
        r->found = mem_realloc(r->found, r->cap * sizeof(*r->found));
    }
    r->found[r->n_found++] = *c;
}

/* The post that is up in a stream, and what it is to the query. */
static enum feed_look look(struct run *r, struct stream *x, struct feed_post *p)
{
    if (r->which == FEED_Q_TEXTS)
        feed_row_text(x->q, p);
    else
        feed_row_post(x->q, 0, p);
    if (r->which != FEED_Q_SCAN) return feed_look(r->q, p, r->thin);
    return feed_query_matches(r->q, p) ? FEED_LOOK_MATCH : FEED_LOOK_OTHER;
}

/* The newest matches, up to `limit`; *cut: there is another one. */
static int collect(struct run *r, uint64_t limit, bool *cut, struct error *e)
{
    struct stream *x;
    uint64_t looked = 0;
    *cut = false;
    for (;;) {
        struct feed_post p;
        TRY(newest_stream(r, &x, e));
        if (!x) return 0;
        enum feed_look what = look(r, x, &p);
        if (what != FEED_LOOK_UNNAMED && looked++ == r->look) {
            *cut = r->looked_out = true;
            return 0;
        }
        if (what != FEED_LOOK_UNNAMED) r->last_seq = x->newest;
        if (what == FEED_LOOK_MATCH) {
            struct candidate c = {.seq = x->newest, .segment = x->segment};
            if (r->n_found == limit) {
                *cut = true;
                return 0;
            }
            feed_rank_score(r->q, &r->rank, &p, &c.worth);
            keep(r, &c);
        }
        TRY(advance(r, x, e));
    }
}

static int by_score(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->worth.order != y->worth.order) return x->worth.order < y->worth.order ? 1 : -1;
    if (x->seq != y->seq) return x->seq < y->seq ? 1 : -1;
    return x->segment->n < y->segment->n ? 1 : x->segment->n > y->segment->n ? -1 : 0;
}

/* The best k of n come first, in their order. */
static void sort_best(struct candidate *all, size_t n, size_t k)
{
    if (n == 0 || k == 0) return;
    if (k > n / 8) {
        qsort(all, n, sizeof(*all), by_score);
        return;
    }
    qsort(all, k, sizeof(*all), by_score);
    for (size_t i = k; i < n; i++) { /* few are better than the k-th */
        if (by_score(&all[i], &all[k - 1]) >= 0) continue;
        struct candidate c = all[i];
        size_t at = k - 1;
        all[i] = all[k - 1];
        for (; at > 0 && by_score(&c, &all[at - 1]) < 0; at--)
            all[at] = all[at - 1];
        all[at] = c;
    }
}

void feed_post_copy(struct feed_post *p, struct arena *a)
{
    struct feed_slice *s[] = {&p->id,        &p->author_id, &p->author,       &p->name,
                              &p->lang,      &p->text,      &p->reply_to,     &p->reply_user,
                              &p->repost_of, &p->quote_of,  &p->conversation, &p->urls};
    for (size_t i = 0; i < ARRAY_LEN(s); i++)
        if (s[i]->n) s[i]->s = arena_strndup(a, s[i]->s, s[i]->n);
}

/* The posts of a page, read once more. One that vanished meanwhile is left out. */
static int fetch(struct run *r, size_t first, size_t n, struct arena *a, struct feed_answer *out,
                 struct error *e)
{
    out->hits = arena_alloc(a, (n + 1) * sizeof(*out->hits));
    for (size_t i = first; i < first + n; i++) {
        struct candidate *c = &r->found[i];
        sqlite3_stmt *q;
        TRY(feed_segment_query(c->segment, FEED_Q_GET, &q, e));
        sqlite3_bind_int64(q, 1, c->seq);
        if (sqlite3_step(q) == SQLITE_ROW) {
            struct feed_hit *h = &out->hits[out->n_hits++];
            feed_rank_tell(&c->worth, h);
            h->place = c->seq;
            feed_row_post(q, 0, &h->post);
            feed_post_copy(&h->post, a);
        }
        sqlite3_reset(q);
    }
    return 0;
}

static int answer(struct run *r, struct arena *a, struct feed_answer *out, struct error *e)
{
    int64_t limit = r->o->limit > 0 ? r->o->limit : 20, depth = depth_of(r->o);
    char page[PAGE_BYTES];
    TRY(begin(r, a, e));
    TRY(feed_rank_prepare(r->s, r->q, &r->rank.posts, e));
    r->look = UINT64_MAX;
    r->match = r->q->match;
    if (r->which != FEED_Q_SCAN) {
        const char *thin = feed_look_match(r->q, r->rank.posts, a);
        r->look = (uint64_t)depth * LOOKS;
        r->thin = thin != NULL;
        if (thin) r->match = thin;
    }
    TRY(collect(r, (uint64_t)(r->o->newest ? limit : depth), &out->cut, e));
    out->matches = r->n_found;
    size_t first = MIN((size_t)r->offset, r->n_found), n = MIN((size_t)limit, r->n_found - first);
    if (!r->o->newest) sort_best(r->found, r->n_found, first + n);
    int64_t end = r->looked_out || n == 0 ? r->last_seq : r->found[n - 1].seq;
    if (r->o->newest ? out->cut : first + n < r->n_found) {
        const int64_t by_time[] = {end - 1, 0, 0},
                      ranked[] = {r->high, r->rank.now_ms, (int64_t)(first + n)};
        write_page(r, r->o->newest ? by_time : ranked, page);
        out->next = arena_strdup(a, page);
    }
    str_printf(&out->plan, "index: %s\n", r->match);
    for (size_t i = 0; i < r->q->n_scored; i++)
        str_printf(&out->plan, "%s: in %lld of %lld posts\n", r->q->scored[i]->elements[0].text,
                   (long long)r->q->frequencies[i], (long long)r->rank.posts);
    return fetch(r, first, n, a, out, e);
}

static int search(feed_store_t *s, feed_query_t *q, struct run *r, struct arena *a,
                  struct feed_answer *out, struct error *e)
{
    double t0 = time_now_s();
    *out = (struct feed_answer){0};
    r->s = s;
    r->q = q;
    int rc = answer(r, a, out, e);
    for (size_t i = 0; i < r->n_streams; i++)
        if (r->streams[i].q) sqlite3_reset(r->streams[i].q);
    mem_free(r->found);
    out->seconds = time_now_s() - t0;
    return rc;
}

int feed_search(feed_store_t *s, feed_query_t *q, const struct feed_search_options *o,
                struct arena *a, struct feed_answer *out, struct error *e)
{
    bool texts = !q->ids && (q->sure || !q->facts);
    struct run r = {.o = o, .which = texts ? FEED_Q_TEXTS : FEED_Q_SEARCH};
    return search(s, q, &r, a, out, e);
}

int feed_search_scan(feed_store_t *s, feed_query_t *q, const struct feed_search_options *o,
                     struct arena *a, struct feed_answer *out, struct error *e)
{
    struct run r = {.o = o, .which = FEED_Q_SCAN};
    return search(s, q, &r, a, out, e);
}

json_t *feed_post_to_json(const struct feed_post *p)
{
    struct str text = {0};
    feed_post_json(p, &text);
    json_t *j = json_loadb(text.data, text.len, 0, NULL);
    str_fini(&text);
    return j ? j : json_object();
}

json_t *feed_answer_json(const struct feed_answer *x)
{
    json_t *hits = json_array();
    for (size_t i = 0; i < x->n_hits; i++) {
        const struct feed_hit *h = &x->hits[i];
        json_t *j = feed_post_to_json(&h->post);
        json_object_set_new(j, "score", json_real(h->score));
        json_object_set_new(j, "log_score", json_real(h->order));
        json_object_set_new(j, "half_lives", json_real(h->half_lives));
        json_object_set_new(j, "bm25", json_real(h->bm25));
        json_object_set_new(j, "recency", json_real(h->recency));
        json_object_set_new(j, "engagement", json_real(h->engagement));
        json_array_append_new(hits, j);
    }
    json_t *all = json_pack("{s:o, s:I, s:b, s:f}", "posts", hits, "matches",
                            (json_int_t)x->matches, "cut", (int)x->cut, "seconds", x->seconds);
    if (x->next) json_object_set_new(all, "next", json_string(x->next));
    return all;
}
