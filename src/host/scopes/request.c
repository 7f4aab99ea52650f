/* request.c: every rule of a request that can be checked before anything is computed; each broken rule is one line. */
#include "scopes_internal.h"

#include <math.h>

#define TOKENS_MAX ((size_t)1 << 24) /* far beyond what any attention fits; keeps products of counts inside 64 bits */
#define COUNT_MAX  ((size_t)1 << 20) /* targets, directions */
#define STEPS_MAX  1000000

static jsc_status check_ids(const jsc_model *m, const jsc_request *r, bool planning, jsc_error *error)
{
    if (r->n_ids == 0)
        return status_set(error, JSC_E_ARGUMENT, "the prompt has no token: give at least one (a BOS token alone is enough)");
    if (r->n_ids > TOKENS_MAX)
        return status_set(error, JSC_E_ARGUMENT, "the prompt has %zu tokens, at most %zu are possible", r->n_ids, TOKENS_MAX);
    if (model_positions(m) > 0 && r->n_ids > (size_t)model_positions(m))
        return status_set(error, JSC_E_ARGUMENT, "the prompt has %zu tokens, this model has learned positions for %d: shorten the prompt",
                          r->n_ids, model_positions(m));
    if (r->ids == NULL && !planning)
        return status_set(error, JSC_E_ARGUMENT, "jsc_request.ids is NULL but n_ids is %zu", r->n_ids);
    for (size_t i = 0; r->ids != NULL && i < r->n_ids; i++)
        if (r->ids[i] < 0 || r->ids[i] >= m->V)
            return status_set(error, JSC_E_ARGUMENT, "token %zu of the prompt has id %d; this model's ids are 0 to %d", i, (int)r->ids[i],
                              m->V - 1);
    if (r->position >= (int64_t)r->n_ids || r->position < -(int64_t)r->n_ids)
        return status_set(error, JSC_E_ARGUMENT, "position %" PRId64 " is outside the prompt of %zu tokens (%" PRId64 " to %zu)",
                          r->position, r->n_ids, -(int64_t)r->n_ids, r->n_ids - 1);
    return JSC_OK;
}

/* One id of the targets. */
static jsc_status check_target_id(const jsc_model *m, int32_t id, size_t i, jsc_error *error)
{
    if (id < 0 || id >= m->V)
        return status_set(error, JSC_E_ARGUMENT, "target %zu has id %d; this model's ids are 0 to %d", i, (int)id, m->V - 1);
    return JSC_OK;
}

static jsc_status check_targets(const jsc_model *m, const jsc_request *r, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const struct scope *scope = &scopes[r->scope];
    const bool contrast = r->objective == JSC_OBJECTIVE_CONTRAST;

    if ((int)r->objective < JSC_OBJECTIVE_LOGIT || r->objective > JSC_OBJECTIVE_CONTRAST)
        FAIL(JSC_E_ARGUMENT, "there is no objective %d", (int)r->objective);
    if (!scope->takes_targets && (r->targets != NULL || r->n_targets > 0 || r->objective != JSC_OBJECTIVE_LOGIT))
        FAIL(JSC_E_ARGUMENT, "the %s scope explains no single token: it takes neither targets nor an objective", scope->name);
    if ((r->targets == NULL) != (r->n_targets == 0))
        FAIL(JSC_E_ARGUMENT, "jsc_request.targets and n_targets contradict each other: %zu targets %s", r->n_targets,
             r->targets == NULL ? "but no array" : "in an array");
    if (contrast && r->n_targets == 0)
        FAIL(JSC_E_ARGUMENT, "a contrast needs two target tokens, a and b");
    if (r->n_targets > 1 && !scope->several_targets)
        FAIL(JSC_E_ARGUMENT, "the %s scope explains one target at a time, %zu were given", scope->name, r->n_targets);
    if (r->n_targets > COUNT_MAX)
        FAIL(JSC_E_ARGUMENT, "%zu targets were given, at most %zu are possible at once", r->n_targets, COUNT_MAX);
    for (size_t i = 0; i < r->n_targets; i++) {
        TRY(check_target_id(m, r->targets[contrast ? 2 * i : i], i, error));
        if (!contrast)
            continue;
        TRY(check_target_id(m, r->targets[2 * i + 1], i, error));
        if (r->targets[2 * i] == r->targets[2 * i + 1])
            FAIL(JSC_E_ARGUMENT, "contrast of token %d with itself is zero everywhere: give two different tokens", (int)r->targets[2 * i]);
    }
done:
    return status;
}

