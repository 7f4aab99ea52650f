/* config_options.c: switches and factors of a family: biases, norms, layout of a block, multipliers, soft-caps. */
#include "files_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define SCALE_MIN 1e-6
#define SCALE_MAX 1e6

static jsc_status read_flag(const char *path, const json_t *root, struct config_flag flag, bool *out, jsc_error *error)
{
    *out = flag.absent;
    return flag.key == NULL ? JSC_OK : json_get_bool(path, root, flag.key, out, NULL, error);
}

static jsc_status read_flags(const char *path, const json_t *root, const struct config_rules *rules, struct config *c, jsc_error *error)
{
    jsc_status status = JSC_OK;
    bool first = true, plain = false;
    TRY(read_flag(path, root, rules->qkv_bias, &c->qkv_bias, error));
    TRY(read_flag(path, root, rules->o_bias, &c->o_bias, error));
    TRY(read_flag(path, root, rules->mlp_bias, &c->mlp_bias, error));
    TRY(read_flag(path, root, rules->qk_norm, &c->qk_norm, error));
    if (rules->layout_flag.key != NULL)
        TRY(read_flag(path, root, rules->layout_flag, &first, error));
    c->layout = first ? rules->layout : rules->layout_off;
    if (rules->traits & TRAIT_FINAL_NORM) {
        TRY(json_get_bool(path, root, "_remove_final_layer_norm", &plain, NULL, error));
        c->final_norm = !plain && c->layout != LAYOUT_POST_SUM;
        TRY(json_get_bool(path, root, "layer_norm_elementwise_affine", &c->norm_weights, NULL, error));
    }
    plain = false;
    TRY(json_get_bool(path, root, "use_bidirectional_attention", &plain, NULL, error));
    if (plain)
        FAIL(JSC_E_UNSUPPORTED, "%s: use_bidirectional_attention is not implemented: only models that look back predict a next token",
             path);
done:
    return status;
}

/* A soft-cap: null or absent as the family says; one that is not above 0 would silently switch itself off. */
static jsc_status read_cap(const char *path, const json_t *root, const char *key, double absent, double *out, jsc_error *error)
{
    const json_t *value = json_object_get(root, key);
    *out = value != NULL && json_is_null(value) ? 0.0 : absent;
    return json_get_double(path, root, key, SCALE_MIN, SCALE_MAX, out, NULL, error);
}

static jsc_status read_attention_scale(const char *path, const json_t *root, const struct config_rules *rules, struct config *c,
                                       jsc_error *error)
{
    jsc_status status = JSC_OK;
    double scalar = rules->query_scalar;
    bool scaled = true;
    if (rules->traits & TRAIT_QUERY_SCALAR) {
        TRY(json_get_double(path, root, "query_pre_attn_scalar", SCALE_MIN, SCALE_MAX, &scalar, NULL, error));
        c->attn_scale = 1.0 / sqrt(scalar);
    }
    if (rules->traits & TRAIT_ATTN_OPTIONS) {
        TRY(json_get_bool(path, root, "scale_attn_weights", &scaled, NULL, error));
        if (!scaled)
            c->attn_scale = 1.0;
        TRY(json_get_bool(path, root, "scale_attn_by_inverse_layer_idx", &c->scale_by_block, NULL, error));
    }
    if (rules->traits & TRAIT_MULTIPLIERS) {
        c->attn_scale = 1.0;
        TRY(json_get_double(path, root, "attention_multiplier", SCALE_MIN, SCALE_MAX, &c->attn_scale, NULL, error));
    }
done:
    return status;
}

static jsc_status read_scales(const char *path, const json_t *root, const struct config_rules *rules, struct config *c, jsc_error *error)
{
    jsc_status status = JSC_OK;
    double divisor = 1.0;
    TRY(read_attention_scale(path, root, rules, c, error));
    if (rules->traits & TRAIT_EMBED_ROOT)
        c->embed_scale = sqrt((double)c->d);
    if (rules->traits & TRAIT_CAPS) {
        TRY(read_cap(path, root, "attn_logit_softcapping", rules->attn_cap, &c->attn_cap, error));
        TRY(read_cap(path, root, "final_logit_softcapping", rules->final_cap, &c->final_cap, error));
    }
    if (rules->traits & TRAIT_MULTIPLIERS) {
        TRY(json_get_double(path, root, "embedding_multiplier", SCALE_MIN, SCALE_MAX, &c->embed_scale, NULL, error));
        TRY(json_get_double(path, root, "residual_multiplier", SCALE_MIN, SCALE_MAX, &c->residual_scale, NULL, error));
        TRY(json_get_double(path, root, "logits_scaling", SCALE_MIN, SCALE_MAX, &divisor, NULL, error));
        c->logit_scale = 1.0 / divisor;
    }
    if (rules->traits & TRAIT_LOGIT_SCALE) {
        c->logit_scale = rules->logit_scale;
        TRY(json_get_double(path, root, "logit_scale", SCALE_MIN, SCALE_MAX, &c->logit_scale, NULL, error));
    }
done:
    return status;
}

