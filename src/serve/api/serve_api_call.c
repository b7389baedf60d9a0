/* serve_api_call.c: a call, from its ids to the end of its answer.
 *
 * Text comes from the engine token by token. What is certain of it (serve_hold.c) is sent at once in
 * a stream, or added to the whole; a stop string ends a choice before it. */
#include "serve/api/serve_api_internal.h"
#include "serve/serve_hold_internal.h"

#include <string.h>
#include <time.h>

#define PING_S 5.0

/* ------------------------------------------------------------------ probabilities */

static void put_token(struct api_call *c, struct json_writer *w, uint32_t id, double logprob)
{
    struct str text = {0};
    str_reserve(&text, 1);
    api_token_text(c->s, id, &text);
    jsonw_string_n(w, "token", text.data, text.len);
    jsonw_int(w, "id", id);
    jsonw_real(w, "logprob", isfinite(logprob) ? logprob : -9999);
    jsonw_open(w, "bytes", '[');
    for (size_t i = 0; i < text.len; i++)
        jsonw_int(w, NULL, (unsigned char)text.data[i]);
    jsonw_close(w, ']');
    str_fini(&text);
}

/* One entry of choices[].logprobs.content. */
static void add_chat_logprob(struct api_choice *k, const struct engine_token *t)
{
    struct json_writer w;
    if (k->logprobs.len) str_append_char(&k->logprobs, ',');
    jsonw_begin(&w, &k->logprobs);
    jsonw_open(&w, NULL, '{');
    put_token(k->call, &w, t->id, t->logprob);
    jsonw_open(&w, "top_logprobs", '[');
    for (int i = 0; i < t->n_top; i++) {
        jsonw_open(&w, NULL, '{');
        put_token(k->call, &w, t->top[i].id, t->top[i].logprob);
        jsonw_close(&w, '}');
    }
    jsonw_close(&w, ']');
    jsonw_close(&w, '}');
}

static void put_number(struct str *out, double value)
{
    char text[40];
    if (value == -INFINITY)
        str_puts(out, "null");
    else
        str_puts(out, json_real_text(text, value));
}

/* A token's name in a completion's lists: its text or, of bytes that are no whole characters or hold a
 * zero, "bytes:\xNN...", as OpenAI has it, so that different tokens do not read the same. */
static void put_name(struct api_call *c, uint32_t id, struct str *out)
{
    struct str text = {0};
    str_reserve(&text, 1);
    api_token_text(c->s, id, &text);
    json_t *whole = memchr(text.data, 0, text.len) ? NULL : json_stringn(text.data, text.len);
    str_reserve(out, 1);
    if (whole) {
        str_append(out, text.data, text.len);
    } else {
        str_puts(out, "bytes:");
        for (size_t i = 0; i < text.len; i++)
            str_printf(out, "\\x%02x", (unsigned)(unsigned char)text.data[i]);
    }
    json_decref(whole);
    str_fini(&text);
}

/* {"token": probability}: of tokens that read the same the likelier one stays. */
static void put_top(struct api_call *c, struct str *out, const struct engine_token *t)
{
    struct str names[ENGINE_MAX_TOP] = {{0}};
    struct json_writer w;
    jsonw_begin(&w, out);
    jsonw_open(&w, NULL, '{');
    for (int i = 0; i < t->n_top; i++) {
        bool there = false;
        put_name(c, t->top[i].id, &names[i]);
        for (int k = 0; k < i && !there; k++)
            there = strcmp(names[k].data, names[i].data) == 0;
        if (!there) jsonw_real(&w, names[i].data, t->top[i].logprob);
    }
    jsonw_close(&w, '}');
    for (int i = 0; i < t->n_top; i++)
        str_fini(&names[i]);
}

