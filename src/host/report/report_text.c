/* report_text.c: an attribution for people at a terminal: what is explained, the coloured prompt, tables with bars, the method's own
 * figures, warnings. */
#include "report_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define WIDTH_MIN 48
#define WIDTH_MAX 400
#define BAR_MAX   30
#define TOP_K     5

const char *text_sgr(const struct text_report *r, const char *code)
{
    return r->colour == JSC_COLOUR_NONE ? "" : code;
}

/* Names and warnings may quote files: they are shown like tokens. */
static void put_plain(const struct text_report *r, const char *text)
{
    struct piece piece;
    for (size_t i = 0, n = text == NULL ? 0 : strlen(text); i < n;) {
        i += piece_shown(text + i, n - i, r->ascii, &piece);
        sink_write(r->sink, piece.text, piece.n);
    }
}

/* Cut to at most cells; returns how many were used. */
static int put_cut(const struct text_report *r, const char *text, int cells)
{
    const size_t n = strlen(text);
    struct piece piece;
    int used = 0;
    for (size_t i = 0; i < n;) {
        const size_t taken = piece_shown(text + i, n - i, r->ascii, &piece);
        if (used + piece.cells > cells - (i + taken < n ? 2 : 0)) { /* room for the dots unless this is the last */
            sink_puts(r->sink, "..");
            return used + 2;
        }
        sink_write(r->sink, piece.text, piece.n);
        used += piece.cells;
        i += taken;
    }
    return used;
}

void text_quoted(const struct text_report *r, const char *text, int cells, bool pad)
{
    sink_puts(r->sink, "\"");
    const int used = put_cut(r, text, cells - 2) + 2;
    sink_printf(r->sink, "\"%*s", pad && used < cells ? cells - used : 0, "");
}

void text_label(const struct text_report *r, const char *text, int cells, bool pad)
{
    const int used = put_cut(r, text, cells);
    sink_printf(r->sink, "%*s", pad && used < cells ? cells - used : 0, "");
}

void text_token(const struct text_report *r, int32_t id, const char *text, int cells, bool pad)
{
    if (text != NULL)
        text_quoted(r, text, cells, pad);
    else
        sink_printf(r->sink, "id %-*" PRId32, pad && cells > 3 ? cells - 3 : 0, id);
}

