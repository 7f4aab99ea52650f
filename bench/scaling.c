/* scaling.c: how one request would scale over several devices, computed: replicas that share its right-hand sides, or stages of one model.
 *
 * Chunks, forms, FLOPs, bytes and the blocks of each stage are the library's own plan for a card that is not there (paper.c). Seconds follow
 * from its cost of a pull-back, in FLOPs of a large product, at a stated rate; nothing here was measured. */
#include "bench.h"

#include "scopes_internal.h"
#include "support/sparse_checkpoint.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TERMS       2.0 /* a forward product is two of bfloat16 */
#define FACTOR_SIDE 1024

static const int device_counts[] = {1, 2, 4, 8};
enum { N_COUNTS = sizeof device_counts / sizeof *device_counts, DEVICES_MOST = 8 };

/* Published sizes. */
static const struct shape {
    const char *name;
    struct sparse_sizes sizes;
} shapes[] = {
    {"Llama-3.2-1B", {.layers = 16, .d = 2048, .f = 8192, .heads = 32, .kv_heads = 8, .vocabulary = 128256}},
    {"Llama-3.1-8B", {.layers = 32, .d = 4096, .f = 14336, .heads = 32, .kv_heads = 8, .vocabulary = 128256, .own_head = true}},
    {"Llama-3.1-70B", {.layers = 80, .d = 8192, .f = 28672, .heads = 64, .kv_heads = 8, .vocabulary = 128256, .own_head = true}},
};

/* Between two devices, bytes a second each way. */
static const struct link {
    const char *name;
    double bytes;
} links[] = {{"nvlink", 450e9}, {"pcie", 50e9}};
enum { N_LINKS = sizeof links / sizeof *links };

/* Of each device, and whose they are. */
struct rates {
    double gflops, gbytes; /* a second */
    const char *of;
};

/* What a scope pulls back, one pull after the other: exact Fisher the whole factor; adaptive Fisher what SmolLM2 needs for 2 % on the default
 * prompt, with the tangents (forward passes) that its second stage costs. grads: gradients are gathered too. */
static const struct pulls {
    const char *name;
    int n, sides[5]; /* sides 0: d */
    bool grads[5];
    int tangents;
} scopes_pulled[] = {
    {"fisher, exact", 1, {0}, {false}, 0},
    {"fisher, adaptive", 5, {8, 16, 16, 16, 9}, {false, true, false, true, false}, 16},
};

/* One line of either table. */
struct line {
    const char *model, *scope, *way; /* "replicas", "stages" */
    int tokens, devices, sides;      /* right-hand sides of one device, in its largest pull, */
    int chunk, chunks;               /* in chunks of so many */
    const char *form;
    double forward_flops, backward_flops; /* of one device */
    double passed;                        /* bytes that one device receives */
    double passed_chunk;                  /* stages: of them, with one chunk */
    double weights, beyond;               /* bytes of the fullest device */
    int blocks_least, blocks_most;        /* stages */
    double bubble;
    double seconds[N_LINKS], alone; /* alone: of the least devices that hold the model, with nothing to pass */
    int alone_devices;
};

/* Of the Cholesky factor of a d x d matrix. */
static double factor_flops(int d)
{
    return 2.0 / 3.0 * (double)d * d * d;
}

static jsc_model *open_paper(const char *path, int stages, jsc_error *error)
{
    char devices[DEVICES_MOST * sizeof PAPER_DEVICE] = PAPER_DEVICE;
    jsc_open_options options = JSC_OPEN_OPTIONS_INIT;
    jsc_model *model = NULL;
    for (int i = 1; i < stages; i++)
        strcat(devices, "+" PAPER_DEVICE);
    options.device = devices;
    options.precision = JSC_PRECISION_FAST;
    options.without_weights = 1;
    return jsc_model_open(path, &options, &model, error) == JSC_OK ? model : NULL;
}

/* Exact Fisher's plan, whose trace serves every pull; false: it does not fit. */
static bool plan_exact(const jsc_model *model, int T, jsc_plan *plan)
{
    jsc_request request = JSC_REQUEST_INIT;
    jsc_error error;
    request.scope = JSC_SCOPE_FISHER;
    request.fisher_mode = JSC_FISHER_EXACT;
    request.n_ids = (size_t)T;
    *plan = (jsc_plan)JSC_PLAN_INIT;
    const jsc_status status = jsc_plan_make(model, &request, plan, &error);
    if (status != JSC_E_MEMORY)
        bench_ok(status, &error, "plan");
    return status == JSC_OK;
}

