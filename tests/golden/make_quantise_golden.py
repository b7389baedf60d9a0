#!/usr/bin/env python3
"""Errors of ggml's own quantisers, for tests/unit/test_convert_quantise.c.

    python3 tests/golden/make_quantise_golden.py libggml-base.so.0      (Debian's libggml0)

The numbers are made by whole-number arithmetic, so that the test makes the same. Printed is the table of
the test: the root mean square of what ggml_quantize_chunk, the function of llama-quantize, without an
importance matrix loses, for each kind of numbers and each format."""
import ctypes, math, struct, sys

COUNT = 8192
FORMATS = {"Q8_0": 8, "Q4_0": 2, "Q5_0": 6, "Q4_K": 12, "Q6_K": 14}


def numbers(kind):
    state, out = kind + 1, []

    def uniform():
        nonlocal state
        state = (state * 6364136223846793005 + 1442695040888963407) % 2 ** 64
        return (state >> 40) / 2 ** 24
    for _ in range(COUNT):
        x = sum(uniform() for _ in range(12)) - 6    # nearly normal
        if kind == 0:
            x *= 0.02
        elif kind == 1:
            x = x * x * x * 0.01                     # a few large ones
        elif kind == 2:
            x = 0.05 + 0.01 * x                      # far from 0
        else:
            x = 0.5 * x if uniform() < 0.02 else 0.001 * x
        out.append(struct.unpack("<f", struct.pack("<f", x))[0])
    return out


def main():
    base = ctypes.CDLL(sys.argv[1])
    base.ggml_quantize_chunk.restype = ctypes.c_size_t
    base.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p,
                                         ctypes.c_int64, ctypes.c_int64, ctypes.c_int64,
                                         ctypes.c_void_p]
    for name, number in FORMATS.items():
        back = base[f"dequantize_row_{name.lower().replace('_k', '_K')}"]
        row = []
        for kind in range(4):
            x = (ctypes.c_float * COUNT)(*numbers(kind))
            blocks, y = (ctypes.c_uint8 * (COUNT * 4))(), (ctypes.c_float * COUNT)()
            base.ggml_quantize_chunk(number, x, blocks, 0, 1, COUNT, None)
            back(blocks, y, ctypes.c_int64(COUNT))
            row.append(math.sqrt(sum((a - b) ** 2 for a, b in zip(x, y)) / COUNT))
        print(f'    {{"{name}", {{{", ".join(f"{r:.7e}" for r in row)}}}}},')


main()
