/* group_internal.h: what a group is: members of this process, and for one that joined others the line to them. */
#ifndef JSC_GROUP_INTERNAL_H
#define JSC_GROUP_INTERNAL_H

#include "scopes_internal.h"

#include <jscopes/group.h>

#define GROUP_MOST 64

struct jsc_group {
    int size;                   /* members of this process */
    jsc_model *own[GROUP_MOST]; /* opened by the group; NULL: the caller's */
    const jsc_model *models[GROUP_MOST];
    struct comm *comm; /* group_join.c: this process's one member among the others; NULL: all members are here */
};

/* group.c: a rank's part of a request: it gathers through its device where the backend and all ranks can, else over comm; its failure is
 * made known on comm. */
jsc_status group_run(const jsc_model *model, const jsc_request *request, struct comm *comm, jsc_attribution **out, jsc_error *error);

/* group_join.c: jsc_group_attribute of such a group. */
jsc_status group_attribute_joined(const jsc_group *group, const jsc_request *request, jsc_attribution **out, jsc_error *error);

#endif
