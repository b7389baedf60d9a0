/* compute_cuda_rows.cu: kernels that work row by row: formats, norms, the seam between sub-layers,
 * rotation, biases and the embedding. What each computes: compute.h; the definition:
 * compute/reference/.
 *
 * All are bound by memory. A block has a row, its threads neighbouring elements, so that each
 * request of a warp is whole sectors; the second pass over a row finds it in the cache. Gradients of
 * gains are sums over rows: a block sums CUDA_GAIN_ROWS of them for 32 columns, and a second kernel
 * adds these in their order. */
#include "compute/cuda/compute_cuda_device.cuh"

/* ------------------------------------------------------------------ element by element */

template <typename act_t> DEVICE void cuda_to_act(const struct cuda_elements_args &a)
{
    EACH(i, a.n)
    act_store((act_t *)a.y + i, ((const float *)a.x)[i]);
}
KERNEL_ACT(cuda_to_act, cuda_elements_args)

template <typename act_t> DEVICE void cuda_scale(const struct cuda_elements_args &a)
{
    EACH(i, a.n)
    act_store((act_t *)a.y + i, a.a * act_load(((const act_t *)a.x)[i]));
}
KERNEL_ACT(cuda_scale, cuda_elements_args)

/* ------------------------------------------------------------------ norms */

DEVICE float rms_scale(int64_t D, float sum_squares, float eps)
{
    return 1.0f / sqrtf(sum_squares / (float)D + eps);
}

/* y = rms(x; g) of a row, and its rstd; all threads of the block. */
template <typename act_t>
DEVICE void norm_row(int64_t D, const float *x, const struct cuda_norm_args &a, int64_t row)
{
    float squares = 0;
    LANES(d, D)
    squares += x[d] * x[d];
    float s = rms_scale(D, block_sum(squares), a.eps);
    LANES(d, D)
    act_store((act_t *)a.y + row * D + d, a.g[d] * x[d] * s);
    if (threadIdx.x == 0 && a.rstd) a.rstd[row] = s;
}

template <typename act_t> DEVICE void cuda_rmsnorm(const struct cuda_norm_args &a)
{
    norm_row<act_t>(a.D, a.x + blockIdx.x * a.D, a, blockIdx.x);
}
KERNEL_ACT(cuda_rmsnorm, cuda_norm_args)

/* dx_i = s (g_i dy_i - x_i s^2 mean(g dy x)) */
template <typename act_t> DEVICE void cuda_rmsnorm_backward(const struct cuda_norm_grad_args &a)
{
    int64_t D = a.D;
    const float *x = a.x + blockIdx.x * D;
    const act_t *dy = (const act_t *)a.dy + blockIdx.x * D;
    float *dx = a.dx + blockIdx.x * D, s = a.rstd[blockIdx.x], dot = 0;
    LANES(d, D)
    dot += a.g[d] * act_load(dy[d]) * x[d];
    float mean = block_sum(dot) / (float)D * s * s;
    LANES(d, D)
    {
        float v = s * (a.g[d] * act_load(dy[d]) - x[d] * mean);
        dx[d] = a.add ? dx[d] + v : v;
    }
}
KERNEL_ACT(cuda_rmsnorm_backward, cuda_norm_grad_args)

/* A thread reads back only what it wrote itself, so h_out may be h and needs no barrier. */
template <typename act_t> DEVICE void cuda_seam_forward(const struct cuda_seam_args &a)
{
    int64_t D = a.D, row = blockIdx.x;
    const act_t *y = (const act_t *)a.y + row * D;
    const float *h = a.h + row * D;
    float *h_out = a.h_out + row * D, squares = 0, s = a.scale;
    if (a.g_post) {
        LANES(d, D)
        squares += act_load(y[d]) * act_load(y[d]);
        s = rms_scale(D, block_sum(squares), a.eps);
        if (threadIdx.x == 0) a.rstd_post[row] = s;
    }
    LANES(d, D)
    h_out[d] = h[d] + (a.g_post ? a.g_post[d] * act_load(y[d]) * s : s * act_load(y[d]));
    if (!a.a) return;
    if (a.g_next) {
        struct cuda_norm_args next = {D, h_out, a.g_next, a.a, a.rstd_next, a.eps};
        norm_row<act_t>(D, h_out, next, row);
    } else {
        LANES(d, D)
        act_store((act_t *)a.a + row * D + d, h_out[d]);
    }
}
KERNEL_ACT(cuda_seam_forward, cuda_seam_args)

