/* test_report_html.c: the HTML report: what stands in it, that hostile text is inert, its colours, its maps, its failures. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "html_internal.h"
#include "support/fake_attribution.h"

#include <ctype.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *write_several(const jsc_attribution *const *attributions, size_t n, const jsc_report_options *options)
{
    struct fake_text out;
    jsc_error error = {0};
    cr_assert(eq(int, fake_write_several(&(jsc_report_input){n, attributions, NULL}, "html", options, &out, &error), JSC_OK), "%s",
              error.text);
    return out.text;
}

static char *write_page(const jsc_attribution *a)
{
    return write_several(&a, 1, NULL);
}

static void expect_in(const char *text, const char *part)
{
    cr_expect(strstr(text, part) != NULL, "not in the page: %s", part);
}

static int count(const char *text, const char *part)
{
    int n = 0;
    for (const char *at = strstr(text, part); at != NULL; at = strstr(at + strlen(part), part))
        n++;
    return n;
}

/* The data of the page, as its script reads it. */
static json_t *page_data(const char *page)
{
    const char *from = strstr(page, "id=\"jscopes-data\">");
    json_error_t problem;
    cr_assert(from != NULL);
    from = strchr(from, '>') + 1;
    json_t *data = json_loadb(from, (size_t)(strstr(from, "</script>") - from), JSON_REJECT_DUPLICATES, &problem);
    cr_assert(data != NULL, "line %d: %s", problem.line, problem.text);
    return data;
}

/* The next c of a page, or NULL. Not strchr(): under ASan that looks at the whole page. */
static const char *next_of(const char *at, char c)
{
    while (*at != c && *at != '\0')
        at++;
    return *at == c ? at : NULL;
}

static bool begins(const char *at, const char *with)
{
    while (*with != '\0' && *at == *with)
        at++, with++;
    return *with == '\0';
}

static bool is_known(const char *name)
{
    static const char names[] =
        " html head meta title style body main header h1 h2 h3 p section div span article i q mark table caption thead tbody tr "
        "th td a svg rect details dl dt dd summary noscript code strong script ";
    char word[20];
    snprintf(word, sizeof word, " %s ", name);
    return strstr(names, word) != NULL;
}

/* Past the attributes of a tag: name="value" each, none that runs or loads anything. */
static const char *check_attributes(const char *at, const char *tag)
{
    while (*at == ' ') {
        const bool runs = begins(at, " on") || begins(at, " style=") || begins(at, " src");
        cr_assert(runs == false, "<%s%.60s", tag, at);
        for (at++; isalpha((unsigned char)*at) || *at == '-';)
            at++;
        cr_assert(begins(at, "=\""), "<%s ... %.60s", tag, at);
        at = next_of(at + 2, '"') + 1;
    }
    return at;
}

/* Every tag has a name and attributes that the report uses, every element is closed in its order, and style and script are the page's own. */
static void check_markup(const char *page)
{
    char open[64][16];
    int depth = 0;
    for (const char *at = next_of(page + 15, '<'); at != NULL; at = next_of(at, '<')) {
        char name[16] = "";
        const bool closes = *++at == '/';
        at += closes;
        for (size_t n = 0; isalnum((unsigned char)*at) && n < sizeof name - 1; at++)
            name[n++] = *at;
        cr_assert(is_known(name), "<%s%.60s", name, at);
        at = check_attributes(at, name);
        const bool empty = begins(at, "/>") || strcmp(name, "meta") == 0;
        cr_assert(eq(chr, at[at[0] == '/'], '>'), "<%s ... %.60s", name, at);
        if (closes)
            cr_assert(depth > 0 && strcmp(open[--depth], name) == 0, "</%s> closes <%s>", name, open[depth]);
        else if (!empty) {
            cr_assert(depth < 64);
            strcpy(open[depth++], name);
        }
        if (!closes && (strcmp(name, "script") == 0 || strcmp(name, "style") == 0))
            at = strstr(at, strcmp(name, "script") == 0 ? "</script" : "</style");
    }
    cr_expect(eq(int, depth, 0));
    cr_expect(eq(int, count(page, "<script"), 2));
    cr_expect(eq(int, count(page, page_script), 1));
    cr_expect(eq(int, count(page, page_style), 1));
}

