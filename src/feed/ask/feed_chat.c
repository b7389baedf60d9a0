/* feed_chat.c: a server of OpenAI's interface writes the answer: this program's (`colossus serve`), or
 * another one. Temperature 0; no tools are offered, so that whatever a post makes the model say, it
 * can only say it. What the server sends is bounded. Where the caller wants to know meanwhile whether
 * anybody still waits, the answer is asked for as a stream; its pieces are put together at the end. */
#include "feed/ask/feed_ask_internal.h"

#include "http/http.h"

#define MAX_ANSWER ((size_t)8 << 20)

struct coming {
    struct feed_chat *c;
    struct str body;
};

static bool take(void *ctx, const char *data, size_t n)
{
    struct coming *x = ctx;
    if (x->body.len + n > MAX_ANSWER) return false;
    str_append(&x->body, data, n);
    return !x->c->is_wanted || x->c->is_wanted(x->c->wanted_ctx);
}

static int64_t count_of(const json_t *root, const char *key)
{
    return json_integer_value(json_object_get(json_object_get(root, "usage"), key));
}

static void note_usage(struct feed_chat *c, const json_t *root)
{
    if (!json_is_object(json_object_get(root, "usage"))) return;
    c->prompt_tokens = count_of(root, "prompt_tokens");
    c->written_tokens = count_of(root, "completion_tokens");
}

/* The text of the answer's first choice, appended; NULL where there is none. */
static const char *put_text(const json_t *root, const char *member, struct str *out)
{
    const json_t *choice = json_array_get(json_object_get(root, "choices"), 0);
    const char *text =
        json_string_value(json_object_get(json_object_get(choice, member), "content"));
    if (text) str_puts(out, text);
    return text;
}

static const char *problem_of(const json_t *root)
{
    return json_string_value(json_object_get(json_object_get(root, "error"), "message"));
}

static int read_answer(struct feed_chat *c, const struct str *body, int status, struct str *out,
                       struct error *e)
{
    json_t *root;
    TRY(json_parse(body->len ? body->data : "", body->len, "the server's answer", &root, e));
    const char *problem = problem_of(root);
    int rc = 0;
    if (status != 200)
        rc = error_set(e, "the server answers %d: %.300s", status, problem ? problem : "no reason");
    else if (!put_text(root, "message", out))
        rc = error_set(e, "the server's answer has no text");
    note_usage(c, root);
    json_decref(root);
    return rc;
}

/* The pieces of a stream of events, put together. */
static int read_stream(struct feed_chat *c, const struct str *body, struct str *out,
                       struct error *e)
{
    const char *at = body->len ? body->data : "", *end = at + body->len;
    int rc = 0;
    bool ended = false;
    while (at < end && rc >= 0 && !ended) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t n = newline ? (size_t)(newline - at) : (size_t)(end - at);
        json_t *root = NULL;
        if (n > 5 && memcmp(at, "data:", 5) == 0) {
            ended = n >= 12 && memcmp(at, "data: [DONE]", 12) == 0;
            if (!ended) rc = json_parse(at + 5, n - 5, "the server's answer", &root, e);
        }
        const char *problem = root ? problem_of(root) : NULL;
        if (problem) rc = error_set(e, "the server answers: %.300s", problem);
        if (root) put_text(root, "delta", out);
        if (root) note_usage(c, root);
        json_decref(root);
        at += n + 1;
    }
    if (rc >= 0 && !ended) rc = error_set(e, "the server's answer was cut off");
    return rc;
}

int feed_chat_write(void *ctx, const char *system, const char *user, struct str *out,
                    struct error *e)
{
    struct feed_chat *c = ctx;
    struct coming x = {.c = c};
    const bool stream = c->is_wanted != NULL;
    json_t *ask = json_pack("{s:[{s:s,s:s},{s:s,s:s}],s:i,s:I,s:b}", "messages", "role", "system",
                            "content", system, "role", "user", "content", user, "temperature", 0,
                            "max_tokens", (json_int_t)c->max_tokens, "stream", (int)stream);
    CHECK(ask != NULL);
    if (stream) json_object_set_new(ask, "stream_options", json_pack("{s:b}", "include_usage", 1));
    if (c->model) json_object_set_new(ask, "model", json_string(c->model));
    char *text = json_dumps(ask, JSON_COMPACT);
    json_decref(ask);
    const size_t before = out->len;
    const struct http_call call = {.url = c->url,
                                   .method = "POST",
                                   .path = "/chat/completions",
                                   .key = c->key,
                                   .body = text,
                                   .size = strlen(text),
                                   .timeout_s = c->timeout_s,
                                   .on_data = take,
                                   .ctx = &x};
    int status = http_call(&call, e), rc = status;
    mem_free(text);
    if (status >= 0)
        rc = stream && status == 200 ? read_stream(c, &x.body, out, e)
                                     : read_answer(c, &x.body, status, out, e);
    if (rc >= 0 && out->len > before && !feed_utf8_valid(out->data + before, out->len - before))
        rc = error_set(e, "the server's answer is not UTF-8");
    str_fini(&x.body);
    return rc;
}
