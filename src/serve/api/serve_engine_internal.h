/* serve_engine_internal.h: many requests written at once by one model.
 *
 * One thread, the engine's, runs the model: a step takes one row of each sequence that is being
 * written, and rows of prompts that are being read, through the layers together. Requests come in
 * from any thread and wait in a bounded queue; everything about a job happens in the engine's
 * thread, and its owner is told by callbacks there.
 *
 * What a job gives depends, bit for bit, on the job alone: not on what is written beside it, on how
 * its prompt was cut into steps, or on what the prefix cache had of it (model.h, decoding). */
#ifndef COLOSSUS_SERVE_ENGINE_INTERNAL_H
#define COLOSSUS_SERVE_ENGINE_INTERNAL_H

#include "serve/serve.h"

#include <pthread.h>

enum {
    ENGINE_MAX_TOP = 20,
    ENGINE_LOGIT_ROWS = 64 /* of prompts whose tokens' probabilities are wanted, in a step */
};

struct engine_token {
    uint32_t id;
    bool has_logprobs;
    double logprob;  /* natural, of the untempered probabilities; -INFINITY: none */
    bool not_finite; /* the logits are no numbers, and there is no token */
    int n_top;       /* most likely first */
    struct {
        uint32_t id;
        double logprob;
    } top[ENGINE_MAX_TOP];
};
enum engine_end {
    ENGINE_END_STOP,
    ENGINE_END_LENGTH,
    ENGINE_END_OWNER,
    ENGINE_END_GONE,
    ENGINE_END_LATE,  /* its deadline passed */
    ENGINE_END_STUCK, /* no token may come next */
    ENGINE_END_FAILED
};

struct engine_bias {
    uint32_t id;
    float add;
};
/* What may come next, asked in the engine's threads, of one choice by one at a time. */
struct engine_constraint {
    void *ctx;
    /* Whether the token may come next; of the end: whether the text may end here. */
    bool (*allows)(void *ctx, uint32_t id);
    bool (*may_end)(void *ctx);
    void (*take)(void *ctx, uint32_t id); /* it comes */
};

struct engine_job {
    /* The owner's, before it is given to the engine. */
    const uint32_t *prompt;
    int64_t n_prompt, max_tokens; /* at least 1 prompt token; max_tokens 0: none are written */
    int n;                        /* choices */
    struct serve_sampling sampling;
    double presence_penalty, frequency_penalty;
    const struct engine_bias *bias;
    size_t n_bias;
    const uint32_t *stop; /* ids that end a text */
    size_t n_stop;
    bool ignore_stop;
    bool logprobs, prompt_logprobs; /* the second: of the prompt's tokens too, in order, first */
    bool embed;                     /* the mean of the last hidden states instead of text */
    int top_logprobs;
    struct engine_constraint *constraints; /* [n], or NULL */
    double deadline_s;                     /* of time_now_s, by when it has to be whole; 0: none */
    uint64_t client;                       /* who asks (http_client): jobs share by it */
    void *ctx;
    /* The engine's thread calls. Of a prompt's tokens choice is -1. False ends that choice. */
    bool (*on_token)(void *ctx, int choice, const struct engine_token *t);
    void (*on_end)(void *ctx, int choice, enum engine_end why);
    void (*on_embedding)(void *ctx, const float *mean);
    void (*on_wait)(void *ctx); /* now and then, while it waits or its prompt is read */
    bool (*is_gone)(void *ctx);
    void (*on_done)(void *ctx); /* the last call: the engine has let go of the job */
    /* To be read by the owner in its callbacks. */
    bool not_finite;                            /* the model gave no numbers */
    int64_t cached;                             /* tokens of the prompt that the cache had */
    double queued_s, prompt_s, first_s, done_s; /* when it came, was taken in, wrote, ended */

    /* The engine's own. */
    struct engine_choice *choices;
    int64_t read, part, reserved; /* prompt tokens read, and in this step; pages */
    int64_t row;                  /* of the first of them in the logits */
    int32_t sequence;             /* while the prompt is read */
    double *states;               /* [D] sums */
    struct queue_client *of;
    struct engine_job *next;
};

/* ------------------------------------------------------------------ serve_queue.c */

/* Whoever has a place in the queue, or a job. */
struct queue_client {
    uint64_t id;
    struct engine_job *first, **end; /* that wait */
    int64_t waiting, places;         /* of those; given out and not used yet */
    int64_t jobs, sequences;         /* that wait or were taken; of those that were taken */
    uint64_t turn;                   /* when the last one was taken */
    uint64_t read_turn;              /* when the last states were made: the engine's own */
    int64_t rows;                    /* of prompts, in a step: the engine's own */
    struct queue_client *next;
};
struct job_queue {
    struct queue_client *clients;
    int64_t waiting, places, most; /* `most` wait and have places, and as many of others' shares */
    uint64_t turns;
};
/* A place, which a push takes. */
bool job_queue_reserve(struct job_queue *q, uint64_t client);
void job_queue_unreserve(struct job_queue *q, uint64_t client);
void job_queue_push(struct job_queue *q, struct engine_job *job);
/* Whose turn it is; NULL: nobody waits. It stays until it is taken. */
struct engine_job *job_queue_first(const struct job_queue *q);
void job_queue_take(struct job_queue *q, struct engine_job *job);
/* Those that leave, by what is asked of each, as a list. */
struct engine_job *job_queue_sift(struct job_queue *q, bool (*leaves)(void *, struct engine_job *),
                                  void *ctx);
/* A job that was taken, or sifted out, is no more. */
void job_queue_end(struct job_queue *q, struct engine_job *job, bool taken);

/* ------------------------------------------------------------------ serve_engine.c */

struct engine_options {
    int64_t sequences, context, queue, pages; /* at once; longest; jobs that may wait; of keys */
    bool no_cache;
};
/* Figures that grow, and of this moment. */
struct engine_figures {
    uint64_t prompt_tokens, cached_tokens, generated_tokens, steps, rows, jobs, cancelled, failed,
        late;
    uint64_t refused;
    double busy_s;
    int64_t running, waiting, sequences, pages_used, pages, cache_entries, cache_tokens;
};
typedef struct engine engine_t;

int engine_new(struct serve_model *m, const struct engine_options *o, engine_t **out,
               struct error *e);
/* Ends its thread, and the jobs that are there as gone; takes no more. */
void engine_stop(engine_t *e);
void engine_free(engine_t *e);
/* A place in the queue for a client, which engine_submit takes; false: there is none. */
bool engine_reserve(engine_t *e, uint64_t client);
void engine_unreserve(engine_t *e, uint64_t client);
/* The job belongs to the engine until on_done. */
void engine_submit(engine_t *e, struct engine_job *job);
void engine_figures(engine_t *e, struct engine_figures *f);
/* Pages that a job takes at most. */
int64_t engine_pages_of(const struct engine_job *job);

#endif
