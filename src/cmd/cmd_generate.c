/* cmd_generate.c: `colossus generate`: let a trained model continue text. */
#include "cmd/cmd_model_internal.h"
#include "train/train.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

#define MAX_PROMPT (64u << 20)

struct generate_options {
    const char *prompt, *prompt_file, *tokenizer, *eos;
    int64_t max_tokens, count, sequences, top_k, repetition_window, seed, threads;
    double temperature, top_p, min_p, repetition_penalty;
    struct option_list stop;
    bool interactive, special, no_start_token, ignore_eos, json, quiet, plan;
    int precision, backend;
};

#define AT(field) offsetof(struct generate_options, field)
static const struct option rows[] = {
    CMD_TEXT("prompt", 'p', prompt, NULL, NULL,
             "text to continue; without it standard input, unless that is a terminal"),
    CMD_TEXT("prompt-file", 'f', prompt_file, NULL, NULL, "file whose text is continued"),
    CMD_INT("max-tokens", 'n', max_tokens, "tokens", "256", 0, 1e9,
            "longest continuation; 0: to the end of the document or of the context"),
    CMD_INT("count", 'c', count, NULL, "1", 1, 1e6, "how many continuations of the same prompt"),
    CMD_INT(
        "sequences", 0, sequences, NULL, "1", 1, 4096,
        "how many of them to write at once: the same texts, faster, each shown when all are done"),
    CMD_REAL("temperature", 't', temperature, NULL, "0.8", 0, 100,
             "how far to spread the choice; 0 always takes the most likely token"),
    CMD_INT("top-k", 0, top_k, NULL, "0", 0, 1e9, "sample among the k most likely tokens; 0: all"),
    CMD_REAL("top-p", 0, top_p, NULL, "1", 0, 1,
             "sample among the fewest tokens that together have this probability"),
    CMD_REAL("min-p", 0, min_p, NULL, "0.05", 0, 1,
             "drop tokens below this share of the most likely one's probability"),
    CMD_REAL("repetition-penalty", 0, repetition_penalty, NULL, "1", 0.01, 100,
             "above 1 makes recent tokens less likely"),
    CMD_INT("repetition-window", 0, repetition_window, "tokens", "64", 0, 1e9,
            "how many recent tokens are penalised"),
    CMD_LIST("stop", 's', stop, NULL, "stop before this text would appear"),
    CMD_INT("seed", 0, seed, NULL, "1", 0, 9e15,
            "the same seed gives the same text, on any number of threads"),
    CMD_FLAG("interactive", 'i', interactive,
             "hold a conversation: read a prompt from every line, after that of --prompt; /reset "
             "forgets what was said"),
    CMD_TEXT("tokenizer", 0, tokenizer, NULL, NULL,
             "tokenizer file, for a model that has none in its folder"),
    CMD_TEXT("eos", 0, eos, "TOKEN", NULL,
             "the special token, or its id, that ends a document, where nothing says it"),
    CMD_FLAG("special", 0, special,
             "turn control tokens that are written out in the prompt into their ids"),
    CMD_FLAG("no-start-token", 0, no_start_token,
             "do not put the token that begins a document in front of the prompt"),
    CMD_FLAG("ignore-eos", 0, ignore_eos, "do not stop where the model ends the document"),
    CMD_CHOICE("precision", 0, precision, "auto", cmd_precisions,
               "number format of weights and activations"),
    CMD_CHOICE("backend", 0, backend, "auto", cmd_backends, "kernels to use"),
    CMD_INT("threads", 0, threads, NULL, "0", 0, 1024, "how many to use; 0: one per processor"),
    CMD_FLAG("plan", 0, plan,
             "say how much memory the model and --sequences that fill its context take, and stop"),
    CMD_FLAG("json", 0, json, "print one JSON object per continuation instead of streaming text"),
    CMD_FLAG("quiet", 'q', quiet, "do not print speeds to standard error"),
};
#undef AT

const struct option_table cmd_generate_table = {
    "generate",
    "MODEL [options]",
    "let a trained model continue text",
    "MODEL is a run folder, a checkpoint, a folder with config.json and weights, or a GGUF file\n"
    "of the families llama, qwen2, qwen3, qwen3moe, gemma2, gemma3 and grok.\n\n"
    "  colossus generate runs/fortunes --count 10\n"
    "  colossus generate runs/fortunes --prompt \"Never trust\" --temperature 0.7 --top-p 0.95\n"
    "  echo \"Once upon a time\" | colossus generate runs/fortunes --seed 7",
    rows,
    ARRAY_LEN(rows)};

/* The text that is continued; the context of both callbacks. */
struct prompt {
    const char *text;
    size_t size;
};

