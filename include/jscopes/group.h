/* group.h: one request answered by several devices: each holds the model and pulls back its share of the right-hand sides.
 *
 *   jsc_group *group = NULL;
 *   if (jsc_group_open("model.gguf", "cuda:all", NULL, &group, &error) == JSC_OK)
 *       jsc_group_attribute(group, &request, &attribution, &error);
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
 * devices  "cuda:all", or "cuda:0,2": each number once
 * options  may be NULL; its device is not looked at
 * out      closed by jsc_group_close(), with its models
 * Cost: reads the files once for each device.
 *
 * JSC_E_ARGUMENT  the list cannot be read, or names a device twice.  JSC_E_DEVICE  a device does not exist here.  Others: as jsc_model_open.
 */
JSC_API jsc_status jsc_group_open(const char *path, const char *devices, const jsc_open_options *options, jsc_group **out, jsc_error *error);

/** jsc_group_make: a group of n models (1 to 64) that the caller opened, one for each device, and closes after the group. */
JSC_API jsc_status jsc_group_make(const jsc_model *const *models, int n, jsc_group **out, jsc_error *error);

/** jsc_group_close: NULL is a no-op. No request of it may still be running. */
JSC_API void jsc_group_close(jsc_group *group);

/** jsc_group_size: number of members. */
JSC_API int jsc_group_size(const jsc_group *group);

/** jsc_group_model: the model of member rank, for jsc_tokenize, jsc_model_describe and the like; NULL if there is no such member. */
JSC_API const jsc_model *jsc_group_model(const jsc_group *group, int rank);

/**
 * jsc_group_attribute: as jsc_attribute, by all members together. Progress is that of the first.
 *
 * The first failure of any member ends all; the error begins with "rank R: ".
 * JSC_E_ARGUMENT  the members have different models, kinds of device or precisions.
 */
JSC_API jsc_status jsc_group_attribute(const jsc_group *group, const jsc_request *request, jsc_attribution **out, jsc_error *error);

#ifdef __cplusplus
}
#endif
#endif
