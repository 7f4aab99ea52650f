/* test_backends.c: devices by name, and the buffers of every backend. */
#include "testing.h"

static jsc_error error;
static const struct jsc_ops *ops_found;
static int index_found;

static jsc_status find(const char *name)
{
    ops_found = NULL;
    index_found = -1;
    error.text[0] = '\0';
    return backend_find(name, &ops_found, &index_found, NULL, &error);
}

/* No module is found, so that "auto" is the CPU on every machine. */
static void no_environment(void)
{
    (void)test_cuda(); /* the device that this run tests is still to be had */
    (void)unsetenv("JSC_DEVICE");
    (void)setenv("JSC_CUDA_PLUGIN", "/nonexistent/module.so", 1);
}

static jsc_status add_nothing(struct jsc_stream *stream, const struct op_add *op, jsc_error *e)
{
    (void)stream, (void)op, (void)e;
    return JSC_OK;
}

Test(backends, names, .init = no_environment)
{
    const char *best[] = {NULL, "auto", "cpu"};
    for (int i = 0; i < 3; i++) {
        cr_expect(eq(int, find(best[i]), JSC_OK));
        cr_expect(eq(ptr, (void *)ops_found, (void *)&ops_cpu));
        cr_expect(eq(int, index_found, 0));
    }
    cr_expect(eq(int, find("ref"), JSC_OK));
    cr_expect(eq(ptr, (void *)ops_found, (void *)&ops_ref));
    FOR_EACH_BACKEND(ops)
    {
#ifndef JSC_SIMT
        if (ops == test_cuda())
            continue; /* its module is hidden here */
#endif
        cr_expect(eq(int, find(ops->name), JSC_OK), "%s", ops->name);
        cr_expect(eq(ptr, (void *)ops_found, (void *)ops), "%s", ops->name);
    }
}

Test(backends, auto_says_why_it_took_no_gpu, .init = no_environment)
{
    jsc_error why = {.status = JSC_E_INTERNAL};
    cr_expect(eq(int, backend_find("auto", &ops_found, &index_found, &why, &error), JSC_OK));
    cr_expect(eq(ptr, (void *)ops_found, (void *)&ops_cpu));
#ifdef JSC_SIMT
    cr_expect(eq(int, why.status, JSC_OK), "the emulator is taken only by name");
#else
    cr_expect(eq(int, why.status, JSC_E_DEVICE));
    cr_expect(ne(ptr, strstr(why.text, "JSC_CUDA_PLUGIN"), NULL), "%s", why.text);
#endif
    cr_expect(eq(int, backend_find("cpu", &ops_found, &index_found, &why, &error), JSC_OK));
    cr_expect(eq(int, why.status, JSC_OK), "a device that was named is not passed over");
}

/* What is compared is exact, so that all backends pass. */
Test(backends, self_test_passes_and_can_fail)
{
    static struct jsc_ops wrong;
    for (int i = 0; i < 2; i++)
        cr_expect(eq(int, backend_self_test(i == 0 ? &ops_cpu : &ops_ref, 0, &error), JSC_OK), "%s", error.text);
    if (test_cuda() != NULL)
        cr_expect(eq(int, backend_self_test(test_cuda(), 0, &error), JSC_OK), "%s", error.text);
    wrong = test_cuda() != NULL ? *test_cuda() : ops_cpu;
    wrong.add = add_nothing;
    cr_expect(eq(int, backend_self_test(&wrong, 0, &error), JSC_E_DEVICE));
    cr_expect(ne(ptr, strstr(error.text, "self test failed: element 0 of a sum is"), NULL), "%s", error.text);
}

Test(backends, auto_follows_the_environment)
{
    no_environment();
    (void)setenv("JSC_DEVICE", "ref", 1);
    cr_expect(eq(int, find("auto"), JSC_OK));
    cr_expect(eq(ptr, (void *)ops_found, (void *)&ops_ref));
    cr_expect(eq(int, find("cpu"), JSC_OK), "a name given wins");
    cr_expect(eq(ptr, (void *)ops_found, (void *)&ops_cpu));
    (void)setenv("JSC_DEVICE", "auto", 1);
    cr_expect(eq(int, find(NULL), JSC_OK), "auto of auto ends");
    (void)setenv("JSC_DEVICE", "abacus", 1);
    cr_expect(eq(int, find(NULL), JSC_E_DEVICE));
    cr_expect(ne(ptr, strstr(error.text, "JSC_DEVICE"), NULL), "%s", error.text);
    (void)unsetenv("JSC_DEVICE");
}

