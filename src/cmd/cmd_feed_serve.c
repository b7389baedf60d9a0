/* cmd_feed_serve.c: `colossus feed serve`: a store over HTTP. */
#include "cmd/cmd_feed_internal.h"
#include "http/http.h"

#include <poll.h>
#include <string.h>

#define MAX_KEYS 64

struct serve_options {
    const char *host, *key_file, *model, *model_key_file;
    int64_t port;
    double seconds;
};

#define AT(field) offsetof(struct serve_options, field)
static const struct option rows[] = {
    CMD_TEXT("host", 0, host, "ADDRESS", "127.0.0.1",
             "where to listen; the address of a network lets others in: give a key then"),
    CMD_INT("port", 'p', port, NULL, "8090", 0, 65535, "0: any that is free, which is printed"),
    CMD_TEXT("api-key-file", 0, key_file, "FILE", NULL,
             "file with a key on each line; whoever asks must know one"),
    CMD_TEXT("model", 0, model, "ADDRESS", NULL,
             "server of OpenAI's interface that writes answers (http://127.0.0.1:8080/v1); without "
             "it posts are quoted"),
    CMD_TEXT("model-key-file", 0, model_key_file, "FILE", NULL,
             "file with that server's key, on its first line"),
    CMD_REAL("for", 0, seconds, "s", "0", 0, 1e9, "end after so long; 0: on ctrl-c"),
};
#undef AT

const struct option_table cmd_feed_serve_table = {
    "feed serve",
    "STORE [options]",
    "search, trends and new matches over HTTP, and a page of them",
    "GET /v1/search?q=...  /v1/trends  /v1/stats  /v1/stream?q=... (server-sent events)  /metrics\n"
    "/v1/ask?q=... (server-sent events: sources, then the answer)\n"
    "and a page at /. The store may be filled meanwhile.\n\n"
    "  colossus feed serve posts --port 0 --for 2\n"
    "  curl '127.0.0.1:8090/v1/search?q=rocket&limit=5'",
    rows,
    ARRAY_LEN(rows)};

static int serve(const struct option_line *l, void *options, struct error *e)
{
    const struct serve_options *o = options;
    const char *keys[MAX_KEYS];
    struct feed_server_options s = {.host = o->host, .port = (int)o->port, .keys = keys};
    struct feed_chat chat = {.max_tokens = 160, .timeout_s = 120};
    struct http_url url;
    feed_server_t *server;
    TRY(feed_only_store(l, "colossus feed serve posts", e));
    s.dir = l->rest[0];
    if (o->key_file) TRY(cmd_read_key_file(o->key_file, l->arena, keys, MAX_KEYS, &s.n_keys, e));
    if (o->model) {
        const char *model_key[2];
        size_t n = 0;
        TRY(http_url_parse(o->model, &url, e));
        if (o->model_key_file)
            TRY(cmd_read_key_file(o->model_key_file, l->arena, model_key, 2, &n, e));
        chat.url = &url;
        chat.key = n ? model_key[0] : NULL;
        s.chat = &chat;
    } else {
        TRY(feed_refuse_options(l, "model-key-file", "without --model", e));
    }
    if (s.n_keys == 0 && strncmp(o->host, "127.", 4) != 0 && strcmp(o->host, "localhost") != 0 &&
        strcmp(o->host, "::1") != 0)
        log_warn("everybody who reaches %s may read this store: --api-key-file asks for a key",
                 o->host);
    feed_catch_signals();
    TRY(feed_server_new(&s, &server, e));
    printf("%s on http://%s:%d/\n", s.dir, o->host, feed_server_port(server));
    fflush(stdout);
    double until = o->seconds > 0 ? time_now_s() + o->seconds : INFINITY;
    while (!feed_stopped && time_now_s() < until)
        poll(NULL, 0, 100);
    feed_server_free(server);
    return 0;
}

int cmd_feed_serve(int argc, char **argv)
{
    return cmd_run(&cmd_feed_serve_table, argc, argv, sizeof(struct serve_options), serve);
}
