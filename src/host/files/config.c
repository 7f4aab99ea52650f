/* config.c: config.json -> sizes and options, each field with its range; what is declared and not implemented is refused by name. */
#include "files_internal.h"

#include <stdio.h>
#include <string.h>

static const struct config_spelling usual = {.d = "hidden_size",
                                             .f = "intermediate_size",
                                             .n_layers = "num_hidden_layers",
                                             .H = "num_attention_heads",
                                             .max_position = "max_position_embeddings"};

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
    mem_free(config->short_factors);
    mem_free(config->long_factors);
    config->warnings = NULL;
    config->short_factors = config->long_factors = NULL;
    config->n_warnings = config->warnings_capacity = 0;
}

/* ---- family ---------------------------------------------------------------------------------------------------------------- */

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* The part about the text model: of a checkpoint that sees pictures too, text_config. */
static const json_t *text_part(const json_t *root)
{
    const json_t *text = json_object_get(root, "text_config");
    return json_is_object(text) && json_is_string(json_object_get(text, "model_type")) ? text : root;
}

/* Pictures go into these, and yet their text part alone is the family's own model; in others (PaliGemma) it attends or rotates otherwise. */
static jsc_status check_outer(const char *path, const json_t *root, jsc_error *error)
{
    static const char *const plain[] = {"gemma3", "mistral3", "llava", "llava_next", "llava_onevision"};
    const char *outer = json_string_value(json_object_get(root, "model_type"));
    for (size_t i = 0; outer != NULL && i < sizeof plain / sizeof plain[0]; i++)
        if (strcmp(plain[i], outer) == 0)
            return JSC_OK;
    return status_set(error, JSC_E_UNSUPPORTED,
                      "%s: model_type \"%.60s\" around a text_config is not implemented; the text part is read of gemma3, mistral3, llava, "
                      "llava_next, llava_onevision",
                      path, outer != NULL ? outer : "");
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
    const bool more = ends_with(name, "ForConditionalGeneration");
    if (more && text_part(root) == root)
        return status_set(error, JSC_E_UNSUPPORTED,
                          "%s: architecture %s reads more than the text before a token; only ...ForCausalLM and ...LMHeadModel are read",
                          path, name);
    if (!more && !ends_with(name, "ForCausalLM") && !ends_with(name, "LMHeadModel"))
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
    TRY(json_get_string(path, text_part(root), "model_type", &name, NULL, error));
    if (name == NULL)
        FAIL(JSC_E_FORMAT, "%s: model_type is absent, so the model's family is unknown", path);
    if (name[0] == '\0' || strlen(name) >= capacity)
        FAIL(JSC_E_UNSUPPORTED, "%s: model_type \"%.80s\" is not implemented", path, name);
    if (text_part(root) != root)
        TRY(check_outer(path, root, error));
    TRY(check_architecture(path, root, error));
    (void)snprintf(out, capacity, "%s", name);
done:
    return status;
}

/* ---- fields ---------------------------------------------------------------------------------------------------------------- */

/* A size that must be there, unless absent > 0 stands for it. */
static jsc_status read_size(const char *path, const json_t *root, const char *key, int64_t high, int64_t absent, int64_t *out,
                            jsc_error *error)
{
    jsc_status status = JSC_OK;
    *out = absent;
    TRY(json_get_int(path, root, key, 1, high, out, NULL, error));
    if (*out == 0)
        FAIL(JSC_E_FORMAT, "%s: %s is absent", path, key);
done:
    return status;
}

