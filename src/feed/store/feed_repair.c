/* feed_repair.c: a store whose files are damaged: which of them, and how the rest goes on.
 *
 * A segment is a file of its own. One that is missing, or that SQLite cannot read whole, is put aside
 * as PATH.damaged and leaves the list, so that the others are searched and filled again. Where
 * store.db cannot be read it is put aside too, and the list is made anew from the segments that lie in
 * the folder: what else it held (deletions and authors who are gone, gaps, what is kept how long) is
 * lost, which the report says. */
#include "feed/store/feed_store_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static const char *const store_tables[] = {"settings", "segments", "gone", "gaps", NULL};
static const char *const segment_tables[] = {"posts", "terms_data", "pending", "meta", "df", NULL};

/* Whether the file is a whole database with these tables; *why, static or in *a, where it is none. */
static bool is_sound(const char *path, const char *const *tables, struct arena *a, const char **why)
{
    struct error e = {0};
    sqlite3 *db = NULL;
    sqlite3_stmt *q;
    *why = "it is not there";
    if (!file_exists(path)) return false;
    int rc = feed_sql_open(path, true, &db, &e);
    for (size_t i = 0; rc >= 0 && tables[i]; i++) {
        int64_t some;
        rc = feed_sql_int(
            db, path, arena_printf(a, "SELECT count(*) FROM (SELECT 1 FROM %s LIMIT 1)", tables[i]),
            &some, &e);
    }
    if (rc >= 0) rc = feed_sql_prepare(db, path, "PRAGMA integrity_check(1)", &q, &e);
    if (rc >= 0) {
        int step = sqlite3_step(q);
        struct feed_slice line = step == SQLITE_ROW ? feed_sql_slice(q, 0) : (struct feed_slice){0};
        if (step == SQLITE_ROW && !feed_is(line, "ok"))
            rc = error_set(&e, "'%s': %.*s", path, (int)MIN(line.n, (size_t)200), line.s);
        int ended = feed_sql_end(db, path, q, step, rc < 0 ? NULL : &e);
        if (rc >= 0) rc = ended;
    }
    sqlite3_close(db);
    *why = rc < 0 ? arena_strdup(a, e.text) : NULL;
    return rc >= 0;
}

/* PATH and its logs become PATH.damaged, or PATH.damaged.2 where there is one. */
static int put_aside(const char *path, struct arena *a, const char **to, struct error *e)
{
    static const char *const logs[] = {"-wal", "-shm"};
    *to = arena_printf(a, "%s.damaged", path);
    for (int i = 2; file_exists(*to) && i < 1000; i++)
        *to = arena_printf(a, "%s.damaged.%d", path, i);
    if (file_exists(path)) TRY(file_rename(path, *to, e));
    for (size_t i = 0; i < ARRAY_LEN(logs); i++) {
        const char *log = arena_printf(a, "%s%s", path, logs[i]);
        if (file_exists(log)) TRY(file_rename(log, arena_printf(a, "%s%s", *to, logs[i]), e));
    }
    return 0;
}

/* The number of "seg-000012.db"; 0: it is none. */
static int64_t number_of(const char *name)
{
    int64_t n = 0;
    size_t size = strlen(name);
    if (size < 13 || strncmp(name, "seg-", 4) != 0 || strcmp(name + size - 3, ".db") != 0) return 0;
    for (size_t i = 4; i < size - 3; i++) {
        if (name[i] < '0' || name[i] > '9' || n > 1000000000) return 0;
        n = n * 10 + (name[i] - '0');
    }
    return n;
}

int feed_segments_in(const char *dir, struct arena *a, int64_t **out, size_t *n, struct error *e)
{
    char **names;
    size_t count;
    *n = 0;
    TRY(file_list_dir(dir, a, &names, &count, e));
    *out = arena_alloc(a, (count + 1) * sizeof(**out));
    for (size_t i = 0; i < count; i++) {
        int64_t number = number_of(names[i]);
        size_t at = *n; /* by number: names of more than six digits are sorted otherwise */
        if (number == 0) continue;
        for (; at > 0 && (*out)[at - 1] > number; at--)
            (*out)[at] = (*out)[at - 1];
        (*out)[at] = number;
        ++*n;
    }
    return 0;
}

