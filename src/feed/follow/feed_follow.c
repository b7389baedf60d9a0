/* feed_follow.c: streams of three services into a store, for as long as they last.
 *
 * A thread keeps the connection up: it waits as the service documents, asks again from where the
 * stream was, and puts lines into the queue. This thread takes them out, reads them, and hands posts
 * and the stream's place to the writer, which commits both together: so whatever happens, the next
 * process asks from a place whose posts are in the store, and what comes twice is a duplicate.
 *
 *   x          where it was: the moment something last came. Missed minutes are asked for by
 *              backfill_minutes, of which X gives five; what lies before that is a gap. Waits: at
 *              once when it closes or is silent for 20 s; 250 ms more each time up to 16 s where no
 *              connection is made; 5 s doubled up to 320 s after an HTTP error, 60 s doubled after
 *              429; at most 50 connections in a quarter of an hour
 *   jetstream  where it was: time_us of the last event, less five seconds, since the cursor includes
 *              it. A first event more than a minute behind that is a gap
 *   mastodon   where it was: the last status. What was missed is read from the timeline that belongs
 *              to the stream, forty at a time; where there is none, or more than 2,000, it is a gap */
#include "feed/follow/feed_follow_internal.h"

#include <curl/curl.h>
#include <poll.h>

#define MEMORY     ((size_t)64 << 20)
#define X_BACKFILL 5 /* minutes */
#define MAX_PAGES  50
#define QUARTER_S  900.0

static const struct feed_policy policies[] = {
    [FEED_FOLLOW_X] = {0.25, 0.25, 16, 5, 320, 60, 900, 20, 50},
    [FEED_FOLLOW_MASTODON] = {1, 0, 60, 5, 320, 60, 900, 60, 0},
    [FEED_FOLLOW_JETSTREAM] = {1, 0, 60, 5, 320, 60, 900, 60, 0},
};
const char *const feed_follow_names[] = {"x", "mastodon", "jetstream", NULL};

#define X_FIELDS                                                                            \
    "tweet.fields=attachments,author_id,conversation_id,created_at,edit_history_tweet_ids," \
    "entities,in_reply_to_user_id,lang,note_tweet,possibly_sensitive,public_metrics,"       \
    "referenced_tweets,withheld&expansions=author_id,attachments.media_keys"                \
    "&user.fields=name,username,verified,public_metrics&media.fields=type"

struct follower {
    const struct feed_follow_options *o;
    struct feed_link link;
    feed_writer_t *writer;
    feed_reader_t *reader;
    struct feed_counts counts;
    char *mark;
    int64_t marked, newest_ms; /* the mark's value; the newest post's time */
    bool thread;
    pthread_t link_thread;
    double told_s;
    uint64_t told_posts;
};

/* ------------------------------------------------------------------ the connection's thread */

static char *x_url(struct feed_link *x, struct arena *a)
{
    int64_t missed = feed_now_ms() - x->last_ms, minutes = (missed + 59999) / 60000;
    char backfill[40] = "";
    if (x->last_ms && !x->no_backfill) /* whole minutes; what was there comes twice */
        snprintf(backfill, sizeof(backfill), "&backfill_minutes=%d",
                 (int)MAX(1, MIN(minutes, (int64_t)X_BACKFILL)));
    return arena_printf(a, "%s/2/tweets/search/stream?" X_FIELDS "%s", x->o->url, backfill);
}

/* What even a backfill does not bring, known once a connection is up. */
static void x_connected(struct feed_link *x)
{
    int64_t now = feed_now_ms(), reach = x->no_backfill ? 0 : X_BACKFILL * 60000LL;
    if (x->last_ms && now - x->last_ms > reach + 1000)
        feed_link_gap(x, x->last_ms, now - reach,
                      x->no_backfill ? "no connection, and the service gives no backfill"
                                     : "no connection for longer than the service's backfill");
}

