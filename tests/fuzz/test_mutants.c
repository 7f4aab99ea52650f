/* test_mutants.c: 500 damaged checkpoints of each kind end with a clear error or are read, without crash, hang or much memory.
 *
 *   test_mutants [KIND [NUMBER]]     one kind, one mutant (its error is printed, its file kept as mutant.bin)
 *
 * Each mutant is parsed in a process of its own, so that a crash names it and its peak memory is its own. */
#include "mutate.h"
#include "parse_all.h"
#include "parse_report.h"
#include "support/fake_attribution.h"
#include "support/tiny_files.h"

#include <jscopes/jscopes.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define MUTANTS 500
#define SEED    20240917
#define SECONDS 60 /* for one mutant, under a sanitizer on a busy machine */
/* What a process needs beside the file: JSON tree nodes, compiled patterns, allocator pages; sanitizers keep freed memory. */
#if defined(__SANITIZE_ADDRESS__)
#define CONSTANT ((size_t)96 << 20)
#else
#define CONSTANT ((size_t)6 << 20)
#endif

static char folder[128];

/* Index and two shards, for mutants of the index. */
static void write_shards(void)
{
    struct strbuf s = {0};
    tiny_safetensors(&s,
                     "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},\"b\":{\"dtype\":\"F16\",\"shape\":[4],\"data_"
                     "offsets\":[24,32]}}",
                     32);
    tiny_write(tiny_path(folder, "model-00001-of-00002.safetensors"), s.text, s.n);
    strbuf_free(&s);
    s = (struct strbuf){0};
    tiny_safetensors(&s, "{\"c\":{\"dtype\":\"BF16\",\"shape\":[5],\"data_offsets\":[0,10]}}", 10);
    tiny_write(tiny_path(folder, "model-00002-of-00002.safetensors"), s.text, s.n);
    strbuf_free(&s);
}

static void make_index(struct strbuf *out)
{
    write_shards();
    strbuf_puts(out, "{\"metadata\":{\"total_size\":42},\"weight_map\":{\"a\":\"model-00001-of-00002.safetensors\","
                     "\"b\":\"model-00001-of-00002.safetensors\",\"c\":\"model-00002-of-00002.safetensors\"}}");
}

static void put_config(void)
{
    struct strbuf s = {0};
    tiny_llama_config(&s);
    tiny_write(tiny_path(folder, "config.json"), s.text, s.n);
    strbuf_free(&s);
}

static void make_safetensors(struct strbuf *out)
{
    put_config();
    tiny_llama_safetensors(out);
}

static void make_config(struct strbuf *out)
{
    struct strbuf s = {0};
    tiny_llama_safetensors(&s);
    tiny_write(tiny_path(folder, "model.safetensors"), s.text, s.n);
    strbuf_free(&s);
    tiny_llama_config(out);
}

static void make_sharded(struct strbuf *out)
{
    put_config();
    make_index(out);
}

/* A file of a tiny checkpoint of another family. */
static void read_family(const char *name, struct strbuf *out)
{
    char path[512];
    struct file *file = NULL;
    jsc_error error = {0};
    (void)snprintf(path, sizeof path, JSC_TEST_SOURCE "/tests/golden/families/%s", name);
    if (file_open(path, &file, &error) != JSC_OK) {
        fprintf(stderr, "%s\n", error.text);
        exit(1);
    }
    strbuf_add(out, (const char *)file->bytes, file->size);
    file_close(file);
}

/* Its config.json, with the good weights beside it. */
static void read_config_of(const char *name, struct strbuf *out)
{
    char path[128];
    struct strbuf weights = {0};
    (void)snprintf(path, sizeof path, "%s/model.safetensors", name);
    read_family(path, &weights);
    tiny_write(tiny_path(folder, "model.safetensors"), weights.text, weights.n);
    strbuf_free(&weights);
    (void)snprintf(path, sizeof path, "%s/config.json", name);
    read_family(path, out);
}
static void make_gemma3(struct strbuf *out)
{
    read_config_of("gemma3", out);
}
static void make_longrope(struct strbuf *out)
{
    read_config_of("phi3_longrope", out);
}
static void make_smollm3(struct strbuf *out)
{
    read_config_of("smollm3", out);
}
static void make_opt(struct strbuf *out)
{
    read_config_of("opt_post", out);
}
static void make_gemma3_gguf(struct strbuf *out)
{
    read_family("gemma3_twin.gguf", out);
}

