/* tcp_meet.c: listening and connecting: host and port, or the file through which rank 0 tells them. */
#include "tcp_meet.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECT_SECONDS 5.0 /* for one address to answer */

bool meet_by_file(const struct comm_address *address)
{
    return strchr(address->text, '/') != NULL;
}

/* HOST:PORT or [V6]:PORT. */
static jsc_status parse_place(const char *text, struct place *out, jsc_error *error)
{
    const char *colon = strrchr(text, ':'), *host = text;
    size_t n = colon != NULL ? (size_t)(colon - text) : 0;
    char *end = NULL;
    const long port = colon != NULL ? strtol(colon + 1, &end, 10) : 0;

    if (n >= 2 && host[0] == '[' && host[n - 1] == ']')
        host++, n -= 2;
    else if (n > 0 && memchr(host, ':', n) != NULL)
        n = 0;
    if (n == 0 || n >= sizeof out->host || end == NULL || end == colon + 1 || *end != '\0' || port < 1 || port > 65535 || colon[1] < '0' ||
        colon[1] > '9')
        return status_set(error, JSC_E_ARGUMENT, "address \"%s\": HOST:PORT, [V6]:PORT or the path of a file (with a /) is wanted", text);
    memcpy(out->host, host, n);
    out->host[n] = '\0';
    (void)snprintf(out->port, sizeof out->port, "%ld", port);
    return JSC_OK;
}

static jsc_status resolve(const struct place *place, bool passive, struct addrinfo **out, jsc_error *error)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = passive ? AI_PASSIVE : 0};
    const int code = getaddrinfo(place->host[0] != '\0' ? place->host : NULL, place->port, &hints, out);
    if (code != 0)
        return status_set(error, JSC_E_DEVICE, "%s is not the name of a machine: %s", place->host, gai_strerror(code));
    return JSC_OK;
}

/* ---- listening ----------------------------------------------------------------------------------------------------------------- */

static int listen_at(const struct addrinfo *a)
{
    const int on = 1, off = 0;
    const int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (a->ai_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off); /* "any address" then takes both kinds */
    if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, 128) == 0)
        return fd;
    const int why = errno;
    (void)close(fd);
    errno = why;
    return -1;
}

/* An empty host: every address of this machine, IPv6 (which takes both kinds) first. */
static jsc_status listen_on(const struct place *place, int *out, jsc_error *error)
{
    struct addrinfo *list = NULL;
    const jsc_status status = resolve(place, true, &list, error);
    int fd = -1, why = 0;

    if (status != JSC_OK)
        return status;
    for (int v6 = 1; v6 >= 0; v6--)
        for (const struct addrinfo *a = list; a != NULL && fd < 0; a = a->ai_next)
            if ((a->ai_family == AF_INET6) == (v6 == 1) && (fd = listen_at(a)) < 0)
                why = errno;
    freeaddrinfo(list);
    if (fd < 0 && why == EADDRNOTAVAIL &&
        place->host[0] != '\0') { /* the others know this machine by a name that it does not have itself */
        struct place any = *place;
        any.host[0] = '\0';
        return listen_on(&any, out, error);
    }
    if (fd < 0)
        return status_set(error, JSC_E_DEVICE, "rank 0 cannot listen at %s:%s: %s", place->host, place->port, strerror(why));
    *out = fd;
    return JSC_OK;
}

static jsc_status port_of(int listener, uint16_t *port, jsc_error *error)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } name = {.any = {.sa_family = AF_UNSPEC}};
    socklen_t n = sizeof name;
    if (getsockname(listener, &name.any, &n) != 0)
        return status_set(error, JSC_E_DEVICE, "rank 0 cannot listen: %s", strerror(errno));
    *port = ntohs(name.any.sa_family == AF_INET6 ? name.v6.sin6_port : name.v4.sin_port);
    return JSC_OK;
}

static jsc_status write_file(const char *path, const struct place *place, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct strbuf own = {.text = NULL}, line = {.text = NULL};
    int fd = -1;

    strbuf_printf(&own, "%s.%ld", path, (long)getpid());
    strbuf_printf(&line, "%s %s %016" PRIx64 "\n", place->host, place->port, place->key);
    if (own.failed || line.failed)
        FAIL(JSC_E_MEMORY, "no memory for the name of %s", path);
    fd = open(own.text, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600); /* the key is for this user's ranks only */
    if (fd < 0 || write(fd, line.text, line.n) != (ssize_t)line.n || rename(own.text, path) != 0) {
        const int why = errno;
        if (fd >= 0)
            (void)unlink(own.text);
        FAIL(JSC_E_FILE, "%s, in which rank 0 says where it listens, cannot be written: %s", path, strerror(why));
    }
done:
    if (fd >= 0)
        (void)close(fd);
    strbuf_free(&own);
    strbuf_free(&line);
    return status;
}

