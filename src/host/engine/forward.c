/* forward.c: the forward walk: one line per operation, in the order of the equations; what the VJP needs stays in the trace. */
#include "engine_internal.h"

#include <math.h>
#include <stdio.h>

/* Rows [N][d] REAL of this stage's first block's input, before they are wanted for that. */
static dptr spare_rows(const struct trace *t)
{
    return t->layers[t->model->first_block].x_in;
}

/* Through the projection between the embedding's width and d. e, x: host [n][width], [n][d]. */
static jsc_status project(struct trace *t, const double *e, size_t n, double *x, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_model *m = t->model;
    TRY(m->ops->put(t->stream, ROLE_ACT, t->act, e, n * (size_t)m->config.embed_width, error));
    TRY(m->ops->matmul(t->stream, &(struct op_matmul){.precise = true, .n = n, .w = m->project_in, .x = t->act, .y = spare_rows(t)},
                       error));
    TRY(m->ops->get(t->stream, ROLE_REAL, x, spare_rows(t), n * (size_t)m->d, error));
done:
    return status;
}

jsc_status forward_embeddings(struct trace *t, const int32_t *ids, size_t n, double *x, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_model *m = t->model;
    const struct op_embed embed = {.n = n, .ids = ids, .w = m->embed, .scale = m->embed_scale, .out = spare_rows(t)};

    TRY(m->ops->embed(t->stream, &embed, error));
    TRY(m->ops->get(t->stream, ROLE_REAL, x, spare_rows(t), n * (size_t)m->config.embed_width, error));
    if (m->project_in != NULL)
        TRY(project(t, x, n, x, error));
done:
    return status;
}

jsc_status forward_positions(struct trace *t, double *x, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_model *m = t->model;
    const size_t T = (size_t)t->T, n = T * (size_t)m->d;
    int32_t *rows = NULL;
    double *p = NULL;

    if (m->positions == NULL)
        return JSC_OK;
    TRY(mem_new(&rows, T, error));
    TRY(mem_new(&p, n, error));
    for (size_t i = 0; i < T; i++)
        rows[i] = (int32_t)i + m->family->position_offset;
    TRY(m->ops->embed(t->stream, &(struct op_embed){.n = T, .ids = rows, .w = m->positions, .scale = 1.0, .out = spare_rows(t)}, error));
    TRY(m->ops->get(t->stream, ROLE_REAL, p, spare_rows(t), n, error));
    for (size_t i = 0; i < n; i++)
        x[i] += p[i];
done:
    mem_free(rows);
    mem_free(p);
    return status;
}

jsc_status forward_inputs(struct trace *t, const int32_t *ids, double *x, jsc_error *error)
{
    const jsc_status status = forward_embeddings(t, ids, (size_t)t->T, x, error);
    return status == JSC_OK ? forward_positions(t, x, error) : status;
}

/* Where the rows begin that block l must give past its attention: nothing later reads the others of the last block. */
static size_t first_row(const struct trace *t, int l)
{
    return t->s_used == 1 && l >= t->model->L - 1 ? (size_t)t->top_first : 0;
}

static dptr rows_from(const struct trace *t, dptr base, size_t first, int width)
{
    return base == NULL ? NULL : dptr_at(base, first * (size_t)width, t->stream->size_of[ROLE_REAL]);
}

/* The norm in front of a half, of rows first .. first+n-1 of x; NONE: x as it is. */
static jsc_status pre_norm(struct trace *t, const struct norm_weights *w, size_t first, size_t n, dptr x, dptr r, dptr mean,
                           jsc_error *error)
{
    const jsc_model *m = t->model;
    return m->ops->norm(t->stream,
                        &(struct op_norm){.n = n,
                                          .d = m->d,
                                          .kind = m->norms.pre ? m->family->norm : NORM_NONE,
                                          .eps = m->config.norm_eps,
                                          .x = rows_from(t, x, first, m->d),
                                          .w = w->w,
                                          .b = w->b,
                                          .y = t->act,
                                          .r = rows_from(t, r, first, 1),
                                          .mean = rows_from(t, mean, first, 1)},
                        error);
}

static jsc_status add_rows(struct trace *t, size_t first, size_t n, dptr x, dptr y, jsc_error *error)
{
    const int d = t->model->d;
    return t->model->ops->add(
        t->stream, &(struct op_add){.n = n * (size_t)d, .scale = 1.0, .x = rows_from(t, x, first, d), .y = rows_from(t, y, first, d)},
        error);
}

