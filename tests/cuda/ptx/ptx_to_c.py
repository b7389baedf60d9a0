#!/usr/bin/env python3
"""ptx_to_c.py: the PTX that ships as C that runs in the emulator of tests/cuda/emu.

    ptx_to_c.py IN.ptx OUT.c [NAME]

NAME is what reports call the file; without it, IN.ptx. What is not understood is an error, with
file and line, and exit code 1: nothing is guessed, and nothing left out."""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import ptx_reader  # noqa: E402
import ptx_rules_memory  # noqa: E402,F401
import ptx_rules_numbers  # noqa: E402,F401
from ptx_emit import C_REGISTER, Emitter  # noqa: E402
from ptx_error import PtxError  # noqa: E402
from ptx_reader import WIDTH  # noqa: E402

SHARED_BASE = 1024  # EMU_SHARED_BASE of emu_device.h, which the C that comes out checks
SHARED_MAX = 227 << 10
MOST_VARIABLES = 16
GUARD = 64  # bytes between two variables that belong to nobody


def lay_out(items, line):
    """[(name, place, bytes)] of shared variables; one without a size, which a launch gives, comes
    last."""
    at, out = 0, []
    for name, align, bytes_ in sorted(items, key=lambda item: item[2] == 0):
        at = (at + align - 1) // align * align
        out.append((name, at, bytes_))
        at += bytes_ + GUARD
    if len(out) > MOST_VARIABLES or at > SHARED_MAX or sum(b == 0 for _, _, b in out) > 1:
        raise PtxError(line, "more shared memory than a block can have")
    return out


def used_shared(module, kernel):
    """The variables that a kernel names, its own and the module's."""
    words = set()
    for item in kernel.body:
        if not isinstance(item, str):
            for operand in item.operands:
                words |= set(operand.replace("[", " ").replace("]", " ").replace("+", " ").split())
    return [v for v in module.shared if v[0] in words] + kernel.shared


def kernel_c(module, kernel, number):
    shared = lay_out(used_shared(module, kernel), kernel.line)
    emitter = Emitter(kernel, {name: SHARED_BASE + at for name, at, _ in shared})
    out = [f"/* {kernel.name} */", f"static void kernel_{number}(const uint8_t *P)", "{"]
    for name, kind in kernel.registers:
        out.append(f"    {C_REGISTER[WIDTH[kind]]} {name} = 0;")
    for name, align, bytes_ in kernel.local:
        out.append(f"    _Alignas({align}) uint8_t local_{name}[{max(bytes_, 1)}];")
        out.append(f"    emu_local(local_{name}, {bytes_});")
    if len(kernel.local) > 1:
        raise PtxError(kernel.line, "more than one variable in local memory")
    for item in kernel.body:
        out.append(f"{item}:;" if isinstance(item, str) else "    " + emitter.instruction(item))
    out += ["}", ""]
    variables = ", ".join(f'{{"{n}", {a}, {b}}}' for n, a, b in shared) or "{0}"
    row = (f'    {{"{kernel.name}", kernel_{number}, {kernel.parameter_bytes}, {{{variables}}}, '
           f"{len(shared)}, {kernel.most_threads}}},")
    return "\n".join(out), row


def hash_of(raw):
    value = 0xcbf29ce484222325
    for byte in raw:
        value = (value ^ byte) * 0x100000001b3 & 0xffffffffffffffff
    return value


def translate(raw, name, only=None):
    """The C of a PTX file's bytes, of the kernel `only` where it is given; PtxError where the file
    is not understood."""
    try:
        text = raw.decode("ascii")
    except UnicodeDecodeError as problem:
        raise PtxError(raw.count(b"\n", 0, problem.start) + 1, "not ASCII") from None
    module = ptx_reader.read(text)
    if not module.target or not module.version:
        raise PtxError(1, "there is no .version or no .target")
    chosen = [k for k in module.kernels if only in (None, k.name)]
    parts = [kernel_c(module, k, i) for i, k in enumerate(chosen)]
    head = ['#include "emu_device.h"', "",
            f'_Static_assert(EMU_SHARED_BASE == {SHARED_BASE}, "");', ""]
    rows = ["static const struct emu_kernel kernels[] = {", *(row for _, row in parts), "};",
            f'const struct emu_module emu_module = {{"{name}", 0x{hash_of(raw):016x}ull, kernels, '
            f"{len(parts)}}};", ""]
    return "\n".join(head + [code for code, _ in parts] + rows)


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit("usage: ptx_to_c.py IN.ptx OUT.c [NAME]")
    name = os.path.basename(sys.argv[3] if len(sys.argv) > 3 else sys.argv[1])
    try:
        with open(sys.argv[1], "rb") as f:
            code = translate(f.read(), name)
    except PtxError as problem:
        sys.exit(f"{sys.argv[1]}:{problem.line}: {problem.text}")
    with open(sys.argv[2], "w") as f:
        f.write(code)


if __name__ == "__main__":
    main()
