/* ops.h: the operation table, the only door between host and kernels.
 *
 * Shapes   S sequences, T tokens each, B right-hand sides, d width, f MLP width, H heads, K kv heads, h head size, V vocabulary.
 *          N = S*T token rows in the order s*T + t. M = N*B gradient rows in the order (s*T + t)*B + b.
 *          qkv rows are [q: H*h | k: K*h | v: K*h], "qkv width" W = (H + 2K)*h. gu rows are [gate: f | up: f].
 * Memory   dptr is an address in the backend's memory; the host adds offsets but never reads through it.
 * Roles    REAL  forward values and the residual-stream gradient R     (ref double, cpu float)
 *          ACT   inputs of forward GEMMs                               (ref double, cpu float, later bf16 terms)
 *          COT   inputs and outputs of pull-back GEMMs                 (ref double, cpu float, later bf16)
 *          stream->size_of[role] is the bytes of one element. Where two roles have one size and type (stream->one_type), the
 *          walks pass one address for both and the operation writes it once.
 * Rules    Every backend offers every entry. An entry may run later: sync() reports its failure. Sums have a fixed order that
 *          does not depend on B, on chunking of rows or (beyond rounding) on the number of threads; a library's GEMM may differ by
 *          rounding with the number of its rows (matmul, matmul_vjp, mlp_collapse, fisher_apply, probes). Nothing is allocated inside
 *          an entry except by the backend's own caches when a shape is first seen. No output may alias an input unless said.
 *          Arguments were checked by the host; an entry asserts, it does not diagnose. */
#ifndef JSC_OPS_H
#define JSC_OPS_H

#include "base_internal.h"
#include "comm.h"

#include <jscopes/model.h>

typedef void *dptr;

/* Address of an element of an array of elements of size bytes. */
static inline dptr dptr_at(dptr base, size_t element, size_t size)
{
    return (char *)base + element * size;
}

enum role { ROLE_REAL, ROLE_ACT, ROLE_COT, ROLE_COUNT };
enum norm_kind { NORM_RMS, NORM_LAYER, NORM_NONE }; /* NONE: a half of a block that begins without a norm */
enum act_kind { ACT_SILU, ACT_GELU_TANH, ACT_GELU_ERF, ACT_RELU };
enum rope_layout { ROPE_HALF_SPLIT, ROPE_INTERLEAVED };
enum mlp_form { MLP_DIRECT, MLP_HALF, MLP_FULL };

struct jsc_ops;

/* A device: shared by all threads; made once per model. A backend's own struct begins with it. */
struct jsc_device {
    const struct jsc_ops *ops;
    char description[96]; /* "cpu (oneDNN 2.6.0, 2 threads)" */
    jsc_precision precision; /* in effect: STRICT or FAST */
    int threads;
    uint64_t own_memory; /* bytes in all; 0: it computes in the host's memory */
};
struct device_options {
    jsc_precision precision;
    int threads; /* 0: choose */
    int index;   /* device number */
};

/* A stream: one thread's order of work with its scratch memory and caches. A backend's own struct begins with it. */
struct jsc_stream {
    const struct jsc_ops *ops;
    struct jsc_device *device;
    size_t size_of[ROLE_COUNT];
    bool one_type;
};

/* ---- weights --------------------------------------------------------------------------------------------------------------- */

/* A linear layer W[n][k], Y = X W^T + bias; made of parts stacked along n. Opaque: a backend's own struct begins with it. */
struct jsc_weight {
    size_t n, k;
    uint64_t bytes; /* of device memory */
    bool has_bias;
};
enum weight_use {
    USE_FORWARD = 1, /* matmul */
    USE_VJP = 2,     /* matmul_vjp */
    USE_ROWS = 4     /* embed, head_vjp, fisher_rows, mlp_collapse: rows are read as they are */
};
struct weight_part {
    const void *bytes;     /* row-major [n][k] of type, rows start at multiples of row_bytes */
    enum dtype type;
    size_t n;
    size_t row_bytes;
    const int32_t *row_of; /* NULL, or [n]: row r of the part is stored row row_of[r] (Llama's q and k in GGUF) */
    double scale;          /* multiplies every element; 1 normally */
    bool transposed;       /* stored as [k][n] (gpt2); then row_of is NULL and row_bytes is of a row of n elements */
    bool mapped;           /* bytes lie in a file mapped read-only: pages that were decoded are given back (mem_forget_mapped) */
    const char *name;      /* for errors */
};
/* Where row r of the part is stored. */
static inline size_t weight_part_row(const struct weight_part *part, size_t r)
{
    return part->row_of != NULL ? (size_t)part->row_of[r] : r;
}

