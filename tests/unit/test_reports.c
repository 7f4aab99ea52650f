/* test_reports.c: the table of formats, and reports into files that appear whole or not at all. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base_internal.h"
#include "support/fake_attribution.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int files_in(const char *folder)
{
    int n = 0;
    DIR *d = opendir(folder);
    cr_assert(d != NULL);
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n - 2;
}

Test(reports, an_unknown_format_is_refused_with_the_list)
{
    struct fake f;
    struct fake_text out;
    jsc_error error;
    fake_init(&f);
    cr_expect(eq(int, fake_write(&f.a, "html5", NULL, &out, &error), JSC_E_ARGUMENT));
    cr_expect(strstr(error.text, "html5") != NULL && strstr(error.text, "text, json") != NULL, "%s", error.text);
    cr_expect(eq(int, jsc_report_save(&f.a, "html5", NULL, "/nonexistent/x", &error), JSC_E_ARGUMENT));
    cr_expect(eq(str, (char *)jsc_format_name(0), "text"));
    cr_expect(jsc_format_name(1000) == NULL);
}

Test(reports, a_receiver_that_refuses_ends_the_report)
{
    struct fake f;
    fake_init(&f);
    for (size_t room = 0; room < 600; room += 37) {
        jsc_error error;
        size_t left = room;
        cr_expect(eq(int, jsc_report_write(&f.a, "json", NULL, fake_refuse, &left, &error), JSC_E_FILE), "room %zu", room);
    }
}

Test(reports, case_44_a_full_disk_is_an_error)
{
    struct fake f;
    jsc_error error = {0};
    fake_init(&f);
    cr_expect(eq(int, jsc_report_save(&f.a, "json", NULL, "/dev/full", &error), JSC_E_FILE));
    cr_expect(strstr(error.text, "/dev/full") != NULL, "%s", error.text);
}

Test(reports, case_44_a_file_appears_whole_and_alone)
{
    char folder[] = "/tmp/jsc_reportsXXXXXX", path[64];
    struct fake f;
    struct fake_text wanted;
    jsc_error error = {0};
    char got[16384] = "";
    fake_init(&f);
    cr_assert(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/a.json", folder);
    cr_assert(eq(int, jsc_report_save(&f.a, "json", NULL, path, &error), JSC_OK), "%s", error.text);
    cr_assert(eq(int, fake_write(&f.a, "json", NULL, &wanted, &error), JSC_OK));
    FILE *file = fopen(path, "rb");
    cr_assert(file != NULL);
    const size_t n = fread(got, 1, sizeof got - 1, file);
    fclose(file);
    cr_expect(eq(sz, n, wanted.n));
    cr_expect(eq(str, got, wanted.text));
    cr_expect(eq(int, files_in(folder), 1));
    free(wanted.text);
    unlink(path);
    rmdir(folder);
}

Test(reports, a_folder_that_does_not_exist_is_named)
{
    struct fake f;
    jsc_error error = {0};
    fake_init(&f);
    cr_expect(eq(int, jsc_report_save(&f.a, "text", NULL, "/nonexistent/folder/x.txt", &error), JSC_E_FILE));
    cr_expect(strstr(error.text, "/nonexistent/folder") != NULL, "%s", error.text);
}

Test(reports, every_allocation_may_fail)
{
    static char longest[3000];
    struct fake f;
    fake_init(&f);
    memset(longest, 'y', sizeof longest - 1);
    f.tokens[0].text = longest; /* beyond the sink's own buffer */
    for (long k = 1; k < 200; k++) {
        struct fake_text out;
        jsc_error error = {0};
        mem_fail_at(k, false);
        const jsc_status status = fake_write(&f.a, "text", NULL, &out, &error);
        const long calls = mem_calls();
        mem_fail_at(0, false);
        free(out.text);
        if (calls < k) {
            cr_expect(eq(int, status, JSC_OK));
            cr_expect(k > 1, "nothing was allocated");
            return;
        }
        cr_expect(eq(int, status, JSC_E_MEMORY), "call %ld: %s", k, error.text);
    }
    cr_expect(0, "never ended");
}

Test(reports, the_same_attribution_gives_the_same_bytes)
{
    struct fake f;
    struct fake_text one, two;
    jsc_error error;
    fake_init(&f);
    for (size_t i = 0; jsc_format_name(i) != NULL; i++) {
        fake_write(&f.a, jsc_format_name(i), NULL, &one, &error);
        fake_write(&f.a, jsc_format_name(i), NULL, &two, &error);
        cr_expect(eq(str, one.text, two.text));
        free(one.text), free(two.text);
    }
}
