/* model_plan.c: the memory of a model, tabled first and mapped once.
 *
 * One function, layout(), walks every array a model needs and carves it from one of six regions.
 * It runs twice: without memory it only adds up, which is the plan; then each region is mapped in
 * that size and the same walk hands out addresses. So the plan cannot differ from what is
 * allocated. For training the products' compute copies of the weights belong to the compute room,
 * which says their size; they are the last line of the table. For inference the products hold the
 * weights, and nothing else does: only norms and routers are used in fp32 as they stand.
 *
 * What is kept per layer for the backward pass, per token (a = bytes of act, 2 or 4):
 *   a (3 D + D + 2 Hh + 2 Kh) attention in, out and post-norm; y of both branches; q, k, v, o
 *   a (2F + D) R/M or a 2 Fd  gate and up; the experts' gathered input. The product of gate and up
 *                             is computed again
 *   8 D + 4 (H + 4 + E + ...) the residual twice in fp32, and a few numbers per row; of own rows only
 *                             (model_own_rows), where tensor-parallel processes divide them
 * The rest is scratch shared by all layers, or belongs to the head, which works in chunks. */
#include "model/model_internal.h"

#include <math.h>
#include <string.h>

#define CARVE_ALIGN 64

/* Logits of one chunk: large enough that the pass over the head's fp32 gradient, once per chunk,
 * is small beside the products; small enough to be no concern. */
#define HEAD_LOGITS_MAX    ((int64_t)64 << 20)
#define HEAD_ROWS_MIN      256
#define HEAD_ROWS_MAX      1024
#define HEAD_ROWS_MULTIPLE 64

static const char *const REGION_NAMES[REGION_COUNT] = {
    [REGION_WEIGHTS] = "weights (fp32)",       [REGION_LINEARS] = "weights",
    [REGION_GRADIENTS] = "gradients (fp32)",   [REGION_ACTIVATIONS] = "activations",
    [REGION_SCRATCH] = "scratch of one layer", [REGION_HEAD] = "logits of one chunk",
};

const char *const model_recompute_names[] = {"none", "selective", "full", NULL};

/* ------------------------------------------------------------------ carving */

void *model_carve(struct model_carver *c, enum model_region_id id, size_t bytes)
{
    struct model_region *r = &c->regions[id];
    size_t at = c->used[id];
    c->used[id] += (bytes + CARVE_ALIGN - 1) / CARVE_ALIGN * CARVE_ALIGN;
    if (!r->base) return NULL;
    CHECK(c->used[id] <= r->size);
    return r->base + at;
}

static float *carve_f32(struct model_carver *c, enum model_region_id id, int64_t n)
{
    return model_carve(c, id, (size_t)n * sizeof(float));
}

static int32_t *carve_i32(struct model_carver *c, enum model_region_id id, int64_t n)
{
    return model_carve(c, id, (size_t)n * sizeof(int32_t));
}

static void *carve_act(struct model_carver *c, enum model_region_id id, int64_t n)
{
    return model_carve(c, id, (size_t)n * compute_dtype_size(compute_act_dtype(c->m->compute)));
}

/* Each region is one mapping. */
int model_regions_map(const struct model *m, struct model_region *regions, struct error *e)
{
    for (int i = 0; i < REGION_COUNT; i++) {
        struct model_region *r = &regions[i];
        r->base = r->size ? compute_alloc(m->compute, r->size) : NULL;
        if (r->base || !r->size) continue;
        char text[32];
        error_set(e, "no memory for %s: %s", REGION_NAMES[i], format_bytes(text, (double)r->size));
        return error_hint(e, "a smaller microbatch needs less for activations");
    }
    return 0;
}

void model_regions_unmap(const struct model *m, struct model_region *regions)
{
    for (int i = 0; i < REGION_COUNT; i++)
        compute_release(m->compute, regions[i].base, regions[i].size);
}

/* ------------------------------------------------------------------ layout */

static int64_t expert_rows(const struct model *m, int64_t M)
{
    const struct model_dims *d = &m->dims;
    return d->E ? compute_dispatch_rows(M, d->E, d->k, model_row_align(m)) : 0;
}

/* Rows that processes send each other for their experts: at most all of all; a plan is of experts that
 * are in balance. */
static int64_t senders(const struct model *m)
{
    return m->measures ? 1 : MAX(m->shard.expert_size, 1);
}

static int64_t held_rows(const struct model *m, int64_t M)
{
    const struct model_dims *d = &m->dims;
    if (!model_is_divided(m)) return expert_rows(m, M);
    return compute_dispatch_rows(M * senders(m), d->Eh, d->k, COMPUTE_ROW_ALIGN);
}

/* Rows of M that are this process's between products, at most. */
static int64_t own_rows(const struct model *m, int64_t M)
{
    return model_divides_rows(m) ? (M + m->shard.tensor_size - 1) / m->shard.tensor_size : M;
}

/* Where rows of all processes come together: at the embedding. */
static int64_t end_rows(const struct model *m, int64_t M)
{
    return m->has_embedding ? M : own_rows(m, M);
}

