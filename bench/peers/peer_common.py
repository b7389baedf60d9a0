"""peer_common.py: the timing loop that every PyTorch peer of bench_compare.py shares.

A peer is what a good user would run instead on the same cores: fp32 weights, either fp32
arithmetic or bf16 autocast, AdamW in its fastest form there, gradients clipped to a global norm,
optionally torch.compile. Works on torch 1.13 (Debian) and 2.x. Prints one line of JSON.
"""
import argparse
import inspect
import json
import resource
import statistics
import time

import torch


def parser():
    ap = argparse.ArgumentParser()
    ap.add_argument("--dtype", default="bf16", choices=["fp32", "bf16"])
    ap.add_argument("--attn", default="manual", choices=["manual", "sdpa"])
    ap.add_argument("--compile", action="store_true")
    ap.add_argument("--steps", type=int, default=2)
    ap.add_argument("--warmup", type=int, default=1)
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--clip", type=float, default=1.0)
    ap.add_argument("--opt", default="auto", choices=["auto", "loop", "foreach", "fused"])
    ap.add_argument("--seed", type=int, default=1337)
    ap.add_argument("-B", type=int)
    ap.add_argument("-T", type=int)
    return ap


def optimizer(model, kind):
    decay = [p for p in model.parameters() if p.dim() >= 2]
    plain = [p for p in model.parameters() if p.dim() < 2]
    groups = [dict(params=decay, weight_decay=0.1), dict(params=plain, weight_decay=0.0)]
    args = dict(lr=3e-4, betas=(0.9, 0.95), eps=1e-8)
    if kind == "auto":  # fused on the CPU came with torch 2.4; before it, foreach is the fastest
        version = tuple(int(x) for x in torch.__version__.split("+")[0].split(".")[:2])
        kind = "fused" if version >= (2, 4) else "foreach"
    if kind != "loop":
        args[kind] = True
    return torch.optim.AdamW(groups, **args), kind


def measure_peak(dtype, seconds=0.5):
    """Best FLOP/s of square products through nn.functional.linear, as the model calls it."""
    best, n, end = 0.0, 2048, time.perf_counter() + seconds
    a = torch.randn(n, n).to(dtype)
    b = torch.randn(n, n).to(dtype)
    with torch.no_grad():
        torch.nn.functional.linear(a, b)
        while time.perf_counter() < end:
            t = time.perf_counter()
            torch.nn.functional.linear(a, b)
            best = max(best, 2 * n**3 / (time.perf_counter() - t))
    return best


def run(model, vocab, a, label):
    torch.set_num_threads(a.threads)
    dtype = torch.bfloat16 if a.dtype == "bf16" else torch.float32
    peak = measure_peak(dtype)
    opt, opt_kind = optimizer(model, a.opt)
    parameters = list(model.parameters())
    clip_args = {}
    if "foreach" in inspect.signature(torch.nn.utils.clip_grad_norm_).parameters:
        clip_args["foreach"] = True
    forward = torch.compile(model) if a.compile else model
    g = torch.Generator().manual_seed(a.seed)
    data = torch.randint(0, vocab, (8, a.B, a.T + 1), generator=g)

    def step(i):
        batch = data[i % 8]
        x, y = batch[:, :-1].contiguous(), batch[:, 1:].contiguous()
        t0 = time.perf_counter()
        if a.dtype == "bf16":
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = forward(x, y)
        else:
            loss = forward(x, y)
        t1 = time.perf_counter()
        loss.backward()
        t2 = time.perf_counter()
        torch.nn.utils.clip_grad_norm_(parameters, a.clip, **clip_args)
        t3 = time.perf_counter()
        opt.step()
        opt.zero_grad(set_to_none=True)
        t4 = time.perf_counter()
        return t4 - t0, t1 - t0, t2 - t1, t3 - t2, t4 - t3, float(loss.detach())

    for i in range(a.warmup):
        step(i)
    rows = [step(i + a.warmup) for i in range(a.steps)]
    median = [statistics.median(r[k] for r in rows) for k in range(5)]
    print(json.dumps(dict(
        program=label, torch=torch.__version__, dtype=a.dtype, attn=a.attn, compile=a.compile,
        optimizer=opt_kind, threads=torch.get_num_threads(), B=a.B, T=a.T,
        params=sum(p.numel() for p in parameters),
        step_ms=[round(r[0] * 1e3, 1) for r in rows], median_ms=round(median[0] * 1e3, 1),
        forward_ms=round(median[1] * 1e3, 1), backward_ms=round(median[2] * 1e3, 1),
        clip_ms=round(median[3] * 1e3, 1), optimizer_ms=round(median[4] * 1e3, 1),
        tokens_per_s=round(a.B * a.T / median[0], 2), peak_flops=peak,
        loss_first=round(rows[0][5], 4), loss_last=round(rows[-1][5], 4),
        rss_gib=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2))), flush=True)
