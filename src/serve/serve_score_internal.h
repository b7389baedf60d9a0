/* serve_score_internal.h: log likelihood of many short or long token sequences, batched.
 *
 * Sequences are laid into rows of one batch, the rest of a row is padding. Padding stands behind a
 * sequence and attention is causal, so it cannot change a score. */
#ifndef COLOSSUS_SERVE_SCORE_INTERNAL_H
#define COLOSSUS_SERVE_SCORE_INTERNAL_H

#include "serve/serve.h"

struct score_row {
    uint64_t tag;        /* given back to the sink */
    int64_t n, from, to; /* inputs; targets [from, to) count */
};

/* nll: sum over the counted targets, nats. */
typedef void score_sink_fn(void *ctx, uint64_t tag, double nll, int64_t tokens);

struct scorer {
    struct serve_model *m;
    score_sink_fn *sink;
    void *ctx;
    uint32_t *inputs, *targets; /* [B, T] */
    float *nll;
    struct score_row *rows;
    int64_t n_rows;
    bool not_finite; /* of any likelihood so far */
};
int scorer_init(struct scorer *s, struct serve_model *m, score_sink_fn *sink, void *ctx,
                struct error *e);
void scorer_fini(struct scorer *s);
/* The likelihood of ids[from..n) given ids[0..from); 1 <= from <= n. Where n - 1 exceeds the
 * row, the oldest ids are left out, and of more than a row of counted ids only the last ones count
 * (callers cut long text themselves). Runs the model when the batch is full. */
void scorer_add(struct scorer *s, const uint32_t *ids, int64_t n, int64_t from, uint64_t tag);
void scorer_flush(struct scorer *s);
/* Whether all of n logits are numbers: a sampler would draw some token from any. */
bool serve_all_finite(const float *logits, int64_t n);
/* The error of a model whose likelihoods or logits are no finite numbers. */
int serve_not_finite(struct error *e);
/* Fails where a likelihood was not a number: the model is broken, and a comparison with NaN would
 * pass for an answer. */
int scorer_check(const struct scorer *s, struct error *e);

#endif
