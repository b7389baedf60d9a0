/* serve_engine.c: steps of the model over the jobs that are there.
 *
 * A job is admitted when its client's turn comes (serve_queue.c) and there are sequences and pages for
 * the whole of it, so that one that has begun never lacks memory. Its prompt is read in parts beside
 * the others' writing, as many rows a step as fit 50 ms, which clients share; its other choices fork
 * off the prompt's sequence. A sequence that has ended stays in the prefix cache until its pages are needed: a later
 * prompt that begins in the same way forks it. */
#include "serve/api/serve_engine_internal.h"
#include "serve/serve_score_internal.h"

#include <string.h>

#define STEP_S      0.05
#define WAIT_EACH_S 3.0 /* between calls of on_wait */
enum {
    LEAST_ROWS = 16, /* of prompts in a step beside others' writing */
    MOST_ROWS = 256,
    CACHE_ENTRIES = 64,
    CACHE_LEAST = 8, /* tokens that are worth a fork */
    DRAWS = 8        /* before all tokens are asked whether they may come */
};

struct engine_choice {
    int32_t sequence;
    bool ended;
    uint32_t last; /* to be fed next */
    int64_t written;
    struct token_array ids; /* written */
    int64_t row;            /* of the step's logits; -1: none */
    struct engine_token token;
};

struct cached {
    int32_t sequence;
    uint32_t *ids;
    int64_t n;
    uint64_t used; /* the step */
};

struct engine {
    struct serve_model *m;
    struct engine_options o;
    model_decoder_t *decoder;
    pthread_t thread;
    bool started;
    pthread_mutex_t lock; /* of the queue, `stopping` and figures */
    pthread_cond_t work;
    struct job_queue queue;
    bool stopping;
    struct engine_figures figures;

    /* The thread's own. */
    struct engine_job *jobs;
    int64_t sequences, reserved;
    struct cached cache[CACHE_ENTRIES];
    int n_cache;
    struct model_row *rows;
    float *logits;                  /* [2 sequences + ENGINE_LOGIT_ROWS, V] */
    struct engine_choice **drawing; /* choices whose logits are there */
    struct engine_job **drawing_job;
    int64_t n_drawing;
    float *draw_logits, *states;        /* [threads, V]; [rows, D] */
    struct serve_candidate *work_space; /* [threads, V] */
    uint32_t *counts;                   /* [threads, V] zeros */
    double row_s, waited_s;
    int64_t read, delivered; /* tokens of the step */
};

/* ------------------------------------------------------------------ the queue */

bool engine_reserve(engine_t *e, uint64_t client)
{
    pthread_mutex_lock(&e->lock);
    bool room = !e->stopping && job_queue_reserve(&e->queue, client);
    e->figures.refused += !room;
    pthread_mutex_unlock(&e->lock);
    return room;
}

void engine_unreserve(engine_t *e, uint64_t client)
{
    pthread_mutex_lock(&e->lock);
    job_queue_unreserve(&e->queue, client);
    pthread_mutex_unlock(&e->lock);
}

void engine_submit(engine_t *e, struct engine_job *job)
{
    CHECK(job->n >= 1 && job->n_prompt >= 1);
    job->sequence = -1;
    job->queued_s = time_now_s();
    pthread_mutex_lock(&e->lock);
    job_queue_push(&e->queue, job);
    pthread_cond_signal(&e->work);
    pthread_mutex_unlock(&e->lock);
}

void engine_figures(engine_t *e, struct engine_figures *f)
{
    pthread_mutex_lock(&e->lock);
    *f = e->figures;
    f->waiting = e->queue.waiting;
    f->pages = e->o.pages;
    pthread_mutex_unlock(&e->lock);
}

static int64_t pages_of(int64_t positions)
{
    return (positions + COMPUTE_PAGE - 1) / COMPUTE_PAGE;
}

int64_t engine_pages_of(const struct engine_job *job)
{
    int64_t first = pages_of(job->n_prompt + job->max_tokens);
    return first + (job->n - 1) * (pages_of(job->max_tokens) + 1);
}

