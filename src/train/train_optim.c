/* train_optim.c: AdamW for all, or Muon for the matrices and AdamW for the rest.
 *
 * The parameter table is cut into segments once: a run of neighbouring tensors that AdamW treats
 * alike (same multiplier, same decay) is one segment and one pass over memory; padding between them
 * holds zeros and stays so. A matrix that Muon updates is a segment of its own, an expert stack one
 * per tensor, whose matrices are orthogonalised one by one.
 *
 *   AdamW (Loshchilov & Hutter 2019): see compute_adamw. Its lr is optimizer.lr * fraction * the
 *   tensor's muP multiplier, which scales the whole update, decay included, as the published
 *   trainer of these models does.
 *
 *   Muon (Jordan et al. 2024): with momentum m and Nesterov's look-ahead u = g + beta m,
 *     p -= lr (sqrt(max(1, out / in)) orthogonal(u) + decay p)
 *   The factor keeps the spectral norm of an update at sqrt(out / in) for tall matrices, which is
 *   itself a rule of transfer across widths (Yang et al. 2023, 2310.17813); muP's multipliers are
 *   rules for AdamW and are not applied on top. */
#include "train/train_internal.h"

#include <math.h>
#include <string.h>

struct optim_segment {
    size_t offset, count; /* floats in the flat arrays */
    bool muon;
    double multiplier; /* of the learning rate */
    double decay;
    int64_t matrices, out, in; /* muon: [matrices, out, in] */
};

struct train_optim {
    compute_t *compute;
    model_t *model;
    struct train_config config;
    struct optim_segment *segments;
    size_t n_segments, total;
    float *m, *v; /* [total] */
    float *u;     /* muon: the update of one segment */
    size_t u_count;
    train_muon_t *muon;
};

static bool by_muon(const struct train_config *c, const struct param *p)
{
    return c->optimizer == TRAIN_OPTIMIZER_MUON &&
           (p->kind == PARAM_MATRIX || p->kind == PARAM_EXPERTS);
}

bool train_optim_uses_v(const struct train_config *c, const struct param *p)
{
    return !by_muon(c, p);
}

/* Largest segment that Muon updates, in floats. */
static size_t largest_update(const struct param_table *t, const struct train_config *c)
{
    size_t largest = 0;
    for (size_t i = 0; i < t->n_rows; i++) {
        if (by_muon(c, &t->rows[i])) largest = MAX(largest, t->rows[i].count);
    }
    return largest;
}

size_t train_optim_bytes(const struct param_table *t, const struct train_config *c)
{
    size_t bytes = 2 * t->total * sizeof(float);
    if (c->optimizer == TRAIN_OPTIMIZER_MUON)
        bytes += largest_update(t, c) * sizeof(float) + train_muon_bytes(t);
    return bytes;
}

static struct optim_segment segment_of(const struct train_config *c, const struct param *p)
{
    struct optim_segment s = {.offset = p->offset, .count = p->count};
    s.muon = by_muon(c, p);
    s.multiplier = c->mup && !s.muon ? p->lr_multiplier : 1;
    s.decay = p->decay ? c->weight_decay : 0;
    if (s.muon) {
        s.in = p->shape[p->n_dims - 1];
        s.out = p->shape[p->n_dims - 2];
        s.matrices = p->n_dims == 3 ? p->shape[0] : 1;
    }
    return s;
}

/* Neighbours that AdamW treats alike become one segment, with the padding between them. */
static void build_segments(train_optim_t *o, const struct param_table *t)
{
    o->segments = mem_calloc(t->n_rows, sizeof(*o->segments));
    for (size_t i = 0; i < t->n_rows; i++) {
        struct optim_segment s = segment_of(&o->config, &t->rows[i]);
        struct optim_segment *last = o->n_segments ? &o->segments[o->n_segments - 1] : NULL;
        if (last && !last->muon && !s.muon && last->multiplier == s.multiplier &&
            last->decay == s.decay)
            last->count = s.offset + s.count - last->offset;
        else
            o->segments[o->n_segments++] = s;
    }
}

train_optim_t *train_optim_new(compute_t *c, model_t *m, const struct train_config *cfg)
{
    const struct param_table *t = model_params(m);
    train_optim_t *o = mem_calloc(1, sizeof(*o));
    o->compute = c;
    o->model = m;
    o->config = *cfg;
    o->total = t->total;
    build_segments(o, t);
    o->m = mem_map(o->total * sizeof(float));
    o->v = mem_map(o->total * sizeof(float));
    bool good = o->m && o->v;
    if (cfg->optimizer == TRAIN_OPTIMIZER_MUON) {
        o->u_count = MAX(largest_update(t, cfg), (size_t)1);
        o->u = mem_map(o->u_count * sizeof(float));
        o->muon = train_muon_new(c, t, cfg->muon_steps);
        good = good && o->u && o->muon;
    }
    if (good) return o;
    train_optim_free(o);
    return NULL;
}

void train_optim_free(train_optim_t *o)
{
    if (!o) return;
    train_muon_free(o->muon);
    if (o->m) mem_unmap(o->m, o->total * sizeof(float));
    if (o->v) mem_unmap(o->v, o->total * sizeof(float));
    if (o->u) mem_unmap(o->u, o->u_count * sizeof(float));
    mem_free(o->segments);
    mem_free(o);
}

static void step_adamw(train_optim_t *o, const struct optim_segment *s, double lr, int64_t update,
                       double grad_scale)
{
    const struct train_config *c = &o->config;
    struct compute_adamw a = {.lr = (float)(lr * s->multiplier),
                              .beta1 = (float)c->beta1,
                              .beta2 = (float)c->beta2,
                              .eps = (float)c->eps,
                              .decay = (float)s->decay,
                              .grad_scale = (float)grad_scale,
                              .step = update};
    compute_adamw(o->compute, &a, s->count, model_weights(o->model) + s->offset,
                  model_gradients(o->model) + s->offset, o->m + s->offset, o->v + s->offset);
}

static void step_muon(train_optim_t *o, const struct optim_segment *s, double lr, double grad_scale)
{
    float *p = model_weights(o->model) + s->offset;
    compute_momentum(o->compute, s->count, (float)o->config.muon_momentum, true, (float)grad_scale,
                     model_gradients(o->model) + s->offset, o->m + s->offset, o->u);
    size_t size = (size_t)(s->out * s->in);
    for (int64_t i = 0; i < s->matrices; i++)
        train_muon_orthogonalize(o->muon, s->out, s->in, o->u + (size_t)i * size);
    double shape = sqrt(fmax(1, (double)s->out / (double)s->in));
    compute_axpby(o->compute, s->count, (float)(-lr * shape), o->u, (float)(1 - lr * s->decay), p);
}

void train_optim_step(train_optim_t *o, double lr_fraction, int64_t update, double grad_scale)
{
    for (size_t i = 0; i < o->n_segments; i++) {
        const struct optim_segment *s = &o->segments[i];
        if (s->muon)
            step_muon(o, s, o->config.muon_lr * lr_fraction, grad_scale);
        else
            step_adamw(o, s, o->config.lr * lr_fraction, update, grad_scale);
    }
    model_weights_changed(o->model);
}

float *train_optim_m(train_optim_t *o)
{
    return o->m;
}

float *train_optim_v(train_optim_t *o)
{
    return o->v;
}
