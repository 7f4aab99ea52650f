/* attention_vjp_long_cuda.cu: the VJP of attention for long prompts on tensor cores: one kernel for dk and dv, one for dq. Formulas: ops.h.
 *
 * keys     Block: KEYS keys of one kv head and right-hand side, a warp per 16. Over the group's heads in order and the tiles of 64 queries that see a
 *          key, upwards: dO, q and D of the next tile are fetched while this one is used (two buffers, one barrier a tile). A 16 x 16 strip is as in
 *          the short form: P^T's fragments straight from L2, dk and dv in registers from the first head to the last. At h = 256 a block makes half of
 *          the columns of dk and dv, and dP twice.
 * queries  Block: 128 queries of one head and right-hand side, a warp per 16, dO and D in registers; over the tiles of 64 keys, k and v likewise
 *          fetched ahead: dP = dO v^T, dS = P o (dP - D), dq += dS k. P is read query-major.
 * dP is made twice: 10 T T h FLOPs a head and right-hand side, half of them causal, as many as recomputing the scores would take; for that there is no scratch
 * for dq, no atomics and one order of sums. Window, causality and last[b] bound the tiles, then each warp skips its invisible strips.
 * Grid: right-hand sides fastest, so that a head's P is read from memory once per tile; heavy tiles first.
 * Traffic: dO (T/KEYS + 1)/2 times by keys (L2 serves what is read again) and once by queries, 2 (H + 2 K) h bytes a row of dqkv; bound
 * by the tensor cores.
 * Oracle: attention_vjp_ref.c.   Test: test_attention.c. */
#include "attention_mma.cuh"

/* ---- dk, dv ------------------------------------------------------------------------------------------------------------------------ */

/* A block makes COLUMNS of the h columns of dk and dv; STEP: rows of the tiles that are fetched ahead. */
template <int h, int TERMS>
struct keys_form {
    static constexpr int COLUMNS = h > 128 ? h / 2 : h, STEP = h > 128 ? 32 : 64;
    static constexpr int LD = h + 8, ROWS = STEP * LD, Q_ROWS = STEP * (COLUMNS + 8);
    static constexpr size_t shared(int keys)
    {
        return TERMS * JSC_PART_BYTES(bf16, keys * LD) + 2 * (JSC_PART_BYTES(bf16, ROWS) + TERMS * JSC_PART_BYTES(bf16, Q_ROWS) + JSC_PART_BYTES(float, STEP));
    }
};

/* Parts of shared memory: buffer i of the two is i * elements further. */
struct keys_buffers {
    bf16 *v, *dout, *q;
    float *D;
};

/* Fetches dO, columns c0 .. of q and D of head n's queries i0 .. into buffer `which`. */
template <int h, int KEYS, int TERMS>
JSC_DEVICE void fetch_queries(const attention_vjp_args &a, const keys_buffers &s, int which, int sequence, int b, int n, int i0, int c0)
{
    typedef keys_form<h, TERMS> form;
    constexpr int THREADS = 2 * KEYS, STEP = form::STEP;
    const size_t W = (size_t)(a.H + 2 * a.K) * h, row = (size_t)sequence * a.T + i0, out_width = (size_t)a.H * h;
    fetch_rows<h, THREADS>(s.dout + which * form::ROWS, (const bf16 *)a.dout + (row * a.B + b) * out_width + (size_t)n * h, a.B * out_width,
                                 a.T - i0, STEP);
#pragma unroll
    for (int term = 0; term < TERMS; term++)
        fetch_rows<form::COLUMNS, THREADS>(s.q + (which * TERMS + term) * form::Q_ROWS,
                                           a.terms + ((size_t)term * a.S * a.T + row) * W + (size_t)n * h + c0, W, a.T - i0, STEP);
    if (threadIdx.x < STEP / 4)
        cp_async_16(s.D + which * STEP + 4 * threadIdx.x, a.D + (((size_t)sequence * a.B + b) * a.H + n) * a.D_ld + i0 + 4 * threadIdx.x, true);
    cp_async_commit();
}

