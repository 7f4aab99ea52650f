/* test_group.c: one request shared by several members gives the scores of one, and a failure of any ends all. The members are one model
 * on the CPU or ref, asked by several threads: the same code that shares out over GPUs. */
#include "base_internal.h"
#include "support/questions.h"
#include "support/random_model.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { T = QUESTION_TOKENS, MOST = 7 };

static jsc_group *group_of(const jsc_model *model, int n)
{
    const jsc_model *models[MOST];
    jsc_group *group = NULL;
    jsc_error error = {0};
    for (int i = 0; i < n; i++)
        models[i] = model;
    cr_assert(jsc_group_make(models, n, &group, &error) == JSC_OK, "%s", error.text);
    cr_assert(jsc_group_size(group) == n && jsc_group_model(group, n - 1) == model && jsc_group_model(group, n) == NULL);
    return group;
}

/* Any number of members, also more than right-hand sides; chunks of any size. */
static void check_members(const char *device, double tolerance)
{
    jsc_model *model = random_model(&tiny_sizes, device);
    jsc_error error = {0};
    for (int q = 0; q < n_questions; q++) {
        jsc_request r = question_request(&questions[q]);
        jsc_attribution *want = answer(model, &r);
        for (int n = 1; n <= MOST; n++)
            for (int chunk = 0; chunk <= 4; chunk += 2) {
                jsc_group *group = group_of(model, n);
                jsc_attribution *got = NULL, *again = NULL;
                char what[96];
                r.chunk = chunk;
                snprintf(what, sizeof what, "%s: %s, %d members, chunks of %d", device, questions[q].name, n, chunk);
                cr_assert(jsc_group_attribute(group, &r, &got, &error) == JSC_OK, "%s: %s", what, error.text);
                answers_agree(what, got, want, tolerance);
                cr_assert(jsc_group_attribute(group, &r, &again, &error) == JSC_OK);
                cr_expect(memcmp(got->scores, again->scores, got->n_scores * got->n_tokens * sizeof(double)) == 0, "%s: other bits", what);
                jsc_attribution_free(got), jsc_attribution_free(again);
                jsc_group_close(group);
            }
        jsc_attribution_free(want);
    }
    jsc_model_close(model);
}

Test(group, case_54_any_number_of_members_gives_the_scores_of_one, .timeout = 300)
{
    check_members("ref", 1e-13);
    check_members("cpu", 1e-6);
}

static int stop(void *user, const char *stage, double done, double total)
{
    int *calls = user;
    (void)stage, (void)total;
    return done > 0.0 && ++*calls > 1;
}

Test(group, progress_is_the_firsts_and_stops_all)
{
    jsc_model *model = random_model(&tiny_sizes, "ref");
    jsc_group *group = group_of(model, 3);
    jsc_attribution *a = NULL;
    jsc_error error = {0};
    int calls = 0;
    jsc_request r = ask(JSC_SCOPE_FISHER, T);
    r.fisher_mode = JSC_FISHER_EXACT, r.chunk = 1, r.progress = stop, r.progress_user = &calls;
    cr_expect(eq(int, (int)jsc_group_attribute(group, &r, &a, &error), JSC_E_CANCELLED));
    cr_expect(strncmp(error.text, "rank 0: ", 8) == 0 && a == NULL, "%s", error.text);
    jsc_group_close(group), jsc_model_close(model);
}

Test(group, case_53_members_that_differ_are_told_apart)
{
    struct random_sizes other = tiny_sizes;
    jsc_error error = {0};
    jsc_group *group = NULL;
    jsc_attribution *a = NULL;
    const jsc_request r = ask(JSC_SCOPE_TEMPERATURE, T);
    other.f = 28;
    jsc_model *models[3] = {random_model(&tiny_sizes, "ref"), random_model(&other, "ref"), random_model(&tiny_sizes, "cpu")};
    for (int i = 1; i < 3; i++) {
        const jsc_model *pair[2] = {models[0], models[i]};
        cr_assert(jsc_group_make(pair, 2, &group, &error) == JSC_OK);
        cr_expect(eq(int, (int)jsc_group_attribute(group, &r, &a, &error), JSC_E_ARGUMENT));
        cr_expect(strstr(error.text, i == 1 ? "one model is wanted" : "ranks of one kind are wanted") != NULL && a == NULL, "%s",
                  error.text);
        jsc_group_close(group);
    }
    for (int i = 0; i < 3; i++)
        jsc_model_close(models[i]);
}

