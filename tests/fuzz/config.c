#include "config.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct error e;
	struct json *root = json_parse((const char *)data, n, 0, "config.json", &e);
	if (!root)
		return 0;
	struct config c = { 0 };
	struct model m = { 0 };
	if (config_parse(root, "config.json", &c, &m, &e) == 0)
		free(config_facts(&c, &m));
	model_release(&m);
	json_free(root);
	return 0;
}
