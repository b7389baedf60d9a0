/* feed_segment.c: one segment: its tables, posts in and out, and how it is sealed. */
#include "feed/store/feed_store_internal.h"

#define REFS_SEP    '\x1f'
#define KEEP_SPAN_S 10.0

static const char *const schema =
    "PRAGMA page_size=4096; PRAGMA journal_mode=WAL;"
    "BEGIN;"
    "CREATE TABLE posts(seq INTEGER PRIMARY KEY, key INTEGER NOT NULL, service INTEGER NOT NULL,"
    " flags INTEGER NOT NULL, id TEXT NOT NULL, author_id TEXT, author TEXT, name TEXT, lang TEXT,"
    " text TEXT, likes INTEGER, reposts INTEGER, replies INTEGER, quotes INTEGER,"
    " followers INTEGER, edited INTEGER, refs TEXT);"
    "CREATE VIRTUAL TABLE terms USING fts5(t, content='', columnsize=0, detail=none,"
    " tokenize='feed');"
    "INSERT INTO terms(terms, rank) VALUES('pgsz', 4040);"
    "INSERT INTO terms(terms, rank) VALUES('hashsize', 536870912);"
    "INSERT INTO terms(terms, rank) VALUES('automerge', 8);"
    "INSERT INTO terms(terms, rank) VALUES('crisismerge', 64);"
    "CREATE TABLE pending(segment INTEGER, seq INTEGER);"
    "CREATE TABLE meta(name TEXT PRIMARY KEY, value) WITHOUT ROWID;"
    "CREATE TABLE df(term TEXT PRIMARY KEY, n INTEGER) WITHOUT ROWID;"
    "COMMIT;";

static const char *const sql[FEED_Q_N] = {
    [FEED_Q_BEGIN] = "BEGIN IMMEDIATE",
    [FEED_Q_COMMIT] = "COMMIT",
    [FEED_Q_ROLLBACK] = "ROLLBACK",
    [FEED_Q_INSERT] =
        "INSERT INTO posts(" FEED_POST_COLUMNS ") VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
    [FEED_Q_INDEX] = "INSERT INTO terms(rowid, t) VALUES(?,?)",
    [FEED_Q_UNINDEX] = "INSERT INTO terms(terms, rowid, t) VALUES('delete',?,?)",
    [FEED_Q_FIND] = "SELECT seq, id, service, edited FROM posts WHERE key=?1",
    [FEED_Q_PLACED] = "SELECT seq, id, service, edited FROM posts WHERE seq=?2"
                      " AND key=?1",
    [FEED_Q_GET] = "SELECT " FEED_POST_COLUMNS " FROM posts WHERE seq=?",
    [FEED_Q_DELETE] = "DELETE FROM posts WHERE seq=?",
    [FEED_Q_METRICS] = "UPDATE posts SET likes=max(likes,?), reposts=max(reposts,?),"
                       " replies=max(replies,?), quotes=max(quotes,?) WHERE seq=?",
    [FEED_Q_MARK] = "INSERT OR REPLACE INTO meta VALUES(?,?)",
    [FEED_Q_PENDING] = "INSERT INTO pending VALUES(?,?)",
    /* The plus keeps the upper bound from the index: where that begins to walk backwards in the midst
     * of a list which several commits wrote, FTS5 of SQLite 3.40 passes some matches over. */
    [FEED_Q_SEARCH] = "SELECT " FEED_POST_COLUMNS " FROM terms CROSS JOIN posts"
                      " ON posts.seq = terms.rowid WHERE terms MATCH ?1"
                      " AND terms.rowid >= ?2 AND +terms.rowid <= ?3 ORDER BY terms.rowid DESC",
    [FEED_Q_TEXTS] = "SELECT " FEED_TEXT_COLUMNS " FROM terms CROSS JOIN posts"
                     " ON posts.seq = terms.rowid WHERE terms MATCH ?1"
                     " AND terms.rowid >= ?2 AND +terms.rowid <= ?3 ORDER BY terms.rowid DESC",
    [FEED_Q_COUNT] = "SELECT count(*) FROM (SELECT rowid FROM terms WHERE terms MATCH ?1 LIMIT ?2)",
    [FEED_Q_BETWEEN] = "SELECT count(*) FROM (SELECT rowid FROM terms WHERE terms MATCH ?1"
                       " AND rowid BETWEEN ?2 AND ?3 LIMIT ?4)",
    [FEED_Q_DF] = "SELECT n FROM df WHERE term=?1",
    [FEED_Q_SPAN] = "SELECT (SELECT min(seq) FROM posts), (SELECT max(seq) FROM posts)",
    [FEED_Q_SCAN] = "SELECT " FEED_POST_COLUMNS " FROM posts WHERE seq BETWEEN ?2 AND ?3"
                    " AND ?1 IS NOT NULL ORDER BY seq DESC",
};

