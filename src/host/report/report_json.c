/* report_json.c: an attribution as one JSON object, strict (RFC 8259): numbers read back to the same double, a field that does not apply
 * is absent. */
#include "report_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put_text(struct sink *sink, const char *bytes, size_t n)
{
    struct piece piece;
    sink_puts(sink, "\"");
    for (size_t i = 0; i < n;) {
        i += piece_json(bytes + i, n - i, &piece);
        sink_write(sink, piece.text, piece.n);
    }
    sink_puts(sink, "\"");
}

/* "name": value, preceded by a comma unless it is the first of its object (*first). */
static void put_name(struct sink *sink, const char *name, bool *first)
{
    sink_printf(sink, "%s\"%s\": ", *first ? "" : ", ", name);
    *first = false;
}

/* The shortest of the forms that read back to the same double; JSON has no NaN and no infinity, they become null. Many readers take "-0"
 * for the whole number 0. */
static void put_number(struct sink *sink, double value)
{
    char text[40] = "null";
    if (value == 0.0 && signbit(value)) {
        sink_puts(sink, "-0.0");
        return;
    }
    for (int digits = 15; isfinite(value) && digits <= 17; digits++) {
        (void)snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    sink_puts(sink, text);
}

static void put_array(struct sink *sink, const double *values, size_t n)
{
    sink_puts(sink, "[");
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            sink_puts(sink, ", ");
        put_number(sink, values[i]);
    }
    sink_puts(sink, "]");
}

/* rows x columns, a line of text per row */
static void put_table(struct sink *sink, const double *values, size_t rows, size_t columns)
{
    sink_puts(sink, "[");
    for (size_t i = 0; i < rows; i++) {
        sink_puts(sink, i > 0 ? ",\n    " : "\n    ");
        put_array(sink, values + i * columns, columns);
    }
    sink_puts(sink, "]");
}

static void put_string_field(struct sink *sink, const char *name, const char *text, bool *first)
{
    if (text == NULL)
        return;
    put_name(sink, name, first);
    put_text(sink, text, strlen(text));
}

static void put_integer_field(struct sink *sink, const char *name, int64_t value, bool *first)
{
    put_name(sink, name, first);
    sink_printf(sink, "%" PRId64, value);
}

static void put_number_field(struct sink *sink, const char *name, double value, bool *first)
{
    put_name(sink, name, first);
    put_number(sink, value);
}

/* A list of predictions as four parallel lists, the way "target" gives them. */
static void put_explained(struct sink *sink, const jsc_prediction *p, size_t n, bool *first)
{
    put_name(sink, "ids", first);
    for (size_t i = 0; i < n; i++)
        sink_printf(sink, "%s%" PRId32, i == 0 ? "[" : ", ", p[i].id);
    sink_puts(sink, "]");
    if (p[0].text != NULL) {
        put_name(sink, "texts", first);
        for (size_t i = 0; i < n; i++) {
            sink_puts(sink, i == 0 ? "[" : ", ");
            if (p[i].text != NULL)
                put_text(sink, p[i].text, strlen(p[i].text));
            else
                sink_puts(sink, "null");
        }
        sink_puts(sink, "]");
    }
    put_name(sink, "probabilities", first);
    for (size_t i = 0; i < n; i++) {
        sink_puts(sink, i == 0 ? "[" : ", ");
        put_number(sink, p[i].probability);
    }
    sink_puts(sink, "]");
    put_name(sink, "logits", first);
    for (size_t i = 0; i < n; i++) {
        sink_puts(sink, i == 0 ? "[" : ", ");
        put_number(sink, p[i].logit);
    }
    sink_puts(sink, "]");
}

static void put_target(const jsc_attribution *a, struct sink *sink)
{
    bool first = true, inner = true;
    sink_puts(sink, "{");
    put_integer_field(sink, "position", (int64_t)a->position, &first);
    if (a->targets != NULL && a->n_targets > 0) {
        put_string_field(sink, "objective", word_of(objective_words, (unsigned)a->objective), &first);
        put_explained(sink, a->targets, a->n_targets, &first);
        if (a->contrast != NULL) {
            put_name(sink, "contrast", &first);
            sink_puts(sink, "{");
            put_explained(sink, a->contrast, a->n_targets, &inner);
            sink_puts(sink, "}");
        }
    }
    sink_puts(sink, "}");
}

