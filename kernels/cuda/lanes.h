/*
 * The words that kernels are written in: for the device by nvcc, and for the host by g++, where a block's threads run as fibres
 * (host/fibres.h) and launches go to the fake runtime.  The same source is both.
 *
 * A kernel is a function of pointers and values, without static shared memory; threads are one-dimensional, at most 256: so many
 * can have all the registers that a thread can use.
 * Where it says "warp", all 32 threads of the warp take part, and the block has a multiple of 32 threads.
 * Numbers: nvcc contracts nothing (-fmad=false); fmaf() is written where it is meant.
 */
#ifndef LANES_H
#define LANES_H

#include <stddef.h>
#include <stdint.h>

#include "gpu.h"

struct grid {
	unsigned x, y, z;
};

#if defined __CUDACC__

#define KERNEL __global__
#define DEVICE __device__ __forceinline__
/* Between KERNEL and void: at most so many threads a block, at least so many blocks a multiprocessor. */
#define BLOCKS_OF(threads, blocks) __launch_bounds__(threads, blocks)
/* Before a loop of constant length. */
#define UNROLL _Pragma("unroll")

DEVICE unsigned thread_index()
{
	return threadIdx.x;
}

DEVICE unsigned block_threads()
{
	return blockDim.x;
}

DEVICE unsigned block_index(int axis)
{
	return axis == 0 ? blockIdx.x : axis == 1 ? blockIdx.y : blockIdx.z;
}

DEVICE unsigned grid_blocks(int axis)
{
	return axis == 0 ? gridDim.x : axis == 1 ? gridDim.y : gridDim.z;
}

/* The launch's, 128-byte aligned. */
template <class T> DEVICE T *shared_memory()
{
	extern __shared__ __align__(128) unsigned char shared_bytes[];
	return reinterpret_cast<T *>(shared_bytes);
}

DEVICE void block_barrier()
{
	__syncthreads();
}

DEVICE void warp_barrier()
{
	__syncwarp();
}

template <class T> DEVICE T warp_shuffle_xor(T x, int mask)
{
	static_assert(sizeof x == 4, "32-bit types");
	return __shfl_xor_sync(0xffffffff, x, mask);
}

/* The value of thread `lane` of the warp, 0..31. */
template <class T> DEVICE T warp_shuffle(T x, int lane)
{
	static_assert(sizeof x == 4, "32-bit types");
	return __shfl_sync(0xffffffff, x, lane);
}

DEVICE float from_bf16(uint16_t x)
{
	return __uint_as_float(static_cast<uint32_t>(x) << 16);
}

DEVICE uint16_t to_bf16(float x)
{
	uint16_t h;
	asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(h) : "f"(x));
	return h;
}

DEVICE float from_f16(uint16_t x)
{
	float f;
	asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(x));
	return f;
}

DEVICE uint16_t to_f16(float x)
{
	uint16_t h;
	asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(x));
	return h;
}

DEVICE uint32_t pack_bf16(float low, float high)
{
	uint32_t x;
	asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(x) : "f"(high), "f"(low));
	return x;
}

DEVICE uint32_t pack_f16(float low, float high)
{
	uint32_t x;
	asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(x) : "f"(high), "f"(low));
	return x;
}

/* c (16, 8) += a (16, 16) b (16, 8), f32 sums; who holds what: PTX ISA, mma.m16n8k16, "row.col".  With g = lane / 4, i = lane
 * % 4: c[0..1] row g, columns 2i and 2i + 1, c[2..3] row g + 8; a[0] row g, columns 2i and 2i + 1, a[1] row g + 8, a[2] and a[3] the same 8 columns on;
 * b[0] column g, rows 2i and 2i + 1, b[1] 8 rows on. */
DEVICE void mma_bf16(float c[4], const uint32_t a[4], const uint32_t b[2])
{
	asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
	             : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
	             : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

DEVICE void mma_f16(float c[4], const uint32_t a[4], const uint32_t b[2])
{
	asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
	             : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
	             : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* Four (8, 8) matrices of 16-bit elements: lane 8 m + r gives the address of row r of matrix m (8 elements of shared
 * memory, 16-byte aligned); r[m] becomes row lane / 4, columns lane % 4 * 2 and the next. */
DEVICE void load_matrix_x4(uint32_t r[4], const void *row)
{
	const uint32_t at = static_cast<uint32_t>(__cvta_generic_to_shared(row));
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
	             : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at) : "memory");
}

/* The same of each matrix's transpose. */
DEVICE void load_matrix_x4_transposed(uint32_t r[4], const void *row)
{
	const uint32_t at = static_cast<uint32_t>(__cvta_generic_to_shared(row));
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
	             : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at) : "memory");
}

/* 16 bytes, both addresses aligned to 16; zeros where not valid (`global` is then not read, and must be an address all the
 * same).  They are there for this thread after its wait, for others after a barrier behind it. */
