/* test_backend_cuda.c: the CUDA backend's host side on the emulator: transfers, the staging ring, memory, errors, threads, the device's checks. */
#include "testing.h"

#ifndef JSC_SIMT

Test(backend_cuda, needs_the_emulator)
{
    cr_skip_test("the CUDA backend's host side is tested in the simt preset");
}

#else

#include "cuda_internal.h"
#include "simt.h"

#include <pthread.h>

static const jsc_precision precisions[] = {JSC_PRECISION_STRICT, JSC_PRECISION_FAST};

static void quiet(void)
{
    simt_settings.quiet = true;
    (void)unsetenv("NVIDIA_TF32_OVERRIDE");
}
TestSuite(backend_cuda, .init = quiet);

struct opened {
    struct jsc_device *device;
    struct jsc_stream *stream;
    jsc_error error;
};

static void open_all(struct opened *o, jsc_precision precision)
{
    *o = (struct opened){.device = NULL};
    const struct device_options options = {.precision = precision};
    cr_assert(ops_cuda.device_open(&options, &o->device, &o->error) == JSC_OK, "%s", o->error.text);
    cr_assert(ops_cuda.stream_open(o->device, &o->stream, &o->error) == JSC_OK, "%s", o->error.text);
}

static void close_all(struct opened *o)
{
    ops_cuda.stream_close(o->stream);
    ops_cuda.device_close(o->device);
    cr_expect(simt_allocations() == 0 && simt_objects() == 0, "%zu blocks and %zu objects are left", simt_allocations(), simt_objects());
    cr_expect(simt_message()[0] == '\0', "%s", simt_message());
}

static void *device_bytes(struct opened *o, size_t n)
{
    dptr p = NULL;
    cr_assert(ops_cuda.alloc(o->device, n, &p, &o->error) == JSC_OK, "%s", o->error.text);
    return p;
}

#define OK(o, call) cr_assert(eq(int, (call), JSC_OK), "%s", (o)->error.text)

/* ---- numbers in and out ------------------------------------------------------------------------------------------------------------ */

static void put_and_get(jsc_precision precision, enum role role, size_t n)
{
    struct opened o;
    open_all(&o, precision);
    const size_t size = o.stream->size_of[role];
    double *in = new_doubles(n + 1), *out = new_doubles(n + 1);
    dptr p = device_bytes(&o, (n + 1) * size);
    for (size_t i = 0; i < n; i++)
        in[i] = (double)(float)(rng_normal(1, 2, i) * 10.0);
    OK(&o, ops_cuda.put(o.stream, role, dptr_at(p, 1, size), in, n, &o.error)); /* not aligned to more than an element */
    memset(in, 0, n * sizeof *in);                                              /* the caller's at once */
    OK(&o, ops_cuda.get(o.stream, role, out, dptr_at(p, 1, size), n, &o.error));
    for (size_t i = 0; i < n; i++) {
        const double sent = (double)(float)(rng_normal(1, 2, i) * 10.0), right = size == sizeof(float) ? sent : bf16_of(sent);
        cr_assert(out[i] == right, "role %d, %zu numbers: %zu is %g instead of %g", role, n, i, out[i], right);
    }
    cr_expect(out[n] == 0.0, "not one more");
    free(in);
    free(out);
    ops_cuda.free(o.device, p);
    close_all(&o);
}

Test(backend_cuda, numbers_go_in_and_out_in_the_type_of_their_role, .timeout = 120)
{
    /* the last goes round the ring: 11 MB of floats */
    const size_t sizes[] = {0, 1, 3, 255, 4097, 262144, 262145, 2800001};
    simt_settings.protect = true;
    for (int lazy = 0; lazy < 2; lazy++) {
        simt_settings.lazy = lazy;
        for (int p = 0; p < 2; p++)
            for (int role = 0; role < ROLE_COUNT; role++)
                for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
                    if (sizes[i] < 1000000 || (lazy && role == ROLE_COT))
                        put_and_get(precisions[p], (enum role)role, sizes[i]);
    }
}

