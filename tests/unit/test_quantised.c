/* test_quantised.c: packed safetensors checkpoints of every method, told by their tensors alone (case 14); plain ones that look alike. */
#include "support/refusal.h"
#include "support/tiny_files.h"

#include <stdio.h>
#include <string.h>

static char folder[128];

static void setup(void)
{
    tiny_folder(folder);
}

static void teardown(void)
{
    tiny_remove(folder);
}

TestSuite(quantised, .init = setup, .fini = teardown, .timeout = 60);

#define LAYER "model.layers.0.self_attn.q_proj"

struct entry {
    const char *end, *type;
    int rows, columns; /* columns 0: a vector */
};

static int bytes_of(const struct entry *e)
{
    const int each = strchr(e->type, '3') != NULL && e->type[0] != 'F' ? 4 : strcmp(e->type, "F32") == 0 ? 4 : e->type[1] == '8' ? 1 : 2;
    return each * e->rows * (e->columns > 0 ? e->columns : 1);
}

/* A checkpoint with an embedding in BF16 and the entries of one layer. */
static jsc_status refuse_layer(const struct entry *entries, size_t n, jsc_error *error)
{
    struct strbuf header = {0}, file = {0};
    struct tensor_set *set = NULL;
    int at = 16;
    strbuf_puts(&header, "{\"model.embed_tokens.weight\":{\"dtype\":\"BF16\",\"shape\":[2,4],\"data_offsets\":[0,16]}");
    for (size_t i = 0; i < n; at += bytes_of(&entries[i]), i++) {
        strbuf_printf(&header, ",\"" LAYER "%s\":{\"dtype\":\"%s\",\"shape\":[%d", entries[i].end, entries[i].type, entries[i].rows);
        if (entries[i].columns > 0)
            strbuf_printf(&header, ",%d", entries[i].columns);
        strbuf_printf(&header, "],\"data_offsets\":[%d,%d]}", at, at + bytes_of(&entries[i]));
    }
    strbuf_puts(&header, "}");
    tiny_safetensors(&file, header.text, (size_t)at);
    tiny_write(tiny_path(folder, "model.safetensors"), file.text, file.n);
    cr_assert(safetensors_open(folder, &set, error) == JSC_OK, "%s", error->text);
    const jsc_status status = quantised_refuse_tensors(set, error);
    tensor_set_free(set);
    strbuf_free(&header);
    strbuf_free(&file);
    return status;
}

#define REFUSE(words, ...)                                                                                                                 \
    do {                                                                                                                                   \
        const struct entry entries[] = {__VA_ARGS__};                                                                                      \
        jsc_error error = {0};                                                                                                             \
        const jsc_status status = refuse_layer(entries, sizeof entries / sizeof entries[0], &error);                                       \
        expect_refusal(status, JSC_E_UNSUPPORTED, &error, "model.safetensors: tensor " LAYER "|GGUF|" words);                              \
    } while (0)
#define ACCEPT(...)                                                                                                                        \
    do {                                                                                                                                   \
        const struct entry entries[] = {__VA_ARGS__};                                                                                      \
        jsc_error error = {0};                                                                                                             \
        cr_expect(eq(int, (int)refuse_layer(entries, sizeof entries / sizeof entries[0], &error), JSC_OK), "line %d: %s", __LINE__,        \
                  error.text);                                                                                                             \
    } while (0)

Test(quantised, case_14_gptq_and_awq)
{
    REFUSE("(GPTQ)", {".qweight", "I32", 2, 16}, {".qzeros", "I32", 1, 2}, {".scales", "F16", 1, 16}, {".g_idx", "I32", 16, 0});
    REFUSE("(AWQ)", {".qweight", "I32", 16, 2}, {".qzeros", "I32", 1, 2}, {".scales", "F16", 1, 16});
    REFUSE("(AWQ)", {".qzeros", "I32", 1, 2}, {".scales", "F16", 1, 16}, {".qweight", "I32", 16, 2});
    REFUSE("GPTQ or AWQ", {".qweight", "I32", 2, 16});
}