static void layout_held(struct model_carver *c, struct model_routing *r)
{
    const struct model *m = c->m;
    size_t ends = (size_t)m->shard.expert_size + 1;
    int64_t Rh = held_rows(m, c->M);
    r->held_offset = r->offset;
    r->held_weight = r->row_weight;
    r->held_rows = Rh;
    if (!model_is_divided(m)) return;
    r->held_offset = carve_i32(c, REGION_ACTIVATIONS, m->dims.Eh + 1);
    r->held_weight = carve_f32(c, REGION_ACTIVATIONS, Rh);
    r->held_came = carve_i32(c, REGION_ACTIVATIONS, Rh);
    r->came_held = carve_i32(c, REGION_ACTIVATIONS, c->M * senders(m) * m->dims.k);
    r->went = model_carve(c, REGION_ACTIVATIONS, ends * sizeof(size_t));
    r->came = model_carve(c, REGION_ACTIVATIONS, ends * sizeof(size_t));
}

static void layout_routing(struct model_carver *c, struct model_routing *r)
{
    const struct model_dims *d = &c->m->dims;
    int64_t M = c->M, R = expert_rows(c->m, M);
    r->probs = carve_f32(c, REGION_ACTIVATIONS, M * d->E);
    r->lse = carve_f32(c, REGION_ACTIVATIONS, M);
    r->top = carve_i32(c, REGION_ACTIVATIONS, M * d->k);
    r->weight = carve_f32(c, REGION_ACTIVATIONS, M * d->k);
    r->offset = carve_i32(c, REGION_ACTIVATIONS, d->E + 1);
    r->count = carve_i32(c, REGION_ACTIVATIONS, d->E);
    r->slot_row = carve_i32(c, REGION_ACTIVATIONS, M * d->k);
    r->row_token = carve_i32(c, REGION_ACTIVATIONS, R);
    r->row_slot = carve_i32(c, REGION_ACTIVATIONS, R);
    r->row_weight = carve_f32(c, REGION_ACTIVATIONS, R);
    r->rows = R;
    layout_held(c, r);
}

/* The inside of the feed-forward. */
static void layout_ffn(struct model_carver *c, struct model_acts *a)
{
    const struct model_dims *d = &c->m->dims;
    int64_t R = held_rows(c->m, c->M);
    if (d->E) {
        a->x_rows = carve_act(c, REGION_ACTIVATIONS, R * d->D);
        a->gu = carve_act(c, REGION_ACTIVATIONS, R * 2 * d->F);
    }
    if (d->Fd) a->gu_dense = carve_act(c, REGION_ACTIVATIONS, c->M * 2 * d->Fd);
}

/* What is never kept, so one set for all layers. */
static void layout_passing(struct model_carver *c, struct model_acts *a)
{
    const struct model_dims *d = &c->m->dims;
    int64_t R = held_rows(c->m, c->M);
    a->hidden = carve_act(c, REGION_SCRATCH, MAX(R * d->F, c->M * d->Fd));
    if (d->E) a->y_rows = carve_act(c, REGION_SCRATCH, R * d->D);
    if (d->E && d->Fd) a->y_dense = carve_act(c, REGION_SCRATCH, c->M * d->D);
}

/* The rest of a layer, but for the residual. */
static void layout_acts(struct model_carver *c, struct model_acts *a)
{
    const struct model *m = c->m;
    const struct model_dims *d = &m->dims;
    int64_t M = c->M, S = own_rows(m, M);
    a->x_attn = carve_act(c, REGION_ACTIVATIONS, M * d->D);
    a->qkv = carve_act(c, REGION_ACTIVATIONS, M * model_qkv_width(m));
    a->o = carve_act(c, REGION_ACTIVATIONS, M * d->H * d->h);
    if (m->training) a->lse = carve_f32(c, REGION_ACTIVATIONS, M * d->H);
    a->y_attn = carve_act(c, REGION_ACTIVATIONS, M * d->D);
    a->x_ffn = carve_act(c, REGION_ACTIVATIONS, M * d->D);
    a->y_ffn = carve_act(c, REGION_ACTIVATIONS, M * d->D);
    a->rstd_attn_post = carve_f32(c, REGION_ACTIVATIONS, S);
    a->rstd_attn_next = carve_f32(c, REGION_ACTIVATIONS, S);
    a->rstd_ffn_post = carve_f32(c, REGION_ACTIVATIONS, S);
    a->rstd_ffn_next = carve_f32(c, REGION_ACTIVATIONS, S);
    if (d->E) layout_routing(c, &a->routing);
}

/* Which arrays the layers share follows from what the backward pass will find (enum
 * model_recompute); without one all do, and the residual is one array. */
