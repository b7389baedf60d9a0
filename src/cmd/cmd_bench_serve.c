/* cmd_bench_serve.c: `colossus bench-serve`: how fast a server answers, alone or beside another. */
#include "cmd/cmd.h"
#include "serve/serve.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_ROUNDS = 100, SIDES = 2 };

struct bench_serve_options {
    const char *vs, *key, *vs_key, *model, *vs_model;
    int64_t requests, clients, rounds, prompt, answer, seed;
    double rate, deadline_s, timeout_s;
    bool json;
};

#define AT(field) offsetof(struct bench_serve_options, field)
static const struct option rows[] = {
    CMD_TEXT("vs", 0, vs, "URL", NULL,
             "another server, measured in turns with the first, a round each"),
    CMD_INT("requests", 'n', requests, NULL, "64", 1, 10000, "of a round"),
    CMD_INT("clients", 'c', clients, NULL, "16", 1, 1000, "requests on their way at once, at most"),
    CMD_REAL(
        "rate", 0, rate, "1/s", "0", 0, 1e5,
        "open loop: so many requests arrive a second, at random moments, whether or not earlier "
        "ones are answered; 0: closed loop, a client asks again when it was answered"),
    CMD_INT("rounds", 0, rounds, NULL, "3", 1, MAX_ROUNDS,
            "how often; each with other prompts; medians count"),
    CMD_INT("prompt", 0, prompt, "words", "128", 1, 1e6,
            "length of a prompt, about a token a word"),
    CMD_INT("answer", 0, answer, "tokens", "64", 1, 1e6, "length of an answer"),
    CMD_REAL("deadline", 0, deadline_s, "s", "10", 0, 1e6,
             "answers that are whole within this are counted as good"),
    CMD_REAL("timeout", 0, timeout_s, "s", "600", 0.001, 1e6, "for an answer; then it has failed"),
    CMD_TEXT("api-key", 0, key, "KEY", NULL, "of the server"),
    CMD_TEXT("vs-api-key", 0, vs_key, "KEY", NULL, "of the other one"),
    CMD_TEXT("model", 0, model, NULL, NULL, "as the server calls it; without it: its first"),
    CMD_TEXT("vs-model", 0, vs_model, NULL, NULL, "the same of the other one"),
    CMD_INT("seed", 0, seed, NULL, "0", 0, 1e15, "of prompts and arrivals"),
    CMD_FLAG("json", 0, json, "print the figures as JSON, a line for each server"),
};
#undef AT

const struct option_table cmd_bench_serve_table = {
    "bench-serve",
    "URL [options]",
    "measure how fast a server answers many clients",
    "URL is the address of an interface like OpenAI's, http://HOST:PORT/v1. Prompts are words\n"
    "drawn at random, no two alike; answers are streamed, greedy, and as long as is asked for.\n"
    "First token: from when a request was sent (by --rate: arrived) to its first text. Per\n"
    "token: the rest of an answer over its other tokens.\n\n"
    "  colossus bench-serve http://127.0.0.1:8080/v1\n"
    "  colossus bench-serve http://127.0.0.1:8080/v1 --clients 1 --answer 128\n"
    "  colossus bench-serve http://127.0.0.1:8080/v1 --rate 2 --deadline 5\n"
    "  colossus bench-serve http://127.0.0.1:8080/v1 --vs http://127.0.0.1:8081/v1",
    rows,
    ARRAY_LEN(rows)};

/* A figure that is shown: how, and which. */
struct figure_row {
    const char *name, *key;
    int digits;
    double scale;
    size_t offset;
};
#define ROW(name, key, digits, scale, field)                           \
    {                                                                  \
        name, key, digits, scale, offsetof(struct load_figures, field) \
    }
