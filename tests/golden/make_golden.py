#!/usr/bin/python3
"""Makes the small golden folders in tests/golden/data with grok_reference.py, the oracle.

    /usr/bin/python3 tests/golden/make_golden.py [NAME ...]       (Debian's python3-torch)

Each case asks something that the others do not: see the comment beside it. The outcome depends on
nothing but the case: one thread, float64, a seeded generator. Where experts are chosen, the seed
is the first whose smallest distance between the last chosen and the first left-out probability
exceeds MARGIN / experts, so that rounding cannot change a choice.
"""
import json, math, os, re, subprocess, sys, tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
MARGIN = 6e-3          # times 1 / experts; float32 is sure within 1e-6, bfloat16 mostly
SIZE_MAX = 150_000     # bytes of one folder
# Of layouts of ranks: sizes that 2, 4 and 8 divide. Of so many tokens some have a close choice.
LAYOUT = dict(vocab_size=512, n_layers=4, d_model=8, n_heads=8, n_kv_heads=4, head_dim=4,
              attn_multiplier=0.5, ffn_hidden=64, n_experts=8)
LAYOUT_MARGIN, LAYOUT_SIZE_MAX = 1e-5, 1_400_000

BASE = dict(
    vocab_size=48, n_layers=2, d_model=16, n_heads=2, n_kv_heads=1, head_dim=8, ffn_hidden=12,
    n_experts=3, n_experts_used=2, context_length=64, rope_theta=10000.0, rms_eps=1e-5,
    attn_softcap=30.0, router_aux_coef=0.01, router_z_coef=0.001)

# name: (what differs from BASE, batch, sequence)
CASES = {
    # one expert per token; as many key heads as heads; large coefficients of the router losses
    "top-1": (dict(n_experts_used=1, n_kv_heads=2, router_aux_coef=0.5, router_z_coef=0.1), 2, 13),
    # all experts always: shares are constant; head width 24
    "all-experts": (dict(n_experts=2, n_experts_used=2, head_dim=24, n_heads=1, d_model=12,
                         ffn_hidden=10), 2, 11),
    # many small experts, some without tokens; widths that are multiples of nothing; tight caps
    "many-experts": (dict(n_experts=12, n_experts_used=3, d_model=15, ffn_hidden=5, head_dim=6,
                          n_heads=3, attn_softcap=1.5, router_softcap=1.2, final_softcap=2.0), 1, 9),
    # Grok-2: dense branch, all caps, temperature from position 4 on, a head of its own
    "grok-2-small": (dict(dense_ffn_hidden=14, router_softcap=30.0, final_softcap=50.0,
                          attn_temperature_len=4, tied_embeddings=False, rope_theta=208533496.0),
                     2, 17),
    # dense branch with a tied head, temperature that changes most positions
    "dense-branch-tied": (dict(dense_ffn_hidden=7, attn_temperature_len=2, vocab_size=33), 3, 10),
    # no experts; head width 64
    "dense-wide-head": (dict(n_experts=1, n_experts_used=1, head_dim=64, n_heads=2, d_model=10,
                             n_layers=1, ffn_hidden=20, vocab_size=37), 2, 12),
    # no experts, untied, final cap, a larger eps, grouped query heads 4 to 1
    "dense-untied": (dict(n_experts=0, n_experts_used=0, n_heads=4, final_softcap=5.0,
                          tied_embeddings=False, rms_eps=1e-2, vocab_size=41, ffn_hidden=18), 2, 16),
    # one token
    "one-token": (dict(vocab_size=29), 1, 1),
    # multipliers far from muP's
    # layouts: Grok-1's form, tied; Grok-2's
    "layouts-tied": (dict(LAYOUT), 8, 32),
    "layouts-grok-2": (dict(LAYOUT, dense_ffn_hidden=32, router_softcap=30.0, final_softcap=50.0,
                            attn_temperature_len=16, tied_embeddings=False), 8, 32),
    "multipliers": (dict(n_experts=4, n_layers=1, embedding_multiplier=0.3, output_multiplier=3.0,
                         attn_multiplier=2.0, attn_softcap=0.7, vocab_size=31), 2, 14),
}


def fill(changes):
    c = dict(BASE, **changes)
    d = c["d_model"]
    c.setdefault("embedding_multiplier", math.sqrt(d))
    c.setdefault("output_multiplier", 2 * math.sqrt(512 / d) / 4)   # a quarter: logits near 1
    c.setdefault("attn_multiplier", math.sqrt(128) / c["head_dim"])
    return c


def run(out, config, batch, seq, seed):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
        json.dump(config, f)
        f.flush()
        text = subprocess.run(
            [sys.executable, os.path.join(HERE, "grok_reference.py"), out, "--config", f.name,
             "--seed", str(seed), "--batch", str(batch), "--seq", str(seq), "--steps", "5"],
            check=True, capture_output=True, text=True, env=dict(os.environ, OMP_NUM_THREADS="1")).stdout
    return float(re.search(r"margin (\S+)", text).group(1)), text.strip()


def main():
    for name in sys.argv[1:] or CASES:
        changes, batch, seq = CASES[name]
        out = os.path.join(HERE, "data", name)
        for seed in range(1, 400):
            margin, text = run(out, fill(changes), batch, seq, seed)
            wanted = MARGIN / max(fill(changes)["n_experts"], 1)
            if margin > (LAYOUT_MARGIN if name.startswith("layouts") else wanted):
                break
        size = sum(os.path.getsize(os.path.join(out, f)) for f in os.listdir(out))
        most = LAYOUT_SIZE_MAX if name.startswith("layouts") else SIZE_MAX
        assert size < most, f"{name}: {size} bytes"
        print(f"{name}: seed {seed}, {size} bytes, {text.split(': ', 1)[1]}")


main()
