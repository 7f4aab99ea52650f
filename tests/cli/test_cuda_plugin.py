#!/usr/bin/env python3
"""The CUDA part as a module: what it links, what it exports, and what the program says where there is no GPU. Needs a build with nvcc."""
import ctypes
import os
import re
import shutil
import subprocess
import time
import unittest

from program import BUILD, JSCOPES, TINY, Case, environment, main

MODULE = BUILD / "libjscopes_cuda.so"
LIBC = re.compile(r"(libc|libm|libdl|librt|libpthread|ld-linux-x86-64)\.so\.\d+$")
GPU = os.path.exists("/dev/nvidiactl")


class Plugin(ctypes.Structure):
    _fields_ = [("version", ctypes.c_char_p), ("interface", ctypes.c_uint64), ("ops", ctypes.c_void_p)]


def output_of(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=60).stdout.decode()


@unittest.skipUnless(MODULE.exists(), "no libjscopes_cuda.so: there was no nvcc for this build")
class Module(Case):
    @unittest.skipUnless(shutil.which("readelf") and shutil.which("nm"), "no readelf or nm")
    def test_it_needs_only_libc_and_exports_one_symbol(self):
        needed = re.findall(r"\(NEEDED\).*\[(.*)\]", output_of("readelf", "-d", str(MODULE)))
        self.assertTrue(needed)
        self.assertEqual([name for name in needed if not LIBC.match(name)], [])
        exported = [line.split()[-1] for line in output_of("nm", "-D", "--defined-only", str(MODULE)).splitlines()]
        self.assertEqual(exported, ["jsc_cuda_plugin_v1"])

    def test_it_loads_and_answers_in_milliseconds(self):
        begin = time.monotonic()
        module = ctypes.CDLL(str(MODULE), mode=os.RTLD_NOW)
        plugin = Plugin()
        module.jsc_cuda_plugin_v1(ctypes.byref(plugin))
        self.assertLess(time.monotonic() - begin, 0.2)  # measured: 1 ms on a quiet machine
        self.assertIn(f"jscopes {plugin.version.decode()} ", output_of(JSCOPES, "--version"))
        self.assertTrue(plugin.interface and plugin.ops)

    @unittest.skipIf(GPU, "there is a GPU")
    def test_without_a_driver_cuda_says_so(self):
        for arguments in (("attribute", TINY, "--ids", "1"), ("info", TINY), ("plan", TINY, "--tokens", "3")):
            self.bad(1, *arguments, "--device", "cuda", says=["cuda: ", "NVIDIA", "--device cpu"])
        self.bad(1, "attribute", TINY, "--ids", "1", "--device", "cuda:3", says="cuda:3: ")
        self.bad(1, "info", TINY, env=environment(JSC_DEVICE="cuda"), says=["JSC_DEVICE=cuda: ", "NVIDIA"])


@unittest.skipIf(GPU, "there is a GPU")
class Auto(Case):
    def test_auto_is_the_cpu_and_says_why(self):
        auto = environment(JSC_DEVICE="")
        info = self.json("info", TINY, env=auto)
        self.assertEqual(info["backend"], "cpu")
        if "no_gpu" in info:
            self.assertTrue(info["no_gpu"])
            self.assertIn(info["no_gpu"], self.good("info", TINY, env=auto).decode())
        self.assertNotIn("no_gpu", self.json("info", TINY, "--device", "cpu"))
        self.assertEqual(self.json("attribute", TINY, "--ids", "1,2", env=auto)["backend"], "cpu")

    def test_a_module_that_is_none_is_named(self):
        if "no_gpu" not in self.json("info", TINY, env=environment(JSC_DEVICE="")):
            self.skipTest("CUDA is linked into this build")
        for path, word in (("/nonexistent/module.so", "JSC_CUDA_PLUGIN"), (str(BUILD / "libjscopes.so"), "another version")):
            env = environment(JSC_CUDA_PLUGIN=path, JSC_DEVICE="")
            self.bad(1, "info", TINY, "--device", "cuda", env=env, says=word)
            self.assertIn(word, self.json("info", TINY, env=env)["no_gpu"])


if __name__ == "__main__":
    main()
