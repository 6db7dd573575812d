#include "fibres.h"

#include <cstdlib>
#include <cstring>
#include <new>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>
#include <utility>
#include <vector>

#if defined __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace {

enum class state { READY, AT_BARRIER, IN_WARP, DONE };

struct copy {
	unsigned char *to;
	const void *from;
	unsigned group;         /* committed as the group-th of this thread */
};

#if defined __x86_64__
typedef void *context;          /* the stack pointer; the registers lie there */
#else
typedef ucontext_t context;
#endif

struct fibre {
	context stopped;
	unsigned char *stack;
	void *announced;        /* the sanitizer's notes of it */
	state at;
	void (*act)(void *const lanes[WARP]);
	void *mine;             /* what it hands in */
	std::vector<copy> copies;
	unsigned groups;        /* committed so far */
};

enum { MAX_WARPS = 32 };

/* Stacks, by thread of the block: what they held is of no use to the next block. */
#if defined __SANITIZE_ADDRESS__
enum : size_t { STACK_LEN = 512 << 10, USUAL = 4 << 10 };
#else
enum : size_t { STACK_LEN = 128 << 10 };
#endif

struct runner {
	std::vector<fibre> fibres;
	std::vector<unsigned> turns;
	const fibres_place *place;
	std::vector<unsigned char> shared_memory;
	unsigned char *shared;
	size_t shared_len;
	void (*body)(void *);
	void *argument;
	const char *fault;
	unsigned now;           /* the running thread */
	unsigned came[MAX_WARPS];       /* of a warp's threads, to where they meet */
	uint64_t random;
	fibre home;             /* the host's own stack */
	const void *home_stack;
	size_t home_len;

	~runner();
};

/* Found without a call: the module is small. */
thread_local runner *running __attribute__((tls_model("initial-exec")));

uint64_t next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

void fault(const char *what)
{
	if (!running->fault)
		running->fault = what;
}

/* -------- one stack to another */

#if defined __x86_64__
/* The registers that a call preserves, the sums' rounding among them, stay on the stack that is left. */
extern "C" void fibres_swap(void **leave, void *enter);
asm(R"(
	.text
	.type fibres_swap, @function
fibres_swap:
	pushq %rbp
	pushq %rbx
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	movq %rsp, (%rdi)
	movq %rsi, %rsp
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbx
	popq %rbp
	ret
	.size fibres_swap, .-fibres_swap
)");
#endif

void run_body();

void prepare(fibre *f)
{
#if defined __x86_64__
	void **top = reinterpret_cast<void **>(f->stack + STACK_LEN) - 1;       /* as after a call */
	*top = nullptr;
	*--top = reinterpret_cast<void *>(run_body);
	f->stopped = top - 6;
#else
	getcontext(&f->stopped);
	f->stopped.uc_stack.ss_sp = f->stack;
	f->stopped.uc_stack.ss_size = STACK_LEN;
	f->stopped.uc_link = nullptr;
	makecontext(&f->stopped, run_body, 0);
#endif
#if defined __SANITIZE_ADDRESS__
	/* The frames that the last block left there. */
	ASAN_UNPOISON_MEMORY_REGION(f->stack + STACK_LEN - USUAL, USUAL);
#endif
}

/* ended: the stack that is left is not returned to. */
void cross(fibre *leave, fibre *enter, const void *stack, size_t len, bool ended)
{
#if defined __SANITIZE_ADDRESS__
	__sanitizer_start_switch_fiber(ended ? nullptr : &leave->announced, stack, len);
#else
	(void)stack;
	(void)len;
	(void)ended;
#endif
#if defined __x86_64__
	fibres_swap(&leave->stopped, enter->stopped);
#else
	swapcontext(&leave->stopped, &enter->stopped);
#endif
#if defined __SANITIZE_ADDRESS__
	__sanitizer_finish_switch_fiber(leave->announced, nullptr, nullptr);
#endif
}

void yield(bool ended)
{
	runner *r = running;
	cross(&r->fibres[r->now], &r->home, r->home_stack, r->home_len, ended);
}

void run_body()
{
	runner *r = running;
#if defined __SANITIZE_ADDRESS__
	__sanitizer_finish_switch_fiber(nullptr, &r->home_stack, &r->home_len);
#endif
	r->body(r->argument);
	r->fibres[r->now].at = state::DONE;
	yield(true);
	abort();        /* nobody turns to it again */
}

void turn_to(runner *r, unsigned thread)
{
	r->now = thread;
	fibre *f = &r->fibres[thread];
	cross(&r->home, f, f->stack, STACK_LEN, false);
}

/* -------- a block */

