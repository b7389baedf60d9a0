#!/usr/bin/env python3
"""bench_accelerator.py: products, attention and whole training steps on one GPU, for `plan validate`.

    python3 bench/bench_accelerator.py > steps.csv      # needs an NVIDIA GPU of 80 GB and PyTorch
    colossus plan validate steps.csv --rows

Steps are of truncated models, as Megatron keeps them: bf16 weights, fp32 sums of gradients over four
microbatches, clipping, Adam on fp32 masters, torch.compile, cuDNN's attention. What they took is what
the planner is held against; no constant of the model was fitted on them. Rates of products and of
attention go to standard error, TFLOP/s.
"""
import sys
import time

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

GPU, BF16, MICROBATCHES = "cuda", torch.bfloat16, 4

# name, layers, hidden, heads, kv heads, ffn, vocabulary, microbatch, sequence
MODELS = (
    ("Llama-8B of 8 layers", 8, 4096, 32, 8, 14336, 128256, 1, 8192),
    ("Llama-70B of 3 layers", 3, 8192, 64, 8, 28672, 32000, 2, 4096),
    ("1024 wide, 24 layers", 24, 1024, 16, 16, 4096, 50304, 8, 2048),
)
WIDTHS = ((1024, 12288), (1536, 12288), (3072, 12288), (6144, 12288), (12288, 1536), (12288, 3072), (12288, 6144),
          (4096, 4096), (28672, 4096), (4096, 14336), (2048, 4096), (4096, 1024), (7168, 2048), (2048, 7168),
          (768, 4096))


def seconds(work, least):
    """Mean seconds of one run, over at least `least` of them."""
    work()
    torch.cuda.synchronize()
    start, n = time.time(), 0
    while time.time() - start < least:
        for _ in range(4):
            work()
        torch.cuda.synchronize()
        n += 4
    return (time.time() - start) / n


def products():
    for m in (512, 2048, 8192, 16384):
        for n, k in WIDTHS:
            a, b = torch.randn(m, k, device=GPU, dtype=BF16), torch.randn(k, n, device=GPU, dtype=BF16)
            s = seconds(lambda: a @ b, 0.25)
            print("product %6d x %6d x %6d %7.0f" % (m, n, k, 2 * m * n * k / s / 1e12), file=sys.stderr)


def attention():
    for length in (2048, 4096, 8192, 16384):
        batch = max(1, 16384 // length)
        q, k, v = [torch.randn(batch, 32, length, 128, device=GPU, dtype=BF16, requires_grad=True) for _ in range(3)]
        g, flops = torch.randn_like(q), 2 * batch * 32 * length * length * 128

        def forward():
            return F.scaled_dot_product_attention(q, k, v, is_causal=True)

        def both():
            forward().backward(g)
            q.grad = k.grad = v.grad = None

        with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
            f = seconds(forward, 0.4)
            b = seconds(both, 0.6) - f
        print("attention %6d forward %5.0f backward %5.0f" % (length, flops / f / 1e12, 2.5 * flops / b / 1e12),
              file=sys.stderr)


class Layer(torch.nn.Module):
    def __init__(self, hidden, heads, kv_heads, ffn):
        super().__init__()
        self.heads, self.kv_heads, self.width = heads, kv_heads, hidden // heads
        linear = lambda i, o: torch.nn.Linear(i, o, bias=False)
        self.qkv, self.out = linear(hidden, (heads + 2 * kv_heads) * self.width), linear(hidden, hidden)
        self.gate, self.down = linear(hidden, 2 * ffn), linear(ffn, hidden)
        self.norm1, self.norm2 = torch.nn.RMSNorm(hidden), torch.nn.RMSNorm(hidden)

    def forward(self, x, cos, sin):
        B, T, hidden = x.shape
        H, K, w = self.heads, self.kv_heads, self.width

        def turned(z, n):
            a, b = z.view(B, T, n, w).transpose(1, 2).chunk(2, -1)
            return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)

        q, k, v = self.qkv(self.norm1(x)).split([H * w, K * w, K * w], -1)
        o = F.scaled_dot_product_attention(turned(q, H), turned(k, K), v.view(B, T, K, w).transpose(1, 2),
                                           is_causal=True, enable_gqa=K != H)
        x = x + self.out(o.transpose(1, 2).reshape(B, T, hidden))
        a, b = self.gate(self.norm2(x)).chunk(2, -1)
        return x + self.down(F.silu(a) * b)


class Model(torch.nn.Module):
    def __init__(self, layers, hidden, heads, kv_heads, ffn, vocab):
        super().__init__()
        self.embed = torch.nn.Embedding(vocab, hidden)
        self.layers = torch.nn.ModuleList([Layer(hidden, heads, kv_heads, ffn) for _ in range(layers)])
        self.norm, self.head = torch.nn.RMSNorm(hidden), torch.nn.Linear(hidden, vocab, bias=False)

    def forward(self, tokens, cos, sin, targets):
        x = self.embed(tokens)
        for layer in self.layers:
            x = layer(x, cos, sin)
        return F.cross_entropy(self.head(self.norm(x)).view(-1, self.head.out_features).float(), targets.view(-1))


def step(layers, hidden, heads, kv_heads, ffn, vocab, batch, length):
    """Seconds of a step and the peak of the allocator, GiB."""
    torch._dynamo.reset()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    torch.set_default_dtype(BF16)
    with torch.device(GPU):
        model = Model(layers, hidden, heads, kv_heads, ffn, vocab)
    torch.set_default_dtype(torch.float32)
    weights = list(model.parameters())
    masters = [w.detach().float() for w in weights]
    sums = [torch.zeros_like(x) for x in masters]
    for master, total in zip(masters, sums):
        master.grad = total
    optimizer = torch.optim.AdamW(masters, lr=1e-4, fused=True)
    half = hidden // heads // 2
    angle = torch.outer(torch.arange(length, device=GPU).float(),
                        10000.0 ** -(torch.arange(0, half, device=GPU) / half))
    cos, sin = angle.cos().to(BF16), angle.sin().to(BF16)
    tokens, targets = torch.randint(0, vocab, (2, MICROBATCHES, batch, length), device=GPU)
    compiled = torch.compile(model)

    def work():
        with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
            for i in range(MICROBATCHES):
                compiled(tokens[i], cos, sin, targets[i]).backward()
                with torch.no_grad():
                    torch._foreach_add_(sums, [w.grad for w in weights])
                for w in weights:
                    w.grad = None
        with torch.no_grad():
            norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(sums)))
            torch._foreach_mul_(sums, torch.clamp(1 / norm, max=1.0))
            optimizer.step()
            torch._foreach_copy_(weights, masters)
            torch._foreach_zero_(sums)

    for _ in range(3):
        work()
    return seconds(work, 3), torch.cuda.max_memory_allocated() / 2**30


def main():
    products()
    attention()
    print("source,model,layers,hidden,heads,kv_heads,ffn_hidden,glu,vocab,seq_len,gpu,n_gpus,tp,pp,mbs,gbs,precision,"
          "recompute,dist_opt,step_time_s,mem_gib")
    for name, layers, hidden, heads, kv_heads, ffn, vocab, batch, length in MODELS:
        s, gib = step(layers, hidden, heads, kv_heads, ffn, vocab, batch, length)
        print("bench_accelerator 26.03,%s,%d,%d,%d,%d,%d,1,%d,%d,H100-80GB,1,1,1,%d,%d,bf16,none,none (DDP),%.4f,%.1f" %
              ('"%s"' % name, layers, hidden, heads, kv_heads, ffn, vocab, length, batch, MICROBATCHES * batch, s, gib),
              flush=True)


main()
