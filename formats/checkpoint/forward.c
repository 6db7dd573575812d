#include "forward.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"

enum stage { STAGE_EMBED, STAGE_BLOCK, STAGE_NORM, STAGE_HEAD };

struct word {
	const char *text;
	unsigned rank;
};

/* The first that a name holds counts. */
static const struct word outside[] = {
	{ "lm_head", STAGE_HEAD }, { "embed_out", STAGE_HEAD }, { "output.weight", STAGE_HEAD }, { "score", STAGE_HEAD },
	{ "logits", STAGE_HEAD }, { "embed", STAGE_EMBED }, { "wte", STAGE_EMBED }, { "wpe", STAGE_EMBED },
};

/* Inside a layer. */
static const struct word inside[] = {
	{ "input_layernorm", 1 }, { "ln_1", 1 }, { "attention_norm", 1 }, { "q_norm", 5 }, { "k_norm", 5 },
	{ "q_proj", 2 }, { "wq.", 2 }, { "k_proj", 3 }, { "wk.", 3 }, { "v_proj", 4 }, { "wv.", 4 }, { "qkv", 2 },
	{ "query_key_value", 2 }, { "q_layernorm", 5 }, { "k_layernorm", 5 }, { "c_attn", 2 }, { "o_proj", 6 }, { "wo.", 6 }, { "attn.c_proj", 6 },
	{ "attention.dense", 6 }, { "attn.dense", 6 }, { "post_attention_layernorm", 7 }, { "ln_2", 8 }, { "pre_feedforward", 8 },
	{ "ffn_norm", 8 }, { "router", 9 }, { "mlp.gate.", 9 }, { "moe.gate.", 9 }, { "shared_expert_gate", 9 }, { "gate_up", 10 }, { "gate_proj", 10 }, { "w1.", 10 },
	{ "up_proj", 11 }, { "w3.", 11 }, { "c_fc", 11 }, { "fc1", 11 }, { "dense_h_to_4h", 11 }, { "down_proj", 12 }, { "w2.", 12 },
	{ "c_proj", 12 }, { "fc2", 12 }, { "dense_4h_to_h", 12 }, { "post_feedforward", 13 },
};

static unsigned find(const struct word *words, size_t n, const char *name, unsigned otherwise)
{
	for (size_t i = 0; i < n; i++)
		if (strstr(name, words[i].text))
			return words[i].rank;
	return otherwise;
}

static uint64_t rank(enum stage stage, int layer, unsigned place)
{
	return (uint64_t)stage << 56 | (uint64_t)(layer + 1) << 16 | place;
}

uint64_t forward_of_site(enum site s, int layer)
{
	if (s == SITE_EMBED)
		return rank(STAGE_EMBED, -1, 0);
	if (s == SITE_FINAL_NORM || s == SITE_LOGITS)
		return rank(s == SITE_LOGITS ? STAGE_HEAD : STAGE_NORM, layer, 0);
	return rank(layer < 0 && s == SITE_NONE ? STAGE_HEAD : STAGE_BLOCK, layer, (unsigned)s);
}

/* Where the first number stands that is a part of its own between dots; NULL: there is none. */
static const char *number_in(const char *name, size_t *len)
{
	for (const char *p = name; (p = strchr(p, '.'));) {
		size_t n = strspn(++p, "0123456789");
		*len = n;
		if (n && n < 8 && (p[n] == '.' || !p[n]))
			return p;
	}
	return NULL;
}

uint64_t forward_of_tensor(const char *name, int *layer)
{
	size_t len, word = strcspn(name, ".");
	const char *number = number_in(name, &len);
	/* An array of rows, as tcat names them: SITE or SITE.LAYER. */
	enum site s = !name[word] || (number == name + word + 1 && !number[len]) ? site_find(name, word) : SITE_NONE;
	if (s != SITE_NONE) {
		*layer = number ? atoi(number) : -1;
		return forward_of_site(s, *layer);
	}
	*layer = number ? atoi(number) : -1;
	if (number)
		return rank(STAGE_BLOCK, *layer, find(inside, ARRAY_LEN(inside), number, 14));
	return rank((enum stage)find(outside, ARRAY_LEN(outside), name, STAGE_NORM), -1, 0);
}

char *forward_pattern(const char *name)
{
	size_t len;
	const char *number = number_in(name, &len);
	return number ? mem_format("%.*s*%s", (int)(number - name), name, number + len) : mem_string(name);
}