void model_carve_slot(struct model_carver *c, struct model_slot *s)
{
    const struct model *m = c->m;
    int64_t M = c->M, S = own_rows(m, M), D = m->dims.D, L = m->dims.L;
    bool own = m->training && m->recompute != MODEL_RECOMPUTE_FULL;
    bool own_ffn = m->training && m->recompute == MODEL_RECOMPUTE_NONE;
    struct model_acts shared = {0};
    void *x[2] = {NULL}; /* a layer that is computed again must not overwrite its own input */
    s->h0 = carve_f32(c, REGION_ACTIVATIONS, end_rows(m, M) * D);
    s->rstd0 = carve_f32(c, REGION_ACTIVATIONS, S);
    s->x_final = m->has_head ? carve_act(c, REGION_ACTIVATIONS, M * D) : NULL;
    if (m->dims.E)
        s->sums = model_carve(c, REGION_ACTIVATIONS,
                              (size_t)(L * (2 * m->dims.E + 1)) * sizeof(*s->sums));
    layout_passing(c, &shared);
    if (!own_ffn) layout_ffn(c, &shared);
    if (!own) {
        layout_acts(c, &shared);
        shared.h_mid = m->training ? carve_f32(c, REGION_ACTIVATIONS, S * D) : s->h0;
        x[0] = shared.x_attn;
        x[1] = m->training ? carve_act(c, REGION_ACTIVATIONS, M * D) : shared.x_attn;
    }
    for (int64_t i = 0; i < L; i++) {
        struct model_acts *a = &s->layers[i];
        *a = shared;
        if (own_ffn) layout_ffn(c, a);
        if (own) {
            layout_acts(c, a);
            a->h_mid = carve_f32(c, REGION_ACTIVATIONS, S * D);
        } else {
            a->x_attn = x[i % 2];
        }
        a->h_in = i > 0 ? a[-1].h_out : s->h0;
        a->h_out = m->training ? carve_f32(c, REGION_ACTIVATIONS, S * D) : s->h0;
        if (i > 0) a[-1].x_next = a->x_attn;
    }
    s->layers[L - 1].x_next = s->x_final;
}

/* A slot of its own, with what it lies in. */
struct own_slot {
    struct model_slot slot;
    const struct model *m;
    struct model_region regions[REGION_COUNT];
};

static void layout_own(const struct model *m, struct own_slot *o)
{
    struct model_carver c = {.m = m, .regions = o->regions, .M = m->B * m->T};
    model_carve_slot(&c, &o->slot);
    for (int i = 0; i < REGION_COUNT; i++)
        if (!o->regions[i].base) o->regions[i].size = c.used[i];
}

size_t model_slot_bytes(const model_t *m)
{
    struct own_slot o = {0};
    size_t bytes = 0;
    o.slot.layers = mem_calloc((size_t)m->dims.L, sizeof(*o.slot.layers));
    layout_own(m, &o);
    mem_free(o.slot.layers);
    for (int i = 0; i < REGION_COUNT; i++)
        bytes += o.regions[i].size;
    return bytes;
}

int model_slot_new(model_t *m, model_slot_t **out, struct error *e)
{
    struct own_slot *o = mem_calloc(1, sizeof(*o));
    o->slot.layers = mem_calloc((size_t)m->dims.L, sizeof(*o->slot.layers));
    *out = &o->slot;
    layout_own(m, o);
    o->m = m;
    o->slot.routed = mem_calloc((size_t)(2 * m->dims.L * m->dims.E + 1), sizeof(*o->slot.routed));
    int rc = model_regions_map(m, o->regions, e);
    if (rc == 0) {
        layout_own(m, o);
        return 0;
    }
    model_slot_free(*out);
    *out = NULL;
    return rc;
}

void model_slot_free(model_slot_t *s)
{
    struct own_slot *o = (struct own_slot *)(void *)s; /* its first member */
    if (!o) return;
    model_regions_unmap(o->m, o->regions);
    mem_free(o->slot.routed);
    mem_free(o->slot.layers);
    mem_free(o);
}

/* Places for what the host gives, where the device's memory is its own. */
static void layout_device(struct model_carver *c, struct model *m)
{
    struct model_device *d = &m->device;
    d->inputs = model_carve(c, REGION_SCRATCH, (size_t)c->M * sizeof(*d->inputs));
    d->targets = model_carve(c, REGION_SCRATCH, (size_t)c->M * sizeof(*d->targets));
    d->doc_start = carve_i32(c, REGION_SCRATCH, c->M);
    d->window_start = carve_i32(c, REGION_SCRATCH, c->M);
    d->router_bias = carve_f32(c, REGION_SCRATCH, m->dims.L * m->dims.E);
}

