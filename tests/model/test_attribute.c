/* test_attribute.c: the request's rules, the answer's shape, causality, chunks, threads, cancellation, memory (cases 27 to 40). */
#include "base_internal.h"
#include "support/random_model.h"

#include <criterion/criterion.h>

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { V = 40, D = 18, L = 3 };

static double relative(double got, double want)
{
    return fabs(got - want) / fmax(fabs(want), 1e-9);
}

/* A request for every scope, on the same prompt. */
static jsc_request request_of(jsc_scope scope, size_t n)
{
    static double direction[D];
    jsc_request r = ask(scope, n);
    for (int i = 0; i < D; i++)
        direction[i] = 0.1 * (i - 7);
    if (scope == JSC_SCOPE_DIRECTION)
        r.directions = direction, r.n_directions = 1;
    r.path_steps = 7;
    return r;
}

Test(attribute, case_34_the_position_counts_as_python_does_and_later_tokens_score_zero)
{
    jsc_model *model = random_model(&tiny_sizes, "ref");
    for (int scope = 0; scope < JSC_SCOPE_COUNT; scope++) {
        jsc_request r = request_of((jsc_scope)scope, 6);
        r.layers = 1;
        r.position = 3;
        jsc_attribution *a = answer(model, &r);
        r.position = -3;
        jsc_attribution *b = answer(model, &r);
        r.n_ids = 4, r.position = -1;
        jsc_attribution *alone = answer(model, &r);
        cr_expect(a->position == 3 && b->position == 3 && alone->position == 3);
        cr_expect(a->n_tokens == 6 && a->tokens[5].id == r.ids[5], "all tokens are listed");
        for (size_t t = 0; t < 6; t++) {
            cr_expect(a->scores[t] == b->scores[t], "%s: position 3 and -3 differ", jsc_scope_name((jsc_scope)scope));
            cr_expect(t > 3 ? a->scores[t] == 0.0 : a->scores[t] > 0.0, "%s, token %zu: %g", jsc_scope_name((jsc_scope)scope), t,
                      a->scores[t]);
            if (t <= 3)
                cr_expect(relative(a->scores[t], alone->scores[t]) <= 1e-12, "%s: tokens after the target matter",
                          jsc_scope_name((jsc_scope)scope));
            for (int l = 0; l < L; l++)
                cr_expect(t <= 3 ? a->layers[(size_t)l * 6 + t] > 0.0 : a->layers[(size_t)l * 6 + t] == 0.0, "%s, block %d, token %zu",
                          jsc_scope_name((jsc_scope)scope), l, t);
            cr_expect(a->layers[t] == a->scores[t], "row 0 of the layers is the scores");
        }
        jsc_attribution_free(a), jsc_attribution_free(b), jsc_attribution_free(alone);
    }
    jsc_model_close(model);
}

Test(attribute, case_34_a_prompt_of_one_token_works)
{
    jsc_model *model = random_model(&tiny_sizes, "ref");
    for (int scope = 0; scope < JSC_SCOPE_COUNT; scope++) {
        jsc_request r = request_of((jsc_scope)scope, 1);
        r.layers = 1, r.matrix = scope != JSC_SCOPE_PATH && scope != JSC_SCOPE_INPUT_X_GRADIENT;
        jsc_attribution *a = answer(model, &r);
        cr_expect(a->scores[0] > 0.0, "%s: %g", jsc_scope_name((jsc_scope)scope), a->scores[0]);
        if (r.matrix)
            cr_expect(a->matrix[0] == a->scores[0]);
        jsc_attribution_free(a);
    }
    jsc_model_close(model);
}

Test(attribute, case_35_any_token_can_be_explained_at_any_probability)
{
    jsc_model *model = random_model(&tiny_sizes, "ref");
    jsc_request r = ask(JSC_SCOPE_SEMANTIC, 5);
    int32_t targets[V];
    for (int v = 0; v < V; v++)
        targets[v] = v;
    r.targets = targets, r.n_targets = V;
    r.top_predictions = 1000;
    jsc_attribution *a = answer(model, &r);
    double total = 0.0;
    cr_assert(a->n_targets == V && a->n_scores == V && a->n_predictions == V);
    for (int v = 0; v < V; v++) {
        cr_expect(a->targets[v].id == v && a->targets[v].probability > 0.0);
        total += a->targets[v].probability;
        r.targets = &targets[v], r.n_targets = 1;
        jsc_attribution *one = answer(model, &r);
        for (size_t t = 0; t < 5; t++)
            cr_expect(relative(a->scores[(size_t)v * 5 + t], one->scores[t]) <= 1e-12, "target %d, token %zu: together and alone", v, t);
        jsc_attribution_free(one);
    }
    cr_expect(relative(total, 1.0) <= 1e-12, "probabilities sum to %.15g", total);
    for (size_t i = 1; i < a->n_predictions; i++)
        cr_expect(a->predictions[i].probability <= a->predictions[i - 1].probability, "predictions fall");
    r.targets = NULL, r.n_targets = 0;
    jsc_attribution *own = answer(model, &r);
    cr_expect(own->n_targets == 1 && own->targets[0].id == a->predictions[0].id, "without a target the most likely token is explained");
    jsc_attribution_free(a), jsc_attribution_free(own);
    jsc_model_close(model);
}

