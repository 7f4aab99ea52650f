/* config_rope.c: rotary settings of config.json: rope_parameters (new), rope_theta and rope_scaling (old), all spellings. */
#include "files_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define POSITIVE_MIN 1e-6
#define POSITIVE_MAX 1e6

struct rope {
    const char *path;
    const json_t *root, *dict; /* dict: rope_scaling or rope_parameters; NULL: neither */
    const char *name;          /* which */
    char where[320];           /* "FILE: rope_scaling", for messages about its fields */
    struct config *c;
};

static const struct {
    const char *name;
    enum rope_scaling scaling;
} types[] = {
    {"default", ROPE_NONE},    {"linear", ROPE_LINEAR},     {"llama3", ROPE_LLAMA3}, {"yarn", ROPE_YARN},
    {"dynamic", ROPE_DYNAMIC}, {"longrope", ROPE_LONGROPE}, {"su", ROPE_LONGROPE},
};

/* A non-empty object under key, or NULL. */
static jsc_status get_dict(const char *path, const json_t *root, const char *key, const json_t **out, jsc_error *error)
{
    const json_t *value = json_object_get(root, key);
    *out = NULL;
    if (value == NULL || json_is_null(value))
        return JSC_OK;
    if (!json_is_object(value))
        return status_set(error, JSC_E_FORMAT, "%s: %s is not an object", path, key);
    if (json_object_size(value) > 0)
        *out = value;
    return JSC_OK;
}

static jsc_status find_dict(struct rope *r, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const json_t *parameters = NULL, *scaling = NULL;
    TRY(get_dict(r->path, r->root, "rope_parameters", &parameters, error));
    TRY(get_dict(r->path, r->root, "rope_scaling", &scaling, error));
    if (parameters != NULL && scaling != NULL)
        TRY(config_warn(r->c, error, "%s: has both rope_scaling and rope_parameters: rope_scaling is used, as transformers does", r->path));
    r->dict = scaling != NULL ? scaling : parameters;
    r->name = scaling != NULL ? "rope_scaling" : "rope_parameters";
    (void)snprintf(r->where, sizeof r->where, "%.280s: %s", r->path, r->name);
done:
    return status;
}

/* The winner's rope_theta, else the top-level one, else the family's. */
static jsc_status read_theta(struct rope *r, double absent, jsc_error *error)
{
    jsc_status status = JSC_OK;
    bool inside = false, outside = false;
    double top = absent;
    TRY(json_get_double(r->path, r->root, "rope_theta", THETA_MIN, THETA_MAX, &top, &outside, error));
    if (!outside) /* GPT-NeoX's word */
        TRY(json_get_double(r->path, r->root, "rotary_emb_base", THETA_MIN, THETA_MAX, &top, &outside, error));
    r->c->rope_theta = top;
    if (r->dict == NULL)
        goto done;
    TRY(json_get_double(r->where, r->dict, "rope_theta", THETA_MIN, THETA_MAX, &r->c->rope_theta, &inside, error));
    if (inside && outside && r->c->rope_theta != top)
        TRY(config_warn(r->c, error, "%s: rope_theta is %g at the top and %g in %s: the latter is used", r->path, top, r->c->rope_theta,
                        r->name));
done:
    return status;
}

/* rope_type, older files type. */
static jsc_status read_type(struct rope *r, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const char *type = NULL;
    struct config *c = r->c;
    TRY(json_get_string(r->where, r->dict, "type", &type, NULL, error));
    TRY(json_get_string(r->where, r->dict, "rope_type", &type, NULL, error));
    if (type == NULL) {
        if (json_object_get(r->dict, "factor") != NULL)
            FAIL(JSC_E_FORMAT, "%s: has a factor but no rope_type", r->where);
        type = "default";
    }
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strcmp(types[i].name, type) == 0) {
            /* early Phi-3 files say "yarn" and mean longrope: the lists of factors tell */
            const bool lists = types[i].scaling == ROPE_YARN && json_is_array(json_object_get(r->dict, "long_factor"));
            c->scaling = lists ? ROPE_LONGROPE : types[i].scaling;
            (void)snprintf(c->scaling_name, sizeof c->scaling_name, "%s", c->scaling == ROPE_LONGROPE ? "longrope" : type);
            goto done;
        }
    FAIL(JSC_E_UNSUPPORTED,
         "%s: rotary scaling of type \"%.60s\" is not implemented (only default, linear, llama3, yarn, dynamic, longrope)", r->where, type);
done:
    return status;
}

static jsc_status read_positive(struct rope *r, const char *key, double *out, bool *present, jsc_error *error)
{
    return json_get_double(r->where, r->dict, key, POSITIVE_MIN, POSITIVE_MAX, out, present, error);
}

