/* What lies between the MLP's products. */
#include "launches.h"
#include "quads.h"

/*
 * erfc(a / sqrt 2) / 2 for a >= 0.  The argument's rounding error comes back times twice the argument: near the tail's
 * logarithm's slope, -2 z, which is what the rest is taken off with.
 */
DEVICE float upper_tail(float a)
{
	const float root = 0x1.6a09e6p-1f, z = a * root, rest = fmaf(a, 0x1.9fcef4p-27f, fmaf(a, root, -z));
	const float tail = 0.5f * erfcf(z);
	return z < 10 ? fmaf(-2.0f * z * rest, tail, tail) : tail;
}

template <int act> DEVICE float activated(float x)
{
	if (act == ACT_SILU)
		return x / (1.0f + expf(-x));
	if (act == ACT_GELU) {
		const float tail = upper_tail(fabsf(x));
		return x * (x < 0 ? tail : 1.0f - tail);
	}
	if (act == ACT_GELU_TANH)       /* (1 + tanh u) / 2 = 1 / (1 + e^-2u) */
		return x / (1.0f + expf(-0x1.988454p+0f * fmaf(x * x * x, 0.044715f, x)));
	if (act == ACT_GELU_QUICK)
		return x / (1.0f + expf(-1.702f * x));
	return x < 0 ? 0 : x;           /* NaN stays NaN */
}

struct gate_and_up {
	quad gate, up;
};

/* gate.p NULL: act(up). */
template <int act> static KERNEL void activate(walk w, sheet to, sheet gate, sheet up)
{
	walk_rows(w,
	          [=](size_t r, unsigned u) {
		          gate_and_up x = {};
		          x.up = quad_take(reinterpret_cast<const float *>(up.p) + r * up.stride, 4 * u, up.width, up.wide);
		          if (gate.p)
			          x.gate = quad_take(reinterpret_cast<const float *>(gate.p) + r * gate.stride, 4 * u, gate.width,
			                             gate.wide);
		          return x;
	          },
	          [=](size_t r, unsigned u, gate_and_up x) {
		          for (int j = 0; j < 4; j++)
			          x.up.x[j] = gate.p ? activated<act>(x.gate.x[j]) * x.up.x[j] : activated<act>(x.up.x[j]);
		          sheet_give(to, r, 4 * u, x.up);
	          });
}

void cuda_activate(launch_context *c, enum activation act, rows gate, rows up, rows out, operand packed)
{
	static void (*const kernels[ACT_COUNT])(walk, sheet, sheet, sheet) = {
		activate<ACT_SILU>, activate<ACT_GELU>, activate<ACT_GELU_TANH>, activate<ACT_GELU_QUICK>, activate<ACT_RELU>
	};
	const sheet to = sheet_of_result(out, packed);
	walk_launch(c, kernels[act], walk_of_sheet(up.n, to), to, sheet_of_rows(gate), sheet_of_rows(up));
}
