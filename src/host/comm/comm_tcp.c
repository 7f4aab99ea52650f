/* comm_tcp.c: the communicator of processes: collectives over the star of connections that tcp_join.c made. */
#include "comm_tcp.h"

#include <stdio.h>

#define TELL_SECONDS 2.0 /* to get a failure's text into a connection */

struct tcp {
    struct comm comm;
    uint64_t number; /* of the next collective */
    bool here;       /* other ranks: rank 0 has come to it */
    jsc_error failure;
    bool asks; /* rank 0 was told of this rank's own failure and has not said yet which was the first */
    int n_links;
    struct link *links; /* rank 0: [size], by rank; others: [1], to rank 0 */
};

static void note_failure(struct tcp *tcp, jsc_status status, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void note_failure(struct tcp *tcp, jsc_status status, const char *format, ...)
{
    char text[sizeof tcp->failure.text];
    va_list arguments;
    if (tcp->failure.status != JSC_OK)
        return;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    (void)status_set(&tcp->failure, status, "%s", text);
}

static jsc_status ended(const struct tcp *tcp, jsc_error *error)
{
    return status_set(error, tcp->failure.status, "%s", tcp->failure.text);
}

static void note_left(struct tcp *tcp, int rank)
{
    note_failure(tcp, JSC_E_DEVICE, "rank %d left: connection closed during collective %" PRIu64, rank, tcp->number);
}

static void note_stranger(struct tcp *tcp, int rank)
{
    note_failure(tcp, JSC_E_INTERNAL, "collective %" PRIu64 ": rank %d sends what does not belong there", tcp->number, rank);
}

/* A failure that the other end announced; if its text does not come, that it left. */
static void note_heard(struct tcp *tcp, struct link *link, int rank)
{
    jsc_error heard = {.status = JSC_OK, .text = ""};
    if (link_hear(link, &heard) == LINK_DONE)
        note_failure(tcp, heard.status, "%s", heard.text);
    else
        note_left(tcp, rank);
    link->message_got = 0;
}

static void tell_all(struct tcp *tcp)
{
    const double until = clock_seconds() + TELL_SECONDS;
    for (int i = 0; i < tcp->n_links; i++)
        link_tell(&tcp->links[i], &tcp->failure, until);
}

/* ---- rank 0 ------------------------------------------------------------------------------------------------------------------ */

static void check_head(struct tcp *tcp, struct link *link, int rank, size_t bytes)
{
    const struct message *m = &link->message;
    if (m->magic == MESSAGE_MAGIC && m->type == MESSAGE_FAILURE)
        note_heard(tcp, link, rank);
    else if (m->magic != MESSAGE_MAGIC || m->type != MESSAGE_HEAD || link->arrived)
        note_stranger(tcp, rank);
    else if (m->number != tcp->number)
        note_failure(tcp, JSC_E_INTERNAL, "rank 0 is at collective %" PRIu64 ", rank %d at %" PRIu64 ": the ranks do not do the same work",
                     tcp->number, rank, m->number);
    else if (m->bytes != bytes)
        note_failure(tcp, JSC_E_INTERNAL,
                     "collective %" PRIu64 ": rank 0 gives %zu bytes, rank %d %" PRIu64 ": the ranks do not do the same work", tcp->number,
                     bytes, rank, m->bytes);
}

/* What has come from one rank. */
static void take(struct tcp *tcp, int rank, size_t bytes)
{
    struct link *link = &tcp->links[rank];
    bool moved = false;
    enum link_state state = LINK_DONE;

    (void)link_send(link); /* HERE; of a closed connection the last words can still be read */
    if (link->message_got < sizeof link->message) {
        state = link_message(link, &moved);
        if (state == LINK_DONE)
            check_head(tcp, link, rank, bytes);
    }
    if (state == LINK_DONE && tcp->failure.status == JSC_OK) {
        state = link_payload(link, &moved);
        if (state == LINK_DONE)
            link->arrived = true, link->message_got = 0;
    }
    if (state == LINK_CLOSED)
        note_left(tcp, rank);
    if (moved)
        link->until = clock_seconds() + tcp->comm.deadline;
    else if (!link->arrived && clock_seconds() >= link->until)
        note_failure(tcp, JSC_E_DEVICE, "collective %" PRIu64 ": rank %d of %d did not come within %g s", tcp->number, rank, tcp->comm.size,
                     tcp->comm.deadline);
}

static void collect(struct tcp *tcp, size_t bytes, char *all)
{
    const int size = tcp->comm.size;
    for (int r = 1; r < size; r++) {
        struct link *link = &tcp->links[r];
        link->in = all + (size_t)r * bytes, link->in_bytes = bytes, link->in_got = 0;
        link->arrived = false, link->until = clock_seconds() + tcp->comm.deadline;
        link_queue(link, MESSAGE_HERE, tcp->number, NULL, bytes);
    }
    while (tcp->failure.status == JSC_OK) {
        bool waits = false;
        double until = clock_seconds() + tcp->comm.deadline;
        for (int r = 1; r < size && tcp->failure.status == JSC_OK; r++) {
            take(tcp, r, bytes);
            waits = waits || !tcp->links[r].arrived;
            until = !tcp->links[r].arrived && tcp->links[r].until < until ? tcp->links[r].until : until;
        }
        if (!waits)
            return;
        if (tcp->failure.status == JSC_OK)
            links_wait(tcp->links, size, -1, true, until);
    }
}

/* Everybody's payload to everybody, to the end also where one rank is lost: the others' lines stay whole, and hear of it next. */
static void distribute(struct tcp *tcp, size_t total, const char *all)
{
    const int size = tcp->comm.size;
    for (int r = 1; r < size; r++) {
        link_queue(&tcp->links[r], MESSAGE_RESULT, tcp->number, all, total);
        tcp->links[r].until = clock_seconds() + tcp->comm.deadline;
    }
    for (;;) {
        bool waits = false;
        double until = clock_seconds() + tcp->comm.deadline;
        for (int r = 1; r < size; r++) {
            struct link *link = &tcp->links[r];
            const size_t before = link->out_sent;
            if (!link_idle(link) && link_send(link) == LINK_CLOSED)
                note_left(tcp, r);
            if (link->out_sent != before)
                link->until = clock_seconds() + tcp->comm.deadline;
            if (!link_idle(link) && clock_seconds() >= link->until) {
                note_failure(tcp, JSC_E_DEVICE, "collective %" PRIu64 ": rank %d of %d took nothing for %g s", tcp->number, r, size,
                             tcp->comm.deadline);
                link->deaf = true;
            }
            waits = waits || !link_idle(link);
            until = !link_idle(link) && link->until < until ? link->until : until;
        }
        if (!waits)
            return;
        links_wait(tcp->links, size, -1, false, until);
    }
}

static void first_gather(struct tcp *tcp, const void *mine, size_t bytes, char *all)
{
    memcpy(all, mine, bytes);
    collect(tcp, bytes, all);
    if (tcp->failure.status == JSC_OK)
        distribute(tcp, (size_t)tcp->comm.size * bytes, all);
    if (tcp->failure.status != JSC_OK)
        tell_all(tcp);
}

/* ---- the other ranks --------------------------------------------------------------------------------------------------------- */

/* A message of rank 0, in a collective or before. *result: the payload follows. */
static void hear(struct tcp *tcp, bool *result)
{
    struct link *link = tcp->links;
    const struct message *m = &link->message;
    if (m->magic == MESSAGE_MAGIC && m->type == MESSAGE_FAILURE)
        note_heard(tcp, link, 0);
    else if (m->magic == MESSAGE_MAGIC && m->type == MESSAGE_HERE && m->number == tcp->number && !tcp->here)
        tcp->here = true, link->message_got = 0;
    else if (m->magic == MESSAGE_MAGIC && m->type == MESSAGE_RESULT && m->number == tcp->number && result != NULL && tcp->here &&
             m->bytes == link->in_bytes)
        *result = true;
    else
        note_stranger(tcp, 0);
}

/* Rank 0 itself waits for the others as long as the deadline, once it is here. */
static double patience(const struct tcp *tcp)
{
    return clock_seconds() + (tcp->here ? 2.0 * tcp->comm.deadline + 1.0 : tcp->comm.deadline);
}

static void note_silence(struct tcp *tcp)
{
    if (tcp->here)
        note_failure(tcp, JSC_E_DEVICE, "collective %" PRIu64 ": rank 0 of %d came and then fell silent", tcp->number, tcp->comm.size);
    else
        note_failure(tcp, JSC_E_DEVICE, "collective %" PRIu64 ": rank 0 of %d did not come within %g s", tcp->number, tcp->comm.size,
                     tcp->comm.deadline);
    link_tell(tcp->links, &tcp->failure, clock_seconds() + TELL_SECONDS);
}

static void other_gather(struct tcp *tcp, const void *mine, size_t bytes, char *all)
{
    struct link *link = tcp->links;
    bool given = false, result = false;
    double until = patience(tcp);

    link->in = all, link->in_bytes = (size_t)tcp->comm.size * bytes, link->in_got = 0;
    while (tcp->failure.status == JSC_OK) {
        const size_t before = link->out_sent;
        bool moved = false;
        (void)link_send(link); /* of a closed connection the last words can still be read */
        enum link_state state = result ? LINK_DONE : link_message(link, &moved);
        if (state == LINK_DONE && !result)
            hear(tcp, &result);
        if (result)
            state = link_payload(link, &moved);
        if (result && state == LINK_DONE) {
            link->message_got = 0, tcp->here = false;
            return;
        }
        if (state == LINK_CLOSED)
            note_left(tcp, 0);
        if (moved || link->out_sent != before)
            until = patience(tcp);
        if (tcp->here && !given)
            link_queue(link, MESSAGE_HEAD, tcp->number, mine, bytes), given = true;
        if (tcp->failure.status == JSC_OK && clock_seconds() >= until)
            note_silence(tcp);
        if (tcp->failure.status == JSC_OK)
            links_wait(link, 1, -1, true, until);
    }
}

/* After this rank's own failure: rank 0 says which rank failed first. */
static void ask_first(struct tcp *tcp)
{
    struct link *link = tcp->links;
    const double until = clock_seconds() + tcp->comm.deadline;
    tcp->asks = false;
    for (;;) {
        bool moved = false;
        jsc_error first = {.status = JSC_OK, .text = ""};
        const enum link_state state = link_message(link, &moved);
        if (state == LINK_DONE && link->message.magic == MESSAGE_MAGIC && link->message.type == MESSAGE_FAILURE) {
            if (link_hear(link, &first) == LINK_DONE)
                tcp->failure = first;
            return;
        }
        if (state == LINK_CLOSED || (state == LINK_DONE && link->message.type != MESSAGE_HERE) || clock_seconds() >= until)
            return;
        if (state == LINK_DONE)
            link->message_got = 0;
        links_wait(link, 1, -1, true, until);
    }
}

/* ---- the table ----------------------------------------------------------------------------------------------------------------- */

static jsc_status tcp_gather(struct comm *comm, const void *mine, size_t bytes, void *all, jsc_error *error)
{
    struct tcp *tcp = (struct tcp *)comm;
    size_t total;
    if (tcp->asks)
        ask_first(tcp);
    if (tcp->failure.status != JSC_OK)
        return ended(tcp, error);
    if (!size_mul((size_t)comm->size, bytes, &total))
        return status_set(error, JSC_E_INTERNAL, "collective of %zu bytes a rank", bytes);
    if (comm->rank == 0)
        first_gather(tcp, mine, bytes, all);
    else
        other_gather(tcp, mine, bytes, all);
    if (tcp->failure.status != JSC_OK)
        return ended(tcp, error);
    tcp->number++;
    return JSC_OK;
}

static void tcp_fail(struct comm *comm, const jsc_error *error)
{
    struct tcp *tcp = (struct tcp *)comm;
    if (tcp->failure.status != JSC_OK)
        return;
    if (comm->size > 1)
        note_failure(tcp, error->status, "rank %d: %.480s", comm->rank, error->text);
    else
        note_failure(tcp, error->status, "%s", error->text);
    tell_all(tcp);
    tcp->asks = comm->rank > 0;
}

/* Between collectives ranks say nothing but that they give up; rank 0 may have come to the next one. */
static jsc_status tcp_check(struct comm *comm, jsc_error *error)
{
    struct tcp *tcp = (struct tcp *)comm;
    for (int i = comm->rank == 0 ? 1 : 0; i < tcp->n_links && tcp->failure.status == JSC_OK && comm->size > 1; i++) {
        bool moved = false;
        const enum link_state state = link_message(&tcp->links[i], &moved);
        if (state == LINK_CLOSED)
            note_left(tcp, i);
        else if (state == LINK_DONE && comm->rank == 0)
            check_head(tcp, &tcp->links[i], i, 0);
        else if (state == LINK_DONE)
            hear(tcp, NULL);
        if (tcp->failure.status != JSC_OK && comm->rank == 0)
            tell_all(tcp);
    }
    return tcp->failure.status != JSC_OK ? ended(tcp, error) : JSC_OK;
}

static void tcp_close(struct comm *comm)
{
    struct tcp *tcp = (struct tcp *)comm;
    for (int i = 0; i < tcp->n_links; i++)
        link_close(&tcp->links[i]);
    mem_free(tcp->links);
    mem_free(tcp);
}

jsc_status comm_tcp_join(const struct comm_address *address, int rank, int size, double deadline, struct comm **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct tcp *tcp = NULL;

    if (size < 1 || size > TCP_RANKS_MOST || rank < 0 || rank >= size || !(deadline > 0.0 && deadline <= 1e6))
        return status_set(error, JSC_E_ARGUMENT,
                          "rank %d of %d with a deadline of %g s: 0 <= rank < size <= %d and 0 < deadline are wanted", rank, size, deadline,
                          TCP_RANKS_MOST);
    TRY(mem_new(&tcp, 1, error));
    const int room = rank == 0 ? size + TCP_PENDING : 1;
    TRY(mem_new(&tcp->links, (size_t)room, error));
    for (int i = 0; i < room; i++)
        tcp->links[i].fd = -1;
    tcp->n_links = rank == 0 ? size : 1;
    tcp->comm = (struct comm){
        .rank = rank, .size = size, .deadline = deadline, .gather = tcp_gather, .fail = tcp_fail, .check = tcp_check, .close = tcp_close};
    if (size > 1)
        TRY(tcp_join(address, rank, size, deadline, tcp->links, error));
    *out = &tcp->comm, tcp = NULL;
done:
    if (tcp != NULL)
        tcp_close(&tcp->comm);
    return status;
}
