/* scopes_internal.h: a scope says which cotangents it wants and how sums become scores. One file per scope, one row in scopes.c. */
#ifndef JSC_SCOPES_INTERNAL_H
#define JSC_SCOPES_INTERNAL_H

#include "comm.h"
#include "engine_internal.h"

#include <jscopes/attribute.h>
#include <jscopes/vjp.h>

/* ---- a request being answered (job.c) -------------------------------------------------------------------------------------- */

struct job {
    const jsc_model *model;
    const jsc_request *request;
    const struct scope *scope;
    jsc_attribution *out;
    int n;            /* tokens of the prompt */
    int T;            /* tokens that are computed: p + 1 */
    int p;            /* target position */
    int levels;       /* block inputs whose sums are wanted: 1 or L */
    struct work work; /* what the engine must hold */
    jsc_plan plan;
    struct trace *trace;
    double *x;             /* host [T][d] block-0 inputs */
    double *y;             /* host [d] at p */
    double *z, *slope, *P; /* host [V] at p, until job_head() asks for another row: logits, their slopes, probabilities */
    struct comm *comm;     /* ranks that answer this request together; NULL: this one alone */
    double *sums;          /* host [job_parts][levels][T][B] of one chunk each */
    bool informed;         /* adaptive Fisher keeps gradients to choose directions by: they fit */
    double done, total;    /* progress of the pull-back, in right-hand sides (path: in steps) */
};

/* Sums of one chunk of right-hand sides first .. first+count-1: sums[(l T + t) count + b]; grads[t count + b][d] at block 0, if asked for. */
struct pulled {
    int first, count;
    const double *sums, *grads;
};
typedef jsc_status (*pull_sink)(void *user, const struct pulled *chunk, jsc_error *error);

/* Checks the request and sizes the work; nothing is computed. request->ids may be NULL if `planning`. */
jsc_status job_size(struct job *job, bool planning, jsc_error *error);
/* Trace and buffers of job->plan. */
jsc_status job_open(struct job *job, jsc_error *error);
/* Forward pass; y at p; logits and probabilities at p. */
jsc_status job_forward(struct job *job, jsc_error *error);
void job_close(struct job *job);
/* z, slope and P of token row `row` of the last forward. */
jsc_status job_head(struct job *job, int row, jsc_error *error);
/* Chunks whose sums are in memory at a time: of each rank, or in each stage. */
int job_parts(const struct job *job);
/* Right-hand sides of one chunk when n are pulled back by ranks that take a chunk each in turn: in as few turns as chunks of at most `most`
 * allow, all alike. */
static inline int job_share(int n, int ranks, int most)
{
    const int turns = (n + ranks * most - 1) / (ranks * most);
    return (n + turns * ranks - 1) / (turns * ranks);
}
/* Pulls n cotangents [n][d] back in chunks of the plan; targets at pos[n], or all at p if pos is NULL. With several ranks each pulls its
 * part of them and all see all sums, in the same order as one rank alone. */
