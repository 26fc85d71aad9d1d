// Number formats, 16-byte accesses and reductions, shared by all kernels.
//
// No header of the CUDA toolkit is needed: 16-bit numbers are structs of their bits,
// and what the language lacks is PTX (ptx.cuh). A host compiler takes the kernels too,
// with emulate.h in the place of PTX.
#pragma once

#ifdef ORRERY_EMULATE
#include "emulate.h"
#else
#include "ptx.cuh"
#endif

typedef unsigned int u32;
typedef unsigned long long u64;

// half and bf16 are named apart from the toolkit's types, which nvcc may know.
struct f16 { unsigned short bits; };
struct bf16 { unsigned short bits; };

__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(f16 x) { return f16_to_float(x.bits); }
__device__ inline float to_float(bf16 x) { return __uint_as_float((u32)x.bits << 16); }

__device__ inline void from_float(float &to, float x) { to = x; }
__device__ inline void from_float(f16 &to, float x) { to.bits = float_to_f16(x); }

// bf16 rounds to the nearest even; a NaN cannot occur here.
__device__ inline void from_float(bf16 &to, float x) {
	u32 u = __float_as_uint(x);
	to.bits = (unsigned short)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

// pack2 rounds two numbers into one register, the first in its low half.
template <class T> __device__ inline u32 pack2(float a, float b) {
	T x, y;
	from_float(x, a);
	from_float(y, b);
	return (u32)x.bits | (u32)y.bits << 16;
}

// Vec is 16 bytes of numbers of type T, the widest access that a thread can make.
template <class T> struct Vec {
	static const int N = 16 / sizeof(T);
	union { uint4 raw; u32 word[4]; };

	__device__ static Vec load(const T *p) {
		Vec v;
		v.raw = *(const uint4 *)p;
		return v;
	}
	__device__ void store(T *p) const { *(uint4 *)p = raw; }

	__device__ float get(int i) const { return element(i, (T *)0); }
	__device__ void set(int i, float x) { put(i, x, (T *)0); }

private:
	__device__ float element(int i, float *) const { return __uint_as_float(word[i]); }
	template <class H> __device__ float element(int i, H *) const {
		H h;
		h.bits = (unsigned short)(word[i / 2] >> 16 * (i & 1));
		return to_float(h);
	}
	__device__ void put(int i, float x, float *) { word[i] = __float_as_uint(x); }
	template <class H> __device__ void put(int i, float x, H *) {
		H h;
		from_float(h, x);
		int shift = 16 * (i & 1);
		word[i / 2] = (word[i / 2] & ~(0xffffu << shift)) | (u32)h.bits << shift;
	}
};

struct Sum { __device__ float operator()(float a, float b) const { return a + b; } };
struct Max { __device__ float operator()(float a, float b) const { return a > b ? a : b; } };

// warp_all reduces x over the 32 lanes of a warp; every lane gets the result.
template <class F> __device__ inline float warp_all(float x, F f) {
	for (int d = 16; d > 0; d /= 2)
		x = f(x, __shfl_xor_sync(0xffffffffu, x, d));
	return x;
}

// block_all reduces x over a block of up to 1024 threads in whole warps; every
// thread gets the result. scratch is 32 numbers of shared memory.
template <class F> __device__ inline float block_all(float x, float none, float *scratch, F f) {
	int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
	x = warp_all(x, f);
	__syncthreads(); // scratch may still be read from the last time
	if (lane == 0)
		scratch[warp] = x;
	__syncthreads();
	return warp_all(lane < warps ? scratch[lane] : none, f);
}

// random_bits is a hash of an index: inputs are made of it on the device, and made
// again on the host wherever a result is checked. The last steps are MurmurHash3's.
__device__ inline u32 random_bits(u32 seed, u64 i) {
	u32 h = seed ^ (u32)i * 0x9e3779b1u ^ (u32)(i >> 32) * 0x85ebca77u;
	h ^= h >> 16;
	h *= 0x85ebca6bu;
	h ^= h >> 13;
	h *= 0xc2b2ae35u;
	return h ^ h >> 16;
}
