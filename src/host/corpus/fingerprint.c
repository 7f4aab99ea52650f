/* fingerprint.c: XXH3-128 of all that scores depend on in a model's files: config, tokeniser, each tensor's name, type, shape and bytes,
 * however the tensors are spread over files. */
#include "corpus_internal.h"

#include <stdio.h>
#include <xxhash.h>

/* A sum: the order does not matter. */
struct print {
    uint64_t low, high;
    XXH3_state_t *state;
};

static void begin(struct print *p, const char *kind, const char *name)
{
    (void)XXH3_128bits_reset(p->state);
    (void)XXH3_128bits_update(p->state, kind, strlen(kind) + 1);
    (void)XXH3_128bits_update(p->state, name, strlen(name) + 1);
}

static void end(struct print *p)
{
    const XXH128_hash_t hash = XXH3_128bits_digest(p->state);
    p->low += hash.low64;
    p->high += hash.high64 + (p->low < hash.low64 ? 1 : 0);
}

static void add_tensors(struct print *p, const struct tensor_set *set)
{
    for (size_t i = 0; i < set->n; i++) {
        const struct tensor *t = &set->tensors[i];
        begin(p, "tensor", t->name);
        (void)XXH3_128bits_update(p->state, t->type_name, strlen(t->type_name) + 1);
        for (int d = 0; d < t->rank; d++)
            (void)XXH3_128bits_update(p->state, &t->shape[d], sizeof t->shape[d]);
        (void)XXH3_128bits_update(p->state, t->bytes, t->n_bytes);
        end(p);
    }
}

static jsc_status add_file(struct print *p, const char *folder, const char *name, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct file *file = NULL;
    char *path = NULL;
    TRY(path_join(folder, name, &path, error));
    if (!path_exists(path))
        goto done;
    TRY(file_open(path, &file, error));
    begin(p, "file", name);
    (void)XXH3_128bits_update(p->state, file->bytes, file->size);
    end(p);
done:
    file_close(file);
    mem_free(path);
    return status;
}

static jsc_status add_folder(struct print *p, const char *folder, jsc_error *error)
{
    static const char *const names[] = {"config.json", "tokenizer.json", "tokenizer_config.json"};
    jsc_status status = JSC_OK;
    struct tensor_set *set = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        TRY(add_file(p, folder, names[i], error));
    TRY(safetensors_open(folder, &set, error));
    add_tensors(p, set);
done:
    tensor_set_free(set);
    return status;
}

static jsc_status add_gguf(struct print *p, const char *path, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct gguf *gguf = NULL;
    TRY(gguf_open(path, &gguf, error));
    for (size_t i = 0; i < gguf->n_values; i++) {
        begin(p, "value", gguf->values[i].key);
        (void)XXH3_128bits_update(p->state, gguf->values[i].bytes, gguf->values[i].n_bytes);
        end(p);
    }
    add_tensors(p, gguf->tensors);
done:
    gguf_close(gguf);
    return status;
}

jsc_status model_fingerprint(const jsc_model *model, char out[33], jsc_error *error)
{
    jsc_status status = JSC_OK;
    jsc_model_info info = JSC_MODEL_INFO_INIT;
    struct print p = {0, 0, XXH3_createState()};
    char path[4096];
    if (p.state == NULL)
        FAIL(JSC_E_MEMORY, "no memory for a fingerprint");
    TRY(jsc_model_describe(model, &info, error));
    if (info.path == NULL)
        FAIL(JSC_E_UNSUPPORTED, "a corpus needs a model that was opened from files: its fingerprint tells whether a run may go on");
    TRY(jsc_model_find(info.path, path, sizeof path, error));
    TRY(path_is_directory(path) ? add_folder(&p, path, error) : add_gguf(&p, path, error));
    (void)snprintf(out, 33, "%016" PRIx64 "%016" PRIx64, p.high, p.low);
done:
    (void)XXH3_freeState(p.state);
    return status;
}
