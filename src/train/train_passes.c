/* train_passes.c: microbatches through the part of the model that a rank holds.
 *
 * One stage: each microbatch forward, then backward. A pipeline: 1F1B (PipeDream-Flush, Narayanan et
 * al. 2021, 2006.09503). Stage s of P first does P - 1 - s forward passes, then a forward and a
 * backward pass in turn, then the backward passes that are left; so it has at most P - s microbatches
 * under way, each in a slot of its own. What goes to a neighbour and what comes from it are one
 * exchange, so that two stages that both have something to send never wait for each other.
 *
 * A stage reads all tokens itself: the first needs them to embed, the last to judge, and all of them
 * the borders of documents. */
#include "train/train_internal.h"

#include <string.h>

enum { IN, OUT }; /* of what passes between stages */

static bool has_front(const struct train_passes *p)
{
    return p->ranks->stage > 0;
}

static bool has_behind(const struct train_passes *p)
{
    return p->ranks->stage + 1 < p->ranks->pp;
}

/* ------------------------------------------------------------------ opening */

/* Microbatches that a stage has under way at once. */
static int depth_of(const struct train_ranks *r, const struct train_config *c)
{
    return (int)MAX(1, MIN(r->pp - r->stage, train_config_microbatches(c)));
}

/* Rows of a microbatch whose residual this rank has: tensor-parallel ranks divide them. */
static size_t own_rows(const struct train_ranks *r, int64_t rows)
{
    const struct model_shard shard = {.tensor_rank = r->tensor, .tensor_size = r->tp};
    return (size_t)model_own_rows(&shard, rows).n;
}

size_t train_passes_bytes(const struct train_ranks *r, const struct train_config *c,
                          size_t slot_bytes)
{
    size_t residual = own_rows(r, c->micro_batch * c->seq_len) * (size_t)c->model.d_model;
    residual *= sizeof(float);
    size_t sides = (size_t)(r->stage > 0) + (size_t)(r->stage + 1 < r->pp);
    return (size_t)(depth_of(r, c) - 1) * slot_bytes + 2 * sides * residual;
}

/* A neighbour on one side sends one array and gets another. */
static int open_side(float **in, float **out, size_t n, struct error *e)
{
    *in = mem_try_alloc(n * sizeof(float));
    *out = mem_try_alloc(n * sizeof(float));
    return *in && *out ? 0 : error_set(e, "no memory for the rows that stages pass on");
}

int train_passes_open(struct train_passes *p, model_t *m, struct train_reduce *reduce,
                      const struct train_config *c, struct error *e)
{
    *p = (struct train_passes){.ranks = reduce->ranks, .model = m, .reduce = reduce};
    p->width = (size_t)c->model.d_model;
    p->residual = own_rows(p->ranks, c->micro_batch * c->seq_len) * p->width;
    int depth = depth_of(p->ranks, c);
    p->slots = mem_calloc((size_t)depth, sizeof(*p->slots));
    for (p->depth = 1; p->depth < depth; p->depth++)
        TRY(model_slot_new(m, &p->slots[p->depth], e));
    if (has_front(p)) TRY(open_side(&p->forth[IN], &p->back[OUT], p->residual, e));
    return has_behind(p) ? open_side(&p->back[IN], &p->forth[OUT], p->residual, e) : 0;
}

void train_passes_close(struct train_passes *p)
{
    for (int i = 1; i < p->depth; i++)
        model_slot_free(p->slots[i]);
    for (int i = 0; i < 2; i++) {
        mem_free(p->forth[i]);
        mem_free(p->back[i]);
    }
    mem_free(p->slots);
    *p = (struct train_passes){0};
}

/* ------------------------------------------------------------------ neighbours */

/* Sends `out` to a neighbour and receives `in` from it, n floats each; NULL: nothing that way. */
static int pass_on(struct train_passes *p, group_t *g, const float *out, float *in, size_t n,
                   struct error *e)
{
    size_t peer = (size_t)(1 - group_rank(g)), bytes = n * sizeof(float);
    struct group_exchange x = {out, p->went, in, p->came};
    for (size_t i = 0; i < 3; i++) {
        p->went[i] = i > peer && out ? bytes : 0;
        p->came[i] = i > peer && in ? bytes : 0;
    }
    return group_exchange(g, &x, e);
}

