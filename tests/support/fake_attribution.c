/* fake_attribution.c: a small hand-made attribution for tests of reports. */
#include "support/fake_attribution.h"

#include <stdlib.h>
#include <string.h>

void fake_init(struct fake *f)
{
    static char *const texts[FAKE_TOKENS] = {"French", ": \"", "</script>", "\n", " caf\xc3\xa9", "<0xE2><0x82>", "<0xAC>", " \x1b[31m"};
    static char *const bytes[FAKE_TOKENS] = {"French", ": \"", "</script>", "\n", " caf\xc3\xa9", "\xe2\x82", "\xac", " \x1b[31m"};
    memset(f, 0, sizeof *f);
    for (int t = 0; t < FAKE_TOKENS; t++) {
        f->tokens[t] = (jsc_scored_token){100 + t, texts[t], bytes[t], strlen(bytes[t]), t == 6};
        f->scores[t] = (t + 1) / 3.0;
        f->scores[FAKE_TOKENS + t] = (FAKE_TOKENS - t) * 0.1;
        f->stderrs[t] = 0.01 * (t + 1);
        f->signed_scores[t] = t % 2 ? -0.25 * t : 0.25 * t;
        f->matrix_targets[t] = 200 + t;
        for (int l = 0; l < FAKE_LAYERS; l++)
            f->layers[l * FAKE_TOKENS + t] = l + 0.125 * t, f->layers[(FAKE_LAYERS + l) * FAKE_TOKENS + t] = l + 1;
        for (int p = 0; p < FAKE_TOKENS; p++)
            f->matrix[p * FAKE_TOKENS + t] = t <= p ? 1.0 / (1 + p - t) : 0.0;
    }
    f->targets[0] = (jsc_prediction){7, " nice", 0.31, 12.5};
    f->targets[1] = (jsc_prediction){9, " rude", 1e-9, -3.25};
    f->contrast[0] = (jsc_prediction){11, " bad", 0.002, 4.0};
    f->predictions[0] = (jsc_prediction){7, " nice", 0.31, 12.5};
    f->predictions[1] = (jsc_prediction){8,
                                         " \xe2\x80\xae"
                                         "evil",
                                         0.21, 12.0};
    f->predictions[2] = (jsc_prediction){5, "\xe6\x97\xa5\xe6\x9c\xac", 0.01, 9.0};
    f->eigenvalues[0] = 1.5, f->eigenvalues[1] = 0.25;
    f->warnings[0] = "two BOS tokens in front\x1b[2J";
    f->a = (jsc_attribution){.size = sizeof f->a,
                             .scope = JSC_SCOPE_SEMANTIC,
                             .model_name = "tiny",
                             .family = "llama",
                             .n_layers = FAKE_LAYERS,
                             .d_model = 16,
                             .vocab_size = 300,
                             .n_tokens = FAKE_TOKENS,
                             .tokens = f->tokens,
                             .position = FAKE_TOKENS - 1,
                             .objective = JSC_OBJECTIVE_LOGIT,
                             .n_targets = 1,
                             .targets = f->targets,
                             .n_scores = 1,
                             .scores = f->scores,
                             .y_norm = 3.5,
                             .n_predictions = 3,
                             .predictions = f->predictions,
                             .backend = "cpu",
                             .precision = "strict",
                             .seed = 42,
                             .chunk = 1,
                             .plan = "B 1 of 1, mlp direct",
                             .n_warnings = 0,
                             .warnings = f->warnings,
                             .seconds_load = 0.5,
                             .seconds_forward = 0.125,
                             .seconds_backward = 0.25,
                             .bytes_peak = 123456};
}

/* The next power of two above n: text grows by doubling, or large reports take minutes under a sanitizer. */
static size_t room_for(size_t n)
{
    size_t room = 256;
    while (room <= n)
        room *= 2;
    return room;
}

static int append(void *user, const char *bytes, size_t n)
{
    struct fake_text *out = user;
    if (out->text == NULL || room_for(out->n + n) != room_for(out->n)) {
        char *grown = realloc(out->text, room_for(out->n + n));
        if (grown == NULL)
            return 1;
        out->text = grown;
    }
    memcpy(out->text + out->n, bytes, n);
    out->n += n;
    out->text[out->n] = '\0';
    return 0;
}

jsc_status fake_write_several(const jsc_report_input *input, const char *format, const jsc_report_options *options, struct fake_text *out,
                              jsc_error *error)
{
    out->text = NULL;
    out->n = 0;
    return jsc_report_write_several(input, format, options, append, out, error);
}

jsc_status fake_write(const jsc_attribution *a, const char *format, const jsc_report_options *options, struct fake_text *out,
                      jsc_error *error)
{
    return fake_write_several(&(jsc_report_input){1, &a, NULL}, format, options, out, error);
}

int fake_refuse(void *user, const char *bytes, size_t n)
{
    size_t *left = user;
    (void)bytes;
    if (*left < n)
        return 1;
    *left -= n;
    return 0;
}
