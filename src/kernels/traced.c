/* traced.c: JSC_TRACE=1: the same operation table with a clock around every entry; traced_report() gives the sums as lines.
 *
 * Times include the wait for the operation's end, so on a device they are longer in sum than an untraced run. */
#include "ops.h"

#include <pthread.h>
#include <stdio.h>

struct counter {
    const char *name;
    long calls;
    double seconds, rows;
};
enum {
    NORM,
    MATMUL,
    PART_NORM,
    ROPE,
    ATTENTION,
    GATE,
    ADD,
    EMBED,
    HEAD_VJP,
    MATMUL_VJP,
    NORM_VJP,
    NORM_PULL,
    PART_NORM_VJP,
    GATE_VJP,
    MLP_COLLAPSE,
    ATTENTION_VJP,
    ROPE_VJP,
    SCATTER,
    FISHER_ROWS,
    GRAM,
    FISHER_APPLY,
    PROBES,
    N_COUNTERS
};
static struct counter counters[N_COUNTERS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void count(int which, const char *name, double rows, double seconds)
{
    (void)pthread_mutex_lock(&lock);
    counters[which].name = name;
    counters[which].calls++;
    counters[which].rows += rows;
    counters[which].seconds += seconds;
    (void)pthread_mutex_unlock(&lock);
}

#define TRACED(entry, which, rows)                                                                                                         \
    static jsc_status traced_##entry(struct jsc_stream *s, const struct op_##entry *a, jsc_error *error)                                   \
    {                                                                                                                                      \
        const double start = clock_seconds();                                                                                              \
        jsc_status status = s->ops->entry(s, a, error);                                                                                    \
        if (status == JSC_OK)                                                                                                              \
            status = s->ops->sync(s, error);                                                                                               \
        count(which, #entry, (double)(rows), clock_seconds() - start);                                                                     \
        return status;                                                                                                                     \
    }
TRACED(norm, NORM, a->n)
TRACED(matmul, MATMUL, a->n)
TRACED(part_norm, PART_NORM, a->n)
TRACED(rope, ROPE, a->n)
TRACED(attention, ATTENTION, a->S * a->T)
TRACED(gate, GATE, a->n)
TRACED(add, ADD, a->n)
TRACED(embed, EMBED, a->n)
TRACED(head_vjp, HEAD_VJP, a->n)
TRACED(matmul_vjp, MATMUL_VJP, a->n)
TRACED(norm_vjp, NORM_VJP, a->rows.n)
TRACED(norm_pull, NORM_PULL, a->rows.n)
TRACED(part_norm_vjp, PART_NORM_VJP, a->rows.n)
TRACED(gate_vjp, GATE_VJP, a->rows.n)
TRACED(mlp_collapse, MLP_COLLAPSE, a->n *(size_t)a->B)
TRACED(attention_vjp, ATTENTION_VJP, (size_t)a->S *(size_t)a->T *(size_t)a->B)
TRACED(rope_vjp, ROPE_VJP, a->n)
TRACED(scatter, SCATTER, a->N)
TRACED(fisher_rows, FISHER_ROWS, a->n)
TRACED(gram, GRAM, a->n)
TRACED(fisher_apply, FISHER_APPLY, a->k)
TRACED(probes, PROBES, a->count)

struct jsc_ops traced_ops(const struct jsc_ops *real)
{
    struct jsc_ops t = *real;
    t.record_begin = NULL, t.record_end = NULL; /* every entry is waited for */
    t.norm = traced_norm, t.matmul = traced_matmul, t.rope = traced_rope, t.attention = traced_attention, t.gate = traced_gate;
    t.add = traced_add, t.embed = traced_embed, t.head_vjp = traced_head_vjp, t.matmul_vjp = traced_matmul_vjp;
    t.part_norm = traced_part_norm, t.norm_pull = traced_norm_pull, t.part_norm_vjp = traced_part_norm_vjp;
    t.norm_vjp = traced_norm_vjp, t.gate_vjp = traced_gate_vjp, t.mlp_collapse = traced_mlp_collapse;
    t.attention_vjp = traced_attention_vjp, t.rope_vjp = traced_rope_vjp, t.scatter = traced_scatter;
    t.fisher_rows = traced_fisher_rows, t.gram = traced_gram, t.fisher_apply = traced_fisher_apply, t.probes = traced_probes;
    return t;
}

void traced_report(jsc_log_fn log, void *user)
{
    char line[160];
    (void)pthread_mutex_lock(&lock);
    for (int i = 0; log != NULL && i < N_COUNTERS; i++) {
        if (counters[i].calls == 0)
            continue;
        (void)snprintf(line, sizeof line, "trace: %-14s %8ld calls %12.0f rows %10.4f s", counters[i].name, counters[i].calls,
                       counters[i].rows, counters[i].seconds);
        log(user, 1, line);
    }
    (void)pthread_mutex_unlock(&lock);
}
