/* report.h: write attributions for people (text, HTML, SVG) and programs (JSON), read them back, compare them. */
#ifndef JSCOPES_REPORT_H
#define JSCOPES_REPORT_H

#include <jscopes/attribute.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum jsc_colour { JSC_COLOUR_NONE = 0, JSC_COLOUR_16 = 1, JSC_COLOUR_256 = 2, JSC_COLOUR_TRUE = 3 } jsc_colour;

/** Begin with JSC_REPORT_OPTIONS_INIT. */
typedef struct jsc_report_options {
    size_t size;
    jsc_colour colour; /**< text: colours of the terminal; NONE marks the words with characters instead */
    int width;         /**< text: cells per line, default 80 */
    int ascii;         /**< text: 1: marks and bars in ASCII */
    int top_k;      /**< lines in the table of the strongest tokens, bars of the predictions; negative: the format's own (text 5, svg 7) */
    double inches;  /**< svg: width of the figure, 3.25 (one column of a page) to 6.75 (two, default) */
    int series;     /**< svg: 1: scores as bars over positions, the tokens' numeric values as a line */
    int difference; /**< 1: of two results of the same tokens, the first minus the second */
    const char *title; /**< html, svg: NULL: made of the model's name and the scope */
} jsc_report_options;
#define JSC_REPORT_OPTIONS_INIT                                                                                                            \
    {                                                                                                                                      \
        sizeof(jsc_report_options), JSC_COLOUR_NONE, 80, 0, -1, 6.75, 0, 0, NULL                                                           \
    }

/** Takes n bytes of output; returns 0, or anything else to stop with JSC_E_FILE. */
typedef int (*jsc_write_fn)(void *user, const char *bytes, size_t n);

/** jsc_format_name: the n-th format's name ("text", "json"), NULL past the last. */
JSC_API const char *jsc_format_name(size_t n);

/** What a report shows: one result, or several of one prompt side by side (scopes, models or targets, as in the paper's figures 12 to 14). */
typedef struct jsc_report_input {
    size_t n;
    const jsc_attribution *const *attributions; /**< [n] */
    const char *const *labels;                  /**< [n] names for them ("fisher", "llama"); NULL: as the results differ */
} jsc_report_input;

/**
 * jsc_report_write: write attribution in the format called name, in pieces through write().
 * The bytes depend on the attribution and options alone. JSON is strict (RFC 8259): no NaN, valid UTF-8, every number reads back
 * to the same double.
 * JSC_E_ARGUMENT  unknown format (lists them)
 */
JSC_API jsc_status jsc_report_write(const jsc_attribution *attribution, const char *format, const jsc_report_options *options,
                                    jsc_write_fn write, void *user, jsc_error *error);

/** jsc_report_save: the same into a file, which appears whole under its name or not at all (devices and pipes are written straight). */
JSC_API jsc_status jsc_report_save(const jsc_attribution *attribution, const char *format, const jsc_report_options *options,
                                   const char *path, jsc_error *error);

/**
 * jsc_report_write_several, jsc_report_save_several: the same of several results; with one, as above. Formats that show them side by side
 * add how alike they are (jsc_compare).
 * JSC_E_ARGUMENT  no result; options->difference without exactly two results of the same tokens and as many rows of scores
 */
JSC_API jsc_status jsc_report_write_several(const jsc_report_input *input, const char *format, const jsc_report_options *options,
                                            jsc_write_fn write, void *user, jsc_error *error);
JSC_API jsc_status jsc_report_save_several(const jsc_report_input *input, const char *format, const jsc_report_options *options,
                                           const char *path, jsc_error *error);

/**
 * jsc_attribution_read: the result that the format json wrote: the identical attribution, every number bit for bit (a number that is not
 * finite was written as null and is NaN again). A line of a corpus is read too; fields that are not known are passed over.
 *
 * json   one object, or a list of one; may come from anywhere: all that it says is checked
 * out    freed by jsc_attribution_free(); untouched on failure
 *
 * JSC_E_FORMAT  no such JSON, a wrong type, lengths that disagree, several results
 */
JSC_API jsc_status jsc_attribution_read(const char *json, size_t n, jsc_attribution **out, jsc_error *error);

/**
 * jsc_attribution_read_next: the next of several results: of the list that the format json makes of them, or of objects one after another
 * (lines).
 *
 * at   0 at first, then as the last call left it
 * out  NULL at the end
 */
JSC_API jsc_status jsc_attribution_read_next(const char *json, size_t n, size_t *at, jsc_attribution **out, jsc_error *error);

/** jsc_attribution_has_id: 1 if json is an object whose field "id" is this text, or this whole number. Fast: nothing else is looked at. */
JSC_API int jsc_attribution_has_id(const char *json, size_t n, const char *id);

/** How alike two results of the same tokens are, on the first row of scores of each, over the tokens up to the earlier position. */
typedef struct jsc_comparison {
    double spearman; /**< rank correlation of the scores, ties by mean rank; NaN where a result is constant or there is one token */
    int k;           /**< as asked for, at most the number of tokens */
    int common;      /**< of the k strongest tokens of each, how many are the same */
} jsc_comparison;

/** jsc_compare: JSC_E_ARGUMENT: the results are not of the same token ids, or k < 1. */
JSC_API jsc_status jsc_compare(const jsc_attribution *a, const jsc_attribution *b, int k, jsc_comparison *out, jsc_error *error);

/**
 * jsc_text_show: any bytes as one line of valid UTF-8 that drives no terminal: control and invisible characters and bytes that are no
 * complete character are written out (\n, \x1b, <U+202E>, <0xE4>); if ascii, so is everything beyond ASCII.
 *
 * buffer  receives at most capacity bytes with its NUL, no part of a character; returns the length needed
 */
JSC_API size_t jsc_text_show(const char *bytes, size_t n, int ascii, char *buffer, size_t capacity);

/** jsc_text_json: any bytes as a JSON string with its quotes; bytes that are no complete character stand as <0xE4>. Else as above. */
JSC_API size_t jsc_text_json(const char *bytes, size_t n, char *buffer, size_t capacity);

#ifdef __cplusplus
}
#endif
#endif
