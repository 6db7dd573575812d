#include "attend_tile.h"

attend_kernel attend_f16(size_t width, bool roomy)
{
	return attend_16_bits<DTYPE_F16>(width, roomy);
}
