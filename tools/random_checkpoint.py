#!/usr/bin/env python3
"""random_checkpoint.py: writes a model of the llama family with random bfloat16 weights, for benchmarks of shapes whose weights are not there.

    tools/random_checkpoint.py SHAPE FOLDER      SHAPE: 135m, 1b, 3b, 8b, 70b (SmolLM2-135M, Llama-3.2-1B, -3B, Llama-3.1-8B, -70B) or tiny

The numbers repeat after 8 MB, scaled by the width, so that values stay finite through all blocks. Needs nothing but Python. 1b takes 2.5 GB,
70b 141 GB.
"""
import json
import pathlib
import random
import struct
import sys

SHAPES = {  # d, f, layers, heads, kv heads, head size, vocabulary, tied head
    "tiny": (64, 96, 2, 4, 2, 16, 96, True),
    "135m": (576, 1536, 30, 9, 3, 64, 49152, True),
    "1b": (2048, 8192, 16, 32, 8, 64, 128256, True),
    "3b": (3072, 8192, 28, 24, 8, 128, 128256, True),
    "8b": (4096, 14336, 32, 32, 8, 128, 128256, False),
    "70b": (8192, 28672, 80, 64, 8, 128, 128256, False),
}
NOISE = 1 << 22  # elements


def tensors(shape):
    """(name, rows, columns), columns 0: a vector of ones"""
    d, f, layers, heads, kv, h, vocabulary, tied = SHAPES[shape]
    yield "model.embed_tokens.weight", vocabulary, d
    for layer in range(layers):
        at = f"model.layers.{layer}."
        yield at + "input_layernorm.weight", d, 0
        yield at + "self_attn.q_proj.weight", heads * h, d
        yield at + "self_attn.k_proj.weight", kv * h, d
        yield at + "self_attn.v_proj.weight", kv * h, d
        yield at + "self_attn.o_proj.weight", d, heads * h
        yield at + "post_attention_layernorm.weight", d, 0
        yield at + "mlp.gate_proj.weight", f, d
        yield at + "mlp.up_proj.weight", f, d
        yield at + "mlp.down_proj.weight", d, f
    yield "model.norm.weight", d, 0
    if not tied:
        yield "lm_head.weight", vocabulary, d


def noise(scale):
    """bfloat16 of scale times numbers from -2 to 2, evenly"""
    levels = [struct.pack("<f", scale * (i - 127.5) / 64.0)[2:] for i in range(256)]
    return b"".join(levels[byte] for byte in random.Random(1).randbytes(NOISE))


def write(path, shape):
    header, offset = {}, 0
    for name, rows, columns in tensors(shape):
        size = 2 * rows * max(columns, 1)
        header[name] = {"dtype": "BF16", "shape": [rows, columns] if columns else [rows], "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    cache = {}
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for name, rows, columns in tensors(shape):
            if not columns:
                out.write(b"\x80\x3f" * rows)
                continue
            width = 1 if "embed" in name else columns
            numbers = cache.setdefault(width, noise(0.8 * width**-0.5))
            left = 2 * rows * columns
            while left > 0:
                out.write(numbers[:left])
                left -= len(numbers)


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in SHAPES:
        sys.exit(__doc__)
    shape, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    d, f, layers, heads, kv, h, vocabulary, tied = SHAPES[shape]
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": d, "intermediate_size": f, "num_hidden_layers": layers,
        "num_attention_heads": heads, "num_key_value_heads": kv, "head_dim": h, "vocab_size": vocabulary, "tie_word_embeddings": tied,
        "max_position_embeddings": 131072, "rms_norm_eps": 1e-5, "rope_theta": 500000.0, "hidden_act": "silu",
    }
    (folder / "config.json").write_text(json.dumps(config))
    write(folder / "model.safetensors", shape)


if __name__ == "__main__":
    main()
