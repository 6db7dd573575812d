#include "error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int error_set(struct error *e, const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	vsnprintf(e->text, sizeof e->text, format, ap);
	va_end(ap);
	return -1;
}

int error_errno(struct error *e, const char *format, ...)
{
	int saved = errno;
	va_list ap;
	va_start(ap, format);
	vsnprintf(e->text, sizeof e->text, format, ap);
	va_end(ap);
	size_t n = strlen(e->text);
	snprintf(e->text + n, sizeof e->text - n, ": %s", strerror(saved));
	return -1;
}

size_t error_line(char line[ERROR_LINE], const char *program, const char *text)
{
	size_t n = (size_t)snprintf(line, 128, "%.100s: ", program);
	for (const char *p = text; *p && n < ERROR_LINE - 8; p++) {
		unsigned char c = (unsigned char)*p;
		if (c == '\n' || c == '\t')
			n += (size_t)sprintf(line + n, "\\%c", c == '\n' ? 'n' : 't');
		else if (c < ' ' || c == 127)
			n += (size_t)sprintf(line + n, "\\x%02x", c);
		else
			line[n++] = (char)c;
	}
	line[n++] = '\n';
	return n;
}

void error_print(const char *program, const char *text)
{
	char line[ERROR_LINE];
	size_t n = error_line(line, program, text);
	fwrite(line, 1, n, stderr);
}

int error_in(struct error *e, const char *format, ...)
{
	char was[sizeof e->text];
	memcpy(was, e->text, sizeof was);
	va_list ap;
	va_start(ap, format);
	vsnprintf(e->text, sizeof e->text, format, ap);
	va_end(ap);
	size_t n = strlen(e->text);
	snprintf(e->text + n, sizeof e->text - n, ": %s", was);
	return -1;
}
