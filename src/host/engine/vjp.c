/* vjp.c: the pull-back walk: a block of cotangents goes from the final hidden state to every block's input.
 *
 * Rows are (s T + t) B + b. In the top block only the target position's rows are non-zero until attention spreads them: its MLP and
 * output projection work on S B rows ("top"). Tokens after the last target of a chunk are not touched at all.
 * Only R lives through a block. An MLP is local to a token: it takes some tokens with all their right-hand sides at a time. Attention is
 * local to a right-hand side: it takes a slab of them with all tokens at a time. */
#include "engine_internal.h"

#include <math.h>
#include <string.h>

#define BRIEF_ROWS 4096 /* gradient rows of a pull whose launches are worth recording */

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

/* Only on the second, checking pass: is R (rows of it) still finite? */
static jsc_status check_finite(const struct walk *w, dptr R, size_t rows, int l, const char *half, jsc_error *error)
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

/* A norm saved by the forward, as seen from token row `first` on. */
static struct op_norm_vjp saved_norm(const struct walk *w, enum norm_kind kind, const struct norm_weights *weights, dptr x, dptr r, dptr m,
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

/* dx = the pull-back of dy through the norm behind a branch, or of a sum. */
static jsc_status pull_post(const struct walk *w, const struct norm_weights *weights, const struct post_trace *post, struct rows rows,
                            size_t first, dptr dy, dptr dx, jsc_error *error)
{
    const struct op_norm_vjp n = saved_norm(w, w->m->family->norm, weights, post->x, post->r, post->m, first);
    return w->ops->norm_pull(
        w->t->stream,
        &(struct op_norm_pull){.rows = rows, .d = n.d, .kind = n.kind, .x = n.x, .r = n.r, .mean = n.mean, .w = n.w, .dy = dy, .dx = dx},
        error);
}

/* R = the pull-back of R through the norm of a sum, and G: what stands before a half of POST_SUM is not the stream but its norm. Rows of
 * whole tokens from first on, at most mlp_rows of them. */
static jsc_status pull_sum(const struct walk *w, const struct norm_weights *weights, const struct post_trace *post, struct rows rows,
                           size_t first, dptr R, dptr G, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct trace *t = w->t;
    TRY(pull_post(w, weights, post, rows, first, G, t->dn, error));
    TRY(w->ops->zero(t->stream, R, rows.n * (size_t)w->m->d * t->stream->size_of[ROLE_REAL], error));
    TRY(w->ops->norm_vjp(t->stream, &(struct op_norm_vjp){.rows = rows, .d = w->m->d, .kind = NORM_NONE, .dn = t->dn, .R = R, .G = G},
                         error));
done:
    return status;
}

/* R += pre^T(Wup^T gate_vjp(Wdown^T post^T(G))) for the rows given; first: row of the trace's tokens where they begin (top: rows.tok). */
static jsc_status mlp_direct(const struct walk *w, int l, struct rows rows, size_t first, dptr R, dptr G, jsc_error *error)
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
        TRY(pull_sum(w, &b->mlp_post, &lt->mlp_post, rows, first, R, G, error));
    if (at->post) {
        TRY(pull_post(w, &b->mlp_post, &lt->mlp_post, rows, first, G, t->dn, error));
        dy = t->dn;
    }
    TRY(w->ops->matmul_vjp(t->stream, &(struct op_matmul_vjp){.n = rows.n, .w = b->down, .dy = dy, .dx = t->da}, error));
    TRY(w->ops->gate_vjp(
        t->stream,
        &(struct op_gate_vjp){.rows = rows, .f = w->m->f, .gated = w->m->family->gated, .da = t->da, .c1 = c1, .c2 = c2, .dgu = t->dgu},
        error));
    TRY(w->ops->matmul_vjp(t->stream, &(struct op_matmul_vjp){.n = rows.n, .w = b->up, .dy = t->dgu, .dx = t->dn}, error));
    struct op_norm_vjp norm = saved_norm(w, at->pre ? w->m->family->norm : NORM_NONE, &b->mlp_norm, mlp_input(w->m, lt), lt->r2, lt->m2,
                                         first);
    norm.rows = rows, norm.dn = t->dn, norm.R = R, norm.G = at->parallel ? NULL : G; /* parallel: attention needs the same G */
    TRY(w->ops->norm_vjp(t->stream, &norm, error));
done:
    return status;
}