static jsc_status require(const struct rope *r, bool present, const char *key, jsc_error *error)
{
    if (present)
        return JSC_OK;
    return status_set(error, JSC_E_FORMAT, "%s: %s is absent, rotary scaling of type %s needs it", r->where, key, r->c->scaling_name);
}

static jsc_status read_llama3(struct rope *r, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct config *c = r->c;
    bool present = false;
    TRY(read_positive(r, "low_freq_factor", &c->low_freq_factor, &present, error));
    TRY(require(r, present, "low_freq_factor", error));
    TRY(read_positive(r, "high_freq_factor", &c->high_freq_factor, &present, error));
    TRY(require(r, present, "high_freq_factor", error));
    if (!(c->high_freq_factor > c->low_freq_factor))
        FAIL(JSC_E_FORMAT, "%s: high_freq_factor %g is not above low_freq_factor %g", r->where, c->high_freq_factor, c->low_freq_factor);
done:
    return status;
}

static double mscale(double factor, double m)
{
    return factor <= 1.0 ? 1.0 : 0.1 * m * log(factor) + 1.0;
}

/* attention_factor as given; else the ratio of both mscales; else 0, which stands for 0.1 ln factor + 1. */
static jsc_status read_yarn(struct rope *r, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct config *c = r->c;
    double m = 0.0, all = 0.0;
    bool present = false;
    c->beta_fast = 32.0;
    c->beta_slow = 1.0;
    TRY(read_positive(r, "beta_fast", &c->beta_fast, NULL, error));
    TRY(read_positive(r, "beta_slow", &c->beta_slow, NULL, error));
    if (!(c->beta_fast > c->beta_slow))
        FAIL(JSC_E_FORMAT, "%s: beta_fast %g is not above beta_slow %g", r->where, c->beta_fast, c->beta_slow);
    TRY(json_get_bool(r->where, r->dict, "truncate", &c->yarn_truncate, NULL, error));
    TRY(json_get_double(r->where, r->dict, "mscale", 0.0, POSITIVE_MAX, &m, NULL, error));
    TRY(json_get_double(r->where, r->dict, "mscale_all_dim", 0.0, POSITIVE_MAX, &all, NULL, error));
    TRY(read_positive(r, "attention_factor", &c->attention_factor, &present, error));
    if (!present && m > 0.0 && all > 0.0)
        c->attention_factor = mscale(c->factor, m) / mscale(c->factor, all);
done:
    return status;
}

/* A list of divisors, one for each pair of components. */
static jsc_status read_factors(struct rope *r, const char *key, double **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const json_t *list = json_object_get(r->dict, key);
    const size_t n = json_array_size(list);
    if (n == 0 || n > HEAD_MAX || (r->c->n_factors > 0 && n != r->c->n_factors))
        FAIL(JSC_E_FORMAT, "%s: %s is not a list with a number for each pair of rotary components", r->where, key);
    TRY(mem_new(out, n, error));
    for (size_t i = 0; i < n; i++) {
        (*out)[i] = json_number_value(json_array_get(list, i));
        if (!((*out)[i] >= POSITIVE_MIN && (*out)[i] <= POSITIVE_MAX))
            FAIL(JSC_E_FORMAT, "%s: %s: entry %zu is not a number from %g to %g", r->where, key, i, POSITIVE_MIN, POSITIVE_MAX);
    }
    r->c->n_factors = n;
done:
    return status;
}

/* One list for prompts up to the original context, one beyond; cos and sin times attention_factor, else sqrt(1 + ln F / ln original). */
static jsc_status read_longrope(struct rope *r, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct config *c = r->c;
    bool present = false;
    TRY(read_factors(r, "short_factor", &c->short_factors, error));
    TRY(read_factors(r, "long_factor", &c->long_factors, error));
    TRY(read_positive(r, "attention_factor", &c->attention_factor, &present, error));
    TRY(json_get_double(r->where, r->dict, "factor", FACTOR_MIN, FACTOR_MAX, &c->factor, &present, error));
    if (!present)
        c->factor = (double)c->max_position / c->original_max_position;
done:
    return status;
}

