/* compute_x86_gradient_amx.c: the gradient of a linear layer's weights by AMX tiles:
 * G [out, in] (+)= dY^T . X, summed over the tokens of a group.
 *
 * X is packed once, by all threads, into shared scratch: bands of 32 inputs, a step of 32 tokens
 * each. Then a task owns a block of G, up to OUT x IN: chunk by chunk of TOKENS it packs its
 * columns of dY, transposed, into its own scratch, and adds the products to sums that stay in L2.
 * The last chunk's sums are written to G, past the cache, while the next block is multiplied.
 *
 * A token count that is no multiple of 32 (possible with one group only) is filled up with zeros
 * by the packing. */
#include "compute/x86/compute_x86_linear_internal.h"
#include "compute/x86/compute_x86_product_internal.h"

enum {
    OUT = 256,         /* rows of G in a task, at most; their dY for TOKENS tokens takes 512 KiB */
    IN = 512,          /* columns, at most; the sums take 512 KiB */
    FEW_OUT = 128,     /* fewer rows, ... */
    SMALLEST_IN = 128, /* ... then fewer columns (dY is packed for each), where there would be */
    ENOUGH_TASKS = 12, /* less than so many tasks */
    TOKENS = 1024
};

struct gradient_run {
    compute_linear_t *l;
    const struct linear_call *k;
    int64_t steps;                             /* of 32 tokens, of all groups */
    int64_t out_rows;                          /* rows of a task */
    int64_t in_width, in_blocks;               /* columns of a task, tasks along them */
    int64_t out_blocks[COMPUTE_MAX_PARTS + 1]; /* blocks of rows of a group before each part */
    bf16_t *x;                                 /* packed X: bands of `steps` steps */
    char *scratch;
    size_t stride;
};

/* ------------------------------------------------------------------ packing X */

/* Task: 32 tokens, to one step of every band. */
static void pack_task(void *ctx, size_t task, int thread)
{
    const struct gradient_run *r = ctx;
    const struct linear_call *k = r->k;
    int64_t in = r->l->d.in, row = (int64_t)task * 32, rows = k->offset[r->l->d.groups] - row;
    bf16_t *step = (bf16_t *)(void *)(r->scratch + (size_t)thread * r->stride);
    pack_pairs((const bf16_t *)k->x + row * in, in, rows, in, STEP, step);
    for (int64_t band = 0; band < ceil_div(in, BAND); band++)
        stream_copy(step + band * STEP, r->x + (band * r->steps + (int64_t)task) * STEP,
                    STEP * sizeof *step);
    _mm_sfence();
}

/* ------------------------------------------------------------------ one block of G */

struct gradient_job {
    const struct gradient_run *run;
    int64_t part, group, o, i, rows, columns; /* the block: G_part[group, o .. , i ..] */
    int64_t begin, end;                       /* tokens */
    bf16_t *dy;                               /* packed: bands of 32 rows of G */
    float *sums, *block;                      /* [bands of rows, bands of columns, 32, 32]; two */
    int64_t t, steps;                         /* the chunk */
    struct beside beside;
};

static void job_open(struct gradient_job *j, size_t task, int thread)
{
    const struct gradient_run *r = j->run;
    const struct compute_linear_desc *d = &r->l->d;
    int64_t out_blocks = r->out_blocks[d->parts], block = (int64_t)task / r->in_blocks;
    j->i = (int64_t)task % r->in_blocks * r->in_width;
    j->columns = MIN(r->in_width, d->in - j->i);
    j->group = block / out_blocks;
    block %= out_blocks;
    while (block >= r->out_blocks[j->part + 1])
        j->part++;
    j->o = (block - r->out_blocks[j->part]) * r->out_rows;
    j->rows = MIN(r->out_rows, d->out[j->part] - j->o);
    j->begin = r->k->offset[j->group];
    j->end = r->k->offset[j->group + 1];
    j->dy = (bf16_t *)(void *)(r->scratch + (size_t)thread * r->stride);
    j->block = (float *)(void *)(j->dy + OUT * TOKENS + STEP);
    j->sums = j->block + 2 * BAND * BAND;
}

/* The columns of dY that belong to the block, tokens [t, t + 32 steps), transposed. */
static void job_pack(struct gradient_job *j)
{
    int64_t ld = j->run->l->out;
    const bf16_t *dy = (const bf16_t *)j->run->k->dy + j->t * ld;
    dy += j->run->l->out_start[j->part] + j->o;
    for (int64_t s = 0; s < j->steps; s++, dy += 32 * ld) {
        int64_t rows = j->end - (j->t + 32 * s);
        /* the next step's lines, row after row, while this one is turned */
        for (int64_t i = 32; i < MIN(64, rows); i++)
            for (int64_t o = 0; o < j->rows; o += 32)
                _mm_prefetch((const char *)(dy + i * ld + o), _MM_HINT_T0);
        for (int64_t o = 0; o < j->rows; o += BAND)
            pack_turned(dy + o, ld, rows, j->rows - o, j->dy + (o / BAND * j->steps + s) * STEP);
    }
}

/* Asks for the next chunk's part of dY while this one is multiplied. */
static void job_ask(struct gradient_job *j)
{
    int64_t t = j->t + 32 * j->steps, rows = MIN(TOKENS, j->end - t), ld = j->run->l->out;
    int64_t blocks = ceil_div(j->columns, BAND) * ceil_div(j->rows, BAND);
    const bf16_t *dy = (const bf16_t *)j->run->k->dy + t * ld;
    j->beside.rows.row = (const char *)(dy + j->run->l->out_start[j->part] + j->o);
    j->beside.rows.ld = ld * (int64_t)sizeof *dy;
    j->beside.rows.lines = ceil_div(j->rows, 32);
    j->beside.rows.line = 0;
    j->beside.rows.left = rows * j->beside.rows.lines;
    j->beside.rows.step = ceil_div(j->beside.rows.left, blocks * j->steps);
}

