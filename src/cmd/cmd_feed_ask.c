/* cmd_feed_ask.c: `colossus feed ask` and `feed answers`: a question answered from a store, by a model
 * of this machine or a server of OpenAI's interface. */
#include "cmd/cmd_feed_internal.h"
#include "cmd/cmd_model_internal.h"

#include <string.h>
#include <sys/random.h>

struct ask_options {
    const char *within, *half_life, *now, *key_file;
    int64_t sources, max_tokens, threads, context;
    double timeout_s;
    bool keep, json;
    int precision, backend;
};

#define AT(field) offsetof(struct ask_options, field)
static const struct option ask_rows[] = {
    CMD_TEXT("within", 'w', within, "QUERY", NULL,
             "only posts that this query of `feed search` finds: 'lang:en since:2026-07-01'"),
    CMD_INT("sources", 0, sources, "posts", "8", 1, 16, "at most so many sources"),
    CMD_TEXT("half-life", 0, half_life, "TIME", "7 d",
             "age at which a source is worth three quarters of a new one that says as much"),
    CMD_TEXT("now", 0, now, "TIME", NULL, "count age from this moment: 2026-07-04T12:00:00Z"),
    CMD_FLAG("save", 0, keep, "keep the answer until a source is deleted; `feed answers` shows it"),
    CMD_INT("max-tokens", 0, max_tokens, "tokens", "160", 1, 4096, "of what the model writes"),
    CMD_REAL("timeout", 0, timeout_s, "s", "120", 0.1, 3600, "how long the model may take"),
    CMD_TEXT("api-key-file", 0, key_file, "FILE", NULL,
             "file with the key of a server that is MODEL, on its first line"),
    CMD_INT("context", 0, context, "tokens", "4096", 512, 1e6,
            "of a model that is opened here: room for posts and answer"),
    CMD_CHOICE("precision", 0, precision, "auto", cmd_precisions,
               "number format of weights and activations"),
    CMD_CHOICE("backend", 0, backend, "auto", cmd_backends, "kernels to use"),
    CMD_INT("threads", 0, threads, NULL, "0", 0, 1024, "how many to use; 0: one per processor"),
    CMD_FLAG("json", 0, json, "as JSON, with every sentence that was dropped and why"),
};
#undef AT

const struct option_table cmd_feed_ask_table = {
    "feed ask",
    "STORE [MODEL] QUESTION [options]",
    "answer a question from posts, with its sources",
    "Posts that have the question's words are gathered, each text once; a model writes from them,\n"
    "and each sentence that no post bears out is dropped. MODEL is what `colossus serve` takes, "
    "or\n"
    "the address of a server of OpenAI's interface; without one the best posts are quoted.\n"
    "Sources are printed before the model is asked.\n\n"
    "  colossus feed ask posts 'what is there about a fox?'\n"
    "  colossus feed ask posts runs/fortunes 'what is there about a fox?' --save\n"
    "  colossus feed ask posts model.gguf 'what is there about a fox?' --within lang:en --json",
    ask_rows,
    ARRAY_LEN(ask_rows)};

struct asking {
    const struct ask_options *o;
    const struct option_line *l;
    const char *path; /* of a model, or an address */
    struct http_url url;
    struct feed_chat chat;
    char key[40];
    const char *keys[1]; /* what the server points at lives as long as it does */
    struct serve_model model;
    serve_server_t *server; /* of a model that was opened here */
    struct error failed;    /* code 0: the model could be opened */
};

/* A model of this machine is opened when it is first needed, and served to nobody but this process. */
static int open_model(struct asking *x, struct error *e)
{
    struct serve_options so = {.precision = x->o->precision,
                               .backend = (enum compute_backend)x->o->backend,
                               .threads = x->o->threads,
                               .B = 1,
                               .T = 1};
    uint64_t secret[2];
    TRY(cmd_model_open(x->path, x->l->arena, &so, &x->model, e));
    if (getrandom(secret, sizeof(secret), 0) != (ssize_t)sizeof(secret))
        return error_errno(e, "draw", "a key");
    snprintf(x->key, sizeof(x->key), "%016llx%016llx", (unsigned long long)secret[0],
             (unsigned long long)secret[1]);
    x->keys[0] = x->key;
    const int64_t most = x->model.config.context_length;
    struct serve_server_options s = {.host = "127.0.0.1",
                                     .name = "model",
                                     .keys = x->keys,
                                     .n_keys = 1,
                                     .parallel = 1,
                                     .queue = 1,
                                     .context = MIN(x->o->context, most)};
    int rc = serve_server_new(&x->model, &s, &x->server, e);
    if (rc < 0) {
        x->server = NULL;
        serve_model_close(&x->model);
        return rc;
    }
    x->url = (struct http_url){.host = "127.0.0.1", .path = "/v1"};
    x->url.port = serve_server_port(x->server);
    x->chat.key = x->key;
    return 0;
}

