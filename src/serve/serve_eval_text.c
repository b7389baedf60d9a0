/* serve_eval_text.c: bits per byte and perplexity of any text.
 *
 * Every document begins behind the model's start token, as in training. A document longer than the
 * context is read in windows that overlap: each window after the first scores only its last
 * `stride` tokens, so that every scored token sees at least context - stride tokens of history
 * (Press et al. 2022, 2.3, "sliding window evaluation"). Bits per byte divides by the bytes of the
 * text, so models with different tokenizers compare. The end-of-document token is not scored. */
#include "serve/serve_score_internal.h"

#include <math.h>
#include <string.h>

struct text_sum {
    double nll;
    uint64_t tokens;
};

static void text_sink(void *ctx, uint64_t tag, double nll, int64_t tokens)
{
    struct text_sum *sum = ctx;
    (void)tag;
    sum->nll += nll;
    sum->tokens += (uint64_t)tokens;
}

/* Scores ids[1..n) in windows of T inputs, each position once. */
static void add_document(struct scorer *s, const struct token_array *ids, int64_t stride)
{
    int64_t T = s->m->T, n = (int64_t)ids->count, scored = 1;
    if (n < 2) return;
    for (int64_t first = 0; scored < n; first += stride) {
        int64_t end = MIN(first + T + 1, n);
        if (end <= scored) continue;
        scorer_add(s, ids->ids + first, end - first, scored - first, 0);
        scored = end;
    }
}

static int score_corpus(struct serve_model *m, struct corpus *c, struct scorer *s, int64_t stride,
                        const struct serve_eval_options *o, struct serve_eval_result *r,
                        struct error *e)
{
    struct token_array ids = {0};
    struct corpus_document d;
    struct progress p;
    progress_init(&p, "eval text", "B", (double)corpus_bytes_total(c));
    int rc;
    while ((rc = corpus_next(c, &d, e)) > 0) {
        if (d.first) {
            if (o->limit && (int64_t)r->examples == o->limit) {
                rc = 0;
                break;
            }
            r->examples++;
        }
        ids.count = 0;
        if (m->start != TOKENIZER_NONE) token_array_push(&ids, m->start);
        tokenizer_encode(m->tokenizer, m->scratch, d.text, d.size, 0, &ids);
        add_document(s, &ids, stride);
        r->bytes += d.size;
        if (o->show_progress) progress_update(&p, (double)corpus_bytes_read(c));
    }
    scorer_flush(s);
    if (o->show_progress) progress_fini(&p, (double)corpus_bytes_read(c));
    token_array_fini(&ids);
    return rc;
}

int serve_eval_text(struct serve_model *m, const char *path, const struct serve_eval_options *o,
                    struct serve_eval_result *r, struct error *e)
{
    double t0 = time_now_s();
    *r = (struct serve_eval_result){.task = "text",
                                    .accuracy = NAN,
                                    .accuracy_norm = NAN,
                                    .chance = NAN,
                                    .stderr_accuracy = NAN};
    int64_t stride = o->stride > 0 ? MIN(o->stride, m->T) : MAX(m->T / 2, (int64_t)1);
    struct text_sum sum = {0};
    struct scorer s;
    struct corpus *c = NULL;
    struct corpus_options co = {.paths = &path, .n_paths = 1};
    TRY(corpus_open(&co, &c, e));
    int rc = scorer_init(&s, m, text_sink, &sum, e);
    if (rc == 0) {
        rc = score_corpus(m, c, &s, stride, o, r, e);
        scorer_fini(&s);
    }
    corpus_close(c);
    if (rc < 0) return rc;
    if (sum.tokens == 0) {
        error_set(e, "'%s' has no text to score", path);
        return error_hint(e, "a document needs at least one token behind its start");
    }
    r->tokens = sum.tokens;
    r->bits_per_byte = sum.nll / M_LN2 / (double)r->bytes;
    r->perplexity = exp(sum.nll / (double)sum.tokens);
    r->seconds = time_now_s() - t0;
    return 0;
}
