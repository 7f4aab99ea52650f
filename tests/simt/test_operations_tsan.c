/* test_operations_tsan.c: every operation of the CUDA backend at small shapes under the thread sanitizer: a race in a kernel ends the run with
 * a report that names its two lines. Results are not compared here (check_case does that); the preset simt-tsan builds it. */
#include "testing.h"

#include "simt.h"

static void run_on(const struct op_case *c, const struct jsc_ops *ops)
{
    struct outputs out = {.n = 0};
    struct rig rig;
    rig_open(&rig, ops, 1);
    case_run(c, &rig, 0, 0, case_filled(c).B, &out);
    rig_close(&rig);
    outputs_free(&out);
    data_free();
}

/* The sanitizer makes a kernel a hundred times slower: shapes that take more than some seconds are left out. */
static bool is_small(const struct op_case *small)
{
    const struct op_case c = case_filled(small);
    return !c.real && c.S * c.T * c.B <= 100 && c.d <= 140 && c.f <= 140 && c.n <= 140 && c.T <= 40 && (c.H + 2 * c.K) * c.h <= 1000;
}

/* One argument: an operation's name, or none: all. */
int main(int argc, char **argv)
{
    int n = 0;
    for (int i = 0; i < N_OP_CASES; i++) {
        const struct op_case *c = &op_cases[i];
        if (!is_small(c) || (argc > 1 && strcmp(argv[1], case_op_names[c->op]) != 0))
            continue;
        test_next_order();
        const double begin = clock_seconds();
        run_on(c, test_cuda());
        run_on(c, fast_cuda());
        printf("%s %s: %.1f s\n", case_op_names[c->op], c->name, clock_seconds() - begin);
        if (simt_message()[0] != '\0')
            return 1;
        n++;
    }
    printf("Tested: %d\n", n);
    return n == 0;
}
