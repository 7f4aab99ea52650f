#!/usr/bin/env python3
"""SVG figures of the program: strict XML, boxes that neither overlap nor leave the picture, and other programs that can read them."""
import math
import os
import shutil
import subprocess
import tempfile
import unicodedata
import unittest
import xml.etree.ElementTree as ElementTree

from program import TINY, Case, main

SVG = "{http://www.w3.org/2000/svg}"
IDS = ",".join(str((37 * i + i * i) % 250) for i in range(90))


def cells(text):
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


class Figure(Case):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def figure(self, *options, ids=IDS):
        """The bytes and the tree of a figure of one prompt."""
        data = self.good("attribute", TINY, "--ids", ids, "--format", "svg", *options)
        return data, ElementTree.fromstring(data)

    def saved(self, name, *options):
        path = os.path.join(self.folder.name, name)
        self.good("attribute", TINY, "--ids", IDS, "--format", "json", "-o", path, *options)
        return path

    def check_places(self, root):
        """Boxes lie beside each other; they and every text lie in the picture."""
        left, top, width, height = map(float, root.get("viewBox").split())
        boxes = [[float(r.get(name)) for name in ("x", "y", "width", "height")] for r in root.iter(SVG + "rect") if r.get("rx")]
        for x, y, w, h in boxes:
            self.assertTrue(left <= x and x + w <= left + width and top <= y and y + h <= top + height, (x, y, w, h))
        boxes.sort(key=lambda b: (b[1], b[0]))
        for a, b in zip(boxes, boxes[1:]):
            apart = a[0] + a[2] <= b[0] + 0.011 if a[1] == b[1] else a[1] + a[3] <= b[1]  # linked boxes touch, to the last digit written
            self.assertTrue(apart, (a, b))
        for text in root.iter(SVG + "text"):
            x, size, wide = float(text.get("x")), float(text.get("font-size")), cells(text.text or "") * 0.602 * float(text.get("font-size"))
            if text.get("transform"):
                continue
            start = x - {"end": wide, "middle": wide / 2}.get(text.get("text-anchor"), 0.0)
            self.assertTrue(left <= start and start + wide <= left + width + 0.6 * size, (text.text, start, wide))
            y = float(text.get("y"))
            self.assertTrue(top <= y <= top + height, text.text)
            for box in boxes:  # a text lies in one box or clear of it
                if start < box[0] + box[2] - 0.02 and box[0] + 0.02 < start + wide and box[1] < y - 0.3 * size < box[1] + box[3]:
                    self.assertTrue(box[0] <= start and start + wide <= box[0] + box[2], (text.text, box))
        return boxes

    def test_every_scope_is_strict_xml_and_in_its_place(self):
        for scope in ("semantic", "temperature", "fisher", "path", "input-x-gradient"):
            for inches in ("3.25", "5", "6.75"):
                with self.subTest(scope=scope, inches=inches):
                    _, root = self.figure("--scope", scope, "--inches", inches, "--layers")
                    self.assertEqual(root.get("width"), inches + "in")
                    self.assertGreaterEqual(len(self.check_places(root)), IDS.count(",") + 2)

    def test_every_token_of_the_model_is_inert(self):
        ids = ",".join(map(str, range(300)))
        _, root = self.figure(ids=ids)
        self.check_places(root)
        self.assertEqual({e.tag[len(SVG):] for e in root.iter()}, {"svg", "title", "defs", "linearGradient", "stop", "g", "rect", "text"})
        for element in root.iter():
            for name in element.attrib:
                self.assertFalse(name.startswith("on") or "href" in name, name)

    def test_the_same_question_gives_the_same_bytes(self):
        self.assertEqual(self.figure("--scope", "fisher")[0], self.figure("--scope", "fisher")[0])

    def test_matrix(self):
        _, root = self.figure("--matrix")
        self.check_places(root)
        rows = [g for g in root.iter(SVG + "g") if g.find(SVG + "title") is not None and "target after token" in g.find(SVG + "title").text]
        self.assertEqual(len(rows), IDS.count(",") + 1)

    def test_a_title_and_bars(self):
        _, root = self.figure("--title", 'a <b> & "c"', "--top-k", "3")
        self.assertEqual(root.find(SVG + "title").text, 'a <b> & "c"')
        self.assertEqual(sum(": probability" in (t.text or "") for t in root.iter(SVG + "title")), 3)

    def test_several_results_and_their_difference(self):
        a, b = self.saved("a.json"), self.saved("b.json", "--scope", "temperature")
        for options, word in (((), "Spearman"), (("--difference",), "(a) − (b), in shares of the sum")):
            with self.subTest(options=options):
                root = ElementTree.fromstring(self.good("render", a, b, "--format", "svg", *options))
                self.check_places(root)
                self.assertTrue(any(word in (t.text or "") for t in root.iter(SVG + "text")))

    def test_a_series_needs_numbers(self):
        self.bad(1, "attribute", TINY, "--ids", "1,2,3", "--format", "svg", "--series", says="numbers")

    def test_a_series(self):
        root = ElementTree.fromstring(self.good("attribute", TINY, "--text", "29,30,31,33,36,40,", "--format", "svg", "--series"))
        self.check_places(root)
        numbers = [r for r in root.iter(SVG + "rect") if (r.findtext(SVG + "title") or "").startswith("number ")]
        self.assertEqual([t.findtext(SVG + "title").split(",")[0] for t in numbers], [f"number {i}: {n}" for i, n in enumerate((29, 30, 31, 33, 36, 40))])
        left, _, width, _ = map(float, root.get("viewBox").split())
        line = root.find(SVG + "polyline")
        self.assertEqual(len(line.get("points").split()), 6)
        for point in line.get("points").split():
            self.assertTrue(left < float(point.split(",")[0]) < left + width)

    def test_other_programs_read_it(self):
        data, root = self.figure("--layers", "--scope", "fisher")
        path = os.path.join(self.folder.name, "figure.svg")
        with open(path, "wb") as f:
            f.write(data)
        tools = {"xmllint": ["--noout", "--nonet", path], "rsvg-convert": ["-o", path + ".png", path]}
        absent = [tool for tool in tools if shutil.which(tool) is None]
        for tool in set(tools) - set(absent):
            done = subprocess.run([tool, *tools[tool]], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
            self.assertEqual((done.returncode, done.stdout), (0, ""), tool)
        if "rsvg-convert" not in absent:
            with open(path + ".png", "rb") as f:
                head = f.read(24)
            self.assertEqual(head[:8], b"\x89PNG\r\n\x1a\n")
            wide = int.from_bytes(head[16:20], "big")
            self.assertTrue(math.isclose(wide, 6.75 * 96, abs_tol=1.0) or math.isclose(wide, 6.75 * 90, abs_tol=1.0), wide)
        if absent:
            self.skipTest(f"{' and '.join(absent)} not installed (tools/install_packages.sh check)")


if __name__ == "__main__":
    main()