/* The four lists of a completion's logprobs. */
static void add_list_logprob(struct api_choice *k, const struct engine_token *t)
{
    struct str text = {0}, name = {0};
    struct json_writer w;
    const char *comma = k->lp_count++ ? "," : "";
    str_puts(&k->logprobs, comma);
    for (size_t i = 0; i < ARRAY_LEN(k->lp); i++)
        str_puts(&k->lp[i], comma);
    put_name(k->call, t->id, &name);
    jsonw_begin(&w, &k->logprobs);
    jsonw_string_n(&w, NULL, name.data, name.len);
    api_token_text(k->call->s, t->id, &text);
    put_number(&k->lp[0], t->logprob);
    if (t->logprob == -INFINITY)
        str_puts(&k->lp[1], "null");
    else
        put_top(k->call, &k->lp[1], t);
    str_printf(&k->lp[2], "%zu", k->text_offset);
    k->text_offset += text.len;
    str_fini(&text);
    str_fini(&name);
}

static void add_logprob(struct api_choice *k, const struct engine_token *t)
{
    if (k->call->kind == API_COMPLETION)
        add_list_logprob(k, t);
    else
        add_chat_logprob(k, t);
}

/* "logprobs": what was gathered, which is then forgotten; null where none is wanted. */
static void put_logprobs(struct api_choice *k, struct json_writer *w)
{
    static const char *const names[] = {"token_logprobs", "top_logprobs", "text_offset"};
    if (!k->call->p.logprobs) {
        jsonw_real(w, "logprobs", NAN);
        return;
    }
    jsonw_open(w, "logprobs", '{');
    bool lists = k->call->kind == API_COMPLETION;
    jsonw_open(w, lists ? "tokens" : "content", '[');
    str_append(w->out, k->logprobs.data, k->logprobs.len);
    jsonw_close(w, ']');
    for (size_t i = 0; lists && i < ARRAY_LEN(names); i++) {
        jsonw_open(w, names[i], '[');
        str_append(w->out, k->lp[i].data, k->lp[i].len);
        jsonw_close(w, ']');
        str_clear(&k->lp[i]);
    }
    jsonw_close(w, '}');
    str_clear(&k->logprobs);
    k->lp_count = 0;
}

/* ------------------------------------------------------------------ pieces of answers */

static void put_head(struct api_call *c, struct json_writer *w, bool chunk)
{
    static const char *const objects[][2] = {{"chat.completion", "chat.completion.chunk"},
                                             {"text_completion", "text_completion"}};
    jsonw_open(w, NULL, '{');
    jsonw_string(w, "id", c->id);
    jsonw_string(w, "object", objects[c->kind][chunk]);
    jsonw_int(w, "created", c->created);
    jsonw_string(w, "model", c->s->id);
}

const char *api_reason(const struct api_choice *k)
{
    if (k->n_calls > 0 && k->why != ENGINE_END_LENGTH) return "tool_calls";
    if (k->stopped) return "stop";
    return k->why == ENGINE_END_LENGTH ? "length" : "stop";
}

json_t *api_calls_of(const struct api_choice *k)
{
    struct str list = {0};
    str_printf(&list, "[%s]", k->calls.len ? k->calls.data : "");
    json_t *calls = json_loads(list.data, JSON_ALLOW_NUL, NULL);
    str_fini(&list);
    return calls;
}

struct api_usage api_usage_of(const struct api_call *c)
{
    struct api_usage u = {0};
    for (int i = 0; i < c->n_prompts; i++) {
        const struct engine_job *j = &c->prompts[i].job;
        u.prompt += j->n_prompt;
        u.cached += j->cached;
        if (j->first_s > 0) u.prompt_s += j->first_s - j->prompt_s;
        if (j->first_s > 0) u.write_s = fmax(u.write_s, time_now_s() - j->first_s);
    }
    for (int i = 0; i < c->n_choices; i++) {
        u.written += c->choices[i].tokens;
        u.thought += c->choices[i].thought_tokens;
    }
    return u;
}

