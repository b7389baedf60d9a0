/* compute_cuda_flash.cu: attention of bfloat16 on tensor cores, heads up to 128 wide (Dao et al.
 * 2022); the definition: compute/reference/compute_reference_attention_internal.h.
 *
 * A block has 64 queries of a head (or 64 keys), a warp 16 of them. Scores and weights never leave
 * registers: the numbers that a lane holds of two neighbouring 16 x 8 results are just those it needs
 * of a 16 x 16 operand. Keys and values (or queries) come in tiles, copied while the tile before is at
 * work. The backward pass makes scores twice, for dq and for dk and dv, so each number is summed by
 * one lane in one order, without atomics. HEAD is the head's width rounded up to 64 or 128; the numbers
 * beyond it are zeros. g = lane / 4, t = lane % 4 as in compute_cuda_tiles.cuh. */
#include "compute/cuda/compute_cuda_scores.cuh"
#include "compute/cuda/compute_cuda_tiles.cuh"

enum { WARPS = 4, THREADS = 32 * WARPS, QUERIES = 64, KEYS = 64, HALF = 32 };

extern __shared__ __align__(128) unsigned char dynamic[];

/* Rows [first, first + ROWS) of a head of x, zeros beyond T, as a tile. */
template <int HEAD, int ROWS>
DEVICE void load_rows(bf16_t *tile, const bf16_t *x, int64_t ld, int64_t first,
                      const struct cuda_attention_args &a)
{
#pragma unroll 1
    for (int at = threadIdx.x; at < ROWS * (HEAD / 8); at += THREADS) {
        int r = at / (HEAD / 8), c = at % (HEAD / 8) * 8;
        int64_t row = first + r;
        load_piece<HEAD>(tile, r, c, row < a.T ? x + row * ld : x, row < a.T ? a.h : 0, a.aligned);
    }
}

/* The first key that any of the tile's queries sees, rounded down to a tile; the same for all. */
DEVICE int64_t first_tile(const struct cuda_attention_args &a, int64_t b, int64_t q0)
{
    __shared__ int64_t least;
    if (!a.doc_start) return 0;
    if (threadIdx.x == 0) {
        least = q0;
        for (int64_t t = q0; t < q0 + QUERIES && t < a.T; t++)
            if (first_key(a, b, t) < least) least = first_key(a, b, t);
    }
    __syncthreads();
    return least / KEYS * KEYS;
}

/* Weights of 16 x 32 as two operands of 16 x 16. */
DEVICE void pack_operands(uint32_t to[2][4], const float x[4][4])
{
#pragma unroll
    for (int i = 0; i < 2; i++)
#pragma unroll
        for (int j = 0; j < 2; j++) {
            to[i][2 * j] = pack2(x[2 * i + j][0], x[2 * i + j][1]);
            to[i][2 * j + 1] = pack2(x[2 * i + j][2], x[2 * i + j][3]);
        }
}

/* x [16 x 32] = rows' operands (one for every 16 of the head) . tile rows [n, n + 32) turned. */
template <int HEAD>
DEVICE void scores(float x[4][4], const uint32_t rows[HEAD / 16][4], const bf16_t *tile, int n)
{
#pragma unroll
    for (int j = 0; j < 4; j++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            x[j][i] = 0;
#pragma unroll
    for (int d = 0; d < HEAD / 16; d++)
#pragma unroll
        for (int j = 0; j < 2; j++) {
            uint32_t b[4];
            load_b<HEAD>(b, tile, n + 16 * j, 16 * d);
            mma(x[2 * j], rows[d], b);
            mma(x[2 * j + 1], rows[d], b + 2);
        }
}

/* sum [16 x HEAD] += x [16 x 32] . tile rows [n, n + 32) */
template <int HEAD>
DEVICE void add_product(float sum[HEAD / 8][4], const float x[4][4], const bf16_t *tile, int n)
{
    uint32_t rows[2][4];
    pack_operands(rows, x);
#pragma unroll
    for (int i = 0; i < 2; i++)
#pragma unroll
        for (int d = 0; d < HEAD / 16; d++) {
            uint32_t b[4];
            load_b_turned<HEAD>(b, tile, 16 * d, n + 16 * i);
            mma(sum[2 * d], rows[i], b);
            mma(sum[2 * d + 1], rows[i], b + 2);
        }
}

/* A warp's result, 16 rows from `first`, to rows of h numbers ld apart; each times scale[row half]. */
template <int HEAD>
DEVICE void store_rows(bf16_t *to, int64_t ld, int64_t first, const float x[HEAD / 8][4],
                       const float scale[2], const struct cuda_attention_args &a)
{
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        int64_t row = first + lane / 4 + 8 * half;
        if (row >= a.T) continue;
#pragma unroll
        for (int d = 0; d < HEAD / 8; d++) {
            int at = 8 * d + 2 * (lane % 4);
            float lo = x[d][2 * half] * scale[half], hi = x[d][2 * half + 1] * scale[half];
            bf16_t *p = to + row * ld + at;
            if (a.aligned && at + 1 < a.h) {
                *(uint32_t *)p = pack2(lo, hi);
            } else {
                if (at < a.h) act_store(p, lo);
                if (at + 1 < a.h) act_store(p + 1, hi);
            }
        }
    }
}

