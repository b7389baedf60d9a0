/* serve_live.c: chats and responses that ask for sources, answered from a store of posts.
 *
 * The server reads such a request (serve_api_search.c) and hands it over. A thread of this file, with
 * the store opened for itself, gathers sources, which a stream begins with, lets the model write from
 * them and checks each sentence (feed/ask). The model is asked over HTTP, at this server's own address,
 * as `feed ask` does: so the answer takes its turn among all others, and a post's text never becomes a
 * control token. The writing is streamed, so that a client who leaves ends it. Where it fails the posts
 * are quoted, and the answer says so. */
#include "serve/live/serve_live_internal.h"

#include <pthread.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define N_WORKERS  2
#define MAX_JOBS   64
#define MAX_TOKENS 160 /* of an answer, where nothing is asked for */
#define PING_S     5.0

struct job {
    http_request_t *r;
    const struct serve_search_request *q;
};

struct serve_live {
    struct serve_live_options o;
    struct serve_search search;
    pthread_mutex_t looking;
    feed_store_t *looked_at; /* by gone(), under that lock */
    struct http_url url;     /* of the server that writes */
    pthread_mutex_t guard;
    pthread_cond_t changed;
    struct job jobs[MAX_JOBS];
    size_t n_jobs;
    bool ending;
    pthread_t workers[N_WORKERS];
    size_t n_workers;
    uint64_t number; /* of the last id */
};

static bool take(void *ctx, http_request_t *r, const struct serve_search_request *q)
{
    serve_live_t *l = ctx;
    pthread_mutex_lock(&l->guard);
    bool room = l->n_jobs < MAX_JOBS && !l->ending;
    if (room) {
        http_defer(r);
        l->jobs[l->n_jobs++] = (struct job){r, q};
        pthread_cond_signal(&l->changed);
    }
    pthread_mutex_unlock(&l->guard);
    return room;
}

static int gone(void *ctx, const json_t *versions, json_t **out, struct error *e)
{
    serve_live_t *l = ctx;
    pthread_mutex_lock(&l->looking);
    int rc = l->looked_at ? 0 : feed_store_open(l->o.store, &l->looked_at, e);
    if (rc >= 0)
        rc = feed_sources_gone(l->looked_at, versions, out, e);
    else
        l->looked_at = NULL;
    pthread_mutex_unlock(&l->looking);
    return rc;
}

/* ------------------------------------------------------------------ one answer */

struct writing {
    serve_live_t *l;
    struct live_answer *a;
    double until_s;
};

/* While the model writes: whether anybody still waits; a comment keeps the connection open. */
static bool is_wanted(void *ctx)
{
    struct writing *w = ctx;
    if (http_is_gone(w->a->http)) return false;
    if (w->a->begun && time_now_s() - w->a->wrote_s > PING_S) {
        http_event_comment(w->a->http, "the answer is being written");
        w->a->wrote_s = time_now_s();
    }
    return true;
}

static int write_answer(void *ctx, const char *system, const char *user, struct str *out,
                        struct error *e)
{
    struct writing *w = ctx;
    const struct serve_search_request *q = w->a->q;
    struct feed_chat c = {.url = &w->l->url,
                          .key = w->l->o.key,
                          .max_tokens = q->max_tokens > 0 ? q->max_tokens : MAX_TOKENS,
                          .timeout_s = fmax(w->until_s - time_now_s(), 0.1),
                          .is_wanted = is_wanted,
                          .wanted_ctx = w};
    int rc = feed_chat_write(&c, system, user, out, e);
    w->a->prompt_tokens = c.prompt_tokens;
    w->a->written_tokens = c.written_tokens;
    return rc;
}

static void tell_sources(void *ctx, const struct feed_reply *x)
{
    const struct writing *w = ctx;
    if (w->a->q->stream) live_begin(w->a, x);
}

static void name(serve_live_t *l, const char *prefix, char id[48])
{
    uint64_t random = 0;
    if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
        random = (uint64_t)(time_now_s() * 1e9);
    pthread_mutex_lock(&l->guard);
    uint64_t n = ++l->number;
    pthread_mutex_unlock(&l->guard);
    snprintf(id, 48, "%s%016llx%08llx", prefix, (unsigned long long)random,
             (unsigned long long)(n & 0xffffffffu));
}