/* Fewer right-hand sides or tokens than planned may be cheaper another way and in fewer pieces, as far as the planned scratch allows. */
static void choose_pieces(struct walk *w)
{
    const struct trace *t = w->t;
    const jsc_model *m = w->m;
    w->tokens = equal_part(w->N, t->mlp_rows / (size_t)w->B);
    w->slab = (int)equal_part((size_t)w->B, t->slab_rows / w->N);
    if (w->ops->attention_vjp_scratch(m->device, w->S, w->T, w->slab, m->H, m->K, m->h) > t->scratch_bytes)
        w->slab = (int)equal_part((size_t)w->B, t->sizes.rhs_chunk);
    w->form = w->B == t->B ? t->sizes.form : mlp_form_choose(m, (int)w->N, w->B);
    if (w->form != MLP_DIRECT && w->ops->mlp_collapse_scratch(m->device, w->form, w->tokens, w->B, m->d, m->f) > t->collapse_bytes)
        w->form = MLP_DIRECT;
}

/* The same as mlp_direct for n whole tokens from first on, by matrices that are multiplied out for each token. */
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
        TRY(pull_post(w, &b->mlp_post, &lt->mlp_post, (struct rows){.n = n * (size_t)w->B, .B = w->B}, first, G, t->dn, error));
        op.dy = t->dn;
    }
    if (at->parallel)
        op.dy = G, op.G = NULL;
    TRY(w->ops->mlp_collapse(t->stream, &op, error));
done:
    return status;
}

/* The MLP half of a block on all rows, a chunk of tokens (with all right-hand sides) at a time. */
static jsc_status mlp_half(const struct walk *w, int l, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct trace *t = w->t;
    const size_t real = t->stream->size_of[ROLE_REAL], cot = t->stream->size_of[ROLE_COT], d = (size_t)w->m->d, B = (size_t)w->B;

    for (size_t first = 0; first < w->N; first += w->tokens) {
        const size_t n = first + w->tokens < w->N ? w->tokens : w->N - first;
        if (w->form == MLP_DIRECT)
            TRY(mlp_direct(w, l, (struct rows){.n = n * B, .B = w->B}, first, dptr_at(t->R, first * B * d, real),
                           dptr_at(t->G, first * B * d, cot), error));
        else
            TRY(mlp_collapsed(w, l, first, n, error));
    }
    TRY(check_finite(w, t->R, w->M, l, "the MLP", error));
done:
    return status;
}

/* R to the host, in the trace's own row order; *finite false if a value is not. */
static jsc_status fetch_grads(const struct walk *w, bool *finite, jsc_error *error)
{
    const size_t n = w->M * (size_t)w->m->d, whole = (size_t)w->S * (size_t)w->t->T * (size_t)w->B * (size_t)w->m->d;
    const jsc_status status = w->ops->get(w->t->stream, ROLE_REAL, w->p->grads, w->t->R, n, error);
    if (status != JSC_OK)
        return status;
    for (size_t i = 0; i < n; i++)
        *finite = *finite && isfinite(w->p->grads[i]);
    memset(w->p->grads + n, 0, (whole - n) * sizeof *w->p->grads);
    return JSC_OK;
}

/* Hands the gradient at block l's input to a caller who asked for every block's. */
static jsc_status tell_level(const struct walk *w, int l, jsc_error *error)
{
    jsc_status status = JSC_OK;
    bool finite = true;

    if (w->p->level == NULL || w->check)
        return JSC_OK;
    TRY(fetch_grads(w, &finite, error));
    TRY(w->p->level(w->p->user, l, w->p->grads, error));
done:
    return status;
}

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
    TRY(pull_post(w, &b->attn_post, &t->layers[l].attn_post, rows, 0, G, t->dn, error));
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
    struct op_norm_vjp norm = saved_norm(w, m->norms.pre ? m->family->norm : NORM_NONE, &b->attn_norm, lt->x_in, lt->r1, lt->m1, 0);
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
        TRY(pull_sum(w, &w->m->blocks[l].attn_post, &t->layers[l].attn_post, (struct rows){.n = n * (size_t)w->B, .B = w->B}, first,
                     dptr_at(t->R, first * row, real), dptr_at(t->G, first * row, cot), error));
    }
