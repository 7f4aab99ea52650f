#!/usr/bin/env python3
"""test_join.py: several devices and several processes of jscopes: the result of one, written once; refusals."""
import subprocess
import tempfile
import unittest

from program import JSCOPES, TINY, environment, main, run, strict_json

ASK = ("attribute", TINY, "--ids", "5,6,7,8,9", "--scope", "fisher", "--exact", "--layers", "--format", "json")


def scores(data):
    return [token["score"] for token in strict_json(data)["tokens"]]


class Join(unittest.TestCase):
    def same(self, got, want):
        self.assertEqual(len(got), len(want))
        for one, other in zip(got, want):
            self.assertAlmostEqual(one, other, delta=1e-6 * max(want))

    def together(self, ranks, folder, *changes):
        """Exit status, stdout and stderr of each process; changes: further arguments of each."""
        running = [subprocess.Popen([JSCOPES, *ASK, "--device", "cpu", "--join", *(changes[r] if changes else ())], stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE,
                                    env=environment(RANK=str(r), WORLD_SIZE=str(ranks), LOCAL_RANK=str(r), JSC_RENDEZVOUS=folder + "/"))
                   for r in range(ranks)]
        return [(p.returncode, out, err.decode()) for p, (out, err) in ((p, p.communicate(timeout=300)) for p in running)]

    def test_processes_share_and_the_first_writes(self):
        want = scores(run(*ASK)[1])
        with tempfile.TemporaryDirectory() as folder:
            for ranks in (1, 2, 3):
                done = self.together(ranks, folder)
                self.assertEqual([(status, err) for status, _, err in done], [(0, "")] * ranks)
                self.same(scores(done[0][1]), want)
                self.assertEqual([out for _, out, _ in done[1:]], [b""] * (ranks - 1))
            for status, out, err in self.together(2, folder, (), ("--seed", "3")):
                self.assertEqual((status, out), (1, b""))
                self.assertIn("rank 1 was asked something else than rank 0", err)

    def test_join_without_company_is_one_process(self):
        status, out, err = run(*ASK, "--join")
        self.assertEqual((status, err), (0, ""))
        self.same(scores(out), scores(run(*ASK)[1]))

    def test_join_with_a_list_is_refused(self):
        for devices in ("cuda:all", "cuda:0,1"):
            status, out, err = run(*ASK, "--join", "--device", devices)
            self.assertEqual((status, out), (2, b""))
            self.assertIn(f"not with --device {devices}", err)

    def test_blocks_on_several_devices(self):
        want = scores(run(*ASK)[1])
        status, out, err = run(*ASK, "--device", "cpu+cpu")
        self.assertEqual((status, err), (0, ""))
        self.same(scores(out), want)
        status, out, _ = run("plan", TINY, "--tokens", "5", "--scope", "fisher", "--exact", "--device", "cpu+cpu", "--format", "json")
        plan = strict_json(out)
        self.assertEqual(status, 0)
        self.assertEqual([stage["blocks"][0] for stage in plan["stages"]], [0, plan["stages"][0]["blocks"][1]])
        self.assertEqual(sum(stage["weights"] for stage in plan["stages"]), plan["bytes"]["weights"])
        self.assertAlmostEqual(plan["bubble"], 1 / (1 + plan["chunks"]))
        self.assertIn(b"devices; each waits for", run("plan", TINY, "--tokens", "5", "--device", "cpu+cpu")[1])
        for device, word in (("cpu+", "stages of a model are"), ("cuda:0+0", "listed twice"), ("cpu+cpu+cpu+cpu", "at most one for each block")):
            status, out, err = run(*ASK, "--device", device)
            self.assertEqual((status, out), (1, b""))
            self.assertIn(word, err)


if __name__ == "__main__":
    main()
