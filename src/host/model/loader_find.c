/* loader_find.c: a family's table of names -> tensors of a checkpoint, with the shapes that the configuration says. */
#include "loader_internal.h"

#include <stdio.h>
#include <string.h>

/* What a lookup wants: shape [rows][columns], or [rows] if columns is 0. */
struct wanted {
    size_t rows, columns;
    bool required;
};

/* Checkpoints of the bare model lack the outer prefix; those that see pictures too have one more. */
static const struct tensor *find_name(const struct tensor_set *set, const char *name)
{
    char longer[224];
    const char *rest = strchr(name, '.');
    const struct tensor *t = tensor_find(set, name);
    if (t == NULL && rest != NULL && strncmp(name, "blk.", 4) != 0)
        t = tensor_find(set, rest + 1);
    if (t == NULL) {
        (void)snprintf(longer, sizeof longer, "language_model.%s", name);
        t = tensor_find(set, longer);
    }
    if (t == NULL && strncmp(name, "model.", 6) == 0) {
        (void)snprintf(longer, sizeof longer, "model.language_model.%s", name + 6);
        t = tensor_find(set, longer);
    }
    return t;
}

static jsc_status check_shape(const struct tensor *t, const struct wanted *want, jsc_error *error)
{
    const bool vector = want->columns == 0;
    const bool fits = vector ? t->rank == 1 && t->shape[0] == want->rows
                             : t->rank == 2 && t->shape[0] == want->rows && t->shape[1] == want->columns;
    if (!t->known_type)
        return status_set(error, JSC_E_UNSUPPORTED,
                          "%s: tensor %s has element type %s, which is not read as a weight: convert the model to F32, F16, BF16 or Q8_0",
                          t->file, t->name, t->type_name);
    if (fits)
        return JSC_OK;
    char found[128];
    size_t n = 0;
    found[0] = '\0';
    for (int i = 0; i < t->rank && n < sizeof found - 24; i++)
        n += (size_t)snprintf(found + n, sizeof found - n, "%s%" PRIu64, i > 0 ? "," : "", t->shape[i]);
    if (vector)
        return status_set(error, JSC_E_FORMAT,
                          "%s: tensor %s has shape [%s], the configuration wants [%zu]; the two are of different models", t->file, t->name,
                          found, want->rows);
    return status_set(error, JSC_E_FORMAT,
                      "%s: tensor %s has shape [%s], the configuration wants [%zu,%zu]; the two are of different models", t->file, t->name,
                      found, want->rows, want->columns);
}

/* base with its first %d replaced by layer and a second one by head, and suffix. */
static void full_name(const char *base, int layer, int head, const char *suffix, char *out, size_t capacity)
{
    const int numbers[2] = {layer, head};
    size_t n = 0;
    for (int i = 0; *base != '\0' && n + 16 < capacity; base++) {
        if (base[0] == '%' && base[1] == 'd' && i < 2) {
            n += (size_t)snprintf(out + n, capacity - n, "%d", numbers[i++]);
            base++;
        } else
            out[n++] = *base;
    }
    (void)snprintf(out + n, capacity - n, "%s", suffix);
}

bool loader_qk_per_head(const char *name)
{
    const char *first = strstr(name, "%d");
    return first != NULL && strstr(first + 2, "%d") != NULL;
}

const struct tensor *loader_qk_norm(const struct loader *ld, const char *name, int layer, int head, const char *suffix)
{
    char full[192];
    full_name(name, layer, head, suffix, full, sizeof full);
    return find_name(ld->set, full);
}

/* Finds one tensor; a missing required one is remembered, so that the error can list them. */
static jsc_status find_one(struct loader *ld, const char *base, int layer, int head, const char *suffix, struct wanted want,
                           const struct tensor **out, jsc_error *error)
{
    char name[192];
    full_name(base, layer, head, suffix, name, sizeof name);
    const struct tensor *t = find_name(ld->set, name);
    *out = t;
    if (t == NULL) {
        if (want.required) {
            const size_t at = strlen(ld->missing);
            if (ld->n_missing < 3)
                (void)snprintf(ld->missing + at, sizeof ld->missing - at, "%s%s", ld->n_missing > 0 ? ", " : "", name);
            ld->n_missing++;
        }
        return JSC_OK;
    }
    ld->use[t - ld->set->tensors] = TENSOR_USED;
    return check_shape(t, &want, error);
}

