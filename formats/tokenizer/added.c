#include "added.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "unicode.h"

#define MOST_TOKENS ((size_t)1 << 20)
#define MOST_CONTENT 65536

struct token {
	char *content;
	size_t len;
	uint32_t id;
	bool single_word, lstrip, rstrip, normalized, special;
};

/* A tree of the bytes of all patterns, as a hash table of its edges. */
struct edge {
	uint64_t key; /* node << 8 | byte; all ones in an empty slot */
	uint32_t node;
};

struct tree {
	bool begins[256];
	struct edge *edge;
	size_t mask, n_edges;
	uint32_t *token; /* by node: index + 1 of the token that ends there, or 0 */
	size_t n_nodes, capacity;
};

struct added {
	struct token *token;
	size_t n;
	uint32_t *by_id; /* index + 1, or 0 */
	size_t n_ids, id_capacity;
	struct vocab index; /* content -> index */
	struct tree tree[ADDED_N_PASSES];
};

static void tree_init(struct tree *t)
{
	*t = (struct tree){ .mask = 15, .n_nodes = 1 };
	t->edge = mem_alloc(16 * sizeof *t->edge);
	memset(t->edge, 0xff, 16 * sizeof *t->edge);
	mem_grow((void **)&t->token, &t->capacity, 1, sizeof *t->token);
	t->token[0] = 0;
}

static struct edge *tree_slot(const struct tree *t, uint64_t key)
{
	uint64_t h = key * 0x9e3779b97f4a7c15u;
	size_t i = (size_t)(h ^ h >> 32) & t->mask;
	while (t->edge[i].key != key && t->edge[i].key != UINT64_MAX)
		i = (i + 1) & t->mask;
	return &t->edge[i];
}

static void tree_grow(struct tree *t)
{
	struct tree old = *t;
	t->mask = 2 * t->mask + 1;
	t->edge = mem_alloc((t->mask + 1) * sizeof *t->edge);
	memset(t->edge, 0xff, (t->mask + 1) * sizeof *t->edge);
	for (size_t i = 0; i <= old.mask; i++)
		if (old.edge[i].key != UINT64_MAX)
			*tree_slot(t, old.edge[i].key) = old.edge[i];
	free(old.edge);
}

/* Of two equal patterns the first counts. */
static void tree_add(struct tree *t, const char *s, size_t len, size_t token)
{
	if (len == 0)
		return;
	uint32_t node = 0;
	t->begins[(unsigned char)s[0]] = true;
	for (size_t i = 0; i < len; i++) {
		uint64_t key = (uint64_t)node << 8 | (unsigned char)s[i];
		struct edge *edge = tree_slot(t, key);
		if (edge->key == UINT64_MAX) {
			if (2 * (t->n_edges + 1) > t->mask) {
				tree_grow(t);
				edge = tree_slot(t, key);
			}
			mem_grow((void **)&t->token, &t->capacity, t->n_nodes + 1,
				 sizeof *t->token);
			t->token[t->n_nodes] = 0;
			*edge = (struct edge){ key, (uint32_t)t->n_nodes++ };
			t->n_edges++;
		}
		node = edge->node;
	}
	if (t->token[node] == 0)
		t->token[node] = (uint32_t)token + 1;
}

/* The longest pattern that stands at text[at]: its index + 1 (0: none) and its end. */
static uint32_t tree_longest(const struct tree *t, const char *text, size_t len, size_t at,
			     size_t *end)
{
	uint32_t node = 0, found = 0;
	for (size_t i = at; i < len; i++) {
		uint64_t key = (uint64_t)node << 8 | (unsigned char)text[i];
		const struct edge *edge = tree_slot(t, key);
		if (edge->key == UINT64_MAX)
			break;
		node = edge->node;
		if (t->token[node] != 0) {
			found = t->token[node];
			*end = i + 1;
		}
	}
	return found;
}

