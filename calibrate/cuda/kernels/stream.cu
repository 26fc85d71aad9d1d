// Kernels that treat each element by itself, and the bandwidth of memory and L2.
//
// Every thread makes one 16-byte access to each operand; the last elements of an array
// whose length is no multiple of that go one by one.
#include "common.cuh"

// Place is where a thread's elements begin, and whether they are a whole vector.
template <class T> struct Place {
	u64 i;
	int count;
	__device__ Place(u64 n) {
		i = ((u64)blockIdx.x * blockDim.x + threadIdx.x) * Vec<T>::N;
		count = i >= n ? 0 : n - i >= (u64)Vec<T>::N ? Vec<T>::N : (int)(n - i);
	}
	__device__ bool whole() const { return count == Vec<T>::N; }
};

template <class T, class F> __device__ void map1(T *out, const T *a, u64 n, F f) {
	Place<T> at(n);
	if (at.whole()) {
		Vec<T> x = Vec<T>::load(a + at.i), y = x;
		for (int j = 0; j < Vec<T>::N; j++)
			y.set(j, f(x.get(j)));
		y.store(out + at.i);
		return;
	}
	for (int j = 0; j < at.count; j++)
		from_float(out[at.i + j], f(to_float(a[at.i + j])));
}

template <class T, class F> __device__ void map2(T *out, const T *a, const T *b, u64 n, F f) {
	Place<T> at(n);
	if (at.whole()) {
		Vec<T> x = Vec<T>::load(a + at.i), y = Vec<T>::load(b + at.i), z = x;
		for (int j = 0; j < Vec<T>::N; j++)
			z.set(j, f(x.get(j), y.get(j)));
		z.store(out + at.i);
		return;
	}
	for (int j = 0; j < at.count; j++)
		from_float(out[at.i + j], f(to_float(a[at.i + j]), to_float(b[at.i + j])));
}

struct Scale { __device__ float operator()(float x) const { return 1.5f * x; } };

// Gelu is the exact one, by the error function, as PyTorch's default.
struct Gelu { __device__ float operator()(float x) const { return 0.5f * x * (1 + erff(x * 0.70710678f)); } };

__device__ inline float silu(float x) { return x / (1 + power_of_2(-1.44269504f * x)); }

// silu_mul gates rows of 2*cols numbers, gates first, as SwiGLU's fused projection
// leaves them. cols is a multiple of a vector.
template <class T> __device__ void silu_mul(T *out, const T *in, u64 rows, u32 cols) {
	Place<T> at(rows * cols);
	if (!at.whole())
		return;
	u64 row = at.i / cols;
	const T *gate = in + at.i + row * cols;
	Vec<T> g = Vec<T>::load(gate), u = Vec<T>::load(gate + cols), y = g;
	for (int j = 0; j < Vec<T>::N; j++)
		y.set(j, silu(g.get(j)) * u.get(j));
	y.store(out + at.i);
}

// rope rotates the heads of each row by the row's angles: element i of the first half
// of a head with element i of the second, as Llama does. angles has the cosines and
// then the sines, dim/2 each, of every row. The threads take whole vectors of a
// first half and their partners.
template <class T> __device__ void rope(T *out, const T *in, const float *angles, u32 rows, u32 heads, u32 dim) {
	const int N = Vec<T>::N;
	u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x;
	u32 half = dim / 2, vectors = half / N;
	if (i >= (u64)rows * heads * vectors)
		return;
	u64 head = i / vectors;
	u32 d = (u32)(i % vectors) * N;
	const float *cosine = angles + head / heads * dim + d, *sine = cosine + half;
	Vec<T> x = Vec<T>::load(in + head * dim + d), y = Vec<T>::load(in + head * dim + half + d), p = x, q = y;
	for (int j = 0; j < N; j++) {
		p.set(j, x.get(j) * cosine[j] - y.get(j) * sine[j]);
		q.set(j, y.get(j) * cosine[j] + x.get(j) * sine[j]);
	}
	p.store(out + head * dim + d);
	q.store(out + head * dim + half + d);
}

// fill makes numbers from -1 to 1, the same as the host's.
template <class T> __device__ void fill(T *out, u64 n, u32 seed) {
	for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64)gridDim.x * blockDim.x)
		from_float(out[i], (float)(random_bits(seed, i) >> 8) * (1.0f / (1 << 23)) - 1);
}

#define INSTANCE(T)                                                                                                                      \
	extern "C" __global__ void fill_##T(T *out, u64 n, u32 seed) { fill(out, n, seed); }                                                 \
	extern "C" __global__ void add_##T(T *out, const T *a, const T *b, u64 n) { map2(out, a, b, n, Sum()); }                             \
	extern "C" __global__ void scale_##T(T *out, const T *a, u64 n) { map1(out, a, n, Scale()); }                                        \
	extern "C" __global__ void gelu_##T(T *out, const T *a, u64 n) { map1(out, a, n, Gelu()); }                                          \
	extern "C" __global__ void silu_mul_##T(T *out, const T *in, u64 rows, u32 cols) { silu_mul(out, in, rows, cols); }                  \
	extern "C" __global__ void rope_##T(T *out, const T *in, const float *angles, u32 rows, u32 heads, u32 dim) {                        \
		rope(out, in, angles, rows, heads, dim);                                                                                         \
	}
INSTANCE(float)
INSTANCE(f16)
INSTANCE(bf16)

// fill_i8 makes any bytes. fill_fp8 makes numbers of format e4m3 between 1/8 and 2 in
// size: sign and mantissa at random, an exponent of 4 to 7.
extern "C" __global__ void fill_i8(unsigned char *out, u64 n, u32 seed) {
	for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64)gridDim.x * blockDim.x)
		out[i] = (unsigned char)(random_bits(seed, i) >> 24);
}

extern "C" __global__ void fill_fp8(unsigned char *out, u64 n, u32 seed) {
	for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64)gridDim.x * blockDim.x) {
		u32 h = random_bits(seed, i) >> 24;
		out[i] = (unsigned char)((h & 0x9f) | 0x20);
	}
}

// nothing is what a launch costs.
extern "C" __global__ void nothing() {}

// The bandwidth kernels go over n vectors again and again, rounds times in all, with as
// many threads as the device holds at a time. What is read is added up, so that the
// compiler keeps it; the sum of one block is no result.
extern "C" __global__ void read_vectors(float *out, const uint4 *in, u64 n, u32 rounds) {
	u32 sum = 0;
	for (u32 r = 0; r < rounds; r++)
		for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64)gridDim.x * blockDim.x) {
			uint4 v = load_past_l1(in + i);
			sum += v.x ^ v.y ^ v.z ^ v.w;
		}
	if (sum == 0x12345678)
		*out = 1;
}

extern "C" __global__ void write_vectors(uint4 *out, u64 n, u32 value) {
	u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x;
	if (i < n)
		out[i] = make_uint4(value, value, value, value);
}

extern "C" __global__ void copy_vectors(uint4 *out, const uint4 *in, u64 n) {
	u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x;
	if (i < n)
		out[i] = in[i];
}
