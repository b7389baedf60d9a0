#!/usr/bin/env python3
"""bench_layouts.py: runs on several ranks of this machine beside runs of one process.

    bench/bench_layouts.py curves [--steps 200]     losses of each layout beside one process
    bench/bench_layouts.py speed [--rounds 7]       steps of each layout, measured and predicted
    bench/bench_layouts.py overlap [--rounds 7]     steps on slower networks, and what they could be
    bench/bench_layouts.py checkpoints              what one every 20 steps costs

`curves` trains the same tokens in every layout and prints how far the losses are from those of one
process whose microbatches have the rows of all ranks of dp: the mean and the largest over the steps,
relative. `speed` lets one process with all threads and each layout, whose ranks share them, take
turns, with bench-machine between them; a ratio is of two neighbours, the median over the rounds
counts. `overlap` plays a network on which a step's messages take half, as long as, and twice as long
as the step takes without it: a step can take the longer of the two at best. `checkpoints` lets runs
with and without them take turns. The text is the project's own source; as root or in a container set what your MPI asks for.
"""
import argparse
import datetime
import glob
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LAYOUTS = {
    "dp2": {"dp": 2}, "dp4": {"dp": 4}, "tp2": {"tp": 2}, "pp2": {"pp": 2}, "ep2": {"dp": 2, "ep": 2},
    "ep4": {"dp": 4, "ep": 4}, "tp2-pp2": {"tp": 2, "pp": 2}, "dp4-ep2": {"dp": 4, "ep": 2},
    "dp2-tp2-pp2": {"dp": 2, "tp": 2, "pp": 2},
}
# Of `curves`: small, so that 200 steps in nine layouts are some minutes on two cores.
CURVE = """data: {path: data}
model: {n_layers: 4, d_model: 128, n_heads: 4, n_kv_heads: 4, ffn_hidden: 128, n_experts: 8}
batch: {seq_len: 128, micro_batch: 1, global_batch: 16}
train: {tokens: %d, precision: fp32, threads: 1}
optimizer: {lr: 0.001}
balance: {kind: bias}
log: {every: 1000, valid_every: 0, peak_seconds: 0}
checkpoint: {every: 0}
"""
# Of `speed`: dense, and experts with few and with several microbatches a step.
SPEED = {
    "dense": """model: {n_layers: 6, d_model: 384, n_heads: 6, n_kv_heads: 6, head_dim: 64,
        ffn_hidden: 1024, n_experts: 1, n_experts_used: 1}
batch: {seq_len: 512, micro_batch: 4, global_batch: 8}""",
    "experts": """model: {n_layers: 4, d_model: 256, n_heads: 4, n_kv_heads: 2, head_dim: 64,
        ffn_hidden: 512, n_experts: 8, n_experts_used: 2}
batch: {seq_len: 256, micro_batch: 8, global_batch: 16}""",
    "experts-4": """model: {n_layers: 4, d_model: 256, n_heads: 4, n_kv_heads: 2, head_dim: 64,
        ffn_hidden: 512, n_experts: 8, n_experts_used: 2}
batch: {seq_len: 256, micro_batch: 8, global_batch: 64}""",
    # Of `overlap`: more layers, as models that need a network have.
    "dense-16": """model: {n_layers: 16, d_model: 256, n_heads: 4, n_kv_heads: 4, head_dim: 64,
        ffn_hidden: 704, n_experts: 1, n_experts_used: 1}
batch: {seq_len: 512, micro_batch: 4, global_batch: 8}""",
    "experts-16": """model: {n_layers: 16, d_model: 192, n_heads: 3, n_kv_heads: 3, head_dim: 64,
        ffn_hidden: 256, n_experts: 8, n_experts_used: 2}
batch: {seq_len: 256, micro_batch: 8, global_batch: 16}""",
}
SPEED_COMMON = """data: {path: data}
optimizer: {kind: adamw, lr: 0.001}
train: {tokens: 1M, max_steps: %d, precision: %s}
log: {every: 1000, valid_every: 0, peak_seconds: 0}
checkpoint: {every: 0}
"""


