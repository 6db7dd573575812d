/* Which device, by its facts alone: the same reasons from both runtimes. */
#include "gpu.h"

enum { OLDEST = 8 };    /* sm_80: bf16 products and asynchronous copies to shared memory */

int gpu_check(const gpu_info *info, int index, error *e)
{
	if (info->major >= OLDEST)
		return 0;
	return error_set(e, "cuda:%d: %s is too old (compute capability %d.%d; 8.0 and later can be used)", index, info->name,
	                 info->major, info->minor);
}

int gpu_choose(int index, int n, void (*info_of)(int i, gpu_info *info), error *e)
{
	if (n == 0)
		return error_set(e, "no CUDA device is visible (CUDA_VISIBLE_DEVICES may hide it)");
	if (index >= n)
		return error_set(e, "cuda:%d: there %s %d CUDA device%s, counted from 0", index, n == 1 ? "is" : "are", n,
		                 n == 1 ? "" : "s");
	for (int i = index < 0 ? 0 : index; i < (index < 0 ? n : index + 1); i++) {
		gpu_info info = {};
		info_of(i, &info);
		if (gpu_check(&info, i, e) == 0)
			return i;
	}
	return -1;
}
