/* golden.c: reads tests/golden and compares results with it. */
#include "golden.h"

#include "base_internal.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

json_t *golden_load(const char *path)
{
    json_error_t error;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    cr_assert(root, "%s: line %d: %s", path, error.line, error.text);
    return root;
}

double golden_row(const char *what, const json_t *want, const double *got, size_t n, double tolerance)
{
    size_t given = json_array_size(want);
    cr_assert(got, "%s: absent in the result", what);
    cr_assert(given >= 1 && given <= n, "%s: %zu values wanted, %zu there", what, given, n);
    double largest = 0, worst = 0;
    for (size_t i = 0; i < given; i++)
        largest = fmax(largest, fabs(json_number_value(json_array_get(want, i))));
    bool said = false;
    for (size_t i = 0; i < n; i++) {
        double w = i < given ? json_number_value(json_array_get(want, i)) : 0.0;
        double allowed = i < given ? tolerance * fmax(fabs(w), 1e-3 * largest) : 0.0;
        double error = fabs(got[i] - w);
        bool right = error <= allowed; /* false for NaN */
        if (!right && !said) {
            said = true;
            cr_expect(right, "%s: entry %zu is %.12g, want %.12g (error %.2e of %.2e allowed; largest of the row %.4g)", what, i, got[i], w,
                      error, allowed, largest);
        }
        worst = fmax(worst, right ? (allowed > 0 ? error / allowed : 0.0) : INFINITY);
    }
    return worst;
}

double golden_rows(const char *what, const json_t *want, const double *got, size_t n_rows, size_t n, double tolerance)
{
    double worst = 0;
    cr_assert(json_array_size(want) == n_rows, "%s: %zu rows wanted, %zu there", what, json_array_size(want), n_rows);
    cr_assert(got, "%s: absent in the result", what);
    for (size_t r = 0; r < n_rows; r++) {
        char name[160];
        snprintf(name, sizeof name, "%s, row %zu", what, r);
        worst = fmax(worst, golden_row(name, json_array_get(want, r), got + r * n, n, tolerance));
    }
    return worst;
}

double golden_number(const char *what, double want, double got, double tolerance)
{
    double error = fabs(got - want);
    cr_expect(error <= tolerance, "%s is %.12g, want %.12g (error %.2e of %.2e allowed)", what, got, want, error, tolerance);
    return tolerance > 0 ? error / tolerance : error;
}

void golden_predictions(const char *what, const json_t *want, const jsc_attribution *got, double tolerance)
{
    size_t n = json_array_size(want);
    cr_assert(got->n_predictions >= n, "%s: %zu predictions, want %zu", what, got->n_predictions, n);
    for (size_t i = 0; i < n; i++) {
        const json_t *one = json_array_get(want, i);
        char name[160];
        snprintf(name, sizeof name, "%s: probability of prediction %zu", what, i);
        golden_number(name, golden_double(one, "probability", -1), got->predictions[i].probability, tolerance);
        if (json_integer_value(json_object_get(one, "id")) == got->predictions[i].id)
            continue;
        double next = i + 1 < n ? golden_double(json_array_get(want, i + 1), "probability", -1) : 0;
        double before = i > 0 ? golden_double(json_array_get(want, i - 1), "probability", -1) : 2;
        double p = golden_double(one, "probability", -1);
        cr_expect(p - next <= tolerance || before - p <= tolerance || i + 1 == n, "%s: prediction %zu is id %d, want %lld", what, i,
                  (int)got->predictions[i].id, (long long)json_integer_value(json_object_get(one, "id")));
    }
}

jsc_model *golden_open(const char *path, const char *device)
{
    jsc_open_options options = JSC_OPEN_OPTIONS_INIT;
    jsc_model *model = NULL;
    jsc_error error;
    options.device = device;
    options.precision = JSC_PRECISION_STRICT;
    jsc_status status = jsc_model_open(path, &options, &model, &error);
    cr_assert(status == JSC_OK, "%s on %s: %s: %s", path, device, jsc_status_name(status), error.text);
    return model;
}

jsc_model *golden_open_fast(const char *path)
{
    jsc_open_options options = JSC_OPEN_OPTIONS_INIT;
    jsc_model_info info = JSC_MODEL_INFO_INIT;
    jsc_model *model = NULL;
    jsc_error error;
    options.device = "cpu";
    options.precision = JSC_PRECISION_FAST;
    (void)setenv(env_name(ENV_CPU_FAST), "emulate", 1);
    jsc_status status = jsc_model_open(path, &options, &model, &error);
    cr_assert(status == JSC_OK, "%s, fast: %s: %s", path, jsc_status_name(status), error.text);
    cr_assert(jsc_model_describe(model, &info, &error) == JSC_OK);
    cr_assert(!strcmp(info.precision, "fast") && !info.n_warnings, "emulated fast is %s", info.precision);
    return model;
}

void golden_spread_row(struct golden_spread *spread, const double *want, const double *got, size_t n)
{
    double top = 0;
    for (size_t i = 0; i < n; i++)
        top = fmax(top, want[i]);
    for (size_t i = 0; i < n; i++) {
        double error = want[i] == got[i] ? 0 : fabs(got[i] - want[i]) / fmax(want[i], 1e-3 * top);
        spread->largest = error <= spread->largest ? spread->largest : error; /* NaN stays */
        spread->squares += error * error, spread->n += 1;
    }
}

void golden_spread_check(const char *what, const struct golden_spread *spread, bool squared)
{
    double factor = squared ? 2 : 1, mean = sqrt(spread->squares / spread->n);
    cr_expect(spread->largest <= factor * FAST_LARGEST, "%s: largest error %.4f", what, spread->largest);
    cr_expect(mean <= factor * FAST_MEAN, "%s: root mean square of errors %.4f", what, mean);
    fprintf(stderr, "%s: largest error %.4f, root mean square %.4f\n", what, spread->largest, mean);
}

void golden_order(const char *what, const double *want, const double *got, size_t n, double tolerance)
{
    for (size_t i = 0; i < n; i++) {
        size_t larger = 0;
        for (size_t j = 0; j < n; j++)
            larger += want[j] > want[i];
        for (size_t j = 0; larger < 10 && j < n; j++) /* i is one of the ten: nothing clearly smaller may pass it */
            cr_expect(want[j] * (1 + tolerance) >= want[i] || got[j] < got[i], "%s: token %zu passes token %zu", what, j, i);
    }
}

jsc_attribution *golden_attribute(const char *what, const jsc_model *model, const jsc_request *request)
{
    jsc_attribution *out = NULL;
    jsc_error error;
    jsc_status status = jsc_attribute(model, request, &out, &error);
    cr_assert(status == JSC_OK, "%s: %s: %s", what, jsc_status_name(status), error.text);
    return out;
}

double golden_double(const json_t *object, const char *key, double fallback)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : fallback;
}

size_t golden_ids(const json_t *object, const char *key, int32_t *out, size_t capacity)
{
    const json_t *array = json_object_get(object, key);
    size_t n = json_array_size(array);
    cr_assert(n <= capacity, "%s: %zu ids, room for %zu", key, n, capacity);
    for (size_t i = 0; i < n; i++)
        out[i] = (int32_t)json_integer_value(json_array_get(array, i));
    return n;
}
