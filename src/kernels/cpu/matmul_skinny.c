/* matmul_skinny.c: Y[m][n] = X[m][k] W[n][k]^T for few rows of X, where reading W from memory is half of the work.
 *
 * X is turned to [k][lanes], lanes <= 24 tokens side by side, and stays in the first caches; four rows of W at a time are read once, in
 * order, each number broadcast to all lanes: W needs no packing. Its next rows are asked for while these are used.
 * FLOPs 2 m n k, bytes 4 n k. Sums run in chains cut at multiples of BLOCK_K and added in order, whatever m is.
 * Measured 2026-11-25, one Zen 2 core of 97 GFLOP/s, m = 23, weights of SmolLM2 streamed from memory: 87 GFLOP/s, oneDNN 2.6.3 58. */
#include "cpu_internal.h"

#include <omp.h>
#include <string.h>

#define LANES    24 /* three vectors of eight: with four rows of W, twelve accumulators */
#define ROWS     4  /* of W */
#define BLOCK_K  96 /* a strip of X is 9 KB; short chains keep the sums accurate */
#define GROUPS   16 /* groups of four rows whose sums wait in cache for the next strip of X */
#define AHEAD    16 /* numbers in a cache line */
#define MOST_ROW 96 /* of X; with more, packing W pays */

typedef float vec __attribute__((vector_size(32)));

static size_t strips_of(size_t m)
{
    return (m + LANES - 1) / LANES;
}

bool gemm_skinny_fits(const struct gemm *g)
{
    return g->b_transposed && g->packed == NULL && g->m > 1 && g->m <= MOST_ROW && g->k > 0;
}

size_t gemm_skinny_scratch(const struct cpu_device *device, size_t m, size_t k)
{
    const size_t strips = strips_of(m < MOST_ROW ? m : MOST_ROW), turned = round_up(k, BLOCK_K) * strips * LANES;
    return (turned + (size_t)device->base.threads * GROUPS * ROWS * strips * LANES) * sizeof(float);
}

/* One strip of sums: rows of W times `vectors` vectors of X. rows and vectors are constants in each call. */
static inline __attribute__((always_inline)) void tile(const int rows, const int vectors, size_t k, const float *w, size_t w_row,
                                                       const float *x, float *sums, bool add)
{
    vec acc[ROWS][3];
    for (int r = 0; r < rows; r++)
        for (int j = 0; j < vectors; j++)
            acc[r][j] = (vec){0};
    for (size_t p0 = 0; p0 < k; p0 += AHEAD) {
        for (int r = 0; r < rows; r++)
            __builtin_prefetch(w + (size_t)(rows + r) * w_row + p0);
        const size_t end = k - p0 < AHEAD ? k : p0 + AHEAD;
        for (size_t p = p0; p < end; p++, x += LANES) {
            vec b[3];
            for (int j = 0; j < vectors; j++)
                b[j] = *(const vec *)(const void *)(x + 8 * j);
            for (int r = 0; r < rows; r++) {
                const float a = w[(size_t)r * w_row + p];
                for (int j = 0; j < vectors; j++)
                    acc[r][j] += a * b[j];
            }
        }
    }
    for (int r = 0; r < rows; r++)
        for (int j = 0; j < vectors; j++) {
            vec *out = (vec *)(void *)(sums + r * LANES + 8 * j);
            *out = add ? *out + acc[r][j] : acc[r][j];
        }
}

struct strip {
    const float *w, *x;
    size_t k, w_row;
    float *sums;
    bool add;
};

static inline __attribute__((always_inline)) void tile_of(const int vectors, size_t rows, const struct strip *s)
{
    switch (rows) {
    case 1:
        tile(1, vectors, s->k, s->w, s->w_row, s->x, s->sums, s->add);
        break;
    case 2:
        tile(2, vectors, s->k, s->w, s->w_row, s->x, s->sums, s->add);
        break;
    case 3:
        tile(3, vectors, s->k, s->w, s->w_row, s->x, s->sums, s->add);
        break;
    default:
        tile(4, vectors, s->k, s->w, s->w_row, s->x, s->sums, s->add);
        break;
    }
}

