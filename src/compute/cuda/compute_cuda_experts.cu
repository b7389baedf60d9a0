/* compute_cuda_experts.cu: kernels around the experts: gated unit, router, its balance, dispatch,
 * gather and combine. What each computes: compute.h; the definition: compute/reference/ and
 * compute_ops_{experts,balance}.c.
 *
 * The router's choice decides everything behind it, so it is made in one order: the larger score
 * first, of equal ones the smaller index. Dispatch is a counting sort in three kernels: how many slots
 * each chunk of 256 has for each expert, where they begin, and each slot's row. Counts are integers,
 * whose sums no order changes. The host reads none of it: rows beyond the last expert's are padding up
 * to a bound that shapes give. */
#include "compute/cuda/compute_cuda_device.cuh"

extern __shared__ float dynamic[];

/* ------------------------------------------------------------------ gated unit */

#define SQRT_2_OVER_PI 0.79788456080286535588f
#define GELU_CUBIC     0.044715f

DEVICE float gelu_tanh(float x)
{
    return tanhf(SQRT_2_OVER_PI * (x + GELU_CUBIC * x * x * x));
}

template <typename act_t> DEVICE void cuda_glu_forward(const struct cuda_glu_args &a)
{
    EACH(i, a.M * a.F)
    {
        int64_t r = i / a.F;
        const act_t *gu = (const act_t *)a.gu + r * 2 * a.F + i % a.F;
        float gate = act_load(gu[0]), up = act_load(gu[a.F]), w = a.w ? a.w[r] : 1.0f;
        float f = a.silu ? gate / (1.0f + expf(-gate)) : 0.5f * gate * (1.0f + gelu_tanh(gate));
        act_store((act_t *)a.act + i, w * f * up);
    }
}
KERNEL_ACT(cuda_glu_forward, cuda_glu_args)

/* A block has a row. Each element is read whole before it is written. */
template <typename act_t> DEVICE void cuda_glu_backward(const struct cuda_glu_args &a)
{
    int64_t F = a.F, r = blockIdx.x;
    const act_t *gu = (const act_t *)a.gu + r * 2 * F, *d_act = (const act_t *)a.d_act + r * F;
    act_t *act = (act_t *)a.act + r * F, *dgu = (act_t *)a.dgu + r * 2 * F;
    float w = a.w ? a.w[r] : 1.0f, dw = 0;
    LANES(f, F)
    {
        float gate = act_load(gu[f]), up = act_load(gu[F + f]), d = act_load(d_act[f]);
        float t = gelu_tanh(gate), gelu = 0.5f * gate * (1.0f + t);
        float inner = SQRT_2_OVER_PI * (1.0f + 3.0f * GELU_CUBIC * gate * gate);
        float slope = 0.5f * (1.0f + t) + 0.5f * gate * (1.0f - t * t) * inner;
        act_store(act + f, w * gelu * up);
        act_store(dgu + f, d * w * up * slope);
        act_store(dgu + F + f, d * w * gelu);
        dw += d * gelu * up;
    }
    if (!a.dw) return;
    dw = block_sum(dw);
    if (threadIdx.x == 0) a.dw[r] = dw;
}
KERNEL_ACT(cuda_glu_backward, cuda_glu_args)

/* ------------------------------------------------------------------ router */

struct choice {
    float score;
    int32_t index; /* -1: none */
};

/* Whether x comes before y: a larger score, of equal ones the smaller index. */
DEVICE bool before(struct choice x, struct choice y)
{
    if (x.index < 0 || y.index < 0) return x.index >= 0;
    return x.score > y.score || (x.score == y.score && x.index < y.index);
}

/* Of a row's scores probs + bias, the first one behind `last`; by all lanes of a warp. */
DEVICE struct choice next_choice(const float *probs, const float *bias, int64_t E,
                                 struct choice last)
{
    struct choice best = {0, -1};
    for (int64_t e = threadIdx.x % 32; e < E; e += 32) {
        struct choice c = {probs[e] + (bias ? bias[e] : 0.0f), (int32_t)e};
        if ((last.index < 0 || before(last, c)) && before(c, best)) best = c;
    }
#pragma unroll
    for (int m = 16; m > 0; m /= 2) {
        struct choice c = {__shfl_xor_sync(ALL_LANES, best.score, m),
                           __shfl_xor_sync(ALL_LANES, best.index, m)};
        if (before(c, best)) best = c;
    }
    return best;
}

