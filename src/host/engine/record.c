/* record.c: a walk as one launch, where the device can record it: short walks cost less to do than to launch piece by piece. */
#include "engine_internal.h"

#include <assert.h>
#include <string.h>

enum { KEY_MOST = 16, LAYOUT = 12 };

jsc_status walk_recorded(struct trace *t, const int64_t *key, size_t n, jsc_status (*walk)(void *user, jsc_error *error), void *user,
                         jsc_error *error)
{
    jsc_status status = JSC_OK;
    const struct jsc_ops *ops = t->model->ops;
    const struct trace_sizes *z = &t->sizes;
    /* all that addresses follow from */
    int64_t whole[LAYOUT + KEY_MOST] = {(intptr_t)t->memory, (int64_t)z->S,           (int64_t)z->T,         (int64_t)z->B,
                                        (int64_t)z->N,       (int64_t)z->M,           (int64_t)z->levels,    (int64_t)z->form,
                                        z->shared,           (int64_t)z->token_chunk, (int64_t)z->rhs_chunk, z->backward};
    bool repeat = false, again = true;

    if (ops->record_begin == NULL)
        return walk(user, error);
    assert(n <= KEY_MOST);
    memcpy(whole + LAYOUT, key, n * sizeof *key);
    while (again) {
        TRY(ops->record_begin(t->stream, whole, (LAYOUT + n) * sizeof *whole, &repeat, error));
        if (repeat)
            return JSC_OK;
        TRY(ops->record_end(t->stream, walk(user, error), &again, error));
    }
done:
    return status;
}
