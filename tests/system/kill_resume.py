"""kill_resume.py: a run that is interrupted ends as if it had not been.

A tiny mixture-of-experts model trains on synthetic text with a checkpoint every few steps. What
must hold, each time judged by the last checkpoint's bytes (weights, both moments, the guard's
window, configuration, and the manifest with the data cursor) being those of a run left alone:

    threads            1, 2 and 3 threads; a wider model too, in fp32 and in bf16
    stop               SIGTERM, SIGHUP and SIGINT save the step in progress and exit 75; the run goes on
    nobody reads       behind a pipe that is full from the beginning the run goes on, and SIGTERM saves
    finished           the command of a finished run does nothing
    kills              kill -9 at 30 random moments, half of them while a checkpoint is written
    flipped bits       one bit in 30 random places of the newest checkpoint: refused by name, the
                       older one is used
    full disk          checkpoints that cannot be written are reported, the one before stays, the
                       run goes on and fails only at its end; with room again it ends the same
    nothing left       with every checkpoint damaged the run refuses to go on, and says so

Moments and places come from a fixed seed; moments still fall differently every time, because
processes do. Only the standard library is used. Prints one "ok NAME" or "not ok NAME: WHY" a test.
"""
import fcntl
import glob
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

COLOSSUS = os.environ.get("COLOSSUS") or os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "..", "..", "colossus")
SEED = 20240607
KILLS = 30
FLIPS = 30
STEPS = 60
EVERY = 3  # steps between checkpoints
KEEP = 3
LIMIT_S = 120  # of one process; a hang is a failure, not a wait
AGAIN = 75

RUN_FILE = """\
name: run
dir: runs
data: {path: data}
model: {n_layers: 2, d_model: 32, n_heads: 2, n_kv_heads: 1, ffn_hidden: 64, n_experts: 4,
        n_experts_used: 2}
batch: {seq_len: 32, micro_batch: 4, global_batch: 8}
train: {tokens: %d, seed: 7, threads: 2, precision: bf16}
optimizer: {kind: muon}
schedule: {warmup_tokens: 2048}
balance: {kind: bias}
log: {every: 20, valid_every: 25, peak_seconds: 0}
checkpoint: {every: %d, keep_last: %d}
""" % (STEPS * 8 * 32, EVERY, KEEP)


class Failure(Exception):
    pass


def check(condition, why):
    if not condition:
        raise Failure(why)


# ---------------------------------------------------------------- input

