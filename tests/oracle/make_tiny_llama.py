#!/usr/bin/env python3
"""Makes tests/golden/tiny_llama*: random llama checkpoints, each as folder and as GGUF twin, and their float64 scores.

    make_tiny_llama.py [OUT]          OUT: tests/golden beside this script
    make_tiny_llama.py --check        compares llama64.py with transformers on the checkpoints that are there

tiny_llama       llama3 rope scaling (one pair unscaled, one between, the rest scaled), grouped queries, untied head, odd width, odd MLP,
                 more embedding rows than tokens, float32, old config keys, tokenizer.json
tiny_llama_bias  attention and MLP biases, tied head, head_dim that is not d/H, no rope scaling, bfloat16 in shards, new config keys,
                 no tokeniser
"""
import json
import os
import sys

import gguf
import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

import hf_scores
from golden_values import rounded, values, write_json
from llama64 import Llama64, inverse_frequencies

HERE = os.path.dirname(os.path.abspath(__file__))
DTYPE = {"float32": torch.float32, "bfloat16": torch.bfloat16}

LLAMA = {"architectures": ["LlamaForCausalLM"], "attention_bias": False, "bos_token_id": 0, "eos_token_id": 1, "head_dim": 8,
         "hidden_act": "silu", "hidden_size": 27, "initializer_range": 0.02, "intermediate_size": 45, "max_position_embeddings": 128,
         "mlp_bias": False, "model_type": "llama", "num_attention_heads": 9, "num_hidden_layers": 3, "num_key_value_heads": 3,
         "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_theta": 20.0, "tie_word_embeddings": False, "torch_dtype": "float32",
         "rope_scaling": {"factor": 8.0, "high_freq_factor": 2.0, "low_freq_factor": 1.0, "original_max_position_embeddings": 16,
                          "rope_type": "llama3"}, "use_cache": True, "vocab_size": 304}
BIAS = {"architectures": ["LlamaForCausalLM"], "attention_bias": True, "bos_token_id": 0, "dtype": "bfloat16", "eos_token_id": 1,
        "head_dim": 12, "hidden_act": "silu", "hidden_size": 32, "initializer_range": 0.02, "intermediate_size": 48,
        "max_position_embeddings": 64, "mlp_bias": True, "model_type": "llama", "num_attention_heads": 4, "num_hidden_layers": 2,
        "num_key_value_heads": 2, "pad_token_id": None, "pretraining_tp": 1, "rms_norm_eps": 1e-06,
        "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"}, "tie_word_embeddings": True, "vocab_size": 128}

TRAINING = ["The quick brown fox jumps over the lazy dog. It's 12 o'clock, isn't it?", "the then there that this these those them they",
            "in on an and under another thing nothing something", "for i in range(10):\n    print(i * 2)\n", "é è ü ö ñ 你好 😀",
            "lens lenses token tokens scope scopes model models Jacobian"] * 3


def make_tokenizer(size):
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                                 pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    tok.decoder = decoders.ByteLevel()
    special = [AddedToken(t, special=True, normalized=False) for t in ("<|begin|>", "<|end|>", "<|unk|>")]
    tok.train_from_iterator(TRAINING, trainers.BpeTrainer(vocab_size=size, special_tokens=special, show_progress=False,
                                                          initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())))
    return tok


def random_tensors(c, seed):
    g = torch.Generator().manual_seed(seed)
    d, f, h, H, K = (c[k] for k in ("hidden_size", "intermediate_size", "head_dim", "num_attention_heads", "num_key_value_heads"))

    def draw(*shape, scale, mean=0.0):
        return mean + scale * torch.randn(*shape, generator=g)
    t = {"model.embed_tokens.weight": draw(c["vocab_size"], d, scale=0.5)}
    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        linears = {"self_attn.q_proj": (H * h, d, 0.3), "self_attn.k_proj": (K * h, d, 0.3), "self_attn.v_proj": (K * h, d, 0.2),
                   "self_attn.o_proj": (d, H * h, 0.15), "mlp.gate_proj": (f, d, 0.2), "mlp.up_proj": (f, d, 0.2), "mlp.down_proj": (d, f, 0.15)}
        for name, (n, k, scale) in linears.items():
            t[p + name + ".weight"] = draw(n, k, scale=scale)
            if c["mlp_bias" if name.startswith("mlp") else "attention_bias"]:
                t[p + name + ".bias"] = draw(n, scale=0.2)
        for name in ("input_layernorm", "post_attention_layernorm"):
            t[p + name + ".weight"] = draw(d, scale=0.2, mean=1.0)
    t["model.norm.weight"] = draw(d, scale=0.2, mean=1.0)
    if not c["tie_word_embeddings"]:
        t["lm_head.weight"] = draw(c["vocab_size"], d, scale=0.35)
    dtype = DTYPE[c.get("torch_dtype") or c["dtype"]]
    return {name: v.to(dtype).contiguous() for name, v in t.items()}


