/* attention_vjp_cpu.c: the VJP of attention for B right-hand sides that share q, k, v and P. Formulas: ops.h. Oracle: attention_vjp_ref.c.
 *
 * A task is one kv head of one sequence with a share of the right-hand sides. It packs K and V once; per QUERY_TILE queries it
 * makes P of the group's heads once and then streams over b: five small products in the first-level caches, k and v rows summed over
 * heads in scratch. Rows of dk and dv carry over from one tile to the next: in strict precision as rows of dqkv; in fast precision, where
 * those are bfloat16 and would be rounded once per tile, as floats in scratch for as many right-hand sides as CARRY_BYTES hold, and P
 * is made again for the next ones. So scratch does not grow with B or T squared.
 * FLOPs 4 T T h per row block, head and b (half of 8 T T h: causal). */
#include "attention_parts_cpu.h"
#include "cot_cpu.h"

#include <omp.h>
#include <string.h>

#define QUERY_TILE  96                /* a multiple of TILE_ROWS */
#define TASKS_EACH  6                 /* tasks a thread gets, so that they end together */
#define CARRY_BYTES ((size_t)4 << 20) /* of a thread */

struct group_scratch {
    float *k_t, *v_t;     /* [h][Tp] */
    float *k;             /* [T][hp] */
    float *q, *p, *slope; /* [group][tile][hp], [group][tile][Tp] twice; slope is P with the soft-cap's derivative */
    float *dout, *dq;     /* [tile][hp] */
    float *ds;            /* [tile][Tp] */
    float *dk, *dv;       /* [carried][T][hp] */
    size_t Tp, hp, tile;
    size_t carried; /* right-hand sides whose dk and dv stay here from tile to tile; 0: none, dqkv holds them */
    size_t bytes;
};

static struct group_scratch layout(const struct jsc_device *device, int T, int B, int H, int K, int h, void *memory)
{
    const size_t n = (size_t)T, group = (size_t)(H / K), tile = n < QUERY_TILE ? n : QUERY_TILE;
    const size_t Tp = round_up(n, TILE_COLS), hp = round_up((size_t)h, TILE_COLS);
    struct group_scratch s = {.Tp = Tp, .hp = hp, .tile = tile};
    if (cpu_cot(device) != sizeof(float) && n > tile) {
        const size_t fit = CARRY_BYTES / (2 * n * hp * sizeof(float));
        s.carried = fit < 1 ? 1 : fit < (size_t)B ? fit : (size_t)B;
    }
    const size_t slots = s.carried > 0 ? s.carried : 1;
    struct arena a = {.base = memory};
    s.k_t = arena_push(&a, (size_t)h * Tp, sizeof(float));
    s.v_t = arena_push(&a, (size_t)h * Tp, sizeof(float));
    s.k = arena_push(&a, n * hp, sizeof(float));
    s.q = arena_push(&a, group * tile * hp, sizeof(float));
    s.p = arena_push(&a, group * tile * Tp, sizeof(float));
    s.slope = arena_push(&a, group * tile * Tp, sizeof(float));
    s.dout = arena_push(&a, tile * hp, sizeof(float));
    s.dq = arena_push(&a, tile * hp, sizeof(float));
    s.ds = arena_push(&a, tile * Tp, sizeof(float));
    s.dk = arena_push(&a, slots * n * hp, sizeof(float));
    s.dv = arena_push(&a, slots * n * hp, sizeof(float));
    s.bytes = a.used;
    return s;
}

size_t attention_vjp_scratch_cpu(struct jsc_device *device, int S, int T, int B, int H, int K, int h)
{
    (void)S;
    return (size_t)device->threads * layout(device, T, B, H, K, h, NULL).bytes;
}

/* The sizes of one call as size_t, and where one task reads. */
struct place {
    const struct op_attention_vjp *op;
    size_t T, B, H, K, h, W, group, cot;
    size_t sequence, kv; /* of the task */
};

static const float *part(const struct place *p, size_t t, size_t head) /* head counts through q, k and v */
{
    return (const float *)p->op->qkv + (p->sequence * p->T + t) * p->W + head * p->h;
}

