/* feed_writer.c: the writer's two threads and what goes between them.
 *
 * Whoever reads posts makes their terms and packs both into a batch; a thread of the writer applies
 * batches one by one, so that reading and writing share two cores. Three batches exist: one that is
 * packed, one that waits, one that is applied; who is ahead waits, so memory is bounded whatever
 * comes. A third thread merges the index of a segment that is full, on a connection of its own,
 * while the next one is filled.
 *
 * The first error ends the writer: every later call returns it. */
#include "feed/store/feed_store_internal.h"

#include <pthread.h>
#include <unistd.h>

#define N_BATCHES   3
#define BATCH_BYTES ((size_t)48 << 20)

struct feed_writer {
    struct feed_write_options o;
    int lock_fd;
    struct feed_applier applier; /* of the thread; under `guard` where others look */
    struct feed_batch batches[N_BATCHES];
    struct feed_batch *packing;
    struct feed_terms terms;
    uint64_t added; /* calls of feed_writer_add */

    pthread_t thread, sealer;
    pthread_mutex_t guard;
    pthread_cond_t changed;
    struct feed_batch *waiting[N_BATCHES], *idle[N_BATCHES];
    size_t n_waiting, n_idle;
    bool applying, ending, sealing, seal_started, sealed;
    int64_t sealing_n;
    char *sealing_path;
    uint64_t done;
    struct feed_write_counts counts;
    struct error error; /* code 0: none */
};

/* ------------------------------------------------------------------ sealing */

static void *seal(void *ctx)
{
    feed_writer_t *w = ctx;
    struct error e = {0};
    int rc = feed_segment_seal(w->sealing_path, &e);
    pthread_mutex_lock(&w->guard);
    if (rc < 0 && w->error.code == 0) w->error = e;
    w->sealing = false;
    w->sealed = rc >= 0;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->guard);
    return NULL;
}

/* Takes what a sealing left, and begins the next; the writer's thread, without the guard. */
static int look_after_seals(feed_writer_t *w, bool begin, struct error *e)
{
    pthread_mutex_lock(&w->guard);
    bool busy = w->sealing, ended = w->seal_started && !busy, good = w->sealed;
    pthread_mutex_unlock(&w->guard);
    if (busy) return 0;
    if (ended) {
        pthread_join(w->sealer, NULL);
        w->seal_started = false;
        if (good) {
            TRY(feed_manifest_state(&w->applier.m, w->sealing_n, FEED_SEGMENT_SEALED, e));
            TRY(feed_applier_retain(&w->applier, e));
        }
    }
    for (size_t i = 0; begin && i < w->applier.m.n; i++) {
        const struct feed_segment *s = &w->applier.m.segments[i];
        if (s->state != FEED_SEGMENT_FULL) continue;
        mem_free(w->sealing_path);
        w->sealing_path = mem_strdup(s->path);
        w->sealing_n = s->n;
        w->sealing = w->seal_started = true;
        w->sealed = false;
        if (pthread_create(&w->sealer, NULL, seal, w) != 0)
            exit_exhausted("raise the limit on processes", "cannot begin a thread");
        break;
    }
    return 0;
}

static void wait_for_seal(feed_writer_t *w)
{
    pthread_mutex_lock(&w->guard);
    while (w->sealing)
        pthread_cond_wait(&w->changed, &w->guard);
    pthread_mutex_unlock(&w->guard);
}

/* ------------------------------------------------------------------ batches */

static void batch_clear(struct feed_batch *b)
{
    for (size_t i = 0; i < b->n_marks; i++) {
        mem_free(b->marks[i].name);
        mem_free(b->marks[i].value);
    }
    b->used = b->n = b->n_marks = 0;
}

static void *run(void *ctx)
{
    feed_writer_t *w = ctx;
    struct error e = {0};
    mem_alloc_count_skip_thread();
    pthread_mutex_lock(&w->guard);
    for (;;) {
        while (w->n_waiting == 0 && !w->ending)
            pthread_cond_wait(&w->changed, &w->guard);
        if (w->n_waiting == 0) break;
        struct feed_batch *b = w->waiting[0];
        memmove(w->waiting, w->waiting + 1, --w->n_waiting * sizeof(w->waiting[0]));
        bool failed = w->error.code != 0;
        w->applying = true;
        pthread_mutex_unlock(&w->guard);
        int rc = failed ? 0 : feed_apply(&w->applier, b, &e);
        if (!failed && rc >= 0) rc = look_after_seals(w, true, &e);
        size_t n = b->n;
        batch_clear(b);
        pthread_mutex_lock(&w->guard);
        if (rc < 0 && w->error.code == 0) w->error = e;
        if (rc >= 0 && !failed) w->done += n;
        w->counts = w->applier.counts;
        w->counts.segments = w->applier.m.n;
        w->idle[w->n_idle++] = b;
        w->applying = false;
        pthread_cond_broadcast(&w->changed);
    }
    pthread_mutex_unlock(&w->guard);
    return NULL;
}

