/* onednn_cpu.h: one product asked of oneDNN, whichever of its interfaces (2.x, 3.x) is there. */
#ifndef JSC_ONEDNN_CPU_H
#define JSC_ONEDNN_CPU_H

#include "cpu_internal.h"

#ifdef JSC_WITH_ONEDNN

#include <dnnl.h>

/* A memory descriptor: a value in 2.x, an object in 3.x. Begins as zeros. */
#if DNNL_VERSION_MAJOR >= 3
typedef const_dnnl_memory_desc_t desc_ref;
#else
typedef const dnnl_memory_desc_t *desc_ref;
#endif
struct desc {
    dnnl_memory_desc_t md;
};
desc_ref desc_of(const struct desc *d);
dnnl_status_t desc_copy(struct desc *d, desc_ref from);
void desc_free(struct desc *d);

/* Element types of A and B, and of C. */
enum product_types { TYPES_FLOAT, TYPES_BF16, TYPES_BF16_TO_FLOAT };
/* C[m][n] = (C +) A[m][k] B; B [k][n], or [n][k] if b_transposed. */
struct shape {
    size_t m, n, k;
    bool b_transposed, accumulate;
    enum product_types types;
};
/* What oneDNN makes of it; begins as zeros, given back by product_free. */
struct product {
    struct desc a, b, c;
    dnnl_primitive_desc_t pd;
};
/* B as plain rows. */
dnnl_status_t product_plain_b(struct desc *d, const struct shape *s);
/* b NULL: any layout that the library likes. */
dnnl_status_t product_plan(dnnl_engine_t engine, const struct shape *s, desc_ref b, struct product *out);
void product_free(struct product *p);
const char *product_kernel(const struct product *p); /* "gemm:jit", "brg:avx512_core", ... */
size_t product_scratch(const struct product *p);     /* bytes */

/* For functions with `dnnl_status_t result` and a label `done:`. */
#define DNNL(call)                                                                                                                         \
    do {                                                                                                                                   \
        if ((result = (call)) != dnnl_success)                                                                                             \
            goto done;                                                                                                                     \
    } while (0)

#endif
#endif
