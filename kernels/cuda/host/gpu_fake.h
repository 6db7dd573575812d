/*
 * The fake device: memory that the host can't touch, and streams that run nothing until somebody waits.  Then it takes the work
 * that the waiting needs, and other streams' as it likes, in any order that streams and events allow; which one, a seed says.
 * So an event that is missing, a buffer that is used again too early or host memory that is changed before its copy
 * shows as wrong bits under some seeds.
 */
#ifndef GPU_FAKE_H
#define GPU_FAKE_H

#include "fibres.h"
#include "gpu.h"

enum fake_fault { FAKE_FINE, FAKE_NO_DRIVER, FAKE_NO_DEVICE, FAKE_OLD };

struct fake_choice {
	fibres_order order;     /* of a block's threads; its seed is that of the streams too */
	fake_fault fault;
	size_t memory;          /* bytes of the device */
	unsigned breaks = 0;    /* at which launch it fails; 0: never */
	unsigned card = 80;     /* whose limits launches are held to: 80, 86, 89, 90, 120 (compute capability 8.0 and so on) */
	bool idle = false;      /* launches are checked and nothing runs: memory is an address range, of any size */
	bool rival = false;     /* another program takes half of its memory, as the first of it is asked for */
};

/* For devices opened later.  Without a call the environment's ONELAYER_FAKE_GPU says it: words with commas between,
 * forward|backward|shuffled, seed=N, memory=MIB, breaks=N, card=N, idle, rival, no-driver|no-device|old. */
void fake_choose(const fake_choice *choice);

#endif
