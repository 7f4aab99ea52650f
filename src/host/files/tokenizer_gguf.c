/* tokenizer_gguf.c: the tokeniser that a GGUF file holds in its metadata: "gpt2" (byte-level BPE), "llama" (SentencePiece by score) and
 * "gemma4" (SentencePiece's characters with a list of merges). */
#include "tokenizer_internal.h"

#include <stdio.h>
#include <string.h>

enum gguf_token_type { TYPE_NORMAL = 1, TYPE_UNKNOWN, TYPE_CONTROL, TYPE_USER, TYPE_UNUSED, TYPE_BYTE };

struct source {
    const struct gguf *gguf;
    struct tokenizer *tok;
    const struct gguf_value *tokens, *types; /* types may be NULL */
    bool scored, sentence_piece, other;      /* "llama"; "llama" or "gemma4"; a model that is not implemented */
    bool phi3;
};

static bool equals(const char *text, size_t n, const char *name)
{
    return text != NULL && strlen(name) == n && memcmp(text, name, n) == 0;
}

/* An array of the given kinds of elements; NULL in *out if the key is absent. */
static jsc_status get_array(const struct source *s, const char *key, bool strings, const struct gguf_value **out, jsc_error *error)
{
    *out = gguf_find(s->gguf, key);
    if (*out == NULL)
        return JSC_OK;
    const enum gguf_type e = (*out)->element;
    const bool fits = (*out)->type == GGUF_ARRAY && (strings ? e == GGUF_STRING : e == GGUF_I32 || e == GGUF_U32 || e == GGUF_F32);
    return fits ? JSC_OK
                : status_set(error, JSC_E_FORMAT, "%s: %s is not a list of %s", s->tok->path, key, strings ? "texts" : "32-bit numbers");
}

static enum gguf_token_type type_of(const struct source *s, size_t id)
{
    int32_t type = TYPE_NORMAL;
    if (s->types != NULL)
        memcpy(&type, s->types->bytes + id * sizeof type, sizeof type);
    return (enum gguf_token_type)type;
}

/* Phi-3's added tokens swallow the white space behind them, all but these three; the file does not say so. */
static bool strips_right(const struct source *s, const char *text, size_t n)
{
    return s->phi3 && !equals(text, n, "<unk>") && !equals(text, n, "<s>") && !equals(text, n, "<|endoftext|>");
}

/* "[PAD32011]": a row without a token, whatever its type says. */
static bool is_filler(size_t id, const char *text, size_t n)
{
    char filler[32];
    const int length = snprintf(filler, sizeof filler, "[PAD%zu]", id);
    return n == (size_t)length && memcmp(text, filler, n) == 0;
}

static jsc_status add_token(struct source *s, size_t id, const char *text, size_t n, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const enum gguf_token_type type = is_filler(id, text, n) ? TYPE_UNUSED : type_of(s, id);
    const enum token_style usual = s->sentence_piece ? TOKEN_METASPACE : s->other ? TOKEN_RAW : TOKEN_BYTE_LEVEL;
    const bool added = type == TYPE_UNKNOWN || type == TYPE_CONTROL || type == TYPE_USER;
    TRY(tokenizer_set_text(s->tok, (int32_t)id, text, n, type == TYPE_NORMAL ? usual : TOKEN_RAW, type == TYPE_BYTE, error));
    if (added && n > 0 && s->tok->refusal == NULL) { /* raw text that is cut off before anything else */
        const struct added_token token = {.id = (int32_t)id, .rstrip = strips_right(s, text, n)};
        TRY(tokenizer_add_added(s->tok, text, n, &token, error));
    }
    if (type == TYPE_UNUSED || n == 0)
        goto done; /* a filler: no text leads to it */
    const int32_t twin = vocab_find(&s->tok->vocab, text, n);
    if (twin >= 0)
        TRY(tokenizer_refuse(s->tok, error, "tokens %d and %zu have the same text, so that which of them is meant is unknown", twin, id));
    else
        TRY(vocab_add(&s->tok->vocab, text, n, (int32_t)id, error));
done:
    return status;
}

