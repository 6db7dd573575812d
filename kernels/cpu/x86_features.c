#include "unit.h"

#if defined __x86_64__

#include <cpuid.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool vendor_is(const char *name)
{
	unsigned a, b, c, d;
	char vendor[12];

	if (!__get_cpuid(0, &a, &b, &c, &d))
		return false;
	memcpy(vendor, &b, 4);
	memcpy(vendor + 4, &d, 4);
	memcpy(vendor + 8, &c, 4);
	return memcmp(vendor, name, 12) == 0;
}

static bool has_f16c(void)
{
	unsigned a, b, c, d;

	return __get_cpuid(1, &a, &b, &c, &d) && c & 1u << 29;
}

static bool has_amx_bf16(void)
{
	unsigned a, b, c, d;

	return __get_cpuid_count(7, 0, &a, &b, &c, &d) && d & 1u << 22 && d & 1u << 24;
}

static bool has_avx512_bf16(void)
{
	unsigned a, b, c, d;

	return __get_cpuid_count(7, 1, &a, &b, &c, &d) && a & 1u << 5;
}

/* Linux gives tiles, 8 KB of state a thread, only to a process that asks. */
static bool amx_allowed(void)
{
	enum { ARCH_REQ_XCOMP_PERM = 0x1023, TILE_DATA = 18 };

	return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0;
}

struct x86_features x86_features(void)
{
	const bool avx2 =
		__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
	const bool avx512 =
		avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
		__builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
	const bool bf16 = avx512 && has_avx512_bf16();

	/*
	 * Intel's AVX512-BF16 starts a product every other cycle, which is no more arithmetic than
	 * two f32 products a cycle: measured, oneDNN's bf16 products run at half the rate of f32
	 * ones there.  AMD's starts one in every cycle that it starts an f32 one in.
	 */
	return (struct x86_features){ avx2, avx512, bf16, bf16 && vendor_is("AuthenticAMD"), has_amx_bf16() && amx_allowed() };
}

#endif