static void put_usage(struct api_call *c, struct json_writer *w)
{
    const struct api_usage u = api_usage_of(c);
    jsonw_open(w, "usage", '{');
    jsonw_int(w, "prompt_tokens", u.prompt);
    jsonw_int(w, "completion_tokens", u.written);
    jsonw_int(w, "total_tokens", u.prompt + u.written);
    jsonw_open(w, "prompt_tokens_details", '{');
    jsonw_int(w, "cached_tokens", u.cached);
    jsonw_close(w, '}');
    jsonw_open(w, "completion_tokens_details", '{');
    jsonw_int(w, "reasoning_tokens", u.thought);
    jsonw_close(w, '}');
    jsonw_close(w, '}');
    jsonw_open(w, "timings", '{');
    jsonw_int(w, "prompt_n", u.prompt - u.cached);
    jsonw_real(w, "prompt_ms", floor(u.prompt_s * 1e6) / 1e3);
    jsonw_int(w, "predicted_n", u.written);
    jsonw_real(w, "predicted_ms", floor(u.write_s * 1e6) / 1e3);
    jsonw_close(w, '}');
}

void api_send(struct api_call *c, const char *event)
{
    http_event(c->http, event, c->line.data, c->line.len);
    c->wrote_s = time_now_s();
}

static void put_call(struct api_choice *k, struct json_writer *w, const struct api_delta *d,
                     bool index)
{
    char id[48];
    api_new_id(k->call->s, "call_", id);
    jsonw_open(w, NULL, '{');
    if (index) jsonw_int(w, "index", k->n_calls);
    jsonw_string(w, "id", id);
    jsonw_string(w, "type", "function");
    jsonw_open(w, "function", '{');
    jsonw_string(w, "name", d->call);
    jsonw_string(w, "arguments", d->arguments);
    jsonw_close(w, '}');
    jsonw_close(w, '}');
}

static void put_delta(struct api_choice *k, struct json_writer *w, const struct api_delta *d)
{
    jsonw_open(w, "delta", '{');
    if (d->role) jsonw_string(w, "role", "assistant");
    if (d->text) jsonw_string_n(w, "content", d->text, d->n);
    if (d->thought) jsonw_string_n(w, "reasoning_content", d->thought, d->n);
    if (d->call) {
        jsonw_open(w, "tool_calls", '[');
        put_call(k, w, d, true);
        jsonw_close(w, ']');
    }
    jsonw_close(w, '}');
}

static void send_chunk(struct api_choice *k, const struct api_delta *d)
{
    struct api_call *c = k->call;
    struct json_writer w;
    str_clear(&c->line);
    jsonw_begin(&w, &c->line);
    put_head(c, &w, true);
    jsonw_open(&w, "choices", '[');
    jsonw_open(&w, NULL, '{');
    jsonw_int(&w, "index", k->index);
    if (c->kind != API_COMPLETION)
        put_delta(k, &w, d);
    else
        jsonw_string_n(&w, "text", d->text ? d->text : "", d->n);
    if (d->role)
        jsonw_real(&w, "logprobs", NAN);
    else
        put_logprobs(k, &w);
    jsonw_string(&w, "finish_reason", d->end ? api_reason(k) : NULL);
    jsonw_close(&w, '}');
    jsonw_close(&w, ']');
    jsonw_close(&w, '}');
    api_send(c, NULL);
}

static void send_usage(struct api_call *c)
{
    struct json_writer w;
    str_clear(&c->line);
    jsonw_begin(&w, &c->line);
    put_head(c, &w, true);
    jsonw_open(&w, "choices", '[');
    jsonw_close(&w, ']');
    put_usage(c, &w);
    jsonw_close(&w, '}');
    api_send(c, NULL);
}