/* FLOPs and form of B right-hand sides at once. */
static void plan_part(const jsc_model *model, int T, int B, jsc_plan *plan)
{
    const struct work work = {.T = T, .S = 1, .n_rhs = B, .head_rows = 1, .chunk = B};
    jsc_error error;
    *plan = (jsc_plan)JSC_PLAN_INIT;
    bench_ok(plan_compute(model, &work, plan, &error), &error, "plan");
}

/* Seconds of the forward pass and of n tangents, which go through the same layers together. */
static double forward_seconds(const struct rates *rates, const jsc_plan *plan, int tangents)
{
    const double flops = TERMS * plan->forward_flops / (rates->gflops * 1e9), reading = (double)plan->weight_bytes / (rates->gbytes * 1e9);
    const double once = flops > reading ? flops : reading, more = tangents * flops;
    return once + (tangents == 0 || more > reading ? more : reading);
}

static int sides_of(const jsc_model *model, const struct pulls *pulls, int i)
{
    return pulls->sides[i] > 0 ? pulls->sides[i] : model->d;
}

/* ---- replicas ---------------------------------------------------------------------------------------------------------------------- */

/* Forward passes for tangents that one of n devices runs: whole ones, several tangents in each. */
static int tangents_share(const struct pulls *pulls, int T, int n)
{
    if (pulls->tangents == 0)
        return 0;
    const int most = tangents_at_once(T, pulls->tangents), passes = (pulls->tangents + most - 1) / most;
    const int own = (passes + n - 1) / n * most;
    return own < pulls->tangents ? own : pulls->tangents;
}

/* Each device has the whole model, runs the forward pass, and its share of the tangents and of every pull. */
static void replicas(const jsc_model *model, const struct rates *rates, const jsc_plan *plan, const struct pulls *pulls, struct line *line)
{
    const int n = line->devices, T = line->tokens;
    double pull = 0.0;
    for (int i = 0; i < pulls->n; i++) {
        const int all = sides_of(model, pulls, i), chunk = job_share(all, n, plan->chunk), turns = (all + n * chunk - 1) / (n * chunk);
        const double part = (double)sizeof(double) * T * chunk * (1.0 + (pulls->grads[i] ? model->d : 0.0));
        jsc_plan own;
        plan_part(model, T, chunk, &own);
        line->backward_flops += turns * own.backward_flops;
        line->passed += turns * (n - 1) * part;
        pull += turns * pull_cost(model, 1, T, chunk) / (rates->gflops * 1e9);
        if (chunk * turns > line->sides) {
            line->sides = chunk * turns, line->chunk = chunk, line->chunks = turns;
            line->form = jsc_mlp_form_name(own.mlp_form);
        }
    }
    const int tangents = tangents_share(pulls, T, n);
    line->forward_flops = plan->forward_flops * (1 + tangents);
    line->weights = (double)plan->weight_bytes, line->beyond = (double)plan->peak_bytes;
    for (int l = 0; l < N_LINKS; l++)
        line->seconds[l] = forward_seconds(rates, plan, tangents) + pull + line->passed / links[l].bytes;
}

/* ---- stages ------------------------------------------------------------------------------------------------------------------------ */

static void fullest_stage(const jsc_model *model, const jsc_plan *plan, struct line *line)
{
    line->blocks_least = model->L;
    for (int i = 0; i < plan->stages; i++) {
        jsc_stage stage;
        jsc_error error;
        bench_ok(jsc_plan_stage(model, plan, i, &stage, &error), &error, "stage");
        const int blocks = stage.end_block - stage.first_block;
        const double weights = (double)stage.weight_bytes, beyond = (double)stage.peak_bytes;
        line->blocks_least = blocks < line->blocks_least ? blocks : line->blocks_least;
        line->blocks_most = blocks > line->blocks_most ? blocks : line->blocks_most;
        if (weights + beyond > line->weights + line->beyond)
            line->weights = weights, line->beyond = beyond;
    }
}

/* The forward goes up once. The first chunk comes down through all blocks; those after it as fast as the slowest stage lets them, which waits
 * for the copy that it takes and the one that it gives away. */
