/* test_record_cuda.c: recorded walks: the same result as plain ones, called no more once recorded, forgotten when scratch moves. */
#include "testing.h"

#ifndef JSC_SIMT
Test(record_cuda, needs_the_emulator)
{
    cr_skip_test("the CUDA backend is not in this build: preset simt");
}
#else
#include "cuda_internal.h"

enum { N = 40 };

struct walk {
    struct rig *rig;
    dptr x, y;
    int calls;
    size_t scratch; /* asked for inside the walk, 0: none */
    int fails_at;   /* call that fails, 0: none */
    jsc_status at;  /* and how */
};

static jsc_status run(struct walk *w)
{
    w->calls++;
    if (w->scratch > 0) {
        void *p;
        const jsc_status status = cuda_scratch(w->rig->stream, CUDA_SCRATCH_OPERATION, w->scratch, &p, &w->rig->error);
        if (status != JSC_OK)
            return status;
    }
    if (w->calls == w->fails_at)
        return status_set(&w->rig->error, w->at, "planted");
    return w->rig->ops->add(w->rig->stream, &(struct op_add){.n = N, .scale = 0.5, .x = w->x, .y = w->y}, &w->rig->error);
}

static jsc_status walk_once(struct walk *w, int64_t key)
{
    const int64_t whole[2] = {'t', key};
    bool repeat = false, again = true;
    jsc_status status = JSC_OK;
    while (again) {
        if ((status = w->rig->ops->record_begin(w->rig->stream, whole, sizeof whole, &repeat, &w->rig->error)) != JSC_OK || repeat)
            return status;
        if ((status = w->rig->ops->record_end(w->rig->stream, run(w), &again, &w->rig->error)) != JSC_OK)
            return status;
    }
    return status;
}

static struct walk open_walk(struct rig *rig)
{
    rig_open(rig, &ops_cuda, 1);
    return (struct walk){.rig = rig, .x = rig_up(rig, ROLE_REAL, data(1, N, 1.0), N), .y = rig_up(rig, ROLE_REAL, data(2, N, 1.0), N)};
}

static void check_added(struct walk *w, int times)
{
    double x[N];
    rig_down(w->rig, ROLE_REAL, x, w->x, N);
    for (int i = 0; i < N; i++) {
        float expected = (float)data(1, N, 1.0)[i];
        for (int k = 0; k < times; k++)
            expected += 0.5f * (float)data(2, N, 1.0)[i];
        cr_expect(epsilon_eq(dbl, x[i], (double)expected, 1e-6), "element %d after %d", i, times);
    }
}

Test(record_cuda, the_third_time_is_a_repetition)
{
    struct rig rig;
    struct walk w = open_walk(&rig);
    for (int i = 1; i <= 5; i++) {
        rig_ok(&rig, walk_once(&w, 1), "walk");
        cr_expect(eq(int, w.calls, i < 2 ? i : 2), "%d calls after %d", w.calls, i);
        check_added(&w, i);
    }
    rig_close(&rig);
    data_free();
}

Test(record_cuda, another_key_is_another_walk)
{
    struct rig rig;
    struct walk w = open_walk(&rig);
    for (int i = 0; i < 100; i++) /* more keys than are kept */
        rig_ok(&rig, walk_once(&w, i), "walk");
    for (int i = 0; i < 3; i++)
        rig_ok(&rig, walk_once(&w, 99), "walk");
    cr_expect(eq(int, w.calls, 101));
    check_added(&w, 103);
    rig_close(&rig);
    data_free();
}

Test(record_cuda, scratch_that_moves_makes_it_forget)
{
    struct rig rig;
    struct walk w = open_walk(&rig);
    void *p;
    w.scratch = 1000;
    for (int i = 0; i < 3; i++)
        rig_ok(&rig, walk_once(&w, 1), "walk");
    cr_expect(eq(int, w.calls, 2));
    rig_ok(&rig, cuda_scratch(rig.stream, CUDA_SCRATCH_OPERATION, 1 << 20, &p, &rig.error), "scratch");
    rig_ok(&rig, walk_once(&w, 1), "walk");
    cr_expect(eq(int, w.calls, 3), "not repeated with an old address");
    check_added(&w, 4);
    rig_close(&rig);
    data_free();
}

/* Scratch that would have to grow while recording: the walk is done plainly, then and ever after. */
Test(record_cuda, what_cannot_be_recorded_is_done_plainly)
{
    struct rig rig;
    struct walk w = open_walk(&rig);
    rig_ok(&rig, walk_once(&w, 1), "walk");
    w.scratch = 1 << 20;
    rig_ok(&rig, walk_once(&w, 1), "walk");
    cr_expect(eq(int, w.calls, 3), "once refused, once plainly");
    check_added(&w, 2);
    rig_ok(&rig, walk_once(&w, 1), "walk");
    check_added(&w, 3);
    rig_close(&rig);
    data_free();
}

Test(record_cuda, a_walk_that_fails_is_not_hidden)
{
    struct rig rig;
    struct walk w = open_walk(&rig);
    w.fails_at = 1, w.at = JSC_E_CANCELLED;
    cr_expect(eq(int, walk_once(&w, 1), JSC_E_CANCELLED));
    rig_ok(&rig, walk_once(&w, 1), "plain after a failure");
    w.fails_at = 4; /* the third call records; it fails, so the walk is called plainly, which fails again or not by itself */
    rig_ok(&rig, walk_once(&w, 1), "recorded");
    rig_ok(&rig, walk_once(&w, 1), "repeated");
    cr_expect(eq(int, w.calls, 3));
    check_added(&w, 3);
    rig_close(&rig);
    data_free();
}
#endif