enum bias_rule { BIAS_NEVER, BIAS_IF_PRESENT, BIAS_ALWAYS };

/* GGUF has no flags: a bias that is there is used, as llama.cpp does. */
static enum bias_rule bias_rule(const struct loader *ld, bool declared)
{
    return ld->model->config.gguf ? BIAS_IF_PRESENT : declared ? BIAS_ALWAYS : BIAS_NEVER;
}

/* Y = X W^T with W [rows][columns]; GPT-2 stores its transpose. */
static jsc_status find_linear(struct loader *ld, const char *base, int layer, size_t rows, size_t columns, enum bias_rule rule,
                              struct source *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const bool transposed = ld->model->family->transposed && !ld->model->config.gguf;
    const struct wanted shape = transposed ? (struct wanted){columns, rows, true} : (struct wanted){rows, columns, true};
    TRY(find_one(ld, base, layer, 0, ".weight", shape, &out->weight, error));
    TRY(find_one(ld, base, layer, 0, ".bias", (struct wanted){rows, 0, rule == BIAS_ALWAYS}, &out->bias, error));
    if (rule == BIAS_NEVER && out->bias != NULL) {
        ld->use[out->bias - ld->set->tensors] = TENSOR_UNDECLARED; /* as in transformers: what the config does not declare is not used */
        out->bias = NULL;
    }
done:
    return status;
}

static jsc_status find_norm(struct loader *ld, const char *base, int layer, struct source *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_model *m = ld->model;
    const struct wanted want = {(size_t)m->d, 0, true};
    if (base == NULL || !m->config.norm_weights) /* as transformers does: what the file may hold all the same is not used */
        return JSC_OK;
    TRY(find_one(ld, base, layer, 0, ".weight", want, &out->weight, error));
    if (m->family->norm_bias)
        TRY(find_one(ld, base, layer, 0, ".bias", want, &out->bias, error));
done:
    return status;
}

/* Norms of queries or keys of `heads` heads. */
static jsc_status find_qk_norm(struct loader *ld, const char *base, int layer, int heads, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_model *m = ld->model;
    const enum qk_norm_shape shape = m->family->qk_norm;
    const size_t h = (size_t)m->h;
    const bool per_head = loader_qk_per_head(base);
    const struct tensor *found = NULL;
    struct wanted want = {shape == QK_WHOLE ? h * (size_t)heads : h, 0, true};

    if (shape == QK_OWN && !per_head)
        want = (struct wanted){(size_t)heads, h, true};
    for (int i = 0; i < (per_head ? heads : 1); i++) {
        TRY(find_one(ld, base, layer, i, ".weight", want, &found, error));
        if (m->family->norm_bias && shape == QK_SHARED)
            TRY(find_one(ld, base, layer, i, ".bias", want, &found, error));
    }
done:
    return status;
}

static bool has(const struct loader *ld, const char *base, int layer, const char *suffix)
{
    char name[192];
    if (base == NULL)
        return false;
    full_name(base, layer, 0, suffix, name, sizeof name);
    return find_name(ld->set, name) != NULL;
}

static jsc_status find_attention(struct loader *ld, int l, struct block_sources *b, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_model *m = ld->model;
    const struct family_names *n = ld->names;
    const size_t d = (size_t)m->d, q = (size_t)m->H * (size_t)m->h, kv = (size_t)m->K * (size_t)m->h;
    const enum bias_rule qkv = bias_rule(ld, m->config.qkv_bias);

    if (n->q == NULL || has(ld, n->qkv, l, ".weight")) {
        TRY(find_linear(ld, n->qkv, l, q + 2 * kv, d, qkv, &b->qkv, error));
        if (b->qkv.bias == NULL && qkv == BIAS_IF_PRESENT && has(ld, n->q, l, ".bias"))
            FAIL(JSC_E_UNSUPPORTED,
                 "%s: block %d has one tensor for the weights of q, k, v and three for their biases, which is not implemented: convert the "
                 "model again",
                 m->path, l);
    } else {
        TRY(find_linear(ld, n->q, l, q, d, qkv, &b->q, error));
        TRY(find_linear(ld, n->k, l, kv, d, qkv, &b->k, error));
        TRY(find_linear(ld, n->v, l, kv, d, qkv, &b->v, error));
    }
    if (m->config.qk_norm) {
        if (n->q_norm == NULL)
            FAIL(JSC_E_UNSUPPORTED, "%s: norms of queries and keys are not implemented for family %s in this format", m->path,
                 m->family->name);
        TRY(find_qk_norm(ld, n->q_norm, l, m->H, error));
        TRY(find_qk_norm(ld, n->k_norm, l, m->K, error));
    }
    TRY(find_linear(ld, n->o, l, d, q, bias_rule(ld, m->config.o_bias), &b->o, error));
done:
    return status;
}

