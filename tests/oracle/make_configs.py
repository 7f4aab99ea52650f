#!/usr/bin/env python3
"""Writes tests/golden/configs/NAME.tensors beside each NAME.json: names and shapes of the checkpoint's tensors, as transformers makes them.

    python3 tests/oracle/make_configs.py [--check]      --check: print the parameters of the whole model instead of writing

One tensor a line: name, then its dimensions. Depth is cut to 2 blocks, to 6 where blocks differ (gemma3, smollm3, gemma2); the published files'
own spelling where transformers 5 has another (gemma3 with its image part, gpt2 without the outer name, mask buffers of gpt2 and gpt_neox).
Nothing is allocated: modules live on the meta device. Needs torch and transformers. Run from the repository root.
"""
import json
import pathlib
import sys

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

FOLDER = pathlib.Path("tests/golden/configs")
DEEP = {"gemma2": 6, "gemma3_text": 6, "smollm3": 6}
HEADS = ("lm_head.weight", "embed_out.weight")


def cut(config):
    """The same with fewer blocks; tests/model/test_real_configs.c does likewise."""
    inner = config.get("text_config", config)
    depth = DEEP.get(inner["model_type"], 2)
    for key in ("num_hidden_layers", "n_layer"):
        if key in inner:
            inner[key] = depth
    for key in ("layer_types", "no_rope_layers"):
        if key in inner:
            inner[key] = inner[key][:depth]
    if "vision_config" in config:
        config["vision_config"]["num_hidden_layers"] = 1
    return config


def module_of(config):
    multimodal = "vision_config" in config
    settings = dict(config)
    parsed = AutoConfig.for_model(settings.pop("model_type"), **settings)
    with torch.device("meta"):
        kind = AutoModelForImageTextToText if multimodal else AutoModelForCausalLM
        return kind.from_config(parsed), parsed


def published_name(name, model_type):
    if model_type == "gpt2":
        return name.removeprefix("transformer.")
    if model_type == "gpt_neox" and name == "lm_head.weight":
        return "embed_out.weight"
    if model_type == "gemma3":
        for ours, theirs in (("model.language_model.", "language_model.model."), ("model.vision_tower.", "vision_tower.vision_model."),
                             ("model.multi_modal_projector.", "multi_modal_projector.")):
            if name.startswith(ours):
                return theirs + name.removeprefix(ours)
    return name


def buffers(config):
    """What old checkpoints hold beside the weights."""
    if config["model_type"] == "gpt2":
        return [(f"h.{i}.attn.bias", (1, 1, 1024, 1024)) for i in range(config["n_layer"])]
    if config["model_type"] == "gpt_neox":
        rotated = int(config["hidden_size"] // config["num_attention_heads"] * config["rotary_pct"])
        names = [("attention.bias", (1, 1, 2048, 2048)), ("attention.masked_bias", ()), ("attention.rotary_emb.inv_freq", (rotated // 2,))]
        return [(f"gpt_neox.layers.{i}.{name}", shape) for i in range(config["num_hidden_layers"]) for name, shape in names]
    return []


def main():
    for path in sorted(FOLDER.glob("*.json")):
        config = json.loads(path.read_text())
        if "--check" in sys.argv:
            module, _ = module_of(config)
            print(f"{path.stem:26} {sum(p.numel() for p in module.parameters()):12,} parameters")
            continue
        module, parsed = module_of(cut(config))
        tied = module.config.get_text_config().tie_word_embeddings
        lines = [(published_name(name, config["model_type"]), tuple(tensor.shape)) for name, tensor in module.state_dict().items()
                 if not (tied and name in HEADS) and not name.endswith("position_ids")]
        text = "".join(" ".join([name, *map(str, shape)]) + "\n" for name, shape in lines + buffers(config))
        path.with_suffix(".tensors").write_text(text)


if __name__ == "__main__":
    sys.exit(main())