static jsc_status post_norm(struct trace *t, const struct norm_weights *w, const struct post_trace *post, size_t first, size_t n, dptr out,
                            jsc_error *error)
{
    const jsc_model *m = t->model;
    return m->ops->norm(t->stream,
                        &(struct op_norm){.n = n,
                                          .d = m->d,
                                          .kind = m->family->norm,
                                          .eps = m->config.norm_eps,
                                          .x = rows_from(t, post->x, first, m->d),
                                          .w = w->w,
                                          .b = w->b,
                                          .y_real = rows_from(t, out, first, m->d),
                                          .r = rows_from(t, post->r, first, 1),
                                          .mean = rows_from(t, post->m, first, 1)},
                        error);
}

/* The end of a half: W y is the branch;  out = x + W y,  x + norm(W y)  or  norm(x + W y). y: ACT rows from first on. */
static jsc_status end_half(struct trace *t, const struct jsc_weight *W, const struct norm_weights *w, const struct post_trace *post,
                           size_t first, size_t n, dptr y, dptr x, dptr out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_model *m = t->model;
    const dptr branch = post->x != NULL ? post->x : out;

    TRY(m->ops->matmul(t->stream,
                       &(struct op_matmul){.precise = t->precise, .n = n, .w = W, .x = y, .y = rows_from(t, branch, first, m->d)}, error));
    if (m->norms.post)
        TRY(post_norm(t, w, post, first, n, out, error));
    TRY(add_rows(t, first, n, m->norms.sum ? branch : out, x, error));
    if (m->norms.sum)
        TRY(post_norm(t, w, post, first, n, out, error));
done:
    return status;
}

/* Queries and keys of a block, each normalised over a head's components or over all heads. */
static jsc_status qk_norm(struct trace *t, int l, size_t N, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_model *m = t->model;
    const struct layer_trace *lt = &t->layers[l];
    const struct qk_part parts[] = {qk_part(t, l, 0), qk_part(t, l, 1)};

    for (int i = 0; i < 2; i++)
        TRY(m->ops->part_norm(t->stream,
                              &(struct op_part_norm){.n = N,
                                                     .parts = parts[i].parts,
                                                     .width = parts[i].width,
                                                     .stride = (m->H + 2 * m->K) * m->h,
                                                     .kind = m->family->norm,
                                                     .own = parts[i].own,
                                                     .eps = m->config.norm_eps,
                                                     .x = dptr_at(lt->qkv, parts[i].first, t->stream->size_of[ROLE_REAL]),
                                                     .w = parts[i].w->w,
                                                     .b = parts[i].w->b,
                                                     .xhat = parts[i].hat,
                                                     .r = parts[i].r},
                              error));
done:
    return status;
}

/* qkv = rope(norm(Wqkv pre(x_in))) */
static jsc_status queries_keys_values(struct trace *t, int l, size_t N, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_model *m = t->model;
    const struct jsc_ops *ops = m->ops;
    const struct block *b = &m->blocks[l];
    struct layer_trace *lt = &t->layers[l];

    TRY(pre_norm(t, &b->attn_norm, 0, N, lt->x_in, lt->r1, lt->m1, error));
    TRY(ops->matmul(t->stream, &(struct op_matmul){.precise = t->precise, .n = N, .w = b->qkv, .x = t->act, .y = lt->qkv}, error));
    if (m->config.qk_norm)
        TRY(qk_norm(t, l, N, error));
    if (b->rotary)
        TRY(ops->rope(t->stream,
                      &(struct op_rope){.n = N,
                                        .T = t->T,
                                        .heads = m->H + m->K,
                                        .h = m->h,
                                        .rot = m->rot,
                                        .stride = (m->H + 2 * m->K) * m->h,
                                        .layout = m->family->rope,
                                        .x = lt->qkv,
                                        .cos = t->cos[b->local_rope],
                                        .sin = t->sin[b->local_rope]},
                      error));
done:
    return status;
}

/* x_mid = x_in + Wo attention(qkv), with the norms that the family puts around it */
static jsc_status attention_half(struct trace *t, int l, size_t N, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_model *m = t->model;
    const struct block *b = &m->blocks[l];
    struct layer_trace *lt = &t->layers[l];
    const dptr o_act = t->stream->one_type ? lt->o : t->o_act;
    const size_t first = first_row(t, l), q = (size_t)m->H * (size_t)m->h;

    TRY(queries_keys_values(t, l, N, error));
    TRY(m->ops->attention(t->stream,
                          &(struct op_attention){.S = t->s_used,
                                                 .T = t->T,
                                                 .H = m->H,
                                                 .K = m->K,
                                                 .h = m->h,
                                                 .window = b->window,
                                                 .scale = b->scale,
                                                 .cap = m->attn_cap,
                                                 .qkv = lt->qkv,
                                                 .o = lt->o,
                                                 .o_act = o_act,
                                                 .lse = lt->lse},
                          error));
    TRY(end_half(t, b->o, &b->attn_post, &lt->attn_post, first, N - first, dptr_at(o_act, first * q, t->stream->size_of[ROLE_ACT]),
                 lt->x_in, lt->x_mid, error));
done:
    return status;
}

