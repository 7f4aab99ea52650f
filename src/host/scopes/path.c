/* path.c: gradients integrated along the straight path from a baseline x' to the prompt's x, several steps per forward pass.
 *
 *   IG_t = (x_t - x'_t) o sum_k w_k g_t(alpha_k),   g(alpha) = gradient of the objective at x' + alpha (x - x')
 *
 * Midpoint rule on the cells between (k/n)^q: q = 1 is the paper's rule, GRADED crowds the cells towards the baseline. Nodes run from the
 * prompt down to the baseline, so that the prompt's own forward pass is the first point of every block's path.
 * Layers: the same integral along the path that block l's input takes, sum of (g + g_next)/2 o (x^l - x^l_next): complete at every block. */
#include "scopes_internal.h"

#include <math.h>
#include <string.h>

/* Measured: docs/math.md, path rules. */
#define GRADED_POWER 2.0

struct path {
    struct job *job;
    struct target target;
    double *base;       /* [T][d] x' */
    double *xs, *grads; /* [S][T][d] of one batch */
    double *cot;        /* [S][d] */
    double *mean;       /* [T][d] sum of w g */
    double *weights;    /* [S] */
    int32_t pos;
    int nodes_done;
    /* layers only, [L][T][d]: the last point and gradient of every block's path, and its integral */
    double *last_x, *last_g, *integral, *level_x;
};

/* Every so many of the steps, so that at most NODES_MAX are kept. */
#define NODES_MAX 100
static int node_stride(const jsc_request *r)
{
    return (r->path_steps + NODES_MAX - 1) / NODES_MAX;
}

static size_t count_nodes(const jsc_request *r)
{
    return (size_t)((r->path_steps + node_stride(r) - 1) / node_stride(r));
}

void path_size(struct job *job)
{
    const uint64_t row = (uint64_t)job->T * (uint64_t)job->model->d;
    job->work.S = job->request->path_steps;
    job->work.gradients = true;
    job->work.layers = false; /* levels come one at a time, as gradients */
    job->work.host_bytes += sizeof(double) * (3 * row + count_nodes(job->request) * (uint64_t)(job->n + 1) +
                                              (job->request->layers ? 4 * row * (uint64_t)job->model->L : 0));
}

static jsc_status make_baseline(struct path *path, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const struct job *job = path->job;
    const jsc_model *m = job->model;
    struct trace *t = job->trace;
    const size_t d = (size_t)m->d, piece = t->sizes.N;
    int32_t *ids = NULL;
    double *rows = NULL;
    size_t first = 0, end = 0; /* embedding rows whose mean is taken; none: zero */

    TRY(mem_new(&ids, piece, error));
    TRY(mem_new(&rows, piece * d, error));
    if (job->request->baseline == JSC_BASELINE_MEAN)
        end = (size_t)m->V;
    if (job->request->baseline == JSC_BASELINE_ID)
        first = (size_t)job->request->baseline_id, end = first + 1;
    const double weight = end > first ? 1.0 / (double)(end - first) : 0.0;
    for (; first < end; first += piece) {
        const size_t n = end - first < piece ? end - first : piece;
        for (size_t i = 0; i < n; i++)
            ids[i] = (int32_t)(first + i);
        TRY(forward_embeddings(t, ids, n, rows, error)); /* block 0's input is free between two forward passes */
        for (size_t i = 0; i < n; i++)
            axpy(weight, rows + i * d, path->base, d);
    }
    for (size_t i = 1; i < (size_t)job->T; i++)
        memcpy(path->base + i * d, path->base, d * sizeof *path->base);
    if (end > 0) /* another token at the same position */
        TRY(forward_positions(t, path->base, error));
done:
    mem_free(ids);
    mem_free(rows);
    return status;
}

static jsc_status make_buffers(struct path *path, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const struct job *job = path->job;
    const size_t d = (size_t)job->model->d, T = (size_t)job->T, S = (size_t)job->plan.sequences, L = (size_t)job->model->L;

    TRY(mem_new(&path->base, T * d, error));
    TRY(mem_new(&path->xs, S * T * d, error));
    TRY(mem_new(&path->grads, S * T * d, error));
    TRY(mem_new(&path->cot, S * d, error));
    TRY(mem_new(&path->weights, S, error));
    TRY(mem_new(&path->mean, T * d, error));
    if (job->out->layers != NULL) {
        TRY(mem_new(&path->last_x, L * T * d, error));
        TRY(mem_new(&path->last_g, L * T * d, error));
        TRY(mem_new(&path->integral, L * T * d, error));
        TRY(mem_new(&path->level_x, S * T * d, error));
    }
    job->out->path.n_nodes = count_nodes(job->request);
    TRY(mem_new(&job->out->path.alphas, job->out->path.n_nodes, error));
    TRY(mem_new(&job->out->path.norms, job->out->path.n_nodes * (size_t)job->n, error));
done:
    return status;
}

