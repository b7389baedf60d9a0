/* train_session.c: everything a run holds in memory, and one step of it.
 *
 * A step: global_batch / micro_batch times forward and backward, gradients adding up; their norm;
 * the verdict (train_guard.c); the update; the experts' balance. A skipped step consumes its data
 * and counts as a step, but weights, moments and selection biases stay exactly as they were, and
 * the optimiser's own count (for the bias correction) does not move.
 *
 * Opening comes in two halves, so that --plan can tell what the second one will take. */
#include "train/train_internal.h"

#include <math.h>
#include <string.h>

/* ------------------------------------------------------------------ opening */

/* Auto precision asks the processor here, unless the run folder has settled it (train_run.c). */
static int open_compute(struct train_session *s, struct error *e)
{
    struct train_config *c = &s->c;
    if (c->precision == TRAIN_PRECISION_AUTO)
        c->precision = compute_has_fast_bf16() ? TRAIN_PRECISION_BF16 : TRAIN_PRECISION_FP32;
    s->pool = pool_new(c->threads > 0 ? (int)c->threads : train_ranks_threads(&s->ranks));
    struct compute_options o = {.dtype = c->precision == TRAIN_PRECISION_BF16 ? COMPUTE_BF16
                                                                              : COMPUTE_F32,
                                .backend = (enum compute_backend)c->backend,
                                .pool = s->pool};
    if (compute_new(&o, &s->compute, e) < 0) return error_context(e, "train.backend");
    return 0;
}

void train_session_settle_steps(struct train_session *s)
{
    s->total_steps = train_config_total_steps(&s->c, s->step, s->tokens);
}

/* Steps that are done may have had other sizes, so what is done is counted and only what is left is
 * computed. */
int64_t train_session_total_tokens(const struct train_session *s)
{
    int64_t left = MAX(s->total_steps - s->step, 0);
    return s->tokens + left * train_config_step_tokens(&s->c);
}

/* What follows from configuration and data alone: enough for the memory table. */
static void prepare(struct train_session *s)
{
    const struct train_config *c = &s->c;
    const struct model_config *m = &c->model;
    struct model_shard shard = train_ranks_shard(&s->ranks, m);
    model_params_build_shard(m, &shard, &s->arena, &s->params);
    train_shares_build(&s->params, c, &s->ranks, &s->arena, &s->shares);
    train_reduce_init(&s->reduce, &s->ranks, &s->shares, &s->params, c, &s->arena);
    train_guard_init(&s->guard, c->skip_sigma, c->skip_window, &s->arena);
    s->flops_per_token = model_config_train_flops_per_token(m, c->seq_len);
    train_session_settle_steps(s);
    size_t n = (size_t)(m->n_layers * m->n_experts);
    if (m->n_experts > 1) s->stats.load = arena_alloc(&s->arena, n * sizeof(double));
    if (m->n_experts > 1) s->valid_load = arena_alloc(&s->arena, n * sizeof(double));
    if (c->balance == TRAIN_BALANCE_QUANTILE)
        s->stats.bias = arena_alloc(&s->arena, n * sizeof(double));
}

int train_session_open(struct train_session *s, const struct train_config *c,
                       const struct train_ranks *ranks, struct error *e)
{
    memset(s, 0, sizeof(*s));
    s->c = *c;
    s->ranks = *ranks;
    int rc = train_ranks_arrange(&s->ranks, &s->c, e);
    if (rc >= 0) rc = train_data_open(&s->c, &s->ranks, &s->data, e);
    if (rc >= 0) rc = train_ranks_check_vocabulary(&s->c, e);
    if (rc >= 0) rc = open_compute(s, e);
    if (rc < 0) {
        train_session_close(s);
        return rc;
    }
    prepare(s);
    return 0;
}

/* The part that this rank updates; NULL: all of it. */
static const struct train_shares *updated(const struct train_session *s)
{
    return s->reduce.zero > 0 ? &s->shares : NULL;
}

static size_t optim_bytes(const struct train_session *s)
{
    return train_optim_bytes(&s->params, &s->c, updated(s), pool_threads(s->pool));
}

