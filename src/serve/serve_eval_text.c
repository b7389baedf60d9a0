/* serve_eval_text.c: bits per byte and perplexity of any text.
 *
 * What is counted is what a run's validation counts (train_data.c): -log2 p of every token and of
 * every document's end, over the bytes of the text without its ends; a document of white space only
 * does not count, as it is no document of a dataset. So the sum is a complete code for the text.
 * The two differ in what a token sees before it. Here every document stands alone behind the start
 * token, and one longer than the context is read in windows that overlap: each window after the
 * first scores only its last `stride` tokens, so that every scored token sees at least context -
 * stride tokens of its document (Press et al. 2022, 2.3, "sliding window evaluation"). Validation
 * cuts the stream of all documents into rows without overlap, and without data.document_mask a
 * token sees the documents before its own.
 *
 * Bits per byte divides by the bytes of the text, so models with different tokenizers compare. */
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
static void add_ids(struct scorer *s, const struct token_array *ids, int64_t stride)
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

/* Scores the next piece of a document. A later piece of a very long one begins behind the last
 * token of the piece before. */
static void add_piece(struct scorer *s, const struct corpus_document *d, int64_t stride,
                      struct token_array *ids)
{
    struct serve_model *m = s->m;
    uint32_t eos = tokenizer_eos(m->tokenizer);
    uint32_t before = d->first || ids->count == 0 ? m->start : ids->ids[ids->count - 1];
    ids->count = 0;
    if (before != TOKENIZER_NONE) token_array_push(ids, before);
    tokenizer_encode(m->tokenizer, m->scratch, d->text, d->size, 0, ids);
    if (d->last && eos != TOKENIZER_NONE) token_array_push(ids, eos);
    add_ids(s, ids, stride);
}

static int score_corpus(struct corpus *c, struct scorer *s, int64_t stride,
                        const struct serve_eval_options *o, struct serve_eval_result *r,
                        struct error *e)
{
    struct token_array ids = {0};
    struct corpus_document d;
    struct progress p;
    progress_init(&p, "eval text", "B", (double)corpus_bytes_total(c));
    int rc;
    while ((rc = corpus_next(c, &d, e)) > 0) {
        if (d.first && d.last && corpus_is_blank(d.text, d.size)) continue;
        if (d.first) {
            if (o->limit && (int64_t)r->examples == o->limit) {
                rc = 0;
                break;
            }
            r->examples++;
        }
        add_piece(s, &d, stride, &ids);
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
    struct corpus_options co = o->corpus;
    co.paths = &path;
    co.n_paths = 1;
    TRY(corpus_open(&co, &c, e));
    int rc = scorer_init(&s, m, text_sink, &sum, e);
    if (rc == 0) {
        rc = score_corpus(c, &s, stride, o, r, e);
        if (rc == 0) rc = scorer_check(&s, e);
        scorer_fini(&s);
    }
    corpus_close(c);
    if (rc < 0) return rc;
    if (sum.tokens == 0) {
        error_set(e, "'%s' has no text to score", path);
        return error_hint(e, "white space alone is no document");
    }
    r->tokens = sum.tokens;
    r->bits_per_byte = sum.nll / M_LN2 / (double)r->bytes;
    r->perplexity = exp(sum.nll / (double)sum.tokens);
    r->seconds = time_now_s() - t0;
    return 0;
}
