#include "gpu_fake.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

#include "clock.h"
#include "host_lanes.h"

namespace {

/* How often an event was recorded by the caller, and which of the records the device has come to.  Works hold it too: an event
 * may be closed before they have run. */
struct records {
	uint64_t asked = 0, reached = 0;
	double moment = 0;      /* of the latest reached, by the host's clock */
};

struct work {
	enum { RUN, WAIT, RECORD } kind;
	std::function<void()> run;
	std::shared_ptr<records> event;
	uint64_t record;        /* its number */
};

struct region {
	unsigned char *p;
	size_t len;
};

enum : size_t { PATTERN_MOST = 4 << 20, DEFAULT_MEMORY = 256 << 20, PINNED_ALIGN = 4096 };
enum { AHEAD = 8 };
/* What every card takes.  Threads: 255 registers each are taken from 65536 in units that make them 256. */
enum : unsigned { MAX_THREADS = 65536 / 256, MAX_BLOCKS = 0x7fffffff, MAX_OTHER_BLOCKS = 65535 };

/* Bytes of shared memory that a block can have at most ("Technical Specifications per Compute Capability", CUDA C++ Programming
 * Guide). */
struct card {
	unsigned capability;
	size_t shared;
};
const card cards[] = { { 80, 163 << 10 }, { 86, 99 << 10 }, { 89, 99 << 10 }, { 90, 227 << 10 }, { 120, 99 << 10 } };

}

struct gpu {
	std::mutex lock;
	gpu_info info;
	fake_choice choice;
	uint64_t random;
	std::vector<gpu_stream *> streams;
	std::vector<region> regions;
	size_t used = 0, pinned = 0, events = 0;
	size_t shared_most = 0; /* of a block */
	int pattern = -1;       /* a file of NaN, mapped as fresh memory as often as it takes */
	size_t pattern_len;
	bool busy = false;      /* the device runs, and its memory can be touched */
	unsigned launches = 0;
	std::string said;       /* what failed first */
};

struct gpu_stream {
	gpu *g;
	std::deque<work> queue;
};

struct gpu_event {
	gpu *g;
	std::shared_ptr<records> state;
};

