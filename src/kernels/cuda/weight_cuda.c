/* weight_cuda.c: weights from a file's element types to device memory, each value checked to be finite.
 *
 * Rows go in pieces through two pinned buffers: threads decode one piece while the one before is on its way. strict: float rows. fast: bf16
 * rows, and the remainders W - bf16(W) as a second bf16 matrix if any is not zero; bf16 checkpoints have none, fp16 ones (11 bits of
 * significand) are exact in two terms, float ones to 2^-17. Oracle: weight_ref.c. Tests: test_weight.c, test_gemm_cuda.c. */
#include "cuda_internal.h"
#include "weight_decode.h"

#include <pthread.h>
#include <string.h>

#define PIECE_BYTES    ((size_t)8 << 20) /* of pinned memory, twice; making it costs about 0.3 ms a MB */
#define MOST_THREADS   32
#define SHARE_ELEMENTS ((size_t)1 << 16) /* of a thread at least: it takes as long to start one */

/* ---- decoding in parallel ---------------------------------------------------------------------------------------------------------- */

/* Some rows of a part, decoded by several threads. */
struct piece {
    const struct weight_part *part;
    size_t k, first, n;
    float *floats;        /* [n][k] */
    uint16_t *high, *low; /* fast: [n][k] each, else NULL */
};
/* A thread's share of a piece. */
struct share {
    const struct piece *piece;
    size_t begin, n; /* rows of the piece */
    float *strip;
    struct weight_bad bad;
    bool has_low; /* some second term is not zero */
};

/* x = high + low to 16 bits of significand. What would round up to infinity is cut off instead; its remainder is as small. */
static void split_bf16(const float *x, size_t n, uint16_t *high, uint16_t *low, bool *has_low)
{
    unsigned any = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        const uint16_t nearest = bf16_bits(x[i]);
        memcpy(&bits, x + i, sizeof bits);
        high[i] = (nearest & 0x7f80) == 0x7f80 ? (uint16_t)(bits >> 16) : nearest;
        low[i] = bf16_bits(x[i] - bf16_value(high[i]));
        any |= low[i] & 0x7fffu;
    }
    *has_low = *has_low || any != 0;
}

/* Rows of bf16 as they are; one that holds a value that is not finite is decoded, which notes where. */
static void copy_share(struct share *s)
{
    const struct piece *p = s->piece;
    const struct weight_part *part = p->part;
    for (size_t r = s->begin; r < s->begin + s->n; r++) {
        const size_t row = p->first + r, stored = weight_part_row(part, row);
        uint16_t *out = p->high + r * p->k;
        unsigned any = 0;
        memcpy(out, (const char *)part->bytes + stored * part->row_bytes, p->k * sizeof *out);
        for (size_t i = 0; i < p->k; i++)
            any |= (unsigned)((out[i] & 0x7f80) == 0x7f80);
        if (any != 0)
            weight_decode(part, p->k, row, 1, NULL, p->floats + r * p->k, &s->bad);
    }
}

static void *decode_share(void *argument)
{
    struct share *s = argument;
    const struct piece *p = s->piece;
    float *floats = p->floats + s->begin * p->k;
    if (p->high != NULL && p->part->type == DTYPE_BF16 && p->part->scale == 1.0 && !p->part->transposed) {
        copy_share(s);
        return NULL;
    }
    weight_decode(p->part, p->k, p->first + s->begin, s->n, s->strip, floats, &s->bad);
    if (p->high != NULL && !s->bad.found)
        split_bf16(floats, s->n * p->k, p->high + s->begin * p->k, p->low + s->begin * p->k, &s->has_low);
    return NULL;
}

/* The piece by several threads; a thread that cannot be had leaves its share to this one. */
static void decode_piece(const struct piece *piece, int most_threads, float *strips, struct weight_bad *bad, bool *has_low)
{
    const size_t worth = piece->n * piece->k / SHARE_ELEMENTS + 1, threads = worth < (size_t)most_threads ? worth : (size_t)most_threads;
    struct share shares[MOST_THREADS];
    pthread_t handles[MOST_THREADS];
    bool running[MOST_THREADS] = {false};
    const size_t unit = weight_unit(piece->part), even = (piece->n + threads - 1) / threads;
    const size_t rows = (even + unit - 1) / unit * unit;
    int n = 0;

    for (size_t begin = 0; begin < piece->n; begin += rows, n++) {
        const size_t left = piece->n - begin;
        shares[n] = (struct share){.piece = piece, .begin = begin, .n = left < rows ? left : rows};
        shares[n].strip = strips != NULL ? strips + weight_strip(piece->part, begin) : NULL;
    }
    for (int i = 1; i < n; i++)
        running[i] = pthread_create(&handles[i], NULL, decode_share, &shares[i]) == 0;
    for (int i = 0; i < n; i++) {
        if (running[i])
            (void)pthread_join(handles[i], NULL);
        else
            (void)decode_share(&shares[i]);
        weight_join(bad, &shares[i].bad);
        *has_low = *has_low || shares[i].has_low;
    }
}