Test(attribute, case_27_ids_outside_the_rows_are_refused)
{
    jsc_model *model = random_model(&tiny_sizes, "ref");
    const int32_t high[3] = {1, 2, V}, low[2] = {-1, 0}, target = V;
    jsc_request r = ask(JSC_SCOPE_SEMANTIC, 3);
    r.ids = high;
    refused(model, &r, JSC_E_ARGUMENT, "token 2 of the prompt has id 40; this model's ids are 0 to 39");
    r.ids = low, r.n_ids = 2;
    refused(model, &r, JSC_E_ARGUMENT, "id -1");
    r = ask(JSC_SCOPE_SEMANTIC, 3);
    r.targets = &target, r.n_targets = 1;
    refused(model, &r, JSC_E_ARGUMENT, "target 0 has id 40");
    jsc_model_close(model);
}

Test(attribute, case_38_the_empty_prompt_is_refused)
{
    jsc_model *model = random_model(&tiny_sizes, "ref");
    jsc_request r = ask(JSC_SCOPE_FISHER, 0);
    refused(model, &r, JSC_E_ARGUMENT, "no token");
    jsc_model_close(model);
}

Test(attribute, case_39_more_tokens_than_the_model_was_made_for_give_a_warning)
{
    const struct random_sizes small = {12, 8, 2, 1, 6, 1, 40, 0.5, 3}; /* max_position_embeddings 64 */
    jsc_model *model = random_model(&small, "ref");
    jsc_request r = ask(JSC_SCOPE_TEMPERATURE, 64);
    int32_t ids[70] = {0};
    jsc_attribution *a = answer(model, &r);
    cr_expect(a->n_warnings == 0);
    jsc_attribution_free(a);
    r.ids = ids, r.n_ids = 70;
    a = answer(model, &r);
    cr_assert(a->n_warnings == 1);
    cr_expect(strstr(a->warnings[0], "70 tokens") != NULL && strstr(a->warnings[0], "64") != NULL, "%s", a->warnings[0]);
    jsc_attribution_free(a);
    jsc_model_close(model);
}

