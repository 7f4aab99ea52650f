#!/usr/bin/env python3
"""compare_runs.py: one request answered by several processes beside the same by one: bench/compare_runs.py ALONE.json N TOGETHER.json

Both are what `jscopes attribute --format json` wrote. Prints seconds (forward and pull-back, without loading), speed-up, efficiency and the largest
relative difference of scores; fails if it is beyond rounding."""
import json
import sys

MOST = {"strict": 1e-5, "fast": 1e-2}  # chunks of other sizes round otherwise


def load(path):
    with open(path, encoding="utf-8") as file:
        result = json.load(file)
    return [token["score"] for token in result["tokens"]], result["seconds"]["forward"] + result["seconds"]["backward"], result["precision"]


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    one, alone, precision = load(sys.argv[1])
    all_, together, _ = load(sys.argv[3])
    n, largest = int(sys.argv[2]), max(map(abs, one))
    if len(one) != len(all_):
        sys.exit(f"{len(one)} scores alone, {len(all_)} together")
    off = max(abs(x - y) / max(abs(x), 1e-6 * largest) for x, y in zip(one, all_))
    print(f"1 process {alone:.4f} s, {n} processes {together:.4f} s: speed-up {alone / together:.2f}, each {100 * alone / together / n:.0f} %, "
          f"difference {off:.1e}")
    if not off <= MOST[precision]:
        sys.exit(f"the scores differ by {off:.1e}, more than {MOST[precision]:g}")


if __name__ == "__main__":
    main()
