#include "host_lanes.h"

float host_from_f16(uint16_t x)
{
	float f;
	dtype_convert(&f, DTYPE_F32, &x, DTYPE_F16, 1);
	return f;
}

uint16_t host_to_f16(float x)
{
	uint16_t h;
	dtype_convert(&h, DTYPE_F16, &x, DTYPE_F32, 1);
	return h;
}

void host_shuffle_act(void *const lanes[WARP])
{
	unsigned char word[WARP][sizeof host_shuffle::word];
	for (unsigned lane = 0; lane < WARP; lane++)
		memcpy(word[lane], static_cast<const host_shuffle *>(lanes[lane])->word, sizeof word[lane]);
	for (unsigned lane = 0; lane < WARP; lane++) {
		host_shuffle *h = static_cast<host_shuffle *>(lanes[lane]);
		memcpy(h->word, word[h->from], sizeof h->word);
	}
}
