/* families.c: one row per model family: traits that the walks read, defaults of absent config fields, tensor names.
 *
 * To add a family: a row here and a golden file. A new trait also changes forward.c, vjp.c and the `ref` tests. */
#include "model_internal.h"

#include <string.h>

static const struct family families[] = {
    {
        .name = "llama",
        .gguf_name = "llama",
        .norm = NORM_RMS,
        .norm_offset = 0.0,
        .gated = true,
        .activation = "silu",
        .rope = ROPE_HALF_SPLIT,
        .gguf_permuted = true,
        .defaults = {.norm_eps = 1e-6, .rope_theta = 10000.0, .tied = false, .absent_K = -1, .absent_h = -1, .max_position = 2048},
        .hf = {.embed = "model.embed_tokens",
               .final_norm = "model.norm",
               .head = "lm_head",
               .attn_norm = "model.layers.%d.input_layernorm",
               .q = "model.layers.%d.self_attn.q_proj",
               .k = "model.layers.%d.self_attn.k_proj",
               .v = "model.layers.%d.self_attn.v_proj",
               .o = "model.layers.%d.self_attn.o_proj",
               .mlp_norm = "model.layers.%d.post_attention_layernorm",
               .gate = "model.layers.%d.mlp.gate_proj",
               .up = "model.layers.%d.mlp.up_proj",
               .down = "model.layers.%d.mlp.down_proj"},
        .gguf = {.embed = "token_embd",
                 .final_norm = "output_norm",
                 .head = "output",
                 .attn_norm = "blk.%d.attn_norm",
                 .q = "blk.%d.attn_q",
                 .k = "blk.%d.attn_k",
                 .v = "blk.%d.attn_v",
                 .o = "blk.%d.attn_output",
                 .mlp_norm = "blk.%d.ffn_norm",
                 .gate = "blk.%d.ffn_gate",
                 .up = "blk.%d.ffn_up",
                 .down = "blk.%d.ffn_down"},
    },
};

size_t family_count(void)
{
    return sizeof families / sizeof families[0];
}

const struct family *family_at(size_t i)
{
    return i < family_count() ? &families[i] : NULL;
}

const struct family *family_find(const char *name, bool gguf)
{
    for (size_t i = 0; i < family_count(); i++) {
        const char *own = gguf && families[i].gguf_name != NULL ? families[i].gguf_name : families[i].name;
        if (strcmp(own, name) == 0)
            return &families[i];
    }
    return NULL;
}
