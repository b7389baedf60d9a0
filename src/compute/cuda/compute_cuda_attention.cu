/* compute_cuda_attention.cu: attention with the logits' cap, forward and backward, and attention over
 * pages, for any head width up to 512 and both formats; the definition:
 * compute/reference/compute_reference_attention_internal.h. A block has a query (or a key) of a head,
 * its threads a score each of CUDA_BLOCK at a time. The backward pass makes scores twice, once for dq
 * and once for dk and dv, so that each number is summed by one thread in one order: no atomic addition
 * is needed. Faster for bfloat16: compute_cuda_flash.cu. */
#include "compute/cuda/compute_cuda_scores.cuh"

/* ------------------------------------------------------------------ plain, forward */

/* Sums of a query over keys that come CUDA_BLOCK at a time. */
struct online {
    float largest, sum;
};

/* Takes this thread's score in; returns its weight, and in *keep by what earlier sums shrink. */
DEVICE float online_take(struct online *o, float score, float *keep)
{
    float largest = fmaxf(o->largest, block_max(score));
    *keep = o->largest == MINUS_HUGE ? 0.0f : expf(o->largest - largest);
    float weight = score == MINUS_HUGE ? 0.0f : expf(score - largest);
    o->largest = largest;
    o->sum = o->sum * *keep + block_sum(weight);
    return weight;
}

enum { MOST_HEAD = 512, PER_THREAD = MOST_HEAD / CUDA_BLOCK };

/* Blocks: x is a query of all sequences, y a head. */
template <typename act_t> DEVICE void cuda_attention_forward(const struct cuda_attention_args &a)
{
    __shared__ float q[MOST_HEAD], weight[CUDA_BLOCK];
    int64_t t = blockIdx.x % a.T, b = blockIdx.x / a.T, head = blockIdx.y, h = a.h;
    int64_t kv = head / (a.H / a.K), row = b * a.T;
    const act_t *k = (const act_t *)a.k + row * a.ld + kv * h;
    const act_t *v = (const act_t *)a.v + row * a.ld + kv * h;
    struct online o = {MINUS_HUGE, 0};
    float sum[PER_THREAD] = {0}, hot = temperature(t, a.temperature_len);
    LANES(d, h)
    q[d] = act_load(((const act_t *)a.q)[(row + t) * a.ld + head * h + d]);
    __syncthreads();
    for (int64_t u0 = first_key(a, b, t); u0 <= t; u0 += CUDA_BLOCK) {
        int64_t u = u0 + threadIdx.x, end = u0 + CUDA_BLOCK <= t ? u0 + CUDA_BLOCK : t + 1;
        float score = MINUS_HUGE, dot = 0, keep;
        if (u <= t) {
            for (int64_t d = 0; d < h; d++)
                dot += q[d] * act_load(k[u * a.ld + d]);
            score = capped(a.multiplier * dot, a.cap) * hot;
        }
        float w = online_take(&o, score, &keep);
        weight[threadIdx.x] = w;
        __syncthreads();
#pragma unroll
        for (int i = 0; i < PER_THREAD; i++) {
            int64_t d = threadIdx.x + (int64_t)i * CUDA_BLOCK;
            sum[i] *= keep;
            for (int64_t w0 = u0; w0 < end && d < h; w0++)
                sum[i] += weight[w0 - u0] * act_load(v[w0 * a.ld + d]);
        }
        __syncthreads(); /* before weight is written again */
    }
#pragma unroll
    for (int i = 0; i < PER_THREAD; i++) {
        int64_t d = threadIdx.x + (int64_t)i * CUDA_BLOCK;
        if (d < h) act_store((act_t *)a.out + (row + t) * a.ld_out + head * h + d, sum[i] / o.sum);
    }
    if (threadIdx.x == 0 && a.lse) a.lse[(b * a.H + head) * a.T + t] = o.largest + logf(o.sum);
}
KERNEL_ACT(cuda_attention_forward, cuda_attention_args)

/* ------------------------------------------------------------------ plain, backward */

/* delta = dout . out of a query; a warp has one. */
template <typename act_t> DEVICE void cuda_attention_delta(const struct cuda_attention_args &a)
{
    int64_t i = thread_of_grid() / 32;
    if (i >= a.B * a.T * a.H) return;
    int64_t head = i % a.H, row = i / a.H, at = row * a.ld_out + head * a.h;
    float dot = 0;
    for (int64_t d = threadIdx.x % 32; d < a.h; d += 32)
        dot += act_load(((const act_t *)a.dout)[at + d]) * act_load(((const act_t *)a.out)[at + d]);
    dot = warp_sum(dot);
    if (threadIdx.x % 32 == 0) a.delta[(row / a.T * a.H + head) * a.T + row % a.T] = dot;
}
KERNEL_ACT(cuda_attention_delta, cuda_attention_args)

