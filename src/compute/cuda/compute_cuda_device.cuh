/* compute_cuda_device.cuh: what the kernels share. Plain CUDA C: a kernel is written once as a
 * template over the format of activations and named for both by KERNEL_ACT.
 *
 * There is no atomic operation on floats: every sum runs in an order that shapes alone decide, so a
 * kernel gives the same bits each time. Sums over a row go first over the numbers of a thread, then
 * over the lanes of a warp by exchanges that pair lanes l and l ^ 16, 8, 4, 2, 1 (both get the same
 * bits), then over the warps in their order. */
#ifndef COLOSSUS_COMPUTE_CUDA_DEVICE_CUH
#define COLOSSUS_COMPUTE_CUDA_DEVICE_CUH

#include "compute/cuda/compute_cuda_args_internal.h"

#define DEVICE     static __device__ __forceinline__
#define ALL_LANES  0xffffffffu
#define MINUS_HUGE (-__int_as_float(0x7f800000))

/* name_f32 and name_bf16 run `body`, a template over the type of activations. */
#define KERNEL_ACT(name, args_t)                                                    \
    extern "C" __global__ void name##_f32(const __grid_constant__ struct args_t a)  \
    {                                                                               \
        name<float>(a);                                                             \
    }                                                                               \
    extern "C" __global__ void name##_bf16(const __grid_constant__ struct args_t a) \
    {                                                                               \
        name<bf16_t>(a);                                                            \
    }
#define KERNEL(name, args_t) \
    extern "C" __global__ void name(const __grid_constant__ struct args_t a)

typedef uint16_t bf16_t;

DEVICE float act_load(float x)
{
    return x;
}

DEVICE float act_load(bf16_t x)
{
    return __uint_as_float((unsigned)x << 16);
}

/* To nearest, ties to even. A NaN becomes the one NaN that the instruction knows. */
DEVICE void act_store(float *to, float x)
{
    *to = x;
}

DEVICE void act_store(bf16_t *to, float x)
{
    bf16_t bits;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    *to = bits;
}

/* Two bfloat16 in a register, the first one in the lower half. */
DEVICE uint32_t pack2(float first, float second)
{
    uint32_t bits;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(second), "f"(first));
    return bits;
}

DEVICE int64_t thread_of_grid()
{
    return (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
}

DEVICE int64_t threads_of_grid()
{
    return (int64_t)gridDim.x * blockDim.x;
}

/* Every element below n, dealt to all threads of the grid; below n, to those of the block. */
#define EACH(i, n)  for (int64_t i = thread_of_grid(); i < (n); i += threads_of_grid())
#define LANES(i, n) for (int64_t i = threadIdx.x; i < (n); i += blockDim.x)

DEVICE float warp_sum(float v)
{
#pragma unroll
    for (int m = 16; m > 0; m /= 2)
        v += __shfl_xor_sync(ALL_LANES, v, m);
    return v;
}

DEVICE float warp_max(float v)
{
#pragma unroll
    for (int m = 16; m > 0; m /= 2)
        v = fmaxf(v, __shfl_xor_sync(ALL_LANES, v, m));
    return v;
}

/* Over all CUDA_BLOCK threads of a block, the same for each. */
DEVICE float block_sum(float v)
{
    __shared__ float part[CUDA_BLOCK / 32];
    v = warp_sum(v);
    __syncthreads(); /* part may still be read by the sum before */
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = v;
    __syncthreads();
    v = 0;
#pragma unroll
    for (int i = 0; i < CUDA_BLOCK / 32; i++)
        v += part[i];
    return v;
}

DEVICE float block_max(float v)
{
    __shared__ float part[CUDA_BLOCK / 32];
    v = warp_max(v);
    __syncthreads();
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = v;
    __syncthreads();
    v = part[0];
#pragma unroll
    for (int i = 1; i < CUDA_BLOCK / 32; i++)
        v = fmaxf(v, part[i]);
    return v;
}

/* compute/reference: the cap of logits and its slope, from the capped value. */
DEVICE float capped(float x, float cap)
{
    return cap > 0 ? cap * tanhf(x / cap) : x;
}

DEVICE float cap_slope(float y, float cap)
{
    return cap > 0 ? 1.0f - (y / cap) * (y / cap) : 1.0f;
}

#endif
