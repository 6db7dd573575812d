#include "attend_tile.h"

attend_kernel attend_bf16(size_t width, bool roomy)
{
	return attend_16_bits<DTYPE_BF16>(width, roomy);
}