/* A result with every table that fits together; after it one of Fisher, one of a path. */
static void make_results(struct strbuf *out)
{
    struct fake f;
    struct fake_text text;
    jsc_error error = {0};
    fake_init(&f);
    f.a.n_targets = f.a.n_scores = 2;
    f.a.contrast = f.contrast, f.a.objective = JSC_OBJECTIVE_CONTRAST;
    f.a.layers = f.layers, f.a.matrix = f.matrix, f.a.matrix_targets = f.matrix_targets;
    f.a.n_warnings = 1;
    for (int i = 0; i < 3; i++) {
        if (i == 2) {
            f.a.scope = JSC_SCOPE_PATH, f.a.stderrs = NULL, f.a.signed_scores = f.signed_scores;
            f.a.n_targets = 1, f.a.targets = f.targets;
            f.a.path.n_nodes = 2, f.a.path.alphas = f.eigenvalues, f.a.path.norms = f.scores;
        }
        if (fake_write(&f.a, "json", NULL, &text, &error) != JSC_OK)
            exit(1);
        strbuf_add(out, text.text, text.n);
        free(text.text);
        f.a.scope = JSC_SCOPE_FISHER, f.a.n_targets = 0, f.a.n_scores = 1, f.a.contrast = NULL, f.a.objective = JSC_OBJECTIVE_LOGIT;
        f.a.targets = NULL, f.a.matrix = NULL, f.a.matrix_targets = NULL;
        f.a.stderrs = f.stderrs, f.a.fisher.n_eigenvalues = 2, f.a.fisher.eigenvalues = f.eigenvalues, f.a.fisher.asked_adaptive = 1;
    }
}

/* A model that opens must also answer: a damaged number may make it another model, never one that crashes. */
static jsc_status open_and_ask(const char *path, jsc_error *error)
{
    jsc_status status = JSC_OK;
    jsc_model *model = NULL;
    jsc_attribution *answer = NULL;
    jsc_open_options options = JSC_OPEN_OPTIONS_INIT;
    jsc_request request = JSC_REQUEST_INIT;
    const int32_t ids[] = {0, 1, 0, 1, 0};
    options.device = "ref"; /* no library whose own memory would hide ours */
    request.scope = JSC_SCOPE_TEMPERATURE, request.ids = ids, request.n_ids = 5, request.layers = 1;
    TRY(jsc_model_open(path, &options, &model, error));
    TRY(jsc_attribute(model, &request, &answer, error));
done:
    jsc_attribution_free(answer);
    jsc_model_close(model);
    return status;
}

static jsc_status run_model_folder(const char *path, const unsigned char *bytes, size_t n, jsc_error *error)
{
    (void)path, (void)bytes, (void)n;
    return open_and_ask(folder, error);
}

static jsc_status run_model_file(const char *path, const unsigned char *bytes, size_t n, jsc_error *error)
{
    (void)bytes, (void)n;
    return open_and_ask(path, error);
}

static jsc_status run_folder(const char *path, const unsigned char *bytes, size_t n, jsc_error *error)
{
    (void)path, (void)bytes, (void)n;
    return parse_folder(folder, error);
}

static jsc_status run_gguf(const char *path, const unsigned char *bytes, size_t n, jsc_error *error)
{
    (void)bytes, (void)n;
    return parse_gguf(path, error);
}

static jsc_status run_tokenizer(const char *path, const unsigned char *bytes, size_t n, jsc_error *error)
{
    return parse_tokenizer(path, (const char *)bytes, n, error);
}

static jsc_status run_results(const char *path, const unsigned char *bytes, size_t n, jsc_error *error)
{
    (void)path;
    return parse_report((const char *)bytes, n, error);
}

static const struct kind {
    const char *name, *file;          /* the file that is damaged */
    void (*make)(struct strbuf *out); /* its good bytes; writes what belongs beside it */
    jsc_status (*run)(const char *path, const unsigned char *bytes, size_t n, jsc_error *error);
} kinds[] = {
    {"safetensors", "model.safetensors", make_safetensors, run_folder},
    {"index", "model.safetensors.index.json", make_sharded, run_folder},
    {"config", "config.json", make_config, run_folder},
    {"gguf", "model.gguf", tiny_llama_gguf, run_gguf},
    {"gguf_spm", "model.gguf", tiny_spm_gguf, run_gguf},
    {"tokenizer", "tokenizer.json", tiny_tokenizer, run_tokenizer},
    {"tokenizer_spm", "tokenizer.json", tiny_spm_tokenizer, run_tokenizer},
    {"model_gemma3", "config.json", make_gemma3, run_model_folder},
    {"model_longrope", "config.json", make_longrope, run_model_folder},
    {"model_smollm3", "config.json", make_smollm3, run_model_folder},
    {"model_opt", "config.json", make_opt, run_model_folder},
    {"model_gguf", "model.gguf", make_gemma3_gguf, run_model_file},
    {"results", "results.json", make_results, run_results},
};

