/* serve_api_messages.c: Anthropic's interface, /v1/messages: its requests turned to those of a chat,
 * and its answers: a message with blocks of content, whole or as events. */
#include "serve/api/serve_api_internal.h"

#include <string.h>

/* ------------------------------------------------------------------ requests */

static void add_text(struct str *all, const json_t *text)
{
    if (json_is_string(text)) str_append(all, json_string_value(text), json_string_length(text));
}

static bool is_block(const json_t *b, const char *type)
{
    const char *own = json_string_value(json_object_get(b, "type"));
    return own && strcmp(own, type) == 0;
}

/* A text, or the texts of a list of blocks. */
static json_t *texts_of(const json_t *content)
{
    struct str all = {0};
    str_reserve(&all, 1);
    add_text(&all, content);
    for (size_t i = 0; i < json_array_size(content); i++)
        add_text(&all, json_object_get(json_array_get(content, i), "text"));
    json_t *out = json_stringn(all.data, all.len);
    str_fini(&all);
    return out;
}

/* What the model thought before it said it, as clients send it back. */
static json_t *thoughts_of(const json_t *content)
{
    struct str all = {0};
    str_reserve(&all, 1);
    for (size_t i = 0; i < json_array_size(content); i++)
        if (is_block(json_array_get(content, i), "thinking"))
            add_text(&all, json_object_get(json_array_get(content, i), "thinking"));
    json_t *out = json_stringn(all.data, all.len);
    str_fini(&all);
    return out;
}

/* A block that is no text: a call, or what a tool gave. */
static int add_block(json_t *messages, json_t *calls, const json_t *b, struct api_error *x)
{
    const char *type = json_string_value(json_object_get(b, "type"));
    if (is_block(b, "text") && json_is_string(json_object_get(b, "text"))) return 0;
    if (is_block(b, "thinking") || is_block(b, "redacted_thinking")) return 0;
    if (is_block(b, "tool_use")) {
        char *input = json_dumps(json_object_get(b, "input"), JSON_COMPACT);
        json_array_append_new(calls, json_pack("{s:O*, s:s, s:{s:O*, s:s}}", "id",
                                               json_object_get(b, "id"), "type", "function",
                                               "function", "name", json_object_get(b, "name"),
                                               "arguments", input ? input : "{}"));
        mem_free(input);
        return 0;
    }
    if (is_block(b, "tool_result")) {
        json_array_append_new(messages,
                              json_pack("{s:s, s:O*, s:o}", "role", "tool", "tool_call_id",
                                        json_object_get(b, "tool_use_id"), "content",
                                        texts_of(json_object_get(b, "content"))));
        return 0;
    }
    return api_wrong(x, 400, "messages", "a block of the type '%.40s' is not read by this model",
                     type ? type : "");
}

static int add_message(json_t *messages, const json_t *m, struct api_error *x)
{
    const json_t *content = json_object_get(m, "content");
    const char *role = json_string_value(json_object_get(m, "role"));
    if (!role || (strcmp(role, "user") != 0 && strcmp(role, "assistant") != 0) ||
        !(json_is_string(content) || json_is_array(content)))
        return api_wrong(x, 400, "messages",
                         "a message needs a role, user or assistant, and "
                         "content");
    json_t *calls = json_array(), *text = texts_of(content);
    int rc = 0;
    for (size_t i = 0; i < json_array_size(content) && rc == 0; i++)
        rc = add_block(messages, calls, json_array_get(content, i), x);
    if (rc == 0 &&
        (json_string_length(text) || json_array_size(calls) || json_is_string(content))) {
        json_t *o = json_pack("{s:s, s:O}", "role", role, "content", text);
        json_t *thought = thoughts_of(content);
        if (json_array_size(calls)) json_object_set(o, "tool_calls", calls);
        if (json_string_length(thought)) json_object_set(o, "reasoning_content", thought);
        json_decref(thought);
        json_array_append_new(messages, o);
    }
    json_decref(calls);
    json_decref(text);
    return rc;
}

