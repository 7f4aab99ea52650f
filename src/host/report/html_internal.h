/* html_internal.h: the parts of the HTML report. The page is whole without its script (a text per row of scores, tables, small maps); the
 * script takes the same results as JSON, with the maps as base64 float32, and adds what moves. */
#ifndef JSC_HTML_INTERNAL_H
#define JSC_HTML_INTERNAL_H

#include "report_internal.h"

/* ---- page_source.c, made by cmake/embed_page.py from page.css and page*.js ------------------------------------------------------- */

extern const char page_style[], page_script[];
extern const char page_style_hash[], page_script_hash[]; /* "sha256-...", for the Content-Security-Policy */

/* ---- html_lines.c: what the page shows: rows of scores ---------------------------------------------------------------------------- */

/* One score per token: a row of one result, or of a minus the same row of minus. */
struct html_line {
    const jsc_attribution *a, *minus; /* minus: NULL if this is no difference */
    size_t result;                    /* index of a in the input */
    size_t row;                       /* of a->scores */
    bool of_signed;                   /* of a->signed_scores */
    bool shares;                      /* a difference of shares, not of scores */
    size_t same;                      /* the first line of the same tokens */
    bool has_text;                    /* its text stands in the page; else the script copies that of line `same` */
};

struct html_page {
    const jsc_report_input *input;
    const jsc_report_options *options;
    struct sink *sink;
    struct html_line *lines;
    size_t n_lines;
    double *values, *sizes; /* [most tokens] of the line at hand: html_take() */
    double *cells, *pooled; /* [most tokens] a row of a map */
    size_t *order;          /* its tokens 0..position, the strongest first */
    size_t n;               /* their number */
    double largest, total;  /* of sizes */
};
jsc_status html_page_open(struct html_page *page, jsc_error *error);
void html_page_close(struct html_page *page);
/* Fills values (signed), sizes (absolute, 0 where not finite), order, n, largest and total with those of line. */
void html_take(struct html_page *page, const struct html_line *line);
/* Both directions of the scale are used. */
bool html_diverges(const struct html_line *line);
/* 0..63: the step of a ramp for value; of a diverging one 32 up for 0 and above, 31 down below 0. */
int html_step(bool diverges, double value, double largest);
/* Class of a value of the line at hand: "b12", "d40". */
struct html_class {
    char name[8];
};
struct html_class html_class(const struct html_line *line, double value, double largest);
/* The row's target, NULL if the whole distribution or a direction is explained. */
const jsc_prediction *html_target(const struct html_line *line);
/* The prompt goes on after the position with what is explained: token position + 1 is shown as the target. */
bool html_target_in_place(const struct html_line *line);

/* ---- html_escape.c ------------------------------------------------------------------------------------------------------------------ */

/* Bytes as text of an element or of an attribute in double quotes. Spaces, tabs and line breaks stay; invisible characters are written
 * out, bytes that are no UTF-8 as \xNN. */
void html_text(struct sink *sink, const char *bytes, size_t n);
void html_puts(struct sink *sink, const char *text); /* NULL: nothing */
/* The same on one line: line breaks and tabs are written out. */
void html_line_text(struct sink *sink, const char *bytes, size_t n);
/* The text of a token; <id> without a tokeniser. */
void html_token(struct sink *sink, const jsc_scored_token *token, bool one_line);
/* The text of a predicted token in quotes, or its id. */
void html_predicted(struct sink *sink, const jsc_prediction *p);
/* A number with at most `digits` digits; "undefined" if it is not finite. */
void html_number(struct sink *sink, double value, int digits);
/* What report writes passes into sink with < > & as \u escapes: JSON that may stand in a script element. */
void html_script_data(const jsc_report_input *input, const jsc_report_options *options, struct sink *sink);

/* ---- sections of the page ----------------------------------------------------------------------------------------------------------- */

/* html_line_say.c: in words */
void html_label(const struct html_page *page, const struct html_line *line);     /* "fisher", "fisher, signed" */
void html_explained(const struct html_page *page, const struct html_line *line); /* "explains ... after token 7" */
void html_method(const struct html_page *page, const jsc_attribution *a);        /* figures of the method, loud where it fell short */
void html_details(const struct html_page *page);                                 /* section: how the numbers came about */
/* html_prompt.c: section: the prompts, a background per token */
void html_prompts(struct html_page *page);
void html_legend(struct html_page *page, const struct html_line *line);
/* html_tables.c */
void html_targets(struct html_page *page);     /* section: the rows and their strongest tokens, if there are several */
void html_scores(struct html_page *page);      /* section: the strongest tokens, all numbers */
void html_predictions(struct html_page *page); /* section */
void html_comparison(struct html_page *page);  /* section, of several results */
/* html_maps.c: sections: layer x token, position x token, as tables where they are small; then all of them as data */
void html_maps(struct html_page *page);
void html_map_data(struct html_page *page);

#endif