/* The gradient through rms(y; g_post) of a seam, from dh. */
template <typename act_t> DEVICE void cuda_seam_post(const struct cuda_seam_post_args &a)
{
    int64_t D = a.D, row = blockIdx.x;
    const act_t *y = (const act_t *)a.y + row * D;
    const float *dh = a.dh + row * D;
    float s = a.rstd_post[row], dot = 0;
    LANES(d, D)
    dot += a.g_post[d] * dh[d] * act_load(y[d]);
    float mean = block_sum(dot) / (float)D * s * s;
    LANES(d, D)
    act_store((act_t *)a.dy + row * D + d, s * (a.g_post[d] * dh[d] - act_load(y[d]) * mean));
}
KERNEL_ACT(cuda_seam_post, cuda_seam_post_args)

/* Blocks: x is a group of 32 columns, y a chunk of rows; a thread has a column and every eighth
 * row. */
template <typename dy_t, typename x_t> DEVICE void gain(const struct cuda_gain_args &a)
{
    __shared__ float part[CUDA_BLOCK / 32][32];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int64_t d = (int64_t)blockIdx.x * 32 + lane, first = (int64_t)blockIdx.y * CUDA_GAIN_ROWS;
    int64_t end = first + CUDA_GAIN_ROWS < a.M ? first + CUDA_GAIN_ROWS : a.M;
    float sum = 0;
    for (int64_t r = first + warp; r < end && d < a.D; r += CUDA_BLOCK / 32)
        sum += act_load(((const dy_t *)a.dy)[r * a.D + d]) *
               act_load(((const x_t *)a.x)[r * a.D + d]) * a.rstd[r];
    part[warp][lane] = sum;
    __syncthreads();
    if (warp != 0 || d >= a.D) return;
    for (int i = 1; i < CUDA_BLOCK / 32; i++)
        sum += part[i][lane];
    a.partial[(int64_t)blockIdx.y * a.D + d] = sum;
}

/* Of a norm: dy is act and x fp32; of a seam's first norm: dy, which is dh, is fp32 and x act. */
template <typename act_t> DEVICE void cuda_norm_gain(const struct cuda_gain_args &a)
{
    gain<act_t, float>(a);
}
KERNEL_ACT(cuda_norm_gain, cuda_gain_args)

template <typename act_t> DEVICE void cuda_post_gain(const struct cuda_gain_args &a)
{
    gain<float, act_t>(a);
}
KERNEL_ACT(cuda_post_gain, cuda_gain_args)

KERNEL(cuda_columns, cuda_columns_args)
{
    EACH(i, a.width)
    {
        float sum = 0;
        for (int64_t n = 0; n < a.n; n++)
            sum += a.partial[n * a.width + i];
        a.out[i] = a.accumulate ? a.out[i] + sum : sum;
    }
}

/* ------------------------------------------------------------------ rotation, heads, biases */

template <typename act_t> DEVICE void cuda_rope(const struct cuda_rope_args &a)
{
    int64_t half = a.h / 2, step = a.pairs ? 2 : 1, second = a.pairs ? 1 : half;
    EACH(i, a.M * a.heads * half)
    {
        int64_t d = i % half, head = i / half % a.heads, r = i / half / a.heads;
        const float *cosine = a.table + (a.position ? a.position[r] : r % a.T) * a.h;
        act_t *x = (act_t *)a.x + r * a.ld + head * a.h + d * step;
        float even = act_load(x[0]), odd = act_load(x[second]), c = cosine[d];
        float s = a.backward ? -cosine[half + d] : cosine[half + d];
        act_store(x, even * c - odd * s);
        act_store(x + second, odd * c + even * s);
    }
}
KERNEL_ACT(cuda_rope, cuda_rope_args)