template <int h, int KEYS, int TERMS>
JSC_KERNEL_BOUNDED(long_keys, 2 * KEYS, (h <= 64 ? 256 / KEYS : 1))(const attention_vjp_args a, const attention_probs p)
{
    typedef keys_form<h, TERMS> form;
    constexpr int COLUMNS = form::COLUMNS, PARTS = h / COLUMNS, STEP = form::STEP, LD = form::LD;
    const int b = (int)blockIdx.x, j0 = p.key0 + (int)blockIdx.y * KEYS, unit = (int)blockIdx.z / PARTS, c0 = (int)blockIdx.z % PARTS * COLUMNS;
    const int pair = p.pair0 + unit, s = pair / a.K, g = pair % a.K, key = j0 + (int)threadIdx.x / 32 * 16;
    const int live = a.last ? a.last[b] + 1 : a.T, end = attention_end_query(j0 + KEYS - 1, a.window, live);
    const int end_strip = attention_end_query(key + 15, a.window, live);
    const size_t W = (size_t)(a.H + 2 * a.K) * h, row = (size_t)s * a.T + j0;
    JSC_DYN_SMEM(shared);
    const keys_buffers in = {JSC_PART(shared, bf16, TERMS * KEYS * LD), JSC_PART(shared, bf16, 2 * form::ROWS),
                             JSC_PART(shared, bf16, 2 * TERMS * form::Q_ROWS), JSC_PART(shared, float, 2 * STEP)};
    key_sums<COLUMNS> sums;
    clear<COLUMNS / 8>(sums.dk);
    clear<COLUMNS / 8>(sums.dv);
    for (int term = 0; term < TERMS && j0 < end; term++)
        fetch_rows<h, 2 * KEYS>(in.v + term * KEYS * LD, a.terms + ((size_t)term * a.S * a.T + row) * W + (size_t)(a.H + a.K + g) * h, W, a.T - j0,
                                KEYS);
    if (j0 < end)
        fetch_queries<h, KEYS, TERMS>(a, in, 0, s, b, g * a.group, j0, c0);
    for (int m = 0, i0 = j0, which = 0; m < a.group && j0 < end; which ^= 1) {
        cp_async_wait<0>();
        __syncthreads(); /* every thread's copies have come; the other buffer is read */
        const bool ends = i0 + STEP >= end;
        const int next_m = ends ? m + 1 : m, next_i = ends ? j0 : i0 + STEP;
        if (next_m < a.group)
            fetch_queries<h, KEYS, TERMS>(a, in, which ^ 1, s, b, g * a.group + next_m, next_i, c0);
        const bf16 *matrix = (const bf16 *)p.by_key + probs_unit(p, unit * a.group + m) + (size_t)(key - p.key0) * p.queries;
        for (int i = max(i0, key); i < min(i0 + STEP, end_strip); i += 16) {
            const int at = i - i0;
            const prob_tile tile = {matrix + i - p.query0, p.term, p.slope, p.queries};
            const prob_fragments<TERMS> probs = load_probs<TERMS>(tile);
            uint32_t gradient[4];
            float dp[2][4] = {};
#pragma unroll
            for (int term = 0; term < TERMS; term++)
                product_over_h<h>(dp, in.v + (term * KEYS + key - j0) * LD, in.dout + which * form::ROWS + at * LD);
            pull_keys<h, COLUMNS, TERMS>(sums, gradient, dp, probs, in.dout + which * form::ROWS + at * LD + c0,
                                         in.q + which * TERMS * form::Q_ROWS + at * (COLUMNS + 8), form::Q_ROWS,
                                         in.D + which * STEP + at);
        }
        m = next_m, i0 = next_i;
    }
    if (key < a.T) {
        bf16 *const out = (bf16 *)a.dqkv + (((size_t)s * a.T + key) * a.B + b) * W + (size_t)(a.H + g) * h + c0;
        write_strip<COLUMNS>(out, a.B * W, a.T - key, sums.dk, a.scale);
        write_strip<COLUMNS>(out + (size_t)a.K * h, a.B * W, a.T - key, sums.dv, 1.0f);
    }
}

/* ---- dq -------------------------------------------------------------------------------------------------------------------------- */

/* dO in registers, or in shared memory where dq takes those. */
template <int h, int TERMS>
struct queries_form {
    static constexpr bool DOUT_SHARED = h > 128;
    static constexpr int QUERIES = DOUT_SHARED ? 64 : 128, THREADS = 2 * QUERIES, STEP = h > 128 ? 32 : 64, LD = h + 8, ROWS = STEP * LD;
    static constexpr size_t SHARED = 2 * JSC_PART_BYTES(bf16, 2 * TERMS * ROWS) + (DOUT_SHARED ? JSC_PART_BYTES(bf16, QUERIES * LD) : 0);
};

