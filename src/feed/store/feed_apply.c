/* feed_apply.c: a batch of changes becomes rows.
 *
 * In the order in which they came, each change is held against the tombstones, the batch before it
 * and the segments; what is left of the posts is sorted by time and put into the open segment in one
 * transaction, together with the marks and with the posts of other segments that must go. Order of
 * commits: tombstones (store.db), the open segment (from here on the batch is acknowledged), then
 * the other segments, from the list `pending` that the open segment holds until it is done. Whoever
 * opens the store for writing finishes such a list first. So at whatever moment the process ends, a
 * batch that is sent again gives the same store. */
#include "feed/store/feed_store_internal.h"

/* Filters and tables of keys are larger than a cache: a key is looked at so many posts ahead. */
#define AHEAD 8
/* A segment has fewer than 64 pieces of so many posts: more, and FTS5 merges them at once. */
#define LARGE_BATCH 20000

struct feed_segment *feed_applier_open_segment(struct feed_applier *x)
{
    for (size_t i = x->m.n; i-- > 0;)
        if (x->m.segments[i].state == FEED_SEGMENT_OPEN) return &x->m.segments[i];
    return NULL;
}

/* ------------------------------------------------------------------ tombstones */

/* Within a transaction of store.db that ends with the batch. Tombstones of batches before this one
 * have done their work by then, and forget whose they are. */
static int bury_begin(struct feed_applier *x, struct error *e)
{
    if (x->burying) return 0;
    TRY(feed_sql_exec(x->m.db, x->m.path,
                      "BEGIN IMMEDIATE; UPDATE gone SET id=NULL WHERE id IS NOT NULL", e));
    x->burying = true;
    return 0;
}

static int bury_step(struct feed_applier *x, sqlite3_stmt *q, struct error *e)
{
    int rc = sqlite3_step(q) == SQLITE_DONE ? 0 : feed_sql_error(x->m.db, x->m.path, e);
    sqlite3_reset(q);
    return rc;
}

/* The id is kept beside the key until the posts are gone: feed_applier_open goes by it. */
static int bury(struct feed_applier *x, uint64_t key, enum feed_service service, bool user,
                struct feed_slice id, struct error *e)
{
    int64_t *at = feed_keys_at(&x->gone, key, true);
    if (*at) return 0;
    *at = feed_now_ms();
    TRY(bury_begin(x, e));
    sqlite3_bind_int64(x->bury, 1, (int64_t)key);
    sqlite3_bind_int64(x->bury, 2, *at);
    sqlite3_bind_int(x->bury, 3, (int)service * 2 + user);
    feed_sql_bind(x->bury, 4, id);
    return bury_step(x, x->bury, e);
}

static int unbury(struct feed_applier *x, uint64_t key, struct error *e)
{
    int64_t *at = feed_keys_at(&x->gone, key, false);
    if (!at || !*at) return 0;
    *at = 0;
    TRY(bury_begin(x, e));
    sqlite3_bind_int64(x->unbury, 1, (int64_t)key);
    return bury_step(x, x->unbury, e);
}

static bool is_gone(struct feed_applier *x, uint64_t key)
{
    const int64_t *at = feed_keys_at(&x->gone, key, false);
    return at && *at;
}

/* ------------------------------------------------------------------ where a post is */

static uint64_t pending_key(int64_t segment, int64_t seq)
{
    return (uint64_t)seq * 0x9e3779b97f4a7c15ULL ^ (uint64_t)segment;
}

static void add_pending(struct feed_applier *x, int64_t segment, int64_t seq)
{
    if (x->n_pending == x->pending_cap) {
        x->pending_cap = x->pending_cap ? 2 * x->pending_cap : 256;
        x->pending = mem_realloc(x->pending, x->pending_cap * sizeof(*x->pending));
    }
    if (x->n_pending == 0) feed_keys_clear(&x->pending_set);
    x->pending[x->n_pending++] = (struct feed_pending){segment, seq};
    *feed_keys_at(&x->pending_set, pending_key(segment, seq), true) = 1;
}

