/* scopes_internal.h: a scope says which cotangents it wants and how sums become scores. One file per scope, one row in scopes.c. */
#ifndef JSC_SCOPES_INTERNAL_H
#define JSC_SCOPES_INTERNAL_H

#include "engine_internal.h"

#include <jscopes/attribute.h>
#include <jscopes/vjp.h>

/* A request being answered. */
struct job {
    const jsc_model *model;
    const jsc_request *request;
    const struct scope *scope;
    jsc_attribution *out;
    int T;                  /* tokens that are computed: position + 1 */
    int p;                  /* target position */
    struct work work;       /* as the scope sized it */
    jsc_plan plan;
    struct trace *trace;
    double *x;              /* host [T][d] block-0 inputs */
    double *y;              /* host [d] at p */
    double *z, *slope, *P;  /* host [V] at p: logits, their slopes, probabilities */
    double done, total;     /* progress, in right-hand sides */
};

struct scope {
    const char *name;
    bool takes_targets;     /* targets, objective */
    bool several_targets;
    bool matrix;            /* --matrix makes sense */
    /* Checks the request's options and says what the engine must hold (work.n_rhs, S, host_bytes). */
    jsc_status (*size)(struct job *job, jsc_error *error);
    /* After the forward (except path, which runs its own): pull back, fill out->scores and the rest. */
    jsc_status (*run)(struct job *job, jsc_error *error);
    bool own_forward;
};
extern const struct scope scopes[JSC_SCOPE_COUNT];
extern const struct scope scope_semantic, scope_temperature, scope_fisher, scope_path, scope_input_x_gradient, scope_direction;

/* Pulls n cotangents [n][d] (all at job->p unless pos is given, [n]) back in chunks of the plan.
 * Per chunk calls sink(user, first, count, sums [levels][T][count]) in order. */
typedef jsc_status (*pull_sink)(void *user, int first, int count, const double *sums, jsc_error *error);
jsc_status job_pull(struct job *job, int n, const double *cotangents, const int32_t *pos, pull_sink sink, void *user, jsc_error *error);
/* Progress by work units; JSC_E_CANCELLED. */
jsc_status job_progress(struct job *job, const char *stage, double add, jsc_error *error);
jsc_status job_warn(struct job *job, jsc_error *error, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
