"""launch_faults.py: a run of four ranks that loses some ends as if it had not.

A tiny mixture-of-experts model trains on synthetic text under `colossus launch`. Each fault strikes a
run of its own; every run must end with the weights, moments and manifest of one that was left alone,
bit for bit, the lost rank must be named, and each step recorded once.

    launch_faults.py                     five faults and what else a launcher must do, in a minute or two
    launch_faults.py --flips 20          so many runs in which a rank's results are wrong
    launch_faults.py --random 50 [SEED]  so many random faults, several of them in one run, and more
                                         kinds: a torn checkpoint, a killed launcher

Only the standard library is used. Prints one "ok NAME" or "not ok NAME: WHY" a test; never asserts how
long something took.
"""
import glob
import json
import os
import random
import re
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

COLOSSUS = os.environ.get("COLOSSUS") or os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "..", "..", "colossus")
RANKS = 4
STEPS = 24
EVERY = 4  # steps between checkpoints
CHECK = 3  # steps between checks for silent corruption
LIMIT_S = 150  # of one process; a hang is a failure, not a wait
AGAIN, GIVEN_UP = 75, 93
FAST = ["--silence", "8", "--hang", "10"]  # below what a busy machine does to a process that is well

RUN_FILE = """\
name: run
dir: runs
data: {path: data}
model: {n_layers: 2, d_model: 32, n_heads: 2, n_kv_heads: 1, ffn_hidden: 64, n_experts: 4,
        n_experts_used: 2}
batch: {seq_len: 32, micro_batch: 1, global_batch: 8}
train: {tokens: %d, seed: 7, threads: 1, precision: fp32}
optimizer: {kind: muon}
schedule: {warmup_tokens: 2048}
cluster: {check_every: %d}
log: {every: 20, valid_every: 12, peak_seconds: 0}
checkpoint: {every: %d, keep_last: 2}
""" % (STEPS * 8 * 32, CHECK, EVERY)

ENVIRONMENT = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
                   HWLOC_HIDE_ERRORS="2")


# Over a network so slow that no run is over before a test on a busy machine gets to its next line.
SLOWLY = {"COLOSSUS_LINK": "1 GB/s, 20 ms"}


class Failure(Exception):
    pass


def check(condition, why):
    if not condition:
        raise Failure(why)


def write_input():
    rng = random.Random(11)
    with open("text", "w") as f:
        for i in range(400):
            words = " ".join(rng.choice(["grok", "the", "cat", "moves", "a", "large", "box"])
                             for _ in range(rng.randint(8, 30)))
            f.write(f"{words} {i} squared is {i * i}.\n%\n")
    with open("run.yaml", "w") as f:
        f.write(RUN_FILE)
    for c in (["data", "train-tokenizer", "text", "--format", "fortune", "--vocab-size", "300",
               "--out", "tok.json"],
              ["data", "tokenize", "text", "--format", "fortune", "--tokenizer", "tok.json",
               "--valid-fraction", "0.1", "--out", "data"]):
        p = subprocess.run([COLOSSUS, *c], capture_output=True, text=True, timeout=LIMIT_S)
        check(p.returncode == 0, " ".join(c[:2]) + ": " + p.stderr)


def command(run_dir, *more):
    return [COLOSSUS, "launch", "run.yaml", "--ranks", str(RANKS), "--run-dir", run_dir, *FAST,
            *more]


def status(run_dir):
    """What the program says of a run, whose times must add up."""
    p = subprocess.run([COLOSSUS, "status", run_dir, "--json"], capture_output=True, text=True,
                       timeout=LIMIT_S)
    check(p.returncode == 0, p.stderr)
    s = json.loads(p.stdout)
    whole = s["productive_s"] + sum(s["lost_s"].values())
    check(abs(whole - s["total_s"]) < 0.02 * s["total_s"] + 0.1, f"times do not add up: {p.stdout}")
    return s


def start(run_dir, *more, **environment):
    return subprocess.Popen(command(run_dir, *more), stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True,
                            env=dict(ENVIRONMENT, **environment))


