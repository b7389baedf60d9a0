/* compute_codes_internal.h: how weights in codes lie in memory (struct compute_codes).
 *
 * A band is COMPUTE_BAND rows of W, over the whole width of X. First its codes, 64 * bits bytes for
 * each 32 of the width, then its scales:
 *
 *   4 bits  4 x 64 bytes: word (32 bits) j of the g-th 64 bytes is of row j. The i-th nibble of its
 *           lower half is code 8 g + 2 i, of its upper half code 8 g + 2 i + 1: a mask and a shift of
 *           16-bit lanes give pairs of neighbours, which a dot product of pairs takes.
 *   5 bits  the lower four as above, then 16 words: bit 2 j + h of word p is the fifth bit of code
 *           2 p + h of row j.
 *   6 bits  the lower four as above, then 2 x 64 bytes: word j of the g-th is of row j. Bits 2 i and
 *           2 i + 1 of its lower half are the upper two of code 16 g + 2 i, of its upper half those of
 *           16 g + 2 i + 1.
 *   8 bits  8 x 64 bytes: the bytes of word j of the g-th are codes 4 g, 4 g + 2, 4 g + 1, 4 g + 3.
 *
 *   scales  halves [in / block, 16] and those of least values; shared: halves [in / 256, 16], those of
 *           least values, then bytes [in / block, 16] and those of least values.
 *
 * Rows of a band that W does not have are zeros. */
#ifndef COLOSSUS_COMPUTE_CODES_INTERNAL_H
#define COLOSSUS_COMPUTE_CODES_INTERNAL_H

#include "compute/core/compute_kernels_internal.h"

enum { CODES_WIDTH = 32, CODES_SHARED = 256 };

/* Where the parts of a band begin, bytes behind its codes; those that the form lacks have no place of
 * their own. bytes: of the band, a multiple of 64. */
struct codes_offsets {
    size_t scales, leasts, scale_steps, least_steps, bytes;
};

static inline struct codes_offsets codes_offsets(const struct compute_codes *f, int64_t blocks)
{
    size_t in = (size_t)blocks * CODES_WIDTH;
    size_t steps = in / (size_t)compute_codes_block(f) * COMPUTE_BAND;
    size_t halves = f->shared ? in / CODES_SHARED * COMPUTE_BAND : steps;
    struct codes_offsets o = {.scales = (size_t)blocks * 64 * (size_t)f->bits};
    o.leasts = o.scales + halves * sizeof(uint16_t);
    o.scale_steps = o.leasts + (f->least ? halves * sizeof(uint16_t) : 0);
    o.least_steps = o.scale_steps + (f->shared ? steps : 0);
    size_t end = o.least_steps + (f->shared && f->least ? steps : 0);
    o.bytes = (end + 63) / 64 * 64;
    return o;
}

/* The same of a band in memory; NULL where the form has none. */
struct codes_band {
    uint8_t *codes;
    uint16_t *scales, *leasts;
    uint8_t *scale_steps, *least_steps;
};

static inline struct codes_band codes_band_at(const struct compute_codes *f, int64_t blocks,
                                              uint8_t *data)
{
    struct codes_offsets o = codes_offsets(f, blocks);
    struct codes_band b = {.codes = data, .scales = (uint16_t *)(void *)(data + o.scales)};
    if (f->least) b.leasts = (uint16_t *)(void *)(data + o.leasts);
    if (f->shared) b.scale_steps = data + o.scale_steps;
    if (f->shared && f->least) b.least_steps = data + o.least_steps;
    return b;
}

/* Code k of row j of a band; and setting it, where it was 0. */
static inline unsigned codes_get(int bits, const uint8_t *codes, int64_t k, int64_t j)
{
    const uint8_t *block = codes + k / 32 * 64 * bits;
    unsigned i = (unsigned)(k % 32), h = i % 2, code;
    if (bits == 8) return block[i / 4 * 64 + (unsigned)j * 4 + 2 * h + i / 2 % 2];
    code = block[i / 8 * 64 + (unsigned)j * 4 + 2 * h + i % 8 / 4] >> (i / 2 % 2 * 4) & 15;
    if (bits == 5) {
        unsigned bit = 2 * (unsigned)j + h;
        code |= (block[256 + i / 2 * 4 + bit / 8] >> bit % 8 & 1u) << 4;
    } else if (bits == 6) {
        unsigned field = i % 16 / 2;
        code |=
            (block[256 + i / 16 * 64 + (unsigned)j * 4 + 2 * h + field / 4] >> field % 4 * 2 & 3u)
            << 4;
    }
    return code;
}

static inline void codes_set(int bits, uint8_t *codes, int64_t k, int64_t j, unsigned code)
{
    uint8_t *block = codes + k / 32 * 64 * bits;
    unsigned i = (unsigned)(k % 32), h = i % 2;
    if (bits == 8) {
        block[i / 4 * 64 + (unsigned)j * 4 + 2 * h + i / 2 % 2] = (uint8_t)code;
        return;
    }
    block[i / 8 * 64 + (unsigned)j * 4 + 2 * h + i % 8 / 4] |=
        (uint8_t)((code & 15) << (i / 2 % 2 * 4));
    if (bits == 5) {
        unsigned bit = 2 * (unsigned)j + h;
        block[256 + i / 2 * 4 + bit / 8] |= (uint8_t)((code >> 4 & 1) << bit % 8);
    } else if (bits == 6) {
        unsigned field = i % 16 / 2;
        block[256 + i / 16 * 64 + (unsigned)j * 4 + 2 * h + field / 4] |=
            (uint8_t)((code >> 4 & 3) << field % 4 * 2);
    }
}

/* Scale and least value of code k of row j. */
static inline float codes_scale(const struct compute_codes *f, const struct codes_band *b,
                                int64_t k, int64_t j)
{
    int64_t at = k / compute_codes_block(f) * COMPUTE_BAND + j;
    if (!f->shared) return half_load(b->scales[at]);
    return half_load(b->scales[k / CODES_SHARED * COMPUTE_BAND + j]) *
           (float)(int8_t)b->scale_steps[at];
}

static inline float codes_least(const struct compute_codes *f, const struct codes_band *b,
                                int64_t k, int64_t j)
{
    int64_t at = k / compute_codes_block(f) * COMPUTE_BAND + j;
    if (!f->least) return 0;
    if (!f->shared) return half_load(b->leasts[at]);
    return -(half_load(b->leasts[k / CODES_SHARED * COMPUTE_BAND + j]) * (float)b->least_steps[at]);
}

#endif
