/* engine_internal.h: plan -> trace -> forward -> VJP. One walk over the blocks each way serves every family and backend. */
#ifndef JSC_ENGINE_INTERNAL_H
#define JSC_ENGINE_INTERNAL_H

#include "model_internal.h"

#include <jscopes/plan.h>

/* ---- plan.c ------------------------------------------------------------------------------------------------------------------ */

/* What a scope needs of the engine. */
struct work {
    int T;        /* tokens up to the (last) target position */
    int n_prompt; /* tokens of the prompt as given (dynamic rotary scaling looks at it); 0: T */
    int S;        /* sequences wanted in all (path: steps), each with its own forward */
    int n_rhs;    /* right-hand sides of one pull, per sequence */
    int pulls;    /* of n_rhs each; 0: 1 (matrix of a scope with several: one for every position) */
    bool stairs;  /* right-hand side i of a pull ends at token i, n_rhs = T (matrix): small chunks waste less */
    int chunk;    /* at most this many at once, 0: choose */
    bool layers, gradients;
    int head_rows;                     /* positions whose logits are wanted (matrix: T) */
    uint64_t host_bytes, device_bytes; /* of the scope's own arrays (Fisher factors, results) in the host's and the device's memory */
    uint64_t limit;                    /* 0: what is free */
};
/* Fills plan (S and B reduced until it fits); JSC_E_MEMORY if S = B = 1 does not fit. */
jsc_status plan_compute(const jsc_model *model, const struct work *work, jsc_plan *plan, jsc_error *error);

/* Right-hand sides of one chunk, at most `most`, when n are pulled back from token T - 1: all alike, in as few chunks as possible, or over several
 * devices in as many as keep them at work. */
int plan_chunk(const jsc_model *model, int T, int n, int most);

/* Bytes of the device's memory beyond the weights that a request may take: what it asks for, or (0) nine tenths of what is free. */
uint64_t plan_limit(const jsc_model *model, uint64_t asked);

/* Sizes that the layout of a trace follows from; a pure function of model, device and plan. */
struct trace_sizes {
    size_t S, T, B, N, M; /* N = S T, M = N B */
    size_t token_chunk;   /* tokens at once in the MLP half */
    size_t rhs_chunk;     /* right-hand sides at once in the attention half */
    size_t levels;        /* block inputs whose squares are kept */
    enum mlp_form form;
    bool backward; /* false: forward only */
    bool shared;   /* all blocks share one set of activations: for a forward that is never pulled back */
};
/* The sizes that a plan means. */
jsc_status plan_sizes(const jsc_model *model, const jsc_plan *plan, struct trace_sizes *out, jsc_error *error);

/* n in as few parts of at most `most` as possible, all alike: a short last part would waste the hardware. */
static inline size_t equal_part(size_t n, size_t most)
{
    const size_t parts = most < 1 ? n : (n + most - 1) / most;
    return parts < 1 ? 1 : (n + parts - 1) / parts;
}

/* mlp_form.c: the cheapest exact form of the MLP's VJP for N tokens with B right-hand sides each. */
enum mlp_form mlp_form_choose(const jsc_model *model, int N, int B);
/* What pulling B right-hand sides through S sequences of T tokens costs, in FLOPs of a large product. */
double pull_cost(const jsc_model *model, int S, int T, int B);
/* FLOPs of pulling one token's B rows through one MLP. */
double mlp_form_flops(enum mlp_form form, double B, double d, double f, bool gated);

/* ---- trace.c: saved activations of S sequences of T tokens, and the VJP's workspace ------------------------------------------ */