static dptr out_part(const struct place *p, size_t t, size_t b, size_t head)
{
    return dptr_at(p->op->dqkv, ((p->sequence * p->T + t) * p->B + b) * p->W + head * p->h, p->cot);
}

static dptr dout_part(const struct place *p, size_t row, size_t head)
{
    return dptr_at(p->op->dout, row * p->H * p->h + head * p->h, p->cot);
}

/* ds holds dP and becomes slope (dP - D) scale. D is the sum of p dP, which equals dout . o but cancels the rounding of dP where one
 * key has all the weight (measured: dout . o gave a relative error of 7.4e-7 where twice the plain loop's is 4.6e-7). */
CPU_CLONES static void score_gradient(float *ds, const float *p, const float *slope, size_t n, float scale)
{
    double D = 0.0;
#pragma omp simd reduction(+ : D)
    for (size_t j = 0; j < n; j++)
        D += (double)p[j] * (double)ds[j];
    const float shift = (float)D;
    for (size_t j = 0; j < n; j++)
        ds[j] = slope[j] * (ds[j] - shift) * scale;
}

/* x += a y */
CPU_CLONES static void axpy(float *x, const float *y, size_t n, float a)
{
    for (size_t i = 0; i < n; i++)
        x[i] += a * y[i];
}

static void pack_keys(const struct place *p, const struct group_scratch *s)
{
    const float *k = part(p, 0, p->H + p->kv), *v = part(p, 0, p->H + p->K + p->kv);
    rows_turn(k, p->T, p->h, p->W, s->Tp, s->k_t);
    rows_turn(v, p->T, p->h, p->W, s->Tp, s->v_t);
    rows_pack(k, p->T, p->h, p->W, s->hp, s->k);
}

/* A row of P and of its slope for query i of head n, columns from .. to-1; columns that the query does not see become 0. */
static void probabilities(const struct place *p, size_t i, size_t n, size_t from, size_t to, float *row, float *slope)
{
    const struct op_attention_vjp *op = p->op;
    const size_t first = first_key(i, op->window), end = i + 1;
    const double lse = (double)((const float *)op->lse)[(p->sequence * p->T + i) * p->H + n];
    probability_row(row, first, end, op->scale, op->cap, lse, slope);
    memset(row + from, 0, (first - from) * sizeof *row);
    memset(slope + from, 0, (first - from) * sizeof *slope);
    memset(row + end, 0, (to - end) * sizeof *row);
    memset(slope + end, 0, (to - end) * sizeof *slope);
}

/* ---- every query has a cotangent --------------------------------------------------------------------------------------------------- */

struct query_tile {
    size_t i0, i1; /* queries */
    size_t from;   /* first key column kept, a multiple of KEY_STEP */
};

/* q and P of the group's heads for the tile. */
static void tile_probabilities(const struct place *p, const struct group_scratch *s, const struct query_tile *t)
{
    const size_t end = round_up(t->i1, TILE_COLS);
    for (size_t m = 0; m < p->group; m++) {
        const size_t n = p->kv * p->group + m;
        float *q = s->q + m * s->tile * s->hp;
        rows_pack(part(p, t->i0, n), t->i1 - t->i0, p->h, p->W, s->hp, q);
        for (size_t i = t->i0; i < t->i1; i += TILE_ROWS) {
            const size_t rows = t->i1 - i < TILE_ROWS ? t->i1 - i : TILE_ROWS, at = (m * s->tile + i - t->i0) * s->Tp;
            const struct tile_product scores = {.m = rows,
                                                .n = round_up(i + rows, TILE_COLS) - t->from,
                                                .k = p->h,
                                                .a = q + (i - t->i0) * s->hp,
                                                .a_row = s->hp,
                                                .a_col = 1,
                                                .b = s->k_t + t->from,
                                                .b_row = s->Tp,
                                                .c = s->p + at + t->from,
                                                .c_row = s->Tp};
            tile_product(&scores);
            for (size_t r = 0; r < rows; r++)
                probabilities(p, i + r, n, t->from, end, s->p + at + r * s->Tp, s->slope + at + r * s->Tp);
        }
    }
}