Test(backend_cuda, special_numbers_are_rounded_as_on_the_device)
{
    const double in[] = {NAN, INFINITY, -INFINITY, 3.4e38, 1e300, 1e-40, -0.0, 1.00390625, 1.01171875};
    double out[9];
    struct opened o;
    open_all(&o, JSC_PRECISION_FAST);
    dptr p = device_bytes(&o, sizeof in);
    OK(&o, ops_cuda.put(o.stream, ROLE_COT, p, in, 9, &o.error));
    OK(&o, ops_cuda.get(o.stream, ROLE_COT, out, p, 9, &o.error));
    cr_expect(isnan(out[0]) && out[1] == INFINITY && out[2] == -INFINITY && out[3] == INFINITY && out[4] == INFINITY, "%g %g", out[0],
              out[3]);
    cr_expect(out[5] == ldexp(1.0, -133) && signbit(out[6]), "subnormal numbers and the sign of 0: %g", out[5]);
    cr_expect(out[7] == 1.0 && out[8] == 1.015625, "halves go to even: %g %g", out[7], out[8]);
    ops_cuda.free(o.device, p);
    close_all(&o);
}

Test(backend_cuda, bytes_go_in_and_out)
{
    enum { N = 3000001 };
    unsigned char *in = malloc(N), *out = malloc(N);
    struct opened o;
    simt_settings.lazy = simt_settings.protect = true;
    open_all(&o, JSC_PRECISION_FAST);
    dptr p = device_bytes(&o, N);
    for (int round = 0; round < 4; round++) {
        for (size_t i = 0; i < N; i++)
            in[i] = (unsigned char)(i * 31 + (size_t)round);
        OK(&o, ops_cuda.put_bytes(o.stream, p, in, N, &o.error));
        memset(in, 0xEE, N);
        OK(&o, ops_cuda.zero(o.stream, dptr_at(p, 7, 1), 9, &o.error));
        OK(&o, ops_cuda.get_bytes(o.stream, out, p, N, &o.error));
        for (size_t i = 0; i < N; i++)
            cr_assert(out[i] == (i >= 7 && i < 16 ? 0 : (unsigned char)(i * 31 + (size_t)round)), "byte %zu", i);
    }
    OK(&o, ops_cuda.put_bytes(o.stream, p, in, 0, &o.error));
    OK(&o, ops_cuda.zero(o.stream, p, 0, &o.error));
    OK(&o, ops_cuda.sync(o.stream, &o.error));
    free(in);
    free(out);
    ops_cuda.free(o.device, p);
    close_all(&o);
}

/* ---- the ring ------------------------------------------------------------------------------------------------------------------------ */

/* One launch: `lists` lists are staged, then copied to their place: a kernel that reads all of them. */
static void launch_lists(struct opened *o, int round, int lists, size_t bytes, char *host, char *to)
{
    const void *staged[8];
    for (int l = 0; l < lists; l++) {
        memset(host, 1 + (round * 8 + l) % 250, bytes);
        OK(o, cuda_stage(o->stream, host, bytes, &staged[l], &o->error));
        cr_assert(eq(sz, (uintptr_t)staged[l] % 256, 0), "aligned");
    }
    memset(host, 0xEE, bytes);
    for (int l = 0; l < lists; l++)
        OK(o, cuda_check(cudaMemcpyAsync(to + (size_t)l * bytes, staged[l], bytes, cudaMemcpyDeviceToDevice, cuda_handle(o->stream)),
                         "copy", &o->error));
}

