/* test_file.c: mapped and piped reading; writing that leaves either the old file or the whole new one. */
#include "support/refusal.h"
#include "support/tiny_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[128];

static void setup(void)
{
    tiny_folder(folder);
}

static void teardown(void)
{
    tiny_remove(folder);
}

TestSuite(file, .init = setup, .fini = teardown, .timeout = 60);

static int entries(void)
{
    int n = 0;
    DIR *d = opendir(folder);
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d))
        n += e->d_name[0] != '.' || strlen(e->d_name) > 2;
    (void)closedir(d);
    return n;
}

static bool holds(const char *path, const char *text)
{
    struct file *f = NULL;
    const bool same = file_open(path, &f, NULL) == JSC_OK && f->size == strlen(text) && memcmp(f->bytes, text, f->size) == 0;
    file_close(f);
    return same;
}

static jsc_status save(const char *path, const char *text, jsc_error *error)
{
    struct file_writer *w = NULL;
    jsc_status status = file_writer_open(path, &w, error);
    if (status != JSC_OK)
        return status;
    status = file_writer_write(w, text, strlen(text), error);
    if (status == JSC_OK)
        return file_writer_commit(w, error);
    file_writer_abort(w);
    return status;
}

Test(file, reads_what_was_written)
{
    struct file *f = NULL;
    jsc_error error = {0};
    tiny_write(tiny_path(folder, "a"), "hello", 5);
    cr_assert(eq(int, file_open(tiny_path(folder, "a"), &f, &error), JSC_OK), "%s", error.text);
    cr_expect(f->size == 5 && f->mapped && memcmp(f->bytes, "hello", 5) == 0 && strcmp(f->path, tiny_path(folder, "a")) == 0);
    file_close(f);
    tiny_write(tiny_path(folder, "empty"), "", 0);
    cr_assert(eq(int, file_open(tiny_path(folder, "empty"), &f, &error), JSC_OK));
    cr_expect(f->size == 0 && f->bytes != NULL);
    file_close(f);
    file_close(NULL);
}

Test(file, what_cannot_be_mapped_is_read)
{
    struct file *f = NULL;
    jsc_error error = {0};
    const char *fifo = tiny_path(folder, "fifo");
    cr_assert(mkfifo(fifo, 0600) == 0);
    const pid_t child = fork();
    if (child == 0) {
        const int fd = open(fifo, O_WRONLY);
        for (int i = 0; i < 30000; i++)
            if (write(fd, "0123456789", 10) != 10)
                _exit(1);
        _exit(close(fd));
    }
    cr_assert(eq(int, file_open(fifo, &f, &error), JSC_OK), "%s", error.text);
    cr_expect(f->size == 300000 && !f->mapped && memcmp(f->bytes + 299990, "0123456789", 10) == 0);
    file_close(f);
    int status = 0;
    cr_expect(waitpid(child, &status, 0) == child && status == 0);
    cr_assert(eq(int, file_open("/proc/self/status", &f, &error), JSC_OK)); /* its size reads 0 */
    cr_expect(f->size > 100);
    file_close(f);
}

Test(file, absent_files_and_folders)
{
    struct file *f = NULL;
    jsc_error error = {0};
    expect_refusal(file_open(tiny_path(folder, "none"), &f, &error), JSC_E_FILE, &error, "none: cannot be opened|No such file");
    expect_refusal(file_open(folder, &f, &error), JSC_E_FILE, &error, "is a folder");
    cr_expect(path_is_directory(folder) && !path_is_directory(tiny_path(folder, "none")) && path_exists(folder) &&
              !path_exists("/none/none"));
    char *joined = NULL;
    cr_assert(path_join("a/", "b", &joined, &error) == JSC_OK && strcmp(joined, "a/b") == 0);
    mem_free(joined);
    cr_assert(path_join("a", "b", &joined, &error) == JSC_OK && strcmp(joined, "a/b") == 0);
    mem_free(joined);
    cr_assert(path_join("", "b", &joined, &error) == JSC_OK && strcmp(joined, "b") == 0);
    mem_free(joined);
}

