/* golden_requests.h: a file of golden values (tests/oracle/golden_values.py) put to a model, request by request. */
#ifndef JSC_TEST_GOLDEN_REQUESTS_H
#define JSC_TEST_GOLDEN_REQUESTS_H

#include "golden.h"

/* Every request of every prompt within tolerance; Fisher's also in chunks of another size and adaptively. label begins every message.
 * Returns the largest error in units of the tolerance and prints it. */
double golden_requests(const char *label, const json_t *root, const jsc_model *model, double tolerance);

/* The same requests of a model in precision fast: errors gathered over the file, squares apart from the rest, within what fast may cost. */
void golden_requests_fast(const char *label, const json_t *root, const jsc_model *model);

#endif
