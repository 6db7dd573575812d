/*
 * What a resumable run writes down of itself, in the file `record` of its directory: what run it is, and how far it is.
 * The file is a MessagePack map and the XXH3-64 of its bytes, is replaced as a whole, and is not believed when it is read.
 */
#ifndef RUN_RECORD_H
#define RUN_RECORD_H

#include "checksum.h"
#include "model.h"
#include "tms.h"

struct run_record {
	char **run;             /* (n_run) sentences, all that must be the same for the run to go on */
	size_t n_run;
	uint64_t finished;      /* 1: all outputs are written, and some may still have to be renamed */
	uint64_t commits;       /* how often the run noted how far it is; 0: nothing is to be kept */
	uint64_t passes, layer; /* passes over the stream that are done; the layer that comes next */
	uint64_t rows;          /* of a pass; 0: not known yet */
	uint64_t hold;          /* layers that the pass at hand goes through */
	uint64_t taken;         /* frames of the pass at hand that are done */
	struct tms_place source, target; /* of the streams that this pass reads and writes; target.byte 0: nothing is written */
	uint8_t sum[CHECKSUM_STATE];    /* what the checksum of source has come to there */
	bool has_sum;                   /* not of the first pass, which reads its source again */
	struct tms_place *outputs;      /* (n_outputs) */
	size_t n_outputs;
	uint8_t *patched;       /* (n_patched) of patches_used */
	size_t n_patched;
};

void run_record_release(struct run_record *r);

/* The record in these bytes; name is for messages.  0 or -1; nothing is to be released then. */
int run_record_parse(struct run_record *r, const void *bytes, size_t len, const char *name, struct error *e) MUST_CHECK;

/* That of directory dir.  1; 0: there is none; -1. */
int run_record_read(struct run_record *r, const char *dir, struct error *e) MUST_CHECK;

/* Replaces it: on the disk, or as it was.  0 or -1. */
int run_record_write(const struct run_record *r, const char *dir, struct error *e) MUST_CHECK;

/* Removes it.  0 or -1. */
int run_record_remove(const char *dir, struct error *e) MUST_CHECK;

/* -------- its sentences */

/* The one about a model; the caller's. */
char *run_record_model(const struct model *m);
/* The one about the model of the run; "" if there is none. */
const char *run_record_own_model(const struct run_record *r);

/* The absolute name that an output will have of which sentence i says where it goes; NULL: it says something else. */
const char *run_record_output(const struct run_record *r, size_t i);

#endif
