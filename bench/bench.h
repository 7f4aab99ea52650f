/* bench.h: benchmarks: rows of time against the limits that the same run measured. They never fail on time. docs/benchmarks.md. */
#ifndef JSC_BENCH_H
#define JSC_BENCH_H

#include "ops.h"

#include <jscopes/jscopes.h>

/* What the machine gives: the best large product through the backend, in the arithmetic of the forward and in that of the pull-back (the
 * same in strict precision, and where it is not faster), and a + s b over arrays that no cache holds. */
struct limits {
    double gflops, gflops_vjp, gbytes; /* per second */
};

#define BENCH_TOKENS_MOST 16 /* prompt lengths of one run */

struct bench {
    const struct jsc_ops *ops; /* the backend measured */
    const char *device;        /* its name as given: "cpu", "cuda:1" */
    int index;                 /* its number */
    const char *model;         /* a model file, or NULL: the default model from the cache */
    const char *only;          /* NULL, or a part of the names of the rows wanted */
    jsc_precision precision;   /* as asked for; limits_measure() replaces it by what is in effect */
    int threads;               /* 0: the backend chooses */
    uint64_t memory;           /* limit of whole models' requests; 0: what is free */
    double seconds;            /* spent on one row at least */
    bool json;
    int tokens[BENCH_TOKENS_MOST], n_tokens; /* prompt lengths */
    bool tokens_given;                       /* by --tokens */
    int32_t *ids;                            /* the prompt that they repeat */
    int n_ids;
    struct limits limits;
};

/* ---- rows.c: timing and printing -------------------------------------------------------------------------------------------------- */

/* One row. Numbers that are 0 and pointers that are NULL do not apply. */
struct row {
    const char *section; /* "ops", "attribute", "mlp-forms", "growth" */
    const char *group, *name;
    char shape[64];
    int times;           /* calls measured */
    double best, median; /* seconds */
    double flops;        /* useful: of the cheapest exact form */
    double flops_vjp;    /* of them, those in the arithmetic of the pull-back */
    double bytes;
    /* whole models */
    int tokens, right_hand_sides, chunk;
    const char *form;
    double peak, planned; /* bytes beyond what the loaded model takes; peak < 0: cannot be known here */
    double reached;       /* adaptive: largest relative standard error */
    const double *scores;
    size_t n_scores;
};

/* Is a row wanted (--only)? */
bool bench_wants(const struct bench *bench, const char *group, const char *name);
void bench_print_head(const struct bench *bench, bool whole_models);
void bench_print_row(const struct bench *bench, const struct row *row);
/* How many calls are queued before a wait for all: on a device with a queue, enough that starting and waiting do not count. */
int bench_batch(const struct jsc_device *device, void (*call)(void *context), void *context);
/* Calls call(context): at least 5 times after one warm-up and until bench->seconds are over; a call of more than a second twice in all, one
 * of more than half a minute once. Fills times, best and median. */
void bench_time(const struct bench *bench, void (*call)(void *context), void *context, struct row *row);
/* The least time that arithmetic and memory leave at the measured limits, over the time taken. */
double bench_ratio(const struct bench *bench, const struct row *row);

/* Ends the program with the error's text; the bench has nobody to hand an error to. */
void bench_ok(jsc_status status, const jsc_error *error, const char *what);
void *bench_memory(size_t bytes);
/* Standard normal numbers, made once. */
#define BENCH_NOISE (1u << 20)
const double *bench_noise(void);
/* n of them as checkpoints hold weights, exactly bfloat16, so that a product in fast precision takes one term of them. mem_free(). */
float *bench_weights(size_t n);
/* n of them (repeated), times scale, as a new buffer of the device. */
dptr bench_numbers(const struct jsc_ops *ops, struct jsc_device *device, struct jsc_stream *stream, enum role role, size_t n, double scale);
/* A strbuf of JSON to stdout as one line; frees it. */
void bench_put_line(struct strbuf *line);
void bench_json_string(struct strbuf *out, const char *text);

/* ---- peak.c: how much memory a row takes ------------------------------------------------------------------------------------------ */

/* Resident bytes now, with freed memory given back to the system: the state that growth is counted from. */
double peak_base(void);
/* Begins a row. */
void peak_begin(void);
/* Largest resident bytes since peak_begin() beyond base; -1 where Linux does not say. */
double peak_since(double base);

/* ---- the sections ----------------------------------------------------------------------------------------------------------------- */

