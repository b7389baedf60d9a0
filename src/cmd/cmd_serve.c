/* cmd_serve.c: `colossus serve`: a model for clients that speak OpenAI's interface. */
#include "cmd/cmd_model_internal.h"

#include <signal.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define MAX_KEYS 64

struct serve_options_line {
    const char *host, *name, *key_file, *tokenizer, *eos, *template_file, *certificate,
        *private_key, *log, *feed;
    int64_t port, threads, parallel, context, queue;
    double grace_s, timeout_s;
    struct option_list keys, origins;
    bool no_cache, plan, json;
    int precision, backend;
};

#define AT(field) offsetof(struct serve_options_line, field)
static const struct option rows[] = {
    CMD_TEXT("host", 0, host, "ADDRESS", "127.0.0.1",
             "where to listen; the address of a network lets others in: give a key then"),
    CMD_INT("port", 'p', port, NULL, "8080", 0, 65535, "0: any that is free, which is printed"),
    CMD_TEXT("name", 0, name, NULL, NULL, "what clients call the model; without it MODEL's name"),
    CMD_LIST("api-key", 0, keys, "KEY",
             "whoever asks must know it, or another one that is given; see --api-key-file"),
    CMD_TEXT("api-key-file", 0, key_file, "FILE", NULL,
             "file with a key on each line, which other users of this machine do not see"),
    CMD_LIST("cors", 0, origins, "ORIGIN",
             "pages of this site may ask (https://example.org); with a key that is '*', every "
             "page that knows it"),
    CMD_INT("parallel", 0, parallel, NULL, "16", 1, 256, "how many texts to write at once"),
    CMD_INT("context", 0, context, "tokens", "0", 0, 1e9,
            "longest prompt and answer together; 0: what the model was made for"),
    CMD_INT("queue", 0, queue, NULL, "256", 1, 1e6,
            "how many prompts may wait; one more is answered with status 429"),
    CMD_REAL(
        "timeout", 0, timeout_s, "s", "0", 0, 1e6,
        "an answer that is not whole by then, the wait counted, ends with an error; a request's "
        "own `timeout` may be shorter; 0: any"),
    CMD_FLAG("no-prefix-cache", 0, no_cache,
             "read every prompt anew, also where an earlier one began in the same way"),
    CMD_TEXT("feed", 0, feed, "STORE", NULL,
             "posts of `colossus feed`, from which requests with search_parameters or a tool "
             "live_search or x_search are answered"),
    CMD_TEXT("log", 0, log, "FILE", NULL,
             "add a line of JSON for each request; what was said is not in it"),
    CMD_TEXT("tls-cert", 0, certificate, "FILE", NULL, "certificate (PEM), for https"),
    CMD_TEXT("tls-key", 0, private_key, "FILE", NULL, "its private key (PEM)"),
    CMD_REAL("grace", 0, grace_s, "s", "30", 0, 1e6,
             "on SIGTERM or ctrl-c: how long answers that are being written may take to end"),
    CMD_TEXT("tokenizer", 0, tokenizer, NULL, NULL,
             "tokenizer file, for a model that has none in its folder"),
    CMD_TEXT("chat-template", 0, template_file, "FILE", NULL,
             "how conversations are written (Jinja), in place of the model's own"),
    CMD_TEXT("eos", 0, eos, "TOKEN", NULL,
             "the special token, or its id, that ends a text, where nothing says it"),
    CMD_CHOICE("precision", 0, precision, "auto", cmd_precisions,
               "number format of weights and activations"),
    CMD_CHOICE("backend", 0, backend, "auto", cmd_backends, "kernels to use"),
    CMD_INT("threads", 0, threads, NULL, "0", 0, 1024, "how many to use; 0: one per processor"),
    CMD_FLAG("plan", 0, plan,
             "say how much memory the model and --parallel texts that fill the "
             "context (--context, or the model's) take, and stop"),
    CMD_FLAG("json", 0, json, "with --plan: as JSON"),
};
#undef AT

