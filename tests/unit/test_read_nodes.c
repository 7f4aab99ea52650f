/* test_read_nodes.c: gradients along a path in a JSON result that somebody else wrote. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <jscopes/jscopes.h>

#include <stdio.h>
#include <string.h>

Test(read_nodes, gradients_along_a_path_are_a_row_per_step)
{
    static const char *const bad[] = {"\"norms\": [[1, 2]]",
                                      "\"alphas\": [0.5]",
                                      "\"alphas\": [0.5], \"norms\": [[1]]",
                                      "\"alphas\": [0.5], \"norms\": [3]",
                                      "\"alphas\": [\"a\"], \"norms\": [[1, 2]]",
                                      "\"alphas\": [0.5], \"norms\": [[1, true]]"};
    char text[600];
    for (size_t i = 0; i <= sizeof bad / sizeof *bad; i++) { /* the last is right */
        const bool right = i == sizeof bad / sizeof *bad;
        jsc_attribution *a = NULL;
        jsc_error error = {0};
        snprintf(
            text, sizeof text,
            "{\"model\": {\"name\": \"m\", \"layers\": 1}, \"scope\": \"path\", \"target\": {\"position\": 1, \"objective\": \"logit\", "
            "\"ids\": [1], \"probabilities\": [0.5], \"logits\": [1]}, \"tokens\": [{\"id\": 1, \"score\": 1, \"signed_score\": 1}, "
            "{\"id\": 2, \"score\": 1, \"signed_score\": 1}], \"path\": {%s}, \"predictions\": []}",
            right ? "\"alphas\": [0.5], \"norms\": [[1, null]]" : bad[i]);
        cr_expect(eq(int, jsc_attribution_read(text, strlen(text), &a, &error), right ? JSC_OK : JSC_E_FORMAT), "%zu: %s", i, error.text);
        cr_expect(right || strstr(error.text, ".path") != NULL, "%zu: %s", i, error.text);
        jsc_attribution_free(a);
    }
}