struct layer_trace {
    dptr x_in;         /* [N][d] block input */
    dptr r1, m1;       /* [N] of the attention norm (m: LayerNorm only) */
    dptr qkv;          /* [N][W] after rope */
    dptr qk_hat, qk_r; /* normalised queries and keys: [N][H h] then [N][K h]; [N] per part. NULL without such norms */
    dptr o, lse;       /* [N][H h], [N][H] */
    dptr x_mid;        /* [N][d] after the attention half */
    dptr r2, m2;
    dptr c1, c2; /* [N][f] */
    struct post_trace {
        dptr x, r, m; /* [N][d] what the norm behind a branch, or of a sum, was given; NULL without one */
    } attn_post, mlp_post;
};
struct trace {
    const jsc_model *model;
    struct trace *below; /* of the stage below, where the model has one */
    struct jsc_stream *stream;
    jsc_plan plan;
    struct trace_sizes sizes;
    int S, T, B;                /* capacity; a forward may use fewer sequences */
    int s_used;                 /* of the last forward */
    int top_first;              /* tokens before it need nothing past the last block's attention (one sequence); 0: all are needed */
    bool precise;               /* forwards sum the linear layers in double: for inputs whose rounding errors grow */
    struct layer_trace *layers; /* [L], those of this stage's blocks laid out */
    dptr x_out;                 /* [N][d] what the last block gives: input of the final norm, or of the stage above */
    dptr rf, mf;                /* [N] of the final norm */
    dptr y;                     /* [N][d] REAL final hidden state, every position */
    dptr y_act;                 /* the same as ACT (y if one_type) */
    dptr cos[2], sin[2];        /* [T][rot/2]; [1]: the table of blocks with local_rope */
    dptr act, wide, wide_act, o_act, z; /* forward scratch: [N][d] ACT, [N][2f] REAL, [N][f] ACT, [N][H h] ACT, [V] REAL */
    /* VJP: R [M][d] REAL, G [M][d] COT (R if one_type, but not of parallel halves: both pull back what stood before either); the rest is
     * scratch of one half of a block */
    dptr R, G, dn, da, dgu, dout, dqkv, scratch;
    dptr collapse;                        /* scratch of mlp_collapse, behind dn if a norm stands behind the branch, else in its place */
    size_t mlp_rows, slab_rows;           /* rows that dn, da, dgu hold in the MLP half; dn, dout, dqkv in the attention half */
    size_t collapse_bytes, scratch_bytes; /* from collapse on to the end of what the halves share; of scratch */
    dptr top_R, top_G, tok;               /* rows of the target position: [S B][d], int32 [S B] */
    dptr pos;                             /* int32 [B]: target position of every right-hand side */
    dptr squares;                         /* double [levels][M] */
    dptr memory;                          /* the one block on the device */
    double seconds_forward, seconds_backward;
    int largest_B;              /* most right-hand sides that were pulled back at once, */
    enum mlp_form largest_form; /* and the form they took */
};
/* Lays the trace out in arena (base NULL: adds up the bytes only). trace may hold nothing but stream sizes and layers then. */
void trace_layout(struct trace *trace, const jsc_model *model, const struct trace_sizes *sizes, const size_t size_of[ROLE_COUNT],
                  bool one_type, struct arena *arena);
jsc_status trace_make(const jsc_model *model, const jsc_plan *plan, struct trace **out, jsc_error *error);
/* S sequences of like's tokens for forward passes whose activations nobody needs, and its bytes (of a device with memory of its own, those of
 * the stage that needs most). */
jsc_status trace_make_forward(const struct trace *like, int S, struct trace **out, jsc_error *error);
uint64_t trace_forward_bytes(const jsc_model *model, int S, int T);
void trace_free(struct trace *trace);

/* What the MLP half's norm reads: the stream after attention, or beside it. */
static inline dptr mlp_input(const jsc_model *m, const struct layer_trace *lt)
{
    return m->norms.parallel ? lt->x_in : lt->x_mid;
}

/* The norm of a block's queries (i = 0) or keys (i = 1): parts of a qkv row from element first on. */
struct qk_part {
    int parts, width;
    bool own;
    size_t first;
    const struct norm_weights *w;
    dptr hat, r;
};
struct qk_part qk_part(const struct trace *trace, int block, int i);

/* ---- record.c ---------------------------------------------------------------------------------------------------------------- */

/* Calls walk, or repeats what the device recorded of it for the same layout of the trace and the same key: n numbers (at most 16) that its
 * launches follow from. Waits for nothing. */
jsc_status walk_recorded(struct trace *trace, const int64_t *key, size_t n, jsc_status (*walk)(void *user, jsc_error *error), void *user,
                         jsc_error *error);

/* ---- forward.c --------------------------------------------------------------------------------------------------------------- */

