/*
 * Kernels of bf16 products beside their twins in plain C, bit for bit.  The instructions of x86_amx.c trap on processors without
 * AMX, and are carried out here on the registers of the interrupted thread, as Intel's manual (volume 2, TDPBF16PS and others)
 * has them; where the processor has tiles, they are used.  Those of x86_avx512_bf16.c need a processor that has them.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "memory.h"
#include "unit.h"

#if defined __x86_64__ && defined __linux__

#include <signal.h>
#include <ucontext.h>
#include <unistd.h>

/* -------- tiles as an emulated processor holds them */

static struct {
	bool configured;
	unsigned rows[8], len[8];       /* len: bytes of a row */
	unsigned char bytes[8][16][64];
	size_t multiplied;              /* instructions seen */
} tiles;

static const char *trouble; /* what no processor would have done */

static float flush(float x)
{
	return fpclassify(x) == FP_SUBNORMAL ? copysignf(0, x) : x;
}

/* What is too small is seen where it has all its bits. */
static float fused(float x, float y, float c)
{
	const float sum = fmaf(x, y, c);

	if (fabsf(sum) <= 0x1p-126f && fabsf(fmaf(x * 0x1p32f, y * 0x1p32f, c * 0x1p64f)) < 0x1p-62f)
		return copysignf(0, sum);
	return sum;
}

static float element(const unsigned char *p)
{
	const uint32_t bits = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 24;
	float x;

	memcpy(&x, &bits, sizeof x);
	return flush(x);
}

static void multiply(unsigned c, unsigned a, unsigned b)
{
	tiles.multiplied++;
	if (tiles.len[a] / 4 != tiles.rows[b] || tiles.rows[a] != tiles.rows[c] || tiles.len[b] != tiles.len[c])
		trouble = "tiles that do not fit each other are multiplied";
	for (unsigned m = 0; m < tiles.rows[c]; m++) {
		float even[16] = { 0 }, odd[16] = { 0 }, sum[16];

		for (unsigned k = 0; k < tiles.len[a] / 4; k++)
			for (unsigned n = 0; n < tiles.len[c] / 4; n++) {
				const unsigned char *x = &tiles.bytes[a][m][4 * k], *y = &tiles.bytes[b][k][4 * n];

				even[n] = fused(element(x), element(y), even[n]);
				odd[n] = fused(element(x + 2), element(y + 2), odd[n]);
			}
		memcpy(sum, tiles.bytes[c][m], sizeof sum);
		for (unsigned n = 0; n < tiles.len[c] / 4; n++)
			sum[n] = flush(flush(sum[n]) + flush(even[n] + odd[n]));
		memcpy(tiles.bytes[c][m], sum, sizeof sum);
	}
}

static void configure(const unsigned char *p)
{
	if (p[0] != 1 || p[1] != 0)
		trouble = "a palette that is not 1, or a row to start at";
	memset(&tiles.bytes, 0, sizeof tiles.bytes);
	for (unsigned i = 0; i < 8; i++) {
		tiles.len[i] = p[16 + 2 * i] | (unsigned)p[17 + 2 * i] << 8;
		tiles.rows[i] = p[48 + i];
		if (tiles.len[i] > 64 || tiles.len[i] % 4 || tiles.rows[i] > 16)
			trouble = "a tile larger than there are";
	}
	tiles.configured = true;
}

static void load(unsigned t, const char *p, int64_t stride)
{
	for (unsigned r = 0; r < tiles.rows[t]; r++)
		memcpy(tiles.bytes[t][r], p + (int64_t)r * stride, tiles.len[t]);
}

static void store(unsigned t, char *p, int64_t stride)
{
	for (unsigned r = 0; r < tiles.rows[t]; r++)
		memcpy(p + (int64_t)r * stride, tiles.bytes[t][r], tiles.len[t]);
}

/* -------- decoding: C4, two bytes of VEX, opcode, ModRM, perhaps SIB and displacement */

struct instruction {
	const unsigned char *next;
	unsigned prefix, opcode, vvvv;  /* prefix: none, 66, F3, F2 as 0..3 */
	unsigned mod, reg, rm;          /* with their bits of VEX */
	char *base;
	int64_t stride;
};

