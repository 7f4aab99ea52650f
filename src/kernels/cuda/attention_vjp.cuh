/* attention_vjp.cuh: what the forms of attention's VJP share: arguments, the matrices of probabilities, launchers. Formulas: ops.h.
 *
 * One call prepares what its B right-hand sides share, in the caller's scratch: P (and, capped, its product with the cap's slope) by
 * attn_prob_cuda.cu; for tensor cores q, k and v in bf16 terms; D = sum dO o O per row and head, [S B][H][D_ld] f32, zeros from T on. */
#ifndef JSC_ATTENTION_VJP_CUH
#define JSC_ATTENTION_VJP_CUH

#include "attention_tile.cuh"
#include "cuda_internal.h"

struct attention_vjp_args {
    int S, T, B, H, K, h, window;
    int group;  /* H / K */
    int D_ld;   /* T up to a multiple of TILE */
    int narrow; /* cotangents are bf16 */
    float scale, cap;
    const float *qkv, *o, *lse;
    const void *dout;
    void *dqkv;
    const int32_t *pos, *last;
    const bf16 *terms;         /* [2][N][W]: hi, lo of qkv */
    float *D;
};

/* Matrices of (sequence, kv head) pairs pair0 .. pair0+pairs-1, each head of a pair's group one: keys key0 .. key0+keys-1 by queries
 * query0 .. query0+queries-1 (counts are multiples of 16; 0 from T on). by_key is [unit][keys][queries], by_query [unit][queries][keys],
 * unit = (pair - pair0) group + head in the group. Term t is t * term elements further, the slope's matrix (P without a cap) `slope`.
 * Tiles of 64 x 64 in which no query sees a key are not written. */
struct attention_probs {
    int pair0, pairs, key0, keys, query0, queries;
    void *by_key, *by_query;
    size_t term, slope;
};
enum attention_prob_type { PROB_F32, PROB_BF16, PROB_TWO_BF16 };

JSC_HOST_DEVICE size_t probs_unit(const attention_probs &p, int unit)
{
    return (size_t)unit * p.keys * p.queries;
}

/* attn_prob_cuda.cu */
cudaError_t attn_prob_launch(const attention_vjp_args &a, const attention_probs &p, enum attention_prob_type type, cudaStream_t stream);
cudaError_t attn_dot_launch(const attention_vjp_args &a, cudaStream_t stream);
cudaError_t attn_terms_launch(const attention_vjp_args &a, bf16 *terms, cudaStream_t stream);

/* One form each. keys: dk and dv of the keys of p.by_key; queries: dq of the queries of p.by_query. */
cudaError_t attention_vjp_row(const attention_vjp_args &a, cudaStream_t stream); /* pos: one query per right-hand side */
cudaError_t attention_vjp_plain_keys(const attention_vjp_args &a, const attention_probs &p, cudaStream_t stream);
cudaError_t attention_vjp_plain_queries(const attention_vjp_args &a, const attention_probs &p, cudaStream_t stream);

/* Tensor cores, bf16 cotangents. They hold for head sizes that are instances and fit a block's shared memory. */
int attention_vjp_short_terms(size_t shared_limit, int h, int T); /* bf16 terms that the short form takes; 0: it cannot be had */
cudaError_t attention_vjp_short(const attention_vjp_args &a, const attention_probs &p, size_t shared_limit, cudaStream_t stream);
bool attention_vjp_long_has(size_t shared_limit, int h);
cudaError_t attention_vjp_long_keys(const attention_vjp_args &a, const attention_probs &p, size_t shared_limit, cudaStream_t stream);
cudaError_t attention_vjp_long_queries(const attention_vjp_args &a, const attention_probs &p, size_t shared_limit, cudaStream_t stream);

#endif
