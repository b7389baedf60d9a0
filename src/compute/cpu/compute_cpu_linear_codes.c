/* compute_cpu_linear_codes.c: linear layers for inference whose weights are whole numbers in blocks
 * (struct compute_codes): as many bytes as the file of a quantised model has, and its numbers.
 *
 * X is rounded once for a call. A task is a tile of rows times some bands of rows of W, which lie in
 * memory as they are read. One row takes the time of reading the bands; of many rows, those of a tile
 * stay in the second-level cache. */
#include "compute/cpu/compute_cpu_internal.h"
#include "compute/core/compute_codes_internal.h"
#include "compute/core/compute_linear_internal.h"

enum {
    TILE_ELEMENTS = 1 << 17, /* of X in a tile: 256 KiB */
    LEAST_ROWS = 32,
    MOST_ROWS = 256,
    ENOUGH_TASKS = 32, /* bands are put together into tasks while there are more than these, */
    MOST_BANDS = 32,   /* up to this */
    ROUND_TOGETHER = 8 /* rows of a task */
};

struct part {
    int64_t bands; /* of a group */
    size_t at, band_bytes;
};

struct codes {
    uint8_t *data;
    struct part parts[COMPUTE_MAX_PARTS];
    int64_t blocks, bands; /* of a row; of all parts of a group */
};

static int64_t codes_tile_rows(int64_t K)
{
    int64_t rows = TILE_ELEMENTS / K / 8 * 8;
    return MIN(MAX(rows, LEAST_ROWS), MOST_ROWS);
}

/* Lays the parts out; returns the bytes of all. */
static size_t lay_out(const struct compute_linear_desc *d, struct codes *s)
{
    size_t at = 0;
    s->blocks = d->in / CODES_WIDTH;
    s->bands = 0;
    for (int p = 0; p < d->parts; p++) {
        struct part *part = &s->parts[p];
        CHECK(d->in % (d->codes[p].shared ? CODES_SHARED : CODES_WIDTH) == 0);
        part->bands = ceil_div(d->out[p], COMPUTE_BAND);
        part->at = at;
        part->band_bytes = codes_offsets(&d->codes[p], s->blocks).bytes;
        at += (size_t)(d->groups * part->bands) * part->band_bytes;
        s->bands += part->bands;
    }
    return at;
}

static size_t codes_bytes(const compute_t *c, const struct compute_linear_desc *d)
{
    struct codes s;
    (void)c;
    return lay_out(d, &s);
}

static void *codes_open(compute_linear_t *l)
{
    struct codes *s = mem_calloc(1, sizeof *s);
    lay_out(&l->d, s);
    s->data = l->d.memory;
    return s;
}

static struct codes_band band_of(const compute_linear_t *l, int part, int64_t group, int64_t band)
{
    const struct codes *s = l->state;
    const struct part *p = &s->parts[part];
    size_t number = (size_t)(group * p->bands + band);
    return codes_band_at(&l->d.codes[part], s->blocks, s->data + p->at + number * p->band_bytes);
}

/* ------------------------------------------------------------------ rows of W in and out */

struct put_run {
    compute_linear_t *l;
    const struct compute_linear_codes *r;
};

/* Row j of a band. */
static void put_row(const struct compute_codes *f, int64_t in, const struct codes_band *b,
                    int64_t j, const struct compute_linear_codes *from)
{
    int64_t block = compute_codes_block(f), unit = f->shared ? CODES_SHARED : block;
    for (int64_t k = 0; k < in; k++)
        codes_set(f->bits, b->codes, k, j, from->codes[k]);
    for (int64_t i = 0; i < in / unit; i++) {
        b->scales[i * COMPUTE_BAND + j] = from->scales[i];
        if (f->least) b->leasts[i * COMPUTE_BAND + j] = from->leasts[i];
    }
    for (int64_t i = 0; f->shared && i < in / block; i++) {
        b->scale_steps[i * COMPUTE_BAND + j] = from->scale_steps[i];
        if (f->least) b->least_steps[i * COMPUTE_BAND + j] = from->least_steps[i];
    }
}

/* Task: the rows that lie in one band. */
static void put_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct put_run *run = ctx;
    const compute_linear_t *l = run->l;
    const struct compute_linear_codes *r = run->r;
    const struct compute_codes *f = &l->d.codes[r->part];
    int64_t in = l->d.in, band = r->first / COMPUTE_BAND + (int64_t)task;
    int64_t block = compute_codes_block(f), unit = f->shared ? CODES_SHARED : block;
    int64_t from = MAX(r->first, band * COMPUTE_BAND);
    int64_t to = MIN(r->first + r->n, (band + 1) * COMPUTE_BAND);
    struct codes_band b = band_of(l, r->part, r->group, band);
    for (int64_t row = from; row < to; row++) {
        int64_t i = row - r->first;
        struct compute_linear_codes one = {.codes = r->codes + i * in,
                                           .scales = r->scales + i * (in / unit)};
        if (f->least) one.leasts = r->leasts + i * (in / unit);
        if (f->shared) one.scale_steps = r->scale_steps + i * (in / block);
        if (f->shared && f->least) one.least_steps = r->least_steps + i * (in / block);
        put_row(f, in, &b, row % COMPUTE_BAND, &one);
    }
}

static void codes_put(compute_linear_t *l, const struct compute_linear_codes *r)
{
    struct put_run run = {l, r};
    if (r->n == 0) return;
    int64_t last = r->first + r->n - 1;
    pool_run(l->c->pool, (size_t)(last / COMPUTE_BAND - r->first / COMPUTE_BAND + 1), put_task,
             &run);
}

