/* config_rope_gguf.c: rotary settings of GGUF metadata, and those that are tensors there. */
#include "files_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define POSITIVE_MIN 1e-6
#define POSITIVE_MAX 1e6

struct keys {
    const struct gguf *g;
    const struct config *c;
    char name[128]; /* the key built last */
};

static const char *key(struct keys *k, const char *tail)
{
    return config_key_gguf(k->c, tail, k->name);
}

static jsc_status attn_factor(struct keys *k, double *out, bool *present, jsc_error *error)
{
    jsc_status status = JSC_OK;
    TRY(gguf_get_double(k->g, key(k, "rope.scaling.attn_factor"), POSITIVE_MIN, POSITIVE_MAX, out, present, error));
    if (!*present)
        TRY(gguf_get_double(k->g, key(k, "rope.scaling.yarn_attn_factor"), POSITIVE_MIN, POSITIVE_MAX, out, present, error));
done:
    return status;
}

static jsc_status read_yarn(struct keys *k, struct config *c, jsc_error *error)
{
    jsc_status status = JSC_OK;
    double attn = 1.0, ext = 1.0;
    bool present = false;
    c->beta_fast = 32.0;
    c->beta_slow = 1.0;
    TRY(gguf_get_double(k->g, key(k, "rope.scaling.yarn_beta_fast"), POSITIVE_MIN, POSITIVE_MAX, &c->beta_fast, NULL, error));
    TRY(gguf_get_double(k->g, key(k, "rope.scaling.yarn_beta_slow"), POSITIVE_MIN, POSITIVE_MAX, &c->beta_slow, NULL, error));
    if (!(c->beta_fast > c->beta_slow))
        FAIL(JSC_E_FORMAT, "%s: yarn_beta_fast %g is not above yarn_beta_slow %g", k->g->path, c->beta_fast, c->beta_slow);
    TRY(gguf_get_double(k->g, key(k, "rope.scaling.yarn_ext_factor"), -1e6, 1e6, &ext, NULL, error));
    if (ext != 1.0 && !(ext < 0.0)) /* below 0: not set */
        FAIL(JSC_E_UNSUPPORTED, "%s: %s %g is not implemented, only 1", k->g->path, k->name, ext);
    if (gguf_find(k->g, key(k, "rope.scaling.yarn_log_multiplier")) != NULL)
        FAIL(JSC_E_UNSUPPORTED, "%s: %s is not implemented", k->g->path, k->name);
    TRY(attn_factor(k, &attn, &present, error));
    if (present) /* llama.cpp multiplies it with its own */
        c->attention_factor = attn * (0.1 * log(c->factor) + 1.0);
done:
    return status;
}

/* Type none | linear | yarn; absent: linear, with the factor that stands there or 1. */
static jsc_status read_scaling(struct keys *k, struct config *c, jsc_error *error)
{
    static const char *const names[] = {"none", "linear", "yarn", "longrope"};
    static const enum rope_scaling types[] = {ROPE_NONE, ROPE_LINEAR, ROPE_YARN, ROPE_LONGROPE};
    const size_t n_types = sizeof types / sizeof types[0];
    jsc_status status = JSC_OK;
    const char *type = "linear";
    size_t n = 6, i = 0;
    bool present = false;
    TRY(gguf_get_string(k->g, key(k, "rope.scaling.type"), &type, &n, NULL, error));
    while (i < n_types && (strlen(names[i]) != n || memcmp(names[i], type, n) != 0))
        i++;
    if (i == n_types)
        FAIL(JSC_E_UNSUPPORTED, "%s: %s \"%.*s\" is not implemented (only none, linear, yarn, longrope)", k->g->path, k->name,
             n < 60 ? (int)n : 60, type);
    c->scaling = types[i];
    TRY(gguf_get_double(k->g, key(k, "rope.scale_linear"), FACTOR_MIN, FACTOR_MAX, &c->factor, &present, error)); /* old name */
    TRY(gguf_get_double(k->g, key(k, "rope.scaling.factor"), 0.0, FACTOR_MAX, &c->factor, NULL, error));
    if (c->factor == 0.0) /* written by old converters for "none" */
        c->factor = 1.0;
    if (c->factor < FACTOR_MIN)
        FAIL(JSC_E_FORMAT, "%s: %s is %g, outside %g to %g", k->g->path, k->name, c->factor, FACTOR_MIN, FACTOR_MAX);
    if (c->scaling == ROPE_LINEAR && c->factor == 1.0)
        c->scaling = ROPE_NONE;
    c->original_max_position = (double)c->max_position;
    TRY(gguf_get_double(k->g, key(k, "rope.scaling.original_context_length"), 1.0, POSITION_MAX, &c->original_max_position, NULL, error));
    if (c->scaling == ROPE_YARN)
        TRY(read_yarn(k, c, error));
    if (c->scaling != ROPE_NONE)
        (void)snprintf(c->scaling_name, sizeof c->scaling_name, "%s", names[i]);
done:
    return status;
}

