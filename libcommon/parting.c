#include "parting.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "io.h"
#include "option.h"

/* Takes a progress line off the screen. */
static const char erase[] = "\r\033[K";

/* A signal may come at any time, and finds the line whole or of no length. */
static char line[sizeof erase + ERROR_LINE];
static atomic_size_t line_len;

void parting_set(const char *format, ...)
{
	char text[1024];
	va_list ap;
	parting_clear();
	if (common.quiet)
		return;
	va_start(ap, format);
	vsnprintf(text, sizeof text, format, ap);
	va_end(ap);
	size_t n = isatty(STDERR_FILENO) ? (size_t)snprintf(line, sizeof line, "%s", erase) : 0;
	n += error_line(line + n, tool.name, text);
	atomic_store(&line_len, n);
}

void parting_clear(void)
{
	atomic_store(&line_len, 0);
}

void parting_say(void)
{
	size_t n = atomic_exchange(&line_len, 0);
	if (n)
		(void)!io_write(STDERR_FILENO, line, n);        /* there is nobody else to tell */
}
