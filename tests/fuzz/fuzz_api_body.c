/* fuzz_api_body.c: any bytes as the body of a request to one of the interfaces, which the first
 * byte chooses, answered by a tiny model. Every body is answered, with a status that blames the
 * client or with what it asked for; an answer in one piece is JSON, and a stream ends. */
#include "../unit/serve_fixture.h"
#include "http/http_internal.h"
#include "serve/api/serve_api_internal.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static serve_server_t *start(void)
{
    static struct fixture f;
    static struct serve_model m;
    struct serve_server_options o = {
        .host = "127.0.0.1", .name = "tiny", .parallel = 4, .queue = 300, .timeout_s = 20};
    serve_server_t *s;
    struct error e = {0};
    fixture_make(&f);
    fixture_open(&f, 1, 1, 1, &m);
    CHECK_MSG(serve_server_new(&m, &o, &s, &e) == 0, "%s", e.text);
    fixture_remove(&f);
    return s;
}

/* A request as libmicrohttpd would have brought it, of a server that only counts it. */
static http_request_t *request(struct http_server *counts, const char *body, size_t size)
{
    http_request_t *r = mem_calloc(1, sizeof(*r));
    r->server = counts;
    r->holds = 2; /* this file's, and the handler's */
    r->method = "POST";
    r->path = r->rest = "";
    r->began_s = time_now_s();
    pthread_mutex_init(&r->lock, NULL);
    str_append(&r->body, body, size);
    counts->n_requests++;
    counts->body_bytes += size;
    return r;
}

static bool has_ended(http_request_t *r)
{
    pthread_mutex_lock(&r->lock);
    bool ended = r->ended && r->holds == 1; /* the handler has let go of it */
    pthread_mutex_unlock(&r->lock);
    return ended;
}

static void check_answer(const http_request_t *r)
{
    const char *text = r->out.data ? r->out.data : "";
    CHECK_MSG(r->answer_status != 500 && r->answer_status != 503, "%.200s", text);
    if (r->streaming) {
        CHECK(r->out.len > 2 && memcmp(text + r->out.len - 2, "\n\n", 2) == 0);
        return;
    }
    json_error_t why;
    json_t *v = json_loadb(text, r->out.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
    CHECK_MSG(v != NULL, "%s: %.400s", why.text, text);
    CHECK(r->answer_status == 200 || json_object_get(v, "error"));
    json_decref(v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static http_handler *const handlers[] = {
        api_chat_handler,     api_completion_handler, api_response_handler,
        api_message_handler,  api_count_handler,      api_embeddings_handler,
        api_tokenize_handler, api_detokenize_handler, api_template_handler};
    static serve_server_t *s;
    static struct http_server counts = {.lock = PTHREAD_MUTEX_INITIALIZER,
                                        .done = PTHREAD_COND_INITIALIZER};
    if (size == 0 || size > 20000) return 0;
    if (!s) s = start();
    http_request_t *r = request(&counts, (const char *)data + 1, size - 1);
    handlers[data[0] % ARRAY_LEN(handlers)](s, r);
    for (double until = time_now_s() + 60; !has_ended(r);) {
        CHECK_MSG(time_now_s() < until, "there is no answer");
        sched_yield();
    }
    check_answer(r);
    http_request_release(r);
    return 0;
}
