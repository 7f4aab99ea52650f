/* test_attention.c: causal attention and its pull-back: derivative, closed forms, causality to the bit, the two shortcuts, every backend
 * against ref. */
#include "testing.h"

TABLE_TEST(attention, BIT(OP_ATTENTION) | BIT(OP_ATTENTION_VJP));

/* One shape on ref, whose device memory is host memory. */
struct shape {
    char name[24];
    int S, T, H, K, h, window;
    double cap;
};
static const struct shape shapes[] = {
    {"one token", 1, 1, 1, 1, 1, 0, 0.0}, {"gqa", 1, 7, 4, 2, 5, 0, 0.0},  {"K = 1", 2, 5, 3, 1, 4, 0, 0.0},
    {"window", 1, 9, 2, 2, 4, 3, 0.0},    {"cap", 1, 6, 2, 1, 4, 0, 0.75}, {"window, cap", 2, 8, 4, 2, 3, 4, 1.0},
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

struct attention_at {
    struct rig *rig;
    const struct shape *c;
};

static size_t width_of(const struct shape *c)
{
    return (size_t)(c->H + 2 * c->K) * (size_t)c->h;
}

static void attend(const struct attention_at *at, const double *qkv, double *o, double *lse)
{
    const struct shape *c = at->c;
    RUN(at->rig, attention, .S = c->S, .T = c->T, .H = c->H, .K = c->K, .h = c->h, .window = c->window, .scale = 0.6, .cap = c->cap,
        .qkv = (dptr)(uintptr_t)qkv, .o = o, .o_act = o, .lse = lse);
}

static void attention_forward(const void *context, const double *qkv, double *o)
{
    const struct attention_at *at = context;
    double *lse = new_doubles((size_t)(at->c->S * at->c->T * at->c->H));
    attend(at, qkv, o, lse);
    free(lse);
}

/* dqkv [S*T*B][W], poisoned before */
static double *pull(const struct attention_at *at, const double *qkv, int B, const double *dout, const int32_t *pos, const int32_t *last)
{
    const struct shape *c = at->c;
    const size_t N = (size_t)(c->S * c->T), size = N * (size_t)B * width_of(c);
    double *o = new_doubles(N * (size_t)(c->H * c->h)), *lse = new_doubles(N * (size_t)c->H), *dqkv = new_doubles(size);
    attend(at, qkv, o, lse);
    for (size_t i = 0; i < size; i++)
        dqkv[i] = NAN;
    RUN(at->rig, attention_vjp, .S = c->S, .T = c->T, .B = B, .H = c->H, .K = c->K, .h = c->h, .window = c->window, .scale = 0.6,
        .cap = c->cap, .pos = pos, .last = last, .qkv = (dptr)(uintptr_t)qkv, .o = o, .lse = lse, .dout = (dptr)(uintptr_t)dout,
        .dqkv = dqkv);
    free(o);
    free(lse);
    return dqkv;
}

Test(attention, vjp_is_the_derivative)
{
    struct rig rig;
    rig_open(&rig, &ops_ref, 1);
    for (int i = 0; i < N_SHAPES; i++) {
        const struct attention_at at = {&rig, &shapes[i]};
        const size_t N = (size_t)(at.c->S * at.c->T), W = width_of(at.c), out = N * (size_t)(at.c->H * at.c->h);
        const double *qkv = data(1, N * W, 1.0), *dout = data(2, out, 1.0);
        double *dqkv = pull(&at, qkv, 1, dout, NULL, NULL);
        cr_expect(le(dbl, error_of_gradient(attention_forward, &at, N * W, qkv, out, dout, dqkv), 1e-6), "%s", at.c->name);
        free(dqkv);
    }
    rig_close(&rig);
    data_free();
}

/* pos = the same cotangents in a dout that is zero elsewhere; last = no skip. Equal as numbers: what is left out adds zeros. */
Test(attention, shortcuts_equal_the_whole)
{
    enum { B = 3 };
    struct rig rig;
    rig_open(&rig, &ops_ref, 1);
    for (int i = 0; i < N_SHAPES; i++) {
        const struct attention_at at = {&rig, &shapes[i]};
        const size_t T = (size_t)at.c->T, N = (size_t)at.c->S * T, W = width_of(at.c), Hh = (size_t)(at.c->H * at.c->h);
        const double *qkv = data(1, N * W, 1.0), *few = data(2, (size_t)at.c->S * B * Hh, 1.0), *all = data(3, N * B * Hh, 1.0);
        double *scattered = new_doubles(N * B * Hh), *cut = new_doubles(N * B * Hh);
        int32_t pos[B];
        for (int b = 0; b < B; b++)
            pos[b] = (int32_t)((size_t)(5 * b + 2) % T);
        for (size_t row = 0; row < N * B; row++) {
            const size_t s = row / (T * B), t = row / B % T, b = row % B;
            if (t == (size_t)pos[b])
                memcpy(scattered + row * Hh, few + (s * B + b) * Hh, Hh * sizeof *few);
            if (t <= (size_t)pos[b])
                memcpy(cut + row * Hh, all + row * Hh, Hh * sizeof *all);
        }
        double *by_pos = pull(&at, qkv, B, few, pos, NULL), *by_rows = pull(&at, qkv, B, scattered, NULL, NULL);
        double *by_last = pull(&at, qkv, B, cut, NULL, pos), *by_all = pull(&at, qkv, B, cut, NULL, NULL);
        bool same = true;
        for (size_t j = 0; j < N * B * W; j++)
            same = same && by_pos[j] == by_rows[j] && by_last[j] == by_all[j];
        cr_expect(same, "%s", at.c->name);
        free(scattered), free(cut), free(by_pos), free(by_rows), free(by_last), free(by_all);
    }
    rig_close(&rig);
    data_free();
}

Test(attention, right_hand_sides_are_independent_and_linear)
{
    enum { B = 3 };
    const struct shape *c = &shapes[N_SHAPES - 1];
    struct rig rig;
    rig_open(&rig, &ops_ref, 1);
    const struct attention_at at = {&rig, c};
    const size_t N = (size_t)(c->S * c->T), W = width_of(c), Hh = (size_t)(c->H * c->h);
    const double *qkv = data(1, N * W, 1.0), *two = data(2, N * 2 * Hh, 1.0);
    double *three = new_doubles(N * B * Hh);
    for (size_t r = 0; r < N; r++) /* the third is 2 a - 3 b */
        for (size_t j = 0; j < Hh; j++) {
            const double a = two[(2 * r) * Hh + j], b = two[(2 * r + 1) * Hh + j];
            three[(B * r) * Hh + j] = a, three[(B * r + 1) * Hh + j] = b, three[(B * r + 2) * Hh + j] = 2.0 * a - 3.0 * b;
        }
    double *dqkv = pull(&at, qkv, B, three, NULL, NULL), *sum = new_doubles(N * W), *third = new_doubles(N * W);
    for (size_t r = 0; r < N; r++)
        for (size_t j = 0; j < W; j++) {
            sum[r * W + j] = 2.0 * dqkv[(B * r) * W + j] - 3.0 * dqkv[(B * r + 1) * W + j];
            third[r * W + j] = dqkv[(B * r + 2) * W + j];
        }
    cr_expect(le(dbl, error_relative(third, sum, N * W), 1e-14));
    free(three), free(dqkv), free(sum), free(third);
    rig_close(&rig);
    data_free();
}

/* q = 0: the mean of the visible v, lse = log of their number. A window of 1: o = v. */
Test(attention, closed_forms_on_every_backend)
{
    enum { T = 6, H = 2, SIZE = 3, W = 4 * SIZE }; /* K = 1 */
    FOR_EACH_BACKEND(ops)
    {
        for (int window = 0; window <= 3; window++) {
            double qkv[T * W], o[T * H * SIZE], lse[T * H];
            struct rig rig;
            memcpy(qkv, data(1, T * W, 1.0), sizeof qkv);
            for (int t = 0; t < T; t++)
                memset(qkv + t * W, 0, H * SIZE * sizeof *qkv);
            rig_open(&rig, ops, 1);
            dptr od = rig_blank(&rig, ROLE_REAL, T * H * SIZE), ld = rig_blank(&rig, ROLE_REAL, T * H);
            RUN(&rig, attention, .S = 1, .T = T, .H = H, .K = 1, .h = SIZE, .window = window, .scale = 1.0,
                .qkv = rig_up(&rig, ROLE_REAL, qkv, T * W), .o = od,
                .o_act = rig.stream->one_type ? od : rig_blank(&rig, ROLE_ACT, T * H * SIZE), .lse = ld);
            rig_down(&rig, ROLE_REAL, o, od, T * H * SIZE);
            rig_down(&rig, ROLE_REAL, lse, ld, T * H);
            for (int i = 0; i < T; i++) {
                const int first = window > 0 && i - window + 1 > 0 ? i - window + 1 : 0, visible = i - first + 1;
                for (int c = 0; c < H * SIZE; c++) {
                    double mean = 0.0;
                    for (int j = first; j <= i; j++)
                        mean += qkv[j * W + (H + 1) * SIZE + c % SIZE] / visible;
                    cr_expect(epsilon_eq(dbl, o[i * H * SIZE + c], mean, 4.0 * EPS32), "%s, window %d, token %d", ops->name, window, i);
                }
                cr_expect(epsilon_eq(dbl, lse[i * H], log(visible), 2.0 * EPS32), "%s, window %d, token %d", ops->name, window, i);
            }
            rig_close(&rig);
        }
    }
    data_free();
}

/* Scores of a few hundred: exp without the largest taken off overflows. */
Test(attention, large_scores_do_not_overflow_on_every_backend)
{
    enum { T = 5, SIZE = 4, W = 3 * SIZE };
    FOR_EACH_BACKEND(ops)
    {
        double o[T * SIZE], lse[T];
        struct rig rig;
        rig_open(&rig, ops, 1);
        dptr od = rig_blank(&rig, ROLE_REAL, T * SIZE), ld = rig_blank(&rig, ROLE_REAL, T);
        RUN(&rig, attention, .S = 1, .T = T, .H = 1, .K = 1, .h = SIZE, .scale = 100.0,
            .qkv = rig_up(&rig, ROLE_REAL, data(1, T * W, 3.0), T * W), .o = od,
            .o_act = rig.stream->one_type ? od : rig_blank(&rig, ROLE_ACT, T * SIZE), .lse = ld);
        rig_down(&rig, ROLE_REAL, o, od, T * SIZE);
        rig_down(&rig, ROLE_REAL, lse, ld, T);
        for (int i = 0; i < T * SIZE; i++)
            cr_expect(isfinite(o[i]) && isfinite(lse[i / SIZE]), "%s: o %g, lse %g", ops->name, o[i], lse[i / SIZE]);
        rig_close(&rig);
    }
    data_free();
}

/* A token that cannot be seen from the cotangent's position has an exactly zero gradient: after it, and before its window. */
Test(attention, unreachable_tokens_are_exactly_zero_on_every_backend)
{
    FOR_EACH_BACKEND(ops)
    {
        for (int live = LIVE_TOP; live <= LIVE_LAST; live++) {
            const struct op_case c = {OP_ATTENTION_VJP, "zero", .S = 2, .T = 11,     .B = 4,
                                      .H = 4,           .K = 2, .h = 6, .window = 3, .live = (enum case_live)live};
            const size_t W = (size_t)(c.H + 2 * c.K) * (size_t)c.h;
            struct outputs out = {.n = 0};
            struct rig rig;
            rig_open(&rig, ops, 2);
            case_run(&c, &rig, 0, 0, c.B, &out);
            const struct op_run run = {.c = c, .b_n = c.B};
            for (int row = 0; row < c.S * c.T * c.B; row++) {
                const int t = row / c.B % c.T, pos = run_pos(&run, row % c.B);
                const bool reachable = t <= pos && (live == LIVE_LAST || t > pos - c.window);
                const double *dqkv = out.part[0].v + (size_t)row * W;
                cr_expect(eq(int, dot(dqkv, dqkv, W) != 0.0, reachable), "%s, token %d, position %d", ops->name, t, pos);
            }
            rig_close(&rig);
            outputs_free(&out);
        }
    }
    data_free();
}

/* ---- cuda: forms and pieces that shapes alone do not reach -------------------------------------------------------------------------- */

#ifdef JSC_SIMT
#include "simt.h"

extern size_t attention_vjp_prob_bytes; /* attention_vjp_cuda.cu */

static struct outputs vjp_of(const struct op_case *c, const struct jsc_ops *ops)
{
    struct outputs out = {.n = 0};
    struct rig rig;
    rig_open(&rig, ops, 1);
    rig.rounds = true;
    case_run(c, &rig, 0, 0, c->B, &out);
    rig_close(&rig);
    return out;
}

static bool outputs_same(const struct outputs *a, const struct outputs *b)
{
    return same_bits(a->part[0].v, b->part[0].v, a->part[0].rows * a->part[0].width);
}

/* The plain form, the short form with two terms and with one, the long form. */
static const struct op_case cuda_forms[] = {
    {OP_ATTENTION_VJP, "plain", .S = 1, .T = 70, .B = 2, .H = 4, .K = 2, .h = 9, .window = 50},
    {OP_ATTENTION_VJP, "short", .S = 2, .T = 50, .B = 2, .H = 2, .K = 1, .h = 64},
    {OP_ATTENTION_VJP, "short, one term", .S = 1, .T = 70, .B = 1, .H = 2, .K = 1, .h = 128},
    {OP_ATTENTION_VJP, "long", .S = 1, .T = 140, .B = 1, .H = 2, .K = 1, .h = 64, .window = 100},
    {OP_ATTENTION_VJP, "row", .S = 1, .T = 40, .B = 3, .H = 2, .K = 1, .h = 64, .live = LIVE_TOP},
};

Test(attention, cuda_gives_the_same_bits_in_every_order_of_threads)
{
    for (size_t i = 0; i < sizeof cuda_forms / sizeof *cuda_forms; i++) {
        simt_settings.seed = 0;
        struct outputs first = vjp_of(&cuda_forms[i], fast_cuda());
        for (unsigned seed = 1; seed <= 4; seed++) {
            simt_settings.seed = seed;
            struct outputs again = vjp_of(&cuda_forms[i], fast_cuda());
            cr_expect(outputs_same(&first, &again), "%s, seed %u", cuda_forms[i].name, seed);
            outputs_free(&again);
        }
        outputs_free(&first);
    }
    data_free();
}

/* Cards with 163 and 99 KB of shared memory a block take fewer terms, smaller tiles or another form: right all the same. */
Test(attention, cuda_forms_of_cards_with_less_shared_memory)
{
    static const struct op_case cases[] = {
        {OP_ATTENTION_VJP, "T = 66, h = 64", .S = 1, .T = 66, .B = 1, .H = 2, .K = 1, .h = 64, .cap = 2.0},
        {OP_ATTENTION_VJP, "T = 33, h = 128", .S = 1, .T = 33, .B = 1, .H = 2, .K = 2, .h = 128},
        {OP_ATTENTION_VJP, "T = 70, h = 128", .S = 1, .T = 70, .B = 1, .H = 1, .K = 1, .h = 128},
        {OP_ATTENTION_VJP, "T = 40, h = 256", .S = 1, .T = 40, .B = 1, .H = 2, .K = 1, .h = 256, .live = LIVE_LAST},
        {OP_ATTENTION_VJP, "T = 20, h = 96", .S = 1, .T = 20, .B = 2, .H = 2, .K = 1, .h = 96},
    };
    static const size_t limits[] = {163 << 10, 99 << 10};
    const size_t whole = simt_settings.shared_limit;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct outputs exact = vjp_of(&cases[i], &ops_ref);
        for (int l = 0; l < 2; l++) {
            simt_settings.shared_limit = limits[l];
            struct outputs out = vjp_of(&cases[i], fast_cuda());
            cr_expect(le(dbl, error_relative(out.part[0].v, exact.part[0].v, exact.part[0].rows * exact.part[0].width), 0x1p-7),
                      "%s, %zu bytes", cases[i].name, limits[l]);
            outputs_free(&out);
        }
        simt_settings.shared_limit = whole;
        outputs_free(&exact);
    }
    data_free();
}

