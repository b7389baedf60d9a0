/* train_golden_measure.c: reads a golden folder and measures how far a computation is from it.
 *
 * A golden folder is what tests/golden/grok_reference.py writes: config.json (with the optimiser's
 * settings), weights.safetensors, batch.safetensors (tokens [steps, B, T + 1]) and
 * expected.safetensors: logits [B, T, V], ce, aux, z, loss and grad.<tensor> of the first batch,
 * greedy [prompt + 16], train.loss and train.grad_norm [steps], trained.<tensor>. Sizes are taken
 * from the files, so any folder of the format will do.
 *
 * Of many ranks each computes its share, as in training; what is compared is put together first, on
 * every rank, so that all come to the same verdict. */
#include "train/train_golden_internal.h"

#include <math.h>
#include <string.h>

#define GREEDY_STEPS 16 /* that the reference appends to its prompt */
/* A gradient tensor below this share of all is rounding noise in fp32: queries and keys of rows of
 * one token, whose true gradient is 0. AdamW makes full steps of noise, so the trained weights of
 * such a tensor say nothing and are not compared; its gradient is. */
#define VANISHING 1e-6

/* What is computed with: one number format, one set of weights. */
struct machine {
    struct golden *g;
    struct param_table params; /* of what this rank holds */
    struct train_shares shares;
    struct train_reduce reduce;
    struct train_passes passes;
    compute_t *compute;
    model_t *model;
    train_optim_t *optim;
};

/* ------------------------------------------------------------------ reading the folder */

static int open_file(struct golden *g, const char *name, struct safetensors *st, struct error *e)
{
    return safetensors_open(file_join(&g->arena, g->dir, name), st, e);
}

/* The reference wrote the settings it trained with; no default of ours may slip in. */
static int read_optimizer(struct golden *g, struct error *e)
{
    struct train_config *c = &g->config;
    const char *path = file_join(&g->arena, g->dir, "config.json");
    const struct {
        const char *key;
        double *value;
    } rows[] = {{"lr", &c->lr},
                {"beta1", &c->beta1},
                {"beta2", &c->beta2},
                {"eps", &c->eps},
                {"weight_decay", &c->weight_decay},
                {"grad_clip", &c->grad_clip}};
    json_t *root;
    TRY(json_load_path(path, (size_t)16 << 20, &root, e));
    const json_t *o = json_object_get(root, "optimizer");
    int rc = o ? 0 : error_set(e, "%s: no object 'optimizer'", path);
    for (size_t i = 0; rc >= 0 && i < ARRAY_LEN(rows); i++)
        rc = json_get_real(o, rows[i].key, rows[i].value, path, e);
    json_decref(root);
    return rc;
}

static int read_config(struct golden *g, struct error *e)
{
    options_defaults(train_run_rows, train_run_n_rows, &g->config);
    TRY(model_config_load(file_join(&g->arena, g->dir, "config.json"), &g->config.model, e));
    g->config.optimizer = TRAIN_OPTIMIZER_ADAMW;
    g->config.mup = false; /* the reference has one learning rate for all */
    return read_optimizer(g, e);
}

/* Rows are dealt out to the ranks of dp. */
static int share_rows(struct golden *g, struct error *e)
{
    struct train_config *c = &g->config;
    int64_t group = c->tp * c->pp, dp = MAX(g->ranks.size / group, 1);
    if (g->B % dp != 0) {
        int64_t nearest = dp;
        while (g->B % nearest != 0)
            nearest--;
        error_set_code(e, ERROR_CONFIG,
                       "'%s' has batches of %lld rows, which %lld ranks cannot "
                       "share",
                       g->dir, (long long)g->B, (long long)dp);
        return error_hint(e, "the nearest that can: --ranks %lld", (long long)(nearest * group));
    }
    c->global_batch = g->B;
    c->micro_batch = g->B / dp;
    TRY(train_ranks_check_vocabulary(c, e));
    return train_ranks_arrange(&g->ranks, c, e);
}

/* Tokens are checked here once, as the model takes one beyond its vocabulary for a defect of the
 * program. */