/* ------------------------------------------------------------------ the prefix cache */

static void drop_cached(struct engine *e, int i)
{
    model_sequence_close(e->decoder, e->cache[i].sequence);
    mem_free(e->cache[i].ids);
    e->cache[i] = e->cache[--e->n_cache];
}

static int oldest(const struct engine *e)
{
    int old = 0;
    for (int i = 1; i < e->n_cache; i++)
        if (e->cache[i].used < e->cache[old].used) old = i;
    return old;
}

static int64_t cached_pages(const struct engine *e)
{
    int64_t pages = 0;
    for (int i = 0; i < e->n_cache; i++)
        pages += pages_of(e->cache[i].n) + 1;
    return pages;
}

/* Until so many pages are free for jobs. */
static void make_room(struct engine *e, int64_t pages)
{
    while (e->n_cache > 0 && e->reserved + pages + cached_pages(e) > e->o.pages)
        drop_cached(e, oldest(e));
}

/* The sequence of a prompt and what was written behind it goes to the cache, or is closed. */
static void keep(struct engine *e, const struct engine_job *job, const struct engine_choice *c)
{
    int64_t n = model_sequence_length(e->decoder, c->sequence);
    struct cached k = {.sequence = c->sequence, .n = n, .used = e->figures.steps};
    if (e->o.no_cache || n < CACHE_LEAST || e->stopping) {
        model_sequence_close(e->decoder, c->sequence);
        return;
    }
    k.ids = mem_alloc((size_t)n * sizeof(*k.ids));
    for (int64_t i = 0; i < n; i++)
        k.ids[i] = i < job->n_prompt ? job->prompt[i] : c->ids.ids[i - job->n_prompt];
    if (e->n_cache == CACHE_ENTRIES) drop_cached(e, oldest(e));
    e->cache[e->n_cache++] = k;
    make_room(e, 0);
}

/* Begins the job's sequence with the longest beginning of its prompt that the cache has. One token at
 * least is read, for what comes behind it. */
static void open_sequence(struct engine *e, struct engine_job *job)
{
    int64_t best = 0;
    int from = -1;
    for (int i = 0; i < e->n_cache && !job->prompt_logprobs && !job->embed; i++) {
        const struct cached *k = &e->cache[i];
        int64_t n = 0, most = MIN(k->n, job->n_prompt - 1);
        while (n < most && k->ids[n] == job->prompt[n])
            n++;
        if (n <= best || n < CACHE_LEAST) continue;
        best = n;
        from = i;
    }
    job->cached = job->read = best;
    if (from < 0) {
        job->sequence = model_sequence_open(e->decoder);
        return;
    }
    e->cache[from].used = e->figures.steps;
    job->sequence = model_sequence_fork(e->decoder, e->cache[from].sequence, best);
}

/* ------------------------------------------------------------------ jobs in and out */

static void admit(struct engine *e, struct engine_job *job)
{
    job->reserved = engine_pages_of(job);
    open_sequence(e, job);
    e->reserved += job->reserved;
    make_room(e, 0);
    e->sequences += job->n;
    job->prompt_s = time_now_s();
    job->choices = mem_calloc((size_t)job->n, sizeof(*job->choices));
    for (int i = 0; i < job->n; i++)
        job->choices[i].sequence = -1;
    struct engine_job **end = &e->jobs;
    while (*end)
        end = &(*end)->next;
    job->next = NULL;
    *end = job;
    pthread_mutex_lock(&e->lock);
    e->figures.jobs++;
    e->figures.cached_tokens += (uint64_t)job->cached;
    pthread_mutex_unlock(&e->lock);
}

static bool fits(const struct engine *e, const struct engine_job *job)
{
    if (!e->jobs) return true; /* the owner has held it against the whole */
    return e->sequences + job->n <= e->o.sequences &&
           e->reserved + engine_pages_of(job) <= e->o.pages;
}

