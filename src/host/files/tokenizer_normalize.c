/* tokenizer_normalize.c: the normalisers of tokenizer.json, each from one text buffer to the other. */
#include "tokenizer_internal.h"

#include <string.h>

#include <utf8proc.h>

#define DECOMPOSED_MAX 32 /* characters; U+FDFA becomes 18, the most */

/* A text under construction in one of the two buffers. */
struct target {
    char **text;
    size_t *capacity;
    size_t n, limit;
};

static jsc_status put(struct target *t, const char *bytes, size_t n, jsc_error *error)
{
    size_t need = 0;
    if (!size_add(t->n, n, &need) || need > t->limit)
        return status_set(error, JSC_E_UNSUPPORTED, "the tokeniser's normaliser makes more than %zu bytes of this text", t->limit);
    const jsc_status status = mem_reserve(t->text, t->capacity, need, error);
    if (status == JSC_OK && n > 0)
        memcpy(*t->text + t->n, bytes, n);
    t->n = status == JSC_OK ? need : t->n;
    return status;
}

static bool is_ascii(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] >= 0x80)
            return false;
    return true;
}

/* Orders each run of combining marks by class, equal ones as they stood. A counting sort, because marks without end are legal input and
 * utf8proc's own exchange sort is quadratic in them. */
static jsc_status order_marks(struct normal_buffers *b, size_t n, jsc_error *error)
{
    jsc_status status = JSC_OK;
    int32_t *sorted = NULL;
    size_t sorted_capacity = 0;
    TRY(mem_reserve(&b->classes, &b->classes_capacity, n, error));
    for (size_t i = 0; i < n; i++)
        b->classes[i] = normal_is_unknown(b->points[i]) ? 0 : (unsigned char)utf8proc_get_property(b->points[i])->combining_class;
    for (size_t i = 0; i < n;) {
        if (b->classes[i] == 0) {
            i++;
            continue;
        }
        size_t end = i, at[256] = {0};
        for (; end < n && b->classes[end] != 0; end++)
            at[b->classes[end]]++;
        if (end - i > 1) {
            TRY(mem_reserve(&sorted, &sorted_capacity, end - i, error));
            for (size_t c = 0, sum = 0; c < 256; c++) {
                const size_t count = at[c];
                at[c] = sum;
                sum += count;
            }
            for (size_t k = i; k < end; k++)
                sorted[at[b->classes[k]]++] = b->points[k];
            memcpy(b->points + i, sorted, (end - i) * sizeof *sorted);
            for (size_t k = i, c = 0; k < end; k++) {
                while (at[c] <= k - i) /* at[c] is now where class c ends */
                    c++;
                b->classes[k] = (unsigned char)c;
            }
        }
        i = end;
    }
done:
    mem_free(sorted);
    return status;
}

/* The character that the two compose to; -1: they do not. */
static int32_t compose_pair(int32_t a, int32_t b)
{
    int32_t pair[2] = {a, b};
    if (normal_is_unknown(a) || normal_is_unknown(b))
        return -1;
    return utf8proc_normalize_utf32(pair, 2, (utf8proc_option_t)(UTF8PROC_STABLE | UTF8PROC_COMPOSE)) == 1 ? pair[0] : -1;
}

/* Composes in place: a mark joins the last starter unless one of at least its class stands between them. Returns the new length. */
static size_t compose(struct normal_buffers *b, size_t n)
{
    size_t out = 0, starter = SIZE_MAX;
    for (size_t i = 0; i < n; i++) {
        const bool reaches = starter != SIZE_MAX && (out == starter + 1 || b->classes[out - 1] < b->classes[i]);
        const int32_t both = reaches && b->points[i] >= 0x300 ? compose_pair(b->points[starter], b->points[i]) : -1;
        if (both >= 0) {
            b->points[starter] = both;
            continue;
        }
        if (b->classes[i] == 0)
            starter = out;
        b->points[out] = b->points[i];
        b->classes[out++] = b->classes[i];
    }
    return out;
}

static jsc_status decompose(const char *text, size_t n, int options, struct normal_buffers *b, size_t *n_points, jsc_error *error)
{
    jsc_status status = JSC_OK;
    for (size_t i = 0; i < n;) {
        uint32_t c = 0;
        int boundary = 0;
        const size_t length = utf8_char(text + i, n - i, &c);
        if (length == 0)
            FAIL(JSC_E_INTERNAL, "invalid UTF-8 reached a normaliser");
        i += length;
        TRY(mem_reserve(&b->points, &b->points_capacity, *n_points + DECOMPOSED_MAX, error));
        if (c < 0x80 || normal_is_unknown((int32_t)c)) {
            b->points[(*n_points)++] = (int32_t)c;
            continue;
        }
        const utf8proc_ssize_t got = utf8proc_decompose_char((int32_t)c, b->points + *n_points, DECOMPOSED_MAX, (utf8proc_option_t)options,
                                                             &boundary);
        if (got < 0 || got > DECOMPOSED_MAX)
            FAIL(JSC_E_INTERNAL, "utf8proc cannot decompose U+%04X", c);
        *n_points += (size_t)got;
    }
done:
    return status;
}

