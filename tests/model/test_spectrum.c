/* test_spectrum.c: spectra of F, F_t and J_t against dense float64 algebra on the exact Jacobian, their sums against traces known otherwise,
 * and residuals that must bound what they say they bound. */
#include "resident.h"
#include "scopes_internal.h"
#include "support/random_model.h"
#include "support/refusal.h"

#include <criterion/criterion.h>

#include <jscopes/jscopes.h>
#include <malloc.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { T = 4, D_MOST = 64 };
/* wide enough for a choice: a random space of 2 + 3 rows is a small part of it */
static const struct random_sizes middle_sizes = {.d = 48, .f = 80, .H = 4, .K = 2, .h = 12, .L = 2, .V = 120, .head = 0.6, .seed = 5};

static const int32_t prompt_ids[T] = {3, 17, 0, 29};

static jsc_spectrum_request question(jsc_spectrum_kind kind, int k)
{
    jsc_spectrum_request r = JSC_SPECTRUM_REQUEST_INIT;
    r.kind = kind, r.k = k;
    r.ids = prompt_ids, r.n_ids = T;
    r.token = kind == JSC_SPECTRUM_FISHER ? -1 : 1;
    return r;
}

static jsc_spectrum *spectrum(const jsc_model *model, const jsc_spectrum_request *request)
{
    jsc_spectrum *s = NULL;
    jsc_error error = {0};
    cr_assert(jsc_spectrum_compute(model, request, &s, &error) == JSC_OK, "%s", error.text);
    return s;
}

/* ---- the oracle: dense J_t and F, decomposed by cyclic Jacobi rotations ------------------------------------------------------------ */

struct oracle {
    int d;
    double J[D_MOST * D_MOST], F[D_MOST * D_MOST], P[D_MOST * D_MOST], values[D_MOST], V[D_MOST * D_MOST];
};

/* J_t at p by one-hot cotangents; columns of F by the head's rows. */
static void oracle_jacobian(struct oracle *o, const jsc_model *model, int d, int t, int p)
{
    static double cot[D_MOST * D_MOST], grads[D_MOST * T * D_MOST];
    int64_t positions[D_MOST];
    jsc_vjp_request r = JSC_VJP_REQUEST_INIT;
    jsc_error error = {0};
    o->d = d;
    memset(cot, 0, sizeof cot);
    for (int i = 0; i < d; i++)
        cot[i * d + i] = 1.0, positions[i] = p;
    r.ids = prompt_ids, r.n_ids = T, r.n_rhs = (size_t)d, r.positions = positions, r.cotangents = cot, r.gradients = grads;
    cr_assert(jsc_vjp(model, &r, &error) == JSC_OK, "%s", error.text);
    for (int i = 0; i < d; i++)
        memcpy(o->J + i * d, grads + (i * T + t) * d, (size_t)d * sizeof *grads);
}

/* F = sum_i P_i (w_i - mu)(w_i - mu)^T, from what the head gives. */
static void oracle_fisher(struct oracle *o, const jsc_model *model, int d, int p)
{
    const int V = model->V;
    jsc_request request = JSC_REQUEST_INIT;
    request.ids = prompt_ids, request.n_ids = T, request.position = p, request.scope = JSC_SCOPE_TEMPERATURE;
    struct job job = {.model = model, .request = &request, .plan = JSC_PLAN_INIT};
    jsc_error error = {0};
    double *w = calloc((size_t)V * (size_t)d, sizeof *w), *mu = calloc((size_t)d, sizeof *mu);
    size_t *start = calloc((size_t)V + 1, sizeof *start);
    int32_t *ids = calloc((size_t)V, sizeof *ids);
    cr_assert(job_size(&job, false, &error) == JSC_OK && plan_compute(model, &job.work, &job.plan, &error) == JSC_OK &&
                  job_open(&job, &error) == JSC_OK && job_forward(&job, &error) == JSC_OK,
              "%s", error.text);
    for (int v = 0; v <= V; v++)
        start[v] = (size_t)v;
    for (int v = 0; v < V; v++)
        ids[v] = v;
    cr_assert(head_cotangents(job.trace, (size_t)V, start, ids, job.slope, w, &error) == JSC_OK, "%s", error.text);
    for (int v = 0; v < V; v++)
        axpy(job.P[v], w + v * d, mu, (size_t)d);
    memset(o->F, 0, sizeof o->F);
    for (int v = 0; v < V; v++)
        for (int i = 0; i < d; i++)
            for (int j = 0; j < d; j++)
                o->F[i * d + j] += job.P[v] * (w[v * d + i] - mu[i]) * (w[v * d + j] - mu[j]);
    o->d = d;
    job_close(&job);
    free(w), free(mu), free(start), free(ids);
}