static float *job_gradient(const struct gradient_job *j, int64_t o, int64_t i)
{
    const struct compute_linear_desc *d = &j->run->l->d;
    return d->grad[j->part] + (j->group * d->out[j->part] + j->o + o) * d->in + j->i + i;
}

static void job_drain(struct gradient_job *j, int64_t o, int64_t i, const float *block)
{
    int64_t in = j->run->l->d.in, columns = MIN(BAND, j->columns - i);
    float *to = job_gradient(j, o, i);
    int rows = (int)MIN(BAND, j->rows - o);
    bool whole = (uintptr_t)to % LINE == 0 && in % VL == 0 && columns % VL == 0;
    bool add = j->run->k->accumulate;
    drain_all(&j->beside.drain);
    for (int r = 0; add && r < rows; r++)
        for (int c = 0; c < columns; c += VL)
            _mm_prefetch((const char *)(to + r * in + c), _MM_HINT_T0);
    j->beside.drain = (struct drain){
        .kind = add     ? DRAIN_F32_ADD
                : whole ? DRAIN_F32_STREAM
                        : DRAIN_F32,
        .from = block,
        .from_ld = BAND,
        .to = (char *)to,
        .to_ld = in * (int64_t)sizeof(float),
        .rows = rows,
        .columns = (int)columns,
        .alpha = 1,
    };
}

/* The block's products over the chunk: every band of columns against all bands of rows. */
static void job_multiply(struct gradient_job *j)
{
    const struct gradient_run *r = j->run;
    int64_t bands = ceil_div(j->rows, BAND);
    bool first = j->t == j->begin, last = j->t + 32 * j->steps >= j->end;
    for (int64_t i = 0, turn = 0; i < j->columns; i += BAND) {
        const bf16_t *b = r->x + ((j->i + i) / BAND * r->steps + j->t / 32) * STEP;
        j->beside.ahead = (const char *)(b + r->steps * STEP);
        j->beside.ahead_step = ceil_div(BAND, bands);
        for (int64_t o = 0; o < j->rows; o += BAND, turn++) {
            int64_t at = i / BAND * (OUT / BAND) + o / BAND;
            float *sum = j->sums + at * (BAND * BAND);
            float *to = last ? j->block + turn % 2 * (BAND * BAND) : sum;
            if (first)
                tiles_zero();
            else
                tiles_load(sum, BAND);
            block_multiply(j->steps, j->dy + o / BAND * j->steps * STEP, b, &j->beside);
            tiles_store(to, BAND);
            if (last) job_drain(j, o, i, to);
        }
    }
}

static void gradient_task(void *ctx, size_t task, int thread)
{
    const struct gradient_run *r = ctx;
    struct gradient_job j = {.run = r};
    job_open(&j, task, thread);
    if (!r->l->d.grad[j.part]) return;
    if (j.begin == j.end) {
        for (int64_t o = 0; o < j.rows && !r->k->accumulate; o++)
            memset(job_gradient(&j, o, 0), 0, (size_t)j.columns * sizeof(float));
        return;
    }
    tiles_begin();
    for (j.t = j.begin; j.t < j.end; j.t += TOKENS) {
        j.steps = ceil_div(MIN(TOKENS, j.end - j.t), 32);
        job_pack(&j);
        job_ask(&j);
        job_multiply(&j);
    }
    drain_all(&j.beside.drain);
    tiles_end();
    _mm_sfence();
}

/* ------------------------------------------------------------------ the operation */

static int64_t count_out_blocks(struct gradient_run *r, int64_t out_rows)
{
    const struct compute_linear_desc *d = &r->l->d;
    r->out_rows = out_rows;
    for (int p = 0; p < d->parts; p++)
        r->out_blocks[p + 1] = r->out_blocks[p] + ceil_div(d->out[p], out_rows);
    return d->groups * r->out_blocks[d->parts];
}

/* Blocks are as large as the caches allow, but so many that threads finish together. */
static void cut_gradient(struct gradient_run *r)
{
    int64_t in = r->l->d.in, tasks = count_out_blocks(r, OUT);
    r->in_blocks = ceil_div(in, IN);
    if (tasks * r->in_blocks < ENOUGH_TASKS) tasks = count_out_blocks(r, FEW_OUT);
    while (tasks * r->in_blocks < ENOUGH_TASKS && ceil_div(in, r->in_blocks + 1) >= SMALLEST_IN)
        r->in_blocks++;
    r->in_width = round_up(ceil_div(in, r->in_blocks), BAND);
    r->in_blocks = ceil_div(in, r->in_width);
}

void compute_x86_linear_gradient_amx(compute_linear_t *l, const struct linear_call *k)
{
    struct gradient_run r = {.l = l, .k = k};
    cut_gradient(&r);
    r.steps = ceil_div(k->offset[l->d.groups], 32);
    int64_t bands = ceil_div(l->d.in, BAND);
    r.x = compute_shared_scratch(l->c, (size_t)(bands * r.steps * STEP) * sizeof *r.x);
    size_t pack = (size_t)(bands * STEP) * sizeof(bf16_t);
    size_t block = (OUT * TOKENS + STEP) * sizeof(bf16_t) +
                   (size_t)(OUT * r.in_width + 2 * BAND * BAND) * sizeof(float);
    r.scratch = compute_private_scratch(l->c, MAX(pack, block), &r.stride);
    pool_run(l->c->pool, (size_t)r.steps, pack_task, &r);
    pool_run(l->c->pool, (size_t)(l->d.groups * r.out_blocks[l->d.parts] * r.in_blocks),
             gradient_task, &r);
}
