// What the kernels need of CUDA, on the host: threads of a block are fibres that take
// turns, each running to the next barrier; instructions of a whole warp exchange their
// operands at such a barrier. Blocks run one after another.
#pragma once
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define __device__
#define __global__ __attribute__((visibility("default")))
#define __shared__ static // blocks are not at work at the same time
#define __launch_bounds__(threads)
#define DYNAMIC_SHARED(name) uint4 *name = emulated_shared

struct alignas(16) uint4 { unsigned x, y, z, w; };
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return uint4{x, y, z, w}; }

struct Dim { unsigned x, y, z; };
extern Dim threadIdx, blockIdx, blockDim, gridDim;
extern uint4 *emulated_shared;

// emulated_block waits for all threads of the block, emulated_warp for those of the
// warp: it publishes a pointer and returns those of all 32 lanes, which hold until all
// of them have called emulated_done.
void emulated_block();
void **emulated_warp(void *mine);
void emulated_done();
void emulated_copy(void *to, const void *from, bool there);
void emulated_commit();
void emulated_wait(int groups);
void emulated_fault(const char *what);

inline void __syncthreads() { emulated_block(); }

template <class T> inline T __shfl_xor_sync(unsigned mask, T x, int lanes) {
	if (mask != 0xffffffffu)
		emulated_fault("shuffle of a part of a warp");
	T got = *(T *)emulated_warp(&x)[threadIdx.x % 32 ^ lanes];
	emulated_done();
	return got;
}

inline float __uint_as_float(unsigned u) { float f; memcpy(&f, &u, 4); return f; }
inline unsigned __float_as_uint(float f) { unsigned u; memcpy(&u, &f, 4); return u; }
inline float rsqrtf(float x) { return 1 / sqrtf(x); }
inline float power_of_2(float x) { return exp2f(x); }
inline uint4 load_past_l1(const uint4 *p) { return *p; }

inline float decode_f16(unsigned short h) {
	int exponent = h >> 10 & 31, mantissa = h & 1023;
	float m = exponent == 0 ? ldexpf((float)mantissa, -24) : exponent == 31 ? (mantissa ? NAN : INFINITY) : ldexpf((float)(1024 + mantissa), exponent - 25);
	return h & 0x8000 ? -m : m;
}

// f16_to_float looks numbers up: products of matrices ask for each many times.
struct Halves {
	float value[1 << 16];
	Halves() {
		for (int h = 0; h < 1 << 16; h++)
			value[h] = decode_f16((unsigned short)h);
	}
};
inline float f16_to_float(unsigned short h) {
	static const Halves halves;
	return halves.value[h];
}

// float_to_f16 rounds to the nearest even: nearbyintf does, in units of the last place.
inline unsigned short float_to_f16(float x) {
	unsigned short sign = signbit(x) ? 0x8000 : 0;
	x = fabsf(x);
	if (x == 0)
		return sign;
	if (!(x < 65520))
		return sign | (x != x ? 0x7e00 : 0x7c00);
	int e;
	frexpf(x, &e);
	e = e < -13 ? -13 : e;
	int m = (int)nearbyintf(ldexpf(x, 11 - e)); // 1024 to 2048 for normal numbers
	return sign | (unsigned short)(m + ((e + 13) << 10));
}

inline void copy16(void *to, const void *from, bool there) { emulated_copy(to, from, there); }
inline void copy_commit() { emulated_commit(); }
template <int N> inline void copy_wait() { emulated_wait(N); }

inline void load_matrices(unsigned r[4], const void *row) {
	void **rows = emulated_warp((void *)row);
	int lane = threadIdx.x % 32;
	for (int i = 0; i < 4; i++) {
		const unsigned short *x = (const unsigned short *)rows[i * 8 + lane / 4] + lane % 4 * 2;
		r[i] = x[0] | (unsigned)x[1] << 16;
	}
	emulated_done();
}

inline void load_transposed(unsigned r[4], const void *row) {
	void **rows = emulated_warp((void *)row);
	int lane = threadIdx.x % 32;
	for (int i = 0; i < 4; i++) {
		const unsigned short *x = (const unsigned short *)rows[i * 8 + lane % 4 * 2], *y = (const unsigned short *)rows[i * 8 + lane % 4 * 2 + 1];
		r[i] = x[lane / 4] | (unsigned)y[lane / 4] << 16;
	}
	emulated_done();
}

// Fragment is what a lane brings to mma.m16n8k16. By the PTX manual, element (r, k) of the
// first operand is with lane r%8*4 + k%8/2, in register r/8 + k/8*2, half k%2; element
// (k, c) of the second with lane c*4 + k%8/2, in register k/8, half k%2.
struct Fragment { const unsigned *a, *b; };

template <class F> inline void emulated_multiply(float d[4], const unsigned a[4], const unsigned b[2], F number) {
	Fragment mine = {a, b};
	void **lanes = emulated_warp(&mine);
	int lane = threadIdx.x % 32;
	for (int i = 0; i < 4; i++) {
		int r = lane / 4 + i / 2 * 8, c = lane % 4 * 2 + i % 2;
		double sum = d[i];
		for (int k = 0; k < 16; k++) {
			unsigned x = ((Fragment *)lanes[r % 8 * 4 + k % 8 / 2])->a[r / 8 + k / 8 * 2] >> 16 * (k % 2);
			unsigned y = ((Fragment *)lanes[c * 4 + k % 8 / 2])->b[k / 8] >> 16 * (k % 2);
			sum += (double)number(x & 0xffff) * number(y & 0xffff);
		}
		d[i] = (float)sum;
	}
	emulated_done();
}

inline void multiply_f16(float d[4], const unsigned a[4], const unsigned b[2]) {
	emulated_multiply(d, a, b, [](unsigned x) { return f16_to_float((unsigned short)x); });
}
inline void multiply_bf16(float d[4], const unsigned a[4], const unsigned b[2]) {
	emulated_multiply(d, a, b, [](unsigned x) { return __uint_as_float(x << 16); });
}
