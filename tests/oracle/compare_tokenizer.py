#!/usr/bin/env python3
"""compare_tokenizer.py: jscopes' ids against the `tokenizers` package on thousands of texts (development only; not part of the tests).

    compare_tokenizer.py --library build/release/libjscopes.so --model MODEL [--jscopes build/release/jscopes] [--random N] [FILE...]

MODEL is a GGUF file with the tokeniser of the default model (rebuilt here from its tokens and merges), or a folder with tokenizer.json. The
texts: the hard strings of make_tokenizer.py, N random Unicode strings, every string in each FILE (JSON) or the file as a whole, the whole
file again, this repository's sources, and a megabyte without a space of several kinds. With --jscopes the command line is asked as well
(`jscopes tokenize --format json`), for some of them. Exits 1 if any id differs.
"""
import argparse
import ctypes
import glob
import json
import os
import random
import subprocess
import sys
import time

from tokenizers import Tokenizer

import make_tokenizer

HERE = os.path.dirname(os.path.abspath(__file__))


class Error(ctypes.Structure):
    _fields_ = [("status", ctypes.c_int), ("text", ctypes.c_char * 512)]


class OpenOptions(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("device", ctypes.c_char_p), ("precision", ctypes.c_int), ("threads", ctypes.c_int),
                ("without_weights", ctypes.c_int), ("log", ctypes.c_void_p), ("log_user", ctypes.c_void_p), ("progress", ctypes.c_void_p),
                ("progress_user", ctypes.c_void_p)]


class Tokens(ctypes.Structure):
    _fields_ = [("n", ctypes.c_size_t), ("ids", ctypes.POINTER(ctypes.c_int32)), ("n_warnings", ctypes.c_int), ("warnings", ctypes.POINTER(ctypes.c_char_p))]


class Library:
    def __init__(self, path, model):
        self.lib, self.model, error = ctypes.CDLL(path), ctypes.c_void_p(), Error()
        options = OpenOptions(ctypes.sizeof(OpenOptions), without_weights=1)
        if self.lib.jsc_model_open(model.encode(), ctypes.byref(options), ctypes.byref(self.model), ctypes.byref(error)):
            sys.exit(error.text.decode())

    def ids(self, text):
        raw, tokens, error = text.encode(), ctypes.POINTER(Tokens)(), Error()
        if self.lib.jsc_tokenize(self.model, raw, ctypes.c_size_t(len(raw)), None, ctypes.byref(tokens), ctypes.byref(error)):
            return error.text.decode()
        out = tokens.contents.ids[:tokens.contents.n] if tokens.contents.n else []
        self.lib.jsc_tokens_free(tokens)
        return out


def strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for v in value.values():
            yield from strings(v)
    elif isinstance(value, list):
        for v in value:
            yield from strings(v)


def random_texts(count, tokens):
    """Random Unicode, mixed with added tokens of the model."""
    rng = random.Random(2)
    for text in make_tokenizer.random_texts(count, 7, 60):
        for _ in range(rng.choice([0, 0, 0, 1, 2])):
            at = rng.randrange(len(text) + 1)
            text = text[:at] + rng.choice(["", " "]) + rng.choice(tokens) + text[at:]
        yield text


def without_spaces(n):
    rng = random.Random(3)
    yield "one letter", "a" * n
    yield "two letters", "ab" * (n // 2)
    yield "random letters", "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=n))
    yield "random bases", "".join(rng.choices("ACGT", k=n))
    yield "one sign", "=" * n
    yield "digits", "".join(rng.choices("0123456789", k=n))
    yield "one ideograph", "\u6f22" * (n // 3)
    yield "random characters", "".join(chr(c) for c in rng.choices(range(0x4e00, 0xd7ff), k=n // 3))
    yield "marks", "a" + "\u0301\u0323" * (n // 4)


class Comparison:
    def __init__(self, library, reference):
        self.library, self.reference, self.wrong = library, reference, 0

    def same(self, text):
        got, want = self.library.ids(text), self.reference.encode(text).ids
        if got != want:
            self.wrong += 1
            if self.wrong <= 10:
                print(f"  {ascii(text)[:200]}\n    jscopes    {str(got)[:200]}\n    reference  {str(want)[:200]}")

    def group(self, name, texts):
        before, count = self.wrong, 0
        for text in texts:
            self.same(text)
            count += 1
        print(f"{name:40} {count:7} texts {self.wrong - before:5} differ")

    def timed(self, name, text):
        begun = time.time()
        got = self.library.ids(text)
        middle = time.time()
        want = self.reference.encode(text).ids
        end = time.time()
        self.wrong += got != want
        print(f"{name:40} {len(text.encode()):7} bytes {'same' if got == want else 'DIFFER':>6}   {middle - begun:6.3f} s, reference {end - middle:6.3f} s")


def command_line(program, model, text):
    out = subprocess.run([program, "tokenize", model, "--text-file", "-", "--format", "json"], input=text.encode(), capture_output=True)
    return json.loads(out.stdout)["ids"] if out.returncode == 0 else out.stderr.decode().strip()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--library", required=True)
    p.add_argument("--model", required=True)
    p.add_argument("--jscopes")
    p.add_argument("--random", type=int, default=10000)
    p.add_argument("files", nargs="*")
    a = p.parse_args()
    if os.path.isdir(a.model):
        reference = Tokenizer.from_file(os.path.join(a.model, "tokenizer.json"))
    else:
        reference = make_tokenizer.default_model(a.model)
    added = [t.content for t in reference.get_added_tokens_decoder().values()] or ["<s>"]
    c = Comparison(Library(a.library, a.model), reference)
    c.group("hard strings", make_tokenizer.HARD)
    c.group("random Unicode", random_texts(a.random, added))
    sources = sorted(glob.glob(os.path.join(HERE, "..", "..", "**", "*.[chp]*"), recursive=True))
    c.group("sources of this repository", (open(f, encoding="utf-8", errors="replace").read() for f in sources if os.path.isfile(f) and "/build/" not in f))
    for file in a.files:
        text = open(file, encoding="utf-8").read()
        if file.endswith(".json"):
            c.group(os.path.basename(file) + ", its strings", strings(json.loads(text)))
        c.timed(os.path.basename(file) + ", whole", text)
    for name, text in without_spaces(1000000):
        c.timed("no spaces: " + name, text)
    if a.jscopes:
        texts = [t for t in make_tokenizer.HARD if t] + list(random_texts(50, added))
        wrong = [t for t in texts if command_line(a.jscopes, a.model, t) != reference.encode(t).ids]
        for t in wrong[:10]:
            print(f"  {ascii(t)[:200]}: {str(command_line(a.jscopes, a.model, t))[:200]}")
        c.wrong += len(wrong)
        print(f"{'command line':40} {len(texts):7} texts {len(wrong):5} differ")
    print("all ids are the reference's" if c.wrong == 0 else f"{c.wrong} texts differ")
    sys.exit(c.wrong != 0)


if __name__ == "__main__":
    main()
