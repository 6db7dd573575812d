#include "config_key.h"

#include <inttypes.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

const struct json *config_find(const struct json *o, const char *keys, char key[CONFIG_KEY_LEN])
{
	const struct json *v = NULL;
	for (const char *p = keys; !v; p++) {
		size_t len = strcspn(p, "|");
		size_t n = len < CONFIG_KEY_LEN - 1 ? len : CONFIG_KEY_LEN - 1;
		memcpy(key, p, n);
		key[n] = 0;
		v = json_member(o, key);
		p += len;
		if (!*p)
			break;
	}
	if (!v)
		*(char *)mempcpy(key, keys, strcspn(keys, "|")) = 0;
	return v;
}

int config_size(const struct json *o, const char *keys, bool required, size_t lo, size_t hi,
                size_t *out, struct error *e)
{
	char key[CONFIG_KEY_LEN];
	const struct json *v = keys ? config_find(o, keys, key) : NULL;
	if (json_kind(v) == JSON_KIND_NULL) {
		if (required)
			return error_set(e, "'%s' is %s", key,
			                 v ? "null where a number is needed" : "missing");
		return 0;
	}
	int64_t n;
	if (json_int(v, (int64_t)lo, (int64_t)hi, &n) < 0) {
		if (json_kind(v) == JSON_KIND_NUMBER)
			return error_set(e, "'%s' is %g where a whole number in %zu..%zu is due",
			                 key, json_double(v, 0), lo, hi);
		return error_set(e, "'%s' is %s where a whole number is due", key,
		                 json_kind_name(v));
	}
	*out = (size_t)n;
	return 1;
}

static int positive(const char *key, const struct json *v, double *out, struct error *e)
{
	double x = json_double(v, 0);
	if (json_kind(v) != JSON_KIND_NUMBER)
		return error_set(e, "'%s' is %s where a number is due", key, json_kind_name(v));
	if (!(x > 0) || !isfinite(x))
		return error_set(e, "'%s' is %g where a number above 0 is due", key, x);
	*out = x;
	return 0;
}

int config_positive(const struct json *o, const char *keys, double *out, struct error *e)
{
	char key[CONFIG_KEY_LEN];
	const struct json *v = config_find(o, keys, key);
	return json_kind(v) == JSON_KIND_NULL ? 0 : positive(key, v, out, e);
}

int config_number(const struct json *o, const struct family_number *n, double null, double *out,
                  struct error *e)
{
	char key[CONFIG_KEY_LEN];
	const struct json *v = n->key ? config_find(o, n->key, key) : NULL;
	*out = n->key && !v ? n->otherwise : null;
	return json_kind(v) == JSON_KIND_NULL ? 0 : positive(key, v, out, e);
}

int config_flag(const struct json *o, const struct family_flag *f, bool *out, struct error *e)
{
	*out = f->otherwise;
	return f->key && json_get_bool(o, f->key, out, e) < 0 ? -1 : 0;
}
