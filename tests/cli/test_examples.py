#!/usr/bin/env python3
"""The example programs, and the program in jscopes.h: built, run, and giving what the command line gives."""
import re
import subprocess

from program import BUILD, ROOT, TINY, Case, environment, main

TEXT = "The lens"


class Examples(Case):
    def example(self, name, *arguments):
        done = subprocess.run([BUILD / "examples" / name, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(),
                              timeout=300, check=False)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def test_smallest_is_the_program_of_the_header(self):
        header = (ROOT / "include" / "jscopes" / "jscopes.h").read_text()
        shown = header[header.index("#include <jscopes/jscopes.h>"):header.index("* Errors, ownership")]
        shown = re.sub(r"(?m)^ \*( {3})?", "", shown)
        source = (ROOT / "examples" / "smallest.c").read_text().split("*/", 1)[1]
        self.assertEqual(shown.split(), source.split())

    def test_smallest(self):
        status, out, err = self.example("smallest", TINY, TEXT)
        self.assertEqual(status, 0, err)
        want = self.json("attribute", TINY, "--text", TEXT, "--scope", "fisher")
        got = [float(line.split()[-1]) for line in out.splitlines()]
        self.assertEqual(len(got), len(want["tokens"]))
        for number, token in zip(got, want["tokens"]):
            self.assertAlmostEqual(number, token["score"], delta=1e-4 * token["score"])
        self.assertEqual(self.example("smallest", "/nonexistent", TEXT)[0], 1)

    def test_compare_targets(self):
        status, out, err = self.example("compare_targets", TINY, TEXT, "s", "a")
        self.assertEqual(status, 0, err)
        self.assertIn("right-hand sides", out)
        self.assertIn("contrast", out)
        self.assertIn("against \"a\"", out)
        status, _, err = self.example("compare_targets", TINY, TEXT, "not a token", "a")
        self.assertEqual(status, 1)
        self.assertIn("not one", err)

    def test_own_cotangents(self):
        status, out, err = self.example("own_cotangents", TINY, "57,3,120")
        self.assertEqual(status, 0, out + err)
        self.assertEqual(out.count("token "), 3)
        self.assertEqual(self.example("own_cotangents", TINY, "x")[0], 1)


if __name__ == "__main__":
    main()