/* Fetches k and v of keys j0 .. into buffer `which`. */
template <int h, int TERMS>
JSC_DEVICE void fetch_keys(const attention_vjp_args &a, bf16 *k, bf16 *v, int which, int sequence, int g, int j0)
{
    typedef queries_form<h, TERMS> form;
    const size_t W = (size_t)(a.H + 2 * a.K) * h, row = (size_t)sequence * a.T + j0;
#pragma unroll
    for (int term = 0; term < TERMS; term++) {
        const bf16 *x = a.terms + ((size_t)term * a.S * a.T + row) * W + (size_t)(a.H + g) * h;
        fetch_rows<h, form::THREADS>(k + (which * TERMS + term) * form::ROWS, x, W, a.T - j0, form::STEP);
        fetch_rows<h, form::THREADS>(v + (which * TERMS + term) * form::ROWS, x + (size_t)a.K * h, W, a.T - j0, form::STEP);
    }
    cp_async_commit();
}

/* dq += dS k for 16 queries and 16 keys. DOUT: fragments or rows in shared memory; shift: D of queries g and g + 8 */
template <int h, int TERMS, class DOUT>
JSC_DEVICE void pull_query_strip(float dq[h / 8][4], const DOUT *dout, const float shift[2], const prob_tile &tile, const bf16 *k, const bf16 *v)
{
    typedef queries_form<h, TERMS> form;
    const prob_fragments<TERMS> probs = load_probs<TERMS>(tile);
    uint32_t ds[4];
    float dp[2][4] = {};
#pragma unroll
    for (int term = 0; term < TERMS; term++)
        product_over_h<h>(dp, dout, v + term * form::ROWS);
#pragma unroll
    for (int r = 0; r < 4; r++)
        ds[r] = score_gradient<TERMS>(probs, r, dp[r >> 1] + 2 * (r & 1), shift[r & 1], shift[r & 1]);
#pragma unroll
    for (int term = 0; term < TERMS; term++)
        product_over_rows<h, h>(dq, ds, k + term * form::ROWS);
}

template <int h, int TERMS>
JSC_KERNEL_BOUNDED(long_queries, (h > 128 ? 128 : 256), (h <= 64 ? 2 : 1))(const attention_vjp_args a, const attention_probs p)
{
    typedef queries_form<h, TERMS> form;
    constexpr int STEP = form::STEP;
    const int group = a.group, pair = p.pair0 + (int)blockIdx.z / group, s = pair / a.K, g = pair % a.K, n = g * group + (int)blockIdx.z % group;
    const int b = (int)blockIdx.x, i0 = p.query0 + (int)(gridDim.y - 1 - blockIdx.y) * form::QUERIES, i = i0 + (int)threadIdx.x / 32 * 16;
    const int live = a.last ? a.last[b] + 1 : a.T, from = attention_first_key(i0, a.window) / STEP * STEP, first_strip = attention_first_key(i, a.window) / 16 * 16;
    const int end = i0 < live ? min(i0 + form::QUERIES, live) : from; /* of the keys */
    const size_t W = (size_t)(a.H + 2 * a.K) * h, row = (size_t)s * a.T + i, out_width = (size_t)a.H * h;
    JSC_DYN_SMEM(shared);
    bf16 *const k = JSC_PART(shared, bf16, 2 * TERMS * form::ROWS), *const v = JSC_PART(shared, bf16, 2 * TERMS * form::ROWS);
    const float *D = a.D + (((size_t)s * a.B + b) * a.H + n) * a.D_ld;
    bf16 *const dout_rows = JSC_PART(shared, bf16, form::DOUT_SHARED ? form::QUERIES * form::LD : 0);
    uint32_t dout[form::DOUT_SHARED ? 1 : h / 16][4];
    float dq[h / 8][4], shift[2] = {0.0f, 0.0f};
    clear<h / 8>(dq);
    const bf16 *dout_at = (const bf16 *)a.dout + (((size_t)s * a.T + i0) * a.B + b) * out_width + (size_t)n * h;
    if constexpr (form::DOUT_SHARED)
        fetch_rows<h, form::THREADS>(dout_rows, dout_at, a.B * out_width, a.T - i0, from < end ? form::QUERIES : 0);
    if (from < end)
        fetch_keys<h, TERMS>(a, k, v, 0, s, g, from);
    if (i < a.T) {
        shift[0] = D[i + mma_group()], shift[1] = D[i + mma_group() + 8];
        if constexpr (!form::DOUT_SHARED)
            load_strip<h>(dout, dout_at + (i - i0) * a.B * out_width, a.B * out_width, a.T - i);
    }
    const bf16 *matrix = (const bf16 *)p.by_query + probs_unit(p, (int)blockIdx.z) + (size_t)(i - p.query0) * p.keys;
    for (int j0 = from, which = 0; j0 < end; j0 += STEP, which ^= 1) {
        cp_async_wait<0>();
        __syncthreads(); /* every thread's copies have come; the other buffer is read */
        if (j0 + STEP < end)
            fetch_keys<h, TERMS>(a, k, v, which ^ 1, s, g, j0 + STEP);
        for (int j = max(j0, first_strip); j < min(j0 + STEP, i + 16) && i < live; j += 16) {
            const prob_tile tile = {matrix + j - p.key0, p.term, p.slope, p.keys};
            const int at = which * TERMS * form::ROWS + (j - j0) * form::LD;
            if constexpr (form::DOUT_SHARED)
                pull_query_strip<h, TERMS>(dq, dout_rows + (i - i0) * form::LD, shift, tile, k + at, v + at);
            else
                pull_query_strip<h, TERMS>(dq, dout, shift, tile, k + at, v + at);
        }
    }
    if (i < a.T)
        write_strip<h>((bf16 *)a.dqkv + (row * a.B + b) * W + (size_t)n * h, a.B * W, a.T - i, dq, a.scale);
}