int feed_segment_open(struct feed_segment *s, bool write, struct error *e)
{
    return s->db ? 0 : feed_sql_open(s->path, write, &s->db, e);
}

int feed_segment_create(struct feed_segment *s, struct error *e)
{
    int64_t version;
    TRY(feed_sql_open(s->path, true, &s->db, e));
    /* one that was begun when the process died may be there, whole or empty */
    TRY(feed_sql_int(s->db, s->path, "SELECT count(*) FROM sqlite_master WHERE name='df'", &version,
                     e));
    return version ? 0 : feed_sql_exec(s->db, s->path, schema, e);
}

void feed_segment_close(struct feed_segment *s)
{
    for (int i = 0; i < FEED_Q_N; i++) {
        sqlite3_finalize(s->q[i]);
        s->q[i] = NULL;
    }
    sqlite3_close(s->db);
    s->db = NULL;
    feed_filter_fini(&s->filter);
    feed_keys_fini(&s->places);
    feed_keys_fini(&s->frequencies);
    s->placed = false;
}

int feed_segment_query(struct feed_segment *s, enum feed_segment_query which, sqlite3_stmt **q,
                       struct error *e)
{
    if (!s->q[which]) TRY(feed_sql_prepare(s->db, s->path, sql[which], &s->q[which], e));
    *q = s->q[which];
    return 0;
}

int feed_segment_run(struct feed_segment *s, enum feed_segment_query which, struct error *e)
{
    sqlite3_stmt *q;
    TRY(feed_segment_query(s, which, &q, e));
    int rc = sqlite3_step(q);
    if (rc != SQLITE_DONE) feed_sql_error(s->db, s->path, e);
    sqlite3_reset(q);
    return rc == SQLITE_DONE ? 0 : ERROR_FAILED;
}

int feed_segment_span(struct feed_segment *s, bool *some, struct error *e)
{
    sqlite3_stmt *q;
    double now = time_now_s();
    bool known = s->state == FEED_SEGMENT_SEALED && s->span_s > 0 && now - s->span_s < KEEP_SPAN_S;
    if (!known) {
        TRY(feed_segment_query(s, FEED_Q_SPAN, &q, e));
        int rc = sqlite3_step(q);
        s->some = rc == SQLITE_ROW && sqlite3_column_type(q, 1) != SQLITE_NULL;
        s->first = s->some ? sqlite3_column_int64(q, 0) : 0;
        s->last = s->some ? sqlite3_column_int64(q, 1) : 0;
        s->span_s = s->state == FEED_SEGMENT_SEALED ? now : 0;
        if (rc != SQLITE_ROW && rc != SQLITE_DONE) feed_sql_error(s->db, s->path, e);
        sqlite3_reset(q);
        if (rc != SQLITE_ROW && rc != SQLITE_DONE) return ERROR_FAILED;
    }
    *some = s->some;
    return 0;
}

/* Whether one of the rows that q gives is the post. *some: there are any. */
static int find_among(struct feed_segment *s, sqlite3_stmt *q, const struct feed_post *p,
                      struct feed_place *at, bool *some, struct error *e)
{
    int found = 0, rc;
    *some = false;
    while ((rc = sqlite3_step(q)) == SQLITE_ROW) {
        *some = true;
        struct feed_slice id = feed_sql_slice(q, 1);
        if (id.n != p->id.n || memcmp(id.s, p->id.s, id.n) != 0 ||
            sqlite3_column_int(q, 2) != (int)p->service)
            continue;
        at->seq = sqlite3_column_int64(q, 0);
        at->edited_ms = sqlite3_column_int64(q, 3);
        found = 1;
        break;
    }
    if (rc != SQLITE_ROW && rc != SQLITE_DONE) found = feed_sql_error(s->db, s->path, e);
    sqlite3_reset(q);
    return found;
}

