/* testing.c: backends, rigs (an open backend with guarded buffers), seeded data, error measures. */
#include "testing.h"

enum { GUARD = 64, SEED = 20240 };

#ifdef JSC_SIMT
#include "simt.h"

const struct jsc_ops *test_cuda(void)
{
    return &ops_cuda;
}

void test_next_order(void)
{
    simt_settings.seed++;
}
#else
const struct jsc_ops *test_cuda(void)
{
    static const struct jsc_ops *ops;
    const char *device = getenv("JSC_TEST_DEVICE");
    jsc_error error = {0};
    int index = 0;
    if (ops == NULL && device != NULL) {
        (void)setenv(env_name(ENV_CUDA_PLUGIN), JSC_TEST_BINARY "/libjscopes_cuda.so", 0);
        cr_assert(eq(int, backend_find(device, &ops, &index, NULL, &error), JSC_OK), "JSC_TEST_DEVICE=%s: %s", device, error.text);
    }
    return ops;
}

void test_next_order(void)
{
}
#endif

const struct jsc_ops *const *test_backends(void)
{
    static const struct jsc_ops *list[] = {&ops_ref, &ops_cpu, NULL, NULL};
    list[2] = test_cuda();
    return list;
}

static jsc_status open_emulated(const struct device_options *options, struct jsc_device **out, jsc_error *error)
{
    const struct device_options fast = {.precision = JSC_PRECISION_FAST, .threads = options->threads};
    (void)setenv(env_name(ENV_CPU_FAST), "emulate", 1);
    return ops_cpu.device_open(&fast, out, error);
}

static jsc_status open_native(const struct device_options *options, struct jsc_device **out, jsc_error *error)
{
    const struct device_options fast = {.precision = JSC_PRECISION_FAST, .threads = options->threads};
    (void)unsetenv(env_name(ENV_CPU_FAST));
    return ops_cpu.device_open(&fast, out, error);
}

const struct jsc_ops *fast_emulated(void)
{
    static struct jsc_ops ops;
    ops = ops_cpu;
    ops.name = "cpu, fast, emulated", ops.device_open = open_emulated;
    return &ops;
}

const struct jsc_ops *fast_native(void)
{
    static struct jsc_ops ops;
    ops = ops_cpu;
    ops.name = "cpu, fast", ops.device_open = open_native;
    return &ops;
}

static jsc_status open_fast_cuda(const struct device_options *options, struct jsc_device **out, jsc_error *error)
{
    const struct device_options fast = {.precision = JSC_PRECISION_FAST, .threads = options->threads, .index = options->index};
    return test_cuda()->device_open(&fast, out, error);
}

const struct jsc_ops *fast_cuda(void)
{
    static struct jsc_ops ops;
    if (test_cuda() == NULL)
        return NULL;
    ops = *test_cuda();
    ops.name = "cuda, fast", ops.device_open = open_fast_cuda;
    return &ops;
}

/* 8 bits of significand, ties to even; no subnormal numbers. */
double bf16_of(double x)
{
    int exponent = 0;
    const double fraction = frexp(x, &exponent);
    return ldexp(rint(ldexp(fraction, 8)), exponent - 8);
}

/* ---- rigs -------------------------------------------------------------------------------------------------------------------- */

void rig_ok(struct rig *rig, jsc_status status, const char *what)
{
    cr_assert(eq(int, status, JSC_OK), "%s, %s: %s", rig->ops->name, what, rig->error.text);
}

void rig_open(struct rig *rig, const struct jsc_ops *ops, int threads)
{
    *rig = (struct rig){.ops = ops};
    const struct device_options options = {.precision = JSC_PRECISION_STRICT, .threads = threads};
    rig_ok(rig, ops->device_open(&options, &rig->device, &rig->error), "device_open");
    rig_ok(rig, ops->stream_open(rig->device, &rig->stream, &rig->error), "stream_open");
}

void rig_close(struct rig *rig)
{
    rig_ok(rig, rig->ops->sync(rig->stream, &rig->error), "sync");
    for (int i = 0; i < rig->n_buffers; i++) {
        unsigned char guard[GUARD];
        rig_ok(rig, rig->ops->get_bytes(rig->stream, guard, (char *)rig->buffers[i].p + rig->buffers[i].bytes, GUARD, &rig->error),
               "guard");
        for (int j = 0; j < GUARD; j++)
            cr_assert(eq(int, guard[j], 0xA5), "%s: written past the end of buffer %d (%zu bytes), at byte +%d", rig->ops->name, i,
                      rig->buffers[i].bytes, j);
        rig->ops->free(rig->device, rig->buffers[i].p);
    }
    for (int i = 0; i < rig->n_weights; i++)
        rig->ops->weight_free(rig->device, rig->weights[i]);
    rig->ops->stream_close(rig->stream);
    rig->ops->device_close(rig->device);
}

