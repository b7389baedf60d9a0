/* feed_store_internal.h: what the files of feed/store share, and how a store lies on disk.
 *
 * A store is a folder:
 *
 *   lock           held by the process that writes
 *   store.db       settings, the list of segments, tombstones, gaps
 *   seg-000001.db  up to a million posts in the order of their arrival, with their index
 *
 * Each is an SQLite database in WAL mode. A segment has
 *
 *   posts   seq INTEGER PRIMARY KEY: (created_ms - EPOCH) << 22, plus 22 bits of the key, plus what
 *           makes it unique; so the order of seq is the order of time, and a span of time is a span
 *           of seq. key: XXH3 of service and id; ids are compared where keys are the same. Indexed
 *           once the segment is sealed, all at once; before that the writer has a table in memory,
 *           since an index that grows row by row is changed at a random place for each
 *   terms   FTS5 without content, columns' sizes or positions (detail=none), rowid = seq; its
 *           tokenizer splits at blanks what feed_terms_of_post made
 *   pending posts of other segments that must go: written in the transaction that made it so, and
 *           done after it, by whoever opens the store next if need be
 *   meta    marks of streams ("cursor:..."), the filter of keys, "touched"
 *   df      terms that are in a thousand posts and more, those of texts from eight on, and how many
 *           posts there are (under the empty term), once the segment is sealed
 *
 * A segment is open (it takes posts), full, then sealed: its keys indexed, its index of terms merged
 * to one piece, its filter and df written. Only the writer changes anything; a commit of the open segment is what is
 * acknowledged. Tombstones are committed before it, with the id of whom they are about until the next
 * ones come, so that a store that is opened in between finishes them; deletions in other segments
 * come after it. */
#ifndef COLOSSUS_FEED_STORE_INTERNAL_H
#define COLOSSUS_FEED_STORE_INTERNAL_H

#include "feed/words/feed_words_internal.h"

#include <sqlite3.h>

#define FEED_SEQ_BITS 22
#define FEED_EPOCH_MS 946684800000LL /* 2000-01-01 */
#define FEED_DF_MIN   1000
#define FEED_DF_TEXT  8 /* of words, tags and names: what a search asks for */

static inline int64_t feed_seq_of_ms(int64_t ms)
{
    const int64_t most = INT64_MAX >> FEED_SEQ_BITS; /* of milliseconds: 69 years each way */
    ms = MIN(MAX(ms, FEED_EPOCH_MS - most), FEED_EPOCH_MS + most);
    return (int64_t)((uint64_t)(ms - FEED_EPOCH_MS) << FEED_SEQ_BITS);
}
static inline int64_t feed_ms_of_seq(int64_t seq)
{
    return (seq >> FEED_SEQ_BITS) + FEED_EPOCH_MS;
}
uint64_t feed_key(enum feed_service service, const char *kind, struct feed_slice id);

/* ------------------------------------------------------------------ SQLite (feed_sql.c) */

int feed_sql_error(sqlite3 *db, const char *path, struct error *e);
/* What to do about a file that is damaged, or holds something else. */
const char *feed_sql_cure(const char *path);
/* Opens with the tokenizer "feed" at hand. */
int feed_sql_open(const char *path, bool write, sqlite3 **db, struct error *e);
int feed_sql_exec(sqlite3 *db, const char *path, const char *sql, struct error *e);
int feed_sql_prepare(sqlite3 *db, const char *path, const char *sql, sqlite3_stmt **out,
                     struct error *e);
/* Finalizes q; an error where its last step was neither a row nor the end. */
int feed_sql_end(sqlite3 *db, const char *path, sqlite3_stmt *q, int step, struct error *e);
/* One number; 0 where there is no row. */
int feed_sql_int(sqlite3 *db, const char *path, const char *sql, int64_t *out, struct error *e);
struct feed_slice feed_sql_slice(sqlite3_stmt *q, int column); /* lives until the next step */
void feed_sql_bind(sqlite3_stmt *q, int at, struct feed_slice s);

/* ------------------------------------------------------------------ keys (feed_keys.c) */

/* A filter of keys: "no" is sure, "yes" is wrong for two in a thousand. */
struct feed_filter {
    uint64_t *words; /* [blocks][8] */
    size_t blocks;
};
void feed_filter_init(struct feed_filter *f, uint64_t keys);
void feed_filter_fini(struct feed_filter *f);
void feed_filter_add(struct feed_filter *f, uint64_t key);
bool feed_filter_has(const struct feed_filter *f, uint64_t key);
/* Has what a later call will read brought into the cache. */
void feed_filter_prefetch(const struct feed_filter *f, uint64_t key);