/* One value per token as a number, several as a list. */
static void put_scores(struct sink *sink, const char *one, const char *several, const double *values, const jsc_attribution *a, size_t t,
                       bool *first)
{
    if (values == NULL)
        return;
    put_name(sink, a->n_scores > 1 ? several : one, first);
    if (a->n_scores > 1)
        sink_puts(sink, "[");
    for (size_t s = 0; s < a->n_scores; s++) {
        if (s > 0)
            sink_puts(sink, ", ");
        put_number(sink, values[s * a->n_tokens + t]);
    }
    if (a->n_scores > 1)
        sink_puts(sink, "]");
}

static void put_token(const jsc_attribution *a, size_t t, struct sink *sink)
{
    const jsc_scored_token *token = &a->tokens[t];
    bool first = true;
    sink_puts(sink, "{");
    put_integer_field(sink, "id", token->id, &first);
    put_string_field(sink, "text", token->text, &first);
    if (token->bytes != NULL &&
        (token->text == NULL || strlen(token->text) != token->n_bytes || memcmp(token->text, token->bytes, token->n_bytes) != 0)) {
        put_name(sink, "bytes", &first);
        sink_puts(sink, "\"");
        for (size_t i = 0; i < token->n_bytes; i++)
            sink_printf(sink, "%02x", (unsigned char)token->bytes[i]);
        sink_puts(sink, "\"");
    }
    if (token->linked) {
        put_name(sink, "linked", &first);
        sink_puts(sink, "true");
    }
    put_scores(sink, "score", "scores", a->scores, a, t, &first);
    if (a->stderrs != NULL)
        put_number_field(sink, "stderr", a->stderrs[t], &first);
    put_scores(sink, "signed_score", "signed_scores", a->signed_scores, a, t, &first);
    sink_puts(sink, "}");
}

static void put_layers(const jsc_attribution *a, struct sink *sink, bool *first)
{
    const size_t blocks = (size_t)a->n_layers, T = a->n_tokens;
    if (a->layers == NULL)
        return;
    put_name(sink, "layers", first);
    if (a->n_scores > 1)
        sink_puts(sink, "[");
    for (size_t s = 0; s < a->n_scores; s++) {
        if (s > 0)
            sink_puts(sink, ",");
        put_table(sink, a->layers + s * blocks * T, blocks, T);
    }
    if (a->n_scores > 1)
        sink_puts(sink, "]");
    if (a->layer_stderrs != NULL) {
        put_name(sink, "layer_stderrs", first);
        put_table(sink, a->layer_stderrs, blocks, T);
    }
}

static void put_matrix(const jsc_attribution *a, struct sink *sink, bool *first)
{
    if (a->matrix == NULL)
        return;
    put_name(sink, "matrix", first);
    put_table(sink, a->matrix, a->n_tokens, a->n_tokens);
    if (a->matrix_targets == NULL)
        return;
    put_name(sink, "matrix_targets", first);
    for (size_t t = 0; t < a->n_tokens; t++)
        sink_printf(sink, "%s%" PRId32, t == 0 ? "[" : ", ", a->matrix_targets[t]);
    sink_puts(sink, "]");
}

static void put_fisher(const jsc_attribution *a, struct sink *sink)
{
    bool first = true;
    sink_puts(sink, "{");
    put_string_field(sink, "mode", word_of(fisher_words, (unsigned)a->fisher.mode), &first);
    put_integer_field(sink, "directions", a->fisher.directions, &first);
    put_integer_field(sink, "probes", a->fisher.probes, &first);
    if (a->fisher.tangents > 0)
        put_integer_field(sink, "tangents", a->fisher.tangents, &first);
    put_integer_field(sink, "rank", a->fisher.rank, &first);
    put_number_field(sink, "explained", a->fisher.explained, &first);
    put_number_field(sink, "trace", a->fisher.trace, &first);
    put_number_field(sink, "dropped_mass", a->fisher.dropped_mass, &first);
    if (a->fisher.asked_adaptive) {
        put_number_field(sink, "rtol", a->fisher.rtol, &first);
        put_number_field(sink, "reached", a->fisher.reached, &first);
    }
    if (a->fisher.eigenvalues != NULL) {
        put_name(sink, "eigenvalues", &first);
        put_array(sink, a->fisher.eigenvalues, (size_t)a->fisher.n_eigenvalues);
    }
    sink_puts(sink, "}");
}