static size_t peak_bytes(void)
{
    struct rusage u;
    return getrusage(RUSAGE_SELF, &u) == 0 ? (size_t)u.ru_maxrss * 1024 : 0;
}

/* In the child: exit code 0 accepted, 1 refused clearly, 2 and up: what is wrong. */
enum { ACCEPTED, REFUSED, UNCLEAR, GREEDY, LEAKS };

static int judge(const struct kind *k, const char *path, const unsigned char *bytes, size_t n, bool verbose)
{
    jsc_error error = {0};
    (void)alarm(SECONDS);
    const size_t before = peak_bytes(), live = mem_live_bytes();
    const jsc_status status = k->run(path, bytes, n, &error);
    const size_t grown = peak_bytes() - before;
    if (verbose)
        printf("%s: %s; %zu KiB\n", jsc_status_name(status), status == JSC_OK ? "accepted" : error.text, grown / 1024);
    if (mem_live_bytes() != live)
        return LEAKS;
    if (grown > 4 * n + CONSTANT)
        return GREEDY;
    if (status == JSC_OK)
        return ACCEPTED;
    const bool clear = error.status == status && strlen(error.text) > 15 && strpbrk(error.text, "\n\r") == NULL &&
                       strstr(error.text, ": ") != NULL && utf8_check(error.text, strlen(error.text)) == strlen(error.text) &&
                       status != JSC_E_MEMORY && status != JSC_E_INTERNAL;
    return clear ? REFUSED : UNCLEAR;
}

/* Exit code of judge in a process of its own, or 128 + signal. */
static int judge_apart(const struct kind *k, const char *path, const unsigned char *bytes, size_t n, bool verbose)
{
    int status = 0;
    (void)fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        const int result = judge(k, path, bytes, n, verbose);
        (void)fflush(stdout);
        _exit(result); /* judge has looked for leaks; a second look at exit takes the parent's buffers for some, and 0.2 s */
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        return 127;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Number of mutants that failed; only the given one if number >= 0. */
static int run_kind(const struct kind *k, long number)
{
    struct strbuf good = {0};
    int counts[2] = {0}, failed = 0;
    tiny_folder(folder);
    k->make(&good);
    const char *path = tiny_path(folder, k->file);
    const size_t capacity = good.n + 4096;
    unsigned char *bytes = malloc(capacity);
    for (long i = -1; i < MUTANTS; i++) { /* -1: undamaged */
        size_t n = good.n;
        if (number >= 0 && i != number)
            continue;
        memcpy(bytes, good.text, n);
        if (i >= 0)
            mutate(bytes, &n, capacity, SEED, (uint64_t)i);
        tiny_write(path, bytes, n);
        if (number >= 0)
            tiny_write("mutant.bin", bytes, n);
        const int result = judge_apart(k, path, bytes, n, number >= 0);
        if (result <= REFUSED)
            counts[result]++;
        if (result > REFUSED || (i < 0 && result != ACCEPTED)) {
            static const char *const what[] = {"accepted", "refused", "no clear error", "too much memory", "memory leak"};
            printf("%s %ld: %s %d (test_mutants %s %ld shows it)\n", k->name, i, result <= LEAKS ? what[result] : "crash or hang", result,
                   k->name, i);
            failed++;
        }
    }
    printf("%s: %d accepted, %d refused, %d wrong\n", k->name, counts[ACCEPTED], counts[REFUSED], failed);
    free(bytes);
    strbuf_free(&good);
    tiny_remove(folder);
    return failed;
}

int main(int argc, char **argv)
{
    int failed = 0;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (argc < 2 || strcmp(argv[1], kinds[i].name) == 0)
            failed += run_kind(&kinds[i], argc > 2 ? strtol(argv[2], NULL, 10) : -1);
    return failed == 0 ? 0 : 1;
}