/* A set of keys, each with a number. {0} is empty. */
struct feed_map_item {
    uint64_t key;
    int64_t value;
    bool used;
};
struct feed_keys {
    struct feed_map_item *items;
    size_t n, cap;
};
void feed_keys_fini(struct feed_keys *k);
void feed_keys_clear(struct feed_keys *k); /* keeps the memory */
/* Its value's place; added with 0 where it was not there and `add`, else NULL. */
int64_t *feed_keys_at(struct feed_keys *k, uint64_t key, bool add);
void feed_keys_prefetch(const struct feed_keys *k, uint64_t key);

/* ------------------------------------------------------------------ segments (feed_segment.c) */

enum feed_segment_state { FEED_SEGMENT_OPEN, FEED_SEGMENT_FULL, FEED_SEGMENT_SEALED };

enum feed_segment_query {
    FEED_Q_BEGIN,
    FEED_Q_COMMIT,
    FEED_Q_ROLLBACK,
    FEED_Q_INSERT,
    FEED_Q_INDEX,
    FEED_Q_UNINDEX,
    FEED_Q_FIND,
    FEED_Q_PLACED, /* the same row of a key ?1 at the seq ?2 */
    FEED_Q_GET,
    FEED_Q_DELETE,
    FEED_Q_METRICS,
    FEED_Q_MARK,
    FEED_Q_PENDING,
    FEED_Q_SEARCH,  /* rows of FEED_POST_COLUMNS that match ?1 in ?2 .. ?3, newest first */
    FEED_Q_TEXTS,   /* the same, of FEED_TEXT_COLUMNS */
    FEED_Q_COUNT,   /* how many posts match ?1, up to ?2 */
    FEED_Q_BETWEEN, /* how many match ?1 in ?2 .. ?3, up to ?4 */
    FEED_Q_DF,      /* of the term ?1, once sealed */
    FEED_Q_SPAN,    /* the oldest and the newest post's seq, or NULL */
    FEED_Q_SCAN,    /* as FEED_Q_SEARCH, of all posts */
    FEED_Q_N
};

struct feed_segment {
    int64_t n;
    enum feed_segment_state state;
    char *path;
    sqlite3 *db; /* NULL: not opened yet */
    sqlite3_stmt *q[FEED_Q_N];
    struct feed_filter filter;       /* of the writer */
    bool placed;                     /* the writer's, until it is sealed: `places` has every post */
    struct feed_keys places;         /* by key: the seq where it is, or was */
    uint64_t posts;                  /* of an open one, for the writer */
    bool merging_known, merges_late; /* the same: what its index was told (feed_apply.c) */
    int64_t counted;                 /* of a reader: posts, as of counted_s */
    double counted_s;
    int64_t first, last; /* of a reader: feed_segment_span */
    double span_s;
    bool some;
    struct feed_keys frequencies; /* of a reader, once sealed: posts that have a term, plus 1 */
};

#define FEED_POST_COLUMNS                                                                    \
    "seq,key,service,flags,id,author_id,author,name,lang,text,likes,reposts,replies,quotes," \
    "followers,edited,refs"
/* The post of a row whose columns from `at` on are those; lives until the next step. */
void feed_row_post(sqlite3_stmt *q, int at, struct feed_post *p);
/* What a post is ranked by, where a query asks for nothing that its text does not say: half the time. */
#define FEED_TEXT_COLUMNS "seq,text,likes,reposts,replies,quotes,followers"
void feed_row_text(sqlite3_stmt *q, struct feed_post *p);

int feed_segment_open(struct feed_segment *s, bool write, struct error *e);
int feed_segment_create(struct feed_segment *s, struct error *e);
void feed_segment_close(struct feed_segment *s);
int feed_segment_query(struct feed_segment *s, enum feed_segment_query which, sqlite3_stmt **q,
                       struct error *e);
/* Runs a query that gives no rows, and resets it. */
int feed_segment_run(struct feed_segment *s, enum feed_segment_query which, struct error *e);
/* Fills in s->first and s->last, a seq that is at or before every post's and one at or behind; of a
 * sealed segment, which posts only leave, as of a few seconds ago. *some: there are posts. */
int feed_segment_span(struct feed_segment *s, bool *some, struct error *e);
/* Whether a post is here, by key and id; *at where, but for the segment. 1, 0 or negative. */
struct feed_place {
    size_t segment; /* in the list of segments */
    int64_t seq, edited_ms;
};
int feed_segment_find(struct feed_segment *s, uint64_t key, const struct feed_post *p,
                      struct feed_place *at, struct error *e);
/* Takes a post and its terms out, within a transaction; 0 where there is none. Marks it touched. */
int feed_segment_remove(struct feed_segment *s, int64_t seq, struct error *e);
/* Puts one in at its seq or behind it; *seq is where. */
int feed_segment_insert(struct feed_segment *s, const struct feed_post *p, uint64_t key,
                        struct feed_slice terms, int64_t *seq, struct error *e);