/* Probabilities of one pair at a time, and of slabs of keys and queries where not even one pair fits. */
Test(attention, cuda_pieces_of_probabilities_change_no_bit)
{
    static const struct op_case cases[] = {
        {OP_ATTENTION_VJP, "plain", .S = 2, .T = 270, .B = 1, .H = 4, .K = 2, .h = 4, .cap = 2.0},
        {OP_ATTENTION_VJP, "plain, window", .S = 1, .T = 270, .B = 1, .H = 1, .K = 1, .h = 4, .window = 150, .cap = 2.0},
        {OP_ATTENTION_VJP, "short", .S = 2, .T = 20, .B = 2, .H = 4, .K = 2, .h = 32},
        {OP_ATTENTION_VJP, "long", .S = 1, .T = 270, .B = 1, .H = 2, .K = 2, .h = 32, .cap = 2.0},
    };
    const size_t whole = attention_vjp_prob_bytes;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct outputs at_once = vjp_of(&cases[i], fast_cuda());
        const size_t T = (size_t)(cases[i].T + 15) / 16 * 16, pair = 16 * T * T * (size_t)(cases[i].H / cases[i].K);
        for (int piece = 0; piece < 2; piece++) {
            attention_vjp_prob_bytes = piece == 0 ? pair : 1;
            struct outputs out = vjp_of(&cases[i], fast_cuda());
            cr_expect(outputs_same(&at_once, &out), "%s: %zu bytes", cases[i].name, attention_vjp_prob_bytes);
            outputs_free(&out);
        }
        attention_vjp_prob_bytes = whole;
        outputs_free(&at_once);
    }
    data_free();
}