static bool is_pending(struct feed_applier *x, int64_t segment, int64_t seq)
{
    return x->n_pending && feed_keys_at(&x->pending_set, pending_key(segment, seq), false);
}

/* Where the post is, of segments newest first. 1, 0 or negative. */
static int find_stored(struct feed_applier *x, uint64_t key, const struct feed_post *p,
                       struct feed_place *at, struct error *e)
{
    for (size_t i = x->m.n; i-- > 0;) {
        struct feed_segment *s = &x->m.segments[i];
        if (!feed_filter_has(&s->filter, key)) continue;
        TRY(feed_segment_open(s, true, e));
        int found = feed_segment_find(s, key, p, at, e);
        if (found < 0) return found;
        if (!found || is_pending(x, s->n, at->seq)) continue;
        at->segment = i;
        return 1;
    }
    return 0;
}

/* The post vanishes from the batch and the store; how many did. */
static int forget_post(struct feed_applier *x, struct feed_batch *b, uint64_t key,
                       const struct feed_post *p, struct error *e)
{
    struct feed_place at;
    int64_t *in = feed_keys_at(&x->in_batch, key, false);
    if (in && *in > 0) {
        struct feed_entry *entry = &b->entries[*in - 1];
        *in = 0;
        if (!entry->drop) {
            entry->drop = true;
            return 1;
        }
    }
    int found = find_stored(x, key, p, &at, e);
    if (found > 0) add_pending(x, x->m.segments[at.segment].n, at.seq);
    return found;
}

/* ------------------------------------------------------------------ one change */

/* The versions that a post replaces: they go, and do not come back. */
static int forget_older(struct feed_applier *x, struct feed_batch *b, const struct feed_post *p,
                        struct error *e)
{
    struct feed_slice left = p->older;
    struct feed_post old = {.service = p->service};
    while (feed_list_next(&left, &old.id)) {
        uint64_t key = feed_key(p->service, "p", old.id);
        int rc = forget_post(x, b, key, &old, e);
        if (rc < 0) return rc;
        x->counts.updated += rc > 0;
        TRY(bury(x, key, p->service, false, old.id, e));
    }
    return 0;
}

/* A post seen again may have been liked meanwhile: told to its row once the batch is committed. */
static void note_metrics(struct feed_applier *x, int64_t segment, int64_t seq,
                         const struct feed_post *p)
{
    if (p->likes + p->reposts + p->replies + p->quotes == 0) return;
    if (x->n_raises == x->raises_cap) {
        x->raises_cap = x->raises_cap ? 2 * x->raises_cap : 256;
        x->raises = mem_realloc(x->raises, x->raises_cap * sizeof(*x->raises));
    }
    x->raises[x->n_raises++] =
        (struct feed_raise){segment, seq, {p->likes, p->reposts, p->replies, p->quotes}};
}

static int raise_segment(struct feed_applier *x, struct feed_segment *s, struct error *e)
{
    sqlite3_stmt *q;
    bool begun = false;
    for (size_t k = 0; k < x->n_raises; k++) {
        const struct feed_raise *r = &x->raises[k];
        if (r->segment != s->n) continue;
        if (!begun) {
            TRY(feed_segment_open(s, true, e));
            TRY(feed_segment_query(s, FEED_Q_METRICS, &q, e));
            TRY(feed_segment_run(s, FEED_Q_BEGIN, e));
            begun = true;
        }
        for (int i = 0; i < 4; i++)
            sqlite3_bind_int64(q, 1 + i, r->numbers[i]);
        sqlite3_bind_int64(q, 5, r->seq);
        if (feed_segment_run(s, FEED_Q_METRICS, e) >= 0) continue;
        feed_segment_run(s, FEED_Q_ROLLBACK, NULL);
        return ERROR_FAILED;
    }
    return begun ? feed_segment_run(s, FEED_Q_COMMIT, e) : 0;
}

static int raise_metrics(struct feed_applier *x, struct error *e)
{
    for (size_t i = 0; i < x->m.n && x->n_raises; i++)
        TRY(raise_segment(x, &x->m.segments[i], e));
    x->n_raises = 0;
    return 0;
}

