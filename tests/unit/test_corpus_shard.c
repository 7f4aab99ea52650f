/* test_corpus_shard.c: which worker of how many a process is, out of what torchrun, Slurm arrays, srun and mpirun set. */
#include "corpus_internal.h"
#include "support/refusal.h"

#include <stdlib.h>

static void set(const char *assignments)
{
    char copy[512], *save = NULL;
    for (int v = 0; v < ENV_COUNT; v++)
        (void)unsetenv(env_name((enum env_variable)v));
    (void)snprintf(copy, sizeof copy, "%s", assignments);
    for (char *word = strtok_r(copy, " ", &save); word != NULL; word = strtok_r(NULL, " ", &save)) {
        char *equal = strchr(word, '=');
        *equal = '\0';
        (void)setenv(word, equal + 1, 1);
    }
}

#define ARRAY "SLURM_ARRAY_TASK_MIN=3 SLURM_ARRAY_TASK_MAX=6 SLURM_ARRAY_TASK_COUNT=4 SLURM_ARRAY_TASK_ID="

Test(corpus_shard, what_launchers_say)
{
    static const struct {
        const char *environment;
        uint64_t shard, shards;
        int local;
    } good[] = {
        {"", 0, 1, -1},
        {"RANK=3 WORLD_SIZE=8 LOCAL_RANK=1", 3, 8, 1},
        {"RANK=3 WORLD_SIZE=8 " ARRAY "4", 3, 8, -1}, /* the first that matches */
        {ARRAY "3", 0, 4, -1},
        {ARRAY "6", 3, 4, -1},
        {ARRAY "5 SLURM_PROCID=1 SLURM_NTASKS=2 SLURM_LOCALID=0", 5, 8, 0},
        {"SLURM_PROCID=1 SLURM_NTASKS=2 SLURM_LOCALID=1", 1, 2, 1},
        {"OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=3 OMPI_COMM_WORLD_LOCAL_RANK=1", 1, 3, 1},
        {"PMI_RANK=2 PMI_SIZE=3", 2, 3, -1},
        {"SLURM_NTASKS=8", 0, 1, -1}, /* a shell in an allocation */
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        uint64_t shard = 99, shards = 99;
        int local = 99;
        char found[160];
        jsc_error error = {JSC_OK, ""};
        set(good[i].environment);
        cr_expect(jsc_corpus_shard_find(&shard, &shards, &local, found, sizeof found, &error) == JSC_OK, "%s: %s", good[i].environment,
                  error.text);
        cr_expect(shard == good[i].shard && shards == good[i].shards && local == good[i].local, "%s: %d of %d, %d", good[i].environment,
                  (int)shard, (int)shards, local);
    }
}

Test(corpus_shard, what_makes_no_sense)
{
    static const struct {
        const char *environment, *says;
    } bad[] = {
        {"RANK=8 WORLD_SIZE=8", "RANK=8|WORLD_SIZE=8|--shard I/N"},
        {"RANK=x WORLD_SIZE=8", "RANK=x|--shard I/N"},
        {"RANK=1", "RANK=1|--shard I/N"},
        {"SLURM_ARRAY_TASK_ID=7 SLURM_ARRAY_TASK_MIN=3 SLURM_ARRAY_TASK_MAX=7 SLURM_ARRAY_TASK_COUNT=2",
         "holes|3 to 7|2 of them|--shard I/N"},
        {"SLURM_ARRAY_TASK_ID=7", "SLURM_ARRAY_TASK_ID|_COUNT|--shard I/N"},
        {ARRAY "9", "SLURM_ARRAY_TASK_ID|--shard I/N"},
        {ARRAY "4 SLURM_PROCID=4 SLURM_NTASKS=2", "SLURM_PROCID=4|SLURM_NTASKS=2"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint64_t shard = 0, shards = 0;
        char found[160];
        jsc_error error;
        set(bad[i].environment);
        expect_refusal(jsc_corpus_shard_find(&shard, &shards, NULL, found, sizeof found, &error), JSC_E_ARGUMENT, &error, bad[i].says);
    }
}
