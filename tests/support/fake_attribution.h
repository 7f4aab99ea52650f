/* fake_attribution.h: a small hand-made attribution for tests of reports. */
#ifndef JSC_TEST_FAKE_ATTRIBUTION_H
#define JSC_TEST_FAKE_ATTRIBUTION_H

#include <jscopes/jscopes.h>

#define FAKE_TOKENS 8
#define FAKE_LAYERS 3

/* Storage of one attribution; fake_init() links it together. Tests change what they look at. */
struct fake {
    jsc_attribution a;
    jsc_scored_token tokens[FAKE_TOKENS];
    jsc_prediction targets[2], contrast[2], predictions[3];
    double scores[2 * FAKE_TOKENS], stderrs[FAKE_TOKENS], signed_scores[2 * FAKE_TOKENS];
    double layers[2 * FAKE_LAYERS * FAKE_TOKENS], matrix[FAKE_TOKENS * FAKE_TOKENS];
    int32_t matrix_targets[FAKE_TOKENS];
    double eigenvalues[2];
    char *warnings[1];
};

/* Eight tokens of hostile and ordinary text, one semantic target after the last; every optional array is left out of a. */
void fake_init(struct fake *fake);

/* A report in memory. text is NUL-terminated and freed by free(). */
struct fake_text {
    char *text;
    size_t n;
};
jsc_status fake_write(const jsc_attribution *a, const char *format, const jsc_report_options *options, struct fake_text *out,
                      jsc_error *error);
jsc_status fake_write_several(const jsc_report_input *input, const char *format, const jsc_report_options *options, struct fake_text *out,
                              jsc_error *error);

/* A jsc_write_fn that takes as many bytes as *user (a size_t) says and refuses the rest. */
int fake_refuse(void *user, const char *bytes, size_t n);

#endif
