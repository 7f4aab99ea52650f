/* arena.c: lays buffers out one after the other; the same code adds up the bytes and hands out the addresses. */
#include "base_internal.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define GAP 64
#else
#define GAP 0
#endif

void *arena_push(struct arena *arena, size_t count, size_t size)
{
    size_t bytes = 0, end = 0;
    const size_t at = arena->used;
    if (at == SIZE_MAX || !size_mul(count, size, &bytes) || !size_add(at, bytes, &end) || !size_add(end, 63 + GAP, &end)) {
        arena->used = SIZE_MAX;
        return NULL;
    }
    arena->used = end & ~(size_t)63;
    if (arena->base == NULL)
        return NULL;
#if defined(__SANITIZE_ADDRESS__)
    if (arena->host && arena->used > at + bytes) {
        const size_t tail = (bytes + 7) & ~(size_t)7;
        if (arena->used > at + tail)
            __asan_poison_memory_region(arena->base + at + tail, arena->used - at - tail);
    }
#endif
    return arena->base + at;
}
