/* mlp_collapse_cpu.c: the VJP of an MLP half with the weights multiplied out per token. Formulas: ops.h. Oracle: mlp_collapse_ref.c.
 *
 *   half  dA [B][f] = G_t Wdown,  dN [B][d] = dA W_t,  R += norm_vjp(dN)              4 B d f FLOPs a token
 *   full  A [d][d] = Wdown W_t,  A' = norm folded in,  R += G_t A'                    2 d d f + 2 B d d
 * W_t [f][d] costs 12 d f bytes a token, from the third-level cache for small models. One token at a time: the scratch does not grow. */
#include "cpu_internal.h"

struct collapse_scratch {
    float *W_t;  /* [f][d] */
    float *wide; /* half: dA [B][f]; full: A [d][d] */
    float *dN;   /* [B][d] */
    size_t bytes;
};

static struct collapse_scratch layout(enum mlp_form form, int B, int d, int f, void *memory)
{
    struct collapse_scratch s = {0};
    if (form == MLP_DIRECT)
        return s;
    struct arena a = {.base = memory};
    s.W_t = arena_push(&a, (size_t)f * (size_t)d, sizeof(float));
    s.wide = arena_push(&a, form == MLP_HALF ? (size_t)B * (size_t)f : (size_t)d * (size_t)d, sizeof(float));
    s.dN = arena_push(&a, (size_t)B * (size_t)d, sizeof(float));
    s.bytes = a.used;
    return s;
}

size_t mlp_collapse_scratch_cpu(struct jsc_device *device, enum mlp_form form, size_t n, int B, int d, int f)
{
    (void)device, (void)n;
    return layout(form, B, d, f, NULL).bytes;
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

static void form_W_t(const struct op_mlp_collapse *op, size_t t, int threads, float *W_t)
{
    const size_t d = (size_t)op->d, f = (size_t)op->f;
    const float *up = ((const struct cpu_weight *)op->up)->w, *c1 = (const float *)op->c1 + t * f, *c2 = (const float *)op->c2 + t * f;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (size_t j = 0; j < f; j++)
        mix_rows(up + j * d, op->gated ? up + (f + j) * d : NULL, d, c1[j], op->gated ? c2[j] : 0.0f, W_t + j * d);
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

static void add_rows(const struct op_mlp_collapse *op, size_t row0, const float *dR, int threads)
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
            for (size_t i = 0; i < d; i++)
                ((float *)op->G)[(row0 + b) * d + i] = R[i];
    }
}

static jsc_status token_full(struct jsc_stream *stream, const struct op_mlp_collapse *op, size_t t, const struct collapse_scratch *s,
                             jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t d = (size_t)op->d, f = (size_t)op->f, B = (size_t)op->B;
    const struct cpu_weight *down = (const struct cpu_weight *)op->down;
    const struct gemm form_A = {.m = d, .n = d, .k = f, .a = down->w, .b = s->W_t, .c = s->wide};
    const struct gemm pull = {.m = B, .n = d, .k = d, .a = (const float *)op->G + t * B * d, .b = s->wide, .c = s->dN};
    const struct fold fold = {.x = (const float *)op->x + t * d,
                              .w = op->w,
                              .r = ((const float *)op->r)[t],
                              .mean = op->kind == NORM_LAYER ? ((const float *)op->mean)[t] : 0.0f,
                              .d = d,
                              .layer = op->kind == NORM_LAYER};

    TRY(gemm_run(stream, &form_A, error));
#pragma omp parallel for num_threads(cpu_threads(stream)) schedule(static)
    for (size_t i = 0; i < d; i++)
        fold_row(&fold, s->wide + i * d);
    TRY(gemm_run(stream, &pull, error));
    add_rows(op, t * B, s->dN, cpu_threads(stream));
done:
    return status;
}

/* ---- half ------------------------------------------------------------------------------------------------------------------------ */

static jsc_status token_half(struct jsc_stream *stream, const struct op_mlp_collapse *op, size_t t, const struct collapse_scratch *s,
                             jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t d = (size_t)op->d, f = (size_t)op->f, B = (size_t)op->B, row0 = t * B;
    const struct op_matmul_vjp through_down = {.n = B, .w = op->down, .dy = (float *)op->G + row0 * d, .dx = s->wide};
    const struct gemm through_W_t = {.m = B, .n = d, .k = f, .a = s->wide, .b = s->W_t, .c = s->dN};
    const struct op_norm_vjp norm = {.rows = {.n = B, .B = op->B},
                                     .d = op->d,
                                     .kind = op->kind,
                                     .x = (float *)op->x + t * d,
                                     .r = (float *)op->r + t,
                                     .mean = op->mean != NULL ? (float *)op->mean + t : NULL,
                                     .w = op->w,
                                     .dn = s->dN,
                                     .R = (float *)op->R + row0 * d,
                                     .G = op->G != NULL ? (float *)op->G + row0 * d : NULL,
                                     .ss = op->ss != NULL ? (double *)op->ss + row0 : NULL};

    TRY(matmul_vjp_cpu(stream, &through_down, error));
    TRY(gemm_run(stream, &through_W_t, error));
    TRY(norm_vjp_cpu(stream, &norm, error));
done:
    return status;
}

jsc_status mlp_collapse_cpu(struct jsc_stream *stream, const struct op_mlp_collapse *op, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const struct collapse_scratch s = layout(op->form, op->B, op->d, op->f, op->scratch);

    for (size_t t = op->first; t < op->first + op->n; t++) {
        form_W_t(op, t, cpu_threads(stream), s.W_t);
        TRY(op->form == MLP_FULL ? token_full(stream, op, t, &s, error) : token_half(stream, op, t, &s, error));
    }
done:
    return status;
}