static int ask_model(void *ctx, const char *system, const char *user, struct str *out,
                     struct error *e)
{
    struct asking *x = ctx;
    if (x->url.port == 0 && open_model(x, &x->failed) < 0) {
        *e = x->failed;
        return e->code;
    }
    x->chat.url = &x->url;
    return feed_chat_write(&x->chat, system, user, out, e);
}

/* ------------------------------------------------------------------ what is printed */

static void print_source(const struct feed_source *s, size_t n)
{
    char link[1024], when[32];
    feed_time_text(s->post.created_ms, when);
    printf("[%zu] %s  %s", n, when, s->post.author.n ? "@" : "");
    feed_print_text(s->post.author.n ? s->post.author : s->post.author_id);
    if (feed_post_link(&s->post, link, sizeof(link))) printf("  %s", link);
    printf("\n    ");
    feed_print_text(s->post.text);
    printf("\n");
    if (s->label) printf("    %s\n", s->label);
    if (s->agree) printf("    borne out by %zu other%s\n", s->agree, s->agree == 1 ? "" : "s");
}

static void print_sources(void *ctx, const struct feed_reply *r)
{
    const struct asking *x = ctx;
    if (x->o->json) return;
    for (size_t i = 0; i < r->n_sources; i++)
        print_source(&r->sources[i], i + 1);
    if (r->n_sources) printf("\n");
    fflush(stdout);
}

static void print_reply(const struct feed_reply *r)
{
    if (r->quoted) printf("Quoted from posts:\n");
    for (const char *line = r->text; *line;) { /* the lines of a quotation are its own */
        size_t n = strcspn(line, "\n");
        feed_print_text((struct feed_slice){(char *)(uintptr_t)line, n});
        putchar('\n');
        line += n + (line[n] == '\n');
    }
    if (r->label) printf("(%s)\n", r->label);
    for (size_t i = 0; i < r->n_reasons; i++) {
        printf("note: ");
        feed_print_text(
            (struct feed_slice){(char *)(uintptr_t)r->reasons[i], strlen(r->reasons[i])});
        putchar('\n');
    }
}

/* ------------------------------------------------------------------ feed ask */

static int set_up(struct asking *x, const struct option_line *l, const struct ask_options *o,
                  struct feed_ask_options *f, struct error *e)
{
    const char *keys[2];
    size_t n_keys = 0;
    feed_query_t *q;
    if (l->n_rest != 2 && l->n_rest != 3) {
        error_set_code(e, ERROR_USAGE, "STORE, MODEL and QUESTION are needed, %d words given",
                       l->n_rest);
        return error_hint(e, "a question is one word of the shell: "
                             "colossus feed ask posts model.gguf 'what happened?'");
    }
    *x = (struct asking){.o = o, .l = l, .path = l->n_rest == 3 ? l->rest[1] : NULL};
    *f = (struct feed_ask_options){
        .within = o->within, .sources = o->sources, .ctx = x, .on_sources = print_sources};
    TRY(feed_time_option("half-life", o->half_life, &f->half_life_s, e));
    TRY(feed_moment_option("now", o->now, &f->now_ms, e));
    if (o->within && feed_query_parse(o->within, &q, e) >= 0)
        feed_query_free(q);
    else if (o->within && strncmp(e->text, "the query names nothing", 23) != 0)
        return e->code; /* what only narrows is right here: the question names what to look up */
    if (getrandom(&f->mark, sizeof(f->mark), 0) != (ssize_t)sizeof(f->mark))
        return error_errno(e, "draw", "a mark");
    if (!x->path)
        return feed_refuse_options(
            l, "max-tokens timeout api-key-file context precision backend threads",
            "without a MODEL", e);
    const bool remote = strncmp(x->path, "http://", 7) == 0;
    if (remote)
        TRY(feed_refuse_options(l, "context precision backend threads",
                                "where the model is another server's", e));
    else
        TRY(feed_refuse_options(l, "api-key-file", "where the model is opened here", e));
    f->write = ask_model;
    f->model = file_base_name(x->path);
    x->chat = (struct feed_chat){.max_tokens = o->max_tokens, .timeout_s = o->timeout_s};
    if (!remote) {
        if (!file_exists(x->path)) return error_set(e, "there is no model '%s'", x->path);
        return 0;
    }
    f->model = x->path;
    if (o->key_file) TRY(cmd_read_key_file(o->key_file, l->arena, keys, 2, &n_keys, e));
    if (n_keys) x->chat.key = keys[0];
    return http_url_parse(x->path, &x->url, e);
}

