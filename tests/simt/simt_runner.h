/* simt_runner.h: Criterion's few words for the thread sanitizer, with which Criterion itself cannot start: a process per test. */
#ifndef SIMT_RUNNER_H
#define SIMT_RUNNER_H

#include <cstdio>
#include <cstdlib>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

struct simt_test {
    const char *name;
    void (*run)();
    static std::vector<simt_test> &all()
    {
        static std::vector<simt_test> tests;
        return tests;
    }
    simt_test(const char *n, void (*r)()) : name(n), run(r) { all().push_back(*this); }
};
static int simt_failures;

/* A program has one suite; of its options, init is called before each test. */
struct simt_suite {
    void (*init)();
};
static simt_suite simt_options;
#define TestSuite(suite, ...) static const bool suite##_options = (simt_options = simt_suite{__VA_ARGS__}, true)
#define Test(suite, test, ...)                                                          \
    static void suite##_##test();                                                       \
    static const struct simt_test suite##_##test##_entry(#suite "::" #test, suite##_##test); \
    static void suite##_##test()
#define cr_expect(condition, ...)                                  \
    do                                                             \
        if (!(condition)) {                                        \
            printf("%s:%d: ", __FILE__, __LINE__);                 \
            printf(__VA_ARGS__);                                   \
            printf("\n");                                          \
            simt_failures++;                                       \
        }                                                          \
    while (0)
#define cr_assert(condition, ...)                                  \
    do {                                                           \
        cr_expect(condition, __VA_ARGS__);                         \
        if (simt_failures)                                         \
            fflush(stdout), _exit(1);                              \
    } while (0)

/* A sanitizer's report makes the child exit with another status than 0. */
int main()
{
    int failed = 0;
    for (const simt_test &test : simt_test::all()) {
        int status;
        fflush(stdout);
        const pid_t child = fork();
        if (child == 0) {
            if (simt_options.init != nullptr)
                simt_options.init();
            test.run();
            exit(simt_failures != 0);
        }
        waitpid(child, &status, 0);
        printf("[%s] %s\n", status == 0 ? "PASS" : "FAIL", test.name);
        failed += status != 0;
    }
    printf("Tested: %zu | Passing: %zu | Failing: %d\n", simt_test::all().size(), simt_test::all().size() - (size_t)failed, failed);
    return failed != 0;
}

#endif
