/* tokenizer_build.c: puts a tokeniser together from its parts, whichever kind of file they come from. */
#include "tokenizer_internal.h"

#include <stdio.h>
#include <string.h>

jsc_status tokenizer_new(const char *path, size_t rows, struct tokenizer **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct tokenizer *tok = NULL;
    if (rows > INT32_MAX)
        FAIL(JSC_E_UNSUPPORTED, "%s: an embedding of %zu rows is more than this program handles", path, rows);
    TRY(mem_new(&tok, 1, error));
    tok->rows = rows;
    tok->bos = tok->eos = tok->unk_id = -1;
    TRY(mem_strdup(&tok->path, path, error));
    TRY(mem_new(&tok->texts, rows, error));
    *out = tok;
    tok = NULL;
done:
    tokenizer_free(tok);
    return status;
}

void tokenizer_free(struct tokenizer *tok)
{
    if (tok == NULL)
        return;
    for (size_t i = 0; i < tok->n_warnings; i++)
        mem_free(tok->warnings[i]);
    for (size_t i = 0; i < tok->n_normalizers; i++) {
        pcre2_code_free(tok->normalizers[i].pattern);
        mem_free(tok->normalizers[i].text);
    }
    for (size_t i = 0; i < tok->n_stages; i++)
        pcre2_code_free(tok->stages[i].pattern);
    pcre2_code_free(tok->word);
    vocab_free(&tok->vocab);
    vocab_free(&tok->added_text);
    added_set_free(&tok->raw);
    added_set_free(&tok->normalized);
    mem_free(tok->merges.slots);
    mem_free(tok->warnings);
    mem_free(tok->normalizers);
    mem_free(tok->stages);
    mem_free(tok->score_rank);
    mem_free(tok->unk_token);
    mem_free(tok->added);
    mem_free(tok->prefix);
    mem_free(tok->suffix);
    mem_free(tok->texts);
    mem_free(tok->text_bytes);
    mem_free(tok->refusal);
    mem_free(tok->description);
    mem_free(tok->path);
    mem_free(tok);
}

jsc_status tokenizer_warn(struct tokenizer *tok, jsc_error *error, const char *format, ...)
{
    jsc_status status = JSC_OK;
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    TRY(mem_reserve(&tok->warnings, &tok->warnings_capacity, tok->n_warnings + 1, error));
    TRY(mem_strdup(&tok->warnings[tok->n_warnings], line, error));
    tok->n_warnings++;
done:
    return status;
}

jsc_status tokenizer_refuse(struct tokenizer *tok, jsc_error *error, const char *format, ...)
{
    jsc_status status = JSC_OK;
    char reason[320];
    struct strbuf line = {0};
    va_list arguments;
    if (tok->refusal != NULL)
        return JSC_OK;
    va_start(arguments, format);
    (void)vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    strbuf_printf(&line, "%s: %s; give token ids instead of text (--ids)", tok->path, reason);
    if (line.failed)
        FAIL(JSC_E_MEMORY, "no memory to say why the tokeniser takes no text");
    tok->refusal = line.text;
    line.text = NULL;
done:
    strbuf_free(&line);
    return status;
}

jsc_status tokenizer_add_merge(struct tokenizer *tok, size_t number, const char *left, size_t left_n, const char *right, size_t right_n,
                               jsc_error *error)
{
    jsc_status status = JSC_OK;
    char small[256], *joined = small, *big = NULL;
    const int32_t left_id = vocab_find(&tok->vocab, left, left_n), right_id = vocab_find(&tok->vocab, right, right_n);
    if (left_id < 0 || right_id < 0)
        FAIL(JSC_E_FORMAT, "%s: merge %zu (\"%.*s\", \"%.*s\"): %s is not in the vocabulary", tok->path, number,
             (int)(left_n < 64 ? left_n : 64), left, (int)(right_n < 64 ? right_n : 64), right,
             left_id < 0 ? "its left part" : "its right part");
    if (left_n + right_n > sizeof small) {
        TRY(mem_new(&big, left_n + right_n, error));
        joined = big;
    }
    memcpy(joined, left, left_n);
    memcpy(joined + left_n, right, right_n);
    const int32_t id = vocab_find(&tok->vocab, joined, left_n + right_n);
    if (id < 0)
        FAIL(JSC_E_FORMAT, "%s: merge %zu: the joined token \"%.*s\" is not in the vocabulary", tok->path, number,
             (int)(left_n + right_n < 64 ? left_n + right_n : 64), joined);
    TRY(pair_set(&tok->merges, left_id, right_id, (uint32_t)number, id, error));
done:
    mem_free(big);
    return status;
}

