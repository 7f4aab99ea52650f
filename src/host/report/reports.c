/* reports.c: the table of output formats, and writing one into a callback or a file. To add a format: report_X.c and a row here. */
#include "report_internal.h"
#include "files_internal.h"

#include <locale.h>
#include <stdio.h>
#include <string.h>

const struct report reports[] = {
    {"text", report_text},
    {"json", report_json},
    {"html", report_html},
    {"svg", report_svg},
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

static jsc_status check_input(const jsc_report_input *input, const jsc_report_options *options, jsc_error *error)
{
    if (input == NULL || input->n == 0 || input->attributions == NULL)
        return status_set(error, JSC_E_ARGUMENT, "a report needs at least one attribution");
    for (size_t i = 0; i < input->n; i++)
        if (input->attributions[i] == NULL)
            return status_set(error, JSC_E_ARGUMENT, "attribution %zu of the report is NULL", i);
    if (options->difference == 0)
        return JSC_OK;
    if (input->n != 2)
        return status_set(error, JSC_E_ARGUMENT, "a difference is of two results, %zu were given", input->n);
    const jsc_attribution *a = input->attributions[0], *b = input->attributions[1];
    if (!compare_same_tokens(a, b))
        return status_set(error, JSC_E_ARGUMENT, "a difference needs the same tokens; these results have others");
    if (a->n_scores != b->n_scores)
        return status_set(error, JSC_E_ARGUMENT, "a difference needs as many rows of scores; there are %zu and %zu", a->n_scores,
                          b->n_scores);
    return JSC_OK;
}

/* What tells the results apart: the scope, else the model, else the target, else the position, else the number. */
static jsc_status make_label(const jsc_report_input *input, size_t i, char **out, jsc_error *error)
{
    const jsc_attribution *a = input->attributions[i];
    bool scopes = false, models = false, targets = false, positions = false;
    char number[40];

    for (size_t k = 0; k < input->n; k++) {
        const jsc_attribution *b = input->attributions[k];
        scopes = scopes || b->scope != a->scope;
        models = models || strcmp(b->model_name, a->model_name) != 0;
        targets = targets || (a->n_targets > 0 && b->n_targets > 0 && b->targets[0].id != a->targets[0].id);
        positions = positions || b->position != a->position;
    }
    if (scopes || input->n == 1)
        return mem_strdup(out, jsc_scope_name(a->scope), error);
    if (models)
        return mem_strdup(out, a->model_name, error);
    if (targets && a->n_targets > 0 && a->targets[0].text != NULL)
        return mem_strdup(out, a->targets[0].text, error);
    (void)snprintf(number, sizeof number, positions ? "after token %zu" : "%zu", positions ? a->position : i + 1);
    return mem_strdup(out, number, error);
}

/* In the C locale: numbers have a point in every country; of this thread alone, and only for as long as it writes. */
static jsc_status write_in_c(const struct report *report, const jsc_report_input *input, const jsc_report_options *options,
                             struct sink *sink)
{
    const locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (c == (locale_t)0)
        return status_set(sink->error, JSC_E_MEMORY, "no memory for a locale");
    const locale_t before = uselocale(c);
    report->write(input, options, sink);
    (void)uselocale(before);
    freelocale(c);
    return sink->status;
}

jsc_status jsc_report_write_several(const jsc_report_input *given, const char *format, const jsc_report_options *options,
                                    jsc_write_fn write, void *user, jsc_error *error)
{
    const jsc_report_options standard = JSC_REPORT_OPTIONS_INIT;
    const struct report *report = NULL;
    struct sink sink = {write, user, error, JSC_OK};
    jsc_status status = JSC_OK;
    char **labels = NULL;
    size_t n = 0;

    if (write == NULL)
        FAIL(JSC_E_ARGUMENT, "a report needs a function that takes its bytes");
    TRY(report_find(format, &report, error));
    if (options == NULL)
        options = &standard;
    if (options->size != sizeof *options)
        FAIL(JSC_E_ARGUMENT, "report options of %zu bytes: begin with JSC_REPORT_OPTIONS_INIT of this version", options->size);
    TRY(check_input(given, options, error));
    n = given->n;
    TRY(mem_new(&labels, n, error));
    for (size_t i = 0; i < n; i++)
        if (given->labels != NULL && given->labels[i] != NULL)
            TRY(mem_strdup(&labels[i], given->labels[i], error));
        else
            TRY(make_label(given, i, &labels[i], error));
    const jsc_report_input input = {n, given->attributions, (const char *const *)labels};
    status = write_in_c(report, &input, options, &sink);
done:
    for (size_t i = 0; labels != NULL && i < n; i++)
        mem_free(labels[i]);
    mem_free(labels);
    return status;
}

jsc_status jsc_report_write(const jsc_attribution *attribution, const char *format, const jsc_report_options *options, jsc_write_fn write,
                            void *user, jsc_error *error)
{
    return jsc_report_write_several(&(jsc_report_input){1, &attribution, NULL}, format, options, write, user, error);
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

jsc_status jsc_report_save_several(const jsc_report_input *input, const char *format, const jsc_report_options *options, const char *path,
                                   jsc_error *error)
{
    struct into_file file = {.status = JSC_OK};
    const struct report *report = NULL;
    jsc_status status = JSC_OK;

    if (path == NULL)
        FAIL(JSC_E_ARGUMENT, "a report needs a file name");
    TRY(report_find(format, &report, error)); /* before a file is touched */
    TRY(file_writer_open(path, &file.writer, error));
    status = jsc_report_write_several(input, format, options, write_file, &file, error);
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

jsc_status jsc_report_save(const jsc_attribution *attribution, const char *format, const jsc_report_options *options, const char *path,
                           jsc_error *error)
{
    return jsc_report_save_several(&(jsc_report_input){1, &attribution, NULL}, format, options, path, error);
}
