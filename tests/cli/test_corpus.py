#!/usr/bin/env python3
"""corpus: JSON lines into a folder of chunks; killed, interrupted, without room on the disk, and gone on with; several workers; bad lines."""
import gzip
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

from program import JSCOPES, TINY, Case, environment, main, strict_json

ZSTD = shutil.which("zstd")
TIMES = re.compile(rb'"seconds": \{[^}]*\}|"plan": "[^"]*"|"bytes_peak": \d+|"chunk": \d+')


def lines_of(n, seed=7):
    """n lines of ids, some of them with targets, blank or broken."""
    numbers = random.Random(seed)
    for i in range(n):
        if i % 23 == 5:
            yield ""
        elif i % 17 == 3:
            yield '{"ids": [1, 2'
        else:
            line = {"id": f"r{i}", "ids": [numbers.randrange(200) for _ in range(numbers.randrange(3, 12))]}
            if i % 5 == 0:
                line["target"] = numbers.randrange(200)
            yield json.dumps(line)


def records(folder, pattern="part-*.jsonl.zst"):
    """All finished records in order, as lines of bytes without what may differ between runs."""
    out = b""
    for path in sorted(Path(folder).glob(pattern)):
        out += subprocess.run([ZSTD, "-dcq", str(path)], stdout=subprocess.PIPE, check=True).stdout
    return TIMES.sub(b'"varies": 0', out)