static void layout_scratch(struct model_carver *c, struct model *m)
{
    const struct model_dims *d = &m->dims;
    struct model_scratch *s = &m->scratch;
    int64_t M = c->M, R = held_rows(m, M);
    for (int i = 0; i < model_rotations(&m->config); i++)
        m->rope[i] = carve_f32(c, REGION_SCRATCH, (int64_t)compute_rope_table_floats(m->T, d->h));
    if (!compute_is_host(m->compute)) layout_device(c, m);
    if (d->E && m->training) m->batch_bias = carve_f32(c, REGION_SCRATCH, d->L * d->E);
    if (!m->training) return;
    s->d_hidden = carve_act(c, REGION_SCRATCH, MAX(R * d->F, M * d->Fd));
    s->dh = carve_f32(c, REGION_SCRATCH, end_rows(m, M) * d->D);
    s->da = carve_act(c, REGION_SCRATCH, M * d->D);
    s->dy = carve_act(c, REGION_SCRATCH, M * d->D);
    s->d_o = carve_act(c, REGION_SCRATCH, M * d->H * d->h);
    s->d_qkv = carve_act(c, REGION_SCRATCH, M * model_qkv_width(m));
    if (d->E) {
        s->d_row = s->d_sorted = carve_f32(c, REGION_SCRATCH, R);
        s->d_weight = carve_f32(c, REGION_SCRATCH, M * d->k);
        s->share = carve_f32(c, REGION_SCRATCH, d->E);
        s->d_router_x = carve_f32(c, REGION_SCRATCH, M * d->D);
    }
    if (!model_is_divided(m)) return;
    int64_t went = expert_rows(m, M), came = M * senders(m) * d->k;
    s->d_sorted = carve_f32(c, REGION_SCRATCH, went);
    s->sorted = carve_act(c, REGION_SCRATCH, went * d->D);
    s->moved = carve_act(c, REGION_SCRATCH, came * d->D);
    s->counts = carve_i32(c, REGION_SCRATCH, d->E);
}

const char *model_undivided(const struct model_config *c, int64_t parts, int64_t *size)
{
    const struct {
        const char *name;
        int64_t size;
    } divided[] = {{"n_heads", c->n_heads},
                   {"n_kv_heads", c->n_kv_heads},
                   {"ffn_hidden", c->ffn_hidden},
                   {"dense_ffn_hidden", c->dense_ffn_hidden}};
    for (size_t i = 0; i < ARRAY_LEN(divided); i++) {
        *size = divided[i].size;
        if (*size % parts != 0) return divided[i].name;
    }
    return NULL;
}

bool model_can_divide(const struct model_config *c, int64_t parts)
{
    return (parts - 1) * ((c->vocab_size + parts - 1) / parts) < c->vocab_size;
}

int64_t model_head_rows(int64_t M, int64_t V)
{
    int64_t rows = HEAD_LOGITS_MAX / V / HEAD_ROWS_MULTIPLE * HEAD_ROWS_MULTIPLE;
    return MIN(M, MIN(MAX(rows, HEAD_ROWS_MIN), HEAD_ROWS_MAX));
}

static void layout_head(struct model_carver *c, struct model *m)
{
    int64_t M = c->M;
    if (!m->has_head) return;
    m->head.rows = model_head_rows(M, m->dims.longest_part);
    m->head.logits = carve_f32(c, REGION_HEAD, m->head.rows * m->dims.Vh);
    if (model_divides_vocabulary(m))
        m->head.sums = carve_f32(c, REGION_HEAD, (m->shard.tensor_size + 2) * m->head.rows);
    m->head.nll = carve_f32(c, REGION_HEAD, M);
    if (m->training) m->head.d_logits = carve_act(c, REGION_HEAD, m->head.rows * m->dims.Vh);
}

/* ------------------------------------------------------------------ products */

/* Stands for a pointer that is not NULL while only measuring. */
static float placeholder;

/* Masters; NULL for inference. */
static float *weights_of(const struct model *m, const struct param *p)
{
    if (!m->training) return NULL;
    return m->weights ? m->weights + p->offset : &placeholder;
}

static float *gradient_of(const struct model *m, const struct param *p)
{
    if (!m->training) return NULL;
    return m->gradients ? m->gradients + p->offset : &placeholder;
}

/* Which tensors are the parts of a product. */
static const char *const LINEAR_PARTS[LINEAR_COUNT][COMPUTE_MAX_PARTS] = {
    [LINEAR_QKV] = {"attn_q.weight", "attn_k.weight", "attn_v.weight"},
    [LINEAR_OUT] = {"attn_output.weight"},
    [LINEAR_EXPERTS_IN] = {"ffn_gate_exps.weight", "ffn_up_exps.weight"},
    [LINEAR_EXPERTS_OUT] = {"ffn_down_exps.weight"},
    [LINEAR_DENSE_IN] = {"ffn_gate.weight", "ffn_up.weight"},
    [LINEAR_DENSE_OUT] = {"ffn_down.weight"},
};

/* name: "attn_q.weight" */
static const struct param *layer_param(const struct model *m, int64_t layer, const char *name)
{
    const struct model_layer *l = &m->layers[layer];
    char full[sizeof(((struct param *)0)->name)];
    snprintf(full, sizeof(full), "blk.%d.%s", (int)(m->shard.first_layer + layer), name);
    for (size_t i = 0; i < l->n_params; i++) {
        const struct param *p = &m->params.rows[l->first_param + i];
        if (strcmp(p->name, full) == 0) return p;
    }
    return NULL;
}

/* A product on its way: its description, the tensors that are its parts, where its handle goes. */
struct product {
    struct compute_linear_desc desc;
    const struct param *parts[COMPUTE_MAX_PARTS];
    compute_linear_t **to;
};
typedef void product_fn(struct model *m, struct product *p, void *ctx);

