#include "rotary_config.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "config_key.h"
#include "memory.h"

/* Positions; exact in a double. */
#define LENGTH_MAX ((size_t)1 << 40)

static const char *const kinds[] = {
	[ROTARY_DEFAULT] = "default", [ROTARY_LINEAR] = "linear", [ROTARY_DYNAMIC] = "dynamic",
	[ROTARY_LLAMA3] = "llama3", [ROTARY_YARN] = "yarn", [ROTARY_LONGROPE] = "longrope",
};

/* The object that scales the rotation; NULL if there is none. */
static int find_parameters(const struct json *json, const struct json **out, struct error *e)
{
	*out = NULL;
	if (json_get(json, "rope_scaling", JSON_KIND_OBJECT, out, e) < 0)
		return -1;
	if (!json_count(*out) && json_get(json, "rope_parameters", JSON_KIND_OBJECT, out, e) < 0)
		return -1;
	return 0;
}

/* Whether `name` is one of those between '|'. */
static bool is_one_of(const char *name, const char *names)
{
	size_t len = strlen(name);
	for (const char *p = names; p; p = strchr(p, '|'), p += p != NULL)
		if (strcspn(p, "|") == len && !memcmp(p, name, len))
			return true;
	return false;
}

static int read_kind(const struct json *p, const struct family *f, struct rotary *r, struct error *e)
{
	const char *kind = "default";
	int found = json_get_text(p, "rope_type", &kind, NULL, e);
	if (found < 0 || (!found && json_get_text(p, "type", &kind, NULL, e) < 0))
		return -1;
	if (is_one_of(kind, f->keys->longrope))
		kind = kinds[ROTARY_LONGROPE];
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (!strcmp(kinds[i], kind)) {
			r->kind = (enum rotary_kind)i;
			return 0;
		}
	return error_set(e,
	                 "'rope_type' is '%.60s', supported are default, linear, dynamic, llama3, "
	                 "yarn and longrope",
	                 kind);
}

/* How many of a head's dimensions turn. */
static int read_dims(const struct json *json, const struct json *p, const struct family *f,
                     const struct model *m, struct rotary *r, struct error *e)
{
	static const char usual[] = "partial_rotary_factor";
	const char *key = f->keys->rotary_part ? f->keys->rotary_part : usual;
	double part = f->rotary_part;
	/* The key beside the object wins: it is the one that the library reads back. */
	if (config_positive(p, usual, &part, e) < 0 || config_positive(json, key, &part, e) < 0)
		return -1;
	if (part > 1 || (!f->keys->rotary_part && part != 1))
		return error_set(e, "'%s' is %g, which the family %s doesn't have", key, part,
		                 f->name);
	r->dims = (size_t)((double)m->head_width * part);
	if (r->dims < 2 || r->dims % 2)
		return error_set(e, "'%s' %g turns %zu of a head's %zu dimensions, an even number "
		                 "above 0 is needed", key, part, r->dims, m->head_width);
	return 0;
}

static int read_list(const struct json *p, const char *key, size_t n, double **out, struct error *e)
{
	const struct json *list = NULL;
	if (json_get(p, key, JSON_KIND_ARRAY, &list, e) < 0)
		return -1;
	if (json_count(list) != n)
		return error_set(e, "'%s' has %zu numbers where %zu are due", key, json_count(list),
		                 n);
	*out = mem_zero(n, sizeof **out);
	for (size_t i = 0; i < n; i++) {
		(*out)[i] = json_double(json_at(list, i), 0);
		if (!((*out)[i] > 0) || !isfinite((*out)[i]))
			return error_set(e, "'%s' has something else than numbers above 0", key);
	}
	return 0;
}

/* The library takes the ratio of the two lengths where the older one stands beside the object, for
 * longrope even in place of a factor that is given. */
static int read_factor(const struct json *p, bool original_beside, struct rotary *r,
                       struct error *e)
{
	bool by_lengths = r->kind == ROTARY_YARN || r->kind == ROTARY_LONGROPE;
	r->factor = by_lengths ? (double)r->context / (double)r->original_context : 0;
	if (r->kind == ROTARY_LONGROPE && original_beside)
		return 0;
	if (config_positive(p, "factor", &r->factor, e) < 0)
		return -1;
	if (!(r->factor > 0))
		return error_set(e, "'factor' is missing, rope_type '%s' needs it", kinds[r->kind]);
	return 0;
}

static int read_lengths(const struct json *json, const struct json *p, const struct family *f,
                        struct rotary *r, struct error *e)
{
	static const char key[] = "original_max_position_embeddings";
	r->original_context = f->original_context ? f->original_context : r->context;
	int beside = config_size(json, key, false, 1, LENGTH_MAX, &r->original_context, e);
	if (beside < 0)
		return -1;
	if (!beside && config_size(p, key, false, 1, LENGTH_MAX, &r->original_context, e) < 0)
		return -1;
	return read_factor(p, beside > 0, r, e);
}