/* ---- arguments ------------------------------------------------------------------------------------------------------------- */

/* Which token a row belongs to: tok[r] if tok, else r / B. A slab (of > 0) is right-hand sides b0 .. b0+B-1 of a block of `of`: where an
 * operation says so, row r stands at (r / B) of + b0 + r % B of the whole block's array. */
struct rows {
    size_t n;
    int B;
    const int32_t *tok; /* device int32 [n] or NULL */
    int of, b0;
};
static inline size_t rows_at(const struct rows *rows, size_t r)
{
    return rows->of > 0 ? r / (size_t)rows->B * (size_t)rows->of + (size_t)rows->b0 + r % (size_t)rows->B : r;
}

/* out[i] = scale * W[ids[i]]                         [n][d] REAL; ids is a host array */
struct op_embed { size_t n; const int32_t *ids; const struct jsc_weight *w; double scale; dptr out; };

/* r = 1/sqrt(mean((x-m)^2) + eps), m = mean x for LAYER, 0 for RMS;   y = (x - m) r w + b;   NONE: y = x, r and mean are not written
 * x [n][d] REAL; w, b [d] REAL (b may be NULL); y [n][d] ACT or NULL; y_real [n][d] REAL or NULL; r, mean [n] REAL (mean: LAYER only) */
struct op_norm { size_t n; int d; enum norm_kind kind; double eps; dptr x, w, b, y, y_real, r, mean; };

/* y = x W^T + bias, or y += if accumulate.           x [n][k] ACT, y [n][n_out] REAL
 * precise: sums in double, rounded once (strict precision, where a forward's rounding errors grow); slower, never needed for speed. */
struct op_matmul { size_t n; const struct jsc_weight *w; dptr x, y; bool accumulate, precise; };

/* Norms of `parts` parts of a row, each `width` wide, in place (queries and keys per head; or parts = 1 over all heads). Part j of row i is
 * at x + i*stride + j*width (elements):  xhat = (x - m) r;  x = xhat w_j + b_j, m and r of the part as in norm (RMS or LAYER).
 * x REAL; w, b REAL [width], or [parts][width] if own (b may be NULL); xhat [n][parts*width], r [n][parts] REAL: what the VJP needs */
struct op_part_norm { size_t n; int parts, width, stride; enum norm_kind kind; bool own; double eps; dptr x, w, b, xhat, r; };

/* Rotates the first `rot` components of `heads` heads in place, head j of row i at x + i*stride + j*h (elements); the rest of a head
 * passes. Pair (a, b) -> (a c - b s, b c + a s) with c, s = cos[t][j], sin[t][j], t = i % T;
 * HALF_SPLIT pairs (j, j + rot/2), INTERLEAVED (2j, 2j + 1), j < rot/2.
 * x REAL [n][stride]; cos, sin REAL [T][rot/2] */
struct op_rope { size_t n; int T, heads, h, rot, stride; enum rope_layout layout; dptr x, cos, sin; };

/* Per sequence and head, g = head / (H/K):  s_ij = scale q_i . k_j;  capped: s = cap tanh(s/cap) if cap > 0;  visible: j <= i and, if
 * window > 0, j > i - window;  lse_i = log sum_j exp s_ij;  o_i = sum_j exp(s_ij - lse_i) v_j
 * qkv [N][W] REAL (after rope); o [N][H*h] REAL; o_act the same as ACT; lse [N][H] REAL (token-major, so that a prefix of the tokens is a prefix of memory) */
struct op_attention { int S, T, H, K, h, window; double scale, cap; dptr qkv, o, o_act, lse; };

/* gated: g = gu[:, :f], u = gu[:, f:];  a = act(g) u;  c1 = u act'(g);  c2 = act(g)
 * plain: gu [n][f];                     a = act(gu);   c1 = act'(gu);   c2 unused
 * gu REAL; a [n][f] ACT; c1, c2 [n][f] REAL */
