/* comm.h: ranks that answer one request together: each pulls back its share of the right-hand sides, all gather the sums.
 *
 * Every rank makes the same collectives in the same order, whatever its data. The first failure of any rank ends every rank's next
 * collective, with that failure's text; none waits beyond the deadline for a rank that does not come. */
#ifndef JSC_COMM_H
#define JSC_COMM_H

#include "base_internal.h"

struct comm {
    int rank, size;
    double deadline; /* seconds that a rank may be behind the others */
    /* all [size][bytes]: what every rank gave, in the order of ranks; the same on each. bytes must be the same on each rank. */
    jsc_status (*gather)(struct comm *comm, const void *mine, size_t bytes, void *all, jsc_error *error);
    /* This rank gives up: the others' collectives fail with its text, unless another failed first. */
    void (*fail)(struct comm *comm, const jsc_error *error);
    /* The failure of any rank that is known here; JSC_OK: none yet. Does not wait: for who waits for something else than a gather. */
    jsc_status (*check)(struct comm *comm, jsc_error *error);
    void (*close)(struct comm *comm);
};

/* comm_local.c: ranks that are threads of one process. */
struct comm_team;
jsc_status comm_team_make(int size, double deadline_seconds, struct comm_team **out, jsc_error *error);
jsc_status comm_team_join(struct comm_team *team, int rank, struct comm **out, jsc_error *error);
/* After every rank has ended. NULL is a no-op. */
void comm_team_free(struct comm_team *team);
/* The first failure of any rank; status JSC_OK if there was none. */
jsc_error comm_team_failure(struct comm_team *team);

#endif
