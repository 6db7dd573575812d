#include "token_text.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "memory.h"
#include "option.h"
#include "tokenizer.h"
#include "wire.h"

struct token_text {
	struct tokenizer *tokenizer;    /* NULL: none */
	pthread_mutex_t lock;           /* guards the next two */
	struct tokenizer_scratch *scratch; /* once a text was looked for */
	struct tokenizer_ids ids;
	size_t vocab;
	struct error trouble;
};

struct token_text *token_text_open(const char *dir, size_t vocab)
{
	struct token_text *t = mem_zero(1, sizeof *t);
	char *path = mem_format("%s/tokenizer.json", dir);
	t->vocab = vocab;
	pthread_mutex_init(&t->lock, NULL);
	if (access(path, F_OK) == 0 && tokenizer_open(path, &t->tokenizer, &t->trouble) < 0)
		t->tokenizer = NULL;
	free(path);
	return t;
}

void token_text_close(struct token_text *t)
{
	if (!t)
		return;
	tokenizer_ids_release(&t->ids);
	if (t->scratch)
		tokenizer_scratch_close(t->scratch);
	tokenizer_close(t->tokenizer);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

const char *token_text_trouble(const struct token_text *t)
{
	return *t->trouble.text ? t->trouble.text : NULL;
}

char *token_text_of(const struct token_text *t, uint32_t id, size_t *len)
{
	/* A decoder may drop the space at the beginning of a text, so the second of two is asked for. */
	const uint32_t twice[] = { id, id };
	struct error ignored;
	char *one, *two;
	size_t one_len, two_len;
	if (!t->tokenizer || tokenizer_decode(t->tokenizer, twice, 1, 0, &one, &one_len, &ignored) < 0)
		return NULL;
	*len = one_len;
	if (tokenizer_decode(t->tokenizer, twice, 2, 0, &two, &two_len, &ignored) < 0)
		return one;
	if (two_len > one_len && memcmp(one, two, one_len) == 0) {
		*len = two_len - one_len;
		memmove(one = mem_resize(one, *len + 1, 1), two + one_len, *len + 1);
	}
	free(two);
	return one;
}

int token_text_find(struct token_text *t, const char *text, size_t len, uint32_t *id, struct error *e)
{
	int shown = len < 200 ? (int)len : 200;
	if (!t->tokenizer)
		return error_set(e, "'%.*s': %s, so give tokens as #ID", shown, text,
		                 *t->trouble.text ? t->trouble.text : "the model has no tokenizer.json");
	pthread_mutex_lock(&t->lock);
	if (!t->scratch)
		t->scratch = tokenizer_scratch_open(t->tokenizer);
	int status = tokenizer_encode(t->tokenizer, t->scratch, text, len, TOKENIZER_NO_SPECIAL, &t->ids, e);
	size_t n = status < 0 ? 0 : t->ids.n;
	*id = n == 1 ? t->ids.id[0] : tokenizer_find(t->tokenizer, text, len);
	pthread_mutex_unlock(&t->lock);
	if (status < 0)
		return error_in(e, "'%.*s'", shown, text);
	if (*id == TOKENIZER_NO_ID)
		return error_set(e, "'%.*s': is %zu tokens where one is due; give a text that is one (tok shows which), or #ID", shown,
		                 text, n);
	return 0;
}

static int check_id(const struct token_text *t, uint64_t id, struct error *e)
{
	if (id >= t->vocab)
		return error_set(e, "#%llu: the model's vocabulary is %zu", (unsigned long long)id, t->vocab);
	return 0;
}

/* A text or #ID. */
static int read_one(struct token_text *t, const char *text, size_t len, uint32_t *id, struct error *e)
{
	uint64_t number = 0;
	size_t i = 1;
	if (len < 2 || text[0] != '#')
		i = 0;
	for (; i && i < len && text[i] >= '0' && text[i] <= '9'; i++)
		/* Large enough for any id, and stays there. */
		number = number < UINT32_MAX ? number * 10 + (uint64_t)(text[i] - '0') : number;
	if (i && i == len) {
		*id = (uint32_t)number;
		return check_id(t, number, e);
	}
	return token_text_find(t, text, len, id, e) < 0 ? -1 : check_id(t, *id, e);
}

int token_list_open(struct token_list *l, struct token_text *t, const char *text, bool pair, struct error *e)
{
	static const char *const pair_keys[] = { "target", "foil" };
	char **item = option_split(pair && strcmp(text, "@") == 0 ? "@,@" : text, ',', &l->n);
	const char **keys = mem_zero(l->n, sizeof *keys);
	int status = 0;
	l->ids = mem_zero(l->n, sizeof *l->ids);
	l->keys = keys;
	if (pair && l->n != 2)
		status = error_set(e, "'%s': names %zu tokens where two are due: A,B", text, l->n);
	for (size_t i = 0; i < l->n && status == 0; i++) {
		keys[i] = pair_keys[pair ? i : 0];
		if (strcmp(item[i], "@") == 0)
			l->ids[i] = TOKEN_OWN;
		else
			status = read_one(t, item[i], strlen(item[i]), &l->ids[i], e);
	}
	free(item);
	if (status < 0)
		token_list_close(l);
	return status;
}

void token_list_close(struct token_list *l)
{
	free(l->ids);
	free((void *)l->keys);
	*l = (struct token_list){ 0 };
}

/* The value under a key of the sample's further pairs.  1 or 0. */
static int find_extra(const struct sample *s, const char *key, struct wire_cursor *value)
{
	struct wire_cursor c = { (const uint8_t *)s->extra, s->extra_len };
	struct wire_value name;
	for (size_t i = 0; i < s->n_extra; i++) {
		const char *p;
		size_t len;
		if (wire_next(&c, &name) < 0)
			return 0;
		*value = c;
		if (wire_skip(&c, &p, &len) < 0)
			return 0;
		if (name.type == WIRE_STR && name.len == strlen(key) && memcmp(name.p, key, name.len) == 0)
			return 1;
	}
	return 0;
}

/* 1; 0: the sample has none; or -1. */
static int own_token(struct token_text *t, const struct sample *s, const char *key, uint32_t *id, struct error *e)
{
	struct wire_cursor c;
	struct wire_value v;
	const char *name = s->id.p ? s->id.p : "";
	if (!find_extra(s, key, &c) || wire_next(&c, &v) < 0 || v.type == WIRE_NIL)
		return 0;
	if (v.type != WIRE_STR && v.type != WIRE_UINT)
		return error_set(e, "sample '%s': its %s is %s; a token's text or id is due", name, key, wire_type_name(v.type));
	*id = (uint32_t)v.number;
	int status = v.type == WIRE_STR ? read_one(t, v.p, v.len, id, e) : check_id(t, v.number, e);
	return status < 0 ? error_in(e, "sample '%s': %s", name, key) : 1;
}

ptrdiff_t token_list_ids(const struct token_list *l, struct token_text *t, const struct sample *s, uint32_t *ids,
                         struct error *e)
{
	ptrdiff_t n = 0;
	for (size_t i = 0; i < l->n; i++) {
		ids[n] = l->ids[i];
		int found = l->ids[i] == TOKEN_OWN ? own_token(t, s, l->keys[i], &ids[n], e) : 1;
		if (found < 0)
			return -1;
		n += found;
	}
	return n;
}