def ended(p, code):
    """What it printed; the exit code is checked."""
    try:
        out, _ = p.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        p.send_signal(signal.SIGTERM)
        time.sleep(5)
        p.kill()
        raise
    check(p.returncode == code, f"exit {p.returncode} instead of {code}: {out[-1500:]}")
    return out


def launch(run_dir, *more, code=0):
    return ended(start(run_dir, *more), code)


def lines(path):
    with open(path) as f:
        return [json.loads(x) for x in f]


def events(run_dir, name):
    return [x for x in lines(run_dir + "/events.jsonl") if x["event"] == name]


def contents(run_dir):
    """Every file of the last checkpoint: {name: bytes}."""
    folder = f"{run_dir}/checkpoints/step-{STEPS:08d}"
    return {n: open(os.path.join(folder, n), "rb").read() for n in sorted(os.listdir(folder))}


def check_final(run_dir, reference):
    final = contents(run_dir)
    check(final.keys() == reference.keys(), f"{run_dir}: files {sorted(final)}")
    for name, data in reference.items():
        check(final[name] == data, f"{run_dir}: {name} differs from the run left alone"
              + (f": {final[name]} instead of {data}" if name.endswith(".json") else ""))
    steps = [x["step"] for x in lines(run_dir + "/metrics.jsonl")]
    check(steps == list(range(1, STEPS + 1)), f"{run_dir}: metrics.jsonl has steps {steps}")


def wait_for_step(p, run_dir, step):
    path, end = run_dir + "/metrics.jsonl", time.monotonic() + LIMIT_S
    while time.monotonic() < end and p.poll() is None:
        try:
            with open(path, "rb") as f:
                if f.read().count(b"\n") >= step:
                    return
        except FileNotFoundError:
            pass
        time.sleep(0.005)
    check(p.poll() is None, f"ended before step {step}: {p.stdout.read()[-1500:]}")
    raise Failure(f"no step {step} within {LIMIT_S} s")


def leftovers(run_dir):
    """Processes that still name the run folder."""
    out = subprocess.run(["pgrep", "-f", "--", f"--run-dir {run_dir}"], capture_output=True,
                         text=True)
    return out.stdout.split()


def check_gone(run_dir):
    end = time.monotonic() + 30
    while leftovers(run_dir) and time.monotonic() < end:
        time.sleep(0.1)
    check(not leftovers(run_dir), f"{run_dir}: processes are left")


# ---------------------------------------------------------------- tests

NAMED = {"kill": "death", "hang": "hang", "freeze": "frozen", "slow": "slow", "flip": "corrupt"}


def one_fault(kind, reference):
    rank = {"kill": 1, "hang": 2, "freeze": 0, "slow": 3, "flip": 1}[kind]
    step = 10
    run_dir = "fault-" + kind
    limits = ["--straggler", "3"] if kind == "slow" else []
    launch(run_dir, *limits, "--inject", f"{kind}:rank={rank}@step={step}")
    check_final(run_dir, reference)
    lost = events(run_dir, "rank_lost")
    check(len(lost) == 1, f"{kind}: lost {lost}")
    check(lost[0]["why"] == NAMED[kind] and lost[0].get("rank") == rank, f"{kind}: {lost[0]}")
    check(lost[0]["node"] and lost[0]["operation"], f"{kind}: {lost[0]}")
    check(len(events(run_dir, "recovered")) == 1, f"{kind}: did not say that it goes on")
    p = subprocess.run([COLOSSUS, "why", run_dir], capture_output=True, text=True, timeout=LIMIT_S)
    check(p.returncode == 0 and f"rank {rank} on " in p.stdout, f"why: {p.stdout}{p.stderr}")
    check_gone(run_dir)
    r = events(run_dir, "recovered")[0]
    return (f"found after {r['detect_s']:.1f} s, the next step {r['restart_s']:.1f} s later, from "
            f"step {r['from_step']}")


def ranks_of(run_dir):
    """{rank: process number} of the ranks that are there."""
    found = {}
    for pid in leftovers(run_dir):
        try:
            with open(f"/proc/{pid}/environ", "rb") as f:
                rank = re.search(rb"(?:^|\0)(?:OMPI_COMM_WORLD|PMI)_RANK=(\d+)\0", f.read())
            if rank:
                found[int(rank[1])] = int(pid)
        except OSError:
            pass
    return found