static void put_choice(struct api_choice *k, struct json_writer *w)
{
    struct api_call *c = k->call;
    jsonw_open(w, NULL, '{');
    jsonw_int(w, "index", k->index);
    if (c->kind == API_CHAT) {
        jsonw_open(w, "message", '{');
        jsonw_string(w, "role", "assistant");
        if (k->n_calls && k->text.len == 0)
            jsonw_string(w, "content", NULL);
        else
            jsonw_string_n(w, "content", k->text.data, k->text.len);
        if (k->thought.len) jsonw_string_n(w, "reasoning_content", k->thought.data, k->thought.len);
        if (k->n_calls) {
            jsonw_open(w, "tool_calls", '[');
            str_append(w->out, k->calls.data, k->calls.len);
            jsonw_close(w, ']');
        }
        jsonw_close(w, '}');
    } else {
        jsonw_string_n(w, "text", k->text.data, k->text.len);
    }
    put_logprobs(k, w);
    jsonw_string(w, "finish_reason", api_reason(k));
    jsonw_close(w, '}');
}

static void write_whole(struct api_call *c)
{
    struct json_writer w;
    jsonw_begin(&w, &c->line);
    put_head(c, &w, false);
    jsonw_open(&w, "choices", '[');
    for (int i = 0; i < c->n_choices; i++)
        put_choice(&c->choices[i], &w);
    jsonw_close(&w, ']');
    put_usage(c, &w);
    jsonw_close(&w, '}');
}

static void begin_chat(struct api_call *c)
{
    for (int i = 0; i < c->n_choices; i++)
        send_chunk(&c->choices[i], &(struct api_delta){.role = true, .text = ""});
}

static void begin_nothing(struct api_call *c)
{
    (void)c;
}

static void end_chunks(struct api_call *c)
{
    if (c->p.include_usage) send_usage(c);
    http_event(c->http, NULL, "[DONE]", 6);
}

static const struct api_shape chat_shape = {"chatcmpl-", begin_chat,  send_chunk,
                                            end_chunks,  write_whole, api_error_json};
static const struct api_shape completion_shape = {"cmpl-",    begin_nothing, send_chunk,
                                                  end_chunks, write_whole,   api_error_json};

static const struct api_shape *shape_of(enum api_kind kind)
{
    static const struct api_shape *const shapes[] = {&chat_shape, &completion_shape,
                                                     &api_response_shape, &api_message_shape};
    return shapes[kind];
}

/* ------------------------------------------------------------------ from the engine */

void api_part_text(struct api_choice *k, const char *text, size_t n, bool thought)
{
    const struct api_delta d = {
        .text = thought ? NULL : text, .thought = thought ? text : NULL, .n = n};
    if (k->call->p.stream) k->call->shape->delta(k, &d);
    if (!k->call->p.stream || k->call->kind == API_RESPONSE)
        str_append(thought ? &k->thought : &k->text, text, n);
}

void api_part_call(struct api_choice *k, const char *name, const char *arguments)
{
    const struct api_delta d = {.call = name, .arguments = arguments};
    struct json_writer w;
    if (k->call->one_call && k->n_calls) return;
    if (k->call->p.stream) k->call->shape->delta(k, &d);
    if (!k->call->p.stream || k->call->kind == API_RESPONSE) {
        if (k->calls.len) str_append_char(&k->calls, ',');
        jsonw_begin(&w, &k->calls);
        put_call(k, &w, &d, false);
    }
    k->n_calls++;
}

/* The first n pending bytes are certain. */
static void emit(struct api_choice *k, size_t n)
{
    if (n == 0) return;
    if (k->call->kind != API_COMPLETION)
        api_parts_add(k, k->pending.data, n);
    else
        api_part_text(k, k->pending.data, n, false);
    memmove(k->pending.data, k->pending.data + n, k->pending.len - n);
    k->pending.len -= n;
}

/* The stop string that the text begins with. */
static const char *stop_of(const struct api_params *p, const char *text, size_t n)
{
    for (size_t i = 0; i < p->n_stop; i++)
        if (strlen(p->stop[i]) <= n && memcmp(p->stop[i], text, strlen(p->stop[i])) == 0)
            return p->stop[i];
    return NULL;
}

