/*
 * Errors are values: a function that can fail returns -1 (or NULL) and leaves one finished
 * sentence in the caller's struct error.  Only main.c has it printed.
 */
#ifndef ERROR_H
#define ERROR_H

#include <stddef.h>

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))
#define ARRAY_LEN(a) (sizeof(a) / sizeof *(a))

struct error {
	char text[1024];  /* "object: what is wrong, what to do"; empty until an error is set */
};

/* Writes the sentence.  Always returns -1, so that `return error_set(e, ...)` reads as it acts. */
int error_set(struct error *e, const char *format, ...) PRINTF_LIKE(2, 3);

/* The same, followed by ": " and the text of errno. */
int error_errno(struct error *e, const char *format, ...) PRINTF_LIKE(2, 3);

/* Prints "program: text" and the line's end to standard error, with control characters (from ids, labels, names of files) escaped. */
void error_print(const char *program, const char *text);

/* A line's longest, with a text of 2 KiB all of control characters. */
enum { ERROR_LINE = 4 * 2048 + 256 };
/* The line that error_print writes, cut to that length, not closed with a NUL.  Its length. */
size_t error_line(char line[ERROR_LINE], const char *program, const char *text);

/* Puts "context: " before the sentence already there.  Always returns -1. */
int error_in(struct error *e, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
