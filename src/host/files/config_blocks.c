/* config_blocks.c: which blocks attend through a window, rotate queries and keys, or have a rotary table of their own. */
#include "files_internal.h"

#include <string.h>

/* ---- config.json ----------------------------------------------------------------------------------------------------------- */

/* The window itself; 0 if it is absent, null or switched off. */
static jsc_status read_window(const char *path, const json_t *root, const struct config_rules *rules, struct config *c, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const json_t *value = json_object_get(root, "sliding_window");
    bool on = true;
    c->window = value != NULL && json_is_null(value) ? 0 : rules->absent_window;
    TRY(json_get_int(path, root, "sliding_window", 1, POSITION_MAX, &c->window, NULL, error));
    if (rules->window == WINDOW_UPPER || rules->window == WINDOW_NOPE) {
        on = false;
        TRY(json_get_bool(path, root, "use_sliding_window", &on, NULL, error));
    }
    if (rules->window == WINDOW_IGNORED && c->window > 0)
        TRY(config_warn(c, error, "%s: sliding_window %" PRId64 " has no effect in a model of type %s", path, c->window, c->family));
    if (!on || rules->window == WINDOW_IGNORED)
        c->window = 0;
done:
    return status;
}

/* layer_types: a list with the kind of every block. */
static jsc_status read_types(const char *path, const json_t *list, struct config *c, jsc_error *error)
{
    if (!json_is_array(list) || json_array_size(list) != (size_t)c->n_layers)
        return status_set(error, JSC_E_FORMAT, "%s: layer_types is not a list of %" PRId64 " names, one for each block", path, c->n_layers);
    for (int64_t l = 0; l < c->n_layers; l++) {
        const char *type = json_string_value(json_array_get(list, (size_t)l));
        if (type != NULL && strcmp(type, "sliding_attention") == 0)
            c->blocks[l] |= BLOCK_WINDOW;
        else if (type == NULL || strcmp(type, "full_attention") != 0)
            return status_set(error, JSC_E_UNSUPPORTED,
                              "%s: layer_types: block %" PRId64 " is \"%.40s\" (full_attention and sliding_attention are implemented)",
                              path, l, type != NULL ? type : "no text");
    }
    return JSC_OK;
}

static void set_windows(enum window_rule rule, int64_t number, struct config *c)
{
    for (int64_t l = 0; l < c->n_layers; l++) {
        const bool on = rule == WINDOW_ALL || (rule == WINDOW_UPPER && l >= number) || (rule == WINDOW_EVEN && l % 2 == 0) ||
                        (rule == WINDOW_PATTERN && (l + 1) % number != 0) || (rule == WINDOW_NOPE && !(c->blocks[l] & BLOCK_ROTARY));
        if (on)
            c->blocks[l] |= BLOCK_WINDOW;
    }
}

/* no_rope_layers: 1 for a block with rotary embeddings, 0 for one without. */
static jsc_status read_nope(const char *path, const json_t *root, struct config *c, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const json_t *list = json_object_get(root, "no_rope_layers");
    int64_t interval = 4;
    TRY(json_get_int(path, root, "no_rope_layer_interval", 1, LAYERS_MAX, &interval, NULL, error));
    if (list != NULL && !json_is_null(list) && (!json_is_array(list) || json_array_size(list) != (size_t)c->n_layers))
        FAIL(JSC_E_FORMAT, "%s: no_rope_layers is not a list of %" PRId64 " numbers, one for each block", path, c->n_layers);
    for (int64_t l = 0; l < c->n_layers; l++) {
        bool rotary = (l + 1) % interval != 0;
        if (json_is_array(list)) {
            const json_t *value = json_array_get(list, (size_t)l);
            if (!json_is_integer(value) || json_integer_value(value) < 0 || json_integer_value(value) > 1)
                FAIL(JSC_E_FORMAT, "%s: no_rope_layers: the entry of block %" PRId64 " is neither 0 nor 1", path, l);
            rotary = json_integer_value(value) == 1;
        }
        if (rotary)
            c->blocks[l] |= BLOCK_ROTARY;
    }
done:
    return status;
}