/* What the file says of itself: sealed where its keys are indexed and its terms counted. */
static int state_of(const char *path, bool last, enum feed_segment_state *state, struct error *e)
{
    sqlite3 *db;
    int64_t sealed = 0;
    TRY(feed_sql_open(path, true, &db, e));
    int rc = feed_sql_int(db, path,
                          "SELECT (SELECT count(*) FROM sqlite_master WHERE name='posts_key') AND"
                          " (SELECT count(*) FROM df WHERE term='')",
                          &sealed, e);
    sqlite3_close(db);
    *state = sealed ? FEED_SEGMENT_SEALED : last ? FEED_SEGMENT_OPEN : FEED_SEGMENT_FULL;
    return rc;
}

/* store.db is put aside and made anew; the segments of the folder are its list. */
static int make_list(const char *dir, struct arena *a, struct feed_verify *v, struct error *e)
{
    const char *path = file_join(a, dir, "store.db"), *to;
    struct feed_manifest m;
    int64_t *numbers;
    size_t n;
    TRY(put_aside(path, a, &to, e));
    TRY(feed_segments_in(dir, a, &numbers, &n, e));
    TRY(feed_manifest_make(&m, dir, e));
    int rc = 0;
    for (size_t i = 0; i < n && rc >= 0; i++) {
        const char *why,
            *segment = file_join(a, dir, arena_printf(a, "seg-%06lld.db", (long long)numbers[i]));
        enum feed_segment_state state = FEED_SEGMENT_FULL;
        if (is_sound(segment, segment_tables, a, &why))
            rc = state_of(segment, i + 1 == n, &state, e);
        if (rc >= 0) rc = feed_manifest_state(&m, numbers[i], state, e);
    }
    feed_manifest_close(&m);
    str_printf(&v->report,
               "the list of segments is made anew from %zu files; which posts were deleted, gaps "
               "and what is kept how long are not known any more%s%s\n",
               n, file_exists(to) ? "; the old one lies in " : "", file_exists(to) ? to : "");
    return rc;
}

/* Looks at each segment of the list; with `repair` what is damaged leaves it. */
static int look_through(const char *dir, bool repair, struct arena *a, struct feed_verify *v,
                        struct error *e)
{
    struct feed_manifest m;
    TRY(feed_manifest_open(&m, dir, true, e));
    int rc = 0;
    for (size_t i = m.n; i-- > 0 && rc >= 0;) {
        const char *why, *to, *path = arena_strdup(a, m.segments[i].path);
        char text[128];
        if (is_sound(path, segment_tables, a, &why)) continue;
        v->damaged++;
        if (!repair) {
            str_printf(&v->report, "%s is damaged: %s\n", path, why);
            continue;
        }
        rc = put_aside(path, a, &to, e);
        snprintf(text, sizeof(text), "DELETE FROM segments WHERE n=%lld",
                 (long long)m.segments[i].n);
        if (rc >= 0) rc = feed_sql_exec(m.db, m.path, text, e);
        str_printf(&v->report, "%s leaves the store: %s%s%s\n", path, why,
                   file_exists(to) ? "; it lies in " : "", file_exists(to) ? to : "");
    }
    feed_manifest_close(&m);
    return rc;
}

int feed_store_look(const char *dir, bool repair, struct feed_verify *v, struct error *e)
{
    struct arena a = {0};
    const char *why, *path = file_join(&a, dir, "store.db");
    int64_t *numbers;
    size_t n = 0;
    int rc = feed_segments_in(dir, &a, &numbers, &n, e);
    if (rc >= 0 && n == 0 && !file_exists(path)) {
        rc = error_set(e, "there is no store of posts in '%s'", dir);
    } else if (rc >= 0 && !is_sound(path, store_tables, &a, &why)) {
        v->damaged++;
        if (repair)
            rc = make_list(dir, &a, v, e);
        else
            str_printf(&v->report, "%s is damaged: %s\n", path, why);
        if (!repair) {
            arena_fini(&a);
            return 0;
        }
    }
    if (rc >= 0) rc = look_through(dir, repair, &a, v, e);
    arena_fini(&a);
    return rc;
}
