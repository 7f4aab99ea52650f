#!/usr/bin/env python3
"""attribute, plan, info and tokenize on the tiny checkpoints: values, targets, outputs that scripts can trust."""
import json
import os
import struct
import subprocess
import tempfile
import unittest
from pathlib import Path

from program import GOLDEN, JSCOPES, TINY, Case, environment, main, run, strict_json

GGUF = TINY + ".gguf"
IDS = [57, 3, 120, 9, 0, 88, 213]
WANTED = json.loads((GOLDEN / "tiny_llama.json").read_text())


def npy(rows):
    """A .npy file of float64 rows."""
    head = f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({len(rows)}, {len(rows[0])}), }}"
    head += " " * (-(10 + len(head) + 1) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + b"".join(struct.pack(f"<{len(r)}d", *r) for r in rows)


def scores(attribution):
    return [token["score"] for token in attribution["tokens"]]


class Attribute(Case):
    def attribute(self, *options, ids=IDS, model=TINY):
        return self.json("attribute", model, "--ids", ",".join(map(str, ids)), *options)

    def close(self, got, want, relative=1e-4):
        self.assertEqual(len(got), len(want))
        largest = max(map(abs, want))
        for g, w in zip(got, want):
            self.assertLessEqual(abs(g - w), relative * max(abs(w), 1e-3 * largest), (got, want))

    def test_semantic_scores_are_those_of_the_reference(self):
        for prompt in WANTED["prompts"]:
            if "semantic" not in prompt.get("scores", {}):
                continue
            options = ["--precision", "strict", "--position", prompt["position"]]
            if "target" in prompt:
                options += ["--target-id", prompt["target"]]
            got = self.attribute(*options, ids=prompt["ids"])
            want = prompt["scores"]["semantic"]
            self.close(scores(got)[:len(want)], want)

    def test_every_scope_gives_a_report_and_says_what_it_explained(self):
        with tempfile.NamedTemporaryFile(suffix=".npy") as file:
            file.write(npy([[1.0] * 27, [0.5 * i for i in range(27)]]))
            file.flush()
            for scope, more in (("semantic", []), ("temperature", []), ("fisher", []), ("fisher", ["--exact"]), ("fisher", ["--rank", "3"]),
                                ("path", ["--steps", "20", "--path-rule", "graded", "--baseline", "mean"]), ("input-x-gradient", []),
                                ("path", ["--steps", "3", "--baseline", "id:5"]), ("direction", ["--directions", file.name])):
                got = self.attribute("--scope", scope, "--layers", *more)
                self.assertEqual(got["scope"], scope)
                self.assertEqual(got["target"]["position"], len(IDS) - 1)
                self.assertEqual("fisher" in got, scope == "fisher")
                self.assertEqual("path" in got, scope == "path")
                self.assertEqual("ids" in got["target"], scope in ("semantic", "path", "input-x-gradient"))
                self.assertEqual(len(got["tokens"]), len(IDS))
                text = self.good("attribute", TINY, "--ids", ",".join(map(str, IDS)), "--scope", scope, *more).decode()
                self.assertIn(f"scope {scope}", text)
                self.assertIn("explains ", text)

    def test_a_folder_and_its_gguf_twin_agree(self):
        self.close(scores(self.attribute()), scores(self.attribute(model=GGUF)))

    def test_layers_begin_with_the_scores(self):
        got = self.attribute("--layers")
        self.assertEqual(len(got["layers"]), got["model"]["layers"])
        self.close(got["layers"][0], scores(got), 1e-12)

    def test_matrix_ends_with_the_scores_and_is_zero_right_of_the_diagonal(self):
        got = self.attribute("--matrix")
        self.close(got["matrix"][-1], scores(got), 1e-9)
        for p, row in enumerate(got["matrix"]):
            self.assertEqual(len(row), len(IDS))
            self.assertTrue(all(value == 0 for value in row[p + 1:]))
        self.assertEqual(got["matrix_targets"][:-1], IDS[1:])

    def test_directions(self):
        with tempfile.NamedTemporaryFile(suffix=".npy") as file:
            file.write(npy([[1.0] * 27, [2.0] * 27]))
            file.flush()
            got = self.attribute("--scope", "direction", "--directions", file.name)
            for token in got["tokens"]:
                one, two = token["scores"]
                self.assertAlmostEqual(two, 2 * one, delta=1e-5 * two)
        with tempfile.NamedTemporaryFile(suffix=".npy") as file:
            file.write(npy([[1.0] * 5]))
            file.flush()
            self.bad(2, "attribute", TINY, "--ids", "1", "--scope", "direction", "--directions", file.name, says=["5", "27"])
        self.bad(1, "attribute", TINY, "--ids", "1", "--scope", "direction", "--directions", "/nonexistent.npy", says="/nonexistent.npy")

    def test_case_33_a_target_text_that_is_not_one_token(self):
        err = self.bad(1, "attribute", TINY, "--text", "The lens", "--target", "not one token", says=["not one token"])
        self.assertRegex(err, r"\d+ tokens")
        got = self.json("attribute", TINY, "--text", "The lens", "--target", "s")
        self.assertEqual(got["target"]["texts"], ["s"])

    def test_case_34_position_p_explains_the_prediction_after_p(self):
        last, minus = self.attribute("--position", len(IDS) - 1), self.attribute("--position", "-1")
        self.assertEqual(scores(last), scores(minus))
        self.assertEqual(scores(last), scores(self.attribute()))
        early = self.attribute("--position", "-3")
        self.assertEqual(early["target"]["position"], len(IDS) - 3)
        self.assertTrue(all(score == 0 for score in scores(early)[-2:]))
        self.close(scores(early)[:-2], scores(self.attribute(ids=IDS[:-2])), 1e-6)  # as if the prompt ended there
        self.assertEqual(len(self.attribute(ids=[7])["tokens"]), 1)
        for outside in (len(IDS), -len(IDS) - 1):
            self.bad(1, "attribute", TINY, "--ids", ",".join(map(str, IDS)), "--position", outside, says=["position"])

    def test_case_35_any_token_can_be_explained_at_whatever_probability(self):
        got = self.attribute("--target-id", "213,4,303")
        self.assertEqual(got["target"]["ids"], [213, 4, 303])
        self.assertEqual([len(token["scores"]) for token in got["tokens"]], [3] * len(IDS))
        for k, target in enumerate(got["target"]["ids"]):
            alone = self.attribute("--target-id", target)
            self.close([token["scores"][k] for token in got["tokens"]], scores(alone), 1e-6)
            self.assertAlmostEqual(alone["target"]["probabilities"][0], got["target"]["probabilities"][k])
        self.bad(1, "attribute", TINY, "--ids", "1", "--target-id", "304", says=["304"])

    def test_case_36_every_id_keeps_its_raw_score(self):
        ids = [0, 1, 2, 0, 57]
        got = self.attribute(ids=ids)
        self.assertEqual([token["id"] for token in got["tokens"]], ids)
        self.assertTrue(all(score > 0 for score in scores(got)))

    def test_case_38_an_empty_prompt(self):
        self.bad(1, "attribute", TINY, "--text", "", says="empty")
        self.bad(1, "attribute", TINY, "--text-file", "-", says="empty")
        self.assertEqual(len(self.json("attribute", TINY, "--text", "", "--front-pad", "1")["tokens"]), 1)

    def test_an_id_outside_the_rows(self):
        for ids in ("304", "3,2000000000"):
            self.bad(1, "attribute", TINY, "--ids", ids, says=ids.split(",")[-1])

    def test_contrast_by_ids_and_by_texts(self):
        by_id = self.attribute("--contrast", "4,9")
        self.assertEqual(by_id["target"]["objective"], "contrast")
        self.assertEqual((by_id["target"]["ids"], by_id["target"]["contrast"]["ids"]), ([4], [9]))
        text = by_id["target"]["texts"][0], by_id["target"]["contrast"]["texts"][0]
        if not any(part.isdigit() or "," in part for part in text):
            self.assertEqual(scores(by_id), scores(self.attribute("--contrast", ",".join(text))))

    def test_log_probability_explains_less_than_the_logit_of_a_sure_token(self):
        got = self.attribute("--log-probability")
        self.assertEqual(got["target"]["objective"], "log-probability")
        self.assertNotEqual(scores(got), scores(self.attribute()))

    def test_text_from_a_file_and_from_standard_input(self):
        text = "The lens: na\u00efve\n".encode()
        with tempfile.NamedTemporaryFile() as file:
            file.write(text)
            file.flush()
            from_file = self.json("attribute", TINY, "--text-file", file.name)
        from_stdin = self.json("attribute", TINY, "--text-file", "-", stdin=text)
        given = self.json("attribute", TINY, "--text", text.decode())
        self.assertEqual(scores(from_file), scores(given))
        self.assertEqual(scores(from_stdin), scores(given))
        self.assertEqual(b"".join(bytes.fromhex(t["bytes"]) if "bytes" in t else t["text"].encode() for t in given["tokens"]), text)
        self.bad(1, "attribute", TINY, "--text-file", "/nonexistent", says="/nonexistent")
        self.bad(1, "attribute", TINY, "--text-file", "/", says="/")
        self.json("attribute", TINY, "--text-file", "-", stdin=b"a\0b")

    def test_a_text_that_is_not_utf8_names_the_byte(self):
        self.bad(1, "attribute", TINY, "--text-file", "-", stdin=b"abc\xffdef", says="3")

    def test_case_31_the_same_command_gives_the_same_scores(self):
        for scope in ("semantic", "fisher"):
            hashes = set()
            for _ in range(2):
                status, _, err = run("attribute", TINY, "--ids", "1,2,3", "--scope", scope, "--verbose")
                self.assertEqual(status, 0)
                hashes.update(line for line in err.splitlines() if "hash of the scores" in line)
            self.assertEqual(len(hashes), 1, hashes)

    def test_case_40_a_plan_that_does_not_fit_names_need_and_limit(self):
        err = self.bad(1, "attribute", TINY, "--ids", ",".join(map(str, IDS)), "--memory", "1K")
        self.assertRegex(err, r"\d")
        self.attribute("--memory", "64M")

    def test_case_42_half_characters(self):
        got = self.json("attribute", TINY, "--text", "\U0001f600 \u4f60")
        halves = [token for token in got["tokens"] if "bytes" in token]
        self.assertTrue(halves)
        self.assertTrue(any(token.get("linked") for token in halves))
        for token in halves:
            self.assertIn("<0x", token["text"])
            self.assertFalse("\ufffd" in token["text"])

    def test_case_43_json_is_strict_for_hostile_texts(self):
        for text in ("</script><img onerror=x>", '"\\\b\f', "\u2028\u2029\u202e", "\x01\x1f\x7f", "a\r\n\tb"):
            got = self.json("attribute", TINY, "--text", text, "--matrix", "--layers")
            self.assertEqual(got["model"]["name"], "tiny_llama")

    def test_case_45_a_device_that_is_not_there(self):
        self.bad(1, "attribute", TINY, "--ids", "1", "--device", "cuda:97", says="cuda")
        self.bad(1 if run("info", TINY, "--device", "abacus")[0] == 1 else 2, "attribute", TINY, "--ids", "1", "--device", "abacus", says="abacus")
        self.assertEqual(self.attribute("--device", "auto")["backend"], self.json("info", TINY)["backend"])


class Outputs(Case):
    def test_output_file_holds_what_stdout_would(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "a.json")
            self.assertEqual(self.good("attribute", TINY, "--ids", "1,2", "--format", "json", "-o", path), b"")
            saved = strict_json(Path(path).read_bytes())
            self.assertEqual([t["score"] for t in saved["tokens"]],
                             [t["score"] for t in self.json("attribute", TINY, "--ids", "1,2")["tokens"]])
            self.assertEqual(os.listdir(folder), ["a.json"])

    def test_case_44_full_disk(self):
        self.bad(1, "attribute", TINY, "--ids", "1", "-o", "/dev/full", says="/dev/full")
        for arguments in (("attribute", TINY, "--ids", "1"), ("attribute", TINY, "--ids", "1,2", "--format", "json"), ("info", TINY),
                          ("tokenize", TINY, "--text", "a"), ("plan", TINY, "--tokens", "9"), ("--help",), ("attribute", "--help"),
                          ("--version",), ("fetch", "--list")):
            with open("/dev/full", "wb") as full:
                status, _, err = run(*arguments, stdout=full)
            self.assertEqual(status, 1, arguments)
            self.assertRegex(err, r"\Ajscopes: [^\n]*standard output: [^\n]+\n\Z")

    def test_case_44_closed_pipe(self):
        reader, writer = os.pipe()
        os.close(reader)
        status, _, err = run("attribute", TINY, "--ids", "1", stdout=writer)
        os.close(writer)
        self.assertEqual(status, 1)
        self.assertIn("Broken pipe", err)
        self.assertEqual(err.count("\n"), 1)

    def test_case_44_a_failed_run_leaves_nothing_under_the_final_name(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "a.json")
            self.bad(1, "attribute", TINY, "--ids", "9999", "--format", "json", "-o", path)
            self.assertEqual(os.listdir(folder), [])
            Path(path).write_text("earlier")
            self.bad(1, "attribute", TINY, "--ids", "9999", "--format", "json", "-o", path)
            self.assertEqual(Path(path).read_text(), "earlier")

    def test_case_44_a_folder_that_cannot_be_written(self):
        self.bad(1, "attribute", TINY, "--ids", "1", "-o", "/nonexistent/x.json", says="/nonexistent")

    def test_killed_in_the_middle_leaves_nothing(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "a.json")
            child = subprocess.Popen([JSCOPES, "attribute", TINY, "--ids", "1,2,3", "--scope", "path", "--steps", "900000", "-o", path],
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment())
            with self.assertRaises(subprocess.TimeoutExpired):
                child.wait(1)
            child.kill()
            child.wait()
            self.assertFalse(os.path.exists(path))

    def test_results_go_to_stdout_and_nothing_to_stderr(self):
        for arguments in (("attribute", TINY, "--ids", "1,2"), ("info", TINY), ("tokenize", TINY, "--text", "a"), ("plan", TINY, "--tokens", "9")):
            status, out, err = run(*arguments)
            self.assertEqual((status, err), (0, ""), arguments)
            self.assertTrue(out)


class Others(Case):
    def test_tokenize_gives_the_reference_ids(self):
        for model in (TINY, GGUF):
            for each in WANTED["texts"]:
                if each["ids"]:
                    got = self.json("tokenize", model, "--text-file", "-", stdin=each["text"].encode())
                    self.assertEqual(got["ids"], each["ids"], each["text"])
                    pieces = b"".join(bytes.fromhex(p["bytes"]) if "bytes" in p else p["text"].encode() for p in got["pieces"])
                    self.assertEqual(pieces, each["text"].encode())

    def test_tokenize_text_shows_what_would_drive_the_terminal(self):
        text = self.good("tokenize", TINY, "--text", "\x1b[2J\n").decode()
        self.assertIn("\\x1b", text)
        self.assertIn("\\n", text)
        self.assertNotIn("\x1b", text)

    def test_info(self):
        got = self.json("info", TINY)
        self.assertEqual((got["family"], got["layers"], got["d_model"], got["vocab_size"], got["format"]), ("llama", 3, 27, 304, "safetensors"))
        self.assertEqual(self.json("info", GGUF)["format"], "gguf")
        text = self.good("info", TINY).decode()
        for word in ("tiny_llama", "llama", "3 blocks", "304 tokens"):
            self.assertIn(word, text)

    def test_plan_needs_no_tokens_and_computes_nothing(self):
        got = self.json("plan", TINY, "--tokens", "100", "--scope", "fisher", "--exact")
        self.assertEqual((got["tokens"], got["right_hand_sides"]), (100, 27))
        self.assertGreater(got["bytes"]["peak"], 0)
        self.assertGreater(got["operations"]["backward"], got["operations"]["forward"])
        small = self.json("plan", TINY, "--ids", "1,2,3", "--scope", "fisher", "--exact")
        self.assertLess(small["bytes"]["peak"], got["bytes"]["peak"])
        self.assertIn("right-hand sides", self.good("plan", TINY, "--text", "The lens").decode())
        self.bad(1, "plan", TINY, "--tokens", "100", "--memory", "1K")
        self.bad(2, "plan", TINY, says=["--text", "--ids"])


if __name__ == "__main__":
    main()
