#include "unit.h"

#include <stdlib.h>
#include <string.h>

enum { ROWS_MOST = 256 }; /* more would leave the second-level cache */

size_t attend_rows(size_t width)
{
	/* As attend_begin divides it; a stride is at most 31 more than the width, and values are
	   filled up to a panel of at most 64. */
	const size_t stride = width + 31, room = ATTEND_SCRATCH_LEN / sizeof(float);
	const size_t fixed = ATTEND_KEYS * stride + (ATTEND_KEYS + 2) * (width + 63) + 24 * ATTEND_KEYS + 32;
	const size_t rows = room > fixed ? (room - fixed) / (2 * stride + 2) : 0;

	return rows < ROWS_MOST ? rows : ROWS_MOST;
}

struct choice {
	const char *name;
	const struct unit *unit;
	const struct multiplier *bf16; /* NULL: the unit's, or oneDNN */
	bool onednn;
	bool runs, best;               /* on this processor; unless asked otherwise */
};

const struct unit *unit_choose(struct bf16_products *bf16, struct error *e)
{
#if defined __x86_64__
	const struct x86_features x86 = x86_features();
	const struct unit *rows = x86.avx512 ? &unit_avx512 : x86.avx2 ? &unit_avx2 : &unit_generic;
#else
	const struct unit *rows = &unit_generic;
#endif
	const struct choice choices[] = {
#if defined __x86_64__
		{ "amx", rows, &multiply_amx, false, x86.amx && x86.avx2, true },
		{ "avx512_bf16", rows, &multiply_avx512_bf16, false, x86.bf16, x86.bf16_faster },
		{ "avx512", &unit_avx512, NULL, false, x86.avx512, true },
		{ "avx2", &unit_avx2, NULL, false, x86.avx2, true },
		{ "onednn", rows, NULL, true, x86.bf16, false },
#endif
		{ "generic", &unit_generic, NULL, false, true, true },
		{ "amx_plain", rows, &multiply_amx_plain, false, true, false },
		{ "avx512_bf16_plain", rows, &multiply_avx512_bf16_plain, false, true, false },
	};
	const char *asked = getenv("ONELAYER_UNIT");

	for (size_t i = 0; i < ARRAY_LEN(choices); i++) {
		const struct choice *c = &choices[i];

		if (c->runs && (asked ? strcmp(asked, c->name) == 0 : c->best)) {
			*bf16 = (struct bf16_products){ c->bf16, c->onednn, c->name };
			return c->unit;
		}
	}
	error_set(e, "ONELAYER_UNIT=%s: this processor has no such unit; unset it",
	          asked ? asked : "");
	return NULL;
}
