/* loader.c: found tensors of a checkpoint -> weights on the device. */
#include "loader_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- vectors --------------------------------------------------------------------------------------------------------------- */

static jsc_status read_vector(const struct tensor *t, double add, double *out, jsc_error *error)
{
    dtype_row_f64(t->type, t->bytes, t->n_elements, out);
    for (size_t i = 0; i < t->n_elements; i++) {
        if (!isfinite(out[i]))
            return status_set(error, JSC_E_NUMERIC,
                              "%s: tensor %s: element %zu is not finite; the file is damaged or was trained into overflow", t->file,
                              t->name, i);
        out[i] += add;
    }
    return JSC_OK;
}

static jsc_status put_vector(struct loader *ld, const double *values, size_t n, dptr *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    jsc_model *m = ld->model;
    const size_t bytes = n * m->load_stream->size_of[ROLE_REAL];
    TRY(m->ops->alloc(m->device, bytes, out, error));
    TRY(m->ops->put(m->load_stream, ROLE_REAL, *out, values, n, error));
    m->weight_bytes += bytes;
done:
    return status;
}

/* GGUF files hold Gemma's norms as they multiply, HF files without the 1. */
static double norm_offset(const jsc_model *m)
{
    return m->config.gguf ? 0.0 : m->family->norm_offset;
}

/* weight NULL: ones, the norm has no parameters. */
static jsc_status make_norm(struct loader *ld, const struct source *s, struct norm_weights *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t d = (size_t)ld->model->d;
    double *values = NULL;

    TRY(mem_new(&values, d, error));
    for (size_t i = 0; i < d; i++)
        values[i] = 1.0;
    if (s->weight != NULL)
        TRY(read_vector(s->weight, norm_offset(ld->model), values, error));
    TRY(put_vector(ld, values, d, &out->w, error));
    if (s->bias != NULL) {
        TRY(read_vector(s->bias, 0.0, values, error));
        TRY(put_vector(ld, values, d, &out->b, error));
    }
done:
    mem_free(values);
    return status;
}

/* One tensor, or one for each head end to end. */
static jsc_status gather(struct loader *ld, const char *name, int l, int heads, const char *suffix, double add, dptr *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const int tensors = loader_qk_per_head(name) ? heads : 1;
    const struct tensor *t = loader_qk_norm(ld, name, l, 0, suffix);
    double *values = NULL;
    size_t n = 0;

    if (t == NULL) /* no bias */
        return JSC_OK;
    TRY(mem_new(&values, (size_t)t->n_elements * (size_t)tensors, error));
    for (int i = 0; i < tensors; i++) {
        t = loader_qk_norm(ld, name, l, i, suffix);
        TRY(read_vector(t, add, values + n, error));
        n += (size_t)t->n_elements;
    }
    TRY(put_vector(ld, values, n, out, error));
done:
    mem_free(values);
    return status;
}

static jsc_status make_qk_norm(struct loader *ld, const char *name, int l, int heads, struct norm_weights *out, jsc_error *error)
{
    const jsc_model *m = ld->model;
    const bool bias = m->family->norm_bias && m->family->qk_norm == QK_SHARED;
    const jsc_status status = gather(ld, name, l, heads, ".weight", norm_offset(m), &out->w, error);
    return status == JSC_OK && bias ? gather(ld, name, l, heads, ".bias", 0.0, &out->b, error) : status;
}

/* ---- linear layers --------------------------------------------------------------------------------------------------------- */

static jsc_status report_progress(struct loader *ld, uint64_t add, jsc_error *error)
{
    struct load_progress *p = ld->progress;
    p->done += add;
    if (p->call != NULL && p->call(p->user, "load", (double)p->done, (double)p->total) != 0)
        return status_set(error, JSC_E_CANCELLED, "stopped while loading");
    return JSC_OK;
}

/* A linear layer W[n][k] as a stack of parts along n. */
struct linear {
    struct source parts[3];
    const int32_t *rows[3]; /* stored row of each row of a part, NULL: in order */
    int n_parts;
    size_t k;
    unsigned uses;
    double scale; /* 0: 1 */
    bool transposed;
};

