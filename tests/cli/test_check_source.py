#!/usr/bin/env python3
"""tools/check_source.py must refuse each fault that it is there for, and pass a clean tree and this one's layers."""
import os
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
CLEAN = {"src/host/base/base_internal.h": "/* base_internal.h: base */\n", "src/host/base/mem.c": "/* mem.c: memory */\n#include \"base_internal.h\"\n"
         "void *f(void)\n{\n    return malloc(1);\n}\n", "src/host/files/files_internal.h": "/* files_internal.h: files */\n"}
FAULTS = [  # path, text after the first line, what the message must hold
    ("src/host/base/a.c", "#include \"files_internal.h\"\n", ":2: src/host/base may not include files_internal.h"),
    ("src/cli/a.c", "#include \"base_internal.h\"\n", "may not include base_internal.h"),
    ("src/host/files/a.c", "#include <omp.h>\n", "omp.h may be seen only in"),
    ("src/host/base/a.c", "int f(void)\n{\n    printf(\"\");\n}\n", ":4: printf()"),
    ("src/host/base/a.c", "int f(void)\n{\n    return (abort(), 1);\n}\n", "abort()"),
    ("src/host/files/a.c", "void *f(void)\n{\n    return calloc(1, 1);\n}\n", "calloc()"),
    ("src/host/files/a.c", "void f(void *p)\n{\n    free(p);\n}\n", "free()"),
    ("src/cli/a.c", "int f(const char *s)\n{\n    return atoi(s);\n}\n", "atoi()"),
    ("src/kernels/cpu/a.c", "void f(void)\n{\n    __asm__(\"nop\");\n}\n", "asm outside ptx.cuh"),
    ("src/kernels/cuda/a.cu", "void f(void)\n{\n    k<<<1, 1>>>();\n}\n", "<<< outside device.cuh"),
    ("src/kernels/cuda/a.cu", "void f(void)\n{\n    extern __shared__ float part[];\n}\n", ":4: raw __shared__"),
    ("tests/simt/a.cpp", "void f()\n{\n    asm(\"nop\");\n}\n", "asm outside ptx.cuh"),
    ("src/kernels/cuda/a.cu", "#include \"files_internal.h\"\n", "may not include files_internal.h"),
    ("src/host/base/a.c", "#pragma omp parallel\n", "OpenMP outside"),
    ("src/host/files/mem.c", "", "a second file called mem.c"),
    ("src/host/base/a.c", "\n" * 600, "lines, at most 600"),
    ("src/host/base/a.c", "void f(void)\n{\n" + "    g();\n" * 100 + "}\n", ":3: function of 102 lines"),
    ("src/host/report/a.js", "\n" * 600, "lines, at most 600"),
    ("src/elsewhere/a.c", "", "its folder is not in"),
]
FINE = [
    ("src/host/base/a.c", "/* printf( and malloc( in a comment */\nconst char *f(void)\n{\n    return \"exit(1) asm <<<\";\n}\n"),
    ("src/host/base/a.c", "void f(struct o *ops, void *p)\n{\n    ops->free(p), my_free(p), strbuf_printf(p);\n}\n"),
    ("src/host/files/a.c", "void f(char *p)\n{\n    free(p); /* allowed: realpath's */\n}\n"),
    ("src/host/files/a.c", "#include \"base_internal.h\"\n#include <jansson.h>\n"),
    ("src/host/base/a.c", "/* long: straight list of operations */\nvoid f(void)\n{\n" + "    g();\n" * 100 + "}\n"),
    ("src/kernels/cuda/device.cuh", "void f(void)\n{\n    k<<<1, 1>>>();\n}\n"),
    ("src/kernels/cuda/ptx.cuh", "void f(void)\n{\n    asm(\"nop\");\n}\n"),
]


def run(files):
    with tempfile.TemporaryDirectory() as root:
        os.makedirs(os.path.join(root, "tools"))
        shutil.copy(os.path.join(ROOT, "tools", "layers.txt"), os.path.join(root, "tools"))
        for path, text in files.items():
            os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
            with open(os.path.join(root, path), "w", encoding="utf-8") as f:
                f.write(text)
        done = subprocess.run([sys.executable, os.path.join(ROOT, "tools", "check_source.py"), root], capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr


def main():
    failed = 0

    def expect(right, what):
        nonlocal failed
        if not right:
            failed += 1
            print("FAILED:", what)
    code, text = run(CLEAN)
    expect(code == 0 and text == "", f"clean tree: {text}")
    for path, body, message in FAULTS:
        code, text = run({**CLEAN, path: f"/* {os.path.basename(path)}: a fault */\n{body}"})
        expect(code == 1 and message in text and text.startswith(path + ":"), f"{path}, {message}: got {code} {text}")
    code, text = run({**CLEAN, "src/host/base/a.c": "int x;\n"})
    expect(code == 1 and "first line" in text, f"first line: {text}")
    for path, body in FINE:
        code, text = run({**CLEAN, path: f"/* {os.path.basename(path)}: fine */\n{body}"})
        expect(code == 0, f"{path} should pass: {text}")
    print(f"{len(FAULTS) + len(FINE) + 2} cases, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