static int read_tokens(struct golden *g, struct error *e)
{
    const struct safetensors_entry *t = safetensors_find(&g->batch, "tokens");
    if (!t || t->dtype != ST_I32 || t->n_dims != 3 || t->shape[0] < 1 || t->shape[1] < 1 ||
        t->shape[2] < 2)
        return error_set(e, "'%s/batch.safetensors' has no int32 tensor 'tokens' [steps, B, T + 1]",
                         g->dir);
    g->steps = t->shape[0];
    g->B = t->shape[1];
    g->T = t->shape[2] - 1;
    if (g->T > g->config.model.context_length)
        return error_set(e, "'%s': rows of %lld tokens are longer than context_length %lld", g->dir,
                         (long long)g->T, (long long)g->config.model.context_length);
    size_t n = t->bytes / sizeof(int32_t);
    g->tokens = arena_alloc(&g->arena, t->bytes);
    memcpy(g->tokens, t->data, t->bytes);
    for (size_t i = 0; i < n; i++) {
        if (g->tokens[i] >= (uint64_t)g->config.model.vocab_size)
            return error_set(e,
                             "'%s/batch.safetensors': token %d at %zu is outside the vocabulary "
                             "of %lld",
                             g->dir, (int32_t)g->tokens[i], i,
                             (long long)g->config.model.vocab_size);
    }
    TRY(share_rows(g, e));
    g->inputs = arena_alloc(&g->arena, (size_t)(g->B * g->T) * sizeof(uint32_t));
    g->targets = arena_alloc(&g->arena, (size_t)(g->B * g->T) * sizeof(uint32_t));
    return 0;
}

/* The expected tensor of that name with that many numbers, as floats or as doubles. */
static int expect(const struct golden *g, const char *name, size_t count,
                  const struct safetensors_entry **out, struct error *e)
{
    const struct safetensors_entry *t = safetensors_find(&g->expected, name);
    size_t n = 1;
    if (!t) return error_set(e, "'%s/expected.safetensors' has no tensor '%s'", g->dir, name);
    for (int i = 0; i < t->n_dims; i++)
        n *= (size_t)t->shape[i];
    if (n != count)
        return error_set(e, "'%s/expected.safetensors': '%s' has %zu numbers, wanted %zu", g->dir,
                         name, n, count);
    *out = t;
    return 0;
}

static int expect_floats(struct golden *g, const char *name, size_t count, float *out,
                         struct error *e)
{
    const struct safetensors_entry *t;
    TRY(expect(g, name, count, &t, e));
    if (safetensors_read_f32(t, out, count, e) < 0)
        return error_context(e, "'%s/expected.safetensors'", g->dir);
    return 0;
}

static int expect_doubles(struct golden *g, const char *name, size_t count, double *out,
                          struct error *e)
{
    const struct safetensors_entry *t;
    TRY(expect(g, name, count, &t, e));
    if (t->dtype != ST_F64)
        return error_set(e, "'%s/expected.safetensors': '%s' is not float64", g->dir, name);
    memcpy(out, t->data, count * sizeof(double));
    return 0;
}

/* ------------------------------------------------------------------ comparing */

/* Against 0 the error is absolute. */
static double relative(double value, double wanted)
{
    return fabs(value - wanted) / (wanted != 0 ? fabs(wanted) : 1);
}

/* The larger error; a NaN stays. */
static double worse(double error, double worst)
{
    return error > worst || isnan(error) ? error : worst;
}

struct l2 {
    double difference, size; /* squares */
};

static void l2_add(struct l2 *l, const float *have, const float *want, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double d = (double)have[i] - want[i];
        l->difference += d * d;
        l->size += (double)want[i] * want[i];
    }
}

/* |have - want| / |want|; |have| where nothing is wanted. */
static double l2_error(const struct l2 *l)
{
    return l->size > 0 ? sqrt(l->difference / l->size) : sqrt(l->difference);
}

/* This rank's rows of a step as the model wants them: targets are the inputs moved by one.
 * Overwrites what the last call returned. */
static struct model_batch batch_of(struct golden *g, int64_t step)
{
    size_t row = (size_t)g->T * sizeof(uint32_t);
    int64_t B = g->config.micro_batch;
    const uint32_t *t = g->tokens + (step * g->B + g->ranks.data * B) * (g->T + 1);
    for (int64_t b = 0; b < B; b++) {
        memcpy(g->inputs + b * g->T, t + b * (g->T + 1), row);
        memcpy(g->targets + b * g->T, t + b * (g->T + 1) + 1, row);
    }
    return (struct model_batch){.B = B, .T = g->T, .inputs = g->inputs, .targets = g->targets};
}