DEVICE void copy_async(void *shared, const void *global, bool valid)
{
	const uint32_t at = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
	asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" :: "r"(at), "l"(global), "r"(valid ? 16 : 0) : "memory");
}

/* This thread's copies since the last commit are one group. */
DEVICE void copy_async_commit()
{
	asm volatile("cp.async.commit_group;" ::: "memory");
}

/* Until all but the newest N groups of this thread have arrived. */
template <int N> DEVICE void copy_async_wait()
{
	asm volatile("cp.async.wait_group %0;" :: "n"(N) : "memory");
}

/* Shared memory above what every launch may have has to be asked for. */
template <class... P, class... A> void launch(gpu_stream *s, void (*kernel)(P...), grid g, unsigned threads, size_t shared, A... args)
{
	enum { ALWAYS = 48 << 10 };
	if (g.x == 0 || g.y == 0 || g.z == 0 || !gpu_enter(s))
		return;
	cudaError_t r = shared <= ALWAYS ? cudaSuccess
	                                 : cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared));
	if (r == cudaSuccess) {
		kernel<<<dim3(g.x, g.y, g.z), threads, shared, static_cast<cudaStream_t>(gpu_stream_handle(s))>>>(static_cast<P>(args)...);
		r = cudaGetLastError();
	}
	if (r != cudaSuccess)
		gpu_fail(gpu_of(s), cudaGetErrorString(r));
}

#else

#include <tuple>

#include "host_lanes.h"

#define KERNEL
#define DEVICE inline
#define BLOCKS_OF(threads, blocks)
#define UNROLL

DEVICE unsigned thread_index()
{
	return fibres_thread();
}

DEVICE unsigned block_threads()
{
	return fibres_where()->threads;
}

DEVICE unsigned block_index(int axis)
{
	return fibres_where()->block[axis];
}

DEVICE unsigned grid_blocks(int axis)
{
	return fibres_where()->blocks[axis];
}

template <class T> DEVICE T *shared_memory()
{
	return static_cast<T *>(fibres_shared());
}

DEVICE void block_barrier()
{
	fibres_barrier();
}

DEVICE void warp_barrier()
{
	fibres_meet([](void *const *) {}, nullptr);
}

template <class T> DEVICE T warp_shuffle(T x, int lane)
{
	static_assert(sizeof x == 4, "32-bit types");
	host_shuffle h = { {}, static_cast<unsigned>(lane) % WARP };
	memcpy(h.word, &x, sizeof x);
	fibres_meet(host_shuffle_act, &h);
	memcpy(&x, h.word, sizeof x);
	return x;
}

template <class T> DEVICE T warp_shuffle_xor(T x, int mask)
{
	return warp_shuffle(x, static_cast<int>(fibres_thread() % WARP) ^ mask);
}

DEVICE float from_bf16(uint16_t x)
{
	return bf16_to_f32(x);
}

DEVICE uint16_t to_bf16(float x)
{
	return bf16_from_f32(x);
}

DEVICE float from_f16(uint16_t x)
{
	return host_from_f16(x);
}

DEVICE uint16_t to_f16(float x)
{
	return host_to_f16(x);
}

DEVICE uint32_t pack_bf16(float low, float high)
{
	return to_bf16(low) | static_cast<uint32_t>(to_bf16(high)) << 16;
}

DEVICE uint32_t pack_f16(float low, float high)
{
	return to_f16(low) | static_cast<uint32_t>(to_f16(high)) << 16;
}

DEVICE void mma_bf16(float c[4], const uint32_t a[4], const uint32_t b[2])
{
	host_mma m = { c, a, b };
	fibres_meet(host_mma_act<bf16_to_f32>, &m);
}

DEVICE void mma_f16(float c[4], const uint32_t a[4], const uint32_t b[2])
{
	host_mma m = { c, a, b };
	fibres_meet(host_mma_act<host_from_f16>, &m);
}

DEVICE void load_matrix_x4(uint32_t r[4], const void *row)
{
	host_matrix m = { r, row };
	fibres_meet(host_matrix_act<false>, &m);
}

DEVICE void load_matrix_x4_transposed(uint32_t r[4], const void *row)
{
	host_matrix m = { r, row };
	fibres_meet(host_matrix_act<true>, &m);
}

DEVICE void copy_async(void *shared, const void *global, bool valid)
{
	fibres_copy(shared, valid ? global : nullptr);
}

DEVICE void copy_async_commit()
{
	fibres_copy_commit();
}

template <int N> DEVICE void copy_async_wait()
{
	fibres_copy_wait(N);
}

template <class... P, class... A> void launch(gpu_stream *s, void (*kernel)(P...), grid g, unsigned threads, size_t shared, A... args)
{
	std::tuple<P...> all(static_cast<P>(args)...);
	fake_launch(s, { g.x, g.y, g.z }, threads, shared, [kernel, all] { std::apply(kernel, all); });
}

#endif
#endif
