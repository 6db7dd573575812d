/*
 * UTF-8, character properties and normal forms, in the Unicode versions that the `tokenizers`
 * library mixes: 16 for categories and scripts, 17 for numbers, 8 for punctuation, 9 for
 * normal forms.  Only unicode.c knows utf8proc.
 */
#ifndef UNICODE_H
#define UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slice.h"

#define UNICODE_N 0x110000u

enum unicode_category { UC_CN, UC_LU, UC_LL, UC_LT, UC_LM, UC_LO, UC_MN, UC_MC, UC_ME, UC_ND, UC_NL,
	UC_NO, UC_PC, UC_PD, UC_PS, UC_PE, UC_PI, UC_PF, UC_PO, UC_SM, UC_SC, UC_SK, UC_SO, UC_ZS,
	UC_ZL, UC_ZP, UC_CC, UC_CF, UC_CS, UC_CO, UC_N_CATEGORIES };

/* What a run of code points has in common. */
#define UNICODE_CATEGORY(p) ((p) & 31)
#define UNICODE_NUMBER 32u       /* what Digits splits off */
#define UNICODE_WORD 64u         /* \w of added tokens */
#define UNICODE_PUNCTUATION 128u /* what Punctuation splits off */
#define UNICODE_SCRIPT(p) ((p) >> 8 & 7)

/* The bytes that are left of a valid text as one code point; *p moves past it. */
static inline uint32_t utf8_next(const char **p)
{
	const unsigned char *u = (const unsigned char *)*p;
	if (u[0] < 0x80) {
		*p += 1;
		return u[0];
	}
	if (u[0] < 0xe0) {
		*p += 2;
		return (uint32_t)(u[0] & 31) << 6 | (u[1] & 63u);
	}
	if (u[0] < 0xf0) {
		*p += 3;
		return (uint32_t)(u[0] & 15) << 12 | (uint32_t)(u[1] & 63) << 6 | (u[2] & 63u);
	}
	*p += 4;
	return (uint32_t)(u[0] & 7) << 18 | (uint32_t)(u[1] & 63) << 12 |
	       (uint32_t)(u[2] & 63) << 6 | (u[3] & 63u);
}

/* Bytes of the character that begins with this byte. */
static inline size_t utf8_size(char lead)
{
	unsigned char u = (unsigned char)lead;
	return u < 0x80 ? 1 : u < 0xe0 ? 2 : u < 0xf0 ? 3 : 4;
}

static inline bool utf8_is_lead(char c)
{
	return ((unsigned char)c & 0xc0) != 0x80;
}

/* The first byte that is not valid UTF-8 (surrogates and overlong forms are not), or len. */
size_t utf8_check(const char *text, size_t len);

/* Writes the 1 to 4 bytes of a code point and returns their number. */
size_t utf8_put(char to[4], uint32_t c);

/* The i-th run of code points: its end (exclusive), its start and properties.  NULL-free loop:
 * for (i = 0; unicode_run(i, &start, &end, &p); i++) */
bool unicode_run(size_t i, uint32_t *start, uint32_t *end, unsigned *properties);

/* Properties of one code point (binary search). */
unsigned unicode_properties(uint32_t c);

/* White_Space. */
bool unicode_space(uint32_t c);

/* Simple case mappings; c itself where there is none. */
uint32_t unicode_lower(uint32_t c);
uint32_t unicode_upper(uint32_t c);

enum unicode_form { UNICODE_NFC, UNICODE_NFD, UNICODE_NFKC, UNICODE_NFKD };

/* A prepared normal form (2 bits a code point in bytes: 1.1 MB).  Never NULL. */
struct unicode_normal *unicode_normal_open(enum unicode_form form);
void unicode_normal_close(struct unicode_normal *n);

/* True where the text is in that form already (quick, may say false needlessly). */
bool unicode_is_normal(const struct unicode_normal *n, const struct slice *in);

/* Appends the normal form of `in`.  Linear in its length. */
void unicode_normalize(const struct unicode_normal *n, const struct slice *in, struct buffer *out);

#endif
