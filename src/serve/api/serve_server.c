/* serve_server.c: a model as a server: its routes, what it tells of itself, and its end.
 *
 * Threads: the HTTP server's reads and checks requests and renders their prompts, the engine's runs
 * the model and writes answers (serve_api_internal.h). On SIGTERM, whoever owns the server stops it:
 * no new requests are taken, those that are being written may end within a time, the rest is cut
 * off. */
#include "serve/api/serve_api_internal.h"

#include <errno.h>
#include <string.h>
#include <time.h>

/* ------------------------------------------------------------------ what the server tells of itself */

static void health(void *ctx, http_request_t *r)
{
    (void)ctx;
    http_reply_json(r, 200, json_pack("{s:s}", "status", "ok"));
}

static json_t *model_json(const struct serve_server *s)
{
    return json_pack(
        "{s:s, s:s, s:I, s:s, s:I, s:{s:I, s:I, s:I, s:f}}", "id", s->id, "object", "model",
        "created", (json_int_t)s->created, "owned_by", "colossus", "max_model_len",
        (json_int_t)s->context, "meta", "n_ctx_train", (json_int_t)s->m->config.context_length,
        "n_vocab", (json_int_t)s->m->config.vocab_size, "n_embd", (json_int_t)s->m->config.d_model,
        "n_params", (double)model_config_total_params(&s->m->config));
}

static void models(void *ctx, http_request_t *r)
{
    const struct serve_server *s = ctx;
    http_reply_json(r, 200, json_pack("{s:s, s:[o]}", "object", "list", "data", model_json(s)));
}

static void model_of_id(void *ctx, http_request_t *r)
{
    const struct serve_server *s = ctx;
    struct api_error x;
    if (strcmp(http_rest(r), s->id) == 0) {
        http_reply_json(r, 200, model_json(s));
        return;
    }
    api_wrong(&x, 404, "model", "there is no model '%.100s' here: this server has '%s'",
              http_rest(r), s->id);
    x.code = "model_not_found";
    api_reply_error(r, &x);
}

static void props(void *ctx, http_request_t *r)
{
    const struct serve_server *s = ctx;
    json_t *o = json_pack("{s:s, s:I, s:I, s:{s:I}, s:b}", "model_alias", s->id, "total_slots",
                          (json_int_t)s->o.parallel, "n_ctx", (json_int_t)s->context,
                          "default_generation_settings", "n_ctx", (json_int_t)s->context,
                          "prefix_cache", !s->o.no_cache);
    json_object_set_new(o, "live_search", json_boolean(s->o.search != NULL));
    json_t *text = json_string(s->template_text);
    json_object_set_new(o, "chat_template", text ? text : json_null());
    http_reply_json(r, 200, o);
}

static void tokenizer_info(void *ctx, http_request_t *r)
{
    struct serve_server *s = ctx;
    struct str bos = {0}, eos = {0};
    const tokenizer_t *t = s->m->tokenizer;
    str_reserve(&bos, 1);
    str_reserve(&eos, 1);
    if (s->m->bos != TOKENIZER_NONE) api_token_text(s, s->m->bos, &bos);
    if (tokenizer_eos(t) != TOKENIZER_NONE) api_token_text(s, tokenizer_eos(t), &eos);
    json_t *o = json_pack("{s:s, s:I, s:o, s:o}", "tokenizer_class", tokenizer_kind(t),
                          "vocab_size", (json_int_t)tokenizer_vocab_size(t), "bos_token",
                          bos.len ? json_stringn(bos.data, bos.len) : json_null(), "eos_token",
                          eos.len ? json_stringn(eos.data, eos.len) : json_null());
    json_t *text = json_string(s->template_text);
    json_object_set_new(o, "chat_template", text ? text : json_null());
    str_fini(&bos);
    str_fini(&eos);
    http_reply_json(r, 200, o);
}

