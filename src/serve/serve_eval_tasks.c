/* serve_eval_tasks.c: LAMBADA, BLiMP and multiple choice, from files of JSON objects, packed or not.
 *
 * All three ask which text the model finds likely. The boundary between a context and its
 * continuation is found as the field's harness does: the whole is tokenized, and the continuation
 * is what stands behind as many tokens as the context alone has, with the space between them given
 * to the continuation. */
#include "serve/serve_eval_internal.h"
#include "serve/serve_score_internal.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

/* ------------------------------------------------------------------ lines */

struct jsonl {
    struct corpus *corpus;
    const char *path;
    char where[512]; /* "path:line" of the current object */
};

/* 1: *o is the next object (caller json_decrefs); 0: the end. */
static int jsonl_next(struct jsonl *j, json_t **o, struct error *e)
{
    struct corpus_document d;
    json_error_t problem;
    int rc = corpus_next(j->corpus, &d, e);
    if (rc <= 0) return rc;
    snprintf(j->where, sizeof(j->where), "%s:%llu", j->path, (unsigned long long)d.line);
    if (!d.last) return error_set(e, "%s: an object of more than 16 MiB", j->where);
    *o = json_loadb(d.text, d.size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &problem);
    if (*o) return 1;
    return error_set(e, "%s: %s", j->where, problem.text); /* limits of numbers, keys twice */
}

static int jsonl_open(struct jsonl *j, const char *path, struct error *e)
{
    *j = (struct jsonl){.path = path};
    struct corpus_options o = {
        .paths = &j->path, .n_paths = 1, .format = CORPUS_JSON, .objects = true, .quiet = true};
    return corpus_open(&o, &j->corpus, e);
}

static int no_examples(const char *path, struct error *e)
{
    error_set(e, "'%s' has no examples", path);
    return error_hint(e, "a task's file has one JSON object a line");
}

/* ------------------------------------------------------------------ what a task adds up */

struct task {
    struct serve_model *m;
    const struct serve_eval_options *o;
    struct serve_eval_result *r;
    struct jsonl lines;
    struct scorer scorer;
    struct token_array context, whole;
    struct str text;
    void *extra;                  /* the task's own */
    const struct eval_form *form; /* of choices */
    double *nll;                  /* per tag */
    uint64_t *chars;              /* per tag, choice only: characters of the answer */
    int32_t *gold;                /* per example, choice only */
    uint32_t *first;              /* first tag of an example */
    size_t n_tags, cap_tags, cap_examples;
};

/* A tag is a continuation; the scorer may bring them in any order. */
static void tag_sink(void *ctx, uint64_t tag, double nll, int64_t tokens)
{
    struct task *t = ctx;
    t->nll[tag] = nll;
    t->r->tokens += (uint64_t)tokens;
}

/* Room for one more example with the most choices, so that what is added needs no test. */
static void task_grow(struct task *t)
{
    if (t->n_tags + EVAL_MAX_CHOICES > t->cap_tags) {
        t->cap_tags = t->cap_tags * 2 + 4 * EVAL_MAX_CHOICES;
        t->nll = mem_realloc(t->nll, t->cap_tags * sizeof(*t->nll));
        t->chars = mem_realloc(t->chars, t->cap_tags * sizeof(*t->chars));
    }
    if (t->r->examples + 2 > t->cap_examples) {
        t->cap_examples = t->cap_examples * 2 + 1024;
        t->gold = mem_realloc(t->gold, t->cap_examples * sizeof(*t->gold));
        t->first = mem_realloc(t->first, t->cap_examples * sizeof(*t->first));
    }
}

/* t->whole = start + context + continuation; returns how many ids are context (at least 1). In front
 * of a context stands what the model's file puts in front of texts, which may be nothing. */
static int64_t encode_pair(struct task *t, const char *context, size_t n_context,
                           const char *continuation, size_t n_continuation)
{
    struct serve_model *m = t->m;
    uint32_t start = n_context > 0 ? m->text_start : m->start;
    t->context.count = t->whole.count = 0;
    if (start != TOKENIZER_NONE) {
        token_array_push(&t->context, start);
        token_array_push(&t->whole, start);
    }
    str_clear(&t->text);
    str_append(&t->text, context, n_context);
    str_append(&t->text, continuation, n_continuation);
    tokenizer_encode(m->tokenizer, m->scratch, context, n_context, 0, &t->context);
    tokenizer_encode(m->tokenizer, m->scratch, t->text.data, t->text.len, 0, &t->whole);
    int64_t from = (int64_t)MIN(t->context.count, t->whole.count);
    return MAX(from, (int64_t)1);
}

