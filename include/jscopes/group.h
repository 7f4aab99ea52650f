/* group.h: one request answered by several devices: each holds the model and pulls back its share of the right-hand sides.
 *
 *   jsc_group *group = NULL;
 *   if (jsc_group_open("model.gguf", "cuda:all", NULL, &group, &error) == JSC_OK)
 *       jsc_group_attribute(group, &request, &attribution, &error);
 *
 * One process for each device, started by torchrun, mpirun or srun (docs/several-gpus.md):
 *
 *   jsc_launch launch = JSC_LAUNCH_INIT;                            // launch.local_rank says which device is this process's
 *   if (jsc_launch_find(&launch, &error) == JSC_OK && ... && jsc_group_join(model, &launch, &group, &error) == JSC_OK)
 *       jsc_group_attribute(group, &request, &attribution, &error); // in every process, with the same request
 *
 * Scores are those of one device: the same order of sums whatever the number of devices. Fisher Scope gains most (d_model right-hand sides);
 * one right-hand side gains nothing. Scopes path and input-x-gradient are computed whole by every member. */
#ifndef JSCOPES_GROUP_H
#define JSCOPES_GROUP_H

#include <jscopes/attribute.h>
#include <jscopes/model.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct jsc_group jsc_group;

/**
 * jsc_group_open: the model on several devices of this process.
 *
 * path     as in jsc_model_open
 * devices  "cuda:all", or "cuda:0,2": each number once. "cuda:0+1,2+3": two members, the blocks of each over two devices. cuda:all:
 *          members on all devices, each on as few as hold the model
 * options  may be NULL; its device is not looked at
 * out      closed by jsc_group_close(), with its models
 * Cost: reads the files once for each device.
 *
 * JSC_E_ARGUMENT  the list cannot be read, or names a device twice.  JSC_E_DEVICE  a device does not exist here.  Others: as jsc_model_open.
 */
JSC_API jsc_status jsc_group_open(const char *path, const char *devices, const jsc_open_options *options, jsc_group **out, jsc_error *error);

/** jsc_group_make: a group of n models (1 to 64) that the caller opened, one for each device, and closes after the group. */
JSC_API jsc_status jsc_group_make(const jsc_model *const *models, int n, jsc_group **out, jsc_error *error);

/** How this process is one of several. Begin with JSC_LAUNCH_INIT. */
typedef struct jsc_launch {
    size_t size;         /**< sizeof(jsc_launch) */
    int rank;            /**< 0 .. world_size-1; -1 (with world_size): as the environment says */
    int world_size;      /**< number of processes */
    int local_rank;      /**< set by jsc_launch_find: rank among those of this machine; -1: unknown. jsc_group_join does not look at it */
    const char *address; /**< HOST:PORT or [V6]:PORT, where rank 0 listens; the path of a file (with a /) in which rank 0 says where; a folder
                              (with a / at its end) for such a file. NULL: JSC_RENDEZVOUS, else MASTER_ADDR and MASTER_PORT + 1 */
    double deadline;     /**< seconds to join, and for which a process may be behind the others; above 0 */
} jsc_launch;
#define JSC_LAUNCH_INIT {sizeof(jsc_launch), -1, -1, -1, NULL, 600.0}

/**
 * jsc_launch_find: fills rank, world_size and local_rank from the environment: RANK, WORLD_SIZE, LOCAL_RANK (torchrun); SLURM_PROCID,
 * SLURM_NTASKS, SLURM_LOCALID (srun); OMPI_COMM_WORLD_RANK, _SIZE, _LOCAL_RANK; PMI_RANK, PMI_SIZE, MPI_LOCALRANKID. None of them: rank 0
 * of 1. Given ranks stay.
 *
 * JSC_E_ARGUMENT  they contradict each other or make no sense (the error lists them), or no place to meet is known.
 */
JSC_API jsc_status jsc_launch_find(jsc_launch *launch, jsc_error *error);

/**
 * jsc_group_join: a group of processes, each with one model, on its own device; returns when all have joined.
 *
 * model   this process's, the same files and kind of device in all; closed by the caller after the group
 * launch  NULL: as the environment says
 * out     closed by jsc_group_close()
 *
 * Requests are then made by all processes, the same in the same order, one at a time; each gets the result. What a process refuses
 * before anything is computed is returned to all, and the group lives on. After any other failure (a process fails, ends, or stays
 * behind for the deadline; the processes' requests or models differ; progress of rank 0 stops) every call returns that first failure.
 * A world of one is this process alone. Opens connections between the machines: for networks whose users are trusted.
 *
 * JSC_E_ARGUMENT  as jsc_launch_find; a rank twice, other numbers of ranks, other versions of jscopes.  JSC_E_DEVICE  a process did not
 * join within the deadline.  JSC_E_FILE  the file of the address cannot be written.
 */
JSC_API jsc_status jsc_group_join(const jsc_model *model, const jsc_launch *launch, jsc_group **out, jsc_error *error);

/** jsc_group_close: NULL is a no-op. No request of it may still be running. */
JSC_API void jsc_group_close(jsc_group *group);

/** jsc_group_size: number of members, in all processes. */
JSC_API int jsc_group_size(const jsc_group *group);

/** jsc_group_rank: the first member of this process: 0, or the rank in a group that was joined. */
JSC_API int jsc_group_rank(const jsc_group *group);

/** jsc_group_model: the model of member rank, for jsc_tokenize, jsc_model_describe and the like; NULL if this process has no such member. */
JSC_API const jsc_model *jsc_group_model(const jsc_group *group, int rank);

/**
 * jsc_group_attribute: as jsc_attribute, by all members together. Progress is that of the first.
 *
 * The first failure of any member ends all; the error begins with "rank R: ".
 * JSC_E_ARGUMENT  the members have different models, kinds of device or precisions.
 */
JSC_API jsc_status jsc_group_attribute(const jsc_group *group, const jsc_request *request, jsc_attribution **out, jsc_error *error);

/** Receives the answer to request i, in any order, from one thread at a time; returns 0, or anything else to stop.
 * attribution: the caller's, freed by jsc_attribution_free(); NULL: it failed, error (else NULL) says why. */
typedef int (*jsc_answer_fn)(void *user, size_t i, jsc_attribution *attribution, const jsc_error *error);

/**
 * jsc_group_attribute_each: n requests, each answered by one member, which takes the next when it is free; for many prompts, where this
 * is faster than sharing each out. A request that fails does not end the others. Their progress functions may be called from several
 * threads at once.
 *
 * JSC_E_ARGUMENT   the group's members are processes: give each prompts of its own
 * JSC_E_CANCELLED  answer() returned non-zero
 */
JSC_API jsc_status jsc_group_attribute_each(const jsc_group *group, const jsc_request *requests, size_t n, jsc_answer_fn answer, void *user,
                                            jsc_error *error);

#ifdef __cplusplus
}
#endif
#endif
