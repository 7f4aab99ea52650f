/* test_config.c: config.json and GGUF metadata: spellings, precedence, ranges, refusals by name. */
#include "support/refusal.h"
#include "support/tiny_files.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct config_rules llama = {.norm_eps = 1e-6,
                                          .rope_theta = 10000.0,
                                          .max_position = 2048,
                                          .absent_K = -1,
                                          .absent_h = -1,
                                          .qkv_bias = {"attention_bias", false},
                                          .o_bias = {"attention_bias", false},
                                          .mlp_bias = {"mlp_bias", false}};

/* The tiny config with changes: a JSON object whose fields replace its own; "-" as a value removes the field. */
static jsc_status read_with(const char *changes, const struct config_rules *defaults, struct config *out, jsc_error *error)
{
    struct strbuf s = {0};
    json_t *root = NULL, *change = NULL;
    const char *key;
    json_t *value;
    tiny_llama_config(&s);
    jsc_status status = json_parse("config.json", s.text, s.n, &root, error);
    if (status == JSC_OK)
        status = json_parse("changes", changes, strlen(changes), &change, error);
    if (status == JSC_OK) {
        json_object_foreach(change, key, value)
        {
            if (json_is_string(value) && strcmp(json_string_value(value), "-") == 0)
                (void)json_object_del(root, key);
            else
                (void)json_object_set(root, key, value);
        }
        status = config_from_json("config.json", root, defaults, out, error);
    }
    json_decref(root);
    json_decref(change);
    strbuf_free(&s);
    return status;
}

static struct config accept_at(int line, const char *changes, const struct config_rules *defaults)
{
    struct config c = {0};
    jsc_error error = {0};
    cr_assert(read_with(changes, defaults, &c, &error) == JSC_OK, "line %d: %s: %s", line, changes, error.text);
    return c;
}
#define ACCEPT(changes) accept_at(__LINE__, changes, &llama)

static void refuse(int line, const char *changes, jsc_status want, const char *words)
{
    struct config c = {.d = 4711};
    jsc_error error = {0};
    const size_t before = mem_live_bytes();
    expect_refusal_at(line, read_with(changes, &llama, &c, &error), want, &error, words);
    cr_expect(strncmp(error.text, "config.json: ", 13) == 0, "line %d: %s", line, error.text);
    cr_expect(c.d == 4711 && mem_live_bytes() == before, "line %d: out was touched or memory leaks", line);
}
#define REFUSE(changes, words)      refuse(__LINE__, changes, JSC_E_FORMAT, words)
#define UNSUPPORTED(changes, words) refuse(__LINE__, changes, JSC_E_UNSUPPORTED, words)

TestSuite(config, .timeout = 60);

Test(config, the_tiny_llama)
{
    const struct config c = ACCEPT("{}");
    cr_expect(strcmp(c.family, "llama") == 0 && !c.gguf && c.n_layers == 1 && c.d == 8 && c.f == 12 && c.H == 2 && c.K == 1 && c.h == 4);
    cr_expect(c.vocab == 260 && c.max_position == 64 && c.norm_eps == 1e-5 && strcmp(c.activation, "silu") == 0);
    cr_expect(c.rope_theta == 10000.0 && c.scaling == ROPE_NONE && c.partial_rotary == 1.0 && c.window == 0);
    cr_expect(c.tied && !c.qkv_bias && !c.o_bias && !c.mlp_bias && c.bos_id == 259 && c.eos_id == 259);
    cr_expect(c.n_warnings == 0);
}

Test(config, absent_fields_get_the_family_default)
{
    const char *bare =
        "{\"num_key_value_heads\":\"-\",\"head_dim\":\"-\",\"rms_norm_eps\":\"-\",\"rope_theta\":\"-\",\"tie_word_embeddings\":\"-\","
        "\"hidden_act\":\"-\",\"attention_bias\":\"-\",\"mlp_bias\":\"-\",\"bos_token_id\":\"-\",\"eos_token_id\":null,"
        "\"max_position_embeddings\":\"-\",\"architectures\":\"-\"}";
    struct config c = ACCEPT(bare);
    cr_expect(c.K == 2 && c.h == 4 && c.norm_eps == 1e-6 && c.rope_theta == 10000.0 && !c.tied);
    cr_expect(c.activation[0] == '\0' && c.bos_id == -1 && c.eos_id == -1 && c.max_position == 2048);
    const struct config_rules other = {.norm_eps = 1e-3, .rope_theta = 5e5, .max_position = 7, .tied = true, .absent_K = 1, .absent_h = 6};
    c = accept_at(__LINE__, bare, &other);
    cr_expect(c.K == 1 && c.h == 6 && c.norm_eps == 1e-3 && c.rope_theta == 5e5 && c.tied && c.max_position == 7);
    /* null: as many as query heads, whatever the default for absent */
    c = accept_at(__LINE__, "{\"num_key_value_heads\":null}", &other);
    cr_expect(c.K == 2);
}

