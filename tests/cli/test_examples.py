#!/usr/bin/env python3
"""The example programs, and the program in jscopes.h: built, run, and giving what the command line gives."""
import re
import socket
import subprocess
import tempfile

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

    def ranks(self, each, *arguments):
        """Starts one process for each environment; (status, stdout, stderr) of all."""
        running = [subprocess.Popen([BUILD / "examples" / "ranks", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(**one))
                   for one in each]
        return [(p.wait(), out.decode(), err.decode()) for p, (out, err) in ((p, p.communicate(timeout=300)) for p in running)]

    def test_ranks(self):
        status, alone, err = self.example("ranks", TINY, TEXT)
        self.assertEqual(status, 0, err)
        self.assertIn("1 ranks", alone)
        want = [float(line.split()[-1]) for line in alone.splitlines()[1:]]
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        with tempfile.TemporaryDirectory() as folder:
            starts = {
                "torchrun": [{"RANK": str(r), "WORLD_SIZE": "3", "LOCAL_RANK": str(r), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port - 1)}
                             for r in range(3)],
                "srun": [{"SLURM_PROCID": str(r), "SLURM_NTASKS": "2", "SLURM_JOB_ID": "7", "JSC_RENDEZVOUS": folder + "/"} for r in range(2)],
            }
            for name, each in starts.items():
                done = self.ranks(each, TINY, TEXT)
                for rank, (status, out, err) in enumerate(done):
                    self.assertEqual((status, err), (0, ""), name)
                    self.assertEqual(out != "", rank == 0, name)
                self.assertIn(f"{len(each)} ranks", done[0][1])
                got = [float(line.split()[-1]) for line in done[0][1].splitlines()[1:]]
                self.assertEqual(len(got), len(want))
                for one, other in zip(got, want):
                    self.assertAlmostEqual(one, other, delta=1e-6 * other)
            bad = [{"SLURM_PROCID": str(r), "SLURM_NTASKS": str(2 + r), "JSC_RENDEZVOUS": folder + "/"} for r in range(2)]
            for status, out, err in self.ranks(bad, TINY, TEXT):
                self.assertEqual((status, out, err), (1, "", "ranks: rank 1 says that there are 3 ranks, rank 0 2\n"))
        status, _, err = self.ranks([{"RANK": "2", "WORLD_SIZE": "2"}], TINY, TEXT)[0]
        self.assertEqual(status, 1)
        self.assertIn("RANK=2 WORLD_SIZE=2", err)


if __name__ == "__main__":
    main()
