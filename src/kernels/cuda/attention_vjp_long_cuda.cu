/* attention_vjp_long_cuda.cu: the VJP of attention for long prompts on tensor cores: one kernel for dk and dv, one for dq. Formulas: ops.h.
 *
 * keys     Block: KEYS keys of one kv head and right-hand side, a warp per 16. Over the group's heads in order and the tiles of 64 queries that see a
 *          key, upwards: dO, q and D of the next tile are fetched while this one is used (two buffers, one barrier a tile). A 16 x 16 strip is as in
 *          the short form: P^T's fragments straight from L2, dk and dv in registers from the first head to the last.
 * queries  Block: 128 queries of one head and right-hand side, a warp per 16, dO and D in registers; over the tiles of 64 keys, k and v likewise
 *          fetched ahead: dP = dO v^T, dS = P o (dP - D), dq += dS k. P is read query-major.
 * dP is made twice: 10 T T h FLOPs a head and right-hand side, half of them causal, as many as recomputing the scores would take; for that there is no scratch
 * for dq, no atomics and one order of sums. Window, causality and last[b] bound the tiles, then each warp skips its invisible strips.
 * Grid: right-hand sides fastest, so that a head's P is read from memory once per tile; heavy tiles first.
 * Traffic: dO twice, 2 (H + 2 K) h bytes a row of dqkv; bound by the tensor cores.
 * Oracle: attention_vjp_ref.c.   Test: test_attention.c. */
#include "attention_mma.cuh"

enum { STEP = 64 }; /* rows of the tiles that are fetched ahead */

/* ---- dk, dv ------------------------------------------------------------------------------------------------------------------------ */

template <int h, int KEYS, int TERMS>
struct keys_form {
    static constexpr int THREADS = 2 * KEYS, LD = h + 8, ROWS = STEP * LD;
    static constexpr size_t SHARED = TERMS * JSC_PART_BYTES(bf16, KEYS * LD) + 2 * ((1 + TERMS) * JSC_PART_BYTES(bf16, ROWS) + JSC_PART_BYTES(float, STEP));
};

/* Parts of shared memory: buffer i of the two is i * elements further. */
struct keys_buffers {
    bf16 *v, *dout, *q;
    float *D;
};

/* Fetches dO, q and D of head n's queries i0 .. into buffer `which`. */
template <int h, int KEYS, int TERMS>
JSC_DEVICE void fetch_queries(const attention_vjp_args &a, const keys_buffers &s, int which, int sequence, int b, int n, int i0)
{
    typedef keys_form<h, KEYS, TERMS> form;
    const size_t W = (size_t)(a.H + 2 * a.K) * h, row = (size_t)sequence * a.T + i0, out_width = (size_t)a.H * h;
    fetch_rows<h, form::THREADS>(s.dout + which * form::ROWS, (const bf16 *)a.dout + (row * a.B + b) * out_width + (size_t)n * h, a.B * out_width,
                                 a.T - i0, STEP);
#pragma unroll
    for (int term = 0; term < TERMS; term++)
        fetch_rows<h, form::THREADS>(s.q + (which * TERMS + term) * form::ROWS,
                                     a.terms + ((size_t)term * a.S * a.T + row) * W + (size_t)n * h, W, a.T - i0, STEP);
    if (threadIdx.x < STEP / 4)
        cp_async_16(s.D + which * STEP + 4 * threadIdx.x, a.D + (((size_t)sequence * a.B + b) * a.H + n) * a.D_ld + i0 + 4 * threadIdx.x, true);
    cp_async_commit();
}