static jsc_status read_tokens(struct source *s, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const unsigned char *cursor = s->tokens->bytes;
    const char *text = NULL;
    size_t n = 0, id = 0;
    if (s->tokens->count > s->tok->rows)
        FAIL(JSC_E_FORMAT, "%s: tokenizer.ggml.tokens has %llu tokens, the embedding only %zu rows; the file is damaged", s->tok->path,
             (unsigned long long)s->tokens->count, s->tok->rows);
    if (s->types != NULL && s->types->count != s->tokens->count)
        FAIL(JSC_E_FORMAT, "%s: tokenizer.ggml.token_type has %llu entries for %llu tokens", s->tok->path,
             (unsigned long long)s->types->count, (unsigned long long)s->tokens->count);
    TRY(vocab_reserve(&s->tok->vocab, (size_t)s->tokens->count, (size_t)s->tokens->n_bytes, error));
    for (; gguf_next_string(s->tokens, &cursor, &text, &n); id++)
        TRY(add_token(s, id, text, n, error));
    if (s->types == NULL)
        TRY(tokenizer_refuse(s->tok, error, "tokenizer.ggml.token_type is absent, so that special tokens cannot be told from text"));
done:
    return status;
}

/* "left right", cut at the first space that is not the very first character. */
static jsc_status read_merges(struct source *s, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const struct gguf_value *merges = NULL;
    const char *text = NULL;
    size_t n = 0;
    TRY(get_array(s, "tokenizer.ggml.merges", true, &merges, error));
    if (merges == NULL) {
        TRY(tokenizer_refuse(s->tok, error, "tokenizer.ggml.merges is absent"));
        goto done;
    }
    TRY(pair_reserve(&s->tok->merges, (size_t)merges->count, error));
    const unsigned char *cursor = merges->bytes;
    for (size_t number = 0; gguf_next_string(merges, &cursor, &text, &n); number++) {
        const char *space = n > 1 ? memchr(text + 1, ' ', n - 1) : NULL;
        if (space == NULL)
            FAIL(JSC_E_FORMAT, "%s: tokenizer.ggml.merges: merge %zu has no two parts", s->tok->path, number);
        TRY(tokenizer_add_merge(s->tok, number, text, (size_t)(space - text), space + 1, n - (size_t)(space + 1 - text), error));
    }
done:
    return status;
}

/* Scores as numbers that are small for good tokens, so that both kinds of BPE share one heap. */
static jsc_status read_scores(struct source *s, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const struct gguf_value *scores = NULL;
    TRY(get_array(s, "tokenizer.ggml.scores", false, &scores, error));
    if (scores == NULL || scores->element != GGUF_F32 || scores->count != s->tokens->count)
        FAIL(JSC_E_FORMAT, "%s: tokenizer.ggml.scores is not a list of %llu float32 numbers", s->tok->path,
             (unsigned long long)s->tokens->count);
    TRY(mem_new(&s->tok->score_rank, (size_t)scores->count, error));
    for (size_t i = 0; i < scores->count; i++) {
        uint32_t bits = 0;
        memcpy(&bits, scores->bytes + i * sizeof bits, sizeof bits);
        if ((bits & 0x7fffffffU) > 0x7f800000U)
            FAIL(JSC_E_FORMAT, "%s: tokenizer.ggml.scores: the score of token %zu is not a number", s->tok->path, i);
        if (bits == 0x80000000U)
            bits = 0;                                                            /* -0 equals 0 */
        const uint32_t rising = bits & 0x80000000U ? ~bits : bits | 0x80000000U; /* orders as the floats do */
        s->tok->score_rank[i] = ~rising;
    }
done:
    return status;
}

