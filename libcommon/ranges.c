#include "ranges.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "option.h"

#define POSITION_LIMIT ((int64_t)UINT32_MAX)

/* A whole number at *text, which is moved on; -1 if none of a position's size is there. */
static int whole(const char **text, int64_t *n)
{
	const char *digits = *text + (**text == '-');
	if (!isdigit((unsigned char)*digits))
		return -1;
	int64_t value = 0;
	const char *p = digits;
	for (; isdigit((unsigned char)*p); p++) {
		value = value * 10 + (*p - '0');
		if (value > POSITION_LIMIT)
			return -1;
	}
	*n = **text == '-' ? -value : value;
	*text = p;
	return digits[-1] == '-' && p[-1] == '0' && value == 0 ? -1 : 0;
}

static int parse_range(struct range *r, const char *text)
{
	if (strcmp(text, "all") == 0) {
		*r = (struct range){ 0, -1, 1 };
		return 0;
	}
	if (strcmp(text, "last") == 0) {
		*r = (struct range){ -1, -1, 1 };
		return 0;
	}
	r->step = 1;
	if (strncmp(text, "from:", 5) == 0) {
		text += 5;
		r->last = -1;
		return whole(&text, &r->first) < 0 || *text ? -1 : 0;
	}
	if (whole(&text, &r->first) < 0)
		return -1;
	r->last = r->first;
	if (*text != '-')
		return *text ? -1 : 0;
	text++;
	if (whole(&text, &r->last) < 0 || ((r->last < 0) == (r->first < 0) && r->last < r->first))
		return -1;
	if (*text != ':')
		return *text ? -1 : 0;
	text++;
	return whole(&text, &r->step) < 0 || *text || r->step < 1 ? -1 : 0;
}

int ranges_parse(struct ranges *r, const char *text, struct error *e)
{
	size_t n;
	char **item = option_split(text, ',', &n);
	*r = (struct ranges){ mem_zero(n, sizeof *r->range), n };
	int status = 0;
	for (size_t i = 0; i < n && status == 0; i++)
		if (parse_range(&r->range[i], item[i]) < 0)
			status = error_set(e, "'%s' is none of last, all, N, from:N, A-B and A-B:STEP", item[i]);
	free(item);
	if (status < 0)
		ranges_release(r);
	return status;
}

void ranges_release(struct ranges *r)
{
	free(r->range);
	*r = (struct ranges){ 0 };
}

bool ranges_all(const struct ranges *r)
{
	for (size_t i = 0; i < r->n; i++)
		if (r->range[i].first == 0 && r->range[i].last == -1 && r->range[i].step == 1)
			return true;
	return false;
}

bool ranges_have(const struct ranges *r, uint32_t len, uint32_t position)
{
	for (size_t i = 0; i < r->n; i++) {
		int64_t first = r->range[i].first, last = r->range[i].last;
		first += first < 0 ? (int64_t)len : 0;
		last += last < 0 ? (int64_t)len : 0;
		if (position >= first && position <= last && (position - first) % r->range[i].step == 0)
			return true;
	}
	return false;
}
