/* compute_cuda_vectors.cu: reductions of whole arrays and optimisers, all on fp32 arrays; the
 * definition: compute/reference/. Sums run in double: a block sums CUDA_SUM numbers, then one block
 * the partial sums, both over a tree of threads that does not depend on the GPU. */
#include "compute/cuda/compute_cuda_device.cuh"

DEVICE double block_sum_double(double v)
{
    __shared__ double part[CUDA_BLOCK];
    part[threadIdx.x] = v;
    for (int m = CUDA_BLOCK / 2; m > 0; m /= 2) {
        __syncthreads();
        if (threadIdx.x < m) part[threadIdx.x] += part[threadIdx.x + m];
    }
    __syncthreads();
    return part[0];
}

/* partial sums: out[block] */
KERNEL(cuda_sum, cuda_sum_args)
{
    int64_t first = (int64_t)blockIdx.x * CUDA_SUM;
    int64_t end = first + CUDA_SUM < a.n ? first + CUDA_SUM : a.n;
    double sum = 0;
    for (int64_t i = first + threadIdx.x; i < end; i += CUDA_BLOCK) {
        float x = a.x[i];
        if (a.kind == CUDA_SUM_NOT_FINITE)
            sum += isfinite(x) ? 0 : 1;
        else
            sum += a.kind == CUDA_SUM_SQUARES ? (double)x * (double)x : (double)x;
    }
    sum = block_sum_double(sum);
    if (threadIdx.x == 0) a.out[blockIdx.x] = sum;
}

/* One block: the sum of n partial sums. */
KERNEL(cuda_sum_partials, cuda_sum_args)
{
    double sum = 0;
    LANES(i, a.n)
    sum += a.partial[i];
    sum = block_sum_double(sum);
    if (threadIdx.x == 0) a.out[0] = sum;
}

KERNEL(cuda_adamw, cuda_adamw_args)
{
    EACH(i, a.n)
    {
        float g = a.grad_scale * a.g[i], p = a.p[i];
        float m = a.beta1 * a.m[i] + (1.0f - a.beta1) * g;
        float v = a.beta2 * a.v[i] + (1.0f - a.beta2) * g * g;
        a.m[i] = m;
        a.v[i] = v;
        a.p[i] = p - a.lr * (m / a.bias1 / (sqrtf(v / a.bias2) + a.eps) + a.decay * p);
    }
}

KERNEL(cuda_momentum, cuda_momentum_args)
{
    EACH(i, a.n)
    {
        float g = a.grad_scale * a.g[i], m = a.beta * a.m[i] + g;
        a.m[i] = m;
        a.u[i] = a.nesterov ? g + a.beta * m : m;
    }
}

KERNEL(cuda_axpby, cuda_elements_args)
{
    float *y = (float *)a.y;
    EACH(i, a.n)
    y[i] = a.a * ((const float *)a.x)[i] + a.b * y[i];
}
