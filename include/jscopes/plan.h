/* plan.h: what a request will need, before anything is allocated or computed. */
#ifndef JSCOPES_PLAN_H
#define JSCOPES_PLAN_H

#include <jscopes/attribute.h>

#ifdef __cplusplus
extern "C" {
#endif

/** How the VJP of an MLP is multiplied out; all three are exact (docs/math.md). FLOPs per token: direct 6 B d f, half 4 B d f,
 * full 2 d^2 f + 2 B d^2. */
typedef enum jsc_mlp_form { JSC_MLP_DIRECT = 0, JSC_MLP_HALF = 1, JSC_MLP_FULL = 2 } jsc_mlp_form;

/** jsc_mlp_form_name: "direct", "half", "full"; NULL if out of range. */
JSC_API const char *jsc_mlp_form_name(jsc_mlp_form form);

/** A plan: a pure function of (model, request, memory limit). */
typedef struct jsc_plan {
    size_t size;             /**< set by the caller: JSC_PLAN_INIT */
    int n_tokens;            /**< T: tokens up to the target position */
    int n_prompt;            /**< tokens of the prompt as given */
    int sequences;           /**< S: prompts in one forward (path: several alphas at once) */
    int right_hand_sides;    /**< in all (adaptive Fisher: the most that it may use) */
    int chunk;               /**< B: right-hand sides at once */
    int chunks;
    int token_chunk;         /**< tokens at once in the MLP half */
    int levels;              /**< block inputs whose sums are kept: 1, or n_layers for a layer map */
    jsc_mlp_form mlp_form;
    uint64_t weight_bytes, trace_bytes, workspace_bytes, result_bytes;
    uint64_t peak_bytes;     /**< trace + workspace + results: memory beyond the weights; of the device alone if own_memory */
    uint64_t limit_bytes;    /**< the limit it was made for; of each device that has memory of its own */
    double forward_flops, backward_flops;
    int rhs_chunk;           /**< right-hand sides at once in the attention half of a block: at most chunk */
    int own_memory;          /**< 1: weights, trace and workspace lie in the device's own memory, results in the host's */
    int stages;              /**< devices that hold the model's blocks one after another; trace and workspace are then those of the one that
                                  needs most (without own_memory: of all) */
    double bubble;           /**< share of the time for which a stage waits while chunks come and go, (stages - 1) / (stages - 1 + chunks) */
} jsc_plan;
#define JSC_PLAN_INIT {sizeof(jsc_plan), 0, 0, 0, 0, 0, 0, 0, 0, JSC_MLP_DIRECT, 0, 0, 0, 0, 0, 0, 0.0, 0.0, 0, 0, 0, 0.0}

/**
 * jsc_plan_make: plan a request. request->ids may be NULL if only n_ids is known.
 * JSC_E_MEMORY  even the smallest chunk does not fit; the error names the bytes needed and the limit; or the host has too little for the results
 */
JSC_API jsc_status jsc_plan_make(const jsc_model *model, const jsc_request *request, jsc_plan *plan, jsc_error *error);

/** One device of a model over several. */
typedef struct jsc_stage {
    const char *device;         /**< belongs to the model */
    int first_block, end_block; /**< holds blocks first_block .. end_block-1; the last stage also embedding, final norm and head */
    uint64_t weight_bytes;
    uint64_t peak_bytes;        /**< trace + workspace, without the scope's own arrays on the last stage */
} jsc_stage;

/** jsc_plan_stage: stage i (0: the lowest blocks) of plan->stages. JSC_E_ARGUMENT: there is none. */
JSC_API jsc_status jsc_plan_stage(const jsc_model *model, const jsc_plan *plan, int i, jsc_stage *out, jsc_error *error);

/** jsc_plan_print: the plan as lines of text into buffer (at most capacity bytes with NUL); returns the length needed. */
JSC_API size_t jsc_plan_print(const jsc_plan *plan, char *buffer, size_t capacity);

#ifdef __cplusplus
}
#endif
#endif