/* Filter, and of one that is not sealed the places of its posts. */
int feed_segment_read_keys(struct feed_segment *s, uint64_t room, struct error *e);
/* Indexes the keys, merges the index of terms, writes filter and df. On a connection of its own. */
int feed_segment_seal(const char *path, struct error *e);
/* Begins a transaction, and counts in it which posts have which terms (df). */
int feed_segment_count(sqlite3 *db, const char *path, struct error *e);
/* Sequences of the posts of a term, newest first, into *out (mem_free). */
int feed_segment_term(struct feed_segment *s, const char *term, int64_t **out, size_t *n,
                      struct error *e);

/* ------------------------------------------------------------------ store.db (feed_manifest.c) */

struct feed_manifest {
    char *dir, *path;
    sqlite3 *db;
    int64_t version;               /* PRAGMA data_version when the list was read */
    struct feed_segment *segments; /* [n], oldest number first */
    size_t n, cap;
    double keep_s, keep_bytes;
    uint64_t segment_posts;
    uint64_t identity; /* drawn when the store was first written to, 53 bits; 0: not yet */
};
int feed_manifest_open(struct feed_manifest *m, const char *dir, bool write, struct error *e);
/* A new store.db, whatever else lies in the folder. */
int feed_manifest_make(struct feed_manifest *m, const char *dir, struct error *e);
void feed_manifest_close(struct feed_manifest *m);
/* The first seq that is not too old to be kept; what is before it is gone for every reader. */
int64_t feed_manifest_oldest(const struct feed_manifest *m);
/* Reads the list anew where it changed; segments that are still there stay open. */
int feed_manifest_refresh(struct feed_manifest *m, struct error *e);
int feed_manifest_setting(struct feed_manifest *m, const char *name, double value, struct error *e);
int feed_manifest_state(struct feed_manifest *m, int64_t n, enum feed_segment_state state,
                        struct error *e);
int feed_manifest_add(struct feed_manifest *m, struct feed_segment **out, struct error *e);
/* Forgets a segment and removes its files. */
int feed_manifest_drop(struct feed_manifest *m, size_t i, struct error *e);
/* Size of a segment's files. */
uint64_t feed_segment_bytes(const struct feed_segment *s);
/* The lock, held until the descriptor is closed; names who else holds it. */
int feed_store_lock(const char *dir, int *fd, struct error *e);

/* Numbers of the segments whose files lie in the folder, in their order; in *a (feed_repair.c). */
int feed_segments_in(const char *dir, struct arena *a, int64_t **out, size_t *n, struct error *e);
/* Whether the files of a store are whole: into v->damaged and v->report. With `repair` what is damaged
 * leaves the store. The caller holds the lock. */
int feed_store_look(const char *dir, bool repair, struct feed_verify *v, struct error *e);

/* ------------------------------------------------------------------ the writer */

struct feed_entry {
    struct feed_change change; /* slices point into the batch */
    uint64_t key, user_key;
    int64_t seq;
    struct feed_slice terms;
    bool drop;
};
struct feed_mark {
    char *name, *value;
};
struct feed_batch {
    char *data; /* [cap] */
    size_t used, cap;
    struct feed_entry *entries;
    size_t n, n_cap;
    struct feed_mark marks[8];
    size_t n_marks;
    double since_s; /* when the first one came */
};

/* What applying a batch needs; one thread's. */
struct feed_applier {
    struct feed_manifest m;
    struct feed_keys gone, in_batch; /* tombstones: value is when; keys of the batch: entry + 1 */
    struct feed_write_counts counts;
    struct feed_terms terms;
    struct feed_pending {
        int64_t segment, seq;
    } * pending;
    size_t n_pending, pending_cap;
    struct feed_keys pending_set; /* the same, to be asked */
    struct feed_raise {
        int64_t segment, seq, numbers[4]; /* likes, reposts, replies, quotes */
    } * raises;
    size_t n_raises, raises_cap;
    sqlite3_stmt *bury, *unbury;
    bool burying; /* a transaction of store.db is under way */
};
int feed_applier_open(struct feed_applier *x, const char *dir, const struct feed_write_options *o,
                      struct error *e);
int feed_applier_close(struct feed_applier *x, struct error *e);
/* All of it is committed, or nothing was but tombstones. */
int feed_apply(struct feed_applier *x, struct feed_batch *b, struct error *e);
struct feed_segment *feed_applier_open_segment(struct feed_applier *x);
/* Retention: segments that are too old or too many are dropped. */
int feed_applier_retain(struct feed_applier *x, struct error *e);

/* Whether a post is still at its place, and the hash of its text. 1, 0 or negative; for readers. */
int feed_store_post_hash(struct feed_store *s, int64_t place, const struct feed_post *p,
                         int64_t *hash, struct error *e);

struct feed_store {
    struct feed_manifest m;
    struct feed_keys frequencies; /* of terms, by hash, as of frequencies_s */
    double frequencies_s;
};

#endif