static const struct figure_row figures[] = {
    ROW("prompt, tokens", "prompt_tokens", 1, 1, prompt_tokens),
    ROW("answer, tokens", "answer_tokens", 1, 1, answer_tokens),
    ROW("first token, ms, median", "first_token_p50_s", 1, 1e3, first.p50),
    ROW("  90 of 100", "first_token_p90_s", 1, 1e3, first.p90),
    ROW("  99 of 100", "first_token_p99_s", 1, 1e3, first.p99),
    ROW("per token, ms, median", "per_token_p50_s", 2, 1e3, token.p50),
    ROW("  90 of 100", "per_token_p90_s", 2, 1e3, token.p90),
    ROW("  99 of 100", "per_token_p99_s", 2, 1e3, token.p99),
    ROW("gap in a stream, ms, median", "gap_p50_s", 2, 1e3, gap.p50),
    ROW("  99 of 100", "gap_p99_s", 2, 1e3, gap.p99),
    ROW("whole answer, ms, median", "whole_p50_s", 0, 1e3, whole.p50),
    ROW("  90 of 100", "whole_p90_s", 0, 1e3, whole.p90),
    ROW("  99 of 100", "whole_p99_s", 0, 1e3, whole.p99),
    ROW("tokens written a second", "tokens_per_s", 1, 1, tokens_s),
    ROW("tokens read a second", "prompt_tokens_per_s", 1, 1, prompt_tokens_s),
    ROW("answers a second", "requests_per_s", 2, 1, requests_s),
    ROW("good answers a second", "good_per_s", 2, 1, good_s),
    ROW("good of all, %", "good_share", 1, 100, good_share),
};

struct side {
    struct load_server server;
    const char *url;
    char name[256];
    struct load_figures rounds[MAX_ROUNDS];
    size_t failed;
};

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Over the rounds; NAN: in none of them. */
static double median_of(const struct side *s, int64_t n, size_t offset)
{
    double x[MAX_ROUNDS];
    size_t count = 0;
    for (int64_t i = 0; i < n; i++) {
        double value = *(const double *)(const void *)((const char *)&s->rounds[i] + offset);
        if (!isnan(value)) x[count++] = value;
    }
    if (count == 0) return NAN;
    qsort(x, count, sizeof(*x), by_size);
    return count % 2 ? x[count / 2] : (x[count / 2 - 1] + x[count / 2]) / 2;
}

static void print_json(const struct bench_serve_options *o, const struct side *s)
{
    struct cmd_json j = {0};
    struct json_writer *w = cmd_json_begin(&j);
    jsonw_string(w, "url", s->url);
    jsonw_string(w, "model", s->server.model);
    jsonw_int(w, "rounds", o->rounds);
    jsonw_int(w, "requests", o->requests);
    jsonw_int(w, "clients", o->clients);
    jsonw_real(w, "rate_per_s", o->rate);
    jsonw_real(w, "deadline_s", o->deadline_s);
    jsonw_int(w, "failed", (int64_t)s->failed);
    for (size_t i = 0; i < ARRAY_LEN(figures); i++)
        jsonw_real(w, figures[i].key, median_of(s, o->rounds, figures[i].offset));
    cmd_json_end(&j, true);
}

static void print_table(const struct bench_serve_options *o, const struct side *s, size_t n)
{
    static const char *const heads[] = {"", "1", "2", "1 / 2"};
    static const char *const alone[] = {"", "1"};
    struct table *t = table_new(n > 1 ? heads : alone, n > 1 ? 4 : 2, n > 1 ? "lrrr" : "lr");
    for (size_t i = 0; i < n; i++)
        printf("%zu  %s  %s\n", i + 1, s[i].url, s[i].server.model);
    printf("%lld rounds of %lld requests, ", (long long)o->rounds, (long long)o->requests);
    if (o->rate > 0)
        printf("open loop, %g a second, at most %lld at once", o->rate, (long long)o->clients);
    else
        printf("closed loop, %lld clients", (long long)o->clients);
    printf("; good: whole within %g s\n\n", o->deadline_s);
    for (size_t i = 0; i < ARRAY_LEN(figures); i++) {
        char text[SIDES + 1][32];
        double x[SIDES] = {0};
        for (size_t k = 0; k < n; k++) {
            x[k] = median_of(&s[k], o->rounds, figures[i].offset);
            snprintf(text[k], sizeof(text[k]), "%.*f", figures[i].digits, figures[i].scale * x[k]);
        }
        snprintf(text[SIDES], sizeof(text[SIDES]), "%.2f", x[0] / x[1]);
        const char *cells[4] = {figures[i].name, isnan(x[0]) ? NULL : text[0],
                                isnan(x[1]) ? NULL : text[1],
                                isfinite(x[0] / x[1]) ? text[SIDES] : NULL};
        table_cells(t, cells);
    }
    table_print(t, stdout);
    table_free(t);
}

