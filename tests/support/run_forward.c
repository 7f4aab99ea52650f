/* run_forward.c: runs one case of a forward operation on a rig. Outputs start as NaN. */
#include "testing.h"

/* Rows per call: all, or the chunk. */
static size_t step_of(const struct op_run *run, size_t rows)
{
    return run->chunk > 0 ? (size_t)run->chunk : rows;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void run_embed(struct op_run *run)
{
    const struct op_case *c = &run->c;
    struct rig *rig = run->rig;
    const size_t n = (size_t)c->T, d = (size_t)c->d, step = step_of(run, n);
    const struct jsc_weight *w = rig_weight(rig, 10, (size_t)c->V, d, false, USE_ROWS);
    dptr out = rig_blank(rig, ROLE_REAL, n * d);
    int32_t *ids = calloc(n, sizeof *ids);
    cr_assert(ids != NULL);
    for (size_t i = 0; i < n; i++)
        ids[i] = (int32_t)((5 * i + 2) % (size_t)c->V);
    for (size_t i = 0; i < n; i += step)
        RUN(rig, embed, .n = least(step, n - i), .ids = ids + i, .w = w, .scale = 1.75, .out = rig_at(rig, ROLE_REAL, out, i * d));
    run_take(run, "out", ROLE_REAL, out, n, d, false);
    free(ids);
}

static void run_norm(struct op_run *run)
{
    const struct op_case *c = &run->c;
    struct rig *rig = run->rig;
    const size_t n = (size_t)c->S * (size_t)c->T, d = (size_t)c->d, step = step_of(run, n);
    const bool none = c->norm == NORM_NONE;
    dptr x = rig_up(rig, ROLE_REAL, data(1, n * d, 2.0), n * d), w = none ? NULL : rig_up(rig, ROLE_REAL, data(2, d, 1.0), d);
    dptr b = c->bias ? rig_up(rig, ROLE_REAL, data(3, d, 1.0), d) : NULL;
    dptr y_real = rig_blank(rig, ROLE_REAL, n * d), y = rig->stream->one_type ? y_real : rig_blank(rig, ROLE_ACT, n * d);
    dptr r = none ? NULL : rig_blank(rig, ROLE_REAL, n), mean = c->norm == NORM_LAYER ? rig_blank(rig, ROLE_REAL, n) : NULL;
    for (size_t i = 0; i < n; i += step)
        RUN(rig, norm, .n = least(step, n - i), .d = c->d, .kind = c->norm, .eps = 1e-5, .x = rig_at(rig, ROLE_REAL, x, i * d), .w = w,
            .b = b, .y = rig_at(rig, ROLE_ACT, y, i * d), .y_real = rig_at(rig, ROLE_REAL, y_real, i * d),
            .r = rig_at(rig, ROLE_REAL, r, i), .mean = rig_at(rig, ROLE_REAL, mean, i));
    run_take(run, "y", ROLE_ACT, y, n, d, false);
    run_take(run, "y_real", ROLE_REAL, y_real, n, d, false);
    if (r != NULL)
        run_take(run, "r", ROLE_REAL, r, n, 1, false);
    if (mean != NULL)
        run_take(run, "mean", ROLE_REAL, mean, n, 1, false);
}

static void run_matmul(struct op_run *run)
{
    const struct op_case *c = &run->c;
    struct rig *rig = run->rig;
    const size_t n = (size_t)c->S * (size_t)c->T, k = (size_t)c->d, n_out = (size_t)c->f, step = step_of(run, n);
    const struct jsc_weight *w = rig_weight(rig, 10, n_out, k, c->bias, USE_FORWARD);
    dptr x = rig_up(rig, ROLE_ACT, data(1, n * k, 1.0), n * k);
    dptr y = c->accumulate ? rig_up(rig, ROLE_REAL, data(2, n * n_out, 1.0), n * n_out) : rig_blank(rig, ROLE_REAL, n * n_out);
    for (size_t i = 0; i < n; i += step)
        RUN(rig, matmul, .n = least(step, n - i), .w = w, .x = rig_at(rig, ROLE_ACT, x, i * k), .y = rig_at(rig, ROLE_REAL, y, i * n_out),
            .accumulate = c->accumulate);
    run_take(run, "y", ROLE_REAL, y, n, n_out, false);
}

/* As walks do: the queries, then the keys, each with its own weights, out of rows of queries, keys and values. */
static void run_part_norm(struct op_run *run)
{
    const struct op_case *c = &run->c;
    struct rig *rig = run->rig;
    const size_t n = (size_t)c->S * (size_t)c->T, h = (size_t)c->h, W = (size_t)(c->H + 2 * c->K) * h, step = step_of(run, n);
    dptr x = rig_up(rig, ROLE_REAL, data(1, n * W, 2.0), n * W);
    for (int k = 0; k < 2; k++) { /* 0: queries */
        const size_t heads = (size_t)(k == 0 ? c->H : c->K), all = heads * h, parts = c->one_part ? 1 : heads, width = all / parts;
        const size_t from = k == 0 ? 0 : (size_t)c->H * h, own = c->own ? all : width;
        dptr w = rig_up(rig, ROLE_REAL, data(2 + k, own, 1.0), own),
             b = c->bias ? rig_up(rig, ROLE_REAL, data(4 + k, own, 1.0), own) : NULL;
        dptr xhat = rig_blank(rig, ROLE_REAL, n * all), r = rig_blank(rig, ROLE_REAL, n * parts);
        for (size_t i = 0; i < n; i += step)
            RUN(rig, part_norm, .n = least(step, n - i), .parts = (int)parts, .width = (int)width, .stride = (int)W, .kind = c->norm,
                .own = c->own, .eps = 1e-5, .x = rig_at(rig, ROLE_REAL, x, i * W + from), .w = w, .b = b,
                .xhat = rig_at(rig, ROLE_REAL, xhat, i * all), .r = rig_at(rig, ROLE_REAL, r, i * parts));
        run_take(run, k == 0 ? "xhat of q" : "xhat of k", ROLE_REAL, xhat, n, all, false);
        run_take(run, k == 0 ? "r of q" : "r of k", ROLE_REAL, r, n, parts, false);
    }
    run_take(run, "x", ROLE_REAL, x, n, W, false);
}

static void run_rope(struct op_run *run)
{
    const struct op_case *c = &run->c;
    struct rig *rig = run->rig;
    const size_t T = (size_t)c->T, W = (size_t)(c->H + 2 * c->K) * (size_t)c->h, half = (size_t)c->rot / 2;
    dptr x = rig_up(rig, ROLE_REAL, data(1, (size_t)c->S * T * W, 1.0), (size_t)c->S * T * W);
    dptr cos_ = rig_up(rig, ROLE_REAL, data(2, T * half, 1.0), T * half), sin_ = rig_up(rig, ROLE_REAL, data(3, T * half, 1.0), T * half);
    const int sequences = run->chunk > 0 ? 1 : c->S; /* t = i % T: a call takes whole sequences */
    for (int s = 0; s < c->S; s += sequences)
        RUN(rig, rope, .n = (size_t)sequences * T, .T = c->T, .heads = c->H + c->K, .h = c->h, .rot = c->rot, .stride = (int)W,
            .layout = c->rope, .x = rig_at(rig, ROLE_REAL, x, (size_t)s * T * W), .cos = cos_, .sin = sin_);
    run_take(run, "x", ROLE_REAL, x, (size_t)c->S * T, W, false);
}

static void run_attention(struct op_run *run)
{
    const struct op_case *c = &run->c;
    struct rig *rig = run->rig;
    const size_t T = (size_t)c->T, N = (size_t)c->S * T, H = (size_t)c->H, h = (size_t)c->h, W = (H + 2 * (size_t)c->K) * h;
    dptr qkv = rig_up(rig, ROLE_REAL, data(1, N * W, 1.5), N * W), o = rig_blank(rig, ROLE_REAL, N * H * h);
    dptr o_act = rig->stream->one_type ? o : rig_blank(rig, ROLE_ACT, N * H * h), lse = rig_blank(rig, ROLE_REAL, N * H);
    const int sequences = run->chunk > 0 ? 1 : c->S;
    for (int s = 0; s < c->S; s += sequences) {
        const size_t first = (size_t)s * T;
        RUN(rig, attention, .S = sequences, .T = c->T, .H = c->H, .K = c->K, .h = c->h, .window = c->window,
            .scale = c->scale > 0.0 ? c->scale : 1.0 / sqrt((double)c->h), .cap = c->cap, .qkv = rig_at(rig, ROLE_REAL, qkv, first * W),
            .o = rig_at(rig, ROLE_REAL, o, first * H * h), .o_act = rig_at(rig, ROLE_ACT, o_act, first * H * h),
            .lse = rig_at(rig, ROLE_REAL, lse, first * H));
    }
    run_take(run, "o", ROLE_REAL, o, N, H * h, false);
    run_take(run, "o_act", ROLE_ACT, o_act, N, H * h, false);
    run_take(run, "lse", ROLE_REAL, lse, N, H, false);
}

static void run_gate(struct op_run *run)
{
    const struct op_case *c = &run->c;
    struct rig *rig = run->rig;
    const size_t n = (size_t)c->S * (size_t)c->T, f = (size_t)c->f, width = c->gated ? 2 * f : f, step = step_of(run, n);
    dptr gu = rig_up(rig, ROLE_REAL, data(1, n * width, 2.0), n * width), a = rig_blank(rig, ROLE_ACT, n * f);
    dptr c1 = rig_blank(rig, ROLE_REAL, n * f), c2 = c->gated ? rig_blank(rig, ROLE_REAL, n * f) : NULL;
    for (size_t i = 0; i < n; i += step)
        RUN(rig, gate, .n = least(step, n - i), .f = c->f, .act = c->act, .gated = c->gated, .gu = rig_at(rig, ROLE_REAL, gu, i * width),
            .a = rig_at(rig, ROLE_ACT, a, i * f), .c1 = rig_at(rig, ROLE_REAL, c1, i * f), .c2 = rig_at(rig, ROLE_REAL, c2, i * f));
    run_take(run, "a", ROLE_ACT, a, n, f, false);
    run_take(run, "c1", ROLE_REAL, c1, n, f, false);
    if (c2 != NULL)
        run_take(run, "c2", ROLE_REAL, c2, n, f, false);
}

static void run_add(struct op_run *run)
{
    const struct op_case *c = &run->c;
    struct rig *rig = run->rig;
    const size_t d = (size_t)c->d, rows = (size_t)c->S * (size_t)c->T, step = step_of(run, rows);
    dptr x = rig_up(rig, ROLE_REAL, data(1, rows * d, 1.0), rows * d), y = rig_up(rig, ROLE_REAL, data(2, rows * d, 1.0), rows * d);
    for (size_t i = 0; i < rows; i += step)
        RUN(rig, add, .n = least(step, rows - i) * d, .scale = 0.7, .x = rig_at(rig, ROLE_REAL, x, i * d),
            .y = rig_at(rig, ROLE_REAL, y, i * d));
    run_take(run, "x", ROLE_REAL, x, rows, d, false);
}

void run_forward(struct op_run *run)
{
    static void (*const runners[OP_COUNT])(struct op_run *) = {
        [OP_EMBED] = run_embed, [OP_NORM] = run_norm,           [OP_MATMUL] = run_matmul, [OP_PART_NORM] = run_part_norm,
        [OP_ROPE] = run_rope,   [OP_ATTENTION] = run_attention, [OP_GATE] = run_gate,     [OP_ADD] = run_add,
    };
    runners[run->c.op](run);
}
