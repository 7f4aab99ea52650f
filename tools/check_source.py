#!/usr/bin/env python3
"""Checks what the compiler does not: layers, forbidden functions, sizes, names.

    tools/check_source.py [ROOT]        prints file:line: what, one a line; exit 1 if there is any

Rules (docs/architecture.md, CONTRIBUTING.md):
  - a folder includes only the headers that tools/layers.txt grants it
  - the library does not print, exit or abort; it allocates through mem.c alone; unsafe string functions appear nowhere. The one way
    out is a comment "allowed: REASON" on the same line (free() of what libc allocated)
  - OpenMP stays in src/kernels/cpu (or the same comment: cubic work of the host), asm in ptx.cuh (and the emulator's switch of fibers), <<< and __shared__ in device.cuh
  - no two source files of one name; the first line of a file says its purpose
  - files of at most 600 lines and functions of at most 100, unless a comment "long: REASON" stands in the file's first 20 lines or
    in the 12 lines above the function
"""
import os
import re
import sys

FILE_LINES, FUNCTION_LINES = 600, 100
SOURCE = (".c", ".h", ".cu", ".cuh", ".cpp")
PAGE = (".js", ".css")  # of the HTML report: names, sizes and first lines only
MAY_HOLD_ASM = ("ptx.cuh", "simt_fiber.cpp")
FOLDERS = ("src", "include", "examples", "bench", "tests", "tools")
LIBRARY = ("src/host/", "src/kernels/")
NOT_IN_LIBRARY = "printf fprintf vprintf vfprintf puts putchar fputs perror exit _exit quick_exit abort".split()
ALLOCATION = "malloc calloc realloc reallocarray free aligned_alloc posix_memalign strdup strndup asprintf vasprintf".split()
NOWHERE = "atoi atol atoll atof sprintf vsprintf strcpy strcat strtok gets alloca".split()


def read_layers(path):
    """folder -> names it may include; external header -> folders that may include it."""
    folders, external = {}, {}
    with open(path, encoding="utf-8") as f:
        for line in f:
            words = line.split("#")[0].split()
            if words and words[0] == "external":
                external[words[1]] = words[2:]
            elif words:
                folders[words[0]] = [w for w in words[1:] if w != "-"]
    return folders, external


