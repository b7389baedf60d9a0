/* compute_cpu_linear.c: linear layers: arguments, tiles, and the plain implementation.
 *
 * A call's rows are cut, group by group, into tiles of at most ops->tile_rows() rows. Which thread
 * does a tile is left to the pool; what a tile computes is not, so results do not depend on the
 * number of threads.
 *
 * The plain implementation keeps one copy of the weights in the activations' format,
 * [groups, out, in] with the parts of a layer one below the other, and runs the backend's matmul
 * entry on it. It is the definition that the oneDNN implementation is tested against. */
#include "compute/cpu/compute_cpu_dnnl_internal.h"
#include "compute/cpu/compute_cpu_internal.h"
#include "compute/x86/compute_x86_linear_internal.h"

enum { PLAIN_ROWS = 32, PLAIN_OUT = 32 };

static const struct linear_ops linear_plain;

/* Decided by context and description, so that the memory plan can ask before there is a layer. */
static const struct linear_ops *linear_ops_of(const compute_t *c,
                                              const struct compute_linear_desc *d)
{
    if (d->codes[0].bits) return &compute_linear_codes_ops;
#if COMPUTE_X86_KERNELS
    if (c->amx && c->dtype == COMPUTE_BF16) return &compute_x86_linear_amx;
#endif
    if (!compute_linear_trains(d)) return &compute_linear_panels;
    return c->dnnl ? &compute_linear_dnnl : &linear_plain;
}

/* ------------------------------------------------------------------ making one */

size_t compute_cpu_linear_bytes(const compute_t *c, const struct compute_linear_desc *d)
{
    return linear_ops_of(c, d)->bytes(c, d);
}

compute_linear_t *compute_cpu_linear_new(compute_t *c, const struct compute_linear_desc *d)
{
    CHECK(d->groups >= 1 && d->in >= 1 && d->parts >= 1 && d->parts <= COMPUTE_MAX_PARTS);
    CHECK(d->max_rows >= 1 && d->max_rows < INT32_MAX);
    compute_linear_t *l = mem_calloc(1, sizeof *l);
    l->c = c;
    l->d = *d;
    for (int p = 0; p < d->parts; p++) {
        CHECK(d->out[p] >= 1 && !d->master[p] == !compute_linear_trains(d));
        CHECK(!d->codes[p].bits == !d->codes[0].bits && (!d->codes[p].bits || !d->master[p]));
        l->out_start[p + 1] = l->out_start[p] + d->out[p];
    }
    l->out = l->out_start[d->parts];
    CHECK(compute_linear_trains(d) || (d->memory && (uintptr_t)d->memory % 64 == 0));
    l->ops = linear_ops_of(c, d);
    int64_t tile_rows = MIN(l->ops->tile_rows(d->in), l->ops->tile_rows(l->out));
    l->max_tiles = d->max_rows / tile_rows + d->groups;
    l->tiles = mem_alloc((size_t)l->max_tiles * sizeof *l->tiles);
    l->state = l->ops->open(l);
    return l;
}

/* NULL is allowed. */
void compute_cpu_linear_free(compute_linear_t *l)
{
    if (!l) return;
    l->ops->close(l->state);
    mem_free(l->tiles);
    mem_free(l);
}

void compute_cpu_linear_update(compute_linear_t *l)
{
    CHECK(compute_linear_trains(&l->d));
    l->ops->update(l);
}

void compute_cpu_linear_put(compute_linear_t *l, const struct compute_linear_rows *r)
{
    const struct compute_linear_desc *d = &l->d;
    CHECK(!compute_linear_trains(d) && !d->codes[0].bits);
    CHECK(r->group < d->groups && r->part < d->parts);
    CHECK(r->first >= 0 && r->n >= 0 && r->first + r->n <= d->out[r->part]);
    l->ops->put(l, r);
}

const struct compute_codes *compute_cpu_linear_form(const compute_linear_t *l, int part)
{
    return l->d.codes[part].bits ? &l->d.codes[part] : NULL;
}

void compute_cpu_linear_put_codes(compute_linear_t *l, const struct compute_linear_codes *r)
{
    const struct compute_linear_desc *d = &l->d;
    CHECK(d->codes[0].bits && r->group < d->groups && r->part < d->parts);
    CHECK(r->first >= 0 && r->n >= 0 && r->first + r->n <= d->out[r->part]);
    l->ops->put_codes(l, r);
}

