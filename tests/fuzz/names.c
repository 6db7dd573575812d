/* What a command line can spell: selections, layers, pools, sizes, types. */
#include <stdlib.h>
#include <string.h>

#include "dtype.h"
#include "option.h"
#include "pooling.h"
#include "site.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct error e;
	struct selection s;
	struct pool p;
	bool set[32];
	uint64_t bytes;
	char *text = strndup((const char *)data, n);
	size_t len = strlen(text), count;
	if (selection_parse(&s, text, n & 1 ? "layer-run" : NULL, &e) == 0)
		selection_release(&s);
	(void)!layers_parse(text, len, 32, set, &e);
	(void)!option_size(text, &bytes, &e);
	if (pool_parse(&p, text, &e) == 0) {
		char spelled[32];
		pool_text(&p, spelled);
	}
	dtype_parse(text, len);
	free(option_split(text, ',', &count));
	free(text);
	return 0;
}
