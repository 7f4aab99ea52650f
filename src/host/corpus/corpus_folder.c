/* corpus_folder.c: a folder of results as its files tell: how many chunks there must be, how far the workers are. */
#include "corpus_internal.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <time.h>

#define SILENT_SECONDS 120 /* a worker that was not heard of for so long runs no more */

jsc_status folder_open(const char *path, struct folder *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    int64_t chunk = 0;
    bool there = false;
    if (path == NULL)
        FAIL(JSC_E_ARGUMENT, "a folder is wanted");
    *out = (struct folder){.path = path};
    TRY(manifest_read(path, &out->manifest, error));
    TRY(json_get_int(path, out->manifest, "chunk", 1, INT64_MAX, &chunk, &there, error));
    const json_t *inputs = json_object_get(out->manifest, "inputs");
    if (!there || !json_is_array(inputs))
        FAIL(JSC_E_FORMAT, "%s: its manifest names no inputs or no chunk size; it is damaged", path);
    out->chunk = (uint64_t)chunk;
    out->n_files = json_array_size(inputs);
    out->origin = manifest_origin(out->manifest);
    TRY(json_load_from(path, INPUT_NAME, &out->input, error));
    if (out->input != NULL && (json_array_size(json_object_get(out->input, "lines")) != out->n_files ||
                               json_array_size(json_object_get(out->input, "records")) != out->n_files))
        FAIL(JSC_E_FORMAT, "%s: " INPUT_NAME " is not of these inputs; remove it and run the corpus again", path);
done:
    return status;
}

void folder_close(struct folder *folder)
{
    json_decref(folder->manifest);
    json_decref(folder->input);
}

jsc_status folder_needs_input(const struct folder *folder, jsc_error *error)
{
    if (folder->input == NULL)
        return status_set(error, JSC_E_ARGUMENT, "%s: the corpus is not finished: no worker has read all input; run it to its end first",
                          folder->path);
    return JSC_OK;
}

static uint64_t input_number(const struct folder *folder, const char *key, size_t f)
{
    const json_int_t n = json_integer_value(json_array_get(json_object_get(folder->input, key), f));
    return n > 0 ? (uint64_t)n : 0;
}

const char *folder_file(const struct folder *folder, size_t f)
{
    const char *path = json_string_value(json_object_get(json_array_get(json_object_get(folder->manifest, "inputs"), f), "path"));
    return path != NULL ? path : "?";
}

uint64_t folder_lines(const struct folder *folder, size_t f)
{
    return input_number(folder, "lines", f);
}

uint64_t folder_records(const struct folder *folder, size_t f)
{
    return input_number(folder, "records", f);
}

uint64_t folder_blocks(const struct folder *folder, size_t f)
{
    const uint64_t lines = folder_lines(folder, f);
    return lines / folder->chunk + (lines % folder->chunk != 0 ? 1 : 0);
}

/* ---- status --------------------------------------------------------------------------------------------------------------------- */

static bool ends_with(const char *name, const char *ending)
{
    const size_t n = strlen(name), m = strlen(ending);
    return n >= m && strcmp(name + n - m, ending) == 0;
}

/* What a worker has left word of. */
static jsc_status add_worker(const char *folder, const char *name, jsc_corpus_state *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    json_t *value = NULL;
    TRY(json_load_from(folder, name, &value, error));
    const char *state = json_string_value(json_object_get(value, "state"));
    const double seconds = json_number_value(json_object_get(value, "seconds")),
                 records = json_number_value(json_object_get(value, "records")), bytes = json_number_value(json_object_get(value, "bytes")),
                 all = json_number_value(json_object_get(value, "bytes_all")),
                 age = difftime(time(NULL), (time_t)json_integer_value(json_object_get(value, "time")));
    out->workers++;
    if (state == NULL || strcmp(state, "running") != 0 || age > SILENT_SECONDS)
        goto done;
    out->running++;
    out->records_per_second += seconds > 0.0 ? records / seconds : 0.0;
    const double left = bytes > 0.0 && all >= bytes ? seconds * (all - bytes) / bytes : -1.0;
    out->seconds_left = left > out->seconds_left ? left : out->seconds_left;
done:
    json_decref(value);
    return status;
}

static jsc_status add_entry(const struct folder *folder, const char *name, jsc_corpus_state *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct chunk_totals totals = {0};
    struct chunk_content content = {0};
    char *path = NULL;
    TRY(path_join(folder->path, name, &path, error));
    if (strncmp(name, "status-", 7) == 0 && ends_with(name, ".json")) {
        TRY(add_worker(folder->path, name, out, error));
    } else if (strncmp(name, "part-", 5) == 0 && ends_with(name, CHUNK_FINISHED)) {
        TRY(chunk_footer(path, &totals, error));
        out->chunks++;
    } else if (strncmp(name, "part-", 5) == 0 && ends_with(name, CHUNK_PARTIAL)) {
        if (chunk_read(path, NULL, NULL, &content, NULL) != JSC_OK) /* finished and renamed just now */
            goto done;
        totals = (struct chunk_totals){.records = content.records, .errors = content.errors, .tokens = content.tokens};
        out->partial++;
    }
    out->records += totals.records, out->errors += totals.errors, out->tokens += totals.tokens;
done:
    mem_free(path);
    return status;
}

jsc_status jsc_corpus_status(const char *folder, jsc_corpus_state *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_corpus_state standard = JSC_CORPUS_STATE_INIT;
    jsc_corpus_state state = standard;
    struct folder f = {.path = folder};
    uint64_t blocks = 0;
    DIR *d = NULL;

    if (out == NULL || out->size != sizeof *out)
        FAIL(JSC_E_ARGUMENT, "jsc_corpus_state: begin with JSC_CORPUS_STATE_INIT of this version");
    TRY(folder_open(folder, &f, error));
    if ((d = opendir(folder)) == NULL)
        FAIL(JSC_E_FILE, "%s: cannot be opened: %s", folder, strerror(errno));
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d))
        TRY(add_entry(&f, e->d_name, &state, error));
    for (size_t i = 0; f.input != NULL && i < f.n_files; i++) {
        state.records_all += folder_records(&f, i);
        blocks += folder_blocks(&f, i);
    }
    state.complete = f.input != NULL && state.chunks == blocks;
    if (f.input != NULL && state.records_per_second > 0.0 && state.records <= state.records_all)
        state.seconds_left = (double)(state.records_all - state.records) / state.records_per_second;
    *out = state;
done:
    if (d != NULL)
        (void)closedir(d);
    folder_close(&f);
    return status;
}