/* out = x_mid + Wdown gate(Wup pre(x_mid)), with the norms that the family puts around it; parallel: pre(x_in) */
static jsc_status mlp_half(struct trace *t, int l, size_t N, dptr out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_model *m = t->model;
    const struct jsc_ops *ops = m->ops;
    const struct block *b = &m->blocks[l];
    struct layer_trace *lt = &t->layers[l];
    const size_t first = first_row(t, l), rows = N - first;

    TRY(pre_norm(t, &b->mlp_norm, first, rows, mlp_input(m, lt), lt->r2, lt->m2, error));
    TRY(ops->matmul(t->stream, &(struct op_matmul){.precise = t->precise, .n = rows, .w = b->up, .x = t->act, .y = t->wide}, error));
    TRY(ops->gate(t->stream,
                  &(struct op_gate){.n = rows,
                                    .f = m->f,
                                    .act = m->act,
                                    .gated = m->family->gated,
                                    .gu = t->wide,
                                    .a = t->wide_act,
                                    .c1 = rows_from(t, lt->c1, first, m->f),
                                    .c2 = rows_from(t, lt->c2, first, m->f)},
                  error));
    TRY(end_half(t, b->down, &b->mlp_post, &lt->mlp_post, first, rows, t->wide_act, lt->x_mid, out, error));
done:
    return status;
}

/* Which block first held a value that is not finite? Asked only when the result is broken. */
static jsc_status blame(struct trace *t, size_t N, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_model *m = t->model;
    const size_t n = N * (size_t)m->d;
    const int last = m->end_block == m->L ? m->L : m->end_block - 1; /* L: what the final norm is given */
    double *x = NULL;

    if (t->below != NULL)
        TRY(blame(t->below, N, error));
    TRY(mem_new(&x, n, error));
    for (int l = m->first_block; l <= last; l++)
        for (int half = 0; half < (l < m->L ? 2 : 1); half++) {
            const dptr stage = l == m->L ? t->x_out : half == 0 ? t->layers[l].x_in : t->layers[l].x_mid;
            const size_t known = half == 1 || l == m->L ? first_row(t, l) * (size_t)m->d : 0;
            TRY(m->ops->get(t->stream, ROLE_REAL, x, stage, n, error));
            for (size_t i = known; i < n; i++)
                if (!isfinite(x[i]))
                    FAIL(JSC_E_NUMERIC,
                         "forward pass: the residual stream is not finite at token %zu after %s of block %d: the weights overflow on this "
                         "prompt",
                         i / (size_t)m->d % (size_t)t->T,
                         half == 1 ? "attention"
                         : l == 0  ? "the embedding"
                                   : "the MLP",
                         half == 1 || l == 0 ? l : l - 1);
        }
    if (m->end_block == m->L)
        FAIL(JSC_E_NUMERIC, "forward pass: the final norm gives a value that is not finite");
done:
    mem_free(x);
    return status;
}

/* Is every known row of y finite? Looked at in pieces, so that the host never holds all of it. */
static jsc_status check_hidden(struct trace *t, size_t N, bool *finite, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_model *m = t->model;
    const size_t d = (size_t)m->d, piece = 64;
    double *y = NULL;

    *finite = true;
    TRY(mem_new(&y, piece * d, error));
    for (size_t row = first_row(t, m->L); row < N; row += piece) {
        const size_t n = (N - row < piece ? N - row : piece) * d;
        TRY(m->ops->get(t->stream, ROLE_REAL, y, rows_from(t, t->y, row, m->d), n, error));
        for (size_t i = 0; i < n; i++)
            *finite = *finite && isfinite(y[i]);
    }
done:
    mem_free(y);
    return status;
}

static jsc_status final_norm(struct trace *t, size_t N, jsc_error *error)
{
    const jsc_model *m = t->model;
    const size_t first = first_row(t, m->L);
    const dptr y_act = t->stream->one_type ? NULL : dptr_at(t->y_act, first * (size_t)m->d, t->stream->size_of[ROLE_ACT]);
    return m->ops->norm(t->stream,
                        &(struct op_norm){.n = N - first,
                                          .d = m->d,
                                          .kind = m->final_kind,
                                          .eps = m->config.norm_eps,
                                          .x = rows_from(t, t->x_out, first, m->d),
                                          .w = m->final_norm.w,
                                          .b = m->final_norm.b,
                                          .y = y_act,
                                          .y_real = rows_from(t, t->y, first, m->d),
                                          .r = rows_from(t, t->rf, first, 1),
                                          .mean = rows_from(t, t->mf, first, 1)},
                        error);
}