/* Hands the batch that is packed over, and takes an idle one; waits until there is one. */
static int send(feed_writer_t *w, struct error *e)
{
    pthread_mutex_lock(&w->guard);
    if (w->packing && (w->packing->n || w->packing->n_marks)) {
        w->waiting[w->n_waiting++] = w->packing;
        w->packing = NULL;
        pthread_cond_broadcast(&w->changed);
    }
    while (!w->packing) {
        if (w->n_idle)
            w->packing = w->idle[--w->n_idle];
        else
            pthread_cond_wait(&w->changed, &w->guard);
    }
    int rc = 0;
    if (w->error.code != 0) {
        if (e) *e = w->error;
        rc = w->error.code;
    }
    pthread_mutex_unlock(&w->guard);
    return rc;
}

static void copy(struct feed_batch *b, struct feed_slice *s)
{
    if (s->n == 0) {
        *s = (struct feed_slice){0};
        return;
    }
    char *to = b->data + b->used;
    memcpy(to, s->s, s->n);
    s->s = to;
    b->used += s->n;
}

static size_t size_of(const struct feed_post *p)
{
    return p->id.n + p->author_id.n + p->author.n + p->name.n + p->lang.n + p->text.n +
           p->reply_to.n + p->reply_user.n + p->repost_of.n + p->quote_of.n + p->conversation.n +
           p->urls.n + p->older.n;
}

static void pack(struct feed_batch *b, const struct feed_change *c, struct feed_slice terms)
{
    if (b->n == b->n_cap) {
        b->n_cap = b->n_cap ? 2 * b->n_cap : 1024;
        b->entries = mem_realloc(b->entries, b->n_cap * sizeof(*b->entries));
    }
    struct feed_entry *entry = &b->entries[b->n++];
    *entry = (struct feed_entry){.change = *c, .terms = terms};
    struct feed_post *p = &entry->change.post;
    struct feed_slice *slices[] = {&p->id,        &p->author_id, &p->author,       &p->name,
                                   &p->lang,      &p->text,      &p->reply_to,     &p->reply_user,
                                   &p->repost_of, &p->quote_of,  &p->conversation, &p->urls,
                                   &p->older,     &entry->terms};
    for (size_t i = 0; i < ARRAY_LEN(slices); i++)
        copy(b, slices[i]);
    entry->key = feed_key(p->service, "p", p->id);
    entry->user_key = feed_key(p->service, "u", p->author_id);
    /* room for the posts that are moved behind one of the same place */
    const int64_t low = (1 << FEED_SEQ_BITS) - (1 << 16);
    entry->seq = feed_seq_of_ms(p->created_ms) + (int64_t)(entry->key % (uint64_t)low);
}

int feed_writer_add(feed_writer_t *w, const struct feed_change *c, struct error *e)
{
    struct feed_slice terms = {0};
    if (c->kind == FEED_POST || c->kind == FEED_UPDATE) {
        feed_terms_of_post(&w->terms, &c->post);
        terms = (struct feed_slice){w->terms.text.data, w->terms.text.len};
    }
    size_t need = size_of(&c->post) + terms.n;
    if (need > BATCH_BYTES) return error_set(e, "a post of more than %zu bytes", BATCH_BYTES);
    struct feed_batch *b = w->packing;
    if (b->n >= w->o.batch_posts || b->used + need > b->cap) {
        TRY(send(w, e));
        b = w->packing;
    }
    if (b->n == 0) b->since_s = time_now_s();
    pack(b, c, terms);
    w->added++;
    return 0;
}

int feed_writer_mark(feed_writer_t *w, const char *name, const char *value, struct error *e)
{
    struct feed_batch *b = w->packing;
    if (b->n == 0 && b->n_marks == 0) b->since_s = time_now_s();
    for (size_t i = 0; i < b->n_marks; i++) {
        if (strcmp(b->marks[i].name, name) != 0) continue;
        mem_free(b->marks[i].value);
        b->marks[i].value = mem_strdup(value);
        return 0;
    }
    if (b->n_marks == ARRAY_LEN(b->marks)) return error_set(e, "more marks than streams");
    b->marks[b->n_marks++] = (struct feed_mark){mem_strdup(name), mem_strdup(value)};
    return 0;
}

int feed_writer_pump(feed_writer_t *w, bool all, struct error *e)
{
    const struct feed_batch *b = w->packing;
    bool some = b->n || b->n_marks;
    if (!some || (!all && time_now_s() - b->since_s < w->o.batch_s)) return 0;
    if (!all) { /* one that is due waits rather than this thread */
        pthread_mutex_lock(&w->guard);
        bool full = w->n_idle == 0;
        pthread_mutex_unlock(&w->guard);
        if (full) return 0;
    }
    return send(w, e);
}

