/* spectrum_internal.h: A = C J_t, whose singular values are a spectrum: rows of A from exact pull-backs, products A v from tangents or from
 * all of A. */
#ifndef JSC_SPECTRUM_INTERNAL_H
#define JSC_SPECTRUM_INTERNAL_H

#include "scopes_internal.h"

#include <jscopes/spectrum.h>

#define SPECTRUM_PROBES 16
#define SPECTRUM_STEPS  2 /* power steps of a free choice */
#define SPECTRUM_DENSE_STEPS 30 /* with all of A, where one costs next to nothing */

/* A request being answered. */
struct spectral {
    const jsc_spectrum_request *request;
    jsc_request inner; /* what the job sees of it */
    struct job job;
    int d, t;       /* width, input token */
    struct fisher f;
    struct factor factor;
    int n;           /* rows of A [n][d] */
    const double *C; /* [n][d], F = C^T C; NULL: A = J_t */
    double *A;       /* NULL: not pulled back as a whole */
    int pulled, tangents;
};

/* Singular triples of A: A^T q = sigma v, residuals || A v - sigma q || or what bounds them. */
struct triples {
    int n;
    double *sigma, *residuals; /* [n] */
    double *v, *q;             /* [n][d], [n][rows of A]: unit rows */
    int iterations, probes;
    double trace, trace_stderr, rest; /* of A^T A */
};
void triples_free(struct triples *t);

/* spectrum_product.c */

/* y [m][d] = q A, exact */
jsc_status spectral_pull(struct spectral *s, const double *q, int m, double *y, jsc_error *error);
/* z [m][n] = v A^T: exact if A is there, else by central differences of forward passes */
jsc_status spectral_push(struct spectral *s, const double *v, int m, double *z, jsc_error *error);
/* Bytes of host and device that pushes take. */
void spectral_push_bytes(const struct job *job, int m, uint64_t *host, uint64_t *device);
/* All of A. */
jsc_status spectral_pull_all(struct spectral *s, jsc_error *error);

/* spectrum_dense.c: the k largest from all of A, by decomposing A A^T. */
jsc_status spectral_decompose(struct spectral *s, int k, struct triples *out, jsc_error *error);

/* spectrum_krylov.c: the k largest from a block Krylov space of at most `steps` power steps. */
jsc_status spectral_iterate(struct spectral *s, int k, int extra, int steps, struct triples *out, jsc_error *error);
/* Rows that it holds beside A, in doubles. */
uint64_t spectral_iterate_doubles(int k, int extra, int steps, int d);

#endif