static int ask(const struct option_line *l, void *options, struct error *e)
{
    const struct ask_options *o = options;
    struct feed_ask_options f;
    struct asking x;
    struct feed_reply r;
    feed_store_t *store;
    int64_t id = 0;
    TRY(set_up(&x, l, o, &f, e));
    TRY(feed_store_open(l->rest[0], &store, e));
    int rc = feed_ask(store, l->rest[l->n_rest - 1], &f, l->arena, &r, e);
    feed_store_close(store);
    if (x.server) {
        serve_server_free(x.server);
        serve_model_close(&x.model);
    }
    TRY(rc);
    if (x.failed.code) {
        *e = x.failed;
        return e->code;
    }
    if (o->keep && r.answered) TRY(feed_reply_keep(l->rest[0], &r, &id, e));
    if (o->json) {
        json_t *j = feed_reply_json(&r);
        if (id) json_object_set_new(j, "id", json_integer((json_int_t)id));
        feed_print_json(j);
        return 0;
    }
    print_reply(&r);
    if (id) printf("kept as answer %lld\n", (long long)id);
    return 0;
}

int cmd_feed_ask(int argc, char **argv)
{
    return cmd_run(&cmd_feed_ask_table, argc, argv, sizeof(struct ask_options), ask);
}

/* ------------------------------------------------------------------ feed answers */

struct answers_options {
    int64_t limit;
    bool json;
};

#define AT(field) offsetof(struct answers_options, field)
static const struct option answers_rows[] = {
    CMD_INT("limit", 'l', limit, NULL, "20", 1, 10000, "the newest so many"),
    CMD_FLAG("json", 0, json, "as JSON"),
};
#undef AT

const struct option_table cmd_feed_answers_table = {
    "feed answers",
    "STORE [options]",
    "answers that were kept, and which of them have expired",
    "An answer is gone as soon as a post that it cites is deleted or changed.\n\n"
    "  colossus feed answers posts",
    answers_rows,
    ARRAY_LEN(answers_rows)};

static void print_text_of(const json_t *j, const char *key)
{
    const char *text = json_string_value(json_object_get(j, key));
    if (!text) return;
    for (const char *line = text; *line;) {
        size_t n = strcspn(line, "\n");
        printf("    ");
        feed_print_text((struct feed_slice){(char *)(uintptr_t)line, n});
        putchar('\n');
        line += n + (line[n] == '\n');
    }
}

static void print_kept(const json_t *j)
{
    char when[32];
    const char *question = json_string_value(json_object_get(j, "question"));
    feed_time_text(json_integer_value(json_object_get(j, "asked_ms")), when);
    printf("%lld  %s  ", (long long)json_integer_value(json_object_get(j, "id")), when);
    if (question)
        feed_print_text((struct feed_slice){(char *)(uintptr_t)question, strlen(question)});
    putchar('\n');
    if (json_is_true(json_object_get(j, "expired")))
        printf("    expired: a post that it cited was deleted or changed\n");
    print_text_of(j, "answer");
    print_text_of(j, "label");
}

static int answers(const struct option_line *l, void *options, struct error *e)
{
    const struct answers_options *o = options;
    feed_store_t *store;
    json_t *all;
    TRY(feed_only_store(l, "colossus feed answers posts", e));
    TRY(feed_store_open(l->rest[0], &store, e));
    int rc = feed_replies(store, o->limit, &all, e);
    feed_store_close(store);
    TRY(rc);
    if (o->json) {
        feed_print_json(all);
        return 0;
    }
    for (size_t i = 0; i < json_array_size(all); i++)
        print_kept(json_array_get(all, i));
    json_decref(all);
    return 0;
}

int cmd_feed_answers(int argc, char **argv)
{
    return cmd_run(&cmd_feed_answers_table, argc, argv, sizeof(struct answers_options), answers);
}
