/*
 * TAP for unit tests in C.  A test is a main() of ok() calls and `return done();`.
 */
#ifndef CHECK_H
#define CHECK_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

static int n_checks, n_failures;

/* One line of TAP.  Returns the condition. */
static inline __attribute__((format(printf, 2, 3))) bool ok(bool condition, const char *format, ...)
{
	va_list ap;
	printf("%sok %d - ", condition ? "" : "not ", ++n_checks);
	va_start(ap, format);
	vprintf(format, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
	n_failures += !condition;
	return condition;
}

static inline int done(void)
{
	printf("1..%d\n", n_checks);
	return n_failures != 0;
}

#endif
