/* feed_manifest.c: store.db: what a store consists of, and who may write to it. */
#include "feed/store/feed_store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const schema =
    "PRAGMA journal_mode=WAL;"
    "BEGIN;"
    "CREATE TABLE IF NOT EXISTS settings(name TEXT PRIMARY KEY, value) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS segments(n INTEGER PRIMARY KEY, state INTEGER NOT NULL);"
    "CREATE TABLE IF NOT EXISTS gone(key INTEGER PRIMARY KEY, at INTEGER NOT NULL, what INTEGER,"
    " id TEXT);"
    "CREATE INDEX IF NOT EXISTS gone_undone ON gone(key) WHERE id IS NOT NULL;"
    "CREATE TABLE IF NOT EXISTS gaps(source TEXT, why TEXT, from_ms INTEGER, to_ms INTEGER);"
    "COMMIT;";

int feed_store_lock(const char *dir, int *fd, struct error *e)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/lock", dir);
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (*fd < 0) return error_errno(e, "open", path);
    if (flock(*fd, LOCK_EX | LOCK_NB) == 0) return 0;
    close(*fd);
    *fd = -1;
    error_set(e, "another process writes to the store '%s'", dir);
    return error_hint(e, "a store has one writer at a time; searching needs no turn");
}

static struct feed_segment *find(struct feed_manifest *m, int64_t n)
{
    for (size_t i = 0; i < m->n; i++)
        if (m->segments[i].n == n) return &m->segments[i];
    return NULL;
}

static struct feed_segment *append(struct feed_manifest *m, int64_t n)
{
    char name[64];
    struct arena a = {0};
    if (m->n == m->cap) {
        m->cap = m->cap ? 2 * m->cap : 16;
        m->segments = mem_realloc(m->segments, m->cap * sizeof(*m->segments));
    }
    snprintf(name, sizeof(name), "seg-%06lld.db", (long long)n);
    struct feed_segment *s = &m->segments[m->n++];
    *s = (struct feed_segment){.n = n};
    s->path = mem_strdup(file_join(&a, m->dir, name));
    arena_fini(&a);
    return s;
}

static void forget(struct feed_manifest *m, size_t i)
{
    feed_segment_close(&m->segments[i]);
    mem_free(m->segments[i].path);
    memmove(m->segments + i, m->segments + i + 1, (m->n - i - 1) * sizeof(*m->segments));
    m->n--;
}

static int read_settings(struct feed_manifest *m, struct error *e)
{
    sqlite3_stmt *q;
    int words = 0, step;
    TRY(feed_sql_prepare(m->db, m->path, "SELECT name, value FROM settings", &q, e));
    while ((step = sqlite3_step(q)) == SQLITE_ROW) {
        struct feed_slice name = feed_sql_slice(q, 0);
        double v = sqlite3_column_double(q, 1);
        if (feed_is(name, "keep_s")) m->keep_s = v;
        if (feed_is(name, "keep_bytes")) m->keep_bytes = v;
        if (feed_is(name, "segment_posts")) m->segment_posts = (uint64_t)v;
        if (feed_is(name, "identity")) m->identity = (uint64_t)v;
        if (feed_is(name, "words")) words = (int)v;
    }
    TRY(feed_sql_end(m->db, m->path, q, step, e));
    if (words == 0 || words == FEED_WORDS_VERSION) return 0;
    error_set(e, "the index of '%s' was made by version %d of the terms, this is %d", m->dir, words,
              FEED_WORDS_VERSION);
    return error_hint(e, "'feed export' with the program that made it, and ingest that");
}

int feed_manifest_refresh(struct feed_manifest *m, struct error *e)
{
    sqlite3_stmt *q;
    int64_t version, seen[4096];
    size_t n_seen = 0;
    int rc;
    TRY(feed_sql_int(m->db, m->path, "PRAGMA data_version", &version, e));
    if (version == m->version) return 0;
    TRY(read_settings(m, e));
    TRY(feed_sql_prepare(m->db, m->path, "SELECT n, state FROM segments ORDER BY n", &q, e));
    while ((rc = sqlite3_step(q)) == SQLITE_ROW && n_seen < ARRAY_LEN(seen)) {
        int64_t n = sqlite3_column_int64(q, 0);
        struct feed_segment *s = find(m, n);
        if (!s) s = append(m, n);
        s->state = (enum feed_segment_state)sqlite3_column_int(q, 1);
        seen[n_seen++] = n;
    }
    if (rc != SQLITE_DONE && rc != SQLITE_ROW) feed_sql_error(m->db, m->path, e);
    sqlite3_finalize(q);
    if (rc == SQLITE_ROW) return error_set(e, "'%s' has more than 4096 segments", m->dir);
    if (rc != SQLITE_DONE) return ERROR_FAILED;
    for (size_t i = m->n; i-- > 0;) {
        bool there = false;
        for (size_t k = 0; k < n_seen; k++)
            there |= seen[k] == m->segments[i].n;
        if (!there) forget(m, i);
    }
    m->version = version;
    return 0;
}

int feed_manifest_setting(struct feed_manifest *m, const char *name, double value, struct error *e)
{
    sqlite3_stmt *q;
    TRY(feed_sql_prepare(m->db, m->path, "INSERT OR REPLACE INTO settings VALUES(?,?)", &q, e));
    sqlite3_bind_text(q, 1, name, -1, SQLITE_STATIC);
    sqlite3_bind_double(q, 2, value);
    int rc = sqlite3_step(q) == SQLITE_DONE ? 0 : feed_sql_error(m->db, m->path, e);
    sqlite3_finalize(q);
    return rc;
}