static void free_buffers(struct path *path)
{
    double *const owned[] = {path->base,    path->xs,     path->grads,  path->cot,      path->mean,
                             path->weights, path->last_x, path->last_g, path->integral, path->level_x};
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++)
        mem_free(owned[i]);
}

/* Near the baseline gradients are a hundred times larger than at the prompt and as sensitive: there a forward in plain float costs 1e-4 of
 * a score (measured on SmolLM2, docs/math.md). */
#define PRECISE_BELOW 0.15

static double edge(const jsc_request *r, int k)
{
    return pow((double)k / r->path_steps, r->path_rule == JSC_PATH_GRADED ? GRADED_POWER : 1.0);
}

static bool is_near(const struct job *job, int node)
{
    return job->model->device->precision != JSC_PRECISION_FAST && edge(job->request, node) < PRECISE_BELOW;
}

/* x' + alpha (x - x') into out [T][d]. */
static void point(const struct path *path, double alpha, double *out)
{
    const struct job *job = path->job;
    for (size_t i = 0; i < (size_t)job->T * (size_t)job->model->d; i++)
        out[i] = path->base[i] + alpha * (job->x[i] - path->base[i]);
}

/* Block l's input in the trace's S sequences. */
static jsc_status block_inputs(const struct job *job, int l, int S, double *out, jsc_error *error)
{
    return forward_block_input(job->trace, l, out, (size_t)S * (size_t)job->T, error);
}

/* Prolongs block l's path by the points of this batch. */
static jsc_status take_level(void *user, int l, const double *grads, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct path *path = user;
    const struct job *job = path->job;
    const int S = job->trace->s_used;
    const size_t n = (size_t)job->T * (size_t)job->model->d, at = (size_t)l * n;
    double *last_x = path->last_x + at, *last_g = path->last_g + at, *integral = path->integral + at;

    TRY(block_inputs(job, l, S, path->level_x, error));
    for (int s = 0; s < S; s++) {
        const double *x = path->level_x + (size_t)s * n, *g = grads + (size_t)s * n;
        const bool first = path->nodes_done + s == 0; /* before the first node its own gradient holds */
        for (size_t i = 0; i < n; i++)
            integral[i] += (first ? g[i] : 0.5 * (g[i] + last_g[i])) * (last_x[i] - x[i]);
        memcpy(last_x, x, n * sizeof *x);
        memcpy(last_g, g, n * sizeof *g);
    }
done:
    return status;
}

/* The sizes of the gradients of this batch, of the steps that are kept; before nodes_done counts it. */
static void keep_norms(const struct path *path, int node, int S)
{
    const struct job *job = path->job;
    const size_t d = (size_t)job->model->d, T = (size_t)job->T;
    const int stride = node_stride(job->request);
    for (int s = 0; s < S; s++) {
        const int place = path->nodes_done + s;
        if (place % stride != 0)
            continue;
        double *norms = job->out->path.norms + (size_t)(place / stride) * (size_t)job->n;
        job->out->path.alphas[place / stride] = 0.5 * (edge(job->request, node - s) + edge(job->request, node - s + 1));
        for (size_t t = 0; t < T; t++) {
            const double *g = path->grads + ((size_t)s * T + t) * d;
            norms[t] = sqrt(dense_dot(g, g, d));
        }
    }
}

/* Forward and VJP of S nodes from `node` downwards. */
static jsc_status run_batch(struct path *path, int node, int S, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct job *job = path->job;
    const size_t d = (size_t)job->model->d, n = (size_t)job->T * d;
    struct ticker ticker = {job, job->done, S};

    for (int s = 0; s < S; s++) {
        const double low = edge(job->request, node - s), high = edge(job->request, node - s + 1);
        path->weights[s] = high - low;
        point(path, 0.5 * (low + high), path->xs + (size_t)s * n);
    }
    job->trace->precise = is_near(job, node);
    TRY(forward_run(job->trace, path->xs, S, error));
    for (int s = 0; s < S; s++) {
        if (target_bends(job->model, &path->target)) {
            TRY(job_head(job, s * job->T + job->p, error));
            TRY(target_cotangent(job, &path->target, job->slope, job->P, path->cot + (size_t)s * d, error));
        } else if (path->nodes_done == 0) {
            TRY(target_cotangent(job, &path->target, job->slope, job->P, path->cot + (size_t)s * d, error));
        }
    }
    TRY(vjp_pull(job->trace,
                 &(struct pull){.S = S,
                                .B = 1,
                                .pos = &path->pos,
                                .cot = path->cot,
                                .grads = path->grads,
                                .level = path->integral != NULL ? take_level : NULL,
                                .user = path,
                                .tick = job_tick,
                                .tick_user = &ticker},
                 error));
    for (int s = 0; s < S; s++)
        axpy(path->weights[s], path->grads + (size_t)s * n, path->mean, n);
    keep_norms(path, node, S);
    path->nodes_done += S;
done:
    return status;
}

