/* attribute.h: score every input token of one prompt under one scope.
 *
 *   x_t   input of block 0 at position t          y_p   hidden state after the final norm at the target position p
 *   z     logits W y_p, P = softmax(z)            J_t = d y_p / d x_t
 *
 *   semantic          || w_target^T J_t ||                                          paper, eq. 3
 *   fisher            tr(J_t^T F J_t),  F = W^T (diag P - P P^T) W                   paper, eq. 4 and 6
 *   temperature       || yhat^T J_t ||,  yhat = y / ||y|| held constant             paper, eq. 7
 *   path              || (x_t - x'_t) o mean_alpha grad z_target(x' + alpha (x - x')) ||   path-integrated gradients
 *   input-x-gradient  || x_t o grad z_target ||, and the signed dot product
 *   direction         || v^T J_t || for any caller-given v
 */
#ifndef JSCOPES_ATTRIBUTE_H
#define JSCOPES_ATTRIBUTE_H

#include <jscopes/model.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum jsc_scope {
    JSC_SCOPE_SEMANTIC = 0,
    JSC_SCOPE_TEMPERATURE = 1,
    JSC_SCOPE_FISHER = 2,
    JSC_SCOPE_PATH = 3,
    JSC_SCOPE_INPUT_X_GRADIENT = 4,
    JSC_SCOPE_DIRECTION = 5,
    JSC_SCOPE_COUNT = 6
} jsc_scope;

/** jsc_scope_name: "semantic", "temperature", "fisher", "path", "input-x-gradient", "direction"; NULL if out of range. */
JSC_API const char *jsc_scope_name(jsc_scope scope);

/** jsc_scope_find: the scope called name; JSC_E_ARGUMENT lists the names. */
JSC_API jsc_status jsc_scope_find(const char *name, jsc_scope *out, jsc_error *error);

/** What a semantic, path or input-x-gradient score explains. */
typedef enum jsc_objective {
    JSC_OBJECTIVE_LOGIT = 0,           /**< z_a */
    JSC_OBJECTIVE_LOG_PROBABILITY = 1, /**< log P_a */
    JSC_OBJECTIVE_CONTRAST = 2         /**< z_a - z_b: targets come in pairs */
} jsc_objective;

typedef enum jsc_fisher_mode { JSC_FISHER_ADAPTIVE = 0, JSC_FISHER_EXACT = 1, JSC_FISHER_RANK = 2 } jsc_fisher_mode;
typedef enum jsc_path_rule { JSC_PATH_UNIFORM = 0, JSC_PATH_GRADED = 1 } jsc_path_rule;
typedef enum jsc_baseline { JSC_BASELINE_ZERO = 0, JSC_BASELINE_MEAN = 1, JSC_BASELINE_ID = 2 } jsc_baseline;

/** One question. Begin with JSC_REQUEST_INIT; arrays are read during the call and not kept. */
typedef struct jsc_request {
    size_t size;               /**< sizeof(jsc_request) */
    jsc_scope scope;
    const int32_t *ids;        /**< [n_ids] the prompt */
    size_t n_ids;              /**< at least 1 */
    int64_t position;          /**< explains the prediction after ids[position]; negative counts from the end, -1 the last */
    jsc_objective objective;   /**< semantic, path, input-x-gradient */
    const int32_t *targets;    /**< [n_targets]; for CONTRAST [2 n_targets]: a0,b0,a1,b1,... NULL: the model's most likely next token */
    size_t n_targets;          /**< several only for semantic (one score per target and token) */
    const double *directions;  /**< [n_directions][d_model], direction scope only */
    size_t n_directions;
    jsc_fisher_mode fisher_mode;
    int fisher_rank;           /**< RANK: number of eigenvectors, 1..d_model */
    double fisher_rtol;        /**< ADAPTIVE: relative standard error wanted of every token with 1 % of the total; default 0.02 */
    int path_steps;            /**< default 100 */
    jsc_path_rule path_rule;   /**< uniform: the paper's midpoints; graded: nodes crowd towards the baseline */
    jsc_baseline baseline;     /**< of the path: zero vector, mean embedding of the vocabulary, embedding of baseline_id */
    int32_t baseline_id;
    int layers;                /**< 1: also the scores read at every block's input */
    int matrix;                /**< 1: position x token: every position a target (semantic explains the token that follows; the last, `targets`) */
    int top_predictions;       /**< how many likely next tokens to list; default 10 */
    uint64_t memory_limit;     /**< bytes beyond the weights; 0: what the machine has free */
    int chunk;                 /**< right-hand sides pulled back at once; 0: the plan chooses. Scores do not depend on it */
    uint64_t seed;             /**< of the Fisher probes */
    jsc_progress_fn progress;  /**< may be NULL */
    void *progress_user;
} jsc_request;
#define JSC_REQUEST_INIT                                                                                                   \
    {sizeof(jsc_request), JSC_SCOPE_SEMANTIC, NULL, 0, -1, JSC_OBJECTIVE_LOGIT, NULL, 0, NULL, 0, JSC_FISHER_ADAPTIVE, 0, 0.02, \
     100, JSC_PATH_UNIFORM, JSC_BASELINE_ZERO, 0, 0, 0, 10, 0, 0, 0, NULL, NULL}

