/* attention_vjp_short_cuda.cu: the VJP of attention for prompts of at most TT tokens in one fused kernel on tensor cores. Formulas: ops.h.
 *
 * Block: one right-hand side and kv head, 2 TT threads; warp w owns 16 keys and the 16 queries of the same numbers (with 8 warps in the order
 * 0 1 2 3 7 6 5 4, so that each scheduler gets the same share of the causal triangle). k, v stay for the whole group; per head:
 *   dO and q to shared memory;  D = sum dO o O, O in fp32, two threads a row
 *   for each strip of 16 queries from the diagonal down: dP^T = v dO^T, dS^T = P^T o (dP^T - D), dv += P^T dO, dk += dS^T q, dS^T to shared memory
 *   dq = dS k, while the next head's dO and q are on their way
 * P^T is key-major, so that its pairs are read as the A fragments of P^T dO, and dP^T as it leaves one product is packed as those of dS^T q.
 * dk and dv live in registers over the group: the sum over heads costs nothing and needs no atomics. No order depends on B.
 * Traffic: 2 (2H + 2K) h bytes a row of dO, dq, dk, dv; the rest is shared by the blocks of one head through L2. 8 T T h FLOPs a head and right-hand side
 * (twice that with TERMS 2), 0.56 (T = 128) to 0.63 (T = 64) of them causal.
 * Barriers of a head: after the loads, after D, after dS; dq reads only dS and k, so the next loads need none before them.
 * Oracle: attention_vjp_ref.c.   Test: test_attention.c.
 * Tried (prototype): v in registers at h = 128 and dq in one piece there: spills; two blocks an SM by launch bounds: spills. */
#include "attention_mma.cuh"

/* Blocks an SM that h = 64 is held to at TT = 64; half as many tokens, twice as many blocks. Capability 12.0 has shared memory for fewer. */
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1200
enum { SMALL_BLOCKS = 1 };
#else
enum { SMALL_BLOCKS = 3 };
#endif

template <int h, int TT, int TERMS>
struct short_form {
    static constexpr int THREADS = 2 * TT, LD = h + 8, DS_LD = TT + 8, TILE_SIZE = TT * LD;
    static constexpr bool V_IN_REGISTERS = h * TERMS <= 64;
    static constexpr int DQ_COLUMNS = h > 80 ? h / 2 : h;
    static constexpr size_t SHARED = (2 * TERMS + 1) * JSC_PART_BYTES(bf16, TILE_SIZE) + (V_IN_REGISTERS ? 0 : TERMS * JSC_PART_BYTES(bf16, TILE_SIZE)) +
                                     JSC_PART_BYTES(bf16, TT * DS_LD) + JSC_PART_BYTES(float, TT);
};

/* Where one block reads and writes; rows are tokens of its sequence. */
struct short_place {
    int b, g, strips, live; /* strips of 16 tokens; those whose queries have a cotangent */
    int W, row0;
};
JSC_DEVICE short_place place_of(const attention_vjp_args &a, const attention_probs &p)
{
    const int pair = p.pair0 + (int)blockIdx.y, b = (int)blockIdx.x;
    const int live = a.last ? a.last[b] + 1 : a.T;
    return {b, pair % a.K, (a.T + 15) / 16, (live + 15) / 16, (a.H + 2 * a.K) * a.h, pair / a.K * a.T};
}

/* A row of qkv's terms at a head counted through q, k and v; of dO; of dqkv. */
JSC_DEVICE const bf16 *terms_at(const attention_vjp_args &a, const short_place &at, int term, int head)
{
    return a.terms + ((size_t)term * a.S * a.T + at.row0) * at.W + head * a.h;
}
JSC_DEVICE const bf16 *dout_at(const attention_vjp_args &a, const short_place &at, int n)
{
    return (const bf16 *)a.dout + (((size_t)at.row0 * a.B + at.b) * a.H + n) * a.h;
}
JSC_DEVICE bf16 *dqkv_at(const attention_vjp_args &a, const short_place &at, int strip, int head)
{
    return (bf16 *)a.dqkv + ((size_t)(at.row0 + 16 * strip) * a.B + at.b) * at.W + head * a.h;
}

