/* mutate.h: seeded damage to the bytes of a file. */
#ifndef MUTATE_H
#define MUTATE_H

#include "base_internal.h"

/* Changes bytes[0 .. *n) by 1 to 4 edits; capacity bytes are there. The same (seed, number) gives the same mutant everywhere. */
void mutate(unsigned char *bytes, size_t *n, size_t capacity, uint64_t seed, uint64_t number);

#endif
