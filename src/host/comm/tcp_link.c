/* tcp_link.c: one connection between two ranks: messages and payloads in pieces, never blocking, never raising a signal. */
#include "comm_tcp.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

/* What a failure looks like on the wire. */
struct failure_body {
    int32_t status;
    char text[508];
};

void link_open(struct link *link, int fd)
{
    const int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    *link = (struct link){.fd = fd};
}

void link_close(struct link *link)
{
    if (link->fd >= 0)
        (void)close(link->fd);
    link->fd = -1;
}

void link_queue(struct link *link, enum message_type type, uint64_t number, const void *payload, size_t bytes)
{
    link->note = (struct message){.magic = MESSAGE_MAGIC, .type = type, .number = number, .bytes = bytes};
    link->note_bytes = type != 0 ? sizeof link->note : 0, link->note_sent = 0;
    link->out = payload, link->out_bytes = payload != NULL ? bytes : 0, link->out_sent = 0;
}

bool link_idle(const struct link *link)
{
    return link->deaf || (link->note_sent == link->note_bytes && link->out_sent == link->out_bytes);
}

static enum link_state send_some(struct link *link, const char *bytes, size_t n, size_t *sent)
{
    while (*sent < n) {
        const ssize_t k = send(link->fd, bytes + *sent, n - *sent, MSG_NOSIGNAL);
        if (k >= 0)
            *sent += (size_t)k;
        else if (errno == EAGAIN || errno == EWOULDBLOCK)
            return LINK_WAITS;
        else if (errno != EINTR) {
            link->deaf = true;
            return LINK_CLOSED;
        }
    }
    return LINK_DONE;
}

enum link_state link_send(struct link *link)
{
    enum link_state state = link->deaf ? LINK_CLOSED : LINK_DONE;
    if (state == LINK_DONE)
        state = send_some(link, (const char *)&link->note, link->note_bytes, &link->note_sent);
    if (state == LINK_DONE)
        state = send_some(link, link->out, link->out_bytes, &link->out_sent);
    return state;
}

static enum link_state receive_some(struct link *link, char *bytes, size_t n, size_t *got, bool *moved)
{
    while (*got < n) {
        const ssize_t k = recv(link->fd, bytes + *got, n - *got, 0);
        if (k > 0)
            *got += (size_t)k, *moved = true;
        else if (k < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return LINK_WAITS;
        else if (k == 0 || errno != EINTR)
            return LINK_CLOSED;
    }
    return LINK_DONE;
}

enum link_state link_message(struct link *link, bool *moved)
{
    return receive_some(link, (char *)&link->message, sizeof link->message, &link->message_got, moved);
}

enum link_state link_payload(struct link *link, bool *moved)
{
    return receive_some(link, link->in, link->in_bytes, &link->in_got, moved);
}

void links_wait(const struct link *links, int n, int listener, bool in, double until)
{
    enum { MOST = 256 }; /* more at once than these are looked at every few milliseconds */
    struct pollfd polled[MOST];
    nfds_t count = 0;
    bool more = false;

    if (listener >= 0)
        polled[count++] = (struct pollfd){.fd = listener, .events = POLLIN};
    for (int i = 0; i < n; i++) {
        const bool sends = links[i].fd >= 0 && !link_idle(&links[i]);
        if (links[i].fd < 0 || (!in && !sends))
            continue;
        if (count == MOST) {
            more = true;
            break;
        }
        polled[count++] = (struct pollfd){.fd = links[i].fd, .events = (short)((in ? POLLIN : 0) | (sends ? POLLOUT : 0))};
    }
    const double left = until - clock_seconds(), most = more ? 0.005 : 60.0;
    const double wait = left < 0.0 ? 0.0 : left > most ? most : left;
    (void)poll(polled, count, (int)(wait * 1000.0) + 1); /* interrupted: the caller looks and comes again */
}

enum link_state link_read_all(struct link *link, void *bytes, size_t n, double until)
{
    size_t got = 0;
    bool moved = false;
    for (;;) {
        const enum link_state state = receive_some(link, bytes, n, &got, &moved);
        if (state != LINK_WAITS || clock_seconds() >= until)
            return state;
        links_wait(link, 1, -1, true, until);
    }
}

static void send_all(struct link *link, double until)
{
    while (link_send(link) == LINK_WAITS && clock_seconds() < until)
        links_wait(link, 1, -1, false, until);
}

void link_tell(struct link *link, const jsc_error *failure, double until)
{
    struct failure_body body = {.status = (int32_t)failure->status};
    if (link->fd < 0)
        return;
    send_all(link, until);
    if (!link_idle(link) || link->deaf)
        return;
    memcpy(body.text, failure->text, sizeof body.text - 1);
    link_queue(link, MESSAGE_FAILURE, 0, &body, sizeof body);
    send_all(link, until);
    link->deaf = true; /* nothing follows a failure */
}

enum link_state link_hear(struct link *link, jsc_error *failure)
{
    struct failure_body body;
    if (link->message.bytes != sizeof body)
        return LINK_CLOSED;
    const enum link_state state = link_read_all(link, &body, sizeof body, clock_seconds() + 5.0);
    if (state == LINK_DONE) {
        body.text[sizeof body.text - 1] = '\0';
        const bool known = body.status > (int32_t)JSC_OK && body.status <= (int32_t)JSC_E_INTERNAL;
        (void)status_set(failure, known ? (jsc_status)body.status : JSC_E_INTERNAL, "%s", body.text);
    }
    return state;
}
