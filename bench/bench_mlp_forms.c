/* bench_mlp_forms.c: direct, half and full of the MLP's VJP on the model's own blocks: which is fastest for B right-hand sides, and the
 * constants of mlp_form.c's cost model that fit the times. */
#include "bench.h"

#include "engine_internal.h"

#include <math.h>
#include <stdio.h>

#define ROUNDS     5 /* the forms take turns, so that a noisy machine hits all of them */
#define FORMS      3
#define SIDES_MOST 1024 /* right-hand sides that the plan is asked about */

static const int sides[] = {1, 4, 16, 32, 45, 64, 128, 256, 340, 576};
enum { N_SIDES = sizeof sides / sizeof *sides };

/* One block's MLP half for T tokens and B right-hand sides. */
struct kit {
    struct whole *w;
    const struct jsc_model *m;
    struct jsc_stream *stream;
    int T, B, tokens;                                    /* tokens at once, as planned */
    dptr c1, c2, x, r, mean, R, G, da, dgu, dn, scratch; /* G is R if one_type */
    int layer;                                           /* whose weights are taken next: caches stay cold, as in the walk */
};

struct times {
    double best[N_SIDES][FORMS]; /* seconds of T tokens */
};

static dptr noise(const struct kit *k, enum role role, size_t n, double scale)
{
    return bench_numbers(k->m->ops, k->m->device, k->stream, role, n, scale);
}

static void direct(struct kit *k, const struct block *b, size_t first, size_t n)
{
    const struct jsc_ops *ops = k->m->ops;
    const size_t real = k->stream->size_of[ROLE_REAL], d = (size_t)k->m->d, f = (size_t)k->m->f, B = (size_t)k->B;
    const struct rows rows = {.n = n * B, .B = k->B};
    const dptr R = dptr_at(k->R, first * B * d, real), G = dptr_at(k->G, first * B * d, k->stream->size_of[ROLE_COT]);
    jsc_error error;
    bench_ok(ops->matmul_vjp(k->stream, &(struct op_matmul_vjp){.n = rows.n, .w = b->down, .dy = G, .dx = k->da}, &error), &error, "down");
    bench_ok(ops->gate_vjp(k->stream,
                           &(struct op_gate_vjp){.rows = rows,
                                                 .f = k->m->f,
                                                 .gated = k->m->family->gated,
                                                 .da = k->da,
                                                 .c1 = dptr_at(k->c1, first * f, real),
                                                 .c2 = dptr_at(k->c2, first * f, real),
                                                 .dgu = k->dgu},
                           &error),
             &error, "gate_vjp");
    bench_ok(ops->matmul_vjp(k->stream, &(struct op_matmul_vjp){.n = rows.n, .w = b->up, .dy = k->dgu, .dx = k->dn}, &error), &error, "up");
    bench_ok(ops->norm_vjp(k->stream,
                           &(struct op_norm_vjp){.rows = rows,
                                                 .d = k->m->d,
                                                 .kind = k->m->family->norm,
                                                 .x = dptr_at(k->x, first * d, real),
                                                 .r = dptr_at(k->r, first, real),
                                                 .mean = dptr_at(k->mean, first, real),
                                                 .w = b->mlp_norm.w,
                                                 .dn = k->dn,
                                                 .R = R,
                                                 .G = G},
                           &error),
             &error, "norm_vjp");
}

static void collapse(struct kit *k, const struct block *b, enum mlp_form form, size_t first, size_t n)
{
    jsc_error error;
    const struct op_mlp_collapse op = {.form = form,
                                       .first = first,
                                       .n = n,
                                       .B = k->B,
                                       .d = k->m->d,
                                       .f = k->m->f,
                                       .gated = k->m->family->gated,
                                       .kind = k->m->family->norm,
                                       .up = b->up,
                                       .down = b->down,
                                       .c1 = k->c1,
                                       .c2 = k->c2,
                                       .x = k->x,
                                       .r = k->r,
                                       .mean = k->mean,
                                       .w = b->mlp_norm.w,
                                       .R = k->R,
                                       .G = k->G,
                                       .scratch = k->scratch};
    bench_ok(k->m->ops->mlp_collapse(k->stream, &op, &error), &error, "mlp_collapse");
}

/* Seconds of one block's MLP half. */
static double one_form(struct kit *k, enum mlp_form form)
{
    jsc_error error;
    const struct block *b = &k->m->blocks[k->layer++ % k->m->L];
    const double begin = clock_seconds();
    for (int first = 0; first < k->T; first += k->tokens) {
        const size_t n = (size_t)(k->T - first < k->tokens ? k->T - first : k->tokens);
        if (form == MLP_DIRECT)
            direct(k, b, (size_t)first, n);
        else
            collapse(k, b, form, (size_t)first, n);
    }
    bench_ok(k->m->ops->sync(k->stream, &error), &error, "sync");
    return clock_seconds() - begin;
}