static void read_tools(const json_t *o, json_t *chat)
{
    const json_t *tools = json_object_get(o, "tools"), *choice = json_object_get(o, "tool_choice");
    const char *type = json_string_value(json_object_get(choice, "type"));
    json_t *list = json_array();
    for (size_t i = 0; i < json_array_size(tools); i++) {
        const json_t *t = json_array_get(tools, i);
        json_array_append_new(list, json_pack("{s:s, s:{s:O*, s:O*, s:O*}}", "type", "function",
                                              "function", "name", json_object_get(t, "name"),
                                              "description", json_object_get(t, "description"),
                                              "parameters", json_object_get(t, "input_schema")));
    }
    json_object_set_new(chat, "tools", list);
    json_t *single = json_object_get(choice, "disable_parallel_tool_use");
    if (json_is_boolean(single))
        json_object_set_new(chat, "parallel_tool_calls", json_boolean(json_is_false(single)));
    if (!type) return;
    if (strcmp(type, "tool") == 0)
        json_object_set_new(chat, "tool_choice",
                            json_pack("{s:s, s:{s:O*}}", "type", "function", "function", "name",
                                      json_object_get(choice, "name")));
    else
        json_object_set_new(chat, "tool_choice",
                            json_string(strcmp(type, "any") == 0 ? "required" : type));
}

static int to_chat(const json_t *o, json_t *chat, struct api_error *x)
{
    static const char *const same[] = {"model", "temperature", "top_p",     "top_k",
                                       "seed",  "stream",      "max_tokens"};
    const json_t *system = json_object_get(o, "system"), *list = json_object_get(o, "messages");
    json_t *messages = json_array(), *stop = json_object_get(o, "stop_sequences");
    json_object_set_new(chat, "messages", messages);
    if (api_check_list(o, "tools", x) < 0 || api_check_list(o, "stop_sequences", x) < 0) return -1;
    if (system && !json_is_null(system) && !json_is_string(system) && !json_is_array(system))
        return api_wrong(x, 400, "system", "'system' must be a string or a list of blocks");
    for (size_t i = 0; i < ARRAY_LEN(same); i++)
        if (json_object_get(o, same[i]))
            json_object_set(chat, same[i], json_object_get(o, same[i]));
    if (stop) json_object_set(chat, "stop", stop);
    if (system && !json_is_null(system))
        json_array_append_new(
            messages, json_pack("{s:s, s:o}", "role", "system", "content", texts_of(system)));
    if (!json_is_array(list) || json_array_size(list) == 0)
        return api_wrong(x, 400, "messages", "'messages' must be a list of at least one message");
    for (size_t i = 0; i < json_array_size(list); i++)
        if (add_message(messages, json_array_get(list, i), x) < 0) return -1;
    read_tools(o, chat);
    return 0;
}

static void error_json(const struct api_error *x, struct str *out)
{
    struct json_writer w;
    jsonw_begin(&w, out);
    jsonw_open(&w, NULL, '{');
    jsonw_string(&w, "type", "error");
    jsonw_open(&w, "error", '{');
    jsonw_string(&w, "type", x->type);
    jsonw_string(&w, "message", x->text);
    jsonw_close(&w, '}');
    jsonw_close(&w, '}');
}

static void reply_error(http_request_t *r, const struct api_error *x)
{
    struct str out = {0};
    error_json(x, &out);
    http_reply(r, x->status, HTTP_JSON, out.data, out.len);
    str_fini(&out);
}

static const char *const fields[] = {
    "model",          "messages", "system", "max_tokens", "top_k",       "temperature", "top_p",
    "stop_sequences", "stream",   "tools",  "seed",       "tool_choice", NULL};

/* The call of the body, or NULL and the error. */
static struct api_call *read_call(struct serve_server *s, http_request_t *r, bool count,
                                  struct api_error *x)
{
    struct error e = {0};
    struct api_call *c = NULL;
    json_t *o, *chat = json_object();
    if (http_body_json(r, &o, &e) < 0) {
        api_wrong(x, 400, NULL, "%s", e.text);
        o = NULL;
    } else if (!count && !json_is_integer(json_object_get(o, "max_tokens"))) {
        api_wrong(x, 400, "max_tokens", "'max_tokens' is needed");
    } else if (to_chat(o, chat, x) == 0) {
        c = api_read_chat(s, r, chat, API_MESSAGE, x);
        if (c) api_name_unknown(r, o, fields);
    }
    json_decref(o);
    json_decref(chat);
    return c;
}