namespace {

typedef std::lock_guard<std::mutex> locked;

uint64_t next_random(gpu *g)
{
	g->random ^= g->random << 13;
	g->random ^= g->random >> 7;
	g->random ^= g->random << 17;
	return g->random >> 8;
}

void fail(gpu *g, const std::string &what)
{
	if (g->said.empty())
		g->said = what;
}

/* A caller that breaks the contract is a defect of ours, not of a device. */
[[noreturn]] void defect(const char *what)
{
	fprintf(stderr, "gpu_fake: %s\n", what);
	abort();
}

void let_touch(gpu *g, bool may)
{
	g->busy = may;
	for (const region &r : g->regions)
		if (!g->choice.idle && mprotect(r.p, r.len, may ? PROT_READ | PROT_WRITE : PROT_NONE) < 0)
			defect("mprotect");
}

bool ready(const work &w)
{
	return w.kind != work::WAIT || w.event->reached >= w.record;
}

/* One work of the stream. */
void step(gpu_stream *s)
{
	work w = std::move(s->queue.front());
	s->queue.pop_front();
	if (w.kind == work::RECORD && w.event->reached < w.record) {
		w.event->reached = w.record;
		w.event->moment = clock_seconds();
	}
	if (w.kind == work::RUN && s->g->said.empty() && !s->g->choice.idle)
		w.run();
}

/* Takes one work of any stream that has one ready; of `asleep` streams (a bit each) only if no other has.  False: none. */
bool step_any(gpu *g, uint64_t asleep)
{
	std::vector<gpu_stream *> awake, all;
	for (size_t i = 0; i < g->streams.size(); i++) {
		gpu_stream *s = g->streams[i];
		if (s->queue.empty() || !ready(s->queue.front()))
			continue;
		all.push_back(s);
		if (!(asleep >> i % 64 & 1))
			awake.push_back(s);
	}
	const std::vector<gpu_stream *> &some = awake.empty() ? all : awake;
	if (some.empty())
		return false;
	step(some[next_random(g) % some.size()]);
	return true;
}

/* Runs until it is done, and then perhaps ahead of what anybody waits for. */
template <class F> void run_until(gpu *g, F done)
{
	const uint64_t asleep = next_random(g);
	uint64_t ahead = g->choice.order.seed ? next_random(g) % AHEAD : 0;
	if (done() && !ahead)
		return;
	let_touch(g, true);
	while (!done())
		if (!step_any(g, asleep))
			defect("a wait for what was never asked for");
	while (ahead-- > 0 && step_any(g, asleep))
		;
	let_touch(g, false);
}

void run_all(gpu *g)
{
	run_until(g, [g] {
		for (const gpu_stream *s : g->streams)
			if (!s->queue.empty())
				return false;
		return true;
	});
}

/* Every third seed begins at once, every third when it likes, the others as late as can be. */
void put(gpu_stream *s, work w)
{
	gpu *g = s->g;
	if (!g->said.empty() && w.kind == work::RUN)
		return;
	s->queue.push_back(std::move(w));
	const uint64_t eager = g->choice.order.seed % 3;
	if (eager == 2 || (eager == 1 && next_random(g) % 4 == 0))
		run_until(g, [] { return true; });
}

void put_run(gpu_stream *s, std::function<void()> run)
{
	const locked l(s->g->lock);
	put(s, { work::RUN, std::move(run), nullptr, 0 });
}

/* -------- what it is told to be */

fake_choice chosen;
bool is_chosen;

void choose_word(fake_choice *c, const std::string &word)
{
	static const struct { const char *word; fibres_turn turn; } turns[] = {
		{ "forward", FIBRES_FORWARD }, { "backward", FIBRES_BACKWARD }, { "shuffled", FIBRES_SHUFFLED },
	};
	static const struct { const char *word; fake_fault fault; } faults[] = {
		{ "no-driver", FAKE_NO_DRIVER }, { "no-device", FAKE_NO_DEVICE }, { "old", FAKE_OLD },
	};
	bool known = true;
	if (word.compare(0, 5, "seed=") == 0)
		c->order.seed = strtoull(word.c_str() + 5, nullptr, 10);
	else if (word.compare(0, 7, "memory=") == 0)
		c->memory = strtoull(word.c_str() + 7, nullptr, 10) << 20;
	else if (word.compare(0, 7, "breaks=") == 0)
		c->breaks = static_cast<unsigned>(strtoul(word.c_str() + 7, nullptr, 10));
	else if (word.compare(0, 5, "card=") == 0)
		c->card = static_cast<unsigned>(strtoul(word.c_str() + 5, nullptr, 10));
	else if (word == "idle")
		c->idle = true;
	else if (word == "rival")
		c->rival = true;
	else
		known = false;
	for (const auto &t : turns)
		if (word == t.word) {
			c->order.turn = t.turn;
			known = true;
		}
	for (const auto &f : faults)
		if (word == f.word) {
			c->fault = f.fault;
			known = true;
		}
	if (!known)
		defect(("ONELAYER_FAKE_GPU: what is '" + word + "'?").c_str());
}

fake_choice choice_now()
{
	if (is_chosen)
		return chosen;
	fake_choice c = { { FIBRES_FORWARD, 0 }, FAKE_FINE, DEFAULT_MEMORY };
	const char *env = getenv("ONELAYER_FAKE_GPU");
	const std::string all = env ? env : "";
	for (size_t at = 0; at < all.size(); ) {
		const size_t end = std::min(all.find(',', at), all.size());
		choose_word(&c, all.substr(at, end - at));
		at = end + 1;
	}
	return c;
}

void fake_info(int, gpu_info *info)
{
	const fake_choice c = choice_now();
	const int capability = c.fault == FAKE_OLD ? 70 : static_cast<int>(c.card);
	*info = { "fake", capability / 10, capability % 10, 4, c.memory };
}

}

void fake_choose(const fake_choice *choice)
{
	chosen = *choice;
	is_chosen = true;
}

gpu *gpu_open(int index, error *e)
{
	const fake_choice c = choice_now();
	if (c.fault == FAKE_NO_DRIVER) {
		error_set(e, "no CUDA driver (the fake device was told so)");
		return nullptr;
	}
	index = gpu_choose(index, c.fault == FAKE_NO_DEVICE ? 0 : 1, fake_info, e);
	if (index < 0)
		return nullptr;
	gpu *g = new gpu;
	fake_info(index, &g->info);
	g->choice = c;
	for (const card &k : cards)
		if (k.capability == c.card)
			g->shared_most = k.shared;
	if (!g->shared_most)
		defect("a card whose limits are not known");
	g->random = c.order.seed * 2 + 0x9e3779b97f4a7c15;
	g->pattern = memfd_create("nan", MFD_CLOEXEC);
	g->pattern_len = std::min<size_t>(PATTERN_MOST, c.memory);
	const std::vector<unsigned char> nan(g->pattern_len, 0xff);
	if (g->pattern < 0 || write(g->pattern, nan.data(), nan.size()) != static_cast<ssize_t>(nan.size()))
		defect("memfd_create");
	return g;
}