/* P = J^T F J, or J^T J without F. */
static void oracle_product(struct oracle *o, bool with_fisher)
{
    const int d = o->d;
    static double FJ[D_MOST * D_MOST];
    for (int i = 0; i < d; i++)
        for (int j = 0; j < d; j++) {
            double sum = 0.0;
            for (int x = 0; x < d; x++)
                sum += o->F[i * d + x] * o->J[x * d + j];
            FJ[i * d + j] = with_fisher ? sum : o->J[i * d + j];
        }
    for (int i = 0; i < d; i++)
        for (int j = 0; j < d; j++) {
            double sum = 0.0;
            for (int x = 0; x < d; x++)
                sum += o->J[x * d + i] * FJ[x * d + j];
            o->P[i * d + j] = sum;
        }
}

/* All eigenvalues of symmetric M by Jacobi's rotations, largest first: another method than the library's. */
static void oracle_eigenvalues(struct oracle *o, const double *M)
{
    const int d = o->d;
    double *a = o->V;
    memcpy(a, M, (size_t)(d * d) * sizeof *a);
    for (int sweep = 0; sweep < 30; sweep++)
        for (int p = 0; p < d; p++)
            for (int q = p + 1; q < d; q++) {
                const double apq = a[p * d + q];
                if (fabs(apq) < 1e-300)
                    continue;
                const double zeta = (a[q * d + q] - a[p * d + p]) / (2.0 * apq);
                const double t = copysign(1.0, zeta) / (fabs(zeta) + hypot(1.0, zeta)), c = 1.0 / hypot(1.0, t), s = c * t;
                for (int x = 0; x < d; x++) {
                    const double xp = a[x * d + p], xq = a[x * d + q];
                    a[x * d + p] = c * xp - s * xq, a[x * d + q] = s * xp + c * xq;
                }
                for (int x = 0; x < d; x++) {
                    const double px = a[p * d + x], qx = a[q * d + x];
                    a[p * d + x] = c * px - s * qx, a[q * d + x] = s * px + c * qx;
                }
            }
    for (int i = 0; i < d; i++)
        o->values[i] = a[i * d + i];
    for (int i = 0; i < d; i++)
        for (int j = i + 1; j < d; j++)
            if (o->values[j] > o->values[i]) {
                const double swap = o->values[i];
                o->values[i] = o->values[j], o->values[j] = swap;
            }
}

/* Values of a kind; of the Jacobian sigma. */
static void oracle_spectrum(struct oracle *o, const jsc_model *model, int d, jsc_spectrum_kind kind, int t, int p)
{
    oracle_fisher(o, model, d, p);
    if (kind != JSC_SPECTRUM_FISHER) {
        oracle_jacobian(o, model, d, t, p);
        oracle_product(o, kind == JSC_SPECTRUM_FISHER_INPUT);
    }
    oracle_eigenvalues(o, kind == JSC_SPECTRUM_FISHER ? o->F : o->P);
    for (int i = 0; kind == JSC_SPECTRUM_JACOBIAN && i < d; i++)
        o->values[i] = sqrt(fmax(o->values[i], 0.0));
}

/* || M v - lambda v || of result i, M [d][d]. */
static double miss(const double *M, int d, const double *v, double lambda)
{
    double sum = 0.0;
    for (int i = 0; i < d; i++) {
        const double r = dense_dot(M + i * d, v, (size_t)d) - lambda * v[i];
        sum += r * r;
    }
    return sqrt(sum);
}

/* || J v - sigma u || */
static double miss_pair(const double *J, int d, const double *v, const double *u, double sigma)
{
    double sum = 0.0;
    for (int i = 0; i < d; i++) {
        const double r = dense_dot(J + i * d, v, (size_t)d) - sigma * u[i];
        sum += r * r;
    }
    return sqrt(sum);
}

