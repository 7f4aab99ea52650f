/* run_vjp.c: runs one case of a pull-back operation on a rig. Values that a forward pass would have saved (r, o, lse) are made in double
 * here: a backend that stores them in float rounds them, and what that costs counts as its error. Outputs start as NaN. */
#include "testing.h"

static size_t step_of(const struct op_run *run, size_t rows)
{
    return run->chunk > 0 ? (size_t)run->chunk : rows;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* rows.tok of the top block, on the device: row s*b_n + b is token s*T + pos[b]; NULL if all rows live. */
static dptr top_tokens(struct op_run *run)
{
    const struct op_case *c = &run->c;
    if (c->live != LIVE_TOP)
        return NULL;
    int32_t *tok = calloc((size_t)(c->S * run->b_n), sizeof *tok);
    cr_assert(tok != NULL);
    for (int s = 0; s < c->S; s++)
        for (int b = 0; b < run->b_n; b++)
            tok[s * run->b_n + b] = s * c->T + run_pos(run, b);
    dptr out = rig_bytes(run->rig, tok, (size_t)(c->S * run->b_n) * sizeof *tok);
    free(tok);
    return out;
}

/* x [N][d] with r (and mean) as norm saves them, on the device */
struct saved_norm {
    dptr x, r, mean, w;
};
static struct saved_norm save_norm(struct op_run *run, size_t N, size_t d)
{
    struct rig *rig = run->rig;
    if (run->c.norm == NORM_NONE)
        return (struct saved_norm){.x = NULL};
    const double *x = data(1, N * d, 2.0);
    double *r = new_doubles(N), *mean = new_doubles(N);
    for (size_t i = 0; i < N; i++) {
        double squares = 0.0;
        for (size_t j = 0; run->c.norm == NORM_LAYER && j < d; j++)
            mean[i] += x[i * d + j] / (double)d;
        for (size_t j = 0; j < d; j++)
            squares += (x[i * d + j] - mean[i]) * (x[i * d + j] - mean[i]);
        r[i] = 1.0 / sqrt(squares / (double)d + 1e-5);
    }
    const struct saved_norm out = {
        .x = rig_up(rig, ROLE_REAL, x, N * d),
        .r = rig_up(rig, ROLE_REAL, r, N),
        .mean = run->c.norm == NORM_LAYER ? rig_up(rig, ROLE_REAL, mean, N) : NULL,
        .w = rig_up(rig, ROLE_REAL, data(2, d, 1.0), d),
    };
    free(r);
    free(mean);
    return out;
}

static void run_head_vjp(struct op_run *run)
{
    const struct op_case *c = &run->c;
    struct rig *rig = run->rig;
    const size_t B = (size_t)c->B, d = (size_t)c->d, V = (size_t)c->V, terms = (size_t)c->n;
    const struct jsc_weight *w = rig_weight(rig, 10, V, d, false, USE_ROWS);
    dptr out = rig_blank(rig, ROLE_COT, (size_t)run->b_n * d);
    const double *coef = data(3, B * terms, 1.0); /* host values stay double in every backend */
    size_t start[65];
    int32_t *ids = calloc(B * terms, sizeof *ids);
    cr_assert(ids != NULL && B < 65);
    for (size_t i = 0; i <= B; i++)
        start[i] = i * terms;
    for (size_t i = 0; i < B * terms; i++)
        ids[i] = (int32_t)((7 * (i / terms) + i) % V);
    RUN(rig, head_vjp, .n = (size_t)run->b_n, .start = start + run->b_first, .ids = ids, .coef = coef, .w = w, .out = out);
    run_take(run, "out", ROLE_COT, out, (size_t)run->b_n, d, true);
    free(ids);
}

/* Row r of a slab among rows [tokens * B]; by its own arithmetic, not by rows_at(), which is tested. */
static size_t slab_row(const struct rows *slab, int B, size_t r)
{
    return r / (size_t)slab->B * (size_t)B + (size_t)slab->b0 + r % (size_t)slab->B;
}

/* Rows [tokens * n][width] of right-hand sides b0 .. b0+n-1 out of rows [tokens * B][width], or back to their places. */
static void slab_take(const double *whole, size_t tokens, int B, const struct rows *slab, size_t width, double *part)
{
    for (size_t r = 0; r < tokens * (size_t)slab->B; r++)
        memcpy(part + r * width, whole + slab_row(slab, B, r) * width, width * sizeof *part);
}

static void slab_put(const double *part, size_t tokens, int B, const struct rows *slab, size_t width, double *whole)
{
    for (size_t r = 0; r < tokens * (size_t)slab->B; r++)
        memcpy(whole + slab_row(slab, B, r) * width, part + r * width, width * sizeof *part);
}

/* The next slab from b0 on. */
static struct rows slab_at(const struct op_run *run, size_t tokens, int b0)
{
    const int left = run->b_n - b0, n = left < run->c.slab ? left : run->c.slab;
    return (struct rows){.n = tokens * (size_t)n, .B = n, .of = run->b_n, .b0 = b0};
}

static void matmul_vjp_slabs(struct op_run *run, const struct jsc_weight *w, dptr dy, size_t N)
{
    const size_t k = (size_t)run->c.d;
    double *whole = new_doubles(N * (size_t)run->b_n * k), *part = new_doubles(N * (size_t)run->b_n * k);
    for (int b0 = 0; b0 < run->b_n; b0 += run->c.slab) {
        const struct rows slab = slab_at(run, N, b0);
        dptr dx = rig_blank(run->rig, ROLE_COT, slab.n * k);
        RUN(run->rig, matmul_vjp, .n = slab.n, .w = w, .dy = dy, .dx = dx, .slab = slab);
        rig_down(run->rig, ROLE_COT, part, dx, slab.n * k);
        slab_put(part, N, run->b_n, &slab, k, whole);
    }
    outputs_add(run->out, "dx", ROLE_COT, N * (size_t)run->b_n, k, true, whole);
    free(part);
}

static void run_matmul_vjp(struct op_run *run)
{
    const struct op_case *c = &run->c;
    struct rig *rig = run->rig;
    const size_t N = (size_t)c->S * (size_t)c->T, M = N * (size_t)run->b_n, k = (size_t)c->d, n_out = (size_t)c->f, step = step_of(run, M);
    const struct jsc_weight *w = rig_weight(rig, 10, n_out, k, false, USE_VJP);
    double *dy_host = run_cotangents(run, 1, N, n_out), *dx_host = run_cotangents(run, 2, N, k);
    dptr dy = rig_up(rig, ROLE_COT, dy_host, M * n_out);
    dptr dx = c->accumulate ? rig_up(rig, ROLE_COT, dx_host, M * k) : rig_blank(rig, ROLE_COT, M * k);
    for (size_t i = 0; c->slab == 0 && i < M; i += step)
        RUN(rig, matmul_vjp, .n = least(step, M - i), .w = w, .dy = rig_at(rig, ROLE_COT, dy, i * n_out),
            .dx = rig_at(rig, ROLE_COT, dx, i * k), .accumulate = c->accumulate);
    if (c->slab > 0)
        matmul_vjp_slabs(run, w, dy, N);
    else
        run_take(run, "dx", ROLE_COT, dx, M, k, true);
    free(dy_host);
    free(dx_host);
}

/* R, G and ss are the whole block's, as in one call. */
static void norm_vjp_slabs(struct op_run *run, const struct op_norm_vjp *whole, const double *dn_host, size_t N)
{
    const size_t d = (size_t)run->c.d;
    double *part = new_doubles(N * (size_t)run->b_n * d);
    for (int b0 = 0; b0 < run->b_n; b0 += run->c.slab) {
        struct op_norm_vjp op = *whole;
        op.rows = slab_at(run, N, b0);
        slab_take(dn_host, N, run->b_n, &op.rows, d, part);
        op.dn = rig_up(run->rig, ROLE_COT, part, op.rows.n * d);
        rig_ok(run->rig, run->rig->ops->norm_vjp(run->rig->stream, &op, &run->rig->error), "norm_vjp");
    }
    free(part);
}

static void run_norm_vjp(struct op_run *run)
{
    const struct op_case *c = &run->c;
    struct rig *rig = run->rig;
    const size_t N = (size_t)c->S * (size_t)c->T, B = (size_t)run->b_n, d = (size_t)c->d;
    const size_t tokens = c->live == LIVE_TOP ? (size_t)c->S : N, rows = tokens * B;
    const struct saved_norm saved = save_norm(run, N, d);
    const int32_t *tok = top_tokens(run);
    double *dn_host = run_cotangents(run, 3, tokens, d), *R_host = run_cotangents(run, 4, tokens, d);
    dptr dn = rig_up(rig, ROLE_COT, dn_host, rows * d), R = rig_up(rig, ROLE_REAL, R_host, rows * d);
    dptr G = rig->stream->one_type && !c->apart ? R : rig_blank(rig, ROLE_COT, rows * d), ss = rig_bytes(rig, NULL, rows * sizeof(double));
    const size_t step = step_of(run, tokens);
    const struct op_norm_vjp whole = {
        .d = c->d, .kind = c->norm, .x = saved.x, .r = saved.r, .mean = saved.mean, .w = saved.w, .R = R, .G = G, .ss = ss};
    if (c->slab > 0)
        norm_vjp_slabs(run, &whole, dn_host, N);
    for (size_t t = 0; c->slab == 0 && t < tokens; t += step) {
        const size_t first = t * B, skip = tok != NULL ? 0 : t; /* without tok a call counts its tokens from 0 */
        RUN(rig, norm_vjp, .rows = {.n = least(step, tokens - t) * B, .B = run->b_n, .tok = tok != NULL ? tok + first : NULL}, .d = c->d,
            .kind = c->norm, .x = rig_at(rig, ROLE_REAL, saved.x, skip * d), .r = rig_at(rig, ROLE_REAL, saved.r, skip),
            .mean = rig_at(rig, ROLE_REAL, saved.mean, skip), .w = saved.w, .dn = rig_at(rig, ROLE_COT, dn, first * d),
            .R = rig_at(rig, ROLE_REAL, R, first * d), .G = rig_at(rig, ROLE_COT, G, first * d), .ss = (double *)ss + first);
    }
    run_take(run, "R", ROLE_REAL, R, rows, d, true);
    run_take(run, "G", ROLE_COT, G, rows, d, true);
    run_take_doubles(run, "ss", ss, rows, 1, true);
    free(dn_host);
    free(R_host);
}

/* dy and the tokens are the whole block's, dx of a slab by itself. */
static void norm_pull_slabs(struct op_run *run, const struct op_norm_pull *whole, size_t tokens)
{
    const size_t d = (size_t)run->c.d, rows = tokens * (size_t)run->b_n;
    double *all = new_doubles(rows * d), *part = new_doubles(rows * d);
    for (int b0 = 0; b0 < run->b_n; b0 += run->c.slab) {
        struct op_norm_pull op = *whole;
        op.rows = slab_at(run, tokens, b0);
        op.rows.tok = whole->rows.tok;
        op.dx = rig_blank(run->rig, ROLE_COT, op.rows.n * d);
        rig_ok(run->rig, run->rig->ops->norm_pull(run->rig->stream, &op, &run->rig->error), "norm_pull");
        rig_down(run->rig, ROLE_COT, part, op.dx, op.rows.n * d);
        slab_put(part, tokens, run->b_n, &op.rows, d, all);
    }
    outputs_add(run->out, "dx", ROLE_COT, rows, d, true, all);
    free(part);
}

static void run_norm_pull(struct op_run *run)
{
    const struct op_case *c = &run->c;
    struct rig *rig = run->rig;
    const size_t N = (size_t)c->S * (size_t)c->T, B = (size_t)run->b_n, d = (size_t)c->d;
    const size_t tokens = c->live == LIVE_TOP ? (size_t)c->S : N, rows = tokens * B, step = step_of(run, tokens);
    const struct saved_norm saved = save_norm(run, N, d);
    const int32_t *tok = top_tokens(run);
    double *dy_host = run_cotangents(run, 3, tokens, d);
    dptr dy = rig_up(rig, ROLE_COT, dy_host, rows * d);
    const struct op_norm_pull whole = {
        .rows.tok = tok, .d = c->d, .kind = c->norm, .x = saved.x, .r = saved.r, .mean = saved.mean, .w = saved.w, .dy = dy};
    if (c->slab > 0) {
        norm_pull_slabs(run, &whole, tokens);
    } else {
        dptr dx = rig_blank(rig, ROLE_COT, rows * d);
        for (size_t t = 0; t < tokens; t += step) {
            const size_t first = t * B, skip = tok != NULL ? 0 : t;
            RUN(rig, norm_pull, .rows = {.n = least(step, tokens - t) * B, .B = run->b_n, .tok = tok != NULL ? tok + first : NULL},
                .d = c->d, .kind = c->norm, .x = rig_at(rig, ROLE_REAL, saved.x, skip * d), .r = rig_at(rig, ROLE_REAL, saved.r, skip),
                .mean = rig_at(rig, ROLE_REAL, saved.mean, skip), .w = saved.w, .dy = rig_at(rig, ROLE_COT, dy, first * d),
                .dx = rig_at(rig, ROLE_COT, dx, first * d));
        }
        run_take(run, "dx", ROLE_COT, dx, rows, d, true);
    }
    free(dy_host);
}

/* xhat [N][parts*width] and r [N][parts] as part_norm saves them, on the device */
static void save_parts(struct op_run *run, int id, size_t parts, size_t width, dptr *xhat_out, dptr *r_out)
{
    const size_t N = (size_t)run->c.S * (size_t)run->c.T;
    const double *x = data(id, N * parts * width, 2.0);
    double *xhat = new_doubles(N * parts * width), *r = new_doubles(N * parts);
    for (size_t p = 0; p < N * parts; p++) {
        double mean = 0.0, squares = 0.0;
        for (size_t j = 0; run->c.norm == NORM_LAYER && j < width; j++)
            mean += x[p * width + j] / (double)width;
        for (size_t j = 0; j < width; j++)
            squares += (x[p * width + j] - mean) * (x[p * width + j] - mean);
        r[p] = 1.0 / sqrt(squares / (double)width + 1e-5);
        for (size_t j = 0; j < width; j++)
            xhat[p * width + j] = (x[p * width + j] - mean) * r[p];
    }
    *xhat_out = rig_up(run->rig, ROLE_REAL, xhat, N * parts * width);
    *r_out = rig_up(run->rig, ROLE_REAL, r, N * parts);
    free(xhat);
    free(r);
}

static void run_part_norm_vjp(struct op_run *run)
{
    const struct op_case *c = &run->c;
    struct rig *rig = run->rig;
    const size_t N = (size_t)c->S * (size_t)c->T, B = (size_t)run->b_n, h = (size_t)c->h, W = (size_t)(c->H + 2 * c->K) * h;
    const size_t step = step_of(run, N);
    double *host = run_cotangents(run, 1, N, W);
    dptr dx = rig_up(rig, ROLE_COT, host, N * B * W);
    for (int k = 0; k < 2; k++) { /* 0: queries */
        const size_t heads = (size_t)(k == 0 ? c->H : c->K), all = heads * h, parts = c->one_part ? 1 : heads, width = all / parts;
        const size_t from = k == 0 ? 0 : (size_t)c->H * h, own = c->own ? all : width;
        dptr xhat, r, w = rig_up(rig, ROLE_REAL, data(2 + k, own, 1.0), own);
        save_parts(run, 4 + k, parts, width, &xhat, &r);
        for (size_t t = 0; t < N; t += step)
            RUN(rig, part_norm_vjp, .rows = {.n = least(step, N - t) * B, .B = run->b_n}, .parts = (int)parts, .width = (int)width,
                .stride = (int)W, .kind = c->norm, .own = c->own, .xhat = rig_at(rig, ROLE_REAL, xhat, t * all),
                .r = rig_at(rig, ROLE_REAL, r, t * parts), .w = w, .dx = rig_at(rig, ROLE_COT, dx, t * B * W + from));
    }
    run_take(run, "dx", ROLE_COT, dx, N * B, W, true);
    free(host);
}

static void run_gate_vjp(struct op_run *run)
{
    const struct op_case *c = &run->c;
    struct rig *rig = run->rig;
    const size_t N = (size_t)c->S * (size_t)c->T, B = (size_t)run->b_n, f = (size_t)c->f, width = c->gated ? 2 * f : f;
    const size_t tokens = c->live == LIVE_TOP ? (size_t)c->S : N, rows = tokens * B;
    const int32_t *tok = top_tokens(run);
    double *da_host = run_cotangents(run, 1, tokens, f);
    dptr da = rig_up(rig, ROLE_COT, da_host, rows * f), dgu = rig_blank(rig, ROLE_COT, rows * width);
    dptr c1 = rig_up(rig, ROLE_REAL, data(2, N * f, 1.0), N * f), c2 = c->gated ? rig_up(rig, ROLE_REAL, data(3, N * f, 1.0), N * f) : NULL;
    const size_t step = step_of(run, tokens);
    for (size_t t = 0; t < tokens; t += step) {
        const size_t first = t * B, skip = tok != NULL ? 0 : t;
        RUN(rig, gate_vjp, .rows = {.n = least(step, tokens - t) * B, .B = run->b_n, .tok = tok != NULL ? tok + first : NULL}, .f = c->f,
            .gated = c->gated, .da = rig_at(rig, ROLE_COT, da, first * f), .c1 = rig_at(rig, ROLE_REAL, c1, skip * f),
            .c2 = rig_at(rig, ROLE_REAL, c2, skip * f), .dgu = rig_at(rig, ROLE_COT, dgu, first * width));
    }
    run_take(run, "dgu", ROLE_COT, dgu, rows, width, true);
    free(da_host);
}

static void run_mlp_collapse(struct op_run *run)
{
    const struct op_case *c = &run->c;
    struct rig *rig = run->rig;
    const size_t N = (size_t)c->S * (size_t)c->T, rows = N * (size_t)run->b_n, d = (size_t)c->d, f = (size_t)c->f;
    const struct saved_norm saved = save_norm(run, N, d);
    const struct jsc_weight *up = rig_weight(rig, 10, c->gated ? 2 * f : f, d, false, USE_ROWS);
    const struct jsc_weight *down = rig_weight(rig, 12, d, f, false, USE_ROWS | USE_VJP);
    double *R_host = run_cotangents(run, 4, N, d);
    dptr R = rig_up(rig, ROLE_REAL, R_host, rows * d), G = rig->stream->one_type ? R : rig_up(rig, ROLE_COT, R_host, rows * d);
    dptr c1 = rig_up(rig, ROLE_REAL, data(5, N * f, 1.0), N * f), c2 = c->gated ? rig_up(rig, ROLE_REAL, data(6, N * f, 1.0), N * f) : NULL;
    dptr ss = rig_bytes(rig, NULL, rows * sizeof(double));
    const size_t step = step_of(run, N);
    double *dy_host = c->apart ? run_cotangents(run, 7, N, d) : NULL;
    dptr dy = c->apart ? rig_up(rig, ROLE_COT, dy_host, rows * d) : NULL;
    dptr scratch = rig_bytes(rig, NULL, rig->ops->mlp_collapse_scratch(rig->device, c->form, step, run->b_n, c->d, c->f));
    for (size_t t = 0; t < N; t += step)
        RUN(rig, mlp_collapse, .form = c->form, .first = t, .n = least(step, N - t), .B = run->b_n, .d = c->d, .f = c->f, .gated = c->gated,
            .kind = c->norm, .up = up, .down = down, .c1 = c1, .c2 = c2, .x = saved.x, .r = saved.r, .mean = saved.mean, .w = saved.w,
            .dy = c->apart ? rig_at(rig, ROLE_COT, dy, t * (size_t)run->b_n * d) : NULL, .R = R, .G = c->apart ? NULL : G, .ss = ss,
            .scratch = scratch);
    run_take(run, "R", ROLE_REAL, R, rows, d, true);
    if (!c->apart)
        run_take(run, "G", ROLE_COT, G, rows, d, true);
    run_take_doubles(run, "ss", ss, rows, 1, true);
    free(R_host), free(dy_host);
}

/* dout as the case's live rows want it; rows of tokens after last[b] are zeroed */
static double *attention_cotangents(const struct op_run *run, size_t width)
{
    const struct op_case *c = &run->c;
    const size_t tokens = (size_t)c->S * (c->live == LIVE_TOP ? 1 : (size_t)c->T), B = (size_t)run->b_n;
    double *dout = run_cotangents(run, 2, tokens, width);
    for (size_t row = 0; c->live == LIVE_LAST && row < tokens * B; row++)
        if ((int)(row / B % (size_t)c->T) > run_pos(run, (int)(row % B)))
            memset(dout + row * width, 0, width * sizeof *dout);
    return dout;
}

static void run_attention_vjp(struct op_run *run)
{
    const struct op_case *c = &run->c;
    struct rig *rig = run->rig, exact;
    const size_t N = (size_t)c->S * (size_t)c->T, B = (size_t)run->b_n, H = (size_t)c->H, h = (size_t)c->h, W = (H + 2 * (size_t)c->K) * h;
    const double *qkv_host = data(1, N * W, 1.5), scale = c->scale > 0.0 ? c->scale : 1.0 / sqrt((double)c->h);
    double *o_host = new_doubles(N * H * h), *lse_host = new_doubles(N * H), *dout_host = attention_cotangents(run, H * h);
    int32_t pos[128];
    cr_assert(run->b_n <= 128);
    for (int b = 0; b < run->b_n; b++)
        pos[b] = run_pos(run, b);
    rig_open(&exact, &ops_ref, 1); /* device memory of ref is host memory */
    RUN(&exact, attention, .S = c->S, .T = c->T, .H = c->H, .K = c->K, .h = c->h, .window = c->window, .scale = scale, .cap = c->cap,
        .qkv = (dptr)(uintptr_t)qkv_host, .o = o_host, .o_act = o_host, .lse = lse_host);
    rig_close(&exact);

    dptr qkv = rig_up(rig, ROLE_REAL, qkv_host, N * W), o = rig_up(rig, ROLE_REAL, o_host, N * H * h);
    dptr lse = rig_up(rig, ROLE_REAL, lse_host, N * H);
    dptr dout = rig_up(rig, ROLE_COT, dout_host, (c->live == LIVE_TOP ? (size_t)c->S : N) * B * H * h);
    dptr dqkv = rig_blank(rig, ROLE_COT, N * B * W), places = rig_bytes(rig, pos, B * sizeof *pos);
    dptr scratch = rig_bytes(rig, NULL, rig->ops->attention_vjp_scratch(rig->device, c->S, c->T, run->b_n, c->H, c->K, c->h));
    RUN(rig, attention_vjp, .S = c->S, .T = c->T, .B = run->b_n, .H = c->H, .K = c->K, .h = c->h, .window = c->window, .scale = scale,
        .cap = c->cap, .pos = c->live == LIVE_TOP ? places : NULL, .last = c->live == LIVE_LAST ? places : NULL, .qkv = qkv, .o = o,
        .lse = lse, .dout = dout, .dqkv = dqkv, .scratch = scratch);
    run_take(run, "dqkv", ROLE_COT, dqkv, N * B, W, true);
    free(o_host);
    free(lse_host);
    free(dout_host);
}

static void run_rope_vjp(struct op_run *run)
{
    const struct op_case *c = &run->c;
    struct rig *rig = run->rig;
    const size_t T = (size_t)c->T, N = (size_t)c->S * T, B = (size_t)run->b_n, W = (size_t)(c->H + 2 * c->K) * (size_t)c->h,
                 half = (size_t)c->rot / 2;
    double *host = run_cotangents(run, 1, N, W);
    dptr x = rig_up(rig, ROLE_COT, host, N * B * W);
    dptr cos_ = rig_up(rig, ROLE_REAL, data(2, T * half, 1.0), T * half), sin_ = rig_up(rig, ROLE_REAL, data(3, T * half, 1.0), T * half);
    const int sequences = run->chunk > 0 ? 1 : c->S;
    for (int s = 0; s < c->S; s += sequences)
        RUN(rig, rope_vjp, .n = (size_t)sequences * T * B, .T = c->T, .B = run->b_n, .heads = c->H + c->K, .h = c->h, .rot = c->rot,
            .stride = (int)W, .layout = c->rope, .x = rig_at(rig, ROLE_COT, x, (size_t)s * T * B * W), .cos = cos_, .sin = sin_);
    run_take(run, "x", ROLE_COT, x, N * B, W, true);
    free(host);
}

static void run_scatter(struct op_run *run)
{
    const struct op_case *c = &run->c;
    struct rig *rig = run->rig;
    const size_t N = (size_t)c->S * (size_t)c->T, B = (size_t)run->b_n, d = (size_t)c->d, rows = (size_t)c->S * B;
    const int32_t *tok = top_tokens(run);
    double *host = run_cotangents(run, 1, (size_t)c->S, d);
    dptr src = rig_up(rig, ROLE_REAL, host, rows * d), R = rig_blank(rig, ROLE_REAL, N * B * d);
    dptr G = rig->stream->one_type && !c->apart ? R : rig_blank(rig, ROLE_COT, N * B * d);
    RUN(rig, scatter, .rows = {.n = rows, .B = run->b_n, .tok = tok}, .N = N, .d = c->d, .src = src, .R = R, .G = G);
    run_take(run, "R", ROLE_REAL, R, N * B, d, true);
    run_take(run, "G", ROLE_COT, G, N * B, d, true);
    free(host);
}

void run_vjp(struct op_run *run)
{
    static void (*const runners[OP_COUNT])(struct op_run *) = {
        [OP_HEAD_VJP] = run_head_vjp,   [OP_MATMUL_VJP] = run_matmul_vjp,       [OP_NORM_VJP] = run_norm_vjp,
        [OP_GATE_VJP] = run_gate_vjp,   [OP_MLP_COLLAPSE] = run_mlp_collapse,   [OP_ATTENTION_VJP] = run_attention_vjp,
        [OP_NORM_PULL] = run_norm_pull, [OP_PART_NORM_VJP] = run_part_norm_vjp, [OP_ROPE_VJP] = run_rope_vjp,
        [OP_SCATTER] = run_scatter,
    };
    runners[run->c.op](run);
}