static void raise_entry(struct feed_post *a, const struct feed_post *b)
{
    a->likes = MAX(a->likes, b->likes);
    a->reposts = MAX(a->reposts, b->reposts);
    a->replies = MAX(a->replies, b->replies);
    a->quotes = MAX(a->quotes, b->quotes);
}

/* Edits may come out of order: the one that was made last stays. */
static bool replaces(const struct feed_change *c, int64_t edited_ms)
{
    return c->kind == FEED_UPDATE && (c->post.edited_ms == 0 || c->post.edited_ms >= edited_ms);
}

static int take_post(struct feed_applier *x, struct feed_batch *b, size_t i, struct error *e)
{
    struct feed_entry *entry = &b->entries[i];
    struct feed_post *p = &entry->change.post;
    struct feed_place at;
    if (is_gone(x, entry->key) || (p->author_id.n && is_gone(x, entry->user_key))) {
        x->counts.refused++;
        entry->drop = true;
        return 0;
    }
    if (x->m.keep_s > 0 && (double)(feed_now_ms() - p->created_ms) > x->m.keep_s * 1000) {
        x->counts.expired++;
        entry->drop = true;
        return 0;
    }
    if (p->older.n) TRY(forget_older(x, b, p, e));
    int64_t *in = feed_keys_at(&x->in_batch, entry->key, true);
    if (*in > 0 && !b->entries[*in - 1].drop) {
        struct feed_entry *before = &b->entries[*in - 1];
        if (!replaces(&entry->change, before->change.post.edited_ms)) {
            raise_entry(&before->change.post, p);
            x->counts.duplicates++;
            entry->drop = true;
            return 0;
        }
        before->drop = true;
        x->counts.updated++;
        *in = (int64_t)i + 1;
        return 0;
    }
    int found = find_stored(x, entry->key, p, &at, e);
    if (found < 0) return found;
    if (found && !replaces(&entry->change, at.edited_ms)) {
        x->counts.duplicates++;
        entry->drop = true;
        note_metrics(x, x->m.segments[at.segment].n, at.seq, p);
        return 0;
    }
    if (found) {
        x->counts.updated++;
        add_pending(x, x->m.segments[at.segment].n, at.seq);
    }
    *in = (int64_t)i + 1;
    return 0;
}

/* All posts of an author, in the batch and the store. */
static int forget_user(struct feed_applier *x, struct feed_batch *b, size_t i, struct error *e)
{
    const struct feed_entry *entry = &b->entries[i];
    const struct feed_post *who = &entry->change.post;
    struct feed_terms *t = &x->terms;
    int rc = 0;
    for (size_t k = 0; k < i; k++) {
        struct feed_entry *before = &b->entries[k];
        bool post = before->change.kind == FEED_POST || before->change.kind == FEED_UPDATE;
        if (!post || before->drop || before->user_key != entry->user_key) continue;
        before->drop = true;
        x->counts.deleted++;
    }
    feed_terms_clear(t);
    feed_terms_add_fact(t, "from", who->author_id.s, who->author_id.n);
    if (t->n == 0) return 0;
    t->text.data[t->text.len - 1] = '\0';
    for (size_t s = 0; s < x->m.n && rc >= 0; s++) {
        int64_t *seqs;
        size_t n;
        TRY(feed_segment_open(&x->m.segments[s], true, e));
        rc = feed_segment_term(&x->m.segments[s], t->text.data, &seqs, &n, e);
        for (size_t k = 0; k < n; k++) { /* a handle may look like an id */
            sqlite3_stmt *get;
            struct feed_post p;
            if (rc < 0) break;
            rc = feed_segment_query(&x->m.segments[s], FEED_Q_GET, &get, e);
            if (rc < 0) break;
            sqlite3_bind_int64(get, 1, seqs[k]);
            bool same = sqlite3_step(get) == SQLITE_ROW;
            if (same) {
                feed_row_post(get, 0, &p);
                same = p.service == who->service && p.author_id.n == who->author_id.n &&
                       memcmp(p.author_id.s, who->author_id.s, who->author_id.n) == 0;
            }
            sqlite3_reset(get);
            if (!same || is_pending(x, x->m.segments[s].n, seqs[k])) continue;
            add_pending(x, x->m.segments[s].n, seqs[k]);
            x->counts.deleted++;
        }
        mem_free(seqs);
    }
    return rc;
}