static void check_unit_rows(const jsc_spectrum *s, const double *rows)
{
    for (int i = 0; i < s->n; i++)
        for (int j = 0; j <= i; j++) {
            const double dot = dense_dot(rows + i * s->d_model, rows + j * s->d_model, (size_t)s->d_model);
            cr_expect(fabs(dot - (i == j)) <= 1e-9, "%s: vectors %d and %d: %.3g", jsc_spectrum_kind_name(s->kind), i, j, dot);
        }
}

/* ---- exact ------------------------------------------------------------------------------------------------------------------------- */

static void check_exact(const struct random_sizes *sizes, jsc_spectrum_kind kind, int p)
{
    static struct oracle o;
    jsc_model *model = random_model(sizes, "ref");
    jsc_spectrum_request r = question(kind, sizes->d);
    const char *name = jsc_spectrum_kind_name(kind);
    r.exact = 1, r.position = p;
    jsc_spectrum *s = spectrum(model, &r);
    oracle_spectrum(&o, model, sizes->d, kind, 1, p);
    cr_expect(s->exact == 1 && s->kind == kind && s->d_model == sizes->d && s->position == (size_t)p);
    cr_assert(s->n >= 1 && s->n <= sizes->d);
    double sum = 0.0;
    for (int i = 0; i < s->n; i++) {
        const double scale = o.values[0], value = s->values[i];
        cr_expect(fabs(value - o.values[i]) <= 1e-8 * scale, "%s %d: %.12g, dense %.12g", name, i, value, o.values[i]);
        cr_expect(s->residuals[i] <= 1e-9 * scale, "%s %d: residual %.3g", name, i, s->residuals[i]);
        if (kind != JSC_SPECTRUM_JACOBIAN)
            cr_expect(miss(kind == JSC_SPECTRUM_FISHER ? o.F : o.P, o.d, s->vectors + i * o.d, value) <= 1e-9 * scale, "%s vector %d", name,
                      i);
        else
            cr_expect(miss_pair(o.J, o.d, s->vectors + i * o.d, s->left + i * o.d, value) <= 1e-9 * scale, "%s vector %d", name, i);
        sum += kind == JSC_SPECTRUM_JACOBIAN ? value * value : value;
    }
    for (int i = s->n; i < o.d; i++)
        cr_expect(fabs(o.values[i]) <= 1e-6 * o.values[0], "%s: value %d, %.3g, is missing", name, i, o.values[i]);
    cr_expect(fabs(sum - s->trace) <= 1e-9 * sum && s->trace_stderr == 0.0 && s->rest == 0.0, "%s: sum %.12g, trace %.12g", name, sum,
              s->trace);
    check_unit_rows(s, s->vectors);
    if (s->left != NULL)
        check_unit_rows(s, s->left);
    jsc_spectrum_free(s);
    jsc_model_close(model);
}

Test(spectrum, exact_values_are_those_of_dense_algebra)
{
    for (int kind = 0; kind < JSC_SPECTRUM_COUNT; kind++)
        for (int p = 1; p < T; p += 2) {
            check_exact(&tiny_sizes, (jsc_spectrum_kind)kind, p);
            check_exact(&middle_sizes, (jsc_spectrum_kind)kind, p);
        }
}

/* The sums are known otherwise: the Fisher scope's score is tr F_t (and reports tr F); sums of one-hot cotangents are ||J_t||_F^2. */
Test(spectrum, sums_are_the_scores_of_the_fisher_scope)
{
    jsc_model *model = random_model(&middle_sizes, "ref");
    jsc_request ask_scores = JSC_REQUEST_INIT;
    ask_scores.scope = JSC_SCOPE_FISHER, ask_scores.fisher_mode = JSC_FISHER_EXACT, ask_scores.ids = prompt_ids, ask_scores.n_ids = T;
    jsc_attribution *a = answer(model, &ask_scores);
    for (int t = 0; t < T; t++) {
        jsc_spectrum_request r = question(JSC_SPECTRUM_FISHER_INPUT, middle_sizes.d);
        r.token = t - (t % 2 ? T : 0);
        jsc_spectrum *s = spectrum(model, &r);
        double sum = 0.0;
        for (int i = 0; i < s->n; i++)
            sum += s->values[i];
        cr_expect(s->token == (size_t)t && fabs(sum - a->scores[t]) <= 1e-9 * a->scores[t], "token %d: %.12g, score %.12g", t, sum,
                  a->scores[t]);
        jsc_spectrum_free(s);
    }
    jsc_spectrum_request r = question(JSC_SPECTRUM_FISHER, middle_sizes.d);
    jsc_spectrum *s = spectrum(model, &r);
    double sum = 0.0;
    for (int i = 0; i < s->n; i++)
        sum += s->values[i];
    cr_expect(fabs(sum - a->fisher.trace) <= 1e-9 * sum, "tr F: %.12g, %.12g", sum, a->fisher.trace);
    jsc_spectrum_free(s);
    jsc_attribution_free(a);
    jsc_model_close(model);
}

