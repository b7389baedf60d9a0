#!/usr/bin/env python3
"""bench_power.py: what one accelerator draws in each phase of a step, as a share of its cap.

    python3 bench/bench_power.py        # needs an NVIDIA GPU, PyTorch, CuPy and pynvml

The planner's levels of power (src/machine/machine_power.c) come from here and not from the runs that it is
checked on. Energy is the driver's own counter over five seconds, after two of warming up.

Compute: matrix products, attention, a vector operation and a whole layer, forward and backward.
Waiting: kernels of the size of NCCL's (blocks of 512 threads) that spin on flags in memory, all
threads of them or one a block with the rest at a barrier, and that copy: what a collective does
while its peers are late and while bytes move. The links' own power is not in it.
"""
import time

import cupy
import pynvml
import torch
import torch.nn.functional as F

KERNELS = r"""
extern "C" {
typedef long long ns_t;
__device__ ns_t now() { ns_t t; asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(t)); return t; }
__global__ void spin_all(volatile int *flag, ns_t ns)
{
    ns_t begin = now();
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    while (now() - begin < ns)
        for (int k = 0; k < 256 && !flag[i]; k++) {}
}
__global__ void spin_one(volatile int *flag, ns_t ns)
{
    ns_t begin = now();
    if (threadIdx.x == 0)
        while (now() - begin < ns)
            for (int k = 0; k < 256 && !flag[blockIdx.x]; k++) {}
    __syncthreads();
}
__global__ void copy(const uint4 *from, uint4 *to, ns_t n, ns_t ns)
{
    ns_t begin = now(), i = blockIdx.x * (ns_t)blockDim.x + threadIdx.x;
    while (now() - begin < ns)
        for (int k = 0; k < 64; k++) {
            to[i] = from[i];
            i += (ns_t)gridDim.x * blockDim.x;
            if (i >= n) i -= n;
        }
}
}
"""

pynvml.nvmlInit()
gpu = pynvml.nvmlDeviceGetHandleByIndex(0)
cap_w = pynvml.nvmlDeviceGetPowerManagementLimit(gpu) / 1e3


def joules():
    return pynvml.nvmlDeviceGetTotalEnergyConsumption(gpu) / 1e3


def measure(name, go, repeat):
    """Watts while go() runs; repeat: go() is short and is started again and again."""
    torch.cuda.synchronize()
    cupy.cuda.Device().synchronize()
    if not repeat:
        go()
    begin, first, clocks = time.time(), None, []
    while time.time() - begin < 7:
        if repeat:
            for _ in range(8):
                go()
            torch.cuda.synchronize()
        else:
            time.sleep(0.1)
        if first is None and time.time() - begin > 2:
            first, since = joules(), time.time()
        clocks.append(pynvml.nvmlDeviceGetClockInfo(gpu, pynvml.NVML_CLOCK_SM))
    watts = (joules() - first) / (time.time() - since)
    print(f"{name:28s} {watts:6.1f} W  {watts / cap_w:5.3f} of the cap  "
          f"{sum(clocks) / len(clocks):5.0f} MHz", flush=True)


def compute():
    def random(*shape):
        return torch.randn(*shape, device="cuda", dtype=torch.bfloat16)

    a, b = random(8192, 8192), random(8192, 8192)
    measure("product, bf16", lambda: a @ b, True)
    if torch.cuda.get_device_capability() >= (8, 9):
        a8, b8 = a.to(torch.float8_e4m3fn), b.to(torch.float8_e4m3fn).t()
        one = torch.ones((), device="cuda")
        measure("product, fp8", lambda: torch._scaled_mm(a8, b8, scale_a=one, scale_b=one,
                                                         out_dtype=torch.bfloat16), True)
    q, k, v = (random(1, 32, 8192, 128).requires_grad_() for _ in range(3))
    measure("attention and its gradient", lambda: F.scaled_dot_product_attention(
        q, k, v, is_causal=True).sum().backward(), True)
    wide = random(1 << 28)
    measure("vector", lambda: F.gelu(wide), True)
    y = random(8192, 4096).requires_grad_()
    weights = [(random(o, i) * 0.02).requires_grad_()
               for o, i in ((12288, 4096), (4096, 4096), (22016, 4096), (4096, 11008))]

    def layer():
        qkv = F.linear(F.rms_norm(y, (4096,)), weights[0])
        qkv = qkv.view(1, 8192, 3, 32, 128).permute(2, 0, 3, 1, 4)
        o = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], is_causal=True)
        t = y + F.linear(o.transpose(1, 2).reshape(8192, 4096), weights[1])
        gate, up = F.linear(F.rms_norm(t, (4096,)), weights[2]).chunk(2, -1)
        (t + F.linear(F.silu(gate) * up, weights[3])).sum().backward()

    measure("a layer and its gradient", layer, True)


def waiting():
    module = cupy.RawModule(code=KERNELS)
    flags = cupy.zeros(1 << 20, dtype=cupy.int32)
    source = cupy.random.randint(0, 1 << 30, 1 << 28, dtype=cupy.int32)
    target = cupy.empty_like(source)
    ns = cupy.int64(9 * 10**9)
    measure("nothing, a context open", lambda: None, False)
    for blocks in (8, 16, 24, 32):
        for kernel in ("spin_all", "spin_one"):
            measure(f"{kernel}, {blocks} blocks",
                    lambda: module.get_function(kernel)((blocks,), (512,), (flags, ns)), False)
    for blocks in (8, 16, 24, 32):
        measure(f"copy, {blocks} blocks", lambda: module.get_function("copy")(
            (blocks,), (512,), (source, target, cupy.int64(1 << 26), ns)), False)


print(f"{pynvml.nvmlDeviceGetName(gpu)}, cap {cap_w:.0f} W")
compute()
waiting()