static void stages(const jsc_model *model, const struct rates *rates, const jsc_plan *plan, const struct pulls *pulls, struct line *line)
{
    const int n = line->devices, T = line->tokens, copies = n - 1 < 2 ? n - 1 : 2;
    const size_t *size_of = model->load_stream->size_of;
    const double row = (double)model->d * (double)(size_of[ROLE_REAL] + size_of[ROLE_COT]);
    double forward = forward_seconds(rates, plan, pulls->tangents);

    fullest_stage(model, plan, line);
    line->forward_flops = plan->forward_flops * (1 + pulls->tangents) * line->blocks_most / model->L;
    line->passed = n > 1 ? (1.0 + pulls->tangents) * T * model->d * (double)size_of[ROLE_REAL] : 0.0;
    for (int l = 0; l < N_LINKS; l++)
        line->seconds[l] = forward + (n - 1) * line->passed / links[l].bytes;
    for (int i = 0; i < pulls->n; i++) {
        const int all = sides_of(model, pulls, i), chunk = plan_chunk(model, T, all, plan->chunk), chunks = (all + chunk - 1) / chunk;
        const double all_blocks = pull_cost(model, 1, T, chunk) / (rates->gflops * 1e9);
        const double slowest = all_blocks * line->blocks_most / model->L;
        const double bytes = n > 1 ? row * T * chunk : 0.0;
        jsc_plan own;
        plan_part(model, T, chunk, &own);
        line->backward_flops += chunks * own.backward_flops * line->blocks_most / model->L;
        line->passed += chunks * bytes;
        for (int l = 0; l < N_LINKS; l++) {
            const double copy = bytes / links[l].bytes;
            line->seconds[l] += all_blocks + (n - 1) * copy + (chunks - 1) * (slowest + copies * copy);
        }
        if (all > line->sides) {
            line->sides = all, line->chunk = chunk, line->chunks = chunks, line->passed_chunk = bytes;
            line->form = jsc_mlp_form_name(own.mlp_form);
            line->bubble = n > 1 ? (n - 1.0) / (n - 1.0 + chunks) : 0.0;
        }
    }
}

/* ---- printing ---------------------------------------------------------------------------------------------------------------------- */

static void print_json(const struct line *line)
{
    struct strbuf s = {0};
    strbuf_printf(
        &s,
        "{\"section\": \"scaling\", \"operation\": \"%s\", \"source\": \"computed\", \"model\": \"%s\", \"case\": \"%s\", \"tokens\": %d, "
        "\"devices\": %d, \"right_hand_sides\": %d, \"chunk\": %d, \"chunks\": %d, \"form\": \"%s\", \"forward_flops\": %.6g, "
        "\"backward_flops\": %.6g, \"weight_bytes\": %.12g, \"plan_bytes\": %.12g",
        line->way, line->model, line->scope, line->tokens, line->devices, line->sides, line->chunk, line->chunks, line->form,
        line->forward_flops, line->backward_flops, line->weights, line->beyond);
    if (line->blocks_most > 0)
        strbuf_printf(&s, ", \"blocks_least\": %d, \"blocks_most\": %d", line->blocks_least, line->blocks_most);
    if (line->passed > 0.0)
        strbuf_printf(&s, ", \"passed_bytes\": %.12g", line->passed);
    if (line->passed_chunk > 0.0)
        strbuf_printf(&s, ", \"passed_bytes_chunk\": %.12g, \"bubble\": %.4g", line->passed_chunk, line->bubble);
    for (int l = 0; l < N_LINKS; l++)
        strbuf_printf(&s, ", \"seconds_%s\": %.6g, \"speed_up_%s\": %.5g", links[l].name, line->seconds[l], links[l].name,
                      line->alone / line->seconds[l]);
    strbuf_printf(&s, ", \"against_devices\": %d}", line->alone_devices);
    bench_put_line(&s);
}

static void print_head(const struct bench *bench, const struct rates *rates, bool staged)
{
    if (bench->json)
        return;
    printf("\ncomputed, not measured: %s over 1, 2, 4 and 8 devices of %.0f GB, each with products at %.0f TFLOP/s and memory at %.1f TB/s "
           "(%s);\n"
           "links of 450 GB/s (NVLink) and 50 GB/s (PCIe) each way\n",
           staged ? "stages of one model" : "right-hand sides shared by replicas", PAPER_BYTES * 1e-9, rates->gflops * 1e-3,
           rates->gbytes * 1e-3, rates->of);
    if (staged)
        printf("%-14s %-16s %6s %3s %6s %9s %9s %12s %7s %9s %9s | %9s %8s %5s | %9s %8s\n", "model", "scope", "tokens", "n", "blocks",
               "weight GB", "beyond GB", "chunks", "bubble", "MB/chunk", "MB in all", "NVLink s", "speed-up", "eff.", "PCIe s", "speed-up");
    else
        printf("%-14s %-16s %6s %3s %5s %12s %7s %9s %9s %9s %9s | %9s %8s %5s | %9s %8s\n", "model", "scope", "tokens", "n", "sides",
               "chunks", "form", "fw TFLOP", "bw TFLOP", "MB in", "device GB", "NVLink s", "speed-up", "eff.", "PCIe s", "speed-up");
}

