/* test_cuda.c: the CUDA backend from end to end: every scope on small models against ref, as near as cpu is; the same bits in any order of
 * threads; memory that does not suffice. On the emulator (JSC_SIMT), or on hardware with JSC_TEST_DEVICE=cuda; elsewhere skipped. */
#include "support/golden.h"
#include "support/random_model.h"
#include "testing.h"

#include <jscopes/jscopes.h>

#ifdef JSC_SIMT
#include "simt.h"
#endif

#define STRICT_FLOOR 1e-6 /* of a score: a dozen roundings of float; what cpu's own error may be by luck is not the measure */
#define FAST_LIMIT   0.01

struct question {
    char name[32];
    jsc_scope scope;
    jsc_objective objective;
    jsc_fisher_mode mode;
    int rank, steps;
    bool layers, matrix;
};
static const struct question questions[] = {
    {"semantic", JSC_SCOPE_SEMANTIC, .layers = true},
    {"semantic, log-probability", JSC_SCOPE_SEMANTIC, JSC_OBJECTIVE_LOG_PROBABILITY},
    {"semantic, contrast", JSC_SCOPE_SEMANTIC, JSC_OBJECTIVE_CONTRAST, .layers = true},
    {"semantic, matrix", JSC_SCOPE_SEMANTIC, .matrix = true},
    {"temperature", JSC_SCOPE_TEMPERATURE, .layers = true},
    {"temperature, matrix", JSC_SCOPE_TEMPERATURE, .matrix = true},
    {"fisher, exact", JSC_SCOPE_FISHER, .mode = JSC_FISHER_EXACT, .layers = true},
    {"fisher, rank 5", JSC_SCOPE_FISHER, .mode = JSC_FISHER_RANK, .rank = 5},
    {"path", JSC_SCOPE_PATH, .steps = 6, .layers = true},
    {"input-x-gradient", JSC_SCOPE_INPUT_X_GRADIENT},
    {"direction", JSC_SCOPE_DIRECTION},
};
enum { N_QUESTIONS = sizeof questions / sizeof *questions, LONGEST = 200 };

static const struct random_sizes odd_sizes = {18, 30, 4, 2, 6, 3, 40, 0.6, 1};      /* no width a multiple of a vector */
static const struct random_sizes even_sizes = {64, 96, 4, 2, 16, 2, 80, 0.4, 3};    /* every width is */
static const struct random_sizes head64 = {128, 192, 2, 1, 64, 2, 96, 0.3, 4, 256}; /* heads as the fused kernels like them */
static const struct random_sizes head128 = {128, 160, 2, 2, 128, 2, 96, 0.3, 5, 256};
static const struct random_sizes smollm2_sizes = {576, 1536, 9, 3, 64, 2, 160, 0.15, 6};

static const char *cuda_name(void)
{
    const char *device = getenv("JSC_TEST_DEVICE");
    if (test_cuda() == NULL)
        cr_skip_test("no cuda in this build: the simt preset has it on the emulator, JSC_TEST_DEVICE=cuda on hardware");
    return device != NULL ? device : "cuda";
}

static jsc_request request_of(const struct question *q, size_t n, int V)
{
    static int32_t ids[LONGEST], targets[2] = {7, 11};
    static double directions[2 * 576];
    jsc_request r = JSC_REQUEST_INIT;
    cr_assert(n <= LONGEST);
    for (size_t i = 0; i < n; i++)
        ids[i] = (int32_t)((i * 7919 + 13) % (size_t)V);
    r.scope = q->scope, r.objective = q->objective;
    r.ids = ids, r.n_ids = n;
    r.fisher_mode = q->mode, r.fisher_rank = q->rank;
    r.path_steps = q->steps > 0 ? q->steps : r.path_steps;
    r.layers = q->layers, r.matrix = q->matrix;
    if (q->objective == JSC_OBJECTIVE_CONTRAST)
        r.targets = targets, r.n_targets = 1;
    if (q->scope == JSC_SCOPE_DIRECTION) {
        for (size_t i = 0; i < sizeof directions / sizeof *directions; i++)
            directions[i] = rng_normal(5, 1, i);
        r.directions = directions, r.n_directions = 2;
    }
    return r;
}