static jsc_status find_block(struct loader *ld, int l, struct block_sources *b, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_model *m = ld->model;
    const struct family_names *n = ld->names;
    const struct norm_places *at = &m->norms;
    const size_t d = (size_t)m->d, f = (size_t)m->f;
    const enum bias_rule mlp = bias_rule(ld, m->config.mlp_bias);
    const bool one_norm = m->config.layout == LAYOUT_PARALLEL_ONE;

    TRY(find_norm(ld, at->pre ? n->attn_norm : NULL, l, &b->attn_norm, error));
    TRY(find_norm(ld, at->post || at->sum ? n->attn_post : NULL, l, &b->attn_post, error));
    TRY(find_attention(ld, l, b, error));
    TRY(find_norm(ld, at->pre ? one_norm ? n->attn_norm : n->mlp_norm : NULL, l, &b->mlp_norm, error));
    TRY(find_norm(ld, at->post || at->sum ? n->mlp_post : NULL, l, &b->mlp_post, error));
    if (n->gate_up != NULL)
        TRY(find_linear(ld, n->gate_up, l, 2 * f, d, mlp, &b->gate_up, error));
    else {
        if (m->family->gated)
            TRY(find_linear(ld, n->gate, l, f, d, mlp, &b->gate, error));
        TRY(find_linear(ld, n->up, l, f, d, mlp, &b->up, error));
    }
    TRY(find_linear(ld, n->down, l, d, f, mlp, &b->down, error));
done:
    return status;
}

static bool may_be_ignored(const char *name)
{
    static const char *const endings[] = {
        ".rotary_emb.inv_freq",   ".attn.bias",        ".attn.masked_bias",        ".attention.bias",
        ".attention.masked_bias", "rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"};
    const size_t n = strlen(name);
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        const size_t e = strlen(endings[i]);
        if (n >= e && strcmp(name + n - e, endings[i]) == 0)
            return true;
    }
    return false;
}

/* Element types with their counts, in the order of first use; the number of weights; a warning about tensors that nobody asked for. */
static jsc_status take_stock(struct loader *ld, jsc_error *error)
{
    jsc_status status = JSC_OK;
    size_t count[DTYPE_COUNT] = {0}, unused = 0, undeclared = 0;
    const char *first = NULL;
    struct strbuf types = {0};

    for (size_t i = 0; i < ld->set->n; i++) {
        const struct tensor *t = &ld->set->tensors[i];
        if (ld->use[i] == TENSOR_USED) {
            count[t->type]++;
            ld->model->parameters += t->n_elements;
        } else if (ld->use[i] == TENSOR_UNDECLARED) {
            undeclared++;
        } else if (!may_be_ignored(t->name)) {
            if (unused++ == 0)
                first = t->name;
        }
    }
    for (int type = 0; type < DTYPE_COUNT; type++)
        if (count[type] > 0)
            strbuf_printf(&types, "%s%s %zu", types.n > 0 ? ", " : "", dtype_info((enum dtype)type)->name, count[type]);
    if (types.failed)
        FAIL(JSC_E_MEMORY, "%s: no memory for the list of its element types", ld->model->path);
    TRY(mem_strdup(&ld->model->weight_types, types.text != NULL ? types.text : "", error));
    if (unused > 0)
        TRY(model_warn(ld->model, error, "%zu tensor%s of the file %s not used by this family, the first is %s", unused,
                       unused == 1 ? "" : "s", unused == 1 ? "is" : "are", first));
    if (undeclared > 0)
        TRY(model_warn(ld->model, error, "%zu bias tensor%s in the file but not declared by config.json: ignored, as transformers does",
                       undeclared, undeclared == 1 ? " is" : "s are"));
done:
    strbuf_free(&types);
    return status;
}

