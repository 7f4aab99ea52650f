/* cmd_plan.c: jscopes plan: the memory and operations that a request would need. */
#include "cli_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* "stages": how the model's blocks lie on several devices. */
static int put_stages_json(const jsc_model *model, const jsc_plan *p)
{
    jsc_stage s;
    jsc_error error;
    printf(" \"bubble\": %.17g, \"stages\": [", p->bubble);
    for (int i = 0; i < p->stages; i++) {
        if (jsc_plan_stage(model, p, i, &s, &error) != JSC_OK)
            return fail_library(&error);
        printf("%s\n  {\"device\": ", i > 0 ? "," : "");
        put_json(s.device, strlen(s.device));
        printf(", \"blocks\": [%d, %d], \"weights\": %" PRIu64 ", \"peak\": %" PRIu64 "}", s.first_block, s.end_block, s.weight_bytes,
               s.peak_bytes);
    }
    printf("],\n");
    return EXIT_DONE;
}

static int put_plan_json(const jsc_model *model, const jsc_plan *p)
{
    printf("{\"tokens\": %d, \"prompt\": %d, \"sequences\": %d, \"right_hand_sides\": %d, \"chunk\": %d, \"chunks\": %d,\n"
           " \"token_chunk\": %d, \"rhs_chunk\": %d, \"mlp_form\": \"%s\",\n",
           p->n_tokens, p->n_prompt, p->sequences, p->right_hand_sides, p->chunk, p->chunks, p->token_chunk, p->rhs_chunk,
           jsc_mlp_form_name(p->mlp_form));
    printf(" \"bytes\": {\"weights\": %" PRIu64 ", \"trace\": %" PRIu64 ", \"workspace\": %" PRIu64 ", \"results\": %" PRIu64
           ", \"peak\": %" PRIu64 ", \"limit\": %" PRIu64 "}, \"own_memory\": %s,\n",
           p->weight_bytes, p->trace_bytes, p->workspace_bytes, p->result_bytes, p->peak_bytes, p->limit_bytes,
           p->own_memory ? "true" : "false");
    const int status = put_stages_json(model, p);
    printf(" \"operations\": {\"forward\": %.17g, \"backward\": %.17g}}\n", p->forward_flops, p->backward_flops);
    return status;
}

static int put_stages_text(const jsc_model *model, const jsc_plan *p)
{
    jsc_stage s;
    jsc_error error;
    for (int i = 0; i < p->stages && p->stages > 1; i++) {
        if (jsc_plan_stage(model, p, i, &s, &error) != JSC_OK)
            return fail_library(&error);
        printf("  blocks %3d - %3d  %8.3f GB of weights, %8.3f GB beyond them, on ", s.first_block, s.end_block - 1,
               (double)s.weight_bytes / 1e9, (double)s.peak_bytes / 1e9);
        put_shown(s.device, strlen(s.device));
        printf("\n");
    }
    return EXIT_DONE;
}

static int put_plan_text(const jsc_model *model, const jsc_plan *plan)
{
    const size_t n = jsc_plan_print(plan, NULL, 0);
    char *text = malloc(n + 1);
    if (text == NULL)
        return fail(EXIT_FAILED, "no memory for the plan's text");
    (void)jsc_plan_print(plan, text, n + 1);
    printf("%s%s", text, n > 0 && text[n - 1] == '\n' ? "" : "\n");
    free(text);
    return put_stages_text(model, plan);
}

static int plan(const struct arguments *args, const jsc_model *model, struct wanted *wanted, bool json)
{
    struct prompt prompt = {NULL, 0, NULL, NULL};
    jsc_plan made = JSC_PLAN_INIT;
    jsc_error error;
    int status = wanted_resolve(args, model, wanted);
    if (status == EXIT_DONE && args->value[OPT_TOKENS] == NULL) {
        status = prompt_make(args, model, &prompt);
        wanted->request.ids = prompt.ids;
        wanted->request.n_ids = prompt.n;
    }
    if (status == EXIT_DONE && jsc_plan_make(model, &wanted->request, &made, &error) != JSC_OK)
        status = fail_library(&error);
    if (status == EXIT_DONE && json)
        status = put_plan_json(model, &made);
    else if (status == EXIT_DONE)
        status = put_plan_text(model, &made);
    prompt_free(&prompt);
    return status;
}

int cmd_plan(const struct arguments *args)
{
    struct wanted wanted = {.targets = NULL};
    jsc_open_options options;
    jsc_model *model = NULL;
    bool json = false;
    int status = EXIT_USAGE;
    if (wants_json(args, &json) && open_options_parse(args, &options))
        status = wanted_parse(args, &wanted);
    if (status == EXIT_DONE) {
        options.without_weights = 1;
        status = model_open(args, &options, &model);
    }
    if (status == EXIT_DONE)
        status = plan(args, model, &wanted, json);
    jsc_model_close(model);
    wanted_free(&wanted);
    return status;
}
