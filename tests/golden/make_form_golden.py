#!/usr/bin/python3
"""Makes the golden folders of tests/golden/forms: layers whose form is not Grok's, forward only.

    /usr/bin/python3 tests/golden/make_form_golden.py [NAME ...]       (no package is needed)

Python's own floats are float64 and the models are tiny, so this is plain Python. It is a reference of
its own: it shares nothing with the C code nor with grok_reference.py. Each case below differs from
BASE in one thing, or is a family as its files say it; keys are those of config.json (docs/model.md).

A folder holds config.json, weights.safetensors (bfloat16, so that a run in bfloat16 rounds no
weight) and expected.safetensors: tokens [T] and the logits [T, V] behind each of them. The outcome
depends on nothing but the case. Where experts are chosen, the seed is the one of SEEDS with the largest margin,
the smallest distance between the last chosen and the first left-out probability, so that rounding
to bfloat16 changes no choice.
"""
import json, math, os, random, struct, sys

HERE = os.path.dirname(os.path.abspath(__file__))
SEEDS = 300
SIZE_MAX = 60_000      # bytes of one folder
LENGTH = 40            # tokens
LENGTH_EXPERTS = 12    # where experts are chosen: fewer choices, so a larger margin

BASE = dict(
    vocab_size=40, n_layers=2, d_model=24, n_heads=4, n_kv_heads=2, head_dim=8, ffn_hidden=20,
    n_experts=1, n_experts_used=1, context_length=64, rope_theta=10000.0, rms_eps=1e-5,
    embedding_multiplier=math.sqrt(24), output_multiplier=2.0, attn_multiplier=math.sqrt(128) / 8,
    attn_softcap=30.0, tied_embeddings=True)
FORM = dict(                    # Grok's: what a key is where config.json does not name it
    pre_norms=True, post_norms=True, activation="gelu_tanh", qk_norm=False, qkv_biases=False,
    output_bias=False, renormalise_top_k=False, residual_multiplier=1.0, rope_form="halves",
    rope_scaling="none", rope_factor=1.0, rope_original_length=0, rope_low_freq=1.0,
    rope_high_freq=4.0, rope_beta_fast=32.0, rope_beta_slow=1.0, rope_size=0.0, window=0,
    window_layers=0, window_period=0, window_rope_theta=0.0)

WIDE = dict(n_heads=2, n_kv_heads=1, head_dim=16, rope_theta=100.0)      # eight pairs
LLAMA = dict(activation="silu", post_norms=False, attn_softcap=0.0, embedding_multiplier=1.0,
             output_multiplier=1.0, attn_multiplier=1 / math.sqrt(8))
CASES = {
    "no-post-norms": dict(post_norms=False),
    "no-pre-norms": dict(pre_norms=False),
    "silu": dict(activation="silu"),
    "qk-norm": dict(qk_norm=True),
    "qkv-biases": dict(qkv_biases=True),
    "output-bias": dict(output_bias=True),
    # behind a post-norm the sum of the weights would be of no consequence
    "renormalised": dict(renormalise_top_k=True, post_norms=False, n_experts=4, n_experts_used=2,
                         ffn_hidden=6),
    "residual-multiplier": dict(post_norms=False, residual_multiplier=0.22),
    "rope-pairs": dict(rope_form="pairs"),
    "rope-linear": dict(WIDE, rope_scaling="linear", rope_factor=4.0),
    "rope-llama3": dict(WIDE, rope_scaling="llama3", rope_factor=8.0, rope_original_length=64),
    "rope-yarn": dict(WIDE, rope_scaling="yarn", rope_factor=4.0, rope_original_length=64,
                      rope_beta_fast=4.0),
    "rope-yarn-size": dict(WIDE, rope_form="pairs", rope_scaling="yarn", rope_factor=16.0,
                           rope_original_length=32, rope_beta_slow=2.0, rope_size=0.8),
    "window": dict(window=7, window_layers=2),
    # every second layer sees all, the others have a base of their own and are not scaled (Gemma 3)
    "window-period": dict(window=9, window_layers=1, window_period=2, window_rope_theta=50.0,
                          rope_scaling="linear", rope_factor=8.0, qk_norm=True),
    # families as their files say it: SmolLM2 and Llama, Qwen2 (an untied head, biases), Qwen3 with
    # experts
    "llama": dict(LLAMA, rope_form="pairs"),
    "qwen2": dict(LLAMA, qkv_biases=True, tied_embeddings=False, rms_eps=1e-6, rope_theta=1e6),
    "qwen3-experts": dict(LLAMA, qk_norm=True, renormalise_top_k=True, n_experts=6,
                          n_experts_used=3, ffn_hidden=5, rms_eps=1e-6, rope_theta=1e6,
                          tied_embeddings=False),
}


