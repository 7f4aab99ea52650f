/* tokenizer_json_model.c: the model of tokenizer.json. Its vocabulary and merges, nearly all of the file, are read without building a tree. */
#include "tokenizer_internal.h"

#include <string.h>

/* A text being read; the memory is kept for the next one. */
struct json_text {
    char *text;
    size_t n, capacity;
};

static jsc_status read_text(struct json_reader *r, struct json_text *t, jsc_error *error)
{
    jsc_status status = JSC_OK;
    (void)json_reader_peek(r);
    TRY(mem_reserve(&t->text, &t->capacity, json_reader_string_size(r), error));
    TRY(json_reader_string(r, t->text, &t->n, error));
done:
    return status;
}

static jsc_status read_key(struct json_reader *r, struct json_text *t, jsc_error *error)
{
    jsc_status status = JSC_OK;
    (void)json_reader_peek(r);
    TRY(mem_reserve(&t->text, &t->capacity, json_reader_string_size(r), error));
    TRY(json_reader_key(r, t->text, &t->n, error));
done:
    return status;
}

/* Where a value lies that is a list or an object; others are left to the tree. */
static void note_span(struct json_reader *r, struct json_span *span)
{
    const char c = json_reader_peek(r);
    const size_t from = r->at;
    json_reader_hop(r);
    if (span != NULL && span->to == 0 && (c == '{' || c == '['))
        *span = (struct json_span){.from = from, .to = r->at};
}

/* Walks the members of the file's object, and inside it those of the model. */
static jsc_status find_spans(struct json_reader *r, struct json_text *key, struct json_model *model, bool inside, jsc_error *error)
{
    jsc_status status = JSC_OK;
    size_t count = 0;
    bool more = false;
    TRY(json_reader_enter(r, '{', error));
    for (;;) {
        TRY(json_reader_next(r, '{', &count, &more, error));
        if (!more)
            break;
        TRY(read_key(r, key, error));
        if (!inside && strcmp(key->text, "model") == 0 && json_reader_peek(r) == '{')
            TRY(find_spans(r, key, model, true, error));
        else
            note_span(r, !inside                            ? NULL
                         : strcmp(key->text, "vocab") == 0  ? &model->vocab
                         : strcmp(key->text, "merges") == 0 ? &model->merges
                                                            : NULL);
    }
done:
    return status;
}

jsc_status json_model_find(const char *path, const char *text, size_t n, struct json_model *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct json_text key = {0};
    *out = (struct json_model){0};
    TRY(json_reader_make(&out->reader, path, text, n, 0, error));
    struct json_reader walk = out->reader;
    if (json_reader_peek(&walk) == '{')
        TRY(find_spans(&walk, &key, out, false, error));
    const bool merges_first = out->merges.from < out->vocab.from;
    for (int i = 0; i < 2; i++) {
        const struct json_span *span = (i == 0) == merges_first ? &out->merges : &out->vocab;
        if (span->to > 0)
            out->cuts[out->n_cuts++] = *span;
    }
done:
    mem_free(key.text);
    return status;
}

/* A guess at the members of a list or object, so that tables seldom grow; never more than its bytes could hold of usual ones. */
static size_t guess_members(const struct json_reader *r, const struct json_span *span)
{
    size_t commas = 0;
    for (size_t i = span->from; i < span->to; i++)
        commas += r->text[i] == ',';
    const size_t most = (span->to - span->from) / 16;
    return commas < most ? commas + 1 : most;
}

