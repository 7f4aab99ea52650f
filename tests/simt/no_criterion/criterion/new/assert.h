/* assert.h: empty: all is in criterion.h beside this folder. */
