/* family_describe.c: the traits of a family, and those that were found in a model, in words. */
#include "model_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Appends a phrase to a list, after "; " if it is not the first. */
static void add(char *out, size_t capacity, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void add(char *out, size_t capacity, const char *format, ...)
{
    size_t n = strlen(out);
    va_list arguments;
    if (n > 0)
        n += (size_t)snprintf(out + n, capacity - n, "; ");
    va_start(arguments, format);
    if (n < capacity)
        (void)vsnprintf(out + n, capacity - n, format, arguments);
    va_end(arguments);
}

static const char *norm_words(const struct family *f)
{
    if (f->norm == NORM_RMS)
        return f->norm_offset != 0.0 ? "RMSNorm (1 + w)" : "RMSNorm";
    return f->norm_bias ? "LayerNorm" : "LayerNorm without bias";
}

static const char *layout_words(enum layout layout)
{
    static const char *const words[] = {[LAYOUT_SEQUENTIAL] = "before each half",
                                        [LAYOUT_PARALLEL] = "parallel halves",
                                        [LAYOUT_PARALLEL_ONE] = "parallel halves, one norm",
                                        [LAYOUT_POST_BRANCH] = "behind each half",
                                        [LAYOUT_SANDWICH] = "before and behind each half",
                                        [LAYOUT_POST_SUM] = "of each sum"};
    return words[layout];
}

static const char *qk_words(enum qk_norm_shape shape)
{
    static const char *const words[] = {
        [QK_SHARED] = "q, k normed per head", [QK_OWN] = "q, k normed per head, own weights", [QK_WHOLE] = "q, k normed over all heads"};
    return words[shape];
}

static const char *window_words(enum window_rule rule)
{
    static const char *const words[] = {[WINDOW_IGNORED] = NULL,
                                        [WINDOW_ALL] = "window",
                                        [WINDOW_UPPER] = "window in upper blocks",
                                        [WINDOW_EVEN] = "window in every other block",
                                        [WINDOW_PATTERN] = "window in 5 of 6 blocks",
                                        [WINDOW_NOPE] = "window in blocks without rotary"};
    return words[rule];
}

static void describe_positions(const struct family *f, char *out, size_t capacity)
{
    const struct config_rules *r = &f->rules;
    if (r->traits & TRAIT_NO_ROTARY) {
        add(out, capacity, "learned");
        return;
    }
    add(out, capacity, f->rope == ROPE_INTERLEAVED ? "rotary, interleaved" : "rotary");
    if (r->partial_rotary > 0.0)
        add(out, capacity, "%g of a head", r->partial_rotary);
    if (r->traits & TRAIT_NOPE)
        add(out, capacity, "none in every 4th block");
    if (r->traits & TRAIT_LOCAL_ROPE)
        add(out, capacity, "own table where a window is");
}

static void describe_attention(const struct family *f, char *out, size_t capacity)
{
    const struct config_rules *r = &f->rules;
    if (window_words(r->window) != NULL)
        add(out, capacity, "%s", window_words(r->window));
    if (r->qk_norm.key != NULL || r->qk_norm.absent)
        add(out, capacity, "%s%s", qk_words(f->qk_norm), r->qk_norm.key != NULL ? " (optional)" : "");
    if (r->attn_cap > 0.0)
        add(out, capacity, "soft-cap");
    if (r->qkv_bias.key == NULL && r->qkv_bias.absent)
        add(out, capacity, r->o_bias.absent ? "biases" : "biases of q, k, v");
    else if (r->qkv_bias.key != NULL)
        add(out, capacity, "optional biases");
    if (f->hf.qkv != NULL)
        add(out, capacity, "fused qkv");
    if (out[0] == '\0')
        add(out, capacity, "plain");
}

static void describe_rest(const struct family *f, char *out, size_t capacity)
{
    const struct config_rules *r = &f->rules;
    if (r->traits & TRAIT_EMBED_ROOT)
        add(out, capacity, "embedding x sqrt(d)");
    if (r->traits & TRAIT_MULTIPLIERS)
        add(out, capacity, "multipliers");
    if (r->traits & TRAIT_LOGIT_SCALE)
        add(out, capacity, "logit scale");
    if (r->final_cap > 0.0)
        add(out, capacity, "logit soft-cap");
    if (r->traits & TRAIT_EMBED_WIDTH)
        add(out, capacity, "narrow embedding");
    if (f->head_bias)
        add(out, capacity, "head bias");
}

size_t jsc_family_count(void)
{
    return family_count();
}

jsc_status jsc_family_describe(size_t i, jsc_family_info *info, jsc_error *error)
{
    const struct family *f = family_at(i);
    if (info == NULL || info->size != sizeof *info || f == NULL)
        return status_set(error, JSC_E_ARGUMENT,
                          "jsc_family_describe: family %zu of %zu, or info is NULL or does not begin with JSC_FAMILY_INFO_INIT", i,
                          family_count());
    *info = (jsc_family_info){.size = sizeof *info, .name = f->name, .gguf_name = f->gguf_name, .models = f->models};
    add(info->norms, sizeof info->norms, "%s %s", norm_words(f), layout_words(f->rules.layout));
    if (f->rules.layout_flag.key != NULL)
        add(info->norms, sizeof info->norms, "or %s", layout_words(f->rules.layout_off));
    describe_positions(f, info->positions, sizeof info->positions);
    describe_attention(f, info->attention, sizeof info->attention);
    add(info->mlp, sizeof info->mlp, "%s%s", f->gated ? "gated " : "",
        strcmp(f->activation, "gelu_pytorch_tanh") == 0 ? "gelu_tanh" : f->activation);
    describe_rest(f, info->rest, sizeof info->rest);
    return JSC_OK;
}

/* ---- a model --------------------------------------------------------------------------------------------------------------- */

static int count_blocks(const struct config *c, unsigned flag)
{
    int n = 0;
    for (int64_t l = 0; l < c->n_layers; l++)
        n += (c->blocks[l] & flag) != 0;
    return n;
}

static void found_attention(const jsc_model *m, char *out, size_t capacity)
{
    const struct config *c = &m->config;
    const int rotated = count_blocks(c, BLOCK_ROTARY), windows = count_blocks(c, BLOCK_WINDOW);
    if (rotated == 0)
        add(out, capacity, "learned positions");
    else if (rotated < m->L)
        add(out, capacity, "no rotary embeddings in %d of %d blocks", m->L - rotated, m->L);
    if (rotated > 0 && m->rot < m->h)
        add(out, capacity, "%d of a head's %d components rotated", m->rot, m->h);
    if (count_blocks(c, BLOCK_LOCAL_ROPE) > 0)
        add(out, capacity, "theta %g in the blocks with a window", c->local_theta);
    if (windows > 0)
        add(out, capacity, "window of %d tokens in %d of %d blocks", (int)c->window, windows, m->L);
    if (c->qk_norm)
        add(out, capacity, "%s", qk_words(m->family->qk_norm));
    if (m->attn_cap > 0.0)
        add(out, capacity, "scores capped at %g", m->attn_cap);
    if (c->attn_scale > 0.0)
        add(out, capacity, "scores x %.6g", c->attn_scale);
    if (c->scale_by_block)
        add(out, capacity, "scores of block i divided by i + 1");
}

void model_traits(const jsc_model *m, char *out, size_t capacity)
{
    const struct config *c = &m->config;
    out[0] = '\0';
    add(out, capacity, "%s %s", norm_words(m->family), layout_words(c->layout));
    add(out, capacity, "%s%s MLP", m->family->gated ? "gated " : "", c->activation[0] != '\0' ? c->activation : m->family->activation);
    found_attention(m, out, capacity);
    if (!c->gguf && (c->qkv_bias || c->mlp_bias))
        add(out, capacity, "biases of %s%s%s", c->qkv_bias ? c->o_bias ? "attention" : "q, k, v" : "",
            c->qkv_bias && c->mlp_bias ? " and " : "", c->mlp_bias ? "MLP" : "");
    if (c->embed_scale != 1.0)
        add(out, capacity, "embedding x %.6g", c->embed_scale);
    if (c->residual_scale != 1.0)
        add(out, capacity, "branches x %.6g", c->residual_scale);
    if (c->logit_scale != 1.0)
        add(out, capacity, "logits x %.6g", c->logit_scale);
    if (m->final_cap > 0.0)
        add(out, capacity, "logits capped at %g", m->final_cap);
}
