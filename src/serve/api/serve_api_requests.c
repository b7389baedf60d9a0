/* serve_api_requests.c: the bodies of requests: chats, completions, tokens, templates, embeddings. */
#include "serve/api/serve_api_internal.h"

#include <string.h>

/* ------------------------------------------------------------------ what all do */

json_t *api_read_body(http_request_t *r)
{
    json_t *o;
    struct error e = {0};
    struct api_error x;
    if (http_body_json(r, &o, &e) == 0) return o;
    api_wrong(&x, 400, NULL, "%s", e.text);
    api_reply_error(r, &x);
    return NULL;
}

/* Ends a request whose call could not start. */
static void refuse(http_request_t *r, json_t *body, struct api_call *c, const struct api_error *x)
{
    if (body) json_decref(body);
    api_call_free(c);
    api_reply_error(r, x);
}

/* ------------------------------------------------------------------ chats */

/* What chats and completions both take. */
#define COMMON_FIELDS                                                                            \
    "model", "temperature", "top_p", "min_p", "top_k", "presence_penalty", "frequency_penalty",  \
        "repetition_penalty", "repeat_penalty", "max_tokens", "n", "seed", "stop", "logit_bias", \
        "logprobs", "stream", "stream_options", "ignore_eos", "user", "cache_prompt", "timeout"

static const char *const chat_fields[] = {COMMON_FIELDS,
                                          "messages",
                                          "tools",
                                          "tool_choice",
                                          "parallel_tool_calls",
                                          "response_format",
                                          "max_completion_tokens",
                                          "top_logprobs",
                                          "chat_template_kwargs",
                                          "continue_final_message",
                                          "add_generation_prompt",
                                          NULL};

static int read_chat(struct serve_server *s, http_request_t *r, const json_t *o,
                     struct api_params *p, struct api_error *x)
{
    if (api_check_model(s, o, x) < 0) return -1;
    if (api_read_params(s, o, http_arena(r), p, x) < 0) return -1;
    if (api_read_bool(o, "logprobs", &p->logprobs, x) < 0) return -1;
    if (api_read_int(o, "top_logprobs", 0, ENGINE_MAX_TOP, &p->top_logprobs, x) < 0) return -1;
    if (p->top_logprobs && !p->logprobs)
        return api_wrong(x, 400, "top_logprobs", "'top_logprobs' needs 'logprobs': true");
    if (p->max_tokens == 0)
        return api_wrong(x, 400, "max_tokens", "'max_tokens' is 0, must be at least 1");
    return 0;
}

struct chat_ids {
    struct token_array *ids;
    bool thinks; /* the text begins within a thought that the template has begun */
};

/* The messages as ids. */
static int chat_prompt(struct serve_server *s, struct arena *a, const json_t *o,
                       const json_t *tools, struct chat_ids *out, struct api_error *x)
{
    struct api_chat chat = {.messages = json_object_get(o, "messages"),
                            .tools = tools,
                            .extra = json_object_get(o, "chat_template_kwargs"),
                            .add_prompt = true};
    struct jinja_text text;
    if (api_read_bool(o, "add_generation_prompt", &chat.add_prompt, x) < 0) return -1;
    if (api_read_bool(o, "continue_final_message", &chat.go_on, x) < 0) return -1;
    if (api_render(s, &chat, a, &text, x) < 0) return -1;
    if (api_check_size(s, text.size, "messages", x) < 0) return -1;
    api_encode(s, &text, out->ids);
    while (text.size && strchr(" \n", text.text[text.size - 1]))
        text.size--;
    out->thinks = text.size > 7 && memcmp(text.text + text.size - 7, "<think>", 7) == 0;
    return 0;
}

