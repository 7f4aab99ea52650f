/* trace.c: one block of device memory for the saved activations of a forward pass and the workspace of the VJP. */
#include "engine_internal.h"

#include <math.h>

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* a * b, SIZE_MAX if it wraps: arena_push then refuses. */
static size_t times(size_t a, size_t b)
{
    size_t out = 0;
    return size_mul(a, b, &out) ? out : SIZE_MAX;
}

static void layout_post(const jsc_model *m, struct post_trace *post, size_t N, size_t real, struct arena *arena)
{
    if (!m->norms.post && !m->norms.sum)
        return;
    post->x = arena_push(arena, times(N, (size_t)m->d), real);
    post->r = arena_push(arena, N, real);
    post->m = m->family->norm == NORM_LAYER ? arena_push(arena, N, real) : NULL;
}

/* What stands behind the last block: the final norm and the logits. */
static void layout_end(struct trace *t, const jsc_model *m, size_t N, const size_t *size_of, bool one_type, struct arena *arena)
{
    const size_t real = size_of[ROLE_REAL], n = times(N, (size_t)m->d);
    t->rf = arena_push(arena, N, real);
    t->mf = m->family->norm == NORM_LAYER ? arena_push(arena, N, real) : NULL;
    t->y = arena_push(arena, n, real);
    t->y_act = one_type ? t->y : arena_push(arena, n, size_of[ROLE_ACT]);
    t->z = arena_push(arena, (size_t)m->V, real);
}

static void layout_forward(struct trace *t, const jsc_model *m, const struct trace_sizes *z, const size_t *size_of, bool one_type,
                           struct arena *arena)
{
    const size_t N = z->N, d = (size_t)m->d, f = (size_t)m->f, q = (size_t)m->H * (size_t)m->h, W = q + 2 * (size_t)m->K * (size_t)m->h;
    const size_t real = size_of[ROLE_REAL];
    const bool mean = m->family->norm == NORM_LAYER;

    for (int l = m->first_block; l < m->end_block; l++) {
        struct layer_trace local = {0}, *lt = t->layers != NULL ? &t->layers[l] : &local;
        if (z->shared && l > m->first_block) {
            if (t->layers != NULL)
                *lt = t->layers[m->first_block];
            continue;
        }
        lt->x_in = arena_push(arena, times(N, d), real);
        lt->r1 = arena_push(arena, N, real);
        lt->m1 = mean ? arena_push(arena, N, real) : NULL;
        lt->qkv = arena_push(arena, times(N, W), real);
        lt->qk_hat = m->config.qk_norm ? arena_push(arena, times(N, q + (size_t)m->K * (size_t)m->h), real) : NULL;
        lt->qk_r = m->config.qk_norm ? arena_push(arena, times(N, (size_t)m->H + (size_t)m->K), real) : NULL;
        lt->o = arena_push(arena, times(N, q), real);
        lt->lse = arena_push(arena, times(N, (size_t)m->H), real);
        lt->x_mid = arena_push(arena, times(N, d), real);
        lt->r2 = arena_push(arena, N, real);
        lt->m2 = mean ? arena_push(arena, N, real) : NULL;
        lt->c1 = arena_push(arena, times(N, f), real);
        lt->c2 = m->family->gated ? arena_push(arena, times(N, f), real) : NULL;
        layout_post(m, &lt->attn_post, N, real, arena);
        layout_post(m, &lt->mlp_post, N, real, arena);
    }
    t->x_out = arena_push(arena, times(N, d), real);
    for (int i = 0; i < (m->config.local_theta > 0.0 ? 2 : 1); i++) {
        t->cos[i] = arena_push(arena, times(z->T, (size_t)m->rot / 2), real);
        t->sin[i] = arena_push(arena, times(z->T, (size_t)m->rot / 2), real);
    }
    if (m->end_block == m->L)
        layout_end(t, m, N, size_of, one_type, arena);
}

/* Forward scratch and VJP workspace are never alive together: both begin at the same place. */
static void layout_scratch(struct trace *t, const jsc_model *m, const struct trace_sizes *z, const size_t *size_of, bool one_type,
                           struct arena *arena)
{
    const size_t N = z->N, d = (size_t)m->d, f = (size_t)m->f, q = (size_t)m->H * (size_t)m->h;
    t->act = arena_push(arena, times(N, d), size_of[ROLE_ACT]);
    t->o_act = one_type ? NULL : arena_push(arena, times(N, q), size_of[ROLE_ACT]);
    t->wide = arena_push(arena, times(N, (m->family->gated ? 2 : 1) * f), size_of[ROLE_REAL]);
    t->wide_act = arena_push(arena, times(N, f), size_of[ROLE_ACT]);
}