/* Row m's k experts and their probabilities, by a warp. Where no number is left to compare (all are
 * NaN), expert 0. */
DEVICE void choose(const struct cuda_router_args &a, int64_t m, const float *probs)
{
    struct choice last = {0, -1};
    float sum = 0;
    bool writes = threadIdx.x % 32 == 0;
    for (int64_t j = 0; j < a.k; j++) {
        struct choice c = next_choice(probs, a.bias, a.E, last);
        last = c;
        int32_t e = c.index < 0 ? 0 : c.index;
        if (!writes) continue;
        a.top[m * a.k + j] = e;
        a.weight[m * a.k + j] = probs[e];
        sum += probs[e];
    }
    for (int64_t j = 0; j < a.k && writes && a.renormalise; j++)
        a.weight[m * a.k + j] /= sum;
}

enum { TOGETHER = 8 }; /* experts whose logits are summed in one pass over the row */

/* A block has a row; its logits, then its probabilities lie in `dynamic` [E]. */
template <typename act_t> DEVICE void cuda_router_forward(const struct cuda_router_args &a)
{
    __shared__ float part[CUDA_BLOCK / 32][TOGETHER];
    int64_t m = blockIdx.x, D = a.D, E = a.E;
    const act_t *x = (const act_t *)a.x + m * D;
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    for (int64_t e0 = 0; e0 < E; e0 += TOGETHER) {
        float sum[TOGETHER] = {0};
        LANES(d, D)
        {
            float v = act_load(x[d]);
#pragma unroll
            for (int j = 0; j < TOGETHER; j++)
                if (e0 + j < E) sum[j] += v * a.W[(e0 + j) * D + d];
        }
        __syncthreads(); /* part may still be read */
#pragma unroll
        for (int j = 0; j < TOGETHER; j++) {
            float s = warp_sum(sum[j]);
            if (lane == 0) part[warp][j] = s;
        }
        __syncthreads();
        if (threadIdx.x < TOGETHER && e0 + threadIdx.x < E) {
            float s = 0;
            for (int i = 0; i < CUDA_BLOCK / 32; i++)
                s += part[i][threadIdx.x];
            dynamic[e0 + threadIdx.x] = capped(s, a.cap);
        }
    }
    __syncthreads();
    float largest = MINUS_HUGE, total = 0;
    LANES(e, E)
    largest = fmaxf(largest, dynamic[e]);
    largest = block_max(largest);
    LANES(e, E)
    total += expf(dynamic[e] - largest);
    total = block_sum(total);
    LANES(e, E)
    {
        float p = expf(dynamic[e] - largest) / total;
        dynamic[e] = p;
        a.probs[m * E + e] = p;
    }
    if (threadIdx.x == 0) a.lse[m] = largest + logf(total);
    __syncthreads();
    if (warp == 0) choose(a, m, dynamic);
}
KERNEL_ACT(cuda_router_forward, cuda_router_args)

/* A warp has a row. */
KERNEL(cuda_router_select, cuda_router_args)
{
    int64_t m = thread_of_grid() / 32;
    if (m < a.M) choose(a, m, a.probs + m * a.E);
}

/* The gradient of a row's raw logits (compute_reference_experts_internal.h); a warp has a row. */
KERNEL(cuda_router_logits, cuda_router_grad_args)
{
    int64_t m = thread_of_grid() / 32, E = a.E, lane = threadIdx.x % 32;
    if (m >= a.M) return;
    const float *p = a.probs + m * E;
    float *d = a.d_logits + m * E, mean = 0, lse = a.lse[m];
    for (int64_t e = lane; e < E; e += 32) {
        float v = a.aux_coef * (float)E * (a.f ? a.f[e] : 0.0f) / (float)a.M;
        for (int64_t j = 0; j < a.k; j++)
            if (a.top[m * a.k + j] == e) v += a.d_weight[m * a.k + j];
        d[e] = v;
        mean += p[e] * v;
    }
    mean = warp_sum(mean);
    for (int64_t e = lane; e < E; e += 32) {
        float logit = p[e] > 0 ? logf(p[e]) + lse : 0.0f;
        d[e] = p[e] * (d[e] - mean + 2.0f * a.z_coef * lse / (float)a.M) * cap_slope(logit, a.cap);
    }
}

KERNEL(cuda_router_dx, cuda_router_grad_args)
{
    EACH(i, a.M * a.D)
    {
        const float *d = a.d_logits + i / a.D * a.E;
        float sum = 0;
        for (int64_t e = 0; e < a.E; e++)
            sum += d[e] * a.W[e * a.D + i % a.D];
        a.dx[i] = sum;
    }
}

