/* test_fisher.c: the Fisher matrix and its factors against dense float64 algebra; the adaptive estimate against the exact score, and the
 * honesty of its standard errors over many seeds. */
#include "scopes_internal.h"
#include "support/random_model.h"

#include <criterion/criterion.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A request opened up to the forward pass, with F of its position in three forms. */
struct bench {
    jsc_model *model;
    jsc_request request;
    struct job job;
    struct fisher f;
    double *F; /* [d][d] by definition */
    size_t d;
};

/* F = sum_i P_i (w_i - mu)(w_i - mu)^T over the whole vocabulary, straight from the head's rows. */
static void dense_fisher(struct bench *b)
{
    const size_t V = (size_t)b->model->V, d = b->d;
    double *w = malloc(V * d * sizeof *w), *mu = calloc(d, sizeof *mu), *coef = malloc(V * sizeof *coef);
    size_t *start = malloc((V + 1) * sizeof *start);
    int32_t *ids = malloc(V * sizeof *ids);
    jsc_error error = {0};
    for (size_t v = 0; v < V; v++)
        start[v] = v, ids[v] = (int32_t)v, coef[v] = b->job.slope[v];
    start[V] = V;
    cr_assert(head_cotangents(b->job.trace, V, start, ids, coef, w, &error) == JSC_OK, "%s", error.text);
    for (size_t v = 0; v < V; v++)
        axpy(b->job.P[v], w + v * d, mu, d);
    b->F = calloc(d * d, sizeof *b->F);
    for (size_t v = 0; v < V; v++)
        for (size_t i = 0; i < d; i++)
            for (size_t j = 0; j < d; j++)
                b->F[i * d + j] += b->job.P[v] * (w[v * d + i] - mu[i]) * (w[v * d + j] - mu[j]);
    free(w), free(mu), free(coef), free(start), free(ids);
}

static void bench_open(struct bench *b, const struct random_sizes *sizes, const char *device, double tolerance)
{
    jsc_error error = {0};
    memset(b, 0, sizeof *b);
    b->model = random_model(sizes, device);
    b->d = (size_t)sizes->d;
    b->request = ask(JSC_SCOPE_FISHER, 4);
    b->job = (struct job){.model = b->model, .request = &b->request, .plan = JSC_PLAN_INIT};
    cr_assert(job_size(&b->job, false, &error) == JSC_OK && plan_compute(b->model, &b->job.work, &b->job.plan, &error) == JSC_OK &&
                  attribution_make(&b->job, &error) == JSC_OK && job_open(&b->job, &error) == JSC_OK &&
                  job_forward(&b->job, &error) == JSC_OK,
              "%s", error.text);
    cr_assert(fisher_open(&b->f, &b->job, tolerance, &error) == JSC_OK, "%s", error.text);
    dense_fisher(b);
}

static void bench_close(struct bench *b)
{
    fisher_close(&b->f);
    job_close(&b->job);
    jsc_model_close(b->model);
    free(b->F);
}

static double trace_of(const double *F, size_t d)
{
    double sum = 0.0;
    for (size_t i = 0; i < d; i++)
        sum += F[i * d + i];
    return sum;
}

/* Largest |F - rows^T rows| as a share of the trace. */
static double misfit(const double *F, const double *rows, int n, size_t d)
{
    double largest = 0.0;
    for (size_t i = 0; i < d; i++)
        for (size_t j = 0; j < d; j++) {
            double sum = F[i * d + j];
            for (int r = 0; r < n; r++)
                sum -= rows[(size_t)r * d + i] * rows[(size_t)r * d + j];
            largest = fmax(largest, fabs(sum));
        }
    return largest / trace_of(F, d);
}

static const struct random_sizes narrow_vocabulary = {30, 16, 2, 1, 8, 1, 25, 0.5, 5}; /* fewer tokens than dimensions */

Test(fisher, exact_factors_give_back_the_matrix)
{
    const struct random_sizes sizes[] = {tiny_sizes, narrow_vocabulary, {64, 16, 2, 1, 8, 1, 90, 0.3, 6}};
    for (size_t s = 0; s < 3; s++) {
        struct bench b;
        struct factor factor;
        jsc_error error = {0};
        bench_open(&b, &sizes[s], "ref", 1e-9);
        cr_assert(factor_exact(&b.f, &factor, &error) == JSC_OK, "%s", error.text);
        cr_expect(misfit(b.F, factor.rows, factor.n, b.d) <= 1e-9, "d %zu: misfit %g", b.d, misfit(b.F, factor.rows, factor.n, b.d));
        cr_expect(fabs(b.f.trace - trace_of(b.F, b.d)) <= 1e-8 * b.f.trace, "trace %.12g, %.12g", b.f.trace, trace_of(b.F, b.d));
        cr_expect(factor.n <= sizes[s].V && factor.n <= sizes[s].d && factor.rank <= factor.n);
        factor_free(&factor);
        bench_close(&b);
    }
}

