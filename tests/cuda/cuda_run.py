#!/usr/bin/env python3
"""cuda_run.py: the kernels for GPUs, proved where there is none.

    tests/cuda/cuda_run.py --build build/gcc [--short | --schedules N] [PART...]

The PTX that ships is made C, compiled, and run in the emulator (tests/cuda/emu). Parts, all of them
where none is named:

  kernels    every kernel beside the reference kernels, under N schedules (3; --short: 2)
  bugs       mistakes planted in the PTX (cuda_bugs.py), each of which must be found
  models     training steps and decoding of whole models by the program's own driver code, which
             opens a libcuda.so.1 whose GPU is the emulator, beside the same on the CPU; and what is
             said when something fails
  mutations  PTX, and single instructions, changed at random: the translator gives C that compiles,
             or an error with its line
  source     that the PTX is of the kernels' source, where nvcc is (tools/cuda-ptx)

Prints "ok NAME", "not ok NAME: WHY" and "skip NAME: WHAT IS MISSING". What was compiled is kept in
the build's folder, by its hash."""
import argparse
import concurrent.futures
import ctypes
import glob
import gzip
import hashlib
import os
import random
import re
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(HERE, "ptx")]
from cuda_bugs import BUGS  # noqa: E402
from ptx_error import PtxError  # noqa: E402
import ptx_reader  # noqa: E402
from ptx_emit import Emitter  # noqa: E402
from ptx_reader import Instruction  # noqa: E402
from ptx_to_c import SHARED_BASE, translate  # noqa: E402

FLAGS = ["-std=gnu11", "-O1", "-w", "-fno-strict-aliasing", "-ffp-contract=off", "-fPIC", "-shared",
         "-I" + os.path.join(HERE, "emu")]
failed = False


def tell(name, why=None, skip=False):
    global failed
    failed = failed or (why is not None and not skip)
    print(f"skip {name}: {why}" if skip else f"not ok {name}: {why}" if why else f"ok {name}",
          flush=True)


class Builder:
    def __init__(self, build):
        self.folder = os.path.join(build, "cuda")
        self.check = os.path.join(self.folder, "cuda_check")
        self.compiler = os.environ.get("CC_CUDA", "gcc")
        os.makedirs(self.folder, exist_ok=True)
        device = open(os.path.join(HERE, "emu/emu_device.h"), "rb").read()
        self.salt = device + open(os.path.join(HERE, "emu/emu.h"), "rb").read()

    def module(self, raw, name, only=None):
        """The shared object of a PTX file's bytes, or of one kernel of it."""
        code = translate(raw, name, only)
        key = hashlib.sha256(self.salt + " ".join(FLAGS[:-1]).encode() + code.encode()).hexdigest()
        path = os.path.join(self.folder, f"{name.split('.')[0]}-{key[:16]}")
        if not os.path.exists(path + ".so"):
            with open(path + ".c", "w") as f:
                f.write(code)
            done = subprocess.run([self.compiler, *FLAGS, path + ".c", "-o", path + ".new"],
                                  capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f"{path}.c: {done.stderr[:400]}")
            os.rename(path + ".new", path + ".so")
            os.remove(path + ".c")
        return path + ".so"

    def run(self, *arguments, timeout=900):
        done = subprocess.run([self.check, *arguments], capture_output=True, text=True,
                              timeout=timeout)
        return done.returncode, done.stdout + done.stderr


def read_ptx():
    """{file name without .gz: bytes} of all PTX that ships."""
    out = {}
    for path in sorted(glob.glob(os.path.join(ROOT, "src/compute/cuda/ptx/*.ptx.gz"))):
        with gzip.open(path) as f:
            out[os.path.basename(path)[:-3]] = f.read()
    return out


# ---------------------------------------------------------------- parts

def check_kernels(builder, files, schedules):
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        modules = list(pool.map(lambda item: builder.module(item[1], item[0]), files.items()))
    code, said = builder.run("--schedules", str(schedules), *modules)
    for line in said.splitlines():
        if line.startswith(("ok ", "not ok ")):
            name, _, rest = line.removeprefix("not ").removeprefix("ok ").partition(": ")
            tell(f"kernels {name}" + ("" if line.startswith("not") else f" ({rest})"),
                 rest if line.startswith("not") else None)
        else:
            print(line)
    if code != 0 and not failed:
        tell("kernels", f"exit code {code}")
    return modules


def run_models(builder, modules, *arguments, **environment):
    around = dict(os.environ, CUDA_FAKE_MODULES=":".join(modules), **environment)
    around.setdefault("LD_LIBRARY_PATH", os.path.join(builder.folder, "fake"))
    done = subprocess.run([os.path.join(builder.folder, "cuda_model"), *arguments], env=around,
                          cwd=ROOT, capture_output=True, text=True, timeout=600)
    return done.returncode, done.stdout + done.stderr


