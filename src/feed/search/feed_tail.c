/* feed_tail.c: what comes into a store, as it comes.
 *
 * Posts are numbered by their own time, so "new" is not "at the end". SQLite is asked whether a
 * segment that is not sealed has changed (data_version), and if so for the posts that are newer than
 * a bound: the newest post that was there, less two minutes for those that come out of order. Keys of
 * the posts within the bound are remembered, so that each is handed out once. */
#include "feed/search/feed_search_internal.h"

#define LATE_MS 120000
#define BLOCK   4000

struct feed_tail {
    struct feed_store *s;
    struct feed_keys seen;
    int64_t newest; /* seq of the newest post that was handed out, or was there */
    struct tail_segment {
        int64_t n, version;
    } * versions;
    size_t n;
};

static int64_t bound_of(const struct feed_tail *t)
{
    const int64_t late = (int64_t)LATE_MS << FEED_SEQ_BITS;
    return t->newest < INT64_MIN + late ? INT64_MIN : t->newest - late;
}

/* Whether the segment has changed since it was last looked at. */
static int changed(struct feed_tail *t, struct feed_segment *s, bool *out, struct error *e)
{
    int64_t version;
    struct tail_segment *x = NULL;
    TRY(feed_sql_int(s->db, s->path, "PRAGMA data_version", &version, e));
    for (size_t i = 0; i < t->n; i++)
        if (t->versions[i].n == s->n) x = &t->versions[i];
    if (!x) {
        t->versions = mem_realloc(t->versions, (t->n + 1) * sizeof(*x));
        x = &t->versions[t->n++];
        *x = (struct tail_segment){s->n, -1};
    }
    *out = x->version != version;
    x->version = version;
    return 0;
}

/* Posts of a segment behind the bound that were not seen; posts NULL: they are only remembered. */
static int look(struct feed_tail *t, struct feed_segment *s, struct arena *a,
                struct feed_post *posts, size_t *n, struct error *e)
{
    sqlite3_stmt *q;
    int rc;
    TRY(feed_sql_prepare(s->db, s->path,
                         "SELECT " FEED_POST_COLUMNS " FROM posts WHERE seq > ? ORDER BY seq", &q,
                         e));
    sqlite3_bind_int64(q, 1, bound_of(t));
    while ((rc = sqlite3_step(q)) == SQLITE_ROW && (!posts || *n < BLOCK)) {
        int64_t seq = sqlite3_column_int64(q, 0);
        uint64_t key = (uint64_t)sqlite3_column_int64(q, 1);
        int64_t *when = feed_keys_at(&t->seen, key, true);
        if (*when == seq) continue; /* an edited post has another place, or is not new */
        *when = seq;
        if (!posts) continue;
        feed_row_post(q, 0, &posts[*n]);
        feed_post_copy(&posts[(*n)++], a);
    }
    if (rc != SQLITE_DONE && rc != SQLITE_ROW) feed_sql_error(s->db, s->path, e);
    sqlite3_finalize(q);
    return rc == SQLITE_DONE ? 0 : rc == SQLITE_ROW ? 1 : ERROR_FAILED;
}

/* Forgets what lies before the bound. */
static void forget(struct feed_tail *t)
{
    int64_t bound = bound_of(t);
    if (t->seen.n < 2000000) return;
    struct feed_keys kept = {0};
    for (size_t i = 0; i < t->seen.cap; i++)
        if (t->seen.items[i].used && t->seen.items[i].value > bound)
            *feed_keys_at(&kept, t->seen.items[i].key, true) = t->seen.items[i].value;
    feed_keys_fini(&t->seen);
    t->seen = kept;
}

static int newest_of(struct feed_segment *s, int64_t *newest, struct error *e)
{
    int64_t last;
    TRY(feed_sql_int(s->db, s->path, "SELECT max(seq) FROM posts", &last, e));
    if (last) *newest = MAX(*newest, last);
    return 0;
}

int feed_tail_new(feed_store_t *s, feed_tail_t **out, struct error *e)
{
    struct feed_tail *t = mem_calloc(1, sizeof(*t));
    int rc = feed_manifest_refresh(&s->m, e);
    t->s = s;
    t->newest = INT64_MIN;
    for (size_t i = 0; i < s->m.n && rc >= 0; i++) {
        rc = feed_segment_open(&s->m.segments[i], false, e);
        if (rc >= 0) rc = newest_of(&s->m.segments[i], &t->newest, e);
    }
    for (size_t i = 0; i < s->m.n && rc >= 0; i++) {
        bool c;
        size_t n = 0;
        rc = changed(t, &s->m.segments[i], &c, e);
        if (rc >= 0) rc = look(t, &s->m.segments[i], NULL, NULL, &n, e);
    }
    if (rc < 0) {
        feed_tail_free(t);
        return rc;
    }
    *out = t;
    return 0;
}

int feed_tail_next(feed_tail_t *t, struct arena *a, struct feed_post **posts, size_t *n,
                   struct error *e)
{
    int more = 0;
    *posts = arena_alloc(a, BLOCK * sizeof(**posts));
    *n = 0;
    TRY(feed_manifest_refresh(&t->s->m, e));
    for (size_t i = 0; i < t->s->m.n; i++) {
        struct feed_segment *s = &t->s->m.segments[i];
        bool c;
        TRY(feed_segment_open(s, false, e));
        TRY(changed(t, s, &c, e));
        if (!c) continue;
        int rc = look(t, s, a, *posts, n, e);
        if (rc < 0) return rc;
        if (rc > 0) { /* the block is full: this one is looked at again */
            for (size_t k = 0; k < t->n; k++)
                if (t->versions[k].n == s->n) t->versions[k].version = -1;
            more = 1;
        }
    }
    for (size_t i = 0; i < *n && !more; i++)
        t->newest = MAX(t->newest, feed_seq_of_ms((*posts)[i].created_ms));
    forget(t);
    return more;
}

void feed_tail_free(feed_tail_t *t)
{
    if (!t) return;
    feed_keys_fini(&t->seen);
    mem_free(t->versions);
    mem_free(t);
}