/* 1 - P_max is tiny: the expanded form would be rounding; centred rows keep all digits, in float too. */
Test(fisher, centred_rows_survive_a_certain_prediction)
{
    struct random_sizes sizes = tiny_sizes;
    sizes.head = 5.0;
    for (int device = 0; device < 2; device++) {
        struct bench b;
        struct factor factor;
        jsc_error error = {0};
        bench_open(&b, &sizes, device == 0 ? "ref" : "cpu", 1e-9);
        double largest = 0.0;
        for (int v = 0; v < sizes.V; v++)
            largest = fmax(largest, b.job.P[v]);
        cr_assert(1.0 - largest < 1e-4 && 1.0 - largest > 0.0, "1 - P is %g", 1.0 - largest);
        cr_assert(factor_exact(&b.f, &factor, &error) == JSC_OK, "%s", error.text);
        cr_expect(misfit(b.F, factor.rows, factor.n, b.d) <= (device == 0 ? 1e-8 : 1e-5), "misfit %g",
                  misfit(b.F, factor.rows, factor.n, b.d));
        factor_free(&factor);
        bench_close(&b);
    }
}

Test(fisher, tokens_left_out_are_bounded_and_said)
{
    struct random_sizes sizes = tiny_sizes;
    sizes.head = 3.0;
    struct bench b;
    bench_open(&b, &sizes, "ref", 1e-3);
    double kept = 0.0, rest = 0.0;
    for (int i = 0; i < b.f.n; i++)
        kept += b.f.p[i];
    for (int i = 0; i < sizes.V; i++)
        rest += b.job.P[i];
    rest -= b.f.p[0];
    cr_expect(b.f.n < sizes.V, "all tokens were kept");
    cr_expect(fabs(kept + b.f.dropped - 1.0) <= 1e-12 && b.f.dropped > 0.0 && b.f.dropped <= 1e-3 * rest, "kept %g, dropped %g", kept,
              b.f.dropped);
    bench_close(&b);
}

/* Subspace iteration and the dense way give the leading eigenpairs. */
Test(fisher, low_rank_factors_are_the_leading_eigenpairs)
{
    struct bench b;
    struct factor factor;
    jsc_error error = {0};
    const struct random_sizes sizes = {64, 16, 2, 1, 8, 1, 90, 0.3, 6};
    bench_open(&b, &sizes, "ref", 1e-12);
    double *q = malloc(64 * 64 * sizeof *q), values[64], work[64], top[5 * 64];
    memcpy(q, b.F, 64 * 64 * sizeof *q);
    symmetric_eigen(q, 64, values, work);
    cr_assert(factor_rank(&b.f, 5, &factor, &error) == JSC_OK && factor.n == 5, "%s", error.text);
    struct subspace s = {.k = 5, .iterations = 200, .settle = 1e-13};
    cr_assert(subspace_find(&b.f, &s, &error) == JSC_OK && s.found == 5, "%s", error.text);
    double kept = 0.0;
    for (int i = 0; i < 5; i++) {
        kept += values[i];
        cr_expect(fabs(factor.eigenvalues[i] - values[i]) <= 1e-10 * values[0], "value %d: %.12g, %.12g", i, factor.eigenvalues[i],
                  values[i]);
        cr_expect(fabs(s.ritz[i] - values[i]) <= 1e-10 * values[0], "Ritz value %d: %.12g, %.12g", i, s.ritz[i], values[i]);
        for (int c = 0; c < 64; c++)
            top[i * 64 + c] = sqrt(values[i]) * q[i * 64 + c];
        cr_expect(fabs(fabs(dense_dot(s.U + i * 64, q + i * 64, 64)) - 1.0) <= 1e-8, "vector %d", i);
        cr_expect(fabs(fabs(dense_dot(factor.rows + i * 64, top + i * 64, 64)) - values[i]) <= 1e-9 * values[0], "row %d", i);
    }
    cr_expect(fabs(factor.dropped - (b.f.trace - kept)) <= 1e-9 * b.f.trace, "dropped %g", factor.dropped);
    subspace_free(&s);
    factor_free(&factor);
    free(q);
    bench_close(&b);
}

