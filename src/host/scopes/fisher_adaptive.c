/* fisher_adaptive.c: Fisher scores from the largest directions of F exactly and random probes of the rest, grown until the standard errors
 * are small enough (docs/math.md, adaptive Fisher).
 *
 * Stage s adds directions D_s, exact and orthogonal in the sense that F = sum_r D_r^T D_r + F_s, and probes l = L_s xi of F_s = L_s L_s^T.
 * Each stage alone gives an unbiased estimate  sum_{r <= s} ||D_r J||^2 + mean ||l^T J||^2;  they are averaged with weights that depend on
 * F alone, so the average is unbiased too, and its error follows from the spread of the probes inside each stage. */
#include "scopes_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_STAGE  32 /* directions, and as many probes */
#define STAGES_MAX   24
#define POWER_STEPS  4   /* products with F per stage: U need not be exact for the estimate to be unbiased */
#define NORM_VECTORS 16  /* random vectors that measure ||F_s||_F */
#define EXACT_SHARE  0.4 /* of the rank: more right-hand sides than this and all of them cost hardly more (design of the MLP's full form) */
#define SHARE_MIN    0.01 /* tokens whose standard error counts: at least this share of the total */

struct stage {
    struct exact_part part;
    int probes;
    double norm2;              /* estimate of ||F_s||_F^2 */
    double *exact, *mean, *m2; /* [levels T] sums of the directions; mean and sum of squared deviations of the probes */
};
struct adaptive {
    struct fisher *f;
    struct job *job;
    size_t cells; /* levels T */
    struct stage stages[STAGES_MAX];
    int n_stages;
    double *D; /* directions of all stages */
    size_t D_capacity;
    int n_D, n_probes;
    double *ritz;
    size_t ritz_capacity;
    int n_ritz;
    double carried; /* trace of F in the directions */
};

bool fisher_small(const struct fisher *f)
{
    return f->bound <= 4 * FIRST_STAGE;
}

/* First the directions' rows, then the probes' (Welford's running mean and spread). */
static jsc_status take_stage(void *user, const struct pulled *chunk, jsc_error *error)
{
    struct adaptive *a = user;
    struct stage *stage = &a->stages[a->n_stages];
    const size_t B = (size_t)chunk->count;
    (void)error;
    for (size_t b = 0; b < B; b++) {
        const int probe = chunk->first + (int)b - stage->part.n;
        for (size_t i = 0; i < a->cells; i++) {
            const double square = chunk->sums[i * B + b];
            if (probe < 0) {
                stage->exact[i] += square;
            } else {
                const double delta = square - stage->mean[i];
                stage->mean[i] += delta / (probe + 1);
                stage->m2[i] += delta * (square - stage->mean[i]);
            }
        }
    }
    return JSC_OK;
}

/* ||F_s||_F^2 = E ||F_s g||^2 over standard normal g, which know nothing of the probes. */
static jsc_status measure_rest(struct adaptive *a, struct stage *stage, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t n = (size_t)NORM_VECTORS * (size_t)a->f->d;
    double *g = NULL, *Fg = NULL;

    TRY(mem_new(&g, n, error));
    TRY(mem_new(&Fg, n, error));
    for (size_t i = 0; i < n; i++)
        g[i] = rng_normal(~a->job->request->seed, (uint64_t)a->n_stages, i);
    TRY(residual_apply(a->f, a->D, a->n_D, g, NORM_VECTORS, Fg, error));
    stage->norm2 = dense_dot(Fg, Fg, n) / NORM_VECTORS;
done:
    mem_free(g);
    mem_free(Fg);
    return status;
}

/* New directions out of what the earlier ones leave. */
static jsc_status add_directions(struct adaptive *a, struct stage *stage, int k, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t d = (size_t)a->f->d;
    struct subspace s = {.D = a->D, .n_d = a->n_D, .k = k, .iterations = POWER_STEPS, .settle = 1e-3, .stream = (uint64_t)a->n_stages};

    TRY(subspace_find(a->f, &s, error));
    TRY(exact_part_make(&s, a->f->d, a->f->trace, &stage->part, error));
    TRY(mem_reserve(&a->D, &a->D_capacity, (size_t)(a->n_D + stage->part.n) * d + 1, error));
    memcpy(a->D + (size_t)a->n_D * d, stage->part.D, (size_t)stage->part.n * d * sizeof *a->D);
    a->n_D += stage->part.n;
    a->carried += dense_dot(stage->part.D, stage->part.D, (size_t)stage->part.n * d);
    TRY(mem_reserve(&a->ritz, &a->ritz_capacity, (size_t)(a->n_ritz + s.found) + 1, error));
    for (int i = 0; i < s.found; i++)
        a->ritz[a->n_ritz++] = s.ritz[i];
    TRY(measure_rest(a, stage, error));
done:
    subspace_free(&s);
    return status;
}

