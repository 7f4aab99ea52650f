/* tokenizer.c: what the rest of the library asks an opened tokeniser. Reading: tokenizer_json.c, tokenizer_gguf.c; text: tokenizer_encode.c. */
#include "tokenizer_internal.h"

jsc_status tokenizer_token(const struct tokenizer *tok, int32_t id, const char **bytes, size_t *n, jsc_error *error)
{
    if (id < 0 || (size_t)id >= tok->rows)
        return status_set(error, JSC_E_ARGUMENT, "token id %d is outside the vocabulary: ids are 0 to %zu", id,
                          tok->rows - (tok->rows > 0));
    *bytes = tok->text_bytes + tok->texts[id].start;
    *n = tok->texts[id].n;
    return JSC_OK;
}

const char *tokenizer_describe(const struct tokenizer *tok)
{
    return tok->description;
}

bool tokenizer_takes_text(const struct tokenizer *tok)
{
    return tok->refusal == NULL;
}

int32_t tokenizer_bos(const struct tokenizer *tok)
{
    return tok->bos;
}

int32_t tokenizer_eos(const struct tokenizer *tok)
{
    return tok->eos;
}

bool tokenizer_adds_bos(const struct tokenizer *tok)
{
    return tok->bos >= 0 && tok->n_prefix > 0 && tok->prefix[0] == tok->bos;
}

size_t tokenizer_warnings(const struct tokenizer *tok, const char *const **warnings)
{
    *warnings = (const char *const *)tok->warnings;
    return tok->n_warnings;
}
