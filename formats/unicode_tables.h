/*
 * Character properties, generated: read them through unicode.h.
 */
#ifndef UNICODE_TABLES_H
#define UNICODE_TABLES_H

#include <stddef.h>
#include <stdint.h>

/* Sorted runs: first code point << 11 | script << 8 | punctuation << 7 | word << 6 | number << 5 |
 * general category.  A run ends where the next one starts. */
extern const uint32_t unicode_runs[];
extern const size_t unicode_n_runs;

/* Sorted inclusive ranges that normal forms leave alone. */
extern const uint32_t unicode_inert[][2];
extern const size_t unicode_n_inert;

#endif