/* One stage: k directions more and k probes of the new rest, pulled back together. */
static jsc_status grow(struct adaptive *a, int k, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct stage *stage = &a->stages[a->n_stages];
    const size_t d = (size_t)a->f->d;
    double *rows = NULL, *scratch = NULL;

    TRY(add_directions(a, stage, k, error));
    const int n = stage->part.n;
    TRY(mem_new(&rows, (size_t)(n + k) * d, error));
    TRY(mem_new(&scratch, (size_t)a->n_D, error));
    TRY(mem_new(&stage->exact, a->cells, error));
    TRY(mem_new(&stage->mean, a->cells, error));
    TRY(mem_new(&stage->m2, a->cells, error));
    double *probes = rows + (size_t)n * d;
    memcpy(rows, stage->part.D, (size_t)n * d * sizeof *rows);
    TRY(fisher_probes(a->f, (uint64_t)a->n_probes, k, probes, error));
    for (int r = 0; r <= a->n_stages; r++)
        exact_part_project(&a->stages[r].part, probes, k, a->f->d, scratch);
    stage->probes = k;
    a->n_probes += k;
    a->job->total = a->job->done + n + k;
    TRY(job_pull(a->job, n + k, rows, NULL, take_stage, a, error));
    a->n_stages++;
done:
    mem_free(rows);
    mem_free(scratch);
    return status;
}

/* Weight of each stage: inverse of the variance that F predicts for it, ||F_s||^2 / probes. */
static void weigh(const struct adaptive *a, double weights[STAGES_MAX])
{
    double sum = 0.0;
    const double least = 1e-30 * a->f->trace * a->f->trace + 1e-300; /* a rest of zero has no variance at all */
    for (int s = 0; s < a->n_stages; s++)
        sum += weights[s] = a->stages[s].probes / (a->stages[s].norm2 + least);
    for (int s = 0; s < a->n_stages; s++)
        weights[s] /= sum;
}

/* A few squares of random sums are skewed like a gamma distribution: where their spread comes out too small, so does their mean, and an
 * honest-looking error would be too small just where it matters. So the variance is taken one standard error of its own higher:
 * sd(v) / v = sqrt((2 + excess kurtosis) / (n - 1)), with the gamma distribution's excess 6 v / mean^2. */
static double upper_variance(double mean, double v, double n)
{
    return v * (1.0 + sqrt((2.0 + (mean > 0.0 ? 6.0 * v / (mean * mean) : 0.0)) / (n - 1.0)));
}

/* Estimate and standard error of cell i. */
static double estimate(const struct adaptive *a, const double *weights, size_t i, double *stderr_out)
{
    double value = 0.0, exact = 0.0, variance = 0.0;
    for (int s = 0; s < a->n_stages; s++) {
        const struct stage *stage = &a->stages[s];
        const double n = stage->probes;
        exact += stage->exact[i];
        value += weights[s] * (exact + stage->mean[i]);
        variance += weights[s] * weights[s] * upper_variance(stage->mean[i], stage->m2[i] / (n - 1.0), n) / n;
    }
    *stderr_out = sqrt(variance);
    return value;
}

/* Largest relative standard error of the tokens that matter. */
static double reached(const struct adaptive *a)
{
    double weights[STAGES_MAX], total = 0.0, largest = 0.0, spread = 0.0;
    const size_t T = (size_t)a->job->T;
    weigh(a, weights);
    for (size_t t = 0; t < T; t++)
        total += estimate(a, weights, t, &spread);
    for (size_t t = 0; t < T; t++) {
        const double value = estimate(a, weights, t, &spread);
        if (value > 0.0 && value >= SHARE_MIN * total)
            largest = fmax(largest, spread / value);
    }
    return largest;
}