/* Rows that a product of groups or of one weight must take. */
static int64_t product_rows(const struct model *m, bool experts)
{
    int64_t M = m->training ? m->B * m->T : MAX(m->B * m->T, MODEL_DECODER_ROWS);
    if (!experts) return MAX(M, COMPUTE_ROW_ALIGN);
    return MAX(held_rows(m, M), m->dims.Eh * COMPUTE_ROW_ALIGN);
}

static void add_part(const struct model *m, struct product *product, const struct param *p)
{
    struct compute_linear_desc *d = &product->desc;
    if (p->kind == PARAM_EXPERTS) d->groups = (int)p->shape[0];
    d->in = p->shape[p->n_dims - 1];
    struct compute_codes f;
    if (m->codes_of && !m->training && m->codes_of(m->codes_ctx, p->name, &f) &&
        d->in % (f.shared ? 256 : 32) == 0)
        d->codes[d->parts] = f;
    d->out[d->parts] = p->shape[p->n_dims - 2];
    d->master[d->parts] = weights_of(m, p);
    d->grad[d->parts] = gradient_of(m, p);
    product->parts[d->parts++] = p;
}

/* Codes of all parts, or of none. */
static void act_on(struct model *m, struct product *p, product_fn *act, void *ctx)
{
    bool all = true;
    for (int i = 0; i < p->desc.parts; i++)
        all = all && p->desc.codes[i].bits;
    for (int i = 0; i < p->desc.parts && !all; i++)
        p->desc.codes[i] = (struct compute_codes){0};
    act(m, p, ctx);
}

/* Tied: the head multiplies by the embedding, and both add to one gradient; for inference both read
 * one copy. Otherwise the embedding is, for inference, a product that is only looked up. */
static void each_product(struct model *m, product_fn *act, void *ctx)
{
    const struct param *rows = m->params.rows;
    bool tied = m->config.tied_embeddings;
    struct product head = {.desc = {.groups = 1, .max_rows = m->head.rows}, .to = &m->head.linear};
    head.desc.max_rows = MAX(m->head.rows, m->training ? COMPUTE_ROW_ALIGN : MODEL_DECODER_ROWS);
    struct product table = {.desc = {.groups = 1, .max_rows = COMPUTE_ROW_ALIGN}, .to = &m->table};
    if (m->has_head) {
        add_part(m, &head, &rows[tied && m->has_embedding ? 0 : m->params.n_rows - 1]);
        act_on(m, &head, act, ctx);
    }
    if (!m->training && m->has_embedding && !(tied && m->has_head)) {
        add_part(m, &table, &rows[0]);
        act_on(m, &table, act, ctx);
    }
    for (int64_t i = 0; i < m->dims.L; i++)
        for (int id = 0; id < LINEAR_COUNT; id++) {
            bool experts = id == LINEAR_EXPERTS_IN || id == LINEAR_EXPERTS_OUT;
            struct product p = {.desc = {.groups = 1, .max_rows = product_rows(m, experts)},
                                .to = &m->layers[i].linears[id]};
            for (int k = 0; k < COMPUTE_MAX_PARTS && LINEAR_PARTS[id][k]; k++) {
                const struct param *part = layer_param(m, i, LINEAR_PARTS[id][k]);
                if (part) add_part(m, &p, part);
            }
            if (p.desc.parts) act_on(m, &p, act, ctx);
        }
}

/* Adds what the compute room takes for its copies, on top of the regions. */
static void count_product(struct model *m, struct product *p, void *ctx)
{
    *(size_t *)ctx += compute_linear_bytes(m->compute, &p->desc);
}

static void carve_product(struct model *m, struct product *p, void *ctx)
{
    model_carve(ctx, REGION_LINEARS, compute_linear_bytes(m->compute, &p->desc));
}

/* For inference the place of the weights is that of carve_product: the same walk. */
static void make_product(struct model *m, struct product *p, void *ctx)
{
    if (!m->training)
        p->desc.memory =
            model_carve(ctx, REGION_LINEARS, compute_linear_bytes(m->compute, &p->desc));
    *p->to = compute_linear_new(m->compute, &p->desc);
    for (int i = 0; i < p->desc.parts && !m->training; i++)
        m->places[p->parts[i] - m->params.rows] = (struct model_place){.linear = *p->to, .part = i};
}

static void make_linears(struct model *m)
{
    struct model_carver c = {.m = m, .regions = m->regions};
    each_product(m, make_product, &c);
    if (!m->training && m->has_embedding && m->has_head && m->config.tied_embeddings)
        m->table = m->head.linear;
}

static struct model_tensor tensor_of(const struct model *m, const struct param *p)
{
    if (!p) return (struct model_tensor){0};
    if (!m->training) return (struct model_tensor){.w = m->places[p - m->params.rows].values};
    return (struct model_tensor){weights_of(m, p), gradient_of(m, p)};
}