static void print_line(const struct bench *bench, const struct line *line)
{
    struct strbuf s = {0};
    char chunks[32], blocks[24];
    if (bench->json) {
        print_json(line);
        return;
    }
    (void)snprintf(chunks, sizeof chunks, "%d x %d", line->chunks, line->chunk);
    (void)snprintf(blocks, sizeof blocks, line->blocks_least < line->blocks_most ? "%d-%d" : "%d", line->blocks_least, line->blocks_most);
    strbuf_printf(&s, "%-14s %-16s %6d %3d", line->model, line->scope, line->tokens, line->devices);
    if (line->blocks_most > 0)
        strbuf_printf(&s, " %6s %9.1f %9.1f %12s %6.0f%% %9.1f %9.1f", blocks, line->weights * 1e-9, line->beyond * 1e-9, chunks,
                      line->bubble * 100.0, line->passed_chunk * 1e-6, line->passed * 1e-6);
    else
        strbuf_printf(&s, " %5d %12s %7s %9.2f %9.2f %9.2f %9.1f", line->sides, chunks, line->form, line->forward_flops * 1e-12,
                      line->backward_flops * 1e-12, line->passed * 1e-6, (line->weights + line->beyond) * 1e-9);
    for (int l = 0; l < N_LINKS; l++) {
        const double faster = line->alone / line->seconds[l];
        strbuf_printf(&s, " | %9.4g %8.2f", line->seconds[l], faster);
        if (l == 0)
            strbuf_printf(&s, " %4.0f%%", 100.0 * faster * line->alone_devices / line->devices);
    }
    bench_put_line(&s);
}

/* As many devices cannot hold the model; replicas each need one that does. */
static void print_full(const struct bench *bench, const struct line *line)
{
    if (!bench->json)
        printf("%-14s %-16s %6d %3d not computed: so many do not hold it, or it has fewer blocks\n", line->model, line->scope, line->tokens,
               line->devices);
}

/* ---- the tables -------------------------------------------------------------------------------------------------------------------- */

struct paper_models {
    const char *name;
    jsc_model *model[N_COUNTS]; /* over so many devices; NULL: they do not hold it, or it has fewer blocks */
};

static void one_scope(const struct bench *bench, const struct rates *rates, const struct paper_models *m, const struct pulls *pulls, int T,
                      bool staged)
{
    double alone = 0.0;
    int alone_devices = 0;
    for (int i = 0; i < N_COUNTS; i++) {
        struct line line = {
            .model = m->name, .scope = pulls->name, .way = staged ? "stages" : "replicas", .tokens = T, .devices = device_counts[i]};
        const jsc_model *model = m->model[staged ? i : 0];
        jsc_plan plan;
        if (model == NULL || !plan_exact(model, T, &plan)) {
            print_full(bench, &line);
            if (!staged)
                break;
            continue;
        }
        if (staged)
            stages(model, rates, &plan, pulls, &line);
        else
            replicas(model, rates, &plan, pulls, &line);
        if (alone_devices == 0)
            alone = line.seconds[0], alone_devices = line.devices;
        line.alone = alone, line.alone_devices = alone_devices;
        print_line(bench, &line);
    }
}

/* GFLOP/s of the factor on this machine's processor: of a matrix that needs all pivots. */
static double factor_gflops(int threads)
{
    const size_t d = FACTOR_SIDE;
    double *F = bench_memory(d * d * sizeof *F), *rows = bench_memory(d * d * sizeof *rows), *diagonal = bench_memory(d * sizeof *diagonal);
    double rest = 0.0, best = 0.0;
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < d; i++)
            for (size_t j = 0; j <= i; j++)
                F[i * d + j] = F[j * d + i] = i == j ? FACTOR_SIDE : bench_noise()[i * (i + 1) / 2 + j];
        const double begin = clock_seconds();
        const int rank = cholesky_pivoted(F, (int)d, (int)d, 0.0, rows, NULL, diagonal, &rest, threads);
        const double rate = factor_flops(rank) / (clock_seconds() - begin) * 1e-9;
        best = rate > best ? rate : best;
    }
    mem_free(F);
    mem_free(rows);
    mem_free(diagonal);
    return best;
}

