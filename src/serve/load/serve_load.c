/* serve_load.c: how fast a server of OpenAI's interface answers, as its clients see it.
 *
 * Each request is a completion whose answer is streamed: a prompt that no other request begins alike,
 * so that no cache of prompts helps, and an answer of a stated length (servers that do not know
 * `ignore_eos` may end earlier; what they wrote is what counts). A closed loop has so many clients,
 * each of which asks again when it was answered. In an open loop requests arrive by a Poisson process
 * of a stated rate whether or not earlier ones are answered, and times count from the arrival, also
 * where all clients are taken: a slow server cannot make its own load light.
 *
 * Several servers are measured in turns, a round each, in alternating order, so that what else the
 * machine does hits them alike. */
#include "serve/serve.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_EVENT = 1 << 20, MAX_ERRORS = 3 };

/* One request on its way. */
struct ask {
    struct load_request *to;
    struct str line; /* of the stream, as far as it came */
    double begun_s, last_s;
    double *gaps; /* between pieces of text, seconds; of the client's own */
    size_t n_gaps, cap_gaps;
    bool ended, broken; /* by the sign at the end; by something that is no event */
    char note[160];     /* of what was broken */
};

/* A client's thread. */
struct client {
    struct run *run;
    pthread_t thread;
    struct ask ask;
};

struct run {
    const struct load_options *o;
    const struct load_server *s;
    struct load_round *out;
    int64_t first; /* number of the round's first request */
    pthread_mutex_t lock;
    int64_t next; /* request */
    double begin_s;
};

/* ------------------------------------------------------------------ prompts */

/* Words that are a token each in most vocabularies. */
static const char *const words[] = {"time",  "people", "water", "house", "story", "night", "world",
                                    "music", "river",  "light", "paper", "green", "small", "large",
                                    "never", "after",  "first", "under", "every", "great", "three",
                                    "white", "place",  "right", "sound", "again", "still", "point",
                                    "power", "money",  "table", "heart"};

static void put_prompt(const struct load_options *o, int64_t number, struct str *out)
{
    for (int64_t i = 0; i < o->prompt_words; i++) {
        double x = rng_uniform((uint64_t)o->seed, (uint64_t)number, (uint64_t)i);
        str_printf(out, i ? " %s" : "%s", words[(size_t)(x * ARRAY_LEN(words))]);
    }
}

static void put_body(const struct run *r, int64_t number, struct str *out)
{
    struct str prompt = {0};
    struct json_writer w;
    put_prompt(r->o, r->first + number, &prompt);
    jsonw_begin(&w, out);
    jsonw_open(&w, NULL, '{');
    jsonw_string(&w, "model", r->s->model);
    jsonw_string(&w, "prompt", prompt.data ? prompt.data : "");
    jsonw_int(&w, "max_tokens", r->o->answer_tokens);
    jsonw_real(&w, "temperature", 0);
    jsonw_bool(&w, "ignore_eos", true);
    jsonw_bool(&w, "stream", true);
    jsonw_open(&w, "stream_options", '{');
    jsonw_bool(&w, "include_usage", true);
    jsonw_close(&w, '}');
    jsonw_close(&w, '}');
    str_fini(&prompt);
}

/* ------------------------------------------------------------------ answers */

static void note_gap(struct ask *a, double gap)
{
    if (a->n_gaps == a->cap_gaps) {
        a->cap_gaps = MAX(64, 2 * a->cap_gaps);
        a->gaps = mem_realloc(a->gaps, a->cap_gaps * sizeof(*a->gaps));
    }
    a->gaps[a->n_gaps++] = gap;
}

static void take_usage(struct load_request *to, const json_t *event)
{
    const json_t *usage = json_object_get(event, "usage");
    const json_t *prompt = json_object_get(usage, "prompt_tokens");
    const json_t *answer = json_object_get(usage, "completion_tokens");
    if (json_is_integer(prompt)) to->prompt_tokens = json_integer_value(prompt);
    if (json_is_integer(answer)) to->answer_tokens = json_integer_value(answer);
}

/* The data of an event. */
static void take_event(struct ask *a, const char *data, size_t n)
{
    double now = time_now_s();
    if (n == 6 && memcmp(data, "[DONE]", 6) == 0) {
        a->ended = true;
        return;
    }
    json_t *event = json_loadb(data, n, 0, NULL);
    if (!event || json_object_get(event, "error")) {
        a->broken = true;
        snprintf(a->note, sizeof(a->note), "%.*s", (int)MIN(n, 150), data);
    }
    take_usage(a->to, event);
    const json_t *choice = json_array_get(json_object_get(event, "choices"), 0);
    const char *text = json_string_value(json_object_get(choice, "text"));
    if (text) {
        if (a->to->pieces++ == 0)
            a->to->first_s = now - a->begun_s;
        else
            note_gap(a, now - a->last_s);
        a->last_s = now;
    }
    json_decref(event);
}