struct pair_gradient {
    float p, dx; /* the weight, and the gradient of q . k */
};

/* Of query t and key u of a head, by one thread. */
template <typename act_t>
DEVICE struct pair_gradient pair(const struct cuda_attention_args &a, int64_t b, int64_t head,
                                 int64_t t, int64_t u)
{
    int64_t h = a.h, kv = head / (a.H / a.K), row = b * a.T, stat = (b * a.H + head) * a.T + t;
    const act_t *q = (const act_t *)a.q + (row + t) * a.ld + head * h;
    const act_t *k = (const act_t *)a.k + (row + u) * a.ld + kv * h;
    const act_t *v = (const act_t *)a.v + (row + u) * a.ld + kv * h;
    const act_t *dout = (const act_t *)a.dout + (row + t) * a.ld_out + head * h;
    float x = 0, dp = 0, hot = temperature(t, a.temperature_len);
    for (int64_t d = 0; d < h; d++) {
        x += act_load(q[d]) * act_load(k[d]);
        dp += act_load(dout[d]) * act_load(v[d]);
    }
    x = capped(a.multiplier * x, a.cap);
    float p = expf(x * hot - a.lse[stat]);
    return {p, p * (dp - a.delta[stat]) * hot * cap_slope(x, a.cap) * a.multiplier};
}

template <typename act_t> DEVICE void cuda_attention_dq(const struct cuda_attention_args &a)
{
    __shared__ float dx[CUDA_BLOCK];
    int64_t t = blockIdx.x % a.T, b = blockIdx.x / a.T, head = blockIdx.y, h = a.h;
    const act_t *k = (const act_t *)a.k + b * a.T * a.ld + head / (a.H / a.K) * h;
    float sum[PER_THREAD] = {0};
    for (int64_t u0 = first_key(a, b, t); u0 <= t; u0 += CUDA_BLOCK) {
        int64_t u = u0 + threadIdx.x, end = u0 + CUDA_BLOCK <= t ? u0 + CUDA_BLOCK : t + 1;
        dx[threadIdx.x] = u <= t ? pair<act_t>(a, b, head, t, u).dx : 0.0f;
        __syncthreads();
#pragma unroll
        for (int i = 0; i < PER_THREAD; i++) {
            int64_t d = threadIdx.x + (int64_t)i * CUDA_BLOCK;
            for (int64_t w = u0; w < end && d < h; w++)
                sum[i] += dx[w - u0] * act_load(k[w * a.ld + d]);
        }
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < PER_THREAD; i++) {
        int64_t d = threadIdx.x + (int64_t)i * CUDA_BLOCK;
        if (d < h) act_store((act_t *)a.dq + (b * a.T + t) * a.ld + head * h + d, sum[i]);
    }
}
KERNEL_ACT(cuda_attention_dq, cuda_attention_args)

/* Blocks: x is a key of all sequences, y a key head. Heads that share it come in their order. */
template <typename act_t> DEVICE void cuda_attention_dkv(const struct cuda_attention_args &a)
{
    __shared__ float dx[CUDA_BLOCK], weight[CUDA_BLOCK];
    int64_t u = blockIdx.x % a.T, b = blockIdx.x / a.T, kv = blockIdx.y, h = a.h, per = a.H / a.K;
    float dk[PER_THREAD] = {0}, dv[PER_THREAD] = {0};
    for (int64_t head = kv * per; head < (kv + 1) * per; head++)
        for (int64_t t0 = u; t0 < a.T; t0 += CUDA_BLOCK) {
            int64_t t = t0 + threadIdx.x, end = t0 + CUDA_BLOCK < a.T ? t0 + CUDA_BLOCK : a.T;
            struct pair_gradient g = {0, 0};
            if (t < a.T && first_key(a, b, t) <= u) g = pair<act_t>(a, b, head, t, u);
            dx[threadIdx.x] = g.dx;
            weight[threadIdx.x] = g.p;
            __syncthreads();
#pragma unroll
            for (int i = 0; i < PER_THREAD; i++) {
                int64_t d = threadIdx.x + (int64_t)i * CUDA_BLOCK;
                for (int64_t w = t0; w < end && d < h; w++) {
                    const act_t *q = (const act_t *)a.q + (b * a.T + w) * a.ld + head * h;
                    const act_t *dout = (const act_t *)a.dout + (b * a.T + w) * a.ld_out + head * h;
                    dk[i] += dx[w - t0] * act_load(q[d]);
                    dv[i] += weight[w - t0] * act_load(dout[d]);
                }
            }
            __syncthreads();
        }
#pragma unroll
    for (int i = 0; i < PER_THREAD; i++) {
        int64_t d = threadIdx.x + (int64_t)i * CUDA_BLOCK, at = (b * a.T + u) * a.ld + kv * h + d;
        if (d >= h) continue;
        act_store((act_t *)a.dk + at, dk[i]);
        act_store((act_t *)a.dv + at, dv[i]);
    }
}
KERNEL_ACT(cuda_attention_dkv, cuda_attention_args)

