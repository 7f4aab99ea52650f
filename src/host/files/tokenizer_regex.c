/* tokenizer_regex.c: the reference's regular expressions (Oniguruma, Ruby syntax) translated for PCRE2, and the walk over matches. */
#include "tokenizer_internal.h"

#include <string.h>

#define PATTERN_MAX 65536

/* Translation in progress. Whatever the two engines read differently is translated or refused, never passed on. */
struct translation {
    const char *pattern;
    size_t n, i;
    bool in_class;
    struct strbuf out;
};

bool is_white_space(uint32_t c)
{
    return (c >= 0x09 && c <= 0x0d) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
           c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

static jsc_status refuse(const struct translation *t, const char *what, jsc_error *error)
{
    return status_set(error, JSC_E_UNSUPPORTED, "%s at byte %zu of the pattern \"%.160s\" is not implemented", what, t->i, t->pattern);
}

static void put_class(struct translation *t, const char *body, bool negated)
{
    if (!t->in_class)
        strbuf_puts(&t->out, negated ? "[^" : "[");
    strbuf_puts(&t->out, body);
    if (!t->in_class)
        strbuf_puts(&t->out, "]");
}

/* \p{Name}, \p{^Name}, \P{Name}; i is at the p. */
static jsc_status translate_property(struct translation *t, jsc_error *error)
{
    bool negated = t->pattern[t->i] == 'P';
    size_t from = t->i + 1;
    if (from >= t->n || t->pattern[from] != '{')
        return refuse(t, "a property without braces", error);
    from++;
    if (from < t->n && t->pattern[from] == '^') {
        negated = !negated;
        from++;
    }
    const char *end = memchr(t->pattern + from, '}', t->n - from);
    if (end == NULL)
        return refuse(t, "a property without its closing brace", error);
    const size_t n = (size_t)(end - t->pattern) - from;
    /* the classes in lower case are this library's own names */
    const char *body = n > 0 && t->pattern[from] >= 'A' && t->pattern[from] <= 'Z' ? tokenizer_class(t->pattern + from, n) : NULL;
    if (body == NULL)
        return refuse(t, "this property", error);
    if (negated && t->in_class)
        return refuse(t, "a negated property inside a class", error);
    put_class(t, body, negated);
    t->i = from + n + 1;
    return JSC_OK;
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* \x{H...}, \xHH below 80, \uHHHH; i is at the x or u. */
static jsc_status translate_code_point(struct translation *t, jsc_error *error)
{
    const bool braces = t->pattern[t->i] == 'x' && t->i + 1 < t->n && t->pattern[t->i + 1] == '{';
    const size_t limit = braces ? 6 : t->pattern[t->i] == 'x' ? 2 : 4, from = t->i + (braces ? 2 : 1);
    uint32_t c = 0;
    size_t k = 0;
    for (; k < limit && from + k < t->n && is_hex(t->pattern[from + k]); k++) {
        const char h = t->pattern[from + k];
        c = c * 16 + (uint32_t)(h <= '9' ? h - '0' : (h | 0x20) - 'a' + 10);
    }
    const bool closed = !braces || (from + k < t->n && t->pattern[from + k] == '}');
    if (k == 0 || !closed || (!braces && k != limit) || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff) ||
        (t->pattern[t->i] == 'x' && !braces && c > 0x7f))
        return refuse(t, "this numeric escape", error);
    strbuf_printf(&t->out, "\\x{%X}", c);
    t->i = from + k + (braces ? 1 : 0);
    return JSC_OK;
}

/* i is at the backslash. */
static jsc_status translate_escape(struct translation *t, jsc_error *error)
{
    if (t->i + 1 >= t->n)
        return refuse(t, "a backslash at the end", error);
    const char c = t->pattern[t->i + 1];
    const char *white = tokenizer_class("s", 1), *digit = tokenizer_class("Nd", 2);
    if (c == 'p' || c == 'P' || c == 'x' || c == 'u') {
        t->i++;
        return c == 'p' || c == 'P' ? translate_property(t, error) : translate_code_point(t, error);
    }
    if (c == 's')
        put_class(t, white, false);
    else if (c == 'S' && t->in_class)
        strbuf_puts(&t->out, "\\P{White_Space}");
    else if (c == 'S')
        put_class(t, white, true);
    else if (c == 'd')
        put_class(t, digit, false);
    else if (c == 'D' && !t->in_class)
        put_class(t, digit, true);
    else if (c == 'v') /* PCRE2's \v is a class */
        strbuf_puts(&t->out, "\\x0B");
    else if (strchr("rntfae", c) != NULL && c != '\0')
        strbuf_add(&t->out, t->pattern + t->i, 2);
    else if ((c == 'A' || c == 'z') && !t->in_class)
        strbuf_add(&t->out, t->pattern + t->i, 2);
    else if (c == '\0' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
        return refuse(t, "this escape", error);
    else
        strbuf_add(&t->out, t->pattern + t->i, 2);
    t->i += 2;
    return JSC_OK;
}

/* i is at the opening parenthesis. */
static jsc_status translate_group(struct translation *t, jsc_error *error)
{
    /* Longest first. Groups without case are passed on only where no multi-character case folding of Oniguruma can come in. */
    static const char *const known[] = {
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)", "(?i:[sdmt]|ll|ve|re)", "(?i:[sdmt]|re|ve|ll)", "(?<=", "(?<!", "(?:", "(?=", "(?!", "(?>"};
    for (size_t k = 0; k < sizeof known / sizeof known[0]; k++) {
        const size_t n = strlen(known[k]);
        if (t->n - t->i >= n && memcmp(t->pattern + t->i, known[k], n) == 0) {
            strbuf_puts(&t->out, known[k]);
            t->i += n;
            return JSC_OK;
        }
    }
    if (t->i + 1 < t->n && (t->pattern[t->i + 1] == '?' || t->pattern[t->i + 1] == '*'))
        return refuse(t, "this kind of group", error);
    strbuf_puts(&t->out, "(");
    t->i++;
    return JSC_OK;
}

/* {n}, {n,}, {n,m}: a + or ? behind them means another thing in Ruby's syntax. */
static jsc_status translate_count(struct translation *t, jsc_error *error)
{
    size_t k = t->i + 1, digits = 0;
    for (; k < t->n && t->pattern[k] >= '0' && t->pattern[k] <= '9'; k++)
        digits++;
    if (digits > 0 && k < t->n && t->pattern[k] == ',')
        for (k++; k < t->n && t->pattern[k] >= '0' && t->pattern[k] <= '9';)
            k++;
    if (digits == 0 || k >= t->n || t->pattern[k] != '}' || (k + 1 < t->n && (t->pattern[k + 1] == '+' || t->pattern[k + 1] == '?')))
        return refuse(t, "this brace", error);
    strbuf_add(&t->out, t->pattern + t->i, k + 1 - t->i);
    t->i = k + 1;
    return JSC_OK;
}

static jsc_status translate(struct translation *t, jsc_error *error)
{
    jsc_status status = JSC_OK;
    while (t->i < t->n) {
        const char c = t->pattern[t->i], next = t->i + 1 < t->n ? t->pattern[t->i + 1] : '\0';
        if (c == '\\') {
            TRY(translate_escape(t, error));
            continue;
        }
        if (!t->in_class && c == '(') {
            TRY(translate_group(t, error));
            continue;
        }
        if (!t->in_class && c == '{') {
            TRY(translate_count(t, error));
            continue;
        }
        if (t->in_class && (c == '[' || (c == '&' && next == '&')))
            TRY(refuse(t, "a set inside a class", error));
        if (!t->in_class && c == '[') {
            t->in_class = true;
            const size_t n = next == '^' ? 2 : 1;
            if (t->i + n < t->n && t->pattern[t->i + n] == ']')
                TRY(refuse(t, "a class that begins with ]", error));
            strbuf_add(&t->out, t->pattern + t->i, n);
            t->i += n;
            continue;
        }
        if (t->in_class && c == ']')
            t->in_class = false;
        strbuf_add(&t->out, &c, 1);
        t->i++;
    }
    if (t->in_class)
        TRY(refuse(t, "a class without its end", error));
done:
    return status;
}

static void *pcre2_take(PCRE2_SIZE n, void *unused)
{
    char *block = NULL;
    (void)unused;
    return mem_new(&block, n, NULL) == JSC_OK ? block : NULL;
}

static void pcre2_give(void *block, void *unused)
{
    (void)unused;
    mem_free(block);
}

jsc_status regex_compile_raw(const char *pattern, size_t n, pcre2_code **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    pcre2_compile_context *context = NULL;
    pcre2_code *code = NULL;
    int number = 0;
    PCRE2_SIZE at = 0;
    pcre2_general_context *general = pcre2_general_context_create(pcre2_take, pcre2_give, NULL);
    if (general == NULL || (context = pcre2_compile_context_create(general)) == NULL)
        FAIL(JSC_E_MEMORY, "no memory to compile a pattern of %zu bytes", n);
    (void)pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    code = pcre2_compile((PCRE2_SPTR)pattern, n, PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C | PCRE2_NO_UTF_CHECK,
                         &number, &at, context);
    if (code == NULL && number == PCRE2_ERROR_HEAP_FAILED)
        FAIL(JSC_E_MEMORY, "no memory to compile a pattern of %zu bytes", n);
    if (code == NULL) {
        PCRE2_UCHAR text[128] = {0};
        (void)pcre2_get_error_message(number, text, sizeof text);
        FAIL(JSC_E_UNSUPPORTED, "PCRE2 cannot compile the pattern \"%.160s\" (%s)", pattern, (const char *)text);
    }
    (void)pcre2_jit_compile(code, PCRE2_JIT_COMPLETE); /* without it the interpreter does the same, slower */
    *out = code;
done:
    pcre2_compile_context_free(context);
    pcre2_general_context_free(general);
    return status;
}

jsc_status regex_compile(const char *pattern, size_t n, pcre2_code **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct translation t = {.pattern = pattern, .n = n};
    if (n == 0 || n > PATTERN_MAX)
        FAIL(JSC_E_UNSUPPORTED, "a pattern of %zu bytes is not implemented (1 to %d)", n, PATTERN_MAX);
    TRY(translate(&t, error));
    if (t.out.failed)
        FAIL(JSC_E_MEMORY, "no memory to translate a pattern of %zu bytes", n);
    TRY(regex_compile_raw(t.out.text, t.out.n, out, error));
done:
    strbuf_free(&t.out);
    return status;
}

jsc_status regex_compile_literal(const char *text, size_t n, pcre2_code **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct strbuf escaped = {0};
    if (n == 0 || n > PATTERN_MAX)
        FAIL(JSC_E_UNSUPPORTED, "a pattern of %zu bytes is not implemented (1 to %d)", n, PATTERN_MAX);
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)text[i] < 0x80)
            strbuf_printf(&escaped, "\\x{%x}", (unsigned)text[i]);
        else
            strbuf_add(&escaped, text + i, 1);
    }
    if (escaped.failed)
        FAIL(JSC_E_MEMORY, "no memory for a pattern of %zu bytes", n);
    TRY(regex_compile_raw(escaped.text, escaped.n, out, error));
done:
    strbuf_free(&escaped);
    return status;
}

jsc_status regex_compile_class(const char *name, pcre2_code **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct strbuf pattern = {0};
    strbuf_printf(&pattern, "[%s]", tokenizer_class(name, strlen(name)));
    if (pattern.failed)
        FAIL(JSC_E_MEMORY, "no memory for a pattern");
    TRY(regex_compile_raw(pattern.text, pattern.n, out, error));
done:
    strbuf_free(&pattern);
    return status;
}

jsc_status regex_match_data(pcre2_match_data **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    pcre2_match_data *match = NULL;
    pcre2_general_context *general = pcre2_general_context_create(pcre2_take, pcre2_give, NULL);
    if (general == NULL || (match = pcre2_match_data_create(1, general)) == NULL)
        FAIL(JSC_E_MEMORY, "no memory for matching a pattern");
    *out = match;
done:
    pcre2_general_context_free(general);
    return status;
}

jsc_status regex_next(struct regex_walk *w, size_t *from, size_t *to, bool *found, jsc_error *error)
{
    *found = false;
    while (!w->over && w->at <= w->n) {
        int rc = pcre2_match(w->code, (PCRE2_SPTR)w->text, w->n, w->at, PCRE2_NO_UTF_CHECK, w->match, NULL);
        if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
            rc = pcre2_match(w->code, (PCRE2_SPTR)w->text, w->n, w->at, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, w->match, NULL);
        if (rc == PCRE2_ERROR_NOMEMORY)
            return status_set(error, JSC_E_MEMORY, "no memory for matching a pattern on %zu bytes", w->n);
        if (rc < 0 && rc != PCRE2_ERROR_NOMATCH)
            return status_set(error, JSC_E_UNSUPPORTED,
                              "the tokeniser's pattern is too costly on this text (PCRE2 error %d); give token ids instead", rc);
        if (rc < 0)
            break;
        const PCRE2_SIZE *span = pcre2_get_ovector_pointer(w->match);
        *from = span[0];
        *to = span[1];
        if (*from == *to && w->matched && w->last_end == *to) { /* the reference takes no empty match right behind a match */
            uint32_t c = 0;
            const size_t step = w->at < w->n ? utf8_char(w->text + w->at, w->n - w->at, &c) : 1;
            w->at += step > 0 ? step : 1;
            continue;
        }
        w->at = w->last_end = *to;
        w->matched = *found = true;
        return JSC_OK;
    }
    w->over = true;
    return JSC_OK;
}
