#include "json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Walks everything, so that every string and number is looked at. */
static size_t walk(const struct json *v)
{
	size_t len = 0, sum = json_count(v);
	const char *text = json_text(v, &len), *key;
	for (size_t i = 0; i < len; i++)
		sum += (unsigned char)text[i];
	for (size_t i = 0; i < json_count(v); i++)
		sum += walk(json_at(v, i));
	void *at = NULL;
	for (const struct json *m; json_kind(v) == JSON_KIND_OBJECT && (m = json_each(v, &at, &key));)
		sum += (unsigned char)key[0] + walk(m);
	return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct error e;
	struct json *root = json_parse((const char *)data, n, n & 1 ? JSON_UNIQUE_KEYS : 0, "fuzz", &e);
	volatile size_t sum = root ? walk(root) : 0;
	(void)sum;
	json_free(root);
	return 0;
}