static void layout_backward(struct trace *t, const jsc_model *m, const struct trace_sizes *z, const size_t *size_of, bool one_type,
                            struct arena *arena)
{
    const size_t M = z->M, B = z->B, d = (size_t)m->d, f = (size_t)m->f, q = (size_t)m->H * (size_t)m->h,
                 W = q + 2 * (size_t)m->K * (size_t)m->h;
    const size_t real = size_of[ROLE_REAL], cot = size_of[ROLE_COT], up = m->family->gated ? 2 : 1;
    const size_t top = z->S * B, mlp_rows = larger(times(z->token_chunk, B), top), slab_rows = times(z->N, z->rhs_chunk);
    struct arena half;
    size_t end = 0;

    t->R = arena_push(arena, times(M, d), real);
    const bool one = one_type && !m->norms.parallel;
    t->G = one ? t->R : arena_push(arena, times(M, d), cot);
    t->top_R = arena_push(arena, times(top, d), real);
    t->top_G = one ? t->top_R : arena_push(arena, times(top, d), cot);
    t->tok = arena_push(arena, top, sizeof(int32_t));
    t->pos = arena_push(arena, B, sizeof(int32_t));
    t->squares = arena_push(arena, times(z->levels, M), sizeof(double));
    /* the two halves of a block take turns in the rest */
    half = *arena;
    t->dn = arena_push(&half, times(mlp_rows, d), cot);
    t->da = arena_push(&half, times(mlp_rows, f), cot);
    t->dgu = arena_push(&half, times(mlp_rows, up * f), cot);
    end = half.used;
    half = *arena;
    (void)arena_push(&half, times(slab_rows, d), cot); /* dn */
    t->dout = arena_push(&half, times(slab_rows, q), cot);
    t->dqkv = arena_push(&half, times(slab_rows, W), cot);
    t->scratch_bytes = m->ops->attention_vjp_scratch(m->device, (int)z->S, (int)z->T, (int)z->rhs_chunk, m->H, m->K, m->h);
    t->scratch = arena_push(&half, t->scratch_bytes, 1);
    end = larger(end, half.used);
    half = *arena;
    if (m->norms.post)
        (void)arena_push(&half, times(mlp_rows, d), cot); /* dn */
    t->collapse = arena_push(&half, 0, 1);
    const size_t before = half.used;
    if (z->form != MLP_DIRECT) {
        (void)arena_push(&half, m->ops->mlp_collapse_scratch(m->device, z->form, z->token_chunk, (int)B, m->d, m->f), 1);
        end = larger(end, half.used);
    }
    t->mlp_rows = mlp_rows;
    t->slab_rows = slab_rows;
    t->collapse_bytes = end > before ? end - before : 0;
    arena->used = end;
}

void trace_layout(struct trace *t, const jsc_model *m, const struct trace_sizes *z, const size_t size_of[ROLE_COUNT], bool one_type,
                  struct arena *arena)
{
    layout_forward(t, m, z, size_of, one_type, arena);
    struct arena forward = *arena;
    layout_scratch(t, m, z, size_of, one_type, &forward);
    if (z->backward)
        layout_backward(t, m, z, size_of, one_type, arena);
    arena->used = larger(arena->used, forward.used);
}

struct qk_part qk_part(const struct trace *t, int l, int i)
{
    const jsc_model *m = t->model;
    const struct block *b = &m->blocks[l];
    const struct layer_trace *lt = &t->layers[l];
    const int heads = i == 0 ? m->H : m->K;
    const bool whole = m->family->qk_norm == QK_WHOLE;
    const size_t q = (size_t)m->H * (size_t)m->h, query_parts = whole ? 1 : (size_t)m->H, real = t->stream->size_of[ROLE_REAL];
    return (struct qk_part){.parts = whole ? 1 : heads,
                            .width = whole ? heads * m->h : m->h,
                            .own = m->family->qk_norm == QK_OWN,
                            .first = i == 0 ? 0 : q,
                            .w = i == 0 ? &b->q_norm : &b->k_norm,
                            .hat = dptr_at(lt->qk_hat, i == 0 ? 0 : t->sizes.N * q, real),
                            .r = dptr_at(lt->qk_r, i == 0 ? 0 : t->sizes.N * query_parts, real)};
}