/* ---- randomised --------------------------------------------------------------------------------------------------------------------- */

/* Every value within its residual of an exact one of the same rank, over seeds, however few steps were made. */
static void check_random(jsc_spectrum_kind kind, int steps, double within, const char *device)
{
    enum { K = 4, SEEDS = 12 };
    static struct oracle o;
    jsc_model *model = random_model(&middle_sizes, "ref"), *other = random_model(&middle_sizes, device);
    const char *name = jsc_spectrum_kind_name(kind);
    const double rounding = strcmp(device, "ref") == 0 ? 1e-9 : 1e-5;
    oracle_spectrum(&o, model, middle_sizes.d, kind, 1, T - 1);
    double trace = 0.0, largest = 0.0, understated = 0.0;
    for (int i = 0; i < o.d; i++)
        trace += kind == JSC_SPECTRUM_JACOBIAN ? o.values[i] * o.values[i] : o.values[i];
    for (int seed = 0; seed < SEEDS; seed++) {
        jsc_spectrum_request r = question(kind, K);
        r.iterations = steps, r.oversample = 3, r.seed = (uint64_t)seed;
        jsc_spectrum *s = spectrum(other, &r);
        cr_expect(s->exact == 0 && s->n == K && s->iterations <= steps && s->iterations >= 1, "%s: %d values, %d steps", name, s->n,
                  s->iterations);
        cr_expect(kind == JSC_SPECTRUM_FISHER || s->right_hand_sides < middle_sizes.d, "%d right-hand sides", s->right_hand_sides);
        for (int i = 0; i < K; i++) {
            const double value = s->values[i], *v = s->vectors + i * o.d;
            double nearest = fabs(value - o.values[0]);
            for (int j = 1; j < o.d; j++)
                nearest = fmin(nearest, fabs(value - o.values[j]));
            cr_expect(value <= o.values[i] * (1.0 + rounding), "%s seed %d, %d: %.9g above the exact %.9g", name, seed, i, value,
                      o.values[i]);
            cr_expect(nearest <= s->residuals[i] + rounding * o.values[0], "%s seed %d, %d: %.9g is %.3g from any, residual %.3g", name,
                      seed, i, value, nearest, s->residuals[i]);
            largest = fmax(largest, (o.values[i] - value) / o.values[0]);
            if (kind != JSC_SPECTRUM_JACOBIAN)
                continue;
            const double truth = miss_pair(o.J, o.d, v, s->left + i * o.d, value);
            understated = fmax(understated, truth / s->residuals[i]);
            cr_expect(s->residuals[i] <= 6.0 * truth + 1e-6, "%s seed %d, %d: residual %.3g is far above the true %.3g", name, seed, i,
                      s->residuals[i], truth);
        }
        if (kind != JSC_SPECTRUM_FISHER)
            cr_expect(fabs(s->trace - trace) <= 5.0 * s->trace_stderr + 1e-6 * trace && s->trace_stderr > 0.0,
                      "%s seed %d: trace %.9g +- %.3g, exact %.9g", name, seed, s->trace, s->trace_stderr, trace);
        jsc_spectrum_free(s);
    }
    cr_expect(largest <= within, "%s, %d steps: values off by %.3g of the largest", name, steps, largest);
    cr_expect(understated <= 1.0 + 1e-3, "%s: a residual was understated, %.3g times", name, understated);
    jsc_model_close(model);
    jsc_model_close(other);
}

Test(spectrum, randomised_fisher)
{
    check_random(JSC_SPECTRUM_FISHER, 2, 0.2, "ref");
    check_random(JSC_SPECTRUM_FISHER, 40, 1e-6, "ref");
}