/* ".../api/v1/streaming/public/local" -> ".../api/v1/timelines/public?local=true"; NULL: none. */
static char *timeline_of(const char *url, struct arena *a)
{
    static const char path[] = "/api/v1/streaming/";
    const char *at = strstr(url, path);
    if (!at) return NULL;
    char *base = arena_strndup(a, url, (size_t)(at - url));
    const char *rest = at + sizeof(path) - 1;
    if (strncmp(rest, "public/local", 12) == 0)
        return arena_printf(a, "%s/api/v1/timelines/public?local=true&", base);
    if (strncmp(rest, "public/remote", 13) == 0)
        return arena_printf(a, "%s/api/v1/timelines/public?remote=true&", base);
    if (strncmp(rest, "public", 6) == 0)
        return arena_printf(a, "%s/api/v1/timelines/public?", base);
    if (strncmp(rest, "user", 4) == 0) return arena_printf(a, "%s/api/v1/timelines/home?", base);
    const char *tag = strncmp(rest, "hashtag", 7) == 0 ? strstr(rest, "tag=") : NULL;
    if (!tag) return NULL;
    return arena_printf(a, "%s/api/v1/timelines/tag/%.*s?", base, (int)strcspn(tag + 4, "&"),
                        tag + 4);
}

/* One page of statuses behind the cursor, each as a line; how many, or negative. */
static int fetch_page(struct feed_link *x, const char *timeline)
{
    struct str body = {0};
    struct error e = {0};
    char url[2048];
    snprintf(url, sizeof(url), "%slimit=40&min_id=%lld", timeline, (long long)x->cursor);
    long status = feed_fetch(x->o, url, NULL, &body, &e);
    json_t *list = status == 200 ? json_loadb(body.data, body.len, 0, NULL) : NULL;
    int n = json_is_array(list) ? (int)json_array_size(list) : -1;
    int64_t last = x->cursor;
    for (int i = 0; i < n && !x->error.code; i++) {
        char *line = json_dumps(json_array_get(list, (size_t)i), JSON_COMPACT);
        size_t size = strlen(line);
        int64_t id = feed_peek_number(line, size, "id");
        const char *own = json_string_value(json_object_get(json_array_get(list, (size_t)i), "id"));
        if (own && parse_int(own, &id) == 0 && id > last) last = id;
        feed_queue_put(x->queue, line, size, feed_now_ms(), &x->error);
        mem_free(line);
    }
    x->cursor = last;
    json_decref(list);
    str_fini(&body);
    return n;
}

static void mastodon_connected(struct feed_link *x)
{
    struct arena a = {0};
    char *timeline = timeline_of(x->o->url, &a);
    int64_t since = x->last_ms;
    if (x->cursor == 0) since = 0; /* the first time: nothing was missed */
    int n = since && timeline ? 1 : 0;
    for (int page = 0; since && timeline && n > 0 && page < MAX_PAGES; page++)
        n = fetch_page(x, timeline);
    if (since && (!timeline || n != 0))
        feed_link_gap(x, since, feed_now_ms(),
                      !timeline ? "no timeline belongs to this stream"
                      : n < 0   ? "the timeline could not be read"
                                : "more was missed than the timeline gives");
    arena_fini(&a);
}

static char *jetstream_url(struct feed_link *x, struct arena *a)
{
    bool asks = strchr(x->o->url, '?') != NULL;
    const char *wanted = strstr(x->o->url, "wantedCollections") ? ""
                         : asks ? "&wantedCollections=app.bsky.feed.post"
                                : "?wantedCollections=app.bsky.feed.post";
    if (x->cursor == 0) return arena_printf(a, "%s%s", x->o->url, wanted);
    x->expected_from = x->cursor;
    return arena_printf(a, "%s%s%scursor=%lld", x->o->url, wanted, asks || wanted[0] ? "&" : "?",
                        (long long)(x->cursor - 5000000));
}