/* Table i of cos and sin: 0 that of most blocks, 1 that of the blocks with local_rope. */
static jsc_status put_rope(struct trace *t, int table, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_model *m = t->model;
    const size_t half = (size_t)m->rot / 2, n = (size_t)t->T * half;
    double *f = NULL, *c = NULL, *s = NULL, factor = 1.0;

    TRY(mem_new(&f, half, error));
    TRY(mem_new(&c, n, error));
    TRY(mem_new(&s, n, error));
    if (table == 0)
        factor = rope_table(&m->config, m->rot, t->plan.n_prompt > 0 ? t->plan.n_prompt : t->T, f);
    else
        rope_table_local(&m->config, m->rot, f);
    for (size_t j = 0; j < half; j++)
        for (size_t i = 0; i < (size_t)t->T; i++) {
            c[i * half + j] = factor * cos((double)i * f[j]);
            s[i * half + j] = factor * sin((double)i * f[j]);
        }
    TRY(m->ops->put(t->stream, ROLE_REAL, t->cos[table], c, n, error));
    TRY(m->ops->put(t->stream, ROLE_REAL, t->sin[table], s, n, error));
done:
    mem_free(f);
    mem_free(c);
    mem_free(s);
    return status;
}

static jsc_status build(const jsc_model *m, const jsc_plan *plan, const struct trace_sizes *z, struct trace **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct trace *t = NULL;

    TRY(mem_new(&t, 1, error));
    t->model = m;
    t->plan = *plan;
    t->sizes = *z;
    t->S = (int)z->S, t->T = (int)z->T, t->B = (int)z->B;
    TRY(mem_new(&t->layers, (size_t)m->L, error));
    TRY(m->ops->stream_open(m->device, &t->stream, error));
    struct arena arena = {0};
    trace_layout(t, m, z, t->stream->size_of, t->stream->one_type, &arena);
    if (arena.used == SIZE_MAX)
        FAIL(JSC_E_MEMORY, "%d tokens and %d right-hand sides need more memory than can be addressed", t->T, t->B);
    TRY(m->ops->alloc(m->device, arena.used, &t->memory, error));
    arena = (struct arena){.base = t->memory, .used = 0, .host = false};
    trace_layout(t, m, z, t->stream->size_of, t->stream->one_type, &arena);
    for (int i = 0; i < 2; i++)
        if (m->rot > 0 && t->cos[i] != NULL)
            TRY(put_rope(t, i, error));
    if (m->below != NULL)
        TRY(build(m->below, plan, z, &t->below, error));
    *out = t, t = NULL;
done:
    trace_free(t);
    return status;
}

jsc_status trace_make(const jsc_model *m, const jsc_plan *plan, struct trace **out, jsc_error *error)
{
    struct trace_sizes z;
    const jsc_status status = plan_sizes(m, plan, &z, error);
    return status == JSC_OK ? build(m, plan, &z, out, error) : status;
}

/* B = 1 is never pulled back. */
static struct trace_sizes forward_sizes(int S, int T)
{
    const size_t N = (size_t)S * (size_t)T;
    return (struct trace_sizes){.S = (size_t)S, .T = (size_t)T, .B = 1, .N = N, .M = N, .levels = 1, .shared = true};
}

jsc_status trace_make_forward(const struct trace *like, int S, struct trace **out, jsc_error *error)
{
    const struct trace_sizes z = forward_sizes(S, like->T);
    return build(like->model, &like->plan, &z, out, error);
}

uint64_t trace_forward_bytes(const jsc_model *model, int S, int T)
{
    const struct trace_sizes z = forward_sizes(S, T);
    uint64_t most = 0, sum = 0;
    for (const jsc_model *m = model; m != NULL; m = m->below) {
        struct trace dry = {0};
        struct arena arena = {0};
        trace_layout(&dry, m, &z, m->load_stream->size_of, m->load_stream->one_type, &arena);
        if (arena.used == SIZE_MAX)
            return UINT64_MAX;
        most = arena.used > most ? arena.used : most;
        sum += arena.used;
    }
    return model->device->own_memory > 0 ? most : sum;
}

void trace_free(struct trace *t)
{
    if (t == NULL)
        return;
    trace_free(t->below);
    if (t->stream != NULL)
        t->model->ops->stream_close(t->stream);
    t->model->ops->free(t->model->device, t->memory);
    mem_free(t->layers);
    mem_free(t);
}