/* D of the block's head: two threads a row, each half of the columns. */
template <int h>
JSC_DEVICE void row_dots(float *D, const bf16 *dout, const float *o, size_t stride, int rows)
{
    const int r = (int)threadIdx.x / 2, first = (int)threadIdx.x % 2 * (h / 2);
    float sum = 0.0f;
#pragma unroll(h <= 64 ? 4 : 1) /* where dk and dv leave the registers for it */
    for (int c = first; r < rows && c < first + h / 2; c += 8) {
        const vec<bf16, 8> x = load_vec<8>(dout + r * (h + 8) + c);
        const vec<float, 4> low = load_vec<4>(o + r * stride + c), high = load_vec<4>(o + r * stride + c + 4);
#pragma unroll
        for (int e = 0; e < 8; e++)
            sum += f32_of(x.v[e]) * (e < 4 ? low.v[e % 4] : high.v[e % 4]);
    }
    sum += __shfl_xor_sync(FULL_WARP, sum, 1);
    if (threadIdx.x % 2 == 0)
        D[r] = sum;
}

/* dq of a strip of queries: dS k over the strips of keys that it sees. */
template <int h, int TT, int TERMS>
JSC_DEVICE void pull_queries(const attention_vjp_args &a, const short_place &at, int strip, int n, const bf16 *ds, const bf16 *k)
{
    typedef short_form<h, TT, TERMS> form;
    const int from = attention_first_key(16 * strip, a.window) / 16, end = strip < at.live ? strip + 1 : from;
#pragma unroll
    for (int c0 = 0; c0 < h; c0 += form::DQ_COLUMNS) {
        float dq[form::DQ_COLUMNS / 8][4];
        clear<form::DQ_COLUMNS / 8>(dq);
        for (int key = from; key < end; key++) {
            uint32_t x[4];
            ldmatrix_x4_trans(x, rows_of_b(ds + 16 * key * form::DS_LD + 16 * strip, form::DS_LD));
#pragma unroll
            for (int term = 0; term < TERMS; term++)
                product_over_rows<h, form::DQ_COLUMNS>(dq, x, k + term * form::TILE_SIZE + 16 * key * form::LD + c0);
        }
        write_strip<form::DQ_COLUMNS>(dqkv_at(a, at, strip, n) + c0, (size_t)a.B * at.W, a.T - 16 * strip, dq, a.scale);
    }
}