Test(attribute, options_outside_their_range_are_refused)
{
    jsc_model *model = random_model(&tiny_sizes, "ref");
    jsc_request good = ask(JSC_SCOPE_SEMANTIC, 4), r;
    double direction[D] = {0};
    const int32_t pair[4] = {5, 5, 1, 2};
    r = good, r.position = 4, refused(model, &r, JSC_E_ARGUMENT, "position 4 is outside the prompt of 4 tokens (-4 to 3)");
    r = good, r.position = -5, refused(model, &r, JSC_E_ARGUMENT, "position -5");
    r = good, r.size = 4, refused(model, &r, JSC_E_ARGUMENT, "JSC_REQUEST_INIT");
    r = good, r.ids = NULL, refused(model, &r, JSC_E_ARGUMENT, "ids is NULL");
    r = good, r.scope = (jsc_scope)17, refused(model, &r, JSC_E_ARGUMENT, "scope 17");
    r = good, r.objective = (jsc_objective)9, refused(model, &r, JSC_E_ARGUMENT, "objective 9");
    r = good, r.objective = JSC_OBJECTIVE_CONTRAST, refused(model, &r, JSC_E_ARGUMENT, "needs two");
    r.targets = pair, r.n_targets = 1, refused(model, &r, JSC_E_ARGUMENT, "contrast of token 5 with itself");
    r.targets = pair + 2, r.matrix = 1, refused(model, &r, JSC_E_ARGUMENT, "contrast");
    r = good, r.targets = pair, r.n_targets = 4, r.matrix = 1, refused(model, &r, JSC_E_ARGUMENT, "one target");
    r = good, r.targets = pair, refused(model, &r, JSC_E_ARGUMENT, "contradict");
    r = good, r.directions = direction, r.n_directions = 1, refused(model, &r, JSC_E_ARGUMENT, "directions are for");
    r = good, r.chunk = -1, refused(model, &r, JSC_E_ARGUMENT, "chunk -1");
    r = good, r.top_predictions = -1, refused(model, &r, JSC_E_ARGUMENT, "predictions");
    r = good, r.scope = JSC_SCOPE_TEMPERATURE, r.targets = pair, r.n_targets = 1, refused(model, &r, JSC_E_ARGUMENT, "neither targets");
    r = good, r.scope = JSC_SCOPE_PATH, r.targets = pair, r.n_targets = 2, refused(model, &r, JSC_E_ARGUMENT, "one target at a time");
    r = good, r.scope = JSC_SCOPE_PATH, r.matrix = 1, refused(model, &r, JSC_E_ARGUMENT, "no position x token matrix");
    r = good, r.scope = JSC_SCOPE_PATH, r.path_steps = 0, refused(model, &r, JSC_E_ARGUMENT, "0 path steps");
    r = good, r.scope = JSC_SCOPE_PATH, r.path_rule = (jsc_path_rule)5, refused(model, &r, JSC_E_ARGUMENT, "path rule 5");
    r = good, r.scope = JSC_SCOPE_PATH, r.baseline = JSC_BASELINE_ID, r.baseline_id = V,
    refused(model, &r, JSC_E_ARGUMENT, "baseline id 40");
    r = good, r.scope = JSC_SCOPE_DIRECTION, refused(model, &r, JSC_E_ARGUMENT, "needs directions");
    r.directions = direction, r.n_directions = 1, direction[3] = NAN, refused(model, &r, JSC_E_ARGUMENT, "component 3");
    r = good, r.scope = JSC_SCOPE_FISHER, r.fisher_mode = JSC_FISHER_RANK, refused(model, &r, JSC_E_ARGUMENT, "rank 0");
    r.fisher_rank = D + 1, refused(model, &r, JSC_E_ARGUMENT, "rank 19");
    r = good, r.scope = JSC_SCOPE_FISHER, r.fisher_rtol = NAN, refused(model, &r, JSC_E_ARGUMENT, "standard error");
    jsc_error error;
    cr_expect(jsc_attribute(model, &good, NULL, &error) == JSC_E_ARGUMENT);
    cr_expect(jsc_attribute(NULL, &good, NULL, NULL) == JSC_E_ARGUMENT, "no error object is needed");
    refused(NULL, &good, JSC_E_ARGUMENT, "model");
    jsc_model_close(model);
}

Test(attribute, scopes_have_names)
{
    jsc_scope scope = JSC_SCOPE_COUNT;
    jsc_error error = {0};
    for (int i = 0; i < JSC_SCOPE_COUNT; i++) {
        cr_expect(jsc_scope_find(jsc_scope_name((jsc_scope)i), &scope, &error) == JSC_OK && (int)scope == i);
    }
    cr_expect(jsc_scope_name(JSC_SCOPE_COUNT) == NULL && jsc_scope_name((jsc_scope)-1) == NULL);
    cr_expect(jsc_scope_find("fischer", &scope, &error) == JSC_E_ARGUMENT);
    cr_expect(strstr(error.text, "semantic, temperature, fisher, path, input-x-gradient, direction") != NULL, "%s", error.text);
}

/* Case 30, for the exact and several-target scopes: any chunk, any memory limit. */
Test(attribute, case_30_chunks_do_not_change_scores)
{
    jsc_model *model = random_model(&tiny_sizes, "cpu");
    for (int scope = 0; scope < JSC_SCOPE_COUNT; scope++) {
        jsc_request r = request_of((jsc_scope)scope, 7);
        r.layers = 1, r.fisher_mode = JSC_FISHER_EXACT;
        jsc_attribution *whole = answer(model, &r);
        for (int chunk = 1; chunk < 18; chunk = 2 * chunk + 1) {
            r.chunk = chunk;
            jsc_attribution *part = answer(model, &r);
            cr_expect(part->chunk <= chunk);
            for (size_t i = 0; i < 7 * L; i++)
                cr_expect(relative(part->layers[i], whole->layers[i]) <= 1e-6, "%s in chunks of %d: %.9g, %.9g",
                          jsc_scope_name((jsc_scope)scope), chunk, part->layers[i], whole->layers[i]);
            jsc_attribution_free(part);
        }
        jsc_attribution_free(whole);
    }
    jsc_model_close(model);
}