struct api_call *api_read_chat(struct serve_server *s, http_request_t *r, const json_t *o,
                               enum api_kind kind, struct api_error *x)
{
    struct api_params p;
    struct api_tools tools = {0};
    grammar_t *format = NULL;
    if (read_chat(s, r, o, &p, x) < 0 || api_read_tools(o, &tools, x) < 0) return NULL;
    if (api_read_format(o, &format, x) < 0) {
        grammar_free(tools.grammar);
        return NULL;
    }
    struct api_call *c = api_call_new(s, r, kind, &p, 1);
    if (tools.tools) c->tools = json_deep_copy(tools.tools);
    c->forced = tools.forced;
    c->one_call = tools.one;
    struct chat_ids ids = {&c->prompts[0].ids, false};
    int rc = 0;
    if (format && tools.grammar)
        rc = api_wrong(x, 400, "response_format",
                       "'response_format' beside a tool that must be "
                       "called");
    if (rc == 0) rc = chat_prompt(s, c->arena, o, tools.tools, &ids, x);
    if (rc < 0) {
        grammar_free(format);
        grammar_free(tools.grammar);
        api_call_free(c);
        return NULL;
    }
    for (int i = 0; i < c->n_choices && (format || ids.thinks); i++)
        c->choices[i].part = format ? API_PART_TEXT : API_PART_THOUGHT;
    if (format || tools.grammar) api_constrain(c, format ? format : tools.grammar);
    return c;
}

void api_chat_handler(void *ctx, http_request_t *r)
{
    struct serve_server *s = ctx;
    struct api_error x = {0};
    json_t *o = api_read_body(r);
    if (!o) return;
    int taken = api_take_search(s, r, o, true, &x);
    struct api_call *c = taken == 0 ? api_read_chat(s, r, o, API_CHAT, &x) : NULL;
    if (c) api_name_unknown(r, o, chat_fields);
    if (taken > 0)
        json_decref(o);
    else if (!c || api_call_start(c, &x) < 0)
        refuse(r, o, c, &x);
    else
        json_decref(o);
}

/* ------------------------------------------------------------------ completions */

static const char *const completion_fields[] = {COMMON_FIELDS, "prompt", "echo",
                                                "best_of",     "suffix", NULL};

static bool is_ids(const json_t *v)
{
    return json_is_array(v) && json_array_size(v) > 0 && json_is_integer(json_array_get(v, 0));
}

static int read_ids(const struct serve_server *s, const json_t *v, struct token_array *ids,
                    struct api_error *x)
{
    for (size_t i = 0; i < json_array_size(v); i++) {
        const json_t *id = json_array_get(v, i);
        if (!json_is_integer(id) || json_integer_value(id) < 0 ||
            json_integer_value(id) >= s->m->config.vocab_size)
            return api_wrong(x, 400, "prompt", "number %zu of a list of ids is none of this model",
                             i);
        token_array_push(ids, (uint32_t)json_integer_value(id));
    }
    return 0;
}

/* One prompt: a text, or ids; with its text for echo. */
static int read_prompt(struct api_prompt *p, const json_t *v, bool echo, struct api_error *x)
{
    struct serve_server *s = p->call->s;
    if (json_is_string(v)) {
        if (api_check_size(s, json_string_length(v), "prompt", x) < 0) return -1;
        api_encode_text(s, json_string_value(v), json_string_length(v), false, true, &p->ids);
        p->text = arena_strndup(p->call->arena, json_string_value(v), json_string_length(v));
        p->text_size = json_string_length(v);
        if (p->ids.count == 0 && s->m->start != TOKENIZER_NONE)
            token_array_push(&p->ids, s->m->start);
        return 0;
    }
    if (!is_ids(v))
        return api_wrong(x, 400, "prompt",
                         "'prompt' must be a string, a list of token ids, or a list of these");
    if (read_ids(s, v, &p->ids, x) < 0) return -1;
    struct str text = {0};
    for (size_t i = 0; i < p->ids.count && echo; i++)
        api_token_text(s, p->ids.ids[i], &text);
    p->text = arena_strndup(p->call->arena, text.data ? text.data : "", text.len);
    p->text_size = text.len;
    str_fini(&text);
    return 0;
}

