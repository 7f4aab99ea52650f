/* golden.h: values of tests/golden against results: reading, and the one rule by which rows are compared. */
#ifndef JSC_TEST_GOLDEN_H
#define JSC_TEST_GOLDEN_H

#include <jscopes/jscopes.h>

#include <jansson.h>
#include <stdbool.h>

/* The JSON file at path; the test fails with the parser's words if it cannot be read. Caller: json_decref. */
json_t *golden_load(const char *path);

/* Row by the rule of the project: an entry above 1e-3 of the row's largest within tolerance relative, a smaller one within tolerance * 1e-3
 * of the largest; entries of got beyond want are exactly 0; NaN fails. Counts and prints what is wrong, first entry of the row only.
 * Returns the largest error in units of the tolerance (0..1 is a pass). */
double golden_row(const char *what, const json_t *want, const double *got, size_t n, double tolerance);

/* Rows of want against got [n_rows][n]. */
double golden_rows(const char *what, const json_t *want, const double *got, size_t n_rows, size_t n, double tolerance);

/* |got - want| <= tolerance, NaN fails. */
double golden_number(const char *what, double want, double got, double tolerance);

/* Predictions: ids in order, probabilities within tolerance. Near ties (closer than tolerance) may change places. */
void golden_predictions(const char *what, const json_t *want, const jsc_attribution *got, double tolerance);

/* Opens path on device in strict arithmetic; the test fails with the error's text. */
jsc_model *golden_open(const char *path, const char *device);
/* In precision fast, emulated; the test fails if that is not what is in effect. */
jsc_model *golden_open_fast(const char *path);

/* What precision fast may cost (docs/precision.md): the noise of bfloat16 is random, so its mean square is held tightly and its largest value
 * loosely. Fisher's scores are squares and may be wrong by twice as much. */
#define FAST_LARGEST 0.04
#define FAST_MEAN    0.006

/* Relative errors of entries above 1e-3 of the largest of their row (smaller ones: relative to that). Begins as zeros. */
struct golden_spread {
    double largest, squares, n;
};
void golden_spread_row(struct golden_spread *spread, const double *want, const double *got, size_t n);
/* Within what fast may cost; squared: the values are squares. Prints the figures. */
void golden_spread_check(const char *what, const struct golden_spread *spread, bool squared);
/* The ten largest of want in the same order in got; those closer than tolerance may change places. */
void golden_order(const char *what, const double *want, const double *got, size_t n, double tolerance);

/* jsc_attribute; the test fails with the error's text. */
jsc_attribution *golden_attribute(const char *what, const jsc_model *model, const jsc_request *request);

/* Field of an object as a double, size or array of ids; absent: fallback or n = 0. */
double golden_double(const json_t *object, const char *key, double fallback);
size_t golden_ids(const json_t *object, const char *key, int32_t *out, size_t capacity);

#endif