Test(config, required_fields)
{
    static const char *const keys[] = {"hidden_size",         "intermediate_size", "num_hidden_layers",
                                       "num_attention_heads", "vocab_size",        "model_type"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        char changes[80], words[80];
        (void)snprintf(changes, sizeof changes, "{\"%s\":\"-\"}", keys[i]);
        (void)snprintf(words, sizeof words, "%s is absent", keys[i]);
        REFUSE(changes, words);
        (void)snprintf(changes, sizeof changes, "{\"%s\":null}", keys[i]);
        REFUSE(changes, words);
    }
}

Test(config, family_and_architecture)
{
    char family[48] = "";
    jsc_error error = {0};
    json_t *list = json_array(), *root = json_pack("{s:s, s:[s]}", "model_type", "weird", "architectures", "WeirdForCausalLM");
    cr_expect(config_family_json("c", root, family, sizeof family, &error) == JSC_OK && strcmp(family, "weird") == 0);
    expect_refusal(config_family_json("c.json", list, family, sizeof family, &error), JSC_E_FORMAT, &error, "c.json|not a JSON object");
    json_decref(list);
    json_decref(root);
    UNSUPPORTED("{\"architectures\":[\"LlamaForSequenceClassification\"]}", "LlamaForSequenceClassification has no language-model head");
    REFUSE("{\"architectures\":[3]}", "architectures is not a list of names");
    REFUSE("{\"model_type\":7}", "model_type is a whole number, text is wanted");
    UNSUPPORTED("{\"model_type\":\"0123456789012345678901234567890123456789012345678901234567890123\"}", "not implemented");
}

Test(config, case_07_tied_or_not_is_kept_apart_from_absent)
{
    struct config c = ACCEPT("{\"tie_word_embeddings\":true}");
    cr_expect(c.tied);
    c = ACCEPT("{\"tie_word_embeddings\":false}");
    cr_expect(c.tied == false);
    c = ACCEPT("{\"tie_word_embeddings\":null}");
    cr_expect(c.tied == llama.tied);
    const struct config_rules gemma = {
        .norm_eps = 1e-6, .rope_theta = 1e4, .max_position = 8192, .tied = true, .absent_K = 16, .absent_h = 256};
    c = accept_at(__LINE__, "{\"tie_word_embeddings\":\"-\"}", &gemma);
    cr_expect(c.tied);
}

Test(config, case_08_head_dim)
{
    struct config c = ACCEPT("{\"head_dim\":null}");
    cr_expect(c.h == 4);
    c = ACCEPT("{\"head_dim\":\"-\"}");
    cr_expect(c.h == 4);
    c = ACCEPT("{\"head_dim\":12}");
    cr_expect(c.h == 12);
    c = ACCEPT("{\"head_dim\":12,\"hidden_size\":9}"); /* hidden no multiple of heads: an explicit value still wins */
    cr_expect(c.h == 12);
    REFUSE("{\"head_dim\":null,\"hidden_size\":9}", "hidden size 9 is no multiple of 2 attention heads");
    REFUSE("{\"head_dim\":3}", "even number");
    REFUSE("{\"num_key_value_heads\":3}", "2 attention heads cannot share 3");
    REFUSE("{\"num_attention_heads\":3,\"num_key_value_heads\":2}", "3 attention heads cannot share 2");
}

