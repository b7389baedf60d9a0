/* compute_x86_linear_amx.c: linear layers in bfloat16 by AMX tiles: the packed weights, forward
 * and backward_input (the weight's gradient is in compute_x86_gradient_amx.c).
 *
 * Weights are kept packed for both directions, as bands of 32 columns of the product (see
 * compute_x86_product_internal.h). A task is a tile of rows times a range of columns: it packs its
 * rows into L2-sized scratch, then goes over the range 64 columns at a time, all rows against one
 * pair of bands before the next. Tasks of one range follow each other, so that its weights, which
 * every tile of rows needs, are still in L3. Where the summed dimension is long, it is cut into
 * chunks and the sums stay in scratch between them. All sizes follow from shapes alone. */
#include "compute/x86/compute_x86_linear_internal.h"
#include "compute/x86/compute_x86_product_internal.h"

enum {
    LONG_SUM = 2048,       /* beyond it a row tile is halved, to stay within half of L2 */
    LONGEST_SUM = 3072,    /* beyond it the sum is cut into chunks ... */
    CHUNK = 1024,          /* ... of this length, ... */
    CHUNKED_RANGE = 768,   /* and a task's columns are so few that their sums fit in L2 */
    RANGE = 2048,          /* columns of a task otherwise */
    SMALLEST_RANGE = 256,  /* but fewer, down to this, where there would be */
    ENOUGH_TASKS = 16,     /* less than so many tasks; */
    CHUNKED_TASKS = 8,     /* long sums read all of their rows again for every range */
    PAIR = 64,             /* columns done together: two bands */
    STREAM_BYTES = 1 << 20 /* a result this large will not be in the cache when it is read */
};

/* ------------------------------------------------------------------ packed weights */

/* B [K, N] of every group: bands of 32 columns, K / 32 steps each. */
struct packed {
    bf16_t *data;
    int64_t steps, bands, stride; /* stride: elements per group */
    size_t bytes;
};

struct amx_linear {
    struct packed forward, backward; /* W^T [in, out], W [out, in] */
};

static struct packed packed_shape(int64_t groups, int64_t K, int64_t N)
{
    struct packed p = {.steps = ceil_div(K, 32), .bands = ceil_div(N, BAND)};
    p.stride = p.steps * p.bands * STEP;
    p.bytes = (size_t)(groups * p.stride) * sizeof *p.data;
    return p;
}

static size_t amx_bytes(const compute_t *c, const struct compute_linear_desc *d)
{
    (void)c;
    int64_t out = compute_linear_out(d);
    size_t forward = packed_shape(d->groups, d->in, out).bytes;
    if (!compute_linear_trains(d)) return forward;
    return mem_map_bytes(forward) + mem_map_bytes(packed_shape(d->groups, out, d->in).bytes);
}

static void packed_map(struct packed *p)
{
    p->data = mem_map(p->bytes);
    if (!p->data) mem_exhausted(p->bytes);
}

static void *amx_open(compute_linear_t *l)
{
    struct amx_linear *s = mem_calloc(1, sizeof *s);
    s->forward = packed_shape(l->d.groups, l->d.in, l->out);
    s->backward = packed_shape(l->d.groups, l->out, l->d.in);
    s->forward.data = l->d.memory;
    if (!compute_linear_trains(&l->d)) return s;
    packed_map(&s->forward);
    packed_map(&s->backward);
    return s;
}

static void amx_close(void *state)
{
    struct amx_linear *s = state;
    if (s->backward.data) {
        mem_unmap(s->forward.data, s->forward.bytes);
        mem_unmap(s->backward.data, s->backward.bytes);
    }
    mem_free(s);
}

struct repack {
    compute_linear_t *l;
    char *scratch;
    size_t stride;
};

/* 32 rows of W (all parts one below the other) of group g from row o, as bfloat16 [32, width];
 * zeros behind the last. */
