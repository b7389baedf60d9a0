/* compute_cpu_linear_dnnl.c: linear layers by oneDNN.
 *
 * Forward and backward_input run one product per row tile: ROWS rows of X (or dY) times the whole
 * packed weight. Weights are kept twice, packed for either direction, since the packed form of W
 * is not that of its transpose. The last tile of a group is shorter; expert groups are multiples
 * of COMPUTE_ROW_ALIGN, so ROWS / COMPUTE_ROW_ALIGN shapes cover all of theirs, made on the first
 * call; with one group any number of rows is allowed and its remainder is made when first met.
 *
 * The weight's gradient: a task owns OUT rows of one part's gradient and adds TOKENS tokens at a
 * time, in order, so the fp32 sums stay in the cache between the pieces. */
#include "compute/cpu/compute_cpu_dnnl_internal.h"

enum { ROWS = 256, OUT = 128, TOKENS = 256 };

/* One direction's packed weights: [groups] blocks of `bytes`, `stride` apart. */
struct packed {
    struct dnnl_product *maker;
    char *data;
    size_t stride;
};

struct dnnl_linear {
    struct packed forward, backward;
    int64_t groups;
};

/* Y = X . W^T forward, dX = dY . W backward, W [out, in], for so many rows. */
static struct dnnl_product *row_product(compute_linear_t *l, bool forward, int64_t rows,
                                        enum compute_dtype result)
{
    int64_t K = forward ? l->d.in : l->out, N = forward ? l->out : l->d.in;
    struct product_key k = {.M = rows, .N = N, .K = K, .a_row = K, .a_col = 1, .ldc = N};
    k.b_row = forward ? 1 : l->d.in;
    k.b_col = forward ? l->d.in : 1;
    k.in = l->c->dtype;
    k.out = result;
    k.alpha = 1;
    k.b_packed = true;
    return compute_dnnl_product(l->c, &k);
}

/* ------------------------------------------------------------------ the compute copies */

static int64_t dnnl_tile_rows(int64_t K)
{
    (void)K;
    return ROWS;
}

static size_t dnnl_bytes(const compute_t *c, const struct compute_linear_desc *d)
{
    /* A packed copy pads widths to whole blocks of at most 64. */
    int64_t out = round_up(compute_linear_out(d), 64), in = round_up(d->in, 64);
    return 2 * mem_map_bytes((size_t)(d->groups * out * in) * compute_dtype_size(c->dtype));
}

/* The packed form does not depend on the rows, so the product that makes it may be of any number.
 * */
static void packed_open(struct packed *p, compute_linear_t *l, bool forward)
{
    p->maker = row_product(l, forward, MIN(ROWS, l->d.max_rows), l->c->dtype);
    p->stride = (size_t)round_up((int64_t)compute_dnnl_packed_bytes(p->maker), 64);
    size_t bytes = p->stride * (size_t)l->d.groups;
    p->data = mem_map(bytes);
    if (!p->data) mem_exhausted(bytes);
}

static void *dnnl_open(compute_linear_t *l)
{
    struct dnnl_linear *s = mem_calloc(1, sizeof *s);
    s->groups = l->d.groups;
    packed_open(&s->forward, l, true);
    packed_open(&s->backward, l, false);
    return s;
}

static void dnnl_close(void *state)
{
    struct dnnl_linear *s = state;
    mem_unmap(s->forward.data, s->forward.stride * (size_t)s->groups);
    mem_unmap(s->backward.data, s->backward.stride * (size_t)s->groups);
    mem_free(s);
}

struct repack {
    compute_linear_t *l;
    char *scratch;
    size_t stride, plain_bytes;
};

/* Task: one direction's packed form of one group, from its parts one below the other in the
 * activations' format. */
