/* jscopes.h: which input tokens did a language model's prediction come from?
 *
 * The smallest whole program (examples/smallest.c is compiled and run by the tests):
 *
 *   #include <jscopes/jscopes.h>
 *   #include <stdio.h>
 *   #include <string.h>
 *
 *   int main(int argc, char **argv)
 *   {
 *       jsc_error error;
 *       jsc_model *model = NULL;
 *       jsc_tokens *tokens = NULL;
 *       jsc_attribution *a = NULL;
 *       if (argc < 3 || jsc_model_open(argv[1], NULL, &model, &error) ||
 *           jsc_tokenize(model, argv[2], strlen(argv[2]), NULL, &tokens, &error))
 *           return 1;
 *       jsc_request request = JSC_REQUEST_INIT;
 *       request.scope = JSC_SCOPE_FISHER;
 *       request.ids = tokens->ids, request.n_ids = tokens->n;
 *       if (jsc_attribute(model, &request, &a, &error)) return 1;
 *       for (size_t t = 0; t < a->n_tokens; t++) printf("%-12s %g\n", a->tokens[t].text, a->scores[t]);
 *       jsc_attribution_free(a), jsc_tokens_free(tokens), jsc_model_close(model);
 *   }
 *
 * Errors, ownership: status.h. Models: model.h. Scores: attribute.h. Memory beforehand: plan.h. Own cotangents: vjp.h.
 * Spectra: spectrum.h. Output: report.h. Many prompts: corpus.h. */
#ifndef JSCOPES_JSCOPES_H
#define JSCOPES_JSCOPES_H

#define JSC_VERSION "0.1.0"

#include <jscopes/attribute.h>
#include <jscopes/corpus.h>
#include <jscopes/group.h>
#include <jscopes/model.h>
#include <jscopes/plan.h>
#include <jscopes/report.h>
#include <jscopes/spectrum.h>
#include <jscopes/status.h>
#include <jscopes/vjp.h>

#endif
