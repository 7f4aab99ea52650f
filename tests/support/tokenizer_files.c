/* tokenizer_files.c: small tokenisers for tests, and the comparison of ids. */
#include "tokenizer_files.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

json_t *tokenizer_golden(const char *name)
{
    char path[512];
    json_error_t at;
    (void)snprintf(path, sizeof path, "%s/tests/golden/tokenizer/%s", JSC_TEST_SOURCE, name);
    json_t *root = json_load_file(path, JSON_ALLOW_NUL, &at);
    cr_assert(root != NULL, "%s: %s", path, at.text);
    return root;
}

jsc_status tokenizer_of(const json_t *root, size_t rows, struct tokenizer **out, jsc_error *error)
{
    char *text = json_dumps(root, JSON_COMPACT);
    cr_assert(text != NULL);
    const jsc_status status = tokenizer_from_json("tokenizer.json", text, strlen(text), rows, out, error);
    free(text);
    return status;
}

struct tokenizer *tokenizer_must(const json_t *root, size_t rows)
{
    struct tokenizer *tok = NULL;
    jsc_error error = {0};
    cr_assert(tokenizer_of(root, rows, &tok, &error) == JSC_OK, "%s", error.text);
    return tok;
}

json_t *small_tokenizer(void)
{
    json_t *vocab = json_object(), *root = NULL;
    for (int i = 0; i < 29; i++) {
        const char token[2] = {"abcdefghijklmnopqrstuvwxyz <>"[i], '\0'};
        json_object_set_new(vocab, token, json_integer(i));
    }
    json_object_set_new(vocab, "ab", json_integer(29));
    json_object_set_new(vocab, "abc", json_integer(30));
    root = json_pack("{s:[], s:{s:s, s:o, s:[s, s]}}", "added_tokens", "model", "type", "BPE", "vocab", vocab, "merges", "a b", "ab c");
    cr_assert(root != NULL);
    return root;
}

void added_token(json_t *root, int id, const char *content, const char *flags)
{
    json_t *token = json_pack("{s:i, s:s, s:b, s:b, s:b, s:b, s:b}", "id", id, "content", content, "single_word",
                              strchr(flags, 'w') != NULL, "lstrip", strchr(flags, 'l') != NULL, "rstrip", strchr(flags, 'r') != NULL,
                              "normalized", strchr(flags, 'n') != NULL, "special", strchr(flags, 's') != NULL);
    cr_assert(token != NULL && json_array_append_new(json_object_get(root, "added_tokens"), token) == 0);
}

json_t *model_of(json_t *root)
{
    return json_object_get(root, "model");
}

static void print_ids(struct strbuf *out, const struct token_list *got)
{
    for (size_t i = 0; i < got->n && i < 60; i++)
        strbuf_printf(out, "%s%d", i > 0 ? "," : "", got->ids[i]);
}

void expect_ids(const char *what, const struct tokenizer *tok, const char *text, size_t n, bool special, const json_t *want)
{
    struct token_list got = {0};
    jsc_error error = {0};
    const jsc_status status = tokenizer_encode(tok, text, n, special, &got, &error);
    cr_expect(status == JSC_OK, "%s: \"%s\": %s", what, text, error.text);
    bool same = status == JSC_OK && got.n == json_array_size(want);
    for (size_t i = 0; same && i < got.n; i++)
        same = got.ids[i] == json_integer_value(json_array_get(want, i));
    if (!same && status == JSC_OK) {
        struct strbuf ids = {0};
        char *wanted = json_dumps(want, JSON_COMPACT);
        print_ids(&ids, &got);
        cr_expect(false, "%s: \"%s\": [%s] instead of %.300s", what, text, ids.text != NULL ? ids.text : "", wanted != NULL ? wanted : "?");
        free(wanted);
        strbuf_free(&ids);
    }
    token_list_free(&got);
}

void expect_ids_text(int line, const struct tokenizer *tok, const char *text, bool special, const char *want)
{
    char what[32];
    json_t *ids = json_loads(want, 0, NULL);
    cr_assert(json_is_array(ids), "line %d: %s", line, want);
    (void)snprintf(what, sizeof what, "line %d", line);
    expect_ids(what, tok, text, strlen(text), special, ids);
    json_decref(ids);
}

void expect_all_ids(const char *what, const struct tokenizer *tok, const json_t *texts, const json_t *want, bool special)
{
    const size_t n = json_array_size(want);
    cr_assert(n > 0 && n <= json_array_size(texts), "%s: %zu lists of ids for %zu texts", what, n, json_array_size(texts));
    for (size_t i = 0; i < n; i++) {
        const json_t *text = json_array_get(texts, i);
        expect_ids(what, tok, json_string_value(text), json_string_length(text), special, json_array_get(want, i));
    }
}

const char *text_warning(const struct tokenizer *tok, const char *text, size_t n, bool special)
{
    static char kept[512];
    struct token_list got = {0};
    jsc_error error = {0};
    cr_assert(tokenizer_encode(tok, text, n, special, &got, &error) == JSC_OK, "%s", error.text);
    (void)snprintf(kept, sizeof kept, "%s", got.n_warnings > 0 ? got.warnings[0] : "");
    token_list_free(&got);
    return kept;
}