static void repack_task(void *ctx, size_t task, int thread)
{
    const struct repack *r = ctx;
    compute_linear_t *l = r->l;
    struct dnnl_linear *s = l->state;
    size_t g = task / 2;
    const struct packed *to = task % 2 == 0 ? &s->forward : &s->backward;
    char *plain = r->scratch + (size_t)thread * r->stride;
    for (int p = 0; p < l->d.parts; p++) {
        size_t n = (size_t)(l->d.out[p] * l->d.in);
        l->c->kernels.to_act(n, l->d.master[p] + g * n,
                             act_row_out(l->c, plain, l->out_start[p], l->d.in));
    }
    compute_dnnl_pack(to->maker, thread, plain, to->data + g * to->stride, plain + r->plain_bytes);
}

static void dnnl_update(compute_linear_t *l)
{
    struct dnnl_linear *s = l->state;
    struct repack r = {.l = l};
    r.plain_bytes =
        (size_t)round_up(l->out * l->d.in * (int64_t)compute_dtype_size(l->c->dtype), 64);
    size_t work =
        MAX(compute_dnnl_scratch(s->forward.maker), compute_dnnl_scratch(s->backward.maker));
    r.scratch = compute_private_scratch(l->c, r.plain_bytes + work, &r.stride);
    pool_run(l->c->pool, 2 * (size_t)l->d.groups, repack_task, &r);
}

/* ------------------------------------------------------------------ row tiles */

struct row_run {
    compute_linear_t *l;
    const struct linear_call *k;
    const struct packed *weights;
    int64_t in, out;                         /* widths of k->x and of k->y */
    struct dnnl_product *products[ROWS + 1]; /* by rows; NULL: no such tile */
    size_t scratch_bytes;                    /* that any of them needs */
    char *scratch;
    size_t stride;
};

static void row_task(void *ctx, size_t task, int thread)
{
    const struct row_run *r = ctx;
    const struct linear_call *k = r->k;
    struct linear_tile t = k->tiles[task];
    compute_dnnl_run(r->products[t.rows], thread, act_row(r->l->c, k->x, t.row, r->in),
                     r->weights->data + (size_t)t.group * r->weights->stride,
                     (char *)k->y + (size_t)(t.row * r->out) * compute_dtype_size(k->y_dtype),
                     r->scratch + (size_t)thread * r->stride);
}

/* On the thread that runs the operation: tasks may only find products. */
static void prepare_rows(struct row_run *r, bool forward, int64_t rows)
{
    if (r->products[rows]) return;
    r->products[rows] = row_product(r->l, forward, rows, r->k->y_dtype);
    r->scratch_bytes = MAX(r->scratch_bytes, compute_dnnl_scratch(r->products[rows]));
}

static void dnnl_rows(compute_linear_t *l, const struct linear_call *k, bool forward)
{
    const struct dnnl_linear *s = l->state;
    struct row_run r = {.l = l, .k = k, .weights = forward ? &s->forward : &s->backward};
    r.in = forward ? l->d.in : l->out;
    r.out = forward ? l->out : l->d.in;
    /* Every remainder an expert may have, so that a later step does not meet a new one. */
    for (int64_t rows = COMPUTE_ROW_ALIGN; l->d.groups > 1 && rows <= ROWS;
         rows += COMPUTE_ROW_ALIGN)
        prepare_rows(&r, forward, rows);
    for (int64_t i = 0; i < k->n_tiles; i++)
        prepare_rows(&r, forward, k->tiles[i].rows);
    r.scratch = compute_private_scratch(l->c, r.scratch_bytes, &r.stride);
    pool_run(l->c->pool, (size_t)k->n_tiles, row_task, &r);
}

/* ------------------------------------------------------------------ the weight's gradient */

struct weight_run {
    compute_linear_t *l;
    const struct linear_call *k;
    int64_t blocks[COMPUTE_MAX_PARTS + 1]; /* tasks of a group before each part */
    char *scratch;
    size_t stride;
};