static int64_t register_of(const ucontext_t *u, unsigned i)
{
	static const int names[] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
		                     REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15 };

	return u->uc_mcontext.gregs[names[i]];
}

/* The memory operand; base and stride as a tile's load takes them (stride: of an index). */
static void decode_memory(struct instruction *in, const ucontext_t *u, const unsigned char *p, unsigned x, unsigned b)
{
	int64_t base = 0, displacement = 0;
	unsigned low = in->rm & 7, root = in->rm;
	bool none = false, relative = false;

	if (low == 4) {
		const unsigned sib = *p++, index = (sib >> 3 & 7) | x;

		root = (sib & 7) | b;
		none = (sib & 7) == 5 && in->mod == 0;
		in->stride = index == 4 ? 0 : register_of(u, index) * (1 << (sib >> 6));
	} else if (low == 5 && in->mod == 0) {
		none = relative = true;
	}
	if (in->mod == 1) {
		displacement = (int8_t)*p++;
	} else if (in->mod == 2 || none) {
		int32_t wide;

		memcpy(&wide, p, sizeof wide);
		displacement = wide;
		p += sizeof wide;
	}
	if (relative)
		base = (int64_t)(uintptr_t)p;
	else if (!none)
		base = register_of(u, root);
	in->base = (char *)(uintptr_t)(base + displacement);
	in->next = p;
}

/* false: none of AMX's. */
static bool decode(struct instruction *in, const ucontext_t *u)
{
	const unsigned char *p = (const unsigned char *)(uintptr_t)u->uc_mcontext.gregs[REG_RIP];

	if (p[0] != 0xc4 || (p[1] & 0x1f) != 2 || (p[2] & 0x84) != 0)
		return false;
	*in = (struct instruction){ .next = p + 5, .prefix = p[2] & 3, .opcode = p[3], .vvvv = ~(unsigned)p[2] >> 3 & 15 };
	in->mod = p[4] >> 6;
	in->reg = (p[4] >> 3 & 7) | (p[1] & 0x80 ? 0 : 8);
	const unsigned x = p[1] & 0x40 ? 0 : 8, b = p[1] & 0x20 ? 0 : 8;
	in->rm = (p[4] & 7) | b;
	if (in->mod != 3)
		decode_memory(in, u, p + 5, x, b);
	return true;
}

enum { NONE, P66, PF3, PF2 };

static bool carry_out(const struct instruction *in)
{
	const bool memory = in->mod != 3;

	if (in->opcode == 0x49 && in->prefix == NONE && memory)
		configure((const unsigned char *)in->base);
	else if (in->opcode == 0x49 && in->prefix == NONE)
		tiles.configured = false;
	else if (!tiles.configured)
		return false;
	else if (in->opcode == 0x49 && in->prefix == PF2 && !memory)
		memset(tiles.bytes[in->reg], 0, sizeof tiles.bytes[in->reg]);
	else if (in->opcode == 0x4b && in->prefix == PF2 && memory)
		load(in->reg, in->base, in->stride);
	else if (in->opcode == 0x4b && in->prefix == PF3 && memory)
		store(in->reg, in->base, in->stride);
	else if (in->opcode == 0x5c && in->prefix == PF3 && !memory)
		multiply(in->reg, in->rm, in->vvvv);
	else
		return false;
	return true;
}

static void trap(int signal, siginfo_t *info, void *context)
{
	ucontext_t *u = context;
	struct instruction in;

	(void)signal;
	(void)info;
	if (!decode(&in, u) || !carry_out(&in)) {
		static const char text[] = "Bail out! an instruction that this test does not know\n";

		if (write(STDOUT_FILENO, text, sizeof text - 1) < 0)
			_exit(3);
		_exit(2);
	}
	u->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)in.next;
}

/* -------- the comparison */

static uint16_t noise(uint64_t *seed, double scale)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	const float x = (float)(scale * ((double)(*seed >> 40) * 0x1p-24 - 0.5));
	uint32_t bits;

	memcpy(&bits, &x, sizeof bits);
	return (uint16_t)(bits >> 16);
}

