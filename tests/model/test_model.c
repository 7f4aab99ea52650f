/* test_model.c: opening models: what is missing, what is extra, what contradicts, what is tied (cases 6, 7, 8, 13, 14, 15, 28). */
#include "base_internal.h"
#include "support/checkpoint.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <jscopes/jscopes.h>

#include <stdio.h>
#include <string.h>

static jsc_model *open_folder(struct checkpoint *c, const char *device, jsc_error *error)
{
    jsc_open_options options = JSC_OPEN_OPTIONS_INIT;
    jsc_model *model = NULL;
    options.device = device;
    const char *folder = checkpoint_write(c);
    (void)jsc_model_open(folder, &options, &model, error);
    folder_remove(folder);
    return model;
}

/* Opens the changed checkpoint, demands the status and a text that holds each of the words. */
static void refused(struct checkpoint *c, jsc_status status, const char *word1, const char *word2)
{
    jsc_error error = {0};
    jsc_model *model = open_folder(c, "cpu", &error);
    cr_assert(model == NULL, "opened a model that should be refused (%s)", word1);
    cr_expect(eq(int, (int)error.status, (int)status), "%s: %s", word1, error.text);
    cr_expect(strstr(error.text, word1) != NULL && strstr(error.text, word2) != NULL, "'%s' names '%s' and '%s'", error.text, word1, word2);
    cr_expect(strchr(error.text, '\n') == NULL, "one line");
    checkpoint_free(c);
}

Test(model, tiny_llama_opens_and_is_described)
{
    jsc_error error = {0};
    struct checkpoint *c = checkpoint_read("tiny_llama");
    jsc_model *model = open_folder(c, "cpu", &error);
    jsc_model_info info = JSC_MODEL_INFO_INIT;
    cr_assert(model != NULL, "%s", error.text);
    cr_assert(eq(int, jsc_model_describe(model, &info, &error), JSC_OK));
    cr_expect(info.n_layers == 3 && info.d_model == 27 && info.n_heads == 9 && info.n_kv_heads == 3);
    cr_expect(info.head_dim == 8 && info.vocab_size == 304 && info.tied_head == 0);
    cr_expect(eq(str, (char *)info.family, "llama"));
    cr_expect(eq(str, (char *)info.rope_scaling, "llama3"));
    cr_expect(eq(int, info.has_tokeniser, 0), "the copy holds no tokenizer.json");
    cr_expect(eq(int, info.bos_id, 0), "an id of 0 is an id like any other (case 23)");
    jsc_model_close(model);
    checkpoint_free(c);
}

Test(model, case_06_missing_tensors_are_listed)
{
    struct checkpoint *c = checkpoint_read("tiny_llama");
    checkpoint_drop(c, "model.layers.1.mlp.up_proj.weight");
    checkpoint_drop(c, "model.norm.weight");
    refused(c, JSC_E_FORMAT, "2 tensors are missing", "model.layers.1.mlp.up_proj.weight");
}

Test(model, case_06_unused_tensors_give_one_warning)
{
    jsc_error error = {0};
    struct checkpoint *c = checkpoint_read("tiny_llama");
    checkpoint_add(c, "extra.one", "F32", 1, 4, 0);
    checkpoint_add(c, "extra.two", "I64", 1, 4, 0);
    checkpoint_add(c, "model.layers.0.self_attn.rotary_emb.inv_freq", "F32", 1, 4, 0); /* expected beside the weights: no warning */
    jsc_model *model = open_folder(c, "cpu", &error);
    jsc_model_info info = JSC_MODEL_INFO_INIT;
    cr_assert(model != NULL, "%s", error.text);
    jsc_model_describe(model, &info, &error);
    cr_assert(eq(int, info.n_warnings, 1));
    cr_expect(strstr(info.warnings[0], "2 tensors") != NULL, "%s", info.warnings[0]);
    jsc_model_close(model);
    checkpoint_free(c);
}

Test(model, case_07_own_head_wins_over_tied)
{
    jsc_error error = {0};
    struct checkpoint *c = checkpoint_read("tiny_llama");
    jsc_model_info info = JSC_MODEL_INFO_INIT;
    json_object_set_new(c->config, "tie_word_embeddings", json_true());
    jsc_model *model = open_folder(c, "cpu", &error);
    cr_assert(model != NULL, "%s", error.text);
    jsc_model_describe(model, &info, &error);
    cr_expect(eq(int, info.tied_head, 0), "the file has its own, different head");
    jsc_model_close(model);

    checkpoint_drop(c, "lm_head.weight");
    model = open_folder(c, "cpu", &error);
    cr_assert(model != NULL, "%s", error.text);
    jsc_model_describe(model, &info, &error);
    cr_expect(eq(int, info.tied_head, 1));
    jsc_model_close(model);
    checkpoint_free(c);
}