Test(spectrum, randomised_fisher_input)
{
    check_random(JSC_SPECTRUM_FISHER_INPUT, 1, 0.2, "ref");
    check_random(JSC_SPECTRUM_FISHER_INPUT, 3, 1e-2, "ref");
}

Test(spectrum, randomised_jacobian)
{
    check_random(JSC_SPECTRUM_JACOBIAN, 1, 0.4, "ref");
    check_random(JSC_SPECTRUM_JACOBIAN, 3, 5e-2, "ref");
}

Test(spectrum, randomised_in_float)
{
    check_random(JSC_SPECTRUM_FISHER_INPUT, 2, 5e-2, "cpu");
    check_random(JSC_SPECTRUM_JACOBIAN, 2, 0.2, "cpu");
}

/* A wide J_t: all of it pulled back, but not all decomposed. */
Test(spectrum, a_few_values_of_a_wide_matrix)
{
    const struct random_sizes sizes = {.d = 800, .f = 64, .H = 2, .K = 1, .h = 8, .L = 1, .V = 50, .head = 0.5, .seed = 9};
    jsc_model *model = random_model(&sizes, "cpu");
    jsc_spectrum_request r = question(JSC_SPECTRUM_JACOBIAN, 3);
    r.token = T - 1, r.k = 50; /* work that makes exact the cheaper way */
    jsc_spectrum *few = spectrum(model, &r);
    cr_expect(few->exact == 1 && few->right_hand_sides == 800 && few->tangents == 0 && few->trace_stderr == 0.0);
    r.exact = 1, r.k = 200; /* so many that all are found */
    jsc_spectrum *all = spectrum(model, &r);
    cr_assert(few->n == 50 && all->n == 200);
    for (int i = 0; i < 50; i++) {
        cr_expect(fabs(few->values[i] - all->values[i]) <= few->residuals[i] + 1e-9 * all->values[0], "%d: %.12g, %.12g, residual %.3g", i,
                  few->values[i], all->values[i], few->residuals[i]);
        cr_expect(few->residuals[i] <= 1e-9 * all->values[0], "%d: residual %.3g of %.3g", i, few->residuals[i], all->values[0]);
    }
    jsc_spectrum_free(few);
    jsc_spectrum_free(all);
    jsc_model_close(model);
}

/* ---- requests ------------------------------------------------------------------------------------------------------------------------ */

Test(spectrum, the_same_seed_gives_the_same_bits)
{
    jsc_model *model = random_model(&middle_sizes, "cpu");
    jsc_spectrum_request r = question(JSC_SPECTRUM_FISHER_INPUT, 3);
    r.iterations = 1, r.oversample = 2;
    jsc_spectrum *a = spectrum(model, &r), *b = spectrum(model, &r);
    r.seed = 1;
    jsc_spectrum *c = spectrum(model, &r);
    cr_expect(memcmp(a->values, b->values, 3 * sizeof(double)) == 0 && memcmp(a->residuals, b->residuals, 3 * sizeof(double)) == 0);
    cr_expect(memcmp(a->residuals, c->residuals, 3 * sizeof(double)) != 0 && c->seed == 1);
    jsc_spectrum_free(a);
    jsc_spectrum_free(b);
    jsc_spectrum_free(c);
    jsc_model_close(model);
}

static void refuse(const jsc_model *model, const jsc_spectrum_request *r, jsc_status want, const char *words)
{
    jsc_error error = {0};
    jsc_spectrum *untouched = NULL;
    expect_refusal(jsc_spectrum_compute(model, r, &untouched, &error), want, &error, words);
    cr_expect(untouched == NULL);
}