static size_t rows_of(const struct linear *from, const struct tensor *t)
{
    return (size_t)t->shape[from->transposed ? 1 : 0];
}

static jsc_status make_bias(const struct linear *from, const struct weight_part *stack, size_t n, double **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    double *raw = NULL;
    size_t at = 0;

    TRY(mem_new(out, n, error));
    TRY(mem_new(&raw, n, error));
    for (int i = 0; i < from->n_parts; at += stack[i].n, i++) {
        const struct tensor *b = from->parts[i].bias;
        if (b == NULL)
            continue;
        TRY(read_vector(b, 0.0, raw, error));
        for (size_t r = 0; r < stack[i].n; r++)
            (*out)[at + r] = stack[i].scale * raw[weight_part_row(&stack[i], r)];
    }
done:
    mem_free(raw);
    return status;
}

static jsc_status make_linear(struct loader *ld, const struct linear *from, struct jsc_weight **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    jsc_model *m = ld->model;
    struct weight_part stack[3];
    double *bias = NULL;
    size_t n = 0;
    uint64_t bytes = 0;
    bool any_bias = false;

    for (int i = 0; i < from->n_parts; i++) {
        const struct tensor *t = from->parts[i].weight;
        size_t row_bytes = 0;
        if (!dtype_bytes(t->type, (size_t)t->shape[1], &row_bytes))
            FAIL(JSC_E_FORMAT, "%s: tensor %s: rows of %zu elements are no whole blocks of %s", t->file, t->name, (size_t)t->shape[1],
                 dtype_info(t->type)->name);
        stack[i] = (struct weight_part){.bytes = t->bytes,
                                        .type = t->type,
                                        .n = rows_of(from, t),
                                        .row_bytes = row_bytes,
                                        .row_of = from->rows[i],
                                        .scale = from->scale != 0.0 ? from->scale : 1.0,
                                        .transposed = from->transposed,
                                        .mapped = t->mapped,
                                        .name = t->name};
        n += stack[i].n;
        bytes += t->n_bytes;
        any_bias = any_bias || from->parts[i].bias != NULL;
    }
    if (any_bias)
        TRY(make_bias(from, stack, n, &bias, error));
    TRY(m->ops->weight_make(m->device, stack, (size_t)from->n_parts, from->k, from->uses, bias, out, error));
    m->weight_bytes += (*out)->bytes;
    TRY(report_progress(ld, bytes, error));
done:
    mem_free(bias);
    return status;
}

/* ---- a block --------------------------------------------------------------------------------------------------------------- */

/* The four linear layers of a block, as stacks of what the files hold. */
struct block_linears {
    struct linear qkv, o, up, down;
};

static struct block_linears block_linears(const struct loader *ld, const struct block_sources *s)
{
    const jsc_model *m = ld->model;
    const unsigned both = USE_FORWARD | USE_VJP;
    const bool transposed = m->family->transposed && !m->config.gguf;
    const double scale = m->config.residual_scale; /* folded into the layers that end a branch */
    struct block_linears all = {
        .qkv = {.n_parts = 3, .parts = {s->q, s->k, s->v}, .rows = {ld->q_rows, ld->k_rows}, .k = (size_t)m->d, .uses = both},
        .o = {.n_parts = 1, .parts = {s->o}, .k = (size_t)m->H * (size_t)m->h, .uses = both, .scale = scale},
        .up = {.n_parts = 2, .parts = {s->gate, s->up}, .k = (size_t)m->d, .uses = both | USE_ROWS},
        .down = {.n_parts = 1, .parts = {s->down}, .k = (size_t)m->f, .uses = both | USE_ROWS, .scale = scale}};
    if (s->qkv.weight != NULL)
        all.qkv.n_parts = 1, all.qkv.parts[0] = s->qkv, all.qkv.rows[0] = ld->qkv_rows;
    if (!m->family->gated)
        all.up.n_parts = 1, all.up.parts[0] = s->up;
    if (s->gate_up.weight != NULL)
        all.up.n_parts = 1, all.up.parts[0] = s->gate_up;
    all.qkv.transposed = all.o.transposed = all.up.transposed = all.down.transposed = transposed;
    return all;
}