const struct option_table cmd_serve_table = {
    "serve",
    "MODEL [options]",
    "serve a model over HTTP to OpenAI's clients",
    "MODEL is a run folder, a checkpoint, a folder with config.json and weights, or a GGUF file\n"
    "of the families llama, qwen2, qwen3, qwen3moe, gemma2, gemma3 and grok.\n"
    "Clients are told the address, with /v1 behind it; a browser finds a page to talk in there,\n"
    "without /v1. What is written for one is the same, bit for bit, whoever else is served.\n\n"
    "  colossus serve runs/fortunes\n"
    "  colossus serve runs/fortunes --feed posts\n"
    "  colossus serve model.gguf --port 9000 --api-key-file keys --cors https://example.org\n"
    "  curl 127.0.0.1:8080/v1/chat/completions -d '{\"messages\": [{\"role\": \"user\", "
    "\"content\": \"Hello\"}]}'",
    rows,
    ARRAY_LEN(rows)};

/* Signals are taken one by one by this thread, and by none of those that it begins. */
static void block_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* Keys of the command line and of the file. */
static int read_keys(const struct option_line *l, const struct serve_options_line *o,
                     const char **keys, size_t *n, struct error *e)
{
    for (size_t i = 0; i < o->keys.count && *n < MAX_KEYS; i++)
        keys[(*n)++] = o->keys.items[i];
    if (o->key_file) TRY(cmd_read_key_file(o->key_file, l->arena, keys, MAX_KEYS, n, e));
    for (size_t i = 0; i < *n; i++)
        if (strlen(keys[i]) < 1 || strchr(keys[i], ' '))
            return error_set_code(e, ERROR_USAGE, "a key must not be empty or hold a space");
    if (*n == MAX_KEYS) return error_set(e, "more than %d keys", MAX_KEYS - 1);
    return 0;
}

/* With a key pages of any site may ask, unless the command line names them. */
static int read_origins(const struct serve_options_line *o, size_t n_keys,
                        struct serve_server_options *so, struct error *e)
{
    static const char *const any[] = {"*"};
    so->origins = o->origins.count ? (const char *const *)o->origins.items : any;
    so->n_origins = o->origins.count ? o->origins.count : n_keys > 0;
    for (size_t i = 0; i < so->n_origins && n_keys == 0; i++) {
        if (strcmp(so->origins[i], "*") != 0) continue;
        error_set_code(e, ERROR_USAGE, "--cors '*' without a key lets every page in");
        return error_hint(e, "name the sites, or give --api-key-file");
    }
    return 0;
}

static int read_template(const char *path, struct arena *a, const char **out, struct error *e)
{
    char *text;
    size_t size;
    TRY(file_read(path, 4u << 20, &text, &size, e));
    json_t *is_text = strlen(text) == size ? json_string(text) : NULL; /* checks it */
    *out = arena_strdup(a, text);
    mem_free(text);
    if (!is_text) return error_set(e, "'%s' is no text in UTF-8", path);
    json_decref(is_text);
    return 0;
}

/* "model" of "dir/model.gguf", "fortunes" of "runs/fortunes/". */
static const char *name_of(struct arena *a, const char *path)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    char *whole = arena_strndup(a, path, n);
    const char *name = file_base_name(whole), *dot = strrchr(name, '.');
    if (dot && strcmp(dot, ".gguf") == 0) return arena_strndup(a, name, (size_t)(dot - name));
    return name;
}

/* Until a signal; a second one does not wait. */
static int wait_for_end(serve_server_t *s, const sigset_t *set, double grace_s)
{
    const struct timespec now = {0, 0};
    int signal_number;
    sigwait(set, &signal_number);
    log_info("stopping: no new requests, %.0f s for those that are being written", grace_s);
    for (double until = time_now_s() + grace_s; time_now_s() < until;) {
        if (serve_server_stop(s, 0.2)) return 0;
        if (sigtimedwait(set, NULL, &now) > 0) break;
    }
    log_info("what is left is cut off");
    return 0;
}

/* Answers from posts: they ask this server itself, with a key of their own where keys are needed. */
struct live {
    serve_live_t *l;
    char key[40];
};

static int open_live(const struct serve_options_line *o, struct serve_server_options *so,
                     const char **keys, struct live *x, struct error *e)
{
    struct serve_live_options lo = {.store = o->feed, .timeout_s = o->timeout_s};
    uint64_t secret[2];
    x->l = NULL;
    if (!o->feed) return 0;
    if (o->certificate) {
        error_set_code(e, ERROR_USAGE, "--feed does not go with --tls-cert");
        return error_hint(e, "answers from posts ask this server over plain HTTP; a proxy in front "
                             "of it can speak https");
    }
    if (so->n_keys) {
        if (getrandom(secret, sizeof(secret), 0) != (ssize_t)sizeof(secret))
            return error_errno(e, "draw", "a key");
        snprintf(x->key, sizeof(x->key), "%016llx%016llx", (unsigned long long)secret[0],
                 (unsigned long long)secret[1]);
        lo.key = keys[so->n_keys++] = x->key;
    }
    TRY(serve_live_new(&lo, &x->l, e));
    so->search = serve_live_search(x->l);
    return 0;
}

