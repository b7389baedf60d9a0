#!/usr/bin/env python3
"""bench_tokenizer.py: encoding lines beside Debian's spm_encode, whole processes, one thread each.

    bench/bench_tokenizer.py --model grok-1.model [--rounds 7] [--colossus ./colossus] TEXT...

Both programs read the same file and print the same ids, which is checked first; then they take
turns, and the medians of their CPU times (user and system, as the kernel counts them) are compared,
so that what else the machine does weighs on neither. Start and loading are part of both.
"""
import argparse
import os
import resource
import statistics
import subprocess


def run(command, path, output):
    """Runs the command on the file; CPU seconds of the process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with open(path, "rb") as source, open(output, "wb") as sink:
        subprocess.run(command, stdin=source, stdout=sink, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def read(path):
    with open(path, "rb") as f:
        return f.read()


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--model", required=True)
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--colossus", default="./colossus")
    p.add_argument("texts", nargs="+", metavar="TEXT")
    o = p.parse_args()
    ours = [o.colossus, "data", "encode", "--lines", "--threads", "1", "--tokenizer", o.model]
    theirs = ["spm_encode", "--model=" + o.model, "--output_format=id"]
    scratch = os.path.join(os.environ.get("TMPDIR", "/tmp"), "bench_tokenizer.%d." % os.getpid())
    outputs = scratch + "ours", scratch + "theirs"
    try:
        for text in o.texts:
            run(ours, text, outputs[0])
            run(theirs, text, outputs[1])
            same = read(outputs[0]) == read(outputs[1])
            times = [(run(ours, text, os.devnull), run(theirs, text, os.devnull))
                     for _ in range(o.rounds)]
            a, b = (statistics.median(t) for t in zip(*times))
            size = os.path.getsize(text) / 1e6
            print("%s: %.2f MB, ids %s; colossus %.0f ms (%.1f MB/s), spm_encode %.0f ms (%.2f MB/s): "
                  "%.1f x" % (os.path.basename(text), size, "the same" if same else "DIFFER",
                              1e3 * a, size / a, 1e3 * b, size / b, b / a))
            if not same:
                return 1
    finally:
        for path in outputs:
            if os.path.exists(path):
                os.unlink(path)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