/* Scores one continuation under the next tag. Of a long context the newest part counts. */
static int add_pair(struct task *t, const char *context, size_t n_context, const char *continuation,
                    size_t n_continuation, struct error *e)
{
    int64_t from = encode_pair(t, context, n_context, continuation, n_continuation);
    int64_t count = (int64_t)t->whole.count, room = t->m->T;
    if (count - from > room) {
        error_set(e, "%s: an answer of %lld tokens does not fit the context of %lld",
                  t->lines.where, (long long)(count - from), (long long)room);
        return error_hint(e, "leave the line out, or take a model with a longer context");
    }
    t->r->cut += count - 1 > room;
    uint64_t tag = t->n_tags++;
    t->nll[tag] = 0;
    if (count > from) scorer_add(&t->scorer, t->whole.ids, count, from, tag);
    return 0;
}

typedef int task_fn(struct task *t, const json_t *o, struct error *e);

static void task_fini(struct task *t)
{
    scorer_fini(&t->scorer);
    token_array_fini(&t->context);
    token_array_fini(&t->whole);
    str_fini(&t->text);
    mem_free(t->nll);
    mem_free(t->chars);
    mem_free(t->gold);
    mem_free(t->first);
    corpus_close(t->lines.corpus);
}

/* Runs each over every line; t is ready for reading results when it returns 0. */
static int task_run(struct task *t, const char *name, const char *path, task_fn *each,
                    struct error *e)
{
    double t0 = time_now_s();
    *t->r = (struct serve_eval_result){.task = name,
                                       .bits_per_byte = NAN,
                                       .perplexity = NAN,
                                       .accuracy = NAN,
                                       .accuracy_norm = NAN,
                                       .chance = NAN,
                                       .stderr_accuracy = NAN};
    TRY(jsonl_open(&t->lines, path, e));
    TRY(scorer_init(&t->scorer, t->m, tag_sink, t, e));
    struct progress p;
    progress_init(&p, name, "B", (double)corpus_bytes_total(t->lines.corpus));
    json_t *o;
    int rc;
    while ((rc = jsonl_next(&t->lines, &o, e)) > 0) {
        task_grow(t);
        t->first[t->r->examples] = (uint32_t)t->n_tags;
        rc = each(t, o, e);
        json_decref(o);
        if (rc < 0) return rc;
        t->r->examples++;
        if (t->o->show_progress) progress_update(&p, (double)corpus_bytes_read(t->lines.corpus));
        if (t->o->limit && (int64_t)t->r->examples == t->o->limit) break;
    }
    TRY(rc);
    scorer_flush(&t->scorer);
    TRY(scorer_check(&t->scorer, e));
    if (t->o->show_progress) progress_fini(&p, (double)corpus_bytes_read(t->lines.corpus));
    if (t->r->examples == 0) return no_examples(path, e);
    t->first[t->r->examples] = (uint32_t)t->n_tags;
    t->r->seconds = time_now_s() - t0;
    return 0;
}

/* Standard error of a share p of n independent answers. */
static double binomial_error(double p, uint64_t n)
{
    return n > 1 ? sqrt(p * (1 - p) / (double)(n - 1)) : NAN;
}

/* ------------------------------------------------------------------ BLiMP */

/* Whole sentences without a context: the more likely one is the model's answer. */
static int blimp_line(struct task *t, const json_t *o, struct error *e)
{
    const char *good, *bad;
    TRY(json_get_string(o, "sentence_good", &good, t->lines.where, e));
    TRY(json_get_string(o, "sentence_bad", &bad, t->lines.where, e));
    TRY(add_pair(t, "", 0, good, strlen(good), e));
    TRY(add_pair(t, "", 0, bad, strlen(bad), e));
    return 0;
}

int serve_eval_blimp(struct serve_model *m, const char *path, const struct serve_eval_options *o,
                     struct serve_eval_result *r, struct error *e)
{
    struct task t = {.m = m, .o = o, .r = r};
    int rc = task_run(&t, "blimp", path, blimp_line, e);
    if (rc == 0) {
        uint64_t right = 0;
        for (uint64_t i = 0; i < r->examples; i++)
            right += t.nll[2 * i] < t.nll[2 * i + 1];
        r->accuracy = (double)right / (double)r->examples;
        r->chance = 0.5;
        r->stderr_accuracy = binomial_error(r->accuracy, r->examples);
    }
    task_fini(&t);
    return rc;
}

/* ------------------------------------------------------------------ multiple choice */

/* Characters of UTF-8 text, at least 1. */
static uint64_t count_characters(const char *text)
{
    uint64_t n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xC0) != 0x80;
    return MAX(n, (uint64_t)1);
}