@unittest.skipIf(ZSTD is None, "zstd is not installed")
class Corpus(Case):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.addCleanup(self.temporary.cleanup)
        self.folder = Path(self.temporary.name)
        self.input = self.write("in.jsonl", "\n".join(lines_of(200)).encode())
        self.out = str(self.folder / "out")

    def write(self, name, content):
        path = self.folder / name
        path.write_bytes(content)
        return str(path)

    def corpus(self, *more, inputs=None, out=None):
        return ["corpus", TINY, *(inputs or [self.input]), "-o", out or self.out, "--chunk", "37", *more]

    def whole(self):
        """What an uninterrupted run writes."""
        out = str(self.folder / "whole")
        self.good(*self.corpus(out=out))
        return records(out)

    def test_records_are_results_in_the_order_of_the_lines(self):
        whole = self.whole().splitlines()
        given = [(n, line) for n, line in enumerate(lines_of(200), 1) if line]
        self.assertEqual(len(whole), len(given))
        for bytes_, (number, line) in zip(whole, given):
            record = json.loads(bytes_)
            self.assertEqual((record["file"], record["line"]), (self.input, number))
            if line.endswith("2"):
                self.assertEqual((record["status"], record["error"]["code"], record["id"]), ("error", "bad_json", f"{self.input}:{number}"))
            else:
                self.assertEqual((record["status"], record["id"]), ("ok", json.loads(line)["id"]))
                self.assertEqual([token["id"] for token in record["tokens"]], json.loads(line)["ids"])

    def test_scores_are_those_of_attribute(self):
        self.good(*self.corpus())
        line = json.loads(next(lines_of(1)))
        alone = self.json("attribute", TINY, "--ids", ",".join(map(str, line["ids"])), "--target-id", str(line["target"]))
        saved = subprocess.run([ZSTD, "-dcq", f"{self.out}/part-0000-000000.jsonl.zst"], stdout=subprocess.PIPE, check=True).stdout
        shown = strict_json(self.good("render", "-", "--id", "r0", "--format", "json", stdin=saved))
        self.assertEqual(shown["tokens"], alone["tokens"])

    def test_killed_at_any_moment_it_ends_with_the_same_records(self):
        whole = self.whole()
        numbers, kills = random.Random(1), 0
        for _ in range(60):
            run = subprocess.Popen([JSCOPES, *self.corpus("--flush", "0")], stderr=subprocess.PIPE, env=environment())
            try:
                _, err = run.communicate(timeout=0.02 + 0.2 * numbers.random())
                self.assertEqual(run.returncode, 0, err)
                break
            except subprocess.TimeoutExpired:
                run.kill()
                run.communicate()
                kills += 1
        self.good(*self.corpus())
        self.assertGreater(kills, 0)
        self.assertEqual(records(self.out), whole)
        self.assertEqual([p.name for p in Path(self.out).iterdir() if "partial" in p.name or "lock" in p.name], [])

    def test_a_torn_end_is_dropped(self):
        whole = self.whole()
        self.good(*self.corpus())
        first = Path(self.out, "part-0000-000001.jsonl.zst")
        content = first.read_bytes()
        for keep in (0, 3, len(content) // 2, len(content) - 60, len(content) - 1, len(content)):
            first.unlink(missing_ok=True)
            Path(self.out, first.name + ".partial").write_bytes(content[:keep])
            self.good(*self.corpus())
            self.assertEqual(records(self.out), whole, keep)

    def test_interrupted_it_says_how_to_go_on(self):
        whole = self.whole()
        slow = self.corpus("--flush", "1000", "--scope", "path", "--steps", "2000")
        run = subprocess.Popen([JSCOPES, *slow], stderr=subprocess.PIPE, env=environment())
        while not list(Path(self.out).glob("*.partial")):
            time.sleep(0.01)
        time.sleep(0.1)
        run.send_signal(signal.SIGTERM)
        _, err = run.communicate(timeout=60)
        self.assertEqual((run.returncode, err.decode()), (1, "jscopes: interrupted: run the same command to go on\n"))
        self.assertGreater(len(records(self.out, "*.partial").splitlines()), 0)
        self.assertEqual(list(Path(self.out).glob("*.lock")), [])
        self.assertNotEqual(whole, b"")

    def test_two_workers_write_what_one_writes(self):
        whole = self.whole()
        self.good(*self.corpus("--shard", "1/2"))
        self.assertNotEqual(records(self.out), whole)
        self.good(*self.corpus("--shard", "0/2"))
        self.assertEqual(records(self.out), whole)
        self.good(*self.corpus("--shard", "2/3"))  # another number of workers finds all done
        self.assertEqual(records(self.out), whole)

    def test_shards_of_the_environment(self):
        array = {"SLURM_ARRAY_TASK_ID": "4", "SLURM_ARRAY_TASK_MIN": "3", "SLURM_ARRAY_TASK_MAX": "4", "SLURM_ARRAY_TASK_COUNT": "2"}
        for variables, says in (({"RANK": "1", "WORLD_SIZE": "3"}, "shard 1/3 (RANK=1 WORLD_SIZE=3)"), (array, "shard 1/2 ("),
                                ({**array, "SLURM_PROCID": "2", "SLURM_NTASKS": "4"}, "shard 6/8 ("), ({}, "shard 0/1 (no launcher")):
            out = str(self.folder / f"by-{len(says)}")
            done = subprocess.run([JSCOPES, *self.corpus("--shard", "auto", "--limit", "1", out=out)], stderr=subprocess.PIPE, check=False,
                                  env=environment(**variables))
            self.assertIn(says, done.stderr.decode())
            self.assertEqual(done.returncode, 0)
        self.bad(2, *self.corpus("--shard", "2/2"), says="0 <= I < N")
        holes = environment(**{**array, "SLURM_ARRAY_TASK_MAX": "9"})
        self.bad(2, *self.corpus("--shard", "auto"), env=holes, says=["holes", "--shard I/N"])

    def test_a_second_process_is_refused(self):
        slow = self.corpus("--scope", "path", "--steps", "20000")
        run = subprocess.Popen([JSCOPES, *slow], stderr=subprocess.PIPE, env=environment())
        try:
            while not list(Path(self.out).glob("*.lock")):
                time.sleep(0.01)
            self.bad(1, *slow, says="another process writes this chunk")
        finally:
            run.kill()
            run.communicate()

    def test_another_model_other_options_or_inputs_are_refused(self):
        self.good(*self.corpus())
        for more, says in ((["--scope", "fisher"], "request.scope"), (["--limit", "3"], "lines.limit"), (["--seed", "4"], "request.seed")):
            self.bad(1, *self.corpus(*more), says=[says, "another folder"])
        copy = shutil.copytree(TINY, self.folder / "copy")
        weights = bytearray((copy / "model.safetensors").read_bytes())
        self.good("corpus", copy, *self.corpus()[2:])  # the same model elsewhere
        weights[-2] ^= 1
        (copy / "model.safetensors").write_bytes(weights)
        self.bad(1, "corpus", copy, *self.corpus()[2:], says="model.fingerprint")
        Path(self.input).write_bytes(Path(self.input).read_bytes().replace(b"r1", b"r2"))
        self.bad(1, *self.corpus(), says="inputs[0]")

    def test_inputs_are_added(self):
        more = self.write("a-before.jsonl", b'{"ids": [5]}\n')
        both = str(self.folder / "both")
        self.good(*self.corpus(inputs=[self.input, more], out=both))
        self.good(*self.corpus())
        status = self.corpus(inputs=[more, self.input])
        self.bad(1, *status, says=["inputs", "another folder"])
        self.assertIn("1 record, 0 failed; 191 were", subprocess.run([JSCOPES, *status, "--new-only"], stderr=subprocess.PIPE, check=True,
                                                                       env=environment()).stderr.decode())
        self.assertEqual(records(self.out), records(both))
        self.assertIn(b"all there: 192 records", self.good("corpus", "check", self.out))
        self.bad(1, *self.corpus("--new-only", inputs=[more]), says="inputs")
        self.bad(1, *self.corpus("--new-only", "--seed", "3", inputs=[more, self.input, self.write("c", b"")]), says="request.seed")

    def test_packed_inputs_and_standard_input(self):
        def unnamed(line):
            record = json.loads(line)
            name = record.pop("file")
            return {**record, "id": record["id"].replace(name, "")}
        whole = list(map(unnamed, self.whole().splitlines()))
        self.assertGreater(len(whole), 150)
        content = Path(self.input).read_bytes()
        half = content.index(b"\n", len(content) // 2)
        gz = self.write("in.gz", gzip.compress(content[:half]) + gzip.compress(content[half:]))
        frames = b"".join(subprocess.run([ZSTD, "-cq"], input=part, stdout=subprocess.PIPE, check=True).stdout
                          for part in (content[:half], content[half:]))
        for path in (gz, self.write("in.zst", frames), "-"):
            out = str(self.folder / ("from-" + Path(path).name))
            self.good(*self.corpus(inputs=[path], out=out), stdin=content)
            self.assertEqual(list(map(unnamed, records(out).splitlines())), whole, path)
        cut = self.write("cut.gz", gzip.compress(content)[:-20])
        self.bad(1, *self.corpus(inputs=[cut], out=str(self.folder / "cut")), says=["cut.gz", "cut short"])

    def test_without_room_on_the_disk(self):
        whole = self.whole()
        self.bad(1, *self.corpus(out="/dev/null"), says="/dev/null")
        for limit in (3000, 12000):
            out = str(self.folder / f"small{limit}")
            done = subprocess.run([JSCOPES, *self.corpus("--flush", "0", out=out)], stderr=subprocess.PIPE, env=environment(), check=False,
                                  preexec_fn=lambda: (signal.signal(signal.SIGXFSZ, signal.SIG_IGN),
                                                      resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))))
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn("writing failed", done.stderr.decode())
            self.good(*self.corpus(out=out))
            self.assertEqual(records(out), whole)

    @unittest.skipIf(os.geteuid() != 0, "only root can mount a small file system")
    def test_a_small_file_system_that_fills_up(self):
        whole = self.whole()
        full = 0
        for kib in (16, 24, 32, 40, 48, 64):
            place = self.folder / f"disk{kib}"
            place.mkdir()
            if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kib}k", "jscopes-test", str(place)], stderr=subprocess.DEVNULL, check=False).returncode:
                self.skipTest("mount is not allowed here")
            try:
                out = str(place / "out")
                done = subprocess.run([JSCOPES, *self.corpus("--flush", "0", out=out)], stderr=subprocess.PIPE, env=environment(), check=False)
                self.assertEqual((done.returncode, done.stderr.count(b"\n")), (1, 1), done.stderr)
                self.assertIn("No space left on device", done.stderr.decode())
                full += Path(out).exists()
                subprocess.run(["mount", "-o", "remount,size=8m", str(place)], check=True)
                self.good(*self.corpus(out=out))
                self.assertEqual(records(out), whole, kib)
                self.good("corpus", "check", out)
            finally:
                subprocess.run(["umount", str(place)], check=True)
        self.assertGreater(full, 0)

    def test_errors_are_counted(self):
        status_ok = self.corpus("--fail-on-error")
        self.bad(1, *status_ok, says="191 records, 12 failed")
        few = self.corpus("--max-errors", "2", out=str(self.folder / "few"))
        self.bad(1, *few, says="more than the 2 allowed")

    def test_kinds_of_errors(self):
        lines = [b'{"text": 3}', b'{"ids": []}', b'{"ids": [1], "target": "no token"}', b'{"ids": [100000]}', b'{"ids": [1, 2, 3, 4]}', b"\xff", b"7",
                 b'{"ids": [1], "position": 5}', b'{"id": [], "ids": [1]}', b'{"ids": [1], "ids": [2]}']
        path = self.write("bad.jsonl", b"\xef\xbb\xbf" + b"\r\n".join(lines) + b"\r\n\r\n")
        self.good(*self.corpus("--max-tokens", "3", inputs=[path]))
        codes = [json.loads(line)["error"]["code"] for line in records(self.out).splitlines()]
        self.assertEqual(codes, ["no_text", "no_text", "bad_target", "no_text", "too_long", "bad_utf8", "bad_json", "bad_target", "bad_json",
                                 "bad_json"])

    def of_folder(self, what):
        return strict_json(self.good("corpus", what, self.out, "--format", "json"))

    def test_what_is_in_a_folder(self):
        self.good(*self.corpus("--shard", "0/2"))
        self.bad(1, "corpus", "check", str(self.folder), says="manifest.json")
        state = self.of_folder("status")
        self.assertEqual((state["complete"], state["chunks"], state["partial"], state["records_all"]), (False, 3, 0, 191))
        self.assertIn(b"stopped: ", self.good("corpus", "status", self.out))
        self.bad(1, "corpus", "merge", self.out, "-o", str(self.folder / "m"), says="is missing")
        self.assertFalse((self.folder / "m").exists())
        self.good(*self.corpus("--shard", "1/2"))
        state = self.of_folder("status")
        self.assertEqual((state["complete"], state["chunks"], state["records"], state["errors"], state["workers"]), (True, 6, 191, 12, 2))
        self.assertEqual(self.good("corpus", "check", self.out), b"all there: 191 records, 12 of them errors\n")
        merged = str(self.folder / "m.jsonl")
        self.good("corpus", "merge", self.out, "-o", merged)
        self.assertEqual(TIMES.sub(b'"varies": 0', Path(merged).read_bytes()), records(self.out))
        self.assertEqual(len(self.json("render", merged, "--id", "r0")["tokens"]), len(json.loads(next(lines_of(1)))["ids"]))
        self.bad(1, "corpus", "merge", self.out, "-o", "/dev/full", says="No space left")
        self.good("corpus", "merge", self.out, "-o", merged + ".zst")
        self.assertEqual(subprocess.run([ZSTD, "-dcq", merged + ".zst"], stdout=subprocess.PIPE, check=True).stdout, Path(merged).read_bytes())

    def test_a_summary_adds_up(self):
        self.good(*self.corpus())
        summary = self.of_folder("summary")
        lines = [json.loads(line) for line in records(self.out).splitlines()]
        good = [line for line in lines if line["status"] == "ok"]
        self.assertEqual((summary["records"], summary["errors"], summary["tokens"]), (191, 12, sum(line["n_tokens"] for line in good)))
        self.assertEqual(summary["errors_by_code"]["bad_json"], 12)
        self.assertAlmostEqual(sum(summary["position_share"]), 1.0, 6)
        first = sum(line["tokens"][0]["score"] / sum(token["score"] for token in line["tokens"]) for line in good) / len(good)
        self.assertAlmostEqual(summary["first_share"], first, 6)
        share = {}
        for line in good:
            for token in line["tokens"]:
                share[token["id"]] = share.get(token["id"], 0) + token["score"] / sum(other["score"] for other in line["tokens"])
        best = max(share, key=share.get)
        self.assertEqual(summary["top"][0]["id"], best)
        self.assertAlmostEqual(summary["top"][0]["share"], share[best], 6)
        self.assertIn(b"bad_json", self.good("corpus", "summary", self.out))

    def test_check_finds_what_is_wrong(self):
        self.good(*self.corpus())
        first, second = (Path(self.out, f"part-0000-00000{k}.jsonl.zst") for k in (1, 2))
        content = first.read_bytes()
        for wrong, says in ((content[:-1], b"damaged"), (second.read_bytes(), b"a record of line"),
                            (content[:100] + bytes([content[100] ^ 1]) + content[101:], b"damaged")):
            first.write_bytes(wrong)
            status = subprocess.run([JSCOPES, "corpus", "check", self.out], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
            self.assertEqual(status.returncode, 1)
            self.assertIn(says, status.stdout)
            self.assertIn(b"problem", status.stderr)
        first.unlink()
        elsewhere = str(self.folder / "elsewhere")
        self.good(*self.corpus("--seed", "1", out=elsewhere))
        shutil.copy(Path(elsewhere, first.name), first)
        status = subprocess.run([JSCOPES, "corpus", "check", self.out], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        self.assertIn(b"not computed from this folder's manifest", status.stdout)

    def test_usage(self):
        self.bad(2, "corpus", "status", says="one folder")
        self.bad(2, "corpus", "merge", self.out, says="-o FILE")
        self.bad(2, *self.corpus("--format", "json"), says="--format")
        self.bad(2, "corpus", TINY, says="which inputs")
        self.bad(2, "corpus", TINY, self.input, says="-o DIR")
        self.bad(2, *self.corpus("--overlong", "up"), says="error, left, right")
        self.bad(1, *self.corpus(inputs=["/nowhere"]), says="/nowhere")


if __name__ == "__main__":
    main()