Test(config, case_09_rope_theta_in_either_place)
{
    struct config c = ACCEPT("{\"rope_theta\":500000}");
    cr_expect(c.rope_theta == 500000.0);
    c = ACCEPT("{\"rope_theta\":\"-\",\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":130000}}");
    cr_expect(c.rope_theta == 130000.0 && c.scaling == ROPE_NONE && c.n_warnings == 0);
    c = ACCEPT("{\"rope_theta\":10000.0,\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":5e5}}");
    cr_expect(c.rope_theta == 5e5 && c.n_warnings == 1 && strstr(c.warnings[0], "rope_theta") != NULL);
    config_free(&c);
    c = ACCEPT("{\"rope_theta\":7e4,\"rope_parameters\":{\"rope_type\":\"default\"}}");
    cr_expect(c.rope_theta == 7e4);
    c = ACCEPT("{\"rope_theta\":7e4,\"rope_parameters\":null,\"rope_scaling\":{}}");
    cr_expect(c.rope_theta == 7e4);
    /* a non-empty rope_scaling replaces rope_parameters */
    c = ACCEPT("{\"rope_theta\":3e4,\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":5e5},\"rope_scaling\":{\"type\":"
               "\"linear\",\"factor\":2}}");
    cr_expect(c.rope_theta == 3e4 && c.scaling == ROPE_LINEAR && c.factor == 2.0 && c.n_warnings == 1);
    config_free(&c);
}

Test(config, case_10_scaling_types)
{
    struct config c = ACCEPT("{\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":32,\"low_freq_factor\":1,\"high_freq_factor\":4.0,"
                             "\"original_max_position_embeddings\":8192}}");
    cr_expect(c.scaling == ROPE_LLAMA3 && strcmp(c.scaling_name, "llama3") == 0 && c.factor == 32 && c.low_freq_factor == 1 &&
              c.high_freq_factor == 4);
    cr_expect(c.original_max_position == 8192);
    c = ACCEPT("{\"rope_parameters\":{\"rope_type\":\"yarn\",\"rope_theta\":1e4,\"factor\":4.0}}");
    cr_expect(c.scaling == ROPE_YARN && c.original_max_position == 64 && c.beta_fast == 32 && c.beta_slow == 1 && c.attention_factor == 0);
    c = ACCEPT("{\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4.0,\"attention_factor\":1.25,\"beta_fast\":16,\"beta_slow\":2,\"mscale\":"
               "1,\"mscale_all_dim\":1,"
               "\"original_max_position_embeddings\":16}}");
    cr_expect(c.attention_factor == 1.25 && c.beta_fast == 16 && c.beta_slow == 2 && c.original_max_position == 16);
    c = ACCEPT("{\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4.0,\"mscale\":0.5,\"mscale_all_dim\":2}}");
    cr_expect(fabs(c.attention_factor - (0.05 * log(4) + 1) / (0.2 * log(4) + 1)) < 1e-15);
    c = ACCEPT("{\"rope_scaling\":{\"type\":\"yarn\",\"original_max_position_embeddings\":16}}");
    cr_expect(c.factor == 4.0);
    c = ACCEPT("{\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":2}}");
    cr_expect(c.scaling == ROPE_DYNAMIC && c.factor == 2);
    c = ACCEPT("{\"original_max_position_embeddings\":32,\"rope_scaling\":{\"type\":\"yarn\",\"factor\":2,\"original_max_position_"
               "embeddings\":16}}");
    cr_expect(c.original_max_position == 32);
    c = ACCEPT("{\"rope_scaling\":{\"type\":\"linear\",\"factor\":2,\"finetuned\":true}}");
    cr_expect(c.n_warnings == 1 && strstr(c.warnings[0], "finetuned") != NULL);
    config_free(&c);
    c = ACCEPT("{\"rope_scaling\":{\"type\":\"su\",\"rope_type\":\"linear\",\"factor\":2}}"); /* the new spelling wins */
    cr_expect(c.scaling == ROPE_LINEAR);
    c = ACCEPT("{\"partial_rotary_factor\":0.5}");
    cr_expect(c.partial_rotary == 0.5);
}