/* F = D^T D + rest: the rest is positive semi-definite, and U lies in its null space, however badly U converged. */
Test(fisher, directions_leave_a_rest_that_the_probes_see)
{
    enum { d = 64, probes = 4000 };
    struct bench b;
    jsc_error error = {0};
    const struct random_sizes sizes = {d, 16, 2, 1, 8, 1, 90, 0.3, 6};
    bench_open(&b, &sizes, "ref", 1e-12);
    for (int iterations = 1; iterations < 5; iterations += 3) {
        struct subspace s = {.k = 10, .iterations = iterations, .settle = 0.0};
        struct exact_part part;
        double scratch[10], values[d], work[d];
        cr_assert(subspace_find(&b.f, &s, &error) == JSC_OK && exact_part_make(&s, d, b.f.trace, &part, &error) == JSC_OK, "%s",
                  error.text);
        cr_assert(part.n == 10);
        double *rest = malloc(d * d * sizeof *rest), *q = malloc(d * d * sizeof *q), *l = malloc(probes * d * sizeof *l),
               *mean = calloc(d * d, sizeof *mean);
        memcpy(rest, b.F, d * d * sizeof *rest);
        for (int r = 0; r < part.n; r++)
            for (int i = 0; i < d; i++)
                axpy(-part.D[r * d + i], part.D + r * d, rest + i * d, d);
        memcpy(q, rest, d * d * sizeof *q);
        symmetric_eigen(q, d, values, work);
        cr_expect(values[d - 1] >= -1e-12 * b.f.trace, "smallest eigenvalue of the rest is %g", values[d - 1]);
        for (int r = 0; r < part.n; r++)
            for (int i = 0; i < d; i++)
                cr_expect(fabs(dense_dot(rest + i * d, part.U + r * d, d)) <= 1e-10 * b.f.trace, "the rest still sees direction %d", r);
        cr_assert(fisher_probes(&b.f, 0, probes, l, &error) == JSC_OK, "%s", error.text);
        exact_part_project(&part, l, probes, d, scratch);
        for (int i = 0; i < probes * part.n; i++)
            cr_expect(fabs(dense_dot(l + i / part.n * d, part.U + i % part.n * d, d)) <= 1e-10 * sqrt(b.f.trace),
                      "probe %d still holds a part of direction %d", i / part.n, i % part.n);
        for (int p = 0; p < probes; p++)
            for (int i = 0; i < d; i++)
                axpy(l[p * d + i] / probes, l + p * d, mean + i * d, d);
        double off = 0.0, norm = 0.0;
        for (int i = 0; i < d * d; i++)
            off += pow(mean[i] - rest[i], 2), norm += pow(rest[i], 2);
        /* E ||mean - rest||_F^2 = about (tr^2 + ||rest||^2) / probes */
        const double expected = sqrt((pow(trace_of(rest, d), 2) + norm) / probes);
        cr_expect(sqrt(off) <= 1.3 * expected, "%d iterations: probes miss the rest by %g, %g expected", iterations, sqrt(off), expected);
        free(rest), free(q), free(l), free(mean);
        subspace_free(&s), exact_part_free(&part);
    }
    bench_close(&b);
}

Test(fisher, rank_scores_rise_to_the_exact_ones)
{
    jsc_model *model = random_model(&tiny_sizes, "ref");
    jsc_request r = ask(JSC_SCOPE_FISHER, 5);
    r.fisher_mode = JSC_FISHER_EXACT;
    jsc_attribution *exact = answer(model, &r), *before = NULL;
    cr_expect(exact->fisher.mode == JSC_FISHER_EXACT && exact->fisher.explained > 1.0 - 1e-9 && exact->fisher.rank <= 18);
    r.fisher_mode = JSC_FISHER_RANK;
    for (r.fisher_rank = 1; r.fisher_rank <= 18; r.fisher_rank++) {
        jsc_attribution *a = answer(model, &r);
        cr_expect(a->fisher.directions <= r.fisher_rank && a->fisher.n_eigenvalues == a->fisher.directions && a->stderrs == NULL);
        for (size_t t = 0; t < 5; t++) {
            cr_expect(before == NULL || a->scores[t] >= before->scores[t], "rank %d, token %zu falls", r.fisher_rank, t);
            cr_expect(r.fisher_rank < 18 || fabs(a->scores[t] - exact->scores[t]) <= 1e-8 * exact->scores[t], "full rank, token %zu", t);
        }
        jsc_attribution_free(before);
        before = a;
    }
    jsc_attribution_free(before), jsc_attribution_free(exact);
    jsc_model_close(model);
}