struct op_gate { size_t n; int f; enum act_kind act; bool gated; dptr gu, a, c1, c2; };

/* x += scale * y                                     n elements, REAL */
struct op_add { size_t n; double scale; dptr x, y; };

/* out[i] = sum over j in [start[i], start[i+1]) of coef[j] W[ids[j]]      [n][d] COT;  start, ids, coef are host arrays.
 * Semantic: one entry; contrast: two; log-probability: V. Sums in double. */
struct op_head_vjp { size_t n; const size_t *start; const int32_t *ids; const double *coef; const struct jsc_weight *w; dptr out; };

/* dx = dy W, or dx += if accumulate.                 dy [n][n_out] COT, dx [n][k] COT
 * slab.of > 0: dy rows are those of a slab (slab.n = n, slab.B) of the whole block's array, dx rows are contiguous */
struct op_matmul_vjp { size_t n; const struct jsc_weight *w; dptr dy, dx; bool accumulate; struct rows slab; };

/* Per row, token i = rows: g = w o dn;  xhat = (x - m) r;  R += r (g - xhat <xhat, g>/d) for RMS;
 * LAYER: R += r (g - mean(g) - xhat <xhat, g>/d);  NONE: R += dn (x, r, mean, w unused).  Then G = R as COT, ss[row] = sum R^2 (double).
 * x [N][d], r, mean [N] REAL, saved by norm; w [d] REAL; dn [rows][d] COT; R [rows][d] REAL in/out; G [rows][d] COT or NULL: not wanted (may be
 * R if one_type); ss [rows] double device memory or NULL. Of a slab, R, G and ss are the whole block's arrays, dn rows are contiguous. */
struct op_norm_vjp { struct rows rows; int d; enum norm_kind kind; dptr x, r, mean, w, dn, R, G, ss; };

/* The same pull-back without the residual stream, of a norm behind a branch:  dx = r (g - xhat <xhat, g>/d), LAYER: also minus mean(g);
 * g = w o dy.  x [N][d], r, mean [N] REAL, saved by norm; dy COT, dx [rows][d] COT. Of a slab, dy is the whole block's array and tok (if
 * any) the whole block's list; dx rows are contiguous. Kind RMS or LAYER. */
struct op_norm_pull { struct rows rows; int d; enum norm_kind kind; dptr x, r, mean, w, dy, dx; };

/* The transpose of part_norm on parts of the rows of dx COT, in place; part j of row i is at dx + i*stride + j*width, its token i / rows.B
 * (tok NULL, no slab):  g = w_j dx;  dx = r (g - xhat <xhat, g>/width), LAYER: also minus mean(g) */
struct op_part_norm_vjp { struct rows rows; int parts, width, stride; enum norm_kind kind; bool own; dptr xhat, r, w, dx; };

/* gated: dg = da c1[tok], du = da c2[tok] -> dgu [rows][2f];  plain: dgu = da c1 [rows][f].   da [rows][f] COT, dgu COT */
struct op_gate_vjp { struct rows rows; int f; bool gated; dptr da, c1, c2, dgu; };

/* The whole VJP of a gated or plain MLP half  x += down(act(gate) up)(norm x)  for tokens first .. first+n-1 (rows first*B ..), in a
 * collapsed form. NONE: a half that begins without a norm.
 * dy: cotangents of the branch [n B][d] COT, row 0 of token first, where they are not G's rows (a norm stands behind the branch, or the halves
 * are parallel); NULL: G's. With dy, G may be NULL: not refreshed. W_t = diag(c1_t) Wg + diag(c2_t) Wu  [f][d] (plain: diag(c1_t) Wu).
 *   HALF: dN_t = (G_t Wdown) W_t, then R += norm_vjp(dN)
 *   FULL: A_t = Wdown W_t [d][d]; A'_t = r_t A_t diag(w) (I - xhat xhat^T / d) (LAYER: also minus 11^T/d); R_t += G_t A'_t
 * G and ss are refreshed as in norm_vjp. Every address is that of token 0. up: the stacked gate|up weight (USE_ROWS), down [d][f] (USE_VJP and USE_ROWS).
 * scratch: mlp_collapse_scratch() bytes. */
