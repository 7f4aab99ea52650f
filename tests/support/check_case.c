/* check_case.c: one case of the table on every backend: right to what float allows, the same bits however it is run. */
#include "testing.h"

size_t cases_of(unsigned long ops, struct op_case *out)
{
    size_t n = 0;
    for (int i = 0; i < N_OP_CASES; i++)
        if ((ops & BIT(op_cases[i].op)) != 0)
            out[n++] = case_for_test(&op_cases[i]);
    return n;
}

static struct outputs run_on(const struct op_case *c, const struct jsc_ops *ops, int threads, int chunk, int b_first, int b_n)
{
    struct outputs out = {.n = 0};
    struct rig rig;
    rig_open(&rig, ops, threads);
    case_run(c, &rig, chunk, b_first, b_n, &out);
    rig_close(&rig);
    return out;
}

/* Products summed in double and stored as float once (ops.h, "sums in double"): half an ulp; two are allowed. */
static bool is_rounded_once(const struct op_case *c)
{
    return c->op == OP_EMBED || c->op == OP_HEAD_VJP || c->op == OP_FISHER_ROWS;
}

static void check_against_ref(const struct op_case *c, const char *who, const struct output *own, const struct output *exact,
                              const struct output *naive)
{
    const size_t n = exact->rows * exact->width;
    double error = error_relative(own->v, exact->v, n), limit = 2.0 * error_relative(naive->v, exact->v, n) + EPS32;
    cr_assert(own->rows == exact->rows && own->width == exact->width);
    if (c->op == OP_GRAM) { /* double: the order of a sum may differ, and |sum of terms| <= the largest diagonal element */
        limit = 2.0 * c->n * DBL_EPSILON;
    } else if (is_rounded_once(c)) {
        error = error_elementwise(own->v, exact->v, n);
        limit = EPS32;
    }
    cr_expect(le(dbl, error, limit), "%s %s, %s, %s: relative error %.3g, limit %.3g", case_op_names[c->op], c->name, who, own->name, error,
              limit);
}

static void check_same(const struct op_case *c, const char *who, const char *how, const struct outputs *a, const struct outputs *b)
{
    cr_assert(a->n == b->n);
    for (int i = 0; i < a->n; i++) {
        const size_t n = a->part[i].rows * a->part[i].width;
        cr_expect(same_bits(a->part[i].v, b->part[i].v, n), "%s %s, %s, %s: not the same bits %s (relative difference %.3g)",
                  case_op_names[c->op], c->name, who, a->part[i].name, how, error_relative(b->part[i].v, a->part[i].v, n));
    }
}

/* Rows of right-hand side b out of all of them, against those of a run with b alone. */
static void check_one_b(const struct op_case *c, const char *who, int b, const struct outputs *all, const struct outputs *one)
{
    for (int i = 0; i < all->n; i++) {
        const struct output *a = &all->part[i], *o = &one->part[i];
        bool same = true;
        for (size_t t = 0; a->per_b && t < o->rows; t++)
            same = same && same_bits(a->v + (t * (size_t)c->B + (size_t)b) * a->width, o->v + t * a->width, a->width);
        cr_expect(same, "%s %s, %s, %s: right-hand side %d alone gives other bits than among %d", case_op_names[c->op], c->name, who,
                  a->name, b, c->B);
    }
}

static void check_backend(const struct op_case *c, const struct jsc_ops *ops, const struct outputs *exact, const struct outputs *naive)
{
    struct outputs one_thread = {.n = 0};
    char who[24];

    for (int threads = 1; threads <= 3; threads++) {
        struct outputs out = run_on(c, ops, threads, 0, 0, c->B), again = run_on(c, ops, threads, 0, 0, c->B);
        (void)snprintf(who, sizeof who, "%s with %d threads", ops->name, threads);
        check_same(c, who, "run to run", &out, &again);
        outputs_free(&again);
        for (int i = 0; i < out.n; i++)
            check_against_ref(c, who, &out.part[i], &exact->part[i], &naive->part[i]);
        if (threads == 1)
            one_thread = out;
        else
            outputs_free(&out);
        if (ops == &ops_ref)
            break; /* it has one thread */
    }
    for (int chunk = 1; chunk <= 3 && case_chunks(c); chunk += 2) {
        struct outputs out = run_on(c, ops, 1, chunk, 0, c->B);
        check_same(c, ops->name, chunk == 1 ? "row by row" : "in chunks of 3", &one_thread, &out);
        outputs_free(&out);
    }
    for (int b = 0; b < c->B && c->B > 1; b += c->B - 1) {
        struct outputs out = run_on(c, ops, 1, 0, b, 1);
        check_one_b(c, ops->name, b, &one_thread, &out);
        outputs_free(&out);
    }
    outputs_free(&one_thread);
}

void check_case(const struct op_case *c)
{
    struct outputs exact = run_on(c, &ops_ref, 1, 0, 0, c->B), naive = run_on(c, &ops_naive, 1, 0, 0, c->B);
    FOR_EACH_BACKEND(ops)
    {
        check_backend(c, ops, &exact, &naive);
    }
    outputs_free(&exact);
    outputs_free(&naive);
    data_free();
}
