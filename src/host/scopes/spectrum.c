/* spectrum.c: jsc_spectrum_compute: the largest eigenvalues of F or F_t, or singular values of J_t, with residuals. */
#include "spectrum_internal.h"

#include <math.h>
#include <string.h>

#define WHOLE         768 /* rows of A whose decomposition takes less than a second; 2048: 100 s */
#define EXACT_SHARE   0.5 /* right-hand sides beyond this share of A's rows, and all of them cost hardly more */
#define OVERSAMPLE    8
#define FISHER_STEPS  60
#define FISHER_SETTLE 1e-8 /* float products settle no further; residuals are of the order of the root */

const char *jsc_spectrum_kind_name(jsc_spectrum_kind kind)
{
    static const char *const names[JSC_SPECTRUM_COUNT] = {"fisher", "fisher-input", "jacobian"};
    return (int)kind >= 0 && kind < JSC_SPECTRUM_COUNT ? names[kind] : NULL;
}

/* ---- before anything is computed -------------------------------------------------------------------------------------------------- */

static jsc_status check(const jsc_model *m, const jsc_spectrum_request *r, jsc_error *error)
{
    jsc_status status = JSC_OK;

    if (m == NULL || r == NULL)
        FAIL(JSC_E_ARGUMENT, "jsc_spectrum_compute: model, request and out must be given");
    if (r->size != sizeof *r)
        FAIL(JSC_E_ARGUMENT, "jsc_spectrum_request.size is %zu, this library's is %zu: begin with JSC_SPECTRUM_REQUEST_INIT", r->size,
             sizeof *r);
    if (jsc_spectrum_kind_name(r->kind) == NULL)
        FAIL(JSC_E_ARGUMENT, "there is no kind of spectrum %d", (int)r->kind);
    if (r->k < 1 || r->k > m->d)
        FAIL(JSC_E_ARGUMENT, "%d values were asked for; 1 to %d (the model's width) are possible", r->k, m->d);
    if (r->oversample < 0)
        FAIL(JSC_E_ARGUMENT, "oversample %d is negative; 0 takes the usual 8", r->oversample);
    if (r->iterations < 0)
        FAIL(JSC_E_ARGUMENT, "iterations %d is negative; 0 takes as many as settle the values", r->iterations);
    if (r->exact && r->iterations > 0)
        FAIL(JSC_E_ARGUMENT, "exact takes no iterations, %d were asked for", r->iterations);
done:
    return status;
}

/* t, once the position is known. */
static jsc_status find_token(struct spectral *s, jsc_error *error)
{
    const jsc_spectrum_request *r = s->request;
    const int64_t n = (int64_t)r->n_ids, t = r->token < 0 ? r->token + n : r->token;
    s->t = s->job.p;
    if (r->kind == JSC_SPECTRUM_FISHER)
        return JSC_OK;
    if (r->token >= n || r->token < -n)
        return status_set(error, JSC_E_ARGUMENT, "token %" PRId64 " is outside the prompt of %zu tokens", r->token, r->n_ids);
    if (t > s->job.p)
        return status_set(error, JSC_E_ARGUMENT, "token %" PRId64 " comes after position %d: nothing there depends on it", t, s->job.p);
    s->t = (int)t;
    return JSC_OK;
}

static int extra_of(const struct spectral *s)
{
    const int wanted = s->request->oversample > 0 ? s->request->oversample : OVERSAMPLE;
    return wanted < s->d ? wanted : s->d;
}

/* Power steps at most, no more than fill the whole space. */
static int steps_of(const struct spectral *s)
{
    const int wide = s->request->k + extra_of(s), useful = s->d / wide + 1, wanted = s->request->iterations;
    return wanted == 0 ? SPECTRUM_STEPS : wanted < useful ? wanted : useful;
}