static int draw_identity(struct feed_manifest *m, struct error *e)
{
    uint64_t random;
    if (m->identity) return 0;
    if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return error_errno(e, "draw", "a number for the store");
    m->identity = random >> 11 | 1;
    return feed_manifest_setting(m, "identity", (double)m->identity, e);
}

/* Segments whose list is gone are neither a new store nor none. */
static int refuse_orphans(struct feed_manifest *m, struct error *e)
{
    struct arena a = {0};
    int64_t *numbers, listed = 0;
    size_t n;
    if (m->db)
        TRY(feed_sql_int(m->db, m->path, "SELECT count(*) FROM sqlite_master WHERE name='segments'",
                         &listed, e));
    if (listed) return 0;
    int rc = feed_segments_in(m->dir, &a, &numbers, &n, e);
    arena_fini(&a);
    if (rc < 0 || n == 0) return rc;
    error_set(e, "'%s' has %zu segments of posts, and no list of them in '%s'", m->dir, n, m->path);
    return error_hint(e, "'colossus feed verify %.200s --repair' makes the list anew", m->dir);
}

static int open_manifest(struct feed_manifest *m, const char *dir, bool write, bool anew,
                         struct error *e)
{
    struct arena a = {0};
    *m = (struct feed_manifest){.version = -1};
    m->dir = mem_strdup(dir);
    m->path = mem_strdup(file_join(&a, dir, "store.db"));
    arena_fini(&a);
    int rc = 0;
    bool there = file_exists(m->path);
    if (!there && !anew && file_exists(dir)) rc = refuse_orphans(m, e);
    if (rc >= 0 && !there && !write) {
        rc = error_set(e, "there is no store of posts in '%s'", dir);
        error_hint(e, "'colossus feed ingest %.200s FILE' makes one", dir);
    }
    if (rc >= 0) rc = feed_sql_open(m->path, write, &m->db, e);
    if (rc >= 0 && there && write && !anew) rc = refuse_orphans(m, e);
    if (rc >= 0 && write) rc = feed_sql_exec(m->db, m->path, schema, e);
    if (rc >= 0) rc = read_settings(m, e);
    if (rc >= 0 && write) rc = feed_manifest_setting(m, "words", FEED_WORDS_VERSION, e);
    if (rc >= 0 && write) rc = draw_identity(m, e);
    if (rc >= 0) rc = feed_manifest_refresh(m, e);
    if (rc < 0) feed_manifest_close(m);
    return rc;
}

int feed_manifest_open(struct feed_manifest *m, const char *dir, bool write, struct error *e)
{
    return open_manifest(m, dir, write, false, e);
}

int feed_manifest_make(struct feed_manifest *m, const char *dir, struct error *e)
{
    return open_manifest(m, dir, true, true, e);
}

int64_t feed_manifest_oldest(const struct feed_manifest *m)
{
    const double oldest_ms = (double)feed_now_ms() - m->keep_s * 1000;
    const double first_ms = (double)FEED_EPOCH_MS - (double)(INT64_MAX >> FEED_SEQ_BITS);
    return m->keep_s > 0 && oldest_ms > first_ms ? feed_seq_of_ms((int64_t)oldest_ms) : INT64_MIN;
}

void feed_manifest_close(struct feed_manifest *m)
{
    while (m->n)
        forget(m, m->n - 1);
    sqlite3_close(m->db);
    mem_free(m->segments);
    mem_free(m->dir);
    mem_free(m->path);
    *m = (struct feed_manifest){0};
}

int feed_manifest_state(struct feed_manifest *m, int64_t n, enum feed_segment_state state,
                        struct error *e)
{
    char text[128];
    struct feed_segment *s = find(m, n);
    snprintf(text, sizeof(text), "INSERT OR REPLACE INTO segments VALUES(%lld, %d)", (long long)n,
             (int)state);
    TRY(feed_sql_exec(m->db, m->path, text, e));
    if (!s) return 0;
    s->state = state;
    if (state == FEED_SEGMENT_SEALED) { /* its index knows the keys now */
        s->placed = false;
        feed_keys_fini(&s->places);
    }
    return 0;
}

int feed_manifest_add(struct feed_manifest *m, struct feed_segment **out, struct error *e)
{
    int64_t last;
    TRY(feed_sql_int(m->db, m->path, "SELECT max(n) FROM segments", &last, e));
    struct feed_segment *s = append(m, last + 1);
    int rc = feed_segment_create(s, e);
    if (rc >= 0) rc = feed_manifest_state(m, s->n, FEED_SEGMENT_OPEN, e);
    if (rc < 0) forget(m, m->n - 1);
    *out = s;
    return rc;
}

static const char *const suffixes[] = {"", "-wal", "-shm"};

int feed_manifest_drop(struct feed_manifest *m, size_t i, struct error *e)
{
    char text[128], path[4096];
    snprintf(text, sizeof(text), "DELETE FROM segments WHERE n=%lld", (long long)m->segments[i].n);
    TRY(feed_sql_exec(m->db, m->path, text, e));
    for (size_t k = 0; k < ARRAY_LEN(suffixes); k++) {
        snprintf(path, sizeof(path), "%s%s", m->segments[i].path, suffixes[k]);
        if (unlink(path) != 0 && errno != ENOENT) return error_errno(e, "remove", path);
    }
    forget(m, i);
    return 0;
}

uint64_t feed_segment_bytes(const struct feed_segment *s)
{
    char path[4096];
    struct stat st;
    uint64_t sum = 0;
    for (size_t k = 0; k < 2; k++) {
        snprintf(path, sizeof(path), "%s%s", s->path, suffixes[k]);
        if (stat(path, &st) == 0) sum += (uint64_t)st.st_size;
    }
    return sum;
}