Test(backend_cuda, the_ring_goes_round_and_overwrites_nothing_too_early, .timeout = 120)
{
    const struct {
        int lists, rounds;
        size_t bytes;
    } kinds[] = {{1, 60, 300001}, {8, 12, CUDA_STAGE_BYTES / 8}, {3, 7, CUDA_STAGE_BYTES / 3}, {1, 8, CUDA_STAGE_BYTES}, {8, 400, 1}};
    struct opened o;
    simt_settings.lazy = true;
    open_all(&o, JSC_PRECISION_FAST);
    char *host = malloc(CUDA_STAGE_BYTES);
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        const size_t launch = (size_t)kinds[k].lists * kinds[k].bytes, all = launch * (size_t)kinds[k].rounds;
        char *to = device_bytes(&o, all), *back = malloc(all);
        for (int r = 0; r < kinds[k].rounds; r++)
            launch_lists(&o, r, kinds[k].lists, kinds[k].bytes, host, to + (size_t)r * launch);
        OK(&o, ops_cuda.get_bytes(o.stream, back, to, all, &o.error));
        for (size_t i = 0; i < all; i++) {
            const int round = (int)(i / launch), list = (int)(i % launch / kinds[k].bytes);
            cr_assert(back[i] == (char)(1 + (round * 8 + list) % 250), "kind %zu, launch %d, list %d, byte %zu: %d", k, round, list,
                      i % launch % kinds[k].bytes, back[i]);
        }
        free(back);
        ops_cuda.free(o.device, to);
    }
    const void *nothing;
    OK(&o, cuda_stage(o.stream, NULL, 0, &nothing, &o.error));
    cr_expect(cuda_stage(o.stream, host, CUDA_STAGE_BYTES + 1, &nothing, &o.error) == JSC_E_INTERNAL, "more than one launch may have");
    free(host);
    close_all(&o);
}

Test(backend_cuda, scratch_that_grows_waits_for_what_uses_it)
{
    struct opened o;
    void *small = NULL, *again = NULL, *large = NULL, *other = NULL;
    char seen[64];
    simt_settings.lazy = true;
    open_all(&o, JSC_PRECISION_STRICT);
    dptr result = device_bytes(&o, sizeof seen);
    OK(&o, cuda_scratch(o.stream, CUDA_SCRATCH_OPERATION, 64, &small, &o.error));
    OK(&o, cuda_scratch(o.stream, CUDA_SCRATCH_OPERATION, 8, &again, &o.error));
    OK(&o, cuda_scratch(o.stream, CUDA_SCRATCH_GEMM, 64, &other, &o.error));
    cr_expect(again == small && other != small, "kept; one for each use");
    OK(&o, ops_cuda.zero(o.stream, small, 64, &o.error));
    OK(&o, cuda_check(cudaMemcpyAsync(result, small, 64, cudaMemcpyDeviceToDevice, cuda_handle(o.stream)), "copy", &o.error));
    OK(&o, cuda_scratch(o.stream, CUDA_SCRATCH_OPERATION, 1 << 20, &large, &o.error));
    OK(&o, ops_cuda.get_bytes(o.stream, seen, result, sizeof seen, &o.error));
    for (size_t i = 0; i < sizeof seen; i++)
        cr_assert(seen[i] == 0);
    simt_settings.memory_limit = simt_memory_used() + 1000;
    cr_expect(cuda_scratch(o.stream, CUDA_SCRATCH_OPERATION, 1 << 22, &large, &o.error) == JSC_E_MEMORY, "%s", o.error.text);
    OK(&o, cuda_scratch(o.stream, CUDA_SCRATCH_OPERATION, 4096, &large, &o.error)); /* the old one was given back */
    ops_cuda.free(o.device, result);
    close_all(&o);
}

/* ---- failures ------------------------------------------------------------------------------------------------------------------------ */