/* ---- on the way to the device ------------------------------------------------------------------------------------------------------- */

struct loader {
    struct jsc_device *device;
    struct cuda_weight *w;
    size_t elements;
    bool fast;
    int threads;
    size_t rows;   /* of a piece */
    float *floats; /* fast: a piece before it is split */
    float *strips; /* a piece's part of transposed storage */
    cudaStream_t stream;
    cudaEvent_t sent[2]; /* the buffer's last copy */
    void *pinned[2];
    int turn;
};

static jsc_status loader_open(struct loader *l, const struct weight_part *parts, size_t n_parts, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t k = l->w->base.k;
    size_t unit = 1, strip = 0, most = 0;

    for (size_t i = 0; i < n_parts; i++) {
        unit = weight_unit(&parts[i]) > unit ? weight_unit(&parts[i]) : unit; /* units are powers of two */
        most = parts[i].n > most ? parts[i].n : most;
    }
    l->rows = PIECE_BYTES / sizeof(float) / (k > 0 ? k : 1);
    l->rows = (l->rows + unit) / unit * unit;
    l->rows = l->rows < most ? l->rows : most;
    for (size_t i = 0; i < n_parts; i++)
        strip = weight_strip(&parts[i], l->rows) > strip ? weight_strip(&parts[i], l->rows) : strip;
    if (strip > 0)
        TRY(mem_new(&l->strips, strip, error));
    if (l->fast)
        TRY(mem_new(&l->floats, l->rows * k, error));
    TRY(cuda_check(cudaStreamCreateWithFlags(&l->stream, cudaStreamNonBlocking), "a stream for weights", error));
    for (int i = 0; i < 2; i++) {
        TRY(cuda_check(cudaMallocHost(&l->pinned[i], l->rows * k * sizeof(float)), "pinned memory for weights", error));
        TRY(cuda_check(cudaEventCreateWithFlags(&l->sent[i], cudaEventDisableTiming), "an event for weights", error));
    }
done:
    return status;
}

static void loader_close(struct loader *l)
{
    if (l->stream != NULL) {
        (void)cudaStreamSynchronize(l->stream); /* pinned memory may be on its way still */
        (void)cudaStreamDestroy(l->stream);
    }
    for (int i = 0; i < 2; i++) {
        if (l->sent[i] != NULL)
            (void)cudaEventDestroy(l->sent[i]);
        (void)cudaFreeHost(l->pinned[i]);
    }
    mem_free(l->floats);
    mem_free(l->strips);
    (void)cudaGetLastError(); /* reported already, or none */
}

/* The second term exists from the first element on that needs it; what came before is zero. */
static jsc_status want_low(struct loader *l, jsc_error *error)
{
    jsc_status status = JSC_OK;
    if (l->w->w_low != NULL)
        return JSC_OK;
    TRY(alloc_lasting(l->device, l->elements * sizeof(uint16_t), &l->w->w_low, error));
    TRY(cuda_check(cudaMemsetAsync(l->w->w_low, 0, l->elements * sizeof(uint16_t), l->stream), "weight", error));
    l->w->base.bytes += l->elements * sizeof(uint16_t);
done:
    return status;
}

/* Rows first .. first + n - 1 of the part; row0: where the part begins in W. */
static jsc_status load_piece(struct loader *l, const struct weight_part *part, size_t row0, size_t first, size_t n, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t k = l->w->base.k, size = l->fast ? sizeof(uint16_t) : sizeof(float), at = (row0 + first) * k * size;
    char *const buffer = l->pinned[l->turn];
    uint16_t *const high = l->fast ? (uint16_t *)(void *)buffer : NULL, *const low = l->fast ? high + n * k : NULL;
    const struct piece piece = {part, k, first, n, l->fast ? l->floats : (float *)(void *)buffer, high, low};
    struct weight_bad bad = {0};
    bool has_low = false;

    TRY(cuda_check(cudaEventSynchronize(l->sent[l->turn]), "loading a weight", error)); /* the buffer is free again */
    decode_piece(&piece, l->threads, l->strips, &bad, &has_low);
    weight_decoded(part, k, first, n);
    if (bad.found)
        TRY(weight_refuse(part, &bad, error));
    TRY(cuda_check(cudaMemcpyAsync((char *)l->w->w + at, buffer, n * k * size, cudaMemcpyHostToDevice, l->stream), "loading a weight",
                   error));
    if (has_low) {
        TRY(want_low(l, error));
        TRY(cuda_check(cudaMemcpyAsync((char *)l->w->w_low + at, low, n * k * size, cudaMemcpyHostToDevice, l->stream), "loading a weight",
                       error));
    }
    TRY(cuda_check(cudaEventRecord(l->sent[l->turn], l->stream), "loading a weight", error));
    l->turn = !l->turn;
done:
    return status;
}

