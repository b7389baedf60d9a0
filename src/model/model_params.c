/* model_params.c: the table of parameters: names, shapes, places in the flat arrays, muP learning-
 * rate multipliers and initialisation.
 *
 * Weights, gradients and optimiser moments are flat arrays with one layout, so that clipping,
 * AdamW, checkpoints and reductions are loops over one array, and a tensor is a range of it. Every
 * tensor begins at a multiple of 16 floats (a cache line); the gaps stay zero for ever, so sums
 * over the whole array need not skip them.
 *
 * Learning-rate multipliers (xai-org/x-algorithm, phoenix/xrex/models/scaling.py): norms 1,
 * embedding 0.5 sqrt(512 / D), matrices 512 / fan_in, the last matrix of a feed-forward
 * (1024 / fan_in) * 2/3. Not given there, chosen here by the same rules (docs/model.md):
 * the untied head takes the embedding's (its logits carry the same output multiplier 2 sqrt(512 /
 * D), so a step moves them by the same amount at any width); the router is a map from D inputs to
 * a number of outputs that does not grow, 512 / fan_in.
 *
 * Initialisation: normal, deviation 1 / sqrt(fan_in) for matrices; 0.5 / sqrt(D) for the embedding
 * and head, in proportion to their multiplier, so that a step is the same relative change at any
 * width; 0.1 sqrt(512) / D for the router, muP's 1 / fan_in of an output layer with the tenth that
 * Switch Transformer (2101.03961, 2.4) found stable: routing starts nearly even. */
#include "model/model_internal.h"

#include <math.h>
#include <string.h>

#define BASE_WIDTH      512.0
#define BASE_FFN_HIDDEN 1024.0 /* xrex ffn_size(512, 3.0, gated) */
#define PARAM_ALIGN     16

void model_dims_init(const struct model_config *c, const struct model_shard *shard,
                     struct model_dims *d)
{
    int64_t tp = MAX(shard->tensor_size, 1);
    int64_t end = shard->end_layer ? shard->end_layer : c->n_layers;
    *d = (struct model_dims){
        .V = c->vocab_size,
        .L = end - shard->first_layer,
        .D = c->d_model,
        .H = c->n_heads / tp,
        .K = c->n_kv_heads / tp,
        .h = c->head_dim,
        .Vh = c->vocab_size,
        .longest_part = c->vocab_size,
    };
    if (shard->divides_vocabulary) {
        d->longest_part = (c->vocab_size + tp - 1) / tp;
        d->first_id = shard->tensor_rank * d->longest_part;
        d->Vh = MIN(d->longest_part, c->vocab_size - d->first_id);
    }
    if (c->n_experts > 1) {
        d->E = c->n_experts;
        d->Eh = c->n_experts / MAX(shard->expert_size, 1);
        d->k = c->n_experts_used;
        d->F = c->ffn_hidden / tp;
        d->Fd = c->dense_ffn_hidden / tp;
    } else {
        d->Fd = c->ffn_hidden / tp;
    }
}

bool param_is_of_ffn(const struct param *p)
{
    return strstr(p->name, ".ffn_") || strstr(p->name, ".layer_output_norm");
}

/* ------------------------------------------------------------------ the table */

/* Collects rows; counting only where rows is NULL. */
struct table_builder {
    struct param *rows;
    size_t n_rows, total;
    int64_t tp, ep;           /* tensor-parallel and expert-parallel processes */
    int64_t tp_rank, ep_rank; /* this one's place among them */
    int64_t layer;            /* of the names "blk.<layer>.", or -1 */
};

/* The part held here becomes one of n along a dimension. */
static void divide(struct param *p, int dim, int64_t rank, int64_t n)
{
    p->whole[dim] = p->shape[dim] * n;
    p->first[dim] = p->shape[dim] * rank;
}

/* Adds a tensor of 1 to 3 dimensions (a trailing 0 ends the shape) whose dimension shard_dim is
 * this process's part of tp times as much. */
