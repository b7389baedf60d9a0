/* feed.h: posts of X, Bluesky, Mastodon and of tables: taken in from files and live streams, kept in
 * a store that is searched while it is written, and followed for what rises.
 *
 * Each sub-room stands on those before it: read (records become changes), words (a post becomes
 * terms), store (segments on disk), search, trends, ask (answers with sources), signals, show
 * (HTTP), follow (live connections). */
#ifndef COLOSSUS_FEED_H
#define COLOSSUS_FEED_H

#include "base/base.h"

#include <signal.h>

/* ------------------------------------------------------------------ posts (feed/read) */

/* Bytes somewhere else; not NUL-terminated. */
struct feed_slice {
    char *s;
    size_t n;
};

enum feed_service { FEED_OTHER, FEED_X, FEED_BLUESKY, FEED_MASTODON, FEED_N_SERVICES };
extern const char *const feed_service_names[]; /* "other", "x", "bluesky", "mastodon", NULL */

enum feed_flag {
    FEED_REPLY = 1,
    FEED_REPOST = 2,
    FEED_QUOTE = 4,
    FEED_LINKS = 8,
    FEED_IMAGES = 16,
    FEED_VIDEO = 32,
    FEED_SENSITIVE = 64,
    FEED_VERIFIED = 128, /* the author */
    FEED_EDITED = 256
};

/* A text that a service gives is as people see it: entities and HTML are undone. */
struct feed_post {
    enum feed_service service;
    unsigned flags;     /* enum feed_flag */
    int64_t created_ms; /* since 1970 */
    int64_t edited_ms;  /* 0: not known */
    int64_t likes, reposts, replies, quotes, followers;
    struct feed_slice id, author_id, author, name, lang, text;
    struct feed_slice reply_to, reply_user, repost_of, quote_of, conversation; /* ids; a name */
    struct feed_slice urls;  /* joined by blanks, as they were before shortening */
    struct feed_slice older; /* ids of the versions that this one replaces, joined by blanks */
};

/* What a record says. Only `service` and the ids count but in a post. */
enum feed_change_kind {
    FEED_POST,      /* a post, new or seen before */
    FEED_UPDATE,    /* its author has changed it */
    FEED_DELETE,    /* it vanishes, also where it comes later */
    FEED_WITHHELD,  /* the same, until it is restored */
    FEED_RESTORE,   /* it may come again */
    FEED_USER_GONE, /* all posts of author_id vanish */
    FEED_USER_BACK  /* they may come again */
};
struct feed_change {
    enum feed_change_kind kind;
    struct feed_post post;
};

/* Called for each change; what the post points at lives until it returns. Negative stops. */
typedef int feed_sink(void *ctx, const struct feed_change *c, struct error *e);

/* What was read. A record is a line, or what stands for one in CSV and in documents of JSON. */
struct feed_counts {
    uint64_t records, bytes, posts, changes; /* bytes: unpacked */
    uint64_t others;  /* understood, and of no interest: likes, follows, heartbeats */
    uint64_t bad;     /* not understood */
    uint64_t errors;  /* in-stream errors of the service, which are logged */
    uint64_t limited; /* posts that the service says it left out ("limit") */
};

/* Columns of CSV, or members of JSON lines, by what they mean. */
enum feed_field {
    FEED_FIELD_ID,
    FEED_FIELD_TEXT,
    FEED_FIELD_TIME,
    FEED_FIELD_AUTHOR,
    FEED_FIELD_AUTHOR_ID,
    FEED_FIELD_NAME,
    FEED_FIELD_LANG,
    FEED_FIELD_LIKES,
    FEED_FIELD_REPOSTS,
    FEED_FIELD_REPLIES,
    FEED_FIELD_FOLLOWERS,
    FEED_FIELD_REPLY_TO,
    FEED_N_FIELDS
};
struct feed_map {
    const char *names[FEED_N_FIELDS]; /* NULL: by the names that are usual */
    bool given;                       /* any is: JSON lines are read by it alone */
};
/* "text=body,id=tweet_id", added to *m, which begins as {0}; a field that is named twice is an error.
 * Strings in *a. */
