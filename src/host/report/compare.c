/* compare.c: how alike two results of the same tokens are: rank correlation, common strongest tokens. */
#include "report_internal.h"

#include <math.h>
#include <stdlib.h>

bool compare_same_tokens(const jsc_attribution *a, const jsc_attribution *b)
{
    bool same = a->n_tokens == b->n_tokens;
    for (size_t t = 0; same && t < a->n_tokens; t++)
        same = a->tokens[t].id == b->tokens[t].id;
    return same;
}

struct ranked {
    double score;
    size_t token;
};

static int stronger(const void *left, const void *right)
{
    const struct ranked *a = left, *b = right;
    if (a->score > b->score || a->score < b->score)
        return a->score > b->score ? -1 : 1;
    return a->token < b->token ? -1 : a->token > b->token;
}

jsc_status compare_order(const double *scores, size_t n, size_t *order, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct ranked *sorted = NULL;

    TRY(mem_new(&sorted, n, error));
    for (size_t i = 0; i < n; i++)
        sorted[i] = (struct ranked){isnan(scores[i]) ? -(double)INFINITY : scores[i], i};
    qsort(sorted, n, sizeof *sorted, stronger);
    for (size_t i = 0; i < n; i++)
        order[i] = sorted[i].token;
done:
    mem_free(sorted);
    return status;
}

/* Mean ranks of scores[n], the strongest 1. */
static jsc_status make_ranks(const double *scores, size_t n, double *ranks, size_t *order, jsc_error *error)
{
    jsc_status status = JSC_OK;

    TRY(compare_order(scores, n, order, error));
    for (size_t first = 0, end = 0; first < n; first = end) {
        while (end < n && !(scores[order[end]] < scores[order[first]]))
            end++;
        for (size_t i = first; i < end; i++)
            ranks[order[i]] = 0.5 * (double)(first + 1 + end);
    }
done:
    return status;
}

static double correlation(const double *x, const double *y, size_t n)
{
    double mx = 0.0, my = 0.0, xx = 0.0, yy = 0.0, xy = 0.0;
    for (size_t i = 0; i < n; i++)
        mx += x[i] / (double)n, my += y[i] / (double)n;
    for (size_t i = 0; i < n; i++) {
        xx += (x[i] - mx) * (x[i] - mx);
        yy += (y[i] - my) * (y[i] - my);
        xy += (x[i] - mx) * (y[i] - my);
    }
    return xx > 0.0 && yy > 0.0 ? xy / sqrt(xx * yy) : (double)NAN;
}

static int count_common(const size_t *a, const size_t *b, size_t k)
{
    int common = 0;
    for (size_t i = 0; i < k; i++)
        for (size_t j = 0; j < k; j++)
            common += a[i] == b[j];
    return common;
}

jsc_status jsc_compare(const jsc_attribution *a, const jsc_attribution *b, int k, jsc_comparison *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    double *ranks[2] = {NULL, NULL};
    size_t *order[2] = {NULL, NULL};

    if (a == NULL || b == NULL || out == NULL || k < 1)
        return status_set(error, JSC_E_ARGUMENT, "jsc_compare: two results and k of at least 1 are wanted");
    if (!compare_same_tokens(a, b))
        return status_set(error, JSC_E_ARGUMENT, "the results are of other tokens and cannot be compared");
    const size_t last = a->position < b->position ? a->position : b->position, n = last < a->n_tokens ? last + 1 : a->n_tokens;
    const size_t most = (size_t)k < n ? (size_t)k : n;
    const double *const scores[2] = {a->scores, b->scores};
    for (int i = 0; i < 2; i++) {
        TRY(mem_new(&ranks[i], n, error));
        TRY(mem_new(&order[i], n, error));
        TRY(make_ranks(scores[i], n, ranks[i], order[i], error));
    }
    *out = (jsc_comparison){correlation(ranks[0], ranks[1], n), (int)most, count_common(order[0], order[1], most)};
done:
    for (int i = 0; i < 2; i++) {
        mem_free(ranks[i]);
        mem_free(order[i]);
    }
    return status;
}
