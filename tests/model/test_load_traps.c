/* test_load_traps.c: checkpoints whose config says one thing and whose tensors another. */
#include "model_internal.h"
#include "support/checkpoint.h"
#include "support/refusal.h"
#include "support/tiny_files.h"

#include <jscopes/jscopes.h>

#include <string.h>

TestSuite(load_traps, .timeout = 60);

static jsc_status open_at(const char *path, jsc_model **out, jsc_error *error)
{
    jsc_open_options options = JSC_OPEN_OPTIONS_INIT;
    options.device = "cpu";
    return jsc_model_open(path, &options, out, error);
}

/* Opens the checkpoint as it was changed. */
static jsc_status open_changed(struct checkpoint *c, jsc_model **out, jsc_error *error)
{
    const char *folder = checkpoint_write(c);
    const jsc_status status = open_at(folder, out, error);
    folder_remove(folder);
    checkpoint_free(c);
    return status;
}

/* Galactica: norms without parameters. Files may hold them all the same; they are not the model's. */
Test(load_traps, norms_without_parameters)
{
    jsc_error error = {0};
    jsc_model *whole = NULL, *bare = NULL;
    cr_assert(open_changed(checkpoint_read("families/opt"), &whole, &error) == JSC_OK, "%s", error.text);
    struct checkpoint *c = checkpoint_read("families/opt");
    json_object_set_new(c->config, "layer_norm_elementwise_affine", json_false());
    cr_assert(open_changed(c, &bare, &error) == JSC_OK, "%s", error.text);
    const uint64_t norms = (2 * (uint64_t)whole->L + 1) * 2 * (uint64_t)whole->d;
    cr_expect(bare->parameters == whole->parameters - norms, "%lu, %lu", (unsigned long)bare->parameters, (unsigned long)whole->parameters);
    cr_expect(bare->n_warnings == whole->n_warnings + 1 && strstr(bare->warnings[0], "not used by this family") != NULL);
    cr_expect(bare->final_norm.w != NULL && bare->final_norm.b == NULL);
    jsc_model_close(whole);
    jsc_model_close(bare);
}

Test(load_traps, biases_that_the_config_does_not_declare)
{
    jsc_error error = {0};
    jsc_model *whole = NULL, *bare = NULL;
    cr_assert(open_changed(checkpoint_read("families/starcoder2"), &whole, &error) == JSC_OK, "%s", error.text);
    struct checkpoint *c = checkpoint_read("families/starcoder2");
    json_object_set_new(c->config, "use_bias", json_false());
    cr_assert(open_changed(c, &bare, &error) == JSC_OK, "%s", error.text);
    const uint64_t q = (uint64_t)whole->H * (uint64_t)whole->h, kv = (uint64_t)whole->K * (uint64_t)whole->h, d = (uint64_t)whole->d;
    const uint64_t biases = (uint64_t)whole->L * (q + 2 * kv + d + (uint64_t)whole->f + d);
    cr_expect(bare->parameters == whole->parameters - biases, "%lu, %lu", (unsigned long)bare->parameters,
              (unsigned long)whole->parameters);
    cr_expect(bare->n_warnings == whole->n_warnings + 1 &&
              strstr(bare->warnings[0], "bias tensors are in the file but not declared") != NULL);
    jsc_model_close(whole);
    jsc_model_close(bare);
}

/* Rows of GPT-NeoX's qkv lie by head, three parts of one size: a number of key-value heads is not GPT-NeoX's. */
Test(load_traps, gpt_neox_with_fewer_key_value_heads)
{
    jsc_error error = {0};
    jsc_model *model = NULL;
    struct checkpoint *c = checkpoint_read("families/gpt_neox");
    json_object_set_new(c->config, "num_key_value_heads", json_integer(1));
    json_object_set_new(c->config, "hidden_act", json_string("gelu_fast")); /* GPT-NeoX 20B's word */
    cr_assert(open_changed(c, &model, &error) == JSC_OK, "%s", error.text);
    cr_expect(model->K == model->H && model->act == ACT_GELU_TANH);
    const int h = model->h, H = model->H, d = model->d;
    jsc_model_close(model);
    c = checkpoint_read("families/gpt_neox");
    json_object_set_new(c->config, "num_key_value_heads", json_integer(1));
    checkpoint_drop(c, "gpt_neox.layers.0.attention.query_key_value.weight");
    checkpoint_add(c, "gpt_neox.layers.0.attention.query_key_value.weight", "F32", 2, (uint64_t)(h * (H + 2)), (uint64_t)d);
    expect_refusal(open_changed(c, &model, &error), JSC_E_FORMAT, &error, "query_key_value.weight has shape");
}

static void put_tensor(struct strbuf *out, const char *name, uint32_t rank, uint64_t columns, uint64_t rows, uint64_t *offset)
{
    gguf_tensor(out, name, rank, (uint64_t[]){columns, rows}, 0, *offset);
    *offset += (columns * rows * sizeof(float) + 31) / 32 * 32;
}

Test(load_traps, gguf_fused_weights_with_biases_apart)
{
    static const char *const keys[] = {"qwen2.block_count", "qwen2.attention.head_count", "qwen2.embedding_length",
                                       "qwen2.feed_forward_length", "qwen2.context_length"};
    static const uint32_t values[] = {1, 2, 8, 8, 8};
    char folder[128];
    struct strbuf s = {0};
    uint64_t bytes = 0;
    jsc_error error = {0};
    jsc_model *model = NULL;
    tiny_folder(folder);
    gguf_begin(&s, 3, 3, 6);
    gguf_string(&s, "general.architecture", "qwen2");
    for (size_t i = 0; i < 5; i++)
        gguf_u32(&s, keys[i], values[i]);
    put_tensor(&s, "token_embd.weight", 2, 8, 4, &bytes);
    put_tensor(&s, "blk.0.attn_qkv.weight", 2, 8, 24, &bytes);
    put_tensor(&s, "blk.0.attn_q.bias", 1, 8, 1, &bytes);
    gguf_pad(&s, 32);
    for (uint64_t i = 0; i < bytes; i++)
        strbuf_add(&s, "", 1);
    tiny_write(tiny_path(folder, "x.gguf"), s.text, s.n);
    expect_refusal(open_at(tiny_path(folder, "x.gguf"), &model, &error), JSC_E_UNSUPPORTED, &error, "block 0|biases|convert");
    strbuf_free(&s);
    tiny_remove(folder);
}