/* White space at the end of a context is given to the continuation, as the harness does. */
static int add_answer(struct task *t, const char *context, const char *continuation,
                      const char *answer, struct error *e)
{
    struct str piece = {0};
    size_t n = strlen(context), spaces = 0;
    while (spaces < n && isspace((unsigned char)context[n - spaces - 1]))
        spaces++;
    str_printf(&piece, "%s%s", context + n - spaces, continuation);
    t->chars[t->n_tags] = count_characters(answer);
    int rc = add_pair(t, context, n - spaces, piece.data, piece.len, e);
    str_fini(&piece);
    return rc;
}

static int question_line(struct task *t, const json_t *o, struct error *e)
{
    const struct eval_form *form = t->form;
    struct arena arena = {0};
    struct eval_question q = {.arena = &arena};
    int rc = form->read(o, t->lines.where, &q, e);
    t->gold[t->r->examples] = q.gold;
    for (int i = 0; rc == 0 && i < q.n; i++)
        rc = add_answer(t, q.context[i], q.continuation[i], q.answer[i], e);
    arena_fini(&arena);
    return rc;
}

static int eval_questions(struct serve_model *m, const struct eval_form *form, const char *path,
                          const struct serve_eval_options *o, struct serve_eval_result *r,
                          struct error *e)
{
    struct task t = {.m = m, .o = o, .r = r, .form = form};
    int rc = task_run(&t, form->name, path, question_line, e);
    if (rc == 0) {
        uint64_t right = 0, right_norm = 0;
        double chance = 0;
        for (uint64_t i = 0; i < r->examples; i++) {
            uint32_t best = t.first[i], best_norm = t.first[i];
            for (uint32_t k = t.first[i]; k < t.first[i + 1]; k++) {
                if (t.nll[k] < t.nll[best]) best = k;
                if (t.nll[k] / (double)t.chars[k] < t.nll[best_norm] / (double)t.chars[best_norm])
                    best_norm = k;
            }
            right += best - t.first[i] == (uint32_t)t.gold[i];
            right_norm += best_norm - t.first[i] == (uint32_t)t.gold[i];
            chance += 1.0 / (double)(t.first[i + 1] - t.first[i]);
        }
        double n = (double)r->examples;
        r->accuracy = (double)right / n;
        if (form->normed) r->accuracy_norm = (double)right_norm / n;
        r->chance = chance / n;
        r->stderr_accuracy =
            binomial_error(form->normed ? r->accuracy_norm : r->accuracy, r->examples);
    }
    task_fini(&t);
    return rc;
}

/* ------------------------------------------------------------------ LAMBADA */

#define LAMBADA_CACHE ((int64_t)512) /* tokens, at first */

struct lambada {
    model_cache_t *cache; /* grows with the longest line */
    float *logits;
    double nll;
    uint64_t right;
};

/* NAN or infinite where a logit is: every comparison with NaN is false, so *is_best alone would call
 * any token the best. */
static double log_probability(const float *logits, int64_t V, uint32_t id, bool *is_best)
{
    double max = logits[0], sum = 0;
    for (int64_t i = 1; i < V; i++)
        max = MAX(max, (double)logits[i]);
    for (int64_t i = 0; i < V; i++)
        sum += exp((double)logits[i] - max);
    *is_best = true;
    for (int64_t i = 0; i < V; i++) {
        if (logits[i] > logits[id] || (logits[i] == logits[id] && i < (int64_t)id))
            *is_best = false;
    }
    return (double)logits[id] - max - log(sum);
}

/* The last word token by token behind the rest: right when each token is the most likely one. */
static int lambada_line(struct task *t, const json_t *o, struct error *e)
{
    struct lambada *l = t->extra;
    const char *text;
    TRY(json_get_string(o, "text", &text, t->lines.where, e));
    size_t n = strlen(text);
    while (n && isspace((unsigned char)text[n - 1]))
        n--;
    size_t cut = n;
    while (cut && !isspace((unsigned char)text[cut - 1]))
        cut--;
    if (cut == 0) return error_set(e, "%s: a text of one word has no context", t->lines.where);
    cut--; /* the space belongs to the word */
    int64_t from = encode_pair(t, text, cut, text + cut, n - cut);
    int64_t count = (int64_t)t->whole.count, room = t->m->config.context_length;
    int64_t drop = MAX(count - 1 - room, (int64_t)0);
    if (from <= drop || from >= count)
        return error_set(e, "%s: the last word does not fit the context of %lld tokens",
                         t->lines.where, (long long)room);
    t->r->cut += drop > 0;
    const uint32_t *ids = t->whole.ids;
    model_cache_truncate(l->cache, 0);
    if (!model_cache_grow(l->cache, count - drop))
        return error_set(e, "%s: no memory for a cache of %lld tokens", t->lines.where,
                         (long long)(count - drop));
    model_decode(t->m->model, l->cache, ids + drop, from - drop, l->logits);
    bool all = true;
    for (int64_t i = from; i < count; i++) {
        bool best;
        double p = log_probability(l->logits, t->m->config.vocab_size, ids[i], &best);
        if (!isfinite(p)) return serve_not_finite(e);
        l->nll -= p;
        all = all && best;
        if (i + 1 < count) model_decode(t->m->model, l->cache, ids + i, 1, l->logits);
    }
    l->right += all;
    t->r->tokens += (uint64_t)(count - from);
    return 0;
}