done:
    return status;
}

/* The attention half of a block, a slab of right-hand sides (with all tokens) at a time. */
static jsc_status attention_half(const struct walk *w, int l, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const bool wanted = w->p->sums != NULL && (l == 0 || w->p->layers);
    const dptr squares = wanted ? (char *)w->t->squares + (w->p->layers ? (size_t)l : 0) * w->M * sizeof(double) : NULL;

    if (w->m->norms.sum && l < w->m->L - 1)
        TRY(attention_sum(w, l, error));
    for (int b0 = 0; b0 < w->B; b0 += w->slab)
        TRY(attention_slab(w, l, b0, w->B - b0 < w->slab ? w->B - b0 : w->slab, squares, error));
    TRY(check_finite(w, w->t->R, w->M, l, "attention", error));
    TRY(tell_level(w, l, error));
done:
    return status;
}

/* Cotangents of y -> residual gradient at the target rows after the top block's MLP half. */
static jsc_status top_half(const struct walk *w, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct trace *t = w->t;
    const jsc_model *m = w->m;
    const struct rows rows = {.n = w->top, .B = w->B, .tok = t->tok};

    TRY(w->ops->zero(t->stream, t->top_R, w->top * (size_t)m->d * t->stream->size_of[ROLE_REAL], error));
    struct op_norm_vjp norm = saved_norm(w, m->final_kind, &m->final_norm, t->x_out, t->rf, t->mf, 0);
    norm.rows = rows, norm.dn = t->dn, norm.R = t->top_R, norm.G = t->top_G;
    TRY(w->ops->norm_vjp(t->stream, &norm, error));
    TRY(check_finite(w, t->top_R, w->top, m->L, "the final norm", error));
    TRY(mlp_direct(w, m->L - 1, rows, 0, t->top_R, t->top_G, error));
    TRY(check_finite(w, t->top_R, w->top, m->L - 1, "the MLP", error));
    if (m->norms.sum)
        TRY(pull_sum(w, &m->blocks[m->L - 1].attn_post, &t->layers[m->L - 1].attn_post, rows, 0, t->top_R, t->top_G, error));
done:
    return status;
}

/* The host's part of a pull: where right-hand sides begin, and with what. */
static jsc_status upload(const struct walk *w, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct trace *t = w->t;
    int32_t *tok = NULL;

    TRY(mem_new(&tok, w->top, error));
    for (int s = 0; s < w->S; s++)
        for (int b = 0; b < w->B; b++)
            tok[s * w->B + b] = s * w->T + w->p->pos[b];
    TRY(w->ops->put_bytes(t->stream, t->tok, tok, w->top * sizeof *tok, error));
    TRY(w->ops->put_bytes(t->stream, t->pos, w->p->pos, (size_t)w->B * sizeof *w->p->pos, error));
    TRY(w->ops->put(t->stream, ROLE_COT, t->dn, w->p->cot, w->top * (size_t)w->m->d, error));
done:
    mem_free(tok);
    return status;
}

static jsc_status blocks(void *walk, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const struct walk *w = walk;
    struct trace *t = w->t;

    TRY(top_half(w, error));
    for (int l = w->m->L - 1; l >= 0; l--) {
        if (l < w->m->L - 1)
            TRY(mlp_half(w, l, error));
        else
            TRY(w->ops->scatter(
                t->stream,
                &(struct op_scatter){
                    .rows = {.n = w->top, .B = w->B, .tok = t->tok}, .N = w->N, .d = w->m->d, .src = t->top_R, .R = t->R, .G = t->G},
                error));
        TRY(attention_half(w, l, error));
        if (w->p->tick != NULL && !w->brief) { /* what is done, not what is queued: a block's work is long beside one wait */
            TRY(w->ops->sync(t->stream, error));
            TRY(w->p->tick(w->p->tick_user, (double)(w->m->L - l) / (double)w->m->L, error));
        }
    }
done:
    return status;
}

