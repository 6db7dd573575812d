/* The fake device: an event that is missing and a buffer that is used too early show, and correct code gives the same bits. */
#include "gpu_fake.h"

#include <csignal>
#include <cstring>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include "check.h"
#include "lanes.h"

namespace {

enum { N = 64, BATCHES = 6, RING = 2, SEEDS = 200, MEMORY = 64 << 10 };

/* What a pipeline of copies and kernels leaves out. */
enum fault {
	ARRIVED = 1,            /* the kernel doesn't wait for its copy */
	MADE = 2,               /* the copy out doesn't wait for its kernel */
	READ = 4,               /* a buffer is filled again while a kernel may still read it */
	LEFT = 8,               /* and written again while it may still be copied out */
	PINNED = 16,            /* pinned memory is filled again while its copy may still run */
	END = 32                /* results are read before they arrived */
};

KERNEL void work(const int *in, int *out)
{
	out[thread_index()] = in[thread_index()] * 3 + 1;
}

struct slot {
	int *pinned, *in, *out;
	gpu_event *arrived, *read, *made, *left;
};

struct pipeline {
	gpu *g;
	gpu_stream *copy_in, *compute, *copy_out;
	slot ring[RING];
	int *results;           /* (BATCHES, N) pinned */
};

void open(pipeline *p, uint64_t seed)
{
	error e;
	const fake_choice c = { { FIBRES_FORWARD, seed }, FAKE_FINE, MEMORY };
	fake_choose(&c);
	p->g = gpu_open(-1, &e);
	p->copy_in = gpu_stream_open(p->g);
	p->compute = gpu_stream_open(p->g);
	p->copy_out = gpu_stream_open(p->g);
	p->results = static_cast<int *>(gpu_pin(p->g, BATCHES * N * sizeof(int)));
	memset(p->results, 0, BATCHES * N * sizeof(int));
	for (slot &s : p->ring) {
		s.pinned = static_cast<int *>(gpu_pin(p->g, N * sizeof(int)));
		s.in = static_cast<int *>(gpu_take(p->g, N * sizeof(int)));
		s.out = static_cast<int *>(gpu_take(p->g, N * sizeof(int)));
		for (gpu_event **v : { &s.arrived, &s.read, &s.made, &s.left })
			*v = gpu_event_open(p->g);
	}
}

void close(pipeline *p)
{
	for (slot &s : p->ring) {
		gpu_unpin(p->g, s.pinned);
		gpu_give(p->g, s.in);
		gpu_give(p->g, s.out);
		for (gpu_event *v : { s.arrived, s.read, s.made, s.left })
			gpu_event_close(v);
	}
	gpu_unpin(p->g, p->results);
	gpu_stream_close(p->copy_in);
	gpu_stream_close(p->compute);
	gpu_stream_close(p->copy_out);
	gpu_close(p->g);
}

void put(pipeline *p, int batch, int faults)
{
	slot &s = p->ring[batch % RING];
	if (!(faults & PINNED))
		gpu_event_wait(s.arrived);
	for (int i = 0; i < N; i++)
		s.pinned[i] = batch * 1000 + i;
	if (!(faults & READ))
		gpu_stream_wait(p->copy_in, s.read);
	gpu_copy_in(p->copy_in, s.in, s.pinned, N * sizeof(int));
	gpu_record(s.arrived, p->copy_in);
	if (!(faults & ARRIVED))
		gpu_stream_wait(p->compute, s.arrived);
	if (!(faults & LEFT))
		gpu_stream_wait(p->compute, s.left);
	launch(p->compute, work, { 1, 1, 1 }, N, 0, s.in, s.out);
	gpu_record(s.read, p->compute);
	gpu_record(s.made, p->compute);
	if (!(faults & MADE))
		gpu_stream_wait(p->copy_out, s.made);
	gpu_copy_out(p->copy_out, p->results + batch * N, s.out, N * sizeof(int));
	gpu_record(s.left, p->copy_out);
}

/* BATCHES batches of N numbers, RING of them under way at a time. */
std::vector<int> run(uint64_t seed, int faults)
{
	pipeline p;
	open(&p, seed);
	for (int batch = 0; batch < BATCHES; batch++)
		put(&p, batch, faults);
	if (!(faults & END))
		gpu_sync(p.copy_out);
	const std::vector<int> results(p.results, p.results + BATCHES * N);
	close(&p);
	return results;
}

/* Of SEEDS seeds, how many gave wrong results. */
unsigned wrong(int faults)
{
	std::vector<int> right;
	for (int batch = 0; batch < BATCHES; batch++)
		for (int i = 0; i < N; i++)
			right.push_back((batch * 1000 + i) * 3 + 1);
	unsigned n = 0;
	for (uint64_t seed = 0; seed < SEEDS; seed++)
		n += run(seed, faults) != right;
	return n;
}

void test_order()
{
	ok(wrong(0) == 0, "a pipeline with all its events: one result under %d seeds", SEEDS);
	ok(wrong(ARRIVED) > 0, "an event missing before the kernel is seen");
	ok(wrong(MADE) > 0, "an event missing after the kernel is seen");
	ok(wrong(READ) > 0, "a buffer filled again before it was read is seen");
	ok(wrong(LEFT) > 0, "a buffer written again before it was copied out is seen");
	ok(wrong(PINNED) > 0, "host memory changed before its copy is seen");
	ok(wrong(END) > 0, "results read before they arrived are seen");
}

/* Whether f ends the process by that signal. */
template <class F> bool dies(int signal_number, F f)
{
	fflush(stdout);
	const pid_t child = fork();
	if (child == 0) {
		signal(signal_number, SIG_DFL);
		if (!freopen("/dev/null", "w", stderr))
			_exit(0);
		f();
		_exit(0);
	}
	int status = 0;
	waitpid(child, &status, 0);
	return WIFSIGNALED(status) && WTERMSIG(status) == signal_number;
}

void test_memory()
{
	error e;
	const fake_choice c = { { FIBRES_FORWARD, 0 }, FAKE_FINE, MEMORY };
	fake_choose(&c);
	gpu *g = gpu_open(-1, &e);
	gpu_stream *s = gpu_stream_open(g);
	float *p = static_cast<float *>(gpu_take(g, MEMORY / 2)), got = 0;
	ok(p && !gpu_take(g, MEMORY / 2 + 1), "no more memory than there is");
	ok(dies(SIGSEGV, [p] { *const_cast<volatile float *>(p) = 1; }), "the host can't touch the device's memory");
	gpu_copy_out(s, &got, p, sizeof got);
	gpu_sync(s);
	ok(got != got, "fresh memory is NaN");
	ok(dies(SIGABRT, [g] { gpu_close(g); }), "closing with memory taken is a defect");
	gpu_give(g, p);
	gpu_stream_close(s);
	gpu_close(g);
}

bool opens(const fake_choice &c, int index, const char *says)
{
	error e = {};
	fake_choose(&c);
	gpu *g = gpu_open(index, &e);
	gpu_close(g);
	return says ? !g && strstr(e.text, says) : g != nullptr;
}

void test_reasons()
{
	const fibres_order order = { FIBRES_FORWARD, 0 };
	ok(opens({ order, FAKE_FINE, MEMORY }, 0, nullptr), "device 0 opens");
	ok(opens({ order, FAKE_FINE, MEMORY }, 1, "there is 1 CUDA device"), "device 1 isn't there");
	ok(opens({ order, FAKE_NO_DRIVER, MEMORY }, -1, "no CUDA driver"), "no driver");
	ok(opens({ order, FAKE_NO_DEVICE, MEMORY }, -1, "no CUDA device"), "no device");
	ok(opens({ order, FAKE_OLD, MEMORY }, -1, "too old"), "an old device");
}

KERNEL void nothing()
{
}

void test_failure()
{
	error e;
	const fake_choice c = { { FIBRES_FORWARD, 0 }, FAKE_FINE, MEMORY, 20 };
	fake_choose(&c);
	gpu *g = gpu_open(-1, &e);
	gpu_stream *s = gpu_stream_open(g);
	for (int i = 0; i < 19; i++)
		launch(s, nothing, { 1, 1, 1 }, 1, 0);
	gpu_sync(s);
	ok(!gpu_failed(g, &e), "19 launches are well");
	launch(s, nothing, { 1, 1, 1 }, 1, 0);
	gpu_sync(s);
	ok(gpu_failed(g, &e) && strstr(e.text, "broke"), "a device that breaks says so: %s", e.text);
	ok(!gpu_take(g, 256), "and gives nothing any more");
	gpu_stream_close(s);
	gpu_close(g);
	const fake_choice fine = { { FIBRES_FORWARD, 0 }, FAKE_FINE, MEMORY };
	fake_choose(&fine);
	g = gpu_open(-1, &e);
	s = gpu_stream_open(g);
	launch(s, nothing, { 1, 1, 1 }, 2048, 0);
	ok(gpu_failed(g, &e), "a launch of 2048 threads: %s", e.text);
	gpu_stream_close(s);
	gpu_close(g);
}

}

int main()
{
	test_order();
	test_memory();
	test_reasons();
	test_failure();
	return done();
}