struct embed_run {
    const compute_linear_t *l;
    const struct compute_embed *e;
    float *h;
};

/* Task: a token. */
static void linear_embed_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct embed_run *r = ctx;
    r->l->ops->embed(r->l, r->e, (int64_t)task, 1, r->h);
}

void compute_cpu_linear_embed(compute_linear_t *l, const struct compute_embed *e, float *h)
{
    CHECK(!compute_linear_trains(&l->d) && l->d.groups == 1 && l->d.parts == 1);
    struct embed_run r = {l, e, h};
    pool_run(l->c->pool, (size_t)e->M, linear_embed_task, &r);
}

/* ------------------------------------------------------------------ calls */

/* Checks the row ranges and cuts them for a product that sums over K. */
static void linear_cut(compute_linear_t *l, struct compute_rows rows, struct linear_call *k,
                       int64_t K)
{
    const struct compute_linear_desc *d = &l->d;
    CHECK(rows.offset || d->groups == 1);
    l->whole[1] = (int32_t)rows.n;
    k->offset = rows.offset ? rows.offset : l->whole;
    CHECK(k->offset[0] == 0 && k->offset[d->groups] <= rows.n);
    CHECK_MSG(k->offset[d->groups] <= d->max_rows, "%d rows, made for %lld", k->offset[d->groups],
              (long long)d->max_rows);
    int64_t n = 0, tile_rows = l->ops->tile_rows(K);
    for (int g = 0; g < d->groups; g++) {
        int32_t end = k->offset[g + 1];
        CHECK(end >= k->offset[g]);
        CHECK(d->groups == 1 || !compute_linear_trains(d) || end % COMPUTE_ROW_ALIGN == 0);
        for (int32_t row = k->offset[g]; row < end; row += (int32_t)tile_rows) {
            CHECK(n < l->max_tiles);
            l->tiles[n++] = (struct linear_tile){
                .group = g,
                .row = row,
                .rows = (int32_t)MIN(tile_rows, end - row),
            };
        }
    }
    k->tiles = l->tiles;
    k->n_tiles = n;
}

void compute_cpu_linear_forward(compute_linear_t *l, struct compute_rows rows, const void *X,
                                void *Y, enum compute_dtype y_dtype)
{
    struct linear_call k = {.x = X, .y = Y, .y_dtype = y_dtype};
    linear_cut(l, rows, &k, l->d.in);
    l->ops->rows(l, &k, true);
}

void compute_cpu_linear_backward_input(compute_linear_t *l, struct compute_rows rows,
                                       const void *dY, void *dX, enum compute_dtype dx_dtype)
{
    struct linear_call k = {.x = dY, .y = dX, .y_dtype = dx_dtype};
    CHECK(compute_linear_trains(&l->d));
    linear_cut(l, rows, &k, l->out);
    l->ops->rows(l, &k, false);
}

void compute_cpu_linear_backward_weight(compute_linear_t *l, struct compute_rows rows,
                                        const void *dY, const void *X, bool accumulate)
{
    struct linear_call k = {.x = X, .dy = dY, .accumulate = accumulate};
    CHECK(compute_linear_trains(&l->d));
    linear_cut(l, rows, &k, l->d.in);
    l->ops->backward_weight(l, &k);
}

/* ------------------------------------------------------------------ plain implementation */

struct plain_copy {
    void *weights; /* act [groups, out, in] */
    size_t bytes;
};

struct plain_run {
    compute_linear_t *l;
    const struct linear_call *k;
    bool forward;
};

/* W of group g: [out, in]. */
static const void *plain_weight(const compute_linear_t *l, int64_t g)
{
    const struct plain_copy *copy = l->state;
    return act_row(l->c, copy->weights, g * l->out, l->d.in);
}

static int64_t plain_tile_rows(int64_t K)
{
    (void)K;
    return PLAIN_ROWS;
}

static size_t plain_bytes(const compute_t *c, const struct compute_linear_desc *d)
{
    size_t n = (size_t)(d->groups * compute_linear_out(d) * d->in);
    return mem_map_bytes(n * compute_dtype_size(c->dtype));
}