/* Cases from the field, 45: an explicit GPU that is not to be had is an error that says what to do. */
Test(backends, explicit_cuda_is_an_error_without_cuda, .init = no_environment)
{
#ifdef JSC_SIMT
    const char *names[] = {"cuda:1", "cuda:12"}; /* the emulator is one device */
#else
    const char *names[] = {"cuda", "cuda:0", "cuda:12"};
#endif
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        cr_expect(eq(int, find(names[i]), JSC_E_DEVICE), "%s", names[i]);
        cr_expect(ne(ptr, strstr(error.text, "--device cpu"), NULL), "%s", error.text);
        cr_expect(eq(ptr, (void *)ops_found, NULL), "untouched on failure");
        cr_expect(eq(int, index_found, -1));
    }
}

Test(backends, unknown_names_list_the_known, .init = no_environment)
{
    const char *names[] = {"", "gpu", "CPU", "cuda:", "cuda:x", "cuda:1x", "cuda:99999999999999999999", "cudax", "cpu "};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        cr_expect(eq(int, find(names[i]), JSC_E_DEVICE), "'%s'", names[i]);
        cr_expect(ne(ptr, strstr(error.text, "auto, cpu"), NULL), "%s", error.text);
    }
    cr_expect(eq(int, backend_find("gpu", &ops_found, &index_found, NULL, NULL), JSC_E_DEVICE), "error may be NULL");
}

Test(backends, every_entry_is_there)
{
    FOR_EACH_BACKEND(ops)
    {
        const char *at = (const char *)ops + offsetof(struct jsc_ops, device_open);
        for (size_t i = 0; i < (offsetof(struct jsc_ops, record_begin) - offsetof(struct jsc_ops, device_open)) / sizeof(void (*)(void));
             i++) {
            void (*entry)(void);
            memcpy(&entry, at + i * sizeof entry, sizeof entry);
            cr_expect(entry != NULL, "%s: entry %zu", ops->name, i);
        }
    }
}

Test(backends, buffers)
{
    FOR_EACH_BACKEND(ops)
    {
        const double in[5] = {1.0, -2.5, 0x1p-126, 3e38, 0.0};
        struct rig rig;
        rig_open(&rig, ops, 2);
        cr_expect(rig.device->ops == ops && rig.stream->ops == ops && rig.stream->device == rig.device, "%s", ops->name);
        cr_expect(eq(int, rig.device->precision, JSC_PRECISION_STRICT), "%s", ops->name);
        cr_expect(eq(int, strncmp(rig.device->description, ops->name, strlen(ops->name)), 0), "%s", rig.device->description);
        cr_expect(ops->memory_left(rig.device) > (size_t)1 << 20, "%s", ops->name);
        for (int role = 0; role < ROLE_COUNT; role++) {
            double out[5];
            dptr p = rig_up(&rig, (enum role)role, in, 5);
            rig_down(&rig, (enum role)role, out, p, 5);
            for (int i = 0; i < 5; i++)
                cr_expect(epsilon_eq(dbl, out[i], in[i], EPS32 * fabs(in[i])), "%s, role %d: %g", ops->name, role, out[i]);
            rig_ok(&rig, ops->zero(rig.stream, rig_at(&rig, (enum role)role, p, 1), 3 * rig.stream->size_of[role], &rig.error), "zero");
            rig_down(&rig, (enum role)role, out, p, 5);
            cr_expect(out[0] == 1.0 && out[1] == 0.0 && out[2] == 0.0 && out[3] == 0.0, "%s, role %d: zero", ops->name, role);
            rig_down(&rig, (enum role)role, out, p, 0);
        }
        ops->free(rig.device, NULL);
        ops->weight_free(rig.device, NULL);
        rig_close(&rig);
    }
}

/* Cases from the field, 46: rounding and the flushing of subnormals are as before after any operation. */
Test(backends, subnormals_survive_on_every_backend)
{
    FOR_EACH_BACKEND(ops)
    {
        for (int i = 0; i < N_OP_CASES; i++) {
            const struct op_case c = case_for_test(&op_cases[i]);
            struct outputs out = {.n = 0};
            struct rig rig;
            if (c.real)
                continue;
            rig_open(&rig, ops, 2);
            case_run(&c, &rig, 0, 0, c.B, &out);
            rig_close(&rig);
            outputs_free(&out);
            data_free();
            volatile float tiny = FLT_MIN, half = 0.5f;
            cr_assert(tiny * half > 0.0f, "%s: %s flushes subnormals", ops->name, case_op_names[c.op]);
        }
    }
}
