/* feed_server.c: a store over HTTP: searches, trends, what it holds, and matches as they come.
 *
 *   GET /v1/search?q=...&limit=&page=&newest=1&depth=&half_life_s=&now_ms=
 *   GET /v1/trends?window_s=&limit=&lang=&min_authors=
 *   GET /v1/answers?limit=  answers that were kept; those whose sources are gone have expired
 *   GET /v1/ask?q=...       a question: its sources, then its answer (feed_server_ask.c)
 *   GET /v1/stats           with the rate at which posts come, and how old the newest is
 *   GET /v1/stream?q=...    server-sent events "post" with new matches, "lag" every five seconds
 *   GET /metrics            for Prometheus
 *   GET / and /feed.js      a page of rate, lag, trends and search
 *
 * The server's own thread only takes requests. Four threads answer them, each with the store opened
 * anew, so that trends of a long window do not hold searches up, and two at most of them questions,
 * for which a model may write for minutes; another one follows the store five
 * times a second and writes to the streams. Errors are {"error": {"message", "hint"}}. A stream whose
 * client is a megabyte behind is ended. */
#include "feed/show/feed_show_internal.h"

#include "http/http.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

#define N_WORKERS   4
#define MAX_ASKED   2 /* questions that are answered at once */
#define MAX_JOBS    256
#define MAX_STREAMS 256
#define RATE_S      60
#define BEHIND      (1u << 20)

struct job {
    http_request_t *r;
    bool question;
    void (*run)(struct feed_server *s, feed_store_t *store, http_request_t *r);
};

struct live {
    http_request_t *r;
    feed_query_t *q;
    double told_s;
};

struct feed_server {
    const char *dir;
    const struct feed_chat *chat; /* who writes answers, or NULL */
    size_t n_asked;               /* questions that are being answered */
    http_server_t *http;
    pthread_mutex_t guard;
    pthread_cond_t changed;
    struct job jobs[MAX_JOBS];
    size_t n_jobs;
    struct live streams[MAX_STREAMS];
    size_t n_streams;
    bool ending;
    pthread_t workers[N_WORKERS], follower;
    size_t n_workers;
    bool following;
    uint64_t came[RATE_S]; /* posts by second, of the last minute */
    int64_t came_second[RATE_S];
    int64_t newest_ms;
    uint64_t searches, posts_streamed;
    double search_s;
};

static void reply_error(http_request_t *r, const struct error *e)
{
    http_reply_error(r, e->code == ERROR_USAGE ? 400 : 500, e);
}

/* A whole number from least to most; *out is left alone where it is not given. */
struct bounds {
    const char *name;
    int64_t least, most;
};
static int number_of(http_request_t *r, struct bounds b, int64_t *out, struct error *e)
{
    const char *text = http_query(r, b.name);
    if (!text || (parse_int(text, out) == 0 && *out >= b.least && *out <= b.most)) return 0;
    return error_set_code(e, ERROR_USAGE,
                          "'%s' takes a whole number from %lld to %lld, not '%.60s'", b.name,
                          (long long)b.least, (long long)b.most, text);
}

static const char *const search_names[] = {"q",     "limit",  "page",        "newest",
                                           "depth", "now_ms", "half_life_s", NULL};
static const char *const trend_names[] = {"window_s", "limit", "lang", "min_authors", NULL};
static const char *const answer_names[] = {"limit", NULL};
static const char *const stream_names[] = {"q", NULL};
static const char *const no_names[] = {NULL};

/* ------------------------------------------------------------------ answers */

static int parse_query(http_request_t *r, feed_query_t **q, struct error *e)
{
    const char *text = http_query(r, "q");
    if (text) return feed_query_parse(text, q, e);
    error_set_code(e, ERROR_USAGE, "'q' is missing");
    return error_hint(e, "for example /v1/search?q=rocket");
}