static void end_choice(struct engine *e, struct engine_job *job, int i, enum engine_end why)
{
    struct engine_choice *c = &job->choices[i];
    if (c->ended) return;
    c->ended = true;
    if (c->sequence >= 0) keep(e, job, c);
    c->sequence = -1;
    job->on_end(job->ctx, i, why);
}

/* The job leaves; choices that have not ended end so. */
static void end_job(struct engine *e, struct engine_job *job, enum engine_end why)
{
    for (int i = 0; job->choices && i < job->n; i++) {
        end_choice(e, job, i, why);
        token_array_fini(&job->choices[i].ids);
    }
    for (int i = 0; !job->choices && i < job->n; i++)
        job->on_end(job->ctx, i, why);
    if (job->sequence >= 0) model_sequence_close(e->decoder, job->sequence);
    if (job->choices) {
        e->reserved -= job->reserved;
        e->sequences -= job->n;
    }
    bool taken = job->choices != NULL;
    mem_free(job->choices);
    mem_free(job->states);
    job->choices = NULL;
    job->done_s = time_now_s();
    pthread_mutex_lock(&e->lock);
    job_queue_end(&e->queue, job, taken);
    e->figures.cancelled += why == ENGINE_END_GONE;
    e->figures.failed += why == ENGINE_END_FAILED;
    e->figures.late += why == ENGINE_END_LATE;
    pthread_mutex_unlock(&e->lock);
    job->on_done(job->ctx);
}

static bool is_late(const struct engine_job *job)
{
    return job->deadline_s > 0 && time_now_s() > job->deadline_s;
}

/* Why a job must leave that is not whole; ENGINE_END_STOP: it need not. */
static enum engine_end why_leave(const struct engine *e, const struct engine_job *job)
{
    if (e->stopping || job->is_gone(job->ctx)) return ENGINE_END_GONE;
    return is_late(job) ? ENGINE_END_LATE : ENGINE_END_STOP;
}

/* Whether a job that waits leaves; who stays is told now and then. */
struct sift {
    struct engine *e;
    bool tell;
};

static bool leaves(void *ctx, struct engine_job *job)
{
    const struct sift *s = ctx;
    if (why_leave(s->e, job) != ENGINE_END_STOP) return true;
    if (s->tell) job->on_wait(job->ctx);
    return false;
}

/* Takes what fits from the queue, and sees who of those that wait has left or waits too long. */
static void take_jobs(struct engine *e)
{
    struct engine_job *job;
    bool tell = time_now_s() - e->waited_s > WAIT_EACH_S;
    pthread_mutex_lock(&e->lock);
    struct engine_job *gone = job_queue_sift(&e->queue, leaves, &(struct sift){e, tell});
    while ((job = job_queue_first(&e->queue)) && fits(e, job)) {
        job_queue_take(&e->queue, job);
        pthread_mutex_unlock(&e->lock);
        admit(e, job);
        pthread_mutex_lock(&e->lock);
    }
    pthread_mutex_unlock(&e->lock);
    while ((job = gone)) {
        gone = job->next;
        end_job(e, job, is_late(job) ? ENGINE_END_LATE : ENGINE_END_GONE);
    }
    for (job = e->jobs; job && tell; job = job->next)
        if (job->read < job->n_prompt) job->on_wait(job->ctx);
    if (tell) e->waited_s = time_now_s();
}

static bool is_over(const struct engine_job *job)
{
    for (int i = 0; i < job->n; i++)
        if (!job->choices[i].ended) return false;
    return true;
}

/* Jobs whose clients have left, that are late, or that have ended, leave. */
static void drop_jobs(struct engine *e)
{
    for (struct engine_job **at = &e->jobs; *at;) {
        struct engine_job *job = *at;
        enum engine_end why = why_leave(e, job);
        if (!is_over(job) && why == ENGINE_END_STOP) {
            at = &job->next;
            continue;
        }
        *at = job->next;
        end_job(e, job, is_over(job) ? ENGINE_END_STOP : why);
    }
}

/* ------------------------------------------------------------------ the rows of a step */