static bool on_token(void *ctx, int i, const struct engine_token *t)
{
    struct api_prompt *p = ctx;
    struct api_call *c = p->call;
    int n = (int)c->p.n;
    if (i < 0) {
        for (int k = 0; k < n; k++)
            add_logprob(&c->choices[p->index * n + k], t);
        return true;
    }
    struct api_choice *k = &c->choices[p->index * n + i];
    size_t size;
    const char *piece = tokenizer_piece(c->s->m->tokenizer, t->id, &size);
    k->tokens++;
    k->thought_tokens += k->part == API_PART_THOUGHT;
    if (c->p.logprobs) add_logprob(k, t);
    if (!piece || size == 0) return true;
    str_append(&k->pending, piece, size);
    size_t at = serve_find_stop(c->p.stop, c->p.n_stop, k->pending.data, k->pending.len);
    if (at != SIZE_MAX) {
        k->stop = stop_of(&c->p, k->pending.data + at, k->pending.len - at);
        emit(k, at);
        str_clear(&k->pending);
        k->stopped = true;
        return false;
    }
    k->stopped = api_is_whole(c, k->index);
    emit(k, k->stopped ? k->pending.len
                       : serve_certain(c->p.stop, c->p.n_stop, k->pending.data, k->pending.len));
    return !k->stopped && !(c->one_call && k->n_calls);
}

static void on_end(void *ctx, int i, enum engine_end why)
{
    struct api_prompt *p = ctx;
    struct api_choice *k = &p->call->choices[p->index * (int)p->call->p.n + i];
    k->ended = true;
    k->why = why;
    if (why == ENGINE_END_STOP) k->tokens++; /* the token that says so */
    if (why == ENGINE_END_GONE) return;
    emit(k, k->pending.len);
    if (p->call->kind != API_COMPLETION) api_parts_end(k);
    bool whole = why != ENGINE_END_FAILED && why != ENGINE_END_LATE && why != ENGINE_END_STUCK;
    if (p->call->p.stream && whole) p->call->shape->delta(k, &(struct api_delta){.end = true});
}

static void on_wait(void *ctx)
{
    struct api_call *c = ((struct api_prompt *)ctx)->call;
    if (!c->begun || time_now_s() - c->wrote_s < PING_S) return;
    http_event_comment(c->http, "the prompt is being read");
    c->wrote_s = time_now_s();
}

static bool is_gone(void *ctx)
{
    return http_is_gone(((struct api_prompt *)ctx)->call->http);
}

static void measure_first(struct api_call *c)
{
    struct serve_server *s = c->s;
    const struct engine_job *j = &c->prompts[0].job;
    if (j->first_s <= 0) return;
    double seconds = j->first_s - j->queued_s;
    size_t i = 0;
    pthread_mutex_lock(&s->log_lock);
    while (i + 1 < ARRAY_LEN(s->first_token) && seconds > s->first_token[i].up_to)
        i++;
    s->first_token[i].count++;
    s->first_token_sum += seconds;
    pthread_mutex_unlock(&s->log_lock);
}