static void take_rows(const compute_linear_t *l, int64_t g, int64_t o, int64_t width, bf16_t *to)
{
    const struct compute_linear_desc *d = &l->d;
    int p = 0;
    for (int64_t r = o; r < o + 32; r++, to += width) {
        while (p < d->parts && r >= l->out_start[p + 1])
            p++;
        if (p == d->parts) {
            memset(to, 0, (size_t)width * sizeof *to);
            continue;
        }
        const float *w = d->master[p] + (g * d->out[p] + r - l->out_start[p]) * d->in;
        for (int64_t i = 0; i < width; i += 32)
            _mm512_store_si512(to + i,
                               (__m512i)_mm512_cvtne2ps_pbh(v_load_n(w + i + 16, d->in - i - 16),
                                                            v_load_n(w + i, d->in - i)));
    }
}

/* One step of 32 columns of the taken rows in the forward form: tile h has, for its 16 columns of
 * the product (rows of W), pairs of the 32 inputs. */
INLINE void pack_forward_step(const bf16_t *rows, int64_t width, bf16_t *to)
{
    for (int h = 0; h < 2; h++) {
        vf tile[16];
        UNROLL
        for (int i = 0; i < 16; i++)
            tile[i] = _mm512_castsi512_ps(_mm512_load_si512(rows + (16 * h + i) * width));
        v_transpose(tile);
        tiles_put(tile, to + h * TILE);
    }
}

/* Task: 32 rows of W of one group, to both packed forms: a whole band of the forward form, a step
 * of every band of the backward form. */
static void repack_task(void *ctx, size_t task, int thread)
{
    const struct repack *r = ctx;
    const compute_linear_t *l = r->l;
    const struct amx_linear *s = l->state;
    int64_t bands = s->forward.bands, g = (int64_t)task / bands, band = (int64_t)task % bands;
    int64_t steps = s->forward.steps, width = steps * 32;
    bf16_t *rows = (bf16_t *)(void *)(r->scratch + (size_t)thread * r->stride);
    bf16_t *step = rows + 32 * width;
    take_rows(l, g, band * BAND, width, rows);
    bf16_t *forward = s->forward.data + g * s->forward.stride + band * steps * STEP;
    bf16_t *backward = s->backward.data + g * s->backward.stride + band * STEP;
    for (int64_t i = 0; i < steps; i++) {
        pack_forward_step(rows + i * 32, width, step);
        stream_copy(step, forward + i * STEP, STEP * sizeof *step);
        pack_pairs(rows + i * 32, width, 32, 32, 0, step);
        stream_copy(step, backward + i * s->backward.steps * STEP, STEP * sizeof *step);
    }
    _mm_sfence();
}

static void amx_update(compute_linear_t *l)
{
    struct amx_linear *s = l->state;
    struct repack r = {.l = l};
    size_t elements = (size_t)(s->forward.steps * 32 * 32 + STEP);
    r.scratch = compute_private_scratch(l->c, elements * sizeof(bf16_t), &r.stride);
    pool_run(l->c->pool, (size_t)(l->d.groups * s->forward.bands), repack_task, &r);
}

/* ------------------------------------------------------------------ inference */

/* The place of element k of row `row` of W (all parts one below the other) in the forward form: see
 * pack_forward_step. */
INLINE bf16_t *packed_at(const struct packed *p, int64_t group, int64_t row, int64_t k)
{
    bf16_t *step = p->data + group * p->stride + (row / BAND * p->steps + k / 32) * STEP;
    return step + row % BAND / 16 * TILE + k % 32 / 2 * 32 + row % 16 * 2 + k % 2;
}

struct put_run {
    compute_linear_t *l;
    const struct compute_linear_rows *r;
};

/* Task: a row. */
static void put_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct put_run *run = ctx;
    compute_linear_t *l = run->l;
    const struct amx_linear *s = l->state;
    const struct compute_linear_rows *r = run->r;
    int64_t row = l->out_start[r->part] + r->first + (int64_t)task;
    const float *w = r->w + (int64_t)task * l->d.in;
    for (int64_t k = 0; k < l->d.in; k++)
        *packed_at(&s->forward, r->group, row, k) = bf16_store(w[k]);
}