static struct model_options model_options_of(const struct train_session *s)
{
    return (struct model_options){.compute = s->compute,
                                  .B = s->c.micro_batch,
                                  .T = s->c.seq_len,
                                  .training = true,
                                  .recompute = (enum model_recompute)s->c.recompute,
                                  .shard = train_ranks_shard(&s->ranks, &s->c.model)};
}

static struct model_memory *find_line(struct model_memory *rows, size_t n, const char *what)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(rows[i].what, what) == 0) return &rows[i];
    CHECK_MSG(false, "no line '%s'", what);
    return NULL;
}

/* What this rank holds of the model's flat arrays, instead of all of them. */
static size_t plan_parts(const struct train_session *s, struct model_memory *rows, size_t n)
{
    struct train_reduce_memory m;
    if (s->ranks.size == 1) return n;
    train_reduce_plan(&s->reduce, s->c.model.tied_embeddings, &m);
    if (s->reduce.zero > 0) {
        *find_line(rows, n, "weights (fp32)") =
            (struct model_memory){"masters (fp32), this rank's part", m.masters * sizeof(float)};
        rows[n++] = (struct model_memory){"embedding, norms, routers of other parts",
                                          m.read * sizeof(float)};
        rows[n++] = (struct model_memory){"masters passing through", m.passing * sizeof(float)};
    }
    if (s->reduce.releases)
        *find_line(rows, n, "gradients (fp32)") = (struct model_memory){
            "gradients (fp32), this rank's part", (m.gradients + m.in_flight) * sizeof(float)};
    size_t messages = 0;
    for (int g = 0; g < TRAIN_GROUPS; g++) /* the twins of experts speak where these are divided */
        if (g != TRAIN_GROUP_TWINS || s->ranks.ep > 1)
            messages += group_scratch_bytes(train_ranks_group_size(&s->ranks, (enum train_group)g));
    rows[n++] = (struct model_memory){"messages between ranks", messages};
    return n;
}

/* Of a stage that has several microbatches under way. */
static size_t plan_slots(const struct train_session *s, struct model_memory *rows, size_t n)
{
    struct model_options o = model_options_of(s);
    size_t slot = model_plan_slot(&s->c.model, &o);
    if (s->ranks.pp == 1) return n;
    rows[n++] = (struct model_memory){"microbatches between stages",
                                      train_passes_bytes(&s->ranks, &s->c, slot)};
    return n;
}

size_t train_session_plan(const struct train_session *s, struct model_memory *rows, size_t cap)
{
    struct model_options o = model_options_of(s);
    size_t n = model_plan_memory(&s->c.model, &o, rows, cap);
    CHECK(n + 8 <= cap);
    n = plan_parts(s, rows, n);
    n = plan_slots(s, rows, n);
    rows[n++] = (struct model_memory){"optimiser state", optim_bytes(s)};
    rows[n++] = (struct model_memory){"checkpoint staging copy", ckpt_writer_bytes(&s->layout)};
    if (s->c.copy_every > 0)
        rows[n++] = (struct model_memory){"copies of the state in memory",
                                          train_copy_bytes(&s->reads, train_copy_slots(&s->c),
                                                           s->ranks.local_size < s->ranks.size)};
    rows[n++] = (struct model_memory){"batch and kernel scratch",
                                      train_data_bytes(&s->c) + compute_scratch_bytes(s->compute)};
    return n;
}

/* Beside what reduction and passes send: that all have read their data (train_ranks_settle), what
 * train_ranks_sum_stats sums, and two numbers agreed on at the end (train_run.c: agree). */
void train_session_traffic(const struct train_session *s, struct train_traffic *t)
{
    const struct train_ranks *r = &s->ranks;
    size_t n_loads = (size_t)(s->c.model.n_layers * s->c.model.n_experts);
    const size_t sums[] = {1, TRAIN_STATS_SUMS, s->stats.load ? n_loads : 0,
                           s->stats.bias ? n_loads : 0, 2};
    train_reduce_traffic(&s->reduce, t);
    train_passes_traffic(r, &s->c, t);
    if (s->c.optimizer == TRAIN_OPTIMIZER_MUON)
        t->tensor += train_muon_sends(&s->params, updated(s), r->tp);
    for (size_t i = 0; i < ARRAY_LEN(sums); i++)
        t->verdict += train_sum_sends(sums[i], GROUP_F64, r->rank, r->size);
}

