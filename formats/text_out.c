#include "text_out.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"

#define TEXT_LEN ((size_t)64 << 10)

int text_out_open(struct text_out *t, const char *path, struct error *e)
{
	*t = (struct text_out){ 0 };
	if (output_open(&t->output, path, false, e) < 0)
		return -1;
	t->p = mem_alloc(TEXT_LEN);
	return 0;
}

static void flush(struct text_out *t)
{
	if (!t->failed && t->len)
		t->failed = output_write(&t->output, t->p, t->len, &t->error);
	t->len = 0;
}

int text_out_finish(struct text_out *t, struct error *e)
{
	flush(t);
	if (t->failed) {
		*e = t->error;
		text_out_abort(t);
		return -1;
	}
	free(t->p);
	return output_commit(&t->output, e);
}

void text_out_abort(struct text_out *t)
{
	free(t->p);
	output_abort(&t->output);
}

void text_put(struct text_out *t, const char *p, size_t len)
{
	while (len) {
		if (t->len == TEXT_LEN)
			flush(t);
		size_t n = len < TEXT_LEN - t->len ? len : TEXT_LEN - t->len;
		memcpy(t->p + t->len, p, n);
		t->len += n;
		p += n;
		len -= n;
	}
}

void text_printf(struct text_out *t, const char *format, ...)
{
	char text[512];
	va_list ap;
	va_start(ap, format);
	int n = vsnprintf(text, sizeof text, format, ap);
	va_end(ap);
	text_put(t, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

void text_string(struct text_out *t, const char *s)
{
	text_put(t, s, strlen(s));
}

void text_char(struct text_out *t, char c)
{
	text_put(t, &c, 1);
}

void text_uint(struct text_out *t, uint64_t v)
{
	char digits[24];
	int n = snprintf(digits, sizeof digits, "%" PRIu64, v);
	text_put(t, digits, (size_t)n);
}

uint32_t text_character(const char *p, size_t left, size_t *n)
{
	const unsigned char *u = (const unsigned char *)p;
	static const unsigned char least[] = { 0, 0, 0xc2, 0xe0, 0xf0 };
	static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	*n = u[0] < 0x80 ? 1 : u[0] < 0xe0 ? 2 : u[0] < 0xf0 ? 3 : 4;
	uint32_t c = *n == 1 ? u[0] : u[0] & (0x7fU >> *n);
	bool good = u[0] >= least[*n] && u[0] < 0xf5 && *n <= left;
	for (size_t i = 1; i < *n && good; i++) {
		good = (u[i] & 0xc0) == 0x80;
		c = c << 6 | (u[i] & 0x3f);
	}
	if (good && c >= smallest[*n] && c <= 0x10ffff && (c < 0xd800 || c > 0xdfff))
		return c;
	*n = 1;
	return 0xfffd;
}

void text_json(struct text_out *t, const char *p, size_t len)
{
	text_char(t, '"');
	for (size_t i = 0; i < len;) {
		unsigned char c = (unsigned char)p[i];
		size_t n;
		bool good = text_character(p + i, len - i, &n) != 0xfffd || n > 1;
		char code[8];
		if (c == '"' || c == '\\') {
			text_char(t, '\\');
			text_char(t, (char)c);
		} else if (c == '\n' || c == '\t') {
			text_string(t, c == '\n' ? "\\n" : "\\t");
		} else if (c < ' ' || c == 127) {
			snprintf(code, sizeof code, "\\u%04x", c);
			text_string(t, code);
		} else if (good) {
			text_put(t, p + i, n);
		} else {
			text_string(t, "\xef\xbf\xbd");
		}
		i += n;
	}
	text_char(t, '"');
}

void text_field(struct text_out *t, const char *p, size_t len)
{
	static const char special[] = "\t\n\r\\", letters[] = "tnr\\";
	for (size_t i = 0; i < len; i++) {
		const char *at = p[i] ? strchr(special, p[i]) : NULL;
		if (at)
			text_char(t, '\\');
		text_char(t, at ? letters[at - special] : p[i]);
	}
}

/* Infinite and NaN, which the two kinds of text spell differently; 0: v is neither. */
static int unusual(struct text_out *t, double v, int json)
{
	if (isfinite(v))
		return 0;
	if (isnan(v))
		text_string(t, json ? "null" : "nan");
	else
		text_string(t, json ? v < 0 ? "-1e999" : "1e999" : v < 0 ? "-inf" : "inf");
	return 1;
}

/* Fewer digits as long as they read back as v; %g drops the zeros at the end. */
static void put_real(struct text_out *t, double v, int single)
{
	char text[40], shorter[40];
	int n = snprintf(text, sizeof text, "%.*g", single ? 9 : 17, v);
	for (int digits = single ? 8 : 16; digits >= (single ? 6 : 15); digits--) {
		int m = snprintf(shorter, sizeof shorter, "%.*g", digits, v);
		if (single ? strtof(shorter, NULL) != (float)v : strtod(shorter, NULL) != v)
			break;
		memcpy(text, shorter, sizeof text);
		n = m;
	}
	text_put(t, text, (size_t)n);
}

void text_value(struct text_out *t, const void *values, enum dtype type, size_t i, int json)
{
	double wide;
	float single;
	const char *at = (const char *)values + i * dtype_size(type);
	if (dtype_is_float(type) && type != DTYPE_F64) {
		dtype_convert(&single, DTYPE_F32, at, type, 1);
		wide = (double)single;
	} else {
		dtype_convert(&wide, DTYPE_F64, at, type, 1);
	}
	if (!unusual(t, wide, json))
		put_real(t, wide, dtype_is_float(type) && type != DTYPE_F64);
}

static void put_scalar(struct text_out *t, const struct wire_value *v)
{
	char digits[24];
	switch (v->type) {
	case WIRE_BOOL:
		text_string(t, v->number ? "true" : "false");
		break;
	case WIRE_UINT:
		text_uint(t, v->number);
		break;
	case WIRE_NEGATIVE:
		snprintf(digits, sizeof digits, "%" PRId64, v->negative);
		text_string(t, digits);
		break;
	case WIRE_FLOAT:
		if (!unusual(t, v->real, 1))
			put_real(t, v->real, 0);
		break;
	case WIRE_STR:
		text_json(t, v->p, v->len);
		break;
	case WIRE_BIN:
		text_char(t, '[');
		for (size_t i = 0; i < v->len; i++) {
			if (i)
				text_char(t, ',');
			text_uint(t, (unsigned char)v->p[i]);
		}
		text_char(t, ']');
		break;
	default:
		text_string(t, "null");
	}
}

/* A key of a JSON object is a string whatever it was. */
static void put_key(struct text_out *t, struct wire_cursor *c)
{
	struct wire_cursor at = *c;
	struct wire_value v;
	bool quote = wire_next(&at, &v) == 0 && v.type != WIRE_STR;
	if (quote)
		text_char(t, '"');
	if (quote && (v.type == WIRE_ARRAY || v.type == WIRE_MAP || v.type == WIRE_BIN)) {
		const char *p;
		size_t len;
		(void)!wire_skip(c, &p, &len);
	} else {
		text_wire(t, c);
	}
	if (quote)
		text_char(t, '"');
	text_char(t, ':');
}

void text_wire(struct text_out *t, struct wire_cursor *c)
{
	struct wire_value v;
	if (wire_next(c, &v) < 0)
		return;
	if (v.type != WIRE_ARRAY && v.type != WIRE_MAP) {
		put_scalar(t, &v);
		return;
	}
	/* As deep as wire_scan let it be: 32 levels. */
	text_char(t, v.type == WIRE_MAP ? '{' : '[');
	for (uint64_t i = 0; i < v.n && c->left; i++) {
		if (i)
			text_char(t, ',');
		if (v.type == WIRE_MAP)
			put_key(t, c);
		text_wire(t, c);
	}
	text_char(t, v.type == WIRE_MAP ? '}' : ']');
}

void text_wire_pairs(struct text_out *t, const char *p, size_t len, size_t n_pairs)
{
	struct wire_cursor c = { (const uint8_t *)p, len };
	for (size_t i = 0; i < n_pairs; i++) {
		text_char(t, ',');
		put_key(t, &c);
		text_wire(t, &c);
	}
}