/* The logits of all rows of the first batch. */
static int all_logits(struct machine *m, float *logits, struct error *e)
{
    struct golden *g = m->g;
    const struct train_ranks *r = &g->ranks;
    size_t own = (size_t)(g->config.micro_batch * g->T * g->config.model.vocab_size);
    size_t *bounds = arena_alloc(&g->arena, ((size_t)r->dp + 1) * sizeof(*bounds));
    for (int i = 0; i <= r->dp; i++)
        bounds[i] = (size_t)i * own;
    struct model_batch b = batch_of(g, 0);
    TRY(train_passes_evaluate(&m->passes, &b, NULL, e));
    bool last = r->stage + 1 == r->pp;
    if (last) model_stage_logits(m->model, &b, logits + bounds[r->data]);
    if (r->size == 1) return 0;
    if (last) TRY(group_gather(r->groups[TRAIN_GROUP_DATA], logits, bounds, GROUP_F32, e));
    return group_broadcast(r->groups[TRAIN_GROUP_STAGES], r->pp - 1, logits,
                           bounds[r->dp] * sizeof(float), e);
}

/* Whether of what several ranks hold alike this one's counts. */
static bool is_first_holder(const struct train_ranks *r, const struct param *p)
{
    bool twins = p->kind == PARAM_EXPERTS;
    if (train_ranks_group_rank(r, twins ? TRAIN_GROUP_TWINS : TRAIN_GROUP_DATA) > 0) return false;
    return train_ranks_counts(r, p);
}

/* A flat array of the whole model from what each rank has of it (weights, gradients). */
static int assemble(struct machine *m, float *flat, float *whole, struct error *e)
{
    struct golden *g = m->g;
    const struct train_ranks *r = &g->ranks;
    TRY(train_reduce_complete(&m->reduce, flat, e));
    memset(whole, 0, g->params.total * sizeof(float));
    for (size_t i = 0; i < m->params.n_rows; i++) {
        const struct param *p = &m->params.rows[i];
        const struct param *to = param_find(&g->params, p->name);
        struct tensor_block block = param_block(p);
        for (size_t k = 0, run, at; k < p->count && is_first_holder(r, p); k += run) {
            run = tensor_block_run(&block, k, &at);
            memcpy(whole + to->offset + at, flat + p->offset + k, run * sizeof(float));
        }
    }
    return r->size > 1 ? group_sum(r->world, whole, g->params.total, GROUP_F32, e) : 0;
}

/* The selection biases of all layers. */
static int assemble_biases(struct machine *m, float *whole, struct error *e)
{
    const struct golden *g = m->g;
    const struct model_config *c = &g->config.model;
    const struct train_ranks *r = &g->ranks;
    struct model_shard here = train_ranks_shard(r, c);
    size_t n = (size_t)(c->n_layers * c->n_experts);
    memset(whole, 0, n * sizeof(float));
    if (r->data == 0 && r->tensor == 0)
        memcpy(whole + here.first_layer * c->n_experts, model_router_bias(m->model),
               (size_t)((here.end_layer - here.first_layer) * c->n_experts) * sizeof(float));
    return r->size > 1 ? group_sum(r->world, whole, n, GROUP_F32, e) : 0;
}

/* Gradients and losses of a batch, by all ranks; as a mean over their microbatches. */
static int train_batch(struct machine *m, int64_t step, struct model_stats *s, struct error *e)
{
    struct golden *g = m->g;
    const struct model_config *c = &g->config.model;
    struct model_batch b = batch_of(g, step);
    TRY(train_passes_train(&m->passes, &b, 1, 1.0 / g->ranks.dp, s, e));
    TRY(train_ranks_sum_stats(&g->ranks, s, (size_t)(c->n_layers * c->n_experts), e));
    s->aux /= s->microbatches;
    s->z /= s->microbatches;
    return 0;
}

static int compare_logits(struct machine *m, struct golden_errors *out, struct error *e)
{
    struct golden *g = m->g;
    size_t n = (size_t)(g->B * g->T * g->config.model.vocab_size);
    float *have = arena_alloc(&g->arena, n * sizeof(float));
    float *want = arena_alloc(&g->arena, n * sizeof(float));
    TRY(expect_floats(g, "logits", n, want, e));
    TRY(all_logits(m, have, e));
    double largest = 0, error = 0;
    struct l2 l = {0};
    for (size_t i = 0; i < n; i++) {
        error = worse(fabs((double)have[i] - want[i]), error);
        largest = fmax(largest, fabs(want[i]));
    }
    l2_add(&l, have, want, n);
    out->of[GOLDEN_LOGITS_LARGEST] = error / fmax(largest, 1e-30);
    out->of[GOLDEN_LOGITS] = l2_error(&l);
    return 0;
}

