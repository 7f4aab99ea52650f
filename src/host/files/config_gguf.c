/* config_gguf.c: GGUF metadata -> the same description of sizes and options that config.c makes from config.json. */
#include "files_internal.h"

#include <stdio.h>
#include <string.h>

struct keys {
    const struct gguf *g;
    const struct config *c;
    char name[128]; /* the key built last */
};

static const char *key(struct keys *k, const char *tail)
{
    return config_key_gguf(k->c, tail, k->name);
}

jsc_status config_family_gguf(const struct gguf *gguf, char *out, size_t capacity, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const char *name = NULL;
    size_t n = 0;
    TRY(gguf_get_string(gguf, "general.architecture", &name, &n, NULL, error));
    if (name == NULL)
        FAIL(JSC_E_FORMAT, "%s: general.architecture is absent, so the model's family is unknown", gguf->path);
    if (n == 0 || n >= capacity || memchr(name, 0, n) != NULL || utf8_check(name, n) < n)
        FAIL(JSC_E_UNSUPPORTED, "%s: general.architecture \"%.*s\" is not implemented", gguf->path, n < 60 ? (int)n : 60, name);
    memcpy(out, name, n);
    out[n] = '\0';
done:
    return status;
}

static jsc_status required(struct keys *k, const char *tail, int64_t high, int64_t *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    bool present = false;
    TRY(gguf_get_int(k->g, key(k, tail), 1, high, out, &present, error));
    if (!present)
        FAIL(JSC_E_FORMAT, "%s: %s is absent", k->g->path, k->name);
done:
    return status;
}

/* A count that may be a list with one number per block: then all must be equal. */
static jsc_status per_layer(struct keys *k, const char *tail, int64_t high, int64_t *out, bool *present, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const struct gguf_value *v = gguf_find(k->g, key(k, tail));
    *present = v != NULL;
    if (v == NULL || v->type != GGUF_ARRAY)
        return gguf_get_int(k->g, k->name, 1, high, out, present, error);
    int64_t value = 0;
    uint64_t first = 0, element = 0;
    const size_t size = v->count > 0 ? (size_t)(v->n_bytes / v->count) : 0;
    if (size == 0 || size > sizeof first || v->element == GGUF_STRING || v->element == GGUF_F32 || v->element == GGUF_F64 ||
        v->element == GGUF_BOOL)
        FAIL(JSC_E_FORMAT, "%s: %s is not a list of whole numbers", k->g->path, k->name);
    if (v->count != (uint64_t)k->c->n_layers)
        FAIL(JSC_E_FORMAT, "%s: %s has %" PRIu64 " numbers for %" PRId64 " blocks", k->g->path, k->name, v->count, k->c->n_layers);
    for (uint64_t i = 0; i < v->count; i++) {
        memcpy(&element, v->bytes + i * size, size);
        if (i == 0)
            first = element;
        if (element != first)
            FAIL(JSC_E_UNSUPPORTED, "%s: %s differs from block to block, which is not implemented", k->g->path, k->name);
    }
    value = first <= (uint64_t)high ? (int64_t)first : -1; /* a negative number has high bits set */
    if (value < 1)
        FAIL(JSC_E_FORMAT, "%s: %s: its numbers are outside 1 to %" PRId64, k->g->path, k->name, high);
    *out = value;
done:
    return status;
}

