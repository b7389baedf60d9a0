/* feed_sql.c: SQLite opened as stores need it, with the tokenizer of their index: it splits at
 * blanks, and nothing else, what feed/words made. */
#include "feed/store/feed_store_internal.h"

#include <pthread.h>

const char *feed_sql_cure(const char *path)
{
    const char *name = file_base_name(path);
    if (strcmp(name, "answers.db") == 0)
        return "the file is damaged; without it ('mv' it away) only the kept answers are lost, no "
               "post is";
    if (strcmp(name, "store.db") == 0)
        return "the list of the store's segments is damaged: put a copy of it back, or 'colossus "
               "feed verify STORE --repair' makes it anew without its deletions";
    return "the segment is damaged: 'colossus feed verify STORE --repair' puts it aside, and the "
           "others are searched and filled again";
}

int feed_sql_error(sqlite3 *db, const char *path, struct error *e)
{
    int rc = sqlite3_extended_errcode(db) & 0xff;
    error_set(e, "'%s': %s", path, sqlite3_errmsg(db));
    if (rc == SQLITE_CORRUPT || rc == SQLITE_NOTADB || rc == SQLITE_ERROR ||
        (rc == SQLITE_CANTOPEN && !file_exists(path)))
        return error_hint(e, "%s", feed_sql_cure(path));
    if (rc == SQLITE_FULL) return error_hint(e, "the disk is full");
    return e ? e->code : ERROR_FAILED;
}

int feed_sql_end(sqlite3 *db, const char *path, sqlite3_stmt *q, int step, struct error *e)
{
    bool bad = step != SQLITE_ROW && step != SQLITE_DONE;
    if (bad) feed_sql_error(db, path, e);
    sqlite3_finalize(q);
    return bad ? ERROR_FAILED : 0;
}

static int tokenizer_create(void *ctx, const char **args, int n, Fts5Tokenizer **out)
{
    static char nothing;
    (void)ctx, (void)args, (void)n;
    *out = (Fts5Tokenizer *)(void *)&nothing;
    return SQLITE_OK;
}

static void tokenizer_delete(Fts5Tokenizer *t)
{
    (void)t;
}

static int tokenizer_run(Fts5Tokenizer *t, void *ctx, int flags, const char *text, int n,
                         int (*token)(void *, int, const char *, int, int, int))
{
    (void)t, (void)flags;
    const char *p = text, *end = text + n;
    while (p < end) {
        const char *blank = memchr(p, ' ', (size_t)(end - p));
        if (!blank) blank = end;
        if (blank > p) {
            int rc = token(ctx, 0, p, (int)(blank - p), (int)(p - text), (int)(blank - text));
            if (rc != SQLITE_OK) return rc;
        }
        p = blank + 1;
    }
    return SQLITE_OK;
}

static int add_tokenizer(sqlite3 *db, const char *path, struct error *e)
{
    static fts5_tokenizer tokenizer = {tokenizer_create, tokenizer_delete, tokenizer_run};
    fts5_api *api = NULL;
    sqlite3_stmt *q;
    TRY(feed_sql_prepare(db, path, "SELECT fts5(?1)", &q, e));
    sqlite3_bind_pointer(q, 1, &api, "fts5_api_ptr", NULL);
    sqlite3_step(q);
    sqlite3_finalize(q);
    if (!api || api->xCreateTokenizer(api, "feed", NULL, &tokenizer, NULL) != SQLITE_OK)
        return error_set(e, "this SQLite (%s) was built without FTS5", sqlite3_libversion());
    return 0;
}

/* SQLite counts every allocation under a lock unless it is told not to, before its first use. */
static void configure(void)
{
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

int feed_sql_open(const char *path, bool write, sqlite3 **db, struct error *e)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, configure);
    int flags = write ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY;
    if (sqlite3_open_v2(path, db, flags | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
        if (*db)
            feed_sql_error(*db, path, e);
        else
            error_set(e, "cannot open '%s'", path);
        sqlite3_close(*db);
        *db = NULL;
        return ERROR_FAILED;
    }
    sqlite3_busy_timeout(*db, 30000);
    sqlite3_extended_result_codes(*db, 1);
    int rc = add_tokenizer(*db, path, e);
    if (rc >= 0)
        rc = feed_sql_exec(*db, path,
                           write ? "PRAGMA cache_size=-65536; PRAGMA synchronous=FULL;"
                                   "PRAGMA wal_autocheckpoint=8000; PRAGMA temp_store=MEMORY;"
                                 : "PRAGMA mmap_size=8589934592; PRAGMA cache_size=-8192;"
                                   "PRAGMA temp_store=MEMORY;",
                           e);
    if (rc < 0) {
        sqlite3_close(*db);
        *db = NULL;
    }
    return rc;
}

int feed_sql_exec(sqlite3 *db, const char *path, const char *sql, struct error *e)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : feed_sql_error(db, path, e);
}

int feed_sql_prepare(sqlite3 *db, const char *path, const char *sql, sqlite3_stmt **out,
                     struct error *e)
{
    if (sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL) == SQLITE_OK)
        return 0;
    return feed_sql_error(db, path, e);
}

int feed_sql_int(sqlite3 *db, const char *path, const char *sql, int64_t *out, struct error *e)
{
    sqlite3_stmt *q;
    *out = 0;
    TRY(feed_sql_prepare(db, path, sql, &q, e));
    int rc = sqlite3_step(q);
    if (rc == SQLITE_ROW) *out = sqlite3_column_int64(q, 0);
    bool bad = rc != SQLITE_ROW && rc != SQLITE_DONE;
    if (bad) feed_sql_error(db, path, e);
    sqlite3_finalize(q);
    return bad ? ERROR_FAILED : 0;
}

struct feed_slice feed_sql_slice(sqlite3_stmt *q, int column)
{
    const void *s = sqlite3_column_text(q, column);
    return (struct feed_slice){(char *)(uintptr_t)s, (size_t)sqlite3_column_bytes(q, column)};
}

void feed_sql_bind(sqlite3_stmt *q, int at, struct feed_slice s)
{
    if (s.n)
        sqlite3_bind_text(q, at, s.s, (int)s.n, SQLITE_STATIC);
    else
        sqlite3_bind_null(q, at);
}