def has_driver():
    try:
        return bool(ctypes.CDLL("libcuda.so.1"))
    except OSError:
        return False


def check_models(builder, modules, short):
    os.environ.pop("LD_LIBRARY_PATH", None)
    for schedule in range(1 if short else 3):
        for form in ("90",) if short else ("80", "90"):
            code, said = run_models(builder, modules, *(["--quick"] if short else []),
                                    CUDA_FAKE_SCHEDULE=str(schedule), CUDA_FAKE_FORM=form)
            for line in said.splitlines():
                name, _, why = line.removeprefix("not ").removeprefix("ok ").partition(": ")
                if line.startswith(("ok ", "not ok ")):
                    tell(f"{name}, sm_{form}, schedule {schedule}",
                         why if line.startswith("not") else None)
                else:
                    print(line)
            if code not in (0, 1):
                tell("models", f"exit code {code}")
    # What fails, from which call on, with which exit code, and what must be said.
    for call, at, code, words, more in (
            ("cuInit", 1, 2, "the driver does not start: CUDA_ERROR_NO_DEVICE", {}),
            ("cuMemAlloc_v2", 3, 2, "no memory for", {}),
            ("cuModuleLoadData", 1, 75, "compiling the kernels of compute_cuda_", {}),
            ("cuLaunchKernel", 9, 75, "GPU 0 \\(emulated GPU 0\\): the launch of cuda_", {}),
            ("cuMemcpyDtoH_v2", 1, 75, "cuMemcpyDtoH failed: CUDA_ERROR_INVALID_VALUE", {}),
            ("nothing", 1, 2, "compute capability 7.5.*8.0 or later", {"CUDA_FAKE_FORM": "75"}),
            ("nothing", 1, 2, "no driver of NVIDIA's here", {"LD_LIBRARY_PATH": "/nowhere"})):
        if "LD_LIBRARY_PATH" in more and has_driver():
            continue  # NVIDIA's is found
        got, said = run_models(builder, modules, "--quick", CUDA_FAKE_FAIL=call,
                               CUDA_FAKE_FAIL_AT=str(at), **more)
        tell(f"a driver that fails: {words}",
             None if got == code and re.search(words, said) else f"exit code {got}: {said[-300:]}")


def plant(raw, bug):
    """The file with the mistake in its kernel; ValueError where there is no such place any more."""
    text = raw.decode()
    start = text.index(f".entry {bug.kernel}(")
    end = text.find(".visible .entry", start)
    end = len(text) if end < 0 else end
    places = list(re.finditer(bug.pattern, text[start:end]))
    place = places[bug.which]
    body = text[start:end]
    body = body[:place.start()] + place.expand(bug.replacement) + body[place.end():]
    if body == text[start:end]:
        raise ValueError("nothing changes")
    return (text[:start] + body + text[end:]).encode()


def try_bug(builder, files, modules, bug):
    name = next(f for f in files if f.startswith(bug.file + "."))
    try:
        planted = builder.module(plant(files[name], bug), name, bug.kernel)
    except (ValueError, IndexError) as problem:
        return f"has no place any more: {problem}"
    try:
        code, said = builder.run("--quiet", "--schedules", str(bug.schedules), planted, *modules,
                                 "--", bug.check)
    finally:
        os.remove(planted)
    if code == 1 and re.search(bug.found, said):
        return None
    return f"exit code {code}, no '{bug.found}' in: {said.strip()[:300]}"


def check_bugs(builder, files, modules, bugs):
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for bug, why in zip(bugs, pool.map(lambda b: try_bug(builder, files, modules, b), bugs)):
            tell(f"bug: {bug.name} ({bug.kernel})", why)


def mutate(text, r):
    """A small change somewhere, as a slip of the pen or of a disk."""
    at = r.randrange(len(text))
    how = r.randrange(5)
    if how == 0:
        return text[:at] + chr(r.randrange(32, 127)) + text[at + 1:]
    if how == 1:
        return text[:at] + text[at + r.randrange(1, 20):]
    lines = text.split("\n")
    i, j = r.randrange(len(lines)), r.randrange(len(lines))
    if how == 2:
        lines[i], lines[j] = lines[j], lines[i]
    elif how == 3:
        lines[i] = lines[j]
    else:
        words = re.split(r"(\W+)", lines[i])
        words[r.randrange(len(words))] = r.choice(re.split(r"(\W+)", lines[j]))
        lines[i] = "".join(words)
    return "\n".join(lines)


def one_kernel(text, r):
    """A file's head and one of its kernels: small, so that many can be tried."""
    parts = re.split(r"(?=\.visible \.entry)", text)
    return parts[0] + min((r.choice(parts[1:]) for _ in range(3)), key=len)