def byte_letters():
    """The printable letter that stands for each byte in a byte-level tokenizer (GPT-2's table)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters, extra = {}, 0
    for byte in range(256):
        letters[byte] = chr(byte) if byte in plain else chr(256 + extra)
        extra += byte not in plain
    return letters


def write_input():
    rng = random.Random(SEED)
    syllables = [a + b for a in "bcdfglmnprst" for b in "aeiou"]
    words = ["".join(rng.choice(syllables) for _ in range(rng.randint(1, 4))) for _ in range(300)]
    with open("text.jsonl", "w") as f:
        for _ in range(400):
            text = " ".join(rng.choice(words) for _ in range(rng.randint(20, 90)))
            f.write(json.dumps({"text": text}) + "\n")
    letters = byte_letters()
    vocab = {"<|eos|>": 0, **{letters[b]: b + 1 for b in range(256)}}
    eos = {"id": 0, "content": "<|eos|>", "single_word": False, "lstrip": False, "rstrip": False,
           "normalized": False, "special": True}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
             "use_regex": True}
    tokenizer = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [eos],
                 "normalizer": None, "pre_tokenizer": level, "post_processor": None,
                 "decoder": level,
                 "model": {"type": "BPE", "dropout": None, "unk_token": None,
                           "continuing_subword_prefix": None, "end_of_word_suffix": None,
                           "fuse_unk": False, "byte_fallback": False, "vocab": vocab,
                           "merges": []}}
    with open("tokenizer.json", "w") as f:
        json.dump(tokenizer, f)
    with open("run.yaml", "w") as f:
        f.write(RUN_FILE)
    p = subprocess.run([COLOSSUS, "data", "tokenize", "text.jsonl", "--tokenizer",
                        "tokenizer.json", "--out", "data", "--valid-fraction", "0.05"],
                       capture_output=True, text=True, timeout=LIMIT_S)
    check(p.returncode == 0, "data tokenize: " + p.stderr)


# ---------------------------------------------------------------- runs

def command(run_dir, *settings):
    c = [COLOSSUS, "train", "run.yaml", "--run-dir", run_dir]
    for s in settings:
        c += ["--set", s]
    return c


def train(run_dir, *settings, code=0):
    """Runs to the end; returns what it printed."""
    p = subprocess.run(command(run_dir, *settings), stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True, timeout=LIMIT_S)
    check(p.returncode == code, f"exit {p.returncode} instead of {code}: {p.stdout[-600:]}")
    return p.stdout


def start(run_dir, *settings):
    return subprocess.Popen(command(run_dir, *settings), stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True)


def step_dir(run_dir, step):
    return f"{run_dir}/checkpoints/step-{step:08d}"


def saved_steps(run_dir):
    return sorted(int(os.path.basename(d)[5:]) for d in glob.glob(run_dir + "/checkpoints/step-*")
                  if not d.endswith(".tmp"))


def contents(folder):
    """Every file of a checkpoint: {name: bytes}."""
    return {n: open(os.path.join(folder, n), "rb").read() for n in sorted(os.listdir(folder))}


def lines(path):
    with open(path) as f:
        return [json.loads(x) for x in f]


def events(run_dir, name):
    return [x for x in lines(run_dir + "/events.jsonl") if x["event"] == name]


def check_final(run_dir, reference):
    """The last checkpoint is the reference's, and each step was recorded once, in order."""
    final = contents(step_dir(run_dir, STEPS))
    check(final.keys() == reference.keys(), f"files {sorted(final)}")
    for name, data in reference.items():
        check(final[name] == data, f"{run_dir}: {name} differs from the run left alone")
    steps = [x["step"] for x in lines(run_dir + "/metrics.jsonl")]
    check(steps == list(range(1, STEPS + 1)), f"{run_dir}: metrics.jsonl has steps {steps}")


# ---------------------------------------------------------------- tests

def test_threads(reference, state):
    for n in (1, 3):
        train(f"threads-{n}", f"train.threads={n}")
        check_final(f"threads-{n}", reference)
    wide = ["model.d_model=192", "model.n_heads=3", "model.ffn_hidden=320", "batch.seq_len=96",
            "train.max_steps=4", "log.valid_every=0"]
    for precision in ("fp32", "bf16"):
        ends = []
        for n in (1, 2):
            run_dir = f"wide-{precision}-{n}"
            train(run_dir, f"train.threads={n}", f"train.precision={precision}", *wide)
            ends.append(contents(step_dir(run_dir, 4)))
        check(ends[0] == ends[1], f"wide model in {precision}: 1 and 2 threads differ in "
              + ", ".join(n for n in ends[0] if ends[0][n] != ends[1].get(n)))


def wait_for_step(process, run_dir, step):
    """Until metrics.jsonl has that step's line."""
    path, end = run_dir + "/metrics.jsonl", time.monotonic() + LIMIT_S
    while time.monotonic() < end and process.poll() is None:
        try:
            with open(path, "rb") as f:
                if f.read().count(b"\n") >= step:
                    return
        except FileNotFoundError:
            pass
        time.sleep(0.001)
    check(process.poll() is None, "ended before step %d: %s" % (step, process.stdout.read()[-600:]))
    raise Failure(f"no step {step} within {LIMIT_S} s")


def test_stop(reference, state):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup a run does not heed it
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        run_dir = "stop-" + number.name
        for target in (1, 20):  # 1 is far from the next regular checkpoint
            p = start(run_dir)
            wait_for_step(p, run_dir, target)
            p.send_signal(number)
            out, _ = p.communicate(timeout=LIMIT_S)
            check(p.returncode == AGAIN, f"{number.name}: exit {p.returncode}: {out[-600:]}")
            done = lines(run_dir + "/metrics.jsonl")[-1]["step"]
            check(saved_steps(run_dir)[-1] == done,
                  f"{number.name} after step {done}: saved {saved_steps(run_dir)}")
        train(run_dir)
        check_final(run_dir, reference)
        check(len(events(run_dir, "resumed")) == 2, f"{number.name}: not resumed twice")