Test(config, case_10_scaling_refused_by_name)
{
    UNSUPPORTED("{\"rope_scaling\":{\"type\":\"spiral\",\"factor\":2}}", "rope_scaling|spiral");
    REFUSE("{\"rope_scaling\":{\"type\":\"longrope\",\"factor\":2}}", "rope_scaling: short_factor is not a list");
    UNSUPPORTED("{\"rope_parameters\":{\"rope_type\":\"mrope\",\"factor\":2}}", "rope_parameters|mrope");
    UNSUPPORTED("{\"rope_parameters\":{\"full_attention\":{\"rope_type\":\"default\"}}}", "full_attention");
    REFUSE("{\"rope_scaling\":{\"factor\":2}}", "has a factor but no rope_type");
    REFUSE("{\"rope_scaling\":{\"type\":\"linear\"}}", "factor is absent|linear needs it");
    REFUSE("{\"rope_scaling\":{\"type\":\"llama3\",\"factor\":2,\"high_freq_factor\":4}}", "low_freq_factor is absent");
    REFUSE("{\"rope_scaling\":{\"type\":\"llama3\",\"factor\":2,\"low_freq_factor\":4}}", "high_freq_factor is absent");
    REFUSE("{\"rope_scaling\":{\"type\":\"llama3\",\"factor\":2,\"low_freq_factor\":4,\"high_freq_factor\":4}}",
           "not above low_freq_factor");
    REFUSE("{\"rope_scaling\":{\"type\":\"yarn\",\"factor\":2,\"beta_fast\":1,\"beta_slow\":1}}", "beta_fast 1 is not above");
    REFUSE("{\"rope_scaling\":{\"type\":\"linear\",\"factor\":0.5}}", "factor is 0.5, outside 1 to");
    REFUSE("{\"rope_scaling\":{\"type\":\"linear\",\"factor\":\"2\"}}", "factor is the text \"2\", a number is wanted");
    REFUSE("{\"rope_scaling\":{\"type\":\"yarn\",\"factor\":2,\"attention_factor\":-1}}", "attention_factor is -1");
    REFUSE("{\"rope_scaling\":{\"type\":3,\"factor\":2}}", "type is a whole number, text is wanted");
    REFUSE("{\"rope_scaling\":\"linear\"}", "rope_scaling is not an object");
    REFUSE("{\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":2},\"head_dim\":2}", "dynamic rotary scaling needs more than 2");
}

Test(config, case_13_biases)
{
    const struct config c = ACCEPT("{\"attention_bias\":true,\"mlp_bias\":true}");
    cr_expect(c.qkv_bias && c.o_bias && c.mlp_bias);
    REFUSE("{\"attention_bias\":1}", "attention_bias is a whole number, true or false is wanted");
    REFUSE("{\"mlp_bias\":\"true\"}", "mlp_bias is the text \"true\"");
}

Test(config, case_14_quantised_checkpoints)
{
    UNSUPPORTED("{\"quantization_config\":{\"quant_method\":\"fp8\",\"bits\":8}}", "quantization_config|fp8");
    UNSUPPORTED("{\"quantization_config\":{\"load_in_4bit\":true}}", "quantization_config|bitsandbytes");
    UNSUPPORTED("{\"compression_config\":{\"quant_method\":\"compressed-tensors\"}}", "compressed-tensors");
    UNSUPPORTED("{\"quantization_config\":{}}", "quantization_config|no quant_method given");
    UNSUPPORTED("{\"quantization\":{\"group_size\":64,\"bits\":4}}", "quantization: |MLX");
    UNSUPPORTED("{\"quantization\":{\"quant_algo\":\"NVFP4\"}}", "quantization: |NVFP4");
    UNSUPPORTED("{\"text_config\":{\"quantization_config\":{\"quant_method\":\"awq\"}}}", "quantization_config|awq");
    const struct config c = ACCEPT("{\"quantization_config\":null}");
    cr_expect(c.d == 8);
}

Test(config, case_18_counts_out_of_range)
{
    static const char *const keys[] = {"hidden_size",         "intermediate_size", "num_hidden_layers", "num_attention_heads",
                                       "num_key_value_heads", "head_dim",          "vocab_size",        "max_position_embeddings"};
    static const char *const values[] = {"0", "-1", "1e3", "2.0", "true", "\"8\"", "[8]", "{}", "9223372036854775807"};
    for (size_t k = 0; k < sizeof keys / sizeof keys[0]; k++)
        for (size_t v = 0; v < sizeof values / sizeof values[0]; v++) {
            char changes[100];
            (void)snprintf(changes, sizeof changes, "{\"%s\":%s}", keys[k], values[v]);
            REFUSE(changes, keys[k]);
        }
}

