/* test_families.c: every model family on tiny random checkpoints against float64 values (tests/oracle/make_families.py): the folder, the
 * same folder with its config in the spelling of transformers 4.x, and the GGUF twin. ref within 1e-6, cpu in strict arithmetic within 1e-4,
 * cpu in fast precision, emulated, within what bfloat16 costs. */
#include "support/golden_requests.h"
#include "support/tiny_files.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FAMILIES JSC_TEST_SOURCE "/tests/golden/families/"

/* What lies beside the folder of a checkpoint, and whether its values hold every scope: a variant's are too few to hold the mean error of
 * bfloat16 to anything. */
enum { OLD = 1, TWIN = 2, WHOLE = 4 };

static const struct {
    const char *name;
    int has;
} checkpoints[] = {
    {"llama3", OLD | TWIN},
    {"llama_linear", OLD | TWIN},
    {"llama_yarn", 0},
    {"llama_dynamic", OLD},
    {"mistral", WHOLE | OLD},
    {"qwen2", WHOLE | OLD},
    {"qwen2_yarn", OLD | TWIN},
    {"qwen3", WHOLE | OLD | TWIN},
    {"qwen3_yarn", OLD},
    {"smollm3", WHOLE | OLD | TWIN},
    {"smollm3_window", 0},
    {"phi3", WHOLE | OLD | TWIN},
    {"phi3_longrope", OLD | TWIN},
    {"phi3_window", TWIN},
    {"gemma", WHOLE | OLD | TWIN},
    {"gemma2", WHOLE | OLD},
    {"gemma2_twin", TWIN},
    {"gemma3", WHOLE | OLD},
    {"gemma3_twin", TWIN},
    {"gemma3_multimodal", OLD},
    {"gemma3_nested", 0},
    {"olmo2", WHOLE | OLD | TWIN},
    {"granite", WHOLE | OLD | TWIN},
    {"gpt2", WHOLE | OLD | TWIN},
    {"gpt2_scaled", 0},
    {"gpt_neox", WHOLE | OLD | TWIN},
    {"gpt_neox_sequential", 0},
    {"opt", WHOLE | OLD},
    {"opt_post", 0},
    {"phi", WHOLE | OLD},
    {"phi_twin", TWIN},
    {"stablelm", WHOLE | OLD | TWIN},
    {"stablelm_sequential", TWIN},
    {"glm4", WHOLE | OLD | TWIN},
    {"cohere", WHOLE | OLD | TWIN},
    {"cohere_qk_norm", 0},
    {"starcoder2", WHOLE | OLD | TWIN},
};
enum { N_CHECKPOINTS = sizeof checkpoints / sizeof checkpoints[0] };

struct family_case {
    char name[24], device[8]; /* device "fast": cpu in fast precision */
    int form;                 /* 0: the folder; OLD: with config_old.json; TWIN */
};

/* A folder with the old config under the name that a loader looks for. */
static void make_old(const char *name, char folder[128])
{
    char config[512], weights[512];
    snprintf(config, sizeof config, FAMILIES "%s/config_old.json", name);
    snprintf(weights, sizeof weights, FAMILIES "%s/model.safetensors", name);
    tiny_folder(folder);
    cr_assert(symlink(config, tiny_path(folder, "config.json")) == 0 && symlink(weights, tiny_path(folder, "model.safetensors")) == 0);
}

static size_t add_case(struct family_case *out, const char *name, const char *device, int form)
{
    *out = (struct family_case){.form = form};
    snprintf(out->name, sizeof out->name, "%s", name);
    snprintf(out->device, sizeof out->device, "%s", device);
    return 1;
}

#if defined(__SANITIZE_ADDRESS__)
enum { SANITIZED = 1 }; /* ten times slower: each code path once, the values are the other presets' */
#else
enum { SANITIZED = 0 };
#endif

ParameterizedTestParameters(families, scores)
{
    static struct family_case cases[N_CHECKPOINTS * 7];
    size_t n = 0;
    for (size_t i = 0; i < N_CHECKPOINTS; i++) {
        static const char *const devices[] = {"ref", "cpu", "fast"};
        for (size_t k = 0; k < 3; k++) {
            if (SANITIZED && k != 1)
                continue;
            if (k < 2 || checkpoints[i].has & WHOLE)
                n += add_case(&cases[n], checkpoints[i].name, devices[k], 0);
            if (k < 2 && checkpoints[i].has & OLD && !SANITIZED)
                n += add_case(&cases[n], checkpoints[i].name, devices[k], OLD);
            if (k < 2 && checkpoints[i].has & TWIN)
                n += add_case(&cases[n], checkpoints[i].name, devices[k], TWIN);
        }
    }
    return cr_make_param_array(struct family_case, cases, n);
}

ParameterizedTest(struct family_case *c, families, scores, .timeout = 120)
{
    static const char *const forms[] = {"", ", old config", ".gguf"};
    char path[512], values[512], label[96], folder[128] = "";
    snprintf(values, sizeof values, FAMILIES "%s.json", c->name);
    snprintf(path, sizeof path, FAMILIES "%s%s", c->name, c->form == TWIN ? ".gguf" : "");
    snprintf(label, sizeof label, "%s%s on %s", c->name, forms[c->form], c->device);
    if (c->form == OLD) {
        make_old(c->name, folder);
        snprintf(path, sizeof path, "%s", folder);
    }
    const bool fast = strcmp(c->device, "fast") == 0;
    json_t *root = golden_load(values);
    jsc_model *model = fast ? golden_open_fast(path) : golden_open(path, c->device);
    if (fast)
        golden_requests_fast(label, root, model);
    else
        (void)golden_requests(label, root, model, strcmp(c->device, "ref") == 0 ? 1e-6 : 1e-4);
    jsc_model_close(model);
    json_decref(root);
    if (c->form == OLD)
        tiny_remove(folder);
}

/* Whatever the script made is in the table above, in all its forms. */
Test(families, none_is_left_out)
{
    static const char *const patterns[] = {FAMILIES "*.json", FAMILIES "*/config_old.json", FAMILIES "*.gguf"};
    for (int form = 0; form < 3; form++) {
        glob_t found;
        size_t want = 0;
        char path[512];
        for (size_t i = 0; i < N_CHECKPOINTS; i++) {
            if (form && !(checkpoints[i].has & form))
                continue;
            snprintf(path, sizeof path, FAMILIES "%s%s", checkpoints[i].name,
                     form == 0     ? ".json"
                     : form == OLD ? "/config_old.json"
                                   : ".gguf");
            cr_expect(access(path, R_OK) == 0, "%s is absent", path);
            want++;
        }
        cr_assert(glob(patterns[form], 0, NULL, &found) == 0);
        cr_expect(found.gl_pathc == want, "%s: %zu files, %zu in the table", patterns[form], found.gl_pathc, want);
        globfree(&found);
    }
}