static void begin_live(const struct serve_options_line *o, serve_server_t *s, struct live *x)
{
    struct http_url url = {.path = "/v1", .port = serve_server_port(s)};
    const char *host = strcmp(o->host, "0.0.0.0") == 0 ? "127.0.0.1"
                       : strcmp(o->host, "::") == 0    ? "::1"
                                                       : o->host;
    snprintf(url.host, sizeof(url.host), "%s", host);
    serve_live_begin(x->l, &url);
}

static int run(struct serve_model *m, const struct option_line *l,
               const struct serve_options_line *o, const sigset_t *set, struct error *e)
{
    const char *keys[MAX_KEYS];
    struct serve_server_options so = {.host = o->host,
                                      .port = (int)o->port,
                                      .name = o->name ? o->name : name_of(l->arena, l->rest[0]),
                                      .keys = keys,
                                      .certificate = o->certificate,
                                      .private_key = o->private_key,
                                      .parallel = o->parallel,
                                      .context = o->context,
                                      .queue = o->queue,
                                      .timeout_s = o->timeout_s,
                                      .no_cache = o->no_cache,
                                      .log_path = o->log};
    serve_server_t *s;
    TRY(read_keys(l, o, keys, &so.n_keys, e));
    TRY(read_origins(o, so.n_keys, &so, e));
    if (o->template_file) TRY(read_template(o->template_file, l->arena, &so.template_text, e));
    struct live live;
    TRY(open_live(o, &so, keys, &live, e));
    int made = serve_server_new(m, &so, &s, e);
    if (made < 0) {
        serve_live_free(live.l);
        return made;
    }
    if (live.l) begin_live(o, s, &live);
    if (so.n_keys == 0 && strncmp(o->host, "127.", 4) != 0 && strcmp(o->host, "localhost") != 0 &&
        strcmp(o->host, "::1") != 0)
        log_warn("everybody who reaches %s may use this server: --api-key-file asks for a key",
                 o->host);
    printf("%s on http%s://%s%s%s:%d/v1, context %lld\n", so.name, o->certificate ? "s" : "",
           strchr(o->host, ':') ? "[" : "", o->host, strchr(o->host, ':') ? "]" : "",
           serve_server_port(s), (long long)serve_server_context(s));
    fflush(stdout);
    int rc = wait_for_end(s, set, o->grace_s);
    serve_server_free(s);
    serve_live_free(live.l);
    return rc;
}

static int check_options(const struct serve_options_line *o, struct error *e)
{
    if (o->json && !o->plan) {
        error_set_code(e, ERROR_USAGE, "--json changes nothing here: it is of --plan");
        return error_hint(e, "leave it out, or say --plan");
    }
    if (o->name && !o->name[0])
        return error_set_code(e, ERROR_USAGE, "--name is empty: clients could not ask for it");
    return 0;
}

static int serve(const struct option_line *l, void *options, struct error *e)
{
    const struct serve_options_line *o = options;
    struct serve_options so = {.tokenizer = o->tokenizer,
                               .eos = o->eos,
                               .precision = o->precision,
                               .backend = (enum compute_backend)o->backend,
                               .threads = o->threads,
                               .B = 1,
                               .T = 1};
    struct serve_model m;
    sigset_t set;
    if (l->n_rest != 1) {
        error_set_code(e, ERROR_USAGE, "one MODEL is needed, %d given", l->n_rest);
        return error_hint(e, "colossus serve runs/fortunes");
    }
    TRY(check_options(o, e));
    if (o->plan)
        return cmd_model_plan(l->rest[0], l->arena, &so,
                              (struct serve_texts){o->parallel, o->context}, o->json, e);
    block_signals(&set);
    TRY(cmd_model_open(l->rest[0], l->arena, &so, &m, e));
    int rc = run(&m, l, o, &set, e);
    serve_model_close(&m);
    return rc;
}

int cmd_serve(int argc, char **argv)
{
    return cmd_run(&cmd_serve_table, argc, argv, sizeof(struct serve_options_line), serve);
}
