/* test_real_configs.c: the config.json of published checkpoints, as they are spelled, with tensors of the true names and shapes: each opens
 * and is what it is. The tensors (tests/oracle/make_configs.py wrote the lists) are holes in a sparse file; depth is cut. */
#include "support/checkpoint.h"
#include "support/sparse_checkpoint.h"

#include <jscopes/jscopes.h>

#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct real {
    char name[32];
    int layers; /* after cutting */
    int d, f, H, K, h, vocab, max_position, window;
    bool tied;
    double theta;
    char scaling[12];
    int bos, eos;
};

static const struct real reals[] = {
    {"Llama-3.2-1B", 2, 2048, 8192, 32, 8, 64, 128256, 131072, 0, true, 5e5, "llama3", 128000, 128001},
    {"Llama-3.2-3B", 2, 3072, 8192, 24, 8, 128, 128256, 131072, 0, true, 5e5, "llama3", 128000, 128001},
    {"Llama-3.1-8B", 2, 4096, 14336, 32, 8, 128, 128256, 131072, 0, false, 5e5, "llama3", 128000, 128001},
    {"Qwen2.5-1.5B", 2, 1536, 8960, 12, 2, 128, 151936, 131072, 0, true, 1e6, "none", 151643, 151643},
    {"Qwen2.5-3B", 2, 2048, 11008, 16, 2, 128, 151936, 32768, 0, true, 1e6, "none", 151643, 151643},
    {"gemma-3-1b-pt", 6, 1152, 6912, 4, 1, 256, 262144, 32768, 512, true, 1e6, "none", 2, 1},
    {"gemma-3-4b-pt", 6, 2560, 10240, 8, 4, 256, 262208, 131072, 1024, true, 1e6, "linear", -1, 1},
    {"Mistral-7B-v0.1", 2, 4096, 14336, 32, 8, 128, 32000, 32768, 4096, false, 1e4, "none", 1, 2},
    {"Qwen3-0.6B", 2, 1024, 3072, 16, 8, 128, 151936, 40960, 0, true, 1e6, "none", 151643, 151645},
    {"Phi-3-mini-4k-instruct", 2, 3072, 8192, 32, 32, 96, 32064, 4096, 2047, false, 1e4, "none", 1, 32000},
    {"Phi-3-mini-128k-instruct", 2, 3072, 8192, 32, 32, 96, 32064, 131072, 262144, false, 1e4, "longrope", 1, 32000},
    {"phi-2", 2, 2560, 10240, 32, 32, 80, 51200, 2048, 0, false, 1e4, "none", 50256, 50256},
    {"gemma-2b", 2, 2048, 16384, 8, 1, 256, 256000, 8192, 0, true, 1e4, "none", 2, 1},
    {"gemma-2-2b", 6, 2304, 9216, 8, 4, 256, 256000, 8192, 4096, true, 1e4, "none", 2, 1},
    {"OLMo-2-0425-1B", 2, 2048, 8192, 16, 16, 128, 100352, 4096, 0, false, 5e5, "none", -1, 100257},
    {"granite-3.0-2b-base", 2, 2048, 8192, 32, 8, 64, 49155, 4096, 0, true, 1e4, "none", 0, 0},
    {"gpt2", 2, 768, 3072, 12, 12, 64, 50257, 1024, 0, true, 0.0, "none", 50256, 50256},
    {"pythia-160m", 2, 768, 3072, 12, 12, 64, 50304, 2048, 0, false, 1e4, "none", 0, 0},
    {"opt-125m", 2, 768, 3072, 12, 12, 64, 50272, 2048, 0, true, 0.0, "none", 2, 2},
    {"opt-350m", 2, 1024, 4096, 16, 16, 64, 50272, 2048, 0, true, 0.0, "none", 2, 2}, /* project_out comes between: not the same weights */
    {"stablelm-2-1_6b", 2, 2048, 5632, 32, 32, 64, 100352, 4096, 0, false, 1e4, "none", 100257, 100257},
    {"SmolLM3-3B", 6, 2048, 11008, 16, 4, 128, 128256, 65536, 0, true, 5e6, "none", -1, 128012},
    {"GLM-4-9B-0414", 2, 4096, 13696, 32, 2, 128, 151552, 32768, 0, false, 1e4, "none", -1, 151329},
};

/* ---- the folder ------------------------------------------------------------------------------------------------------------ */

static void cut_list(json_t *config, const char *key, int n)
{
    json_t *list = json_object_get(config, key);
    while (json_is_array(list) && json_array_size(list) > (size_t)n)
        json_array_remove(list, json_array_size(list) - 1);
}

static void write_config(const struct real *r, const char *folder)
{
    char path[512];
    snprintf(path, sizeof path, "%s/tests/golden/configs/%s.json", JSC_TEST_SOURCE, r->name);
    json_t *config = json_load_file(path, 0, NULL);
    cr_assert(config != NULL, "%s", path);
    json_t *text = json_object_get(config, "text_config");
    text = text != NULL ? text : config;
    const char *const keys[] = {"num_hidden_layers", "n_layer"};
    for (int i = 0; i < 2; i++)
        if (json_object_get(text, keys[i]) != NULL)
            json_object_set_new(text, keys[i], json_integer(r->layers));
    cut_list(text, "layer_types", r->layers);
    cut_list(text, "no_rope_layers", r->layers);
    snprintf(path, sizeof path, "%s/config.json", folder);
    cr_assert(json_dump_file(config, path, 0) == 0);
    json_decref(config);
}