static void finish(struct api_call *c)
{
    struct api_error x = {0};
    int64_t prompt = 0, written = 0;
    bool gone = http_is_gone(c->http), failed = false, late = false, stuck = false, broken = false;
    for (int i = 0; i < c->n_prompts; i++) {
        prompt += c->prompts[i].job.n_prompt;
        broken = broken || c->prompts[i].job.not_finite;
    }
    for (int i = 0; i < c->n_choices; i++) {
        written += c->choices[i].tokens;
        failed = failed || c->choices[i].why == ENGINE_END_FAILED;
        gone = gone || c->choices[i].why == ENGINE_END_GONE;
        late = late || c->choices[i].why == ENGINE_END_LATE;
        stuck = stuck || c->choices[i].why == ENGINE_END_STUCK;
    }
    http_note(c->http, "prompt %lld, written %lld%s", (long long)prompt, (long long)written,
              failed  ? ", failed"
              : late  ? ", late"
              : stuck ? ", stuck"
              : gone  ? ", cancelled"
                      : "");
    if (broken)
        api_wrong(&x, 500, NULL, "%s", API_NOT_FINITE);
    else if (failed)
        api_wrong(&x, 500, NULL, "the model could not go on: there was no memory for it");
    else if (stuck)
        api_wrong(
            &x, 400, "response_format",
            "no token may come next: what the answer must be and 'logit_bias' or 'ignore_eos' "
            "leave none");
    else if (late)
        api_wrong(&x, 504, "timeout", "the answer was not whole in time");
    else if (gone)
        api_wrong(&x, 503, NULL, "the server stops");
    measure_first(c);
    if (c->begun) {
        str_clear(&c->line);
        if (x.status) {
            c->shape->error(&x, &c->line);
            api_send(c, c->kind == API_MESSAGE ? "error" : NULL);
        } else {
            c->shape->end(c);
        }
        http_stream_end(c->http);
    } else if (x.status) {
        api_reply_error(c->http, &x);
    } else {
        str_clear(&c->line);
        c->shape->whole(c);
        http_reply(c->http, 200, HTTP_JSON, c->line.data, c->line.len);
    }
    api_call_free(c);
}

static void on_done(void *ctx)
{
    struct api_call *c = ((struct api_prompt *)ctx)->call;
    if (--c->jobs_left == 0) finish(c);
}

/* ------------------------------------------------------------------ life */

void api_new_id(struct serve_server *s, const char *prefix, char id[48])
{
    static uint64_t number;
    uint64_t n = __atomic_add_fetch(&number, 1, __ATOMIC_RELAXED);
    snprintf(id, 48, "%s%016llx%08llx", prefix, (unsigned long long)rng_u64(s->salt, 2, n),
             (unsigned long long)(n & 0xffffffffu));
}

struct api_call *api_call_new(struct serve_server *s, http_request_t *r, enum api_kind kind,
                              const struct api_params *p, int n_prompts)
{
    struct api_call *c = mem_calloc(1, sizeof(*c));
    c->s = s;
    c->http = r;
    c->arena = http_arena(r);
    c->kind = kind;
    c->p = *p;
    c->created = (int64_t)time(NULL);
    c->n_prompts = c->jobs_left = n_prompts;
    c->n_choices = n_prompts * (int)p->n;
    c->shape = shape_of(kind);
    api_new_id(s, c->shape->prefix, c->id);
    api_new_id(s, "msg_", c->item);
    c->prompts = mem_calloc((size_t)n_prompts, sizeof(*c->prompts));
    c->choices = mem_calloc((size_t)c->n_choices, sizeof(*c->choices));
    for (int i = 0; i < n_prompts; i++)
        c->prompts[i] = (struct api_prompt){.call = c, .index = i};
    for (int i = 0; i < c->n_choices; i++) {
        c->choices[i] = (struct api_choice){.call = c, .index = i};
        str_reserve(&c->choices[i].text, 1);
        str_reserve(&c->choices[i].pending, 1);
        str_reserve(&c->choices[i].held, 1);
        str_reserve(&c->choices[i].logprobs, 1);
        for (size_t k = 0; k < ARRAY_LEN(c->choices[i].lp); k++)
            str_reserve(&c->choices[i].lp[k], 1);
    }
    return c;
}

void api_call_free(struct api_call *c)
{
    if (!c) return;
    for (int i = 0; i < c->n_choices; i++) {
        struct api_choice *k = &c->choices[i];
        str_fini(&k->pending);
        str_fini(&k->text);
        str_fini(&k->held);
        str_fini(&k->thought);
        str_fini(&k->calls);
        str_fini(&k->logprobs);
        for (size_t n = 0; n < ARRAY_LEN(k->lp); n++)
            str_fini(&k->lp[n]);
    }
    for (int i = 0; i < c->n_prompts; i++)
        token_array_fini(&c->prompts[i].ids);
    str_fini(&c->line);
    json_decref(c->tools);
    api_constrain_free(c);
    mem_free(c->prompts);
    mem_free(c->choices);
    mem_free(c);
}

