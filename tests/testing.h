/* testing.h: what every operation test uses: backends by name, seeded data, buffers with guards, error measures that fail on NaN, and
 * the runner that puts one case of cases.h through one backend. */
#ifndef JSC_TESTING_H
#define JSC_TESTING_H

#include "cases.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/parameterized.h>

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EPS32 ((double)FLT_EPSILON)

/* ---- backends (testing.c) -------------------------------------------------------------------------------------------------- */

/* The backends that are in this build, ref first, NULL at the end; cuda where there is one. */
const struct jsc_ops *const *test_backends(void);
/* cuda: on the emulator in a build with JSC_SIMT, on hardware where JSC_TEST_DEVICE=cuda asks for it; else NULL. */
const struct jsc_ops *test_cuda(void);
/* Of the emulator: another order of threads and blocks than before; elsewhere nothing. */
void test_next_order(void);
#define FOR_EACH_BACKEND(ops) for (const struct jsc_ops *const *each_ = test_backends(), *ops = *each_; ops != NULL; ops = *++each_)

/* naive.c: the formulas of ref evaluated in float, loop for loop. Its error is the measure of what float costs: another backend may be
 * wrong by twice as much. */
extern const struct jsc_ops ops_naive;
/* The same with a collapse that rounds to bfloat16 where fast precision keeps bfloat16; for rigs that round. */
const struct jsc_ops *naive_bf16(void);

/* cpu in fast precision (testing.c): emulated, which is everywhere; native, whose device says strict where the processor has none. */
const struct jsc_ops *fast_emulated(void);
const struct jsc_ops *fast_native(void);
/* test_cuda() in fast precision, or NULL. */
const struct jsc_ops *fast_cuda(void);
/* x rounded to bfloat16, by arithmetic. */
double bf16_of(double x);

/* An open device and stream with the buffers and weights of one run. Every buffer ends in a guard that rig_close checks. */
struct rig {
    const struct jsc_ops *ops;
    struct jsc_device *device;
    struct jsc_stream *stream;
    jsc_error error;
    struct {
        dptr p;
        size_t bytes;
    } buffers[64];
    int n_buffers;
    struct jsc_weight *weights[8];
    int n_weights;
    bool turned; /* rig_weight stores the second part [k][n], twice as large as wanted, with a scale of 0.5 */
    bool
        rounds; /* set by the caller: cotangents that come in and weights of USE_VJP are rounded to bfloat16, as fast precision keeps them */
};
void rig_open(struct rig *rig, const struct jsc_ops *ops, int threads);
void rig_close(struct rig *rig);
/* Fails the test with the backend's own text. */
void rig_ok(struct rig *rig, jsc_status status, const char *what);
/* RUN(rig, norm, .n = 3, ...): one operation, which must succeed. */
#define RUN(rig, entry, ...) rig_ok((rig), (rig)->ops->entry((rig)->stream, &(struct op_##entry){__VA_ARGS__}, &(rig)->error), #entry)
dptr rig_up(struct rig *rig, enum role role, const double *values, size_t n); /* a new buffer with these values */
dptr rig_blank(struct rig *rig, enum role role, size_t n);                    /* a new buffer full of NaN */
dptr rig_bytes(struct rig *rig, const void *bytes, size_t n);                 /* a new buffer; bytes NULL: 0xFF, which is NaN too */
void rig_down(struct rig *rig, enum role role, double *out, dptr in, size_t n);
dptr rig_at(const struct rig *rig, enum role role, dptr p, size_t elements); /* p + elements; NULL stays NULL */
/* W [n][k] of data(id), in two parts if n > 1, with a bias of data(id + 1) if wanted. */
struct jsc_weight *rig_weight(struct rig *rig, int id, size_t n, size_t k, bool bias, unsigned uses);

/* ---- data (testing.c) -------------------------------------------------------------------------------------------------------- */

/* scale * normal numbers rounded to float, the same for the same (id, index); kept until data_free. */
const double *data(int id, size_t n, double scale);
void data_free(void);
double *new_doubles(size_t n); /* zeroed; caller frees with free() */
double dot(const double *a, const double *b, size_t n);

