/* config.c: config.json -> sizes and options, each field with its range; what is declared and not implemented is refused by name. */
#include "files_internal.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* Sizes that every config.json of a decoder has. Another family's spelling of a key is a row of another table. */
static const struct size_field {
    const char *key;
    size_t offset; /* of an int64_t in struct config */
    int64_t high;  /* the low end is 1 */
} size_fields[] = {
    {"hidden_size", offsetof(struct config, d), WIDTH_MAX},
    {"intermediate_size", offsetof(struct config, f), MLP_MAX},
    {"num_hidden_layers", offsetof(struct config, n_layers), LAYERS_MAX},
    {"num_attention_heads", offsetof(struct config, H), HEADS_MAX},
    {"vocab_size", offsetof(struct config, vocab), VOCAB_MAX},
};

jsc_status config_warn(struct config *config, jsc_error *error, const char *format, ...)
{
    jsc_status status = JSC_OK;
    TRY(mem_reserve(&config->warnings, &config->warnings_capacity, config->n_warnings + 1, error));
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(config->warnings[config->n_warnings++], sizeof config->warnings[0], format, arguments);
    va_end(arguments);
done:
    return status;
}

void config_free(struct config *config)
{
    mem_free(config->warnings);
    config->warnings = NULL;
    config->n_warnings = config->warnings_capacity = 0;
}

/* ---- family ---------------------------------------------------------------------------------------------------------------- */

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* Only models with a language-model head predict tokens. */
static jsc_status check_architecture(const char *path, const json_t *root, jsc_error *error)
{
    const json_t *list = json_object_get(root, "architectures");
    if (list == NULL || json_is_null(list) || (json_is_array(list) && json_array_size(list) == 0))
        return JSC_OK;
    const char *name = json_string_value(json_array_get(list, 0));
    if (name == NULL)
        return status_set(error, JSC_E_FORMAT, "%s: architectures is not a list of names", path);
    if (!ends_with(name, "ForCausalLM") && !ends_with(name, "LMHeadModel"))
        return status_set(error, JSC_E_UNSUPPORTED,
                          "%s: architecture %s has no language-model head; only ...ForCausalLM and ...LMHeadModel are read", path, name);
    return JSC_OK;
}

jsc_status config_family_json(const char *path, const json_t *root, char *out, size_t capacity, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const char *name = NULL;
    if (!json_is_object(root))
        FAIL(JSC_E_FORMAT, "%s: is not a JSON object", path);
    TRY(json_get_string(path, root, "model_type", &name, NULL, error));
    if (name == NULL)
        FAIL(JSC_E_FORMAT, "%s: model_type is absent, so the model's family is unknown", path);
    if (name[0] == '\0' || strlen(name) >= capacity)
        FAIL(JSC_E_UNSUPPORTED, "%s: model_type \"%.80s\" is not implemented", path, name);
    TRY(check_architecture(path, root, error));
    (void)snprintf(out, capacity, "%s", name);
done:
    return status;
}

/* ---- fields ---------------------------------------------------------------------------------------------------------------- */

static jsc_status read_sizes(const char *path, const json_t *root, const struct config_defaults *defaults, struct config *c,
                             jsc_error *error)
{
    jsc_status status = JSC_OK;
    bool present = false;
    for (size_t i = 0; i < sizeof size_fields / sizeof size_fields[0]; i++) {
        const struct size_field *f = &size_fields[i];
        int64_t *field = (int64_t *)(void *)((char *)c + f->offset);
        TRY(json_get_int(path, root, f->key, 1, f->high, field, &present, error));
        if (!present)
            FAIL(JSC_E_FORMAT, "%s: %s is absent", path, f->key);
    }
    c->max_position = defaults->max_position;
    TRY(json_get_int(path, root, "max_position_embeddings", 1, POSITION_MAX, &c->max_position, NULL, error));
    if (c->max_position == 0)
        FAIL(JSC_E_FORMAT, "%s: max_position_embeddings is absent", path);
    /* null means as many as query heads; absent means the family's default */
    const bool null_K = json_is_null(json_object_get(root, "num_key_value_heads"));
    c->K = null_K || defaults->absent_K < 0 ? c->H : defaults->absent_K;
    TRY(json_get_int(path, root, "num_key_value_heads", 1, HEADS_MAX, &c->K, &c->K_present, error));
    c->h = defaults->absent_h < 0 ? 0 : defaults->absent_h;
    TRY(json_get_int(path, root, "head_dim", 1, HEAD_MAX, &c->h, &c->h_present, error));
done:
    return status;
}