Test(spectrum, bad_requests_are_refused)
{
    jsc_model *model = random_model(&tiny_sizes, "ref");
    const int32_t wrong[1] = {40};
    jsc_spectrum_request good = question(JSC_SPECTRUM_JACOBIAN, 3), r;
    refuse(NULL, &good, JSC_E_ARGUMENT, "model");
    refuse(model, NULL, JSC_E_ARGUMENT, "request");
    r = good, r.size = 8, refuse(model, &r, JSC_E_ARGUMENT, "JSC_SPECTRUM_REQUEST_INIT");
    r = good, r.kind = (jsc_spectrum_kind)3, refuse(model, &r, JSC_E_ARGUMENT, "kind of spectrum 3");
    r = good, r.k = 0, refuse(model, &r, JSC_E_ARGUMENT, "0 values|1 to 18");
    r = good, r.k = 19, refuse(model, &r, JSC_E_ARGUMENT, "19 values|1 to 18");
    r = good, r.oversample = -1, refuse(model, &r, JSC_E_ARGUMENT, "oversample -1");
    r = good, r.iterations = -1, refuse(model, &r, JSC_E_ARGUMENT, "iterations -1");
    r = good, r.iterations = 2, r.exact = 1, refuse(model, &r, JSC_E_ARGUMENT, "exact");
    r = good, r.token = T, refuse(model, &r, JSC_E_ARGUMENT, "token 4");
    r = good, r.token = -T - 1, refuse(model, &r, JSC_E_ARGUMENT, "token -5");
    r = good, r.position = 0, refuse(model, &r, JSC_E_ARGUMENT, "token 1|position 0");
    r = good, r.position = T, refuse(model, &r, JSC_E_ARGUMENT, "position 4");
    r = good, r.ids = wrong, r.n_ids = 1, r.token = 0, refuse(model, &r, JSC_E_ARGUMENT, "id 40");
    r = good, r.n_ids = 0, refuse(model, &r, JSC_E_ARGUMENT, "no token");
    r = good, r.memory_limit = 100, refuse(model, &r, JSC_E_MEMORY, "limit is 100");
    jsc_error error = {0};
    cr_expect(jsc_spectrum_compute(model, &good, NULL, &error) == JSC_E_ARGUMENT);
    cr_expect(jsc_spectrum_kind_name((jsc_spectrum_kind)-1) == NULL && jsc_spectrum_kind_name(JSC_SPECTRUM_COUNT) == NULL);
    jsc_spectrum_free(NULL);
    jsc_model_close(model);
}

static int stop_after(void *user, const char *stage, double done, double total)
{
    (void)stage;
    cr_expect(done <= total + 1e-9, "%g of %g", done, total);
    return --*(int *)user < 0;
}

/* Wherever it is cancelled: the status says so and nothing stays. */
Test(spectrum, progress_can_cancel_anywhere)
{
    jsc_model *model = random_model(&middle_sizes, "ref");
    for (int kind = 0; kind < JSC_SPECTRUM_COUNT; kind++) {
        jsc_spectrum_request r = question((jsc_spectrum_kind)kind, 3);
        r.oversample = 2, r.iterations = 2, r.progress = stop_after;
        const size_t before = mem_live_bytes();
        jsc_status status = JSC_E_CANCELLED;
        int calls = 0;
        for (; status == JSC_E_CANCELLED && calls < 200; calls++) {
            int left = calls;
            jsc_spectrum *s = NULL;
            jsc_error error = {0};
            r.progress_user = &left;
            status = jsc_spectrum_compute(model, &r, &s, &error);
            cr_expect(status == JSC_OK || status == JSC_E_CANCELLED, "%s", error.text);
            jsc_spectrum_free(s);
            cr_expect(mem_live_bytes() == before, "kind %d, call %d: bytes stay", kind, calls);
        }
        cr_expect(status == JSC_OK && calls > (kind == JSC_SPECTRUM_FISHER ? 1 : 8), "kind %d: %d calls", kind, calls);
    }
    jsc_model_close(model);
}

/* A limit that allows only small chunks: the same values, no more bytes than planned, and the plan within the limit. */
Test(spectrum, the_memory_limit_is_kept)
{
    jsc_model *model = random_model(&middle_sizes, "ref");
    for (int kind = 0; kind < JSC_SPECTRUM_COUNT; kind++) {
        jsc_spectrum_request r = question((jsc_spectrum_kind)kind, 5);
        jsc_error error = {0};
        jsc_spectrum *free_choice = spectrum(model, &r), *tight = NULL;
        uint64_t limit = free_choice->bytes_peak;
        r.memory_limit = 1;
        cr_expect(jsc_spectrum_compute(model, &r, &tight, &error) == JSC_E_MEMORY, "%s", error.text);
        cr_assert(sscanf(error.text, "%*d tokens need %lu bytes", &limit) == 1, "%s", error.text);
        r.memory_limit = limit;
        tight = spectrum(model, &r);
        cr_expect(tight->bytes_peak <= limit && tight->bytes_peak <= free_choice->bytes_peak, "kind %d: %lu bytes of %lu", kind,
                  (unsigned long)tight->bytes_peak, (unsigned long)limit);
        for (int i = 0; i < tight->n; i++)
            cr_expect(fabs(tight->values[i] - free_choice->values[i]) <= 1e-9 * free_choice->values[0], "kind %d, value %d", kind, i);
        jsc_spectrum_free(free_choice);
        jsc_spectrum_free(tight);
    }
    jsc_model_close(model);
}