/* Masks of attention and angles are in old files, images' layers in multimodal ones: no weights of the model. */
static bool is_weight(const char *name)
{
    const char *const no_weights[] = {".attn.bias", ".attention.bias", ".masked_bias", ".inv_freq"};
    const size_t n = strlen(name);
    for (size_t i = 0; i < sizeof no_weights / sizeof *no_weights; i++) {
        const size_t m = strlen(no_weights[i]);
        if (n >= m && strcmp(name + n - m, no_weights[i]) == 0)
            return false;
    }
    return strncmp(name, "vision_tower.", 13) != 0 && strncmp(name, "multi_modal_projector.", 22) != 0;
}

/* Adds "NAME DIM DIM ..."; returns its number of weights. */
static uint64_t add_tensor(struct sparse_checkpoint *c, const char *line)
{
    char name[128];
    int used = 0, rank = 0;
    uint64_t shape[4];
    cr_assert(sscanf(line, "%127s%n", name, &used) == 1);
    for (const char *rest = line + used; rank < 4 && sscanf(rest, "%" SCNu64 "%n", &shape[rank], &used) == 1; rest += used)
        rank++;
    const bool weight = is_weight(name), mask = rank == 4 && strstr(name, "attention.bias") != NULL;
    const uint64_t elements = sparse_add(c, name, mask ? "U8" : "BF16", rank, shape);
    return weight ? elements : 0;
}

static void write_tensors(const struct real *r, const char *folder, uint64_t *parameters)
{
    char path[512], line[256];
    struct sparse_checkpoint c = {NULL, 0};
    snprintf(path, sizeof path, "%s/tests/golden/configs/%s.tensors", JSC_TEST_SOURCE, r->name);
    FILE *f = fopen(path, "r");
    cr_assert(f != NULL, "%s", path);
    while (fgets(line, sizeof line, f) != NULL)
        *parameters += add_tensor(&c, line);
    (void)fclose(f);
    sparse_write(&c, folder, NULL);
}

/* ---- the tests ------------------------------------------------------------------------------------------------------------- */

static void check(const struct real *r, const jsc_model *model, uint64_t parameters)
{
    jsc_model_info i = JSC_MODEL_INFO_INIT;
    cr_assert(jsc_model_describe(model, &i, NULL) == JSC_OK);
    cr_expect(i.n_layers == r->layers && i.d_model == r->d && i.d_ff == r->f && i.vocab_size == r->vocab, "%s: %d blocks, d %d, f %d, V %d",
              r->name, i.n_layers, i.d_model, i.d_ff, i.vocab_size);
    cr_expect(i.n_heads == r->H && i.n_kv_heads == r->K && i.head_dim == r->h, "%s: %d heads, %d kv heads of %d", r->name, i.n_heads,
              i.n_kv_heads, i.head_dim);
    cr_expect(i.max_position == r->max_position && i.sliding_window == r->window, "%s: %d positions, window %d", r->name, i.max_position,
              i.sliding_window);
    cr_expect(i.tied_head == r->tied, "%s: tied %d", r->name, i.tied_head);
    cr_expect(fabs(i.rope_theta - r->theta) <= 0.0 && strcmp(i.rope_scaling, r->scaling) == 0, "%s: theta %g, scaling %s", r->name,
              i.rope_theta, i.rope_scaling);
    cr_expect(i.bos_id == r->bos && i.eos_id == r->eos, "%s: bos %d, eos %d", r->name, i.bos_id, i.eos_id);
    cr_expect(i.parameters == parameters, "%s: %lu weights used of %lu", r->name, (unsigned long)i.parameters, (unsigned long)parameters);
    for (int w = 0; w < i.n_warnings; w++)
        fprintf(stderr, "%s: %s\n", r->name, i.warnings[w]);
}

ParameterizedTestParameters(real_configs, opens)
{
    return cr_make_param_array(struct real, (struct real *)reals, sizeof reals / sizeof *reals);
}

ParameterizedTest(struct real *r, real_configs, opens, .timeout = 60)
{
    char folder[] = "/tmp/jscopes-test-XXXXXX";
    uint64_t parameters = 0;
    jsc_open_options options = JSC_OPEN_OPTIONS_INIT;
    jsc_model *model = NULL;
    jsc_error error = {0};
    cr_assert(mkdtemp(folder) != NULL);
    write_config(r, folder);
    write_tensors(r, folder, &parameters);
    options.device = "cpu";
    options.without_weights = 1;
    const jsc_status status = jsc_model_open(folder, &options, &model, &error);
    folder_remove(folder);
    cr_assert(status == JSC_OK, "%s: %s", r->name, error.text);
    check(r, model, parameters);
    jsc_model_close(model);
}
