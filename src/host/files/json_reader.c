/* json_reader.c: one pass over JSON text without building a tree: the memory of a 100 MB header is what its reader keeps of it. */
#include "files_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BAD(r, what) bad((r), error, (what))

static jsc_status bad(const struct json_reader *r, jsc_error *error, const char *what)
{
    return status_set(error, JSC_E_FORMAT, "%s: byte %zu: %s; the file is damaged or of another format", r->name, r->base + r->at, what);
}

jsc_status json_reader_make(struct json_reader *r, const char *name, const char *text, size_t n, size_t base, jsc_error *error)
{
    *r = (struct json_reader){.name = name, .text = text, .n = n, .base = base};
    r->at = utf8_check(text, n);
    if (r->at < n)
        return BAD(r, "not UTF-8");
    r->at = 0;
    return JSC_OK;
}

char json_reader_peek(struct json_reader *r)
{
    while (r->at < r->n && (r->text[r->at] == ' ' || r->text[r->at] == '\t' || r->text[r->at] == '\n' || r->text[r->at] == '\r'))
        r->at++;
    return r->at < r->n ? r->text[r->at] : '\0';
}

jsc_status json_reader_enter(struct json_reader *r, char bracket, jsc_error *error)
{
    if (json_reader_peek(r) != bracket)
        return BAD(r, bracket == '{' ? "'{' is wanted" : "'[' is wanted");
    if (r->depth == JSON_DEPTH_MAX)
        return BAD(r, "nested deeper than 128 levels");
    r->depth++;
    r->at++;
    return JSC_OK;
}

jsc_status json_reader_next(struct json_reader *r, char bracket, size_t *count, bool *more, jsc_error *error)
{
    const char close = bracket == '{' ? '}' : ']', c = json_reader_peek(r);
    *more = c != close;
    if (c == close) {
        r->depth--;
        r->at++;
        return JSC_OK;
    }
    if (*count > 0) {
        if (c != ',')
            return BAD(r, bracket == '{' ? "',' or '}' is wanted" : "',' or ']' is wanted");
        r->at++;
        if (json_reader_peek(r) == close)
            return BAD(r, "a value is wanted after ','");
    }
    ++*count;
    return JSC_OK;
}

size_t json_reader_string_size(const struct json_reader *r)
{
    size_t i = r->at + 1;
    while (i < r->n && r->text[i] != '"')
        i += r->text[i] == '\\' ? 2 : 1;
    return (i < r->n ? i : r->n) - r->at + 1;
}

/* Four hexadecimal digits at text; false if they are none. */
static bool hex4(const char *text, uint32_t *out)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++) {
        const char c = text[i];
        const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (digit < 0)
            return false;
        v = v << 4 | (uint32_t)digit;
    }
    *out = v;
    return true;
}

/* The escape after a backslash (r->at stands on its letter); writes 1 to 4 bytes. */
static jsc_status escape(struct json_reader *r, char bytes[4], size_t *n, jsc_error *error)
{
    static const char letters[] = "\"\\/bfnrt", meaning[] = "\"\\/\b\f\n\r\t";
    const char c = r->at < r->n ? r->text[r->at] : '\0';
    const char *letter = c != '\0' ? strchr(letters, c) : NULL;
    if (letter != NULL) {
        bytes[0] = meaning[letter - letters];
        *n = 1;
        r->at++;
        return JSC_OK;
    }
    uint32_t cp = 0, low = 0;
    if (c != 'u' || r->n - r->at < 5 || !hex4(r->text + r->at + 1, &cp))
        return BAD(r, "this escape does not exist");
    if (cp >= 0xd800 && cp < 0xdc00 && r->n - r->at >= 11 && r->text[r->at + 5] == '\\' && r->text[r->at + 6] == 'u' &&
        hex4(r->text + r->at + 7, &low) && low >= 0xdc00 && low < 0xe000) {
        cp = 0x10000 + ((cp - 0xd800) << 10) + (low - 0xdc00);
        r->at += 6;
    }
    if (cp >= 0xd800 && cp < 0xe000)
        return BAD(r, "half a surrogate pair");
    if (cp == 0)
        return BAD(r, "a text with the character U+0000");
    r->at += 5;
    *n = utf8_put(bytes, cp);
    return JSC_OK;
}

/* Length of the run of characters at the front that stand for themselves. */
static size_t plain_run(const char *text, size_t n)
{
    size_t i = 0;
    while (i < n && text[i] != '"' && text[i] != '\\' && (unsigned char)text[i] >= 0x20)
        i++;
    return i;
}

jsc_status json_reader_string(struct json_reader *r, char *out, size_t *n, jsc_error *error)
{
    jsc_status status = JSC_OK;
    size_t length = 0;
    if (json_reader_peek(r) != '"')
        return BAD(r, "a text in quotes is wanted");
    r->at++;
    for (;;) {
        char bytes[4];
        size_t count = plain_run(r->text + r->at, r->n - r->at);
        if (out != NULL)
            memcpy(out + length, r->text + r->at, count);
        length += count;
        r->at += count;
        if (r->at >= r->n)
            return BAD(r, "the text has no closing quote");
        if (r->text[r->at] == '"')
            break;
        if (r->text[r->at] != '\\')
            return BAD(r, "a control character inside a text");
        r->at++;
        TRY(escape(r, bytes, &count, error));
        if (out != NULL)
            memcpy(out + length, bytes, count);
        length += count;
    }
    r->at++;
    if (out != NULL)
        out[length] = '\0';
    if (n != NULL)
        *n = length;
done:
    return status;
}

