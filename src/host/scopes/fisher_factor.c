/* fisher_factor.c: F = Wc^T Wc at one position, as centred rows of the tokens that matter; products with F; exact and low-rank factors. */
#include "scopes_internal.h"

#include <math.h>
#include <string.h>

/* Share of tr F that pivoted Cholesky may leave: far below what any score can show, far above the rounding of F. */
#define CHOLESKY_REST 1e-12
#define FISHER_DENSE  768 /* widest model whose F is decomposed whole: about a second */

/* The tokens that hold all but tolerance times the mass off the most likely one, most likely first; *dropped: the mass left out. Those that
 * may be left out even if all V were as likely are not sorted: nearly all of a vocabulary. */
static jsc_status keep_tokens(const double *P, size_t V, double tolerance, struct ranked **out, size_t *n, double *dropped,
                              jsc_error *error)
{
    double sum = 0.0, most = 0.0, small = 0.0;
    size_t many = 0;

    for (size_t i = 0; i < V; i++)
        sum += P[i], most = fmax(most, P[i]);
    const double spare = tolerance * (sum - most), trifle = spare / (double)V;
    for (size_t i = 0; i < V; i++)
        if (P[i] > trifle)
            many++;
        else
            small += P[i];
    if (many == 0) /* nothing is likely at all: P is not finite */
        many = V, small = 0.0;
    const jsc_status status = rank_tokens(P, V, many, out, error);
    while (status == JSC_OK && many > 1 && small + (*out)[many - 1].p <= spare)
        small += (*out)[--many].p;
    *dropped = small;
    *n = many;
    return status;
}

jsc_status fisher_open(struct fisher *f, struct job *job, double tolerance, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_model *m = job->model;
    struct ranked *ranked = NULL;
    size_t n = 0;

    *f = (struct fisher){.job = job, .d = m->d};
    TRY(keep_tokens(job->P, (size_t)m->V, tolerance, &ranked, &n, &f->dropped, error));
    f->n = (int)n;
    f->bound = f->n - 1 < f->d ? f->n - 1 : f->d; /* the centred rows are dependent */
    TRY(mem_new(&f->ids, n, error));
    TRY(mem_new(&f->p, n, error));
    TRY(mem_new(&f->slope, n, error));
    for (size_t i = 0; i < n; i++) {
        f->ids[i] = ranked[i].id;
        f->p[i] = ranked[i].p;
        f->slope[i] = job->slope[ranked[i].id];
    }
    TRY(m->ops->alloc(m->device, n * (size_t)m->d * job->trace->stream->size_of[ROLE_REAL], &f->wc, error));
    TRY(m->ops->fisher_rows(
        job->trace->stream,
        &(struct op_fisher_rows){.n = n, .ids = f->ids, .p = f->p, .slope = f->slope, .w = m->head, .wc = f->wc, .trace = &f->trace},
        error));
    TRY(m->ops->sync(job->trace->stream, error));
    if (!isfinite(f->trace))
        FAIL(JSC_E_NUMERIC, "the trace of the Fisher matrix is not finite: the output head overflows on this prompt");
done:
    mem_free(ranked);
    return status;
}

void fisher_close(struct fisher *f)
{
    if (f->job == NULL)
        return;
    const jsc_model *m = f->job->model;
    m->ops->free(m->device, f->wc);
    m->ops->free(m->device, f->m);
    m->ops->free(m->device, f->fm);
    m->ops->free(m->device, f->c);
    mem_free(f->ids);
    mem_free(f->p);
    mem_free(f->slope);
    *f = (struct fisher){0};
}

static jsc_status make_scratch(struct fisher *f, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_model *m = f->job->model;
    const size_t real = f->job->trace->stream->size_of[ROLE_REAL], rows = FISHER_BLOCK;

    if (f->m == NULL)
        TRY(m->ops->alloc(m->device, rows * (size_t)f->d * real, &f->m, error));
    if (f->fm == NULL)
        TRY(m->ops->alloc(m->device, rows * (size_t)f->d * real, &f->fm, error));
    if (f->c == NULL)
        TRY(m->ops->alloc(m->device, rows * (size_t)f->n * real, &f->c, error));
done:
    return status;
}

jsc_status fisher_apply(struct fisher *f, const double *m, int k, double *fm, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const struct jsc_ops *ops = f->job->model->ops;
    struct jsc_stream *stream = f->job->trace->stream;
    const size_t d = (size_t)f->d;

    TRY(make_scratch(f, error));
    for (int first = 0; first < k; first += FISHER_BLOCK) {
        const int count = k - first < FISHER_BLOCK ? k - first : FISHER_BLOCK;
        TRY(ops->put(stream, ROLE_REAL, f->m, m + (size_t)first * d, (size_t)count * d, error));
        TRY(ops->fisher_apply(
            stream, &(struct op_fisher_apply){.n = (size_t)f->n, .k = count, .d = f->d, .wc = f->wc, .m = f->m, .c = f->c, .fm = f->fm},
            error));
        TRY(ops->get(stream, ROLE_REAL, fm + (size_t)first * d, f->fm, (size_t)count * d, error));
    }
done:
    return status;
}

