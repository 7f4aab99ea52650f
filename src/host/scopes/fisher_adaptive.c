/* fisher_adaptive.c: Fisher scores from directions that are exact and random probes of the rest, until the standard errors are small enough
 * (docs/math.md, adaptive Fisher).
 *
 * Directions D are exact; probes l = L_s xi see what they leave, F_s = F - D^T D = L_s L_s^T, so  ||D J_t||^2 + mean ||l^T J_t||^2  is an
 * unbiased estimate. Its error depends on the directions alone. The first are F's largest eigenvectors, which know nothing of J. Those
 * of a further stage are where J sends the last probes: h = sum_t w_t J_t (J_t^T l), one power step towards the eigenvectors that matter for
 * J^T F J itself. A stage that is nearly good enough gets more probes instead. */
#include "scopes_internal.h"

#include <math.h>
#include <string.h>

#define FIRST_DIRECTIONS 8
#define STAGE_PROBES     16 /* fewer make the standard errors themselves uncertain */
#define POWER_STEPS      3  /* products with F for the first directions: they need not be exact for the estimate to be unbiased */
#define STAGES_MAX       16
#define GAIN             2.5 /* by which a stage of new directions lowers the error at the least, as a rule: when would exact be cheaper? */
#define TOP_UP_FIRST     16  /* probes that are cheaper than a stage of directions chosen through J, which costs 3 STAGE_PROBES, */
#define TOP_UP           40  /* and than one more such stage */
#define EXACT_SHARE      0.5 /* of the rank: more right-hand sides than this and all of them cost hardly more (design of the MLP's full form) */
#define SHARE_MIN        0.01 /* tokens whose standard error counts: at least this share of the total */
#define SMALL_RANK       128
#define INFORMED_SHARE   8 /* gradients and tangents may take this part of the limit; without them F's eigenvectors serve all stages */

struct adaptive {
    struct fisher *f;
    struct job *job;
    size_t cells; /* levels T */
    struct exact_part parts[STAGES_MAX];
    int n_parts;
    double *D; /* directions of all stages */
    size_t D_capacity;
    int n_D;
    double *exact;     /* [cells] sums of the directions */
    double *mean, *m2; /* [cells] of the current stage's probes: mean, and sum of squared deviations from it */
    int n;             /* probes of the current stage, */
    int n_probes;      /* of all stages, */
    int n_tangents;    /* and tangents */
    double *grads;     /* [T][STAGE_PROBES][d] of the stage's first probes, or NULL: not informed */
    double *ritz;      /* of the first directions */
    int n_ritz;
    double carried; /* trace of F in the directions */
};

bool fisher_small(const struct fisher *f)
{
    return f->bound <= SMALL_RANK;
}

/* ---- memory -------------------------------------------------------------------------------------------------------------------- */

void fisher_adaptive_size(struct job *job)
{
    const uint64_t block = (uint64_t)job->T * STAGE_PROBES * (uint64_t)job->model->d * sizeof(double);
    const uint64_t gradients = 2 * block, tangents = tangents_bytes(job->model, job->T, STAGE_PROBES); /* of a stage's probes */
    const uint64_t cells = (uint64_t)job->levels * (uint64_t)job->T;
    job->informed = gradients + tangents <= plan_limit(job->model, job->work.limit) / INFORMED_SHARE;
    job->work.host_bytes += 3 * cells * sizeof(double) + (job->informed ? gradients : 0);
    job->work.device_bytes += job->informed ? tangents : 0;
}

/* ---- sums ---------------------------------------------------------------------------------------------------------------------- */

static jsc_status take_directions(void *user, const struct pulled *chunk, jsc_error *error)
{
    struct adaptive *a = user;
    const size_t B = (size_t)chunk->count;
    (void)error;
    for (size_t i = 0; i < a->cells; i++)
        for (size_t b = 0; b < B; b++)
            a->exact[i] += chunk->sums[i * B + b];
    return JSC_OK;
}

/* Welford's running mean and spread; gradients of the stage's first probes are kept. */
static jsc_status take_probes(void *user, const struct pulled *chunk, jsc_error *error)
{
    struct adaptive *a = user;
    const size_t B = (size_t)chunk->count, d = (size_t)a->f->d;
    (void)error;
    for (size_t b = 0; b < B; b++, a->n++) {
        for (size_t i = 0; i < a->cells; i++) {
            const double square = chunk->sums[i * B + b], delta = square - a->mean[i];
            a->mean[i] += delta / (a->n + 1);
            a->m2[i] += delta * (square - a->mean[i]);
        }
        for (size_t t = 0; a->grads != NULL && a->n < STAGE_PROBES && t < (size_t)a->job->T; t++)
            memcpy(a->grads + (t * STAGE_PROBES + (size_t)a->n) * d, chunk->grads + (t * B + b) * d, d * sizeof *a->grads);
    }
    return JSC_OK;
}

