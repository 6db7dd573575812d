/*
 * A block of a kernel's threads on the host: each is a fibre, and one at a time runs until the next place where threads meet
 * (a barrier, a shuffle, a product of matrices, the wait for a copy).  In what order they take turns is chosen; a kernel whose
 * threads need no more order than its barriers give computes the same bits in all of them.
 */
#ifndef FIBRES_H
#define FIBRES_H

#include <stddef.h>
#include <stdint.h>

enum fibres_turn {
	FIBRES_FORWARD,         /* thread 0 first */
	FIBRES_BACKWARD,
	FIBRES_SHUFFLED         /* another order each turn, and warps run apart */
};

struct fibres_order {
	fibres_turn turn;
	uint64_t seed;          /* of FIBRES_SHUFFLED */
};

struct fibres_place {
	unsigned block[3], blocks[3];   /* this block's index, and how many there are */
	unsigned threads;
};

enum { WARP = 32 };

/*
 * Calls body(argument) once for each thread of the block.  Shared memory begins as NaN in every type.  NULL; or what the kernel
 * did that no device allows (a warp that does not meet as a whole, a row or copy outside the shared memory), and then
 * what it left is of no use.
 */
const char *fibres_run(const fibres_place *place, size_t shared_len, const fibres_order *order, void (*body)(void *),
                       void *argument);

/* Below: for the running thread alone. */
unsigned fibres_thread();
const fibres_place *fibres_where();
void *fibres_shared();
void fibres_barrier();
/* The warp's threads hand in `mine`; when the last has, act(all of them by lane) is called once, and then all go on. */
void fibres_meet(void (*act)(void *const lanes[WARP]), void *mine);
/* 16 bytes that arrive at a wait; until then `to` is NaN.  zeros where `from` is NULL. */
void fibres_copy(void *to, const void *from);
void fibres_copy_commit();
void fibres_copy_wait(unsigned pending);
/* Says so if p (len bytes, a multiple of len) is not in the shared memory. */
bool fibres_in_shared(const void *p, size_t len);

#endif
