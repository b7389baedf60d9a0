/* serve.h: a trained model at work: sampling, generation and evaluation.
 *
 * Knows nothing of training: whoever calls says which files are the model. Sampling is a pure
 * function of (logits, history, seed, position), and the model's results do not depend on the
 * number of threads, so the same seed gives the same text on any number of them. */
#ifndef COLOSSUS_SERVE_H
#define COLOSSUS_SERVE_H

#include "base/base.h"
#include "http/http.h"
#include "model/model.h"
#include "text/text.h"

/* ------------------------------------------------------------------ an opened model */

struct serve_options {
    const char *config, *weights,
        *tokenizer;  /* paths; config and weights may be one GGUF file, which
                                                 needs no tokenizer */
    const char *eos; /* the token, or its id, that ends a document; NULL: as the tokenizer says */
    int precision;   /* enum serve_precision */
    enum compute_backend backend;
    int64_t threads; /* 0: all */
    int64_t B, T;    /* largest batch that is scored at once; T 0: the model's context. Generation
                        does not score: 1 and 1 */
};
enum serve_precision { SERVE_PRECISION_AUTO, SERVE_PRECISION_FP32, SERVE_PRECISION_BF16 };

struct serve_model {
    struct pool *pool;
    compute_t *compute;
    model_t *model;
    tokenizer_t *tokenizer;
    tokenizer_scratch_t *scratch;
    struct model_config config;
    int64_t B, T;
    uint32_t start;      /* id that stands before a document: EOS, else BOS, else TOKENIZER_NONE */
    uint32_t bos;        /* what templates call bos_token, or TOKENIZER_NONE */
    uint32_t text_start; /* id in front of a text that is completed, or TOKENIZER_NONE */
    char *chat_template; /* how a conversation is written for it; NULL: nothing says so */
    double bytes;        /* planned for the model, without caches */
};
/* Refuses what this machine's memory cannot hold before it takes any, and a tokenizer that is not
 * the one named by the manifest.json beside the configuration, where there is one. */
int serve_model_open(const struct serve_options *o, struct serve_model *m, struct error *e);
void serve_model_close(struct serve_model *m);

/* What a model takes, without opening its weights: the memory table, keys and values of so many
 * sequences of `context` tokens each (0, or more than the model's: the model's), and the format of
 * the weights. */
enum { SERVE_PLAN_ROWS = 16 };
struct serve_plan {
    struct model_config config;
    struct model_memory rows[SERVE_PLAN_ROWS];
    size_t n_rows, decoder_bytes;
    int64_t context; /* of each sequence */
    double bytes;    /* all of it */
};
struct serve_texts {
    int64_t sequences, context;
};
int serve_model_plan(const struct serve_options *o, struct serve_texts texts,
                     struct serve_plan *out, struct error *e);

/* What of a model's files convert needs, too: the tokenizer of a GGUF file as the text of a file of that
 * name; the name that GGUF files have for a way to cut text into words, one pattern after the other
 * (whole_words: a word that is a piece is taken whole), or NULL; and what tokenizer_config.json beside
 * a model says of the token in front of a text. */
int serve_gguf_tokenizer_file(const struct gguf *g, const char *name, struct str *text,
                              const char **file, struct error *e);
const char *serve_gguf_cut_name(const char *const *patterns, size_t n, bool whole_words);
struct serve_start {
    bool said;    /* there is such a file */
    uint32_t bos; /* or TOKENIZER_NONE */
    bool adds;    /* whether it stands in front of a text */
};
int serve_start_of(const char *config, const char *tokenizer, const tokenizer_t *t,
                   struct serve_start *out, struct error *e);

/* ------------------------------------------------------------------ sampling */

/* Applied in this order: repetition penalty, temperature, top-k, top-p, min-p. */
struct serve_sampling {
    double temperature;        /* 0: the most likely token, ties to the smaller id */
    int64_t top_k;             /* keep the k most likely; 0: all */
    double top_p;              /* keep the smallest set with at least this probability; 1: all */
    double min_p;              /* drop tokens below this share of the most likely; 0: none */
    double repetition_penalty; /* logits of recent tokens: l > 0 ? l / p : l * p (CTRL,
                                  1909.05858 4.1); 1: off */
    int64_t repetition_window; /* how many recent tokens count */
    int64_t seed;
};
struct serve_candidate {
    float logit;
    uint32_t id;
};
/* One draw; stream and position number it: the same numbers give the same token again. */
struct serve_draw {
    const float *logits; /* [vocab], not changed */
    uint32_t vocab;
    const uint32_t *history; /* ids so far, the newest last */
    size_t n_history;
    uint64_t stream, position;
};
/* One token; `work` is room for vocab candidates. */
uint32_t serve_sample(const struct serve_sampling *s, const struct serve_draw *d,
                      struct serve_candidate *work);

/* ------------------------------------------------------------------ generation */

enum serve_stop { SERVE_STOP_EOS, SERVE_STOP_LENGTH, SERVE_STOP_STRING, SERVE_STOP_CALLER };