/* The most bytes that were alive at once, seen at every progress call, against the plan. */
struct watch {
    size_t before, most;
};

static int watch_bytes(void *user, const char *stage, double done, double total)
{
    struct watch *w = user;
    (void)stage, (void)done, (void)total;
    const size_t now = mem_live_bytes() - w->before;
    w->most = now > w->most ? now : w->most;
    return 0;
}

Test(spectrum, no_more_bytes_than_planned)
{
    jsc_model *model = random_model(&middle_sizes, "ref");
    for (int kind = 0; kind < JSC_SPECTRUM_COUNT; kind++)
        for (int steps = 0; steps < 3; steps++) {
            struct watch w = {mem_live_bytes(), 0};
            jsc_spectrum_request r = question((jsc_spectrum_kind)kind, 3);
            r.iterations = steps, r.oversample = 2, r.progress = watch_bytes, r.progress_user = &w;
            jsc_spectrum *s = spectrum(model, &r);
            cr_expect(w.most > 0 && w.most <= s->bytes_peak + 4096, "kind %d, %d steps: %zu bytes, planned %lu", kind, steps, w.most,
                      (unsigned long)s->bytes_peak);
            jsc_spectrum_free(s);
        }
    jsc_model_close(model);
}

/* The same of a process that holds wide matrices, by what is resident at the peak; 5 MB for what libraries touch for the first time. */
Test(spectrum, a_wide_matrix_fits_its_plan)
{
#if defined(__SANITIZE_ADDRESS__)
    cr_skip_test("memory is not what it is without the sanitizers: in the release build only");
#endif
    const struct random_sizes sizes = {.d = 800, .f = 64, .H = 2, .K = 1, .h = 8, .L = 1, .V = 50, .head = 0.5, .seed = 9};
    jsc_model *model = random_model(&sizes, "cpu");
    jsc_spectrum_request r = question(JSC_SPECTRUM_JACOBIAN, 50);
    jsc_spectrum_free(spectrum(model, &r));
    r.exact = 1, r.k = 200;
    (void)malloc_trim(0);
    if (!resident_forget_peak())
        cr_skip_test("SKIP: /proc/self/clear_refs cannot be written");
    const double before = resident_bytes("VmRSS");
    jsc_spectrum *s = spectrum(model, &r);
    const double used = resident_bytes("VmHWM") - before;
    cr_expect(before > 0.0 && used <= (double)s->bytes_peak + 5e6, "%.0f bytes used, %lu planned", used, (unsigned long)s->bytes_peak);
    cr_expect(used >= 3 * 800 * 800 * 8.0 && (double)s->bytes_peak <= 3.0 * used, "%.0f bytes used, %lu planned", used,
              (unsigned long)s->bytes_peak);
    jsc_spectrum_free(s);
    jsc_model_close(model);
}

Test(spectrum, every_allocation_may_fail)
{
    jsc_model *model = random_model(&tiny_sizes, "ref");
    for (int kind = 0; kind < JSC_SPECTRUM_COUNT; kind++)
        for (int steps = 0; steps < 2; steps++) {
            jsc_spectrum_request r = question((jsc_spectrum_kind)kind, 2);
            r.iterations = steps, r.oversample = 2;
            const size_t before = mem_live_bytes();
            jsc_status status = JSC_E_MEMORY;
            jsc_error error = {0};
            long k = 0;
            while (status != JSC_OK && ++k < 1000) {
                jsc_spectrum *s = NULL;
                mem_fail_at(k, false);
                status = jsc_spectrum_compute(model, &r, &s, &error);
                cr_expect(status == JSC_OK || status == JSC_E_MEMORY, "allocation %ld: %s", k, error.text);
                jsc_spectrum_free(s);
                cr_expect(mem_live_bytes() == before, "kind %d, allocation %ld: bytes stay", kind, k);
            }
            mem_fail_at(0, false);
            cr_expect(status == JSC_OK && k > 10, "stopped after %ld", k);
        }
    jsc_model_close(model);
}
