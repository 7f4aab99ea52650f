/* read_tokens.c: the tokens of a JSON result: ids, texts, bytes, scores; every token has as many scores as the first. */
#include "read_json.h"

#include <string.h>

/* Numbers token after token; `each` of them a token, which the first token says. */
struct column {
    double *values;
    size_t n, capacity, each;
};

struct token_columns {
    struct column scores, stderrs, signs;
};

static jsc_status column_add(struct column *c, double value, jsc_error *error)
{
    jsc_status status = JSC_OK;
    TRY(mem_reserve(&c->values, &c->capacity, c->n + 1, error));
    c->values[c->n++] = value;
done:
    return status;
}

/* A number, or a list of them. */
static jsc_status read_column(struct json_reader *r, struct column *c, const char *key, bool list, jsc_error *error)
{
    jsc_status status = JSC_OK;
    size_t count = 0;
    bool more = true;
    double value = 0.0;

    if (list)
        TRY(json_reader_enter(r, '[', error));
    while (more) {
        if (list) {
            TRY(json_reader_next(r, '[', &count, &more, error));
            if (!more)
                break;
        }
        TRY(json_reader_double(r, key, &value, error));
        TRY(column_add(c, value, error));
        more = list;
    }
done:
    return status;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static jsc_status read_bytes(struct json_reader *r, jsc_scored_token *token, size_t t, jsc_error *error)
{
    jsc_status status = JSC_OK;
    char *hex = NULL;

    TRY(read_text(r, &hex, error));
    const size_t n = strlen(hex);
    TRY(mem_new(&token->bytes, n / 2 + 1, error));
    for (size_t i = 0; i + 1 < n; i += 2) {
        const int high = hex_digit(hex[i]), low = hex_digit(hex[i + 1]);
        if (high < 0 || low < 0)
            FAIL(JSC_E_FORMAT, "%s: token %zu: bytes are \"%.40s\", pairs of hexadecimal digits are wanted", READ_NAME, t, hex);
        token->bytes[i / 2] = (char)(high * 16 + low);
    }
    if (n % 2 != 0)
        FAIL(JSC_E_FORMAT, "%s: token %zu: bytes have %zu hexadecimal digits, an even number is wanted", READ_NAME, t, n);
    token->n_bytes = n / 2;
done:
    mem_free(hex);
    return status;
}

static jsc_status read_linked(struct json_reader *r, jsc_scored_token *token, size_t t, jsc_error *error)
{
    const char c = json_reader_peek(r);
    if (c != 't' && c != 'f')
        return status_set(error, JSC_E_FORMAT, "%s: token %zu: linked is neither true nor false", READ_NAME, t);
    token->linked = c == 't';
    return json_reader_skip(r, error);
}

static jsc_status read_id(struct json_reader *r, jsc_scored_token *token, size_t t, jsc_error *error)
{
    uint64_t id = 0;
    const jsc_status status = json_reader_u64(r, "the id of a token", &id, error);
    if (status == JSC_OK && id > INT32_MAX)
        return status_set(error, JSC_E_FORMAT, "%s: token %zu: id %" PRIu64 " is no token id", READ_NAME, t, id);
    token->id = (int32_t)id;
    return status;
}

enum token_field { ID, TEXT, BYTES, LINKED, SCORE, SCORES, STDERR, SIGNED, SIGNEDS, UNKNOWN };

static enum token_field token_field(const char *key)
{
    static const char *const names[UNKNOWN] = {"id",     "text",   "bytes",        "linked",       "score",
                                               "scores", "stderr", "signed_score", "signed_scores"};
    for (int i = 0; i < UNKNOWN; i++)
        if (strcmp(key, names[i]) == 0)
            return (enum token_field)i;
    return UNKNOWN;
}

static jsc_status read_field(struct json_reader *r, enum token_field field, const char *key, jsc_scored_token *token, size_t t,
                             struct token_columns *columns, jsc_error *error)
{
    switch (field) {
    case ID:
        return read_id(r, token, t, error);
    case TEXT:
        return read_text(r, &token->text, error);
    case BYTES:
        return read_bytes(r, token, t, error);
    case LINKED:
        return read_linked(r, token, t, error);
    case SCORE:
    case SCORES:
        return read_column(r, &columns->scores, key, field == SCORES, error);
    case STDERR:
        return read_column(r, &columns->stderrs, key, false, error);
    case SIGNED:
    case SIGNEDS:
        return read_column(r, &columns->signs, key, field == SIGNEDS, error);
    default:
        return json_reader_skip(r, error);
    }
}

/* Token t has brought `each` numbers into the column, as the first did. */
static jsc_status check_column(struct column *c, size_t t, const char *what, jsc_error *error)
{
    if (t == 0)
        c->each = c->n;
    const size_t got = c->n - t * c->each;
    if (got != c->each)
        return status_set(error, JSC_E_FORMAT, "%s: token %zu has %zu %s, token 0 has %zu", READ_NAME, t, got, what, c->each);
    return JSC_OK;
}

static jsc_status read_token(struct json_reader *r, jsc_scored_token *token, size_t t, struct token_columns *columns, jsc_error *error)
{
    jsc_status status = JSC_OK;
    char key[READ_KEY_MAX];
    unsigned seen = 0;
    size_t count = 0;
    bool more = false;

    TRY(json_reader_enter(r, '{', error));
    for (;;) {
        TRY(json_reader_next(r, '{', &count, &more, error));
        if (!more)
            break;
        TRY(read_key(r, key, error));
        const enum token_field field = token_field(key);
        if (field != UNKNOWN && (seen & 1u << field) != 0)
            FAIL(JSC_E_FORMAT, "%s: token %zu: %s stands there twice", READ_NAME, t, key);
        seen |= 1u << field;
        TRY(read_field(r, field, key, token, t, columns, error));
    }
    if ((seen & 1u << ID) == 0)
        FAIL(JSC_E_FORMAT, "%s: token %zu has no id", READ_NAME, t);
    if (token->text != NULL && token->bytes == NULL) { /* the text is the bytes */
        token->n_bytes = strlen(token->text);
        TRY(mem_strdup(&token->bytes, token->text, error));
    }
    TRY(check_column(&columns->scores, t, "scores", error));
    TRY(check_column(&columns->stderrs, t, "standard errors", error));
    TRY(check_column(&columns->signs, t, "signed scores", error));
done:
    return status;
}

/* Row after row, as an attribution holds them. */
static jsc_status take_column(const struct column *c, size_t n_tokens, double **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    if (c->each == 0)
        return JSC_OK;
    TRY(mem_new(out, c->n, error));
    for (size_t s = 0; s < c->each; s++)
        for (size_t t = 0; t < n_tokens; t++)
            (*out)[s * n_tokens + t] = c->values[t * c->each + s];
done:
    return status;
}

jsc_status read_tokens(struct reading *reading, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct json_reader *r = &reading->text;
    jsc_attribution *a = reading->a;
    struct token_columns columns = {.scores.n = 0};
    size_t count = 0, capacity = 0;
    bool more = false;

    if (reading->where[READ_TOKENS].to == 0)
        FAIL(JSC_E_FORMAT, "%s: there is no list of tokens; a file that --format json wrote is wanted", READ_NAME);
    r->at = reading->where[READ_TOKENS].from;
    TRY(json_reader_enter(r, '[', error));
    for (;;) {
        TRY(json_reader_next(r, '[', &count, &more, error));
        if (!more)
            break;
        TRY(mem_reserve(&a->tokens, &capacity, count, error));
        a->n_tokens = count;
        TRY(read_token(r, &a->tokens[count - 1], count - 1, &columns, error));
    }
    if (a->n_tokens == 0)
        FAIL(JSC_E_FORMAT, "%s: the list of tokens is empty", READ_NAME);
    a->n_scores = columns.scores.each;
    if (a->n_scores == 0)
        FAIL(JSC_E_FORMAT, "%s: the tokens have no scores", READ_NAME);
    if (columns.signs.each != 0 && columns.signs.each != a->n_scores)
        FAIL(JSC_E_FORMAT, "%s: the tokens have %zu scores and %zu signed scores", READ_NAME, a->n_scores, columns.signs.each);
    TRY(take_column(&columns.scores, a->n_tokens, &a->scores, error));
    TRY(take_column(&columns.stderrs, a->n_tokens, &a->stderrs, error));
    TRY(take_column(&columns.signs, a->n_tokens, &a->signed_scores, error));
done:
    mem_free(columns.scores.values);
    mem_free(columns.stderrs.values);
    mem_free(columns.signs.values);
    return status;
}
