/* feed_server_ask.c: a question over HTTP: its sources at once, its answer when it is written.
 *
 *   GET /v1/ask?q=...&within=&sources=   server-sent events: "sources", then "answer"
 *
 * The answer is what `feed ask --json` prints. A client who leaves ends the writing. */
#include "feed/show/feed_show_internal.h"

#include <sys/random.h>

#define PING_S 5.0

static const char *const names[] = {"q", "within", "sources", NULL};

struct asking {
    http_request_t *r;
    struct feed_chat chat;
    bool begun;
    double wrote_s;
};

static void send(struct asking *x, const char *event, json_t *j)
{
    http_event_json(x->r, event, j);
    x->wrote_s = time_now_s();
}

static void tell_sources(void *ctx, const struct feed_reply *reply)
{
    struct asking *x = ctx;
    x->begun = true;
    http_stream_begin(x->r, 200, HTTP_EVENTS);
    send(x, "sources",
         json_pack("{s:o,s:f}", "sources", feed_sources_json(reply), "ms", reply->search_ms));
}

static bool is_wanted(void *ctx)
{
    struct asking *x = ctx;
    if (http_is_gone(x->r)) return false;
    if (time_now_s() - x->wrote_s > PING_S) {
        http_event_comment(x->r, "the answer is being written");
        x->wrote_s = time_now_s();
    }
    return true;
}

static int write_answer(void *ctx, const char *system, const char *user, struct str *out,
                        struct error *e)
{
    struct asking *x = ctx;
    return feed_chat_write(&x->chat, system, user, out, e);
}

/* within: what only narrows is right, since the question names what to look up. */
static int check_within(const char *within, struct error *e)
{
    feed_query_t *q;
    if (!within) return 0;
    if (feed_query_parse(within, &q, e) >= 0)
        feed_query_free(q);
    else if (strncmp(e->text, "the query names nothing", 23) != 0)
        return e->code;
    *e = (struct error){0};
    return 0;
}

static int read_request(struct asking *x, struct feed_ask_options *o, struct error *e)
{
    const char *sources = http_query(x->r, "sources");
    TRY(http_query_check(x->r, names, e));
    if (!http_query(x->r, "q")) {
        error_set_code(e, ERROR_USAGE, "'q' is missing");
        return error_hint(e, "for example /v1/ask?q=what+happened+to+the+bridge");
    }
    if (sources && (parse_int(sources, &o->sources) != 0 || o->sources < 1 || o->sources > 16))
        return error_set_code(e, ERROR_USAGE,
                              "'sources' takes a whole number from 1 to 16, not '%.60s'", sources);
    o->within = http_query(x->r, "within");
    TRY(check_within(o->within, e));
    if (getrandom(&o->mark, sizeof(o->mark), 0) != (ssize_t)sizeof(o->mark))
        return error_errno(e, "draw", "a mark");
    return 0;
}

int feed_server_ask(const struct feed_chat *chat, feed_store_t *store, http_request_t *r,
                    struct error *e)
{
    struct arena a = {0};
    struct feed_reply reply;
    struct asking x = {.r = r};
    struct feed_ask_options o = {.ctx = &x, .on_sources = tell_sources};
    if (chat) {
        x.chat = *chat;
        x.chat.is_wanted = is_wanted;
        x.chat.wanted_ctx = &x;
        o.write = write_answer;
        o.model = chat->model ? chat->model : "a model";
    }
    int rc = read_request(&x, &o, e);
    if (rc >= 0) rc = feed_ask(store, http_query(r, "q"), &o, &a, &reply, e);
    if (rc >= 0) {
        send(&x, "answer", feed_reply_json(&reply));
        http_stream_end(r);
    }
    arena_fini(&a);
    return rc;
}