/** One input token of a result. */
typedef struct jsc_scored_token {
    int32_t id;
    char *text;          /**< valid UTF-8 for display; bytes that are no complete character stand as <0xE4>. NULL without a tokeniser */
    char *bytes;         /**< [n_bytes] the token's own bytes; NULL without a tokeniser */
    size_t n_bytes;
    int linked;          /**< 1: begins in the middle of the character that the token before began */
} jsc_scored_token;

typedef struct jsc_prediction {
    int32_t id;
    char *text;          /**< as in jsc_scored_token */
    double probability, logit;
} jsc_prediction;

/** A result. Arrays that do not apply are NULL. T = n_tokens, all tokens given; scores after `position` are exactly 0.
 * Freed by jsc_attribution_free(). */
typedef struct jsc_attribution {
    size_t size;
    jsc_scope scope;
    char *model_name, *family;
    int n_layers, d_model, vocab_size;

    size_t n_tokens;
    jsc_scored_token *tokens;  /**< [T] */

    size_t position;           /**< the prediction after tokens[position] is explained */
    jsc_objective objective;
    size_t n_targets;          /**< 0 for temperature, fisher; number of directions' sum counts as one target */
    jsc_prediction *targets;   /**< [n_targets]: what was explained, at whatever probability */
    jsc_prediction *contrast;  /**< [n_targets]: the b of each pair, contrast only */

    size_t n_scores;           /**< scores per token: n_targets for several targets, n_directions, else 1 */
    double *scores;            /**< [n_scores][T] */
    double *stderrs;           /**< [T] standard error, adaptive Fisher only */
    double *signed_scores;     /**< [n_scores][T] input-x-gradient: x_t . grad z; path: sum of the token's attributions */
    double *layers;            /**< [n_scores][n_layers][T], by block whose input is read; row 0 equals scores */
    double *layer_stderrs;     /**< [n_layers][T] adaptive Fisher only */
    double *matrix;            /**< [T][T], row p: target position p; 0 right of the diagonal */
    int32_t *matrix_targets;   /**< [T] semantic matrix: the target of each row */

    struct {
        jsc_fisher_mode mode;  /**< the mode that was carried out: adaptive may have gone exact */
        int asked_adaptive;    /**< 1: adaptive was asked for */
        int directions;        /**< right-hand sides that are exact */
        int probes;            /**< random probes that were pulled back */
        int rank;              /**< numerical rank of F (exact), else an upper bound */
        double trace;          /**< tr F */
        double explained;      /**< share of tr F in the exact directions (exact mode: 1 - dropped) */
        double dropped_mass;   /**< probability of the tokens left out of F */
        double rtol;           /**< asked for */
        double reached;        /**< largest relative standard error of a token with 1 % of the total */
        int n_eigenvalues;
        double *eigenvalues;   /**< [n_eigenvalues] largest first (rank: all; adaptive: of the first directions, approximate) */
        int tangents;          /**< adaptive: forward differences that chose directions; each costs about as much as a right-hand side */
    } fisher;

    struct {
        int steps;
        jsc_path_rule rule;
        jsc_baseline baseline;
        int32_t baseline_id;
        double sum, difference, completeness_error; /**< in the objective's unit; error = |sum - difference| */
        size_t n_nodes;        /**< steps whose gradients are told: all up to 100, else as many as fit evenly, from the prompt down */
        double *alphas;        /**< [n_nodes] where on the path: 1 would be the prompt, 0 the baseline */
        double *norms;         /**< [n_nodes][T] || grad_{x_t} of the objective || there */
    } path;

    double y_norm;             /**< ||y||, the effective inverse temperature */
    size_t n_predictions;
    jsc_prediction *predictions;
    char *backend, *precision;
    uint64_t seed;
    int chunk;                 /**< right-hand sides at once, as planned */
    char *plan;                /**< forms chosen, in words */
    size_t n_warnings;
    char **warnings;
    double seconds_load, seconds_forward, seconds_backward;
    uint64_t bytes_peak;       /**< planned memory beyond the weights */
} jsc_attribution;

/**
 * jsc_attribute: score every input token of one prompt under one scope.
 *
 * model    shared and never changed; any number of threads may use it at once
 * request  begin with JSC_REQUEST_INIT
 * out      on JSC_OK a new attribution, freed by jsc_attribution_free(); untouched on failure
 * error    may be NULL; on failure says what, where and what to do
 *
 * Cost:    one forward pass and one multi-right-hand-side VJP: as many right-hand sides as there are targets or directions; for
 *          Fisher rank(F) if exact, a few hundred at most if adaptive; for path one forward and one VJP per step.
 * Memory:  as jsc_plan_make() says for the same request.
 *
 * JSC_E_ARGUMENT   a token id, position or option outside its range
 * JSC_E_MEMORY     the plan does not fit; the error names the bytes it needs and the limit
 * JSC_E_NUMERIC    a value became infinite or undefined; the error names block and operation
 * JSC_E_CANCELLED  progress() returned non-zero
 */
JSC_API jsc_status jsc_attribute(const jsc_model *model, const jsc_request *request, jsc_attribution **out, jsc_error *error);

/** jsc_attribution_free: NULL is a no-op. */
JSC_API void jsc_attribution_free(jsc_attribution *attribution);

#ifdef __cplusplus
}
#endif
#endif
