/* smallest.c: the smallest whole program: smallest MODEL TEXT prints the Fisher score of every token. */
#include <jscopes/jscopes.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    jsc_error error;
    jsc_model *model = NULL;
    jsc_tokens *tokens = NULL;
    jsc_attribution *a = NULL;
    if (argc < 3 || jsc_model_open(argv[1], NULL, &model, &error) || jsc_tokenize(model, argv[2], strlen(argv[2]), NULL, &tokens, &error))
        return 1;
    jsc_request request = JSC_REQUEST_INIT;
    request.scope = JSC_SCOPE_FISHER;
    request.ids = tokens->ids, request.n_ids = tokens->n;
    if (jsc_attribute(model, &request, &a, &error))
        return 1;
    for (size_t t = 0; t < a->n_tokens; t++)
        printf("%-12s %g\n", a->tokens[t].text, a->scores[t]);
    jsc_attribution_free(a), jsc_tokens_free(tokens), jsc_model_close(model);
}
