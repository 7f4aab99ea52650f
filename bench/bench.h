/* bench.h: benchmarks: rows of time against the limits that the same run measured. They never fail on time. */
#ifndef JSC_BENCH_H
#define JSC_BENCH_H

#include "ops.h"

/* What the machine gives: the best large float32 product through the backend, and a + s b over arrays that no cache holds. */
struct limits {
    double gflops, gbytes; /* per second */
};

struct bench {
    const struct jsc_ops *ops; /* the backend measured */
    const char *model;         /* a model file, or NULL: the default model from the cache */
    int threads;               /* 0: the backend chooses */
    double seconds;            /* spent on one row at least */
    bool json;
    struct limits limits;
};

/* One row. flops or bytes 0: does not apply. */
struct row {
    const char *group, *name;
    char shape[64];
    double best, median; /* seconds */
    double flops, bytes;
};
void bench_print_head(const struct bench *bench);
void bench_print_row(const struct bench *bench, const struct row *row);

/* Runs call(context) until bench->seconds are over (at least 5 times after one warm-up) and fills best and median. */
void bench_time(const struct bench *bench, void (*call)(void *context), void *context, struct row *row);

/* Ends the program with the error's text; the bench has nobody to hand an error to. */
void bench_ok(jsc_status status, const jsc_error *error, const char *what);
void *bench_memory(size_t bytes);

void limits_measure(struct bench *bench);
/* A row for every case of tests/cases.h whose shape is that of a real model, or for all. */
void bench_ops(const struct bench *bench, bool all);
/* Load, forward, pull-back and whole scopes through the public interface, for a prompt of n tokens; 0: the translation prompt of 23. */
void bench_attribute(const struct bench *bench, int n_tokens);

#endif