/* How far got is from want: the rule of golden_spread_row over scores, layer map and matrix. */
static struct golden_spread spread(const jsc_attribution *want, const jsc_attribution *got)
{
    struct golden_spread s = {0};
    const size_t T = want->n_tokens, rows = want->n_scores, levels = want->layers != NULL ? rows * (size_t)want->n_layers : 0;
    cr_assert(got->n_tokens == T && got->n_scores == rows && (got->layers == NULL) == (want->layers == NULL));
    for (size_t i = 0; want->scores != NULL && i < rows; i++)
        golden_spread_row(&s, want->scores + i * T, got->scores + i * T, T);
    for (size_t i = 0; i < levels; i++)
        golden_spread_row(&s, want->layers + i * T, got->layers + i * T, T);
    for (size_t p = 0; want->matrix != NULL && p < T; p++) {
        golden_spread_row(&s, want->matrix + p * T, got->matrix + p * T, p + 1);
        for (size_t t = p + 1; t < T; t++)
            cr_expect(got->matrix[p * T + t] == 0.0, "token %zu after position %zu", t, p);
    }
    return s;
}

static void expect_same(const char *what, const jsc_attribution *a, const jsc_attribution *b)
{
    const size_t n = a->n_tokens * a->n_scores;
    cr_expect(memcmp(a->scores, b->scores, n * sizeof *a->scores) == 0, "%s: other bits", what);
    if (a->layers != NULL)
        cr_expect(memcmp(a->layers, b->layers, n * (size_t)a->n_layers * sizeof *a->layers) == 0, "%s: other bits of the layers", what);
    if (a->matrix != NULL)
        cr_expect(memcmp(a->matrix, b->matrix, a->n_tokens * a->n_tokens * sizeof *a->matrix) == 0, "%s: other bits of the matrix", what);
}

static jsc_model *open_on(const struct random_sizes *sizes, const char *device, jsc_precision precision)
{
    jsc_model_info info = JSC_MODEL_INFO_INIT;
    jsc_model *model = NULL;
    jsc_error error = {0};
    cr_assert(random_model_open(sizes, device, precision, &model, &error) == JSC_OK, "%s: %s", device, error.text);
    cr_assert(jsc_model_describe(model, &info, &error) == JSC_OK);
    cr_assert(strcmp(info.precision, precision == JSC_PRECISION_FAST ? "fast" : "strict") == 0, "%s is %s", device, info.precision);
    cr_assert(strncmp(info.backend, device, strlen(info.backend)) == 0, "asked for %s, opened %s", device, info.backend);
    return model;
}

struct models {
    const char *name;
    int V;
    bool wide;
    jsc_model *truth, *cpu, *strict, *fast; /* truth: ref, or cpu where ref takes minutes; then cpu is NULL */
};

static struct models open_all(const char *name, const struct random_sizes *sizes, bool with_ref)
{
    const char *cuda = cuda_name();
    return (struct models){
        .name = name,
        .V = sizes->V,
        .wide = sizes->d >= 512,
        .truth = open_on(sizes, with_ref ? "ref" : "cpu", JSC_PRECISION_STRICT),
        .cpu = with_ref ? open_on(sizes, "cpu", JSC_PRECISION_STRICT) : NULL,
        .strict = open_on(sizes, cuda, JSC_PRECISION_STRICT),
        .fast = open_on(sizes, cuda, JSC_PRECISION_FAST),
    };
}

static void close_all(struct models *m)
{
    jsc_model_close(m->truth), jsc_model_close(m->cpu), jsc_model_close(m->strict), jsc_model_close(m->fast);
}

/* strict: at most twice the error of cpu. fast: 1 % of every score (Fisher's are squares: 2 %) where the width averages the noise of bfloat16;
 * narrow models: what cpu in fast precision is held to. */