static void *plain_open(compute_linear_t *l)
{
    struct plain_copy *copy = mem_alloc(sizeof *copy);
    copy->bytes = plain_bytes(l->c, &l->d);
    copy->weights = mem_map(copy->bytes);
    if (!copy->weights) mem_exhausted(copy->bytes);
    return copy;
}

static void plain_close(void *state)
{
    struct plain_copy *copy = state;
    mem_unmap(copy->weights, copy->bytes);
    mem_free(copy);
}

/* The parts of a layer lie one below the other, as rows of one matrix. */
static void plain_update(compute_linear_t *l)
{
    const struct compute_linear_desc *d = &l->d;
    struct plain_copy *copy = l->state;
    for (int64_t g = 0; g < d->groups; g++)
        for (int p = 0; p < d->parts; p++) {
            size_t n = (size_t)(d->out[p] * d->in);
            compute_cpu_to_act(
                l->c, d->master[p] + (size_t)g * n, n,
                act_row_out(l->c, copy->weights, g * l->out + l->out_start[p], d->in));
        }
}

/* One tile of rows: Y = X . W^T forward, dX = dY . W backward. */
static void plain_rows_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct plain_run *r = ctx;
    const struct linear_call *k = r->k;
    const compute_linear_t *l = r->l;
    struct linear_tile t = k->tiles[task];
    int64_t K = r->forward ? l->d.in : l->out, N = r->forward ? l->out : l->d.in;
    struct compute_matmul m = {.transpose_b = r->forward, .M = t.rows, .N = N, .K = K, .alpha = 1};
    m.lda = K;
    m.ldb = l->d.in;
    m.ldc = N;
    m.in = l->c->dtype;
    m.out = k->y_dtype;
    m.A = act_row(l->c, k->x, t.row, K);
    m.B = plain_weight(l, t.group);
    m.C = (char *)k->y + (size_t)(t.row * N) * compute_dtype_size(k->y_dtype);
    l->c->kernels.matmul(&m);
}

static void plain_rows(compute_linear_t *l, const struct linear_call *k, bool forward)
{
    struct plain_run r = {l, k, forward};
    pool_run(l->c->pool, (size_t)k->n_tiles, plain_rows_task, &r);
}

/* Task: PLAIN_OUT rows of one part's gradient of one group. */
static void plain_backward_weight_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct plain_run *r = ctx;
    const struct linear_call *k = r->k;
    const compute_linear_t *l = r->l;
    int64_t blocks = ceil_div(l->out, PLAIN_OUT), in = l->d.in;
    int64_t g = (int64_t)task / blocks, o0 = (int64_t)task % blocks * PLAIN_OUT;
    int64_t o1 = MIN(o0 + PLAIN_OUT, l->out), rows = k->offset[g + 1] - k->offset[g];
    struct compute_matmul m = {.transpose_a = true, .N = in, .K = rows, .alpha = 1};
    m.beta = k->accumulate ? 1 : 0;
    m.in = l->c->dtype;
    m.lda = l->out;
    m.ldb = m.ldc = in;
    m.B = act_row(l->c, k->x, k->offset[g], in);
    const void *dy = act_row(l->c, k->dy, k->offset[g], l->out);
    for (int p = 0; p < l->d.parts; p++) {
        int64_t a = MAX(o0, l->out_start[p]), b = MIN(o1, l->out_start[p + 1]);
        if (a >= b || !l->d.grad[p]) continue;
        m.M = b - a;
        m.A = act_row(l->c, dy, a, 1);
        m.C = l->d.grad[p] + (g * l->d.out[p] + a - l->out_start[p]) * in;
        l->c->kernels.matmul(&m);
    }
}

static void plain_backward_weight(compute_linear_t *l, const struct linear_call *k)
{
    struct plain_run r = {.l = l, .k = k};
    pool_run(l->c->pool, (size_t)(l->d.groups * ceil_div(l->out, PLAIN_OUT)),
             plain_backward_weight_task, &r);
}

static const struct linear_ops linear_plain = {
    .tile_rows = plain_tile_rows,
    .bytes = plain_bytes,
    .open = plain_open,
    .close = plain_close,
    .update = plain_update,
    .rows = plain_rows,
    .backward_weight = plain_backward_weight,
};
