/* serve_api_embeddings.c: texts as vectors: the mean of the states in front of the model's head, over
 * a text's tokens, of length 1. A model that writes was not made for that; the vectors are as good as
 * its states are. */
#include "serve/api/serve_api_internal.h"

#include <string.h>

enum { MAX_INPUTS = 256 };

static const char *const fields[] = {"model", "input", "encoding_format", "dimensions", "timeout",
                                     "user",  NULL};

struct embed_call;
struct embed_input {
    struct embed_call *call;
    struct token_array ids;
    float *vector; /* [D] */
    bool ended, late;
    struct engine_job job;
};
struct embed_call {
    struct serve_server *s;
    http_request_t *http;
    struct embed_input *inputs;
    int n, left;
    bool base64;
};

static void call_free(struct embed_call *c)
{
    for (int i = 0; c && i < c->n; i++) {
        token_array_fini(&c->inputs[i].ids);
        mem_free(c->inputs[i].vector);
    }
    if (c) mem_free(c->inputs);
    mem_free(c);
}

static void put_base64(struct str *out, const uint8_t *data, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        uint32_t bits = (uint32_t)data[i] << 16;
        if (i + 1 < n) bits |= (uint32_t)data[i + 1] << 8;
        if (i + 2 < n) bits |= data[i + 2];
        for (int k = 0; k < 4; k++)
            str_append_char(out, i + (size_t)k > n ? '=' : digits[bits >> (18 - 6 * k) & 63]);
    }
}

static void put_vector(const struct embed_call *c, struct json_writer *w, const float *v)
{
    size_t D = (size_t)c->s->m->config.d_model;
    if (c->base64) {
        struct str text = {0};
        put_base64(&text, (const uint8_t *)v, D * sizeof(*v));
        jsonw_string_n(w, "embedding", text.data, text.len);
        str_fini(&text);
        return;
    }
    jsonw_open(w, "embedding", '[');
    for (size_t i = 0; i < D; i++)
        jsonw_real(w, NULL, (double)v[i]);
    jsonw_close(w, ']');
}

static void reply(struct embed_call *c)
{
    struct str out = {0};
    struct json_writer w;
    int64_t tokens = 0;
    jsonw_begin(&w, &out);
    jsonw_open(&w, NULL, '{');
    jsonw_string(&w, "object", "list");
    jsonw_string(&w, "model", c->s->id);
    jsonw_open(&w, "data", '[');
    for (int i = 0; i < c->n; i++) {
        jsonw_open(&w, NULL, '{');
        jsonw_string(&w, "object", "embedding");
        jsonw_int(&w, "index", i);
        put_vector(c, &w, c->inputs[i].vector);
        jsonw_close(&w, '}');
        tokens += c->inputs[i].job.n_prompt;
    }
    jsonw_close(&w, ']');
    jsonw_open(&w, "usage", '{');
    jsonw_int(&w, "prompt_tokens", tokens);
    jsonw_int(&w, "total_tokens", tokens);
    jsonw_close(&w, '}');
    jsonw_close(&w, '}');
    http_note(c->http, "prompt %lld", (long long)tokens);
    http_reply(c->http, 200, HTTP_JSON, out.data, out.len);
    str_fini(&out);
}

static bool on_token(void *ctx, int choice, const struct engine_token *t)
{
    (void)ctx;
    (void)choice;
    (void)t;
    return false;
}

static void on_end(void *ctx, int choice, enum engine_end why)
{
    struct embed_input *p = ctx;
    (void)choice;
    p->ended = why == ENGINE_END_LENGTH;
    p->late = why == ENGINE_END_LATE;
}

static void on_embedding(void *ctx, const float *mean)
{
    struct embed_input *p = ctx;
    size_t D = (size_t)p->call->s->m->config.d_model;
    double sum = 0;
    p->vector = mem_alloc(D * sizeof(*p->vector));
    for (size_t i = 0; i < D; i++)
        sum += (double)mean[i] * (double)mean[i];
    for (size_t i = 0; i < D; i++)
        p->vector[i] = sum > 0 ? (float)((double)mean[i] / sqrt(sum)) : 0;
}

static void on_wait(void *ctx)
{
    (void)ctx;
}

static bool is_gone(void *ctx)
{
    return http_is_gone(((struct embed_input *)ctx)->call->http);
}

static void on_done(void *ctx)
{
    struct embed_call *c = ((struct embed_input *)ctx)->call;
    struct api_error x = {0};
    if (--c->left > 0) return;
    for (int i = 0; i < c->n; i++)
        if (c->inputs[i].job.not_finite)
            api_wrong(&x, 500, NULL, "%s", API_NOT_FINITE);
        else if (!c->inputs[i].ended || !c->inputs[i].vector)
            api_wrong(&x, c->inputs[i].late ? 504 : 503, NULL,
                      "the vectors could not be worked out%s", c->inputs[i].late ? " in time" : "");
    if (x.status)
        api_reply_error(c->http, &x);
    else
        reply(c);
    call_free(c);
}

