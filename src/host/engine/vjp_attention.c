/* vjp_attention.c: the attention half of the pull-back walk. */
#include "vjp_internal.h"

/* Cotangents of the heads' outputs of a slab: Wo^T post^T(G) into dout. out_rows: rows of the slab; top: those of the target positions. */
static jsc_status pull_output(const struct walk *w, int l, const struct rows *slab, bool top, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct trace *t = w->t;
    const struct block *b = &w->m->blocks[l];
    const dptr G = top ? t->top_G : t->G;
    struct rows rows = *slab;

    if (!w->m->norms.post)
        return w->ops->matmul_vjp(t->stream, &(struct op_matmul_vjp){.n = slab->n, .w = b->o, .dy = G, .dx = t->dout, .slab = *slab},
                                  error);
    rows.tok = top ? t->tok : NULL;
    TRY(walk_post(w, &b->attn_post, &t->layers[l].attn_post, rows, 0, G, t->dn, error));
    TRY(w->ops->matmul_vjp(t->stream, &(struct op_matmul_vjp){.n = slab->n, .w = b->o, .dy = t->dn, .dx = t->dout}, error));
done:
    return status;
}

/* dqkv of a slab of n right-hand sides, in place: back through the rotation and the norms of queries and keys. */
static jsc_status pull_queries_keys(const struct walk *w, int l, int n, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct trace *t = w->t;
    const jsc_model *m = w->m;
    const struct block *b = &m->blocks[l];
    const size_t rows = w->N * (size_t)n;
    const int W = (m->H + 2 * m->K) * m->h;

    if (b->rotary)
        TRY(w->ops->rope_vjp(t->stream,
                             &(struct op_rope_vjp){.n = rows,
                                                   .T = w->T,
                                                   .B = n,
                                                   .heads = m->H + m->K,
                                                   .h = m->h,
                                                   .rot = m->rot,
                                                   .stride = W,
                                                   .layout = m->family->rope,
                                                   .x = t->dqkv,
                                                   .cos = t->cos[b->local_rope],
                                                   .sin = t->sin[b->local_rope]},
                             error));
    for (int i = 0; i < 2 && m->config.qk_norm; i++) {
        const struct qk_part part = qk_part(t, l, i);
        TRY(w->ops->part_norm_vjp(t->stream,
                                  &(struct op_part_norm_vjp){.rows = {.n = rows, .B = n},
                                                             .parts = part.parts,
                                                             .width = part.width,
                                                             .stride = W,
                                                             .kind = m->family->norm,
                                                             .own = part.own,
                                                             .xhat = part.hat,
                                                             .r = part.r,
                                                             .w = part.w->w,
                                                             .dx = dptr_at(t->dqkv, part.first, t->stream->size_of[ROLE_COT])},
                                  error));
    }
done:
    return status;
}

/* dout -> dqkv -> R += pre^T(Wqkv^T dqkv) for right-hand sides b0 .. b0+n-1; squares of R's rows (of all of them) or NULL. */
static jsc_status attention_slab(const struct walk *w, int l, int b0, int n, dptr squares, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct trace *t = w->t;
    const jsc_model *m = w->m;
    const struct block *b = &m->blocks[l];
    const struct layer_trace *lt = &t->layers[l];
    const bool top = l == m->L - 1;
    const int of = n < w->B ? w->B : 0; /* whole blocks are plain rows */
    const size_t rows = w->N * (size_t)n;
    const struct rows slab = {.n = rows, .B = n, .of = of, .b0 = b0},
                      out = {.n = top ? (size_t)w->S * (size_t)n : rows, .B = n, .of = of, .b0 = b0};
    const int32_t *pos = dptr_at(t->pos, (size_t)b0, sizeof *pos);

    TRY(pull_output(w, l, &out, top, error));
    TRY(w->ops->attention_vjp(t->stream,
                              &(struct op_attention_vjp){.S = w->S,
                                                         .T = w->T,
                                                         .B = n,
                                                         .H = m->H,
                                                         .K = m->K,
                                                         .h = m->h,
                                                         .window = b->window,
                                                         .scale = b->scale,
                                                         .cap = m->attn_cap,
                                                         .pos = top ? pos : NULL,
                                                         .last = top ? NULL : pos,
                                                         .qkv = lt->qkv,
                                                         .o = lt->o,
                                                         .lse = lt->lse,
                                                         .dout = t->dout,
                                                         .dqkv = t->dqkv,
                                                         .scratch = t->scratch},
                              error));
    TRY(pull_queries_keys(w, l, n, error));
    TRY(w->ops->matmul_vjp(t->stream, &(struct op_matmul_vjp){.n = rows, .w = b->qkv, .dy = t->dqkv, .dx = t->dn}, error));
    struct op_norm_vjp norm = walk_norm(w, m->norms.pre ? m->family->norm : NORM_NONE, &b->attn_norm, lt->x_in, lt->r1, lt->m1, 0);
    norm.rows = slab, norm.dn = t->dn, norm.R = t->R, norm.G = t->G, norm.ss = squares;
    TRY(w->ops->norm_vjp(t->stream, &norm, error));
done:
    return status;
}

/* POST_SUM, all but the top block: R and G back through the norm of x + attention, a chunk of tokens at a time. */
static jsc_status attention_sum(const struct walk *w, int l, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct trace *t = w->t;
    const size_t real = t->stream->size_of[ROLE_REAL], cot = t->stream->size_of[ROLE_COT], row = (size_t)w->B * (size_t)w->m->d;

    for (size_t first = 0; first < w->N; first += w->tokens) {
        const size_t n = first + w->tokens < w->N ? w->tokens : w->N - first;
        TRY(walk_sum(w, &w->m->blocks[l].attn_post, &t->layers[l].attn_post, (struct rows){.n = n * (size_t)w->B, .B = w->B}, first,
                     dptr_at(t->R, first * row, real), dptr_at(t->G, first * row, cot), error));
    }
done:
    return status;
}

jsc_status walk_attention(const struct walk *w, int l, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const bool wanted = w->p->sums != NULL && (l == 0 || w->p->layers);
    const dptr squares = wanted ? (char *)w->t->squares + (w->p->layers ? (size_t)l : 0) * w->M * sizeof(double) : NULL;

    if (w->m->norms.sum && l < w->m->L - 1)
        TRY(attention_sum(w, l, error));
    for (int b0 = 0; b0 < w->B; b0 += w->slab)
        TRY(attention_slab(w, l, b0, w->B - b0 < w->slab ? w->B - b0 : w->slab, squares, error));
    TRY(walk_check(w, w->t->R, w->M, l, "attention", error));
done:
    return status;
}