/* ------------------------------------------------------------------ forward */

template <int HEAD> struct pair_tiles {
    bf16_t k[2][KEYS * HEAD], v[2][KEYS * HEAD];
};

/* Blocks: x is a tile of queries, the last first, since it sees the most keys; y a head, z a
 * sequence. */
template <int HEAD> DEVICE void flash_forward(const struct cuda_attention_args &a)
{
    struct pair_tiles<HEAD> *s = (struct pair_tiles<HEAD> *)dynamic;
    int64_t head = blockIdx.y, b = blockIdx.z, kv = head / (a.H / a.K), row = b * a.T;
    int64_t q0 = (int64_t)(gridDim.x - 1 - blockIdx.x) * QUERIES;
    const bf16_t *k = (const bf16_t *)a.k + row * a.ld + kv * a.h;
    const bf16_t *v = (const bf16_t *)a.v + row * a.ld + kv * a.h;
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    int64_t t[2] = {q0 + warp * 16 + lane / 4, q0 + warp * 16 + lane / 4 + 8}, first[2];
    float hot[2], top[2] = {MINUS_HUGE, MINUS_HUGE}, sum[2] = {0, 0}, out[HEAD / 8][4] = {{0}};
    float inverse = a.cap > 0 ? 1.0f / a.cap : 0;
    uint32_t q[HEAD / 16][4];
#pragma unroll
    for (int i = 0; i < 2; i++) {
        first[i] = t[i] < a.T ? first_key(a, b, t[i]) : 0;
        hot[i] = LOG2E * temperature(t[i], a.temperature_len);
    }
    load_rows<HEAD, QUERIES>(s->k[1], (const bf16_t *)a.q + row * a.ld + head * a.h, a.ld, q0, a);
    copy_commit();
    copy_wait<0>();
    __syncthreads();
#pragma unroll
    for (int d = 0; d < HEAD / 16; d++)
        load_a<HEAD>(q[d], s->k[1], warp * 16, 16 * d);
    int64_t begin = first_tile(a, b, q0);
    load_rows<HEAD, KEYS>(s->k[0], k, a.ld, begin, a);
    load_rows<HEAD, KEYS>(s->v[0], v, a.ld, begin, a);
    copy_commit();
    for (int64_t u0 = begin, at = 0; u0 <= q0; u0 += KEYS, at ^= 1) {
        copy_wait<0>();
        __syncthreads(); /* the tile is here for all, and nobody reads the other one any more */
        if (u0 + KEYS <= q0) {
            load_rows<HEAD, KEYS>(s->k[at ^ 1], k, a.ld, u0 + KEYS, a);
            load_rows<HEAD, KEYS>(s->v[at ^ 1], v, a.ld, u0 + KEYS, a);
        }
        copy_commit();
#pragma unroll 1
        for (int n = 0; n < KEYS; n += HALF) {
            float x[4][4], high[2] = {top[0], top[1]};
            scores<HEAD>(x, q, s->k[at], n);
#pragma unroll
            for (int j = 0; j < 4; j++)
#pragma unroll
                for (int i = 0; i < 4; i++) { /* in units of log2 */
                    int64_t u = u0 + n + 8 * j + 2 * (lane % 4) + (i & 1);
                    bool sees = u <= t[i >> 1] && u >= first[i >> 1];
                    float y = capped_fast(a.multiplier * x[j][i], a.cap, inverse) * hot[i >> 1];
                    x[j][i] = sees ? y : MINUS_HUGE;
                    high[i >> 1] = fmaxf(high[i >> 1], x[j][i]);
                }
#pragma unroll
            for (int h = 0; h < 2; h++) {
                high[h] = fmaxf(high[h], __shfl_xor_sync(ALL_LANES, high[h], 1));
                high[h] = fmaxf(high[h], __shfl_xor_sync(ALL_LANES, high[h], 2));
                top[h] -= high[h] == MINUS_HUGE ? 0 : high[h]; /* nothing seen yet: no weight */
                float keep = exp2_fast(top[h]);
                top[h] = high[h];
                sum[h] *= keep;
#pragma unroll
                for (int d = 0; d < HEAD / 8; d++) {
                    out[d][2 * h] *= keep;
                    out[d][2 * h + 1] *= keep;
                }
            }
#pragma unroll
            for (int j = 0; j < 4; j++)
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    float base = top[i >> 1] == MINUS_HUGE ? 0 : top[i >> 1];
                    x[j][i] = exp2_fast(x[j][i] - base);
                    sum[i >> 1] += x[j][i];
                }
            add_product<HEAD>(out, x, s->v[at], n);
        }
    }
    copy_wait<0>();
