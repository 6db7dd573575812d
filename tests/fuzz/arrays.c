#include "tensor_list.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "io.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* A file of tensors of any kind that tdiff reads; what it says of a tensor must lie in the file. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct error e;
	struct tensor_list l;
	char path[64];
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	if (fd < 0 || io_write(fd, data, n) < 0)
		return 0;
	if (tensor_list_open(&l, path, &e) == 0) {
		for (size_t i = 0; i < l.n; i++) {
			uint64_t len = l.tensor[i].n * dtype_size(l.tensor[i].dtype);
			if (len > n || l.tensor[i].offset > n - len)
				__builtin_trap();
		}
		tensor_list_close(&l);
	}
	close(fd);
	return 0;
}