static void check_question(const struct models *m, const struct question *q, size_t n)
{
    const jsc_request r = request_of(q, n, m->V);
    jsc_attribution *truth = answer(m->truth, &r), *cpu = m->cpu != NULL ? answer(m->cpu, &r) : NULL, *strict = answer(m->strict, &r);
    test_next_order();
    jsc_attribution *fast = answer(m->fast, &r), *again = answer(m->strict, &r);
    const double plain = cpu != NULL ? spread(truth, cpu).largest : 10.0 * STRICT_FLOOR;
    const struct golden_spread s = spread(truth, strict), f = spread(truth, fast);
    const double square = q->scope == JSC_SCOPE_FISHER ? 2.0 : 1.0;

    fprintf(stderr, "%s, %zu tokens, %s: cpu %.1e, cuda strict %.1e, fast %.1e (mean %.1e)\n", m->name, n, q->name, plain, s.largest,
            f.largest, sqrt(f.squares / f.n));
    cr_expect(s.largest <= 2.0 * fmax(plain, square * STRICT_FLOOR), "%s, %zu tokens, %s: strict is off by %.2e, cpu by %.2e", m->name, n,
              q->name, s.largest, plain);
    if (m->wide)
        cr_expect(f.largest <= square * FAST_LIMIT, "%s, %zu tokens, %s: fast is off by %.2e", m->name, n, q->name, f.largest);
    else if (f.n < 20) /* too few for a mean */
        cr_expect(f.largest <= square * FAST_LARGEST, "%s, %zu tokens, %s: fast is off by %.2e", m->name, n, q->name, f.largest);
    else
        golden_spread_check(q->name, &f, q->scope == JSC_SCOPE_FISHER);
    cr_expect(f.largest > 1e-6, "%s, %s: fast rounds nothing", m->name, q->name);
    expect_same(q->name, strict, again);
    jsc_attribution_free(truth), jsc_attribution_free(cpu), jsc_attribution_free(strict), jsc_attribution_free(fast);
    jsc_attribution_free(again);
}

/* Every step-th question. */
static void check_scopes(const char *name, const struct random_sizes *sizes, size_t n, int step)
{
    struct models m = open_all(name, sizes, true);
    for (int i = 0; i < N_QUESTIONS; i += step)
        check_question(&m, &questions[i], n);
    close_all(&m);
}

Test(cuda, every_scope_odd_widths, .timeout = 300)
{
    check_scopes("odd", &odd_sizes, 9, 1);
}

Test(cuda, every_scope_even_widths, .timeout = 300)
{
    check_scopes("even", &even_sizes, 7, 1);
}

Test(cuda, some_scopes_heads_of_64, .timeout = 300)
{
    check_scopes("h 64", &head64, 9, 3);
}

Test(cuda, some_scopes_heads_of_128, .timeout = 300)
{
    check_scopes("h 128", &head128, 5, 3);
}

Test(cuda, one_token, .timeout = 120)
{
    check_scopes("odd", &odd_sizes, 1, 2);
}

/* Around the tile sizes of the attention kernels. */
Test(cuda, prompts_longer_than_tiles, .timeout = 600)
{
    static const size_t lengths[] = {64, 65, 129};
    static const struct question few[] = {
        {"temperature", JSC_SCOPE_TEMPERATURE},
        {"fisher, rank 3", JSC_SCOPE_FISHER, .mode = JSC_FISHER_RANK, .rank = 3},
    };
    struct models m = open_all("h 64", &head64, true);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        check_question(&m, &few[i % 2], lengths[i]);
    close_all(&m);
}

/* Two blocks of the default model. */
Test(cuda, shapes_of_the_default_model, .timeout = 900)
{
    static const struct question all[] = {
        {"semantic", JSC_SCOPE_SEMANTIC, .layers = true},
        {"temperature, matrix", JSC_SCOPE_TEMPERATURE, .matrix = true},
        {"fisher, rank 6", JSC_SCOPE_FISHER, .mode = JSC_FISHER_RANK, .rank = 6, .layers = true},
        {"path", JSC_SCOPE_PATH, .steps = 2},
        {"input-x-gradient", JSC_SCOPE_INPUT_X_GRADIENT},
        {"direction", JSC_SCOPE_DIRECTION},
    };
    struct models m = open_all("smollm2", &smollm2_sizes, true);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        check_question(&m, &all[i], 3);
    close_all(&m);
}

Test(cuda, exact_fisher_of_the_default_model, .timeout = 900)
{
    static const struct question exact = {"fisher, exact", JSC_SCOPE_FISHER, .mode = JSC_FISHER_EXACT};
    struct models m = open_all("smollm2", &smollm2_sizes, false); /* 160 right-hand sides */
    check_question(&m, &exact, 2);
    close_all(&m);
}