static struct model_row *add_row(struct engine *e, int64_t *n, int32_t sequence, uint32_t token)
{
    struct model_row *row = &e->rows[(*n)++];
    *row = (struct model_row){.sequence = sequence, .token = token};
    return row;
}

static int64_t add_writing_rows(struct engine *e, int64_t *wanted)
{
    int64_t n = 0;
    for (struct engine_job *job = e->jobs; job; job = job->next)
        for (int i = 0; i < job->n; i++) {
            struct engine_choice *c = &job->choices[i];
            c->row = -1;
            if (c->sequence < 0 || c->ended) continue;
            struct model_row *row = add_row(e, &n, c->sequence, c->last);
            row->position = model_sequence_length(e->decoder, c->sequence);
            row->want_logits = true;
            c->row = (*wanted)++;
        }
    return n;
}

/* Rows of prompts that fit beside so many others. */
static int64_t prompt_room(const struct engine *e, int64_t writing)
{
    if (writing == 0 || e->row_s <= 0) return MOST_ROWS - MIN(writing, MOST_ROWS / 2);
    int64_t rows = (int64_t)(STEP_S / e->row_s) - writing;
    return MIN(MAX(rows, LEAST_ROWS), MAX(MOST_ROWS - writing, LEAST_ROWS));
}

/* Rows that a job's prompt still wants in this step. */
static int64_t rows_left(const struct engine_job *job, int64_t logit_rows)
{
    int64_t left = job->embed ? 0 : job->n_prompt - job->read - job->part;
    return job->prompt_logprobs ? MIN(left, logit_rows) : left;
}

/* Clients have as many rows each, and a client's jobs theirs in order; what one does not need the others
 * have. */
static void share_rows(struct engine *e, int64_t room)
{
    int64_t logit_rows = ENGINE_LOGIT_ROWS, clients;
    do {
        clients = 0;
        for (struct engine_job *job = e->jobs; job; job = job->next)
            job->of->rows = -1;
        for (struct engine_job *job = e->jobs; job; job = job->next) {
            if (rows_left(job, logit_rows) <= 0 || job->of->rows == 0) continue;
            job->of->rows = 0;
            clients++;
        }
        int64_t share = clients ? MAX(room / clients, 1) : 0;
        for (struct engine_job *job = e->jobs; job && room > 0 && clients; job = job->next) {
            int64_t rows = MIN(rows_left(job, logit_rows), MIN(share - job->of->rows, room));
            if (rows <= 0) continue;
            job->part += rows;
            job->of->rows += rows;
            room -= rows;
            if (job->prompt_logprobs) logit_rows -= rows;
        }
    } while (room > 0 && clients > 0);
}

static void add_prompt_rows(struct engine *e, int64_t *n, int64_t *wanted)
{
    share_rows(e, prompt_room(e, *n));
    for (struct engine_job *job = e->jobs; job; job = job->next) {
        job->row = *wanted;
        for (int64_t i = 0; i < job->part; i++) {
            bool last = job->read + i + 1 == job->n_prompt;
            struct model_row *row = add_row(e, n, job->sequence, job->prompt[job->read + i]);
            row->position = job->read + i;
            row->want_logits = job->prompt_logprobs || (last && job->max_tokens > 0);
            *wanted += row->want_logits;
        }
    }
}

/* ------------------------------------------------------------------ drawing */

/* The most likely, and what the drawn token has. */
static void measure(const struct engine_job *job, const float *logits, int64_t V,
                    struct engine_token *t)
{
    double most = -INFINITY, sum = 0;
    t->has_logprobs = true;
    t->n_top = 0;
    for (int64_t i = 0; i < V; i++)
        most = fmax(most, (double)logits[i]);
    for (int64_t i = 0; i < V; i++)
        sum += exp((double)logits[i] - most);
    double lse = most + log(sum);
    int want = (int)MIN(MIN(job->top_logprobs, ENGINE_MAX_TOP), V);
    for (int64_t i = 0; i < V && want; i++) {
        double p = (double)logits[i] - lse;
        if (t->n_top == want && p <= t->top[want - 1].logprob) continue;
        int at = t->n_top < want ? t->n_top++ : want - 1;
        for (; at > 0 && t->top[at - 1].logprob < p; at--)
            t->top[at] = t->top[at - 1];
        t->top[at].id = (uint32_t)i;
        t->top[at].logprob = p;
    }
    t->logprob = lse;
}

