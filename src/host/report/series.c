/* series.c: a prompt of numbers as a series: runs of digits are numbers, however many tokens they take; what stands between is left out. */
#include "report_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_MAX 32 /* bytes; longer runs are no numbers that a plot shows */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* May begin a number ("29", " 3", "-"), or go on with one ("9", ".5"). A comma always parts two numbers. */
static bool is_numeric(const char *text, bool within, bool sign)
{
    if (*text == ' ' && !within)
        text++;
    if (*text == '-' && !within && sign)
        text++;
    else if (*text == '\0')
        return false;
    while (*text == '.' || is_digit(*text))
        text++;
    return *text == '\0';
}

/* A minus behind a digit is a dash. */
static bool may_have_sign(const jsc_attribution *a, size_t t)
{
    const char *before = t > 0 ? a->tokens[t - 1].text : NULL;
    const size_t n = before != NULL ? strlen(before) : 0;
    return n == 0 || !is_digit(before[n - 1]);
}

/* The influence of several tokens together: norms are of one concatenated gradient, traces add. */
static double joint_score(const jsc_attribution *a, const double *scores, size_t first, size_t n)
{
    double sum = 0.0;
    for (size_t t = first; t < first + n; t++)
        sum += a->scope == JSC_SCOPE_FISHER ? scores[t] : scores[t] * scores[t];
    return a->scope == JSC_SCOPE_FISHER ? sum : sqrt(sum);
}

/* The number that begins at token t, *n tokens; false if none does. */
static bool number_at(const jsc_attribution *a, size_t t, size_t *n, double *value)
{
    char text[NUMBER_MAX + 1] = "", *end = NULL;
    const bool sign = may_have_sign(a, t);
    size_t used = 0;
    for (*n = 0; t + *n < a->n_tokens; ++*n) {
        const char *more = a->tokens[t + *n].text;
        const size_t length = more == NULL ? 0 : strlen(more);
        if (length == 0 || !is_numeric(more, *n > 0, sign) || (*n > 0 && t + *n == a->position + 1)) /* the target is none's middle */
            break;
        if (length > NUMBER_MAX - used)
            return false;
        memcpy(text + used, more, length + 1);
        used += length;
    }
    *value = strtod(text, &end);
    return end != text && *end == '\0' && isfinite(*value);
}

jsc_status series_make(const jsc_attribution *a, const double *scores, struct series *out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    *out = (struct series){NULL, 0, 0};
    for (size_t t = 0; t < a->n_tokens;) {
        struct series_number number = {t, 0, 0.0, 0.0};
        if (!number_at(a, t, &number.n, &number.value)) {
            t += number.n > 0 ? number.n : 1;
            continue;
        }
        number.score = joint_score(a, scores, t, number.n);
        TRY(mem_reserve(&out->numbers, &out->capacity, out->n + 1, error));
        out->numbers[out->n++] = number;
        t += number.n;
    }
done:
    return status;
}

void series_free(struct series *series)
{
    mem_free(series->numbers);
    *series = (struct series){NULL, 0, 0};
}
