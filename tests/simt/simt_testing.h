/* simt_testing.h: for the emulator's own tests: device arrays from host vectors, every order of threads, what a report must say. */
#ifndef SIMT_TESTING_H
#define SIMT_TESTING_H

#include "simt.h"

#include "ptx.cuh"

#ifdef __SANITIZE_THREAD__
#include "simt_runner.h"
#else
#include <criterion/criterion.h>
#endif
#include <cstring>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

static const unsigned test_seeds[] = {0, 1, 2, 3, 7};
#define FOR_EACH_SEED(s) for (const unsigned s : test_seeds) if ((simt_settings.seed = s, true))

/* A device array; elements begin as bytes of 0xFF. */
template <class T>
struct device_array {
    T *data;
    size_t n;
    explicit device_array(size_t count) : data(nullptr), n(count) { cr_assert(cudaMalloc(&data, count * sizeof(T)) == cudaSuccess, "device memory"); }
    explicit device_array(const std::vector<T> &host) : device_array(host.size())
    {
        cr_assert(cudaMemcpy(data, host.data(), n * sizeof(T), cudaMemcpyHostToDevice) == cudaSuccess, "copy to the device");
    }
    device_array(const device_array &) = delete;
    ~device_array() { cudaFree(data); }
    std::vector<T> get() const
    {
        std::vector<T> host(n);
        cr_assert(cudaMemcpy(host.data(), data, n * sizeof(T), cudaMemcpyDeviceToHost) == cudaSuccess, "copy from the device: %s", simt_message());
        return host;
    }
};

/* Small whole numbers: products and sums are exact in any order. */
static inline float whole(size_t i)
{
    return (float)((int)(i * 2654435761u >> 20 & 15) - 7);
}
static inline std::vector<float> whole_floats(size_t n, size_t from = 0)
{
    std::vector<float> x(n);
    for (size_t i = 0; i < n; i++)
        x[i] = whole(i + from);
    return x;
}
static inline std::vector<bf16> whole_bf16(size_t n, size_t from = 0)
{
    std::vector<bf16> x(n);
    for (size_t i = 0; i < n; i++)
        x[i] = bf16_of(whole(i + from));
    return x;
}

/* What a child process that runs f says on standard error, and in reports of a sanitizer. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
extern "C" void __sanitizer_set_report_fd(void *fd);
#endif
template <class F>
static std::string said_by_child(F f, int *status)
{
    int ends[2];
    std::string text;
    char piece[4096];
    cr_assert(pipe(ends) == 0, "pipe");
    const pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        dup2(ends[1], 2);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
        __sanitizer_set_report_fd(reinterpret_cast<void *>((intptr_t)ends[1]));
#endif
        f();
        _exit(0);
    }
    close(ends[1]);
    for (ssize_t n; (n = read(ends[0], piece, sizeof piece)) > 0;)
        text.append(piece, (size_t)n);
    close(ends[0]);
    waitpid(child, status, 0);
    return text;
}

/* The fault's report holds the word; afterwards it is forgotten. */
static inline void expect_report(const char *word, const char *what)
{
    cr_expect(strstr(simt_message(), word) != nullptr, "%s: the report \"%s\" does not say \"%s\"", what, simt_message(), word);
    simt_reset();
}
static inline void expect_no_report(const char *what)
{
    cr_expect(simt_message()[0] == 0, "%s: %s", what, simt_message());
}

#endif