/* One round of one side. */
static int run_round(const struct load_options *lo, struct side *s, int64_t round,
                     double deadline_s, struct error *e)
{
    struct load_round r;
    TRY(serve_load_round(lo, &s->server, round, &r, e));
    s->rounds[round] = serve_load_figures(&r, deadline_s);
    size_t failed = s->rounds[round].failed;
    s->failed += failed;
    if (failed > 0)
        log_warn("%s: round %lld: %zu of %zu requests failed", s->url, (long long)round + 1, failed,
                 r.n);
    for (int i = 0; i < r.n_errors; i++)
        log_warn("  %s", r.errors[i]);
    serve_load_round_fini(&r);
    return 0;
}

static int measure(const struct bench_serve_options *o, struct side *s, size_t n, struct error *e)
{
    struct load_options lo = {.requests = o->requests,
                              .clients = o->clients,
                              .rate = o->rate,
                              .prompt_words = o->prompt,
                              .answer_tokens = o->answer,
                              .seed = o->seed,
                              .timeout_s = o->timeout_s};
    for (int64_t round = 0; round < o->rounds; round++)
        for (size_t i = 0; i < n; i++)
            TRY(run_round(&lo, &s[round % 2 ? n - 1 - i : i], round, o->deadline_s, e));
    for (size_t i = 0; i < n; i++)
        if (o->json) print_json(o, &s[i]);
    if (!o->json) print_table(o, s, n);
    for (size_t i = 0; i < n; i++)
        if (s[i].failed > 0)
            return error_set(e, "%zu requests to %s failed: the figures are of the others",
                             s[i].failed, s[i].url);
    return 0;
}

static int check_options(const struct bench_serve_options *o, struct error *e)
{
    if (o->vs || (!o->vs_key && !o->vs_model)) return 0;
    error_set_code(e, ERROR_USAGE, "%s changes nothing here: it is of --vs",
                   o->vs_key ? "--vs-api-key" : "--vs-model");
    return error_hint(e, "leave it out, or name the other server by --vs URL");
}

static int bench_serve(const struct option_line *l, void *options, struct error *e)
{
    const struct bench_serve_options *o = options;
    size_t n = o->vs ? 2 : 1;
    if (l->n_rest != 1) {
        error_set_code(e, ERROR_USAGE, "one URL is needed, %d given", l->n_rest);
        return error_hint(e, "colossus bench-serve http://127.0.0.1:8080/v1");
    }
    TRY(check_options(o, e));
    struct side *s = mem_calloc(SIDES, sizeof(*s));
    const char *const urls[SIDES] = {l->rest[0], o->vs}, *const keys[SIDES] = {o->key, o->vs_key};
    const char *const models[SIDES] = {o->model, o->vs_model};
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        s[i].url = urls[i];
        s[i].server.key = keys[i];
        s[i].server.model = models[i];
        rc = http_url_parse(urls[i], &s[i].server.url, e);
        if (rc == 0 && !models[i]) rc = serve_load_model(&s[i].server, s[i].name, e);
    }
    if (rc == 0) rc = measure(o, s, n, e);
    mem_free(s);
    return rc;
}

int cmd_bench_serve(int argc, char **argv)
{
    return cmd_run(&cmd_bench_serve_table, argc, argv, sizeof(struct bench_serve_options),
                   bench_serve);
}