static void put_path(const jsc_attribution *a, struct sink *sink)
{
    bool first = true;
    sink_puts(sink, "{");
    put_integer_field(sink, "steps", a->path.steps, &first);
    put_string_field(sink, "rule", word_of(path_rule_words, (unsigned)a->path.rule), &first);
    put_string_field(sink, "baseline", word_of(baseline_words, (unsigned)a->path.baseline), &first);
    if (a->path.baseline == JSC_BASELINE_ID || a->path.baseline_id != -1)
        put_integer_field(sink, "baseline_id", a->path.baseline_id, &first);
    put_number_field(sink, "sum", a->path.sum, &first);
    put_number_field(sink, "difference", a->path.difference, &first);
    put_number_field(sink, "completeness_error", a->path.completeness_error, &first);
    if (a->path.norms != NULL) {
        put_name(sink, "alphas", &first);
        put_array(sink, a->path.alphas, a->path.n_nodes);
        put_name(sink, "norms", &first);
        put_table(sink, a->path.norms, a->path.n_nodes, a->n_tokens);
    }
    sink_puts(sink, "}");
}

static void put_predictions(const jsc_attribution *a, struct sink *sink)
{
    for (size_t i = 0; i < a->n_predictions; i++) {
        bool first = true;
        sink_puts(sink, i == 0 ? "[\n    {" : ",\n    {");
        put_integer_field(sink, "id", a->predictions[i].id, &first);
        put_string_field(sink, "text", a->predictions[i].text, &first);
        put_number_field(sink, "probability", a->predictions[i].probability, &first);
        put_number_field(sink, "logit", a->predictions[i].logit, &first);
        sink_puts(sink, "}");
    }
    sink_puts(sink, a->n_predictions == 0 ? "[]" : "]");
}

static void put_model(const jsc_attribution *a, struct sink *sink)
{
    bool first = true;
    sink_puts(sink, "{");
    put_string_field(sink, "name", a->model_name, &first);
    put_string_field(sink, "family", a->family, &first);
    put_integer_field(sink, "layers", a->n_layers, &first);
    put_integer_field(sink, "d_model", a->d_model, &first);
    put_integer_field(sink, "vocab_size", a->vocab_size, &first);
    sink_puts(sink, "}");
}

/* How the numbers came about. */
static void put_run(const jsc_attribution *a, struct sink *sink, bool *first)
{
    bool inner = true;
    put_string_field(sink, "backend", a->backend, first);
    put_string_field(sink, "precision", a->precision, first);
    put_name(sink, "seed", first);
    sink_printf(sink, "%" PRIu64, a->seed);
    put_integer_field(sink, "chunk", a->chunk, first);
    put_string_field(sink, "plan", a->plan, first);
    put_name(sink, "bytes_peak", first);
    sink_printf(sink, "%" PRIu64, a->bytes_peak);
    put_name(sink, "warnings", first);
    sink_puts(sink, "[");
    for (size_t i = 0; i < a->n_warnings; i++) {
        if (i > 0)
            sink_puts(sink, ", ");
        put_text(sink, a->warnings[i], strlen(a->warnings[i]));
    }
    sink_puts(sink, "]");
    put_name(sink, "seconds", first);
    sink_puts(sink, "{");
    put_number_field(sink, "load", a->seconds_load, &inner);
    put_number_field(sink, "forward", a->seconds_forward, &inner);
    put_number_field(sink, "backward", a->seconds_backward, &inner);
    sink_puts(sink, "}");
}

static void put_attribution(const jsc_attribution *a, struct sink *sink)
{
    bool first = true;
    sink_puts(sink, "{");
    put_name(sink, "model", &first);
    put_model(a, sink);
    put_string_field(sink, "scope", jsc_scope_name(a->scope), &first);
    put_name(sink, "target", &first);
    put_target(a, sink);
    put_name(sink, "tokens", &first);
    for (size_t t = 0; t < a->n_tokens; t++) {
        sink_puts(sink, t == 0 ? "[\n    " : ",\n    ");
        put_token(a, t, sink);
    }
    sink_puts(sink, a->n_tokens == 0 ? "[]" : "]");
    put_layers(a, sink, &first);
    put_matrix(a, sink, &first);
    if (a->scope == JSC_SCOPE_FISHER) {
        put_name(sink, "fisher", &first);
        put_fisher(a, sink);
    }
    if (a->scope == JSC_SCOPE_PATH) {
        put_name(sink, "path", &first);
        put_path(a, sink);
    }
    put_number_field(sink, "y_norm", a->y_norm, &first);
    put_name(sink, "predictions", &first);
    put_predictions(a, sink);
    put_run(a, sink, &first);
    sink_puts(sink, "}");
}

/* One result is an object, several are lines of one list. */
void report_json(const jsc_report_input *input, const jsc_report_options *options, struct sink *sink)
{
    (void)options;
    for (size_t i = 0; i < input->n; i++) {
        if (input->n > 1)
            sink_puts(sink, i == 0 ? "[" : ",\n");
        put_attribution(input->attributions[i], sink);
    }
    sink_puts(sink, input->n > 1 ? "]\n" : "\n");
}