def end_process(pid):
    """Kills it, and waits until it has closed its files."""
    try:
        os.kill(pid, signal.SIGKILL)
        while True:
            with open(f"/proc/{pid}/stat") as f:
                if f.read().rsplit(")", 1)[1].split()[0] in "ZX":
                    return
            time.sleep(0.001)
    except (ProcessLookupError, FileNotFoundError):
        pass


def test_one_turn(reference):
    """A rank dies, and then all others, between two lines of theirs, while the launcher stands still:
    the first one is named, whichever the launcher asks first."""
    for first in (3, 0):
        run_dir = f"turn-{first}"
        p = start(run_dir, **SLOWLY)
        wait_for_step(p, run_dir, 5)
        ranks = ranks_of(run_dir)
        check(len(ranks) == RANKS, f"ranks {ranks}")
        p.send_signal(signal.SIGSTOP)
        for rank in (first, *(r for r in ranks if r != first)):
            end_process(ranks[rank])
            time.sleep(0.02)
        p.send_signal(signal.SIGCONT)
        ended(p, 0)
        check_final(run_dir, reference)
        lost = events(run_dir, "rank_lost")
        check([(x["why"], x.get("rank")) for x in lost] == [("death", first)], f"lost {lost}")


def test_busy_machine(reference):
    """A rank that gets little CPU beside other programs is no straggler."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"])
              for _ in range(os.cpu_count())]
    try:
        p = start("busy", "--straggler", "3", "--hang", "60", "--silence", "30")
        wait_for_step(p, "busy", 1)
        for rank, pid in ranks_of("busy").items():
            if rank == 2:
                for task in os.listdir(f"/proc/{pid}/task"):
                    os.setpriority(os.PRIO_PROCESS, int(task), 10)
        wait_for_step(p, "busy", 14)
    finally:
        for other in others:
            other.kill()
            other.wait()
    ended(p, 0)
    check_final("busy", reference)
    check(not events("busy", "rank_lost"), f"lost {events('busy', 'rank_lost')}")


def test_signal(reference):
    p = start("signal", **SLOWLY)
    wait_for_step(p, "signal", 5)
    p.send_signal(signal.SIGTERM)
    ended(p, AGAIN)
    done = lines("signal/metrics.jsonl")[-1]["step"]
    check(os.path.isdir(f"signal/checkpoints/step-{done:08d}"), f"step {done} is not saved")
    check_gone("signal")
    launch("signal")
    check_final("signal", reference)
    busy = lines("signal/metrics.jsonl")[0]["rank_busy_s"]
    check(min(busy) > 0, f"nobody did anything in step 1: {busy}")


def test_second_signal(reference):
    """Ranks that hang do not keep a launcher that is told twice."""
    for number in (signal.SIGTERM, signal.SIGINT):
        run_dir = f"twice-{number:d}"
        p = start(run_dir, "--hang", "600", "--inject", "hang:rank=2@step=6")
        wait_for_step(p, run_dir, 5)
        time.sleep(1)
        p.send_signal(number)
        time.sleep(2)
        check(p.poll() is None, "it did not wait for the ranks when it was told once")
        p.send_signal(number)
        out = ended(p, AGAIN)
        check("told twice" in out, out)
        check_gone(run_dir)
        check(events(run_dir, "launch_ended")[-1]["code"] == AGAIN, "launch_ended")
        launch(run_dir)
        check_final(run_dir, reference)


def test_signals_at_the_end(reference):
    """A signal that comes as the launcher ends, when nothing is left to stop, changes no exit code."""
    p = start("late", **SLOWLY)
    wait_for_step(p, "late", 5)
    while p.poll() is None:
        p.send_signal(signal.SIGTERM)
        time.sleep(0.001)
    ended(p, AGAIN)
    check_gone("late")


def test_killed_mpirun(reference):
    """The ranks' own launcher is killed: the run goes on, and nothing of theirs stays in memory."""
    run_dir = "mpirun"
    p = start(run_dir, **SLOWLY)
    wait_for_step(p, run_dir, 5)
    with open(f"/proc/{ranks_of(run_dir)[0]}/environ", "rb") as f:
        shared = re.search(rb"OMPI_MCA_btl_vader_backing_directory=([^\0]*)", f.read())[1]
    child = subprocess.run(["pgrep", "-P", str(p.pid)], capture_output=True, text=True)
    end_process(int(child.stdout.split()[0]))
    ended(p, 0)
    check_final(run_dir, reference)
    check(len(events(run_dir, "rank_lost")) == 1, f"lost {events(run_dir, 'rank_lost')}")
    check(not os.path.exists(shared), f"left in memory: {shared}")