uint64_t train_session_sends(const struct train_session *s)
{
    struct train_traffic t = {0};
    train_session_traffic(s, &t);
    return t.gradients + t.weights + t.tensor + t.experts + t.stages + t.verdict;
}

int train_session_allocate(struct train_session *s, struct error *e)
{
    struct model_options o = model_options_of(s);
    o.hooks = train_reduce_hooks(&s->reduce);
    TRY(train_plan_check(s, e));
    TRY(model_new(&s->c.model, &o, &s->model, e));
    s->optim = train_optim_new(s->compute, s->model, &s->c, updated(s),
                               s->ranks.groups[TRAIN_GROUP_TENSOR]);
    if (!s->optim) {
        char text[32];
        error_set(e, "no memory for the optimiser's state of %s",
                  format_bytes(text, (double)optim_bytes(s)));
        return error_hint(e, "colossus train RUN.yaml --plan shows what a run needs");
    }
    if (s->reduce.zero > 0)
        train_reduce_init_weights(&s->reduce, s->model, (uint64_t)s->c.seed);
    else
        model_init_weights(s->model, (uint64_t)s->c.seed);
    return train_passes_open(&s->passes, s->model, &s->reduce, &s->c, e);
}

void train_session_close(struct train_session *s)
{
    train_reduce_close(&s->reduce);
    train_passes_close(&s->passes);
    train_optim_free(s->optim);
    if (s->model) model_free(s->model);
    if (s->compute) compute_free(s->compute);
    if (s->pool) pool_free(s->pool);
    train_data_close(&s->data);
    train_ranks_close(&s->ranks);
    arena_fini(&s->arena);
    memset(s, 0, sizeof(*s));
}

/* ------------------------------------------------------------------ a step */

/* Gradients of this rank's share of the global batch. Ranks sum over each other within a microbatch, so
 * all must have read theirs before any begins. */
static int accumulate_gradients(struct train_session *s, double *data_s, struct error *e)
{
    struct train_data *d = &s->data;
    double begin_s = train_begins(&s->ranks, "data"), start_s = time_now_s();
    int rc = train_data_next(d, e);
    *data_s = time_now_s() - start_s;
    train_ends(&s->ranks, begin_s, "data");
    TRY(train_ranks_settle(&s->ranks, rc, e));
    for (int64_t i = 0; i < d->n; i++)
        d->batches[i].balance = s->c.balance == TRAIN_BALANCE_QUANTILE;
    return train_passes_train(&s->passes, d->batches, d->n, 1.0 / (double)(d->n * s->ranks.dp),
                              &s->stats, e);
}

/* Gradients of the whole batch. A step that could not be done has not been: its first batches are
 * dealt again, on every rank. */
static int gather_gradients(struct train_session *s, double *data_s, struct error *e)
{
    struct loader_cursor before = loader_get_cursor(s->data.loader);
    size_t n_loads = (size_t)(s->c.model.n_layers * s->c.model.n_experts);
    int rc = accumulate_gradients(s, data_s, e);
    if (rc >= 0) rc = train_ranks_sum_stats(&s->ranks, &s->stats, n_loads, e);
    if (rc < 0) CHECK(loader_set_cursor(s->data.loader, before, NULL) == 0);
    return rc;
}

/* The sums are of one step; the arrays are kept. */
static void clear_stats(struct train_session *s)
{
    const struct model_config *m = &s->c.model;
    size_t bytes = (size_t)(m->n_layers * m->n_experts) * sizeof(double);
    s->stats = (struct model_stats){.load = s->stats.load, .bias = s->stats.bias};
    if (s->stats.load) memset(s->stats.load, 0, bytes);
    if (s->stats.bias) memset(s->stats.bias, 0, bytes);
}

