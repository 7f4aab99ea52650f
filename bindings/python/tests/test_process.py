"""A guest in someone else's process: signals, forks, memory, floating-point state, time to import. Each case is a process of its own."""
from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

TINY = str(Path(__file__).resolve().parents[3] / "tests" / "golden" / "tiny_llama")


def script(text: str, *arguments: str, **environment: str) -> str:
    """Output of a Python program; its failure is ours."""
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(text), TINY, *arguments], capture_output=True, text=True,
                          timeout=120, env={**os.environ, **environment}, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    assert done.stderr == "", done.stderr
    return done.stdout


def test_interrupt():
    """Ctrl-C is a KeyboardInterrupt within a second; the model can be used on. Also while loading, between two prompts, and in a piece of
    work that takes longer than that."""
    script("""
        import os, signal, sys, threading, time, jscopes
        model = jscopes.load(sys.argv[1])
        alone = model.attribute("The lens").scores.tobytes()
        long = list(model.tokenize("The lens of the eye")) * 1500
        heard = []
        model.attribute(long[:6000], scope="temperature", progress=lambda *state: heard.append(time.monotonic()))
        assert max(b - a for a, b in zip(heard, heard[1:])) > 0.3, "that piece is too short to test anything; lengthen it"
        sent = []

        def send():
            time.sleep(0.4)
            sent.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)

        for call in (lambda: model.attribute("The lens of the eye", scope="path", steps=1000000),
                     lambda: model.attribute(long, scope="temperature"),
                     lambda: [model.attribute("The lens") for _ in iter(int, 1)],
                     lambda: [jscopes.load(sys.argv[1]) for _ in iter(int, 1)]):
            thread = threading.Thread(target=send)
            thread.start()
            try:
                call()
                sys.exit("it went to its end")
            except KeyboardInterrupt:
                assert time.monotonic() - sent[-1] < 1.0, time.monotonic() - sent[-1]
            thread.join()
        assert model.attribute("The lens").scores.tobytes() == alone
        """)


def test_callback_exceptions():
    """Whatever progress raises comes out of the call, whole; nothing is printed."""
    script("""
        import sys, jscopes
        model = jscopes.load(sys.argv[1])
        class Mine(BaseException): pass
        def progress(stage, done, total):
            assert isinstance(stage, str) and 0 <= done <= total
            raise kind("stop")
        for kind in (ValueError, Mine, SystemExit, KeyboardInterrupt):
            for call in (lambda: model.attribute("The lens", progress=progress), lambda: jscopes.load(sys.argv[1], progress=progress),
                         lambda: model.vjp("The lens", -1, [[1.0] * 27], progress=progress)):
                try:
                    call()
                    sys.exit("nothing was raised")
                except kind as raised:
                    assert type(raised) is kind and raised.args == ("stop",)
        seen = []
        model.attribute("The lens", progress=lambda *state: seen.append(state))
        assert seen and seen[-1][1] == seen[-1][2], seen
        """)


def test_fork():
    """A child of a process that had loaded a model is refused with a clear line; a child of one that had not works; so does spawn."""
    script("""
        import os, sys, jscopes
        def child(work):
            pid = os.fork()
            if pid == 0:
                try:
                    os._exit(work())
                except BaseException as failure:
                    print(repr(failure))
                    sys.stdout.flush()
                    os._exit(99)
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        def computes():
            return 5 if jscopes.load(sys.argv[1]).attribute("The lens").scores.sum() > 0 else 1
        assert child(computes) == 5
        model = jscopes.load(sys.argv[1])
        def refused():
            for call in (lambda: model.attribute("The"), lambda: model.tokenize("The"), lambda: jscopes.load(sys.argv[1])):
                try:
                    call()
                    return 1
                except jscopes.ForkError as failure:
                    assert "spawn" in str(failure)
            return 6
        assert child(refused) == 6
        assert model.attribute("The").scores.sum() > 0
        """)


