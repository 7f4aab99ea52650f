#!/usr/bin/env python3
"""render: saved results in every format, several side by side, one line of many; and the options that attribute shares with it."""
import json
import os
import re
import subprocess
import tempfile
from pathlib import Path

from program import JSCOPES, TINY, Case, environment, main, run, strict_json

IDS = "57,3,120,9,0,88,213"
FORMATS = re.search(r"there are ([a-z, ]+)", run("attribute", TINY, "--ids", "1", "--format", "?")[2]).group(1).split(", ")


class Render(Case):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.saved = {}
        for name, options in {"semantic": [], "fisher": ["--scope", "fisher"], "layers": ["--layers", "--matrix"],
                              "targets": ["--target-id", "4,9"], "contrast": ["--contrast", "4,9"],
                              "path": ["--scope", "path", "--steps", "3"], "other": ["--position", "3"]}.items():
            status, out, err = run("attribute", TINY, "--ids", IDS, "--format", "json", *options)
            assert status == 0, err
            cls.saved[name] = cls.file(f"{name}.json", out)
        cls.elsewhere = cls.file("elsewhere.json", run("attribute", TINY, "--ids", "1,2", "--format", "json")[1])

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def file(cls, name, content):
        path = Path(cls.folder.name) / name
        path.write_bytes(content)
        return str(path)

    def test_json_is_the_same_bytes_again(self):
        for name, path in self.saved.items():
            self.assertEqual(self.good("render", path, "--format", "json"), Path(path).read_bytes(), name)
        self.assertEqual(self.good("render", "-", "--format", "json", stdin=Path(path).read_bytes()), Path(path).read_bytes())

    def test_every_format_is_what_attribute_would_have_written(self):
        for form in FORMATS:
            for name, options in (("semantic", []), ("fisher", ["--scope", "fisher"])):
                direct = self.good("attribute", TINY, "--ids", IDS, "--format", form, *options)
                saved = self.good("render", self.saved[name], "--format", form)
                timed = re.compile(rb"[0-9.]+(e-[0-9]+)?")  # the seconds of two runs differ
                self.assertEqual(timed.sub(b"#", saved)[:2000], timed.sub(b"#", direct)[:2000], (form, name))

    def test_the_help_names_every_format(self):
        for command in ("attribute", "render"):
            text = self.good(command, "--help").decode()
            said = re.search(r"--format=FORMAT((?:.|\n)*?)\n *-o, ", text).group(1)
            for form in FORMATS:
                self.assertIn(form, said)
            for option in ("--title", "--inches", "--series", "--top-k", "--color"):
                self.assertIn(option, text)

    def test_the_ending_of_the_output_is_its_format(self):
        for form in FORMATS:
            path = os.path.join(self.folder.name, f"ending.{form}")
            self.assertEqual(self.good("render", self.saved["semantic"], "-o", path), b"")
            self.assertEqual(Path(path).read_bytes(), self.good("render", self.saved["semantic"], "--format", form, "--color", "never"))
            self.good("render", self.saved["semantic"], "-o", path, "--format", "json")
            strict_json(Path(path).read_bytes())
        path = os.path.join(self.folder.name, "x.json")
        self.good("attribute", TINY, "--ids", IDS, "-o", path)
        strict_json(Path(path).read_bytes())

    def test_several_results_are_a_list_that_can_be_read_again(self):
        out = self.good("render", self.saved["semantic"], self.saved["fisher"], self.saved["targets"], "--format", "json")
        self.assertEqual([result["scope"] for result in strict_json(out)], ["semantic", "fisher", "semantic"])
        path = self.file("list.json", out)
        self.assertEqual(self.good("render", path, "--format", "json"), out)
        text = self.good("render", path).decode()
        for scope in ("scope semantic", "scope fisher"):
            self.assertIn(scope, text)
        for form in FORMATS:
            self.good("render", path, "--format", form)
            self.good("render", self.saved["semantic"], self.saved["fisher"], "--label", "<one>", "--label", "two", "--format", form)

    def lines(self):
        """Three records of one corpus output, as one line each."""
        records = []
        for i, name in enumerate(("semantic", "fisher", "targets")):
            result = json.loads(Path(self.saved[name]).read_bytes())
            records.append({"id": ["a", 17, "caf\u00e9 \"x\""][i], "status": "ok", "file": "f", "line": i, **result})
        return b"".join(json.dumps(record).encode() + b"\n" for record in records)

    def test_one_line_of_a_corpus(self):
        path = self.file("corpus.jsonl", self.lines() + b'{"id": "torn", "tok')
        for id_, name in (("a", "semantic"), ("17", "fisher"), ("caf\u00e9 \"x\"", "targets")):
            want = Path(self.saved[name]).read_bytes()
            self.assertEqual(self.good("render", path, "--id", id_, "--format", "json"), want)
            self.assertEqual(self.good("render", "-", "--id", id_, "--format", "json", stdin=self.lines()), want)
        both = self.good("render", path, path, "--id", "a", "--label", "1", "--label", "2", "--format", "json")
        self.assertEqual(len(strict_json(both)), 2)
        self.bad(1, "render", path, "--id", "b", says=["4 lines", "'b'"])
        self.bad(1, "render", path, "--id", "torn", says=["line 4", "damaged"])
        failed = self.file("failed.jsonl", b'{"id": "x", "status": "error", "error": {"code": "too_long", "message": "9 tokens"}}\n')
        self.bad(1, "render", failed, "--id", "x", says=["line 1", "too_long", "9 tokens"])

    def peak(self, megabytes):
        """The most memory, in MB, that it takes to find the line after so many."""
        line = json.dumps({"id": "no", "status": "ok", "text": "x" * 1_000_000}).encode() + b"\n"
        with subprocess.Popen([JSCOPES, "render", "-", "--id", "a", "--format", "json"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              env=environment()) as child:
            for _ in range(megabytes):
                child.stdin.write(line)
            child.stdin.write(self.lines().splitlines()[0] + b"\n")
            child.stdin.close()
            out = child.stdout.read()
            _, status, used = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
        self.assertEqual(child.returncode, 0)
        self.assertEqual(out, Path(self.saved["semantic"]).read_bytes())
        return used.ru_maxrss / 1024

    def test_a_corpus_is_not_held_in_memory(self):
        self.assertLess(self.peak(200), self.peak(2) + 50)

    def test_a_difference(self):
        for form in FORMATS:
            if form == "json":
                self.bad(2, "render", self.saved["semantic"], self.saved["contrast"], "--difference", "--format", form, says="json")
            else:
                self.good("render", self.saved["semantic"], self.saved["contrast"], "--difference", "--format", form)
        self.bad(2, "render", self.saved["semantic"], "--difference", says="two results, there are 1")
        self.bad(1, "render", self.saved["semantic"], self.elsewhere, "--difference", says="same tokens")
        self.bad(1, "render", self.saved["semantic"], self.saved["targets"], "--difference", says="rows of scores")

    def test_case_44_a_full_disk_and_a_closed_pipe(self):
        for form in FORMATS:
            self.bad(1, "render", self.saved["layers"], "--format", form, "-o", "/dev/full", says="/dev/full")
            with open("/dev/full", "wb") as full:
                status, _, err = run("render", self.saved["layers"], "--format", form, stdout=full)
            self.assertEqual(status, 1)
            self.assertIn("No space left", err)
        before = sorted(os.listdir(self.folder.name))
        broken = self.file("broken.json", Path(self.saved["layers"]).read_bytes()[:-50])
        self.bad(1, "render", broken, "-o", os.path.join(self.folder.name, "never.txt"), says="broken.json")
        os.unlink(broken)
        self.assertEqual(sorted(os.listdir(self.folder.name)), before)

    def test_an_output_over_its_own_input(self):
        path = self.file("own.json", Path(self.saved["layers"]).read_bytes())
        self.good("render", path, "-o", path)
        self.assertEqual(Path(path).read_bytes(), Path(self.saved["layers"]).read_bytes())

    def test_bad_usage(self):
        semantic = self.saved["semantic"]
        self.bad(2, "render", says="which file")
        self.bad(2, "rendr", semantic, says="did you mean render?")
        self.bad(2, "render", semantic, "--lable", "a", says="did you mean --label?")
        self.bad(2, "render", semantic, "--label", "a", "--label", "b", says=["2 names", "1 results"])
        self.bad(2, "render", semantic, "--format", "jsn", says=["there are", "did you mean json?"])
        self.bad(2, "render", semantic, "--inches", "9", says=["--inches", "3.25", "6.75"])
        self.bad(2, "render", semantic, "--inches", "nan", says="--inches")
        self.bad(2, "render", semantic, "--id", says="needs a value")
        self.bad(2, "render", semantic, "--id", "a", "--id", "b", says="twice")
        self.bad(2, "render", "-", "-", says="standard input")
        self.bad(2, "render", semantic, semantic, "--difference", "--series", says=["--difference", "--series"])
        self.bad(2, "attribute", TINY, "--ids", "1", "--label", "a", says="--label")
        self.bad(2, "attribute", TINY, TINY, "--ids", "1", says="one MODEL")

    def test_files_that_are_no_results(self):
        self.bad(1, "render", "/nonexistent.json", says="/nonexistent.json: No such file")
        self.bad(1, "render", "/", says="directory")
        self.bad(1, "render", "/", "--id", "x", says="directory")
        for name, content, says in (("empty", b"", "'{'"), ("text", b"hello", "'{'"), ("other", b'{"a": 1}', "scope"), ("none", b"[]", "'{'"),
                                    ("gz", b"\x1f\x8b\x08\0", "gzip -dc"), ("zst", b"\x28\xb5\x2f\xfd", "zstd -dc"),
                                    ("latin", b'{"scope": "\xff"}', "UTF-8")):
            path = self.file(name, content)
            if content == b"[]":
                says = "no result"
            self.bad(1, "render", path, says=[name, says])
        many = self.file("many.jsonl", self.lines().splitlines()[0] * 257)
        self.bad(1, "render", many, says=["256", "--id"])

    def test_results_of_other_prompts_and_labels_that_are_markup(self):
        for form in FORMATS:
            out = self.good("render", self.saved["semantic"], self.elsewhere, "--label", "</script>\x1b[2J", "--label", "b", "--format", form,
                            "--title", "<b>\x1b[1m&\"'")
            self.assertNotIn(b"\x1b[2J", out)
            self.assertNotIn(b"\x1b[1m&", out)


if __name__ == "__main__":
    main()