/* What is planned for a prompt holds each shorter one, whatever form that takes. */
Test(attention, cuda_scratch_grows_with_the_prompt)
{
    static const size_t limits[] = {227 << 10, 163 << 10, 99 << 10};
    static const int sizes[] = {32, 64, 80, 96, 100, 128, 256};
    for (int l = 0; l < 3; l++) {
        struct rig rig;
        simt_settings.shared_limit = limits[l];
        rig_open(&rig, fast_cuda(), 1);
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            size_t before = 0;
            for (int T = 1; T < 300; T++) {
                const size_t bytes = rig.ops->attention_vjp_scratch(rig.device, 1, T, 7, 8, 2, sizes[i]);
                cr_expect(le(sz, before, bytes), "h = %d, T = %d, %zu bytes of shared memory", sizes[i], T, limits[l]);
                before = bytes;
            }
        }
        rig_close(&rig);
    }
}

Test(attention, cuda_refuses_heads_that_its_kernels_do_not_hold)
{
    enum { SIZE = 257 };
    struct rig rig;
    rig_open(&rig, test_cuda(), 1);
    dptr qkv = rig_blank(&rig, ROLE_REAL, 3 * SIZE), o = rig_blank(&rig, ROLE_REAL, SIZE), lse = rig_blank(&rig, ROLE_REAL, 1);
    const struct op_attention op = {.S = 1, .T = 1, .H = 1, .K = 1, .h = SIZE, .scale = 1.0, .qkv = qkv, .o = o, .o_act = o, .lse = lse};
    cr_expect(eq(int, rig.ops->attention(rig.stream, &op, &rig.error), JSC_E_UNSUPPORTED));
    const bool said = strstr(rig.error.text, "heads of 257 columns") != NULL;
    cr_expect(said, "%s", rig.error.text);
    rig_close(&rig);
}
#endif
