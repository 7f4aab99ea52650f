#!/usr/bin/env python3
"""jscopes spectrum: text and json say the same, the sums are what attribute says, and bad usage is one line."""
import math
import re

from program import TINY, Case, environment, main

IDS = ("--ids", "5,3,11,7")
KINDS = ("fisher", "fisher-input", "jacobian")


def dot(a, b):
    return sum(x * y for x, y in zip(a, b))


class Spectrum(Case):
    def width(self):
        return self.json("info", TINY)["d_model"]

    def test_sums_are_those_of_attribute(self):
        d = self.width()
        scores = self.json("attribute", TINY, *IDS, "--scope", "fisher", "--exact")
        for token in range(4):
            s = self.json("spectrum", TINY, *IDS, "--kind", "fisher-input", "--token", token, "--top-k", d)
            self.assertAlmostEqual(sum(s["values"]) / scores["tokens"][token]["score"], 1.0, delta=1e-5)
            self.assertEqual((s["token"]["index"], s["position"]["index"], s["exact"]), (token, 3, True))
        s = self.json("spectrum", TINY, *IDS, "--top-k", d)
        self.assertAlmostEqual(sum(s["values"]) / scores["fisher"]["trace"], 1.0, delta=1e-5)
        self.assertNotIn("token", s)

    def test_values_fall_and_the_defaults_are_said(self):
        for kind in KINDS:
            s = self.json("spectrum", TINY, *IDS, "--kind", kind)
            self.assertEqual(s["kind"], kind)
            self.assertEqual(len(s["values"]), min(10, self.width()))
            self.assertEqual(s["values"], sorted(s["values"], reverse=True))
            self.assertEqual(len(s["residuals"]), len(s["values"]))
            self.assertNotIn("vectors", s)
            if kind != "fisher":
                self.assertEqual(s["token"]["index"], 3, "the token is the position's where none is given")

    def test_vectors_are_unit_and_orthogonal(self):
        s = self.json("spectrum", TINY, *IDS, "--kind", "jacobian", "--top-k", 3, "--vectors")
        for rows in (s["vectors"], s["left"]):
            for i in range(3):
                for j in range(3):
                    self.assertAlmostEqual(dot(rows[i], rows[j]), float(i == j), delta=1e-6)
        self.assertNotIn("left", self.json("spectrum", TINY, *IDS, "--vectors"))

    def test_the_position_counts_like_pythons(self):
        early = self.json("spectrum", TINY, *IDS, "--kind", "jacobian", "--position", "-3", "--token", "0")
        alone = self.json("spectrum", TINY, "--ids", "5,3", "--kind", "jacobian", "--token", "-2")
        for a, b in zip(early["values"], alone["values"]):
            self.assertAlmostEqual(a, b, delta=1e-5 * early["values"][0])

    def test_few_steps_are_within_their_residuals(self):
        exact = self.json("spectrum", TINY, *IDS, "--kind", "jacobian", "--exact", "--top-k", self.width())
        rough = self.json("spectrum", TINY, *IDS, "--kind", "jacobian", "--steps", 1, "--top-k", 2, "--seed", 7)
        self.assertEqual(rough["seed"], 7)
        for value, residual in zip(rough["values"], rough["residuals"]):
            self.assertLessEqual(min(abs(value - e) for e in exact["values"]), residual + 1e-5 * value)

    def test_text_shows_the_values_of_json(self):
        for kind in KINDS:
            for env, bar in ((environment(), "█"), (environment(LC_ALL="C"), "#")):
                text = self.good("spectrum", TINY, *IDS, "--kind", kind, "--top-k", 3, env=env).decode()
                rows = re.findall(r"^ +(\d) +(\S+) +(?:±|\+-) (\S+) +(\S*)$", text, re.M)
                want = self.json("spectrum", TINY, *IDS, "--kind", kind, "--top-k", 3)
                self.assertEqual(len(rows), 3, text)
                for row, value in zip(rows, want["values"]):
                    self.assertTrue(math.isclose(float(row[1]), value, rel_tol=1e-5))
                self.assertGreater(rows[0][3].count(bar), rows[2][3].count(bar))
                self.assertTrue(all(len(line) <= 80 for line in text.splitlines() if "█" in line or "#" in line), text)
                self.assertTrue(text.isascii() or bar == "█")

    def test_bad_usage(self):
        for options, words in ((("--kind", "hessian"), ["--kind", "jacobian"]), (("--token", "1"), ["--token", "fisher-input"]),
                               (("--kind", "jacobian", "--token", "x"), "--token"), (("--top-k", "0"), "--top-k"), (("--steps", "0"), "--steps"),
                               (("--exact", "--steps", "2"), ["--exact", "--steps", "do not go together"]), (("--vectors",), "--format json"),
                               (("--format", "svg"), "--format"), (("--scope", "fisher"), "unknown option --scope"),
                               (("--text", "a"), ["--text", "--ids", "do not go together"]), (("--memory", "much"), "--memory"),
                               (("--seed", "-1"), "--seed")):
            self.bad(2, "spectrum", TINY, *IDS, *options, says=words)
        self.bad(2, "spectrum", TINY, says=["--text", "--ids"])
        self.bad(1, "spectrum", TINY, *IDS, "--kind", "jacobian", "--token", "4", says="token 4")
        self.bad(1, "spectrum", TINY, *IDS, "--kind", "jacobian", "--position", "1", "--token", "2", says=["token 2", "position 1"])
        self.bad(1, "spectrum", TINY, *IDS, "--top-k", "100000", says="100000 values")
        self.bad(1, "spectrum", TINY, *IDS, "--memory", "1", says="limit is 1")


if __name__ == "__main__":
    main()
