/* file.c: whole files mapped read-only, and files written so that the final name never shows half a file. */
#include "files_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

bool path_is_directory(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 && S_ISDIR(s.st_mode);
}

bool path_exists(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0;
}

jsc_status path_join(const char *directory, const char *name, char **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    const size_t n = strlen(directory), m = strlen(name), slash = n > 0 && directory[n - 1] != '/' ? 1 : 0;
    char *path = NULL;
    TRY(mem_new(&path, n + slash + m + 1, error));
    memcpy(path, directory, n);
    if (slash)
        path[n] = '/';
    memcpy(path + n + slash, name, m);
    *out = path;
done:
    return status;
}

/* ---- reading --------------------------------------------------------------------------------------------------------------- */

/* Everything up to the end; size is a hint. For pipes, /proc and file systems that cannot map. */
static jsc_status read_all(struct file *file, int fd, size_t size, jsc_error *error)
{
    jsc_status status = JSC_OK;
    char *bytes = NULL;
    size_t n = 0, capacity = 0;
    TRY(mem_reserve(&bytes, &capacity, size + 1, error));
    for (;;) {
        if (n == capacity)
            TRY(mem_reserve(&bytes, &capacity, n + 1, error));
        const ssize_t got = read(fd, bytes + n, capacity - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            FAIL(JSC_E_FILE, "%s: reading failed after %zu bytes: %s", file->path, n, strerror(errno));
        if (got == 0)
            break;
        n += (size_t)got;
    }
    file->bytes = (unsigned char *)bytes;
    file->size = n;
    bytes = NULL;
done:
    mem_free(bytes);
    return status;
}

jsc_status file_open(const char *path, struct file **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct file *file = NULL;
    struct stat s;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        FAIL(JSC_E_FILE, "%s: cannot be opened: %s", path, strerror(errno));
    if (fstat(fd, &s) != 0)
        FAIL(JSC_E_FILE, "%s: cannot be examined: %s", path, strerror(errno));
    if (S_ISDIR(s.st_mode))
        FAIL(JSC_E_FILE, "%s: is a folder, a file is wanted", path);
    TRY(mem_new(&file, 1, error));
    TRY(mem_strdup(&file->path, path, error));
    if (S_ISREG(s.st_mode) && s.st_size > 0 && (uint64_t)s.st_size <= PTRDIFF_MAX) {
        void *map = mmap(NULL, (size_t)s.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (map != MAP_FAILED) {
            file->bytes = map;
            file->size = (size_t)s.st_size;
            file->mapped = true;
        }
    }
    if (!file->mapped)
        TRY(read_all(file, fd, S_ISREG(s.st_mode) ? (size_t)s.st_size : 0, error));
    *out = file;
    file = NULL;
done:
    file_close(file);
    if (fd >= 0)
        (void)close(fd);
    return status;
}

void file_close(struct file *file)
{
    if (file == NULL)
        return;
    if (file->mapped)
        (void)munmap((void *)(uintptr_t)file->bytes, file->size);
    else
        mem_free((void *)(uintptr_t)file->bytes);
    mem_free(file->path);
    mem_free(file);
}

/* ---- writing --------------------------------------------------------------------------------------------------------------- */

#define BUFFER 65536

struct file_writer {
    char *path;      /* as the caller named it, for messages */
    char *target;    /* what is replaced: path with its links followed; NULL if written straight */
    char *temporary; /* NULL if written straight */
    int fd;
    size_t n;
    char buffer[BUFFER];
};

/* Number of an open descriptor that path stands for, or -1. Opening /dev/stdout anew would start at the file's beginning and overwrite
 * what the shell's `>` file already holds: such a descriptor is duplicated instead. */
static int descriptor_of(const char *path)
{
    static const char *const prefixes[] = {"/dev/fd/", "/proc/self/fd/"};
    if (strcmp(path, "/dev/stdout") == 0)
        return STDOUT_FILENO;
    if (strcmp(path, "/dev/stderr") == 0)
        return STDERR_FILENO;
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        const size_t n = strlen(prefixes[i]);
        char *end = NULL;
        if (strncmp(path, prefixes[i], n) != 0 || path[n] < '0' || path[n] > '9')
            continue;
        const long fd = strtol(path + n, &end, 10);
        if (*end == '\0' && fd <= INT_MAX)
            return (int)fd;
    }
    return -1;
}

/* The name to replace. A symbolic link keeps standing and what it points to is replaced. */
static jsc_status find_target(struct file_writer *w, bool *exists, struct stat *s, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct stat link;
    char *real = NULL;
    *exists = stat(w->path, s) == 0;
    if (!*exists) {
        if (lstat(w->path, &link) == 0)
            FAIL(JSC_E_FILE, "%s: is a link to a file that does not exist; remove it or name the file itself", w->path);
        TRY(mem_strdup(&w->target, w->path, error));
        goto done;
    }
    if (S_ISDIR(s->st_mode))
        FAIL(JSC_E_FILE, "%s: is a folder, name a file in it", w->path);
    if (!S_ISREG(s->st_mode))
        goto done;
    if (access(w->path, W_OK) != 0)
        FAIL(JSC_E_FILE, "%s: cannot be replaced: %s", w->path, strerror(errno));
    real = realpath(w->path, NULL);
    if (real == NULL)
        FAIL(JSC_E_FILE, "%s: cannot be found: %s", w->path, strerror(errno));
    TRY(mem_strdup(&w->target, real, error));
done:
    free(real); /* allowed: realpath allocated it */
    return status;
}

/* A new file beside the target (the same file system, so that rename is atomic). O_EXCL: never an existing file or a planted link. */
static jsc_status open_temporary(struct file_writer *w, jsc_error *error)
{
    jsc_status status = JSC_OK;
    static atomic_uint counter;
    const char *slash = strrchr(w->target, '/');
    const size_t folder = slash != NULL ? (size_t)(slash - w->target) + 1 : 0, capacity = folder + 64;
    TRY(mem_new(&w->temporary, capacity, error));
    memcpy(w->temporary, w->target, folder);
    for (int tries = 0; w->fd < 0; tries++) {
        (void)snprintf(w->temporary + folder, capacity - folder, ".jscopes-%ld-%u.part", (long)getpid(), atomic_fetch_add(&counter, 1));
        w->fd = open(w->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (w->fd < 0 && (errno != EEXIST || tries == 1000)) {
            const int reason = errno;
            mem_free(w->temporary);
            w->temporary = NULL;
            FAIL(JSC_E_FILE, "%s: no file can be made in its folder: %s", w->path, strerror(reason));
        }
    }
done:
    return status;
}

jsc_status file_writer_open(const char *path, struct file_writer **out, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct file_writer *w = NULL;
    struct stat s;
    bool exists = false;
    TRY(mem_new(&w, 1, error));
    w->fd = -1;
    TRY(mem_strdup(&w->path, path, error));
    const int descriptor = descriptor_of(path);
    if (descriptor >= 0) {
        w->fd = fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
        if (w->fd < 0)
            FAIL(JSC_E_FILE, "%s: is not open: %s", path, strerror(errno));
    } else {
        TRY(find_target(w, &exists, &s, error));
        if (w->target == NULL)
            w->fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
        else
            TRY(open_temporary(w, error));
        if (w->fd < 0)
            FAIL(JSC_E_FILE, "%s: cannot be opened for writing: %s", path, strerror(errno));
        if (w->target != NULL && exists) {
            /* the owner can be kept by root only; then the file stays the caller's, as if it were new */
            if (s.st_uid != geteuid() || s.st_gid != getegid())
                (void)!fchown(w->fd, s.st_uid, s.st_gid);
            if (fchmod(w->fd, s.st_mode & 0777) != 0)
                FAIL(JSC_E_FILE, "%s: its permissions cannot be kept: %s", path, strerror(errno));
        }
    }
    *out = w;
    w = NULL;
done:
    file_writer_abort(w);
    return status;
}

static jsc_status write_all(struct file_writer *w, const char *bytes, size_t n, jsc_error *error)
{
    while (n > 0) {
        const ssize_t put = write(w->fd, bytes, n);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return status_set(error, JSC_E_FILE, "%s: writing failed: %s", w->path, strerror(put == 0 ? EIO : errno));
        bytes += put;
        n -= (size_t)put;
    }
    return JSC_OK;
}

jsc_status file_writer_write(struct file_writer *w, const void *bytes, size_t n, jsc_error *error)
{
    jsc_status status = JSC_OK;
    if (n > BUFFER - w->n) {
        TRY(write_all(w, w->buffer, w->n, error));
        w->n = 0;
    }
    if (n > BUFFER)
        return write_all(w, bytes, n, error);
    if (n > 0)
        memcpy(w->buffer + w->n, bytes, n);
    w->n += n;
done:
    return status;
}

jsc_status file_writer_commit(struct file_writer *w, jsc_error *error)
{
    jsc_status status = JSC_OK;
    TRY(write_all(w, w->buffer, w->n, error));
    if (w->temporary != NULL && fsync(w->fd) != 0)
        FAIL(JSC_E_FILE, "%s: writing failed: %s", w->path, strerror(errno));
    const int fd = w->fd;
    w->fd = -1;
    if (close(fd) != 0 && errno != EINTR) /* EINTR: Linux has closed it */
        FAIL(JSC_E_FILE, "%s: closing failed: %s", w->path, strerror(errno));
    if (w->temporary != NULL) {
        if (rename(w->temporary, w->target) != 0)
            FAIL(JSC_E_FILE, "%s: cannot be replaced: %s", w->path, strerror(errno));
        mem_free(w->temporary); /* nothing left to remove */
        w->temporary = NULL;
    }
done:
    file_writer_abort(w);
    return status;
}

void file_writer_abort(struct file_writer *w)
{
    if (w == NULL)
        return;
    if (w->fd >= 0)
        (void)close(w->fd);
    if (w->temporary != NULL)
        (void)unlink(w->temporary);
    mem_free(w->temporary);
    mem_free(w->target);
    mem_free(w->path);
    mem_free(w);
}