def test_nobody_reads(reference, state):
    """A terminal behind ^S, or a program that does not read: what is printed waits, the run does not."""
    there, here = os.pipe()
    fcntl.fcntl(here, fcntl.F_SETPIPE_SZ, 4096)
    os.write(here, b"x" * 4096)
    p = subprocess.Popen(command("unread", "log.every=1"), stdout=here, stderr=here)
    wait_for_step(p, "unread", 20)
    p.send_signal(signal.SIGTERM)
    check(p.wait(LIMIT_S) == AGAIN, f"exit {p.returncode}")
    os.close(there)
    os.close(here)
    train("unread")
    check_final("unread", reference)


def state_of(run_dir):
    """Everything in a run folder, but for the log of events and what is drawn again."""
    found = {}
    for folder, _, files in os.walk(run_dir):
        for name in files:
            path = os.path.join(folder, name)
            if name == "events.jsonl" or name.endswith(".svg"):
                continue
            found[path] = open(path, "rb").read()
    return found


def test_finished(reference, state):
    before, said = state_of("alone"), lines("alone/events.jsonl")
    stamps = {p: os.stat(p).st_mtime_ns for p in before if "/checkpoints/" in p}
    train("alone")
    check(state_of("alone") == before, "a finished run was changed by its command")
    check(lines("alone/events.jsonl") == said, "a finished run's command wrote events")
    for path, stamp in stamps.items():
        check(os.stat(path).st_mtime_ns == stamp, f"{path} was written again")


def kill_while_writing(process, run_dir, rng):
    """Kills within 2 ms of a checkpoint's beginning; false where the run ended first."""
    path, end = run_dir + "/checkpoints", time.monotonic() + LIMIT_S
    skip = rng.randint(0, 3)  # not always the first one of a process
    seen = set()
    while process.poll() is None:
        check(time.monotonic() < end, f"no checkpoint within {LIMIT_S} s")
        try:
            names = {n for n in os.listdir(path) if n.endswith(".tmp")}
        except FileNotFoundError:
            continue
        seen |= names
        if names and len(seen) > skip:
            time.sleep(rng.random() * 0.002)
            process.kill()
            return True
    return False


def kill_after_delay(process, delay_s):
    try:
        process.wait(timeout=delay_s)
        return False
    except subprocess.TimeoutExpired:
        process.kill()
        return True


def test_kills(reference, state):
    rng = random.Random(SEED + 1)
    kills = in_write = runs = 0
    resumed_at = set()
    run_dir = "kills-0"
    while True:
        p = start(run_dir)
        if kills == KILLS:
            killed = False  # this one may finish
        elif kills % 2:
            killed = kill_while_writing(p, run_dir, rng)
        else:
            killed = kill_after_delay(p, rng.random() * 0.6 * state["alone_s"])
        out, _ = p.communicate(timeout=LIMIT_S)
        if killed and p.returncode == -signal.SIGKILL:
            kills += 1
            in_write += bool(glob.glob(run_dir + "/checkpoints/*.tmp"))
            resumed_at.add((runs, (saved_steps(run_dir) or [0])[-1]))
            continue
        check(p.returncode == 0, f"after {kills} kills: exit {p.returncode}: {out[-600:]}")
        check_final(run_dir, reference)
        check(not events(run_dir, "checkpoint_rejected"), "a kill damaged a checkpoint")
        check(not glob.glob(run_dir + "/checkpoints/*.tmp"), "a left-over .tmp was not removed")
        runs += 1
        if kills == KILLS:
            break
        run_dir = f"kills-{runs}"
    check(in_write > 0, "no kill hit the writing of a checkpoint")
    return (f"{kills} kills in {runs} runs, {in_write} while a checkpoint was written, resumed "
            f"from {len(resumed_at)} different states")


def flip(path, offset, bit):
    with open(path, "r+b") as f:
        f.seek(offset)
        byte = f.read(1)[0]
        f.seek(offset)
        f.write(bytes([byte ^ 1 << bit]))