/* ------------------------------------------------------------------ pages */

enum { PAGE = 32 }; /* COMPUTE_PAGE */

template <typename act_t>
DEVICE act_t *page_part(const struct cuda_paged_args &a, const struct cuda_paged_run &r, int64_t u)
{
    return (act_t *)((char *)r.pages[u / PAGE] + a.at);
}

/* Blocks: x is a run, y a row of it; rows beyond its n have nothing to do, here and below. */
template <typename act_t> DEVICE void cuda_paged_store(const struct cuda_paged_args &a)
{
    const struct cuda_paged_run r = a.runs[blockIdx.x];
    if (blockIdx.y >= r.n) return;
    int64_t u = r.pos + blockIdx.y, row = r.row + blockIdx.y, at = u % PAGE, width = a.K * a.h;
    act_t *keys = page_part<act_t>(a, r, u), *values = keys + width * PAGE;
    LANES(d, width)
    {
        keys[d * PAGE + at] = ((const act_t *)a.k)[row * a.ld + d];
        values[(d / a.h * PAGE + at) * a.h + d % a.h] = ((const act_t *)a.v)[row * a.ld + d];
    }
}
KERNEL_ACT(cuda_paged_store, cuda_paged_args)

/* Blocks: x is a run, y a row, z a head: what a row gives does not depend on others. */
template <typename act_t> DEVICE void cuda_paged_attention(const struct cuda_paged_args &a)
{
    __shared__ float q[MOST_HEAD], weight[CUDA_BLOCK];
    const struct cuda_paged_run r = a.runs[blockIdx.x];
    if (blockIdx.y >= r.n) return;
    int64_t t = r.pos + blockIdx.y, row = r.row + blockIdx.y, head = blockIdx.z, h = a.h;
    int64_t kv = head / (a.H / a.K), first = a.window && t >= a.window ? t - a.window + 1 : 0;
    struct online o = {MINUS_HUGE, 0};
    float sum[PER_THREAD] = {0}, hot = temperature(t, a.temperature_len);
    LANES(d, h)
    q[d] = act_load(((const act_t *)a.q)[row * a.ld + head * h + d]);
    __syncthreads();
    for (int64_t u0 = first / PAGE * PAGE; u0 <= t; u0 += CUDA_BLOCK) {
        int64_t u = u0 + threadIdx.x;
        float score = MINUS_HUGE, dot = 0, keep;
        if (u >= first && u <= t) {
            const act_t *keys = page_part<act_t>(a, r, u) + kv * h * PAGE + u % PAGE;
            for (int64_t d = 0; d < h; d++)
                dot += q[d] * act_load(keys[d * PAGE]);
            score = capped(a.multiplier * dot, a.cap) * hot;
        }
        float w = online_take(&o, score, &keep);
        weight[threadIdx.x] = w;
        __syncthreads();
#pragma unroll
        for (int i = 0; i < PER_THREAD; i++) {
            int64_t d = threadIdx.x + (int64_t)i * CUDA_BLOCK;
            int64_t begin = u0 < first ? first : u0;
            sum[i] *= keep;
            for (int64_t w0 = begin; w0 <= t && w0 < u0 + CUDA_BLOCK && d < h; w0++) {
                const act_t *values = page_part<act_t>(a, r, w0) + a.K * h * PAGE;
                sum[i] += weight[w0 - u0] * act_load(values[(kv * PAGE + w0 % PAGE) * h + d]);
            }
        }
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < PER_THREAD; i++) {
        int64_t d = threadIdx.x + (int64_t)i * CUDA_BLOCK;
        if (d < h) act_store((act_t *)a.out + row * a.ld_out + head * h + d, sum[i] / o.sum);
    }
}
KERNEL_ACT(cuda_paged_attention, cuda_paged_args)