def write_folder(path, config, tensors, shards):
    os.makedirs(path, exist_ok=True)
    for name in os.listdir(path):
        os.unlink(os.path.join(path, name))
    write_json(os.path.join(path, "config.json"), config, indent=2)

    def save(name, part):
        save_file({n: tensors[n] for n in part}, os.path.join(path, name), metadata={"format": "pt"})
        os.chmod(os.path.join(path, name), 0o644)
    if shards == 1:
        save("model.safetensors", tensors)
        return
    names, where = list(tensors), {}
    for i in range(shards):
        part = names[i::shards]  # neighbours in different shards: the index is needed
        where.update({n: f"model-{i + 1:05d}-of-{shards:05d}.safetensors" for n in part})
        save(where[part[0]], part)
    total = sum(t.numel() * t.element_size() for t in tensors.values())
    write_json(os.path.join(path, "model.safetensors.index.json"),
               {"metadata": {"total_size": total}, "weight_map": dict(sorted(where.items()))}, indent=2)


def write_gguf(path, name, c, tensors, tok):
    w = gguf.GGUFWriter(path, "llama")
    H, K, h = c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"]
    w.add_name(name)
    w.add_block_count(c["num_hidden_layers"])
    w.add_context_length(c["max_position_embeddings"])
    w.add_embedding_length(c["hidden_size"])
    w.add_feed_forward_length(c["intermediate_size"])
    w.add_head_count(H)
    w.add_head_count_kv(K)
    w.add_key_length(h)
    w.add_value_length(h)
    w.add_rope_dimension_count(h)
    w.add_rope_freq_base((c.get("rope_parameters") or c)["rope_theta"])
    w.add_layer_norm_rms_eps(c["rms_norm_eps"])
    w.add_vocab_size(c["vocab_size"])
    if tok:
        pieces = [tok.id_to_token(i) for i in range(tok.get_vocab_size())]
        pad = [f"[PAD{i}]" for i in range(len(pieces), c["vocab_size"])]
        w.add_tokenizer_model("gpt2")
        w.add_tokenizer_pre("smollm")
        w.add_token_list(pieces + pad)
        w.add_token_types([3] * 3 + [1] * (len(pieces) - 3) + [5] * len(pad))
        w.add_token_merges([" ".join(m) for m in json.loads(tok.to_str())["model"]["merges"]])
        w.add_bos_token_id(0)
        w.add_eos_token_id(1)
        w.add_add_bos_token(False)
    if c.get("rope_scaling"):
        plain = inverse_frequencies(h, c["rope_theta"], None)
        w.add_tensor("rope_freqs.weight", (plain / inverse_frequencies(h, c["rope_theta"], c["rope_scaling"])).float().numpy())
    parts = {"input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
             "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
             "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
    for full, t in tensors.items():
        stem, kind = full.rsplit(".", 1)
        if stem.startswith("model.layers."):
            _, _, block, part = stem.split(".", 3)
            if parts[part] in ("attn_q", "attn_k"):  # halves of a head to interleaved rows
                n = H if parts[part] == "attn_q" else K
                t = t.reshape(n, 2, h // 2, -1).transpose(1, 2).reshape(t.shape)
            out = f"blk.{block}.{parts[part]}.{kind}"
        else:
            out = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}[stem] + "." + kind
        if t.dtype == torch.bfloat16 and t.ndim == 2:
            w.add_tensor(out, t.contiguous().view(torch.uint16).numpy().view(np.uint8), raw_dtype=gguf.GGMLQuantizationType.BF16)
        else:
            w.add_tensor(out, t.float().contiguous().numpy())
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def main():
    out = os.path.join(HERE, "..", "golden")
    if sys.argv[1:] == ["--check"]:
        for name in ("tiny_llama", "tiny_llama_bias"):
            folder = os.path.join(out, name)
            ids = json.load(open(folder + ".json", encoding="utf-8"))["prompts"][-1]["ids"]
            ours, theirs = (hf_scores.scores(hf_scores.load(folder, t), ids, path_steps=10) for t in (False, True))
            twin = hf_scores.scores(Llama64.from_gguf(folder + ".gguf"), ids, path_steps=10)
            print("%s: transformers %.1e, GGUF twin %.1e" % (name, hf_scores.largest_difference(ours, theirs),
                                                            hf_scores.largest_difference(ours, twin)))
        return
    out = sys.argv[1] if len(sys.argv) > 1 else out
    for name, config, seed, shards in (("tiny_llama", LLAMA, 1, 1), ("tiny_llama_bias", BIAS, 2, 3)):
        folder = os.path.join(out, name)
        tensors = random_tensors(config, seed)
        write_folder(folder, config, tensors, shards)
        tok = None
        if name == "tiny_llama":
            tok = make_tokenizer(300)
            tok.save(os.path.join(folder, "tokenizer.json"), pretty=False)
        write_gguf(folder + ".gguf", name, config, tensors, tok)
        prompts = values(lambda: Llama64.from_folder(folder), config["vocab_size"])
        texts = [] if not tok else [{"text": t, "ids": tok.encode(t, add_special_tokens=False).ids}
                                    for t in ("The lens", " it's 2024!", "a<|end|>b  \n c", "naïve 😀 你好", "")]
        write_json(folder + ".json", rounded({"made_by": "tests/oracle/make_tiny_llama.py", "texts": texts, "prompts": prompts}, 11))


if __name__ == "__main__":
    main()