# ---------------------------------------------------------------- files
def to_bf16(x):
    bits = struct.unpack("<I", struct.pack("<f", x))[0]
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16


def from_bf16(b):
    return struct.unpack("<f", struct.pack("<I", b << 16))[0]


def flat(x):
    return [v for row in x for v in flat(row)] if isinstance(x, list) else [x]


def shape(x):
    return [len(x)] + shape(x[0]) if isinstance(x, list) else []


def save(path, tensors):
    header, blobs, at = {}, [], 0
    for name, (kind, value) in tensors.items():
        values = flat(value)
        if kind == "BF16":
            blob = struct.pack(f"<{len(values)}H", *[to_bf16(v) for v in values])
        else:
            blob = struct.pack(f"<{len(values)}{'f' if kind == 'F32' else 'i'}", *values)
        header[name] = {"dtype": kind, "shape": shape(value), "data_offsets": [at, at + len(blob)]}
        at += len(blob)
        blobs.append(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


# ---------------------------------------------------------------- weights
def make_weights(c, seed):
    rng = random.Random(seed)

    def draw(size, std, mean=0.0):
        if len(size) == 1:
            return [from_bf16(to_bf16(rng.gauss(mean, std))) for _ in range(size[0])]
        return [draw(size[1:], std, mean) for _ in range(size[0])]

    D, h, F, E = c["d_model"], c["head_dim"], c["ffn_hidden"], c["n_experts"]
    q, kv = c["n_heads"] * h, c["n_kv_heads"] * h
    w = {"token_embd.weight": draw([c["vocab_size"], D], 0.5 / math.sqrt(D) * 3)}
    for i in range(c["n_layers"]):
        def put(name, size, std, mean=0.0, b=f"blk.{i}."):
            w[b + name] = draw(size, std, mean)
        if c["pre_norms"]:
            put("attn_norm.weight", [D], 0.1, 1)
            put("ffn_norm.weight", [D], 0.1, 1)
        if c["post_norms"]:
            put("attn_output_norm.weight", [D], 0.1, 1)
            put("layer_output_norm.weight", [D], 0.1, 1)
        for name, out, into in (("attn_q", q, D), ("attn_k", kv, D), ("attn_v", kv, D),
                                ("attn_output", D, q)):
            put(name + ".weight", [out, into], 1 / math.sqrt(into))
        if c["qkv_biases"]:
            for name, out in (("attn_q", q), ("attn_k", kv), ("attn_v", kv)):
                put(name + ".bias", [out], 0.5)
        if c["output_bias"]:
            put("attn_output.bias", [D], 0.5)
        if c["qk_norm"]:
            put("attn_q_norm.weight", [h], 0.2, 1)
            put("attn_k_norm.weight", [h], 0.2, 1)
        if E > 1:
            put("ffn_gate_inp.weight", [E, D], 0.5)
            put("ffn_gate_exps.weight", [E, F, D], 1 / math.sqrt(D))
            put("ffn_up_exps.weight", [E, F, D], 1 / math.sqrt(D))
            put("ffn_down_exps.weight", [E, D, F], 1 / math.sqrt(F))
        else:
            put("ffn_gate.weight", [F, D], 1 / math.sqrt(D))
            put("ffn_up.weight", [F, D], 1 / math.sqrt(D))
            put("ffn_down.weight", [D, F], 1 / math.sqrt(F))
    w["output_norm.weight"] = draw([D], 0.1, 1)
    if not c["tied_embeddings"]:
        w["output.weight"] = draw([c["vocab_size"], D], 0.5 / math.sqrt(D) * 3)
    length = LENGTH_EXPERTS if E > 1 else LENGTH
    return w, [rng.randrange(c["vocab_size"]) for _ in range(length)]


# ---------------------------------------------------------------- the model
def dot(a, b):
    return math.fsum(x * y for x, y in zip(a, b))


def matvec(w, x):
    return [dot(row, x) for row in w]


def rms(x, g, eps):
    s = 1 / math.sqrt(dot(x, x) / len(x) + eps)
    return [gi * xi * s for gi, xi in zip(g, x)]


def softmax(x):
    top = max(x)
    e = [math.exp(v - top) for v in x]
    total = math.fsum(e)
    return [v / total for v in e]


def activate(c, x):
    if c["activation"] == "silu":
        return x / (1 + math.exp(-x))
    return 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)))


