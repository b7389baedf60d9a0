/* serve_eval_tasks.c: LAMBADA, BLiMP and multiple choice, from JSONL files, packed or not.
 *
 * All three ask which text the model finds likely. The boundary between a context and its
 * continuation is found as the field's harness does: the whole is tokenized, and the continuation
 * is what stands behind as many tokens as the context alone has, with the space between them given
 * to the continuation. */
#include "serve/serve_score_internal.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

#define MAX_CHOICES 64

/* ------------------------------------------------------------------ lines */

struct jsonl {
    struct corpus *corpus;
    const char *path;
    char where[512]; /* "path:line" of the current object */
};

static int bad_line(const struct jsonl *j, const char *what, struct error *e)
{
    error_set(e, "%s: %s", j->where, what);
    return error_hint(e, "every line must be one JSON object");
}

/* 1: *o is the next object (caller json_decrefs); 0: the end. Blank lines are passed over. */
static int jsonl_next(struct jsonl *j, json_t **o, struct error *e)
{
    struct corpus_document d;
    json_error_t problem;
    int rc;
    while ((rc = corpus_next(j->corpus, &d, e)) > 0) {
        snprintf(j->where, sizeof(j->where), "%s:%llu", j->path, (unsigned long long)d.line);
        if (!d.last) return bad_line(j, "a line of more than 16 MiB", e);
        if (corpus_is_blank(d.text, d.size)) continue;
        *o = json_loadb(d.text, d.size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &problem);
        if (json_is_object(*o)) return 1;
        if (*o) {
            json_decref(*o);
            return bad_line(j, "not a JSON object", e);
        }
        snprintf(j->where, sizeof(j->where), "%s:%llu:%d", j->path, (unsigned long long)d.line,
                 MAX(problem.column, 1));
        return bad_line(j, problem.text, e);
    }
    return rc;
}

static int jsonl_open(struct jsonl *j, const char *path, struct error *e)
{
    *j = (struct jsonl){.path = path};
    struct corpus_options o = {.paths = &j->path, .n_paths = 1, .format = CORPUS_LINES};
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
    void *extra;     /* the task's own */
    double *nll;     /* per tag */
    uint64_t *chars; /* per tag, choice only: characters of the answer */
    int32_t *gold;   /* per example, choice only */
    uint32_t *first; /* first tag of an example */
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
    if (t->n_tags + MAX_CHOICES > t->cap_tags) {
        t->cap_tags = t->cap_tags * 2 + 4 * MAX_CHOICES;
        t->nll = mem_realloc(t->nll, t->cap_tags * sizeof(*t->nll));
        t->chars = mem_realloc(t->chars, t->cap_tags * sizeof(*t->chars));
    }
    if (t->r->examples + 2 > t->cap_examples) {
        t->cap_examples = t->cap_examples * 2 + 1024;
        t->gold = mem_realloc(t->gold, t->cap_examples * sizeof(*t->gold));
        t->first = mem_realloc(t->first, t->cap_examples * sizeof(*t->first));
    }
}

/* t->whole = start + context + continuation; returns how many ids are context (at least 1). */
static int64_t encode_pair(struct task *t, const char *context, size_t n_context,
                           const char *continuation, size_t n_continuation)
{
    struct serve_model *m = t->m;
    t->context.count = t->whole.count = 0;
    if (m->start != TOKENIZER_NONE) {
        token_array_push(&t->context, m->start);
        token_array_push(&t->whole, m->start);
    }
    str_clear(&t->text);
    str_append(&t->text, context, n_context);
    str_append(&t->text, continuation, n_continuation);
    tokenizer_encode(m->tokenizer, m->scratch, context, n_context, 0, &t->context);
    tokenizer_encode(m->tokenizer, m->scratch, t->text.data, t->text.len, 0, &t->whole);
    int64_t from = (int64_t)MIN(t->context.count, t->whole.count);
    return MAX(from, (int64_t)1);
}

/* Scores one continuation under the next tag. */
static void add_pair(struct task *t, const char *context, size_t n_context,
                     const char *continuation, size_t n_continuation)
{
    int64_t from = encode_pair(t, context, n_context, continuation, n_continuation);
    uint64_t tag = t->n_tags++;
    t->nll[tag] = 0;
    if ((int64_t)t->whole.count > from)
        scorer_add(&t->scorer, t->whole.ids, (int64_t)t->whole.count, from, tag);
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
    add_pair(t, "", 0, good, strlen(good));
    add_pair(t, "", 0, bad, strlen(bad));
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

static const char *const CONTEXT_KEYS[] = {"context", "question", "query", "ctx", "prompt"};
static const char *const CHOICE_KEYS[] = {"choices", "endings", "options"};
static const char *const ANSWER_KEYS[] = {"answer", "label", "gold", "answerKey", "answer_idx"};

/* Data sets name the same thing differently: the first key that is there counts. */
static json_t *find_key(const json_t *o, const char *const *keys, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        json_t *v = json_object_get(o, keys[i]);
        if (v) return v;
    }
    return NULL;
}

/* Characters of UTF-8 text, at least 1. */
static uint64_t count_characters(const char *text)
{
    uint64_t n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xC0) != 0x80;
    return MAX(n, (uint64_t)1);
}

enum { NO_CHOICE = -1, TWO_CHOICES = -2 };

/* Index of the string in an array, or NO_CHOICE. */
static int find_string(const json_t *array, const char *wanted)
{
    for (size_t i = 0; i < json_array_size(array); i++) {
        const char *text = json_string_value(json_array_get(array, i));
        if (text && strcmp(text, wanted) == 0) return (int)i;
    }
    return NO_CHOICE;
}