static uint16_t *numbers(size_t n, uint64_t seed, double scale)
{
	struct error e;
	uint16_t *p = mem_try(n * sizeof *p, "a test's numbers", &e);

	if (!p)
		exit(2);
	for (size_t i = 0; i < n; i++)
		p[i] = i % 97 == 5 ? (uint16_t)(i & 0x7f) : noise(&seed, scale); /* subnormal ones too */
	return p;
}

struct shape {
	size_t rows, k, columns, first, n;
};

/* Columns first..first+n-1 of a weight of `columns`. */
static bool same(const struct multiplier *own, const struct multiplier *plain, const struct shape *s, double scale)
{
	const size_t all = (s->columns + own->panel - 1) / own->panel * own->panel,
		     all_k = (s->k + own->k_multiple - 1) / own->k_multiple * own->k_multiple;
	const size_t a_stride = s->k / 2 * 2 + 8, c_stride = (s->n + 15) / 16 * 16 + 5, c_len = (s->rows + 15) / 16 * 16 * c_stride;
	uint16_t *a = numbers(s->rows * a_stride, 3, scale), *b = numbers(all * all_k, 4, scale);
	float *c[2] = { mem_zero(c_len, sizeof **c), mem_zero(c_len, sizeof **c) };
	void *scratch = numbers(MULTIPLY_SCRATCH_LEN / sizeof(uint16_t), 5, scale);
	bool equal = true;

	for (size_t r = 0; r < s->rows; r++)
		a[r * a_stride + s->k] = 0;
	for (int i = 0; i < 2; i++) {
		const struct multiply m = { .a = a, .a_stride = a_stride, .rows = s->rows, .k = s->k, .b = b, .held = DTYPE_BF16,
			                    .first = s->first, .n = s->n, .c = c[i], .c_stride = c_stride, .scratch = scratch };

		(i ? plain : own)->multiply(&m);
	}
	for (size_t r = 0; r < s->rows; r++)
		equal &= memcmp(c[0] + r * c_stride, c[1] + r * c_stride, s->n * sizeof **c) == 0;
	free(a);
	free(b);
	free(scratch);
	free(c[0]);
	free(c[1]);
	return equal;
}

/* The second time with numbers whose products are about as small as a normal number can be. */
static void compare(const struct multiplier *own, const struct multiplier *plain, const char *what)
{
	static const struct shape shapes[] = { { 1, 1, 1, 0, 1 },         { 16, 32, 16, 0, 16 },   { 17, 33, 40, 16, 24 },
		                               { 32, 512, 64, 0, 64 },    { 33, 545, 100, 48, 52 }, { 5, 1100, 70, 16, 33 },
		                               { 48, 1024, 33, 0, 33 },   { 70, 77, 129, 112, 17 }, { 2, 1301, 300, 0, 300 },
		                               { 107, 1999, 96, 16, 80 } };

	for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
		const struct shape *s = &shapes[i];

		ok(same(own, plain, s, 1) && same(own, plain, s, 0x1p-62),
		   "%zu rows of %zu, columns %zu..%zu of %zu: the %s give what the twin gives", s->rows, s->k, s->first,
		   s->first + s->n - 1, s->columns, what);
	}
}

int main(void)
{
	const struct x86_features x86 = x86_features();
	const struct sigaction action = { .sa_sigaction = trap, .sa_flags = SA_SIGINFO | SA_NODEFER };

	if (x86.bf16)
		compare(&multiply_avx512_bf16, &multiply_avx512_bf16_plain, "processor's products of pairs");
	else
		ok(true, "products of pairs # SKIP this processor has no AVX512-BF16");
	if (!x86.amx && sigaction(SIGILL, &action, NULL) != 0)
		return 2;
	compare(&multiply_amx, &multiply_amx_plain, x86.amx ? "processor's tiles" : "emulated tiles");
	ok(trouble == NULL, "%s", trouble ? trouble : "tiles are used as they are configured");
	ok(!tiles.configured, "tiles are released");
	ok(x86.amx || tiles.multiplied > 0, "%zu products of tiles were emulated", tiles.multiplied);
	return done();
}

#else

int main(void)
{
	ok(true, "twins # SKIP only on x86-64 and Linux");
	return done();
}

#endif