/* The same directions and probes as cpu takes, whose estimate test_fisher holds to the exact scores. */
Test(cuda, adaptive_fisher, .timeout = 600)
{
    const struct question q = {"fisher, adaptive", JSC_SCOPE_FISHER};
    const jsc_request r = request_of(&q, 12, wide_sizes.V);
    jsc_model *cpu = open_on(&wide_sizes, "cpu", JSC_PRECISION_STRICT);
    jsc_attribution *want = answer(cpu, &r);
    cr_assert(want->fisher.probes > 0 && want->fisher.mode == JSC_FISHER_ADAPTIVE, "a prompt for which an estimate does not pay");
    for (int fast = 0; fast < 2; fast++) {
        jsc_model *cuda = open_on(&wide_sizes, cuda_name(), fast ? JSC_PRECISION_FAST : JSC_PRECISION_STRICT);
        jsc_attribution *a = answer(cuda, &r);
        const double error = spread(want, a).largest;
        fprintf(stderr, "adaptive, %s: %d directions, %d probes (cpu %d, %d), off by %.1e\n", fast ? "fast" : "strict",
                a->fisher.directions, a->fisher.probes, want->fisher.directions, want->fisher.probes, error);
        cr_expect(a->fisher.directions == want->fisher.directions);
        cr_expect(abs(a->fisher.probes - want->fisher.probes) <= 3 * fast, "%d probes", a->fisher.probes); /* noise moves where it stops */
        cr_expect(
            le(dbl, error, fast ? 2.0 * FAST_LIMIT : 1e-4)); /* directions are chosen by differences of forwards: they double an error */
        jsc_attribution_free(a);
        jsc_model_close(cuda);
    }
    jsc_attribution_free(want);
    jsc_model_close(cpu);
}

/* Many chunks: by a limit of memory and by request. Only products may differ by rounding. */
Test(cuda, little_memory, .timeout = 300)
{
    const struct question q = {"fisher, exact", JSC_SCOPE_FISHER, .mode = JSC_FISHER_EXACT, .layers = true};
    jsc_request r = request_of(&q, 11, even_sizes.V);
    jsc_model *model = open_on(&even_sizes, cuda_name(), JSC_PRECISION_STRICT);
    jsc_plan plan = JSC_PLAN_INIT, least = JSC_PLAN_INIT, tight = JSC_PLAN_INIT;
    jsc_error error = {0};
    jsc_attribution *whole = answer(model, &r);
    cr_assert(jsc_plan_make(model, &r, &plan, &error) == JSC_OK, "%s", error.text);
    r.chunk = 1;
    cr_assert(jsc_plan_make(model, &r, &least, &error) == JSC_OK, "%s", error.text);
    r.chunk = 0, r.memory_limit = least.peak_bytes + (plan.peak_bytes - least.peak_bytes) / 4;
    cr_assert(jsc_plan_make(model, &r, &tight, &error) == JSC_OK, "%s", error.text);
    cr_expect(tight.chunks > 1 || tight.rhs_chunk < plan.rhs_chunk || tight.token_chunk < plan.token_chunk, "nothing is cut");
    jsc_attribution *limited = answer(model, &r);
    r.memory_limit = 0, r.chunk = 7;
    jsc_attribution *chunked = answer(model, &r);
    cr_expect(le(dbl, spread(whole, limited).largest, 2.0 * STRICT_FLOOR));
    cr_expect(le(dbl, spread(whole, chunked).largest, 2.0 * STRICT_FLOOR));
    jsc_attribution_free(whole), jsc_attribution_free(limited), jsc_attribution_free(chunked);
    jsc_model_close(model);
}

#ifdef JSC_SIMT
/* ---- what only the emulator can show ------------------------------------------------------------------------------------------------ */

/* Device memory faults when the host touches it; streams run only when somebody waits for them. */
static void check_with(bool protect, bool lazy)
{
    static const struct question some[] = {
        {"fisher, exact", JSC_SCOPE_FISHER, .mode = JSC_FISHER_EXACT, .layers = true},
        {"path", JSC_SCOPE_PATH, .steps = 3},
        {"semantic, matrix", JSC_SCOPE_SEMANTIC, .matrix = true},
        {"fisher, adaptive", JSC_SCOPE_FISHER},
    };
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        for (int fast = 0; fast < 2; fast++) {
            const jsc_request r = request_of(&some[i], 9, even_sizes.V);
            simt_settings.protect = false, simt_settings.lazy = false;
            jsc_model *plain = open_on(&even_sizes, cuda_name(), fast ? JSC_PRECISION_FAST : JSC_PRECISION_STRICT);
            jsc_attribution *want = answer(plain, &r);
            jsc_model_close(plain);
            simt_settings.protect = protect, simt_settings.lazy = lazy;
            jsc_model *model = open_on(&even_sizes, cuda_name(), fast ? JSC_PRECISION_FAST : JSC_PRECISION_STRICT);
            jsc_attribution *got = answer(model, &r);
            expect_same(some[i].name, want, got);
            jsc_attribution_free(want), jsc_attribution_free(got);
            jsc_model_close(model);
        }
    }
    cr_expect(simt_message()[0] == '\0', "%s", simt_message());
}