/* Right-hand sides and tangents of an iteration. */
static int work_of(const struct spectral *s)
{
    const int l = s->request->k + extra_of(s), steps = steps_of(s);
    return l * (steps + 1) + 2 * l * steps + SPECTRUM_PROBES;
}

/* Are all n rows of A pulled back? */
static bool goes_exact(const struct spectral *s, int n)
{
    if (s->request->exact || s->request->k + extra_of(s) >= n)
        return true;
    return s->request->iterations == 0 && work_of(s) >= EXACT_SHARE * n;
}

/* Is all of A decomposed once it is there, or only looked for its largest values? */
static bool decomposes(const struct spectral *s, int n)
{
    return n <= WHOLE || 4 * (s->request->k + extra_of(s)) >= n;
}

/* Doubles of the host while n rows are pulled back as a whole and looked into: A, its cotangents, the answer, and what it is found with. */
static uint64_t whole_doubles(const struct spectral *s, int n)
{
    const uint64_t rows = (uint64_t)n, d = (uint64_t)s->d, k = (uint64_t)s->request->k;
    return 2 * rows * d + (decomposes(s, n) ? rows * rows + k * (rows + d) + 3 * rows
                                            : spectral_iterate_doubles(s->request->k, extra_of(s), SPECTRUM_DENSE_STEPS, s->d));
}

static void add_bytes(struct spectral *s)
{
    struct work *work = &s->job.work;
    const jsc_spectrum_request *r = s->request;
    const int l = r->k + extra_of(s), fewest = work_of(s) / EXACT_SHARE < s->d ? (int)(work_of(s) / EXACT_SHARE) : s->d;
    const bool exact = goes_exact(s, s->d);
    const int most = exact ? s->d : fewest; /* F of a low rank goes exact all the same */
    uint64_t host = 0, device = 0, doubles = whole_doubles(s, most);

    if (r->kind == JSC_SPECTRUM_FISHER) {
        work->host_bytes += sizeof(double) * 4 * (uint64_t)l * (uint64_t)s->d;
        return;
    }
    if (!exact) {
        const uint64_t iterated = spectral_iterate_doubles(r->k, extra_of(s), steps_of(s), s->d);
        doubles = iterated > doubles ? iterated : doubles;
        spectral_push_bytes(&s->job, l, &host, &device);
    }
    work->n_rhs = most;
    work->gradients = true;
    work->host_bytes += sizeof(double) * (doubles + 2 * (uint64_t)r->k * (uint64_t)s->d) + host;
    work->device_bytes += device;
}

static jsc_status begin(struct spectral *s, const jsc_model *model, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_spectrum_request *r = s->request;

    s->inner = (jsc_request)JSC_REQUEST_INIT;
    s->inner.scope = r->kind == JSC_SPECTRUM_JACOBIAN ? JSC_SCOPE_TEMPERATURE : JSC_SCOPE_FISHER;
    s->inner.fisher_mode = JSC_FISHER_RANK, s->inner.fisher_rank = r->k;
    s->inner.ids = r->ids, s->inner.n_ids = r->n_ids, s->inner.position = r->position;
    s->inner.seed = r->seed, s->inner.memory_limit = r->memory_limit;
    s->inner.progress = r->progress, s->inner.progress_user = r->progress_user;
    s->job = (struct job){.model = model, .request = &s->inner, .plan = JSC_PLAN_INIT};
    s->d = model->d;
    TRY(job_size(&s->job, false, error));
    TRY(find_token(s, error));
    s->job.work.n_rhs = 1;
    add_bytes(s);
    TRY(plan_compute(model, &s->job.work, &s->job.plan, error));
    TRY(job_open(&s->job, error));
    TRY(job_forward(&s->job, error));
done:
    return status;
}

/* ---- answers ------------------------------------------------------------------------------------------------------------------------ */