static void print_prompt(void *ctx)
{
    const struct prompt *p = ctx;
    fwrite(p->text, 1, p->size, stdout);
    fflush(stdout);
}

/* Flushed at once, as a reader waits for it; a failed write ends the generation. */
static int print_text(void *ctx, const char *text, size_t size)
{
    (void)ctx;
    fwrite(text, 1, size, stdout);
    return fflush(stdout) != 0;
}

static void print_json(const struct str *text, const struct serve_generated *g, int64_t index)
{
    static const char *const reasons[] = {"eos", "length", "stop", "caller"}; /* enum serve_stop */
    struct cmd_json j;
    struct json_writer *w = cmd_json_begin(&j);
    jsonw_int(w, "index", index);
    jsonw_string_n(w, "text", text->data ? text->data : "", text->len);
    jsonw_string(w, "finish_reason", reasons[g->reason]);
    jsonw_int(w, "prompt_tokens", g->prompt_tokens);
    jsonw_int(w, "new_tokens", g->new_tokens);
    jsonw_real(w, "prompt_s", g->prompt_s);
    jsonw_real(w, "decode_s", g->decode_s);
    cmd_json_end(&j, true);
}

static struct serve_generation generation(const struct generate_options *o, struct prompt *p,
                                          int64_t index)
{
    return (struct serve_generation){
        .prompt = p->text,
        .prompt_size = p->size,
        .sampling = {.temperature = o->temperature,
                     .top_k = o->top_k,
                     .top_p = o->top_p,
                     .min_p = o->min_p,
                     .repetition_penalty = o->repetition_penalty,
                     .repetition_window = o->repetition_window,
                     .seed = o->seed},
        .max_tokens = o->max_tokens,
        .stop = o->stop.items,
        .n_stop = o->stop.count,
        .parse_special = o->special,
        .no_start_token = o->no_start_token,
        .ignore_eos = o->ignore_eos,
        .stream = (uint64_t)index,
        .on_text = o->json ? NULL : print_text,
        .ctx = p,
    };
}

static void end_text(const struct str *text, bool more)
{
    printf("%s%s", text->len && text->data[text->len - 1] == '\n' ? "" : "\n", more ? "%\n" : "");
}

static void print_speed(const struct generate_options *o, int64_t tokens, double decode_s)
{
    if (!o->quiet && !o->json)
        fprintf(stderr, "%lld tokens, %.1f tokens/s\n", (long long)tokens,
                (double)tokens / fmax(decode_s, 1e-9));
}

/* Each continuation begins a new session and draws from a stream of its own, so that sample 3 is
 * the same whether or not 1 and 2 were asked for. */
static int continue_prompt(serve_session_t *s, const struct generate_options *o, struct prompt *p,
                           struct error *e)
{
    double decode_s = 0;
    int64_t tokens = 0;
    for (int64_t i = 0; i < o->count; i++) {
        struct serve_generation g = generation(o, p, i);
        struct serve_generated r;
        struct str text = {0};
        if (!o->json && p->size) g.on_start = print_prompt;
        serve_session_reset(s);
        int rc = serve_generate(s, &g, &text, &r, e);
        if (rc == 0 && o->json)
            print_json(&text, &r, i);
        else if (rc == 0)
            end_text(&text, i + 1 < o->count);
        str_fini(&text);
        TRY(rc);
        decode_s += r.decode_s;
        tokens += r.new_tokens;
    }
    print_speed(o, tokens, decode_s);
    return 0;
}

/* The same, `sequences` of them at once. */
static int continue_together(struct serve_model *m, const struct generate_options *o,
                             struct prompt *p, struct error *e)
{
    double decode_s = 0;
    int64_t tokens = 0;
    for (int64_t at = 0; at < o->count; at += o->sequences) {
        int64_t n = MIN(o->sequences, o->count - at);
        struct serve_generation g = generation(o, p, at);
        struct serve_generated *r = mem_calloc((size_t)n, sizeof(*r));
        struct str *text = mem_calloc((size_t)n, sizeof(*text));
        int rc = serve_generate_samples(m, &g, n, text, r, e);
        for (int64_t i = 0; i < n; i++) {
            if (rc == 0 && o->json) print_json(&text[i], &r[i], at + i);
            if (rc == 0 && !o->json) {
                print_prompt(p);
                fwrite(text[i].data ? text[i].data : "", 1, text[i].len, stdout);
                end_text(&text[i], at + i + 1 < o->count);
            }
            tokens += r[i].new_tokens;
            str_fini(&text[i]);
        }
        decode_s += r[0].decode_s;
        mem_free(text);
        mem_free(r);
        TRY(rc);
    }
    print_speed(o, tokens, decode_s);
    return 0;
}

