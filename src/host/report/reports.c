/* reports.c: the table of output formats, and writing one into a callback or a file. To add a format: report_X.c and a row here. */
#include "report_internal.h"
#include "files_internal.h"

#include <locale.h>
#include <stdio.h>
#include <string.h>

const struct report reports[] = {
    {"text", report_text},
    {"json", report_json},
};
const size_t n_reports = sizeof reports / sizeof *reports;

const char *jsc_format_name(size_t n)
{
    return n < n_reports ? reports[n].name : NULL;
}

static jsc_status report_find(const char *format, const struct report **out, jsc_error *error)
{
    char names[128] = "";
    for (size_t i = 0; i < n_reports; i++) {
        if (format != NULL && strcmp(format, reports[i].name) == 0) {
            *out = &reports[i];
            return JSC_OK;
        }
        const size_t n = strlen(names);
        (void)snprintf(names + n, sizeof names - n, "%s%s", i == 0 ? "" : ", ", reports[i].name);
    }
    return status_set(error, JSC_E_ARGUMENT, "unknown format '%s'; there are: %s", format == NULL ? "" : format, names);
}

jsc_status jsc_report_write(const jsc_attribution *attribution, const char *format, const jsc_report_options *options, jsc_write_fn write,
                            void *user, jsc_error *error)
{
    const jsc_report_options standard = JSC_REPORT_OPTIONS_INIT;
    const struct report *report = NULL;
    struct sink sink = {write, user, error, JSC_OK};
    jsc_status status = JSC_OK;

    if (attribution == NULL || write == NULL)
        FAIL(JSC_E_ARGUMENT, "a report needs an attribution and a function that takes its bytes");
    TRY(report_find(format, &report, error));
    if (options == NULL)
        options = &standard;
    if (options->size != sizeof *options)
        FAIL(JSC_E_ARGUMENT, "report options of %zu bytes: begin with JSC_REPORT_OPTIONS_INIT of this version", options->size);
    /* numbers have a point in every country; of this thread alone, and only for as long as it writes */
    const locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (c == (locale_t)0)
        FAIL(JSC_E_MEMORY, "no memory for a locale");
    const locale_t before = uselocale(c);
    report->write(attribution, options, &sink);
    (void)uselocale(before);
    freelocale(c);
    status = sink.status;
done:
    return status;
}

struct into_file {
    struct file_writer *writer;
    jsc_status status; /* of the last write, with its cause */
    jsc_error cause;
};

static int write_file(void *user, const char *bytes, size_t n)
{
    struct into_file *file = user;
    file->status = file_writer_write(file->writer, bytes, n, &file->cause);
    return file->status != JSC_OK;
}

jsc_status jsc_report_save(const jsc_attribution *attribution, const char *format, const jsc_report_options *options, const char *path,
                           jsc_error *error)
{
    struct into_file file = {.status = JSC_OK};
    const struct report *report = NULL;
    jsc_status status = JSC_OK;

    if (path == NULL)
        FAIL(JSC_E_ARGUMENT, "a report needs a file name");
    TRY(report_find(format, &report, error)); /* before a file is touched */
    TRY(file_writer_open(path, &file.writer, error));
    status = jsc_report_write(attribution, format, options, write_file, &file, error);
    if (status == JSC_OK)
        status = file_writer_commit(file.writer, error);
    else {
        file_writer_abort(file.writer);
        if (file.status != JSC_OK) /* the file's own reason says more than the sink's */
            status = status_set(error, file.status, "%s", file.cause.text);
    }
done:
    return status;
}
