/* mlp_collapse_cpu.c: the VJP of an MLP half with the weights multiplied out per token. Formulas: ops.h. Oracle: mlp_collapse_ref.c.
 *
 *   half  dA [B][f] = G_t Wdown,  dN [B][d] = dA W_t,  R += norm_vjp(dN)              4 B d f FLOPs a token
 *   full  A [d][d] = Wdown W_t,  A' = norm folded in,  R += G_t A'                    2 d d f + 2 B d d
 * W_t [f][d] costs 12 d f bytes a token, from the third-level cache for small models. One token at a time: the scratch does not grow.
 * In fast precision W_t, A', dA, dN of half and the factor Wdown of A are bfloat16; A is summed, folded and added to R as floats. */
#include "cot_cpu.h"
#include "cpu_internal.h"

struct collapse_scratch {
    dptr W_t;    /* [f][d] COT */
    dptr dA;     /* half: [B][f] COT */
    dptr dN;     /* [B][d] COT, full: REAL */
    float *A;    /* full: [d][d] */
    dptr folded; /* full: A' [d][d] COT, A itself in strict precision */
    dptr down;   /* full: [d][f] COT, in strict precision the weight's own rows */
    size_t bytes;
};

static struct collapse_scratch layout(const struct jsc_device *device, enum mlp_form form, size_t B, size_t d, size_t f, void *memory)
{
    struct collapse_scratch s = {0};
    const size_t cot = cpu_cot(device);
    if (form == MLP_DIRECT)
        return s;
    struct arena a = {.base = memory};
    s.W_t = arena_push(&a, f * d, cot);
    if (form == MLP_HALF) {
        s.dA = arena_push(&a, B * f, cot);
        s.dN = arena_push(&a, B * d, cot);
    } else {
        s.A = arena_push(&a, d * d, sizeof(float));
        s.dN = arena_push(&a, B * d, sizeof(float));
        s.folded = cot == sizeof(float) ? s.A : arena_push(&a, d * d, cot);
        s.down = cot == sizeof(float) ? NULL : arena_push(&a, d * f, cot);
    }
    s.bytes = a.used;
    return s;
}

size_t mlp_collapse_scratch_cpu(struct jsc_device *device, enum mlp_form form, size_t n, int B, int d, int f)
{
    (void)n;
    return layout(device, form, (size_t)B, (size_t)d, (size_t)f, NULL).bytes;
}

CPU_CLONES static void mix_rows(const float *g, const float *u, size_t d, float c1, float c2, float *out)
{
    if (u != NULL)
        for (size_t i = 0; i < d; i++)
            out[i] = c1 * g[i] + c2 * u[i];
    else
        for (size_t i = 0; i < d; i++)
            out[i] = c1 * g[i];
}

static jsc_status form_W_t(struct jsc_stream *stream, const struct op_mlp_collapse *op, size_t t, dptr W_t, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t d = (size_t)op->d, f = (size_t)op->f, cot = cpu_cot(stream->device);
    const float *up = ((const struct cpu_weight *)op->up)->w, *c1 = (const float *)op->c1 + t * f, *c2 = (const float *)op->c2 + t * f;
    float *floats = NULL;

    TRY(cpu_cot_rows(stream, d, &floats, error));
#pragma omp parallel for num_threads(cpu_threads(stream)) schedule(static)
    for (size_t j = 0; j < f; j++) {
        const dptr place = dptr_at(W_t, j * d, cot);
        float *row = cot_begin(place, cot, cpu_cot_row(floats, d));
        mix_rows(up + j * d, op->gated ? up + (f + j) * d : NULL, d, c1[j], op->gated ? c2[j] : 0.0f, row);
        cot_end(place, cot, d, row);
    }
done:
    return status;
}

/* The cotangents of token t's branch, [B][d] COT. */
static dptr cotangents(const struct op_mlp_collapse *op, size_t t, size_t cot)
{
    const size_t row = (size_t)op->B * (size_t)op->d;
    return op->dy != NULL ? dptr_at(op->dy, (t - op->first) * row, cot) : dptr_at(op->G, t * row, cot);
}

/* ---- full ------------------------------------------------------------------------------------------------------------------------ */

struct fold {
    const float *x, *w;
    float r, mean;
    size_t d;
    bool layer;
};

/* a <- r (a o w)(I - xhat xhat^T / d - [LAYER] 1 1^T / d) for one row of A */
CPU_CLONES static void fold_row(const struct fold *p, float *a)
{
    const float *x = p->x, *w = p->w;
    const double mean = (double)p->mean;
    double dot = 0.0, sum = 0.0;
#pragma omp simd reduction(+ : dot, sum)
    for (size_t i = 0; i < p->d; i++) {
        const float g = a[i] * w[i];
        dot += ((double)x[i] - mean) * (double)g;
        sum += (double)g;
    }
    const float r = p->r, slope = (float)(dot * (double)p->r * (double)p->r / (double)p->d);
    const float shift = p->layer ? (float)(sum / (double)p->d) : 0.0f, m = p->mean;
#pragma omp simd
    for (size_t i = 0; i < p->d; i++)
        a[i] = r * (a[i] * w[i] - shift - (x[i] - m) * slope);
}

