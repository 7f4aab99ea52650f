/* simt_block.cpp: one block of threads: the scheduler that runs its lanes in any order that barriers allow, barriers, faults, deadlocks. */
#include "simt_engine.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>

__thread const struct simt_ids *simt_cur;
__thread struct simt_block *simt_running;

struct simt_lane *simt_lane_now()
{
    return static_cast<struct simt_lane *>(const_cast<struct simt_ids *>(simt_cur));
}

unsigned simt_random(struct simt_block *block)
{
    block->random ^= block->random << 13;
    block->random ^= block->random >> 7;
    block->random ^= block->random << 17;
    return (unsigned)(block->random >> 11);
}

/* ---- lanes ------------------------------------------------------------------------------------------------------------------ */

/* Back to the scheduler, until the lane's turn comes again. */
void simt_yield(struct simt_lane *lane)
{
    simt_fiber_switch(&lane->fiber, &simt_running->scheduler, false);
}

static void leave(struct simt_lane *lane, enum simt_state state)
{
    lane->state = state;
    simt_running->done++;
    simt_fiber_switch(&lane->fiber, &simt_running->scheduler, true);
    __builtin_unreachable();
}

static char grid_start, grid_ended; /* tokens: blocks are ordered with the host only */

void simt_grid_begin()
{
    simt_tsan_release(&grid_start);
    simt_tsan_ignore(true);
}

void simt_grid_end()
{
    simt_tsan_ignore(false);
    simt_tsan_acquire(&grid_ended);
}

static void lane_body()
{
    simt_fiber_enter();
    simt_tsan_acquire(&grid_start);
    simt_running->call->run();
    simt_tsan_release(&grid_ended);
    struct simt_lane *lane = simt_lane_now();
    leave(lane, SIMT_DONE);
}

static void place(char *text, size_t size, const struct simt_lane *lane)
{
    snprintf(text, size, "kernel %s, block (%u,%u,%u), thread (%u,%u,%u)", simt_running->kernel, lane->block.x, lane->block.y,
             lane->block.z, lane->thread.x, lane->thread.y, lane->thread.z);
}