static int take_change(struct feed_applier *x, struct feed_batch *b, size_t i, struct error *e)
{
    struct feed_entry *entry = &b->entries[i];
    int rc;
    switch (entry->change.kind) {
    case FEED_POST:
    case FEED_UPDATE: return take_post(x, b, i, e);
    case FEED_DELETE:
    case FEED_WITHHELD:
        rc = forget_post(x, b, entry->key, &entry->change.post, e);
        if (rc < 0) return rc;
        x->counts.deleted += rc > 0;
        return bury(x, entry->key, entry->change.post.service, false, entry->change.post.id, e);
    case FEED_RESTORE: return unbury(x, entry->key, e);
    case FEED_USER_GONE:
        TRY(forget_user(x, b, i, e));
        return bury(x, entry->user_key, entry->change.post.service, true,
                    entry->change.post.author_id, e);
    case FEED_USER_BACK: return unbury(x, entry->user_key, e);
    }
    return 0;
}

/* ------------------------------------------------------------------ commits */

/* The posts of other segments that the open one says must go, then the list itself. */
static int finish_pending(struct feed_applier *x, struct feed_segment *open, struct error *e)
{
    sqlite3_stmt *q;
    int rc = 0;
    if (x->n_pending == 0) { /* of a process that ended before it came to this */
        TRY(feed_sql_prepare(open->db, open->path, "SELECT segment, seq FROM pending", &q, e));
        while ((rc = sqlite3_step(q)) == SQLITE_ROW)
            add_pending(x, sqlite3_column_int64(q, 0), sqlite3_column_int64(q, 1));
        TRY(feed_sql_end(open->db, open->path, q, rc, e));
        rc = 0;
        if (x->n_pending == 0) return 0;
    }
    for (size_t s = 0; s < x->m.n && rc >= 0; s++) {
        struct feed_segment *segment = &x->m.segments[s];
        bool begun = false;
        for (size_t k = 0; k < x->n_pending && rc >= 0; k++) {
            if (x->pending[k].segment != segment->n || segment == open) continue;
            if (!begun) {
                rc = feed_segment_open(segment, true, e);
                if (rc >= 0) rc = feed_segment_run(segment, FEED_Q_BEGIN, e);
                begun = rc >= 0;
            }
            if (rc >= 0) rc = feed_segment_remove(segment, x->pending[k].seq, e);
        }
        if (begun && rc >= 0) rc = feed_segment_run(segment, FEED_Q_COMMIT, e);
        if (begun && rc < 0) feed_segment_run(segment, FEED_Q_ROLLBACK, NULL);
    }
    x->n_pending = 0;
    return rc < 0 ? rc : feed_sql_exec(open->db, open->path, "DELETE FROM pending", e);
}

static int put_pending(struct feed_applier *x, struct feed_segment *open, bool *others,
                       struct error *e)
{
    sqlite3_stmt *q;
    TRY(feed_segment_query(open, FEED_Q_PENDING, &q, e));
    for (size_t k = 0; k < x->n_pending; k++) {
        if (x->pending[k].segment == open->n) {
            TRY(feed_segment_remove(open, x->pending[k].seq, e));
            if (open->posts) open->posts--;
            continue;
        }
        *others = true;
        sqlite3_bind_int64(q, 1, x->pending[k].segment);
        sqlite3_bind_int64(q, 2, x->pending[k].seq);
        TRY(feed_segment_run(open, FEED_Q_PENDING, e));
    }
    return 0;
}

