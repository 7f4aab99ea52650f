/* growth.c: how time grows with the number of tokens and of right-hand sides, beside straight lines. */
#include "bench.h"

#include <stdio.h>

void growth_print_tokens(const struct bench *bench, const char *name, const struct growth *g)
{
    if (g->n < 2)
        return;
    if (!bench->json)
        printf("\ngrowth with T: the pull-back of %s; \"rest\" is what attention_vjp does not explain\n%6s %12s %12s %8s %8s %12s %14s\n",
               name, "T", "pull-back s", "attention s", "of time", "of FLOP", "rest s", "rest / linear");
    for (int i = 0; i < g->n; i++) {
        struct strbuf s = {0};
        const double rest = g->seconds[i] - g->attention[i], first = g->seconds[0] - g->attention[0];
        const double line = first * g->tokens[i] / g->tokens[0], share = g->attention[i] / g->seconds[i];
        if (bench->json)
            strbuf_printf(&s,
                          "{\"section\": \"growth\", \"operation\": \"tokens\", \"case\": \"%s\", \"tokens\": %d, \"best_ms\": %.6g, "
                          "\"attention_ms\": %.6g, \"attention_share\": %.4g, \"attention_flops_share\": %.4g, \"rest_ms\": %.6g, "
                          "\"to_linear\": %.5g}",
                          name, g->tokens[i], g->seconds[i] * 1e3, g->attention[i] * 1e3, share, g->attention_flops[i], rest * 1e3,
                          rest / line);
        else
            strbuf_printf(&s, "%6d %12.3f %12.3f %7.1f%% %7.1f%% %12.3f %14.3f", g->tokens[i], g->seconds[i], g->attention[i],
                          share * 100.0, g->attention_flops[i] * 100.0, rest, rest / line);
        bench_put_line(&s);
    }
}

/* The first row gives the line; returns its seconds for each right-hand side. */
static double print_sides(const struct bench *bench, const char *name, const struct row *row, double each_first)
{
    struct strbuf s = {0};
    const double each = row->best / row->right_hand_sides, to_line = each_first > 0.0 ? each / each_first : 1.0;
    if (bench->json)
        strbuf_printf(&s,
                      "{\"section\": \"growth\", \"operation\": \"right-hand sides\", \"case\": \"%s\", \"tokens\": %d, "
                      "\"right_hand_sides\": %d, \"form\": \"%s\", \"best_ms\": %.6g, \"each_ms\": %.6g, \"to_linear\": %.5g}",
                      name, row->tokens, row->right_hand_sides, row->form, row->best * 1e3, each * 1e3, to_line);
    else
        strbuf_printf(&s, "%-22s %6d %8s %12.3f %12.3f %10.3f", name, row->right_hand_sides, row->form, row->best, each * 1e3, to_line);
    bench_put_line(&s);
    return each_first > 0.0 ? each_first : each;
}

void growth_right_hand_sides(struct whole *w, int n_tokens)
{
    static const int sides[] = {16, 32, 64, 128, 256};
    static const double rtols[] = {0.3, 0.05, 0.03, 0.02, 0.015};
    const struct bench *bench = w->bench;
    double first = 0.0;
    int before = 0;

    if (!bench->json)
        printf("\ngrowth with B at T = %d: VJP: the pull-back; adaptive Fisher: the whole call, B follows from the error asked for\n"
               "%-22s %6s %8s %12s %12s %10s\n",
               n_tokens, "", "B", "form", "s", "ms each", "to linear");
    for (size_t i = 0; i < sizeof sides / sizeof *sides; i++) {
        struct row row = {.section = "growth", .group = "growth", .name = "VJP"};
        w->request = (jsc_request)JSC_REQUEST_INIT;
        whole_directions(w, (size_t)sides[i]);
        whole_time(w, n_tokens, &row);
        row.best = w->backward;
        first = print_sides(bench, row.name, &row, first);
    }
    first = 0.0;
    for (size_t i = 0; i < sizeof rtols / sizeof *rtols; i++) {
        struct row row = {.section = "growth", .group = "growth", .name = "fisher, adaptive"};
        w->request = (jsc_request)JSC_REQUEST_INIT;
        w->request.scope = JSC_SCOPE_FISHER;
        w->request.fisher_rtol = rtols[i];
        whole_time(w, n_tokens, &row);
        if (w->last->fisher.mode != JSC_FISHER_ADAPTIVE || row.right_hand_sides <= before)
            continue; /* it went exact, or an earlier row needed as many */
        before = row.right_hand_sides;
        first = print_sides(bench, row.name, &row, first);
    }
}