static jsc_status read_sizes(struct keys *k, struct config *c, jsc_error *error)
{
    jsc_status status = JSC_OK;
    bool present = false;
    int64_t value_length = 0, experts = 0;
    TRY(required(k, "block_count", LAYERS_MAX, &c->n_layers, error));
    TRY(gguf_get_int(k->g, key(k, "expert_count"), 0, INT32_MAX, &experts, NULL, error));
    if (experts > 0) /* Mixtral's architecture is "llama" too */
        FAIL(JSC_E_UNSUPPORTED, "%s: %s is %" PRId64 ": mixtures of experts are not implemented, give a dense model", k->g->path, k->name,
             experts);
    TRY(required(k, "embedding_length", WIDTH_MAX, &c->d, error));
    TRY(required(k, "context_length", POSITION_MAX, &c->max_position, error));
    TRY(per_layer(k, "feed_forward_length", MLP_MAX, &c->f, &present, error));
    if (!present)
        FAIL(JSC_E_FORMAT, "%s: %s is absent", k->g->path, k->name);
    TRY(per_layer(k, "attention.head_count", HEADS_MAX, &c->H, &present, error));
    if (!present)
        FAIL(JSC_E_FORMAT, "%s: %s is absent", k->g->path, k->name);
    c->embed_width = c->d;
    c->K = c->H;
    TRY(per_layer(k, "attention.head_count_kv", HEADS_MAX, &c->K, &present, error));
    TRY(gguf_get_int(k->g, key(k, "attention.key_length"), 1, HEAD_MAX, &c->h, NULL, error));
    if (c->h == 0 && c->d % c->H == 0)
        c->h = c->d / c->H;
    TRY(gguf_get_int(k->g, key(k, "attention.value_length"), 1, HEAD_MAX, &value_length, &present, error));
    if (present && value_length != c->h)
        FAIL(JSC_E_UNSUPPORTED, "%s: %s is %" PRId64 ", keys have %" PRId64 " components: different lengths are not implemented",
             k->g->path, k->name, value_length, c->h);
    /* the vocabulary: as declared, else the rows of the embedding, else the tokens */
    const struct tensor *embed = tensor_find(k->g->tensors, "token_embd.weight");
    const struct gguf_value *tokens = gguf_find(k->g, "tokenizer.ggml.tokens");
    c->vocab = embed != NULL && embed->rank == 2              ? (int64_t)embed->shape[0]
               : tokens != NULL && tokens->type == GGUF_ARRAY ? (int64_t)tokens->count
                                                              : 0;
    TRY(gguf_get_int(k->g, key(k, "vocab_size"), 1, VOCAB_MAX, &c->vocab, NULL, error));
    if (c->vocab < 1 || c->vocab > VOCAB_MAX)
        FAIL(JSC_E_FORMAT, "%s: a vocabulary of %" PRId64 " tokens is outside 1 to %d", k->g->path, c->vocab, VOCAB_MAX);
done:
    return status;
}

/* ---- the rest -------------------------------------------------------------------------------------------------------------- */

static jsc_status read_head(const struct gguf *g, struct config *c, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const char *name = "";
    size_t n = 0;
    c->tied = tensor_find(g->tensors, "output.weight") == NULL; /* no own head: the embedding is the head */
    TRY(gguf_get_int(g, "tokenizer.ggml.bos_token_id", 0, c->vocab - 1, &c->bos_id, NULL, error));
    TRY(gguf_get_int(g, "tokenizer.ggml.eos_token_id", 0, c->vocab - 1, &c->eos_id, NULL, error));
    TRY(gguf_get_string(g, "general.name", &name, &n, NULL, error));
    (void)snprintf(c->name, sizeof c->name, "%.*s", n < sizeof c->name ? (int)n : (int)sizeof c->name - 1, name);
    if (utf8_check(c->name, strlen(c->name)) < strlen(c->name)) /* cut in a character, or no text at all */
        c->name[utf8_check(c->name, strlen(c->name))] = '\0';
done:
    return status;
}

jsc_status config_from_gguf(const struct gguf *gguf, const struct config_rules *rules, struct config *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct config c;
    config_start(rules, true, &c);
    struct keys k = {.g = gguf, .c = &c};
    TRY(config_family_gguf(gguf, c.family, sizeof c.family, error));
    TRY(read_sizes(&k, &c, error));
    TRY(config_options_gguf(gguf, rules, &c, error));
    TRY(config_blocks_gguf(gguf, rules, &c, error));
    TRY(config_rope_gguf(gguf, rules, &c, error));
    TRY(read_head(gguf, &c, error));
    TRY(config_check(gguf->path, &c, error));
    *out = c;
    memset(&c, 0, sizeof c);
done:
    config_free(&c);
    return status;
}