jsc_status config_options_json(const char *path, const json_t *root, const struct config_rules *rules, struct config *c, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const char *eps = rules->eps_key != NULL ? rules->eps_key : "rms_norm_eps";
    if (eps[0] != '\0')
        TRY(json_get_double(path, root, eps, EPS_MIN, EPS_MAX, &c->norm_eps, NULL, error));
    TRY(read_flags(path, root, rules, c, error));
    TRY(read_scales(path, root, rules, c, error));
done:
    return status;
}

/* ---- GGUF ------------------------------------------------------------------------------------------------------------------ */

const char *config_key_gguf(const struct config *c, const char *tail, char *buffer)
{
    (void)snprintf(buffer, 128, "%s.%s", c->family, tail);
    return buffer;
}

static jsc_status scale(const struct gguf *g, const struct config *c, const char *tail, double *out, bool *present, jsc_error *error)
{
    char key[128];
    return gguf_get_double(g, config_key_gguf(c, tail, key), SCALE_MIN, SCALE_MAX, out, present, error);
}

/* Files name no query_pre_attn_scalar: it is the head size, but for the largest Gemma 2 and 3, where it is d / H (as llama.cpp has it). */
static double query_scalar(const struct config *c)
{
    const bool largest = (strcmp(c->family, "gemma2") == 0 && c->n_layers == 46) || (strcmp(c->family, "gemma3") == 0 && c->n_layers == 62);
    return largest ? (double)c->d / (double)c->H : (double)c->h;
}

static jsc_status gguf_scales(const struct gguf *g, const struct config_rules *rules, struct config *c, jsc_error *error)
{
    jsc_status status = JSC_OK;
    double divisor = 1.0;
    if (rules->traits & TRAIT_EMBED_ROOT)
        c->embed_scale = sqrt((double)c->d);
    if ((rules->traits & TRAIT_QUERY_SCALAR) && c->h > 0)
        c->attn_scale = 1.0 / sqrt(query_scalar(c));
    if (rules->traits & (TRAIT_MULTIPLIERS | TRAIT_QUERY_SCALAR))
        TRY(scale(g, c, "attention.scale", &c->attn_scale, NULL, error));
    if (rules->traits & TRAIT_CAPS) {
        c->attn_cap = rules->attn_cap, c->final_cap = rules->final_cap;
        TRY(scale(g, c, "attn_logit_softcapping", &c->attn_cap, NULL, error));
        TRY(scale(g, c, "final_logit_softcapping", &c->final_cap, NULL, error));
    }
    if (rules->traits & TRAIT_MULTIPLIERS) {
        TRY(scale(g, c, "embedding_scale", &c->embed_scale, NULL, error));
        TRY(scale(g, c, "residual_scale", &c->residual_scale, NULL, error));
        TRY(scale(g, c, "logit_scale", &divisor, NULL, error));
        c->logit_scale = 1.0 / divisor;
    }
    if (rules->traits & TRAIT_LOGIT_SCALE) {
        c->logit_scale = rules->logit_scale;
        TRY(scale(g, c, "logit_scale", &c->logit_scale, NULL, error));
    }
done:
    return status;
}

jsc_status config_options_gguf(const struct gguf *g, const struct config_rules *rules, struct config *c, jsc_error *error)
{
    jsc_status status = JSC_OK;
    char key[128];
    const char *eps = rules->eps_gguf != NULL ? rules->eps_gguf : "attention.layer_norm_rms_epsilon";
    bool first = rules->layout_flag.absent;
    TRY(gguf_get_double(g, config_key_gguf(c, eps, key), EPS_MIN, EPS_MAX, &c->norm_eps, NULL, error));
    TRY(gguf_get_bool(g, config_key_gguf(c, "use_parallel_residual", key), &first, NULL, error));
    if (rules->layout_flag.key != NULL)
        c->layout = first ? rules->layout : rules->layout_off;
    c->qk_norm = tensor_find(g->tensors, "blk.0.attn_q_norm.weight") != NULL; /* no key says so */
    TRY(gguf_scales(g, rules, c, error));
done:
    return status;
}