/* Case 40: what does not fit is refused with need and limit; what the plan says is never exceeded by more than the answer itself. */
Test(attribute, case_40_memory_is_planned_and_refused)
{
    jsc_model *model = random_model(&tiny_sizes, "ref");
    for (int scope = 0; scope < JSC_SCOPE_COUNT; scope++) {
        jsc_request r = request_of((jsc_scope)scope, 20);
        jsc_plan plan = JSC_PLAN_INIT;
        jsc_error error = {0};
        cr_assert(jsc_plan_make(model, &r, &plan, &error) == JSC_OK, "%s", error.text);
        cr_expect(plan.n_tokens == 20 && plan.peak_bytes > 0 && plan.peak_bytes <= plan.limit_bytes);
        r.memory_limit = 1000;
        refused(model, &r, JSC_E_MEMORY, "the limit is 1000");
        r.memory_limit = plan.peak_bytes;
        jsc_attribution *a = answer(model, &r);
        cr_expect(a->bytes_peak <= plan.peak_bytes);
        r.memory_limit = plan.peak_bytes / 2; /* smaller chunks, or refused: never more */
        jsc_attribution *small = NULL;
        const jsc_status status = jsc_attribute(model, &r, &small, &error);
        cr_expect(status == JSC_OK || status == JSC_E_MEMORY);
        if (status == JSC_OK)
            cr_expect(small->bytes_peak <= r.memory_limit && relative(small->scores[0], a->scores[0]) <= 1e-9);
        jsc_attribution_free(small);
        jsc_attribution_free(a);
    }
    jsc_model_close(model);
}

Test(attribute, plans_need_no_ids_and_print_themselves)
{
    jsc_model *model = random_model(&tiny_sizes, "ref");
    jsc_request r = ask(JSC_SCOPE_FISHER, 11);
    jsc_plan plan = JSC_PLAN_INIT;
    jsc_error error = {0};
    char text[1500], small[20];
    r.ids = NULL, r.fisher_mode = JSC_FISHER_EXACT, r.layers = 1, r.chunk = 5;
    cr_assert(jsc_plan_make(model, &r, &plan, &error) == JSC_OK, "%s", error.text);
    cr_expect(plan.right_hand_sides == D && plan.chunk == 5 && plan.chunks == 4 && plan.levels == L);
    const size_t n = jsc_plan_print(&plan, text, sizeof text);
    cr_expect(n == strlen(text) && strstr(text, "18 in 4 chunks of 5") != NULL && strstr(text, "11 computed") != NULL, "%s", text);
    cr_expect(jsc_plan_print(&plan, small, sizeof small) == n && strlen(small) == sizeof small - 1 && strncmp(small, text, 19) == 0);
    cr_expect(jsc_plan_print(&plan, NULL, 0) == n);
    plan.size = 1;
    cr_expect(jsc_plan_make(model, &r, &plan, &error) == JSC_E_ARGUMENT && plan.n_tokens == 11, "an unknown struct is left alone");
    jsc_model_close(model);
}

static int stop_after(void *user, const char *stage, double done, double total)
{
    int *left = user;
    cr_expect(strcmp(stage, "forward") == 0 || strcmp(stage, "backward") == 0);
    cr_expect(done <= total * (1 + 1e-12), "%g of %g done", done, total);
    return (*left)-- <= 0;
}

Test(attribute, progress_can_cancel_at_any_call)
{
    jsc_model *model = random_model(&tiny_sizes, "ref");
    const size_t before = mem_live_bytes();
    for (int scope = 0; scope < JSC_SCOPE_COUNT; scope++) {
        jsc_request r = request_of((jsc_scope)scope, 5);
        int left, calls = 0;
        r.chunk = 2, r.progress = stop_after, r.progress_user = &left;
        for (;; calls++) {
            jsc_attribution *a = NULL;
            jsc_error error = {0};
            left = calls;
            const jsc_status status = jsc_attribute(model, &r, &a, &error);
            jsc_attribution_free(a);
            cr_expect(mem_live_bytes() == before, "%s, call %d: bytes stay", jsc_scope_name((jsc_scope)scope), calls);
            if (status == JSC_OK)
                break;
            cr_assert(status == JSC_E_CANCELLED && a == NULL, "%s", error.text);
        }
        cr_expect(calls >= 2, "%s: %d calls", jsc_scope_name((jsc_scope)scope), calls);
    }
    jsc_model_close(model);
}