static enum feed_end connect_once(struct feed_link *x)
{
    struct arena a = {0};
    enum feed_end end = FEED_END_STOPPED;
    x->connects++;
    switch (x->o->source) {
    case FEED_FOLLOW_X: end = feed_link_http(x, x_url(x, &a), x_connected); break;
    case FEED_FOLLOW_MASTODON: end = feed_link_http(x, x->o->url, mastodon_connected); break;
    case FEED_FOLLOW_JETSTREAM: end = feed_link_websocket(x, jetstream_url(x, &a)); break;
    }
    arena_fini(&a);
    return end;
}

static void wait_for(struct feed_link *x, double s)
{
    double until = time_now_s() + s / (x->o->hurry > 0 ? x->o->hurry : 1);
    x->state = "waiting";
    while (!atomic_load(&x->stop) && time_now_s() < until)
        poll(NULL, 0, 20);
}

/* Seconds until one more connection keeps the service's limit. */
static double limit_wait(double *times, size_t n, double now, double scale)
{
    double oldest = times[0]; /* of the last n */
    for (size_t i = 1; i < n; i++)
        oldest = MIN(oldest, times[i]);
    double wait = oldest > 0 ? QUARTER_S / scale - (now - oldest) : 0;
    return MAX(wait, 0);
}

static void say(const struct feed_link *x, enum feed_end end, double delay)
{
    static const char *const words[] = {"stopped",
                                        "the service closed the stream",
                                        "nothing came for too long",
                                        "no connection",
                                        "the service answers with an error",
                                        "the service asks to wait",
                                        "the service refuses"};
    char status[32] = "";
    if (x->status >= 300) snprintf(status, sizeof(status), " (%ld)", x->status);
    log_warn("%s: %s%s%s%.*s; again in %.1f s", x->o->name, words[end], status,
             x->answer.len ? ": " : "", (int)MIN(x->answer.len, (size_t)200),
             x->answer.len ? x->answer.data : "", delay);
}

static void *keep_up(void *ctx)
{
    struct feed_link *x = ctx;
    double times[64] = {0};
    size_t limit = (size_t)MIN(x->policy.connects, 64), made = 0;
    int n = 0;
    enum feed_end last = FEED_END_STOPPED;
    while (!atomic_load(&x->stop) && !x->error.code) {
        if (limit) {
            double scale = x->o->hurry > 0 ? x->o->hurry : 1;
            double wait = limit_wait(times, limit, time_now_s(), scale);
            if (wait > 0) wait_for(x, wait * scale);
            times[made++ % limit] = time_now_s();
        }
        enum feed_end end = connect_once(x);
        if (end == FEED_END_STOPPED) break;
        if (x->o->source == FEED_FOLLOW_X && x->status == 400 && !x->no_backfill && x->last_ms) {
            log_warn("%s: the service gives no backfill", x->o->name);
            x->no_backfill = true;
            continue;
        }
        if (end == FEED_END_REFUSED) {
            error_set(&x->error, "the service refuses (%ld): %.300s", x->status,
                      x->answer.len ? x->answer.data : "");
            error_hint(&x->error,
                       "--token-file names a file with a token that may read this stream");
            break;
        }
        n = x->data || end != last ? 1 : n + 1;
        last = end;
        double delay = feed_policy_delay(&x->policy, end, n);
        say(x, end, delay);
        wait_for(x, delay);
    }
    return NULL;
}

/* ------------------------------------------------------------------ the store's thread */

static int take(void *ctx, const struct feed_change *c, struct error *e)
{
    struct follower *f = ctx;
    if (c->post.created_ms > f->newest_ms) f->newest_ms = c->post.created_ms;
    return feed_writer_add(f->writer, c, e);
}

static void bad(void *ctx, const struct feed_bad *b)
{
    struct follower *f = ctx;
    if (f->counts.bad <= 20)
        log_warn("%s: a record that is not understood: %s", f->o->name, b->why);
}