static void bind_tensors(struct model *m)
{
    if (m->has_embedding) m->embedding = tensor_of(m, &m->params.rows[0]);
    m->output_norm = tensor_of(m, param_find(&m->params, "output_norm.weight"));
    for (int64_t i = 0; i < m->dims.L; i++) {
        struct model_layer *l = &m->layers[i];
        const struct {
            struct model_tensor *to;
            const char *name;
        } tensors[] = {
            {&l->attn_norm, "attn_norm.weight"},
            {&l->attn_output_norm, "attn_output_norm.weight"},
            {&l->ffn_norm, "ffn_norm.weight"},
            {&l->layer_output_norm, "layer_output_norm.weight"},
            {&l->router, "ffn_gate_inp.weight"},
            {&l->q_norm, "attn_q_norm.weight"},
            {&l->k_norm, "attn_k_norm.weight"},
            {&l->q_bias, "attn_q.bias"},
            {&l->k_bias, "attn_k.bias"},
            {&l->v_bias, "attn_v.bias"},
            {&l->output_bias, "attn_output.bias"},
        };
        for (size_t k = 0; k < ARRAY_LEN(tensors); k++)
            *tensors[k].to = tensor_of(m, layer_param(m, i, tensors[k].name));
        for (int id = 0; id < LINEAR_COUNT; id++) {
            const struct param *p = layer_param(m, i, LINEAR_PARTS[id][0]);
            if (p) l->linear_params[id] = (size_t)(p - m->params.rows);
        }
    }
}

/* ------------------------------------------------------------------ the regions */

/* Training: flat arrays. Inference: the few tensors that are used in fp32 as they stand, and the
 * products' weights. */
static void layout_weights(struct model_carver *c, struct model *m)
{
    if (m->training) {
        m->weights = carve_f32(c, REGION_WEIGHTS, (int64_t)m->params.total);
        m->gradients = carve_f32(c, REGION_GRADIENTS, (int64_t)m->params.total);
        return;
    }
    for (size_t i = 0; i < m->params.n_rows; i++) {
        const struct param *p = &m->params.rows[i];
        if (p->kind == PARAM_NORM || p->kind == PARAM_BIAS || p->kind == PARAM_ROUTER)
            m->places[i].values = carve_f32(c, REGION_WEIGHTS, (int64_t)p->count);
    }
    each_product(m, carve_product, c);
}

/* Walks everything; leaves the sizes in the regions while these have no memory yet. */
static void layout(struct model *m)
{
    struct model_carver c = {.m = m, .regions = m->regions, .M = m->B * m->T};
    model_carve_slot(&c, &m->slot);
    layout_scratch(&c, m);
    layout_head(&c, m);
    layout_weights(&c, m);
    for (int i = 0; i < REGION_COUNT; i++)
        if (!m->regions[i].base) m->regions[i].size = c.used[i];
}

/* ------------------------------------------------------------------ a model */

static void *host_zeros(struct model *m, int64_t n, size_t size)
{
    void *p = arena_alloc(&m->arena, (size_t)n * size);
    memset(p, 0, (size_t)n * size);
    return p;
}

static void make_host(struct model *m)
{
    const struct model_dims *d = &m->dims;
    struct model_host *h = &m->host;
    int64_t M = m->B * m->T;
    h->nll = host_zeros(m, M, sizeof(*h->nll));
    if (m->config.window_layers > 0) h->window_start = host_zeros(m, M, sizeof(*h->window_start));
    if (!d->E) return;
    h->router_bias = host_zeros(m, d->L * d->E, sizeof(*h->router_bias));
    h->batch_bias = host_zeros(m, d->L * d->E, sizeof(*h->batch_bias));
    h->share = host_zeros(m, d->E, sizeof(*h->share));
    h->sums = host_zeros(m, d->L * (2 * d->E + 1), sizeof(*h->sums));
    m->slot.routed = host_zeros(m, 2 * d->L * d->E + 1, sizeof(*m->slot.routed));
}

/* Sizes, tables and the measured regions: everything but memory. */
static void sketch(struct model *m, const struct model_config *c, const struct model_options *o,
                   bool measures)
{
    *m = (struct model){.config = *c,
                        .shard = o->shard,
                        .hooks = o->hooks,
                        .codes_of = o->codes_of,
                        .codes_ctx = o->codes_ctx,
                        .compute = o->compute,
                        .B = o->B,
                        .T = o->T,
                        .training = o->training,
                        .measures = measures,
                        .recompute = o->recompute};
    const int64_t first = m->shard.first_layer;
    model_config_derive(&m->config);
    model_dims_init(&m->config, &m->shard, &m->dims);
    m->has_embedding = m->shard.first_layer == 0;
    m->has_head = m->shard.first_layer + m->dims.L == m->config.n_layers;
    model_params_build_shard(&m->config, &m->shard, &m->arena, &m->params);
    m->layers = arena_alloc(&m->arena, (size_t)m->dims.L * sizeof(*m->layers));
    m->places = arena_alloc(&m->arena, m->params.n_rows * sizeof(*m->places));
    memset(m->places, 0, m->params.n_rows * sizeof(*m->places));
    m->row_bounds =
        arena_alloc(&m->arena, (size_t)(m->shard.tensor_size + 1) * sizeof(*m->row_bounds));
    m->slot.layers = arena_alloc(&m->arena, (size_t)m->dims.L * sizeof(*m->slot.layers));
    make_host(m);
    size_t front = m->has_embedding, behind = 0;
    if (m->has_head)
        behind = m->config.tied_embeddings && m->has_embedding ? 1 : 2; /* norm, head */
    size_t per_layer = (m->params.n_rows - front - behind) / (size_t)m->dims.L;
    for (int64_t i = 0; i < m->dims.L; i++) {
        m->layers[i] = (struct model_layer){.form = model_form_of(&m->config, first + i),
                                            .first_param = front + (size_t)i * per_layer,
                                            .n_params = per_layer};
        const struct param *rows = &m->params.rows[m->layers[i].first_param];
        size_t n = 0;
        while (n < per_layer && !param_is_of_ffn(&rows[n]))
            n++;
        m->layers[i].n_attn_params = n;
    }
    layout(m);
}