int feed_map_parse(const char *text, struct arena *a, struct feed_map *m, struct error *e);

struct feed_bad {
    const char *path;
    uint64_t record; /* line, from 1 */
    const char *why; /* static, or lives during the call */
};
struct feed_read_options {
    feed_sink *sink;
    void *ctx;
    const struct feed_map *map;                          /* NULL: nothing is given */
    void (*on_bad)(void *ctx, const struct feed_bad *b); /* or NULL */
    /* Called where nothing came for a while, and after each block; negative stops. Or NULL. */
    int (*on_pause)(void *ctx, bool idle, struct error *e);
};
/* Reads a file (or "-") to its end: form by content, packed or not. Bad records are counted and
 * handed to on_bad; only what cannot be read at all is an error. Adds to *counts. */
int feed_read_file(const char *path, const struct feed_read_options *o, struct feed_counts *counts,
                   struct error *e);

/* A reader of single records, for streams and tests. */
typedef struct feed_reader feed_reader_t;
feed_reader_t *feed_reader_new(const struct feed_read_options *o, struct feed_counts *counts);
void feed_reader_free(feed_reader_t *r);
/* One line, copied. 0 also where it is bad, which is counted; *why (may be NULL) says what of. */
int feed_reader_line(feed_reader_t *r, const char *line, size_t n, const char **why,
                     struct error *e);

bool feed_time_parse(struct feed_slice s, int64_t *ms);
void feed_time_text(int64_t ms, char text[32]); /* "2026-07-04T14:38:06.240Z" */
int64_t feed_now_ms(void);

/* ------------------------------------------------------------------ the store (feed/store) */

typedef struct feed_store feed_store_t;   /* for readers; one thread */
typedef struct feed_writer feed_writer_t; /* one of a store at a time, by a lock */

struct feed_write_options {
    uint64_t segment_posts; /* 0: a million */
    double keep_s;          /* posts older than this are dropped; 0: as the store was told before */
    double keep_bytes;      /* the oldest segments are, beyond it; 0: the same */
    size_t batch_posts;     /* a transaction has at most so many; 0: 50,000 */
    double batch_s;         /* and waits at most so long; 0: 0.4 s */
};
struct feed_write_counts {
    uint64_t added, duplicates, updated, deleted, refused, expired;
    /* deleted: posts that were there and are gone; refused: came after their deletion; expired: older
     * than what is kept */
    uint64_t commits, segments;
};
/* Makes the folder where there is none. */
int feed_writer_open(const char *dir, const struct feed_write_options *o, feed_writer_t **out,
                     struct error *e);
/* Takes a change over, copied; waits where the disk is behind. Sent on in batches. */
int feed_writer_add(feed_writer_t *w, const struct feed_change *c, struct error *e);
/* A word that is kept with the posts before it, in the same transaction: where a stream is. */
int feed_writer_mark(feed_writer_t *w, const char *name, const char *value, struct error *e);
/* Sends on what is older than batch_s, or whatever there is. */
int feed_writer_pump(feed_writer_t *w, bool all, struct error *e);
/* Until everything taken over is committed. */
int feed_writer_flush(feed_writer_t *w, struct error *e);
/* How many calls of feed_writer_add are committed. */
uint64_t feed_writer_done(feed_writer_t *w);
struct feed_write_counts feed_writer_counts(feed_writer_t *w);
/* Commits, waits for what runs beside, frees. */
int feed_writer_close(feed_writer_t *w, struct error *e);

int feed_store_open(const char *dir, feed_store_t **out, struct error *e);
void feed_store_close(feed_store_t *s); /* accepts NULL */
/* The value of a mark, in *a; NULL where there is none. */
const char *feed_store_mark(feed_store_t *s, const char *name, struct arena *a);

/* Something that a stream is known to have missed. */
struct feed_gap {
    const char *source, *why;
    int64_t from_ms, to_ms;
};
int feed_writer_gap(feed_writer_t *w, const struct feed_gap *g, struct error *e);