/* dS for queries i0 .. end-1 of the group's head m from the cotangents in s->dout. */
static void tile_score_gradients(const struct place *p, const struct group_scratch *s, const struct query_tile *t, size_t end, size_t m)
{
    for (size_t i = t->i0; i < end; i += TILE_ROWS) {
        const size_t rows = end - i < TILE_ROWS ? end - i : TILE_ROWS, columns = round_up(i + rows, TILE_COLS) - t->from;
        float *ds = s->ds + (i - t->i0) * s->Tp + t->from;
        const struct tile_product dp = {.m = rows,
                                        .n = columns,
                                        .k = p->h,
                                        .a = s->dout + (i - t->i0) * s->hp,
                                        .a_row = s->hp,
                                        .a_col = 1,
                                        .b = s->v_t + t->from,
                                        .b_row = s->Tp,
                                        .c = ds,
                                        .c_row = s->Tp};
        tile_product(&dp);
        for (size_t r = 0; r < rows; r++) {
            const size_t at = (m * s->tile + i - t->i0 + r) * s->Tp + t->from;
            score_gradient(ds + r * s->Tp, s->p + at, s->slope + at, columns, (float)p->op->scale);
        }
    }
}

/* dq = dS K for the tile, to the output. */
static void tile_dq(const struct place *p, const struct group_scratch *s, const struct query_tile *t, size_t end, size_t b, size_t n)
{
    for (size_t i = t->i0; i < end; i += TILE_ROWS) {
        const size_t rows = end - i < TILE_ROWS ? end - i : TILE_ROWS;
        const struct tile_product product = {.m = rows,
                                             .n = s->hp,
                                             .k = i + rows - t->from,
                                             .a = s->ds + (i - t->i0) * s->Tp + t->from,
                                             .a_row = s->Tp,
                                             .a_col = 1,
                                             .b = s->k + t->from * s->hp,
                                             .b_row = s->hp,
                                             .c = s->dq,
                                             .c_row = s->hp};
        tile_product(&product);
        for (size_t r = 0; r < rows; r++)
            cot_write(out_part(p, i + r, b, n), p->cot, p->h, s->dq + r * s->hp);
    }
}

/* out[j] += sum over queries i >= j of the tile of x[i][j] y[i]: dv from P and dout, dk from dS and q. */
static void tile_keys(const struct place *p, const struct group_scratch *s, const struct query_tile *t, size_t end, const float *x,
                      const float *y, float *out)
{
    const int window = p->op->window;
    for (size_t j = t->from; j < end; j += TILE_ROWS) {
        const size_t first = j > t->i0 ? j : t->i0, seen = window > 0 ? j + TILE_ROWS - 1 + (size_t)window : end,
                     last = seen < end ? seen : end;
        if (first >= last)
            continue;
        const struct tile_product product = {.m = end - j < TILE_ROWS ? end - j : TILE_ROWS,
                                             .n = s->hp,
                                             .k = last - first,
                                             .a = x + (first - t->i0) * s->Tp + j,
                                             .a_row = 1,
                                             .a_col = s->Tp,
                                             .b = y + (first - t->i0) * s->hp,
                                             .b_row = s->hp,
                                             .c = out + j * s->hp,
                                             .c_row = s->hp,
                                             .accumulate = true};
        tile_product(&product);
    }
}

/* k or v rows [from, i0) as earlier tiles left them (they are still in x if carried), [i0, i1) zero. */
static void load_keys(const struct place *p, const struct group_scratch *s, const struct query_tile *t, size_t b, size_t head, float *x)
{
    for (size_t j = t->from; s->carried == 0 && j < t->i0; j++)
        memcpy(x + j * s->hp, out_part(p, j, b, head), p->h * sizeof *x);
    memset(x + t->i0 * s->hp, 0, (t->i1 - t->i0) * s->hp * sizeof *x);
}

static void store_keys(const struct place *p, const struct group_scratch *s, const struct query_tile *t, size_t b, size_t head,
                       const float *x)
{
    for (size_t j = t->from; j < t->i1; j++)
        cot_write(out_part(p, j, b, head), p->cot, p->h, x + j * s->hp);
}