/* partial[chunk, e, d]; blocks: x is a group of columns d, y a chunk and an expert. */
template <typename act_t> DEVICE void cuda_router_dW(const struct cuda_router_grad_args &a)
{
    int64_t d = thread_of_grid(), e = blockIdx.y % a.E, chunk = blockIdx.y / a.E;
    int64_t first = chunk * a.rows, end = first + a.rows < a.M ? first + a.rows : a.M;
    float sum = 0;
    if (d >= a.D) return;
    for (int64_t m = first; m < end; m++)
        sum += a.d_logits[m * a.E + e] * act_load(((const act_t *)a.x)[m * a.D + d]);
    a.partial[(chunk * a.E + e) * a.D + d] = sum;
}
KERNEL_ACT(cuda_router_dW, cuda_router_grad_args)

/* ------------------------------------------------------------------ balance */

/* The k-th largest score of a row and the one behind it; a warp has a row. */
KERNEL(cuda_balance_rows, cuda_balance_args)
{
    int64_t m = thread_of_grid() / 32;
    if (m >= a.M) return;
    struct choice c = {0, -1};
    float kth = 0;
    for (int64_t j = 0; j <= a.k; j++) {
        c = next_choice(a.probs + m * a.E, a.bias, a.E, c);
        if (j == a.k - 1) kth = c.score;
    }
    if (threadIdx.x % 32 != 0) return;
    a.kth[m] = kth;
    a.next[m] = c.score;
}

/* Numbers as integers in the same order. */
DEVICE uint32_t ordered_bits(float x)
{
    uint32_t u = __float_as_uint(x);
    return u >> 31 ? ~u : u | 0x80000000u;
}

DEVICE float from_ordered(uint32_t u)
{
    return __uint_as_float(u >> 31 ? u & 0x7fffffffu : ~u);
}

/* What row m's probability for expert e has to beat, taken from it (compute_cpu_balance.c). */
DEVICE float margin(const struct cuda_balance_args &a, int64_t m, int64_t e)
{
    float p = a.probs[m * a.E + e];
    return p - (p + a.bias[e] >= a.kth[m] ? a.next[m] : a.kth[m]);
}

/* A block has an expert: the share-th largest of its margins, found eight bits at a time. */
KERNEL(cuda_balance_quantile, cuda_balance_args)
{
    __shared__ int32_t count[256];
    __shared__ int32_t left, digit;
    int64_t e = blockIdx.x, share = (a.M * a.k + a.E / 2) / a.E;
    uint32_t found = 0;
    if (threadIdx.x == 0) left = (int32_t)(share < 1 ? 0 : share - 1);
    for (int shift = 24; shift >= 0; shift -= 8) {
        count[threadIdx.x] = 0;
        __syncthreads();
        LANES(m, a.M)
        {
            uint32_t u = ordered_bits(margin(a, m, e));
            bool same = shift == 24 || u >> (shift + 8) == found;
            if (same) atomicAdd(&count[u >> shift & 255], 1);
        }
        __syncthreads();
        if (threadIdx.x == 0) {
            int32_t at = left, d = 255;
            while (d > 0 && at >= count[d])
                at -= count[d--];
            left = at;
            digit = d;
        }
        __syncthreads();
        found = found << 8 | (uint32_t)digit;
    }
    if (threadIdx.x == 0) a.next_bias[e] = -from_ordered(found);
}

/* One block. The mean is summed by one thread, in the order of experts. */
KERNEL(cuda_balance_bias, cuda_balance_args)
{
    __shared__ float mean;
    LANES(e, a.E)
    a.bias[e] += 0.7f * (a.next_bias[e] - a.bias[e]);
    __syncthreads();
    if (threadIdx.x == 0) {
        double sum = 0;
        for (int64_t e = 0; e < a.E; e++)
            sum += (double)a.bias[e] / (double)a.E;
        mean = (float)sum;
    }
    __syncthreads();
    LANES(e, a.E)
    a.bias[e] -= mean;
}

/* ------------------------------------------------------------------ dispatch */

/* A block has a chunk of CUDA_SLOTS slots, a thread each; counts in `dynamic` [E]. */
KERNEL(cuda_dispatch_count, cuda_dispatch_args)
{
    int32_t *here = (int32_t *)dynamic;
    int64_t s = (int64_t)blockIdx.x * CUDA_SLOTS + threadIdx.x;
    LANES(e, a.E)
    here[e] = 0;
    __syncthreads();
    if (s < a.slots) atomicAdd(&here[a.top[s]], 1);
    __syncthreads();
    LANES(e, a.E)
    a.counts[blockIdx.x * a.E + e] = here[e];
}

