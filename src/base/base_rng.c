/* base_rng.c: random numbers without state.
 *
 * Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3",
 * SC'11) is a keyed bijection of 128-bit counters: ten rounds of two 32 x 32 -> 64 bit products.
 * Value i of a stream is a function of (seed, stream, i) alone. So any thread can draw any value,
 * the same values come out for any number of threads, and a checkpoint saves a counter, not a
 * generator. Here the key is the seed, the high half of the counter the stream and the low half
 * the index. */
#include "base/base.h"

#include <math.h>

#define PHILOX_M0 0xD2511F53u
#define PHILOX_M1 0xCD9E8D57u
#define PHILOX_W0 0x9E3779B9u /* golden ratio: the key schedule's step */
#define PHILOX_W1 0xBB67AE85u /* sqrt(3) - 1 */

static void philox(uint64_t key, uint64_t counter_hi, uint64_t counter_lo, uint64_t out[2])
{
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    uint32_t c0 = (uint32_t)counter_lo, c1 = (uint32_t)(counter_lo >> 32);
    uint32_t c2 = (uint32_t)counter_hi, c3 = (uint32_t)(counter_hi >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)PHILOX_M0 * c0;
        uint64_t p1 = (uint64_t)PHILOX_M1 * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        k0 += PHILOX_W0;
        k1 += PHILOX_W1;
    }
    out[0] = (uint64_t)c1 << 32 | c0;
    out[1] = (uint64_t)c3 << 32 | c2;
}

uint64_t rng_u64(uint64_t seed, uint64_t stream, uint64_t index)
{
    uint64_t r[2];
    philox(seed, stream, index, r);
    return r[0];
}

double rng_uniform(uint64_t seed, uint64_t stream, uint64_t index)
{
    return (double)(rng_u64(seed, stream, index) >> 11) * 0x1p-53;
}

/* Box and Muller: sqrt(-2 ln u) cos(2 pi v), u in (0, 1]. The other half of the pair is left
 * unused, so that value i needs no neighbour. */
double rng_normal(uint64_t seed, uint64_t stream, uint64_t index)
{
    uint64_t r[2];
    philox(seed, stream, index, r);
    double u = (double)((r[0] >> 11) + 1) * 0x1p-53;
    double v = (double)(r[1] >> 11) * 0x1p-53;
    return sqrt(-2.0 * log(u)) * cos(2.0 * M_PI * v);
}

/* ------------------------------------------------------------------ permutations */

/* A balanced Feistel network on the smallest even number of bits that holds n is a bijection of
 * [0, 2^bits), whatever its round function. Walking its cycle until a value below n comes up
 * restricts it to a bijection of [0, n) (Black and Rogaway, "Ciphers with arbitrary finite
 * domains", 2002). 2^bits < 4n unless n is tiny, so a walk takes under four steps on average. */
#define FEISTEL_ROUNDS 6
/* Halves of one or two bits have too few round functions: the orders of four items come out uneven
 * (chi-square 60 and 629 with 23 degrees of freedom over 24,000 seeds; 21 with four bits). */
#define FEISTEL_MIN_HALF_BITS 4

/* Steele, Lea and Flood's SplitMix64 finaliser: every input bit reaches every output bit. */
static uint64_t mix64(uint64_t x)
{
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return x ^ x >> 31;
}

static uint64_t feistel(const uint64_t keys[FEISTEL_ROUNDS], int half_bits, uint64_t x)
{
    uint64_t mask = ((uint64_t)1 << half_bits) - 1;
    uint64_t left = x >> half_bits, right = x & mask;
    for (int round = 0; round < FEISTEL_ROUNDS; round++) {
        /* The high bits of the product are the best mixed. */
        uint64_t f = mix64(right ^ keys[round]) >> 24 & mask;
        uint64_t next = left ^ f;
        left = right;
        right = next;
    }
    return left << half_bits | right;
}

uint64_t rng_permute(uint64_t seed, uint64_t stream, uint64_t n, uint64_t i)
{
    CHECK_MSG(i < n, "item %llu of %llu", (unsigned long long)i, (unsigned long long)n);
    if (n == 1) return 0;
    int bits = 64 - __builtin_clzll(n - 1);
    int half_bits = MAX((bits + 1) / 2, FEISTEL_MIN_HALF_BITS);
    uint64_t keys[FEISTEL_ROUNDS];
    for (int pair = 0; pair < FEISTEL_ROUNDS / 2; pair++)
        philox(seed, stream, (uint64_t)pair, &keys[2 * pair]);
    uint64_t x = i;
    do {
        x = feistel(keys, half_bits, x);
    } while (x >= n);
    return x;
}
