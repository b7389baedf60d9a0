/* serve_api_internal.h: what the files of the interface over HTTP share: the server, and a call, which
 * is one request of a client that makes the engine write.
 *
 * A call is made in the thread of the HTTP server: its body read and checked, its prompts rendered
 * and turned to ids. Then it belongs to the engine's thread, which writes its answer and frees it. */
#ifndef COLOSSUS_SERVE_API_INTERNAL_H
#define COLOSSUS_SERVE_API_INTERNAL_H

#include "http/http.h"
#include "serve/api/serve_engine_internal.h"
#include "serve/grammar/serve_grammar_internal.h"
#include "serve/jinja/serve_jinja_internal.h"

enum { API_MAX_STOPS = 16, API_MAX_CHOICES = 32, API_MAX_PROMPTS = 64 };

struct api_special { /* a control token as it is written */
    const char *text;
    size_t size;
    uint32_t id;
};
struct serve_server {
    struct serve_model *m;
    struct serve_server_options o;
    const char *id;                                /* of the model, as clients name it */
    int64_t created, context, most_choices, pages; /* pages: of keys and values */
    engine_t *engine;
    http_server_t *http;
    jinja_t *jinja;
    const char *template_text;
    struct api_special *specials;
    size_t n_specials;
    bool special_first[256];
    size_t longest_piece; /* bytes: no token stands for more */
    uint32_t *stop;       /* ids that end a turn or a text */
    size_t n_stop;
    struct arena arena;
    FILE *log;
    bool log_failed; /* the last line was lost, which was said */
    pthread_mutex_t log_lock;
    uint64_t salt; /* of ids and seeds that are not given */
    struct http_bucket first_token[12];
    double first_token_sum;
};

/* ------------------------------------------------------------------ errors (serve_api_error.c) */

/* What a client gets instead of an answer. */
struct api_error {
    int status; /* 0: none */
    const char *type, *param, *code;
    char text[700];
};
#define API_NOT_FINITE                                                                          \
    "the model gives logits that are not finite numbers: its weights are beyond use; serve an " \
    "earlier checkpoint"