static int read_search(http_request_t *r, struct feed_search_options *o, struct error *e)
{
    int64_t half_life = 0, newest = 0;
    *o = (struct feed_search_options){.limit = 20, .page = http_query(r, "page")};
    TRY(number_of(r, (struct bounds){"limit", 1, 1000}, &o->limit, e));
    TRY(number_of(r, (struct bounds){"depth", 1, 100000}, &o->depth, e));
    TRY(number_of(r, (struct bounds){"now_ms", 1, 3124137600000}, &o->now_ms, e));
    TRY(number_of(r, (struct bounds){"half_life_s", 1, 1000000000}, &half_life, e));
    TRY(number_of(r, (struct bounds){"newest", 0, 1}, &newest, e));
    o->half_life_s = (double)half_life;
    o->newest = newest;
    if (newest && (o->depth || o->now_ms || half_life))
        return error_set_code(e, ERROR_USAGE,
                              "'newest' goes by time: depth, now_ms and "
                              "half_life_s change nothing");
    return 0;
}

static void run_search(struct feed_server *s, feed_store_t *store, http_request_t *r)
{
    struct error e = {0};
    struct arena a = {0};
    struct feed_search_options o;
    struct feed_answer x = {0};
    feed_query_t *q = NULL;
    int rc = http_query_check(r, search_names, &e);
    if (rc >= 0) rc = parse_query(r, &q, &e);
    if (rc >= 0) rc = read_search(r, &o, &e);
    if (rc >= 0) rc = feed_search(store, q, &o, &a, &x, &e);
    if (rc < 0)
        reply_error(r, &e);
    else
        http_reply_json(r, 200, feed_answer_json(&x));
    pthread_mutex_lock(&s->guard);
    s->searches++;
    s->search_s += x.seconds;
    pthread_mutex_unlock(&s->guard);
    str_fini(&x.plan);
    feed_query_free(q);
    arena_fini(&a);
}

static void run_trends(struct feed_server *s, feed_store_t *store, http_request_t *r)
{
    struct error e = {0};
    struct arena a = {0};
    struct feed_trends x;
    struct feed_trend_options o = {.lang = http_query(r, "lang")};
    int64_t window = 0;
    (void)s;
    int rc = http_query_check(r, trend_names, &e);
    if (rc >= 0) rc = number_of(r, (struct bounds){"window_s", 1, 1000000000}, &window, &e);
    if (rc >= 0) rc = number_of(r, (struct bounds){"limit", 1, 60}, &o.limit, &e);
    if (rc >= 0)
        rc = number_of(r, (struct bounds){"min_authors", 1, 1000000000}, &o.min_authors, &e);
    o.window_s = (double)window;
    if (rc >= 0) rc = feed_trends(store, &o, &a, &x, &e);
    if (rc < 0)
        reply_error(r, &e);
    else
        http_reply_json(r, 200, feed_trends_json(&x));
    arena_fini(&a);
}

static void run_answers(struct feed_server *s, feed_store_t *store, http_request_t *r)
{
    struct error e = {0};
    json_t *all = NULL;
    int64_t limit = 20;
    (void)s;
    int rc = http_query_check(r, answer_names, &e);
    if (rc >= 0) rc = number_of(r, (struct bounds){"limit", 1, 1000}, &limit, &e);
    if (rc >= 0) rc = feed_replies(store, limit, &all, &e);
    if (rc < 0)
        reply_error(r, &e);
    else
        http_reply_json(r, 200, json_pack("{s:o}", "answers", all));
}

static void run_ask(struct feed_server *s, feed_store_t *store, http_request_t *r)
{
    struct error e = {0};
    if (feed_server_ask(s->chat, store, r, &e) < 0) reply_error(r, &e);
}

/* Posts a second over the last whole minute; the guard is held. */
static double rate_of(const struct feed_server *s)
{
    int64_t now = (int64_t)time_now_s();
    uint64_t sum = 0;
    for (size_t i = 0; i < RATE_S; i++)
        if (s->came_second[i] < now && s->came_second[i] >= now - RATE_S) sum += s->came[i];
    return (double)sum / RATE_S;
}

static double lag_of(const struct feed_server *s)
{
    return s->newest_ms ? (double)(feed_now_ms() - s->newest_ms) / 1000 : -1;
}

