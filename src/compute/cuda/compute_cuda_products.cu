/* compute_cuda_products.cu: matrix products, of one matrix or of groups that each have a range of
 * rows (compute_cuda_args_internal.h).
 *
 * bfloat16: a block makes 128 x 128 of C with 8 warps of 64 x 32, 32 of the sum at a time, three
 * stages of copies ahead, on tensor cores. fp32: 64 x 64, 4 x 4 a thread, on ordinary multiply-adds,
 * so that no number is rounded before it is multiplied. Each number of C is summed by one thread in
 * the order of the sum. Which group a tile of rows belongs to is found on the device, so the host
 * never reads an offset. */
#include "compute/cuda/compute_cuda_tiles.cuh"

/* What a block computes: rows [row, row + rows) of C from `tile` rows down, `depth` numbers summed. */
struct work {
    int64_t rows, depth;
    const char *A, *B; /* at the first row (or summand) of the group */
    char *C;
    int64_t m0, n0;
};

/* false: no work for this block. */
DEVICE bool find_work(const struct cuda_product_args &a, int tile, int in_bytes, struct work *w)
{
    int64_t y = blockIdx.y, group = 0, first = 0, end = a.mode == CUDA_PRODUCT_ROWS ? a.M : a.K;
    int out_bytes = a.out_bf16 ? 2 : 4;
    if (a.offset && a.mode == CUDA_PRODUCT_ROWS) {
        for (; group < a.groups; group++) {
            first = a.offset[group];
            end = a.offset[group + 1];
            int64_t tiles = (end - first + tile - 1) / tile;
            if (y < tiles) break;
            y -= tiles;
        }
        if (group == a.groups) return false;
    } else if (a.offset) {
        group = blockIdx.z;
        first = a.offset[group];
        end = a.offset[group + 1];
    }
    bool depth = a.mode == CUDA_PRODUCT_DEPTH;
    w->rows = depth ? a.M : end - first;
    w->depth = depth ? end - first : a.K;
    int64_t a_first = first * a.lda, b_first = depth ? first * a.ldb : group * a.b_group;
    w->A = (const char *)a.A + a_first * in_bytes;
    w->B = (const char *)a.B + b_first * in_bytes;
    w->C = (char *)a.C + (depth ? group * a.c_group : first * a.ldc) * out_bytes;
    w->m0 = y * tile;
    w->n0 = (int64_t)blockIdx.x * tile;
    return true;
}

DEVICE void put_number(const struct cuda_product_args &a, const struct work &w, int64_t m,
                       int64_t n, float sum)
{
    if (m >= w.rows || n >= a.N) return;
    int64_t at = m * a.ldc + n;
    sum *= a.alpha;
    if (a.out_bf16) {
        bf16_t *c = (bf16_t *)w.C + at;
        act_store(c, a.beta != 0 ? sum + a.beta * act_load(*c) : sum);
    } else {
        float *c = (float *)w.C + at;
        *c = a.beta != 0 ? sum + a.beta * *c : sum;
    }
}

/* ------------------------------------------------------------------ fp32 */

enum { DEPTH = 16, LINE = CUDA_TILE + 4 };

/* A tile [DEPTH][CUDA_TILE] of op(X), whose element (i, p) lies at i * step_i + p * step_p; its
 * neighbours in memory go to neighbouring threads. */
DEVICE void load_plain(float (*to)[LINE], const float *x, int64_t step_i, int64_t step_p,
                       int64_t most_i, int64_t most_p)
{
#pragma unroll
    for (int n = 0; n < DEPTH * CUDA_TILE / CUDA_BLOCK; n++) {
        int at = n * CUDA_BLOCK + threadIdx.x;
        int i = step_p == 1 ? at / DEPTH : at % CUDA_TILE;
        int p = step_p == 1 ? at % DEPTH : at / CUDA_TILE;
        to[p][i] = i < most_i && p < most_p ? x[i * step_i + p * step_p] : 0.0f;
    }
}

KERNEL(cuda_product_f32, cuda_product_args)
{
    __shared__ float A[DEPTH][LINE], B[DEPTH][LINE];
    struct work w;
    if (!find_work(a, CUDA_TILE, 4, &w)) return;
    int64_t a_i = a.transpose_a ? 1 : a.lda, a_p = a.transpose_a ? a.lda : 1;
    int64_t b_i = a.transpose_b ? a.ldb : 1, b_p = a.transpose_b ? 1 : a.ldb;
    const float *x = (const float *)w.A + w.m0 * a_i, *y = (const float *)w.B + w.n0 * b_i;
    int mi = threadIdx.x / 16 * 4, ni = threadIdx.x % 16 * 4;
    float sum[4][4] = {{0}};
    for (int64_t p = 0; p < w.depth; p += DEPTH) {
        __syncthreads();
        load_plain(A, x + p * a_p, a_i, a_p, w.rows - w.m0, w.depth - p);
        load_plain(B, y + p * b_p, b_i, b_p, a.N - w.n0, w.depth - p);
        __syncthreads();
#pragma unroll
        for (int k = 0; k < DEPTH; k++)
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++)
                    sum[i][j] = fmaf(A[k][mi + i], B[k][ni + j], sum[i][j]);
    }
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++)
            put_number(a, w, w.m0 + mi + i, w.n0 + ni + j, sum[i][j]);
}

