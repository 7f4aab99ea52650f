/* compare_targets.c: why this word and not that one? compare_targets MODEL TEXT WORD OTHER plans, then explains both words and their
 * contrast. */
#include <jscopes/jscopes.h>
#include <stdio.h>
#include <string.h>

static int to_stdout(void *user, const char *bytes, size_t n)
{
    (void)user;
    return fwrite(bytes, 1, n, stdout) != n;
}

int main(int argc, char **argv)
{
    jsc_error error = {JSC_OK, "usage: compare_targets MODEL TEXT WORD OTHER"};
    jsc_request request = JSC_REQUEST_INIT;
    jsc_plan plan = JSC_PLAN_INIT;
    jsc_model *model = NULL;
    jsc_tokens *tokens = NULL;
    jsc_attribution *both = NULL, *contrast = NULL;
    int32_t targets[2];
    char lines[2048];
    int result = 1;

    if (argc != 5 || jsc_model_open(argv[1], NULL, &model, &error) || jsc_tokenize(model, argv[2], strlen(argv[2]), NULL, &tokens, &error))
        goto done;
    for (int i = 0; i < 2; i++) /* each must be exactly one token; the error shows its pieces if it is not */
        if (jsc_token_find(model, argv[3 + i], strlen(argv[3 + i]), &targets[i], &error))
            goto done;

    request.ids = tokens->ids, request.n_ids = tokens->n;
    request.targets = targets, request.n_targets = 2;
    if (jsc_plan_make(model, &request, &plan, &error))
        goto done;
    jsc_plan_print(&plan, lines, sizeof lines);
    printf("%s\n", lines);

    if (jsc_attribute(model, &request, &both, &error)) /* one score per target and token */
        goto done;
    request.objective = JSC_OBJECTIVE_CONTRAST, request.n_targets = 1; /* the same two ids, now as one pair */
    if (jsc_attribute(model, &request, &contrast, &error))
        goto done;
    printf("%-16s %12s %12s %12s\n", "token", argv[3], argv[4], "contrast");
    for (size_t t = 0; t < both->n_tokens; t++)
        printf("%-16s %12.5g %12.5g %12.5g\n", both->tokens[t].text, both->scores[t], both->scores[both->n_tokens + t],
               contrast->scores[t]);
    printf("\n");
    if (jsc_report_write(contrast, "text", NULL, to_stdout, NULL, &error))
        goto done;
    result = 0;
done:
    if (result != 0)
        fprintf(stderr, "%s\n", error.text);
    jsc_attribution_free(contrast), jsc_attribution_free(both), jsc_tokens_free(tokens), jsc_model_close(model);
    return result;
}
