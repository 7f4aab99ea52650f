/* test_config_families.c: what the families' rules make of config.json: windows, tables, norms, scales (docs/formats.md). */
#include "model_internal.h"
#include "support/refusal.h"
#include "support/tiny_files.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* A decoder of 6 blocks with the extra fields of text, read by the rules of a family. */
static jsc_status read_as(const char *family, const char *extra, struct config *out, jsc_error *error)
{
    static const char *const sizes =
        "\"hidden_size\":32,\"intermediate_size\":48,\"num_hidden_layers\":6,\"num_attention_heads\":4,\"num_key_value_heads\":2,"
        "\"head_dim\":8,\"vocab_size\":100,\"max_position_embeddings\":64,\"n_embd\":32,\"n_layer\":6,\"n_head\":4,\"n_positions\":64,"
        "\"ffn_dim\":48";
    struct strbuf s = {0};
    json_t *root = NULL;
    const struct family *f = family_find(family, false);
    cr_assert(f != NULL, "no family %s", family);
    strbuf_printf(&s, "{\"model_type\":\"%s\",%s%s%s}", family, sizes, extra[0] != '\0' ? "," : "", extra);
    jsc_status status = json_parse("config.json", s.text, s.n, &root, error);
    if (status == JSC_OK)
        status = config_from_json("config.json", root, &f->rules, out, error);
    json_decref(root);
    strbuf_free(&s);
    return status;
}

static struct config accept_at(int line, const char *family, const char *extra)
{
    struct config c = {0};
    jsc_error error = {0};
    cr_assert(read_as(family, extra, &c, &error) == JSC_OK, "line %d: %s, %s: %s", line, family, extra, error.text);
    return c;
}
#define ACCEPT(family, extra) accept_at(__LINE__, family, extra)

static void refuse_at(int line, const char *family, const char *extra, jsc_status want, const char *words)
{
    struct config c = {0};
    jsc_error error = {0};
    const size_t before = mem_live_bytes();
    expect_refusal_at(line, read_as(family, extra, &c, &error), want, &error, words);
    cr_expect(mem_live_bytes() == before, "line %d: memory leaks", line);
}
#define REFUSE(family, extra, words)      refuse_at(__LINE__, family, extra, JSC_E_FORMAT, words)
#define UNSUPPORTED(family, extra, words) refuse_at(__LINE__, family, extra, JSC_E_UNSUPPORTED, words)

/* "w.w." for the blocks that have a flag. */
static void expect_blocks(int line, struct config *c, enum block_flag flag, const char *want)
{
    char got[LAYERS_MAX + 1] = "";
    for (int64_t l = 0; l < c->n_layers; l++)
        got[l] = c->blocks[l] & flag ? 'x' : '.';
    cr_expect(strcmp(got, want) == 0, "line %d: blocks %s, want %s", line, got, want);
    config_free(c);
}
#define BLOCKS(family, extra, flag, want)                                                                                                  \
    do {                                                                                                                                   \
        struct config read = ACCEPT(family, extra);                                                                                        \
        expect_blocks(__LINE__, &read, flag, want);                                                                                        \
    } while (0)

TestSuite(config_families, .timeout = 60);