dptr rig_bytes(struct rig *rig, const void *bytes, size_t n)
{
    unsigned char guard[GUARD];
    memset(guard, 0xA5, sizeof guard);
    cr_assert(rig->n_buffers < (int)(sizeof rig->buffers / sizeof *rig->buffers));
    dptr p = NULL;
    rig_ok(rig, rig->ops->alloc(rig->device, n + GUARD, &p, &rig->error), "alloc");
    const bool aligned = (uintptr_t)p % 64 == 0;
    cr_assert(aligned, "%s: a buffer is not aligned to 64 bytes", rig->ops->name);
    rig->buffers[rig->n_buffers].p = p;
    rig->buffers[rig->n_buffers++].bytes = n;
    unsigned char *poison = malloc(n + 1);
    cr_assert(poison != NULL);
    memset(poison, 0xFF, n);
    rig_ok(rig, rig->ops->put_bytes(rig->stream, p, bytes != NULL ? bytes : poison, n, &rig->error), "put_bytes");
    free(poison);
    rig_ok(rig, rig->ops->put_bytes(rig->stream, (char *)p + n, guard, GUARD, &rig->error), "put_bytes");
    return p;
}

dptr rig_blank(struct rig *rig, enum role role, size_t n)
{
    return rig_bytes(rig, NULL, n * rig->stream->size_of[role]); /* all bits set is NaN in every float format */
}

/* Caller frees. */
static double *round_all(const double *values, size_t n)
{
    double *out = new_doubles(n);
    for (size_t i = 0; i < n; i++)
        out[i] = bf16_of(values[i]);
    return out;
}

dptr rig_up(struct rig *rig, enum role role, const double *values, size_t n)
{
    dptr p = rig_blank(rig, role, n);
    double *rounded = rig->rounds && role == ROLE_COT ? round_all(values, n) : NULL;
    rig_ok(rig, rig->ops->put(rig->stream, role, p, rounded != NULL ? rounded : values, n, &rig->error), "put");
    free(rounded);
    return p;
}

void rig_down(struct rig *rig, enum role role, double *out, dptr in, size_t n)
{
    rig_ok(rig, rig->ops->get(rig->stream, role, out, in, n, &rig->error), "get");
}

dptr rig_at(const struct rig *rig, enum role role, dptr p, size_t elements)
{
    return p != NULL ? (char *)p + elements * rig->stream->size_of[role] : NULL;
}

/* x [n][k] as [k][n], doubled. Caller frees. */
static double *turn(const double *x, size_t n, size_t k)
{
    double *out = new_doubles(n * k);
    for (size_t r = 0; r < n; r++)
        for (size_t c = 0; c < k; c++)
            out[c * n + r] = 2.0 * x[r * k + c];
    return out;
}

struct jsc_weight *rig_weight(struct rig *rig, int id, size_t n, size_t k, bool bias, unsigned uses)
{
    const double *exact = data(id, n * k, 1.0 / sqrt((double)k));
    double *rounded = rig->rounds && (uses & USE_VJP) != 0 ? round_all(exact, n * k) : NULL;
    const double *values = rounded != NULL ? rounded : exact;
    const size_t first = n / 2;
    struct weight_part parts[2] = {
        {.bytes = values, .type = DTYPE_F64, .n = first, .row_bytes = k * sizeof *values, .scale = 1.0, .name = "first part"},
        {.bytes = values + first * k,
         .type = DTYPE_F64,
         .n = n - first,
         .row_bytes = k * sizeof *values,
         .scale = 1.0,
         .name = "second part"},
    };
    double *turned = rig->turned ? turn(values + first * k, n - first, k) : NULL;
    if (turned != NULL) {
        parts[1].bytes = turned, parts[1].row_bytes = (n - first) * sizeof *turned;
        parts[1].transposed = true, parts[1].scale = 0.5;
    }
    const bool one = first == 0;
    cr_assert(rig->n_weights < (int)(sizeof rig->weights / sizeof *rig->weights));
    struct jsc_weight *weight = NULL;
    rig_ok(rig,
           rig->ops->weight_make(rig->device, one ? parts + 1 : parts, one ? 1 : 2, k, uses, bias ? data(id + 1, n, 1.0) : NULL, &weight,
                                 &rig->error),
           "weight_make");
    rig->weights[rig->n_weights++] = weight;
    free(rounded);
    free(turned);
    return weight;
}

/* ---- data -------------------------------------------------------------------------------------------------------------------- */

static struct kept {
    int id;
    size_t n;
    double scale, *v;
} kept[64];
static int n_kept;

double *new_doubles(size_t n)
{
    double *v = calloc(n > 0 ? n : 1, sizeof *v);
    cr_assert(v != NULL);
    return v;
}

const double *data(int id, size_t n, double scale)
{
    for (int i = 0; i < n_kept; i++)
        if (kept[i].id == id && kept[i].n == n && kept[i].scale == scale)
            return kept[i].v;
    cr_assert(n_kept < (int)(sizeof kept / sizeof *kept));
    double *v = new_doubles(n);
    for (size_t i = 0; i < n; i++)
        v[i] = (double)(float)(scale * rng_normal(SEED, (uint64_t)id, i));
    kept[n_kept++] = (struct kept){id, n, scale, v};
    return v;
}