jsc_status job_pull(struct job *job, int n, const double *cotangents, const int32_t *pos, pull_sink sink, void *user, jsc_error *error);
/* The same at p, with gradients if `grads`: those of one chunk are in memory at a time. */
jsc_status job_pull_grads(struct job *job, int n, const double *cotangents, bool grads, pull_sink sink, void *user, jsc_error *error);
/* tangents_run at p of the n tangents u (overwritten); several ranks share the forward passes out. */
jsc_status job_tangents(struct job *job, double *u, int n, double *dy, jsc_error *error);
/* The scopes whose score is a norm: pulls out->n_scores cotangents at p, fills out->scores and out->layers with square roots. */
jsc_status job_norms(struct job *job, const double *cotangents, jsc_error *error);
/* Progress by work units; JSC_E_CANCELLED. */
jsc_status job_progress(struct job *job, const char *stage, double add, jsc_error *error);
/* Progress inside one pull, for pull.tick. */
struct ticker {
    struct job *job;
    double before, units; /* done before the pull; units that it is worth */
};
jsc_status job_tick(void *user, double share, jsc_error *error);
jsc_status job_warn(struct job *job, jsc_error *error, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* attribute.c: the whole of jsc_attribute, as one of comm's ranks (NULL: alone). */
jsc_status attribute_run(const jsc_model *model, const jsc_request *request, struct comm *comm, jsc_attribution **out, jsc_error *error);
/* The ranks agree on one plan, or find that they do not have the same model, request and kind of device. */
jsc_status job_agree(struct job *job, jsc_error *error);

/* request.c: every rule of a request that needs no forward pass. */
jsc_status request_check(const jsc_model *model, const jsc_request *request, bool planning, jsc_error *error);

/* ---- scopes (scopes.c) ------------------------------------------------------------------------------------------------------ */

struct scope {
    const char *name;
    bool takes_targets; /* targets, objective */
    bool several_targets;
    bool matrix; /* a position x token matrix makes sense */
    bool signs;  /* signed_scores */
    /* Adds to job->work what the scope needs: right-hand sides, sequences, bytes of its own arrays. */
    void (*size)(struct job *job);
    /* After the forward: pull back, fill out->scores and the rest. */
    jsc_status (*run)(struct job *job, jsc_error *error);
};
extern const struct scope scopes[JSC_SCOPE_COUNT];
void semantic_size(struct job *job);
void temperature_size(struct job *job);
void fisher_size(struct job *job);
void path_size(struct job *job);
void input_x_gradient_size(struct job *job);
void direction_size(struct job *job);
jsc_status semantic_run(struct job *job, jsc_error *error);
jsc_status temperature_run(struct job *job, jsc_error *error);
jsc_status fisher_run(struct job *job, jsc_error *error);
jsc_status path_run(struct job *job, jsc_error *error);
jsc_status input_x_gradient_run(struct job *job, jsc_error *error);
jsc_status direction_run(struct job *job, jsc_error *error);

/* matrix.c: rows 0 .. p-1 of the position x token matrix for a scope whose score is a norm (row p is out->scores). fill writes the
 * cotangent [d] of target position q. */
typedef jsc_status (*matrix_fill)(struct job *job, int q, double *cotangent, jsc_error *error);
jsc_status matrix_norms(struct job *job, matrix_fill fill, jsc_error *error);

/* ---- targets.c: what a logit, log-probability or contrast means for the head -------------------------------------------------- */

struct target {
    jsc_objective objective;
    int32_t a, b; /* b: contrast only */
};
/* The i-th target of the answer. */
struct target target_at(const struct job *job, size_t i);
/* d objective / d y, [d], from slopes and probabilities of the logits there. */
jsc_status target_cotangent(struct job *job, const struct target *target, const double *slope, const double *P, double *out,
                            jsc_error *error);
/* The objective's value. */
double target_value(const struct target *target, const double *z, size_t V);
/* Does its cotangent depend on the place (soft-capped logits, log-probability)? */
bool target_bends(const jsc_model *model, const struct target *target);

/* ---- attribution.c ------------------------------------------------------------------------------------------------------------- */

/* An empty answer for the job's request: sizes, names, tokens, arrays of zeros. */
jsc_status attribution_make(struct job *job, jsc_error *error);
/* After the forward: predictions, targets. */
jsc_status attribution_fill(struct job *job, jsc_error *error);
/* After the scope: timings, plan, and no value that is not finite. */
jsc_status attribution_finish(struct job *job, jsc_error *error);
/* The n likeliest tokens by falling probability, lowest id first among equals. */
struct ranked {
    double p;
    int32_t id;
};
jsc_status rank_tokens(const double *P, size_t V, size_t n, struct ranked **out, jsc_error *error);

/* ---- dense.c, eigen.c: small dense algebra in double, rows contiguous ------------------------------------------------------------ */

/* Pivoted Cholesky of a symmetric positive semi-definite F [d][d]: rows[r][d] with F = sum rows^T rows. Stops after `most` rows or when the
 * rest's trace is at most stop; *rest receives it. pivots[r] (may be NULL) is the column that row r was made from. diag: scratch [d]. F is
 * overwritten. d^3 / 3 multiplications and as many additions in blocks; the same bits for any number of threads. */
int cholesky_pivoted(double *F, int d, int most, double stop, double *rows, int *pivots, double *diag, double *rest, int threads);
/* Orthonormalises rows of m [k][d] in place (Gram-Schmidt twice); rows that vanish are dropped; returns how many stay, in front. */
int orthonormalise(double *m, int k, int d);
int orthonormalise_from(double *m, int first, int k, int d); /* rows before first are orthonormal already; returns with them */
double dense_dot(const double *a, const double *b, size_t n);
void axpy(double s, const double *x, double *y, size_t n); /* y += s x */
/* out[i][j] = a_i . b_j for rows a [n][d], b [m][d] */
void row_products(const double *a, int n, const double *b, int m, int d, double *out);
/* out [n][d] = c [n][m] b [m][d] */
void row_combine(const double *c, int n, int m, const double *b, int d, double *out);
/* Eigenvalues of symmetric a [n][n], largest first, into values; row i of a becomes the unit eigenvector of value i. work: [n] */
void symmetric_eigen(double *a, int n, double *values, double *work);

/* ---- Fisher: F = Wc^T Wc (fisher.c, fisher_factor.c, fisher_adaptive.c) ---------------------------------------------------------- */

#define FISHER_BLOCK 64 /* rows of M in one product F M: bounds its scratch */
/* Probability left out of F where nothing is estimated, as a share of what lies off the most likely token. */
#define FISHER_DROP_EXACT 1e-9

/* F at one target position, as centred rows on the device. */
struct fisher {
    struct job *job;
    int d, n;          /* n: tokens kept */
    int bound;         /* upper bound of the rank */
    int32_t *ids;      /* [n], the most likely first */
    double *p, *slope; /* [n] */
    double trace, dropped;
    dptr wc;       /* [n][d] REAL */
    dptr m, fm, c; /* [FISHER_BLOCK][d], [FISHER_BLOCK][d], [FISHER_BLOCK][n] REAL: made by the first fisher_apply */
};
/* Keeps the tokens that matter (dropped mass at most tolerance times the mass off the most likely token) and makes their rows. */
jsc_status fisher_open(struct fisher *f, struct job *job, double tolerance, jsc_error *error);
void fisher_close(struct fisher *f);
/* fm [k][d] = m F for host rows m [k][d] */
jsc_status fisher_apply(struct fisher *f, const double *m, int k, double *fm, jsc_error *error);

/* A block of cotangents, rows [n][d]. */
struct factor {
    double *rows;
    int n;
    int rank;            /* numerical rank, or a bound */
    double dropped;      /* trace left out */
    double *eigenvalues; /* [n] or NULL */
};
/* F = rows^T rows up to rounding. */
jsc_status factor_exact(struct fisher *f, struct factor *out, jsc_error *error);
/* The k largest eigenvalues' part of F. */
jsc_status factor_rank(struct fisher *f, int k, struct factor *out, jsc_error *error);
void factor_free(struct factor *factor);

/* The eigenvectors of the largest eigenvalues of F - sum_j D_j^T D_j (D: n_d rows), approximately, by subspace iteration. */
struct subspace {
    const double *D;
    int n_d;
    int k;           /* wanted */
    int extra;       /* further vectors: they make the wanted ones settle sooner; 0: as usual */
    int iterations;  /* at most; those done when it returns */
    double settle;   /* stop when every wanted Ritz value moves by less than this share of the largest */
    uint64_t stream; /* of the random start */
    /* out, made by subspace_find, freed by subspace_free: */
    int found;      /* <= k */
    double *U, *FU; /* [found][d]: orthonormal u, and (F - D^T D) u */
    double *ritz;   /* [found] */
};
jsc_status subspace_find(struct fisher *f, struct subspace *s, jsc_error *error);
void subspace_free(struct subspace *s);
/* The eigenvectors of F alone, by decomposing all of it (FU is not made) where that is quicker or `dense`; *decomposed says which. */
jsc_status fisher_eigenvectors(struct fisher *f, struct subspace *s, bool dense, bool *decomposed, jsc_error *error);
/* (F - D^T D) m */
jsc_status residual_apply(struct fisher *f, const double *D, int n_d, const double *m, int k, double *out, jsc_error *error);

/* The part of F that a block U carries exactly: rows D [n][d] with D^T D = F U^T (U F U^T)^-1 U F. */
struct exact_part {
    int n;
    double *D;
    double *U; /* [n][d] the pivot rows of the block */
    double *R; /* [n][n] upper triangular, U F U^T = R^T R */
};
jsc_status exact_part_make(const struct subspace *s, int d, double trace, struct exact_part *out, jsc_error *error);
/* Takes that part out of rows l [n][d] which are L xi: l -= D^T R^-T U l. scratch [part->n] */
void exact_part_project(const struct exact_part *part, double *l, int n, int d, double *scratch);
void exact_part_free(struct exact_part *part);

/* Signs of the request's seed: rows out [count][d] = L xi. */
jsc_status fisher_probes(struct fisher *f, uint64_t first, int count, double *out, jsc_error *error);

/* A few squares of random sums are skewed like a gamma distribution: where their spread comes out too small, so does their mean, and an
 * honest-looking error would be too small just where it matters. So the variance v of n of them is taken one standard error of its own higher. */
double upper_variance(double mean, double v, double n);
/* fisher_adaptive.c: exact directions and random probes until the standard errors are small enough. *exact_pays: the errors would need
 * nearly as many right-hand sides as exact; nothing was filled. */
jsc_status fisher_adaptive(struct fisher *f, bool *exact_pays, jsc_error *error);
/* Before: adds the bytes that it takes beside the factor's to the job's work; sets job->informed. */
void fisher_adaptive_size(struct job *job);
/* Cotangents of an estimate without growth, for matrix rows: n_exact directions, then n_probes probes (from number first on) scaled by
 * 1/sqrt(n_probes). */
jsc_status fisher_sketch(struct fisher *f, int n_exact, int n_probes, uint64_t first, struct factor *out, jsc_error *error);
/* When exact costs no more than the first stages of an estimate. */
bool fisher_small(const struct fisher *f);

#endif