/* Fills it; returns -1. type by the status. param and code may be NULL. */
int api_wrong(struct api_error *x, int status, const char *param, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
void api_error_json(const struct api_error *x, struct str *out);
void api_reply_error(http_request_t *r, const struct api_error *x);
void api_error_body(int status, const char *text, struct str *out); /* http_options */

/* ------------------------------------------------------------------ fields (serve_api_params.c) */

struct api_params {
    double temperature, top_p, min_p, presence_penalty, frequency_penalty, repetition_penalty;
    int64_t top_k, max_tokens, n, seed, top_logprobs; /* max_tokens -1: not given */
    double deadline_s;                                /* of time_now_s; 0: none */
    bool has_seed, logprobs, stream, include_usage, ignore_eos, echo;
    const char *stop[API_MAX_STOPS]; /* in the arena */
    size_t n_stop;
    struct engine_bias *bias;
    size_t n_bias;
};
/* Reads what all writing requests share; fields of other types and out of range are errors. */
int api_read_params(struct serve_server *s, const json_t *o, struct arena *a, struct api_params *p,
                    struct api_error *x);
/* When a request of this body has to be answered: `timeout`, in seconds, and the server's. */
int api_read_deadline(const struct serve_server *s, const json_t *o, double *out,
                      struct api_error *x);
/* Members that may be missing or null. */
int api_read_bool(const json_t *o, const char *key, bool *out, struct api_error *x);
int api_read_int(const json_t *o, const char *key, int64_t least, int64_t most, int64_t *out,
                 struct api_error *x);
int api_read_real(const json_t *o, const char *key, double least, double most, double *out,
                  struct api_error *x);
/* The body, or NULL and the request is answered. */
json_t *api_read_body(http_request_t *r);
/* Members that must be lists of something, or missing, or null. */
int api_check_list(const json_t *o, const char *key, struct api_error *x);
/* Names the body's members that are not among `known` (up to NULL) in a header of the answer. */
void api_name_unknown(http_request_t *r, const json_t *o, const char *const *known);
/* The model's name, where one is given, must be this one. */
int api_check_model(const struct serve_server *s, const json_t *o, struct api_error *x);

/* ------------------------------------------------------------------ prompts (serve_api_prompt.c) */

/* Finds control tokens and what ends a turn, and reads the template. */
int api_prompt_init(struct serve_server *s, struct error *e);
/* The messages rendered by the template. */
struct api_chat {
    const json_t *messages, *tools, *extra; /* as a client gave them; chat_template_kwargs */
    bool add_prompt, go_on;                 /* go on: the last message is the model's to continue */
};
int api_render(struct serve_server *s, const struct api_chat *chat, struct arena *a,
               struct jinja_text *out, struct api_error *x);
/* Ids of a text of which marked bytes are a user's: these never become control tokens. */
/* Refuses a text of more bytes than as many tokens as fit the context can stand for. It would be refused
 * anyway, but only after it was encoded, for which everybody else would have to wait. */
int api_check_size(const struct serve_server *s, size_t bytes, const char *name,
                   struct api_error *x);
void api_encode(struct serve_server *s, const struct jinja_text *t, struct token_array *out);
/* Of a plain text; special: control tokens written in it become their ids; start: what the model
 * wants in front of a text goes there. */
void api_encode_text(struct serve_server *s, const char *text, size_t size, bool special,
                     bool start, struct token_array *out);
/* Bytes of a token as its name: of a control token its text. */
void api_token_text(struct serve_server *s, uint32_t id, struct str *out);

/* ------------------------------------------------------------------ calls (serve_api_call.c) */

enum api_kind { API_CHAT, API_COMPLETION, API_RESPONSE, API_MESSAGE };
enum api_part { /* of a text, as it is being written */
                API_PART_BEGINNING,
                API_PART_TEXT,
                API_PART_THOUGHT,
                API_PART_CALL, /* of a tool, until its end */
                API_PART_WHOLE /* looks like a call, and is known at the text's end */
};
struct api_call;
struct api_prompt {
    struct api_call *call;
    int index;
    struct token_array ids;
    const char *text; /* for echo, or NULL */
    size_t text_size;
    struct engine_job job;
};
struct api_choice {
    struct api_call *call;
    int index;
    struct str pending;              /* not certain yet */
    struct str held;                 /* not known yet what it is part of */
    struct str text, thought, calls; /* the whole; of calls the members of a list */
    struct str logprobs;             /* entries that were not sent yet, or all */
    struct str lp[3];                /* of completions: probabilities, likeliest, offsets */
    size_t lp_count, text_offset;
    enum api_part part;
    int n_calls;
    int64_t tokens, thought_tokens;
    const char *stop; /* the string that ended it, or NULL */
    bool stopped, ended;
    enum engine_end why;
};
/* What is added to an answer's message. */
struct api_delta {
    bool role, end;
    const char *text, *thought; /* n bytes of one of them, or NULL */
    size_t n;
    const char *call, *arguments; /* the name of a tool */
};
struct api_usage { /* tokens; seconds of reading and writing */
    int64_t prompt, cached, written, thought;
    double prompt_s, write_s;
};
/* How an answer of a kind looks. */
struct api_shape {
    const char *prefix;                                                 /* of ids */
    void (*begin)(struct api_call *c);                                  /* of a stream */
    void (*delta)(struct api_choice *k, const struct api_delta *delta); /* in a stream */
    void (*end)(struct api_call *c);                                    /* behind all of them */
    void (*whole)(struct api_call *c);                                  /* writes c->line */
    void (*error)(const struct api_error *x, struct str *out);
};
struct api_held;
struct api_call {
    struct serve_server *s;
    http_request_t *http;
    struct arena *arena; /* the request's */
    enum api_kind kind;
    const struct api_shape *shape;
    struct api_params p;
    char id[48], item[48]; /* of the answer; of what is being written of it */
    int64_t events;        /* sent */
    int64_t created;
    struct api_prompt *prompts;
    struct api_choice *choices;
    int n_prompts, n_choices, jobs_left;
    json_t *tools;      /* that may be called, or NULL */
    bool forced;        /* one of them must be */
    bool one_call;      /* and no second one may be */
    grammar_t *grammar; /* of the text, or NULL; with a place of each choice in it */
    struct api_held *held;
    struct engine_constraint *constraints;
    bool begun; /* the stream */
    double wrote_s;
    struct str line; /* scratch */
};
/* A call for n prompts, whose ids the caller fills in. */
struct api_call *api_call_new(struct serve_server *s, http_request_t *r, enum api_kind kind,
                              const struct api_params *p, int n_prompts);
void api_call_free(struct api_call *c);
/* Checks lengths, takes a place in the queue and starts; the call is not the caller's afterwards,
 * unless this fails. */
int api_call_start(struct api_call *c, struct api_error *x);

/* ------------------------------------------------------------------ parts (serve_api_parts.c) */

/* More of a chat's text; and that there is no more. */
void api_parts_add(struct api_choice *k, const char *text, size_t n);
void api_parts_end(struct api_choice *k);
/* What they give (serve_api_call.c). */
void api_part_text(struct api_choice *k, const char *text, size_t n, bool thought);
void api_part_call(struct api_choice *k, const char *name, const char *arguments);

/* ------------------------------------------------------------------ constraints
 * (serve_api_constraint.c) */

struct api_tools {
    const json_t *tools; /* that may be called, or NULL */
    bool forced, one;    /* one must come; no second one may */
    grammar_t *grammar;  /* of a call that must come, or NULL */
};
/* What response_format asks for, or NULL; tools and tool_choice. */
int api_read_format(const json_t *o, grammar_t **out, struct api_error *x);
int api_read_tools(const json_t *o, struct api_tools *t, struct api_error *x);
/* The call's choices are held to the grammar, which becomes the call's. */
void api_constrain(struct api_call *c, grammar_t *g);
/* Whether the choice's text is whole, and nothing may come behind it. */
bool api_is_whole(const struct api_call *c, int choice);
void api_constrain_free(struct api_call *c);

/* ------------------------------------------------------------------ shapes
 * serve_api_call.c has those of chats and completions. */

extern const struct api_shape api_response_shape, api_message_shape;
struct api_usage api_usage_of(const struct api_call *c);
/* The calls of tools that were gathered, in a chat's form: an array that the caller json_decrefs. */
json_t *api_calls_of(const struct api_choice *k);
/* "stop", "length" or "tool_calls" */
const char *api_reason(const struct api_choice *k);
/* Sends c->line as an event. */
void api_send(struct api_call *c, const char *event);
/* A call of a chat's body, or NULL and the error. */
struct api_call *api_read_chat(struct serve_server *s, http_request_t *r, const json_t *o,
                               enum api_kind kind, struct api_error *x);

/* A request that asks for sources goes to whoever has them (serve_api_search.c). 1: it is taken; 0: it asks
 * for none; -1: the error. */
int api_take_search(struct serve_server *s, http_request_t *r, const json_t *o, bool chat,
                    struct api_error *x);

void api_new_id(struct serve_server *s, const char *prefix, char id[48]);

/* ------------------------------------------------------------------ requests */

http_handler api_chat_handler, api_completion_handler, api_tokenize_handler, api_detokenize_handler,
    api_template_handler, api_embeddings_handler, api_response_handler, api_message_handler,
    api_count_handler, api_sources_handler;

#endif
