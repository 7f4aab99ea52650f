/* model_files.c: where a model comes from: a folder, a GGUF file, or tensors in the caller's memory: config, tensors, tokeniser. */
#include "model_files.h"

#include <string.h>

void model_files_free(struct model_files *c)
{
    if (c->gguf != NULL)
        gguf_close(c->gguf);
    else
        tensor_set_free(c->tensors);
    json_decref(c->config);
}

static jsc_status unknown_family(const char *path, const char *name, bool gguf, jsc_error *error)
{
    struct strbuf list = {0};
    for (size_t i = 0; i < family_count(); i++) {
        const struct family *f = family_at(i);
        const char *own = gguf ? f->gguf_name : f->name;
        if (own != NULL)
            strbuf_printf(&list, "%s%s", list.n > 0 ? ", " : "", own);
    }
    const jsc_status status = status_set(error, JSC_E_UNSUPPORTED, "%s: model family \"%s\" is not implemented; known are %s", path, name,
                                         list.text != NULL ? list.text : "none");
    strbuf_free(&list);
    return status;
}

static jsc_status open_gguf(jsc_model *m, struct model_files *c, jsc_error *error)
{
    jsc_status status = JSC_OK;
    char family[64];

    TRY(gguf_open(m->path, &c->gguf, error));
    c->tensors = c->gguf->tensors;
    TRY(config_family_gguf(c->gguf, family, sizeof family, error));
    m->family = family_find(family, true);
    if (m->family == NULL) {
        status = unknown_family(m->path, family, true, error);
        goto done;
    }
    TRY(config_from_gguf(c->gguf, &m->family->rules, &m->config, error));
done:
    return status;
}

/* Family and config of a config.json that has been parsed; path: of errors. */
static jsc_status read_config(jsc_model *m, const char *path, const struct model_files *c, jsc_error *error)
{
    jsc_status status = JSC_OK;
    char family[64];

    TRY(config_family_json(path, c->config, family, sizeof family, error));
    m->family = family_find(family, false);
    if (m->family == NULL) {
        status = unknown_family(path, family, false, error);
        goto done;
    }
    TRY(config_from_json(path, c->config, &m->family->rules, &m->config, error));
done:
    return status;
}

static jsc_status open_directory(jsc_model *m, struct model_files *c, jsc_error *error)
{
    jsc_status status = JSC_OK;
    char *path = NULL;
    struct file *file = NULL;

    TRY(path_join(m->path, "config.json", &path, error));
    if (!path_exists(path))
        FAIL(JSC_E_FILE, "%s: there is no config.json in this folder: give a Hugging Face model folder or a .gguf file", m->path);
    TRY(file_open(path, &file, error));
    TRY(json_parse(path, (const char *)file->bytes, file->size, &c->config, error));
    TRY(read_config(m, path, c, error));
    TRY(safetensors_open(m->path, &c->tensors, error));
    TRY(quantised_refuse_tensors(c->tensors, error));
done:
    file_close(file);
    mem_free(path);
    return status;
}

jsc_status model_files_open(jsc_model *m, struct model_files *out, jsc_error *error)
{
    const bool folder = path_is_directory(m->path);
    m->format = folder ? "safetensors" : "gguf";
    return folder ? open_directory(m, out, error) : open_gguf(m, out, error);
}

/* ---- tensors in memory -------------------------------------------------------------------------------------------------------- */

static jsc_status add_tensor(const jsc_model *m, struct tensor_set *set, const jsc_tensor *given, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct tensor *t = &set->tensors[set->n];

    if (given->name == NULL || given->dtype == NULL || given->n_dims < 0 || given->n_dims > TENSOR_RANK_MAX ||
        (given->shape == NULL && given->n_dims > 0))
        FAIL(JSC_E_ARGUMENT, "%s: tensor %zu has no name, no dtype or no shape, or more than %d dimensions", m->path, set->n,
             TENSOR_RANK_MAX);
    *t = (struct tensor){.name = given->name, .rank = given->n_dims, .bytes = given->data, .n_elements = 1, .file = m->path};
    if (!safetensors_type(given->dtype, t))
        FAIL(JSC_E_UNSUPPORTED, "%s: tensor %s: element type %s is not known", m->path, given->name, given->dtype);
    for (int i = 0; i < t->rank; i++) {
        t->shape[i] = given->shape[i];
        if (__builtin_mul_overflow(t->n_elements, t->shape[i], &t->n_elements) || t->n_elements > UINT64_MAX / 64)
            FAIL(JSC_E_ARGUMENT, "%s: tensor %s: its size overflows", m->path, given->name);
    }
    t->n_bytes = t->known_type ? t->n_elements * dtype_info(t->type)->bytes / dtype_info(t->type)->block : 0;
    if (given->data == NULL && t->n_bytes > 0)
        FAIL(JSC_E_ARGUMENT, "%s: tensor %s has no data", m->path, given->name);
    set->n++;
    set->file_bytes += t->n_bytes;
done:
    return status;
}