Test(file, replaces_at_commit_only)
{
    struct file_writer *w = NULL;
    jsc_error error = {0};
    char big[200000];
    memset(big, 'x', sizeof big);
    const char *path = tiny_path(folder, "out");
    tiny_write(path, "old", 3);
    cr_assert(eq(int, file_writer_open(path, &w, &error), JSC_OK), "%s", error.text);
    cr_assert(eq(int, file_writer_write(w, "a", 1, &error), JSC_OK));
    cr_assert(eq(int, file_writer_write(w, big, sizeof big, &error), JSC_OK));
    cr_assert(eq(int, file_writer_write(w, "z", 1, &error), JSC_OK));
    cr_expect(holds(path, "old") && entries() == 2);
    cr_assert(eq(int, file_writer_commit(w, &error), JSC_OK), "%s", error.text);
    struct file *f = NULL;
    cr_assert(file_open(path, &f, &error) == JSC_OK && f->size == sizeof big + 2 && f->bytes[0] == 'a' && f->bytes[sizeof big + 1] == 'z');
    file_close(f);
    cr_expect(entries() == 1);
    /* abort leaves the old file and nothing else */
    cr_assert(eq(int, save(path, "old", &error), JSC_OK));
    cr_assert(eq(int, file_writer_open(path, &w, &error), JSC_OK));
    cr_assert(eq(int, file_writer_write(w, big, sizeof big, &error), JSC_OK));
    file_writer_abort(w);
    file_writer_abort(NULL);
    cr_expect(holds(path, "old") && entries() == 1);
}

Test(file, case_44_full_disk)
{
    jsc_error error = {0};
    expect_refusal(save("/dev/full", "text", &error), JSC_E_FILE, &error, "/dev/full: writing failed: No space left");
    cr_expect(path_exists("/dev/full"));
    cr_expect(eq(int, save("/dev/null", "text", &error), JSC_OK));
    /* a limit on the file's size fails the write in the middle: the old file stays */
    const char *path = tiny_path(folder, "out");
    tiny_write(path, "old", 3);
    const pid_t child = fork();
    if (child == 0) {
        char big[200000] = {0};
        struct file_writer *w = NULL;
        (void)signal(SIGXFSZ, SIG_IGN);
        (void)setrlimit(RLIMIT_FSIZE, &(struct rlimit){1000, 1000});
        if (file_writer_open(path, &w, &error) != JSC_OK)
            _exit(2);
        const bool failed = file_writer_write(w, big, sizeof big, &error) == JSC_E_FILE && strstr(error.text, "writing failed") != NULL;
        file_writer_abort(w);
        _exit(failed ? 0 : 1);
    }
    int status = 0;
    cr_assert(waitpid(child, &status, 0) == child);
    cr_expect(eq(int, status, 0));
    cr_expect(holds(path, "old") && entries() == 1);
}

Test(file, commit_after_a_failed_write_leaves_nothing)
{
    const pid_t child = fork();
    jsc_error error = {0};
    if (child == 0) {
        struct file_writer *w = NULL;
        (void)signal(SIGXFSZ, SIG_IGN);
        (void)setrlimit(RLIMIT_FSIZE, &(struct rlimit){2, 2});
        if (file_writer_open(tiny_path(folder, "new"), &w, &error) != JSC_OK || file_writer_write(w, "buffered", 8, &error) != JSC_OK)
            _exit(2);
        _exit(file_writer_commit(w, &error) == JSC_E_FILE ? 0 : 1);
    }
    int status = 0;
    cr_assert(waitpid(child, &status, 0) == child);
    cr_expect(eq(int, status, 0));
    cr_expect(entries() == 0);
}