void simt_fault(const char *file, int line, const char *format, ...)
{
    struct simt_lane *lane = simt_lane_now();
    char where[160], what[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    place(where, sizeof where, lane);
    simt_record("%s: %s; at %s:%d", where, what, file, line);
    simt_running->failed = true;
    leave(lane, SIMT_FAULTED);
    __builtin_unreachable();
}

/* ---- barriers --------------------------------------------------------------------------------------------------------------- */

static void release_barrier(struct simt_block *block, struct simt_barrier_state *barrier, int id)
{
    barrier->result = barrier->count;
    for (struct simt_lane &lane : block->lanes)
        if (lane.state == SIMT_AT_BARRIER && lane.barrier == id)
            lane.state = SIMT_READY;
    barrier->arrived = 0;
    barrier->count = 0;
    barrier->generation++;
}

static int arrive(int id, unsigned threads, bool predicate, const char *file, int line)
{
    struct simt_block *block = simt_running;
    struct simt_lane *lane = simt_lane_now();
    if (id < 0 || id > 15)
        simt_fault(file, line, "barrier %d: they are numbered 0 to 15", id);
    if (threads == 0)
        threads = (unsigned)block->lanes.size();
    else if (threads % 32 || threads > block->lanes.size())
        simt_fault(file, line, "barrier %d of %u threads in a block of %zu: it must be whole warps of the block", id, threads,
                   block->lanes.size());
    struct simt_barrier_state *barrier = &block->barriers[id];
    if (barrier->arrived == 0) {
        barrier->expected = threads;
        barrier->file = file, barrier->line = line;
    } else if (barrier->expected != threads) {
        simt_fault(file, line, "barrier %d of %u threads, but others wait there for %u, at %s:%d", id, threads, barrier->expected,
                   barrier->file, barrier->line);
    } else if (barrier->line != line || strcmp(barrier->file, file) != 0) {
        simt_fault(file, line, "barrier %d is reached here, by other threads at %s:%d: the block has split", id, barrier->file,
                   barrier->line);
    }
    barrier->arrived++;
    barrier->count += predicate;
    void *token = &barrier->token[barrier->generation % 2]; /* one token would let a late waker see the next barrier's arrivals */
    lane->state = SIMT_AT_BARRIER;
    lane->barrier = id;
    lane->file = file, lane->line = line;
    simt_tsan_release(token);
    if (barrier->arrived == barrier->expected)
        release_barrier(block, barrier, id);
    simt_yield(lane);
    simt_tsan_acquire(token);
    return barrier->result;
}

void simt_barrier(int id, unsigned threads, const char *file, int line)
{
    arrive(id, threads, false, file, line);
}

int simt_barrier_count(bool predicate, const char *file, int line)
{
    return arrive(0, 0, predicate, file, line);
}

/* ---- the scheduler ------------------------------------------------------------------------------------------------------------ */

static void describe(char *text, size_t size, unsigned n, const struct simt_lane &lane)
{
    if (lane.state == SIMT_AT_BARRIER)
        snprintf(text, size, "%u threads wait at barrier %d, %s:%d", n, lane.barrier, lane.file, lane.line);
    else if (lane.state == SIMT_AT_WARP)
        snprintf(text, size, "%u threads wait in a warp operation with mask %08x, %s:%d", n, lane.mask, lane.file, lane.line);
    else
        snprintf(text, size, "%u threads have exited", n);
}

/* Lanes by what they wait for. */
static void report_deadlock(struct simt_block *block)
{
    std::map<std::string, unsigned> groups;
    std::string text;
    char line[300];
    for (const struct simt_lane &lane : block->lanes) {
        describe(line, sizeof line, 0, lane);
        groups[line]++;
    }
    for (const auto &group : groups) {
        snprintf(line, sizeof line, "%s%u%s", text.empty() ? "" : "; ", group.second, group.first.c_str() + 1); /* in place of the 0 */
        text += line;
    }
    const uint3 at = block->lanes[0].block;
    simt_record("kernel %s, block (%u,%u,%u): deadlock: %s", block->kernel, at.x, at.y, at.z, text.c_str());
    block->failed = true;
}

static void shuffle(struct simt_block *block, std::vector<unsigned> *order)
{
    for (size_t i = order->size(); i > 1; i--)
        std::swap((*order)[i - 1], (*order)[simt_random(block) % i]);
}

/* Runs the ready lanes of a warp until none is left, or by chance before that; false: none was ready. */
static bool run_warp(struct simt_block *block, unsigned warp, std::vector<unsigned> *order)
{
    bool moved = false;
    for (;;) {
        bool any = false;
        if (simt_settings.seed)
            shuffle(block, order);
        for (const unsigned i : *order) {
            const size_t index = (size_t)warp * 32 + i;
            if (index >= block->lanes.size() || block->lanes[index].state != SIMT_READY || block->failed)
                continue;
            simt_cur = &block->lanes[index];
            simt_fiber_switch(&block->scheduler, &block->lanes[index].fiber, false);
            any = moved = true;
        }
        if (!any || (simt_settings.seed && simt_random(block) % 4 == 0))
            return moved;
    }
}

static void run_lanes(struct simt_block *block)
{
    const unsigned n_warps = (unsigned)((block->lanes.size() + 31) / 32);
    std::vector<unsigned> warps(n_warps), order(32);
    for (unsigned i = 0; i < n_warps; i++)
        warps[i] = i;
    for (unsigned i = 0; i < 32; i++)
        order[i] = i;
    while (block->done < block->lanes.size() && !block->failed) {
        bool moved = false;
        if (simt_settings.seed)
            shuffle(block, &warps);
        for (const unsigned warp : warps)
            moved |= run_warp(block, warp, &order);
        if (!moved && block->done < block->lanes.size() && !block->failed)
            report_deadlock(block);
    }
}

static void make_lanes(struct simt_block *block, uint3 index, dim3 grid, dim3 size)
{
    const unsigned n = size.x * size.y * size.z;
    block->lanes.resize(n);
    for (unsigned i = 0; i < n; i++) {
        struct simt_lane *lane = &block->lanes[i];
        lane->thread = make_uint3(i % size.x, i / size.x % size.y, i / (size.x * size.y));
        lane->block = index;
        lane->block_size = size;
        lane->grid_size = grid;
        lane->index = i;
        lane->state = SIMT_READY;
        lane->copies.clear();
        simt_fiber_make(&lane->fiber, lane_body);
    }
    memset(block->barriers, 0, sizeof block->barriers);
    block->warp_generation.assign((n + 31) / 32, 0);
    block->warp_token.assign((n + 31) / 32 * 2, 0);
    block->done = 0;
    block->failed = false;
    block->random = simt_settings.seed * 0x9E3779B97F4A7C15ull + (index.x + 1ull) * 0xBF58476D1CE4E5B9ull + index.y * 131ull + index.z;
    block->random |= 1;
}

bool simt_block_run(struct simt_block *block, uint3 index, dim3 grid, dim3 size)
{
    simt_shared_begin(block);
    make_lanes(block, index, grid, size);
    simt_fiber_main(&block->scheduler);
    simt_running = block;
    run_lanes(block);
    const bool clean = block->failed || simt_shared_end(block);
    simt_running = nullptr;
    simt_cur = nullptr;
    for (struct simt_lane &lane : block->lanes)
        simt_fiber_free(&lane.fiber);
    return clean && !block->failed;
}
