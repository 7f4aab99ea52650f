#!/usr/bin/env python3
"""bench_overhead.py: what Python adds to a call of the library, and how long `import jscopes` takes.

    bench_overhead.py [MODEL] [CALLS]       MODEL: default the tiny one of tests/golden

Each call is made in two ways in turn: by Model.attribute, and by the library's function alone on a request that is ready and a result that is
freed unread. The difference of the fastest of each (the steadiest figure on a machine that others use) is the overhead: ids, structures,
the hand-over to the thread that calls, callback, exception check, the result's object; and then of reading its scores."""
from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path = [folder for folder in sys.path if Path(folder).resolve() != HERE]  # the installed package, not its source
import jscopes  # noqa: E402
from jscopes._api import ffi  # noqa: E402
from jscopes._library import lib  # noqa: E402
from jscopes._request import Request, prompt_ids  # noqa: E402

TINY = HERE.parents[1] / "tests" / "golden" / "tiny_llama"
TEXT = "The lens"


def microseconds(work: object) -> float:
    start = time.perf_counter()
    work()  # type: ignore[operator]
    return (time.perf_counter() - start) * 1e6


def row(name: str, python: list[float], alone: list[float]) -> float:
    """Prints one line; the overhead."""
    a, b = min(python), min(alone)
    print(f"{name:<34}{a:>12.1f}{b:>12.1f}{a - b:>12.1f}")
    return a - b


def import_time(module: str) -> float:
    """Seconds of processor time, the fastest of ten processes."""
    program = f"import time; start = time.process_time(); import {module}; print(time.process_time() - start)"
    return min(float(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout) for _ in range(10))


def main() -> None:
    model = jscopes.load(sys.argv[1] if len(sys.argv) > 1 else TINY, threads=1)
    calls = int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    out, error = ffi.new("jsc_attribution **"), ffi.new("jsc_error *")
    print(f"{'microseconds, fastest of ' + str(calls):<34}{'Python':>12}{'C alone':>12}{'overhead':>12}")
    worst = 0.0
    for scope in ("semantic", "fisher"):
        request = Request(model, prompt_ids(model, TEXT), {"scope": scope})

        def alone(request: Request = request) -> None:
            assert lib.jsc_attribute(model._c, request.c, out, error) == lib.JSC_OK
            lib.jsc_attribution_free(out[0])

        def python(scope: str = scope) -> None:
            model.attribute(TEXT, scope=scope)

        def read(scope: str = scope) -> None:
            a = model.attribute(TEXT, scope=scope)
            a.scores, a.tokens, a.predictions  # noqa: B018

        rows: dict[str, list[float]] = {"alone": [], "python": [], "read": []}
        for _ in range(calls):
            for name, work in (("alone", alone), ("python", python), ("read", read)):
                rows[name].append(microseconds(work))
        worst = max(worst, row(f"attribute {scope}", rows["python"], rows["alone"]))
        worst = max(worst, row("  and scores, tokens, predictions", rows["read"], rows["alone"]))
    imports, numpy = import_time("jscopes"), import_time("numpy")
    print(f"import jscopes {imports * 1e3:.0f} ms of processor time, of which numpy {numpy * 1e3:.0f} ms (fastest of 10)")
    sys.exit(0 if worst < 1000 and imports < max(0.2, numpy + 0.08) else 1)  # NumPy alone takes 0.2 s on a machine in full use


if __name__ == "__main__":
    main()