/* vocab: {token: id}. */
static jsc_status read_vocab(struct tokenizer *tok, const struct json_model *model, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct json_reader r = model->reader;
    struct json_text token = {0};
    size_t count = 0, outside = 0;
    bool more = false;
    TRY(vocab_reserve(&tok->vocab, guess_members(&r, &model->vocab), 0, error));
    r.at = model->vocab.from;
    TRY(json_reader_enter(&r, '{', error));
    for (;;) {
        uint64_t id = 0;
        TRY(json_reader_next(&r, '{', &count, &more, error));
        if (!more)
            break;
        TRY(read_key(&r, &token, error));
        if (json_reader_u64(&r, "id", &id, NULL) != JSC_OK || id > INT32_MAX)
            FAIL(JSC_E_FORMAT, "%s: token \"%.64s\" (byte %zu): its id is not an integer from 0 to %d", tok->path, token.text, r.at,
                 INT32_MAX);
        if (vocab_find(&tok->vocab, token.text, token.n) >= 0)
            FAIL(JSC_E_FORMAT, "%s: byte %zu: token \"%.64s\" is in the vocabulary twice (a duplicate object key)", tok->path, r.at,
                 token.text);
        TRY(vocab_add(&tok->vocab, token.text, token.n, (int32_t)id, error));
        outside += (size_t)id >= tok->rows;
    }
    if (outside > 0)
        TRY(tokenizer_warn(tok, error, "%s: %zu tokens have ids beyond the embedding's %zu rows; texts that need them are refused",
                           tok->path, outside, tok->rows));
done:
    mem_free(token.text);
    return status;
}

static jsc_status bad_merge(const struct tokenizer *tok, size_t number, jsc_error *error)
{
    return status_set(error, JSC_E_FORMAT, "%s: merge %zu is neither a text of two parts nor a list of two texts", tok->path, number);
}

/* ["left", "right"]. */
static jsc_status read_pair(struct tokenizer *tok, struct json_reader *r, size_t number, struct json_text part[2], jsc_error *error)
{
    jsc_status status = JSC_OK;
    size_t count = 0;
    bool more = false;
    TRY(json_reader_enter(r, '[', error));
    for (int i = 0; i < 2; i++) {
        TRY(json_reader_next(r, '[', &count, &more, error));
        if (!more || json_reader_peek(r) != '"')
            return bad_merge(tok, number, error);
        TRY(read_text(r, &part[i], error));
    }
    TRY(json_reader_next(r, '[', &count, &more, error));
    if (more)
        return bad_merge(tok, number, error);
    TRY(tokenizer_add_merge(tok, number, part[0].text, part[0].n, part[1].text, part[1].n, error));
done:
    return status;
}

/* One merge, "left right" or ["left", "right"]. */
static jsc_status read_merge(struct tokenizer *tok, struct json_reader *r, size_t number, struct json_text part[2], jsc_error *error)
{
    jsc_status status = JSC_OK;
    const char c = json_reader_peek(r);
    if (c == '[')
        return read_pair(tok, r, number, part, error);
    if (c != '"')
        return bad_merge(tok, number, error);
    TRY(read_text(r, &part[0], error));
    const char *text = part[0].text, *end = text + part[0].n, *space = memchr(text, ' ', part[0].n);
    if (part[0].n >= 8 && memcmp(text, "#version", 8) == 0)
        goto done;
    if (space == NULL || memchr(space + 1, ' ', (size_t)(end - space) - 1) != NULL)
        return bad_merge(tok, number, error);
    TRY(tokenizer_add_merge(tok, number, text, (size_t)(space - text), space + 1, (size_t)(end - space) - 1, error));
done:
    return status;
}

static jsc_status read_merges(struct tokenizer *tok, const struct json_model *model, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct json_reader r = model->reader;
    struct json_text part[2] = {0};
    size_t count = 0;
    bool more = false;
    if (model->merges.to == 0 || r.text[model->merges.from] != '[')
        FAIL(JSC_E_FORMAT, "%s: model.merges is not a list", tok->path);
    r.at = model->merges.from;
    TRY(json_reader_enter(&r, '[', error));
    const bool pairs = json_reader_peek(&r) == '['; /* with a comma of their own */
    TRY(pair_reserve(&tok->merges, guess_members(&r, &model->merges) / (pairs ? 2 : 1), error));
    for (size_t number = 0;; number++) {
        TRY(json_reader_next(&r, '[', &count, &more, error));
        if (!more)
            break;
        TRY(read_merge(tok, &r, number, part, error));
    }
done:
    mem_free(part[0].text);
    mem_free(part[1].text);
    return status;
}

