/* feed_answers.c: answers that were kept, and end with the posts that they cite.
 *
 *   answers.db  answers  id INTEGER PRIMARY KEY, asked_ms, question, body: the answer as JSON with the
 *                        posts that it cites and no other; NULL once it has expired, with expired_ms
 *               cited    answer, place, service, id, hash: a post that it cites, its seq and its text
 *
 * Whenever answers are read, each post that they cite is looked for in the store: one that is not
 * there, or says something else, expires the answer then and there, and its text is written over
 * (secure_delete). So an answer is gone as soon as the deletion of a source is committed, and
 * `feed vacuum` looks through all of them, so that nothing of a deleted post stays in this file. */
#include "feed/ask/feed_ask_internal.h"

#include <xxhash.h>

static const char *const schema =
    "PRAGMA secure_delete=ON;"
    "CREATE TABLE IF NOT EXISTS answers(id INTEGER PRIMARY KEY AUTOINCREMENT, asked_ms INTEGER,"
    " question TEXT, body TEXT, expired_ms INTEGER);"
    "CREATE TABLE IF NOT EXISTS cited(answer INTEGER, place INTEGER, service INTEGER, id TEXT,"
    " hash INTEGER);"
    "CREATE INDEX IF NOT EXISTS cited_answer ON cited(answer);";

struct answers {
    sqlite3 *db;
    char *path;
};

static int open_answers(struct answers *x, const char *dir, struct error *e)
{
    struct arena a = {0};
    x->db = NULL;
    x->path = mem_strdup(file_join(&a, dir, "answers.db"));
    arena_fini(&a);
    int rc = feed_sql_open(x->path, true, &x->db, e);
    if (rc >= 0) rc = feed_sql_exec(x->db, x->path, schema, e);
    return rc;
}

static void close_answers(struct answers *x)
{
    sqlite3_close(x->db);
    mem_free(x->path);
    *x = (struct answers){0};
}

static int64_t hash_of(const struct feed_post *p)
{
    return (int64_t)XXH3_64bits(p->text.n ? p->text.s : "", p->text.n);
}

static int step(struct answers *x, sqlite3_stmt *q, struct error *e)
{
    int rc = sqlite3_step(q) == SQLITE_DONE ? 0 : feed_sql_error(x->db, x->path, e);
    sqlite3_finalize(q);
    return rc;
}

/* ------------------------------------------------------------------ in */

static int put_cited(struct answers *x, const struct feed_reply *r, int64_t id, struct error *e)
{
    for (size_t i = 0; i < r->n_sources; i++) {
        const struct feed_source *s = &r->sources[i];
        sqlite3_stmt *q;
        if (!s->cited) continue;
        TRY(feed_sql_prepare(x->db, x->path, "INSERT INTO cited VALUES(?,?,?,?,?)", &q, e));
        sqlite3_bind_int64(q, 1, id);
        sqlite3_bind_int64(q, 2, s->place);
        sqlite3_bind_int(q, 3, (int)s->post.service);
        feed_sql_bind(q, 4, s->post.id);
        sqlite3_bind_int64(q, 5, hash_of(&s->post));
        TRY(step(x, q, e));
    }
    return 0;
}

/* The answer without what it does not cite. */
static char *body_of(const struct feed_reply *r)
{
    json_t *j = feed_reply_json(r), *sources = json_object_get(j, "sources");
    json_object_del(j, "sentences");
    json_object_del(j, "queries");
    for (size_t i = json_array_size(sources); i-- > 0;)
        if (!json_is_true(json_object_get(json_array_get(sources, i), "cited")))
            json_array_remove(sources, i);
    char *text = json_dumps(j, JSON_COMPACT);
    CHECK(text != NULL);
    json_decref(j);
    return text;
}

static int put_answer(struct answers *x, const struct feed_reply *r, int64_t *id, struct error *e)
{
    sqlite3_stmt *q;
    TRY(feed_sql_prepare(x->db, x->path,
                         "INSERT INTO answers(asked_ms, question, body) VALUES(?,?,?)", &q, e));
    char *body = body_of(r);
    sqlite3_bind_int64(q, 1, r->asked_ms);
    sqlite3_bind_text(q, 2, r->question, -1, SQLITE_STATIC);
    sqlite3_bind_text(q, 3, body, -1, SQLITE_STATIC);
    int rc = step(x, q, e);
    mem_free(body);
    TRY(rc);
    *id = sqlite3_last_insert_rowid(x->db);
    return put_cited(x, r, *id, e);
}