static jsc_status read_sizes(const char *path, const json_t *root, const struct config_rules *rules, struct config *c, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const struct config_spelling *n = rules->spelling != NULL ? rules->spelling : &usual;
    TRY(read_size(path, root, n->d, WIDTH_MAX, 0, &c->d, error));
    TRY(read_size(path, root, n->f, MLP_MAX, n->f_per_d * c->d, &c->f, error));
    TRY(read_size(path, root, n->n_layers, LAYERS_MAX, 0, &c->n_layers, error));
    TRY(read_size(path, root, n->H, HEADS_MAX, rules->absent_H, &c->H, error));
    TRY(read_size(path, root, "vocab_size", VOCAB_MAX, rules->absent_vocab, &c->vocab, error));
    TRY(read_size(path, root, n->max_position, POSITION_MAX, rules->max_position, &c->max_position, error));
    c->embed_width = c->d;
    if (rules->traits & TRAIT_EMBED_WIDTH)
        TRY(json_get_int(path, root, "word_embed_proj_dim", 1, WIDTH_MAX, &c->embed_width, NULL, error));
    /* null means as many as query heads; absent means the family's default */
    const bool null_K = json_is_null(json_object_get(root, "num_key_value_heads"));
    c->K = null_K || rules->absent_K <= 0 ? c->H : rules->absent_K;
    if (rules->absent_K != 0)
        TRY(json_get_int(path, root, "num_key_value_heads", 1, HEADS_MAX, &c->K, NULL, error));
    c->h = rules->absent_h < 0 ? 0 : rules->absent_h;
    TRY(json_get_int(path, root, "head_dim", 1, HEAD_MAX, &c->h, NULL, error));
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

static jsc_status read_head(const char *path, const json_t *root, const json_t *text, const struct config_rules *rules, struct config *c,
                            jsc_error *error)
{
    jsc_status status = JSC_OK;
    const char *activation = "", *key = rules->activation_key != NULL ? rules->activation_key : "hidden_act";
    TRY(json_get_string(path, text, key, &activation, NULL, error));
    if (strlen(activation) >= sizeof c->activation)
        FAIL(JSC_E_UNSUPPORTED, "%s: %s \"%.80s\" is not implemented", path, key, activation);
    (void)snprintf(c->activation, sizeof c->activation, "%s", activation);
    c->tied = rules->tied;
    TRY(json_get_bool(path, text, "tie_word_embeddings", &c->tied, NULL, error));
    TRY(read_token_id(path, text, "bos_token_id", c->vocab, &c->bos_id, error));
    TRY(read_token_id(path, text, "eos_token_id", c->vocab, &c->eos_id, error));
    if (root != text && !c->tied) /* either may say so: the head stands outside of the text part */
        TRY(json_get_bool(path, root, "tie_word_embeddings", &c->tied, NULL, error));
    if (root != text && c->bos_id < 0)
        TRY(read_token_id(path, root, "bos_token_id", c->vocab, &c->bos_id, error));
    if (root != text && c->eos_id < 0)
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
    if ((c->H + 2 * c->K) * c->h > INT32_MAX)
        FAIL(JSC_E_UNSUPPORTED, "%s: %" PRId64 " + 2 x %" PRId64 " heads of %" PRId64 " components are more than %d", path, c->H, c->K,
             c->h, INT32_MAX);
    if (!config_rotates(c)) {
        c->rotated = 0;
        goto done;
    }
    if (c->rotated == 0)
        c->rotated = (int64_t)((double)c->h * c->partial_rotary); /* cut off, as transformers does */
    const int64_t rotated = c->rotated;
    if (rotated < 2 || rotated % 2 != 0)
        FAIL(JSC_E_FORMAT, "%s: %" PRId64 " rotary components of a head of %" PRId64 ", an even number from 2 is wanted", path, rotated,
             c->h);
    if (c->scaling == ROPE_DYNAMIC && rotated == 2)
        FAIL(JSC_E_FORMAT, "%s: dynamic rotary scaling needs more than 2 rotary components", path);
    if (c->n_factors > 0 && c->n_factors != (size_t)rotated / 2)
        FAIL(JSC_E_FORMAT, "%s: %zu factors of rotary frequencies for %" PRId64 " pairs of components", path, c->n_factors, rotated / 2);
done:
    return status;
}

bool config_rotates(const struct config *c)
{
    for (int64_t l = 0; l < c->n_layers; l++)
        if (c->blocks[l] & BLOCK_ROTARY)
            return true;
    return false;
}

/* What is neutral in every family. */
void config_start(const struct config_rules *rules, bool gguf, struct config *out)
{
    *out = (struct config){.gguf = gguf,
                           .bos_id = -1,
                           .eos_id = -1,
                           .norm_eps = rules->norm_eps,
                           .layout = rules->layout,
                           .final_norm = true,
                           .norm_weights = true,
                           .embed_scale = 1.0,
                           .residual_scale = 1.0,
                           .logit_scale = 1.0,
                           .yarn_truncate = true,
                           .factor = 1.0,
                           .partial_rotary = rules->partial_rotary > 0.0 ? rules->partial_rotary : 1.0};
}

jsc_status config_from_json(const char *path, const json_t *root, const struct config_rules *rules, struct config *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const json_t *text = text_part(root);
    struct config c;
    config_start(rules, false, &c);
    TRY(config_family_json(path, root, c.family, sizeof c.family, error));
    TRY(quantised_refuse_config(path, root, error));
    TRY(read_sizes(path, text, rules, &c, error));
    TRY(read_head(path, root, text, rules, &c, error));
    TRY(config_options_json(path, text, rules, &c, error));
    TRY(config_blocks_json(path, text, rules, &c, error));
    TRY(config_rope_json(path, text, rules, &c, error));
    TRY(config_check(path, &c, error));
    *out = c;
    memset(&c, 0, sizeof c);
done:
    config_free(&c);
    return status;
}
