/* feed_verify.c: is the index what the posts say, and is each post there once?
 *
 * Of each segment every post's terms are made anew, and a sum of hashes kept for it; then the whole
 * index is read, term by term, and each posting taken off its post's sum again. What does not come
 * out at nothing is wrong, by name. Keys are compared over all segments, and with the tombstones.
 * The posts of one segment are held in memory as numbers: 40 MB for a million. */
#include "feed/store/feed_store_internal.h"

#include <unistd.h>
#include <xxhash.h>

struct check {
    struct feed_verify *v;
    struct feed_keys sums; /* by seq: what its terms add up to */
    struct feed_keys seen; /* keys of all segments: which one has it */
    struct feed_keys *gone;
    struct feed_terms terms;
};

static void wrong(struct check *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void wrong(struct check *c, const char *fmt, ...)
{
    char line[512];
    va_list args;
    if (c->v->wrong++ >= 100) return;
    va_start(args, fmt);
    vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    str_printf(&c->v->report, "%s\n", line);
}

static int64_t mix(uint64_t hash)
{
    hash ^= hash >> 31;
    return (int64_t)((hash * 0xbf58476d1ce4e5b9ULL) >> 1);
}

static int compare_terms(const void *a, const void *b)
{
    const struct feed_term *x = a, *y = b;
    return x->hash < y->hash ? -1 : x->hash > y->hash;
}

/* What the distinct terms of a post add up to. */
static int64_t sum_of(struct check *c, const struct feed_post *p)
{
    int64_t sum = 0;
    feed_terms_of_post(&c->terms, p);
    struct feed_term *t = c->terms.items;
    if (c->terms.n) qsort(t, c->terms.n, sizeof(*t), compare_terms);
    for (size_t i = 0; i < c->terms.n; i++)
        if (i == 0 || t[i].hash != t[i - 1].hash)
            sum = (int64_t)((uint64_t)sum + (uint64_t)mix(t[i].hash));
    return sum;
}

static void check_post(struct check *c, const struct feed_segment *s, sqlite3_stmt *q)
{
    struct feed_post p;
    feed_row_post(q, 0, &p);
    int64_t seq = sqlite3_column_int64(q, 0);
    uint64_t key = feed_key(p.service, "p", p.id), user = feed_key(p.service, "u", p.author_id);
    if (key != (uint64_t)sqlite3_column_int64(q, 1))
        wrong(c, "%s: post %.*s has another post's key", s->path, (int)p.id.n, p.id.s);
    int64_t *first = feed_keys_at(&c->seen, key, true);
    if (*first)
        wrong(c, "%s: post %.*s is also in segment %lld", s->path, (int)p.id.n, p.id.s,
              (long long)*first);
    *first = s->n;
    const int64_t *buried = feed_keys_at(c->gone, key, false);
    const int64_t *left = p.author_id.n ? feed_keys_at(c->gone, user, false) : NULL;
    if ((buried && *buried) || (left && *left))
        wrong(c, "%s: post %.*s was deleted and is there", s->path, (int)p.id.n, p.id.s);
    *feed_keys_at(&c->sums, (uint64_t)seq, true) = sum_of(c, &p);
    c->v->posts++;
}

static int check_posts(struct check *c, struct feed_segment *s, struct error *e)
{
    sqlite3_stmt *q;
    int rc;
    feed_keys_clear(&c->sums);
    TRY(feed_sql_prepare(s->db, s->path, "SELECT " FEED_POST_COLUMNS " FROM posts", &q, e));
    while ((rc = sqlite3_step(q)) == SQLITE_ROW)
        check_post(c, s, q);
    if (rc != SQLITE_DONE) feed_sql_error(s->db, s->path, e);
    sqlite3_finalize(q);
    return rc == SQLITE_DONE ? 0 : ERROR_FAILED;
}

static int check_index(struct check *c, struct feed_segment *s, struct error *e)
{
    sqlite3_stmt *q;
    int rc;
    TRY(feed_sql_exec(s->db, s->path,
                      "CREATE VIRTUAL TABLE IF NOT EXISTS temp.v USING"
                      " fts5vocab(main, terms, instance)",
                      e));
    TRY(feed_sql_prepare(s->db, s->path, "SELECT term, doc FROM temp.v", &q, e));
    while ((rc = sqlite3_step(q)) == SQLITE_ROW) {
        struct feed_slice term = feed_sql_slice(q, 0);
        int64_t seq = sqlite3_column_int64(q, 1);
        int64_t *sum = feed_keys_at(&c->sums, (uint64_t)seq, false);
        c->v->terms++;
        if (!sum)
            wrong(c, "%s: the index has '%.*s' for a post that is not there", s->path, (int)term.n,
                  term.s);
        else
            *sum = (int64_t)((uint64_t)*sum - (uint64_t)mix(XXH3_64bits(term.s, term.n)));
    }
    if (rc != SQLITE_DONE) feed_sql_error(s->db, s->path, e);
    sqlite3_finalize(q);
    for (size_t i = 0; i < c->sums.cap; i++)
        if (c->sums.items[i].used && c->sums.items[i].value)
            wrong(c, "%s: the index does not say what the post at %lld does", s->path,
                  (long long)c->sums.items[i].key);
    return rc == SQLITE_DONE ? 0 : ERROR_FAILED;
}

/* Whether the folder has anything of a store: no lock is left in one that is none. */
static bool is_store(const char *dir)
{
    struct arena a = {0};
    struct error e = {0};
    int64_t *numbers;
    size_t n = 0;
    bool there = file_exists(file_join(&a, dir, "store.db")) ||
                 (feed_segments_in(dir, &a, &numbers, &n, &e) >= 0 && n > 0);
    arena_fini(&a);
    return there;
}

int feed_store_verify(const char *dir, bool repair, struct feed_verify *v, struct error *e)
{
    const struct feed_write_options o = {0};
    struct feed_applier x;
    int fd, rc = 0;
    *v = (struct feed_verify){0};
    if (!is_store(dir)) return error_set(e, "there is no store of posts in '%s'", dir);
    TRY(feed_store_lock(dir, &fd, e));
    rc = feed_store_look(dir, repair, v, e);
    bool whole = rc >= 0 && (v->damaged == 0 || repair);
    if (whole) rc = feed_applier_open(&x, dir, &o, e); /* finishes what a process left undone */
    if (whole && rc >= 0) {
        struct check c = {.v = v, .gone = &x.gone};
        for (size_t i = 0; i < x.m.n && rc >= 0; i++) {
            struct feed_segment *s = &x.m.segments[i];
            v->segments++;
            rc = feed_segment_open(s, true, e);
            if (rc >= 0) rc = check_posts(&c, s, e);
            if (rc >= 0) rc = check_index(&c, s, e);
        }
        feed_keys_fini(&c.sums);
        feed_keys_fini(&c.seen);
        feed_terms_fini(&c.terms);
        int closed = feed_applier_close(&x, rc < 0 ? NULL : e);
        if (rc >= 0) rc = closed;
    }
    close(fd);
    return rc;
}
