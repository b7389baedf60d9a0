/* model_step.c: the head, in chunks of rows, and the calls that the other rooms make.
 *
 * With a vocabulary of 50,000 the logits of a microbatch would be the largest array by far. So the
 * head takes some hundred rows at a time: logits, cross entropy and the gradient of the logits,
 * then at once the gradients of the head's weight (summed over chunks) and of its input. The
 * forward pass of the head is therefore part of the backward pass, and nothing of size [M, V]
 * exists. */
#include "model/model_internal.h"

/* Raw products: multiplier and cap belong to the loss, or to compute_logits. */
static void head_logits(struct model *m, int64_t first, int64_t n, float *logits)
{
    int32_t rows[2] = {0, (int32_t)n};
    compute_linear_forward(m->head.linear, rows,
                           model_act_at(m, m->slot.x_final, first * m->dims.D), logits,
                           COMPUTE_F32);
}

/* nll of up to head.rows rows from `first` on, to nll[first ..]; returns their number. d_logits
 * gets d_scale * d nll / d logits (NULL: not wanted). */
static int64_t head_nll(struct model *m, const struct model_batch *b, int64_t first, float d_scale,
                        float *nll, void *d_logits)
{
    int64_t n = MIN(m->head.rows, b->B * b->T - first);
    head_logits(m, first, n, m->head.logits);
    struct compute_loss loss = {.M = n, .V = m->dims.V, .z = m->head.logits, .d_scale = d_scale};
    loss.targets = b->targets + first;
    loss.multiplier = (float)m->config.output_multiplier;
    loss.cap = (float)m->config.final_softcap;
    loss.nll = nll + first;
    loss.d_logits = d_logits;
    compute_cross_entropy(m->compute, &loss);
    return n;
}

/* Losses of all rows and the gradient of x_final in scratch.da; the head's weight gradient. */
static void head_train(struct model *m, const struct model_batch *b, double scale, bool first)
{
    const struct model_dims *d = &m->dims;
    int64_t M = b->B * b->T;
    float d_scale = (float)(scale / (double)M);
    for (int64_t at = 0; at < M; at += m->head.rows) {
        int64_t n = head_nll(m, b, at, d_scale, m->head.nll, m->head.d_logits);
        int32_t rows[2] = {0, (int32_t)n};
        compute_linear_backward_weight(m->head.linear, rows, m->head.d_logits,
                                       model_act_at(m, m->slot.x_final, at * d->D),
                                       !first || at > 0);
        compute_linear_backward_input(m->head.linear, rows, m->head.d_logits,
                                      model_act_at(m, m->scratch.da, at * d->D),
                                      compute_act_dtype(m->compute));
    }
}

/* In double and in order, so that the mean does not depend on how rows were cut into chunks. */
static void add_nll(const float *nll, int64_t M, struct model_stats *s)
{
    double sum = 0;
    for (int64_t i = 0; i < M; i++)
        sum += (double)nll[i];
    s->nll += sum;
    s->tokens += (double)M;
    s->microbatches += 1;
}

void model_train_step(model_t *m, const struct model_batch *b, double scale, bool first,
                      struct model_stats *s)
{
    CHECK(m->training);
    model_forward(m, &m->slot, b, s);
    head_train(m, b, scale, first);
    add_nll(m->head.nll, b->B * b->T, s);
    model_backward(m, &m->slot, b, scale, first);
}

static void score(struct model *m, const struct model_batch *b, struct model_stats *s, float *nll)
{
    model_forward(m, &m->slot, b, s);
    for (int64_t at = 0; at < b->B * b->T; at += m->head.rows)
        head_nll(m, b, at, 0, nll, NULL);
}

void model_score(model_t *m, const struct model_batch *b, float *nll)
{
    score(m, b, NULL, nll);
}

void model_evaluate(model_t *m, const struct model_batch *b, struct model_stats *s)
{
    score(m, b, s, m->head.nll);
    add_nll(m->head.nll, b->B * b->T, s);
}

void model_logits(model_t *m, const struct model_batch *b, float *logits)
{
    int64_t M = b->B * b->T, V = m->dims.V;
    model_forward(m, &m->slot, b, NULL);
    for (int64_t at = 0; at < M; at += m->head.rows) {
        int64_t n = MIN(m->head.rows, M - at);
        head_logits(m, at, n, logits + at * V);
        compute_logits(m->compute, n, V, (float)m->config.output_multiplier,
                       (float)m->config.final_softcap, logits + at * V);
    }
}
