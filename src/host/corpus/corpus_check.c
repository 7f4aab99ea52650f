/* corpus_check.c: every record of a finished corpus once and in its place; and all of them in one file. */
#include "corpus_internal.h"

#include <stdio.h>

struct checking {
    const struct folder *folder;
    jsc_corpus_problem_fn problem;
    void *user;
    uint64_t problems, records, errors;
    const char *file; /* of the chunk that is read */
    uint64_t first, last, before;
    const char *name;
};

static void complain(struct checking *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void complain(struct checking *c, const char *format, ...)
{
    char small[512], *text = small;
    size_t n = 0;
    va_list arguments;
    c->problems++;
    va_start(arguments, format);
    if (c->problem != NULL && text_format(small, sizeof small, &text, &n, format, arguments) == JSC_OK)
        c->problem(c->user, text);
    va_end(arguments);
    if (text != small)
        mem_free(text);
}

/* Line numbers rise within the chunk's block: none twice, none of another. */
static jsc_status check_record(void *user, const char *line, size_t n, jsc_error *error)
{
    struct checking *c = user;
    json_error_t at;
    json_t *record = json_loadb(line, n, JSON_ALLOW_NUL, &at);
    const json_int_t number = json_integer_value(json_object_get(record, "line"));
    const char *file = json_string_value(json_object_get(record, "file"));
    (void)error;
    if (record == NULL)
        complain(c, "%s: a record is no JSON: %s", c->name, at.text);
    else if (file == NULL || strcmp(file, c->file) != 0)
        complain(c, "%s: a record of %s, the chunk is of %s", c->name, file != NULL ? file : "no file", c->file);
    else if (number < 0 || (uint64_t)number < c->first || (uint64_t)number > c->last)
        complain(c, "%s: a record of line %" JSON_INTEGER_FORMAT ", the chunk is of lines %" PRIu64 " to %" PRIu64, c->name, number,
                 c->first, c->last);
    else if ((uint64_t)number <= c->before)
        complain(c, "%s: line %" JSON_INTEGER_FORMAT " comes after line %" PRIu64, c->name, number, c->before);
    else
        c->before = (uint64_t)number;
    json_decref(record);
    return JSC_OK;
}

static jsc_status check_chunk(struct checking *c, size_t f, uint64_t block, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct chunk_content content;
    const uint64_t lines = folder_lines(c->folder, f), first = block * c->folder->chunk;
    char *path = NULL;
    TRY(chunk_path(c->folder->path, f, block, CHUNK_FINISHED, &path, error));
    c->name = path;
    c->first = first + 1;
    c->last = lines - first < c->folder->chunk ? lines : first + c->folder->chunk;
    c->before = first;
    if (!path_exists(path)) {
        complain(c, "%s: is missing", path);
        goto done;
    }
    TRY(chunk_read(path, check_record, c, &content, error));
    c->records += content.records;
    c->errors += content.errors;
    if (!content.finished)
        complain(c, "%s: is damaged after byte %zu of %zu (%" PRIu64 " records); remove it and run the corpus again", path, content.whole,
                 content.size, content.records);
    else if (content.totals.lines != c->last - first)
        complain(c, "%s: is of %" PRIu64 " lines, not %" PRIu64, path, content.totals.lines, c->last - first);
    else if (content.totals.origin != c->folder->origin)
        complain(c, "%s: was not computed from this folder's manifest; remove it and run the corpus again", path);
done:
    mem_free(path);
    return status;
}

jsc_status jsc_corpus_check(const char *folder, jsc_corpus_problem_fn problem, void *user, uint64_t *records, uint64_t *errors,
                            jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct folder f = {.path = folder};
    struct checking c = {.folder = &f, .problem = problem, .user = user};
    TRY(folder_open(folder, &f, error));
    TRY(folder_needs_input(&f, error));
    for (size_t i = 0; i < f.n_files; i++) {
        const uint64_t before = c.records, problems = c.problems;
        c.file = folder_file(&f, i);
        for (uint64_t block = 0; block < folder_blocks(&f, i); block++)
            TRY(check_chunk(&c, i, block, error));
        if (c.problems == problems && c.records - before != folder_records(&f, i))
            complain(&c, "%s: %" PRIu64 " records, its lines make %" PRIu64, c.file, c.records - before, folder_records(&f, i));
    }
    if (c.problems > 0)
        FAIL(JSC_E_FORMAT, "%s: %" PRIu64 " problem%s in %" PRIu64 " records", folder, c.problems, c.problems == 1 ? "" : "s", c.records);
done:
    if (records != NULL)
        *records = c.records;
    if (errors != NULL)
        *errors = c.errors;
    folder_close(&f);
    return status;
}

/* ---- merge ---------------------------------------------------------------------------------------------------------------------- */

static jsc_status copy_record(void *user, const char *line, size_t n, jsc_error *error)
{
    jsc_status status = JSC_OK;
    TRY(file_writer_write(user, line, n, error));
    TRY(file_writer_write(user, "\n", 1, error));
done:
    return status;
}

/* packed: the chunk's frames as they are; footers are frames that zstd passes over. */
static jsc_status merge_chunk(const struct folder *f, size_t file, uint64_t block, bool packed, struct file_writer *writer,
                              uint64_t *records, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct chunk_content content;
    struct file *bytes = NULL;
    char *path = NULL;
    TRY(chunk_path(f->path, file, block, CHUNK_FINISHED, &path, error));
    if (!path_exists(path))
        FAIL(JSC_E_ARGUMENT, "%s: is missing, so the corpus is not finished; run it to its end first", path);
    TRY(chunk_read(path, packed ? NULL : copy_record, writer, &content, error));
    if (!content.finished || content.totals.origin != f->origin)
        FAIL(JSC_E_FORMAT, "%s: is damaged or from elsewhere; jscopes corpus check says more", path);
    *records += content.records;
    if (packed) {
        TRY(file_open(path, &bytes, error));
        TRY(file_writer_write(writer, bytes->bytes, bytes->size, error));
    }
done:
    file_close(bytes);
    mem_free(path);
    return status;
}

jsc_status jsc_corpus_merge(const char *folder, const char *path, uint64_t *records, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct folder f = {.path = folder};
    struct file_writer *writer = NULL;
    uint64_t sum = 0;
    TRY(folder_open(folder, &f, error));
    if (path == NULL)
        FAIL(JSC_E_ARGUMENT, "a file is wanted");
    TRY(folder_needs_input(&f, error));
    TRY(file_writer_open(path, &writer, error));
    const size_t n = strlen(path);
    for (size_t i = 0; i < f.n_files; i++) {
        const uint64_t before = sum;
        for (uint64_t block = 0; block < folder_blocks(&f, i); block++)
            TRY(merge_chunk(&f, i, block, n > 4 && strcmp(path + n - 4, ".zst") == 0, writer, &sum, error));
        if (sum - before != folder_records(&f, i))
            FAIL(JSC_E_FORMAT, "%s: %" PRIu64 " records, its lines make %" PRIu64, folder_file(&f, i), sum - before, folder_records(&f, i));
    }
    struct file_writer *whole = writer;
    writer = NULL;
    TRY(file_writer_commit(whole, error));
    if (records != NULL)
        *records = sum;
done:
    file_writer_abort(writer);
    folder_close(&f);
    return status;
}