struct op_mlp_collapse {
    enum mlp_form form;
    size_t first, n;
    int B, d, f;
    bool gated;
    enum norm_kind kind;
    const struct jsc_weight *up, *down;
    dptr c1, c2, x, r, mean, w, dy, R, G, ss, scratch;
};

/* Per sequence s, right-hand side b and head n with g = n/(H/K), P_ij = exp(s_ij - lse_i), o_i the head's output:
 *   D_i = do_i . o_i;  dv_j = sum_i P_ij do_i;  dS_ij = P_ij (do_i . v_j - D_i) (1 - (s_ij/cap)^2 if capped);
 *   dq_i = scale sum_j dS_ij k_j;  dk_j = scale sum_i dS_ij q_i;  dk, dv summed over the heads of group g, in head order.
 * qkv [N][W], o [N][H*h], lse [N][H] REAL; dout COT; dqkv [M][W] COT, every element written. q, k parts are with respect to q, k after rope.
 * pos NULL: dout [M][H*h].
 * pos (device int32 [B], a token index < T, the same for each sequence): only query pos[b] has a cotangent: dout is [S*B][H*h],
 * row s*B + b; other tokens' dq and rows after pos[b] become 0.
 * last (device int32 [B] or NULL): dout rows of tokens after last[b] are known to be 0 and may be skipped (their dqkv is written 0).
 * scratch: attention_vjp_scratch() bytes. */
struct op_attention_vjp {
    int S, T, B, H, K, h, window;
    double scale, cap;
    const int32_t *pos, *last;
    dptr qkv, o, lse, dout, dqkv, scratch;
};

/* The transpose of rope on the q and k parts of dqkv [M][W] COT in place: (a, b) -> (a c + b s, b c - a s); token of row r: (r/B) % T */
struct op_rope_vjp { size_t n; int T, B, heads, h, rot, stride; enum rope_layout layout; dptr x, cos, sin; };

/* R[tok[r]*B + r % B] = src[r], all else of R [N*B][d] zero; G likewise if not NULL and not R.   src [rows][d] REAL */
struct op_scatter { struct rows rows; size_t N; int d; dptr src, R, G; };

/* ---- Fisher ---------------------------------------------------------------------------------------------------------------- */

/* mu = sum_i p_i s_i w_i over the n listed tokens, sums in double;  wc[i] = sqrt(p_i) (s_i w_i - mu)      [n][d] REAL
 * s: slope of the head (soft-cap, scale), NULL for 1. trace (host, may be NULL) = sum ||wc_i||^2 in double, after sync. */
struct op_fisher_rows { size_t n; const int32_t *ids; const double *p, *slope; const struct jsc_weight *w; dptr wc; double *trace; };

/* out (host, [d][d] double) = Wc^T Wc, products summed in double. Synchronous. */
struct op_gram { size_t n; int d; dptr wc; double *out; };

/* fm = (m Wc^T) Wc                                   m, fm [k][d] REAL; c [k][n] REAL scratch */
struct op_fisher_apply { size_t n; int k, d; dptr wc, m, c, fm; };

/* out[j] = sum_i rng_sign(seed, first + j, ids[i]) wc[i]      [count][d] REAL; ids host [n] */
struct op_probes { size_t n; int count, d; uint64_t seed, first; const int32_t *ids; dptr wc, out; };

/* ---- the table ------------------------------------------------------------------------------------------------------------- */

/* A walk is a row of entries that only launch work (none of put, get, copy_over, sync, embed, head_vjp, fisher_*, gram, probes), the same for the
 * same key: shapes and addresses. record_begin: *repeat: the device had recorded it and has launched it; else the caller calls the entries,
 * then record_end with what came of them. *again: they were not executed because they cannot be recorded; the caller begins anew. Else
 * record_end returns what came of the walk. */
struct jsc_ops {
    const char *name;
    jsc_status (*device_open)(const struct device_options *options, struct jsc_device **out, jsc_error *error);
    void (*device_close)(struct jsc_device *device);
    size_t (*memory_left)(struct jsc_device *device); /* bytes */
    jsc_status (*stream_open)(struct jsc_device *device, struct jsc_stream **out, jsc_error *error);
    void (*stream_close)(struct jsc_stream *stream);
    /* bytes of memory that GEMMs of at most rows x n x k take inside the stream (library scratchpads); for the plan */
    size_t (*stream_scratch)(struct jsc_device *device, size_t rows, size_t n, size_t k);

