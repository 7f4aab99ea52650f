/* comm_tcp.h: ranks that are processes, joined over TCP in a star: every rank has one connection, to rank 0, which gathers and sends back.
 *
 * What travels (one struct message, then its bytes):
 *   rank -> 0   HELLO once; in a collective, when HERE has come, HEAD (its number and bytes) and its payload; FAILURE
 *   0 -> rank   WELCOME or FAILURE; in a collective HERE when rank 0 comes to it, RESULT and everybody's payload; FAILURE
 * Payloads wait for HERE: a rank that gives up on an absent rank 0 can then still say so, between two messages. */
#ifndef JSC_COMM_TCP_H
#define JSC_COMM_TCP_H

#include "comm.h"

#define TCP_RANKS_MOST 4096
#define TCP_PENDING    16 /* connections that have not said yet who they are */

/* ---- comm_tcp.c ------------------------------------------------------------------------------------------------------------- */

/* Where the ranks meet. */
struct comm_address {
    const char
        *text;    /* HOST:PORT or [V6]:PORT, where rank 0 listens; or, with a '/' in it, the path of a file in which rank 0 says where */
    uint64_t key; /* HOST:PORT: what the ranks of one job share and others do not; a file carries a random one */
};

/* Returns when all have joined. deadline: seconds for that, and for which a rank may be behind the others in a collective (a rank other
 * than 0 whose rank 0 hangs in the middle of one ends after twice that). Signals are not raised. */
jsc_status comm_tcp_join(const struct comm_address *address, int rank, int size, double deadline, struct comm **out, jsc_error *error);

/* ---- tcp_link.c: one connection ------------------------------------------------------------------------------------------------ */

enum message_type { MESSAGE_HELLO = 1, MESSAGE_WELCOME, MESSAGE_HEAD, MESSAGE_HERE, MESSAGE_RESULT, MESSAGE_FAILURE };
struct message {
    uint32_t magic, type;
    uint64_t number, bytes; /* collective; bytes of the payload */
};
#define MESSAGE_MAGIC 0x6a736331U /* also tells machines of the other byte order apart */

enum link_state { LINK_WAITS, LINK_DONE, LINK_CLOSED };
struct link {
    int fd;                 /* non-blocking; -1: none */
    double until;           /* when waiting for it ends */
    struct message message; /* that comes in */
    size_t message_got;
    char *in; /* payload that comes in */
    size_t in_bytes, in_got;
    struct message note; /* that goes out, before the payload */
    size_t note_bytes, note_sent;
    const char *out;
    size_t out_bytes, out_sent;
    bool deaf;    /* nothing more can be sent; what came before can still be read */
    bool arrived; /* comm_tcp.c: everything that this collective wants of it */
};

void link_open(struct link *link, int fd); /* takes fd, sets its options */
void link_close(struct link *link);
/* What goes out next: a message (type 0: none) and bytes. The last must be out. */
void link_queue(struct link *link, enum message_type type, uint64_t number, const void *payload, size_t bytes);
/* As much as goes without waiting. LINK_CLOSED: the other end is gone; nothing more goes out. */
enum link_state link_send(struct link *link);
bool link_idle(const struct link *link); /* nothing waits to go out */
/* The next message; then, with link->in and in_bytes set, its payload. *moved: something came. */
enum link_state link_message(struct link *link, bool *moved);
enum link_state link_payload(struct link *link, bool *moved);
/* Waits at most until then for all n bytes. */
enum link_state link_read_all(struct link *link, void *bytes, size_t n, double until);
/* Sends what is queued, and this failure. */
void link_tell(struct link *link, const jsc_error *failure, double until);
/* After MESSAGE_FAILURE: its content. */
enum link_state link_hear(struct link *link, jsc_error *failure);
/* poll() on several links; out: also those that have something to send. Returns when something happens, or at the time `until`. */
void links_wait(const struct link *links, int n, int listener, bool in, double until);

/* ---- tcp_join.c ---------------------------------------------------------------------------------------------------------------- */

/* Rank 0: links[1 .. size-1] of all others, then room for TCP_PENDING. Others: links[0]. On failure all that came were told; links are open
 * or -1 and are the caller's to close. */
jsc_status tcp_join(const struct comm_address *address, int rank, int size, double deadline, struct link *links, jsc_error *error);

#endif