/* Many tied checkpoints store the head a second time: one copy serves both. Compared piece by piece, so that no more of the file than a
 * piece is held. */
static bool same_weights(const struct tensor *a, const struct tensor *b)
{
    const uint64_t piece = (uint64_t)4 << 20;
    bool same = a != NULL && b != NULL && a->type == b->type && a->n_bytes == b->n_bytes;
    for (uint64_t at = 0; same && at < a->n_bytes; at += piece) {
        const size_t n = (size_t)(a->n_bytes - at < piece ? a->n_bytes - at : piece);
        same = memcmp(a->bytes + at, b->bytes + at, n) == 0;
        if (a->mapped)
            mem_forget_mapped(a->bytes + at, n);
        if (b->mapped)
            mem_forget_mapped(b->bytes + at, n);
    }
    return same;
}

static jsc_status find_head(struct loader *ld, struct sources *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    jsc_model *m = ld->model;
    const size_t V = (size_t)m->V, e = (size_t)m->config.embed_width;
    struct source *embed = &out->embed, *head = &out->head;

    TRY(find_one(ld, ld->names->embed, 0, 0, ".weight", (struct wanted){V, e, true}, &embed->weight, error));
    TRY(find_one(ld, ld->names->head, 0, 0, ".weight", (struct wanted){V, e, false}, &head->weight, error));
    if (m->family->head_bias)
        TRY(find_one(ld, ld->names->head, 0, 0, ".bias", (struct wanted){V, 0, !m->config.gguf}, &head->bias, error));
    m->tied = head->weight == NULL || same_weights(head->weight, embed->weight);
    if (head->weight == NULL && !m->config.tied && !m->config.gguf)
        FAIL(JSC_E_FORMAT, "%s: there is no %s.weight, and tie_word_embeddings is not true: the checkpoint is incomplete, fetch it again",
             m->path, ld->names->head);
    if (m->tied && head->weight != NULL && head->weight->mapped)
        mem_forget_mapped(head->weight->bytes, head->weight->n_bytes);
    if (m->tied)
        head->weight = embed->weight;
done:
    return status;
}

/* Learned positions and the projections between the embedding's width and d. */
static jsc_status find_outer(struct loader *ld, struct sources *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_model *m = ld->model;
    const struct family_names *n = ld->names;
    const size_t d = (size_t)m->d, e = (size_t)m->config.embed_width;

    TRY(find_head(ld, out, error));
    if (n->positions != NULL)
        TRY(find_one(ld, n->positions, 0, 0, ".weight",
                     (struct wanted){(size_t)m->config.max_position + (size_t)m->family->position_offset, d, true}, &out->positions.weight,
                     error));
    if (e != d) {
        TRY(find_one(ld, n->project_in, 0, 0, ".weight", (struct wanted){d, e, true}, &out->project_in.weight, error));
        TRY(find_one(ld, n->project_out, 0, 0, ".weight", (struct wanted){e, d, true}, &out->project_out.weight, error));
    }
    if (m->final_kind != NORM_NONE)
        TRY(find_norm(ld, n->final_norm, 0, &out->final_norm, error));
done:
    return status;
}

jsc_status loader_find(struct loader *ld, struct sources *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_model *m = ld->model;

    TRY(find_outer(ld, out, error));
    for (int l = 0; l < m->L; l++)
        TRY(find_block(ld, l, &out->blocks[l], error));
    if (ld->n_missing > 0)
        FAIL(JSC_E_FORMAT, "%s: %zu tensor%s missing, %s%s: the checkpoint is incomplete or of another family than \"%s\"", m->path,
             ld->n_missing, ld->n_missing == 1 ? " is" : "s are", ld->missing, ld->n_missing > 3 ? ", ..." : "", m->family->name);
    TRY(take_stock(ld, error));
done:
    return status;
}
