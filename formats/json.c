#include "json.h"

#include <math.h>
#include <stdlib.h>

#include <jansson.h>

#include "io.h"

static const json_t *jansson(const struct json *v)
{
	return (const json_t *)(const void *)v;
}

/* Jansson's accessors take json_t * also where they only read. */
static json_t *jansson_read(const struct json *v)
{
	return (json_t *)(uintptr_t)v;
}

static const struct json *borrowed(const json_t *v)
{
	return (const struct json *)(const void *)v;
}

struct json *json_parse(const char *text, size_t len, unsigned flags, const char *name,
			struct error *e)
{
	if (len > JSON_MAX_BYTES) {
		error_set(e, "%s: %zu bytes of JSON, at most %zu are read", name, len,
			  JSON_MAX_BYTES);
		return NULL;
	}
	json_error_t why;
	size_t how = JSON_ALLOW_NUL | JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL;
	if (flags & JSON_UNIQUE_KEYS)
		how |= JSON_REJECT_DUPLICATES;
	json_t *root = json_loadb(text, len, how, &why);
	if (root == NULL) {
		/* The message quotes the file; what it quotes must not steer a terminal. */
		for (char *p = why.text; *p != '\0'; p++)
			if ((unsigned char)*p < 0x20 || *p == 0x7f)
				*p = '?';
		error_set(e, "%s: line %d column %d: %s", name, why.line, why.column, why.text);
	}
	return (struct json *)root;
}

struct json *json_read(const char *path, unsigned flags, struct error *e)
{
	size_t len;
	char *text = io_slurp(path, JSON_MAX_BYTES, &len, e);
	if (text == NULL)
		return NULL;
	struct json *root = json_parse(text, len, flags, path, e);
	free(text);
	return root;
}

void json_free(struct json *root)
{
	json_decref((json_t *)root);
}

enum json_kind json_kind(const struct json *v)
{
	if (v == NULL)
		return JSON_KIND_NULL;
	switch (json_typeof(jansson(v))) {
	case JSON_TRUE:
	case JSON_FALSE:
		return JSON_KIND_BOOL;
	case JSON_INTEGER:
	case JSON_REAL:
		return JSON_KIND_NUMBER;
	case JSON_STRING:
		return JSON_KIND_STRING;
	case JSON_ARRAY:
		return JSON_KIND_ARRAY;
	case JSON_OBJECT:
		return JSON_KIND_OBJECT;
	case JSON_NULL:
		break;
	}
	return JSON_KIND_NULL;
}

static const char *const kind_names[] = {
	[JSON_KIND_NULL] = "null", [JSON_KIND_BOOL] = "true or false",
	[JSON_KIND_NUMBER] = "a number", [JSON_KIND_STRING] = "a string",
	[JSON_KIND_ARRAY] = "an array", [JSON_KIND_OBJECT] = "an object",
};

const char *json_kind_name(const struct json *v)
{
	return kind_names[json_kind(v)];
}

const struct json *json_member(const struct json *o, const char *key)
{
	return borrowed(json_object_get(jansson(o), key));
}

size_t json_count(const struct json *v)
{
	if (json_kind(v) == JSON_KIND_OBJECT)
		return json_object_size(jansson(v));
	return json_array_size(jansson(v));
}

const struct json *json_at(const struct json *v, size_t i)
{
	return borrowed(json_array_get(jansson(v), i));
}

const struct json *json_each(const struct json *o, void **at, const char **key)
{
	if (json_kind(o) != JSON_KIND_OBJECT)
		return NULL;
	*at = *at == NULL ? json_object_iter(jansson_read(o))
			  : json_object_iter_next(jansson_read(o), *at);
	if (*at == NULL)
		return NULL;
	*key = json_object_iter_key(*at);
	return borrowed(json_object_iter_value(*at));
}

const char *json_text(const struct json *v, size_t *len)
{
	if (json_kind(v) != JSON_KIND_STRING)
		return NULL;
	if (len != NULL)
		*len = json_string_length(jansson(v));
	return json_string_value(jansson(v));
}

bool json_bool(const struct json *v, bool otherwise)
{
	return json_kind(v) == JSON_KIND_BOOL ? json_is_true(jansson(v)) : otherwise;
}

double json_double(const struct json *v, double otherwise)
{
	return json_kind(v) == JSON_KIND_NUMBER ? json_number_value(jansson(v)) : otherwise;
}

int json_int(const struct json *v, int64_t lo, int64_t hi, int64_t *out)
{
	if (json_kind(v) != JSON_KIND_NUMBER)
		return -1;
	double d = json_number_value(jansson(v));
	if (!(fabs(d) <= 0x1p53) || d != floor(d) || (int64_t)d < lo || (int64_t)d > hi)
		return -1;
	*out = (int64_t)d;
	return 0;
}

/* 1: *v is there; 0: absent or null; -1: not of the kind that is due. */
static int member_of(const struct json *o, const char *key, enum json_kind kind,
		     const struct json **v, struct error *e)
{
	*v = json_member(o, key);
	if (json_kind(*v) == JSON_KIND_NULL)
		return 0;
	if (json_kind(*v) != kind)
		return error_set(e, "'%s' is %s where %s is due", key, json_kind_name(*v),
				 kind_names[kind]);
	return 1;
}

int json_get_int(const struct json *o, const char *key, int64_t lo, int64_t hi, int64_t *out,
		 struct error *e)
{
	const struct json *v = json_member(o, key);
	if (json_kind(v) == JSON_KIND_NULL)
		return 0;
	if (json_kind(v) != JSON_KIND_NUMBER)
		return error_set(e, "'%s' is %s where a whole number is due", key,
				 json_kind_name(v));
	if (json_int(v, lo, hi, out) < 0)
		return error_set(e, "'%s' is %.17g where a whole number in %lld..%lld is due", key,
				 json_double(v, 0), (long long)lo, (long long)hi);
	return 1;
}

int json_get_double(const struct json *o, const char *key, double *out, struct error *e)
{
	const struct json *v;
	int found = member_of(o, key, JSON_KIND_NUMBER, &v, e);
	if (found > 0)
		*out = json_double(v, 0);
	return found;
}

int json_get_bool(const struct json *o, const char *key, bool *out, struct error *e)
{
	const struct json *v;
	int found = member_of(o, key, JSON_KIND_BOOL, &v, e);
	if (found > 0)
		*out = json_bool(v, false);
	return found;
}

int json_get_text(const struct json *o, const char *key, const char **out, size_t *len,
		  struct error *e)
{
	const struct json *v;
	int found = member_of(o, key, JSON_KIND_STRING, &v, e);
	if (found > 0)
		*out = json_text(v, len);
	return found;
}

int json_get(const struct json *o, const char *key, enum json_kind kind, const struct json **out,
	     struct error *e)
{
	const struct json *v;
	int found = member_of(o, key, kind, &v, e);
	if (found > 0)
		*out = v;
	return found;
}
