/*
 * One line of advice that a program leaves on standard error where it doesn't get to its end: behind an error's message, or before
 * a signal ends it.  Never with -q.
 */
#ifndef PARTING_H
#define PARTING_H

#include "error.h"

/* From now on this is the line, in place of an earlier one. */
void parting_set(const char *format, ...) PRINTF_LIKE(1, 2);
/* There is none: nothing is left to advise, or it would do no good. */
void parting_clear(void);

/* Writes it, once.  Only main.c calls it, as the process ends; safe inside a signal handler. */
void parting_say(void);

#endif