/* What every replica does for itself on its host, beside the predicted seconds. */
static void print_factor(const struct bench *bench, const char *name, int d)
{
    static double gflops;
    const int threads = bench->threads > 0 ? bench->threads : omp_get_max_threads();
    struct strbuf s = {0};
    if (!(gflops > 0.0))
        gflops = factor_gflops(threads);
    const double flops = factor_flops(d), seconds = flops / (gflops * 1e9);
    if (bench->json)
        strbuf_printf(&s,
                      "{\"section\": \"scaling\", \"operation\": \"factor\", \"source\": \"computed\", \"model\": \"%s\", \"flops\": %.6g, "
                      "\"gflops\": %.4g, \"threads\": %d, \"seconds\": %.4g}",
                      name, flops, gflops, threads, seconds);
    else
        strbuf_printf(&s,
                      "%-14s not in it: the factor of exact Fisher, at most %.1f GFLOP in double on the host: %.2f s at the %.1f GFLOP/s "
                      "measured here with %d thread%s",
                      name, flops * 1e-9, seconds, gflops, threads, threads > 1 ? "s" : "");
    bench_put_line(&s);
}

static bool wanted(const struct bench *bench, const char *model, const char *scope, bool staged)
{
    return bench_wants(bench, model, scope) || bench_wants(bench, staged ? "stages" : "replicas", "");
}

static void tables(const struct bench *bench, const struct rates *rates, const struct paper_models *models, size_t n, bool staged)
{
    static const int usual[] = {64, 512};
    const int *tokens = bench->tokens_given ? bench->tokens : usual, n_tokens = bench->tokens_given ? bench->n_tokens : 2;
    bool begun = false;
    for (size_t i = 0; i < n; i++)
        for (size_t s = 0; s < sizeof scopes_pulled / sizeof *scopes_pulled; s++) {
            if (!wanted(bench, models[i].name, scopes_pulled[s].name, staged))
                continue;
            if (!begun)
                print_head(bench, rates, staged);
            begun = true;
            for (int t = 0; t < n_tokens; t++)
                one_scope(bench, rates, &models[i], &scopes_pulled[s], tokens[t], staged);
            if (scopes_pulled[s].sides[0] == 0)
                print_factor(bench, models[i].name, models[i].model[0]->d);
        }
}

/* Opens the model of a folder or file over every number of devices. */
static void open_all(struct paper_models *m, const char *path, const char *name)
{
    jsc_error error;
    *m = (struct paper_models){.name = name};
    for (int i = 0; i < N_COUNTS; i++) {
        m->model[i] = open_paper(path, device_counts[i], &error);
        if (m->model[0] == NULL)
            bench_ok(error.status, &error, path);
    }
}

/* A folder of the shape's sizes; its tensors are holes. */
static void open_shape(struct paper_models *m, const struct shape *shape)
{
    char folder[] = "/tmp/jscopes-bench-XXXXXX", path[64];
    if (mkdtemp(folder) == NULL) {
        (void)fprintf(stderr, "bench: %s cannot be made\n", folder);
        exit(1);
    }
    sparse_llama(folder, &shape->sizes);
    open_all(m, folder, shape->name);
    for (int i = 0; i < 2; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", folder, i == 0 ? "config.json" : "model.safetensors");
        (void)unlink(path);
    }
    (void)rmdir(folder);
}

void scaling_computed(const struct bench *bench)
{
    enum { N_SHAPES = sizeof shapes / sizeof *shapes };
    static struct paper_models models[N_SHAPES];
    const bool card = strncmp(bench->ops->name, "cuda", 4) == 0 && bench->precision == JSC_PRECISION_FAST;
    const struct rates rates = card ? (struct rates){bench->limits.gflops_vjp, bench->limits.gbytes, "measured in this run"}
                                    : (struct rates){650e3, 2900.0, "assumed of an H100"};
    size_t n = 0;
    for (; bench->model == NULL && n < N_SHAPES; n++)
        open_shape(&models[n], &shapes[n]);
    if (bench->model != NULL) {
        const char *slash = strrchr(bench->model, '/');
        open_all(&models[n++], bench->model, slash != NULL ? slash + 1 : bench->model);
    }
    tables(bench, &rates, models, n, false);
    tables(bench, &rates, models, n, true);
    for (size_t i = 0; i < n; i++)
        for (int j = 0; j < N_COUNTS; j++)
            jsc_model_close(models[i].model[j]);
}
