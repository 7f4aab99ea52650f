/* model_describe.c: what a model is, its tokens and their texts: the questions that need no arithmetic. */
#include "model_internal.h"

#include <stdio.h>
#include <string.h>

static const char *scaling_name(const jsc_model *m)
{
    return m->config.scaling == ROPE_NONE ? "none" : m->config.scaling_name;
}

jsc_status jsc_model_describe(const jsc_model *m, jsc_model_info *info, jsc_error *error)
{
    if (m == NULL || info == NULL || info->size != sizeof *info)
        return status_set(error, JSC_E_ARGUMENT,
                          "jsc_model_describe: model or info is NULL, or info does not begin with JSC_MODEL_INFO_INIT of this version");
    const bool text = m->tokenizer != NULL && tokenizer_takes_text(m->tokenizer);
    *info = (jsc_model_info){
        .size = sizeof *info,
        .path = m->path,
        .name = m->name,
        .family = m->family->name,
        .format = m->format,
        .weight_types = m->weight_types,
        .n_layers = m->L,
        .d_model = m->d,
        .d_ff = m->f,
        .n_heads = m->H,
        .n_kv_heads = m->K,
        .head_dim = m->h,
        .vocab_size = m->V,
        .max_position = (int)m->config.max_position,
        .sliding_window = (int)m->config.window,
        .tied_head = m->tied,
        .rope_theta = m->config.rope_theta,
        .rope_scaling = scaling_name(m),
        .parameters = m->parameters,
        .file_bytes = m->file_bytes,
        .weight_bytes = stages_weight_bytes(m),
        .device = model_device(m),
        .backend = m->ops->name,
        .precision = m->precision,
        .tokeniser = m->tokenizer != NULL ? tokenizer_describe(m->tokenizer) : m->no_tokenizer,
        .has_tokeniser = text,
        .bos_id = m->tokenizer != NULL ? tokenizer_bos(m->tokenizer) : (int32_t)m->config.bos_id,
        .eos_id = m->tokenizer != NULL ? tokenizer_eos(m->tokenizer) : (int32_t)m->config.eos_id,
        .adds_bos = m->tokenizer != NULL && tokenizer_adds_bos(m->tokenizer),
        .n_warnings = (int)m->n_warnings,
        .warnings = (const char *const *)m->warnings,
        .load_seconds = m->load_seconds,
        .no_gpu = m->no_gpu,
        .memory_left = stages_memory_left(m),
        .traits = m->traits,
    };
    /* a tokeniser file need not say which token begins a text, config.json usually does */
    if (info->bos_id < 0)
        info->bos_id = (int32_t)m->config.bos_id;
    if (info->eos_id < 0)
        info->eos_id = (int32_t)m->config.eos_id;
    return JSC_OK;
}

void jsc_tokens_free(jsc_tokens *tokens)
{
    if (tokens == NULL)
        return;
    for (int i = 0; i < tokens->n_warnings; i++)
        mem_free(tokens->warnings[i]);
    mem_free(tokens->warnings);
    mem_free(tokens->ids);
    mem_free(tokens);
}

static jsc_status need_tokenizer(const jsc_model *m, jsc_error *error)
{
    if (m->tokenizer == NULL)
        return status_set(error, JSC_E_UNSUPPORTED, "%s: %s", m->path, m->no_tokenizer != NULL ? m->no_tokenizer : "no tokeniser");
    return JSC_OK;
}

jsc_status jsc_tokenize(const jsc_model *m, const char *text, size_t n_bytes, const jsc_tokenize_options *given, jsc_tokens **out,
                        jsc_error *error)
{
    static const jsc_tokenize_options defaults = JSC_TOKENIZE_OPTIONS_INIT;
    const jsc_tokenize_options *options = given != NULL ? given : &defaults;
    jsc_status status = JSC_OK;
    jsc_tokens *tokens = NULL;
    struct token_list list = {0};
    jsc_model_info info = JSC_MODEL_INFO_INIT;

    if (m == NULL || out == NULL || (text == NULL && n_bytes > 0) || options->size != sizeof *options)
        return status_set(error, JSC_E_ARGUMENT,
                          "jsc_tokenize: model, text or out is NULL, or options do not begin with JSC_TOKENIZE_OPTIONS_INIT");
    if (options->front_pad < 0 || options->front_pad > 1 << 20)
        return status_set(error, JSC_E_ARGUMENT, "front pad of %d tokens: 0 to 1048576", options->front_pad);
    TRY(need_tokenizer(m, error));
    TRY(jsc_model_describe(m, &info, error));
    if (options->front_pad > 0 && info.bos_id < 0)
        FAIL(JSC_E_ARGUMENT, "%s: front pad of %d asked for, but this model has no BOS token to pad with", m->path, options->front_pad);
    TRY(tokenizer_encode(m->tokenizer, text, n_bytes, options->no_special == 0, &list, error));
    TRY(mem_new(&tokens, 1, error));
    const size_t pad = (size_t)options->front_pad;
    TRY(mem_new(&tokens->ids, list.n + pad, error));
    for (size_t i = 0; i < pad; i++)
        tokens->ids[i] = info.bos_id;
    if (list.n > 0)
        memcpy(tokens->ids + pad, list.ids, list.n * sizeof *list.ids);
    tokens->n = list.n + pad;
    tokens->warnings = list.warnings;
    tokens->n_warnings = (int)list.n_warnings;
    list.warnings = NULL;
    list.n_warnings = 0;
    *out = tokens, tokens = NULL;
done:
    jsc_tokens_free(tokens);
    token_list_free(&list);
    return status;
}