int feed_segment_find(struct feed_segment *s, uint64_t key, const struct feed_post *p,
                      struct feed_place *at, struct error *e)
{
    sqlite3_stmt *q;
    bool some;
    if (s->placed) {
        const int64_t *seq = feed_keys_at(&s->places, key, false);
        if (!seq) return 0;
        TRY(feed_segment_query(s, FEED_Q_PLACED, &q, e));
        sqlite3_bind_int64(q, 1, (int64_t)key);
        sqlite3_bind_int64(q, 2, *seq);
        int found = find_among(s, q, p, at, &some, e);
        /* nothing there: it has vanished; another post of the same key: both are looked for */
        if (found != 0 || !some) return found;
    }
    TRY(feed_segment_query(s, FEED_Q_FIND, &q, e));
    sqlite3_bind_int64(q, 1, (int64_t)key);
    return find_among(s, q, p, at, &some, e);
}

static void read_refs(struct feed_slice refs, struct feed_post *p)
{
    struct feed_slice *to[] = {&p->reply_to, &p->reply_user,   &p->repost_of,
                               &p->quote_of, &p->conversation, &p->urls};
    if (refs.n == 0) return;
    char *s = refs.s, *end = refs.s + refs.n;
    for (size_t i = 0; i < ARRAY_LEN(to); i++) {
        char *sep = memchr(s, REFS_SEP, (size_t)(end - s));
        *to[i] = (struct feed_slice){s, (size_t)((sep ? sep : end) - s)};
        if (!sep) break;
        s = sep + 1;
    }
}

void feed_row_post(sqlite3_stmt *q, int at, struct feed_post *p)
{
    *p = (struct feed_post){
        .service = (enum feed_service)sqlite3_column_int(q, at + 2),
        .flags = (unsigned)sqlite3_column_int(q, at + 3),
        .created_ms = feed_ms_of_seq(sqlite3_column_int64(q, at)),
        .edited_ms = sqlite3_column_int64(q, at + 15),
        .likes = sqlite3_column_int64(q, at + 10),
        .reposts = sqlite3_column_int64(q, at + 11),
        .replies = sqlite3_column_int64(q, at + 12),
        .quotes = sqlite3_column_int64(q, at + 13),
        .followers = sqlite3_column_int64(q, at + 14),
        .id = feed_sql_slice(q, at + 4),
        .author_id = feed_sql_slice(q, at + 5),
        .author = feed_sql_slice(q, at + 6),
        .name = feed_sql_slice(q, at + 7),
        .lang = feed_sql_slice(q, at + 8),
        .text = feed_sql_slice(q, at + 9),
    };
    if (p->service >= FEED_N_SERVICES) p->service = FEED_OTHER;
    read_refs(feed_sql_slice(q, at + 16), p);
}

void feed_row_text(sqlite3_stmt *q, struct feed_post *p)
{
    *p = (struct feed_post){
        .created_ms = feed_ms_of_seq(sqlite3_column_int64(q, 0)),
        .text = feed_sql_slice(q, 1),
        .likes = sqlite3_column_int64(q, 2),
        .reposts = sqlite3_column_int64(q, 3),
        .replies = sqlite3_column_int64(q, 4),
        .quotes = sqlite3_column_int64(q, 5),
        .followers = sqlite3_column_int64(q, 6),
    };
}

/* The references in one column, in the order of read_refs; empty where there are none. */
static struct feed_slice join_refs(const struct feed_post *p, char *buf, size_t cap)
{
    const struct feed_slice from[] = {p->reply_to, p->reply_user,   p->repost_of,
                                      p->quote_of, p->conversation, p->urls};
    size_t n = 0, last = 0;
    for (size_t i = 0; i < ARRAY_LEN(from); i++) {
        if (i) buf[n++] = REFS_SEP;
        size_t k = MIN(from[i].n, cap / ARRAY_LEN(from) - 2);
        if (i + 1 == ARRAY_LEN(from)) k = MIN(from[i].n, cap - n - 1);
        if (k) memcpy(buf + n, from[i].s, k);
        n += k;
        if (k) last = n;
    }
    return (struct feed_slice){buf, last};
}

static int put_row(struct feed_segment *s, const struct feed_post *p, uint64_t key, int64_t *seq,
                   struct error *e)
{
    char refs[20000];
    sqlite3_stmt *q;
    TRY(feed_segment_query(s, FEED_Q_INSERT, &q, e));
    const int64_t numbers[] = {p->likes,  p->reposts,   p->replies,
                               p->quotes, p->followers, p->edited_ms};
    sqlite3_bind_int64(q, 2, (int64_t)key);
    sqlite3_bind_int(q, 3, (int)p->service);
    sqlite3_bind_int(q, 4, (int)p->flags);
    feed_sql_bind(q, 5, p->id);
    feed_sql_bind(q, 6, p->author_id);
    feed_sql_bind(q, 7, p->author);
    feed_sql_bind(q, 8, p->name);
    feed_sql_bind(q, 9, p->lang);
    feed_sql_bind(q, 10, p->text);
    for (int i = 0; i < 6; i++)
        sqlite3_bind_int64(q, 11 + i, numbers[i]);
    feed_sql_bind(q, 17, join_refs(p, refs, sizeof(refs)));
    for (;; ++*seq) { /* another post of this moment may have the place */
        sqlite3_bind_int64(q, 1, *seq);
        int rc = sqlite3_step(q);
        sqlite3_reset(q);
        if (rc == SQLITE_DONE) return 0;
        if ((rc & 0xff) != SQLITE_CONSTRAINT) return feed_sql_error(s->db, s->path, e);
    }
}

