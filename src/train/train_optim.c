/* train_optim.c: AdamW for all, or Muon for the matrices and AdamW for the rest.
 *
 * Of many ranks each may update its own part only (train_shares.c): the arrays of moments then are
 * as long as ever, but only the pages of that part are ever touched, and take memory.
 *
 * The parameter table is cut into segments once: a run of neighbouring tensors that AdamW treats
 * alike (same multiplier, same decay) is one segment and one pass over memory; padding between them
 * holds zeros and stays so. What Muon updates is left out (train_muon.c).
 *
 * AdamW (Loshchilov & Hutter 2019): see compute_adamw. Its lr is optimizer.lr * fraction * the
 * tensor's muP multiplier, which scales the whole update, decay included, as the published trainer
 * of these models does. Muon's step has the spectral norm sqrt(max(1, out / in)) for any width,
 * which is itself a rule of transfer across widths (Yang et al. 2023, 2310.17813); muP's multipliers
 * are rules for AdamW and are not applied to it. */
#include "train/train_internal.h"

struct optim_segment {
    size_t offset, count; /* floats in the flat arrays */
    double multiplier;    /* of the learning rate */
    double decay;
};

struct train_optim {
    compute_t *compute;
    model_t *model;
    struct train_config config;
    struct optim_segment *segments;
    size_t n_segments, total;
    bool in_part;       /* other ranks update the rest */
    float *m, *v;       /* [total] */
    train_muon_t *muon; /* NULL: AdamW for all */
};

bool train_optim_uses_v(const struct train_config *c, const struct param *p)
{
    return c->optimizer != TRAIN_OPTIMIZER_MUON || !train_muon_takes(p);
}

size_t train_optim_bytes(const struct param_table *t, const struct train_config *c,
                         const struct train_shares *shares, int threads)
{
    size_t bytes = 2 * (shares ? shares->own : t->total) * sizeof(float);
    if (c->optimizer == TRAIN_OPTIMIZER_MUON) bytes += train_muon_bytes(t, shares, threads);
    return bytes;
}

/* Neighbours that AdamW treats alike become one segment, with the padding between them; of this
 * rank's part only. */
static void build_segments(train_optim_t *o, const struct param_table *t,
                           const struct train_shares *shares)
{
    const struct train_config *c = &o->config;
    bool joins = false; /* the row before this one is the end of the last segment */
    o->segments = mem_calloc(t->n_rows, sizeof(*o->segments));
    for (size_t i = 0; i < t->n_rows; i++) {
        const struct param *p = &t->rows[i];
        struct optim_segment *last = o->n_segments ? &o->segments[o->n_segments - 1] : NULL;
        double multiplier = c->mup ? p->lr_multiplier : 1;
        double decay = p->decay ? c->weight_decay : 0;
        struct train_range own = train_shares_clip(shares, p->offset, p->count);
        if (!train_optim_uses_v(c, p) || own.count == 0) {
            joins = false;
            continue;
        }
        joins = joins && own.first == p->offset;
        if (joins && last->multiplier == multiplier && last->decay == decay)
            last->count = own.first + own.count - last->offset;
        else
            o->segments[o->n_segments++] =
                (struct optim_segment){own.first, own.count, multiplier, decay};
        joins = own.first + own.count == p->offset + p->count;
    }
}

train_optim_t *train_optim_new(compute_t *c, model_t *m, const struct train_config *cfg,
                               const struct train_shares *shares, group_t *tensor)
{
    const struct param_table *t = model_params(m);
    train_optim_t *o = mem_calloc(1, sizeof(*o));
    o->compute = c;
    o->model = m;
    o->config = *cfg;
    o->total = t->total;
    o->in_part = shares != NULL;
    build_segments(o, t, shares);
    o->m = shares ? mem_map_sparse(o->total * sizeof(float)) : mem_map(o->total * sizeof(float));
    o->v = shares ? mem_map_sparse(o->total * sizeof(float)) : mem_map(o->total * sizeof(float));
    bool good = o->m && o->v;
    if (cfg->optimizer == TRAIN_OPTIMIZER_MUON) {
        const struct train_muon_options mo = {cfg, shares, tensor};
        o->muon = train_muon_new(c, t, &mo);
        good = good && o->muon;
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
                              .step = update,
                              .n = s->count,
                              .p = model_weights(o->model) + s->offset,
                              .g = model_gradients(o->model) + s->offset,
                              .m = o->m + s->offset,
                              .v = o->v + s->offset};
    compute_adamw(o->compute, &a);
}

void train_optim_step(train_optim_t *o, double lr_fraction, int64_t update, double grad_scale)
{
    const struct train_config *c = &o->config;
    for (size_t i = 0; i < o->n_segments; i++)
        step_adamw(o, &o->segments[i], c->lr * lr_fraction, update, grad_scale);
    if (o->muon)
        train_muon_step(o->muon, c->muon_lr * lr_fraction, grad_scale, model_gradients(o->model),
                        o->m, model_weights(o->model));
    if (!o->in_part) model_weights_changed(o->model);
}

float *train_optim_m(train_optim_t *o)
{
    return o->m;
}

float *train_optim_v(train_optim_t *o)
{
    return o->v;
}
