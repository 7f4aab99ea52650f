/* attribute.c: jsc_attribute: check, plan, forward, scope, answer. */
#include "scopes_internal.h"

jsc_status attribute_run(const jsc_model *model, const jsc_request *request, struct comm *comm, jsc_attribution **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct job job = {.model = model, .request = request, .comm = comm, .plan = JSC_PLAN_INIT};

    TRY(job_size(&job, false, error));
    TRY(plan_compute(model, &job.work, &job.plan, error));
    if (comm != NULL)
        TRY(job_agree(&job, error));
    job.total = job.plan.right_hand_sides;
    TRY(attribution_make(&job, error));
    TRY(job_open(&job, error));
    TRY(job_forward(&job, error));
    TRY(attribution_fill(&job, error));
    TRY(job.scope->run(&job, error));
    TRY(attribution_finish(&job, error));
    *out = job.out, job.out = NULL;
done:
    job_close(&job);
    return status;
}

jsc_status jsc_attribute(const jsc_model *model, const jsc_request *request, jsc_attribution **out, jsc_error *error)
{
    if (out == NULL)
        return status_set(error, JSC_E_ARGUMENT, "jsc_attribute: out must be given");
    return attribute_run(model, request, NULL, out, error);
}