/* Columns of w by matmul with one-hot rows and its rows by matmul_vjp equal want [w->n][w->k] exactly. */
void check_products(struct rig *rig, const struct jsc_weight *w, const double *want, const char *what);

/* ---- errors (testing.c) ------------------------------------------------------------------------------------------------------ */

/* max |a - b| / max |b|, infinite if anything is not finite; 0 / 0 is 0. */
double error_relative(const double *a, const double *b, size_t n);
/* The same of scores, which are never all 0: infinite if b is. */
double error_of_scores(const double *a, const double *b, size_t n);
/* The same, each element by itself: max |a - b| / (|b| + 1e-9 max |b|). */
double error_elementwise(const double *a, const double *b, size_t n);
bool same_bits(const double *a, const double *b, size_t n);
/* f: x [nx] -> y [ny]; grad = its pull-back of cot at x. Central differences in double along single coordinates and along random
 * directions: the largest difference, relative to the largest element (or the norm) of grad. */
typedef void (*forward_fn)(const void *context, const double *x, double *y);
double error_of_gradient(forward_fn f, const void *context, size_t nx, const double *x, size_t ny, const double *cot, const double *grad);

/* ---- one case through one backend (run_forward.c, run_vjp.c, run_fisher.c) ------------------------------------------------------ */

/* One output array. rows x width; per_b: row = token * B + b; role: what the operation stores it as. */
struct output {
    char name[12];
    size_t rows, width;
    bool per_b;
    enum role role;
    double *v;
};
struct outputs {
    struct output part[8];
    int n;
};
void outputs_free(struct outputs *outputs);
/* Takes v. */
void outputs_add(struct outputs *outputs, const char *name, enum role role, size_t rows, size_t width, bool per_b, double *v);
void outputs_round(struct outputs *outputs); /* cotangents to bfloat16 */

struct op_run {
    struct op_case c; /* filled */
    struct rig *rig;
    int chunk;        /* row-local operations: tokens (or rows) per call; 0: all at once */
    int b_first, b_n; /* the right-hand sides taken of c.B */
    struct outputs *out;
};
/* Runs the case; chunk and the choice of right-hand sides must not change a bit of what comes out. */
void case_run(const struct op_case *c, struct rig *rig, int chunk, int b_first, int b_n, struct outputs *out);
/* True if the operation may be cut into calls of fewer rows. */
bool case_chunks(const struct op_case *c);

/* Helpers of the runners. */
void run_forward(struct op_run *run); /* embed ... add */
void run_vjp(struct op_run *run);     /* head_vjp ... scatter */
void run_fisher(struct op_run *run);
/* Rows [tokens * b_n][width] of cotangents: the chosen columns of [tokens * B][width]. Caller frees. */
double *run_cotangents(const struct op_run *run, int id, size_t tokens, size_t width);
int run_pos(const struct op_run *run, int b); /* target position of the b-th chosen right-hand side */
void run_take(struct op_run *run, const char *name, enum role role, dptr p, size_t rows, size_t width, bool per_b);
void run_take_doubles(struct op_run *run, const char *name, dptr p, size_t rows, size_t width, bool per_b); /* double device memory */

/* ---- the table test (check_case.c) ---------------------------------------------------------------------------------------------- */

/* Every backend against ref, repeated, with 1, 2 and 3 threads, chunked, right-hand sides one by one; fast precision likewise. */
void check_case(const struct op_case *c);
size_t cases_of(unsigned long ops, struct op_case *out);
#define BIT(op) (1UL << (op))
#define TABLE_TEST(suite, ops)                                                                                                             \
    ParameterizedTestParameters(suite, table)                                                                                              \
    {                                                                                                                                      \
        static struct op_case cases[N_OP_CASES];                                                                                           \
        return cr_make_param_array(struct op_case, cases, cases_of((ops), cases));                                                         \
    }                                                                                                                                      \
    ParameterizedTest(struct op_case *c, suite, table, .timeout = 120)                                                                     \
    {                                                                                                                                      \
        check_case(c);                                                                                                                     \
    }                                                                                                                                      \
    struct suite##_needs_semicolon

#endif