static int check_shard(const struct model_config *c, const struct model_shard *s, struct error *e)
{
    int64_t tp = MAX(s->tensor_size, 1), ep = MAX(s->expert_size, 1);
    if (s->expert_rank < 0 || s->expert_rank >= ep || ep > MODEL_MAX_EXPERT_SIZE ||
        c->n_experts % ep != 0)
        return error_set_code(e, ERROR_CONFIG,
                              "process %d of %lld that divide the model's %lld experts",
                              s->expert_rank, (long long)ep, (long long)c->n_experts);
    int64_t end = s->end_layer ? s->end_layer : c->n_layers;
    if (s->first_layer < 0 || s->first_layer >= end || end > c->n_layers)
        return error_set_code(e, ERROR_CONFIG, "layers %lld to %lld of a model of %lld",
                              (long long)s->first_layer, (long long)end, (long long)c->n_layers);
    if (s->tensor_rank < 0 || s->tensor_rank >= tp)
        return error_set_code(e, ERROR_CONFIG, "tensor rank %d of %lld", s->tensor_rank,
                              (long long)tp);
    int64_t size;
    const char *field = model_undivided(c, tp, &size);
    if (!field) return 0;
    return error_set_code(e, ERROR_CONFIG,
                          "model field '%s' (%lld) cannot be divided over %lld processes", field,
                          (long long)size, (long long)tp);
}

static int check_options(const struct model_config *c, const struct model_options *o,
                         struct error *e)
{
    struct model_config derived = *c;
    model_config_derive(&derived);
    TRY(model_config_check(&derived, e));
    TRY(model_form_check(&derived, e));
    if (o->training) TRY(model_config_check_trainable(&derived, e));
    if (o->shard.divides_vocabulary)
        CHECK(o->training && model_can_divide(c, o->shard.tensor_size));
    if (o->training && o->shard.tensor_size > 1)
        CHECK(o->hooks.sum_tensor && o->hooks.sum_rows && o->hooks.gather_rows);
    if (o->shard.expert_size > 1 && !(o->training && o->hooks.exchange))
        return error_set_code(e, ERROR_CONFIG,
                              "experts divided over %d processes: only by a model that trains and "
                              "can exchange rows",
                              o->shard.expert_size);
    int64_t slots = INT32_MAX / MAX(c->n_experts > 1 ? c->n_experts_used : 1, 1);
    slots -= COMPUTE_ROW_ALIGN * MAX(c->n_experts, 1);
    if (o->B < 1 || o->T < 1 || o->T > slots || o->B > slots / o->T)
        return error_set_code(e, ERROR_CONFIG,
                              "a microbatch of %lld rows of %lld tokens: both must be at least 1, "
                              "their product at most %lld",
                              (long long)o->B, (long long)o->T, (long long)slots);
    return check_shard(c, &o->shard, e);
}

/* The name of a region's line. */
static const char *region_name(const struct model *m, int id)
{
    if (m->training) return REGION_NAMES[id];
    if (id == REGION_WEIGHTS) return "norms and routers (fp32)"; /* and biases */
    if (id != REGION_LINEARS) return REGION_NAMES[id];
    if (m->codes_of) return "weights (as in the file)";
    return compute_act_dtype(m->compute) == COMPUTE_BF16 ? "weights (bf16)" : "weights (fp32)";
}

size_t model_plan_memory(const struct model_config *c, const struct model_options *o,
                         struct model_memory *rows, size_t cap)
{
    struct model m;
    size_t n = 0, copies = 0;
    sketch(&m, c, o, true);
    for (int i = 0; i < REGION_COUNT; i++)
        if (m.regions[i].size && n < cap)
            rows[n++] = (struct model_memory){region_name(&m, i), m.regions[i].size};
    if (m.training) each_product(&m, count_product, &copies);
    if (copies && n < cap) rows[n++] = (struct model_memory){"compute copy of the weights", copies};
    arena_fini(&m.arena);
    return n;
}

size_t model_plan_slot(const struct model_config *c, const struct model_options *o)
{
    struct model m;
    sketch(&m, c, o, true);
    size_t bytes = model_slot_bytes(&m);
    arena_fini(&m.arena);
    return bytes;
}

size_t model_plan_decoder(const struct model_config *c, const struct model_options *o,
                          int64_t positions)
{
    struct model m;
    sketch(&m, c, o, true);
    size_t bytes = model_decoder_bytes(&m, positions);
    arena_fini(&m.arena);
    return bytes;
}