Test(fisher, adaptive_goes_exact_where_that_is_cheaper)
{
    jsc_model *tiny = random_model(&tiny_sizes, "ref"), *wide = random_model(&wide_sizes, "cpu");
    jsc_request r = ask(JSC_SCOPE_FISHER, 3);
    jsc_attribution *a = answer(tiny, &r);
    cr_expect(a->fisher.mode == JSC_FISHER_EXACT && a->fisher.asked_adaptive == 1 && a->stderrs == NULL && a->fisher.probes == 0);
    jsc_attribution_free(a);
    r.fisher_rtol = 1e-6; /* no estimate can reach it */
    a = answer(wide, &r);
    r.fisher_mode = JSC_FISHER_EXACT;
    jsc_attribution *exact = answer(wide, &r);
    cr_expect(a->fisher.mode == JSC_FISHER_EXACT && a->fisher.asked_adaptive == 1 && exact->fisher.asked_adaptive == 0);
    for (size_t t = 0; t < 3; t++)
        cr_expect(fabs(a->scores[t] - exact->scores[t]) <= 1e-5 * exact->scores[t], "token %zu: %.9g, %.9g", t, a->scores[t],
                  exact->scores[t]);
    jsc_attribution_free(a), jsc_attribution_free(exact);
    jsc_model_close(tiny), jsc_model_close(wide);
}

/* What one seed said of one token, in standard errors and relative. */
struct tally {
    int inside, cells, stages2, exact;
    double bias[8], spread[8];
};

static void count_seed(const jsc_attribution *a, const jsc_attribution *exact, struct tally *tally)
{
    const size_t n = a->n_tokens, cells = n * (size_t)a->n_layers;
    double total = 0.0;
    for (size_t t = 0; t < n; t++)
        total += exact->scores[t];
    cr_assert(a->fisher.mode == JSC_FISHER_ADAPTIVE && a->stderrs != NULL && a->layer_stderrs != NULL && cells <= 8);
    tally->stages2 += a->fisher.tangents > 0;
    for (size_t i = 0; i < cells; i++) {
        const double off = a->layers[i] - exact->layers[i];
        if (i < n && exact->scores[i] >= 0.01 * total)
            cr_expect(a->stderrs[i] <= 1.0001 * a->fisher.rtol * a->scores[i] && a->fisher.reached <= a->fisher.rtol,
                      "rtol was not reached");
        tally->inside += fabs(off) <= 2.0 * a->layer_stderrs[i];
        tally->cells++;
        tally->bias[i] += off / exact->layers[i];
        tally->spread[i] += pow(off / exact->layers[i], 2);
    }
}

/* Over 200 seeds two standard errors cover the exact score about 95 % of the time, and the mean of the estimates is the exact score. Where
 * seeds differ in when they stop, stopping picks the low ones: a bias, but well inside the tolerance that was asked for. */
static void check_seeds(double rtol, int min_two_stage)
{
    enum { SEEDS = 200 };
    jsc_model *model = random_model(&wide_sizes, "cpu");
    jsc_request r = ask(JSC_SCOPE_FISHER, 4);
    struct tally tally = {0};
    r.layers = 1, r.fisher_mode = JSC_FISHER_EXACT;
    jsc_attribution *exact = answer(model, &r);
    r.fisher_mode = JSC_FISHER_ADAPTIVE, r.fisher_rtol = rtol;
    for (r.seed = 0; r.seed < SEEDS; r.seed++) {
        jsc_attribution *a = answer(model, &r);
        if (a->fisher.mode == JSC_FISHER_EXACT) /* the spread of this seed's probes made exact look cheaper */
            tally.exact++;
        else
            count_seed(a, exact, &tally);
        jsc_attribution_free(a);
    }
    const double coverage = (double)tally.inside / tally.cells, seeds = SEEDS - tally.exact;
    fprintf(stderr, "rtol %g: coverage %.3f, %d seeds took a second stage, %d went exact\n", rtol, coverage, tally.stages2, tally.exact);
    cr_expect(tally.exact <= SEEDS / 20, "%d seeds went exact", tally.exact);
    cr_expect(coverage >= 0.88 && coverage <= 1.0, "two standard errors cover %.3f", coverage);
    cr_expect(tally.stages2 >= min_two_stage, "only %d seeds took a second stage", tally.stages2);
    for (size_t i = 0; i < exact->n_tokens; i++) {
        const double bias = tally.bias[i] / seeds, error = sqrt(tally.spread[i]) / seeds;
        cr_expect(fabs(bias) <= 3.5 * error + (tally.stages2 > 0 ? 0.4 * rtol : 0.0), "token %zu: the mean is off by %.2g +- %.2g", i, bias,
                  error);
    }
    jsc_attribution_free(exact);
    jsc_model_close(model);
}