#pragma unroll
    for (int h = 0; h < 2; h++) {
        sum[h] += __shfl_xor_sync(ALL_LANES, sum[h], 1);
        sum[h] += __shfl_xor_sync(ALL_LANES, sum[h], 2);
        if (lane % 4 == 0 && t[h] < a.T && a.lse)
            a.lse[(b * a.H + head) * a.T + t[h]] = (top[h] + log2f(sum[h])) / LOG2E;
        sum[h] = 1.0f / sum[h];
    }
    store_rows<HEAD>((bf16_t *)a.out + row * a.ld_out + head * a.h, a.ld_out, q0 + warp * 16, out,
                     sum, a);
}

/* ------------------------------------------------------------------ backward */

/* Of a pair: x = q . k, dp = dout . v. Gives the weight and the gradient of q . k. */
DEVICE void pair_gradient(const struct cuda_attention_args &a, float inverse, float hot, float lse,
                          float delta, float *x, float *dp)
{
    float y = capped_fast(a.multiplier * *x, a.cap, inverse), slope = 1;
    if (a.cap > 0) slope = 1.0f - (y * inverse) * (y * inverse);
    float p = exp2_fast(LOG2E * (y * hot - lse));
    *x = p;
    *dp = p * (*dp - delta) * hot * slope * a.multiplier;
}

