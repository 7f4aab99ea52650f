/* simt_shared.cpp: the shared memory of a block: arrays that begin as NaN, with gaps between them that nobody may touch; copies into it.
 *
 * One arena: static arrays in its first half, the dynamic area in its second. Gaps are poisoned under the address sanitizer, and hold
 * 0xFF that is checked at the end of the block in every build. */
#include "simt_engine.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sys/mman.h>

static const size_t gap = 128, half = 512 * 1024, arena_bytes = 2 * half, static_limit = 48 * 1024;

static void poison(const void *p, size_t bytes, bool on)
{
#if SIMT_ASAN
    if (on)
        __asan_poison_memory_region(p, bytes);
    else
        __asan_unpoison_memory_region(p, bytes);
#else
    (void)p, (void)bytes, (void)on;
#endif
}

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

void simt_shared_begin(struct simt_block *block)
{
    if (block->arena && simt_with_tsan) { /* other threads touched it: memory must be new to the sanitizer */
        munmap(block->arena, arena_bytes);
        block->arena = nullptr;
    }
    if (!block->arena) {
        void *memory = mmap(nullptr, arena_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED) {
            fprintf(stderr, "simt: no memory for a block's shared memory\n");
            abort();
        }
        block->arena = static_cast<unsigned char *>(memory);
    }
    block->arrays.clear();
    block->parts.clear();
    block->arena_used = gap;
    block->static_bytes = 0;
    block->dynamic = block->arena + half;
    poison(block->arena, arena_bytes, false);
    memset(block->dynamic, 0xFF, block->smem + gap);
    poison(block->arena, arena_bytes, true);
    poison(block->dynamic, block->smem, false);
}

static bool untouched(const unsigned char *p, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (p[i] != 0xFF)
            return false;
    return true;
}

bool simt_shared_end(struct simt_block *block)
{
    poison(block->arena, arena_bytes, false);
    for (const struct simt_array_of_shared &array : block->arrays)
        if (!untouched(array.start + array.bytes, gap) || !untouched(array.start - gap, gap)) {
            simt_record("kernel %s: something was written beside the shared array %s of %s:%d (%zu bytes)", block->kernel, array.name,
                        array.file, array.line, array.bytes);
            return false;
        }
    for (size_t i = 0; i < block->parts.size(); i++)
        if (!untouched(block->dynamic + block->parts[i].at + block->parts[i].bytes, gap)) {
            simt_record("kernel %s: something was written behind part %zu of its dynamic shared memory (%zu bytes)", block->kernel, i + 1,
                        block->parts[i].bytes);
            return false;
        }
    if (block->parts.empty() && !untouched(block->dynamic + block->smem, gap)) {
        simt_record("kernel %s: something was written behind its dynamic shared memory of %zu bytes", block->kernel, block->smem);
        return false;
    }
    return true;
}

void *simt_shared(const void *key, size_t bytes, const char *name, const char *file, int line)
{
    struct simt_ignore ignore;
    struct simt_block *block = simt_running;
    for (const struct simt_array_of_shared &array : block->arrays)
        if (array.key == key)
            return array.start;
    block->static_bytes += round_up(bytes, 16);
    if (block->static_bytes > static_limit || block->static_bytes + block->smem > simt_settings.shared_limit)
        simt_fault(file, line,
                   "shared array %s brings the block to %zu bytes of static and %zu of dynamic shared memory (limits %zu, together %zu)",
                   name, block->static_bytes, block->smem, static_limit, simt_settings.shared_limit);
    const size_t taken = round_up(bytes, 16) + gap; /* the gap behind starts at the last byte, aligned or not */
    unsigned char *start = block->arena + block->arena_used;
    poison(start - gap, taken + gap, false);
    memset(start - gap, 0xFF, taken + gap);
    for (const struct simt_array_of_shared &array : block->arrays)
        poison(array.start + array.bytes, gap, true);
    poison(start - gap, gap, true);
    poison(start + bytes, taken - bytes, true);
    block->arena_used += taken;
    block->arrays.push_back({key, name, file, line, start, bytes});
    return start;
}

unsigned char *simt_dynamic()
{
    return simt_running->dynamic;
}