struct feed_stats {
    uint64_t posts, segments, tombstones, bytes, by_service[FEED_N_SERVICES];
    int64_t oldest_ms, newest_ms; /* 0: no posts */
    double keep_s, keep_bytes;
    struct feed_gap *gaps; /* in the arena */
    size_t n_gaps;
};
int feed_store_stats(feed_store_t *s, struct arena *a, struct feed_stats *out, struct error *e);

/* Index against posts: each post's terms are made anew and looked for, and nothing else is there. Not
 * where files are damaged: with `repair` these are put aside first (feed_repair.c). */
struct feed_verify {
    uint64_t segments, posts, terms, wrong, damaged; /* damaged: files */
    struct str report; /* a line for each fault, up to a hundred, and for each file */
};
int feed_store_verify(const char *dir, bool repair, struct feed_verify *v, struct error *e);
/* Drops what is too old, merges the index of each segment that posts vanished from (of all, with
 * `whole`), gives back the room, empties the logs. *touched: segments. */
int feed_store_vacuum(const char *dir, bool whole, uint64_t *touched, struct error *e);
/* Every post as a line of JSON, oldest segment first, that feed_read_file reads back. */
int feed_store_export(feed_store_t *s, FILE *out, uint64_t *posts, struct error *e);
/* A post as one line of JSON without its end. */
void feed_post_json(const struct feed_post *p, struct str *out);

/* ------------------------------------------------------------------ search (feed/search) */

typedef struct feed_query feed_query_t; /* immutable */
/* X's operators. Errors name the place and say what may stand there. */
int feed_query_parse(const char *text, feed_query_t **out, struct error *e);
void feed_query_free(feed_query_t *q);
bool feed_query_matches(feed_query_t *q, const struct feed_post *p); /* one thread at a time */

struct feed_search_options {
    int64_t limit;      /* hits of a page */
    int64_t depth;      /* the newest so many matches are ranked; 0: 2,000 */
    double half_life_s; /* of recency; 0: six hours */
    int64_t now_ms;     /* recency is counted from here; 0: the newest post's time, or the clock
                         * where that is earlier */
    bool newest;        /* by time alone, to any depth */
    const char *page; /* what an earlier answer to the same question calls next; NULL: the first */
};
struct feed_hit {
    struct feed_post post; /* in the arena */
    int64_t place;         /* in the store, until it is changed or gone */
    double score, bm25, recency, engagement;
    double order; /* the score's natural logarithm, which is finite where the score has vanished */
    double half_lives; /* age: recency is 2 to the power of minus that */
};
struct feed_answer {
    struct feed_hit *hits;
    size_t n_hits;
    uint64_t matches; /* that were ranked */
    bool cut;         /* there are more matches than depth */
    const char *next; /* page; NULL: none */
    double seconds;
    struct str plan; /* what was looked up in the index, in the arena's life: str_fini it */
};
int feed_search(feed_store_t *s, feed_query_t *q, const struct feed_search_options *o,
                struct arena *a, struct feed_answer *out, struct error *e);
/* The same answer from reading every post, with document frequencies as feed_search takes them. */
int feed_search_scan(feed_store_t *s, feed_query_t *q, const struct feed_search_options *o,
                     struct arena *a, struct feed_answer *out, struct error *e);
/* What came into the store since the last call, oldest first, at most a few thousand; in *a. 1: there
 * is more at once, 0: not now. Only a store's own thread. */
typedef struct feed_tail feed_tail_t;
int feed_tail_new(feed_store_t *s, feed_tail_t **out, struct error *e); /* from now on */
int feed_tail_next(feed_tail_t *t, struct arena *a, struct feed_post **posts, size_t *n,
                   struct error *e);
void feed_tail_free(feed_tail_t *t);

json_t *feed_answer_json(const struct feed_answer *x);
json_t *feed_post_to_json(const struct feed_post *p);
/* Its texts become the arena's, as strings. */
void feed_post_copy(struct feed_post *p, struct arena *a);

/* ------------------------------------------------------------------ trends (feed/trends) */

