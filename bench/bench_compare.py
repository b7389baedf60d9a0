#!/usr/bin/env python3
"""bench_compare.py: speed of whole training steps, ours beside PyTorch at its best.

For each of the two shapes of docs/benchmarks.md:
  survey   every rival there is (each torch that is installed, each way to write the model, with
           and without torch.compile where it works), in bf16 autocast and in fp32, briefly;
           by its fastest step, so that a busy moment puts none out; the three fastest go on
  rounds   ours, then those rivals, one process each with warm-up, one after another, so that
           whatever else the machine does hits all of them; every round gives a ratio
The rival's figure of a round is its fastest. Reported: medians, the ratio of each round, and the
share of the peak of matrix products measured in the same round (the higher of what ours and
torch reach). Nothing is asserted.

Only the standard library is used here; torch runs in processes of its own, with the environment
that makes it fastest. $COLOSSUS_TORCH_PYTHON names another interpreter that has torch.
"""
import argparse
import json
import os
import re
import shlex
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
SHAPES = ("dense", "experts")
PLACES = ("first", "second", "third")
PEERS = {  # program, arguments, needs torch 2, needs torch.compile
    "dense": [
        ("peer_grok.py", ["--shape", "dense"], False),
        ("peer_gpt2.py", ["--attn", "manual"], False),
        ("peer_gpt2.py", ["--attn", "sdpa"], True),
        ("peer_grok.py", ["--shape", "dense", "--compile"], True),
        ("peer_gpt2.py", ["--attn", "sdpa", "--compile"], True),
    ],
    "experts": [
        ("peer_grok.py", ["--shape", "experts"], False),
        ("peer_grok.py", ["--shape", "experts", "--compile"], True),
    ],
}


def cpu_flags():
    try:
        with open("/proc/cpuinfo") as f:
            for line in f:
                if line.startswith("flags"):
                    return set(line.split(":")[1].split())
    except OSError:
        pass
    return set()


def rival_environment(threads):
    """What makes torch fastest: OpenBLAS 0.3.21 falls back to 2004's kernels on processors it does
    not know, so the kind is named; one OpenMP pool instead of two; huge pages; no trimming."""
    env = dict(os.environ)
    env.update(OMP_NUM_THREADS=str(threads), OPENBLAS_NUM_THREADS=str(threads),
               OMP_PROC_BIND="close", PYTHONDONTWRITEBYTECODE="1",
               GLIBC_TUNABLES="glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=17179869184"
                              ":glibc.malloc.trim_threshold=68719476736")
    flags = cpu_flags()
    if "avx512_bf16" in flags:
        env["OPENBLAS_CORETYPE"] = "SAPPHIRERAPIDS"
    elif "avx512f" in flags:
        env["OPENBLAS_CORETYPE"] = "SKYLAKEX"
    if "avx512f" in flags:
        env["ATEN_CPU_CAPABILITY"] = "avx512"
    blas = "/usr/lib/x86_64-linux-gnu/openblas-openmp"
    if os.path.isdir(blas):
        env["LD_LIBRARY_PATH"] = blas
    else:
        print("note: Debian's torch multiplies fp32 through BLAS, and its best one is not here "
              "(apt-get install libopenblas0-openmp)", file=sys.stderr)
    return env


def run_json(command, a, env=None):
    """The JSON line a program prints, or (None, why)."""
    try:
        p = subprocess.run(shlex.split(a.prefix) + command, env=env, capture_output=True,
                           text=True, timeout=a.limit)
    except subprocess.TimeoutExpired:
        return None, f"longer than {a.limit} s"
    except OSError as e:
        return None, str(e)
    lines = [x for x in p.stdout.splitlines() if x.startswith("{")]
    if p.returncode or not lines:
        tail = (p.stderr.strip().splitlines() or ["no output"])[-1]
        return None, f"exit {p.returncode}: {tail[:160]}"
    return json.loads(lines[-1]), None


