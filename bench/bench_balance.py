#!/usr/bin/env python3
"""bench_balance.py: how evenly a router deals tokens to its experts, and what that costs.

Trains each combination of shape, optimiser and seed for some steps, and prints the load of the
busiest expert over the mean (of the worst layer; the largest and the mean from --from on) and the
validation loss. --set tries other settings beside the defaults:

    bench/bench_balance.py --data moe-512=DATASET --data fortunes=DATASET
    bench/bench_balance.py --data moe-512=DATASET --steps 120 --set model.router_aux_coef=0.1

A dataset is a folder made by `colossus data tokenize` with a validation split.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Of each shape: the run file, or what stands in it beside the defaults.
SHAPES = {
    "fortunes": {"file": os.path.join(ROOT, "presets/runs/fortunes.yaml"), "tokens": 4096},
    "moe-512": {"text": "data: {path: data}\nmodel: {preset: %s}\n"
                        "batch: {seq_len: 512, micro_batch: 8}\ntrain: {tokens: 1M}\n"
                        "schedule: {kind: wsd, warmup_tokens: 50k}\n"
                        % os.path.join(ROOT, "presets/models/moe-512.yaml"), "tokens": 4096},
}


def train(o, folder, shape, data, optimizer, seed):
    """The lines of metrics.jsonl of one run."""
    file = SHAPES[shape].get("file") or os.path.join(folder, "moe-512.yaml")
    if "text" in SHAPES[shape]:
        with open(file, "w", encoding="utf-8") as out:
            out.write(SHAPES[shape]["text"])
    run = os.path.join(folder, f"{shape}-{optimizer}-{seed}")
    keys = [f"data.path={data}", f"optimizer.kind={optimizer}", f"train.seed={seed}",
            f"train.tokens={o.steps * SHAPES[shape]['tokens']}", "log.valid_every=1000000",
            "log.peak_seconds=0", "checkpoint.every=0", f"train.threads={o.threads}"] + o.set
    command = [o.program, "train", file, "--run-dir", run]
    for key in keys:
        command += ["--set", key]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}:\n{done.stdout}")
    with open(os.path.join(run, "metrics.jsonl"), encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--program", default=os.path.join(ROOT, "colossus"))
    p.add_argument("--data", action="append", required=True, metavar="SHAPE=DATASET")
    p.add_argument("--optimizers", default="adamw,muon")
    p.add_argument("--seeds", default="1,2,3")
    p.add_argument("--steps", type=int, default=250)
    p.add_argument("--from", type=int, default=100, dest="first", metavar="STEP")
    p.add_argument("--threads", type=int, default=0)
    p.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    o = p.parse_args()
    print("| shape | optimiser | seed | load, largest | load, mean | entropy, least | valid, nats |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="bench-balance-") as folder:
        for pair in o.data:
            shape, _, data = pair.partition("=")
            if shape not in SHAPES or not data:
                sys.exit(f"--data {pair}: SHAPE is one of {', '.join(SHAPES)}")
            for optimizer in o.optimizers.split(","):
                for seed in o.seeds.split(","):
                    rows = train(o, folder, shape, os.path.abspath(data), optimizer, seed)
                    late = [r for r in rows if r["step"] >= o.first] or rows[-1:]
                    load = [r["load_max_mean"] for r in late]
                    least = min(r["load_entropy"] for r in late)
                    print(f"| {shape} | {optimizer} | {seed} | {max(load):.2f} "
                          f"| {sum(load) / len(load):.2f} | {least:.3f} "
                          f"| {rows[-1]['valid_nll']:.4f} |", flush=True)


main()