Test(file, permissions)
{
    struct stat s;
    jsc_error error = {0};
    const char *path = tiny_path(folder, "out");
    (void)umask(027);
    cr_assert(eq(int, save(path, "1", &error), JSC_OK));
    cr_assert(stat(path, &s) == 0 && (s.st_mode & 0777) == 0640, "a new file follows the umask: %o", s.st_mode & 0777);
    cr_assert(chmod(path, 0604) == 0);
    cr_assert(eq(int, save(path, "2", &error), JSC_OK));
    cr_assert(stat(path, &s) == 0 && (s.st_mode & 0777) == 0604, "an old file keeps its own: %o", s.st_mode & 0777);
    cr_expect(holds(path, "2"));
    if (geteuid() != 0) { /* root may write everything */
        cr_assert(chmod(path, 0400) == 0);
        expect_refusal(save(path, "3", &error), JSC_E_FILE, &error, "out|Permission denied");
    }
}

Test(file, links_folders_and_absent_folders)
{
    struct stat s;
    jsc_error error = {0};
    tiny_write(tiny_path(folder, "target"), "old", 3);
    cr_assert(symlink("target", tiny_path(folder, "link")) == 0 && symlink("nowhere", tiny_path(folder, "dangling")) == 0);
    cr_assert(eq(int, save(tiny_path(folder, "link"), "new", &error), JSC_OK), "%s", error.text);
    cr_expect(lstat(tiny_path(folder, "link"), &s) == 0 && S_ISLNK(s.st_mode) && holds(tiny_path(folder, "target"), "new"));
    expect_refusal(save(tiny_path(folder, "dangling"), "x", &error), JSC_E_FILE, &error, "dangling|link to a file that does not exist");
    expect_refusal(save(folder, "x", &error), JSC_E_FILE, &error, "is a folder");
    expect_refusal(save(tiny_path(folder, "none/x"), "x", &error), JSC_E_FILE, &error, "none/x: no file can be made in its folder");
    cr_expect(eq(int, entries(), 3));
}

Test(file, relative_names)
{
    jsc_error error = {0};
    char *before = getcwd(NULL, 0);
    cr_assert(chdir(folder) == 0);
    cr_expect(eq(int, save("plain", "x", &error), JSC_OK), "%s", error.text);
    cr_expect(holds("plain", "x"));
    cr_assert(chdir(before) == 0);
    free(before);
}

Test(file, pipes_and_standard_output_are_written_straight)
{
    jsc_error error = {0};
    const char *path = tiny_path(folder, "log");
    int ends[2];
    char got[16] = "";
    cr_assert(pipe(ends) == 0);
    (void)snprintf(got, sizeof got, "/dev/fd/%d", ends[1]);
    cr_expect(eq(int, save(got, "through", &error), JSC_OK), "%s", error.text);
    memset(got, 0, sizeof got);
    cr_expect(read(ends[0], got, sizeof got) == 7 && strcmp(got, "through") == 0);
    const pid_t child = fork();
    if (child == 0) { /* `program > log`: what stands there already stays */
        const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        if (dup2(fd, STDOUT_FILENO) < 0 || write(STDOUT_FILENO, "first ", 6) != 6)
            _exit(2);
        _exit(save("/dev/stdout", "second", NULL) == JSC_OK && write(STDOUT_FILENO, " third", 6) == 6 ? 0 : 1);
    }
    int status = 0;
    cr_expect(waitpid(child, &status, 0) == child && status == 0);
    cr_expect(holds(path, "first second third") && entries() == 1);
    expect_refusal(save("/dev/fd/999", "x", &error), JSC_E_FILE, &error, "/dev/fd/999: is not open");
}

Test(file, every_allocation_may_fail)
{
    tiny_write(tiny_path(folder, "a"), "hello", 5);
    const size_t before = mem_live_bytes();
    for (long k = 1; k < 20; k++) {
        struct file *f = NULL;
        struct file_writer *w = NULL;
        jsc_error error = {0};
        mem_fail_at(k, false);
        jsc_status status = file_open(tiny_path(folder, "a"), &f, &error);
        if (status == JSC_OK)
            status = file_writer_open(tiny_path(folder, "a"), &w, &error);
        mem_fail_at(0, false);
        file_close(f);
        file_writer_abort(w);
        cr_assert(mem_live_bytes() == before && entries() == 1, "allocation %ld leaks", k);
        if (status == JSC_OK) {
            cr_expect(k > 5);
            break;
        }
        expect_refusal(status, JSC_E_MEMORY, &error, "memory");
    }
}