static void set_traits(const jsc_model *m, int l, struct block *b)
{
    const unsigned flags = m->config.blocks[l];
    b->window = flags & BLOCK_WINDOW ? (int)m->config.window : 0;
    b->rotary = (flags & BLOCK_ROTARY) != 0;
    b->local_rope = (flags & BLOCK_LOCAL_ROPE) != 0;
    b->scale = m->config.attn_scale > 0.0 ? m->config.attn_scale : 1.0 / sqrt((double)m->h);
    if (m->config.scale_by_block)
        b->scale /= l + 1.0;
}

static jsc_status make_block(struct loader *ld, int l, const struct block_sources *s, struct block *b, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_model *m = ld->model;
    const struct norm_places *at = &m->norms;
    const struct block_linears all = block_linears(ld, s);

    if (at->pre)
        TRY(make_norm(ld, &s->attn_norm, &b->attn_norm, error));
    TRY(make_linear(ld, &all.qkv, &b->qkv, error));
    if (m->config.qk_norm) {
        TRY(make_qk_norm(ld, ld->names->q_norm, l, m->H, &b->q_norm, error));
        TRY(make_qk_norm(ld, ld->names->k_norm, l, m->K, &b->k_norm, error));
    }
    TRY(make_linear(ld, &all.o, &b->o, error));
    if (at->post || at->sum)
        TRY(make_norm(ld, &s->attn_post, &b->attn_post, error));
    if (at->pre)
        TRY(make_norm(ld, &s->mlp_norm, &b->mlp_norm, error));
    TRY(make_linear(ld, &all.up, &b->up, error));
    TRY(make_linear(ld, &all.down, &b->down, error));
    if (at->post || at->sum)
        TRY(make_norm(ld, &s->mlp_post, &b->mlp_post, error));
done:
    return status;
}

/* ---- outside the blocks ---------------------------------------------------------------------------------------------------- */

static struct linear outer(const struct source *s, unsigned uses)
{
    return (struct linear){.n_parts = 1, .parts = {*s}, .k = (size_t)s->weight->shape[1], .uses = uses};
}

/* The head's rows are the embedding's own, in memory too: no projection is folded in, no bias comes with it. */
static bool shares_rows(const jsc_model *m, const struct sources *s)
{
    return m->tied && s->project_out.weight == NULL && s->head.bias == NULL;
}

#define FOLD_ROWS 512

/* Rows first .. first + n - 1 of head x project_out. */
static jsc_status fold_rows(struct loader *ld, const struct tensor *head, const struct jsc_weight *project, size_t first, size_t n,
                            double *host, const dptr buffers[2], double *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_model *m = ld->model;
    const size_t e = project->k, d = project->n;

    dtype_row_f64(head->type, head->bytes + first * (head->n_bytes / head->shape[0]), n * e, host);
    TRY(m->ops->put(m->load_stream, ROLE_ACT, buffers[0], host, n * e, error));
    TRY(m->ops->matmul(m->load_stream, &(struct op_matmul){.precise = true, .n = n, .w = project, .x = buffers[0], .y = buffers[1]},
                       error));
    TRY(m->ops->get(m->load_stream, ROLE_REAL, out + first * d, buffers[1], n * d, error));
done:
    return status;
}

