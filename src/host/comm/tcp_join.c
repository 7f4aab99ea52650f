/* tcp_join.c: the ranks find each other: rank 0 listens, the others connect and say who they are; nobody goes on before all are there. */
#include "tcp_meet.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PROTOCOL      1
#define TELL_SECONDS  2.0
#define HELLO_SECONDS 10.0 /* for a connection to say who it is */
#define RETRY_SECONDS 0.02

struct hello {
    uint64_t key;
    int32_t protocol, rank, size;
    char version[20]; /* of jscopes: other versions may choose other directions */
};

static void rest(void)
{
    const struct timespec pause = {.tv_nsec = (long)(RETRY_SECONDS * 1e9)};
    (void)nanosleep(&pause, NULL);
}

/* ---- rank 0 -------------------------------------------------------------------------------------------------------------------- */

struct meeting {
    const struct comm_address *address;
    int listener, size, joined;
    double deadline;
    uint64_t key;
    struct link *links;   /* [size], by rank */
    struct link *pending; /* [TCP_PENDING] */
    struct hello hellos[TCP_PENDING];
    jsc_error failure;
};

static void accept_all(struct meeting *m)
{
    for (int i = 0; i < TCP_PENDING; i++) {
        if (m->pending[i].fd >= 0)
            continue;
        const int fd = accept4(m->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno != EAGAIN && errno != EWOULDBLOCK)
                rest(); /* no descriptor is free, say: the others may come when one is */
            return;
        }
        link_open(&m->pending[i], fd);
        m->pending[i].in = (char *)&m->hellos[i], m->pending[i].in_bytes = sizeof m->hellos[i];
        m->pending[i].until = clock_seconds() + HELLO_SECONDS;
    }
}

/* What is wrong with one that has the job's key: the job cannot go on. */
static void check_hello(struct meeting *m, struct hello *h)
{
    h->version[sizeof h->version - 1] = '\0';
    if (h->protocol != PROTOCOL || strcmp(h->version, jsc_version()) != 0)
        (void)status_set(&m->failure, JSC_E_ARGUMENT, "rank %d is jscopes %s (protocol %d), rank 0 %s (%d): one version is wanted", h->rank,
                         h->version, h->protocol, jsc_version(), PROTOCOL);
    else if (h->size != m->size)
        (void)status_set(&m->failure, JSC_E_ARGUMENT, "rank %d says that there are %d ranks, rank 0 %d", h->rank, h->size, m->size);
    else if (h->rank < 1 || h->rank >= m->size)
        (void)status_set(&m->failure, JSC_E_ARGUMENT, "a rank %d of %d joined: 1 to %d are wanted", h->rank, h->size, m->size - 1);
    else if (m->links[h->rank].fd >= 0)
        (void)status_set(&m->failure, JSC_E_ARGUMENT, "rank %d of %d joined twice", h->rank, m->size);
}

static void admit(struct meeting *m, int i)
{
    struct link *link = &m->pending[i];
    struct hello *h = &m->hellos[i];
    if (h->key != m->key) { /* of another job, or lost: none of ours */
        jsc_error refusal;
        (void)status_set(&refusal, JSC_E_ARGUMENT, "rank 0 of another job listens at %s: its key is not this rank's", m->address->text);
        link_tell(link, &refusal, clock_seconds() + TELL_SECONDS);
        link_close(link);
        return;
    }
    check_hello(m, h);
    if (m->failure.status != JSC_OK)
        return;
    link_open(&m->links[h->rank], link->fd);
    link->fd = -1;
    m->joined++;
}

static void look_at_pending(struct meeting *m, int i)
{
    struct link *link = &m->pending[i];
    bool moved = false;
    enum link_state state = link_message(link, &moved);
    if (state == LINK_DONE) {
        const struct message *message = &link->message;
        const bool ours = message->magic == MESSAGE_MAGIC && message->type == MESSAGE_HELLO && message->bytes == sizeof(struct hello);
        state = ours ? link_payload(link, &moved) : LINK_CLOSED;
    }
    if (state == LINK_DONE)
        admit(m, i);
    else if (state == LINK_CLOSED || clock_seconds() >= link->until)
        link_close(link);
}

/* One that has joined says nothing before it is welcome: it can only give up or leave. */
static void look_at_joined(struct meeting *m, int rank)
{
    struct link *link = &m->links[rank];
    bool moved = false;
    const enum link_state state = link_message(link, &moved);
    if (state == LINK_WAITS)
        return;
    if (state != LINK_DONE || link->message.type != MESSAGE_FAILURE || link_hear(link, &m->failure) != LINK_DONE)
        (void)status_set(&m->failure, JSC_E_DEVICE, "rank %d left before all had joined", rank);
}

static void name_absent(struct meeting *m)
{
    for (int r = 1; r < m->size; r++)
        if (m->links[r].fd < 0) {
            (void)status_set(&m->failure, JSC_E_DEVICE, "rank %d of %d did not join at %s within %g s", r, m->size, m->address->text,
                             m->deadline);
            return;
        }
}

static int free_places(const struct meeting *m)
{
    int n = 0;
    for (int i = 0; i < TCP_PENDING; i++)
        n += m->pending[i].fd < 0;
    return n;
}

