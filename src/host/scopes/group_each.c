/* group_each.c: many requests over the members of a group: each takes the next when it is free; nothing passes between them. */
#include "group_internal.h"

#include <pthread.h>

struct queue {
    const jsc_group *group;
    const jsc_request *requests;
    size_t n, next;
    bool stopped;
    jsc_answer_fn answer;
    void *user;
    pthread_mutex_t lock; /* also held while the caller looks at an answer */
};

struct server {
    struct queue *queue;
    const jsc_model *model;
    pthread_t thread;
};

static bool take(struct queue *q, size_t *i)
{
    (void)pthread_mutex_lock(&q->lock);
    const bool more = !q->stopped && q->next < q->n;
    *i = more ? q->next++ : 0;
    (void)pthread_mutex_unlock(&q->lock);
    return more;
}

static void give(struct queue *q, size_t i, jsc_attribution *attribution, const jsc_error *error)
{
    (void)pthread_mutex_lock(&q->lock);
    if (q->stopped)
        jsc_attribution_free(attribution);
    else if (q->answer(q->user, i, attribution, error) != 0)
        q->stopped = true;
    (void)pthread_mutex_unlock(&q->lock);
}

static void *serve(void *user)
{
    const struct server *s = user;
    struct queue *q = s->queue;
    size_t i = 0;

    while (take(q, &i)) {
        jsc_error error = {.status = JSC_OK, .text = ""};
        jsc_attribution *out = NULL;
        const jsc_status status = jsc_attribute(s->model, &q->requests[i], &out, &error);
        give(q, i, out, status == JSC_OK ? NULL : &error);
    }
    return NULL;
}

jsc_status jsc_group_attribute_each(const jsc_group *group, const jsc_request *requests, size_t n, jsc_answer_fn answer, void *user,
                                    jsc_error *error)
{
    struct server servers[GROUP_MOST];
    int started = 1;

    if (group == NULL || answer == NULL || (requests == NULL && n > 0))
        return status_set(error, JSC_E_ARGUMENT, "jsc_group_attribute_each: group, requests or answer is NULL");
    if (group->comm != NULL)
        return status_set(error, JSC_E_ARGUMENT,
                          "a group of processes shares out one request; for many, give each process prompts of its own and its own model");
    struct queue queue = {.group = group, .requests = requests, .n = n, .answer = answer, .user = user};
    (void)pthread_mutex_init(&queue.lock, NULL);
    servers[0] = (struct server){.queue = &queue, .model = group->models[0]};
    for (int r = 1; r < group->size; r++)
        servers[r] = (struct server){.queue = &queue, .model = group->models[r]};
    for (; started < group->size; started++) /* where there is no thread, those that there are do the work */
        if (pthread_create(&servers[started].thread, NULL, serve, &servers[started]) != 0)
            break;
    (void)serve(&servers[0]);
    for (int r = 1; r < started; r++)
        (void)pthread_join(servers[r].thread, NULL);
    (void)pthread_mutex_destroy(&queue.lock);
    return queue.stopped ? status_set(error, JSC_E_CANCELLED, "stopped after %zu of %zu requests were begun", queue.next, n) : JSC_OK;
}
