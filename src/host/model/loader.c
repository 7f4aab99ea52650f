/* loader.c: checked tensors of a checkpoint -> weights on the device, by the family's table of names. */
#include "model_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* A linear layer or vector as it stands in the files. */
struct source {
    const struct tensor *weight, *bias;
};
struct block_sources {
    struct source attn_norm, q, k, v, o, mlp_norm, gate, up, down;
};
struct loader {
    jsc_model *model;
    const struct tensor_set *set;
    const struct family_names *names;
    struct load_progress *progress;
    bool *used;        /* [set->n] */
    char missing[256]; /* the first few names */
    size_t n_missing, n_undeclared;
    int32_t *q_rows, *k_rows; /* GGUF: stored row of each row, NULL if not permuted */
};

/* What a lookup wants: shape [rows][columns], or [rows] if columns is 0. */
struct wanted {
    size_t rows, columns;
    bool required;
};

static const struct tensor *find_name(const struct loader *ld, const char *name)
{
    const struct tensor *t = tensor_find(ld->set, name);
    /* checkpoints of the bare model lack the outer prefix */
    if (t == NULL && strncmp(name, "model.", 6) == 0)
        t = tensor_find(ld->set, name + 6);
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

/* Finds one tensor; a missing required one is remembered, so that the error can list them. */
static jsc_status find_one(struct loader *ld, const char *base, int layer, const char *suffix, struct wanted want,
                           const struct tensor **out, jsc_error *error)
{
    char pattern[128], name[160];
    (void)snprintf(pattern, sizeof pattern, "%s", base);
    char *hole = strstr(pattern, "%d");
    if (hole != NULL) {
        *hole = '\0';
        (void)snprintf(name, sizeof name, "%s%d%s%s", pattern, layer, hole + 2, suffix);
    } else
        (void)snprintf(name, sizeof name, "%s%s", pattern, suffix);
    const struct tensor *t = find_name(ld, name);
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
    ld->used[t - ld->set->tensors] = true;
    return check_shape(t, &want, error);
}

enum bias_rule { BIAS_NEVER, BIAS_IF_PRESENT, BIAS_ALWAYS };

static jsc_status find_linear(struct loader *ld, const char *base, int layer, size_t rows, size_t columns, enum bias_rule rule,
                              struct source *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    TRY(find_one(ld, base, layer, ".weight", (struct wanted){rows, columns, true}, &out->weight, error));
    TRY(find_one(ld, base, layer, ".bias", (struct wanted){rows, 0, rule == BIAS_ALWAYS}, &out->bias, error));
    if (rule == BIAS_NEVER && out->bias != NULL) {
        out->bias = NULL; /* as transformers does: a parameter that the config does not declare is not used */
        ld->n_undeclared++;
    }
done:
    return status;
}

static jsc_status find_block(struct loader *ld, int l, struct block_sources *b, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_model *m = ld->model;
    const struct family_names *n = ld->names;
    const size_t d = (size_t)m->d, f = (size_t)m->f, q = (size_t)m->H * (size_t)m->h, kv = (size_t)m->K * (size_t)m->h;
    /* GGUF has no flag: a bias that is there is used, as llama.cpp does */
    const enum bias_rule attention = m->config.gguf ? BIAS_IF_PRESENT : m->config.attention_bias ? BIAS_ALWAYS : BIAS_NEVER;
    const enum bias_rule mlp = m->config.gguf ? BIAS_IF_PRESENT : m->config.mlp_bias ? BIAS_ALWAYS : BIAS_NEVER;

    memset(b, 0, sizeof *b);
    TRY(find_one(ld, n->attn_norm, l, ".weight", (struct wanted){d, 0, true}, &b->attn_norm.weight, error));
    TRY(find_linear(ld, n->q, l, q, d, attention, &b->q, error));
    TRY(find_linear(ld, n->k, l, kv, d, attention, &b->k, error));
    TRY(find_linear(ld, n->v, l, kv, d, attention, &b->v, error));
    TRY(find_linear(ld, n->o, l, d, q, attention, &b->o, error));
    TRY(find_one(ld, n->mlp_norm, l, ".weight", (struct wanted){d, 0, true}, &b->mlp_norm.weight, error));
    if (m->family->gated)
        TRY(find_linear(ld, n->gate, l, f, d, mlp, &b->gate, error));
    TRY(find_linear(ld, n->up, l, f, d, mlp, &b->up, error));
    TRY(find_linear(ld, n->down, l, d, f, mlp, &b->down, error));
done:
    return status;
}

static bool may_be_ignored(const char *name)
{
    static const char *const endings[] = {".rotary_emb.inv_freq",   ".attn.bias",       ".attn.masked_bias", ".attention.bias",
                                          ".attention.masked_bias", "rope_freqs.weight"};
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
    size_t count[DTYPE_COUNT] = {0}, unused = 0;
    const char *first = NULL;
    struct strbuf types = {0};

    for (size_t i = 0; i < ld->set->n; i++) {
        const struct tensor *t = &ld->set->tensors[i];
        if (ld->used[i]) {
            count[t->type]++;
            ld->model->parameters += t->n_elements;
        } else if (!may_be_ignored(t->name)) {
            if (unused++ == 0)
                first = t->name;
        }
    }
    for (int type = 0; type < DTYPE_COUNT; type++)
        if (count[type] > 0)
            strbuf_printf(&types, "%s%s %zu", types.n > 0 ? ", " : "", dtype_info((enum dtype)type)->name, count[type]);
    TRY(mem_strdup(&ld->model->weight_types, types.text != NULL ? types.text : "", error));
    if (unused > 0)
        TRY(model_warn(ld->model, error, "%zu tensor%s of the file %s not used by this family, the first is %s", unused,
                       unused == 1 ? "" : "s", unused == 1 ? "is" : "are", first));
    if (ld->n_undeclared > 0)
        TRY(model_warn(ld->model, error, "%zu bias tensors are in the file but not declared by config.json: ignored, as transformers does",
                       ld->n_undeclared));
done:
    strbuf_free(&types);
    return status;
}

/* A vector to the device; NULL tensor gives NULL. */
static jsc_status make_vector(struct loader *ld, const struct tensor *t, double add, dptr *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_model *m = ld->model;
    double *values = NULL;

    TRY(mem_new(&values, t->n_elements, error));
    dtype_row_f64(t->type, t->bytes, t->n_elements, values);
    for (size_t i = 0; i < t->n_elements; i++) {
        if (!isfinite(values[i]))
            FAIL(JSC_E_NUMERIC, "%s: tensor %s: element %zu is not finite; the file is damaged or was trained into overflow", t->file,
                 t->name, i);
        values[i] += add;
    }
    const size_t bytes = (size_t)t->n_elements * m->load_stream->size_of[ROLE_REAL];
    TRY(m->ops->alloc(m->device, bytes, out, error));
    TRY(m->ops->put(m->load_stream, ROLE_REAL, *out, values, t->n_elements, error));
    ld->model->weight_bytes += bytes;
done:
    mem_free(values);
    return status;
}

static jsc_status report_progress(struct loader *ld, uint64_t add, jsc_error *error)
{
    struct load_progress *p = ld->progress;
    p->done += add;
    if (p->call != NULL && p->call(p->user, "load", (double)p->done, (double)p->total) != 0)
        return status_set(error, JSC_E_CANCELLED, "stopped while loading");
    return JSC_OK;
}

/* Stacks up to three linear layers along their outputs. rows: stored row of each row per part, or NULL. */
static jsc_status make_linear(struct loader *ld, const struct source *parts, int n_parts, const int32_t *const *rows, size_t k,
                              unsigned uses, struct jsc_weight **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    jsc_model *m = ld->model;
    struct weight_part stack[3];
    double *bias = NULL, *raw = NULL;
    size_t n = 0, at = 0;
    uint64_t bytes = 0;
    bool any_bias = false;

    for (int i = 0; i < n_parts; i++) {
        const struct tensor *t = parts[i].weight;
        size_t row_bytes = 0;
        if (!dtype_bytes(t->type, k, &row_bytes))
            FAIL(JSC_E_FORMAT, "%s: tensor %s: rows of %zu elements are no whole blocks of %s", t->file, t->name, k,
                 dtype_info(t->type)->name);
        stack[i] = (struct weight_part){.bytes = t->bytes,
                                        .type = t->type,
                                        .n = (size_t)t->shape[0],
                                        .row_bytes = row_bytes,
                                        .row_of = rows != NULL ? rows[i] : NULL,
                                        .scale = 1.0,
                                        .transposed = false,
                                        .name = t->name};
        n += stack[i].n;
        bytes += t->n_bytes;
        any_bias = any_bias || parts[i].bias != NULL;
    }
    if (any_bias) {
        TRY(mem_new(&bias, n, error));
        TRY(mem_new(&raw, n, error));
        for (int i = 0; i < n_parts; at += stack[i].n, i++) {
            const struct tensor *b = parts[i].bias;
            if (b == NULL)
                continue;
            dtype_row_f64(b->type, b->bytes, b->n_elements, raw);
            for (size_t r = 0; r < stack[i].n; r++) {
                bias[at + r] = raw[weight_part_row(&stack[i], r)];
                if (!isfinite(bias[at + r]))
                    FAIL(JSC_E_NUMERIC, "%s: tensor %s: element %zu is not finite", b->file, b->name, r);
            }
        }
    }
    TRY(m->ops->weight_make(m->device, stack, (size_t)n_parts, k, uses, bias, out, error));
    m->weight_bytes += (*out)->bytes;
    TRY(report_progress(ld, bytes, error));
done:
    mem_free(bias);
    mem_free(raw);
    return status;
}

static jsc_status make_block(struct loader *ld, const struct block_sources *s, struct block *b, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_model *m = ld->model;
    const size_t d = (size_t)m->d;
    const struct source qkv[3] = {s->q, s->k, s->v}, gate_up[2] = {s->gate, s->up};
    const int32_t *const rows[3] = {ld->q_rows, ld->k_rows, NULL};

    TRY(make_vector(ld, s->attn_norm.weight, m->config.gguf ? 0.0 : m->family->norm_offset, &b->attn_norm, error));
    TRY(make_linear(ld, qkv, 3, rows, d, USE_FORWARD | USE_VJP, &b->qkv, error));
    TRY(make_linear(ld, &s->o, 1, NULL, (size_t)m->H * (size_t)m->h, USE_FORWARD | USE_VJP, &b->o, error));
    TRY(make_vector(ld, s->mlp_norm.weight, m->config.gguf ? 0.0 : m->family->norm_offset, &b->mlp_norm, error));
    TRY(make_linear(ld, m->family->gated ? gate_up : &s->up, m->family->gated ? 2 : 1, NULL, d, USE_FORWARD | USE_VJP | USE_ROWS, &b->up,
                    error));
    TRY(make_linear(ld, &s->down, 1, NULL, (size_t)m->f, USE_FORWARD | USE_VJP | USE_ROWS, &b->down, error));
    b->window = (int)m->config.window;
    b->rotary = true;
done:
    return status;
}

/* What a linear layer of these parts would take. */
static uint64_t estimate_linear(const jsc_model *m, const struct source *parts, int n_parts, size_t k, unsigned uses)
{
    enum dtype type = DTYPE_BF16;
    size_t n = 0;
    for (int i = 0; i < n_parts; i++) {
        type = parts[i].weight->type != DTYPE_BF16 ? parts[i].weight->type : type;
        n += (size_t)parts[i].weight->shape[0];
    }
    return m->ops->weight_bytes(m->device, type, n, k, uses);
}

/* What the weights would take, but for biases and norms. */
static uint64_t estimate_bytes(const jsc_model *m, const struct block_sources *blocks, const struct source *embed,
                               const struct source *head)
{
    const size_t d = (size_t)m->d, f = (size_t)m->f;
    const unsigned both = USE_FORWARD | USE_VJP;
    uint64_t bytes = estimate_linear(m, embed, 1, d, USE_ROWS | (m->tied ? USE_FORWARD : 0U));

    if (!m->tied)
        bytes += estimate_linear(m, head, 1, d, USE_ROWS | USE_FORWARD);
    for (int l = 0; l < m->L; l++) {
        const struct block_sources *s = &blocks[l];
        const struct source qkv[3] = {s->q, s->k, s->v}, gate_up[2] = {s->gate, s->up};
        bytes += estimate_linear(m, qkv, 3, d, both) + estimate_linear(m, &s->o, 1, (size_t)m->H * (size_t)m->h, both);
        bytes += estimate_linear(m, m->family->gated ? gate_up : &s->up, m->family->gated ? 2 : 1, d, both | USE_ROWS);
        bytes += estimate_linear(m, &s->down, 1, f, both | USE_ROWS);
    }
    return bytes;
}

/* Refuses weights that the device's own memory cannot hold before the first is read. */
static jsc_status check_room(const jsc_model *m, uint64_t bytes, jsc_error *error)
{
    const uint64_t left = m->ops->memory_left(m->device);
    if (!m->device->own_memory || bytes <= left)
        return JSC_OK;
    return status_set(error, JSC_E_MEMORY,
                      "%s: its weights take %" PRIu64 " bytes on %s, where %" PRIu64
                      " are free: end other programs on it, take a smaller model, or use --device cpu",
                      m->path, bytes, m->device->description, left);
}

/* W_hf[n h + r] = W_gguf[n h + 2 (r mod h/2) + r div (h/2)]: the converter interleaved the two halves of each head. */
static jsc_status permutation(int heads, int h, int32_t **out, jsc_error *error)
{
    const jsc_status status = mem_new(out, (size_t)heads * (size_t)h, error);
    if (status != JSC_OK)
        return status;
    for (int n = 0; n < heads; n++)
        for (int r = 0; r < h; r++)
            (*out)[n * h + r] = n * h + 2 * (r % (h / 2)) + r / (h / 2);
    return JSC_OK;
}

/* Llama 3 scaling in GGUF files is a tensor of divisors; no metadata key says so. */
static jsc_status find_rope_factors(struct loader *ld, jsc_error *error)
{
    jsc_status status = JSC_OK;
    jsc_model *m = ld->model;
    const struct tensor *t = m->config.gguf ? tensor_find(ld->set, "rope_freqs.weight") : NULL;

    if (t == NULL)
        return JSC_OK;
    TRY(check_shape(t, &(struct wanted){(size_t)m->rot / 2, 0, true}, error));
    TRY(mem_new(&m->rope_factors, t->n_elements, error));
    dtype_row_f64(t->type, t->bytes, t->n_elements, m->rope_factors);
    for (size_t i = 0; i < t->n_elements; i++)
        if (!isfinite(m->rope_factors[i]) || m->rope_factors[i] <= 0.0)
            FAIL(JSC_E_FORMAT, "%s: tensor %s: element %zu is %g, a divisor of a rotary frequency is above 0", t->file, t->name, i,
                 m->rope_factors[i]);
done:
    return status;
}

static jsc_status find_head(struct loader *ld, struct source *embed, struct source *head, jsc_error *error)
{
    jsc_status status = JSC_OK;
    jsc_model *m = ld->model;
    const size_t V = (size_t)m->V, d = (size_t)m->d;

    TRY(find_one(ld, ld->names->embed, 0, ".weight", (struct wanted){V, d, true}, &embed->weight, error));
    TRY(find_one(ld, ld->names->head, 0, ".weight", (struct wanted){V, d, false}, &head->weight, error));
    m->tied = head->weight == NULL;
    /* many tied checkpoints store the head a second time: one copy serves both */
    if (head->weight != NULL && embed->weight != NULL && head->weight->type == embed->weight->type &&
        head->weight->n_bytes == embed->weight->n_bytes && memcmp(head->weight->bytes, embed->weight->bytes, head->weight->n_bytes) == 0)
        m->tied = true;
    if (head->weight == NULL && !m->config.tied && !m->config.gguf)
        FAIL(JSC_E_FORMAT, "%s: there is no %s.weight, and tie_word_embeddings is not true: the checkpoint is incomplete, fetch it again",
             m->path, ld->names->head);
done:
    return status;
}

jsc_status model_load_weights(jsc_model *m, const struct tensor_set *set, struct load_progress *progress, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct loader ld = {.model = m, .set = set, .names = m->config.gguf ? &m->family->gguf : &m->family->hf, .progress = progress};
    struct block_sources *sources = NULL;
    struct source embed = {0}, head = {0}, final_norm = {0};

    TRY(mem_new(&ld.used, set->n, error));
    TRY(mem_new(&sources, (size_t)m->L, error));
    TRY(find_head(&ld, &embed, &head, error));
    TRY(find_one(&ld, ld.names->final_norm, 0, ".weight", (struct wanted){(size_t)m->d, 0, true}, &final_norm.weight, error));
    for (int l = 0; l < m->L; l++)
        TRY(find_block(&ld, l, &sources[l], error));
    if (ld.n_missing > 0)
        FAIL(JSC_E_FORMAT, "%s: %zu tensor%s missing, %s%s: the checkpoint is incomplete or of another family than \"%s\"", m->path,
             ld.n_missing, ld.n_missing == 1 ? " is" : "s are", ld.missing, ld.n_missing > 3 ? ", ..." : "", m->family->name);
    TRY(find_rope_factors(&ld, error));
    TRY(take_stock(&ld, error));
    progress->total = set->file_bytes > 0 ? set->file_bytes : 1;
    const uint64_t foreseen = estimate_bytes(m, sources, &embed, &head);
    if (!m->has_weights) {
        m->weight_bytes = foreseen;
        goto done;
    }
    TRY(check_room(m, foreseen, error));
    if (m->config.gguf && m->family->gguf_permuted) {
        TRY(permutation(m->H, m->h, &ld.q_rows, error));
        TRY(permutation(m->K, m->h, &ld.k_rows, error));
    }
    TRY(make_linear(&ld, &embed, 1, NULL, (size_t)m->d, USE_ROWS | (m->tied ? USE_FORWARD : 0U), &m->embed, error));
    if (m->tied)
        m->head = m->embed;
    else
        TRY(make_linear(&ld, &head, 1, NULL, (size_t)m->d, USE_ROWS | USE_FORWARD, &m->head, error));
    TRY(make_vector(&ld, final_norm.weight, m->config.gguf ? 0.0 : m->family->norm_offset, &m->final_norm, error));
    for (int l = 0; l < m->L; l++)
        TRY(make_block(&ld, &sources[l], &m->blocks[l], error));
done:
    mem_free(ld.used);
    mem_free(ld.q_rows);
    mem_free(ld.k_rows);
    mem_free(sources);
    return status;
}