/* Divisors of the frequencies as a tensor [pairs]. */
static jsc_status read_divisors(const struct tensor *t, struct config *c, double **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    if (!t->known_type || t->rank != 1 || t->n_elements == 0 || t->n_elements > HEAD_MAX ||
        (c->n_factors > 0 && t->n_elements != c->n_factors))
        FAIL(JSC_E_FORMAT, "%s: tensor %s is not a list with a number for each pair of rotary components", t->file, t->name);
    TRY(mem_new(out, t->n_elements, error));
    dtype_row_f64(t->type, t->bytes, t->n_elements, *out);
    for (size_t i = 0; i < t->n_elements; i++)
        if (!isfinite((*out)[i]) || (*out)[i] <= 0.0)
            FAIL(JSC_E_FORMAT, "%s: tensor %s: element %zu is %g, a divisor of a rotary frequency is above 0", t->file, t->name, i,
                 (*out)[i]);
    c->n_factors = (size_t)t->n_elements;
done:
    return status;
}

/* Scalings that are tensors: Llama 3's, and Phi-3's two lists. */
static jsc_status read_factors(struct keys *k, struct config *c, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const struct tensor_set *set = k->g->tensors;
    const struct tensor *large = tensor_find(set, "rope_factors_long.weight"), *small = tensor_find(set, "rope_factors_short.weight"),
                        *freqs = tensor_find(set, "rope_freqs.weight");
    bool present = false;
    if ((large != NULL || small != NULL) && c->scaling == ROPE_NONE)
        c->scaling = ROPE_LONGROPE;
    if (c->scaling == ROPE_LONGROPE) {
        if (large == NULL || small == NULL)
            FAIL(JSC_E_FORMAT,
                 "%s: rotary scaling of type longrope needs the tensors rope_factors_long.weight and rope_factors_short.weight",
                 k->g->path);
        TRY(read_divisors(large, c, &c->long_factors, error));
        TRY(read_divisors(small, c, &c->short_factors, error));
        c->attention_factor = 1.0;
        TRY(attn_factor(k, &c->attention_factor, &present, error));
        (void)snprintf(c->scaling_name, sizeof c->scaling_name, "longrope");
        goto done;
    }
    if (freqs == NULL)
        goto done;
    if (c->scaling != ROPE_NONE)
        FAIL(JSC_E_UNSUPPORTED, "%s: rotary scaling of type %s together with rope_freqs.weight is not implemented", k->g->path,
             c->scaling_name);
    c->scaling = ROPE_FACTORS;
    (void)snprintf(c->scaling_name, sizeof c->scaling_name, "frequency factors (llama3)");
    TRY(read_divisors(freqs, c, &c->long_factors, error));
done:
    return status;
}

jsc_status config_rope_gguf(const struct gguf *gguf, const struct config_rules *rules, struct config *c, jsc_error *error)
{
    jsc_status status = JSC_OK;
    bool present = false;
    struct keys keys = {.g = gguf, .c = c}, *k = &keys;
    if (!config_rotates(c))
        goto done;
    c->rope_theta = rules->rope_theta;
    c->local_theta = rules->local_theta;
    TRY(gguf_get_double(gguf, key(k, "rope.freq_base"), THETA_MIN, THETA_MAX, &c->rope_theta, NULL, error));
    if (rules->traits & TRAIT_LOCAL_ROPE)
        TRY(gguf_get_double(gguf, key(k, "rope.freq_base_swa"), THETA_MIN, THETA_MAX, &c->local_theta, NULL, error));
    TRY(gguf_get_int(gguf, key(k, "rope.dimension_count"), 1, HEAD_MAX, &c->rotated, &present, error));
    if (present && strcmp(c->family, "llama") == 0 && c->rotated != c->h)
        FAIL(JSC_E_FORMAT, "%s: %s is %" PRId64 ", the head size is %" PRId64 ": they must be equal", gguf->path, k->name, c->rotated,
             c->h);
    if (present && c->rotated > c->h)
        FAIL(JSC_E_FORMAT, "%s: %s is %" PRId64 ", more than the head size %" PRId64, gguf->path, k->name, c->rotated, c->h);
    c->partial_rotary = 1.0; /* where the file does not count them */
    TRY(read_scaling(k, c, error));
    TRY(read_factors(k, c, error));
done:
    return status;
}