jsc_status json_reader_key(struct json_reader *r, char *out, size_t *n, jsc_error *error)
{
    jsc_status status = JSC_OK;
    TRY(json_reader_string(r, out, n, error));
    if (json_reader_peek(r) != ':')
        return BAD(r, "':' is wanted");
    r->at++;
done:
    return status;
}

static size_t digits(const struct json_reader *r, size_t at)
{
    size_t n = 0;
    while (at + n < r->n && r->text[at + n] >= '0' && r->text[at + n] <= '9')
        n++;
    return n;
}

/* The end of the number at r->at, or r->at if there is none. *whole: digits only. */
static size_t number_end(const struct json_reader *r, bool *whole)
{
    const char *t = r->text;
    size_t i = r->at, n;
    *whole = true;
    if (i < r->n && t[i] == '-') {
        *whole = false;
        i++;
    }
    n = digits(r, i);
    if (n == 0 || (n > 1 && t[i] == '0'))
        return r->at;
    i += n;
    if (i < r->n && t[i] == '.') {
        *whole = false;
        if ((n = digits(r, i + 1)) == 0)
            return r->at;
        i += 1 + n;
    }
    if (i < r->n && (t[i] == 'e' || t[i] == 'E')) {
        *whole = false;
        i++;
        if (i < r->n && (t[i] == '+' || t[i] == '-'))
            i++;
        if ((n = digits(r, i)) == 0)
            return r->at;
        i += n;
    }
    return i;
}

/* The value as it stands there, up to its end. */
static jsc_status no_number(const struct json_reader *r, const char *what, const char *wanted, jsc_error *error)
{
    size_t shown = 0;
    while (r->at + shown < r->n && shown < 40 && strchr(",]} \n\r\t", r->text[r->at + shown]) == NULL)
        shown++;
    return status_set(error, JSC_E_FORMAT, "%s: %s is %.*s (byte %zu), %s is wanted", r->name, what, (int)shown, r->text + r->at,
                      r->base + r->at, wanted);
}

jsc_status json_reader_u64(struct json_reader *r, const char *what, uint64_t *out, jsc_error *error)
{
    bool whole = false;
    (void)json_reader_peek(r);
    const size_t start = r->at, end = number_end(r, &whole);
    uint64_t v = 0;
    for (size_t i = start; whole && i < end; i++)
        if (__builtin_mul_overflow(v, (uint64_t)10, &v) || __builtin_add_overflow(v, (uint64_t)(r->text[i] - '0'), &v))
            whole = false;
    if (!whole || end == start)
        return no_number(r, what, "a whole number from 0 to 2^64-1", error);
    r->at = end;
    *out = v;
    return JSC_OK;
}

jsc_status json_reader_double(struct json_reader *r, const char *what, double *out, jsc_error *error)
{
    bool whole = false;
    char digits_of[128];
    (void)json_reader_peek(r);
    const size_t end = number_end(r, &whole), n = end - r->at;
    if (n == 0 || n >= sizeof digits_of)
        return no_number(r, what, "a number", error);
    memcpy(digits_of, r->text + r->at, n);
    digits_of[n] = '\0';
    const double value = strtod(digits_of, NULL);
    if (!isfinite(value))
        return no_number(r, what, "a number that a double can hold", error);
    r->at = end;
    *out = value;
    return JSC_OK;
}

static jsc_status skip_word(struct json_reader *r, jsc_error *error)
{
    static const char *const words[] = {"true", "false", "null"};
    for (size_t i = 0; i < 3; i++) {
        const size_t n = strlen(words[i]);
        if (r->n - r->at >= n && memcmp(r->text + r->at, words[i], n) == 0) {
            r->at += n;
            return JSC_OK;
        }
    }
    bool whole;
    const size_t end = number_end(r, &whole);
    if (end == r->at)
        return BAD(r, "a value is wanted");
    r->at = end;
    return JSC_OK;
}

/* Recursion ends at JSON_DEPTH_MAX, which json_reader_enter checks. */
jsc_status json_reader_skip(struct json_reader *r, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const char c = json_reader_peek(r);
    size_t count = 0;
    bool more = false;
    if (c == '"')
        return json_reader_string(r, NULL, NULL, error);
    if (c != '{' && c != '[')
        return skip_word(r, error);
    TRY(json_reader_enter(r, c, error));
    for (;;) {
        TRY(json_reader_next(r, c, &count, &more, error));
        if (!more)
            break;
        if (c == '{')
            TRY(json_reader_key(r, NULL, NULL, error));
        TRY(json_reader_skip(r, error));
    }
done:
    return status;
}

void json_reader_hop(struct json_reader *r)
{
    size_t depth = 0;
    (void)json_reader_peek(r);
    while (r->at < r->n) {
        const char c = r->text[r->at];
        if (c == '"') {
            const size_t size = json_reader_string_size(r);
            r->at = size < r->n - r->at ? r->at + size : r->n;
        } else if (depth == 0 && (c == ',' || c == '}' || c == ']'))
            return;
        else {
            depth += c == '{' || c == '[';
            depth -= c == '}' || c == ']';
            r->at++;
        }
        if (depth == 0 && (c == '"' || c == '}' || c == ']'))
            return;
    }
}

jsc_status json_reader_end(struct json_reader *r, jsc_error *error)
{
    if (json_reader_peek(r) != '\0' || r->at < r->n)
        return BAD(r, "something follows the end of the JSON text");
    return JSC_OK;
}