def has_window(c, layer):
    period = c["window_period"]
    return c["window"] > 0 and not (period and (layer + 1) % period == 0)


def frequencies(c, layer):
    """Of each pair, and what the turned head is multiplied by."""
    h, base, kind = c["head_dim"], c["rope_theta"], c["rope_scaling"]
    if has_window(c, layer) and c["window_rope_theta"] > 0:
        base, kind = c["window_rope_theta"], "none"
    plain = [base ** (-2 * i / h) for i in range(h // 2)]
    slow = [f / c["rope_factor"] for f in plain]
    if kind == "none":
        return plain, 1.0
    if kind == "linear":
        return slow, 1.0
    length = c["rope_original_length"]
    if kind == "llama3":    # "Llama 3.1", rope_scaling of its release
        out = []
        for f, s in zip(plain, slow):
            wave = 2 * math.pi / f
            if wave < length / c["rope_high_freq"]:
                out.append(f)
            elif wave > length / c["rope_low_freq"]:
                out.append(s)
            else:
                smooth = (length / wave - c["rope_low_freq"]) / \
                         (c["rope_high_freq"] - c["rope_low_freq"])
                out.append((1 - smooth) * s + smooth * f)
        return out, 1.0

    def pair_of(turns):     # YaRN, equation 17 and appendix A.1
        return h * math.log(length / (turns * 2 * math.pi)) / (2 * math.log(base))
    low = max(math.floor(pair_of(c["rope_beta_fast"])), 0)
    high = min(math.ceil(pair_of(c["rope_beta_slow"])), h - 1)
    ramp = [min(max((i - low) / max(high - low, 0.001), 0), 1) for i in range(h // 2)]
    size = c["rope_size"] or 0.1 * math.log(c["rope_factor"]) + 1
    return [s * r + f * (1 - r) for f, s, r in zip(plain, slow, ramp)], size


def turn(c, layer, head, position):
    f, size = frequencies(c, layer)
    half, out = len(head) // 2, list(head)
    for i in range(half):
        a, b = (2 * i, 2 * i + 1) if c["rope_form"] == "pairs" else (i, i + half)
        cos, sin = size * math.cos(position * f[i]), size * math.sin(position * f[i])
        out[a], out[b] = head[a] * cos - head[b] * sin, head[b] * cos + head[a] * sin
    return out


def attention(c, w, layer, xs):
    h, K, group = c["head_dim"], c["n_kv_heads"], c["n_heads"] // c["n_kv_heads"]
    b = f"blk.{layer}."

    def heads(name, x, n):
        y = matvec(w[b + name + ".weight"], x)
        if c["qkv_biases"]:
            y = [u + v for u, v in zip(y, w[b + name + ".bias"])]
        return [y[i * h:(i + 1) * h] for i in range(n)]

    def finished(name, x, n, position):
        out = heads(name, x, n)
        if c["qk_norm"]:
            out = [rms(v, w[b + name + "_norm.weight"], c["rms_eps"]) for v in out]
        return [turn(c, layer, v, position) for v in out]

    qs = [finished("attn_q", x, c["n_heads"], t) for t, x in enumerate(xs)]
    ks = [finished("attn_k", x, K, t) for t, x in enumerate(xs)]
    vs = [heads("attn_v", x, K) for x in xs]
    out = []
    for t in range(len(xs)):
        first = max(0, t - c["window"] + 1) if has_window(c, layer) else 0
        o = []
        for i in range(c["n_heads"]):
            s = [c["attn_multiplier"] * dot(qs[t][i], ks[u][i // group])
                 for u in range(first, t + 1)]
            if c["attn_softcap"] > 0:
                s = [c["attn_softcap"] * math.tanh(x / c["attn_softcap"]) for x in s]
            p = softmax(s)
            o += [math.fsum(p[u] * vs[first + u][i // group][d] for u in range(len(p)))
                  for d in range(h)]
        y = matvec(w[b + "attn_output.weight"], o)
        out.append([u + v for u, v in zip(y, w[b + "attn_output.bias"])] if c["output_bias"] else y)
    return out


def gated(c, gate, up, down, x):
    return matvec(down, [activate(c, g) * u for g, u in zip(matvec(gate, x), matvec(up, x))])


def feed_forward(c, w, layer, x, margins):
    b = f"blk.{layer}.ffn_"
    if c["n_experts"] == 1:
        return gated(c, w[b + "gate.weight"], w[b + "up.weight"], w[b + "down.weight"], x)
    p = softmax(matvec(w[b + "gate_inp.weight"], x))
    order = sorted(range(len(p)), key=lambda e: -p[e])
    k = c["n_experts_used"]
    margins.append(p[order[k - 1]] - p[order[k]])
    total = math.fsum(p[e] for e in order[:k]) if c["renormalise_top_k"] else 1.0
    y = [0.0] * len(x)
    for e in order[:k]:
        z = gated(c, *(w[b + n + "_exps.weight"][e] for n in ("gate", "up", "down")), x)
        y = [u + p[e] / total * v for u, v in zip(y, z)]
    return y


def forward(c, w, tokens):
    eps, scale, margins = c["rms_eps"], c["residual_multiplier"], [1.0]
    hs = [[c["embedding_multiplier"] * v for v in w["token_embd.weight"][t]] for t in tokens]

    def before(name, xs):
        return [rms(x, w[name], eps) for x in xs] if c["pre_norms"] else xs

    def add(name, ys):
        for t, y in enumerate(ys):
            y = rms(y, w[name], eps) if c["post_norms"] else [scale * v for v in y]
            hs[t] = [u + v for u, v in zip(hs[t], y)]

    for i in range(c["n_layers"]):
        b = f"blk.{i}."
        add(b + "attn_output_norm.weight", attention(c, w, i, before(b + "attn_norm.weight", hs)))
        xs = before(b + "ffn_norm.weight", hs)
        add(b + "layer_output_norm.weight", [feed_forward(c, w, i, x, margins) for x in xs])
    head = w["token_embd.weight" if c["tied_embeddings"] else "output.weight"]
    return [[c["output_multiplier"] * v for v in matvec(head, rms(h, w["output_norm.weight"], eps))]
            for h in hs], min(margins)


# ---------------------------------------------------------------- cases
def distance(a, b):
    a, b = flat(a), flat(b)
    return math.sqrt(sum((x - y) ** 2 for x, y in zip(a, b)) / sum(y * y for y in b))


def matters(c, w, tokens, logits):
    """The smallest change that any one key makes which asks for no other tensors."""
    smallest = math.inf
    for key in FORM:
        if c[key] == FORM[key] or key in ("pre_norms", "post_norms", "qk_norm", "qkv_biases",
                                          "output_bias", "window_layers"):
            continue
        without = dict(c, **{key: FORM[key]})
        if key == "rope_original_length":
            without[key] = 2 * c[key]
        smallest = min(smallest, distance(forward(without, w, tokens)[0], logits))
    return smallest


def main():
    for name in sys.argv[1:] or CASES:
        given = dict(BASE, **CASES[name])
        c = dict(FORM, **given)
        seeds = range(1, SEEDS + 1 if c["n_experts"] > 1 else 2)
        margin, seed = max((forward(c, *make_weights(c, s))[1], -s) for s in seeds)
        w, tokens = make_weights(c, -seed)
        logits, _ = forward(c, w, tokens)
        change = matters(c, w, tokens, logits)
        assert change > 0.01, f"{name}: without one of its keys logits change by {change:.1e} only"
        out = os.path.join(HERE, "forms", name)
        os.makedirs(out, exist_ok=True)
        with open(os.path.join(out, "config.json"), "w") as f:
            json.dump(given, f, indent=1)
            f.write("\n")
        save(os.path.join(out, "weights.safetensors"), {k: ("BF16", v) for k, v in w.items()})
        save(os.path.join(out, "expected.safetensors"),
             {"tokens": ("I32", tokens), "logits": ("F32", logits)})
        size = sum(os.path.getsize(os.path.join(out, f)) for f in os.listdir(out))
        assert size < SIZE_MAX, f"{name}: {size} bytes"
        print(f"{name}: seed {-seed}, margin {margin:.1e}, {size} bytes"
              + (f", a key changes logits by {change:.1e} or more" if change < math.inf else ""))


main()