static void metrics(void *ctx, http_request_t *r)
{
    struct serve_server *s = ctx;
    struct engine_figures f;
    struct http_bucket first[ARRAY_LEN(s->first_token)];
    struct str out = {0};
    engine_figures(s->engine, &f);
    pthread_mutex_lock(&s->log_lock);
    memcpy(first, s->first_token, sizeof(first));
    double first_sum = s->first_token_sum;
    pthread_mutex_unlock(&s->log_lock);
#define COUNTER(name, help, value)                                                 \
    {                                                                              \
        "colossus_" name, help, HTTP_COUNTER, NULL, NULL, (double)(value), NULL, 0 \
    }
#define GAUGE(name, help, value)                                                 \
    {                                                                            \
        "colossus_" name, help, HTTP_GAUGE, NULL, NULL, (double)(value), NULL, 0 \
    }
    const struct http_metric m[] = {
        COUNTER("prompt_tokens_total", "Prompt tokens read.", f.prompt_tokens),
        COUNTER("prompt_tokens_cached_total", "Prompt tokens found in the prefix cache.",
                f.cached_tokens),
        COUNTER("generation_tokens_total", "Tokens written.", f.generated_tokens),
        COUNTER("requests_total", "Prompts taken in.", f.jobs),
        COUNTER("requests_cancelled_total", "Prompts whose clients left.", f.cancelled),
        COUNTER("requests_late_total", "Prompts whose deadline passed.", f.late),
        COUNTER("requests_failed_total", "Prompts that could not be ended.", f.failed),
        COUNTER("requests_refused_total", "Prompts refused as the queue was full.", f.refused),
        COUNTER("steps_total", "Steps of the model.", f.steps),
        COUNTER("rows_total", "Rows that went through the model.", f.rows),
        COUNTER("busy_seconds_total", "Time within steps.", f.busy_s),
        GAUGE("requests_running", "Prompts that are read or written.", f.running),
        GAUGE("requests_waiting", "Prompts in the queue.", f.waiting),
        GAUGE("sequences_running", "Texts that are written or have a place.", f.sequences),
        GAUGE("kv_pages_used", "Pages of keys and values in use.", f.pages_used),
        GAUGE("kv_pages", "Pages of keys and values that may be used.", f.pages),
        GAUGE("kv_cache_entries", "Texts in the prefix cache.", f.cache_entries),
        GAUGE("kv_cache_tokens", "Tokens in the prefix cache.", f.cache_tokens),
        {"colossus_time_to_first_token_seconds", "From a request's coming to its first token.",
         HTTP_HISTOGRAM, NULL, NULL, first_sum, first, ARRAY_LEN(first)},
    };
#undef COUNTER
#undef GAUGE
    http_metrics_write(m, ARRAY_LEN(m), &out);
    http_reply(r, 200, HTTP_METRICS_TYPE, out.data, out.len);
    str_fini(&out);
}

static void page(void *ctx, http_request_t *r)
{
    (void)ctx;
    CHECK(http_reply_file(r, "chat.html"));
}

static void page_file(void *ctx, http_request_t *r)
{
    struct api_error x;
    (void)ctx;
    if (http_reply_file(r, http_rest(r))) return;
    api_wrong(&x, 404, NULL, "there is nothing at this path");
    api_reply_error(r, &x);
}

/* ------------------------------------------------------------------ the log */

static void log_request(void *ctx, const struct http_record *record)
{
    struct serve_server *s = ctx;
    struct str line = {0};
    struct json_writer w;
    char when[32];
    if (!s->log) return;
    time_iso8601(when);
    jsonw_begin(&w, &line);
    jsonw_open(&w, NULL, '{');
    jsonw_string(&w, "time", when);
    jsonw_string(&w, "event", "request");
    jsonw_int(&w, "request", (int64_t)record->number);
    jsonw_string(&w, "client", record->client);
    jsonw_string(&w, "method", record->method);
    jsonw_string_n(&w, "path", record->path, strlen(record->path));
    jsonw_int(&w, "status", record->status);
    jsonw_int(&w, "body_bytes", (int64_t)record->body_bytes);
    jsonw_int(&w, "answer_bytes", (int64_t)record->answer_bytes);
    jsonw_real(&w, "seconds", floor(record->seconds * 1e6) / 1e6);
    if (record->note) jsonw_string(&w, "note", record->note);
    jsonw_close(&w, '}');
    str_append_char(&line, '\n');
    pthread_mutex_lock(&s->log_lock);
    bool written = fwrite(line.data, 1, line.len, s->log) == line.len && fflush(s->log) == 0;
    if (!written && !s->log_failed)
        log_warn("'%s' cannot be written, its lines are lost: %s", s->o.log_path, strerror(errno));
    s->log_failed = !written;
    if (!written) clearerr(s->log);
    pthread_mutex_unlock(&s->log_lock);
    str_fini(&line);
}

/* ------------------------------------------------------------------ beginning and end */

static const struct http_route routes[] = {
    {"GET", "/", page, true},
    {"GET", "/web/*", page_file, true},
    {"GET", "/health", health, true},
    {"GET", "/v1/health", health, true},
    {"GET", "/v1/models", models, false},
    {"GET", "/models", models, false},
    {"GET", "/v1/models/*", model_of_id, false},
    {"GET", "/metrics", metrics, false},
    {"GET", "/props", props, false},
    {"GET", "/tokenizer_info", tokenizer_info, false},
    {"POST", "/v1/chat/completions", api_chat_handler, false},
    {"POST", "/chat/completions", api_chat_handler, false},
    {"POST", "/v1/completions", api_completion_handler, false},
    {"POST", "/completions", api_completion_handler, false},
    {"POST", "/v1/responses", api_response_handler, false},
    {"POST", "/v1/messages", api_message_handler, false},
    {"POST", "/v1/messages/count_tokens", api_count_handler, false},
    {"POST", "/v1/sources", api_sources_handler, false},
    {"POST", "/tokenize", api_tokenize_handler, false},
    {"POST", "/detokenize", api_detokenize_handler, false},
    {"POST", "/apply-template", api_template_handler, false},
    {"POST", "/v1/embeddings", api_embeddings_handler, false},
    {"POST", "/embeddings", api_embeddings_handler, false},
};