/* One turn of a conversation; p is shown where it was not typed. */
static int take_turn(serve_session_t *s, const struct generate_options *o, struct prompt *p,
                     bool shown, int64_t turn, struct error *e)
{
    struct serve_generation g = generation(o, p, turn);
    struct serve_generated r;
    struct str text = {0};
    if (shown && !o->json) g.on_start = print_prompt;
    int rc = serve_generate(s, &g, &text, &r, e);
    if (rc == 0 && o->json)
        print_json(&text, &r, turn);
    else if (rc == 0)
        putchar('\n');
    fflush(stdout);
    if (rc == 0 && r.forgotten)
        log_warn("the context is full: the oldest %lld tokens of the conversation are forgotten",
                 (long long)r.forgotten);
    str_fini(&text);
    return rc;
}

/* One turn a line, behind the prompt where one was given; an empty line lets the model go on. */
static int converse(serve_session_t *s, const struct generate_options *o, struct prompt *p,
                    struct error *e)
{
    bool terminal = isatty(STDIN_FILENO);
    char *line = NULL;
    size_t cap = 0;
    int64_t turn = 0;
    if (terminal)
        fprintf(stderr, "write a line and press enter; an empty line goes on, /reset forgets, "
                        "ctrl-d ends\n");
    int rc = p->size ? take_turn(s, o, p, true, turn++, e) : 0;
    while (rc == 0) {
        if (terminal) fputs("> ", stderr);
        ssize_t n = getline(&line, &cap, stdin);
        if (n < 0) break;
        if (n && line[n - 1] == '\n') line[--n] = '\0';
        if (strcmp(line, "/reset") == 0) {
            serve_session_reset(s);
            continue;
        }
        rc = take_turn(s, o, &(struct prompt){line, (size_t)n}, false, turn++, e);
    }
    free(line);
    return rc;
}

/* The caller frees *prompt. Without any prompt it is empty, and the model begins a document. */
static int read_prompt(const struct generate_options *o, char **prompt, size_t *size,
                       struct error *e)
{
    *prompt = NULL;
    *size = 0;
    if (o->prompt && o->prompt_file)
        return error_set_code(e, ERROR_USAGE, "--prompt and --prompt-file are both given");
    if (o->prompt) {
        *prompt = mem_strdup(o->prompt);
        *size = strlen(o->prompt);
        return 0;
    }
    if (o->prompt_file) return file_read(o->prompt_file, MAX_PROMPT, prompt, size, e);
    if (o->interactive || isatty(STDIN_FILENO)) return 0;
    TRY(file_read("-", MAX_PROMPT, prompt, size, e));
    if (*size && (*prompt)[*size - 1] == '\n') /* echo's, not the writer's */
        (*prompt)[--*size] = '\0';
    return 0;
}

static int generate(const struct option_line *l, void *options, struct error *e)
{
    const struct generate_options *o = options;
    if (l->n_rest != 1) {
        error_set_code(e, ERROR_USAGE, "one MODEL is needed, %d given", l->n_rest);
        return error_hint(e, "colossus generate runs/fortunes");
    }
    if (o->interactive && o->sequences > 1)
        return error_set_code(e, ERROR_USAGE,
                              "--interactive holds one conversation: no --sequences");
    char *prompt;
    size_t size;
    struct serve_options so = {.tokenizer = o->tokenizer,
                               .eos = o->eos,
                               .precision = o->precision,
                               .backend = (enum compute_backend)o->backend,
                               .threads = o->threads,
                               .B = 1,
                               .T = 1};
    if (o->plan)
        return cmd_model_plan(l->rest[0], l->arena, &so, (struct serve_texts){o->sequences, 0},
                              o->json, e);
    TRY(read_prompt(o, &prompt, &size, e));
    struct serve_model m;
    serve_session_t *s = NULL;
    int rc = cmd_model_open(l->rest[0], l->arena, &so, &m, e);
    if (rc == 0) {
        struct prompt p = {prompt, size};
        if (o->sequences > 1) {
            rc = continue_together(&m, o, &p, e);
        } else {
            rc = serve_session_new(&m, &s, e);
            if (rc == 0) rc = o->interactive ? converse(s, o, &p, e) : continue_prompt(s, o, &p, e);
        }
        serve_session_free(s);
        serve_model_close(&m);
    }
    mem_free(prompt);
    return rc;
}

int cmd_generate(int argc, char **argv)
{
    return cmd_run(&cmd_generate_table, argc, argv, sizeof(struct generate_options), generate);
}