/* Where the stream is behind this line. */
static int64_t place_of(const struct follower *f, const struct str *line, int64_t when_ms)
{
    if (f->o->source == FEED_FOLLOW_X) return when_ms;
    if (f->o->source == FEED_FOLLOW_JETSTREAM)
        return feed_peek_number(line->data, line->len, "time_us");
    bool data = line->len > 6 && (memcmp(line->data, "data: ", 6) == 0 || line->data[0] == '{');
    return data ? feed_peek_number(line->data, line->len, "id") : 0;
}

static int write_gaps(struct follower *f, struct error *e)
{
    struct feed_link *x = &f->link;
    for (;;) {
        pthread_mutex_lock(&x->guard);
        bool some = x->n_gaps > 0;
        struct feed_gap g = {0};
        char why[160];
        if (some) {
            g = x->gaps[--x->n_gaps];
            snprintf(why, sizeof(why), "%s", g.why);
            g.why = why;
        }
        pthread_mutex_unlock(&x->guard);
        if (!some) return 0;
        log_warn("%s: a gap of %.1f s: %s", f->o->name, (double)(g.to_ms - g.from_ms) / 1000,
                 g.why);
        TRY(feed_writer_gap(f->writer, &g, e));
    }
}

static void tell(struct follower *f)
{
    double now = time_now_s();
    uint64_t spilled, waiting = feed_queue_bytes(f->link.queue, &spilled);
    char size[32], more[32], lag[32];
    if (f->told_s == 0) f->told_s = now;
    if (now - f->told_s < 10) return;
    log_info("%s: %.1f posts/s, lag %s, %s wait%s%s", f->o->name,
             (double)(f->counts.posts - f->told_posts) / (now - f->told_s),
             f->newest_ms ? format_duration(lag, (double)(feed_now_ms() - f->newest_ms) / 1000)
                          : "N/A",
             format_bytes(size, (double)waiting), spilled ? ", on disk " : "",
             spilled ? format_bytes(more, (double)spilled) : "");
    f->told_s = now;
    f->told_posts = f->counts.posts;
}

static int one_line(struct follower *f, const struct str *line, int64_t when_ms, struct error *e)
{
    char value[32];
    TRY(feed_reader_line(f->reader, line->data ? line->data : "", line->len, NULL, e));
    int64_t place = place_of(f, line, when_ms);
    if (place <= f->marked) return 0;
    f->marked = place;
    snprintf(value, sizeof(value), "%lld", (long long)place);
    return feed_writer_mark(f->writer, f->mark, value, e);
}

static int run(struct follower *f, struct error *e)
{
    double until = f->o->seconds > 0 ? time_now_s() + f->o->seconds : INFINITY;
    struct str line = {0};
    int rc = 0;
    while (rc >= 0 && !*f->o->stopped && time_now_s() < until && !f->link.error.code) {
        int64_t when;
        int got = feed_queue_get(f->link.queue, &line, &when, 50, e);
        rc = got < 0 ? got : 0;
        if (got == 1) rc = one_line(f, &line, when, e);
        if (got == 2) { /* the file is used up */
            rc = feed_writer_flush(f->writer, e);
            if (rc >= 0) rc = feed_queue_reset(f->link.queue, e);
        }
        if (rc >= 0) rc = feed_writer_pump(f->writer, false, e);
        if (rc >= 0) rc = write_gaps(f, e);
        tell(f);
    }
    atomic_store(&f->link.stop, true);
    if (f->thread) pthread_join(f->link_thread, NULL);
    while (rc >= 0) { /* what is still in the queue */
        int64_t when;
        int got = feed_queue_get(f->link.queue, &line, &when, 0, e);
        if (got == 1) {
            rc = one_line(f, &line, when, e);
            continue;
        }
        if (got == 2) rc = feed_writer_flush(f->writer, e);
        if (got == 2 && rc >= 0) rc = feed_queue_reset(f->link.queue, e);
        if (got < 0) rc = got;
        if (got <= 0) break;
    }
    str_fini(&line);
    if (rc >= 0) rc = write_gaps(f, e);
    if (rc >= 0) rc = feed_writer_flush(f->writer, e);
    if (rc >= 0 && f->link.error.code) {
        if (e) *e = f->link.error;
        rc = f->link.error.code;
    }
    return rc;
}

