/* safetensors.c: the tensors of a model folder: model.safetensors, or the shards that model.safetensors.index.json names. */
#include "files_internal.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SINGLE    "model.safetensors"
#define INDEX     "model.safetensors.index.json"
#define SHARD_MAX 100000 /* files; the largest published checkpoints have some hundreds */

jsc_status safetensors_open_file(const char *path, struct tensor_set **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct tensor_set *set = NULL;
    TRY(mem_new(&set, 1, error));
    TRY(safetensors_read(set, path, error));
    TRY(tensor_set_index(set, error));
    *out = set;
    set = NULL;
done:
    tensor_set_free(set);
    return status;
}

/* ---- the index ------------------------------------------------------------------------------------------------------------- */

struct entry {
    const char *name;
    uint32_t shard;
    bool found;
};

struct index {
    char *path;
    struct file *file;
    struct entry *entries;
    struct name_table *table;
    struct shard {
        const char *name;
    } * shards;
    struct name_table *shard_table;
    size_t n, n_shards;
    char *text; /* of all names */
};

static void index_free(struct index *x)
{
    name_table_free(x->table);
    name_table_free(x->shard_table);
    mem_free(x->entries);
    mem_free(x->shards);
    mem_free(x->text);
    file_close(x->file);
    mem_free(x->path);
}

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* A shard must be a plain name: an index may come from anywhere and may not reach outside its folder. */
static jsc_status check_shard_name(const struct index *x, const char *tensor, const char *name, jsc_error *error)
{
    if (name[0] == '\0' || strchr(name, '/') != NULL || strchr(name, '\\') != NULL || strstr(name, "..") != NULL)
        return status_set(error, JSC_E_FORMAT, "%s: tensor %s: the file name \"%s\" is not a plain name in the same folder", x->path,
                          tensor, name);
    if (!ends_with(name, ".safetensors"))
        return status_set(error, JSC_E_UNSUPPORTED,
                          "%s: tensor %s is in %s, which is no .safetensors file; convert the model to safetensors", x->path, tensor, name);
    return JSC_OK;
}

/* First pass over weight_map: grammar, number of tensors, bytes of the names. */
static jsc_status measure(const struct index *x, struct json_reader r, size_t *n, size_t *bytes, jsc_error *error)
{
    jsc_status status = JSC_OK;
    bool more = false;
    TRY(json_reader_enter(&r, '{', error));
    for (;;) {
        TRY(json_reader_next(&r, '{', n, &more, error));
        if (!more)
            break;
        (void)json_reader_peek(&r);
        *bytes += json_reader_string_size(&r);
        TRY(json_reader_key(&r, NULL, NULL, error));
        if (json_reader_peek(&r) != '"')
            FAIL(JSC_E_FORMAT, "%s: byte %zu: a value of weight_map is not a file name", x->path, r.at);
        *bytes += json_reader_string_size(&r);
        TRY(json_reader_skip(&r, error));
    }
    if (*n == 0)
        FAIL(JSC_E_FORMAT, "%s: weight_map lists no tensors", x->path);
done:
    return status;
}

/* Second pass. */
static jsc_status read_weight_map(struct index *x, struct json_reader *r, jsc_error *error)
{
    jsc_status status = JSC_OK;
    bool more = false;
    size_t members = 0, bytes = 0, length = 0, other = 0;
    TRY(measure(x, *r, &members, &bytes, error));
    const size_t shards = members < SHARD_MAX ? members : SHARD_MAX;
    TRY(mem_new(&x->entries, members, error));
    TRY(mem_new(&x->shards, shards + 1, error));
    TRY(mem_new(&x->text, bytes, error));
    TRY(name_table_make(x->entries, sizeof *x->entries, members, &x->table, error));
    TRY(name_table_make(x->shards, sizeof *x->shards, shards + 1, &x->shard_table, error));
    TRY(json_reader_enter(r, '{', error));
    for (char *at = x->text;;) {
        TRY(json_reader_next(r, '{', &x->n, &more, error));
        if (!more)
            break;
        struct entry *e = &x->entries[x->n - 1];
        TRY(json_reader_key(r, at, &length, error));
        e->name = at;
        at += length + 1;
        if (!name_table_add(x->table, x->n - 1, &other))
            FAIL(JSC_E_FORMAT, "%s: tensor %s is listed twice", x->path, e->name);
        TRY(json_reader_string(r, at, &length, error));
        TRY(check_shard_name(x, e->name, at, error));
        x->shards[x->n_shards].name = at;
        e->shard = (uint32_t)x->n_shards;
        if (name_table_add(x->shard_table, x->n_shards, &other)) {
            at += length + 1;
            if (++x->n_shards > SHARD_MAX)
                FAIL(JSC_E_UNSUPPORTED, "%s: names more than %d files", x->path, SHARD_MAX);
        } else
            e->shard = (uint32_t)other;
    }
done:
    return status;
}

static jsc_status read_index(struct index *x, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct json_reader r;
    bool more = false, found = false;
    size_t count = 0;
    TRY(file_open(x->path, &x->file, error));
    TRY(json_reader_make(&r, x->path, (const char *)x->file->bytes, x->file->size, 0, error));
    TRY(json_reader_enter(&r, '{', error));
    for (;;) {
        char key[80] = "";
        TRY(json_reader_next(&r, '{', &count, &more, error));
        if (!more)
            break;
        (void)json_reader_peek(&r);
        TRY(json_reader_key(&r, json_reader_string_size(&r) <= sizeof key ? key : NULL, NULL, error));
        if (strcmp(key, "weight_map") != 0) {
            TRY(json_reader_skip(&r, error));
            continue;
        }
        if (found)
            FAIL(JSC_E_FORMAT, "%s: weight_map is given twice", x->path);
        found = true;
        TRY(read_weight_map(x, &r, error));
    }
    TRY(json_reader_end(&r, error));
    if (!found)
        FAIL(JSC_E_FORMAT, "%s: there is no weight_map", x->path);
done:
    return status;
}