int feed_reply_keep(const char *dir, const struct feed_reply *r, int64_t *id, struct error *e)
{
    struct answers x;
    *id = 0;
    int rc = open_answers(&x, dir, e);
    if (rc >= 0) rc = feed_sql_exec(x.db, x.path, "BEGIN IMMEDIATE", e);
    if (rc >= 0) {
        rc = put_answer(&x, r, id, e);
        int ended = feed_sql_exec(x.db, x.path, rc < 0 ? "ROLLBACK" : "COMMIT", rc < 0 ? NULL : e);
        if (rc >= 0) rc = ended;
    }
    close_answers(&x);
    return rc;
}

/* ------------------------------------------------------------------ out */

/* Whether the posts that the answer cites are there and say what they said. 1, 0 or negative. */
static int holds(struct answers *x, feed_store_t *s, int64_t id, struct error *e)
{
    sqlite3_stmt *q;
    int rc = SQLITE_DONE, good = 1;
    TRY(feed_sql_prepare(x->db, x->path,
                         "SELECT place, service, id, hash FROM cited WHERE answer=?", &q, e));
    sqlite3_bind_int64(q, 1, id);
    while (good > 0 && (rc = sqlite3_step(q)) == SQLITE_ROW) {
        struct feed_post p = {.service = (enum feed_service)sqlite3_column_int(q, 1),
                              .id = feed_sql_slice(q, 2)};
        int64_t hash;
        good = feed_store_post_hash(s, sqlite3_column_int64(q, 0), &p, &hash, e);
        if (good > 0) good = hash == sqlite3_column_int64(q, 3);
    }
    TRY(feed_sql_end(x->db, x->path, q, rc, e));
    return good;
}

static int expire(struct answers *x, int64_t id, struct error *e)
{
    sqlite3_stmt *q;
    TRY(feed_sql_prepare(x->db, x->path, "UPDATE answers SET body=NULL, expired_ms=?2 WHERE id=?1",
                         &q, e));
    sqlite3_bind_int64(q, 1, id);
    sqlite3_bind_int64(q, 2, feed_now_ms());
    TRY(step(x, q, e));
    TRY(feed_sql_prepare(x->db, x->path, "DELETE FROM cited WHERE answer=?", &q, e));
    sqlite3_bind_int64(q, 1, id);
    return step(x, q, e);
}

/* Of the newest `limit` answers those that do not hold any more expire; *n of them. */
static int sweep(struct answers *x, feed_store_t *s, int64_t limit, uint64_t *n, struct error *e)
{
    sqlite3_stmt *q;
    int64_t *ids = mem_calloc((size_t)limit + 1, sizeof(*ids));
    size_t count = 0;
    int rc = feed_sql_prepare(
        x->db, x->path, "SELECT id, body IS NOT NULL FROM answers ORDER BY id DESC LIMIT ?", &q, e);
    if (rc >= 0) {
        int step;
        sqlite3_bind_int64(q, 1, limit);
        while ((step = sqlite3_step(q)) == SQLITE_ROW && count < (size_t)limit)
            if (sqlite3_column_int(q, 1)) ids[count++] = sqlite3_column_int64(q, 0);
        rc = feed_sql_end(x->db, x->path, q, step, e);
    }
    for (size_t i = 0; i < count && rc >= 0; i++) {
        int good = holds(x, s, ids[i], e);
        rc = good == 0 ? expire(x, ids[i], e) : good;
        *n += good == 0;
    }
    mem_free(ids);
    return rc < 0 ? rc : 0;
}

/* A row as JSON, appended to *all; an error where it is not what was written. */
static int put_row(const struct answers *x, sqlite3_stmt *q, json_t *all, struct error *e)
{
    struct feed_slice body = feed_sql_slice(q, 3), asked = feed_sql_slice(q, 2);
    const bool expired = sqlite3_column_type(q, 3) == SQLITE_NULL;
    const long long id = sqlite3_column_int64(q, 0);
    json_t *j = expired ? json_object() : json_loadb(body.n ? body.s : "", body.n, 0, NULL);
    json_t *question = json_stringn(asked.n ? asked.s : "", asked.n);
    if (!json_is_object(j) || !question) {
        json_decref(j);
        json_decref(question);
        error_set(e, "'%s': answer %lld is not what was kept", x->path, id);
        return error_hint(e, "%s", feed_sql_cure(x->path));
    }
    json_object_set_new(j, "expired", json_boolean(expired));
    json_object_set_new(j, "id", json_integer((json_int_t)id));
    json_object_set_new(j, "question", question);
    json_object_set_new(j, "asked_ms", json_integer((json_int_t)sqlite3_column_int64(q, 1)));
    if (expired)
        json_object_set_new(j, "expired_ms", json_integer((json_int_t)sqlite3_column_int64(q, 4)));
    json_array_append_new(all, j);
    return 0;
}

static bool there_are_answers(const char *dir)
{
    struct arena a = {0};
    bool there = file_exists(file_join(&a, dir, "answers.db"));
    arena_fini(&a);
    return there;
}

