/* dtype convert FROM TO, or dtype round IN TO: standard input to standard output by the library. */
#include "dtype.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
	enum { MOST = 64 << 20 };
	if (argc != 4)
		return 2;
	enum dtype from = dtype_parse(argv[2], strlen(argv[2])), to = dtype_parse(argv[3], strlen(argv[3]));
	if (!from || !to)
		return 2;
	char *in = malloc(MOST), *out = malloc((size_t)MOST * 8 + 1);
	size_t n = fread(in, 1, MOST, stdin) / dtype_size(from);
	/* One byte off, as in a file without alignment. */
	char *dst = out + 1;
	if (!strcmp(argv[1], "round")) {
		dtype_round(in, from, to, n);
		memcpy(dst, in, n * dtype_size(from));
		to = from;
	} else {
		dtype_convert(dst, to, in, from, n);
	}
	size_t written = fwrite(dst, dtype_size(to), n, stdout);
	free(in);
	free(out);
	return written == n ? 0 : 2;
}
