#!/usr/bin/env python3
"""gpu_table.py: what tools/gpu_check.sh measured beside what was computed beforehand: tools/gpu_table.py OUT

Predictions are for one H100 (SXM): products 650 TFLOP/s in bfloat16, memory 2.9 TB/s, attention's pull-back 220 TFLOP/s, no gaps between
launches. A ratio outside 0.7 to 1.4 wants an explanation in docs/cuda.md before anything is tuned.
"""
import json
import pathlib
import sys

PREDICTED = [  # name, file, what identifies its row, field, unit, value computed
    ("product of side 8192, bfloat16", "ops-fast", {"section": "limits"}, "gflops_vjp", "GFLOP/s", 650e3),
    ("product of side 8192, float32", "ops-strict", {"section": "limits"}, "gflops", "GFLOP/s", 50e3),
    ("device memory", "ops-fast", {"section": "limits"}, "gbytes", "GB/s", 2900.0),
    ("SmolLM2-135M, exact Fisher, T = 64", "whole-135m", {"case": "fisher, exact", "tokens": 64}, "best_ms", "ms", 16.0),
    ("Llama-3.2-1B, forward, T = 64", "whole-1b", {"case": "forward", "tokens": 64}, "best_ms", "ms", 0.85),
    ("Llama-3.2-1B, one VJP, T = 64", "whole-1b", {"case": "one VJP", "tokens": 64}, "best_ms", "ms", 0.67),
    ("Llama-3.2-1B, exact Fisher, T = 64", "whole-1b", {"case": "fisher, exact", "tokens": 64}, "best_ms", "ms", 260.0),
    ("Llama-3.2-1B, forward, T = 512", "whole-1b", {"case": "forward", "tokens": 512}, "best_ms", "ms", 3.2),
    ("Llama-3.2-1B, one VJP, T = 512", "whole-1b", {"case": "one VJP", "tokens": 512}, "best_ms", "ms", 1.7),
    ("Llama-3.2-1B, exact Fisher, T = 512", "whole-1b", {"case": "fisher, exact", "tokens": 512}, "best_ms", "ms", 2400.0),
]


def rows(path):
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines() if line.startswith("{")]


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    out = pathlib.Path(sys.argv[1])
    lines = [f"{'':42} {'predicted':>12} {'measured':>12} {'ratio':>6}"]
    for name, file, wanted, field, unit, predicted in PREDICTED:
        found = [r for r in rows(out / f"bench-{file}.jsonl") if all(r.get(k) == v for k, v in wanted.items()) and field in r]
        if found:
            measured = found[0][field]
            ratio = measured / predicted
            note = "" if 0.7 <= ratio <= 1.4 else "  <-"
            lines.append(f"{name:42} {predicted:12.4g} {measured:12.4g} {ratio:6.2f} {unit}{note}")
        else:
            lines.append(f"{name:42} {predicted:12.4g} {'not measured':>12} {'':6} {unit}")
    text = "\n".join(lines)
    (out / "table.txt").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