/* The sum that was differentiated, as docs/model.md defines it. */
static double loss_of(const struct golden *g, const struct model_stats *s)
{
    const struct model_config *m = &g->config.model;
    double loss = s->nll / s->tokens;
    if (m->n_experts > 1) loss += m->router_aux_coef * s->aux + m->router_z_coef * s->z;
    return loss;
}

static int compare_losses(struct golden *g, const struct model_stats *s, struct golden_errors *out,
                          struct error *e)
{
    const struct {
        const char *name;
        enum golden_quantity quantity;
        double value;
    } rows[] = {{"ce", GOLDEN_CE, s->nll / s->tokens},
                {"aux", GOLDEN_AUX, s->aux},
                {"z", GOLDEN_Z, s->z},
                {"loss", GOLDEN_LOSS, loss_of(g, s)}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        double want;
        TRY(expect_doubles(g, rows[i].name, 1, &want, e));
        out->of[rows[i].quantity] = relative(rows[i].value, want);
    }
    return 0;
}

/* Leaves what later comparisons need: the error of each tensor, and which of them vanish. */
static int compare_gradients(struct machine *m, struct golden_errors *out, struct error *e)
{
    struct golden *g = m->g;
    float *have = arena_alloc(&g->arena, g->params.total * sizeof(float));
    TRY(assemble(m, model_gradients(m->model), have, e));
    float *want = arena_alloc(&g->arena, g->params.total * sizeof(float));
    struct l2 all = {0};
    size_t n = g->params.n_rows;
    out->gradient = arena_alloc(&g->arena, n * sizeof(double));
    out->vanishes = arena_alloc(&g->arena, n * sizeof(bool));
    double *size = arena_alloc(&g->arena, n * sizeof(double));
    for (size_t i = 0; i < n; i++) {
        const struct param *p = &g->params.rows[i];
        struct l2 one = {0};
        TRY(expect_floats(g, arena_printf(&g->arena, "grad.%s", p->name), p->count, want, e));
        l2_add(&one, have + p->offset, want, p->count);
        out->gradient[i] = l2_error(&one);
        out->of[GOLDEN_WORST_GRADIENT] = worse(out->gradient[i], out->of[GOLDEN_WORST_GRADIENT]);
        all.difference += one.difference;
        all.size += one.size;
        size[i] = one.size;
    }
    for (size_t i = 0; i < n; i++)
        out->vanishes[i] = size[i] < VANISHING * VANISHING * all.size;
    out->of[GOLDEN_GRADIENTS] = l2_error(&all);
    return 0;
}

static int first_batch(struct machine *m, struct golden_errors *out, struct error *e)
{
    const struct model_config *c = &m->g->config.model;
    out->load =
        arena_alloc(&m->g->arena, (size_t)(c->n_layers * MAX(c->n_experts, 1)) * sizeof(double));
    struct model_stats s = {.load = c->n_experts > 1 ? out->load : NULL};
    TRY(compare_logits(m, out, e));
    TRY(train_batch(m, 0, &s, e));
    TRY(compare_losses(m->g, &s, out, e));
    return compare_gradients(m, out, e);
}

/* ------------------------------------------------------------------ greedy continuation */

static uint32_t largest_logit(const float *logits, int64_t V)
{
    int64_t best = 0;
    for (int64_t i = 1; i < V; i++)
        best = logits[i] > logits[best] ? i : best;
    return (uint32_t)best;
}

/* The weights of all ranks, into a whole model for inference. */
static int put_weights(struct machine *m, model_t *to, struct error *e)
{
    struct golden *g = m->g;
    float *all = arena_alloc(&g->arena, g->params.total * sizeof(float));
    TRY(assemble(m, model_weights(m->model), all, e));
    for (size_t i = 0; i < g->params.n_rows; i++) {
        const struct param *p = &g->params.rows[i];
        model_put(to, i, 0, (int64_t)p->count / p->shape[p->n_dims - 1], all + p->offset);
    }
    if (g->config.model.n_experts > 1) TRY(assemble_biases(m, model_router_bias(to), e));
    model_weights_changed(to);
    return 0;
}

/* By a model for inference with the same weights, prompt at once and then token by token, always on
 * the machine's own tokens. */