template <int h, int TT, int TERMS>
JSC_KERNEL_BOUNDED(short_prompt, 2 * TT, (h == 64 && TT <= 64 ? SMALL_BLOCKS * (64 / TT) : 1))(const attention_vjp_args a, const attention_probs p)
{
    typedef short_form<h, TT, TERMS> form;
    const short_place at = place_of(a, p);
    const int warp = (int)threadIdx.x / 32, strip = TT == 128 && warp >= 4 ? 11 - warp : warp, rows = 16 * at.strips;
    const int end = min(at.live, (attention_end_query(16 * strip + 15, a.window, a.T) + 15) / 16);
    const int out_width = a.H * h;
    JSC_DYN_SMEM(shared);
    bf16 *const k = JSC_PART(shared, bf16, TERMS * form::TILE_SIZE), *const q = JSC_PART(shared, bf16, TERMS * form::TILE_SIZE);
    bf16 *const dout = JSC_PART(shared, bf16, form::TILE_SIZE);
    bf16 *const v = JSC_PART(shared, bf16, form::V_IN_REGISTERS ? 0 : TERMS * form::TILE_SIZE);
    bf16 *const ds = JSC_PART(shared, bf16, TT * form::DS_LD);
    float *const D = JSC_PART(shared, float, TT);
    uint32_t strip_v[TERMS][h / 16][4];
    key_sums<h> sums;
    clear<h / 8>(sums.dk);
    clear<h / 8>(sums.dv);
#pragma unroll
    for (int term = 0; term < TERMS; term++) {
        const bf16 *value = terms_at(a, at, term, a.H + a.K + at.g);
        fetch_rows<h, form::THREADS>(k + term * form::TILE_SIZE, terms_at(a, at, term, a.H + at.g), at.W, a.T, rows);
        if (form::V_IN_REGISTERS)
            load_strip<h>(strip_v[term], value + (strip < at.strips ? 16 * strip * (size_t)at.W : 0), at.W, a.T - 16 * strip);
        else
            fetch_rows<h, form::THREADS>(v + term * form::TILE_SIZE, value, at.W, a.T, rows);
    }
    for (int m = 0; m <= a.group; m++) { /* loads of head m beside dq of head m - 1 */
        const int n = at.g * a.group + m;
        if (m < a.group) {
            fetch_rows<h, form::THREADS>(dout, dout_at(a, at, n), (size_t)a.B * out_width, a.T, rows);
#pragma unroll
            for (int term = 0; term < TERMS; term++)
                fetch_rows<h, form::THREADS>(q + term * form::TILE_SIZE, terms_at(a, at, term, n), at.W, a.T, rows);
            cp_async_commit();
        }
        if (m > 0 && strip < at.strips)
            pull_queries<h, TT, TERMS>(a, at, strip, n - 1, ds, k);
        if (m == a.group)
            break;
        cp_async_wait<0>();
        __syncthreads(); /* every thread's copies have come; dS of the head before is read */
        row_dots<h>(D, dout, a.o + ((size_t)at.row0 * a.H + n) * h, out_width, a.T);
        __syncthreads(); /* D is written */
        const prob_tile tile = {(const bf16 *)p.by_key + probs_unit(p, (int)blockIdx.y * a.group + m), p.term, p.slope, p.queries};
        for (int query = strip; query < end; query++) {
            prob_tile here = tile;
            here.p += (size_t)16 * strip * tile.ld + 16 * query;
            const prob_fragments<TERMS> probs = load_probs<TERMS>(here);
            uint32_t gradient[4];
            float dp[2][4] = {};
            const bf16 *rows_dout = dout + 16 * query * form::LD, *rows_q = q + 16 * query * form::LD;
#pragma unroll
            for (int term = 0; term < TERMS; term++) {
                if (form::V_IN_REGISTERS)
                    product_over_h<h>(dp, strip_v[term], rows_dout);
                else
                    product_over_h<h>(dp, v + term * form::TILE_SIZE + 16 * strip * form::LD, rows_dout);
            }
            pull_keys<h, h, TERMS>(sums, gradient, dp, probs, rows_dout, rows_q, form::TILE_SIZE, D + 16 * query);
#pragma unroll
            for (int r = 0; r < 4; r++)
                *(uint32_t *)(ds + (16 * strip + mma_group() + 8 * (r & 1)) * form::DS_LD + 16 * query + mma_pair() + 8 * (r >> 1)) = gradient[r];
        }
        __syncthreads(); /* dS is written; dO and q are read */
    }
    if (strip < at.strips) {
        write_strip<h>(dqkv_at(a, at, strip, a.H + at.g), (size_t)a.B * at.W, a.T - 16 * strip, sums.dk, a.scale);
        write_strip<h>(dqkv_at(a, at, strip, a.H + a.K + at.g), (size_t)a.B * at.W, a.T - 16 * strip, sums.dv, 1.0f);
    }
}

/* ---- launches ---------------------------------------------------------------------------------------------------------------------- */

struct short_instance {
    int h, most, terms; /* most: tokens */
    size_t shared;
    void (*kernel)(attention_vjp_args, attention_probs);
};
#define SHORT(h, TT, TERMS)                                                                                                                  \
    {                                                                                                                                        \
        h, TT, TERMS, short_form<h, TT, TERMS>::SHARED, short_prompt<h, TT, TERMS>                                                    \
    }
/* The first that holds h and T and fits is taken. */
static const short_instance instances[] = {
    SHORT(32, 64, 2),  SHORT(32, 128, 2), SHORT(64, 32, 2),  SHORT(64, 64, 2),  SHORT(64, 128, 2),  SHORT(64, 128, 1),
    SHORT(80, 64, 2),  SHORT(80, 128, 2), SHORT(80, 128, 1), SHORT(96, 64, 2),  SHORT(96, 64, 1),   SHORT(96, 128, 2),
    SHORT(96, 128, 1), SHORT(128, 32, 2), SHORT(128, 64, 2), SHORT(128, 64, 1), SHORT(128, 128, 1),
};

static const short_instance *find(size_t shared_limit, int h, int T)
{
    for (const short_instance &i : instances)
        if (i.h == h && T <= i.most && i.shared <= shared_limit)
            return &i;
    return NULL;
}

int attention_vjp_short_terms(size_t shared_limit, int h, int T)
{
    const short_instance *i = find(shared_limit, h, T);
    return i ? i->terms : 0;
}

cudaError_t attention_vjp_short(const attention_vjp_args &a, const attention_probs &p, size_t shared_limit, cudaStream_t stream)
{
    const short_instance *i = find(shared_limit, a.h, a.T);
    const dim3 grid((unsigned)a.B, (unsigned)p.pairs);
    return JSC_LAUNCH(i->kernel, grid, 2 * i->most, i->shared, stream, a, p);
}