static bool is_stop(const struct engine_job *job, uint32_t id)
{
    for (size_t i = 0; i < job->n_stop; i++)
        if (job->stop[i] == id) return true;
    return false;
}

/* Penalties for what the text has so far, prompt and answer, each token once for its presence and
 * once for each time that it is there; counts [V] are zeros before and afterwards. */
static void penalise(const struct engine_job *job, const struct engine_choice *c, float *logits,
                     uint32_t *counts)
{
    if (job->frequency_penalty == 0 && job->presence_penalty == 0) return;
    const struct {
        const uint32_t *ids;
        size_t n;
    } parts[] = {{job->prompt, (size_t)job->n_prompt}, {c->ids.ids, c->ids.count}};
    for (size_t p = 0; p < ARRAY_LEN(parts); p++)
        for (size_t i = 0; i < parts[p].n; i++)
            counts[parts[p].ids[i]]++;
    for (size_t p = 0; p < ARRAY_LEN(parts); p++)
        for (size_t i = 0; i < parts[p].n; i++) {
            uint32_t id = parts[p].ids[i], n = counts[id];
            counts[id] = 0;
            if (n == 0 || is_stop(job, id)) continue;
            logits[id] -= (float)(job->presence_penalty + n * job->frequency_penalty);
        }
}

static void push_down(const struct engine_job *job, float *logits, int64_t V)
{
    for (size_t i = 0; i < job->n_bias; i++)
        if (job->bias[i].id < V) logits[job->bias[i].id] += job->bias[i].add;
    for (size_t i = 0; job->ignore_stop && i < job->n_stop; i++)
        if (job->stop[i] < V) logits[job->stop[i]] = -INFINITY;
}

static bool may_come(const struct engine_job *job, const struct engine_constraint *k, uint32_t id)
{
    return is_stop(job, id) ? k->may_end(k->ctx) : k->allows(k->ctx, id);
}

/* A token that may come, or TOKENIZER_NONE. What is drawn and may not come is taken out and drawn
 * again: the same probabilities as if it had never been there. */
static uint32_t draw_constrained(const struct engine_job *job, const struct engine_constraint *k,
                                 struct serve_draw *d, float *logits, struct serve_candidate *work)
{
    const uint64_t stream = d->stream;
    for (uint64_t attempt = 0; attempt < DRAWS; attempt++) {
        d->stream = stream | attempt << 32;
        uint32_t id = serve_sample(&job->sampling, d, work);
        if (logits[id] > -INFINITY && may_come(job, k, id)) return id;
        logits[id] = -INFINITY;
    }
    bool any = false;
    for (uint32_t id = 0; id < d->vocab; id++) {
        if (logits[id] == -INFINITY) continue;
        if (may_come(job, k, id))
            any = true;
        else
            logits[id] = -INFINITY;
    }
    d->stream = stream | (uint64_t)DRAWS << 32;
    return any ? serve_sample(&job->sampling, d, work) : TOKENIZER_NONE;
}

/* Task: a choice whose logits are there. */
static void draw_task(void *ctx, size_t task, int thread)
{
    struct engine *e = ctx;
    const struct engine_job *job = e->drawing_job[task];
    struct engine_choice *c = e->drawing[task];
    int64_t V = e->m->config.vocab_size;
    float *logits = e->draw_logits + (int64_t)thread * V;
    struct serve_candidate *work = e->work_space + (int64_t)thread * V;
    int i = (int)(c - job->choices);
    memcpy(logits, e->logits + c->row * V, (size_t)V * sizeof(*logits));
    c->token = (struct engine_token){0};
    if (!serve_all_finite(logits, V)) {
        c->token.id = TOKENIZER_NONE;
        c->token.not_finite = true;
        return;
    }
    if (job->logprobs) measure(job, logits, V, &c->token);
    penalise(job, c, logits, e->counts + (int64_t)thread * V);
    push_down(job, logits, V);
    struct serve_draw d = {.logits = logits,
                           .vocab = (uint32_t)V,
                           .history = c->ids.ids,
                           .n_history = c->ids.count,
                           .stream = (uint64_t)i,
                           .position = (uint64_t)c->ids.count};
    c->token.id = job->constraints ? draw_constrained(job, &job->constraints[i], &d, logits, work)
                                   : serve_sample(&job->sampling, &d, work);
    if (job->logprobs && c->token.id != TOKENIZER_NONE)
        c->token.logprob = (double)e->logits[c->row * V + c->token.id] - c->token.logprob;
}

