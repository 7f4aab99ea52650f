/* country.c: a country whose numbers have a decimal comma. */
#include "support/country.h"

#include <criterion/criterion.h>
#include <locale.h>

void comma_country(void)
{
    static const char *const countries[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "ru_RU.UTF-8"};
    for (size_t i = 0; i < sizeof countries / sizeof *countries; i++)
        if (setlocale(LC_ALL, countries[i]) != NULL)
            return;
    cr_skip("no locale with a decimal comma is installed");
}