def call(*command, **more):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          check=False, **more)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def make_data(o):
    with open("text.txt", "wb") as out:
        for path in sorted(glob.glob(os.path.join(ROOT, "src", "*", "*.c"))):
            with open(path, "rb") as f:
                out.write(f.read())
    call(o.program, "data", "train-tokenizer", "text.txt", "--vocab-size", "2048", "--out", "t.json")
    call(o.program, "data", "tokenize", "text.txt", "--tokenizer", "t.json", "--out", "data")


def train(o, file, name, layout, more=()):
    """The lines of metrics.jsonl of one run, begun anew."""
    ranks = layout.get("dp", 1) * layout.get("tp", 1) * layout.get("pp", 1)
    command = [o.program, "train", file, "--run-dir", name]
    for key, value in layout.items():
        command += ["--set", f"cluster.{key}={value}"]
    for key in more:
        command += ["--set", key]
    if ranks > 1:
        command = [o.mpirun, *o.mpi_options.split(), "-n", str(ranks)] + command
    shutil.rmtree(name, ignore_errors=True)
    call(*command, stdin=subprocess.DEVNULL)
    with open(os.path.join(name, "metrics.jsonl"), encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def curves(o):
    with open("curve.yaml", "w", encoding="utf-8") as f:
        f.write(CURVE % (o.steps * 16 * 128))
    alone = {dp: train(o, "curve.yaml", f"one-{dp}", {}, [f"batch.micro_batch={dp}"])
             for dp in (1, 2, 4)}
    print("| layout | mean | largest | last step |")
    print("|---|---|---|---|")
    for name in o.layouts.split(",") if o.layouts else LAYOUTS:
        rows = train(o, "curve.yaml", name, LAYOUTS[name])
        base = alone[LAYOUTS[name].get("dp", 1)]
        off = [abs(a["loss"] / b["loss"] - 1) for a, b in zip(rows, base, strict=True)]
        print(f"| {name} | {sum(off) / len(off):.1e} | {max(off):.1e} | {off[-1]:.1e} |", flush=True)


def step_s(rows):
    return statistics.median(r["step_s"] for r in rows[3:])


def predict(o, name):
    page = json.loads(call(o.program, "plan", "validate", "--local", name, "--json"))
    return page[0]["predicted_step_s"]


def speed(o):
    ratios, off = {}, {}
    layouts = o.layouts.split(",") if o.layouts else ["dp2", "tp2", "pp2", "ep2"]
    for i in range(o.rounds):
        for shape, text in SPEED.items():
            if not is_wanted(o, shape):
                continue
            with open(f"{shape}.yaml", "w", encoding="utf-8") as f:
                f.write(text + "\n" + SPEED_COMMON % (o.steps, o.precision))
            call(o.program, "bench-machine", "--rounds", "3", "--precision", o.precision)
            for name in layouts:
                if name == "ep2" and shape == "dense":
                    continue
                one = step_s(train(o, f"{shape}.yaml", "one", {}))
                many = step_s(train(o, f"{shape}.yaml", name, LAYOUTS[name], ["train.threads=1"]))
                key = f"{shape}, {name}"
                ratios.setdefault(key, []).append(one / many)
                off.setdefault(key, []).append(predict(o, name) / many)
                print(f"round {i + 1}  {key}: one process {1e3 * one:.0f} ms, ranks "
                      f"{1e3 * many:.0f} ms, predicted {1e3 * many * off[key][-1]:.0f} ms",
                      file=sys.stderr, flush=True)
    print("| run | speed beside one process | predicted / measured |")
    print("|---|---|---|")
    for key, values in ratios.items():
        print(f"| {key} | {statistics.median(values):.2f} | {statistics.median(off[key]):.2f} |")


def is_wanted(o, shape):
    """Without --shapes all but those of many layers."""
    return shape in o.shapes.split(",") if o.shapes else not shape.endswith("-16")


def overlap(o):
    ratios = {}
    layouts = o.layouts.split(",") if o.layouts else ["dp2"]
    for i in range(o.rounds):
        for shape, text in SPEED.items():
            if not is_wanted(o, shape):
                continue
            with open(f"{shape}.yaml", "w", encoding="utf-8") as f:
                f.write(text + "\n" + SPEED_COMMON % (o.steps, o.precision))
            for name in layouts:
                os.environ.pop("COLOSSUS_LINK", None)
                free = step_s(train(o, f"{shape}.yaml", name, LAYOUTS[name], ["train.threads=1"]))
                with open(os.path.join(name, "events.jsonl"), encoding="utf-8") as lines:
                    sent = json.loads(lines.readline())["sent_bytes"]
                for factor in (0.5, 1, 2):
                    os.environ["COLOSSUS_LINK"] = f"{sent / (factor * free)} B/s"
                    slow = step_s(train(o, f"{shape}.yaml", name, LAYOUTS[name],
                                        ["train.threads=1"]))
                    key = f"{shape}, {name} | {factor}"
                    ratios.setdefault(key, []).append(slow / (free * max(1, factor)))
                    print(f"round {i + 1}  {key}: without {1e3 * free:.0f} ms, with "
                          f"{1e3 * slow:.0f} ms", file=sys.stderr, flush=True)
    os.environ.pop("COLOSSUS_LINK", None)
    print("| run | messages / step without them | step / the longer of the two |")
    print("|---|---|---|")
    for key, values in ratios.items():
        print(f"| {key} | {statistics.median(values):.2f} |")


def wall_s(rows):
    """Seconds from the third step's end to the last one's, a step."""
    when = [datetime.datetime.fromisoformat(r["time"].replace("Z", "+00:00")) for r in rows]
    return (when[-1] - when[2]).total_seconds() / (len(rows) - 3)


def checkpoints(o):
    ratios = {}
    for i in range(o.rounds):
        for shape in o.shapes.split(",") if o.shapes else ["dense", "experts"]:
            with open(f"{shape}.yaml", "w", encoding="utf-8") as f:
                f.write(SPEED[shape] + "\n" + SPEED_COMMON % (63, o.precision))
            for name in o.layouts.split(",") if o.layouts else ["dp2"]:
                more = ["train.threads=1", "train.tokens=1G"]
                none = wall_s(train(o, f"{shape}.yaml", name, LAYOUTS[name], more))
                some = wall_s(train(o, f"{shape}.yaml", name, LAYOUTS[name],
                                    more + ["checkpoint.every=20"]))
                ratios.setdefault(f"{shape}, {name}", []).append(some / none - 1)
                print(f"round {i + 1}  {shape}, {name}: {1e3 * none:.1f} ms without, "
                      f"{1e3 * some:.1f} ms with one every 20 steps", file=sys.stderr, flush=True)
    print("| run | a checkpoint every 20 steps costs |")
    print("|---|---|")
    for key, values in ratios.items():
        print(f"| {key} | {100 * statistics.median(values):+.1f} % |")


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("what", choices=["curves", "speed", "overlap", "checkpoints"])
    p.add_argument("--program", default=os.path.join(ROOT, "colossus"))
    p.add_argument("--mpirun", default="mpirun.openmpi")
    p.add_argument("--mpi-options", default="--oversubscribe")
    p.add_argument("--layouts", help="of " + ", ".join(LAYOUTS))
    p.add_argument("--shapes", help="of " + ", ".join(SPEED))
    p.add_argument("--steps", type=int, default=0, help="default: 200 of curves, 9 of the others")
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--precision", choices=["bf16", "fp32"], default="fp32")
    o = p.parse_args()
    o.program = os.path.realpath(o.program)
    o.steps = o.steps or (200 if o.what == "curves" else 9)
    with tempfile.TemporaryDirectory(prefix="bench-layouts-") as folder:
        os.chdir(folder)
        os.environ["XDG_CONFIG_HOME"] = folder  # what bench-machine writes stays here
        make_data(o)
        {"curves": curves, "speed": speed, "overlap": overlap,
         "checkpoints": checkpoints}[o.what](o)
        os.chdir(ROOT)


main()