/* `out` rows of a gradient (+)= dY^T . X over so many tokens. */
static struct dnnl_product *weight_product(compute_linear_t *l, int64_t out, int64_t tokens,
                                           bool add)
{
    struct product_key k = {.M = out, .N = l->d.in, .K = tokens, .a_row = 1, .a_col = l->out};
    k.b_row = k.ldc = l->d.in;
    k.b_col = 1;
    k.in = l->c->dtype;
    k.out = COMPUTE_F32;
    k.alpha = 1;
    k.beta = add ? 1 : 0;
    return compute_dnnl_product(l->c, &k);
}

/* Task: OUT rows of one part of one group. Products were all made before: here they are found. */
static void weight_task(void *ctx, size_t task, int thread)
{
    const struct weight_run *r = ctx;
    compute_linear_t *l = r->l;
    const struct linear_call *k = r->k;
    int64_t per_group = r->blocks[l->d.parts], g = (int64_t)task / per_group;
    int64_t block = (int64_t)task % per_group;
    int p = 0;
    while (block >= r->blocks[p + 1])
        p++;
    if (!l->d.grad[p]) return;
    int64_t o = (block - r->blocks[p]) * OUT, rows = MIN(OUT, l->d.out[p] - o);
    float *grad = l->d.grad[p] + (g * l->d.out[p] + o) * l->d.in;
    int64_t begin = k->offset[g], end = k->offset[g + 1];
    if (begin == end && !k->accumulate) memset(grad, 0, (size_t)(rows * l->d.in) * sizeof *grad);
    for (int64_t t = begin; t < end; t += TOKENS) {
        struct dnnl_product *product =
            weight_product(l, rows, MIN(TOKENS, end - t), k->accumulate || t > begin);
        const void *dy = act_row(l->c, k->dy, t * l->out + l->out_start[p] + o, 1);
        compute_dnnl_run(product, thread, dy, act_row(l->c, k->x, t, l->d.in), grad,
                         r->scratch + (size_t)thread * r->stride);
    }
}

/* Makes what a token count needs, for every height of a block; returns the scratch they take. */
static size_t prepare_weight(compute_linear_t *l, int64_t tokens)
{
    size_t scratch = 0;
    for (int p = 0; p < l->d.parts; p++) {
        int64_t heights[] = {MIN(OUT, l->d.out[p]), l->d.out[p] % OUT};
        for (int h = 0; h < 2 && l->d.grad[p]; h++)
            for (int add = 0; add < 2 && heights[h] > 0; add++)
                scratch =
                    MAX(scratch, compute_dnnl_scratch(weight_product(l, heights[h], tokens, add)));
    }
    return scratch;
}

static void dnnl_backward_weight(compute_linear_t *l, const struct linear_call *k)
{
    struct weight_run r = {.l = l, .k = k};
    size_t scratch = 0;
    for (int p = 0; p < l->d.parts; p++)
        r.blocks[p + 1] = r.blocks[p] + ceil_div(l->d.out[p], OUT);
    if (l->d.groups > 1)
        for (int64_t tokens = COMPUTE_ROW_ALIGN; tokens <= TOKENS; tokens += COMPUTE_ROW_ALIGN)
            scratch = MAX(scratch, prepare_weight(l, tokens));
    else {
        int64_t rows = k->offset[1];
        if (rows >= TOKENS) scratch = prepare_weight(l, TOKENS);
        if (rows % TOKENS) scratch = MAX(scratch, prepare_weight(l, rows % TOKENS));
    }
    r.scratch = compute_private_scratch(l->c, scratch, &r.stride);
    pool_run(l->c->pool, (size_t)(l->d.groups * r.blocks[l->d.parts]), weight_task, &r);
}

const struct linear_ops compute_linear_dnnl = {
    .tile_rows = dnnl_tile_rows,
    .bytes = dnnl_bytes,
    .open = dnnl_open,
    .close = dnnl_close,
    .update = dnnl_update,
    .rows = dnnl_rows,
    .backward_weight = dnnl_backward_weight,
};
