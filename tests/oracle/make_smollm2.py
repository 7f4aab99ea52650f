#!/usr/bin/env python3
"""Makes tests/golden/smollm2/*.json: float64 scores of the default model for two prompts.

    make_smollm2.py MODEL.gguf [OUT]        MODEL.gguf: what `jscopes fetch smollm2-135m` brings

Weights are the file's own, decoded by gguf-py; ids come from the tokenizers package over the file's vocabulary and merges. Takes
some minutes: all rows of the Jacobian in float64.
"""
import json
import os
import sys

import gguf
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

import hf_scores
from golden_values import rounded

PROMPTS = {
    "capital": ("The capital of France is", ("semantic", "temperature", "input-x-gradient", "fisher", "path")),
    "translation": ("French: Nous l'appelons lentille jacobienne. English: We call it Jacobian",
                    ("semantic", "temperature", "input-x-gradient", "fisher")),
}
TARGETS = {"translation": 42584}  # " lens"


def tokenizer(path):
    fields = gguf.GGUFReader(path).fields
    pieces, merges, types = (fields["tokenizer.ggml." + k].contents() for k in ("tokens", "merges", "token_type"))
    tok = Tokenizer(models.BPE(vocab={p: i for i, p in enumerate(pieces)}, merges=[tuple(m.split(" ", 1)) for m in merges]))
    tok.add_special_tokens([AddedToken(p, special=True, normalized=False) for p, t in zip(pieces, types) if t == 3])
    tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                                 pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    return tok


def main():
    path = sys.argv[1]
    out = sys.argv[2] if len(sys.argv) > 2 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "smollm2")
    model, tok = hf_scores.load(path), tokenizer(path)
    for name, (text, scopes) in PROMPTS.items():
        ids = tok.encode(text, add_special_tokens=False).ids
        found = hf_scores.scores(model, ids, target=TARGETS.get(name), scopes=scopes, matrix=True)
        found["matrix"] = [row[:p + 1] for p, row in enumerate(found["matrix"])]
        with open(os.path.join(out, name + ".json"), "w", encoding="utf-8") as f:
            json.dump(rounded({"text": text, **found}, 10), f, ensure_ascii=False)
            f.write("\n")


if __name__ == "__main__":
    main()