static void list_drawing(struct engine *e)
{
    e->n_drawing = 0;
    for (struct engine_job *job = e->jobs; job; job = job->next)
        for (int i = 0; i < job->n; i++) {
            struct engine_choice *c = &job->choices[i];
            if (c->row < 0 || c->ended) continue;
            e->drawing[e->n_drawing] = c;
            e->drawing_job[e->n_drawing++] = job;
        }
}

/* What was drawn goes to its owner, and is fed in the next step. */
static void deliver(struct engine *e)
{
    for (int64_t k = 0; k < e->n_drawing; k++) {
        struct engine_job *job = e->drawing_job[k];
        struct engine_choice *c = e->drawing[k];
        int i = (int)(c - job->choices);
        if (c->token.id == TOKENIZER_NONE) {
            job->not_finite |= c->token.not_finite;
            end_choice(e, job, i, c->token.not_finite ? ENGINE_END_FAILED : ENGINE_END_STUCK);
            continue;
        }
        if (job->first_s == 0) job->first_s = time_now_s();
        e->delivered++;
        c->written++;
        if (is_stop(job, c->token.id)) {
            end_choice(e, job, i, ENGINE_END_STOP);
            continue;
        }
        c->last = c->token.id;
        token_array_push(&c->ids, c->token.id);
        if (job->constraints) job->constraints[i].take(job->constraints[i].ctx, c->token.id);
        if (!job->on_token(job->ctx, i, &c->token))
            end_choice(e, job, i, ENGINE_END_OWNER);
        else if (c->written >= job->max_tokens)
            end_choice(e, job, i, ENGINE_END_LENGTH);
    }
}

/* ------------------------------------------------------------------ prompts */

/* The probabilities of the prompt's own tokens, one row each. */
static void tell_prompt(struct engine *e, struct engine_job *job)
{
    int64_t V = e->m->config.vocab_size;
    for (int64_t i = 0; i < job->part; i++) {
        int64_t at = job->read + i;
        struct engine_token t = {.id = job->prompt[at], .has_logprobs = true, .logprob = -INFINITY};
        if (at == 0) job->on_token(job->ctx, -1, &t);
        if (at + 1 == job->n_prompt) continue;
        const float *logits = e->logits + (job->row + i) * V;
        if (!serve_all_finite(logits, V)) {
            job->not_finite = true;
            return;
        }
        t = (struct engine_token){.id = job->prompt[at + 1]};
        measure(job, logits, V, &t);
        t.logprob = (double)logits[t.id] - t.logprob;
        job->on_token(job->ctx, -1, &t);
    }
}

/* Choices begin when the prompt was read: the first goes on in its sequence, the others fork it. */
static void begin_writing(struct engine_job *job, model_decoder_t *decoder, int64_t row)
{
    job->choices[0].sequence = job->sequence;
    for (int i = 0; i < job->n; i++) {
        if (i > 0)
            job->choices[i].sequence = model_sequence_fork(decoder, job->sequence, job->n_prompt);
        job->choices[i].row = row;
    }
    job->sequence = -1;
}

