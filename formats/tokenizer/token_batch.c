#include "token_batch.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "wire.h"

enum { MOST_SAMPLES = 256, MOST_BYTES = 1 << 20 };

struct item {
	struct sample sample;
	char *id, *label, *text, *where;
	size_t text_len;
	struct jsonl_span *spans;       /* as they were given */
	size_t n_spans;
	struct span *positions;
	struct tokenizer_ids ids;       /* kept from frame to frame */
	struct wire_buffer extra;
	bool failed;
	struct error error;
};

struct token_batch {
	const struct tokenizer *tokenizer;
	struct workers *workers;
	struct tokenizer_scratch **scratch;     /* (threads) */
	uint64_t max_tokens;
	unsigned flags;
	struct item items[MOST_SAMPLES];
	struct sample samples[MOST_SAMPLES];
	size_t n, len, n_given;
};

struct token_batch *token_batch_open(const struct tokenizer *tokenizer, struct workers *workers, uint64_t max_tokens,
                                     unsigned flags)
{
	struct token_batch *b = mem_zero(1, sizeof *b);
	b->tokenizer = tokenizer;
	b->workers = workers;
	b->max_tokens = max_tokens;
	b->flags = flags;
	b->scratch = mem_zero(workers_count(workers), sizeof(struct tokenizer_scratch *));
	for (size_t i = 0; tokenizer && i < workers_count(workers); i++)
		b->scratch[i] = tokenizer_scratch_open(tokenizer);
	return b;
}

static void item_clear(struct item *item)
{
	free(item->id);
	free(item->label);
	free(item->text);
	free(item->where);
	free(item->spans);
	free(item->positions);
	wire_release(&item->extra);
	struct tokenizer_ids ids = item->ids;
	*item = (struct item){ .ids = ids };
}

/* What the last frame pointed at. */
static void forget(struct token_batch *b)
{
	for (size_t i = 0; i < b->n_given; i++)
		item_clear(&b->items[i]);
	b->n_given = 0;
}

void token_batch_close(struct token_batch *b)
{
	if (!b)
		return;
	for (size_t i = 0; i < MOST_SAMPLES; i++) {
		item_clear(&b->items[i]);
		tokenizer_ids_release(&b->items[i].ids);
	}
	for (size_t i = 0; i < workers_count(b->workers); i++)
		tokenizer_scratch_close(b->scratch[i]);
	free(b->scratch);
	free(b);
}

static void add_extra(struct item *item, const char *key, struct jsonl_string value)
{
	if (!value.text)
		return;
	wire_string(&item->extra, key);
	wire_text(&item->extra, value.text, value.len);
	item->sample.n_extra++;
}

static struct text keep(char **copy, struct jsonl_string s)
{
	*copy = s.text ? mem_slice(s.text, s.len) : NULL;
	return (struct text){ *copy, s.text ? s.len : 0 };
}

static void take_ids(struct item *item, const uint32_t *ids, size_t n)
{
	mem_grow((void **)&item->ids.id, &item->ids.id_capacity, n, sizeof *ids);
	if (n)
		memcpy(item->ids.id, ids, n * sizeof *ids);
	item->ids.n = n;
}

int token_batch_add(struct token_batch *b, const struct input_sample *s, struct error *e)
{
	forget(b);
	struct item *item = &b->items[b->n];
	if (s->text.text && !b->tokenizer)
		return error_set(e, "%s: is text, and without -m MODEL there is no tokenizer for it", s->where);
	b->n++;
	item->sample = (struct sample){ .seq = s->seq };
	item->sample.id = keep(&item->id, s->id);
	item->sample.label = keep(&item->label, s->label);
	item->where = mem_string(s->where);
	item->n_spans = s->n_spans;
	item->spans = mem_zero(s->n_spans, sizeof *item->spans);
	if (s->n_spans)
		memcpy(item->spans, s->span, s->n_spans * sizeof *item->spans);
	add_extra(item, "target", s->target);
	add_extra(item, "foil", s->foil);
	if (s->text.text) {
		item->text = mem_slice(s->text.text, s->text.len);
		item->text_len = s->text.len;
	} else {
		take_ids(item, s->ids, s->n_ids);
	}
	b->len += s->text.text ? s->text.len : s->n_ids * sizeof *s->ids;
	return 0;
}

bool token_batch_full(const struct token_batch *b)
{
	return b->n == MOST_SAMPLES || b->len >= MOST_BYTES;
}

/* Characters of the text to positions of tokens; a span that no token stands for is dropped. */
static void place_spans(struct item *item, size_t n_tokens)
{
	item->positions = mem_zero(item->n_spans, sizeof *item->positions);
	for (size_t i = 0; i < item->n_spans; i++) {
		size_t first = item->spans[i].start, last = item->spans[i].end;
		if (item->text && !tokenizer_positions(&item->ids, first, last, &first, &last))
			continue;
		last = last < n_tokens ? last : n_tokens;
		if (first < last)
			item->positions[item->sample.n_spans++] = (struct span){ (uint32_t)first, (uint32_t)last };
	}
	item->sample.spans = item->sample.n_spans ? item->positions : NULL;
}

static void tokenize(void *argument, size_t i, size_t slot)
{
	struct token_batch *b = argument;
	struct item *item = &b->items[i];
	unsigned flags = b->flags | (item->n_spans ? TOKENIZER_SPANS : 0);
	if (item->text && tokenizer_encode(b->tokenizer, b->scratch[slot], item->text, item->text_len, flags, &item->ids,
	                                   &item->error) < 0) {
		item->failed = true;
		return;
	}
	size_t n = item->ids.n;
	if (b->max_tokens && n > b->max_tokens)
		n = b->max_tokens;
	item->sample.len = (uint32_t)n;
	item->sample.tokens = item->ids.id;
	if (item->n_spans)
		place_spans(item, n);
	item->sample.extra = (const char *)item->extra.p;
	item->sample.extra_len = item->extra.len;
}

int token_batch_frame(struct token_batch *b, struct frame *f, struct error *e)
{
	static const uint32_t none[1];
	workers_run(b->workers, b->n, tokenize, b);
	for (size_t i = 0; i < b->n; i++) {
		struct item *item = &b->items[i];
		if (item->failed) {
			*e = item->error;
			return error_in(e, "%s", item->where);
		}
		if (!item->sample.tokens)
			item->sample.tokens = none;
		b->samples[i] = item->sample;
	}
	*f = (struct frame){ .layer = -1, .variant = -1, .samples = b->samples, .n_samples = b->n };
	b->n_given = b->n;
	b->n = 0;
	b->len = 0;
	return 0;
}