/* The cotangents of the tile's queries up to end, head n. */
static void load_dout(const struct place *p, const struct group_scratch *s, const struct query_tile *t, size_t end, size_t b, size_t n)
{
    for (size_t i = t->i0; i < end; i++) {
        float *row = s->dout + (i - t->i0) * s->hp;
        const dptr from = dout_part(p, (p->sequence * p->T + i) * p->B + b, n);
        cot_load(from, p->cot, p->h, row);
        if (p->h < s->hp)
            memset(row + p->h, 0, (s->hp - p->h) * sizeof *row);
    }
}

/* slot: where the scratch keeps dk and dv of right-hand side b. */
static void tile_pull(const struct place *p, const struct group_scratch *s, const struct query_tile *t, size_t b, size_t slot)
{
    const struct op_attention_vjp *op = p->op;
    const size_t live = op->last != NULL ? (size_t)op->last[b] + 1 : p->T, end = live < t->i0 ? t->i0 : live < t->i1 ? live : t->i1;
    const struct query_tile whole = *t, dead = {t->i0, t->i1, t->i0};
    const struct query_tile *kept = end > t->i0 ? &whole : &dead; /* no cotangent: only this tile's own rows are written, as 0 */
    float *dk = s->dk + slot * p->T * s->hp, *dv = s->dv + slot * p->T * s->hp;
    load_keys(p, s, kept, b, p->H + p->kv, dk);
    load_keys(p, s, kept, b, p->H + p->K + p->kv, dv);
    for (size_t m = 0; m < p->group; m++) {
        const size_t n = p->kv * p->group + m, at = m * s->tile;
        if (end > t->i0) {
            load_dout(p, s, t, end, b, n);
            tile_score_gradients(p, s, t, end, m);
            tile_dq(p, s, t, end, b, n);
            tile_keys(p, s, t, end, s->p + at * s->Tp, s->dout, dv);
            tile_keys(p, s, t, end, s->ds, s->q + at * s->hp, dk);
        }
        for (size_t i = end; i < t->i1; i++)
            memset(out_part(p, i, b, n), 0, p->h * p->cot);
    }
    store_keys(p, s, kept, b, p->H + p->kv, dk);
    store_keys(p, s, kept, b, p->H + p->K + p->kv, dv);
}

/* Right-hand sides b0 .. b1-1, no more than are carried. */
static void pull_block(const struct place *p, const struct group_scratch *s, size_t b0, size_t b1)
{
    for (size_t i0 = 0; i0 < p->T; i0 += s->tile) {
        const size_t i1 = p->T - i0 < s->tile ? p->T : i0 + s->tile;
        const struct query_tile t = {i0, i1, first_key(i0, p->op->window) / KEY_STEP * KEY_STEP};
        tile_probabilities(p, s, &t);
        for (size_t b = b0; b < b1; b++)
            tile_pull(p, s, &t, b, s->carried > 0 ? b - b0 : 0);
    }
}

static void pull_all(const struct place *p, const struct group_scratch *s, size_t b0, size_t b1)
{
    const size_t step = s->carried > 0 ? s->carried : b1 - b0;
    for (size_t b = b0; b < b1; b += step)
        pull_block(p, s, b, b1 - b < step ? b1 : b + step);
}

/* ---- one query has a cotangent ------------------------------------------------------------------------------------------------------- */

/* P and q of query i for the group's heads: row m of s->p, s->slope, s->q. */
static void row_probabilities(const struct place *p, const struct group_scratch *s, size_t i)
{
    for (size_t m = 0; m < p->group; m++) {
        const size_t n = p->kv * p->group + m, to = round_up(i + 1, TILE_COLS);
        float *row = s->p + m * s->tile * s->Tp;
        const struct tile_product scores = {
            .m = 1, .n = to, .k = p->h, .a = part(p, i, n), .a_col = 1, .b = s->k_t, .b_row = s->Tp, .c = row, .c_row = s->Tp};
        tile_product(&scores);
        probabilities(p, i, n, 0, to, row, s->slope + m * s->tile * s->Tp);
    }
}