/* Opens the device and a stream, or ends the program. */
void bench_open(const struct bench *bench, struct jsc_device **device, struct jsc_stream **stream);
/* limits.c */
void limits_measure(struct bench *bench);
/* A row for every case of tests/cases.h whose shape is that of a real model, or for all. */
void bench_ops(const struct bench *bench, bool all);
struct op_case;                                             /* tests/cases.h */
void bench_count(const struct op_case *c, struct row *row); /* flops and bytes of a row of the table; S, T and B are set */

/* Whole models through the public interface. */
struct whole {
    const struct bench *bench;
    char path[4096];
    jsc_open_options options;
    jsc_model *model;
    jsc_model_info info;
    jsc_request request;
    jsc_plan plan;
    jsc_attribution *last; /* of the latest call */
    int32_t *ids;          /* the prompt at its longest */
    double *directions;    /* noise, rows of d_model, as many as any row needed */
    size_t n_directions;
    double base; /* resident bytes after loading */
    /* of the calls since whole_time() began: */
    int calls;
    double forward, backward, backward_sum; /* best seconds, sum of seconds */
    struct spent {
        char name[16];
        double seconds;
    } spent[32]; /* in each operation (JSC_TRACE) */
    int n_spent;
};

/* Opens the model and makes the prompt. load: NULL, or receives the times of several openings. */
void whole_open(struct whole *w, const struct bench *bench, struct row *load);
void whole_close(struct whole *w);
/* Measures w->request on the first n_tokens of the prompt: plan, times, memory, FLOPs of what was really pulled back, seconds by operation. */
void whole_time(struct whole *w, int n_tokens, struct row *row);
/* n directions of noise as the request. */
void whole_directions(struct whole *w, size_t n);
/* FLOPs of attention in a pull-back of n right-hand sides through T tokens. */
double whole_attention_flops(const struct whole *w, double T, double n);
/* Seconds in one operation since whole_time() began. */
double whole_spent(const struct whole *w, const char *op);

/* Prints the row of loading, timed by whole_open(), and below it the time to read the file and to fill fresh memory of the weights' size. */
void bench_load(const struct bench *bench, const struct whole *w, struct row *load);

/* Load, forward, one VJP, scopes at every prompt length; growth with T and B. */
void bench_attribute(const struct bench *bench);

/* Time against the number of tokens of one scope: fed by bench_attribute(), printed at the end. */
struct growth {
    int n, tokens[BENCH_TOKENS_MOST];
    double seconds[BENCH_TOKENS_MOST], attention[BENCH_TOKENS_MOST],
        attention_flops[BENCH_TOKENS_MOST]; /* flops: share of the pull-back's */
};
void growth_print_tokens(const struct bench *bench, const char *name, const struct growth *growth);
/* Time against the number of right-hand sides at one prompt length. */
void growth_right_hand_sides(struct whole *w, int n_tokens);

/* The three forms of the MLP's VJP on one block of the model, where they cross, and the constants of a cost model that fit. */
void bench_mlp_forms(const struct bench *bench);

/* The same for attention's pull-back; rate: FLOPs a second of a large product. */
void attention_costs(const struct whole *w, double rate);

/* Several devices (docs/several-gpus.md): what plans say of the model, or of published sizes where none was named; and what is measured
 * with the devices that are there. */
void scaling_computed(const struct bench *bench);
void scaling_measured(const struct bench *bench);

/* paper.c: a device that is not there, for plans of models without weights. */
#define PAPER_DEVICE "paper"
#define PAPER_BYTES  80000000000U

/* x and y of  1 = x a + y b  over points (a, b), least squares: costs are fitted to relative errors. */
struct pair_fit {
    double aa, ab, bb, a1, b1;
};
static inline void pair_fit_add(struct pair_fit *fit, double a, double b)
{
    fit->aa += a * a, fit->ab += a * b, fit->bb += b * b, fit->a1 += a, fit->b1 += b;
}
static inline double pair_fit_x(const struct pair_fit *fit)
{
    return (fit->a1 * fit->bb - fit->b1 * fit->ab) / (fit->aa * fit->bb - fit->ab * fit->ab);
}
static inline double pair_fit_y(const struct pair_fit *fit)
{
    return (fit->b1 * fit->aa - fit->a1 * fit->ab) / (fit->aa * fit->bb - fit->ab * fit->ab);
}

#endif
