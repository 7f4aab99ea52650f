#!/usr/bin/env python3
"""Compares src/host/base/dtype.c with the gguf package on random blocks of every element type, bit for bit.

    python3 tests/oracle/compare_dequant.py [BLOCKS]      BLOCKS a type, default 1000000; a minute or two

Needs numpy, gguf 0.19 and a C compiler. Run from the repository root. The halves of a block are any finite half (one in eight subnormal), all
other bytes anything; F16 and BF16 run through all 65536 values first (NaN: only that both are NaN). Exit status 1 if anything differs.
"""
import ctypes
import glob
import pathlib
import subprocess
import sys
import tempfile

import gguf
import numpy as np

from make_dequant import HALVES, TYPES

BATCH = 1 << 14
ORDER = "F32 F64 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 IQ4_NL Q2_K Q3_K Q4_K Q5_K Q6_K".split()  # enum dtype


def build(folder):
    library = pathlib.Path(folder) / "base.so"
    subprocess.run(["cc", "-std=gnu11", "-O3", "-D_GNU_SOURCE", "-shared", "-fPIC", "-Iinclude", "-Isrc/host/base", "-o", library,
                    *sorted(glob.glob("src/host/base/*.c")), "-lm"], check=True)
    return ctypes.CDLL(library)


def halves(rng, n):
    """Finite ones of either sign; every eighth is subnormal."""
    bits = rng.integers(0, 0x7C00, n, dtype=np.uint16)
    bits[::8] &= 0x03FF
    return bits | (rng.integers(0, 2, n, dtype=np.uint16) << 15)


def random_blocks(rng, name, n, first):
    length, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]]
    if name in ("F16", "BF16") and first:
        return np.arange(65536, dtype="<u2").view(np.uint8).reshape(-1, 2), length
    blocks = rng.integers(0, 256, (n, size), dtype=np.uint8)
    for offset in HALVES.get(name, []):
        blocks[:, offset:offset + 2] = halves(rng, n).view(np.uint8).reshape(n, 2)
    return blocks, length


def reference(name, blocks):
    if name in ("F32", "F16"):
        return blocks.view("<f4" if name == "F32" else "<f2").astype("<f4")
    return gguf.dequantize(blocks.copy(), gguf.GGMLQuantizationType[name]).astype("<f4", copy=False)


def main():
    total, bad = int(sys.argv[1]) if len(sys.argv) > 1 else 1000000, 0
    with tempfile.TemporaryDirectory() as folder:
        base = build(folder)
        for name in TYPES:
            rng, done, values, wrong = np.random.default_rng(len(name)), 0, 0, 0
            while done < total:
                blocks, length = random_blocks(rng, name, min(BATCH, total - done), done == 0)
                got = np.empty(len(blocks) * length, "<f4")
                raw = np.ascontiguousarray(blocks)
                base.dtype_row_f32(ORDER.index(name), ctypes.c_void_p(raw.ctypes.data), ctypes.c_size_t(got.size),
                                   ctypes.c_void_p(got.ctypes.data))
                with np.errstate(invalid="ignore"):
                    want = np.ascontiguousarray(reference(name, blocks)).ravel()
                differs = (got.view("<u4") != want.view("<u4")) & ~(np.isnan(got) & np.isnan(want))
                wrong += int(differs.sum())
                done, values = done + len(blocks), values + got.size
            print(f"{name:7} {done:8} blocks, {values:10} values, {wrong} differ", flush=True)
            bad += wrong
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