    /* Buffers. alloc: not zeroed, 64-byte aligned; free, weight_free: NULL is a no-op. put converts doubles into role; get converts back and waits. */
    jsc_status (*alloc)(struct jsc_device *device, size_t bytes, dptr *out, jsc_error *error);
    void (*free)(struct jsc_device *device, dptr buffer);
    jsc_status (*put)(struct jsc_stream *stream, enum role role, dptr out, const double *in, size_t n, jsc_error *error);
    jsc_status (*get)(struct jsc_stream *stream, enum role role, double *out, const dptr in, size_t n, jsc_error *error);
    jsc_status (*put_bytes)(struct jsc_stream *stream, dptr out, const void *in, size_t bytes, jsc_error *error);
    jsc_status (*get_bytes)(struct jsc_stream *stream, void *out, const dptr in, size_t bytes, jsc_error *error);
    /* out = in, which lies on another device of the same backend, whose work on it has been waited for; waits. */
    jsc_status (*copy_over)(struct jsc_stream *stream, dptr out, struct jsc_device *from, const dptr in, size_t bytes, jsc_error *error);
    jsc_status (*zero)(struct jsc_stream *stream, dptr out, size_t bytes, jsc_error *error);
    jsc_status (*sync)(struct jsc_stream *stream, jsc_error *error);

    /* Device memory that weight_make takes for W[n][k] without its bias, before anything is loaded. type: of the elements as stored (of
     * stacked parts, one that is not DTYPE_BF16 if there is any); what depends on the values themselves is taken at its usual. */
    uint64_t (*weight_bytes)(struct jsc_device *device, enum dtype type, size_t n, size_t k, unsigned uses);
    /* Decodes the parts in parallel into the forms that `uses` needs. bias: NULL or host double [n].
     * JSC_E_NUMERIC names the part that holds a value that is not finite. Thread-safe. */
    jsc_status (*weight_make)(struct jsc_device *device, const struct weight_part *parts, size_t n_parts, size_t k, unsigned uses,
                              const double *bias, struct jsc_weight **out, jsc_error *error);
    void (*weight_free)(struct jsc_device *device, struct jsc_weight *weight);

    /* forward */
    jsc_status (*embed)(struct jsc_stream *, const struct op_embed *, jsc_error *);
    jsc_status (*norm)(struct jsc_stream *, const struct op_norm *, jsc_error *);
    jsc_status (*matmul)(struct jsc_stream *, const struct op_matmul *, jsc_error *);
    jsc_status (*part_norm)(struct jsc_stream *, const struct op_part_norm *, jsc_error *);
    jsc_status (*rope)(struct jsc_stream *, const struct op_rope *, jsc_error *);
    jsc_status (*attention)(struct jsc_stream *, const struct op_attention *, jsc_error *);
    jsc_status (*gate)(struct jsc_stream *, const struct op_gate *, jsc_error *);
    jsc_status (*add)(struct jsc_stream *, const struct op_add *, jsc_error *);
    /* pull-back */
    jsc_status (*head_vjp)(struct jsc_stream *, const struct op_head_vjp *, jsc_error *);
    jsc_status (*matmul_vjp)(struct jsc_stream *, const struct op_matmul_vjp *, jsc_error *);
    jsc_status (*norm_vjp)(struct jsc_stream *, const struct op_norm_vjp *, jsc_error *);
    jsc_status (*norm_pull)(struct jsc_stream *, const struct op_norm_pull *, jsc_error *);
    jsc_status (*part_norm_vjp)(struct jsc_stream *, const struct op_part_norm_vjp *, jsc_error *);
    jsc_status (*gate_vjp)(struct jsc_stream *, const struct op_gate_vjp *, jsc_error *);
    jsc_status (*mlp_collapse)(struct jsc_stream *, const struct op_mlp_collapse *, jsc_error *);
    size_t (*mlp_collapse_scratch)(struct jsc_device *, enum mlp_form form, size_t n, int B, int d, int f);
    jsc_status (*attention_vjp)(struct jsc_stream *, const struct op_attention_vjp *, jsc_error *);
    size_t (*attention_vjp_scratch)(struct jsc_device *, int S, int T, int B, int H, int K, int h);
    jsc_status (*rope_vjp)(struct jsc_stream *, const struct op_rope_vjp *, jsc_error *);
    jsc_status (*scatter)(struct jsc_stream *, const struct op_scatter *, jsc_error *);
    /* Fisher */
    jsc_status (*fisher_rows)(struct jsc_stream *, const struct op_fisher_rows *, jsc_error *);
    jsc_status (*gram)(struct jsc_stream *, const struct op_gram *, jsc_error *);
    jsc_status (*fisher_apply)(struct jsc_stream *, const struct op_fisher_apply *, jsc_error *);
    jsc_status (*probes)(struct jsc_stream *, const struct op_probes *, jsc_error *);
    /* recorded walks: both NULL where the backend records nothing */
    jsc_status (*record_begin)(struct jsc_stream *stream, const void *key, size_t bytes, bool *repeat, jsc_error *error);
    jsc_status (*record_end)(struct jsc_stream *stream, jsc_status walk, bool *again, jsc_error *error);
    /* NULL where the backend has no way of its own. A communicator among the ranks of boot that gathers through the devices, each rank on
     * its own; boot carries the rendezvous and failures, and stays open until *out is closed. Collective over boot: it succeeds on all
     * ranks or on none, and where it does not, boot serves on (unless boot itself has failed). */
    jsc_status (*comm_over)(struct jsc_device *device, struct comm *boot, struct comm **out, jsc_error *error);
};

