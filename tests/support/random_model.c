/* random_model.c: llama models of any size with random weights, for properties that need no golden value. */
#include "random_model.h"
#include "base_internal.h"
#include "checkpoint.h"
#include "testing.h"

#include <criterion/criterion.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct random_sizes tiny_sizes = {18, 30, 4, 2, 6, 3, 40, 0.6, 1};
const struct random_sizes wide_sizes = {400, 24, 2, 1, 16, 1, 900, 0.25, 2};

static void add(struct checkpoint *c, const struct random_sizes *s, const char *name, int rank, int rows, int columns, double mean,
                double scale)
{
    struct st_tensor *t = checkpoint_add(c, name, "F32", rank, (uint64_t)rows, (uint64_t)columns);
    const size_t n = t->n_bytes / sizeof(float);
    for (size_t i = 0; i < n; i++) {
        const float value = (float)(mean + scale * rng_normal(s->seed, (uint64_t)c->n, i));
        memcpy(t->bytes + i * sizeof value, &value, sizeof value);
    }
}

static void add_block(struct checkpoint *c, const struct random_sizes *s, int l)
{
    const struct {
        const char *name;
        int rows, columns;
        double scale;
    } linear[] = {
        {"self_attn.q_proj", s->H * s->h, s->d, 1.2}, {"self_attn.k_proj", s->K * s->h, s->d, 1.2},
        {"self_attn.v_proj", s->K * s->h, s->d, 1.0}, {"self_attn.o_proj", s->d, s->H * s->h, 0.8},
        {"mlp.gate_proj", s->f, s->d, 1.0},           {"mlp.up_proj", s->f, s->d, 1.0},
        {"mlp.down_proj", s->d, s->f, 0.8},
    };
    char name[96];
    for (size_t i = 0; i < sizeof linear / sizeof *linear; i++) {
        snprintf(name, sizeof name, "model.layers.%d.%s.weight", l, linear[i].name);
        add(c, s, name, 2, linear[i].rows, linear[i].columns, 0.0, linear[i].scale / sqrt(linear[i].columns));
    }
    snprintf(name, sizeof name, "model.layers.%d.input_layernorm.weight", l);
    add(c, s, name, 1, s->d, 1, 1.0, 0.2);
    snprintf(name, sizeof name, "model.layers.%d.post_attention_layernorm.weight", l);
    add(c, s, name, 1, s->d, 1, 1.0, 0.2);
}

jsc_status random_model_open(const struct random_sizes *s, const char *device, jsc_precision precision, jsc_model **out, jsc_error *error)
{
    jsc_open_options options = JSC_OPEN_OPTIONS_INIT;
    struct checkpoint *c = calloc(1, sizeof *c);

    cr_assert(c != NULL);
    c->config = json_pack("{s:s,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:f,s:f,s:b,s:s}", "model_type", "llama", "hidden_size", s->d,
                          "intermediate_size", s->f, "num_attention_heads", s->H, "num_key_value_heads", s->K, "head_dim", s->h,
                          "num_hidden_layers", s->L, "vocab_size", s->V, "max_position_embeddings", s->positions > 0 ? s->positions : 64,
                          "rms_norm_eps", 1e-5, "rope_theta", 100.0, "tie_word_embeddings", 0, "hidden_act", "silu");
    cr_assert(c->config != NULL);
    add(c, s, "model.embed_tokens.weight", 2, s->V, s->d, 0.0, 0.7);
    for (int l = 0; l < s->L; l++)
        add_block(c, s, l);
    add(c, s, "model.norm.weight", 1, s->d, 1, 1.0, 0.2);
    add(c, s, "lm_head.weight", 2, s->V, s->d, 0.0, s->head);
    options.device = device;
    options.precision = precision;
    options.threads = 1;
    const char *folder = checkpoint_write(c);
    const jsc_status status = jsc_model_open(folder, &options, out, error);
    folder_remove(folder);
    checkpoint_free(c);
    return status;
}

jsc_model *random_model(const struct random_sizes *s, const char *device)
{
    jsc_model *model = NULL;
    jsc_error error = {0};
    const jsc_status status = random_model_open(s, device, JSC_PRECISION_STRICT, &model, &error);
    cr_assert(status == JSC_OK, "random model on %s: %s", device, error.text);
    return model;
}

jsc_attribution *answer(const jsc_model *model, const jsc_request *request)
{
    jsc_error error = {0};
    jsc_attribution *a = NULL;
    const jsc_status status = jsc_attribute(model, request, &a, &error);
    cr_assert(status == JSC_OK && a != NULL, "%s: %s", jsc_scope_name(request->scope), error.text);
    return a;
}

void refused(const jsc_model *model, const jsc_request *request, jsc_status status, const char *word)
{
    jsc_error error = {0};
    jsc_attribution *a = NULL;
    const jsc_status got = jsc_attribute(model, request, &a, &error);
    cr_expect(got == status && error.status == status, "wanted %s about '%s', got %s: %s", jsc_status_name(status), word,
              jsc_status_name(got), error.text);
    cr_expect(strstr(error.text, word) != NULL, "'%s' does not speak of '%s'", error.text, word);
    cr_expect(strchr(error.text, '\n') == NULL, "more than one line: %s", error.text);
    cr_expect(a == NULL, "the output was touched");
    jsc_attribution_free(a);
}

void answers_agree(const char *what, const jsc_attribution *got, const jsc_attribution *want, double tolerance)
{
    const size_t n = want->n_scores * want->n_tokens, L = (size_t)want->n_layers, square = want->n_tokens * want->n_tokens;
    cr_assert(got->n_scores == want->n_scores && got->n_tokens == want->n_tokens && (got->layers == NULL) == (want->layers == NULL) &&
                  (got->matrix == NULL) == (want->matrix == NULL),
              "%s: other parts", what);
    const double error = error_of_scores(got->scores, want->scores, n);
    cr_expect(error <= tolerance, "%s: %g", what, error);
    if (want->layers != NULL)
        cr_expect(error_of_scores(got->layers, want->layers, n * L) <= tolerance, "%s: layers", what);
    if (want->matrix != NULL)
        cr_expect(error_of_scores(got->matrix, want->matrix, square) <= tolerance, "%s: matrix", what);
}

jsc_request ask(jsc_scope scope, size_t n)
{
    static int32_t ids[64];
    jsc_request request = JSC_REQUEST_INIT;
    cr_assert(n <= 64);
    for (size_t i = 0; i < 64; i++)
        ids[i] = (int32_t)(i * 7 % 39); /* below every model's vocabulary */
    request.scope = scope;
    request.ids = ids, request.n_ids = n;
    return request;
}
