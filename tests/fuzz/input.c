#include "input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* The bytes as a file of every format. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	for (int format = INPUT_AUTO; format <= INPUT_DOC; format++) {
		struct input_options o = { .format = (enum input_format)format };
		struct input *in = input_open_bytes(&o, data, n);
		struct input_sample s;
		struct error e;
		volatile size_t sum = 0;
		while (input_next(in, &s, &e) > 0) {
			for (size_t i = 0; i < s.text.len; i++)
				sum += (unsigned char)s.text.text[i];
			for (size_t i = 0; i < s.n_ids; i++)
				sum += s.ids[i];
			for (size_t i = 0; i < s.id.len; i++)
				sum += (unsigned char)s.id.text[i];
		}
		(void)sum;
		input_close(in);
	}
	return 0;
}
