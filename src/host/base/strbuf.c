/* strbuf.c: text that grows up to a limit and remembers that it failed. */
#include "base_internal.h"

#include <stdio.h>
#include <string.h>

#define LIMIT ((size_t)1 << 30)

void strbuf_add(struct strbuf *s, const char *bytes, size_t n)
{
    const size_t limit = s->limit != 0 ? s->limit : LIMIT;
    if (s->failed)
        return;
    if (n > limit || s->n > limit - n || mem_reserve(&s->text, &s->capacity, s->n + n + 1, NULL) != JSC_OK) {
        s->failed = true;
        return;
    }
    if (n > 0)
        memcpy(s->text + s->n, bytes, n);
    s->n += n;
    s->text[s->n] = '\0';
}

void strbuf_puts(struct strbuf *s, const char *text)
{
    strbuf_add(s, text, strlen(text));
}

jsc_status text_format(char *small, size_t capacity, char **text, size_t *n, const char *format, va_list arguments)
{
    jsc_status status = JSC_OK;
    va_list again;
    va_copy(again, arguments);
    const int length = vsnprintf(small, capacity, format, arguments);
    *text = small;
    *n = length > 0 ? (size_t)length : 0;
    if (length < 0)
        status = JSC_E_INTERNAL;
    else if (*n >= capacity && (status = mem_new(text, *n + 1, NULL)) == JSC_OK)
        (void)vsnprintf(*text, *n + 1, format, again);
    va_end(again);
    return status;
}

void strbuf_printf(struct strbuf *s, const char *format, ...)
{
    char small[256], *text = NULL;
    size_t n = 0;
    va_list arguments;
    va_start(arguments, format);
    const jsc_status status = text_format(small, sizeof small, &text, &n, format, arguments);
    va_end(arguments);
    if (status == JSC_OK)
        strbuf_add(s, text, n);
    else
        s->failed = true;
    if (text != small)
        mem_free(text);
}

void strbuf_free(struct strbuf *s)
{
    mem_free(s->text);
    s->text = NULL;
    s->n = s->capacity = 0;
}