def strip(text):
    """text with comments and the insides of strings and characters blanked; lines stay where they are."""
    def blank(match):
        s = match.group(0)
        keep = s[0] if s[0] in "\"'" else " "
        return keep + re.sub(r"[^\n]", " ", s[1:-1]) + (keep if len(s) > 1 else "")
    return re.sub(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", blank, text, flags=re.S)


class Checker:
    def __init__(self, root):
        self.root, self.found = root, []
        self.layers, self.external = read_layers(os.path.join(root, "tools", "layers.txt"))
        self.files, self.pages = {}, {}  # path -> text
        self.home = {}   # name -> path of the first file of that name

    def say(self, path, line, text):
        self.found.append((path, line, text))

    def collect(self):
        for top in FOLDERS:
            for folder, subfolders, names in os.walk(os.path.join(self.root, top)):
                subfolders[:] = sorted(s for s in subfolders if s != "__pycache__" and not (top == "tests" and s in ("golden", "corpus")))
                for name in sorted(names):
                    path = os.path.relpath(os.path.join(folder, name), self.root)
                    if not name.endswith(SOURCE + PAGE + (".py", ".sh")):
                        continue
                    if name in self.home:
                        self.say(path, 1, f"a second file called {name}, beside {self.home[name]}: names are unique in the tree")
                    self.home.setdefault(name, path)
                    if name.endswith(SOURCE + PAGE):
                        with open(os.path.join(folder, name), encoding="utf-8") as f:
                            (self.files if name.endswith(SOURCE) else self.pages)[path] = f.read()

    def rule_of(self, path):
        """The most specific folder of layers.txt that holds path."""
        return max((f for f in self.layers if path.startswith(f + "/")), key=len, default=None)

    def check_includes(self, path, text):
        rule = self.rule_of(path)
        if rule is None:
            self.say(path, 1, "its folder is not in tools/layers.txt")
            return
        allowed = self.layers[rule]
        for n, line in enumerate(text.split("\n"), 1):
            found = re.match(r"\s*#\s*include\s*([<\"])([^>\"]+)[>\"]", line)
            if not found or "anything" in allowed:
                continue
            name = os.path.basename(found.group(2))
            if found.group(2).startswith("jscopes/"):
                continue
            if name in self.external and not any(path.startswith(f + "/") for f in self.external[name]):
                self.say(path, n, f"{name} may be seen only in {' '.join(self.external[name])}")
            if found.group(1) == "\"" and name in self.home:
                folder = os.path.dirname(self.home[name])
                if folder != os.path.dirname(path) and os.path.basename(folder) not in allowed and name not in allowed:
                    self.say(path, n, f"{rule} may not include {name} of {folder} (tools/layers.txt)")

    def check_words(self, path, text, code):
        refused = list(NOWHERE) if path.startswith("src/") else []
        if path.startswith(LIBRARY):
            refused += NOT_IN_LIBRARY
            if os.path.basename(path) != "mem.c":
                refused += ALLOCATION
        call = re.compile(r"(?<![\w.>])(%s)\s*\(" % "|".join(refused)) if refused else None
        for n, (line, whole) in enumerate(zip(code.split("\n"), text.split("\n")), 1):
            for found in call.finditer(line) if call and "allowed:" not in whole else ():
                self.say(path, n, f"{found.group(1)}() is not for {'the library' if found.group(1) not in NOWHERE else 'jscopes'}")
            if re.search(r"\b(asm|__asm__|__asm)\b", line) and os.path.basename(path) not in MAY_HOLD_ASM:
                self.say(path, n, "asm outside ptx.cuh")
            if "<<<" in line and os.path.basename(path) != "device.cuh":
                self.say(path, n, "<<< outside device.cuh: launch with JSC_LAUNCH")
            if re.search(r"\b__shared__\b", line) and os.path.basename(path) != "device.cuh":
                self.say(path, n, "raw __shared__: the emulator would make it a private variable; use JSC_SHARED or JSC_DYN_SMEM")
            if re.match(r"\s*#\s*pragma\s+omp\b", line) and "allowed:" not in whole and path.startswith(("src/host/", "src/cli/", "src/kernels/ref/")):
                self.say(path, n, "OpenMP outside src/kernels/cpu")

    def check_sizes(self, path, text, code):
        lines = text.split("\n")
        if len(lines) - 1 > FILE_LINES and not any("long:" in line for line in lines[:20]):
            self.say(path, 1, f"{len(lines) - 1} lines, at most {FILE_LINES} (split it, or state a reason: \"long: ...\")")
        start = None
        for n, line in enumerate(code.split("\n"), 1):
            if line.startswith("{"):
                start = n
            elif line.startswith("}") and start:
                if n - start + 1 > FUNCTION_LINES and not any("long:" in above for above in lines[max(0, start - 13):start]):
                    self.say(path, start, f"function of {n - start + 1} lines, at most {FUNCTION_LINES}")
                start = None

    def check_first_line(self, path, text):
        first, name = text.split("\n", 1)[0], os.path.basename(path)
        if not first.startswith(f"/* {name}: "):
            self.say(path, 1, f"the first line must say its purpose: \"/* {name}: ...\"")

    def run(self):
        self.collect()
        for path, text in sorted(self.files.items()):
            code = strip(text)
            self.check_includes(path, text)
            self.check_words(path, text, code)
            self.check_sizes(path, text, code)
            self.check_first_line(path, text)
        for path, text in sorted(self.pages.items()):
            self.check_sizes(path, text, "")
            self.check_first_line(path, text)
        return sorted(self.found)


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
    found = Checker(root).run()
    for path, line, text in found:
        print(f"{path}:{line}: {text}")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
