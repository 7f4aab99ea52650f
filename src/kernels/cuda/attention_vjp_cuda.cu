/* attention_vjp_cuda.cu: the entry of attention's VJP: which form, what it shares between right-hand sides, in how many pieces. Formulas: ops.h.
 *
 *   one query per right-hand side (pos)            attention_vjp_row_cuda.cu    no scratch
 *   fast, T <= 128 and an instance that fits       attention_vjp_short_cuda.cu  P key-major, two bf16 terms where shared memory holds them
 *   fast, else an instance by head size            attention_vjp_long_cuda.cu   P in both orders, one bf16 term
 *   else                                           attention_vjp_plain_cuda.cu  P in both orders, fp32
 * Scratch: [qkv in two bf16 terms][D][P: at most attention_vjp_prob_bytes, or one slab]. P of as many (sequence, kv head) pairs as fit is made at
 * once; where one pair does not fit, its keys go in slabs (dk, dv), then its queries (dq), and each element of P is made twice. How it is cut
 * changes no bit. Head sizes to 256.
 */
#include "attention_vjp.cuh"

#include <assert.h>

extern "C" size_t attention_vjp_prob_bytes;
size_t attention_vjp_prob_bytes = (size_t)256 << 20; /* tests make it small */

enum { SLAB = 128, GRID_MOST = 65535 };
enum vjp_form { FORM_PLAIN, FORM_SHORT, FORM_LONG };

struct vjp_plan {
    enum vjp_form form;
    int terms; /* bf16 terms of P; plain: 1 of float */
    size_t element;                              /* bytes of one element of P */
    size_t dots_at, probs_at, prob_bytes, bytes; /* scratch: terms at 0, then these */
};

