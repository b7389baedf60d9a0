#!/usr/bin/env python3
"""bench_serve.py: text from a GGUF file beside llama.cpp: one stream, and many over HTTP.

  bench/bench_serve.py MODEL.gguf --llama "llama-bench" --server "llama-server" [--rounds 3]

Both sides take turns within a round, with 1 thread and with 2, and medians over the rounds are
printed. One stream: `llama-bench` beside `colossus generate`, prompts of 512 and 4,000 tokens and
the writing of 64 behind a short one and behind 4,000. Many: `colossus bench-serve` asks both servers, 16 clients,
prompts of 128 tokens and answers of 64. --llama and --server are commands, so that a prefix may be
put before them (nice, chroot); MODEL as they see it may be named by --llama-model. --wrap is put
before ours. What the other programs need is their user's business; without them only ours is run."""
import argparse
import json
import random
import shlex
import statistics
import subprocess
import tempfile
import time
import urllib.request

WORDS = "time people water house story night world music river light paper green small large never after"


def prompt_file(words):
    rng = random.Random(words)
    f = tempfile.NamedTemporaryFile("w", suffix=".txt")
    f.write(" ".join(rng.choice(WORDS.split()) for _ in range(words)))
    f.flush()
    return f


def ours(o, words, tokens, threads):
    """(prompt tokens a second, written tokens a second)"""
    with prompt_file(words) as f:
        line = [*o.wrap, o.colossus, "generate", o.model, "--prompt-file", f.name, "--max-tokens",
                str(tokens), "--threads", str(threads), "--temperature", "0", "--ignore-eos",
                "--quiet", "--json"]
        r = json.loads(subprocess.run(line, capture_output=True, text=True, check=True).stdout)
    return r["prompt_tokens"] / r["prompt_s"], r["new_tokens"] / r["decode_s"]


def theirs(o, prompt, tokens, threads, depth):
    line = [*o.llama, "-m", o.llama_model, "-t", str(threads), "-p", str(prompt), "-n", str(tokens),
            "-d", str(depth), "-r", "1", "-o", "json"]
    r = json.loads(subprocess.run(line, capture_output=True, text=True, check=True).stdout)
    return r[0]["avg_ts"]


def one_stream(o):
    cases = [("read 512", 510, 2, 0), ("read 4,000", 3998, 2, 0), ("write 64", 1, 65, 1),
             ("write 64 behind 4,000", 3998, 65, 1)]
    for threads in (1, 2):
        for name, words, tokens, which in cases:
            a, b = [], []
            for _ in range(o.rounds):
                if o.llama:
                    b.append(theirs(o, 0 if which else words + 2, 64 if which else 0, threads,
                                    words if which and words > 1 else 0))
                a.append(ours(o, words, tokens, threads)[which])
            show(f"{name}, {threads} threads, tokens/s", a, b)


def show(name, a, b):
    x = statistics.median(a)
    text = f"{name:34} {x:9.1f}"
    if b:
        y = statistics.median(b)
        ratios = sorted(p / q for p, q in zip(a, b))
        text += f" {y:9.1f}   {x / y:5.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    print(text, flush=True)


def wait_for(port):
    for _ in range(300):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2)
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"bench_serve: nothing answers on port {port}")


def many(o):
    a, b = 8791, 8792
    line = [*o.wrap, o.colossus, "serve", o.model, "--port", str(a), "--threads", "2"]
    rival = [*o.server, "-m", o.llama_model, "--host", "127.0.0.1", "--port", str(b), "-t", "2",
             "-np", "16", "-c", "8192"]
    servers = [subprocess.Popen(x, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
               for x in ([line, rival] if o.server else [line])]
    try:
        wait_for(a)
        ask = [*o.wrap, o.colossus, "bench-serve", f"http://127.0.0.1:{a}/v1", "--requests", "32",
               "--clients", "16", "--rounds", str(o.rounds)]
        if o.server:
            wait_for(b)
            ask += ["--vs", f"http://127.0.0.1:{b}/v1"]
        subprocess.run(ask, check=True)
    finally:
        for s in servers:
            s.terminate()
            s.wait()


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("model")
    p.add_argument("--colossus", default="./colossus")
    p.add_argument("--llama", default="", type=shlex.split)
    p.add_argument("--server", default="", type=shlex.split)
    p.add_argument("--llama-model")
    p.add_argument("--wrap", default="", type=shlex.split)
    p.add_argument("--rounds", type=int, default=3)
    o = p.parse_args()
    o.llama_model = o.llama_model or o.model
    print(f"{'':34} {'ours':>9}" + (f" {'llama.cpp':>9}   ratio" if o.llama else ""))
    one_stream(o)
    print()
    many(o)


if __name__ == "__main__":
    main()