static jsc_status load_parts(struct loader *l, const struct weight_part *parts, size_t n_parts, jsc_error *error)
{
    jsc_status status = JSC_OK;
    size_t row0 = 0;
    weight_expected(parts, n_parts, l->w->base.k);
    for (const struct weight_part *part = parts; part < parts + n_parts; part++) {
        for (size_t first = 0; first < part->n; first += l->rows)
            TRY(load_piece(l, part, row0, first, part->n - first < l->rows ? part->n - first : l->rows, error));
        weight_decoded(part, l->w->base.k, 0, part->n);
        row0 += part->n;
    }
    TRY(cuda_check(cudaStreamSynchronize(l->stream), "loading a weight", error));
done:
    return status;
}

static jsc_status load_bias(struct loader *l, const double *bias, const char *name, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct cuda_weight *w = l->w;
    const size_t n = w->base.n;
    float *floats = NULL;
    void *memory = NULL;

    TRY(mem_new(&floats, n, error));
    TRY(weight_bias(bias, n, name, floats, error));
    TRY(alloc_lasting(l->device, n * sizeof *floats, &memory, error));
    w->bias = memory;
    TRY(cuda_check(cudaMemcpyAsync(w->bias, floats, n * sizeof *floats, cudaMemcpyHostToDevice, l->stream), "loading a bias", error));
    TRY(cuda_check(cudaStreamSynchronize(l->stream), "loading a bias", error));
    w->base.has_bias = true;
    w->base.bytes += n * sizeof *floats;
done:
    mem_free(floats);
    return status;
}

/* ---- entries ------------------------------------------------------------------------------------------------------------------------ */

void weight_free_cuda(struct jsc_device *device, struct jsc_weight *weight)
{
    struct cuda_weight *w = (struct cuda_weight *)weight;
    if (w != NULL) {
        free_cuda(device, w->w);
        free_cuda(device, w->w_low);
        free_cuda(device, w->bias);
    }
    mem_free(w);
}

/* At most: whether types of more than 8 bits need their second term shows when the values are seen. */
uint64_t weight_bytes_cuda(struct jsc_device *device, enum dtype type, size_t n, size_t k, unsigned uses)
{
    (void)uses; /* one form serves all */
    const bool one_term = device->precision == JSC_PRECISION_FAST && type == DTYPE_BF16;
    return (uint64_t)n * k * (one_term ? sizeof(uint16_t) : sizeof(float));
}

static int loading_threads(const struct jsc_device *device)
{
    return device->threads < 1 ? 1 : device->threads > MOST_THREADS ? MOST_THREADS : device->threads;
}

jsc_status weight_make_cuda(struct jsc_device *device, const struct weight_part *parts, size_t n_parts, size_t k, unsigned uses,
                            const double *bias, struct jsc_weight **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct loader l = {.device = device, .fast = device->precision == JSC_PRECISION_FAST, .threads = loading_threads(device)};
    size_t n = 0, bytes = 0;

    (void)uses; /* one form serves all */
    for (size_t i = 0; i < n_parts; i++)
        n += parts[i].n;
    if (!size_mul(n, k, &l.elements) || !size_mul(l.elements, l.fast ? sizeof(uint16_t) : sizeof(float), &bytes))
        FAIL(JSC_E_MEMORY, "%s: %zu rows of %zu are more than this machine can address", parts[0].name, n, k);
    TRY(cuda_check(cudaSetDevice(((const struct cuda_device *)device)->index), "choosing the device", error));
    TRY(mem_new(&l.w, 1, error));
    l.w->base = (struct jsc_weight){.n = n, .k = k, .bytes = bytes};
    TRY(alloc_lasting(device, bytes, &l.w->w, error));
    TRY(loader_open(&l, parts, n_parts, error));
    TRY(load_parts(&l, parts, n_parts, error));
    if (bias != NULL)
        TRY(load_bias(&l, bias, parts[0].name, error));
    *out = &l.w->base;
    l.w = NULL;
done:
    loader_close(&l);
    weight_free_cuda(device, (struct jsc_weight *)l.w);
    return status;
}
