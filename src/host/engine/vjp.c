/* vjp.c: the pull-back walk: a block of cotangents goes from the final hidden state to every block's input. */
#include "vjp_internal.h"

#include <math.h>
#include <string.h>

#define BRIEF_ROWS 4096 /* gradient rows of a pull whose launches are worth recording */

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

/* Cotangents of y -> residual gradient at the target rows after the top block's MLP half. */
static jsc_status top_half(const struct walk *w, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct trace *t = w->t;
    const jsc_model *m = w->m;
    const struct rows rows = {.n = w->top, .B = w->B, .tok = t->tok};

    TRY(w->ops->zero(t->stream, t->top_R, w->top * (size_t)m->d * t->stream->size_of[ROLE_REAL], error));
    struct op_norm_vjp norm = walk_norm(w, m->final_kind, &m->final_norm, t->x_out, t->rf, t->mf, 0);
    norm.rows = rows, norm.dn = t->dn, norm.R = t->top_R, norm.G = t->top_G;
    TRY(w->ops->norm_vjp(t->stream, &norm, error));
    TRY(walk_check(w, t->top_R, w->top, m->L, "the final norm", error));
    TRY(walk_mlp_rows(w, m->L - 1, rows, 0, t->top_R, t->top_G, error));
    TRY(walk_check(w, t->top_R, w->top, m->L - 1, "the MLP", error));
    if (m->norms.sum)
        TRY(walk_sum(w, &m->blocks[m->L - 1].attn_post, &t->layers[m->L - 1].attn_post, rows, 0, t->top_R, t->top_G, error));
done:
    return status;
}

/* The host's part of a pull: where right-hand sides begin, and with what. */
static jsc_status upload(const struct walk *w, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct trace *t = w->t;
    int32_t *tok = NULL;

    TRY(w->ops->put_bytes(t->stream, t->pos, w->p->pos, (size_t)w->B * sizeof *w->p->pos, error));
    if (w->m->end_block < w->m->L) /* of a lower stage the gradient has come from above */
        goto done;
    TRY(mem_new(&tok, w->top, error));
    for (int s = 0; s < w->S; s++)
        for (int b = 0; b < w->B; b++)
            tok[s * w->B + b] = s * w->T + w->p->pos[b];
    TRY(w->ops->put_bytes(t->stream, t->tok, tok, w->top * sizeof *tok, error));
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

    if (w->m->end_block == w->m->L)
        TRY(top_half(w, error));
    for (int l = w->m->end_block - 1; l >= w->m->first_block; l--) {
        if (l < w->m->L - 1)
            TRY(walk_mlp(w, l, error));
        else
            TRY(w->ops->scatter(
                t->stream,
                &(struct op_scatter){
                    .rows = {.n = w->top, .B = w->B, .tok = t->tok}, .N = w->N, .d = w->m->d, .src = t->top_R, .R = t->R, .G = t->G},
                error));
        TRY(walk_attention(w, l, error));
        TRY(tell_level(w, l, error));
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

/* This stage's sums to the host, in the trace's own row order; *finite false if one is not. */
static jsc_status fetch_sums(const struct walk *w, bool *finite, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t whole = (size_t)w->S * (size_t)w->t->T * (size_t)w->B, levels = w->p->layers ? (size_t)w->m->end_block : 1;

    for (size_t l = (size_t)w->m->first_block; l < levels; l++) {
        double *out = w->p->sums + l * whole;
        TRY(w->ops->get_bytes(w->t->stream, out, (char *)w->t->squares + l * w->M * sizeof(double), w->M * sizeof(double), error));
        for (size_t i = 0; i < w->M; i++)
            *finite = *finite && isfinite(out[i]);
        memset(out + w->M, 0, (whole - w->M) * sizeof *out); /* tokens after the last target */
    }
done:
    return status;
}

/* Sizes of the pull in this stage's trace. */
static jsc_status begin(struct walk *w, struct trace *t, const struct pull *p, jsc_error *error)
{
    int last = 0, first = t->T;

    *w = (struct walk){.t = t, .m = t->model, .ops = t->model->ops, .p = p, .S = p->S, .T = t->T, .B = p->B};
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
        w->T = last + 1; /* a prefix of the tokens is a prefix of every saved array */
    w->N = (size_t)w->S * (size_t)w->T;
    w->M = w->N * (size_t)w->B;
    w->top = (size_t)w->S * (size_t)w->B;
    choose_pieces(w);
    return JSC_OK;
}

jsc_status vjp_receive(struct trace *t, const struct trace *above, const struct pull *p, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct walk w;
    struct jsc_device *from = above->model->device;

    TRY(begin(&w, t, p, error));
    const size_t n = w.M * (size_t)w.m->d;
    TRY(w.ops->copy_over(t->stream, t->R, from, above->R, n * t->stream->size_of[ROLE_REAL], error));
    if (t->G != t->R)
        TRY(w.ops->copy_over(t->stream, t->G, from, above->G, n * t->stream->size_of[ROLE_COT], error));
done:
    return status;
}

jsc_status vjp_stage(struct trace *t, const struct pull *p, bool check, bool *finite, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct walk w;

    TRY(begin(&w, t, p, error));
    w.check = check;
    if (p->B > t->largest_B)
        t->largest_B = p->B, t->largest_form = w.form;
    TRY(run(&w, error));
    if (p->sums != NULL)
        TRY(fetch_sums(&w, finite, error));
    if (p->grads != NULL && t->below == NULL)
        TRY(fetch_grads(&w, finite, error));
done:
    return status;
}

/* One stage after the other, from the top. */
static jsc_status through_stages(struct trace *top, const struct pull *p, bool check, bool *finite, jsc_error *error)
{
    jsc_status status = JSC_OK;

    for (struct trace *t = top, *above = NULL; t != NULL; above = t, t = t->below) {
        if (above != NULL)
            TRY(vjp_receive(t, above, p, error));
        TRY(vjp_stage(t, p, check, finite, error));
    }
done:
    return status;
}

jsc_status vjp_pull(struct trace *t, const struct pull *p, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const double start = clock_seconds();
    bool finite = true;

    TRY(through_stages(t, p, false, &finite, error));
    if (!finite) {
        TRY(through_stages(t, p, true, &finite, error));
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
