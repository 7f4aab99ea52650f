/* run_fisher.c: runs one case of a Fisher operation on a rig; and what the runners share. */
#include "testing.h"

/* n different ids below V, not in order */
static int32_t *some_ids(int n, int V)
{
    int32_t *ids = calloc((size_t)n, sizeof *ids);
    cr_assert(ids != NULL && n <= V);
    for (int i = 0; i < n; i++)
        ids[i] = V - 1 - i;
    return ids;
}

static void run_fisher_rows(struct op_run *run)
{
    const struct op_case *c = &run->c;
    struct rig *rig = run->rig;
    const size_t n = (size_t)c->n, d = (size_t)c->d;
    const struct jsc_weight *w = rig_weight(rig, 10, (size_t)c->V, d, false, USE_ROWS);
    dptr wc = rig_blank(rig, ROLE_REAL, n * d);
    double *p = new_doubles(n), *slope = new_doubles(n), sum = 0.0, *trace = new_doubles(1);
    int32_t *ids = some_ids(c->n, c->V);
    for (size_t i = 0; i < n; i++) {
        p[i] = exp(2.0 * rng_normal(1, 1, i));
        slope[i] = rng_unit(1, 2, i);
        sum += p[i];
    }
    for (size_t i = 0; i < n; i++)
        p[i] /= 1.001 * sum; /* a little of the probability was dropped */
    *trace = NAN;
    RUN(rig, fisher_rows, .n = n, .ids = ids, .p = p, .slope = c->slope ? slope : NULL, .w = w, .wc = wc, .trace = trace);
    rig_ok(rig, rig->ops->sync(rig->stream, &rig->error), "sync");
    run_take(run, "wc", ROLE_REAL, wc, n, d, false);
    outputs_add(run->out, "trace", ROLE_REAL, 1, 1, false, trace);
    free(ids);
    free(p);
    free(slope);
}

static void run_gram(struct op_run *run)
{
    const size_t n = (size_t)run->c.n, d = (size_t)run->c.d;
    dptr wc = rig_up(run->rig, ROLE_REAL, data(1, n * d, 1.0), n * d);
    double *out = new_doubles(d * d);
    for (size_t i = 0; i < d * d; i++)
        out[i] = NAN;
    RUN(run->rig, gram, .n = n, .d = run->c.d, .wc = wc, .out = out);
    outputs_add(run->out, "gram", ROLE_REAL, d, d, false, out);
}

static void run_fisher_apply(struct op_run *run)
{
    const size_t n = (size_t)run->c.n, d = (size_t)run->c.d, k = (size_t)run->b_n;
    struct rig *rig = run->rig;
    double *host = run_cotangents(run, 2, 1, d);
    dptr wc = rig_up(rig, ROLE_REAL, data(1, n * d, 1.0), n * d), m = rig_up(rig, ROLE_REAL, host, k * d);
    dptr c = rig_blank(rig, ROLE_REAL, k * n), fm = rig_blank(rig, ROLE_REAL, k * d);
    RUN(rig, fisher_apply, .n = n, .k = (int)k, .d = (int)d, .wc = wc, .m = m, .c = c, .fm = fm);
    run_take(run, "fm", ROLE_REAL, fm, k, d, true);
    free(host);
}

static void run_probes(struct op_run *run)
{
    const size_t n = (size_t)run->c.n, d = (size_t)run->c.d, count = (size_t)run->b_n;
    struct rig *rig = run->rig;
    int32_t *ids = some_ids(run->c.n, run->c.V);
    dptr wc = rig_up(rig, ROLE_REAL, data(1, n * d, 1.0), n * d), out = rig_blank(rig, ROLE_REAL, count * d);
    RUN(rig, probes, .n = n, .count = (int)count, .d = (int)d, .seed = 3, .first = 5 + (uint64_t)run->b_first, .ids = ids, .wc = wc,
        .out = out);
    run_take(run, "out", ROLE_REAL, out, count, d, true);
    free(ids);
}

void run_fisher(struct op_run *run)
{
    static void (*const runners[OP_COUNT])(struct op_run *) = {
        [OP_FISHER_ROWS] = run_fisher_rows,
        [OP_GRAM] = run_gram,
        [OP_FISHER_APPLY] = run_fisher_apply,
        [OP_PROBES] = run_probes,
    };
    runners[run->c.op](run);
}

/* ---- shared -------------------------------------------------------------------------------------------------------------------- */

double *run_cotangents(const struct op_run *run, int id, size_t tokens, size_t width)
{
    const size_t B = (size_t)run->c.B, taken = (size_t)run->b_n;
    const double *all = data(id, tokens * B * width, 1.0);
    double *out = new_doubles(tokens * taken * width);
    for (size_t t = 0; t < tokens; t++)
        memcpy(out + t * taken * width, all + (t * B + (size_t)run->b_first) * width, taken * width * sizeof *out);
    return out;
}

int run_pos(const struct op_run *run, int b)
{
    return (7 * (run->b_first + b) + run->c.T - 1) % run->c.T;
}

void outputs_add(struct outputs *outputs, const char *name, enum role role, size_t rows, size_t width, bool per_b, double *v)
{
    cr_assert(outputs->n < (int)(sizeof outputs->part / sizeof *outputs->part));
    struct output *out = &outputs->part[outputs->n++];
    *out = (struct output){.rows = rows, .width = width, .per_b = per_b, .role = role, .v = v};
    (void)snprintf(out->name, sizeof out->name, "%s", name);
}

void outputs_round(struct outputs *outputs)
{
    for (int i = 0; i < outputs->n; i++)
        for (size_t j = 0; outputs->part[i].role == ROLE_COT && j < outputs->part[i].rows * outputs->part[i].width; j++)
            outputs->part[i].v[j] = bf16_of(outputs->part[i].v[j]);
}

void outputs_free(struct outputs *outputs)
{
    for (int i = 0; i < outputs->n; i++)
        free(outputs->part[i].v);
    outputs->n = 0;
}

void run_take(struct op_run *run, const char *name, enum role role, dptr p, size_t rows, size_t width, bool per_b)
{
    double *v = new_doubles(rows * width);
    rig_down(run->rig, role, v, p, rows * width);
    outputs_add(run->out, name, role, rows, width, per_b, v);
}

void run_take_doubles(struct op_run *run, const char *name, dptr p, size_t rows, size_t width, bool per_b)
{
    double *v = new_doubles(rows * width);
    rig_ok(run->rig, run->rig->ops->get_bytes(run->rig->stream, v, p, rows * width * sizeof *v, &run->rig->error), "get_bytes");
    outputs_add(run->out, name, ROLE_REAL, rows, width, per_b, v);
}

void case_run(const struct op_case *c, struct rig *rig, int chunk, int b_first, int b_n, struct outputs *out)
{
    struct op_run run = {.c = case_filled(c), .rig = rig, .chunk = chunk, .b_first = b_first, .b_n = b_n, .out = out};
    rig->turned = c->turned;
    if (c->op <= OP_ADD)
        run_forward(&run);
    else if (c->op <= OP_SCATTER)
        run_vjp(&run);
    else
        run_fisher(&run);
}

bool case_chunks(const struct op_case *c)
{
    switch (c->op) {
    case OP_HEAD_VJP:
    case OP_ATTENTION_VJP:
    case OP_SCATTER:
    case OP_FISHER_ROWS:
    case OP_GRAM:
    case OP_FISHER_APPLY:
    case OP_PROBES:
        return false;
    default:
        return true;
    }
}