static void wait_for_all(struct meeting *m)
{
    const double until = clock_seconds() + m->deadline;
    while (m->joined < m->size - 1 && m->failure.status == JSC_OK) {
        accept_all(m);
        for (int i = 0; i < TCP_PENDING && m->failure.status == JSC_OK; i++)
            if (m->pending[i].fd >= 0)
                look_at_pending(m, i);
        for (int r = 1; r < m->size && m->failure.status == JSC_OK; r++)
            if (m->links[r].fd >= 0)
                look_at_joined(m, r);
        if (m->joined == m->size - 1 || m->failure.status != JSC_OK)
            return;
        const double now = clock_seconds();
        if (now >= until)
            name_absent(m);
        else
            links_wait(m->links, m->size + TCP_PENDING, free_places(m) > 0 ? m->listener : -1, true, until < now + 1.0 ? until : now + 1.0);
    }
}

static jsc_status first_join(const struct comm_address *address, int size, double deadline, struct link *links, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct meeting m = {.address = address, .listener = -1, .size = size, .deadline = deadline, .links = links, .pending = links + size};

    TRY(meet_listen(address, &m.listener, &m.key, error));
    wait_for_all(&m);
    for (int i = 0; i < size + TCP_PENDING; i++) {
        struct link *link = &links[i];
        if (m.failure.status != JSC_OK) {
            link_tell(link, &m.failure, clock_seconds() + TELL_SECONDS);
        } else if (link->fd >= 0 && i < size) {
            link_queue(link, MESSAGE_WELCOME, 0, NULL, 0);
            (void)link_send(link); /* one that has left is noticed by the first collective */
        }
        if (i >= size)
            link_close(link);
    }
    if (m.failure.status != JSC_OK)
        FAIL(m.failure.status, "%s", m.failure.text);
done:
    if (m.listener >= 0) {
        (void)close(m.listener);
        meet_end(address);
    }
    return status;
}

/* ---- the others ---------------------------------------------------------------------------------------------------------------- */

enum outlook { TRY_AGAIN, HOPELESS, SAID }; /* SAID: the line that all ranks end with */

/* One try: connect, say hello, hear that all are in. */
static jsc_status try_join(const struct comm_address *address, int rank, int size, double deadline, double until, struct link *link,
                           enum outlook *outlook, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct hello hello = {.protocol = PROTOCOL, .rank = rank, .size = size};
    struct place place;
    int fd = -1;

    status = meet_find(address, &place, error);
    *outlook = status == JSC_E_ARGUMENT ? SAID : TRY_AGAIN; /* an address that cannot be read does not get better */
    if (status == JSC_OK)
        status = meet_connect(&place, until, &fd, error);
    if (status != JSC_OK)
        return status;
    link_open(link, fd);
    hello.key = place.key;
    (void)snprintf(hello.version, sizeof hello.version, "%s", jsc_version());
    link_queue(link, MESSAGE_HELLO, 0, &hello, sizeof hello);
    (void)link_send(link); /* fits the empty connection; a closed one shows in the answer */

    /* rank 0 waits for the others from before this rank came, so its word comes before this rank's patience ends */
    const enum link_state state = link_read_all(link, &link->message, sizeof link->message,
                                                clock_seconds() + deadline + 2.0 * TELL_SECONDS);
    const struct message *m = &link->message;
    jsc_error refusal = {.status = JSC_OK, .text = ""};
    *outlook = state == LINK_CLOSED && meet_by_file(address) ? TRY_AGAIN : HOPELESS; /* an old file led to something else */
    if (state == LINK_WAITS)
        return status_set(error, JSC_E_DEVICE, "it let nobody in");
    if (state == LINK_CLOSED)
        return status_set(error, JSC_E_DEVICE, "what listens there closed the connection");
    if (m->magic == MESSAGE_MAGIC && m->type == MESSAGE_WELCOME)
        return JSC_OK;
    if (m->magic == MESSAGE_MAGIC && m->type == MESSAGE_FAILURE && link_hear(link, &refusal) == LINK_DONE) {
        *outlook = SAID;
        return status_set(error, refusal.status, "%s", refusal.text);
    }
    return status_set(error, JSC_E_DEVICE, "what listens there is not jscopes");
}

/* Until rank 0 answers: it may start later, and an old file may lie where it will write. */
static jsc_status other_join(const struct comm_address *address, int rank, int size, double deadline, struct link *link, jsc_error *error)
{
    const double until = clock_seconds() + deadline;
    for (;;) {
        jsc_error why = {.status = JSC_OK, .text = ""};
        enum outlook outlook = HOPELESS;
        const jsc_status status = try_join(address, rank, size, deadline, until, link, &outlook, &why);
        if (status == JSC_OK)
            return JSC_OK;
        link_close(link);
        if (outlook == SAID)
            return status_set(error, status, "%s", why.text);
        if (outlook == HOPELESS || clock_seconds() >= until)
            return status_set(error, JSC_E_DEVICE, "rank %d of %d found no rank 0 at %s within %g s: %s", rank, size, address->text,
                              deadline, why.text);
        rest();
    }
}

jsc_status tcp_join(const struct comm_address *address, int rank, int size, double deadline, struct link *links, jsc_error *error)
{
    if (rank == 0)
        return first_join(address, size, deadline, links, error);
    return other_join(address, rank, size, deadline, links, error);
}
