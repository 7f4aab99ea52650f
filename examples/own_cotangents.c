/* own_cotangents.c: the engine under the scopes. own_cotangents MODEL ID,ID,... pulls two cotangents of its own back to the tokens: a
 * fixed direction and its double, and shows that the gradients double and that their squares add up to the sums that scores are made of. */
#include <jscopes/jscopes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define IDS_MAX 256

static size_t read_ids(const char *text, int32_t ids[IDS_MAX])
{
    size_t n = 0;
    char *end = NULL;
    for (; n < IDS_MAX && *text != '\0'; text = *end == ',' ? end + 1 : end) {
        ids[n++] = (int32_t)strtol(text, &end, 10);
        if (end == text)
            return 0;
    }
    return n;
}

/* sums[b][t] = sum of the squares of gradients[b][t][:], and the second right-hand side is twice the first. */
static int check(const double *gradients, const double *sums, size_t T, size_t d)
{
    double worst = 0.0;
    for (size_t t = 0; t < T; t++) {
        double square = 0.0;
        for (size_t i = 0; i < d; i++) {
            const double one = gradients[t * d + i], two = gradients[(T + t) * d + i];
            square += one * one;
            worst = fmax(worst, fabs(two - 2.0 * one) / (1e-30 + fabs(two)));
        }
        worst = fmax(worst, fabs(square - sums[t]) / (1e-30 + square));
        printf("token %zu: || v^T dy/dx || = %.6g\n", t, sqrt(sums[t]));
    }
    printf("largest relative difference %.1e\n", worst);
    return worst <= 1e-3 ? 0 : 1;
}

int main(int argc, char **argv)
{
    jsc_error error = {JSC_OK, "usage: own_cotangents MODEL ID,ID,..."};
    jsc_model_info info = JSC_MODEL_INFO_INIT;
    jsc_vjp_request request = JSC_VJP_REQUEST_INIT;
    jsc_model *model = NULL;
    double *cotangents = NULL, *gradients = NULL, *sums = NULL;
    int32_t ids[IDS_MAX];
    size_t T = 0, d = 0;
    int result = 1;

    if (argc != 3 || (T = read_ids(argv[2], ids)) == 0 || jsc_model_open(argv[1], NULL, &model, &error) ||
        jsc_model_describe(model, &info, &error))
        goto done;
    d = (size_t)info.d_model;
    cotangents = calloc(2 * d, sizeof *cotangents);
    gradients = calloc(2 * T * d, sizeof *gradients);
    sums = calloc(2 * T, sizeof *sums);
    if (cotangents == NULL || gradients == NULL || sums == NULL)
        goto done;
    for (size_t i = 0; i < d; i++)
        cotangents[i] = cos((double)i), cotangents[d + i] = 2.0 * cos((double)i);

    request.ids = ids, request.n_ids = T;
    request.n_rhs = 2, request.cotangents = cotangents; /* both at the last token: positions is NULL */
    request.sums = sums, request.gradients = gradients;
    if (jsc_vjp(model, &request, &error))
        goto done;
    result = check(gradients, sums, T, d);
done:
    if (result != 0)
        fprintf(stderr, "%s\n", error.text);
    free(cotangents), free(gradients), free(sums);
    jsc_model_close(model);
    return result;
}
