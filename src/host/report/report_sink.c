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
    char small[512];
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    const int n = vsnprintf(small, sizeof small, format, arguments);
    va_end(arguments);
    if (n < 0)
        sink_fail(sink, JSC_E_INTERNAL, "a line of the report could not be formatted");
    else if ((size_t)n < sizeof small)
        sink_write(sink, small, (size_t)n);
    else {
        char *big = NULL;
        if (mem_new(&big, (size_t)n + 1, NULL) != JSC_OK)
            sink_fail(sink, JSC_E_MEMORY, "no memory for a line of the report");
        else {
            (void)vsnprintf(big, (size_t)n + 1, format, again);
            sink_write(sink, big, (size_t)n);
            mem_free(big);
        }
    }
    va_end(again);
}
