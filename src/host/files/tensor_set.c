/* tensor_set.c: the tensors of a checkpoint, the files and texts they point into, and finding one by its name. */
#include "files_internal.h"

#include <stddef.h>
#include <string.h>

#define POOL 16384

_Static_assert(offsetof(struct tensor, name) == 0, "name_table.c finds the name at the start of an item");

jsc_status tensor_set_text(struct tensor_set *set, size_t bytes, char **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct name_block *block = NULL;
    size_t whole = 0;
    if (!size_add(sizeof *block, bytes, &whole))
        FAIL(JSC_E_MEMORY, "%zu bytes of names are more than this machine can address", bytes);
    TRY(mem_alloc(&block, whole, 1, error));
    block->next = set->owned;
    set->owned = block;
    *out = block->text;
done:
    return status;
}

jsc_status tensor_set_string(struct tensor_set *set, const char *text, size_t n, const char **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    if (n >= set->pool_left) {
        const size_t bytes = n < POOL ? POOL : n + 1;
        TRY(tensor_set_text(set, bytes, &set->pool, error));
        set->pool_left = bytes;
    }
    memcpy(set->pool, text, n); /* the block is zeroed: the text ends in NUL */
    *out = set->pool;
    set->pool += n + 1;
    set->pool_left -= n + 1;
done:
    return status;
}

jsc_status tensor_set_file(struct tensor_set *set, const char *path, struct file **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    TRY(mem_reserve(&set->files, &set->files_capacity, set->n_files + 1, error));
    TRY(file_open(path, &set->files[set->n_files], error));
    *out = set->files[set->n_files++];
    set->file_bytes += (*out)->size;
done:
    return status;
}

/* A table of the tensors from `from` on. */
static jsc_status make_table(const struct tensor_set *set, size_t from, struct name_table **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct name_table *table = NULL;
    const struct tensor *first = set->n > from ? set->tensors + from : NULL;
    size_t other = 0;
    TRY(name_table_make(first, sizeof *first, set->n - from, &table, error));
    for (size_t i = 0; i < set->n - from; i++)
        if (!name_table_add(table, i, &other))
            FAIL(JSC_E_FORMAT, "%s: tensor %s is listed twice", first[i].file, first[i].name);
    *out = table;
    table = NULL;
done:
    name_table_free(table);
    return status;
}

jsc_status tensor_set_index(struct tensor_set *set, jsc_error *error)
{
    return make_table(set, 0, &set->names, error);
}

jsc_status tensor_set_unique(const struct tensor_set *set, size_t from, jsc_error *error)
{
    struct name_table *table = NULL;
    const jsc_status status = make_table(set, from, &table, error);
    name_table_free(table);
    return status;
}

const struct tensor *tensor_find(const struct tensor_set *set, const char *name)
{
    size_t i = 0;
    return set->names != NULL && name_table_find(set->names, name, &i) ? &set->tensors[i] : NULL;
}

void tensor_set_free(struct tensor_set *set)
{
    if (set == NULL)
        return;
    for (size_t i = 0; i < set->n_files; i++)
        file_close(set->files[i]);
    while (set->owned != NULL) {
        struct name_block *next = set->owned->next;
        mem_free(set->owned);
        set->owned = next;
    }
    name_table_free(set->names);
    mem_free(set->files);
    mem_free(set->tensors);
    mem_free(set);
}
