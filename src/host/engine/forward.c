/* forward.c: the forward walk: one line per operation, in the order of the equations; what the VJP needs stays in the trace. */
#include "engine_internal.h"

#include <math.h>
#include <stdio.h>

jsc_status forward_inputs(struct trace *t, const int32_t *ids, double *x, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_model *m = t->model;
    const size_t n = (size_t)t->T;
    const struct op_embed embed = {.n = n, .ids = ids, .w = m->embed, .scale = m->embed_scale, .out = t->layers[0].x_in};

    TRY(m->ops->embed(t->stream, &embed, error));
    TRY(m->ops->get(t->stream, ROLE_REAL, x, t->layers[0].x_in, n * (size_t)m->d, error));
done:
    return status;
}

/* x_mid = x_in + Wo attention(rope(Wqkv norm(x_in))) */
static jsc_status attention_half(struct trace *t, int l, size_t N, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_model *m = t->model;
    const struct jsc_ops *ops = m->ops;
    const struct block *b = &m->blocks[l];
    struct layer_trace *lt = &t->layers[l];
    const int W = (m->H + 2 * m->K) * m->h;
    const dptr o_act = t->stream->one_type ? lt->o : t->o_act;

    TRY(ops->norm(t->stream,
                  &(struct op_norm){.n = N,
                                    .d = m->d,
                                    .kind = m->family->norm,
                                    .eps = m->config.norm_eps,
                                    .x = lt->x_in,
                                    .w = b->attn_norm,
                                    .b = b->attn_norm_bias,
                                    .y = t->act,
                                    .r = lt->r1,
                                    .mean = lt->m1},
                  error));
    TRY(ops->matmul(t->stream, &(struct op_matmul){.precise = t->precise, .n = N, .w = b->qkv, .x = t->act, .y = lt->qkv}, error));
    if (b->rotary)
        TRY(ops->rope(t->stream,
                      &(struct op_rope){.n = N,
                                        .T = t->T,
                                        .heads = m->H + m->K,
                                        .h = m->h,
                                        .rot = m->rot,
                                        .stride = W,
                                        .layout = m->family->rope,
                                        .x = lt->qkv,
                                        .cos = t->cos,
                                        .sin = t->sin},
                      error));
    TRY(ops->attention(t->stream,
                       &(struct op_attention){.S = t->s_used,
                                              .T = t->T,
                                              .H = m->H,
                                              .K = m->K,
                                              .h = m->h,
                                              .window = b->window,
                                              .scale = m->scale,
                                              .cap = m->attn_cap,
                                              .qkv = lt->qkv,
                                              .o = lt->o,
                                              .o_act = o_act,
                                              .lse = lt->lse},
                       error));
    TRY(ops->matmul(t->stream, &(struct op_matmul){.precise = t->precise, .n = N, .w = b->o, .x = o_act, .y = lt->x_mid}, error));
    TRY(ops->add(t->stream, &(struct op_add){.n = N * (size_t)m->d, .scale = 1.0, .x = lt->x_mid, .y = lt->x_in}, error));
done:
    return status;
}

/* out = x_mid + Wdown gate(Wup norm(x_mid)) */
static jsc_status mlp_half(struct trace *t, int l, size_t N, dptr out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_model *m = t->model;
    const struct jsc_ops *ops = m->ops;
    const struct block *b = &m->blocks[l];
    struct layer_trace *lt = &t->layers[l];

    TRY(ops->norm(t->stream,
                  &(struct op_norm){.n = N,
                                    .d = m->d,
                                    .kind = m->family->norm,
                                    .eps = m->config.norm_eps,
                                    .x = lt->x_mid,
                                    .w = b->mlp_norm,
                                    .b = b->mlp_norm_bias,
                                    .y = t->act,
                                    .r = lt->r2,
                                    .mean = lt->m2},
                  error));
    TRY(ops->matmul(t->stream, &(struct op_matmul){.precise = t->precise, .n = N, .w = b->up, .x = t->act, .y = t->wide}, error));
    TRY(ops->gate(
        t->stream,
        &(struct op_gate){
            .n = N, .f = m->f, .act = m->act, .gated = m->family->gated, .gu = t->wide, .a = t->wide_act, .c1 = lt->c1, .c2 = lt->c2},
        error));
    TRY(ops->matmul(t->stream, &(struct op_matmul){.precise = t->precise, .n = N, .w = b->down, .x = t->wide_act, .y = out}, error));
    TRY(ops->add(t->stream, &(struct op_add){.n = N * (size_t)m->d, .scale = 1.0, .x = out, .y = lt->x_mid}, error));
done:
    return status;
}

/* Which block first held a value that is not finite? Asked only when the result is broken. */
static jsc_status blame(struct trace *t, size_t N, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_model *m = t->model;
    const size_t n = N * (size_t)m->d;
    double *x = NULL;

    TRY(mem_new(&x, n, error));
    for (int l = 0; l <= m->L; l++)
        for (int half = 0; half < (l < m->L ? 2 : 1); half++) {
            const dptr stage = l == m->L ? t->x_out : half == 0 ? t->layers[l].x_in : t->layers[l].x_mid;
            TRY(m->ops->get(t->stream, ROLE_REAL, x, stage, n, error));
            for (size_t i = 0; i < n; i++)
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
    FAIL(JSC_E_NUMERIC, "forward pass: the final norm gives a value that is not finite");
done:
    mem_free(x);
    return status;
}

jsc_status forward_run(struct trace *t, const double *x, int S, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_model *m = t->model;
    const struct jsc_ops *ops = m->ops;
    const size_t N = (size_t)S * (size_t)t->T, n = N * (size_t)m->d;
    const double start = clock_seconds();
    double *y = NULL;

    if (S < 1 || S > t->S)
        return status_set(error, JSC_E_INTERNAL, "forward of %d sequences in a trace of %d", S, t->S);
    t->s_used = S;
    TRY(ops->put(t->stream, ROLE_REAL, t->layers[0].x_in, x, n, error));
    for (int l = 0; l < m->L; l++) {
        TRY(attention_half(t, l, N, error));
        TRY(mlp_half(t, l, N, l + 1 < m->L ? t->layers[l + 1].x_in : t->x_out, error));
    }
    TRY(ops->norm(t->stream,
                  &(struct op_norm){.n = N,
                                    .d = m->d,
                                    .kind = m->family->norm,
                                    .eps = m->config.norm_eps,
                                    .x = t->x_out,
                                    .w = m->final_norm,
                                    .b = m->final_norm_bias,
                                    .y = t->stream->one_type ? NULL : t->y_act,
                                    .y_real = t->y,
                                    .r = t->rf,
                                    .mean = t->mf},
                  error));
    TRY(ops->sync(t->stream, error));
    TRY(mem_new(&y, n, error));
    TRY(ops->get(t->stream, ROLE_REAL, y, t->y, n, error));
    for (size_t i = 0; i < n; i++)
        if (!isfinite(y[i])) {
            status = blame(t, N, error);
            goto done;
        }
    t->seconds_forward += clock_seconds() - start;
done:
    mem_free(y);
    return status;
}

jsc_status forward_hidden(struct trace *t, int row, double *y, jsc_error *error)
{
    const jsc_model *m = t->model;
    return m->ops->get(t->stream, ROLE_REAL, y, dptr_at(t->y, (size_t)row * (size_t)m->d, t->stream->size_of[ROLE_REAL]), (size_t)m->d,
                       error);
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
