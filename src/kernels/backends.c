/* backends.c: the list of backends by name. To add one: a row in `backends`, its table in ops.h.
 *
 * CUDA is a module of its own (libjscopes_cuda.so) that is opened here: a machine without driver or GPU uses the CPU and says why. In
 * builds for the emulator (JSC_SIMT) its table is linked in and taken only by name. */
#include "ops.h"

#include <jscopes/jscopes.h>

#include <dlfcn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Best first: "auto" takes a GPU, else the first. */
static const struct jsc_ops *const backends[] = {
    &ops_cpu,
#ifdef JSC_WITH_REF
    &ops_ref,
#endif
};
enum { N_BACKENDS = sizeof backends / sizeof *backends };

#define MODULE      "libjscopes_cuda.so"
#define SYMBOL      "jsc_cuda_plugin_v1"
#define OPEN_FLAGS  (RTLD_NOW | RTLD_LOCAL)
#define MODULE_PATH 4096

/* ---- the module ------------------------------------------------------------------------------------------------------------------ */

#ifdef JSC_SIMT

static jsc_status open_cuda(const struct jsc_ops **ops, jsc_error *error)
{
    (void)error;
    *ops = &ops_cuda;
    return JSC_OK;
}

#else

/* The path of the module in the folder of this library; false: it is not there. */
static bool beside_us(char *path, size_t capacity)
{
    Dl_info us;
    if (dladdr((const void *)backends, &us) == 0 || us.dli_fname == NULL)
        return false;
    const char *slash = strrchr(us.dli_fname, '/');
    const int folder = slash != NULL ? (int)(slash - us.dli_fname) : 1;
    const int n = snprintf(path, capacity, "%.*s/" MODULE, folder, slash != NULL ? us.dli_fname : ".");
    return n > 0 && (size_t)n < capacity && access(path, F_OK) == 0;
}

/* Opened once more each time and never closed: the dynamic linker counts. */
static jsc_status open_module(void **module, jsc_error *error)
{
    char path[MODULE_PATH];
    const char *named = env_get(ENV_CUDA_PLUGIN);

    if (named != NULL) {
        *module = dlopen(named, OPEN_FLAGS);
        return *module != NULL ? JSC_OK : status_set(error, JSC_E_DEVICE, "%s: %s", env_name(ENV_CUDA_PLUGIN), dlerror());
    }
    if (beside_us(path, sizeof path)) {
        *module = dlopen(path, OPEN_FLAGS);
        return *module != NULL ? JSC_OK : status_set(error, JSC_E_DEVICE, "the CUDA part does not load: %s", dlerror());
    }
    *module = dlopen(MODULE, OPEN_FLAGS);
    return *module != NULL ? JSC_OK : status_set(error, JSC_E_DEVICE, "this build has no CUDA part (" MODULE ")");
}

static jsc_status open_cuda(const struct jsc_ops **ops, jsc_error *error)
{
    jsc_status status = JSC_OK;
    void *module = NULL;
    void (*describe)(struct jsc_plugin *) = NULL;
    struct jsc_plugin plugin = {0};

    TRY(open_module(&module, error));
    void *symbol = dlsym(module, SYMBOL);
    if (symbol == NULL)
        FAIL(JSC_E_DEVICE, "the CUDA part is none, or of another version of jscopes (it has no " SYMBOL "): install both from one build");
    memcpy(&describe, &symbol, sizeof describe);
    describe(&plugin);
    if (strcmp(plugin.version, JSC_VERSION) != 0 || plugin.interface != ops_interface())
        FAIL(JSC_E_DEVICE, "the CUDA part is of jscopes %s, this library is %s%s: install both from one build", plugin.version, JSC_VERSION,
             strcmp(plugin.version, JSC_VERSION) == 0 ? " of other sources" : "");
    *ops = plugin.ops;
done:
    return status;
}

#endif

/* ---- the self test --------------------------------------------------------------------------------------------------------------- */

enum { SIDE = 16, CELLS = SIDE * SIDE };

/* Whole numbers that every precision holds exactly, and their product too. */
struct trial {
    float w[CELLS];
    double x[CELLS], y[CELLS], sum[CELLS];
};

static void fill_trial(struct trial *t)
{
    for (int i = 0; i < CELLS; i++) {
        t->w[i] = (float)(i * 7 % 15 - 7);
        t->x[i] = (double)(i * 11 % 13 - 6);
    }
    for (int i = 0; i < CELLS; i++) {
        t->y[i] = 0.0;
        for (int k = 0; k < SIDE; k++)
            t->y[i] += t->x[i / SIDE * SIDE + k] * (double)t->w[i % SIDE * SIDE + k];
        t->sum[i] = t->x[i] + 2.0 * t->y[i];
    }
}

static jsc_status compare_trial(const double *got, const double *right, const char *what, jsc_error *error)
{
    for (int i = 0; i < CELLS; i++)
        if (!(got[i] == right[i]))
            return status_set(error, JSC_E_DEVICE, "its self test failed: element %d of %s is %g instead of %g", i, what, got[i], right[i]);
    return JSC_OK;
}

