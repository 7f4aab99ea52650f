#!/usr/bin/env python3
"""test_python.py: the Python package against the library that was built: its own tests (pytest), and mypy --strict.

    test_python.py BUILD [wheel]     wheel: builds the wheel without a network instead, installs it elsewhere, runs the tests on that

Makes an environment BUILD/python-env (numpy, cffi, pytest; mypy, nbformat if they can be had) once. Skips where pip has no network, and where the
library was built with sanitizers, which Python cannot load."""
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINDING = ROOT / "bindings" / "python"
BUILD = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT / "build" / "release"
ENVIRONMENT = BUILD / "python-env"
PYTHON = ENVIRONMENT / "bin" / "python"
NEEDED = ["numpy", "cffi", "pytest"]
WANTED = ["mypy", "nbformat"]
BUILDERS = ["scikit-build-core"]


def run(*command, **options):
    print("+", *command, flush=True)
    return subprocess.run([str(word) for word in command], check=False, **options).returncode


def must(*command, **options):
    status = run(*command, **options)
    if status != 0:
        sys.exit(f"test_python: {' '.join(map(str, command))}: exit status {status}")


def skip(reason):
    print(f"[SKIP] python: {reason}")
    sys.exit(0)


def install(*packages):
    """True if they are there, by now."""
    return run(PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--prefer-binary", "--retries", "1", "--timeout", "20",
               *packages) == 0


def make_environment():
    done = ENVIRONMENT / "complete"
    if done.exists():
        return
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    venv.create(ENVIRONMENT, with_pip=True)
    if not install(*NEEDED):
        skip("pip cannot bring numpy, cffi and pytest (no network?)")
    install(*WANTED)
    done.touch()


def has(module):
    return run(PYTHON, "-c", f"import {module}", stderr=subprocess.DEVNULL) == 0


def sanitized():
    with open(BUILD / "CMakeCache.txt", encoding="utf-8") as f:
        return any(line.startswith("JSC_SANITIZE:") and line.split("=", 1)[1].strip() for line in f)


def package():
    """The package in the build folder, with the table of this header; returns the environment to run it in."""
    folder = BUILD / "python"
    shutil.rmtree(folder / "jscopes", ignore_errors=True)
    shutil.copytree(BINDING / "jscopes", folder / "jscopes", ignore=shutil.ignore_patterns("__pycache__"))
    must(PYTHON, BINDING / "make_api.py", ROOT / "include", folder / "jscopes" / "_api.py", os.environ.get("CC", "cc"))
    return {**os.environ, "PYTHONPATH": str(folder), "JSC_LIBRARY": str(BUILD / "libjscopes.so"), "JSC_DEVICE": "cpu",
            "OMP_WAIT_POLICY": "passive", "PYTHONDONTWRITEBYTECODE": "1"}


def tests(environment):
    must(PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", BINDING / "tests", env=environment, cwd=BUILD)


def wheel():
    """pip install without a network, into a folder of its own, from which the tests then run with nothing else set."""
    if not has("scikit_build_core") and not install(*BUILDERS):
        skip("pip cannot bring scikit-build-core: no wheel was built")
    place = BUILD / "python-wheel"
    shutil.rmtree(place, ignore_errors=True)
    must(PYTHON, "-m", "pip", "wheel", "--no-build-isolation", "--no-index", "--no-deps", "-w", place, "-C", "cmake.define.JSC_CUDA=OFF", ROOT)
    (found,) = place.glob("jscopes-*-py3-none-*.whl")
    must(PYTHON, "-m", "pip", "install", "--no-index", "--no-deps", "--target", place / "installed", found)
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "JSC_LIBRARY")}
    clean.update(PYTHONPATH=str(place / "installed"), JSC_DEVICE="cpu", OMP_WAIT_POLICY="passive")
    must(PYTHON, "-m", "jscopes", "--version", env=clean, cwd=place)
    must(PYTHON, place / "installed" / "bin" / "jscopes", "attribute", ROOT / "tests" / "golden" / "tiny_llama", "--text", "The lens", env=clean, cwd=place)
    tests(clean)


def main():
    if sys.version_info < (3, 10):
        skip(f"the package is for Python 3.10 and later; this is {sys.version.split()[0]}")
    if not (BUILD / "libjscopes.so").exists():
        skip(f"{BUILD} has no shared library")
    if sanitized():
        skip("the library was built with sanitizers; the release build's tests run the package")
    make_environment()
    if "wheel" in sys.argv[2:]:
        wheel()
        return
    tests(package())
    if has("mypy"):
        must(PYTHON, "-m", "mypy", "--strict", "--config-file", ROOT / "pyproject.toml", "--cache-dir", BUILD / "mypy", "-p", "jscopes",
             cwd=BINDING, env={**os.environ, "MYPYPATH": str(BINDING)})
    else:
        print("[SKIP] python: mypy could not be installed, types were not checked")


if __name__ == "__main__":
    main()
