/* cli_report.c: a report on its way out: its format, and to a file or standard output. */
#include "cli_internal.h"

#include <string.h>

#define FORMATS_MAX 16

const char *report_format_parse(const struct arguments *args)
{
    const char *names[FORMATS_MAX + 1] = {NULL}, *path = args->value[OPT_OUTPUT], *ending = path == NULL ? NULL : strrchr(path, '.');
    int index = 0;
    for (size_t i = 0; i < FORMATS_MAX && jsc_format_name(i) != NULL; i++) {
        names[i] = jsc_format_name(i);
        if (ending != NULL && strcmp(ending + 1, names[i]) == 0)
            index = (int)i;
    }
    if (args->value[OPT_FORMAT] != NULL)
        index = choice(OPT_FORMAT, args->value[OPT_FORMAT], names);
    return index < 0 ? NULL : names[index];
}

int report_out(const struct arguments *args, const jsc_report_input *input, const char *format, const jsc_report_options *options)
{
    const char *path = args->value[OPT_OUTPUT];
    jsc_error error;
    if (path != NULL)
        return jsc_report_save_several(input, format, options, path, &error) == JSC_OK ? EXIT_DONE : fail_library(&error);
    /* what stdout refused is told by finish_stdout, with its reason */
    const jsc_status status = jsc_report_write_several(input, format, options, write_stdout, NULL, &error);
    return status == JSC_OK || (status == JSC_E_FILE && ferror(stdout)) ? EXIT_DONE : fail_library(&error);
}