/* logits = E (Wout y): the head that y meets is E Wout, [V][d]. */
static jsc_status fold_head(struct loader *ld, const struct tensor *head, const struct source *project_out, double *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_model *m = ld->model;
    struct jsc_weight *project = NULL;
    const struct linear from = {
        .n_parts = 1, .parts = {*project_out}, .k = (size_t)m->config.embed_width, .uses = USE_FORWARD, .transposed = true};
    dptr buffers[2] = {NULL, NULL};
    double *host = NULL;

    TRY(make_linear(ld, &from, &project, error));
    ld->model->weight_bytes -= project->bytes;
    TRY(mem_new(&host, FOLD_ROWS * project->k, error));
    TRY(m->ops->alloc(m->device, FOLD_ROWS * project->k * m->load_stream->size_of[ROLE_ACT], &buffers[0], error));
    TRY(m->ops->alloc(m->device, FOLD_ROWS * project->n * m->load_stream->size_of[ROLE_REAL], &buffers[1], error));
    for (size_t first = 0; first < (size_t)m->V; first += FOLD_ROWS) {
        const size_t n = (size_t)m->V - first < FOLD_ROWS ? (size_t)m->V - first : FOLD_ROWS;
        TRY(fold_rows(ld, head, project, first, n, host, buffers, out, error));
    }
done:
    m->ops->weight_free(m->device, project);
    m->ops->free(m->device, buffers[0]);
    m->ops->free(m->device, buffers[1]);
    mem_free(host);
    return status;
}

static jsc_status make_head(struct loader *ld, const struct sources *s, jsc_error *error)
{
    jsc_status status = JSC_OK;
    jsc_model *m = ld->model;
    struct linear from = outer(&s->head, USE_ROWS | USE_FORWARD);
    double *folded = NULL;
    struct tensor whole;

    if (shares_rows(m, s)) {
        m->head = m->embed;
        return JSC_OK;
    }
    if (s->project_out.weight != NULL) {
        TRY(mem_new(&folded, (size_t)m->V * (size_t)m->d, error));
        TRY(fold_head(ld, s->head.weight, &s->project_out, folded, error));
        whole = *s->head.weight;
        whole.type = DTYPE_F64, whole.bytes = (const unsigned char *)folded;
        whole.shape[1] = (uint64_t)m->d, whole.n_elements = (uint64_t)m->V * (uint64_t)m->d, whole.n_bytes = 0;
        from.parts[0].weight = &whole, from.k = (size_t)m->d;
    }
    TRY(make_linear(ld, &from, &m->head, error));
done:
    mem_free(folded);
    return status;
}

static jsc_status make_outer(struct loader *ld, const struct sources *s, jsc_error *error)
{
    jsc_status status = JSC_OK;
    jsc_model *m = ld->model;
    const struct linear embed = outer(&s->embed, USE_ROWS | (shares_rows(m, s) ? USE_FORWARD : 0U));

    TRY(make_linear(ld, &embed, &m->embed, error));
    if (s->positions.weight != NULL) {
        const struct linear positions = outer(&s->positions, USE_ROWS);
        TRY(make_linear(ld, &positions, &m->positions, error));
    }
    if (s->project_in.weight != NULL) {
        const struct linear project = outer(&s->project_in, USE_FORWARD);
        TRY(make_linear(ld, &project, &m->project_in, error));
    }
    TRY(make_head(ld, s, error));
    if (m->final_kind != NORM_NONE)
        TRY(make_norm(ld, &s->final_norm, &m->final_norm, error));
done:
    return status;
}

/* ---- memory ---------------------------------------------------------------------------------------------------------------- */

/* What a linear layer of these parts would take. */
static uint64_t estimate_linear(const jsc_model *m, const struct linear *from)
{
    enum dtype type = DTYPE_BF16;
    size_t n = 0;
    for (int i = 0; i < from->n_parts; i++) {
        const struct tensor *t = from->parts[i].weight;
        const bool scaled = from->scale != 0.0 && from->scale != 1.0; /* products of bfloat16 with a factor are floats */
        type = scaled ? DTYPE_F32 : t->type != DTYPE_BF16 ? t->type : type;
        n += rows_of(from, t);
    }
    return m->ops->weight_bytes(m->device, type, n, from->k, from->uses);
}

/* What lies outside the blocks, but for biases and norms. */
static uint64_t estimate_outer(const jsc_model *m, const struct sources *s)
{
    const struct source *others[] = {&s->positions, &s->project_in};
    const unsigned uses[] = {USE_ROWS, USE_FORWARD};
    struct linear from = outer(&s->embed, USE_ROWS | (shares_rows(m, s) ? USE_FORWARD : 0U));
    uint64_t bytes = estimate_linear(m, &from);

    for (int i = 0; i < 2; i++)
        if (others[i]->weight != NULL) {
            from = outer(others[i], uses[i]);
            bytes += estimate_linear(m, &from);
        }
    if (!shares_rows(m, s)) {
        from = outer(&s->head, USE_ROWS | USE_FORWARD);
        from.k = (size_t)m->d;
        bytes += estimate_linear(m, &from);
    }
    return bytes;
}

