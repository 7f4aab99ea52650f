/* env.c: every environment variable that the library reads, in one table; and the clock. */
#include "base_internal.h"

#include <stdlib.h>
#include <time.h>

static const struct {
    const char *name, *help;
} variables[ENV_COUNT] = {
    [ENV_DEVICE] = {"JSC_DEVICE", "device that \"auto\" means: cpu, ref (developer builds), cuda, cuda:N, cuda:0+1"},
    [ENV_TRACE] = {"JSC_TRACE", "1: time every operation; the sums go to the log when the model is closed"},
    [ENV_CACHE] = {"JSCOPES_CACHE", "folder of fetched models, instead of ${XDG_CACHE_HOME:-~/.cache}/jscopes"},
    [ENV_CPU_GEMM] = {"JSC_CPU_GEMM", "builtin: own matrix products instead of oneDNN's; plain: oneDNN without packed weights"},
    [ENV_CUDA_PLUGIN] = {"JSC_CUDA_PLUGIN",
                         "file of the CUDA part, instead of libjscopes_cuda.so beside libjscopes or where the system looks"},
    [ENV_CUBLASLT] = {"JSC_CUBLASLT", "file of NVIDIA's cuBLASLt, instead of nvidia/*/lib beside the CUDA part or where the system looks"},
    [ENV_NCCL] = {"JSC_NCCL", "file of NVIDIA's NCCL, likewise; off: several GPUs gather through the host"},
    [ENV_TF32] = {"NVIDIA_TF32_OVERRIDE", "of NVIDIA: 1 rounds every float32 product to TF32, so the CUDA part refuses to start"},
    [ENV_RENDEZVOUS] = {"JSC_RENDEZVOUS", "where ranks that are processes meet: HOST:PORT, a file, or a folder (with a / at its end)"},
    [ENV_RANK] = {"RANK", "of torchrun: this process's rank"},
    [ENV_WORLD_SIZE] = {"WORLD_SIZE", "of torchrun: number of ranks"},
    [ENV_LOCAL_RANK] = {"LOCAL_RANK", "of torchrun: rank among those of this machine"},
    [ENV_TORCH_RUN] = {"TORCHELASTIC_RUN_ID", "of torchrun: the run's name"},
    [ENV_MASTER_ADDR] = {"MASTER_ADDR", "of torchrun: rank 0's machine"},
    [ENV_MASTER_PORT] = {"MASTER_PORT", "of torchrun: its own port there; ranks of jscopes meet at the next one"},
    [ENV_SLURM_RANK] = {"SLURM_PROCID", "of srun: this process's rank"},
    [ENV_SLURM_SIZE] = {"SLURM_NTASKS", "of srun: number of ranks"},
    [ENV_SLURM_LOCAL_RANK] = {"SLURM_LOCALID", "of srun: rank among those of this machine"},
    [ENV_SLURM_JOB] = {"SLURM_JOB_ID", "of Slurm: the job"},
    [ENV_SLURM_STEP] = {"SLURM_STEP_ID", "of srun: the step of the job"},
    [ENV_SLURM_ARRAY_ID] = {"SLURM_ARRAY_TASK_ID", "of Slurm: this task of a job array"},
    [ENV_SLURM_ARRAY_MIN] = {"SLURM_ARRAY_TASK_MIN", "of Slurm: the array's first task"},
    [ENV_SLURM_ARRAY_MAX] = {"SLURM_ARRAY_TASK_MAX", "of Slurm: the array's last task"},
    [ENV_SLURM_ARRAY_COUNT] = {"SLURM_ARRAY_TASK_COUNT", "of Slurm: number of the array's tasks"},
    [ENV_OMPI_RANK] = {"OMPI_COMM_WORLD_RANK", "of Open MPI's mpirun: this process's rank"},
    [ENV_OMPI_SIZE] = {"OMPI_COMM_WORLD_SIZE", "of Open MPI's mpirun: number of ranks"},
    [ENV_OMPI_LOCAL_RANK] = {"OMPI_COMM_WORLD_LOCAL_RANK", "of Open MPI's mpirun: rank among those of this machine"},
    [ENV_PMI_RANK] = {"PMI_RANK", "of MPICH's and Intel's mpirun: this process's rank"},
    [ENV_PMI_SIZE] = {"PMI_SIZE", "of MPICH's and Intel's mpirun: number of ranks"},
    [ENV_PMI_LOCAL_RANK] = {"MPI_LOCALRANKID", "of MPICH's and Intel's mpirun: rank among those of this machine"},
    [ENV_CPU_FAST] = {"JSC_CPU_FAST", "emulate: precision fast on any processor, bfloat16 in memory and float products; slow, for tests"},
};

const char *env_get(enum env_variable variable)
{
    const char *value = getenv(variables[variable].name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

int64_t env_number(enum env_variable variable, int64_t most)
{
    const char *text = env_get(variable);
    char *end = NULL;
    if (text == NULL)
        return -1;
    const long long value = strtoll(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && value <= most ? value : -2;
}

const char *env_name(enum env_variable variable)
{
    return variables[variable].name;
}

const char *env_help(enum env_variable variable)
{
    return variables[variable].help;
}

double clock_seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