static int fill_job(struct api_prompt *p, struct api_error *x)
{
    struct api_call *c = p->call;
    struct serve_server *s = c->s;
    int64_t n = (int64_t)p->ids.count, room = s->context - n;
    if (n == 0) return api_wrong(x, 400, "prompt", "the prompt is empty");
    if (room < 1) {
        api_wrong(x, 400, c->kind == API_COMPLETION ? "prompt" : "messages",
                  "the prompt is %lld tokens long, and the context of this model %lld: nothing "
                  "could be written",
                  (long long)n, (long long)s->context);
        x->code = "context_length_exceeded";
        return -1;
    }
    p->job = (struct engine_job){
        .prompt = p->ids.ids,
        .n_prompt = n,
        .max_tokens = c->p.max_tokens < 0 ? room : MIN(c->p.max_tokens, room),
        .n = (int)c->p.n,
        .sampling = {.temperature = c->p.temperature,
                     .top_k = c->p.top_k,
                     .top_p = c->p.top_p,
                     .min_p = c->p.min_p,
                     .repetition_penalty = c->p.repetition_penalty,
                     .repetition_window = 256,
                     .seed = c->p.seed},
        .presence_penalty = c->p.presence_penalty,
        .frequency_penalty = c->p.frequency_penalty,
        .bias = c->p.bias,
        .n_bias = c->p.n_bias,
        .stop = s->stop,
        .n_stop = s->n_stop,
        .ignore_stop = c->p.ignore_eos,
        .logprobs = c->p.logprobs,
        .prompt_logprobs = c->p.logprobs && c->p.echo,
        .top_logprobs = (int)c->p.top_logprobs,
        .constraints = c->constraints ? c->constraints + p->index * c->p.n : NULL,
        .deadline_s = c->p.deadline_s,
        .client = http_client(c->http),
        .ctx = p,
        .on_token = on_token,
        .on_end = on_end,
        .on_wait = on_wait,
        .is_gone = is_gone,
        .on_done = on_done,
    };
    int64_t pages = engine_pages_of(&p->job);
    if (pages > s->pages)
        return api_wrong(
            x, 400, "n", "%d choices of %lld tokens take more than this server has: %lld positions",
            p->job.n, (long long)p->job.max_tokens, (long long)s->pages * COMPUTE_PAGE);
    return 0;
}

/* Places in the queue for all prompts, or none. */
static int reserve(struct api_call *c, struct api_error *x)
{
    uint64_t who = http_client(c->http);
    for (int i = 0; i < c->n_prompts; i++) {
        if (engine_reserve(c->s->engine, who)) continue;
        while (i-- > 0)
            engine_unreserve(c->s->engine, who);
        return api_wrong(x, 429, NULL, "too many requests wait: try again later");
    }
    return 0;
}

static void begin_stream(struct api_call *c)
{
    c->begun = true;
    http_stream_begin(c->http, 200, HTTP_EVENTS);
    c->shape->begin(c);
}

int api_call_start(struct api_call *c, struct api_error *x)
{
    int n = c->n_prompts;
    for (int i = 0; i < n; i++)
        if (fill_job(&c->prompts[i], x) < 0) return -1;
    if (reserve(c, x) < 0) return -1;
    http_defer(c->http);
    if (c->p.stream) begin_stream(c);
    for (int i = 0; i < c->n_choices && c->p.echo; i++) {
        const struct api_prompt *p = &c->prompts[i / (int)c->p.n];
        str_append(&c->choices[i].pending, p->text ? p->text : "", p->text_size);
        emit(&c->choices[i], p->text_size);
    }
    struct api_prompt *prompts = c->prompts;
    engine_t *engine = c->s->engine;
    for (int i = 0; i < n; i++)
        engine_submit(engine, &prompts[i].job); /* behind the last one c may be gone */
    return 0;
}
