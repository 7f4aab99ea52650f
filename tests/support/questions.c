/* questions.c: requests of every kind that a tiny model answers. */
#include "support/questions.h"
#include "support/random_model.h"

const struct question questions[] = {
    {"semantic", JSC_SCOPE_SEMANTIC, .layers = 1},
    {"semantic, three targets", JSC_SCOPE_SEMANTIC, .targets = 3, .layers = 1},
    {"temperature, matrix", JSC_SCOPE_TEMPERATURE, .matrix = 1},
    {"fisher, exact", JSC_SCOPE_FISHER, JSC_FISHER_EXACT, .layers = 1},
    {"fisher, exact, matrix", JSC_SCOPE_FISHER, JSC_FISHER_EXACT, .matrix = 1},
    {"fisher, rank", JSC_SCOPE_FISHER, JSC_FISHER_RANK, .layers = 1},
    {"fisher, adaptive", JSC_SCOPE_FISHER, JSC_FISHER_ADAPTIVE, .layers = 1},
    {"path", JSC_SCOPE_PATH, .layers = 1},
    {"input-x-gradient", JSC_SCOPE_INPUT_X_GRADIENT, .layers = 1},
};
const int n_questions = sizeof questions / sizeof *questions;

jsc_request question_request(const struct question *q)
{
    static const int32_t targets[3] = {3, 7, 11};
    jsc_request r = ask(q->scope, QUESTION_TOKENS);
    r.layers = q->layers, r.matrix = q->matrix, r.fisher_mode = q->mode, r.fisher_rank = 5, r.path_steps = 12;
    if (q->targets > 0)
        r.targets = targets, r.n_targets = (size_t)q->targets;
    return r;
}
