/* ranks.c: one process for each GPU. ranks MODEL TEXT [DEVICE] started by torchrun, mpirun or srun joins the others, shares Fisher Scope with
 * them and lets rank 0 print it. DEVICE cuda: this process's own GPU, by its rank on this machine. Started alone it is the only rank. */
#include <jscopes/jscopes.h>
#include <stdio.h>
#include <string.h>

static void print(const jsc_attribution *a, int ranks)
{
    printf("%d ranks, %d right-hand sides\n", ranks, a->fisher.directions + a->fisher.probes);
    for (size_t t = 0; t < a->n_tokens; t++)
        printf("%-12s %.9g\n", a->tokens[t].text, a->scores[t]);
}

int main(int argc, char **argv)
{
    jsc_error error = {JSC_OK, "usage: ranks MODEL TEXT [DEVICE]"};
    jsc_launch launch = JSC_LAUNCH_INIT;
    jsc_open_options options = JSC_OPEN_OPTIONS_INIT;
    jsc_request request = JSC_REQUEST_INIT;
    jsc_model *model = NULL;
    jsc_tokens *tokens = NULL;
    jsc_group *group = NULL;
    jsc_attribution *a = NULL;
    char device[32];
    int result = 1;

    if (argc < 3 || argc > 4 || jsc_launch_find(&launch, &error))
        goto done;
    options.device = argc == 4 ? argv[3] : NULL;
    if (argc == 4 && strcmp(argv[3], "cuda") == 0 && launch.local_rank >= 0) {
        snprintf(device, sizeof device, "cuda:%d", launch.local_rank);
        options.device = device;
    }
    if (jsc_model_open(argv[1], &options, &model, &error) || jsc_tokenize(model, argv[2], strlen(argv[2]), NULL, &tokens, &error))
        goto done;
    request.scope = JSC_SCOPE_FISHER;
    request.ids = tokens->ids, request.n_ids = tokens->n;
    launch.deadline = 120.0;
    if (jsc_group_join(model, &launch, &group, &error) || jsc_group_attribute(group, &request, &a, &error))
        goto done;
    if (jsc_group_rank(group) == 0)
        print(a, jsc_group_size(group));
    result = 0;
done:
    if (result != 0)
        fprintf(stderr, "ranks: %s\n", error.text);
    jsc_attribution_free(a), jsc_group_close(group), jsc_tokens_free(tokens), jsc_model_close(model);
    return result;
}