/* Everything that one attribution can hold. */
static void fill(struct fake *f)
{
    f->a.layers = f->layers, f->a.matrix = f->matrix, f->a.matrix_targets = f->matrix_targets;
    f->a.stderrs = f->stderrs, f->a.signed_scores = f->signed_scores, f->a.n_warnings = 1;
}

Test(report_html, the_page_holds_title_options_text_tables_maps_and_details)
{
    struct fake f;
    fake_init(&f);
    fill(&f);
    char *page = write_page(&f.a);
    check_markup(page);
    cr_expect(eq(int, strncmp(page, "<!DOCTYPE html>\n", 16), 0));
    expect_in(page, "<title>tiny: semantic</title>");
    expect_in(page, "tiny (llama, 3 blocks, width 16), scope semantic; 8 tokens");
    expect_in(page, "explains <q> nice</q> (id 7), probability 0.31, logit 12.5; after token 7 <q> \\x1b[31m</q>");
    expect_in(page, "linear from 0 to 2.667");
    expect_in(page, "<h3>semantic</h3>");
    expect_in(page, "<h3>semantic, signed</h3>");
    expect_in(page, "linear from −1.75 to 1.75");
    expect_in(page, "<th>± error</th>");
    expect_in(page, "All 8 tokens in numbers");
    expect_in(page, "data-view=\"layers\"");
    expect_in(page, "<th>block 2</th><td class=\"c44\"></td>"); /* 2 of 2.875 */
    expect_in(page, "data-view=\"matrix\"");
    expect_in(page, "<td class=\"n\">21 %</td>");
    expect_in(page, "<dt>precision</dt><dd>strict</dd>");
    expect_in(page, "<strong>Warning:</strong> two BOS tokens in front\\x1b[2J</p>");
    expect_in(page, "<mark class=\"target\"> nice</mark></div>");
    cr_expect(strstr(page, "data-view=\"comparison\"") == NULL);
    free(page);
}

Test(report_html, what_is_not_there_has_no_section)
{
    struct fake f;
    fake_init(&f);
    f.a.n_predictions = 0;
    char *page = write_page(&f.a);
    check_markup(page);
    static const char *const absent[] = {"layers", "matrix", "predictions", "comparison", "targets"};
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++) {
        char section[64];
        snprintf(section, sizeof section, "data-view=\"%s\"", absent[i]);
        cr_expect(strstr(page, section) == NULL, "%s", section);
    }
    free(page);
}

Test(report_html, every_token_stands_in_the_colour_of_its_share)
{
    struct fake f;
    fake_init(&f);
    char *page = write_page(&f.a);
    expect_in(page, "<span class=\"b8\">French</span><span class=\"b16\">: &quot;</span><span class=\"b24\">&lt;/script&gt;</span>"
                    "<span class=\"b32\">\n</span><span class=\"b39\"> caf\xc3\xa9</span><span class=\"b47\">\\xE2\\x82</span>"
                    "<span class=\"b55\">\\xAC</span><span class=\"b63\"> \\x1b[31m</span><mark class=\"target\"> nice</mark>");
    free(page);
    f.a.signed_scores = f.signed_scores;
    page = write_page(&f.a);
    expect_in(page, "<span class=\"d32\">French</span><span class=\"d27\">: &quot;</span>");
    expect_in(page, "<span class=\"d0\"> \\x1b[31m</span>"); /* -1.75, the largest in size */
    free(page);
}