static void run_stats(struct feed_server *s, feed_store_t *store, http_request_t *r)
{
    struct error e = {0};
    struct arena a = {0};
    struct feed_stats x;
    if (http_query_check(r, no_names, &e) < 0 || feed_store_stats(store, &a, &x, &e) < 0) {
        reply_error(r, &e);
        arena_fini(&a);
        return;
    }
    json_t *gaps = json_array();
    for (size_t i = 0; i < x.n_gaps; i++)
        json_array_append_new(gaps,
                              json_pack("{s:s,s:s,s:I,s:I}", "source", x.gaps[i].source, "why",
                                        x.gaps[i].why, "from_ms", (json_int_t)x.gaps[i].from_ms,
                                        "to_ms", (json_int_t)x.gaps[i].to_ms));
    pthread_mutex_lock(&s->guard);
    double rate = rate_of(s), lag = lag_of(s);
    pthread_mutex_unlock(&s->guard);
    http_reply_json(r, 200,
                    json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:f,s:f,s:o}", "posts", (json_int_t)x.posts,
                              "segments", (json_int_t)x.segments, "bytes", (json_int_t)x.bytes,
                              "tombstones", (json_int_t)x.tombstones, "oldest_ms",
                              (json_int_t)x.oldest_ms, "newest_ms", (json_int_t)x.newest_ms,
                              "posts_per_s", rate, "lag_s", lag, "gaps", gaps));
    arena_fini(&a);
}

static void run_metrics(struct feed_server *s, feed_store_t *store, http_request_t *r)
{
    struct str out = {0};
    struct error e = {0};
    (void)store;
    if (http_query_check(r, no_names, &e) < 0) {
        reply_error(r, &e);
        return;
    }
    pthread_mutex_lock(&s->guard);
    const struct http_metric m[] = {
        {"colossus_feed_posts_per_second", "Posts that came, over the last minute.", HTTP_GAUGE,
         .value = rate_of(s)},
        {"colossus_feed_lag_seconds", "Age of the newest post.", HTTP_GAUGE, .value = lag_of(s)},
        {"colossus_feed_searches_total", "Searches answered.", HTTP_COUNTER,
         .value = (double)s->searches},
        {"colossus_feed_search_seconds_total", "Time spent on them.", HTTP_COUNTER,
         .value = s->search_s},
        {"colossus_feed_streams", "Streams of matches that are open.", HTTP_GAUGE,
         .value = (double)s->n_streams},
        {"colossus_feed_streamed_posts_total", "Matches written to streams.", HTTP_COUNTER,
         .value = (double)s->posts_streamed},
    };
    http_metrics_write(m, ARRAY_LEN(m), &out);
    pthread_mutex_unlock(&s->guard);
    http_reply(r, 200, HTTP_METRICS_TYPE, out.data, out.len);
    str_fini(&out);
}

/* ------------------------------------------------------------------ threads */

/* The first job that may be done now, taken out; false: there is none. The guard is held. */
static bool next_job(struct feed_server *s, struct job *out)
{
    for (size_t i = 0; i < s->n_jobs; i++) {
        if (s->jobs[i].question && s->n_asked == MAX_ASKED) continue;
        *out = s->jobs[i];
        memmove(s->jobs + i, s->jobs + i + 1, (--s->n_jobs - i) * sizeof(s->jobs[0]));
        s->n_asked += out->question;
        return true;
    }
    return false;
}

static void *work(void *ctx)
{
    struct feed_server *s = ctx;
    struct error e = {0};
    feed_store_t *store = NULL;
    for (;;) {
        struct job j;
        bool got;
        pthread_mutex_lock(&s->guard);
        while (!(got = next_job(s, &j)) && !(s->ending && s->n_jobs == 0))
            pthread_cond_wait(&s->changed, &s->guard);
        if (!got) break;
        pthread_mutex_unlock(&s->guard);
        if (!store && feed_store_open(s->dir, &store, &e) < 0) {
            reply_error(j.r, &e);
            store = NULL;
        } else {
            j.run(s, store, j.r);
        }
        pthread_mutex_lock(&s->guard);
        s->n_asked -= j.question;
        pthread_cond_broadcast(&s->changed);
        pthread_mutex_unlock(&s->guard);
    }
    pthread_mutex_unlock(&s->guard);
    feed_store_close(store);
    return NULL;
}

static void end_stream(struct feed_server *s, size_t i)
{
    http_stream_end(s->streams[i].r);
    feed_query_free(s->streams[i].q);
    s->streams[i] = s->streams[--s->n_streams];
}

