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
void sink_puts(struct sink *sink, const char *text);
void sink_printf(struct sink *sink, const char *format, ...) __attribute__((format(printf, 2, 3)));

struct report {
    const char *name;
    void (*write)(const jsc_attribution *a, const jsc_report_options *options, struct sink *sink);
};
extern const struct report reports[];
extern const size_t n_reports;
void report_text(const jsc_attribution *a, const jsc_report_options *options, struct sink *sink);
void report_json(const jsc_attribution *a, const jsc_report_options *options, struct sink *sink);

#endif