static jsc_status make_arrays(jsc_spectrum *out, int n, jsc_error *error)
{
    jsc_status status = JSC_OK;
    out->n = n;
    TRY(mem_new(&out->values, (size_t)n, error));
    TRY(mem_new(&out->residuals, (size_t)n, error));
    TRY(mem_new(&out->vectors, (size_t)n * (size_t)out->d_model, error));
    if (out->kind == JSC_SPECTRUM_JACOBIAN)
        TRY(mem_new(&out->left, (size_t)n * (size_t)out->d_model, error));
done:
    return status;
}

static void turn(double *v, size_t d)
{
    for (size_t i = 0; i < d; i++)
        v[i] = -v[i];
}

/* A pair of vectors is as good with both signs turned: the largest component of v is positive. */
static void choose_sign(double *v, double *u, size_t d)
{
    size_t largest = 0;
    for (size_t i = 1; i < d; i++)
        if (fabs(v[i]) > fabs(v[largest]))
            largest = i;
    if (v[largest] > 0.0)
        return;
    turn(v, d);
    if (u != NULL)
        turn(u, d);
}

static jsc_status finish(jsc_spectrum *out, jsc_error *error)
{
    const size_t d = (size_t)out->d_model;
    for (int i = 0; i < out->n; i++) {
        choose_sign(out->vectors + (size_t)i * d, out->left != NULL ? out->left + (size_t)i * d : NULL, d);
        if (!isfinite(out->values[i]) || !isfinite(out->residuals[i]))
            return status_set(error, JSC_E_NUMERIC, "value %d of the %s spectrum is not finite: the model overflows on this prompt", i,
                              jsc_spectrum_kind_name(out->kind));
    }
    return isfinite(out->trace)
               ? JSC_OK
               : status_set(error, JSC_E_NUMERIC, "the trace of the %s spectrum is not finite: the model overflows on this prompt",
                            jsc_spectrum_kind_name(out->kind));
}

/* || F v - lambda v ||, by one more product. */
static jsc_status fisher_residuals(struct spectral *s, jsc_spectrum *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t d = (size_t)s->d;
    double *product = NULL;

    TRY(mem_new(&product, (size_t)out->n * d, error));
    TRY(fisher_apply(&s->f, out->vectors, out->n, product, error));
    for (int i = 0; i < out->n; i++) {
        double *row = product + (size_t)i * d;
        axpy(-out->values[i], out->vectors + (size_t)i * d, row, d);
        out->residuals[i] = sqrt(dense_dot(row, row, d));
    }
done:
    mem_free(product);
    return status;
}

static jsc_status run_fisher(struct spectral *s, jsc_spectrum *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_spectrum_request *r = s->request;
    struct subspace sub = {
        .k = r->k, .extra = extra_of(s), .iterations = r->iterations > 0 ? r->iterations + 1 : FISHER_STEPS, .settle = FISHER_SETTLE};
    bool decomposed = false;

    if (r->iterations > 0)
        TRY(subspace_find(&s->f, &sub, error));
    else
        TRY(fisher_eigenvectors(&s->f, &sub, r->exact != 0, &decomposed, error));
    TRY(make_arrays(out, sub.found, error));
    memcpy(out->values, sub.ritz, (size_t)sub.found * sizeof *out->values);
    memcpy(out->vectors, sub.U, (size_t)sub.found * (size_t)s->d * sizeof *out->vectors);
    out->trace = s->f.trace;
    out->exact = decomposed;
    out->rank = s->f.bound;
    out->iterations = decomposed ? 0 : sub.iterations - 1;
    out->rest = decomposed ? 0.0 : out->trace;
    for (int i = 0; i < out->n && !decomposed; i++)
        out->rest -= out->values[i];
    out->rest = fmax(out->rest, 0.0);
    TRY(fisher_residuals(s, out, error));
done:
    subspace_free(&sub);
    return status;
}

