/* cmd_render.c: jscopes render: saved results in any format; several of one prompt side by side. */
#include "cli_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RESULTS_MAX 256

struct results {
    jsc_attribution *items[RESULTS_MAX];
    size_t n;
};

static const char *shown_name(const char *path)
{
    return strcmp(path, "-") == 0 ? "standard input" : path;
}

static int too_many(const char *path)
{
    return fail(EXIT_FAILED, "%s: more than %d results to show at once; --id X takes one line of a corpus", shown_name(path), RESULTS_MAX);
}

static int explain_content(const char *path, const char *bytes, size_t n, const jsc_error *error)
{
    if (n >= 4 && (memcmp(bytes, "\x1f\x8b", 2) == 0 || memcmp(bytes, "\x28\xb5\x2f\xfd", 4) == 0))
        return fail(EXIT_FAILED, "%s: this is compressed; unpack it first: %s -dc FILE | jscopes render - --id X", shown_name(path),
                    bytes[0] == 0x1f ? "gzip" : "zstd");
    return fail(EXIT_FAILED, "%s: %s", shown_name(path), error->text);
}

/* All results of a file. */
static int read_whole(const char *path, struct results *out)
{
    size_t n = 0, at = 0;
    jsc_attribution *a = NULL;
    jsc_error error;
    int status = EXIT_DONE;
    char *json = file_read(path, &n);
    if (json == NULL)
        return EXIT_FAILED;
    do {
        if (jsc_attribution_read_next(json, n, &at, &a, &error) != JSC_OK)
            status = explain_content(path, json, n, &error);
        else if (a != NULL && out->n == RESULTS_MAX) {
            jsc_attribution_free(a);
            status = too_many(path);
        } else if (a != NULL)
            out->items[out->n++] = a;
    } while (status == EXIT_DONE && a != NULL);
    free(json);
    return status;
}

static int find_line(FILE *file, const char *path, const char *id, struct results *out)
{
    char *line = NULL;
    size_t capacity = 0, number = 0;
    ssize_t n = 0;
    jsc_error error;
    int status = EXIT_DONE;
    errno = 0;
    while ((n = getline(&line, &capacity, file)) >= 0) {
        number++;
        if (jsc_attribution_has_id(line, (size_t)n, id))
            break;
    }
    if (n < 0 && (ferror(file) || errno == ENOMEM))
        status = fail(EXIT_FAILED, "%s: %s", shown_name(path), strerror(errno));
    else if (n < 0)
        status = fail(EXIT_FAILED, "%s: none of its %zu lines is an object with the id '%s'", shown_name(path), number, id);
    else if (jsc_attribution_read(line, (size_t)n, &out->items[out->n], &error) != JSC_OK)
        status = fail(EXIT_FAILED, "%s: line %zu: %s", shown_name(path), number, error.text);
    else
        out->n++;
    free(line);
    return status;
}

/* The first line with this id; the file is not held in memory. */
static int read_line(const char *path, const char *id, struct results *out)
{
    if (out->n == RESULTS_MAX)
        return too_many(path);
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    if (file == NULL)
        return fail(EXIT_FAILED, "%s: %s", path, strerror(errno));
    const int status = find_line(file, path, id, out);
    if (file != stdin)
        (void)fclose(file);
    return status;
}

static int check_usage(const struct arguments *args, const char *format)
{
    size_t inputs = 0;
    for (size_t i = 0; i < args->files.n; i++)
        inputs += strcmp(args->files.items[i], "-") == 0;
    if (inputs > 1)
        return fail(EXIT_USAGE, "render: standard input (-) can be read once, it is given %zu times", inputs);
    if (args->value[OPT_DIFFERENCE] != NULL && strcmp(format, "json") == 0)
        return fail(EXIT_USAGE, "--difference is no format of json: it lists both results");
    if (args->value[OPT_DIFFERENCE] != NULL && args->value[OPT_SERIES] != NULL)
        return fail(EXIT_USAGE, "--difference and --series do not go together");
    return EXIT_DONE;
}

static int render(const struct arguments *args, const struct results *results, const char *format, const jsc_report_options *options)
{
    if (results->n == 0)
        return fail(EXIT_FAILED, "%s: there is no result in it", shown_name(args->files.items[0]));
    const jsc_report_input input = {results->n, (const jsc_attribution *const *)results->items,
                                    args->labels.n > 0 ? (const char *const *)args->labels.items : NULL};
    if (args->labels.n > 0 && args->labels.n != results->n)
        return fail(EXIT_USAGE, "--label: %zu name%s for %zu results; one for each is wanted", args->labels.n,
                    args->labels.n == 1 ? "" : "s", results->n);
    if (options->difference != 0 && results->n != 2)
        return fail(EXIT_USAGE, "--difference is of two results, there are %zu", results->n);
    return report_out(args, &input, format, options);
}

int cmd_render(const struct arguments *args)
{
    jsc_report_options options = JSC_REPORT_OPTIONS_INIT;
    struct results results = {.n = 0};
    const char *format = report_format_parse(args), *id = args->value[OPT_ID];
    if (format == NULL || !report_options_parse(args, &options))
        return EXIT_USAGE;
    int status = check_usage(args, format);
    for (size_t i = 0; status == EXIT_DONE && i < args->files.n; i++)
        status = id != NULL ? read_line(args->files.items[i], id, &results) : read_whole(args->files.items[i], &results);
    if (status == EXIT_DONE)
        status = render(args, &results, format, &options);
    for (size_t i = 0; i < results.n; i++)
        jsc_attribution_free(results.items[i]);
    return status;
}