/* share of cells, in eighths of a cell where the characters are there */
void text_bar(const struct text_report *r, double share, int cells)
{
    static const char *const eighths[8] = {" ", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    const int parts = (int)lrint(ramp_share(share, 1.0) * cells * 8.0);
    int used = 0;
    sink_puts(r->sink, text_sgr(r, "\033[94m"));
    for (; used < parts / 8; used++)
        sink_puts(r->sink, r->ascii ? "#" : "█");
    if (used < cells && !r->ascii && parts % 8 > 0) {
        sink_puts(r->sink, eighths[parts % 8]);
        used++;
    }
    sink_printf(r->sink, "%s%*s", PLAIN(r), cells - used, "");
}

/* Both tables: number (8 cells), name, bar, figures (as many cells as the table says). */
int text_name_width(const struct text_report *r)
{
    return r->width >= 70 ? 22 : r->width >= 60 ? 14 : 10;
}

static int bar_width(const struct text_report *r, int figures)
{
    const int left = r->width - 8 - text_name_width(r) - figures;
    return left > BAR_MAX ? BAR_MAX : left > 0 ? left : 0;
}

static void put_target(const struct text_report *r, const jsc_prediction *p)
{
    text_token(r, p->id, p->text, 40, false);
    if (p->text != NULL)
        sink_printf(r->sink, " (id %" PRId32 ")", p->id);
    sink_printf(r->sink, ", probability %.3g, logit %.4g", p->probability, p->logit);
}

void text_explained(const struct text_report *r, size_t line)
{
    const jsc_attribution *a = r->a;
    sink_printf(r->sink, "%sexplains%s ", BOLD(r), PLAIN(r));
    if (a->scope == JSC_SCOPE_FISHER)
        sink_puts(r->sink, "the whole predicted distribution");
    else if (a->scope == JSC_SCOPE_TEMPERATURE)
        sink_printf(r->sink, "the confidence of the prediction (||y|| = %.4g)", a->y_norm);
    else if (a->targets == NULL || line >= a->n_targets)
        sink_printf(r->sink, "direction %zu of %zu", line + 1, a->n_scores);
    else {
        sink_puts(r->sink, a->objective == JSC_OBJECTIVE_LOG_PROBABILITY ? "the log-probability of " : "");
        put_target(r, &a->targets[line]);
        if (a->contrast != NULL) {
            sink_puts(r->sink, "\n   against ");
            put_target(r, &a->contrast[line]);
        }
    }
    sink_printf(r->sink, "\n   after token %zu ", a->position);
    if (a->position < a->n_tokens)
        text_token(r, a->tokens[a->position].id, a->tokens[a->position].text, 40, false);
    sink_puts(r->sink, "\n");
}

/* One line of the table: token t, the bar against the largest score. */
static void put_ranked(const struct text_report *r, size_t line, size_t t, double largest, double sum, int bar)
{
    const jsc_attribution *a = r->a;
    const double score = a->scores[line * a->n_tokens + t];
    sink_printf(r->sink, "%6zu  ", t);
    text_token(r, a->tokens[t].id, a->tokens[t].text, text_name_width(r) - 1, true);
    sink_puts(r->sink, " ");
    text_bar(r, ramp_share(score, largest), bar);
    sink_printf(r->sink, "%10.4g%6.1f %%", score, 100.0 * ramp_share(score, sum));
    if (a->stderrs != NULL)
        sink_printf(r->sink, "%10.2g", a->stderrs[t]);
    else if (a->signed_scores != NULL)
        sink_printf(r->sink, "%+10.3g", a->signed_scores[line * a->n_tokens + t]);
    sink_puts(r->sink, "\n");
}

static void put_table(const struct text_report *r, size_t line)
{
    const jsc_attribution *a = r->a;
    const size_t T = a->n_tokens, n = a->position < T ? a->position + 1 : T;
    const double *scores = a->scores + line * T;
    const int name = text_name_width(r), bar = bar_width(r, 18 + (a->stderrs != NULL || a->signed_scores != NULL ? 10 : 0));
    size_t *order = NULL;
    double sum = 0.0;

    if (mem_new(&order, n, NULL) != JSC_OK || compare_order(scores, n, order, NULL) != JSC_OK) {
        sink_fail(r->sink, JSC_E_MEMORY, "no memory for the table of the strongest tokens");
        mem_free(order);
        return;
    }
    for (size_t i = 0; i < n; i++)
        sum += scores[i];
    sink_printf(r->sink, "%s%-*s%10s%8s%s%s\n", BOLD(r), 8 + name + bar, "strongest tokens", "score", "share",
                a->stderrs != NULL         ? "   +-error"
                : a->signed_scores != NULL ? "    signed"
                                           : "",
                PLAIN(r));
    for (size_t k = 0; k < n && k < (size_t)r->top_k; k++)
        put_ranked(r, line, order[k], scores[order[0]], sum, bar);
    mem_free(order);
}

static void put_predictions(const struct text_report *r)
{
    const jsc_attribution *a = r->a;
    const int name = text_name_width(r), bar = bar_width(r, 18);
    if (a->n_predictions == 0)
        return;
    sink_printf(r->sink, "\n%s%-*s%10s%s\n", BOLD(r), 8 + name + bar, "predicted next", "percent", PLAIN(r));
    for (size_t i = 0; i < a->n_predictions; i++) {
        const jsc_prediction *p = &a->predictions[i];
        bool explained = false;
        for (size_t k = 0; a->targets != NULL && k < a->n_targets; k++)
            explained = explained || a->targets[k].id == p->id;
        sink_printf(r->sink, "%6" PRId32 "  ", p->id);
        text_token(r, p->id, p->text, name - 1, true);
        sink_puts(r->sink, " ");
        text_bar(r, p->probability, bar);
        sink_printf(r->sink, "%10.2f%s\n", 100.0 * p->probability, explained ? "  target" : "");
    }
}

static void put_fisher(const struct text_report *r)
{
    const jsc_attribution *a = r->a;
    struct sink *sink = r->sink;
    sink_printf(sink, "\n%sfisher%s ", BOLD(r), PLAIN(r));
    say_fisher_mode(sink, a);
    sink_printf(sink, "\n   %.4g %% of tr F = %.4g is in the exact directions; dropped probability %.2g\n", 100.0 * a->fisher.explained,
                a->fisher.trace, a->fisher.dropped_mass);
    if (a->fisher.mode != JSC_FISHER_ADAPTIVE)
        return;
    sink_printf(sink, "   standard error at most %.2g %% for tokens with 1 %% of the total (asked: %.2g %%)\n", 100.0 * a->fisher.reached,
                100.0 * a->fisher.rtol);
    if (!(a->fisher.reached <= a->fisher.rtol))
        sink_printf(sink, "   %sTHE ERROR ASKED FOR WAS NOT REACHED; use --exact%s\n", LOUD(r), PLAIN(r));
}

static void put_path(const struct text_report *r)
{
    const jsc_attribution *a = r->a;
    struct sink *sink = r->sink;
    sink_printf(sink, "\n%spath%s %d steps, rule %s, baseline %s", BOLD(r), PLAIN(r), a->path.steps,
                word_of(path_rule_words, (unsigned)a->path.rule), word_of(baseline_words, (unsigned)a->path.baseline));
    if (a->path.baseline == JSC_BASELINE_ID)
        sink_printf(sink, " %" PRId32, a->path.baseline_id);
    sink_printf(sink, "\n   sum %.4g, to be explained %.4g, completeness error %.2g\n", a->path.sum, a->path.difference,
                a->path.completeness_error);
    if (!(a->path.completeness_error <= 0.05 * fabs(a->path.difference)))
        sink_printf(sink, "   %sTHE PATH DOES NOT ADD UP; more --steps, --path-rule graded or another --baseline%s\n", LOUD(r), PLAIN(r));
}

static void put_run(const struct text_report *r)
{
    const jsc_attribution *a = r->a;
    sink_printf(r->sink, "\n%s%s, %s; seconds: load %.2f, forward %.2f, backward %.2f", text_sgr(r, "\033[90m"),
                a->backend != NULL ? a->backend : "?", a->precision != NULL ? a->precision : "?", a->seconds_load, a->seconds_forward,
                a->seconds_backward);
    if (a->plan != NULL) {
        sink_puts(r->sink, "\nplan ");
        put_plain(r, a->plan);
    }
    sink_printf(r->sink, "%s\n", PLAIN(r));
    for (size_t i = 0; i < a->n_warnings; i++) {
        sink_printf(r->sink, "%swarning:%s ", LOUD(r), PLAIN(r));
        put_plain(r, a->warnings[i]);
        sink_puts(r->sink, "\n");
    }
}

void text_head(const struct text_report *r)
{
    const jsc_attribution *a = r->a;
    const char *scope = jsc_scope_name(a->scope);
    sink_puts(r->sink, BOLD(r));
    put_plain(r, a->model_name);
    sink_printf(r->sink, "%s (", PLAIN(r));
    put_plain(r, a->family);
    sink_printf(r->sink, ", %d blocks, d %d), scope %s%s%s\n", a->n_layers, a->d_model, BOLD(r), scope != NULL ? scope : "?", PLAIN(r));
}

static void put_signed(const struct text_report *r, size_t line)
{
    const jsc_attribution *a = r->a;
    if (a->signed_scores == NULL)
        return;
    sink_printf(r->sink, "\n%ssigned scores%s: %s is for the target, %s against it\n", BOLD(r), PLAIN(r), ramp_side(r->colour, 1),
                ramp_side(r->colour, -1));
    text_prompt_diverging(r, a->signed_scores + line * a->n_tokens, a->position, &line);
}

static void put_result(const struct text_report *r)
{
    const jsc_attribution *a = r->a;
    text_head(r);
    for (size_t line = 0; line < a->n_scores; line++) {
        if (line > 0)
            sink_puts(r->sink, "\n");
        text_explained(r, line);
        sink_puts(r->sink, "\n");
        text_prompt(r, line);
        sink_puts(r->sink, "\n");
        put_table(r, line);
        put_signed(r, line);
        text_layers(r, line);
    }
    text_matrix(r);
    put_predictions(r);
    if (a->scope == JSC_SCOPE_FISHER)
        put_fisher(r);
    if (a->scope == JSC_SCOPE_PATH)
        put_path(r);
    put_run(r);
}

/* One after the other, then how alike they are; or the difference alone. */
void report_text(const jsc_report_input *input, const jsc_report_options *options, struct sink *sink)
{
    const int width = options->width < WIDTH_MIN ? WIDTH_MIN : options->width > WIDTH_MAX ? WIDTH_MAX : options->width;
    struct text_report *r = NULL;
    if (mem_new(&r, input->n, NULL) != JSC_OK) {
        sink_fail(sink, JSC_E_MEMORY, "no memory for the report");
        return;
    }
    for (size_t i = 0; i < input->n; i++)
        r[i] = (struct text_report){input->attributions[i], sink,  options->colour,
                                    options->ascii != 0,    width, options->top_k >= 0 ? options->top_k : TOP_K};
    for (size_t i = 0; i < input->n && options->difference == 0; i++) {
        if (input->n > 1) {
            sink_printf(sink, "%s%s[", i > 0 ? "\n" : "", BOLD(r));
            text_label(r, input->labels[i], width - 2, false);
            sink_printf(sink, "]%s\n", PLAIN(r));
        }
        put_result(&r[i]);
    }
    if (options->difference != 0)
        text_difference(input, r);
    if (input->n > 1)
        text_compare(input, r);
    mem_free(r);
}