/* New posts to whoever asked for them; the guard is held. */
static void hand_out(struct feed_server *s, const struct feed_post *posts, size_t n)
{
    double now = time_now_s();
    struct str line = {0};
    for (size_t i = s->n_streams; i-- > 0;) {
        struct live *x = &s->streams[i];
        for (size_t k = 0; k < n; k++) {
            if (!feed_query_matches(x->q, &posts[k])) continue;
            str_clear(&line);
            feed_post_json(&posts[k], &line);
            http_event(x->r, "post", line.data, line.len);
            s->posts_streamed++;
        }
        if (now - x->told_s >= 5) {
            str_clear(&line);
            str_printf(&line, "{\"posts_per_s\": %.1f, \"lag_s\": %.3f}", rate_of(s), lag_of(s));
            http_event(x->r, "lag", line.data, line.len);
            x->told_s = now;
        }
        if (http_is_gone(x->r) || http_stream_waiting(x->r) > BEHIND) end_stream(s, i);
    }
    str_fini(&line);
}

static void count_posts(struct feed_server *s, const struct feed_post *posts, size_t n)
{
    int64_t second = (int64_t)time_now_s();
    size_t at = (size_t)(second % RATE_S);
    if (s->came_second[at] != second) s->came[at] = 0;
    s->came_second[at] = second;
    s->came[at] += n;
    for (size_t i = 0; i < n; i++)
        if (posts[i].created_ms > s->newest_ms) s->newest_ms = posts[i].created_ms;
}

static void *follow(void *ctx)
{
    struct feed_server *s = ctx;
    struct error e = {0};
    feed_store_t *store = NULL;
    feed_tail_t *tail = NULL;
    struct feed_stats stats;
    struct arena first = {0};
    if (feed_store_open(s->dir, &store, &e) < 0 ||
        feed_store_stats(store, &first, &stats, &e) < 0 || feed_tail_new(store, &tail, &e) < 0)
        log_error("the store cannot be followed: %s", e.text);
    else
        s->newest_ms = stats.newest_ms;
    arena_fini(&first);
    for (bool ending = false; !ending;) {
        struct arena a = {0};
        struct feed_post *posts = NULL;
        size_t n = 0;
        int rc = tail ? feed_tail_next(tail, &a, &posts, &n, &e) : 0;
        if (rc < 0) {
            log_error("the store cannot be followed any more: %s", e.text);
            feed_tail_free(tail);
            tail = NULL;
            n = 0;
        }
        pthread_mutex_lock(&s->guard);
        count_posts(s, posts, n);
        hand_out(s, posts, n);
        ending = s->ending;
        pthread_mutex_unlock(&s->guard);
        arena_fini(&a);
        if (rc <= 0 && !ending) poll(NULL, 0, 200);
    }
    pthread_mutex_lock(&s->guard);
    while (s->n_streams)
        end_stream(s, s->n_streams - 1);
    pthread_mutex_unlock(&s->guard);
    feed_tail_free(tail);
    feed_store_close(store);
    return NULL;
}

/* ------------------------------------------------------------------ requests; the server's thread */

static void enqueue(struct feed_server *s, http_request_t *r,
                    void (*run)(struct feed_server *, feed_store_t *, http_request_t *))
{
    pthread_mutex_lock(&s->guard);
    bool full = s->n_jobs == MAX_JOBS || s->ending;
    if (!full) {
        http_defer(r);
        s->jobs[s->n_jobs++] = (struct job){r, run == run_ask, run};
        pthread_cond_broadcast(&s->changed);
    }
    pthread_mutex_unlock(&s->guard);
    if (full)
        http_reply_json(r, 503,
                        json_pack("{s:{s:s,s:s}}", "error", "message", "too many requests wait",
                                  "hint", "ask again later"));
}

static void on_search(void *ctx, http_request_t *r)
{
    enqueue(ctx, r, run_search);
}
static void on_trends(void *ctx, http_request_t *r)
{
    enqueue(ctx, r, run_trends);
}
static void on_answers(void *ctx, http_request_t *r)
{
    enqueue(ctx, r, run_answers);
}
static void on_ask(void *ctx, http_request_t *r)
{
    enqueue(ctx, r, run_ask);
}
static void on_stats(void *ctx, http_request_t *r)
{
    enqueue(ctx, r, run_stats);
}
static void on_metrics(void *ctx, http_request_t *r)
{
    enqueue(ctx, r, run_metrics);
}

