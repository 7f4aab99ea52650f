/* text_escape.c: any bytes as text for a terminal, a JSON string or XML. Text of prompts and vocabularies is data: it never drives what
 * shows it. */
#include "report_internal.h"

#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

static void piece_set(struct piece *out, const char *text, size_t n, int cells)
{
    memcpy(out->text, text, n);
    out->text[n] = '\0';
    out->n = n;
    out->cells = cells;
}

static void piece_format(struct piece *out, const char *format, unsigned value)
{
    const int n = snprintf(out->text, sizeof out->text, format, value);
    out->n = (size_t)n;
    out->cells = n;
}

/* Characters that nobody sees, or that turn the text around: control, format, line separators, not assigned. The two joiners stay: they
 * only act on their neighbours. */
static bool is_invisible(uint32_t cp)
{
    if (cp == 0x200c || cp == 0x200d)
        return false;
    switch (utf8proc_category((utf8proc_int32_t)cp)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return true;
    default:
        return false;
    }
}

size_t piece_shown(const char *text, size_t n, bool ascii, struct piece *out)
{
    uint32_t cp = 0;
    const size_t length = utf8_char(text, n, &cp);
    if (length == 0)
        piece_format(out, "<0x%02X>", (unsigned char)text[0]);
    else if (cp == '\n' || cp == '\t' || cp == '\r')
        piece_set(out, cp == '\n' ? "\\n" : cp == '\t' ? "\\t" : "\\r", 2, 2);
    else if (cp < 0x20 || cp == 0x7f)
        piece_format(out, "\\x%02x", cp);
    else if (cp >= 0x80 && (ascii || is_invisible(cp)))
        piece_format(out, "<U+%04X>", cp);
    else
        piece_set(out, text, length, utf8proc_charwidth((utf8proc_int32_t)cp));
    return length == 0 ? 1 : length;
}

size_t piece_json(const char *text, size_t n, struct piece *out)
{
    uint32_t cp = 0;
    const size_t length = utf8_char(text, n, &cp);
    if (length == 0)
        piece_format(out, "<0x%02X>", (unsigned char)text[0]);
    else if (cp == '"' || cp == '\\')
        piece_set(out, cp == '"' ? "\\\"" : "\\\\", 2, 0);
    else if (cp == '\n' || cp == '\t')
        piece_set(out, cp == '\n' ? "\\n" : "\\t", 2, 0);
    else if (cp < 0x20 || cp == 0x7f || cp == 0x2028 || cp == 0x2029) /* the last two end a line in older JavaScript */
        piece_format(out, "\\u%04x", cp);
    else
        piece_set(out, text, length, 0);
    return length == 0 ? 1 : length;
}

size_t piece_xml(const char *text, size_t n, struct piece *out)
{
    static const struct {
        char plain;
        const char *entity;
    } entities[] = {{'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'"', "&quot;"}, {'\'', "&#39;"}};
    struct piece shown;
    const size_t taken = piece_shown(text, n, false, &shown);
    out->n = 0;
    out->cells = shown.cells;
    for (size_t i = 0; i < shown.n; i++) {
        const char plain[2] = {shown.text[i], '\0'}, *put = plain;
        for (size_t e = 0; e < sizeof entities / sizeof *entities; e++)
            put = plain[0] == entities[e].plain ? entities[e].entity : put;
        memcpy(out->text + out->n, put, strlen(put));
        out->n += strlen(put);
    }
    out->text[out->n] = '\0';
    return taken;
}

/* Adds as snprintf does: what does not fit is only counted, and a character is never cut. */
struct fixed {
    char *text;
    size_t capacity, n;
    bool full;
};

static void fixed_add(struct fixed *f, const char *text, size_t n)
{
    f->full = f->full || f->n + n >= f->capacity;
    if (!f->full) {
        memcpy(f->text + f->n, text, n);
        f->text[f->n + n] = '\0';
    }
    f->n += n;
}

size_t jsc_text_show(const char *bytes, size_t n, int ascii, char *buffer, size_t capacity)
{
    struct fixed f = {buffer, capacity, 0, false};
    struct piece piece;
    if (capacity > 0)
        buffer[0] = '\0';
    for (size_t i = 0; i < n;) {
        i += piece_shown(bytes + i, n - i, ascii != 0, &piece);
        fixed_add(&f, piece.text, piece.n);
    }
    return f.n;
}

size_t jsc_text_json(const char *bytes, size_t n, char *buffer, size_t capacity)
{
    struct fixed f = {buffer, capacity, 0, false};
    struct piece piece;
    if (capacity > 0)
        buffer[0] = '\0';
    fixed_add(&f, "\"", 1);
    for (size_t i = 0; i < n;) {
        i += piece_json(bytes + i, n - i, &piece);
        fixed_add(&f, piece.text, piece.n);
    }
    fixed_add(&f, "\"", 1);
    return f.n;
}