static void add_param(struct table_builder *b, const char *name, enum param_kind kind,
                      const int64_t shape[3], int shard_dim)
{
    struct param p = {.kind = kind, .offset = b->total, .count = 1};
    const char *what = kind == PARAM_BIAS ? "bias" : "weight";
    if (b->layer >= 0)
        snprintf(p.name, sizeof(p.name), "blk.%d.%s.%s", (int)b->layer, name, what);
    else
        snprintf(p.name, sizeof(p.name), "%s.weight", name);
    for (; p.n_dims < 3 && shape[p.n_dims] > 0; p.n_dims++) {
        p.shape[p.n_dims] = p.whole[p.n_dims] = shape[p.n_dims];
        p.count *= (size_t)shape[p.n_dims];
    }
    if (kind == PARAM_EXPERTS) divide(&p, 0, b->ep_rank, b->ep);
    if (shard_dim >= 0) divide(&p, shard_dim, b->tp_rank, b->tp);
    p.divided = shard_dim >= 0 && b->tp > 1;
    p.fan_in = p.whole[p.n_dims - 1];
    if (b->rows) b->rows[b->n_rows] = p;
    b->n_rows++;
    b->total += (p.count + PARAM_ALIGN - 1) / PARAM_ALIGN * PARAM_ALIGN;
}

static void add_vector(struct table_builder *b, const char *name, int64_t D)
{
    add_param(b, name, PARAM_NORM, (int64_t[3]){D, 0, 0}, -1);
}

static void add_matrix(struct table_builder *b, const char *name, enum param_kind kind, int64_t out,
                       int64_t in, int shard_dim)
{
    add_param(b, name, kind, (int64_t[3]){out, in, 0}, shard_dim);
}

/* Rows of the ids that are here. */
static void add_table(struct table_builder *b, const char *name, enum param_kind kind,
                      const struct model_dims *d)
{
    add_matrix(b, name, kind, d->Vh, d->D, -1);
    if (!b->rows) return;
    struct param *p = &b->rows[b->n_rows - 1];
    p->whole[0] = d->V;
    p->first[0] = d->first_id;
    p->divided = d->Vh < d->V;
}

static void add_experts(struct table_builder *b, const char *name, int64_t E, int64_t out,
                        int64_t in, int shard_dim)
{
    add_param(b, name, PARAM_EXPERTS, (int64_t[3]){E, out, in}, shard_dim);
}

static void add_bias(struct table_builder *b, const char *name, int64_t n, int shard_dim)
{
    add_param(b, name, PARAM_BIAS, (int64_t[3]){n, 0, 0}, shard_dim);
}

/* Names as GGUF has them for the families with such a layer. */
static void add_layer(struct table_builder *b, const struct model_dims *d,
                      const struct model_config *c)
{
    if (c->pre_norms) add_vector(b, "attn_norm", d->D);
    add_matrix(b, "attn_q", PARAM_MATRIX, d->H * d->h, d->D, 0);
    add_matrix(b, "attn_k", PARAM_MATRIX, d->K * d->h, d->D, 0);
    add_matrix(b, "attn_v", PARAM_MATRIX, d->K * d->h, d->D, 0);
    if (c->qkv_biases) {
        add_bias(b, "attn_q", d->H * d->h, 0);
        add_bias(b, "attn_k", d->K * d->h, 0);
        add_bias(b, "attn_v", d->K * d->h, 0);
    }
    if (c->qk_norm) {
        add_vector(b, "attn_q_norm", d->h);
        add_vector(b, "attn_k_norm", d->h);
    }
    add_matrix(b, "attn_output", PARAM_MATRIX, d->D, d->H * d->h, 1);
    if (c->output_bias) add_bias(b, "attn_output", d->D, -1);
    if (c->post_norms) add_vector(b, "attn_output_norm", d->D);
    if (c->pre_norms) add_vector(b, "ffn_norm", d->D);
    if (d->E) {
        add_matrix(b, "ffn_gate_inp", PARAM_ROUTER, d->E, d->D, -1);
        add_experts(b, "ffn_gate_exps", d->Eh, d->F, d->D, 1);
        add_experts(b, "ffn_up_exps", d->Eh, d->F, d->D, 1);
        add_experts(b, "ffn_down_exps", d->Eh, d->D, d->F, 2);
    }
    if (d->Fd) {
        add_matrix(b, "ffn_gate", PARAM_MATRIX, d->Fd, d->D, 0);
        add_matrix(b, "ffn_up", PARAM_MATRIX, d->Fd, d->D, 0);
        add_matrix(b, "ffn_down", PARAM_MATRIX, d->D, d->Fd, 1);
    }
    if (c->post_norms) add_vector(b, "layer_output_norm", d->D);
}

