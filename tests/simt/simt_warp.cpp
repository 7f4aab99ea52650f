/* simt_warp.cpp: warp operations: lanes wait until all of the mask have come; the last one checks that they agree and computes for all. */
#include "simt_engine.h"

#include <cstring>

static const char *const kind_names[] = {"a shuffle", "a vote or __syncwarp", "an mma", "an ldmatrix"};

unsigned simt_lane_of_warp()
{
    return simt_lane_now()->index % 32;
}

/* ---- what each operation computes; warp[l] is the lane that takes part, or NULL -------------------------------------------------- */

static void do_shuffle(struct simt_lane *const warp[32])
{
    unsigned long long bits[32] = {};
    for (unsigned l = 0; l < 32; l++)
        if (warp[l])
            bits[l] = warp[l]->op.bits;
    for (unsigned l = 0; l < 32; l++)
        if (warp[l])
            warp[l]->op.bits = bits[warp[l]->op.source];
}

static void do_ballot(struct simt_lane *const warp[32])
{
    unsigned long long votes = 0;
    for (unsigned l = 0; l < 32; l++)
        if (warp[l] && warp[l]->op.bits)
            votes |= 1ull << l;
    for (unsigned l = 0; l < 32; l++)
        if (warp[l])
            warp[l]->op.bits = votes;
}

