/*
 * What stands before and after a text's own tokens: the "post_processor" of a tokenizer.json and
 * add_bos_token, add_eos_token of a tokenizer_config.json.
 */
#ifndef TEMPLATE_H
#define TEMPLATE_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "json.h"

struct template {
	uint32_t *before, *after;
	size_t n_before, n_after;
};

/*
 * Reads TemplateProcessing, BertProcessing, RobertaProcessing, ByteLevel, Sequence and null.
 * Returns 0, or -1 with the reason.  Release in both cases.
 */
int template_open(const struct json *post_processor, struct template *t,
		  struct error *e) MUST_CHECK;

void template_before(struct template *t, uint32_t id); /* puts an id before all others */
void template_after(struct template *t, uint32_t id);  /* puts an id after all others */
void template_release(struct template *t);

#endif
