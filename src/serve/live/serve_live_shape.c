/* serve_live_shape.c: an answer from posts as a chat completion or a response, whole or as events.
 *
 * Both have the text with [n] behind each sentence, an annotation `url_citation` for each of these whose
 * post has an address, the addresses of all sources as `citations` (xAI's), and `search`: whether the
 * answer is less than was asked for and why, how independent its sources are, milliseconds by phase.
 * What a stream says of sources comes before a word is written: in a chat as `sources` of the first
 * piece, in a response with the item `x_search_call`. Places of annotations count characters. */
#include "serve/live/serve_live_internal.h"

#include <string.h>

/* ------------------------------------------------------------------ what both say */

/* "@ada, 2026-07-02", and what a reader should know of it. */
static json_t *title_of(const struct feed_source *s)
{
    struct str out = {0};
    char when[32];
    const struct feed_post *p = &s->post;
    const struct feed_slice who = p->author.n ? p->author : p->author_id;
    feed_time_text(p->created_ms, when);
    str_printf(&out, "%s%.*s, %.10s", p->author.n ? "@" : "", (int)who.n, who.n ? who.s : "", when);
    if (s->label) str_printf(&out, " (%s)", s->label);
    json_t *j = json_stringn(out.data, out.len);
    str_fini(&out);
    return j ? j : json_string("a post");
}

/* Where the source can be read; "" where nobody knows. */
static const char *link_of(const struct feed_source *s, char link[1024])
{
    if (!feed_post_link(&s->post, link, 1024)) link[0] = '\0';
    return link;
}

static json_t *sources_of(const struct feed_reply *x)
{
    json_t *list = json_array();
    struct str version = {0};
    char link[1024];
    for (size_t i = 0; i < x->n_sources; i++) {
        const struct feed_source *s = &x->sources[i];
        json_t *j = feed_post_to_json(&s->post);
        json_object_set_new(j, "n", json_integer((json_int_t)i + 1));
        json_object_set_new(j, "title", title_of(s));
        json_object_set_new(j, "url", json_string(link_of(s, link)));
        json_object_set_new(j, "cited", json_boolean(s->cited));
        json_object_set_new(j, "posts", json_integer((json_int_t)s->posts));
        json_object_set_new(j, "authors", json_integer((json_int_t)s->authors));
        feed_source_version(x, i, &version);
        if (version.len) json_object_set_new(j, "version", json_stringn(version.data, version.len));
        json_array_append_new(list, j);
    }
    str_fini(&version);
    return list;
}

static json_t *citations_of(const struct feed_reply *x)
{
    json_t *list = json_array();
    char link[1024];
    for (size_t i = 0; i < x->n_sources; i++)
        if (link_of(&x->sources[i], link)[0]) json_array_append_new(list, json_string(link));
    return list;
}

/* The text, and what a reader should know of it. */
static void put_text(const struct feed_reply *x, struct str *out)
{
    if (x->quoted) str_puts(out, "Quoted from posts:\n");
    str_puts(out, x->text);
    if (x->label) str_printf(out, "\n\n(%s)", x->label);
    size_t told = 0;
    for (size_t i = 0; i < x->n_reasons; i++)
        if (strcmp(x->reasons[i], "nothing was found") != 0) /* the text says it */
            str_printf(out, "%s%s", told++ ? "; " : "\n\nNote: ", x->reasons[i]);
}

/* One annotation for each [n] of the text that names a source with an address. */
static json_t *annotations_of(const struct live_answer *a, const struct feed_reply *x,
                              const char *text)
{
    json_t *list = json_array();
    char link[1024];
    int64_t place = 0; /* in characters */
    for (const char *s = text; *s; s++) {
        size_t digits = *s == '[' ? strspn(s + 1, "0123456789") : 0;
        size_t n = 0;
        for (size_t i = 0; i < digits && n < 1000; i++)
            n = n * 10 + (size_t)(s[1 + i] - '0');
        bool cites = digits > 0 && s[1 + digits] == ']' && n >= 1 && n <= x->n_sources;
        if (cites && link_of(&x->sources[n - 1], link)[0]) {
            json_t *c = json_pack("{s:s,s:o,s:I,s:I}", "url", link, "title",
                                  title_of(&x->sources[n - 1]), "start_index", (json_int_t)place,
                                  "end_index", (json_int_t)(place + (int64_t)digits + 2));
            CHECK(c != NULL);
            if (a->q->chat) {
                c = json_pack("{s:s,s:o}", "type", "url_citation", "url_citation", c);
            } else {
                json_object_set_new(c, "type", json_string("url_citation"));
            }
            json_array_append_new(list, c);
        }
        place += ((unsigned char)*s & 0xc0) != 0x80;
    }
    return list;
}

