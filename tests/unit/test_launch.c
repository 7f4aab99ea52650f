/* test_launch.c: rank, size and meeting place out of what torchrun, srun and mpirun set; contradictions are refused and listed. */
#include "comm_tcp.h"
#include "launch.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdlib.h>
#include <string.h>

static void clear(void)
{
    for (int v = 0; v < ENV_COUNT; v++)
        (void)unsetenv(env_name((enum env_variable)v));
}

/* "A=1 B=2" */
static void set(const char *assignments)
{
    char copy[512], *save = NULL;
    cr_assert(strlen(assignments) < sizeof copy);
    memcpy(copy, assignments, strlen(assignments) + 1);
    clear();
    for (char *word = strtok_r(copy, " ", &save); word != NULL; word = strtok_r(NULL, " ", &save)) {
        char *equal = strchr(word, '=');
        *equal = '\0';
        (void)setenv(word, equal + 1, 1);
    }
}

#define AT " MASTER_ADDR=node7 MASTER_PORT=29500"

static const struct {
    const char *environment;
    int rank, size, local;
    const char *address;
} good[] = {
    {"", 0, 1, -1, NULL},
    {"RANK=3 WORLD_SIZE=8 LOCAL_RANK=1" AT, 3, 8, 1, "node7:29501"},
    {"RANK=0 WORLD_SIZE=1", 0, 1, -1, NULL},
    {"RANK=0 WORLD_SIZE=2 MASTER_ADDR=::1 MASTER_PORT=29500", 0, 2, -1, "[::1]:29501"},
    {"SLURM_PROCID=2 SLURM_NTASKS=4 SLURM_LOCALID=0 JSC_RENDEZVOUS=/scratch/x.addr", 2, 4, 0, "/scratch/x.addr"},
    {"SLURM_PROCID=2 SLURM_NTASKS=4 SLURM_JOB_ID=77 SLURM_STEP_ID=0 JSC_RENDEZVOUS=/scratch/", 2, 4, -1, "/scratch/jscopes-77-0.addr"},
    {"RANK=1 WORLD_SIZE=2 TORCHELASTIC_RUN_ID=a/../b JSC_RENDEZVOUS=/s/ SLURM_JOB_ID=9", 1, 2, -1, "/s/jscopes-a_.._b.addr"},
    {"RANK=1 WORLD_SIZE=2 JSC_RENDEZVOUS=/s/", 1, 2, -1, "/s/jscopes-job.addr"},
    {"OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_LOCAL_RANK=1 JSC_RENDEZVOUS=a:5", 1, 2, 1, "a:5"},
    {"PMI_RANK=4 PMI_SIZE=5 MPI_LOCALRANKID=4" AT, 4, 5, 4, "node7:29501"},
    {"PMI_RANK=1 PMI_SIZE=2 SLURM_PROCID=1 SLURM_NTASKS=2 SLURM_LOCALID=1" AT, 1, 2, 1, "node7:29501"},
    /* a shell in an allocation has a size without a rank */
    {"SLURM_NTASKS=8", 0, 1, -1, NULL},
    {"SLURM_NTASKS=8 OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=2" AT, 1, 2, -1, "node7:29501"},
    /* torchrun once a node, started by srun */
    {"RANK=9 WORLD_SIZE=16 LOCAL_RANK=1 TORCHELASTIC_RUN_ID=r SLURM_PROCID=1 SLURM_NTASKS=2 SLURM_LOCALID=0" AT, 9, 16, 1, "node7:29501"},
};