static void kit_open(struct kit *k, int B)
{
    const struct jsc_model *m = k->m;
    const size_t T = (size_t)k->T, d = (size_t)m->d, f = (size_t)m->f, rows = T * (size_t)B;
    jsc_plan plan = JSC_PLAN_INIT;
    jsc_error error;

    k->B = B;
    whole_directions(k->w, (size_t)B);
    k->w->request.ids = k->w->ids;
    k->w->request.n_ids = T;
    k->w->request.chunk = B;
    bench_ok(jsc_plan_make(m, &k->w->request, &plan, &error), &error, "plan");
    k->tokens = plan.token_chunk;
    const size_t at_once = (size_t)k->tokens * (size_t)B;
    k->c1 = noise(k, ROLE_REAL, T * f, 1.0);
    k->c2 = noise(k, ROLE_REAL, T * f, 1.0);
    k->x = noise(k, ROLE_REAL, T * d, 1.0);
    k->r = noise(k, ROLE_REAL, T, 1e-3); /* small, so that R hardly changes however often it is pulled back */
    k->mean = noise(k, ROLE_REAL, T, 1e-3);
    k->R = noise(k, ROLE_REAL, rows * d, 1.0);
    k->G = k->stream->one_type ? k->R : noise(k, ROLE_COT, rows * d, 1.0);
    k->da = noise(k, ROLE_COT, at_once * f, 1.0);
    k->dgu = noise(k, ROLE_COT, at_once * f * (m->family->gated ? 2 : 1), 1.0);
    k->dn = noise(k, ROLE_COT, at_once * d, 1.0);
    size_t bytes = 0;
    for (int form = MLP_HALF; form <= MLP_FULL; form++) {
        const size_t need = m->ops->mlp_collapse_scratch(m->device, (enum mlp_form)form, (size_t)k->tokens, B, m->d, m->f);
        bytes = need > bytes ? need : bytes;
    }
    bench_ok(m->ops->alloc(m->device, bytes, &k->scratch, &error), &error, "alloc");
}

static void kit_close(struct kit *k)
{
    const dptr buffers[] = {k->c1, k->c2, k->x, k->r, k->mean, k->R, k->G != k->R ? k->G : NULL, k->da, k->dgu, k->dn, k->scratch};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        k->m->ops->free(k->m->device, buffers[i]);
}

static void measure(struct kit *k, struct times *times)
{
    for (int i = 0; i < N_SIDES; i++)
        for (int form = 0; form < FORMS; form++)
            times->best[i][form] = 1e30;
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < N_SIDES; i++) {
            kit_open(k, sides[i]);
            for (int again = 0; again < 2; again++)
                for (int form = 0; form < FORMS; form++)
                    times->best[i][form] = fmin(times->best[i][form], one_form(k, (enum mlp_form)form));
            kit_close(k);
        }
}

static double flops(const struct kit *k, enum mlp_form form, int B)
{
    return k->T * mlp_form_flops(form, B, k->m->d, k->m->f, k->m->family->gated);
}

/* Right-hand sides from which `later` stays faster than `earlier`, between two that were measured on a straight line; 0: never. */
static double crossing(const struct times *times, enum mlp_form earlier, enum mlp_form later)
{
    int i = N_SIDES;
    while (i > 0 && times->best[i - 1][later] < times->best[i - 1][earlier])
        i--;
    if (i == N_SIDES)
        return 0.0;
    if (i == 0)
        return sides[0];
    const double before = times->best[i - 1][later] - times->best[i - 1][earlier], after = times->best[i][earlier] - times->best[i][later];
    return sides[i - 1] + (sides[i] - sides[i - 1]) * before / (before + after);
}

/* The form that the plan takes for B right-hand sides at once. */
static int chosen(const struct kit *k, int B)
{
    jsc_plan plan = JSC_PLAN_INIT;
    jsc_error error;
    whole_directions(k->w, (size_t)B);
    k->w->request.ids = k->w->ids;
    k->w->request.n_ids = (size_t)k->T;
    k->w->request.chunk = B;
    bench_ok(jsc_plan_make(k->m, &k->w->request, &plan, &error), &error, "plan");
    return (int)plan.mlp_form;
}

/* Right-hand sides from which the plan takes form or a later one; 0: not up to SIDES_MOST. */
static int crossing_chosen(const struct kit *k, enum mlp_form form)
{
    int before = 0, from = SIDES_MOST;
    if (chosen(k, from) < (int)form)
        return 0;
    while (from - before > 1) {
        const int middle = (from + before) / 2;
        *(chosen(k, middle) < (int)form ? &before : &from) = middle;
    }
    return from;
}

/* The constants of mlp_form.c's cost model, in FLOPs of a large product:  direct = FLOPs + rows x FLOPs of a row;
 * half, full = small x FLOPs + mix x elements of W_t.  Least squares of relative errors. */
struct costs {
    double rate; /* FLOPs a second of a large product: direct's */
    double rows, small, mix;
};

