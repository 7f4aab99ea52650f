#!/usr/bin/env python3
"""Writes tests/golden/dequant.bin: two blocks of every element type and their values as the gguf package decodes them.

Needs numpy and gguf 0.19. Run from the repository root: python3 tests/oracle/make_dequant.py

Layout, little-endian: u32 count; then per type: char name[8], u32 ggml id, u32 elements, u32 bytes, the bytes, float32 values.
"""
import struct
import sys

import gguf
import numpy as np

TYPES = "F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 IQ4_NL Q2_K Q3_K Q4_K Q5_K Q6_K".split()
# Where the halves of a block stand: they must be finite, all other bits may be anything.
HALVES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "IQ4_NL": [0], "Q2_K": [80, 82], "Q3_K": [108],
          "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}
# Plain types: extremes, both zeros, subnormals, infinities; then random finite numbers.
F16 = [0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x3C00, 0x3555, 0xB555]


def blocks(name, rng):
    quant = gguf.GGMLQuantizationType[name]
    length, size = gguf.GGML_QUANT_SIZES[quant]
    if name == "F32":
        return np.array([0.0, -0.0, 1.0, 1e-45, -3.4e38, np.inf, 0.1, -0.1], "<f4").tobytes(), 8
    if name in ("F16", "BF16"):
        extra = rng.integers(0, 0x7C00, 20, dtype=np.uint16)
        return np.concatenate([np.array(F16, "<u2"), extra]).astype("<u2").tobytes(), 32
    raw = rng.integers(0, 256, (2, size), dtype=np.uint8)
    for offset in HALVES[name]:
        # the second block's are subnormal halves: 1/1024 of 2^-14 and up
        scale = [np.float16(rng.normal()), np.frombuffer(struct.pack("<H", int(rng.integers(1, 1024))), "<f2")[0]]
        for block in range(2):
            raw[block, offset:offset + 2] = np.frombuffer(np.array(scale[block], "<f2").tobytes(), np.uint8)
    return raw.tobytes(), 2 * length


def main():
    rng = np.random.default_rng(4)
    out = [struct.pack("<I", len(TYPES))]
    for name in TYPES:
        quant = gguf.GGMLQuantizationType[name]
        raw, n = blocks(name, rng)
        data = np.frombuffer(raw, np.uint8)
        if name in ("F32", "F16"):
            values = data.view("<f4" if name == "F32" else "<f2").astype("<f4")
        else:
            values = gguf.dequantize(data.copy() if name == "BF16" else data.reshape(2, -1), quant).astype("<f4").ravel()
        assert values.size == n, (name, values.size, n)
        out.append(struct.pack("<8sIII", name.encode(), int(quant), n, len(raw)) + raw + values.tobytes())
    with open("tests/golden/dequant.bin", "wb") as f:
        f.write(b"".join(out))
    print("tests/golden/dequant.bin:", sum(map(len, out)), "bytes")


if __name__ == "__main__":
    sys.exit(main())
