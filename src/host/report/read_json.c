/* read_json.c: a JSON result read back into the same attribution, bit for bit; several in one text, one after the other. The text may come
 * from anywhere: every count, type and length is checked before it is used. */
#include "read_json.h"

#include <locale.h>
#include <string.h>

jsc_status read_key(struct json_reader *r, char out[READ_KEY_MAX], jsc_error *error)
{
    (void)json_reader_peek(r);
    out[0] = '\0';
    return json_reader_key(r, json_reader_string_size(r) <= READ_KEY_MAX ? out : NULL, NULL, error);
}

jsc_status read_text(struct json_reader *r, char **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    char *text = NULL;
    (void)json_reader_peek(r);
    TRY(mem_new(&text, json_reader_string_size(r), error));
    TRY(json_reader_string(r, text, NULL, error));
    *out = text, text = NULL;
done:
    mem_free(text);
    return status;
}

/* Where the fields stand that are not read through the tree; cuts: the same places in the order of the text. */
static jsc_status find_fields(struct reading *reading, struct json_span cuts[READ_COUNT], size_t *n_cuts, jsc_error *error)
{
    static const char *const names[READ_COUNT] = {"tokens", "layers", "layer_stderrs", "matrix", "matrix_targets", "seed", "bytes_peak"};
    jsc_status status = JSC_OK;
    struct json_reader *r = &reading->text;
    char key[READ_KEY_MAX];
    size_t count = 0;
    bool more = false;

    TRY(json_reader_enter(r, '{', error));
    for (;;) {
        TRY(json_reader_next(r, '{', &count, &more, error));
        if (!more)
            break;
        TRY(read_key(r, key, error));
        const char first = json_reader_peek(r);
        const size_t from = r->at;
        json_reader_hop(r);
        for (int i = 0; i < READ_COUNT; i++)
            if (strcmp(key, names[i]) == 0 && first != 'n') { /* null: absent */
                if (reading->where[i].to != 0)
                    FAIL(JSC_E_FORMAT, "%s: %s stands there twice", READ_NAME, key);
                cuts[(*n_cuts)++] = reading->where[i] = (struct json_span){from, r->at};
            }
    }
    TRY(json_reader_end(r, error));
done:
    return status;
}

/* The record of a corpus that failed holds an error instead of a result. */
static jsc_status check_status(const json_t *root, jsc_error *error)
{
    const char *text = json_string_value(json_object_get(root, "status"));
    const json_t *cause = json_object_get(root, "error");
    const char *code = json_string_value(json_object_get(cause, "code")), *message = json_string_value(json_object_get(cause, "message"));
    if (text == NULL || strcmp(text, "ok") == 0)
        return JSC_OK;
    return status_set(error, JSC_E_FORMAT, "%s: the record holds no result but status \"%.20s\": %.40s: %.200s", READ_NAME, text,
                      code != NULL ? code : "?", message != NULL ? message : "?");
}

/* What no single field can say. Renderers rely on it. */
static jsc_status check_whole(const jsc_attribution *a, jsc_error *error)
{
    const bool takes_targets = a->scope == JSC_SCOPE_SEMANTIC || a->scope == JSC_SCOPE_PATH || a->scope == JSC_SCOPE_INPUT_X_GRADIENT;
    if (a->position >= a->n_tokens)
        return status_set(error, JSC_E_FORMAT, "%s: the target's position %zu is behind the last of %zu tokens", READ_NAME, a->position,
                          a->n_tokens);
    if (takes_targets != (a->n_targets > 0))
        return status_set(error, JSC_E_FORMAT, "%s: scope %s %s targets", READ_NAME, jsc_scope_name(a->scope),
                          takes_targets ? "needs" : "has no");
    if (a->scope != JSC_SCOPE_DIRECTION && a->n_scores != (takes_targets ? a->n_targets : 1))
        return status_set(error, JSC_E_FORMAT, "%s: %zu scores a token for %zu targets", READ_NAME, a->n_scores, a->n_targets);
    if (a->n_scores > 1 && (a->stderrs != NULL || a->layer_stderrs != NULL))
        return status_set(error, JSC_E_FORMAT, "%s: standard errors beside %zu scores a token", READ_NAME, a->n_scores);
    return JSC_OK;
}

/* One object, nothing before or after it. base: its place in the whole text. */
static jsc_status read_object(const char *json, size_t n, size_t base, jsc_attribution **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct reading reading = {.a = NULL};
    struct json_span cuts[READ_COUNT];
    size_t n_cuts = 0;
    json_t *root = NULL;

    TRY(json_reader_make(&reading.text, READ_NAME, json, n, base, error));
    TRY(find_fields(&reading, cuts, &n_cuts, error));
    TRY(json_parse_without(READ_NAME, json, n, cuts, n_cuts, &root, error));
    TRY(check_status(root, error));
    TRY(mem_new(&reading.a, 1, error));
    reading.a->size = sizeof *reading.a;
    TRY(read_figures(&reading, root, error));
    TRY(read_tokens(&reading, error));
    TRY(read_path_nodes(&reading, root, error));
    TRY(read_tables(&reading, error));
    TRY(check_whole(reading.a, error));
    *out = reading.a, reading.a = NULL;
done:
    jsc_attribution_free(reading.a);
    json_decref(root);
    return status;
}