static void set_rotary(const struct config_rules *rules, struct config *c)
{
    if (!(rules->traits & TRAIT_NO_ROTARY))
        for (int64_t l = 0; l < c->n_layers; l++)
            c->blocks[l] |= BLOCK_ROTARY;
}

/* A window that no block has is none; blocks with one may have their own table. */
static void finish(const struct config_rules *rules, struct config *c)
{
    bool any = false;
    for (int64_t l = 0; l < c->n_layers; l++) {
        any = any || (c->blocks[l] & BLOCK_WINDOW);
        if ((rules->traits & TRAIT_LOCAL_ROPE) && (c->blocks[l] & BLOCK_WINDOW))
            c->blocks[l] |= BLOCK_LOCAL_ROPE;
        if (c->window == 0)
            c->blocks[l] &= (unsigned char)~BLOCK_WINDOW;
    }
    if (!any)
        c->window = 0;
}

jsc_status config_blocks_json(const char *path, const json_t *root, const struct config_rules *rules, struct config *c, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const json_t *types = json_object_get(root, "layer_types");
    int64_t number = rules->window == WINDOW_PATTERN ? 6 : 28;
    if (rules->traits & TRAIT_NOPE)
        TRY(read_nope(path, root, c, error));
    else
        set_rotary(rules, c);
    TRY(read_window(path, root, rules, c, error));
    if (rules->window == WINDOW_UPPER)
        TRY(json_get_int(path, root, "max_window_layers", 0, LAYERS_MAX, &number, NULL, error));
    if (rules->window == WINDOW_PATTERN)
        TRY(json_get_int(path, root, "sliding_window_pattern", 1, LAYERS_MAX, &number, NULL, error));
    if (types != NULL && !json_is_null(types))
        TRY(read_types(path, types, c, error));
    else
        set_windows(rules->window, number, c);
    finish(rules, c);
done:
    return status;
}

/* ---- GGUF ------------------------------------------------------------------------------------------------------------------ */

/* A period, or a list that says of every block whether it has the window. */
static jsc_status read_pattern(const struct gguf *g, struct config *c, jsc_error *error)
{
    jsc_status status = JSC_OK;
    char key[128];
    const struct gguf_value *v = gguf_find(g, config_key_gguf(c, "attention.sliding_window_pattern", key));
    int64_t period = 6;
    if (v == NULL || v->type != GGUF_ARRAY) {
        TRY(gguf_get_int(g, key, 1, LAYERS_MAX, &period, NULL, error));
        set_windows(WINDOW_PATTERN, period, c);
        goto done;
    }
    if (v->element != GGUF_BOOL || v->count != (uint64_t)c->n_layers)
        FAIL(JSC_E_FORMAT, "%s: %s is not a list of %" PRId64 " truth values, one for each block", g->path, key, c->n_layers);
    for (int64_t l = 0; l < c->n_layers; l++)
        if (v->bytes[l] != 0)
            c->blocks[l] |= BLOCK_WINDOW;
done:
    return status;
}

jsc_status config_blocks_gguf(const struct gguf *g, const struct config_rules *rules, struct config *c, jsc_error *error)
{
    jsc_status status = JSC_OK;
    char key[128];
    const bool known = rules->window == WINDOW_ALL || rules->window == WINDOW_EVEN || rules->window == WINDOW_PATTERN;
    set_rotary(rules, c);
    if (rules->traits & TRAIT_NOPE) /* no key says so: every fourth block */
        for (int64_t l = 3; l < c->n_layers; l += 4)
            c->blocks[l] &= (unsigned char)~BLOCK_ROTARY;
    c->window = rules->window == WINDOW_EVEN || rules->window == WINDOW_PATTERN ? rules->absent_window : 0;
    TRY(gguf_get_int(g, config_key_gguf(c, "attention.sliding_window", key), 0, POSITION_MAX, &c->window, NULL, error));
    if (!known && c->window > 0) {
        TRY(config_warn(c, error, "%s: %s %" PRId64 " has no effect in a model of this architecture", g->path, key, c->window));
        c->window = 0;
    }
    if (rules->window == WINDOW_PATTERN)
        TRY(read_pattern(g, c, error));
    else if (known)
        set_windows(rules->window, 0, c);
    finish(rules, c);
done:
    return status;
}
