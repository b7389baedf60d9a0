/* compute_cpu_linear_panels.c: linear layers for inference: the weights once, as panels of
 * COMPUTE_PANEL columns of the product (struct compute_panel), which the backend's kernel multiplies.
 *
 * A task is a tile of rows times some panels. One row takes the time of reading the panels; many
 * rows find them in the second-level cache. A long sum is cut into chunks, between which the sums
 * stay in scratch as they are, so that the cut shows in no bit. */
#include "compute/cpu/compute_cpu_internal.h"
#include "compute/core/compute_linear_internal.h"

enum {
    ROWS = 256,        /* of a tile */
    CHUNK = 2048,      /* of the summed dimension; even, as words of bfloat16 are pairs */
    ENOUGH_TASKS = 32, /* panels are put together into tasks while there are more than these, */
    MOST_PANELS = 8    /* up to this */
};

struct panels {
    char *data;
    int64_t panels; /* of a group */
    size_t stride;
};

/* Elements of a panel that hold the first K of the summed dimension. */
static size_t panel_bytes(const compute_t *c, int64_t K)
{
    if (c->dtype == COMPUTE_BF16) K = round_up(K, 2);
    return (size_t)(K * COMPUTE_PANEL) * compute_dtype_size(c->dtype);
}

static int64_t panels_tile_rows(int64_t K)
{
    (void)K;
    return ROWS;
}

static size_t panels_bytes(const compute_t *c, const struct compute_linear_desc *d)
{
    int64_t panels = ceil_div(compute_linear_out(d), COMPUTE_PANEL);
    return (size_t)(d->groups * panels) * panel_bytes(c, d->in);
}

static void *panels_open(compute_linear_t *l)
{
    struct panels *s = mem_alloc(sizeof *s);
    s->panels = ceil_div(l->out, COMPUTE_PANEL);
    s->stride = panel_bytes(l->c, l->d.in);
    s->data = l->d.memory;
    return s;
}

/* The panel of row `row` of W (all parts one below the other) of a group. */
static char *panel_of(const compute_linear_t *l, int64_t group, int64_t row)
{
    const struct panels *s = l->state;
    return s->data + (size_t)(group * s->panels + row / COMPUTE_PANEL) * s->stride;
}

/* ------------------------------------------------------------------ rows of W in and out */

struct put_run {
    compute_linear_t *l;
    const struct compute_linear_rows *r;
    int64_t first; /* row of W, all parts one below the other */
};

/* Task: the rows that lie in one panel. */
static void put_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct put_run *run = ctx;
    compute_linear_t *l = run->l;
    const struct compute_linear_rows *r = run->r;
    int64_t in = l->d.in, panel = run->first / COMPUTE_PANEL + (int64_t)task;
    int64_t from = MAX(run->first, panel * COMPUTE_PANEL);
    int64_t to = MIN(run->first + r->n, (panel + 1) * COMPUTE_PANEL);
    void *data = panel_of(l, r->group, from);
    for (int64_t row = from; row < to; row++) {
        const float *w = r->w + (row - run->first) * in;
        int64_t n = row % COMPUTE_PANEL;
        if (l->c->dtype == COMPUTE_BF16)
            for (int64_t k = 0; k < in; k++)
                ((bf16_t *)data)[((k / 2) * COMPUTE_PANEL + n) * 2 + k % 2] = bf16_store(w[k]);
        else
            for (int64_t k = 0; k < in; k++)
                ((float *)data)[k * COMPUTE_PANEL + n] = w[k];
    }
}

static void panels_put(compute_linear_t *l, const struct compute_linear_rows *r)
{
    struct put_run run = {l, r, l->out_start[r->part] + r->first};
    if (r->n == 0) return;
    int64_t last = run.first + r->n - 1;
    pool_run(l->c->pool, (size_t)(last / COMPUTE_PANEL - run.first / COMPUTE_PANEL + 1), put_task,
             &run);
}

static void panels_embed(const compute_linear_t *l, const struct compute_embed *e, int64_t first,
                         int64_t rows, float *h)
{
    for (int64_t i = first; i < first + rows; i++) {
        const void *data = panel_of(l, 0, e->ids[i]);
        int64_t n = e->ids[i] % COMPUTE_PANEL;
        float *to = h + i * e->D;
        if (l->c->dtype == COMPUTE_BF16)
            for (int64_t k = 0; k < e->D; k++)
                to[k] =
                    e->scale *
                    bf16_load(((const bf16_t *)data)[((k / 2) * COMPUTE_PANEL + n) * 2 + k % 2]);
        else
            for (int64_t k = 0; k < e->D; k++)
                to[k] = e->scale * ((const float *)data)[k * COMPUTE_PANEL + n];
    }
}

/* ------------------------------------------------------------------ rows times weights */

struct panels_run {
    compute_linear_t *l;
    const struct linear_call *k;
    int64_t panels; /* of a task */
    char *scratch;
    size_t stride;
};

/* The finished sums of one panel to Y. */
static void panel_out(const struct panels_run *r, struct linear_tile t, int64_t n, const float *c)
{
    const compute_linear_t *l = r->l;
    int64_t columns = MIN(COMPUTE_PANEL, l->out - n);
    for (int64_t i = 0; i < t.rows; i++, c += COMPUTE_PANEL) {
        int64_t at = (t.row + i) * l->out + n;
        if (r->k->y_dtype == COMPUTE_F32)
            memcpy((float *)r->k->y + at, c, (size_t)columns * sizeof *c);
        else
            l->c->kernels.to_act((size_t)columns, c, act_row_out(l->c, r->k->y, at, 1));
    }
}

static void panels_task(void *ctx, size_t task, int thread)
{
    const struct panels_run *r = ctx;
    const compute_linear_t *l = r->l;
    const struct panels *s = l->state;
    struct linear_tile t = r->k->tiles[(int64_t)task % r->k->n_tiles];
    int64_t first = (int64_t)task / r->k->n_tiles * r->panels;
    float *c = (float *)(void *)(r->scratch + (size_t)thread * r->stride);
    for (int64_t i = first; i < MIN(first + r->panels, s->panels); i++) {
        const char *w = panel_of(l, t.group, i * COMPUTE_PANEL);
        for (int64_t k = 0; k < l->d.in; k += CHUNK) {
            struct compute_panel p = {.rows = t.rows, .ld = l->d.in, .c = c, .add = k > 0};
            p.K = MIN(CHUNK, l->d.in - k);
            p.x = act_row(l->c, r->k->x, t.row * l->d.in + k, 1);
            p.w = w + panel_bytes(l->c, k);
            l->c->kernels.panel(&p);
        }
        panel_out(r, t, i * COMPUTE_PANEL, c);
    }
}

static void panels_rows(compute_linear_t *l, const struct linear_call *k, bool forward)
{
    const struct panels *s = l->state;
    struct panels_run r = {.l = l, .k = k};
    CHECK(forward);
    if (k->n_tiles == 0) return;
    r.panels = MIN(MAX(s->panels * k->n_tiles / ENOUGH_TASKS, 1), MOST_PANELS);
    r.scratch =
        compute_private_scratch(l->c, (size_t)(ROWS * COMPUTE_PANEL) * sizeof(float), &r.stride);
    pool_run(l->c->pool, (size_t)(k->n_tiles * ceil_div(s->panels, r.panels)), panels_task, &r);
}

const struct linear_ops compute_linear_panels = {
    .tile_rows = panels_tile_rows,
    .bytes = panels_bytes,
    .open = panels_open,
    .close = mem_free,
    .rows = panels_rows,
    .put = panels_put,
    .embed = panels_embed,
};