void api_message_handler(void *ctx, http_request_t *r)
{
    struct api_error x = {0};
    struct api_call *c = read_call(ctx, r, false, &x);
    if (c && api_call_start(c, &x) == 0) return;
    api_call_free(c);
    reply_error(r, &x);
}

void api_count_handler(void *ctx, http_request_t *r)
{
    struct api_error x = {0};
    struct api_call *c = read_call(ctx, r, true, &x);
    if (!c) {
        reply_error(r, &x);
        return;
    }
    json_int_t n = (json_int_t)c->prompts[0].ids.count;
    api_call_free(c);
    http_reply_json(r, 200, json_pack("{s:I}", "input_tokens", n));
}

/* ------------------------------------------------------------------ answers */

static const char *stop_reason(const struct api_choice *k)
{
    const char *reason = api_reason(k);
    if (strcmp(reason, "length") == 0) return "max_tokens";
    if (strcmp(reason, "tool_calls") == 0) return "tool_use";
    return k->stop ? "stop_sequence" : "end_turn";
}

static void put_head(const struct api_call *c, struct json_writer *w)
{
    jsonw_string(w, "id", c->id);
    jsonw_string(w, "type", "message");
    jsonw_string(w, "role", "assistant");
    jsonw_string(w, "model", c->s->id);
}

static void put_usage(const struct api_call *c, struct json_writer *w)
{
    const struct api_usage u = api_usage_of(c);
    jsonw_open(w, "usage", '{');
    jsonw_int(w, "input_tokens", u.prompt);
    jsonw_int(w, "cache_read_input_tokens", u.cached);
    jsonw_int(w, "output_tokens", u.written);
    jsonw_close(w, '}');
}

static void put_calls(const struct api_choice *k, struct json_writer *w)
{
    json_t *calls = api_calls_of(k);
    for (size_t i = 0; i < json_array_size(calls); i++) {
        const json_t *one = json_array_get(calls, i), *f = json_object_get(one, "function");
        const char *input = json_string_value(json_object_get(f, "arguments"));
        jsonw_open(w, NULL, '{');
        jsonw_string(w, "type", "tool_use");
        jsonw_string(w, "id", json_string_value(json_object_get(one, "id")));
        jsonw_string(w, "name", json_string_value(json_object_get(f, "name")));
        jsonw_open(w, "input", '{'); /* the arguments are an object */
        str_append(w->out, input + 1, strlen(input) - 2);
        jsonw_close(w, '}');
        jsonw_close(w, '}');
    }
    json_decref(calls);
}

static void whole(struct api_call *c)
{
    const struct api_choice *k = &c->choices[0];
    struct json_writer w;
    jsonw_begin(&w, &c->line);
    jsonw_open(&w, NULL, '{');
    put_head(c, &w);
    jsonw_open(&w, "content", '[');
    if (k->thought.len) {
        jsonw_open(&w, NULL, '{');
        jsonw_string(&w, "type", "thinking");
        jsonw_string_n(&w, "thinking", k->thought.data, k->thought.len);
        jsonw_string(&w, "signature", "");
        jsonw_close(&w, '}');
    }
    if (k->text.len || k->n_calls == 0) {
        jsonw_open(&w, NULL, '{');
        jsonw_string(&w, "type", "text");
        jsonw_string_n(&w, "text", k->text.data, k->text.len);
        jsonw_close(&w, '}');
    }
    put_calls(k, &w);
    jsonw_close(&w, ']');
    jsonw_string(&w, "stop_reason", stop_reason(k));
    jsonw_string(&w, "stop_sequence", k->stop);
    put_usage(c, &w);
    jsonw_close(&w, '}');
}

/* ------------------------------------------------------------------ events */

enum block { BLOCK_NONE, BLOCK_TEXT, BLOCK_THOUGHT };