jsc_status meet_listen(const struct comm_address *address, int *listener, uint64_t *key, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct place place = {.port = "0", .key = address->key};
    uint16_t port = 0;

    if (!meet_by_file(address)) {
        TRY(parse_place(address->text, &place, error));
        TRY(listen_on(&place, listener, error));
    } else {
        if (getrandom(&place.key, sizeof place.key, 0) != (ssize_t)sizeof place.key)
            FAIL(JSC_E_DEVICE, "the system gives no random key: %s", strerror(errno));
        TRY(listen_on(&place, listener, error));
        TRY(port_of(*listener, &port, error));
        (void)snprintf(place.port, sizeof place.port, "%" PRIu16, port);
        if (gethostname(place.host, sizeof place.host - 1) != 0)
            FAIL(JSC_E_DEVICE, "this machine has no name: %s", strerror(errno));
        TRY(write_file(address->text, &place, error));
    }
    *key = place.key;
done:
    return status;
}

void meet_end(const struct comm_address *address)
{
    if (meet_by_file(address))
        (void)unlink(address->text);
}

/* ---- connecting ---------------------------------------------------------------------------------------------------------------- */

/* The next word of a line, of at most capacity - 1 bytes; false: there is none. */
static bool next_word(const char **line, char *out, size_t capacity)
{
    const size_t n = strcspn(*line, " \n");
    if (n == 0 || n >= capacity || (*line)[n] == '\0')
        return false;
    memcpy(out, *line, n);
    out[n] = '\0';
    *line += n + 1;
    return true;
}

static jsc_status read_file(const char *path, struct place *out, jsc_error *error)
{
    char text[512], key[17], own[256] = "", *end = NULL;
    const char *rest = text;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    const int why = errno;

    if (fd >= 0)
        (void)close(fd);
    if (n < 0)
        return status_set(error, JSC_E_FILE, "%s: %s", path, strerror(why));
    text[n] = '\0';
    if (!next_word(&rest, out->host, sizeof out->host) || !next_word(&rest, out->port, sizeof out->port) ||
        !next_word(&rest, key, sizeof key))
        return status_set(error, JSC_E_FORMAT, "%s is not the address file of a jscopes rank 0", path);
    out->key = strtoull(key, &end, 16);
    if (*end != '\0')
        return status_set(error, JSC_E_FORMAT, "%s is not the address file of a jscopes rank 0", path);
    if (gethostname(own, sizeof own - 1) == 0 && strcmp(own, out->host) == 0)
        (void)snprintf(out->host, sizeof out->host, "127.0.0.1"); /* its own name may be unknown to a machine */
    return JSC_OK;
}

jsc_status meet_find(const struct comm_address *address, struct place *out, jsc_error *error)
{
    if (meet_by_file(address))
        return read_file(address->text, out, error);
    out->key = address->key;
    return parse_place(address->text, out, error);
}

/* A port of this machine on which nobody listens may be lent to the very socket that connects to it, which then talks to itself. */
static bool is_itself(int fd)
{
    struct sockaddr_storage here = {0}, there = {0};
    socklen_t n = sizeof here, m = sizeof there;
    return getsockname(fd, (struct sockaddr *)&here, &n) == 0 && getpeername(fd, (struct sockaddr *)&there, &m) == 0 && n == m &&
           memcmp(&here, &there, n) == 0;
}

static int connect_to(const struct addrinfo *a, double until)
{
    int why = 0;
    socklen_t n = sizeof why;
    const int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (connect(fd, a->ai_addr, a->ai_addrlen) != 0)
        why = errno;
    while (why == EINPROGRESS || why == EINTR) {
        struct pollfd polled = {.fd = fd, .events = POLLOUT};
        const double left = until - clock_seconds();
        const int ready = poll(&polled, 1, left > 0.0 ? (int)(left * 1000.0) + 1 : 0);
        if (ready == 0)
            why = ETIMEDOUT;
        else if (ready > 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &why, &n) != 0)
            why = errno;
    }
    if (why == 0 && is_itself(fd))
        why = ECONNREFUSED;
    if (why == 0)
        return fd;
    (void)close(fd);
    errno = why;
    return -1;
}

jsc_status meet_connect(const struct place *place, double until, int *out, jsc_error *error)
{
    struct addrinfo *list = NULL;
    const jsc_status status = resolve(place, false, &list, error);
    const double soon = clock_seconds() + CONNECT_SECONDS;
    int fd = -1, why = 0;

    if (status != JSC_OK)
        return status;
    for (const struct addrinfo *a = list; a != NULL && fd < 0; a = a->ai_next)
        if ((fd = connect_to(a, soon < until ? soon : until)) < 0)
            why = errno;
    freeaddrinfo(list);
    if (fd < 0)
        return status_set(error, JSC_E_DEVICE, "%s", strerror(why));
    *out = fd;
    return JSC_OK;
}
