#!/usr/bin/env python3
"""The benchmark program on tiny models: its JSON has every field that docs/benchmarks.md names, and no row fails for its time."""
import os
import re
import shlex
import subprocess
import sys
import tempfile

from program import BUILD, GOLDEN, ROOT, TINY, Case, environment, main, run, strict_json

BENCH = BUILD / "bench" / "bench"
TINY_GGUF = str(GOLDEN / "tiny_llama.gguf")
COMMON = {"section", "operation", "case", "shape", "precision", "times", "best_ms", "median_ms", "ratio"}
ARITHMETIC = {"flops", "gflops"}
MEMORY = {"bytes", "gbytes"}
SCALING = {"section", "operation", "source", "model", "case", "tokens", "devices", "right_hand_sides", "chunk", "chunks", "form", "forward_flops",
           "backward_flops", "weight_bytes", "plan_bytes", "seconds_nvlink", "speed_up_nvlink", "seconds_pcie", "speed_up_pcie", "against_devices"}
STAGED = {"blocks_least", "blocks_most", "passed_bytes", "passed_bytes_chunk", "bubble"}
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
                                                                    "score", "difference") and not name.endswith("_ms"):
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

    def test_scaling_of_published_sizes_is_computed(self):
        rows = self.rows("--scaling", "--tokens", "64", "--only", "Llama-3.")
        self.assertEqual({row["source"] for row in rows}, {"computed"})
        factors = [row for row in rows if row["operation"] == "factor"]
        self.assertEqual([row["model"] for row in factors], ["Llama-3.2-1B", "Llama-3.1-8B", "Llama-3.1-70B"] * 2)
        for row in factors:
            self.assertEqual(set(row), {"section", "operation", "source", "model", "flops", "gflops", "threads", "seconds"})
        self.assertAlmostEqual(factors[0]["flops"] / (2 / 3 * 2048**3), 1, delta=1e-5)
        rows = [row for row in rows if row not in factors]
        cells = {(row["operation"], row["model"], row["case"], row["devices"]): row for row in rows}
        one = cells["replicas", "Llama-3.2-1B", "fisher, exact", 1]
        self.assertEqual(set(one), SCALING)
        self.assertEqual((one["right_hand_sides"], one["chunks"], one["form"]), (2048, 1, "full"))
        self.assertEqual(one["weight_bytes"], 2 * (128256 * 2048 + 16 * (2048 * (2 * 2048 + 2 * 512) + 3 * 2048 * 8192)))
        self.assertEqual((one["speed_up_nvlink"], one["speed_up_pcie"]), (1, 1))
        for n, form in (2, "half"), (4, "half"), (8, "direct"):  # of a share of the right-hand sides another form is cheapest
            row = cells["replicas", "Llama-3.2-1B", "fisher, exact", n]
            self.assertEqual(set(row), SCALING | {"passed_bytes"})
            self.assertEqual((row["right_hand_sides"], row["form"]), (2048 // n, form))
            self.assertEqual(row["passed_bytes"], (n - 1) * 64 * 2048 // n * 8)  # a double of each token and right-hand side of the others
            self.assertEqual(row["forward_flops"], one["forward_flops"])
            self.assertTrue(1 < row["speed_up_pcie"] <= row["speed_up_nvlink"] < n)
        self.assertNotIn(("replicas", "Llama-3.1-70B", "fisher, exact", 1), cells)  # no card holds it
        self.assertNotIn(("stages", "Llama-3.1-70B", "fisher, exact", 1), cells)
        for n in 2, 4, 8:
            row = cells["stages", "Llama-3.1-70B", "fisher, exact", n]
            self.assertEqual(set(row), SCALING | STAGED)
            self.assertEqual(row["against_devices"], 2)
            self.assertEqual(row["passed_bytes_chunk"], 64 * row["chunk"] * 8192 * 6)  # the gradient in float32, and its copy in bfloat16
            self.assertAlmostEqual(row["bubble"], (n - 1) / (n - 1 + row["chunks"]), delta=1e-4)
            self.assertGreaterEqual(row["chunk"] * row["chunks"], 8192)
            self.assertTrue(row["blocks_least"] <= 80 / n <= row["blocks_most"])
            self.assertTrue(141e9 / n < row["weight_bytes"] < row["weight_bytes"] + row["plan_bytes"] < 80e9)

    def test_scaling_is_measured_with_what_is_there(self):
        rows = self.rows("--scaling", "--tokens", "9", "--model", TINY_GGUF)
        computed = [row for row in rows if row["source"] == "computed" and row["operation"] != "factor"]
        self.assertEqual({row["model"] for row in computed}, {"tiny_llama.gguf"})
        self.assertEqual({row["devices"] for row in computed if row["operation"] == "stages"}, {1, 2})  # it has three blocks
        measured = [row for row in rows if row["source"] != "computed"]
        self.assertEqual([(row["operation"], row["devices"], row["case"]) for row in measured],
                         [(way, n, case) for way, n in (("alone", 1), ("replicas", 2), ("stages", 2)) for case in ("fisher, exact", "fisher, adaptive")])
        for row in measured:
            self.assertEqual(set(row), COMMON - {"shape", "ratio"} | {"source", "tokens", "devices", "right_hand_sides", "speed_up", "efficiency",
                                                                      "difference"})
            self.assertEqual(row["source"], "measured on the processor")
            self.assertEqual(row["right_hand_sides"], 27)
            self.assertAlmostEqual(row["efficiency"], row["speed_up"] / row["devices"], delta=1e-3)
            self.assertLess(row["difference"], 1e-5)
        self.assertEqual([row["difference"] for row in measured[:2]], [0, 0])
        text = bench("--scaling", "--tokens", "9", "--model", TINY_GGUF, "--only", "stages", "--seconds", "0.001").stdout.decode()
        self.assertIn("computed, not measured: stages of one model", text)
        self.assertNotIn("replicas", text)
        self.assertIn("a check of the machinery, not of GPUs", text)

    def test_the_script_for_several_gpus_says_what_it_would_run(self):
        with tempfile.TemporaryDirectory() as folder:
            place = folder + "/of its own"
            done = subprocess.run([ROOT / "bench" / "multi_gpu.sh", "--dry-run", place, "tiny", "1b"], stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, timeout=60, check=True)
            self.assertEqual((done.stderr, os.listdir(folder)), (b"", []))  # nothing is made
        steps = dict(re.findall(r"(?m)^(\S+), at most \d+ s: (.*)$", done.stdout.decode()))
        for name in ("hardware", "topology", "build", "tests", "memcheck", "racecheck", "model-1b", "scaling-tiny", "scaling-1b", "alone", "torchrun",
                     "mpirun-compared", "srun-ranks"):
            self.assertIn(name, steps)
        known = {"bench": bench("--help").stdout.decode(), "jscopes": run("attribute", "--help")[1].decode()}
        for step in steps.values():
            words = shlex.split(step)
            self.assertNotIn("its", words, step)  # a folder with a space stays one word
            for i, word in enumerate(words):
                program = os.path.basename(word)
                if word.startswith(place + "/build/") and program in known:  # every option is one that the program has
                    for option in words[i + 1:]:
                        if option.startswith("--"):
                            self.assertRegex(known[program], re.escape(option) + r"(?![\w-])", step)
                if word.startswith("bench/") or word.startswith("tools/") or (word.startswith("tests/") and "*" not in word):
                    self.assertTrue((ROOT / word).exists(), word)
        self.assertIn("test_cuda_group", steps["memcheck"])
        self.assertTrue((ROOT / "tests" / "model" / "test_cuda_group.c").exists())
        for arguments in (("--no-such",), ("--dry-run", "--no-such")):
            refused = subprocess.run([ROOT / "bench" / "multi_gpu.sh", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
            self.assertEqual((refused.returncode, refused.stdout), (2, b""))

    def test_runs_of_several_processes_are_compared(self):
        ask = ("attribute", TINY_GGUF, "--scope", "fisher", "--exact", "--format", "json")
        with tempfile.TemporaryDirectory() as folder:
            for name, ids, device in ("alone", "5,6,7,8", "cpu"), ("together", "5,6,7,8", "cpu+cpu"), ("other", "5,6,7,9", "cpu"):
                self.good(*ask, "--ids", ids, "--device", device, "--output", f"{folder}/{name}.json")

            def compare(name):
                return subprocess.run([ROOT / "bench" / "compare_runs.py", f"{folder}/alone.json", "2", f"{folder}/{name}.json"],
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
            done = compare("together")
            self.assertEqual(done.returncode, 0, done.stderr.decode())
            self.assertRegex(done.stdout.decode(), r"^1 process [\d.]+ s, 2 processes [\d.]+ s: speed-up [\d.]+, each \d+ %, difference \S+\n$")
            self.assertEqual(compare("other").returncode, 1)  # other scores

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
