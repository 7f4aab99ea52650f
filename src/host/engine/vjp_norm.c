/* vjp_norm.c: the norms of the pull-back walk, and the look for the place where it broke. */
#include "vjp_internal.h"

#include <math.h>

jsc_status walk_check(const struct walk *w, dptr R, size_t rows, int l, const char *half, jsc_error *error)
{
    jsc_status status = JSC_OK;
    double *row = NULL;
    const size_t d = (size_t)w->m->d;

    if (!w->check)
        return JSC_OK;
    TRY(mem_new(&row, d, error));
    for (size_t r = 0; r < rows; r++) {
        TRY(w->ops->get(w->t->stream, ROLE_REAL, row, dptr_at(R, r * d, w->t->stream->size_of[ROLE_REAL]), d, error));
        for (size_t i = 0; i < d; i++)
            if (!isfinite(row[i]))
                FAIL(JSC_E_NUMERIC, "backward pass: the gradient is not finite after %s of block %d: the cotangent or the weights overflow",
                     half, l);
    }
done:
    mem_free(row);
    return status;
}

struct op_norm_vjp walk_norm(const struct walk *w, enum norm_kind kind, const struct norm_weights *weights, dptr x, dptr r, dptr m,
                             size_t first)
{
    const size_t real = w->t->stream->size_of[ROLE_REAL], d = (size_t)w->m->d;
    return (struct op_norm_vjp){.d = w->m->d,
                                .kind = kind,
                                .x = x != NULL ? dptr_at(x, first * d, real) : NULL,
                                .r = r != NULL ? dptr_at(r, first, real) : NULL,
                                .mean = m != NULL ? dptr_at(m, first, real) : NULL,
                                .w = weights->w};
}

jsc_status walk_post(const struct walk *w, const struct norm_weights *weights, const struct post_trace *post, struct rows rows,
                     size_t first, dptr dy, dptr dx, jsc_error *error)
{
    const struct op_norm_vjp n = walk_norm(w, w->m->family->norm, weights, post->x, post->r, post->m, first);
    return w->ops->norm_pull(
        w->t->stream,
        &(struct op_norm_pull){.rows = rows, .d = n.d, .kind = n.kind, .x = n.x, .r = n.r, .mean = n.mean, .w = n.w, .dy = dy, .dx = dx},
        error);
}

jsc_status walk_sum(const struct walk *w, const struct norm_weights *weights, const struct post_trace *post, struct rows rows, size_t first,
                    dptr R, dptr G, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct trace *t = w->t;
    TRY(walk_post(w, weights, post, rows, first, G, t->dn, error));
    TRY(w->ops->zero(t->stream, R, rows.n * (size_t)w->m->d * t->stream->size_of[ROLE_REAL], error));
    TRY(w->ops->norm_vjp(t->stream, &(struct op_norm_vjp){.rows = rows, .d = w->m->d, .kind = NORM_NONE, .dn = t->dn, .R = R, .G = G},
                         error));
done:
    return status;
}