static jsc_status set_up_gpt2(struct source *s, const char *pre, size_t n, bool *adds_bos, jsc_error *error)
{
    jsc_status status = JSC_OK;
    bool prefix_space = false;
    TRY(read_merges(s, error));
    const struct pre_tokenizer_row *row = pre != NULL ? pre_tokenizer_find(pre, n) : NULL;
    if (row == NULL) {
        if (pre == NULL)
            TRY(tokenizer_refuse(s->tok, error, "tokenizer.ggml.pre is absent, so how text is split is unknown"));
        else
            TRY(tokenizer_refuse(s->tok, error, "pre-tokeniser \"%.*s\" is not implemented", (int)(n < 64 ? n : 64), pre));
        goto done;
    }
    TRY(gguf_get_bool(s->gguf, "tokenizer.ggml.add_space_prefix", &prefix_space, NULL, error));
    if (prefix_space)
        TRY(tokenizer_refuse(s->tok, error, "tokenizer.ggml.add_space_prefix with byte-level BPE is not implemented"));
    if (row->nfc)
        TRY(tokenizer_add_normalizer(s->tok, NORMALIZE_NFC, NULL, 0, error));
    for (int i = 0; i < 5 && row->patterns[i] != NULL; i++) {
        if (strcmp(row->patterns[i], "digit") == 0)
            TRY(tokenizer_add_class_split(s->tok, "digit", SPLIT_ISOLATED, error));
        else
            TRY(tokenizer_add_split(s->tok, row->patterns[i], error));
    }
    TRY(tokenizer_add_stage(s->tok, &(struct stage){.kind = STAGE_BYTE_MAP}, error));
    s->tok->ignore_merges = row->ignore_merges;
    *adds_bos = row->add_bos;
done:
    return status;
}

/* The whole text is one piece: ' ' becomes U+2581, characters that are no tokens become bytes. */
static jsc_status set_up_sentence_piece(struct source *s, bool *adds_bos, jsc_error *error)
{
    static const char mark[] = "\xe2\x96\x81"; /* U+2581 */
    jsc_status status = JSC_OK;
    bool prefix_space = s->scored;
    pcre2_code *space = NULL;
    TRY(s->scored ? read_scores(s, error) : read_merges(s, error));
    TRY(gguf_get_bool(s->gguf, "tokenizer.ggml.add_space_prefix", &prefix_space, NULL, error));
    if (prefix_space)
        TRY(tokenizer_add_normalizer(s->tok, NORMALIZE_PREPEND, mark, 3, error));
    TRY(regex_compile_literal(" ", 1, &space, error));
    TRY(tokenizer_add_normalizer(s->tok, NORMALIZE_REPLACE, mark, 3, error));
    s->tok->normalizers[s->tok->n_normalizers - 1].pattern = space;
    space = NULL;
    s->tok->kind = s->scored ? BPE_BY_SCORE : BPE_BY_RANK;
    s->tok->byte_fallback = true;
    *adds_bos = true;
done:
    pcre2_code_free(space);
    return status;
}

static jsc_status get_special(const struct source *s, const char *key, int32_t *id, jsc_error *error)
{
    int64_t value = -1;
    bool present = false;
    const int64_t most = s->tokens != NULL && s->tokens->count > 0 ? (int64_t)s->tokens->count - 1 : (int64_t)s->tok->rows - 1;
    const jsc_status status = gguf_get_int(s->gguf, key, 0, most, &value, &present, error);
    if (status == JSC_OK && present)
        *id = (int32_t)value;
    return status;
}

/* BOS, EOS and whether a text gets them; the file's word wins over the kind's custom. */
static jsc_status read_specials(struct source *s, bool adds_bos, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct tokenizer *tok = s->tok;
    bool adds_eos = false, said = false;
    TRY(get_special(s, "tokenizer.ggml.bos_token_id", &tok->bos, error));
    TRY(get_special(s, "tokenizer.ggml.eos_token_id", &tok->eos, error));
    if (s->sentence_piece)
        TRY(get_special(s, "tokenizer.ggml.unknown_token_id", &tok->unk_id, error));
    TRY(gguf_get_bool(s->gguf, "tokenizer.ggml.add_bos_token", &adds_bos, &said, error));
    TRY(gguf_get_bool(s->gguf, "tokenizer.ggml.add_eos_token", &adds_eos, NULL, error));
    if (said && adds_bos && tok->bos < 0)
        TRY(tokenizer_warn(tok, error, "%s: BOS is to be put in front of texts, but the file names no BOS token; none is added",
                           tok->path));
    if (adds_bos && tok->bos >= 0) {
        TRY(mem_reserve(&tok->prefix, &tok->prefix_capacity, 1, error));
        tok->prefix[tok->n_prefix++] = tok->bos;
    }
    if (adds_eos && tok->eos >= 0) {
        TRY(mem_reserve(&tok->suffix, &tok->suffix_capacity, 1, error));
        tok->suffix[tok->n_suffix++] = tok->eos;
    }
done:
    return status;
}