Test(config_families, case_11_windows)
{
    BLOCKS("mistral", "", BLOCK_WINDOW, "xxxxxx");
    BLOCKS("mistral", "\"sliding_window\":null", BLOCK_WINDOW, "......");
    BLOCKS("qwen2", "\"sliding_window\":4", BLOCK_WINDOW, "......"); /* switched off unless use_sliding_window */
    BLOCKS("qwen2", "\"use_sliding_window\":true,\"max_window_layers\":4", BLOCK_WINDOW, "....xx");
    BLOCKS("qwen3", "\"use_sliding_window\":true", BLOCK_WINDOW, "......"); /* from block 28 on */
    BLOCKS("gemma2", "", BLOCK_WINDOW, "x.x.x.");
    BLOCKS("gemma3_text", "", BLOCK_WINDOW, "xxxxx.");
    BLOCKS("gemma3_text", "\"sliding_window_pattern\":3", BLOCK_LOCAL_ROPE, "xx.xx.");
    BLOCKS("phi3", "", BLOCK_WINDOW, "......");
    BLOCKS("phi3", "\"sliding_window\":2047", BLOCK_WINDOW, "xxxxxx");
    BLOCKS("gemma2",
           "\"layer_types\":[\"full_attention\",\"sliding_attention\",\"full_attention\",\"full_attention\",\"full_attention\","
           "\"full_attention\"]",
           BLOCK_WINDOW, ".x....");
    struct config c = ACCEPT("gemma2", "\"sliding_window\":7");
    cr_expect(c.window == 7);
    c = ACCEPT("qwen2", "\"sliding_window\":7");
    cr_expect(c.window == 0 && c.n_warnings == 0);
    REFUSE("gemma2", "\"layer_types\":[\"full_attention\"]", "layer_types is not a list of 6 names");
    UNSUPPORTED("gemma2", "\"layer_types\":[1,2,3,4,5,6]", "layer_types: block 0");
    UNSUPPORTED("llama",
                "\"layer_types\":[\"full_attention\",\"full_attention\",\"chunked_attention\",\"full_attention\",\"full_attention\","
                "\"full_attention\"]",
                "block 2 is \"chunked_attention\"");
}

Test(config_families, blocks_without_rotary_embeddings)
{
    BLOCKS("smollm3", "", BLOCK_ROTARY, "xxx.xx");
    BLOCKS("smollm3", "\"no_rope_layer_interval\":2", BLOCK_ROTARY, "x.x.x.");
    BLOCKS("smollm3", "\"no_rope_layers\":[1,0,0,1,1,1]", BLOCK_ROTARY, "x..xxx");
    BLOCKS("smollm3", "\"use_sliding_window\":true,\"sliding_window\":5", BLOCK_WINDOW, "...x..");
    REFUSE("smollm3", "\"no_rope_layers\":[1,0]", "no_rope_layers is not a list of 6 numbers");
    REFUSE("smollm3", "\"no_rope_layers\":[1,0,0,1,1,2]", "block 5 is neither 0 nor 1");
    BLOCKS("gpt2", "", BLOCK_ROTARY, "......");
    BLOCKS("llama", "", BLOCK_ROTARY, "xxxxxx");
}

Test(config_families, case_09_two_tables_in_both_spellings)
{
    struct config c = ACCEPT("gemma3_text", "\"rope_parameters\":{\"full_attention\":{\"rope_type\":\"linear\",\"factor\":8,"
                                            "\"rope_theta\":2e6},\"sliding_attention\":{\"rope_type\":\"default\",\"rope_theta\":5000}}");
    cr_expect(c.rope_theta == 2e6 && c.scaling == ROPE_LINEAR && c.factor == 8 && c.local_theta == 5000);
    c = ACCEPT("gemma3_text", "\"rope_theta\":2e6,\"rope_local_base_freq\":5000,\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":8}");
    cr_expect(c.rope_theta == 2e6 && c.scaling == ROPE_LINEAR && c.factor == 8 && c.local_theta == 5000);
    c = ACCEPT("gemma3_text", "");
    cr_expect(c.rope_theta == 1e6 && c.scaling == ROPE_NONE && c.local_theta == 1e4);
    UNSUPPORTED("gemma3_text", "\"rope_parameters\":{\"sliding_attention\":{\"rope_type\":\"yarn\",\"factor\":2}}",
                "yarn|sliding_attention");
    UNSUPPORTED("llama", "\"rope_parameters\":{\"full_attention\":{\"rope_type\":\"default\"}}", "full_attention");
}