/* How the answer came about, without its text and sources. */
static json_t *search_of(const struct live_answer *a, const struct feed_reply *x)
{
    static const char *const elsewhere[] = {"answer",   "sources",  "sentences",
                                            "question", "asked_ms", "model"};
    json_t *j = feed_reply_json(x), *reasons = json_object_get(j, "reasons");
    for (size_t i = 0; i < ARRAY_LEN(elsewhere); i++)
        json_object_del(j, elsewhere[i]);
    for (size_t i = 0; i < a->q->n_notes; i++)
        json_array_append_new(reasons, json_string(a->q->notes[i]));
    return j;
}

static size_t used_of(const struct feed_reply *x)
{
    size_t n = 0;
    for (size_t i = 0; i < x->n_sources; i++)
        n += x->sources[i].cited;
    return n;
}

static void send(struct live_answer *a, const char *event, json_t *j)
{
    http_event_json(a->http, event, j);
    a->wrote_s = time_now_s();
}

static void begin_stream(struct live_answer *a)
{
    a->begun = true;
    http_stream_begin(a->http, 200, HTTP_EVENTS);
}

/* ------------------------------------------------------------------ chats */

static json_t *chat_head(const struct live_answer *a, bool chunk)
{
    return json_pack("{s:s,s:s,s:I,s:s}", "id", a->id, "object",
                     chunk ? "chat.completion.chunk" : "chat.completion", "created",
                     (json_int_t)a->created, "model", a->q->model);
}

static json_t *chat_usage(const struct live_answer *a, const struct feed_reply *x)
{
    return json_pack("{s:I,s:I,s:I,s:I}", "prompt_tokens", (json_int_t)a->prompt_tokens,
                     "completion_tokens", (json_int_t)a->written_tokens, "total_tokens",
                     (json_int_t)(a->prompt_tokens + a->written_tokens), "num_sources_used",
                     (json_int_t)used_of(x));
}

static void send_chunk(struct live_answer *a, json_t *delta, const char *finish, json_t *more)
{
    json_t *j = chat_head(a, true);
    json_object_set_new(j, "choices",
                        json_pack("[{s:i,s:o,s:n,s:s?}]", "index", 0, "delta", delta, "logprobs",
                                  "finish_reason", finish));
    if (more) json_object_update(j, more);
    json_decref(more);
    send(a, NULL, j);
}

static json_t *chat_more(const struct live_answer *a, const struct feed_reply *x)
{
    json_t *more = json_pack("{s:o}", "search", search_of(a, x));
    if (a->q->citations) json_object_set_new(more, "citations", citations_of(x));
    return more;
}

static void chat_end(struct live_answer *a, const struct feed_reply *x, const char *text)
{
    json_t *notes = annotations_of(a, x, text);
    if (a->begun) {
        send_chunk(a, json_pack("{s:s}", "content", text), NULL, NULL);
        send_chunk(a, json_pack("{s:o}", "annotations", notes), "stop", chat_more(a, x));
        if (a->q->include_usage) {
            json_t *j = chat_head(a, true);
            json_object_set_new(j, "choices", json_array());
            json_object_set_new(j, "usage", chat_usage(a, x));
            send(a, NULL, j);
        }
        http_event(a->http, NULL, "[DONE]", 6);
        http_stream_end(a->http);
        return;
    }
    json_t *j = chat_head(a, false), *more = chat_more(a, x);
    json_object_set_new(j, "choices",
                        json_pack("[{s:i,s:{s:s,s:s,s:o,s:o},s:n,s:s}]", "index", 0, "message",
                                  "role", "assistant", "content", text, "annotations", notes,
                                  "sources", sources_of(x), "logprobs", "finish_reason", "stop"));
    json_object_set_new(j, "usage", chat_usage(a, x));
    json_object_update(j, more);
    json_decref(more);
    http_reply_json(a->http, 200, j);
}

/* ------------------------------------------------------------------ responses */

static void send_response_event(struct live_answer *a, const char *type, json_t *j)
{
    json_object_set_new(j, "type", json_string(type));
    json_object_set_new(j, "sequence_number", json_integer((json_int_t)a->events++));
    send(a, type, j);
}

static json_t *search_item(const struct live_answer *a, const struct feed_reply *x)
{
    return json_pack("{s:s,s:s,s:s,s:{s:s,s:s,s:o}}", "type", "x_search_call", "id", a->search,
                     "status", "completed", "action", "type", "search", "query", a->q->question,
                     "sources", sources_of(x));
}

static json_t *text_part(const char *text, json_t *annotations)
{
    return json_pack("{s:s,s:s,s:o}", "type", "output_text", "text", text, "annotations",
                     annotations);
}

static json_t *message_item(const struct live_answer *a, json_t *part)
{
    json_t *content = json_array();
    if (part) json_array_append_new(content, part);
    return json_pack("{s:s,s:s,s:s,s:s,s:o}", "type", "message", "id", a->item, "status",
                     part ? "completed" : "in_progress", "role", "assistant", "content", content);
}

