/* report_sink.c: the bytes of a report on their way to the caller; remembers the first failure. */
#include "report_internal.h"

#include <stdio.h>
#include <string.h>

void sink_fail(struct sink *sink, jsc_status status, const char *what)
{
    if (sink->status == JSC_OK)
        sink->status = status_set(sink->error, status, "%s", what);
}

void sink_write(struct sink *sink, const char *bytes, size_t n)
{
    if (sink->status != JSC_OK || n == 0)
        return;
    if (sink->write(sink->user, bytes, n) != 0)
        sink_fail(sink, JSC_E_FILE, "the report could not be written: its receiver refused the bytes");
}

void sink_puts(struct sink *sink, const char *text)
{
    sink_write(sink, text, strlen(text));
}

void sink_printf(struct sink *sink, const char *format, ...)
{
    char small[512], *text = NULL;
    size_t n = 0;
    va_list arguments;
    va_start(arguments, format);
    const jsc_status status = text_format(small, sizeof small, &text, &n, format, arguments);
    va_end(arguments);
    if (status == JSC_OK)
        sink_write(sink, text, n);
    else
        sink_fail(sink, status,
                  status == JSC_E_MEMORY ? "no memory for a line of the report" : "a line of the report could not be formatted");
    if (text != small)
        mem_free(text);
}
