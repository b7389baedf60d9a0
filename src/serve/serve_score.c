/* serve_score.c: see serve_score_internal.h. */
#include "serve/serve_score_internal.h"

#include <math.h>
#include <string.h>

/* May fail for lack of memory, as the batch is the caller's wish. */
int scorer_init(struct scorer *s, struct serve_model *m, score_sink_fn *sink, void *ctx,
                struct error *e)
{
    size_t cells = (size_t)(m->B * m->T);
    memset(s, 0, sizeof(*s));
    s->m = m;
    s->sink = sink;
    s->ctx = ctx;
    s->inputs = mem_try_alloc(cells * sizeof(*s->inputs));
    s->targets = mem_try_alloc(cells * sizeof(*s->targets));
    s->nll = mem_try_alloc(cells * sizeof(*s->nll));
    s->rows = mem_calloc((size_t)m->B, sizeof(*s->rows));
    if (s->inputs && s->targets && s->nll) return 0;
    scorer_fini(s);
    return error_set(e, "no memory for a batch of %lld x %lld tokens", (long long)m->B,
                     (long long)m->T);
}

void scorer_fini(struct scorer *s)
{
    mem_free(s->inputs);
    mem_free(s->targets);
    mem_free(s->nll);
    mem_free(s->rows);
    memset(s, 0, sizeof(*s));
}

void scorer_add(struct scorer *s, const uint32_t *ids, int64_t n, int64_t from, uint64_t tag)
{
    int64_t T = s->m->T;
    CHECK(from >= 1 && from <= n);
    if (n - 1 > T) {
        int64_t drop = n - 1 - T;
        ids += drop;
        n -= drop;
        from = MAX(from - drop, (int64_t)1);
    }
    uint32_t *in = s->inputs + s->n_rows * T, *out = s->targets + s->n_rows * T;
    memset(in, 0, (size_t)T * sizeof(*in));
    memset(out, 0, (size_t)T * sizeof(*out));
    memcpy(in, ids, (size_t)(n - 1) * sizeof(*in));
    memcpy(out, ids + 1, (size_t)(n - 1) * sizeof(*out));
    s->rows[s->n_rows++] =
        (struct score_row){.tag = tag, .n = n - 1, .from = from - 1, .to = n - 1};
    if (s->n_rows == s->m->B) scorer_flush(s);
}

/* Rows are as long as the longest sequence in the batch needs, in steps of 32. */
static int64_t row_length(const struct scorer *s)
{
    int64_t longest = 1;
    for (int64_t r = 0; r < s->n_rows; r++)
        longest = MAX(longest, s->rows[r].n);
    return MIN((longest + 31) / 32 * 32, s->m->T);
}

void scorer_flush(struct scorer *s)
{
    if (s->n_rows == 0) return;
    int64_t T = row_length(s);
    for (int64_t r = 1; r < s->n_rows; r++) {
        memmove(s->inputs + r * T, s->inputs + r * s->m->T, (size_t)T * sizeof(*s->inputs));
        memmove(s->targets + r * T, s->targets + r * s->m->T, (size_t)T * sizeof(*s->targets));
    }
    struct model_batch b = {.B = s->n_rows, .T = T, .inputs = s->inputs, .targets = s->targets};
    model_score(s->m->model, &b, s->nll);
    for (int64_t r = 0; r < s->n_rows; r++) {
        const struct score_row *row = &s->rows[r];
        double sum = 0;
        for (int64_t t = row->from; t < row->to; t++)
            sum += (double)s->nll[r * T + t];
        s->not_finite |= !isfinite(sum);
        s->sink(s->ctx, row->tag, sum, row->to - row->from);
    }
    s->n_rows = 0;
}

int scorer_check(const struct scorer *s, struct error *e)
{
    return s->not_finite ? serve_not_finite(e) : 0;
}

/* All exponent bits are set only in infinities and in what is no number. */
bool serve_all_finite(const float *logits, int64_t n)
{
    const uint32_t exponent = 0x7f800000;
    uint32_t found = 0;
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &logits[i], sizeof(bits));
        found |= (bits & exponent) == exponent;
    }
    return !found;
}

int serve_not_finite(struct error *e)
{
    error_set(e, "the model gives a likelihood that is not a finite number");
    return error_hint(e,
                      "its weights are finite but beyond use: try --precision fp32 or an earlier "
                      "checkpoint");
}
