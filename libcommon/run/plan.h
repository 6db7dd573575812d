/*
 * What a run of layers will need and take, before any work.  Those who know put in the numbers: of the stream's frames
 * plan_stream.h, of the checkpoint weights_plan.h, of the model's shapes and the back end sweep_plan.h, of the file systems
 * plan_place.h.  What follows from them is here.
 */
#ifndef PLAN_H
#define PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "model.h"

struct plan_stream {
	uint64_t tokens, samples;       /* tokens: rows, of all variants */
	uint32_t longest;               /* sample */
	double typical;                 /* length of the sample that a token is in, on average */
	double *pairs;                  /* (n_layers) queries times the keys that each sees; 0 for layers outside the run */
	enum dtype dtype;               /* of rows as they come */
	uint64_t frame;                 /* bytes of the longest frame's rows as they come */
	uint64_t total;                 /* bytes of all rows between layers */
	uint64_t held, meta;            /* of them in memory; bytes of what those frames say of their samples */
	uint64_t tap_held;              /* bytes of rows that the taps of one layer hold at a time, */
	size_t n_taps;                  /* for so many streams */
	uint64_t spilled, spill_file;   /* of them in the spill; bytes of its file */
};

struct plan_weights {
	uint64_t layer, total;          /* bytes in the files: of the largest layer, of all */
	double cached;                  /* the part of them that is in the page cache: a sample of places */
	double disk, cache;             /* bytes a second; 0: nothing of it was there to be read */
};

/* By the shapes, and what a probe of the back end gave. */
struct plan_work {
	double product_flops, attend_flops;
	double product_rate, attend_rate;       /* FLOP/s */
	double put_rate;                        /* bytes of weights a second that a layer takes in */
};

/* Bytes of the host's memory at the highest. */
struct plan_memory {
	uint64_t now;           /* that the program has already */
	uint64_t layers, staging, stream, batch, taps, samples; /* samples: keys of long ones, and what goes by their length */
	uint64_t layers_least;  /* layers with --hold 1 */
	uint64_t available;     /* that the system can give */
};

struct plan_device {            /* of a device's own memory; all 0: it has none */
	uint64_t need, left;
	uint64_t copied;        /* bytes of weights that cross over to it, some for each batch where they pass through */
	struct error refused;   /* text "": it is enough */
};

enum plan_use { PLAN_STREAM, PLAN_TAP, PLAN_SPILL };

/* Something that will be written. */
struct plan_file {
	enum plan_use use;
	char *name;             /* as the command line has it, or the spill's directory */
	char *path;             /* absolute; NULL: it goes to standard output, a command or a device, or has no name */
	char *directory;        /* where it will be made; NULL: nowhere */
	uint64_t len;           /* bytes of the file; of one copy of the spill */
	enum dtype dtype;       /* of a tap's rows; DTYPE_NONE: several */
	size_t place;           /* of plan.places; only with a directory */
};

/* A file system, and what will be written there. */
struct plan_place {
	uint64_t device;        /* st_dev */
	const char *directory;  /* one that lies there; of a plan_file */
	uint64_t need, free;    /* bytes; need follows (plan_judge) */
	double write, read;     /* bytes a second; 0: not measured, little is to be written */
	bool punches;           /* what has been read of a file can be given back, as far as was tried */
};

enum plan_bound { PLAN_ARITHMETIC, PLAN_WEIGHTS, PLAN_SPILLING, PLAN_OUTPUT, PLAN_BOUNDS };

struct plan {
	/* the run; borrowed */
	const struct model *m;
	const char *device;     /* "cpu avx2" */
	size_t threads, from, to, hold;
	uint64_t ram;           /* --ram */
	const char *spill;      /* --spill's directory */

	struct plan_stream stream;
	struct plan_weights weights;
	struct plan_work work;
	struct plan_memory memory;
	struct plan_device vram;
	struct plan_file *files;        /* (n_files) */
	struct plan_place *places;      /* (n_places) */
	size_t n_files, n_places;

	/* what follows (plan_judge) */
	uint64_t peak;                  /* bytes of the host's memory */
	uint64_t written, read;         /* bytes of rows that go to the spill and come back, in all passes */
	double seconds[PLAN_BOUNDS];    /* each by itself */
	double total;                   /* seconds of the run */
	enum plan_bound bound;
	double break_even;              /* tokens from which on the arithmetic takes longer than reading the weights; 0: not known */
	char **problems;                /* (n_problems) why it can't work, each with what would; none: it can */
	size_t n_problems;
};

/* "arithmetic", "weights", "spill", "output". */
const char *plan_bound_name(enum plan_bound b);

/* Times through the layers: the stream is put down and taken up once less. */
size_t plan_passes(const struct plan *p);

/* Finds out what room and rates the file systems have (plan_place.h), and all that follows.  0 or -1. */
int plan_judge(struct plan *p, struct error *e) MUST_CHECK;

/* "12.1 GiB"; returns text. */
char *plan_size(char text[16], double bytes);

void plan_release(struct plan *p);

#endif