def test_flipped_bits(reference, state):
    rng = random.Random(SEED + 2)
    stopped = STEPS - 2 * EVERY
    train("flip", f"train.max_steps={stopped}")
    steps = saved_steps("flip")
    check(steps[-2:] == [stopped - EVERY, stopped], f"saved {steps}")
    names = sorted(os.listdir(step_dir("flip", stopped)))
    hit = {}
    for i in range(FLIPS):
        shutil.rmtree("flipped", ignore_errors=True)
        shutil.copytree("flip", "flipped")
        name = names[i % len(names)]
        path = os.path.join(step_dir("flipped", stopped), name)
        offset = rng.randrange(os.path.getsize(path))
        flip(path, offset, rng.randrange(8))
        out = train("flipped")
        where = f"bit flipped in byte {offset} of {name}"
        rejected = events("flipped", "checkpoint_rejected")
        check([x["step"] for x in rejected] == [stopped], f"{where}: rejected {rejected}")
        check(name in rejected[0]["why"], f"{where}: '{rejected[0]['why']}' does not name it")
        check(name in out, f"{where}: nothing said on the terminal")
        resumed = events("flipped", "resumed")[-1]["step"]
        check(resumed == stopped - EVERY, f"{where}: resumed from {resumed}")
        check_final("flipped", reference)
        hit[name] = hit.get(name, 0) + 1
    return f"{FLIPS} of {FLIPS} found, in " + ", ".join(sorted(hit))


def test_full_disk(reference, state):
    stopped = STEPS // 2
    train("full", f"train.max_steps={stopped}")
    before = contents(step_dir("full", stopped))
    limit = len(before["weights.safetensors"]) - 1  # more than any other file of the run needs
    p = subprocess.run(command("full"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       text=True, timeout=LIMIT_S,
                       preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    check(p.returncode == 93, f"exit {p.returncode}: {p.stdout[-600:]}")
    check("weights.safetensors" in p.stdout and "file too large" in p.stdout,
          f"said only: {p.stdout[-600:]}")
    failed = [x["step"] for x in events("full", "checkpoint_failed")]
    check(failed == list(range(stopped + EVERY, STEPS + 1, EVERY)), f"failed at {failed}")
    check(saved_steps("full")[-1] == stopped, f"saved {saved_steps('full')}")
    check(contents(step_dir("full", stopped)) == before, "the checkpoint before was changed")
    check(not glob.glob("full/checkpoints/*.tmp"), "a .tmp was left")
    train("full")
    check_final("full", reference)


def test_nothing_left(reference, state):
    shutil.copytree("flip", "damaged")
    for step in saved_steps("damaged"):
        flip(step_dir("damaged", step) + "/weights.safetensors", 200, 1)
    before = state_of("damaged")
    out = train("damaged", code=93)
    check("none of the" in out and "weights.safetensors" in out, f"said only: {out[-400:]}")
    after = state_of("damaged")
    changed = {p for p in before if "/checkpoints/" in p and after.get(p) != before[p]}
    check(not changed, f"changed {changed}")


def main():
    tests = [("threads", test_threads), ("stop", test_stop), ("nobody reads", test_nobody_reads),
             ("finished", test_finished), ("kills", test_kills), ("flipped bits", test_flipped_bits),
             ("full disk", test_full_disk), ("nothing left", test_nothing_left)]
    if len(sys.argv) > 1:
        tests = [t for t in tests if t[0] in sys.argv[1:]]
    home, failed = os.getcwd(), False
    with tempfile.TemporaryDirectory(prefix="colossus-kill-") as folder:
        os.chdir(folder)
        try:
            write_input()
            began = time.monotonic()
            train("alone")
            state = {"alone_s": time.monotonic() - began}
            reference = contents(step_dir("alone", STEPS))
            check("weights.safetensors" in reference, "no weights in the last checkpoint")
        except (Failure, OSError, subprocess.TimeoutExpired) as e:
            print(f"not ok the run left alone: {e}")
            os.chdir(home)
            sys.exit(1)
        for name, test in tests:
            began = time.monotonic()
            try:
                said = test(reference, state)
                took = time.monotonic() - began
                print(f"ok kill and resume, {name}", flush=True)
                print(f"   ({took:.1f} s{'; ' + said if said else ''})", flush=True)
            except (Failure, OSError, subprocess.TimeoutExpired, KeyError, IndexError) as e:
                print(f"not ok kill and resume, {name}: {e}", flush=True)
                failed = True
        os.chdir(home)
    sys.exit(failed)


main()
