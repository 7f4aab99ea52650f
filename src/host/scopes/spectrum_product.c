/* spectrum_product.c: rows q^T A of A = C J_t by pulling C^T q back, exactly; products A v from all of A, or from tangents to choose
 * directions by. */
#include "spectrum_internal.h"

#include <string.h>

#define TANGENT_TOKENS 256 /* token rows of one call's tangents in either direction: as many as make a forward pass efficient */

struct taken {
    const struct spectral *s;
    double *out;
};

static jsc_status take_token(void *user, const struct pulled *chunk, jsc_error *error)
{
    const struct taken *rows = user;
    const size_t d = (size_t)rows->s->d, B = (size_t)chunk->count;
    (void)error;
    memcpy(rows->out + (size_t)chunk->first * d, chunk->grads + (size_t)rows->s->t * B * d, B * d * sizeof *rows->out);
    return JSC_OK;
}

jsc_status spectral_pull(struct spectral *s, const double *q, int m, double *y, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct taken rows = {s, y};
    double *cotangents = NULL;

    if (s->A != NULL) {
        row_combine(q, m, s->n, s->A, s->d, y);
        goto done;
    }
    if (s->C != NULL) {
        TRY(mem_new(&cotangents, (size_t)m * (size_t)s->d, error));
        row_combine(q, m, s->n, s->C, s->d, cotangents);
    }
    TRY(job_pull_grads(&s->job, m, cotangents != NULL ? cotangents : q, true, take_token, &rows, error));
    s->pulled += m;
done:
    mem_free(cotangents);
    return status;
}

jsc_status spectral_pull_all(struct spectral *s, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t n = (size_t)s->n, d = (size_t)s->d;
    double *A = NULL, *unit = NULL;
    struct taken rows = {s, NULL};

    TRY(mem_new(&A, n * d, error));
    if (s->C == NULL) {
        TRY(mem_new(&unit, n * d, error));
        for (size_t i = 0; i < n; i++)
            unit[i * d + i] = 1.0;
    }
    rows.out = A;
    TRY(job_pull_grads(&s->job, s->n, s->C != NULL ? s->C : unit, true, take_token, &rows, error));
    s->pulled += s->n;
    s->A = A, A = NULL;
done:
    mem_free(A);
    mem_free(unit);
    return status;
}

/* ---- tangents ------------------------------------------------------------------------------------------------------------------ */

static int at_once(int T, int m)
{
    const int most = TANGENT_TOKENS / T;
    return most < 1 ? 1 : most < m ? most : m;
}

void spectral_push_bytes(const struct job *job, int m, uint64_t *host, uint64_t *device)
{
    const int pairs = at_once(job->T, m);
    *host = sizeof(double) * 2 * (uint64_t)pairs * (uint64_t)(job->T + 1) * (uint64_t)job->model->d;
    *device = tangents_bytes(job->model, job->T, 2 * pairs);
}

/* dy [m][d] = J_t v: half the difference of a step forwards and one backwards, whose curvature cancels. u, both: scratch of at_once pairs. */
static jsc_status central(struct spectral *s, const double *v, int m, double *u, double *both, double *dy, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct job *job = &s->job;
    const size_t T = (size_t)job->T, d = (size_t)s->d;

    memset(u, 0, 2 * (size_t)m * T * d * sizeof *u);
    for (size_t i = 0; i < (size_t)m; i++)
        for (size_t j = 0; j < d; j++) {
            const double value = v[i * d + j];
            u[(2 * i * T + (size_t)s->t) * d + j] = value;
            u[((2 * i + 1) * T + (size_t)s->t) * d + j] = -value;
        }
    TRY(tangents_run(job->trace, job->x, job->y, u, 2 * m, job->p, both, error));
    for (size_t i = 0; i < (size_t)m; i++)
        for (size_t j = 0; j < d; j++)
            dy[i * d + j] = 0.5 * (both[2 * i * d + j] - both[(2 * i + 1) * d + j]);
    s->tangents += 2 * m;
    TRY(job_progress(job, "backward", 2 * m, error));
done:
    return status;
}

jsc_status spectral_push(struct spectral *s, const double *v, int m, double *z, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t T = (size_t)s->job.T, d = (size_t)s->d;
    const int most = at_once(s->job.T, m);
    double *u = NULL, *both = NULL, *dy = NULL;

    if (s->A != NULL) {
        row_products(v, m, s->A, s->n, s->d, z);
        goto done;
    }
    TRY(mem_new(&u, 2 * (size_t)most * T * d, error));
    TRY(mem_new(&both, 2 * (size_t)most * d, error));
    TRY(mem_new(&dy, (size_t)m * d, error));
    for (int first = 0; first < m; first += most)
        TRY(central(s, v + (size_t)first * d, m - first < most ? m - first : most, u, both, dy + (size_t)first * d, error));
    if (s->C != NULL)
        row_products(dy, m, s->C, s->n, s->d, z);
    else
        memcpy(z, dy, (size_t)m * d * sizeof *z);
done:
    mem_free(u);
    mem_free(both);
    mem_free(dy);
    return status;
}