def test_killed_launcher(reference):
    p = start("killed", **SLOWLY)
    wait_for_step(p, "killed", 5)
    p.kill()
    p.communicate(timeout=LIMIT_S)
    launch("killed")  # waits for the ranks, which save
    check_final("killed", reference)
    stopped = events("killed", "stopping")
    check(stopped and stopped[0]["why"] == "the launcher", f"the ranks: {stopped}")
    check(len(events("killed", "launch_started")) == 2, "launchers")
    s = status("killed")
    check(s["state"] == "finished" and s["step"] == STEPS and s["launches"] == 2, f"{s}")
    check(0 < s["goodput"] < 1 and s["lost_s"]["start"] > 0, f"{s}")


def test_times_add_up(reference):
    """Losses that go back to the same state: no second is lost twice."""
    launch("thrice", "--set", "checkpoint.every=0", "--inject",
           "kill:rank=1@step=10,kill:rank=2@step=14,kill:rank=0@step=18")
    check_final("thrice", reference)
    check([x["from_step"] for x in events("thrice", "recovered")] == [0] * 3, "went on from")
    s = status("thrice")
    check(s["lost_s"]["death"] > 0, f"{s}")


def test_full_disk(reference):
    """No restart makes room for the last checkpoint: the run ends at once, and says why."""
    for rank in (0, 2):  # the one that leads, and one that does not
        run_dir = f"full-{rank}"
        p = start(run_dir, "--set", "checkpoint.every=0", **SLOWLY)
        wait_for_step(p, run_dir, 5)
        resource.prlimit(ranks_of(run_dir)[rank], resource.RLIMIT_FSIZE, (20000, 20000))
        out = ended(p, GIVEN_UP)
        check("file too large" in out and "hint: raise the limit" in out, out[-1500:])
        check(not events(run_dir, "rank_lost"), "it was tried again")
        check(events(run_dir, "launch_ended")[-1]["code"] == GIVEN_UP, "launch_ended")
        check("file too large" in events(run_dir, "run_failed")[-1]["why"], "run_failed")


def test_memory(reference):
    # Of this node: runs on Slurm's nodes, which another test has named, may go on beside this one.
    ours = f"/dev/shm/colossus-{os.geteuid()}/*/{os.uname().nodename.split('.')[0]}*/*"
    before = set(glob.glob(ours))
    out = launch("memory", "--set", "checkpoint.every=0", "--set", "checkpoint.copy_every=1", "--inject",
           "kill:rank=1@step=10,flip:rank=2@step=16")
    check_final("memory", reference)
    check("begins again" not in out, out)
    lost = events("memory", "recovered")
    # Rank 1 may die in step 10 while another still writes its copy of step 9.
    back = [x["from_step"] for x in lost]
    check(len(back) == 2 and back[0] in (8, 9) and back[1] == 15, f"went on from {lost}")
    check([x.get("from") for x in events("memory", "resumed")] == ["memory", "memory"], "resumed")
    left = set(glob.glob(ours)) - before
    check(not left, f"left in memory: {sorted(left)}")


def test_memory_of_another_run(reference):
    """What a run has left in memory is nothing to one that begins in a folder of its name."""
    settings = ["--set", "checkpoint.every=0", "--set", "checkpoint.copy_every=2"]
    p = start("other", *settings, **SLOWLY)
    wait_for_step(p, "other", 7)
    for pid in [p.pid, *map(int, leftovers("other"))]:
        end_process(pid)
    p.communicate(timeout=LIMIT_S)
    check_gone("other")
    shutil.rmtree("other")
    launch("other", *settings)
    check(not events("other", "resumed"), f"it went on from {events('other', 'resumed')}")
    check_final("other", reference)