Test(model, case_07_no_head_and_not_tied)
{
    struct checkpoint *c = checkpoint_read("tiny_llama");
    checkpoint_drop(c, "lm_head.weight");
    refused(c, JSC_E_FORMAT, "lm_head.weight", "tie_word_embeddings");
}

Test(model, case_08_head_dim_against_shapes)
{
    struct checkpoint *c = checkpoint_read("tiny_llama");
    json_object_set_new(c->config, "head_dim", json_integer(6));
    refused(c, JSC_E_FORMAT, "q_proj.weight", "[72,27]");
}

Test(model, case_08_head_dim_null_is_the_quotient)
{
    struct checkpoint *c = checkpoint_read("tiny_llama");
    json_object_set_new(c->config, "head_dim", json_null()); /* 27 / 9 = 3: odd, and not what the file holds */
    jsc_error error = {0};
    jsc_model *model = open_folder(c, "cpu", &error);
    cr_assert(model == NULL);
    cr_expect(eq(int, (int)error.status, JSC_E_FORMAT), "%s", error.text);
    checkpoint_free(c);
}

Test(model, case_13_declared_bias_is_needed)
{
    struct checkpoint *c = checkpoint_read("tiny_llama");
    json_object_set_new(c->config, "attention_bias", json_true());
    refused(c, JSC_E_FORMAT, "12 tensors are missing", "q_proj.bias");
}

Test(model, case_13_undeclared_bias_is_ignored_with_a_warning)
{
    jsc_error error = {0};
    struct checkpoint *c = checkpoint_read("tiny_llama_bias");
    jsc_model_info info = JSC_MODEL_INFO_INIT;
    json_object_set_new(c->config, "mlp_bias", json_false());
    jsc_model *model = open_folder(c, "cpu", &error);
    cr_assert(model != NULL, "%s", error.text);
    jsc_model_describe(model, &info, &error);
    cr_assert(eq(int, info.n_warnings, 1));
    cr_expect(strstr(info.warnings[0], "6 bias tensors") != NULL, "%s", info.warnings[0]);
    jsc_model_close(model);
    checkpoint_free(c);
}

Test(model, case_14_packed_integers_are_no_weights)
{
    struct checkpoint *c = checkpoint_read("tiny_llama");
    checkpoint_drop(c, "model.layers.0.mlp.down_proj.weight");
    checkpoint_add(c, "model.layers.0.mlp.down_proj.weight", "I8", 2, 27, 45);
    refused(c, JSC_E_UNSUPPORTED, "model.layers.0.mlp.down_proj.weight", "I8");
}

Test(model, case_14_quantised_checkpoints_are_refused_by_method)
{
    struct checkpoint *c = checkpoint_read("tiny_llama");
    json_object_set_new(c->config, "quantization_config", json_pack("{s:s}", "quant_method", "gptq"));
    refused(c, JSC_E_UNSUPPORTED, "quantization_config", "gptq");
}

/* config.json says nothing: the tensors beside the weights do. */
Test(model, case_14_quantised_checkpoints_are_told_by_their_tensors)
{
    struct checkpoint *c = checkpoint_read("tiny_llama");
    checkpoint_drop(c, "model.layers.0.self_attn.q_proj.weight");
    checkpoint_add(c, "model.layers.0.self_attn.q_proj.qweight", "F32", 2, 4, 72);
    checkpoint_add(c, "model.layers.0.self_attn.q_proj.scales", "F16", 2, 1, 72);
    refused(c, JSC_E_UNSUPPORTED, "model.layers.0.self_attn.q_proj.qweight", "(GPTQ)");
    c = checkpoint_read("tiny_llama");
    checkpoint_add(c, "model.layers.1.mlp.up_proj.weight_scale", "F32", 1, 45, 0);
    refused(c, JSC_E_UNSUPPORTED, "model.layers.1.mlp.up_proj.weight_scale", "FP8");
}

Test(model, shape_of_another_model)
{
    struct checkpoint *c = checkpoint_read("tiny_llama");
    json_object_set_new(c->config, "intermediate_size", json_integer(44));
    refused(c, JSC_E_FORMAT, "[45,27]", "[44,27]");
}