/* The numbers are those that the file's own conversion to floats gives. */
static void codes_embed(const compute_linear_t *l, const struct compute_embed *e, int64_t first,
                        int64_t rows, float *h)
{
    const struct compute_codes *f = &l->d.codes[0];
    for (int64_t i = first; i < first + rows; i++) {
        int64_t j = e->ids[i] % COMPUTE_BAND;
        struct codes_band b = band_of(l, 0, 0, e->ids[i] / COMPUTE_BAND);
        for (int64_t k = 0; k < e->D; k++) {
            int code = (int)codes_get(f->bits, b.codes, k, j) - f->zero;
            float w = codes_scale(f, &b, k, j) * (float)code + codes_least(f, &b, k, j);
            h[i * e->D + k] = e->scale * w;
        }
    }
}

/* ------------------------------------------------------------------ rows times weights */

struct codes_run {
    compute_linear_t *l;
    const struct linear_call *k;
    struct compute_rounded x;
    int64_t rows, bands; /* of the call; of a task */
    char *scratch;       /* [MOST_ROWS, COMPUTE_BAND] of each thread */
    size_t stride;
};

static struct compute_rounded rounded_at(const struct compute_rounded *x, int64_t blocks,
                                         int64_t row)
{
    int64_t at = row * blocks;
    return (struct compute_rounded){x->x + at * CODES_WIDTH, x->scales + at, x->sums + at,
                                    x->parts + 2 * at};
}

/* Task: some rows of X. */
static void round_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct codes_run *r = ctx;
    const struct codes *s = r->l->state;
    int64_t row = (int64_t)task * ROUND_TOGETHER, n = MIN(ROUND_TOGETHER, r->rows - row);
    struct compute_rounded to = rounded_at(&r->x, s->blocks, row);
    r->l->c->kernels.round(n * s->blocks, act_row(r->l->c, r->k->x, row, r->l->d.in), &to);
}

static void round_rows(struct codes_run *r)
{
    const struct codes *s = r->l->state;
    int64_t n = r->rows * s->blocks;
    char *data = compute_shared_scratch(r->l->c, (size_t)n * (CODES_WIDTH * sizeof(int16_t) + 16));
    r->x.x = (int16_t *)(void *)data;
    r->x.scales = (float *)(void *)(r->x.x + n * CODES_WIDTH);
    r->x.sums = r->x.scales + n;
    r->x.parts = (int32_t *)(void *)(r->x.sums + n);
    pool_run(r->l->c->pool, (size_t)ceil_div(r->rows, ROUND_TOGETHER), round_task, r);
}

/* A band of a part to its columns of Y: at once where Y is such, else by scratch. */
static void run_band(const struct codes_run *r, struct linear_tile t, int part, int64_t band,
                     float *scratch)
{
    const compute_linear_t *l = r->l;
    const struct codes *s = l->state;
    int64_t columns = MIN(COMPUTE_BAND, l->d.out[part] - band * COMPUTE_BAND);
    int64_t column = l->out_start[part] + band * COMPUTE_BAND, at = t.row * l->out + column;
    bool direct = r->k->y_dtype == COMPUTE_F32 && columns == COMPUTE_BAND;
    struct compute_band b = {.form = &l->d.codes[part], .rows = t.rows, .blocks = s->blocks};
    b.codes = band_of(l, part, t.group, band).codes;
    b.x = rounded_at(&r->x, s->blocks, t.row);
    b.c = direct ? (float *)r->k->y + at : scratch;
    b.ldc = direct ? l->out : COMPUTE_BAND;
    l->c->kernels.band(&b);
    for (int64_t i = 0; i < t.rows && !direct; i++, scratch += COMPUTE_BAND, at += l->out) {
        if (r->k->y_dtype == COMPUTE_F32)
            memcpy((float *)r->k->y + at, scratch, (size_t)columns * sizeof *scratch);
        else
            l->c->kernels.to_act((size_t)columns, scratch, act_row_out(l->c, r->k->y, at, 1));
    }
}

/* Task: a tile of rows, and some bands of all parts one after the other. */
static void codes_task(void *ctx, size_t task, int thread)
{
    const struct codes_run *r = ctx;
    const struct codes *s = r->l->state;
    struct linear_tile t = r->k->tiles[(int64_t)task % r->k->n_tiles];
    int64_t first = (int64_t)task / r->k->n_tiles * r->bands;
    int64_t end = MIN(first + r->bands, s->bands), before = 0;
    float *scratch = (float *)(void *)(r->scratch + (size_t)thread * r->stride);
    for (int part = 0; part < r->l->d.parts; before += s->parts[part++].bands)
        for (int64_t i = MAX(first, before); i < MIN(end, before + s->parts[part].bands); i++)
            run_band(r, t, part, i - before, scratch);
}

static void codes_rows(compute_linear_t *l, const struct linear_call *k, bool forward)
{
    const struct codes *s = l->state;
    struct codes_run r = {.l = l, .k = k, .rows = k->offset[l->d.groups]};
    CHECK(forward);
    if (k->n_tiles == 0) return;
    round_rows(&r);
    r.bands = MIN(MAX(s->bands * k->n_tiles / ENOUGH_TASKS, 1), MOST_BANDS);
    r.scratch = compute_private_scratch(l->c, (size_t)(MOST_ROWS * COMPUTE_BAND) * sizeof(float),
                                        &r.stride);
    pool_run(l->c->pool, (size_t)(k->n_tiles * ceil_div(s->bands, r.bands)), codes_task, &r);
}

const struct linear_ops compute_linear_codes_ops = {
    .tile_rows = codes_tile_rows,
    .bytes = codes_bytes,
    .open = codes_open,
    .close = mem_free,
    .rows = codes_rows,
    .put_codes = codes_put,
    .embed = codes_embed,
};