jsc_status fisher_probes(struct fisher *f, uint64_t first, int count, double *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const struct jsc_ops *ops = f->job->model->ops;
    struct jsc_stream *stream = f->job->trace->stream;
    const size_t d = (size_t)f->d;

    TRY(make_scratch(f, error));
    for (int at = 0; at < count; at += FISHER_BLOCK) {
        const int n = count - at < FISHER_BLOCK ? count - at : FISHER_BLOCK;
        TRY(ops->probes(stream,
                        &(struct op_probes){.n = (size_t)f->n,
                                            .count = n,
                                            .d = f->d,
                                            .seed = f->job->request->seed,
                                            .first = first + (uint64_t)at,
                                            .ids = f->ids,
                                            .wc = f->wc,
                                            .out = f->m},
                        error));
        TRY(ops->get(stream, ROLE_REAL, out + (size_t)at * d, f->m, (size_t)n * d, error));
    }
done:
    return status;
}

/* Fewer tokens than dimensions: their rows are the factor. */
static jsc_status factor_rows(struct fisher *f, struct factor *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t count = (size_t)f->n * (size_t)f->d;

    TRY(mem_new(&out->rows, count, error));
    TRY(f->job->model->ops->get(f->job->trace->stream, ROLE_REAL, out->rows, f->wc, count, error));
    out->n = f->n;
    out->rank = f->bound;
done:
    return status;
}

jsc_status factor_exact(struct fisher *f, struct factor *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t d = (size_t)f->d;
    double *F = NULL, *diag = NULL;

    *out = (struct factor){0};
    if (f->n < f->d) {
        TRY(factor_rows(f, out, error));
        goto done;
    }
    TRY(mem_new(&F, d * d, error));
    TRY(mem_new(&diag, d, error));
    TRY(mem_new(&out->rows, d * d, error));
    TRY(f->job->model->ops->gram(f->job->trace->stream, &(struct op_gram){.n = (size_t)f->n, .d = f->d, .wc = f->wc, .out = F}, error));
    out->n = out->rank = cholesky_pivoted(F, f->d, f->d, CHOLESKY_REST * f->trace, out->rows, NULL, diag, &out->dropped,
                                          f->job->model->device->threads);
done:
    mem_free(F);
    mem_free(diag);
    return status;
}

/* All eigenvectors of F: for a narrow model this is quicker than an iteration that must settle. */
static jsc_status dense_eigenvectors(struct fisher *f, struct subspace *s, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t d = (size_t)f->d;
    double *work = NULL;

    TRY(mem_new(&s->U, d * d, error));
    TRY(mem_new(&s->ritz, d, error));
    TRY(mem_new(&work, d, error));
    TRY(f->job->model->ops->gram(f->job->trace->stream, &(struct op_gram){.n = (size_t)f->n, .d = f->d, .wc = f->wc, .out = s->U}, error));
    symmetric_eigen(s->U, f->d, s->ritz, work);
    s->found = s->k;
    while (s->found > 0 && !(s->ritz[s->found - 1] > 1e-13 * f->trace))
        s->found--;
done:
    mem_free(work);
    return status;
}

jsc_status fisher_eigenvectors(struct fisher *f, struct subspace *s, bool dense, bool *decomposed, jsc_error *error)
{
    *decomposed = dense || f->d <= FISHER_DENSE;
    return *decomposed ? dense_eigenvectors(f, s, error) : subspace_find(f, s, error);
}

jsc_status factor_rank(struct fisher *f, int k, struct factor *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t d = (size_t)f->d;
    struct subspace s = {.k = k, .iterations = 60, .settle = 1e-6};
    double kept = 0.0;
    bool decomposed = false;

    *out = (struct factor){0};
    TRY(fisher_eigenvectors(f, &s, false, &decomposed, error));
    TRY(mem_new(&out->rows, (size_t)s.found * d, error));
    TRY(mem_new(&out->eigenvalues, (size_t)s.found, error));
    out->n = s.found;
    out->rank = f->bound;
    for (int i = 0; i < s.found; i++) {
        out->eigenvalues[i] = s.ritz[i];
        kept += s.ritz[i];
        axpy(sqrt(s.ritz[i]), s.U + (size_t)i * d, out->rows + (size_t)i * d, d);
    }
    out->dropped = f->trace > kept ? f->trace - kept : 0.0;
done:
    subspace_free(&s);
    return status;
}

void factor_free(struct factor *factor)
{
    mem_free(factor->rows);
    mem_free(factor->eigenvalues);
    *factor = (struct factor){0};
}