/* A request of two streams, so that every call of the host side is among them. */
static jsc_status use(jsc_error *error)
{
    jsc_status status = JSC_OK;
    const struct device_options options = {.precision = JSC_PRECISION_FAST};
    struct jsc_device *device = NULL;
    struct jsc_stream *stream[2] = {NULL, NULL};
    const double in[3] = {1.0, 2.0, 3.0};
    double out[3];
    dptr p = NULL;
    void *scratch;
    const void *staged;

    TRY(ops_cuda.device_open(&options, &device, error));
    for (int i = 0; i < 2; i++)
        TRY(ops_cuda.stream_open(device, &stream[i], error));
    TRY(ops_cuda.alloc(device, 1000, &p, error));
    TRY(ops_cuda.put(stream[0], ROLE_REAL, p, in, 3, error));
    TRY(ops_cuda.get(stream[0], ROLE_REAL, out, p, 3, error));
    TRY(ops_cuda.put_bytes(stream[1], p, in, sizeof in, error));
    TRY(ops_cuda.get_bytes(stream[1], out, p, sizeof in, error));
    TRY(ops_cuda.zero(stream[1], p, 1000, error));
    TRY(cuda_stage(stream[1], in, sizeof in, &staged, error));
    TRY(cuda_scratch(stream[1], CUDA_SCRATCH_GEMM, 100, &scratch, error));
    TRY(ops_cuda.sync(stream[1], error));
done:
    if (device != NULL) {
        ops_cuda.free(device, p);
        for (int i = 0; i < 2; i++)
            if (stream[i] != NULL)
                ops_cuda.stream_close(stream[i]);
        ops_cuda.device_close(device);
    }
    return status;
}

Test(backend_cuda, every_call_may_fail_and_nothing_is_left, .timeout = 120)
{
    jsc_error error;
    const size_t live = mem_live_bytes();
    long calls = 0;
    for (;; calls++) {
        simt_settings.fail_call = calls + 1;
        const jsc_status status = use(&error);
        const bool reached = simt_settings.fail_call <= 0;
        simt_settings.fail_call = 0;
        cr_assert(eq(sz, mem_live_bytes(), live), "call %ld", calls);
        cr_assert(simt_allocations() == 0 && simt_objects() == 0, "call %ld: %zu blocks, %zu objects are left", calls, simt_allocations(),
                  simt_objects());
        cr_assert(cudaPeekAtLastError() == cudaSuccess, "call %ld: the error would be reported again", calls);
        if (!reached)
            break;
        cr_assert(status == JSC_E_MEMORY || status == JSC_E_DEVICE || calls > 30, "call %ld: status %d", calls, status);
    }
    cr_expect(calls > 30, "%ld calls", calls);
}

Test(backend_cuda, the_host_runs_out_of_memory_at_each_allocation)
{
    jsc_error error;
    const size_t live = mem_live_bytes();
    for (long k = 1;; k++) {
        mem_fail_at(k, true);
        const jsc_status status = use(&error);
        const long tried = mem_calls();
        mem_fail_at(0, false);
        cr_assert(eq(sz, mem_live_bytes(), live), "allocation %ld", k);
        cr_assert(simt_allocations() == 0 && simt_objects() == 0, "allocation %ld", k);
        if (tried < k) {
            cr_assert(status == JSC_OK && k > 3, "%s", error.text);
            break;
        }
        cr_assert(status == JSC_E_MEMORY, "allocation %ld: status %d", k, status);
    }
}

Test(backend_cuda, memory_that_is_not_there_is_refused_with_both_numbers)
{
    struct opened o;
    dptr p = NULL;
    char free_bytes[32];
    open_all(&o, JSC_PRECISION_STRICT);
    simt_settings.memory_limit = simt_memory_used() + 5000;
    cr_expect(eq(sz, ops_cuda.memory_left(o.device), 5000));
    cr_expect(ops_cuda.alloc(o.device, 123456789, &p, &o.error) == JSC_E_MEMORY);
    (void)snprintf(free_bytes, sizeof free_bytes, "%d are free", 5000);
    cr_expect(strstr(o.error.text, "123456789") != NULL && strstr(o.error.text, free_bytes) != NULL, "%s", o.error.text);
    cr_expect(strstr(o.error.text, "--device cpu") != NULL && strstr(o.error.text, "cuda:0") != NULL, "%s", o.error.text);
    cr_expect(p == NULL && cudaPeekAtLastError() == cudaSuccess, "and is forgotten");
    p = device_bytes(&o, 0);
    cr_expect(p != NULL, "no bytes are an address too");
    ops_cuda.free(o.device, p);
    struct jsc_stream *second = NULL;
    cr_expect(ops_cuda.stream_open(o.device, &second, &o.error) == JSC_E_MEMORY && second == NULL, "%s", o.error.text);
    close_all(&o);
}