static float half_of(uint32_t pair, unsigned half)
{
    const uint32_t bits = half ? pair & 0xffff0000u : pair << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Layouts as in ptx.cuh; sums in float, in the order of k. */
static void do_mma(struct simt_lane *const warp[32])
{
    float a[16][16], b[16][8];
    for (unsigned l = 0; l < 32; l++) {
        const unsigned g = l / 4, t = l % 4;
        for (unsigned r = 0; r < 4; r++)
            for (unsigned e = 0; e < 2; e++)
                a[g + 8 * (r & 1)][2 * t + e + 8 * (r >> 1)] = half_of(warp[l]->op.a[r], e);
        for (unsigned r = 0; r < 2; r++)
            for (unsigned e = 0; e < 2; e++)
                b[2 * t + e + 8 * r][g] = half_of(warp[l]->op.b[r], e);
    }
    for (unsigned l = 0; l < 32; l++)
        for (unsigned i = 0; i < 4; i++) {
            const unsigned row = l / 4 + 8 * (i >> 1), column = 2 * (l % 4) + (i & 1);
            float sum = warp[l]->op.c[i];
            for (unsigned k = 0; k < 16; k++)
                sum += a[row][k] * b[k][column];
            warp[l]->op.c[i] = sum;
        }
}

static void do_ldmatrix(struct simt_lane *const warp[32])
{
    uint16_t matrix[4][8][8];
    for (unsigned l = 0; l < 32; l++)
        memcpy(matrix[l / 8][l % 8], warp[l]->op.row, 16);
    for (unsigned l = 0; l < 32; l++) {
        const unsigned g = l / 4, t = 2 * (l % 4);
        for (unsigned m = 0; m < 4; m++) {
            const bool turned = warp[l]->op.transposed;
            const uint32_t low = turned ? matrix[m][t][g] : matrix[m][g][t], high = turned ? matrix[m][t + 1][g] : matrix[m][g][t + 1];
            warp[l]->op.r[m] = low | high << 16;
        }
    }
}

/* ---- meeting ------------------------------------------------------------------------------------------------------------------- */

/* The lanes of this lane's mask; false: some have not come yet. */
static bool gather(struct simt_block *block, const struct simt_lane *lane, struct simt_lane *warp[32])
{
    const size_t first = lane->index / 32 * 32;
    for (unsigned l = 0; l < 32; l++) {
        warp[l] = nullptr;
        if (!(lane->mask >> l & 1))
            continue;
        if (block->lanes[first + l].state != SIMT_AT_WARP)
            return false;
        warp[l] = &block->lanes[first + l];
    }
    return true;
}

static void check_agreement(const struct simt_lane *lane, struct simt_lane *const warp[32])
{
    for (unsigned l = 0; l < 32; l++) {
        const struct simt_lane *other = warp[l];
        if (!other)
            continue;
        if (other->kind != lane->kind)
            simt_fault(lane->file, lane->line, "%s, while lane %u is in %s at %s:%d", kind_names[lane->kind], l, kind_names[other->kind],
                       other->file, other->line);
        if (other->mask != lane->mask)
            simt_fault(lane->file, lane->line, "%s with mask %08x, but lane %u gives %08x", kind_names[lane->kind], lane->mask, l,
                       other->mask);
        if (other->line != lane->line || strcmp(other->file, lane->file) != 0)
            simt_fault(lane->file, lane->line, "%s is reached here, by lane %u at %s:%d: the warp has split", kind_names[lane->kind], l,
                       other->file, other->line);
        if (lane->kind == SIMT_SHUFFLE && (other->op.source > 31 || !(lane->mask >> other->op.source & 1)))
            simt_fault(lane->file, lane->line, "lane %u reads lane %u, which is not in the mask %08x", l, other->op.source, lane->mask);
    }
}

static void meet(enum simt_warp_kind kind, unsigned mask, const char *file, int line)
{
    struct simt_block *block = simt_running;
    struct simt_lane *lane = simt_lane_now(), *warp[32];
    const unsigned own = lane->index % 32, number = lane->index / 32;
    const size_t in_warp = block->lanes.size() - number * 32;
    if (!(mask >> own & 1))
        simt_fault(file, line, "%s with mask %08x, which leaves out lane %u itself", kind_names[kind], mask, own);
    if (in_warp < 32 && mask >> in_warp)
        simt_fault(file, line, "%s with mask %08x in a warp of %zu threads", kind_names[kind], mask, in_warp);
    lane->kind = kind;
    lane->mask = mask;
    lane->file = file, lane->line = line;
    lane->state = SIMT_AT_WARP;
    char *token = &block->warp_token[number * 2 + block->warp_generation[number] % 2];
    lane->token = token;
    simt_tsan_release(token);
    if (gather(block, lane, warp)) {
        check_agreement(lane, warp);
        void (*const compute[])(struct simt_lane *const[32]) = {do_shuffle, do_ballot, do_mma, do_ldmatrix};
        compute[kind](warp);
        for (unsigned l = 0; l < 32; l++)
            if (warp[l])
                warp[l]->state = SIMT_READY;
        block->warp_generation[number]++;
        if (simt_settings.seed) /* else go on: faster, and one more order of threads */
            simt_yield(lane);
    } else {
        simt_yield(lane);
    }
    simt_tsan_acquire(lane->token);
}

unsigned long long simt_shuffle(unsigned mask, unsigned long long bits, unsigned source, const char *file, int line)
{
    struct simt_lane *lane = simt_lane_now();
    lane->op.bits = bits;
    lane->op.source = source;
    meet(SIMT_SHUFFLE, mask, file, line);
    return lane->op.bits;
}

unsigned simt_ballot(unsigned mask, bool predicate, const char *file, int line)
{
    struct simt_lane *lane = simt_lane_now();
    lane->op.bits = predicate;
    meet(SIMT_BALLOT, mask, file, line);
    return (unsigned)lane->op.bits;
}

void simt_mma(float c[4], const uint32_t a[4], const uint32_t b[2], const char *file, int line)
{
    struct simt_lane *lane = simt_lane_now();
    lane->op.c = c, lane->op.a = a, lane->op.b = b;
    meet(SIMT_MMA, 0xffffffffu, file, line);
}

void simt_ldmatrix_rows(uint32_t r[4], const void *address, const uint4 *row, bool transposed, const char *file, int line)
{
    struct simt_lane *lane = simt_lane_now();
    if (!simt_shared_holds(simt_running, address, 16))
        simt_fault(file, line, "an ldmatrix row that is not in shared memory");
    lane->op.r = r, lane->op.row = row, lane->op.transposed = transposed;
    meet(SIMT_LDMATRIX, 0xffffffffu, file, line);
}
