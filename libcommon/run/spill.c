#include "spill.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "memory.h"
#include "scratch.h"
#include "stages.h"

struct held {
	struct frame *frame;
	struct held *next;
};

struct generation {
	struct held *first, **end;      /* in memory; all before those in the file */
	struct tms_writer *writer;
	struct tms_reader *reader;
	int fd;                         /* a second descriptor of the file; -1: no file */
};

struct spill {
	uint64_t ram, in_memory, written, read, punched;
	char *dir;
	struct tms_header header;
	struct generation now, next;
	struct resid_input *input;      /* in place of the first generation; NULL: none, or past */
	struct stages *stages;          /* in place of all generations; or NULL */
};

static void generation_init(struct generation *g)
{
	*g = (struct generation){ .fd = -1 };
	g->end = &g->first;
}

uint64_t spill_room(uint64_t asked)
{
	return asked == UINT64_MAX ? mem_available() / 4 : asked;
}

struct spill *spill_open(uint64_t ram, const char *dir, const struct tms_header *header, struct resid_input *input)
{
	struct spill *s = mem_zero(1, sizeof *s);
	s->ram = ram;
	s->input = input;
	tms_header_copy(&s->header, header);
	s->header.order = TMS_ORDER_ANY;
	s->dir = mem_string(scratch_directory(dir));
	generation_init(&s->now);
	generation_init(&s->next);
	return s;
}

struct spill *spill_of_stages(struct stages *stages)
{
	struct spill *s = mem_zero(1, sizeof *s);
	s->stages = stages;
	generation_init(&s->now);
	generation_init(&s->next);
	return s;
}

static int begin_file(struct spill *s, struct error *e)
{
	struct generation *g = &s->next;
	char *name = mem_format("--spill %s", s->dir);
	g->fd = scratch_file(s->dir, name, e);
	if (g->fd < 0) {
		free(name);
		return -1;
	}
	int fd = fcntl(g->fd, F_DUPFD_CLOEXEC, 3);
	g->writer = fd < 0 ? NULL : tms_create_fd(fd, name, &s->header, e);
	if (fd < 0)
		error_errno(e, "%s", name);
	free(name);
	return g->writer ? 0 : -1;
}

int spill_put(struct spill *s, struct frame *f, struct error *e)
{
	struct generation *g = &s->next;
	size_t len = frame_rows_len(f);
	if (!s->stages && !g->writer && s->in_memory + len <= s->ram) {
		struct held *h = mem_alloc(sizeof *h);
		*h = (struct held){ f, NULL };
		*g->end = h;
		g->end = &h->next;
		s->in_memory += len;
		return 0;
	}
	int status = g->writer || s->stages ? 0 : begin_file(s, e);
	if (status == 0)
		status = s->stages ? stages_put(s->stages, f, e) : tms_write(g->writer, f, e);
	s->written += len;
	frame_free(f);
	return status;
}

static void generation_release(struct generation *g)
{
	while (g->first) {
		struct held *next = g->first->next;
		frame_free(g->first->frame);
		free(g->first);
		g->first = next;
	}
	tms_abort(g->writer);
	tms_close(g->reader);
	if (g->fd >= 0)
		close(g->fd);
	generation_init(g);
}

int spill_turn(struct spill *s, struct error *e)
{
	generation_release(&s->now);
	s->input = NULL;
	s->now = s->next;
	if (!s->next.first)
		s->now.end = &s->now.first;
	generation_init(&s->next);
	s->punched = 0;
	struct generation *g = &s->now;
	if (!g->writer)
		return 0;
	struct tms_writer *w = g->writer;
	g->writer = NULL;
	if (tms_finish(w, e) < 0)
		return -1;
	if (lseek(g->fd, 0, SEEK_SET) < 0)
		return error_errno(e, "--spill %s", s->dir);
	int fd = fcntl(g->fd, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return error_errno(e, "--spill %s", s->dir);
	g->reader = tms_open_fd(fd, s->dir, e);
	return g->reader ? 0 : -1;
}

/* Frees the blocks of what was read, so that two generations take little more room than one.  Where the file system
 * can't, they take the room of two. */
static void punch(struct spill *s)
{
	enum { STEP = 64 << 20 };
	off_t at = lseek(s->now.fd, 0, SEEK_CUR);
	/* The reader may have up to one frame's bytes in view; what lies before a whole step behind it is done with. */
	if (at < 0 || (uint64_t)at < s->punched + 2 * (uint64_t)STEP)
		return;
	uint64_t end = ((uint64_t)at - STEP) / STEP * STEP;
	if (fallocate(s->now.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)s->punched,
	              (off_t)(end - s->punched)) == 0)
		s->punched = end;
}

static int next_of_stages(struct spill *s, struct frame **f, struct error *e)
{
	bool in_file = stages_in_file(s->stages);
	int more = stages_next(s->stages, f, e);
	if (more > 0 && in_file)
		s->read += frame_rows_len(*f);
	return more;
}

int spill_next(struct spill *s, struct frame **f, struct error *e)
{
	struct generation *g = &s->now;
	struct held *h = g->first;
	if (s->stages)
		return next_of_stages(s, f, e);
	if (s->input)
		return resid_input_next(s->input, f, e);
	if (h) {
		*f = h->frame;
		g->first = h->next;
		if (!g->first)
			g->end = &g->first;
		s->in_memory -= frame_rows_len(*f);
		free(h);
		return 1;
	}
	if (!g->reader)
		return 0;
	int status = tms_next(g->reader, f, e);
	if (status < 0)
		return error_in(e, "spilled rows");
	if (status == 1) {
		s->read += frame_rows_len(*f);
		punch(s);
	}
	return status;
}

void spill_traffic(const struct spill *s, uint64_t *written, uint64_t *read)
{
	*written = s->written;
	*read = s->read;
}

void spill_close(struct spill *s)
{
	if (!s)
		return;
	generation_release(&s->now);
	generation_release(&s->next);
	stages_close(s->stages);
	tms_header_release(&s->header);
	free(s->dir);
	free(s);
}
