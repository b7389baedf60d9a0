/* compute_x86_product_internal.h: the inner loop of the AMX linear layers, and the packing of
 * their operands. Included by files named *_amx.c only.
 *
 * Operands are packed as bands of 32 rows of C (A) or 32 columns of C (B): a band is a run of
 * steps, a step is 32 of the summed dimension, a step of a band is two tiles, 2 KiB. So a product
 * of a band of A and a band of B reads two contiguous streams.
 *
 * What was measured on a Xeon with AMX (figures in docs/decisions/compute.md) and shapes this file:
 * - A core whose other hardware thread is busy loads a tile from L1 or L2 in about the time that
 *   the tile unit multiplies two, and the two do not overlap; prefetching the next step's lines
 *   into L1 one by one does overlap, and takes a product from 400 to 560 GFLOP/s.
 * - Plain stores to the result cost more than the product: a line that is not in the cache is
 *   first read. Stores past the cache in runs of 128 bytes write 7 times faster. They are done one
 *   row per step, while the tile unit works on the next block ("drain").
 * - The next band of B comes from L3 or memory; its lines are prefetched into L2 a few per step. */
#ifndef COLOSSUS_COMPUTE_X86_PRODUCT_INTERNAL_H
#define COLOSSUS_COMPUTE_X86_PRODUCT_INTERNAL_H

#include "compute/x86/compute_x86_amx_internal.h"

enum { BAND = 32, STEP = 2 * TILE, LINE = 64 };

/* ------------------------------------------------------------------ draining */

enum drain_kind {
    DRAIN_BF16_STREAM, /* 64 columns, whole lines, past the cache */
    DRAIN_BF16,        /* up to 64 columns */
    DRAIN_F32_STREAM,  /* alpha * the block; 16, 32 .. columns, whole lines, past the cache */
    DRAIN_F32,         /* up to 64 columns */
    DRAIN_F32_ADD,     /* up to 64 columns, added to what is there */
    DRAIN_F32_SCALED   /* up to 64 columns: alpha * the block + beta * what is there */
};

/* Rows of a finished block that still have to be written to the result. */
struct drain {
    enum drain_kind kind;
    const float *from;
    int64_t from_ld; /* in floats */
    char *to;
    int64_t to_ld; /* in bytes */
    int rows, columns;
    float alpha; /* of DRAIN_F32_STREAM and DRAIN_F32_SCALED */
    float beta;  /* of DRAIN_F32_SCALED; where it is 0 the result is not read */
};

INLINE __m512i drain_round(const float *c)
{
    return (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(c + 16), _mm512_loadu_ps(c));
}

INLINE void drain_bf16(const struct drain *d)
{
    for (int i = 0; i < d->columns; i += 32) {
        int n = d->columns - i;
        _mm512_mask_storeu_epi16((bf16_t *)(void *)d->to + i, n >= 32 ? ~0u : (1u << n) - 1,
                                 drain_round(d->from + i));
    }
}

INLINE void drain_f32(const struct drain *d, bool add)
{
    float *to = (float *)(void *)d->to;
    for (int i = 0; i < d->columns; i += VL) {
        vf x = v_load(d->from + i);
        int64_t n = d->columns - i;
        if (add) x += v_load_n(to + i, n);
        v_store_n(to + i, x, n);
    }
}

INLINE void drain_f32_scaled(const struct drain *d)
{
    float *to = (float *)(void *)d->to;
    for (int i = 0; i < d->columns; i += VL) {
        vf x = v_load(d->from + i) * v_set1(d->alpha);
        int64_t n = d->columns - i;
        if (d->beta != 0) x = v_fma(v_load_n(to + i, n), v_set1(d->beta), x);
        v_store_n(to + i, x, n);
    }
}

INLINE void drain_row(struct drain *d)
{
    switch (d->kind) {
    case DRAIN_BF16_STREAM:
        _mm512_stream_si512((__m512i *)(void *)d->to, drain_round(d->from));
        _mm512_stream_si512((__m512i *)(void *)(d->to + LINE), drain_round(d->from + 32));
        break;
    case DRAIN_F32_STREAM:
        for (int i = 0; i < d->columns; i += VL)
            _mm512_stream_ps((float *)(void *)d->to + i, v_load(d->from + i) * v_set1(d->alpha));
        break;
    case DRAIN_BF16: drain_bf16(d); break;
    case DRAIN_F32: drain_f32(d, false); break;
    case DRAIN_F32_ADD: drain_f32(d, true); break;
    case DRAIN_F32_SCALED: drain_f32_scaled(d); break;
    }
    d->from += d->from_ld;
    d->to += d->to_ld;
    d->rows--;
}

INLINE void drain_all(struct drain *d)
{
    while (d->rows > 0)
        drain_row(d);
}

/* ------------------------------------------------------------------ the block */

/* What goes on beside the tile unit. */
struct beside {
    struct drain drain;
    const char *ahead;  /* next bytes wanted in L2 */
    int64_t ahead_step; /* lines of them per step */
    /* And next rows wanted there: `lines` lines each, `ld` bytes apart. */
    struct {
        const char *row;
        int64_t ld, lines, line, left, step; /* left: lines of all rows; step: of them per step */
    } rows;
};

