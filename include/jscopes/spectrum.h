/* spectrum.h: the directions that matter most: eigenvalues of the Fisher matrix at the output and at one input token, and singular values of
 * one token's Jacobian (what the paper leaves to future work).
 *
 *   y     final hidden state at the target position p     J_t = d y / d x_t, x_t the input of block 0 at token t
 *   F     W^T (diag P - P P^T) W      [d][d]               F_t = J_t^T F J_t   [d][d]           paper, eq. 4
 *
 *   fisher        F v = lambda v:   moving y along v by e changes the prediction by KL = lambda e^2 / 2     (eq. 5)
 *   fisher-input  F_t v = lambda v: the same for moving x_t
 *   jacobian      J_t v = sigma u:  moving x_t along v by e moves y along u by sigma e
 *
 * Every value comes with a residual: an exact eigenvalue (singular value) lies no further from it than that. */
#ifndef JSCOPES_SPECTRUM_H
#define JSCOPES_SPECTRUM_H

#include <jscopes/model.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum jsc_spectrum_kind {
    JSC_SPECTRUM_FISHER = 0,       /**< F at the position */
    JSC_SPECTRUM_FISHER_INPUT = 1, /**< F_t of one input token */
    JSC_SPECTRUM_JACOBIAN = 2,     /**< singular values of J_t */
    JSC_SPECTRUM_COUNT = 3
} jsc_spectrum_kind;

/** jsc_spectrum_kind_name: "fisher", "fisher-input", "jacobian"; NULL if out of range. */
JSC_API const char *jsc_spectrum_kind_name(jsc_spectrum_kind kind);

/** Begin with JSC_SPECTRUM_REQUEST_INIT; ids are read during the call and not kept. */
typedef struct jsc_spectrum_request {
    size_t size;              /**< sizeof(jsc_spectrum_request) */
    jsc_spectrum_kind kind;
    const int32_t *ids;       /**< [n_ids] the prompt */
    size_t n_ids;             /**< at least 1 */
    int64_t position;         /**< p; negative counts from the end, -1 the last */
    int64_t token;            /**< t <= p, likewise; fisher does not look at it */
    int k;                    /**< how many of the largest values; 1..d_model */
    int oversample;           /**< further vectors that are iterated: they make the wanted ones settle sooner; 0: the usual 8 */
    int iterations;           /**< power steps at most; 0: two, fewer if the values settle sooner, or exact where that costs no more */
    uint64_t seed;            /**< of the random start and of the probes that measure residuals */
    uint64_t memory_limit;    /**< bytes beyond the weights; 0: what the machine has free */
    jsc_progress_fn progress; /**< may be NULL */
    void *progress_user;
    int exact;                /**< 1: pull back every row (fisher: decompose F), whatever it costs */
} jsc_spectrum_request;
#define JSC_SPECTRUM_REQUEST_INIT {sizeof(jsc_spectrum_request), JSC_SPECTRUM_FISHER, NULL, 0, -1, -1, 10, 0, 0, 0, 0, NULL, NULL, 0}

/** A result; arrays that do not apply are NULL. Freed by jsc_spectrum_free(). */
typedef struct jsc_spectrum {
    size_t size;
    jsc_spectrum_kind kind;
    int n;                /**< values: k, or the numerical rank where that is less */
    double *values;       /**< [n] largest first: lambda (fisher: squared logits per unit of y^2; fisher-input: per x^2), or sigma */
    double *residuals;    /**< [n] in the unit of the value, see jsc_spectrum_compute() */
    double *vectors;      /**< [n][d_model] unit vectors v, of y for fisher, of x_t otherwise; the largest component is positive */
    double *left;         /**< [n][d_model] unit vectors u, jacobian only: J_t v = sigma u */
    int d_model;
    int right_hand_sides; /**< cotangents that were pulled back (fisher: 0) */
    double trace;         /**< the sum of all eigenvalues, tr F or tr F_t; jacobian: ||J_t||_F^2, the sum of all sigma^2 */
    double trace_stderr;  /**< 0: trace is exact; else its standard error, from the probes */
    double rest;          /**< part of trace outside everything that was iterated (estimated like trace): no eigenvalue (no sigma^2) that was
                               overlooked can be larger. 0: exact */
    int exact;            /**< 1: every row was pulled back, or F decomposed; residuals are those of the arithmetic */
    int rank;             /**< rows that exact pulls back: F's numerical rank or a bound of it, d_model for jacobian */
    int iterations;       /**< power steps done */
    int tangents;         /**< forward differences that chose directions; each costs about as much as a right-hand side */
    int probes;           /**< right-hand sides that measured residuals */
    size_t position, token;
    uint64_t seed;
    double dropped_mass;  /**< probability of the tokens left out of F */
    uint64_t bytes_peak;  /**< planned memory beyond the weights */
    double seconds;
} jsc_spectrum;

/**
 * jsc_spectrum_compute: the k largest values with their vectors and residuals.
 *
 * model    shared and never changed; any number of threads may use it at once
 * out      on JSC_OK a new spectrum, freed by jsc_spectrum_free(); untouched on failure
 *
 * Residuals: values and vectors come from exact pull-backs (jsc_vjp) only.
 *   fisher        || F v - lambda v ||
 *   jacobian      J_t^T u = sigma v holds by construction; || J_t v - sigma u ||
 *   fisher-input  with F = L L^T, A = L^T J_t, lambda = sigma^2, A^T q = sigma v by construction; || A A^T q - lambda q ||, where A A^T has
 *                 the non-zero eigenvalues of F_t = A^T A
 * An eigenvalue (singular value) lies within the residual of each value. If not `exact`, the residual itself is measured by random
 * probes: the true one is above what is stated with probability 1e-3 for each value. All speak of J_t as the model's arithmetic
 * gives it: open the model with strict precision where digits matter.
 *
 * Cost: one forward pass, and  fisher: products F M alone;  exact: as many right-hand sides as d_model or the rank of F, and
 * d_model^3 operations;  else (s + 1) (k + oversample) right-hand sides, 2 s (k + oversample) tangents for s power steps, and 16 probes
 * (docs/math.md, spectra).
 * Memory: as planned before anything is allocated, in bytes_peak; never more than memory_limit.
 *
 * JSC_E_ARGUMENT   a token id, position, token, k or option outside its range
 * JSC_E_MEMORY     the plan does not fit; the error names the bytes it needs and the limit
 * JSC_E_NUMERIC    a value became infinite or undefined
 * JSC_E_CANCELLED  progress() returned non-zero; it is not asked while a matrix is decomposed (0.3 s for 576 rows, 2 min for 2048)
 */
JSC_API jsc_status jsc_spectrum_compute(const jsc_model *model, const jsc_spectrum_request *request, jsc_spectrum **out, jsc_error *error);

/** jsc_spectrum_free: NULL is a no-op. */
JSC_API void jsc_spectrum_free(jsc_spectrum *spectrum);

#ifdef __cplusplus
}
#endif
#endif