/* A warp has a head. */
template <typename act_t> DEVICE void cuda_head_norm(const struct cuda_head_norm_args &a)
{
    int64_t lane = threadIdx.x % 32, at = thread_of_grid() / 32;
    if (at >= a.M * a.heads) return; /* the whole warp */
    act_t *x = (act_t *)a.x + at / a.heads * a.ld + at % a.heads * a.h;
    float squares = 0;
    for (int64_t d = lane; d < a.h; d += 32)
        squares += act_load(x[d]) * act_load(x[d]);
    float s = rms_scale(a.h, warp_sum(squares), a.eps);
    for (int64_t d = lane; d < a.h; d += 32)
        act_store(x + d, a.g[d] * act_load(x[d]) * s);
}
KERNEL_ACT(cuda_head_norm, cuda_head_norm_args)

template <typename act_t> DEVICE void cuda_bias(const struct cuda_bias_args &a)
{
    EACH(i, a.M * a.n)
    {
        act_t *x = (act_t *)a.x + i / a.n * a.ld + i % a.n;
        act_store(x, act_load(*x) + a.b[i % a.n]);
    }
}
KERNEL_ACT(cuda_bias, cuda_bias_args)

/* ------------------------------------------------------------------ embedding */

/* The row of the table that is here, or -1 (compute_embed_row). */
DEVICE int64_t embed_row(const struct cuda_embed_args &a, int64_t m)
{
    int64_t at = (int64_t)a.ids[m] - a.first;
    return a.count == 0 || (at >= 0 && at < a.count) ? at : -1;
}

KERNEL(cuda_embed, cuda_embed_args)
{
    EACH(i, a.M * a.D)
    {
        int64_t row = embed_row(a, i / a.D);
        a.h[i] = row < 0 ? 0 : a.scale * a.table[row * a.D + i % a.D];
    }
}

/* Rows of the table get their tokens' gradients in the order of the tokens. The block of the first
 * token of an id has that row, all others end at once; it finds the later ones 256 at a time.
 * Blocks: x is a token, y a group of CUDA_BLOCK columns. */
KERNEL(cuda_embed_backward, cuda_embed_args)
{
    __shared__ uint32_t same[CUDA_BLOCK / 32];
    int64_t m = blockIdx.x, row = embed_row(a, m),
            d = (int64_t)blockIdx.y * CUDA_BLOCK + threadIdx.x;
    uint32_t id = a.ids[m];
    bool seen = false;
    for (int64_t i = threadIdx.x; i < m && !seen; i += CUDA_BLOCK)
        seen = a.ids[i] == id;
    if (__syncthreads_or(seen) || row < 0) return;
    float sum = d < a.D ? a.d_table[row * a.D + d] : 0;
    for (int64_t first = m; first < a.M; first += CUDA_BLOCK) {
        int64_t mine = first + threadIdx.x;
        uint32_t found = __ballot_sync(ALL_LANES, mine < a.M && a.ids[mine] == id);
        if (threadIdx.x % 32 == 0) same[threadIdx.x / 32] = found;
        __syncthreads();
        for (int w = 0; w < CUDA_BLOCK / 32; w++)
            for (uint32_t bits = same[w]; bits != 0 && d < a.D; bits &= bits - 1)
                sum += a.scale * a.dh[(first + w * 32 + __ffs(bits) - 1) * a.D + d];
        __syncthreads(); /* before `same` is written again */
    }
    if (d < a.D) a.d_table[row * a.D + d] = sum;
}