static int falling(const void *left, const void *right)
{
    const double a = *(const double *)left, b = *(const double *)right;
    return a > b ? -1 : a < b;
}

static jsc_status fill_answer(struct adaptive *a, jsc_error *error)
{
    jsc_status status = JSC_OK;
    jsc_attribution *out = a->job->out;
    const size_t n = (size_t)a->job->n, T = (size_t)a->job->T;
    double weights[STAGES_MAX];

    TRY(mem_new(&out->stderrs, n, error));
    if (out->layers != NULL)
        TRY(mem_new(&out->layer_stderrs, n * (size_t)a->job->levels, error));
    weigh(a, weights);
    for (size_t i = 0; i < a->cells; i++) {
        double spread = 0.0;
        const double value = estimate(a, weights, i, &spread);
        const size_t l = i / T, t = i % T;
        if (l == 0)
            out->scores[t] = value, out->stderrs[t] = spread;
        if (out->layers != NULL)
            out->layers[l * n + t] = value, out->layer_stderrs[l * n + t] = spread;
    }
    out->fisher.mode = JSC_FISHER_ADAPTIVE;
    out->fisher.directions = a->n_D;
    out->fisher.probes = a->n_probes;
    out->fisher.rank = a->f->bound;
    out->fisher.explained = a->f->trace > 0.0 ? a->carried / a->f->trace : 1.0;
    out->fisher.reached = reached(a);
    qsort(a->ritz, (size_t)a->n_ritz, sizeof *a->ritz, falling);
    out->fisher.n_eigenvalues = a->n_ritz;
    out->fisher.eigenvalues = a->ritz, a->ritz = NULL;
done:
    return status;
}

jsc_status fisher_adaptive(struct fisher *f, bool *exact_pays, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct adaptive a = {.f = f, .job = f->job, .cells = (size_t)f->job->levels * (size_t)f->job->T};
    const double rtol = f->job->request->fisher_rtol, limit = EXACT_SHARE * f->bound;
    int k = FIRST_STAGE;

    *exact_pays = false;
    for (;;) {
        TRY(grow(&a, k, error));
        const int B = a.n_D + a.n_probes;
        const double error_now = reached(&a);
        if (error_now <= rtol)
            break;
        /* the error falls at least as fast as 1 / B: directions and probes both grow with B */
        const double needed = B * error_now / rtol;
        if (a.n_stages == STAGES_MAX || needed > limit) {
            *exact_pays = true;
            goto done;
        }
        k = (int)(0.5 * (fmin(fmin(fmax(1.2 * needed, 1.25 * B), 2.0 * B), limit) - B));
        k = k < 8 ? 8 : k;
    }
    TRY(fill_answer(&a, error));
done:
    for (int s = 0; s < STAGES_MAX; s++) {
        exact_part_free(&a.stages[s].part);
        mem_free(a.stages[s].exact);
        mem_free(a.stages[s].mean);
        mem_free(a.stages[s].m2);
    }
    mem_free(a.D);
    mem_free(a.ritz);
    return status;
}

jsc_status fisher_sketch(struct fisher *f, int n_exact, int n_probes, uint64_t first, struct factor *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t d = (size_t)f->d;
    struct subspace s = {.k = n_exact, .iterations = POWER_STEPS, .settle = 1e-3};
    struct exact_part part = {0};
    double *scratch = NULL;

    *out = (struct factor){0};
    TRY(subspace_find(f, &s, error));
    TRY(exact_part_make(&s, f->d, f->trace, &part, error));
    TRY(mem_new(&scratch, (size_t)part.n, error));
    TRY(mem_new(&out->rows, (size_t)(part.n + n_probes) * d, error));
    double *probes = out->rows + (size_t)part.n * d;
    memcpy(out->rows, part.D, (size_t)part.n * d * sizeof *out->rows);
    TRY(fisher_probes(f, first, n_probes, probes, error));
    exact_part_project(&part, probes, n_probes, f->d, scratch);
    for (size_t i = 0; i < (size_t)n_probes * d; i++)
        probes[i] /= sqrt(n_probes);
    out->n = part.n + n_probes;
    out->rank = f->bound;
done:
    subspace_free(&s);
    exact_part_free(&part);
    mem_free(scratch);
    return status;
}
