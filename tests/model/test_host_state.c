/* test_host_state.c: a guest in someone else's process alters no process-wide state (case 46, and what case 48 asks of memory and files). */
#include "base_internal.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <jscopes/jscopes.h>

#include <dirent.h>
#include <fenv.h>

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

enum { T = 12 };

static void attribute(const jsc_model *model)
{
    int32_t ids[T];
    jsc_error error = {0};
    jsc_attribution *a = NULL;
    jsc_request request = JSC_REQUEST_INIT;
    for (int t = 0; t < T; t++)
        ids[t] = 11 * t + 3;
    request.scope = JSC_SCOPE_FISHER;
    request.ids = ids, request.n_ids = T;
    cr_assert(jsc_attribute(model, &request, &a, &error) == JSC_OK, "%s", error.text);
    jsc_attribution_free(a);
}

static jsc_model *open_tiny(void)
{
    jsc_error error = {0};
    jsc_model *model = NULL;
    cr_assert(jsc_model_open(JSC_TEST_SOURCE "/tests/golden/tiny_llama", NULL, &model, &error) == JSC_OK, "%s", error.text);
    return model;
}

static int entries(const char *folder)
{
    int n = 0;
    DIR *d = opendir(folder);
    while (d != NULL && readdir(d) != NULL)
        n++;
    if (d != NULL)
        closedir(d);
    return n;
}

Test(host_state, case_46_arithmetic_of_the_host_is_left_alone)
{
#if defined(__SSE__)
    const unsigned before = _mm_getcsr() & ~0x3fU; /* without the sticky exception flags */
#endif
    jsc_model *model = open_tiny();
    attribute(model);
    jsc_model_close(model);
    cr_expect(fegetround() == FE_TONEAREST);
#if defined(__SSE__)
    const unsigned after = _mm_getcsr() & ~0x3fU;
    cr_expect(after == before, "flush-to-zero or the rounding mode was changed");
#endif
    volatile double tiny = 4.9e-324;
    cr_expect(tiny / 1.0 > 0.0, "subnormals are flushed");
}

Test(host_state, case_48_nothing_grows_with_the_calls)
{
    jsc_model *model = open_tiny();
    size_t live = 0;
    int files = 0, threads = 0;
    for (int i = 0; i < 200; i++) {
        attribute(model);
        if (i == 9)
            live = mem_live_bytes(), files = entries("/proc/self/fd"), threads = entries("/proc/self/task");
    }
    cr_expect(eq(sz, mem_live_bytes(), live));
    cr_expect(eq(int, entries("/proc/self/fd"), files));
    cr_expect(eq(int, entries("/proc/self/task"), threads));
    jsc_model_close(model);
}