Test(report_html, the_target_stands_after_its_position_or_in_place_of_the_next_token)
{
    struct fake f;
    fake_init(&f);
    f.a.position = 0;
    for (int t = 1; t < FAKE_TOKENS; t++)
        f.scores[t] = 0.0;
    char *page = write_page(&f.a);
    expect_in(page, "<span class=\"b63\">French</span><mark class=\"target\"> nice</mark><span class=\"later\">: &quot;</span>");
    free(page);
    f.targets[0].id = 101; /* what follows in the prompt */
    page = write_page(&f.a);
    expect_in(page, "<span class=\"b63\">French</span><span class=\"target\">: &quot;</span><span class=\"later\">&lt;/script&gt;</span>");
    free(page);
    f.a.scope = JSC_SCOPE_FISHER, f.a.n_targets = 0, f.a.targets = NULL, f.a.position = FAKE_TOKENS - 1;
    page = write_page(&f.a);
    expect_in(page, "<mark class=\"target\">⟨predicted distribution⟩</mark>");
    free(page);
}

/* Case 41, 42: each stands as a token, target, prediction, model name, family, label, warning and title. */
static const struct hostile {
    const char *bytes, *text;
} hostile[] = {
    {"</script><script>alert(1)</script>", "&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;"},
    {"<img src=x onerror=alert(1)>", "&lt;img src=x onerror=alert(1)&gt;"},
    {"\" onmouseover=\"alert(1)", "&quot; onmouseover=&quot;alert(1)"},
    {"' x='", "&#39; x=&#39;"},
    {"&amp;&lt;", "&amp;amp;&amp;lt;"},
    {"<!--", "&lt;!--"},
    {"]]>", "]]&gt;"},
    {"\xe2\x80\xa8", "&lt;U+2028&gt;"},
    {"\xe2\x80\xae"
     "evil",
     "&lt;U+202E&gt;evil"},
    {"\xe2\x81\xa6", "&lt;U+2066&gt;"},
    {"\x1b[2J\x07", "\\x1b[2J\\x07"},
    {"\xe2\x82", "\\xE2\\x82"},
    {"\xff\xc0\xaf", "\\xFF\\xC0\\xAF"},
    {"\xed\xa0\x80", "\\xED\\xA0\\x80"},
    {"\xf0\x9f\x91\x8d", "\xf0\x9f\x91\x8d"},
    {"</style><style>*{}", "&lt;/style&gt;&lt;style&gt;*{}"},
};

Test(report_html, case_41_and_42_hostile_text_is_inert_everywhere)
{
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        struct fake f;
        struct fake_text out;
        jsc_error error = {0};
        jsc_report_options options = JSC_REPORT_OPTIONS_INIT;
        char text[128];
        const char *const label = text;
        fake_init(&f);
        fill(&f);
        snprintf(text, sizeof text, "%s", hostile[i].bytes);
        f.tokens[0].text = f.tokens[0].bytes = text, f.tokens[0].n_bytes = strlen(text);
        f.targets[0].text = f.predictions[0].text = f.a.model_name = f.a.family = f.a.backend = f.a.plan = f.warnings[0] = text;
        options.title = text;
        const jsc_attribution *two[2] = {&f.a, &f.a};
        const char *const labels[2] = {label, "other"};
        cr_assert(eq(int, fake_write_several(&(jsc_report_input){2, two, labels}, "html", &options, &out, &error), JSC_OK));
        check_markup(out.text);
        cr_expect(eq(sz, utf8_check(out.text, out.n), out.n), "%s", hostile[i].text);
        cr_expect(strlen(out.text) == out.n);
        const char *const wrap[] = {"<span class=\"b8\">%s</span>",
                                    "<title>%s</title>",
                                    "<h1>%s</h1>",
                                    "<h3>%s</h3>",
                                    "<q>%s</q>",
                                    "<dd>%s</dd>",
                                    "</strong> %s</p>"};
        for (size_t k = 0; k < sizeof wrap / sizeof *wrap; k++) {
            char wanted[256];
            snprintf(wanted, sizeof wanted, wrap[k], hostile[i].text);
            expect_in(out.text, wanted);
        }
        json_t *data = page_data(out.text); /* no < inside, or it would have ended early */
        const char *from = strstr(out.text, "id=\"jscopes-data\">") + 18;
        cr_expect(strcspn(from, "<>&") == (size_t)(strstr(from, "</script>") - from));
        json_decref(data);
        free(out.text);
    }
}

