/* matmul_builtin.c: products without a library: B packed into panels of 16 columns, then register tiles over rows of A.
 *
 * Used where oneDNN is absent or JSC_CPU_GEMM=builtin. Every element of C sums over k in chains cut at multiples of
 * BLOCK_K and added in order: the same bits for any number of rows, any split of them and any number of threads. */
#include "cpu_internal.h"

#include <string.h>

#define BLOCK_K 320  /* a panel of 16 columns is 20 KB: it stays in the first-level cache */
#define BLOCK_N 1024 /* packed B is 1.3 MB */
#define BLOCK_M (8 * TILE_ROWS)

size_t gemm_builtin_scratch(size_t n, size_t k)
{
    const size_t kb = k < BLOCK_K ? k : BLOCK_K, nb = n < BLOCK_N ? round_up(n, TILE_COLS) : BLOCK_N;
    return kb * nb * sizeof(float);
}

/* Columns j .. j+15 of B, rows p0 .. p0+k-1, to [k][16]; columns past n become 0. */
CPU_CLONES static void pack_panel(const struct gemm *g, size_t p0, size_t k, size_t j, float *out)
{
    const size_t cols = g->n - j < TILE_COLS ? g->n - j : TILE_COLS;
    if (cols < TILE_COLS)
        memset(out, 0, k * TILE_COLS * sizeof *out);
    if (g->b_transposed) {
        for (size_t c = 0; c < cols; c++) {
            const float *b = g->b + (j + c) * g->k + p0;
            for (size_t p = 0; p < k; p++)
                out[p * TILE_COLS + c] = b[p];
        }
    } else {
        for (size_t p = 0; p < k; p++)
            memcpy(out + p * TILE_COLS, g->b + (p0 + p) * g->n + j, cols * sizeof *out);
    }
}

/* The last panel may be narrower than a tile: it goes through a buffer. */
static void narrow_tile(const struct gemm *g, struct tile_product p, size_t j)
{
    float edge[BLOCK_M * TILE_COLS] = {0};
    const size_t cols = g->n - j;
    float *c = p.c;
    if (p.accumulate)
        for (size_t i = 0; i < p.m; i++)
            memcpy(edge + i * TILE_COLS, c + i * p.c_row, cols * sizeof *c);
    p.c = edge;
    p.c_row = TILE_COLS;
    tile_product(&p);
    for (size_t i = 0; i < p.m; i++)
        memcpy(c + i * g->n, edge + i * TILE_COLS, cols * sizeof *c);
}

/* Rows i .. of C += A[:, p0 .. p0+k-1] times the packed panels of columns j0 .. */
static void row_block(const struct gemm *g, size_t i, size_t p0, size_t k, size_t j0, size_t j1, const float *packed)
{
    for (size_t j = j0; j < j1; j += TILE_COLS) {
        const struct tile_product p = {.m = g->m - i < BLOCK_M ? g->m - i : BLOCK_M,
                                       .n = TILE_COLS,
                                       .k = k,
                                       .a = g->a + i * g->k + p0,
                                       .a_row = g->k,
                                       .a_col = 1,
                                       .b = packed + (j - j0) * k,
                                       .b_row = TILE_COLS,
                                       .c = g->c + i * g->n + j,
                                       .c_row = g->n,
                                       .accumulate = g->accumulate || p0 > 0};
        if (j + TILE_COLS <= g->n)
            tile_product(&p);
        else
            narrow_tile(g, p, j);
    }
}

jsc_status gemm_builtin(struct jsc_stream *stream, const struct gemm *g, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const int threads = cpu_threads(stream);
    float *packed = NULL;

    if (g->k == 0 && !g->accumulate)
        memset(g->c, 0, g->m * g->n * sizeof *g->c);
    TRY(cpu_scratch(stream, SCRATCH_GEMM, gemm_builtin_scratch(g->n, g->k), &packed, error));
    /* few rows: a thread takes columns for all of them, so that both have work */
    const size_t row_blocks = (g->m + BLOCK_M - 1) / BLOCK_M, column_split = row_blocks >= (size_t)threads ? 1 : (size_t)threads;
    for (size_t j0 = 0; j0 < g->n; j0 += BLOCK_N) {
        const size_t j1 = g->n - j0 < BLOCK_N ? g->n : j0 + BLOCK_N, panels = (j1 - j0 + TILE_COLS - 1) / TILE_COLS;
        const size_t share = (panels + column_split - 1) / column_split * TILE_COLS;
        for (size_t p0 = 0; p0 < g->k; p0 += BLOCK_K) {
            const size_t k = g->k - p0 < BLOCK_K ? g->k - p0 : BLOCK_K;
#pragma omp parallel num_threads(threads)
            {
#pragma omp for schedule(static)
                for (size_t panel = 0; panel < panels; panel++)
                    pack_panel(g, p0, k, j0 + panel * TILE_COLS, packed + panel * TILE_COLS * k);
#pragma omp for schedule(static)
                for (size_t task = 0; task < row_blocks * column_split; task++) {
                    const size_t from = j0 + task % column_split * share, to = from + share < j1 ? from + share : j1;
                    if (from < j1)
                        row_block(g, task / column_split * BLOCK_M, p0, k, from, to, packed + (from - j0) * k);
                }
            }
        }
    }
done:
    return status;
}