static jsc_status describe(struct source *s, const char *model, size_t model_n, const char *pre, size_t pre_n, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct strbuf line = {0};
    if (s->tok->refusal != NULL)
        strbuf_puts(&line, "ids only, from GGUF, ");
    else
        strbuf_puts(&line, s->sentence_piece ? "SentencePiece BPE from GGUF, " : "BPE from GGUF, ");
    if (s->other)
        strbuf_printf(&line, "model %.*s, ", model_n == 0 ? 6 : (int)(model_n < 64 ? model_n : 64), model_n == 0 ? "absent" : model);
    if (!s->sentence_piece && !s->other)
        strbuf_printf(&line, "pre-tokeniser %.*s, ", pre != NULL ? (int)(pre_n < 64 ? pre_n : 64) : 6, pre != NULL ? pre : "absent");
    strbuf_printf(&line, "%llu tokens", s->tokens != NULL ? (unsigned long long)s->tokens->count : 0ULL);
    if (line.failed)
        FAIL(JSC_E_MEMORY, "no memory to describe the tokeniser");
    s->tok->description = line.text;
    line.text = NULL;
done:
    strbuf_free(&line);
    return status;
}

jsc_status tokenizer_from_gguf(const struct gguf *gguf, size_t rows, struct tokenizer **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct source s = {.gguf = gguf};
    const char *model = NULL, *pre = NULL, *architecture = NULL;
    size_t model_n = 0, pre_n = 0, architecture_n = 0;
    bool adds_bos = false;
    jsc_error why = {0};
    TRY(tokenizer_new(gguf->path, rows, &s.tok, error));
    TRY(gguf_get_string(gguf, "tokenizer.ggml.model", &model, &model_n, NULL, error));
    TRY(gguf_get_string(gguf, "tokenizer.ggml.pre", &pre, &pre_n, NULL, error));
    TRY(get_array(&s, "tokenizer.ggml.tokens", true, &s.tokens, error));
    TRY(get_array(&s, "tokenizer.ggml.token_type", false, &s.types, error));
    TRY(gguf_get_string(gguf, "general.architecture", &architecture, &architecture_n, NULL, error));
    s.scored = equals(model, model_n, "llama");
    s.sentence_piece = s.scored || equals(model, model_n, "gemma4");
    s.phi3 = s.scored && equals(architecture, architecture_n, "phi3");
    s.other = !s.sentence_piece && !equals(model, model_n, "gpt2");
    if (model == NULL)
        TRY(tokenizer_refuse(s.tok, error, "tokenizer.ggml.model is absent"));
    else if (s.other)
        TRY(tokenizer_refuse(s.tok, error, "tokeniser model \"%.*s\" is not implemented", (int)(model_n < 64 ? model_n : 64), model));
    if (s.tokens == NULL)
        TRY(tokenizer_refuse(s.tok, error, "tokenizer.ggml.tokens is absent"));
    else {
        TRY(read_tokens(&s, error));
        if (s.sentence_piece)
            TRY(tokenizer_absorb(s.tok, set_up_sentence_piece(&s, &adds_bos, &why), &why, error));
        else if (!s.other)
            TRY(tokenizer_absorb(s.tok, set_up_gpt2(&s, pre, pre_n, &adds_bos, &why), &why, error));
    }
    TRY(read_specials(&s, adds_bos, error));
    TRY(tokenizer_finish(s.tok, error));
    TRY(describe(&s, model, model_n, pre, pre_n, error));
    *out = s.tok;
    s.tok = NULL;
done:
    tokenizer_free(s.tok);
    return status;
}
