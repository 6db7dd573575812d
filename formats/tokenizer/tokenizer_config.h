/*
 * What tokenizer_config.json says beside tokenizer.json: whether a text begins with the bos token
 * and ends with the eos token.
 */
#ifndef TOKENIZER_CONFIG_H
#define TOKENIZER_CONFIG_H

#include "error.h"
#include "json.h"

/* Contents (borrowed from the JSON) of the tokens to put; NULL for none. */
struct tokenizer_config {
	int decides; /* 0: the template of tokenizer.json stands */
	const char *bos, *eos;
};

/*
 * `config` is the root of tokenizer_config.json, `map` that of special_tokens_map.json; either may
 * be NULL.  Returns 0, or -1 with the reason.
 */
int tokenizer_config_read(const struct json *config, const struct json *map,
			  struct tokenizer_config *out, struct error *e) MUST_CHECK;

#endif