static int to_behind(struct train_passes *p, bool sends, bool receives, size_t n, struct error *e)
{
    if (!has_behind(p)) return 0;
    return pass_on(p, p->ranks->groups[TRAIN_GROUP_FORTH], sends ? p->forth[OUT] : NULL,
                   receives ? p->back[IN] : NULL, n, e);
}

static int to_front(struct train_passes *p, bool sends, bool receives, size_t n, struct error *e)
{
    if (!has_front(p)) return 0;
    return pass_on(p, p->ranks->groups[TRAIN_GROUP_BACK], sends ? p->back[OUT] : NULL,
                   receives ? p->forth[IN] : NULL, n, e);
}

/* ------------------------------------------------------------------ a step */

/* The microbatches of a step and what is done with them. */
struct work {
    const struct model_batch *b;
    int64_t n;
    double scale;
    struct model_stats *s;
};

static void forward(struct train_passes *p, const struct work *w, int64_t i)
{
    double begin_s = train_begins(p->ranks, "forward");
    model_stage_forward(p->model, p->slots[i % p->depth], &w->b[i], p->forth[IN], p->forth[OUT],
                        w->s);
    train_ends(p->ranks, begin_s, "forward");
}

static void backward(struct train_passes *p, const struct work *w, int64_t i)
{
    struct model_stage_grad g = {w->scale, i == 0, p->back[IN], p->back[OUT]};
    double begin_s = train_begins(p->ranks, "backward");
    if (i + 1 == w->n) train_reduce_begin(p->reduce, model_gradients(p->model));
    model_stage_backward(p->model, p->slots[i % p->depth], &w->b[i], &g, w->s);
    train_ends(p->ranks, begin_s, "backward");
}

static int run(struct train_passes *p, const struct work *w, struct error *e)
{
    int64_t ahead = MIN(w->n, p->ranks->pp - 1 - p->ranks->stage), turns = w->n - ahead;
    size_t n = p->residual;
    for (int64_t i = 0; i < ahead; i++) {
        TRY(to_front(p, false, true, n, e));
        forward(p, w, i);
        TRY(to_behind(p, true, false, n, e));
    }
    if (turns > 0) TRY(to_front(p, false, true, n, e));
    for (int64_t i = 0; i < turns; i++) {
        forward(p, w, ahead + i);
        TRY(to_behind(p, true, true, n, e));
        backward(p, w, i);
        TRY(to_front(p, true, i + 1 < turns, n, e));
    }
    for (int64_t i = turns; i < w->n; i++) {
        TRY(to_behind(p, false, true, n, e));
        backward(p, w, i);
        TRY(to_front(p, true, false, n, e));
    }
    return 0;
}

int train_passes_train(struct train_passes *p, const struct model_batch *b, int64_t n, double scale,
                       struct model_stats *s, struct error *e)
{
    struct work w = {b, n, scale, s};
    int rc = run(p, &w, e);
    double begin_s = train_begins(p->ranks, "sum+of+gradients");
    int summed = train_reduce_end(p->reduce, rc < 0 ? NULL : e);
    train_ends(p->ranks, begin_s, "wait");
    return rc < 0 ? rc : summed;
}

int train_passes_evaluate(struct train_passes *p, const struct model_batch *b,
                          struct model_stats *s, struct error *e)
{
    size_t n = own_rows(p->ranks, b->B * b->T) * p->width;
    cluster_watch_at(p->ranks->watch, "validation");
    TRY(to_front(p, false, true, n, e));
    model_stage_evaluate(p->model, b, p->forth[IN], p->forth[OUT], s);
    return to_behind(p, true, false, n, e);
}

/* ------------------------------------------------------------------ what it sends */

static uint64_t act_bytes(const struct train_config *c)
{
    return group_dtype_size(c->precision == TRAIN_PRECISION_BF16 ? GROUP_BF16 : GROUP_F32);
}

/* Bytes that a rank of a tensor-parallel group sends where each gets its rows of a sum of [M, D]; or
 * gives its rows to all. */