static int put_marks(struct feed_segment *open, const struct feed_batch *b, struct error *e)
{
    sqlite3_stmt *q;
    TRY(feed_segment_query(open, FEED_Q_MARK, &q, e));
    for (size_t i = 0; i < b->n_marks; i++) {
        sqlite3_bind_text(q, 1, b->marks[i].name, -1, SQLITE_STATIC);
        sqlite3_bind_text(q, 2, b->marks[i].value, -1, SQLITE_STATIC);
        TRY(feed_segment_run(open, FEED_Q_MARK, e));
    }
    return 0;
}

/* A post at its place, beside each other so that sorting reads nothing else. */
struct placed {
    int64_t seq;
    struct feed_entry *entry;
};

static int compare_seq(const void *a, const void *b)
{
    const struct placed *x = a, *y = b;
    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

/* Posts [0, n) into the open segment, within a transaction that the caller has begun. */
static int put_posts(struct feed_segment *open, const struct placed *posts, size_t n,
                     struct error *e)
{
    int64_t last = INT64_MIN;
    for (size_t i = 0; i < n; i++) {
        struct feed_entry *p = posts[i].entry;
        if (i + AHEAD < n) {
            feed_keys_prefetch(&open->places, posts[i + AHEAD].entry->key);
            feed_filter_prefetch(&open->filter, posts[i + AHEAD].entry->key);
        }
        if (p->seq <= last) p->seq = last + 1;
        TRY(feed_segment_insert(open, &p->change.post, p->key, p->terms, &p->seq, e));
        feed_filter_add(&open->filter, p->key);
        last = p->seq;
    }
    open->posts += n;
    return 0;
}

/* A segment that takes posts: the open one, or a new one where that is full. */
static int make_room(struct feed_applier *x, struct feed_segment **open, struct error *e)
{
    struct feed_segment *s = feed_applier_open_segment(x);
    if (s && s->posts >= x->m.segment_posts) {
        TRY(feed_manifest_state(&x->m, s->n, FEED_SEGMENT_FULL, e));
        s = NULL;
    }
    if (!s) {
        TRY(feed_manifest_add(&x->m, &s, e));
        feed_filter_init(&s->filter, x->m.segment_posts);
        s->placed = true;
    }
    *open = s;
    return 0;
}

/* Large batches leave the merging of the index to the seal, which does it anyway; while small ones
 * come, their many pieces are merged as they come, or searches would slow down. */
static int settle_merging(struct feed_segment *open, size_t n, struct error *e)
{
    bool late = n >= LARGE_BATCH;
    const char *sql = late ? "INSERT INTO terms(terms, rank) VALUES('automerge', 0)"
                           : "INSERT INTO terms(terms, rank) VALUES('automerge', 8)";
    if (open->merging_known && open->merges_late == late) return 0;
    TRY(feed_sql_exec(open->db, open->path, sql, e));
    open->merging_known = true;
    open->merges_late = late;
    return 0;
}

static int commit(struct feed_applier *x, struct feed_batch *b, const struct placed *posts,
                  size_t n, struct error *e)
{
    struct feed_segment *open;
    size_t done = 0;
    do { /* once for each segment that is filled */
        TRY(make_room(x, &open, e));
        size_t take = MIN(n - done, (size_t)(x->m.segment_posts - open->posts));
        bool last = done + take == n, others = false;
        TRY(feed_segment_run(open, FEED_Q_BEGIN, e));
        int rc = settle_merging(open, take, e);
        if (rc >= 0) rc = put_posts(open, posts + done, take, e);
        if (rc >= 0 && last) rc = put_pending(x, open, &others, e);
        if (rc >= 0 && last) rc = put_marks(open, b, e);
        if (rc >= 0) rc = feed_segment_run(open, FEED_Q_COMMIT, e);
        if (rc < 0) {
            feed_segment_run(open, FEED_Q_ROLLBACK, NULL);
            open->merging_known = false;
            return rc;
        }
        x->counts.commits++;
        x->counts.added += take;
        done += take;
        if (last && others) TRY(finish_pending(x, open, e));
        if (last) x->n_pending = 0;
    } while (done < n);
    return 0;
}

static void prefetch(const struct feed_applier *x, uint64_t key)
{
    feed_keys_prefetch(&x->in_batch, key);
    for (size_t i = 0; i < x->m.n; i++)
        feed_filter_prefetch(&x->m.segments[i].filter, key);
}

int feed_apply(struct feed_applier *x, struct feed_batch *b, struct error *e)
{
    int rc = 0;
    size_t n = 0;
    feed_keys_clear(&x->in_batch);
    x->n_pending = x->n_raises = 0;
    for (size_t i = 0; i < b->n && rc >= 0; i++) {
        if (i + AHEAD < b->n) prefetch(x, b->entries[i + AHEAD].key);
        rc = take_change(x, b, i, e);
    }
    if (x->burying) {
        if (rc >= 0) rc = feed_sql_exec(x->m.db, x->m.path, "COMMIT", e);
        x->burying = false;
    }
    if (rc < 0) return rc;
    struct placed *posts = mem_alloc((b->n + 1) * sizeof(*posts));
    for (size_t i = 0; i < b->n; i++) {
        struct feed_entry *entry = &b->entries[i];
        bool post = entry->change.kind == FEED_POST || entry->change.kind == FEED_UPDATE;
        if (post && !entry->drop) posts[n++] = (struct placed){entry->seq, entry};
    }
    qsort(posts, n, sizeof(*posts), compare_seq);
    if (n || x->n_pending || b->n_marks) rc = commit(x, b, posts, n, e);
    mem_free(posts);
    return rc < 0 ? rc : raise_metrics(x, e);
}

/* ------------------------------------------------------------------ open and close */

static int read_gone(struct feed_applier *x, struct error *e)
{
    sqlite3_stmt *q;
    int rc;
    TRY(feed_sql_prepare(x->m.db, x->m.path, "SELECT key, at FROM gone", &q, e));
    while ((rc = sqlite3_step(q)) == SQLITE_ROW)
        *feed_keys_at(&x->gone, (uint64_t)sqlite3_column_int64(q, 0), true) =
            sqlite3_column_int64(q, 1);
    if (rc != SQLITE_DONE) feed_sql_error(x->m.db, x->m.path, e);
    sqlite3_finalize(q);
    TRY(rc == SQLITE_DONE ? 0 : ERROR_FAILED);
    TRY(feed_sql_prepare(x->m.db, x->m.path, "INSERT OR REPLACE INTO gone VALUES(?,?,?,?)",
                         &x->bury, e));
    return feed_sql_prepare(x->m.db, x->m.path, "DELETE FROM gone WHERE key=?", &x->unbury, e);
}

/* Tombstones whose batch was perhaps never committed: what they are about goes now. */
static int finish_gone(struct feed_applier *x, struct error *e)
{
    struct feed_batch b = {0};
    struct arena a = {0};
    sqlite3_stmt *q;
    int step;
    TRY(feed_sql_prepare(x->m.db, x->m.path, "SELECT what, id FROM gone WHERE id IS NOT NULL", &q,
                         e));
    while ((step = sqlite3_step(q)) == SQLITE_ROW) {
        if (b.n == b.n_cap) {
            b.n_cap = b.n_cap ? 2 * b.n_cap : 64;
            b.entries = mem_realloc(b.entries, b.n_cap * sizeof(*b.entries));
        }
        int what = sqlite3_column_int(q, 0);
        struct feed_slice id = feed_sql_slice(q, 1);
        id.s = arena_strndup(&a, id.s, id.n);
        struct feed_entry *entry = &b.entries[b.n++];
        bool user = what & 1;
        *entry = (struct feed_entry){.change = {user ? FEED_USER_GONE : FEED_DELETE}};
        struct feed_post *p = &entry->change.post;
        p->service = (enum feed_service)(what / 2);
        *(user ? &p->author_id : &p->id) = id;
        entry->key = feed_key(p->service, "p", p->id);
        entry->user_key = feed_key(p->service, "u", p->author_id);
    }
    int rc = feed_sql_end(x->m.db, x->m.path, q, step, e);
    if (rc >= 0 && b.n) rc = feed_apply(x, &b, e);
    mem_free(b.entries);
    arena_fini(&a);
    return rc;
}

static int settle(struct feed_applier *x, const struct feed_write_options *o, struct error *e)
{
    if (o->segment_posts) x->m.segment_posts = o->segment_posts;
    if (!x->m.segment_posts) x->m.segment_posts = 1000000;
    TRY(feed_manifest_setting(&x->m, "segment_posts", (double)x->m.segment_posts, e));
    if (o->keep_s > 0) {
        x->m.keep_s = o->keep_s;
        TRY(feed_manifest_setting(&x->m, "keep_s", o->keep_s, e));
    }
    if (o->keep_bytes > 0) {
        x->m.keep_bytes = o->keep_bytes;
        TRY(feed_manifest_setting(&x->m, "keep_bytes", o->keep_bytes, e));
    }
    return 0;
}

int feed_applier_open(struct feed_applier *x, const char *dir, const struct feed_write_options *o,
                      struct error *e)
{
    *x = (struct feed_applier){0};
    TRY(feed_manifest_open(&x->m, dir, true, e));
    int rc = settle(x, o, e);
    if (rc >= 0) rc = read_gone(x, e);
    for (size_t i = 0; i < x->m.n && rc >= 0; i++) {
        struct feed_segment *s = &x->m.segments[i];
        bool open = s->state == FEED_SEGMENT_OPEN;
        rc = open ? feed_segment_create(s, e) : 0; /* it may lack its tables */
        if (rc >= 0) rc = feed_segment_read_keys(s, x->m.segment_posts, e);
    }
    for (size_t i = 0; i < x->m.n && rc >= 0; i++)
        if (x->m.segments[i].state != FEED_SEGMENT_SEALED)
            rc = finish_pending(x, &x->m.segments[i], e);
    if (rc >= 0) rc = finish_gone(x, e);
    if (rc >= 0) x->counts = (struct feed_write_counts){0};
    if (rc < 0) feed_applier_close(x, NULL);
    return rc;
}

int feed_applier_close(struct feed_applier *x, struct error *e)
{
    struct feed_segment *s = feed_applier_open_segment(x);
    int rc = 0;
    if (s && s->db) rc = feed_sql_exec(s->db, s->path, "PRAGMA wal_checkpoint(TRUNCATE)", e);
    sqlite3_finalize(x->bury);
    sqlite3_finalize(x->unbury);
    feed_manifest_close(&x->m);
    feed_keys_fini(&x->gone);
    feed_keys_fini(&x->in_batch);
    feed_keys_fini(&x->pending_set);
    feed_terms_fini(&x->terms);
    mem_free(x->pending);
    mem_free(x->raises);
    *x = (struct feed_applier){0};
    return rc;
}

int feed_applier_retain(struct feed_applier *x, struct error *e)
{
    double bytes = 0;
    for (size_t i = 0; i < x->m.n; i++)
        bytes += (double)feed_segment_bytes(&x->m.segments[i]);
    for (size_t i = 0; i < x->m.n;) {
        struct feed_segment *s = &x->m.segments[i];
        int64_t newest;
        if (s->state != FEED_SEGMENT_SEALED) {
            i++;
            continue;
        }
        TRY(feed_segment_open(s, true, e));
        TRY(feed_sql_int(s->db, s->path, "SELECT max(seq) FROM posts", &newest, e));
        double age_s = (double)(feed_now_ms() - feed_ms_of_seq(newest)) / 1000;
        double own = (double)feed_segment_bytes(s);
        bool old = x->m.keep_s > 0 && age_s > x->m.keep_s;
        bool large = x->m.keep_bytes > 0 && bytes > x->m.keep_bytes;
        if (!old && !large) {
            i++;
            continue;
        }
        log_info("segment %lld is dropped: %s", (long long)s->n,
                 old ? "all of it is older than what is kept"
                     : "the store is as large as it may be");
        TRY(feed_manifest_drop(&x->m, i, e));
        bytes -= own;
    }
    return 0;
}
