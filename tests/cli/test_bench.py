#!/usr/bin/env python3
"""The benchmark program on tiny models: its JSON has every field that docs/benchmarks.md names, and no row fails for its time."""
import os
import subprocess
import sys

from program import BUILD, GOLDEN, ROOT, TINY, Case, environment, main, run, strict_json

BENCH = BUILD / "bench" / "bench"
TINY_GGUF = str(GOLDEN / "tiny_llama.gguf")
COMMON = {"section", "operation", "case", "shape", "precision", "times", "best_ms", "median_ms", "ratio"}
ARITHMETIC = {"flops", "gflops"}
MEMORY = {"bytes", "gbytes"}
WHOLE = {"tokens", "right_hand_sides", "chunk", "form"}
WORDS = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
RESETS = os.access("/proc/self/clear_refs", os.W_OK)


def bench(*arguments, **changes):
    return subprocess.run([str(BENCH), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=600, check=False,
                          env=environment(OMP_WAIT_POLICY="passive", **changes))


class Bench(Case):
    def rows(self, *arguments):
        """All rows but the limits; every field documented, every number of them positive."""
        done = bench(*arguments, "--json", "--seconds", "0.001")
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        limits, *rows = [strict_json(line) for line in done.stdout.splitlines()]
        rows = [row for row in rows if row["section"] != "limits"]  # a long run has them again at its end
        self.assertEqual(set(limits) - {"card"}, {"section", "version", "device", "threads", "precision", "gflops", "gflops_vjp", "gbytes",
                                       "product_side", "triad_bytes"})
        for row in [limits, *rows]:
            names = ["case", "tokens"] if row.get("operation") == "spent" else row
            self.assertEqual([name for name in names if f"`{name}`" not in WORDS], [])
            for name, value in row.items():
                if isinstance(value, (int, float)) and name not in ("lost", "rows", "small", "mix", "half_from", "full_from",
                                                                    "plan_half_from", "plan_full_from", "attention",
                                                                    "score") and not name.endswith("_ms"):
                    self.assertGreater(value, 0, (name, row))
            for name in set(row) & {"best_ms", "median_ms", "each_ms", "direct_ms", "half_ms", "full_ms"}:
                self.assertGreater(row[name], 0, (name, row))
        return rows

    def test_operations(self):
        rows = self.rows("--ops", "--only", "smollm2 o")
        self.assertEqual([(row["operation"], row["case"]) for row in rows], [("matmul", "smollm2 o")])
        self.assertEqual(set(rows[0]), COMMON | ARITHMETIC | MEMORY)
        self.assertEqual(rows[0]["flops"], 2.0 * 23 * 576 * 576)

    def test_a_device_is_held_against_its_own_limits(self):
        if run("info", TINY, "--device", "cuda")[0] != 0:
            self.skipTest("no GPU, nor the emulator in this build")
        row, = self.rows("--device", "cuda", "--precision", "fast", "--ops", "--only", "smollm2 o")
        self.assertEqual((row["operation"], row["case"], row["precision"]), ("matmul", "smollm2 o", "fast"))
        self.assertEqual(set(row), COMMON | ARITHMETIC | MEMORY)

    def test_only_looks_at_operation_and_case(self):
        found = {(row["operation"], row["case"]) for row in self.rows("--ops", "--all", "--only", "rope")}
        self.assertTrue(found)
        self.assertTrue(all("rope" in operation + case for operation, case in found), found)
        self.assertIn(("rope", "smollm2"), found)

    def test_pull_back_flops_are_in_its_arithmetic(self):
        row, = [row for row in self.rows("--ops", "--only", "smollm2 qkv") if row["operation"] == "matmul_vjp"]
        self.assertEqual(row["flops_vjp"], row["flops"])
        self.assertEqual(row["flops"], 2.0 * 23 * 64 * 576 * 960)

    def test_whole_models(self):
        rows = self.rows("--attribute", "--tokens", "5", "--tokens", "9", "--model", TINY_GGUF)
        cases = {row["case"]: row for row in rows if row["section"] == "attribute" and row["operation"] in ("model", "scope")}
        self.assertEqual(set(cases["load"]), COMMON | MEMORY)
        for name in ("forward", "one VJP", "fisher, exact: forward", "fisher, exact: pull-back", "fisher, exact: its linear layers",
                     "path, 100 steps: forward", "path, 100 steps: pull-back"):
            self.assertEqual(set(cases[name]) - {"flops_vjp"}, COMMON | ARITHMETIC | WHOLE, name)
        peak = {"peak_bytes"} if RESETS else set()
        for name in ("temperature", "fisher, adaptive 2 %", "fisher, exact", "path, 100 steps"):
            row = cases[name]
            self.assertEqual(set(row) - {"reached", "peak_bytes"} | peak,
                             COMMON | ARITHMETIC | WHOLE | peak | {"flops_vjp", "plan_bytes", "scores"}, name)
            self.assertEqual(len(row["scores"]), row["tokens"])
        self.assertEqual(cases["fisher, exact"]["right_hand_sides"], 27)  # what was pulled back: the model's width
        self.assertGreater(cases["fisher, exact"]["flops"], cases["temperature"]["flops"])
        self.growth(rows)

    def test_adaptive_counts_what_was_pulled_back(self):
        """Tiny models go exact; the default model does not. Its plan allows for 576 right-hand sides."""
        if run("info", "smollm2-135m")[0] != 0:
            print("[SKIP] bench of adaptive Fisher: the default model is not in the cache", file=sys.stderr)
            self.skipTest("the default model is not in the cache")
        row, = [row for row in self.rows("--attribute", "--ids", "504,3575", "--quick", "--only", "adaptive") if row["operation"] == "scope"]
        self.assertLess(row["right_hand_sides"], 400)
        self.assertEqual(row["chunk"], row["right_hand_sides"])  # as the plan of so many has it
        self.assertLessEqual(row["reached"], 0.02)

    def growth(self, rows):
        tokens = [row for row in rows if (row["section"], row["operation"]) == ("growth", "tokens")]
        self.assertEqual([row["tokens"] for row in tokens], [5, 9])
        for row in tokens:
            self.assertEqual(set(row), {"section", "operation", "case", "tokens", "best_ms", "attention_ms", "attention_share",
                                        "attention_flops_share", "rest_ms", "to_linear"})
            self.assertLess(row["attention_flops_share"], 1)
        self.assertEqual(tokens[0]["to_linear"], 1)
        sides = [row for row in rows if (row["section"], row["operation"]) == ("growth", "right-hand sides")]
        self.assertEqual([row["right_hand_sides"] for row in sides if row["case"] == "VJP"], [16, 32, 64, 128, 256])
        for row in sides:
            self.assertEqual(set(row), {"section", "operation", "case", "tokens", "right_hand_sides", "form", "best_ms", "each_ms",
                                        "to_linear"})
        spent = [row for row in rows if row["operation"] == "spent" and row["case"] == "fisher, exact"]
        self.assertEqual([row["tokens"] for row in spent], [5, 9])
        self.assertTrue(all(row["matmul_vjp_ms"] > 0 and row["attention_vjp_ms"] > 0 for row in spent))

    def test_forms_of_the_mlp(self):
        rows = self.rows("--mlp-forms", "--tokens", "5", "--model", TINY_GGUF)
        names = [row["operation"] for row in rows]
        self.assertEqual(names, ["forms"] * 10 + ["fit"] + ["attention_vjp"] * 9 + ["attention fit"])
        fit, attention = rows[10], rows[-1]
        for row in rows[:10]:
            self.assertEqual(set(row), {"section", "operation", "tokens", "right_hand_sides", "direct_ms", "half_ms", "full_ms", "fastest",
                                        "chosen", "lost"})
            self.assertEqual(row["fastest"], min(("direct", "half", "full"), key=lambda form: row[form + "_ms"]))
            self.assertGreaterEqual(row["lost"], 0)
        self.assertEqual(set(fit), {"section", "operation", "tokens", "half_from", "full_from", "plan_half_from", "plan_full_from", "gflops",
                                    "rows", "small", "mix"})
        self.assertEqual(set(rows[11]) - {"flops_vjp"}, COMMON | ARITHMETIC)
        self.assertEqual(set(attention), {"section", "operation", "attention", "score"})

    def test_text(self):
        done = bench("--attribute", "--tokens", "5", "--model", TINY_GGUF, "--only", "temperature", "--seconds", "0.001")
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        text = done.stdout.decode()
        for words in ("limits: ", "GFLOP/s", "peak MB", "temperature", "time in operations: "):
            self.assertIn(words, text)
        self.assertNotIn("nan", text)
        self.assertNotIn("inf", text.replace("info", ""))

    def test_usage(self):
        for arguments in (("--no-such",), ("word",), ("--tokens", "0"), ("--tokens", "3x"), ("--ids", "1,,2"), ("--ids", "1;2"),
                          ("--precision", "double"), ("--threads", "-1"), ("--memory", "0"), ("--memory", "1x"), ("--seconds", "nan")):
            done = bench(*arguments)
            self.assertEqual((done.returncode, done.stdout), (2, b""), arguments)
            self.assertIn(b"bench: ", done.stderr)
        self.assertEqual(bench("--help").returncode, 0)

    def test_failure(self):
        done = bench("--attribute", "--model", "/nowhere/model.gguf")
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"/nowhere/model.gguf", done.stderr)


if __name__ == "__main__":
    main()