template <int h, int KEYS, int TERMS>
JSC_KERNEL_BOUNDED(long_keys, 2 * KEYS, (h <= 64 ? 256 / KEYS : 1))(const attention_vjp_args a, const attention_probs p)
{
    typedef keys_form<h, KEYS, TERMS> form;
    const int b = (int)blockIdx.x, j0 = p.key0 + (int)blockIdx.y * KEYS, pair = p.pair0 + (int)blockIdx.z, s = pair / a.K, g = pair % a.K;
    const int group = a.H / a.K, live = a.last ? a.last[b] + 1 : a.T, end = attention_end_query(j0 + KEYS - 1, a.window, live);
    const int key = j0 + (int)threadIdx.x / 32 * 16;
    const int end_strip = attention_end_query(key + 15, a.window, live);
    const size_t W = (size_t)(a.H + 2 * a.K) * h, row = (size_t)s * a.T + j0;
    JSC_DYN_SMEM(shared);
    const keys_buffers in = {JSC_PART(shared, bf16, TERMS * KEYS * form::LD), JSC_PART(shared, bf16, 2 * form::ROWS),
                             JSC_PART(shared, bf16, 2 * TERMS * form::ROWS), JSC_PART(shared, float, 2 * STEP)};
    key_sums<h> sums;
    clear<h / 8>(sums.dk);
    clear<h / 8>(sums.dv);
    for (int term = 0; term < TERMS && j0 < end; term++)
        fetch_rows<h, form::THREADS>(in.v + term * KEYS * form::LD, a.terms + ((size_t)term * a.S * a.T + row) * W + (size_t)(a.H + a.K + g) * h, W,
                                     a.T - j0, KEYS);
    if (j0 < end)
        fetch_queries<h, KEYS, TERMS>(a, in, 0, s, b, g * group, j0);
    for (int m = 0, i0 = j0, which = 0; m < group && j0 < end; which ^= 1) {
        cp_async_wait<0>();
        __syncthreads(); /* every thread's copies have come; the other buffer is read */
        const bool ends = i0 + STEP >= end;
        const int next_m = ends ? m + 1 : m, next_i = ends ? j0 : i0 + STEP;
        if (next_m < group)
            fetch_queries<h, KEYS, TERMS>(a, in, which ^ 1, s, b, g * group + next_m, next_i);
        const bf16 *matrix = (const bf16 *)p.by_key + probs_unit(p, (int)blockIdx.z * group + m) + (size_t)(key - p.key0) * p.queries;
        for (int i = max(i0, key); i < min(i0 + STEP, end_strip); i += 16) {
            const int at = i - i0;
            const prob_tile tile = {matrix + i - p.query0, p.term, p.slope, p.queries};
            const prob_fragments<TERMS> probs = load_probs<TERMS>(tile);
            uint32_t gradient[4];
            float dp[2][4] = {};
#pragma unroll
            for (int term = 0; term < TERMS; term++)
                product_over_h<h>(dp, in.v + (term * KEYS + key - j0) * form::LD, in.dout + which * form::ROWS + at * form::LD);
            pull_keys<h, TERMS>(sums, gradient, dp, probs, in.dout + which * form::ROWS + at * form::LD,
                                in.q + which * TERMS * form::ROWS + at * form::LD, form::ROWS, in.D + which * STEP + at);
        }
        m = next_m, i0 = next_i;
    }
    if (key < a.T) {
        bf16 *const out = (bf16 *)a.dqkv + (((size_t)s * a.T + key) * a.B + b) * W + (size_t)(a.H + g) * h;
        write_strip<h>(out, a.B * W, a.T - key, sums.dk, a.scale);
        write_strip<h>(out + (size_t)a.K * h, a.B * W, a.T - key, sums.dv, 1.0f);
    }
}

/* ---- dq -------------------------------------------------------------------------------------------------------------------------- */

template <int h, int TERMS>
struct queries_form {
    static constexpr int QUERIES = 128, THREADS = 2 * QUERIES, LD = h + 8, ROWS = STEP * LD;
    static constexpr size_t SHARED = 2 * JSC_PART_BYTES(bf16, 2 * TERMS * ROWS);
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
        fetch_rows<h, form::THREADS>(k + (which * TERMS + term) * form::ROWS, x, W, a.T - j0, STEP);
        fetch_rows<h, form::THREADS>(v + (which * TERMS + term) * form::ROWS, x + (size_t)a.K * h, W, a.T - j0, STEP);
    }
    cp_async_commit();
}