def find_torches(env, a):
    """[(interpreter, version)] of those that can import torch."""
    found = []
    for python in ("/usr/bin/python3", os.environ.get("COLOSSUS_TORCH_PYTHON")):
        if not python:
            continue
        code = "import torch, json; print(json.dumps({'v': torch.__version__}))"
        result, why = run_json([python, "-c", code], a, env)
        if result:
            found.append((python, result["v"]))
        else:
            print(f"no torch in {python}: {why}", file=sys.stderr)
    return found


def rival_name(r):
    return (f"torch {r['torch'].split('+')[0]} {r['program']}"
            + (" sdpa" if r["attn"] == "sdpa" else "") + (" compiled" if r["compile"] else ""))


def survey(shape, torches, env, a):
    """The rivals that go on, fastest first: {"first": command, ...}."""
    found = []
    for python, version in torches:
        for program, extra, needs_2 in PEERS[shape]:
            if needs_2 and int(version.split(".")[0]) < 2:
                continue
            if a.no_compile and "--compile" in extra:
                continue
            for dtype in ("bf16", "fp32"):
                command = [python, os.path.join(HERE, "peers", program), "--dtype", dtype,
                           "--threads", str(a.threads)] + extra
                label = f"torch {version} {program} {' '.join(extra)} {dtype}"
                if not re.search(a.rivals, label):
                    continue
                result, why = run_json(command + ["--steps", "3", "--warmup", "1"], a, env)
                if not result:
                    print(f"  survey  {label}: {why}", flush=True)
                    continue
                speed = 1e3 * result["B"] * result["T"] / min(result["step_ms"])
                print(f"  survey  {label}: {speed:.1f} tokens/s, {result['rss_gib']} GiB",
                      flush=True)
                found.append((speed, command))
    found.sort(key=lambda x: -x[0])
    return {place: command for place, (speed, command) in zip(PLACES, found)}


def run_rounds(shape, rivals, env, a):
    ours_command = [a.program, "--shape", shape, "--threads", str(a.threads), "--steps",
                    str(a.steps), "--warmup", "2", "--json"]
    rounds = []
    for i in range(a.rounds):
        r = {"load": os.getloadavg()[0], "began": time.strftime("%H:%M:%S")}
        r["ours"], why = run_json(ours_command, a)
        if not r["ours"]:
            sys.exit(f"bench_compare: {a.program}: {why}")
        r["rivals"] = {}
        for name, command in rivals.items():
            extra = ["--steps", str(a.rival_steps), "--warmup", "1"]
            result, why = run_json(command + extra, a, env)
            if result:
                r["rivals"][name] = result
            else:
                print(f"  round {i + 1}: rival {name}: {why}")
        known = [r["ours"], *r["rivals"].values()]
        r["peak"] = max(x["peak_flops"] for x in known)
        speeds = [x["tokens_per_s"] for x in r["rivals"].values()]
        r["ratio"] = r["ours"]["tokens_per_s"] / max(speeds) if speeds else None
        ours = r["ours"]
        r["share"] = ours["tokens_per_s"] * ours["flops_per_token"] / r["peak"]
        rounds.append(r)
        print_round(i + 1, r)
    return rounds


def cell(x, form):
    return form.format(x) if x is not None else "N/A"


def print_round(i, r):
    rivals = "".join(f"  {name} {x['tokens_per_s']:.1f}" for name, x in r["rivals"].items())
    print(f"  round {i}  {r['began']} load {r['load']:.1f}: ours {r['ours']['tokens_per_s']:.1f}"
          f"{rivals} tokens/s; ratio {cell(r['ratio'], '{:.2f}')}; "
          f"peak {r['peak'] / 1e9:.0f} GFLOP/s, ours {100 * r['share']:.1f} % of it", flush=True)


def median(values):
    values = [v for v in values if v is not None]
    return statistics.median(values) if values else None


