/* feed_follow_internal.h: a live connection: a thread that keeps it up, a queue, and who empties it. */
#ifndef COLOSSUS_FEED_FOLLOW_INTERNAL_H
#define COLOSSUS_FEED_FOLLOW_INTERNAL_H

#include "feed/feed.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

/* ------------------------------------------------------------------ the queue (feed_queue.c) */

/* Lines in order, each with the moment when it came: in memory, and beyond a bound in a file of the
 * store's folder, which a process that died leaves to the next one. One thread puts, one gets. */
typedef struct feed_queue feed_queue_t;
int feed_queue_open(const char *dir, size_t memory, feed_queue_t **out, struct error *e);
void feed_queue_close(feed_queue_t *q);
int feed_queue_put(feed_queue_t *q, const char *line, size_t n, int64_t when_ms, struct error *e);
/* 1: a line; 0: none within wait_ms; 2: the file is used up: once what came of it is safe,
 * feed_queue_reset removes it. */
int feed_queue_get(feed_queue_t *q, struct str *line, int64_t *when_ms, int wait_ms,
                   struct error *e);
int feed_queue_reset(feed_queue_t *q, struct error *e);
uint64_t feed_queue_bytes(feed_queue_t *q, uint64_t *spilled); /* waiting; of these in the file */

/* ------------------------------------------------------------------ patience (feed_policy.c) */

/* How a connection ended. */
enum feed_end {
    FEED_END_STOPPED, /* we did */
    FEED_END_CLOSED,  /* the other side did, after data */
    FEED_END_SILENT,  /* nothing came for too long */
    FEED_END_TCP,     /* it could not be made, or broke */
    FEED_END_HTTP,    /* an answer that is an error */
    FEED_END_RATE,    /* 429 */
    FEED_END_REFUSED  /* an answer that will not change: 401, 403 */
};
struct feed_policy {
    double tcp_first_s, tcp_step_s, tcp_max_s; /* grows by the step; step 0: doubles */
    double http_first_s, http_max_s;           /* doubles */
    double rate_first_s, rate_max_s;           /* doubles */
    double silent_s;
    int connects; /* at most so many in a quarter of an hour; 0: any */
};
/* Seconds to wait after the n-th such end in a row (from 1). */
double feed_policy_delay(const struct feed_policy *p, enum feed_end end, int n);

/* ------------------------------------------------------------------ links */

struct feed_link {
    const struct feed_follow_options *o;
    struct feed_policy policy;
    feed_queue_t *queue;
    atomic_bool stop;
    /* of the connection that is up */
    struct str partial; /* the line under way */
    double heard_s;     /* when something last came */
    bool data;          /* a line came since it was made */
    long status;
    struct str answer;  /* of an answer that is an error, its beginning */
    struct error error; /* of the queue: ends everything */
    /* where the stream is, as its thread sees it */
    int64_t last_ms;       /* X: when something last came */
    int64_t cursor;        /* Jetstream: time_us of the last event; Mastodon: the last id */
    bool no_backfill;      /* the service refuses it */
    int64_t expected_from; /* Jetstream: the cursor that was asked for */
    /* gaps for the other thread to write down */
    pthread_mutex_t guard;
    struct feed_gap gaps[16];
    char whys[16][160];
    size_t n_gaps;
    uint64_t connects;
    const char *state; /* "connected", "waiting": for who watches */
};

/* Bytes of a stream: lines go to the queue. False: stop. */
bool feed_link_bytes(struct feed_link *x, const char *s, size_t n);
void feed_link_gap(struct feed_link *x, int64_t from_ms, int64_t to_ms, const char *why);
/* One connection from its beginning to its end. */
enum feed_end feed_link_http(struct feed_link *x, const char *url,
                             void (*connected)(struct feed_link *));
enum feed_end feed_link_websocket(struct feed_link *x, const char *url);
/* A request on its own; the body appended to *body; the status, or negative. */
long feed_fetch(const struct feed_follow_options *o, const char *url, const char *post,
                struct str *body, struct error *e);
/* What "id" or "time_us" says in a line, without reading it all; 0: nothing. */
int64_t feed_peek_number(const char *line, size_t n, const char *key);

#endif