int feed_segment_insert(struct feed_segment *s, const struct feed_post *p, uint64_t key,
                        struct feed_slice terms, int64_t *seq, struct error *e)
{
    sqlite3_stmt *q;
    TRY(put_row(s, p, key, seq, e));
    if (s->placed) *feed_keys_at(&s->places, key, true) = *seq;
    TRY(feed_segment_query(s, FEED_Q_INDEX, &q, e));
    sqlite3_bind_int64(q, 1, *seq);
    sqlite3_bind_text(q, 2, terms.n ? terms.s : "", (int)terms.n, SQLITE_STATIC);
    return feed_segment_run(s, FEED_Q_INDEX, e);
}

static int set_touched(struct feed_segment *s, struct error *e)
{
    sqlite3_stmt *q;
    TRY(feed_segment_query(s, FEED_Q_MARK, &q, e));
    sqlite3_bind_text(q, 1, "touched", -1, SQLITE_STATIC);
    sqlite3_bind_int(q, 2, 1);
    return feed_segment_run(s, FEED_Q_MARK, e);
}

int feed_segment_remove(struct feed_segment *s, int64_t seq, struct error *e)
{
    sqlite3_stmt *get, *q;
    struct feed_post p;
    struct feed_terms t = {0};
    TRY(feed_segment_query(s, FEED_Q_GET, &get, e));
    TRY(feed_segment_query(s, FEED_Q_UNINDEX, &q, e));
    sqlite3_bind_int64(get, 1, seq);
    int rc = sqlite3_step(get);
    if (rc != SQLITE_ROW) {
        sqlite3_reset(get);
        return rc == SQLITE_DONE ? 0 : feed_sql_error(s->db, s->path, e);
    }
    feed_row_post(get, 0, &p);
    feed_terms_of_post(&t, &p);
    sqlite3_bind_int64(q, 1, seq);
    sqlite3_bind_text(q, 2, t.text.len ? t.text.data : "", (int)t.text.len, SQLITE_STATIC);
    rc = feed_segment_run(s, FEED_Q_UNINDEX, e);
    sqlite3_reset(get);
    feed_terms_fini(&t);
    TRY(rc);
    TRY(feed_segment_query(s, FEED_Q_DELETE, &q, e));
    sqlite3_bind_int64(q, 1, seq);
    TRY(feed_segment_run(s, FEED_Q_DELETE, e));
    TRY(set_touched(s, e));
    return 1;
}

int feed_segment_term(struct feed_segment *s, const char *term, int64_t **out, size_t *n,
                      struct error *e)
{
    sqlite3_stmt *q;
    size_t cap = 0;
    int rc;
    *out = NULL;
    *n = 0;
    TRY(feed_sql_prepare(s->db, s->path, "SELECT rowid FROM terms WHERE terms MATCH ?1", &q, e));
    char *quoted = sqlite3_mprintf("\"%w\"", term);
    sqlite3_bind_text(q, 1, quoted, -1, SQLITE_STATIC);
    while ((rc = sqlite3_step(q)) == SQLITE_ROW) {
        if (*n == cap) {
            cap = cap ? 2 * cap : 64;
            *out = mem_realloc(*out, cap * sizeof(**out));
        }
        (*out)[(*n)++] = sqlite3_column_int64(q, 0);
    }
    if (rc != SQLITE_DONE) feed_sql_error(s->db, s->path, e);
    sqlite3_finalize(q);
    sqlite3_free(quoted);
    return rc == SQLITE_DONE ? 0 : ERROR_FAILED;
}

/* ------------------------------------------------------------------ keys and seal */

