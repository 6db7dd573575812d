/*
 * Small allocations.  Running out of memory for names and tables has one answer: say so and exit 2.
 * What an input's claims decide (rows, weights, headers) is never taken here but with
 * mem_try, after the claim has been checked against a limit.
 */
#ifndef MEMORY_H
#define MEMORY_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"

void *mem_alloc(size_t size);                        /* never NULL; contents undefined */
void *mem_zero(size_t count, size_t size);           /* never NULL; product checked */
void *mem_resize(void *p, size_t count, size_t size); /* never NULL; product checked */
char *mem_string(const char *s);                     /* a copy; NULL stays NULL */
char *mem_slice(const char *s, size_t n);            /* a copy of n bytes, closed with a NUL */
char *mem_format(const char *format, ...) PRINTF_LIKE(1, 2);

/* Says so and exits 2. */
_Noreturn void mem_exhausted(void);

/* Grows *p (of *capacity elements of `size` bytes) so that it holds `need` elements. */
void mem_grow(void **p, size_t *capacity, size_t need, size_t size);

/* 64-byte aligned memory, freed with free().  NULL, with the number of bytes in e, when there is none. */
void *mem_try(size_t size, const char *what, struct error *e) MUST_CHECK;

/*
 * The same in huge pages, if the system has them: for what is taken once and walked through often.  The first touch of a small
 * page costs as much as writing it several times.
 */
void *mem_try_huge(size_t size, const char *what, struct error *e) MUST_CHECK;

/* Bytes that this process has in memory; 0: the system doesn't say. */
uint64_t mem_resident(void);

/* Bytes that can be had without swapping, and within the limits of the process (setrlimit(2)) and of its control groups; where the
 * system says nothing, without limit. */
uint64_t mem_available(void);

#endif
