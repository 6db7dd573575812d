#include "safetensors.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "io.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct error e;
	char path[64];
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	if (fd < 0 || io_write(fd, data, n) < 0)
		return 0;
	struct safetensors *s = safetensors_open(path, &e);
	if (s)
		safetensors_close(s);
	close(fd);
	return 0;
}