jsc_status model_files_from_memory(jsc_model *m, const char *config_json, const jsc_tensor *tensors, size_t n, struct model_files *out,
                                   jsc_error *error)
{
    jsc_status status = JSC_OK;

    m->format = "memory";
    TRY(json_parse(m->path, config_json, strlen(config_json), &out->config, error));
    TRY(read_config(m, m->path, out, error));
    TRY(mem_new(&out->tensors, 1, error));
    TRY(mem_new(&out->tensors->tensors, n > 0 ? n : 1, error));
    out->tensors->capacity = n;
    for (size_t i = 0; i < n; i++)
        TRY(add_tensor(m, out->tensors, &tensors[i], error));
    TRY(tensor_set_index(out->tensors, error));
    TRY(quantised_refuse_tensors(out->tensors, error));
done:
    return status;
}

/* ---- the tokeniser ------------------------------------------------------------------------------------------------------------- */

static jsc_status tokenizer_in_memory(jsc_model *m, const struct model_files *c, jsc_error *error)
{
    jsc_status status = JSC_OK;
    static const char where[] = "tokenizer.json", beside[] = "tokenizer_config.json";

    if (c->tokenizer_json == NULL)
        return mem_strdup(&m->no_tokenizer, "no tokenizer.json was given: give token ids", error);
    TRY(tokenizer_from_json(where, c->tokenizer_json, strlen(c->tokenizer_json), (size_t)m->V, &m->tokenizer, error));
    if (c->tokenizer_config != NULL)
        TRY(tokenizer_apply_config(m->tokenizer, beside, c->tokenizer_config, strlen(c->tokenizer_config), error));
done:
    return status;
}

static jsc_status read_tokenizer(jsc_model *m, const struct model_files *c, jsc_error *error)
{
    jsc_status status = JSC_OK;
    char *path = NULL, *config_path = NULL;
    struct file *file = NULL, *config = NULL;

    if (c->gguf != NULL) {
        TRY(tokenizer_from_gguf(c->gguf, (size_t)m->V, &m->tokenizer, error));
        goto done;
    }
    if (strcmp(m->format, "memory") == 0) {
        status = tokenizer_in_memory(m, c, error);
        goto done;
    }
    TRY(path_join(m->path, "tokenizer.json", &path, error));
    TRY(path_join(m->path, "tokenizer_config.json", &config_path, error));
    if (!path_exists(path)) {
        TRY(mem_strdup(&m->no_tokenizer, "the folder holds no tokenizer.json: give token ids (--ids)", error));
        goto done;
    }
    TRY(file_open(path, &file, error));
    TRY(tokenizer_from_json(path, (const char *)file->bytes, file->size, (size_t)m->V, &m->tokenizer, error));
    if (path_exists(config_path)) {
        TRY(file_open(config_path, &config, error));
        TRY(tokenizer_apply_config(m->tokenizer, config_path, (const char *)config->bytes, config->size, error));
    }
done:
    file_close(file);
    file_close(config);
    mem_free(path);
    mem_free(config_path);
    return status;
}

/* A tokeniser that is absent, damaged or of a kind not implemented is no failure of the model: ids work without. */
jsc_status model_files_tokenizer(jsc_model *m, const struct model_files *c, jsc_error *error)
{
    jsc_error reason = {.status = JSC_OK, .text = ""};
    jsc_status status = read_tokenizer(m, c, &reason);

    if (status == JSC_OK)
        return JSC_OK;
    if (status != JSC_E_FORMAT && status != JSC_E_UNSUPPORTED)
        return status_set(error, status, "%s", reason.text);
    tokenizer_free(m->tokenizer);
    m->tokenizer = NULL;
    TRY(mem_strdup(&m->no_tokenizer, reason.text, error));
    TRY(model_warn(m, error, "no texts, only token ids: %s", reason.text));
done:
    return status;
}
