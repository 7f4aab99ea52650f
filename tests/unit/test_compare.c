/* test_compare.c: rank correlation with ties against values by hand, common strongest tokens. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base_internal.h"
#include "support/fake_attribution.h"

#include <math.h>
#include <string.h>

/* Two results of n tokens with these scores, both explained after the last. */
static void make(struct fake *f, struct fake *g, const double *x, const double *y, size_t n)
{
    fake_init(f), fake_init(g);
    f->a.n_tokens = g->a.n_tokens = n;
    f->a.position = g->a.position = n - 1;
    memcpy(f->scores, x, n * sizeof *x);
    memcpy(g->scores, y, n * sizeof *y);
}

Test(compare, spearman_and_common_by_hand)
{
    static const struct {
        double x[8], y[8];
        int n, k, common;
        double spearman;
    } cases[] = {
        {{1, 2, 3, 4, 5}, {2, 4, 6, 8, 99}, 5, 2, 2, 1.0},
        {{1, 2, 3, 4, 5}, {5, 4, 3, 2, 1}, 5, 2, 0, -1.0},
        /* ranks 1 2 3 4 5 and 2 1 4 3 5: 1 - 6 * 4 / (5 * 24) */
        {{5, 4, 3, 2, 1}, {4, 5, 2, 3, 1}, 5, 1, 0, 0.8},
        {{5, 4, 3, 2, 1}, {4, 5, 2, 3, 1}, 5, 3, 2, 0.8},
        {{5, 4, 3, 2, 1}, {4, 5, 2, 3, 1}, 5, 9, 5, 0.8},
        /* ranks 1 2.5 2.5 4 and 1 2 3 4: deviations -1.5 0 0 1.5 and -1.5 -0.5 0.5 1.5: 4.5 / sqrt(4.5 * 5) */
        {{9, 5, 5, 1}, {4, 3, 2, 1}, 4, 2, 2, 0.94868329805051381},
        /* ranks 1.5 1.5 3.5 3.5 and 2.5 1 2.5 4: (0 + 1.5 + 0 + 1.5) / sqrt(4 * 4.5) */
        {{7, 7, 3, 3}, {5, 9, 5, 0}, 4, 1, 0, 0.70710678118654757},
        /* three equal of four: ranks 2 2 2 4 and 4 3 2 1 */
        {{3, 3, 3, 0}, {1, 2, 3, 4}, 4, 3, 2, -0.7745966692414834},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fake f, g;
        jsc_comparison c = {0}, turned = {0};
        jsc_error error = {0};
        make(&f, &g, cases[i].x, cases[i].y, (size_t)cases[i].n);
        cr_assert(eq(int, jsc_compare(&f.a, &g.a, cases[i].k, &c, &error), JSC_OK), "%s", error.text);
        cr_expect(le(dbl, fabs(c.spearman - cases[i].spearman), 1e-15), "case %zu: %.17g", i, c.spearman);
        cr_expect(eq(int, c.common, cases[i].common), "case %zu", i);
        cr_expect(eq(int, c.k, cases[i].k < cases[i].n ? cases[i].k : cases[i].n), "case %zu", i);
        cr_assert(eq(int, jsc_compare(&g.a, &f.a, cases[i].k, &turned, &error), JSC_OK));
        cr_expect(le(dbl, fabs(turned.spearman - c.spearman), 1e-15));
        cr_expect(eq(int, turned.common, c.common), "case %zu", i);
    }
}

Test(compare, equal_scores_have_no_correlation)
{
    static const double same[] = {2, 2, 2}, other[] = {1, 2, 3};
    struct fake f, g;
    jsc_comparison c = {0};
    make(&f, &g, same, other, 3);
    cr_assert(eq(int, jsc_compare(&f.a, &g.a, 1, &c, NULL), JSC_OK));
    cr_expect(isnan(c.spearman));
    cr_expect(eq(int, c.common, 0)); /* of equal scores the earlier token counts: 0 against 2 */
    make(&f, &g, other, other, 1);
    cr_assert(eq(int, jsc_compare(&f.a, &g.a, 5, &c, NULL), JSC_OK));
    cr_expect(isnan(c.spearman));
    cr_expect(eq(int, c.k, 1));
    cr_expect(eq(int, c.common, 1));
}

Test(compare, tokens_after_the_earlier_position_do_not_count)
{
    static const double x[] = {1, 2, 3, 4, 0}, y[] = {1, 2, 3, 0, 0};
    struct fake f, g;
    jsc_comparison c = {0};
    make(&f, &g, x, y, 5);
    f.a.position = 3, g.a.position = 2;
    cr_assert(eq(int, jsc_compare(&f.a, &g.a, 5, &c, NULL), JSC_OK));
    cr_expect(eq(dbl, c.spearman, 1.0));
    cr_expect(eq(int, c.k, 3));
}

Test(compare, other_tokens_and_bad_arguments_are_refused)
{
    static const double x[] = {1, 2, 3};
    struct fake f, g;
    jsc_comparison c;
    jsc_error error = {0};
    make(&f, &g, x, x, 3);
    g.tokens[1].id = 4711;
    cr_expect(eq(int, jsc_compare(&f.a, &g.a, 1, &c, &error), JSC_E_ARGUMENT));
    cr_expect(strstr(error.text, "other tokens") != NULL, "%s", error.text);
    make(&f, &g, x, x, 3);
    g.a.n_tokens = 2;
    cr_expect(eq(int, jsc_compare(&f.a, &g.a, 1, &c, &error), JSC_E_ARGUMENT));
    cr_expect(eq(int, jsc_compare(&f.a, &f.a, 0, &c, &error), JSC_E_ARGUMENT));
    cr_expect(eq(int, jsc_compare(NULL, &f.a, 1, &c, &error), JSC_E_ARGUMENT));
    cr_expect(eq(int, jsc_compare(&f.a, &f.a, 1, NULL, &error), JSC_E_ARGUMENT));
}

Test(compare, every_allocation_may_fail)
{
    static const double x[] = {1, 2, 3};
    struct fake f, g;
    jsc_comparison c;
    make(&f, &g, x, x, 3);
    const size_t live = mem_live_bytes();
    for (long k = 1; k < 50; k++) {
        mem_fail_at(k, false);
        const jsc_status status = jsc_compare(&f.a, &g.a, 1, &c, NULL);
        mem_fail_at(0, false);
        cr_expect(eq(sz, mem_live_bytes(), live));
        if (status == JSC_OK) {
            cr_expect(k > 4);
            return;
        }
        cr_expect(eq(int, status, JSC_E_MEMORY));
    }
    cr_expect(0, "never ended");
}