/* sd(v) / v = sqrt((2 + excess kurtosis) / (n - 1)), with the gamma distribution's excess 6 v / mean^2 */
double upper_variance(double mean, double v, double n)
{
    return v * (1.0 + sqrt((2.0 + (mean > 0.0 ? 6.0 * v / (mean * mean) : 0.0)) / (n - 1.0)));
}

/* Estimate and standard error of cell i. */
static double estimate(const struct adaptive *a, size_t i, double *stderr_out)
{
    const double n = a->n;
    *stderr_out = sqrt(upper_variance(a->mean[i], a->m2[i] / (n - 1.0), n) / n);
    return a->exact[i] + a->mean[i];
}

static double total_of(const struct adaptive *a)
{
    double total = 0.0, spread = 0.0;
    for (size_t t = 0; t < (size_t)a->job->T; t++)
        total += estimate(a, t, &spread);
    return total;
}

/* Largest relative standard error of the tokens that matter. */
static double reached(const struct adaptive *a)
{
    const double least = SHARE_MIN * total_of(a);
    double largest = 0.0, spread = 0.0;
    for (size_t t = 0; t < (size_t)a->job->T; t++) {
        const double value = estimate(a, t, &spread);
        if (value > 0.0 && value >= least)
            largest = fmax(largest, spread / value);
    }
    return largest;
}

/* ---- directions ------------------------------------------------------------------------------------------------------------------- */

/* Tangents u_t = w_t J_t^T l of the stage's first probes, [n][T][d]; w_t weighs tokens alike whose score matters. */
static void weigh_gradients(const struct adaptive *a, int n, double *u)
{
    const double least = 0.5 * SHARE_MIN * total_of(a);
    const size_t T = (size_t)a->job->T, d = (size_t)a->f->d;
    for (size_t t = 0; t < T; t++) {
        double spread = 0.0;
        const double score = estimate(a, t, &spread), w = score > 0.0 && score >= least ? 1.0 / score : 0.0;
        for (size_t i = 0; i < (size_t)n; i++)
            for (size_t j = 0; j < d; j++)
                u[(i * T + t) * d + j] = w * a->grads[(t * STAGE_PROBES + i) * d + j];
    }
}

/* A block of vectors out of the last stage's probes: where J sends their gradients. */
static jsc_status informed_block(struct adaptive *a, struct subspace *s, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct job *job = a->job;
    const size_t d = (size_t)a->f->d;
    const int n = a->n < STAGE_PROBES ? a->n : STAGE_PROBES;
    double *u = NULL;

    TRY(mem_new(&u, (size_t)n * (size_t)job->T * d, error));
    TRY(mem_new(&s->U, (size_t)n * d, error));
    TRY(mem_new(&s->FU, (size_t)n * d, error));
    weigh_gradients(a, n, u);
    TRY(job_progress(job, "backward", 0.0, error));
    TRY(job_tangents(job, u, n, s->U, error));
    TRY(job_progress(job, "backward", n, error));
    a->n_tangents += n;
    s->found = orthonormalise(s->U, n, a->f->d);
    TRY(residual_apply(a->f, a->D, a->n_D, s->U, s->found, s->FU, error));
done:
    mem_free(u);
    return status;
}

static jsc_status eigen_block(struct adaptive *a, int k, struct subspace *s, jsc_error *error)
{
    jsc_status status = JSC_OK;
    s->D = a->D, s->n_d = a->n_D, s->k = k, s->iterations = POWER_STEPS, s->settle = 1e-2, s->stream = (uint64_t)a->n_parts;
    TRY(subspace_find(a->f, s, error));
    if (a->ritz == NULL && s->found > 0) {
        a->ritz = s->ritz, s->ritz = NULL;
        a->n_ritz = s->found;
    }
done:
    return status;
}

/* ---- stages ------------------------------------------------------------------------------------------------------------------------- */

/* New directions out of what the earlier ones leave, pulled back; the probes of the old rest are worth nothing then. */
static jsc_status add_directions(struct adaptive *a, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t d = (size_t)a->f->d;
    struct subspace s = {0};
    struct exact_part *part = &a->parts[a->n_parts];

    if (a->n > 0 && a->grads != NULL)
        TRY(informed_block(a, &s, error));
    else
        TRY(eigen_block(a, a->n > 0 ? 2 * STAGE_PROBES : FIRST_DIRECTIONS, &s, error));
    TRY(exact_part_make(&s, a->f->d, a->f->trace, part, error));
    a->n_parts++;
    TRY(mem_reserve(&a->D, &a->D_capacity, (size_t)(a->n_D + part->n) * d + 1, error));
    memcpy(a->D + (size_t)a->n_D * d, part->D, (size_t)part->n * d * sizeof *a->D);
    a->n_D += part->n;
    a->carried += dense_dot(part->D, part->D, (size_t)part->n * d);
    TRY(job_pull(a->job, part->n, part->D, NULL, take_directions, a, error));
    a->n = 0;
    memset(a->mean, 0, a->cells * sizeof *a->mean);
    memset(a->m2, 0, a->cells * sizeof *a->m2);
done:
    subspace_free(&s);
    return status;
}