/* DeepSeek-V3's balancing without a loss (2412.19437, 2.1.2): the selection bias of an expert with
 * less than the mean load goes up by a fixed step, of one with more it goes down; the mean of the
 * steps is taken out, so that biases do not drift together. */
static void step_router_bias(struct train_session *s)
{
    const struct model_config *m = &s->c.model;
    int64_t E = m->n_experts;
    struct model_shard here = train_ranks_shard(&s->ranks, m);
    float *bias = model_router_bias(s->model);
    for (int64_t i = 0; i < here.end_layer - here.first_layer; i++) {
        const double *load = s->stats.load + (here.first_layer + i) * E;
        double sum = 0, drift = 0;
        for (int64_t j = 0; j < E; j++)
            sum += load[j];
        double mean = sum / (double)E;
        for (int64_t j = 0; j < E; j++)
            drift += (load[j] < mean) - (load[j] > mean);
        drift /= (double)E;
        for (int64_t j = 0; j < E; j++) {
            double sign = (load[j] < mean) - (load[j] > mean);
            bias[i * E + j] += (float)(s->c.bias_rate * (sign - drift));
        }
    }
}

/* A microbatch is dealt with biases of its own (compute_router_balance). Those that are kept, for
 * validation, decoding and as the next step's beginning, follow their mean over the step. */
static void follow_batch_bias(struct train_session *s)
{
    const struct model_config *m = &s->c.model;
    struct model_shard here = train_ranks_shard(&s->ranks, m);
    const double *sums = s->stats.bias + here.first_layer * m->n_experts;
    float *bias = model_router_bias(s->model);
    for (int64_t i = 0; i < (here.end_layer - here.first_layer) * m->n_experts; i++) {
        double mean = sums[i] / s->stats.microbatches;
        bias[i] += (float)(s->c.quantile_rate * (mean - (double)bias[i]));
    }
}

/* 1e-6 as in PyTorch's clip_grad_norm_: the reference clips so. */
static void apply_update(struct train_session *s, double norm, double lr_fraction)
{
    double clip = s->c.grad_clip;
    double scale = clip > 0 ? fmin(1, clip / (norm + 1e-6)) : 1;
    s->updates++;
    double begin_s = train_begins(&s->ranks, "update");
    train_optim_step(s->optim, lr_fraction, s->updates, scale);
    train_ends(&s->ranks, begin_s, "update");
    if (s->reduce.zero > 0) train_reduce_gather_ahead(&s->reduce, s->model);
    if (s->c.balance == TRAIN_BALANCE_BIAS) step_router_bias(s);
    if (s->c.balance == TRAIN_BALANCE_QUANTILE) follow_batch_bias(s);
}

static int measure_norm(struct train_session *s, double *norm, struct error *e)
{
    double begin_s = train_begins(&s->ranks, "norm");
    if (s->ranks.size > 1) {
        TRY(train_reduce_norm(&s->reduce, s->compute, norm, e));
        train_ends(&s->ranks, begin_s, "norm");
        return 0;
    }
    *norm = sqrt(compute_sum_squares(s->compute, model_gradients(s->model), s->params.total));
    return 0;
}

/* As a share of log E. Two of eight experts have 0.33, four of eight 0.67. */
#define MIN_LOAD_ENTROPY 0.8
#define MIN_SLOTS        8 /* of an expert in a step, on average */

void train_measure_load(const struct model_config *m, const double *all, struct train_load *out)
{
    int64_t E = m->n_experts;
    *out = (struct train_load){NAN, NAN};
    if (!all) return;
    *out = (struct train_load){0, 1};
    for (int64_t i = 0; i < m->n_layers; i++) {
        const double *load = all + i * E;
        double sum = 0, largest = 0, entropy = 0;
        for (int64_t j = 0; j < E; j++) {
            sum += load[j];
            largest = fmax(largest, load[j]);
        }
        for (int64_t j = 0; j < E; j++) {
            if (load[j] > 0) entropy -= load[j] / sum * log(load[j] / sum);
        }
        out->max_mean = fmax(out->max_mean, largest * (double)E / sum);
        out->entropy = fmin(out->entropy, entropy / log((double)E));
    }
}