Test(quantised, case_14_bitsandbytes)
{
    REFUSE("bitsandbytes", {".weight", "U8", 128, 1}, {".weight.absmax", "U8", 4, 0}, {".weight.quant_map", "F32", 16, 0},
           {".weight.quant_state.bitsandbytes__nf4", "U8", 90, 0});
    REFUSE("bitsandbytes, NF4", {".weight", "U8", 128, 1}, {".weight.quant_state.bitsandbytes__nf4", "U8", 90, 0});
    REFUSE("bitsandbytes, FP4", {".weight", "U8", 128, 1}, {".weight.quant_state.bitsandbytes__fp4", "U8", 90, 0});
    REFUSE("bitsandbytes, 8 bits", {".weight", "I8", 4, 4}, {".SCB", "F32", 4, 0}, {".weight_format", "U8", 1, 0});
}

Test(quantised, case_14_scaled_numbers)
{
    REFUSE("FP8 in blocks", {".weight", "F8_E4M3", 4, 4}, {".weight_scale_inv", "F32", 1, 1});
    REFUSE("FP8 or compressed-tensors", {".weight", "F8_E5M2", 4, 4}, {".weight_scale", "F32", 4, 1}, {".input_scale", "F32", 1, 0});
    REFUSE("FP8 or compressed-tensors", {".weight", "I8", 4, 4}, {".weight_scale", "BF16", 4, 1});
    REFUSE("compressed-tensors, packed", {".weight_packed", "I32", 4, 1}, {".weight_scale", "BF16", 4, 1}, {".weight_shape", "I32", 2, 0});
    REFUSE("NVFP4", {".weight_packed", "U8", 4, 2}, {".weight_global_scale", "F32", 1, 0}, {".weight_scale", "F8_E4M3", 4, 1});
    REFUSE("NVFP4", {".weight", "U8", 4, 2}, {".weight_scale_2", "F32", 1, 0}, {".weight_scale", "F8_E4M3", 4, 1});
    REFUSE("MXFP4", {"_blocks", "U8", 4, 16}, {"_scales", "U8", 4, 1});
}

Test(quantised, case_14_other_methods)
{
    REFUSE("MLX", {".weight", "U32", 4, 1}, {".scales", "BF16", 4, 1}, {".biases", "BF16", 4, 1});
    REFUSE("HQQ", {".W_q", "U8", 4, 4}, {".meta", "U8", 4, 0});
    REFUSE("quanto", {".weight._data", "I8", 4, 4}, {".weight._scale", "F32", 4, 1});
    REFUSE("torchao", {".weight_qdata", "I8", 4, 4});
    REFUSE("EETQ", {".weight", "I8", 4, 4}, {".weight_scales", "F16", 4, 0});
    REFUSE("EXL2", {".q_weight", "I32", 4, 4}, {".q_scale", "I32", 4, 1});
    REFUSE("EXL3", {".trellis", "I16", 4, 4});
    REFUSE("AQLM", {".codebooks", "F16", 4, 4}, {".codes", "I8", 4, 4});
    REFUSE("QuIP#", {".Qidxs", "I16", 4, 4});
}

/* No companion: the type of what should be a weight tells. */
Test(quantised, case_14_element_types)
{
    REFUSE("(FP8)|F8_E4M3", {".weight", "F8_E4M3", 4, 4});
    REFUSE("(FP8)|F8_E5M2", {".weight", "F8_E5M2", 4, 4});
    REFUSE("8-bit integers", {".weight", "I8", 4, 4});
    REFUSE("packed bytes", {".weight", "U8", 4, 4});
    REFUSE("packed integers, as of GPTQ", {".weight", "I32", 4, 4});
    REFUSE("packed integers, as of MLX", {".weight", "U32", 4, 4});
    REFUSE("16-bit integers", {".weight", "I16", 4, 4});
}

/* Masks, position ids, scales of a cache: not of weights. A lone name without its pair is some model's own. */
Test(quantised, plain_checkpoints_pass)
{
    ACCEPT({".weight", "F16", 4, 4}, {".bias", "F16", 4, 0});
    ACCEPT({".weight", "F32", 4, 4}, {".bias", "U8", 4, 4}, {".masked_bias", "I32", 1, 0});
    ACCEPT({".weight", "BF16", 4, 4}, {".k_scale", "F32", 1, 0}, {".v_scale", "F32", 1, 0});
    ACCEPT({".weight", "BF16", 4, 4}, {"_blocks", "F32", 4, 0}, {".scales", "F32", 4, 0});
}