Test(report_html, the_policy_names_the_hashes_and_nothing_else)
{
    struct fake f;
    char wanted[400];
    fake_init(&f);
    char *page = write_page(&f.a);
    snprintf(wanted, sizeof wanted, "content=\"default-src 'none'; style-src '%s'; script-src '%s'; base-uri 'none'; form-action 'none'\"",
             page_style_hash, page_script_hash);
    expect_in(page, wanted);
    cr_expect(eq(sz, strlen(page_style_hash), 7 + 44));
    static const char *const absent[] = {"http://", "https://", "src=", "url(", "@import"};
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++)
        cr_expect(count(page, absent[i]) == count(page_script, absent[i]), "%s", absent[i]);
    cr_expect(eq(int, count(page_script, "http"), count(page_script, "http://www.w3.org/"))); /* names of SVG and XML */
    free(page);
}

Test(report_html, several_results_stand_side_by_side_with_how_alike_they_are)
{
    struct fake f[3];
    for (int i = 0; i < 3; i++)
        fake_init(&f[i]);
    f[1].a.scope = JSC_SCOPE_TEMPERATURE, f[1].a.n_targets = 0, f[1].a.targets = NULL, f[1].a.scores = f[1].scores + FAKE_TOKENS;
    f[2].a.scope = JSC_SCOPE_FISHER, f[2].a.n_targets = 0, f[2].a.targets = NULL;
    f[2].tokens[0].id = 99;
    const jsc_attribution *const all[3] = {&f[0].a, &f[1].a, &f[2].a};
    char *page = write_several(all, 3, NULL);
    check_markup(page);
    expect_in(page, "<title>tiny: semantic, temperature, fisher</title>");
    cr_expect(eq(int, count(page, "<article class=\"panel\""), 3));
    expect_in(page, "<th>semantic</th><th>temperature</th><td class=\"n\">-1</td><td class=\"n\">8 of 8</td>");
    expect_in(page, "<th>temperature</th><th>fisher</th><td colspan=\"2\">other tokens: not comparable</td>");
    expect_in(page, "<tr><th><a href=\"#line-1\">temperature</a></th><td>predicted distribution</td><td class=\"n\">7</td><td>"
                    "<span class=\"token b63\">French</span>");
    json_t *data = page_data(page);
    cr_expect(eq(sz, json_array_size(json_object_get(data, "results")), 3));
    cr_expect(eq(sz, json_array_size(json_object_get(data, "lines")), 3));
    json_decref(data);
    free(page);
}

Test(report_html, each_position_is_a_row_of_its_own)
{
    struct fake f[2];
    for (int i = 0; i < 2; i++) {
        fake_init(&f[i]);
        f[i].a.scope = JSC_SCOPE_FISHER, f[i].a.n_targets = 0, f[i].a.targets = NULL;
    }
    f[0].a.position = 3;
    const jsc_attribution *const both[2] = {&f[0].a, &f[1].a};
    char *page = write_several(both, 2, NULL);
    check_markup(page);
    expect_in(page, "<a href=\"#line-0\">after token 3</a></th><td><q> caf\xc3\xa9</q></td><td class=\"n\">3</td>");
    expect_in(page, "<span class=\"target\"> caf\xc3\xa9</span>");
    free(page);
}

