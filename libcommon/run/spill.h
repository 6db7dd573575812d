/*
 * The residual stream between layers: frames in the order they came, in memory up to a limit and then in a file
 * without a name.  While one generation (what entered a layer) is read, the next is written.
 */
#ifndef SPILL_H
#define SPILL_H

#include <stdint.h>

#include "tms.h"

struct spill;
struct resid_input;
struct stages;

/* Bytes of rows held in memory, as --ram asks for them; UINT64_MAX, its default: a quarter of the memory that is available. */
uint64_t spill_room(uint64_t asked);

/* ram: bytes of rows held in memory.  dir: where the file goes; NULL: $TMPDIR, else /var/tmp.  Nothing is made before it
 * is needed.  header: that of the stream whose frames are put.  input: the generation before the first turn, borrowed; NULL: it
 * is empty. */
struct spill *spill_open(uint64_t ram, const char *dir, const struct tms_header *header, struct resid_input *input);

/* The stream of a run that can be resumed: its stages, which are taken over, give and take the frames, and turn by themselves. */
struct spill *spill_of_stages(struct stages *stages);

/* Appends a frame to the next generation; takes it over.  0 or -1 (then the frame is freed too). */
int spill_put(struct spill *s, struct frame *f, struct error *e) MUST_CHECK;

/* The generation put so far becomes the one that is read; the one before must have been read to its end.  0 or -1. */
int spill_turn(struct spill *s, struct error *e) MUST_CHECK;

/* The next frame of the current generation, the caller's.  1, 0 at its end, or -1. */
int spill_next(struct spill *s, struct frame **f, struct error *e) MUST_CHECK;

/* Bytes written to and read from the file so far. */
void spill_traffic(const struct spill *s, uint64_t *written, uint64_t *read);

void spill_close(struct spill *s);

#endif