CPU_CLONES static void strip_run(size_t rows, size_t lanes, const struct strip *s)
{
    if (lanes <= 8)
        tile_of(1, rows, s);
    else if (lanes <= 16)
        tile_of(2, rows, s);
    else
        tile_of(3, rows, s);
}

/* Columns [p, p + n) of X, n <= BLOCK_K, to a strip [n][LANES] for each 24 rows; lanes past the last row are 0. */
static void turn(const struct gemm *g, size_t p, size_t n, size_t strip, float *out)
{
    const size_t i0 = strip * LANES, lanes = g->m - i0 < LANES ? g->m - i0 : LANES;
    for (size_t q = 0; q < n; q++)
        for (size_t i = lanes; i < LANES; i++)
            out[q * LANES + i] = 0.0f;
    for (size_t i = 0; i < lanes; i++)
        for (size_t q = 0; q < n; q++)
            out[q * LANES + i] = g->a[(i0 + i) * g->k + p + q];
}

/* Groups [from, to) of four rows of W, at most GROUPS of them, for all of X. */
static void groups_run(const struct gemm *g, const float *turned, size_t from, size_t to, float *sums)
{
    const size_t strips = strips_of(g->m), group = ROWS * strips * LANES;
    for (size_t p = 0; p < g->k; p += BLOCK_K)
        for (size_t q = from; q < to; q++)
            for (size_t s = 0; s < strips; s++) {
                const size_t lanes = g->m - s * LANES < LANES ? g->m - s * LANES : LANES, left = g->n - q * ROWS;
                const struct strip strip = {.w = g->b + q * ROWS * g->k + p,
                                            .x = turned + (p / BLOCK_K * strips + s) * BLOCK_K * LANES,
                                            .k = g->k - p < BLOCK_K ? g->k - p : BLOCK_K,
                                            .w_row = g->k,
                                            .sums = sums + (q - from) * group + s * ROWS * LANES,
                                            .add = p > 0};
                strip_run(left < ROWS ? left : ROWS, lanes, &strip);
            }
    const size_t j0 = from * ROWS, j1 = to * ROWS < g->n ? to * ROWS : g->n;
    for (size_t i = 0; i < g->m; i++) {
        const float *from_sums = sums + i / LANES * ROWS * LANES + i % LANES;
        float *c = g->c + i * g->n;
        for (size_t j = j0; j < j1; j++) {
            const float v = from_sums[(j - j0) / ROWS * group + (j - j0) % ROWS * LANES];
            c[j] = g->accumulate ? c[j] + v : v;
        }
    }
}

jsc_status gemm_skinny(struct jsc_stream *stream, const struct gemm *g, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const struct cpu_device *device = (const struct cpu_device *)stream->device;
    const size_t strips = strips_of(g->m), blocks = (g->k + BLOCK_K - 1) / BLOCK_K, groups = (g->n + ROWS - 1) / ROWS;
    float *turned = NULL;

    TRY(cpu_scratch(stream, SCRATCH_GEMM, gemm_skinny_scratch(device, g->m, g->k), &turned, error));
    float *const sums = turned + blocks * BLOCK_K * strips * LANES;
#pragma omp parallel num_threads(cpu_threads(stream))
    {
#pragma omp for schedule(static)
        for (size_t task = 0; task < blocks * strips; task++) {
            const size_t p = task / strips * BLOCK_K;
            turn(g, p, g->k - p < BLOCK_K ? g->k - p : BLOCK_K, task % strips, turned + task * BLOCK_K * LANES);
        }
        const size_t team = (size_t)omp_get_num_threads(), me = (size_t)omp_get_thread_num();
        const size_t first = groups * me / team, last = groups * (me + 1) / team;
        for (size_t q = first; q < last; q += GROUPS)
            groups_run(g, turned, q, q + GROUPS < last ? q + GROUPS : last, sums + me * GROUPS * ROWS * strips * LANES);
    }
done:
    return status;
}
