/* input_x_gradient.c: || x_t o g_t || and x_t . g_t with g_t the gradient of the target's logit (or log-probability, contrast) at x_t.
 * Layers: the same product at every block's input, || x^l_t o g^l_t ||. */
#include "scopes_internal.h"

#include <math.h>

void input_x_gradient_size(struct job *job)
{
    job->work.gradients = true;
    job->work.layers = false; /* levels come one at a time, as gradients */
    job->work.host_bytes += sizeof(double) * (uint64_t)job->T * (uint64_t)job->model->d;
}

struct products {
    struct job *job;
    double *x; /* [T][d] */
};

static jsc_status take_level(void *user, int l, const double *grads, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const struct products *p = user;
    struct job *job = p->job;
    jsc_attribution *out = job->out;
    const size_t d = (size_t)job->model->d, T = (size_t)job->T, n = (size_t)job->n;

    TRY(forward_block_input(job->trace, l, p->x, T, error));
    for (size_t t = 0; t < T; t++) {
        double squares = 0.0, sum = 0.0;
        for (size_t i = 0; i < d; i++) {
            const double product = p->x[t * d + i] * grads[t * d + i];
            squares += product * product;
            sum += product;
        }
        if (out->layers != NULL)
            out->layers[(size_t)l * n + t] = sqrt(squares);
        if (l == 0) {
            out->scores[t] = sqrt(squares);
            out->signed_scores[t] = sum;
        }
    }
done:
    return status;
}

jsc_status input_x_gradient_run(struct job *job, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t d = (size_t)job->model->d, T = (size_t)job->T;
    const struct target target = target_at(job, 0);
    struct products products = {.job = job};
    struct ticker ticker = {job, 0.0, 1.0};
    double *cotangent = NULL, *grads = NULL;
    const int32_t pos = job->p;

    TRY(mem_new(&cotangent, d, error));
    TRY(mem_new(&grads, T * d, error));
    TRY(mem_new(&products.x, T * d, error));
    TRY(target_cotangent(job, &target, job->slope, job->P, cotangent, error));
    const pull_level level = job->out->layers != NULL ? take_level : NULL;
    TRY(vjp_pull(job->trace,
                 &(struct pull){.S = 1,
                                .B = 1,
                                .pos = &pos,
                                .cot = cotangent,
                                .grads = grads,
                                .level = level,
                                .user = &products,
                                .tick = job_tick,
                                .tick_user = &ticker},
                 error));
    if (level == NULL)
        TRY(take_level(&products, 0, grads, error));
done:
    mem_free(cotangent);
    mem_free(grads);
    mem_free(products.x);
    return status;
}
