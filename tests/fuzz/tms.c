#include "tms.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "io.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Reads a stream to its end and writes what was read. */
static void copy(struct tms_reader *r)
{
	struct error e;
	struct frame *f;
	struct tms_options options = { .plain_history = true };
	struct tms_step step = { .from = -1 };
	struct tms_writer *w = tms_create("/dev/null", tms_header(r), &step, &options, &e);
	int more = 0;
	while (w && (more = tms_next(r, &f, &e)) > 0) {
		more = tms_write(w, f, &e);
		frame_free(f);
		if (more < 0)
			break;
	}
	if (!w || more < 0)
		tms_abort(w);
	else
		(void)!tms_finish(w, &e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct error e;
	char path[64];
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	if (fd < 0 || io_write(fd, data, n) < 0)
		return 0;
	struct tms_reader *r = tms_open(path, &e);
	if (r) {
		copy(r);
		tms_close(r);
	}
	close(fd);
	return 0;
}