struct serve_generation {
    const char *prompt;
    size_t prompt_size; /* bytes; 0: go on */
    struct serve_sampling sampling;
    int64_t max_tokens; /* 0: until EOS, a stop string or the end of the context */
    const char *const *stop;
    size_t n_stop;
    bool parse_special;  /* control tokens written in the prompt become ids */
    bool no_start_token; /* do not put EOS (the sign that a document begins) before the prompt */
    bool ignore_eos;
    uint64_t stream; /* numbers samples of one seed */
    /* Called once the prompt is known to fit, before it is read. NULL: not. */
    void (*on_start)(void *ctx);
    /* Called with whole UTF-8 characters as they become certain; non-zero stops. NULL: none. */
    int (*on_text)(void *ctx, const char *text, size_t size);
    void *ctx;
};
struct serve_generated {
    enum serve_stop reason;
    int64_t prompt_tokens, new_tokens;
    int64_t forgotten; /* oldest tokens of the session that the full context had to give up */
    double prompt_s, decode_s;
};

/* A session keeps the cache and the ids so far, so that a conversation goes on where it was. */
typedef struct serve_session serve_session_t;
int serve_session_new(struct serve_model *m, serve_session_t **out, struct error *e);
void serve_session_free(serve_session_t *s);
void serve_session_reset(serve_session_t *s);
/* Appends the prompt and generates. When the context is full the older half of it is forgotten, or
 * what a prompt needs if that is more, and the rest read again. A prompt beyond the context is an
 * error, and so is a cache for which there is no memory: it grows with the session. The whole new
 * text is appended to *text (NULL: not wanted); result may be NULL. */
int serve_generate(serve_session_t *s, const struct serve_generation *g, struct str *text,
                   struct serve_generated *result, struct error *e);

/* n samples of one prompt at once, streams g->stream, g->stream + 1 ...: each the text that a session
 * of its own gives. The prompt is read once, and every step decodes one batch. on_start and on_text
 * are not called. Texts [n] are appended to, results [n] set; prompt and continuation must fit the
 * context together. */
int serve_generate_samples(struct serve_model *m, const struct serve_generation *g, int64_t n,
                           struct str *texts, struct serve_generated *results, struct error *e);

/* ------------------------------------------------------------------ answers from posts (live/)
 * A request that asks for sources in xAI's words (`search_parameters`, a tool `live_search` or `x_search`)
 * is read by the server, and answered by whoever has posts. */

struct serve_search_request {
    bool chat;         /* a chat completion; false: a response */
    const char *model; /* as the answer names it */
    const char *question,
        *within;                 /* what the user says last; a query that sources match, or NULL */
    int64_t sources, max_tokens; /* at most; 0: not given */
    double timeout_s;            /* 0: any */
    bool stream, include_usage, citations;
    const char *notes[4]; /* what was asked for and is not done */
    size_t n_notes;
};
struct serve_search {
    void *ctx;
    /* Takes the request over, which it answers from any thread; false: too many wait. *q lives as long
     * as the request. */
    bool (*take)(void *ctx, http_request_t *r, const struct serve_search_request *q);
    /* Of an array of the `version`s of sources those that do not hold any more, as a new array: a few
     * reads of the disk. ERROR_USAGE where one is none. */
    int (*gone)(void *ctx, const json_t *versions, json_t **out, struct error *e);
};

struct serve_live_options {
    const char *store; /* folder of posts */
    const char *key;   /* of the server that writes, or NULL */
    double timeout_s;  /* of writing; 0: 120 */
};
typedef struct serve_live serve_live_t;
/* What *o points at must outlive it. An error where there is no store. */
int serve_live_new(const struct serve_live_options *o, serve_live_t **out, struct error *e);
const struct serve_search *serve_live_search(const serve_live_t *l); /* of serve_server_options */
/* From now on requests are answered; the model is asked at this address ("http://HOST:PORT/v1"). */
void serve_live_begin(serve_live_t *l, const struct http_url *server);
/* Answers what was taken, and takes no more; while the server is still there. */
void serve_live_end(serve_live_t *l);
void serve_live_free(serve_live_t *l); /* accepts NULL */

/* ------------------------------------------------------------------ a server
 * The model behind an interface that OpenAI's clients speak (api/). Any number of clients are written
 * for at once; what each gets depends, bit for bit, on its own request alone. */

struct serve_server_options {
    const char *host; /* address to listen on */
    int port;         /* 0: any that is free */
    const char *name; /* of the model, as clients name it */
    const char *const *keys, *const *origins;
    size_t n_keys, n_origins;
    const char *certificate, *private_key; /* paths of PEM files, or NULL */
    int64_t parallel;                      /* texts that are written at once */
    int64_t context;                       /* longest of them, tokens; 0: the model's */
    int64_t queue;                         /* prompts that may wait */
    double timeout_s;                      /* longest time to an answer's end; 0: any */
    bool no_cache;             /* keep nothing of what was read for later prompts that begin so */
    const char *template_text; /* of conversations, in place of the model's own; NULL: that */
    const char *log_path;      /* a line for each request; NULL: none */
    const struct serve_search *search; /* who has sources (live/); NULL: nobody */
};
typedef struct serve_server serve_server_t;
/* Listens and answers, in threads of its own; what *o points at, and the model, must outlive it. */
int serve_server_new(struct serve_model *m, const struct serve_server_options *o,
                     serve_server_t **out, struct error *e);