static int fill_filter(sqlite3 *db, const char *path, struct feed_filter *f, struct error *e)
{
    sqlite3_stmt *q;
    int rc;
    TRY(feed_sql_prepare(db, path, "SELECT key FROM posts INDEXED BY posts_key", &q, e));
    while ((rc = sqlite3_step(q)) == SQLITE_ROW)
        feed_filter_add(f, (uint64_t)sqlite3_column_int64(q, 0));
    if (rc != SQLITE_DONE) feed_sql_error(db, path, e);
    sqlite3_finalize(q);
    return rc == SQLITE_DONE ? 0 : ERROR_FAILED;
}

static int read_places(struct feed_segment *s, uint64_t room, struct error *e)
{
    sqlite3_stmt *q;
    int rc;
    feed_filter_init(&s->filter, room);
    TRY(feed_sql_prepare(s->db, s->path, "SELECT seq, key FROM posts", &q, e));
    for (s->posts = 0; (rc = sqlite3_step(q)) == SQLITE_ROW; s->posts++) {
        uint64_t key = (uint64_t)sqlite3_column_int64(q, 1);
        feed_filter_add(&s->filter, key);
        *feed_keys_at(&s->places, key, true) = sqlite3_column_int64(q, 0);
    }
    s->placed = true;
    if (rc != SQLITE_DONE) feed_sql_error(s->db, s->path, e);
    sqlite3_finalize(q);
    return rc == SQLITE_DONE ? 0 : ERROR_FAILED;
}

int feed_segment_read_keys(struct feed_segment *s, uint64_t room, struct error *e)
{
    sqlite3_stmt *q;
    TRY(feed_segment_open(s, true, e));
    if (s->state != FEED_SEGMENT_SEALED) return read_places(s, room, e);
    TRY(feed_sql_prepare(s->db, s->path, "SELECT value FROM meta WHERE name='filter'", &q, e));
    int rc = sqlite3_step(q);
    size_t n = rc == SQLITE_ROW ? (size_t)sqlite3_column_bytes(q, 0) : 0;
    if (n && n % 64 == 0) {
        s->filter.blocks = n / 64;
        s->filter.words = mem_alloc(n);
        memcpy(s->filter.words, sqlite3_column_blob(q, 0), n);
    }
    sqlite3_finalize(q);
    if (s->filter.blocks) return 0;
    feed_filter_init(&s->filter, room);
    return fill_filter(s->db, s->path, &s->filter, e);
}

static int write_filter(sqlite3 *db, const char *path, struct error *e)
{
    struct feed_filter f;
    sqlite3_stmt *q;
    int64_t posts;
    TRY(feed_sql_int(db, path, "SELECT count(*) FROM posts", &posts, e));
    feed_filter_init(&f, (uint64_t)posts);
    int rc = fill_filter(db, path, &f, e);
    if (rc >= 0)
        rc = feed_sql_prepare(db, path, "INSERT OR REPLACE INTO meta VALUES('filter',?)", &q, e);
    if (rc >= 0) {
        sqlite3_bind_blob64(q, 1, f.words, f.blocks * 64, SQLITE_STATIC);
        if (sqlite3_step(q) != SQLITE_DONE) rc = feed_sql_error(db, path, e);
        sqlite3_finalize(q);
    }
    feed_filter_fini(&f);
    return rc;
}

int feed_segment_count(sqlite3 *db, const char *path, struct error *e)
{
    char text[512];
    snprintf(text, sizeof(text),
             "CREATE VIRTUAL TABLE IF NOT EXISTS temp.vocabulary USING fts5vocab(main, terms, row);"
             "BEGIN IMMEDIATE; DELETE FROM df;"
             "INSERT INTO df SELECT term, doc FROM vocabulary WHERE doc >= %d"
             " OR (doc >= %d AND instr(term, ':') = 0);" /* facts have a colon */
             "INSERT INTO df SELECT '', count(*) FROM posts;",
             FEED_DF_MIN, FEED_DF_TEXT);
    return feed_sql_exec(db, path, text, e);
}

int feed_segment_seal(const char *path, struct error *e)
{
    sqlite3 *db;
    TRY(feed_sql_open(path, true, &db, e));
    int rc = feed_sql_exec(db, path, "CREATE INDEX IF NOT EXISTS posts_key ON posts(key)", e);
    if (rc >= 0) rc = feed_sql_exec(db, path, "INSERT INTO terms(terms) VALUES('optimize')", e);
    if (rc >= 0) rc = feed_segment_count(db, path, e);
    if (rc >= 0) rc = write_filter(db, path, e);
    if (rc >= 0) rc = feed_sql_exec(db, path, "COMMIT; PRAGMA wal_checkpoint(TRUNCATE);", e);
    sqlite3_close(db);
    return rc;
}