static int compare_greedy(struct machine *m, struct golden_errors *out, struct error *e)
{
    struct golden *g = m->g;
    const struct safetensors_entry *t = safetensors_find(&g->expected, "greedy");
    int64_t V = g->config.model.vocab_size;
    if (!t || t->dtype != ST_I32 || t->n_dims != 1 || t->shape[0] <= GREEDY_STEPS ||
        t->shape[0] - GREEDY_STEPS > g->T + 1)
        return error_set(e,
                         "'%s/expected.safetensors' has no int32 tensor 'greedy' of a prompt and "
                         "%d tokens",
                         g->dir, GREEDY_STEPS);
    int64_t n = t->shape[0], prompt = n - GREEDY_STEPS;
    int32_t *want = arena_alloc(&g->arena, t->bytes);
    memcpy(want, t->data, t->bytes);
    float *logits = arena_alloc(&g->arena, (size_t)V * sizeof(float));
    struct model_options mo = {.compute = m->compute, .B = 1, .T = 1, .shard = {0, 1, 0, 1}};
    model_t *model;
    TRY(model_new(&g->config.model, &mo, &model, e));
    int whole = put_weights(m, model, e);
    if (whole < 0) {
        model_free(model);
        return whole;
    }
    model_cache_t *cache = model_cache_new(model, n);
    if (cache) model_decode(model, cache, g->tokens, prompt, logits);
    for (int64_t i = prompt; cache && i < n; i++) {
        uint32_t next = largest_logit(logits, V);
        out->greedy_same += next == (uint32_t)want[i];
        if (i + 1 < n) model_decode(model, cache, &next, 1, logits);
    }
    out->greedy_total = GREEDY_STEPS;
    int rc = cache ? 0 : error_set(e, "no memory for a cache of %lld tokens", (long long)n);
    model_cache_free(cache);
    model_free(model);
    return rc;
}

/* ------------------------------------------------------------------ training */

static int compare_trained(struct machine *m, struct golden_errors *out, struct error *e)
{
    struct golden *g = m->g;
    float *have = arena_alloc(&g->arena, g->params.total * sizeof(float));
    TRY(assemble(m, model_weights(m->model), have, e));
    float *want = arena_alloc(&g->arena, g->params.total * sizeof(float));
    out->worst_trained = "";
    for (size_t i = 0; i < g->params.n_rows; i++) {
        const struct param *p = &g->params.rows[i];
        struct l2 l = {0};
        if (out->vanishes[i]) continue;
        TRY(expect_floats(g, arena_printf(&g->arena, "trained.%s", p->name), p->count, want, e));
        l2_add(&l, have + p->offset, want, p->count);
        double worst = worse(l2_error(&l), out->of[GOLDEN_TRAINED]);
        if (worst != out->of[GOLDEN_TRAINED]) out->worst_trained = p->name;
        out->of[GOLDEN_TRAINED] = worst;
    }
    return 0;
}

static int norm_of(struct machine *m, double *norm, struct error *e)
{
    const struct golden *g = m->g;
    if (g->ranks.size > 1) return train_reduce_norm(&m->reduce, m->compute, norm, e);
    *norm = sqrt(compute_sum_squares(m->compute, model_gradients(m->model), m->params.total));
    return 0;
}

/* The reference's whole training: losses and gradient norms on the way, then the weights. */
static int train(struct machine *m, struct golden_errors *out, struct error *e)
{
    struct golden *g = m->g;
    size_t n = (size_t)g->steps;
    double *losses = arena_alloc(&g->arena, n * sizeof(double));
    double *norms = arena_alloc(&g->arena, n * sizeof(double));
    TRY(expect_doubles(g, "train.loss", n, losses, e));
    TRY(expect_doubles(g, "train.grad_norm", n, norms, e));
    for (int64_t i = 0; i < g->steps; i++) {
        struct model_stats s = {0};
        double norm;
        TRY(train_batch(m, i, &s, e));
        TRY(norm_of(m, &norm, e));
        train_optim_step(m->optim, 1, i + 1, fmin(1, g->config.grad_clip / (norm + 1e-6)));
        if (m->reduce.zero > 0) TRY(train_reduce_gather(&m->reduce, m->model, e));
        out->of[GOLDEN_CURVE] = worse(relative(loss_of(g, &s), losses[i]), out->of[GOLDEN_CURVE]);
        out->of[GOLDEN_NORMS] = worse(relative(norm, norms[i]), out->of[GOLDEN_NORMS]);
    }
    return compare_trained(m, out, e);
}

/* ------------------------------------------------------------------ all of it */