int serve_eval_lambada(struct serve_model *m, const char *path, const struct serve_eval_options *o,
                       struct serve_eval_result *r, struct error *e)
{
    struct lambada l = {.cache =
                            model_cache_new(m->model, MIN(m->config.context_length, LAMBADA_CACHE)),
                        .logits = mem_try_alloc((size_t)m->config.vocab_size * sizeof(float))};
    struct task t = {.m = m, .o = o, .r = r, .extra = &l};
    int rc = l.cache && l.logits ? task_run(&t, "lambada", path, lambada_line, e)
                                 : error_set(e, "no memory for a cache");
    if (rc == 0) {
        r->accuracy = (double)l.right / (double)r->examples;
        r->perplexity = exp(l.nll / (double)r->examples);
        r->chance = 0;
        r->stderr_accuracy = binomial_error(r->accuracy, r->examples);
    }
    model_cache_free(l.cache);
    mem_free(l.logits);
    task_fini(&t);
    return rc;
}

/* ------------------------------------------------------------------ which task a file is */

static const char *task_by_keys(const json_t *o, const char *path)
{
    const struct eval_form *form = eval_form_of(o);
    if (json_object_get(o, "sentence_good")) return "blimp";
    if (form) return form->name;
    if (!json_object_get(o, "text")) return NULL;
    return strstr(file_base_name(path), "lambada") ? "lambada" : "text";
}

static int unknown_task(const struct jsonl *j, json_t *o, struct error *e)
{
    struct str keys = {0}, forms = {0};
    const char *key;
    json_t *value;
    json_object_foreach(o, key, value)
    {
        if (keys.len > 200) break;
        str_printf(&keys, "%s%s", keys.len ? ", " : "", key);
    }
    eval_form_list(&forms);
    error_set(e, "%s: not a task that is known by its keys: it has %s", j->where,
              keys.len ? keys.data : "none");
    error_hint(e,
               "--task says which, --field where a text is; known: lambada {text}; blimp "
               "{sentence_good, sentence_bad}; %s",
               forms.data);
    str_fini(&keys);
    str_fini(&forms);
    return ERROR_FAILED;
}

/* Whether a file is read as JSON, by what `data tokenize` would take it for. */
static int holds_json(const char *path, const struct corpus_options *c, bool *json, struct error *e)
{
    struct corpus *corpus;
    struct corpus_options o = *c;
    o.paths = &path;
    o.n_paths = 1;
    o.quiet = true;
    TRY(corpus_open(&o, &corpus, e));
    enum corpus_format f = corpus_file_at(corpus, 0)->format;
    *json = corpus_file_count(corpus) == 1 && (f == CORPUS_JSONL || f == CORPUS_JSON);
    corpus_close(corpus);
    return 0;
}

const char *serve_eval_guess(const char *path, const struct corpus_options *c, struct error *e)
{
    bool plain = c->format == CORPUS_AUTO && !c->skip_missing && !c->skip_bad &&
                 (!c->field || strcmp(c->field, "text") == 0);
    bool json = false;
    if (!plain || file_is_dir(path)) return "text";
    if (holds_json(path, c, &json, e) < 0) return NULL;
    if (!json) return "text";
    struct jsonl j;
    json_t *o = NULL;
    const char *task = NULL;
    if (jsonl_open(&j, path, e) < 0) return NULL;
    int rc = jsonl_next(&j, &o, e);
    if (rc == 0) no_examples(path, e);
    if (rc > 0) {
        task = task_by_keys(o, path);
        if (!task) unknown_task(&j, o, e);
        json_decref(o);
    }
    corpus_close(j.corpus);
    return task;
}

/* ------------------------------------------------------------------ by name */

const char *const serve_eval_tasks[] = {"auto",   "text",      "lambada",    "blimp",
                                        "choice", "piqa",      "winogrande", "openbookqa",
                                        "arc",    "hellaswag", "mmlu",       NULL};

int serve_eval(struct serve_model *m, const char *task, const char *path,
               const struct serve_eval_options *o, struct serve_eval_result *r, struct error *e)
{
    const struct eval_form *form = eval_form_named(task);
    if (form) return eval_questions(m, form, path, o, r, e);
    if (strcmp(task, "lambada") == 0) return serve_eval_lambada(m, path, o, r, e);
    if (strcmp(task, "blimp") == 0) return serve_eval_blimp(m, path, o, r, e);
    CHECK(strcmp(task, "text") == 0);
    return serve_eval_text(m, path, o, r, e);
}