static const struct {
    const char *environment, *says; /* every word of it, divided by | */
} bad[] = {
    {"RANK=4 WORLD_SIZE=4" AT, "RANK=4|WORLD_SIZE=4|below"},
    {"RANK=-1 WORLD_SIZE=4" AT, "RANK=-1|no number"},
    {"RANK=two WORLD_SIZE=4" AT, "RANK=two|no number"},
    {"RANK=1x WORLD_SIZE=4" AT, "RANK=1x|no number"},
    {"RANK=0 WORLD_SIZE=0" AT, "WORLD_SIZE=0|below"},
    {"RANK=0 WORLD_SIZE=4097" AT, "WORLD_SIZE=4097|below"},
    {"RANK=0 WORLD_SIZE=99999999999999999999" AT, "no number"},
    {"RANK=0 WORLD_SIZE=2 LOCAL_RANK=2" AT, "LOCAL_RANK=2"},
    {"RANK=0 WORLD_SIZE=2 LOCAL_RANK=x" AT, "LOCAL_RANK=x|no number"},
    {"RANK=1", "RANK=1|without"},
    {"WORLD_SIZE=2", "WORLD_SIZE=2|without"},
    {"SLURM_PROCID=1", "SLURM_PROCID=1|without"},
    {"RANK=0 WORLD_SIZE=2 SLURM_PROCID=1 SLURM_NTASKS=2" AT, "RANK=0|SLURM_PROCID=1|different"},
    {"SLURM_PROCID=0 SLURM_NTASKS=1 OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=4" AT, "SLURM_NTASKS=1|OMPI_COMM_WORLD_SIZE=4|different"},
    {"SLURM_PROCID=0 SLURM_NTASKS=4 SLURM_LOCALID=0 PMI_RANK=0 PMI_SIZE=4 MPI_LOCALRANKID=1" AT, "SLURM_LOCALID=0|MPI_LOCALRANKID=1"},
    {"RANK=0 WORLD_SIZE=2", "no place to meet|JSC_RENDEZVOUS"},
    {"RANK=0 WORLD_SIZE=2 MASTER_ADDR=x", "no place to meet|MASTER_ADDR=x"},
    {"RANK=0 WORLD_SIZE=2 MASTER_ADDR=x MASTER_PORT=65535", "no place to meet|MASTER_PORT=65535"},
    {"RANK=0 WORLD_SIZE=2 MASTER_ADDR=x MASTER_PORT=http", "no place to meet|MASTER_PORT=http"},
};

Test(launch, what_launchers_say)
{
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct launch l;
        jsc_error error = {0};
        set(good[i].environment);
        cr_assert(launch_find(-1, -1, NULL, &l, &error) == JSC_OK, "%s: %s", good[i].environment, error.text);
        cr_expect(l.rank == good[i].rank && l.size == good[i].size && l.local_rank == good[i].local, "%s: %d of %d, local %d",
                  good[i].environment, l.rank, l.size, l.local_rank);
        if (good[i].address == NULL)
            cr_expect(l.address.text == NULL);
        else
            cr_expect(eq(str, l.address.text, (char *)good[i].address));
        launch_free(&l);
    }
    clear();
    cr_expect(eq(sz, mem_live_bytes(), 0));
}

Test(launch, contradictions_are_listed)
{
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct launch l;
        jsc_error error = {0};
        char says[256], *save = NULL;
        set(bad[i].environment);
        memcpy(says, bad[i].says, strlen(bad[i].says) + 1);
        cr_expect(launch_find(-1, -1, NULL, &l, &error) == JSC_E_ARGUMENT, "%s", bad[i].environment);
        for (char *word = strtok_r(says, "|", &save); word != NULL; word = strtok_r(NULL, "|", &save))
            cr_expect(strstr(error.text, word) != NULL, "%s: \"%s\" does not hold \"%s\"", bad[i].environment, error.text, word);
        cr_expect(strchr(error.text, '\n') == NULL);
    }
    clear();
    cr_expect(eq(sz, mem_live_bytes(), 0));
}

Test(launch, what_the_caller_says_counts_first)
{
    struct launch l, other;
    jsc_error error = {0};
    set("RANK=nonsense WORLD_SIZE=9" AT);
    cr_assert(launch_find(1, 3, "here:7", &l, &error) == JSC_OK, "%s", error.text);
    cr_expect(l.rank == 1 && l.size == 3 && strcmp(l.address.text, "here:7") == 0);
    launch_free(&l);
    set("RANK=1 WORLD_SIZE=2 JSC_RENDEZVOUS=a:1" AT);
    cr_assert(launch_find(-1, -1, "here:7", &l, &error) == JSC_OK);
    cr_expect(eq(str, l.address.text, "here:7"));
    launch_free(&l);
    static const int wrong[][2] = {{3, 3}, {-1, 3}, {0, -1}, {0, 0}, {0, TCP_RANKS_MOST + 1}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        cr_expect(launch_find(wrong[i][0], wrong[i][1], "a:1", &l, &error) == JSC_E_ARGUMENT, "%zu", i);
    /* jobs on one machine do not share a key */
    set("RANK=1 WORLD_SIZE=2 TORCHELASTIC_RUN_ID=a" AT);
    cr_assert(launch_find(-1, -1, NULL, &l, &error) == JSC_OK);
    set("RANK=1 WORLD_SIZE=2 TORCHELASTIC_RUN_ID=b" AT);
    cr_assert(launch_find(-1, -1, NULL, &other, &error) == JSC_OK);
    cr_expect(l.key != other.key);
    launch_free(&l), launch_free(&other);
    clear();
}
