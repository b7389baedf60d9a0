/* feed_vacuum.c: what was deleted leaves the files too.
 *
 * A deletion takes a post's row and writes that its terms no longer count; the bytes stay in free
 * pages, in older parts of the index and in the log. Here the index of each touched segment is
 * merged to one piece, its terms are counted anew where it is sealed, the file is written anew without
 * its free pages, and the log is emptied. */
#include "feed/store/feed_store_internal.h"

#include <unistd.h>

static int vacuum_segment(struct feed_segment *s, struct error *e)
{
    TRY(feed_sql_exec(s->db, s->path, "INSERT INTO terms(terms) VALUES('optimize')", e));
    if (s->state == FEED_SEGMENT_SEALED) { /* words that only what is gone had */
        int rc = feed_segment_count(s->db, s->path, e);
        if (rc >= 0) rc = feed_segment_run(s, FEED_Q_COMMIT, e);
        if (rc < 0) {
            feed_segment_run(s, FEED_Q_ROLLBACK, NULL);
            return rc;
        }
    }
    TRY(feed_sql_exec(s->db, s->path,
                      "DELETE FROM meta WHERE name='touched'; VACUUM;"
                      "PRAGMA wal_checkpoint(TRUNCATE);",
                      e));
    return 0;
}

/* Posts that are older than what is kept, of segments that are not old as a whole. */
static int drop_old(struct feed_segment *s, int64_t before, struct error *e)
{
    sqlite3_stmt *q;
    int rc = 0, step = SQLITE_ROW;
    while (rc >= 0 && step == SQLITE_ROW) { /* in transactions of bounded size */
        int64_t seqs[10000];
        size_t n = 0;
        TRY(feed_sql_prepare(
            s->db, s->path, "SELECT seq FROM posts WHERE seq < ? ORDER BY seq LIMIT 10000", &q, e));
        sqlite3_bind_int64(q, 1, before);
        while ((step = sqlite3_step(q)) == SQLITE_ROW && n < ARRAY_LEN(seqs))
            seqs[n++] = sqlite3_column_int64(q, 0);
        TRY(feed_sql_end(s->db, s->path, q, step, e));
        if (n == 0) return 0;
        TRY(feed_segment_run(s, FEED_Q_BEGIN, e));
        for (size_t i = 0; i < n && rc >= 0; i++)
            rc = feed_segment_remove(s, seqs[i], e);
        rc = rc < 0 ? rc : feed_segment_run(s, FEED_Q_COMMIT, e);
        if (rc < 0) feed_segment_run(s, FEED_Q_ROLLBACK, NULL);
        step = SQLITE_ROW;
    }
    return rc;
}

static int vacuum_all(struct feed_applier *x, bool whole, uint64_t *touched, struct error *e)
{
    TRY(feed_applier_retain(x, e));
    for (size_t i = 0; i < x->m.n; i++) {
        struct feed_segment *s = &x->m.segments[i];
        int64_t marked;
        TRY(feed_segment_open(s, true, e));
        if (x->m.keep_s > 0) TRY(drop_old(s, feed_manifest_oldest(&x->m), e));
        TRY(feed_sql_int(s->db, s->path, "SELECT count(*) FROM meta WHERE name='touched'", &marked,
                         e));
        if (!marked && !whole) continue;
        TRY(vacuum_segment(s, e));
        ++*touched;
    }
    if (x->m.keep_s > 0) {
        char text[128]; /* nothing of before can come again */
        snprintf(text, sizeof(text), "DELETE FROM gone WHERE at < %.0f",
                 (double)feed_now_ms() - x->m.keep_s * 1000);
        TRY(feed_sql_exec(x->m.db, x->m.path, text, e));
    }
    return feed_sql_exec(x->m.db, x->m.path,
                         "UPDATE gone SET id=NULL WHERE id IS NOT NULL; VACUUM;"
                         "PRAGMA wal_checkpoint(TRUNCATE);",
                         e);
}

int feed_store_vacuum(const char *dir, bool whole, uint64_t *touched, struct error *e)
{
    const struct feed_write_options o = {0};
    struct feed_applier x;
    struct arena a = {0};
    int fd;
    *touched = 0;
    bool there = file_exists(file_join(&a, dir, "store.db"));
    arena_fini(&a);
    if (!there) return error_set(e, "there is no store of posts in '%s'", dir);
    TRY(feed_store_lock(dir, &fd, e));
    int rc = feed_applier_open(&x, dir, &o, e);
    if (rc >= 0) {
        rc = vacuum_all(&x, whole, touched, e);
        int closed = feed_applier_close(&x, rc < 0 ? NULL : e);
        if (rc >= 0) rc = closed;
    }
    close(fd);
    return rc;
}
