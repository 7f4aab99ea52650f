#!/usr/bin/env python3
"""compare_tokenizer.py: jscopes' ids against the `tokenizers` package on thousands of texts (development only; not part of the tests).

    compare_tokenizer.py --library build/release/libjscopes.so [--model MODEL]... [--jscopes build/release/jscopes] [--random N] [FILE...]

MODEL is a tokenizer.json, a folder with one, or a GGUF file with the tokeniser of the default model (rebuilt here from its tokens and merges);
without any, every kind of make_tokenizer_kinds.py. The texts for each: the hard strings of make_tokenizer.py, those about its added tokens, N
random Unicode strings, this repository's sources, every string in each FILE (JSON), each FILE as a whole, and a megabyte without a space of
several kinds. One line per model: texts compared, texts that differ, and the slowest megabyte. --verbose: a line per group. With --jscopes the
command line is asked as well (`jscopes tokenize --format json`), for some texts. Exits 1 if any id differs.
"""
import argparse
import ctypes
import json
import os
import random
import subprocess
import sys
import tempfile
import time

import numpy
from safetensors.numpy import save_file
from tokenizers import Tokenizer

import make_tokenizer
import make_tokenizer_kinds

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
        begun = time.time()
        if self.lib.jsc_model_open(model.encode(), ctypes.byref(options), ctypes.byref(self.model), ctypes.byref(error)):
            sys.exit(error.text.decode())
        self.seconds = time.time() - begun

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
    def __init__(self, library, reference, verbose):
        self.library, self.reference, self.verbose = library, reference, verbose
        self.texts = self.wrong = self.slowest = self.reference_slowest = 0

    def same(self, text):
        got, want = self.library.ids(text), self.reference.encode(text).ids
        self.texts += 1
        if got != want:
            self.wrong += 1
            if self.wrong <= 5:
                print(f"  {ascii(text)[:200]}\n    jscopes    {str(got)[:200]}\n    reference  {str(want)[:200]}")

    def group(self, name, texts):
        before, count = self.wrong, self.texts
        for text in texts:
            self.same(text)
        if self.verbose:
            print(f"  {name:40} {self.texts - count:7} texts {self.wrong - before:5} differ")

    def megabyte(self, name, text):
        begun = time.time()
        got = self.library.ids(text)
        middle = time.time()
        want = self.reference.encode(text).ids
        end = time.time()
        self.texts += 1
        self.wrong += got != want
        self.slowest = max(self.slowest, middle - begun)
        self.reference_slowest = max(self.reference_slowest, end - middle)
        if self.verbose or got != want:
            print(f"  {name:40} {len(text.encode()):7} bytes {'same' if got == want else 'DIFFER':>6}   {middle - begun:6.3f} s, reference {end - middle:6.3f} s")


def make_folder(folder, tokenizer_json):
    """A Llama of one layer around a tokeniser."""
    rows = 1 + max([*tokenizer_json["model"]["vocab"].values(), *(t["id"] for t in tokenizer_json["added_tokens"])])
    config = {"model_type": "llama", "hidden_size": 4, "intermediate_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1, "vocab_size": rows,
              "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "tie_word_embeddings": True}
    square = numpy.eye(4, dtype=numpy.float32)
    names = [f"self_attn.{x}_proj" for x in "qkvo"] + [f"mlp.{x}_proj" for x in ("gate", "up", "down")]
    weights = {f"model.layers.0.{n}.weight": square for n in names}
    weights |= {f"model.layers.0.{n}_layernorm.weight": square[0] for n in ("input", "post_attention")}
    save_file(weights | {"model.norm.weight": square[0], "model.embed_tokens.weight": numpy.zeros((rows, 4), numpy.float32)}, f"{folder}/model.safetensors")
    for name, value in {"config.json": config, "tokenizer.json": tokenizer_json}.items():
        with open(f"{folder}/{name}", "w", encoding="utf-8") as f:
            json.dump(value, f, ensure_ascii=False, indent=2)


def sources():
    root = os.path.join(HERE, "..", "..")
    files = subprocess.run(["git", "-C", root, "ls-files", "*.c", "*.h", "*.py", "*.cu", "*.cpp", "*.md", "*.cmake", "*.json"], capture_output=True, text=True)
    return [os.path.join(root, name) for name in files.stdout.split()]


def command_line(program, model, text):
    out = subprocess.run([program, "tokenize", model, "--text-file", "-", "--format", "json"], input=text.encode(), capture_output=True)
    return json.loads(out.stdout)["ids"] if out.returncode == 0 else out.stderr.decode().strip()


def compare(a, name, path, reference, own):
    library = Library(a.library, path)
    added = [t.content for t in reference.get_added_tokens_decoder().values()] or ["<s>"]
    c = Comparison(library, reference, a.verbose)
    c.group("hard strings", make_tokenizer.HARD)
    c.group("added tokens", own)
    c.group("random Unicode", random_texts(a.random, added))
    c.group("sources of this repository", (open(f, encoding="utf-8", errors="replace").read() for f in sources()))
    for file in a.files:
        text = open(file, encoding="utf-8").read()
        if file.endswith(".json"):
            c.group(os.path.basename(file) + ", its strings", strings(json.loads(text)))
        c.group(os.path.basename(file) + ", whole", [text])
    for kind, text in without_spaces(1000000):
        c.megabyte("no spaces: " + kind, text)
    if a.jscopes:
        texts = [t for t in make_tokenizer.HARD if t] + list(random_texts(50, added))
        wrong = [t for t in texts if command_line(a.jscopes, path, t) != reference.encode(t).ids]
        for t in wrong[:5]:
            print(f"  {ascii(t)[:200]}: {str(command_line(a.jscopes, path, t))[:200]}")
        c.texts += len(texts)
        c.wrong += len(wrong)
    print(f"{name:16} {c.texts:7} texts {c.wrong:5} differ   1 MB without spaces in {c.slowest:.2f} s at most (reference {c.reference_slowest:.2f} s)   "
          f"opened in {library.seconds:.3f} s", flush=True)
    return c.wrong


def compare_json(a, name, tokenizer_json):
    with tempfile.TemporaryDirectory() as folder:
        make_folder(folder, tokenizer_json)
        reference = Tokenizer.from_file(f"{folder}/tokenizer.json")
        return compare(a, name, folder, reference, make_tokenizer_kinds.own_texts(tokenizer_json)[:200])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--library", required=True)
    p.add_argument("--model", action="append", default=[])
    p.add_argument("--jscopes")
    p.add_argument("--random", type=int, default=20000)
    p.add_argument("--verbose", action="store_true")
    p.add_argument("files", nargs="*")
    a = p.parse_args()
    wrong = 0
    for path in a.model:
        name = os.path.basename(path.rstrip("/"))
        if path.endswith(".json"):
            wrong += compare_json(a, name, json.load(open(path, encoding="utf-8")))
        elif os.path.isdir(path):
            wrong += compare(a, name, path, Tokenizer.from_file(os.path.join(path, "tokenizer.json")), [])
        else:
            wrong += compare(a, name, path, make_tokenizer.default_model(path), [])
    for name, file in make_tokenizer_kinds.kinds().items() if not a.model else ():
        wrong += compare_json(a, name, file)
    print("all ids are the reference's" if wrong == 0 else f"{wrong} texts differ")
    sys.exit(wrong != 0)


if __name__ == "__main__":
    main()
