/* feed_chat.c: a server of OpenAI's interface writes the answer: this program's (`colossus serve`), or
 * another one. Temperature 0; no tools are offered, so that whatever a post makes the model say, it
 * can only say it. What the server sends is bounded. */
#include "feed/ask/feed_ask_internal.h"

#include "http/http.h"

#define MAX_ANSWER ((size_t)1 << 20)

static bool take(void *ctx, const char *data, size_t n)
{
    struct str *out = ctx;
    if (out->len + n > MAX_ANSWER) return false;
    str_append(out, data, n);
    return true;
}

static int read_answer(const struct str *body, int status, struct str *out, struct error *e)
{
    json_t *root, *choice;
    const char *text = NULL, *problem = NULL;
    TRY(json_parse(body->len ? body->data : "", body->len, "the server's answer", &root, e));
    choice = json_array_get(json_object_get(root, "choices"), 0);
    text = json_string_value(json_object_get(json_object_get(choice, "message"), "content"));
    problem = json_string_value(json_object_get(json_object_get(root, "error"), "message"));
    int rc = 0;
    if (status != 200)
        rc = error_set(e, "the server answers %d: %.300s", status, problem ? problem : "no reason");
    else if (!text || !feed_utf8_valid(text, strlen(text)))
        rc = error_set(e, "the server's answer has no text");
    else
        str_puts(out, text);
    json_decref(root);
    return rc;
}

int feed_chat_write(void *ctx, const char *system, const char *user, struct str *out,
                    struct error *e)
{
    const struct feed_chat *c = ctx;
    struct str body = {0};
    json_t *ask = json_pack("{s:[{s:s,s:s},{s:s,s:s}],s:i,s:I,s:b}", "messages", "role", "system",
                            "content", system, "role", "user", "content", user, "temperature", 0,
                            "max_tokens", (json_int_t)c->max_tokens, "stream", 0);
    CHECK(ask != NULL);
    if (c->model) json_object_set_new(ask, "model", json_string(c->model));
    char *text = json_dumps(ask, JSON_COMPACT);
    json_decref(ask);
    const struct http_call call = {.url = c->url,
                                   .method = "POST",
                                   .path = "/chat/completions",
                                   .key = c->key,
                                   .body = text,
                                   .size = strlen(text),
                                   .timeout_s = c->timeout_s,
                                   .on_data = take,
                                   .ctx = &body};
    int status = http_call(&call, e);
    mem_free(text);
    int rc = status < 0 ? status : read_answer(&body, status, out, e);
    str_fini(&body);
    return rc;
}
