/* tcp_meet.h: where the ranks meet: an address that all were given, or a file in which rank 0 says where it listens. */
#ifndef JSC_TCP_MEET_H
#define JSC_TCP_MEET_H

#include "comm_tcp.h"

struct place {
    char host[256], port[8];
    uint64_t key;
};

bool meet_by_file(const struct comm_address *address);
/* A non-blocking listening socket; *key is what the others must say. The file, if any, has been written. */
jsc_status meet_listen(const struct comm_address *address, int *listener, uint64_t *key, jsc_error *error);
/* After all have joined, or none will. */
void meet_end(const struct comm_address *address);
/* Where rank 0 listens; JSC_E_FILE: its file is not there yet. */
jsc_status meet_find(const struct comm_address *address, struct place *out, jsc_error *error);
/* One try to connect; a non-blocking socket. */
jsc_status meet_connect(const struct place *place, double until, int *out, jsc_error *error);

#endif
