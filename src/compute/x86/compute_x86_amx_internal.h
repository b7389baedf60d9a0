/* compute_x86_amx_internal.h: matrix products by AMX tiles (Intel SDM vol. 1, chapter 18) and the
 * packing they need. Included by files named *_amx.c only.
 *
 * A tile is 16 rows of 64 bytes. tdpbf16ps adds to C [16, 16] fp32 the product of A [16, 32] bf16
 * and B, which holds a [32, 16] matrix as 16 rows of pairs: row i, column n is (b[2i, n],
 * b[2i + 1, n]). The order along the sum is free as long as A and B agree, so rows may pair
 * otherwise too. All operands here are packed as whole tiles of 1 KiB, so a load touches 16
 * adjacent cache lines whatever the shape, and edges are zeros put there by the packing:
 *
 *   tiles_pack_rows      A of X:     tile (r, s) = X[16 r .., 32 s ..]
 *   tiles_pack_columns   B of X^T:   tile (r, s) = the same, transposed by pairs
 *   tiles_pack_halves    B of X:     tile (s, c) = X[32 s .., 16 c ..] by pairs of rows i, i + 16
 *   tiles_pack_turned    A of X^T:   tile (s, c) = X[32 s .., 16 c ..] transposed
 *
 * The register plan is fixed: tiles 0-3 are a 2 x 2 block of C, 4 and 5 are A, 6 and 7 are B. */
#ifndef COLOSSUS_COMPUTE_X86_AMX_INTERNAL_H
#define COLOSSUS_COMPUTE_X86_AMX_INTERNAL_H

#include "compute/x86/compute_x86_math_internal.h"

enum { TILE = 512 }; /* bf16 elements of a tile */

/* gcc 12 does not tell the optimiser that a tile load reads memory. */
#define TILES_FENCE() __asm__ volatile("" ::: "memory")

struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

/* Not every file that includes this needs all of it. */
#define SOMETIMES static __attribute__((unused))

/* All eight tiles 16 x 64 bytes. tiles_end gives the state back, so that no context switch has to
 * save it. */
SOMETIMES void tiles_begin(void)
{
    struct tile_config config = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        config.row_bytes[i] = 64;
        config.rows[i] = 16;
    }
    TILES_FENCE();
    _tile_loadconfig(&config);
}

SOMETIMES void tiles_end(void)
{
    _tile_release();
}

INLINE void tiles_zero(void)
{
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
}

/* The 32 x 32 block of C at c, leading dimension ld. */
INLINE void tiles_load(const float *c, int64_t ld)
{
    TILES_FENCE();
    _tile_loadd(0, c, ld * 4);
    _tile_loadd(1, c + 16, ld * 4);
    _tile_loadd(2, c + 16 * ld, ld * 4);
    _tile_loadd(3, c + 16 * ld + 16, ld * 4);
}

INLINE void tiles_store(float *c, int64_t ld)
{
    _tile_stored(0, c, ld * 4);
    _tile_stored(1, c + 16, ld * 4);
    _tile_stored(2, c + 16 * ld, ld * 4);
    _tile_stored(3, c + 16 * ld + 16, ld * 4);
    TILES_FENCE();
}

/* Two rows of tiles of A, or two columns of tiles of B, along the sum. */
struct tile_operand {
    const bf16_t *first, *second; /* the first tile of each */
    int64_t step;                 /* elements from one tile along the sum to the next */
};

/* C += A . B over `steps` steps of 32. */
INLINE void tiles_multiply(int64_t steps, struct tile_operand a, struct tile_operand b)
{
    TILES_FENCE();
    for (int64_t k = 0; k < steps; k++) {
        _tile_loadd(4, a.first + k * a.step, 64);
        _tile_loadd(6, b.first + k * b.step, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, b.second + k * b.step, 64);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, a.second + k * a.step, 64);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
}

/* ------------------------------------------------------------------ packing */

INLINE __m512i tiles_row(const bf16_t *x, int64_t n)
{
    return _mm512_maskz_loadu_epi16(n >= 32 ? 0xffffffffu : (1u << n) - 1, x);
}

/* 16 rows of up to 32 elements, zeros behind `rows` and `columns`. */
INLINE void tiles_take_rows(const bf16_t *x, int64_t ld, int64_t rows, int64_t columns, vf r[16])
{
    for (int i = 0; i < 16; i++)
        r[i] = i < rows ? _mm512_castsi512_ps(tiles_row(x + i * ld, columns)) : v_zero();
}

/* 16 pairs of rows, (i, i + 16) for halves and else (2 i, 2 i + 1), up to 16 columns, as dwords. */
INLINE void tiles_take_pairs(const bf16_t *x, int64_t ld, int64_t rows, int64_t columns,
                             bool halves, vf r[16])
{
    __mmask16 keep = v_mask_first(columns);
    for (int i = 0; i < 16; i++) {
        int64_t first = halves ? i : 2 * i, second = first + (halves ? 16 : 1);
        __m512i low = _mm512_setzero_si512(), high = low;
        if (first < rows)
            low = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(keep, x + first * ld));
        if (second < rows)
            high = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(keep, x + second * ld));
        r[i] = _mm512_castsi512_ps(_mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
    }
}

INLINE void tiles_put(vf r[16], bf16_t *to)
{
    for (int i = 0; i < 16; i++)
        _mm512_storeu_si512(to + i * 32, _mm512_castps_si512(r[i]));
}

/* What is packed: rows [0, rows) of X [.., width], padded with zeros to `padded` rows and to whole
 * tiles. */
struct tile_source {
    const bf16_t *x;
    int64_t ld, rows, padded, width;
};

INLINE void tiles_pack_by_rows(struct tile_source s, bool turn, bf16_t *to)
{
    for (int64_t r = 0; r < s.padded; r += 16)
        for (int64_t c = 0; c < s.width; c += 32, to += TILE) {
            vf tile[16];
            tiles_take_rows(s.x + r * s.ld + c, s.ld, s.rows - r, s.width - c, tile);
            if (turn) v_transpose(tile);
            tiles_put(tile, to);
        }
}

INLINE void tiles_pack_by_pairs(struct tile_source s, bool turn, bool halves, bf16_t *to)
{
    for (int64_t r = 0; r < s.padded; r += 32)
        for (int64_t c = 0; c < (s.width + 31) / 32 * 32; c += 16, to += TILE) {
            vf tile[16];
            tiles_take_pairs(s.x + r * s.ld + c, s.ld, s.rows - r, MAX(s.width - c, 0), halves,
                             tile);
            if (turn) v_transpose(tile);
            tiles_put(tile, to);
        }
}

SOMETIMES void tiles_pack_rows(struct tile_source s, bf16_t *to)
{
    tiles_pack_by_rows(s, false, to);
}

SOMETIMES void tiles_pack_columns(struct tile_source s, bf16_t *to)
{
    tiles_pack_by_rows(s, true, to);
}

SOMETIMES void tiles_pack_halves(struct tile_source s, bf16_t *to)
{
    tiles_pack_by_pairs(s, false, true, to);
}

SOMETIMES void tiles_pack_turned(struct tile_source s, bf16_t *to)
{
    tiles_pack_by_pairs(s, true, false, to);
}

#endif