Test(config, case_18_numbers_out_of_range)
{
    static const char *const keys[] = {"rms_norm_eps", "rope_theta"};
    static const char *const values[] = {"0", "-1e-5", "1e200", "true", "\"1e-5\"", "[1e-5]"};
    for (size_t k = 0; k < sizeof keys / sizeof keys[0]; k++)
        for (size_t v = 0; v < sizeof values / sizeof values[0]; v++) {
            char changes[100];
            (void)snprintf(changes, sizeof changes, "{\"%s\":%s}", keys[k], values[v]);
            REFUSE(changes, keys[k]);
        }
    REFUSE("{\"partial_rotary_factor\":1.5}", "partial_rotary_factor");
    REFUSE("{\"partial_rotary_factor\":0}", "partial_rotary_factor");
    REFUSE("{\"hidden_act\":3}", "hidden_act");
    REFUSE("{\"tie_word_embeddings\":\"false\"}", "tie_word_embeddings");
    REFUSE("{\"bos_token_id\":260}", "bos_token_id is 260, outside -1 to 259");
    REFUSE("{\"bos_token_id\":\"<s>\"}", "bos_token_id");
    REFUSE("{\"eos_token_id\":[1,260]}", "eos_token_id: entry 1");
    UNSUPPORTED("{\"hidden_act\":\"01234567890123456789012345678901234567890\"}", "hidden_act");
}

Test(config, token_ids)
{
    struct config c = ACCEPT("{\"bos_token_id\":0,\"eos_token_id\":[7,8]}");
    cr_expect(c.bos_id == 0 && c.eos_id == 7);
    c = ACCEPT("{\"bos_token_id\":-1,\"eos_token_id\":[]}");
    cr_expect(c.bos_id == -1 && c.eos_id == -1);
    c = ACCEPT("{\"sliding_window\":32}");
    cr_expect(c.window == 0 && c.n_warnings == 1 && strstr(c.warnings[0], "sliding_window 32") != NULL);
    config_free(&c);
}

Test(config, every_allocation_may_fail)
{
    const char *changes = "{\"sliding_window\":32,\"rope_scaling\":{\"type\":\"linear\",\"factor\":2,\"x\":1}}";
    const size_t before = mem_live_bytes();
    for (long k = 1;; k++) {
        struct config c = {0};
        jsc_error error = {0};
        mem_fail_at(k, false);
        const jsc_status status = read_with(changes, &llama, &c, &error);
        mem_fail_at(0, false);
        config_free(&c);
        cr_assert(mem_live_bytes() == before, "allocation %ld leaks", k);
        if (status == JSC_OK)
            break;
        cr_assert(k < 100 && (status == JSC_E_MEMORY || k <= 2), "%s", error.text); /* the first calls are the test's own text */
    }
}

/* ---- GGUF ------------------------------------------------------------------------------------------------------------------ */

/* A GGUF object whose metadata is the given keys, without tensors but those of names. */
static jsc_status read_gguf(struct strbuf *kv, uint64_t n_kv, const char *tensor, struct config *out, jsc_error *error)
{
    static char folder[128];
    struct strbuf s = {0};
    struct gguf *g = NULL;
    tiny_folder(folder);
    gguf_begin(&s, 3, 1, n_kv);
    strbuf_add(&s, kv->text, kv->n);
    gguf_tensor(&s, tensor, 2, (uint64_t[]){8, 100}, 0, 0);
    gguf_pad(&s, 32);
    for (int i = 0; i < 3200; i++)
        strbuf_add(&s, "", 1);
    tiny_write(tiny_path(folder, "x.gguf"), s.text, s.n);
    jsc_status status = gguf_open(tiny_path(folder, "x.gguf"), &g, error);
    if (status == JSC_OK)
        status = config_from_gguf(g, &llama, out, error);
    gguf_close(g);
    strbuf_free(&s);
    tiny_remove(folder);
    return status;
}

/* The keys that every file has; what is put after them comes first in the reader's eyes only if it has another name. */
static uint64_t base_keys(struct strbuf *kv, const char *without)
{
    uint64_t n = 1;
    static const struct {
        const char *key;
        uint32_t value;
    } keys[] = {{"llama.block_count", 2},          {"llama.context_length", 64},      {"llama.embedding_length", 8},
                {"llama.feed_forward_length", 12}, {"llama.attention.head_count", 2}, {"llama.attention.head_count_kv", 1}};
    gguf_string(kv, "general.architecture", "llama");
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (strcmp(keys[i].key, without) != 0) {
            gguf_u32(kv, keys[i].key, keys[i].value);
            n++;
        }
    return n;
}

static void refuse_gguf(int line, struct strbuf *kv, uint64_t n, const char *tensor, jsc_status want, const char *words)
{
    struct config c = {0};
    jsc_error error = {0};
    expect_refusal_at(line, read_gguf(kv, n, tensor, &c, &error), want, &error, words);
    strbuf_free(kv);
    *kv = (struct strbuf){0};
}
#define EMBED "token_embd.weight"

