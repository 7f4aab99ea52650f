"""The tiny random checkpoints of make_families.py: one row per case, in the words of transformers' configuration classes.

Every trait of a family bites: windows are shorter than the prompts, soft-caps small, rotary scaling is used beyond its original
context, heads are grouped, sizes odd where the family allows it. `few` marks a variant of a family that has a whole case elsewhere.
"""

SHAPE = {"vocab_size": 71, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
         "max_position_embeddings": 64, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
GPT2 = {"vocab_size": 71, "n_embd": 24, "n_layer": 2, "n_head": 4, "n_positions": 32, "bos_token_id": 0, "eos_token_id": 1}
OPT = {"vocab_size": 71, "hidden_size": 24, "ffn_dim": 40, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 32,
       "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": None}
PROMPTS = ((1, 0), (9, 5), (22, 21))
BEYOND = ((9, 8), (22, 21), (20, 11))  # around an original context of 16: within, beyond, and beyond with a position that is within


def rope(kind="default", theta=10000.0, **more):
    return {"rope_type": kind, "rope_theta": theta, **more}


def case(name, kind, shape=SHAPE, dtype="bfloat16", few=False, gguf=None, prompts=PROMPTS, old=None, drop=(), without=(), prefix=None, **config):
    """gguf: llama.cpp's name of the architecture, if a twin can say all of this. old: what the 4.x config has under other keys; drop:
    keys that such a file leaves out, since they are the class's defaults. without: keys of `shape` the class does not know. prefix:
    (as save_pretrained writes it, as it shall be in the file) of the tensors' names."""
    return {"name": name, "kind": kind, "dtype": dtype, "few": few, "gguf": gguf, "prompts": prompts, "old": old, "drop": drop, "prefix": prefix,
            "config": {**{k: v for k, v in shape.items() if k not in without}, **config}}


YARN = {"hidden_size": 32, "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 128}
GEMMA3_TEXT = {**SHAPE, "model_type": "gemma3_text", "head_dim": 6, "num_hidden_layers": 6, "hidden_size": 12, "intermediate_size": 16,
               "query_pre_attn_scalar": 12, "sliding_window": 4,
               "rope_parameters": {"full_attention": rope("linear", 1000.0, factor=4.0), "sliding_attention": rope(theta=50.0)}}
GEMMA3_DEFAULTS = ("rope_parameters", "bos_token_id", "eos_token_id", "pad_token_id")
SIGLIP = {"hidden_size": 4, "intermediate_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 4, "patch_size": 2}
CASES = [
    case("qwen2", "qwen2", use_sliding_window=True, sliding_window=4, max_window_layers=1, tie_word_embeddings=False, num_hidden_layers=3,
         rope_parameters=rope(theta=1000.0), old={"rope_theta": 1000.0, "sliding_window": 4, "use_sliding_window": True},
         drop=("tie_word_embeddings", "rms_norm_eps", "hidden_act", "attention_dropout")),
    case("qwen2_yarn", "qwen2", few=True, gguf="qwen2", dtype="float16", tie_word_embeddings=True, **YARN,
         rope_parameters=rope("yarn", 20.0, factor=4.0, original_max_position_embeddings=32, beta_fast=2.0, beta_slow=1.0),
         old={"rope_theta": 20.0, "rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32, "beta_fast": 2.0,
                                                   "beta_slow": 1.0},
              "use_sliding_window": False, "sliding_window": 4, "max_window_layers": 1}),  # a window that is switched off
    case("qwen3", "qwen3", gguf="qwen3", head_dim=10, tie_word_embeddings=False, rope_parameters=rope(theta=500.0), old={"rope_theta": 500.0},
         drop=("attention_bias", "tie_word_embeddings", "use_sliding_window")),
    case("qwen3_yarn", "qwen3", few=True, head_dim=16, tie_word_embeddings=True, use_sliding_window=True, sliding_window=6, max_window_layers=1,
         rope_parameters=rope("yarn", 20.0, factor=4.0, original_max_position_embeddings=32, attention_factor=1.25),
         old={"rope_theta": 20.0, "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32,
                                                   "attention_factor": 1.25}}),
    case("mistral", "mistral", dtype="float16", sliding_window=4, head_dim=8, tie_word_embeddings=False, rope_parameters=rope(theta=300.0),
         old={"rope_theta": 300.0}, drop=("tie_word_embeddings", "rms_norm_eps")),
    case("gemma", "gemma", gguf="gemma", head_dim=10, num_key_value_heads=1, old={"hidden_act": "gelu"},
         drop=("rope_theta", "tie_word_embeddings", "attention_bias", "hidden_activation", "use_bidirectional_attention")),
    case("gemma2", "gemma2", head_dim=10, query_pre_attn_scalar=20, sliding_window=4, attn_logit_softcapping=2.0, final_logit_softcapping=3.0,
         num_hidden_layers=3, rope_parameters=rope(theta=500.0), old={"rope_theta": 500.0},
         drop=("tie_word_embeddings", "attention_bias", "use_bidirectional_attention")),
    case("gemma2_twin", "gemma2", few=True, gguf="gemma2", dtype="float16", head_dim=8, query_pre_attn_scalar=8, sliding_window=5,
         attn_logit_softcapping=1.5, final_logit_softcapping=4.0, tie_word_embeddings=True),
    case("gemma3", "gemma3_text", head_dim=6, num_hidden_layers=6, hidden_size=20, intermediate_size=28, query_pre_attn_scalar=20, sliding_window=4,
         prompts=((1, 0), (9, 5), (20, 19)),
         rope_parameters={"full_attention": rope("linear", 1000.0, factor=4.0), "sliding_attention": rope(theta=50.0)},
         old={"rope_theta": 1000.0, "rope_scaling": {"rope_type": "linear", "factor": 4.0}, "rope_local_base_freq": 50.0},
         drop=("tie_word_embeddings", "attention_bias", "use_bidirectional_attention", "final_logit_softcapping", "attn_logit_softcapping",
               "_sliding_window_pattern")),
    case("gemma3_twin", "gemma3_text", few=True, gguf="gemma3", head_dim=8, num_hidden_layers=7, hidden_size=16, intermediate_size=24,
         query_pre_attn_scalar=8, sliding_window=5,
         rope_parameters={"full_attention": rope("linear", 500.0, factor=8.0), "sliding_attention": rope(theta=10000.0)}),
    case("gemma3_multimodal", "gemma3", {}, few=True, text_config=GEMMA3_TEXT, vision_config=SIGLIP, mm_tokens_per_image=4,
         old={"text_config": {**{k: v for k, v in GEMMA3_TEXT.items() if k not in GEMMA3_DEFAULTS}, "rope_theta": 1000.0,
                              "rope_scaling": {"rope_type": "linear", "factor": 4.0}, "rope_local_base_freq": 50.0}}),
    case("gemma3_nested", "gemma3", {}, few=True, text_config=GEMMA3_TEXT, vision_config=SIGLIP, mm_tokens_per_image=4,
         prefix=("language_model.model.", "model.language_model.")),
    case("phi3", "phi3", gguf="phi3", tie_word_embeddings=False, sliding_window=None, rope_parameters=rope(theta=1000.0),
         original_max_position_embeddings=64, old={"rope_theta": 1000.0, "rope_scaling": None}, drop=("tie_word_embeddings", "sliding_window")),
    case("phi3_longrope", "phi3", few=True, gguf="phi3", dtype="float16", hidden_size=32, prompts=BEYOND, sliding_window=None,
         original_max_position_embeddings=16,
         rope_parameters=rope("longrope", 1000.0, partial_rotary_factor=0.75, short_factor=[1.0, 1.25, 1.5], long_factor=[1.5, 3.0, 4.5]),
         old={"rope_theta": 1000.0, "partial_rotary_factor": 0.75,
              "rope_scaling": {"type": "longrope", "short_factor": [1.0, 1.25, 1.5], "long_factor": [1.5, 3.0, 4.5]}}),
    case("phi3_window", "phi3", few=True, gguf="phi3", sliding_window=5, rope_parameters=rope(theta=1000.0)),
    case("olmo2", "olmo2", gguf="olmo2", tie_word_embeddings=False, rope_parameters=rope(theta=1000.0), old={"rope_theta": 1000.0},
         drop=("tie_word_embeddings", "attention_bias", "rms_norm_eps")),
    case("granite", "granite", gguf="granite", attention_bias=True, mlp_bias=True, embedding_multiplier=3.0, attention_multiplier=0.25,
         residual_multiplier=0.75, logits_scaling=2.0, tie_word_embeddings=True, rope_parameters=rope(theta=1000.0), old={"rope_theta": 1000.0}),
    case("smollm3", "smollm3", gguf="smollm3", num_hidden_layers=4, no_rope_layer_interval=4, hidden_size=16, intermediate_size=24,
         rope_parameters=rope(theta=1000.0), old={"rope_theta": 1000.0}, drop=("tie_word_embeddings", "attention_bias", "mlp_bias", "no_rope_layers",
                                                                                                      "no_rope_layer_interval")),
    case("smollm3_window", "smollm3", few=True, num_hidden_layers=4, no_rope_layers=[1, 0, 0, 1], use_sliding_window=True, sliding_window=5,
         hidden_size=16, intermediate_size=24, attention_bias=True, mlp_bias=True, tie_word_embeddings=False, rope_parameters=rope(theta=100.0)),
    case("gpt2", "gpt2", GPT2, "float32", gguf="gpt2", old={"n_ctx": 32}, drop=("n_inner", "tie_word_embeddings", "scale_attn_weights",
                                                                             "add_cross_attention", "layer_norm_epsilon", "activation_function")),
    case("gpt2_scaled", "gpt2", GPT2, few=True, prefix=("transformer.", ""), n_layer=3, n_inner=40, scale_attn_by_inverse_layer_idx=True,
         activation_function="gelu"),
    case("gpt_neox", "gpt_neox", without=("num_key_value_heads", "pad_token_id"), num_attention_heads=2, gguf="gptneox",
         rope_parameters=rope(partial_rotary_factor=0.5), old={"rotary_pct": 0.5},
         drop=("tie_word_embeddings", "attention_bias", "layer_norm_eps", "use_parallel_residual", "hidden_act")),
    case("gpt_neox_sequential", "gpt_neox", few=True, without=("num_key_value_heads", "pad_token_id"), num_attention_heads=2,
         use_parallel_residual=False, tie_word_embeddings=True, rope_parameters=rope(theta=100.0, partial_rotary_factor=1.0)),
    case("phi", "phi", dtype="float16", num_attention_heads=3, without=("num_key_value_heads",), qk_layernorm=True, tie_word_embeddings=False,
         rope_parameters=rope(theta=1000.0, partial_rotary_factor=0.5), old={"rope_theta": 1000.0},
         drop=("tie_word_embeddings", "num_key_value_heads", "layer_norm_eps", "hidden_act")),
    case("phi_twin", "phi", few=True, gguf="phi2", hidden_size=16, intermediate_size=64, num_attention_heads=2, without=("num_key_value_heads",),
         tie_word_embeddings=False, rope_parameters=rope(partial_rotary_factor=0.5)),
    case("stablelm", "stablelm", gguf="stablelm", hidden_size=32, num_attention_heads=2, num_key_value_heads=1, use_qkv_bias=True,
         use_parallel_residual=True, qk_layernorm=True, tie_word_embeddings=False, rope_parameters=rope(partial_rotary_factor=0.25), old={},
         drop=("tie_word_embeddings", "layer_norm_eps")),
    case("stablelm_sequential", "stablelm", few=True, gguf="stablelm", hidden_size=32, tie_word_embeddings=False,
         rope_parameters=rope(theta=10000.0, partial_rotary_factor=0.5)),
    case("opt", "opt", OPT, "float16", old={}, drop=("tie_word_embeddings", "enable_bias", "layer_norm_elementwise_affine")),
    case("opt_post", "opt", OPT, few=True, do_layer_norm_before=False, word_embed_proj_dim=16),
    case("glm4", "glm4", gguf="glm4", head_dim=12, attention_bias=True, tie_word_embeddings=False,
         rope_parameters=rope(theta=1000.0, partial_rotary_factor=0.5), old={"rope_theta": 1000.0}, drop=("tie_word_embeddings", "rms_norm_eps", "hidden_act")),
    case("cohere", "cohere", gguf="command-r", logit_scale=0.25, rope_parameters=rope(theta=1000.0), old={"rope_theta": 1000.0},
         drop=("tie_word_embeddings", "use_qk_norm", "attention_bias", "layer_norm_eps", "hidden_act")),
    case("cohere_qk_norm", "cohere", few=True, use_qk_norm=True, logit_scale=0.5, attention_bias=True, rope_parameters=rope(theta=1000.0)),
    case("starcoder2", "starcoder2", gguf="starcoder2", sliding_window=None, rope_parameters=rope(theta=1000.0), old={"rope_theta": 1000.0},
         drop=("tie_word_embeddings",)),
    case("llama3", "llama", few=True, gguf="llama", dtype="float16", hidden_size=32, tie_word_embeddings=True,
         rope_parameters=rope("llama3", 100.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16),
         old={"rope_theta": 100.0, "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                                                    "original_max_position_embeddings": 16}},
         drop=("head_dim", "attention_bias", "mlp_bias")),
    case("llama_linear", "llama", few=True, gguf="llama", rope_parameters=rope("linear", 100.0, factor=4.0), tie_word_embeddings=False,
         old={"rope_theta": 100.0, "rope_scaling": {"type": "linear", "factor": 4.0}}, drop=("head_dim", "attention_bias", "mlp_bias")),
    case("llama_yarn", "llama", few=True, **YARN, tie_word_embeddings=False,
         rope_parameters=rope("yarn", 20.0, factor=4.0, original_max_position_embeddings=32, beta_fast=4.0, beta_slow=0.5, truncate=False,
                              mscale=1.5, mscale_all_dim=0.5)),
    case("llama_dynamic", "llama", few=True, max_position_embeddings=16, prompts=BEYOND, tie_word_embeddings=False,
         rope_parameters=rope("dynamic", 100.0, factor=4.0),
         old={"rope_theta": 100.0, "rope_scaling": {"type": "dynamic", "factor": 4.0}}, drop=("head_dim", "attention_bias", "mlp_bias")),
]
