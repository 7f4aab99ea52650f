/* stages.c: a model over several devices: consecutive blocks on consecutive devices, what lies outside the blocks on the last. */
#include "model_internal.h"

#include <stdio.h>
#include <string.h>

/* ---- names ------------------------------------------------------------------------------------------------------------------- */

/* One item of a list: a name, or a number that stands for another of the first's kind ("cuda:0+1"). */
static bool add_name(struct stage_names *names, const char *item, size_t n)
{
    char *out = names->name[names->n];
    const char *first = names->name[0], *colon = names->n > 0 ? strchr(first, ':') : NULL;
    const bool number = n > 0 && strspn(item, "0123456789") >= n;
    const size_t kind = number && colon != NULL ? (size_t)(colon - first) + 1 : 0;

    if (n == 0 || names->n == STAGES_MOST || (number && colon == NULL) || kind + n + 1 > DEVICE_NAME_BYTES)
        return false;
    memcpy(out, first, kind);
    memcpy(out + kind, item, n);
    out[kind + n] = '\0';
    return true;
}

/* Devices with a number are GPUs, each of which can be one stage. */
static bool listed_before(const struct stage_names *names)
{
    bool twice = false;
    for (int i = 0; i < names->n; i++)
        twice = twice || (strcmp(names->name[i], names->name[names->n]) == 0 && strncmp(names->name[i], "cuda", 4) == 0);
    return twice;
}

jsc_status stages_parse(const char *device, struct stage_names *out, jsc_error *error)
{
    *out = (struct stage_names){.n = 0};
    if (device == NULL || strchr(device, '+') == NULL) {
        out->n = 1;
        return JSC_OK;
    }
    for (const char *item = device;; item++) {
        const size_t n = strcspn(item, "+");
        if (!add_name(out, item, n))
            return status_set(error, JSC_E_ARGUMENT, "devices \"%s\": the stages of a model are cuda:N+M+... or NAME+NAME+..., at most %d",
                              device, (int)STAGES_MOST);
        if (listed_before(out))
            return status_set(error, JSC_E_ARGUMENT, "devices \"%s\": %s is listed twice", device, out->name[out->n]);
        out->n++;
        item += n;
        if (*item == '\0')
            return JSC_OK;
    }
}

jsc_status stages_describe(jsc_model *model, jsc_error *error)
{
    jsc_status status = JSC_OK;
    struct strbuf text = {0};
    const jsc_model *stages[STAGES_MOST];
    int n = 0;

    for (const jsc_model *m = model; m != NULL; m = m->below)
        stages[n++] = m;
    while (n-- > 0)
        strbuf_printf(&text, "%s%s", stages[n]->device->description, n > 0 ? " + " : "");
    if (text.text == NULL)
        FAIL(JSC_E_MEMORY, "no memory for the devices' names");
    TRY(mem_strdup(&model->devices, text.text, error));
done:
    strbuf_free(&text);
    return status;
}

const char *model_device(const jsc_model *m)
{
    return m->devices != NULL ? m->devices : m->device->description;
}

/* ---- sums -------------------------------------------------------------------------------------------------------------------- */

int stages_count(const jsc_model *model)
{
    int n = 0;
    for (const jsc_model *m = model; m != NULL; m = m->below)
        n++;
    return n;
}

uint64_t stages_weight_bytes(const jsc_model *model)
{
    uint64_t sum = 0;
    for (const jsc_model *m = model; m != NULL; m = m->below)
        sum += m->weight_bytes;
    return sum;
}

uint64_t stages_memory_left(const jsc_model *model)
{
    uint64_t sum = model->memory_left;
    for (const jsc_model *m = model->below; m != NULL && model->device->own_memory > 0; m = m->below)
        sum += m->memory_left;
    return sum;
}

/* ---- which blocks where -------------------------------------------------------------------------------------------------------- */

/* Weights may take this share of a device's free memory and leave enough for what a request needs. */
#define WEIGHTS_SHARE 0.6

struct split {
    const uint64_t *block_bytes;
    uint64_t outer_bytes;
    int L, n;
    double room[STAGES_MOST]; /* of stage 0, the lowest blocks', on */
    int end[STAGES_MOST];
};

/* Fills the stages from the lowest on, each with `most` blocks or up to `share` of its room; false: blocks are left over. */
static bool fill(struct split *s, double share, int most)
{
    int l = 0;
    for (int i = 0; i < s->n; i++) {
        double used = i == s->n - 1 ? (double)s->outer_bytes : 0.0;
        const int first = l, last = s->L - (s->n - 1 - i); /* one block at least for each of the others */
        while (l < last && l - first < most && (l == first || used + (double)s->block_bytes[l] <= share * s->room[i]))
            used += (double)s->block_bytes[l++];
        s->end[i] = l;
        if (used > share * s->room[i])
            return false;
    }
    return l == s->L;
}

/* The least share of memory that takes all blocks; beyond 1 the weights do not fit, and the loader says so. */
static double least_share(struct split *s)
{
    double low = 0.0, high = 1.0;
    while (!fill(s, high, s->L))
        low = high, high *= 2.0;
    for (int i = 0; i < 50; i++) {
        const double middle = 0.5 * (low + high);
        if (fill(s, middle, s->L))
            high = middle;
        else
            low = middle;
    }
    return high;
}

/* The stage with most blocks is the one that the others wait for: as few for it as memory allows. */
static void balance(struct split *s)
{
    const double least = least_share(s), share = least > WEIGHTS_SHARE ? least : WEIGHTS_SHARE;
    for (int most = (s->L + s->n - 1) / s->n; !fill(s, share, most); most++) {
    }
}

jsc_status stages_assign(jsc_model *model, const uint64_t *block_bytes, uint64_t outer_bytes, jsc_error *error)
{
    struct split split = {.block_bytes = block_bytes, .outer_bytes = outer_bytes, .L = model->L, .n = stages_count(model)};
    int i = split.n;

    if (split.n > split.L)
        return status_set(error, JSC_E_ARGUMENT, "%s: %d devices for the stages of %d blocks: at most one for each block", model->path,
                          split.n, split.L);
    for (const jsc_model *m = model; m != NULL; m = m->below)
        split.room[--i] = m->device->own_memory > 0 ? (double)m->memory_left + 1.0 : 1e30; /* one memory for all */
    balance(&split);
    i = split.n;
    for (jsc_model *m = model; m != NULL; m = m->below) {
        i--;
        m->first_block = i > 0 ? split.end[i - 1] : 0;
        m->end_block = split.end[i];
    }
    return JSC_OK;
}