static jsc_status run_form(enum normalizer_kind kind, const char *text, size_t n, struct normal_buffers *b, struct target *t,
                           jsc_error *error)
{
    jsc_status status = JSC_OK;
    const bool compatible = kind == NORMALIZE_NFKC || kind == NORMALIZE_NFKD;
    size_t n_points = 0;
    TRY(decompose(text, n, UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | (compatible ? UTF8PROC_COMPAT : 0), b, &n_points, error));
    TRY(order_marks(b, n_points, error));
    if (kind == NORMALIZE_NFC || kind == NORMALIZE_NFKC)
        n_points = compose(b, n_points);
    for (size_t i = 0; i < n_points; i++) {
        char bytes[4];
        TRY(put(t, bytes, utf8_put(bytes, (uint32_t)b->points[i]), error));
    }
done:
    return status;
}

static jsc_status run_lowercase(const char *text, size_t n, struct target *t, jsc_error *error)
{
    jsc_status status = JSC_OK;
    for (size_t i = 0; i < n;) {
        uint32_t c = 0;
        char bytes[4];
        const size_t length = utf8_char(text + i, n - i, &c);
        if (length == 0)
            FAIL(JSC_E_INTERNAL, "invalid UTF-8 reached a normaliser");
        i += length;
        if (c == 0x130) /* the only character whose lower case is two: i and a dot above */
            TRY(put(t, "i\xcc\x87", 3, error));
        else
            TRY(put(t, bytes, utf8_put(bytes, (uint32_t)normal_lower((int32_t)c)), error));
    }
done:
    return status;
}

static jsc_status run_replace(const struct normalizer *z, const char *text, size_t n, pcre2_match_data *match, struct target *t,
                              jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct regex_walk walk = {.code = z->pattern, .match = match, .text = text, .n = n};
    size_t done_to = 0, from = 0, to = 0;
    bool found = false;
    for (;;) {
        TRY(regex_next(&walk, &from, &to, &found, error));
        if (!found)
            break;
        TRY(put(t, text + done_to, from - done_to, error));
        TRY(put(t, z->text, z->n, error));
        done_to = to;
    }
    TRY(put(t, text + done_to, n - done_to, error));
done:
    return status;
}

static void strip(const struct normalizer *z, const char **text, size_t *n)
{
    uint32_t c = 0;
    while (z->left && *n > 0) {
        const size_t length = utf8_char(*text, *n, &c);
        if (length == 0 || !is_white_space(c))
            break;
        *text += length;
        *n -= length;
    }
    while (z->right && *n > 0) {
        size_t length = 1;
        while (length < *n && ((unsigned char)(*text)[*n - length] & 0xc0) == 0x80)
            length++;
        if (utf8_char(*text + *n - length, length, &c) != length || !is_white_space(c))
            break;
        *n -= length;
    }
}

jsc_status normalize(const struct normalizer *list, size_t count, const char *text, size_t n, pcre2_match_data *match,
                     struct normal_buffers *b, const char **out, size_t *out_n, jsc_error *error)
{
    jsc_status status = JSC_OK;
    int which = 0;
    for (size_t k = 0; k < count && n > 0; k++) {
        const struct normalizer *z = &list[k];
        if (z->kind == NORMALIZE_STRIP) {
            strip(z, &text, &n);
            continue;
        }
        if (z->kind <= NORMALIZE_NFKD && is_ascii(text, n))
            continue;
        struct target t = {.text = &b->text[which], .capacity = &b->capacity[which], .limit = 32 * n + 65536}; /* NFKC: 18 times at most */
        TRY(put(&t, "", 0, error));
        if (z->kind == NORMALIZE_LOWERCASE)
            TRY(run_lowercase(text, n, &t, error));
        else if (z->kind == NORMALIZE_REPLACE)
            TRY(run_replace(z, text, n, match, &t, error));
        else if (z->kind == NORMALIZE_PREPEND) {
            TRY(put(&t, z->text, z->n, error));
            TRY(put(&t, text, n, error));
        } else
            TRY(run_form(z->kind, text, n, b, &t, error));
        text = *t.text != NULL ? *t.text : "";
        n = t.n;
        which = 1 - which;
    }
    *out = text;
    *out_n = n;
done:
    return status;
}

void normal_buffers_free(struct normal_buffers *b)
{
    mem_free(b->text[0]);
    mem_free(b->text[1]);
    mem_free(b->points);
    mem_free(b->classes);
    *b = (struct normal_buffers){0};
}