/* Keys and values for all sequences at once, or for as much as there is memory. */
static int plan_pages(struct serve_server *s, struct error *e)
{
    int64_t per = (s->context + COMPUTE_PAGE - 1) / COMPUTE_PAGE;
    double one = (double)(model_decoder_bytes(s->m->model, s->context) -
                          model_decoder_bytes(s->m->model, 0));
    double fixed = s->m->bytes + (double)model_decoder_bytes(s->m->model, 0);
    double room = (mem_limit_bytes() - fixed) * 0.8 / fmax(one, 1);
    if (room < 1) {
        char need[32], have[32];
        error_set(e,
                  "no memory for one text of %lld tokens: %s beside the model's, this machine "
                  "has %s",
                  (long long)s->context, format_bytes(need, one),
                  format_bytes(have, mem_limit_bytes()));
        return error_hint(e, "a smaller --context needs less");
    }
    s->pages = (int64_t)(fmin(room, (double)s->o.parallel) * (double)(per + 1));
    return 0;
}

static int start(struct serve_server *s, struct error *e)
{
    static const double bounds[] = {0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, INFINITY};
    for (size_t i = 0; i < ARRAY_LEN(bounds); i++)
        s->first_token[i].up_to = bounds[i];
    s->context = s->m->config.context_length;
    if (s->o.context > 0) s->context = MIN(s->context, s->o.context);
    s->most_choices = MIN(API_MAX_CHOICES, s->o.parallel);
    TRY(api_prompt_init(s, e));
    TRY(plan_pages(s, e));
    if (s->o.log_path) {
        s->log = fopen(s->o.log_path, "ae");
        if (!s->log) return error_errno(e, "open", s->o.log_path);
    }
    struct engine_options eo = {.sequences = s->o.parallel,
                                .context = s->context,
                                .queue = s->o.queue,
                                .pages = s->pages,
                                .no_cache = s->o.no_cache};
    TRY(engine_new(s->m, &eo, &s->engine, e));
    struct http_options ho = {.host = s->o.host,
                              .port = s->o.port,
                              .routes = routes,
                              .n_routes = ARRAY_LEN(routes),
                              .ctx = s,
                              .keys = s->o.keys,
                              .n_keys = s->o.n_keys,
                              .origins = s->o.origins,
                              .n_origins = s->o.n_origins,
                              .certificate = s->o.certificate,
                              .private_key = s->o.private_key,
                              .error_body = api_error_body,
                              .on_done = log_request};
    return http_server_new(&ho, &s->http, e);
}

int serve_server_new(struct serve_model *m, const struct serve_server_options *o,
                     serve_server_t **out, struct error *e)
{
    struct serve_server *s = mem_calloc(1, sizeof(*s));
    s->m = m;
    s->o = *o;
    s->id = o->name;
    s->created = (int64_t)time(NULL);
    s->salt = (uint64_t)(time_now_s() * 1e9) ^ (uint64_t)s->created << 20;
    pthread_mutex_init(&s->log_lock, NULL);
    int rc = start(s, e);
    if (rc < 0) {
        serve_server_free(s);
        return rc;
    }
    *out = s;
    return 0;
}

int serve_server_port(const serve_server_t *s)
{
    return http_server_port(s->http);
}

int64_t serve_server_context(const serve_server_t *s)
{
    return s->context;
}

bool serve_server_stop(serve_server_t *s, double seconds)
{
    double until = time_now_s() + seconds;
    struct engine_figures f;
    http_server_quiesce(s->http);
    do {
        engine_figures(s->engine, &f);
        if (f.running + f.waiting == 0 && http_server_busy(s->http) == 0) return true;
        const struct timespec pause = {0, 20 * 1000 * 1000};
        nanosleep(&pause, NULL);
    } while (time_now_s() < until);
    return false;
}

void serve_server_free(serve_server_t *s)
{
    if (!s) return;
    if (s->http) http_server_quiesce(s->http);
    if (s->engine) engine_stop(s->engine);
    http_server_free(s->http);
    engine_free(s->engine);
    jinja_free(s->jinja);
    arena_fini(&s->arena);
    if (s->log) fclose(s->log);
    pthread_mutex_destroy(&s->log_lock);
    mem_free(s);
}