/* dq; blocks as in the forward pass. */
template <int HEAD> DEVICE void flash_dq(const struct cuda_attention_args &a)
{
    struct pair_tiles<HEAD> *s = (struct pair_tiles<HEAD> *)dynamic;
    int64_t head = blockIdx.y, b = blockIdx.z, kv = head / (a.H / a.K), row = b * a.T;
    int64_t q0 = (int64_t)(gridDim.x - 1 - blockIdx.x) * QUERIES;
    const bf16_t *k = (const bf16_t *)a.k + row * a.ld + kv * a.h;
    const bf16_t *v = (const bf16_t *)a.v + row * a.ld + kv * a.h;
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    int64_t t[2] = {q0 + warp * 16 + lane / 4, q0 + warp * 16 + lane / 4 + 8}, first[2];
    float hot[2], lse[2], delta[2], dq[HEAD / 8][4] = {{0}}, inverse = a.cap > 0 ? 1.0f / a.cap : 0;
    uint32_t q[HEAD / 16][4], dout[HEAD / 16][4];
#pragma unroll
    for (int i = 0; i < 2; i++) {
        int64_t stat = (b * a.H + head) * a.T + t[i];
        first[i] = t[i] < a.T ? first_key(a, b, t[i]) : 0;
        hot[i] = temperature(t[i], a.temperature_len);
        lse[i] = t[i] < a.T ? a.lse[stat] : 0;
        delta[i] = t[i] < a.T ? a.delta[stat] : 0;
    }
    load_rows<HEAD, QUERIES>(s->k[1], (const bf16_t *)a.q + row * a.ld + head * a.h, a.ld, q0, a);
    load_rows<HEAD, QUERIES>(s->v[1], (const bf16_t *)a.dout + row * a.ld_out + head * a.h,
                             a.ld_out, q0, a);
    copy_commit();
    copy_wait<0>();
    __syncthreads();
#pragma unroll
    for (int d = 0; d < HEAD / 16; d++) {
        load_a<HEAD>(q[d], s->k[1], warp * 16, 16 * d);
        load_a<HEAD>(dout[d], s->v[1], warp * 16, 16 * d);
    }
    int64_t begin = first_tile(a, b, q0);
    load_rows<HEAD, KEYS>(s->k[0], k, a.ld, begin, a);
    load_rows<HEAD, KEYS>(s->v[0], v, a.ld, begin, a);
    copy_commit();
    for (int64_t u0 = begin, at = 0; u0 <= q0; u0 += KEYS, at ^= 1) {
        copy_wait<0>();
        __syncthreads();
        if (u0 + KEYS <= q0) {
            load_rows<HEAD, KEYS>(s->k[at ^ 1], k, a.ld, u0 + KEYS, a);
            load_rows<HEAD, KEYS>(s->v[at ^ 1], v, a.ld, u0 + KEYS, a);
        }
        copy_commit();
#pragma unroll 1
        for (int n = 0; n < KEYS; n += HALF) {
            float x[4][4], dp[4][4];
            scores<HEAD>(x, q, s->k[at], n);
            scores<HEAD>(dp, dout, s->v[at], n);
#pragma unroll
            for (int j = 0; j < 4; j++)
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    int64_t u = u0 + n + 8 * j + 2 * (lane % 4) + (i & 1);
                    int h = i >> 1;
                    pair_gradient(a, inverse, hot[h], lse[h], delta[h], &x[j][i], &dp[j][i]);
                    if (u > t[h] || u < first[h] || t[h] >= a.T) dp[j][i] = 0;
                }
            add_product<HEAD>(dq, dp, s->k[at], n);
        }
    }
    copy_wait<0>();
    float one[2] = {1, 1};
    store_rows<HEAD>((bf16_t *)a.dq + row * a.ld + head * a.h, a.ld, q0 + warp * 16, dq, one, a);
}

template <int HEAD> struct query_tiles {
    bf16_t k[KEYS * HEAD], v[KEYS * HEAD], q[2][HALF * HEAD], dout[2][HALF * HEAD];
};
struct query_stats {
    float lse[2][HALF], delta[2][HALF], hot[2][HALF];
    int64_t first[2][HALF];
};

/* Queries [t0, t0 + 32) of a head, with what belongs to each. */
template <int HEAD>
DEVICE void load_queries(struct query_tiles<HEAD> *s, struct query_stats *stats, int at,
                         const struct cuda_attention_args &a, int64_t b, int64_t head, int64_t t0)
{
    load_rows<HEAD, HALF>(s->q[at], (const bf16_t *)a.q + b * a.T * a.ld + head * a.h, a.ld, t0, a);
    load_rows<HEAD, HALF>(s->dout[at], (const bf16_t *)a.dout + b * a.T * a.ld_out + head * a.h,
                          a.ld_out, t0, a);
    copy_commit();
    int64_t t = t0 + threadIdx.x, stat = (b * a.H + head) * a.T + t;
    if (threadIdx.x >= HALF) return;
    stats->lse[at][threadIdx.x] = t < a.T ? a.lse[stat] : 0;
    stats->delta[at][threadIdx.x] = t < a.T ? a.delta[stat] : 0;
    stats->hot[at][threadIdx.x] = temperature(t, a.temperature_len);
    stats->first[at][threadIdx.x] = t < a.T ? first_key(a, b, t) : a.T;
}