/* Embeddings of n tokens as they enter block 0, but for learned positions: x [n][d], host doubles. n: at most the trace's token rows. */
jsc_status forward_embeddings(struct trace *trace, const int32_t *ids, size_t n, double *x, jsc_error *error);
/* x [T][d] += learned positions of tokens 0 .. T-1; nothing where there are none. */
jsc_status forward_positions(struct trace *trace, double *x, jsc_error *error);
/* Block-0 inputs of the prompt, x [T][d], host doubles (embedding, scale, projection, learned positions). */
jsc_status forward_inputs(struct trace *trace, const int32_t *ids, double *x, jsc_error *error);
/* Runs S sequences of the trace's T tokens whose block-0 inputs are x [S][T][d] (host); fills the trace. */
jsc_status forward_run(struct trace *trace, const double *x, int S, jsc_error *error);
/* The input of block l, its first rows [rows][d]. */
jsc_status forward_block_input(const struct trace *trace, int l, double *x, size_t rows, jsc_error *error);
/* y at token row s*T + t, [d]. */
jsc_status forward_hidden(struct trace *trace, int row, double *y, jsc_error *error);
/* Logits (soft-cap, scale, bias applied) and, if slope is not NULL, d logit / d (w . y) of each, [V]. */
jsc_status forward_logits(struct trace *trace, int row, double *z, double *slope, jsc_error *error);

/* ---- tangent.c ------------------------------------------------------------------------------------------------------------------ */

/* dy[i] = sum_t J_t u_t at token row, [n][d], by differences of forward passes. u: [n][T][d] tangents of the block-0 inputs x [T][d], y: [d] at
 * row for x itself. One-sided and in the forward's precision, so right to about 1 %: enough to choose directions by, never a score.
 * Costs n forward passes of like's T tokens without the head. u is overwritten. */
jsc_status tangents_run(const struct trace *like, const double *x, const double *y, double *u, int n, int row, double *dy,
                        jsc_error *error);
/* Of n tangents, how many go through one forward pass. */
int tangents_at_once(int T, int n);
/* Bytes that it takes. */
uint64_t tangents_bytes(const jsc_model *model, int T, int n);

/* ---- vjp.c ---------------------------------------------------------------------------------------------------------------------- */

/* One chunk of right-hand sides: pulls COT rows cot [S*B][d] (row s*B + b, cotangent of y at position pos[b]) back through the trace.
 * sums   host or NULL: [n_levels][S*T*B] squares in row order (s*T + t)*B + b; level l = input of block l; n_levels = L if layers, else 1
 * grads  host or NULL: [S*T*B][d] at block 0, same rows
 * level  or NULL (needs grads): called after every block, from the last to block 0, while grads holds the gradient at that block's input
 * Rows of tokens after pos[b] are exactly 0. */
typedef jsc_status (*pull_level)(void *user, int block, const double *grads, jsc_error *error);
/* share: of the pull's work that is done, 0 to 1. */
typedef jsc_status (*pull_tick)(void *user, double share, jsc_error *error);
struct pull {
    int S, B;
    const int32_t *pos; /* host [B] token index */
    const double *cot;  /* host [S*B][d] */
    bool layers;
    double *sums, *grads;
    pull_level level;
    void *user;
    pull_tick tick; /* or NULL: called after every block, so that progress shows and a wish to stop is heard within one block's time */
    void *tick_user;
};
jsc_status vjp_pull(struct trace *trace, const struct pull *pull, jsc_error *error);

/* ---- pipeline.c: many chunks of right-hand sides, one after another; the stages of a model over several devices work at once, each on
 * another chunk */

/* Chunks that are alive at a time: one in each stage, and one that the caller looks at. */
static inline int pipeline_slots(int stages)
{
    return stages > 1 ? stages + 1 : 1;
}
struct pipeline {
    int n; /* chunks */
    /* Fills *pull with chunk i, in order. What was given out for chunk i - pipeline_slots() is free again then. tick: heard with one stage. */
    jsc_status (*fill)(void *user, int i, struct pull *pull, jsc_error *error);
    /* Chunk i is through, in order. */
    jsc_status (*done)(void *user, int i, const struct pull *pull, jsc_error *error);
    void *user;
};
/* Calls back on the caller's thread only. */
jsc_status pipeline_run(struct trace *trace, const struct pipeline *pipeline, jsc_error *error);

/* Cotangents of chosen logits' combinations: host out [n][d] = sum coef w_id (as op_head_vjp), through the trace's stream. */
jsc_status head_cotangents(struct trace *trace, size_t n, const size_t *start, const int32_t *ids, const double *coef, double *out,
                           jsc_error *error);

/* log-sum-exp softmax in double; returns the index of the largest (lowest id on ties). */
int32_t softmax(const double *z, size_t n, double *p);

#endif
