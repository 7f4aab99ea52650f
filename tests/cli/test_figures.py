#!/usr/bin/env python3
"""examples/figures: the series and measures by themselves; figures made by the one command where the default model is there."""
import importlib.util
import math
import os
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from program import JSCOPES, ROOT, environment, main

FIGURES = ROOT / "examples" / "figures"
sys.dont_write_bytecode = True


def load(name):
    spec = importlib.util.spec_from_file_location(name, FIGURES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


systems, measures = load("systems"), load("measures")


def result(values, texts=None, position=None):
    texts = texts or [str(i) for i in range(len(values))]
    return {"tokens": [{"text": text, "score": value} for text, value in zip(texts, values)],
            "target": {"position": len(values) - 1 if position is None else position}}


class Series(unittest.TestCase):
    def test_equations(self):
        for got, want in zip(systems.logistic(3), (0.3, 0.798, 3.8 * 0.798 * 0.202)):
            self.assertAlmostEqual(got, want, places=12)
        x = systems.lorenz(2, x=1.0, y=1.0, z=20.0, dt=0.01, every=1)
        self.assertEqual(x[1], 1.0)  # x and y are equal: x rests for a step
        self.assertAlmostEqual(systems.lorenz(3, dt=0.01, every=1)[2], 1.0 + 0.01 * 10.0 * 0.01 * (28.0 - 20.0 - 1.0), places=12)
        walk = systems.brownian(20001, 1)
        self.assertEqual(walk, systems.brownian(20001, 1))
        self.assertNotEqual(walk, systems.brownian(20001, 2))
        steps = [b - a for a, b in zip(walk, walk[1:])]
        self.assertLess(abs(sum(steps) / len(steps)), 0.03)
        self.assertAlmostEqual(sum(s * s for s in steps) / len(steps), 1.0, delta=0.05)

    def test_text(self):
        numbers = systems.digits([0.0, 1.0, 0.5])
        self.assertEqual(numbers, [15, 85, 50])
        self.assertEqual(systems.prompt(numbers), "15,85,50,")
        drifted = systems.drifting([0.0, 1.0, 0.0], ranges=2.0)
        self.assertEqual(drifted, [0.0, 2.0, 2.0])

    def test_cuts(self):
        series = systems.lorenz(220)
        peak = systems.at_peak(series, 150)
        self.assertTrue(peak[-2] > peak[-3] and peak[-2] >= peak[-1] and peak[-2] > 5.0 and len(peak) > 151)
        crossing = systems.at_crossing(series, 20)
        self.assertTrue((crossing[-3] < 0.0) != (crossing[-2] < 0.0))


class Measures(unittest.TestCase):
    def test_places(self):
        r = result([1.0, 4.0, 2.0, 1.0], ["a", " b", " c", "d"])
        self.assertEqual(measures.strongest(r, 2), "b, c")
        self.assertEqual(measures.place(r, "c"), "c has rank 2 of 4")
        self.assertEqual(measures.share(r, "b"), 0.5)
        self.assertEqual(measures.holders(r, 0.5), 1)
        self.assertEqual(measures.holders(r, 0.51), 2)
        self.assertEqual(measures.early(r, 2), 0.625)
        self.assertIn("'b' has rank 1 of 2", measures.counterpart(r, 3, "b c"))

    def test_numbers(self):
        r = result([3.0, 4.0, 9.0, 1.0, 9.0, 7.0], ["2", "9", ",", "5", ",", "6"], position=4)
        self.assertEqual(measures.numbers(r), [(29, 5.0), (5, 1.0)])

    def test_rank_correlation(self):
        self.assertAlmostEqual(measures.spearman([1, 2, 3, 9], [2, 3, 5, 6]), 1.0)
        self.assertAlmostEqual(measures.spearman([1, 2, 3], [3, 2, 1]), -1.0)
        self.assertAlmostEqual(measures.spearman([1, 1, 2], [5, 5, 7]), 1.0)

    def test_motifs(self):
        values = [30 + round(20 * math.sin(0.5 * i)) for i in range(120)]
        texts = [t for v in values for t in (str(v), ",")]
        flat = result([1.0, 0.0] * 120, texts)
        self.assertIn("1.00 times the mean influence", measures.say_motifs(flat))
        like = result([s for i in range(120) for s in (3.0 if abs(values[i] - values[-1]) < 4 and values[i - 1] > values[i] else 1.0, 0.0)], texts)
        self.assertRegex(measures.say_motifs(like), r" (1\.[3-9]|2)\S* times the mean influence")


class Command(unittest.TestCase):
    def make(self, *options):
        return subprocess.run([sys.executable, FIGURES / "make", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=600,
                              env=environment(), check=False)

    def test_an_unknown_figure(self):
        with tempfile.TemporaryDirectory() as folder:
            done = self.make(folder, "--program", JSCOPES, "--only", "6")
            self.assertEqual(done.returncode, 1)
            self.assertIn("no figure 6", done.stderr)

    def test_cheap_figures(self):
        found = subprocess.run([JSCOPES, "fetch", "--path", "smollm2-135m"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                               env=environment(), check=False)
        if found.returncode != 0 or not Path(found.stdout.strip()).exists():
            self.skipTest("the default model is not there: jscopes fetch smollm2-135m")
        with tempfile.TemporaryDirectory() as folder:
            done = self.make(folder, "--program", JSCOPES, "--only", "1,2,4", "--html")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(sorted(n for n in os.listdir(folder) if n.startswith("figure")),
                             sorted(f"figure-0{n}.{form}" for n in (1, 2, 4) for form in ("svg", "html")))
            for n in (1, 2, 4):
                root = ElementTree.parse(os.path.join(folder, f"figure-0{n}.svg")).getroot()
                self.assertTrue(root.find("{http://www.w3.org/2000/svg}title").text.startswith(f"Figure {n}: "))
            with open(os.path.join(folder, "numbers.txt"), encoding="utf-8") as f:
                lines = f.read().splitlines()
            self.assertEqual([line.split(":")[0] for line in lines], ["figure 1"] * 2 + ["figure 2"] * 4 + ["figure 4"])
            self.assertEqual(done.stdout.splitlines()[:-1], lines)


if __name__ == "__main__":
    main()