INLINE void prefetch_ahead(struct beside *s)
{
    for (int64_t i = 0; i < s->ahead_step; i++, s->ahead += LINE)
        _mm_prefetch(s->ahead, _MM_HINT_T1);
    if (s->rows.left <= 0) return;
    for (int64_t i = 0; i < s->rows.step; i++) {
        _mm_prefetch(s->rows.row + s->rows.line * LINE, _MM_HINT_T1);
        if (++s->rows.line == s->rows.lines) {
            s->rows.line = 0;
            s->rows.row += s->rows.ld;
        }
    }
    s->rows.left -= s->rows.step;
}

INLINE void prefetch_tile(const bf16_t *tile)
{
    UNROLL
    for (int i = 0; i < TILE; i += LINE / 2)
        _mm_prefetch((const char *)(tile + i), _MM_HINT_T0);
}

/* Tiles 0..3 += band of A . band of B. */
INLINE void block_multiply(int64_t steps, const bf16_t *a, const bf16_t *b, struct beside *s)
{
    TILES_FENCE();
    for (int64_t k = 0; k < steps; k++, a += STEP, b += STEP) {
        prefetch_ahead(s);
        _tile_loadd(4, a, LINE);
        _tile_loadd(6, b, LINE);
        prefetch_tile(a + STEP);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, b + TILE, LINE);
        prefetch_tile(a + STEP + TILE);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, a + TILE, LINE);
        prefetch_tile(b + STEP);
        _tile_dpbf16ps(2, 5, 6);
        prefetch_tile(b + STEP + TILE);
        if (s->drain.rows > 0) drain_row(&s->drain);
        _tile_dpbf16ps(3, 5, 7);
    }
}

/* ------------------------------------------------------------------ packing */

/* Words first .. first + 15 of two rows, interleaved: pairs (x[i], y[i]). In the index of a pair
 * the low half names a word of x, the high half one of y, whose words count from 32. */
INLINE __m512i pairs(__m512i x, __m512i y, int first)
{
    const __m512i i = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i start = _mm512_set1_epi32(((32 + first) << 16) | first);
    const __m512i step = _mm512_set1_epi32(0x10001);
    return _mm512_permutex2var_epi16(x, _mm512_add_epi32(start, _mm512_mullo_epi32(i, step)), y);
}

/* A of X: `rows` rows of `width` elements to bands of X's rows, one band after the other; zeros
 * behind both. Reads X row by row, so that the processor's own prefetching works. */
SOMETIMES void pack_rows(const bf16_t *x, int64_t ld, int64_t rows, int64_t width, bf16_t *to)
{
    int64_t steps = (width + 31) / 32;
    for (int64_t r = 0; r < (rows + BAND - 1) / BAND * BAND; r++) {
        bf16_t *y = to + r / BAND * steps * STEP + r % BAND * 32;
        for (int64_t c = 0; c < width; c += 32, y += STEP)
            _mm512_store_si512(y, r < rows ? tiles_row(x + r * ld + c, width - c)
                                           : _mm512_setzero_si512());
    }
}

/* B of X: 32 rows of X (`rows` of them real) are one step of every band of 32 columns; step s of
 * band c is put at to + c * band_stride. */
SOMETIMES void pack_pairs(const bf16_t *x, int64_t ld, int64_t rows, int64_t width,
                          int64_t band_stride, bf16_t *to)
{
    for (int64_t i = 0; i < 32; i += 2)
        for (int64_t c = 0; c < width; c += 32) {
            __m512i low = _mm512_setzero_si512(), high = low;
            if (i < rows) low = tiles_row(x + i * ld + c, width - c);
            if (i + 1 < rows) high = tiles_row(x + (i + 1) * ld + c, width - c);
            bf16_t *y = to + c / 32 * band_stride + i / 2 * 32;
            _mm512_store_si512(y, pairs(low, high, 0));
            _mm512_store_si512(y + TILE, pairs(low, high, 16));
        }
}

/* A of X^T, one step of one band: rows [0, 32) (`rows` real) and columns [0, 32) (`width` real)
 * of X, transposed. */
INLINE void pack_turned(const bf16_t *x, int64_t ld, int64_t rows, int64_t width, bf16_t *to)
{
    vf low[16], high[16];
    UNROLL
    for (int i = 0; i < 16; i++) {
        __m512i even = _mm512_setzero_si512(), odd = even;
        if (2 * i < rows) even = tiles_row(x + 2 * i * ld, width);
        if (2 * i + 1 < rows) odd = tiles_row(x + (2 * i + 1) * ld, width);
        low[i] = _mm512_castsi512_ps(pairs(even, odd, 0));
        high[i] = _mm512_castsi512_ps(pairs(even, odd, 16));
    }
    v_transpose(low);
    v_transpose(high);
    tiles_put(low, to);
    tiles_put(high, to + TILE);
}

/* Copies whole lines past the cache. */
INLINE void stream_copy(const void *from, void *to, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += LINE)
        _mm512_stream_si512((__m512i *)(void *)((char *)to + i),
                            _mm512_load_si512((const char *)from + i));
}

#endif