static void after_prompts(struct engine *e)
{
    for (struct engine_job *job = e->jobs; job; job = job->next) {
        if (job->part == 0) continue;
        if (job->prompt_logprobs) tell_prompt(e, job);
        e->read += job->part;
        job->read += job->part;
        int64_t row = job->row + (job->prompt_logprobs ? job->part - 1 : 0);
        job->part = 0;
        if (job->not_finite) {
            for (int i = 0; i < job->n; i++)
                end_choice(e, job, i, ENGINE_END_FAILED);
            continue;
        }
        if (job->read < job->n_prompt) continue;
        if (job->max_tokens > 0)
            begin_writing(job, e->decoder, row);
        else
            for (int i = 0; i < job->n; i++)
                end_choice(e, job, i, ENGINE_END_LENGTH);
    }
}

/* ------------------------------------------------------------------ the thread */

/* What a step has done. */
static void count_step(struct engine *e, double seconds, int64_t rows)
{
    pthread_mutex_lock(&e->lock);
    struct engine_figures *f = &e->figures;
    f->steps++;
    f->rows += (uint64_t)rows;
    f->busy_s += seconds;
    f->prompt_tokens += (uint64_t)e->read;
    f->generated_tokens += (uint64_t)e->delivered;
    pthread_mutex_unlock(&e->lock);
    e->read = e->delivered = 0;
}

/* What there is now. */
static void show_figures(struct engine *e)
{
    pthread_mutex_lock(&e->lock);
    struct engine_figures *f = &e->figures;
    f->running = 0;
    for (const struct engine_job *job = e->jobs; job; job = job->next)
        f->running++;
    f->sequences = e->sequences;
    f->cache_entries = e->n_cache;
    f->cache_tokens = 0;
    for (int i = 0; i < e->n_cache; i++)
        f->cache_tokens += e->cache[i].n;
    f->pages_used = model_decoder_pages(e->decoder);
    pthread_mutex_unlock(&e->lock);
}

/* The model could not take the rows: the youngest job gives way. */
static void give_way(struct engine *e, const struct error *why)
{
    struct engine_job **at = &e->jobs;
    log_error("a step of the model failed: %s", why->text);
    while (e->n_cache > 0)
        drop_cached(e, 0);
    while (*at && (*at)->next)
        at = &(*at)->next;
    struct engine_job *job = *at;
    if (!job) return;
    *at = NULL;
    end_job(e, job, ENGINE_END_FAILED);
}

/* Of the client whose last pass is longest ago. */
static struct engine_job *next_states(const struct engine *e)
{
    struct engine_job *next = NULL;
    for (struct engine_job *job = e->jobs; job; job = job->next)
        if (job->embed && job->read < job->n_prompt &&
            (!next || job->of->read_turn < next->of->read_turn))
            next = job;
    return next;
}

/* Rows of one job that wants states, in a pass of their own. */
static void step_states(struct engine *e)
{
    struct error why = {0};
    int64_t D = e->m->config.d_model, n = 0;
    double t0 = time_now_s();
    struct engine_job *job = next_states(e);
    if (!job) return;
    job->of->read_turn = e->figures.steps;
    int64_t part = MIN(job->n_prompt - job->read, MOST_ROWS);
    for (int64_t i = 0; i < part; i++)
        add_row(e, &n, job->sequence, job->prompt[job->read + i])->position = job->read + i;
    if (model_decode_states(e->decoder, e->rows, n, e->states, &why) < 0) {
        give_way(e, &why);
        return;
    }
    if (!job->states) job->states = mem_calloc((size_t)D, sizeof(*job->states));
    for (int64_t i = 0; i < part * D; i++)
        job->states[i % D] += (double)e->states[i];
    e->read += part;
    job->read += part;
    if (job->read == job->n_prompt) {
        for (int64_t k = 0; k < D; k++)
            e->states[k] = (float)(job->states[k] / (double)job->n_prompt);
        job->not_finite = !serve_all_finite(e->states, D);
        if (!job->not_finite) job->on_embedding(job->ctx, e->states);
        end_choice(e, job, 0, job->not_finite ? ENGINE_END_FAILED : ENGINE_END_LENGTH);
    }
    count_step(e, time_now_s() - t0, n);
}

