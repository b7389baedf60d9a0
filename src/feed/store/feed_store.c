/* feed_store.c: a store read: marks, statistics, export. */
#include "feed/store/feed_store_internal.h"

#include <xxhash.h>

int feed_store_open(const char *dir, feed_store_t **out, struct error *e)
{
    feed_store_t *s = mem_calloc(1, sizeof(*s));
    int rc = feed_manifest_open(&s->m, dir, false, e);
    if (rc < 0) {
        mem_free(s);
        return rc;
    }
    *out = s;
    return 0;
}

void feed_store_close(feed_store_t *s)
{
    if (!s) return;
    feed_manifest_close(&s->m);
    feed_keys_fini(&s->frequencies);
    mem_free(s);
}

const char *feed_store_mark(feed_store_t *s, const char *name, struct arena *a)
{
    struct error e = {0};
    const char *value = NULL;
    if (feed_manifest_refresh(&s->m, &e) < 0) return NULL;
    for (size_t i = s->m.n; i-- > 0 && !value;) { /* the newest segment that has it */
        struct feed_segment *seg = &s->m.segments[i];
        sqlite3_stmt *q;
        if (feed_segment_open(seg, false, &e) < 0 ||
            feed_sql_prepare(seg->db, seg->path, "SELECT value FROM meta WHERE name=?", &q, &e) < 0)
            continue;
        sqlite3_bind_text(q, 1, name, -1, SQLITE_STATIC);
        if (sqlite3_step(q) == SQLITE_ROW) {
            struct feed_slice v = feed_sql_slice(q, 0);
            value = arena_strndup(a, v.s, v.n);
        }
        sqlite3_finalize(q);
    }
    return value;
}

int feed_store_post_hash(struct feed_store *s, int64_t place, const struct feed_post *p,
                         int64_t *hash, struct error *e)
{
    if (place < feed_manifest_oldest(&s->m)) return 0;
    for (size_t i = s->m.n; i-- > 0;) {
        struct feed_segment *seg = &s->m.segments[i];
        sqlite3_stmt *q;
        struct feed_post there = {0};
        TRY(feed_segment_open(seg, false, e));
        TRY(feed_segment_query(seg, FEED_Q_GET, &q, e));
        sqlite3_bind_int64(q, 1, place);
        int rc = sqlite3_step(q);
        if (rc == SQLITE_ROW) feed_row_post(q, 0, &there);
        bool same = rc == SQLITE_ROW && there.service == p->service && there.id.n == p->id.n &&
                    memcmp(there.id.s, p->id.s, p->id.n) == 0;
        if (same) *hash = (int64_t)XXH3_64bits(there.text.n ? there.text.s : "", there.text.n);
        bool bad = rc != SQLITE_ROW && rc != SQLITE_DONE;
        if (bad) feed_sql_error(seg->db, seg->path, e);
        sqlite3_reset(q);
        if (bad) return ERROR_FAILED;
        if (same) return 1;
    }
    return 0;
}

static int segment_stats(struct feed_segment *s, int64_t oldest_seq, struct feed_stats *out,
                         struct error *e)
{
    sqlite3_stmt *q;
    int rc;
    TRY(feed_segment_open(s, false, e));
    TRY(feed_sql_prepare(s->db, s->path,
                         "SELECT service, count(*), min(seq), max(seq) FROM posts WHERE seq >= ?"
                         " GROUP BY service",
                         &q, e));
    sqlite3_bind_int64(q, 1, oldest_seq);
    while ((rc = sqlite3_step(q)) == SQLITE_ROW) {
        int service = sqlite3_column_int(q, 0);
        uint64_t n = (uint64_t)sqlite3_column_int64(q, 1);
        int64_t oldest = feed_ms_of_seq(sqlite3_column_int64(q, 2)),
                newest = feed_ms_of_seq(sqlite3_column_int64(q, 3));
        out->by_service[service >= 0 && service < FEED_N_SERVICES ? service : FEED_OTHER] += n;
        if (out->posts == 0 || oldest < out->oldest_ms) out->oldest_ms = oldest;
        if (out->posts == 0 || newest > out->newest_ms) out->newest_ms = newest;
        out->posts += n;
    }
    return feed_sql_end(s->db, s->path, q, rc, e);
}

static int read_gaps(struct feed_manifest *m, struct arena *a, struct feed_stats *out,
                     struct error *e)
{
    sqlite3_stmt *q;
    int64_t n;
    int step;
    TRY(feed_sql_int(m->db, m->path, "SELECT count(*) FROM gaps", &n, e));
    out->gaps = arena_alloc(a, (size_t)(n + 1) * sizeof(*out->gaps));
    TRY(feed_sql_prepare(m->db, m->path,
                         "SELECT source, why, from_ms, to_ms FROM gaps ORDER BY from_ms", &q, e));
    while ((step = sqlite3_step(q)) == SQLITE_ROW && out->n_gaps < (size_t)n) {
        struct feed_slice source = feed_sql_slice(q, 0), why = feed_sql_slice(q, 1);
        out->gaps[out->n_gaps++] =
            (struct feed_gap){arena_strndup(a, source.s ? source.s : "", source.n),
                              arena_strndup(a, why.s ? why.s : "", why.n),
                              sqlite3_column_int64(q, 2), sqlite3_column_int64(q, 3)};
    }
    return feed_sql_end(m->db, m->path, q, step, e);
}

int feed_store_stats(feed_store_t *s, struct arena *a, struct feed_stats *out, struct error *e)
{
    int64_t gone;
    *out = (struct feed_stats){.keep_s = s->m.keep_s, .keep_bytes = s->m.keep_bytes};
    TRY(feed_manifest_refresh(&s->m, e));
    out->segments = s->m.n;
    for (size_t i = 0; i < s->m.n; i++) {
        TRY(segment_stats(&s->m.segments[i], feed_manifest_oldest(&s->m), out, e));
        out->bytes += feed_segment_bytes(&s->m.segments[i]);
    }
    TRY(feed_sql_int(s->m.db, s->m.path, "SELECT count(*) FROM gone", &gone, e));
    out->tombstones = (uint64_t)gone;
    return read_gaps(&s->m, a, out, e);
}

int feed_store_export(feed_store_t *s, FILE *out, uint64_t *posts, struct error *e)
{
    struct str line = {0};
    int rc = feed_manifest_refresh(&s->m, e);
    const int64_t oldest = feed_manifest_oldest(&s->m);
    *posts = 0;
    for (size_t i = 0; i < s->m.n && rc >= 0; i++) {
        struct feed_segment *seg = &s->m.segments[i];
        sqlite3_stmt *q;
        struct feed_post p;
        rc = feed_segment_open(seg, false, e);
        if (rc >= 0)
            rc = feed_sql_prepare(
                seg->db, seg->path,
                "SELECT " FEED_POST_COLUMNS " FROM posts WHERE seq >= ? ORDER BY seq", &q, e);
        if (rc < 0) break;
        int step;
        sqlite3_bind_int64(q, 1, oldest);
        while ((step = sqlite3_step(q)) == SQLITE_ROW) {
            feed_row_post(q, 0, &p);
            str_clear(&line);
            feed_post_json(&p, &line);
            str_append_char(&line, '\n');
            fwrite(line.data, 1, line.len, out);
            ++*posts;
        }
        rc = feed_sql_end(seg->db, seg->path, q, step, e);
    }
    str_fini(&line);
    return rc;
}