/* The table first, then the layers from `first` on, then what belongs to the head: it has its table
 * last, but where that is the embedding's, which is there. */
static void add_model(struct table_builder *b, const struct model_dims *d,
                      const struct model_config *c, int64_t first)
{
    b->layer = -1;
    if (first == 0) add_table(b, "token_embd", PARAM_EMBEDDING, d);
    for (b->layer = first; b->layer < first + d->L; b->layer++)
        add_layer(b, d, c);
    b->layer = -1;
    if (first + d->L < c->n_layers) return;
    add_vector(b, "output_norm", d->D);
    if (!c->tied_embeddings)
        add_table(b, "output", PARAM_HEAD, d);
    else if (first > 0)
        add_table(b, "token_embd", PARAM_EMBEDDING, d);
}

/* ------------------------------------------------------------------ rules per tensor */

static bool is_ffn_down(const struct param *p)
{
    return strstr(p->name, ".ffn_down") != NULL;
}

static void set_rules(struct param *p)
{
    double fan_in = (double)p->fan_in;
    p->decay = p->kind == PARAM_MATRIX || p->kind == PARAM_EXPERTS || p->kind == PARAM_ROUTER;
    switch (p->kind) {
    case PARAM_NORM:
    case PARAM_BIAS:
        p->lr_multiplier = 1;
        p->init_std = 0;
        break;
    case PARAM_EMBEDDING:
    case PARAM_HEAD:
        p->lr_multiplier = 0.5 * sqrt(BASE_WIDTH / fan_in);
        p->init_std = 0.5 / sqrt(fan_in);
        break;
    case PARAM_ROUTER:
        p->lr_multiplier = BASE_WIDTH / fan_in;
        p->init_std = 0.1 * sqrt(BASE_WIDTH) / fan_in;
        break;
    case PARAM_MATRIX:
    case PARAM_EXPERTS:
        p->lr_multiplier = is_ffn_down(p) ? BASE_FFN_HIDDEN / fan_in * 2 / 3 : BASE_WIDTH / fan_in;
        p->init_std = 1 / sqrt(fan_in);
        break;
    }
}

void model_params_build_shard(const struct model_config *c, const struct model_shard *shard,
                              struct arena *a, struct param_table *t)
{
    struct model_dims d;
    model_dims_init(c, shard, &d);
    const struct table_builder empty = {.tp = MAX(shard->tensor_size, 1),
                                        .ep = MAX(shard->expert_size, 1),
                                        .tp_rank = shard->tensor_rank,
                                        .ep_rank = shard->expert_rank};
    struct table_builder b = empty;
    add_model(&b, &d, c, shard->first_layer);

    *t = (struct param_table){.n_rows = b.n_rows, .total = b.total};
    t->rows = arena_alloc(a, b.n_rows * sizeof(*t->rows));
    b = empty;
    b.rows = t->rows;
    add_model(&b, &d, c, shard->first_layer);
    for (size_t i = 0; i < t->n_rows; i++)
        set_rules(&t->rows[i]);
}