/* dropout makes the ids random, affixes change every lookup. */
static jsc_status refuse_options(struct tokenizer *tok, const json_t *model, jsc_error *error)
{
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    jsc_status status = JSC_OK;
    double dropout = 0;
    TRY(json_get_double(tok->path, model, "dropout", 0, 1, &dropout, NULL, error));
    if (dropout > 0)
        TRY(tokenizer_refuse(tok, error, "model with dropout is not implemented"));
    for (int i = 0; i < 2; i++) {
        const char *text = NULL;
        bool present = false;
        TRY(json_get_string(tok->path, model, affixes[i], &text, &present, error));
        if (present && text[0] != '\0')
            TRY(tokenizer_refuse(tok, error, "model with %s \"%.32s\" is not implemented", affixes[i], text));
    }
done:
    return status;
}

static jsc_status read_bpe(struct tokenizer *tok, const struct json_model *model, const json_t *options, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const char *unk = NULL;
    bool present = false;
    if (model->vocab.to == 0 || model->reader.text[model->vocab.from] != '{')
        FAIL(JSC_E_FORMAT, "%s: model.vocab is not an object", tok->path);
    TRY(read_vocab(tok, model, error));
    TRY(read_merges(tok, model, error));
    TRY(json_get_bool(tok->path, options, "ignore_merges", &tok->ignore_merges, NULL, error));
    TRY(json_get_bool(tok->path, options, "byte_fallback", &tok->byte_fallback, NULL, error));
    TRY(json_get_bool(tok->path, options, "fuse_unk", &tok->fuse_unk, NULL, error));
    TRY(json_get_string(tok->path, options, "unk_token", &unk, &present, error));
    if (present)
        TRY(mem_strdup(&tok->unk_token, unk, error));
    TRY(refuse_options(tok, options, error));
done:
    return status;
}

/* Unigram: [[text, score], ...], the id is the place. */
static jsc_status read_scored_list(struct tokenizer *tok, const struct json_model *model, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct json_reader r = model->reader;
    struct json_text token = {0};
    size_t count = 0;
    bool more = false;
    r.at = model->vocab.from;
    TRY(json_reader_enter(&r, '[', error));
    for (int32_t id = 0; id < INT32_MAX; id++) {
        size_t parts = 0;
        TRY(json_reader_next(&r, '[', &count, &more, error));
        if (!more)
            break;
        TRY(json_reader_enter(&r, '[', error));
        for (;;) {
            TRY(json_reader_next(&r, '[', &parts, &more, error));
            if (!more)
                break;
            if (parts > 1 || json_reader_peek(&r) != '"') {
                TRY(json_reader_skip(&r, error));
                continue;
            }
            TRY(read_text(&r, &token, error));
            if (vocab_find(&tok->vocab, token.text, token.n) < 0)
                TRY(vocab_add(&tok->vocab, token.text, token.n, id, error));
        }
    }
done:
    mem_free(token.text);
    return status;
}

/* Other kinds of models: text is refused, the token texts are read where the layout is known; what is left is checked as JSON. */
static jsc_status read_other_model(struct tokenizer *tok, const struct json_model *model, const char *type, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const struct json_span *vocab = &model->vocab, *merges = &model->merges;
    TRY(tokenizer_refuse(tok, error, "model type \"%.64s\" is not implemented", type));
    if (vocab->to > 0)
        TRY(model->reader.text[vocab->from] == '{' ? read_vocab(tok, model, error) : read_scored_list(tok, model, error));
    if (merges->to > 0) {
        struct json_reader r = model->reader;
        r.at = merges->from;
        TRY(json_reader_skip(&r, error));
    }
done:
    return status;
}

jsc_status tokenizer_read_model(struct tokenizer *tok, const struct json_model *model, const json_t *options, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const char *type = "BPE";
    if (!json_is_object(options))
        FAIL(JSC_E_FORMAT, "%s: has no model", tok->path);
    TRY(json_get_string(tok->path, options, "type", &type, NULL, error));
    if (strcmp(type, "BPE") == 0)
        TRY(read_bpe(tok, model, options, error));
    else
        TRY(read_other_model(tok, model, type, error));
done:
    return status;
}
