/* A run's record, as it is and with the checksum that belongs to its bytes. */
#include "run_record.h"

#include <stdlib.h>
#include <string.h>

#include "checksum.h"
#include "memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void parse(const void *bytes, size_t n)
{
	struct run_record r;
	struct error e;
	if (run_record_parse(&r, bytes, n, "the input", &e) == 0)
		run_record_release(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	parse(data, n);
	if (n < 9)
		return 0;
	/* A MessagePack uint 64 in place of the last nine bytes. */
	uint8_t *right = mem_alloc(n);
	uint64_t sum = checksum(data, n - 9);
	memcpy(right, data, n - 9);
	right[n - 9] = 0xcf;
	for (int i = 0; i < 8; i++)
		right[n - 8 + i] = (uint8_t)(sum >> 8 * (7 - i));
	parse(right, n);
	free(right);
	return 0;
}
