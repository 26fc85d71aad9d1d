// Norms and softmax along the rows of a matrix, one block a row.
//
// A row is read twice, the second time mostly from L1 or L2. Its length is a multiple of
// a vector. Sums are in 32 bits.
#include "common.cuh"

template <class T, class F> __device__ void each(const T *in, u32 cols, F &f) {
	for (u32 i = threadIdx.x * Vec<T>::N; i < cols; i += blockDim.x * Vec<T>::N) {
		Vec<T> v = Vec<T>::load(in + i);
		for (int j = 0; j < Vec<T>::N; j++)
			f(v.get(j));
	}
}

struct Squares {
	float sum;
	__device__ void operator()(float x) { sum += x * x; }
};

// Moments are about a number near the mean, so that no digits cancel.
struct Moments {
	float about, sum, squares;
	__device__ void operator()(float x) {
		x -= about;
		sum += x;
		squares += x * x;
	}
};

// Exponentials are summed relative to the largest so far.
struct Exponentials {
	float most, sum;
	__device__ void operator()(float x) {
		x *= 1.44269504f;
		float m = x > most ? x : most;
		sum = sum * power_of_2(most - m) + power_of_2(x - m);
		most = m;
	}
};

const float epsilon = 1e-5f;
const float lowest = -1e30f;

template <class T> __device__ void rmsnorm(T *out, const T *in, const T *gain, u32 cols) {
	__shared__ float scratch[32];
	in += (u64)blockIdx.x * cols;
	out += (u64)blockIdx.x * cols;
	Squares s = {0};
	each(in, cols, s);
	float scale = rsqrtf(block_all(s.sum, 0, scratch, Sum()) / cols + epsilon);
	for (u32 i = threadIdx.x * Vec<T>::N; i < cols; i += blockDim.x * Vec<T>::N) {
		Vec<T> x = Vec<T>::load(in + i), g = Vec<T>::load(gain + i), y = x;
		for (int j = 0; j < Vec<T>::N; j++)
			y.set(j, x.get(j) * scale * g.get(j));
		y.store(out + i);
	}
}

template <class T> __device__ void layernorm(T *out, const T *in, const T *gain, const T *bias, u32 cols) {
	__shared__ float scratch[32];
	in += (u64)blockIdx.x * cols;
	out += (u64)blockIdx.x * cols;
	Moments m = {to_float(in[0]), 0, 0};
	each(in, cols, m);
	float mean = block_all(m.sum, 0, scratch, Sum()) / cols;
	float scale = rsqrtf(block_all(m.squares, 0, scratch, Sum()) / cols - mean * mean + epsilon);
	mean += m.about;
	for (u32 i = threadIdx.x * Vec<T>::N; i < cols; i += blockDim.x * Vec<T>::N) {
		Vec<T> x = Vec<T>::load(in + i), g = Vec<T>::load(gain + i), b = Vec<T>::load(bias + i), y = x;
		for (int j = 0; j < Vec<T>::N; j++)
			y.set(j, (x.get(j) - mean) * scale * g.get(j) + b.get(j));
		y.store(out + i);
	}
}

template <class T> __device__ void softmax(T *out, const T *in, u32 cols) {
	__shared__ float scratch[32];
	in += (u64)blockIdx.x * cols;
	out += (u64)blockIdx.x * cols;
	Exponentials e = {lowest, 0};
	each(in, cols, e);
	float most = block_all(e.most, lowest, scratch, Max());
	float scale = 1 / block_all(e.sum * power_of_2(e.most - most), 0, scratch, Sum());
	for (u32 i = threadIdx.x * Vec<T>::N; i < cols; i += blockDim.x * Vec<T>::N) {
		Vec<T> x = Vec<T>::load(in + i), y = x;
		for (int j = 0; j < Vec<T>::N; j++)
			y.set(j, power_of_2(x.get(j) * 1.44269504f - most) * scale);
		y.store(out + i);
	}
}

#define INSTANCE(T)                                                                                                              \
	extern "C" __global__ void rmsnorm_##T(T *out, const T *in, const T *gain, u32 cols) { rmsnorm(out, in, gain, cols); }       \
	extern "C" __global__ void layernorm_##T(T *out, const T *in, const T *gain, const T *bias, u32 cols) {                      \
		layernorm(out, in, gain, bias, cols);                                                                                    \
	}                                                                                                                            \
	extern "C" __global__ void softmax_##T(T *out, const T *in, u32 cols) { softmax(out, in, cols); }
INSTANCE(float)
INSTANCE(f16)
INSTANCE(bf16)