bool stacks(runner *r, unsigned threads)
{
	while (r->fibres.size() < threads) {
		void *p = mmap(nullptr, STACK_LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (p == MAP_FAILED)
			return false;
		/* A stack that is too small stops at its lowest page. */
		mprotect(p, static_cast<size_t>(sysconf(_SC_PAGESIZE)), PROT_NONE);
		r->fibres.emplace_back();
		r->fibres.back().stack = static_cast<unsigned char *>(p);
	}
	return true;
}

/* Whether the block's threads that still run have all come to a barrier, and then lets them go. */
bool open_barrier(runner *r)
{
	unsigned waiting = 0, done = 0;
	for (unsigned t = 0; t < r->place->threads; t++) {
		waiting += r->fibres[t].at == state::AT_BARRIER;
		done += r->fibres[t].at == state::DONE;
	}
	if (!waiting || waiting + done < r->place->threads)
		return false;
	for (unsigned t = 0; t < r->place->threads; t++)
		if (r->fibres[t].at == state::AT_BARRIER)
			r->fibres[t].at = state::READY;
	return true;
}

/* One turn of every thread that can run.  False: none can. */
bool take_turns(runner *r, const fibres_order *order)
{
	const unsigned n = r->place->threads;
	uint64_t asleep = 0;
	if (order->turn == FIBRES_SHUFFLED) {
		for (unsigned i = n; i > 1; i--)
			std::swap(r->turns[i - 1], r->turns[next_random(&r->random) % i]);
		asleep = next_random(&r->random);
	}
	bool any = false;
	for (unsigned i = 0; i < n && !r->fault; i++) {
		const unsigned t = r->turns[order->turn == FIBRES_BACKWARD ? n - 1 - i : i];
		if (r->fibres[t].at != state::READY)
			continue;
		any = true;
		if (!(asleep >> t / WARP & 1))
			turn_to(r, t);
	}
	return any;
}

void begin(runner *r, const fibres_place *place, size_t shared_len, const fibres_order *order)
{
	r->place = place;
	r->fault = nullptr;
	r->random = order->seed * 2 + 0x9e3779b97f4a7c15 + place->block[0] * 8 + place->block[1] * 64 + place->block[2] * 512;
	r->shared_len = shared_len;
	std::vector<unsigned char>(shared_len + 128).swap(r->shared_memory);
	const uintptr_t at = reinterpret_cast<uintptr_t>(r->shared_memory.data());
	r->shared = r->shared_memory.data() + (128 - at % 128) % 128;
	memset(r->shared, 0xff, shared_len);
#if defined __SANITIZE_ADDRESS__
	ASAN_POISON_MEMORY_REGION(r->shared + shared_len, static_cast<size_t>(&*r->shared_memory.end() - r->shared) - shared_len);
#endif
	memset(r->came, 0, sizeof r->came);
	r->turns.resize(place->threads);
	for (unsigned t = 0; t < place->threads; t++) {
		fibre *f = &r->fibres[t];
		r->turns[t] = t;
		f->at = state::READY;
		f->copies.clear();
		f->groups = 0;
		prepare(f);
	}
}

runner::~runner()
{
	for (fibre &f : fibres)
		munmap(f.stack, STACK_LEN);
}

}

const char *fibres_run(const fibres_place *place, size_t shared_len, const fibres_order *order, void (*body)(void *),
                       void *argument)
{
	static thread_local runner kept;        /* for its stacks */
	if (!stacks(&kept, place->threads))
		return "no memory for the stacks of its threads";
	begin(&kept, place, shared_len, order);
	kept.body = body;
	kept.argument = argument;
	running = &kept;
	while (!kept.fault && (take_turns(&kept, order) || open_barrier(&kept)))
		;
	for (unsigned t = 0; t < place->threads; t++)
		if (kept.fibres[t].at != state::DONE)
			fault("its threads wait for each other at different places");
	running = nullptr;
#if defined __SANITIZE_ADDRESS__
	for (unsigned t = 0; kept.fault && t < place->threads; t++)
		ASAN_UNPOISON_MEMORY_REGION(kept.fibres[t].stack, STACK_LEN);
	ASAN_UNPOISON_MEMORY_REGION(kept.shared_memory.data(), kept.shared_memory.size());
#endif
	return kept.fault;
}

/* -------- for the running thread */

unsigned fibres_thread()
{
	return running->now;
}

const fibres_place *fibres_where()
{
	return running->place;
}

void *fibres_shared()
{
	return running->shared;
}

void fibres_barrier()
{
	running->fibres[running->now].at = state::AT_BARRIER;
	yield(false);
}

void fibres_meet(void (*act)(void *const lanes[WARP]), void *mine)
{
	runner *r = running;
	fibre *warp = &r->fibres[r->now / WARP * WARP];
	fibre *self = &r->fibres[r->now];
	self->act = act;
	self->mine = mine;
	self->at = state::IN_WARP;
	const unsigned first = r->now / WARP * WARP;
	if (first + WARP > r->place->threads)
		fault("its last warp has less than 32 threads, and they meet");
	else if (++r->came[r->now / WARP] == WARP) {
		void *lanes[WARP];
		for (unsigned l = 0; l < WARP; l++) {
			if (warp[l].act != act)
				fault("threads of one warp meet at different operations");
			lanes[l] = warp[l].mine;
			warp[l].at = state::READY;
		}
		r->came[r->now / WARP] = 0;
		if (!r->fault)
			act(lanes);
	}
	yield(false);
}

bool fibres_in_shared(const void *p, size_t len)
{
	const uintptr_t first = reinterpret_cast<uintptr_t>(running->shared), at = reinterpret_cast<uintptr_t>(p);
	const bool inside = at >= first && at - first <= running->shared_len && running->shared_len - (at - first) >= len;
	if (!inside)
		fault("it reaches outside the shared memory");
	else if (at % len)
		fault("an address in shared memory is not aligned");
	return inside && at % len == 0;
}

enum { COPY_LEN = 16 };

void fibres_copy(void *to, const void *from)
{
	fibre *self = &running->fibres[running->now];
	if (reinterpret_cast<uintptr_t>(from) % COPY_LEN)
		fault("an asynchronous copy's source is not aligned");
	else if (fibres_in_shared(to, COPY_LEN)) {
		memset(to, 0xff, COPY_LEN);
		self->copies.push_back({ static_cast<unsigned char *>(to), from, self->groups });
	}
}

void fibres_copy_commit()
{
	running->fibres[running->now].groups++;
}

void fibres_copy_wait(unsigned pending)
{
	fibre *self = &running->fibres[running->now];
	size_t left = 0;
	for (const copy &c : self->copies) {
		if (c.group + pending >= self->groups)
			self->copies[left++] = c;
		else if (c.from)
			memcpy(c.to, c.from, COPY_LEN);
		else
			memset(c.to, 0, COPY_LEN);
	}
	self->copies.resize(left);
	yield(false);
}