/* ---- launches ---------------------------------------------------------------------------------------------------------------------- */

typedef void (*long_kernel)(attention_vjp_args, attention_probs);
struct long_form {
    int h, keys, parts, queries; /* keys and queries of a block; parts of the columns of dk and dv */
    size_t keys_shared, queries_shared;
    long_kernel by_key, by_query;
};
#define LONG_FORM(h, keys)                                                                                                                   \
    {                                                                                                                                        \
        h, keys, h / keys_form<h, 1>::COLUMNS, queries_form<h, 1>::QUERIES, keys_form<h, 1>::shared(keys), queries_form<h, 1>::SHARED,       \
            long_keys<h, keys, 1>, long_queries<h, 1>                                                                                        \
    }
static const long_form long_forms[] = {LONG_FORM(32, 128), LONG_FORM(64, 128), LONG_FORM(80, 128), LONG_FORM(96, 128), LONG_FORM(128, 128), LONG_FORM(128, 64),
                                       LONG_FORM(256, 64)};

static const long_form *find(size_t shared_limit, int h)
{
    for (const long_form &form : long_forms)
        if (form.h == h && form.keys_shared <= shared_limit && form.queries_shared <= shared_limit)
            return &form;
    return NULL;
}

bool attention_vjp_long_has(size_t shared_limit, int h)
{
    return find(shared_limit, h) != NULL;
}

cudaError_t attention_vjp_long_keys(const attention_vjp_args &a, const attention_probs &p, size_t shared_limit, cudaStream_t stream)
{
    const long_form *form = find(shared_limit, a.h);
    const dim3 grid((unsigned)a.B, (unsigned)(p.keys + form->keys - 1) / form->keys, (unsigned)(p.pairs * form->parts));
    return JSC_LAUNCH(form->by_key, grid, 2 * form->keys, form->keys_shared, stream, a, p);
}

cudaError_t attention_vjp_long_queries(const attention_vjp_args &a, const attention_probs &p, size_t shared_limit, cudaStream_t stream)
{
    const long_form *form = find(shared_limit, a.h);
    const dim3 grid((unsigned)a.B, (unsigned)(p.queries + form->queries - 1) / form->queries, (unsigned)(p.pairs * a.group));
    return JSC_LAUNCH(form->by_query, grid, 2 * form->queries, form->queries_shared, stream, a, p);
}
