/* parameterized.h: empty: the thread sanitizer program has no tables. */