Test(cuda, host_never_touches_device_memory, .timeout = 300)
{
    (void)cuda_name();
    check_with(true, false);
}

Test(cuda, host_waits_for_what_it_reads, .timeout = 300)
{
    (void)cuda_name();
    check_with(false, true);
}

Test(cuda, any_order_of_threads_gives_the_same_bits, .timeout = 300)
{
    const struct question q = {"fisher, exact", JSC_SCOPE_FISHER, .mode = JSC_FISHER_EXACT, .layers = true};
    const jsc_request r = request_of(&q, 9, head64.V);
    jsc_model *model = open_on(&head64, cuda_name(), JSC_PRECISION_FAST);
    jsc_attribution *first = answer(model, &r);
    for (unsigned seed = 1; seed <= 4; seed++) {
        simt_settings.seed = 1000 * seed;
        jsc_attribution *other = answer(model, &r);
        expect_same("another order", first, other);
        jsc_attribution_free(other);
    }
    jsc_attribution_free(first);
    jsc_model_close(model);
}

/* Opens the model and asks; whatever fails says so in one line and gives everything back. */
static jsc_status open_and_ask(jsc_error *error)
{
    const struct question q = {"temperature", JSC_SCOPE_TEMPERATURE, .layers = true};
    const jsc_request r = request_of(&q, 5, odd_sizes.V);
    jsc_model *model = NULL;
    jsc_attribution *a = NULL;
    jsc_status status = random_model_open(&odd_sizes, cuda_name(), JSC_PRECISION_FAST, &model, error);
    if (status == JSC_OK)
        status = jsc_attribute(model, &r, &a, error);
    jsc_attribution_free(a);
    jsc_model_close(model);
    return status;
}

Test(cuda, weights_that_do_not_fit, .timeout = 120)
{
    jsc_error error = {0};
    (void)cuda_name();
    simt_settings.memory_limit = 64 << 10;
    cr_expect(eq(int, open_and_ask(&error), JSC_E_MEMORY), "%s", error.text);
    cr_expect(strchr(error.text, '\n') == NULL && strlen(error.text) > 20, "%s", error.text);
    cr_expect(eq(sz, simt_memory_used(), 0));
    cr_expect(eq(sz, simt_objects(), 0));
}

Test(cuda, a_prompt_that_does_not_fit, .timeout = 120)
{
    const struct question q = {"fisher, exact", JSC_SCOPE_FISHER, .mode = JSC_FISHER_EXACT};
    const jsc_request r = request_of(&q, 60, even_sizes.V);
    jsc_model *model = open_on(&even_sizes, cuda_name(), JSC_PRECISION_STRICT);
    simt_settings.memory_limit = simt_memory_used() + (200 << 10);
    refused(model, &r, JSC_E_MEMORY, "");
    simt_settings.memory_limit = (size_t)1 << 31;
    jsc_attribution_free(answer(model, &r)); /* and the model still serves */
    jsc_model_close(model);
}

/* Every call of the runtime may fail. */
Test(cuda, calls_that_fail, .timeout = 600)
{
    jsc_error error = {0};
    (void)cuda_name();
    (void)open_and_ask(&error); /* what is made once a process */
    const size_t memory = simt_memory_used(), objects = simt_objects();
    const unsigned long long before = simt_runtime_calls();
    cr_assert(eq(int, open_and_ask(&error), JSC_OK), "%s", error.text);
    const long calls = (long)(simt_runtime_calls() - before);
    simt_settings.quiet = true;
    for (long k = 1; k <= calls; k += k < 40 ? 1 : 7) {
        error.text[0] = '\0';
        simt_settings.fail_call = k;
        const jsc_status status = open_and_ask(&error);
        simt_settings.fail_call = 0;
        cr_expect(status == JSC_OK || (status != JSC_E_INTERNAL && error.text[0] != '\0' && strchr(error.text, '\n') == NULL),
                  "call %ld of %ld: %s: %s", k, calls, jsc_status_name(status), error.text);
        cr_expect(simt_memory_used() == memory && simt_objects() == objects, "call %ld of %ld: %zu bytes, %zu objects left", k, calls,
                  simt_memory_used() - memory, simt_objects() - objects);
        simt_reset();
    }
}
#endif
