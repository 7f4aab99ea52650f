#!/usr/bin/env python3
"""Makes tests/golden/families: a tiny random checkpoint of every model family with transformers, GGUF twins, and float64 scores.

    make_families.py [--out OUT] [NAME ...]     all cases of family_cases.py, or those named; OUT: tests/golden/families

Each NAME is a folder (config.json as save_pretrained writes it, model.safetensors), for most of them NAME/config_old.json (the same
model in the spelling of transformers 4.x) and NAME.gguf, and NAME.json with the scores. The scores are those of transformers' own code
run in float64 throughout (hf_scores.True64). Prints, per case, how far transformers as it is would have been, and the checks made on
the way: head and logits agree, the old config gives the same logits.
"""
import argparse
import json
import os
import shutil
import tempfile
import warnings
import zlib

import torch
from safetensors.torch import load_file, save_file
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils import logging

import hf_scores
from family_cases import CASES
from family_gguf import write_twin
from golden_values import rounded, values, write_json

HERE = os.path.dirname(os.path.abspath(__file__))
PATH_STEPS = 20


def fill(model, seed, shifted):
    """Random weights of a size that keeps every part of the model alive; shifted: norms are 1 + w."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=g)
            if name.endswith("bias"):
                p.copy_(0.2 * noise)
            elif p.ndim == 1 or "norm" in name and "vision" not in name:
                p.copy_(0.2 * noise + (0.0 if shifted else 1.0))
            elif any(part in name for part in ("embed_tokens", "embed_in", "wte", "embed_positions", "wpe")):
                p.copy_(0.5 * noise)
            else:
                p.copy_(1.3 * p.shape[-1] ** -0.5 * noise)


def save(c, folder, seed):
    """The checkpoint, rounded to its type: the scores are taken from what is on disk."""
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(c["kind"], **c["config"]), attn_implementation="eager").eval()
    fill(model, seed, c["kind"].startswith("gemma"))
    shutil.rmtree(folder, ignore_errors=True)
    model.to(getattr(torch, c["dtype"])).save_pretrained(folder)
    for name in os.listdir(folder):
        if name not in ("config.json", "model.safetensors"):
            os.unlink(os.path.join(folder, name))
    path = os.path.join(folder, "model.safetensors")
    if c["prefix"]:
        written, wanted = c["prefix"]
        tensors = {wanted + name.removeprefix(written) if name.startswith(written) else name: t for name, t in load_file(path).items()}
        if c["kind"] == "gpt2":  # as the published file: the bare model's names, and buffers that are no weights
            for i in range(c["config"]["n_layer"]):
                tensors[f"h.{i}.attn.bias"] = torch.ones(1, 1, 8, 8, dtype=torch.uint8).tril()
                tensors[f"h.{i}.attn.masked_bias"] = torch.tensor(-1e4)
        save_file(tensors, path, metadata={"format": "pt"})
    os.chmod(path, 0o644)


def old_config(c, folder):
    """config.json as transformers 4.x wrote it: other keys, no layer_types, defaults left out."""
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
        config = json.load(f)
    for key in ("rope_parameters", "layer_types", *c["drop"]):
        config.pop(key, None)
    config = {k: v for k, v in config.items() if v is not None}
    config["torch_dtype"] = config.pop("dtype")
    config.update(c["old"], transformers_version="4.42.0")
    return config


def logits(folder, ids):
    model = hf_scores.Transformers(folder)
    model.embed(ids)
    return model.logits


def check_old(folder, ids):
    """config.json and config_old.json, both read by transformers, are one model."""
    with tempfile.TemporaryDirectory() as other:
        shutil.copy(os.path.join(folder, "config_old.json"), os.path.join(other, "config.json"))
        shutil.copy(os.path.join(folder, "model.safetensors"), other)
        if not torch.equal(logits(folder, ids), logits(other, ids)):
            raise SystemExit(f"{folder}: the old config gives other logits")


class NoFloat32(TorchDispatchMode):
    """Fails if any operation still yields float32: then True64 does not know of a way to ask for it."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor) and out.dtype == torch.float32:
            raise SystemExit(f"{func} is computed in float32")
        return out


def check_head(folder, ids):
    model = hf_scores.Transformers(folder)
    with NoFloat32():
        model.embed(ids)
    difference = float((model.head(model.run(model.embed(ids))[1]) - model.logits).abs().max())
    if not difference < 1e-12:
        raise SystemExit(f"{folder}: head(y) differs from the logits by {difference}")


def make(c, out, seed):
    folder = os.path.join(out, c["name"])
    save(c, folder, seed)
    vocab = c["config"].get("text_config", c["config"])["vocab_size"]
    ids = torch.randint(3, vocab, (22,), generator=torch.Generator().manual_seed(5)).tolist()
    check_head(folder, ids)
    said = ""
    if c["old"] is not None:
        write_json(os.path.join(folder, "config_old.json"), old_config(c, folder), indent=2)
        check_old(folder, ids)
        said += ", old config the same"
    if c["gguf"]:
        write_twin(c, folder)
    if not c["few"]:
        ours, plain = (hf_scores.scores(hf_scores.Transformers(folder, p), ids, path_steps=4) for p in (False, True))
        said += ", as transformers computes %.1e" % hf_scores.largest_difference(ours, plain)
    prompts = values(lambda: hf_scores.Transformers(folder), vocab, c["prompts"], few=c["few"], steps=PATH_STEPS)
    write_json(folder + ".json", rounded({"made_by": "tests/oracle/make_families.py", "prompts": prompts}, 11))
    files = [os.path.join(folder, name) for name in os.listdir(folder)] + [p for p in (folder + ".json", folder + ".gguf") if os.path.exists(p)]
    print("%-20s %4d KB%s" % (c["name"], sum(map(os.path.getsize, files)) / 1024, said), flush=True)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--out", default=os.path.join(HERE, "..", "golden", "families"))
    ap.add_argument("names", nargs="*")
    a = ap.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    warnings.simplefilter("ignore")
    os.makedirs(a.out, exist_ok=True)
    for c in CASES:
        if not a.names or c["name"] in a.names:
            make(c, a.out, zlib.crc32(c["name"].encode()))


if __name__ == "__main__":
    main()
