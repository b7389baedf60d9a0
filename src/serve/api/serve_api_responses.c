/* serve_api_responses.c: OpenAI's other interface, /v1/responses: its requests turned to those of a
 * chat, and its answers: a response with output items, whole or as events. Nothing is stored: a
 * request that goes on from an earlier response is refused. */
#include "serve/api/serve_api_internal.h"

#include <string.h>

/* ------------------------------------------------------------------ requests */

/* One item of the input as a message. */
static int add_item(json_t *messages, const json_t *item, size_t i, struct api_error *x)
{
    const char *type = json_string_value(json_object_get(item, "type"));
    if (type && strcmp(type, "function_call_output") == 0) {
        json_array_append_new(messages, json_pack("{s:s, s:O*, s:O*}", "role", "tool",
                                                  "tool_call_id", json_object_get(item, "call_id"),
                                                  "content", json_object_get(item, "output")));
        return 0;
    }
    if (type && strcmp(type, "function_call") == 0) {
        json_array_append_new(messages,
                              json_pack("{s:s, s:n, s:[{s:O*, s:s, s:{s:O*, s:O*}}]}", "role",
                                        "assistant", "content", "tool_calls", "id",
                                        json_object_get(item, "call_id"), "type", "function",
                                        "function", "name", json_object_get(item, "name"),
                                        "arguments", json_object_get(item, "arguments")));
        return 0;
    }
    if (type && strcmp(type, "reasoning") == 0) return 0;
    if (!json_is_object(item) || (type && strcmp(type, "message") != 0))
        return api_wrong(x, 400, "input", "input[%zu] is nothing that is known here", i);
    json_array_append(messages, (json_t *)(uintptr_t)item);
    return 0;
}

static int read_input(const json_t *o, json_t *chat, struct api_error *x)
{
    json_t *input = json_object_get(o, "input"), *instructions = json_object_get(o, "instructions");
    json_t *messages = json_array();
    json_object_set_new(chat, "messages", messages);
    if (instructions && !json_is_null(instructions) && !json_is_string(instructions))
        return api_wrong(x, 400, "instructions", "'instructions' must be a string");
    if (json_is_string(instructions))
        json_array_append_new(messages,
                              json_pack("{s:s, s:O}", "role", "system", "content", instructions));
    if (json_is_string(input)) {
        json_array_append_new(messages, json_pack("{s:s, s:O}", "role", "user", "content", input));
        return 0;
    }
    if (!json_is_array(input))
        return api_wrong(x, 400, "input", "'input' must be a string or a list of items");
    for (size_t i = 0; i < json_array_size(input); i++)
        if (add_item(messages, json_array_get(input, i), i, x) < 0) return -1;
    return 0;
}

/* Tools have their function's members beside their type here. */
static void read_tools(const json_t *o, json_t *chat)
{
    const json_t *tools = json_object_get(o, "tools");
    json_t *list = json_array(), *choice = json_object_get(o, "tool_choice");
    for (size_t i = 0; i < json_array_size(tools); i++) {
        json_t *t = json_array_get(tools, i), *f = json_deep_copy(t);
        json_object_del(f, "type");
        json_object_del(f, "strict");
        json_array_append_new(
            list, json_pack("{s:O*, s:o}", "type", json_object_get(t, "type"), "function", f));
    }
    json_object_set_new(chat, "tools", list);
    if (choice) json_object_set(chat, "tool_choice", choice);
}

static int to_chat(const json_t *o, json_t *chat, struct api_error *x)
{
    static const char *const same[] = {"model",   "temperature", "top_p", "top_k",
                                       "min_p",   "seed",        "stop",  "parallel_tool_calls",
                                       "timeout", "stream"};
    json_t *most = json_object_get(o, "max_output_tokens"), *format;
    const json_t *before = json_object_get(o, "previous_response_id");
    if (before && !json_is_null(before))
        return api_wrong(x, 400, "previous_response_id",
                         "responses are not stored here: send the whole conversation");
    if (api_check_list(o, "tools", x) < 0) return -1;
    for (size_t i = 0; i < ARRAY_LEN(same); i++)
        if (json_object_get(o, same[i]))
            json_object_set(chat, same[i], json_object_get(o, same[i]));
    if (most) json_object_set(chat, "max_tokens", most);
    format = json_object_get(json_object_get(o, "text"), "format");
    if (format) json_object_set(chat, "response_format", format);
    read_tools(o, chat);
    return read_input(o, chat, x);
}

static const char *const fields[] = {"model",
                                     "input",
                                     "instructions",
                                     "max_output_tokens",
                                     "temperature",
                                     "top_p",
                                     "top_k",
                                     "min_p",
                                     "seed",
                                     "stop",
                                     "stream",
                                     "text",
                                     "tools",
                                     "tool_choice",
                                     "parallel_tool_calls",
                                     "timeout",
                                     "previous_response_id",
                                     "store",
                                     NULL};