static void answer(serve_live_t *l, feed_store_t *store, const struct job *j)
{
    struct error e = {0};
    struct arena a = {0};
    struct feed_reply reply;
    struct live_answer out = {.http = j->r, .q = j->q, .created = (int64_t)time(NULL)};
    double limit = l->o.timeout_s;
    if (j->q->timeout_s > 0) limit = fmin(limit, j->q->timeout_s);
    struct writing w = {.l = l, .a = &out, .until_s = time_now_s() + limit};
    struct feed_ask_options o = {.write = write_answer,
                                 .model = j->q->model,
                                 .ctx = &w,
                                 .within = j->q->within,
                                 .sources = j->q->sources,
                                 .on_sources = tell_sources};
    name(l, j->q->chat ? "chatcmpl-" : "resp_", out.id);
    name(l, "msg_", out.item);
    name(l, "xs_", out.search);
    int rc = getrandom(&o.mark, sizeof(o.mark), 0) == (ssize_t)sizeof(o.mark)
                 ? feed_ask(store, j->q->question, &o, &a, &reply, &e)
                 : error_errno(&e, "draw", "a mark");
    if (rc < 0)
        live_fail(&out, e.code == ERROR_USAGE ? 400 : 500, e.text);
    else
        live_end(&out, &reply);
    arena_fini(&a);
}

static void *work(void *ctx)
{
    serve_live_t *l = ctx;
    feed_store_t *store = NULL;
    for (;;) {
        pthread_mutex_lock(&l->guard);
        while (l->n_jobs == 0 && !l->ending)
            pthread_cond_wait(&l->changed, &l->guard);
        if (l->n_jobs == 0) break;
        struct job j = l->jobs[0];
        memmove(l->jobs, l->jobs + 1, --l->n_jobs * sizeof(l->jobs[0]));
        pthread_mutex_unlock(&l->guard);
        struct error e = {0};
        if (!store && feed_store_open(l->o.store, &store, &e) < 0) {
            struct live_answer out = {.http = j.r, .q = j.q};
            live_fail(&out, 500, e.text);
            store = NULL;
        } else {
            answer(l, store, &j);
        }
    }
    pthread_mutex_unlock(&l->guard);
    feed_store_close(store);
    return NULL;
}

/* ------------------------------------------------------------------ life */

int serve_live_new(const struct serve_live_options *o, serve_live_t **out, struct error *e)
{
    feed_store_t *probe;
    TRY(feed_store_open(o->store, &probe, e)); /* one that is not there is said here */
    feed_store_close(probe);
    serve_live_t *l = mem_calloc(1, sizeof(*l));
    l->o = *o;
    if (l->o.timeout_s <= 0) l->o.timeout_s = 120;
    l->search = (struct serve_search){l, take, gone};
    pthread_mutex_init(&l->guard, NULL);
    pthread_mutex_init(&l->looking, NULL);
    pthread_cond_init(&l->changed, NULL);
    *out = l;
    return 0;
}

const struct serve_search *serve_live_search(const serve_live_t *l)
{
    return &l->search;
}

void serve_live_begin(serve_live_t *l, const struct http_url *server)
{
    l->url = *server;
    for (; l->n_workers < N_WORKERS; l->n_workers++)
        if (pthread_create(&l->workers[l->n_workers], NULL, work, l) != 0)
            exit_exhausted("raise the limit on processes", "cannot begin a thread");
}

void serve_live_end(serve_live_t *l)
{
    pthread_mutex_lock(&l->guard);
    l->ending = true;
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->guard);
    for (size_t i = 0; i < l->n_workers; i++)
        pthread_join(l->workers[i], NULL);
    l->n_workers = 0;
}

void serve_live_free(serve_live_t *l)
{
    if (!l) return;
    serve_live_end(l);
    feed_store_close(l->looked_at);
    pthread_mutex_destroy(&l->looking);
    pthread_mutex_destroy(&l->guard);
    pthread_cond_destroy(&l->changed);
    mem_free(l);
}
