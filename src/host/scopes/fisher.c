/* fisher.c: tr(J_t^T F J_t) with F = W^T (diag P - P P^T) W, the paper's Fisher Scope (eq. 4, 6): exact, of a given rank, or adaptive. */
#include "scopes_internal.h"

#include <string.h>

/* Probability left out of F, as a share of what lies off the most likely token. An estimate need not be as fine as FISHER_DROP_EXACT. */
#define DROP_ESTIMATE 1e-7
/* Matrix rows of the adaptive mode: no growth, and no standard errors. */
#define ROW_DIRECTIONS 64
#define ROW_PROBES     64

void fisher_size(struct job *job)
{
    const jsc_request *r = job->request;
    const jsc_model *m = job->model;
    const uint64_t d = (uint64_t)m->d, V = (uint64_t)m->V, real = m->load_stream->size_of[ROLE_REAL];

    job->work.n_rhs = r->fisher_mode == JSC_FISHER_RANK ? r->fisher_rank : m->d < m->V ? m->d : m->V;
    /* the tokens' rows and one product's scratch on the device; ranking, F, its factor and copies of blocks on the host */
    job->work.device_bytes += (V + 2 * FISHER_BLOCK) * d * real + FISHER_BLOCK * V * real;
    job->work.host_bytes += V * (sizeof(struct ranked) + 20) + sizeof(double) * 4 * d * d;
    if (r->fisher_mode == JSC_FISHER_ADAPTIVE)
        fisher_adaptive_size(job);
}

/* Where sums over right-hand sides go: rows of a score, and of a layer map (or NULL). */
struct totals {
    const struct job *job;
    double *scores, *layers;
};

static jsc_status add_sums(void *user, const struct pulled *chunk, jsc_error *error)
{
    const struct totals *totals = user;
    const size_t T = (size_t)totals->job->T, n = (size_t)totals->job->n, B = (size_t)chunk->count;
    (void)error;
    for (size_t l = 0; l < (size_t)totals->job->levels; l++)
        for (size_t t = 0; t < T; t++)
            for (size_t b = 0; b < B; b++) {
                const double square = chunk->sums[(l * T + t) * B + b];
                if (l == 0)
                    totals->scores[t] += square;
                if (totals->layers != NULL)
                    totals->layers[l * n + t] += square;
            }
    return JSC_OK;
}

/* Pulls a factor's rows back from position q. */
static jsc_status pull_factor(struct job *job, const struct factor *factor, int q, struct totals *totals, jsc_error *error)
{
    jsc_status status = JSC_OK;
    int32_t *pos = NULL;

    TRY(mem_new(&pos, (size_t)factor->n, error));
    for (int i = 0; i < factor->n; i++)
        pos[i] = q;
    TRY(job_pull(job, factor->n, factor->rows, pos, add_sums, totals, error));
done:
    mem_free(pos);
    return status;
}

/* Scores from the exact factor or that of a given rank. */
static jsc_status run_factor(struct fisher *f, jsc_fisher_mode mode, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct job *job = f->job;
    jsc_attribution *out = job->out;
    struct totals totals = {job, out->scores, out->layers};
    struct factor factor = {0};

    if (mode == JSC_FISHER_RANK)
        TRY(factor_rank(f, job->request->fisher_rank, &factor, error));
    else
        TRY(factor_exact(f, &factor, error));
    job->total = job->done + factor.n;
    TRY(pull_factor(job, &factor, job->p, &totals, error));
    out->fisher.mode = mode;
    out->fisher.directions = factor.n;
    out->fisher.rank = factor.rank;
    out->fisher.explained = f->trace > 0.0 ? 1.0 - factor.dropped / f->trace : 1.0;
    if (factor.eigenvalues != NULL) {
        out->fisher.n_eigenvalues = factor.n;
        out->fisher.eigenvalues = factor.eigenvalues, factor.eigenvalues = NULL;
    }
done:
    factor_free(&factor);
    return status;
}

/* Row q of the matrix. */
static jsc_status matrix_row(struct job *job, int q, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_request *r = job->request;
    const bool exact = r->fisher_mode == JSC_FISHER_EXACT;
    struct totals totals = {job, job->out->matrix + (size_t)q * (size_t)job->n, NULL};
    struct fisher f = {0};
    struct factor factor = {0};

    TRY(job_head(job, q, error));
    TRY(fisher_open(&f, job, r->fisher_mode == JSC_FISHER_ADAPTIVE ? DROP_ESTIMATE : FISHER_DROP_EXACT, error));
    if (r->fisher_mode == JSC_FISHER_RANK)
        TRY(factor_rank(&f, r->fisher_rank, &factor, error));
    else if (exact || fisher_small(&f))
        TRY(factor_exact(&f, &factor, error));
    else
        TRY(fisher_sketch(&f, ROW_DIRECTIONS, ROW_PROBES, (uint64_t)(q + 1) << 32, &factor, error));
    TRY(pull_factor(job, &factor, q, &totals, error));
done:
    factor_free(&factor);
    fisher_close(&f);
    return status;
}

static jsc_status run_matrix(struct job *job, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t n = (size_t)job->n;

    job->total = job->done + (double)job->p * job->work.n_rhs;
    for (int q = 0; q < job->p; q++)
        TRY(matrix_row(job, q, error));
    memcpy(job->out->matrix + (size_t)job->p * n, job->out->scores, n * sizeof *job->out->scores);
done:
    return status;
}

jsc_status fisher_run(struct job *job, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_request *r = job->request;
    jsc_attribution *out = job->out;
    struct fisher f = {0};
    bool exact_pays = false;

    TRY(fisher_open(&f, job, r->fisher_mode == JSC_FISHER_ADAPTIVE ? DROP_ESTIMATE : FISHER_DROP_EXACT, error));
    out->fisher.trace = f.trace;
    out->fisher.dropped_mass = f.dropped;
    if (r->fisher_mode == JSC_FISHER_ADAPTIVE) {
        out->fisher.asked_adaptive = 1;
        out->fisher.rtol = r->fisher_rtol;
        if (fisher_small(&f))
            exact_pays = true;
        else
            TRY(fisher_adaptive(&f, &exact_pays, error));
    }
    if (exact_pays)
        TRY(run_factor(&f, JSC_FISHER_EXACT, error));
    else if (r->fisher_mode != JSC_FISHER_ADAPTIVE)
        TRY(run_factor(&f, r->fisher_mode, error));
    fisher_close(&f);
    if (out->matrix != NULL)
        TRY(run_matrix(job, error));
done:
    fisher_close(&f);
    return status;
}
