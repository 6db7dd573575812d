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
	struct bf16_products bf16;
	bool runs, best; /* on this processor; unless asked otherwise */
};

const struct unit *unit_choose(struct bf16_products *bf16, struct error *e)
{
	const struct bf16_products none = { 0 }, onednn = { .onednn = true }, plain = { &multiply_amx_plain, false, "amx_plain" };
#if defined __x86_64__
	const struct x86_features x86 = x86_features();
	const struct bf16_products amx = { &multiply_amx, false, "amx" };
	const struct unit *rows = x86.avx512 ? &unit_avx512 : &unit_avx2;
	const struct choice choices[] = {
		{ "amx", rows, amx, x86.amx && x86.avx2, true },
		{ "avx512_bf16", &unit_avx512, onednn, x86.avx512 && x86.bf16, x86.bf16_faster },
		{ "avx512", &unit_avx512, none, x86.avx512, true },
		{ "avx2", &unit_avx2, none, x86.avx2, true },
		{ "generic", &unit_generic, none, true, true },
		{ "amx_plain", x86.avx2 ? rows : &unit_generic, plain, true, false },
	};
#else
	const struct choice choices[] = { { "generic", &unit_generic, none, true, true },
		                          { "amx_plain", &unit_generic, plain, true, false } };
	(void)onednn;
#endif
	const char *asked = getenv("ONELAYER_UNIT");

	for (size_t i = 0; i < ARRAY_LEN(choices); i++) {
		const struct choice *c = &choices[i];

		if (c->runs && (asked ? strcmp(asked, c->name) == 0 : c->best)) {
			*bf16 = c->bf16;
			return c->unit;
		}
	}
	error_set(e, "ONELAYER_UNIT=%s: this processor has no such unit; unset it",
	          asked ? asked : "");
	return NULL;
}
