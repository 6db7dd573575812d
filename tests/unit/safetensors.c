#include "safetensors.h"

#include <inttypes.h>
#include <stdio.h>

/* For each file named, a line a tensor, or "refused: " and the sentence. */
int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		struct error e = { "" };
		struct safetensors *s = safetensors_open(argv[i], &e);
		if (!s) {
			printf("refused: %s\n", e.text);
			continue;
		}
		printf("%zu tensors\n", s->n_tensors);
		for (size_t k = 0; k < s->n_tensors; k++) {
			const struct safetensor *t = &s->tensor[k];
			char shape[128];
			safetensors_shape(shape, sizeof shape, t->dim, t->n_dims);
			printf("%s %s %s %s %" PRIu64 " %" PRIu64 "\n", t->name, t->type, dtype_name(t->dtype), shape,
			       t->offset, t->len);
		}
		safetensors_close(s);
	}
	return 0;
}