Test(attribute, every_allocation_may_fail, .timeout = 120)
{
    jsc_model *model = random_model(&tiny_sizes, "ref");
    const size_t before = mem_live_bytes();
    for (int scope = 0; scope < JSC_SCOPE_COUNT; scope++) {
        jsc_request r = request_of((jsc_scope)scope, 3);
        r.layers = 1, r.chunk = 9, r.path_steps = 2, r.top_predictions = 2;
        r.matrix = scope != JSC_SCOPE_PATH && scope != JSC_SCOPE_INPUT_X_GRADIENT;
        jsc_status status = JSC_E_MEMORY;
        for (long k = 1; status != JSC_OK && k < 2000; k++) {
            jsc_attribution *a = NULL;
            jsc_error error = {0};
            mem_fail_at(k, false);
            status = jsc_attribute(model, &r, &a, &error);
            cr_expect(status == JSC_OK || (status == JSC_E_MEMORY && a == NULL), "%s, allocation %ld: %s: %s",
                      jsc_scope_name((jsc_scope)scope), k, jsc_status_name(status), error.text);
            jsc_attribution_free(a);
            cr_expect(mem_live_bytes() == before, "%s, allocation %ld: bytes stay", jsc_scope_name((jsc_scope)scope), k);
        }
        mem_fail_at(0, false);
        cr_expect(status == JSC_OK);
    }
    jsc_model_close(model);
}

struct worker {
    const jsc_model *model;
    jsc_attribution *a;
};

static void *work(void *user)
{
    struct worker *w = user;
    jsc_request r = ask(JSC_SCOPE_FISHER, 9);
    w->a = answer(w->model, &r);
    return NULL;
}

/* Case 31: a second run, and runs beside each other, give the same bits. */
Test(attribute, case_31_runs_and_threads_give_the_same_bits)
{
    jsc_model *model = random_model(&tiny_sizes, "cpu");
    struct worker workers[4] = {{0}};
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        workers[i].model = model;
        cr_assert(pthread_create(&threads[i], NULL, work, &workers[i]) == 0);
    }
    for (int i = 0; i < 4; i++)
        cr_assert(pthread_join(threads[i], NULL) == 0);
    for (int i = 0; i < 4; i++) {
        cr_expect(memcmp(workers[i].a->scores, workers[0].a->scores, 9 * sizeof(double)) == 0, "thread %d", i);
    }
    for (int i = 0; i < 4; i++)
        jsc_attribution_free(workers[i].a);
    jsc_model_close(model);
}

/* Case 28: what overflows is an error that names the place; no NaN comes out. */
Test(attribute, case_28_overflow_is_an_error_that_names_its_place)
{
    struct random_sizes loud = tiny_sizes;
    loud.head = 8e37;
    jsc_model *model = random_model(&loud, "cpu");
    jsc_request r = ask(JSC_SCOPE_SEMANTIC, 4);
    refused(model, &r, JSC_E_NUMERIC, "logit of token");
    jsc_model_close(model);
    for (int device = 0; device < 2; device++) {
        double direction[D] = {0};
        model = random_model(&tiny_sizes, device == 0 ? "ref" : "cpu");
        r = ask(JSC_SCOPE_DIRECTION, 4);
        r.directions = direction, r.n_directions = 1;
        direction[0] = 1e200; /* its square is too large for a double, itself for a float */
        refused(model, &r, JSC_E_NUMERIC, "backward pass");
        jsc_model_close(model);
    }
}

Test(attribute, cpu_agrees_with_ref)
{
    jsc_model *ref = random_model(&tiny_sizes, "ref"), *cpu = random_model(&tiny_sizes, "cpu");
    for (int scope = 0; scope < JSC_SCOPE_COUNT; scope++) {
        jsc_request r = request_of((jsc_scope)scope, 8);
        r.layers = 1;
        jsc_attribution *a = answer(ref, &r), *b = answer(cpu, &r);
        for (size_t i = 0; i < 8 * L; i++)
            cr_expect(relative(b->layers[i], a->layers[i]) <= 1e-4, "%s: %.9g, %.9g", jsc_scope_name((jsc_scope)scope), b->layers[i],
                      a->layers[i]);
        jsc_attribution_free(a), jsc_attribution_free(b);
    }
    jsc_model_close(ref), jsc_model_close(cpu);
}
