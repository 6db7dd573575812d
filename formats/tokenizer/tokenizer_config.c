#include "tokenizer_config.h"

#include <stdbool.h>
#include <string.h>

static const char *token_named(const struct json *o, const char *key)
{
	const struct json *v = json_member(o, key);
	const char *text = json_text(v, NULL);
	return text != NULL ? text : json_text(json_member(v, "content"), NULL);
}

/* transformers gives these classes a bos token unless told otherwise. */
static bool begins_by_default(const struct json *config)
{
	static const char *const classes[] = { "LlamaTokenizer", "CodeLlamaTokenizer",
					       "GemmaTokenizer", "CohereTokenizer" };
	const char *name = json_text(json_member(config, "tokenizer_class"), NULL);
	for (size_t i = 0; name != NULL && i < ARRAY_LEN(classes); i++) {
		size_t n = strlen(classes[i]);
		if (strncmp(name, classes[i], n) == 0 &&
		    (name[n] == '\0' || strcmp(name + n, "Fast") == 0))
			return true;
	}
	return false;
}

static int choose(const struct json *config, const struct json *map, const char *key, bool on,
		  const char **out, struct error *e)
{
	if (!on)
		return 0;
	*out = token_named(config, key);
	if (*out == NULL)
		*out = token_named(map, key);
	if (*out == NULL)
		return error_set(e, "tokenizer_config.json asks for a %s and names none", key);
	return 0;
}

int tokenizer_config_read(const struct json *config, const struct json *map,
			  struct tokenizer_config *out, struct error *e)
{
	*out = (struct tokenizer_config){ 0 };
	bool bos = begins_by_default(config), eos = false;
	int has_bos = json_get_bool(config, "add_bos_token", &bos, e);
	int has_eos = has_bos < 0 ? -1 : json_get_bool(config, "add_eos_token", &eos, e);
	if (has_eos < 0)
		return error_in(e, "tokenizer_config.json");
	if (!has_bos && !has_eos)
		return 0;
	out->decides = 1;
	if (choose(config, map, "bos_token", bos, &out->bos, e) < 0)
		return -1;
	return choose(config, map, "eos_token", eos, &out->eos, e);
}