Test(report_html, a_difference_is_one_diverging_row)
{
    struct fake f[2];
    jsc_report_options options = JSC_REPORT_OPTIONS_INIT;
    options.difference = 1;
    for (int i = 0; i < 2; i++) {
        fake_init(&f[i]);
        f[i].a.layers = f[i].layers, f[i].a.matrix = f[i].matrix, f[i].a.signed_scores = f[i].signed_scores;
    }
    f[1].targets[0].text = " rude", f[1].targets[0].id = 9;
    for (int t = 0; t < FAKE_TOKENS; t++)
        f[1].scores[t] = 2.0 * f[0].scores[t] - (t == 2 ? 5.0 : 0.0);
    f[1].layers[0] = 7.0;
    const jsc_attribution *const both[2] = {&f[0].a, &f[1].a};
    char *page = write_several(both, 2, &options);
    check_markup(page);
    expect_in(page, "<title>tiny: semantic,  nice minus  rude</title>");
    cr_expect(eq(int, count(page, "<article class=\"panel\""), 2)); /* and the signed one */
    expect_in(page, "linear from −4 to 4");
    expect_in(page, "<span class=\"d63\">&lt;/script&gt;</span>"); /* 1 - (2 - 5) = 4 */
    expect_in(page, "<span class=\"d28\">French</span>");          /* -1/3 of 4 */
    expect_in(page, "<th>block 0</th><td class=\"d0\"></td><td class=\"d32\"></td>");
    expect_in(page, "the first explains <q> nice</q>");
    expect_in(page, "the second explains <q> rude</q>");
    json_t *data = page_data(page);
    cr_expect(true == json_is_true(json_object_get(data, "difference")));
    cr_expect(true == json_is_false(json_object_get(data, "shares")));
    cr_expect(eq(sz, json_array_size(json_object_get(data, "results")), 2));
    cr_expect(eq(sz, json_array_size(json_object_get(data, "maps")), 2));
    json_decref(data);
    free(page);
}

Test(report_html, a_difference_of_unlike_scopes_is_one_of_shares)
{
    struct fake f[2];
    jsc_report_options options = JSC_REPORT_OPTIONS_INIT;
    options.difference = 1;
    for (int i = 0; i < 2; i++)
        fake_init(&f[i]);
    f[1].a.scope = JSC_SCOPE_TEMPERATURE, f[1].a.n_targets = 0, f[1].a.targets = NULL;
    for (int t = 0; t < FAKE_TOKENS; t++)
        f[0].scores[t] = t == 0, f[1].scores[t] = t == 1 ? 30.0 : t == 2 ? 10.0 : 0.0;
    const jsc_attribution *const both[2] = {&f[0].a, &f[1].a};
    char *page = write_several(both, 2, &options);
    expect_in(page, "<title>tiny: semantic minus temperature</title>");
    expect_in(page, "shares of each total; the first explains");
    expect_in(page, "linear from −1 to 1");
    expect_in(page, "<span class=\"d63\">French</span><span class=\"d8\">: &quot;</span><span class=\"d23\">&lt;/script&gt;</span>");
    free(page);
}

Test(report_html, case_43_undefined_numbers_are_words_in_the_text_and_null_in_the_data)
{
    struct fake f;
    fake_init(&f);
    fill(&f);
    f.scores[1] = NAN, f.scores[2] = INFINITY, f.stderrs[0] = NAN, f.signed_scores[3] = -INFINITY, f.layers[0] = NAN,
    f.matrix[0] = INFINITY;
    f.targets[0].probability = NAN, f.a.y_norm = INFINITY;
    char *page = write_page(&f.a);
    check_markup(page);
    expect_in(page, "<span class=\"b0\">: &quot;</span>");
    expect_in(page, "<span class=\"b63\"> \\x1b[31m</span>"); /* the scale is that of the finite scores */
    expect_in(page, "<td>undefined</td>");
    cr_expect(strstr(strstr(page, "<main"), ">nan") == NULL && strstr(strstr(page, "<main"), ">inf") == NULL);
    json_t *data = page_data(page), *tokens = json_object_get(json_array_get(json_object_get(data, "results"), 0), "tokens");
    cr_expect(true == json_is_null(json_object_get(json_array_get(tokens, 1), "score")));
    json_decref(data);
    free(page);
}