static bool take_data(void *ctx, const char *data, size_t n)
{
    struct ask *a = ctx;
    while (n > 0 && !a->broken) {
        const char *end = memchr(data, '\n', n);
        size_t part = end ? (size_t)(end + 1 - data) : n;
        str_append(&a->line, data, part);
        data += part;
        n -= part;
        if (!end) break;
        size_t len = a->line.len;
        while (len > 0 && (a->line.data[len - 1] == '\n' || a->line.data[len - 1] == '\r'))
            len--;
        if (len > 5 && memcmp(a->line.data, "data:", 5) == 0) {
            size_t at = 5 + (a->line.data[5] == ' ');
            take_event(a, a->line.data + at, len - at);
        }
        str_clear(&a->line);
    }
    if (a->line.len > MAX_EVENT) a->broken = true;
    return !a->broken;
}

/* ------------------------------------------------------------------ clients */

static void sleep_until(double when_s)
{
    double left = when_s - time_now_s();
    if (left <= 0) return;
    struct timespec t = {(time_t)left, (long)(1e9 * (left - floor(left)))};
    nanosleep(&t, NULL);
}

/* Seconds behind the round's beginning. */
static double arrival_of(const struct run *r, int64_t number)
{
    double at = 0;
    for (int64_t i = 0; i <= number; i++)
        at -= log1p(-rng_uniform((uint64_t)r->o->seed + 1, 0, (uint64_t)(r->first + i)));
    return at / r->o->rate;
}

static void ask(struct run *r, struct ask *a, int64_t number)
{
    struct str body = {0};
    struct error e = {0};
    a->begun_s = r->o->rate > 0 ? r->begin_s + arrival_of(r, number) : time_now_s();
    if (r->o->rate > 0) sleep_until(a->begun_s);
    put_body(r, number, &body);
    struct http_call call = {.url = &r->s->url,
                             .method = "POST",
                             .path = "/completions",
                             .key = r->s->key,
                             .body = body.data,
                             .size = body.len,
                             .timeout_s = r->o->timeout_s,
                             .on_data = take_data,
                             .ctx = a};
    int status = http_call(&call, &e);
    a->to->whole_s = time_now_s() - a->begun_s;
    str_fini(&body);
    a->to->failed = status != 200 || a->broken || !a->ended || a->to->pieces == 0;
    if (!a->to->failed) return;
    struct load_round *out = r->out;
    pthread_mutex_lock(&r->lock);
    if (out->n_errors < MAX_ERRORS) {
        char *to = out->errors[out->n_errors++];
        size_t size = sizeof(out->errors[0]);
        if (status < 0)
            snprintf(to, size, "%.200s", e.text);
        else if (a->broken)
            snprintf(to, size, "status %d, in the stream: %s", status, a->note);
        else
            snprintf(to, size, "status %d, and no whole stream", status);
    }
    pthread_mutex_unlock(&r->lock);
}

static void *client_main(void *ctx)
{
    struct client *c = ctx;
    struct run *r = c->run;
    for (;;) {
        pthread_mutex_lock(&r->lock);
        int64_t number = r->next < r->o->requests ? r->next++ : -1;
        pthread_mutex_unlock(&r->lock);
        if (number < 0) return NULL;
        struct ask *a = &c->ask;
        a->to = &r->out->requests[number];
        a->ended = a->broken = false;
        a->note[0] = '\0';
        str_clear(&a->line);
        ask(r, a, number);
    }
}

static void gather(struct load_round *out, struct ask *a)
{
    out->gaps = mem_realloc(out->gaps, (out->n_gaps + a->n_gaps + 1) * sizeof(*out->gaps));
    if (a->n_gaps) memcpy(out->gaps + out->n_gaps, a->gaps, a->n_gaps * sizeof(*a->gaps));
    out->n_gaps += a->n_gaps;
    mem_free(a->gaps);
    str_fini(&a->line);
}

int serve_load_round(const struct load_options *o, const struct load_server *s, int64_t round,
                     struct load_round *out, struct error *e)
{
    struct run r = {.o = o, .s = s, .out = out, .first = round * o->requests};
    struct client *clients = mem_calloc((size_t)o->clients, sizeof(*clients));
    int64_t n = 0;
    *out = (struct load_round){.n = (size_t)o->requests};
    out->requests = mem_calloc(out->n, sizeof(*out->requests));
    pthread_mutex_init(&r.lock, NULL);
    r.begin_s = time_now_s();
    for (; n < MIN(o->clients, o->requests); n++) {
        clients[n].run = &r;
        if (pthread_create(&clients[n].thread, NULL, client_main, &clients[n]) != 0) break;
    }
    for (int64_t i = 0; i < n; i++)
        pthread_join(clients[i].thread, NULL);
    out->seconds = time_now_s() - r.begin_s;
    for (int64_t i = 0; i < n; i++)
        gather(out, &clients[i].ask);
    pthread_mutex_destroy(&r.lock);
    mem_free(clients);
    if (n > 0) return 0;
    serve_load_round_fini(out);
    return error_set(e, "no thread for a client");
}