static void on_stream(void *ctx, http_request_t *r)
{
    struct feed_server *s = ctx;
    struct error e = {0};
    feed_query_t *q;
    if (http_query_check(r, stream_names, &e) < 0 || parse_query(r, &q, &e) < 0) {
        reply_error(r, &e);
        return;
    }
    pthread_mutex_lock(&s->guard);
    bool full = s->n_streams == MAX_STREAMS || s->ending;
    if (!full) {
        http_defer(r);
        http_stream_begin(r, 200, HTTP_EVENTS);
        http_event_comment(r, "matches come as events 'post'");
        s->streams[s->n_streams++] = (struct live){r, q, 0};
    }
    pthread_mutex_unlock(&s->guard);
    if (!full) return;
    feed_query_free(q);
    http_reply_json(r, 503,
                    json_pack("{s:{s:s,s:s}}", "error", "message", "too many streams", "hint",
                              "ask again later"));
}

static void on_page(void *ctx, http_request_t *r)
{
    (void)ctx;
    http_add_header(r, "Content-Security-Policy",
                    "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; "
                    "connect-src 'self'; base-uri 'none'; form-action 'none'");
    http_reply(r, 200, "text/html; charset=utf-8", feed_page_html, strlen(feed_page_html));
}

static void on_script(void *ctx, http_request_t *r)
{
    (void)ctx;
    http_reply(r, 200, "text/javascript; charset=utf-8", feed_page_js, strlen(feed_page_js));
}

static const struct http_route routes[] = {
    {"GET", "/", on_page, true},
    {"GET", "/feed.js", on_script, true},
    {"GET", "/v1/search", on_search, false},
    {"GET", "/v1/trends", on_trends, false},
    {"GET", "/v1/answers", on_answers, false},
    {"GET", "/v1/ask", on_ask, false},
    {"GET", "/v1/stats", on_stats, false},
    {"GET", "/v1/stream", on_stream, false},
    {"GET", "/metrics", on_metrics, false},
};

static void write_error(int status, const char *text, struct str *out)
{
    struct json_writer w;
    jsonw_begin(&w, out);
    jsonw_open(&w, NULL, '{');
    jsonw_open(&w, "error", '{');
    jsonw_string(&w, "message", text);
    jsonw_int(&w, "status", status);
    jsonw_close(&w, '}');
    jsonw_close(&w, '}');
}

int feed_server_new(const struct feed_server_options *o, feed_server_t **out, struct error *e)
{
    feed_store_t *probe;
    TRY(feed_store_open(o->dir, &probe, e)); /* a store that is not there is said here */
    feed_store_close(probe);
    struct feed_server *s = mem_calloc(1, sizeof(*s));
    s->dir = o->dir;
    s->chat = o->chat;
    pthread_mutex_init(&s->guard, NULL);
    pthread_cond_init(&s->changed, NULL);
    const struct http_options h = {.host = o->host,
                                   .port = o->port,
                                   .routes = routes,
                                   .n_routes = ARRAY_LEN(routes),
                                   .ctx = s,
                                   .keys = o->keys,
                                   .n_keys = o->n_keys,
                                   .max_body = 4096,
                                   .error_body = write_error};
    int rc = http_server_new(&h, &s->http, e);
    for (; rc >= 0 && s->n_workers < N_WORKERS; s->n_workers++)
        if (pthread_create(&s->workers[s->n_workers], NULL, work, s) != 0)
            exit_exhausted("raise the limit on processes", "cannot begin a thread");
    if (rc >= 0 && pthread_create(&s->follower, NULL, follow, s) != 0)
        exit_exhausted("raise the limit on processes", "cannot begin a thread");
    s->following = rc >= 0;
    if (rc < 0) {
        feed_server_free(s);
        return rc;
    }
    *out = s;
    return 0;
}

int feed_server_port(const feed_server_t *s)
{
    return http_server_port(s->http);
}

void feed_server_free(feed_server_t *s)
{
    if (!s) return;
    if (s->http) http_server_quiesce(s->http);
    pthread_mutex_lock(&s->guard);
    s->ending = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->guard);
    for (size_t i = 0; i < s->n_workers; i++)
        pthread_join(s->workers[i], NULL);
    if (s->following) pthread_join(s->follower, NULL);
    http_server_free(s->http);
    pthread_mutex_destroy(&s->guard);
    pthread_cond_destroy(&s->changed);
    mem_free(s);
}
