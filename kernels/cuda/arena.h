/*
 * The device's memory, taken once and given out in pieces by first fit; neighbours that come back are joined.  What is known
 * of the pieces is the host's: the memory itself is never touched.  One thread at a time.
 */
#ifndef ARENA_H
#define ARENA_H

#include <stddef.h>

struct arena;

/* Of len bytes at base, which stay the caller's; base is a multiple of 256. */
arena *arena_open(void *base, size_t len);
/* NULL is allowed. */
void arena_close(arena *a);

/* 256-byte aligned; NULL: no piece is long enough.  len 0 takes one too. */
void *arena_take(arena *a, size_t len);
/* What arena_take gave, or NULL. */
void arena_give(arena *a, void *p);

/* Bytes in all, and of the longest piece that is left. */
size_t arena_len(const arena *a);
size_t arena_left(const arena *a);

#endif
