/* quantised.c: safetensors checkpoints whose weights are packed integers or scaled 8-bit numbers, told by config.json or by their tensors:
 * refused by the method's name. Their shapes are often plausible, so that nothing but the results would fail.
 *
 * Names of companions: of the files that AutoGPTQ, AutoAWQ, bitsandbytes, llm-compressor, ModelOpt, HQQ, quanto, ExLlama and MLX write. */
#include "files_internal.h"

#include <stdio.h>
#include <string.h>

#define ADVICE "which is not implemented; use the plain checkpoint or a GGUF file"

/* ---- config.json ----------------------------------------------------------------------------------------------------------- */

static bool is_true(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

static const char *method_of_config(const char *key, const json_t *q)
{
    static const char *const names[] = {"quant_method", "quant_algo", "quant_type"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *name = json_string_value(json_object_get(q, names[i]));
        if (name != NULL)
            return name;
    }
    if (is_true(q, "load_in_4bit") || is_true(q, "load_in_8bit")) /* files from before quant_method */
        return "bitsandbytes";
    if (strcmp(key, "quantization") == 0 && json_object_get(q, "group_size") != NULL)
        return "MLX";
    return "no quant_method given";
}

jsc_status quantised_refuse_config(const char *path, const json_t *root, jsc_error *error)
{
    static const char *const keys[] = {"quantization_config", "compression_config", "quantization"};
    const json_t *const places[] = {root, json_object_get(root, "text_config")};
    for (size_t p = 0; p < 2; p++)
        for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
            const json_t *q = json_object_get(places[p], keys[i]);
            if (q != NULL && !json_is_null(q))
                return status_set(error, JSC_E_UNSUPPORTED, "%s: %s: the weights are quantised (%.80s), " ADVICE, path, keys[i],
                                  method_of_config(keys[i], q));
        }
    return JSC_OK;
}

/* ---- tensors --------------------------------------------------------------------------------------------------------------- */

/* A tensor whose name ends so, beside one that ends in beside (NULL: alone), belongs to a layer packed by the method. */
static const struct companion {
    const char *end, *beside, *method;
} companions[] = {
    {".qweight", NULL, NULL}, /* gptq_or_awq() */
    {".qzeros", NULL, NULL},
    {".absmax", NULL, "bitsandbytes, 4 bits"},
    {".quant_map", NULL, "bitsandbytes, 4 bits"},
    {".quant_state.bitsandbytes__nf4", NULL, "bitsandbytes, NF4"},
    {".quant_state.bitsandbytes__fp4", NULL, "bitsandbytes, FP4"},
    {".SCB", NULL, "bitsandbytes, 8 bits"},
    {"_blocks", "_scales", "MXFP4"},
    {".weight_packed", ".weight_global_scale", "compressed-tensors, NVFP4"},
    {".weight_packed", NULL, "compressed-tensors, packed integers"},
    {".weight_scale_inv", NULL, "FP8 in blocks"},
    {".weight_scale_2", NULL, "ModelOpt, NVFP4"},
    {".weight_scale", NULL, "scaled weights, as of FP8 or compressed-tensors"},
    {".weight_scales", NULL, "EETQ, 8 bits"},
    {".weight_qdata", NULL, "torchao"},
    {".weight._data", NULL, "quanto"},
    {".W_q", NULL, "HQQ"},
    {".q_weight", ".q_scale", "EXL2"},
    {".trellis", NULL, "EXL3"},
    {".codebooks", ".codes", "AQLM"},
    {".Qidxs", NULL, "QuIP#"},
    {".scales", ".biases", "MLX"},
};

/* What a weight's element type tells where no companion does. */
static const struct {
    const char *start, *method;
} packed_types[] = {
    {"F8_", "FP8"},
    {"F6_", "FP6"},
    {"F4", "FP4"},
    {"U8", "packed bytes, as of bitsandbytes or MXFP4"},
    {"I8", "8-bit integers"},
    {"I16", "16-bit integers"},
    {"U16", "16-bit integers"},
    {"I32", "packed integers, as of GPTQ or AWQ"},
    {"U32", "packed integers, as of MLX"},
};

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* The tensor called as t is, with another ending. */
static const struct tensor *sibling(const struct tensor_set *set, const struct tensor *t, const char *end, const char *other)
{
    char name[512];
    const size_t stem = strlen(t->name) - strlen(end);
    if (stem + strlen(other) >= sizeof name)
        return NULL;
    (void)snprintf(name, sizeof name, "%.*s%s", (int)stem, t->name, other);
    return tensor_find(set, name);
}

/* Both keep qweight, qzeros and scales [groups][out]; GPTQ packs along the inputs, [in/8][out], AWQ along the outputs, [in][out/8]. */
static const char *gptq_or_awq(const struct tensor_set *set, const struct tensor *t, const char *end)
{
    const struct tensor *q = sibling(set, t, end, ".qweight"), *scales = sibling(set, t, end, ".scales");
    if (q == NULL || scales == NULL || q->rank != 2 || scales->rank != 2)
        return "GPTQ or AWQ";
    return q->shape[1] == scales->shape[1] ? "GPTQ" : "AWQ";
}

static const char *method_of_name(const struct tensor_set *set, const struct tensor *t)
{
    for (size_t i = 0; i < sizeof companions / sizeof companions[0]; i++) {
        const struct companion *c = &companions[i];
        if (!ends_with(t->name, c->end) || (c->beside != NULL && sibling(set, t, c->end, c->beside) == NULL))
            continue;
        return c->method != NULL ? c->method : gptq_or_awq(set, t, c->end);
    }
    return NULL;
}

static const char *method_of_type(const struct tensor *t)
{
    if (t->known_type || !ends_with(t->name, ".weight"))
        return NULL;
    for (size_t i = 0; i < sizeof packed_types / sizeof packed_types[0]; i++)
        if (strncmp(t->type_name, packed_types[i].start, strlen(packed_types[i].start)) == 0)
            return packed_types[i].method;
    return NULL;
}

jsc_status quantised_refuse_tensors(const struct tensor_set *set, jsc_error *error)
{
    /* names first: a packed layer's companion tells the method more exactly than its element type */
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < set->n; i++) {
            const struct tensor *t = &set->tensors[i];
            const char *method = pass == 0 ? method_of_name(set, t) : method_of_type(t);
            if (method != NULL)
                return status_set(error, JSC_E_UNSUPPORTED, "%s: tensor %s (%s): the weights are quantised (%s), " ADVICE, t->file, t->name,
                                  t->type_name, method);
        }
    return JSC_OK;
}