static int read_completion(struct serve_server *s, http_request_t *r, const json_t *o,
                           struct api_params *p, struct api_error *x)
{
    int64_t logprobs = -1, best = 1;
    const json_t *suffix = json_object_get(o, "suffix");
    if (api_check_model(s, o, x) < 0) return -1;
    if (api_read_params(s, o, http_arena(r), p, x) < 0) return -1;
    if (api_read_int(o, "logprobs", 0, ENGINE_MAX_TOP, &logprobs, x) < 0) return -1;
    if (api_read_bool(o, "echo", &p->echo, x) < 0) return -1;
    if (api_read_int(o, "best_of", 1, 1, &best, x) < 0) return -1;
    if (suffix && !json_is_null(suffix))
        return api_wrong(x, 400, "suffix", "'suffix' is not done: the model writes forward only");
    p->logprobs = logprobs >= 0;
    p->top_logprobs = MAX(logprobs, 0);
    if (p->max_tokens < 0) p->max_tokens = 16; /* OpenAI's */
    if (p->max_tokens == 0 && !p->echo)
        return api_wrong(x, 400, "max_tokens", "'max_tokens' is 0, which needs 'echo'");
    return 0;
}

void api_completion_handler(void *ctx, http_request_t *r)
{
    struct serve_server *s = ctx;
    struct api_error x = {0};
    struct api_params p;
    struct api_call *c = NULL;
    json_t *o = api_read_body(r);
    if (!o) return;
    const json_t *prompt = json_object_get(o, "prompt");
    bool many = json_is_array(prompt) && !is_ids(prompt);
    size_t n = many ? json_array_size(prompt) : 1;
    int rc = read_completion(s, r, o, &p, &x);
    if (rc == 0 && (!prompt || n == 0 || n > API_MAX_PROMPTS ||
                    (int64_t)n * p.n > API_MAX_PROMPTS * API_MAX_CHOICES))
        rc = api_wrong(&x, 400, "prompt", "'prompt' must be one to %d texts", API_MAX_PROMPTS);
    if (rc == 0) c = api_call_new(s, r, API_COMPLETION, &p, (int)n);
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = read_prompt(&c->prompts[i], many ? json_array_get(prompt, i) : prompt, p.echo, &x);
    if (rc == 0) {
        api_name_unknown(r, o, completion_fields);
        rc = api_call_start(c, &x);
    }
    if (rc < 0)
        refuse(r, o, c, &x);
    else
        json_decref(o);
}

/* ------------------------------------------------------------------ tokens */

static const char *const tokenize_fields[] = {"model",
                                              "content",
                                              "prompt",
                                              "messages",
                                              "tools",
                                              "add_special",
                                              "add_special_tokens",
                                              "parse_special",
                                              "with_pieces",
                                              "add_generation_prompt",
                                              "continue_final_message",
                                              "chat_template_kwargs",
                                              NULL};
static const char *const detokenize_fields[] = {"model", "tokens", NULL};
static const char *const template_fields[] = {"model",
                                              "messages",
                                              "tools",
                                              "add_generation_prompt",
                                              "continue_final_message",
                                              "chat_template_kwargs",
                                              NULL};

