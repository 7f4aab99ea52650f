/* corpus_inputs.c: the files that a corpus is read from: arguments in their order, a folder's files sorted by name. */
#include "corpus_internal.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>

static jsc_status add(struct inputs *in, const char *path, jsc_error *error)
{
    jsc_status status = JSC_OK;
    size_t capacity = in->capacity;
    if (utf8_check(path, strlen(path)) < strlen(path))
        FAIL(JSC_E_ARGUMENT, "%s: a file's name stands in the records, and this one is no UTF-8; rename the file", path);
    TRY(mem_reserve(&in->paths, &in->capacity, in->n + 1, error));
    TRY(mem_reserve(&in->sizes, &capacity, in->n + 1, error));
    TRY(mem_strdup(&in->paths[in->n], path, error));
    in->n++;
done:
    return status;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Files whose name does not begin with a point; folders in it are left out. */
static jsc_status add_folder(struct inputs *in, const char *folder, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t before = in->n;
    char *path = NULL;
    DIR *d = opendir(folder);
    if (d == NULL)
        FAIL(JSC_E_FILE, "%s: cannot be opened: %s", folder, strerror(errno));
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        if (e->d_name[0] == '.')
            continue;
        TRY(path_join(folder, e->d_name, &path, error));
        if (!path_is_directory(path))
            TRY(add(in, path, error));
        mem_free(path);
        path = NULL;
    }
    if (in->n == before)
        FAIL(JSC_E_FILE, "%s: there is no file in this folder", folder);
    qsort(in->paths + before, in->n - before, sizeof *in->paths, by_name);
done:
    mem_free(path);
    if (d != NULL)
        (void)closedir(d);
    return status;
}

jsc_status inputs_find(const jsc_corpus_options *options, struct inputs *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct line_reader *reader = NULL;
    for (size_t i = 0; i < options->n_inputs; i++)
        TRY(path_is_directory(options->inputs[i]) ? add_folder(out, options->inputs[i], error) : add(out, options->inputs[i], error));
    TRY(mem_new(&out->hashes, out->n, error));
    for (size_t i = 0; i < out->n; i++) {
        const bool standard = strcmp(out->paths[i], "-") == 0;
        if (standard && out->standard != NULL)
            FAIL(JSC_E_ARGUMENT, "standard input (-) can be read once");
        TRY(line_reader_open(out->paths[i], &reader, error));
        out->sizes[i] = line_reader_size(reader);
        out->hashes[i] = line_reader_hash(reader);
        if (standard)
            out->standard = reader;
        else
            line_reader_close(reader);
        reader = NULL;
    }
done:
    line_reader_close(reader);
    return status;
}

void inputs_free(struct inputs *inputs)
{
    for (size_t i = 0; i < inputs->n; i++)
        mem_free(inputs->paths[i]);
    mem_free(inputs->paths);
    mem_free(inputs->sizes);
    mem_free(inputs->hashes);
    line_reader_close(inputs->standard);
}