#define FEED_SPREAD 24 /* parts of the window */

struct feed_trend_options {
    double window_s;     /* 0: an hour */
    int64_t history;     /* so many windows before it are its history; 0: 24 */
    int64_t limit;       /* 0: 20 */
    int64_t min_authors; /* fewer than that are no trend; 0: 3 */
    int64_t now_ms;   /* the window's end; 0: the newest post, or the clock where that is earlier */
    const char *lang; /* posts of this language alone; NULL: all */
};
struct feed_trend {
    const char *term;
    uint64_t posts;
    size_t voices;   /* authors who lead a group of one text: who do not copy */
    size_t copies;   /* posts that repeat or pass on another one's text */
    double expected; /* voices, by its own history */
    double score;    /* (voices - expected) / sqrt(expected + 1) */
    int64_t first_ms, last_ms;
    struct feed_post first;       /* the earliest post of the window */
    uint64_t spread[FEED_SPREAD]; /* posts by part of the window; of the newest 4,000 */
    uint64_t led[FEED_SPREAD];    /* those of them that copy none */
    const char *also[8];          /* terms of the same posts */
    size_t n_also;
};
struct feed_trends {
    struct feed_trend *trends; /* in the arena, best first */
    size_t n;
    uint64_t posts; /* of the window */
    bool cut;       /* there were more than 400,000: the window is cut to the newest */
    int64_t now_ms;
    double window_s,
        covered; /* windows of history that the store has; below a half: none is used */
};
int feed_trends(feed_store_t *s, const struct feed_trend_options *o, struct arena *a,
                struct feed_trends *out, struct error *e);
json_t *feed_trends_json(const struct feed_trends *x);

/* ------------------------------------------------------------------ answers (feed/ask) */

/* Writes what answers `user` under the orders of `system`, appended to *out. */
typedef int feed_write(void *ctx, const char *system, const char *user, struct str *out,
                       struct error *e);
/* A feed_write that asks a server of OpenAI's interface; ctx is a struct feed_chat. */
struct http_url; /* http/http.h */
struct feed_chat {
    const struct http_url *url; /* "http://HOST:PORT/v1" */
    const char *key, *model;    /* bearer token, and what the server calls it; or NULL */
    int64_t max_tokens;
    double timeout_s;
    /* Asked again and again while the answer comes, which is then a stream; false: nobody waits for it
     * any more. Or NULL. */
    bool (*is_wanted)(void *ctx);
    void *wanted_ctx;
    int64_t prompt_tokens, written_tokens; /* of the answer, where the server says it */
};
int feed_chat_write(void *ctx, const char *system, const char *user, struct str *out,
                    struct error *e);

struct feed_source {
    struct feed_post post; /* the earliest of those that say the same; in the arena */
    int64_t place;
    size_t posts, authors; /* that say the same in nearly the same words */
    size_t agree;          /* other authors who say it in words of their own, up to five */
    double covered;        /* share of the question's words, by weight */
    double relevance;
    const char *label; /* what a reader should know of it, or NULL */
    bool cited;
};
struct feed_sentence {
    const char *text;
    size_t source;       /* of the sources, from 0 */
    size_t voices;       /* independent authors who say it */
    const char *dropped; /* why it is not in the answer; NULL: it is */
};
struct feed_reply {
    const char *question, *model, *text; /* text: with [n] behind each sentence, and
                                          * "(single source)" where only others are borne out */
    const char *wrote;                   /* all that the model wrote, or NULL */
    const char *label;   /* "single source, unverified": nothing of it is borne out */
    const char *queries; /* what was searched for, a line each */
    int64_t asked_ms;
    uint64_t store;              /* its identity */
    struct feed_source *sources; /* best first */
    size_t n_sources;
    struct feed_sentence *sentences; /* that the model wrote */
    size_t n_sentences, n_kept, n_quotes;
    bool answered; /* there was something to say */
    bool quoted;   /* the text is posts, not sentences of a model */
    bool degraded; /* it is less than was asked for; reasons say why */
    const char **reasons;
    size_t n_reasons;
    size_t independent;      /* authors who were the first to say what is cited */
    size_t gathered, groups; /* posts that were looked at, texts among them */
    uint64_t orders;         /* posts left out that give orders to machines */
    double search_ms, write_ms, check_ms, total_ms;
};
struct feed_ask_options {
    feed_write *write; /* NULL: no model, posts are quoted */
    const char *model; /* as the answer names it */
    void *ctx;
    const char *within; /* a query that every source matches (from:, since:, lang:), or NULL */
    int64_t sources;    /* at most; 0: 8 */
    double half_life_s; /* of recency; 0: seven days */
    int64_t now_ms;     /* as of a search */
    uint64_t mark;      /* drawn anew for each question: no post knows it */
    void (*on_sources)(void *ctx, const struct feed_reply *x); /* they are there; or NULL */
};
/* What is found and written; an error where the question has no word to look for, or the store cannot
 * be read. A model that fails is no error: posts are quoted. All in *a. */
