#!/usr/bin/python3
"""peer_grok.py: Grok as a good PyTorch user would write it, whole training steps on the CPU; the
same two shapes as bench_train: --shape dense or experts.

Written for speed where that costs no exactness: query, key and value in one product, gate and up
in one product, the score's scale folded into the query, the cap's factor and the mask in one pass.
torch's fused attention has no room for Grok's cap 30 tanh(x / 30); --attn sdpa leaves the cap out,
which is then another (cheaper) model, measured to have a lower bound for the rival."""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from peer_common import parser, run

SHAPES = {
    "dense": dict(V=50304, L=12, C=768, H=12, KV=12, F=2048, E=1, K=1, B=4, T=1024),
    "experts": dict(V=8192, L=8, C=512, H=8, KV=2, F=1024, E=8, K=2, B=8, T=512),
}
CAP, AUX, Z = 30.0, 0.01, 0.001


class Norm(nn.Module):
    def __init__(self, C):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(C))
        self.fused = hasattr(F, "rms_norm")

    def forward(self, x):
        if self.fused:
            return F.rms_norm(x.float(), self.weight.shape, self.weight, 1e-5)
        f = x.float()
        return f * torch.rsqrt(f.pow(2).mean(-1, keepdim=True) + 1e-5) * self.weight


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1).to(x.dtype)


class Attention(nn.Module):
    def __init__(self, s, sdpa):
        super().__init__()
        self.H, self.KV, self.h, self.sdpa = s["H"], s["KV"], s["C"] // s["H"], sdpa
        self.qkv = nn.Linear(s["C"], (self.H + 2 * self.KV) * self.h, bias=False)
        self.out = nn.Linear(self.H * self.h, s["C"], bias=False)
        self.scale = math.sqrt(128) / self.h

    def forward(self, x, cos, sin, mask):
        B, T, _ = x.shape
        q, k, v = self.qkv(x).view(B, T, -1, self.h).transpose(1, 2).split(
            (self.H, self.KV, self.KV), 1)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if self.KV != self.H:
            k = k.repeat_interleave(self.H // self.KV, 1)
            v = v.repeat_interleave(self.H // self.KV, 1)
        if self.sdpa:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            s = torch.tanh((q * (self.scale / CAP)) @ k.transpose(-2, -1))
            y = F.softmax(torch.add(mask.to(s.dtype), s, alpha=CAP), dim=-1).to(v.dtype) @ v
        return self.out(y.transpose(1, 2).reshape(B, T, -1))


class Gated(nn.Module):
    def __init__(self, C, hidden):
        super().__init__()
        self.gate_up = nn.Linear(C, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, C, bias=False)

    def forward(self, x):
        gate, up = self.gate_up(x).chunk(2, -1)
        return self.down(F.gelu(gate, approximate="tanh") * up)


class Experts(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.E, self.K = s["E"], s["K"]
        self.router = nn.Linear(s["C"], self.E, bias=False)
        self.experts = nn.ModuleList(Gated(s["C"], s["F"]) for _ in range(self.E))

    def forward(self, x):
        shape = x.shape
        x = x.reshape(-1, shape[-1])
        logits = self.router(x).float()
        p = F.softmax(logits, -1)
        weight, index = p.topk(self.K, -1)
        load = torch.bincount(index.reshape(-1), minlength=self.E).float() / index.numel()
        loss = AUX * self.E * (load * p.mean(0)).sum()
        loss = loss + Z * torch.logsumexp(logits, -1).pow(2).mean()
        out = torch.zeros_like(x, dtype=torch.float32)
        for e, expert in enumerate(self.experts):
            token, slot = torch.where(index == e)
            y = expert(x.index_select(0, token)) * weight[token, slot].unsqueeze(-1)
            out = out.index_add(0, token, y.float())
        return out.view(shape), loss


class Block(nn.Module):
    def __init__(self, s, sdpa):
        super().__init__()
        self.norms = nn.ModuleList(Norm(s["C"]) for _ in range(4))
        self.attn = Attention(s, sdpa)
        self.dense = s["E"] == 1
        self.ffn = Gated(s["C"], s["F"]) if self.dense else Experts(s)

    def forward(self, x, cos, sin, mask):
        x = x + self.norms[1](self.attn(self.norms[0](x), cos, sin, mask))
        y = self.ffn(self.norms[2](x))
        y, loss = (y, 0.0) if self.dense else y
        return x + self.norms[3](y), loss


class Grok(nn.Module):
    def __init__(self, s, T, sdpa):
        super().__init__()
        self.C = s["C"]
        self.embed = nn.Embedding(s["V"], self.C)
        self.blocks = nn.ModuleList(Block(s, sdpa) for _ in range(s["L"]))
        self.norm = Norm(self.C)
        self.head = nn.Linear(self.C, s["V"], bias=False)
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.normal_(p, std=0.02)
        self.head.weight = self.embed.weight
        h = self.C // s["H"]
        angle = torch.outer(torch.arange(T).float(), 1e4 ** (-torch.arange(0, h, 2).float() / h))
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())
        self.register_buffer("mask", torch.full((T, T), float("-inf")).triu(1))

    def forward(self, ids, targets):
        x = self.embed(ids) * math.sqrt(self.C)
        extra = 0.0
        for block in self.blocks:
            x, loss = block(x, self.cos, self.sin, self.mask)
            extra = extra + loss
        logits = self.head(self.norm(x)) * (2 * math.sqrt(512 / self.C))
        ce = F.cross_entropy(logits.float().view(-1, logits.size(-1)), targets.view(-1))
        return ce + extra / len(self.blocks)


if __name__ == "__main__":
    ap = parser()
    ap.add_argument("--shape", default="dense", choices=list(SHAPES))
    a = ap.parse_args()
    shape = SHAPES[a.shape]
    a.B, a.T = a.B or shape["B"], a.T or shape["T"]
    torch.manual_seed(a.seed)
    run(Grok(shape, a.T, a.attn == "sdpa"), shape["V"], a, "grok-" + a.shape)