static void open_event(struct api_call *c, struct json_writer *w, const char *type)
{
    str_clear(&c->line);
    jsonw_begin(w, &c->line);
    jsonw_open(w, NULL, '{');
    jsonw_string(w, "type", type);
}

static void close_event(struct api_call *c, struct json_writer *w, const char *type)
{
    jsonw_close(w, '}');
    api_send(c, type);
}

static void begin(struct api_call *c)
{
    struct json_writer w;
    open_event(c, &w, "message_start");
    jsonw_open(&w, "message", '{');
    put_head(c, &w);
    jsonw_open(&w, "content", '[');
    jsonw_close(&w, ']');
    jsonw_string(&w, "stop_reason", NULL);
    jsonw_string(&w, "stop_sequence", NULL);
    put_usage(c, &w);
    jsonw_close(&w, '}');
    close_event(c, &w, "message_start");
}

/* lp_count is the number of blocks that were closed, text_offset what kind is open. */
static void close_block(struct api_choice *k)
{
    struct json_writer w;
    if (k->text_offset == BLOCK_NONE) return;
    open_event(k->call, &w, "content_block_stop");
    jsonw_int(&w, "index", (int64_t)k->lp_count++);
    close_event(k->call, &w, "content_block_stop");
    k->text_offset = BLOCK_NONE;
}

static void open_block(struct api_choice *k, enum block kind, const struct api_delta *d)
{
    struct json_writer w;
    char id[48];
    open_event(k->call, &w, "content_block_start");
    jsonw_int(&w, "index", (int64_t)k->lp_count);
    jsonw_open(&w, "content_block", '{');
    if (d->call) {
        api_new_id(k->call->s, "call_", id);
        jsonw_string(&w, "type", "tool_use");
        jsonw_string(&w, "id", id);
        jsonw_string(&w, "name", d->call);
        jsonw_open(&w, "input", '{');
        jsonw_close(&w, '}');
    } else {
        jsonw_string(&w, "type", kind == BLOCK_TEXT ? "text" : "thinking");
        jsonw_string(&w, kind == BLOCK_TEXT ? "text" : "thinking", "");
    }
    jsonw_close(&w, '}');
    close_event(k->call, &w, "content_block_start");
    k->text_offset = kind;
}

static void send_delta(struct api_choice *k, const char *type, const char *key, const char *text,
                       size_t n)
{
    struct json_writer w;
    open_event(k->call, &w, "content_block_delta");
    jsonw_int(&w, "index", (int64_t)k->lp_count);
    jsonw_open(&w, "delta", '{');
    jsonw_string(&w, "type", type);
    jsonw_string_n(&w, key, text, n);
    jsonw_close(&w, '}');
    close_event(k->call, &w, "content_block_delta");
}

static void delta(struct api_choice *k, const struct api_delta *d)
{
    enum block kind = d->text ? BLOCK_TEXT : d->thought ? BLOCK_THOUGHT : BLOCK_NONE;
    if (k->text_offset != (size_t)kind || d->call || d->end) close_block(k);
    if (d->call) {
        open_block(k, BLOCK_TEXT, d);
        send_delta(k, "input_json_delta", "partial_json", d->arguments, strlen(d->arguments));
        close_block(k);
    }
    if (kind == BLOCK_NONE) return;
    if (k->text_offset == BLOCK_NONE) open_block(k, kind, d);
    if (d->text)
        send_delta(k, "text_delta", "text", d->text, d->n);
    else
        send_delta(k, "thinking_delta", "thinking", d->thought, d->n);
}

static void end(struct api_call *c)
{
    struct json_writer w;
    open_event(c, &w, "message_delta");
    jsonw_open(&w, "delta", '{');
    jsonw_string(&w, "stop_reason", stop_reason(&c->choices[0]));
    jsonw_string(&w, "stop_sequence", c->choices[0].stop);
    jsonw_close(&w, '}');
    put_usage(c, &w);
    close_event(c, &w, "message_delta");
    open_event(c, &w, "message_stop");
    close_event(c, &w, "message_stop");
}

const struct api_shape api_message_shape = {"msg_", begin, delta, end, whole, error_json};
