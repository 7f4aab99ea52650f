/* bench_load.c: opening a model, against what this machine takes to read the file and to fill as much fresh memory as the weights take. */
#include "bench.h"

#include <omp.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE      ((size_t)1 << 20)
#define FILES_MOST 256

/* The files that hold weights, and how much memory they become. */
struct bare {
    int files[FILES_MOST], n, threads;
    size_t sizes[FILES_MOST], memory;
};

static void add_file(struct bare *b, const char *path)
{
    struct stat s;
    if (b->n == FILES_MOST || (b->files[b->n] = open(path, O_RDONLY | O_CLOEXEC)) < 0)
        return;
    if (fstat(b->files[b->n], &s) == 0)
        b->sizes[b->n++] = (size_t)s.st_size;
}

static void find_files(struct bare *b, const char *path)
{
    DIR *d = opendir(path);
    if (d == NULL) {
        add_file(b, path);
        return;
    }
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        char file[4608];
        const char *dot = strrchr(e->d_name, '.');
        if (dot != NULL && strcmp(dot, ".safetensors") == 0 && snprintf(file, sizeof file, "%s/%s", path, e->d_name) < (int)sizeof file)
            add_file(b, file);
    }
    (void)closedir(d);
}

/* Each thread reads its pieces of every file, then writes its part of fresh memory; nothing is kept. */
static void read_and_fill(void *context)
{
    const struct bare *b = context;
    char *fresh = mmap(NULL, b->memory, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fresh == MAP_FAILED) {
        (void)fputs("bench: no memory for the load row\n", stderr);
        exit(1);
    }
    (void)madvise(fresh, b->memory, MADV_HUGEPAGE);
#pragma omp parallel num_threads(b->threads)
    {
        char *piece = bench_memory(PIECE);
        for (int f = 0; f < b->n; f++)
#pragma omp for schedule(static) nowait
            for (size_t at = 0; at < b->sizes[f]; at += PIECE)
                if (pread(b->files[f], piece, PIECE, (off_t)at) < 0)
                    piece[0] = 1; /* a file that is not there any more is seen by the load row */
#pragma omp for schedule(static)
        for (size_t at = 0; at < b->memory; at += PIECE)
            memset(fresh + at, piece[0] | 1, b->memory - at < PIECE ? b->memory - at : PIECE);
        mem_free(piece);
    }
    (void)munmap(fresh, b->memory);
}

void bench_load(const struct bench *bench, const struct whole *w, struct row *load)
{
    static struct bare b;
    struct row row = {.section = load->section, .group = load->group, .name = "  read and fill"};
    b = (struct bare){.threads = bench->threads > 0 ? bench->threads : omp_get_max_threads(), .memory = (size_t)w->info.weight_bytes};
    (void)snprintf(load->shape, sizeof load->shape, "%.1fM %s", (double)w->info.parameters * 1e-6, w->info.format);
    load->bytes = (double)w->info.file_bytes + (double)w->info.weight_bytes;
    bench_print_row(bench, load);
    if (strncmp(bench->ops->name, "cuda", 4) == 0) /* fills a card's memory, not this machine's */
        return;
    find_files(&b, w->path);
    bench_time(bench, read_and_fill, &b, &row);
    for (int f = 0; f < b.n; f++)
        (void)close(b.files[f]);
    row.bytes = load->bytes;
    bench_print_row(bench, &row);
    if (!bench->json)
        printf("  load: %.2f GB/s of the file, %.2f GB/s of weights; read and fill takes %.2f of its time\n",
               (double)w->info.file_bytes * 1e-9 / load->best, (double)w->info.weight_bytes * 1e-9 / load->best, row.best / load->best);
}
