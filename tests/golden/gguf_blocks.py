"""GGUF files and the blocks of their numbers in Python, for references and measurements: written from
ggml's description of its blocks, field by field, and sharing nothing with the C code."""
import struct
import numpy as np


class File:
    SIZES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}

    def __init__(self, path):
        self.data = np.memmap(path, np.uint8, "r")
        self.at, self.values, self.tensors = 4, {}, {}
        assert bytes(self.data[:4]) == b"GGUF"
        _, tensors, values = self.read("I"), self.read("Q"), self.read("Q")
        for _ in range(values):
            key = self.text().decode()
            self.values[key] = self.value(self.read("I"))
        found = []
        for _ in range(tensors):
            name = self.text().decode()
            shape = [self.read("Q") for _ in range(self.read("I"))]
            found.append((name, shape, self.read("I"), self.read("Q")))
        start = (self.at + 31) // 32 * 32
        for name, shape, kind, offset in found:
            self.tensors[name] = (shape, kind, start + offset)

    def read(self, code):
        n = struct.calcsize(code)
        value, = struct.unpack("<" + code, bytes(self.data[self.at:self.at + n]))
        self.at += n
        return value

    def text(self):
        n = self.read("Q")
        self.at += n
        return bytes(self.data[self.at - n:self.at])

    def value(self, kind):
        if kind == 8:
            return self.text()
        if kind == 9:
            element, count = self.read("I"), self.read("Q")
            return [self.value(element) for _ in range(count)]
        return self.read(self.SIZES[kind])

    def tensor(self, name):
        """float32 as the blocks say, the shape with its slow dimension first."""
        shape, kind, at = self.tensors[name]
        block, size, turn = FORMATS[kind]
        count = int(np.prod(shape))
        raw = np.array(self.data[at:at + count // block * size]).reshape(-1, size)
        return turn(raw).reshape(shape[::-1])


def half(raw, at):
    return raw[:, at:at + 2].copy().view(np.float16).astype(np.float32)


def f32(raw):
    return raw.copy().view(np.float32)


def q4_0(raw):
    q = np.concatenate([raw[:, 2:] & 15, raw[:, 2:] >> 4], 1)
    return half(raw, 0) * (q.astype(np.float32) - 8)


def q8_0(raw):
    return half(raw, 0) * raw[:, 2:].copy().view(np.int8).astype(np.float32)


def q5_0(raw):
    high = raw[:, 2:6].copy().view(np.uint32)
    bits = (high >> np.arange(32, dtype=np.uint32)) & 1
    q = np.concatenate([raw[:, 6:] & 15, raw[:, 6:] >> 4], 1) | (bits << 4).astype(np.uint8)
    return half(raw, 0) * (q.astype(np.float32) - 16)


def q4_k(raw):
    s = raw[:, 4:16].astype(np.int32)
    scale = np.concatenate([s[:, :4] & 63, (s[:, 8:] & 15) | (s[:, :4] >> 6) << 4], 1)
    least = np.concatenate([s[:, 4:8] & 63, (s[:, 8:] >> 4) | (s[:, 4:8] >> 6) << 4], 1)
    q = raw[:, 16:].reshape(-1, 4, 1, 32)
    q = np.concatenate([q & 15, q >> 4], 2).reshape(-1, 8, 32).astype(np.float32)
    return (half(raw, 0)[:, :, None] * scale[:, :, None] * q -
            half(raw, 2)[:, :, None] * least[:, :, None]).reshape(-1, 256)


def q6_k(raw):
    low, high = raw[:, :128].reshape(-1, 2, 64), raw[:, 128:192].reshape(-1, 2, 32)
    scale = raw[:, 192:208].copy().view(np.int8).astype(np.float32)
    parts = [(low[:, :, :32] & 15) | (high & 3) << 4, (low[:, :, 32:] & 15) | (high >> 2 & 3) << 4,
             (low[:, :, :32] >> 4) | (high >> 4 & 3) << 4, (low[:, :, 32:] >> 4) | (high >> 6) << 4]
    q = np.stack(parts, 2).reshape(-1, 16, 16).astype(np.float32) - 32
    return (half(raw, 208)[:, :, None] * scale[:, :, None] * q).reshape(-1, 256)


FORMATS = {0: (1, 4, f32), 2: (32, 18, q4_0), 6: (32, 22, q5_0), 8: (32, 34, q8_0), 12: (256, 144, q4_k),
           14: (256, 210, q6_k)}