/* ---- the shards ------------------------------------------------------------------------------------------------------------ */

/* Keeps of the tensors from `from` on (those of shard) what the index assigns to it; stale copies are dropped. */
static void keep_assigned(struct index *x, struct tensor_set *set, size_t from, uint32_t shard)
{
    size_t kept = from, i = 0;
    for (size_t k = from; k < set->n; k++)
        if (name_table_find(x->table, set->tensors[k].name, &i) && x->entries[i].shard == shard) {
            x->entries[i].found = true;
            set->tensors[kept++] = set->tensors[k];
        }
    set->n = kept;
}

static jsc_status check_all_found(const struct index *x, jsc_error *error)
{
    size_t missing = 0, first = 0;
    for (size_t i = x->n; i-- > 0;)
        if (!x->entries[i].found) {
            missing++;
            first = i;
        }
    if (missing > 0)
        return status_set(
            error, JSC_E_FORMAT,
            "%s: tensor %s is not in %s, where it should be (%zu such); the files are of different models or an incomplete download",
            x->path, x->entries[first].name, x->shards[x->entries[first].shard].name, missing);
    return JSC_OK;
}

static jsc_status open_shards(struct index *x, const char *directory, struct tensor_set *set, jsc_error *error)
{
    jsc_status status = JSC_OK;
    char *path = NULL;
    for (size_t pass = 0; pass < 2; pass++) /* what is absent is known before anything is read */
        for (size_t i = 0; i < x->n_shards; i++) {
            TRY(path_join(directory, x->shards[i].name, &path, error));
            if (pass == 0 && !path_exists(path))
                FAIL(JSC_E_FILE, "%s: is absent, but %s names it: the download looks incomplete, fetch it again", path, INDEX);
            if (pass == 1) {
                const size_t from = set->n;
                TRY(safetensors_read(set, path, error));
                keep_assigned(x, set, from, (uint32_t)i);
            }
            mem_free(path);
            path = NULL;
        }
    TRY(check_all_found(x, error));
done:
    mem_free(path);
    return status;
}

static jsc_status open_sharded(const char *directory, struct tensor_set **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct index x = {0};
    struct tensor_set *set = NULL;
    TRY(path_join(directory, INDEX, &x.path, error));
    TRY(read_index(&x, error));
    TRY(mem_new(&set, 1, error));
    TRY(open_shards(&x, directory, set, error));
    TRY(tensor_set_index(set, error));
    *out = set;
    set = NULL;
done:
    tensor_set_free(set);
    index_free(&x);
    return status;
}

/* ---- the folder ------------------------------------------------------------------------------------------------------------ */

/* First name (in byte order, so that the message is always the same) in the folder with one of the endings. */
static void find_ending(DIR *d, const char *const *endings, char name[256])
{
    rewinddir(d);
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d))
        for (const char *const *end = endings; *end != NULL; end++)
            if (ends_with(e->d_name, *end) && (name[0] == '\0' || strcmp(e->d_name, name) < 0))
                (void)snprintf(name, 256, "%s", e->d_name);
}

/* Why a folder without model.safetensors and index cannot be read. */
static jsc_status explain(const char *directory, jsc_error *error)
{
    static const char *const ours[] = {".safetensors", NULL}, *const gguf[] = {".gguf", NULL};
    static const char *const pickles[] = {".bin", ".bin.index.json", ".pt", ".pth", ".ckpt", NULL};
    char name[256] = "";
    DIR *d = opendir(directory);
    if (d == NULL)
        return status_set(error, JSC_E_FILE, "%s: cannot be read: %s", directory, strerror(errno));
    jsc_status status = JSC_OK;
    find_ending(d, ours, name);
    if (name[0] != '\0')
        FAIL(JSC_E_FILE, "%s: holds %s but neither %s nor %s: the download looks incomplete, fetch it again", directory, name, SINGLE,
             INDEX);
    find_ending(d, gguf, name);
    if (name[0] != '\0')
        FAIL(JSC_E_FILE, "%s: holds no %s, but %s: give that file instead of the folder", directory, SINGLE, name);
    find_ending(d, pickles, name);
    if (name[0] != '\0')
        FAIL(JSC_E_UNSUPPORTED,
             "%s: holds only a pickle checkpoint (%s); pickle checkpoints are not read, as they can run code: convert to safetensors",
             directory, name);
    FAIL(JSC_E_FILE, "%s: holds neither %s nor %s", directory, SINGLE, INDEX);
done:
    (void)closedir(d);
    return status;
}

jsc_status safetensors_open(const char *directory, struct tensor_set **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    char *single = NULL, *index = NULL;
    TRY(path_join(directory, SINGLE, &single, error));
    TRY(path_join(directory, INDEX, &index, error));
    if (path_exists(single))
        TRY(safetensors_open_file(single, out, error));
    else if (path_exists(index))
        TRY(open_sharded(directory, out, error));
    else
        TRY(explain(directory, error));
done:
    mem_free(single);
    mem_free(index);
    return status;
}