static json_t *response_of(const struct live_answer *a, json_t *output, const char *status)
{
    return json_pack("{s:s,s:s,s:I,s:s,s:n,s:n,s:n,s:s,s:o,s:b,s:s,s:[{s:s}]}", "id", a->id,
                     "object", "response", "created_at", (json_int_t)a->created, "status", status,
                     "error", "incomplete_details", "instructions", "model", a->q->model, "output",
                     output, "parallel_tool_calls", 0, "tool_choice", "auto", "tools", "type",
                     "x_search");
}

static json_t *whole_response(const struct live_answer *a, const struct feed_reply *x,
                              const char *text)
{
    json_t *output = json_array();
    json_array_append_new(output, search_item(a, x));
    json_array_append_new(output, message_item(a, text_part(text, annotations_of(a, x, text))));
    json_t *j = response_of(a, output, "completed");
    json_object_set_new(j, "usage",
                        json_pack("{s:I,s:I,s:I,s:I}", "input_tokens", (json_int_t)a->prompt_tokens,
                                  "output_tokens", (json_int_t)a->written_tokens, "total_tokens",
                                  (json_int_t)(a->prompt_tokens + a->written_tokens),
                                  "num_sources_used", (json_int_t)used_of(x)));
    json_object_set_new(j, "citations", citations_of(x));
    json_object_set_new(j, "search", search_of(a, x));
    return j;
}

static void response_begin(struct live_answer *a, const struct feed_reply *x)
{
    static const char *const types[] = {"response.created", "response.in_progress"};
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        send_response_event(
            a, types[i],
            json_pack("{s:o}", "response", response_of(a, json_array(), "in_progress")));
    send_response_event(a, "response.output_item.added",
                        json_pack("{s:i,s:{s:s,s:s,s:s}}", "output_index", 0, "item", "type",
                                  "x_search_call", "id", a->search, "status", "in_progress"));
    send_response_event(a, "response.output_item.done",
                        json_pack("{s:i,s:o}", "output_index", 0, "item", search_item(a, x)));
}

/* An event about the message's only part. */
static json_t *about_part(const struct live_answer *a)
{
    return json_pack("{s:s,s:i,s:i}", "item_id", a->item, "output_index", 1, "content_index", 0);
}

static void send_part(struct live_answer *a, const char *type, const char *key, json_t *value)
{
    json_t *j = about_part(a);
    json_object_set_new(j, key, value);
    send_response_event(a, type, j);
}

static void response_end(struct live_answer *a, const struct feed_reply *x, const char *text)
{
    json_t *whole = whole_response(a, x, text), *notes = annotations_of(a, x, text);
    if (!a->begun) {
        json_decref(notes);
        http_reply_json(a->http, 200, whole);
        return;
    }
    send_response_event(a, "response.output_item.added",
                        json_pack("{s:i,s:o}", "output_index", 1, "item", message_item(a, NULL)));
    send_part(a, "response.content_part.added", "part", text_part("", json_array()));
    send_part(a, "response.output_text.delta", "delta", json_string(text));
    for (size_t i = 0; i < json_array_size(notes); i++) {
        json_t *j = about_part(a);
        json_object_set_new(j, "annotation_index", json_integer((json_int_t)i));
        json_object_set(j, "annotation", json_array_get(notes, i));
        send_response_event(a, "response.output_text.annotation.added", j);
    }
    send_part(a, "response.output_text.done", "text", json_string(text));
    send_part(a, "response.content_part.done", "part", text_part(text, json_incref(notes)));
    send_response_event(
        a, "response.output_item.done",
        json_pack("{s:i,s:o}", "output_index", 1, "item", message_item(a, text_part(text, notes))));
    send_response_event(a, "response.completed", json_pack("{s:o}", "response", whole));
    http_stream_end(a->http);
}

/* ------------------------------------------------------------------ either */

void live_begin(struct live_answer *a, const struct feed_reply *x)
{
    begin_stream(a);
    if (a->q->chat)
        send_chunk(a,
                   json_pack("{s:s,s:s,s:o}", "role", "assistant", "content", "", "sources",
                             sources_of(x)),
                   NULL, NULL);
    else
        response_begin(a, x);
}

void live_end(struct live_answer *a, const struct feed_reply *x)
{
    struct str text = {0};
    put_text(x, &text);
    http_note(a->http, "%zu sources, %s%s", x->n_sources,
              !x->answered ? "no answer"
              : x->quoted  ? "quoted"
                           : "written",
              http_is_gone(a->http) ? ", cancelled" : "");
    if (a->q->chat)
        chat_end(a, x, text.data);
    else
        response_end(a, x, text.data);
    str_fini(&text);
}

void live_fail(struct live_answer *a, int status, const char *text)
{
    http_reply_json(a->http, status,
                    json_pack("{s:{s:s,s:s,s:n,s:n}}", "error", "message", text, "type",
                              status < 500 ? "invalid_request_error" : "server_error", "param",
                              "code"));
}