Test(model, unknown_family_is_refused_by_name)
{
    struct checkpoint *c = checkpoint_read("tiny_llama");
    json_object_set_new(c->config, "model_type", json_string("mamba"));
    refused(c, JSC_E_UNSUPPORTED, "mamba", "llama");
}

Test(model, case_28_weights_are_checked)
{
    struct checkpoint *c = checkpoint_read("tiny_llama");
    struct st_tensor *t = checkpoint_find(c, "model.layers.1.self_attn.k_proj.weight");
    const unsigned char nan[4] = {0, 0, 0xc0, 0x7f};
    memcpy(t->bytes + 4 * 30, nan, 4); /* row 1, column 3 */
    refused(c, JSC_E_NUMERIC, "model.layers.1.self_attn.k_proj.weight", "not finite");
    c = checkpoint_read("tiny_llama");
    t = checkpoint_find(c, "model.norm.weight");
    memcpy(t->bytes, nan, 4);
    refused(c, JSC_E_NUMERIC, "model.norm.weight", "not finite");
}

Test(model, bare_checkpoint_without_prefix)
{
    jsc_error error = {0};
    struct checkpoint *c = checkpoint_read("tiny_llama");
    for (int i = 0; i < c->n; i++)
        if (strncmp(c->tensors[i].name, "model.", 6) == 0)
            memmove(c->tensors[i].name, c->tensors[i].name + 6, strlen(c->tensors[i].name) - 5);
    jsc_model *model = open_folder(c, "cpu", &error);
    cr_assert(model != NULL, "%s", error.text);
    jsc_model_close(model);
    checkpoint_free(c);
}

Test(model, absent_model_says_where_it_looked)
{
    jsc_error error = {0};
    jsc_model *model = NULL;
    cr_expect(eq(int, (int)jsc_model_open("no-such-model", NULL, &model, &error), JSC_E_FILE));
    cr_expect(strstr(error.text, "jscopes fetch") != NULL, "%s", error.text);
    cr_expect(eq(int, (int)jsc_model_open("/no/such/model.gguf", NULL, &model, &error), JSC_E_FILE));
    cr_expect(model == NULL);
}

Test(model, failing_allocations_lose_nothing)
{
    struct checkpoint *c = checkpoint_read("tiny_llama_bias");
    const char *folder = checkpoint_write(c);
    jsc_open_options options = JSC_OPEN_OPTIONS_INIT;
    options.device = "cpu";
    options.threads = 1; /* the counter is the thread's own */
    const size_t before = mem_live_bytes();
    for (long k = 1; k < 100000; k++) {
        jsc_error error = {0};
        jsc_model *model = NULL;
        mem_fail_at(k, true);
        const jsc_status status = jsc_model_open(folder, &options, &model, &error);
        const bool reached = mem_calls() >= k;
        mem_fail_at(0, false);
        jsc_model_close(model);
        cr_assert(eq(sz, mem_live_bytes(), before), "allocation %ld failing leaks", k);
        if (!reached) {
            cr_expect(eq(int, (int)status, JSC_OK), "%s", error.text);
            break;
        }
        cr_assert(status != JSC_OK, "allocation %ld failed and nobody said so", k);
        k += k / 20; /* every early one, then a sample */
    }
    folder_remove(folder);
    checkpoint_free(c);
}

Test(model, damaged_tokenizer_leaves_ids)
{
    jsc_error error = {0};
    struct checkpoint *c = checkpoint_read("tiny_llama");
    const char *folder = checkpoint_write(c);
    char path[256];
    jsc_model *model = NULL;
    jsc_tokens *tokens = NULL;
    jsc_model_info info = JSC_MODEL_INFO_INIT;
    snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    FILE *f = fopen(path, "w");
    cr_assert(f != NULL && fputs("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [\"a\"]}}", f) >= 0 && fclose(f) == 0);
    cr_assert(jsc_model_open(folder, NULL, &model, &error) == JSC_OK, "%s", error.text);
    folder_remove(folder);
    jsc_model_describe(model, &info, &error);
    cr_expect(info.has_tokeniser == 0 && info.n_warnings == 1, "%d warnings", info.n_warnings);
    cr_expect(jsc_tokenize(model, "a", 1, NULL, &tokens, &error) != JSC_OK);
    cr_expect(strstr(error.text, "merge") != NULL, "%s", error.text);
    jsc_model_close(model);
    checkpoint_free(c);
}