/* An index that is written as a string, as a number or a capital letter. */
static int read_index(const char *text, size_t n_choices)
{
    int64_t i;
    if (isupper((unsigned char)text[0]) && !text[1])
        i = text[0] - 'A';
    else if (parse_int(text, &i) < 0)
        return NO_CHOICE;
    return i >= 0 && i < (int64_t)n_choices ? (int)i : NO_CHOICE;
}

/* Index of the right choice; NO_CHOICE; TWO_CHOICES where the answer is one's text and another's
 * index. Labels, where a line has them, go before texts. */
static int right_choice(const json_t *answer, const json_t *texts, const json_t *labels)
{
    size_t n = json_array_size(texts);
    if (json_is_integer(answer)) {
        json_int_t i = json_integer_value(answer);
        return i >= 0 && i < (json_int_t)n ? (int)i : NO_CHOICE;
    }
    const char *a = json_string_value(answer);
    if (!a) return NO_CHOICE;
    int named = labels ? find_string(labels, a) : read_index(a, n), text = find_string(texts, a);
    if (labels && named >= 0) return named < (int)n ? named : NO_CHOICE;
    if (named >= 0 && text >= 0 && named != text) return TWO_CHOICES;
    return text >= 0 ? text : named;
}

static int choice_line(struct task *t, const json_t *o, struct error *e)
{
    const char *where = t->lines.where;
    const char *context = json_string_value(find_key(o, CONTEXT_KEYS, ARRAY_LEN(CONTEXT_KEYS)));
    const json_t *choices = find_key(o, CHOICE_KEYS, ARRAY_LEN(CHOICE_KEYS));
    const json_t *labels = NULL;
    if (json_is_object(choices)) {
        labels = json_object_get(choices, "label");
        choices = json_object_get(choices, "text");
    }
    size_t n = json_array_size(choices);
    if (!context || n < 2 || n > MAX_CHOICES) {
        error_set(e, "%s: no context, or not 2 to %d choices", where, MAX_CHOICES);
        return error_hint(e,
                          "a line reads {\"question\": \"...\", \"choices\": [\"...\", \"...\"], "
                          "\"answer\": 0}");
    }
    int gold = right_choice(find_key(o, ANSWER_KEYS, ARRAY_LEN(ANSWER_KEYS)), choices, labels);
    if (gold == TWO_CHOICES) {
        error_set(e, "%s: the answer is the text of one choice and the index of another", where);
        return error_hint(e, "an index is written as a number, without quotes");
    }
    if (gold < 0) {
        error_set(e, "%s: the answer names none of the %zu choices", where, n);
        return error_hint(e, "\"answer\" is an index from 0, a label, a letter or a choice's text");
    }
    t->gold[t->r->examples] = gold;
    size_t n_context = strlen(context);
    while (n_context && isspace((unsigned char)context[n_context - 1]))
        n_context--;
    for (size_t i = 0; i < n; i++) {
        const char *choice = json_string_value(json_array_get(choices, i));
        if (!choice) return error_set(e, "%s: choice %zu is not a string", where, i);
        struct str piece = {0};
        bool separated = isspace((unsigned char)choice[0]);
        str_printf(&piece, "%s%s", separated ? "" : " ", choice);
        t->chars[t->n_tags] = count_characters(separated ? choice + 1 : choice);
        add_pair(t, context, n_context, piece.data, piece.len);
        str_fini(&piece);
    }
    return 0;
}

int serve_eval_choice(struct serve_model *m, const char *path, const struct serve_eval_options *o,
                      struct serve_eval_result *r, struct error *e)
{
    struct task t = {.m = m, .o = o, .r = r};
    int rc = task_run(&t, "choice", path, choice_line, e);
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
        r->accuracy_norm = (double)right_norm / n;
        r->chance = chance / n;
        r->stderr_accuracy = binomial_error(r->accuracy_norm, r->examples);
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
    const uint32_t *ids = t->whole.ids;
    model_cache_truncate(l->cache, 0);
    if (!model_cache_grow(l->cache, count - drop))
        return error_set(e, "%s: no memory for a cache of %lld tokens", t->lines.where,
                         (long long)(count - drop));
    model_decode(t->m->model, l->cache, ids + drop, from - drop, l->logits);
    bool all = true;
    for (int64_t i = from; i < count; i++) {
        bool best;
        l->nll -= log_probability(l->logits, t->m->config.vocab_size, ids[i], &best);
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
    if (json_object_get(o, "sentence_good")) return "blimp";
    if (find_key(o, CHOICE_KEYS, ARRAY_LEN(CHOICE_KEYS))) return "choice";
    if (!json_object_get(o, "text")) return NULL;
    return strstr(file_base_name(path), "lambada") ? "lambada" : "text";
}

const char *serve_eval_guess(const char *path, const struct corpus_options *c, struct error *e)
{
    bool plain = c->format == CORPUS_AUTO && !c->skip_missing &&
                 (!c->field || strcmp(c->field, "text") == 0);
    if (!plain || file_is_dir(path) || !corpus_name_is_jsonl(file_base_name(path))) return "text";
    struct jsonl j;
    json_t *o = NULL;
    const char *task = NULL;
    if (jsonl_open(&j, path, e) < 0) return NULL;
    int rc = jsonl_next(&j, &o, e);
    if (rc == 0) no_examples(path, e);
    if (rc > 0) {
        task = task_by_keys(o, path);
        json_decref(o);
        if (!task) {
            error_set(e, "%s: not a task that is known by its keys", j.where);
            error_hint(e, "say what it is with --task text|lambada|blimp|choice, or where its text "
                          "is with --field");
        }
    }
    corpus_close(j.corpus);
    return task;
}
