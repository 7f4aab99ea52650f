/* parse_report.c: read any bytes as saved results, show what was accepted in every format, and read the JSON of it back. */
#include "parse_report.h"

#include <stdlib.h>
#include <string.h>

static void must(bool holds)
{
    if (!holds)
        abort();
}

static int gather(void *user, const char *bytes, size_t n)
{
    strbuf_add(user, bytes, n);
    return 0;
}

/* Beside itself, and minus itself; as a series, if the tokens are numbers. */
static void show_twice(const jsc_attribution *a, const char *format)
{
    const jsc_attribution *const two[] = {a, a};
    for (int i = 0; i < 3; i++) {
        struct strbuf out = {0};
        jsc_error error = {0};
        jsc_report_options options = JSC_REPORT_OPTIONS_INIT;
        options.colour = JSC_COLOUR_256, options.difference = i == 1, options.series = i == 2;
        const jsc_status status = jsc_report_write_several(&(jsc_report_input){2, two, NULL}, format, &options, gather, &out, &error);
        must(status == JSC_OK || (i == 2 && status == JSC_E_ARGUMENT));
        must(!out.failed && utf8_check(out.text, out.n) == out.n);
        strbuf_free(&out);
    }
}

static void show(const jsc_attribution *a)
{
    for (size_t i = 0; jsc_format_name(i) != NULL; i++) {
        struct strbuf out = {0};
        jsc_error error = {0};
        const jsc_status status = jsc_report_write(a, jsc_format_name(i), NULL, gather, &out, &error);
        must(status == JSC_OK && !out.failed && out.n > 0 && utf8_check(out.text, out.n) == out.n);
        if (strcmp(jsc_format_name(i), "json") == 0) {
            jsc_attribution *back = NULL;
            struct strbuf again = {0};
            must(jsc_attribution_read(out.text, out.n, &back, &error) == JSC_OK);
            must(jsc_report_write(back, "json", NULL, gather, &again, &error) == JSC_OK);
            must(again.n == out.n && memcmp(again.text, out.text, out.n) == 0);
            strbuf_free(&again);
            jsc_attribution_free(back);
        }
        strbuf_free(&out);
        show_twice(a, jsc_format_name(i));
    }
}

jsc_status parse_report(const char *text, size_t n, jsc_error *error)
{
    jsc_status status = JSC_OK;
    jsc_attribution *a = NULL;
    size_t at = 0;
    (void)jsc_attribution_has_id(text, n, "an id");
    do {
        const size_t before = at;
        status = jsc_attribution_read_next(text, n, &at, &a, error);
        must(status == JSC_OK || a == NULL);
        must(a == NULL || (at > before && at <= n));
        if (a != NULL)
            show(a);
        jsc_attribution_free(a);
    } while (a != NULL);
    return status;
}
