"""slurm_faults.py: a job of Slurm that loses nodes goes on, and ends with the bits of a run left alone.

A Slurm of three nodes on this machine (slurm_local.sh), with its default timeouts: what is lost is
noticed and mended by `colossus launch` alone, within the allocation.

    a node killed       its daemon and all its processes are gone: a spare node takes its place
    a node frozen       they all stand still: the same, and nobody waits for them
    no node to spare    the run goes on with fewer ranks, as one that was told to does
    a time limit        the signal before it: saved, queued again, resumed

    slurm_faults.py             all of them
    slurm_faults.py killed      those with that word in their name

Prints one "ok NAME" or "not ok NAME: WHY" a test.
"""
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "system"))
import launch_faults as lf  # noqa: E402
from launch_faults import COLOSSUS, Failure, check, events, lines  # noqa: E402

LOCAL = os.path.join(HERE, "slurm_local.sh")
STEPS = 150
KILL_AT = 60
lf.STEPS = STEPS
lf.RUN_FILE = re.sub(r"tokens: \d+", f"tokens: {STEPS * 8 * 32}", lf.RUN_FILE)
lf.RUN_FILE = lf.RUN_FILE.replace("check_every: 3", "check_every: 0").replace("every: 4, ", "every: 50, ")
lf.RUN_FILE = lf.RUN_FILE.replace("log: {every: 20, valid_every: 12", "log: {every: 100, valid_every: 30")
lf.RUN_FILE += "  copy_every: 5\n" if lf.RUN_FILE.rstrip().endswith(":") else ""


def slurm_environment(folder):
    out = subprocess.run(["bash", "-c", f". {folder}/env && env -0"], capture_output=True, check=True)
    return dict(x.split("=", 1) for x in out.stdout.decode().split("\0") if "=" in x)


def run(*command, code=0):
    p = subprocess.run(command, capture_output=True, text=True, timeout=lf.LIMIT_S, env=lf.ENVIRONMENT)
    check(p.returncode == code, f"{' '.join(command[:3])}: {p.stdout}{p.stderr}")
    return p.stdout


def submit(run_dir, nodes, spares, *more):
    out = run(COLOSSUS, "submit", "run.yaml", "--run-dir", run_dir, "--nodes", str(nodes),
              "--spares", str(spares), "--ranks-per-node", "2", "--mpi", "pmi2", "--address",
              "127.0.0.1", "--set", "checkpoint.copy_every=5", *more)
    return re.search(r"job (\d+)", out)[1]


def processes_of(node):
    """Tasks of a node, with their parents up to Slurm's own, and the node's daemon."""
    found = set()
    for path in glob.glob("/proc/[0-9]*/environ"):
        try:
            with open(path, "rb") as f:
                if f"SLURMD_NODENAME={node}\0".encode() not in f.read() + b"\0":
                    continue
            pid = int(path.split("/")[2])
            found.add(pid)
            with open(f"/proc/{pid}/stat") as f:
                parent = int(f.read().rsplit(")", 1)[1].split()[1])
            with open(f"/proc/{parent}/cmdline") as f:
                if "slurmstepd" in f.read():
                    found.add(parent)
        except (OSError, IndexError):
            pass
    with open(os.path.join(CLUSTER, "pids")) as f:
        daemons = dict(x.split() for x in f)
    found.add(int(daemons[node]))
    return found


def strike(node, number):
    for pid in processes_of(node):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def job_state(job):
    p = subprocess.run(["scontrol", "show", "job", job], capture_output=True, text=True,
                       env=lf.ENVIRONMENT)
    found = re.search(r"JobState=(\w+)", p.stdout)
    return found[1] if found else "GONE"


def wait_for(run_dir, what, limit_s=120):
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        try:
            found = what()
        except (OSError, ValueError, IndexError, KeyError):
            found = None
        if found:
            return found
        time.sleep(0.05)
    said = "".join(open(x).read()[-1500:] for x in glob.glob(run_dir + "/slurm-*.out"))
    raise Failure(f"{run_dir}: nothing came of it within {limit_s} s: {said}")


def wait_for_step(run_dir, step):
    wait_for(run_dir, lambda: lines(run_dir + "/metrics.jsonl")[-1]["step"] >= step)


def wait_for_end(run_dir):
    wait_for(run_dir, lambda: events(run_dir, "run_finished") and
             [x for x in events(run_dir, "launch_ended") if x["code"] == 0])


def lose_a_node(number, run_dir, reference):
    submit(run_dir, 3, 1)
    wait_for_step(run_dir, KILL_AT)
    strike("n2", number)
    wait_for_end(run_dir)
    lf.check_final(run_dir, reference)
    lost = events(run_dir, "rank_lost")
    check(lost and lost[0]["node"] == "n2", f"lost: {lost}")
    starts = [x["nodes"] for x in events(run_dir, "attempt_started")]
    check(starts == [["n1", "n2"], ["n1", "n3"]], f"attempts on {starts}")
    resumed = events(run_dir, "resumed")
    check(resumed and resumed[0].get("from") == "memory", f"resumed {resumed}")
    r = events(run_dir, "recovered")[0]
    return (f"found after {r['detect_s']:.1f} s, the next step on the spare {r['restart_s']:.1f} s "
            f"later")