struct row_sends {
    uint64_t sum, gather;
};
static struct row_sends row_sends(const struct train_ranks *r, const struct train_config *c,
                                  uint64_t element)
{
    uint64_t rows = (uint64_t)(c->micro_batch * c->seq_len);
    uint64_t own = own_rows(r, c->micro_batch * c->seq_len),
             row = (uint64_t)c->model.d_model * element;
    return (struct row_sends){(rows - own) * row, own * (uint64_t)(r->tp - 1) * row};
}

/* A tensor-parallel group in one layer and microbatch: rows of both sub-layers' outputs are summed and
 * of their inputs gathered, in the backward pass of the inputs' and outputs' gradients; and the
 * gradients of the routing weights are summed. Full recomputation makes the forward pass anew. */
static uint64_t tensor_sends(const struct train_ranks *r, const struct train_config *c)
{
    const struct model_config *m = &c->model;
    struct row_sends each = row_sends(r, c, act_bytes(c));
    uint64_t sublayers = c->recompute == MODEL_RECOMPUTE_FULL ? 6 : 4;
    uint64_t sent = sublayers * (each.sum + each.gather);
    if (!model_is_moe(m)) return sent;
    size_t routed = (size_t)(c->micro_batch * c->seq_len * m->n_experts_used);
    return sent + train_sum_sends(routed, GROUP_F32, r->tensor, r->tp);
}

/* The same of the two ends: the embedded rows and their gradient, and of each chunk of the head its
 * parts' sums and the target's logit; then the gradient of the head's input. The last layer's next
 * input is the head's, which only the last stage gathers. */
static uint64_t vocabulary_sends(const struct train_ranks *r, const struct train_config *c)
{
    struct row_sends act = row_sends(r, c, act_bytes(c)), wide = row_sends(r, c, sizeof(float));
    int64_t M = c->micro_batch * c->seq_len,
            chunk = model_head_rows(M, (c->model.vocab_size + r->tp - 1) / r->tp);
    uint64_t sent = 0;
    if (r->stage == 0) sent += wide.sum + wide.gather;
    if (r->stage + 1 < r->pp) return sent;
    for (int64_t at = 0; at < M; at += chunk)
        sent += train_sum_sends((size_t)((r->tp + 1) * MIN(chunk, M - at)), GROUP_F32, r->tensor,
                                r->tp);
    return sent + act.gather + act.sum;
}

/* Rows that leave for other ranks of those that divide the experts, where routing is even: out and
 * back, both again in the backward pass, with a weight and its gradient; and counts. */
static uint64_t expert_sends(const struct train_ranks *r, const struct train_config *c)
{
    const struct model_config *m = &c->model;
    if (r->ep == 1) return 0;
    uint64_t rows = (uint64_t)(c->micro_batch * c->seq_len * m->n_experts_used);
    uint64_t others = rows - rows / (uint64_t)r->ep;
    uint64_t row = (uint64_t)m->d_model * act_bytes(c);
    uint64_t counts = (uint64_t)(m->n_experts - m->n_experts / r->ep) * sizeof(int32_t);
    uint64_t pass = 2 * row + sizeof(float), again = 0;
    if (c->recompute == MODEL_RECOMPUTE_SELECTIVE) again = row;
    if (c->recompute == MODEL_RECOMPUTE_FULL) again = pass;
    return others * (2 * pass + again) + counts * (c->recompute == MODEL_RECOMPUTE_FULL ? 2 : 1);
}

void train_passes_traffic(const struct train_ranks *r, const struct train_config *c,
                          struct train_traffic *t)
{
    struct model_shard shard = train_ranks_shard(r, &c->model);
    uint64_t layers = (uint64_t)(shard.end_layer - shard.first_layer);
    uint64_t n = (uint64_t)train_config_microbatches(c);
    uint64_t sides = (uint64_t)(r->stage > 0) + (uint64_t)(r->stage + 1 < r->pp);
    uint64_t residual = (uint64_t)own_rows(r, c->micro_batch * c->seq_len);
    residual *= (uint64_t)c->model.d_model * sizeof(float);
    t->tensor += n * (layers * tensor_sends(r, c) + vocabulary_sends(r, c));
    t->experts += n * layers * expert_sends(r, c);
    t->stages += n * sides * residual;
    size_t routed = model_is_moe(&c->model) ? 2 * layers * (size_t)c->model.n_experts + 1 : 0;
    t->verdict += n * train_sum_sends(routed, GROUP_F64, r->data, r->dp);
}