Test(group, bad_requests_and_lists_are_refused)
{
    jsc_model *model = random_model(&tiny_sizes, "ref");
    jsc_group *group = group_of(model, 2), *none = NULL;
    jsc_error error = {0};
    jsc_attribution *a = NULL;
    jsc_request r = ask(JSC_SCOPE_SEMANTIC, T);
    static const char *const lists[] = {"cuda",       "cuda:",      "cuda:0,", "cuda:0,0", "cuda:-1",    "cuda:0;1",  "cpu",
                                        "cuda:all,1", "cuda:99999", "cuda:0+", "cuda:+1",  "cuda:0+1,1", "cuda:0++1", "cuda:0,,1"};
    r.position = 99;
    cr_expect(eq(int, (int)jsc_group_attribute(group, &r, &a, &error), JSC_E_ARGUMENT));
    cr_expect(strstr(error.text, "position 99 is outside") != NULL && a == NULL, "%s", error.text);
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        cr_expect(eq(int, (int)jsc_group_open("x", lists[i], NULL, &none, &error), JSC_E_ARGUMENT), "%s", lists[i]);
        cr_expect(strstr(error.text, lists[i]) != NULL && none == NULL, "%s", error.text);
    }
    const jsc_model *models[2] = {model, NULL};
    cr_expect(eq(int, (int)jsc_group_make(models, 2, &none, &error), JSC_E_ARGUMENT));
    cr_expect(eq(int, (int)jsc_group_make(models, 0, &none, &error), JSC_E_ARGUMENT));
    jsc_group_close(NULL);
    jsc_group_close(group), jsc_model_close(model);
}

struct answers {
    jsc_attribution *a[40];
    int calls, failures, stop_after;
};

static int take_answer(void *user, size_t i, jsc_attribution *attribution, const jsc_error *error)
{
    struct answers *all = user;
    cr_expect(i < 40 && all->a[i] == NULL && (attribution == NULL) == (error != NULL));
    all->a[i] = attribution;
    all->failures += error != NULL && strstr(error->text, "position 99 is outside") != NULL;
    return ++all->calls == all->stop_after;
}

/* Every request once, by whichever member; the one that is wrong fails alone. */
Test(group, many_requests_are_dealt_out)
{
    enum { N = 40, WRONG = 17 };
    jsc_model *model = random_model(&tiny_sizes, "ref");
    jsc_request requests[N];
    jsc_error error = {0};
    for (int i = 0; i < N; i++) {
        requests[i] = ask(i % 2 ? JSC_SCOPE_TEMPERATURE : JSC_SCOPE_SEMANTIC, (size_t)(1 + i % T));
        requests[i].position = i == WRONG ? 99 : -1;
    }
    for (int n = 1; n <= MOST; n += 3) {
        jsc_group *group = group_of(model, n);
        struct answers all = {.stop_after = -1};
        cr_assert(jsc_group_attribute_each(group, requests, N, take_answer, &all, &error) == JSC_OK, "%s", error.text);
        cr_expect(all.calls == N && all.failures == 1 && all.a[WRONG] == NULL, "%d answers, %d failures", all.calls, all.failures);
        for (int i = 0; i < N; i++) {
            if (i == WRONG)
                continue;
            jsc_attribution *want = answer(model, &requests[i]);
            cr_assert(all.a[i] != NULL);
            answers_agree("dealt out", all.a[i], want, 0.0);
            jsc_attribution_free(want), jsc_attribution_free(all.a[i]);
        }
        struct answers few = {.stop_after = 5};
        cr_expect(eq(int, (int)jsc_group_attribute_each(group, requests, N, take_answer, &few, &error), JSC_E_CANCELLED));
        cr_expect(few.calls == 5 && strstr(error.text, "of 40 requests") != NULL, "%d: %s", few.calls, error.text);
        for (int i = 0; i < N; i++)
            jsc_attribution_free(few.a[i]);
        cr_expect(jsc_group_attribute_each(group, NULL, 0, take_answer, &few, &error) == JSC_OK && few.calls == 5);
        jsc_group_close(group);
    }
    jsc_model_close(model);
}

/* Whichever member's allocation fails, all end, with one line, and nothing is lost. */
Test(group, every_allocation_may_fail, .timeout = 300)
{
    jsc_model *model = random_model(&tiny_sizes, "ref");
    jsc_group *group = group_of(model, 3);
    const jsc_request r = question_request(&questions[3]);
    const size_t before = mem_live_bytes();
    for (long k = 1;; k++) {
        jsc_error error = {0};
        jsc_attribution *a = NULL;
        mem_fail_at(k, false);
        const jsc_status status = jsc_group_attribute(group, &r, &a, &error);
        mem_fail_at(0, false);
        jsc_attribution_free(a);
        cr_assert(mem_live_bytes() == before, "allocation %ld leaks", k);
        if (status == JSC_OK)
            break;
        cr_assert(status == JSC_E_MEMORY && k < 1000, "allocation %ld: %s", k, error.text);
    }
    jsc_group_close(group), jsc_model_close(model);
}