static int read_llama3(const struct json *p, struct rotary *r, struct error *e)
{
	if (config_positive(p, "low_freq_factor", &r->low_freq_factor, e) < 0 ||
	    config_positive(p, "high_freq_factor", &r->high_freq_factor, e) < 0)
		return -1;
	if (!(r->low_freq_factor > 0) || !(r->high_freq_factor > r->low_freq_factor))
		return error_set(
			e,
			"'low_freq_factor' and 'high_freq_factor' are %g and %g, the second "
			"must be the larger",
			r->low_freq_factor, r->high_freq_factor);
	return 0;
}

/* A number >= 0 or null; 0 says the same as null. */
static int read_optional(const struct json *p, const char *key, double *out, struct error *e)
{
	double x = 0;
	if (json_get_double(p, key, &x, e) < 0)
		return -1;
	if (!(x >= 0) || !isfinite(x))
		return error_set(e, "'%s' is %g where a number from 0 on is due", key, x);
	if (x > 0)
		*out = x;
	return 0;
}

static int read_yarn(const struct json *p, struct rotary *r, struct error *e)
{
	r->beta_fast = 32;
	r->beta_slow = 1;
	r->truncate = true;
	if (read_optional(p, "beta_fast", &r->beta_fast, e) < 0 ||
	    read_optional(p, "beta_slow", &r->beta_slow, e) < 0 ||
	    read_optional(p, "mscale", &r->mscale, e) < 0 ||
	    read_optional(p, "mscale_all_dim", &r->mscale_all_dim, e) < 0 ||
	    config_positive(p, "attention_factor", &r->attention_factor, e) < 0 ||
	    json_get_bool(p, "truncate", &r->truncate, e) < 0)
		return -1;
	return 0;
}

static int read_longrope(const struct json *p, struct rotary *r, struct error *e)
{
	if (config_positive(p, "attention_factor", &r->attention_factor, e) < 0 ||
	    read_list(p, "long_factor", r->dims / 2, &r->long_factor, e) < 0 ||
	    read_list(p, "short_factor", r->dims / 2, &r->short_factor, e) < 0)
		return -1;
	/* The scaling of cos and sin divides by its logarithm. */
	if (r->original_context < 2)
		return error_set(e, "'original_max_position_embeddings' is 1, longrope needs more");
	return 0;
}

static int read_parameters(const struct json *json, const struct json *p, const struct family *f,
                           const struct model *m, struct rotary *r, struct error *e)
{
	if (read_kind(p, f, r, e) < 0 || read_dims(json, p, f, m, r, e) < 0)
		return -1;
	if (config_positive(json, f->keys->theta, &r->theta, e) < 0 ||
	    config_positive(p, "rope_theta", &r->theta, e) < 0)
		return -1;
	if (json_kind(json_member(p, "full_attention")) == JSON_KIND_OBJECT)
		return error_set(
			e, "it has parameters for each type of layer, which the family %s doesn't",
			f->name);
	if (r->kind == ROTARY_DYNAMIC && r->dims <= 2)
		return error_set(e, "rope_type 'dynamic' needs more than 2 dimensions");
	if (r->kind == ROTARY_YARN && r->theta == 1)
		return error_set(e, "'rope_theta' is 1, rope_type 'yarn' needs another");
	if (r->kind != ROTARY_DEFAULT && read_lengths(json, p, f, r, e) < 0)
		return -1;
	switch (r->kind) {
	case ROTARY_LLAMA3:
		return read_llama3(p, r, e);
	case ROTARY_YARN:
		return read_yarn(p, r, e);
	case ROTARY_LONGROPE:
		return read_longrope(p, r, e);
	default:
		return 0;
	}
}

/* The rotation of layers with a window, by its theta alone; p: its parameters, or NULL. */
static int read_windowed(const struct json *json, const struct json *p, const struct family *f,
                         const struct model *m, struct rotary *r, struct error *e)
{
	*r = (struct rotary){ .pairing = f->pairing, .dims = m->head_width, .context = m->rotary[0].context };
	if (config_number(json, &f->window.theta, f->window.theta.otherwise, &r->theta, e) < 0 ||
	    config_positive(p, "rope_theta", &r->theta, e) < 0 || read_kind(p, f, r, e) < 0)
		return -1;
	if (r->kind != ROTARY_DEFAULT)
		return error_set(e, "'rope_type' of sliding_attention is '%s', supported is default", kinds[r->kind]);
	return 0;
}

int rotary_config_read(const struct json *json, const struct family *f, struct model *m, struct error *e)
{
	const struct json *p, *full = NULL, *sliding = NULL;
	struct rotary *r = &m->rotary[0];
	m->n_rotaries = 1;
	r->pairing = f->pairing;
	r->theta = f->theta;
	r->context = f->context;
	if (config_size(json, f->keys->context, false, 1, LENGTH_MAX, &r->context, e) < 0 ||
	    find_parameters(json, &p, e) < 0)
		return -1;
	if (!f->window.theta.key)
		return read_parameters(json, p, f, m, r, e);
	if (json_get(p, "full_attention", JSON_KIND_OBJECT, &full, e) < 0 ||
	    json_get(p, "sliding_attention", JSON_KIND_OBJECT, &sliding, e) < 0 ||
	    read_parameters(json, full ? full : p, f, m, r, e) < 0)
		return -1;
	m->n_rotaries = 2;
	return read_windowed(json, sliding, f, m, &m->rotary[1], e);
}