/* A product and a kernel of ours on a stream of their own. memory: x, y, sum. */
static jsc_status run_trial(const struct jsc_ops *ops, struct jsc_stream *stream, struct trial *t, dptr memory[3],
                            const struct jsc_weight *w, jsc_error *error)
{
    jsc_status status = JSC_OK;
    double got[CELLS];

    TRY(ops->put(stream, ROLE_ACT, memory[0], t->x, CELLS, error));
    TRY(ops->put(stream, ROLE_REAL, memory[2], t->x, CELLS, error));
    TRY(ops->matmul(stream, &(struct op_matmul){.n = SIDE, .w = w, .x = memory[0], .y = memory[1]}, error));
    TRY(ops->add(stream, &(struct op_add){.n = CELLS, .scale = 2.0, .x = memory[2], .y = memory[1]}, error));
    TRY(ops->get(stream, ROLE_REAL, got, memory[1], CELLS, error));
    TRY(compare_trial(got, t->y, "a product", error));
    TRY(ops->get(stream, ROLE_REAL, got, memory[2], CELLS, error));
    TRY(compare_trial(got, t->sum, "a sum", error));
done:
    return status;
}

static jsc_status self_test_in(const struct jsc_ops *ops, const struct device_options *options, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct jsc_device *device = NULL;
    struct jsc_stream *stream = NULL;
    struct jsc_weight *w = NULL;
    struct trial t;
    dptr memory[3] = {NULL, NULL, NULL};

    fill_trial(&t);
    const struct weight_part part = {
        .bytes = t.w, .type = DTYPE_F32, .n = SIDE, .row_bytes = SIDE * sizeof *t.w, .scale = 1.0, .name = "self test"};
    TRY(ops->device_open(options, &device, error));
    TRY(ops->stream_open(device, &stream, error));
    for (int i = 0; i < 3; i++)
        TRY(ops->alloc(device, CELLS * sizeof(double), &memory[i], error));
    TRY(ops->weight_make(device, &part, 1, SIDE, USE_FORWARD, NULL, &w, error));
    TRY(run_trial(ops, stream, &t, memory, w, error));
done:
    if (device != NULL) {
        ops->weight_free(device, w);
        for (int i = 0; i < 3; i++)
            ops->free(device, memory[i]);
        if (stream != NULL)
            ops->stream_close(stream);
        ops->device_close(device);
    }
    return status;
}

jsc_status backend_self_test(const struct jsc_ops *ops, int index, jsc_error *error)
{
    const jsc_status status = self_test_in(ops, &(struct device_options){.index = index, .precision = JSC_PRECISION_STRICT}, error);
    return status != JSC_OK ? status : self_test_in(ops, &(struct device_options){.index = index, .precision = JSC_PRECISION_FAST}, error);
}

/* The table of cuda:index, after one test per process. */
static jsc_status find_cuda(int index, const struct jsc_ops **ops, jsc_error *error)
{
    static atomic_uint passed; /* bit n: cuda:n */
    jsc_status status = JSC_OK;
    const struct jsc_ops *cuda = NULL;
    const unsigned bit = index < 32 ? 1U << index : 0U;

    TRY(open_cuda(&cuda, error));
    if ((atomic_load(&passed) & bit) == 0) {
        TRY(backend_self_test(cuda, index, error));
        (void)atomic_fetch_or(&passed, bit);
    }
    *ops = cuda;
done:
    return status;
}

/* ---- by name --------------------------------------------------------------------------------------------------------------------- */

/* "cuda" or "cuda:N" with a number of one to four digits */
static bool is_cuda(const char *device)
{
    if (strncmp(device, "cuda", 4) != 0)
        return false;
    const size_t digits = device[4] == ':' ? strspn(device + 5, "0123456789") : 0;
    return device[4] == '\0' || (digits >= 1 && digits <= 4 && device[5 + digits] == '\0');
}

static jsc_status find_auto(const struct jsc_ops **ops, int *index, jsc_error *passed_over)
{
#ifdef JSC_SIMT
    (void)passed_over;
#else
    jsc_error reason = {.status = JSC_OK, .text = ""};
    if (find_cuda(0, ops, &reason) == JSC_OK) {
        *index = 0;
        return JSC_OK;
    }
    if (passed_over != NULL)
        *passed_over = reason;
#endif
    *ops = backends[0];
    *index = 0;
    return JSC_OK;
}

jsc_status backend_find(const char *device, const struct jsc_ops **ops, int *index, jsc_error *passed_over, jsc_error *error)
{
    const char *from = "", *equals = "";
    jsc_error reason = {.status = JSC_OK, .text = ""};

    if (passed_over != NULL)
        *passed_over = reason;
    if (device == NULL || strcmp(device, "auto") == 0) {
        device = env_get(ENV_DEVICE);
        if (device == NULL || strcmp(device, "auto") == 0)
            return find_auto(ops, index, passed_over);
        from = env_name(ENV_DEVICE), equals = "=";
    }
    for (int i = 0; i < N_BACKENDS; i++) {
        if (strcmp(device, backends[i]->name) == 0) {
            *ops = backends[i];
            *index = 0;
            return JSC_OK;
        }
    }
    if (is_cuda(device)) {
        const int wanted = device[4] == ':' ? (int)strtol(device + 5, NULL, 10) : 0;
        const jsc_status status = find_cuda(wanted, ops, &reason);
        if (status != JSC_OK)
            return status_set(error, status, "%s%s%s: %s; --device cpu does without", from, equals, device, reason.text);
        *index = wanted;
        return JSC_OK;
    }
    if (strcmp(device, "ref") == 0)
        return status_set(error, JSC_E_DEVICE,
                          "%s%sref: this build has no reference backend (it needs -DJSC_DEVELOPER=ON); use --device cpu", from, equals);
    return status_set(error, JSC_E_DEVICE, "%s%s\"%s\" is no device; the names are auto, cpu, ref (developer builds), cuda and cuda:N",
                      from, equals, device);
}
