#!/usr/bin/python3
"""peer_gpt2.py: GPT-2 124M as nanoGPT writes it (12 layers, 12 heads, 768, vocabulary 50304, tied,
biases, GELU), whole training steps on the CPU. The usual dense rival, with torch's own fused
attention (--attn sdpa) or plain."""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from peer_common import parser, run


class Attention(nn.Module):
    def __init__(self, C, H, T, sdpa):
        super().__init__()
        self.H = H
        self.qkv = nn.Linear(C, 3 * C)
        self.proj = nn.Linear(C, C)
        self.sdpa = sdpa
        self.register_buffer("mask", torch.full((T, T), float("-inf")).triu(1))

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = (z.view(B, T, self.H, C // self.H).transpose(1, 2)
                   for z in self.qkv(x).split(C, dim=2))
        if self.sdpa:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            q = q * (1 / math.sqrt(C // self.H))
            s = q @ k.transpose(-2, -1)
            y = F.softmax(s + self.mask[:T, :T].to(s.dtype), dim=-1) @ v
        return self.proj(y.transpose(1, 2).reshape(B, T, C))


class Block(nn.Module):
    def __init__(self, C, H, T, sdpa):
        super().__init__()
        self.ln1 = nn.LayerNorm(C)
        self.attn = Attention(C, H, T, sdpa)
        self.ln2 = nn.LayerNorm(C)
        self.fc = nn.Linear(C, 4 * C)
        self.proj = nn.Linear(4 * C, C)

    def forward(self, x):
        x = x + self.attn(self.ln1(x))
        return x + self.proj(F.gelu(self.fc(self.ln2(x)), approximate="tanh"))


class GPT(nn.Module):
    def __init__(self, V, T, L, H, C, sdpa):
        super().__init__()
        self.wte = nn.Embedding(V, C)
        self.wpe = nn.Embedding(T, C)
        self.blocks = nn.ModuleList(Block(C, H, T, sdpa) for _ in range(L))
        self.norm = nn.LayerNorm(C)
        self.head = nn.Linear(C, V, bias=False)
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.normal_(p, std=0.02)
        self.head.weight = self.wte.weight

    def forward(self, ids, targets):
        x = self.wte(ids) + self.wpe(torch.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        logits = self.head(self.norm(x))
        return F.cross_entropy(logits.float().view(-1, logits.size(-1)), targets.view(-1))


if __name__ == "__main__":
    a = parser().parse_args()
    a.B, a.T = a.B or 4, a.T or 1024
    torch.manual_seed(a.seed)
    run(GPT(50304, a.T, 12, 12, 768, a.attn == "sdpa"), 50257, a, "gpt2")
