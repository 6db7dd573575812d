#include "arena.h"

enum { ALIGNMENT = 256 };

/* Pieces in the order of their places; two free ones are never neighbours. */
struct piece {
	char *p;
	size_t len;
	bool taken;
	piece *next;
};

struct arena {
	size_t len;
	piece *first;
};

arena *arena_open(void *base, size_t len)
{
	len = len / ALIGNMENT * ALIGNMENT;
	return new arena{ len, new piece{ static_cast<char *>(base), len, false, nullptr } };
}

void arena_close(arena *a)
{
	if (!a)
		return;
	while (piece *x = a->first) {
		a->first = x->next;
		delete x;
	}
	delete a;
}

void *arena_take(arena *a, size_t len)
{
	if (len > a->len)
		return nullptr;
	len = len ? (len + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT : static_cast<size_t>(ALIGNMENT);
	piece *x = a->first;
	while (x && (x->taken || x->len < len))
		x = x->next;
	if (!x)
		return nullptr;
	if (x->len > len) {
		x->next = new piece{ x->p + len, x->len - len, false, x->next };
		x->len = len;
	}
	x->taken = true;
	return x->p;
}

static void join_next(piece *x)
{
	piece *gone = x->next;
	if (x->taken || !gone || gone->taken)
		return;
	x->len += gone->len;
	x->next = gone->next;
	delete gone;
}

void arena_give(arena *a, void *p)
{
	piece *before = nullptr, *x = a->first;
	while (x && x->p != p) {
		before = x;
		x = x->next;
	}
	if (!p || !x)
		return;
	x->taken = false;
	join_next(x);
	if (before)
		join_next(before);
}

size_t arena_len(const arena *a)
{
	return a->len;
}

size_t arena_left(const arena *a)
{
	size_t most = 0;
	for (const piece *x = a->first; x; x = x->next)
		if (!x->taken && x->len > most)
			most = x->len;
	return most;
}