int model_new(const struct model_config *c, const struct model_options *o, model_t **out,
              struct error *e)
{
    *out = NULL;
    TRY(check_options(c, o, e));
    struct model *m = mem_alloc(sizeof(*m));
    sketch(m, c, o, false);
    int rc = model_regions_map(m, m->regions, e);
    if (rc < 0) {
        model_free(m);
        return rc;
    }
    layout(m);
    bind_tensors(m);
    make_linears(m);
    m->codes_of = NULL;
    model_rotate(m);
    *out = m;
    return 0;
}

void model_free(model_t *m)
{
    if (!m) return;
    for (int64_t i = 0; i < m->dims.L; i++)
        for (int id = 0; id < LINEAR_COUNT; id++)
            if (m->layers[i].linears[id]) compute_linear_free(m->layers[i].linears[id]);
    if (m->table != m->head.linear) compute_linear_free(m->table);
    compute_linear_free(m->head.linear);
    model_regions_unmap(m, m->regions);
    arena_fini(&m->arena);
    mem_free(m);
}

const struct param_table *model_params(const model_t *m)
{
    return &m->params;
}

float *model_weights(model_t *m)
{
    return m->weights;
}

float *model_gradients(model_t *m)
{
    return m->gradients;
}

float *model_router_bias(model_t *m)
{
    return m->host.router_bias;
}

void model_weights_changed_rows(model_t *m, size_t first, size_t n)
{
    if (!m->training) return;
    size_t head = m->config.tied_embeddings && m->has_embedding ? 0 : m->params.n_rows - 1;
    if (m->has_head && head - first < n) compute_linear_update(m->head.linear);
    for (int64_t i = 0; i < m->dims.L; i++) {
        const struct model_layer *l = &m->layers[i];
        for (int id = 0; id < LINEAR_COUNT; id++)
            if (l->linears[id] && l->linear_params[id] - first < n)
                compute_linear_update(l->linears[id]);
    }
}

void model_weights_changed(model_t *m)
{
    model_weights_changed_rows(m, 0, m->params.n_rows);
}

void model_put(model_t *m, size_t param, int64_t first, int64_t n, const float *w)
{
    CHECK(param < m->params.n_rows);
    const struct param *p = &m->params.rows[param];
    const struct model_place *to = &m->places[param];
    int64_t width = p->shape[p->n_dims - 1], rows = (int64_t)p->count / width;
    CHECK(first >= 0 && n >= 0 && first + n <= rows);
    float *plain = m->training ? m->weights + p->offset : to->values;
    if (plain) {
        compute_upload(m->compute, plain + first * width, w, (size_t)(n * width) * sizeof(*w));
        return;
    }
    int64_t out = p->n_dims > 1 ? p->shape[p->n_dims - 2] : 1; /* rows of a group */
    while (n > 0) {
        struct compute_linear_rows r = {.part = to->part, .first = first % out, .w = w};
        r.group = (int)(first / out);
        r.n = MIN(n, out - r.first);
        compute_linear_put(to->linear, &r);
        first += r.n;
        n -= r.n;
        w += r.n * width;
    }
}

bool model_keeps_codes(const model_t *m, size_t param)
{
    CHECK(param < m->params.n_rows);
    return !m->training && m->places[param].linear &&
           compute_linear_form(m->places[param].linear, 0);
}

void model_put_codes(model_t *m, size_t param, const struct compute_linear_codes *rows)
{
    CHECK(model_keeps_codes(m, param));
    const struct param *p = &m->params.rows[param];
    const struct model_place *to = &m->places[param];
    struct compute_codes f = *compute_linear_form(to->linear, to->part);
    int64_t in = p->shape[p->n_dims - 1], out = p->shape[p->n_dims - 2];
    int64_t blocks = in / compute_codes_block(&f), halves = f.shared ? in / 256 : blocks;
    for (int64_t i = 0; i < rows->n;) {
        int64_t at = rows->first + i;
        struct compute_linear_codes r = {.group = (int)(at / out),
                                         .part = to->part,
                                         .first = at % out,
                                         .codes = rows->codes + i * in,
                                         .scales = rows->scales + i * halves};
        r.n = MIN(rows->n - i, out - r.first);
        if (f.least) r.leasts = rows->leasts + i * halves;
        if (f.shared) r.scale_steps = rows->scale_steps + i * blocks;
        if (f.shared && f.least) r.least_steps = rows->least_steps + i * blocks;
        compute_linear_put_codes(to->linear, &r);
        i += r.n;
    }
}

void model_copy_weights(model_t *to, model_t *from)
{
    CHECK(from->training && to->params.n_rows == from->params.n_rows);
    for (size_t i = 0; i < to->params.n_rows; i++) {
        const struct param *p = &from->params.rows[i];
        CHECK(p->count == to->params.rows[i].count);
        model_put(to, i, 0, (int64_t)p->count / p->shape[p->n_dims - 1], from->weights + p->offset);
    }
    if (to->dims.E)
        memcpy(to->host.router_bias, from->host.router_bias,
               (size_t)(to->dims.L * to->dims.E) * sizeof(float));
    model_weights_changed(to);
}
