/* model_step.c: the head, in chunks of rows, and the calls that the other rooms make.
 *
 * With a vocabulary of 50,000 the logits of a microbatch would be the largest array by far. So the
 * head takes some hundred rows at a time: logits, cross entropy and the gradient of the logits,
 * then at once the gradients of the head's weight (summed over chunks) and of its input. The
 * forward pass of the head is therefore part of the backward pass, and nothing of size [M, V]
 * exists.
 *
 * A stage of a pipeline is a model with some of the layers; a whole model is the only stage of one.
 */
#include "model/model_internal.h"

#include <math.h>
#include <string.h>

static void check_whole(const struct model *m)
{
    CHECK_MSG(m->has_embedding && m->has_head, "a part of the layers cannot do this alone");
}

/* Raw products: multiplier and cap belong to the loss, or to compute_logits. */
static void head_logits(struct model *m, const struct model_slot *s, int64_t first, int64_t n,
                        float *logits)
{
    struct compute_rows rows = {.n = n};
    compute_linear_forward(m->head.linear, rows, model_act_at(m, s->x_final, first * m->dims.D),
                           logits, COMPUTE_F32);
}

/* What the head's loss gives beside nll. */
struct head_grad {
    float scale;    /* d_logits gets this times d nll / d logits */
    void *d_logits; /* NULL: not wanted */
};

/* The loss of logits that are divided over the tensor-parallel group. One sum over it tells all the
 * logarithm of each part's sum of exponentials, and the target's logit, which one of them has; they
 * are added up in the order of the parts. */
static void divided_loss(struct model *m, struct compute_loss *loss)
{
    int64_t n = loss->M, parts = m->shard.tensor_size;
    float *sums = m->head.sums, *target = sums + parts * n, *all = target + n, *nll = loss->nll;
    memset(sums, 0, (size_t)((parts + 1) * n) * sizeof(*sums));
    loss->first = m->dims.first_id;
    loss->step = COMPUTE_LOSS_SUM;
    loss->lse = sums + m->shard.tensor_rank * n;
    loss->nll = target;
    compute_cross_entropy(m->compute, loss);
    m->hooks.sum_tensor(m->hooks.ctx, sums, (size_t)((parts + 1) * n), COMPUTE_F32);
    for (int64_t i = 0; i < n; i++) {
        double largest = -INFINITY, total = 0;
        for (int64_t p = 0; p < parts; p++)
            largest = fmax(largest, (double)sums[p * n + i]);
        for (int64_t p = 0; p < parts; p++)
            total += exp((double)sums[p * n + i] - largest);
        double lse = largest + log(total);
        all[i] = (float)lse;
        nll[i] = (float)(lse + (double)target[i]);
    }
    loss->step = COMPUTE_LOSS_GRADIENT;
    loss->lse = all;
    if (loss->d_logits) compute_cross_entropy(m->compute, loss);
}

/* nll of up to head.rows rows from `first` on, to nll[first ..]; returns their number. */
static int64_t head_nll(struct model *m, const struct model_slot *s, const struct model_batch *b,
                        int64_t first, float *nll, struct head_grad g)
{
    int64_t n = MIN(m->head.rows, b->B * b->T - first);
    head_logits(m, s, first, n, m->head.logits);
    struct compute_loss loss = {.M = n, .V = m->dims.Vh, .z = m->head.logits, .d_scale = g.scale};
    loss.targets = b->targets + first;
    loss.multiplier = (float)m->config.output_multiplier;
    loss.cap = (float)m->config.final_softcap;
    loss.nll = nll + first;
    loss.d_logits = g.d_logits;
    if (model_divides_vocabulary(m))
        divided_loss(m, &loss);
    else
        compute_cross_entropy(m->compute, &loss);
    return n;
}

/* Losses of all rows and the gradient of x_final in scratch.da; the head's weight gradient. */
static void head_train(struct model *m, const struct model_slot *s, const struct model_batch *b,
                       double scale, bool first)
{
    const struct model_dims *d = &m->dims;
    int64_t M = b->B * b->T;
    struct head_grad g = {(float)(scale / (double)M), m->head.d_logits};
    for (int64_t at = 0; at < M; at += m->head.rows) {
        int64_t n = head_nll(m, s, b, at, m->head.nll, g);
        struct compute_rows rows = {.n = n};
        compute_linear_backward_weight(m->head.linear, rows, m->head.d_logits,
                                       model_act_at(m, s->x_final, at * d->D), !first || at > 0);
        compute_linear_backward_input(m->head.linear, rows, m->head.d_logits,
                                      model_act_at(m, m->scratch.da, at * d->D),
                                      compute_act_dtype(m->compute));
    }
    if (model_divides_vocabulary(m)) {
        const struct model_rows r = model_rows_of(m, b);
        model_sum_rows(m, &r, m->scratch.da);
    }
}

/* Of the rows' losses in head.nll. In double and in order, so that the mean does not depend on how rows
 * were cut into chunks. */
static void add_nll(struct model *m, int64_t M, struct model_stats *s)
{
    const float *nll = model_to_host(m, m->host.nll, m->head.nll, (size_t)M * sizeof(*nll));
    double sum = 0;
    for (int64_t i = 0; i < M; i++)
        sum += (double)nll[i];
    s->nll += sum;
    s->tokens += (double)M;
    s->microbatches += 1;
}