void model_params_build(const struct model_config *c, struct arena *a, struct param_table *t)
{
    model_params_build_shard(c, &(struct model_shard){0, 1, 0, 1}, a, t);
}

const struct param *param_find(const struct param_table *t, const char *name)
{
    for (size_t i = 0; i < t->n_rows; i++)
        if (strcmp(t->rows[i].name, name) == 0) return &t->rows[i];
    return NULL;
}

struct tensor_block param_block(const struct param *p)
{
    struct tensor_block b = {.n_dims = p->n_dims};
    memcpy(b.whole, p->whole, sizeof(b.whole));
    memcpy(b.first, p->first, sizeof(b.first));
    memcpy(b.shape, p->shape, sizeof(b.shape));
    return b;
}

size_t tensor_block_run(const struct tensor_block *b, size_t i, size_t *at)
{
    size_t inner = 1; /* numbers behind dimension k, which the block has whole */
    int k = b->n_dims - 1;
    while (k > 0 && b->shape[k] == b->whole[k])
        inner *= (size_t)b->shape[k--];
    size_t run = (size_t)b->shape[k] * inner, outer = i / run, stride = (size_t)b->whole[k] * inner;
    *at = (size_t)b->first[k] * inner + i % run;
    while (k-- > 0) {
        size_t n = (size_t)b->shape[k];
        *at += ((size_t)b->first[k] + outer % n) * stride;
        outer /= n;
        stride *= (size_t)b->whole[k];
    }
    return run - i % run;
}

/* ------------------------------------------------------------------ initialisation */

/* Values are drawn by their index in the whole tensor, so a shard draws exactly its part and the
 * weights do not depend on threads, on the order of tensors or on their number. */
#define INIT_BLOCK 16384

struct init_job {
    const struct param *p;
    struct tensor_block block;
    uint64_t seed, stream;
    size_t first, n; /* elements wanted */
    float *out;
};

static void init_block(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct init_job *j = ctx;
    size_t end = MIN((task + 1) * INIT_BLOCK, j->n), at;
    for (size_t i = task * INIT_BLOCK, run; i < end; i += run) {
        run = MIN(tensor_block_run(&j->block, j->first + i, &at), end - i);
        for (size_t k = 0; k < run; k++)
            j->out[i + k] = (float)(j->p->init_std * rng_normal(j->seed, j->stream, at + k));
    }
}

void model_init_values(const model_t *m, size_t param, uint64_t seed, size_t first, size_t n,
                       float *out)
{
    const struct param *p = &m->params.rows[param];
    CHECK(first + n <= p->count);
    if (p->kind == PARAM_NORM || p->kind == PARAM_BIAS) {
        for (size_t i = 0; i < n; i++)
            out[i] = p->kind == PARAM_NORM;
        return;
    }
    struct init_job j = {.p = p, .seed = seed, .first = first, .n = n, .out = out};
    j.block = param_block(p);
    j.stream = hash_xxh3(p->name, strlen(p->name));
    pool_run(compute_pool(m->compute), (n + INIT_BLOCK - 1) / INIT_BLOCK, init_block, &j);
}

/* Some rows at a time: for inference there is no place for a whole tensor of floats. */
void model_init_weights(model_t *m, uint64_t seed)
{
    for (size_t i = 0; i < m->params.n_rows; i++) {
        const struct param *p = &m->params.rows[i];
        int64_t width = p->shape[p->n_dims - 1], rows = (int64_t)p->count / width;
        int64_t step = MIN(rows, MAX(1, MODEL_PUT_FLOATS / width));
        float *w = mem_alloc((size_t)(step * width) * sizeof(*w));
        for (int64_t r = 0; r < rows; r += step) {
            int64_t n = MIN(step, rows - r);
            model_init_values(m, i, seed, (size_t)(r * width), (size_t)(n * width), w);
            model_put(m, i, r, n, w);
        }
        mem_free(w);
    }
    model_weights_changed(m);
}