void api_response_handler(void *ctx, http_request_t *r)
{
    struct serve_server *s = ctx;
    struct api_error x = {0};
    struct error e = {0};
    struct api_call *c = NULL;
    json_t *o, *chat = json_object();
    int taken = 0;
    if (http_body_json(r, &o, &e) < 0) {
        api_wrong(&x, 400, NULL, "%s", e.text);
        o = NULL;
    } else if ((taken = api_take_search(s, r, o, false, &x)) == 0 && to_chat(o, chat, &x) == 0) {
        c = api_read_chat(s, r, chat, API_RESPONSE, &x);
        if (c) api_name_unknown(r, o, fields);
    }
    json_decref(o);
    json_decref(chat);
    if (taken > 0) return;
    if (c && api_call_start(c, &x) == 0) return;
    api_call_free(c);
    api_reply_error(r, &x);
}

/* ------------------------------------------------------------------ answers */

static void put_usage(const struct api_call *c, struct json_writer *w)
{
    const struct api_usage u = api_usage_of(c);
    jsonw_open(w, "usage", '{');
    jsonw_int(w, "input_tokens", u.prompt);
    jsonw_open(w, "input_tokens_details", '{');
    jsonw_int(w, "cached_tokens", u.cached);
    jsonw_close(w, '}');
    jsonw_int(w, "output_tokens", u.written);
    jsonw_open(w, "output_tokens_details", '{');
    jsonw_int(w, "reasoning_tokens", u.thought);
    jsonw_close(w, '}');
    jsonw_int(w, "total_tokens", u.prompt + u.written);
    jsonw_close(w, '}');
}

static void put_part(struct json_writer *w, const char *key, const char *text, size_t n)
{
    jsonw_open(w, key, '{');
    jsonw_string(w, "type", "output_text");
    jsonw_string_n(w, "text", text, n);
    jsonw_open(w, "annotations", '[');
    jsonw_close(w, ']');
    jsonw_close(w, '}');
}

static void put_message(const struct api_call *c, struct json_writer *w, const char *key, bool done)
{
    const struct api_choice *k = &c->choices[0];
    jsonw_open(w, key, '{');
    jsonw_string(w, "type", "message");
    jsonw_string(w, "id", c->item);
    jsonw_string(w, "status", done ? "completed" : "in_progress");
    jsonw_string(w, "role", "assistant");
    jsonw_open(w, "content", '[');
    if (done) put_part(w, NULL, k->text.data, k->text.len);
    jsonw_close(w, ']');
    jsonw_close(w, '}');
}

static void put_call(struct json_writer *w, const char *key, const char *id, const char *name,
                     const char *arguments)
{
    jsonw_open(w, key, '{');
    jsonw_string(w, "type", "function_call");
    jsonw_string(w, "id", id);
    jsonw_string(w, "call_id", id);
    jsonw_string(w, "name", name);
    jsonw_string(w, "arguments", arguments);
    jsonw_string(w, "status", "completed");
    jsonw_close(w, '}');
}

/* The calls were gathered in a chat's form. */
static void put_calls(const struct api_choice *k, struct json_writer *w)
{
    json_t *calls = api_calls_of(k);
    for (size_t i = 0; i < json_array_size(calls); i++) {
        const json_t *one = json_array_get(calls, i), *f = json_object_get(one, "function");
        put_call(w, NULL, json_string_value(json_object_get(one, "id")),
                 json_string_value(json_object_get(f, "name")),
                 json_string_value(json_object_get(f, "arguments")));
    }
    json_decref(calls);
}

/* Tools have their function's members beside their type here. */
static void put_tools(const struct api_call *c, struct json_writer *w)
{
    jsonw_open(w, "tools", '[');
    for (size_t i = 0; i < json_array_size(c->tools); i++) {
        json_t *f = json_deep_copy(json_object_get(json_array_get(c->tools, i), "function"));
        json_object_set_new(f, "type", json_string("function"));
        char *text = json_dumps(f, JSON_COMPACT);
        str_printf(w->out, "%s%s", i ? "," : "", text ? text : "{}");
        mem_free(text);
        json_decref(f);
    }
    jsonw_close(w, ']');
}