/* ---- backends.c ------------------------------------------------------------------------------------------------------------ */

/* The table for a device name: NULL or "auto" (JSC_DEVICE, else the best present), "cpu", "ref" (developer builds only), "cuda[:N]".
 * index receives N. JSC_E_DEVICE says why a device is not to be had. passed_over (may be NULL): why auto took no GPU; its status is
 * JSC_OK if it did, or if another device was named. */
jsc_status backend_find(const char *device, const struct jsc_ops **ops, int *index, jsc_error *passed_over, jsc_error *error);

/* Opens the device and compares one 16 x 16 product and one sum on it with the host's; JSC_E_DEVICE says what differs. */
jsc_status backend_self_test(const struct jsc_ops *ops, int index, jsc_error *error);

/* What a backend in a module of its own hands over; it is taken only if its version and ops_interface() are the library's. */
struct jsc_plugin {
    const char *version;
    uint64_t interface;
    const struct jsc_ops *ops;
};

/* A number that changes with the table and the structs that pass through it: a module of other sources does not have it. */
static inline uint64_t ops_interface(void)
{
    static const size_t sizes[] = {
        sizeof(struct jsc_ops),         sizeof(struct jsc_device),       sizeof(struct device_options),   sizeof(struct jsc_stream),
        sizeof(struct jsc_weight),      sizeof(struct weight_part),      sizeof(struct rows),             sizeof(struct op_embed),
        sizeof(struct op_norm),         sizeof(struct op_matmul),        sizeof(struct op_rope),          sizeof(struct op_attention),
        sizeof(struct op_gate),         sizeof(struct op_add),           sizeof(struct op_head_vjp),      sizeof(struct op_matmul_vjp),
        sizeof(struct op_norm_vjp),     sizeof(struct op_gate_vjp),      sizeof(struct op_mlp_collapse),  sizeof(struct op_attention_vjp),
        sizeof(struct op_rope_vjp),     sizeof(struct op_scatter),       sizeof(struct op_fisher_rows),   sizeof(struct op_gram),
        sizeof(struct op_fisher_apply), sizeof(struct op_probes),        sizeof(struct op_part_norm),     sizeof(struct op_norm_pull),
        sizeof(struct op_part_norm_vjp), sizeof(struct comm)};
    uint64_t all = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        all = all * 1099511628211U + sizes[i];
    return all;
}

/* traced.c: the same table with a clock around every entry (JSC_TRACE=1), and its sums as log lines. */
struct jsc_ops traced_ops(const struct jsc_ops *real);
void traced_report(jsc_log_fn log, void *user);

#ifdef JSC_WITH_REF
extern const struct jsc_ops ops_ref;
#endif
extern const struct jsc_ops ops_cpu;
extern const struct jsc_ops ops_cuda; /* in the plug-in, and in builds for the emulator (JSC_SIMT) */

#endif