CPU_CLONES static double add_row(float *R, const float *dR, size_t d)
{
    double ss = 0.0;
#pragma omp simd reduction(+ : ss)
    for (size_t i = 0; i < d; i++) {
        const float v = R[i] + dR[i];
        R[i] = v;
        ss += (double)v * (double)v;
    }
    return ss;
}

static void add_rows(const struct op_mlp_collapse *op, size_t row0, const float *dR, int threads, size_t cot)
{
    const size_t d = (size_t)op->d, B = (size_t)op->B;
    double *ss = op->ss;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (size_t b = 0; b < B; b++) {
        float *R = (float *)op->R + (row0 + b) * d;
        const double sum = add_row(R, dR + b * d, d);
        if (ss != NULL)
            ss[row0 + b] = sum;
        if (op->G != NULL && op->G != op->R)
            cot_write(dptr_at(op->G, (row0 + b) * d, cot), cot, d, R);
    }
}

/* Wdown as an operand of products with cotangents, the same for every token. */
static const void *down_rows(struct jsc_stream *stream, const struct op_mlp_collapse *op, const struct collapse_scratch *s)
{
    const size_t d = (size_t)op->d, f = (size_t)op->f, cot = cpu_cot(stream->device);
    const float *w = ((const struct cpu_weight *)op->down)->w;
    if (cot == sizeof(float))
        return w;
#pragma omp parallel for num_threads(cpu_threads(stream)) schedule(static)
    for (size_t i = 0; i < d; i++)
        cot_write(dptr_at(s->down, i * f, cot), cot, f, w + i * f);
    return s->down;
}

static jsc_status token_full(struct jsc_stream *stream, const struct op_mlp_collapse *op, size_t t, const struct collapse_scratch *s,
                             const void *down, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t d = (size_t)op->d, f = (size_t)op->f, B = (size_t)op->B, cot = cpu_cot(stream->device);
    const struct cot_gemm form_A = {.m = d, .n = d, .k = f, .a = down, .b = s->W_t, .c = s->A, .c_real = true};
    const struct cot_gemm pull = {.m = B, .n = d, .k = d, .a = cotangents(op, t, cot), .b = s->folded, .c = s->dN, .c_real = true};
    const struct fold fold = {.x = (const float *)op->x + t * d,
                              .w = op->w,
                              .r = op->kind != NORM_NONE ? ((const float *)op->r)[t] : 1.0f,
                              .mean = op->kind == NORM_LAYER ? ((const float *)op->mean)[t] : 0.0f,
                              .d = d,
                              .layer = op->kind == NORM_LAYER};

    TRY(gemm_cot(stream, &form_A, error));
#pragma omp parallel for num_threads(cpu_threads(stream)) schedule(static)
    for (size_t i = 0; i < d; i++) {
        if (op->kind != NORM_NONE)
            fold_row(&fold, s->A + i * d);
        if (s->folded != s->A)
            cot_write(dptr_at(s->folded, i * d, cot), cot, d, s->A + i * d);
    }
    TRY(gemm_cot(stream, &pull, error));
    add_rows(op, t * B, s->dN, cpu_threads(stream), cot);
done:
    return status;
}

/* ---- half ------------------------------------------------------------------------------------------------------------------------ */

static jsc_status token_half(struct jsc_stream *stream, const struct op_mlp_collapse *op, size_t t, const struct collapse_scratch *s,
                             jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t d = (size_t)op->d, f = (size_t)op->f, B = (size_t)op->B, row0 = t * B, cot = cpu_cot(stream->device);
    const struct op_matmul_vjp through_down = {.n = B, .w = op->down, .dy = cotangents(op, t, cot), .dx = s->dA};
    const struct cot_gemm through_W_t = {.m = B, .n = d, .k = f, .a = s->dA, .b = s->W_t, .c = s->dN};
    const struct op_norm_vjp norm = {.rows = {.n = B, .B = op->B},
                                     .d = op->d,
                                     .kind = op->kind,
                                     .x = (float *)op->x + t * d,
                                     .r = op->r != NULL ? (float *)op->r + t : NULL,
                                     .mean = op->mean != NULL ? (float *)op->mean + t : NULL,
                                     .w = op->w,
                                     .dn = s->dN,
                                     .R = (float *)op->R + row0 * d,
                                     .G = op->G != NULL ? dptr_at(op->G, row0 * d, cot) : NULL,
                                     .ss = op->ss != NULL ? (double *)op->ss + row0 : NULL};

    TRY(matmul_vjp_cpu(stream, &through_down, error));
    TRY(gemm_cot(stream, &through_W_t, error));
    TRY(norm_vjp_cpu(stream, &norm, error));
done:
    return status;
}

jsc_status mlp_collapse_cpu(struct jsc_stream *stream, const struct op_mlp_collapse *op, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const struct collapse_scratch s = layout(stream->device, op->form, (size_t)op->B, (size_t)op->d, (size_t)op->f, op->scratch);
    const void *down = op->form == MLP_FULL ? down_rows(stream, op, &s) : NULL;

    for (size_t t = op->first; t < op->first + op->n; t++) {
        TRY(form_W_t(stream, op, t, s.W_t, error));
        TRY(op->form == MLP_FULL ? token_full(stream, op, t, &s, down, error) : token_half(stream, op, t, &s, error));
    }
done:
    return status;
}
