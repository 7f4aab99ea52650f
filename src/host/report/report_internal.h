/* report_internal.h: a format is one file and one row in reports.c; it reads only the public attribution. */
#ifndef JSC_REPORT_INTERNAL_H
#define JSC_REPORT_INTERNAL_H

#include "base_internal.h"

#include <jscopes/report.h>

struct sink {
    jsc_write_fn write;
    void *user;
    jsc_error *error;
    jsc_status status; /* first failure; later output is dropped */
};
void sink_write(struct sink *sink, const char *bytes, size_t n);
void sink_fail(struct sink *sink, jsc_status status, const char *what); /* keeps an earlier failure */
void sink_puts(struct sink *sink, const char *text);
void sink_printf(struct sink *sink, const char *format, ...) __attribute__((format(printf, 2, 3)));

struct report {
    const char *name;
    /* input: checked, n >= 1, labels all there */
    void (*write)(const jsc_report_input *input, const jsc_report_options *options, struct sink *sink);
};
extern const struct report reports[];
extern const size_t n_reports;
void report_text(const jsc_report_input *input, const jsc_report_options *options, struct sink *sink);
void report_json(const jsc_report_input *input, const jsc_report_options *options, struct sink *sink);
void report_html(const jsc_report_input *input, const jsc_report_options *options, struct sink *sink);
void report_svg(const jsc_report_input *input, const jsc_report_options *options, struct sink *sink);

/* ---- compare.c ----------------------------------------------------------------------------------------------------------------- */

/* The same token ids in the same order. */
bool compare_same_tokens(const jsc_attribution *a, const jsc_attribution *b);
/* order[n]: the indices of scores[n], the largest first, equal ones as they stand, NaN last. */
jsc_status compare_order(const double *scores, size_t n, size_t *order, jsc_error *error);

/* ---- report_names.c -------------------------------------------------------------------------------------------------------------- */

/* Words for the choices of a result, in their order, closed by NULL. */
extern const char *const objective_words[], *const fisher_words[], *const path_rule_words[], *const baseline_words[];
const char *word_of(const char *const *words, unsigned choice); /* "?" for a choice that does not exist */
bool word_find(const char *const *words, const char *word, unsigned *choice);
/* "exact: all 576 directions of F", and the like. */
void say_fisher_mode(struct sink *sink, const jsc_attribution *a);

/* ---- difference.c -------------------------------------------------------------------------------------------------------------- */

/* Scores of unlike scopes or objectives have unlike units: their difference is one of shares, each row adding up to 1. */
bool difference_in_shares(const jsc_attribution *a, const jsc_attribution *b);
/* out[rows][columns] = a - b. */
void difference_rows(const double *a, const double *b, size_t rows, size_t columns, bool shares, double *out);

/* ---- series.c: a prompt as a series of numbers --------------------------------------------------------------------------------- */

/* A number, its tokens (delimiters are left out), and the influence of all of them together. */
struct series_number {
    size_t first, n; /* tokens */
    double value, score;
};
struct series {
    struct series_number *numbers;
    size_t n, capacity;
};
/* scores [T]; freed by series_free() whatever is returned. */
jsc_status series_make(const jsc_attribution *a, const double *scores, struct series *out, jsc_error *error);
void series_free(struct series *series);

/* ---- text_escape.c: one character of any bytes at a time ------------------------------------------------------------------- */

/* One character, as it may stand in its place; never longer than this. */
struct piece {
    char text[24];
    size_t n;
    int cells; /* of a terminal */
};
/* Takes 1..4 bytes of text (n >= 1 left) and returns how many. Shown on a terminal: control and invisible characters, bytes that are no
 * UTF-8 and, if ascii, all beyond ASCII are written out. */
size_t piece_shown(const char *text, size_t n, bool ascii, struct piece *out);
/* The same inside the quotes of a JSON string. */
size_t piece_json(const char *text, size_t n, struct piece *out);
/* As piece_shown, for text and attributes of XML. */
size_t piece_xml(const char *text, size_t n, struct piece *out);

/* ---- colour_ramp.c: share of the maximum -> colour or mark ------------------------------------------------------------------- */

/* Escape sequence that opens the background for share (0..1) with readable letters on it; "" without colour. */
void ramp_open(jsc_colour colour, double share, char out[48]);
/* The same on a diverging scale, share in -1..1: blue is positive, orange negative. */
void ramp_open_diverging(jsc_colour colour, double share, char out[48]);
/* What a reader calls the half of that scale: "blue", "orange", or the sign where there are no colours. */
const char *ramp_side(jsc_colour colour, int sign);
/* One of five marks of rising weight. */
const char *ramp_mark(bool ascii, double share);
/* score / largest in 0..1, whatever they are. */
double ramp_share(double score, double largest);
/* The colour of a share, -1 (orange) to 0 (near white) to 1 (blue); true: white letters stand out more on it, else black. */
bool ramp_rgb(double share, int rgb[3]);

/* ---- parts of report_text.c ---------------------------------------------------------------------------------------------------- */

struct text_report {
    const jsc_attribution *a;
    struct sink *sink;
    jsc_colour colour;
    bool ascii;
    int width, top_k;
};
/* text_prompt.c: the prompt with a background per token, the target after token p; line: which row of scores. */
void text_prompt(const struct text_report *r, size_t line);
/* The same on a diverging scale; tokens after `last` are grey. target: the row whose target is shown, NULL: none. */
void text_prompt_diverging(const struct text_report *r, const double *values, size_t last, const size_t *target);
/* text_map.c: rows x tokens as shaded cells, or a summary where they do not fit. */
void text_layers(const struct text_report *r, size_t line);
void text_matrix(const struct text_report *r);
/* text_compare.c: two or more results of one report: how alike they are, their strongest tokens side by side; and the first minus the
 * second. r[input->n]. */
void text_compare(const jsc_report_input *input, const struct text_report *r);
void text_difference(const jsc_report_input *input, const struct text_report *r);

/* ---- report_text.c ------------------------------------------------------------------------------------------------------------- */

const char *text_sgr(const struct text_report *r, const char *code); /* "" without colour */
#define BOLD(r)  text_sgr(r, "\033[1m")
#define LOUD(r)  text_sgr(r, "\033[1;31m")
#define PLAIN(r) text_sgr(r, "\033[0m")
/* Text in quotes, cut to at most cells, padded to it if pad. */
void text_quoted(const struct text_report *r, const char *text, int cells, bool pad);
/* The same of a token, which may have no text. */
void text_token(const struct text_report *r, int32_t id, const char *text, int cells, bool pad);
/* Without quotes: a label. */
void text_label(const struct text_report *r, const char *text, int cells, bool pad);
void text_head(const struct text_report *r);                   /* model and scope */
void text_explained(const struct text_report *r, size_t line); /* what row `line` of the scores explains */
void text_bar(const struct text_report *r, double share, int cells);
int text_name_width(const struct text_report *r); /* cells of a token in a table */

#endif