Test(config, gguf_tiny_llama)
{
    struct strbuf kv = {0};
    struct config c = {0};
    jsc_error error = {0};
    uint64_t n = base_keys(&kv, "");
    cr_assert(eq(int, read_gguf(&kv, n, EMBED, &c, &error), JSC_OK), "%s", error.text);
    cr_expect(c.gguf && c.n_layers == 2 && c.d == 8 && c.f == 12 && c.H == 2 && c.K == 1 && c.h == 4 && c.vocab == 100 &&
              c.max_position == 64);
    cr_expect(c.norm_eps == 1e-6 && c.rope_theta == 10000.0 && c.scaling == ROPE_NONE && c.tied && c.bos_id == -1);
    gguf_u32(&kv, "llama.attention.key_length", 6);
    gguf_u32(&kv, "llama.attention.value_length", 6);
    gguf_u32(&kv, "llama.rope.dimension_count", 6);
    gguf_f32(&kv, "llama.rope.freq_base", 5e5f);
    gguf_u32(&kv, "tokenizer.ggml.bos_token_id", 99);
    gguf_string(&kv, "general.name", "Tiny");
    gguf_u64(&kv, "llama.vocab_size", 101);
    cr_assert(eq(int, read_gguf(&kv, n + 7, EMBED, &c, &error), JSC_OK), "%s", error.text);
    cr_expect(c.h == 6 && c.rope_theta == 5e5 && c.bos_id == 99 && strcmp(c.name, "Tiny") == 0 && c.vocab == 101 &&
              c.partial_rotary == 1.0);
    strbuf_free(&kv);
    kv = (struct strbuf){0};
    /* counts by block: equal ones are one number; an own head unties */
    n = base_keys(&kv, "llama.attention.head_count");
    gguf_array(&kv, "llama.attention.head_count", GGUF_I32, 2);
    gguf_put(&kv, (int32_t[]){2, 2}, 8);
    cr_assert(eq(int, read_gguf(&kv, n + 1, "output.weight", &c, &error), JSC_E_FORMAT), "vocabulary is unknown");
    gguf_u32(&kv, "llama.vocab_size", 100);
    cr_assert(eq(int, read_gguf(&kv, n + 2, "output.weight", &c, &error), JSC_OK), "%s", error.text);
    cr_expect(c.H == 2 && !c.tied);
    strbuf_free(&kv);
}

Test(config, gguf_case_10_scaling)
{
    struct strbuf kv = {0};
    struct config c = {0};
    jsc_error error = {0};
    uint64_t n = base_keys(&kv, "");
    gguf_string(&kv, "llama.rope.scaling.type", "yarn");
    gguf_f32(&kv, "llama.rope.scaling.factor", 4.0f);
    gguf_u32(&kv, "llama.rope.scaling.original_context_length", 16);
    gguf_f32(&kv, "llama.rope.scaling.attn_factor", 2.0f);
    cr_assert(eq(int, read_gguf(&kv, n + 4, EMBED, &c, &error), JSC_OK), "%s", error.text);
    cr_expect(c.scaling == ROPE_YARN && c.factor == 4 && c.original_max_position == 16 &&
              fabs(c.attention_factor - 2 * (0.1 * log(4) + 1)) < 1e-15);
    strbuf_free(&kv);
    kv = (struct strbuf){0};
    n = base_keys(&kv, "");
    gguf_f32(&kv, "llama.rope.scaling.factor", 4.0f); /* no type: linear */
    cr_assert(eq(int, read_gguf(&kv, n + 1, EMBED, &c, &error), JSC_OK), "%s", error.text);
    cr_expect(c.scaling == ROPE_LINEAR && c.factor == 4);
    refuse_gguf(__LINE__, &kv, n + 1, "rope_freqs.weight", JSC_E_FORMAT, "vocabulary");
    n = base_keys(&kv, "");
    gguf_u32(&kv, "llama.vocab_size", 100);
    refuse_gguf(__LINE__, &kv, n + 1, "rope_freqs.weight", JSC_E_FORMAT, "tensor rope_freqs.weight is not a list");
    n = base_keys(&kv, "");
    gguf_u32(&kv, "llama.vocab_size", 100);
    refuse_gguf(__LINE__, &kv, n + 1, "rope_factors_long.weight", JSC_E_FORMAT, "rope_factors_short.weight");
    n = base_keys(&kv, "");
    gguf_string(&kv, "llama.rope.scaling.type", "longrope");
    refuse_gguf(__LINE__, &kv, n + 1, EMBED, JSC_E_FORMAT, "rope_factors_long.weight");
    n = base_keys(&kv, "");
    gguf_string(&kv, "llama.rope.scaling.type", "spiral");
    refuse_gguf(__LINE__, &kv, n + 1, EMBED, JSC_E_UNSUPPORTED, "llama.rope.scaling.type \"spiral\"");
}