/* Each weight by its own random share of itself, as rounding to fewer bits does. */
static void disturb(struct machine *m, double amount, uint64_t seed)
{
    float *w = model_weights(m->model);
    for (size_t i = 0; i < m->params.n_rows; i++) {
        const struct param *p = &m->params.rows[i];
        size_t first = param_find(&m->g->params, p->name)->offset;
        struct tensor_block block = param_block(p);
        for (size_t k = 0, run, at; k < p->count; k += run) {
            run = tensor_block_run(&block, k, &at);
            for (size_t j = 0; j < run; j++)
                w[p->offset + k + j] *=
                    (float)(1 + amount * (2 * rng_uniform(seed, 0, first + at + j) - 1));
        }
    }
    model_weights_changed(m->model);
}

static int open_machine(struct machine *m, const struct golden_run *r, struct error *e)
{
    struct golden *g = m->g;
    struct compute_options co = {.dtype = r->dtype, .backend = r->backend, .pool = g->pool};
    TRY(compute_new(&co, &m->compute, e));
    const struct train_config *c = &g->config;
    const struct train_ranks *ranks = &g->ranks;
    struct model_shard shard = train_ranks_shard(ranks, &c->model);
    model_params_build_shard(&c->model, &shard, &g->arena, &m->params);
    train_shares_build(&m->params, c, ranks, &g->arena, &m->shares);
    train_reduce_init(&m->reduce, ranks, &m->shares, &m->params, c, &g->arena);
    struct model_options mo = {.compute = m->compute,
                               .B = c->micro_batch,
                               .T = g->T,
                               .training = true,
                               .shard = shard,
                               .hooks = train_reduce_hooks(&m->reduce)};
    TRY(model_new(&c->model, &mo, &m->model, e));
    TRY(model_load_weights(m->model, file_join(&g->arena, g->dir, "weights.safetensors"), e));
    if (r->disturb > 0) disturb(m, r->disturb, r->seed);
    if (m->reduce.zero > 0) TRY(train_reduce_gather(&m->reduce, m->model, e));
    TRY(train_passes_open(&m->passes, m->model, &m->reduce, c, e));
    m->optim = train_optim_new(m->compute, m->model, c, m->reduce.zero > 0 ? &m->shares : NULL,
                               ranks->groups[TRAIN_GROUP_TENSOR]);
    return m->optim ? 0 : error_set(e, "no memory for the optimiser's state");
}

int golden_measure(struct golden *g, const struct golden_run *r, struct golden_errors *out,
                   const char **backend_name, struct error *e)
{
    struct machine m = {.g = g};
    memset(out, 0, sizeof(*out));
    int rc = open_machine(&m, r, e);
    if (rc >= 0) rc = first_batch(&m, out, e);
    if (rc >= 0) rc = compare_greedy(&m, out, e);
    if (rc >= 0) rc = train(&m, out, e);
    if (rc >= 0 && backend_name)
        *backend_name = arena_strdup(&g->arena, compute_backend_name(m.compute));
    train_optim_free(m.optim);
    train_passes_close(&m.passes);
    if (m.model) model_free(m.model);
    if (m.compute) compute_free(m.compute);
    return rc;
}

static int open_all(struct golden *g, const char *layout, struct error *e)
{
    TRY(read_config(g, e));
    if (layout) TRY(train_ranks_read_layout(layout, &g->config, e));
    TRY(open_file(g, "batch.safetensors", &g->batch, e));
    TRY(open_file(g, "expected.safetensors", &g->expected, e));
    model_params_build(&g->config.model, &g->arena, &g->params);
    return read_tokens(g, e);
}

int golden_open(struct golden *g, const char *dir, const struct train_golden_options *o, int ranks,
                struct error *e)
{
    *g = (struct golden){.dir = dir, .ranks = train_ranks_of(o->cluster)};
    if (ranks > 0) g->ranks.size = ranks;
    g->pool = pool_new(o->threads > 0 ? o->threads : train_ranks_threads(&g->ranks));
    int rc = open_all(g, o->layout, e);
    if (rc < 0) golden_close(g);
    return rc;
}

void golden_close(struct golden *g)
{
    pool_free(g->pool);
    train_ranks_close(&g->ranks);
    if (g->batch.entries) safetensors_close(&g->batch);
    if (g->expected.entries) safetensors_close(&g->expected);
    arena_fini(&g->arena);
    memset(g, 0, sizeof(*g));
}