/* One block: the sums of chunks, then the ranges of experts. */
KERNEL(cuda_dispatch_offsets, cuda_dispatch_args)
{
    LANES(e, a.E)
    {
        int32_t sum = 0;
        for (int32_t c = 0; c < a.chunks; c++) {
            int32_t n = a.counts[c * a.E + e];
            a.counts[c * a.E + e] = sum;
            sum += n;
        }
        a.count[e] = sum;
    }
    __syncthreads();
    if (threadIdx.x != 0) return;
    int64_t at = 0;
    for (int64_t e = 0; e < a.E; e++) {
        a.offset[e] = (int32_t)at;
        at += (a.count[e] + a.align - 1) / a.align * a.align;
    }
    a.offset[a.E] = (int32_t)at;
}

KERNEL(cuda_dispatch_padding, cuda_dispatch_args)
{
    EACH(r, a.rows)
    {
        a.row_token[r] = -1;
        a.row_slot[r] = -1;
    }
}

/* Slots keep their order within an expert. */
KERNEL(cuda_dispatch_place, cuda_dispatch_args)
{
    __shared__ int32_t expert[CUDA_SLOTS];
    int64_t s = (int64_t)blockIdx.x * CUDA_SLOTS + threadIdx.x;
    int32_t e = s < a.slots ? a.top[s] : -1;
    expert[threadIdx.x] = e;
    __syncthreads();
    if (s >= a.slots) return;
    int32_t row = a.offset[e] + a.counts[blockIdx.x * a.E + e];
    for (uint32_t i = 0; i < threadIdx.x; i++)
        row += expert[i] == e;
    a.slot_row[s] = row;
    a.row_token[row] = (int32_t)(s / a.k);
    a.row_slot[row] = (int32_t)s;
}

/* ------------------------------------------------------------------ gather and combine */

template <typename act_t> DEVICE void cuda_gather(const struct cuda_gather_args &a)
{
    EACH(i, a.rows * a.D)
    {
        int32_t token = a.row_token[i / a.D];
        act_store((act_t *)a.y + i,
                  token < 0 ? 0.0f : act_load(((const act_t *)a.x)[token * a.D + i % a.D]));
    }
}
KERNEL_ACT(cuda_gather, cuda_gather_args)

template <typename act_t> DEVICE void cuda_combine(const struct cuda_combine_args &a)
{
    const act_t *y = (const act_t *)a.y, *add = (const act_t *)a.a;
    EACH(i, a.M * a.D)
    {
        int64_t m = i / a.D, d = i % a.D;
        float sum = 0;
        for (int64_t j = 0; j < a.k; j++)
            sum += act_load(y[a.slot_row[m * a.k + j] * a.D + d]);
        if (add) sum += act_load(add[i]);
        if (a.b) sum += a.b[i];
        act_store((act_t *)a.out + i, a.scale * sum);
    }
}
KERNEL_ACT(cuda_combine, cuda_combine_args)

/* Weights of slots to their rows, and gradients of rows to their slots. */
KERNEL(cuda_pick, cuda_pick_args)
{
    EACH(i, a.n)
    a.out[i] = a.index[i] < 0 ? 0.0f : a.x[a.index[i]];
}

KERNEL(cuda_share, cuda_share_args)
{
    EACH(e, a.E)
    a.share[e] = (float)((double)a.count[e] / a.total);
}

/* A block's sum in double: of each thread's numbers, then pairs of threads, always the same ones. */
KERNEL(cuda_routed, cuda_routed_args)
{
    __shared__ double part[CUDA_BLOCK];
    int64_t e = blockIdx.x;
    double sum = 0;
    LANES(i, a.M)
    {
        double x = e < a.E ? (double)a.probs[i * a.E + e] : (double)a.lse[i];
        sum += e < a.E ? x : x * x;
    }
    part[threadIdx.x] = sum;
    __syncthreads();
    for (int n = CUDA_BLOCK / 2; n > 0; n /= 2) {
        if (threadIdx.x < n) part[threadIdx.x] += part[threadIdx.x + n];
        __syncthreads();
    }
    if (threadIdx.x != 0) return;
    if (e < a.E) a.out[e] = (double)a.count[e];
    a.out[a.E + e] = part[0];
}
