/*
 * Sets of code points, as the character classes of a regular expression need them.
 */
#ifndef CHARSET_H
#define CHARSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct range {
	uint32_t first, last;
};

struct charset {
	struct range *range; /* sorted, apart, after charset_tidy() */
	size_t n, capacity;
};

void charset_add(struct charset *s, uint32_t first, uint32_t last);
void charset_add_set(struct charset *s, const struct charset *other);

/* Sorts and joins the ranges.  The functions below leave their result tidy and need tidy input. */
void charset_tidy(struct charset *s);
void charset_negate(struct charset *s);
void charset_intersect(struct charset *s, const struct charset *other);
bool charset_equal(const struct charset *a, const struct charset *b);

/* Adds the code points whose category is in the mask (bit i for category i). */
void charset_add_categories(struct charset *s, uint32_t mask);

/* Adds "L", "Lu", "Letter", "Alphabetic"-like or script names of \p{...}.  False if unknown. */
bool charset_add_property(struct charset *s, const char *name, size_t len);

/* \s and \w as Oniguruma has them. */
void charset_add_space(struct charset *s);
void charset_add_word(struct charset *s);

/* Adds the other case of every member (simple mappings, and the long s and the Kelvin sign). */
void charset_fold(struct charset *s);

void charset_release(struct charset *s);

#endif