static void amx_put(compute_linear_t *l, const struct compute_linear_rows *r)
{
    struct put_run run = {l, r};
    pool_run(l->c->pool, (size_t)r->n, put_task, &run);
}

static void amx_embed(const compute_linear_t *l, const struct compute_embed *e, int64_t first,
                      int64_t rows, float *h)
{
    const struct amx_linear *s = l->state;
    for (int64_t i = first; i < first + rows; i++)
        for (int64_t k = 0; k < e->D; k++)
            h[i * e->D + k] = e->scale * bf16_load(*packed_at(&s->forward, 0, e->ids[i], k));
}

/* ------------------------------------------------------------------ rows times weights */

struct row_run {
    compute_linear_t *l;
    const struct linear_call *k;
    const struct packed *w;
    int64_t K, N, range, chunk;  /* columns of a task; length of a chunk of K */
    enum drain_kind whole, part; /* of a full pair of bands, of a narrower one */
    char *scratch;
    size_t stride;
    int64_t a_elements; /* of the packed rows at the start of a thread's scratch */
};

/* One task on its way. */
struct row_job {
    const struct row_run *run;
    struct linear_tile tile;
    const bf16_t *a, *b; /* packed rows; bands of the group */
    float *c;            /* sums: two blocks in turn, or all of the range's */
    int64_t n0, n1;      /* the range of columns */
    int64_t k0, steps;   /* the chunk */
    bool first, last;    /* chunk */
    struct beside beside;
};

/* The sums of rows [32 m, + 32) and columns [n, + 64): contiguous [32, 64]. */
static float *job_block(const struct row_job *j, int64_t m, int64_t n)
{
    int64_t bands = ceil_div(j->tile.rows, BAND);
    if (j->first && j->last) return j->c + (m + n / PAIR * bands) % 2 * (BAND * PAIR);
    return j->c + ((n - j->n0) / PAIR * bands + m) * (BAND * PAIR);
}

static void job_drain(struct row_job *j, int64_t m, int64_t n, const float *block)
{
    const struct row_run *r = j->run;
    const struct linear_call *k = r->k;
    int64_t size = (int64_t)compute_dtype_size(k->y_dtype), columns = MIN(PAIR, r->N - n);
    drain_all(&j->beside.drain);
    j->beside.drain = (struct drain){
        .kind = columns == PAIR ? r->whole : r->part,
        .from = block,
        .from_ld = PAIR,
        .to = (char *)k->y + ((j->tile.row + m * BAND) * r->N + n) * size,
        .to_ld = r->N * size,
        .rows = (int)MIN(BAND, j->tile.rows - m * BAND),
        .columns = (int)columns,
        .alpha = 1,
    };
}

/* All rows of the tile against columns [n, n + 64), over one chunk of K. */
static void job_pair(struct row_job *j, int64_t n)
{
    int64_t bands = ceil_div(j->tile.rows, BAND), band_b = j->run->w->steps * STEP;
    const bf16_t *b = j->b + n / BAND * band_b + j->k0 / 32 * STEP;
    int64_t halves = MIN(2, ceil_div(j->run->N - n, BAND));
    /* The next pair's part of this chunk, spread over this pair's steps: first one band's, then
     * the other's. */
    j->beside.ahead = (const char *)(b + 2 * band_b);
    j->beside.ahead_step = ceil_div(BAND, bands);
    for (int64_t m = 0; m < bands; m++) {
        float *block = job_block(j, m, n);
        const bf16_t *a = j->a + m * j->steps * STEP;
        for (int64_t h = 0; h < halves; h++) {
            float *c = block + h * BAND;
            if (2 * (m * halves + h) == bands * halves)
                j->beside.ahead = (const char *)(b + 3 * band_b);
            if (j->first)
                tiles_zero();
            else
                tiles_load(c, PAIR);
            block_multiply(j->steps, a, b + h * band_b, &j->beside);
            tiles_store(c, PAIR);
        }
        if (j->last) job_drain(j, m, n, block);
    }
}