/* llama.cpp's form has `content`, vLLM's `prompt` or `messages`. */
void api_tokenize_handler(void *ctx, http_request_t *r)
{
    struct serve_server *s = ctx;
    struct api_error x = {0};
    struct token_array ids = {0};
    bool start = false, special = false, pieces = false;
    json_t *o = api_read_body(r);
    if (!o) return;
    const json_t *text = json_object_get(o, "content");
    if (!text) text = json_object_get(o, "prompt");
    if (text) start = !json_object_get(o, "content");
    int rc = api_read_bool(o, "add_special", &start, &x);
    if (rc == 0) rc = api_read_bool(o, "add_special_tokens", &start, &x);
    if (rc == 0) rc = api_read_bool(o, "parse_special", &special, &x);
    if (rc == 0) rc = api_read_bool(o, "with_pieces", &pieces, &x);
    if (rc == 0 && !text && json_object_get(o, "messages"))
        rc = chat_prompt(s, http_arena(r), o, json_object_get(o, "tools"),
                         &(struct chat_ids){&ids, false}, &x);
    else if (rc == 0 && json_is_string(text))
        api_encode_text(s, json_string_value(text), json_string_length(text), special, start, &ids);
    else if (rc == 0)
        rc = api_wrong(&x, 400, "content", "'content', 'prompt' or 'messages' is needed");
    if (rc == 0) api_name_unknown(r, o, tokenize_fields);
    json_decref(o);
    if (rc < 0) {
        token_array_fini(&ids);
        api_reply_error(r, &x);
        return;
    }
    struct str out = {0}, piece = {0};
    struct json_writer w;
    jsonw_begin(&w, &out);
    jsonw_open(&w, NULL, '{');
    jsonw_int(&w, "count", (int64_t)ids.count);
    jsonw_int(&w, "max_model_len", s->context);
    jsonw_open(&w, "tokens", '[');
    for (size_t i = 0; i < ids.count; i++) {
        if (!pieces) {
            jsonw_int(&w, NULL, ids.ids[i]);
            continue;
        }
        str_clear(&piece);
        str_reserve(&piece, 1);
        api_token_text(s, ids.ids[i], &piece);
        jsonw_open(&w, NULL, '{');
        jsonw_int(&w, "id", ids.ids[i]);
        jsonw_string_n(&w, "piece", piece.data, piece.len);
        jsonw_close(&w, '}');
    }
    jsonw_close(&w, ']');
    jsonw_close(&w, '}');
    token_array_fini(&ids);
    http_reply(r, 200, HTTP_JSON, out.data, out.len);
    str_fini(&out);
    str_fini(&piece);
}

void api_detokenize_handler(void *ctx, http_request_t *r)
{
    struct serve_server *s = ctx;
    struct api_error x = {0};
    struct token_array ids = {0};
    struct str text = {0}, out = {0};
    struct error e = {0};
    json_t *o = api_read_body(r);
    if (!o) return;
    const json_t *tokens = json_object_get(o, "tokens");
    int rc = json_is_array(tokens) ? read_ids(s, tokens, &ids, &x)
                                   : api_wrong(&x, 400, "tokens", "'tokens' must be a list of ids");
    if (rc == 0 && tokenizer_decode(s->m->tokenizer, ids.ids, ids.count, TOKENIZER_PARSE_SPECIAL,
                                    &text, &e) < 0)
        rc = api_wrong(&x, 400, "tokens", "%s", e.text);
    if (rc < 0) {
        api_reply_error(r, &x);
    } else {
        struct json_writer w;
        api_name_unknown(r, o, detokenize_fields);
        jsonw_begin(&w, &out);
        jsonw_open(&w, NULL, '{');
        jsonw_string_n(&w, "content", text.data ? text.data : "", text.len);
        jsonw_string_n(&w, "prompt", text.data ? text.data : "", text.len);
        jsonw_close(&w, '}');
        http_reply(r, 200, HTTP_JSON, out.data, out.len);
    }
    json_decref(o);
    token_array_fini(&ids);
    str_fini(&text);
    str_fini(&out);
}

void api_template_handler(void *ctx, http_request_t *r)
{
    struct serve_server *s = ctx;
    struct api_error x = {0};
    struct jinja_text text = {0};
    struct str out = {0};
    json_t *o = api_read_body(r);
    if (!o) return;
    struct api_chat chat = {.messages = json_object_get(o, "messages"),
                            .tools = json_object_get(o, "tools"),
                            .extra = json_object_get(o, "chat_template_kwargs"),
                            .add_prompt = true};
    int rc = api_read_bool(o, "add_generation_prompt", &chat.add_prompt, &x);
    if (rc == 0) rc = api_read_bool(o, "continue_final_message", &chat.go_on, &x);
    if (rc == 0) rc = api_render(s, &chat, http_arena(r), &text, &x);
    if (rc < 0) {
        api_reply_error(r, &x);
    } else {
        struct json_writer w;
        api_name_unknown(r, o, template_fields);
        jsonw_begin(&w, &out);
        jsonw_open(&w, NULL, '{');
        jsonw_string_n(&w, "prompt", text.text, text.size);
        jsonw_close(&w, '}');
        http_reply(r, 200, HTTP_JSON, out.data, out.len);
    }
    json_decref(o);
    str_fini(&out);
}