/* Where the stream was when the last process ended. */
static int read_mark(struct follower *f, struct error *e)
{
    struct arena a = {0};
    feed_store_t *s;
    TRY(feed_store_open(f->o->dir, &s, e));
    const char *value = feed_store_mark(s, f->mark, &a);
    if (value && parse_int(value, &f->marked) == 0) {
        f->link.cursor = f->marked;
        f->link.last_ms = f->o->source == FEED_FOLLOW_X ? f->marked
                          : f->o->source == FEED_FOLLOW_JETSTREAM
                              ? f->marked / 1000
                              : f->marked >> 16; /* ids of Mastodon begin with the time */
    }
    feed_store_close(s);
    arena_fini(&a);
    return 0;
}

static int begin(struct follower *f, struct error *e)
{
    const struct feed_follow_options *o = f->o;
    struct feed_write_options w = o->write;
    TRY(feed_writer_open(o->dir, &w, &f->writer, e));
    TRY(read_mark(f, e));
    TRY(feed_queue_open(o->dir, o->memory ? o->memory : MEMORY, &f->link.queue, e));
    if (pthread_create(&f->link_thread, NULL, keep_up, &f->link) != 0)
        exit_exhausted("raise the limit on processes", "cannot begin a thread");
    f->thread = true;
    return 0;
}

int feed_follow(const struct feed_follow_options *o, struct feed_counts *counts,
                struct feed_write_counts *written, struct error *e)
{
    struct follower *f = mem_calloc(1, sizeof(*f));
    const struct feed_read_options r = {.sink = take, .ctx = f, .on_bad = bad};
    struct str mark = {0};
    str_printf(&mark, "cursor:%s:%s", feed_follow_names[o->source], o->url);
    f->o = o;
    f->mark = mark.data;
    f->link.o = o;
    f->link.policy = policies[o->source];
    if (o->hurry > 0) f->link.policy.silent_s /= o->hurry;
    pthread_mutex_init(&f->link.guard, NULL);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    f->reader = feed_reader_new(&r, &f->counts);
    int rc = begin(f, e);
    if (rc >= 0) rc = run(f, e);
    *counts = f->counts;
    if (f->writer) *written = feed_writer_counts(f->writer);
    int closed = feed_writer_close(f->writer, rc < 0 ? NULL : e);
    feed_queue_close(f->link.queue);
    feed_reader_free(f->reader);
    str_fini(&f->link.partial);
    str_fini(&f->link.answer);
    pthread_mutex_destroy(&f->link.guard);
    curl_global_cleanup();
    str_fini(&mark);
    mem_free(f);
    return rc < 0 ? rc : closed;
}

/* ------------------------------------------------------------------ rules of X */

int feed_rules(const struct feed_follow_options *o, enum feed_rule_act act, const char *text,
               json_t **out, struct error *e)
{
    struct str url = {0}, body = {0};
    char *post = NULL;
    str_printf(&url, "%s/2/tweets/search/stream/rules", o->url);
    json_t *j = act == FEED_RULE_ADD      ? json_pack("{s:[{s:s}]}", "add", "value", text)
                : act == FEED_RULE_REMOVE ? json_pack("{s:{s:[s]}}", "delete", "ids", text)
                                          : NULL;
    if (j) post = json_dumps(j, JSON_COMPACT);
    long status = feed_fetch(o, url.data, post, &body, e);
    *out = status > 0 ? json_loadb(body.data ? body.data : "", body.len, 0, NULL) : NULL;
    int rc = status < 0 ? (int)status : 0;
    if (rc >= 0 && (status < 200 || status > 299 || !*out)) {
        rc = error_set(e, "the service answers %ld: %.300s", status, body.len ? body.data : "");
        json_decref(*out);
        *out = NULL;
    }
    if (post) mem_free(post);
    json_decref(j);
    str_fini(&url);
    str_fini(&body);
    return rc;
}
