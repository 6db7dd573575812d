/*
 * What a stream is turned into: JSON lines, a table, a summary, NumPy files, safetensors.  Each takes the
 * frames as they come and leaves nothing under its output's name unless it was finished.
 */
#ifndef SINK_H
#define SINK_H

#include "frame.h"
#include "tms.h"

struct sink {
	/* One more frame, which stays the caller's.  0 or -1. */
	int (*frame)(struct sink *s, const struct frame *f, struct error *e);
	/* After the last frame: completes the output and frees.  0 or -1. */
	int (*finish)(struct sink *s, struct error *e);
	/* Frees; nothing is left. */
	void (*abort)(struct sink *s);
};

/* Each: NULL and e if the output can't be opened.  The header must outlive the sink. */

/* One JSON object a line and sample: tokens as {"id","label","input_ids"}, activations with "site", "layer", "first",
 * "n" and "rows". */
struct sink *json_sink(const char *path, const struct tms_header *h, struct error *e) MUST_CHECK;

/* One line a row (or token): id label variant site layer pos token v0 v1 ... */
struct sink *tsv_sink(const char *path, const struct tms_header *h, struct error *e) MUST_CHECK;

/* What the stream holds, for people or (json) as one object. */
struct sink *summary_sink(const char *path, const struct tms_header *h, int json, struct error *e) MUST_CHECK;

/* SITE.LAYER.npy ... in the directory `path`, which is made if it isn't there. */
struct sink *npy_sink(const char *path, const struct tms_header *h, struct error *e) MUST_CHECK;

/* One safetensors file, in the stream's types, under TransformerLens's names where it has them. */
struct sink *safetensors_sink(const char *path, const struct tms_header *h, struct error *e) MUST_CHECK;

/* A control vector as llama.cpp and repeng read it: the stream's `direction` of each layer as f32.  What else there is is
 * left out.  Held in memory: a vector a layer. */
struct sink *gguf_sink(const char *path, const struct tms_header *h, struct error *e) MUST_CHECK;

#endif
