/* test_config_families.c: what the families' rules make of config.json: windows, tables, norms, scales (docs/formats.md). */
#include "model_internal.h"
#include "support/refusal.h"
#include "support/tiny_files.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* A decoder of 6 blocks, with the fields of text beside or instead of its own, read by the rules of a family. */
static jsc_status read_as(const char *family, const char *extra, struct config *out, jsc_error *error)
{
    static const char *const sizes =
        "\"hidden_size\":32,\"intermediate_size\":48,\"num_hidden_layers\":6,\"num_attention_heads\":4,\"num_key_value_heads\":2,"
        "\"head_dim\":8,\"vocab_size\":100,\"max_position_embeddings\":64,\"n_embd\":32,\"n_layer\":6,\"n_head\":4,\"n_positions\":64,"
        "\"ffn_dim\":48";
    struct strbuf own = {0}, more = {0};
    json_t *root = NULL, *fields = NULL;
    const struct family *f = family_find(family, false);
    cr_assert(f != NULL, "no family %s", family);
    strbuf_printf(&own, "{\"model_type\":\"%s\",%s}", family, sizes);
    strbuf_printf(&more, "{%s}", extra);
    jsc_status status = json_parse("config.json", own.text, own.n, &root, error);
    if (status == JSC_OK)
        status = json_parse("extra", more.text, more.n, &fields, error);
    if (status == JSC_OK) {
        (void)json_object_update(root, fields);
        status = config_from_json("config.json", root, &f->rules, out, error);
    }
    json_decref(root);
    json_decref(fields);
    strbuf_free(&own);
    strbuf_free(&more);
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

/* Heads share no keys in these families, whatever a file says: rows of theirs are moved by that. */
Test(config_families, no_shared_keys_where_the_family_has_none)
{
    static const char *const names[] = {"gpt2", "gpt_neox", "opt"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct config c = ACCEPT(names[i], "\"num_key_value_heads\":1");
        cr_expect(c.H == 4 && c.K == 4, "%s: %d", names[i], (int)c.K);
    }
    struct config c = ACCEPT("phi", "\"num_key_value_heads\":1");
    cr_expect(c.K == 1);
}

static void refuse_root(int line, const char *text, const char *words)
{
    char family[48] = "";
    json_t *root = NULL;
    jsc_error error = {0};
    cr_assert(json_parse("config.json", text, strlen(text), &root, &error) == JSC_OK, "line %d", line);
    expect_refusal_at(line, config_family_json("config.json", root, family, sizeof family, &error), JSC_E_UNSUPPORTED, &error, words);
    json_decref(root);
}

Test(config_families, what_reads_more_than_text)
{
    char family[48] = "";
    jsc_error error = {0};
    json_t *root = json_pack("{s:s, s:{s:s}, s:[s]}", "model_type", "mistral3", "text_config", "model_type", "mistral", "architectures",
                             "Mistral3ForConditionalGeneration");
    cr_expect(config_family_json("c", root, family, sizeof family, &error) == JSC_OK && strcmp(family, "mistral") == 0, "%s", error.text);
    json_decref(root);
    for (int i = 0; i < 3; i++) { /* the head is the embedding if either part says so */
        struct config c = {0};
        root = json_pack("{s:s, s:b, s:{s:s, s:b, s:i, s:i, s:i, s:i, s:i}}", "model_type", "mistral3", "tie_word_embeddings", i == 1,
                         "text_config", "model_type", "mistral", "tie_word_embeddings", i == 2, "hidden_size", 64, "intermediate_size", 8,
                         "num_hidden_layers", 1, "num_attention_heads", 8, "vocab_size", 9);
        cr_assert(config_from_json("c", root, &family_find("mistral", false)->rules, &c, &error) == JSC_OK, "%s", error.text);
        cr_expect(c.tied == (i > 0), "%d", i);
        config_free(&c);
        json_decref(root);
    }
    refuse_root(__LINE__,
                "{\"model_type\":\"paligemma\",\"text_config\":{\"model_type\":\"gemma2\"},"
                "\"architectures\":[\"PaliGemmaForConditionalGeneration\"]}",
                "\"paligemma\" around a text_config|gemma3");
    refuse_root(__LINE__, "{\"text_config\":{\"model_type\":\"llama\"}}", "\"\" around a text_config");
    refuse_root(__LINE__, "{\"model_type\":\"qwen2_vl\",\"architectures\":[\"Qwen2VLForConditionalGeneration\"]}",
                "Qwen2VLForConditionalGeneration reads more than the text");
    UNSUPPORTED("qwen2", "\"rope_scaling\":{\"type\":\"default\",\"mrope_section\":[1,1,2]}", "rope_scaling|mrope_section");
    struct config c = ACCEPT("qwen2", "\"rope_scaling\":{\"type\":\"default\",\"mrope_section\":null}");
    config_free(&c);
}

/* model_type of relatives that compute something else: none may be taken for a family of the table. */
Test(config_families, relatives_are_other_families)
{
    static const char *const others[] = {
        "phi3small",         "phimoe",       "phi4mm",  "mixtral", "qwen2_moe",  "qwen3_moe",      "qwen3_next",
        "gemma3n",           "gemma3n_text", "olmo",    "olmo3",   "granitemoe", "stablelm_epoch", "gpt_bigcode",
        "gpt_neox_japanese", "gptj",         "cohere2", "glm",     "chatglm",    "falcon",         "llama4",
        "llama4_text",       "ministral",    "bloom",   "mpt",     "starcoder"};
    static const char *const archs[] = {"falcon",  "clip", "gemma3n", "qwen2moe",  "qwen3moe",
                                        "qwen2vl", "olmo", "cohere2", "starcoder", "llama4"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        cr_expect(family_find(others[i], false) == NULL, "%s", others[i]);
    for (size_t i = 0; i < sizeof archs / sizeof archs[0]; i++)
        cr_expect(family_find(archs[i], true) == NULL, "%s", archs[i]);
}

/* A StableLM file of H heads of h components with one more key. */
static jsc_status read_stablelm(uint32_t h, const char *name, uint32_t value, struct config *out, jsc_error *error)
{
    static const char *const keys[] = {"stablelm.block_count", "stablelm.context_length", "stablelm.feed_forward_length",
                                       "stablelm.attention.head_count"};
    char folder[128];
    struct strbuf s = {0};
    struct gguf *g = NULL;
    tiny_folder(folder);
    gguf_begin(&s, 3, 1, 7);
    gguf_string(&s, "general.architecture", "stablelm");
    gguf_u32(&s, "stablelm.embedding_length", 2 * h);
    for (size_t i = 0; i < 4; i++)
        gguf_u32(&s, keys[i], 2);
    gguf_u32(&s, name, value);
    gguf_tensor(&s, "token_embd.weight", 2, (uint64_t[]){2, 2}, 0, 0);
    gguf_pad(&s, 32);
    gguf_put(&s, (float[4]){0}, sizeof(float[4]));
    tiny_write(tiny_path(folder, "x.gguf"), s.text, s.n);
    jsc_status status = gguf_open(tiny_path(folder, "x.gguf"), &g, error);
    if (status == JSC_OK)
        status = config_from_gguf(g, &family_find("stablelm", true)->rules, out, error);
    gguf_close(g);
    strbuf_free(&s);
    tiny_remove(folder);
    return status;
}

Test(config_families, gguf_counts)
{
    struct config c = {0};
    jsc_error error = {0};
    for (uint32_t h = 44; h <= 56; h++) /* 30 / 44 * 44 is less than 30 in floating point */
        for (uint32_t rotated = 2; rotated <= h; rotated += 2) {
            cr_assert(read_stablelm(h, "stablelm.rope.dimension_count", rotated, &c, &error) == JSC_OK, "%s", error.text);
            cr_expect(c.h == h && c.rotated == rotated, "%u of %u: %d", rotated, h, (int)c.rotated);
        }
    expect_refusal(read_stablelm(8, "stablelm.rope.dimension_count", 10, &c, &error), JSC_E_FORMAT, &error, "rope.dimension_count is 10|8");
    expect_refusal(read_stablelm(8, "stablelm.expert_count", 8, &c, &error), JSC_E_UNSUPPORTED, &error,
                   "stablelm.expert_count is 8|mixtures of experts");
    cr_expect(read_stablelm(8, "stablelm.expert_count", 0, &c, &error) == JSC_OK && c.rotated == 8, "%s", error.text);
}

/* Configs as published: each a spelling that once mattered. */
Test(config_families, published_spellings)
{
    struct config c = ACCEPT("llama", "\"head_dim\":null,\"pretraining_tp\":1,\"rope_scaling\":null,\"rope_theta\":500000");
    cr_expect(c.h == 8 && c.rope_theta == 5e5 && c.scaling == ROPE_NONE && c.n_warnings == 0);
    UNSUPPORTED("llama", "\"num_attention_heads\":65536,\"num_key_value_heads\":1,\"head_dim\":65536", "65536 + 2 x 1 heads of 65536");
    REFUSE("llama", "\"num_hidden_layers\":null", "num_hidden_layers is absent");
    c = ACCEPT("mistral", "\"head_dim\":16,\"sliding_window\":null,\"rope_theta\":1000000.0"); /* Nemo */
    cr_expect(c.h == 16 && c.window == 0 && c.rope_theta == 1e6);
    c = ACCEPT("phi3", /* Phi-4-mini: 3 of 4 pairs rotate, a factor for each */
               "\"partial_rotary_factor\":0.75,\"original_max_position_embeddings\":16,\"rope_scaling\":{\"type\":\"longrope\","
               "\"short_factor\":[1,1,1],\"long_factor\":[1,2,3]}");
    cr_expect(c.rotated == 6 && c.n_factors == 3 && c.factor == 4);
    config_free(&c);
    c = ACCEPT("gpt2", "\"n_positions\":null,\"n_ctx\":1024,\"n_inner\":null");
    cr_expect(c.max_position == 1024 && c.f == 128);
    c = ACCEPT("gpt_neox", "\"hidden_act\":\"gelu_fast\",\"rotary_pct\":0.25,\"rotary_emb_base\":10000"); /* 20B */
    cr_expect(c.rotated == 2 && strcmp(c.activation, "gelu_fast") == 0);
    c = ACCEPT("opt", "\"activation_function\":\"gelu\",\"enable_bias\":false,\"layer_norm_elementwise_affine\":false," /* Galactica */
                      "\"do_layer_norm_before\":true,\"_remove_final_layer_norm\":false,\"word_embed_proj_dim\":32");
    cr_expect(c.qkv_bias == false && !c.mlp_bias && !c.norm_weights && c.final_norm && strcmp(c.activation, "gelu") == 0);
    c = ACCEPT("stablelm", "\"use_qkv_bias\":false,\"use_parallel_residual\":false,\"partial_rotary_factor\":0.25"); /* Zephyr 3B */
    cr_expect(c.layout == LAYOUT_SEQUENTIAL && c.rotated == 2 && !c.qkv_bias);
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
