/* json.c: jansson with stricter rules: duplicate keys refused, memory bounded beforehand, fields fetched with type and range. */
#include "files_internal.h"

#include <string.h>

/* jansson's tree of small values is many times the text: `[[],[],...]` takes 40 bytes a byte. Real tokeniser files need up to 13 bytes a
 * byte (measured: merges as pairs). */
#define TREE_FREE  ((size_t)64 << 20)
#define TREE_RATIO 24

/* Upper estimate of jansson's tree in bytes, from the structure characters outside strings. */
static size_t tree_bytes(const char *text, size_t n)
{
    size_t bytes = 0;
    bool quoted = false;
    for (size_t i = 0; i < n; i++) {
        const char c = text[i];
        if (quoted) {
            if (c == '\\')
                i++;
            else if (c == '"')
                quoted = false;
            bytes++;
            continue;
        }
        quoted = c == '"';
        bytes += c == '{' ? 288 : c == '[' ? 128 : c == '"' ? 32 : c == ':' ? 80 : c == ',' ? 40 : 0;
    }
    return bytes;
}

static jsc_status parse(const char *name, const char *text, size_t n, json_t **out, json_error_t *at, jsc_error *error)
{
    const size_t need = tree_bytes(text, n);
    if (need > TREE_FREE && need / TREE_RATIO > n)
        return status_set(error, JSC_E_FORMAT, "%s: %zu bytes of JSON would take %zu bytes of memory; this is no model file", name, n,
                          need);
    json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, at);
    if (root == NULL)
        return status_set(error, json_error_code(at) == json_error_out_of_memory ? JSC_E_MEMORY : JSC_E_FORMAT,
                          "%s: line %d, column %d (byte %d): %s", name, at->line, at->column, at->position, at->text);
    *out = root;
    return JSC_OK;
}

jsc_status json_parse(const char *name, const char *text, size_t n, json_t **out, jsc_error *error)
{
    json_error_t at;
    const size_t valid = utf8_check(text, n);
    if (valid < n)
        return status_set(error, JSC_E_FORMAT, "%s: byte %zu is not UTF-8; a JSON file is wanted", name, valid);
    return parse(name, text, n, out, &at, error);
}

/* The byte of the whole text that stands at this place of the shortened one. */
static size_t place_in_whole(size_t position, const struct json_span *cuts, size_t n_cuts)
{
    size_t shorter = 0;
    for (size_t i = 0; i < n_cuts; i++)
        if (position + shorter > cuts[i].from)
            shorter += cuts[i].to - cuts[i].from - strlen("null");
    return position + shorter;
}

jsc_status json_parse_without(const char *name, const char *text, size_t n, const struct json_span *cuts, size_t n_cuts, json_t **out,
                              jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct strbuf rest = {0};
    jsc_error why = {0};
    json_error_t at = {.position = -1};
    size_t from = 0, line = 1;
    for (size_t i = 0; i <= n_cuts; i++) {
        strbuf_add(&rest, text + from, (i < n_cuts ? cuts[i].from : n) - from);
        strbuf_puts(&rest, i < n_cuts ? "null" : "");
        from = i < n_cuts ? cuts[i].to : n;
    }
    if (rest.failed)
        FAIL(JSC_E_MEMORY, "%s: no memory for %zu bytes of JSON", name, n);
    status = parse(name, rest.text, rest.n, out, &at, &why);
    if (status == JSC_E_FORMAT && at.position >= 0) {
        const size_t byte = place_in_whole((size_t)at.position, cuts, n_cuts);
        for (size_t i = 0; i < byte && i < n; i++)
            line += text[i] == '\n';
        FAIL(JSC_E_FORMAT, "%s: line %zu (byte %zu): %s", name, line, byte, at.text);
    }
    if (status != JSC_OK)
        FAIL(status, "%s", why.text);
done:
    strbuf_free(&rest);
    return status;
}

/* The field, or NULL if it is absent or null (which mean the same everywhere in these files). */
static const json_t *get(const json_t *object, const char *key, bool *present)
{
    const json_t *value = json_object_get(object, key);
    if (json_is_null(value))
        value = NULL;
    if (present != NULL)
        *present = value != NULL;
    return value;
}

static const char *type_name(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "a list";
    case JSON_STRING:
        return "text";
    case JSON_INTEGER:
        return "a whole number";
    case JSON_REAL:
        return "a number with a fraction or exponent";
    case JSON_TRUE:
        return "true";
    case JSON_FALSE:
        return "false";
    default:
        return "null";
    }
}

static jsc_status wrong_type(const char *name, const char *key, const json_t *value, const char *wanted, jsc_error *error)
{
    if (json_is_string(value))
        return status_set(error, JSC_E_FORMAT, "%s: %s is the text \"%.80s\", %s is wanted", name, key, json_string_value(value), wanted);
    return status_set(error, JSC_E_FORMAT, "%s: %s is %s, %s is wanted", name, key, type_name(value), wanted);
}

jsc_status json_get_int(const char *name, const json_t *object, const char *key, int64_t low, int64_t high, int64_t *out, bool *present,
                        jsc_error *error)
{
    const json_t *value = get(object, key, present);
    if (value == NULL)
        return JSC_OK;
    if (json_is_real(value))
        return status_set(error, JSC_E_FORMAT, "%s: %s is %g (written as a fraction), a whole number is wanted", name, key,
                          json_real_value(value));
    if (!json_is_integer(value))
        return wrong_type(name, key, value, "a whole number", error);
    const int64_t v = json_integer_value(value);
    if (v < low || v > high)
        return status_set(error, JSC_E_FORMAT, "%s: %s is %" PRId64 ", outside %" PRId64 " to %" PRId64, name, key, v, low, high);
    *out = v;
    return JSC_OK;
}

jsc_status json_get_double(const char *name, const json_t *object, const char *key, double low, double high, double *out, bool *present,
                           jsc_error *error)
{
    const json_t *value = get(object, key, present);
    if (value == NULL)
        return JSC_OK;
    if (!json_is_number(value))
        return wrong_type(name, key, value, "a number", error);
    const double v = json_number_value(value);
    if (!(v >= low && v <= high))
        return status_set(error, JSC_E_FORMAT, "%s: %s is %.17g, outside %g to %g", name, key, v, low, high);
    *out = v;
    return JSC_OK;
}

jsc_status json_get_bool(const char *name, const json_t *object, const char *key, bool *out, bool *present, jsc_error *error)
{
    const json_t *value = get(object, key, present);
    if (value == NULL)
        return JSC_OK;
    if (!json_is_boolean(value))
        return wrong_type(name, key, value, "true or false", error);
    *out = json_is_true(value);
    return JSC_OK;
}

jsc_status json_get_string(const char *name, const json_t *object, const char *key, const char **out, bool *present, jsc_error *error)
{
    const json_t *value = get(object, key, present);
    if (value == NULL)
        return JSC_OK;
    if (!json_is_string(value))
        return wrong_type(name, key, value, "text", error);
    *out = json_string_value(value);
    return JSC_OK;
}