def nodes(run_dir, first, second, *settings):
    """Four ranks of two nodes that are this machine by two names."""
    train = ["train", "run.yaml", "--run-dir", run_dir, "--set", "checkpoint.every=0", "--set",
             "checkpoint.copy_every=2", *settings]
    line = ["mpirun", "--oversubscribe"] if shutil.which("mpirun.openmpi") else ["mpirun"]
    for i, node in enumerate((first, second)):
        line += [":"] * (i > 0)
        line += ["-n", "2", "env", f"SLURMD_NODENAME={node}", COLOSSUS, *train]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            env=ENVIRONMENT, stdin=subprocess.DEVNULL)


def test_memory_of_a_peer(reference):
    folders = f"/dev/shm/colossus-{os.geteuid()}/*/a"
    before = set(glob.glob(folders))
    p = nodes("peer", "a", "b", "--set", "log.valid_every=1")
    wait_for_step(p, "peer", 7)
    for pid in leftovers("peer"):
        try:
            os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:
            pass
    p.communicate(timeout=LIMIT_S)
    check_gone("peer")
    done = lines("peer/metrics.jsonl")[-1]["step"]
    check(done < STEPS, "the run ended before it was killed")
    ours = set(glob.glob(folders)) - before
    check(len(ours) == 1, f"folders {ours}")
    shutil.rmtree(ours.pop())  # node a is gone, and what was in its memory
    ended(nodes("peer", "c", "b"), 0)
    resumed = events("peer", "resumed")
    check(len(resumed) == 1 and resumed[0].get("from") == "memory", f"resumed: {resumed}")
    check(done - 3 <= resumed[0]["step"] <= done + 1, f"step {done}, resumed {resumed}")
    check_final("peer", reference)


def test_no_progress(reference):
    faults = ",".join("kill:rank=1@step=5" for _ in range(4))
    out = launch("fruitless", "--set", "checkpoint.every=0", "--inject", faults, code=GIVEN_UP)
    check("3 restarts without progress" in out, out[-800:])
    check(len(events("fruitless", "rank_lost")) == 4, "losses")
    check_gone("fruitless")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_metrics(reference):
    """Figures while ranks start, train and end; promtool agrees with the text, where it is here."""
    port, seen, text = free_port(), set(), ""
    p = start("metrics", "--metrics", str(port), "--inject", "kill:rank=1@step=10")
    end = time.monotonic() + LIMIT_S
    while p.poll() is None and time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as f:
                text = f.read().decode()
            found = re.search(r"^colossus_step (\d+)$", text, re.M)
            if found:
                seen.add(int(found[1]))
        except OSError:
            pass
        time.sleep(0.05)
    ended(p, 0)
    check(len(seen) > 1, f"steps seen: {seen}; {text}")
    for name in ("colossus_goodput_ratio", 'colossus_lost_seconds_total{cause="death"}',
                 'colossus_ranks_lost_total{cause="death"} 1',
                 'colossus_ranks_lost_total{cause="straggler"} 0', 'colossus_loss_nats{split="train"}',
                 'colossus_ckpt_step{tier="disk"}', "colossus_restarts_total 1"):
        check(name in text, f"no {name}: {text}")
    if not shutil.which("promtool"):
        return "promtool is not here (Debian: prometheus), the text was not checked by it"
    c = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    check(c.returncode == 0, f"promtool: {c.stdout}{c.stderr}")
    return "promtool has nothing to say"


def test_refused(reference):
    out = launch("refused", "--set", "cluster.tp=3", code=3)
    check("tp 3" in out, out)


