/* chunk_lock.c: a lock file that names its process, so that one of a process that died is found out: at once on the same machine, by the
 * missing heartbeat on another. */
#include "corpus_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define STALE_SECONDS 300
#define TEXT_MAX      400

struct chunk_lock {
    char *path;
    char text[TEXT_MAX]; /* of the file: no other process writes the same */
    int fd;
};

static void read_small(const char *path, char *out, size_t capacity)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd >= 0 ? read(fd, out, capacity - 1) : 0;
    out[n > 0 ? n : 0] = '\0';
    if (fd >= 0)
        (void)close(fd);
}

/* When a process began, in the kernel's ticks: a number that was given again to another process is told apart. "0": there is none. */
static void process_begin(long pid, char out[24])
{
    char path[40], stat_line[1024];
    (void)snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    read_small(path, stat_line, sizeof stat_line);
    const char *at = strrchr(stat_line, ')'); /* the name before may hold anything */
    for (int field = 2; at != NULL && field < 22; field++)
        at = strchr(at + 1, ' ');
    (void)snprintf(out, 24, "%.*s", at != NULL ? (int)strcspn(at + 1, " \n") : 1, at != NULL ? at + 1 : "0");
}

/* Machine, boot and process name space: where a process number means the same. */
static void here(char out[200])
{
    char host[65] = "?", boot[40], space[40] = "";
    (void)gethostname(host, sizeof host - 1);
    read_small("/proc/sys/kernel/random/boot_id", boot, sizeof boot);
    boot[strcspn(boot, "\n")] = '\0';
    const ssize_t n = readlink("/proc/self/ns/pid", space, sizeof space - 1);
    space[n > 0 ? n : 0] = '\0';
    (void)snprintf(out, 200, "%s %.8s%s", host, boot, space);
}

/* "HOST PLACE PID BEGIN NUMBER" of the process that holds it has ended. */
static bool owner_is_dead(const char *text)
{
    char place[200], begin[24], owner_begin[24] = "";
    long pid = 0;
    here(place);
    const size_t n = strlen(place);
    if (strncmp(text, place, n) != 0 || sscanf(text + n, " %ld %23s", &pid, owner_begin) != 2)
        return false;
    process_begin(pid, begin);
    return strcmp(begin, owner_begin) != 0;
}

/* Takes a dead lock out of the way under a name of its own, and makes sure that it was that one. */
static jsc_status remove_dead(const struct chunk_lock *lock, const char *seen, jsc_error *error)
{
    jsc_status status = JSC_OK;
    char now[TEXT_MAX], *aside = NULL;
    const size_t n = strlen(lock->path) + 48;
    TRY(mem_new(&aside, n, error));
    (void)snprintf(aside, n, "%s.dead-%ld", lock->path, (long)getpid());
    if (rename(lock->path, aside) != 0)
        goto done; /* another process was faster */
    read_small(aside, now, sizeof now);
    if (strcmp(now, seen) != 0)
        (void)!link(aside, lock->path); /* a living process's after all */
    (void)unlink(aside);
done:
    mem_free(aside);
    return status;
}

static jsc_status make(struct chunk_lock *lock, bool *there, jsc_error *error)
{
    const size_t n = strlen(lock->text);
    lock->fd = open(lock->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    *there = lock->fd < 0 && errno == EEXIST;
    if (lock->fd < 0 && !*there)
        return status_set(error, JSC_E_FILE, "%s: cannot be made: %s", lock->path, strerror(errno));
    if (lock->fd >= 0 && write(lock->fd, lock->text, n) != (ssize_t)n) {
        const int reason = errno;
        (void)unlink(lock->path);
        return status_set(error, JSC_E_FILE, "%s: writing failed: %s", lock->path, strerror(reason));
    }
    return JSC_OK;
}

jsc_status chunk_lock_take(const char *path, struct chunk_lock **out, jsc_error *error)
{
    static atomic_uint counter;
    jsc_status status = JSC_OK;
    struct chunk_lock *lock = NULL;
    char place[200], begin[24], seen[TEXT_MAX] = "";
    struct stat s;
    bool there = true;

    TRY(mem_new(&lock, 1, error));
    lock->fd = -1;
    TRY(mem_strdup(&lock->path, path, error));
    here(place);
    process_begin((long)getpid(), begin);
    (void)snprintf(lock->text, sizeof lock->text, "%s %ld %s %u\n", place, (long)getpid(), begin, atomic_fetch_add(&counter, 1));
    for (int tries = 0; there && tries < 20; tries++) {
        TRY(make(lock, &there, error));
        if (!there)
            break;
        read_small(path, seen, sizeof seen);
        if (stat(path, &s) != 0)
            continue; /* given back in between */
        const double age = difftime(time(NULL), s.st_mtime);
        if (!owner_is_dead(seen) && age < STALE_SECONDS)
            FAIL(JSC_E_FILE,
                 "%s: another process writes this chunk (%.80s, last heard of %.0f s ago); let it finish, or give each worker a shard of "
                 "its own",
                 path, seen, age > 0.0 ? age : 0.0);
        TRY(remove_dead(lock, seen, error));
    }
    if (there)
        FAIL(JSC_E_FILE, "%s: other processes take this lock again and again; start one worker for each shard", path);
    *out = lock, lock = NULL;
done:
    if (lock != NULL && lock->fd >= 0)
        (void)close(lock->fd);
    if (lock != NULL)
        mem_free(lock->path);
    mem_free(lock);
    return status;
}

static bool is_ours(const struct chunk_lock *lock)
{
    char now[TEXT_MAX];
    read_small(lock->path, now, sizeof now);
    return strcmp(now, lock->text) == 0;
}

jsc_status chunk_lock_beat(const struct chunk_lock *lock, jsc_error *error)
{
    if (!is_ours(lock))
        return status_set(error, JSC_E_FILE,
                          "%s: another process has taken this chunk over, after five minutes without a heartbeat of this one", lock->path);
    (void)futimens(lock->fd, NULL);
    return JSC_OK;
}

void chunk_lock_give(struct chunk_lock *lock)
{
    if (lock == NULL)
        return;
    if (is_ours(lock))
        (void)unlink(lock->path);
    (void)close(lock->fd);
    mem_free(lock->path);
    mem_free(lock);
}
