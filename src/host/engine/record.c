/* record.c: a walk as one launch, where the device can record it: short walks cost less to do than to launch piece by piece. */
#include "engine_internal.h"

jsc_status walk_recorded(struct trace *t, const void *key, size_t bytes, jsc_status (*walk)(void *user, jsc_error *error), void *user,
                         jsc_error *error)
{
    jsc_status status = JSC_OK;
    const struct jsc_ops *ops = t->model->ops;
    bool repeat = false, again = true;

    if (ops->record_begin == NULL)
        return walk(user, error);
    while (again) {
        TRY(ops->record_begin(t->stream, key, bytes, &repeat, error));
        if (repeat)
            return JSC_OK;
        TRY(ops->record_end(t->stream, walk(user, error), &again, error));
    }
done:
    return status;
}
