/* compute_x86_matmul_amx.c: the general product of bfloat16 matrices by AMX tiles:
 * C = alpha * op(A) . op(B) + beta * C.
 *
 * All threads pack both operands into shared scratch, as bands of 32 rows of C and 32 columns of C
 * (see compute_x86_product_internal.h); whichever way an operand is stored, its rows are read in
 * order. Then a task is a tile of C, one 32 x 32 block after the other over the whole of K. */
#include "compute/x86/compute_x86_linear_internal.h"
#include "compute/x86/compute_x86_product_internal.h"

enum { TILE_ROWS = 256, TILE_COLUMNS = 256 };

struct matmul_run {
    const struct compute_matmul *m;
    int64_t steps, a_bands, b_bands, a_tasks; /* of 32; tasks that pack A */
    bf16_t *a, *b;
    char *scratch; /* of a thread: what it packs; two blocks of C */
    size_t stride;
};

/* 32 rows of an operand that is stored with K along its rows: a band. */
static void pack_band(const bf16_t *x, int64_t ld, int64_t rows, int64_t K, bool turn, bf16_t *to)
{
    pack_rows(x, ld, MIN(rows, BAND), K, to);
    for (int64_t t = 0; turn && t < 2 * ceil_div(K, 32); t++) {
        vf tile[16];
        UNROLL
        for (int i = 0; i < 16; i++)
            tile[i] = _mm512_castsi512_ps(_mm512_load_si512(to + t * TILE + i * 32));
        v_transpose(tile);
        tiles_put(tile, to + t * TILE);
    }
}

/* Task: a band of an operand whose rows run along K, or a step of all bands of one whose rows run
 * across it. Packed in the thread's own scratch and copied past the cache: the packed operands
 * together are larger than a cache. */
static void pack_task(void *ctx, size_t task, int thread)
{
    const struct matmul_run *r = ctx;
    const struct compute_matmul *m = r->m;
    bool is_a = (int64_t)task < r->a_tasks, along = is_a ? !m->transpose_a : m->transpose_b;
    int64_t i = (int64_t)task - (is_a ? 0 : r->a_tasks), size = is_a ? m->M : m->N;
    int64_t ld = is_a ? m->lda : m->ldb;
    const bf16_t *x = (const bf16_t *)(is_a ? m->A : m->B) + i * 32 * ld;
    bf16_t *packed = is_a ? r->a : r->b;
    bf16_t *own = (bf16_t *)(void *)(r->scratch + (size_t)thread * r->stride);
    if (along) {
        pack_band(x, ld, size - i * 32, m->K, !is_a, own);
        stream_copy(own, packed + i * r->steps * STEP, (size_t)r->steps * STEP * sizeof *own);
    } else {
        if (is_a)
            for (int64_t c = 0; c < size; c += BAND)
                pack_turned(x + c, ld, m->K - i * 32, size - c, own + c / BAND * STEP);
        else
            pack_pairs(x, ld, m->K - i * 32, size, STEP, own);
        for (int64_t band = 0; band < ceil_div(size, BAND); band++)
            stream_copy(own + band * STEP, packed + (band * r->steps + i) * STEP,
                        STEP * sizeof *own);
    }
    _mm_sfence();
}

static void drain_block(const struct matmul_run *r, int64_t i, int64_t j, const float *block,
                        struct drain *d)
{
    const struct compute_matmul *m = r->m;
    float *to = (float *)m->C + i * m->ldc + j;
    drain_all(d);
    bool whole = m->beta == 0 && m->N - j >= BAND && (uintptr_t)to % LINE == 0 && m->ldc % VL == 0;
    *d = (struct drain){
        .kind = whole ? DRAIN_F32_STREAM : DRAIN_F32_SCALED,
        .alpha = m->alpha,
        .beta = m->beta,
        .from = block,
        .from_ld = BAND,
        .to = (char *)to,
        .to_ld = m->ldc * (int64_t)sizeof(float),
        .rows = (int)MIN(BAND, m->M - i),
        .columns = (int)MIN(BAND, m->N - j),
    };
    for (int row = 0; m->beta != 0 && row < d->rows; row++)
        for (int c = 0; c < d->columns; c += VL)
            _mm_prefetch((const char *)(to + row * m->ldc + c), _MM_HINT_T0);
}

static void tile_task(void *ctx, size_t task, int thread)
{
    const struct matmul_run *r = ctx;
    const struct compute_matmul *m = r->m;
    int64_t columns = ceil_div(m->N, TILE_COLUMNS), band = r->steps * STEP, turn = 0;
    int64_t i0 = (int64_t)task / columns * TILE_ROWS, j0 = (int64_t)task % columns * TILE_COLUMNS;
    float *blocks = (float *)(void *)(r->scratch + (size_t)thread * r->stride);
    struct beside beside = {.ahead_step = ceil_div(BAND, TILE_ROWS / BAND)};
    tiles_begin();
    for (int64_t j = j0; j < MIN(j0 + TILE_COLUMNS, m->N); j += BAND) {
        const bf16_t *b = r->b + j / BAND * band;
        beside.ahead = (const char *)(b + band);
        for (int64_t i = i0; i < MIN(i0 + TILE_ROWS, m->M); i += BAND, turn++) {
            float *block = blocks + turn % 2 * (BAND * BAND);
            tiles_zero();
            block_multiply(r->steps, r->a + i / BAND * band, b, &beside);
            tiles_store(block, BAND);
            drain_block(r, i, j, block, &beside.drain);
        }
    }
    drain_all(&beside.drain);
    tiles_end();
    _mm_sfence();
}

void compute_x86_matmul_amx(compute_t *c, const struct compute_matmul *m)
{
    struct matmul_run r = {.m = m, .steps = ceil_div(m->K, 32)};
    r.a_bands = ceil_div(m->M, BAND);
    r.b_bands = ceil_div(m->N, BAND);
    r.a =
        compute_shared_scratch(c, (size_t)((r.a_bands + r.b_bands) * r.steps * STEP) * sizeof *r.a);
    r.b = r.a + r.a_bands * r.steps * STEP;
    size_t own = (size_t)(MAX(r.steps, MAX(r.a_bands, r.b_bands)) * STEP) * sizeof(bf16_t);
    r.scratch = compute_private_scratch(c, MAX(own, 2 * BAND * BAND * sizeof(float)), &r.stride);
    r.a_tasks = m->transpose_a ? r.steps : r.a_bands;
    pool_run(c->pool, (size_t)(r.a_tasks + (m->transpose_b ? r.b_bands : r.steps)), pack_task, &r);
    pool_run(c->pool, (size_t)(ceil_div(m->M, TILE_ROWS) * ceil_div(m->N, TILE_COLUMNS)), tile_task,
             &r);
}