def test_nothing_creeps():
    """After 1000 calls, resident size, open files and threads are those after the tenth (and some allocator noise)."""
    script("""
        import gc, os, sys, jscopes
        model = jscopes.load(sys.argv[1])
        def state():
            gc.collect()
            with open("/proc/self/status") as f:
                rows = dict(line.split(":", 1) for line in f)
            return int(rows["VmRSS"].split()[0]), int(rows["Threads"]), len(os.listdir("/proc/self/fd"))
        def use(n):
            for i in range(n):
                a = model.attribute("The lens of the eye", scope=("fisher", "temperature", "semantic")[i % 3], layers=True, matrix=i % 9 == 0)
                a.scores, a.layers, a.matrix, a.tokens, a.predictions
                if i % 5 == 0:
                    try:
                        model.attribute("The", target="no token")
                    except jscopes.ArgumentError:
                        pass
        def show(n):
            for i in range(n):
                a._repr_html_(), jscopes.from_json(a.to_json()), str(a)
        a = model.attribute("The lens of the eye")
        for work, allowed in ((use, 600), (show, 1200)):  # kilobytes
            work(100)
            before = state()
            work(1000 if work is use else 300)
            after = state()
            assert after[0] - before[0] < allowed, (work, before, after)
            assert after[1:] == before[1:], (work, before, after)
        """)


def test_state_of_the_process():
    """Floating-point control word, signal handlers, locale, environment, OpenMP's own setting, standard streams: as before."""
    script("""
        import ctypes, locale, os, signal, sys
        import numpy
        libm = ctypes.CDLL("libm.so.6")
        def control():  # of x87 and of SSE: rounding, flushing to zero, which exceptions trap; not the flags of what happened
            buffer = (ctypes.c_ubyte * 32)()
            libm.fegetenv(buffer)
            return bytes(buffer[:2]), int.from_bytes(buffer[28:32], "little") & ~0x3F
        def state():
            return (control(), float(numpy.float32(1e-40) * numpy.float32(0.5)), [signal.getsignal(s) for s in range(1, 32) if s not in (9, 19)],
                    locale.setlocale(locale.LC_ALL, None), dict(os.environ), os.getcwd(), sys.getswitchinterval())
        def handlers():
            with open("/proc/self/status") as f:
                return [line for line in f if line.startswith(("SigCgt", "SigIgn", "SigBlk"))]
        before, caught = state(), handlers()
        import jscopes
        assert state() == before and handlers() == caught
        model = jscopes.load(sys.argv[1])
        for scope in ("semantic", "fisher", "temperature"):
            a = model.attribute("The lens", scope=scope)
            a.report("html"), a.report("svg")
        assert state() == before and handlers() == caught
        """)


def test_overhead():
    """Python adds less than a millisecond to a call, and the import takes less than 0.2 s: the bench says so itself."""
    bench = Path(__file__).resolve().parents[1] / "bench_overhead.py"
    done = subprocess.run([sys.executable, str(bench), TINY, "200"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_import_brings_little():
    script("""
        import sys, jscopes
        heavy = {"torch", "transformers", "pandas", "xarray", "matplotlib", "IPython", "inseq", "tokenizers", "huggingface_hub"}
        assert not heavy & set(sys.modules), heavy & set(sys.modules)
        """)


def test_library_that_is_not_there():
    done = subprocess.run([sys.executable, "-c", "import jscopes"], stderr=subprocess.PIPE, text=True, check=False,
                          env={**os.environ, "JSC_LIBRARY": "/no/such/libjscopes.so"})
    assert done.returncode == 1 and "ImportError: jscopes: /no/such/libjscopes.so cannot be opened" in done.stderr


@pytest.mark.parametrize("threads", ["1", "2"])
def test_omp_num_threads(threads):
    assert f"{threads} thread" in script("import sys, jscopes; print(jscopes.load(sys.argv[1]).info.device)", OMP_NUM_THREADS=threads)


def test_progress_line():
    """progress=True is silent for two seconds, and then writes to stderr only."""
    script("import sys, jscopes; jscopes.load(sys.argv[1], progress=True).attribute('The', progress=True)")