static size_t round_to(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

/* Bytes grow with each size, also from one form to the next: what was planned for T tokens holds fewer. So P is always counted with a
 * soft-cap, and in the short form with two terms: 8 bytes an element as in the long form (2 matrices, 2 orders, 2 bytes); plain: 16. */
static vjp_plan plan_of(const struct jsc_device *device, int S, int T, int B, int H, int K, int h)
{
    const size_t limit = ((const struct cuda_device *)device)->shared_limit, padded = round_to((size_t)T, 16), group = (size_t)(H / K);
    const int short_terms = device->precision == JSC_PRECISION_FAST ? attention_vjp_short_terms(limit, h, T) : 0;
    vjp_plan plan = {FORM_PLAIN, 1, sizeof(float), 0, 0, 0, 0};
    if (short_terms > 0)
        plan.form = FORM_SHORT, plan.terms = short_terms, plan.element = sizeof(bf16);
    else if (device->precision == JSC_PRECISION_FAST && attention_vjp_long_has(limit, h))
        plan.form = FORM_LONG, plan.element = sizeof(bf16);
    const size_t row = 4 * plan.element * padded * group, slab = row * (padded < SLAB ? padded : (size_t)SLAB), all = (size_t)S * K * padded * row;
    const size_t most = attention_vjp_prob_bytes > slab ? attention_vjp_prob_bytes : slab;
    plan.dots_at = plan.form == FORM_PLAIN ? 0 : round_to(2 * sizeof(bf16) * (size_t)S * T * (H + 2 * K) * h, 256);
    plan.probs_at = plan.dots_at;
    if (plan.form != FORM_SHORT)
        plan.probs_at += round_to(sizeof(float) * (size_t)S * B * H * round_to((size_t)T, TILE), 256);
    plan.prob_bytes = all < most ? all : most;
    plan.bytes = plan.probs_at + plan.prob_bytes;
    return plan;
}

extern "C" size_t attention_vjp_scratch_cuda(struct jsc_device *device, int S, int T, int B, int H, int K, int h)
{
    return plan_of(device, S, T, B, H, K, h).bytes;
}

/* ---- pieces: P of some pairs, keys and queries, then what it serves ---------------------------------------------------------------------- */

struct vjp_run {
    attention_vjp_args a;
    vjp_plan plan;
    size_t shared_limit;
    char *probs;
    cudaStream_t stream;
};
enum { BY_KEY = 1, BY_QUERY = 2 };

static cudaError_t run_piece(const vjp_run &r, attention_probs p, int orders)
{
    const size_t elements = (size_t)p.pairs * r.a.group * p.keys * p.queries, terms = (size_t)r.plan.terms;
    const enum attention_prob_type type = r.plan.form == FORM_PLAIN ? PROB_F32 : terms == 2 ? PROB_TWO_BF16 : PROB_BF16;
    p.term = elements;
    p.slope = r.a.cap > 0.0f ? terms * elements : 0;
    p.by_key = orders & BY_KEY ? r.probs : NULL;
    p.by_query = orders & BY_QUERY ? r.probs + (orders & BY_KEY ? (p.slope + terms * elements) * r.plan.element : 0) : NULL;
    cudaError_t error = attn_prob_launch(r.a, p, type, r.stream);
    if (error == cudaSuccess && r.plan.form == FORM_SHORT)
        return attention_vjp_short(r.a, p, r.shared_limit, r.stream);
    if (error == cudaSuccess && p.by_key)
        error = r.plan.form == FORM_LONG ? attention_vjp_long_keys(r.a, p, r.shared_limit, r.stream) : attention_vjp_plain_keys(r.a, p, r.stream);
    if (error == cudaSuccess && p.by_query)
        error = r.plan.form == FORM_LONG ? attention_vjp_long_queries(r.a, p, r.shared_limit, r.stream)
                                         : attention_vjp_plain_queries(r.a, p, r.stream);
    return error;
}

/* The matrices of one pair do not fit: slabs of its keys, then of its queries. */
static cudaError_t run_slabs(const vjp_run &r, int pair, int padded, int slab)
{
    cudaError_t error = cudaSuccess;
    for (int from = 0; from < padded && error == cudaSuccess; from += slab) {
        const int count = slab < padded - from ? slab : padded - from;
        const attention_probs p = {pair, 1, from, count, from, padded - from, NULL, NULL, 0, 0};
        error = run_piece(r, p, BY_KEY);
    }
    for (int from = 0; from < padded && error == cudaSuccess; from += slab) {
        const int count = slab < padded - from ? slab : padded - from;
        const attention_probs p = {pair, 1, 0, from + count, from, count, NULL, NULL, 0, 0};
        error = run_piece(r, p, BY_QUERY);
    }
    return error;
}

static cudaError_t run_pairs(const vjp_run &r)
{
    const int padded = (int)round_to((size_t)r.a.T, 16), group = r.a.group, pairs = r.a.S * r.a.K, orders = r.plan.form == FORM_SHORT ? 1 : 2;
    const size_t row = (size_t)r.plan.terms * r.plan.element * (r.a.cap > 0.0f ? 2 : 1) * padded * group; /* of one order */
    const size_t fit = r.plan.prob_bytes / (row * padded * orders), most = (size_t)(GRID_MOST / (2 * group)); /* a grid's z */
    const int step = (int)(fit < most ? fit : most);
    cudaError_t error = cudaSuccess;
    for (int pair = 0; pair < pairs && error == cudaSuccess; pair += step > 0 ? step : 1) {
        const attention_probs p = {pair, step < pairs - pair ? step : pairs - pair, 0, padded, 0, padded, NULL, NULL, 0, 0};
        error = step > 0 ? run_piece(r, p, orders == 1 ? BY_KEY : BY_KEY | BY_QUERY)
                         : run_slabs(r, pair, padded, (int)(r.plan.prob_bytes / row / SLAB * SLAB));
    }
    return error;
}

static cudaError_t run(const struct jsc_stream *stream, const struct op_attention_vjp *op)
{
    char *const scratch = (char *)op->scratch;
    vjp_run r = {{op->S, op->T, op->B, op->H, op->K, op->h, op->window, op->H / op->K, (int)round_to((size_t)op->T, TILE), cuda_fast(stream),
                  (float)op->scale, (float)op->cap, (const float *)op->qkv, (const float *)op->o, (const float *)op->lse, op->dout,
                  op->dqkv, op->pos, op->last, NULL, NULL},
                 plan_of(stream->device, op->S, op->T, op->B, op->H, op->K, op->h),
                 cuda_device_of(stream)->shared_limit,
                 NULL,
                 cuda_handle(stream)};
    if (op->pos)
        return attention_vjp_row(r.a, r.stream);
    cudaError_t error = cudaSuccess;
    r.probs = scratch + r.plan.probs_at;
    /* h of the other forms is a multiple of 16, so rows are aligned where their buffers are, as alloc makes them */
    assert(r.plan.form == FORM_PLAIN || (((uintptr_t)op->qkv | (uintptr_t)op->o | (uintptr_t)op->dout | (uintptr_t)op->dqkv) % 16 == 0));
    if (r.plan.form != FORM_PLAIN) {
        r.a.terms = (const bf16 *)scratch;
        error = attn_terms_launch(r.a, (bf16 *)scratch, r.stream);
    }
    if (r.plan.form != FORM_SHORT && error == cudaSuccess) {
        r.a.D = (float *)(scratch + r.plan.dots_at);
        error = attn_dot_launch(r.a, r.stream);
    }
    return error == cudaSuccess ? run_pairs(r) : error;
}

extern "C" jsc_status attention_vjp_cuda(struct jsc_stream *stream, const struct op_attention_vjp *op, jsc_error *error)
{
    const jsc_status status = cuda_enter(stream, error);
    if (status != JSC_OK)
        return status;
    assert(op->h <= 4 * TILE); /* attention_cuda refuses larger heads before any walk back */
    return cuda_check(run(stream, op), "attention_vjp", error);
}
