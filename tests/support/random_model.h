/* random_model.h: llama models of any size with random weights, for properties that need no golden value. */
#ifndef JSC_TEST_RANDOM_MODEL_H
#define JSC_TEST_RANDOM_MODEL_H

#include <jscopes/jscopes.h>

struct random_sizes {
    int d, f, H, K, h, L, V;
    double head; /* scale of the output head: larger makes predictions more peaked */
    uint64_t seed;
    int positions; /* 0: 64 */
};
/* Opened on device in strict arithmetic with one thread; the test fails if it cannot be. */
jsc_model *random_model(const struct random_sizes *sizes, const char *device);
/* The same in any precision; the status of opening it. */
jsc_status random_model_open(const struct random_sizes *sizes, const char *device, jsc_precision precision, jsc_model **out, jsc_error *error);

/* The tiny one of most tests: d 18, 3 blocks, 2 groups of 2 heads, V 40. */
extern const struct random_sizes tiny_sizes;
/* Wide enough for an adaptive Fisher estimate to pay: one cheap block, d 400, V 900. */
extern const struct random_sizes wide_sizes;

/* jsc_attribute that must succeed. */
jsc_attribution *answer(const jsc_model *model, const jsc_request *request);
/* jsc_attribute that must fail with this status, one line that holds word, and *out untouched. */
void refused(const jsc_model *model, const jsc_request *request, jsc_status status, const char *word);
/* Scores, layer map and matrix of the one within tolerance of the other's, relative to the largest of each; both have the same parts. */
void answers_agree(const char *what, const jsc_attribution *got, const jsc_attribution *want, double tolerance);
/* The request for ids 0..n-1 shuffled, under a scope. */
jsc_request ask(jsc_scope scope, size_t n);
#endif