static jsc_status blocks(void *trace, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct trace *t = trace;
    const jsc_model *m = t->model;
    const size_t N = (size_t)t->s_used * (size_t)t->T;

    for (int l = m->first_block; l < m->end_block; l++) {
        TRY(attention_half(t, l, N, error));
        TRY(mlp_half(t, l, N, l + 1 < m->end_block ? t->layers[l + 1].x_in : t->x_out, error));
    }
    if (m->end_block == m->L)
        TRY(final_norm(t, N, error));
done:
    return status;
}

/* This stage's blocks after those below it. */
static jsc_status run_stage(struct trace *t, const double *x, int S, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_model *m = t->model;
    const size_t n = (size_t)S * (size_t)t->T * (size_t)m->d;
    const dptr in = t->layers[m->first_block].x_in;
    const int64_t key[] = {'f', S, t->top_first, t->precise};

    t->s_used = S;
    if (t->below != NULL) {
        t->below->precise = t->precise, t->below->top_first = t->top_first;
        TRY(run_stage(t->below, x, S, error));
        TRY(m->ops->copy_over(t->stream, in, m->below->device, t->below->x_out, n * t->stream->size_of[ROLE_REAL], error));
    } else {
        TRY(m->ops->put(t->stream, ROLE_REAL, in, x, n, error));
    }
    TRY(walk_recorded(t, key, sizeof key / sizeof *key, blocks, t, error));
    TRY(m->ops->sync(t->stream, error));
done:
    return status;
}

jsc_status forward_run(struct trace *t, const double *x, int S, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t N = (size_t)S * (size_t)t->T;
    const double start = clock_seconds();
    bool finite = true;

    if (S < 1 || S > t->S || t->top_first >= t->T)
        return status_set(error, JSC_E_INTERNAL, "forward of %d sequences in a trace of %d, from row %d of %d", S, t->S, t->top_first,
                          t->T);
    TRY(run_stage(t, x, S, error));
    TRY(check_hidden(t, N, &finite, error));
    if (!finite)
        TRY(blame(t, N, error));
    t->seconds_forward += clock_seconds() - start;
done:
    return status;
}

jsc_status forward_block_input(const struct trace *t, int l, double *x, size_t rows, jsc_error *error)
{
    while (l < t->model->first_block)
        t = t->below;
    return t->model->ops->get(t->stream, ROLE_REAL, x, t->layers[l].x_in, rows * (size_t)t->model->d, error);
}

jsc_status forward_hidden(struct trace *t, int row, double *y, jsc_error *error)
{
    const jsc_model *m = t->model;
    if (row < (int)first_row(t, m->L))
        return status_set(error, JSC_E_INTERNAL, "hidden state of row %d: the forward kept rows from %d on", row, t->top_first);
    return m->ops->get(t->stream, ROLE_REAL, y, rows_from(t, t->y, (size_t)row, m->d), (size_t)m->d, error);
}

jsc_status forward_logits(struct trace *t, int row, double *z, double *slope, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_model *m = t->model;
    const double start = clock_seconds();
    const size_t role = t->stream->size_of[t->stream->one_type ? ROLE_REAL : ROLE_ACT];
    const dptr y = dptr_at(t->stream->one_type ? t->y : t->y_act, (size_t)row * (size_t)m->d, role);

    TRY(m->ops->matmul(t->stream, &(struct op_matmul){.n = 1, .w = m->head, .x = y, .y = t->z}, error));
    TRY(m->ops->get(t->stream, ROLE_REAL, z, t->z, (size_t)m->V, error));
    for (int v = 0; v < m->V; v++) {
        z[v] *= m->logit_scale;
        double s = m->logit_scale;
        if (m->final_cap > 0.0) {
            z[v] = m->final_cap * tanh(z[v] / m->final_cap);
            s *= 1.0 - (z[v] / m->final_cap) * (z[v] / m->final_cap);
        }
        if (slope != NULL)
            slope[v] = s;
        if (!isfinite(z[v]))
            FAIL(JSC_E_NUMERIC, "the logit of token %d is not finite: the output head overflows on this prompt", v);
    }
    t->seconds_forward += clock_seconds() - start;
done:
    return status;
}

int32_t softmax(const double *z, size_t n, double *p)
{
    size_t best = 0;
    double sum = 0.0;
    for (size_t i = 1; i < n; i++)
        if (z[i] > z[best])
            best = i;
    for (size_t i = 0; i < n; i++)
        sum += p[i] = exp(z[i] - z[best]);
    for (size_t i = 0; i < n; i++)
        p[i] /= sum;
    return (int32_t)best;
}
