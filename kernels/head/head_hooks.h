/* What a run wants at final_norm and logits: taps, filters, patches, and the logits themselves as its output. */
#ifndef HEAD_HOOKS_H
#define HEAD_HOOKS_H

#include "hooks.h"
#include "positions.h"

struct head_hooks {
	struct hooks hooks;
	struct taps *output;            /* the logits as a stream; NULL: none */
	struct positions *at;           /* (n_at) what taps read */
	size_t n_at;
	bool reads[SITE_COUNT];         /* final_norm, logits: whether a tap, filter or patch is there */
	bool patched[SITE_COUNT], filtered[SITE_COUNT];
	enum dtype work;
};

/*
 * Opens all of it.  output: a --tap's text that has the logits go to the run's output; NULL: they don't.  in: the run's input,
 * called in_name; backend: of its history.  0 or -1; head_hooks_finish in either case.
 */
int head_hooks_open(struct head_hooks *h, const struct hook_options *o, const char *output, const struct model *m,
                    const struct tms_header *in, const char *in_name, const char *backend, enum dtype work,
                    struct error *e) MUST_CHECK;

/* Whether a tap reads the row. */
bool head_hooks_want(const struct head_hooks *h, const struct sample *s, uint32_t position);

/* Whether any row is changed. */
bool head_hooks_change_any(const struct head_hooks *h);

/* Rows first..first+n-1 of the frame at a site, (n, width) in the working type, in place: patches, then filters.  0 or -1. */
int head_hooks_change(struct head_hooks *h, enum site site, const struct frame *f, size_t first, size_t n, void *rows,
                      size_t width, struct error *e) MUST_CHECK;

/* The same rows for the taps; see head_reader.pass. */
int head_hooks_pass(struct head_hooks *h, const struct frame *f, size_t first, size_t n, const void *normed, const void *logits,
                    struct error *e) MUST_CHECK;

/* As hooks_finish. */
int head_hooks_finish(struct head_hooks *h, int status, struct error *e) MUST_CHECK;

#endif