Test(config_families, case_10_longrope_and_partial_rotary)
{
    const char *factors = "\"short_factor\":[1,1,2,2],\"long_factor\":[1,2,3,4]";
    char extra[256];
    (void)snprintf(extra, sizeof extra, "\"original_max_position_embeddings\":16,\"rope_scaling\":{\"type\":\"longrope\",%s}", factors);
    struct config c = ACCEPT("phi3", extra);
    cr_expect(c.scaling == ROPE_LONGROPE && c.n_factors == 4 && c.long_factors[3] == 4 && c.short_factors[2] == 2 && c.factor == 4 &&
              c.original_max_position == 16);
    config_free(&c);
    for (int i = 0; i < 2; i++) { /* other words of the same */
        (void)snprintf(extra, sizeof extra, "\"rope_scaling\":{\"type\":\"%s\",%s}", i == 0 ? "su" : "yarn", factors);
        c = ACCEPT("phi3", extra);
        cr_expect(c.scaling == ROPE_LONGROPE);
        config_free(&c);
    }
    REFUSE("phi3", "\"rope_scaling\":{\"type\":\"longrope\",\"short_factor\":[1,1],\"long_factor\":[1,1]}", "2 factors|4 pairs");
    REFUSE("phi3", "\"rope_scaling\":{\"type\":\"longrope\",\"short_factor\":[1,1],\"long_factor\":[1]}", "long_factor is not a list");
    REFUSE("phi3", "\"rope_scaling\":{\"type\":\"longrope\",\"short_factor\":[1,1,0,1],\"long_factor\":[1,1,1,1]}",
           "short_factor: entry 2");
    c = ACCEPT("gpt_neox", "");
    cr_expect(c.partial_rotary == 0.25);
    c = ACCEPT("gpt_neox", "\"rotary_pct\":0.5,\"rotary_emb_base\":500");
    cr_expect(c.partial_rotary == 0.5 && c.rope_theta == 500);
    c = ACCEPT("phi", "\"rope_parameters\":{\"rope_theta\":77,\"partial_rotary_factor\":1.0}");
    cr_expect(c.partial_rotary == 1.0 && c.rope_theta == 77);
}

Test(config_families, case_12_caps_and_scales)
{
    struct config c = ACCEPT("gemma2", "");
    cr_expect(c.attn_cap == 50 && c.final_cap == 30 && fabs(c.attn_scale - 1.0 / 16) < 1e-15 && c.embed_scale == sqrt(32));
    c = ACCEPT("gemma2", "\"attn_logit_softcapping\":null,\"final_logit_softcapping\":3,\"query_pre_attn_scalar\":4");
    cr_expect(c.attn_cap == 0 && c.final_cap == 3 && c.attn_scale == 0.5);
    c = ACCEPT("gemma3_text", "");
    cr_expect(c.attn_cap == 0 && c.final_cap == 0);
    c = ACCEPT("llama", "\"attn_logit_softcapping\":3");
    cr_expect(c.attn_cap == 0 && c.attn_scale == 0, "no trait of llama");
    REFUSE("gemma2", "\"attn_logit_softcapping\":0", "attn_logit_softcapping is 0");
    REFUSE("gemma2", "\"final_logit_softcapping\":-3", "final_logit_softcapping is -3");
    c = ACCEPT("granite", "\"embedding_multiplier\":12,\"attention_multiplier\":0.25,\"residual_multiplier\":0.5,\"logits_scaling\":8");
    cr_expect(c.embed_scale == 12 && c.attn_scale == 0.25 && c.residual_scale == 0.5 && c.logit_scale == 0.125);
    c = ACCEPT("granite", "");
    cr_expect(c.attn_scale == 1.0, "not 1/sqrt(h)");
    c = ACCEPT("cohere", "");
    cr_expect(c.logit_scale == 0.0625);
    c = ACCEPT("gpt2", "\"scale_attn_weights\":false,\"scale_attn_by_inverse_layer_idx\":true");
    cr_expect(c.attn_scale == 1.0 && c.scale_by_block);
    UNSUPPORTED("gemma3_text", "\"use_bidirectional_attention\":true", "use_bidirectional_attention");
}