/* A token id, or the first of a list (Llama 3 names several end tokens); null and -1: none. */
static jsc_status read_token_id(const char *path, const json_t *root, const char *key, int64_t vocab, int64_t *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const json_t *list = json_object_get(root, key);
    *out = -1;
    if (!json_is_array(list))
        return json_get_int(path, root, key, -1, vocab - 1, out, NULL, error);
    for (size_t i = json_array_size(list); i-- > 0;) {
        const json_t *id = json_array_get(list, i);
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= vocab)
            FAIL(JSC_E_FORMAT, "%s: %s: entry %zu is no token id from 0 to %" PRId64, path, key, i, vocab - 1);
        *out = json_integer_value(id);
    }
done:
    return status;
}

static jsc_status read_options(const char *path, const json_t *root, const struct config_defaults *defaults, struct config *c,
                               jsc_error *error)
{
    jsc_status status = JSC_OK;
    const char *activation = "";
    int64_t window = 0;
    c->norm_eps = defaults->norm_eps;
    TRY(json_get_double(path, root, "rms_norm_eps", EPS_MIN, EPS_MAX, &c->norm_eps, NULL, error));
    TRY(json_get_string(path, root, "hidden_act", &activation, NULL, error));
    if (strlen(activation) >= sizeof c->activation)
        FAIL(JSC_E_UNSUPPORTED, "%s: hidden_act \"%.80s\" is not implemented", path, activation);
    (void)snprintf(c->activation, sizeof c->activation, "%s", activation);
    c->tied = defaults->tied;
    TRY(json_get_bool(path, root, "tie_word_embeddings", &c->tied, &c->tied_present, error));
    TRY(json_get_bool(path, root, "attention_bias", &c->attention_bias, NULL, error));
    TRY(json_get_bool(path, root, "mlp_bias", &c->mlp_bias, NULL, error));
    TRY(json_get_int(path, root, "sliding_window", 1, POSITION_MAX, &window, NULL, error));
    if (window > 0) /* transformers' llama has no window */
        TRY(config_warn(c, error, "%s: sliding_window %" PRId64 " has no effect in a model of type %s", path, window, c->family));
    TRY(read_token_id(path, root, "bos_token_id", c->vocab, &c->bos_id, error));
    TRY(read_token_id(path, root, "eos_token_id", c->vocab, &c->eos_id, error));
done:
    return status;
}

jsc_status config_check(const char *path, struct config *c, jsc_error *error)
{
    jsc_status status = JSC_OK;
    if (c->K > c->H || c->H % c->K != 0)
        FAIL(JSC_E_FORMAT, "%s: %" PRId64 " attention heads cannot share %" PRId64 " key/value heads", path, c->H, c->K);
    if (c->h == 0) {
        if (c->d % c->H != 0)
            FAIL(JSC_E_FORMAT, "%s: hidden size %" PRId64 " is no multiple of %" PRId64 " attention heads, and no head size is given", path,
                 c->d, c->H);
        c->h = c->d / c->H;
    }
    const int64_t rotated = (int64_t)((double)c->h * c->partial_rotary);
    if (rotated < 2 || rotated % 2 != 0)
        FAIL(JSC_E_FORMAT, "%s: %" PRId64 " rotary components of a head of %" PRId64 ", an even number from 2 is wanted", path, rotated,
             c->h);
    if (c->scaling == ROPE_DYNAMIC && rotated == 2)
        FAIL(JSC_E_FORMAT, "%s: dynamic rotary scaling needs more than 2 rotary components", path);
done:
    return status;
}

jsc_status config_from_json(const char *path, const json_t *root, const struct config_defaults *defaults, struct config *out,
                            jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct config c = {.bos_id = -1, .eos_id = -1, .partial_rotary = 1.0, .factor = 1.0};
    TRY(config_family_json(path, root, c.family, sizeof c.family, error));
    TRY(quantised_refuse_config(path, root, error));
    TRY(read_sizes(path, root, defaults, &c, error));
    TRY(read_options(path, root, defaults, &c, error));
    TRY(config_rope_json(path, root, defaults, &c, error));
    TRY(config_check(path, &c, error));
    *out = c;
    c.warnings = NULL;
done:
    config_free(&c);
    return status;
}
