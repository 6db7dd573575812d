#include "regex.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* The first half is a pattern where both are valid text, and is searched for in the whole. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct error e;
	struct regex *r;
	for (size_t i = 0; i < n; i++)
		if (data[i] >= 0x80)
			return 0;
	if (regex_open((const char *)data, n / 2, &r, &e) < 0)
		return 0;
	struct regex_scratch *s = regex_scratch_open();
	uint8_t *symbols = malloc(n + 1);
	size_t count = regex_symbols(r, (const char *)data, n, symbols), start, end;
	for (size_t from = 0; from <= count && regex_find(r, s, symbols, count, from, &start, &end, &e) > 0;)
		from = end > from ? end : from + 1;
	free(symbols);
	regex_scratch_close(s);
	regex_close(r);
	return 0;
}