bool train_load_is_unbalanced(const struct model_config *m, const struct train_load *l)
{
    double worst = (double)m->n_experts / (double)m->n_experts_used; /* of max_mean: collapse */
    return l->max_mean > (1 + worst) / 2 || l->entropy < MIN_LOAD_ENTROPY;
}

/* Few tokens for many experts tell nothing: chance alone deals them unevenly. */
static void count_unbalanced(struct train_session *s, struct train_record *r)
{
    const struct model_config *m = &s->c.model;
    bool enough = train_config_step_tokens(&s->c) * m->n_experts_used >= MIN_SLOTS * m->n_experts;
    bool out = s->stats.load && enough && train_load_is_unbalanced(m, &r->load);
    s->unbalanced = out ? s->unbalanced + 1 : 0;
    r->unbalanced = s->unbalanced;
}

/* The objective is the cross entropy and, with experts, the router losses; sums become means here.
 * */
static void measure_losses(const struct train_session *s, struct train_record *r)
{
    const struct model_stats *t = &s->stats;
    const struct model_config *m = &s->c.model;
    bool experts = m->n_experts > 1;
    r->loss = t->nll / t->tokens;
    r->aux = experts ? t->aux / t->microbatches : NAN;
    r->z = experts ? t->z / t->microbatches : NAN;
    r->objective = r->loss;
    if (experts) r->objective += m->router_aux_coef * r->aux + m->router_z_coef * r->z;
    double bytes = s->data.bytes_per_token;
    r->bits_per_byte = bytes > 0 ? r->loss / M_LN2 / bytes : NAN;
    r->valid_nll = r->valid_bits_per_byte = r->valid_s = NAN;
    r->valid_load = (struct train_load){NAN, NAN};
}

/* Without recomputation: the FLOPs are the model's, so their share of the peak is MFU. */
static void measure_speed(const struct train_session *s, double start_s, struct train_record *r)
{
    r->step_s = time_now_s() - start_s;
    r->tokens_per_s = (double)train_config_step_tokens(&s->c) / fmax(r->step_s, 1e-9);
    r->flops_per_s = r->tokens_per_s * s->flops_per_token;
    r->mfu = s->peak_flops > 0 ? r->flops_per_s / s->peak_flops : NAN;
}

int train_session_step(struct train_session *s, struct train_record *r, struct error *e)
{
    double start_s = time_now_s();
    bool checked = train_check_is_due(s);
    clear_stats(s);
    if (checked) TRY(train_check_begin(s, e));
    if (checked) clear_stats(s);
    TRY(gather_gradients(s, &r->data_s, e));
    if (checked) TRY(train_check_end(s, e));
    if (s->hooks && s->hooks->after_gradients)
        s->hooks->after_gradients(s->hooks->ctx, s->step + 1, model_gradients(s->model),
                                  s->params.total);
    r->step = s->step + 1;
    r->tokens = s->tokens + train_config_step_tokens(&s->c);
    measure_losses(s, r);
    train_measure_load(&s->c.model, s->stats.load, &r->load);
    count_unbalanced(s, r);
    TRY(measure_norm(s, &r->grad_norm, e));
    r->verdict = train_guard_judge(&s->guard, r->objective, r->grad_norm);

    double fraction = train_schedule_fraction(&s->c, r->tokens);
    r->lr = s->c.lr * fraction;
    r->muon_lr = s->c.optimizer == TRAIN_OPTIMIZER_MUON ? s->c.muon_lr * fraction : NAN;
    if (r->verdict == TRAIN_UPDATE_GOOD) {
        apply_update(s, r->grad_norm, fraction);
        s->skips_in_row = 0;
    } else {
        s->skips_in_row++;
    }
    s->step = r->step;
    s->tokens = r->tokens;
    measure_speed(s, start_s, r);
    return 0;
}
