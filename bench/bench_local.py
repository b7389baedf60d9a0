#!/usr/bin/env python3
"""bench_local.py: steps of `colossus train` as `plan` predicts them for this machine, and as they are.

    bench/bench_local.py [--rounds 8] [--colossus ./colossus] [--keep FOLDER]

Nothing is fitted: bench-machine measures operations, `plan RUN.yaml` adds them up, and its page says what
the run's steps took: both are read off that page (--json). A shared
machine changes within seconds, so the two take turns: in each round every run is trained for a few
steps with a measurement before and after it; a ratio is that of the two measurements' mean
prediction and the median step between them, and the median over the rounds is the result.
"""
import argparse
import glob
import json
import math
import os
import shutil
import statistics
import subprocess
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# Four run files: the demo's, a dense one, moe-512, and one of another width, depth and length, which cuts
# its batch. The text is the project's own source.
RUNS = {
    "fortunes": """model: {n_layers: 4, d_model: 256, n_heads: 4, n_kv_heads: 2, head_dim: 64,
        ffn_hidden: 512, n_experts: 8, n_experts_used: 2}
batch: {seq_len: 256, micro_batch: 16}
optimizer: {kind: muon, lr: 0.003, muon_lr: 0.02}""",
    "dense": """model: {n_layers: 6, d_model: 384, n_heads: 6, n_kv_heads: 6, head_dim: 64,
        ffn_hidden: 1024, n_experts: 1, n_experts_used: 1}
batch: {seq_len: 512, micro_batch: 8}
optimizer: {kind: adamw, lr: 0.001}""",
    "moe-512": """model: {preset: moe-512, vocab_size: 2048}
batch: {seq_len: 512, micro_batch: 8}
optimizer: {kind: adamw, lr: 0.001}""",
    "wide-short": """model: {n_layers: 3, d_model: 640, n_heads: 10, n_kv_heads: 5, head_dim: 64,
        ffn_hidden: 1280, n_experts: 4, n_experts_used: 1}
batch: {seq_len: 128, micro_batch: 8, global_batch: 16}
optimizer: {kind: adamw, lr: 0.001}""",
}
COMMON = """dir: .
data: {path: data}
train: {tokens: 1M, max_steps: %d, threads: %d, precision: %s}
log: {every: 1000, valid_every: 1000000, peak_seconds: 0}
"""


def call(program, *arguments):
    done = subprocess.run([program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit("%s\n%s" % (" ".join([program, *arguments]), done.stderr))
    return done.stdout


def make_data(program):
    if os.path.exists("data/index.json"):
        return
    sources = sorted(glob.glob(os.path.join(ROOT, "src", "*", "*.c")))
    with open("text.txt", "wb") as out:
        for path in sources:
            with open(path, "rb") as f:
                out.write(f.read())
    call(program, "data", "train-tokenizer", "text.txt", "--vocab-size", "2048", "--out", "tokenizer.json")
    call(program, "data", "tokenize", "text.txt", "--tokenizer", "tokenizer.json", "--out", "data", "--format", "lines",
         "--valid-fraction", "0.01")


def measure(program, name, o):
    """A folder of presets whose accelerator `local` is what was measured just now."""
    call(program, "bench-machine", "--rounds", str(o.repeats), "--precision", o.precision, "--threads",
         str(o.threads), "--out", os.path.join(name, "accelerators", "local.yaml"))
    return name


def train(program, name, o):
    with open(name + ".yaml", "w") as f:
        f.write("name: %s\n%s\n%s" % (name, RUNS[name], COMMON % (o.steps, o.threads, o.precision)))
    shutil.rmtree(name, ignore_errors=True)
    call(program, "train", name + ".yaml")


def predict(program, measured, name):
    """Of the plan's page: predicted and measured seconds of a step."""
    os.environ["COLOSSUS_PRESETS"] = os.path.abspath(measured)
    page = json.loads(call(program, "plan", name + ".yaml", "--json"))
    return page["step"]["step_s"], page["measured"]["step_s"]


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--rounds", type=int, default=8)
    p.add_argument("--steps", type=int, default=10, help="of each run in a round; the first 3 do not count")
    p.add_argument("--repeats", type=int, default=5, help="of bench-machine, in each of its turns")
    p.add_argument("--runs", default=",".join(RUNS), help="of " + ", ".join(RUNS))
    p.add_argument("--threads", type=int, default=0)
    p.add_argument("--precision", choices=["bf16", "fp32"], default="bf16")
    p.add_argument("--colossus", default=os.path.join(ROOT, "colossus"))
    p.add_argument("--keep", metavar="FOLDER", help="work there and leave everything")
    o = p.parse_args()
    program = os.path.realpath(o.colossus)
    if o.keep:
        os.makedirs(o.keep, exist_ok=True)
    scratch = o.keep or tempfile.mkdtemp(prefix="bench_local.")
    os.chdir(scratch)
    try:
        make_data(program)
        rows = {name: [] for name in o.runs.split(",")}
        before = measure(program, "machine-0", o)
        turn = 0
        for i in range(o.rounds):
            for name in rows:
                train(program, name, o)
                turn += 1
                after = measure(program, "machine-%d" % (turn % 2), o)
                (a, steps), (b, _) = predict(program, before, name), predict(program, after, name)
                rows[name].append((math.sqrt(a * b), steps))
                before = after
                print("round %d  %-20s predicted %7.1f ms  measured %7.1f ms  %+6.1f %%" %
                      (i + 1, name, 1e3 * rows[name][-1][0], 1e3 * steps, 100 * (rows[name][-1][0] / steps - 1)),
                      flush=True)
        print()
        for name, pairs in rows.items():
            ratios = sorted(a / b for a, b in pairs)
            print("%-20s predicted / measured, median of %d rounds: %.3f (%.2f to %.2f)" %
                  (name, len(ratios), statistics.median(ratios), ratios[0], ratios[-1]))
    finally:
        if not o.keep:
            shutil.rmtree(scratch, ignore_errors=True)


main()
