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

void strbuf_printf(struct strbuf *s, const char *format, ...)
{
    char small[256];
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    const int n = vsnprintf(small, sizeof small, format, arguments);
    va_end(arguments);
    if (n < 0)
        s->failed = true;
    else if ((size_t)n < sizeof small)
        strbuf_add(s, small, (size_t)n);
    else {
        char *big = NULL;
        if (mem_new(&big, (size_t)n + 1, NULL) != JSC_OK)
            s->failed = true;
        else {
            (void)vsnprintf(big, (size_t)n + 1, format, again);
            strbuf_add(s, big, (size_t)n);
            mem_free(big);
        }
    }
    va_end(again);
}

void strbuf_free(struct strbuf *s)
{
    mem_free(s->text);
    s->text = NULL;
    s->n = s->capacity = 0;
}