def test_over(reference):
    """A run that is over is told of and left as it is, also where it cannot be continued so."""
    run_dir = "over"
    launch(run_dir)

    def known():
        said = [subprocess.run([COLOSSUS, *c, run_dir], capture_output=True, text=True).stdout
                for c in (["status"], ["why"], ["top", "--once"])]
        with open(run_dir + "/events.jsonl") as e, open(run_dir + "/metrics.jsonl") as m:
            return [*said, e.read(), m.read()]

    before = known()
    check("finished" in before[0] and "finished" in before[1], f"{before[:2]}")
    for _ in range(2):
        out = launch(run_dir)
        check("nothing left to do" in out, out)
        check(known() == before, f"another account than {before[:3]}: {known()[:3]}")
    out = launch(run_dir, "--set", "model.n_heads=4", code=3)
    check("another configuration" in out, out)
    check(known() == before, f"another account after an error: {known()[:3]}")
    launch(run_dir, "--set", f"train.tokens={(STEPS + 2) * 8 * 32}", "--allow-changes")
    check(status(run_dir)["step"] == STEPS + 2, "it did not go on")
    check(len(events(run_dir, "launch_started")) == 2, "launchers")


def test_not_mended(reference):
    """An error that every start would bring again ends the run at once, and says with what it is mended."""
    run_dir = "bare"
    launch(run_dir, "--set", "train.max_steps=8")
    for folder in glob.glob(run_dir + "/checkpoints/step-*"):
        shutil.rmtree(folder)
    out = launch(run_dir, code=1)
    check(out.count("has metrics but no checkpoint") == 1, out)
    mend = re.search(r"^hint: .* once, and then launch again: (.*)$", out, re.M)
    check(mend, f"no hint: {out}")
    check(not events(run_dir, "rank_lost"), "it was tried again")
    check(events(run_dir, "launch_ended")[-1]["code"] == 1, "launch_ended")
    p = subprocess.run(["sh", "-c", mend[1] + " --restart"], capture_output=True, text=True,
                       timeout=LIMIT_S, env=ENVIRONMENT)
    check(p.returncode == 0, f"the hint does not mend it: {p.stdout}{p.stderr}")
    check_final(run_dir, reference)


def run_test(name, test):
    began = time.monotonic()
    try:
        said = test()
        took = time.monotonic() - began
        print(f"ok launch, {name}", flush=True)
        print(f"   ({took:.1f} s{'; ' + said if said else ''})", flush=True)
        return True
    except (Failure, OSError, subprocess.TimeoutExpired, KeyError, IndexError, ValueError) as e:
        print(f"not ok launch, {name}: {e}", flush=True)
        return False


def few(reference):
    good = True
    for kind in NAMED:
        good &= run_test(f"fault: {kind}", lambda kind=kind: one_fault(kind, reference))
    good &= run_test("ends in one turn", lambda: test_one_turn(reference))
    good &= run_test("a busy machine", lambda: test_busy_machine(reference))
    good &= run_test("SIGTERM", lambda: test_signal(reference))
    good &= run_test("a second signal", lambda: test_second_signal(reference))
    good &= run_test("signals at the end", lambda: test_signals_at_the_end(reference))
    good &= run_test("a killed mpirun", lambda: test_killed_mpirun(reference))
    good &= run_test("a killed launcher", lambda: test_killed_launcher(reference))
    good &= run_test("times add up", lambda: test_times_add_up(reference))
    good &= run_test("a full disk", lambda: test_full_disk(reference))
    good &= run_test("copies in memory", lambda: test_memory(reference))
    good &= run_test("copies in a peer's memory", lambda: test_memory_of_a_peer(reference))
    good &= run_test("copies of another run in memory", lambda: test_memory_of_another_run(reference))
    good &= run_test("no progress", lambda: test_no_progress(reference))
    good &= run_test("metrics", lambda: test_metrics(reference))
    good &= run_test("a run that is over", lambda: test_over(reference))
    good &= run_test("what no restart mends", lambda: test_not_mended(reference))
    good &= run_test("a layout that cannot be", lambda: test_refused(reference))
    return good


# ---------------------------------------------------------------- random faults

def tear_checkpoint(run_dir, rng):
    """A file of the newest checkpoint loses its end, as after a power cut that a disk lied about."""
    folders = sorted(x for x in glob.glob(run_dir + "/checkpoints/step-*") if not x.endswith(".tmp"))
    if not folders:
        return False
    path = os.path.join(folders[-1], rng.choice(sorted(os.listdir(folders[-1]))))
    size = os.path.getsize(path)
    with open(path, "r+b") as f:
        f.truncate(rng.randrange(size))
    return True