def restore_cluster():
    """A node that was struck is started anew."""
    subprocess.run([LOCAL, "down", CLUSTER], check=True)
    for pid in processes_left():
        os.kill(pid, signal.SIGKILL)
    subprocess.run(["rm", "-rf", f"{CLUSTER}/state", f"{CLUSTER}/spool"], check=True)
    subprocess.run([LOCAL, "up", CLUSTER, "3"], check=True)
    lf.ENVIRONMENT.update(slurm_environment(CLUSTER))


def processes_left():
    """Of this Slurm: its configuration is in their environment or their line, and they are its own
    processes or tasks of its nodes."""
    found = []
    conf = CLUSTER.encode() + b"/etc/slurm.conf"
    for path in glob.glob("/proc/[0-9]*/environ"):
        pid = int(path.split("/")[2])
        try:
            with open(path, "rb") as f:
                environment = f.read()
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                line = f.read()
            with open(f"/proc/{pid}/comm", "rb") as f:
                name = f.read()
        except OSError:
            continue
        daemon = name.startswith((b"slurmctld", b"slurmd", b"slurmstepd"))
        task = b"SLURMD_NODENAME=" in environment
        if pid != os.getpid() and (daemon and conf in line + environment or
                                   task and b"SLURM_CONF=" + conf in environment):
            found.append(pid)
    return found


def test_killed(reference):
    return lose_a_node(signal.SIGKILL, "killed", reference)


def test_frozen(reference):
    return lose_a_node(signal.SIGSTOP, "frozen", reference)


def test_shrinks(reference):
    submit("shrinks", 2, 0)
    wait_for_step("shrinks", KILL_AT)
    strike("n2", signal.SIGKILL)
    wait_for_end("shrinks")
    starts = [(x["ranks"], x["nodes"]) for x in events("shrinks", "attempt_started")]
    check(starts == [(4, ["n1", "n2"]), (2, ["n1"])], f"attempts {starts}")
    at = events("shrinks", "resumed")[0]["step"]
    lf.launch("told", "--set", f"train.max_steps={at}")
    told = subprocess.run([COLOSSUS, "launch", "run.yaml", "--ranks", "2", "--run-dir", "told"],
                          capture_output=True, text=True, env=lf.ENVIRONMENT, timeout=lf.LIMIT_S)
    check(told.returncode == 0, told.stdout + told.stderr)
    check(lf.contents("told") == lf.contents("shrinks"), "other bits than a run that was told to")
    return f"from step {at} with two ranks"


def test_time_limit(reference):
    job = submit("limit", 2, 0)
    wait_for_step("limit", KILL_AT)
    run("scancel", "--signal=USR1", "--batch", job)
    wait_for("limit", lambda: events("limit", "stopping"))
    wait_for_end("limit")
    lost = events("limit", "rank_lost")
    check(not lost, f"nothing was struck, and lost is {lost}")
    lf.check_final("limit", reference)
    check(len(events("limit", "launch_started")) == 2, "it was not queued again")
    return None


def test_doctor(reference):
    out = run(COLOSSUS, "doctor", "slurm")
    check("all is well" in out and "SlurmdTimeout      300" in out, out)


def main():
    global CLUSTER
    good, words, begun = True, sys.argv[1:], time.time()
    tests = [("doctor", test_doctor), ("a node killed", test_killed), ("a node frozen", test_frozen),
             ("no node to spare", test_shrinks), ("a time limit", test_time_limit)]
    with tempfile.TemporaryDirectory(prefix="launch-slurm-") as folder:
        os.chdir(folder)
        CLUSTER = folder + "/slurm"
        up = subprocess.run([LOCAL, "up", CLUSTER, "3"], capture_output=True, text=True)
        if up.returncode != 0:
            print(up.stdout + up.stderr)
            if any(shutil.which(x, path=os.environ["PATH"] + ":/usr/sbin")
                   for x in ("slurmctld", "slurmctld-wlm")):
                print("not ok slurm: the Slurm that is installed does not come up")
                sys.exit(1)
            print("skip slurm: no Slurm could be started here: apt-get must be able to fetch "
                  "slurmctld, slurmd and slurm-client")
            sys.exit(77)
        try:
            lf.write_input()
            lf.launch("alone")
            reference = lf.contents("alone")
            lf.ENVIRONMENT.update(slurm_environment(CLUSTER))
            fresh = True
            for name, test in tests:
                if words and not any(w in name for w in words):
                    continue
                if not fresh:
                    restore_cluster()
                good &= lf.run_test("slurm, " + name, lambda test=test: test(reference))
                fresh = name == "doctor"
        except (Failure, OSError, subprocess.SubprocessError) as e:
            print(f"not ok slurm: {e}")
            good = False
        finally:
            subprocess.run([LOCAL, "down", CLUSTER])
            for pid in processes_left():
                os.kill(pid, signal.SIGKILL)
            os.chdir("/")
            # what nodes keep in memory that were dead, and are this machine, when their runs ended
            for kept in glob.glob(f"/dev/shm/colossus-{os.geteuid()}/*/n[123]"):
                if os.stat(kept).st_mtime >= begun:
                    shutil.rmtree(kept, ignore_errors=True)
                    try:
                        os.rmdir(os.path.dirname(kept))
                    except OSError:
                        pass  # other nodes keep something of it
    sys.exit(not good)


if __name__ == "__main__":
    main()