void data_free(void)
{
    while (n_kept > 0)
        free(kept[--n_kept].v);
}

double dot(const double *a, const double *b, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* ---- errors ------------------------------------------------------------------------------------------------------------------ */

static double largest(const double *v, size_t n)
{
    double most = 0.0;
    for (size_t i = 0; i < n; i++)
        most = fmax(most, fabs(v[i]));
    return most;
}

double error_relative(const double *a, const double *b, size_t n)
{
    double worst = 0.0;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(a[i]) || !isfinite(b[i]))
            return HUGE_VAL;
        worst = fmax(worst, fabs(a[i] - b[i]));
    }
    return worst == 0.0 ? 0.0 : worst / largest(b, n);
}

double error_of_scores(const double *a, const double *b, size_t n)
{
    return largest(b, n) > 0.0 ? error_relative(a, b, n) : HUGE_VAL;
}

double error_elementwise(const double *a, const double *b, size_t n)
{
    const double floor_of_all = 1e-9 * largest(b, n);
    double worst = 0.0;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(a[i]) || !isfinite(b[i]))
            return HUGE_VAL;
        if (a[i] != b[i])
            worst = fmax(worst, fabs(a[i] - b[i]) / (fabs(b[i]) + floor_of_all));
    }
    return worst;
}

bool same_bits(const double *a, const double *b, size_t n)
{
    return memcmp(a, b, n * sizeof *a) == 0;
}

/* d <cot, f(x + a u)> / da at a = 0. The step: its cube root law (h^2 against eps/h) has its best near 1e-5. */
static double slope_along(forward_fn f, const void *context, size_t nx, const double *x, size_t ny, const double *cot, const double *u)
{
    const double step = 1e-5;
    double *moved = new_doubles(nx), *y = new_doubles(ny), side[2];
    for (int k = 0; k < 2; k++) {
        for (size_t i = 0; i < nx; i++)
            moved[i] = x[i] + (k == 0 ? step : -step) * u[i];
        f(context, moved, y);
        side[k] = dot(cot, y, ny);
    }
    free(moved);
    free(y);
    return (side[0] - side[1]) / (2.0 * step);
}

double error_of_gradient(forward_fn f, const void *context, size_t nx, const double *x, size_t ny, const double *cot, const double *grad)
{
    enum { DIRECTIONS = 3, COORDINATES = 48 };
    const double most = largest(grad, nx), norm = sqrt(dot(grad, grad, nx));
    const size_t stride = nx > COORDINATES ? nx / COORDINATES : 1;
    double *u = new_doubles(nx), worst = 0.0;

    for (size_t i = 0; i < nx; i++)
        if (!isfinite(grad[i]))
            worst = HUGE_VAL;
    for (size_t i = 0; i < nx; i += stride) {
        u[i] = 1.0;
        worst = fmax(worst, fabs(slope_along(f, context, nx, x, ny, cot, u) - grad[i]) / (most > 0.0 ? most : 1.0));
        u[i] = 0.0;
    }
    for (uint64_t k = 0; k < DIRECTIONS; k++) {
        for (size_t i = 0; i < nx; i++)
            u[i] = rng_normal(SEED, 1000 + k, i);
        worst = fmax(worst, fabs(slope_along(f, context, nx, x, ny, cot, u) - dot(grad, u, nx)) / (norm > 0.0 ? norm : 1.0));
    }
    free(u);
    return worst;
}

void check_products(struct rig *rig, const struct jsc_weight *w, const double *want, const char *what)
{
    const size_t n = w->n, k = w->k, side = n > k ? n : k;
    double *got = new_doubles(n * k), *eye = new_doubles(side * side);
    dptr y = rig_blank(rig, ROLE_REAL, n * k), dx = rig_blank(rig, ROLE_COT, n * k);
    size_t bad = 0;

    for (size_t i = 0; i < k; i++)
        eye[i * k + i] = 1.0;
    RUN(rig, matmul, .n = k, .w = w, .x = rig_up(rig, ROLE_ACT, eye, k * k), .y = y);
    rig_down(rig, ROLE_REAL, got, y, n * k);
    for (size_t i = 0; i < k; i++)
        for (size_t o = 0; o < n; o++)
            bad += !(got[i * n + o] == want[o * k + i]);
    cr_expect(bad == 0, "%s, %s: matmul, %zu of %zu elements differ", rig->ops->name, what, bad, n * k);
    memset(eye, 0, side * side * sizeof *eye);
    for (size_t i = 0; i < n; i++)
        eye[i * n + i] = 1.0;
    RUN(rig, matmul_vjp, .n = n, .w = w, .dy = rig_up(rig, ROLE_COT, eye, n * n), .dx = dx);
    rig_down(rig, ROLE_COT, got, dx, n * k);
    bad = 0;
    for (size_t i = 0; i < n * k; i++)
        bad += !(got[i] == want[i]);
    cr_expect(bad == 0, "%s, %s: matmul_vjp, %zu of %zu elements differ", rig->ops->name, what, bad, n * k);
    free(got), free(eye);
}