def random_run(number, rng, left, reference):
    """One run with up to three faults; returns {kind: how many}."""
    run_dir = f"random-{number}"
    done, faults = {}, []
    for step in sorted(rng.sample(range(2, STEPS), min(left, rng.randint(1, 3)))):
        kind = rng.choice([*NAMED, "tear", "launcher"])
        done[kind] = done.get(kind, 0) + 1
        faults.append((kind, rng.randrange(RANKS), step))
    text = ",".join(f"{k}:rank={r}@step={s}" for k, r, s in faults if k in NAMED)
    outside = [f for f in faults if f[0] not in NAMED]
    while True:
        p = start(run_dir, *(["--inject", text] if text else []))
        if outside:
            kind, _, step = outside.pop(0)
            wait_for_step(p, run_dir, step)
            p.kill()
            p.communicate(timeout=LIMIT_S)
            check_gone(run_dir)
            if kind == "tear":
                tear_checkpoint(run_dir, rng)
            struck = {(e["what"], e["rank"], e["at_step"])
                      for e in events(run_dir, "fault_injected")}
            text = ",".join(f"{k}:rank={r}@step={s}" for k, r, s in faults
                            if k in NAMED and (k, r, s) not in struck)
            continue
        ended(p, 0)
        break
    check_final(run_dir, reference)
    check_gone(run_dir)
    times = [e["restart_s"] for e in events(run_dir, "recovered")]
    shutil.rmtree(run_dir)
    return done, times


def many(count, seed, reference):
    rng = random.Random(seed)
    total, times, number, good = {}, [], 0, True
    while sum(total.values()) < count and good:
        number += 1
        state = rng.getstate()

        def test():
            done, took = random_run(number, rng, count - sum(total.values()), reference)
            for kind, n in done.items():
                total[kind] = total.get(kind, 0) + n
            times.extend(took)
            return ", ".join(f"{n} {k}" for k, n in sorted(done.items()))
        good = run_test(f"random faults, run {number}", test)
        if not good:
            print(f"   (seed {seed}, run {number}, state {hash(state)})")
    print(f"   ({sum(total.values())} faults in {number} runs: "
          + ", ".join(f"{n} {k}" for k, n in sorted(total.items()))
          + (f"; from a loss to the next step {statistics.median(times):.1f} s in the median, "
             f"{max(times):.1f} s at most)" if times else ")"))
    return good


def flips(count, seed, reference):
    """So many runs in which a rank computes wrongly from some step on."""
    rng = random.Random(seed)
    good = True
    for i in range(count):
        rank, step, run_dir = rng.randrange(RANKS), rng.randint(1, STEPS - CHECK), f"flip-{i}"

        def test():
            launch(run_dir, "--inject", f"flip:rank={rank}@step={step}")
            check_final(run_dir, reference)
            lost = events(run_dir, "rank_lost")
            check([(x["why"], x["rank"]) for x in lost] == [("corrupt", rank)], f"lost {lost}")
            return f"rank {rank} from step {step} on"
        good &= run_test(f"a wrong bit, run {i + 1}", test)
    return good


def main():
    home = os.getcwd()
    with tempfile.TemporaryDirectory(prefix="launch-") as folder:
        os.chdir(folder)
        try:
            write_input()
            launch("alone")
            reference = contents("alone")
            check("manifest.json" in reference, "no manifest in the last checkpoint")
            check(not events("alone", "rank_lost"), "a rank was lost in the run left alone")
        except (Failure, OSError, subprocess.TimeoutExpired) as e:
            print(f"not ok launch, the run left alone: {e}")
            os.chdir(home)
            sys.exit(1)
        if "--random" in sys.argv:
            at = sys.argv.index("--random")
            seed = int(sys.argv[at + 2]) if len(sys.argv) > at + 2 else 1
            good = many(int(sys.argv[at + 1]), seed, reference)
        elif "--flips" in sys.argv:
            good = flips(int(sys.argv[sys.argv.index("--flips") + 1]), 1, reference)
        else:
            good = few(reference)
        os.chdir(home)
    sys.exit(not good)


if __name__ == "__main__":
    main()