int serve_server_port(const serve_server_t *s);
int64_t serve_server_context(const serve_server_t *s);
/* Takes no new requests, and waits up to so many seconds for those that are there; whether none is. */
bool serve_server_stop(serve_server_t *s, double seconds);
/* Cuts off what is left. NULL is allowed. */
void serve_server_free(serve_server_t *s);

/* ------------------------------------------------------------------ load (load/)
 * How fast a server of this interface answers many clients, this one's or another's. */

struct load_options {
    int64_t requests, clients; /* of a round; at once at most */
    double rate; /* arrivals a second (open loop); 0: clients ask again when answered */
    int64_t prompt_words, answer_tokens;
    int64_t seed;
    double timeout_s; /* for an answer */
};
struct load_server {
    struct http_url url; /* of the interface: "http://HOST:PORT/v1" */
    const char *key;     /* or NULL */
    const char *model;   /* as the server names it */
};
struct load_request {
    double first_s, whole_s; /* from when it was sent or, by rate, arrived */
    int64_t prompt_tokens, answer_tokens, pieces;
    bool failed;
};
struct load_round {
    struct load_request *requests;
    size_t n;
    double *gaps; /* between pieces of an answer, seconds */
    size_t n_gaps;
    double seconds;
    char errors[3][256]; /* the first ones */
    int n_errors;
};
struct load_spread {
    double p50, p90, p99;
};
struct load_figures {
    size_t failed;
    double prompt_tokens, answer_tokens;         /* means of those that were answered */
    struct load_spread first, token, gap, whole; /* seconds; token: of an answer's mean */
    double tokens_s, prompt_tokens_s, requests_s;
    double good_share, good_s; /* answered whole within the deadline: of all; a second */
};
/* Rounds of one number ask for the same prompts. What fails is counted, and is no error. */
int serve_load_round(const struct load_options *o, const struct load_server *s, int64_t round,
                     struct load_round *out, struct error *e);
struct load_figures serve_load_figures(const struct load_round *r, double deadline_s);
void serve_load_round_fini(struct load_round *r);
/* The first model that the server has, as s->model, which is in name. */
int serve_load_model(struct load_server *s, char name[256], struct error *e);

/* ------------------------------------------------------------------ evaluation */

struct serve_eval_result {
    const char *task; /* of serve_eval_tasks */
    uint64_t examples, tokens, bytes;
    uint64_t cut; /* tasks: sequences whose context was cut from the left to fit the model's */
    double bits_per_byte; /* text; NAN where it does not apply, as below */
    double perplexity;    /* text: per token; lambada: per last word */
    double accuracy;      /* lambada, blimp, choices (by likelihood) */
    double
        accuracy_norm; /* choices, but for winogrande and mmlu: by likelihood per character of the answer, as in
                               lm-evaluation-harness: without the space before it */
    double chance;          /* accuracy of guessing */
    double stderr_accuracy; /* of accuracy_norm where there is one, else of accuracy; binomial */
    double seconds;
};
struct serve_eval_options {
    int64_t stride; /* text: tokens newly scored per window; 0: half the context */
    int64_t limit;  /* examples; 0: all */
    bool show_progress;
    struct corpus_options corpus; /* text: how files are read; paths are not looked at */
};
/* Each scores one file, which may be packed (.gz, .zst); errors name file and line.
 *
 * text: every document of the file, its end included where the tokenizer has an EOS. */
int serve_eval_text(struct serve_model *m, const char *path, const struct serve_eval_options *o,
                    struct serve_eval_result *r, struct error *e);
/* Objects with "text": the last word from the rest (Paperno et al. 2016, OpenAI's form). */
int serve_eval_lambada(struct serve_model *m, const char *path, const struct serve_eval_options *o,
                       struct serve_eval_result *r, struct error *e);
/* Objects with "sentence_good" and "sentence_bad" (Warstadt et al. 2020). */
int serve_eval_blimp(struct serve_model *m, const char *path, const struct serve_eval_options *o,
                     struct serve_eval_result *r, struct error *e);
/* Any task by its name; the forms of multiple choice and their prompts: serve_eval_forms.c. */
int serve_eval(struct serve_model *m, const char *task, const char *path,
               const struct serve_eval_options *o, struct serve_eval_result *r, struct error *e);
/* "auto", "text", "lambada", "blimp", "choice", "piqa" ..., NULL. */
extern const char *const serve_eval_tasks[];
/* By the keys of the first object, "text" where there are none; NULL and an error that lists the forms
 * where it is none of them. "text" where the corpus options differ from the defaults. */
const char *serve_eval_guess(const char *path, const struct corpus_options *c, struct error *e);

#endif