/* At the baseline: its objective, and the end of every block's path. */
static jsc_status finish_path(struct path *path, double *value, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct job *job = path->job;
    const size_t n = (size_t)job->T * (size_t)job->model->d;

    point(path, 0.0, path->xs);
    TRY(forward_run(job->trace, path->xs, 1, error));
    TRY(job_head(job, job->p, error));
    *value = target_value(&path->target, job->z, (size_t)job->model->V);
    for (int l = 0; path->integral != NULL && l < job->model->L; l++) {
        TRY(block_inputs(job, l, 1, path->level_x, error));
        for (size_t i = 0; i < n; i++)
            path->integral[(size_t)l * n + i] += path->last_g[(size_t)l * n + i] * (path->last_x[(size_t)l * n + i] - path->level_x[i]);
    }
done:
    return status;
}

static jsc_status fill_answer(const struct path *path, double difference, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct job *job = path->job;
    jsc_attribution *out = job->out;
    const jsc_request *r = job->request;
    const size_t d = (size_t)job->model->d, n = (size_t)job->n;

    out->path.sum = 0.0;
    for (size_t t = 0; t < (size_t)job->T; t++) {
        double squares = 0.0, sum = 0.0;
        for (size_t i = 0; i < d; i++) {
            const double ig = (job->x[t * d + i] - path->base[t * d + i]) * path->mean[t * d + i];
            squares += ig * ig;
            sum += ig;
        }
        out->scores[t] = sqrt(squares);
        out->signed_scores[t] = sum;
        out->path.sum += sum;
    }
    for (size_t l = 0; out->layers != NULL && l < (size_t)job->model->L; l++)
        for (size_t t = 0; t < (size_t)job->T; t++) {
            const double *ig = path->integral + (l * (size_t)job->T + t) * d;
            out->layers[l * n + t] = l == 0 ? out->scores[t] : sqrt(dense_dot(ig, ig, d));
        }
    out->path.steps = r->path_steps;
    out->path.rule = r->path_rule;
    out->path.baseline = r->baseline;
    out->path.baseline_id = r->baseline == JSC_BASELINE_ID ? r->baseline_id : -1;
    out->path.difference = difference;
    out->path.completeness_error = fabs(out->path.sum - difference);
    if (!isfinite(out->path.sum) || !isfinite(difference))
        FAIL(JSC_E_NUMERIC, "the path's sum is %g where %g is to be explained: the numbers overflow on this prompt", out->path.sum,
             difference);
    if (out->path.completeness_error > 0.1 * fabs(difference))
        TRY(job_warn(job, error,
                     "the path's attributions sum to %.4g where %.4g is to be explained: do not trust single scores; try %s or another "
                     "baseline",
                     out->path.sum, difference, r->path_rule == JSC_PATH_UNIFORM ? "the graded rule, more steps" : "more steps"));
done:
    return status;
}

jsc_status path_run(struct job *job, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct path path = {.job = job, .target = target_at(job, 0), .pos = job->p};
    const size_t n = (size_t)job->T * (size_t)job->model->d;
    const double reached = target_value(&path.target, job->z, (size_t)job->model->V);
    double start = 0.0;

    job->total = job->request->path_steps;
    TRY(make_buffers(&path, error));
    for (int l = 0; path.integral != NULL && l < job->model->L; l++)
        TRY(block_inputs(job, l, 1, path.last_x + (size_t)l * n, error));
    TRY(make_baseline(&path, error));
    for (int left = job->request->path_steps; left > 0;) {
        int S = 1; /* a batch is near the baseline as a whole or not at all, whatever its planned size */
        while (S < left && S < job->plan.sequences && is_near(job, left - 1 - S) == is_near(job, left - 1))
            S++;
        TRY(run_batch(&path, left - 1, S, error));
        left -= S;
    }
    TRY(finish_path(&path, &start, error));
    TRY(fill_answer(&path, reached - start, error));
done:
    free_buffers(&path);
    return status;
}