void gpu_close(gpu *g)
{
	if (!g)
		return;
	if (!g->streams.empty() || !g->regions.empty() || g->pinned || g->events)
		defect("closed with memory, a stream or an event left");
	close(g->pattern);
	delete g;
}

const gpu_info *gpu_info_of(const gpu *g)
{
	return &g->info;
}

/* -------- memory */

size_t gpu_free(gpu *g)
{
	const locked l(g->lock);
	return g->said.empty() ? g->info.memory - g->used : 0;
}

void *gpu_take(gpu *g, size_t len)
{
	const locked l(g->lock);
	if (g->choice.rival) {
		g->choice.rival = false;
		g->used += g->info.memory / 2;
	}
	if (len == 0 || len > g->info.memory - g->used || !g->said.empty())
		return nullptr;
	void *p = mmap(nullptr, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return nullptr;
	for (size_t at = 0; at < len && !g->choice.idle; at += g->pattern_len)
		if (mmap(static_cast<char *>(p) + at, std::min(g->pattern_len, len - at), PROT_NONE, MAP_PRIVATE | MAP_FIXED, g->pattern, 0) ==
		    MAP_FAILED)
			defect("mmap");
	g->regions.push_back({ static_cast<unsigned char *>(p), len });
	g->used += len;
	return p;
}

void gpu_give(gpu *g, void *p)
{
	if (!p)
		return;
	const locked l(g->lock);
	run_all(g);
	for (size_t i = 0; i < g->regions.size(); i++)
		if (g->regions[i].p == p) {
			munmap(p, g->regions[i].len);
			g->used -= g->regions[i].len;
			g->regions.erase(g->regions.begin() + static_cast<ptrdiff_t>(i));
			return;
		}
	defect("gave what was not taken");
}

void *gpu_pin(gpu *g, size_t len)
{
	const locked l(g->lock);
	void *p = nullptr;
	if (!g->said.empty() || posix_memalign(&p, PINNED_ALIGN, len) != 0)
		return nullptr;
	g->pinned++;
	return p;
}

void gpu_unpin(gpu *g, void *p)
{
	if (!p)
		return;
	const locked l(g->lock);
	run_all(g);
	g->pinned--;
	free(p);
}

/* -------- streams and events */

gpu_stream *gpu_stream_open(gpu *g)
{
	const locked l(g->lock);
	if (!g->said.empty())
		return nullptr;
	gpu_stream *s = new gpu_stream{ g, {} };
	g->streams.push_back(s);
	return s;
}

void gpu_stream_close(gpu_stream *s)
{
	if (!s)
		return;
	gpu_sync(s);
	const locked l(s->g->lock);
	for (size_t i = 0; i < s->g->streams.size(); i++)
		if (s->g->streams[i] == s)
			s->g->streams.erase(s->g->streams.begin() + static_cast<ptrdiff_t>(i));
	delete s;
}

gpu_event *gpu_event_open(gpu *g)
{
	const locked l(g->lock);
	if (!g->said.empty())
		return nullptr;
	g->events++;
	return new gpu_event{ g, std::make_shared<records>() };
}

gpu_event *gpu_timer_open(gpu *g)
{
	return gpu_event_open(g);
}

void gpu_event_close(gpu_event *v)
{
	if (!v)
		return;
	const locked l(v->g->lock);
	v->g->events--;
	delete v;
}

void gpu_copy_in(gpu_stream *s, void *device, const void *host, size_t len)
{
	put_run(s, [=] { memcpy(device, host, len); });
}

void gpu_copy_out(gpu_stream *s, void *host, const void *device, size_t len)
{
	put_run(s, [=] { memcpy(host, device, len); });
}

void gpu_copy(gpu_stream *s, void *to, const void *from, size_t len)
{
	put_run(s, [=] { memcpy(to, from, len); });
}

void gpu_fill(gpu_stream *s, void *p, size_t len)
{
	put_run(s, [=] { memset(p, 0, len); });
}

void gpu_record(gpu_event *v, gpu_stream *s)
{
	const locked l(s->g->lock);
	put(s, { work::RECORD, nullptr, v->state, ++v->state->asked });
}

void gpu_stream_wait(gpu_stream *s, gpu_event *v)
{
	const locked l(s->g->lock);
	put(s, { work::WAIT, nullptr, v->state, v->state->asked });
}

void gpu_event_wait(gpu_event *v)
{
	const locked l(v->g->lock);
	run_until(v->g, [v] { return v->state->reached >= v->state->asked; });
}

double gpu_seconds(gpu_event *from, gpu_event *to)
{
	const locked l(from->g->lock);
	if (!from->g->said.empty())
		return 0;
	if (from->state->reached < from->state->asked || to->state->reached < to->state->asked)
		defect("the time of what hasn't happened");
	return to->state->moment - from->state->moment;
}

void gpu_sync(gpu_stream *s)
{
	const locked l(s->g->lock);
	run_until(s->g, [s] { return s->queue.empty(); });
}

bool gpu_failed(const gpu *g, error *e)
{
	const locked l(const_cast<gpu *>(g)->lock);
	if (g->said.empty())
		return false;
	error_set(e, "%s: %s", g->info.name, g->said.c_str());
	return true;
}

void gpu_fail(gpu *g, const char *what)
{
	const locked l(g->lock);
	fail(g, what);
}

bool gpu_enter(gpu_stream *s)
{
	const locked l(s->g->lock);
	return s->g->said.empty();
}

gpu *gpu_of(const gpu_stream *s)
{
	return s->g;
}

void *gpu_stream_handle(const gpu_stream *)
{
	return nullptr;
}

/* -------- kernels */

namespace {

struct launched {
	gpu *g;
	fibres_place place;
	size_t shared;
	std::function<void()> body;
};

/* Blocks may run in any order too. */
std::vector<size_t> block_order(gpu *g, size_t n)
{
	std::vector<size_t> order(n);
	for (size_t i = 0; i < n; i++)
		order[i] = g->choice.order.turn == FIBRES_BACKWARD ? n - 1 - i : i;
	for (size_t i = n; g->choice.order.turn == FIBRES_SHUFFLED && i > 1; i--)
		std::swap(order[i - 1], order[next_random(g) % i]);
	return order;
}

void run_blocks(launched l)
{
	gpu *g = l.g;
	const unsigned *n = l.place.blocks;
	if (++g->launches == g->choice.breaks)
		return fail(g, "the device broke (the fake device was told so)");
	for (size_t i : block_order(g, static_cast<size_t>(n[0]) * n[1] * n[2])) {
		l.place.block[0] = static_cast<unsigned>(i % n[0]);
		l.place.block[1] = static_cast<unsigned>(i / n[0] % n[1]);
		l.place.block[2] = static_cast<unsigned>(i / n[0] / n[1]);
		const fibres_order order = { g->choice.order.turn, next_random(g) };
		const char *what = fibres_run(&l.place, l.shared, &order, [](void *p) { (*static_cast<std::function<void()> *>(p))(); }, &l.body);
		if (what)
			return fail(g, std::string("a kernel: ") + what);
	}
}

}

void fake_launch(gpu_stream *s, std::array<unsigned, 3> blocks, unsigned threads, size_t shared, std::function<void()> body)
{
	if (blocks[0] == 0 || blocks[1] == 0 || blocks[2] == 0)
		return;
	if (threads == 0 || threads > MAX_THREADS || shared > s->g->shared_most || blocks[0] > MAX_BLOCKS ||
	    blocks[1] > MAX_OTHER_BLOCKS || blocks[2] > MAX_OTHER_BLOCKS) {
		char what[160];
		snprintf(what, sizeof what, "sm_%u takes no launch of %u by %u by %u blocks, each of %u threads and %zu bytes of shared memory",
		         s->g->choice.card, blocks[0], blocks[1], blocks[2], threads, shared);
		return gpu_fail(s->g, what);
	}
	launched l = { s->g, { { 0, 0, 0 }, { blocks[0], blocks[1], blocks[2] }, threads }, shared, std::move(body) };
	put_run(s, [l] { run_blocks(l); });
}

void fake_run(gpu_stream *s, std::function<void()> f)
{
	put_run(s, std::move(f));
}
