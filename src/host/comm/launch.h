/* launch.h: which rank of how many this process is, and where the ranks meet: given by the caller, or told by what started it. */
#ifndef JSC_LAUNCH_H
#define JSC_LAUNCH_H

#include "base_internal.h"

struct launch {
    int rank, size, local_rank; /* local_rank: among this machine's ranks; -1: unknown */
    struct strbuf address;      /* of struct comm_address; empty if size is 1 */
    uint64_t key;
};

/* rank, size: -1 for those of the environment, where absence means one rank alone. address: NULL for the environment's. */
jsc_status launch_find(int rank, int size, const char *address, struct launch *out, jsc_error *error);
void launch_free(struct launch *launch);

#endif
