"""The llama family in plain float64 PyTorch, written from the equations: the primary oracle of the golden values.

transformers keeps rotary tables, RMSNorm and the eager softmax in float32 even for a float64 model, a floor of about 3e-7. Here
every step is float64, so that the `ref` backend can be held to 1e-6 and better. hf_scores.py --check compares the two.

    x = E[ids];   per block:  x += Wo A(Wq n, Wk n, Wv n),  n = rms(x) w1;   x += Wd (silu(Wg n) * (Wu n)),  n = rms(x) w2
    y = rms(x) w;   z = W y
"""
import json
import math
import os

import torch

F64 = torch.float64


def inverse_frequencies(h, theta, scaling):
    """Rotary inverse frequencies [h/2]; scaling is None or the dictionary of config.json."""
    f = theta ** (-torch.arange(0, h, 2, dtype=F64) / h)
    kind = (scaling or {}).get("rope_type", (scaling or {}).get("type", "default"))
    if kind == "default":
        return f
    if kind == "linear":
        return f / scaling["factor"]
    if kind != "llama3":
        raise ValueError(f"rope scaling {kind}: not in this oracle")
    low, high, original = scaling["low_freq_factor"], scaling["high_freq_factor"], scaling["original_max_position_embeddings"]
    turns = original * f / (2 * math.pi)  # turns of each pair within the original context
    s = ((turns - low) / (high - low)).clamp(0, 1)
    return (1 - s) * f / scaling["factor"] + s * f


class Llama64:
    """embed(ids), run(x) and head(y) are all that hf_scores.py asks of a model."""

    def __init__(self, d, n_layers, n_heads, n_kv_heads, head_dim, eps, inv_freq, tensors):
        self.d, self.L, self.H, self.K, self.h, self.eps = d, n_layers, n_heads, n_kv_heads, head_dim, eps
        self.inv_freq, self.w = inv_freq, {name: t.to(F64) for name, t in tensors.items()}
        self.head_weight = self.w.get("lm_head.weight", self.w["model.embed_tokens.weight"])

    @staticmethod
    def from_folder(path):
        from safetensors.torch import load_file
        with open(os.path.join(path, "config.json")) as f:
            c = json.load(f)
        tensors = {}
        for name in sorted(os.listdir(path)):
            if name.endswith(".safetensors"):
                tensors.update(load_file(os.path.join(path, name)))
        scaling = c.get("rope_scaling") or c.get("rope_parameters") or {}
        h = c.get("head_dim") or c["hidden_size"] // c["num_attention_heads"]
        inv_freq = inverse_frequencies(h, scaling.get("rope_theta", c.get("rope_theta", 10000.0)), scaling)
        return Llama64(c["hidden_size"], c["num_hidden_layers"], c["num_attention_heads"],
                       c.get("num_key_value_heads", c["num_attention_heads"]), h, c["rms_norm_eps"], inv_freq, tensors)

    @staticmethod
    def from_gguf(path):
        import gguf
        reader = gguf.GGUFReader(path)

        def key(name, default=None):
            field = reader.fields.get("llama." + name)
            return default if field is None else field.contents()
        d, H = key("embedding_length"), key("attention.head_count")
        K, h = key("attention.head_count_kv", H), key("attention.key_length", d // H)
        stored = {t.name: torch.from_numpy(gguf.dequantize(t.data, t.tensor_type).copy()) for t in reader.tensors}
        inv_freq = inverse_frequencies(h, key("rope.freq_base", 10000.0), None)
        if "rope_freqs.weight" in stored:
            inv_freq = inv_freq / stored.pop("rope_freqs.weight").to(F64)
        parts = {"attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
                 "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj",
                 "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
        outside = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
        tensors = {}
        for name, t in stored.items():
            stem, kind = name.rsplit(".", 1)
            if stem in outside:
                tensors[f"{outside[stem]}.{kind}"] = t
                continue
            _, block, part = stem.split(".")
            if part in ("attn_q", "attn_k"):  # rows of a head are interleaved in the file: back to halves
                t = t.reshape(H if part == "attn_q" else K, h // 2, 2, -1).transpose(1, 2).reshape(t.shape)
            tensors[f"model.layers.{block}.{parts[part]}.{kind}"] = t
        return Llama64(d, key("block_count"), H, K, h, key("attention.layer_norm_rms_epsilon"), inv_freq, tensors)

    def linear(self, name, x):
        y, bias = x @ self.w[name + ".weight"].T, self.w.get(name + ".bias")
        return y if bias is None else y + bias

    def rms(self, name, x):
        return self.w[name + ".weight"] * x / torch.sqrt((x * x).mean(-1, keepdim=True) + self.eps)

    def rotate(self, x):  # [heads, T, h]; pairs (j, j + h/2)
        angle = torch.arange(x.shape[1], dtype=F64)[:, None] * self.inv_freq
        c, s, (a, b) = angle.cos(), angle.sin(), x.chunk(2, -1)
        return torch.cat([a * c - b * s, b * c + a * s], -1)

    def attention(self, p, n):
        T, group = n.shape[0], self.H // self.K

        def heads(name, count):
            return self.linear(p + name, n).reshape(T, count, self.h).transpose(0, 1)
        q, k, v = self.rotate(heads("q_proj", self.H)), self.rotate(heads("k_proj", self.K)), heads("v_proj", self.K)
        k, v = k.repeat_interleave(group, 0), v.repeat_interleave(group, 0)
        s = q @ k.transpose(1, 2) / math.sqrt(self.h)
        s = s.masked_fill(torch.ones(T, T, dtype=torch.bool).triu(1), -math.inf)
        return self.linear(p + "o_proj", (s.softmax(-1) @ v).transpose(0, 1).reshape(T, self.H * self.h))

    def embed(self, ids):
        return self.w["model.embed_tokens.weight"][ids]

    def token_rows(self):
        return self.w["model.embed_tokens.weight"]

    def run(self, x):
        """Inputs of every block, [L] of [T, d], and the final hidden states y [T, d]."""
        inputs = []
        for layer in range(self.L):
            p = f"model.layers.{layer}."
            inputs.append(x)
            x = x + self.attention(p + "self_attn.", self.rms(p + "input_layernorm", x))
            n = self.rms(p + "post_attention_layernorm", x)
            gate, up = self.linear(p + "mlp.gate_proj", n), self.linear(p + "mlp.up_proj", n)
            x = x + self.linear(p + "mlp.down_proj", gate * torch.sigmoid(gate) * up)
        return inputs, self.rms("model.norm", x)

    def head(self, y):
        return y @ self.head_weight.T
