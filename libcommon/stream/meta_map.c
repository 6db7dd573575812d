#include "meta_map.h"

#include <string.h>

static int broken(const struct map *m, struct error *e)
{
	return error_set(e, "%s is damaged", m->what);
}

int map_open(struct map *m, struct wire_cursor *c, const char *what, const char *const *keys, struct error *e)
{
	struct wire_value v;
	m->c = c;
	m->what = what;
	m->keys = keys;
	m->seen = 0;
	m->n_extra = m->extra_len = 0;
	if (wire_next(c, &v) < 0)
		return broken(m, e);
	if (v.type != WIRE_MAP)
		return error_set(e, "%s is %s where a map is due", what, wire_type_name(v.type));
	m->left = v.n;
	return 0;
}

static int key_number(const struct map *m, const struct wire_value *key)
{
	for (int i = 0; m->keys[i]; i++) {
		if (strlen(m->keys[i]) == key->len && memcmp(m->keys[i], key->p, key->len) == 0)
			return i;
	}
	return -1;
}

static int twice(const struct map *m, const struct wire_value *key, struct error *e)
{
	return error_set(e, "%s has the key '%.*s' twice", m->what, (int)(key->len < 64 ? key->len : 64), key->p);
}

static int keep_extra(struct map *m, const struct wire_value *key, const char *start, struct error *e)
{
	for (size_t i = 0; i < m->n_extra; i++) {
		if (m->extra[i].key.len == key->len && memcmp(m->extra[i].key.p, key->p, key->len) == 0)
			return twice(m, key, e);
	}
	if (m->n_extra == MAP_EXTRA_LIMIT)
		return error_set(e, "%s has more than %d keys that tms(5) doesn't know", m->what, MAP_EXTRA_LIMIT);
	const char *value;
	size_t value_len;
	if (wire_skip(m->c, &value, &value_len) < 0)
		return broken(m, e);
	m->extra[m->n_extra].key = *key;
	m->extra[m->n_extra].p = start;
	m->extra[m->n_extra].len = (size_t)(value - start) + value_len;
	m->extra_len += m->extra[m->n_extra++].len;
	return 0;
}

int map_next(struct map *m, struct error *e)
{
	for (; m->left; m->left--) {
		const char *start = (const char *)m->c->p;
		struct wire_value key;
		if (wire_next(m->c, &key) < 0)
			return broken(m, e);
		if (key.type != WIRE_STR)
			return error_set(e, "%s has %s for a key", m->what, wire_type_name(key.type));
		int number = key_number(m, &key);
		if (number >= 0) {
			if (m->seen >> number & 1)
				return twice(m, &key, e);
			m->seen |= (uint32_t)1 << number;
			m->left--;
			return number;
		}
		if (keep_extra(m, &key, start, e) < 0)
			return -1;
	}
	return MAP_END;
}

void map_extra(const struct map *m, char *to)
{
	for (size_t i = 0; i < m->n_extra; i++) {
		memcpy(to, m->extra[i].p, m->extra[i].len);
		to += m->extra[i].len;
	}
}

static int value_of(struct map *m, int key, enum wire_type type, struct wire_value *v, struct error *e)
{
	if (wire_next(m->c, v) < 0)
		return broken(m, e);
	if (v->type != type)
		return error_set(e, "'%s' of %s is %s where %s is due", m->keys[key], m->what,
		                 wire_type_name(v->type), wire_type_name(type));
	return 0;
}

int map_uint(struct map *m, int key, uint64_t limit, uint64_t *number, struct error *e)
{
	struct wire_value v;
	if (value_of(m, key, WIRE_UINT, &v, e) < 0)
		return -1;
	if (v.number > limit)
		return error_set(e, "'%s' of %s is %llu, more than %llu", m->keys[key], m->what,
		                 (unsigned long long)v.number, (unsigned long long)limit);
	*number = v.number;
	return 0;
}

int map_bytes(struct map *m, int key, enum wire_type type, struct wire_value *v, struct error *e)
{
	return value_of(m, key, type, v, e);
}

int map_array(struct map *m, int key, uint64_t limit, uint64_t *n, struct error *e)
{
	struct wire_value v;
	if (value_of(m, key, WIRE_ARRAY, &v, e) < 0)
		return -1;
	if (v.n > limit)
		return error_set(e, "'%s' of %s has %llu elements, more than %llu", m->keys[key], m->what,
		                 (unsigned long long)v.n, (unsigned long long)limit);
	*n = v.n;
	return 0;
}