Test(config_families, case_13_biases_and_layouts)
{
    struct config c = ACCEPT("qwen2", "");
    cr_expect(c.qkv_bias && !c.o_bias && !c.mlp_bias);
    c = ACCEPT("mistral", "\"attention_bias\":true");
    cr_expect(c.qkv_bias == false, "transformers' mistral has none");
    c = ACCEPT("opt", "\"enable_bias\":false,\"do_layer_norm_before\":false,\"word_embed_proj_dim\":16");
    cr_expect(c.layout == LAYOUT_POST_SUM && !c.qkv_bias && !c.mlp_bias && c.layout == LAYOUT_POST_SUM && !c.final_norm &&
              c.embed_width == 16);
    c = ACCEPT("opt", "");
    cr_expect(c.qkv_bias && c.mlp_bias && c.layout == LAYOUT_SEQUENTIAL && c.final_norm && c.embed_width == 32 && c.f == 48);
    c = ACCEPT("opt", "\"_remove_final_layer_norm\":true,\"layer_norm_elementwise_affine\":false");
    cr_expect(c.final_norm == false && c.norm_weights == false);
    c = ACCEPT("gpt_neox", "");
    cr_expect(c.layout == LAYOUT_PARALLEL);
    c = ACCEPT("gpt_neox", "\"use_parallel_residual\":false");
    cr_expect(c.layout == LAYOUT_SEQUENTIAL);
    c = ACCEPT("stablelm", "");
    cr_expect(c.layout == LAYOUT_SEQUENTIAL && !c.qkv_bias && !c.qk_norm);
    c = ACCEPT("stablelm", "\"use_parallel_residual\":true,\"qk_layernorm\":true,\"use_qkv_bias\":true");
    cr_expect(c.layout == LAYOUT_PARALLEL_ONE && c.qkv_bias && c.qk_norm);
    c = ACCEPT("olmo2", "");
    cr_expect(c.layout == LAYOUT_POST_BRANCH && c.qk_norm);
}

Test(config_families, other_spellings_and_defaults)
{
    struct config c = ACCEPT("gpt2", "\"layer_norm_epsilon\":1e-3,\"activation_function\":\"relu\"");
    cr_expect(c.d == 32 && c.f == 128 && c.n_layers == 6 && c.H == 4 && c.max_position == 64 && c.norm_eps == 1e-3 && c.tied);
    cr_expect(strcmp(c.activation, "relu") == 0);
    c = ACCEPT("opt", "\"layer_norm_eps\":1e-3");
    cr_expect(c.norm_eps == 1e-5, "OPT has no such key");
    static const struct {
        const char *family;
        int64_t K, h;
    } absent[] = {{"llama", 4, 8}, {"mistral", 8, 8}, {"qwen3", 32, 128}, {"gemma", 16, 256}, {"glm4", 2, 128}};
    for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++) {
        const struct config_rules *r = &family_find(absent[i].family, false)->rules;
        const int64_t K = r->absent_K < 0 ? 4 : r->absent_K, h = r->absent_h < 0 ? 8 : r->absent_h;
        cr_expect(K == absent[i].K && h == absent[i].h, "%s", absent[i].family);
    }
}

Test(config_families, every_family_is_whole)
{
    for (size_t i = 0; i < family_count(); i++) {
        const struct family *f = family_at(i);
        struct config c = {0};
        jsc_error error = {0};
        cr_expect(read_as(f->name, "", &c, &error) == JSC_OK, "%s: %s", f->name, error.text);
        config_free(&c);
        cr_expect(family_find(f->name, false) == f && (f->gguf_name == NULL || family_find(f->gguf_name, true) == f), "%s", f->name);
        cr_expect(f->models != NULL && f->activation != NULL && f->rules.norm_eps > 0.0, "%s", f->name);
        cr_expect(f->rules.rope_theta > 1.0 || (f->rules.traits & TRAIT_NO_ROTARY), "%s", f->name);
        for (int g = 0; g < (f->gguf_name != NULL ? 2 : 1); g++) {
            const struct family_names *n = g == 1 ? &f->gguf : &f->hf;
            cr_expect(n->embed != NULL && n->final_norm != NULL && n->head != NULL && n->o != NULL && n->down != NULL, "%s", f->name);
            cr_expect(n->qkv != NULL || (n->q != NULL && n->k != NULL && n->v != NULL), "%s", f->name);
            cr_expect(n->gate_up != NULL || (n->up != NULL && (n->gate != NULL) == f->gated), "%s", f->name);
        }
    }
}