int feed_writer_flush(feed_writer_t *w, struct error *e)
{
    int rc = feed_writer_pump(w, true, e);
    pthread_mutex_lock(&w->guard);
    while (w->n_waiting || w->applying)
        pthread_cond_wait(&w->changed, &w->guard);
    if (rc >= 0 && w->error.code != 0) {
        if (e) *e = w->error;
        rc = w->error.code;
    }
    pthread_mutex_unlock(&w->guard);
    return rc;
}

uint64_t feed_writer_done(feed_writer_t *w)
{
    pthread_mutex_lock(&w->guard);
    uint64_t done = w->done;
    pthread_mutex_unlock(&w->guard);
    return done;
}

struct feed_write_counts feed_writer_counts(feed_writer_t *w)
{
    pthread_mutex_lock(&w->guard);
    struct feed_write_counts c = w->counts;
    pthread_mutex_unlock(&w->guard);
    return c;
}

int feed_writer_gap(feed_writer_t *w, const struct feed_gap *g, struct error *e)
{
    sqlite3_stmt *q;
    TRY(feed_writer_flush(w, e)); /* the thread leaves store.db alone until the next batch */
    struct feed_manifest *m = &w->applier.m;
    TRY(feed_sql_prepare(m->db, m->path, "INSERT INTO gaps VALUES(?,?,?,?)", &q, e));
    sqlite3_bind_text(q, 1, g->source, -1, SQLITE_STATIC);
    sqlite3_bind_text(q, 2, g->why, -1, SQLITE_STATIC);
    sqlite3_bind_int64(q, 3, g->from_ms);
    sqlite3_bind_int64(q, 4, g->to_ms);
    int rc = sqlite3_step(q) == SQLITE_DONE ? 0 : feed_sql_error(m->db, m->path, e);
    sqlite3_finalize(q);
    return rc;
}

/* ------------------------------------------------------------------ open and close */

static void free_writer(feed_writer_t *w)
{
    for (int i = 0; i < N_BATCHES; i++) {
        batch_clear(&w->batches[i]);
        mem_unmap(w->batches[i].data, w->batches[i].cap);
        mem_free(w->batches[i].entries);
    }
    feed_terms_fini(&w->terms);
    mem_free(w->sealing_path);
    if (w->lock_fd >= 0) close(w->lock_fd);
    mem_free(w);
}

static void begin(feed_writer_t *w)
{
    pthread_mutex_init(&w->guard, NULL);
    pthread_cond_init(&w->changed, NULL);
    for (int i = 1; i < N_BATCHES; i++)
        w->idle[w->n_idle++] = &w->batches[i];
    w->packing = &w->batches[0];
    w->counts.segments = w->applier.m.n;
    if (pthread_create(&w->thread, NULL, run, w) != 0)
        exit_exhausted("raise the limit on processes", "cannot begin a thread");
}

int feed_writer_open(const char *dir, const struct feed_write_options *o, feed_writer_t **out,
                     struct error *e)
{
    feed_writer_t *w = mem_calloc(1, sizeof(*w));
    w->o = *o;
    w->lock_fd = -1;
    if (!w->o.batch_posts) w->o.batch_posts = 50000;
    if (w->o.batch_s <= 0) w->o.batch_s = 0.4;
    int rc = file_make_dirs(dir, e);
    if (rc >= 0) rc = feed_store_lock(dir, &w->lock_fd, e);
    for (int i = 0; i < N_BATCHES && rc >= 0; i++) {
        w->batches[i].cap = BATCH_BYTES + (1 << 16);
        w->batches[i].data = mem_map_sparse(w->batches[i].cap);
        if (!w->batches[i].data) rc = error_set(e, "no memory for batches of posts");
    }
    if (rc >= 0) rc = feed_applier_open(&w->applier, dir, &w->o, e);
    if (rc >= 0) rc = look_after_seals(w, false, e);
    if (rc < 0) {
        free_writer(w);
        return rc;
    }
    begin(w);
    *out = w;
    return 0;
}

int feed_writer_close(feed_writer_t *w, struct error *e)
{
    if (!w) return 0;
    int rc = feed_writer_flush(w, e);
    pthread_mutex_lock(&w->guard);
    w->ending = true;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->guard);
    pthread_join(w->thread, NULL);
    for (bool more = true; more && rc >= 0;) { /* until no segment is full any more */
        wait_for_seal(w);
        rc = look_after_seals(w, true, e);
        more = w->seal_started;
        if (rc >= 0 && w->error.code != 0) {
            if (e) *e = w->error;
            rc = w->error.code;
        }
    }
    wait_for_seal(w);
    if (w->seal_started) pthread_join(w->sealer, NULL);
    int closed = feed_applier_close(&w->applier, rc < 0 ? NULL : e);
    pthread_mutex_destroy(&w->guard);
    pthread_cond_destroy(&w->changed);
    free_writer(w);
    return rc < 0 ? rc : closed;
}
