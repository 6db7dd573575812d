#include "unit.h"

enum { ROWS_MOST = 256 };       /* more would leave the second-level cache */

size_t attend_rows(size_t width)
{
	/* As attend_begin divides it; a stride is at most 31 more than the width. */
	const size_t stride = width + 31, fixed = 2 * (size_t)ATTEND_KEYS * stride + 6 * ATTEND_KEYS + 6 * stride + 32;
	const size_t room = ATTEND_SCRATCH_LEN / sizeof(float);
	const size_t rows = room > fixed ? (room - fixed) / (2 * stride + 2) : 0;

	return rows < ROWS_MOST ? rows : ROWS_MOST;
}
