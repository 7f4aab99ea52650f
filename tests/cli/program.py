"""program.py: the built program for the tests of the command line: runs it, and checks what every failure must look like."""
import json
import os
import subprocess
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"
TINY = str(GOLDEN / "tiny_llama")
BUILD = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT / "build" / "release"
JSCOPES = str(BUILD / "jscopes")
QUIET = ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "COLUMNS", "LC_ALL", "LC_CTYPE", "LANG", "JSC_DEVICE", "JSC_LOG", "JSC_TRACE")


def environment(**changes):
    """The environment without what changes the output, and with changes."""
    clean = {name: value for name, value in os.environ.items() if name not in QUIET}
    clean["TERM"] = "xterm-256color"
    clean["JSC_DEVICE"] = "cpu"  # the same numbers on a machine with a GPU
    clean.update(changes)
    return clean


def run(*arguments, stdin=b"", env=None, stdout=subprocess.PIPE):
    """Exit status, stdout as bytes, stderr as text."""
    done = subprocess.run([JSCOPES, *map(os.fsencode, map(str, arguments))], input=stdin, stdout=stdout, stderr=subprocess.PIPE,
                          env=env or environment(), timeout=300, check=False)
    return done.returncode, done.stdout, done.stderr.decode()


def refuse_constant(name):
    raise ValueError(f"{name} in JSON")


def strict_json(data):
    """JSON as RFC 8259 has it: UTF-8, no NaN, no name twice."""
    def pairs(items):
        names = [name for name, _ in items]
        if len(names) != len(set(names)):
            raise ValueError(f"a name twice in {names}")
        return dict(items)
    return json.loads(data.decode("utf-8"), parse_constant=refuse_constant, object_pairs_hook=pairs)


class Case(unittest.TestCase):
    """What every test of the program needs."""

    def good(self, *arguments, **options):
        status, out, err = run(*arguments, **options)
        self.assertEqual(status, 0, f"{arguments}: {err}")
        return out

    def json(self, *arguments, **options):
        return strict_json(self.good(*arguments, "--format", "json", **options))

    def bad(self, status, *arguments, says=(), **options):
        """Fails as it should: this status, nothing on stdout, one line on stderr that holds each word of says."""
        got, out, err = run(*arguments, **options)
        self.assertEqual(got, status, f"{arguments}: {err}")
        self.assertEqual(out, b"", arguments)
        self.assertTrue(err.startswith("jscopes: ") and err.endswith("\n") and err.count("\n") == 1, f"{arguments}: {err!r}")
        for word in [says] if isinstance(says, str) else says:
            self.assertIn(word, err, arguments)
        return err


def main():
    if not os.access(JSCOPES, os.X_OK):
        sys.exit(f"{JSCOPES} is not built")
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]], verbosity=2)
