/* head_vjp_cuda.cu: cotangents of logits pulled back to the last hidden state: weighted sums of rows of the head. Contract: ops.h,
 * row_sums.cuh. Oracle: head_ref.c. Test: test_head.c.
 *
 * lists of (id, coef) -> out [n][d] COT    an entry reads one row of W (2d bytes in bf16, 4d in f32 or two terms); limit: memory
 * Semantic: one entry a list; contrast: two; log-probability: V, 128 k of them. A block sums one segment of 128 entries for up to 2048
 * columns, 8 a thread in double; a list of one segment is written at once, else its segments meet in scratch and a second kernel adds them
 * in order. Lists and their segments go to the device in launches of bounded size; the sum of a list that continues in the next launch is
 * carried in scratch. */
#include "row_sums.cuh"

#define SEGMENT       128 /* entries */
#define MOST_SEGMENTS 256 /* of a launch: entries, tasks and folds stay within CUDA_STAGE_BYTES */
#define SLOT_BYTES    ((size_t)16 << 20)

struct segment_task {
    size_t row;            /* of out */
    unsigned first, count; /* entries, from the launch's first */
    unsigned slot;         /* where in scratch; DIRECT: the whole list, to out */
    unsigned pad;
};
#define DIRECT 0xffffffffu

/* The slots of one list in this launch, added to what was carried; to out if the list ends here, else carried on. */
struct fold_task {
    size_t row;
    unsigned slot, count;
    unsigned carried, ends;
};

static_assert(MOST_SEGMENTS * (SEGMENT * 20 + sizeof(segment_task) + sizeof(fold_task)) + 5 * 256 <= CUDA_STAGE_BYTES,
              "one launch's lists fit the ring");

struct sum_args {
    const void *w, *w_low;
    size_t d;
    const int32_t *ids;
    const double *coef, *slope;
    double *slots;           /* [slots][d] */
    double *carried, *carry; /* [d] each: from the launch before, to the next; two, since blocks of one launch read and write them */
    void *out;
};

JSC_DEVICE void put_sum(double *out, double sum)
{
    *out = sum;
}
JSC_DEVICE void put_sum(float *out, double sum)
{
    *out = (float)sum;
}
JSC_DEVICE void put_sum(bf16 *out, double sum)
{
    *out = bf16_of((float)sum);
}

template <bool VECTOR, class OUT>
JSC_DEVICE void store_sums(OUT *row, int c, int d, const double sum[PIECE])
{
    float x[PIECE];
#pragma unroll
    for (int i = 0; i < PIECE; i++)
        x[i] = (float)sum[i];
    store_piece<VECTOR>(row, c, d, x);
}
template <bool VECTOR>
JSC_DEVICE void store_sums(double *row, int c, int d, const double sum[PIECE])
{
#pragma unroll
    for (int i = 0; i < PIECE; i++)
        if (c + i < d)
            row[c + i] = sum[i];
}

/* Grid: (segments, pieces of columns). */
template <class W, class OUT, bool VECTOR>
JSC_KERNEL(sum_segments)(sum_args a, const segment_task *tasks)
{
    const segment_task task = tasks[blockIdx.x];
    const int c = PIECE * (int)(blockIdx.y * blockDim.x + threadIdx.x), d = (int)a.d;
    if (c >= d)
        return;
    double sum[PIECE] = {};
#pragma unroll 4
    for (unsigned j = task.first; j < task.first + task.count; j++) {
        const double coef = a.slope ? a.coef[j] * a.slope[j] : a.coef[j];
        double w[PIECE];
        load_weight<VECTOR>((const W *)a.w, (const W *)a.w_low, (size_t)a.ids[j] * a.d, c, d, w);
#pragma unroll
        for (int i = 0; i < PIECE; i++)
            sum[i] += coef * w[i];
    }
    if (task.slot != DIRECT)
        store_sums<VECTOR>(a.slots + (size_t)task.slot * a.d, c, d, sum);
    else
        store_sums<VECTOR>((OUT *)a.out + task.row * a.d, c, d, sum);
}

/* Grid: (lists, columns); a column per thread. */
template <class OUT>
JSC_KERNEL(fold_segments)(sum_args a, const fold_task *tasks)
{
    const fold_task task = tasks[blockIdx.x];
    const size_t d = a.d, c = (size_t)blockIdx.y * blockDim.x + threadIdx.x;
    if (c >= d)
        return;
    double sum = task.carried ? a.carried[c] : 0.0;
#pragma unroll 8
    for (unsigned k = 0; k < task.count; k++)
        sum += a.slots[(size_t)(task.slot + k) * d + c];
    if (task.ends)
        put_sum((OUT *)a.out + task.row * d + c, sum);
    else
        a.carry[c] = sum;
}

/* ---- host ------------------------------------------------------------------------------------------------------------------------ */

/* What one launch does, and where the next goes on: entry `done` of list `list`. */
struct sum_plan {
    size_t list, done;
    size_t first, entries; /* of the host's arrays */
    unsigned n_tasks, n_folds, n_slots;
    segment_task tasks[MOST_SEGMENTS];
    fold_task folds[MOST_SEGMENTS];
};

static size_t slots_of(size_t d)
{
    const size_t slots = SLOT_BYTES / (d * sizeof(double));
    return slots < 16 ? 16 : slots > MOST_SEGMENTS ? MOST_SEGMENTS : slots;
}

extern "C" size_t row_sums_scratch(size_t d)
{
    return (slots_of(d) + 2) * d * sizeof(double);
}