def print_summary(shape, rounds):
    ours = [r["ours"] for r in rounds]
    first = ours[0]
    print(f"\n{shape}: {first['params'] / 1e6:.1f} M parameters, B={first['B']} T={first['T']}, "
          f"{first['threads']} threads, medians of {len(rounds)} rounds")
    print(f"  {'':42}{'tokens/s':>10}{'ms/step':>10}{'forward':>10}{'backward':>10}{'clip':>8}"
          f"{'AdamW':>8}{'GiB':>6}{'% peak':>8}")

    def line(name, runs, share):
        def mid(key):
            return median([x.get(key) for x in runs])
        print(f"  {name:42}{mid('tokens_per_s'):10.1f}{mid('median_ms'):10.0f}"
              f"{mid('forward_ms'):10.0f}{mid('backward_ms'):10.0f}{mid('clip_ms'):8.0f}"
              f"{mid('optimizer_ms'):8.0f}{mid('rss_gib'):6.1f}{cell(share, '{:.1f}'):>8}")

    line(f"colossus {first['dtype']}", ours, 100 * median([r["share"] for r in rounds]))
    for name in PLACES:
        pairs = [(r["rivals"][name], r["peak"]) for r in rounds if name in r["rivals"]]
        if not pairs:
            continue
        share = None
        if pairs[0][0]["program"].startswith("grok"):
            share = 100 * median([x["tokens_per_s"] * first["flops_per_token"] / peak
                                  for x, peak in pairs])
        line(f"{rival_name(pairs[0][0])} {pairs[0][0]['dtype']}", [x for x, _ in pairs], share)
    ratios = [r["ratio"] for r in rounds]
    if median(ratios) is None:
        print("  ratio: N/A, there is no torch here (apt-get install python3-torch, or "
              "$COLOSSUS_TORCH_PYTHON)")
    else:
        each = " ".join(f"{x:.2f}" for x in ratios if x is not None)
        print(f"  ratio to the fastest rival: median {median(ratios):.2f} (rounds: {each})")


def print_profile(rounds):
    """Of the round with the median speed."""
    r = sorted(rounds, key=lambda x: x["ours"]["tokens_per_s"])[len(rounds) // 2]
    ours, step = r["ours"], r["ours"]["mean_ms"]
    groups = {}
    for op in ours["profile"]:
        groups[op["group"]] = groups.get(op["group"], 0) + op["ms"]
    groups["between operations"] = step - sum(groups.values())
    print("  where our step goes: " + ", ".join(
        f"{name} {100 * ms / step:.1f} %" for name, ms in
        sorted(groups.items(), key=lambda x: -x[1])))
    print(f"    {'operation':36}{'ms':>9}{'%':>7}{'GFLOP/s':>9}{'% peak':>8}")
    for op in ours["profile"][:14]:
        speed = op["flops"] / op["ms"] * 1e3 if op["flops"] else None
        print(f"    {op['op']:36}{op['ms']:9.2f}{100 * op['ms'] / step:7.1f}"
              + (f"{speed / 1e9:9.0f}{100 * speed / r['peak']:8.0f}" if speed else ""))


def options():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--program", required=True, help="bench_train")
    ap.add_argument("--shapes", default=",".join(SHAPES), help="default: %(default)s")
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--steps", type=int, default=4, help="of ours in a round")
    ap.add_argument("--rival-steps", type=int, default=2)
    ap.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    ap.add_argument("--rivals", default="", help="only those whose survey line matches this "
                    "regular expression")
    ap.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    ap.add_argument("--no-rivals", action="store_true", help="ours alone")
    ap.add_argument("--prefix", default="", help="put before every measured command, for example "
                    "'numactl --cpunodebind=0'")
    ap.add_argument("--limit", type=float, default=900, help="seconds for one process; a rival "
                    "that needs longer is out")
    ap.add_argument("--out", default="build/bench.json", help="all figures, default: %(default)s")
    return ap.parse_args()


def main():
    a = options()
    env = rival_environment(a.threads)
    torches = [] if a.no_rivals else find_torches(env, a)
    everything = {}
    for shape in a.shapes.split(","):
        if shape not in SHAPES:
            sys.exit(f"bench_compare: unknown shape '{shape}'; one of {', '.join(SHAPES)}")
        print(f"{shape}:", flush=True)
        rivals = survey(shape, torches, env, a)
        rounds = run_rounds(shape, rivals, env, a)
        everything[shape] = rounds
        print_summary(shape, rounds)
        print_profile(rounds)
        print(flush=True)
    os.makedirs(os.path.dirname(os.path.abspath(a.out)), exist_ok=True)
    with open(a.out, "w") as f:
        json.dump(everything, f, indent=1)


main()