Test(backend_cuda, a_lost_device_is_told_with_what_to_do)
{
    struct opened o;
    const double one = 1.0;
    open_all(&o, JSC_PRECISION_FAST);
    dptr p = device_bytes(&o, 8);
    simt_lose();
    cr_expect(ops_cuda.sync(o.stream, &o.error) == JSC_E_DEVICE, "%s", o.error.text);
    cr_expect(strstr(o.error.text, "start it again") != NULL && strstr(o.error.text, "--device cpu") != NULL, "%s", o.error.text);
    cr_expect(ops_cuda.put(o.stream, ROLE_REAL, p, &one, 1, &o.error) == JSC_E_DEVICE);
    cr_expect(cudaPeekAtLastError() == cudaSuccess, "the runtime has forgotten it");
    ops_cuda.free(o.device, p);
    ops_cuda.stream_close(o.stream);
    ops_cuda.device_close(o.device);
    cr_expect(simt_allocations() == 0 && simt_objects() == 0, "what was held is given back all the same");
    simt_reset();
}

Test(backend_cuda, errors_name_the_operation)
{
    jsc_error error;
    cr_expect(cuda_check(cudaSuccess, "norm", &error) == JSC_OK);
    cr_expect(cuda_check(cudaErrorInvalidValue, "norm", &error) == JSC_E_DEVICE);
    cr_expect(strstr(error.text, "cuda: norm: invalid argument; ") == error.text, "%s", error.text);
    cr_expect(cuda_check(cudaErrorMemoryAllocation, "norm", &error) == JSC_E_MEMORY && strstr(error.text, "norm") != NULL, "%s",
              error.text);
    cr_expect(cuda_check(cudaErrorMemoryAllocation, "norm", NULL) == JSC_E_MEMORY, "error may be NULL");
}

/* ---- threads ------------------------------------------------------------------------------------------------------------------------- */

struct worker {
    struct jsc_device *device;
    int id;
    char failed[256];
};

static void *work(void *context)
{
    struct worker *w = context;
    struct jsc_stream *stream = NULL;
    jsc_status status = JSC_OK;
    jsc_error local, *error = &local;
    dptr a = NULL, b = NULL;
    double in[301], out[301];

    local.text[0] = '\0';
    TRY(ops_cuda.stream_open(w->device, &stream, error));
    TRY(ops_cuda.alloc(w->device, sizeof in, &a, error));
    TRY(ops_cuda.alloc(w->device, sizeof in, &b, error));
    for (int round = 0; round < 50; round++) {
        const void *staged;
        for (int i = 0; i < 301; i++)
            in[i] = w->id * 1000 + round + i;
        TRY(ops_cuda.put(stream, ROLE_REAL, a, in, 301, error));
        TRY(ops_cuda.get(stream, ROLE_REAL, out, a, 301, error));
        if (memcmp(in, out, sizeof in) != 0)
            FAIL(JSC_E_INTERNAL, "round %d: other numbers", round);
        TRY(cuda_stage(stream, in, sizeof in, &staged, error));
        TRY(cuda_check(cudaMemcpyAsync(b, staged, sizeof in, cudaMemcpyDeviceToDevice, cuda_handle(stream)), "copy", error));
        TRY(ops_cuda.get_bytes(stream, out, b, sizeof in, error));
        if (memcmp(in, out, sizeof in) != 0)
            FAIL(JSC_E_INTERNAL, "round %d: another list", round);
    }
done:
    (void)snprintf(w->failed, sizeof w->failed, "%.200s", status == JSC_OK ? "" : local.text);
    ops_cuda.free(w->device, a);
    ops_cuda.free(w->device, b);
    if (stream != NULL)
        ops_cuda.stream_close(stream);
    return NULL;
}

