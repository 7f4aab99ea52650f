/* html_escape.c: any bytes as text of the page, and JSON that may stand inside a script element. */
#include "html_internal.h"

#include <math.h>
#include <string.h>

static void put_char(struct sink *sink, char c)
{
    switch (c) {
    case '<':
        sink_puts(sink, "&lt;");
        break;
    case '>':
        sink_puts(sink, "&gt;");
        break;
    case '&':
        sink_puts(sink, "&amp;");
        break;
    case '"':
        sink_puts(sink, "&quot;");
        break;
    case '\'':
        sink_puts(sink, "&#39;");
        break;
    default:
        sink_write(sink, &c, 1);
    }
}

static size_t put_piece(struct sink *sink, const char *bytes, size_t n, bool one_line)
{
    struct piece piece;
    uint32_t cp = 0;
    if (utf8_char(bytes, n, &cp) == 0) {
        sink_printf(sink, "\\x%02X", (unsigned char)bytes[0]);
        return 1;
    }
    if (!one_line && (cp == '\n' || cp == '\t')) {
        sink_write(sink, bytes, 1);
        return 1;
    }
    const size_t taken = piece_shown(bytes, n, false, &piece);
    for (size_t i = 0; i < piece.n; i++)
        put_char(sink, piece.text[i]);
    return taken;
}

void html_text(struct sink *sink, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n;)
        i += put_piece(sink, bytes + i, n - i, false);
}

void html_line_text(struct sink *sink, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n;)
        i += put_piece(sink, bytes + i, n - i, true);
}

void html_puts(struct sink *sink, const char *text)
{
    if (text != NULL)
        html_line_text(sink, text, strlen(text));
}

void html_token(struct sink *sink, const jsc_scored_token *token, bool one_line)
{
    const char *bytes = token->bytes != NULL ? token->bytes : token->text;
    const size_t n = token->bytes != NULL ? token->n_bytes : token->text != NULL ? strlen(token->text) : 0;
    if (n == 0)
        sink_printf(sink, "⟨%" PRId32 "⟩", token->id);
    else if (one_line)
        html_line_text(sink, bytes, n);
    else
        html_text(sink, bytes, n);
}

void html_predicted(struct sink *sink, const jsc_prediction *p)
{
    if (p->text == NULL) {
        sink_printf(sink, "id %" PRId32, p->id);
        return;
    }
    sink_puts(sink, "<q>");
    html_puts(sink, p->text);
    sink_puts(sink, "</q>");
}

void html_number(struct sink *sink, double value, int digits)
{
    if (isfinite(value))
        sink_printf(sink, "%.*g", digits, value);
    else
        sink_puts(sink, "undefined");
}

/* In JSON these three stand only inside strings. */
static int write_script_data(void *user, const char *bytes, size_t n)
{
    struct sink *out = user;
    size_t done = 0;
    for (size_t i = 0; i < n; i++) {
        if (bytes[i] != '<' && bytes[i] != '>' && bytes[i] != '&')
            continue;
        sink_write(out, bytes + done, i - done);
        sink_printf(out, "\\u%04x", (unsigned)bytes[i]);
        done = i + 1;
    }
    sink_write(out, bytes + done, n - done);
    return out->status != JSC_OK;
}

void html_script_data(const jsc_report_input *input, const jsc_report_options *options, struct sink *sink)
{
    struct sink filtered = {write_script_data, sink, NULL, sink->status};
    report_json(input, options, &filtered);
    if (filtered.status != JSC_OK)
        sink_fail(sink, filtered.status, "no memory for the data of the report"); /* unless it was sink's own failure */
}