jsc_status tokenizer_add_added(struct tokenizer *tok, const char *content, size_t n, const struct added_token *token, jsc_error *error)
{
    jsc_status status = JSC_OK;
    TRY(mem_reserve(&tok->added, &tok->added_capacity, tok->n_added + 1, error));
    TRY(vocab_add(&tok->added_text, content, n, (int32_t)tok->n_added, error));
    tok->added[tok->n_added++] = *token;
done:
    return status;
}

int32_t tokenizer_added_find(const struct tokenizer *tok, const char *content, size_t n)
{
    const int32_t index = vocab_find(&tok->added_text, content, n);
    return index >= 0 ? tok->added[index].id : -1;
}

/* "<0x0A>": the byte; -1: another text. */
static int hex_byte(const char *token, size_t n)
{
    static const char digits[] = "0123456789ABCDEF";
    if (n != 6 || memcmp(token, "<0x", 3) != 0 || token[5] != '>')
        return -1;
    const char *high = memchr(digits, token[3], 16), *low = memchr(digits, token[4], 16);
    return high != NULL && low != NULL ? (int)(high - digits) * 16 + (int)(low - digits) : -1;
}

/* Writes the bytes a token stands for (never more than the token has) and returns their number. */
static size_t decode(const char *token, size_t n, enum token_style style, bool hex, char *out)
{
    size_t k = 0, length = 0;
    const int byte = hex ? hex_byte(token, n) : -1;
    if (byte >= 0) {
        out[0] = (char)(unsigned char)byte;
        return 1;
    }
    for (size_t i = 0; i < n && style != TOKEN_RAW; i += length) {
        uint32_t c = 0;
        length = utf8_char(token + i, n - i, &c);
        if (style == TOKEN_METASPACE && length == 3 && c == 0x2581)
            out[k++] = ' ';
        else if (style == TOKEN_METASPACE && length > 0) {
            memcpy(out + k, token + i, length);
            k += length;
        } else if (style == TOKEN_BYTE_LEVEL && length > 0 && byte_map_byte(c) >= 0)
            out[k++] = (char)(unsigned char)byte_map_byte(c);
        else
            break; /* a character that stands for no byte: the token is its own text */
        if (i + length == n)
            return k;
    }
    memcpy(out, token, n);
    return n;
}

jsc_status tokenizer_set_text(struct tokenizer *tok, int32_t id, const char *token, size_t n, enum token_style style, bool hex,
                              jsc_error *error)
{
    jsc_status status = JSC_OK;
    size_t need = 0;
    if (id < 0 || (size_t)id >= tok->rows || n == 0)
        return JSC_OK;
    if (!size_add(tok->n_text_bytes, n, &need) || need > UINT32_MAX)
        FAIL(JSC_E_UNSUPPORTED, "%s: token texts of more than 4 GiB", tok->path);
    TRY(mem_reserve(&tok->text_bytes, &tok->text_bytes_capacity, need, error));
    const size_t length = decode(token, n, style, hex, tok->text_bytes + tok->n_text_bytes);
    tok->texts[id] = (struct token_text){.start = (uint32_t)tok->n_text_bytes, .n = (uint32_t)length};
    tok->n_text_bytes += length;
done:
    return status;
}

jsc_status tokenizer_add_stage(struct tokenizer *tok, const struct stage *stage, jsc_error *error)
{
    jsc_status status = JSC_OK;
    if (tok->n_stages == STAGES_MAX)
        FAIL(JSC_E_UNSUPPORTED, "a pre-tokeniser of more than %d steps is not implemented", STAGES_MAX);
    TRY(mem_reserve(&tok->stages, &tok->stages_capacity, tok->n_stages + 1, error));
    tok->stages[tok->n_stages++] = *stage;
done:
    return status;
}

