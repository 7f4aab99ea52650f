/* test_open_tensors.c: a model from tensors in memory gives the scores of the folder that holds the same; what cannot be one is refused. */
#include "files_internal.h"
#include "support/random_model.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GOLDEN JSC_TEST_SOURCE "/tests/golden/"

/* A text file of a folder; NULL: it is not there. */
static char *text_of(const char *folder, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    char *text = calloc(1, 1 << 20);
    if (file == NULL) {
        free(text);
        return NULL;
    }
    cr_assert(text != NULL && fread(text, 1, (1 << 20) - 1, file) > 0);
    fclose(file);
    return text;
}

struct memory {
    struct tensor_set *set;
    jsc_tensor *tensors;
    char *config, *tokenizer, *tokenizer_config;
};

static void memory_make(const char *folder, struct memory *m)
{
    char path[512];
    jsc_error error = {0};
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    cr_assert(safetensors_open_file(path, &m->set, &error) == JSC_OK, "%s", error.text);
    m->tensors = calloc(m->set->n, sizeof *m->tensors);
    for (size_t i = 0; i < m->set->n; i++) {
        const struct tensor *t = &m->set->tensors[i];
        m->tensors[i] = (jsc_tensor){t->name, t->type_name, t->bytes, t->shape, t->rank};
    }
    m->config = text_of(folder, "config.json");
    m->tokenizer = text_of(folder, "tokenizer.json");
    m->tokenizer_config = text_of(folder, "tokenizer_config.json");
    cr_assert(m->config != NULL);
}

static void memory_free(struct memory *m)
{
    tensor_set_free(m->set);
    free(m->tensors), free(m->config), free(m->tokenizer), free(m->tokenizer_config);
}

static jsc_status open_memory(const struct memory *m, jsc_model **out, jsc_error *error)
{
    jsc_open_options options = JSC_OPEN_OPTIONS_INIT;
    options.device = "cpu";
    return jsc_model_open_tensors("in memory", m->config, m->tokenizer, m->tokenizer_config, m->tensors, m->set->n, &options, out, error);
}

Test(open_tensors, every_family_as_from_its_folder, .timeout = 300)
{
    glob_t found;
    int compared = 0;
    cr_assert(glob(GOLDEN "families/*/model.safetensors", 0, NULL, &found) == 0);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        char folder[512];
        struct memory memory = {0};
        jsc_open_options options = JSC_OPEN_OPTIONS_INIT;
        jsc_model *file = NULL, *model = NULL;
        jsc_error error = {0};
        snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(found.gl_pathv[i], '/') - found.gl_pathv[i]), found.gl_pathv[i]);
        memory_make(folder, &memory);
        options.device = "cpu";
        cr_assert(jsc_model_open(folder, &options, &file, &error) == JSC_OK, "%s", error.text);
        cr_assert(open_memory(&memory, &model, &error) == JSC_OK, "%s: %s", folder, error.text);
        memory_free(&memory); /* nothing of it is needed any more */
        const jsc_request r = ask(JSC_SCOPE_TEMPERATURE, 5);
        jsc_attribution *want = answer(file, &r), *got = answer(model, &r);
        answers_agree(folder, got, want, 0.0);
        jsc_attribution_free(want), jsc_attribution_free(got), jsc_model_close(file), jsc_model_close(model);
        compared++;
    }
    cr_expect(compared > 30, "%d families", compared);
    globfree(&found);
}

Test(open_tensors, texts_go_through_the_given_tokeniser)
{
    struct memory memory = {0};
    jsc_model *file = NULL, *model = NULL;
    jsc_tokens *want = NULL, *got = NULL;
    jsc_model_info info = JSC_MODEL_INFO_INIT;
    jsc_error error = {0};
    memory_make(GOLDEN "tiny_llama", &memory);
    cr_assert(memory.tokenizer != NULL);
    cr_assert(jsc_model_open(GOLDEN "tiny_llama", NULL, &file, &error) == JSC_OK && open_memory(&memory, &model, &error) == JSC_OK);
    cr_assert(jsc_tokenize(file, "the cat", 7, NULL, &want, &error) == JSC_OK &&
              jsc_tokenize(model, "the cat", 7, NULL, &got, &error) == JSC_OK);
    cr_expect(want->n == got->n && memcmp(want->ids, got->ids, want->n * sizeof *want->ids) == 0);
    cr_assert(jsc_model_describe(model, &info, &error) == JSC_OK);
    cr_expect(strcmp(info.format, "memory") == 0 && strcmp(info.path, "in memory") == 0 && info.has_tokeniser == 1);
    jsc_tokens_free(want), jsc_tokens_free(got), jsc_model_close(file), jsc_model_close(model);
    free(memory.tokenizer), memory.tokenizer = NULL, model = NULL;
    cr_assert(open_memory(&memory, &model, &error) == JSC_OK);
    cr_expect(jsc_tokenize(model, "x", 1, NULL, &got, &error) != JSC_OK && strstr(error.text, "no tokenizer.json was given") != NULL, "%s",
              error.text);
    jsc_model_close(model);
    memory_free(&memory);
}

static void bad(const struct memory *m, jsc_status status, const char *word)
{
    jsc_model *model = NULL;
    jsc_error error = {0};
    cr_expect(eq(int, (int)open_memory(m, &model, &error), (int)status), "%s: %s", word, error.text);
    cr_expect(model == NULL && strstr(error.text, word) != NULL && strchr(error.text, '\n') == NULL, "%s: %s", word, error.text);
}

Test(open_tensors, what_cannot_be_a_model_is_refused)
{
    struct memory memory = {0};
    memory_make(GOLDEN "tiny_llama", &memory);
    jsc_tensor *t = &memory.tensors[0], keep = *t;
    static const uint64_t huge[2] = {UINT64_MAX / 2, 4}, other[2] = {3, 5};
    t->dtype = "F31", bad(&memory, JSC_E_UNSUPPORTED, "element type F31 is not known"), *t = keep;
    t->dtype = NULL, bad(&memory, JSC_E_ARGUMENT, "no dtype"), *t = keep;
    t->name = NULL, bad(&memory, JSC_E_ARGUMENT, "has no name"), *t = keep;
    t->n_dims = 9, bad(&memory, JSC_E_ARGUMENT, "more than 8 dimensions"), *t = keep;
    t->shape = NULL, bad(&memory, JSC_E_ARGUMENT, "no shape"), *t = keep;
    t->data = NULL, bad(&memory, JSC_E_ARGUMENT, "has no data"), *t = keep;
    t->shape = huge, t->n_dims = 2, bad(&memory, JSC_E_ARGUMENT, "its size overflows"), *t = keep;
    t->shape = other, t->n_dims = 2, bad(&memory, JSC_E_FORMAT, "has shape [3,5]"), *t = keep;
    t->name = "x", bad(&memory, JSC_E_FORMAT, keep.name), *t = keep;
    t->name = memory.tensors[1].name, bad(&memory, JSC_E_FORMAT, "twice"), *t = keep;
    char *config = memory.config;
    memory.config = (char *)"{", bad(&memory, JSC_E_FORMAT, "in memory");
    memory.config = (char *)"{\"model_type\": \"mamba\"}", bad(&memory, JSC_E_UNSUPPORTED, "\"mamba\" is not implemented");
    memory.config = NULL, bad(&memory, JSC_E_ARGUMENT, "config_json"), memory.config = config;
    memory_free(&memory);
}
