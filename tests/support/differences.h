/* differences.h: gradients of any function of the forward pass by central differences at the block-0 inputs. */
#ifndef JSC_TEST_DIFFERENCES_H
#define JSC_TEST_DIFFERENCES_H

#include "engine_internal.h"

/* A number read off the last forward pass of trace. */
typedef double (*read_fn)(void *user, struct trace *trace);

/* A forward-only trace of the prompt's tokens; x [n][d] receives the block-0 inputs. */
struct trace *trace_open(const jsc_model *model, const int32_t *ids, size_t n, double *x);
/* grad [n][d] of read at x, by steps of 1e-5. */
void numeric_gradient(struct trace *trace, const double *x, read_fn read, void *user, double *grad);
/* read at x */
double value_at(struct trace *trace, const double *x, read_fn read, void *user);
#endif