void serve_load_round_fini(struct load_round *r)
{
    mem_free(r->requests);
    mem_free(r->gaps);
    *r = (struct load_round){0};
}

/* ------------------------------------------------------------------ figures */

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of n values, which are sorted here: the nearest rank. NAN: there are none. */
static struct load_spread spread_of(double *x, size_t n)
{
    if (n == 0) return (struct load_spread){NAN, NAN, NAN};
    qsort(x, n, sizeof(*x), by_size);
    return (struct load_spread){x[(n - 1) / 2], x[(size_t)ceil(0.9 * (double)n) - 1],
                                x[(size_t)ceil(0.99 * (double)n) - 1]};
}

/* Answers of one token have no time per token. */
static void add_times(const struct load_round *r, double *times, struct load_figures *f)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n; i++)
        if (!r->requests[i].failed) times[n++] = r->requests[i].first_s;
    f->first = spread_of(times, n);
    n = 0;
    for (size_t i = 0; i < r->n; i++)
        if (!r->requests[i].failed) times[n++] = r->requests[i].whole_s;
    f->whole = spread_of(times, n);
    n = 0;
    for (size_t i = 0; i < r->n; i++) {
        const struct load_request *q = &r->requests[i];
        if (!q->failed && q->answer_tokens > 1)
            times[n++] = (q->whole_s - q->first_s) / (double)(q->answer_tokens - 1);
    }
    f->token = spread_of(times, n);
}

struct load_figures serve_load_figures(const struct load_round *r, double deadline_s)
{
    struct load_figures f = {0};
    double *times = mem_alloc((MAX(r->n, r->n_gaps) + 1) * sizeof(*times)), kept = 0;
    for (size_t i = 0; i < r->n; i++) {
        struct load_request *q = &r->requests[i];
        if (q->answer_tokens == 0) q->answer_tokens = q->pieces; /* a server without usage */
        f.failed += q->failed;
        if (q->failed) continue;
        f.prompt_tokens += (double)q->prompt_tokens;
        f.answer_tokens += (double)q->answer_tokens;
        if (q->whole_s <= deadline_s) kept++;
    }
    add_times(r, times, &f);
    memcpy(times, r->gaps, r->n_gaps * sizeof(*times));
    f.gap = spread_of(times, r->n_gaps);
    f.tokens_s = f.answer_tokens / r->seconds;
    f.prompt_tokens_s = f.prompt_tokens / r->seconds;
    f.requests_s = (double)(r->n - f.failed) / r->seconds;
    f.good_share = r->n ? kept / (double)r->n : NAN;
    f.good_s = kept / r->seconds;
    double answered = (double)(r->n - f.failed);
    f.prompt_tokens /= answered;
    f.answer_tokens /= answered;
    mem_free(times);
    return f;
}

/* ------------------------------------------------------------------ the server's models */

static bool gather_text(void *ctx, const char *data, size_t n)
{
    struct str *out = ctx;
    str_append(out, data, n);
    return out->len <= MAX_EVENT;
}

int serve_load_model(struct load_server *s, char name[256], struct error *e)
{
    struct str text = {0};
    json_t *root = NULL;
    struct http_call call = {.url = &s->url,
                             .method = "GET",
                             .path = "/models",
                             .key = s->key,
                             .timeout_s = 10,
                             .on_data = gather_text,
                             .ctx = &text};
    int rc = http_call(&call, e);
    if (rc >= 0 && rc != 200) {
        error_set(e, "%s:%d%s/models answers with status %d", s->url.host, s->url.port, s->url.path,
                  rc);
        rc = error_hint(e,
                        rc == 401 ? "give --api-key" : "the address of the interface ends in /v1");
    }
    if (rc == 200) rc = json_parse(text.data ? text.data : "", text.len, "/models", &root, e);
    const json_t *first = json_array_get(json_object_get(root, "data"), 0);
    const char *id = json_string_value(json_object_get(first, "id"));
    if (rc == 0 && (!id || strlen(id) >= 256))
        rc = error_set(e, "%s:%d%s/models names no model", s->url.host, s->url.port, s->url.path);
    if (rc == 0) snprintf(name, 256, "%s", id);
    if (rc == 0) s->model = name;
    json_decref(root);
    str_fini(&text);
    return rc;
}