/* Singular triples of A, to what the kind calls them. */
static jsc_status take_triples(const struct spectral *s, const struct triples *t, jsc_spectrum *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const bool squared = out->kind == JSC_SPECTRUM_FISHER_INPUT;
    const size_t d = (size_t)s->d;

    TRY(make_arrays(out, t->n, error));
    for (int i = 0; i < t->n; i++) {
        out->values[i] = squared ? t->sigma[i] * t->sigma[i] : t->sigma[i];
        out->residuals[i] = squared ? t->sigma[i] * t->residuals[i] : t->residuals[i]; /* A A^T q - sigma^2 q = sigma (A v - sigma q) */
    }
    memcpy(out->vectors, t->v, (size_t)t->n * d * sizeof *t->v);
    if (out->left != NULL)
        memcpy(out->left, t->q, (size_t)t->n * d * sizeof *t->q);
    out->trace = t->trace, out->trace_stderr = t->trace_stderr, out->rest = t->rest;
    out->exact = s->A != NULL;
    out->rank = s->n;
    out->iterations = s->A != NULL ? 0 : t->iterations;
    out->right_hand_sides = s->pulled, out->tangents = s->tangents, out->probes = t->probes;
done:
    return status;
}

static jsc_status run_pulled(struct spectral *s, jsc_spectrum *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const jsc_spectrum_request *r = s->request;
    struct triples triples = {0};

    s->n = s->d;
    if (r->kind == JSC_SPECTRUM_FISHER_INPUT) {
        TRY(factor_exact(&s->f, &s->factor, error));
        fisher_close(&s->f);
        s->n = s->factor.n, s->C = s->factor.rows;
    }
    const bool exact = goes_exact(s, s->n);
    s->job.total = s->job.done + (exact ? s->n : work_of(s));
    if (exact)
        TRY(spectral_pull_all(s, error));
    if (exact && decomposes(s, s->n))
        TRY(spectral_decompose(s, r->k, &triples, error));
    else
        TRY(spectral_iterate(s, r->k, extra_of(s), steps_of(s), &triples, error));
    TRY(take_triples(s, &triples, out, error));
done:
    triples_free(&triples);
    return status;
}

static jsc_status run(struct spectral *s, jsc_spectrum *out, jsc_error *error)
{
    jsc_status status = JSC_OK;

    out->kind = s->request->kind;
    out->d_model = s->d;
    out->position = (size_t)s->job.p, out->token = (size_t)s->t;
    out->seed = s->request->seed;
    out->bytes_peak = s->job.plan.peak_bytes;
    if (out->kind != JSC_SPECTRUM_JACOBIAN) {
        TRY(fisher_open(&s->f, &s->job, FISHER_DROP_EXACT, error));
        out->dropped_mass = s->f.dropped;
    }
    if (out->kind == JSC_SPECTRUM_FISHER)
        TRY(run_fisher(s, out, error));
    else
        TRY(run_pulled(s, out, error));
    TRY(finish(out, error));
done:
    return status;
}

jsc_status jsc_spectrum_compute(const jsc_model *model, const jsc_spectrum_request *request, jsc_spectrum **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct spectral s = {.request = request};
    jsc_spectrum *made = NULL;
    const double started = clock_seconds();

    if (out == NULL)
        FAIL(JSC_E_ARGUMENT, "jsc_spectrum_compute: model, request and out must be given");
    TRY(check(model, request, error));
    TRY(mem_new(&made, 1, error));
    made->size = sizeof *made;
    TRY(begin(&s, model, error));
    TRY(run(&s, made, error));
    made->seconds = clock_seconds() - started;
    *out = made, made = NULL;
done:
    fisher_close(&s.f);
    factor_free(&s.factor);
    mem_free(s.A);
    job_close(&s.job);
    jsc_spectrum_free(made);
    return status;
}

void jsc_spectrum_free(jsc_spectrum *spectrum)
{
    if (spectrum == NULL)
        return;
    mem_free(spectrum->values);
    mem_free(spectrum->residuals);
    mem_free(spectrum->vectors);
    mem_free(spectrum->left);
    mem_free(spectrum);
}