/* Little-endian float32 out of base64. */
static float float_at(const char *base64, size_t index)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t bits = 0;
    for (size_t b = 0; b < 4; b++) {
        const size_t byte = 4 * index + b, group = byte / 3 * 4;
        unsigned word = 0;
        for (size_t i = 0; i < 4; i++)
            word = word << 6 | (base64[group + i] == '=' ? 0u : (unsigned)(strchr(letters, base64[group + i]) - letters));
        bits |= (word >> (16 - 8 * (byte % 3)) & 255u) << (8 * b);
    }
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static int integer(const json_t *object, const char *name)
{
    return (int)json_integer_value(json_object_get(object, name));
}

Test(report_html, maps_are_float32_in_base64)
{
    struct fake f;
    fake_init(&f);
    f.a.layers = f.layers, f.a.matrix = f.matrix;
    f.layers[1] = 1e300, f.layers[2] = 1.0 / 3.0;
    char *page = write_page(&f.a);
    json_t *data = page_data(page), *layers = json_array_get(json_object_get(data, "maps"), 0),
           *matrix = json_array_get(json_object_get(data, "maps"), 1);
    cr_expect(eq(int, integer(layers, "rows"), FAKE_LAYERS));
    cr_expect(eq(int, integer(layers, "columns"), FAKE_TOKENS));
    cr_expect(eq(int, integer(layers, "pool"), 1));
    cr_expect(true == json_is_true(json_object_get(matrix, "matrix")));
    const char *values = json_string_value(json_object_get(layers, "values"));
    cr_expect(eq(sz, strlen(values), (FAKE_LAYERS * FAKE_TOKENS * 4 + 2) / 3 * 4));
    cr_expect(eq(flt, float_at(values, 1), 3.40282346638528859812e+38f));
    cr_expect(eq(flt, float_at(values, 2), 1.0f / 3.0f));
    cr_expect(eq(flt, float_at(values, FAKE_LAYERS * FAKE_TOKENS - 1), 2.875f));
    values = json_string_value(json_object_get(matrix, "values"));
    for (size_t i = 0; i < FAKE_TOKENS * FAKE_TOKENS; i++)
        cr_expect(eq(flt, float_at(values, i), (float)f.matrix[i]), "cell %zu", i);
    json_decref(data);
    free(page);
}

Test(report_html, of_8192_tokens_the_file_stays_below_10_MB_and_its_maps_are_pooled)
{
    enum { T = 8192, L = 32 };
    struct fake f;
    fake_init(&f);
    jsc_scored_token *tokens = calloc(T, sizeof *tokens);
    double *scores = calloc(T, sizeof *scores), *stderrs = calloc(T, sizeof *stderrs), *layers = calloc((size_t)L * T, sizeof *layers),
           *matrix = calloc((size_t)T * T, sizeof *matrix);
    cr_assert(tokens != NULL && scores != NULL && stderrs != NULL && layers != NULL && matrix != NULL);
    for (size_t t = 0; t < T; t++) {
        tokens[t] = (jsc_scored_token){(int32_t)(t * 7 % 49152), " token", " token", 6, 0};
        scores[t] = 1.0 / (double)(t + 1), stderrs[t] = 0.01 * scores[t];
    }
    matrix[(size_t)5000 * T + 4321] = -3.0;
    layers[(size_t)7 * T + 100] = 2.0;
    f.a.n_tokens = T, f.a.position = T - 1, f.a.tokens = tokens, f.a.scores = scores, f.a.stderrs = stderrs;
    f.a.n_layers = L, f.a.layers = layers, f.a.matrix = matrix;
    struct fake_text out;
    jsc_error error = {0};
    cr_assert(eq(int, fake_write(&f.a, "html", NULL, &out, &error), JSC_OK), "%s", error.text);
    check_markup(out.text);
    cr_expect(lt(sz, out.n, 10000000), "%zu bytes", out.n);
    json_t *data = page_data(out.text), *map = json_array_get(json_object_get(data, "maps"), 1);
    const int pool = integer(map, "pool"), columns = integer(map, "columns");
    cr_expect(eq(int, columns, (T + pool - 1) / pool));
    cr_expect(lt(int, 1, pool));
    cr_expect(eq(flt, float_at(json_string_value(json_object_get(map, "values")), (size_t)(5000 / pool * columns + 4321 / pool)), -3.0f));
    map = json_array_get(json_object_get(data, "maps"), 0);
    const int wide = integer(map, "columns");
    cr_expect(eq(int, integer(map, "rows"), L));
    cr_expect(eq(flt, float_at(json_string_value(json_object_get(map, "values")), (size_t)(7 * wide + 100 / integer(map, "pool"))), 2.0f));
    json_decref(data);
    free(out.text), free(tokens), free(scores), free(stderrs), free(layers), free(matrix);
}