/* Fields that no type has: a detail that jscopes does not know must not vanish silently, and one that changes the rotation is refused. */
static jsc_status check_unknown(struct rope *r, jsc_error *error)
{
    static const char *const known[] = {"rope_theta",
                                        "rope_type",
                                        "type",
                                        "factor",
                                        "original_max_position_embeddings",
                                        "attention_factor",
                                        "beta_fast",
                                        "beta_slow",
                                        "mscale",
                                        "mscale_all_dim",
                                        "truncate",
                                        "low_freq_factor",
                                        "high_freq_factor",
                                        "partial_rotary_factor",
                                        "short_factor",
                                        "long_factor",
                                        "short_mscale",
                                        "long_mscale"};
    jsc_status status = JSC_OK;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)r->dict, key, value)
    {
        size_t i = 0;
        while (i < sizeof known / sizeof known[0] && strcmp(key, known[i]) != 0)
            i++;
        if (strcmp(key, "mrope_section") == 0 && !json_is_null(value))
            FAIL(JSC_E_UNSUPPORTED, "%s: mrope_section (positions in pictures) is not implemented: give a checkpoint that reads text only",
                 r->where);
        if (json_is_object(value))
            FAIL(JSC_E_UNSUPPORTED, "%s: settings by kind of layer (%.60s) are not implemented for model_type %s", r->where, key,
                 r->c->family);
        if (i == sizeof known / sizeof known[0])
            TRY(config_warn(r->c, error, "%s: %.60s is not known and has no effect", r->where, key));
    }
done:
    return status;
}

/* Everything that a scaling type needs besides its name. */
static jsc_status read_scaling(struct rope *r, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct config *c = r->c;
    bool present = false;
    if (c->scaling == ROPE_NONE)
        goto done;
    /* what was trained on: top level (Phi-3 writes it there), else inside, else the whole context */
    c->original_max_position = (double)c->max_position;
    TRY(json_get_double(r->where, r->dict, "original_max_position_embeddings", 1.0, POSITION_MAX, &c->original_max_position, NULL, error));
    TRY(json_get_double(r->path, r->root, "original_max_position_embeddings", 1.0, POSITION_MAX, &c->original_max_position, NULL, error));
    if (c->scaling == ROPE_LONGROPE)
        return read_longrope(r, error);
    TRY(json_get_double(r->where, r->dict, "factor", FACTOR_MIN, FACTOR_MAX, &c->factor, &present, error));
    if (!present && c->scaling == ROPE_YARN) {
        c->factor = (double)c->max_position / c->original_max_position;
        present = c->factor >= FACTOR_MIN;
    }
    TRY(require(r, present, "factor", error));
    if (c->scaling == ROPE_LLAMA3)
        TRY(read_llama3(r, error));
    else if (c->scaling == ROPE_YARN)
        TRY(read_yarn(r, error));
done:
    return status;
}

/* Gemma 3 nests: rope_parameters.full_attention and .sliding_attention; older files have rope_local_base_freq beside the usual fields. */
static jsc_status read_local(struct rope *r, const struct config_rules *rules, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const json_t *full = NULL, *local = NULL;
    const char *type = NULL;
    r->c->local_theta = rules->local_theta;
    TRY(json_get_double(r->path, r->root, "rope_local_base_freq", THETA_MIN, THETA_MAX, &r->c->local_theta, NULL, error));
    if (r->dict == NULL)
        goto done;
    TRY(get_dict(r->where, r->dict, "full_attention", &full, error));
    TRY(get_dict(r->where, r->dict, "sliding_attention", &local, error));
    if (full == NULL && local == NULL)
        goto done;
    if (local != NULL) {
        TRY(json_get_double(r->where, local, "rope_theta", THETA_MIN, THETA_MAX, &r->c->local_theta, NULL, error));
        TRY(json_get_string(r->where, local, "rope_type", &type, NULL, error));
        if (type != NULL && strcmp(type, "default") != 0)
            FAIL(JSC_E_UNSUPPORTED, "%s: sliding_attention: rotary scaling of type \"%.60s\" is not implemented there (only default)",
                 r->where, type);
    }
    r->dict = full;
done:
    return status;
}

jsc_status config_rope_json(const char *path, const json_t *root, const struct config_rules *rules, struct config *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct rope r = {.path = path, .root = root, .c = out};
    out->scaling = ROPE_NONE;
    if (!config_rotates(out))
        goto done;
    TRY(find_dict(&r, error));
    if (rules->traits & TRAIT_LOCAL_ROPE)
        TRY(read_local(&r, rules, error));
    TRY(json_get_double(path, root, "partial_rotary_factor", POSITIVE_MIN, 1.0, &out->partial_rotary, NULL, error));
    TRY(json_get_double(path, root, "rotary_pct", POSITIVE_MIN, 1.0, &out->partial_rotary, NULL, error)); /* GPT-NeoX's word */
    if (r.dict != NULL) {
        TRY(check_unknown(&r, error));
        TRY(json_get_double(r.where, r.dict, "partial_rotary_factor", POSITIVE_MIN, 1.0, &out->partial_rotary, NULL, error));
    }
    TRY(read_theta(&r, rules->rope_theta, error));
    if (r.dict != NULL) {
        TRY(read_type(&r, error));
        TRY(read_scaling(&r, error));
    }
done:
    return status;
}