static void step(struct engine *e)
{
    struct error why = {0};
    int64_t wanted = 0, n;
    double t0 = time_now_s();
    for (struct engine_job *job = e->jobs; job; job = job->next)
        job->part = 0;
    n = add_writing_rows(e, &wanted);
    add_prompt_rows(e, &n, &wanted);
    if (n == 0) return;
    if (model_decode_rows(e->decoder, e->rows, n, e->logits, &why) < 0) {
        give_way(e, &why);
        return;
    }
    after_prompts(e);
    list_drawing(e);
    pool_run(e->m->pool, (size_t)e->n_drawing, draw_task, e);
    double row_s = (time_now_s() - t0) / (double)n;
    e->row_s = e->row_s > 0 ? 0.8 * e->row_s + 0.2 * row_s : row_s;
    deliver(e);
    count_step(e, time_now_s() - t0, n);
}

static void *run(void *ctx)
{
    struct engine *e = ctx;
    for (;;) {
        pthread_mutex_lock(&e->lock);
        while (e->queue.waiting == 0 && !e->jobs && !e->stopping)
            pthread_cond_wait(&e->work, &e->lock);
        bool stop = e->stopping;
        pthread_mutex_unlock(&e->lock);
        take_jobs(e);
        drop_jobs(e);
        show_figures(e);
        if (stop && !e->jobs) return NULL;
        step_states(e);
        step(e);
        drop_jobs(e);
        show_figures(e);
    }
}

/* ------------------------------------------------------------------ beginning and end */

int engine_new(struct serve_model *m, const struct engine_options *o, engine_t **out,
               struct error *err)
{
    struct engine *e = mem_calloc(1, sizeof(*e));
    size_t V = (size_t)m->config.vocab_size, n = (size_t)o->sequences;
    size_t threads = (size_t)pool_threads(m->pool);
    e->m = m;
    e->o = *o;
    e->queue.most = o->queue;
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->work, NULL);
    e->rows = mem_calloc(n + MOST_ROWS + LEAST_ROWS, sizeof(*e->rows));
    e->drawing = mem_calloc(n, sizeof(*e->drawing));
    e->drawing_job = mem_calloc(n, sizeof(*e->drawing_job));
    e->logits = mem_try_alloc((2 * n + ENGINE_LOGIT_ROWS) * V * sizeof(float));
    e->draw_logits = mem_try_alloc(threads * V * sizeof(float));
    e->work_space = mem_try_alloc(threads * V * sizeof(*e->work_space));
    e->counts = mem_calloc(threads * V, sizeof(*e->counts));
    e->states = mem_try_alloc((MOST_ROWS + n) * (size_t)m->config.d_model * sizeof(float));
    int rc = e->logits && e->draw_logits && e->work_space && e->states
                 ? model_decoder_new(m->model, &e->decoder, err)
                 : error_set(err, "no memory for the logits of %zu sequences", n);
    if (rc == 0) {
        e->started = pthread_create(&e->thread, NULL, run, e) == 0;
        if (!e->started) rc = error_set(err, "no thread for the engine");
    }
    if (rc < 0) {
        engine_free(e);
        return rc;
    }
    *out = e;
    return 0;
}

void engine_stop(engine_t *e)
{
    pthread_mutex_lock(&e->lock);
    e->stopping = true;
    pthread_cond_signal(&e->work);
    pthread_mutex_unlock(&e->lock);
    if (e->started) pthread_join(e->thread, NULL);
    e->started = false;
}

void engine_free(engine_t *e)
{
    if (!e) return;
    engine_stop(e);
    while (e->n_cache > 0)
        drop_cached(e, 0);
    model_decoder_free(e->decoder);
    pthread_mutex_destroy(&e->lock);
    pthread_cond_destroy(&e->work);
    mem_free(e->rows);
    mem_free(e->drawing);
    mem_free(e->drawing_job);
    mem_free(e->logits);
    mem_free(e->draw_logits);
    mem_free(e->work_space);
    mem_free(e->states);
    mem_free(e->counts);
    mem_free(e);
}