static void put_response(const struct api_call *c, struct json_writer *w, const char *key,
                         bool done)
{
    const struct api_choice *k = &c->choices[0];
    bool cut = done && strcmp(api_reason(k), "length") == 0;
    jsonw_open(w, key, '{');
    jsonw_string(w, "id", c->id);
    jsonw_string(w, "object", "response");
    jsonw_int(w, "created_at", c->created);
    jsonw_string(w, "status", !done ? "in_progress" : cut ? "incomplete" : "completed");
    jsonw_string(w, "error", NULL);
    if (cut) {
        jsonw_open(w, "incomplete_details", '{');
        jsonw_string(w, "reason", "max_output_tokens");
        jsonw_close(w, '}');
    } else {
        jsonw_string(w, "incomplete_details", NULL);
    }
    jsonw_string(w, "instructions", NULL);
    jsonw_string(w, "model", c->s->id);
    jsonw_open(w, "output", '[');
    if (done && (k->text.len || k->n_calls == 0)) put_message(c, w, NULL, true);
    if (done && k->n_calls) put_calls(k, w);
    jsonw_close(w, ']');
    jsonw_bool(w, "parallel_tool_calls", !c->one_call);
    jsonw_real(w, "temperature", c->p.temperature);
    jsonw_real(w, "top_p", c->p.top_p);
    jsonw_string(w, "tool_choice", c->forced ? "required" : "auto");
    put_tools(c, w);
    if (done) put_usage(c, w);
    jsonw_close(w, '}');
}

/* ------------------------------------------------------------------ events */

static void open_event(struct api_call *c, struct json_writer *w, const char *type)
{
    str_clear(&c->line);
    jsonw_begin(w, &c->line);
    jsonw_open(w, NULL, '{');
    jsonw_string(w, "type", type);
    jsonw_int(w, "sequence_number", c->events++);
}

static void close_event(struct api_call *c, struct json_writer *w, const char *type)
{
    jsonw_close(w, '}');
    api_send(c, type);
}

static void send_response(struct api_call *c, const char *type, bool done)
{
    struct json_writer w;
    open_event(c, &w, type);
    put_response(c, &w, "response", done);
    close_event(c, &w, type);
}

static void begin(struct api_call *c)
{
    send_response(c, "response.created", false);
    send_response(c, "response.in_progress", false);
}

static void open_text(struct api_choice *k)
{
    struct api_call *c = k->call;
    struct json_writer w;
    k->text_offset = 1; /* the item is open */
    open_event(c, &w, "response.output_item.added");
    jsonw_int(&w, "output_index", 0);
    put_message(c, &w, "item", false);
    close_event(c, &w, "response.output_item.added");
    open_event(c, &w, "response.content_part.added");
    jsonw_string(&w, "item_id", c->item);
    jsonw_int(&w, "output_index", 0);
    jsonw_int(&w, "content_index", 0);
    put_part(&w, "part", "", 0);
    close_event(c, &w, "response.content_part.added");
}

static void close_text(struct api_choice *k)
{
    struct api_call *c = k->call;
    struct json_writer w;
    static const char *const types[] = {"response.output_text.done", "response.content_part.done"};
    for (int i = 0; i < 2; i++) {
        open_event(c, &w, types[i]);
        jsonw_string(&w, "item_id", c->item);
        jsonw_int(&w, "output_index", 0);
        jsonw_int(&w, "content_index", 0);
        if (i == 0)
            jsonw_string_n(&w, "text", k->text.data, k->text.len);
        else
            put_part(&w, "part", k->text.data, k->text.len);
        close_event(c, &w, types[i]);
    }
    open_event(c, &w, "response.output_item.done");
    jsonw_int(&w, "output_index", 0);
    put_message(c, &w, "item", true);
    close_event(c, &w, "response.output_item.done");
}

static void send_call(struct api_choice *k, const struct api_delta *d)
{
    static const char *const types[] = {"response.output_item.added", "response.output_item.done"};
    struct api_call *c = k->call;
    struct json_writer w;
    char id[48];
    api_new_id(c->s, "call_", id);
    for (int i = 0; i < 2; i++) {
        open_event(c, &w, types[i]);
        jsonw_int(&w, "output_index", k->n_calls + (k->text_offset > 0));
        put_call(&w, "item", id, d->call, d->arguments);
        close_event(c, &w, types[i]);
    }
}

static void delta(struct api_choice *k, const struct api_delta *d)
{
    struct api_call *c = k->call;
    struct json_writer w;
    if (d->call) send_call(k, d);
    if (d->text) {
        if (k->text_offset == 0) open_text(k);
        open_event(c, &w, "response.output_text.delta");
        jsonw_string(&w, "item_id", c->item);
        jsonw_int(&w, "output_index", 0);
        jsonw_int(&w, "content_index", 0);
        jsonw_string_n(&w, "delta", d->text, d->n);
        close_event(c, &w, "response.output_text.delta");
    }
    if (d->end && k->text_offset) close_text(k);
}

static void end(struct api_call *c)
{
    bool cut = strcmp(api_reason(&c->choices[0]), "length") == 0;
    send_response(c, cut ? "response.incomplete" : "response.completed", true);
}

static void whole(struct api_call *c)
{
    struct json_writer w;
    jsonw_begin(&w, &c->line);
    put_response(c, &w, NULL, true);
}

const struct api_shape api_response_shape = {"resp_", begin, delta, end, whole, api_error_json};