static void set_id(struct added *a, uint32_t id, size_t index)
{
	if (id >= a->n_ids) {
		mem_grow((void **)&a->by_id, &a->id_capacity, id + 1u, sizeof *a->by_id);
		memset(a->by_id + a->n_ids, 0, (id + 1u - a->n_ids) * sizeof *a->by_id);
		a->n_ids = id + 1u;
	}
	a->by_id[id] = (uint32_t)index + 1;
}

static int read_token(const struct json *j, struct token *t, struct error *e)
{
	const char *content = NULL;
	*t = (struct token){ 0 };
	if (json_kind(j) != JSON_KIND_OBJECT)
		return error_set(e, "an entry is %s", json_kind_name(j));
	if (json_get_text(j, "content", &content, &t->len, e) < 0)
		return -1;
	if (content == NULL || t->len > MOST_CONTENT)
		return error_set(e, "a content that is missing or too long");
	t->normalized = true;
	if (json_get_bool(j, "special", &t->special, e) < 0 ||
	    json_get_bool(j, "single_word", &t->single_word, e) < 0 ||
	    json_get_bool(j, "lstrip", &t->lstrip, e) < 0 ||
	    json_get_bool(j, "rstrip", &t->rstrip, e) < 0 ||
	    json_get_bool(j, "normalized", &t->normalized, e) < 0)
		return -1;
	t->content = mem_slice(content, t->len);
	return 0;
}

/* `*next` is one above the largest id that was given to any token so far, or 0. */
static int add_token(struct added *a, struct token *t, const struct vocab *model, uint32_t *next,
		     struct error *e)
{
	if (t->len == 0)
		return 0;
	uint32_t again = vocab_find(&a->index, t->content, t->len);
	if (again != VOCAB_NONE) { /* the later entry's flags count, its pass does not */
		struct token *was = &a->token[again];
		was->single_word = t->single_word;
		was->lstrip = t->lstrip;
		was->rstrip = t->rstrip;
		was->special |= t->special;
		return 0;
	}
	t->id = vocab_find(model, t->content, t->len);
	if (t->id == VOCAB_NONE)
		t->id = *next > model->count ? *next : (uint32_t)model->count;
	if (t->id >= *next)
		*next = t->id + 1;
	if (vocab_add(&a->index, t->content, t->len, a->n, e) < 0)
		return -1;
	a->token[a->n] = *t;
	set_id(a, t->id, a->n++);
	t->content = NULL;
	return 0;
}

static int read_tokens(struct added *a, const struct json *list, const struct vocab *model,
		       struct error *e)
{
	size_t n = json_count(list);
	if (n > MOST_TOKENS)
		return error_set(e, "%zu entries, at most %zu are read", n, MOST_TOKENS);
	a->token = mem_zero(n, sizeof *a->token);
	vocab_init(&a->index, n);
	uint32_t next = 0;
	for (size_t i = 0; i < n; i++) {
		struct token t;
		int rc = read_token(json_at(list, i), &t, e);
		if (rc == 0)
			rc = add_token(a, &t, model, &next, e);
		free(t.content);
		if (rc < 0)
			return -1;
	}
	return 0;
}

/* Special tokens come first, as in the library, which decides between equal patterns. */
static int plant(struct added *a, const struct normalizer *n, struct error *e)
{
	struct normalizer_scratch *s = normalizer_scratch_open(n);
	int rc = 0;
	for (int special = 1; special >= 0; special--)
		for (size_t i = 0; i < a->n && rc == 0; i++) {
			const struct token *t = &a->token[i];
			struct slice text = { t->content, t->len, NULL, 0, true }, form = text;
			if (t->special != special)
				continue;
			if (t->normalized)
				rc = normalizer_run(n, s, &text, false, &form, e);
			if (rc == 0)
				tree_add(&a->tree[t->normalized ? ADDED_NORMALIZED : ADDED_RAW],
					 form.text, form.len, i);
		}
	normalizer_scratch_close(s);
	return rc;
}