jsc_status jsc_token_bytes(const jsc_model *m, int32_t id, const char **out, size_t *n_bytes, jsc_error *error)
{
    if (m == NULL || out == NULL || n_bytes == NULL)
        return status_set(error, JSC_E_ARGUMENT, "jsc_token_bytes: an argument is NULL");
    const jsc_status status = need_tokenizer(m, error);
    return status != JSC_OK ? status : tokenizer_token(m->tokenizer, id, out, n_bytes, error);
}

/* Appends "\" ab\" 123" for each piece of an encoding, for the error below. */
static void list_pieces(const jsc_model *m, const struct token_list *list, struct strbuf *s)
{
    for (size_t i = 0; i < list->n && i < 8; i++) {
        char *shown = NULL, *bytes = NULL;
        size_t n = 0;
        int linked = 0;
        if (model_token_text(m, list->ids[i], &shown, &bytes, &n, &linked, NULL) == JSC_OK)
            strbuf_printf(s, "%s\"%s\" %d", i > 0 ? ", " : "", shown != NULL ? shown : "?", (int)list->ids[i]);
        mem_free(shown);
        mem_free(bytes);
    }
    if (list->n > 8)
        strbuf_puts(s, ", ...");
}

jsc_status jsc_token_find(const jsc_model *m, const char *text, size_t n_bytes, int32_t *id, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct token_list list = {0}, spaced = {0};
    struct strbuf pieces = {0}, with_space = {0};

    if (m == NULL || text == NULL || id == NULL)
        return status_set(error, JSC_E_ARGUMENT, "jsc_token_find: an argument is NULL");
    TRY(need_tokenizer(m, error));
    TRY(tokenizer_encode(m->tokenizer, text, n_bytes, false, &list, error));
    if (list.n == 1) {
        *id = list.ids[0];
        goto done;
    }
    list_pieces(m, &list, &pieces);
    strbuf_puts(&with_space, " ");
    strbuf_add(&with_space, text, n_bytes);
    if (!with_space.failed && (n_bytes == 0 || text[0] != ' '))
        TRY(tokenizer_encode(m->tokenizer, with_space.text, with_space.n, false, &spaced, error));
    if (spaced.n == 1)
        FAIL(JSC_E_ARGUMENT, "target \"%.*s\" is %zu tokens (%s), not one; with a space in front it is one: \" %.*s\" %d",
             (int)(n_bytes > 64 ? 64 : n_bytes), text, list.n, pieces.text != NULL ? pieces.text : "", (int)(n_bytes > 64 ? 64 : n_bytes),
             text, (int)spaced.ids[0]);
    FAIL(JSC_E_ARGUMENT, "target \"%.*s\" is %zu tokens (%s), not one: give one of them, or an id (--target-id)",
         (int)(n_bytes > 64 ? 64 : n_bytes), text, list.n, pieces.text != NULL ? pieces.text : "");
done:
    strbuf_free(&pieces);
    strbuf_free(&with_space);
    token_list_free(&list);
    token_list_free(&spaced);
    return status;
}

jsc_status model_token_text(const jsc_model *m, int32_t id, char **text, char **bytes, size_t *n_bytes, int *linked, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct strbuf shown = {0};
    const char *raw = NULL;
    size_t n = 0;

    *text = *bytes = NULL;
    *n_bytes = 0;
    *linked = 0;
    if (m->tokenizer == NULL)
        return JSC_OK;
    TRY(tokenizer_token(m->tokenizer, id, &raw, &n, error));
    for (size_t i = 0; i < n;) {
        uint32_t cp = 0;
        const size_t length = utf8_char(raw + i, n - i, &cp);
        if (length > 0 && cp != 0) /* a C string cannot hold NUL */
            strbuf_add(&shown, raw + i, length);
        else
            strbuf_printf(&shown, "<0x%02X>", (unsigned)(unsigned char)raw[i]);
        i += length > 0 ? length : 1;
    }
    if (shown.failed)
        FAIL(JSC_E_MEMORY, "no memory for the text of token %d", (int)id);
    TRY(mem_strndup(bytes, raw, n, error));
    TRY(mem_strdup(text, shown.text != NULL ? shown.text : "", error));
    *n_bytes = n;
    *linked = n > 0 && ((unsigned char)raw[0] & 0xc0) == 0x80;
done:
    strbuf_free(&shown);
    if (status != JSC_OK) {
        mem_free(*bytes);
        *bytes = NULL;
    }
    return status;
}
