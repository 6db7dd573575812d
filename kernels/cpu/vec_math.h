/* Selection and elementary functions on vectors.  Errors are in units of a float's last place. */

INLINE size_t v_count(size_t left)
{
	return left < VL ? left : VL;
}

INLINE vf v_take(const float *p, size_t n)
{
	return n == VL ? v_load(p) : v_load_n(p, n);
}

INLINE void v_give(float *p, vf v, size_t n)
{
	if (n == VL)
		v_store(p, v);
	else
		v_store_n(p, v, n);
}

INLINE vf v_select(vi mask, vf yes, vf no)
{
	return (vf)((mask & (vi)yes) | (~mask & (vi)no));
}

INLINE vi v_lane(void)
{
	int32_t lane[VL];
	vi v;

	UNROLL
	for (int32_t i = 0; i < VL; i++)
		lane[i] = i;
	memcpy(&v, lane, sizeof v);
	return v;
}

INLINE vi v_set_int(int32_t x)
{
	return (vi){ 0 } + x;
}

/* Zero from lane n on. */
INLINE vf v_first(vf x, size_t n)
{
	return (vf)((vi)x & (v_lane() < v_set_int((int32_t)n)));
}

/*
 * e^x = 2^n e^r with |r| <= ln 2 / 2; e^r = 1 + r + r^2 q(r), q a least-maximum fit.  Below 1 ulp,
 * denormal results included; NaN stays NaN.  ln 2 is taken in two parts of which the first times n
 * is exact.
 */
INLINE vf v_exp(vf x)
{
	x = v_max(v_set(-104), v_min(v_set(89), x));

	const vf n = v_rint(x * 0x1.715476p+0f);
	vf r = v_fma(n, v_set(-0x1.63p-1f), x);

	r = v_fma(n, v_set(0x1.bd0106p-13f), r);

	vf q = v_set(0x1.6a1a6ep-10f);

	q = v_fma(q, r, v_set(0x1.123fc6p-7f));
	q = v_fma(q, r, v_set(0x1.555916p-5f));
	q = v_fma(q, r, v_set(0x1.55548ap-3f));
	q = v_fma(q, r, v_set(0x1.fffffcp-2f));

	return v_scale(v_fma(q, r * r, r) + 1.0f, n);
}

/*
 * 2^x for x up to 1, zero below -127: what a softmax needs, for half the price of v_exp.  Adding
 * 1.5 2^23 + 127 leaves x's nearest whole number in the low bits, ready to be an exponent; 2^r =
 * 1 + r q(r) for the rest, q a least-maximum fit.  About 1 ulp; NaN stays NaN.
 */
INLINE vf v_exp2(vf x)
{
	x = v_max(v_set(-127), x);

	const vf t = x + 0x1.8000fep23f;
	const vf r = x - (t - 0x1.8000fep23f);
	vf q = v_set(0x1.416b5ep-13f);

	q = v_fma(q, r, v_set(0x1.5f082ep-10f));
	q = v_fma(q, r, v_set(0x1.3b2de0p-7f));
	q = v_fma(q, r, v_set(0x1.c6af7cp-5f));
	q = v_fma(q, r, v_set(0x1.ebfbdcp-3f));
	q = v_fma(q, r, v_set(0x1.62e430p-1f));
	return v_fma(q, r, v_set(1)) * (vf)((vi)t << 23);
}

/* 1 / (1 + e^-x) */
INLINE vf v_sigmoid(vf x)
{
	return 1.0f / (1.0f + v_exp(-x));
}

INLINE vf v_tanh(vf x)
{
	const vi sign = (vi)x & v_set_int(INT32_MIN);
	const vf a = (vf)((vi)x ^ sign), s = a * a;
	vf p = v_set(0x1.1974aep-9f);

	p = v_fma(p, s, v_set(-0x1.0c1f7ap-7f));
	p = v_fma(p, s, v_set(0x1.639480p-6f));
	p = v_fma(p, s, v_set(-0x1.b9ef76p-5f));
	p = v_fma(p, s, v_set(0x1.11106cp-3f));
	p = v_fma(p, s, v_set(-0x1.555554p-2f));

	const vf small = v_fma(p * s, a, a), large = 1.0f - 2.0f / (v_exp(a + a) + 1.0f);

	return (vf)((vi)v_select(a < v_set(0.625f), small, large) | sign);
}

/*
 * The upper tail of the normal distribution, erfc(a / sqrt 2) / 2, for a >= 0: t e^(-a^2/2) p(t -
 * 0.6) with t = 1 / (1 + a / sqrt 8), p fitted to a <= 14; beyond, zero.  About 3 ulp where v_fma
 * rounds once.
 */
INLINE vf v_upper_tail(vf a)
{
	a = v_min(v_set(20), a);

	const vf t = 1.0f / v_fma(v_set(0x1.6a09e6p-2f), a, v_set(1)), u = t - 0.6f;
	vf p = v_set(0x1.236c28p-6f);

	p = v_fma(p, u, v_set(0x1.81f746p-7f));
	p = v_fma(p, u, v_set(-0x1.21669ep-5f));
	p = v_fma(p, u, v_set(-0x1.ea6df8p-9f));
	p = v_fma(p, u, v_set(0x1.d20b0cp-5f));
	p = v_fma(p, u, v_set(-0x1.36ca7ep-6f));
	p = v_fma(p, u, v_set(-0x1.a9a140p-4f));
	p = v_fma(p, u, v_set(0x1.195b88p-5f));
	p = v_fma(p, u, v_set(0x1.2ed544p-2f));
	p = v_fma(p, u, v_set(0x1.9aece6p-2f));
	p = v_fma(p, u, v_set(0x1.2ba28cp-2f));

	/* The square's rounding error comes back times the square: it is taken off again. */
	const vf square = a * a, rest = v_fma(a, a, -square), e = v_exp(-0.5f * square);

	return t * p * v_fma(e, -0.5f * rest, e);
}