/* dk and dv; blocks: x is a tile of keys, y a key head, z a sequence. A warp has 16 keys; its scores
 * are turned: rows are keys, columns queries. Heads that share the key head come in their order. */
template <int HEAD> DEVICE void flash_dkv(const struct cuda_attention_args &a)
{
    __shared__ struct query_stats stats;
    struct query_tiles<HEAD> *s = (struct query_tiles<HEAD> *)dynamic;
    int64_t u0 = (int64_t)blockIdx.x * KEYS, kv = blockIdx.y, b = blockIdx.z, per = a.H / a.K;
    int64_t row = b * a.T, tiles = (a.T - u0 + HALF - 1) / HALF;
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, mine = warp * 16;
    float dk[HEAD / 8][4] = {{0}}, dv[HEAD / 8][4] = {{0}}, inverse = a.cap > 0 ? 1.0f / a.cap : 0;
    load_rows<HEAD, KEYS>(s->k, (const bf16_t *)a.k + row * a.ld + kv * a.h, a.ld, u0, a);
    load_rows<HEAD, KEYS>(s->v, (const bf16_t *)a.v + row * a.ld + kv * a.h, a.ld, u0, a);
    load_queries<HEAD>(s, &stats, 0, a, b, kv * per, u0);
    for (int64_t n = 0; n < per * tiles; n++) {
        int at = (int)(n & 1);
        int64_t t0 = u0 + n % tiles * HALF, next = n + 1;
        float x[4][4] = {{0}}, dp[4][4] = {{0}};
        copy_wait<0>();
        __syncthreads();
        if (next < per * tiles)
            load_queries<HEAD>(s, &stats, at ^ 1, a, b, kv * per + next / tiles,
                               u0 + next % tiles * HALF);
#pragma unroll
        for (int d = 0; d < HEAD / 16; d++) {
            uint32_t key[4], value[4], y[4];
            load_a<HEAD>(key, s->k, mine, 16 * d);
            load_a<HEAD>(value, s->v, mine, 16 * d);
#pragma unroll
            for (int j = 0; j < 2; j++) {
                load_b<HEAD>(y, s->q[at], 16 * j, 16 * d);
                mma(x[2 * j], key, y);
                mma(x[2 * j + 1], key, y + 2);
                load_b<HEAD>(y, s->dout[at], 16 * j, 16 * d);
                mma(dp[2 * j], value, y);
                mma(dp[2 * j + 1], value, y + 2);
            }
        }
#pragma unroll
        for (int j = 0; j < 4; j++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                int q = 8 * j + 2 * (lane % 4) + (i & 1);
                int64_t t = t0 + q, u = u0 + mine + lane / 4 + 8 * (i >> 1);
                pair_gradient(a, inverse, stats.hot[at][q], stats.lse[at][q], stats.delta[at][q],
                              &x[j][i], &dp[j][i]);
                if (u <= t && u >= stats.first[at][q] && t < a.T) continue;
                x[j][i] = 0;
                dp[j][i] = 0;
            }
        add_product<HEAD>(dv, x, s->dout[at], 0);
        add_product<HEAD>(dk, dp, s->q[at], 0);
    }
    copy_wait<0>();
    float one[2] = {1, 1};
    store_rows<HEAD>((bf16_t *)a.dk + row * a.ld + kv * a.h, a.ld, u0 + mine, dk, one, a);
    store_rows<HEAD>((bf16_t *)a.dv + row * a.ld + kv * a.h, a.ld, u0 + mine, dv, one, a);
}

#define FLASH(name, body, head)                                    \
    extern "C" __global__ void __launch_bounds__(THREADS)          \
        name(const __grid_constant__ struct cuda_attention_args a) \
    {                                                              \
        body<head>(a);                                             \
    }
FLASH(cuda_flash_forward_64, flash_forward, 64)
FLASH(cuda_flash_forward_128, flash_forward, 128)
FLASH(cuda_flash_dq_64, flash_dq, 64)
FLASH(cuda_flash_dq_128, flash_dq, 128)
FLASH(cuda_flash_dkv_64, flash_dkv, 64)
FLASH(cuda_flash_dkv_128, flash_dkv, 128)