/* dq += dS k for 16 queries and 16 keys. shift: D of queries g and g + 8 */
template <int h, int TERMS>
JSC_DEVICE void pull_query_strip(float dq[h / 8][4], const uint32_t dout[h / 16][4], const float shift[2], const prob_tile &tile, const bf16 *k,
                                 const bf16 *v)
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
JSC_KERNEL_BOUNDED(long_queries, 256, (h <= 64 ? 2 : 1))(const attention_vjp_args a, const attention_probs p)
{
    typedef queries_form<h, TERMS> form;
    const int group = a.H / a.K, pair = p.pair0 + (int)blockIdx.z / group, s = pair / a.K, g = pair % a.K, n = g * group + (int)blockIdx.z % group;
    const int b = (int)blockIdx.x, i0 = p.query0 + (int)(gridDim.y - 1 - blockIdx.y) * form::QUERIES, i = i0 + (int)threadIdx.x / 32 * 16;
    const int live = a.last ? a.last[b] + 1 : a.T, from = attention_first_key(i0, a.window) / STEP * STEP, end = min(i0 + form::QUERIES, live);
    const int tiles = i0 < live ? (end - from + STEP - 1) / STEP : 0, first_strip = attention_first_key(i, a.window) / 16 * 16;
    const size_t W = (size_t)(a.H + 2 * a.K) * h, row = (size_t)s * a.T + i, out_width = (size_t)a.H * h;
    JSC_DYN_SMEM(shared);
    bf16 *const k = JSC_PART(shared, bf16, 2 * TERMS * form::ROWS), *const v = JSC_PART(shared, bf16, 2 * TERMS * form::ROWS);
    const float *D = a.D + (((size_t)s * a.B + b) * a.H + n) * a.D_ld;
    uint32_t dout[h / 16][4];
    float dq[h / 8][4], shift[2] = {0.0f, 0.0f};
    clear<h / 8>(dq);
    if (tiles > 0)
        fetch_keys<h, TERMS>(a, k, v, 0, s, g, from);
    if (i < a.T) {
        shift[0] = D[i + mma_group()], shift[1] = D[i + mma_group() + 8];
        load_strip<h>(dout, (const bf16 *)a.dout + (row * a.B + b) * out_width + (size_t)n * h, a.B * out_width, a.T - i);
    }
    const bf16 *matrix = (const bf16 *)p.by_query + probs_unit(p, (int)blockIdx.z) + (size_t)(i - p.query0) * p.keys;
    for (int step = 0; step < tiles; step++) {
        const int j0 = from + step * STEP, which = step % 2;
        cp_async_wait<0>();
        __syncthreads(); /* every thread's copies have come; the other buffer is read */
        if (step + 1 < tiles)
            fetch_keys<h, TERMS>(a, k, v, (step + 1) % 2, s, g, j0 + STEP);
        for (int j = max(j0, first_strip); j < min(j0 + STEP, i + 16) && i < live; j += 16) {
            const prob_tile tile = {matrix + j - p.key0, p.term, p.slope, p.keys};
            const int at = which * TERMS * form::ROWS + (j - j0) * form::LD;
            pull_query_strip<h, TERMS>(dq, dout, shift, tile, k + at, v + at);
        }
    }
    if (i < a.T)
        write_strip<h>((bf16 *)a.dqkv + (row * a.B + b) * W + (size_t)n * h, a.B * W, a.T - i, dq, a.scale);
}

/* ---- launches ---------------------------------------------------------------------------------------------------------------------- */

typedef void (*long_kernel)(attention_vjp_args, attention_probs);
struct long_form {
    int h, keys; /* keys of a block */
    size_t keys_shared, queries_shared;
    long_kernel by_key, by_query;
};
#define LONG_FORM(h, keys)                                                                                                                   \
    {                                                                                                                                        \
        h, keys, keys_form<h, keys, 1>::SHARED, queries_form<h, 1>::SHARED, long_keys<h, keys, 1>, long_queries<h, 1> \
    }
static const long_form long_forms[] = {LONG_FORM(32, 128), LONG_FORM(64, 128), LONG_FORM(80, 128), LONG_FORM(96, 128), LONG_FORM(128, 128), LONG_FORM(128, 64)};

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
    const dim3 grid((unsigned)a.B, (unsigned)(p.keys + form->keys - 1) / form->keys, (unsigned)p.pairs);
    return JSC_LAUNCH(form->by_key, grid, 2 * form->keys, form->keys_shared, stream, a, p);
}

cudaError_t attention_vjp_long_queries(const attention_vjp_args &a, const attention_probs &p, size_t shared_limit, cudaStream_t stream)
{
    const long_form *form = find(shared_limit, a.h);
    const dim3 grid((unsigned)a.B, (unsigned)(p.queries + 127) / 128, (unsigned)(p.pairs * (a.H / a.K)));
    return JSC_LAUNCH(form->by_query, grid, 256, form->queries_shared, stream, a, p);
}
