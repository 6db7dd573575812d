#include "tokenizer.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* A tokenizer.json, and after a NUL a text for it; what it makes of the text must decode. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const char plain[] = "Hello  world, it's\n\n1234 \xc3\xa9 e\xcc\x81 <s>\xe2\x96\x81 x";
	struct error e;
	struct tokenizer *t;
	const uint8_t *end = memchr(data, 0, n);
	size_t len = end == NULL ? n : (size_t)(end - data);
	if (tokenizer_open_text((const char *)data, len, NULL, 0, &t, &e) < 0)
		return 0;
	const char *text = end == NULL ? plain : (const char *)end + 1;
	size_t text_len = end == NULL ? sizeof plain - 1 : n - len - 1;
	struct tokenizer_scratch *s = tokenizer_scratch_open(t);
	struct tokenizer_ids ids = { 0 };
	for (unsigned flags = 0; flags < 4; flags++) {
		char *back;
		size_t back_len, first, last;
		if (tokenizer_encode(t, s, text, text_len, flags, &ids, &e) < 0)
			continue;
		if (flags & TOKENIZER_SPANS)
			tokenizer_positions(&ids, 1, text_len, &first, &last);
		if (tokenizer_decode(t, ids.id, ids.n, flags, &back, &back_len, &e) == 0)
			free(back);
	}
	tokenizer_ids_release(&ids);
	tokenizer_scratch_close(s);
	tokenizer_close(t);
	return 0;
}