/* Launches of a short pull cost as much as their work: a device that can repeat them at once does. */
static jsc_status run(struct walk *w, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const struct pull *p = w->p;
    const int64_t key[] = {'v', w->S, w->T, w->B, (int64_t)w->form, (int64_t)w->tokens, w->slab, p->sums != NULL, p->layers};

    w->brief = w->ops->record_begin != NULL && w->M <= BRIEF_ROWS && p->level == NULL && !w->check;
    TRY(upload(w, error));
    TRY(w->brief ? walk_recorded(w->t, key, sizeof key / sizeof *key, blocks, w, error) : blocks(w, error));
    TRY(w->ops->sync(w->t->stream, error));
    if (w->brief && p->tick != NULL)
        TRY(p->tick(p->tick_user, 1.0, error));
done:
    return status;
}

/* Sums to the host, in the trace's own row order; *finite false if one is not. */
static jsc_status fetch_sums(const struct walk *w, bool *finite, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t levels = w->p->layers ? (size_t)w->m->L : 1, whole = (size_t)w->S * (size_t)w->t->T * (size_t)w->B;

    for (size_t l = 0; l < levels; l++) {
        double *out = w->p->sums + l * whole;
        TRY(w->ops->get_bytes(w->t->stream, out, (char *)w->t->squares + l * w->M * sizeof(double), w->M * sizeof(double), error));
        for (size_t i = 0; i < w->M; i++)
            *finite = *finite && isfinite(out[i]);
        memset(out + w->M, 0, (whole - w->M) * sizeof *out); /* tokens after the last target */
    }
done:
    return status;
}

jsc_status vjp_pull(struct trace *t, const struct pull *p, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct walk w = {.t = t, .m = t->model, .ops = t->model->ops, .p = p, .S = p->S, .T = t->T, .B = p->B};
    const double start = clock_seconds();
    bool finite = true;
    int last = 0, first = t->T;

    for (int b = 0; b < p->B; b++) {
        last = p->pos[b] > last ? p->pos[b] : last;
        first = p->pos[b] < first ? p->pos[b] : first;
    }
    if (p->S == 1 && first < t->top_first)
        return status_set(error, JSC_E_INTERNAL, "pull from token %d: the forward kept rows from %d on", first, t->top_first);
    if (p->B < 1 || p->B > t->B || p->S != t->s_used || last >= t->T || (p->layers && t->sizes.levels < (size_t)t->model->L))
        return status_set(error, JSC_E_INTERNAL, "pull of %d sequences, %d right-hand sides to token %d in a trace of %d, %d, %d", p->S,
                          p->B, last, t->s_used, t->B, t->T);
    if (p->S == 1)
        w.T = last + 1; /* a prefix of the tokens is a prefix of every saved array */
    w.N = (size_t)w.S * (size_t)w.T;
    w.M = w.N * (size_t)w.B;
    w.top = (size_t)w.S * (size_t)w.B;
    choose_pieces(&w);
    if (p->B > t->largest_B)
        t->largest_B = p->B, t->largest_form = w.form;
    TRY(run(&w, error));
    if (p->sums != NULL)
        TRY(fetch_sums(&w, &finite, error));
    if (p->grads != NULL)
        TRY(fetch_grads(&w, &finite, error));
    if (!finite) {
        w.check = true;
        TRY(run(&w, error));
        FAIL(JSC_E_NUMERIC, "backward pass: a sum of squares is not finite: the cotangents are too large");
    }
    t->seconds_backward += clock_seconds() - start;
done:
    return status;
}

jsc_status head_cotangents(struct trace *t, size_t n, const size_t *start, const int32_t *ids, const double *coef, double *out,
                           jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_model *m = t->model;
    const size_t rows = t->mlp_rows; /* of dn */

    for (size_t first = 0; first < n; first += rows) {
        const size_t count = first + rows < n ? rows : n - first;
        TRY(m->ops->head_vjp(
            t->stream, &(struct op_head_vjp){.n = count, .start = start + first, .ids = ids, .coef = coef, .w = m->head, .out = t->dn},
            error));
        TRY(m->ops->get(t->stream, ROLE_COT, out + first * (size_t)m->d, t->dn, count * (size_t)m->d, error));
    }
done:
    return status;
}