Test(config, gguf_case_16_and_18)
{
    struct strbuf kv = {0};
    static const char *const keys[] = {"llama.block_count", "llama.context_length", "llama.embedding_length", "llama.feed_forward_length",
                                       "llama.attention.head_count"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        uint64_t n = base_keys(&kv, keys[i]);
        char words[100];
        (void)snprintf(words, sizeof words, "%s is absent", keys[i]);
        refuse_gguf(__LINE__, &kv, n, EMBED, JSC_E_FORMAT, words);
        const uint32_t bad[] = {0, UINT32_MAX};
        for (int v = 0; v < 2; v++) {
            n = base_keys(&kv, keys[i]);
            gguf_u32(&kv, keys[i], bad[v]);
            refuse_gguf(__LINE__, &kv, n + 1, EMBED, JSC_E_FORMAT, keys[i]);
        }
        n = base_keys(&kv, keys[i]);
        gguf_f32(&kv, keys[i], 8.0f);
        refuse_gguf(__LINE__, &kv, n + 1, EMBED, JSC_E_FORMAT, "is of type f32, a whole number is wanted");
    }
    uint64_t n = base_keys(&kv, "llama.attention.head_count_kv");
    gguf_array(&kv, "llama.attention.head_count_kv", GGUF_U32, 2);
    gguf_put(&kv, (uint32_t[]){1, 2}, 8);
    refuse_gguf(__LINE__, &kv, n + 1, EMBED, JSC_E_UNSUPPORTED, "llama.attention.head_count_kv differs from block to block");
    n = base_keys(&kv, "llama.attention.head_count_kv");
    gguf_array(&kv, "llama.attention.head_count_kv", GGUF_I32, 2);
    gguf_put(&kv, (int32_t[]){-1, -1}, 8);
    refuse_gguf(__LINE__, &kv, n + 1, EMBED, JSC_E_FORMAT, "llama.attention.head_count_kv: its numbers are outside");
    n = base_keys(&kv, "llama.attention.head_count_kv");
    gguf_array(&kv, "llama.attention.head_count_kv", GGUF_U32, 3);
    gguf_put(&kv, (uint32_t[]){1, 1, 1}, 12);
    refuse_gguf(__LINE__, &kv, n + 1, EMBED, JSC_E_FORMAT, "has 3 numbers for 2 blocks");
    n = base_keys(&kv, "");
    gguf_u32(&kv, "llama.rope.dimension_count", 2);
    refuse_gguf(__LINE__, &kv, n + 1, EMBED, JSC_E_FORMAT, "llama.rope.dimension_count is 2, the head size is 4");
    n = base_keys(&kv, "");
    gguf_u32(&kv, "llama.attention.value_length", 2);
    refuse_gguf(__LINE__, &kv, n + 1, EMBED, JSC_E_UNSUPPORTED, "llama.attention.value_length is 2");
    n = base_keys(&kv, "");
    gguf_u32(&kv, "tokenizer.ggml.bos_token_id", 100);
    refuse_gguf(__LINE__, &kv, n + 1, EMBED, JSC_E_FORMAT, "tokenizer.ggml.bos_token_id is 100, outside 0 to 99");
    n = base_keys(&kv, "");
    gguf_f32(&kv, "llama.rope.freq_base", NAN);
    refuse_gguf(__LINE__, &kv, n + 1, EMBED, JSC_E_FORMAT, "llama.rope.freq_base is ");
    gguf_u32(&kv, "general.file_type", 1);
    refuse_gguf(__LINE__, &kv, 1, EMBED, JSC_E_FORMAT, "general.architecture is absent");
    gguf_string(&kv, "general.architecture", "mamba");
    refuse_gguf(__LINE__, &kv, 1, EMBED, JSC_E_FORMAT, "mamba.block_count is absent");
}
