/* tokenizer_json.c: opens tokenizer.json and applies tokenizer_config.json. */
#include "tokenizer_internal.h"

#include <string.h>

static jsc_status get_added_flag(const struct tokenizer *tok, const json_t *item, const char *key, bool *out, jsc_error *error)
{
    bool present = false;
    const jsc_status status = json_get_bool(tok->path, item, key, out, &present, error);
    return status != JSC_OK || present ? status : status_set(error, JSC_E_FORMAT, "%s: an added token has no \"%s\"", tok->path, key);
}

/* The reference gives an added token the id of the vocabulary, else the next free one, whatever the file says; where the two differ the file
 * cannot be meant for it. last: the largest id given so far, -1 at first. */
static jsc_status read_added_token(struct tokenizer *tok, const json_t *item, int64_t *last, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct added_token token = {0};
    int64_t declared = -1;
    bool present = false;
    const json_t *content = json_object_get(item, "content");
    if (!json_is_object(item) || !json_is_string(content))
        FAIL(JSC_E_FORMAT, "%s: an added token has no content", tok->path);
    const char *text = json_string_value(content);
    const size_t n = json_string_length(content);
    TRY(json_get_int(tok->path, item, "id", 0, INT32_MAX, &declared, &present, error));
    TRY(get_added_flag(tok, item, "single_word", &token.single_word, error));
    TRY(get_added_flag(tok, item, "lstrip", &token.lstrip, error));
    TRY(get_added_flag(tok, item, "rstrip", &token.rstrip, error));
    TRY(get_added_flag(tok, item, "normalized", &token.normalized, error));
    if (n == 0)
        goto done; /* the reference ignores it too */
    if (vocab_find(&tok->added_text, text, n) >= 0)
        FAIL(JSC_E_FORMAT, "%s: added token \"%.64s\" is listed twice", tok->path, text);
    const int64_t size = (int64_t)tok->vocab.n;
    int64_t id = vocab_find(&tok->vocab, text, n);
    if (id < 0)
        id = *last >= size ? *last + 1 : size;
    if (!present || declared != id)
        FAIL(JSC_E_FORMAT,
             "%s: added token \"%.64s\": the file says id %lld, its own vocabulary makes it %lld; the file is damaged or of another model",
             tok->path, text, (long long)declared, (long long)id);
    *last = id > *last ? id : *last;
    token.id = (int32_t)id;
    TRY(tokenizer_add_added(tok, text, n, &token, error));
done:
    return status;
}

static jsc_status read_added_tokens(struct tokenizer *tok, const json_t *list, jsc_error *error)
{
    jsc_status status = JSC_OK;
    int64_t last = -1;
    if (list == NULL || json_is_null(list))
        return JSC_OK;
    if (!json_is_array(list))
        FAIL(JSC_E_FORMAT, "%s: added_tokens is not a list", tok->path);
    for (size_t i = 0; i < json_array_size(list); i++)
        TRY(read_added_token(tok, json_array_get(list, i), &last, error));
done:
    return status;
}

/* Looks for a decoder of this type, also inside a Sequence. */
static const json_t *find_part(const json_t *node, const char *type, const char *list)
{
    const char *found = json_string_value(json_object_get(node, "type"));
    if (found != NULL && strcmp(found, type) == 0)
        return node;
    const json_t *parts = json_object_get(node, list);
    for (size_t i = 0; i < json_array_size(parts); i++) {
        const json_t *part = json_array_get(parts, i);
        found = json_string_value(json_object_get(part, "type"));
        if (found != NULL && strcmp(found, type) == 0)
            return part;
    }
    return NULL;
}

/* What each token stands for, as the decoder says (without one: as the pre-tokeniser does). Added tokens stand for themselves. */
static jsc_status read_texts(struct tokenizer *tok, const json_t *root, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const json_t *decoder = json_object_get(root, "decoder"), *pre = json_object_get(root, "pre_tokenizer");
    const json_t *replace = find_part(decoder, "Replace", "decoders");
    const char *mark = json_string_value(json_object_get(json_object_get(replace, "pattern"), "String"));
    enum token_style style = TOKEN_RAW;
    if (find_part(decoder, "ByteLevel", "decoders") != NULL ||
        (!json_is_object(decoder) && find_part(pre, "ByteLevel", "pretokenizers") != NULL))
        style = TOKEN_BYTE_LEVEL;
    else if (find_part(decoder, "Metaspace", "decoders") != NULL || (mark != NULL && strcmp(mark, "\xe2\x96\x81") == 0) ||
             (!json_is_object(decoder) && find_part(pre, "Metaspace", "pretokenizers") != NULL))
        style = TOKEN_METASPACE;
    const bool hex = tok->byte_fallback || find_part(decoder, "ByteFallback", "decoders") != NULL;
    for (size_t i = 0; i < tok->vocab.n; i++) {
        const struct vocab_entry *e = &tok->vocab.entries[i];
        TRY(tokenizer_set_text(tok, e->id, tok->vocab.bytes + e->start, e->n, style, hex, error));
    }
    for (size_t i = 0; i < tok->n_added; i++) {
        const struct vocab_entry *e = &tok->added_text.entries[i];
        TRY(tokenizer_set_text(tok, tok->added[i].id, tok->added_text.bytes + e->start, e->n, TOKEN_RAW, false, error));
    }
done:
    return status;
}

