/* What a plan has to know of the stream: every frame's samples, without their rows. */
#ifndef PLAN_STREAM_H
#define PLAN_STREAM_H

#include "plan.h"
#include "resid.h"
#include "tap_len.h"

/* What the frames are to be measured for. */
struct plan_frames {
	struct resid_input *in;         /* its first frame may have been read */
	size_t n_variants;              /* copies of a frame that has no variant; 0: as it is */
	enum dtype resid;               /* the type of rows between layers and of the output */
	const struct tms_header *header;/* of the output */
	const struct tms_step *step;
	struct tap_len *taps;
	uint64_t *output;               /* receives the bytes of the output stream; NULL: there is none */
};

/* Walks the stream to its end (tms_skim) and fills p->stream.  p->m, from, to, hold and ram are set.  0 or -1. */
int plan_walk(struct plan *p, const struct plan_frames *f, struct error *e) MUST_CHECK;

#endif