int added_open(const struct json *list, const struct vocab *model, const struct normalizer *n,
	       struct added **out, struct error *e)
{
	struct added *a = mem_zero(1, sizeof *a);
	for (int i = 0; i < ADDED_N_PASSES; i++)
		tree_init(&a->tree[i]);
	if (read_tokens(a, list, model, e) < 0 || plant(a, n, e) < 0) {
		added_close(a);
		return error_in(e, "added_tokens");
	}
	*out = a;
	return 0;
}

void added_close(struct added *a)
{
	if (a == NULL)
		return;
	for (size_t i = 0; i < a->n; i++)
		free(a->token[i].content);
	for (int i = 0; i < ADDED_N_PASSES; i++) {
		free(a->tree[i].edge);
		free(a->tree[i].token);
	}
	vocab_release(&a->index);
	free(a->token);
	free(a->by_id);
	free(a);
}

uint32_t added_find(const struct added *a, const char *content, size_t len)
{
	uint32_t i = vocab_find(&a->index, content, len);
	return i == VOCAB_NONE ? VOCAB_NONE : a->token[i].id;
}

const char *added_text(const struct added *a, uint32_t id, size_t *len, bool *special)
{
	if (id >= a->n_ids || a->by_id[id] == 0)
		return NULL;
	const struct token *t = &a->token[a->by_id[id] - 1];
	*len = t->len;
	*special = t->special;
	return t->content;
}

size_t added_n_ids(const struct added *a)
{
	return a->n_ids;
}

void added_start(struct added_walk *w, const struct added *a, enum added_pass pass,
		 const struct slice *text)
{
	*w = (struct added_walk){ a, pass, text, 0, 0 };
}

static bool word_before(const struct slice *s, size_t at)
{
	if (at == 0)
		return false;
	do
		at--;
	while (at > 0 && !utf8_is_lead(s->text[at]));
	const char *p = s->text + at;
	return unicode_properties(utf8_next(&p)) & UNICODE_WORD;
}

static bool word_after(const struct slice *s, size_t at)
{
	if (at == s->len)
		return false;
	const char *p = s->text + at;
	return unicode_properties(utf8_next(&p)) & UNICODE_WORD;
}

static size_t space_before(const struct slice *s, size_t at, size_t least)
{
	while (at > least) {
		size_t before = at - 1;
		while (before > least && !utf8_is_lead(s->text[before]))
			before--;
		const char *p = s->text + before;
		if (!unicode_space(utf8_next(&p)))
			break;
		at = before;
	}
	return at;
}

static size_t space_after(const struct slice *s, size_t at)
{
	while (at < s->len) {
		const char *p = s->text + at;
		if (!unicode_space(utf8_next(&p)))
			break;
		at = (size_t)(p - s->text);
	}
	return at;
}

bool added_next(struct added_walk *w, uint32_t *id, size_t *start, size_t *end)
{
	const struct slice *s = w->text;
	const struct tree *tree = &w->added->tree[w->pass];
	if (tree->n_edges == 0)
		return false;
	while (w->at < s->len) {
		if (!tree->begins[(unsigned char)s->text[w->at]]) {
			w->at++;
			continue;
		}
		uint32_t found = tree_longest(tree, s->text, s->len, w->at, end);
		if (found == 0) {
			w->at++;
			continue;
		}
		*start = w->at;
		w->at = *end; /* also where the match does not count */
		const struct token *t = &w->added->token[found - 1];
		t = &w->added->token[w->added->by_id[t->id] - 1];
		if (t->single_word && (word_before(s, *start) || word_after(s, *end)))
			continue;
		if (t->lstrip && *start > w->done)
			*start = space_before(s, *start, w->done);
		else if (t->lstrip && *start < w->done)
			*start = w->done;
		if (t->rstrip) /* up to `done` the token before has looked already */
			*end = *end < w->done ? w->done : space_after(s, *end);
		*id = t->id;
		w->done = *end;
		return true;
	}
	return false;
}
