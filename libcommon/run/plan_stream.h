/* What a plan has to know of the stream: every frame's samples, without their rows; and what is written of them. */
#ifndef PLAN_STREAM_H
#define PLAN_STREAM_H

#include "hooks.h"
#include "plan.h"
#include "resid.h"

/* What the frames are to be measured for. */
struct plan_frames {
	struct resid_input *in;         /* its first frame may have been read; n_variants 0 */
	struct hooks *hooks;            /* open, and not started: hooks_check is done here */
	const struct tms_header *header;/* of the output */
	const struct tms_step *step;
	enum dtype work, resid;         /* of rows in a layer; between layers and in the output */
	bool stream;                    /* an output stream is written */
	const char *output;             /* where; as output_open's */
};

/* Walks the stream to its end (tms_skim), fills p->stream and p->memory.now, and adds the files that will be written.  p->m,
 * from, to, hold, ram and spill are set.  0 or -1. */
int plan_walk(struct plan *p, const struct plan_frames *f, struct error *e) MUST_CHECK;

#endif