int feed_replies(feed_store_t *s, int64_t limit, json_t **out, struct error *e)
{
    struct answers x;
    sqlite3_stmt *q;
    uint64_t expired = 0;
    const char *dir = s->m.dir;
    *out = json_array();
    if (!there_are_answers(dir)) return 0;
    int rc = open_answers(&x, dir, e);
    if (rc >= 0) rc = feed_manifest_refresh(&s->m, e);
    if (rc >= 0) rc = sweep(&x, s, limit, &expired, e);
    if (rc >= 0)
        rc = feed_sql_prepare(x.db, x.path,
                              "SELECT id, asked_ms, question, body, expired_ms FROM answers"
                              " ORDER BY id DESC LIMIT ?",
                              &q, e);
    if (rc >= 0) {
        int step = SQLITE_DONE;
        sqlite3_bind_int64(q, 1, limit);
        while (rc >= 0 && (step = sqlite3_step(q)) == SQLITE_ROW)
            rc = put_row(&x, q, *out, e);
        int ended = feed_sql_end(x.db, x.path, q, step, rc < 0 ? NULL : e);
        if (rc >= 0) rc = ended;
    }
    close_answers(&x);
    if (rc >= 0) return 0;
    json_decref(*out);
    *out = NULL;
    return rc;
}

/* ------------------------------------------------------------------ sources that somebody else keeps */

/* "STORE.PLACE.HASH.SERVICE.ID", the first three in hexadecimal digits. */
void feed_source_version(const struct feed_reply *x, size_t i, struct str *out)
{
    const struct feed_source *s = &x->sources[i];
    out->len = 0;
    str_reserve(out, 1);
    out->data[0] = '\0';
    if (!x->store || s->post.id.n == 0 || memchr(s->post.id.s, '\0', s->post.id.n)) return;
    str_printf(out, "%016llx.%016llx.%016llx.%s.%.*s", (unsigned long long)x->store,
               (unsigned long long)s->place, (unsigned long long)hash_of(&s->post),
               feed_service_names[s->post.service], (int)s->post.id.n, s->post.id.s);
}

struct version {
    struct feed_post post;
    uint64_t number[3]; /* store, place, hash */
};

static bool read_version(const char *text, struct version *v)
{
    for (int i = 0; i < 3; i++, text += 17) {
        if (strspn(text, "0123456789abcdef") != 16 || text[16] != '.') return false;
        v->number[i] = strtoull(text, NULL, 16);
    }
    size_t n = strcspn(text, "."), service = 0;
    const char *name;
    while ((name = feed_service_names[service]) &&
           (strlen(name) != n || memcmp(name, text, n) != 0))
        service++;
    if (!name || text[n] != '.' || !text[n + 1]) return false;
    v->post = (struct feed_post){.service = (enum feed_service)service};
    v->post.id = (struct feed_slice){(char *)(uintptr_t)(text + n + 1), strlen(text + n + 1)};
    return true;
}

int feed_sources_gone(feed_store_t *s, const json_t *versions, json_t **out, struct error *e)
{
    json_t *gone = json_array();
    int rc = feed_manifest_refresh(&s->m, e);
    for (size_t i = 0; i < json_array_size(versions) && rc >= 0; i++) {
        json_t *one = json_array_get(versions, i);
        struct version v;
        int64_t hash;
        if (!json_is_string(one) || !read_version(json_string_value(one), &v)) {
            error_set_code(e, ERROR_USAGE, "source %zu is not the 'version' of a source", i + 1);
            rc = ERROR_USAGE;
            break;
        }
        if (v.number[0] != s->m.identity) continue;
        rc = feed_store_post_hash(s, (int64_t)v.number[1], &v.post, &hash, e);
        if (rc == 0 || (rc > 0 && hash != (int64_t)v.number[2])) json_array_append(gone, one);
    }
    if (rc < 0) {
        json_decref(gone);
        return rc;
    }
    *out = gone;
    return 0;
}

int feed_replies_sweep(const char *dir, uint64_t *expired, struct error *e)
{
    struct answers x;
    feed_store_t *s;
    *expired = 0;
    if (!there_are_answers(dir)) return 0;
    TRY(feed_store_open(dir, &s, e));
    int64_t n = 0;
    int rc = open_answers(&x, dir, e);
    if (rc >= 0) rc = feed_sql_int(x.db, x.path, "SELECT count(*) FROM answers", &n, e);
    if (rc >= 0) rc = sweep(&x, s, n, expired, e);
    if (rc >= 0) rc = feed_sql_exec(x.db, x.path, "VACUUM", e);
    close_answers(&x);
    feed_store_close(s);
    return rc;
}
