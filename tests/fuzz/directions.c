#include "directions.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "io.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Every array for the place that it says it is for, and for one that none is for. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct error e;
	char path[64];
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	if (fd < 0 || io_write(fd, data, n) < 0)
		return 0;
	struct directions *d = directions_open(path, NULL, &e);
	for (size_t i = 0; d && i <= d->n; i++) {
		bool elsewhere;
		const struct direction *v = directions_find(d, text_of(i < d->n ? d->direction[i].site : "?"),
		                                            i < d->n ? d->direction[i].layer : 3, &elsewhere, &e);
		size_t width = v ? v->n_dims ? v->dim[v->n_dims - 1] : 1 : 0, n_rows;
		if (v && width <= n)
			free(direction_values(d, v, width, NULL, &n_rows, &e));
	}
	directions_close(d);
	close(fd);
	return 0;
}