static struct costs fit(const struct kit *k, const struct times *times)
{
    struct costs c;
    struct pair_fit direct_points = {0}, points = {0};
    const double elements = (double)k->T * k->m->d * k->m->f, row = flops(k, MLP_DIRECT, 1) / k->T;
    for (int i = 0; i < N_SIDES; i++)
        pair_fit_add(&direct_points, flops(k, MLP_DIRECT, sides[i]) / times->best[i][MLP_DIRECT], row / times->best[i][MLP_DIRECT]);
    c.rate = 1.0 / pair_fit_x(&direct_points);
    c.rows = pair_fit_y(&direct_points) * c.rate;
    for (int i = 0; i < N_SIDES; i++)
        for (int form = MLP_HALF; form <= MLP_FULL; form++) {
            const double cost = times->best[i][form] * c.rate;
            pair_fit_add(&points, flops(k, (enum mlp_form)form, sides[i]) / cost, elements / cost);
        }
    c.small = pair_fit_x(&points);
    c.mix = pair_fit_y(&points);
    return c;
}

static void print_times(const struct kit *k, const struct times *times)
{
    const bool json = k->w->bench->json;
    for (int i = 0; i < N_SIDES; i++) {
        struct strbuf s = {0};
        const double *best = times->best[i];
        const int taken = chosen(k, sides[i]);
        const int fastest = best[0] <= best[1] && best[0] <= best[2] ? 0 : best[1] <= best[2] ? 1 : 2;
        const double lost = best[taken] / best[fastest] - 1.0;
        const char *names[] = {jsc_mlp_form_name((jsc_mlp_form)fastest), jsc_mlp_form_name((jsc_mlp_form)taken)};
        if (json)
            strbuf_printf(&s,
                          "{\"section\": \"mlp-forms\", \"operation\": \"forms\", \"tokens\": %d, \"right_hand_sides\": %d, "
                          "\"direct_ms\": %.6g, \"half_ms\": %.6g, \"full_ms\": %.6g, \"fastest\": \"%s\", \"chosen\": \"%s\", "
                          "\"lost\": %.4g}",
                          k->T, sides[i], best[0] * 1e3, best[1] * 1e3, best[2] * 1e3, names[0], names[1], lost);
        else
            strbuf_printf(&s, "%6d %12.3f %12.3f %12.3f %9s %9s %6.1f%%", sides[i], best[0] * 1e3, best[1] * 1e3, best[2] * 1e3, names[0],
                          names[1], lost * 100.0);
        bench_put_line(&s);
    }
}

static void print_fit(const struct kit *k, const struct times *times, const struct costs *c)
{
    struct strbuf s = {0};
    const double half = crossing(times, MLP_DIRECT, MLP_HALF), full = crossing(times, MLP_HALF, MLP_FULL);
    const int plan_half = crossing_chosen(k, MLP_HALF), plan_full = crossing_chosen(k, MLP_FULL);
    if (k->w->bench->json)
        strbuf_printf(&s,
                      "{\"section\": \"mlp-forms\", \"operation\": \"fit\", \"tokens\": %d, \"half_from\": %.4g, \"full_from\": %.4g, "
                      "\"plan_half_from\": %d, \"plan_full_from\": %d, \"gflops\": %.6g, \"rows\": %.4g, \"small\": %.4g, \"mix\": %.4g}",
                      k->T, half, full, plan_half, plan_full, c->rate * 1e-9, c->rows, c->small, c->mix);
    else
        strbuf_printf(
            &s,
            "half overtakes direct at %.0f right-hand sides, full overtakes half at %.0f; the plan changes at %d and %d (0: never)\n"
            "fit, in FLOPs of a product at %.1f GFLOP/s: direct = FLOPs of %.1f rows more; half, full = %.2f x FLOPs + %.1f for an "
            "element of W_t\n(rows, small and mix of mlp_form.c)",
            half, full, plan_half, plan_full, c->rate * 1e-9, c->rows, c->small, c->mix);
    bench_put_line(&s);
}

void bench_mlp_forms(const struct bench *bench)
{
    static struct whole w;
    static struct times times;
    jsc_error error;
    whole_open(&w, bench, NULL);
    struct kit k = {.w = &w, .m = w.model, .T = bench->tokens[0]};
    bench_ok(k.m->ops->stream_open(k.m->device, &k.stream, &error), &error, "stream");
    if (!bench->json)
        printf("\nthe MLP half of one block, T = %d, d = %d, f = %d, all right-hand sides at once, milliseconds\n%6s %12s %12s %12s %9s "
               "%9s %7s\n",
               k.T, k.m->d, k.m->f, "B", "direct", "half", "full", "fastest", "chosen", "lost");
    measure(&k, &times);
    print_times(&k, &times);
    const struct costs costs = fit(&k, &times);
    print_fit(&k, &times, &costs);
    attention_costs(&w, costs.rate);
    k.m->ops->stream_close(k.stream);
    whole_close(&w);
}