static void row_pull(const struct place *p, const struct group_scratch *s, size_t i, size_t b)
{
    const struct op_attention_vjp *op = p->op;
    const size_t to = round_up(i + 1, TILE_COLS);
    memset(s->dk, 0, (i + 1) * s->hp * sizeof(float));
    memset(s->dv, 0, (i + 1) * s->hp * sizeof(float));
    for (size_t m = 0; m < p->group; m++) {
        const size_t n = p->kv * p->group + m, at = m * s->tile * s->Tp;
        const float *dout = cot_read(dout_part(p, p->sequence * p->B + b, n), p->cot, p->h, s->dout);
        const float *q = part(p, i, n);
        const struct tile_product dp = {
            .m = 1, .n = to, .k = p->h, .a = dout, .a_col = 1, .b = s->v_t, .b_row = s->Tp, .c = s->ds, .c_row = s->Tp};
        tile_product(&dp);
        score_gradient(s->ds, s->p + at, s->slope + at, to, (float)op->scale);
        for (size_t j = first_key(i, op->window); j <= i; j++) {
            axpy(s->dv + j * s->hp, dout, p->h, s->p[at + j]);
            axpy(s->dk + j * s->hp, q, p->h, s->ds[j]);
        }
        const struct tile_product dq = {
            .m = 1, .n = s->hp, .k = i + 1, .a = s->ds, .a_col = 1, .b = s->k, .b_row = s->hp, .c = s->dq, .c_row = s->hp};
        tile_product(&dq);
        for (size_t t = 0; t < p->T; t++)
            memset(out_part(p, t, b, n), 0, p->h * p->cot);
        cot_write(out_part(p, i, b, n), p->cot, p->h, s->dq);
    }
    for (size_t t = 0; t < p->T; t++) {
        const dptr dk = out_part(p, t, b, p->H + p->kv), dv = out_part(p, t, b, p->H + p->K + p->kv);
        if (t <= i) {
            cot_write(dk, p->cot, p->h, s->dk + t * s->hp);
            cot_write(dv, p->cot, p->h, s->dv + t * s->hp);
        } else {
            memset(dk, 0, p->h * p->cot);
            memset(dv, 0, p->h * p->cot);
        }
    }
}

static void pull_one(const struct place *p, const struct group_scratch *s, size_t b0, size_t b1)
{
    for (size_t b = b0; b < b1; b++) {
        const size_t i = (size_t)p->op->pos[b];
        if (b == b0 || p->op->pos[b] != p->op->pos[b - 1])
            row_probabilities(p, s, i);
        row_pull(p, s, i, b);
    }
}

jsc_status attention_vjp_cpu(struct jsc_stream *stream, const struct op_attention_vjp *op, jsc_error *error)
{
    (void)error;
    const size_t K = (size_t)op->K, B = (size_t)op->B, pairs = (size_t)op->S * K;
    const size_t wanted = (size_t)cpu_threads(stream) * TASKS_EACH, shares = wanted / pairs < 1   ? 1
                                                                             : wanted / pairs < B ? wanted / pairs
                                                                                                  : B;
    const size_t share = (B + shares - 1) / shares, bytes = layout(stream->device, op->T, op->B, op->H, op->K, op->h, NULL).bytes;
#pragma omp parallel num_threads(cpu_threads(stream))
    {
        const struct group_scratch s = layout(stream->device, op->T, op->B, op->H, op->K, op->h,
                                              (char *)op->scratch + (size_t)omp_get_thread_num() * bytes);
#pragma omp for schedule(dynamic)
        for (size_t task = 0; task < pairs * shares; task++) {
            const size_t pair = task / shares, b0 = task % shares * share, b1 = b0 + share < B ? b0 + share : B;
            const struct place p = {.op = op,
                                    .T = (size_t)op->T,
                                    .B = B,
                                    .H = (size_t)op->H,
                                    .K = K,
                                    .h = (size_t)op->h,
                                    .W = (size_t)(op->H + 2 * op->K) * (size_t)op->h,
                                    .group = (size_t)(op->H / op->K),
                                    .cot = cpu_cot(stream->device),
                                    .sequence = pair / K,
                                    .kv = pair % K};
            if (b0 >= b1)
                continue;
            pack_keys(&p, &s);
            if (op->pos != NULL)
                pull_one(&p, &s, b0, b1);
            else
                pull_all(&p, &s, b0, b1);
        }
    }
    return JSC_OK;
}
