/*
 * config.json, by the row of its family, as the facts that the block is told.  The spellings of
 * version 4 and 5 of Hugging Face's library ("rope_theta" and "rope_scaling", or "rope_parameters")
 * give the same facts.
 */
#ifndef CONFIG_H
#define CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "error.h"
#include "family.h"
#include "json.h"
#include "model.h"

/* What config.json says about the tensors alone. */
struct config {
	const struct family *family;
	bool qkv_bias, proj_bias, mlp_bias, head_bias, norm_bias, qk_norm_bias;
	bool tied;              /* the head is the embedding, even where the files have one too */
};

/*
 * Reads a parsed config.json into *m (all but name, fingerprint and dtype) and *c.  An unknown
 * model_type, a missing or absurd value, and every value that would ask for arithmetic that isn't
 * there is an error which names file, key and value.  0 or -1; *m is released by the caller in
 * both cases.
 */
int config_parse(const struct json *json, const char *path, struct config *c, struct model *m,
                 struct error *e) MUST_CHECK;

/* The same for a file. */
int config_read(const char *path, struct config *c, struct model *m, struct error *e) MUST_CHECK;

/*
 * All facts of *m but name, fingerprint and dtype, as lines "key value" in a fixed order and
 * spelling: two models compute the same from the same weights iff these lines are equal.  Numbers
 * keep every bit.  The caller frees it.
 */
char *config_facts(const struct config *c, const struct model *m);

#endif