static jsc_status describe(struct tokenizer *tok, const char *stages, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct strbuf line = {0};
    size_t tokens = tok->vocab.n;
    for (size_t i = 0; i < tok->n_added; i++) {
        const struct vocab_entry *e = &tok->added_text.entries[i];
        tokens += vocab_find(&tok->vocab, tok->added_text.bytes + e->start, e->n) < 0;
    }
    strbuf_printf(&line, "%s from tokenizer.json, pre-tokeniser %s, %zu tokens", tok->refusal == NULL ? "BPE" : "ids only",
                  stages != NULL ? stages : "none", tokens);
    if (line.failed)
        FAIL(JSC_E_MEMORY, "no memory to describe the tokeniser");
    tok->description = line.text;
    line.text = NULL;
done:
    strbuf_free(&line);
    return status;
}

static jsc_status read_root(struct tokenizer *tok, const struct json_model *model, const json_t *root, jsc_error *error)
{
    jsc_status status = JSC_OK;
    jsc_error why = {0};
    struct strbuf names = {0};
    if (!json_is_object(root))
        FAIL(JSC_E_FORMAT, "%s: is not a JSON object", tok->path);
    TRY(tokenizer_read_model(tok, model, json_object_get(root, "model"), error));
    TRY(read_added_tokens(tok, json_object_get(root, "added_tokens"), error));
    TRY(tokenizer_absorb(tok, tokenizer_read_normalizer(tok, json_object_get(root, "normalizer"), 0, &why), &why, error));
    TRY(tokenizer_absorb(tok, tokenizer_read_pre_tokenizer(tok, json_object_get(root, "pre_tokenizer"), 0, &names, &why), &why, error));
    TRY(tokenizer_absorb(tok, tokenizer_read_post_processor(tok, json_object_get(root, "post_processor"), 0, &why), &why, error));
    if (json_is_object(json_object_get(root, "truncation")))
        TRY(tokenizer_warn(tok, error, "%s: asks for truncation, which is ignored: texts are never cut", tok->path));
    tok->bos = tok->n_prefix > 0 ? tok->prefix[0] : -1;
    TRY(read_texts(tok, root, error));
    TRY(tokenizer_finish(tok, error));
    TRY(describe(tok, names.text, error));
done:
    strbuf_free(&names);
    return status;
}

jsc_status tokenizer_from_json(const char *path, const char *text, size_t n, size_t rows, struct tokenizer **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    json_t *root = NULL;
    struct tokenizer *tok = NULL;
    struct json_model model;
    TRY(json_model_find(path, text, n, &model, error));
    TRY(json_parse_without(path, text, n, model.cuts, model.n_cuts, &root, error));
    TRY(tokenizer_new(path, rows, &tok, error));
    TRY(read_root(tok, &model, root, error));
    *out = tok;
    tok = NULL;
done:
    json_decref(root);
    tokenizer_free(tok);
    return status;
}

/* "bos_token": "<s>" or {"content": "<s>", ...}; *id stays if there is none. */
static jsc_status get_named_token(struct tokenizer *tok, const char *path, const json_t *root, const char *key, int32_t *id,
                                  jsc_error *error)
{
    jsc_status status = JSC_OK;
    const json_t *value = json_object_get(root, key);
    if (json_is_object(value))
        value = json_object_get(value, "content");
    if (!json_is_string(value))
        return JSC_OK;
    int32_t found = tokenizer_added_find(tok, json_string_value(value), json_string_length(value));
    if (found < 0)
        found = vocab_find(&tok->vocab, json_string_value(value), json_string_length(value));
    if (found >= 0)
        *id = found;
    else
        TRY(tokenizer_warn(tok, error, "%s: %s \"%.64s\" is not in the vocabulary and is ignored", path, key, json_string_value(value)));
done:
    return status;
}

/* One of the two was stated: they take the place of tokenizer.json's own template, with a warning where that changes the ids. (transformers
 * 4 does so in its Llama and Gemma classes; version 5 keeps the template.) */
static jsc_status replace_template(struct tokenizer *tok, const char *path, bool bos, bool eos, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const bool same = tok->n_prefix == bos && tok->n_suffix == eos && (!bos || tok->prefix[0] == tok->bos) &&
                      (!eos || tok->suffix[0] == tok->eos);
    if (same)
        return JSC_OK;
    TRY(mem_reserve(&tok->prefix, &tok->prefix_capacity, 1, error));
    TRY(mem_reserve(&tok->suffix, &tok->suffix_capacity, 1, error));
    tok->prefix[0] = tok->bos;
    tok->suffix[0] = tok->eos;
    tok->n_prefix = bos;
    tok->n_suffix = eos;
    TRY(tokenizer_warn(tok, error, "%s: add_bos_token and add_eos_token replace the template of tokenizer.json: texts get %s", path,
                       bos && eos ? "BOS and EOS"
                       : bos      ? "BOS only"
                       : eos      ? "EOS only"
                                  : "neither BOS nor EOS"));
done:
    return status;
}

jsc_status tokenizer_apply_config(struct tokenizer *tok, const char *path, const char *text, size_t n, jsc_error *error)
{
    jsc_status status = JSC_OK;
    json_t *root = NULL;
    bool adds_bos = false, adds_eos = false, bos_said = false, eos_said = false;
    if (text == NULL)
        return JSC_OK;
    TRY(json_parse(path, text, n, &root, error));
    if (!json_is_object(root))
        FAIL(JSC_E_FORMAT, "%s: is not a JSON object", path);
    TRY(get_named_token(tok, path, root, "bos_token", &tok->bos, error));
    TRY(get_named_token(tok, path, root, "eos_token", &tok->eos, error));
    TRY(json_get_bool(path, root, "add_bos_token", &adds_bos, &bos_said, error));
    TRY(json_get_bool(path, root, "add_eos_token", &adds_eos, &eos_said, error));
    if (bos_said || eos_said)
        TRY(replace_template(tok, path, adds_bos && tok->bos >= 0, adds_eos && tok->eos >= 0, error));
done:
    json_decref(root);
    return status;
}