/* ------------------------------------------------------------------ bfloat16 */

enum { TILE = 128, STEP = 32, STAGES = 3, PIECES = TILE * STEP / 8 / CUDA_BLOCK };

struct stages {
    bf16_t A[STAGES][TILE * STEP], B[STAGES][TILE * STEP];
};
extern __shared__ __align__(128) unsigned char dynamic[];

/* An operand's tile of one stage: [i][p], rows of STEP, where the sum runs along memory, else [p][i],
 * rows of TILE. `along` numbers of memory and `rows` of them are there. */
template <bool ALONG>
DEVICE void load_operand(bf16_t *tile, const bf16_t *x, int64_t ld, int64_t most_i, int64_t most_p,
                         bool aligned)
{
#pragma unroll 1
    for (int n = 0; n < PIECES; n++) {
        int at = n * CUDA_BLOCK + threadIdx.x;
        if (ALONG) {
            int r = at / (STEP / 8), c = at % (STEP / 8) * 8;
            load_piece<STEP>(tile, r, c, r < most_i ? x + r * ld : x, r < most_i ? most_p : 0,
                             aligned);
        } else {
            int r = at / (TILE / 8), c = at % (TILE / 8) * 8;
            load_piece<TILE>(tile, r, c, r < most_p ? x + r * ld : x, r < most_p ? most_i : 0,
                             aligned);
        }
    }
}

template <bool TA, bool TB>
DEVICE void load_stage(struct stages *s, int at, const struct cuda_product_args &a,
                       const struct work &w, int64_t p)
{
    const bf16_t *x = (const bf16_t *)w.A + (TA ? p * a.lda + w.m0 : w.m0 * a.lda + p);
    const bf16_t *y = (const bf16_t *)w.B + (TB ? w.n0 * a.ldb + p : p * a.ldb + w.n0);
    if (p < w.depth) {
        load_operand<!TA>(s->A[at], x, a.lda, w.rows - w.m0, w.depth - p, a.aligned);
        load_operand<TB>(s->B[at], y, a.ldb, a.N - w.n0, w.depth - p, a.aligned);
    }
    copy_commit();
}

/* A warp's 64 x 32 of the tile: 4 x 4 products of 16 x 8. */
template <bool TA, bool TB>
DEVICE void multiply(float sum[4][4][4], const bf16_t *A, const bf16_t *B, int m, int n)
{
#pragma unroll
    for (int k = 0; k < STEP; k += 16) {
        uint32_t x[4][4], y[2][4];
#pragma unroll
        for (int i = 0; i < 4; i++)
            if (TA)
                load_a_turned<TILE>(x[i], A, m + 16 * i, k);
            else
                load_a<STEP>(x[i], A, m + 16 * i, k);
#pragma unroll
        for (int j = 0; j < 2; j++)
            if (TB)
                load_b<STEP>(y[j], B, n + 16 * j, k);
            else
                load_b_turned<TILE>(y[j], B, n + 16 * j, k);
#pragma unroll
        for (int i = 0; i < 4; i++)
#pragma unroll
            for (int j = 0; j < 4; j++)
                mma(sum[i][j], x[i], &y[j / 2][j % 2 * 2]);
    }
}

template <bool TA, bool TB> DEVICE void product(const struct cuda_product_args &a)
{
    struct stages *s = (struct stages *)dynamic;
    struct work w;
    if (!find_work(a, TILE, 2, &w)) return;
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, m = warp / 4 * 64, n = warp % 4 * 32;
    float sum[4][4][4] = {{{0}}};
    for (int i = 0; i < STAGES - 1; i++)
        load_stage<TA, TB>(s, i, a, w, (int64_t)i * STEP);
    int at = 0;
    for (int64_t p = 0; p < w.depth; p += STEP) {
        copy_wait<STAGES - 2>();
        __syncthreads(); /* the stage is here for all, and the one before it is read by nobody */
        load_stage<TA, TB>(s, (at + STAGES - 1) % STAGES, a, w, p + (STAGES - 1) * STEP);
        multiply<TA, TB>(sum, s->A[at], s->B[at], m, n);
        at = (at + 1) % STAGES;
    }
    copy_wait<0>();
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++)
#pragma unroll
            for (int c = 0; c < 4; c++)
                put_number(a, w, w.m0 + m + 16 * i + lane / 4 + 8 * (c >> 1),
                           w.n0 + n + 8 * j + 2 * (lane % 4) + (c & 1), sum[i][j][c]);
}

/* nn, nt, tn, tt: whether A, then B, is transposed. */
extern "C" __global__ void __launch_bounds__(CUDA_BLOCK, 2)
    cuda_product_nn_bf16(const __grid_constant__ struct cuda_product_args a)
{
    product<false, false>(a);
}
extern "C" __global__ void __launch_bounds__(CUDA_BLOCK, 2)
    cuda_product_nt_bf16(const __grid_constant__ struct cuda_product_args a)
{
    product<false, true>(a);
}
extern "C" __global__ void __launch_bounds__(CUDA_BLOCK, 2)
    cuda_product_tn_bf16(const __grid_constant__ struct cuda_product_args a)
{
    product<true, false>(a);
}
extern "C" __global__ void __launch_bounds__(CUDA_BLOCK, 2)
    cuda_product_tt_bf16(const __grid_constant__ struct cuda_product_args a)
{
    product<true, true>(a);
}