/* The segments of one list that still find room, with the fold that adds them up. */
static void plan_long_list(struct sum_plan *p, const struct row_sums *sums, unsigned most)
{
    const size_t end = sums->start[p->list + 1] - sums->start[p->list];
    fold_task fold = {p->list, p->n_slots, 0, p->done > 0, 0};
    for (; p->done < end && p->n_tasks < MOST_SEGMENTS && p->n_slots < most; fold.count++) {
        const size_t count = end - p->done < SEGMENT ? end - p->done : SEGMENT;
        p->tasks[p->n_tasks++] = {p->list, (unsigned)p->entries, (unsigned)count, p->n_slots++, 0};
        p->done += count;
        p->entries += count;
    }
    fold.ends = p->done == end;
    p->folds[p->n_folds++] = fold;
    if (fold.ends)
        p->list++, p->done = 0;
}

static void plan_launch(struct sum_plan *p, const struct row_sums *sums)
{
    const unsigned most = (unsigned)slots_of(sums->w->base.k);
    p->first = sums->start[p->list] + p->done;
    p->entries = 0;
    p->n_tasks = p->n_folds = p->n_slots = 0;
    while (p->list < sums->n && p->n_tasks < MOST_SEGMENTS && p->n_slots < most) {
        const size_t n = sums->start[p->list + 1] - sums->start[p->list];
        if (n > SEGMENT) {
            plan_long_list(p, sums, most);
        } else {
            p->tasks[p->n_tasks++] = {p->list++, (unsigned)p->entries, (unsigned)n, DIRECT, 0};
            p->entries += n;
        }
    }
}

template <class W, class OUT>
static cudaError_t launch_sums(const struct sum_plan *p, const sum_args &a, const void *tasks, const void *folds, cudaStream_t stream)
{
    const size_t d = a.d;
    const unsigned threads = row_threads(d);
    const dim3 grid(p->n_tasks, (unsigned)blocks_of(d, PIECE * threads)), fold_grid(p->n_folds, (unsigned)blocks_of(d, 128));
    const bool vector = in_pieces(d, a.w) && in_pieces(d, a.w_low) && in_pieces(d, a.out);
    cudaError_t result;
    if (vector)
        result = JSC_LAUNCH((sum_segments<W, OUT, true>), grid, threads, 0, stream, a, (const segment_task *)tasks);
    else
        result = JSC_LAUNCH((sum_segments<W, OUT, false>), grid, threads, 0, stream, a, (const segment_task *)tasks);
    if (result == cudaSuccess && p->n_folds > 0)
        result = JSC_LAUNCH((fold_segments<OUT>), fold_grid, 128, 0, stream, a, (const fold_task *)folds);
    return result;
}

static jsc_status run_launch(struct jsc_stream *stream, const struct row_sums *sums, const struct sum_plan *p, sum_args a, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const void *ids = NULL, *coef = NULL, *slope = NULL, *tasks = NULL, *folds = NULL;
    cudaError_t result;

    if (p->entries > 0) {
        TRY(cuda_stage(stream, sums->ids + p->first, p->entries * sizeof *sums->ids, &ids, error));
        TRY(cuda_stage(stream, sums->coef + p->first, p->entries * sizeof *sums->coef, &coef, error));
        if (sums->slope)
            TRY(cuda_stage(stream, sums->slope + p->first, p->entries * sizeof *sums->slope, &slope, error));
    }
    TRY(cuda_stage(stream, p->tasks, p->n_tasks * sizeof *p->tasks, &tasks, error));
    if (p->n_folds > 0)
        TRY(cuda_stage(stream, p->folds, p->n_folds * sizeof *p->folds, &folds, error));
    a.ids = (const int32_t *)ids, a.coef = (const double *)coef, a.slope = (const double *)slope;
    if (cuda_fast(stream))
        result = sums->in_double ? launch_sums<bf16, double>(p, a, tasks, folds, cuda_handle(stream))
                                 : launch_sums<bf16, bf16>(p, a, tasks, folds, cuda_handle(stream));
    else
        result = sums->in_double ? launch_sums<float, double>(p, a, tasks, folds, cuda_handle(stream))
                                 : launch_sums<float, float>(p, a, tasks, folds, cuda_handle(stream));
    status = cuda_check(result, "sums of rows of the head", error);
done:
    return status;
}

extern "C" jsc_status row_sums(struct jsc_stream *stream, const struct row_sums *sums, jsc_error *error)
{
    const size_t d = sums->w->base.k;
    jsc_status status = JSC_OK;
    struct sum_plan plan;
    sum_args a = {};
    a.w = sums->w->w, a.w_low = sums->w->w_low, a.d = d, a.out = sums->out;
    a.slots = (double *)sums->scratch, a.carried = a.slots + slots_of(d) * d, a.carry = a.carried + d;
    plan.list = plan.done = 0;
    while (status == JSC_OK && plan.list < sums->n) {
        plan_launch(&plan, sums);
        status = run_launch(stream, sums, &plan, a, error);
        double *const before = a.carried;
        a.carried = a.carry, a.carry = before;
    }
    return status;
}

extern "C" jsc_status head_vjp_cuda(struct jsc_stream *stream, const struct op_head_vjp *op, jsc_error *error)
{
    struct row_sums sums = {op->n, op->start, op->ids, op->coef, NULL, (const struct cuda_weight *)op->w, op->out, false, NULL};
    jsc_status status = cuda_enter(stream, error);
    if (status == JSC_OK)
        status = cuda_scratch(stream, CUDA_SCRATCH_OPERATION, row_sums_scratch(op->w->k), &sums.scratch, error);
    return status == JSC_OK ? row_sums(stream, &sums, error) : status;
}
