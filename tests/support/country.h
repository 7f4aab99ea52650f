/* country.h: a country whose numbers have a decimal comma. */
#ifndef JSC_TEST_COUNTRY_H
#define JSC_TEST_COUNTRY_H

/* Sets its locale; the test is skipped where none is installed. */
void comma_country(void);

#endif
