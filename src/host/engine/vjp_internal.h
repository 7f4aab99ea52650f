/* vjp_internal.h: the pull-back walk in its parts: norms, the two halves of a block, the walk itself (vjp.c).
 *
 * Rows are (s T + t) B + b. In the top block only the target position's rows are non-zero until attention spreads them: its MLP and
 * output projection work on S B rows ("top"). Tokens after the last target of a chunk are not touched at all.
 * Only R lives through a block. An MLP is local to a token: it takes some tokens with all their right-hand sides at a time. Attention is
 * local to a right-hand side: it takes a slab of them with all tokens at a time. */
#ifndef JSC_VJP_INTERNAL_H
#define JSC_VJP_INTERNAL_H

#include "engine_internal.h"

/* One pull in progress. */
struct walk {
    struct trace *t;
    const jsc_model *m;
    const struct jsc_ops *ops;
    const struct pull *p;
    int S, T, B;        /* T: tokens up to the last target of this chunk (all of the trace's if S > 1) */
    size_t N, M, top;   /* S T, N B, S B */
    enum mlp_form form; /* for this pull's B, which may be smaller than what was planned */
    size_t tokens;      /* at once in the MLP half */
    int slab;           /* right-hand sides at once in the attention half */
    bool brief;         /* so little work that launching it is worth recording */
    bool check;         /* look at R after every half, to name the place where it broke */
};

/* ---- vjp.c: the blocks of one stage --------------------------------------------------------------------------------------- */

/* The gradient of a pull as the stage above has left it, whose work has been waited for. */
jsc_status vjp_receive(struct trace *t, const struct trace *above, const struct pull *p, jsc_error *error);
/* The pull through this stage's blocks; the top one begins with the cotangents. Fills those of p's sums whose levels are its own, and grads
 * (the lowest). *finite becomes false if one of them is not. check: look at every half instead, and name the first that breaks. */
jsc_status vjp_stage(struct trace *t, const struct pull *p, bool check, bool *finite, jsc_error *error);

/* ---- vjp_norm.c -------------------------------------------------------------------------------------------------------------- */

/* Only on the second, checking pass: is R (rows of it) still finite? */
jsc_status walk_check(const struct walk *w, dptr R, size_t rows, int l, const char *half, jsc_error *error);
/* A norm saved by the forward, as seen from token row `first` on. */
struct op_norm_vjp walk_norm(const struct walk *w, enum norm_kind kind, const struct norm_weights *weights, dptr x, dptr r, dptr m,
                             size_t first);
/* dx = the pull-back of dy through the norm behind a branch, or of a sum. */
jsc_status walk_post(const struct walk *w, const struct norm_weights *weights, const struct post_trace *post, struct rows rows,
                     size_t first, dptr dy, dptr dx, jsc_error *error);
/* R = the pull-back of R through the norm of a sum, and G: what stands before a half of POST_SUM is not the stream but its norm. Rows of
 * whole tokens from first on, at most mlp_rows of them. */
jsc_status walk_sum(const struct walk *w, const struct norm_weights *weights, const struct post_trace *post, struct rows rows, size_t first,
                    dptr R, dptr G, jsc_error *error);

/* ---- vjp_mlp.c --------------------------------------------------------------------------------------------------------------- */

/* R += pre^T(Wup^T gate_vjp(Wdown^T post^T(G))) for the rows given; first: row of the trace's tokens where they begin (top: rows.tok). */
jsc_status walk_mlp_rows(const struct walk *w, int l, struct rows rows, size_t first, dptr R, dptr G, jsc_error *error);
/* The MLP half of a block on all rows, a chunk of tokens (with all right-hand sides) at a time. */
jsc_status walk_mlp(const struct walk *w, int l, jsc_error *error);

/* ---- vjp_attention.c --------------------------------------------------------------------------------------------------------- */

/* The attention half of a block, a slab of right-hand sides (with all tokens) at a time. */
jsc_status walk_attention(const struct walk *w, int l, jsc_error *error);

#endif
