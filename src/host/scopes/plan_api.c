/* plan_api.c: jsc_plan_make, jsc_plan_print: what a request will need. */
#include "scopes_internal.h"

#include <stdio.h>
#include <string.h>

jsc_status jsc_plan_make(const jsc_model *model, const jsc_request *request, jsc_plan *plan, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct job job = {.model = model, .request = request};
    jsc_plan made = JSC_PLAN_INIT;

    if (plan == NULL || plan->size != sizeof *plan)
        FAIL(JSC_E_ARGUMENT, "jsc_plan_make: the plan must begin with JSC_PLAN_INIT");
    TRY(job_size(&job, true, error));
    TRY(plan_compute(model, &job.work, &made, error));
    *plan = made;
done:
    return status;
}

/* "1.23 GB": decimal units, three digits. */
static const char *amount(char text[32], double value, const char *unit)
{
    static const char *const prefixes[] = {"", "k", "M", "G", "T", "P", "E"};
    size_t i = 0;
    while (value >= 999.5 && i + 1 < sizeof prefixes / sizeof prefixes[0])
        value /= 1000.0, i++;
    (void)snprintf(text, 32, "%.*f %s%s", i == 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2, value, prefixes[i], unit);
    return text;
}

size_t jsc_plan_print(const jsc_plan *plan, char *buffer, size_t capacity)
{
    char a[32], b[32], c[32], d[32];
    struct strbuf s = {0};

    if (plan == NULL)
        return 0;
    strbuf_printf(&s, "tokens            %d computed, %d in the prompt\n", plan->n_tokens, plan->n_prompt);
    if (plan->sequences > 1)
        strbuf_printf(&s, "path steps        %d at once\n", plan->sequences);
    strbuf_printf(&s, "right-hand sides  %d in %d %s of %d\n", plan->right_hand_sides, plan->chunks, plan->chunks == 1 ? "chunk" : "chunks",
                  plan->chunk);
    strbuf_printf(&s, "block inputs      %d %s kept\n", plan->levels, plan->levels == 1 ? "level" : "levels");
    strbuf_printf(&s, "MLP               %s form, %d tokens at once\n", jsc_mlp_form_name(plan->mlp_form), plan->token_chunk);
    strbuf_printf(&s, "attention         %d of a chunk at once\n", plan->rhs_chunk);
    strbuf_printf(&s, "arithmetic        %s forward, %s backward\n", amount(a, plan->forward_flops, "FLOP"),
                  amount(b, plan->backward_flops, "FLOP"));
    strbuf_printf(&s, "memory            %s beyond the weights (trace %s, workspace %s%s %s%s\n", amount(a, (double)plan->peak_bytes, "B"),
                  amount(b, (double)plan->trace_bytes, "B"), amount(c, (double)plan->workspace_bytes, "B"),
                  plan->own_memory ? ") on the device; results" : ", results", amount(d, (double)plan->result_bytes, "B"),
                  plan->own_memory ? " on the host" : ")");
    if (plan->stages > 1)
        strbuf_printf(&s, "stages            %d devices%s; each waits for %.0f %% of the time while chunks come and go\n", plan->stages,
                      plan->own_memory ? ", trace and workspace of the one that needs most" : "", 100.0 * plan->bubble);
    strbuf_printf(&s, "weights           %s\n", amount(a, (double)plan->weight_bytes, "B"));
    strbuf_printf(&s, "limit             %s%s\n", amount(a, (double)plan->limit_bytes, "B"),
                  plan->stages > 1 && plan->own_memory ? " on each device" : "");
    const size_t n = s.n;
    if (buffer != NULL && capacity > 0) {
        const size_t copied = n < capacity - 1 ? n : capacity - 1;
        if (copied > 0)
            memcpy(buffer, s.text, copied);
        buffer[copied] = '\0';
    }
    strbuf_free(&s);
    return n;
}