static int read_input(struct embed_input *p, const json_t *v, struct api_error *x)
{
    struct serve_server *s = p->call->s;
    if (json_is_string(v)) {
        if (api_check_size(s, json_string_length(v), "input", x) < 0) return -1;
        api_encode_text(s, json_string_value(v), json_string_length(v), false, true, &p->ids);
    } else {
        for (size_t i = 0; i < json_array_size(v); i++) {
            const json_t *id = json_array_get(v, i);
            if (!json_is_integer(id) || json_integer_value(id) < 0 ||
                json_integer_value(id) >= s->m->config.vocab_size)
                return api_wrong(x, 400, "input", "'input' must be texts or lists of token ids");
            token_array_push(&p->ids, (uint32_t)json_integer_value(id));
        }
    }
    int64_t n = (int64_t)p->ids.count;
    if (n == 0) return api_wrong(x, 400, "input", "'input' has an empty text");
    if (n > s->context) {
        api_wrong(x, 400, "input", "a text of %lld tokens, the context of this model is %lld",
                  (long long)n, (long long)s->context);
        x->code = "context_length_exceeded";
        return -1;
    }
    p->job = (struct engine_job){.prompt = p->ids.ids,
                                 .n_prompt = n,
                                 .n = 1,
                                 .embed = true,
                                 .ctx = p,
                                 .on_token = on_token,
                                 .on_end = on_end,
                                 .on_embedding = on_embedding,
                                 .on_wait = on_wait,
                                 .is_gone = is_gone,
                                 .on_done = on_done};
    return 0;
}

static int read_call(struct embed_call *c, const json_t *o, struct api_error *x)
{
    const json_t *input = json_object_get(o, "input"), *format;
    bool list = json_is_array(input) && !json_is_integer(json_array_get(input, 0));
    size_t n = list ? json_array_size(input) : 1;
    if (api_check_model(c->s, o, x) < 0) return -1;
    if (n == 0 || n > MAX_INPUTS || !(json_is_string(input) || json_is_array(input)))
        return api_wrong(x, 400, "input", "'input' must be one to %d texts", MAX_INPUTS);
    int64_t dimensions = c->s->m->config.d_model;
    if (api_read_int(o, "dimensions", dimensions, dimensions, &dimensions, x) < 0) return -1;
    format = json_object_get(o, "encoding_format");
    const char *name = json_is_string(format) ? json_string_value(format) : "float";
    c->base64 = strcmp(name, "base64") == 0;
    if (!c->base64 && strcmp(name, "float") != 0)
        return api_wrong(x, 400, "encoding_format", "'encoding_format' must be float or base64");
    c->inputs = mem_calloc(n, sizeof(*c->inputs));
    c->n = c->left = (int)n;
    for (size_t i = 0; i < n; i++) {
        const json_t *v = list ? json_array_get(input, i) : input;
        c->inputs[i].call = c;
        if (!json_is_string(v) && !json_is_array(v))
            return api_wrong(x, 400, "input", "'input' must be texts or lists of token ids");
        if (read_input(&c->inputs[i], v, x) < 0) return -1;
        if (api_read_deadline(c->s, o, &c->inputs[i].job.deadline_s, x) < 0) return -1;
    }
    uint64_t who = http_client(c->http);
    for (int i = 0; i < c->n; i++) {
        c->inputs[i].job.client = who;
        if (engine_reserve(c->s->engine, who)) continue;
        while (i-- > 0)
            engine_unreserve(c->s->engine, who);
        return api_wrong(x, 429, NULL, "too many requests wait: try again later");
    }
    return 0;
}

void api_embeddings_handler(void *ctx, http_request_t *r)
{
    struct serve_server *s = ctx;
    struct api_error x = {0};
    struct error e = {0};
    json_t *o = NULL;
    if (http_body_json(r, &o, &e) < 0) {
        api_wrong(&x, 400, NULL, "%s", e.text);
        api_reply_error(r, &x);
        return;
    }
    struct embed_call *c = mem_calloc(1, sizeof(*c));
    c->s = s;
    c->http = r;
    int rc = read_call(c, o, &x);
    if (rc == 0) api_name_unknown(r, o, fields);
    json_decref(o);
    if (rc < 0) {
        call_free(c);
        api_reply_error(r, &x);
        return;
    }
    http_defer(r);
    struct embed_input *inputs = c->inputs;
    int n = c->n;
    for (int i = 0; i < n; i++)
        engine_submit(s->engine, &inputs[i].job);
}
