"""GGUF twins of the tiny checkpoints: what llama.cpp's converter would write, by gguf-py's own map of names.

Its changes of the tensors: q and k rows of some families from halves to pairs, 1 + w norms of gemma, gpt2's linears transposed,
gpt_neox's q, k and v put in blocks, stablelm's norms of heads stacked, rope factors as tensors.
"""
import json
import os
import re

import gguf
import torch
from safetensors.torch import load_file

from llama64 import inverse_frequencies

PERMUTED = ("llama", "granite", "smollm3")
QUANTISATION = {torch.bfloat16: gguf.GGMLQuantizationType.BF16, torch.float16: gguf.GGMLQuantizationType.F16}


def heads(c):
    H = c.get("num_attention_heads") or c["n_head"]
    return H, c.get("num_key_value_heads") or H, c.get("head_dim") or (c.get("hidden_size") or c["n_embd"]) // H


def halves_to_pairs(t, n):
    h = t.shape[0] // n
    return t.reshape(n, 2, h // 2, -1).transpose(1, 2).reshape(t.shape)


def changed(arch, c, name, t):
    H, K, h = heads(c)
    if arch in PERMUTED and re.search(r"\.[qk]_proj\.", name):
        return halves_to_pairs(t, H if ".q_proj." in name else K)
    if arch.startswith("gemma") and name.endswith("norm.weight"):
        return t.float() + 1
    if arch == "gpt2" and re.search(r"\.c_(attn|proj|fc)\.weight$", name):
        return t.T
    if arch == "gptneox" and ".query_key_value." in name:
        return t.reshape(H, 3, h, -1).transpose(0, 1).reshape(t.shape)
    return t


def stacked(tensors, c):
    """stablelm: self_attn.q_layernorm.norms.N.weight of all heads as one tensor."""
    H, K, _ = heads(c)
    out = {name: t for name, t in tensors.items() if "_layernorm.norms." not in name}
    for i in range(c["num_hidden_layers"] if len(out) < len(tensors) else 0):
        for kind, n in (("q", H), ("k", K)):
            stem = f"model.layers.{i}.self_attn.{kind}_layernorm."
            out[stem + "weight"] = torch.stack([tensors[f"{stem}norms.{j}.weight"] for j in range(n)])
    return out


def rope_metadata(w, arch, c):
    rope = c.get("rope_parameters") or {}
    full = rope.get("full_attention", rope)
    _, _, h = heads(c)
    partial = full.get("partial_rotary_factor", 1.0)
    if arch in PERMUTED or arch in ("phi2", "phi3", "gptneox", "stablelm", "glm4"):
        w.add_rope_dimension_count(int(h * partial))
    if arch == "phi3":
        w.add_rope_scaling_orig_ctx_len(c["original_max_position_embeddings"])
    if arch in ("gemma", "gemma2", "phi2", "gptneox", "gpt2", "stablelm"):  # the converter writes no base: 10000 it is
        if full and full["rope_theta"] != 10000.0:
            raise SystemExit(f"{arch}: a GGUF file cannot say rope_theta {full['rope_theta']}")
        return
    w.add_rope_freq_base(full["rope_theta"])
    if arch == "gemma3":
        w.add_float32("gemma3.rope.freq_base_swa", rope["sliding_attention"]["rope_theta"])
    if full["rope_type"] in ("linear", "yarn"):
        w.add_rope_scaling_type(gguf.RopeScalingType(full["rope_type"]))
        w.add_rope_scaling_factor(full["factor"])
    if full["rope_type"] == "yarn":
        w.add_rope_scaling_orig_ctx_len(full["original_max_position_embeddings"])
        w.add_rope_scaling_yarn_beta_fast(full["beta_fast"])
        w.add_rope_scaling_yarn_beta_slow(full["beta_slow"])
    if full["rope_type"] == "longrope":
        F, orig = c["max_position_embeddings"] / c["original_max_position_embeddings"], c["original_max_position_embeddings"]
        w.add_rope_scaling_attn_factors(float((1 + torch.log(torch.tensor(F)) / torch.log(torch.tensor(orig))).sqrt()))
        for kind in ("long", "short"):
            w.add_tensor(f"rope_factors_{kind}.weight", torch.tensor(full[kind + "_factor"]).numpy())
    if full["rope_type"] == "llama3":
        plain, scaled = (inverse_frequencies(h, full["rope_theta"], s) for s in (None, full))
        w.add_tensor("rope_freqs.weight", (plain / scaled).float().numpy())


def metadata(w, arch, name, c):
    H, K, h = heads(c)
    w.add_name(name)
    w.add_block_count(c.get("num_hidden_layers") or c["n_layer"])
    w.add_context_length(c.get("max_position_embeddings") or c["n_positions"])
    w.add_embedding_length(c.get("hidden_size") or c["n_embd"])
    w.add_feed_forward_length(c.get("intermediate_size") or 4 * c["n_embd"])
    w.add_head_count(H)
    if arch not in ("gpt2", "gptneox"):
        w.add_head_count_kv(K)
    if c.get("head_dim"):
        w.add_key_length(h)
        w.add_value_length(h)
    if c.get("rms_norm_eps"):
        w.add_layer_norm_rms_eps(c["rms_norm_eps"])
    else:
        w.add_layer_norm_eps(next(c[k] for k in ("layer_norm_eps", "layer_norm_epsilon", "norm_epsilon") if k in c))
    if arch in PERMUTED:
        w.add_vocab_size(c["vocab_size"])
    if arch in ("gptneox", "stablelm"):
        w.add_parallel_residual(c["use_parallel_residual"])
    if arch in ("gemma2", "gemma3", "phi3"):
        w.add_sliding_window(c["sliding_window"] or 0)
    if arch == "gemma2":
        w.add_attn_logit_softcapping(c["attn_logit_softcapping"])
        w.add_final_logit_softcapping(c["final_logit_softcapping"])
    if arch == "granite":
        w.add_attention_scale(c["attention_multiplier"])
        w.add_embedding_scale(c["embedding_multiplier"])
        w.add_residual_scale(c["residual_multiplier"])
        w.add_logit_scale(c["logits_scaling"])
    if arch == "command-r":
        w.add_logit_scale(c["logit_scale"])
        w.add_rope_scaling_type(gguf.RopeScalingType.NONE)


def write_twin(case, folder):
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
        c = json.load(f)
    arch = case["gguf"]
    w = gguf.GGUFWriter(folder + ".gguf", arch)
    metadata(w, arch, case["name"], c)
    rope_metadata(w, arch, c)
    kind = next(k for k, v in gguf.MODEL_ARCH_NAMES.items() if v == arch)
    names = gguf.get_tensor_name_map(kind, c.get("num_hidden_layers") or c["n_layer"])
    for name, t in stacked(load_file(os.path.join(folder, "model.safetensors")), c).items():
        t = changed(arch, c, name, t).contiguous()
        out = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if out is None:
            raise SystemExit(f"{arch}: gguf-py has no name for {name}")
        if t.ndim == 2 and t.dtype in QUANTISATION and "_norm" not in out:
            w.add_tensor(out, t.view(torch.uint8).numpy(), raw_dtype=QUANTISATION[t.dtype])
        else:
            w.add_tensor(out, t.float().numpy())
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