Test(fisher, standard_errors_are_honest_after_one_stage, .timeout = 600)
{
    check_seeds(0.5, 0);
}

Test(fisher, standard_errors_are_honest_after_two_stages, .timeout = 600)
{
    check_seeds(0.0045, 100);
}

/* The same seed, the same bits; another seed, other probes. */
Test(fisher, case_31_seeds_decide_the_probes)
{
    jsc_model *model = random_model(&wide_sizes, "cpu");
    jsc_request r = ask(JSC_SCOPE_FISHER, 3);
    r.fisher_rtol = 0.5;
    jsc_attribution *a = answer(model, &r), *b = answer(model, &r);
    r.seed = 1;
    jsc_attribution *c = answer(model, &r);
    cr_expect(memcmp(a->scores, b->scores, 3 * sizeof *a->scores) == 0 && memcmp(a->stderrs, b->stderrs, 3 * sizeof *a->stderrs) == 0);
    cr_expect(memcmp(a->scores, c->scores, 3 * sizeof *a->scores) != 0);
    cr_expect(a->fisher.directions == 8 && a->fisher.probes == 16 && a->fisher.explained > 0.0 && a->fisher.explained < 1.0);
    for (int i = 1; i < a->fisher.n_eigenvalues; i++)
        cr_expect(a->fisher.eigenvalues[i] <= a->fisher.eigenvalues[i - 1]);
    jsc_attribution_free(a), jsc_attribution_free(b), jsc_attribution_free(c);
    jsc_model_close(model);
}

/* Case 30: the estimate, too, does not depend on the chunk. */
Test(fisher, case_30_the_estimate_in_any_chunk)
{
    jsc_model *model = random_model(&wide_sizes, "cpu");
    jsc_request r = ask(JSC_SCOPE_FISHER, 3);
    r.fisher_rtol = 0.5;
    jsc_attribution *a = answer(model, &r);
    for (r.chunk = 7; r.chunk < 64; r.chunk += 20) {
        jsc_attribution *b = answer(model, &r);
        for (size_t t = 0; t < 3; t++) {
            cr_expect(fabs(a->scores[t] - b->scores[t]) <= 1e-6 * a->scores[t], "chunk %d, token %zu: %.9g, %.9g", r.chunk, t, a->scores[t],
                      b->scores[t]);
            cr_expect(fabs(a->stderrs[t] - b->stderrs[t]) <= 1e-4 * a->stderrs[t], "chunk %d, token %zu, error", r.chunk, t);
        }
        jsc_attribution_free(b);
    }
    jsc_attribution_free(a);
    jsc_model_close(model);
}

/* Matrix rows of the adaptive mode are sketches: close to the exact rows. */
Test(fisher, matrix_rows_of_the_adaptive_mode)
{
    jsc_model *model = random_model(&wide_sizes, "cpu");
    jsc_request r = ask(JSC_SCOPE_FISHER, 3);
    r.matrix = 1, r.fisher_rtol = 0.5;
    jsc_attribution *a = answer(model, &r);
    r.fisher_mode = JSC_FISHER_EXACT;
    jsc_attribution *exact = answer(model, &r);
    for (int i = 0; i < 9; i++)
        cr_expect(fabs(a->matrix[i] - exact->matrix[i]) <= 0.25 * exact->matrix[i], "entry %d: %.6g, exact %.6g", i, a->matrix[i],
                  exact->matrix[i]);
    jsc_attribution_free(a), jsc_attribution_free(exact);
    jsc_model_close(model);
}