/* ------------------------------------------------------------------ a part of the layers */

void model_stage_layers(const struct model_config *c, int stage, int stages, int64_t *first,
                        int64_t *end)
{
    int64_t each = c->n_layers / stages, more = c->n_layers % stages;
    *first = stage * each + MIN(MAX(stage - 1, 0), more);
    *end = (stage + 1) * each + MIN(stage, more);
}

static void pass_forward(struct model *m, struct model_slot *slot, const struct model_batch *b,
                         const float *in, float *out, struct model_stats *s)
{
    int64_t rows = b->B * b->T;
    if (model_divides_rows(m)) rows = model_own_rows(&m->shard, rows).n;
    size_t residual = (size_t)(rows * m->dims.D) * sizeof(float);
    CHECK(!in == m->has_embedding && !out == m->has_head);
    if (in) compute_upload(m->compute, slot->h0, in, residual);
    model_forward(m, slot, b, s);
    if (out) compute_download(m->compute, out, slot->layers[m->dims.L - 1].h_out, residual);
}

void model_stage_forward(model_t *m, model_slot_t *slot, const struct model_batch *b,
                         const float *in, float *out, struct model_stats *s)
{
    const struct model_batch taken = model_take_batch(m, b);
    if (!slot) slot = &m->slot;
    double before = s ? s->aux : 0;
    pass_forward(m, slot, &taken, in, out, s);
    if (s && m->hooks.sum_routing && m->dims.E)
        s->aux = before + model_sum_routing(m, slot, b->B * b->T); /* not of these rows alone */
}

void model_stage_backward(model_t *m, model_slot_t *slot, const struct model_batch *b,
                          const struct model_stage_grad *g, struct model_stats *s)
{
    CHECK(m->training && !g->d_in == m->has_embedding && !g->d_out == m->has_head);
    const struct model_batch taken = model_take_batch(m, b);
    if (!slot) slot = &m->slot;
    if (m->has_head) {
        head_train(m, slot, &taken, g->scale, g->first);
        add_nll(m, b->B * b->T, s);
    }
    model_backward(m, slot, &taken, g);
}

/* ------------------------------------------------------------------ the whole */

void model_train_step(model_t *m, const struct model_batch *b, double scale, bool first,
                      struct model_stats *s)
{
    check_whole(m);
    model_stage_forward(m, NULL, b, NULL, NULL, s);
    model_stage_backward(m, NULL, b, &(struct model_stage_grad){scale, first}, s);
}

/* b was taken; leaves head.nll. */
static void score(struct model *m, const struct model_batch *b)
{
    for (int64_t at = 0; at < b->B * b->T; at += m->head.rows)
        head_nll(m, &m->slot, b, at, m->head.nll, (struct head_grad){0});
}

void model_stage_evaluate(model_t *m, const struct model_batch *b, const float *in, float *out,
                          struct model_stats *s)
{
    const struct model_batch taken = model_take_batch(m, b);
    pass_forward(m, &m->slot, &taken, in, out, s);
    if (!m->has_head || !s) return;
    score(m, &taken);
    add_nll(m, b->B * b->T, s);
}

void model_score(model_t *m, const struct model_batch *b, float *nll)
{
    check_whole(m);
    const struct model_batch taken = model_take_batch(m, b);
    model_forward(m, &m->slot, &taken, NULL);
    score(m, &taken);
    compute_download(m->compute, nll, m->head.nll, (size_t)(b->B * b->T) * sizeof(*nll));
}

void model_evaluate(model_t *m, const struct model_batch *b, struct model_stats *s)
{
    check_whole(m);
    model_stage_evaluate(m, b, NULL, NULL, s);
}

void model_logits(model_t *m, const struct model_batch *b, float *logits)
{
    check_whole(m);
    const struct model_batch taken = model_take_batch(m, b);
    model_forward(m, &m->slot, &taken, NULL);
    model_stage_logits(m, b, logits);
}

/* Raw logits [n, V] of all parts of the vocabulary. */
static void divided_logits(struct model *m, int64_t first, int64_t n, float *logits)
{
    const struct model_dims *d = &m->dims;
    head_logits(m, &m->slot, first, n, m->head.logits);
    memset(logits, 0, (size_t)(n * d->V) * sizeof(*logits));
    for (int64_t i = 0; i < n; i++)
        memcpy(logits + i * d->V + d->first_id, m->head.logits + i * d->Vh,
               (size_t)d->Vh * sizeof(*logits));
    m->hooks.sum_tensor(m->hooks.ctx, logits, (size_t)(n * d->V), COMPUTE_F32);
}

void model_stage_logits(model_t *m, const struct model_batch *b, float *logits)
{
    int64_t M = b->B * b->T, V = m->dims.V;
    CHECK(m->has_head);
    for (int64_t at = 0; at < M; at += m->head.rows) {
        int64_t n = MIN(m->head.rows, M - at);
        float *to = compute_is_host(m->compute) ? logits + at * V : m->head.logits;
        if (model_divides_vocabulary(m))
            divided_logits(m, at, n, to);
        else
            head_logits(m, &m->slot, at, n, to);
        compute_logits(m->compute, n, V, (float)m->config.output_multiplier,
                       (float)m->config.final_softcap, to);
        if (to == m->head.logits)
            compute_download(m->compute, logits + at * V, to, (size_t)(n * V) * sizeof(*logits));
    }
}