Test(backend_cuda, threads_have_their_own_streams, .timeout = 120)
{
    enum { N = 4 };
    struct worker workers[N];
    pthread_t threads[N];
    jsc_error error;
    struct jsc_device *device = NULL;
    simt_settings.lazy = true;
    cr_assert(ops_cuda.device_open(&(struct device_options){.precision = JSC_PRECISION_STRICT}, &device, &error) == JSC_OK);
    for (int i = 0; i < N; i++) {
        workers[i] = (struct worker){.device = device, .id = i};
        cr_assert(pthread_create(&threads[i], NULL, work, &workers[i]) == 0);
    }
    for (int i = 0; i < N; i++) {
        (void)pthread_join(threads[i], NULL);
        cr_expect(workers[i].failed[0] == '\0', "thread %d: %s", i, workers[i].failed);
    }
    ops_cuda.device_close(device);
    cr_expect(simt_allocations() == 0 && simt_objects() == 0, "all is given back");
}

/* ---- the device ---------------------------------------------------------------------------------------------------------------------- */

static void refused(int index, const char *word, const char *also)
{
    jsc_error error = {.text = ""};
    struct jsc_device *device = NULL;
    const struct device_options options = {.index = index};
    cr_expect(ops_cuda.device_open(&options, &device, &error) == JSC_E_DEVICE && device == NULL, "%s", word);
    cr_expect(strstr(error.text, word) != NULL && strstr(error.text, also) != NULL, "\"%s\" does not say \"%s\", \"%s\"", error.text, word,
              also);
    cr_expect(cudaPeekAtLastError() == cudaSuccess && simt_objects() == 0, "nothing is left");
}

Test(backend_cuda, a_device_that_cannot_be_used_is_refused_with_the_reason)
{
    simt_settings.driver = 0;
    refused(0, "no NVIDIA driver", "");
    simt_settings.driver = 12040;
    refused(0, "for CUDA 12.4", "update the driver");
    simt_settings.driver = CUDART_VERSION;
    simt_settings.devices = 0;
    refused(0, "no NVIDIA GPU", "CUDA_VISIBLE_DEVICES");
    simt_settings.devices = 2;
    refused(2, "no cuda:2", "2 GPUs");
    simt_settings.capability = 75;
    refused(1, "compute capability 7.5", "8.0");
    simt_settings.capability = 90;
    (void)setenv("NVIDIA_TF32_OVERRIDE", "1", 1);
    refused(0, "NVIDIA_TF32_OVERRIDE", "unset");
    (void)setenv("NVIDIA_TF32_OVERRIDE", "0", 1);
    struct opened o;
    open_all(&o, JSC_PRECISION_STRICT);
    close_all(&o);
}

Test(backend_cuda, a_device_tells_what_it_is)
{
    struct opened o;
    jsc_error error;
    struct jsc_device *second = NULL;
    simt_settings.devices = 2;
    open_all(&o, JSC_PRECISION_FAST);
    const struct cuda_device *d = (const struct cuda_device *)o.device;
    cr_expect(strstr(o.device->description, "cuda:0 (SIMT emulator, 8 GiB, cuBLASLt 13.") == o.device->description, "%s",
              o.device->description);
    cr_expect(d->capability == 90 && d->multiprocessors == 2 && d->shared_limit == 232448 && o.device->threads >= 1);
    cr_expect(eq(u64, o.device->own_memory, (uint64_t)8 << 30));
    cr_expect(o.device->precision == JSC_PRECISION_FAST && !o.stream->one_type);
    cr_expect(o.stream->size_of[ROLE_REAL] == 4 && o.stream->size_of[ROLE_ACT] == 4 && o.stream->size_of[ROLE_COT] == 2);
    cr_expect(ops_cuda.stream_scratch(o.device, 1, 1, 1) >= CUDA_WORKSPACE_BYTES + CUDA_RING_BYTES);
    cr_assert(ops_cuda.device_open(&(struct device_options){.precision = JSC_PRECISION_AUTO, .threads = 3, .index = 1}, &second, &error) ==
              JSC_OK);
    cr_expect(strstr(second->description, "cuda:1") == second->description && second->threads == 3, "%s", second->description);
    cr_expect(second->precision == JSC_PRECISION_STRICT, "auto is strict");
    ops_cuda.device_close(second);
    close_all(&o);
    ops_cuda.stream_close(NULL);
    ops_cuda.device_close(NULL);
}

#endif