int feed_ask(feed_store_t *s, const char *question, const struct feed_ask_options *o,
             struct arena *a, struct feed_reply *x, struct error *e);
json_t *feed_reply_json(const struct feed_reply *x);
json_t *feed_sources_json(const struct feed_reply *x); /* an array, from when they are known on */
/* Where a service shows a post; false: that is not known. */
bool feed_post_link(const struct feed_post *p, char *out, size_t size);

/* What names source i, its store and what it says now: a word for feed_sources_gone. Empty where the post
 * has no id that is text, or nobody has written to the store since stores have an identity. */
void feed_source_version(const struct feed_reply *x, size_t i, struct str *out);
/* Of an array of such words those whose post is gone, or says something else, as a new array; of posts of
 * another store nothing is known, so they are not among them. ERROR_USAGE where one is no such word. */
int feed_sources_gone(feed_store_t *s, const json_t *versions, json_t **out, struct error *e);

/* Keeps an answer in the store's folder until a post that it cites is gone or changed; its number. */
int feed_reply_keep(const char *dir, const struct feed_reply *x, int64_t *id, struct error *e);
/* The newest answers, as an array. One that has expired has no text any more: "expired" says so. */
int feed_replies(feed_store_t *s, int64_t limit, json_t **out, struct error *e);
/* Looks through all of them; *expired: how many ended now. */
int feed_replies_sweep(const char *dir, uint64_t *expired, struct error *e);

/* ------------------------------------------------------------------ signals (feed/signals) */

enum feed_signal { /* what they are: feed_features.c */
                   FEED_SIGNAL_VOLUME,
                   FEED_SIGNAL_AUTHORS,
                   FEED_SIGNAL_NOVELTY,
                   FEED_SIGNAL_SENTIMENT,
                   FEED_SIGNAL_DISAGREEMENT,
                   FEED_SIGNAL_CAMPAIGN,
                   FEED_N_SIGNALS
};
enum { FEED_N_STRATEGIES = 5 }; /* the model, and four baselines */
extern const char *const feed_signal_names[], *const feed_strategy_names[]; /* up to NULL */
struct feed_signal_options {
    const char *prices; /* a folder with SYMBOL.csv: Date, Open, Close */
    const char *const *symbols;
    size_t n_symbols;
    double cost_bp;     /* of a round trip, in hundredths of a per cent */
    int64_t train_days; /* with posts, before the first that is tested; 0: 120 */
    int64_t draws;      /* of each bootstrap; 0: 2,000 */
    uint64_t seed;
};
struct feed_interval { /* NAN where so few days give none */
    double low, mean, high;
};
struct feed_strategy {
    size_t days; /* on which it took a side */
    struct feed_interval hit_rate, net_bp;
};
struct feed_signal_point {
    int64_t cut_ms; /* 09:30 of New York */
    size_t posts;
    double close, target, x[FEED_N_SIGNALS];
};
struct feed_signal_result {
    const char *symbol;
    size_t posts, days, tested, ranked; /* days: with posts; ranked: of the correlations */
    struct feed_strategy strategies[FEED_N_STRATEGIES];
    struct feed_interval beyond_bp; /* the model less always being long */
    double smallest_bp; /* an edge that these days would have shown, four times of five */
    double rho[FEED_N_SIGNALS], p[FEED_N_SIGNALS], p_holm[FEED_N_SIGNALS];
    size_t guard_days, guard_wrong; /* recomputed without the future; that came out otherwise */
    bool edge;
    struct feed_signal_point *points;
    size_t n_points;
};
struct feed_signals {
    struct arena *arena;
    struct feed_signal_result *results;
    size_t n, edges;
    double cost_bp;
};
/* What posts before 09:30 of New York say about the day's close over its open. */
int feed_signals(feed_store_t *s, const struct feed_signal_options *o, struct arena *a,
                 struct feed_signals *out, struct error *e);