static jsc_status check_directions(const jsc_model *m, const jsc_request *r, jsc_error *error)
{
    if (r->scope != JSC_SCOPE_DIRECTION) {
        if (r->directions != NULL || r->n_directions > 0)
            return status_set(error, JSC_E_ARGUMENT, "directions are for the direction scope, this is %s", scopes[r->scope].name);
        return JSC_OK;
    }
    if (r->directions == NULL || r->n_directions == 0)
        return status_set(error, JSC_E_ARGUMENT, "the direction scope needs directions: rows of %d numbers", m->d);
    if (r->n_directions > COUNT_MAX)
        return status_set(error, JSC_E_ARGUMENT, "%zu directions were given, at most %zu are possible at once", r->n_directions, COUNT_MAX);
    for (size_t i = 0; i < r->n_directions * (size_t)m->d; i++)
        if (!isfinite(r->directions[i]))
            return status_set(error, JSC_E_ARGUMENT, "direction %zu, component %zu is not finite", i / (size_t)m->d, i % (size_t)m->d);
    return JSC_OK;
}

static jsc_status check_fisher(const jsc_model *m, const jsc_request *r, jsc_error *error)
{
    if ((int)r->fisher_mode < JSC_FISHER_ADAPTIVE || r->fisher_mode > JSC_FISHER_RANK)
        return status_set(error, JSC_E_ARGUMENT, "there is no Fisher mode %d", (int)r->fisher_mode);
    if (r->fisher_mode == JSC_FISHER_RANK && (r->fisher_rank < 1 || r->fisher_rank > m->d))
        return status_set(error, JSC_E_ARGUMENT, "Fisher rank %d is outside 1 to %d (the model's width)", r->fisher_rank, m->d);
    if (r->fisher_mode == JSC_FISHER_ADAPTIVE && !(r->fisher_rtol > 0.0 && r->fisher_rtol < 1.0))
        return status_set(error, JSC_E_ARGUMENT, "relative standard error %g is outside 0 to 1 (0.02 is usual)", r->fisher_rtol);
    return JSC_OK;
}

static jsc_status check_path(const jsc_model *m, const jsc_request *r, jsc_error *error)
{
    if (r->path_steps < 1 || r->path_steps > STEPS_MAX)
        return status_set(error, JSC_E_ARGUMENT, "%d path steps are outside 1 to %d", r->path_steps, STEPS_MAX);
    if (r->path_rule != JSC_PATH_UNIFORM && r->path_rule != JSC_PATH_GRADED)
        return status_set(error, JSC_E_ARGUMENT, "there is no path rule %d", (int)r->path_rule);
    if ((int)r->baseline < JSC_BASELINE_ZERO || r->baseline > JSC_BASELINE_ID)
        return status_set(error, JSC_E_ARGUMENT, "there is no baseline %d", (int)r->baseline);
    if (r->baseline == JSC_BASELINE_ID && (r->baseline_id < 0 || r->baseline_id >= m->V))
        return status_set(error, JSC_E_ARGUMENT, "baseline id %d: this model's ids are 0 to %d", (int)r->baseline_id, m->V - 1);
    return JSC_OK;
}

static jsc_status check_matrix(const jsc_request *r, jsc_error *error)
{
    const struct scope *scope = &scopes[r->scope];
    if (r->matrix == 0)
        return JSC_OK;
    if (!scope->matrix)
        return status_set(error, JSC_E_ARGUMENT,
                          "the %s scope has no position x token matrix (semantic, temperature, fisher, direction have)", scope->name);
    if (r->n_targets > 1 || r->n_directions > 1)
        return status_set(error, JSC_E_ARGUMENT, "the matrix holds one score per position and token: give one %s, not %zu",
                          r->n_targets > 1 ? "target" : "direction", r->n_targets > 1 ? r->n_targets : r->n_directions);
    if (r->objective == JSC_OBJECTIVE_CONTRAST)
        return status_set(error, JSC_E_ARGUMENT, "the matrix explains the token that follows each position: a contrast has no such token");
    return JSC_OK;
}

jsc_status request_check(const jsc_model *m, const jsc_request *r, bool planning, jsc_error *error)
{
    jsc_status status = JSC_OK;

    if (m == NULL || r == NULL)
        FAIL(JSC_E_ARGUMENT, "model and request must be given");
    if (r->size != sizeof *r)
        FAIL(JSC_E_ARGUMENT, "jsc_request.size is %zu, this library's is %zu: begin with JSC_REQUEST_INIT and compile against its headers",
             r->size, sizeof *r);
    if ((int)r->scope < 0 || r->scope >= JSC_SCOPE_COUNT)
        FAIL(JSC_E_ARGUMENT, "there is no scope %d", (int)r->scope);
    if (!m->has_weights && !planning)
        FAIL(JSC_E_ARGUMENT, "%s was opened without weights: open it with them to attribute", m->path);
    TRY(check_ids(m, r, planning, error));
    TRY(check_targets(m, r, error));
    TRY(check_directions(m, r, error));
    if (r->scope == JSC_SCOPE_FISHER)
        TRY(check_fisher(m, r, error));
    if (r->scope == JSC_SCOPE_PATH)
        TRY(check_path(m, r, error));
    TRY(check_matrix(r, error));
    if (r->chunk < 0)
        FAIL(JSC_E_ARGUMENT, "chunk %d is negative; 0 lets the plan choose", r->chunk);
    if (r->top_predictions < 0)
        FAIL(JSC_E_ARGUMENT, "%d predictions were asked for", r->top_predictions);
done:
    return status;
}