static jsc_status add_probes(struct adaptive *a, int n, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t d = (size_t)a->f->d;
    double *probes = NULL, *scratch = NULL;

    TRY(mem_new(&probes, (size_t)n * d, error));
    TRY(mem_new(&scratch, (size_t)a->n_D, error));
    TRY(fisher_probes(a->f, (uint64_t)a->n_probes, n, probes, error));
    for (int r = 0; r < a->n_parts; r++)
        exact_part_project(&a->parts[r], probes, n, a->f->d, scratch);
    a->n_probes += n;
    TRY(job_pull_grads(a->job, n, probes, a->grads != NULL && a->n < STAGE_PROBES, take_probes, a, error));
done:
    mem_free(probes);
    mem_free(scratch);
    return status;
}

/* Units of work so far: a tangent costs about as much as a right-hand side. */
static int spent(const struct adaptive *a)
{
    return a->n_D + a->n_probes + a->n_tangents;
}

/* Grows until the error is reached; *exact_pays: it would take about as many right-hand sides as exact. */
static jsc_status grow(struct adaptive *a, bool *exact_pays, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const double rtol = a->job->request->fisher_rtol, limit = EXACT_SHARE * a->f->bound;

    *exact_pays = false;
    TRY(add_directions(a, error));
    TRY(add_probes(a, STAGE_PROBES, error));
    for (double ratio; (ratio = reached(a) / rtol) > 1.0;) {
        const double stages = ceil(log(ratio) / log(GAIN)), more = ceil(a->n * (1.1 * ratio * ratio - 1.0));
        const bool top_up = more <= (a->n_parts == 1 ? TOP_UP_FIRST : TOP_UP) || a->n_parts == STAGES_MAX;
        if (spent(a) + (top_up ? more : 3.0 * STAGE_PROBES * stages) > limit) {
            *exact_pays = true;
            break;
        }
        a->job->total = a->job->done + (top_up ? more : 3.0 * STAGE_PROBES);
        if (!top_up)
            TRY(add_directions(a, error));
        TRY(add_probes(a, top_up ? (int)more : STAGE_PROBES, error));
    }
done:
    return status;
}

static jsc_status fill_answer(struct adaptive *a, jsc_error *error)
{
    jsc_status status = JSC_OK;
    jsc_attribution *out = a->job->out;
    const size_t n = (size_t)a->job->n, T = (size_t)a->job->T;

    TRY(mem_new(&out->stderrs, n, error));
    if (out->layers != NULL)
        TRY(mem_new(&out->layer_stderrs, n * (size_t)a->job->levels, error));
    for (size_t i = 0; i < a->cells; i++) {
        double spread = 0.0;
        const double value = estimate(a, i, &spread);
        const size_t l = i / T, t = i % T;
        if (l == 0)
            out->scores[t] = value, out->stderrs[t] = spread;
        if (out->layers != NULL)
            out->layers[l * n + t] = value, out->layer_stderrs[l * n + t] = spread;
    }
    out->fisher.mode = JSC_FISHER_ADAPTIVE;
    out->fisher.directions = a->n_D;
    out->fisher.probes = a->n_probes;
    out->fisher.tangents = a->n_tangents;
    out->fisher.rank = a->f->bound;
    out->fisher.explained = a->f->trace > 0.0 ? a->carried / a->f->trace : 1.0;
    out->fisher.reached = reached(a);
    out->fisher.n_eigenvalues = a->n_ritz;
    out->fisher.eigenvalues = a->ritz, a->ritz = NULL;
done:
    return status;
}

jsc_status fisher_adaptive(struct fisher *f, bool *exact_pays, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t T = (size_t)f->job->T;
    struct adaptive a = {.f = f, .job = f->job, .cells = (size_t)f->job->levels * T};

    TRY(mem_new(&a.exact, a.cells, error));
    TRY(mem_new(&a.mean, a.cells, error));
    TRY(mem_new(&a.m2, a.cells, error));
    if (f->job->informed)
        TRY(mem_new(&a.grads, T * STAGE_PROBES * (size_t)f->d, error));
    TRY(grow(&a, exact_pays, error));
    if (!*exact_pays)
        TRY(fill_answer(&a, error));
done:
    for (int s = 0; s < STAGES_MAX; s++)
        exact_part_free(&a.parts[s]);
    mem_free(a.D);
    mem_free(a.exact);
    mem_free(a.mean);
    mem_free(a.m2);
    mem_free(a.grads);
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
