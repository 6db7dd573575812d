#include "stages.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "io.h"
#include "memory.h"
#include "parting.h"

struct stages {
	const char *dir;
	struct tms_header header;
	struct resid_input *input;      /* NULL: a file is read */
	struct tms_reader *reader;
	int fd;                         /* a second descriptor of the file that is read; -1: none */
	uint64_t punched;
	struct tms_writer *writer;      /* NULL: nothing was put */
	uint64_t passes, taken, rows;
	struct tms_place before, after; /* of what is read without the last frame, and with it */
	struct checksum *sum_before, *sum_after;        /* the same of a file's checksum */
};

static char *file_name(const char *dir, uint64_t pass)
{
	return mem_format("%s/stream.%u", dir, (unsigned)(pass & 1));
}

/* What was read last ends here. */
static void note_place(struct stages *s)
{
	int layer;
	struct checksum *sum = s->sum_before;
	s->before = s->after;
	s->after = tms_read_place(s->input ? s->input->in : s->reader);
	if (s->input)
		return;
	s->sum_before = s->sum_after;
	s->sum_after = sum;
	tms_read_state(s->reader, s->sum_after, &layer);
}

/* Goes on in the file where the record says. */
static int seek_source(struct stages *s, const struct run_record *at, struct error *e)
{
	if (!at->has_sum || checksum_load(s->sum_after, at->sum) < 0 || checksum_value(s->sum_after) != at->source.sum)
		return error_set(e, "%s/record: is damaged: it has not the checksum of what was read of %s", s->dir, tms_name(s->reader));
	return tms_seek(s->reader, &at->source, s->sum_after, e);
}

/* at: NULL: from its start. */
static int open_source(struct stages *s, const struct run_record *at, struct error *e)
{
	char *name = file_name(s->dir, s->passes);
	s->fd = open(name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	int fd = s->fd < 0 ? -1 : fcntl(s->fd, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		error_errno(e, "%s", name);
	else
		s->reader = tms_open_fd(fd, name, e);
	free(name);
	if (!s->reader)
		return -1;
	/* The header stays, for whoever goes on in the middle. */
	s->punched = tms_read_place(s->reader).byte;
	if (at && seek_source(s, at, e) < 0)
		return -1;
	note_place(s);
	return 0;
}

static int open_target(struct stages *s, const struct tms_place *at, struct error *e)
{
	static const struct tms_options as_it_is = { .plain_history = true };
	char *name = file_name(s->dir, s->passes + 1);
	int fd = open(name, O_RDWR | (at ? 0 : O_CREAT | O_TRUNC) | O_CLOEXEC | O_NOFOLLOW, 0666);
	if (fd < 0) {
		error_errno(e, "%s", name);
	} else {
		struct output output;
		output_from_fd(&output, fd, name);
		s->writer = tms_create_on(&output, &s->header, NULL, &as_it_is, at, e);
	}
	free(name);
	return s->writer ? 0 : -1;
}

/* Reads what the first pass has done with. */
static int skip_input(struct stages *s, const struct run_record *at, struct error *e)
{
	int more = 1;
	struct frame *f;
	while (s->taken < at->taken && (more = stages_next(s, &f, e)) > 0)
		frame_free(f);
	if (more < 0)
		return -1;
	if (s->taken != at->taken || !tms_place_equal(&s->after, &at->source))
		return error_set(e, "%s: isn't the input that the run in %s began with; give it again, or remove %s to start anew",
		                 tms_name(s->input->in), s->dir, s->dir);
	return 0;
}

static int go_on(struct stages *s, const struct run_record *at, struct error *e)
{
	s->passes = at->passes;
	if (at->passes) {
		resid_input_close(s->input); /* who writes it need not wait */
		s->input = NULL;
		s->taken = at->taken;
		s->rows = at->source.n_rows;
	}
	if ((s->input ? skip_input(s, at, e) : open_source(s, at, e)) < 0)
		return -1;
	return at->target.byte ? open_target(s, &at->target, e) : 0;
}

struct stages *stages_open(const char *dir, const struct tms_header *header, struct resid_input *input, const struct run_record *at,
                           struct error *e)
{
	struct stages *s = mem_zero(1, sizeof *s);
	s->dir = dir;
	s->fd = -1;
	s->input = input;
	s->sum_before = checksum_open();
	s->sum_after = checksum_open();
	note_place(s);
	tms_header_copy(&s->header, header);
	s->header.order = TMS_ORDER_ANY;
	if (at && go_on(s, at, e) < 0) {
		stages_close(s);
		return NULL;
	}
	return s;
}

static void close_source(struct stages *s)
{
	tms_close(s->reader);
	if (s->fd >= 0)
		close(s->fd);
	s->reader = NULL;
	s->fd = -1;
	s->input = NULL;
	s->taken = s->rows = 0;
	s->before = s->after = (struct tms_place){ 0 };
}

void stages_close(struct stages *s)
{
	if (!s)
		return;
	close_source(s);
	tms_abort(s->writer);
	tms_header_release(&s->header);
	checksum_close(s->sum_before);
	checksum_close(s->sum_after);
	free(s);
}

int stages_next(struct stages *s, struct frame **f, struct error *e)
{
	int more = s->input ? resid_input_next(s->input, f, e) : s->reader ? tms_next(s->reader, f, e) : 0;
	if (more > 0) {
		s->taken++;
		s->rows += frame_n_rows(*f);
		note_place(s);
	} else if (more < 0 && s->reader) {
		parting_clear();        /* a file of ours is damaged, and will be the next time */
	}
	return more;
}

bool stages_in_file(const struct stages *s)
{
	return s->reader != NULL;
}

uint64_t stages_rows(const struct stages *s)
{
	return s->rows;
}

int stages_put(struct stages *s, const struct frame *f, struct error *e)
{
	return !s->writer && open_target(s, NULL, e) < 0 ? -1 : tms_write(s->writer, f, e);
}

int stages_turn(struct stages *s, bool last, struct error *e)
{
	close_source(s);
	if (last) {
		s->passes++;
		return 0;
	}
	if ((!s->writer && open_target(s, NULL, e) < 0) || tms_end(s->writer, e) < 0 || tms_sync(s->writer, e) < 0)
		return -1;
	struct tms_writer *w = s->writer;
	s->writer = NULL;
	s->passes++;
	return tms_finish(w, e) < 0 ? -1 : open_source(s, NULL, e);
}

int stages_commit(struct stages *s, bool ahead, struct run_record *to, struct error *e)
{
	to->passes = s->passes;
	to->taken = s->taken - ahead;
	to->source = ahead ? s->before : s->after;
	to->has_sum = s->reader != NULL;
	if (to->has_sum)
		checksum_save(ahead ? s->sum_before : s->sum_after, to->sum);
	to->target = s->writer ? tms_written_place(s->writer) : (struct tms_place){ 0 };
	return s->writer ? tms_sync(s->writer, e) : 0;
}

void stages_free(struct stages *s, const struct run_record *at)
{
	uint64_t end = at->source.byte;
	/* Where the file system can't, both files keep their room. */
	if (s->fd >= 0 && end > s->punched &&
	    fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)s->punched, (off_t)(end - s->punched)) == 0)
		s->punched = end;
	if (s->writer)
		return;
	char *name = file_name(s->dir, s->passes + 1);
	(void)!truncate(name, 0);       /* the pass before read it; it may not be there */
	free(name);
}

void stages_remove(const char *dir)
{
	for (uint64_t pass = 0; pass < 2; pass++) {
		char *name = file_name(dir, pass);
		unlink(name);
		free(name);
	}
}