/* The part that starts at offset; NULL: not carved yet. */
static const struct simt_part_of_shared *part_at(const struct simt_block *block, size_t offset)
{
    for (const struct simt_part_of_shared &part : block->parts)
        if (part.at == offset)
            return &part;
    return nullptr;
}

static void carve(struct simt_block *block, size_t offset, size_t bytes, const char *file, int line)
{
    const bool first = block->parts.empty();
    const size_t next = first ? 0 : block->parts.back().at + round_up(block->parts.back().bytes, 16) + gap;
    if (offset != next)
        simt_fault(file, line, "JSC_PART at offset %zu: parts are carved one after the other, by all threads alike", offset);
    const size_t before = first ? 0 : block->parts.back().real_end, end = before + round_up(bytes, 16);
    if (end > block->smem)
        simt_fault(file, line, "JSC_PART: the parts up to here take %zu bytes, the launch gives %zu", end, block->smem);
    if (next + bytes + 2 * gap > half)
        simt_fault(file, line, "JSC_PART: more parts than the emulator has room for");
    poison(block->dynamic + offset, round_up(bytes, 16) + gap, false);
    memset(block->dynamic + offset, 0xFF, round_up(bytes, 16) + gap);
    if (first)
        poison(block->dynamic, half, true);
    poison(block->dynamic + offset, round_up(bytes, 16) + gap, true);
    poison(block->dynamic + offset, bytes, false);
    block->parts.push_back({offset, bytes, end});
}

void *simt_part(unsigned char **at, size_t bytes, const char *file, int line)
{
    struct simt_ignore ignore;
    struct simt_block *block = simt_running;
    if (*at < block->dynamic || *at >= block->dynamic + half)
        simt_fault(file, line, "JSC_PART of a pointer that is not from JSC_DYN_SMEM");
    const size_t offset = (size_t)(*at - block->dynamic);
    const struct simt_part_of_shared *part = part_at(block, offset);
    if (!part)
        carve(block, offset, bytes, file, line);
    else if (part->bytes != bytes)
        simt_fault(file, line, "JSC_PART of %zu bytes, where another thread carved %zu", bytes, part->bytes);
    void *const start = *at;
    *at += round_up(bytes, 16) + gap;
    return start;
}

bool simt_shared_holds(const struct simt_block *block, const void *p, size_t bytes)
{
    const unsigned char *at = static_cast<const unsigned char *>(p);
    for (const struct simt_array_of_shared &array : block->arrays)
        if (at >= array.start && at + bytes <= array.start + array.bytes)
            return true;
    for (const struct simt_part_of_shared &part : block->parts)
        if (at >= block->dynamic + part.at && at + bytes <= block->dynamic + part.at + part.bytes)
            return true;
    return block->parts.empty() && at >= block->dynamic && at + bytes <= block->dynamic + block->smem;
}

/* ---- asynchronous copies of the running lane ---------------------------------------------------------------------------------------- */

void simt_copy_begin(void *shared, const void *global, const char *file, int line)
{
    struct simt_ignore ignore;
    struct simt_lane *lane = simt_lane_now();
    if (!simt_shared_holds(simt_running, shared, 16))
        simt_fault(file, line, "cp.async to an address that is not in shared memory");
    if (lane->copies.empty())
        lane->copies.emplace_back();
    lane->copies.back().push_back({shared, global});
}

void simt_copy_commit()
{
    struct simt_ignore ignore;
    struct simt_lane *lane = simt_lane_now();
    if (lane->copies.empty())
        lane->copies.emplace_back();
    lane->copies.emplace_back();
}

/* The oldest copy of a group that is not among the newest `newest_kept` committed ones. */
bool simt_copy_next(int newest_kept, struct simt_copy *copy)
{
    struct simt_ignore ignore;
    struct simt_lane *lane = simt_lane_now();
    while (lane->copies.size() > (size_t)newest_kept + 1) { /* the last group is still open */
        std::vector<struct simt_copy> *group = &lane->copies.front();
        if (group->empty()) {
            lane->copies.erase(lane->copies.begin());
            continue;
        }
        *copy = group->front();
        group->erase(group->begin());
        return true;
    }
    return false;
}
