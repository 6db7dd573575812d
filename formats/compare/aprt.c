#include "aprt.h"

#include <inttypes.h>
#include <string.h>

#include "io.h"

/* All numbers are little-endian, as this program's machines are. */
struct header {
	char magic[4];
	uint32_t layer, n;
};
_Static_assert(sizeof(struct header) == APRT_HEADER_LEN, "no padding");

int aprt_read(struct aprt *a, int fd, uint64_t size, const char *path, struct error *e)
{
	struct header h;
	if (size < sizeof h)
		return error_set(e, "%s: too short for an APRT file", path);
	if (io_read_at(fd, &h, sizeof h, 0, path, e) < 0)
		return -1;
	if (memcmp(h.magic, "APRT", 4) != 0)
		return error_set(e, "%s: not an APRT file", path);
	if (h.layer != UINT32_MAX && h.layer > INT32_MAX)
		return error_set(e, "%s: layer %" PRIu32 " is none that a model has; the file is damaged", path, h.layer);
	uint64_t needed = sizeof h + (uint64_t)h.n * sizeof(float);
	if (needed != size)
		return error_set(e, "%s: %" PRIu32 " values need %" PRIu64 " bytes, the file has %" PRIu64 "; it is %s", path, h.n,
		                 needed, size, needed > size ? "cut short" : "damaged");
	*a = (struct aprt){ h.layer == UINT32_MAX ? -1 : (int)h.layer, h.n };
	return 0;
}