json_t *feed_signals_json(const struct feed_signals *x);
/* Close, volume and sentiment of each symbol over time. */
int feed_signals_svg(const struct feed_signals *x, const char *path, struct error *e);

struct feed_alert_options {
    double span_s;    /* in which accounts post one text; 0: two hours */
    int64_t until_ms; /* posts before it alone; 0: all */
};
struct feed_alert {
    size_t authors, posts;        /* within the span */
    double fresh, stuffed, score; /* feed_campaign.c */
    int64_t first_ms, last_ms;
    struct feed_post shown[3]; /* of different authors; in the arena */
    size_t n_shown;
};
struct feed_alerts {
    struct feed_alert *alerts; /* best first */
    size_t n;
    uint64_t looked; /* posts with text enough that say not whose they are */
    bool cut;        /* there were more than 400,000 of them: the later ones were not looked at */
};
/* Campaigns: one text of several accounts in a short time. */
int feed_alerts(feed_store_t *s, const struct feed_alert_options *o, struct arena *a,
                struct feed_alerts *out, struct error *e);
json_t *feed_alerts_json(const struct feed_alerts *x);

/* ------------------------------------------------------------------ over HTTP (feed/show) */

struct feed_server_options {
    const char *dir, *host;
    int port;                /* 0: any that is free */
    const char *const *keys; /* without any, nobody needs one */
    size_t n_keys;
    const struct feed_chat *chat; /* who writes answers; NULL: posts are quoted */
};
typedef struct feed_server feed_server_t;
/* Listens; what *o points at must outlive the server. Routes: feed_server.c. */
int feed_server_new(const struct feed_server_options *o, feed_server_t **out, struct error *e);
int feed_server_port(const feed_server_t *s);
void feed_server_free(feed_server_t *s); /* accepts NULL */

/* ------------------------------------------------------------------ live streams (feed/follow) */

enum feed_follow_source { FEED_FOLLOW_X, FEED_FOLLOW_MASTODON, FEED_FOLLOW_JETSTREAM };
extern const char *const feed_follow_names[]; /* in that order, then NULL */
struct feed_follow_options {
    const char *dir;   /* of the store, which is made where there is none */
    const char *url;   /* X: of the service; others: of the stream */
    const char *name;  /* as messages and gaps call it */
    const char *token; /* bearer; NULL: none */
    enum feed_follow_source source;
    struct feed_write_options write;
    size_t memory;  /* bytes of lines that wait; 0: 64 MiB. What is beyond waits on disk */
    double seconds; /* end after so long; 0: when *stopped is set */
    double hurry;   /* divides all waits, for tests; 0: 1 */
    const volatile sig_atomic_t *stopped;
};
/* Follows until it is stopped. An error is of the store, or a refusal that waiting does not change. */
int feed_follow(const struct feed_follow_options *o, struct feed_counts *counts,
                struct feed_write_counts *written, struct error *e);
enum feed_rule_act { FEED_RULE_LIST, FEED_RULE_ADD, FEED_RULE_REMOVE };
/* Rules of X's filtered stream; text: a query to add, an id to remove. *out: the service's answer. */
int feed_rules(const struct feed_follow_options *o, enum feed_rule_act act, const char *text,
               json_t **out, struct error *e);

#endif