/* Gives every stage its blocks, and weight_bytes = what they would take. */
static jsc_status place_blocks(const struct loader *ld, const struct sources *s, jsc_error *error)
{
    jsc_status status = JSC_OK;
    jsc_model *top = ld->model;
    const uint64_t outside = estimate_outer(top, s);
    uint64_t *bytes = NULL;

    TRY(mem_new(&bytes, (size_t)top->L, error));
    for (int l = 0; l < top->L; l++) {
        const struct block_linears all = block_linears(ld, &s->blocks[l]);
        bytes[l] = estimate_linear(top, &all.qkv) + estimate_linear(top, &all.o) + estimate_linear(top, &all.up) +
                   estimate_linear(top, &all.down);
    }
    TRY(stages_assign(top, bytes, outside, error));
    for (jsc_model *m = top; m != NULL; m = m->below) {
        m->weight_bytes = m == top ? outside : 0;
        for (int l = m->first_block; l < m->end_block; l++)
            m->weight_bytes += bytes[l];
    }
done:
    mem_free(bytes);
    return status;
}

/* Refuses weights that the device's own memory cannot hold before the first is read. */
static jsc_status check_room(const jsc_model *m, uint64_t bytes, jsc_error *error)
{
    const uint64_t left = m->ops->memory_left(m->device);
    char part[64] = "its weights";
    if (!m->device->own_memory || bytes <= left)
        return JSC_OK;
    if (m->end_block - m->first_block < m->L)
        (void)snprintf(part, sizeof part, "the weights of blocks %d to %d", m->first_block, m->end_block - 1);
    return status_set(error, JSC_E_MEMORY,
                      "%s: %s take %" PRIu64 " bytes on %s, where %" PRIu64
                      " are free: end other programs on it, take a smaller model, spread it over more GPUs (--device cuda:0+1), or use "
                      "--device cpu",
                      m->path, part, bytes, m->device->description, left);
}

/* ---- all of it --------------------------------------------------------------------------------------------------------------- */

/* One stage's blocks, of the last stage also what lies outside them. */
static jsc_status load_stage(const struct loader *shared, jsc_model *m, const struct sources *s, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct loader ld = *shared;

    ld.model = m;
    TRY(check_room(m, m->weight_bytes, error));
    m->weight_bytes = 0;
    if (m == shared->model)
        TRY(make_outer(&ld, s, error));
    for (int l = m->first_block; l < m->end_block; l++)
        TRY(make_block(&ld, l, &s->blocks[l], &m->blocks[l], error));
done:
    return status;
}

jsc_status model_load_weights(jsc_model *m, const struct tensor_set *set, struct load_progress *progress, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct loader ld = {.model = m, .set = set, .names = m->config.gguf ? &m->family->gguf : &m->family->hf, .progress = progress};
    struct sources sources = {0};

    TRY(mem_new(&ld.use, set->n, error));
    TRY(mem_new(&sources.blocks, (size_t)m->L, error));
    TRY(loader_find(&ld, &sources, error));
    TRY(loader_row_orders(&ld, error));
    TRY(place_blocks(&ld, &sources, error));
    progress->total = set->file_bytes > 0 ? set->file_bytes : 1;
    for (jsc_model *stage = m; stage != NULL; stage = stage->below) {
        for (int l = stage->first_block; l < stage->end_block; l++)
            set_traits(stage, l, &stage->blocks[l]);
        if (m->has_weights)
            TRY(load_stage(&ld, stage, &sources, error));
    }
done:
    mem_free(ld.use);
    mem_free(ld.q_rows);
    mem_free(ld.k_rows);
    mem_free(ld.qkv_rows);
    mem_free(sources.blocks);
    return status;
}