jsc_status tokenizer_add_split(struct tokenizer *tok, const char *pattern, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct stage stage = {.kind = STAGE_SPLIT, .behavior = SPLIT_ISOLATED};
    TRY(regex_compile(pattern, strlen(pattern), &stage.pattern, error));
    TRY(tokenizer_add_stage(tok, &stage, error));
    stage.pattern = NULL;
done:
    pcre2_code_free(stage.pattern);
    return status;
}

jsc_status tokenizer_add_class_split(struct tokenizer *tok, const char *name, enum split_behavior behavior, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct stage stage = {.kind = STAGE_SPLIT, .behavior = behavior};
    TRY(regex_compile_class(name, &stage.pattern, error));
    TRY(tokenizer_add_stage(tok, &stage, error));
    stage.pattern = NULL;
done:
    pcre2_code_free(stage.pattern);
    return status;
}

jsc_status tokenizer_add_normalizer(struct tokenizer *tok, enum normalizer_kind kind, const char *text, size_t n, jsc_error *error)
{
    jsc_status status = JSC_OK;
    if (tok->n_normalizers == STAGES_MAX)
        FAIL(JSC_E_UNSUPPORTED, "a normaliser of more than %d steps is not implemented", STAGES_MAX);
    TRY(mem_reserve(&tok->normalizers, &tok->normalizers_capacity, tok->n_normalizers + 1, error));
    struct normalizer *z = &tok->normalizers[tok->n_normalizers++];
    *z = (struct normalizer){.kind = kind, .n = n};
    if (text != NULL)
        TRY(mem_strndup(&z->text, text, n, error));
done:
    return status;
}

/* Characters and bytes to ids, without hashing. */
static void fill_tables(struct tokenizer *tok)
{
    char text[8];
    for (uint32_t c = 0; c < CHAR_TABLE; c++)
        tok->char_ids[c] = vocab_find(&tok->vocab, text, utf8_put(text, c));
    for (unsigned byte = 0; byte < 256; byte++) {
        (void)snprintf(text, sizeof text, "<0x%02X>", byte);
        tok->byte_ids[byte] = vocab_find(&tok->vocab, text, 6);
    }
    if (tok->unk_token != NULL)
        tok->unk_id = vocab_find(&tok->vocab, tok->unk_token, strlen(tok->unk_token));
}

static jsc_status fill_added_sets(struct tokenizer *tok, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct normal_buffers buffers = {0};
    pcre2_match_data *match = NULL;
    TRY(regex_match_data(&match, error));
    for (size_t i = 0; i < tok->n_added; i++) {
        const struct added_token *token = &tok->added[i];
        const struct vocab_entry *entry = &tok->added_text.entries[i];
        const char *content = tok->added_text.bytes + entry->start;
        size_t n = entry->n;
        if (token->normalized)
            TRY(normalize(tok->normalizers, tok->n_normalizers, content, n, match, &buffers, &content, &n, error));
        TRY(added_set_add(token->normalized ? &tok->normalized : &tok->raw, content, n, (int32_t)i, error));
        if (token->single_word && tok->word == NULL)
            TRY(regex_compile_class("word", &tok->word, error));
    }
done:
    normal_buffers_free(&buffers);
    pcre2_match_data_free(match);
    return status;
}

jsc_status tokenizer_absorb(struct tokenizer *tok, jsc_status status, const jsc_error *why, jsc_error *error)
{
    if (status == JSC_E_UNSUPPORTED)
        return tokenizer_refuse(tok, error, "%s", why->text);
    return status == JSC_OK ? JSC_OK : status_set(error, status, "%s", why->text);
}

jsc_status tokenizer_finish(struct tokenizer *tok, jsc_error *error)
{
    jsc_status status = JSC_OK;
    jsc_error why = {0};
    fill_tables(tok);
    TRY(tokenizer_absorb(tok, fill_added_sets(tok, &why), &why, error));
    for (size_t i = 0; i < tok->rows; i++)
        if (tok->texts[i].n == 0) { /* a row without a token, or a token without text */
            char placeholder[24];
            const int n = snprintf(placeholder, sizeof placeholder, "<id %zu>", i);
            TRY(tokenizer_set_text(tok, (int32_t)i, placeholder, (size_t)n, TOKEN_RAW, false, error));
        }
done:
    return status;
}
