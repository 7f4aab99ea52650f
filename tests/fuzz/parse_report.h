/* parse_report.h: what the fuzzer and the mutant test do with a saved result. */
#ifndef PARSE_REPORT_H
#define PARSE_REPORT_H

#include "base_internal.h"

#include <jscopes/jscopes.h>

jsc_status parse_report(const char *text, size_t n, jsc_error *error);

#endif
