/* vjp_mlp.c: the MLP half of the pull-back walk, direct or by matrices that are multiplied out for each token (docs/math.md). */
#include "vjp_internal.h"

jsc_status walk_mlp_rows(const struct walk *w, int l, struct rows rows, size_t first, dptr R, dptr G, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const struct norm_places *at = &w->m->norms;
    const struct block *b = &w->m->blocks[l];
    const struct layer_trace *lt = &w->t->layers[l];
    struct trace *t = w->t;
    const size_t real = t->stream->size_of[ROLE_REAL], f = (size_t)w->m->f;
    const dptr c1 = dptr_at(lt->c1, first * f, real), c2 = lt->c2 != NULL ? dptr_at(lt->c2, first * f, real) : NULL;
    dptr dy = G;

    if (at->sum)
        TRY(walk_sum(w, &b->mlp_post, &lt->mlp_post, rows, first, R, G, error));
    if (at->post) {
        TRY(walk_post(w, &b->mlp_post, &lt->mlp_post, rows, first, G, t->dn, error));
        dy = t->dn;
    }
    TRY(w->ops->matmul_vjp(t->stream, &(struct op_matmul_vjp){.n = rows.n, .w = b->down, .dy = dy, .dx = t->da}, error));
    TRY(w->ops->gate_vjp(
        t->stream,
        &(struct op_gate_vjp){.rows = rows, .f = w->m->f, .gated = w->m->family->gated, .da = t->da, .c1 = c1, .c2 = c2, .dgu = t->dgu},
        error));
    TRY(w->ops->matmul_vjp(t->stream, &(struct op_matmul_vjp){.n = rows.n, .w = b->up, .dy = t->dgu, .dx = t->dn}, error));
    struct op_norm_vjp norm = walk_norm(w, at->pre ? w->m->family->norm : NORM_NONE, &b->mlp_norm, mlp_input(w->m, lt), lt->r2, lt->m2,
                                        first);
    norm.rows = rows, norm.dn = t->dn, norm.R = R, norm.G = at->parallel ? NULL : G; /* parallel: attention needs the same G */
    TRY(w->ops->norm_vjp(t->stream, &norm, error));
done:
    return status;
}

/* The same as walk_mlp_rows for n whole tokens from first on, by matrices that are multiplied out for each token. */
static jsc_status mlp_collapsed(const struct walk *w, int l, size_t first, size_t n, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const struct norm_places *at = &w->m->norms;
    const struct block *b = &w->m->blocks[l];
    const struct layer_trace *lt = &w->t->layers[l];
    struct trace *t = w->t;
    const dptr G = dptr_at(t->G, first * (size_t)w->B * (size_t)w->m->d, t->stream->size_of[ROLE_COT]);
    struct op_mlp_collapse op = {.form = w->form,
                                 .first = first,
                                 .n = n,
                                 .B = w->B,
                                 .d = w->m->d,
                                 .f = w->m->f,
                                 .gated = w->m->family->gated,
                                 .kind = at->pre ? w->m->family->norm : NORM_NONE,
                                 .up = b->up,
                                 .down = b->down,
                                 .c1 = lt->c1,
                                 .c2 = lt->c2,
                                 .x = mlp_input(w->m, lt),
                                 .r = lt->r2,
                                 .mean = lt->m2,
                                 .w = b->mlp_norm.w,
                                 .R = t->R,
                                 .G = t->G,
                                 .scratch = t->collapse};

    if (at->post) {
        TRY(walk_post(w, &b->mlp_post, &lt->mlp_post, (struct rows){.n = n * (size_t)w->B, .B = w->B}, first, G, t->dn, error));
        op.dy = t->dn;
    }
    if (at->parallel)
        op.dy = G, op.G = NULL;
    TRY(w->ops->mlp_collapse(t->stream, &op, error));
done:
    return status;
}

jsc_status walk_mlp(const struct walk *w, int l, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct trace *t = w->t;
    const size_t real = t->stream->size_of[ROLE_REAL], cot = t->stream->size_of[ROLE_COT], d = (size_t)w->m->d, B = (size_t)w->B;

    for (size_t first = 0; first < w->N; first += w->tokens) {
        const size_t n = first + w->tokens < w->N ? w->tokens : w->N - first;
        if (w->form == MLP_DIRECT)
            TRY(walk_mlp_rows(w, l, (struct rows){.n = n * B, .B = w->B}, first, dptr_at(t->R, first * B * d, real),
                              dptr_at(t->G, first * B * d, cot), error));
        else
            TRY(mlp_collapsed(w, l, first, n, error));
    }
    TRY(walk_check(w, t->R, w->M, l, "the MLP", error));
done:
    return status;
}