def check_mutations(builder, files, count):
    """The translator may end in a PtxError and in nothing else; what it lets pass must compile."""
    r = random.Random(1)
    texts = [t.decode() for t in files.values()]
    refused = passed = 0
    kept = os.path.join(builder.folder, f"mutation-{os.getpid()}.c")
    for i in range(count):
        text = mutate(one_kernel(r.choice(texts), r), r)
        try:
            code = translate(text.encode(), "mutation.ptx")
        except PtxError as problem:
            refused += 1
            if not 1 <= problem.line <= text.count("\n") + 2 or not problem.text:
                return tell("mutations", f"number {i}: an error at line {problem.line}")
            continue
        except Exception as problem:  # a crash is what is looked for
            return tell("mutations", f"number {i}: {type(problem).__name__}: {problem}")
        passed += 1
        if passed % 50 != 1:
            continue
        with open(kept, "w") as f:
            f.write(code)
        done = subprocess.run([builder.compiler, *FLAGS[:1], "-fsyntax-only", FLAGS[-1], kept],
                              capture_output=True, text=True)
        if done.returncode:
            return tell("mutations", f"number {i}: C that does not compile: {done.stderr[:300]}")
    if os.path.exists(kept):
        os.remove(kept)
    return tell(f"mutations ({count}: {refused} refused, {passed} read)",
                None if refused and passed else "all of one kind")


def change_instruction(r, i, parts, operands):
    """A copy of an instruction with one thing changed."""
    opcode, chosen = i.opcode.split("."), list(i.operands)
    how, at = r.randrange(6), r.randrange(len(opcode))
    if how == 0:
        opcode[at] = r.choice(parts)
    elif how == 1:
        opcode.insert(at, r.choice(parts))
    elif how == 2:
        del opcode[at]
    elif how == 3 and chosen:
        chosen[r.randrange(len(chosen))] = r.choice(operands)
    elif how == 4 and chosen:
        del chosen[r.randrange(len(chosen))]
    elif chosen:
        word, n = chosen[r.randrange(len(chosen))], r.randrange(len(chosen))
        at = r.randrange(len(word) + 1)
        chosen[n] = word[:at] + chr(r.randrange(32, 127)) + word[at + 1:]
    return Instruction(i.line, i.guard, ".".join(opcode), chosen, i.scope)


def check_instructions(files, count):
    """Single instructions, changed at random: C, or a PtxError."""
    r, kernels = random.Random(2), []
    for text in files.values():
        module = ptx_reader.read(text.decode())
        for kernel in module.kernels:
            shared = {v[0]: SHARED_BASE for v in module.shared + kernel.shared}
            body = [i for i in kernel.body if not isinstance(i, str)]
            kernels.append((Emitter(kernel, shared), body))
    parts = sorted({p for _, body in kernels for i in body for p in i.opcode.split(".")})
    operands = sorted({o for _, body in kernels for i in body for o in i.operands})
    refused = 0
    for n in range(count):
        emitter, body = r.choice(kernels)
        changed = change_instruction(r, r.choice(body), parts, operands)
        try:
            emitter.instruction(changed)
        except PtxError:
            refused += 1
        except Exception as problem:  # a crash is what is looked for
            return tell("instructions", f"number {n}: {changed.opcode} {changed.operands}: "
                                        f"{type(problem).__name__}: {problem}")
    return tell(f"instructions ({count}: {refused} refused)",
                None if 0 < refused < count else "all of one kind")


def check_source():
    done = subprocess.run([os.path.join(ROOT, "tools/cuda-ptx"), "--check"], capture_output=True,
                          text=True)
    lines = (done.stdout + done.stderr).strip().splitlines() or ["it says nothing"]
    if done.returncode == 77:
        return tell("source", lines[-1], skip=True)
    return tell("source", None if done.returncode == 0 else lines[-1])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--schedules", type=int, default=3)
    parser.add_argument("parts", nargs="*")
    options = parser.parse_args()
    parts = options.parts or ["kernels", "models", "bugs", "mutations", "source"]
    builder, files = Builder(os.path.abspath(options.build)), read_ptx()
    if not os.path.exists(builder.check):
        sys.exit(f"{builder.check} is missing: make unit-bins")
    if not shutil.which(builder.compiler):
        print(f"skip cuda: {builder.compiler} is missing")
        sys.exit(77)
    modules = []
    if {"kernels", "models", "bugs"} & set(parts):
        modules = check_kernels(builder, files, 2 if options.short else options.schedules)
    if "models" in parts:
        check_models(builder, modules, options.short)
    if "bugs" in parts:
        check_bugs(builder, files, modules, [b for b in BUGS if b.short or not options.short])
    if "mutations" in parts:
        check_mutations(builder, files, 300 if options.short else 10000)
        few = {n: t for n, t in files.items() if len(t) < 100000}
        check_instructions(few if options.short else files, 20000 if options.short else 1000000)
    if "source" in parts and not options.short:
        check_source()
    sys.exit(1 if failed else 0)


main()
