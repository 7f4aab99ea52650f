/* status.c: names and texts of statuses; error lines. */
#include "base_internal.h"

#include <jscopes/jscopes.h>

#include <stdio.h>
#include <string.h>

const char *jsc_status_name(jsc_status status)
{
    switch (status) {
#define STATUS_NAME(name, number, text)                                                                                                    \
    case name:                                                                                                                             \
        return #name;
        JSC_STATUS_LIST(STATUS_NAME)
#undef STATUS_NAME
    }
    return "JSC_E_?";
}

const char *jsc_status_text(jsc_status status)
{
    switch (status) {
#define STATUS_TEXT(name, number, text)                                                                                                    \
    case name:                                                                                                                             \
        return text;
        JSC_STATUS_LIST(STATUS_TEXT)
#undef STATUS_TEXT
    }
    return "unknown status";
}

const char *jsc_version(void)
{
    return JSC_VERSION;
}

/* One line, valid UTF-8, whatever names a hostile file put into it. */
static void clean_line(char *text)
{
    const size_t n = strlen(text);
    for (size_t i = 0; i < n;) {
        uint32_t cp = 0;
        const size_t length = utf8_char(text + i, n - i, &cp);
        if (length == 0 || cp < 0x20 || cp == 0x7f || (cp >= 0x80 && cp < 0xa0) || cp == 0x2028 || cp == 0x2029) {
            for (size_t j = 0; j < (length == 0 ? 1 : length); j++)
                text[i + j] = '?';
        }
        i += length == 0 ? 1 : length;
    }
}

#undef status_set /* the analyzer's view of it */
jsc_status status_set(jsc_error *error, jsc_status code, const char *format, ...)
{
    if (error == NULL)
        return code;
    error->status = code;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    clean_line(error->text);
    return code;
}