/* In the C locale, as reports are written. */
static jsc_status read_in_c(const char *json, size_t n, size_t base, jsc_attribution **out, jsc_error *error)
{
    const locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (c == (locale_t)0)
        return status_set(error, JSC_E_MEMORY, "no memory for a locale");
    const locale_t before = uselocale(c);
    const jsc_status status = read_object(json, n, base, out, error);
    (void)uselocale(before);
    freelocale(c);
    return status;
}

/* The next object's place, or an empty one at the end. A list closes with its bracket; without one, objects follow each other. */
static jsc_status next_object(const char *json, size_t n, size_t *at, struct json_span *out, jsc_error *error)
{
    struct json_reader r = {.name = READ_NAME, .text = json, .n = n};
    const bool list = json_reader_peek(&r) == '[';
    const bool begin = *at <= r.at;
    if (begin)
        r.at += list;
    else
        r.at = *at;
    char c = json_reader_peek(&r);
    if (list && !begin && c == ',') {
        r.at++;
        c = json_reader_peek(&r);
    } else if (list && c == ']') {
        r.at++;
        *out = (struct json_span){r.at, r.at};
        *at = n;
        return json_reader_end(&r, error);
    } else if (list && !begin)
        return status_set(error, JSC_E_FORMAT, "%s: byte %zu: ',' or ']' is wanted after a result of the list", READ_NAME, r.at);
    *out = (struct json_span){r.at, r.at};
    if (r.at == n && !list && !begin)
        return JSC_OK;
    if (c != '{')
        return status_set(error, JSC_E_FORMAT, "%s: byte %zu: the '{' of a result is wanted; a file that --format json wrote is", READ_NAME,
                          r.at);
    json_reader_hop(&r);
    out->to = *at = r.at;
    return JSC_OK;
}

jsc_status jsc_attribution_read_next(const char *json, size_t n, size_t *at, jsc_attribution **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct json_span where = {0, 0};

    if (json == NULL || at == NULL || out == NULL)
        return status_set(error, JSC_E_ARGUMENT, "jsc_attribution_read: an argument is NULL");
    *out = NULL;
    if (*at >= n && *at > 0)
        return JSC_OK;
    TRY(next_object(json, n, at, &where, error));
    if (where.to > where.from)
        TRY(read_in_c(json + where.from, where.to - where.from, where.from, out, error));
done:
    return status;
}

jsc_status jsc_attribution_read(const char *json, size_t n, jsc_attribution **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    jsc_attribution *one = NULL, *more = NULL;
    size_t at = 0;

    if (out == NULL)
        return status_set(error, JSC_E_ARGUMENT, "jsc_attribution_read: an argument is NULL");
    TRY(jsc_attribution_read_next(json, n, &at, &one, error));
    if (one == NULL)
        FAIL(JSC_E_FORMAT, "%s: the list of results is empty", READ_NAME);
    TRY(jsc_attribution_read_next(json, n, &at, &more, error));
    if (more != NULL)
        FAIL(JSC_E_FORMAT, "%s: there are several results, one is wanted", READ_NAME);
    *out = one, one = NULL;
done:
    jsc_attribution_free(one);
    jsc_attribution_free(more);
    return status;
}

/* The value at r: a text or whole number that reads as id. */
static bool is_id(struct json_reader *r, const char *id)
{
    const char first = json_reader_peek(r);
    char *text = NULL;
    bool same = false;
    if (first == '"') {
        same = json_reader_string_size(r) / 6 <= strlen(id) + 1 && read_text(r, &text, NULL) == JSC_OK && strcmp(text, id) == 0;
        mem_free(text);
        return same;
    }
    const size_t from = r->at;
    json_reader_hop(r);
    size_t to = r->at;
    while (to > from && strchr(" \t\r\n", r->text[to - 1]) != NULL)
        to--;
    return to - from == strlen(id) && memcmp(r->text + from, id, to - from) == 0;
}

int jsc_attribution_has_id(const char *json, size_t n, const char *id)
{
    struct json_reader r = {.name = READ_NAME, .text = json, .n = n};
    char key[READ_KEY_MAX];
    size_t count = 0;
    bool more = false;

    if (json == NULL || id == NULL || json_reader_enter(&r, '{', NULL) != JSC_OK)
        return 0;
    while (json_reader_next(&r, '{', &count, &more, NULL) == JSC_OK && more) {
        if (read_key(&r, key, NULL) != JSC_OK)
            return 0;
        if (strcmp(key, "id") == 0)
            return is_id(&r, id);
        json_reader_hop(&r);
    }
    return 0;
}