Test(report_html, many_rows_of_one_long_prompt_share_its_text)
{
    enum { T = 4000, ROWS = 40 };
    struct fake f;
    fake_init(&f);
    jsc_scored_token *tokens = calloc(T, sizeof *tokens);
    double *scores = calloc((size_t)T * ROWS, sizeof *scores);
    jsc_prediction targets[ROWS];
    cr_assert(tokens != NULL && scores != NULL);
    for (size_t t = 0; t < T; t++)
        tokens[t] = (jsc_scored_token){1, "x", "x", 1, 0};
    for (int i = 0; i < ROWS; i++)
        targets[i] = (jsc_prediction){i, "t", 0.1, 1.0}, scores[(size_t)i * T + (size_t)i] = 1.0;
    f.a.n_tokens = T, f.a.position = T - 1, f.a.tokens = tokens, f.a.scores = scores, f.a.n_scores = f.a.n_targets = ROWS,
    f.a.targets = targets;
    char *page = write_page(&f.a);
    check_markup(page);
    cr_expect(eq(int, count(page, "<article class=\"panel\""), ROWS));
    cr_expect(eq(int, count(page, "<noscript>"), ROWS - 10));
    cr_expect(eq(int, count(page, "<mark class=\"target\">t</mark>"), ROWS));
    free(page), free(tokens), free(scores);
}

Test(report_html, a_receiver_that_refuses_ends_the_report_wherever_it_is)
{
    struct fake f;
    struct fake_text out;
    jsc_error error;
    fake_init(&f);
    fill(&f);
    cr_assert(eq(int, fake_write(&f.a, "html", NULL, &out, &error), JSC_OK));
    for (size_t room = 0; room < out.n; room += 997) {
        size_t left = room;
        error.text[0] = '\0';
        cr_expect(eq(int, jsc_report_write(&f.a, "html", NULL, fake_refuse, &left, &error), JSC_E_FILE), "room %zu", room);
        cr_expect(strstr(error.text, "refused") != NULL, "room %zu: %s", room, error.text);
    }
    free(out.text);
}

Test(report_html, every_allocation_may_fail)
{
    struct fake f;
    fake_init(&f);
    fill(&f);
    const jsc_attribution *const both[2] = {&f.a, &f.a};
    for (long k = 1; k < 200; k++) {
        struct fake_text out;
        jsc_error error = {0};
        mem_fail_at(k, false);
        const jsc_status status = fake_write_several(&(jsc_report_input){2, both, NULL}, "html", NULL, &out, &error);
        const long calls = mem_calls();
        mem_fail_at(0, false);
        free(out.text);
        if (calls < k) {
            cr_expect(eq(int, status, JSC_OK));
            cr_expect(k > 10, "%ld", k);
            return;
        }
        cr_expect(eq(int, status, JSC_E_MEMORY), "call %ld: %s", k, error.text);
    }
    cr_expect(0, "never ended");
}

Test(report_html, tokens_without_a_tokeniser_are_ids)
{
    struct fake f;
    fake_init(&f);
    for (int t = 0; t < FAKE_TOKENS; t++)
        f.tokens[t].text = f.tokens[t].bytes = NULL, f.tokens[t].n_bytes = 0;
    f.targets[0].text = NULL;
    char *page = write_page(&f.a);
    check_markup(page);
    expect_in(page, "<span class=\"b8\">⟨100⟩</span>");
    expect_in(page, "<mark class=\"target\">⟨7⟩</mark>");
    free(page);
}