static void row_task(void *ctx, size_t task, int thread)
{
    const struct row_run *r = ctx;
    struct row_job j = {.run = r, .tile = r->k->tiles[(int64_t)task % r->k->n_tiles]};
    bf16_t *a = (bf16_t *)(void *)(r->scratch + (size_t)thread * r->stride);
    j.a = a;
    j.c = (float *)(void *)(a + r->a_elements);
    j.b = r->w->data + j.tile.group * r->w->stride;
    j.n0 = (int64_t)task / r->k->n_tiles * r->range;
    j.n1 = MIN(j.n0 + r->range, r->N);
    const bf16_t *x = (const bf16_t *)r->k->x + j.tile.row * r->K;
    tiles_begin();
    for (j.k0 = 0; j.k0 < r->K; j.k0 += r->chunk) {
        int64_t length = MIN(r->chunk, r->K - j.k0);
        j.steps = ceil_div(length, 32);
        j.first = j.k0 == 0;
        j.last = j.k0 + length == r->K;
        pack_rows(x + j.k0, r->K, j.tile.rows, length, a);
        for (int64_t n = j.n0; n < j.n1; n += PAIR)
            job_pair(&j, n);
    }
    drain_all(&j.beside.drain);
    tiles_end();
    _mm_sfence();
}

static int64_t amx_tile_rows(int64_t K)
{
    return K > LONG_SUM && K <= LONGEST_SUM ? 128 : 256;
}

/* Whole lines may be written past the cache where rows begin on one and the result is large. */
static void choose_drains(struct row_run *r)
{
    const struct linear_call *k = r->k;
    size_t size = compute_dtype_size(k->y_dtype);
    int64_t rows = k->offset[r->l->d.groups];
    bool stream = (uintptr_t)k->y % LINE == 0 && (size_t)r->N * size % LINE == 0 &&
                  (size_t)(rows * r->N) * size >= STREAM_BYTES;
    r->part = k->y_dtype == COMPUTE_BF16 ? DRAIN_BF16 : DRAIN_F32;
    r->whole = r->part;
    if (stream) r->whole = k->y_dtype == COMPUTE_BF16 ? DRAIN_BF16_STREAM : DRAIN_F32_STREAM;
}

static void amx_rows(compute_linear_t *l, const struct linear_call *k, bool forward)
{
    if (k->n_tiles == 0) return;
    const struct amx_linear *s = l->state;
    int64_t K = forward ? l->d.in : l->out, N = forward ? l->out : l->d.in;
    struct row_run r = {.l = l, .k = k, .w = forward ? &s->forward : &s->backward, .K = K, .N = N};
    bool chunked = K > LONGEST_SUM;
    r.chunk = chunked ? CHUNK : K;
    int64_t ranges = ceil_div(N, chunked ? CHUNKED_RANGE : RANGE);
    int64_t enough = chunked ? CHUNKED_TASKS : ENOUGH_TASKS;
    while (k->n_tiles * ranges < enough && ceil_div(N, ranges + 1) >= SMALLEST_RANGE)
        ranges++;
    r.range = round_up(ceil_div(N, ranges), PAIR);
    ranges = ceil_div(N, r.range);
    choose_drains(&r);
    int64_t rows = amx_tile_rows(K);
    r.a_elements = rows * round_up(r.chunk, 32) + STEP; /* the last step prefetches one more */
    int64_t sums = chunked ? rows * r.range : 2 * BAND * PAIR;
    r.scratch = compute_private_scratch(
        l->c, (size_t)r.a_elements * sizeof(bf16_t) + (size_t)sums * sizeof(float), &r.stride);
    pool_run(l->c->pool, (size_t)(k->n_tiles * ranges), row_task, &r);
}

const struct linear_ops compute_x86_linear_amx = {
    .tile_rows = amx_tile_rows,
    .bytes = amx_bytes,
    .open = amx_open,
    .close = amx_close,
    .update = amx_update,
    .rows = amx_rows,
    .put = amx_put,
    .embed = amx_embed,
    .backward_weight = compute_x86_linear_gradient_amx,
};
